"""`start ID`: let a created container execute its process; fails if its startContainer hook or execve does."""

from .. import lifecycle, state

USAGE = "start CONTAINER"
ARGS = (1, 1)
OPTIONS = ()


def run(globals_, options, args):
    with state.load(globals_["root"], args[0]) as container:
        container.lock()
        lifecycle.start(container)
        lifecycle.poststart(container, container.config())
    return 0
