"""Every entry of ALLOWED that could hide a fault: what it covers, and a plausible fault beside it that it does not."""

import copy
import errno
import os
import resource

import pytest
from kit.bundle import BASE
from kit.differences import LIMITS, unexplained

EXTRA = {"type": "user"}
TRIED = {"rc": -1, "errno": 0, "made": 0}
PIPE = ["pipe:[N]", "fifo", "0:0", 1, 0, 0]


def config(mounts=(), rules=(), devices=(), mapped=False, **process):
    found = copy.deepcopy(BASE)
    found["mounts"].extend(mounts)
    found["linux"].update(resources={"devices": list(rules)}, devices=[{"path": path} for path in devices], cgroupsPath="/x")
    found["linux"]["namespaces"].extend([EXTRA] * mapped)
    found["process"].update(process)
    return found


def tmpfs(*options, at="/mnt"):
    return {"destination": at, "type": "tmpfs", "options": list(options)}


def tried(number, made=0):
    return {**TRIED, "rc": -1 if number else 0, "errno": number, "made": made}


def own(**more):
    return {**{name: list(resource.prlimit(0, number)) for name, number in LIMITS.items()}, **more}


COVER = {"destination": "/mnt", "type": "bind", "source": "{source}", "options": ["bind"]}
ALLOW, DENY = {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "rwm"}, {"allow": False, "type": "c", "major": 10, "access": "rw"}
PROC = {"destination": "/proc2", "type": "proc"}
UMASK = {"user": {"uid": 0, "gid": 0, "umask": 0o1022}}
REMOUNT = 'create failed: mount dst=/mnt flags=MS_RDONLY|MS_REMOUNT: no such file'
LOCKED = 'error mounting "/x/source" to rootfs at "/mnt": invalid argument'
SYSFS = 'error mounting "sysfs" to rootfs at "/sys": operation not permitted'

