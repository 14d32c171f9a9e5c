"""Foreground run and exec without a terminal: no descriptor of the caller's reaches the container that root inside could do
more with than its caller has, and yet no byte, no order and no exit code is lost."""

import contextlib
import hashlib
import os
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from kit.bundle import caps, userns
from kit.console import Terminal
from kit.runtime import wait_until

SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
VERBS = ("run", "exec")


@pytest.fixture
def up(rt):
    return rt.container(SLEEP).up()


@pytest.fixture
def start(rt, up):
    """Run a shell script in the foreground, by `run` or by `exec`; Running."""
    def begin(verb, script, container=None, options=(), **how):
        if verb == "run":
            return rt.container({"process": {"args": ["/bin/sh", "-c", script]}}).spawn_run(**how)
        return rt.spawn("exec", *options, (container or up).id, "/bin/sh", "-c", script, **how)
    return begin


@pytest.fixture
def screen():
    with Terminal() as terminal:
        yield terminal


# --- what is passed on, and what is not: by what the descriptor is

@contextlib.contextmanager
def opened(*fds):
    try:
        yield fds[0]
    finally:
        for fd in fds:
            os.close(fd)


def a_fifo(base):
    os.mkfifo(base / "fifo")
    return opened(os.open(base / "fifo", os.O_RDWR))


def a_sockets_file(base):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(base / "listening"))
    return opened(os.open(base / "listening", os.O_PATH))


@contextlib.contextmanager
def a_block_device(base):
    (base / "image").write_bytes(b"x" * 4096)
    name = subprocess.run(["losetup", "-f", "--show", base / "image"], check=True, capture_output=True, text=True).stdout.strip()
    try:
        with opened(os.open(name, os.O_RDWR)) as fd:
            yield fd
    finally:
        subprocess.run(["losetup", "-d", name], check=True)


@contextlib.contextmanager
def an_epoll(base):
    with select.epoll() as found:
        yield found.fileno()


def node(path, flags=os.O_RDWR):
    return lambda base: opened(os.open(path, flags))


PASSED = {
    "a pipe": lambda base: opened(*os.pipe()),
    "a socket": lambda base: opened(*[end.detach() for end in socket.socketpair()]),
    "the null device": node("/dev/null"),
}
KEPT = {
    "a file": lambda base: opened(os.open(base / "file", os.O_RDWR | os.O_CREAT)),
    "a file of no name": lambda base: opened(os.memfd_create("x")),
    "a path": lambda base: opened(os.open(base, os.O_PATH)),
    "a directory": lambda base: opened(os.open(base, os.O_RDONLY)),
    "a FIFO": a_fifo,
    "a socket's file": a_sockets_file,
    "a terminal": lambda base: opened(*os.openpty()[::-1]),
    "a terminal's master": lambda base: opened(*os.openpty()),
    "a block device": a_block_device,
    "zeros": node("/dev/zero"),
    "full": node("/dev/full"),
    "the kernel's log": node("/dev/kmsg", os.O_WRONLY),
    "an eventfd": lambda base: opened(os.eventfd(0)),
    "an epoll": an_epoll,
}
LINKS = "for i in 0 1 2; do link=$(busybox readlink /proc/$$/fd/$i); echo $link > /tmp/link$i; done; exit 3"


def links(up):
    return [(up.rootfs / f"tmp/link{i}").read_text().strip() for i in range(3)]



@pytest.mark.parametrize("kind", PASSED)
@pytest.mark.parametrize("verb", VERBS)
def test_pipes_sockets_and_the_null_device_are_passed_on_as_they_are(rt, start, up, kind, verb):
    with PASSED[kind](rt.base) as fd:
        running = start(verb, "s=$(busybox stat -L -c %i /proc/$$/fd/0 /proc/$$/fd/1); echo $s >&2; exit 3", stdin=fd, stdout=fd)
        assert running.wait().code == 3
        if kind != "the null device":  # which in a new container is the container's own
            assert running.result(3).err.split() == [str(os.fstat(fd).st_ino)] * 2


@pytest.mark.parametrize("kind", KEPT)
def test_whatever_else_a_descriptor_is_the_process_has_a_pipe_instead(rt, start, up, kind):
    with KEPT[kind](rt.base) as fd:
        running = start("exec", LINKS, stdin=fd, stdout=fd, stderr=fd)
        assert running.wait().code == 3
    assert [link[:5] for link in links(up)] == ["pipe:"] * 3


