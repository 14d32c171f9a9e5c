"""Draws cases: a bundle that this host can honour (or, now and then, one that both runtimes must refuse) and its life.

A case is the kit's base config with some PARTS of the specification changed, so that hypothesis can shrink it to the few
that matter. Parts run in the order of the table: what later ones may say depends on the namespaces. Strings hold
placeholders ({source}, {ns:network}, {cgroup}, {out}, {agent}; in options {pidfd}, {pidfile}) that look.py replaces. (Pure.)

Not drawn: a container without a mount namespace, whose mounts would be the host's.
"""

import copy
from dataclasses import dataclass, field

from hypothesis import strategies as st
from kit.bundle import BASE
from kit.observe import CAPS

from pyrunc.config import mountopts, names

from .invalid import spoil
from .seccomp import profile


@dataclass
class Exec:
    """One exec: its options, the process.json of `--process`, if any, and how many descriptors its caller holds open."""

    options: list = field(default_factory=list)
    process: dict = field(default_factory=dict)
    open: int = 0


@dataclass
class Case:
    """One bundle, as patches that print well, and what is done with it."""

    config: dict
    rootfs: dict = field(default_factory=dict)      # path -> (kind, ...): see look.PLACES
    owned: int = 0                                  # who owns the root filesystem
    options: list = field(default_factory=list)     # of create and run
    life: str = "observe"
    open: int = 0                                   # how many descriptors from 3 on the caller of create or run holds open
    execs: list = field(default_factory=list)
    updates: list = field(default_factory=list)     # each a list of flags, or resources for --resources
    pause: bool = False                             # stay: pause and resume; unstarted: delete by force
    tries: list = field(default_factory=list)       # what the probe attempts (kit/probe.c, attempt())

    def __repr__(self):
        """The difference to the base: what a reader needs to repeat it."""
        lines = [f"  {name} = {value!r}" for name, value in vars(self).items() if name not in ("config", "tries") and value]
        return "\n".join([*_changes("config", BASE, self.config), *lines])

    @property
    def wants_terminal(self):
        return self.config.get("process", {}).get("terminal")

    @property
    def kinds(self):
        return {entry["type"] for entry in self.config["linux"]["namespaces"]}


def _changes(path, before, after):
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                yield from _changes(f"{path}.{key}", before.get(key), after.get(key))
    elif path == "config.mounts":
        yield from (f"  {path} has no longer {entry}" for entry in before if entry not in after)
        yield from (f"  {path}[{index}] = {entry}" for index, entry in enumerate(after) if entry not in before)
    else:
        text = repr(after)  # a filter or what is tried may be long: the seed repeats it
        yield f"  {path} = {text if len(text) < 1200 else text[:1200] + ' ...'}"


def chance(draw, one_in=2):
    return draw(st.integers(0, one_in - 1)) == one_in - 1


def subset(draw, words, most=4):
    return draw(st.lists(st.sampled_from(sorted(words)), unique=True, max_size=most))


# --- parts: each changes the case

def namespaces(draw, case):
    """New ones, joined ones, none; always a mount namespace: without one the mounts would be the host's."""
    kinds = set(subset(draw, set(names.NAMESPACES) - {"mount", "user"}, 7))
    new_user = chance(draw, 3)
    joined_user = not new_user and chance(draw, 8)
    entries = [{"type": "mount"}]
    for kind in sorted(kinds):
        entry = {"type": kind}
        if joined_user and kind in ("network", "ipc", "uts"):
            entry["path"] = f"{{userns:{kind}}}"
        elif joined_user and kind == "pid" and chance(draw):
            entry["path"] = "{userns:pid}"
        elif not new_user and not joined_user and chance(draw, 4):
            entry["path"] = f"{{ns:{kind}}}"
        entries.append(entry)
    if new_user or joined_user:
        entries.append({"type": "user", **({"path": "{userns:user}"} if joined_user else {})})
    linux = case.config["linux"]
    linux["namespaces"] = draw(st.permutations(entries))
    if new_user:
        whole = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        split = [{"containerID": 0, "hostID": 100000, "size": 10}, {"containerID": 10, "hostID": 200010, "size": 65526}]
        linux["uidMappings"], linux["gidMappings"] = draw(st.sampled_from([whole, split])), draw(st.sampled_from([whole, split]))
        case.owned = draw(st.sampled_from([0, 100000]))
    if "uts" not in kinds:
        case.config.pop("hostname")
    if "time" in kinds and chance(draw) and {"type": "time"} in entries:
        offset = st.fixed_dictionaries({}, optional={"secs": st.integers(-100, 10**6), "nanosecs": st.integers(0, 999_999_999)})
        clocks = draw(st.sampled_from([["monotonic"], ["boottime"], ["monotonic", "boottime"]]))
        linux["timeOffsets"] = {clock: draw(offset) for clock in clocks}


