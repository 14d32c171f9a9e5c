"""The plan for people: one line per op with the property it comes from, or the same as JSON. Pure."""

from ..config.names import CAPABILITIES, NAMESPACES
from .optable import OPS
from .script import LIST

HEX = ("flags", "nstype", "set", "clear", "attr", "propagation", "explicit", "perms", "keep", "caps")
OCTAL = ("mode", "mask")


def phase(op):
    return "host" if op.role == "H" else OPS[op.name][2]


def text(plan):
    """`  #  role phase  OP operands   <- source`, one op a line; ends: slots that are closed after it."""
    lines, ends = [], plan.ends()
    for op in plan.ops:
        body = f"{op.index + 1:4}  {op.role}  {phase(op):5}  {op.name:12} {operands(op)}"
        if op.index in ends:
            body += f" ends={','.join(ends[op.index])}"
        lines.append(f"{body:96}  <- {op.source or 'default'}".rstrip())
    return "\n".join(lines) + "\n"


def operands(op):
    slots, args = op.signature()
    parts = []
    for (name, _, made), value in zip(slots, op.slots):
        if made == LIST:
            parts.append(f">{value}" if value else "")
        elif value:
            parts.append(f"{'>' if made else ''}{value}" if name in ("tree", "root", "proc") else f"{name}={'>' if made else ''}{value}")
    parts += [show(op, name, value) for name, value in zip(args, op.args)]
    if op.tolerate:
        parts.append(f"tolerate={','.join([str(e) for e in op.tolerate])}")
    if op.unless is not None:
        parts.append(f"only-if-{op.unless.index + 1}-failed")
    return " ".join([part for part in parts if part])


def show(op, name, value):
    """One operand, in the notation of its man page; zero flags are left out."""
    if name == "flags" and op.name in ("SPAWN", "UNSHARE") or name == "nstype":
        return f"{name}={'|'.join([k for k, (bit, _) in NAMESPACES.items() if value & bit]) or 0}"
    if name in ("keep", "caps"):
        return f"{name}={capabilities(value)}"
    if name == "masks":
        sets = [int.from_bytes(value[i:i + 8], "little") for i in (0, 8, 16)]
        return " ".join([f"{k}={capabilities(v)}" for k, v in zip(("effective", "permitted", "inheritable"), sets)])
    if name in OCTAL and type(value) is int:
        return f"{name}={value:04o}"
    if name in HEX and type(value) is int:
        return f"{name}={value:#x}" if value else ""
    if type(value) is bytes:
        return f"{name}=<{len(value)} bytes>" if len(value) > 32 else f"{name}={value.hex()}"
    if type(value) is str:
        if not value:
            return ""
        quoted = name in ("path", "type", "name", "target", "value", "like")
        return '"' + value.replace("\n", "\\n") + '"' if quoted else f"{name}={value!r}"
    return f"{name}={value}"


def capabilities(bits):
    return ",".join([name[4:].lower() for name, bit in CAPABILITIES.items() if bits >> bit & 1]) or "none"


def data(plan):
    """The same as a list of objects for JSON."""
    out, ends = [], plan.ends()
    for op in plan.ops:
        slots, args = op.signature()
        entry = {"n": op.index + 1, "role": op.role, "phase": phase(op), "op": op.name}
        entry["slots"] = {name: value for (name, _, made), value in zip(slots, op.slots) if value and made != LIST}
        if slots and slots[-1][2] == LIST and op.produced():
            entry["slots"][slots[-1][0]] = op.produced()
        if op.index in ends:
            entry["ends"] = ends[op.index]
        entry["args"] = {name: plain(value) for name, value in zip(args, op.args)}
        entry["source"] = op.source
        if op.tolerate:
            entry["tolerate"] = list(op.tolerate)
        if op.unless is not None:
            entry["only_if_failed"] = op.unless.index + 1
        out.append(entry)
    return out


def plain(value):
    if type(value) is bytes:
        return value.hex()
    if type(value) in (list, tuple):
        return [plain(item) for item in value]
    return value
