"""The process object: scheduling, terminal, working directory, PATH lookup, environment."""

from __future__ import annotations

from errno import EACCES, EPERM, EROFS

from ..config import cpulist, names
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config.shape import Linux, Process, Scheduler
    from .namespaces import Namespaces
    from .script import Plan

ALL_CPUS = b"\xff" * 1024  # 8192, the most that a kernel is built for; sched_setaffinity(2) takes what is there of them


def scheduling(plan: Plan, process: Process, linux: Linux) -> None:
    """What init sets on itself. (AFFINITY stands elsewhere: create resets it first of all, exec after v1 groups are joined.)"""
    sched = process.get("scheduler")
    if sched:
        plan.add("I", "SCHED", (), (_sched_attr(sched),), source="/process/scheduler")
    ioprio = process.get("ioPriority")
    if ioprio:
        value = names.IOPRIO_CLASSES[ioprio["class"]] << 13 | ioprio.get("priority", 0)
        plan.add("I", "IOPRIO", (), (value,), source="/process/ioPriority")
    persona = linux.get("personality")
    if persona:
        plan.add("I", "PERSONALITY", (), (names.PERSONALITIES[persona["domain"]],), source="/linux/personality")
    policy = linux.get("memoryPolicy")
    if policy:
        mode = names.MEMORY_POLICIES[policy["mode"]]
        for flag in policy.get("flags", []):
            mode |= names.MEMORY_POLICY_FLAGS[flag]
        plan.add("I", "MEMPOLICY", (), (mode, bitmask(policy.get("nodes", ""))), source="/linux/memoryPolicy")


def _sched_attr(sched: Scheduler) -> bytes:
    """struct sched_attr, sched_setattr(2), size 48."""
    flags = 0
    for flag in sched.get("flags", []):
        flags |= names.SCHED_FLAGS[flag]
    return (
        (48).to_bytes(4, "little")
        + names.SCHED_POLICIES[sched["policy"]].to_bytes(4, "little")
        + flags.to_bytes(8, "little")
        + sched.get("nice", 0).to_bytes(4, "little", signed=True)
        + sched.get("priority", 0).to_bytes(4, "little")
        + b"".join([time.to_bytes(8, "little") for time in (sched.get("runtime", 0), sched.get("deadline", 0), sched.get("period", 0))])
    )


def bitmask(text: str) -> bytes:
    """A checked list such as `0-3,7` as a mask, least significant byte first, whole 8-byte words."""
    bits = cpulist.parse(text) or 0
    return bits.to_bytes((bits.bit_length() + 63) // 64 * 8, "little")


def working_directory(plan: Plan, process: Process) -> None:
    """Made if missing, while the root can still be written."""
    path = process["cwd"].strip("/")
    if path:
        plan.add("I", "MKDIR", ("root",), (path, 0o755), (EACCES, EPERM, EROFS), source="/process/cwd")


def stdio(plan: Plan, process: Process, with_console: bool) -> None:
    """A terminal, or what init was born with, given to the process's user."""
    if process.get("terminal"):
        _terminal(plan, process, with_console)
    else:
        plan.add("I", "CHOWN_STDIO", (), (process["user"].get("uid", 0),), source="/process/user/uid")


def give_stdio(plan: Plan, process: Process, detach: bool, ns: Namespaces) -> None:
    """In a user namespace init may not: it owns nothing that was made outside. In the foreground the pipes are ours to give;
    what a manager has made it gives itself."""
    if ns.private("user") and not (process.get("terminal") or detach):
        plan.add("H", "GIVE_STDIO", (), (process["user"].get("uid", 0),), source="/process/user/uid")


def _terminal(plan: Plan, process: Process, with_console: bool) -> None:
    """A pty of the container's devpts; its master goes to the supervisor, its peer becomes stdio and /dev/console."""
    size = process.get("consoleSize") or {"height": 0, "width": 0}
    plan.source = "/process/terminal"
    rows, columns = size["height"] & 0xFFFF, size["width"] & 0xFFFF
    plan.add("I", "PTY", ("root", "master", "peer"), (rows, columns, process["user"].get("uid", 0)))
    if with_console:
        from .rootfs import CONSOLE_FLAGS

        plan.add("I", "ATTACH", ("peer", "root"), ("dev/console", CONSOLE_FLAGS, 0o600))
    plan.sync("I", send="master")
    plan.add("H", "CONSOLE", ("master",), ())
    plan.add("I", "CTTY", ("peer",))


def environment(process: Process, listen_fds: int = 0, notify: bool = False) -> list[str]:
    """env, the last of two equal names winning, in the place of the first; plus what the runtime hands on."""
    env = list(process.get("env", []))
    if listen_fds:
        env += [f"LISTEN_FDS={listen_fds}", "LISTEN_PID=1"]
    if notify:
        env.append("NOTIFY_SOCKET=/run/notify/notify.sock")
    last = {}
    for entry in env:
        last[entry.partition("=")[0]] = entry
    if last.get("HOME") == "HOME=":  # an empty one is none, as with runc
        del last["HOME"]
    return list(last.values())


def candidates(args: Sequence[str], env: Sequence[str]) -> list[str]:
    """Where execve will look for args[0]: as it stands with a slash in it, else along the container's PATH."""
    name = args[0]
    if "/" in name:
        return [name]
    path = [entry[5:] for entry in env if entry.startswith("PATH=")]
    directories = path[-1].split(":") if path else []
    return [f"{directory or '.'}/{name}" for directory in directories]
