"""What a process in a created container can do to its init's conversation, and how the waiting init ends."""

import json
import os
import signal
import subprocess
import time

import pytest
from kit.runtime import alive, wait_until

SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
TRACER = {"process": {"args": ["/bin/sleep", "100"], "capabilities": {
    kind: ["CAP_SYS_PTRACE", "CAP_KILL"] for kind in ("bounding", "effective", "permitted")}}}


def fifos(container):
    """Numbers of init's gate and status descriptors."""
    names = {}
    for fd in os.listdir(f"/proc/{container.pid}/fd"):
        target = os.readlink(f"/proc/{container.pid}/fd/{fd}")
        for name in ("exec.fifo", "status.fifo"):
            if target.endswith(name):
                names[name] = fd
    return names["exec.fifo"], names["status.fifo"]


def created(rt, *patches, rootfs=None):
    container = rt.container(TRACER, *patches, rootfs=rootfs)
    container.create().ok()
    return container, *fifos(container)


def inside(container, script):
    """A shell that exec has put into the container and that stays."""
    container.exec("/bin/sh", "-c", script, options=("-d",)).ok()


def record(seq, op=0, err=0, step=0):
    """A forged record, as printf's argument."""
    data = b"".join(value.to_bytes(4, "little", signed=value < 0) for value in (seq, op, err, step))
    return "".join(f"\\\\{byte:03o}" for byte in data)


def send(container, status, *records):
    inside(container, f"printf {''.join(records)} > /proc/1/fd/{status}; echo done > /said; sleep 50")
    wait_until(lambda: (container.rootfs / "said").exists())


FAIL, EXEC = -1, -16
FORGED = {
    "the errno of a forged failure is out of range": record(FAIL, 3, 7, 200),
    "the errno of a forged failure is the smallest int": record(FAIL, 3, -(1 << 31), 2),
    "the op of a forged failure is out of range": record(FAIL, 1 << 30, -5, 2),
    "a forged failure looks true": record(FAIL, 90, -2, 21),
    "a record is cut short": "abc",
    "a forged record says that it executes": record(EXEC),
}


@pytest.mark.parametrize("case", FORGED)
@pytest.mark.parametrize("before", (True, False), ids=("before start", "at start"))
def test_start_does_not_believe_a_record_that_a_process_in_the_container_has_forged(rt, case, before):
    container, _, status = created(rt)
    if before:
        send(container, status, FORGED[case])
    else:  # over and over: from before start until init has executed
        inside(container, f"echo done > /said; while printf {FORGED[case]} > /proc/1/fd/{status}; do :; done; sleep 50")
        wait_until(lambda: (container.rootfs / "said").exists())
    assert container.start().ok().seconds < 5
    assert container.status == "running"


def test_start_ends_though_the_status_fifo_is_held_open(rt):
    container, _, status = created(rt)
    inside(container, f"exec 7<>/proc/1/fd/{status}; echo done > /said; sleep 50")
    wait_until(lambda: (container.rootfs / "said").exists())
    assert container.start().ok().seconds < 5
    assert container.status == "running"


def test_start_ends_though_a_process_in_the_container_reads_the_records(rt):
    container, _, status = created(rt)
    inside(container, f"cat /proc/1/fd/{status} > /taken & echo done > /said; sleep 50")
    wait_until(lambda: (container.rootfs / "said").exists())
    assert container.start().ok().seconds < 5
    assert container.status == "running"


def test_a_failure_is_told_though_the_status_fifo_is_held_open(rt):
    container, _, status = created(rt)
    inside(container, f"exec 7<>/proc/1/fd/{status}; echo done > /said; sleep 50")
    wait_until(lambda: (container.rootfs / "said").exists())
    (container.rootfs / "bin/sleep").unlink()
    container.start().failed("exec", "no such file or directory")


@pytest.mark.parametrize("hooks", ({}, {"hooks": {"startContainer": [{"path": "/bin/true"}]}}), ids=("plain", "hooked"))
def test_start_ends_when_its_word_is_taken_from_the_gate(rt, hooks):
    container, gate, _ = created(rt, hooks)
    os.kill(container.pid, signal.SIGSTOP)  # or init might be faster
    container.exec("/bin/sh", "-c", f"dd bs=1 count=1 of=/taken < /proc/1/fd/{gate} & echo done > /said", options=("-d",)).ok()
    wait_until(lambda: (container.rootfs / "said").exists())
    pid = container.pid
    running = rt.spawn("start", container.id)
    wait_until(lambda: (container.rootfs / "taken").exists() and (container.rootfs / "taken").stat().st_size)
    os.kill(pid, signal.SIGCONT)
    running.wait().failed("container init has not answered")
    assert container.status == "stopped"


