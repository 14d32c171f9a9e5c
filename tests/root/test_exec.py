"""exec, beyond what test_process.py has of it: namespaces in every combination, cgroups, process.json, states, leaks."""

import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from kit.bundle import caps, namespaces, userns
from kit.console import FdSocket
from kit.observe import cap_mask, status
from kit.observe import caps as caps_of
from kit.runtime import alive, mounts_with, wait_until

from pyrunc.host.cgroup import v2

known_bad = pytest.mark.runc_known_bad
SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
KINDS = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "mount": "mnt", "cgroup": "cgroup", "user": "user",
         "time": "time"}
TREE = v2.mountpoint() or "/sys/fs/cgroup"
HYBRID = TREE.endswith("unified")
needs_hybrid = pytest.mark.skipif(not HYBRID, reason="this host has no v1 hierarchies")


@pytest.fixture
def up(rt):
    return rt.container(SLEEP).up()


def process(**properties):
    return {"process": properties}


@pytest.fixture
def detached(rt):
    """Start a detached exec; its host pid. Its parent is this process, because pid 1 of some hosts waits for orphans late,
    and a pid namespace ends only when all in it have been waited for."""
    subreaper, started = 36, []

    def start(up, *argv, options=()):
        path = rt.base / f"pid-{next(rt.serial)}"
        ctypes.CDLL(None).prctl(subreaper, 1, 0, 0, 0)
        rt.call("exec", "-d", "--pid-file", path, *options, up.id, *argv).ok()
        ctypes.CDLL(None).prctl(subreaper, 0, 0, 0, 0)
        started.append(int(path.read_text()))
        return started[-1]
    yield start
    for pid in started:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def namespaces_of(pid):
    return {kind: os.readlink(f"/proc/{pid}/ns/{name}") for kind, name in KINDS.items()}


def groups_of(pid):
    """{controllers, "" for cgroup2: path}"""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return {line.split(":", 2)[1]: line.split(":", 2)[2] for line in lines}


# --- namespaces: the container has its own of a kind, one joined by path, or the host's

def bare(config):
    """Without what needs private mount, uts or network namespaces."""
    for key in ("maskedPaths", "readonlyPaths"):
        config["linux"].pop(key)
    config.pop("hostname")
    config["mounts"] = [m for m in config["mounts"] if m["destination"] in ("/proc", "/dev", "/dev/pts")]


@pytest.fixture
def holder():
    """A process in namespaces of its own, whatever kinds are asked for."""
    started = []

    def hold(*flags):
        process = subprocess.Popen(["unshare", *flags, "--", "sleep", "1000"])
        started.append(process)
        wait_until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n", what="no holder")
        return process.pid
    yield hold
    for process in started:
        process.kill()
        process.wait()


def container_with(rt, holder, kind, mode):
    """A container that has `kind` in this mode and the other kinds, but user and time, as its own."""
    others = [other for other in KINDS if other not in (kind, "user", "time")]
    if mode == "own":
        return rt.container(userns(), SLEEP) if kind == "user" else rt.container(namespaces(*others, kind), bare, SLEEP)
    if mode == "host":
        return rt.container(namespaces(*others), bare, SLEEP)
    if kind == "mount":     # its tree is the host's, so that the bundle is there
        path = f"/proc/{holder('--mount', '--propagation', 'private')}/ns/mnt"
    else:
        patches = [userns()] if kind == "user" else [namespaces(*others, kind)]
        path = f"/proc/{rt.container(*patches, SLEEP).up().pid}/ns/{KINDS[kind]}"
    return rt.container(namespaces(*others, **{kind: path}), bare, SLEEP)


def assert_inside(pid, init, uid, host_uid):
    """A process of the container: all namespaces and the root of its init, the ids that were asked for."""
    assert namespaces_of(pid) == namespaces_of(init)
    assert os.stat(f"/proc/{pid}/root").st_ino == os.stat(f"/proc/{init}/root").st_ino
    assert os.stat(f"/proc/{pid}/cwd").st_ino == os.stat(f"/proc/{init}/root").st_ino
    assert [int(id) for id in status({"status": Path(f"/proc/{pid}/status").read_text()})["Uid"].split()] == [host_uid + uid] * 4


