"""The six kinds of hooks: order, namespaces, state on stdin, environment, time-outs, failures."""

import json
import os
import time

import pytest
from kit.bundle import File, Node, namespaces
from kit.runtime import alive, wait_until

known_bad = pytest.mark.runc_known_bad
OUTSIDE = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
ORDER = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
EXITED = {"process": {"args": ["/bin/true"]}}


class Hooks:
    """Hook scripts that note what they see; `log` is the order in which they ran."""

    def __init__(self, rt):
        self.rt, self.log_file = rt, rt.base / "hooks.log"
        self.log_file.write_text("")

    def script(self, name, body="", to=None):
        """A script outside the container that notes its name, stdin, environment, directory, namespaces and arguments."""
        path = self.rt.base / f"hook-{name}"
        note = self.rt.base / f"note-{name}"
        path.write_text(f"#!/bin/sh\nread -r state\necho {name} >> {self.log_file}\necho \"$state\" > {note}.state\n"
                        f"tr '\\0' '\\n' < /proc/self/environ > {note}.env\npwd > {note}.cwd\n"
                        f"readlink /proc/self/ns/mnt /proc/self/ns/pid /proc/self/ns/net > {note}.ns\n"
                        f"echo \"$0 $*\" > {note}.args\n{body}\n")
        path.chmod(0o755)
        return {"path": str(path)}

    def log(self):
        return self.log_file.read_text().split()

    def note(self, name, what):
        return (self.rt.base / f"note-{name}.{what}").read_text()

    def state(self, name):
        return json.loads(self.note(name, "state"))


@pytest.fixture
def hooks(rt):
    return Hooks(rt)


def inside(body, name="startContainer"):
    """Config patch and rootfs patch for a startContainer hook, which lives in the container."""
    return ({"hooks": {name: [{"path": "/hook"}]}}, {"hook": File(f"#!/bin/sh\n{body}\n", 0o755)})


def all_six(hooks, **bodies):
    patch, rootfs = inside("cat > /hook.state; echo startContainer >> /log")
    patch["hooks"].update({kind: [hooks.script(kind, bodies.get(kind, ""))] for kind in OUTSIDE})
    return patch, rootfs


@known_bad("runs poststart at create")
def test_the_six_kinds_run_in_their_order(rt, hooks):
    patch, rootfs = inside("cat > /dev/null; echo startContainer >> /log")
    patch["hooks"].update({kind: [hooks.script(f"{kind}-{i}") for i in (1, 2)] for kind in OUTSIDE})
    container = rt.container(EXITED, patch, rootfs=rootfs)
    container.create().ok()
    assert hooks.log() == [f"{kind}-{i}" for kind in OUTSIDE[:3] for i in (1, 2)]
    assert not (container.rootfs / "log").exists()
    pid = container.pid
    container.start().ok()
    assert (container.rootfs / "log").read_text() == "startContainer\n"
    assert hooks.log()[6:] == ["poststart-1", "poststart-2"]
    container.wait_stopped(pid)
    container.delete().ok()
    assert hooks.log()[8:] == ["poststop-1", "poststop-2"]


def test_run_in_the_foreground_runs_all_of_them(rt, hooks):
    patch, rootfs = all_six(hooks)
    container = rt.container(EXITED, patch, rootfs=rootfs)
    container.run().ok()
    assert hooks.log() == list(OUTSIDE)
    assert (container.rootfs / "log").exists()


@known_bad("runs poststart at create")
def test_each_hook_reads_the_state_with_its_status(rt, hooks):
    patch, rootfs = all_six(hooks)
    container = rt.container(EXITED, patch, {"annotations": {"a.b": "c"}}, rootfs=rootfs)
    container.create("--pid-file", rt.base / "pid").ok()
    pid = int((rt.base / "pid").read_text())
    container.start().ok()
    container.wait_stopped(pid)
    container.delete().ok()
    states = {kind: hooks.state(kind) for kind in OUTSIDE}
    states["startContainer"] = json.loads((container.rootfs / "hook.state").read_text())
    assert {kind: state["status"] for kind, state in states.items()} == {
        "prestart": "created", "createRuntime": "created", "createContainer": "created", "startContainer": "created",
        "poststart": "running", "poststop": "stopped"}
    for kind, state in states.items():
        assert state["id"] == container.id and state["bundle"] == str(container.bundle.path), kind
        assert state["annotations"]["a.b"] == "c" and state["ociVersion"].startswith("1."), kind
    assert {kind: state.get("pid") for kind, state in states.items()} == {
        "prestart": pid, "createRuntime": pid, "poststart": pid, "createContainer": 1, "startContainer": 1, "poststop": None}


