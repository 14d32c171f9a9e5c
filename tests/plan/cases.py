"""The configs whose plans are kept as goldens: name -> (patch of the default config, facts, request).

A patch is a function that changes the dict; the default is what `pyrunc spec` writes, without a terminal.
"""

import copy

from pyrunc.config import defaults

BPF = (bytes(8), 4, None)


def base():
    config = copy.deepcopy(defaults.config(True))
    config["process"]["terminal"] = False
    return config


def put(**changes):
    """put(process__cwd="/x"): set keys, `__` descending."""

    def patch(config):
        for path, value in changes.items():
            at = config
            *parents, last = path.split("__")
            for part in parents:
                at = at.setdefault(part, {})
            at[last] = copy.deepcopy(value)  # the next patch may change it

    return patch


def namespaces(*kinds, **paths):
    return put(linux__namespaces=[{"type": k} for k in kinds] + [{"type": k, "path": p} for k, p in paths.items()])


def mount(*mounts):
    def patch(config):
        config["mounts"] += mounts

    return patch


def both(*patches):
    def patch(config):
        for one in patches:
            one(config)

    return patch


def userns(config):
    config["linux"]["namespaces"].append({"type": "user"})
    for key in ("uidMappings", "gidMappings"):
        config["linux"][key] = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def bound_proc(config):
    config["mounts"][0] = bind(["rbind"], "/proc", "/proc")


def rootless(config):
    """What `spec --rootless` writes."""
    config.clear()
    config.update(defaults.rootless(1000, 1000, True))
    config["process"]["terminal"] = False


def unit(name="p-n.scope", group="a.slice/a-b.slice/p-n.scope", bus="system"):
    return {"unit": {"bus": bus, "unit": name, "slice": "a-b.slice", "name": "n"}, "cgroup": group}


def bind(options, source="/srv/data", destination="/data", **more):
    return {"destination": destination, "type": "bind", "source": source, "options": options, **more}


HOOK = {"path": "/bin/hook", "args": ["hook", "x"], "env": ["A=b"], "timeout": 3}
MAPS = [{"containerID": 0, "hostID": 1000, "size": 10}]
LIMITS = {
    "memory": {"limit": 64 << 20, "swap": 128 << 20, "reservation": 32 << 20},
    "cpu": {"shares": 512, "quota": 50000, "period": 100000, "burst": 1000, "cpus": "0"},
    "pids": {"limit": 20}, "blockIO": {"weight": 50, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1000}]},
    "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
}
V1 = [["cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct", "c1"], ["memory", "/sys/fs/cgroup/memory", "c1"],
      ["name=systemd", "/sys/fs/cgroup/systemd", "user.slice/c1"]]
ALL_CAPS = {key: ["CAP_KILL", "CAP_CHOWN"] for key in ("bounding", "effective", "inheritable", "permitted", "ambient")}