HOST_ROOT = known_bad("leaves an exec'd process in the host's root where the container has no mount namespace, and its mounts behind")
NO_TIME = known_bad("1.1 has no time namespace")
MARKS = {("mount", "host"): HOST_ROOT, ("time", "own"): NO_TIME, ("time", "joined"): NO_TIME,
         ("user", "joined"): known_bad("1.1 wants mappings with a joined user namespace")}


@pytest.mark.parametrize("kind, mode", [pytest.param(kind, mode, marks=MARKS.get((kind, mode), ()))
                                        for kind in KINDS for mode in ("own", "joined", "host")])
def test_exec_is_in_whatever_namespaces_the_container_has(rt, holder, kind, mode, detached):
    up = container_with(rt, holder, kind, mode).up()
    host_uid = 100000 if kind == "user" and mode != "host" else 0
    for uid in (0, 1000):
        assert_inside(detached(up, "/bin/probe", "sleep", options=("-u", f"{uid}:{uid}")), up.pid, uid, host_uid)
        with FdSocket(rt.base / f"console-{uid}.sock") as console:
            options = ("-t", "--console-socket", console.path, "-u", f"{uid}:{uid}")
            pid = detached(up, "/bin/probe", "sleep", options=options)
            console.receive()
            assert_inside(pid, up.pid, uid, host_uid)
            assert "/dev/pts/" in os.readlink(f"/proc/{pid}/fd/0")


@HOST_ROOT
def test_exec_in_a_container_that_has_no_namespace_at_all(rt, detached):
    up = rt.container(namespaces(), bare, SLEEP).up()
    assert_inside(detached(up, "/bin/probe", "sleep"), up.pid, 0, 0)
    assert up.exec("/bin/ls", "/").ok().out.split() == sorted(os.listdir(up.rootfs))
    assert "HOME=/home/user" in up.exec("/bin/env", options=("-u", "1000")).ok().out


def test_exec_in_a_container_that_joined_all_it_has(rt, detached):
    first = rt.container(userns(), SLEEP).up()
    paths = {kind: f"/proc/{first.pid}/ns/{KINDS[kind]}" for kind in ("user", "network", "ipc", "uts", "pid")}
    up = rt.container(namespaces("mount", **paths), bare, SLEEP).up()
    assert_inside(detached(up, "/bin/probe", "sleep"), up.pid, 0, 100000)


def test_exec_in_a_container_without_proc(rt, detached):
    up = rt.container(SLEEP, bare, lambda config: config["mounts"].pop(0)).up()
    assert_inside(detached(up, "/bin/probe", "sleep", options=("-u", "1000:1000")), up.pid, 1000, 0)
    with FdSocket(rt.base / "console.sock") as console:
        detached(up, "/bin/probe", "sleep", options=("-t", "--console-socket", console.path))
        console.receive()


def test_exec_in_a_container_made_without_pivot_root(rt, detached):
    up = rt.container(SLEEP)
    up.create("--no-pivot").ok()
    up.start().ok()
    assert_inside(detached(up, "/bin/probe", "sleep"), up.pid, 0, 0)


def test_create_in_a_mount_namespace_joined_by_path_changes_that_one_and_not_the_hosts(rt, host, holder):
    pid = holder("--mount", "--propagation", "private")
    up = rt.container(namespaces("pid", "network", "ipc", "uts", mount=f"/proc/{pid}/ns/mnt"), SLEEP).up()
    assert os.readlink(f"/proc/{up.pid}/ns/mnt") == os.readlink(f"/proc/{pid}/ns/mnt")
    assert sorted(os.listdir(f"/proc/{pid}/root")) == sorted(os.listdir(up.rootfs))     # it is pivoted for all in there
    assert up.exec("/bin/ls", "/").ok().out.split() == sorted(os.listdir(up.rootfs))
    up.exec("/bin/probe", "try", "read:/proc/kcore").ok()


def test_create_in_a_mount_namespace_in_which_the_bundle_is_not_is_refused(rt, host):
    other = rt.container(SLEEP).up()
    path = f"/proc/{other.pid}/ns/mnt"
    rt.container(namespaces("pid", "network", "ipc", "uts", mount=path), SLEEP).create().failed("no such file or directory")
    assert other.exec("/bin/echo", "unharmed").ok().out == "unharmed\n"