def test_hooks_run_in_the_namespaces_the_specification_names(rt, hooks):
    container = rt.container(SLEEP, {"hooks": {kind: [hooks.script(kind)] for kind in OUTSIDE}}).up()
    runtime = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "pid", "net")]
    theirs = [os.readlink(f"/proc/{container.pid}/ns/{kind}") for kind in ("mnt", "pid", "net")]
    container.delete("-f").ok()
    for kind in ("prestart", "createRuntime", "poststart", "poststop"):
        assert hooks.note(kind, "ns").split() == runtime, kind
    assert hooks.note("createContainer", "ns").split() == theirs


def test_a_hook_gets_its_env_and_nothing_else(rt, hooks):
    def given(config):
        config["hooks"] = {kind: [hooks.script(kind) | {"env": ["A=1", "B=two words"]}] for kind in OUTSIDE}
    container = rt.container(EXITED, given)
    container.run(env={"SECRET": "x"}).ok()
    for kind in OUTSIDE:
        lines = set(hooks.note(kind, "env").split("\n")) - {""}
        assert lines == {"A=1", "B=two words"}, kind


@known_bad("createContainer hooks have none")
def test_a_hook_without_env_has_the_runtimes(rt, hooks):
    container = rt.container(EXITED, {"hooks": {kind: [hooks.script(kind)] for kind in OUTSIDE}})
    container.run(env={"MINE": "x", "PATH": "/usr/bin:/bin"}).ok()
    for kind in OUTSIDE:
        assert {"MINE=x", "PATH=/usr/bin:/bin"} <= set(hooks.note(kind, "env").split("\n")), kind


def test_a_hook_whose_env_is_empty_has_none(rt, hooks):
    container = rt.container(EXITED, {"hooks": {kind: [hooks.script(kind) | {"env": []}] for kind in OUTSIDE}})
    container.run(env={"MINE": "x"}).ok()
    for kind in OUTSIDE:
        assert hooks.note(kind, "env").strip() == "", kind


def test_the_environment_of_start_and_delete_is_that_of_their_hooks(rt, hooks):
    container = rt.container(SLEEP, {"hooks": {kind: [hooks.script(kind)] for kind in ("createRuntime", "poststart", "poststop")}})
    container.create(env={"MINE": "create"}).ok()
    container.start(env={"MINE": "start"}).ok()
    container.delete("-f", env={"MINE": "delete"}).ok()
    for kind, mine in (("createRuntime", "create"), ("poststart", "start"), ("poststop", "delete")):
        assert f"MINE={mine}" in hooks.note(kind, "env").split("\n"), kind


@pytest.mark.parametrize("env, expected", [
    (None, {"PATH=/bin", "MINE=2", "HOME=/home/user"}), ([], set()), (["A=1"], {"A=1"})], ids=("absent", "empty", "own"))
def test_a_startcontainer_hook_has_the_processs_environment_with_home(rt, env, expected):
    hook = {"path": "/bin/cat", "args": ["cat", "/proc/self/environ"], **({} if env is None else {"env": env})}
    container = rt.container({"hooks": {"startContainer": [hook]}}, {"process": {
        "args": ["/bin/true"], "env": ["PATH=/bin", "MINE=1", "MINE=2"], "user": {"uid": 5, "gid": 5}}},
        rootfs={"etc/passwd": "user:x:5:5::/home/user:/bin/sh\n"})
    assert set(container.run().ok().out.split("\0")) - {""} == expected


