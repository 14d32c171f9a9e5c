"""The other end of --console-socket and --pidfd-socket: accepts one connection, takes one descriptor.

It is as strict as conmon: exactly one descriptor in the control message and a name that is not empty (compat.md 1.9).
"""

import array
import os
import select
import socket
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