CASES = {
    "default": (put(), "root-v2", {}),
    "default-hybrid": (put(), "root-hybrid", {}),
    "default-run": (put(), "root-v2", {"gate": False, "detach": False}),
    "user-namespace-run": (userns, "root-v2", {"gate": False, "detach": False}),
    "without-cgroup": (put(), "none", {"cgroup": None}),
    "limits": (put(linux__resources={**LIMITS, "unified": {"memory.high": "1000"}}), "root-v2", {}),
    "limits-hybrid": (put(linux__resources=LIMITS), "root-hybrid", {"cgroup_v1": V1}),
    "domainname": (put(domainname="example.org"), "root-v2", {}),
    "terminal": (put(process__terminal=True, process__consoleSize={"height": 24, "width": 80}), "root-v2", {}),
    "user-namespace": (userns, "root-v2", {}),
    "rootless": (userns, "rootless-v2", {"cgroup": None, "rootless": True}),
    "rootless-own-id": (rootless, "rootless-v2", {"cgroup": "user.slice/c1", "rootless": True}),
    "rootless-limits": (both(rootless, put(linux__resources={"pids": {"limit": 20}}, process__oomScoreAdj=100)), "rootless-v2",
                        {"cgroup": "user.slice/c1", "rootless": True}),
    "rootless-time": (both(rootless, lambda config: config["linux"]["namespaces"].append({"type": "time"}),
                           put(linux__timeOffsets={"boottime": {"secs": 5}})), "rootless-v2", {"cgroup": None, "rootless": True}),
    "root-of-a-user-namespace": (put(), "userns-v2", {"cgroup": "user.slice/c1", "rootless": True}),
    "user-namespace-without-pid": (both(namespaces("mount", "uts", "ipc"), userns), "root-v2", {}),
    "joined-user-maps": (both(namespaces("pid", "mount", user="/proc/9/ns/user"),
                              put(linux__uidMappings=MAPS, linux__gidMappings=MAPS)), "root-v2", {}),
    "joined-network": (namespaces("pid", "mount", "uts", "ipc", network="/run/netns/a"), "root-v2", {}),
    "joined-network-sysctl": (both(namespaces("mount", "ipc", network="/run/netns/a", uts="/run/uts"), put(
        linux__sysctl={"net.ipv4.ip_forward": "1", "kernel.sem": "1 1 1 1"}, domainname="a", hostname="b")), "root-v2", {}),
    "joined-network-only": (namespaces("mount", "uts", network="/run/netns/a"), "root-v2", {}),
    "joined-user": (namespaces("pid", "mount", user="/proc/9/ns/user", network="/proc/9/ns/net"), "root-v2", {}),
    "joined-pid": (namespaces("mount", pid="/proc/9/ns/pid"), "root-v2", {}),
    "time": (both(namespaces("pid", "mount", "time"), put(linux__timeOffsets={"boottime": {"secs": 5}})), "root-v2", {}),
    "no-mount-namespace": (
        both(namespaces("pid"), put(linux__maskedPaths=[], linux__readonlyPaths=[], root__readonly=False, mounts=[],
                                    hostname="")), "root-v2", {}),
    "no-mount-namespace-read-only": (
        both(namespaces("pid"), put(linux__maskedPaths=[], linux__readonlyPaths=[], root__readonly=True, hostname="", mounts=[
            {"destination": "/x", "type": "tmpfs", "options": ["ro"]}])), "root-v2", {}),
    "binds-among-others": (lambda config: config["mounts"].extend([
        *[bind(["rbind"], destination=f"/data{i}") for i in range(4)], {"destination": "/run", "type": "tmpfs"},
        bind(["bind"], destination="/run/data", uidMappings=MAPS, gidMappings=MAPS)]), "root-v2", {}),
    "bind-read-only": (mount(bind(["bind", "ro"])), "root-v2", {}),
    "bind-recursive": (mount(bind(["rbind", "rro", "rprivate", "noexec"])), "root-v2", {}),
    "bind-relative": (mount(bind(["bind"], source="data")), "root-v2", {}),
    "bind-idmap": (mount(bind(["bind", "idmap"], uidMappings=MAPS, gidMappings=MAPS)), "root-v2", {}),
    "bind-idmap-own": (both(userns, mount(bind(["rbind", "ridmap"]))), "root-v2", {}),
    "long-options": (mount(
        {"destination": "/o", "type": "overlay", "options": ["ro", "nosuid", "lowerdir=" + ":".join([f"/srv/layer-{i:040}" for i in range(9)])]},
        {"destination": "/t", "type": "tmpfs", "source": "t", "options": ["ro", "sync", "noatime", "mpol=bind:0,1"]}), "root-v2", {}),
    "bind-of-an-earlier-mount": (both(userns, mount(
        bind(["rbind"]), bind(["bind", "ro", "rnoexec"], "/bundle/rootfs/data/sub", "/inner"),
        bind(["bind"], "/bundle/rootfs/dev/shm", "/tmpfs", uidMappings=MAPS, gidMappings=MAPS), bind(["rbind"], destination="/later"),
        bind(["bind"], "/bundle/rootfs", "/host"), bind(["rbind"], "/bundle/rootfs", "/all"))), "root-v2",
        {"inside": {"8": "data/sub", "9": "dev/shm", "11": "", "12": ""}}),
    "bind-of-an-earlier-mount-rootless": (both(rootless, mount(bind(["bind", "rw"], "/bundle/rootfs/dev/shm"))), "rootless-v2",
                                          {"cgroup": None, "rootless": True, "inside": {"7": "dev/shm"}}),
    "bind-user-namespace": (both(userns, mount(bind(["bind", "ro", "dev"]), bind(["rbind", "rrw"], destination="/all"),
                                               {"destination": "/data", "options": ["remount", "nosuid"]})), "root-v2", {}),
    "bind-rootless": (both(rootless, mount(bind(["bind", "rw"]))), "rootless-v2", {"cgroup": None, "rootless": True}),
    "tmpfs-read-only": (mount({"destination": "/x", "type": "tmpfs", "options": ["ro", "size=1m"]}), "root-v2", {}),
    "tmpfs-copy-up": (mount({"destination": "/x", "type": "tmpfs", "options": ["tmpcopyup"]}), "root-v2", {}),
    "remount": (both(mount({"destination": "/x", "type": "tmpfs"}), mount({"destination": "/x", "options": ["remount", "ro"]}),
                     mount({"destination": "/", "options": ["remount", "nodev"]})), "root-v2", {}),
    "no-process": (lambda config: config.update(process={"cwd": "/", "args": []}), "root-v2", {}),
    "lacking": (put(process__capabilities=ALL_CAPS), "root-lacking", {}),
    "own-dev": (mount(bind(["rbind"], "/dev", "/dev")), "root-v2", {}),
    "devices": (
        put(linux__devices=[
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 1, "gid": 2},
            {"path": "/dev/null", "type": "c", "major": 1, "minor": 3},
            {"path": "/run/pipe", "type": "p"},
        ]), "root-v2", {}),
    "devices-user-namespace": (both(userns, put(linux__devices=[
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 432, "uid": 1, "gid": 2},
        {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2}, {"path": "/run/pipe", "type": "p"}])), "root-v2", {}),
    "devices-by-turns": (both(userns, put(linux__devices=[
        {"path": f"/dev/x{i}", "type": "c", "major": 1, "minor": i} for i in range(4)])), "root-v2", {}),
    "sysctl-shared-pid": (both(namespaces("network", "mount"), userns, put(linux__sysctl={"net.ipv4.ip_forward": "1"}), bound_proc),
                          "rootless-v2", {"cgroup": None, "rootless": True}),
    "sysctl": (put(linux__sysctl={"net.ipv4.ip_forward": "1", "net/ipv4/conf/eth0.1/forwarding": "1"}), "root-v2", {}),
    "seccomp": (put(), "root-v2", {"bpf": BPF}),
    "seccomp-privileged": (put(process__noNewPrivileges=False), "root-v2", {"bpf": BPF}),
    "seccomp-notify": (put(), "root-v2", {"bpf": (bytes(8), 0, ("/run/agent.sock", ""))}),
    "user": (put(process__user={"uid": 1000, "gid": 1000, "additionalGids": [5], "umask": 63}, process__cwd="/home"),
             "root-v2", {}),
    "capabilities": (put(process__capabilities=ALL_CAPS), "root-v2", {}),
    "no-capabilities": (lambda config: config["process"].pop("capabilities"), "root-v2", {}),
    "scheduling": (
        put(process__scheduler={"policy": "SCHED_FIFO", "priority": 3},
            process__ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 4}, process__oomScoreAdj=100,
            linux__personality={"domain": "LINUX32"},
            linux__memoryPolicy={"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_STATIC_NODES"]}),
        "root-v2", {}),
    "hooks": (put(hooks={kind: [HOOK] for kind in (
        "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")}), "root-v2", {}),
    "network-devices": (
        both(put(linux__netDevices={"eth0": {}, "wlan0": {"name": "eth%d"}}),
             put(hooks={"createRuntime": [HOOK]})), "root-v2", {}),
    "network-devices-user-namespace": (both(userns, put(linux__netDevices={"eth0": {"name": "e"}})), "root-v2", {}),
    "rdt": (put(linux__intelRdt={"l3CacheSchema": "L3:0=f;1=f", "memBwSchema": "MB:0=20;1=70", "schemata": ["L2:0=f", "L2:4=3"],
                                 "enableMonitoring": True}), "root-rdt", {}),
    "rdt-shared": (put(linux__intelRdt={"closID": "gold", "schemata": ["L2:0=f"]}), "root-rdt", {}),
    "rdt-default": (both(userns, put(linux__intelRdt={"closID": "/", "enableMonitoring": True})), "root-rdt", {}),
    "security-modules": (put(process__apparmorProfile="p", process__selinuxLabel="l"), "root-lsm", {}),
    "mount-label": (both(put(linux__mountLabel="u:r:t:s0:c1,c2"), mount(
        bind(["bind"]), {"destination": "/x", "type": "tmpfs", "options": ['context="u:r:own:s0:c1,c2"', "size=1m"]})), "root-lsm", {}),
    "mount-label-v1": (both(put(linux__mountLabel="u:r:t:s0"), mount(
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]})), "root-hybrid", {}),
    "propagation-shared": (put(linux__rootfsPropagation="rshared"), "root-v2", {}),
    "preserved": (put(), "root-v2", {"preserve": 2, "listen_fds": 1, "notify": True}),
    "no-pivot": (put(), "root-v2", {"no_pivot": True, "no_new_keyring": True}),
    "relative-command": (put(process__args=["./run", "x"]), "root-v2", {}),
    "systemd": (put(
        linux__resources={
            "memory": {"limit": 67108864, "swap": 134217728}, "cpu": {"shares": 512, "quota": 50500, "period": 100000, "cpus": "0"},
            "pids": {"limit": 20}, "blockIO": {"weight": 50}, "unified": {"memory.high": "1000", "memory.oom.group": "1"},
            "devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "b", "major": 7, "access": "r"}]},
        annotations={"org.systemd.property.TimeoutStopSec": "1.5", "org.systemd.property.After": "['a.service']", "other": "x"}),
        "root-v2", unit()),
    "systemd-slice": (put(), "root-v2", unit("a-b-c.slice", "a.slice/a-b.slice/a-b-c.slice")),
    "systemd-user": (both(userns, put(linux__cgroupsPath="a-b.slice:p:n")), "rootless-v2", unit(
        group="user.slice/user-1000.slice/user@1000.service/a.slice/a-b.slice/p-n.scope", bus="unix:path=/run/user/1000/bus")),
}

