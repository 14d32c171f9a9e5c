"""`state ID`: the OCI state as JSON on stdout."""

from __future__ import annotations

from .. import log, state
from ..jsonio import dumps
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from ..args import Globals

USAGE = "state CONTAINER"
ARGS = (1, 1)
OPTIONS = ()


def run(globals_: Globals, options: object, args: list[str]) -> int:
    with state.load(globals_["root"], args[0]) as container:
        log.out(dumps(container.describe(), indent=2))
    return 0
