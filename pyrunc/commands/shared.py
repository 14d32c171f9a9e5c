"""What create and run have in common: their options, and making the container with its console and pid file."""

from __future__ import annotations

import posix

from .. import lifecycle
from ..errors import Error, reason
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypedDict

    from ..args import Globals
    from ..foreground import Foreground

    CreateOptions = TypedDict("CreateOptions", {
        "bundle": str | None, "console-socket": str | None, "pidfd-socket": str | None, "pid-file": str | None,
        "no-pivot": bool, "no-new-keyring": bool, "preserve-fds": int, "help": bool,
    })
    Sockets = TypedDict("Sockets", {"console-socket": str | None, "pidfd-socket": str | None})  # what exec has of them, too

CREATE_OPTIONS = (
    (("bundle", "b"), "str", None, "path to the bundle, by default the current directory"),
    (("console-socket", None), "str", None, "AF_UNIX socket that receives the pty's master"),
    (("pidfd-socket", None), "str", None, "AF_UNIX socket that receives a pidfd of the container's init"),
    (("pid-file", None), "str", None, "file to write the pid of the container's init to"),
    (("no-pivot", None), "flag", False, "do not use pivot_root (root on a ramfs)"),
    (("no-new-keyring", None), "flag", False, "do not create a session keyring"),
    (("preserve-fds", None), "int", 0, "number of additional descriptors to pass on"),
)


def make(globals_: Globals, options: CreateOptions, container_id: str, gate: bool,
         foreground: Foreground | None = None) -> lifecycle.Making:
    """A container, made and recorded. `foreground` is a Foreground that takes its stdio, and the pty instead of a socket."""
    pid_file = options.get("pid-file")
    pid_file = lifecycle.absolute(pid_file) if pid_file else None
    making = lifecycle.Making(
        globals_, options, container_id, gate,
        console=lambda: console_of(options, foreground), pidfd_socket=lambda: pidfd_socket_of(options), front=foreground,
    )
    making.run()
    if pid_file:
        try:
            write_pid_file(pid_file, making.supervisor.pid)
        except BaseException as err:
            making.fail(err)
            raise
    return making


def write_pid_file(path: str, pid: int) -> None:
    """After success only: callers take the file's existence for it."""
    from ..host import pidfile

    try:
        pidfile.write(path, pid)
    except OSError as err:
        raise Error(f"write pid file {path}: {reason(err)}", errno=err.errno) from None


def console_of(options: Sockets, foreground: Foreground | None) -> Callable[[int], None] | None:
    """Connected before anything exists: an unreachable socket must fail while there is nothing to undo."""
    if foreground is not None:
        return foreground.take
    path = options.get("console-socket")
    if not path:
        return None
    from ..host import console

    sock = console.connect(path)

    def send(master: int) -> None:
        console.send(sock, master, b"/dev/pts/0")
        posix.close(master)

    return send


def pidfd_socket_of(options: Sockets) -> Callable[[int, str], None] | None:
    path = options.get("pidfd-socket")
    if not path:
        return None
    from ..host import console

    sock = console.connect(path)
    return lambda pidfd, name: console.send(sock, pidfd, name.encode())