# key, config, theirs, ours, a fault: what ours or the key could wrongly be; said
CASES = {
    "stdin": ("fds.0", config(), PIPE, ["/dev/null", "char", "1:3", 0, 0, 0], {"ours": ["/dev/null", "file", "0:0", 0, 0, 0]}, ""),
    "limits of hooks": ("hook.createContainer.0.rlimits", config(), own(NOFILE=[1024, 1024]), own(), {"ours": own(NOFILE=[5, 5])}, ""),
    "their limits of hooks": ("hook.createContainer.0.rlimits", config(), own(NOFILE=[1024, 1024]), own(), {"theirs": own(NOFILE=[5, 5])}, ""),
    "filter's limit of hooks": ("hook.createRuntime.0.rlimits", config(), own(MEMLOCK=[-1, -1]), own(), {"ours": own(MEMLOCK=[7, 7])}, ""),
    "other limits of hooks": ("hook.createRuntime.0.rlimits", config(), own(MEMLOCK=[-1, -1]), own(), {"theirs": own(NOFILE=[5, 5])}, ""),
    "descriptors of hooks": ("hook.createContainer.0.fds", config(), ["0", "1", "2", "3", "999"], ["0", "1", "2", "999"],
                             {"ours": ["0", "1", "999"]}, ""),
    "umask": ("verb create", config(**UMASK), [0, None], [1, "other"], {"ours": [1, "missing"]}, ""),
    "umask of exec": ("verb create", config(**UMASK), [0, None], [1, "other"], {"config": config()}, ""),
    "default node": ("try.device:c,1,3,r", config(devices=["/dev/null"]), tried(errno.EPERM), tried(0), {"key": "try.device:c,1,5,r"}, ""),
    "default node refused": ("try.device:c,1,3,r", config(devices=["/dev/null"]), tried(errno.EPERM), tried(0),
                             {"theirs": tried(0), "ours": tried(errno.EPERM)}, ""),
    "start without a default node": ("verb create", config(devices=["/dev/null"]), [1, "denied"], [0, None], {"said": "capset: operation not permitted"},
                                     "open /dev/null: operation not permitted"),
    "wider deny": ("try.device:c,10,200,r", config(rules=[ALLOW, DENY]), tried(0), tried(errno.EPERM), {"key": "try.device:c,1,5,r"}, ""),
    "wider deny before": ("try.device:c,10,200,r", config(rules=[ALLOW, DENY]), tried(0), tried(errno.EPERM), {"config": config(rules=[DENY, ALLOW])}, ""),
    "wider deny allows": ("try.device:c,10,200,r", config(rules=[ALLOW, DENY]), tried(0), tried(errno.EPERM),
                          {"theirs": tried(errno.EPERM), "ours": tried(0)}, ""),
    "covered tmpfs": ("mount./mnt options", config([tmpfs("ro"), COVER]), ["relatime", "rw"], ["relatime", "ro"], {"ours": ["noexec", "ro"]}, ""),
    "another mount": ("mount./mnt options", config([tmpfs("ro"), COVER]), ["relatime", "rw"], ["relatime", "ro"], {"key": "mount./dev/shm options"}, ""),
    "cover of a tmpfs": ("mount./mnt#2 options", config([tmpfs("ro"), COVER]), ["relatime", "ro"], ["relatime", "rw"],
                         {"theirs": ["relatime", "rw"], "ours": ["relatime", "ro"]}, ""),
    "uncovered tmpfs": ("mount./mnt options", config([tmpfs("ro"), COVER]), ["relatime", "rw"], ["relatime", "ro"], {"config": config([tmpfs("ro")])}, ""),
    "try in a tmpfs": ("try.write:/mnt/file", config([tmpfs("ro"), COVER]), tried(errno.EROFS), tried(0), {"key": "try.write:/etc/passwd"}, ""),
    "try in a tmpfs refused": ("try.write:/mnt/file", config([tmpfs("ro"), COVER]), tried(errno.EROFS), tried(0),
                               {"theirs": tried(0), "ours": tried(errno.EROFS)}, ""),
    "hidden tmpfs": ("verb create", config([tmpfs("ro"), COVER]), [1, "missing"], [0, None], {"config": config([tmpfs("ro", at="/data"), COVER])}, REMOUNT),
    "access times": ("mount./mnt options", config([tmpfs("strictatime", "noatime")]), ["rw"], ["noatime", "rw"], {"ours": ["relatime", "rw"]}, ""),
    "access times elsewhere": ("mount./mnt options", config([tmpfs("strictatime", "noatime")]), ["rw"], ["noatime", "rw"], {"key": "mount./tmp options"}, ""),
    "locked mounts": ("verb create", config([COVER], mapped=True), [1, "other"], [0, None], {"said": LOCKED.replace("/mnt", "/data")}, LOCKED),
    "locked mounts, no user namespace": ("verb create", config([COVER], mapped=True), [1, "other"], [0, None], {"config": config([COVER])}, LOCKED),
    "sysfs": ("verb create", {**config(), "linux": {"namespaces": [EXTRA]}}, [1, "denied"], [0, None], {"config": config(mapped=True)}, SYSFS),
    "bind beside the root": ("mount./mnt propagation", config([COVER]), ["private"], ["master"], {"ours": ["shared"]}, ""),
    "slave beside the root": ("mount./mnt propagation", config([COVER]), ["private"], ["master"],
                              {"config": config([{**COVER, "options": ["bind", "private"]}])}, ""),
    "procfs twice": ("verb create", config([PROC, PROC]), [0, None], [1, "other"], {"config": config([PROC])}, ""),
    "cgroup access times": ("mount./sys/fs/cgroup options", config([{"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["noatime"]}]),
                            ["relatime", "rw"], ["noatime", "rw"], {"ours": ["noatime", "ro"]}, ""),
    "agent": ("agent.1.state", config(), {"status": "running"}, "absent", {"said": ""}, "exec failed: unable to apply caps: not permitted"),
    "poststart": ("hook.poststart.0.stdin", config(), {"status": "created"}, {"status": "running"}, {"ours": {"status": "stopped"}}, ""),
    "poststart, as another": ("hook.poststart.0.uids", config(), [0, 0, 0], "absent", {"ours": [7, 7, 7]}, ""),
}


def left(key, config, theirs, ours, said):
    return unexplained("runc-new", config, {key: theirs}, {key: ours}, said)


@pytest.mark.parametrize("case", CASES)
def test_an_entry_covers_the_difference_and_not_the_fault_beside_it(case):
    key, config, theirs, ours, fault, said = CASES[case]
    what = {"key": key, "config": config, "theirs": theirs, "ours": ours, "said": said}
    assert not left(**what)
    assert left(**{**what, **fault})


def test_a_relative_group_begins_beside_the_callers():
    with open("/proc/self/cgroup") as file:
        beside = os.path.dirname(next(line for line in file.read().splitlines() if line.startswith("0::"))[3:])
    relative = config()
    relative["linux"]["cgroupsPath"] = "x"
    what = {"key": "group.", "config": relative, "theirs": "/NAME", "said": ""}
    assert not left(ours=beside + "/NAME", **what)
    assert left(ours="/elsewhere/NAME", **what)
    assert left(ours=beside + "/NAME", **{**what, "config": config()})
