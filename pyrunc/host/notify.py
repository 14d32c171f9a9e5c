"""NOTIFY_SOCKET: a container tells systemd that it is ready, sd_notify(3), through us.

The container can't reach the host's socket, and systemd wouldn't believe its pid. So it gets a socket of ours:
`create` makes the directory and the plan binds it read-only at /run/notify; `start` and `run` bind the socket in it,
let the process go, wait for its READY=, and pass that on with MAINPID=. Everything else it sends (STATUS=, WATCHDOG=1,
BARRIER=1 with its pipe) is read and dropped. This module is imported before spawn, and only when NOTIFY_SOCKET
is set.

Where runc's way had to be left:
* READY= counts on any line of a message; runc looks at the first only, and waits for ever for `STATUS=up\\nREADY=1`.
* The host's socket is connected before the process is let go: if it can't be reached, nothing has been started yet.
* In the foreground runc forwards no signal before READY=. Here the socket is one more descriptor in the loop.
* After READY= our socket is closed, so that later messages fail at once (as with runc's start) and can't fill its
  queue, which would block the sender.
* The end of the process is seen by its pidfd; runc looks for /proc/PID every 100 ms, and takes a zombie for alive.
* start with NOTIFY_SOCKET of a container that was created without it doesn't wait; runc fails.
"""

from __future__ import annotations

import posix
from sys import byteorder

import _socket
import select

from ..errors import Error, from_oserror
from .unixsock import Address
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Rights = Sequence[tuple[int, int, bytes]]

HOST_DIR = "notify"  # in the container's state directory
SOCKET = "notify.sock"
MESSAGES = 64  # read at a time
SEND_SECONDS = 10.0  # how long systemd may leave a message unread, where its queue is full
BARRIER_MS = 30000  # how long systemd may take to have read what was sent before


def prepare(dirfd: int) -> Callable[[], None]:
    """Make the directory to be bound into the container, for `create`, in the state directory. Returns the inverse."""
    posix.mkdir(HOST_DIR, 0o755, dir_fd=dirfd)
    posix.chmod(HOST_DIR, 0o755, dir_fd=dirfd)  # umask or not: any uid in the container may notify
    return lambda: _remove(dirfd)


def _remove(dirfd: int) -> None:
    for call, name in ((posix.unlink, f"{HOST_DIR}/{SOCKET}"), (posix.rmdir, HOST_DIR)):
        try:
            call(name, dir_fd=dirfd)
        except FileNotFoundError:
            pass


class Proxy:
    """The socket of one container, from before its process is let go until it has said READY=."""

    __slots__ = ("_host", "_inside")

    def __init__(self, host_socket: str, dirfd: int) -> None:
        """host_socket: NOTIFY_SOCKET, a path or `@abstract`. dirfd: the container's state directory, prepared."""
        self._host = _connect(host_socket)
        try:
            self._inside = _bind(dirfd)
        except OSError as err:
            self._host.close()
            raise from_oserror(err, f"listen unixgram {HOST_DIR}/{SOCKET}") from None

    def fileno(self) -> int:
        """Readable when `step` has something to do."""
        return self._inside.fileno()

    def wait_ready(self, pid: int, pidfd: int) -> None:
        """Detached: wait until the container is ready and systemd knows, or its process has ended. Closes."""
        poll = select.poll()
        poll.register(self._inside, select.POLLIN)
        poll.register(pidfd, select.POLLIN)
        try:
            while True:
                fds = [fd for fd, _ in poll.poll()]
                if self._ready(pid):
                    _barrier(self._host)
                    return
                if pidfd in fds:
                    return
        finally:
            self.close()

    def step(self) -> bool:
        """Foreground: read what has come. True when there is nothing more to wait for (and it is closed).

        The main pid is ours then: systemd started us, and we pass on its signals and the exit code. We stay, so there's
        no need to wait until systemd has read it. If systemd has gone, the process goes on without it.
        """
        try:
            done = self._ready(posix.getpid())
        except Error:
            done = True
        if done:
            self.close()
        return done

    def close(self) -> None:
        self._host.close()
        self._inside.close()

    def _ready(self, pid: int) -> bool:
        """Read all messages up to one that says READY=, and pass that on. Whether there was one."""
        for _ in range(MESSAGES):  # the rest at the next call: the loop that we are part of has other things to do
            try:
                message = self._inside.recv(4096, _socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            for line in message.split(b"\n"):
                if line.startswith(b"READY="):
                    _send(self._host, line + b"\n")
                    _send(self._host, b"MAINPID=%d\n" % pid)
                    return True
        return False


def open_proxy(host_socket: str | None, dirfd: int) -> Proxy | None:
    """The Proxy for `start` and `run`, or None where there is nothing to wait for."""
    if not host_socket:
        return None
    try:
        posix.stat(HOST_DIR, dir_fd=dirfd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Proxy(host_socket, dirfd)


def _connect(path: str) -> _socket.socket:
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
    try:
        sock.settimeout(SEND_SECONDS)
        with Address(path) as name:
            sock.connect(name)
    except OSError as err:
        sock.close()
        raise from_oserror(err, f"dial unixgram {path}") from None
    return sock


def _bind(dirfd: int) -> _socket.socket:
    """Bind our socket, mode 0777: umask is what decides that (unix(7)), and there is no path to chmod."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
    mask = posix.umask(0)
    try:
        try:
            posix.unlink(f"{HOST_DIR}/{SOCKET}", dir_fd=dirfd)  # of a start that was killed
        except FileNotFoundError:
            pass
        sock.bind(f"/proc/self/fd/{dirfd}/{HOST_DIR}/{SOCKET}")
    except OSError:
        sock.close()
        raise
    finally:
        posix.umask(mask)
    return sock


def _send(host: _socket.socket, data: bytes, rights: Rights = ()) -> None:
    try:
        host.sendmsg([data], rights, _socket.MSG_NOSIGNAL)
    except OSError as err:
        raise from_oserror(err, f"notify {data.decode('utf-8', 'replace').strip()}") from None


def _barrier(host: _socket.socket) -> None:
    """sd_notify_barrier(3): wait until systemd has read all that. We may be gone then, and it would ask who we were.

    A peer that doesn't know of barriers lets the time pass, which is not an error.
    """
    ours, theirs = posix.pipe2(posix.O_CLOEXEC)
    try:
        try:
            _send(host, b"BARRIER=1", [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, theirs.to_bytes(4, byteorder))])
        finally:
            posix.close(theirs)
        poll = select.poll()
        poll.register(ours, select.POLLIN)
        if poll.poll(BARRIER_MS) and posix.read(ours, 1):
            raise Error("unexpected read from synchronization pipe")
    finally:
        posix.close(ours)
