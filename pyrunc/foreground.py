"""A command that stays until the container's process ends: signals forwarded, stdio passed through, status returned.

Signals are blocked and read from a signalfd before init is spawned, so none is lost; the loop itself is in C
(csrc/shim_tty.c) and no Python handler ever runs. Used by run and exec.
"""

from __future__ import annotations

import posix
from errno import EIO, EPIPE

from . import kernel, kernel_tty, log
from .host import console
from .typed import TYPE_CHECKING

if TYPE_CHECKING:
    from .host.notify import Proxy
    from .supervise import Supervisor


class Foreground:
    """`close` restores whatever was changed and may be called at any time, more than once."""

    __slots__ = ("sigfd", "master", "tty", "saved", "subreaper", "status")
    saved: bytes | None  # our terminal's mode as it was
    status: int | None  # of the process, once it has been waited for

    def __init__(self, subreaper: bool) -> None:
        self.master = self.tty = -1
        self.saved = self.status = None
        self.subreaper = subreaper
        if subreaper:
            kernel.subreaper(True)
        self.sigfd = kernel_tty.prepare()

    def stdio(self, terminal: bool) -> list[int]:
        """What the process is born with as 0 to 2: see kernel_tty.stdio. Closed by who spawns it."""
        return kernel_tty.stdio(terminal)

    def own(self, uid: int) -> None:
        """Its pipes, and those of the caller that it has as they are, belong to this user of the host's."""
        kernel_tty.own(uid)

    def take(self, master: int) -> None:
        """The container's pty: raw mode on our terminal, its size copied, before the process runs."""
        self.master = master
        self.tty = console.host_terminal()
        self.saved = console.attach(self.tty, master)

    def until(self, supervisor: Supervisor, fd: int) -> int | None:
        """Pass signals and the terminal on until `fd` is readable. The wait status of a process that has ended, else None."""
        if self.status is None:
            self.status = kernel_tty.wait(self.sigfd, supervisor.pidfd, supervisor.pid, self.master, self.tty, self.subreaper, fd)
        return self.status

    def wait(self, supervisor: Supervisor, proxy: Proxy | None = None) -> int:
        """Exit code as a shell has it: the process's status, or 128 + the signal that killed it."""
        status, oom = self.status, supervisor.oom
        while status is None:
            ready = proxy.fileno() if proxy else -1
            extra = kernel_tty.watch(oom.file, ready) if oom and oom.seen else ready
            status = kernel_tty.wait(self.sigfd, supervisor.pidfd, supervisor.pid, self.master, self.tty, self.subreaper, extra)
            if oom and extra != ready:
                posix.close(extra)
                oom.look()
            if status is None and proxy and proxy.step():
                proxy = None
        self.status = status
        self._warn()
        return 128 + (status & 0x7F) if status & 0x7F else status >> 8 & 0xFF

    def _warn(self) -> None:
        """The process may not have noticed: it wrote to a pipe, and then it ended. A reader that went away is no news."""
        for fd, name in ((1, "stdout"), (2, "stderr")):
            errno = kernel_tty.lost(fd)
            if errno not in (0, EIO, EPIPE):
                log.warning(f"{name}: {posix.strerror(errno).lower()}: not all of the process's output was written")

    def close(self) -> None:
        if self.saved is not None:
            console.detach(self.tty, self.saved)
            self.saved = None
        if self.sigfd >= 0:
            kernel_tty.cancel(self.sigfd)
            self.sigfd = -1
