"""csrc/seam.c beside cffi's module of the same declarations: what the linked program calls is what the checkout calls."""

import ast
import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from pyrunc import _native

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "csrc"))
import build_ffi  # noqa: E402


@pytest.fixture(scope="module")
def seam(tmp_path_factory):
    """csrc/seam.c as a module of its own."""
    place = tmp_path_factory.mktemp("seam")
    build_ffi.write_seam(ROOT / "pyrunc", place / "seam_types.h")
    library = place / "_native.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-g", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers",
                    f"-I{place}", f"-I{ROOT}/build/generated", f"-I{ROOT}/csrc", f"-I{sysconfig.get_path('include')}",
                    "csrc/seam.c", *build_ffi.SOURCES, "-o", library], cwd=ROOT, check=True)
    loader = importlib.machinery.ExtensionFileLoader("_native", str(library))
    return importlib.util.module_from_spec(importlib.util.spec_from_loader("_native", loader))


def integers(ffi, lib):
    pair, one, out = ffi.new("int[2]"), ffi.new("int *"), ffi.new("uint64_t[2]")
    assert lib.k_getrlimit(0, 7, out) == 0
    ids = ffi.new("uint32_t[]", 3)
    ids_made = ffi.new("int[]", [1, -2, 3])
    return [list(pair), one[0], list(out), len(ids), list(ids), list(ids_made), len(ffi.new("int[]", ())),
            ffi.new("int64_t *")[0], ffi.new("double *", 1.5)[0], bytes(ffi.buffer(ffi.new("double *", -2)))]


def texts(ffi, lib):
    text, empty = ffi.new("char[]", b"abc"), ffi.new("char[]", 4)
    raw = ffi.new("uint32_t[]", 1)
    vector = ffi.new("char *[]", [text, ffi.NULL])
    return [ffi.string(text), len(text), ffi.string(empty), text[1], bytes(ffi.buffer(text, 2)), bytes(ffi.buffer(raw, 4)),
            ffi.string(vector[0]), vector[1] == ffi.NULL, vector[0] == ffi.NULL, raw[0]]


def structs(ffi, lib):
    task = ffi.new("struct fg_task *", (1, 2, 3, -4, 5, 1, -1))
    message = ffi.new("struct message *")
    reply = ffi.new("struct k_bus_reply *")
    fds = message.fd
    del message
    return [task.sigfd, task.master, task.reap_all, task.extra, list(fds), reply.type, reply.len, ffi.string(reply.error),
            bytes(ffi.buffer(reply.data, 2))]


def memory_file(ffi, lib):
    fd = lib.k_memfd(b"x", b"contents", 8, True)
    try:
        return [os.pread(fd, 100, 0), lib.k_openat2(-1, b"/nonexistent/x", 0, 0, 0), lib.k_nstype(fd)]
    finally:
        os.close(fd)


def a_program(ffi, lib):
    report = ffi.new("struct hook_report *")
    strings = [ffi.new("char[]", word) for word in (b"sh", b"-c", b"echo $A; echo no >&2; exit 3", b"A=b")]
    argv, env = ffi.new("char *[]", [*strings[:3], ffi.NULL]), ffi.new("char *[]", [strings[3], ffi.NULL])
    ret = lib.hook_run(b"/bin/sh", argv, env, -1, ffi.NULL, 10, report)
    return [ret, report.wstatus, bytes(ffi.buffer(report.out, report.out_len)), report.out_total, ffi.string(report.err)]


def a_socket(ffi, lib):
    pair, message = ffi.new("int[2]"), ffi.new("struct message *")
    assert lib.k_socketpair(pair) == 0
    os.write(pair[1], (7).to_bytes(4, "little") + bytes(4) + (-5).to_bytes(4, "little", signed=True) + (2**32 - 1).to_bytes(4, "little"))
    ret = lib.k_recv(pair[0], message)
    record = message.record
    for fd in pair:
        os.close(fd)
    return [ret, record.seq, record.op, record.err, record.step, message.pid == os.getpid(), message.nfds]


@pytest.mark.parametrize("use", (integers, texts, structs, memory_file, a_program, a_socket))
def test_what_c_says_is_the_same_by_both_ways(seam, use):
    assert use(seam.ffi, seam.lib) == use(_native.ffi, _native.lib)


