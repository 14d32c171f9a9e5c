"""The life cycle, from outside: states, transitions, error texts, exit codes, signals."""

import fcntl
import json
import os
import re
import signal
import subprocess
import time

import pytest
from kit.bundle import File, namespaces
from kit.runtime import alive, wait_until

known_bad = pytest.mark.runc_known_bad
SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
EXITED = {"process": {"args": ["/bin/true"]}}
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


def stopped(rt, *patches):
    """A container whose process has ended but which is not deleted."""
    container = rt.container(EXITED, *patches)
    container.create().ok()
    pid = container.pid
    container.start().ok()
    return container.wait_stopped(pid)


# --- states

def test_create_prints_nothing_and_leaves_a_created_container(rt):
    container = rt.container(SLEEP)
    result = container.create().ok()
    assert result.out == "" and result.err == ""
    assert container.status == "created"
    assert (container.directory / "exec.fifo").exists()


def test_the_program_does_not_run_before_start(rt):
    container = rt.container({"process": {"args": ["/bin/touch", "/ran"]}})
    container.create().ok()
    time.sleep(0.2)
    assert not (container.rootfs / "ran").exists()
    pid = container.pid
    container.start().ok()
    container.wait_stopped(pid)
    assert (container.rootfs / "ran").exists()


def test_the_states_follow_each_other_from_created_to_stopped(rt):
    container = rt.container(SLEEP)
    container.create().ok()
    seen = [container.status]
    container.start().ok()
    seen.append(container.status)
    pid = container.pid
    container.kill("KILL").ok()
    container.wait_stopped(pid)
    seen.append(container.status)
    assert seen == ["created", "running", "stopped"]
    assert container.pid == 0
    container.delete().ok()
    container.state().failed("does not exist")


def test_state_prints_the_documented_object_with_two_space_indent_and_no_newline_at_the_end(rt):
    container = rt.container(SLEEP, {"annotations": {"org.example.key": "value"}})
    container.create().ok()
    result = container.state().ok()
    state = result.json()
    assert result.out == json.dumps(state, indent=2, ensure_ascii=False)
    assert RFC3339.fullmatch(state.pop("created"))
    assert re.fullmatch(r"1\.\d+\.\d+.*", state.pop("ociVersion"))
    assert alive(state.pop("pid"))
    assert state == {"id": container.id, "status": "created", "bundle": str(container.bundle.path),
                     "rootfs": str(container.rootfs), "annotations": {"org.example.key": "value"}, "owner": ""}


def test_state_omits_annotations_when_there_are_none(rt):
    container = rt.container(SLEEP)
    container.create().ok()
    assert "annotations" not in container.state().ok().json()


def test_the_state_is_of_the_container_not_of_a_bundle_that_was_edited_later(rt):
    container = rt.container({"process": {"args": ["/bin/probe"]}})
    container.create().ok()
    pid = container.pid
    container.bundle.patch({"process": {"args": ["/bin/false"], "env": ["EDITED=1"]}, "hostname": "edited"})
    container.start().ok()
    container.wait_stopped(pid)
    seen = json.loads(container.output())
    assert seen["hostname"] == "box" and "EDITED=1" not in seen["env"]


def test_the_state_directory_has_the_documented_modes_and_files(rt):
    container = rt.container(SLEEP)
    container.create().ok()
    assert oct(os.stat(container.directory).st_mode & 0o7777) == "0o711"
    state = json.loads((container.directory / "state.json").read_text())
    assert state["id"] == container.id
    assert state["init_process_pid"] == container.pid
    assert isinstance(state["init_process_start"], int) and RFC3339.fullmatch(state["created"])
    container.start().ok()
    assert not (container.directory / "exec.fifo").exists()


