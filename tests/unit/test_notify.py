"""host/notify.py, against a systemd in miniature."""

import os
import socket
import subprocess
import threading
import time

import pytest

from pyrunc.errors import Error
from pyrunc.host import notify


class Systemd:
    """A listening NOTIFY_SOCKET that records what comes and answers barriers by closing their pipe."""

    def __init__(self, address, barriers=True):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(address)
        self.sock.settimeout(10)
        self.barriers = barriers
        self.messages = []
        self.kept = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self.sock, 4096, 4)
            except TimeoutError:
                return  # the test's end was no barrier
            self.messages.append(data)
            if self.barriers:
                for fd in fds:
                    os.close(fd)
            self.kept += fds
            if data == b"BARRIER=1":
                return

    def all(self):
        self.thread.join(10)
        return self.messages


@pytest.fixture
def state(tmp_path):
    """(descriptor, path) of a container's state directory."""
    path = tmp_path / "state"
    path.mkdir()
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY)
    yield fd, path
    os.close(fd)


@pytest.fixture
def process():
    """(pid, pidfd) of something that lives."""
    child = subprocess.Popen(["/bin/sleep", "60"])
    fd = os.pidfd_open(child.pid)
    yield child, fd
    os.close(fd)
    child.kill()
    child.wait()


def say(path, *messages):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(str(path / "notify/notify.sock"))
        for message in messages:
            sock.send(message)


@pytest.fixture
def host(tmp_path):
    return str(tmp_path / "host.sock")


def waited(state, host, process, *messages):
    """What systemd got when a container said these messages."""
    systemd = Systemd(host)
    notify.prepare(state[0])
    proxy = notify.open_proxy(host, state[0])
    say(state[1], *messages)
    proxy.wait_ready(process[0].pid, process[1])
    return systemd.all()


def test_ready_goes_to_the_host_with_the_containers_pid_and_a_barrier(state, host, process):
    got = waited(state, host, process, b"READY=1")
    assert got == [b"READY=1\n", b"MAINPID=%d\n" % process[0].pid, b"BARRIER=1"]


def test_only_the_ready_line_is_passed_on(state, host, process):
    got = waited(state, host, process, b"READY=1\nSTATUS=up\nMAINPID=1\n")
    assert got[0] == b"READY=1\n"
    assert len(got) == 3


def test_what_comes_before_is_dropped(state, host, process):
    got = waited(state, host, process, b"STATUS=loading", b"WATCHDOG=1", b"XREADY=1", b"READY=1")
    assert got[0] == b"READY=1\n"
    assert len(got) == 3


def test_ready_counts_on_any_line(state, host, process):
    assert waited(state, host, process, b"STATUS=up\nREADY=1")[0] == b"READY=1\n"


def test_it_waits_for_ready(state, host, process):
    systemd = Systemd(host)
    notify.prepare(state[0])
    proxy = notify.open_proxy(host, state[0])
    timer = threading.Timer(0.5, say, (state[1], b"STATUS=almost", b"READY=1"))
    began = time.monotonic()
    timer.start()
    proxy.wait_ready(process[0].pid, process[1])
    assert time.monotonic() - began >= 0.5
    assert systemd.all()[0] == b"READY=1\n"


def test_the_end_of_the_process_ends_the_wait_even_as_a_zombie(state, host, process):
    systemd = Systemd(host)
    notify.prepare(state[0])
    proxy = notify.open_proxy(host, state[0])
    threading.Timer(0.3, process[0].kill).start()
    proxy.wait_ready(process[0].pid, process[1])
    assert process[0].returncode is None, "it has not been waited for"
    assert systemd.messages == []


def test_ready_said_just_before_the_end_is_not_lost(state, host, process):
    systemd = Systemd(host)
    notify.prepare(state[0])
    proxy = notify.open_proxy(host, state[0])
    say(state[1], b"READY=1")
    process[0].kill()
    os.waitid(os.P_PID, process[0].pid, os.WEXITED | os.WNOWAIT)
    proxy.wait_ready(process[0].pid, process[1])
    assert systemd.all()[0] == b"READY=1\n"


def test_a_host_without_barriers_only_costs_the_time(state, host, process, monkeypatch):
    monkeypatch.setattr(notify, "BARRIER_MS", 300)
    systemd = Systemd(host, barriers=False)
    notify.prepare(state[0])
    proxy = notify.open_proxy(host, state[0])
    say(state[1], b"READY=1")
    began = time.monotonic()
    proxy.wait_ready(process[0].pid, process[1])
    assert 0.3 <= time.monotonic() - began < 5
    assert len(systemd.all()) == 3
    os.close(systemd.kept[0])


