"""Hypothesis strategies for configs: `configs()` are valid for schema and rules, `mutations()` spoil one place.

Shared by the tests of config/, plan/ and the end-to-end properties. Everything varied stands in one function per part
of the specification, so that a test can ask for that part alone.
"""

import copy

from hypothesis import strategies as st

from pyrunc.config import mountopts, names

# Drawn from lists rather than letter by letter: ten times as fast, and a config has hundreds of them.
ID = st.sampled_from([0, 1, 5, 999, 1000, 65534, 65535])
WORD = st.sampled_from(["a", "b1", "eth0", "rootfs", "x-y_z", "data", "long" * 3])
TEXT = st.sampled_from(["", "a", "a b", "k=v", "x" * 300, "/bin/sh", "\n", "\u00e9", "\U0001f600", "\x7f", "\"\\"])
PATH = st.sampled_from(["/a", "/b/c", "/etc/hosts", "/data", "/mnt/x y", "/var/lib/d", "/caf\u00e9", "/dev/sdx",
                        "/dev/fuse", "/tmp//t", "/a/./b", "/" + "n" * 255])

UINT64 = st.integers(0, 2**64 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)


def some(**optional):
    """A dict with any of these keys."""
    return st.fixed_dictionaries({}, optional=optional)


def subset(words):
    return st.lists(st.sampled_from(sorted(words)), unique=True, max_size=5)


@st.composite
def mappings(draw, cover=0):
    """Id mappings without overlap that map the ids 0 to 65535; cover is where the host ids start."""
    split = draw(st.integers(1, 65535))
    host = draw(st.integers(max(cover, 1), 10**6))
    whole = [{"containerID": 0, "hostID": host, "size": 65536}]
    parts = [{"containerID": 0, "hostID": host, "size": split},
             {"containerID": split, "hostID": host + 10**6, "size": 65536 - split}]
    return draw(st.sampled_from([whole, parts, parts[::-1]]))


PLAIN_OPTIONS = st.lists(st.sampled_from(sorted([*mountopts.FLAGS, *mountopts.PROPAGATION, "defaults"])), max_size=5)


@st.composite
def binds(draw, namespaces):
    words = draw(PLAIN_OPTIONS) + draw(subset(mountopts.RECURSIVE)) + [draw(st.sampled_from(["bind", "rbind"]))]
    mount = {"destination": draw(PATH), "source": draw(st.one_of(PATH, WORD)),
             "options": draw(st.permutations(words))}
    if draw(st.booleans()):
        mount["type"] = draw(st.sampled_from(["bind", "none", ""]))
    if draw(st.integers(0, 3)) == 0:
        mount["options"].append(draw(st.sampled_from(["idmap", "ridmap"])))
        if "user" not in namespaces or draw(st.booleans()):
            mount["uidMappings"], mount["gidMappings"] = draw(mappings()), draw(mappings())
    return mount


@st.composite
def filesystems(draw, read_only):
    kind, destination, data = draw(st.sampled_from([
        ("proc", "/proc", []), ("tmpfs", "/dev", ["mode=755", "size=65536k"]), ("tmpfs", "/tmp", ["tmpcopyup"]),
        ("devpts", "/dev/pts", ["newinstance", "ptmxmode=0666", "gid=5"]), ("mqueue", "/dev/mqueue", []),
        ("sysfs", "/sys", []), ("cgroup", "/sys/fs/cgroup", []), ("cgroup2", "/sys/fs/cgroup", []),
        ("overlay", "/mnt/over", ["lowerdir=/a:/b"]), ("tmpfs", "relative/path", []), ("proc", "/other/proc", []),
    ]))
    words = draw(PLAIN_OPTIONS)
    if not read_only:
        words = [word for word in words if word != "ro"]
    return {"destination": destination, "type": kind, "source": kind, "options": words + data}


def mounts(namespaces):
    over = st.sampled_from(["/proc/cpuinfo", "/proc/meminfo", "/proc/uptime", "/proc/sys/kernel/ns_last_pid"])
    lxcfs = st.builds(lambda path: {"destination": path, "source": "/var/lib/lxcfs" + path, "options": ["bind"]}, over)
    read_only = "mount" in namespaces
    return st.lists(st.one_of(binds(namespaces).filter(lambda mount: read_only or "ro" not in mount["options"]),
                              filesystems(read_only), lxcfs), max_size=6)


