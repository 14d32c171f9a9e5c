"""The plan for people: one line per op with the property it comes from, or the same as JSON; and what two plans differ in. Pure.

All that is known of an op stands in its row (ops.py), and how a value reads in its kind (kinds.py).
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING
from .kinds import errno_name
from .ops import LIST, PHASES

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from .kinds import Kind, Value
    from .ops import Op
    from .script import Plan

    Entry = dict[str, Value]

SECTIONS = {
    "host": "what must be there before the process",
    "clean": "what a process must not bring along",
    "ns": "namespaces",
    "fs": "the tree that the container will see",
    "sys": "the system, in its new root",
    "cred": "what the process may do",
    "gate": "wait for start",
    "exec": "become the process",
}
LEGEND = "H the host's part (pyrunc itself)   M the first process, outside the pid namespace   I init, which becomes the process\n" \
         ">slot is made by the op, ends=slot: closed after it   <- the property of config.json, or the default, that asks for it\n"
BOLD, DIM, RESET = "\x1b[1m", "\x1b[2m", "\x1b[0m"
ROLES = {"H": "\x1b[36m", "M": "\x1b[35m", "I": "\x1b[32m"}
RED, GREEN = "\x1b[31m", "\x1b[32m"


def sections(plan: Plan) -> list[tuple[str, list[Op]]]:
    """[(phase, its ops)] in order: an op of any phase, and what the host does at a SYNC, belongs to the phase it stands in."""
    found: list[tuple[str, list[Op]]] = [("host", [])]
    for op in plan.ops:
        if op.role != "H" and op.row.phase in PHASES and op.row.phase != found[-1][0]:
            found.append((op.row.phase, []))
        elif op.role != "H" and found[-1][0] == "host":
            found.append(("clean", []))
        found[-1][1].append(op)
    return [(phase, ops) for phase, ops in found if ops]


def text(plan: Plan, phase: str | None = None, colour: bool = False) -> str:
    """The legend, and below the heading of each phase `  #  role  OP operands   <- source`, one op a line."""
    ends = plan.ends()
    parts = [_dim(LEGEND, colour)]
    for name, ops in sections(plan):
        if phase in (None, name):
            parts.append(f"\n{_in(BOLD, f'{name}: {SECTIONS[name]}', colour)}\n")
            parts += [_line(op, ends.get(op.index, []), colour) for op in ops]
    return "".join(parts)


def _line(op: Op, ending: list[str], colour: bool) -> str:
    body = f"{op.name:12} {operands(op)}{' ends=' + ','.join(ending) if ending else ''}"
    return f"{op.index + 1:4}  {_in(ROLES[op.role], op.role, colour)}  {body:88}{_dim(f'  <- {op.source}', colour)}\n"


def _in(code: str, said: str, colour: bool) -> str:
    return f"{code}{said}{RESET}" if colour else said


def _dim(said: str, colour: bool) -> str:
    return _in(DIM, said, colour)


def operands(op: Op, numbered: bool = True) -> str:
    """Not numbered: without the numbers of ops and SYNCs, which are others in another plan."""
    parts = []
    for slot, name in op.given():
        mark = ">" if slot.made else ""
        bare = slot.made == LIST or slot.name in ("tree", "root", "proc", name)
        parts.append(f"{mark}{name}" if bare else f"{slot.name}={mark}{name}")
    parts += [show(name, kind, value) for (name, kind), value in zip(op.row.args, op.args) if numbered or kind.name != "seq"]
    if op.tolerate:
        parts.append(f"tolerate={','.join(map(errno_name, op.tolerate))}")
    if op.unless is not None:
        parts.append(f"only-if-{op.unless.index + 1 if numbered else op.unless.name}-failed")
    return " ".join([part for part in parts if part])


def show(name: str, kind: Kind, value: Value) -> str:
    """One operand, in the notation of its man page; what says nothing is left out."""
    said = kind.show(value)
    return said if kind.quoted or not said else f"{name}={said}"


def data(plan: Plan, phase: str | None = None) -> list[Entry]:
    """The same as a list of objects for JSON, in the same words."""
    ends = plan.ends()
    return [_entry(op, name, ends.get(op.index, [])) for name, ops in sections(plan) if phase in (None, name) for op in ops]


def _entry(op: Op, phase: str, ending: list[str]) -> Entry:
    entry: Entry = {"n": op.index + 1, "role": op.role, "phase": phase, "op": op.name, "slots": {}}
    for slot, name in op.given():
        if slot.made == LIST:
            entry["slots"].setdefault(slot.name, []).append(name)
        else:
            entry["slots"][slot.name] = name
    if ending:
        entry["ends"] = ending
    entry["args"] = {name: _plain(kind, value) for (name, kind), value in zip(op.row.args, op.args)}
    entry["source"] = op.source
    if op.tolerate:
        entry["tolerate"] = [errno_name(number) for number in op.tolerate]
    if op.unless is not None:
        entry["only_if_failed"] = op.unless.index + 1
    if op.row.guards:
        entry["guards"] = list(op.row.guards)
    return entry


def _plain(kind: Kind, value: Value) -> Value:
    """A number, a text or a list of texts is one in JSON too; all else is what people read."""
    if kind.type in (str, bool, dict) or kind.show is str or kind.wire == "vec":
        return value
    return kind.show(value)


# --- two plans ---


def diff(one: Plan, other: Plan, names: tuple[str, str], phase: str | None = None, colour: bool = False) -> str:
    """What stands in one of them only, by phase. An op is the same if it does the same to the same: its number and its source may
    differ, and whether the first process does it or init."""
    out, count = [f"- {names[0]}\n+ {names[1]}\n"], [0, 0]
    for name, rows in _changes(one, other):
        if phase in (None, name) and rows:
            out.append(f"\n{_in(BOLD, f'{name}: {SECTIONS[name]}', colour)}\n")
            for mark, op in rows:
                count[mark == "+"] += 1
                body = f"{mark} {op.role}  {op.name:12} {operands(op, False)}"
                out.append(f"{_in(GREEN if mark == '+' else RED, f'{body:92}', colour)}{_dim(f'  <- {op.source}', colour)}\n")
    if not any(count):
        return "".join(out) + "\nthe plans do the same\n"
    return "".join(out) + f"\n{count[0]} ops less, {count[1]} more\n"


def diff_data(one: Plan, other: Plan, phase: str | None = None) -> dict[str, list[Entry]]:
    """{"removed": [...], "added": [...]}, as in `data`."""
    found: dict[str, list[Entry]] = {"removed": [], "added": []}
    ends = {"removed": one.ends(), "added": other.ends()}
    for name, rows in _changes(one, other):
        for mark, op in rows if phase in (None, name) else []:
            which = "added" if mark == "+" else "removed"
            found[which].append(_entry(op, name, ends[which].get(op.index, [])))
    return found


def _changes(one: Plan, other: Plan) -> list[tuple[str, list[tuple[str, Op]]]]:
    """[(phase, [("-" or "+", op)])] of every phase, in order."""
    parts: tuple[dict[str, list[Op]], dict[str, list[Op]]] = {}, {}
    for part, plan in zip(parts, (one, other)):
        for name, ops in sections(plan):
            part.setdefault(name, []).extend(ops)
    return [(name, _between(parts[0].get(name, []), parts[1].get(name, []))) for name in SECTIONS]


def _between(one: list[Op], other: list[Op]) -> list[tuple[str, Op]]:
    keys = [[(op.role == "H", op.name, operands(op, False)) for op in ops] for ops in (one, other)]
    return [("-", one[at]) if mine else ("+", other[at]) for mine, at in edits(*keys)]


def edits(one: Sequence[Hashable], other: Sequence[Hashable]) -> list[tuple[bool, int]]:
    """The fewest that lead from one to the other: [(whether of the first, its place there)]. Myers, An O(ND) difference algorithm."""
    ahead, trace = {1: 0}, []
    for depth in range(len(one) + len(other) + 1):
        trace.append(dict(ahead))
        for k in range(-depth, depth + 1, 2):
            down = k == -depth or k != depth and ahead[k - 1] < ahead[k + 1]
            x = ahead[k + 1] if down else ahead[k - 1] + 1
            while x < len(one) and x - k < len(other) and one[x] == other[x - k]:
                x += 1
            ahead[k] = x
            if x >= len(one) and x - k >= len(other):
                return _walk_back(trace, len(one), len(other))
    raise AssertionError("no way from one to the other")


def _walk_back(trace: list[dict[int, int]], x: int, y: int) -> list[tuple[bool, int]]:
    found = []
    for depth in range(len(trace) - 1, 0, -1):
        ahead, k = trace[depth], x - y
        down = k == -depth or k != depth and ahead[k - 1] < ahead[k + 1]
        x = ahead[k + 1] if down else ahead[k - 1]
        y = x - (k + 1 if down else k - 1)
        found.append((False, y) if down else (True, x))
    return found[::-1]
