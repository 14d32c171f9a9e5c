"""`list`: every container of the state root, as a table, as JSON, or ids only."""

from __future__ import annotations

import posix

from .. import log, state
from ..errors import Error
from ..jsonio import dumps
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypedDict

    from ..args import Globals

    class Options(TypedDict):
        format: str
        quiet: bool
        help: bool

USAGE = "list [options]"
ARGS = (0, 0)
OPTIONS = (
    (("format", "f"), "str", "table", "table or json"),
    (("quiet", "q"), "flag", False, "ids only"),
)
COLUMNS = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")


def run(globals_: Globals, options: Options, args: list[str]) -> int:
    if options["format"] not in ("table", "json"):
        raise Error("invalid format option", "the formats are table and json")
    if globals_.get("root-given"):
        posix.close(state.open_root(globals_["root"]))  # a root that was named must exist
    rows = _rows(globals_["root"])
    if options["quiet"]:
        text = "".join([f"{row['id']}\n" for row in rows])
    elif options["format"] == "json":
        text = (dumps(rows) if rows else "null") + "\n"
    else:
        text = _table([COLUMNS] + [tuple([str(row[c.lower()]) for c in COLUMNS]) for row in rows])
    log.out(text)
    return 0


def _rows(root: str) -> list[dict[str, object]]:
    rows = []
    for name in state.every(root):
        try:
            rows.append(_row(root, name))
        except (Error, OSError) as err:
            if not _there(root, name):  # deleted while we looked
                continue
            posix.write(2, f"load container {name}: {err}\n".encode("utf-8", "backslashreplace"))
    return rows


def _row(root: str, name: str) -> dict[str, object]:
    container = state.load(root, name)
    try:
        with container:
            return {**container.describe(), "owner": _owner(posix.fstat(container.dirfd).st_uid)}
    finally:
        posix.close(container.dirfd)


def _there(root: str, name: str) -> bool:
    try:
        posix.lstat(f"{root}/{name}")
        return True
    except OSError:
        return False


def _owner(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def _table(rows: list[tuple[str, ...]]) -> str:
    """Columns at least 12 wide, three spaces apart, as runc prints them."""
    widths = [max([12] + [len(row[i]) + 3 for row in rows]) for i in range(len(COLUMNS))]
    return "".join(["".join([cell.ljust(w) for cell, w in zip(row[:-1], widths, strict=False)]) + row[-1] + "\n" for row in rows])