# --- cgroups

@pytest.fixture
def group(up):
    """A function that makes a group below the container's in a hierarchy ("" is cgroup2) and returns its path."""
    name = up.bundle.config["linux"]["cgroupsPath"]

    def make(below, hierarchy=""):
        path = Path(f"/sys/fs/cgroup/{hierarchy}{name}" if hierarchy else TREE + name) / below
        path.mkdir()
        for file in ("cpuset.cpus", "cpuset.mems") if hierarchy == "cpuset" else ():
            (path / file).write_text((path.parent / file).read_text())
        return path
    return make


HIERARCHIES = [line.split(":")[1].removeprefix("name=") for line in Path("/proc/self/cgroup").read_text().splitlines()
               if line.split(":")[1]]


def test_exec_into_a_group_below_the_containers_own(rt, up, group, detached):
    for hierarchy in ("", *HIERARCHIES):
        group("sub", hierarchy)
    groups, own = groups_of(detached(up, "/bin/sleep", "1000", options=("--cgroup", "sub"))), groups_of(up.pid)
    assert groups == {name: f"{path}/sub" for name, path in own.items() if path != "/"} | {
        name: path for name, path in own.items() if path == "/"}


@needs_hybrid
def test_exec_into_groups_by_controller(rt, up, group, detached):
    group("one", "memory")
    group("two", "pids")
    options = ("--cgroup", "memory:one", "--cgroup", "pids:/two")
    groups, own = groups_of(detached(up, "/bin/sleep", "1000", options=options)), groups_of(up.pid)
    assert groups["memory"] == own["memory"] + "/one" and groups["pids"] == own["pids"] + "/two"
    assert {k: v for k, v in groups.items() if k not in ("memory", "pids")} == {
        k: v for k, v in own.items() if k not in ("memory", "pids")}


@needs_hybrid
def test_exec_into_a_cpuset_without_cpus_says_what_it_lacks(up, group):
    (group("empty", "cpuset") / "cpuset.cpus").write_text("\n")
    up.exec("/bin/true", options=("--cgroup", "cpuset:empty")).failed("no space left on device", code=255)


@pytest.mark.parametrize("path, words", [("none", "cgroup"), ("..", "bad sub cgroup path: .."), ("../SIBLING", "bad sub cgroup path: ../"),
                                         ("sub/../../SIBLING", "bad sub cgroup path"), ("nonesuch:sub", "unknown controller nonesuch")])
def test_exec_refuses_a_group_that_is_missing_or_not_the_containers(rt, up, path, words):
    sibling = Path(TREE + up.bundle.config["linux"]["cgroupsPath"] + "x")
    sibling.mkdir()
    try:
        up.exec("/bin/true", options=("--cgroup", path.replace("SIBLING", sibling.name))).failed(words, code=255)
        assert (sibling / "cgroup.procs").read_text() == ""
    finally:
        sibling.rmdir()


@pytest.fixture
def moved(up, group):
    """The container's init has moved itself to a group below, and given that one controllers, as systemd does."""
    inner = group("init")
    (inner / "cgroup.procs").write_text(str(up.pid))
    controllers = (inner.parent / "cgroup.controllers").read_text().split()
    (inner.parent / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))
    return inner


@known_bad("on a hybrid host it does not look for init; 1.1 not at all")
def test_exec_follows_init_where_the_containers_group_takes_no_process_any_more(rt, up, moved, detached):
    with pytest.raises(OSError, match="busy"):
        (moved.parent / "cgroup.procs").write_text(str(os.getpid()))
    pid = detached(up, "/bin/sleep", "1000")
    assert groups_of(pid)[""] == groups_of(up.pid)[""] == str(moved).removeprefix(TREE)
    up.exec("/bin/probe").ok()


@needs_hybrid       # the driver of a pure cgroup2 host has the same code, but --cgroup "/" would be all hierarchies here
def test_exec_does_not_follow_init_when_a_group_was_asked_for(up, moved):
    up.exec("/bin/true", options=("--cgroup", "/")).failed("device or resource busy", code=255)


