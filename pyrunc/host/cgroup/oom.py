"""OOM kills in a group that somebody else, systemd, removes together with its last process: counted while it is there."""

from __future__ import annotations

import posix

from pyrunc.config.names import SIGNALS
from pyrunc.host.cgroup.v2 import Cgroup

SIGKILL = SIGNALS["KILL"]


class Watch:
    """memory.events of the group, and of the slice around it, whose count outlives the group and is of all in it."""

    __slots__ = ("file", "slice", "before", "counted", "seen")

    def __init__(self, group: Cgroup) -> None:
        self.file = group.open("memory.events")
        above = group.relative.rpartition("/")[0]
        self.slice = Cgroup(group.root, above).open("memory.events") if above else None
        self.before = _count(self.slice)
        self.counted: int = 0
        self.seen = self.file is not None

    def look(self) -> bool:
        """Read again, which also arms POLLPRI again. Returns whether the group still exists."""
        now = _count(self.file)
        self.seen = now is not None
        self.counted = self.counted if now is None else now
        return self.seen

    def killed(self, status: int | None) -> bool | None:
        """Was any process of the group killed for want of memory? None if that is not known.

        The kernel reports a kill before the victim ends, but we may be late to read it. Then the slice knows whether
        there was one; that it was here is believed if the process ended by SIGKILL.
        """
        if self.look() or self.counted:
            return bool(self.counted)
        now = _count(self.slice)
        if now is None or now == self.before:
            return None if now is None else False
        return True if status is not None and SIGKILL in (status & 0x7F, (status >> 8) - 128) else None


def _count(file: int | None) -> int | None:
    try:
        lines = posix.pread(file, 4096, 0).splitlines() if file is not None else []
    except OSError:
        return None
    return next((int(line[9:]) for line in lines if line.startswith(b"oom_kill ")), None)