@pytest.mark.parametrize("seconds", (1 << 32, (1 << 32) + 1, (1 << 63) - 1))
def test_a_timeout_of_more_than_32_bits_is_long(rt, hooks, seconds):
    patch, rootfs = inside("sleep 1.2; echo startContainer >> /log")
    patch["hooks"]["startContainer"][0]["timeout"] = seconds
    patch["hooks"].update({kind: [hooks.script(kind, "sleep 1.2") | {"timeout": seconds}] for kind in ("createRuntime", "createContainer")})
    container = rt.container(EXITED, patch, rootfs=rootfs)
    container.run().ok()
    assert hooks.log() == ["createRuntime", "createContainer"] and (container.rootfs / "log").exists()


def test_a_failing_hook_inside_does_not_report_the_output_of_another_kind(rt, hooks):
    patch, rootfs = inside("exit 3")
    patch["hooks"]["createContainer"] = [hooks.script("createContainer", "echo of-another")]
    result = rt.container(EXITED, patch, rootfs=rootfs).run()
    result.failed("startContainer hook #0: exit status 3")
    assert "of-another" not in result.err


# --- hooks under the container's filter

NEWER = ("clone3", "close_range", "dup3", "pipe2", "ppoll", "nanosleep", "clock_nanosleep", "pidfd_send_signal", "pidfd_open",
         "execveat", "waitid", "fork", "vfork", "mmap", "rt_sigreturn")
OLD = ("read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask ioctl access pipe "
       "select dup dup2 nanosleep getpid clone fork vfork execve exit wait4 kill uname fcntl getcwd chdir fchdir readlink getuid "
       "getgid geteuid getegid setuid setgid getppid arch_prctl clock_gettime exit_group set_tid_address prctl capset rt_sigreturn "
       "getdents64 sendfile newfstatat openat set_robust_list rseq prlimit64 getrandom statx faccessat").split()
PROFILES = {
    "clone3 is unknown, as Docker's profile answers": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]},
    "what is newer is not permitted": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": [name for name in NEWER if name != "mmap"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]},
    "only an old libc's calls are allowed": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": OLD, "action": "SCMP_ACT_ALLOW"}]},
}


@pytest.mark.parametrize("nnp", (True, False))
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("timeout", (None, 20))
def test_startcontainer_hooks_run_under_a_filter_that_knows_only_older_calls(rt, profile, nnp, timeout):
    more = {} if timeout is None else {"timeout": timeout}
    hooks = [{"path": "/bin/cat", "args": ["cat"], **more}, {"path": "/bin/echo", "args": ["echo", "second"], **more}]
    container = rt.container(EXITED, {"process": {"noNewPrivileges": nnp}, "linux": {"seccomp": PROFILES[profile]},
                                      "hooks": {"startContainer": hooks}})
    out = container.run().ok().out
    assert json.loads(out.removesuffix("second\n"))["status"] == "created"


@pytest.mark.parametrize("profile", PROFILES)
def test_a_hook_that_runs_too_long_under_such_a_filter_is_ended(rt, profile):
    hooks = [{"path": "/bin/cat", "args": ["cat", "/fifo"], "timeout": 1}]
    container = rt.container(EXITED, {"linux": {"seccomp": PROFILES[profile]}, "hooks": {"startContainer": hooks}},
                             rootfs={"fifo": Node("p")})
    result = container.run()
    result.failed("hook ran past specified timeout of 1.0s")
    assert 1 <= result.seconds < 5
    rt.assert_nothing_left()


