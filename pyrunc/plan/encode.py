"""A plan's M and I ops as the bytes csrc/plan.h describes. Pure; called by supervise and by the tests of init.

Strings are interned, so a path named by three ops stands once in the pool. Every length is 32 bits and checked here
and again by init's loader (CVE-2021-43784).
"""

from ..errors import Error
from .optable import NO_SLOT, OPS, PLAN_MAGIC, PLAN_VERSION
from .script import LIST

HEADER, RECORD = 32, 52
PLAN_MAX = 256 << 20  # bytes, csrc/plan.h


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


class Numbers:
    """Slot names to numbers. The number of a slot that has ended is given to another: there are as many as are open at once."""

    __slots__ = ("of", "free", "count")

    def __init__(self, born):
        self.of = {name: number for number, name in enumerate(born)}
        self.free = []
        self.count = len(born)

    def give(self, name):
        if name in self.of:
            return
        if not self.free:
            self.free.append(self.count)
            self.count += 1
        self.of[name] = self.free.pop()

    def end(self, names):
        self.free += [self.of.pop(name) for name in names]


def encode(plan):
    """(bytes, birth slots, ops): the child's ops as they stand in the bytes. Raises Error where init would not take them."""
    ops, born, ends = plan.child_ops(), plan.birth_slots(), plan.ends()
    numbers = Numbers(born)
    where = {op.index: position for position, op in enumerate(ops)}
    pool = Pool(HEADER + RECORD * len(ops))
    status, records = numbers.of.get("status", NO_SLOT), []
    for op in ops:
        for name in op.produced():
            numbers.give(name)
        ending = ends.get(op.index, ())
        records.append(record(op, numbers.of, ending, where, pool))
        numbers.end(ending)
    pool.parts.append(bytes(-pool.size % 8))
    pool.size += -pool.size % 8
    if pool.size > PLAN_MAX:
        raise Error(f"the configuration makes a plan of {pool.size >> 20} MiB, {PLAN_MAX >> 20} are allowed", pointer="")
    header = [PLAN_MAGIC, PLAN_VERSION, pool.size, len(ops), len(born), status, numbers.count, 0]
    return b"".join([*map(u32, header), *records, *pool.parts]), born, ops


def record(op, numbers, ending, where, pool):
    """struct plan_op of csrc/plan.h. `numbers` of the slots open at this op, `ending` those that it is the last to use."""
    code, _, _, kinds, signature, _ = OPS[op.name]
    words = []
    for (_, kind), value in zip(signature, op.args):
        words.append(u32(value & 0xFFFFFFFF) if kind == "u32" else u64(value) if kind == "u64" else u32(getattr(pool, kind)(value)))
    slots = [NO_SLOT if name is None else numbers[name] for name in op.slots]
    if kinds and kinds[-1][2] == LIST:
        listed = [number for number in slots[len(kinds) - 1:] if number != NO_SLOT]
        slots[len(kinds) - 1:] = [pool.blob(b"".join(map(u32, listed))) if listed else NO_SLOT]
    slots += [NO_SLOT] * (4 - len(slots))
    bits = sum([1 << op.slots.index(name) for name in ending])
    unless = where[op.unless.index] + 1 if op.unless is not None else 0
    head = [code.to_bytes(2, "little"), op.role.encode(), bytes([bits]), bytes(op.tolerate).ljust(4, b"\0"), u32(unless)]
    return b"".join([*head, *map(u32, slots), b"".join(words).ljust(24, b"\0")])
