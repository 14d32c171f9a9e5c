"""Running one program of the host to its end (csrc/shim_hook.c), for host/hooks.py and the id-map helpers."""

from __future__ import annotations

import posix

from pyrunc._native import ffi, lib

from .kernel import encode
from .typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    Stream = tuple[bytes, int]
    Ended = tuple[int, bool, Stream, Stream]


def run(path: str, argv: Sequence[str], env: Sequence[str], stdin: int = -1, cwd: str | None = None, timeout: int = 0) -> Ended:
    """Run `path` with exactly `argv` and `env` (a list of `KEY=value`) until it ends.

    stdin    descriptor to read from, -1: ours
    timeout  seconds until it is killed, 0: none
    Returns (wait status, whether it was killed for the timeout, stdout, stderr) with the two streams as (bytes, total):
    their last 4096 bytes and how many there were. OSError with the path or cwd that failed if it can't be started.
    """
    report = ffi.new("struct hook_report *")
    strings = [[ffi.new("char[]", encode(text)) for text in texts] for texts in (argv, env)]
    vectors = [ffi.new("char *[]", [*texts, ffi.NULL]) for texts in strings]
    directory = ffi.NULL if cwd is None else encode(cwd)
    ret = lib.hook_run(encode(path), vectors[0], vectors[1], stdin, directory, min(timeout, (1 << 32) - 1), report)
    if ret < 0:
        what = f"chdir {cwd}" if report.step else f"fork/exec {path}"
        raise OSError(-ret, posix.strerror(-ret), what)
    out = bytes(ffi.buffer(report.out, report.out_len)), report.out_total
    err = bytes(ffi.buffer(report.err, report.err_len)), report.err_total
    return report.wstatus, ret == 1, out, err