def test_a_container_whose_init_pid_was_reused_counts_as_stopped(rt):
    container = rt.container(SLEEP).up()
    pid = container.pid
    path = container.directory / "state.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "init_process_start": state["init_process_start"] - 1}))
    assert container.status == "stopped"
    container.kill("KILL").failed("container not running")
    assert alive(pid), "a process that merely has the same pid was killed"
    path.write_text(json.dumps(state))


# --- pid file

def test_the_pid_file_holds_the_pid_without_a_newline(rt):
    container = rt.container(SLEEP)
    container.create("--pid-file", rt.base / "pid").ok()
    assert (rt.base / "pid").read_bytes() == str(container.pid).encode()


def test_a_relative_pid_file_is_relative_to_the_caller(rt):
    container = rt.container(SLEEP)
    (rt.base / "here").mkdir()
    container.create("--pid-file", "pid", cwd=rt.base / "here").ok()
    assert os.listdir(rt.base / "here") == ["pid"]
    assert "pid" not in os.listdir(container.bundle.path)


def test_no_pid_file_is_written_when_create_fails(rt):
    container = rt.container({"process": {"args": ["/no/such/program"]}})
    container.create("--pid-file", rt.base / "pid").failed("/no/such/program")
    assert not (rt.base / "pid").exists()
    rt.assert_nothing_left()


def test_a_pid_file_that_cannot_be_written_undoes_create(rt):
    container = rt.container(SLEEP)
    container.create("--pid-file", rt.base / "missing" / "pid").failed("no such file or directory")
    rt.assert_nothing_left()


def test_a_pid_file_on_a_full_disk_leaves_no_part_of_itself(rt):
    container = rt.container(SLEEP)
    (rt.base / "full").mkdir()
    full = ("unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size=4k,mode=755 t {rt.base}/full; cd {rt.base}/full; echo >fill; "$@"; '
            "echo $? $(ls -A)", "sh")
    result = container.create("--pid-file", rt.base / "full/pid", wrap=full)
    assert result.out == "1 fill\n" and "no space left on device" in result.err
    rt.assert_nothing_left()


def test_a_caller_whose_directory_is_gone_is_told_so(rt):
    (rt.base / "gone").mkdir()
    gone = ("sh", "-c", f'cd {rt.base}/gone; rmdir {rt.base}/gone; exec "$@"', "sh")
    result = rt.call("run", "x", wrap=gone)
    result.failed("the caller's working directory: no such file or directory")
    assert "lifecycle" not in result.err


def test_an_existing_pid_file_is_replaced_and_a_symlink_there_is_not_followed(rt, canary):
    os.symlink(canary.path / "secret", rt.base / "pid")
    container = rt.container(SLEEP)
    container.create("--pid-file", rt.base / "pid").ok()
    assert not (rt.base / "pid").is_symlink()
    assert (rt.base / "pid").read_text() == str(container.pid)


# --- start

def test_start_of_a_stopped_container_says_so(rt):
    stopped(rt).start().failed("cannot start a container that has stopped")


def test_start_of_a_running_container_says_so(rt):
    rt.container(SLEEP).up().start().failed("cannot start an already running container")


def test_start_of_an_unknown_container_says_so(rt):
    rt.container().start().failed("container does not exist")


def test_start_of_a_created_container_whose_init_was_killed_fails_and_does_not_hang(rt):
    container = rt.container(SLEEP)
    container.create().ok()
    pid = container.pid
    os.kill(pid, signal.SIGKILL)
    container.wait_stopped(pid)
    container.start(timeout=5).failed("cannot start a container that has stopped")


@known_bad("1.1 leaves the loser waiting for ever")
def test_of_two_starts_at_once_exactly_one_succeeds(rt):
    for _ in range(6):
        container = rt.container(SLEEP)
        container.create().ok()
        results = [running.wait(5) for running in [rt.spawn("start", container.id) for _ in range(3)]]
        assert sorted(result.code for result in results) == [0, 1, 1], results
        assert container.status == "running"
        for loser in results:
            if loser.code:
                loser.failed("cannot start")
        container.delete("-f").ok()


