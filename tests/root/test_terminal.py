"""Foreground run and exec with a terminal of the caller's: modes, sizes, keys, signals, and that no output is lost.

The loop itself is tested with a driver in tests/unit/test_console.py; here the runtime does it, on real ptys.
"""

import hashlib
import json
import os
import re
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest
from kit.console import FdSocket, Terminal
from kit.runtime import wait_until

known_bad = pytest.mark.runc_known_bad
SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
VERBS = ("run", "exec")


def shell(script, **more):
    return {"process": {"terminal": True, "args": ["/bin/sh", "-c", script], **more}}


@pytest.fixture
def screen():
    with Terminal() as terminal:
        yield terminal


@pytest.fixture
def start(rt, screen):
    """Run a shell script in the foreground of the screen, by `run` or by `exec`, with a terminal or without; (Running,
    Container)."""
    def begin(verb, script, terminal=True, **how):
        if verb == "run":
            container = rt.container(shell(script), {"process": {"terminal": terminal}})
            return screen.start(rt, "run", "--bundle", container.bundle.path, container.id, **how), container
        container = rt.container(SLEEP).up()
        options = ("-t",) if terminal else ()
        return screen.start(rt, "exec", *options, container.id, "/bin/sh", "-c", script, **how), container
    return begin


def is_raw(mode):
    return not mode[3] & (termios.ECHO | termios.ICANON | termios.ISIG) and not mode[0] & (termios.ICRNL | termios.IXON)


# --- the caller's terminal

WAYS_OUT = {
    "an exit": ("echo ready; read x; exit 7", lambda running, up, screen: screen.type(b"\r"), 7),
    "a signal to the runtime": ("trap 'exit 8' TERM; echo ready; while :; do sleep 0.05; done",
                                lambda running, up, screen: running.popen.send_signal(signal.SIGTERM), 8),
    "a hangup of the runtime": ("trap 'exit 9' HUP; echo ready; while :; do sleep 0.05; done",
                                lambda running, up, screen: running.popen.send_signal(signal.SIGHUP), 9),
    "a key": ("trap 'exit 10' INT; echo ready; while :; do sleep 0.05; done", lambda running, up, screen: screen.type(b"\x03"), 10),
    "the container being killed": ("echo ready; sleep 1000", lambda running, up, screen: up.kill("KILL").ok(), 137),
    "the container being deleted": ("echo ready; sleep 1000", lambda running, up, screen: up.delete("-f").ok(), 137),
}


@pytest.mark.parametrize("way", WAYS_OUT)
@pytest.mark.parametrize("verb", VERBS)
def test_the_terminal_is_raw_meanwhile_and_as_before_after(start, screen, verb, way):
    script, leave, code = WAYS_OUT[way]
    running, container = start(verb, script)
    screen.read(b"ready\r\n")
    during = screen.mode()
    assert is_raw(during) and during[1] & termios.OPOST
    leave(running, container, screen)
    assert running.wait(15).code == code
    assert screen.mode() == screen.before


