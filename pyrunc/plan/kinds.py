"""The kinds of what an op is told: which values are of the kind, how people read them, and what they are for init. Pure.

A kind is a border: `Plan.add` takes no value that is not of it. So a flag of one call cannot stand where those of another
belong, nor a path of the host where one below the container's root is wanted.
"""

from __future__ import annotations

from errno import errorcode

from ..config import mountopts, names
from ..typed import TYPE_CHECKING
from . import device_rules
from .optable import ATTACH_CLONE, ATTACH_FILE, ATTACH_IN_PROC, ATTACH_PROC, ATTACH_REAL_DIR
from .optable import TREE_ATTR_REC, TREE_KEEP, TREE_NOFOLLOW, TREE_RECURSIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Value = Any  # an operand that is read: of the type that its kind says
    # one that is given; texts in pairs are what DeviceAllow of systemd takes
    Operand = (str | int | bytes | list[str] | list[device_rules.Rule] | list[tuple[int, int, int]] | list[tuple[str, str]]
               | dict[str, str])

U32, U64 = 1 << 32, 1 << 64
LONG = 32  # bytes that are shown


class Kind:
    """type: of Python; wire: of csrc/plan.h, "" for what only the host is told; test: what else holds of a value; show: how
    people read it, "" for one that says nothing (no flags, an empty text)."""

    __slots__ = ("name", "type", "wire", "test", "show", "quoted")

    def __init__(self, type_: type, wire: str, show: Callable[[Value], str], test: Callable[[Value], bool] | None = None,
                 quoted: bool = False) -> None:
        self.name = ""
        self.type = type_
        self.wire = wire
        self.show = show
        self.test = test
        self.quoted = quoted  # says by itself what it is: shown without the operand's name


def flags(table: Mapping[str, int], value: int, none: str = "") -> str:
    """`MS_REC|MS_SLAVE`; bits without a name as a number."""
    said = []
    for name, bits in table.items():
        if value & bits == bits:
            said.append(name)
            value &= ~bits
    return "|".join([*said, f"{value:#x}"] if value else said) or none


def errno_name(number: int) -> str:
    return errorcode.get(number, str(number))


def signal_name(number: int) -> str:
    return next((f"SIG{name}" for name, its in names.SIGNALS.items() if its == number), str(number))


def capabilities(bits: int) -> str:
    return ",".join([name[4:].lower() for name, bit in names.CAPABILITIES.items() if bits >> bit & 1]) or "none"


def _capability_sets(value: bytes) -> str:
    sets = [int.from_bytes(value[at:at + 8], "little") for at in (0, 8, 16)]
    return " ".join([f"{name}={capabilities(bits)}" for name, bits in zip(("effective", "permitted", "inheritable"), sets)])


def device(number: int) -> str:
    """`1:3` of the kernel's 32-bit encoding (linux/kdev_t.h, new_encode_dev)."""
    return f"{number >> 8 & 0xFFF}:{number & 0xFF | number >> 12 & 0xFFF00}"


def makedev(major: int, minor: int) -> int:
    """The way back."""
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)


TYPES = {0o010000: "fifo:", 0o020000: "char:", 0o060000: "block:"}


def _mode(value: int) -> str:
    return f"{TYPES.get(value & 0o170000, '')}{value & 0o7777:04o}"


def rlimit(resource: int) -> str:
    """The name of a number of getrlimit(2)."""
    return next((name for name, number in names.RLIMITS.items() if number == resource), f"limit {resource}")


def _amount(value: int) -> str:
    return "unlimited" if value == U64 - 1 else str(value)


def _ioprio(value: int) -> str:
    kind = next((name for name, number in names.IOPRIO_CLASSES.items() if number == value >> 13), str(value >> 13))
    return f"{kind}:{value & 0x1FFF}"


def _memory_policy(value: int) -> str:
    mode = next((name for name, number in names.MEMORY_POLICIES.items() if number == value & 0xFFF), "")
    return "|".join([part for part in (mode, flags(names.MEMORY_POLICY_FLAGS, value & ~0xFFF)) if part])


def _sched(value: bytes) -> str:
    """struct sched_attr."""
    policy, priority = [int.from_bytes(value[at:at + 4], "little") for at in (4, 20)]
    nice = int.from_bytes(value[16:20], "little", signed=True)
    said = [next((name for name, number in names.SCHED_POLICIES.items() if number == policy), str(policy))]
    said += [flags(names.SCHED_FLAGS, int.from_bytes(value[8:16], "little"))]
    said += [f"nice={nice}" if nice else "", f"priority={priority}" if priority else ""]
    times = [int.from_bytes(value[at:at + 8], "little") for at in (24, 32, 40)]
    said += [f"{name}={time}" for name, time in zip(("runtime", "deadline", "period"), times) if time]
    return " ".join([part for part in said if part])