def test_exec_stays_in_the_containers_group_while_that_takes_processes(rt, up, group, detached):
    inner = group("init")
    (inner / "cgroup.procs").write_text(str(up.pid))
    assert groups_of(detached(up, "/bin/sleep", "1000"))[""] == str(inner.parent).removeprefix(TREE)


@known_bad("does not look for init here")
def test_exec_does_not_follow_an_init_that_has_left_the_containers_group(rt, up, moved):
    """Who got out must not take others into a stranger's group."""
    stranger = Path(f"{moved.parent}-stranger")
    stranger.mkdir()
    try:
        (stranger / "cgroup.procs").write_text(str(up.pid))
        up.exec("/bin/true").failed("device or resource busy", code=255)
        (moved / "cgroup.procs").write_text(str(up.pid))
        up.exec("/bin/true").ok()
    finally:
        stranger.rmdir()


@known_bad("moves the process in from outside, which no limit refuses")
def test_exec_in_a_container_at_its_limit_of_processes_says_so(rt):
    """A process is counted where it is born; of moving it in from outside a process in there could see the descriptors."""
    up = rt.container({"linux": {"resources": {"pids": {"limit": 1}}}}, SLEEP).up()
    refused = up.exec("/bin/true").failed("resource temporarily unavailable", code=255)
    assert "pids limit" in refused.err


# --- process.json

FULL = process(
    args=["/bin/probe", "sleep"], env=["PATH=/bin", "ONLY=template"], cwd="/tmp", oomScoreAdj=77, noNewPrivileges=True,
    user={"uid": 0, "gid": 0, "umask": 0o27, "additionalGids": [9]}, scheduler={"policy": "SCHED_BATCH", "nice": 5},
    ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 6}, execCPUAffinity={"final": "0"},
    rlimits=[{"type": "RLIMIT_CORE", "soft": 1, "hard": 2}])


def view(rt, up, **document):
    """What a process of this process.json sees."""
    (rt.base / "process.json").write_text(json.dumps({"args": ["/bin/probe"], "cwd": "/", **document}))
    return rt.call("exec", "--process", rt.base / "process.json", up.id).ok().json()


@known_bad("takes no rlimits from the container; 1.1 knows half of it")
def test_a_process_file_takes_from_the_container_what_it_leaves_out_and_nothing_else(rt):
    up = rt.container(FULL).up()
    for empty in ({}, {"capabilities": None, "rlimits": [], "apparmorProfile": "", "selinuxLabel": "", "env": []}):
        seen = view(rt, up, **empty)
        assert caps_of(seen)["bnd"] == cap_mask("AUDIT_WRITE", "KILL", "NET_BIND_SERVICE")
        assert (seen["umask"], seen["oom_score_adj"], seen["ioprio"]) == (0o27, "77\n", 2 << 13 | 6)
        assert (seen["sched"]["policy"], seen["sched"]["nice"], seen["rlimits"]["CORE"]) == (3, 5, [1, 2])
        assert seen["affinity"] == [0]
        assert (seen["cwd"], seen["env"], seen["groups"], seen["nnp"], seen["ctty"]) == ("/", ["HOME=/root"], [], 0, 0)


@known_bad("takes umask and oomScoreAdj from the container; 1.1 knows half of it")
def test_what_a_process_file_says_goes_before_the_container(rt):
    up = rt.container(FULL).up()
    seen = view(rt, up, capabilities={}, oomScoreAdj=300, noNewPrivileges=False, env=["A=1", "B=2", "A=3", "HOME=/h"],
                user={"uid": 1000, "gid": 7, "umask": 0o77, "additionalGids": [3]}, scheduler={"policy": "SCHED_OTHER", "nice": 1},
                ioPriority={"class": "IOPRIO_CLASS_IDLE", "priority": 0}, execCPUAffinity={"initial": "1"},
                rlimits=[{"type": "RLIMIT_CORE", "soft": 3, "hard": 4}])
    assert set(caps_of(seen).values()) == {0} and seen["nnp"] == 0
    assert (seen["umask"], seen["oom_score_adj"], seen["ioprio"]) == (0o77, "300\n", 3 << 13)
    assert (seen["sched"]["policy"], seen["sched"]["nice"], seen["rlimits"]["CORE"]) == (0, 1, [3, 4])
    assert (seen["uids"], seen["gids"], seen["groups"]) == ([1000] * 3, [7] * 3, [3])
    assert sorted(seen["env"]) == ["A=3", "B=2", "HOME=/h"]
    assert seen["affinity"] == [1] or len(os.sched_getaffinity(0)) < 2