@pytest.mark.parametrize("verb", ("run", "start"))
def test_what_init_calls_under_the_filter_is_what_the_table_says(rt, verb):
    """The `calls` of pyrunc/plan/ops.py, against strace."""
    from pyrunc.plan.ops import OPS

    trace = rt.base / "trace"
    container = rt.container(EXITED, {"process": {"noNewPrivileges": False}, "linux": {"seccomp": PROFILES[next(iter(PROFILES))]},
                                      "hooks": {"startContainer": [{"path": "/bin/true"}, {"path": "/bin/true", "timeout": 9}]}})
    wrap = ("strace", "-f", "-q", "-o", trace)
    if verb == "run":
        container.run(wrap=wrap).ok()
    else:
        creating = rt.spawn("create", "--bundle", container.bundle.path, container.id, wrap=wrap)
        wait_until(lambda: container.state().code == 0 and container.status == "created")
        container.start().ok()
        creating.wait().ok()
    calls, counted = {}, set()  # of init from the filter on, and of the children that it makes, up to their execve
    for line in trace.read_text().splitlines():
        pid, _, rest = line.partition(" ")
        name = rest.strip().removeprefix("<... ").replace("(", " ").partition(" ")[0]
        if "SECCOMP_SET_MODE_FILTER" in rest and rest.endswith("= 0"):
            counted.add(pid)
        elif pid in counted or (counted and pid not in calls):
            counted.add(pid)
            calls.setdefault(pid, set()).add(name)
            if name == "execve":
                counted.discard(pid)
        else:
            calls.setdefault(pid, set())
    ops = ("CAPS", "AMBIENT", "SYNC", "HOOK", "EXEC", *(("GATE",) if verb == "start" else ()))
    told = {call.strip("[]") for op in ops for call in OPS[op].calls}
    seen = set().union(*calls.values()) - {"---", "+++", "restart_syscall"}
    assert seen <= told
    assert {"clone", "wait4", "capset", "prctl", "read", "write", "execve", "dup3", "lseek"} <= seen


# --- output of hooks inside, and a terminal