def _bits(value: bytes) -> str:
    """A list of CPUs or memory nodes: `0-3,7`."""
    mask, said, at = int.from_bytes(value, "little"), [], 0
    if mask == (1 << 8 * len(value)) - 1 and len(value) > LONG:
        return "all"
    while mask >> at:
        at += (mask >> at & -(mask >> at)).bit_length() - 1
        ones = mask >> at
        end = at + (~ones & ones + 1).bit_length() - 2
        said.append(str(at) if end == at else f"{at}-{end}")
        at = end + 1
    return ",".join(said)


def _gids(value: bytes) -> str:
    return ",".join([str(int.from_bytes(value[at:at + 4], "little")) for at in range(0, len(value), 4)]) or "none"


def _bytes(value: bytes) -> str:
    return f"<{len(value)} bytes>" if len(value) > LONG else value.hex()


def quote(text: str) -> str:
    """One line, in quotation marks, that no terminal obeys."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join([c if c.isprintable() else repr(c)[1:-1] for c in escaped]) + '"'


def word(text: str) -> str:
    """Without quotation marks where it needs none."""
    return text if text and all([c.isalnum() or c in "_-+.,:/@%=*" for c in text]) else quote(text)


def _texts(value: list[str]) -> str:
    return "[" + " ".join([word(text) for text in value]) + "]"


def _are_texts(value: list[Value]) -> bool:
    return set(map(type, value)) <= {str}


def _lines(text: str) -> str:
    return quote(text.removesuffix("\n")) if text else ""


def _rules(value: list[device_rules.Rule]) -> str:
    return "[" + ", ".join([device_rules.text(rule) for rule in value]) + "]"


def _are_rules(value: list[Value]) -> bool:
    return all([type(rule) is tuple and len(rule) == 5 for rule in value])


def _limits(value: list[tuple[int, int, int]]) -> str:
    return " ".join([f"{rlimit(resource)}={_amount(soft)}:{_amount(hard)}" for resource, soft, hard in value])


def _are_limits(value: list[Value]) -> bool:
    return all([type(row) is tuple and list(map(type, row)) == [int] * 3 for row in value])


def _schemas(value: dict[str, str]) -> str:
    return " ".join([f"{name}={word(text)}" for name, text in value.items()])


def plain(value: Value) -> str:
    """What is handed to systemd: of any type of D-Bus."""
    if type(value) is bytes:
        return _bytes(value)
    if type(value) in (list, tuple):
        return "[" + " ".join([plain(item) for item in value]) + "]"
    return word(value) if type(value) is str else str(value).lower() if type(value) is bool else str(value)


def _flag(table: Mapping[str, int], none: str = "") -> Kind:
    known = 0
    for bits in table.values():
        known |= bits
    return Kind(int, "u32", lambda value: flags(table, value, none), lambda value: not value & ~known)


MOUNT_ATTR = {
    "MOUNT_ATTR_RDONLY": mountopts.ATTR_RDONLY, "MOUNT_ATTR_NOSUID": mountopts.ATTR_NOSUID, "MOUNT_ATTR_NODEV": mountopts.ATTR_NODEV,
    "MOUNT_ATTR_NOEXEC": mountopts.ATTR_NOEXEC, "MOUNT_ATTR__ATIME": mountopts.ATTR_ATIME, "MOUNT_ATTR_NOATIME": mountopts.ATTR_NOATIME,
    "MOUNT_ATTR_STRICTATIME": mountopts.ATTR_STRICTATIME, "MOUNT_ATTR_NODIRATIME": mountopts.ATTR_NODIRATIME,
    "MOUNT_ATTR_NOSYMFOLLOW": mountopts.ATTR_NOSYMFOLLOW,
}
PROPAGATION = {
    "MS_UNBINDABLE": mountopts.MS_UNBINDABLE, "MS_PRIVATE": mountopts.MS_PRIVATE, "MS_SLAVE": mountopts.MS_SLAVE,
    "MS_SHARED": mountopts.MS_SHARED,
}
SUPERBLOCK = {
    "ro": "MS_RDONLY", "sync": "MS_SYNCHRONOUS", "mand": "MS_MANDLOCK", "dirsync": "MS_DIRSYNC", "silent": "MS_SILENT",
    "iversion": "MS_I_VERSION", "lazytime": "MS_LAZYTIME",
}
SHORT = {"mount": "NS", "network": "NET"}
CLONE = {f"CLONE_NEW{SHORT.get(kind, kind.upper())}": bit for kind, (bit, _) in names.NAMESPACES.items()}
TREE = {"RECURSIVE": TREE_RECURSIVE, "NOFOLLOW": TREE_NOFOLLOW, "ATTR_REC": TREE_ATTR_REC, "KEEP": TREE_KEEP}
ATTACH = {
    "REAL_DIR": ATTACH_REAL_DIR, "CLONE": ATTACH_CLONE, "FILE": ATTACH_FILE, "IN_PROC": ATTACH_IN_PROC, "PROC": ATTACH_PROC,
}
SECCOMP = {**names.SECCOMP_FLAGS, "SECCOMP_FILTER_FLAG_NEW_LISTENER": 8}
KEY = {"KEY_USR_SEARCH": 0x80000, "KEY_OTH_SEARCH": 0x8}


_u32, _u64 = range(U32).__contains__, range(U64).__contains__


def _below(value: str) -> bool:
    return value[:1] != "/" and value != ""


KINDS = {
    # numbers
    "number": Kind(int, "u32", str, _u32),
    "seq": Kind(int, "u32", str, _u32),
    "amount": Kind(int, "u64", _amount, _u64),
    "switch": Kind(int, "u32", lambda value: "yes" if value else "no", range(2).__contains__),
    "id": Kind(int, "u32", str, _u32),
    "seconds": Kind(int, "u32", lambda value: str(value) if value else "", _u32),
    "signal": Kind(int, "u32", lambda value: signal_name(value) if value else "none", range(names.SIGRTMAX + 1).__contains__),
    "mode": Kind(int, "u32", _mode, range(0o200000).__contains__),
    "dev": Kind(int, "u32", device, _u32),
    "resource": Kind(int, "u32", rlimit, range(len(names.RLIMITS)).__contains__),
    "ioprio": Kind(int, "u32", _ioprio, range(4 << 13).__contains__),
    "persona": Kind(int, "u32", lambda value: "LINUX32" if value == 8 else "LINUX" if value == 0 else f"{value:#x}", _u32),
    "mempolicy": Kind(int, "u32", _memory_policy, range(1 << 16).__contains__),
    "capabilities": Kind(int, "u64", capabilities, _u64),
    # flags, each of its call
    "clone": _flag(CLONE, "0"),
    "mount_attr": _flag(MOUNT_ATTR),
    "propagation": _flag(PROPAGATION),
    "ms": _flag({SUPERBLOCK[name]: bit for name, bit in mountopts.SB_MS.items()}),
    "tree": _flag(TREE),
    "attach": _flag(ATTACH),
    "seccomp": _flag(SECCOMP),
    "key": _flag(KEY),
    # texts
    "path": Kind(str, "str", quote, _below, True),           # below a root slot
    "like": Kind(str, "str", lambda value: quote(value) if value else "", lambda value: value[:1] != "/"),  # one, or none
    "hostpath": Kind(str, "", quote, lambda value: value[:1] == "/", True),
    "place": Kind(str, "str", quote, lambda value: value != "", True),  # of the host, or below a root slot if there is one
    "program": Kind(str, "str", quote, lambda value: value != "", True),
    "text": Kind(str, "str", quote, None, True),
    "word": Kind(str, "str", lambda value: word(value) if value else ""),
    "lines": Kind(str, "", _lines),
    "pointer": Kind(str, "", lambda value: value, lambda value: value == "" or value[0] == "/"),
    # bytes
    "capability_sets": Kind(bytes, "blob", _capability_sets, lambda value: len(value) == 24, True),
    "cpus": Kind(bytes, "blob", _bits, lambda value: len(value) % 8 == 0),
    "gids": Kind(bytes, "blob", _gids, lambda value: len(value) % 4 == 0),
    "sched": Kind(bytes, "blob", _sched, lambda value: len(value) == 48, True),
    "filter": Kind(bytes, "blob", _bytes, lambda value: len(value) % 8 == 0),
    # lists
    "texts": Kind(list, "vec", _texts, _are_texts),
    "programs": Kind(list, "", lambda value: " ".join([quote(text) for text in value if text]), _are_texts),
    "rules": Kind(list, "", _rules, _are_rules),
    "limits": Kind(list, "", _limits, _are_limits, True),
    # of the host alone
    "yes": Kind(bool, "", lambda value: "yes" if value else "no"),
    "schemas": Kind(dict, "", _schemas),
    "bytes": Kind(int, "", str, lambda value: value >= 0),
    "value": Kind(object, "", plain),
}
for name, kind in KINDS.items():
    kind.name = name
