"""What a rule says is wrong, and the view of a config the rules look at. Used by the rules_*.py modules only."""

from __future__ import annotations

from ..typed import TYPE_CHECKING
from . import mountopts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .shape import Config

PATH_MAX = 4096  # with its NUL, linux/limits.h


class Fault:
    """One fault: where it stands (JSON pointer), what is wrong, which section of the specification says so."""

    __slots__ = ("pointer", "message", "section")

    def __init__(self, pointer: str, message: str, section: str) -> None:
        self.pointer = pointer
        self.message = message
        self.section = section

    def __repr__(self) -> str:
        return f"Fault({self.pointer!r}, {self.message!r}, {self.section!r})"


Settled = tuple[list[Fault], list[Fault]]  # what keys.settle says of keys: those taken for others, those dropped


class View:
    """A config whose types schema_gen has found right, and what several rules derive from it.

    namespaces  {type: path, or "" for a new one}; the last one of a duplicated type
    options     the MountOptions of each mount
    """

    __slots__ = ("config", "linux", "process", "mounts", "namespaces", "options")

    def __init__(self, config: Config) -> None:
        self.config = config
        self.linux = config.get("linux", {})
        self.process = config.get("process", {})
        self.mounts = config.get("mounts", [])
        self.namespaces: dict[str, str] = {entry["type"]: entry.get("path", "") for entry in self.linux.get("namespaces", ())}
        self.options = [mountopts.parse(mount.get("options", ())) for mount in self.mounts]


def too_long(path: str) -> bool:
    """Whether no system call can take this path. At most four bytes make a character, so most need no encoding."""
    return len(path) > 1023 and len(path.encode("utf-8", "surrogateescape")) >= PATH_MAX


def path_fault(pointer: str, path: str, section: str, what: str = "path") -> Iterator[Fault]:
    """Yield what is wrong with a path that has to be absolute."""
    if not path.startswith("/"):
        yield Fault(pointer, f'{what} "{shown(path)}" must be absolute', section)
    elif too_long(path):
        yield Fault(pointer, f"{what} is longer than {PATH_MAX - 1} bytes", section)


def shown(text: str) -> str:
    """Text from a config inside a one-line message: short, and without control characters."""
    short = text if len(text) <= 160 else text[:157] + "..."
    return short if short.isprintable() else ascii(short)[1:-1]
