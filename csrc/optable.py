"""Generate `pyrunc/plan/optable.py` from `ops.def` and `plan.h`: `python3 csrc/optable.py > pyrunc/plan/optable.py`.

setup.py runs it; the result is committed, and a test compares the two.
"""

import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
OP = re.compile(r'^OP\((\w+),\s*"(\w+)",\s*(\w+),\s*"([^"]*)",\s*"([^"]*)",\s*(\d)\)', re.M)


def pairs(signature):
    return tuple(tuple(item.split(":")) for item in signature.split())


def generate():
    text = (HERE / "ops.def").read_text()
    plan = (HERE / "plan.h").read_text()
    rows = []
    for code, (name, roles, phase, slots, args, sealed) in enumerate(OP.findall(text)):
        made = tuple((n.lstrip(">"), k, n.count(">")) for n, k in pairs(slots))
        rows.append(f'    "{name}": ({code}, "{roles}", "{phase}", {made!r}, {pairs(args)!r}, {sealed}),')
    steps = re.search(r"enum step \{(.*?)\}", plan, re.S).group(1)
    steps = [name.lower() for name in re.findall(r"\bSTEP_(\w+)", steps)]
    consts = re.findall(r"^#define ((?:PLAN|ATTACH|TREE|SAY)_\w+|BATCH|NO_SLOT)\s+(\S+)", plan, re.M)
    lines = [
        '"""The instruction set, generated from csrc/ops.def by csrc/optable.py. Do not edit.',
        "",
        "name: (code, roles, phase, ((slot, kind, produced), ...), ((arg, type), ...), may stand after SECCOMP); produced 2: a list",
        '"""',
        "",
        "OPS = {",
        *[re.sub(r"'", '"', row) for row in rows],
        "}",
        "",
        f"STEPS = {tuple(steps)!r}".replace("'", '"'),
        "",
    ]
    lines += [f"{name} = {int(value.rstrip('u'), 0)}" for name, value in consts if "<<" not in value and "(" not in value]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(generate())