def test_descriptors_that_are_not_open_are_the_null_device(up, rt):
    for closed in (0, 1, 2):
        running = rt.spawn("exec", up.id, "/bin/sh", "-c", LINKS, preexec=lambda n=closed: os.close(n))
        assert running.wait().code == 3
        assert links(up)[closed] == "/dev/null"


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "none"])
def test_not_even_while_it_is_set_up_has_a_process_the_callers_terminal(rt, terminal):
    """A hunter in the container with CAP_SYS_PTRACE looks at the descriptors of everything that comes."""
    container = rt.container(caps("CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"), {"process": {"args": ["/bin/hunt", "/tmp/hunt"]}}).up()
    log = container.rootfs / "tmp/hunt"
    wait_until(log.exists, what="no hunter")
    options = ("-t",) if terminal else ()
    with Terminal() as other, Terminal() as screen:  # whose name is not that of the container's own
        assert os.ttyname(screen.slave) != "/dev/pts/0", other
        for _ in range(150):
            assert screen.start(rt, "exec", *options, container.id, "/bin/true").wait().code == 0
        name = os.ttyname(screen.slave)
    (container.rootfs / "tmp/hunt.stop").write_text("")
    wait_until(lambda: "done" in log.read_text(errors="replace"), what="the hunter goes on")
    found = [line.split("\t") for line in log.read_text(errors="replace").splitlines()]
    assert [line for line in found if line[0] == "fd" and line[2].startswith("pipe:")], "the hunter saw no stdio"
    assert [line for line in found if line[0] == "fd" and line[2] == name] == []


# --- a terminal of the caller's

def left_for_the_shell(screen):
    return os.read(screen.slave, 100) if select.select([screen.slave], [], [], 1)[0] else b""


STAYS = "(trap '' HUP PIPE; while read line; do echo $line >> /tmp/stolen; done; echo end >> /tmp/stolen; sleep 0.3; " \
        "printf '\\033[31m' || echo refused >> /tmp/stolen; echo over >> /tmp/stolen; exec sleep 100) & echo left; exit 4"


def test_what_exec_leaves_behind_neither_reads_the_callers_terminal_nor_writes_to_it(rt, start, up, screen):
    running = screen.start(rt, "exec", up.id, "/bin/sh", "-c", STAYS)
    assert running.wait(10).code == 4
    assert screen.read(b"left\r\n") == b"left\r\n"
    screen.type(b"password\r")
    stolen = up.rootfs / "tmp/stolen"
    wait_until(lambda: stolen.exists() and "over" in stolen.read_text(), what="the survivor waits for ever")
    assert stolen.read_text().split() == ["end", "refused", "over"]
    assert left_for_the_shell(screen) == b"password\n"
    assert screen.rest() == b"password\r\n", "only the terminal's own echo"


def test_a_terminal_is_no_terminal_inside_and_stays_in_its_mode(rt, start, up, screen):
    running = screen.start(rt, "exec", up.id, "/bin/sh", "-c", "test -t 0 || test -t 1 || test -t 2 || echo none; read x; echo got $x")
    screen.read(b"none\r\n")
    assert screen.mode() == screen.before
    screen.type(b"typed\r")
    assert b"got typed\r\n" in screen.read(b"got typed\r\n")
    assert running.wait().code == 0


def test_the_end_of_typing_is_the_end_of_input(rt, up, screen):
    running = screen.start(rt, "exec", up.id, "/bin/sh", "-c", "busybox cat; echo ended; exit 6")
    screen.type(b"line\r\x04")
    assert screen.read(b"ended\r\n").endswith(b"line\r\nended\r\n")
    assert running.wait().code == 6


def test_what_is_typed_when_nobody_inside_can_read_it_is_the_shells(rt, up, screen):
    running = screen.start(rt, "exec", up.id, "/bin/sh", "-c", "exec < /dev/null; echo closed; sleep 1")
    screen.read(b"closed\r\n")
    time.sleep(0.2)
    screen.type(b"later\r")
    assert running.wait().code == 0
    assert left_for_the_shell(screen) == b"later\n"


BACKGROUND = """
set -m
"$@" <&0 &
read -r key
fg %1 >/dev/null
"""


def test_a_background_job_leaves_the_terminal_to_its_shell_until_it_has_it(rt, up, screen):
    """The shell reads what is typed first, the container what is typed after `fg`; output comes all the time."""
    argv = ["bash", "-c", BACKGROUND, "bash", rt.binary, "--root", rt.root, "exec", up.id, "/bin/sh", "-c", "echo out; read x; echo got $x; exit 7"]
    shell = subprocess.Popen(argv, stdin=screen.slave, stdout=screen.slave, stderr=screen.slave, preexec_fn=screen.session)
    try:
        screen.read(b"out\r\n")
        time.sleep(0.3)
        assert shell.poll() is None
        screen.type(b"shells\r")
        screen.read(b"shells\r\n")
        time.sleep(0.3)
        screen.type(b"containers\r")
        assert b"got containers\r\n" in screen.read(b"got containers\r\n")
        assert shell.wait(10) == 7
    finally:
        shell.kill()
        shell.wait()


