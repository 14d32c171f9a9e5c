"""Who may import whom, and what no module may do: read off the source, so that no path through the code is missed."""

import ast
import os
import textwrap
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent.parent / "pyrunc"
ARCHITECTURE = PACKAGE.parent / "docs/architecture.md"

# A layer may import itself and those below it. The pure ones at the bottom know nothing of a kernel.
LAYERS = (
    ("boot", "__main__", "picture"),
    ("commands",),
    ("lifecycle", "foreground"),
    ("supervise",),
    ("host", "seccomp", "state"),
    ("facts",),
    ("plan",),
    ("config",),
    ("kernel", "kernel_bpf", "kernel_bus", "kernel_hook", "kernel_net", "kernel_seccomp", "kernel_tty", "jsonio", "log", "args"),
    ("errors", "paths", "jsonfault", "typed", "_native", "_json", "_build"),
)
LEVEL = {name: level for level, names in enumerate(reversed(LAYERS)) for name in names}
# Upward, with the reason.
UPWARD = {
    ("args", "facts"): "whether root is the root of a user namespace decides the default state root",
}
PURE = ("plan", "config")
TYPES = {"__future__", "typing", "collections"}
# What a pure module may import of the standard library beside those; load.py reads the file and words.py has strerror.
PURE_STDLIB = {"config.load": {"posix"}, "plan.words": {"posix"}, "config.schema": {"jsonschema"}}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        yield name.removesuffix(".__init__"), path.name == "__init__.py", ast.parse(path.read_text(), str(path))


MODULES = {name: (is_package, tree) for name, is_package, tree in modules()}


