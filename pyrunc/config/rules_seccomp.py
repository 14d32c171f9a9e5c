"""Rules for `linux.seccomp` (config-linux.md#seccomp). See rules.py."""

from __future__ import annotations

from ..typed import TYPE_CHECKING
from . import names
from .fault import Fault, path_fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .fault import View
    from .shape import Seccomp, Syscall

SECCOMP = "config-linux.md#seccomp"
SUN_PATH = 108  # unix(7); of an abstract name the first byte is NUL
MAX_ERRNO = 4095  # seccomp(2), linux/err.h
MAX_ARGUMENT = 5


def seccomp(view: View) -> Iterator[Fault]:
    found = view.linux.get("seccomp")
    if found is None:
        return
    default = found["defaultAction"]
    if not default:
        # what a Go caller writes for "no seccomp"
        if found.get("syscalls"):
            yield Fault("/linux/seccomp/defaultAction", "defaultAction must not be empty", SECCOMP)
        return
    if default == "SCMP_ACT_NOTIFY":
        yield Fault("/linux/seccomp/defaultAction", "SCMP_ACT_NOTIFY cannot be used as default action", SECCOMP)
    yield from _errno(found.get("defaultErrnoRet"), "defaultErrnoRet", default, "/linux/seccomp")
    for index, rule in enumerate(found.get("syscalls", ())):
        yield from _rule(rule, f"/linux/seccomp/syscalls/{index}")
    yield from _listener(found)


def _rule(rule: Syscall, pointer: str) -> Iterator[Fault]:
    action, called = rule["action"], rule["names"]
    if "errnoRet" in rule:
        yield from _errno(rule["errnoRet"], "errnoRet", action, pointer)
    if "" in called:
        yield Fault(pointer + "/names", "the name of a syscall must not be empty", SECCOMP)
    if action == "SCMP_ACT_NOTIFY" and "write" in called:
        # the runtime itself has to write before the agent has the listener
        yield Fault(pointer, "SCMP_ACT_NOTIFY cannot be used for the write syscall", SECCOMP)
    for index, arg in enumerate(rule.get("args", ())):
        if arg["index"] > MAX_ARGUMENT:
            yield Fault(f"{pointer}/args/{index}/index", f"a syscall has arguments 0 to {MAX_ARGUMENT}", SECCOMP)


def _errno(number: int | None, name: str, action: str, pointer: str) -> Iterator[Fault]:
    if number is None:
        return
    if action not in names.SECCOMP_ACTIONS_WITH_ERRNO:
        yield Fault(f"{pointer}/{name}", f"{name} cannot be used with {action}", SECCOMP)
    elif number > (MAX_ERRNO if action == "SCMP_ACT_ERRNO" else 0xFFFF):
        yield Fault(f"{pointer}/{name}", f"{name} {number} is too large", SECCOMP)


def _listener(found: Seccomp) -> Iterator[Fault]:
    path = found.get("listenerPath", "")
    if path.startswith("@"):
        if len(path.encode("utf-8", "surrogateescape")) > SUN_PATH:
            yield Fault("/linux/seccomp/listenerPath", f"an abstract name is longer than {SUN_PATH - 1} bytes", SECCOMP)
    elif path:
        yield from path_fault("/linux/seccomp/listenerPath", path, SECCOMP, "listenerPath")
    elif found.get("listenerMetadata"):
        yield Fault("/linux/seccomp/listenerMetadata", "listenerMetadata must not be set without listenerPath", SECCOMP)
    if not path and "SCMP_ACT_NOTIFY" in [rule["action"] for rule in found.get("syscalls", ())]:
        yield Fault("/linux/seccomp", "seccomp listenerPath is not set", SECCOMP)


RULES = (seccomp,)