def host_names(draw, case):
    if "uts" in case.kinds:
        case.config["hostname"] = draw(st.sampled_from(["a", "some.host", "x" * 64, ""]))
        if chance(draw):
            case.config["domainname"] = draw(st.sampled_from(["d", "dom.example", ""]))


def identity(draw, case):
    user = {"uid": draw(st.sampled_from([0, 1, 1000, 65534])), "gid": draw(st.sampled_from([0, 5, 1000]))}
    if chance(draw):
        user["umask"] = draw(st.sampled_from([0, 0o22, 0o27, 0o77, 0o777, 0o1022]))
    if chance(draw):
        user["additionalGids"] = draw(st.lists(st.sampled_from([0, 5, 7, 1000, 65535]), max_size=3))
    case.config["process"]["user"] = user


def capabilities(draw, case):
    known = st.lists(st.sampled_from([f"CAP_{name}" for name in CAPS]), max_size=12, unique=True)
    if chance(draw):
        some = draw(known)
        case.config["process"]["capabilities"] = {kind: draw(st.sampled_from([some, some, some[:3]]))
                                                  for kind in names.CAPABILITY_SETS if chance(draw, 1)}
    else:
        sets = subset(draw, names.CAPABILITY_SETS, 5)
        case.config["process"]["capabilities"] = {kind: draw(known) for kind in sets}


LIMITS = {"CPU": 1000, "FSIZE": 1 << 30, "DATA": 1 << 32, "STACK": 8 << 20, "CORE": 0, "RSS": 1 << 32, "NPROC": 90000,
          "NOFILE": 20000, "MEMLOCK": 8 << 20, "AS": 1 << 34, "LOCKS": 1000, "SIGPENDING": 90000, "MSGQUEUE": 819200,
          "NICE": 0, "RTPRIO": 0, "RTTIME": 10**9}