@known_bad("does not look")
def test_the_terminal_is_raw_again_after_the_runtime_was_stopped_and_its_shell_had_the_terminal(start, screen):
    running, _ = start("exec", "echo ready; read x; exit 3")
    screen.read(b"ready")
    os.kill(running.popen.pid, signal.SIGSTOP)
    wait_until(lambda: Path(f"/proc/{running.popen.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    termios.tcsetattr(screen.slave, termios.TCSANOW, screen.before)
    os.kill(running.popen.pid, signal.SIGCONT)
    wait_until(lambda: is_raw(screen.mode()), what="the shell's mode stays")
    screen.type(b"\r")
    assert running.wait().code == 3
    assert screen.mode() == screen.before


@pytest.mark.parametrize("verb", VERBS)
def test_the_terminal_is_as_before_when_the_program_cannot_be_executed(rt, screen, verb):
    if verb == "run":
        container = rt.container(shell(""), {"process": {"args": ["nonesuch"]}})
        running = screen.start(rt, "run", "--bundle", container.bundle.path, container.id)
    else:
        running = screen.start(rt, "exec", "-t", rt.container(SLEEP).up().id, "nonesuch")
    assert running.wait().code == (1 if verb == "run" else 255)
    assert screen.mode() == screen.before
    assert b'"nonesuch": executable file not found in $PATH\r\n' in screen.rest()


@pytest.mark.parametrize("verb", VERBS)
def test_without_any_terminal_a_foreground_one_is_refused(rt, verb):
    container = rt.container(shell("true")) if verb == "run" else rt.container(SLEEP).up()
    args = ("run", "--bundle", container.bundle.path, container.id) if verb == "run" else ("exec", "-t", container.id, "/bin/true")
    result = rt.spawn(*args, preexec=os.setsid).wait()
    result.failed("/dev/tty", code=1 if verb == "run" else 255)
    if verb == "exec":
        wait_until(lambda: rt.call("ps", "-f", "json", container.id).ok().json() == [container.pid])
        container.delete("-f").ok()
    rt.assert_nothing_left()


@pytest.mark.parametrize("verb", VERBS)
def test_a_terminal_that_hangs_up_ends_neither_the_process_nor_spins(rt, start, screen, verb):
    running, container = start(verb, "trap : HUP; echo ready; while :; do sleep 0.1; done")
    screen.read(b"ready")
    screen.hang_up()
    time.sleep(0.3)

    def ticks():
        return sum(map(int, Path(f"/proc/{running.popen.pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    before = ticks()
    time.sleep(0.7)
    assert running.popen.poll() is None and ticks() - before <= 5
    container.kill("KILL").ok()
    assert running.wait().code == 137


# --- sizes

@pytest.mark.parametrize("verb", VERBS)
def test_the_size_is_that_of_the_terminal_from_the_first_moment_and_follows_it(start, screen, verb):
    screen.resize(33, 111)
    running, _ = start(verb, "busybox stty size; trap 'busybox stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done")
    assert screen.read(b"ready").startswith(b"33 111\r\n")
    for rows, columns in ((34, 112), (35, 113)):
        screen.resize(rows, columns)
    assert b"35 113\r\n" in screen.read(b"35 113\r\n")
    assert running.wait().code == 0


@known_bad("takes 0x0 for a size")
def test_console_size_is_for_terminals_that_do_not_know_theirs(rt, screen):
    for rows, expected in ((24, "24 80"), (0, "12 34")):
        screen.resize(rows, 80 if rows else 0)
        container = rt.container(shell("busybox stty size", consoleSize={"height": 12, "width": 34}))
        running = screen.start(rt, "run", "--bundle", container.bundle.path, container.id)
        assert running.wait().code == 0 and screen.rest().decode().split("\r\n")[0] == expected


# --- what is typed, what is shown

@pytest.mark.parametrize("verb", VERBS)
def test_job_control_works_in_a_shell_on_the_terminal(start, screen, verb):
    """tcsetpgrp, ^Z, fg, ^C: all between the shell in the container and its own terminal."""
    running, _ = start(verb, "export PS1='$ '; exec busybox sh -i")
    screen.read(b"$ ")
    screen.type(b"busybox sleep 1000\r")
    screen.read(b"1000\r\n")
    time.sleep(0.3)
    screen.type(b"\x1a")
    assert b"Stopped" in screen.read(b"$ ")
    screen.type(b"echo still-$((40+2)); jobs\r")
    screen.read(b"still-42\r\n")
    screen.read(b"Stopped")
    screen.read(b"$ ")
    screen.type(b"fg\r")
    screen.read(b"sleep 1000\r\n")
    time.sleep(0.3)
    screen.type(b"\x03")
    screen.read(b"$ ")
    screen.type(b"exit 5\r")
    assert running.wait().code == 5
    assert screen.mode() == screen.before


SHOWN = {
    "lines": (r"printf 'one\ntwo\r\nthree\tx\n'", b"one\r\ntwo\r\r\nthree\tx\r\n"),
    "without ONLCR": (r"busybox stty -onlcr; printf 'one\ntwo\r\n'", b"one\r\ntwo\r\r\n"),
    "without OPOST": (r"busybox stty -opost; printf 'one\ntwo\r\n'", b"one\r\ntwo\r\r\n"),
    "with ONLCR again": (r"busybox stty onlcr; printf 'one\ntwo\r\n'", b"one\r\r\ntwo\r\r\r\n"),
    "raw": (r"busybox stty raw; printf '\033[1mone\n\001\377'", b"\x1b[1mone\r\n\x01\xff"),
    "its settings": ("sleep 0.3; busybox stty -a | busybox grep -o '[-]*onlcr\\|[-]*opost\\|[-]*icrnl'", b"icrnl\r\nopost\r\n-onlcr\r\n"),     # runc sets a size late
}


@known_bad("1.1 clears ONLCR when the program runs already")
@pytest.mark.parametrize("case", SHOWN)
@pytest.mark.parametrize("verb", VERBS)
def test_the_screen_shows_to_the_byte_what_runc_shows(rt, start, screen, verb, case):
    script, expected = SHOWN[case]
    ours = rt.binary
    for binary in (ours, os.environ.get("RUNC_NEW") or ours):
        rt.binary = binary
        running, container = start(verb, script)
        assert running.wait().code == 0
        assert screen.rest() == expected, binary
        container.delete("-f")
    rt.binary = ours


@pytest.mark.parametrize("verb", VERBS)
def test_keys_arrive_as_they_are(start, screen, verb):
    keys = bytes([*range(1, 128), 0x80, 0xff])
    running, _ = start(verb, f"busybox stty raw -echo; echo ready; busybox head -c {len(keys)} | busybox md5sum")
    screen.read(b"ready")
    screen.type(keys)
    assert hashlib.md5(keys).hexdigest().encode() in screen.read(b"-")
    assert running.wait().code == 0


def test_typing_ahead_is_not_lost(start, screen):
    screen.type(b"typed before\r")
    running, _ = start("exec", "read line; echo got $line")
    assert b"got typed before" in screen.read(b"got typed before")
    assert running.wait().code == 0


@pytest.mark.parametrize("verb", VERBS)
def test_input_from_a_pipe_reaches_the_terminal_and_its_end_ends_nothing(rt, start, screen, verb):
    read, write = os.pipe()
    running, _ = start(verb, "busybox stty -echo; echo ready; read line; echo got $line; sleep 0.3; echo alive; exit 3", stdin=read)
    os.close(read)
    screen.read(b"ready")
    os.write(write, b"piped\n")
    os.close(write)
    shown = screen.read(b"alive")
    assert b"got piped" in shown and running.wait().code == 3


@pytest.mark.parametrize("verb", VERBS)
def test_without_a_terminal_of_its_own_a_program_is_interrupted_by_ours(start, screen, verb):
    """The program is in a session of its own, so ^C reaches the runtime alone, which passes it on."""
    running, _ = start(verb, "trap 'exit 11' INT; echo ready; while :; do sleep 0.05; done", terminal=False)
    screen.read(b"ready\r\n")
    assert screen.mode() == screen.before
    screen.type(b"\x03")
    assert running.wait().code == 11


# --- output: all of it

SIZE = 10_000_000
MUCH = f"busybox yes 0123456789abcdef | busybox head -c {SIZE}"
EXPECTED = hashlib.sha256((b"0123456789abcdef\n" * (SIZE // 17 + 1))[:SIZE]).hexdigest()


def into_a_pipe(start, verb, terminal, script):
    """(Running, reading end, Container) with the script's output in a pipe."""
    read, write = os.pipe()
    running, container = start(verb, script, terminal=terminal, stdin=subprocess.DEVNULL, stdout=write)
    os.close(write)
    return running, read, container


def digest(fd, pause=0.0):
    """(bytes, sha256) of all that comes, read in small pieces with pauses if a slow reader is wanted."""
    found, size, last = hashlib.sha256(), 0, 0
    while data := os.read(fd, 65536):
        found.update(data.replace(b"\r\n", b"\n"))
        size += len(data)
        if pause and size - last > SIZE // 20:
            time.sleep(pause)
            last = size
    os.close(fd)
    return size, found.hexdigest()


@pytest.mark.parametrize("pause", [0.0, 0.1], ids=["quick", "slow reader"])
@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
@pytest.mark.parametrize("verb", VERBS)
def test_ten_megabytes_arrive_whole(start, verb, terminal, pause):
    running, read, _ = into_a_pipe(start, verb, terminal, MUCH)
    assert digest(read, pause) == (SIZE, EXPECTED)
    assert running.wait().code == 0


def test_ten_megabytes_arrive_whole_on_a_terminal(start, screen):
    """The carriage returns are the outer terminal's: one a line."""
    lines = 100_000
    running, _ = start("run", f"busybox yes 0123456789abcdef | busybox head -n {lines}; echo end")
    assert screen.read(b"end\r\n", timeout=60) == b"0123456789abcdef\r\n" * lines + b"end\r\n"
    assert running.wait().code == 0


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_written_right_before_the_end_is_not_lost(start, screen, verb):
    """More than fits into one buffer of the copy, and the writer is gone at once."""
    running, _ = start(verb, "busybox seq 1 700; exit 4")
    running.wait()
    assert running.popen.returncode == 4
    assert screen.rest() == b"".join(b"%d\r\n" % n for n in range(1, 701))


def test_a_background_process_that_keeps_the_terminal_does_not_hold_exec(start, screen):
    running, _ = start("exec", "trap '' HUP; busybox sleep 1000 & echo done; exit 5")
    assert running.wait(10).code == 5
    assert screen.rest().endswith(b"done\r\n")


@pytest.mark.parametrize("verb, code", [("run", 1), ("exec", 128 + signal.SIGPIPE)])      # signals spare pid 1; EPIPE does not
def test_a_reader_that_goes_away_ends_a_writer_on_a_pipe(start, verb, code):
    running, read, _ = into_a_pipe(start, verb, False, "exec busybox yes")
    os.read(read, 10)
    os.close(read)
    assert running.wait().code == code


@known_bad("dies, or forwards its own SIGPIPE")
@pytest.mark.parametrize("verb", VERBS)
def test_a_reader_that_goes_away_does_not_hurt_a_program_on_a_terminal(start, verb):
    running, read, _ = into_a_pipe(start, verb, True, "trap 'exit 99' PIPE; echo x; busybox yes | busybox head -c 500000; exit 6")
    os.read(read, 1)
    os.close(read)
    assert running.wait().code == 6


def test_a_pipe_as_input_ends_for_the_program_when_it_ends_for_us(start):
    read, write = os.pipe()
    running, _ = start("run", "busybox wc -c; exit 2", terminal=False, stdin=read, stdout=None)
    os.close(read)
    os.write(write, b"x" * 5000)
    os.close(write)
    result = running.wait()
    assert (result.code, result.out) == (2, "5000\n")


# --- signals

SENT = [n for n in range(1, 65) if n not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGWINCH, signal.SIGURG,
                                             signal.SIGTERM, 32, 33)]


@known_bad("Go's own SIGURG and what its runtime does with some others")
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "none"])
def test_every_signal_is_forwarded_but_three(start, screen, verb, terminal):
    running, container = start(verb, "exec /bin/probe trap /tmp/signals", terminal=terminal)
    path = container.rootfs / "tmp/signals"
    wait_until(lambda: path.exists() and "ready" in path.read_text(), what="no trap")
    for number in (signal.SIGCHLD, signal.SIGURG):
        running.popen.send_signal(number)
    for number in (*SENT, signal.SIGTERM):     # one by one: a stop signal takes back a SIGCONT that is still pending
        running.popen.send_signal(number)
        wait_until(lambda n=str(number): n in path.read_text().split(), what=f"signal {number} does not arrive")
    assert running.wait().code == 42
    assert sorted(int(line) for line in path.read_text().split()[1:]) == sorted([*SENT, signal.SIGTERM])


# --- exec's own terminal

@known_bad("has no size where only stdin is a terminal")
def test_an_execd_terminal_is_a_second_one_of_the_containers_devpts(rt, screen):
    with FdSocket(rt.base / "console.sock") as console:
        container = rt.container(shell("exec /bin/probe sleep"))
        container.create("--console-socket", console.path).ok()
        console.receive()
        container.start().ok()
        running = screen.start(rt, "exec", "-t", "-u", "1000:1000", container.id, "/bin/probe", stdout=None, stderr=None)
        seen = json.loads(running.wait().ok().out.replace("\r\n", "\n"))
    assert [seen["fds"][fd]["link"] for fd in "012"] == ["/dev/pts/1"] * 3 and sorted(seen["fds"]) == ["0", "1", "2"]
    assert (seen["fds"]["0"]["uid"], seen["fds"]["0"]["gid"], seen["fds"]["0"]["mode"]) == (1000, 5, 0o620)
    assert seen["ctty"] == 1 and seen["sid"] == seen["pid"] == seen["pgid"] and seen["winsize"] == [24, 80]
    assert seen["dev"]["console"]["rdev"] == "136:0", "/dev/console stays that of the container's own process"


def test_a_terminal_of_exec_that_nobody_takes_leaves_nothing(rt):
    container = rt.container(SLEEP).up()
    container.exec("/bin/true", options=("-d", "-t")).failed("cannot allocate tty if", code=255)
    container.exec("/bin/true", options=("-d", "-t", "--console-socket", rt.base / "none")).failed("no such file", code=255)
    container.exec("/bin/true", options=("--console-socket", rt.base / "none")).failed("cannot use console socket if", code=255)
    assert rt.call("ps", "-f", "json", container.id).ok().json() == [container.pid]


@known_bad("does not name the property")
def test_a_container_without_devpts_refuses_a_terminal_by_name(rt, screen):
    container = rt.container(SLEEP, lambda config: config["mounts"].__setitem__(slice(2, None), [])).up()
    running = screen.start(rt, "exec", "-t", container.id, "/bin/true", stderr=None)
    running.wait().failed("/process/terminal", "no such file or directory", code=255)
    assert screen.mode() == screen.before


def test_the_pty_is_freed_when_the_process_has_ended(rt, start, screen):
    container = rt.container(SLEEP).up()
    for _ in range(20):
        running = screen.start(rt, "exec", "-t", container.id, "/bin/sh", "-c", "busybox readlink /proc/self/fd/0")
        assert running.wait().code == 0
    assert set(re.findall(rb"/dev/pts/\d+", screen.rest())) == {b"/dev/pts/0"}
    assert os.listdir(f"/proc/{container.pid}/root/dev/pts") == ["ptmx"]
