"""`run ID`: create and start in one; in the foreground wait for its end, pass its signals and its terminal on.

The same plan as create, without the gate: the last answer lets init execute, and the socket's end says that it has.
"""

from __future__ import annotations

from .. import foreground, lifecycle, log
from ..errors import Error
from ..typed import TYPE_CHECKING
from . import shared

if TYPE_CHECKING:
    from typing import TypedDict

    from ..args import Globals
    from ..lifecycle import Making

    _Own = TypedDict("_Own", {"detach": bool, "keep": bool, "no-subreaper": bool})

    class Options(shared.CreateOptions, _Own):
        """What OPTIONS says."""

USAGE = "run [options] CONTAINER"
ARGS = (1, 1)
OPTIONS = shared.CREATE_OPTIONS + (
    (("detach", "d"), "flag", False, "detach from the container's process"),
    (("keep", None), "flag", False, "do not delete the container after it exits"),
    (("no-subreaper", None), "flag", False, "do not adopt the container's orphans"),
)


def run(globals_: Globals, options: Options, args: list[str]) -> int:
    making: Making | None = None
    if options.get("detach"):
        making = shared.make(globals_, options, args[0], gate=False)
        _started(making)
        if making.proxy:
            lifecycle.wait_ready(making.container, making.proxy)
        return 0
    with_tty = foreground.Foreground(not options.get("no-subreaper"))
    try:
        making = shared.make(globals_, options, args[0], gate=False, foreground=with_tty)
        _started(making)
        return with_tty.wait(making.supervisor, making.proxy)
    finally:
        with_tty.close()
        _end(making, options.get("keep"), with_tty)


def _started(making: Making) -> None:
    """Returns when execve and the poststart hooks have succeeded. Otherwise nothing of the container is left."""
    try:
        making.supervisor.await_exec()
        making.container.unlock()  # while we wait
        lifecycle.poststart(making.container, making.config)
    except BaseException as err:
        making.fail(err)
        raise


def _end(making: Making | None, keep: bool, front: foreground.Foreground) -> None:
    """Its process is gone: take the rest away, unless somebody else (delete -f) has already done so."""
    if making is None:
        return
    container = making.container
    try:
        try:
            container.lock()
        except OSError:  # flock(2) itself has failed; what ended is still ours to take away
            pass
        if keep:
            if front.status is not None:
                container.record_exit(front.status, making.supervisor.oom)
            return
        pidfd = container.open_pidfd()
        if pidfd is not None:
            lifecycle.kill_and_wait(container, pidfd)
        for error in lifecycle.destroy(container):
            log.warning(error.message)
    except Error as err:
        if err.message != "container does not exist":
            raise
    except FileNotFoundError:
        pass
