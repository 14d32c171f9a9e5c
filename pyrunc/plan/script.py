"""The plan as a value: a list of ops, each saying who does what, on which slots, because of which property.

Pure data. The compilers (create, exec) append to a Plan; check verifies it, encode turns the child's part into bytes,
supervise walks the host's part, explain prints all of it.

Roles: H host (the supervisor), M first process (still outside the pid namespace), I init.
"""

from .hostops import HOST
from .optable import OPS

LIST = 2  # `>>name:kind` of csrc/ops.def: the last of an op's slots stands for any number of them


class Op:
    """One step. `slots` and `args` stand in the order of the op's signature; a slot is a name or None.

    tolerate  errnos that are no failure      unless  the op that must have failed (tolerated) for this one to run
    source    JSON pointer of the property this comes from, or the name of a default ("default: devices")
    """

    __slots__ = ("role", "name", "slots", "args", "source", "tolerate", "unless", "index")

    def __init__(self, role, name, slots, args, source, tolerate, unless, index):
        self.role = role
        self.name = name
        self.slots = slots
        self.args = args
        self.source = source
        self.tolerate = tolerate
        self.unless = unless
        self.index = index

    def signature(self):
        """((slot, kind, produced), ...), (arg name, ...)"""
        if self.role == "H":
            return HOST[self.name]
        _, _, _, slots, args, _ = OPS[self.name]
        if slots and slots[-1][2] == LIST:
            slots = slots[:-1] + slots[-1:] * (len(self.slots) - len(slots) + 1)
        return slots, tuple([name for name, _ in args])

    def produced(self):
        return [name for name, (_, _, made) in zip(self.slots, self.signature()[0]) if made and name]

    def consumed(self):
        return [name for name, (_, _, made) in zip(self.slots, self.signature()[0]) if not made and name]


class Plan:
    """ops in order; `base` the first descriptor that is init's own (3 + what is preserved); `file` that of exec --process."""

    __slots__ = ("ops", "base", "file", "source", "syncs")

    def __init__(self, base=3, file=None):
        self.ops = []
        self.base = base
        self.file = file
        self.source = ""  # of the ops added next, unless they say otherwise
        self.syncs = 0

    def add(self, role, name, slots=(), args=(), tolerate=(), unless=None, source=None):
        """Append an op and return it. `slots` may be shorter than the signature: the rest is unused."""
        width = len(HOST[name][0] if role == "H" else OPS[name][3])
        slots = tuple(slots) + (None,) * (width - len(slots))
        op = Op(role, name, slots, tuple(args), self.source if source is None else source, tolerate, unless, len(self.ops))
        self.ops.append(op)
        return op

    def sync(self, role, send=None, receive=()):
        """Append a SYNC; the H ops appended right after it are what the host does before it answers."""
        self.syncs += 1
        return self.add(role, "SYNC", (send, *receive), (self.syncs,))

    def hand_over(self, sync):
        """The trees that the host has opened since this SYNC was appended are what it answers with."""
        sync.slots = (None, *[slot for op in self.ops[sync.index + 1:] if op.name in ("TREE", "DEVICE") for slot in op.produced()])

    def place(self, pointer):
        """Where a property stands, for people."""
        if self.file and pointer.startswith("/process/"):
            return f"{self.file}: {pointer[8:]}"
        return f"config.json: {pointer}"

    def child_ops(self):
        return [op for op in self.ops if op.role != "H"]

    def turns(self):
        """[(PLAN or SYNC, the H ops that stand right after it)], and first (None, those before PLAN)."""
        turns = [(None, [])]
        for op in self.ops:
            if op.name in ("PLAN", "SYNC"):
                turns.append((op, []))
            elif op.role == "H":
                turns[-1][1].append(op)
        return turns

    def ends(self):
        """{index of a child's op: [slots that end with it]}. A slot ends at its last use: init closes it there, whether that op
        has run or not. What the first process alone uses has ended before FORK, and is never seen in the container."""
        last, ends = {}, {}
        for op in self.ops:
            if op.role != "H":
                last.update([(name, op.index) for name in op.slots if name])
        for name, index in last.items():
            ends.setdefault(index, []).append(name)
        return ends

    def birth_slots(self):
        """Slots the child begins with: filled by H before PLAN, used by M or I. In order of production."""
        used = set()
        for op in self.ops:
            if op.role != "H":
                used.update(op.consumed())
        born = []
        for op in self.ops:
            if op.name == "PLAN":
                break
            if op.role == "H":
                born += [slot for slot in op.produced() if slot in used]
        return born
