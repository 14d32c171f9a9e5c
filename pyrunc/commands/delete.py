"""`delete ID`: take away everything of a container that has stopped; with --force, of any, however half-made."""

from __future__ import annotations

import posix

from .. import lifecycle, log, state
from ..errors import Error
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypedDict

    from ..args import Globals
    from ..state import Container

    class Options(TypedDict):
        force: bool
        help: bool

USAGE = "delete [options] CONTAINER"
ARGS = (1, 1)
OPTIONS = ((("force", "f"), "flag", False, "kill the container first; ignore a missing container"),)


def run(globals_: Globals, options: Options, args: list[str]) -> int:
    force = options.get("force")
    try:
        with state.load(globals_["root"], args[0], partial=True, damaged=force, lock=True) as container:
            _stop(container, force)
            errors = lifecycle.destroy(container)
    except Error as err:
        if force and err.message == "container does not exist":
            return 0
        raise
    for error in errors:
        log.warning(error.message)
    return 0


def _stop(container: Container, force: bool) -> None:
    """Leave with the lock held and init gone."""
    if force:
        _kill(container)  # also makes a create that still holds the lock come to its end
    container.lock()
    if not container.data:  # a create may have written its state while we waited for the lock
        again = state.load(container.root, container.id, partial=True, damaged=force)
        container.data, container.damaged = again.data, again.damaged
    if force and not container.data:
        lifecycle.salvage(container)
    status = container.status() if container.data else "stopped"
    if status == "stopped":
        if not container.data and not force:
            container.remove()
            raise state.missing()
        return
    if status != "created" and not force:
        raise Error(f"cannot delete container {container.id} that is not stopped: {status}")
    _kill(container)


def _kill(container: Container) -> None:
    if not container.data:
        return
    pidfd = container.open_pidfd()  # before the kill: afterwards there may be nobody left to wait for
    try:
        container.kill_group()
    except (OSError, Error):
        pass  # init is killed all the same; what is left in the group will be said
    if pidfd is not None:
        lifecycle.kill_and_wait(container, pidfd)
        posix.close(pidfd)
