"""`ps ID [ps options]`: the processes in the container's cgroup."""

from __future__ import annotations

import subprocess

from .. import log, state
from ..errors import Error
from ..jsonio import dumps
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypedDict

    from ..args import Globals
    from ..state import Container

    class Options(TypedDict):
        format: str
        help: bool

USAGE = "ps [options] CONTAINER [ps options]"
ARGS = (1, None)
OPTIONS = ((("format", "f"), "str", "table", "table or json"),)
STOP_AT_ID = True


def run(globals_: Globals, options: Options, args: list[str]) -> int:
    with state.load(globals_["root"], args[0]) as container:
        pids = _pids(container)
    if options["format"] == "json":
        log.out(dumps(sorted(pids)) + "\n")
        return 0
    if options["format"] != "table":
        raise Error("invalid format option", "the formats are table and json")
    _table({b"%d" % pid for pid in pids}, args[1:] or ["-ef"])
    return 0


def _pids(container: Container) -> list[int]:
    group = container.cgroup()
    if group is None or not group.exists():
        raise Error("ps needs a cgroup, and the container has none")
    return group.pids(recursive=True)


def _table(wanted: set[bytes], options: list[str]) -> None:
    """As bytes: the names of other processes are not ours, and need not be UTF-8."""
    out = subprocess.run(["ps", *options], capture_output=True, check=False)
    if out.returncode:
        raise Error(f"ps: {(out.stderr.strip() or out.stdout.strip()).decode('utf-8', 'replace')}")
    lines = out.stdout.splitlines(True)
    if not lines or b"PID" not in lines[0].split():
        raise Error("couldn't find PID field in ps output")
    column = lines[0].split().index(b"PID")
    log.out_bytes(lines[0] + b"".join([line for line in lines[1:] if line.split()[column:column + 1] and line.split()[column] in wanted]))
