"""`pause ID`: freeze every process of a container; returns when the kernel says that all of them stand."""

from __future__ import annotations

from .. import state
from ..errors import Error
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from ..args import Globals
    from ..state import Container

USAGE = "pause CONTAINER"
ARGS = (1, 1)
OPTIONS = ()


def run(globals_: Globals, options: object, args: list[str]) -> int:
    with state.load(globals_["root"], args[0]) as container:
        container.lock()
        if container.status() not in ("created", "running"):
            raise Error("container not running")
        freeze(container, True)
    return 0


def freeze(container: Container, on: bool) -> None:
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
