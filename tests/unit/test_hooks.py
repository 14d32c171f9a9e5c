"""host/hooks.py and the C below it: what a hook gets, and what is said when it fails."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pyrunc import kernel_hook
from pyrunc.errors import Error
from pyrunc.host import hooks

STATE = hooks.state_for("c1", "creating", 4711, "/bundle", {"k": "v"})


def sh(script, **more):
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"], **more}


def failing(hook, kind="createRuntime", cwd=None):
    with pytest.raises(Error) as caught:
        hooks.run(kind, [hook], STATE, cwd)
    return caught.value


def python(script, **more):
    """Run a script that can import the pyrunc under test; its stdout."""
    package = os.path.dirname(os.path.dirname(kernel_hook.__file__))
    env = dict(os.environ, PYTHONPATH=f"{package}:{os.environ.get('PYTHONPATH', '')}")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, env=env, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def open_fds():
    return sorted(os.listdir("/proc/self/fd"))


# --- what it gets ---


def test_the_state_arrives_on_stdin_as_the_spec_words_it(tmp_path):
    hooks.run("createRuntime", [sh(f"cat > {tmp_path}/state")], STATE)
    assert json.loads((tmp_path / "state").read_bytes()) == {
        "ociVersion": "1.3.0", "id": "c1", "status": "creating", "pid": 4711, "bundle": "/bundle",
        "annotations": {"k": "v"},
    }


def test_a_state_without_process_has_no_pid_and_one_without_annotations_no_such_key():
    assert list(hooks.state_for("c", "stopped", None, "/b", {})) == ["ociVersion", "id", "status", "bundle"]


def test_every_hook_gets_the_whole_state_whatever_the_one_before_has_read(tmp_path):
    listed = [sh("head -c 5 > /dev/null"), sh(f"cat > {tmp_path}/second")]
    hooks.run("createRuntime", listed, STATE)
    assert json.loads((tmp_path / "second").read_bytes())["id"] == "c1"


def test_a_state_larger_than_a_pipe_neither_blocks_nor_breaks_a_hook_that_ignores_it(tmp_path):
    state = hooks.state_for("c1", "creating", 1, "/b", {"big": "x" * 1000000})
    hooks.run("createRuntime", [sh("exit 0"), sh(f"wc -c > {tmp_path}/size")], state)
    assert int((tmp_path / "size").read_text()) > 1000000


def test_a_hook_cannot_change_the_state_it_was_given():
    error = failing(sh("echo x 2>/dev/null >&0 || exit 9"))
    assert "exit status 9" in error.message


def test_env_is_exactly_what_the_hook_lists(tmp_path):
    hook = {"path": "/usr/bin/env", "args": ["env"], "env": ["A=1", "B=x y"]}
    wstatus, _, out, _ = kernel_hook.run(hook["path"], hook["args"], hook["env"])
    assert (wstatus, out[0]) == (0, b"A=1\nB=x y\n")


def test_without_env_it_is_ours_and_without_args_argv_is_the_path(tmp_path, monkeypatch):
    monkeypatch.setattr(hooks, "environ", {b"A": b"1", b"B": b"x \xff"})
    script = tmp_path / "hook"
    script.write_text(f"#!/bin/sh\ntr '\\0' '\\n' < /proc/$$/environ > {tmp_path}/env\necho $0 $# > {tmp_path}/argv\n")
    script.chmod(0o755)
    hooks.run("poststart", [{"path": str(script)}], STATE)
    assert (tmp_path / "argv").read_text() == f"{script} 0\n"
    assert b"A=1\nB=x \xff\n" in (tmp_path / "env").read_bytes()


def test_argv_0_may_differ_from_the_path(tmp_path):
    hook = {"path": "/bin/sh", "args": ["other", "-c", f"echo $0 > {tmp_path}/name"]}
    hooks.run("poststart", [hook], STATE)
    assert (tmp_path / "name").read_text() == "other\n"


def test_cwd_is_ours_unless_given(tmp_path):
    hooks.run("poststart", [sh(f"pwd > {tmp_path}/ours")], STATE)
    hooks.run("poststart", [sh("pwd > here")], STATE, str(tmp_path))
    assert (tmp_path / "ours").read_text().strip() == os.getcwd()
    assert (tmp_path / "here").read_text().strip() == str(tmp_path)


def test_no_descriptor_but_the_three_is_inherited():
    leaks = [os.open("/", os.O_RDONLY) for _ in range(20)]
    for fd in leaks:
        os.set_inheritable(fd, True)
    try:
        _, _, out, _ = kernel_hook.run("/bin/ls", ["ls", "/proc/self/fd"], [])
    finally:
        for fd in leaks:
            os.close(fd)
    assert out[0].split() == [b"0", b"1", b"2", b"3"]  # 3 is ls's own, of the directory


def test_signals_are_default_and_unblocked_whatever_ours_are():
    script = """if 1:
        import signal
        from pyrunc import kernel_hook
        for number in (signal.SIGTERM, signal.SIGHUP, 34, 64):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        print(kernel_hook.run("/bin/cat", ["cat", "/proc/self/status"], [])[2][0].decode())
        print(len(signal.pthread_sigmask(signal.SIG_BLOCK, [])) > 50)
    """
    lines = python(script).splitlines()
    assert [line.split() for line in lines if line[:6] in ("SigBlk", "SigIgn")] == [
        ["SigBlk:", "0" * 16], ["SigIgn:", "0" * 16]
    ]
    assert lines[-1] == "True", "our own mask has been changed"


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_it_gets_its_stdio_even_where_ours_is_closed(closed, tmp_path):
    script = f"""if 1:
        import os
        from pyrunc import kernel, kernel_hook
        for fd in {closed}:
            os.close(fd)
        stdin = kernel.memfd("in", b"hello")
        result = kernel_hook.run("/bin/sh", ["sh", "-c", "cat; echo oops >&2"], ["PATH=/bin"], stdin)
        open({str(tmp_path / "result")!r}, "w").write(repr(result))
    """
    python(script)
    assert (tmp_path / "result").read_text() == "(0, False, (b'hello', 5), (b'oops\\n', 5))"


# --- how it fails ---


def test_exit_status_and_both_streams_are_in_the_error():
    error = failing(sh("echo to out; echo to err >&2; exit 3"))
    assert error.message == "error running createRuntime hook #0: exit status 3, stdout: to out, stderr: to err"
    assert error.pointer == "/hooks/createRuntime/0"


@pytest.mark.parametrize("number, text", [(9, "signal: killed"), (15, "signal: terminated"), (34, "signal: ")])
def test_death_by_signal_is_worded_as_go_does(number, text):
    assert f"hook #0: {text}" in failing(sh(f"kill -{number} $$")).message


def test_a_missing_program_is_named():
    assert failing({"path": "/nope/x"}).message == (
        "error running createRuntime hook #0: fork/exec /nope/x: no such file or directory"
    )


def test_exec_errors_carry_the_kernels_errno(tmp_path):
    plain, junk = tmp_path / "plain", tmp_path / "junk"
    plain.write_text("x")
    junk.write_bytes(b"\x7fELF" + bytes(100))
    junk.chmod(0o755)
    assert failing({"path": str(plain)}).message.endswith(f"fork/exec {plain}: permission denied")
    assert failing({"path": str(junk)}).message.endswith(f"fork/exec {junk}: exec format error")
    assert failing({"path": str(tmp_path)}).errno == 13


def test_a_missing_cwd_is_named():
    assert failing(sh("exit 0"), cwd="/nope").message.endswith("hook #0: chdir /nope: no such file or directory")


def test_a_nul_in_an_argument_is_refused_not_cut_off():
    with pytest.raises(ValueError):
        hooks.run("poststart", [{"path": "/bin/true\0x"}], STATE)


def test_the_first_failure_ends_the_list(tmp_path):
    listed = [sh(f"touch {tmp_path}/0"), sh("exit 1"), sh(f"touch {tmp_path}/2")]
    with pytest.raises(Error, match="error running prestart hook #1: exit status 1"):
        hooks.run("prestart", listed, STATE)
    assert os.listdir(tmp_path) == ["0"]


def test_run_each_runs_them_all_and_returns_the_errors(tmp_path):
    errors = hooks.run_each("poststop", [sh("exit 1"), {"path": "/nope"}, sh(f"touch {tmp_path}/done")], STATE)
    assert [e.message[:32] for e in errors] == ["error running poststop hook #0: ", "error running poststop hook #1: "]
    assert os.listdir(tmp_path) == ["done"]


# --- time ---


def test_a_hook_over_its_time_is_killed_and_named():
    began = time.monotonic()
    error = failing(sh("exec sleep 60", timeout=1))
    assert error.message == "error running createRuntime hook #0: hook ran past specified timeout of 1.0s"
    assert 1 <= time.monotonic() - began < 5


def test_printing_without_end_does_not_outwit_the_timeout():
    assert "hook ran past" in failing(sh("exec cat /dev/zero", timeout=1)).message


def test_sigterm_ignored_does_not_help_against_the_timeout():
    assert "hook ran past" in failing(sh("trap '' TERM INT HUP; while :; do :; done", timeout=1)).message


def test_a_hook_within_its_time_is_not_disturbed():
    hooks.run("poststart", [sh("sleep 0.2", timeout=30)], STATE)


def test_a_daemon_left_behind_with_our_pipes_does_not_hold_us_up(tmp_path):
    began = time.monotonic()
    hooks.run("poststart", [sh(f"sleep 30 & echo $! > {tmp_path}/pid")], STATE)
    took = time.monotonic() - began
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert took < 10


def test_a_survivor_printing_without_end_does_not_hold_us_up(tmp_path):
    error = failing(sh(f"cat /dev/zero & echo $! > {tmp_path}/pid; sleep 0.1; exit 1"))
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert "exit status 1" in error.message


# --- output ---


def test_of_much_output_the_end_is_shown():
    error = failing(sh("seq 200000; echo the last; exit 1"))
    assert "the last, stderr: " in error.message
    assert "stdout: ... " in error.message
    assert len(error.message) < 10000


def test_output_cannot_break_the_line_or_command_the_terminal():
    message = failing(sh(r"printf 'a\nb\tc\033[2J\r\n'; exit 1")).message
    assert message.isprintable()
    assert r"stdout: a\nb\tc\x1b[2J\r, stderr: " in message


def test_output_that_is_not_utf8_is_shown_somehow():
    assert "stdout: a�b," in failing(sh(r"printf 'a\377b'; exit 1")).message


def test_opening_dev_stderr_again_keeps_what_was_written_before():
    message = failing(sh("echo one >&2; echo two > /dev/stderr; echo three >&2; exit 1")).message
    assert message.endswith(r"stderr: one\ntwo\nthree")


@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 8192, 70000])
def test_the_tail_is_exact_at_every_size(size):
    data = ("".join(f"{i:07}\n" for i in range(10000)))[:size]
    script = f"import sys; sys.stdout.write(''.join(f'{{i:07}}\\n' for i in range(10000))[:{size}])"
    _, _, out, _ = kernel_hook.run(sys.executable, ["python", "-I", "-S", "-c", script], [])
    assert out == (data[-4096:].encode(), size)


# --- nothing remains ---


def test_no_zombie_and_no_descriptor_remains():
    before = open_fds()
    for hook in (sh("exit 0"), sh("exit 1"), {"path": "/nope"}, sh("exec sleep 60", timeout=1)):
        hooks.run_each("poststart", [hook], STATE)
    hooks.run_each("poststart", [sh("exit 0")], STATE, "/nope")
    assert open_fds() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_other_children_are_left_to_those_who_wait_for_them():
    other = subprocess.Popen(["/bin/sh", "-c", "exit 5"])
    time.sleep(0.1)
    hooks.run("poststart", [sh("exit 0")], STATE)
    assert other.wait() == 5


def test_a_caller_that_ignores_sigchld_does_not_lose_us_the_status():
    script = "from pyrunc import kernel_hook; print(kernel_hook.run('/bin/sh', ['sh', '-c', 'exit 4'], [])[0])"
    assert python(script, preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)) == "1024\n"


def test_signals_while_it_runs_do_not_end_the_wait():
    script = """if 1:
        import os, signal
        from pyrunc import kernel_hook
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        print(kernel_hook.run("/bin/sh", ["sh", "-c", "sleep 0.5; exit 6"], ["PATH=/bin"], timeout=20)[0])
        signal.setitimer(signal.ITIMER_REAL, 0)
    """
    assert python(script) == "1536\n"