def devices():
    node = st.fixed_dictionaries(
        {"type": st.sampled_from("cbu"), "path": PATH, "major": st.integers(0, 4095),
         "minor": st.integers(0, 2**20 - 1)},
        optional={"fileMode": st.integers(0, 0o7777), "uid": ID, "gid": ID})
    fifo = st.fixed_dictionaries({"type": st.just("p"), "path": PATH}, optional={"fileMode": st.integers(0, 0o777)})
    return st.lists(st.one_of(node, fifo), max_size=4, unique_by=lambda device: device["path"])


def schedulers():
    flags = subset(names.SCHED_FLAGS)
    nice = st.fixed_dictionaries({"policy": st.sampled_from(["SCHED_OTHER", "SCHED_BATCH"])},
                                 optional={"nice": st.integers(-20, 19), "flags": flags})
    real_time = st.fixed_dictionaries({"policy": st.sampled_from(["SCHED_FIFO", "SCHED_RR"]),
                                       "priority": st.integers(1, 99)}, optional={"flags": flags})
    deadline = st.tuples(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 10**6)).map(
        lambda t: {"policy": "SCHED_DEADLINE", "runtime": t[0], "deadline": t[0] + t[1], "period": sum(t)})
    return st.one_of(nice, real_time, deadline, st.just({"policy": "SCHED_IDLE"}))


def rlimits():
    limit = st.tuples(st.sampled_from(sorted(names.RLIMITS)), UINT64, UINT64).map(
        lambda t: {"type": t[0], "soft": min(t[1:]), "hard": max(t[1:])})
    return st.lists(limit, max_size=4, unique_by=lambda entry: entry["type"])


CPUS = st.sampled_from(["", "0", "0-3", "0-1,3", "1, 2"])


def processes():
    capability = st.lists(st.sampled_from([*sorted(names.CAPABILITIES), "CAP_UNHEARD_OF"]), max_size=5)
    return st.fixed_dictionaries(
        {"cwd": PATH, "args": st.lists(TEXT, min_size=1, max_size=3)},
        optional={
            "terminal": st.booleans(),
            "consoleSize": st.fixed_dictionaries({"height": st.integers(0, 65535), "width": st.integers(0, 65535)}),
            "user": some(uid=ID, gid=ID, umask=st.integers(0, 0o777), additionalGids=st.lists(ID, max_size=3)),
            "env": st.lists(st.tuples(WORD, TEXT).map("=".join), max_size=4),
            "capabilities": some(**dict.fromkeys(names.CAPABILITY_SETS, capability)),
            "rlimits": rlimits(),
            "noNewPrivileges": st.booleans(),
            "apparmorProfile": WORD,
            "selinuxLabel": WORD,
            "oomScoreAdj": st.integers(-1000, 1000),
            "scheduler": schedulers(),
            "ioPriority": st.fixed_dictionaries({"class": st.sampled_from(sorted(names.IOPRIO_CLASSES)),
                                                 "priority": st.integers(0, 7)}),
            "execCPUAffinity": some(initial=CPUS, final=CPUS),
        })


@st.composite
def seccomps(draw):
    argument = st.fixed_dictionaries({"index": st.integers(0, 5), "value": UINT64,
                                      "op": st.sampled_from(sorted(names.SECCOMP_OPERATORS))},
                                     optional={"valueTwo": UINT64})
    plain = sorted(set(names.SECCOMP_ACTIONS) - {"SCMP_ACT_NOTIFY"})
    syscall = st.sampled_from(["read", "getcwd", "clone", "mount", "ptrace", "no_such_call"])
    default = draw(st.sampled_from(plain))
    found = {"defaultAction": default}
    found.update(draw(some(architectures=subset(names.SECCOMP_ARCHS), flags=subset(names.SECCOMP_FLAGS))))
    if default in names.SECCOMP_ACTIONS_WITH_ERRNO and draw(st.booleans()):
        found["defaultErrnoRet"] = draw(st.integers(1, 133))
    if draw(st.booleans()):
        found["listenerPath"] = draw(PATH)
        found.update(draw(some(listenerMetadata=TEXT)))
    found["syscalls"] = []
    for _ in range(draw(st.integers(0, 3))):
        rule = {"names": draw(st.lists(syscall, min_size=1, max_size=3)),
                "action": draw(st.sampled_from(plain + ["SCMP_ACT_NOTIFY"] * ("listenerPath" in found)))}
        if rule["action"] in names.SECCOMP_ACTIONS_WITH_ERRNO and draw(st.booleans()):
            rule["errnoRet"] = draw(st.integers(0, 133))
        rule.update(draw(some(args=st.lists(argument, max_size=3))))
        found["syscalls"].append(rule)
    return found


