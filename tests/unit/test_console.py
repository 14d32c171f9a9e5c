"""host/console.py and the foreground loop in C, with real terminals. The driver is `run` in miniature."""

import array
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from pyrunc import kernel_tty
from pyrunc.errors import Error
from pyrunc.host import console

DRIVER = str(Path(__file__).with_name("foreground_driver.py"))
PACKAGE = os.path.dirname(os.path.dirname(kernel_tty.__file__))
ENV = dict(os.environ, PYTHONPATH=f"{PACKAGE}:{os.environ.get('PYTHONPATH', '')}", PYTHONDONTWRITEBYTECODE="1")


class Driver:
    """One run of the driver. `report()` waits for it."""

    def __init__(self, tmp_path, argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, options=None, **more):
        self.file = tmp_path / f"report{len(os.listdir(tmp_path))}"
        options = {"pty": True, **(options or {}), "report": str(self.file)}
        argv = ["/bin/sh", "-c", argv] if isinstance(argv, str) else argv
        self.process = subprocess.Popen(
            [sys.executable, DRIVER, json.dumps(options), *argv], stdin=stdin, stdout=stdout, env=ENV, **more
        )

    def report(self, timeout=30):
        try:
            assert self.process.wait(timeout) == 0
        finally:
            self.process.kill()
            self.process.wait()
        return json.loads(self.file.read_text())

    def output(self):
        data = self.process.stdout.read()
        self.process.stdout.close()
        return data

    def signal(self, number):
        self.process.send_signal(number)


def read_until(fd, text, timeout=20):
    """Read from a descriptor until `text` has come."""
    data, deadline = b"", time.monotonic() + timeout
    while text not in data:
        ready, _, _ = select.select([fd], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"waited for {text!r}, got {data!r}"
        chunk = os.read(fd, 65536)
        assert chunk, f"ended before {text!r}: {data!r}"
        data += chunk
    return data


# --- what is refused ---


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("sock", [None, "", "/s"])
def test_the_stdio_matrix_is_runcs(terminal, detach, sock):
    expected = None
    if terminal and detach and not sock:
        expected = "cannot allocate tty if pyrunc will detach without setting console socket"
    if sock and not (terminal and detach):
        expected = "cannot use console socket if pyrunc will not detach or allocate tty"
    try:
        console.check_stdio(terminal, detach, sock)
        got = None
    except Error as err:
        got = err.message
    assert got == expected


# --- console socket, pidfd socket ---


@pytest.fixture
def listener(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(tmp_path / "console.sock"))
        sock.listen(1)
        sock.settimeout(10)
        yield sock


def accept(listener):
    """(data, descriptors, what follows), as conmon reads it."""
    connection, _ = listener.accept()
    with connection:
        data, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(64))
        assert len(ancillary) == 1
        return data, list(array.array("i", ancillary[0][2])), connection.recv(1)


def test_the_master_goes_out_as_conmon_wants_it(tmp_path, listener):
    master, slave = os.openpty()
    console.send(console.connect(str(tmp_path / "console.sock")), master)
    data, fds, rest = accept(listener)
    assert (data, len(fds), rest) == (b"/dev/pts/0", 1, b"")
    os.write(slave, b"through")
    assert os.read(fds[0], 100) == b"through"
    for fd in (master, slave, *fds):
        os.close(fd)


def test_a_pidfd_goes_out_under_its_kind(tmp_path, listener):
    pidfd = os.pidfd_open(os.getpid())
    console.send(console.connect(str(tmp_path / "console.sock")), pidfd, b"standard")
    data, fds, _ = accept(listener)
    assert data == b"standard"
    assert f"Pid:\t{os.getpid()}\n" in Path(f"/proc/self/fdinfo/{fds[0]}").read_text()
    os.close(pidfd)
    os.close(fds[0])


@pytest.mark.parametrize("length", [107, 108, 109, 200, 1000])
def test_a_path_longer_than_sun_path_works(tmp_path, length):
    directory = tmp_path
    while len(str(directory)) + 2 + 200 < length:
        directory = directory / ("d" * 150)
    directory.mkdir(parents=True, exist_ok=True)
    name = "s" * max(1, min(60, length - len(str(directory)) - 1))
    fd = os.open(directory, os.O_PATH)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(f"/proc/self/fd/{fd}/{name}")
        sock.listen(1)
        os.close(console.connect(f"{directory}/{name}"))
    os.close(fd)


