"""`ps ID [ps options]`: the processes in the container's cgroup."""

import subprocess
import sys

from .. import log, state
from ..errors import Error
from ..jsonio import dumps

USAGE = "ps [options] CONTAINER [ps options]"
ARGS = (1, None)
OPTIONS = ((("format", "f"), "str", "table", "table or json"),)
STOP_AT_ID = True


def run(globals_, options, args):
    container = state.load(globals_["root"], args[0])
    group = container.cgroup()
    if group is None or not group.exists():
        raise Error("ps needs the container's cgroup, and it has none")
    pids = group.pids(recursive=True)
    if options["format"] == "json":
        log.out(dumps(sorted(pids)) + "\n")
        return 0
    if options["format"] != "table":
        raise Error("invalid format option", "it is table or json")
    out = subprocess.run(["ps", *(args[1:] or ["-ef"])], capture_output=True, text=True, check=False)
    if out.returncode:
        raise Error(f"ps: {out.stderr.strip() or out.stdout.strip()}")
    lines = out.stdout.splitlines()
    if not lines or "PID" not in lines[0].split():
        raise Error("couldn't find PID field in ps output")
    column = lines[0].split().index("PID")
    wanted = {str(pid) for pid in pids}
    sys.stdout.write(lines[0] + "\n")
    for line in lines[1:]:
        fields = line.split()
        if len(fields) > column and fields[column] in wanted:
            sys.stdout.write(line + "\n")
    return 0