def resources():
    rule = st.fixed_dictionaries({"allow": st.booleans(), "access": st.sampled_from(["r", "rw", "rwm", "m"])},
                                 optional={"type": st.sampled_from(["a", "c", "b", ""]),
                                           "major": st.integers(-1, 300), "minor": st.integers(-1, 300)})
    number = st.fixed_dictionaries({"major": st.integers(0, 300), "minor": st.integers(0, 300)})
    throttle = st.lists(st.builds(lambda n, rate: {**n, "rate": rate}, number, UINT64), max_size=2)
    weight = st.integers(10, 1000)
    weights = st.lists(st.builds(lambda n, w: {**n, "weight": w}, number, weight), max_size=2)
    limit = st.integers(1, 2**40)
    return some(
        devices=st.lists(rule, max_size=4),
        memory=st.one_of(
            some(limit=limit, reservation=st.integers(-1, 2**40), swappiness=st.integers(0, 100),
                 disableOOMKiller=st.booleans(), checkBeforeUpdate=st.booleans()),
            st.tuples(limit, limit).map(lambda t: {"limit": min(t), "swap": max(t)})),
        cpu=some(shares=UINT64, quota=st.integers(1000, 10**6), period=st.integers(1000, 10**6),
                 burst=st.integers(0, 1000), cpus=CPUS, mems=CPUS, idle=st.integers(0, 1), realtimePeriod=UINT64,
                 realtimeRuntime=INT64),
        pids=some(limit=st.integers(-1, 10**5)),
        blockIO=some(weight=weight, weightDevice=weights, throttleReadBpsDevice=throttle,
                     throttleWriteIOPSDevice=throttle),
        hugepageLimits=st.lists(st.fixed_dictionaries({"pageSize": st.sampled_from(["64KB", "2MB", "1GB"]),
                                                       "limit": UINT64}), max_size=2),
        network=some(classID=st.integers(0, 2**32 - 1), priorities=st.lists(
            st.fixed_dictionaries({"name": WORD, "priority": st.integers(0, 100)}), max_size=2)),
        rdma=st.dictionaries(WORD, st.fixed_dictionaries({"hcaHandles": st.integers(0, 100)}), max_size=2),
        unified=st.dictionaries(st.sampled_from(["memory.high", "pids.max", "cpu.weight"]), WORD, max_size=2),
    )


SYSCTLS = {"ipc": "kernel.msgmax", "network": "net.ipv4.ip_forward", "uts": "kernel.domainname",
           "user": "user.max_user_namespaces"}


