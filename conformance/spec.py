"""Extracts the clauses of the runtime specification from its text, which comes as a Go module (`make conformance`).

A clause is a sentence (or a row of a table) with a word of RFC 2119 in it, in one of FILES. Its id is FILE#ANCHOR-N: the
N-th clause below the last heading that has an anchor. The version is pinned, so ids do not move. Used by clauses.py, and by
people: `spec.py [PART OF AN ID]` prints the sentences.
"""

import os
import re
import sys
from pathlib import Path

DIRECTORY = Path(os.environ.get("RUNTIME_SPEC") or Path(__file__).resolve().parent.parent / "build/conformance/spec")
FILES = ("config.md", "config-linux.md", "runtime.md", "runtime-linux.md", "features.md", "features-linux.md")
LEVEL = re.compile(r"\b(NOT RECOMMENDED|MUST NOT|SHOULD NOT|SHALL NOT|MUST|SHOULD|SHALL|REQUIRED|RECOMMENDED)\b")
ANCHOR = re.compile(r'#+ .*<a name="(\w+)"')
NEW_UNIT = re.compile(r"\s*([*|>#]|\d+\.|\[[^]]+\]:|`[\w ]+`\s+\||$)")
SENTENCE = re.compile(r"(?:(?<=\.)|(?<=\.\)))\s+(?=[A-Z`*\[])")


class Clause:
    """id, its text, and the strongest levels in it, in the order of the text."""

    def __init__(self, id, text):
        self.id, self.text = id, text
        self.level = ", ".join(dict.fromkeys(LEVEL.findall(text)))


def clauses(directory=DIRECTORY):
    """{id: Clause} in the order of the text."""
    found = {}
    for name in FILES:
        anchor, number = "", 0
        for unit in units((directory / name).read_text()):
            if heading := ANCHOR.match(unit):
                anchor, number = heading[1], 0
            for sentence in [unit] if unit.startswith("| ") else SENTENCE.split(unit):
                if LEVEL.search(sentence):
                    number += 1
                    clause = Clause(f"{name}#{anchor}-{number}", sentence)
                    found[clause.id] = clause
    return found


def units(text):
    """Headings, list items, rows and paragraphs, each joined to one line; without code blocks and link targets."""
    unit, fenced = "", False
    for line in text.splitlines():
        fence = line.strip().startswith("```")
        fenced ^= fence
        if fenced or unit.startswith("#") or NEW_UNIT.match(line):
            if unit:
                yield unit
            unit = ""
        if not (fence or fenced):
            unit = f"{unit} {line.strip()}".strip()
    yield unit



if __name__ == "__main__":
    for clause in clauses().values():
        if not sys.argv[1:] or sys.argv[1] in clause.id:
            print(f"{clause.id}  [{clause.level}]  {clause.text}")