def test_data_in_the_barriers_pipe_is_an_error(state, host, process):
    systemd = Systemd(host, barriers=False)
    notify.prepare(state[0])
    proxy = notify.open_proxy(host, state[0])
    say(state[1], b"READY=1")

    def answer():
        systemd.thread.join()
        os.write(systemd.kept[0], b"x")

    threading.Thread(target=answer).start()
    with pytest.raises(Error, match="unexpected read"):
        proxy.wait_ready(process[0].pid, process[1])
    os.close(systemd.kept[0])


def test_an_abstract_host_socket_is_written_with_an_at(state, process):
    name = f"pyrunc-test-{os.getpid()}"
    systemd = Systemd(f"\0{name}")
    notify.prepare(state[0])
    proxy = notify.open_proxy(f"@{name}", state[0])
    say(state[1], b"READY=1")
    proxy.wait_ready(process[0].pid, process[1])
    assert systemd.all()[0] == b"READY=1\n"


def test_anybody_in_the_container_may_write_to_the_socket_whatever_our_umask(state, host):
    Systemd(host)
    before = os.umask(0o077)
    try:
        notify.prepare(state[0])
        proxy = notify.open_proxy(host, state[0])
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    assert (state[1] / "notify").stat().st_mode & 0o7777 == 0o755
    assert (state[1] / "notify/notify.sock").stat().st_mode & 0o7777 == 0o777
    proxy.close()


def test_a_state_directory_with_a_long_path_is_no_problem(tmp_path, host, process):
    path = tmp_path / ("d" * 120)
    path.mkdir()
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY)
    systemd = Systemd(host)
    notify.prepare(fd)
    proxy = notify.open_proxy(host, fd)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(f"/proc/self/fd/{fd}/notify/notify.sock")
        sock.send(b"READY=1")
    proxy.wait_ready(process[0].pid, process[1])
    os.close(fd)
    assert systemd.all()[0] == b"READY=1\n"


def test_a_host_socket_nobody_serves_fails_before_the_container_is_let_go(state, host):
    notify.prepare(state[0])
    with pytest.raises(Error, match=f"^dial unixgram {host}: no such file or directory$"):
        notify.open_proxy(host, state[0])
    assert os.listdir(state[1] / "notify") == []


def test_a_container_created_without_it_has_nothing_to_wait_for(state, host):
    assert notify.open_proxy(host, state[0]) is None
    assert notify.open_proxy("", state[0]) is None


def test_a_start_that_was_killed_does_not_stop_the_next(state, host, process):
    systemd = Systemd(host)
    notify.prepare(state[0])
    notify.open_proxy(host, state[0]).close()
    proxy = notify.open_proxy(host, state[0])
    say(state[1], b"READY=1")
    proxy.wait_ready(process[0].pid, process[1])
    assert len(systemd.all()) == 3


def test_after_ready_later_messages_fail_at_once_instead_of_filling_a_queue(state, host, process):
    waited(state, host, process, b"READY=1")
    with pytest.raises(ConnectionRefusedError):
        say(state[1], b"WATCHDOG=1")


def test_a_descriptor_sent_along_is_closed_so_that_a_containers_barrier_returns(state, host):
    Systemd(host)
    notify.prepare(state[0])
    proxy = notify.open_proxy(host, state[0])
    ours, theirs = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(str(state[1] / "notify/notify.sock"))
        socket.send_fds(sock, [b"BARRIER=1"], [theirs])
    os.close(theirs)
    assert proxy.step() is False
    os.set_blocking(ours, False)
    assert os.read(ours, 1) == b"", "somebody still holds the other end"
    os.close(ours)
    proxy.close()


def test_in_the_foreground_the_main_pid_is_ours_and_nothing_blocks(state, host):
    systemd = Systemd(host)
    notify.prepare(state[0])
    proxy = notify.open_proxy(host, state[0])
    assert proxy.step() is False
    say(state[1], b"STATUS=x")
    assert proxy.step() is False
    say(state[1], b"READY=1")
    assert proxy.step() is True
    deadline = time.monotonic() + 10
    while len(systemd.messages) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert systemd.messages == [b"READY=1\n", b"MAINPID=%d\n" % os.getpid()]


def test_in_the_foreground_a_host_that_has_gone_is_no_reason_to_stop(state, host):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(host)
        notify.prepare(state[0])
        proxy = notify.open_proxy(host, state[0])
    say(state[1], b"READY=1")
    assert proxy.step() is True


def test_the_inverse_of_prepare_leaves_nothing(state, host):
    Systemd(host)
    undo = notify.prepare(state[0])
    notify.open_proxy(host, state[0]).close()
    undo()
    assert os.listdir(state[1]) == []
    undo()


def test_no_descriptor_remains(state, host, process):
    before = sorted(os.listdir("/proc/self/fd"))
    systemd = Systemd(host)
    notify.prepare(state[0])
    proxy = notify.open_proxy(host, state[0])
    say(state[1], b"READY=1")
    proxy.wait_ready(process[0].pid, process[1])
    systemd.all()
    systemd.sock.close()
    assert sorted(os.listdir("/proc/self/fd")) == before