@st.composite
def linux(draw, namespaces):
    found = {"namespaces": [{"type": name, **({"path": path} if path else {})} for name, path in namespaces.items()]}
    optional = {
        "devices": devices(),
        "resources": resources(),
        "seccomp": seccomps(),
        "cgroupsPath": st.one_of(PATH, WORD, st.just("user.slice:pyrunc:c1")),
        "rootfsPropagation": st.sampled_from(["", "private", "rprivate", "slave", "rslave", "shared", "unbindable"]),
        "mountLabel": WORD,
        "personality": st.fixed_dictionaries({"domain": st.sampled_from(sorted(names.PERSONALITIES))}),
        "memoryPolicy": st.one_of(
            st.just({"mode": "MPOL_DEFAULT"}), st.just({"mode": "MPOL_PREFERRED", "nodes": ""}),
            st.fixed_dictionaries({"mode": st.sampled_from(["MPOL_BIND", "MPOL_INTERLEAVE"]), "nodes": st.just("0-1")},
                                  optional={"flags": st.just(["MPOL_F_STATIC_NODES"])})),
        "intelRdt": some(closID=WORD, l3CacheSchema=st.just("L3:0=ff"), memBwSchema=st.just("MB:0=20"),
                         schemata=st.just(["L2:0=f"]), enableMonitoring=st.booleans()),
        "sysctl": st.dictionaries(st.sampled_from([key for name, key in SYSCTLS.items() if name in namespaces]), WORD)
        if set(SYSCTLS) & set(namespaces) else st.just({}),
    }
    if "mount" in namespaces:
        optional["maskedPaths"] = optional["readonlyPaths"] = st.lists(PATH, max_size=3)
    if namespaces.get("time") == "":
        offset = some(secs=st.integers(-1000, 1000), nanosecs=st.integers(0, 999_999_999))
        optional["timeOffsets"] = some(monotonic=offset, boottime=offset)
    if "network" in namespaces:
        optional["netDevices"] = st.dictionaries(WORD, st.sampled_from([{}, {"name": "eth%d"}]), max_size=2)
    found.update(draw(some(**optional)))
    if "user" in namespaces and (namespaces["user"] == "" or draw(st.booleans())):
        found["uidMappings"], found["gidMappings"] = draw(mappings()), draw(mappings())
    return found


def hooks():
    hook = st.fixed_dictionaries({"path": PATH}, optional={
        "args": st.lists(TEXT, min_size=1, max_size=2), "env": st.lists(st.just("A=b"), max_size=1),
        "timeout": st.integers(1, 1000)})
    return some(**{kind: st.lists(hook, min_size=1, max_size=2) for kind in names.HOOKS})


@st.composite
def configs(draw, with_process=True):
    """A config that schema and rules accept."""
    chosen = draw(st.lists(st.sampled_from(sorted(names.NAMESPACES)), unique=True))
    namespaces = {name: draw(st.sampled_from(["", "", f"/proc/1/ns/{names.NAMESPACES[name][1]}"])) for name in chosen}
    config = {
        "ociVersion": draw(st.sampled_from(["1.0.0", "1.0.2-dev", "1.3.0", "1.2.0+dev"])),
        "root": {"path": draw(st.one_of(WORD, PATH)), **draw(some(readonly=st.just(True)) if "mount" in namespaces
                                                              else st.just({}))},
        "mounts": draw(mounts(namespaces)),
        "linux": draw(linux(namespaces)),
    }
    if with_process:
        config["process"] = draw(processes())
    optional = {"hooks": hooks(), "annotations": st.dictionaries(WORD, TEXT, max_size=3)}
    if "uts" in namespaces:
        optional["hostname"] = optional["domainname"] = WORD
    config.update(draw(some(**optional)))
    return config


# What to put where something else belongs: every JSON type, and the edges of the integer types.
ODDITIES = (None, True, False, 0, -1, 1, 1.0, 0.5, 1e300, 511, 512, 1000, 1001, 65535, 65536, 2**31, 2**32 - 1, 2**32,
            2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**31) - 1, -(2**63) - 1, "", "a", "\0", "x\0y", "SCMP_ACT_ALLOW",
            "2MB", "2mb", "02MB", "\u0662MB", [], [""], [None], [1], ["\0"], {}, {"": ""}, {"a\0": "b"}, {"a": 1},
            {"path": 1}, [{}], [[]])


def places(value, path=()):
    """The paths of everything in a document, outermost first."""
    yield path
    if type(value) in (dict, list):
        for step in value if type(value) is dict else range(len(value)):
            yield from places(value[step], (*path, step))


@st.composite
def mutations(draw, config):
    """(config with one place changed, the path of that place): replaced, removed, or with a property more."""
    path = draw(st.sampled_from(list(places(config))))
    if not path:
        return draw(st.sampled_from(ODDITIES)), path
    changed = copy.deepcopy(config)
    around = changed
    for step in path[:-1]:
        around = around[step]
    how = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"]))
    if how == "replace":
        around[path[-1]] = draw(st.sampled_from(ODDITIES))
    elif how == "remove":
        del around[path[-1]]
    elif type(around) is dict:
        around[draw(TEXT)] = draw(st.sampled_from(ODDITIES))
    else:
        around.append(draw(st.sampled_from(ODDITIES)))
    return changed, path
