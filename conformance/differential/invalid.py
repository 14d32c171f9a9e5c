"""Faults that both runtimes must refuse, each an edit of an otherwise valid case. (Pure.)"""

from hypothesis import strategies as st


def _process(**properties):
    return lambda case: case.config["process"].update(properties)


def _linux(**properties):
    return lambda case: case.config["linux"].update(properties)


def _resources(**properties):
    return lambda case: case.config["linux"]["resources"].update(properties)


def _mount(**entry):
    return lambda case: case.config["mounts"].append(entry)


def _hostname_of_the_host(case):
    case.config["linux"]["namespaces"] = [{"type": "mount"}, {"type": "pid"}]
    case.config["hostname"] = "x"


def _twice(case):
    case.config["linux"]["namespaces"].append({"type": "mount"})


def _drop(part, name):
    return lambda case: (case.config[part] if part else case.config).pop(name, None)


FAULTS = {
    "no process": _drop(None, "process"),
    "no cwd": _drop("process", "cwd"),
    "relative cwd": _process(cwd="tmp"),
    "no args": _process(args=[]),
    "no such program": _process(args=["nothing-of-that-name"]),
    "no such path": _process(args=["/bin/none"]),
    "a directory as program": _process(args=["/etc"]),
    "a program that may not be executed": _process(args=["/etc/passwd"]),
    "cwd is a file": _process(cwd="/etc/passwd"),
    "an unknown limit": _process(rlimits=[{"type": "RLIMIT_X", "soft": 1, "hard": 1}]),
    "an unknown scheduler": _process(scheduler={"policy": "SCHED_X"}),
    "a priority without a real-time policy": _process(scheduler={"policy": "SCHED_OTHER", "priority": 3}),
    "an unknown io class": _process(ioPriority={"class": "IOPRIO_CLASS_X", "priority": 0}),
    "an io priority too high": _process(ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 8}),
    "a label without SELinux": _process(selinuxLabel="a:b:c"),
    "a profile without AppArmor": _process(apparmorProfile="none"),
    "no root": _drop(None, "root"),
    "a root that is not there": lambda case: case.config.update(root={"path": "none"}),
    "an unknown namespace": _linux(namespaces=[{"type": "mount"}, {"type": "x"}]),
    "a namespace twice": _twice,
    "a namespace of another type": _linux(namespaces=[{"type": "mount"}, {"type": "ipc", "path": "/proc/self/ns/uts"}]),
    "a namespace that is not there": _linux(namespaces=[{"type": "mount"}, {"type": "ipc", "path": "/none"}]),
    "the host's host name": _hostname_of_the_host,
    "a host's sysctl": _linux(sysctl={"vm.swappiness": "1"}),
    "the host name as sysctl": _linux(sysctl={"kernel.hostname": "x"}),
    "an unknown propagation": _linux(rootfsPropagation="x"),
    "an unknown personality": _linux(personality={"domain": "X"}),
    "an unknown memory policy": _linux(memoryPolicy={"mode": "X"}),
    "a memory policy without nodes": _linux(memoryPolicy={"mode": "MPOL_BIND"}),
    "an unknown seccomp action": _linux(seccomp={"defaultAction": "X"}),
    "an unknown seccomp operator": _linux(seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["lseek"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 0, "op": "X"}]}]}),
    "an unknown architecture": _linux(seccomp={"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["X"], "syscalls": []}),
    "an unknown filter flag": _linux(seccomp={"defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"], "syscalls": []}),
    "notify as default": _linux(seccomp={"defaultAction": "SCMP_ACT_NOTIFY", "syscalls": []}),
    "an unknown kind of device": _linux(devices=[{"type": "x", "path": "/dev/x", "major": 1, "minor": 3}]),
    "a swap limit below the memory limit": _resources(memory={"limit": 1 << 27, "swap": 1 << 26}),
    "a processor that is not there": _resources(cpu={"cpus": "77"}),
    "a quota below the kernel's least": _resources(cpu={"quota": 10}),
    "swappiness too high": _resources(memory={"swappiness": 101}),
    "a source that is not there": _mount(destination="/mnt", source="/none", options=["bind"]),
    "a mount in proc": _mount(destination="/proc/sys", type="tmpfs", source="x"),
    "an unknown filesystem": _mount(destination="/mnt", type="nofs", source="x"),
    "an unknown option": _mount(destination="/mnt", type="tmpfs", source="x", options=["nonsense"]),
    "a file as a directory": _mount(destination="/etc/passwd", type="tmpfs", source="x"),
    "an idmap without mappings": _mount(destination="/mnt", source="{source}", options=["bind", "idmap"]),
    "one mapping of two": _mount(destination="/mnt", source="{source}", options=["bind", "idmap"], uidMappings=[
        {"containerID": 0, "hostID": 1, "size": 1}]),
    "a network device that is not there": _linux(netDevices={"none0": {}}),
    "a class that is not there": _linux(intelRdt={"closID": "x"}),
}


def spoil(draw, case):
    FAULTS[draw(st.sampled_from(sorted(FAULTS)))](case)