REFUSED = {
    "too large for an int": lambda ffi, lib: lib.k_nstype(2**31),
    "negative for an unsigned": lambda ffi, lib: lib.k_openat2(-1, b"/", -1, 0, 0),
    "too large for anything": lambda ffi, lib: lib.k_openat2(-1, b"/", 2**64, 0, 0),
    "no number": lambda ffi, lib: lib.k_nstype("1"),
    "a float": lambda ffi, lib: lib.k_nstype(1.0),
    "str for bytes": lambda ffi, lib: lib.k_openat2(-1, "/nonexistent", 0, 0, 0),
    "None for a pointer": lambda ffi, lib: lib.k_openat2(-1, None, 0, 0, 0),
    "another pointer": lambda ffi, lib: lib.k_socketpair(ffi.new("uint64_t[2]")),
    "another struct": lambda ffi, lib: lib.k_recv(0, ffi.new("struct fg_task *")),
    "bytes for ints": lambda ffi, lib: lib.k_socketpair(b"12345678"),
    "too few arguments": lambda ffi, lib: lib.k_socketpair(),
    "too many arguments": lambda ffi, lib: lib.k_nstype(1, 2),
    "beyond the end": lambda ffi, lib: ffi.new("int[2]")[2],
    "before the beginning": lambda ffi, lib: ffi.new("uint32_t[]", 1)[-2],
    "more than one": lambda ffi, lib: ffi.new("int *")[1],
    "no such field": lambda ffi, lib: ffi.new("struct message *").nothing,
    "no such type": lambda ffi, lib: ffi.new("struct nothing *"),
    "no such function": lambda ffi, lib: lib.nothing,
    "too many fields": lambda ffi, lib: ffi.new("struct fg_task *", (1, 2, 3, 4, 5, 6, 7, 8)),
    "an item of another type": lambda ffi, lib: ffi.new("int[]", [1, b"2"]),
    "an item too large": lambda ffi, lib: ffi.new("int[]", [2**31]),
    "a negative length": lambda ffi, lib: ffi.new("char[]", -1),
    "no length": lambda ffi, lib: ffi.new("char[]"),
    "text of numbers": lambda ffi, lib: ffi.string(ffi.new("int[2]")),
    "text of nothing": lambda ffi, lib: ffi.string(ffi.NULL),
}


@pytest.mark.parametrize("how", REFUSED)
def test_what_does_not_fit_is_refused_by_both_ways(seam, how):
    for module in (seam, _native):
        with pytest.raises((TypeError, OverflowError, IndexError, AttributeError, ValueError, RuntimeError, _ffi_error())):
            REFUSED[how](module.ffi, module.lib)


def test_kernel_modules_use_nothing_of_cffi_that_the_seam_does_not_have():
    """Slices of an array, assignments into one, and Python's sequences as arguments."""
    for path in sorted((ROOT / "pyrunc").glob("kernel*.py")):
        for function in [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]:
            made = {ast.unparse(node.targets[0]) for node in ast.walk(function)
                    if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("ffi.new(")}
            for node in ast.walk(function):
                if isinstance(node, ast.Subscript) and ast.unparse(node.value) in made:
                    assert isinstance(node.ctx, ast.Load) and not isinstance(node.slice, ast.Slice), f"{path.name}:{node.lineno}"
                if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "ffi":
                    assert node.attr in ("new", "buffer", "string", "NULL"), f"{path.name}:{node.lineno}"
                if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("lib."):
                    assert not [arg for arg in node.args if isinstance(arg, (ast.List, ast.Tuple))], f"{path.name}:{node.lineno}"


def _ffi_error():
    return getattr(_native.ffi, "error", ValueError)


def test_nothing_is_copied_from_beyond_an_array(seam):
    with pytest.raises(ValueError):
        seam.ffi.buffer(seam.ffi.new("char[]", 4), 5)
    with pytest.raises(AttributeError):
        seam.ffi.new("struct k_bus **")[0].anything  # noqa: B018


def test_a_part_keeps_the_whole(seam):
    reply = seam.ffi.new("struct k_bus_reply *")
    data = reply.data
    del reply
    for _ in range(100):
        seam.ffi.new("char[]", b"\xff" * 9000)
    assert bytes(seam.ffi.buffer(data, 8192)) == bytes(8192)
