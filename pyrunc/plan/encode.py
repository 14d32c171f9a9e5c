"""A plan's M and I ops as the bytes csrc/plan.h describes. Pure; called by supervise and by the tests of init.

Strings are interned, so a path named by three ops stands once in the pool. Every length is 32 bits and checked here
and again by init's loader (CVE-2021-43784).
"""

from __future__ import annotations

from ..errors import Error
from ..typed import TYPE_CHECKING
from .optable import NO_SLOT, PLAN_MAGIC, PLAN_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .ops import Op
    from .script import Plan

HEADER, RECORD = 8, 13  # words of 32 bits
SLOTS, ARGS = 3, 7      # where they stand in a record
PLAN_MAX = 256 << 20    # bytes, csrc/plan.h
EMPTY = bytes(4 * SLOTS) + b"\xff" * 4 * (ARGS - SLOTS) + bytes(4 * (RECORD - ARGS))  # a record without slots
ROLES = {"M": ord("M") << 16, "I": ord("I") << 16}


class Pool:
    """Strings, blobs and vecs, each at its offset from the start of the plan."""

    __slots__ = ("parts", "size", "texts", "known")

    def __init__(self, start: int) -> None:
        self.parts: list[bytes] = []
        self.size = start
        self.texts: dict[str, int] = {}
        self.known: dict[bytes | tuple[str, ...], int] = {}

    def _put(self, data: bytes, align: int) -> int:
        gap = -self.size % align
        if gap:
            self.parts.append(bytes(gap))
        offset = self.size + gap
        self.parts.append(data)
        self.size = offset + len(data)
        return offset

    def text(self, text: str) -> int:
        known = self.texts.get(text)
        if known is not None:
            return known
        data = text.encode("utf-8", "surrogateescape")
        if 0 in data:
            raise ValueError("NUL byte in a string of the plan")
        offset = self.texts[text] = self._put(len(data).to_bytes(4, "little") + data + b"\0", 4)
        return offset

    def blob(self, data: bytes) -> int:
        if data not in self.known:
            self.known[data] = self._put(len(data).to_bytes(4, "little") + data, 4)
        return self.known[data]

    def vec(self, items: Sequence[str]) -> int:
        key = tuple(items)
        if key not in self.known:
            offsets = [self.text(item).to_bytes(8, "little") for item in items]
            self.known[key] = self._put(len(items).to_bytes(8, "little") + b"".join(offsets), 8)
        return self.known[key]


class Numbers:
    """Slot names to numbers. The number of a slot that has ended is given to another: there are as many as are open at once."""

    __slots__ = ("of", "free", "count")

    def __init__(self, born: list[str]) -> None:
        self.of = {name: number for number, name in enumerate(born)}
        self.free: list[int] = []
        self.count = len(born)

    def give(self, name: str) -> None:
        if name in self.of:
            return
        if not self.free:
            self.free.append(self.count)
            self.count += 1
        self.of[name] = self.free.pop()

    def end(self, names: list[str]) -> None:
        self.free += [self.of.pop(name) for name in names]


def encode(plan: Plan) -> tuple[bytes, list[str], list[Op]]:
    """(bytes, birth slots, ops): the child's ops as they stand in the bytes. Raises Error where init would not take them."""
    ops, born, ends = plan.child_ops(), plan.birth_slots(), plan.ends()
    numbers = Numbers(born)
    where = {op.index: position for position, op in enumerate(ops, 1)}
    head = bytearray(4 * HEADER) + EMPTY * len(ops)
    pool, words = Pool(len(head)), memoryview(head).cast("I")  # little endian, as both machines are
    status, at = numbers.of.get("status", NO_SLOT), HEADER
    for op in ops:
        if op.slots:
            for name in op.produced():
                numbers.give(name)
        ending = ends.get(op.index, [])
        _record(words, at, op, numbers.of, ending, where, pool)
        if ending:
            numbers.end(ending)
        at += RECORD
    gap = bytes(-pool.size % 8)
    total = pool.size + len(gap)
    if total > PLAN_MAX:
        raise Error(f"the configuration makes a plan of {total >> 20} MiB, {PLAN_MAX >> 20} are allowed", pointer="")
    for i, word in enumerate((PLAN_MAGIC, PLAN_VERSION, total, len(ops), len(born), status, numbers.count)):
        words[i] = word
    return b"".join([head, *pool.parts, gap]), born, ops


def _record(words: memoryview, at: int, op: Op, numbers: dict[str, int], ending: list[str], where: dict[int, int], pool: Pool) -> None:
    """struct plan_op of csrc/plan.h, from words[at] on. `numbers` of the slots open at this op, `ending` those that it is the last
    to use."""
    row = op.row
    bits = 0
    for name in ending:
        bits |= 1 << op.slots.index(name)
    words[at] = row.code | ROLES[op.role] | bits << 24
    if op.tolerate:
        words[at + 1] = int.from_bytes(bytes(op.tolerate), "little")
    if op.unless is not None:
        words[at + 2] = where[op.unless.index]
    place = at + SLOTS
    for slot in op.slots[:row.width]:
        if slot is not None:
            words[place] = numbers[slot]
        place += 1
    if row.listed and op.slots[row.width:]:
        listed = [numbers[name] for name in op.slots[row.width:] if name]
        if listed:
            words[place] = pool.blob(b"".join([number.to_bytes(4, "little") for number in listed]))
    place = at + ARGS
    for wire, value in zip(row.wires, op.args):
        if wire == "u32":
            words[place] = value
        elif wire == "str":
            words[place] = pool.text(value)
        elif wire == "vec":
            words[place] = pool.vec(value)
        elif wire == "blob":
            words[place] = pool.blob(value)
        else:
            words[place], words[place + 1] = value & 0xFFFFFFFF, value >> 32
            place += 1
        place += 1
