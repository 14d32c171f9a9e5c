"""`kill ID [SIGNAL]`: a signal to the container's init, by pidfd and start time, so never to another process."""

from __future__ import annotations

import _signal

from .. import state
from ..config.names import signal_number
from ..errors import Error
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypedDict

    from ..args import Globals
    from ..state import Container

    class Options(TypedDict):
        all: bool
        help: bool

USAGE = "kill [options] CONTAINER [SIGNAL]"
ARGS = (1, 2)
OPTIONS = ((("all", "a"), "flag", False, "obsolete: ignore a stopped container"),)
STOP_AT_ID = True
LOCK_WAIT_MS = 2000
SIGKILL = 9


def run(globals_: Globals, options: Options, args: list[str]) -> int:
    number = signal_number(args[1] if len(args) > 1 else "SIGTERM")
    if number is None:
        raise Error(f'unknown signal "{args[1]}"')
    container = state.load(globals_["root"], args[0], lock=True)
    try:
        # a create or start in progress first comes to its end; one that hangs does not keep the signal back
        container.lock(LOCK_WAIT_MS)
    except Error as err:
        if err.errno:
            raise
    # In a pid namespace that is not its own, what init has started outlives it, so a container that counts as stopped may
    # still have processes: a shim that sees its init end kills these with --all.
    reached = number == SIGKILL and container.data.get("pid_shared") and container.kill_group()
    pidfd = container.open_pidfd()
    if pidfd is not None:
        try:
            _signal.pidfd_send_signal(pidfd, number)
            reached = True
            if number == SIGKILL:
                _let_die(container)
        except ProcessLookupError:
            pass
    if not reached and not options.get("all"):
        raise Error("container not running")
    return 0


def _let_die(container: Container) -> None:
    """A paused container can be killed, and is stopped then."""
    group = container.cgroup()
    if group is not None:
        group.thaw()
