"""The same bundle under runc and under pyrunc must look the same from inside (issue 3, Shows 2).

Each case is run with both runtimes by create and start, the probe prints what it sees, kit.observe.normal() takes out
what differs between any two runs, and every difference that is left must stand in ALLOWED with its reason.
Compared with Debian's runc ($RUNC names another), and, where $RUNC_NEW names a newer one, with that too.
"""

import os
import re
import shutil
import subprocess

import pytest
from kit.bundle import Dir, File, Link, add_mounts, bind, caps, mount, namespaces, userns
from kit.observe import normal
from kit.runtime import Runtime


class Host:
    """What the host offers both runtimes to bind: a directory with a mount below, devices' numbers, files."""

    def __init__(self, path):
        self.path = path
        self.source = path / "source"
        (self.source / "sub").mkdir(parents=True)
        (self.source / "file").write_text("x")
        os.chown(self.source / "file", 7, 8)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "differential", self.source / "sub"], check=True)
        (self.source / "sub" / "deep").write_text("x")
        subprocess.run(["mount", "--make-shared", self.source / "sub"], check=True)

    def close(self):
        subprocess.run(["umount", "-l", self.source / "sub"], check=True)


def process(**properties):
    return {"process": properties}


def linux(**properties):
    return {"linux": properties}


def hooks_free(config):
    """Drop what needs private namespaces."""
    for key in ("maskedPaths", "readonlyPaths"):
        config["linux"].pop(key)


def everything_dropped(config):
    config["process"].pop("capabilities")
    config["process"].pop("rlimits")
    config["process"]["noNewPrivileges"] = False


def id_map(host, size=65536):
    line = [{"containerID": 0, "hostID": host, "size": size}]
    return {"uidMappings": line, "gidMappings": line}


ALL_CAPS = ["CAP_" + name for name in """CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP
NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE SYS_ADMIN""".split()]
TMPFS = [["nosuid", "nodev"], ["ro"], ["noexec", "noatime"], ["size=2m", "mode=0750", "uid=5"], ["strictatime"],
         ["nodiratime", "sync"], ["private"], ["shared"], ["rslave"], ["unbindable"]]
BINDS = [["bind"], ["bind", "ro"], ["bind", "nosuid", "nodev", "noexec"], ["rbind"], ["rbind", "ro"], ["rbind", "rro"],
         ["rbind", "rnosuid", "rnodev"], ["rbind", "rnoexec"], ["rbind", "rnoatime"], ["rbind", "rnodiratime"],
         ["rbind", "rrelatime"], ["rbind", "ro", "rrw"], ["bind", "private"], ["rbind", "rslave"], ["rbind", "rshared"],
         ["rbind", "rprivate"], ["bind", "unbindable"], ["rbind", "runbindable"], ["bind", "noatime"],
         ["bind", "strictatime"], ["bind", "relatime"], ["bind", "rw"], ["bind", "ro", "rw"]]

