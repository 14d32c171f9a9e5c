"""The catalogue of what pyrunc says to people, read off the source: a change of words is a change of words.txt, seen in review.

Taken is every text of pyrunc/ that has two words in it, but for docstrings and what is generated. So no message can be forgotten.
`PYRUNC_GOLDENS=write` renews the catalogue.
"""

import ast
import os
import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent.parent / "pyrunc"
CATALOGUE = Path(__file__).with_name("words.txt")
COMPATIBILITY = PACKAGE.parent / "docs/compatibility.md"
GENERATED = ("schema_data.py", "schema_gen.py", "optable.py")
CALLS = {"Error": "errors", "from_oserror": "errors", "warning": "warnings", "remark": "warnings", "debug": "debug lines",
         "Fault": "faults of a document", "_Fault": "faults of a document", "path_fault": "faults of a document"}
# No text: the operands of an op ("path:str flags:u32"), and a type in quotes.
NO_TEXT = re.compile(r"(>*\w+\??:\w+\??)( >*\w+\??:\w+\??)*|[\w.]+\[[\w\[\], .|]+|struct \w+ \*+")
WORDS = re.compile(r"[A-Za-z\"'`}),:]\s+[A-Za-z\"'`{(/-]")


def texts(tree):
    """(kind, text) of every text; a value that is filled in stands as {}."""
    def walk(node, kind):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            kind = CALLS.get(name, kind)
        if isinstance(node, ast.Assign):
            names = " ".join(ast.unparse(target) for target in node.targets)
            kind = "hints" if "hint" in names.lower() or "cure" in names.lower() else kind
        if isinstance(node, ast.keyword) and node.arg == "hint":
            kind = "hints"
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return  # a docstring
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield kind, node.value
        elif isinstance(node, ast.JoinedStr):
            yield kind, "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    yield from walk(part.value, kind)
        else:
            fields = [value for field, value in ast.iter_fields(node) if field not in ("annotation", "returns")]
            for child in [child for value in fields for child in (value if isinstance(value, list) else [value])]:
                if isinstance(child, ast.AST):
                    yield from walk(child, kind)
    yield from walk(tree, "other texts")


def catalogue():
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name not in GENERATED:
            for kind, text in texts(ast.parse(path.read_text(), str(path))):
                if WORDS.search(text) and not NO_TEXT.fullmatch(text):
                    found.setdefault(kind, set()).add(text)
    lines = []
    for kind in sorted(found):
        lines += [f"# {kind}", *sorted(line.encode("unicode_escape").decode() for line in found[kind]), ""]
    return "\n".join(lines)


def test_the_words_are_those_that_were_read():
    if os.environ.get("PYRUNC_GOLDENS") == "write":
        CATALOGUE.write_text(catalogue())
    assert catalogue() == CATALOGUE.read_text()


def sentinels():
    """The texts that callers match: what stands in quotes in docs/compatibility.md, "Errors". A word in capitals is filled in."""
    section = COMPATIBILITY.read_text().partition("\n## Errors\n")[2].partition("\n## ")[0]
    return [text for text in re.findall("`([^`]+)`", section) if " " in text and text[0] not in "{-" and not text.startswith("time=")]


def test_what_callers_match_is_still_said():
    said = CATALOGUE.read_text()
    assert len(sentinels()) >= 20
    assert [text for text in sentinels() if text not in said and re.sub(r"\b[A-Z]+\b", "{}", text) not in said] == []