# --- kill

@pytest.mark.parametrize("name, number", [("USR1", 10), ("SIGUSR2", 12), ("sigwinch", 28), ("hup", 1), ("34", 34),
                                          ("64", 64), (None, 15)])
def test_kill_takes_numbers_and_names_in_any_case_and_defaults_to_term(rt, name, number):
    container = rt.container({"process": {"args": ["/bin/probe", "trap", "/signals"]}}).up()
    log = container.rootfs / "signals"
    wait_until(lambda: log.exists() and "ready" in log.read_text(), what="the trap is not set")
    container.kill(*([name] if name else [])).ok()
    wait_until(lambda: f"\n{number}\n" in log.read_text(), what=f"signal {number} did not arrive")


ANY_NUMBER = known_bad("takes any number and leaves the refusal to the kernel")


@pytest.mark.parametrize("name", ["NOPE", "SIG", "TERM ", "1x", *(pytest.param(number, marks=ANY_NUMBER) for number in
                                                                   ("65", "1000", "-5", "4294967305"))])
def test_kill_refuses_an_unknown_signal_by_name(rt, name):
    container = rt.container(SLEEP).up()
    container.kill(name).failed(f'unknown signal "{name}"')
    assert container.status == "running"


def test_kill_of_a_stopped_container_says_not_running(rt):
    stopped(rt).kill("KILL").failed("container not running")


def test_kill_all_of_a_stopped_container_succeeds(rt):
    stopped(rt).kill("KILL", options=("--all",)).ok()


def test_kill_of_an_unknown_container_says_does_not_exist(rt):
    rt.container().kill("KILL").failed("does not exist")


def test_kill_reaches_a_container_that_is_only_created(rt):
    container = rt.container(SLEEP)
    container.create().ok()
    pid = container.pid
    container.kill("KILL").ok()
    container.wait_stopped(pid)
    assert container.status == "stopped"
    container.delete().ok()


def test_term_is_ignored_by_an_init_that_has_no_handler_as_the_kernel_has_it(rt):
    container = rt.container(SLEEP).up()
    container.kill("TERM").ok()
    time.sleep(0.1)
    assert container.status == "running"


@known_bad("1.1 kills only init, unless --all is given")
def test_kill_9_without_an_own_pid_namespace_kills_every_process_of_the_container(rt):
    container = rt.container(namespaces("network", "ipc", "uts", "mount"),
                             {"process": {"args": ["/bin/sh", "-c", "sleep 1000 & sleep 1000 & exec sleep 1000"]}}).up()
    wait_until(lambda: len(rt.call("ps", "-f", "json", container.id).ok().json()) == 3, what="three processes")
    pids = rt.call("ps", "-f", "json", container.id).ok().json()
    container.kill("KILL").ok()
    wait_until(lambda: not any(alive(pid) for pid in pids), what="some process survived")


@pytest.mark.parametrize("options", [("--all",), pytest.param((), marks=known_bad("1.1 kills the others only with --all"))])
def test_kill_9_reaches_what_an_ended_init_left_running(rt, options):
    """What containerd's shim does when the init of a container that shares its pid namespace has ended."""
    container = rt.container(namespaces("network", "ipc", "uts", "mount"),
                             {"process": {"args": ["/bin/sh", "-c", "sleep 1000 & sleep 1000 & exit 0"]}})
    container.create().ok()
    pid = container.pid
    container.start().ok()
    container.wait_stopped(pid)
    left = rt.call("ps", "-f", "json", container.id).ok().json()
    assert len(left) == 2 and container.status == "stopped"
    container.kill("TERM").failed("container not running")
    assert all(alive(pid) for pid in left)
    container.kill("KILL", options=options).ok()
    wait_until(lambda: not any(alive(pid) for pid in left), what="some process survived")
    container.kill("KILL", options=("--all",)).ok()


# --- delete

