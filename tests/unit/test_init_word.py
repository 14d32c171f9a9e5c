"""What init says is not believed beyond what it can be: records, descriptors, who speaks, and for how long we listen."""

import os
import socket
import subprocess
import sys
import time

import pytest

from pyrunc import kernel, supervise
from pyrunc.errors import Error
from pyrunc.host import console, init, notify
from pyrunc.plan import sealed, words
from pyrunc.plan.optable import OPS, SAY_FAIL, STEPS
from tests.plan.test_goldens import plan_of


@pytest.fixture
def pair():
    """(ours, init's) ends of the sync socket."""
    ours, theirs = kernel.socketpair()
    child = socket.socket(fileno=theirs)
    yield ours, child
    child.close()
    os.close(ours)


def record(seq, op=0, err=0, step=0):
    return b"".join([seq.to_bytes(4, "little"), op.to_bytes(4, "little"), err.to_bytes(4, "little", signed=True), step.to_bytes(4, "little")])


@pytest.mark.parametrize("data", (b"x", record(1)[:15], record(1) + b"x", record(1) * 100))
def test_a_record_of_another_length_is_no_record(pair, data):
    ours, child = pair
    child.send(data)
    with pytest.raises(OSError, match="Protocol error"):
        kernel.receive(ours)


@pytest.mark.parametrize("count", (5, 64, 200))
def test_more_descriptors_than_a_record_can_have_are_refused_and_closed(pair, count):
    ours, child = pair
    before = len(os.listdir("/proc/self/fd"))
    socket.send_fds(child, [record(1)], [1] * count)
    with pytest.raises(OSError, match="Protocol error"):
        kernel.receive(ours)
    assert len(os.listdir("/proc/self/fd")) == before


def supervisor(pair, name="seccomp-notify"):
    plan = plan_of(name)
    found = supervise.Supervisor(plan, None, {}, "/", None)
    found.sock, found.pid, found.ops = pair[0], 0, plan.child_ops()
    return found


def speak(pair, data, depth):
    """A process that says it: our child (depth 1), or a child of that."""
    script = ("import os,socket,sys\nif sys.argv[2] == '2' and os.fork():\n    os.wait(); os._exit(0)\n"
              "socket.socket(fileno=int(sys.argv[1])).send(bytes.fromhex(sys.argv[3]))")
    return subprocess.Popen([sys.executable, "-c", script, str(pair[1].fileno()), str(depth), data.hex()], pass_fds=[pair[1].fileno()])


@pytest.mark.parametrize("depth", (1, 2))
def test_only_a_child_of_ours_is_listened_to(pair, depth):
    walk, child = supervisor(pair), speak(pair, record(1), depth)
    if depth == 1:
        assert walk._receive()[:2] == (1, 0)
    else:
        with pytest.raises(Error, match="a process other than init has written"):
            walk._receive()
    child.wait()


@pytest.mark.parametrize("op", (0, 3, 10, 1 << 31, (1 << 32) - 1))
@pytest.mark.parametrize("err", (0, 1, -1, -4095, -4096, 2**31 - 1, -2**31))
def test_any_failure_that_is_said_becomes_one_line(pair, op, err):
    walk = supervisor(pair)
    for step in (0, 2, len(STEPS), 2**32 - 1):
        error = walk._failed((SAY_FAIL, op, err, step, 0, []))
        assert error.message and "\n" not in error.message and 1 <= error.errno <= 4095


@pytest.mark.parametrize("slot", ("notify", "master", "m7"))
@pytest.mark.parametrize("what", ("/dev/null", "/proc/self/status", "/dev/ptmx"))
def test_a_descriptor_that_is_handed_over_is_what_it_is_for(slot, what):
    fd = os.open(what, os.O_RDONLY | os.O_NOCTTY)
    assert supervise.genuine(slot, fd) == (slot == "master" and what == "/dev/ptmx")
    os.close(fd)


@pytest.mark.parametrize("name", ("seccomp-notify", "terminal"))
def test_a_sync_that_hands_over_another_descriptor_is_refused(pair, name):
    walk = supervisor(pair, name)
    walk.pid, walk.listener = os.getpid(), False
    sync = next(op for op in walk.ops if op.name == "SYNC" and op.slots[0])
    with open("/dev/null") as other:
        socket.send_fds(pair[1], [record(sync.args[0])], [other.fileno()])
    with pytest.raises(Error, match=f"something other than its {sync.slots[0]} descriptor"):
        walk._serve(sync, [])


def test_every_descriptor_that_a_plan_hands_over_has_its_proof():
    for name in ("seccomp-notify", "terminal"):
        sent = {op.slots[0] for op in plan_of(name).child_ops() if op.name == "SYNC" and op.slots[0]}
        assert sent and sent <= set(supervise.GENUINE)


def test_the_ops_that_may_stand_after_the_filter_are_those_whose_calls_are_listed():
    assert set(sealed.CALLS) == {name for name, row in OPS.items() if row[5]}


def test_a_hint_names_the_filter_only_for_an_errno_that_it_can_answer():
    plan = plan_of("seccomp")
    execute = plan.ops[-1]
    filter_op = next(op for op in plan.ops if op.name == "SECCOMP")
    filter_op.args = (bytes([6, 0, 0, 0]) + (0x50000 | 71).to_bytes(4, "little"), 0)
    assert "has to allow execve" in words.error(plan, execute, 71, STEPS.index("exec")).hint
    assert words.error(plan, execute, 2, STEPS.index("exec")).hint is None
    assert words.error(plan, filter_op, 71, 0).hint is None


def test_init_asks_for_signals_before_its_gate_and_its_filter():
    for name in ("default", "default-run", "seccomp", "seccomp-privileged"):
        plan = plan_of(name)
        order = [op.name for op in plan.child_ops()]
        assert order.index("SIGEND") < min([order.index(other) for other in ("SECCOMP", "GATE", "EXEC") if other in order])


def test_a_process_is_seen_to_end_and_to_execute():
    child = subprocess.Popen(["/bin/sleep", "60"])
    assert init.glance(child.pid) == (b"sleep", False) and init.parent(child.pid) == os.getpid()
    start = int(open(f"/proc/{child.pid}/stat").read().rpartition(")")[2].split()[19])
    assert init.glance(child.pid, start)[0] == b"sleep" and init.glance(child.pid, start + 1) == (None, True)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert init.glance(child.pid) == (b"sleep", True)
    child.wait()
    assert init.glance(child.pid) == (None, True) and init.parent(child.pid) == 0


def test_a_flood_of_notifications_gives_the_loop_its_turn():
    read = []

    class Endless:
        def recv(self, size, flags):
            read.append(1)
            return b"STATUS=again"
    proxy = notify.Proxy.__new__(notify.Proxy)
    proxy._inside = Endless()
    assert proxy._ready(1) is False and len(read) == notify.MESSAGES


def test_a_console_socket_that_nobody_serves_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(console, "TIMEOUT", 0.3)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "s"))
    server.listen(0)
    kept, started = [], time.monotonic()
    with pytest.raises(Error, match="dial unix"):
        for _ in range(10):
            kept.append(console.connect(str(tmp_path / "s")))
    assert kept and time.monotonic() - started < 5
    assert os.get_blocking(kept[0])
    for fd in kept:
        os.close(fd)
    server.close()