EVERY = {
    "terminal": True, "user": {"uid": 7, "gid": 8, "additionalGids": [5], "umask": 63}, "apparmorProfile": "p",
    "selinuxLabel": "l", "noNewPrivileges": False, "capabilities": ALL_CAPS, "oomScoreAdj": 100,
    "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 10}], "execCPUAffinity": {"initial": "0-1", "final": "1"},
    "scheduler": {"policy": "SCHED_BATCH", "nice": 3}, "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
}

# the same for exec: the config is the container's, with what is to run as its process
EXECS = {
    "exec": (put(), "root-v2", {}),
    "exec-every": (put(process={**base()["process"], **EVERY}, linux__personality={"domain": "LINUX32"},
                       linux__memoryPolicy={"mode": "MPOL_BIND", "nodes": "0-1"}), "root-lsm",
                   {"bpf": (bytes(8), 0, ("/run/agent.sock", "")), "pidfd_socket": "/run/pidfd.sock", "preserve": 1}),
    "exec-hybrid": (put(), "root-hybrid", {"cgroup_v1": V1}),
    "exec-group-by-name": (put(), "root-v2", {"cgroup": "/c1/below", "follow": False}),
    "exec-user-namespace": (userns, "root-v2", {}),
    "exec-label-user-namespace": (both(userns, put(process__apparmorProfile="p")), "root-lsm", {}),
    "exec-joined": (namespaces("pid", "mount", user="/proc/9/ns/user", network="/proc/9/ns/net"), "root-v2", {}),
    "exec-no-mount-namespace": (namespaces("pid"), "root-v2", {}),
    "exec-no-namespace": (namespaces(), "none", {"cgroup": None}),
    "exec-systemd-user": (userns, "rootless-v2", {
        "unit": {"bus": "unix:path=/run/user/1000/bus", "unit": "p-n.scope", "group": "u/p-n.scope"}, "cgroup": "u/p-n.scope/below"}),
}
