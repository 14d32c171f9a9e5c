"""linux.seccomp, lowered to what libseccomp and seccomp(2) take: numbers, names and a flat list of rules. (Pure.)

The rules are runc's (docs/compatibility.md, "Seccomp"). What the config validator has already
refused is refused here again where it would otherwise be lost silently: a filter is a promise.
"""

from __future__ import annotations

from errno import ENOSYS, EPERM

from pyrunc.config.names import SECCOMP_ACTIONS, SECCOMP_ARCHS, SECCOMP_FLAGS, SECCOMP_OPERATORS
from pyrunc.errors import Error
from pyrunc.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeVar

    from pyrunc.config.shape import Seccomp, Syscall, SyscallArg

    T = TypeVar("T")

TREE_FROM = 32  # more rules than this are looked up in a binary tree
MAX_NAME = 255  # of a syscall, in the flat form: the length is one byte
NOTIFY = SECCOMP_ACTIONS["SCMP_ACT_NOTIFY"]
WITH_DATA = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
# A default that lets calls through (or leaves them to a tracer) needs no ENOSYS for syscalls unknown to the profile.
LETS_THROUGH = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
TSYNC = SECCOMP_FLAGS["SECCOMP_FILTER_FLAG_TSYNC"]
SPEC_ALLOW = SECCOMP_FLAGS["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]
WAIT_KILLABLE_RECV = SECCOMP_FLAGS["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]
POINTER = "/linux/seccomp"

Condition = tuple[int, int, int, int]  # argument, operator, value, value two
Rule = tuple[int, str, tuple[Condition, ...], int]  # action, syscall name, conditions that must all hold, index in the config
Listener = tuple[str, str]  # path, metadata


class Profile:
    """A lowered profile.

    default   action of what no rule matches, as SECCOMP_RET_* with its errno
    rules     see Rule
    archs     libseccomp's names of the architectures listed; the native one is in every filter
    flags     SECCOMP_FILTER_FLAG_* for seccomp(2), without NEW_LISTENER
    enosys    shall numbers above those the profile knows get ENOSYS, and not the default?
    listener  (path, metadata) if a rule notifies, else None
    """

    __slots__ = ("default", "rules", "archs", "flags", "enosys", "listener")
    default: int
    rules: list[Rule]
    archs: list[str]
    flags: int
    enosys: bool
    listener: Listener | None


def lower(section: Seccomp) -> Profile | None:
    """linux.seccomp (a dict) as a Profile; None if it is empty, which means: no filter."""
    default = section.get("defaultAction") or ""
    syscalls = section.get("syscalls") or []
    if not default and not syscalls:
        return None
    if default == "SCMP_ACT_NOTIFY":
        raise Error("SCMP_ACT_NOTIFY cannot be used as default action", pointer=POINTER + "/defaultAction")
    profile = Profile()
    profile.default = _action(default, section.get("defaultErrnoRet"), POINTER + "/defaultAction")
    profile.archs = [_known(SECCOMP_ARCHS, name, "arch", f"{POINTER}/architectures/{place}")
                     for place, name in enumerate(section.get("architectures") or [])]
    profile.rules = []
    for place, entry in enumerate(syscalls):
        _lower_entry(profile.rules, entry, place)
    profile.enosys = default not in LETS_THROUGH and profile.default != SECCOMP_ACTIONS["SCMP_ACT_ERRNO"] | ENOSYS
    profile.listener = _listener(section, profile.rules)
    profile.flags = _flags(section.get("flags"), profile.listener is not None)
    return profile


def flatten(profile: Profile) -> bytes:
    """The profile as the one buffer csrc/seccomp.c reads; also what the cache's key is made of. Little-endian, as are
    both architectures that pyrunc runs on."""
    from_int = int.to_bytes
    options = 1 if len(profile.rules) > TREE_FROM else 0
    parts = [from_int(number, 4, "little")
             for number in (profile.default, options, len(profile.archs), len(profile.rules))]
    parts += [_name(arch) for arch in profile.archs]
    for action, name, conditions, _ in profile.rules:
        parts += [bytes((action != profile.default,)), from_int(action, 4, "little"), _name(name),
                  bytes((len(conditions),))]
        for argument, operator, one, two in conditions:
            parts += [bytes((argument, operator)), from_int(one, 8, "little"), from_int(two, 8, "little")]
    return b"".join(parts)


def _name(text: str) -> bytes:
    return bytes((len(text),)) + text.encode("ascii")


def _lower_entry(rules: list[Rule], entry: Syscall, place: int) -> None:
    """One entry of `syscalls`: a rule per name, or a rule per name and condition (see _conditions)."""
    pointer = f"{POINTER}/syscalls/{place}"
    action = _action(entry.get("action"), entry.get("errnoRet"), pointer + "/action")
    alternatives = _conditions(entry.get("args") or [], pointer)
    for name in entry.get("names") or []:
        if not name or "\0" in name:
            raise Error("empty string is not a valid syscall", pointer=pointer + "/names")
        if action == NOTIFY and name == "write":
            # init has to write before the agent has the listener: it would wait for itself
            raise Error("SCMP_ACT_NOTIFY cannot be used for the write syscall", pointer=pointer + "/names")
        if len(name) <= MAX_NAME and name.isascii():  # no other can be a syscall, and an unknown name is skipped
            rules += [(action, name, conditions, place) for conditions in alternatives]


def _conditions(args: list[SyscallArg], pointer: str) -> list[tuple[Condition, ...]]:
    """The conditions of an entry as a list of alternatives, each a tuple of conditions that must all hold.

    libseccomp takes one condition per argument in a rule. If an entry has two for the same argument, every condition
    becomes a rule of its own: they are alternatives then. That is what runc does, and what the profiles that have it
    (personality, clone in Docker's) mean.
    """
    conditions = []
    for place, arg in enumerate(args):
        index = arg.get("index", 0)
        if not 0 <= index <= 5:
            raise Error(f"a syscall has arguments 0 to 5, not {index}", pointer=f"{pointer}/args/{place}/index")
        operator = _known(SECCOMP_OPERATORS, arg.get("op"), "operator", f"{pointer}/args/{place}/op")
        conditions.append((index, operator, arg.get("value", 0), arg.get("valueTwo", 0)))
    if len({condition[0] for condition in conditions}) < len(conditions):
        return [(condition,) for condition in conditions]
    return [tuple(conditions)]


def _action(name: str, errno_ret: int | None, pointer: str) -> int:
    action = _known(SECCOMP_ACTIONS, name, "action", pointer)
    if name not in WITH_DATA:
        return action
    return action | (EPERM if errno_ret is None else errno_ret & 0xFFFF)


def _known(table: Mapping[str, T], name: str, what: str, pointer: str) -> T:
    if name not in table:
        raise Error(f"string {name} is not a valid {what} for seccomp", pointer=pointer,
                    hint="known: " + ", ".join(table))
    return table[name]


def _flags(names: Sequence[str] | None, notifies: bool) -> int:
    """Bits for seccomp(2). No list at all means SPEC_ALLOW, an empty list means none.

    TSYNC is accepted and left out: init is one thread. WAIT_KILLABLE_RECV is about the listener, and the kernel
    refuses it where there is none.
    """
    if names is None:
        return SPEC_ALLOW
    flags = 0
    for place, name in enumerate(names):
        if name not in SECCOMP_FLAGS:
            raise Error(f'seccomp flag "{name}" is not known', pointer=f"{POINTER}/flags/{place}",
                        hint="known: " + ", ".join(SECCOMP_FLAGS))
        flags |= SECCOMP_FLAGS[name]
    return flags & ~(TSYNC | (0 if notifies else WAIT_KILLABLE_RECV))


def _listener(section: Seccomp, rules: list[Rule]) -> Listener | None:
    if not any([action == NOTIFY for action, _, _, _ in rules]):
        return None
    path = section.get("listenerPath") or ""
    if not path:
        raise Error("seccomp listenerPath is not set", pointer=POINTER + "/listenerPath")
    return path, section.get("listenerMetadata") or ""