def on_a_terminal(rt, container, *more):
    """Foreground run on a pty: (exit code, all that is shown)."""
    master, slave = os.openpty()
    running = container.spawn_run(*more, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    shown = b""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
    os.close(master)
    return running.wait().code, shown.decode()


@pytest.mark.parametrize("lines", (1, 5000))
@pytest.mark.parametrize("status", (0, 3))
def test_the_output_of_a_startcontainer_hook_is_shown_on_the_terminal(rt, lines, status):
    patch, rootfs = inside(f"i=0; while [ $i -lt {lines} ]; do echo line $i; i=$((i+1)); done; echo last >&2; exit {status}")
    container = rt.container(EXITED, {"process": {"terminal": True}}, patch, rootfs=rootfs)
    code, shown = on_a_terminal(rt, container)
    assert code == (1 if status else 0)
    assert [line for line in shown.splitlines() if line.startswith("line")] == [f"line {i}" for i in range(lines)]
    assert "last" in shown
    if status:
        assert "startContainer hook #0: exit status 3" in shown


def test_an_interrupt_ends_a_startcontainer_hook_that_hangs(rt):
    patch, rootfs = inside("echo here; sleep 60")
    container = rt.container(EXITED, patch, rootfs=rootfs)
    running = container.spawn_run()
    wait_until(lambda: "here" in running.output())
    running.popen.terminate()
    result = running.wait(10)
    result.failed("died during its setup (exit status 143)")
    rt.assert_nothing_left()


def test_a_startcontainer_hook_without_env_has_the_programs(rt):
    """Historical, and nvidia's hook relies on it."""
    patch, rootfs = inside("echo $MINE > /env")
    container = rt.container({"process": {"args": ["/bin/true"], "env": ["PATH=/bin", "MINE=yes"]}}, patch, rootfs=rootfs)
    container.run().ok()
    assert (container.rootfs / "env").read_text() == "yes\n"


def test_a_hook_gets_its_arguments_with_args_0_as_its_name(rt, hooks):
    hook = hooks.script("createRuntime")
    (rt.base / "hook-createRuntime").write_text(f"#!/bin/bash\ntr '\\0' '|' < /proc/$$/cmdline > {rt.base}/args\n")
    container = rt.container(EXITED, {"hooks": {"createRuntime": [hook | {"args": ["name", "one", "two words", ""]}]}})
    container.run().ok()
    assert (rt.base / "args").read_text().endswith("|one|two words||")


def test_hooks_run_in_the_bundle_and_createcontainer_in_the_rootfs(rt, hooks):
    container = rt.container(EXITED, {"hooks": {kind: [hooks.script(kind)] for kind in OUTSIDE}})
    container.run().ok()
    for kind in ("prestart", "createRuntime"):
        assert hooks.note(kind, "cwd").strip() == str(container.bundle.path), kind
    assert hooks.note("createContainer", "cwd").strip() == str(container.rootfs)


def test_createcontainer_sees_the_mounts_but_not_yet_the_new_root(rt, hooks):
    hook = hooks.script("createContainer", f"test -e {rt.base} && test -d proc/1 && test -c dev/null && touch seen")
    container = rt.container(EXITED, {"hooks": {"createContainer": [hook]}})
    container.run().ok()
    assert (container.rootfs / "seen").exists()


def test_createruntime_runs_when_the_mounts_are_made_but_the_root_is_not_switched(rt, hooks):
    body = "pid=$(echo \"$state\" | sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); nsenter -m -t $pid cat /proc/self/mountinfo > {}"
    hook = hooks.script("createRuntime", body.format(rt.base / "seen"))
    container = rt.container(EXITED, {"hooks": {"createRuntime": [hook | {"env": ["PATH=/usr/bin:/bin"]}]}})
    container.run().ok()
    assert f"{container.rootfs}/proc" in (rt.base / "seen").read_text()


@known_bad("leaks its sync socket and log pipe")
def test_hooks_have_no_descriptor_of_the_runtime(rt, hooks):
    body = f"ls -l /proc/self/fd > {rt.base}/fds"
    container = rt.container(EXITED, {"hooks": {kind: [hooks.script(kind, body.replace("fds", f"fds-{kind}"))] for kind in OUTSIDE}})
    container.run(env={"PATH": "/usr/bin:/bin"}).ok()
    for kind in OUTSIDE:
        lines = (rt.base / f"fds-{kind}").read_text().splitlines()[1:]
        numbers = sorted(line.split(" -> ")[0].split()[-1] for line in lines)
        assert set(numbers) <= {"0", "1", "2", "3", "10", "255"}, (kind, lines)   # 3: ls itself; 10, 255: the shell
        assert not [line for line in lines if "state.json" in line or "cgroup" in line or ".log" in line], (kind, lines)


def test_hooks_have_default_signal_dispositions(rt, hooks):
    body = f"grep -E 'SigIgn|SigBlk' /proc/self/status > {rt.base}/signals"
    container = rt.container(EXITED, {"hooks": {"createRuntime": [hooks.script("createRuntime", body)]}})
    container.run().ok()
    assert {line.split()[1] for line in (rt.base / "signals").read_text().splitlines()} == {"0" * 16}


# --- failures

@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
@known_bad("1.1 words it otherwise")
def test_a_failing_hook_of_create_undoes_everything_and_is_quoted(rt, hooks, kind):
    script = hooks.script(kind, "echo to-stdout; echo to-stderr >&2; exit 7")
    after = hooks.script("after")
    container = rt.container(SLEEP, {"hooks": {kind: [script, after], "poststop": [hooks.script("poststop")]}})
    result = container.create().failed(f"error running {kind} hook #0: exit status 7", "to-stdout", "to-stderr")
    assert "\n" not in result.error
    assert hooks.log() == [kind, "poststop"]
    rt.assert_nothing_left()


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_that_is_not_there_undoes_everything(rt, hooks, kind):
    container = rt.container(SLEEP, {"hooks": {kind: [{"path": "/no/such/hook"}]}})
    container.create().failed("/no/such/hook", "no such file or directory")
    rt.assert_nothing_left()


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_killed_by_a_signal_undoes_everything(rt, hooks, kind):
    container = rt.container(SLEEP, {"hooks": {kind: [hooks.script(kind, "kill -9 $$")]}})
    container.create().failed("signal: killed")
    rt.assert_nothing_left()


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_past_its_timeout_is_killed_with_the_container(rt, hooks, kind):
    hook = hooks.script(kind, "exec sleep 1000") | {"timeout": 1}
    container = rt.container(SLEEP, {"hooks": {kind: [hook]}})
    began = time.monotonic()
    container.create(timeout=10).failed("hook ran past specified timeout of 1")
    assert 0.9 < time.monotonic() - began < 5
    rt.assert_nothing_left()


@known_bad("start has returned before the hook runs")
def test_a_failing_startcontainer_hook_is_reported_by_start(rt, hooks):
    patch, rootfs = inside("echo reason >&2; exit 3")
    patch["hooks"]["poststop"] = [hooks.script("poststop")]
    container = rt.container(SLEEP, patch, rootfs=rootfs)
    container.create().ok()
    pid = container.pid
    container.start().failed("startContainer")
    container.wait_stopped(pid)
    assert container.status == "stopped"
    container.delete().ok()
    assert hooks.log() == ["poststop"]


@known_bad("start has returned before the hook runs")
def test_a_startcontainer_hook_that_is_not_there_is_reported_by_start(rt):
    container = rt.container(SLEEP, {"hooks": {"startContainer": [{"path": "/none"}]}})
    container.create().ok()
    container.start().failed("/none", "no such file or directory")
    assert container.status == "stopped"


@known_bad("start has returned before the hook runs")
def test_a_startcontainer_hook_past_its_timeout_is_killed_and_reported(rt):
    patch, rootfs = inside("exec sleep 1000")
    patch["hooks"]["startContainer"][0]["timeout"] = 1
    container = rt.container(SLEEP, patch, rootfs=rootfs)
    container.create().ok()
    container.start(timeout=10).failed("startContainer", "timeout")
    assert container.status == "stopped"


def test_a_startcontainer_hook_is_looked_up_in_the_container(rt):
    patch, rootfs = inside("echo ran > /ran")
    container = rt.container(EXITED, patch, rootfs=rootfs)
    container.run().ok()
    assert (container.rootfs / "ran").read_text() == "ran\n" and not os.path.exists("/ran")


@known_bad("1.1 words it otherwise")
def test_a_failing_poststart_hook_kills_the_container_and_fails_start(rt, hooks):
    container = rt.container(SLEEP, {"hooks": {"poststart": [hooks.script("poststart", "exit 4")]}})
    container.create().ok()
    pid = container.pid
    container.start().failed("poststart hook #0")
    wait_until(lambda: not alive(pid), what="the container lives on")


@known_bad("1.1 words it otherwise")
@pytest.mark.parametrize("options", [(), ("--detach",), ("--keep",)], ids=["foreground", "detached", "kept"])
def test_a_failing_poststart_hook_leaves_nothing_of_a_run(rt, hooks, options):
    container = rt.container(SLEEP, {"hooks": {"poststart": [hooks.script("poststart", "exit 4")],
                                               "poststop": [hooks.script("poststop", "exit 0")]}})
    container.run(*options).failed("poststart hook #0")
    rt.assert_nothing_left()
    assert hooks.log()[-1] == "poststop"


@known_bad("1.1 runs poststart before the program")
def test_poststart_runs_after_the_program_was_executed(rt, hooks):
    body = "pid=$(echo \"$state\" | sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); readlink /proc/$pid/exe > {}"
    hook = hooks.script("poststart", body.format(rt.base / "exe"))
    rt.container(SLEEP, {"hooks": {"poststart": [hook]}}).up()
    assert (rt.base / "exe").read_text() == "/bin/probe\n"


@known_bad("stops at the first failing one and fails delete")
def test_a_failing_poststop_hook_only_warns_and_the_others_run(rt, hooks):
    failing = [hooks.script("one", "exit 1"), hooks.script("two")]
    container = rt.container(SLEEP, {"hooks": {"poststop": failing}}).up()
    result = container.delete("-f").ok()
    assert hooks.log() == ["one", "two"]
    assert [entry for entry in result.log if entry["level"] == "warning" and "poststop" in entry["msg"]]
    rt.assert_nothing_left()


def test_poststop_runs_once_and_after_everything_is_gone(rt, hooks):
    body = f"ls {rt.root} > {rt.base}/ids; ls -d /sys/fs/cgroup/*/{rt.token}* > {rt.base}/groups 2>/dev/null; true"
    container = rt.container(SLEEP, {"hooks": {"poststop": [hooks.script("poststop", body)]}}).up()
    container.delete("-f").ok()
    assert container.id not in (rt.base / "ids").read_text().split()
    assert (rt.base / "groups").read_text() == ""
    container.delete("-f").ok()
    assert hooks.log() == ["poststop"]


def test_poststop_runs_when_a_foreground_run_ends(rt, hooks):
    rt.container(EXITED, {"hooks": {"poststop": [hooks.script("poststop")]}}).run().ok()
    assert hooks.log() == ["poststop"]


def test_a_hook_that_does_not_read_its_stdin_is_fine(rt):
    big = {"annotations": {f"key{i}": "x" * 1000 for i in range(200)}}
    container = rt.container(EXITED, big, {"hooks": {kind: [{"path": "/bin/true"}] for kind in OUTSIDE}})
    container.run().ok()


def test_a_hook_that_floods_its_output_does_not_hang_the_runtime(rt, hooks):
    script = hooks.script("createRuntime", "head -c 3000000 /dev/zero | tr '\\0' x; exit 0")
    rt.container(EXITED, {"hooks": {"createRuntime": [script | {"env": ["PATH=/usr/bin:/bin"]}]}}).run(timeout=15).ok()


@known_bad("waits for the pipe to close")
def test_a_hook_that_leaves_a_child_with_its_output_open_does_not_hang_the_runtime(rt, hooks):
    script = hooks.script("createRuntime", "sleep 3 & exit 0")
    container = rt.container(EXITED, {"hooks": {"createRuntime": [script]}})
    result = container.run(timeout=15).ok()
    assert result.seconds < 2.5, "it waited for the hook's child"


@known_bad("checks nothing")
@pytest.mark.parametrize("hook, word", [({"path": "relative/hook"}, "path"), ({"path": ""}, "path"),
                                        ({"path": "/bin/true", "timeout": 0}, "timeout"),
                                        ({"path": "/bin/true", "timeout": -1}, "timeout"), ({"args": ["x"]}, "path")])
@pytest.mark.parametrize("kind", ["prestart", "poststop"])
def test_a_malformed_hook_is_refused_before_anything_happens(rt, hooks, kind, hook, word):
    container = rt.container(SLEEP, {"hooks": {"createRuntime": [hooks.script("createRuntime")], kind: [hook]}})
    container.create().failed(word)
    assert hooks.log() == []
    rt.assert_nothing_left()


def test_a_hook_may_move_a_network_device_before_the_program_runs(rt, hooks):
    """Containers get their networks this way: init's netns must be there, by pid, at createRuntime."""
    body = ("pid=$(echo \"$state\" | sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); "
            "nsenter -n -t $pid sh -c 'echo 77 > /proc/sys/net/ipv4/ip_default_ttl'")
    hook = hooks.script("createRuntime", body) | {"env": ["PATH=/usr/sbin:/usr/bin:/bin"]}
    container = rt.container(namespaces("pid", "network", "ipc", "uts", "mount"), {"hooks": {"createRuntime": [hook]}},
                             {"process": {"args": ["/bin/cat", "/proc/sys/net/ipv4/ip_default_ttl"]}})
    assert container.run().ok().out == "77\n"


def test_what_a_failing_hook_has_written_is_one_line_that_no_terminal_obeys(rt, hooks):
    hook = hooks.script("createContainer", "printf 'a\\nb\\033[2Jc\\r'; exit 3")
    result = rt.container(EXITED, {"hooks": {"createContainer": [hook]}}).create()
    result.failed("exit status 3, stdout: a b\\x1b[2Jc, stderr: ")


def test_a_hook_that_has_not_run_has_written_nothing(rt):
    result = rt.container(EXITED, {"hooks": {"createContainer": [{"path": "/not/there"}]}}).create()
    result.failed("fork/exec /not/there: no such file or directory")
    assert "stdout" not in result.log_text
