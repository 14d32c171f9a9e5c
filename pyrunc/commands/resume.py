"""`resume ID`: let a paused container's processes go on."""

from .. import state
from ..errors import Error
from . import pause

USAGE = "resume CONTAINER"
ARGS = (1, 1)
OPTIONS = ()


def run(globals_, options, args):
    with state.load(globals_["root"], args[0]) as container:
        container.lock()
        if container.status() != "paused":
            raise Error("container not paused")
        pause.freeze(container, False)
    return 0
