"""What the specification calls REQUIRED: with the property a container can be created, without it there is an error."""

import copy
from pathlib import Path

import pytest
from kit.console import FdSocket
from marks import clause

PROCESS_LIMIT = {"type": "RLIMIT_CORE", "soft": 1, "hard": 2}
HOOK = [{"path": "/bin/true"}]
MAP = [{"containerID": 0, "hostID": 100000, "size": 65536}]
DEVICE = {"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229}
RULE = {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}
DISK = next((tuple(map(int, (disk / "dev").read_text().split(":"))) for disk in sorted(Path("/sys/block").glob("*"))), (8, 0))
THROTTLE = {"major": DISK[0], "minor": DISK[1], "rate": 1 << 30}


def process(**properties):
    return {"process": properties}


def linux(**properties):
    return {"linux": properties}


def resources(**properties):
    return linux(resources=properties)


def in_userns(config):
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"]["uidMappings"] = copy.deepcopy(MAP)
    config["linux"]["gidMappings"] = copy.deepcopy(MAP)


SECCOMP = linux(seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [RULE]})
IO = resources(blockIO={"throttleReadBpsDevice": [THROTTLE], "throttleReadIOPSDevice": [THROTTLE],
                        "weightDevice": [{"major": DISK[0], "minor": DISK[1], "weight": 100}]})
HUGE = resources(hugepageLimits=[{"pageSize": "2MB", "limit": 1 << 30}])
NETWORK = resources(network={"priorities": [{"name": "lo", "priority": 1}]})