@known_bad("1.1 knows neither")
@pytest.mark.skipif(not os.path.exists("/proc/self/numa_maps"), reason="this kernel has no memory policies (NUMA)")
def test_personality_and_memory_policy_are_the_containers(rt):
    linux = {"personality": {"domain": "LINUX32"}, "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0"}}
    up = rt.container(SLEEP, {"linux": linux}).up()
    for seen in (up.exec("/bin/probe").ok().json(), view(rt, up)):
        assert seen["personality"] == 8 and seen["mempolicy"] & 0xff == 2 and seen["mempolicy_nodes"] == 1


@pytest.mark.parametrize("late", [False, True])
def test_a_process_comes_through_a_pipe(rt, up, late):
    """As the shell's <(...) has it; also of a writer that begins after the reader, with more than a pipe holds."""
    text = json.dumps({"args": ["/bin/probe"], "cwd": "/", "env": ["A=" + "x" * 100_000]}).encode()
    read, write = os.pipe()

    def fill():
        with contextlib.suppress(BrokenPipeError), open(write, "wb") as pipe:
            pipe.write(text)
    writer = threading.Timer(0.5 if late else 0, fill)
    writer.start()
    try:
        seen = rt.call("exec", "--process", f"/dev/fd/{read}", up.id, pass_fds=(read,)).ok().json()
    finally:
        os.close(read)
        writer.join()
    assert len([entry for entry in seen["env"] if entry.startswith("A=")][0]) == 100_002


@known_bad("waits for ever")
def test_a_fifo_that_nobody_writes_to_does_not_hang(rt, up):
    os.mkfifo(rt.base / "fifo")
    rt.call("exec", "--process", rt.base / "fifo", up.id, timeout=30).failed("fifo: nothing was written to the pipe for 10 seconds", code=255)


@known_bad("names the file of the caller")
def test_what_is_wrong_in_a_process_file_is_said_of_process_json(rt, up):
    """The name that a caller has given it is gone when the message is read."""
    for document, words in (({"cwd": "x", "args": ["/bin/probe"]}, "/cwd: Cwd must be an absolute path"),
                            ({"cwd": "/nowhere", "args": ["/bin/probe"], "user": {"uid": 65534}}, "/cwd: "),
                            ({"cwd": "/", "args": []}, "/args: args must not be empty")):
        (rt.base / "runc-process123").write_text(json.dumps(document))
        result = rt.call("exec", "--process", rt.base / "runc-process123", up.id)
        result.failed(f"process.json: {words}", code=255)
        assert "runc-process123" not in result.err
    rt.call("exec", "--process", rt.base / "missing", up.id).failed(f"{rt.base}/missing: no such file or directory", code=255)


def test_a_process_file_ignores_the_options_for_the_template(rt, up):
    (rt.base / "process.json").write_text(json.dumps({"args": ["/bin/probe", "own"], "cwd": "/", "env": ["A=1"]}))
    options = ("-p", rt.base / "process.json", "-e", "B=2", "-u", "5", "--cwd", "/tmp", "--cap", "CAP_CHOWN", "--no-new-privs")
    seen = up.exec("ignored", options=options).ok().json()
    assert (seen["argv"], seen["uids"], seen["cwd"], seen["nnp"]) == (["/bin/probe", "own"], [0] * 3, "/", 0)
    assert "B=2" not in seen["env"] and caps_of(seen)["bnd"] == cap_mask("AUDIT_WRITE", "KILL", "NET_BIND_SERVICE")


