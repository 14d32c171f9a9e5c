"""Writing a user namespace's maps: directly when we may, else by newuidmap and newgidmap. user_namespaces(7).

An ordinary user may map one id, the user's own. For more there are the helpers: setuid programs that know which ids belong to
the user (subuid(5)). They were found on the caller's PATH before anything of the container existed (facts.py), and get its
environment less everything but PATH.
"""

from __future__ import annotations

import posix
from errno import EPERM

from ..errors import Error
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FILES = {"uid_map": ("newuidmap", "/linux/uidMappings", "/etc/subuid"), "gid_map": ("newgidmap", "/linux/gidMappings", "/etc/subgid")}


def write(pid: int, uid_map: str, gid_map: str, setgroups: str, helpers: Sequence[str]) -> None:
    """The maps of process `pid`, gid after setgroups (an unprivileged gid map needs setgroups denied first)."""
    if setgroups:
        _put(pid, "setgroups", setgroups)
    for file, text, helper in (("uid_map", uid_map, helpers[0]), ("gid_map", gid_map, helpers[1])):
        try:
            _put(pid, file, text)
        except OSError as err:
            if err.errno != EPERM or posix.geteuid() == 0:
                raise
            _by_helper(pid, file, text, helper)


def _put(pid: int, name: str, text: str) -> None:
    path = f"/proc/{pid}/{name}"
    fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
    try:
        posix.write(fd, text.encode())
    except OSError as err:
        raise OSError(err.errno, err.strerror, f"write {shown(text)} to {name}") from None
    finally:
        posix.close(fd)


def shown(text: str) -> str:
    """A map on one line, and not all 340 of it."""
    lines = text.strip().split("\n")
    return ", ".join(lines[:3]) + (f", ... ({len(lines)} ranges)" if len(lines) > 3 else "")


def _by_helper(pid: int, file: str, text: str, helper: str) -> None:
    program, pointer, listed = FILES[file]
    if not helper:
        raise Error(f"config.json: {pointer}: mapping {shown(text)} needs {program}, which is not in $PATH",
                    "install it (package uidmap or shadow-utils), or map only your own id to 0", pointer=pointer, errno=EPERM)
    from .. import kernel_hook
    from .hooks import status_text

    path = posix.environ.get(b"PATH", b"").decode("utf-8", "surrogateescape")
    status, _, _, said = kernel_hook.run(helper, [program, str(pid), *text.split()], [f"PATH={path}"])
    if status:
        words = said[0].decode("utf-8", "replace").strip().replace("\n", "; ")
        raise Error(f"config.json: {pointer}: {helper}: {words or status_text(status)}",
                    f"the ids must be your own or lie in a range that {listed} gives you", pointer=pointer, errno=EPERM)


def check_same(there: Sequence[str], wanted: Sequence[str]) -> None:
    """A joined user namespace has its maps already: those of config.json may only say the same."""
    for pointer, found, text in zip(("/linux/uidMappings", "/linux/gidMappings"), there, wanted, strict=True):
        has, asked = [[" ".join(line.split()) for line in lines.splitlines()] for lines in (found, text)]
        if sorted(has) != sorted(asked):
            raise Error(f"config.json: {pointer}: the user namespace to join has a different mapping: " + shown("\n".join(has)),
                        "leave the mappings out: the namespace has its own", pointer=pointer)


# What forbids user namespaces, or takes all rights in them away, to ordinary users: file, value, cure.
KNOBS = (
    ("/proc/sys/user/max_user_namespaces", b"0", "sysctl -w user.max_user_namespaces=10000"),
    ("/proc/sys/kernel/unprivileged_userns_clone", b"0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", b"1",
     "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give pyrunc an AppArmor profile with `userns,`"),
)


def forbidden() -> str | None:
    """The cure when the host forbids user namespaces, or None: a hint for an op that has failed in or for one."""
    for path, value, cure in KNOBS:
        try:
            fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        except OSError:
            continue
        try:
            if posix.read(fd, 16).strip() == value:
                return f"this host has {path[len('/proc/sys/'):].replace('/', '.')}={value.decode()}: {cure}"
        finally:
            posix.close(fd)
    return None
