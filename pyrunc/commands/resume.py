"""`resume ID`: let a paused container's processes go on."""

from __future__ import annotations

from .. import state
from ..errors import Error
from ..typed import TYPE_CHECKING
from . import pause

if TYPE_CHECKING:
    from ..args import Globals

USAGE = "resume CONTAINER"
ARGS = (1, 1)
OPTIONS = ()


def run(globals_: Globals, options: object, args: list[str]) -> int:
    with state.load(globals_["root"], args[0]) as container:
        container.lock()
        if container.status() != "paused":
            raise Error("container not paused")
        pause.freeze(container, False)
    return 0
