"""`kill ID [SIGNAL]`: a signal to the container's init, by pidfd and start time, so never to another process."""

import _signal

from .. import state
from ..config.names import signal_number
from ..errors import Error

USAGE = "kill [options] CONTAINER [SIGNAL]"
ARGS = (1, 2)
OPTIONS = ((("all", "a"), "flag", False, "obsolete: a stopped container is no error"),)
STOP_AT_ID = True
LOCK_WAIT_MS = 2000


def run(globals_, options, args):
    number = signal_number(args[1] if len(args) > 1 else "SIGTERM")
    if number is None:
        raise Error(f'unknown signal "{args[1]}"')
    container = state.load(globals_["root"], args[0])
    try:
        # a create or start in progress first comes to its end; one that hangs does not keep the signal back
        container.lock(LOCK_WAIT_MS)
    except Error as err:
        if err.errno:
            raise
    pidfd = container.open_pidfd()
    if pidfd is None:
        if options.get("all"):
            return 0
        raise Error("container not running")
    group = container.cgroup()
    if number == 9 and container.data.get("pid_shared") and group is not None and group.exists():
        group.kill()
    try:
        _signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        if not options.get("all"):
            raise Error("container not running") from None
    return 0
