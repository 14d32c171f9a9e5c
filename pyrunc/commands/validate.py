"""`pyrunc validate`: every fault of a bundle's config.json at once, with its place and the specification's section.

Needs no root and changes nothing. What depends on the host (kernel, cgroups, LSMs) is not looked at, except that the
rootfs has to be there. Exit code 1 if there is any fault. A property that is accepted and has no effect is noted; it is not a fault.
"""

from __future__ import annotations

import posix

from .. import jsonio, log
from ..config import ignored, load, report
from ..config.fault import Fault, shown
from ..errors import Error
from ..typed import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from typing import TypedDict

    from ..args import Globals
    from ..config.shape import Config
    from ..jsonio import Json

    class Options(TypedDict):
        bundle: str
        format: str
        help: bool

USAGE = "validate [-b BUNDLE] [--format text|json]"
ARGS = (0, 0)
OPTIONS = (
    (("bundle", "b"), "str", "", "path of the bundle (default: the current directory)"),
    (("format", "f"), "str", "text", "text or json"),
)

_S_IFMT, _S_IFDIR = 0o170000, 0o040000


def run(_globals: Globals, options: Options, _args: list[str]) -> int:
    if options["format"] not in _FORMS:
        raise Error("invalid format option", "the formats are text and json")
    bundle = options["bundle"] or "."
    raw, notes = load.read(bundle), []
    try:
        config = load.parse(raw)
    except Error as err:
        found = [Fault("", err.message, "config.md")]
    else:
        found = report.every(config)
        found += rootfs_faults(bundle, config, found)
        notes = list(ignored.notes(config))
    log.out(_FORMS[options["format"]](found, notes))
    return 1 if found else 0


def rootfs_faults(bundle: str, config: dict[str, Json], found: list[Fault]) -> list[Fault]:
    """Whether root.path is a directory, if the config says anything readable about it."""
    if any([fault.pointer in ("", "/root", "/root/path") for fault in found]) or "root" not in config:
        return []
    path = cast("Config", config)["root"]["path"]
    try:
        mode = posix.stat(path if path.startswith("/") else bundle + "/" + path).st_mode
    except OSError as err:
        return [Fault("/root/path", f'"{shown(path)}": {(err.strerror or "cannot be used").lower()}', "config.md#root")]
    if mode & _S_IFMT != _S_IFDIR:
        return [Fault("/root/path", f'"{shown(path)}": not a directory', "config.md#root")]
    return []


def _text(found: list[Fault], notes: list[Fault]) -> str:
    lines = [f"{mark}{shown(fault.pointer) or '/'}: {fault.message} ({fault.section})\n"
             for mark, listed in (("", found), ("note: ", notes)) for fault in listed]
    return "".join(lines) + ("" if found else "config.json: no faults\n")


def _json(found: list[Fault], notes: list[Fault]) -> str:
    rows = [{"pointer": fault.pointer, "message": fault.message, "section": fault.section} for fault in found]
    rows += [{"pointer": note.pointer, "message": note.message, "section": note.section, "level": "note"} for note in notes]
    return jsonio.dumps(rows, indent=2) + "\n"


_FORMS = {"text": _text, "json": _json}