def test_a_socket_nobody_serves_is_an_error_with_its_path(tmp_path, listener):
    path = str(tmp_path / "console.sock")
    listener.close()
    for where, reason in ((path, "connection refused"), ("/nope/s", "no such file or directory")):
        with pytest.raises(Error, match=f"^dial unix {where}: {reason}$"):
            console.connect(where)


def test_a_long_path_without_its_directory_is_an_error_too():
    with pytest.raises(Error, match="no such file or directory$"):
        console.connect("/nope/" + "x" * 200 + "/s")


def test_a_peer_that_has_gone_is_an_error_not_a_signal(tmp_path, listener):
    sock = console.connect(str(tmp_path / "console.sock"))
    listener.accept()[0].close()
    with pytest.raises(Error, match="^send /dev/pts/0: broken pipe$"):
        console.send(sock, 0)


def test_neither_success_nor_failure_leaves_a_descriptor(tmp_path, listener):
    before = sorted(os.listdir("/proc/self/fd"))
    console.send(console.connect(str(tmp_path / "console.sock")), 0)
    _, fds, _ = accept(listener)
    os.close(fds[0])
    with pytest.raises(Error):
        console.connect("/" + "x" * 120 + "/nope")
    assert sorted(os.listdir("/proc/self/fd")) == before


# --- our own terminal ---


def flags(fd):
    return termios.tcgetattr(fd)


def test_attach_makes_ours_raw_but_for_carriage_returns_and_detach_sets_it_back():
    ours, our_slave = os.openpty()
    master, slave = os.openpty()
    before = flags(our_slave)
    mode = console.attach(our_slave, master)
    iflag, oflag, cflag, lflag = flags(our_slave)[:4]
    assert not lflag & (termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN)
    assert not iflag & (termios.ICRNL | termios.IXON | termios.INLCR)
    assert cflag & termios.CSIZE == termios.CS8
    assert oflag & termios.OPOST, "newlines would become stairs"
    assert not flags(slave)[1] & termios.ONLCR, "every line would end in two carriage returns"
    console.detach(our_slave, mode)
    assert flags(our_slave) == before
    for fd in (ours, our_slave, master, slave):
        os.close(fd)


def test_attach_copies_the_size_but_not_that_of_a_terminal_without_one():
    ours, our_slave = os.openpty()
    master, slave = os.openpty()
    termios.tcsetwinsize(master, (30, 90))
    console.attach(our_slave, master)
    assert os.get_terminal_size(slave) == (90, 30), "0x0 is no size"
    termios.tcsetwinsize(ours, (41, 101))
    console.attach(our_slave, master)
    assert os.get_terminal_size(slave) == (101, 41)
    for fd in (ours, our_slave, master, slave):
        os.close(fd)


def test_detach_from_a_terminal_that_has_gone_is_no_error():
    ours, our_slave = os.openpty()
    master, slave = os.openpty()
    mode = console.attach(our_slave, master)
    for fd in (ours, our_slave, master, slave):
        os.close(fd)
    console.detach(our_slave, mode)


FIND = """if 1:
    import os
    from pyrunc.errors import Error
    from pyrunc.host import console
    try:
        fd = console.host_terminal()
        text = f"{fd if fd < 3 else 'other'} {os.ttyname(fd)}"
    except Error as err:
        text = err.message
    os.write(9, text.encode())
"""


def find_terminal(on, session):
    """What host_terminal finds with the descriptors `on` on a terminal, which is the controlling one or not."""
    ours, theirs = os.openpty()
    read, write = os.pipe()

    def prepare():
        os.setsid()
        if session:
            fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        os.dup2(write, 9)

    given = {name: theirs if i in on else subprocess.DEVNULL for i, name in enumerate(("stdin", "stdout", "stderr"))}
    done = subprocess.run([sys.executable, "-c", FIND], env=ENV, preexec_fn=prepare, pass_fds=(9,), **given)
    name = os.ttyname(theirs)
    for fd in (ours, theirs, write):
        os.close(fd)
    text = os.read(read, 1000).decode()
    os.close(read)
    assert done.returncode == 0
    return text.replace(name, "TTY")


@pytest.mark.parametrize("on, session, found", [
    ((0, 1, 2), True, "2 TTY"),
    ((0, 1), True, "1 TTY"),
    ((0,), True, "0 TTY"),
    ((), True, "other /dev/tty"),
    ((), False, "open /dev/tty: no such device or address"),
])
def test_our_terminal_is_stderr_stdout_stdin_or_the_controlling_one(on, session, found):
    assert find_terminal(on, session) == found


# --- the foreground: status ---


