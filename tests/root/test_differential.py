"""The same bundle under runc and under pyrunc must look the same from inside.

Each case is run with both runtimes by create and start, the probe prints what it sees, kit.observe.normal() takes out
what differs between any two runs, and every difference that is left must stand in kit.differences.ALLOWED.
Compared with Debian's runc ($RUNC names another), and, where $RUNC_NEW names a newer one, with that too.
"""

import os
import shutil
import subprocess

import pytest
from kit.bundle import Dir, File, Link, add_mounts, bind, caps, mount, namespaces, userns
from kit.differences import ALLOWED, documented, unexplained
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


def view(binary, patches, options):
    """(config, normalised view from inside) of one container of this runtime."""
    rootfs = {}
    for patch in patches:
        if isinstance(patch, dict) and any(key.startswith("/") for key in patch):
            rootfs = patch
    runtime = Runtime(binary)
    try:
        container = runtime.container(*(patch for patch in patches if patch is not rootfs), rootfs=rootfs)
        return container.bundle.config, normal(container.observe(*options))
    finally:
        runtime.close()


def test_every_allowed_difference_is_documented():
    assert {entry.row for entry in ALLOWED} <= documented()


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
    config, theirs = view(peer_binary(peer), patches, options)
    return "\n".join(map(str, unexplained(peer, config, theirs, view(pyrunc, patches, options)[1])))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("peer", ["runc", "runc-new"])
def test_the_container_looks_the_same_from_inside(pyrunc, shared, peer, case):
    found = differences(pyrunc, peer, case, CASES[case](shared))
    assert not found, found


@pytest.mark.parametrize("case", NEW_CASES)
def test_the_container_looks_the_same_as_under_a_newer_runc(pyrunc, shared, case):
    found = differences(pyrunc, "runc-new", case, NEW_CASES[case](shared))
    assert not found, found


EXECS = {
    "plain": (), "user": ("-u", "1000:1000"), "cap": ("--cap", "CAP_SYS_PTRACE"), "env": ("-e", "A=1", "-e", "TERM=dumb"),
    "cwd": ("--cwd", "/tmp"), "groups": ("-g", "5", "-g", "6"), "no new privileges": ("--no-new-privs",),
}


def exec_view(binary, patches, options):
    runtime = Runtime(binary)
    try:
        container = runtime.container({"process": {"args": ["/bin/probe", "sleep"]}}, *patches).up()
        seen = normal(container.exec("/bin/probe", options=options).ok().json())
        return container.bundle.config, {f"exec.{key}": value for key, value in seen.items()}
    finally:
        runtime.close()


@pytest.mark.parametrize("user_namespace", [False, True], ids=["", "user namespace"])
@pytest.mark.parametrize("case", EXECS)
@pytest.mark.parametrize("peer", ["runc", "runc-new"])
def test_an_execd_process_looks_the_same_from_inside(pyrunc, peer, case, user_namespace):
    patches = [userns()] if user_namespace else []
    config, theirs = exec_view(peer_binary(peer), patches, EXECS[case])
    found = unexplained(peer, config, theirs, exec_view(pyrunc, patches, EXECS[case])[1])
    assert not found, "\n".join(map(str, found))
