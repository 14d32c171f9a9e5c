"""The other ends of terminals: a socket for --console-socket and --pidfd-socket, and a terminal with somebody at it.

The socket is as strict as conmon: exactly one descriptor in the control message and a name that is not empty
(docs/compatibility.md, "Sockets of callers").
"""

import array
import fcntl
import os
import pty
import select
import socket
import struct
import termios
import time


class FdSocket:
    """A listening socket that receives one descriptor."""

    def __init__(self, path):
        self.path = str(path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(1)
        self.listener.settimeout(10)
        self.fd = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        if self.fd >= 0:
            os.close(self.fd)

    def receive(self):
        """(name, descriptor); asserts that this is all that was sent."""
        connection, _ = self.listener.accept()
        with connection:
            connection.settimeout(10)
            data, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(64 * 4))
            assert len(ancillary) == 1, f"{len(ancillary)} control messages"
            level, kind, payload = ancillary[0]
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            fds = array.array("i", payload)
            self.fd = fds[0]
            assert len(fds) == 1, f"{len(fds)} descriptors"
            assert data, "a name without a byte"
            assert connection.recv(1) == b"", "more than one message"
        return data.decode(), self.fd


def read_terminal(fd, until=None, timeout=10):
    """All output of a pty master up to the end (or up to `until`)."""
    text, deadline = b"", time.monotonic() + timeout
    while until is None or until not in text:
        ready, _, _ = select.select([fd], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"the terminal is silent, after {text!r}"
        try:
            chunk = os.read(fd, 65536)
        except OSError:         # EIO: the last user of the slave has gone
            break
        if not chunk:
            break
        text += chunk
    return text.decode("utf-8", "replace").replace("\r\n", "\n")


class Terminal:
    """A terminal in whose foreground the runtime runs: `fd` is keyboard and screen, `slave` what the runtime is given."""

    def __init__(self, rows=24, columns=80):
        self.fd, self.slave = pty.openpty()
        self.pending = b""
        self.resize(rows, columns)
        self.before = self.mode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.hang_up()
        os.close(self.slave)

    def start(self, rt, *args, **how):
        """Start the runtime as the session's leader; its stdio is the terminal unless `how` says otherwise."""
        return rt.spawn(*args, preexec=self.session, **{"stdin": self.slave, "stdout": self.slave, "stderr": self.slave, **how})

    def session(self):
        os.setsid()
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def mode(self):
        return termios.tcgetattr(self.slave)

    def type(self, keys):
        os.write(self.fd, keys)

    def read(self, until, timeout=10):
        """The bytes on the screen up to and with `until`; what follows is kept for the next call."""
        data, deadline = self.pending, time.monotonic() + timeout
        while until not in data:
            ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"waited for {until!r} after {data[-2000:]!r}"
            data += os.read(self.fd, 65536)
        end = data.index(until) + len(until)
        self.pending = data[end:]
        return data[:end]

    def rest(self):
        """What is still on the screen after the runtime has ended."""
        data, self.pending = self.pending, b""
        while select.select([self.fd], [], [], 0)[0]:
            data += os.read(self.fd, 65536)
        return data

    def hang_up(self):
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1