@known_bad("has other words")
@pytest.mark.parametrize("document, words", [
    ({"cwd": "/none"}, "process.json: /cwd: chdir to \"/none\": no such file or directory"),
    ({"args": ["nonesuch"]}, 'process.json: /args/0: exec: "nonesuch": executable file not found in $PATH'),
    ({"args": ["/bin/true", "x" * 140_000]}, 'process.json: /args: exec: "/bin/true": argument list too long'),
    ({"execCPUAffinity": {"initial": "8000"}}, "process.json: /execCPUAffinity/initial: sched_setaffinity: invalid argument"),
    ({"env": ["X"]}, "process.json: /env/0: invalid environment variable"),
], ids=lambda value: "" if isinstance(value, str) else next(iter(value)))
def test_what_is_wrong_with_a_process_file_is_said_of_that_file(rt, up, document, words):
    (rt.base / "process.json").write_text(json.dumps({"args": ["/bin/true"], "cwd": "/", **document}))
    up.exec(options=("-p", rt.base / "process.json")).failed(words, code=255)


@pytest.mark.parametrize("given, place", [(("-t", "--console-socket", "a.sock"), "bundle"), (("--pidfd-socket", "a.sock"), "bundle"),
                                          (("-p", "process.json", "--console-socket", "a.sock"), "cwd")])
def test_a_relative_socket_counts_from_the_bundle_but_beside_a_process_file_from_where_the_caller_is(rt, up, given, place):
    (rt.base / "process.json").write_text(json.dumps({"args": ["/bin/probe", "stay"], "cwd": "/", "terminal": True}))
    with FdSocket({"bundle": up.bundle.path, "cwd": rt.base}[place] / "a.sock") as sock:
        up.exec(*(() if "-p" in given else ("/bin/true",)), options=("-d", *given), cwd=rt.base)
        sock.receive()


def test_a_process_file_with_a_terminal_needs_a_socket_when_detached(rt, up):
    (rt.base / "process.json").write_text(json.dumps({
        "args": ["/bin/probe", "stay"], "cwd": "/", "terminal": True, "consoleSize": {"height": 12, "width": 34}}))
    up.exec(options=("-d", "-p", rt.base / "process.json")).failed("cannot allocate tty if", code=255)
    with FdSocket(rt.base / "console.sock") as console:
        up.exec(options=("-d", "--console-socket", console.path, "-p", rt.base / "process.json")).ok()
        _, fd = console.receive()
        text = ""
        while not text.endswith("}\r\n"):
            text += os.read(fd, 65536).decode()
        assert json.loads(text)["winsize"] == [12, 34]


@known_bad("1.1 does not know it")
@pytest.mark.parametrize("affinity, words", [({"initial": "8000"}, ["/process/execCPUAffinity/initial", "invalid argument"]),
                                             ({"final": "8000"}, ["/process/execCPUAffinity/final", "invalid argument"])])
def test_cpus_that_do_not_exist_are_refused_by_name(rt, affinity, words):
    up = rt.container(SLEEP, process(execCPUAffinity=affinity)).up()
    up.exec("/bin/true").failed(*words, code=255)


@known_bad("1.1 does not know it")
def test_an_initial_affinity_alone_stays(rt):
    up = rt.container(SLEEP, process(execCPUAffinity={"initial": "0"})).up()
    assert up.exec("/bin/probe").ok().json()["affinity"] == [0]


def test_an_empty_home_is_none(up):
    assert "HOME=/root" in up.exec("/bin/probe", options=("-e", "HOME=")).ok().json()["env"]
    assert "HOME=/root" in up.exec("/bin/probe", options=("-e", "HOME=/x", "-e", "HOME=")).ok().json()["env"]


# --- security

@pytest.mark.parametrize("nnp", [True, pytest.param(False, marks=known_bad("loads it before the user changes"))])
def test_the_containers_filter_is_loaded_with_and_without_no_new_privileges(rt, nnp):
    names = ["mkdir", "mkdirat", "setns", "openat2", "setresuid", "setgroups", "capset", "getcwd", "fchdir", "sched_setattr"]
    names = names if nnp else [name for name in names if name != "capset"]
    filter_ = {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 99}]}}}
    up = rt.container(filter_, SLEEP, process(noNewPrivileges=nnp)).up()
    assert up.exec("/bin/probe", "try", "mkdir:/tmp/x", options=("-u", "1000")).ok().json()[0]["errno"] == 99
    seen = up.exec("/bin/probe").ok().json()
    assert status(seen)["Seccomp"] == "2" and status(seen)["Seccomp_filters"] == "1" and seen["nnp"] == int(nnp)