# name -> function(host) giving the config patches (and, last, a rootfs patch if it is a dict with "/" keys)
CASES = {
    "default": lambda host: [],
    "read-only root": lambda host: [{"root": {"readonly": True}}],
    "hostname": lambda host: [{"hostname": "another.example"}],
    "no namespaces but mount": lambda host: [namespaces("mount"), {"hostname": None}],
    "pid and mount": lambda host: [namespaces("pid", "mount"), {"hostname": None}],
    "no network namespace": lambda host: [namespaces("pid", "ipc", "uts", "mount")],
    "no ipc namespace": lambda host: [namespaces("pid", "network", "uts", "mount")],
    "cgroup namespace": lambda host: [namespaces("pid", "network", "ipc", "uts", "mount", "cgroup")],
    "user namespace": lambda host: [userns()],
    "user namespace, another user": lambda host: [userns(), process(user={"uid": 1000, "gid": 1000, "additionalGids": [7]})],
    "user namespace, read-only": lambda host: [userns(), {"root": {"readonly": True}}],
    "user namespace, bind": lambda host: [userns(), add_mounts(bind(host.source, "/mnt", "rbind", "ro"))],
    "user": lambda host: [process(user={"uid": 1000, "gid": 2000, "additionalGids": [3, 4]}, rlimits=[])],
    "user and rlimits": lambda host: [process(user={"uid": 1000, "gid": 2000})],
    "umask": lambda host: [process(user={"uid": 0, "gid": 0, "umask": 0o77})],
    "all capabilities": lambda host: [caps(*ALL_CAPS)],
    "no capabilities": lambda host: [caps()],
    "ambient capabilities": lambda host: [caps("CAP_KILL", "CAP_CHOWN", ambient=["CAP_KILL"], inheritable=["CAP_KILL"]),
                                          process(user={"uid": 1000, "gid": 1000}, rlimits=[])],
    "no security settings": lambda host: [everything_dropped],
    "new privileges": lambda host: [process(noNewPrivileges=False)],
    "seccomp": lambda host: [linux(seccomp={"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [
        {"names": ["mkdir", "ptrace"], "action": "SCMP_ACT_ERRNO"}]})],
    "rlimits": lambda host: [process(rlimits=[{"type": f"RLIMIT_{name}", "soft": soft, "hard": soft + 1} for name, soft in (
        ("NOFILE", 500), ("CORE", 1), ("STACK", 4 << 20), ("NPROC", 99), ("MEMLOCK", 65536), ("SIGPENDING", 77))])],
    "oom score": lambda host: [process(oomScoreAdj=123)],
    "working directory that is made": lambda host: [process(cwd="/a/b/c")],
    "environment": lambda host: [process(env=["PATH=/bin", "A=1", "B=", "HOME=/x"])],
    "no environment": lambda host: [process(env=[])],
    "arguments": lambda host: [process(args=["probe", "", "a b"])],
    "sysctl": lambda host: [linux(sysctl={"net.ipv4.ip_forward": "1", "kernel.msgmax": "7777", "kernel.shm_rmid_forced": "1",
                                          "fs.mqueue.msg_max": "33"})],
    "more masked and read-only paths": lambda host: [linux(
        maskedPaths=["/etc/passwd", "/proc/kcore", "/sys/firmware", "/etc/dir", "/none"],
        readonlyPaths=["/etc", "/proc/sys", "/mnt", "/none"]), {"/etc/dir/x": "x"}],
    "nothing masked": lambda host: [hooks_free],
    "devices": lambda host: [linux(devices=[
        {"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 3, "gid": 4},
        {"type": "b", "path": "/dev/x/loop7", "major": 7, "minor": 7}, {"type": "p", "path": "/dev/pipe", "fileMode": 0o600}])],
    "no mounts but proc": lambda host: [lambda config: config["mounts"].__setitem__(slice(1, None), [])],
    "files of the image in /dev": lambda host: [lambda config: config["mounts"].__setitem__(slice(1, None), []),
                                                {"/dev/existing": File("x", 0o600), "/dev/shm": Dir(0o1777)}],
    "tmpfs with contents": lambda host: [add_mounts(mount("/data", "tmpfs", "tmpfs", ["tmpcopyup", "nosuid"])),
                                         {"/data/file": "x", "/data/link": Link("file")}],
    "bind of a file": lambda host: [add_mounts(bind(host.source / "file", "/etc/file", "ro"))],
    "bind below a tmpfs": lambda host: [add_mounts(mount("/mnt", "tmpfs", "tmpfs"), bind(host.source, "/mnt/deep/er", "rbind"))],
    "destination behind a link": lambda host: [add_mounts(bind(host.source, "/link/x")), {"/link": Link("/target"), "/target": Dir()}],
    "two mounts at one point": lambda host: [add_mounts(bind(host.source, "/mnt"), mount("/mnt", "tmpfs", "tmpfs", ["ro"]))],
    "proc twice": lambda host: [add_mounts(mount("/proc2", "proc", "proc", ["nosuid", "noexec", "nodev"]))],
    "sysfs writable": lambda host: [lambda config: config["mounts"][5]["options"].remove("ro")],
    "dev read-only": lambda host: [lambda config: config["mounts"][1]["options"].append("ro")],
    "no-pivot": lambda host: [],
    **{f"tmpfs {','.join(options)}": lambda host, options=options: [add_mounts(mount("/mnt", "tmpfs", "tmpfs", options))]
       for options in TMPFS},
    **{f"bind {','.join(options)}": lambda host, options=options: [add_mounts(mount("/mnt", host.source, "bind", options))]
       for options in BINDS},
    **{f"rootfsPropagation {value}": lambda host, value=value: [linux(rootfsPropagation=value)]
       for value in ("private", "rprivate", "slave", "rslave", "shared", "rshared")},
}

