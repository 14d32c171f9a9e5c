"""Rules for a process object: that of config.json, and that of `exec --process`. See rules.py.

Each rule takes the process, whose types are right, and yields faults with pointers relative to it.
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING
from . import cpulist, names
from .fault import Fault, path_fault, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from .shape import Process

PROCESS = "config.md#process"
POSIX = "config.md#posix-process"
LINUX = "config.md#linux-process"
USER = "config.md#posix-platform-user"

IDS: tuple[Literal["uid", "gid"], ...] = ("uid", "gid")
SIZES: tuple[Literal["height", "width"], ...] = ("height", "width")
TIMES: tuple[Literal["runtime", "deadline", "period"], ...] = ("runtime", "deadline", "period")
AFFINITIES: tuple[Literal["initial", "final"], ...] = ("initial", "final")
NO_ID = 0xFFFFFFFF  # (uid_t)-1: "leave it as it is" to setresuid(2) and chown(2)
NGROUPS_MAX = 65536
WITH_NICE = {"SCHED_OTHER": True, "SCHED_BATCH": True}
REAL_TIME = {"SCHED_FIFO": True, "SCHED_RR": True}


def cwd(process: Process) -> Iterator[Fault]:
    path = process["cwd"]
    if not path:
        yield Fault("/cwd", "Cwd property must not be empty", PROCESS)
    elif not path.startswith("/"):
        yield Fault("/cwd", "Cwd must be an absolute path", PROCESS)
    else:
        yield from path_fault("/cwd", path, PROCESS, "Cwd")


def args(process: Process) -> Iterator[Fault]:
    if not process.get("args"):
        yield Fault("/args", "args must not be empty", PROCESS)


def env(process: Process) -> Iterator[Fault]:
    for index, entry in enumerate(process.get("env", ())):
        equals = entry.find("=")
        if equals < 0:
            yield Fault(f"/env/{index}", "invalid environment variable: missing '='", PROCESS)
        elif equals == 0:
            yield Fault(f"/env/{index}", "invalid environment variable: name cannot be empty", PROCESS)


def console_size(process: Process) -> Iterator[Fault]:
    # "Runtimes MUST ignore consoleSize if terminal is false or unset"; struct winsize has 16 bits for each
    if process.get("terminal") and "consoleSize" in process:
        for name in SIZES:
            if process["consoleSize"][name] > 0xFFFF:
                yield Fault("/consoleSize/" + name, "a terminal has at most 65535 rows and columns", PROCESS)


def user(process: Process) -> Iterator[Fault]:
    found = process.get("user", {})
    for name in IDS:
        if found.get(name) == NO_ID:
            yield Fault("/user/" + name, f"{name} {NO_ID} is not an id: the kernel takes it for -1", USER)
    if found.get("umask", 0) > 0o777:
        yield Fault("/user/umask", f"umask {found['umask']} is above 511 (octal 0777)", USER)
    groups = found.get("additionalGids", ())
    if len(groups) > NGROUPS_MAX:
        yield Fault("/user/additionalGids", f"more than {NGROUPS_MAX} groups", USER)
    for index, gid in enumerate(groups):
        if gid == NO_ID:
            yield Fault(f"/user/additionalGids/{index}", f"gid {NO_ID} is not an id: the kernel takes it for -1", USER)


def rlimits(process: Process) -> Iterator[Fault]:
    seen = {}
    for index, limit in enumerate(process.get("rlimits", ())):
        name, pointer = limit["type"], f"/rlimits/{index}"
        if name not in names.RLIMITS:
            yield Fault(pointer + "/type", f'wrong rlimit value: "{shown(name)}"', POSIX)
        elif name in seen:
            yield Fault(pointer + "/type", f"duplicated rlimit {name}", POSIX)
        seen[name] = True
        if limit["soft"] > limit["hard"]:
            yield Fault(pointer, f"the soft limit {limit['soft']} is above the hard limit {limit['hard']}", POSIX)


def scheduler(process: Process) -> Iterator[Fault]:
    found = process.get("scheduler")
    if found is None:
        return
    policy, nice, priority = found["policy"], found.get("nice", 0), found.get("priority", 0)
    times = [found.get(name, 0) for name in TIMES]
    if policy in WITH_NICE and not -20 <= nice <= 19:
        yield Fault("/scheduler/nice", f"invalid scheduler.nice: {nice} when scheduler.policy is {policy}", LINUX)
    if policy in REAL_TIME:
        if not 1 <= priority <= 99:
            yield Fault("/scheduler/priority", f"scheduler.priority of {policy} must be 1 to 99, not {priority}", LINUX)
    elif priority:
        yield Fault("/scheduler/priority",
                    "scheduler.priority can only be specified for SchedFIFO or SchedRR policy", LINUX)
    if policy == "SCHED_DEADLINE":
        # sched(7): runtime <= deadline <= period; a period of 0 is the deadline
        if not 0 < times[0] <= times[1] <= (times[2] or times[1]):
            yield Fault("/scheduler", "SCHED_DEADLINE needs 0 < runtime <= deadline <= period", LINUX)
    elif any(times):
        yield Fault("/scheduler",
                    "scheduler runtime/deadline/period can only be specified for SchedDeadline policy", LINUX)


def io_priority(process: Process) -> Iterator[Fault]:
    found = process.get("ioPriority")
    if found is not None and not 0 <= found.get("priority", 0) <= 7:
        yield Fault("/ioPriority/priority", f"invalid ioPriority.Priority: {found['priority']}", LINUX)


def exec_cpu_affinity(process: Process) -> Iterator[Fault]:
    found = process.get("execCPUAffinity", {})
    for name in AFFINITIES:
        text = found.get(name)
        if text and not cpulist.parse(text):
            yield Fault("/execCPUAffinity/" + name,
                        f"bad CPUAffinity.{name.capitalize()}: not a list of CPUs such as 0-3,7", LINUX)


RULES = (cwd, args, env, user, rlimits, scheduler, io_priority, exec_cpu_affinity, console_size)