def test_a_paused_job_costs_no_time(rt, up, screen):
    argv = ["bash", "-c", 'set -m; "$@" <&0 & echo $! >&2; wait', "bash", rt.binary, "--root", rt.root, "exec", up.id, "/bin/sleep", "3"]
    shell = subprocess.Popen(argv, stdin=screen.slave, stdout=screen.slave, stderr=subprocess.PIPE, preexec_fn=screen.session)
    try:
        pid = int(shell.stderr.readline())
        screen.type(b"for nobody\r")
        time.sleep(0.5)

        def ticks():
            return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
        before = ticks()
        time.sleep(1)
        assert ticks() - before <= 5
    finally:
        shell.kill()
        shell.wait()
        shell.stderr.close()


def test_a_terminal_that_hangs_up_does_not_take_the_exit_code(rt, up, screen):
    running = screen.start(rt, "exec", up.id, "/bin/sh", "-c", "trap '' HUP PIPE; echo ready; while read x; do :; done; echo lost; exit 9")
    screen.read(b"ready\r\n")
    screen.hang_up()
    assert running.wait().code == 9


def test_a_stopped_screen_holds_back_output_but_not_signals(rt, up, screen):
    running = screen.start(rt, "exec", up.id, "/bin/sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do busybox sleep 0.05; done")
    screen.read(b"ready\r\n")
    screen.type(b"\x13")
    running.popen.send_signal(signal.SIGTERM)
    assert running.wait().code == 5


# --- a file of the caller's

@pytest.mark.parametrize("verb", VERBS)
def test_a_file_that_is_read_cannot_be_overwritten(rt, start, up, verb):
    path = rt.base / "file"
    path.write_text("of the host\n")
    with open(path) as file:
        running = start(verb, "busybox cat; echo evil 1<>/proc/self/fd/0; echo evil >> /proc/self/fd/0; chmod 777 /proc/self/fd/0; "
                              "chown 5 /dev/stdin; exit 3", stdin=file)
        assert running.wait(10).code == 3
    assert running.output() == "of the host\n"
    assert path.read_text() == "of the host\n" and os.stat(path).st_mode & 0o777 == 0o644 and os.stat(path).st_uid == 0


def test_a_directory_leads_nowhere(rt, up):
    with opened(os.open("/", os.O_RDONLY)) as fd:
        result = up.exec("/bin/sh", "-c", "ls /proc/self/fd/0/ && exit 1; busybox wc -c; exit 3", stdin=fd)
    assert (result.code, result.out.strip()) == (3, "0")


def test_output_that_goes_to_one_file_stays_in_order(rt, up):
    script = "i=0; while [ $i -lt 200 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done"
    expected = "".join(f"out {i}\nerr {i}\n" for i in range(200))
    for flags in (os.O_WRONLY, os.O_WRONLY | os.O_APPEND):
        fd = os.open(rt.base / "both", flags | os.O_CREAT | os.O_TRUNC, 0o600)
        assert up.exec("/bin/sh", "-c", script, stdout=fd, stderr=fd).code == 0
        os.close(fd)
        assert (rt.base / "both").read_text() == expected


def test_output_to_two_files_stays_apart(rt, up):
    with open(rt.base / "one", "wb") as one, open(rt.base / "two", "wb") as two:
        assert up.exec("/bin/sh", "-c", "echo a; echo b >&2", stdout=one, stderr=two).code == 0
    assert ((rt.base / "one").read_text(), (rt.base / "two").read_text()) == ("a\n", "b\n")


def test_a_file_is_appended_to_and_written_where_the_caller_has_got_to(rt, up):
    with open(rt.base / "out", "wb", buffering=0) as out:
        out.write(b"before ")
        up.exec("/bin/sh", "-c", "printf middle", stdout=out).ok()
        out.write(b" after")
    assert (rt.base / "out").read_bytes() == b"before middle after"
    with open(rt.base / "out", "ab", buffering=0) as out:
        os.lseek(out.fileno(), 0, os.SEEK_SET)
        up.exec("/bin/sh", "-c", "printf ' end'", stdout=out).ok()
    assert (rt.base / "out").read_bytes() == b"before middle after end"


