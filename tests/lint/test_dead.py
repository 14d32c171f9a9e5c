"""What nobody uses is taken away: names of Python by vulture, functions of C by the linker. What only a test uses is not used."""

import ast
import re
import subprocess
from pathlib import Path

import vulture

REPOSITORY = Path(__file__).resolve().parent.parent.parent
# Used, but not by a name that could be found; or waiting for the change that takes them away.
KEPT = {
    ("pyrunc/__main__.py", "dont_write_bytecode"): "of sys",
    ("pyrunc/lifecycle.py", "reserve"): "memory to be given back: what counts is that it goes",
    ("pyrunc/state.py", "trace"): "of __exit__",
    ("pyrunc/plan/check.py", "violations"): "the verifier, which tests run over every plan",
    ("pyrunc/plan/sealed.py", "END"): "what tests expect init to call when it ends",
}
PENDING = {  # in rooms that are about to be rewritten; to be empty
    "csrc/picture.py": {"PT_TLS"}, "pyrunc/config/names.py": {"CAPABILITY_SETS"}, "pyrunc/config/schema_gen.py": {"xvv"},
    "pyrunc/facts.py": {"cpus"}, "pyrunc/plan/check.py": {"CLONE_NEWUSER"}, "pyrunc/plan/encode.py": {"vec"},
    "pyrunc/plan/exec.py": {"CGROUP_NS"}, "pyrunc/plan/namespaces.py": {"CGROUP", "PID"},
}


def test_every_name_is_used():
    finder = vulture.Vulture()
    finder.scavenge([str(REPOSITORY / name) for name in ("pyrunc", "csrc", "setup.py")])
    found = [(str(Path(item.filename).relative_to(REPOSITORY)), item.name, item.first_lineno) for item in finder.get_unused_code()]
    left = [f"{file}:{line}: {name}" for file, name, line in found
            if (file, name) not in KEPT and name not in PENDING.get(file, ()) and not looked_up_by_key(file, line)]
    assert left == []


def looked_up_by_key(file, line):
    """Whether the line is a field of a TypedDict."""
    classes = [node for node in ast.walk(ast.parse((REPOSITORY / file).read_text())) if isinstance(node, ast.ClassDef)]
    return any(node.lineno < line <= node.end_lineno and "TypedDict" in map(ast.unparse, node.bases) for node in classes)


def test_every_function_of_init_is_used(tmp_path):
    flags = "-std=c11 -Os -ffreestanding -fstack-protector-strong -mstack-protector-guard=global -fno-pic -no-pie -static -nostdlib -ffunction-sections".split()
    sources = sorted(str(path) for path in (REPOSITORY / "csrc/init").glob("*.c"))
    done = subprocess.run(["cc", *flags, "-Wl,--gc-sections,--print-gc-sections", *sources, "-o", str(tmp_path / "init")],
                          capture_output=True, text=True, check=True)
    unused = set(re.findall(r"'\.text\.(\w+)'", done.stderr))
    assert unused <= {"memcpy", "memset"}, "the two that a compiler may call"


def test_every_function_of_the_seam_is_used():
    declared = re.findall(r"\b(\w+)\([^;]*\);", "".join(path.read_text() for path in (REPOSITORY / "csrc").glob("native_*.h")))
    used = set(re.findall(r"\blib\.(\w+)", "".join(path.read_text() for path in (REPOSITORY / "pyrunc").glob("kernel*.py"))))
    assert len(declared) > 50 and [name for name in declared if name not in used] == []
