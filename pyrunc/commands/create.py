"""`create ID`: set a container up completely; it waits at its gate for `start`."""

from __future__ import annotations

from ..typed import TYPE_CHECKING
from . import shared

if TYPE_CHECKING:
    from ..args import Globals

USAGE = "create [options] CONTAINER"
ARGS = (1, 1)
OPTIONS = shared.CREATE_OPTIONS


def run(globals_: Globals, options: shared.CreateOptions, args: list[str]) -> int:
    shared.make(globals_, options, args[0], gate=True)
    return 0