def test_what_nobody_inside_has_read_of_a_file_is_the_callers_again(rt, up):
    """The shell's `while read line; do … exec …; done < FILE`."""
    path = rt.base / "lines"
    path.write_text("".join(f"line {i}\n" for i in range(50_000)))
    with open(path, "rb", buffering=0) as file:
        assert file.read(7) == b"line 0\n"
        up.exec("/bin/true", stdin=file).ok()
        assert file.read(7) == b"line 1\n"
        assert up.exec("/bin/sh", "-c", "read x; read y; echo $x $y", stdin=file).ok().out == "line 2 line 3\n"
        assert file.read(7) == b"line 4\n"
        up.exec("/bin/nonesuch", stdin=file).failed("nonesuch", code=255)
        assert file.read(7) == b"line 5\n"


SIZE = 100_000_000


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.parametrize("verb", VERBS)
def test_a_hundred_megabytes_go_through_both_ways(rt, start, up, verb):
    block = os.urandom(1_000_000)
    path, out = rt.base / "in", rt.base / "out"
    with open(path, "wb") as file:
        for i in range(100):
            file.write(block[i:] + block[:i])
    with open(path, "rb") as source, open(out, "wb") as target:
        assert start(verb, "busybox cat; exit 8", stdin=source, stdout=target).wait(120).code == 8
    assert os.stat(out).st_size == SIZE
    assert digest(path) == digest(out)
    path.unlink()
    out.unlink()


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_written_right_before_the_end_is_in_the_file(rt, start, up, verb):
    for _ in range(5):
        with open(rt.base / "out", "wb") as out:
            assert start(verb, "busybox seq 1 9000; exit 4", stdout=out).wait().code == 4
        assert (rt.base / "out").read_text() == "".join(f"{i}\n" for i in range(1, 9001))


def test_a_block_device_is_read_and_written_through_us(rt, up):
    (rt.base / "image").write_bytes(b"a" * 8192)
    name = subprocess.run(["losetup", "-f", "--show", rt.base / "image"], check=True, capture_output=True, text=True).stdout.strip()
    try:
        with opened(os.open(name, os.O_RDONLY)) as fd:
            assert up.exec("/bin/sh", "-c", "busybox tr a b", stdin=fd).ok().out == "b" * 8192
        with opened(os.open(name, os.O_WRONLY)) as fd:
            up.exec("/bin/sh", "-c", "printf xyz", stdout=fd).ok()
    finally:
        subprocess.run(["losetup", "-d", name], check=True)
    assert (rt.base / "image").read_bytes() == b"xyz" + b"a" * 8189


# --- the end

@pytest.mark.parametrize("verb", VERBS)
def test_a_full_disk_does_not_take_the_exit_code_and_is_told(rt, start, up, verb):
    with open("/dev/full", "wb") as full:
        result = start(verb, "echo x; exit 3", stdout=full).wait()
        assert result.code == 3 and "stdout: no space left on device" in result.log_text
        result = start(verb, "exec busybox yes", stdout=full).wait()
        assert result.code == (1 if verb == "run" else 128 + signal.SIGPIPE)  # signals spare pid 1; EPIPE does not
        assert "stdout: no space left on device" in result.log_text


def test_a_process_that_does_not_read_is_not_held_by_its_input(rt, up):
    with open("/dev/zero", "rb") as endless:
        assert up.exec("/bin/sh", "-c", "exit 5", stdin=endless, timeout=10).code == 5
        assert up.exec("/bin/sh", "-c", "busybox head -c 300000 | busybox wc -c; exit 6", stdin=endless, timeout=10).code == 6
        assert up.exec("/bin/sh", "-c", "exec <&-; sleep 0.3; exit 7", stdin=endless, timeout=10).code == 7


@pytest.mark.parametrize("survivor", ["busybox sleep 100", "busybox yes", "busybox cat"])
def test_who_stays_behind_does_not_hold_exec_and_has_pipes_without_another_end(rt, up, survivor):
    script = f"trap '' PIPE; exec 3<&0; {survivor} <&3 & echo $! > /tmp/pid; echo hi; exit 5"
    with open(rt.base / "out", "wb") as out, open("/dev/zero", "rb") as endless:
        result = up.exec("/bin/sh", "-c", script, stdin=endless, stdout=out, timeout=10)
    assert result.code == 5
    assert b"hi\n" in (rt.base / "out").read_bytes()
    size = os.stat(rt.base / "out").st_size
    time.sleep(0.3)
    assert os.stat(rt.base / "out").st_size == size
    if survivor != "busybox sleep 100":  # EPIPE, or the end of its input
        inner = (up.rootfs / "tmp/pid").read_text().strip()
        assert up.exec("/bin/sh", "-c", f"sleep 0.2; test -e /proc/{inner}/exe").code == 1


