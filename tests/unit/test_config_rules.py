"""The rules, one by one: what each refuses, in which words, at which place; and that valid configs pass them all."""

import copy

import pytest
from hypothesis import HealthCheck, given, settings

from pyrunc.config import defaults, rules, schema_gen, sysctl
from tests import strategies

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def put(config, pointer, value):
    """Set what a pointer names, making objects on the way; `-` appends; the value `...` removes."""
    *around, last = pointer[1:].split("/")
    for step in around:
        config = config[int(step)] if type(config) is list else config.setdefault(step, {})
    if last == "-":
        config.append(value)
    elif value is ...:
        del config[last]
    else:
        config[int(last) if type(config) is list else last] = value


def changed(*changes):
    """The default config, with changes given as pointer, value, pointer, value..."""
    config = defaults.config()
    for pointer, value in zip(changes[::2], changes[1::2], strict=True):
        put(config, pointer, copy.deepcopy(value))
    assert schema_gen.check(config) is None
    return config


def found(config, need_process=True):
    return [(fault.pointer, fault.message) for fault in rules.every(config, need_process)]


MAP = [{"containerID": 0, "hostID": 1000, "size": 65536}]
USERNS = ("/linux/namespaces/-", {"type": "user"}, "/linux/uidMappings", MAP, "/linux/gidMappings", MAP)
NO_NS = ("/linux/namespaces", [], "/hostname", "", "/root/readonly", False, "/linux/maskedPaths", [],
         "/linux/readonlyPaths", [])
BIND = {"destination": "/data", "source": "/src", "options": ["rbind"]}
LONG = "/" + "x" * 4095
SECCOMP = {"defaultAction": "SCMP_ACT_ERRNO"}
RULE = {"names": ["read"], "action": "SCMP_ACT_ALLOW"}
NO_PATHS = "unable to restrict sys entries without a private MNT namespace"
ON_NS = 'malformed spec file: duplicated ns "pid"'
IN_PROC = '"/proc/{0}" cannot be mounted because it is inside /proc'
TYPE_PROC = '"/proc" cannot be mounted because it is not of type proc'
NO_DATA = "bind mounts cannot have any filesystem-specific options applied: nosiud"
NO_MAPS = "user namespaces enabled, but no namespace path to join nor mappings to apply specified"
NOT_NEEDED = "user namespace mappings specified, but user namespace isn't enabled in the config"
BOTH = "id-mapped mounts must have both uid and gid mappings specified"
DEADLINE_ONLY = "scheduler runtime/deadline/period can only be specified for SchedDeadline policy"
PRIORITY_ONLY = "scheduler.priority can only be specified for SchedFIFO or SchedRR policy"
NOT_SEPARATE = 'sysctl "{0}" is not in a separate kernel namespace'
TIME_BOTH = ("time namespace enabled, but both namespace path and time offsets specified -- you may only provide one")
DEVICE = {"path": "/dev/x", "type": "c", "major": 1, "minor": 3}

