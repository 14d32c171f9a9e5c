"""A plan's M and I ops as the bytes csrc/plan.h describes. Pure; called by supervise and by the tests of init.

Strings are interned, so a path named by three ops stands once in the pool. Every length is 32 bits and checked here
and again by init's loader (CVE-2021-43784).
"""

from ..errors import Error
from .optable import NO_SLOT, OPS, PLAN_MAGIC, PLAN_VERSION, SLOTS

HEADER = 32
RECORD = 40
_WORDS = {"u32": 1, "u64": 2, "str": 1, "blob": 1, "vec": 1}


def u32(value):
    return value.to_bytes(4, "little")


def u64(value):
    return value.to_bytes(8, "little")


class Pool:
    """Strings, blobs and vecs, each at its offset from the start of the plan."""

    __slots__ = ("start", "parts", "size", "known")

    def __init__(self, start):
        self.start = start
        self.parts = []
        self.size = start
        self.known = {}

    def _put(self, data, align):
        gap = -self.size % align
        offset = self.size + gap
        self.parts.append(bytes(gap) + data)
        self.size += gap + len(data)
        return offset

    def str(self, text):
        key = ("s", text)
        if key not in self.known:
            data = text if type(text) is bytes else text.encode("utf-8", "surrogateescape")
            if 0 in data:
                raise ValueError("NUL byte in a string of the plan")
            self.known[key] = self._put(u32(len(data)) + data + b"\0", 4)
        return self.known[key]

    def blob(self, data):
        key = ("b", data)
        if key not in self.known:
            self.known[key] = self._put(u32(len(data)) + data, 4)
        return self.known[key]

    def vec(self, items):
        key = ("v", tuple(items))
        if key not in self.known:
            offsets = b"".join([u64(self.str(item)) for item in items])
            self.known[key] = self._put(u32(len(items)) + u32(0) + offsets, 8)
        return self.known[key]


def encode(plan):
    """(bytes, birth slots, numbers): numbers maps each op's position in the bytes to its Op."""
    ops = plan.child_ops()
    born = plan.birth_slots()
    slots = {name: number for number, name in enumerate(born)}
    where = {op.index: position for position, op in enumerate(ops)}
    for op in ops:
        for name in op.produced():
            slots.setdefault(name, len(slots))
    if len(slots) > SLOTS:
        raise Error(f"the configuration needs {len(slots)} descriptors at once, {SLOTS} is the most", pointer="/mounts")
    pool = Pool(HEADER + RECORD * len(ops))
    records = b"".join([_record(op, slots, where, pool) for op in ops])
    status = slots["status"] if "status" in born else NO_SLOT
    pool.parts.append(bytes(-pool.size % 8))
    pool.size += -pool.size % 8
    header = u32(PLAN_MAGIC) + u32(PLAN_VERSION) + u32(pool.size) + u32(len(ops)) + u32(len(born)) + u32(status) + bytes(8)
    return header + records + b"".join(pool.parts), born, ops


def _record(op, slots, where, pool):
    code, _, _, _, signature, _ = OPS[op.name]
    words = b""
    for (_, kind), value in zip(signature, op.args):
        if kind == "u32":
            words += u32(value & 0xFFFFFFFF)
        elif kind == "u64":
            words += u64(value)
        else:
            words += u32(getattr(pool, kind)(value))
    unless = where[op.unless.index] + 1 if op.unless is not None else 0
    numbers = [NO_SLOT if name is None else slots[name] for name in op.slots]
    numbers += [NO_SLOT] * (4 - len(numbers))
    tolerate = bytes(op.tolerate).ljust(3, b"\0")
    head = code.to_bytes(2, "little") + op.role.encode() + tolerate + unless.to_bytes(2, "little")
    head += b"".join([n.to_bytes(2, "little") for n in numbers])
    return head + words.ljust(24, b"\0")
