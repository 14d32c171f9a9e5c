"""`pause ID`: freeze every process of a container; returns when the kernel says that all of them stand."""

from .. import state
from ..errors import Error

USAGE = "pause CONTAINER"
ARGS = (1, 1)
OPTIONS = ()


def run(globals_, options, args):
    with state.load(globals_["root"], args[0]) as container:
        container.lock()
        if container.status() not in ("created", "running"):
            raise Error("container not running")
        freeze(container, True)
    return 0


def freeze(container, on):
    group = container.cgroup()
    if group is None:
        raise Error(f"cannot {'pause' if on else 'resume'} container {container.id}: it has no cgroup",
                    "a rootless container needs a linux.cgroupsPath that its user may write to")
    try:
        group.freeze(on)
    except Error:
        if not container.alive():
            raise Error("container not running") from None
        raise