# (changes to the default config, the pointer of the one fault there must be, its message)
CASES = [
    # top level
    (("/ociVersion", "2.0.0"), "/ociVersion", 'unsupported version "2.0.0": only 1.x is supported'),
    (("/ociVersion", "0.2.0"), "/ociVersion", 'unsupported version "0.2.0": only 1.x is supported'),
    (("/ociVersion", "one\n"), "/ociVersion", '"one\\n" is not a semantic version such as 1.3.0'),
    (("/ociVersion", "1.0"), "/ociVersion", '"1.0" is not a semantic version such as 1.3.0'),
    (("/ociVersion", "1.00.0"), "/ociVersion", '"1.00.0" is not a semantic version such as 1.3.0'),
    (("/ociVersion", "1.0.0-"), "/ociVersion", '"1.0.0-" is not a semantic version such as 1.3.0'),
    (("/ociVersion", "1.0.\u0661"), "/ociVersion", '"1.0.\u0661" is not a semantic version such as 1.3.0'),
    (("/ociVersion", ""), "/ociVersion", '"" is not a semantic version such as 1.3.0'),
    (("/root", ...), "/root", "root must be specified"),
    (("/root/path", ""), "/root/path", "root path must not be empty"),
    (("/root/path", LONG), "/root/path", "root path is longer than 4095 bytes"),
    (("/annotations", {"": "x"}), "/annotations", "the key of an annotation must not be empty"),
    (("/hostname", "x" * 65), "/hostname", "hostname is longer than 64 bytes"),
    (("/domainname", "\u00e9" * 33), "/domainname", "domainname is longer than 64 bytes"),
    ((*NO_NS, "/hostname", "a"), "/hostname", "unable to set hostname without a private UTS namespace"),
    ((*NO_NS, "/domainname", "a"), "/domainname", "unable to set domainname without a private UTS namespace"),
    (("/hooks", {"poststop": [{"path": "x"}]}), "/hooks/poststop/0/path", 'hook path "x" must be absolute'),
    (("/hooks", {"prestart": [{"path": "/a"}, {"path": ""}]}), "/hooks/prestart/1/path",
     'hook path "" must be absolute'),
    # process
    (("/process", ...), "/process", "process property must not be empty"),
    (("/process/cwd", ""), "/process/cwd", "Cwd property must not be empty"),
    (("/process/cwd", "home"), "/process/cwd", "Cwd must be an absolute path"),
    (("/process/cwd", LONG), "/process/cwd", "Cwd is longer than 4095 bytes"),
    (("/process/args", []), "/process/args", "args must not be empty"),
    (("/process/args", ...), "/process/args", "args must not be empty"),
    (("/process/env", ["A=", "B"]), "/process/env/1", "invalid environment variable: missing '='"),
    (("/process/env", ["=x"]), "/process/env/0", "invalid environment variable: name cannot be empty"),
    (("/process/user/uid", 2**32 - 1), "/process/user/uid", "uid 4294967295 is not an id: the kernel takes it for -1"),
    (("/process/user/gid", 2**32 - 1), "/process/user/gid", "gid 4294967295 is not an id: the kernel takes it for -1"),
    (("/process/user/additionalGids", [0, 2**32 - 1]), "/process/user/additionalGids/1",
     "gid 4294967295 is not an id: the kernel takes it for -1"),
    (("/process/user/additionalGids", [1] * 65537), "/process/user/additionalGids", "more than 65536 groups"),
    (("/process/user/umask", 512), "/process/user/umask", "umask 512 is above 511 (octal 0777)"),
    (("/process/rlimits/-", {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}), "/process/rlimits/1/type",
     "duplicated rlimit RLIMIT_NOFILE"),
    (("/process/rlimits/0/type", "RLIMIT_FOO"), "/process/rlimits/0/type", 'wrong rlimit value: "RLIMIT_FOO"'),
    (("/process/rlimits/0/soft", 1025), "/process/rlimits/0", "the soft limit 1025 is above the hard limit 1024"),
    (("/process/scheduler", {"policy": "SCHED_OTHER", "nice": 20}), "/process/scheduler/nice",
     "invalid scheduler.nice: 20 when scheduler.policy is SCHED_OTHER"),
    (("/process/scheduler", {"policy": "SCHED_BATCH", "nice": -21}), "/process/scheduler/nice",
     "invalid scheduler.nice: -21 when scheduler.policy is SCHED_BATCH"),
    (("/process/scheduler", {"policy": "SCHED_OTHER", "priority": 1}), "/process/scheduler/priority", PRIORITY_ONLY),
    (("/process/scheduler", {"policy": "SCHED_FIFO", "priority": 100}), "/process/scheduler/priority",
     "scheduler.priority of SCHED_FIFO must be 1 to 99, not 100"),
    (("/process/scheduler", {"policy": "SCHED_RR"}), "/process/scheduler/priority",
     "scheduler.priority of SCHED_RR must be 1 to 99, not 0"),
    (("/process/scheduler", {"policy": "SCHED_IDLE", "period": 5}), "/process/scheduler", DEADLINE_ONLY),
    (("/process/scheduler", {"policy": "SCHED_DEADLINE", "runtime": 5, "deadline": 4}), "/process/scheduler",
     "SCHED_DEADLINE needs 0 < runtime <= deadline <= period"),
    (("/process/ioPriority", {"class": "IOPRIO_CLASS_BE", "priority": 8}), "/process/ioPriority/priority",
     "invalid ioPriority.Priority: 8"),
    (("/process/execCPUAffinity", {"initial": "3-1"}), "/process/execCPUAffinity/initial",
     "bad CPUAffinity.Initial: not a list of CPUs such as 0-3,7"),
    (("/process/execCPUAffinity", {"final": ","}), "/process/execCPUAffinity/final",
     "bad CPUAffinity.Final: not a list of CPUs such as 0-3,7"),
    (("/process/consoleSize", {"height": 65536, "width": 1}), "/process/consoleSize/height",
     "a terminal has at most 65535 rows and columns"),
    # namespaces and ids
    (("/linux/namespaces/-", {"type": "pid"}), "/linux/namespaces/5", ON_NS),
    (("/linux/namespaces/0/path", "ns/pid"), "/linux/namespaces/0/path", 'namespace path "ns/pid" must be absolute'),
    (("/linux/namespaces/0/path", LONG), "/linux/namespaces/0/path", "namespace path is longer than 4095 bytes"),
    (("/linux/namespaces/-", {"type": "user"}), "/linux/namespaces", NO_MAPS),
    ((*USERNS, "/linux/gidMappings", []), "/linux/namespaces", NO_MAPS),
    (("/linux/uidMappings", MAP), "/linux/uidMappings", NOT_NEEDED),
    (("/linux/gidMappings", MAP), "/linux/gidMappings", NOT_NEEDED),
    ((*USERNS, "/linux/uidMappings/0/containerID", 1, "/process/user/uid", 1), "/linux/uidMappings",
     "user namespaces enabled, but no mapping found for uid 0"),
    ((*USERNS, "/process/user/uid", 70000), "/process/user/uid", "cannot set uid to unmapped user in user namespace"),
    ((*USERNS, "/process/user/gid", 65536), "/process/user/gid", "cannot set gid to unmapped user in user namespace"),
    ((*USERNS, "/process/user/additionalGids", [5, 65536]), "/process/user/additionalGids/1",
     "gid 65536 is not mapped in user namespace"),
    ((*USERNS, "/mounts/-", {"destination": "/x", "type": "tmpfs", "source": "x", "options": ["uid=65536", "gid=1", "uid=x"]}),
     "/mounts/7/options", "cannot specify uid=65536 mount option: user namespaces enabled, but no mapping found for uid 65536"),
    ((*USERNS, "/linux/uidMappings/-", {"containerID": 70000, "hostID": 90000, "size": 0}),
     "/linux/uidMappings/1/size", "a mapping needs a size above 0"),
    ((*USERNS, "/linux/uidMappings/-", {"containerID": 2**32 - 5, "hostID": 90000, "size": 5}),
     "/linux/uidMappings/1", "containerID + size is above 4294967295"),
    ((*USERNS, "/linux/gidMappings/-", {"containerID": 70000, "hostID": 2**32 - 1, "size": 1}),
     "/linux/gidMappings/1", "hostID + size is above 4294967295"),
    ((*USERNS, "/linux/uidMappings/-", {"containerID": 65535, "hostID": 90000, "size": 5}),
     "/linux/uidMappings/1/containerID", "containerID 65535 is mapped twice"),
    ((*USERNS, "/linux/uidMappings/-", {"containerID": 70000, "hostID": 1001, "size": 5}),
     "/linux/uidMappings/1/hostID", "hostID 1001 is mapped twice"),
    ((*USERNS, "/linux/uidMappings", [{"containerID": n, "hostID": n, "size": 1} for n in range(341)]),
     "/linux/uidMappings", "more than 340 mappings"),
    (("/linux/timeOffsets", {"monotonic": {"secs": 1}}), "/linux/timeOffsets",
     "time namespace offsets specified, but time namespace isn't enabled in the config"),
    (("/linux/namespaces/-", {"type": "time", "path": "/x"}, "/linux/timeOffsets", {"boottime": {}}),
     "/linux/timeOffsets", TIME_BOTH),
    (("/linux/namespaces/-", {"type": "time"}, "/linux/timeOffsets", {"realtime": {}}),
     "/linux/timeOffsets", 'no clock "realtime": must be monotonic or boottime'),
    (("/linux/namespaces/-", {"type": "time"}, "/linux/timeOffsets", {"boottime": {"nanosecs": 10**9}}),
     "/linux/timeOffsets/boottime/nanosecs", "nanosecs must be 0 to 999999999"),
    # mounts
    (("/mounts/-", {**BIND, "destination": ""}), "/mounts/7/destination", "mount destination must not be empty"),
    (("/mounts/-", {**BIND, "destination": LONG}), "/mounts/7/destination",
     "mount destination is longer than 4095 bytes"),
    (("/mounts/-", {**BIND, "destination": "/"}), "/mounts/7/destination", 'mountpoint "/" is on the top of rootfs'),
    (("/mounts/-", {**BIND, "destination": "/a/.."}), "/mounts/7/destination",
     'mountpoint "/a/.." is on the top of rootfs'),
    (("/mounts/-", {**BIND, "destination": "."}), "/mounts/7/destination", 'mountpoint "." is on the top of rootfs'),
    (("/mounts/-", {**BIND, "destination": "/proc/self"}), "/mounts/7/destination", IN_PROC.format("self")),
    (("/mounts/-", {**BIND, "destination": "proc//sys/"}), "/mounts/7/destination", IN_PROC.format("sys")),
    (("/mounts/-", {**BIND, "destination": "/x/../proc/./cpuinfo/y"}), "/mounts/7/destination",
     IN_PROC.format("cpuinfo/y")),
    (("/mounts/-", {"destination": "/proc/foo", "type": "proc"}), "/mounts/7/destination", IN_PROC.format("foo")),
    (("/mounts/-", {"destination": "/proc", "type": "tmpfs"}), "/mounts/7/destination", TYPE_PROC),
    (("/mounts/-", {"destination": "/../proc/", "type": "sysfs"}), "/mounts/7/destination", TYPE_PROC),
    (("/mounts/-", {**BIND, "options": ["bind", "mode=755", "nosiud"]}), "/mounts/7/options", NO_DATA),
    (("/mounts/-", {"destination": "/x", "type": "tmpfs", "options": ["remount"]}), "/mounts/7",
     'nothing to remount: no entry before this one mounts "/x"'),
    (("/mounts/-", {"destination": "/dev/", "options": ["remount", "ro", "size=1m", "sync"]}), "/mounts/7/options",
     "a remount changes only the flags of the mount, not size=1m,sync"),
    (("/mounts/-", {**BIND, "source": ""}), "/mounts/7", "a bind mount needs a source"),
    (("/mounts/-", {**BIND, "source": LONG}), "/mounts/7/source", "mount source is longer than 4095 bytes"),
    (("/mounts/-", {"destination": "/x"}), "/mounts/7", "type must not be empty: this is not a bind mount"),
    (("/mounts/-", {"destination": "/x", "type": "bind", "source": "/y"}), "/mounts/7",
     'type "bind" needs the option bind or rbind'),
    (("/mounts/-", {**BIND, "uidMappings": MAP}), "/mounts/7", BOTH),
    (("/mounts/-", {**BIND, "gidMappings": MAP}), "/mounts/7", BOTH),
    (("/mounts/-", {**BIND, "options": ["bind", "idmap"]}), "/mounts/7", BOTH),
    (("/mounts/-", {"destination": "/x", "type": "tmpfs", "uidMappings": MAP, "gidMappings": MAP}), "/mounts/7",
     "id-mapped mounts are only supported for bind-mounts"),
    (("/mounts/-", {**BIND, "uidMappings": MAP, "gidMappings": [{**MAP[0], "size": 0}]}),
     "/mounts/7/gidMappings/0/size", "a mapping needs a size above 0"),
    ((*NO_NS, "/linux/maskedPaths", ["/a"]), "/linux/maskedPaths", NO_PATHS),
    ((*NO_NS, "/linux/readonlyPaths", ["/a"]), "/linux/readonlyPaths", NO_PATHS),
    (("/linux/maskedPaths/-", "proc/x"), "/linux/maskedPaths/10", 'path "proc/x" must be absolute'),
    (("/linux/readonlyPaths", [""]), "/linux/readonlyPaths/0", 'path "" must be absolute'),
    (("/linux/maskedPaths", [LONG]), "/linux/maskedPaths/0", "path is longer than 4095 bytes"),
    # the rest of linux
    (("/linux/rootfsPropagation", "private,shared"), "/linux/rootfsPropagation",
     "rootfsPropagation=private,shared is not supported"),
    (("/linux/cgroupsPath", "/a/../b"), "/linux/cgroupsPath", 'cgroupsPath must not contain ".."'),
    (("/linux/cgroupsPath", LONG), "/linux/cgroupsPath", "cgroupsPath is longer than 4095 bytes"),
    (("/linux/devices", [{**DEVICE, "path": "dev/x"}]), "/linux/devices/0/path",
     'device path "dev/x" must be absolute'),
    (("/linux/devices", [{"path": "/dev/x", "type": "b", "minor": 1}]), "/linux/devices/0",
     'property "major" is required'),
    (("/linux/devices", [{**DEVICE, "major": -1}]), "/linux/devices/0/major", "major must be 0 to 4095, not -1"),
    (("/linux/devices", [{**DEVICE, "minor": 2**20}]), "/linux/devices/0/minor",
     "minor must be 0 to 1048575, not 1048576"),
    (("/linux/devices", [{**DEVICE, "uid": 2**32 - 1}]), "/linux/devices/0/uid",
     "uid 4294967295 is not an id: the kernel takes it for -1"),
    (("/linux/devices", [DEVICE, {**DEVICE, "minor": 4}]), "/linux/devices/1/path",
     'another device has the path "/dev/x"'),
    ((*NO_NS, "/linux/netDevices", {"eth0": {}}), "/linux/netDevices",
     "unable to move network devices without a NET namespace"),
    (("/linux/netDevices", {"a b": {}}), "/linux/netDevices", 'invalid network device name "a b"'),
    (("/linux/netDevices", {"eth0": {"name": "x" * 16}}), "/linux/netDevices",
     f'invalid network device name "{"x" * 16}"'),
    (("/linux/netDevices", {"eth0": {"name": ".."}}), "/linux/netDevices", 'invalid network device name ".."'),
    (("/linux/netDevices", {"eth0": {"name": "a:1"}}), "/linux/netDevices", 'invalid network device name "a:1"'),
    (("/linux/netDevices", {"eth0": {"name": "a/1"}}), "/linux/netDevices", 'invalid network device name "a/1"'),
    (("/linux/netDevices", {"eth0": {"name": "eth1"}, "eth1": {}}), "/linux/netDevices",
     'two network devices would be named "eth1"'),
    (("/linux/intelRdt", {"closID": ".."}), "/linux/intelRdt/closID", 'invalid intelRdt.ClosID ".."'),
    (("/linux/intelRdt", {"closID": "a/b"}), "/linux/intelRdt/closID", 'invalid intelRdt.ClosID "a/b"'),
    (("/linux/intelRdt", {"schemata": ["L3:0=f", "MB:0=1\nMB:1=2"]}), "/linux/intelRdt/schemata/1",
     "a schema must not contain newlines"),
    (("/linux/intelRdt", {"memBwSchema": "0=20"}), "/linux/intelRdt/memBwSchema",
     'memBwSchema must start with "MB:"'),
    (("/linux/memoryPolicy", {"mode": "MPOL_BIND"}), "/linux/memoryPolicy/nodes",
     "memory policy mode requires at least one node but got 0"),
    (("/linux/memoryPolicy", {"mode": "MPOL_LOCAL", "nodes": "0-2"}), "/linux/memoryPolicy/nodes",
     "memory policy mode requires 0 nodes but got 3"),
    (("/linux/memoryPolicy", {"mode": "MPOL_BIND", "nodes": "x"}), "/linux/memoryPolicy/nodes",
     'invalid memory policy nodes "x"'),
    (("/linux/memoryPolicy", {"mode": "MPOL_BIND", "nodes": "0",
                              "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}), "/linux/memoryPolicy/flags",
     "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other"),
    # sysctl
    (("/linux/sysctl", {"vm.swappiness": "1"}), "/linux/sysctl/vm.swappiness", NOT_SEPARATE.format("vm.swappiness")),
    (("/linux/sysctl", {"kernel/pid_max": "1"}), "/linux/sysctl/kernel~1pid_max",
     NOT_SEPARATE.format("kernel.pid_max")),
    (("/linux/sysctl", {"kernel.hostname": "x"}), "/linux/sysctl/kernel.hostname",
     'sysctl "kernel.hostname" is not allowed as it conflicts with the OCI "hostname" field'),
    (("/linux/sysctl", {"user.max_net_namespaces": "1"}), "/linux/sysctl/user.max_net_namespaces",
     "setting ucounts without a user namespace not allowed: user.max_net_namespaces"),
    ((*NO_NS, "/linux/sysctl", {"kernel.sem": "1"}), "/linux/sysctl/kernel.sem",
     'sysctl "kernel.sem" is not allowed in the hosts ipc namespace'),
    ((*NO_NS, "/linux/sysctl", {"fs.mqueue.msg_max": "1"}), "/linux/sysctl/fs.mqueue.msg_max",
     'sysctl "fs.mqueue.msg_max" is not allowed in the hosts ipc namespace'),
    ((*NO_NS, "/linux/sysctl", {"net.x": "1"}), "/linux/sysctl/net.x",
     'sysctl "net.x" not allowed in host network namespace'),
    ((*NO_NS, "/linux/sysctl", {"kernel.domainname": "1"}), "/linux/sysctl/kernel.domainname",
     NOT_SEPARATE.format("kernel.domainname")),
    (("/linux/sysctl", {"net/../kernel/panic": "1"}), "/linux/sysctl/net~1..~1kernel~1panic",
     'sysctl "net/../kernel/panic" is not the name of a kernel parameter'),
    (("/linux/sysctl", {"net.//.//.kernel": "1"}), "/linux/sysctl/net.~1~1.~1~1.kernel",
     'sysctl "net.//.//.kernel" is not the name of a kernel parameter'),
    (("/linux/sysctl", {"net..x": "1"}), "/linux/sysctl/net..x",
     'sysctl "net..x" is not the name of a kernel parameter'),
    (("/linux/sysctl", {"": "1"}), "/linux/sysctl/", 'sysctl "" is not the name of a kernel parameter'),
    # seccomp
    (("/linux/seccomp", {"defaultAction": "", "syscalls": [RULE]}), "/linux/seccomp/defaultAction",
     "defaultAction must not be empty"),
    (("/linux/seccomp", {"defaultAction": "SCMP_ACT_NOTIFY"}), "/linux/seccomp/defaultAction",
     "SCMP_ACT_NOTIFY cannot be used as default action"),
    (("/linux/seccomp", {**SECCOMP, "listenerPath": "/s", "syscalls": [{"names": ["read", "write"],
                         "action": "SCMP_ACT_NOTIFY"}]}), "/linux/seccomp/syscalls/0",
     "SCMP_ACT_NOTIFY cannot be used for the write syscall"),
    (("/linux/seccomp", {**SECCOMP, "syscalls": [{**RULE, "action": "SCMP_ACT_NOTIFY"}]}), "/linux/seccomp",
     "seccomp listenerPath is not set"),
    (("/linux/seccomp", {**SECCOMP, "listenerPath": "@" + "s" * 108}), "/linux/seccomp/listenerPath",
     "an abstract name is longer than 107 bytes"),
    (("/linux/seccomp", {**SECCOMP, "listenerPath": "s"}), "/linux/seccomp/listenerPath",
     'listenerPath "s" must be absolute'),
    (("/linux/seccomp", {**SECCOMP, "listenerMetadata": "x"}), "/linux/seccomp/listenerMetadata",
     "listenerMetadata must not be set without listenerPath"),
    (("/linux/seccomp", {**SECCOMP, "syscalls": [{**RULE, "errnoRet": 1}]}), "/linux/seccomp/syscalls/0/errnoRet",
     "errnoRet cannot be used with SCMP_ACT_ALLOW"),
    (("/linux/seccomp", {"defaultAction": "SCMP_ACT_LOG", "defaultErrnoRet": 1}), "/linux/seccomp/defaultErrnoRet",
     "defaultErrnoRet cannot be used with SCMP_ACT_LOG"),
    (("/linux/seccomp", {**SECCOMP, "defaultErrnoRet": 4096}), "/linux/seccomp/defaultErrnoRet",
     "defaultErrnoRet 4096 is too large"),
    (("/linux/seccomp", {**SECCOMP, "syscalls": [{"names": ["a", ""], "action": "SCMP_ACT_ALLOW"}]}),
     "/linux/seccomp/syscalls/0/names", "the name of a syscall must not be empty"),
    (("/linux/seccomp", {**SECCOMP, "syscalls": [{**RULE, "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]}),
     "/linux/seccomp/syscalls/0/args/0/index", "a syscall has arguments 0 to 5"),
    # resources
    (("/linux/resources/devices", [{"allow": True}]), "/linux/resources/devices/0",
     "device access at 0 field cannot be empty"),
    (("/linux/resources/devices/0/access", "rx"), "/linux/resources/devices/0/access",
     'device access "rx" has letters other than r, w, m'),
    (("/linux/resources/devices/0/major", -2), "/linux/resources/devices/0/major", "major must be -1 (all) or more"),
    (("/linux/resources/memory", {"limit": -2}), "/linux/resources/memory/limit",
     "limit must be -1 (unlimited) or more"),
    (("/linux/resources/memory", {"swap": 1}), "/linux/resources/memory/swap",
     "unable to set swap limit without memory limit"),
    (("/linux/resources/memory", {"limit": 2, "swap": 1}), "/linux/resources/memory/swap",
     "memory+swap limit should be >= memory limit"),
    (("/linux/resources/memory", {"swappiness": 101}), "/linux/resources/memory/swappiness",
     "swappiness must be 0 to 100"),
    (("/linux/resources/memory", {"swappiness": 2 ** 64 - 2}), "/linux/resources/memory/swappiness", "swappiness must be 0 to 100"),
    (("/linux/resources/cpu", {"quota": 5, "burst": 6}), "/linux/resources/cpu/burst", "burst must not be above quota"),
    (("/linux/resources/cpu", {"idle": 2}), "/linux/resources/cpu/idle", "idle must be 0 or 1"),
    (("/linux/resources/blockIO", {"weight": 9}), "/linux/resources/blockIO/weight", "weight must be 10 to 1000"),
    (("/linux/resources/blockIO", {"weightDevice": [{"major": 8, "minor": 0}]}),
     "/linux/resources/blockIO/weightDevice/0", "one of weight and leafWeight is required"),
    (("/linux/resources/rdma", {"mlx": {}}), "/linux/resources/rdma",
     '"mlx": one of hcaHandles and hcaObjects is required'),
    (("/linux/resources/unified", {"a/b.c": "1"}), "/linux/resources/unified",
     'unified resource "a/b.c" must be a file name (no slashes)'),
    (("/linux/resources/unified", {"memory": "1"}), "/linux/resources/unified",
     'unified resource "memory" must be in the form CONTROLLER.PARAMETER'),
    (("/linux/resources/unified", {"..": "1"}), "/linux/resources/unified",
     'unified resource ".." must be in the form CONTROLLER.PARAMETER'),
]


@pytest.mark.parametrize("changes, pointer, message", CASES, ids=[f"{case[1]}: {case[2][:40]}" for case in CASES])
def test_the_fault_is_found_at_its_place_in_these_words_and_alone(changes, pointer, message):
    assert found(changed(*changes)) == [(pointer, message)]


ACCEPTED = [
    (), NO_NS, USERNS, ("/process/ioPriority", {"class": "IOPRIO_CLASS_BE"}), ("/linux/seccomp", {**SECCOMP, "listenerPath": "@" + "s" * 107}),
    ("/ociVersion", "1.0.0-rc.1+build.5", "/annotations", {"a": "", "bundle": "x"}),
    ("/root/path", "/" + "x" * 4094),
    ("/linux", ..., "/hostname", "", "/root/readonly", False),
    ("/process/consoleSize", {"height": 70000, "width": 0}, "/process/terminal", False),
    ("/process/rlimits/0", {"type": "RLIMIT_CORE", "soft": 2**64 - 1, "hard": 2**64 - 1}),
    ("/process/capabilities/bounding/-", "CAP_FROM_THE_FUTURE"),
    ("/process/env", ["A=b=c", "B=", "A=again"]),
    ("/process/scheduler", {"policy": "SCHED_DEADLINE", "runtime": 5, "deadline": 5}),
    (*USERNS, "/process/user/uid", 65535, "/process/user/additionalGids", [65535]),
    ("/linux/namespaces/-", {"type": "user", "path": "/proc/1/ns/user"}, "/process/user/uid", 70000),
    ("/linux/namespaces/-", {"type": "user", "path": "/proc/1/ns/user"}, "/linux/uidMappings", MAP),
    ("/mounts/-", {**BIND, "destination": "/proc/cpuinfo"}, "/mounts/-", {**BIND, "destination": "/proc/../procfs"}),
    ("/mounts/-", {**BIND, "destination": "/proc"}),
    ("/mounts/-", {**BIND, "type": "tmpfs"}),
    ("/mounts/-", {"destination": "/", "options": ["remount", "ro"]}),
    ("/mounts/-", {"destination": "/dev", "options": ["remount", "ro"]}),
    ("/mounts/-", {**BIND, "options": ["bind", "size=1k", "mode=755"]}),
    ("/mounts/-", {**BIND, "uidMappings": MAP, "gidMappings": MAP}),
    (*USERNS, "/mounts/-", {**BIND, "options": ["bind", "idmap"]}),
    (*NO_NS, "/mounts/-", {**BIND, "options": ["bind", "ro"]}),
    ("/linux/devices", [{"path": "/dev/p", "type": "p"}, DEVICE, DEVICE]),
    ("/linux/netDevices", {"eth0": {"name": "x%d"}, "eth1": {"name": "x%d"}, "e" * 15: {}}),
    ("/linux/seccomp", {"defaultAction": ""}),
    ("/linux/seccomp", {**SECCOMP, "defaultErrnoRet": 4095, "listenerPath": "/s", "listenerMetadata": "m", "syscalls": [
        {**RULE, "action": "SCMP_ACT_NOTIFY"}, {**RULE, "action": "SCMP_ACT_TRACE", "errnoRet": 65535}]}),
    ("/linux/sysctl", {"net.ipv4.conf.eth0/1.mtu": "1", "net/ipv4/conf/eth0.1/x": "2", "kernel.domainname": "x"}),
    ("/linux/intelRdt", {"closID": "/", "memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=f"}),
    ("/linux/memoryPolicy", {"mode": "MPOL_PREFERRED", "nodes": "0,2"}),
    ("/linux/resources/memory", {"limit": -1, "swap": 5, "reservation": -1}),
    ("/linux/resources/memory", {"swappiness": 2 ** 64 - 1}),
    ("/linux/cgroupsPath", "user.slice:pyrunc:a..b"),
    ("/linux/rootfsPropagation", "rslave"),
]


@pytest.mark.parametrize("changes", ACCEPTED, ids=lambda changes: str(changes)[:60])
def test_what_is_allowed_is_not_refused(changes):
    assert found(changed(*changes)) == []


def test_the_process_is_the_first_to_be_looked_at():
    """As runc, which checks it while it reads the file."""
    config = changed("/process/cwd", "", "/process/args", [], "/ociVersion", "x", "/mounts/0/destination", "")
    assert [message for _pointer, message in found(config)][:2] == ["Cwd property must not be empty",
                                                                   "args must not be empty"]
    assert rules.first(config).message == "Cwd property must not be empty"


def test_a_missing_process_can_be_let_pass():
    assert found(changed("/process", ...), need_process=False) == []


def test_every_fault_of_many_is_found_at_once():
    config = changed("/hostname", "x" * 99, "/process/args", [], "/mounts/-", {"destination": "/"},
                     "/linux/namespaces/-", {"type": "pid"}, "/linux/resources/cpu", {"idle": 7})
    assert [pointer for pointer, _message in found(config)] == [
        "/process/args", "/linux/namespaces/5", "/hostname", "/mounts/7/destination", "/mounts/7",
        "/linux/resources/cpu/idle"]


def test_faults_name_a_section_of_the_specification():
    for changes, _pointer, _message in CASES:
        for fault in rules.every(changed(*changes)):
            assert fault.section.partition("#")[0] in ("config.md", "config-linux.md"), fault
            assert fault.message.isprintable()


@QUICK
@given(strategies.configs())
def test_generated_configs_are_valid(config):
    assert schema_gen.check(config) is None
    assert found(config) == []


@pytest.mark.parametrize("key, path", [
    ("net.ipv4.ip_forward", "net/ipv4/ip_forward"), ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
    ("net.ipv4.conf.eth0/1.mtu", "net/ipv4/conf/eth0.1/mtu"), ("net/ipv4/conf/eth0.1/mtu", "net/ipv4/conf/eth0.1/mtu"),
    ("kernel", "kernel"),
])
def test_the_first_separator_of_a_sysctl_decides(key, path):
    assert sysctl.path(key) == path
    assert sysctl.path(path) == path
