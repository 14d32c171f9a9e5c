"""A plan as plain values for JSON, and back: create keeps the one it runs beside state.json, `start` and `explain --id` read it.

What is read goes through Plan.add, as what a compiler adds does: an op that this version does not know, or whose operands are not
as its row says, makes the whole unknown. So the plan of an older or newer pyrunc, or a damaged one, is None. (Pure.)
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING
from .ops import OPS
from .script import Plan

if TYPE_CHECKING:
    from typing import Any

    from .kinds import Kind, Value
    from .ops import Op

FORMAT = 1


def dump(plan: Plan) -> dict[str, Any]:
    """The slots and operands of each op stand in the order of its row."""
    return {"format": FORMAT, "base": plan.base, "file": plan.file, "ops": [_row(op, plan.environ) for op in plan.ops]}


def _row(op: Op, environ: list[str]) -> list[Any]:
    args = [value.hex() if type(value) is bytes else value for value in op.args]
    if op.name == "HOOK" and environ and op.value("env") == environ:  # the caller's own, which may hold what is nobody's to keep
        args[[name for name, _ in op.row.args].index("env")] = []
    return [op.role, op.name, op.slots, args, op.source, op.tolerate, None if op.unless is None else op.unless.index]


def load(data: Any) -> Plan | None:
    """The plan that `dump` has made this of, if it is one."""
    try:
        if data["format"] != FORMAT:
            return None
        plan = Plan(data["base"], data.get("file"))
        for row in data["ops"]:
            _add(plan, *row)
    except (TypeError, ValueError, LookupError, AttributeError):
        return None
    whole = plan.has("PLAN") and plan.ops[-1].name == "EXEC" and (plan.ops[-1].value("argv") or not plan.has("LOOKUP"))
    return plan if whole else None


def _add(plan: Plan, role: str, name: str, slots: list[str | None], args: list[Value], source: str, tolerate: list[int],
         unless: int | None) -> None:
    if not ([type(part) for part in (role, slots, args, source, tolerate)] == [str, list, list, str, list] and role in ("H", "M", "I")
            and {*map(type, slots)} <= {str, type(None)} and "" not in slots and {*map(type, tolerate)} <= {int}
            and (unless is None or type(unless) is int and unless >= 0)):
        raise TypeError(f"{name}: no op")
    bytes(tolerate)  # each is one
    stands_for = None if unless is None else plan.ops[unless]
    plan.add(role, name, slots, _args(name, args), tuple(tolerate), stands_for, source)
    plan.syncs += name == "SYNC"


def _args(name: str, args: list[Value]) -> list[Value]:
    found = [_back(kind, value) for (_, kind), value in zip(OPS[name].args, args)] + args[len(OPS[name].args):]
    if name == "PROPERTY" and found[1] == "ay":
        found[2] = bytes.fromhex(found[2])
    return found


def _back(kind: Kind, value: Value) -> Value:
    """JSON has neither bytes nor tuples."""
    if kind.type is bytes:
        return bytes.fromhex(value)
    return [tuple(row) for row in value] if kind.name in ("rules", "limits") else value
