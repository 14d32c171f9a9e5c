"""`state ID`: the OCI state as JSON on stdout."""

import posix

from .. import state
from ..jsonio import dumps

USAGE = "state CONTAINER"
ARGS = (1, 1)
OPTIONS = ()


def run(globals_, options, args):
    with state.load(globals_["root"], args[0]) as container:
        text = dumps(container.describe(), indent=2)
    posix.write(1, text.encode("utf-8", "surrogateescape"))
    return 0
