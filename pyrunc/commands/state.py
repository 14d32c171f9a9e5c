"""`state ID`: the OCI state as JSON on stdout."""

from .. import log, state
from ..jsonio import dumps

USAGE = "state CONTAINER"
ARGS = (1, 1)
OPTIONS = ()


def run(globals_, options, args):
    with state.load(globals_["root"], args[0]) as container:
        log.out(dumps(container.describe(), indent=2))
    return 0
