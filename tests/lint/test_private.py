"""What begins with an underscore stays in its module, and what the kernel has a name for is not spelt as a number."""

import ast
import errno
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent.parent / "pyrunc"
GENERATED = ("_native", "_json", "_build")
# Rooms whose numbers have names; the others follow.
NAMED = ("kernel*.py", "host/*.py", "host/cgroup/*.py")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nobody_imports_what_is_another_module_s_own(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("pyrunc")):
            own = [alias.name for alias in node.names if re.match(r"_[^_]", alias.name) and alias.name not in GENERATED]
            assert own == [], f"line {node.lineno}"


@pytest.mark.parametrize("path", sorted(path for glob in NAMED for path in PACKAGE.glob(glob)), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_errno_and_flags_of_open_are_named(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assign):
            names = {name.id.lstrip("_") for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)}
            known = names & set(errno.errorcode.values()) or {name for name in names if name.startswith("O_")}
            assert not known or not any(isinstance(part, ast.Constant) for part in ast.walk(node.value)), f"line {node.lineno}"
        if isinstance(node, ast.Compare) and "errno" in ast.unparse(node.left):
            compared = [part for right in node.comparators for part in ast.walk(right) if isinstance(part, ast.Constant)]
            assert not [part for part in compared if part.value], f"line {node.lineno}: {ast.unparse(node)}"
