"""Mounts that a container without a mount namespace makes on the host: which are its own, and taking them away.

A path tells nothing: the container can rename the directories above a mount and put links in their place. So mounts are known
by their ids, and state.json has them from when the container is complete: {"before": ids below its root when there was nothing
of it yet, "made": [[id, unique id], ...]}. Without `made`, of a creation that was cut short, its mounts are all below its root
that are newer than `before`; nothing of it has run by then.

Where a mount lies now mountinfo says, whatever has been renamed. It is opened there without following links, and only if the
descriptor is of that very mount it is unmounted, by the descriptor.
"""

from __future__ import annotations

import posix

from .. import kernel
from ..errors import Error, reason
from .files import slurp
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypedDict

    class Known(TypedDict, total=False):
        """`host_mounts` of state.json"""

        before: list[int]
        made: list[list[int]]

FLAGS = posix.O_PATH | posix.O_NOFOLLOW
RESOLVE = kernel.RESOLVE_NO_SYMLINKS | kernel.RESOLVE_NO_MAGICLINKS


def before(rootfs: str) -> Known:
    """What state.json says before anything is made."""
    return {"before": [row[0] for row in _below(rootfs)]}


def made(rootfs: str, known: Known) -> Known:
    """`known` completed: all that has been mounted below the root meanwhile."""
    return {**known, "made": [ids for number, point in _below(rootfs) if number not in known["before"]
                              for ids in [_ids_at(point)] if ids and ids[0] == number]}


def remove(rootfs: str, known: Known) -> None:
    """Unmount them, the newest first. Raises an Error that names those that are still there."""
    left = {}
    for number, point in reversed(_table()):
        unique = _unique(known, number, _inside(rootfs, point))
        if unique is None:
            continue
        try:
            if not _unmount(point, number, unique):
                left[number] = f"mount {point}: another mount covers it"
        except OSError as err:
            left[number] = f"mount {point}: {reason(err)}"
    still = {number for number, _ in _table()}  # one goes with the mount it lies on
    reasons = [reason for number, reason in left.items() if number in still]
    if reasons:
        raise Error(", ".join(reasons))


def _unique(known: Known, number: int, inside: bool) -> int | None:
    """The unique id that the mount of this id must have to be one of ours, 0 where there is none to compare; None: it is not."""
    if "made" not in known:
        return 0 if inside and number not in known.get("before", ()) else None
    for own, unique in known["made"]:
        if own == number and (unique or inside):
            return unique
    return None


def _unmount(point: str, number: int, unique: int) -> bool:
    """False where another mount covers it. A mount that merely has the id of one of ours, which is gone, stays."""
    fd = kernel.openat2(kernel.AT_FDCWD, point, FLAGS, 0, RESOLVE)
    try:
        own, other = kernel.mount_ids(fd)
        if own == number and unique in (0, other):
            kernel.umount(fd)
        return own == number
    finally:
        posix.close(fd)


def _ids_at(point: str) -> list[int] | None:
    try:
        fd = kernel.openat2(kernel.AT_FDCWD, point, FLAGS, 0, RESOLVE)
    except OSError:
        return None
    try:
        return list(kernel.mount_ids(fd))
    finally:
        posix.close(fd)


def _below(rootfs: str) -> list[tuple[int, str]]:
    return [row for row in _table() if _inside(rootfs, row[1])]


def _inside(rootfs: str, point: str) -> bool:
    """The root itself, too: one that is read-only is mounted over itself."""
    return f"{point}/".startswith(rootfs.rstrip("/") + "/")


def _table() -> list[tuple[int, str]]:
    """(mount id, where it lies) of every mount of ours, the oldest first: proc_pid_mountinfo(5)."""
    fd = posix.open("/proc/self/mountinfo", posix.O_RDONLY | posix.O_CLOEXEC)
    rows = [line.split(" ", 5) for line in slurp(fd).decode("utf-8", "surrogateescape").split("\n") if line]
    return [(int(row[0]), _plain(row[4])) for row in rows]


def _plain(text: str) -> str:
    r"""Without the escapes \ooo of white space and the backslash."""
    first, *rest = text.split("\\")
    return first + "".join([chr(int(part[:3], 8)) + part[3:] for part in rest])