def has_apparmor():
    try:
        return Path("/sys/module/apparmor/parameters/enabled").read_text() == "Y\n"
    except OSError:
        return False


def test_a_capability_nobody_knows_is_left_out_with_a_warning_if_it_was_asked_for_now(rt):
    up = rt.container(caps("CAP_KILL", "CAP_NONSENSE"), SLEEP).up()
    result = up.exec("/bin/probe", options=("--cap", "CAP_CHOWN", "--cap", "net_admin")).ok()
    assert caps_of(result.json())["bnd"] == cap_mask("KILL", "CHOWN")
    said = [entry["msg"] for entry in result.log if entry["level"] == "warning"]
    assert len(said) == 1 and "net_admin" in said[0]


@known_bad("does not name the profile")
@pytest.mark.skipif(has_apparmor(), reason="this host has AppArmor")
def test_an_apparmor_profile_without_apparmor_is_refused(up):
    up.exec("/bin/true", options=("--apparmor", "p")).failed("/process/apparmorProfile", "exec p", code=255)


@pytest.mark.skipif(not has_apparmor(), reason="this host has no AppArmor")
def test_an_apparmor_profile_is_applied_after_the_user_has_changed(up):
    seen = up.exec("/bin/probe", options=("--apparmor", "unconfined", "-u", "1000")).ok().json()
    assert "unconfined" in seen["attr"]
    up.exec("/bin/true", options=("--apparmor", "nonesuch")).failed("exec nonesuch", code=255)


@pytest.mark.skipif(os.path.exists("/sys/fs/selinux/enforce"), reason="this host has SELinux")
def test_a_selinux_label_without_selinux_is_refused_in_the_words_of_create(up):
    up.exec("/bin/true", options=("--process-label", "a:b:c:s0")).failed(
        "selinux label is specified in config, but selinux is disabled or not supported", code=255)


# --- states

def test_exec_in_a_paused_container_is_refused_or_waits_for_resume(rt, up):
    rt.call("pause", up.id).ok()
    up.exec("/bin/true").failed("cannot exec in a paused container (use --ignore-paused to override)", code=255)
    waiting = rt.spawn("exec", "--ignore-paused", up.id, "/bin/echo", "late")
    time.sleep(0.5)
    assert waiting.popen.poll() is None and waiting.output() == ""
    rt.call("resume", up.id).ok()
    assert waiting.wait().ok().out == "late\n"


def test_an_exec_that_was_killed_while_waiting_for_resume_leaves_nothing(rt, up):
    rt.call("pause", up.id).ok()
    waiting = rt.spawn("exec", "--ignore-paused", up.id, "/bin/sleep", "1000")
    time.sleep(0.5)
    waiting.popen.kill()
    waiting.popen.wait()
    rt.call("resume", up.id).ok()
    wait_until(lambda: rt.call("ps", "-f", "json", up.id).ok().json() == [up.pid], what="the process was made all the same")


@pytest.mark.parametrize("kind", ["pidfd_open", "openat", "clone3", "mkdirat", "recvmsg"])
def test_an_exec_whose_container_ends_under_its_hands_says_so(rt, kind):
    """It is stopped at each of its calls while the container is killed: what fails then is worded as that."""
    for n in (1, 2, 3, 5, 8, 13, 21, 34):
        box = rt.container(SLEEP).up()
        log = rt.base / "trace"
        log.unlink(missing_ok=True)
        running = rt.spawn("exec", box.id, "/bin/true", wrap=("strace", "-qq", "-o", log, "-e", f"trace={kind}", "-e",
                                                             f"inject={kind}:delay_enter=300000:when={n}"))
        time.sleep(0.15)
        box.kill("KILL").ok()
        box.delete("-f").ok()
        result = running.wait()
        assert result.code in (0, 137, 255), result
        if result.code == 255:
            assert any(word in result.err for word in ("cannot exec in a stopped container", "container does not exist", "died")), result
        if "DELAYED" not in log.read_text() and "INJECTED" not in log.read_text():
            break


