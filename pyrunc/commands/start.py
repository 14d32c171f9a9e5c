"""`start ID`: let a created container execute its process; fails if its startContainer hook or execve does."""

from .. import lifecycle, state

USAGE = "start CONTAINER"
ARGS = (1, 1)
OPTIONS = ()


def run(globals_, options, args):
    container = state.load(globals_["root"], args[0])
    container.lock()
    lifecycle.start(container)
    lifecycle.poststart(container, container.config())
    return 0
