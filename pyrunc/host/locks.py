"""Which flags a user namespace would lock on the mounts below a bind source (mount_namespaces(7)).

The kernel refuses to clear them where a tree belongs to such a namespace; the host's own it changes at will. The top of
the tree, csrc/tree.h compares by itself, except a mount that is read-only on a file system that is so, too.
Only recursive options need this.
"""

from __future__ import annotations

import posix

from ..config import mountopts
from ..facts import read
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

BITS = {"ro": mountopts.ATTR_RDONLY, "nosuid": mountopts.ATTR_NOSUID, "nodev": mountopts.ATTR_NODEV,
        "noexec": mountopts.ATTR_NOEXEC, "nodiratime": mountopts.ATTR_NODIRATIME}
ESCAPED = (("\\", "\\134"), (" ", "\\040"), ("\t", "\\011"), ("\n", "\\012"), ("#", "\\043"))


def refused(fd: int, set_: int, clear: int) -> int:
    """The MOUNT_ATTR_* that a recursive mount_setattr(2) of these operands would be refused for from this descriptor on."""
    top = read(f"/proc/self/fdinfo/{fd}").partition(b"mnt_id:")[2].split()[0].decode()
    mounts = read("/proc/self/mountinfo").decode("utf-8", "surrogateescape")
    return lost(mounts, posix.readlink(f"/proc/self/fd/{fd}"), set_, clear, top)


def lost(mountinfo: str, path: str, set_: int, clear: int, top: str = "") -> int:
    """refused(), of the text of /proc/self/mountinfo. (Pure.)"""
    for char, escape in ESCAPED:
        path = path.replace(char, escape)
    below, found = path.rstrip("/") + "/", 0
    for line in mountinfo.splitlines():
        number, _, _, _, point, options, *_ = line.split(" ")
        if number == top or point.startswith(below):
            before = attributes(options.split(","))
            after = before & ~clear | set_
            found |= before & ~after & mountopts.LOCKABLE | (before ^ after) & (mountopts.ATTR_ATIME | mountopts.ATTR_NODIRATIME)
    return found


def attributes(options: Container[str]) -> int:
    """A mount's own options in mountinfo as MOUNT_ATTR_*."""
    atime = mountopts.ATTR_NOATIME if "noatime" in options else 0 if "relatime" in options else mountopts.ATTR_STRICTATIME
    return sum([bit for name, bit in BITS.items() if name in options]) | atime