def test_delete_of_a_created_container_kills_and_removes_it(rt):
    container = rt.container(SLEEP)
    container.create().ok()
    container.delete().ok()
    rt.assert_nothing_left()


def test_delete_of_a_running_container_is_refused_and_leaves_it_running(rt):
    container = rt.container(SLEEP).up()
    container.delete().failed(f"cannot delete container {container.id} that is not stopped: running")
    assert container.status == "running"


def test_forced_delete_of_a_running_container_kills_and_removes_it(rt):
    container = rt.container(SLEEP).up()
    container.delete("-f").ok()
    rt.assert_nothing_left()


def test_forced_delete_kills_processes_that_left_init_behind(rt):
    container = rt.container(namespaces("network", "ipc", "uts", "mount"),
                             {"process": {"args": ["/bin/sh", "-c", "sleep 1000 & exit 0"]}})
    container.create().ok()
    pid = container.pid
    container.start().ok()
    container.wait_stopped(pid)
    assert container.status == "stopped"
    container.delete("-f").ok()
    rt.assert_nothing_left()


def test_delete_of_an_unknown_container_fails_but_forced_delete_is_silent(rt):
    rt.container().delete().failed("container does not exist")
    result = rt.container().delete("--force").ok()
    assert result.out == "" and result.err == ""


def test_delete_removes_a_directory_without_state_and_says_it_does_not_exist(rt):
    container = rt.container()
    container.directory.mkdir()
    container.delete().failed("does not exist")
    assert rt.ids() == []


@known_bad("cannot delete a container with a broken state.json")
@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"id": 7}', "\0\0"],
                         ids=["empty", "truncated", "list", "null", "wrong type", "zeros"])
def test_forced_delete_removes_a_container_whose_state_is_garbage(rt, content):
    container = rt.container(SLEEP)
    container.directory.mkdir(mode=0o711)
    (container.directory / "state.json").write_text(content)
    container.delete("-f").ok()
    assert rt.ids() == []


@known_bad("has a container's config in state.json")
@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_delete_removes_a_container_whose_saved_config_is_garbage(rt, content):
    container = rt.container(SLEEP).up()
    (container.directory / "config.json").write_text(content)
    result = container.delete("-f").ok()
    assert [entry["msg"] for entry in result.log if entry["level"] == "warning"]
    rt.assert_nothing_left()


def test_delete_without_force_leaves_a_container_whose_state_is_garbage(rt):
    """It may be running: the process has no other handle than this directory."""
    container = rt.container(SLEEP).up()
    good = (container.directory / "state.json").read_bytes()
    (container.directory / "state.json").write_text("{")
    container.delete().failed()
    (container.directory / "state.json").write_bytes(good)
    assert container.status == "running"


def test_forced_delete_never_follows_a_symlink_in_the_state_directory(rt, canary):
    container = rt.container()
    container.directory.mkdir(mode=0o711)
    os.symlink(canary.path, container.directory / "notify")
    os.symlink(canary.path / "secret", container.directory / "state.json")
    container.delete("-f")
    canary.hostdiff()
    subprocess.run(["rm", "-rf", container.directory], check=True)


def test_an_id_can_be_used_again_after_delete(rt):
    container = rt.container(EXITED)
    for _ in range(3):
        container.up().wait_stopped()
        container.delete().ok()
    rt.assert_nothing_left()


# --- run and exit codes

@pytest.mark.parametrize("code", [0, 1, 2, 42, 125, 126, 127, 128, 137, 254, 255])
def test_run_exits_with_the_status_of_the_program(rt, code):
    result = rt.container({"process": {"args": ["/bin/probe", "exit", str(code)]}}).run()
    assert result.code == code
    assert result.out == result.err == result.log_text == ""
    rt.assert_nothing_left()