def test_exec_in_a_container_killed_meanwhile_ends_with_it(rt, up):
    running = rt.spawn("exec", up.id, "/bin/sleep", "1000")
    wait_until(lambda: len(rt.call("ps", "-f", "json", up.id).ok().json()) == 2)
    up.kill("KILL").ok()
    assert running.wait(10).code == 137


def test_exec_in_a_deleted_container_says_that_it_does_not_exist(rt, up):
    up.delete("-f").ok()
    up.exec("/bin/true").failed("container does not exist", code=255)


# --- results

def quietly(rt, *args):
    """Exit code of the runtime, without files, for tests that call it often."""
    return subprocess.run([rt.binary, "--root", str(rt.root), *args], env=rt.env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30).returncode


def test_every_exit_status_and_every_signal_that_ends_a_process_arrive(rt, up):
    assert [quietly(rt, "exec", up.id, "/bin/probe", "exit", str(code)) for code in range(256)] == list(range(256))
    harmless = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH, signal.SIGSTOP, signal.SIGTSTP,
                signal.SIGTTIN, signal.SIGTTOU, 32, 33}
    deadly = [number for number in range(1, 65) if number not in harmless]
    assert [quietly(rt, "exec", up.id, "/bin/probe", "die", str(number)) for number in deadly] == [128 + n for n in deadly]


def test_a_pid_file_that_cannot_be_written_ends_the_process(rt, up):
    up.exec("/bin/sleep", "1000", options=("-d", "--pid-file", "/none/pid")).failed("no such file or directory", code=255)
    wait_until(lambda: rt.call("ps", "-f", "json", up.id).ok().json() == [up.pid], what="the process lives on")


def test_a_pid_file_is_there_once_the_process_runs_and_not_before(rt):
    """conmon takes its existence for success, so it appears after execve; the pid in it is the host's."""
    up = rt.container(SLEEP).up()
    running = rt.spawn("exec", "--pid-file", "pid", up.id, "/bin/sleep", "1000", cwd=rt.base)
    path = rt.base / "pid"
    wait_until(path.exists)
    pid = int(path.read_text())
    assert Path(f"/proc/{pid}/comm").read_text() == "sleep\n" and re.fullmatch(r"\d+", path.read_text())
    os.kill(pid, signal.SIGTERM)
    assert running.wait().code == 143


# --- nothing piles up

def traces(rt, up):
    """All that exec could leave: descriptors and children of init, processes and groups, files of the state, mounts."""
    name = up.bundle.config["linux"]["cgroupsPath"].strip("/")
    below = [path for top in (TREE, *(f"/sys/fs/cgroup/{h}" for h in HIERARCHIES)) for path, _, _ in os.walk(f"{top}/{name}")]
    return {
        "descriptors of init": sorted(os.readlink(f"/proc/{up.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{up.pid}/fd")),
        "mounts": len(Path(f"/proc/{up.pid}/mountinfo").read_text().splitlines()),
        "mounts of the host": mounts_with(rt.token),
        "processes": rt.call("ps", "-f", "json", up.id).ok().json(), "groups": sorted(below),
        "state": {entry.name: entry.stat().st_size for entry in os.scandir(rt.root / up.id)},
        "state root": sorted(os.listdir(rt.root)),
        "keyrings": sum(up.id in line for line in Path("/proc/keys").read_text().splitlines()),
    }


def test_a_thousand_execs_leave_nothing(rt, up):
    def call(number):
        """Mostly a program that succeeds; now and then one that is not there, and one in the background."""
        if number % 10 == 3:
            return quietly(rt, "exec", up.id, "nonesuch") - 255
        if number % 10 == 6:
            return quietly(rt, "exec", "-d", up.id, "/bin/true")
        return quietly(rt, "exec", up.id, "/bin/true")
    for number in range(10):
        assert call(number) == 0
    settled = lambda: rt.call("ps", "-f", "json", up.id).ok().json() == [up.pid]    # noqa: E731
    wait_until(settled)
    before = traces(rt, up)
    for number in range(1000):
        assert call(number) == 0, number
    wait_until(settled)
    wait_until(lambda: traces(rt, up)["keyrings"] <= before["keyrings"], what="keyrings pile up")   # freed a little late
    assert traces(rt, up) == before
    assert alive(up.pid)
