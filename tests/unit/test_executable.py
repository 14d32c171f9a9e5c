"""Why a program cannot be executed, read from a root file system that may be made to harm who looks at it."""

import os
import struct
import time

import pytest

from pyrunc.host import executable

ENOENT, ENOEXEC = 2, 8
HERE = next(number for number, name in executable.MACHINES.items() if name == os.uname().machine)
OTHER, NAME = (183, "aarch64") if HERE != 183 else (62, "x86_64")


def elf(machine=HERE, interpreter=b"", wide=True, order="<"):
    """The headers of a program with, if it has an interpreter, one program header."""
    text = interpreter + b"\0" if interpreter else b""
    head = b"\x7fELF" + bytes([1 + wide, 1 if order == "<" else 2, 1]) + bytes(9) + struct.pack(order + "HHI", 3, machine, 1)
    count = int(bool(interpreter))
    if wide:
        head += struct.pack(order + "QQQIHHHHHH", 0, 64, 0, 0, 64, 56, count, 0, 0, 0)
        return head + struct.pack(order + "IIQQQQQQ", 3, 4, 120, 0, 0, len(text), len(text), 1) * count + text
    head += struct.pack(order + "IIIIHHHHHH", 0, 52, 0, 0, 52, 32, count, 0, 0, 0)
    return head + struct.pack(order + "IIIIIIII", 3, 84, 0, 0, len(text), len(text), 4, 1) * count + text


@pytest.fixture
def root(tmp_path):
    (tmp_path / "bin").mkdir()
    return tmp_path


def why(root, data, errno, path="/bin/x"):
    (root / "bin/x").write_bytes(data)
    return executable.why(str(root), [path], errno)


@pytest.mark.parametrize(("data", "said"), [
    (elf(interpreter=b"/lib/ld.so"), '"/lib/ld.so"'), (elf(interpreter=b"/lib/ld.so", wide=False), '"/lib/ld.so"'),
    (elf(interpreter=b"/lib/ld.so", order=">"), '"/lib/ld.so"'), (b"#!/bin/none\n", '"/bin/none"'), (b"#! \t/bin/none -x y\n", '"/bin/none"'),
    (b"#!/bin/none", '"/bin/none"'), (b"#!/bin/n\nne", '"/bin/n"'), (b"#!/bin/\x1b[1m\n", '"/bin/\\x1b[1m"'), (b"#!/bin/\xff\n", '"/bin/\\udcff"'),
])
def test_a_missing_interpreter_is_named(root, data, said):
    assert why(root, data, ENOENT) == f": it needs the interpreter {said}, which is not in the root file system"


def test_dos_line_ends_are_named(root):
    (root / "bin/sh").write_bytes(elf())
    assert why(root, b"#!/bin/sh\r\nexit\r\n", ENOENT) == (
        ': it needs the interpreter "/bin/sh\\r", which is not in the root file system (its first line ends in CR LF)')


def test_the_interpreter_of_an_interpreter_is_looked_at(root):
    (root / "bin/sh").write_bytes(elf(interpreter=b"/lib/ld-musl.so"))
    assert 'its interpreter "/bin/sh" needs the interpreter "/lib/ld-musl.so"' in why(root, b"#!/bin/sh\n", ENOENT)
    (root / "bin/sh").write_bytes(elf(OTHER))
    assert f'its interpreter "/bin/sh" is a program for {NAME}, and this machine is {os.uname().machine}' in why(root, b"#!/bin/sh\n", ENOEXEC)
    assert why(root, b"#!/bin/x\n", ENOENT) == ""


@pytest.mark.parametrize(("data", "said"), [
    (elf(OTHER), f"it is a program for {NAME}, and this machine is {os.uname().machine}"), (elf(9999), "it is a program for machine 9999"),
    (b"", "it is an empty file"), (b"echo\n", "it is neither an ELF program"), (b"#!\n/bin/sh", "it has a #! line that names no interpreter"),
    (b"\x7fELF", "it is neither an ELF program"), (elf(), ""),
])
def test_a_wrong_format_is_named(root, data, said):
    assert said in why(root, data, ENOEXEC)


def test_the_first_candidate_that_is_there_counts(root):
    (root / "bin/x").write_bytes(b"#!/none\n")
    assert '"/none"' in executable.why(str(root), ["/none/x", "./bin/x", "/bin/y"], ENOENT)
    assert executable.why(str(root), ["/bin/y"], ENOENT) == ""


@pytest.mark.parametrize("data", [
    b"\x7fELF\x02\x01" + b"\xff" * 4090, b"\x7fELF\x01\x02" + b"\xff" * 4090, elf(interpreter=b"/x")[:70], b"#!" + b"/" * 5000,
    b"\x7fELF\x02\x01" + bytes(4090), elf()[:24] + b"\0" * 8 + b"\x40" + b"\0" * 21 + b"\0\0\xff\xff" + b"\0" * 4000,
])
def test_hostile_headers_are_read_in_no_time(root, data):
    before = time.monotonic()
    why(root, data, ENOENT)
    why(root, data, ENOEXEC)
    assert time.monotonic() - before < 1


def test_no_link_leads_out_of_the_root_and_nothing_blocks(root, tmp_path):
    secret = tmp_path.parent / f"{tmp_path.name}-secret"
    secret.write_bytes(b"#!/of/the/host\n")
    for target in (str(secret), "../../../../../.." + str(secret), "/proc/self/root" + str(secret)):
        (root / "bin/link").symlink_to(target)
        assert executable.why(str(root), ["/bin/link"], ENOENT) == ""
        (root / "bin/link").unlink()
    secret.unlink()
    os.mkfifo(root / "bin/fifo")
    assert executable.why(str(root), ["/bin/fifo"], ENOENT) == ""
    assert why(root, b"#!/bin/fifo\n", ENOENT) == ""
    (root / "loop").symlink_to("loop")
    assert executable.why(str(root), ["/loop"], ENOENT) == ""
    assert executable.why(str(root / "gone"), ["/bin/x"], ENOENT) == ""


def test_a_device_or_a_mount_in_the_root_is_not_looked_into(root):
    if os.geteuid():
        assert executable.IN_ROOT & 1
        return
    os.mknod(root / "bin/zero", 0o20755, os.makedev(1, 5))
    assert executable.why(str(root), ["/bin/zero"], ENOEXEC) == ""
    (root / "proc").mkdir()
    os.system(f"mount -t proc proc {root}/proc")
    try:
        assert executable.why(str(root), ["/proc/version"], ENOEXEC) == ""
    finally:
        os.system(f"umount {root}/proc")


def test_no_descriptor_stays_open(root):
    before = os.listdir("/proc/self/fd")
    why(root, b"#!/none\n", ENOENT)
    why(root, elf(OTHER), ENOEXEC)
    assert os.listdir("/proc/self/fd") == before