@pytest.mark.parametrize("number", [1, 2, 3, 6, 9, 11, 15, 34, 64])
def test_run_exits_with_128_plus_the_signal_that_killed_the_program(rt, number):
    container = rt.container(namespaces("network", "ipc", "uts", "mount"),
                             {"process": {"args": ["/bin/probe", "die", str(number)]}})
    assert container.run().code == 128 + number


def test_run_exits_with_137_when_the_container_is_killed_from_outside(rt):
    container = rt.container(SLEEP)
    running = container.spawn_run()
    wait_until(lambda: container.state().code == 0 and container.status == "running", what="not running")
    container.kill("KILL").ok()
    assert running.wait().code == 137
    rt.assert_nothing_left()


def test_run_passes_stdin_and_its_end_to_the_program(rt):
    source = rt.base / "input"
    source.write_text("one\ntwo\n")
    with open(source) as stdin:
        assert rt.container({"process": {"args": ["/bin/cat"]}}).run(stdin=stdin).ok().out == "one\ntwo\n"


def test_run_keeps_stdout_and_stderr_apart(rt):
    result = rt.container({"process": {"args": ["/bin/sh", "-c", "echo out; echo err >&2"]}}).run().ok()
    assert (result.out, result.err) == ("out\n", "err\n")


def test_run_passes_a_megabyte_through_unharmed(rt):
    source = rt.base / "input"
    source.write_bytes(os.urandom(1 << 20))
    container = rt.container({"process": {"args": ["/bin/cat"]}})
    with open(source) as stdin:
        container.run(stdin=stdin).ok()
    assert container.running.files[0].read_bytes() == source.read_bytes()


def test_run_detached_returns_at_once_with_a_running_container(rt):
    container = rt.container(SLEEP)
    assert container.run("-d", "--pid-file", rt.base / "pid").ok().out == ""
    assert container.status == "running"
    assert (rt.base / "pid").read_text() == str(container.pid)


def test_run_keep_leaves_a_stopped_container(rt):
    container = rt.container(EXITED)
    container.run("--keep").ok()
    assert container.status == "stopped"
    container.delete().ok()


def test_run_removes_everything_when_the_program_cannot_be_found(rt):
    rt.container({"process": {"args": ["nonesuch"]}}).run().failed(
        'exec: "nonesuch": executable file not found in $PATH')
    rt.assert_nothing_left()


def test_run_kills_what_a_container_in_the_hosts_pid_namespace_left_running(rt):
    container = rt.container(namespaces("network", "ipc", "uts", "mount"),
                             {"process": {"args": ["/bin/sh", "-c", "sleep 1000 >/dev/null 2>&1 & exit 3"]}})
    assert container.run().code == 3
    rt.assert_nothing_left()


@pytest.mark.parametrize("number", [1, 2, 3, 10, 12, 13, 15, 18, 30, 40])
def test_foreground_run_forwards_a_signal_to_the_program(rt, number):
    container = rt.container({"process": {"args": ["/bin/probe", "trap", "/signals"]}})
    running = container.spawn_run()
    log = container.rootfs / "signals"
    wait_until(lambda: log.exists() and "ready" in log.read_text(), what="the trap is not set")
    running.popen.send_signal(number)
    wait_until(lambda: f"\n{number}\n" in log.read_text(), what=f"signal {number} did not arrive")
    if number != signal.SIGTERM:
        running.popen.send_signal(signal.SIGTERM)
    assert running.wait().code == 42


@pytest.mark.parametrize("number", [signal.SIGCHLD, signal.SIGWINCH, pytest.param(
    signal.SIGURG, marks=known_bad("1.1 forwards SIGURG"))])
def test_foreground_run_keeps_its_own_signals_to_itself(rt, number):
    container = rt.container({"process": {"args": ["/bin/probe", "trap", "/signals"]}})
    running = container.spawn_run()
    log = container.rootfs / "signals"
    wait_until(lambda: log.exists() and "ready" in log.read_text(), what="the trap is not set")
    running.popen.send_signal(number)
    running.popen.send_signal(signal.SIGTERM)
    assert running.wait().code == 42
    assert log.read_text().split() == ["ready", "15"]