def rlimits(draw, case):
    """Nothing above what this process has: the host may lack CAP_SYS_RESOURCE."""
    found = []
    for name in subset(draw, LIMITS, 5):
        hard = draw(st.integers(LIMITS[name] // 2, LIMITS[name]))
        found.append({"type": f"RLIMIT_{name}", "hard": hard, "soft": draw(st.sampled_from([hard, hard - hard // 8]))})
    case.config["process"]["rlimits"] = found


def process(draw, case):
    found = case.config["process"]
    optional = {
        "cwd": st.sampled_from(["/", "/tmp", "/made/by/runtime", "/etc", "/mnt", "/proc/sys", "/tmp/../etc", "/link"]),
        "oomScoreAdj": st.sampled_from([0, 1, 500, 1000]),
        "noNewPrivileges": st.booleans(),
        "env": st.lists(st.sampled_from(["A=1", "A=2", "B=", "HOME=/h", "PATH=/bin", "PATH=/sbin:/bin", "L=" + "x" * 3000, "C=\u00e9=",
                                         "D=a\nb"]), max_size=5),
        "ioPriority": st.fixed_dictionaries({"class": st.sampled_from(sorted(names.IOPRIO_CLASSES)), "priority": st.integers(0, 7)}),
        "scheduler": st.one_of(
            st.fixed_dictionaries({"policy": st.sampled_from(["SCHED_OTHER", "SCHED_BATCH"])}, optional={"nice": st.integers(-20, 19)}),
            st.just({"policy": "SCHED_IDLE"}),
            st.fixed_dictionaries({"policy": st.sampled_from(["SCHED_OTHER", "SCHED_BATCH"]),
                                   "flags": st.just(["SCHED_FLAG_RESET_ON_FORK"])}),
            st.fixed_dictionaries({"policy": st.sampled_from(["SCHED_FIFO", "SCHED_RR"]), "priority": st.integers(1, 99)}),
            st.just({"policy": "SCHED_DEADLINE", "runtime": 1000000, "deadline": 10000000, "period": 20000000})),
        "consoleSize": st.fixed_dictionaries({"height": st.integers(0, 500), "width": st.integers(0, 500)}),
        "terminal": st.just(True),
    }
    for key in subset(draw, optional, 4):
        found[key] = draw(optional[key])
    if found.get("cwd") == "/link":
        case.rootfs["/link"] = ("link", "etc")


SYSCTLS = {"ipc": {"kernel.msgmax": "7777", "kernel.msgmnb": "9999", "kernel.msgmni": "77", "kernel.sem": "100 200 50 60",
                   "kernel.shmmni": "99", "kernel.shmall": "99999", "kernel.shmmax": "999999", "kernel.shm_rmid_forced": "1",
                   "fs.mqueue.msg_max": "33", "fs/mqueue/queues_max": "44"},
           "network": {"net.ipv4.ip_forward": "1", "net.ipv4.ip_default_ttl": "33", "net.core.somaxconn": "77",
                       "net.ipv4.ip_unprivileged_port_start": "0", "net/ipv4/ping_group_range": "0 5"},
           "uts": {"kernel.domainname": "by.sysctl"}, "user": {"user.max_user_namespaces": "7"}}


def kernel(draw, case):
    linux, new = case.config["linux"], {entry["type"] for entry in case.config["linux"]["namespaces"] if "path" not in entry}
    may = {key: value for kind in sorted(new & set(SYSCTLS)) for key, value in SYSCTLS[kind].items()}
    if may and chance(draw):
        linux["sysctl"] = {key: may[key] for key in subset(draw, may)}
    optional = {
        "personality": st.fixed_dictionaries({"domain": st.sampled_from(sorted(names.PERSONALITIES))}),
        "memoryPolicy": st.one_of(
            st.fixed_dictionaries({"mode": st.sampled_from(["MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_PREFERRED", "MPOL_PREFERRED_MANY",
                                                            "MPOL_WEIGHTED_INTERLEAVE"]), "nodes": st.sampled_from(["0", "0-0"])},
                                  optional={"flags": st.sampled_from([["MPOL_F_STATIC_NODES"], ["MPOL_F_RELATIVE_NODES"], []])}),
            st.sampled_from([{"mode": "MPOL_DEFAULT"}, {"mode": "MPOL_LOCAL"}, {"mode": "MPOL_PREFERRED", "nodes": ""}])),
        "rootfsPropagation": st.sampled_from(["", "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable",
                                              "runbindable"]),
        "cgroupsPath": st.sampled_from(["/{cgroup}", "/{cgroup}/a/b", "{cgroup}", "/{cgroup}/./a//b/", ""]),
    }
    for key in subset(draw, optional, 2):
        linux[key] = draw(optional[key])


TIMES = ["noatime", "atime", "relatime", "norelatime", "strictatime", "nostrictatime", "nodiratime", "diratime"]
FLAGS = sorted(set(mountopts.FLAGS) - {"remount", "iversion", "noiversion"})


def mounts(draw, case):
    kinds = [bind, bind, tmpfs, other, overlay]
    for _ in range(draw(st.integers(1, 3))):
        case.config["mounts"].append(draw(st.sampled_from(kinds))(draw, case))
    case.tries += ["statfs:/mnt", "write:/mnt/file", "read:/mnt/sub/deep", "dir:/mnt", "access-x:/mnt/file"]


def _options(draw):
    words = subset(draw, draw(st.sampled_from([FLAGS, ["ro", "nosuid", "nodev", "noexec"], TIMES])), 3)
    if chance(draw, 4):
        words += subset(draw, mountopts.PROPAGATION, 1)
    return words


POINTS = ["/mnt", "/mnt", "/mnt/deep/er", "/data", "/etc", "/etc/new", "/opt/../srv", "/link/x", "/mnt//x/."]


def point(draw, case):
    path = draw(st.sampled_from(POINTS))
    if path.startswith("/link"):
        case.rootfs["/link"] = draw(st.sampled_from([("link", "/target"), ("link", "target"), ("link", "../../target")]))
        case.rootfs["/target"] = ("dir",)
    return path


def bind(draw, case):
    source = draw(st.sampled_from(["{source}", "{source}", "{source}/file", "{source}/sub", "{source}/empty", "rootfs/tmp"]))
    words = [draw(st.sampled_from(["bind", "rbind"])), *_options(draw)]
    if chance(draw, 3):
        words += subset(draw, mountopts.RECURSIVE, 2)
    entry = {"destination": "/target-file" if source.endswith("file") else point(draw, case), "source": source,
             "options": draw(st.permutations(words))}
    if chance(draw):
        entry["type"] = draw(st.sampled_from(["bind", "none"]))
    if chance(draw, 5):
        entry["options"].append(draw(st.sampled_from(["idmap", "ridmap"])))
        entry["uidMappings"] = entry["gidMappings"] = [{"containerID": 0, "hostID": 400000, "size": 65536}]
    return entry


def tmpfs(draw, case):
    data = subset(draw, ["size=2m", "mode=0750", "uid=5", "gid=7", "nr_inodes=50", "tmpcopyup", "size=50%", "huge=never"], 3)
    path = point(draw, case)
    if "tmpcopyup" in data and path == "/data":
        case.rootfs.update({"/data/file": ("file", "x", 0o640, 3, 4), "/data/link": ("link", "file"), "/data/d/e": ("dir", 0o1700)})
        case.tries += ["read:/data/file", "lstat:/data/link", "stat:/data/d/e", "stat:/data/file"]
    return {"destination": path, "type": "tmpfs", "source": draw(st.sampled_from(["tmpfs", "some name"])),
            "options": draw(st.permutations(_options(draw) + data))}


def overlay(draw, case):
    case.rootfs["/lower/file"] = ("file", "lower")
    return {"destination": "/mnt", "type": "overlay", "source": "overlay",
            "options": [*_options(draw), "lowerdir={source}:{source}/empty"]}


def other(draw, case):
    kind, path = draw(st.sampled_from([("proc", "/proc2"), ("sysfs", "/sys2"), ("mqueue", "/dev/mq2"), ("devpts", "/pts2"),
                                       ("ramfs", "/mnt"), ("cgroup", "/sys/fs/cgroup")]))
    more = {"devpts": ["newinstance", "ptmxmode=0600", "mode=0600"]}.get(kind, [])
    return {"destination": path, "type": kind, "source": kind, "options": _options(draw) + more}


def base_mounts(draw, case):
    """Less of what everyone has, or with other options."""
    present = case.config["mounts"]
    if chance(draw):
        lost = draw(st.sampled_from(["/dev/pts", "/dev/shm", "/dev/mqueue", "/sys"]))
        case.config["mounts"] = present = [entry for entry in present if entry["destination"] != lost]
    if chance(draw):
        entry = draw(st.sampled_from(present))
        index = present.index(entry)
        words = [word for word in entry.get("options", ()) if "=" in word] + _options(draw)
        present[index] = {**entry, "options": words}


def paths(draw, case):
    """root.readonly, masked and read-only paths."""
    linux, known = case.config["linux"], ["/etc/passwd", "/etc", "/proc/kcore", "/proc/sys", "/sys/firmware", "/none", "/none/x", "/tmp",
                                          "/dev/null", "/mnt", "/etc/link", "/etc/dir", "/proc/sysrq-trigger"]
    case.rootfs.update({"/etc/link": ("link", "passwd"), "/etc/dir/x": ("file", "x")})
    if chance(draw):
        linux["maskedPaths"] = draw(st.lists(st.sampled_from([path for path in known if path != "/proc/sys"]), max_size=4))
    if chance(draw):
        linux["readonlyPaths"] = draw(st.lists(st.sampled_from(known), max_size=4))
    if chance(draw):
        case.config["root"]["readonly"] = draw(st.booleans())
    case.tries += ["read:/etc/passwd", "dir:/etc/dir", "write:/etc/passwd", "write:/etc/link", "write:/proc/sys/kernel/msgmax",
                   "write:/proc/sysrq-trigger", "read:/proc/kcore", "dir:/sys/firmware", "mkdir:/tmp/made", "mkdir:/made", "dir:/tmp"]


NODES = ["/dev/fuse", "/dev/x/loop7", "/dev/null", "/dev/tty", "/dev/kmsg", "/dev/shm/in", "/nodes/n", "/dev/ptmx"]
NUMBERS = {"c": [(1, 3), (1, 5), (1, 11), (10, 229), (10, 200), (5, 1), (4, 64)], "b": [(7, 0), (7, 7), (8, 0)]}


def devices(draw, case):
    found = []
    for path in subset(draw, NODES, 3):
        kind = draw(st.sampled_from("cbup"))
        entry = {"path": path, "type": kind}
        if kind != "p":
            entry["major"], entry["minor"] = draw(st.sampled_from(NUMBERS["b" if kind == "b" else "c"]))
        entry.update({key: value for key, value in (("fileMode", 0o640), ("uid", 3), ("gid", 4)) if chance(draw)})
        found.append(entry)
    case.config["linux"]["devices"] = found
    case.tries += ["lstat:/nodes/n", "lstat:/dev/x/loop7", "lstat:/dev/shm/in"]


def device_rules(draw, case):
    found = [{"allow": False, "access": "rwm"}] if chance(draw) else []
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from("cb"))
        major, minor = draw(st.sampled_from(NUMBERS[kind]))
        rule = {"allow": chance(draw), "type": kind, "access": draw(st.sampled_from(["r", "w", "m", "rw", "rwm", "rm"]))}
        rule.update({key: value for key, value in (("major", major), ("minor", minor)) if not chance(draw, 5)})
        found.append(draw(st.sampled_from([rule] * 8 + [{"allow": rule["allow"], "access": "rwm"}])))
    case.config["linux"]["resources"]["devices"] = found
    sets = case.config["process"].get("capabilities", {})
    for kind in ("bounding", "effective", "permitted"):
        sets[kind] = [*sets.get(kind, []), *["CAP_MKNOD"] * ("CAP_MKNOD" not in sets.get(kind, []))]
    case.tries += [f"device:{kind},{major},{minor},{how}" for kind, listed in NUMBERS.items() for major, minor in listed for how in "rwb"]


def some_resources():
    mib = 1 << 20
    limit = st.integers(64, 512).map(lambda n: n * mib)
    return {
        "memory": st.one_of(
            st.fixed_dictionaries({}, optional={"limit": limit, "reservation": limit, "swappiness": st.integers(0, 100),
                                                "disableOOMKiller": st.booleans(), "checkBeforeUpdate": st.booleans()}),
            st.tuples(limit, limit).map(lambda t: {"limit": min(t), "swap": max(t)}),
            st.sampled_from([{"limit": -1}, {"limit": -1, "swap": -1}, {"limit": 64 * mib, "swap": -1}, {"limit": 0}])),
        "cpu": st.one_of(
            st.fixed_dictionaries({}, optional={"shares": st.sampled_from([0, 1, 2, 100, 1024, 262144, 300000]),
                                                "cpus": st.sampled_from(["", "0", "0-1", "1", "0,1"]), "mems": st.sampled_from(["", "0"])}),
            st.fixed_dictionaries({"period": st.sampled_from([0, 1000, 100000, 1000000])},
                                  optional={"quota": st.sampled_from([-1, 0, 1000, 50000, 200000])}),
            st.fixed_dictionaries({"quota": st.sampled_from([-1, 1000, 50000, 200000])},
                                  optional={"burst": st.sampled_from([0, 500, 1000])}),
            st.fixed_dictionaries({"idle": st.integers(0, 1)}, optional={"shares": st.just(77)})),
        "pids": st.one_of(st.fixed_dictionaries({"limit": st.sampled_from([-1, 0, 50, 1000, 4194304])}), st.just({})),
        "blockIO": st.sampled_from([{}, {"weight": 0}, {"throttleReadBpsDevice": []}, {"throttleWriteIOPSDevice": [
            {"major": 7, "minor": 0, "rate": 1000}]}]),
        "network": st.sampled_from([{}, {"priorities": []}]),
        "hugepageLimits": st.just([]),
        "unified": st.just({}),
    }


def resources(draw, case):
    optional = some_resources()
    for key in subset(draw, optional, 3):
        case.config["linux"]["resources"][key] = draw(optional[key])


FLAGS_OF_UPDATE = {
    "--memory": ["128m", "-1", "268435456"], "--memory-reservation": ["64m", "-1"], "--memory-swap": ["512m", "-1"],
    "--cpu-share": ["0", "77", "2000"], "--cpu-quota": ["50000", "-1"], "--cpu-period": ["100000", "50000"], "--cpu-burst": ["0", "1000"],
    "--cpu-idle": ["0", "1"], "--cpuset-cpus": ["0", "0-1", "77"], "--cpuset-mems": ["0"], "--pids-limit": ["77", "-1", "0"],
}


def updates(draw, case):
    for _ in range(draw(st.integers(1, 2))):
        if chance(draw):
            optional = some_resources()
            optional.pop("unified")  # an empty one is refused by runc's update on hybrid hosts, and by nothing else
            case.updates.append({key: draw(optional[key]) for key in subset(draw, optional, 3)})
        else:
            flags = subset(draw, FLAGS_OF_UPDATE, 3)
            case.updates.append([word for flag in flags for word in (flag, draw(st.sampled_from(FLAGS_OF_UPDATE[flag])))])


def seccomp(draw, case):
    case.config["linux"]["seccomp"], tries = profile(draw)
    case.tries += tries


def hooks(draw, case):
    found = {}
    for kind in subset(draw, names.HOOKS, 3):
        found[kind] = []
        for _ in range(draw(st.integers(1, 2))):
            inside = kind == "startContainer"
            target = ("/out" if inside else "{out}") + f"/{kind}"
            hook = {"path": "/bin/probe" if inside else "{probe}", "args": ["the probe", "hook", target]}
            if chance(draw):
                hook["env"] = draw(st.sampled_from([[], ["A=b"], ["PATH=/x", "E="]]))
            if chance(draw):
                hook["timeout"] = 20
            if chance(draw, 12):
                hook.pop("args")
                hook["path"] = draw(st.sampled_from(["/bin/false", "/none"]))
            found[kind].append(hook)
    if "startContainer" in found:
        case.config["mounts"].append({"destination": "/out", "source": "{out}", "options": ["bind"]})
    case.config["hooks"] = found


def annotations(draw, case):
    case.config["annotations"] = draw(st.dictionaries(st.sampled_from(["a", "org.example/b", "\u00e9", "x.y.z"]),
                                                      st.sampled_from(["", "v", "\n", "\u00e9", "{\"a\": 1}"]), max_size=3))


def options(draw, case):
    case.options = subset(draw, ["--no-pivot", "--no-new-keyring"], 2)
    outside(draw, case)


def outside(draw, call):
    """Options of create, run and exec that are about the caller: descriptors from 3 on, of which more or fewer may be
    wanted than are open; a socket for a pidfd; a file for the pid."""
    for option, value in (("--pidfd-socket", "{pidfd}"), ("--pid-file", "{pidfile}")):
        if chance(draw, 4):
            call.options += [option, value]
    if chance(draw, 3):
        call.open = draw(st.integers(0, 3))
        call.options += ["--preserve-fds", str(draw(st.integers(0, 3)))]


def version(draw, case):
    case.config["ociVersion"] = draw(st.sampled_from(["1.0.0", "1.0.2-dev", "1.3.0", "1.2.0+dev", "1.1.0-rc.3"]))


PARTS = [namespaces, host_names, identity, capabilities, rlimits, process, kernel, base_mounts, mounts, paths, devices, device_rules,
         resources, updates, seccomp, hooks, annotations, options, version]

EXECS = {
    "--cwd": ["/tmp", "/etc", "/made"], "--env": ["A=1", "TERM=dumb", "HOME=/y"], "--user": ["1000:1000", "0", "5", "1000"],
    "--additional-gids": ["5", "0", "1000"], "--cap": ["CAP_SYS_PTRACE", "CAP_KILL", "CAP_NET_RAW"], "--no-new-privs": [None],
    "--tty": [None], "--detach": [None], "--cgroup": ["/", "none"], "--apparmor": ["none"], "--process-label": ["a:b:c"],
}
RARE = ("--cgroup", "--apparmor", "--process-label")  # refused, mostly


def execution(draw):
    """An exec by options, or of a process.json, which stands for all but those about the outside."""
    call = Exec()
    if chance(draw, 3):
        drawn = Case(copy.deepcopy(BASE))
        for part in subset_of_parts(draw, [identity, capabilities, rlimits, process]):
            part(draw, drawn)
        call.process = {**drawn.config["process"], "args": ["/bin/probe"]}
        for key in subset(draw, set(call.process) - {"args", "cwd"}, 3):
            del call.process[key]
    else:
        for option in subset(draw, set(EXECS) - set(RARE), 3) + [option for option in RARE if chance(draw, 20)]:
            value = draw(st.sampled_from(EXECS[option]))
            call.options += [option] if value is None else [option, value]
    if call.process and chance(draw, 3):
        call.options.append("--detach")
    outside(draw, call)
    return call


def subset_of_parts(draw, parts):
    chosen = draw(st.lists(st.sampled_from(range(len(parts))), unique=True, max_size=6))
    return [parts[index] for index in sorted(chosen)]


def life(draw, case):
    """What is done with the container, and the probe's arguments."""
    case.life = draw(st.sampled_from(["observe", "observe", "run", "stay", "stay", "unstarted"]))
    if case.life in ("stay", "unstarted"):
        case.pause = chance(draw, 3)
        case.execs = [execution(draw) for _ in range(draw(st.integers(0, 2)))]
    status = [f"exit:{draw(st.integers(0, 255))}"] if case.life == "run" else []
    case.config["process"]["args"] = ["/bin/probe", "stay" if case.life == "stay" else "look", *dict.fromkeys(case.tries), *status]


@st.composite
def cases(draw):
    spoiled = chance(draw, 10)
    parts = [part for part in PARTS if not spoiled or part is not namespaces]  # these may be a fault of their own
    case = Case(copy.deepcopy(BASE))
    case.config["linux"]["cgroupsPath"] = "/{cgroup}"
    for part in subset_of_parts(draw, parts):
        part(draw, case)
    life(draw, case)
    if spoiled:
        spoil(draw, case)
    return case
