"""`start ID`: let a created container execute its process; fails if its startContainer hook or execve does."""

from __future__ import annotations

from .. import lifecycle, state
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from ..args import Globals

USAGE = "start CONTAINER"
ARGS = (1, 1)
OPTIONS = ()


def run(globals_: Globals, options: object, args: list[str]) -> int:
    with state.load(globals_["root"], args[0], lock=True) as container:
        container.lock()
        lifecycle.poststart(container, lifecycle.start(container))
    return 0
