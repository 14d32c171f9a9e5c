"""Who gets the container's terminal: our caller's socket, or in the foreground our own terminal.

Init makes the pty in the container and hands us its master. With --console-socket it is sent on and forgotten; in the
foreground kernel_tty.wait copies it. This module and the socket module are
imported before spawn.
"""

from __future__ import annotations

import posix
from sys import byteorder

from .. import kernel_tty
from ..errors import Error, from_oserror
from .unixsock import Address

NAME = b"/dev/pts/0"  # a container's devpts is new, and its terminal the first in it
TIMEOUT = 10.0  # seconds for who serves such a socket to take a connection, or a message: it must not hold us for good
_NO_TERMINAL = "cannot allocate tty if pyrunc will detach without setting console socket"
_NO_USE = "cannot use console socket if pyrunc will not detach or allocate tty"


def check_stdio(terminal: bool, detach: bool, console_socket: str | None) -> None:
    """Refuse combinations that make no sense, in runc's words but for its name. Pure."""
    if terminal and detach and not console_socket:
        raise Error(_NO_TERMINAL, hint="give --console-socket, or set process.terminal to false",
                    pointer="/process/terminal")
    if console_socket and not (terminal and detach):
        raise Error(_NO_USE, hint="drop --console-socket, or set process.terminal and detach")


# --- sockets that take a descriptor ---


def connect(path: str) -> int:
    """Connect to a listening AF_UNIX stream socket. Before spawn: one that nobody serves must fail before all else."""
    import _socket

    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.settimeout(TIMEOUT)
        with Address(path) as name:
            sock.connect(name)
        sock.settimeout(None)
    except OSError as err:
        sock.close()
        raise from_oserror(err, f"dial unix {path}") from None
    return sock.detach()


def send(sock: int, fd: int, name: bytes = NAME) -> None:
    """One message as conmon wants it: the name, which may not be empty, and exactly one descriptor. Closes `sock`.

    name  of the terminal; of a pidfd it is b"standard" (create, run) or b"setns" (exec)
    """
    import _socket

    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, sock)
    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(4, byteorder))
    try:
        connection.settimeout(TIMEOUT)
        connection.sendmsg([name], [rights], _socket.MSG_NOSIGNAL)
    except OSError as err:
        raise from_oserror(err, f"send {name.decode('utf-8', 'replace')}") from None
    finally:
        connection.close()


# --- our own terminal ---


def host_terminal() -> int:
    """Our caller's terminal: one of stderr, stdout, stdin, or else the controlling one. Error if there is none."""
    for fd in (2, 1, 0):
        if posix.isatty(fd):
            return fd
    try:
        return posix.open("/dev/tty", posix.O_RDWR | posix.O_NOCTTY | posix.O_CLOEXEC)
    except OSError as err:
        raise from_oserror(err, "open /dev/tty") from None


def attach(tty: int, master: int) -> bytes:
    """Make our terminal the container's: the pty gets its size, it gets the pty's bytes. Returns its former mode."""
    try:
        kernel_tty.clear_onlcr(master)
        kernel_tty.copy_size(tty, master)
        return kernel_tty.raw(tty)
    except OSError as err:
        raise from_oserror(err, "set up terminal") from None


def detach(tty: int, mode: bytes) -> None:
    """Give our terminal its mode back. The terminal may be gone by now, which is not an error."""
    try:
        kernel_tty.restore(tty, mode)
    except OSError:
        pass