def test_who_writes_on_and_on_does_not_hold_exec_though_the_output_is_slow(rt, up):
    """While we wait for room in the FIFO, there is always something in the pipe again."""
    os.mkfifo(rt.base / "slow")
    reading = os.open(rt.base / "slow", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with opened(os.open(rt.base / "slow", os.O_WRONLY)) as fd:
            running = rt.spawn("exec", up.id, "/bin/sh", "-c", "trap '' PIPE; busybox cat /dev/zero & sleep 0.3; exit 5", stdout=fd)
        end = time.monotonic() + 6
        while running.popen.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
            with contextlib.suppress(BlockingIOError):
                os.read(reading, 16384)
        assert running.popen.poll() == 5
    finally:
        os.close(reading)


def test_a_hook_may_say_more_than_a_pipe_holds(rt):
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "busybox seq 1 60000"], "env": ["PATH=/bin"]}
    container = rt.container({"process": {"args": ["/bin/echo", "end"]}, "hooks": {"startContainer": [hook]}})
    assert container.run().ok().out == "".join(f"{i}\n" for i in range(1, 60001)) + "end\n"


def test_what_a_failing_hook_has_said_is_shown(rt):
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "echo the reason >&2; exit 1"], "env": ["PATH=/bin"]}
    result = rt.container({"hooks": {"startContainer": [hook]}}).run()
    assert result.code == 1 and result.err.startswith("the reason\n")


# --- whose they are

@pytest.mark.parametrize("mapped", [False, True], ids=["", "user namespace"])
@pytest.mark.parametrize("kind", ["file", "pipe"])
@pytest.mark.parametrize("verb", VERBS)
def test_the_processs_user_may_open_his_stdio_again(rt, verb, kind, mapped):
    script = "echo out > /dev/stdout; echo err > /dev/stderr; read x < /dev/stdin; echo $x; busybox stat -L -c %u /dev/stdin /dev/stdout"
    (rt.base / "in").write_text("in\n")
    reading, writing = os.pipe()
    patches = [userns()] if mapped else []
    user = {"process": {"user": {"uid": 1000, "gid": 1000}}}
    with open(rt.base / "in") as source:
        stdout = writing if kind == "pipe" else None
        if verb == "run":
            running = rt.container(*patches, user, {"process": {"args": ["/bin/sh", "-c", script]}}).spawn_run(stdin=source, stdout=stdout)
        else:
            container = rt.container(*patches, SLEEP).up()
            running = rt.spawn("exec", "-u", "1000:1000", container.id, "/bin/sh", "-c", script, stdin=source, stdout=stdout)
        os.close(writing)
        result = running.wait()
    out = os.read(reading, 1000).decode() if kind == "pipe" else result.out
    os.close(reading)
    assert (result.code, out, result.err) == (0, "out\nin\n1000\n1000\n", "err\n")
    assert os.stat(rt.base / "in").st_uid == 0


def test_a_joined_user_namespace_without_maps_in_the_config_is_no_exception(rt):
    first = rt.container(userns(), SLEEP).up()

    def join(config):
        config["linux"]["namespaces"].append({"type": "user", "path": f"/proc/{first.pid}/ns/user"})
    script = "echo x > /dev/stdout; busybox stat -L -c %u /dev/stdout"
    container = rt.container(join, {"process": {"user": {"uid": 7, "gid": 7}, "args": ["/bin/sh", "-c", script]}})
    container.rootfs.chmod(0o755)
    assert container.run().ok().out == "x\n7\n"


# --- and what stays as it was

def test_a_detached_process_has_what_its_manager_gives_it(rt, up):
    with open(rt.base / "out", "wb") as out:
        up.exec("/bin/sh", "-c", "busybox readlink /proc/self/fd/1", options=("-d",), stdout=out).ok()
    wait_until(lambda: (rt.base / "out").read_text(), what="no output")
    assert (rt.base / "out").read_text() == f"{rt.base}/out\n"


def test_under_script_and_with_sockets_all_comes_through(rt, up):
    script = f"{rt.binary} --root {rt.root} exec {up.id} /bin/sh -c 'echo out; echo err >&2; exit 4'"
    done = subprocess.run(["script", "-qec", script, "/dev/null"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (4, ["out", "err"])
    ours, theirs = socket.socketpair()
    running = rt.spawn("exec", up.id, "/bin/sh", "-c", "read x; echo got $x", stdin=theirs, stdout=theirs)
    theirs.close()
    ours.sendall(b"typed\n")
    assert ours.recv(100) == b"got typed\n"
    assert running.wait().code == 0
    ours.close()