# Cases that only a newer runc knows.
NEW_CASES = {
    "domainname": lambda host: [{"domainname": "some-domain"}],
    "time namespace": lambda host: [namespaces("pid", "network", "ipc", "uts", "mount", "time"),
                                    linux(timeOffsets={"monotonic": {"secs": 86400}, "boottime": {"secs": 864000, "nanosecs": 7}})],
    "personality": lambda host: [linux(personality={"domain": "LINUX32"})],
    "scheduler": lambda host: [process(scheduler={"policy": "SCHED_BATCH", "nice": 3})],
    "io priority": lambda host: [process(ioPriority={"class": "IOPRIO_CLASS_IDLE", "priority": 0})],
    "memory policy": lambda host: [linux(memoryPolicy={"mode": "MPOL_INTERLEAVE", "nodes": "0"})],
    "idmap": lambda host: [add_mounts(mount("/mnt", host.source, "bind", ["bind", "idmap"], **id_map(200000)))],
    "ridmap": lambda host: [add_mounts(mount("/mnt", host.source, "bind", ["rbind", "ridmap"], **id_map(200000)))],
    "nosymfollow": lambda host: [add_mounts(bind(host.source, "/mnt", "nosymfollow"))],
    "rnosymfollow": lambda host: [add_mounts(bind(host.source, "/mnt", "rbind", "rnosymfollow"))],
    "rootfsPropagation unbindable": lambda host: [linux(rootfsPropagation="unbindable")],
    "lazytime": lambda host: [add_mounts(mount("/mnt", "tmpfs", "tmpfs", ["lazytime", "silent"]))],
}


class Allowed:
    """A deliberate difference: of which property, why, in which cases, against which peer, and of what kind."""

    def __init__(self, key, why, case=".*", peer=".*", when=lambda theirs, ours: True):
        self.key, self.why, self.case, self.peer = re.compile(key), why, re.compile(case), re.compile(peer)
        self.when = when

    def covers(self, peer, case, key, theirs, ours):
        return bool(self.key.fullmatch(key) and self.case.fullmatch(case) and self.peer.fullmatch(peer)
                    and self.when(theirs, ours))


def only_nofollow(theirs, ours):
    return theirs[:3] + theirs[4:] == ours[:3] + ours[4:] and theirs[3] | os.O_NOFOLLOW == ours[3] | os.O_NOFOLLOW


ALLOWED = [
    Allowed(r"status\.SigIgn", "every disposition is reset; runc passes on what its caller ignores (32 and up: Go leaves them)",
            when=lambda theirs, ours: int(ours, 16) == 0),
    Allowed(r"fds\.[012]", "our /dev/null of the container is opened O_NOFOLLOW, which F_GETFL shows", when=only_nofollow),
    Allowed(r"fds\.0", "a foreground process keeps the caller's stdio; runc puts pipes and copies between", case="exec .*",
            when=lambda theirs, ours: theirs[0] == "pipe:[N]" and ours[0] == "/dev/null"),
    Allowed(r"fds\.[12]", "as fds.0; the owner is the same, but in a user namespace the caller's file stays the caller's",
            case="exec .*", when=lambda theirs, ours: theirs[0] == "pipe:[N]" and ours[0] == "/tmp/TOKEN"
            and ours[5] in (theirs[5], 65534)),
    Allowed(r"mount\..* super", "masked directories are one empty tmpfs of one inode, as in runc 1.5", peer="runc",
            when=lambda theirs, ours: set(ours) - set(theirs) == {"nr_inodes=1", "size=4k"}),
    Allowed(r"mount\..* device", "masked directories share one tmpfs, as in runc 1.5", peer="runc"),
    Allowed(r"mount\./(mnt|data)(#2)? super", "mode= is given to mount, as in runc 1.5; 1.1 changes the mode afterwards",
            peer="runc", when=lambda theirs, ours: set(ours) - set(theirs) == {"mode=755"}),
    Allowed(r"top\.mnt", "1.1 overrides the mode= of the config by that of the covered directory", peer="runc",
            case="tmpfs .*mode=.*"),
    Allowed(r"mount\..* propagation", "1.1 sets rootfsPropagation on the old root only", peer="runc",
            case="rootfsPropagation r?shared"),
    Allowed(r"dev\.mqueue", "runc mounts mqueue before setgid(0), so that its group is unmapped; ours is the container's root",
            case=".*user namespace.*|exec .*", when=lambda theirs, ours: theirs[3] == 65534 and ours[3] == 0),
    Allowed(r"env", "the order of variables; 1.5 moves a changed one to the end", peer="runc-new", case="exec env",
            when=lambda theirs, ours: sorted(theirs) == sorted(ours)),
]