def imports(name):
    """(node, absolute name below pyrunc or None, standard library name or None) of every import, lazy ones too."""
    is_package, tree = MODULES[name]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _split(node, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = ["pyrunc", *name.split(".")]
                parts = parts[:len(parts) - node.level + (is_package and name != "__init__")]
                base = ".".join([*parts, base] if base else parts)
            for alias in node.names:
                full = f"{base}.{alias.name}".removeprefix("pyrunc.")
                yield from _split(node, f"pyrunc.{full}" if base.startswith("pyrunc") and full in MODULES else base)


def _split(node, name):
    top, _, below = name.partition(".")
    yield (node, below, None) if top == "pyrunc" else (node, None, top)


def top(name):
    return name.partition(".")[0]


@pytest.mark.parametrize("name", [name for name in MODULES if name != "__init__"])
def test_no_layer_imports_one_above_it(name):
    mine = top(name)
    for node, below, _ in imports(name):
        if below and top(below) != mine and (mine, top(below)) not in UPWARD:
            assert LEVEL[top(below)] <= LEVEL[mine], f"line {node.lineno}: {name} imports {below}"


def at_run_time(node):
    """All nodes but those that only a type checker sees."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            children = child.orelse
        else:
            children = [child]
            yield child
        for one in children:
            yield from at_run_time(one)


@pytest.mark.parametrize("name", MODULES)
def test_nobody_imports_typing_when_the_program_runs(name):
    for node in at_run_time(MODULES[name][1]):
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert not {"typing", "shape"} & {*(getattr(node, "module", None) or "").split("."), *[one.name for one in node.names]}, \
                f"line {node.lineno}: see pyrunc/typed.py"


def picture():
    """The layers, the upper above the lower."""
    there = {top(name) for name in MODULES}
    rows = [textwrap.wrap("  ".join(name for name in names if name in there), 92) for names in LAYERS]
    edge = "    +" + "-" * 94 + "+"
    return "\n".join([edge] + [line for row in rows for line in [*(f"    | {part:92} |" for part in row), edge]])


def test_the_picture_of_the_layers_is_theirs():
    before, start, rest = ARCHITECTURE.read_text().partition("<!-- layers -->\n")
    drawn, end, after = rest.partition("<!-- end of layers -->")
    assert start and end
    if os.environ.get("PYRUNC_GOLDENS") == "write":
        ARCHITECTURE.write_text(f"{before}{start}\n{picture()}\n\n{end}{after}")
    else:
        assert drawn.strip("\n") == picture()


def test_every_module_has_a_layer():
    assert {top(name) for name in MODULES} - {"__init__"} <= set(LEVEL)


@pytest.mark.parametrize("name", [name for name in MODULES if top(name) in PURE])
def test_plan_and_config_are_pure(name):
    for node, below, outside in imports(name):
        assert outside in (None, *TYPES, *PURE_STDLIB.get(name, ())), f"line {node.lineno}: {name} imports {outside}"
        assert below is None or not top(below).startswith("kernel"), f"line {node.lineno}: {name} imports {below}"


def test_cgroup2_does_not_know_that_v1_exists():
    for name in ("host.cgroup.v2", "plan.device_rules", "host.cgroup.device_filter", "plan.limits_v2"):
        assert not [below for _, below, _ in imports(name) if below and "v1" in below]


def test_there_is_no_cycle():
    graph = {name: {below for _, below, _ in imports(name) if below in MODULES and below != name} for name in MODULES}
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path[path.index(name):], name])
        if name in done:
            return
        path.append(name)
        for below in sorted(graph[name]):
            visit(below)
        done.add(path.pop())
    for name in graph:
        visit(name)


# --- what nobody may do

BANNED_MODULES = {"pickle", "marshal", "shelve", "ctypes", "importlib", "runpy", "code", "multiprocessing", "threading", "tempfile",
                  "shutil", "argparse", "logging"}
BANNED_CALLS = {"eval", "exec", "compile", "input", "breakpoint", "__import__"}
# Only init enters namespaces and roots, only the C shim forks.
BANNED_ATTRIBUTES = {"setns", "unshare", "chroot", "fork", "forkpty", "vfork", "system", "popen", "preexec_fn", "execve", "execv"}
ALLOWED = {
    ("picture", "__import__"): "everything that is frozen, when the program is built",
    ("plan.create", "compile"): "not the builtin", ("plan.exec", "compile"): "not the builtin",
    ("plan.limits", "compile"): "not the builtin", ("seccomp.compile", "compile"): "not the builtin",
}


@pytest.mark.parametrize("name", MODULES)
def test_nothing_dangerous_is_imported_or_called(name):
    for node, _, outside in imports(name):
        assert outside not in BANNED_MODULES, f"line {node.lineno}: {outside}"
        assert outside != "subprocess" or name == "commands.ps", f"line {node.lineno}: subprocess"
    for node in ast.walk(MODULES[name][1]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = node.func.id
            assert called not in BANNED_CALLS or (name, called) in ALLOWED, f"line {node.lineno}: {called}()"
            assert called != "open", f"line {node.lineno}: open() hides the flags; posix.open"
            assert called != "print", f"line {node.lineno}: print(); log.out"
        if isinstance(node, ast.Attribute):
            assert node.attr not in BANNED_ATTRIBUTES, f"line {node.lineno}: .{node.attr}"
        if isinstance(node, ast.keyword):
            assert node.arg not in ("shell", "preexec_fn"), f"line {node.lineno}: {node.arg}="
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: a bare except"


@pytest.mark.parametrize("name", MODULES)
def test_every_descriptor_is_opened_close_on_exec(name):
    for node in ast.walk(MODULES[name][1]):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "posix.open":
            flags = ast.unparse(node.args[1])
            home = "host.files" if "DIR" in flags.split(" ") else name  # the one such constant that another module uses
            named = [ast.unparse(other.value) for other in ast.walk(MODULES[home][1]) if isinstance(other, ast.Assign)
                     and ast.unparse(other.targets[0]) in flags.split(" ")]
            assert "O_CLOEXEC" in flags or any("O_CLOEXEC" in value for value in named), f"line {node.lineno}: {flags}"
