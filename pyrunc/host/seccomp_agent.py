"""Hand a container's seccomp listener to its agent (config-linux.md#the-container-process-state).

Init waits at the SYNC after the filter is loaded until the agent has the descriptor. One
connection, one message, then the connection is closed: the agent owns the listener and nobody else may hold it.
"""

from __future__ import annotations

import _socket
import posix
import sys

from pyrunc import jsonio
from pyrunc.errors import Error
from pyrunc.host.unixsock import Address
from pyrunc.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypedDict

    from pyrunc.host.hooks import OciState

    class Process(TypedDict):
        pid: int
        metadata: str | None
        state: OciState

TIMEOUT = 10.0  # an agent that doesn't even accept must not hang create for good


def send(listener_path: str, notify_fd: int, process: Process) -> None:
    """Send the listener. Takes the descriptor over: it is closed in any case.

    process  {"pid", "metadata", "state"}: pid of the container's process in our pid namespace, listenerMetadata, and
             the OCI state, whose status is `creating` for init and `running` for exec
    """
    try:
        message = {"ociVersion": process["state"]["ociVersion"], "fds": ["seccompFd"], "pid": process["pid"]}
        if process.get("metadata"):
            message["metadata"] = process["metadata"]
        message["state"] = process["state"]
        _deliver(listener_path, jsonio.dumps(message).encode("utf-8", "surrogateescape"), notify_fd)
    except OSError as err:
        cause = (err.strerror or str(err)).lower()
        raise Error(f'seccomp listener "{listener_path}": {cause}', errno=err.errno or 0,
                    pointer="/linux/seccomp/listenerPath", hint="is the seccomp agent running?")
    finally:
        posix.close(notify_fd)


def _deliver(path: str, data: bytes, fd: int) -> None:
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.settimeout(TIMEOUT)
        with Address(path) as name:
            sock.connect(name)
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(4, sys.byteorder))
        sent = sock.sendmsg([data], [rights])
        if sent < len(data):  # of nothing, it would fail where the agent has what it wants and is gone
            sock.sendall(data[sent:])
    finally:
        sock.close()
