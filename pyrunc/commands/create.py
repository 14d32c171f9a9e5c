"""`create ID`: set a container up completely; it waits at its gate for `start`."""

from . import shared

USAGE = "create [options] CONTAINER"
ARGS = (1, 1)
OPTIONS = shared.CREATE_OPTIONS


def run(globals_, options, args):
    shared.make(globals_, options, args[0], gate=True)
    return 0
