"""Terminals and waiting in the foreground (csrc/shim_tty.c), for host/console.py and the verbs run and exec."""

from pyrunc._native import ffi, lib

from .kernel import check

_MODE_SIZE = 128  # room for a struct termios


def raw(fd: int) -> bytes:
    """Set the terminal raw (termios(3)), except that it still makes "\\r\\n" of "\\n". Returns its former mode."""
    saved = ffi.new("char[]", _MODE_SIZE)
    return bytes(ffi.buffer(saved, check(lib.tty_raw(fd, saved, _MODE_SIZE), "set terminal raw")))


def restore(fd: int, mode: bytes) -> None:
    """Set back the mode that `raw` returned."""
    check(lib.tty_restore(fd, mode, len(mode)), "restore terminal")


def clear_onlcr(fd: int) -> None:
    """Let a pty pass on "\\n" as it is; the terminal it is shown on makes the carriage return."""
    check(lib.tty_clear_onlcr(fd), "clear ONLCR")


def copy_size(source: int, target: int) -> None:
    """Give terminal `target` the window size of `source` (ioctl_tty(2)); one that doesn't know its size is no model."""
    check(lib.tty_copy_size(source, target), "copy window size")


def prepare() -> int:
    """Block all signals and return the signalfd(2) that collects them for `wait`. Call it before the process exists."""
    return check(lib.fg_prepare(), "signalfd")


def cancel(sigfd: int) -> None:
    """Undo `prepare`: what has been written is copied, pipes are closed, and signals have their usual effect again, those
    collected and not yet passed on at once."""
    check(lib.fg_cancel(sigfd), "unblock signals")


def stdio(terminal: bool) -> list[int]:
    """What the process gets as 0 to 2: -1 for ours as they are, or ends of pipes (pipe(7)), to be closed after its spawn.

    `wait` copies between them and ours. What it may have as it is: pipes and sockets without a name, and /dev/null. 1 and 2
    are one pipe where ours are one file. With `terminal` they stand in for a pty's that follows.
    """
    theirs = ffi.new("int[3]")
    check(lib.fg_stdio(terminal, theirs), "stdio")
    return list(theirs)


def own(uid: int) -> None:
    """fchown(2) the pipes that the process has as stdio, as far as we may."""
    check(lib.fg_own(uid), "fchown stdio")


def lost(fd: int) -> int:
    """The errno with which our fd 1 or 2 has refused output, or 0."""
    return lib.fg_lost(fd)


def watch(file: int, other: int = -1) -> int:
    """For `wait`'s extra: an epoll(7) descriptor, readable when a kernel's file has changed (POLLPRI) or `other` is."""
    return check(lib.fg_watch(file, other), "epoll_ctl")


def wait(sigfd: int, pidfd: int, pid: int, master: int = -1, tty: int = -1, reap_all: bool = False, extra: int = -1) -> int | None:
    """Wait for our child `pid`, passing signals on to it, and copying between our stdio and what `stdio` has made of it, or,
    with a `master`, that.

    sigfd, pidfd  or -1: only wait for `extra`, and copy
    tty       our caller's terminal, whose size the master follows
    reap_all  wait for all other children too (a subreaper must)
    extra     return when this descriptor is readable; call again to go on
    Returns the wait status, or None because of `extra`.
    """
    task = ffi.new("struct fg_task *", (sigfd, pidfd, pid, master, tty, 1 if reap_all else 0, extra))
    wstatus = ffi.new("int *")
    return None if check(lib.fg_wait(task, wstatus), "wait for process") else wstatus[0]