@pytest.mark.parametrize("script, status", [("exit 0", 0), ("exit 7", 7 << 8), ("kill -9 $$", 9), ("kill -15 $$", 15)])
@pytest.mark.parametrize("with_pty", [True, False])
def test_the_status_is_that_of_the_process(tmp_path, script, status, with_pty):
    assert Driver(tmp_path, script, options={"pty": with_pty}, stdout=None).report()["code"] == status


def test_a_caller_that_ignores_sigchld_does_not_lose_us_the_status(tmp_path):
    driver = Driver(tmp_path, "exit 3", preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    assert driver.report()["code"] == 3 << 8


def test_no_descriptor_remains(tmp_path):
    driver = Driver(tmp_path, "echo x")
    driver.output()
    assert len(driver.report()["fds"]) == 6, "0 to 2, the pty's master, the pidfd, and the listing itself"


# --- the foreground: output ---


def test_all_output_arrives_however_slow_the_reader(tmp_path):
    driver = Driver(tmp_path, "head -c 400000 /dev/zero | tr '\\0' x; printf end")
    data = b""
    while chunk := os.read(driver.process.stdout.fileno(), 5000):
        data += chunk
        time.sleep(0.002)
    assert data == b"x" * 400000 + b"end"
    assert driver.report()["code"] == 0
    driver.process.stdout.close()


def test_what_is_written_right_before_the_end_is_never_lost(tmp_path):
    for _ in range(25):
        driver = Driver(tmp_path, ["/bin/sh", "-c", "head -c 3000 /dev/zero | tr '\\0' y; printf end"])
        assert driver.output() == b"y" * 3000 + b"end"
        driver.report()


def test_output_into_a_file_and_a_socket_is_complete_too(tmp_path):
    script = "head -c 100000 /dev/zero | tr '\\0' z"
    with open(tmp_path / "out", "wb") as out:
        Driver(tmp_path, script, stdout=out).report()
    assert (tmp_path / "out").read_bytes() == b"z" * 100000
    ours, theirs = socket.socketpair()
    driver = Driver(tmp_path, script, stdout=theirs)
    theirs.close()
    data = b""
    while chunk := ours.recv(65536):
        data += chunk
    ours.close()
    driver.report()
    assert data == b"z" * 100000


def test_output_into_a_file_goes_where_the_caller_has_got_to(tmp_path):
    with open(tmp_path / "out", "wb", buffering=0) as out:
        out.write(b"before ")
        Driver(tmp_path, "printf middle", stdout=out).report()
        out.write(b" after")
    assert (tmp_path / "out").read_bytes() == b"before middle after"


def test_a_reader_that_has_gone_neither_stops_nor_signals_the_process(tmp_path):
    driver = Driver(tmp_path, "trap 'exit 99' PIPE; printf x; head -c 500000 /dev/zero; sleep 0.1; exit 5")
    assert os.read(driver.process.stdout.fileno(), 1) == b"x"
    driver.process.stdout.close()
    assert driver.report()["code"] == 5 << 8


def test_an_end_with_output_nobody_reads_can_be_cut_short(tmp_path):
    """Larger than a pipe, less than pipe and pty hold together: the process ends, the rest waits for the reader."""
    driver = Driver(tmp_path, "head -c 68000 /dev/zero & exec sleep 0.5")
    time.sleep(2)
    assert driver.process.poll() is None, "waits for the reader"
    driver.signal(signal.SIGTERM)
    assert driver.report(10)["code"] == 0
    driver.process.stdout.close()


def test_a_terminal_closed_by_all_and_opened_again_goes_on(tmp_path):
    driver = Driver(tmp_path, "echo one; exec <&- >&- 2>&-; sleep 0.4; exec > /dev/tty; echo two; exec sleep 60")
    assert read_until(driver.process.stdout.fileno(), b"two").split() == [b"one", b"two"]
    driver.signal(signal.SIGTERM)
    assert driver.report()["code"] == signal.SIGTERM
    driver.process.stdout.close()


def test_a_terminal_nobody_has_open_costs_no_time(tmp_path):
    driver = Driver(tmp_path, "exec <&- >&- 2>&-; exec sleep 2", stdin=subprocess.PIPE)
    time.sleep(1)
    ticks = Path(f"/proc/{driver.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    time.sleep(0.7)
    later = Path(f"/proc/{driver.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    assert sum(map(int, later)) - sum(map(int, ticks)) <= 5, "spinning"
    driver.report()
    driver.process.stdin.close()
    driver.process.stdout.close()


# --- the foreground: input ---


def test_input_reaches_the_process(tmp_path):
    driver = Driver(tmp_path, 'read line; echo "got $line"', stdin=subprocess.PIPE)
    driver.process.stdin.write(b"hello\n")
    driver.process.stdin.flush()
    assert b"got hello" in driver.output()
    driver.report()
    driver.process.stdin.close()


def test_the_end_of_input_is_not_the_end_of_the_process(tmp_path):
    driver = Driver(tmp_path, "sleep 0.5; echo alive; exit 3")
    assert b"alive" in driver.output()
    assert driver.report()["code"] == 3 << 8


def test_the_end_of_input_sends_no_control_d(tmp_path):
    driver = Driver(tmp_path, "echo ready; cat; exit 9")
    read_until(driver.process.stdout.fileno(), b"ready")
    time.sleep(0.3)
    assert driver.process.poll() is None
    driver.signal(signal.SIGKILL)
    driver.process.wait()
    driver.process.stdout.close()


COUNT = """
import os, sys, termios, time, tty
tty.setraw(0)
os.write(1, b"ready")
time.sleep(0.5)
total = 0
while total < 200000:
    data = os.read(0, 1000)
    total += len(data)
    time.sleep(0.0005)
os.write(1, b"total %d %r" % (total, data[-1:]))
"""


def test_much_input_for_a_slow_process_arrives_completely(tmp_path):
    driver = Driver(tmp_path, [sys.executable, "-I", "-c", COUNT], stdin=subprocess.PIPE)
    read_until(driver.process.stdout.fileno(), b"ready")
    driver.process.stdin.write(b"i" * 199999 + b"!")
    driver.process.stdin.close()
    assert driver.output() == b"total 200000 b'!'"
    driver.report()


def test_the_callers_descriptors_keep_their_flags(tmp_path):
    in_read, in_write = os.pipe()
    out_read, out_write = os.pipe()
    driver = Driver(tmp_path, "echo ready; exec sleep 60", stdin=in_read, stdout=out_write)
    read_until(out_read, b"ready")
    assert not fcntl.fcntl(in_read, fcntl.F_GETFL) & os.O_NONBLOCK
    assert not fcntl.fcntl(out_write, fcntl.F_GETFL) & os.O_NONBLOCK
    driver.signal(signal.SIGTERM)
    assert driver.report()["code"] == 15
    for fd in (in_read, in_write, out_read, out_write):
        os.close(fd)


# --- the foreground: stdio that is no terminal of its own ---


def test_a_file_goes_through_and_comes_out_and_no_descriptor_remains(tmp_path):
    (tmp_path / "in").write_bytes(b"x" * 300000)
    with open(tmp_path / "in", "rb") as source, open(tmp_path / "out", "wb") as target:
        driver = Driver(tmp_path, "readlink /proc/self/fd/0; cat; exit 5", stdin=source, stdout=target, options={"pty": False, "stdio": True})
        report = driver.report()
    assert report["code"] == 5 << 8
    assert len(report["fds"]) == 5, "0 to 2, the pidfd, and the listing itself"
    link, _, data = (tmp_path / "out").read_bytes().partition(b"\n")
    assert link.startswith(b"pipe:") and data == b"x" * 300000


def test_what_was_read_ahead_of_a_file_goes_back_and_only_that(tmp_path):
    (tmp_path / "in").write_bytes(b"0123456789" * 100000)
    for size in (0, 7, 65536, 200001, 1000000):
        with open(tmp_path / "in", "rb", buffering=0) as source:
            driver = Driver(tmp_path, f"[ {size} = 0 ] || dd bs={size or 1} count=1 iflag=fullblock status=none", stdin=source,
                            options={"pty": False, "stdio": True})
            assert len(driver.output()) == size
            driver.report()
            assert source.tell() == size


def test_a_survivor_that_writes_for_ever_does_not_hold_us(tmp_path):
    with open(tmp_path / "out", "wb") as target:
        driver = Driver(tmp_path, "yes & sleep 0.2; exit 6", stdout=target, options={"pty": False, "stdio": True})
        assert driver.report(10)["code"] == 6 << 8


# --- the foreground: signals ---

CATCH = """
import signal, sys, time
caught = []
def note(number, frame):
    caught.append(number)
    with open(sys.argv[1], "a") as out:
        out.write(f"{number}\\n")
for number in range(1, 65):
    if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
        signal.signal(number, note)
print("ready", flush=True)
while signal.SIGUSR2 not in caught:
    time.sleep(0.01)
"""
FORWARDED = [n for n in range(1, 65) if n not in (9, 19, 32, 33, signal.SIGCHLD, signal.SIGWINCH, signal.SIGURG, 12)]


def test_every_signal_is_passed_on_except_three(tmp_path):
    log = tmp_path / "log"
    driver = Driver(tmp_path, [sys.executable, "-I", "-c", CATCH, str(log)], options={"pty": False})
    read_until(driver.process.stdout.fileno(), b"ready")
    for number in (signal.SIGURG, signal.SIGWINCH, signal.SIGCHLD):
        driver.signal(number)
    for number in FORWARDED:  # one by one: a stop signal takes back a SIGCONT that is still pending
        driver.signal(number)
        deadline = time.monotonic() + 10
        while not (log.exists() and str(number) in log.read_text().split()) and time.monotonic() < deadline:
            time.sleep(0.005)
    driver.signal(signal.SIGUSR2)
    assert driver.report()["code"] == 0
    driver.process.stdout.close()
    assert sorted({int(n) for n in log.read_text().split()}) == sorted([*FORWARDED, signal.SIGUSR2])


def test_a_signal_that_came_before_the_process_existed_is_not_lost(tmp_path):
    go_read, go = os.pipe()

    def prepare():
        os.dup2(go_read, 3)

    driver = Driver(tmp_path, ["/bin/sleep", "60"], options={"pty": False, "hello": True}, stderr=subprocess.PIPE,
                    preexec_fn=prepare, pass_fds=(3,), stdout=None)
    read_until(driver.process.stderr.fileno(), b"ready")
    driver.signal(signal.SIGTERM)
    os.write(go, b"x")
    assert driver.report()["code"] == signal.SIGTERM
    driver.process.stderr.close()
    os.close(go_read)
    os.close(go)


def test_a_subreaper_waits_for_orphans_while_the_process_lives(tmp_path):
    script = "(sh -c 'sleep 0.2; exit 1' & ) ; (sleep 0.2 & ); sleep 1.2"
    driver = Driver(tmp_path, script, options={"pty": False, "reap_all": True}, stdout=None)
    time.sleep(0.9)
    pid = driver.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    states = [Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] for child in children]
    assert states and "Z" not in states
    assert driver.report()["code"] == 0


def test_a_watched_descriptor_comes_between_and_nothing_is_lost(tmp_path):
    extra_read, extra = os.pipe()

    def prepare():
        os.dup2(extra_read, 4)

    driver = Driver(tmp_path, "echo one; read x; echo $x; exit 2", options={"extra": True}, stdin=subprocess.PIPE,
                    preexec_fn=prepare, pass_fds=(4,))
    read_until(driver.process.stdout.fileno(), b"one")
    os.write(extra, b"!")
    driver.process.stdin.write(b"two\n")
    driver.process.stdin.flush()
    time.sleep(0.2)
    assert b"two" in driver.output()
    report = driver.report()
    assert (report["code"], report["extra"]) == (2 << 8, "!")
    driver.process.stdin.close()
    os.close(extra_read)
    os.close(extra)


# --- the foreground, on a terminal of ours ---


def own_session(terminal):
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell that runs the tests in the background has them ignore it
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


class Terminal:
    """A terminal with the driver as its foreground job."""

    def __init__(self, tmp_path, script, rows=40, cols=100):
        self.fd, slave = os.openpty()
        termios.tcsetwinsize(self.fd, (rows, cols))
        self.slave = slave
        self.driver = Driver(tmp_path, script, stdin=slave, stdout=slave, stderr=slave, options={"attach": True},
                             preexec_fn=lambda: own_session(slave))
        self.before = termios.tcgetattr(slave)

    def resize(self, rows, cols):
        termios.tcsetwinsize(self.fd, (rows, cols))

    def close(self):
        os.close(self.fd)
        os.close(self.slave)


def test_the_process_has_the_size_of_our_terminal_from_the_start_and_follows_it(tmp_path):
    script = "stty size; trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done"
    terminal = Terminal(tmp_path, script)
    assert read_until(terminal.fd, b"ready").startswith(b"40 100\r\n")
    terminal.resize(50, 120)
    assert b"50 120" in read_until(terminal.fd, b"120")
    terminal.driver.report()
    terminal.close()


def test_keys_go_through_unchanged_and_lines_end_in_one_carriage_return(tmp_path):
    script = "stty raw -echo; printf ready; head -c 4 | od -An -tx1; printf 'a\\nb\\n'"
    terminal = Terminal(tmp_path, script)
    read_until(terminal.fd, b"ready")
    os.write(terminal.fd, b"\x03\x1a\r\x04")
    assert b"03 1a 0d 04" in read_until(terminal.fd, b"b")
    terminal.driver.report()
    terminal.close()


def test_control_c_interrupts_the_process_by_its_own_terminal(tmp_path):
    terminal = Terminal(tmp_path, "trap 'echo caught; exit 8' INT; echo ready; while :; do sleep 0.05; done")
    assert b"ready\r\n" in read_until(terminal.fd, b"ready\r\n")
    os.write(terminal.fd, b"\x03")
    assert b"caught\r\n" in read_until(terminal.fd, b"caught\r\n")
    assert terminal.driver.report()["code"] == 8 << 8
    terminal.close()


def test_signals_are_passed_on_even_while_our_terminal_takes_no_output(tmp_path):
    terminal = Terminal(tmp_path, f"trap 'touch {tmp_path}/caught; exit 3' TERM; yes & wait")
    time.sleep(0.7)  # by now everything is full up to here
    terminal.driver.signal(signal.SIGTERM)
    deadline = time.monotonic() + 10
    while not (tmp_path / "caught").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (tmp_path / "caught").exists()
    time.sleep(0.2)
    terminal.driver.signal(signal.SIGTERM)  # the rest has no reader
    assert terminal.driver.report(10)["code"] == 3 << 8
    terminal.close()


def test_our_terminal_has_its_mode_back_at_the_end(tmp_path):
    terminal = Terminal(tmp_path, "echo ready; sleep 0.3")
    read_until(terminal.fd, b"ready")
    during = termios.tcgetattr(terminal.slave)
    terminal.driver.report()
    assert during != terminal.before
    assert termios.tcgetattr(terminal.slave) == terminal.before
    terminal.close()


# a shell in miniature: starts its arguments as a background job, says its pid on fd 9, and makes it the foreground job
# when something comes on fd 8
SHELL = """if 1:
    import os, signal, subprocess, sys
    job = subprocess.Popen(sys.argv[1:], process_group=0)
    os.write(9, b"%d\\n" % job.pid)
    os.read(8, 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
    os.tcsetpgrp(0, job.pid)
    os.killpg(job.pid, signal.SIGCONT)
    sys.exit(job.wait())
"""


class Background:
    """A terminal with the driver as a background job."""

    def __init__(self, tmp_path, script, options):
        self.fd, self.slave = os.openpty()
        self.before = termios.tcgetattr(self.slave)
        go, self.go = os.pipe()
        said, say = os.pipe()

        def prepare():
            own_session(0)
            os.dup2(go, 8)
            os.dup2(say, 9)

        options = json.dumps({"pty": True, "report": str(tmp_path / "report"), **options})
        self.shell = subprocess.Popen(
            [sys.executable, "-c", SHELL, sys.executable, DRIVER, options, "/bin/sh", "-c", script],
            stdin=self.slave, stdout=subprocess.PIPE, stderr=self.slave, env=ENV, preexec_fn=prepare, pass_fds=(8, 9),
        )
        self.job = int(read_until(said, b"\n"))
        for fd in (go, said, say):
            os.close(fd)

    def foreground(self):
        os.write(self.go, b"x")
        os.close(self.go)

    def state(self):
        return Path(f"/proc/{self.job}/stat").read_text().rpartition(")")[2].split()[0]

    def close(self):
        assert self.shell.wait(20) == 0
        self.shell.stdout.close()
        os.close(self.fd)
        os.close(self.slave)


def test_a_background_job_stops_instead_of_taking_the_terminal(tmp_path):
    job = Background(tmp_path, "echo ready", {"attach": True})
    deadline = time.monotonic() + 20
    while job.state() != "T" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert job.state() == "T"
    assert termios.tcgetattr(job.slave) == job.before
    job.foreground()
    read_until(job.shell.stdout.fileno(), b"ready")
    job.close()


def test_input_typed_while_in_the_background_is_ours_only_in_the_foreground(tmp_path):
    job = Background(tmp_path, "stty -echo; echo ready; read line; echo got $line", {})
    read_until(job.shell.stdout.fileno(), b"ready")
    os.write(job.fd, b"hello\n")
    time.sleep(0.3)
    assert job.state() == "S", "neither stopped nor spinning"
    job.foreground()
    assert b"got hello" in read_until(job.shell.stdout.fileno(), b"hello")
    job.close()