def test_foreground_run_does_not_keep_the_lock_while_its_program_runs(rt):
    """Or every kill and delete of it would first wait for its end."""
    container = rt.container(SLEEP)
    running = container.spawn_run()
    wait_until(lambda: container.directory.exists() and container.state().code == 0 and container.status == "running", what="it does not run")
    directory = os.open(container.directory, os.O_RDONLY | os.O_DIRECTORY)

    def free():
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    wait_until(free, what="the lock is never given up")
    os.close(directory)
    container.kill("KILL").ok()
    assert running.wait().code == 137


def test_foreground_run_reaps_orphans_that_are_given_to_it(rt):
    """As subreaper it gets the orphans of a container without own pid namespace, and must not take one for init."""
    script = "(sleep 0.2 & ) ; sleep 0.5; exit 7"
    container = rt.container(namespaces("network", "ipc", "uts", "mount"),
                             {"process": {"args": ["/bin/sh", "-c", script]}})
    assert container.run().code == 7


# --- several callers at once

def test_a_second_create_of_an_id_is_refused_and_harms_the_first(rt):
    container = rt.container(SLEEP).up()
    pid = container.pid
    container.create().failed("container with given ID already exists")
    assert container.pid == pid and container.status == "running"


@known_bad("has no lock: both may fail")
def test_of_two_creates_at_once_exactly_one_succeeds(rt):
    for _ in range(5):
        container = rt.container(SLEEP)
        results = [running.wait() for running in
                   [rt.spawn("create", "--bundle", container.bundle.path, container.id) for _ in range(2)]]
        assert sorted(result.code for result in results) == [0, 1], results
        assert container.status == "created"
        container.delete("-f").ok()
        rt.assert_nothing_left()


def duration_of_create(rt):
    container = rt.container(SLEEP)
    seconds = container.create().ok().seconds
    container.delete("-f").ok()
    return seconds


@known_bad("has no lock: delete during create leaves an init behind")
def test_delete_during_create_leaves_nothing_once_both_are_done(rt):
    span = duration_of_create(rt)
    rounds = 24
    for step in range(rounds):                  # half of them while the state directory is being made
        container = rt.container(SLEEP)
        creating = rt.spawn("create", "--bundle", container.bundle.path, container.id)
        time.sleep(span * 1.2 * step / rounds if step % 2 else span * 0.3 * step / rounds)
        deleting = container.delete("-f")
        created = creating.wait()
        assert created.code in (0, 1) and deleting.code == 0, (created, deleting)
        assert "Traceback" not in created.err + deleting.err
        container.delete("-f").ok()
        rt.assert_nothing_left()


def test_kill_during_start_leaves_a_stopped_container_and_no_hanging_start(rt):
    for step in range(8):
        container = rt.container(SLEEP)
        container.create().ok()
        pid = container.pid
        starting = rt.spawn("start", container.id)
        time.sleep(0.005 * step)
        container.kill("KILL").ok()
        started = starting.wait(timeout=10)
        assert started.code in (0, 1) and "Traceback" not in started.err, started
        container.wait_stopped(pid)
        assert container.status == "stopped"
        container.delete().ok()
    rt.assert_nothing_left()


@pytest.mark.parametrize("verb", ["create", "run", "start"])
@known_bad("leaves an init or a cgroup behind when it is killed early")
def test_sigkill_of_the_runtime_at_any_instant_leaves_what_forced_delete_removes(rt, verb):
    """Instants are spread over the call's measured time; the ones after its end are harmless."""
    span = duration_of_create(rt) * (1.5 if verb == "run" else 1)
    rounds = 30
    for step in range(rounds):
        container = rt.container(SLEEP)
        if verb == "start":
            container.create().ok()
            running = rt.spawn("start", container.id)
        else:
            running = rt.spawn(verb, "--bundle", container.bundle.path, container.id)
        time.sleep(span * step / rounds)
        running.popen.kill()
        running.popen.wait()
        deleted = container.delete("-f").ok()
        assert deleted.err == ""
        try:
            rt.assert_nothing_left()
        except AssertionError as found:
            raise AssertionError(f"killed {verb} after {step}/{rounds} of {span:.3f} s: {found}") from None