# clause: (the config with the property, where it is). More than one place: each of them on its own.
REQUIRED = {
    "config:SpecificationVersion-1": ({}, "ociVersion"),
    "config:Root-3": ({}, "root"),
    "config:Root-4": ({}, "root/path"),
    "config:Mounts-2": ({}, "mounts/1/destination"),
    "config:Process-5": ({}, "process/cwd"),
    "config:Process-7": ({}, "process/args/0"),
    "config:POSIXProcess-1": (process(rlimits=[PROCESS_LIMIT]), "process/rlimits/0/type"),
    "config:POSIXProcess-4": (process(rlimits=[PROCESS_LIMIT]), "process/rlimits/0/soft"),
    "config:POSIXProcess-6": (process(rlimits=[PROCESS_LIMIT]), "process/rlimits/0/hard"),
    "config:LinuxProcess-5": (process(scheduler={"policy": "SCHED_BATCH", "nice": 1}), "process/scheduler/policy"),
    "config:LinuxProcess-6": (process(ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 4}), "process/ioPriority/class"),
    "config:LinuxProcess-7": (process(ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 4}), "process/ioPriority/priority"),
    "config:POSIXUser-1": (process(user={"uid": 1, "gid": 1}, rlimits=[]), "process/user/uid"),
    "config:POSIXUser-2": (process(user={"uid": 1, "gid": 1}, rlimits=[]), "process/user/gid"),
    "config:Hooks-1": ({"hooks": {"prestart": HOOK}}, "hooks/prestart/0/path"),
    "config:Hooks-6": ({"hooks": {"createRuntime": HOOK}}, "hooks/createRuntime/0/path"),
    "linux:Namespaces-1": ({}, "linux/namespaces/0/type"),
    "linux:UserNamespaceMappings-1": (in_userns, "linux/uidMappings/0/containerID", "linux/gidMappings/0/containerID"),
    "linux:UserNamespaceMappings-2": (in_userns, "linux/uidMappings/0/hostID", "linux/gidMappings/0/hostID"),
    "linux:UserNamespaceMappings-3": (in_userns, "linux/uidMappings/0/size", "linux/gidMappings/0/size"),
    "linux:Devices-2": (linux(devices=[DEVICE]), "linux/devices/0/type"),
    "linux:Devices-3": (linux(devices=[DEVICE]), "linux/devices/0/path"),
    "linux:Devices-5": (linux(devices=[DEVICE]), "linux/devices/0/major", "linux/devices/0/minor"),
    "linux:DeviceAllowedlist-2": ({}, "linux/resources/devices/0/allow"),
    "linux:BlockIO-1": (IO, "linux/resources/blockIO/weightDevice/0/major", "linux/resources/blockIO/weightDevice/0/minor"),
    "linux:BlockIO-3": (IO, "linux/resources/blockIO/throttleReadBpsDevice/0/major",
                        "linux/resources/blockIO/throttleReadBpsDevice/0/minor"),
    "linux:BlockIO-4": (IO, "linux/resources/blockIO/throttleReadBpsDevice/0/rate"),
    "linux:BlockIO-5": (IO, "linux/resources/blockIO/throttleReadIOPSDevice/0/major",
                        "linux/resources/blockIO/throttleReadIOPSDevice/0/minor"),
    "linux:BlockIO-6": (IO, "linux/resources/blockIO/throttleReadIOPSDevice/0/rate"),
    "linux:HugePageLimits-1": (HUGE, "linux/resources/hugepageLimits/0/pageSize"),
    "linux:HugePageLimits-2": (HUGE, "linux/resources/hugepageLimits/0/limit"),
    "linux:Network-1": (NETWORK, "linux/resources/network/priorities/0/name"),
    "linux:Network-2": (NETWORK, "linux/resources/network/priorities/0/priority"),
    "linux:MemoryPolicy-1": (linux(memoryPolicy={"mode": "MPOL_BIND", "nodes": "0"}), "linux/memoryPolicy/mode"),
    "linux:Seccomp-1": (SECCOMP, "linux/seccomp/defaultAction"),
    "linux:Seccomp-9": (SECCOMP, "linux/seccomp/syscalls/0/names"),
    "linux:Seccomp-11": (SECCOMP, "linux/seccomp/syscalls/0/action"),
    "linux:Seccomp-13": (SECCOMP, "linux/seccomp/syscalls/0/args/0/index"),
    "linux:Seccomp-14": (SECCOMP, "linux/seccomp/syscalls/0/args/0/value"),
    "linux:Seccomp-15": (SECCOMP, "linux/seccomp/syscalls/0/args/0/op"),
    "linux:Personality-1": (linux(personality={"domain": "LINUX32"}), "linux/personality/domain"),
}
# What not every host can honour: then the two refusals must at least have different reasons.
PERHAPS = ("linux:BlockIO", "linux:HugePageLimits", "linux:Network-", "linux:MemoryPolicy")


def cases():
    return [pytest.param(id, patch, place, id=place.replace("/", "."), marks=clause(id, "required: " + places[0].replace("/", ".")))
            for id, (patch, *places) in REQUIRED.items() for place in places]


def without(place):
    def edit(config):
        *path, last = [int(step) if step.isdigit() else step for step in place.split("/")]
        node = config
        for step in path:
            node = node[step]
        del node[last]
    return edit


def named(patch):
    """Literal tables are shared by the cases."""
    return patch if callable(patch) else copy.deepcopy(patch)


@pytest.mark.parametrize("id, patch, place", cases())
def test_a_required_property_must_be_there(rt, id, patch, place):
    complete = rt.container(named(patch)).create()
    if not id.startswith(PERHAPS):
        complete.ok()
    result = rt.container(named(patch), without(place)).create()
    assert result.code > 0, repr(result)
    assert result.err != complete.err


@clause("config:Process-3", "required: height of consoleSize")
@clause("config:Process-4", "required: width of consoleSize")
@pytest.mark.parametrize("place", ["process/consoleSize/height", "process/consoleSize/width"])
def test_a_console_size_has_both_sides(rt, place):
    patch = process(terminal=True, consoleSize={"height": 10, "width": 20})
    with FdSocket(rt.base / "console") as console:
        rt.container(patch).create("--console-socket", console.path).ok()
        assert rt.container(patch, without(place)).create("--console-socket", console.path).code > 0
