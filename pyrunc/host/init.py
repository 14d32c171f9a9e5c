"""Init as it is seen from outside.

Init's own word comes over a socket or a fifo that a process in the container may reach (with CAP_SYS_PTRACE, by /proc/1/fd or
pidfd_getfd(2)), and its silence may be the doing of a seccomp agent. So its word explains, and the kernel decides.
"""

from __future__ import annotations

import posix

from ..config.names import SIGNALS
from ..errors import Error
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from ..config.shape import Config

SIGSYS = SIGNALS["SYS"]
PATIENCE_MS = 10000  # how long init may be silent where nothing but its own few calls is in its way
PF_EXITING = 4  # of the flags in /proc/PID/stat


def name(pid: int) -> bytes | None:
    """The command name of a process, also of a zombie; None when it is gone."""
    return glance(pid)[0]


def glance(pid: int, start: int | None = None) -> tuple[bytes | None, bool]:
    """(command name, whether it ends) of a process; (None, True) when it is gone. execve(2) changes the name, and anybody may
    read it. What ends may do so for long: pid 1 of a pid namespace waits for those in it, whose parents may be outside.

    start  its start time, if another process may have its pid by now (field 22 of /proc/PID/stat)
    """
    before, _, after = _read(pid, "stat").rpartition(b")")
    fields = after.split()
    if not before or (start is not None and int(fields[19]) != start):
        return None, True
    return before.partition(b"(")[2], fields[0] == b"Z" or bool(int(fields[6]) & PF_EXITING)


def parent(pid: int) -> int:
    """The pid of the parent, of a zombie too; 0 when there is no such process."""
    found = _read(pid, "stat")
    return int(found.rpartition(b")")[2].split()[1]) if found else 0


def held(pid: int) -> str | None:
    """The system call in which a seccomp filter holds the process until its agent answers; "" when none does so, None
    when that may not be looked at (proc(5), wchan and syscall: as root of the process's user namespace)."""
    where = _read(pid, "wchan")
    if not where.startswith(b"seccomp_do_user_notification"):
        return "" if where not in (b"", b"0") else None
    from .. import kernel_seccomp

    number = _read(pid, "syscall").partition(b" ")[0]
    return kernel_seccomp.syscall_name(int(number)) if number.isdigit() else "a system call"


def held_error(config: Config, call: str | None) -> Error:
    """The Error of an agent that does not answer. call: as `held` says, or None."""
    rules = config["linux"]["seccomp"]["syscalls"]
    places = [i for i, rule in enumerate(rules) if rule["action"] == "SCMP_ACT_NOTIFY" and call in rule["names"]]
    pointer = f"/linux/seccomp/syscalls/{places[0]}" if places else "/linux/seccomp"
    what = f"{call}(2)" if call else "a system call"
    return Error(f"config.json: {pointer}: the filter holds container init in {what}: the seccomp agent has not answered "
                 f"for {PATIENCE_MS // 1000} seconds", pointer=pointer,
                 hint="the agent has to answer the calls that init makes before the process runs: does it serve this listener?")


def killed_by_filter(status: int | None) -> bool:
    """Whether this end, a wait status, is that of SECCOMP_RET_KILL or _TRAP. (Init asks for signals with 128 + number.)"""
    return status is not None and (status & 0x7F == SIGSYS or status >> 8 == 128 + SIGSYS)


def _read(pid: int, what: str) -> bytes:
    try:
        fd = posix.open(f"/proc/{pid}/{what}", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return posix.read(fd, 4096).strip()
    except OSError:
        return b""
    finally:
        posix.close(fd)
