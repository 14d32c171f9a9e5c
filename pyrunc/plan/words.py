"""What went wrong, for people: (op, step, errno) of a failed op -> one line. Text belongs to the parent. What is said of which op,
and the cure, stands in the op's row (ops.py)."""

from __future__ import annotations

import posix
from errno import EMFILE, EPERM, EPROTO

from ..errors import Error
from ..typed import TYPE_CHECKING
from . import sealed
from .optable import STEPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .ops import Op
    from .script import Plan

STEP_WORDS = {
    "open": "open", "create": "create", "clone": "open_tree", "move": "move_mount", "attr": "mount_setattr",
    "fsopen": "fsopen", "fsconfig": "fsconfig", "fscreate": "fsconfig", "fsmount": "fsmount", "stat": "stat",
    "verify": "verify", "read": "read", "write": "write", "unlink": "unlink", "chown": "chown", "chmod": "chmod",
    "ioctl": "ioctl", "dup": "dup", "fork": "fork", "umount": "umount", "chdir": "chdir", "peer": "TIOCGPTPEER", "label": "fsetxattr",
}
MAX_ERRNO = 4095
RET, RET_ERRNO = 6, 5  # BPF_RET|BPF_K; SECCOMP_RET_ERRNO, its high half
LOCKED = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "atime": 0xF0}
TOO_MANY = "without privilege, every bind source and every device is held open until it is mounted: raise the hard limit of open " \
           "files (ulimit -Hn) above their number"


def errno_of(err: int) -> int:
    """The errno of a record's `err`, -1 to -4095; EPROTO for what is none: a process in the container can forge a record."""
    return -err if -MAX_ERRNO <= err < 0 else EPROTO


def error(plan: Plan, op: Op, errno: int, step: int) -> Error:
    """The Error for op having failed with errno in step (a number of csrc/plan.h enum step)."""
    step, locked_flags = step & 0xFF, step >> 8
    name = STEPS[step] if step < len(STEPS) else "none"
    if name == "locked":
        name = f"cannot clear locked flags {', '.join([word for word, bit in LOCKED.items() if locked_flags & bit])}"
    text = _said(op, errno, name, plan.ops)
    pointer = op.source if op.source.startswith("/") else None
    prefix = f"{plan.place(pointer)}: " if pointer else ""
    return Error(f"{prefix}{text}", hint=hint(plan, op, errno), pointer=pointer, errno=errno)


def _said(op: Op, errno: int, step: str, ops: Sequence[Op]) -> str:
    """The row's sentence for it, else the op with its name or path, the call, the kernel's word."""
    why, fails = posix.strerror(errno).lower(), op.row.fails
    if callable(fails):
        sentence = fails(op, errno, step, ops)
    else:
        sentence = fails.get(step) or fails.get(errno) or fails.get("") or ""
    if not sentence:
        what, call = subject(op), STEP_WORDS.get(step, op.name.lower())
        return f"{what}: {why}" if call == what else f"{what}: {call}: {why}"
    values = {name: kind.show(value) if name == "resource" else value for (name, kind), value in zip(op.row.args, op.args)}
    return sentence.format(**values, why=why, call=STEP_WORDS.get(step, step), errno=errno)


def has_run(step: int) -> bool:
    """Whether a hook has failed by its own end: it was found, executed, and in time."""
    return step < len(STEPS) and STEPS[step] in ("exit", "signalled")


def locked(plan: Plan, op: Op, flags: int) -> Error:
    """The Error for MOUNT_ATTR_* that would have to be cleared and may not."""
    return error(plan, op, EPERM, STEPS.index("locked") | flags << 8)


def subject(op: Op) -> str:
    """The op and the name it is about: `node "/dev/null"`, `hostname "x"`."""
    values = {name: value for (name, _), value in zip(op.row.args, op.args)}
    for key in ("path", "type", "name"):
        if key in values:
            value = values[key]
            return f'{op.name.lower()} "{"/" if key == "path" and value[:1] != "/" else ""}{value}"'
    return op.name.lower()


def filtered(plan: Plan, op: Op, errno: int) -> bool:
    """Whether the filter, loaded before this op, may be what has answered so: it knows that errno."""
    for other in plan.ops:
        if other.name == "SECCOMP" and other.index < op.index:
            code = other.value("filter")
            returns = [code[at + 4:at + 8] for at in range(0, len(code), 8) if code[at] == RET]
            return (RET_ERRNO << 16 | errno).to_bytes(4, "little") in returns
    return False


def hint(plan: Plan, op: Op, errno: int) -> str | None:
    if op.role != "H" and filtered(plan, op, errno):
        return f"the container's seccomp filter is already in force: it has to allow {sealed.needed(op.name)}"
    if errno == EMFILE and op.role == "M":
        return TOO_MANY
    hints = op.row.hints
    return hints(op, errno, plan.ops) if callable(hints) else hints.get(errno) or hints.get("")
