"""`exec --cgroup`: which groups below the container's own a process is put into. Pure.

    PATH                          below the container's group in every hierarchy; on a cgroup2 host there is but one
    CONTROLLER[,CONTROLLER]:PATH  below that of these v1 controllers; may be repeated, the others stay as they are

The texts are runc's. A path that climbs is refused whole, so a sibling that shares the group's name is out of reach.
"""

from __future__ import annotations


from pyrunc.errors import Error
from pyrunc.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def groups(own: str | None, v1: Sequence[Sequence[str]], arguments: Sequence[str]) -> tuple[str | None, list[list[str]]]:
    """(group in the cgroup2 tree or None, v1 rows as in state.json) with the arguments applied to the container's."""
    paths = _parse(arguments)
    if own is None and not v1:
        raise Error("invalid --cgroup argument: the container has no cgroup")
    if "" in paths:
        rest = _relative(paths[""])
        return own and own + rest, [[controllers, mount, path + rest] for controllers, mount, path in v1]
    rows = []
    for controllers, mount, path in v1:
        named = [paths.pop(name) for name in controllers.split(",") if name in paths]
        if len(named) > 1:
            raise Error(f"invalid --cgroup argument(s): controller {controllers} specified multiple times")
        rows.append([controllers, mount, path + (_relative(named[0]) if named else "")])
    for name in paths:
        raise Error(f"unknown controller {name} in SubCgroupPaths")
    return own, rows


def _parse(arguments: Sequence[str]) -> dict[str, str]:
    """{controller, or "" for all: path}"""
    paths: dict[str, str] = {}
    for argument in arguments:
        controllers, colon, path = argument.partition(":")
        if not colon:
            controllers, path = "", argument
            if len(arguments) > 1:
                raise Error(f"invalid --cgroup argument: {argument} (missing <controller>: prefix)")
        for name in controllers.split(","):
            if colon and not name:
                raise Error(f"invalid --cgroup argument: {argument} (empty <controller> prefix)")
            if name in paths:
                raise Error(f"invalid --cgroup argument(s): controller {name} specified multiple times")
            paths[name] = path
    return paths


def _relative(path: str) -> str:
    """What is to be appended to a group: "" or "/a/b"."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in path:
        raise Error(f"bad sub cgroup path: {path}")
    return "".join([f"/{part}" for part in parts])
