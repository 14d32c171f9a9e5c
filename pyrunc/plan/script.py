"""The plan as a value: a list of ops, each saying who does what, on which slots, because of which property.

Pure data. The compilers (create, exec) append to a Plan; check verifies it, encode turns the child's part into bytes,
supervise walks the host's part, explain prints all of it. What an op is, ops.py says.
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING
from .kinds import plain
from .ops import OPS, Op, Row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .kinds import Operand, Value


class Plan:
    """ops in order; `base` the first descriptor that is init's own (3 + what is preserved); `file` that of exec --process."""

    __slots__ = ("ops", "base", "file", "source", "syncs", "kinds", "environ")

    def __init__(self, base: int = 3, file: str | None = None) -> None:
        self.ops: list[Op] = []
        self.base = base
        self.file = file
        self.source = ""  # of the ops added next, unless they say otherwise
        self.syncs = 0
        self.environ: list[str] = []  # the caller's, which hooks without one have
        self.kinds: dict[str, str] = {}  # of the slots that have been filled

    def add(self, role: str, name: str, slots: Sequence[str | None] = (), args: Sequence[Operand] = (), tolerate: tuple[int, ...] = (),
            unless: Op | None = None, source: str | None = None) -> Op:
        """Append an op and return it. Optional slots may be left out at the end; what is not as the op's row says is an error."""
        row, slots, args = OPS[name], tuple(slots), tuple(args)
        if role not in row.roles:
            raise TypeError(f"{name}: {role} does not do it, but {row.roles}")
        if tuple(map(type, args)) != row.types:
            _refuse_args(row, args)
        for at, test in row.tests:
            if not test(args[at]):
                raise _unfit(row, at, args[at])
        if slots or row.slots:
            slots = self._slots(row, slots)
        if source is None:
            source = self.source
        op = Op(row, role, slots, args, source, tolerate, unless, len(self.ops))
        self.ops.append(op)
        return op

    def _slots(self, row: Row, slots: tuple[str | None, ...]) -> tuple[str | None, ...]:
        """As many as the row has: none left out that the op needs, none of another kind."""
        known = self.kinds
        if len(slots) < row.width:
            slots += (None,) * (row.width - len(slots))
        elif len(slots) > row.width and not row.listed:
            raise TypeError(f"{row.name}: one slot too many, {slots[-1]}")
        for (made, kind, need), name in zip(row.shape, slots):
            if name is None:
                if need:
                    raise TypeError(f"{row.name}: the slot {need} is left out")
            elif made == 1:
                known[name] = kind
            elif not made:
                have = known.get(name, kind)
                if have != kind and not takes(kind, have):
                    raise TypeError(f"{row.name}: {name} is a {have}, not a {kind}")
        return slots

    def sync(self, role: str, send: str | None = None, receive: tuple[str, ...] = ()) -> Op:
        """Append a SYNC; the H ops appended right after it are what the host does before it answers."""
        self.syncs += 1
        return self.add(role, "SYNC", (send, *receive), (self.syncs,))

    def hand_over(self, sync: Op) -> None:
        """The trees that the host has opened since this SYNC was appended are what it answers with."""
        sync.slots = (None, *[slot for op in self.ops[sync.index + 1:] if op.name in ("TREE", "DEVICE") for slot in op.produced()])

    def place(self, pointer: str) -> str:
        """Where a property stands, for people."""
        if self.file and pointer.startswith("/process/"):
            return f"{self.file}: {pointer[8:]}"
        return f"config.json: {pointer}"

    def has(self, name: str) -> bool:
        return any([op.name == name for op in self.ops])

    def child_ops(self) -> list[Op]:
        return [op for op in self.ops if op.role != "H"]

    def turns(self) -> list[tuple[Op | None, list[Op]]]:
        """[(PLAN or SYNC, the H ops that stand right after it)], and first (None, those before PLAN)."""
        turns: list[tuple[Op | None, list[Op]]] = [(None, [])]
        for op in self.ops:
            if op.name in ("PLAN", "SYNC"):
                turns.append((op, []))
            elif op.role == "H":
                turns[-1][1].append(op)
        return turns

    def ends(self) -> dict[int, list[str]]:
        """{index of a child's op: [slots that end with it]}. A slot ends at its last use: init closes it there, whether that op
        has run or not. What the first process alone uses has ended before FORK, and is never seen in the container."""
        last: dict[str, int] = {}
        for op in self.ops:
            if op.role != "H":
                for name in op.slots:
                    if name:
                        last[name] = op.index
        ends: dict[int, list[str]] = {}
        for name, index in last.items():
            ends.setdefault(index, []).append(name)
        return ends

    def birth_slots(self) -> list[str]:
        """Slots the child begins with: filled by H before PLAN, used by M or I. In order of production."""
        used: set[str] = set()
        for op in self.ops:
            if op.role != "H":
                used.update(op.consumed())
        born: list[str] = []
        for op in self.ops:
            if op.name == "PLAN":
                break
            if op.role == "H":
                born += [slot for slot in op.produced() if slot in used]
        return born


def takes(wanted: str, kind: str) -> bool:
    """Whether a slot of one kind may stand where another is wanted: a tree may be a terminal, which is cloned into one."""
    return wanted in ("any", kind) or kind == "any" or wanted == "tree" and kind == "tty"


def _refuse_args(row: Row, args: tuple[Value, ...]) -> None:
    """Why the types of the operands are not those of the row; none is said of one that takes any."""
    if len(args) < len(row.args):
        raise TypeError(f"{row.name}: {row.args[len(args)][0]} is left out")
    if len(args) > len(row.args):
        raise TypeError(f"{row.name}: one operand too many, {plain(args[-1])}")
    for at, kind in enumerate(row.types):
        if kind is not object and type(args[at]) is not kind:
            raise _unfit(row, at, args[at])


def _unfit(row: Row, at: int, value: Value) -> TypeError:
    name, kind = row.args[at]
    return TypeError(f"{row.name}: {name} is no {kind.name}: {value!r}")