def flatten(binary, patches, options, how=()):
    """One container of this runtime, as the normalised view from inside."""
    rootfs = {}
    for patch in patches:
        if isinstance(patch, dict) and any(key.startswith("/") for key in patch):
            rootfs = patch
    runtime = Runtime(binary)
    try:
        container = runtime.container(*(patch for patch in patches if patch is not rootfs), rootfs=rootfs)
        return normal(container.observe(*options))
    finally:
        runtime.close()


def unexplained(peer, case, theirs, ours):
    """Readable lines for every difference that ALLOWED does not cover."""
    lines = []
    for key in sorted(theirs.keys() | ours.keys()):
        one, other = theirs.get(key, "absent"), ours.get(key, "absent")
        if one != other and not any(entry.covers(peer, case, key, one, other) for entry in ALLOWED):
            lines.append(f"{key}:\n    {peer}: {one}\n    ours: {other}")
    return lines


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes containers")
    path = tmp_path_factory.mktemp("differential")
    directory = path
    while directory != directory.parent and directory.name != "tmp":      # the user namespace's root must get there
        directory.chmod(0o755)
        directory = directory.parent
    host = Host(path)
    yield host
    host.close()


def peer_binary(peer):
    """runc: $RUNC or the installed one; runc-new: $RUNC_NEW."""
    if peer == "runc":
        found = os.environ.get("RUNC") or shutil.which("runc", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")
        return found or pytest.skip("no runc to compare with (apt-get install runc)")
    return os.environ.get("RUNC_NEW") or pytest.skip("no newer runc to compare with (RUNC_NEW names none)")


def differences(pyrunc, peer, case, patches):
    options = ("--no-pivot",) if case == "no-pivot" else ()
    theirs = flatten(peer_binary(peer), patches, options)
    return unexplained(peer, case, theirs, flatten(pyrunc, patches, options))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("peer", ["runc", "runc-new"])
def test_the_container_looks_the_same_from_inside(pyrunc, shared, peer, case):
    found = differences(pyrunc, peer, case, CASES[case](shared))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("case", NEW_CASES)
def test_the_container_looks_the_same_as_under_a_newer_runc(pyrunc, shared, case):
    found = differences(pyrunc, "runc-new", case, NEW_CASES[case](shared))
    assert not found, "\n".join(found)


EXECS = {
    "plain": (), "user": ("-u", "1000:1000"), "cap": ("--cap", "CAP_SYS_PTRACE"), "env": ("-e", "A=1", "-e", "TERM=dumb"),
    "cwd": ("--cwd", "/tmp"), "groups": ("-g", "5", "-g", "6"), "no new privileges": ("--no-new-privs",),
}


def exec_view(binary, patches, options):
    runtime = Runtime(binary)
    try:
        container = runtime.container({"process": {"args": ["/bin/probe", "sleep"]}}, *patches).up()
        return normal(container.exec("/bin/probe", options=options).ok().json())
    finally:
        runtime.close()


@pytest.mark.parametrize("user_namespace", [False, True], ids=["", "user namespace"])
@pytest.mark.parametrize("case", EXECS)
@pytest.mark.parametrize("peer", ["runc", "runc-new"])
def test_an_execd_process_looks_the_same_from_inside(pyrunc, peer, case, user_namespace):
    patches = [userns()] if user_namespace else []
    theirs = exec_view(peer_binary(peer), patches, EXECS[case])
    found = unexplained(peer, f"exec {case}", theirs, exec_view(pyrunc, patches, EXECS[case]))
    assert not found, "\n".join(found)