def test_a_gate_that_is_opened_from_inside_is_no_hang_of_start(rt):
    container, gate, _ = created(rt)
    pid = container.pid
    container.exec("/bin/sh", "-c", f"printf 0 > /proc/1/fd/{gate}").ok()
    wait_until(lambda: b"sleep" in open(f"/proc/{pid}/stat", "rb").read())
    container.start().failed("cannot start an already running container")
    assert container.status == "running"


def test_a_gate_that_somebody_has_filled_lets_init_go(rt):
    container, gate, _ = created(rt)
    os.kill(container.pid, signal.SIGSTOP)
    pid = container.pid
    container.exec("/bin/sh", "-c", f"dd if=/dev/zero bs=65536 count=1 of=/proc/1/fd/{gate}").ok()
    running = rt.spawn("start", container.id)
    time.sleep(0.2)
    os.kill(pid, signal.SIGCONT)
    running.wait().ok()


ENDING = ("HUP", "INT", "QUIT", "ILL", "ABRT", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "XCPU", "SYS", "34", "64")
STAYING = ("CHLD", "CONT", "URG", "WINCH")


def number(name):
    return int(name) if name.isdigit() else signal.Signals[f"SIG{name}"]


@pytest.mark.parametrize("name", ENDING)
@pytest.mark.runc_known_bad("its Go runtime ignores some, and ends with 2")
def test_a_waiting_init_ends_by_what_would_end_a_process(rt, name):
    container = rt.container(SLEEP)
    container.create().ok()
    pid = container.pid
    container.kill(name).ok()
    container.wait_stopped(pid)
    state = container.state().ok().json()
    assert state["status"] == "stopped"
    assert state["exit"].get("code", 128 + number(name)) == 128 + number(name)  # not known once pid 1 has reaped it


@pytest.mark.parametrize("name", STAYING)
def test_a_waiting_init_stays_with_what_a_process_ignores(rt, name):
    container = rt.container(SLEEP)
    container.create().ok()
    container.kill(name).ok()
    time.sleep(0.1)
    assert container.status == "created"
    container.start().ok()
    assert container.status == "running"


def test_the_process_has_default_dispositions_after_init_had_its_own(rt):
    container = rt.container(SLEEP).up()
    status = dict(line.split(":", 1) for line in open(f"/proc/{container.pid}/status") if ":" in line)
    assert int(status["SigCgt"], 16) == 0 == int(status["SigIgn"], 16) == int(status["SigBlk"], 16)


def test_a_signal_ends_a_start_container_hook_together_with_init(rt):
    container = rt.container(SLEEP, {"hooks": {"startContainer": [{"path": "/bin/sleep", "args": ["sleep", "60"]}]}})
    container.create().ok()
    pid = container.pid
    starting = rt.spawn("start", container.id)
    wait_until(lambda: subprocess.run(["pgrep", "-P", str(pid), "sleep"], capture_output=True, check=False).stdout)
    rt.call("kill", container.id, "TERM")
    wait_until(lambda: not alive(pid))
    starting.wait().failed("died before it could execute")


def test_the_status_of_a_waiting_init_is_one_that_a_parent_understands(rt):
    """As a shell's: 128 and the signal."""
    script = ("import ctypes,json,os,subprocess,sys\nctypes.CDLL(None).prctl(36,1,0,0,0)\nrt=sys.argv[1:-1]\n"
              "subprocess.run(rt+['create','--bundle',sys.argv[-1],'x'],check=True,stdin=subprocess.DEVNULL,stdout=subprocess.DEVNULL)\n"
              "pid=json.loads(subprocess.run(rt+['state','x'],capture_output=True).stdout)['pid']\n"
              "subprocess.run(rt+['kill','x'],check=True)\nprint(os.waitstatus_to_exitcode(os.waitpid(pid,0)[1]))\n"
              "subprocess.run(rt+['delete','x'],check=True)\n")
    bundle = rt.bundle(SLEEP)
    out = subprocess.run(["/usr/bin/python3", "-c", script, rt.binary, "--root", str(rt.root), str(bundle.path)],
                         capture_output=True, text=True, check=True, timeout=30).stdout
    assert json.loads(out) == 143
