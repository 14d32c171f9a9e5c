"""Why execve(2) took no program: the kernel says ENOENT for a missing interpreter and ENOEXEC for another machine's program.

Asked after a failure, with the root file system as it lies on the host. Mounts of the container are not looked at.
The file is the image's, so nothing of it is trusted: it is opened in its root, through no mount and no magic link, never
blocking, and a few thousand bytes are read of a regular file. Anything beyond that is not said.
"""

from __future__ import annotations

import posix
from errno import ENOENT, ENOEXEC

from pyrunc import kernel
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal

    from pyrunc.errors import Error
    from pyrunc.plan.script import Op, Plan

S_IFMT, S_IFREG = 0o170000, 0o100000
IN_ROOT = kernel.RESOLVE_IN_ROOT | kernel.RESOLVE_NO_XDEV | kernel.RESOLVE_NO_MAGICLINKS
HEAD = 4096  # more than the kernel looks at of a script (256), and than an ELF program's headers take
DEPTH = 5  # scripts interpreted by scripts, binfmt_script(5)
PT_INTERP = 3
MACHINES = {  # e_machine of elf.h, as uname(2) has it; of arm and i386 that says more
    2: "sparc", 3: "i386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "arm", 43: "sparc64", 62: "x86_64",
    183: "aarch64", 243: "riscv64", 258: "loongarch64",
}


def explain(error: Error, plan: Plan, op: Op, root: str) -> None:
    """Add what can be found out to the Error of an EXEC or of a startContainer hook, both in the container's root."""
    if op.name == "EXEC":
        paths = {other.name: other.args[0] for other in plan.ops if other.name in ("CHDIR", "LOOKUP")}
        candidates = [path if path[:1] == "/" else f"{paths['CHDIR']}/{path}" for path in paths["LOOKUP"]]
    elif op.source.startswith("/hooks/startContainer/"):
        candidates = [op.args[0]]
    else:
        return
    error.message += why(root, candidates, error.errno)


def why(root: str, candidates: Iterable[str], number: int) -> str:
    """The reason for execve's refusal, to follow its errno in a line, or "".

    root        path of the root file system on the host
    candidates  paths in it, of which the first that is a file was executed
    number      the errno of execve
    """
    if number not in (ENOENT, ENOEXEC):
        return ""
    try:
        rootfd = posix.open(root, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC | posix.O_NOFOLLOW)
    except OSError:
        return ""
    try:
        for path in candidates:
            head = _head(rootfd, path)
            if head is not None:
                return _of(rootfd, head, number)
    except OSError:
        pass
    finally:
        posix.close(rootfd)
    return ""


def _of(rootfd: int, head: bytes, number: int) -> str:
    what = "it"
    for _ in range(DEPTH):
        if number == ENOEXEC and (said := _format(head)):
            return f": {what} {said}"
        interpreter = _interpreter(head)
        if interpreter is None:
            return ""
        shown = _shown(interpreter)
        found = _head(rootfd, interpreter)
        if found is None:
            crlf = " (its first line ends in CR LF)" if interpreter.endswith("\r") else ""
            return f": {what} needs the interpreter {shown}, which is not in the root file system{crlf}"
        head, what = found, f"its interpreter {shown}"
    return ""


def _head(rootfd: int, path: str) -> bytes | None:
    """The file's first bytes, or None if it is not there. OSError where that cannot be known, or it is not a regular file."""
    try:
        fd = kernel.openat2(rootfd, path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOCTTY, 0, IN_ROOT)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        if posix.fstat(fd).st_mode & S_IFMT != S_IFREG:
            raise OSError
        return posix.pread(fd, HEAD, 0)
    finally:
        posix.close(fd)


def _format(head: bytes) -> str:
    """The fault in the format of the file itself, or "" if none can be seen."""
    if not head:
        return "is an empty file"
    if head[:2] == b"#!":
        return "" if _interpreter(head) else "has a #! line that names no interpreter"
    if head[:4] != b"\x7fELF" or len(head) < 20:
        return "is neither an ELF program nor a script that begins with #!"
    number = int.from_bytes(head[18:20], _order(head))
    machine = MACHINES.get(number, f"machine {number}") + ("le" if number == 21 and _order(head) == "little" else "")
    here = posix.uname().machine
    same = machine in (here, "i386" if here[:1] == "i" and here[2:] == "86" else here[:3])
    return "" if same else f"is a program for {machine}, and this machine is {here}"


def _interpreter(head: bytes) -> str | None:
    """The path a script or a dynamic program names, or None."""
    if head[:2] == b"#!":
        line = head[2:258].partition(b"\n")[0].strip(b" \t").replace(b"\t", b" ")
        name = line.partition(b" ")[0]
    elif head[:4] == b"\x7fELF":
        name = _elf_interpreter(head)
    else:
        name = b""
    return name.partition(b"\0")[0].decode("utf-8", "surrogateescape") or None


def _elf_interpreter(head: bytes) -> bytes:
    """elf(5): that of the first PT_INTERP among the program headers, as far as it stands in the file's first page."""
    order, wide = _order(head), head[4:5] == b"\x02"

    def number(at: int, size: int) -> int:
        return int.from_bytes(head[at:at + size], order)
    table, entry, count = (number(32, 8), number(54, 2), number(56, 2)) if wide else (number(28, 4), number(42, 2), number(44, 2))
    for at in range(table, min(table + count * entry, len(head)), entry or len(head)):
        if number(at, 4) == PT_INTERP:
            offset, size = (number(at + 8, 8), number(at + 32, 8)) if wide else (number(at + 4, 4), number(at + 16, 4))
            return head[offset:offset + size]
    return b""


def _order(head: bytes) -> Literal["little", "big"]:
    return "big" if head[5:6] == b"\x02" else "little"


def _shown(path: str) -> str:
    return f'"{path}"' if path.isprintable() else ascii(path).replace("'", '"')
