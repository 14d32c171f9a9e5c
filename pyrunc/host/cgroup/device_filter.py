"""Put a container's device rules into force: load the eBPF program and attach it to the cgroup2 directory.

At `create` this is done before init gets its plan, so that no device is open to anything of the container even for a moment.
At `update` the new program takes the place of the old one in a single step. The inverse of attaching is
removing the group; nothing has to be undone by hand, and nothing outlives the group.
"""

from __future__ import annotations

import posix

from pyrunc import kernel_bpf
from pyrunc.errors import from_oserror
from pyrunc.plan import device_rules
from pyrunc.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    Rules = list[tuple[str, int, int, str, bool]]


def apply(dirfd: int, rules: Rules, fresh: bool = False, may_fail: bool = False) -> bool:
    """Enforce `rules` (device_rules.rules) on the group behind `dirfd`. True if a program is attached now.

    fresh     the group was just created: nothing can be attached to it, so nobody is asked
    may_fail  the caller is in a user namespace, where bpf(2) is denied; the group is then left unfiltered, which is
              harmless: an unprivileged user's device nodes are bind mounts of what it may open anyway
    """
    needless = device_rules.permits_everything(device_rules.policy(rules))
    if needless and fresh:
        return False
    try:
        old = [] if fresh else kernel_bpf.device_query(dirfd)
        if needless and not old:
            return False
        _install(dirfd, device_rules.program(rules), old)
        return True
    except OSError as err:
        if may_fail or needless:
            return False
        raise from_oserror(err, f"device rules: {err.filename}")


def _install(dirfd: int, code: bytes, old: Sequence[int]) -> None:
    """One old program is replaced without a window; several (or none) get the new one beside them before they go."""
    program = kernel_bpf.device_load(code)
    opened: list[int] = []
    try:
        for program_id in old:
            opened.append(kernel_bpf.device_open(program_id))
        if len(opened) == 1:
            kernel_bpf.device_attach(dirfd, program, replace=opened[0])
            return
        kernel_bpf.device_attach(dirfd, program)
        for fd in opened:
            kernel_bpf.device_detach(dirfd, fd)
    finally:
        for fd in opened + [program]:
            posix.close(fd)
