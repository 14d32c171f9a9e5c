"""init is freestanding: it needs nothing from anybody, and its plan loader takes no plan that is not whole."""

import errno
import fcntl
import os
import pathlib
import socket
import subprocess

import pytest

from pyrunc.plan.encode import HEADER, RECORD, encode
from pyrunc.plan.optable import SAY_FAIL, STEPS
from pyrunc.plan.script import Plan

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = ("-std=c11 -Os -ffreestanding -fstack-protector-strong -mstack-protector-guard=global -fno-pic -no-pie -static -nostdlib").split()


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    out = tmp_path_factory.mktemp("init") / "init"
    sources = sorted(map(str, (ROOT / "csrc/init").glob("*.c")))
    subprocess.run(["cc", *FLAGS, *sources, "-o", str(out)], check=True)
    return out


def test_init_has_no_undefined_symbols(image):
    assert subprocess.run(["nm", "-u", str(image)], capture_output=True, text=True, check=True).stdout == ""


def test_init_needs_no_interpreter_and_no_library(image):
    headers = subprocess.run(["readelf", "-lW", str(image)], capture_output=True, text=True, check=True).stdout
    assert "INTERP" not in headers and "DYNAMIC" not in headers


# In place of start.c: an array that is written beyond its end, or the guard as the exit status.
OVERRUN = """
#include "init.h"
extern uintptr_t __stack_chk_guard;
int init_main(long *stack);
__attribute__((noinline)) static void fill(char *at, long n) { while (n--) *(volatile char *)at++ = 'x'; }
int init_main(long *stack)
{
	char room[16];
	fill(room, stack[0] == 1 ? 16 : 64);
	return stack[0] == 1 ? (int)(__stack_chk_guard >> 8 & 0x7f) : 0;
}
void start_c(long *stack);
__attribute__((noreturn, used)) void start_c(long *stack) { guard_stack(stack); die(init_main(stack)); }
"""


def test_an_overrun_stack_ends_init_and_its_guard_is_not_to_be_guessed(tmp_path):
    start = (ROOT / "csrc/init/start.c").read_text()
    (tmp_path / "overrun.c").write_text(OVERRUN + start[start.index("#if defined(__x86_64__)"):].rsplit("#endif", 1)[0])
    sources = [str(ROOT / "csrc/init" / name) for name in ("guard.c", "born.c", "str.c")]
    program = str(tmp_path / "overrun")
    subprocess.run(["cc", *FLAGS, f"-I{ROOT}/csrc/init", str(tmp_path / "overrun.c"), *sources, "-o", program], check=True)
    assert subprocess.run([program, "more"], check=False).returncode == 255
    assert len({subprocess.run([program], check=False).returncode for _ in range(20)}) > 5


@pytest.mark.parametrize("module", ["_native", "_json"])
def test_the_native_modules_are_hardened(module):
    """docs/security.md: relocations are read-only before the first call, C's writes know the size of what they write to."""
    path = next((ROOT / "pyrunc").glob(f"{module}.*.so"))
    headers = subprocess.run(["readelf", "-dlW", str(path)], capture_output=True, text=True, check=True).stdout
    assert "GNU_RELRO" in headers and "BIND_NOW" in headers and "RWE" not in headers
    names = subprocess.run(["nm", "-D", str(path)], capture_output=True, text=True, check=True).stdout
    assert "__stack_chk_fail" in names and "__snprintf_chk" in names


@pytest.mark.parametrize("args", [[], ["x"], ["3"], ["99999999999"], ["3", "4"], ["-1"], ["/bin/sh"]])
def test_init_called_without_a_plan_ends_at_once(image, args):
    assert subprocess.run([str(image), *args], timeout=5, stdin=subprocess.DEVNULL).returncode == 255


def told(image, data):
    """The record in which init refuses a plan, or None where it runs it to its end. Slot 0 is the root directory."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    plan, root = os.memfd_create("plan"), os.open("/", os.O_PATH | os.O_DIRECTORY)
    os.write(plan, bytes(data))
    socket.send_fds(ours, [bytes(16)], [plan, root])
    moved = fcntl.fcntl(theirs, fcntl.F_DUPFD, 10)
    with ours, theirs:
        code = subprocess.run([image, "3"], timeout=5, stdin=subprocess.DEVNULL, pass_fds=(3,), preexec_fn=lambda: os.dup2(moved, 3)).returncode
        for fd in plan, root, moved:
            os.close(fd)
        theirs.close()
        record = ours.recv(17)
    assert (code, len(record)) in ((0, 0), (255, 16))
    return [int.from_bytes(record[at:at + 4], "little", signed=at == 8) for at in range(0, 16, 4)] if record else None


def legal():
    """Two ops that use slot 0, which ends with the second; SEAL; one that uses none, and that M may do as well."""
    plan = Plan(3)
    plan.add("H", "HOSTDIR", ("root",), ("/",))
    plan.add("H", "PLAN")
    for _ in range(2):
        plan.add("I", "CHDIR", ("root",), (".",))
    plan.add("I", "SEAL", (), (3,))
    plan.add("I", "PDEATHSIG", (), (0,))
    return bytearray(encode(plan)[0])


ROLE, ENDS, SLOT, COPY = 2, 3, 12, None
# what is wrong: (op, place in its record, bytes), or (op, COPY, the op that it becomes)
ILLEGAL = {
    "a slot without an end": [(1, ENDS, b"\0"), (2, COPY, 3)],
    "a slot that SEAL would close": [(3, COPY, 1), (1, ENDS, b"\0")],
    "a slot that is used after its end": [(0, ENDS, b"\1"), (1, ENDS, b"\0")],
    "a slot that ends twice": [(1, ENDS, b"\0"), (2, SLOT, bytes(8)), (2, ENDS, b"\3")],
    "an end of a slot that the op does not name": [(0, ENDS, b"\2")],
    "an end that no slot has": [(3, ENDS, b"\x10")],
    "a number that no slot has": [(0, SLOT, b"\x09")],
    "a first process that does not fork": [(0, COPY, 3), (0, ROLE, b"M")],
    "a first process after init": [(3, ROLE, b"M")],
    "what the first process may not do": [(op, ROLE, b"M") for op in range(4)],
    "nobody's op": [(3, ROLE, b"H")],
}


def test_init_runs_a_plan_whose_slots_have_an_end(image):
    assert told(image, legal()) is None


@pytest.mark.parametrize("what", ILLEGAL)
def test_init_takes_no_plan_with(image, what):
    data = legal()
    for op, place, value in ILLEGAL[what]:
        at = HEADER + RECORD * op
        if place is COPY:
            data[at:at + RECORD] = data[HEADER + RECORD * value:][:RECORD]
        else:
            data[at + place:at + place + len(value)] = value
    seq, _, err, step = told(image, data)
    assert (seq, err, STEPS[step]) == (SAY_FAIL, -errno.EINVAL, "load")