def test_deleting_the_bundle_after_create_does_not_hinder_kill_and_delete(rt):
    container = rt.container(SLEEP).up()
    os.unlink(container.bundle.path / "config.json")
    assert container.status == "running"
    container.kill("KILL").ok()
    container.wait_stopped()
    container.delete().ok()
    rt.assert_nothing_left()


# --- failing execve, seen by start

@known_bad("start has returned before execve fails")
def test_start_reports_that_the_program_vanished_after_create(rt):
    container = rt.container({"process": {"args": ["/bin/tool"]}}, rootfs={"bin/tool": File("", 0o755)})
    container.create().ok()
    (container.rootfs / "bin/tool").unlink()
    container.start().failed("/bin/tool", "no such file or directory")
    assert container.status == "stopped"


@known_bad("start has returned before execve fails")
def test_start_reports_a_program_the_kernel_cannot_execute(rt):
    container = rt.container({"process": {"args": ["/bin/tool"]}}, rootfs={"bin/tool": File("\x7fELF nonsense", 0o755)})
    container.create().ok()
    container.start().failed("/bin/tool", "exec format error")
    assert container.status == "stopped"


@known_bad("prints the failing execve on the container's stderr and exits with 1 or 255")
def test_run_reports_a_program_the_kernel_cannot_execute_and_leaves_nothing(rt):
    container = rt.container({"process": {"args": ["/bin/tool"]}}, rootfs={"bin/tool": File("\x7fELF nonsense", 0o755)})
    container.run().failed("/bin/tool", "exec format error")
    rt.assert_nothing_left()


@known_bad("its init is the whole of runc")
def test_a_created_container_depends_on_no_file_of_the_runtime(rt):
    """Init is a sealed copy in memory: upgrading or removing pyrunc and Python cannot hurt what is created."""
    container = rt.container({"process": {"args": ["/bin/touch", "/ran"]}})
    container.create().ok()
    pid = container.pid
    exe = os.readlink(f"/proc/{pid}/exe")
    assert exe.startswith("/memfd:") and exe.endswith(" (deleted)")
    with open(f"/proc/{pid}/maps") as maps:
        files = {fields[5] for line in maps if len(fields := line.split()) > 5}
    assert [path for path in files if path.startswith("/") and not path.startswith("/memfd:")] == []


@pytest.mark.runc_known_bad("refuses to create it")
def test_without_a_process_a_container_can_be_created_and_deleted_but_not_started(rt):
    container = rt.container({"process": None})
    container.create().ok()
    pid = container.pid
    container.start().failed("cannot start a container without a process: config.json has none")
    assert container.status == "created" and alive(pid)
    assert container.exec("/bin/true").code == 0
    container.kill("KILL").ok()
    container.wait_stopped(pid)
    container.delete().ok()
    rt.container({"process": None}).run().failed("process property must not be empty")


def test_a_run_whose_container_another_deletes_waits_for_that(rt, tmp_path):
    """`run` has given its lock up while its process ran: the poststop hook runs once, and neither of the two fails."""
    told = tmp_path / "told"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"sleep 0.2; echo told >> {told}"]}
    container = rt.container({"process": {"args": ["/bin/probe", "sleep"]}, "hooks": {"poststop": [hook]}})
    running = container.spawn_run()
    wait_until(lambda: container.state().code == 0 and container.status == "running", what="the container runs")
    container.delete("-f").ok()
    assert running.wait().code == 137
    assert told.read_text() == "told\n"
