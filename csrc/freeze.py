"""Freeze pyrunc into the launcher: every module as marshalled code, and for each hot verb the order to run them in.

setup.py calls `write`. The output is `frozen.bin` (all code objects, one after the other), `frozen.c` (the table CPython
looks in) and, frozen with the rest, the module `pyrunc._build` that boot.py reads:

    COMMIT   the commit this was built from
    HOT      verb -> its modules, each after those it imports at its top; ~name: only if it is used
    DYNAMIC  extension module of the standard library -> its file (some builds have _json built in, some do not)

A verb is hot when all it imports at top level is pyrunc, builtin or a single shared object; importing any Python module
of the standard library makes it cold: that needs the interpreter's second phase, and with it twice the time.
"""

import ast
import importlib.machinery
import importlib.util
import marshal
import pathlib
import sys

HOT_VERBS = ("create", "start", "run", "state", "kill", "delete", "exec", "list", "pause", "resume", "update")
# Only verbs that make a process compile and check; the others hold these modules by name and seldom look into them, so
# there a stand-in waits in the package for the first look (boot.py). Marked with ~ in HOT.
MAKERS = ("create", "run", "exec")
SELDOM = ("pyrunc.config.rules", "pyrunc.config.schema_gen", "pyrunc.plan.create", "pyrunc.plan.words", "pyrunc.supervise",
          "pyrunc.facts")
# The second phase's first imports. The other modules it needs are frozen in libpython itself.
STDLIB = ("encodings", "encodings.aliases", "encodings.utf_8")


def sources(package):
    """{module name: (path, is a package)} of the tree at `package`; directories without __init__.py are packages too."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = (package.name, *path.relative_to(package).with_suffix("").parts)
        if "_bytecode" in parts:
            continue
        if parts[-1] == "__init__":
            found[".".join(parts[:-1])] = (path, True)
        else:
            found[".".join(parts)] = (path, False)
            for n in range(1, len(parts)):
                found.setdefault(".".join(parts[:n]), (None, True))
    return found


def top_level_imports(name, modules):
    """Absolute names that module `name` imports whenever it is executed: not those inside functions."""
    path, is_package = modules[name]
    if path is None:
        return
    todo = list(ast.parse(path.read_bytes()).body)
    while todo:
        node = todo.pop(0)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = name.split(".")
                parents = parents[: len(parents) - node.level + is_package]
                base = ".".join([*parents, base] if base else parents)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if f"{base}.{alias.name}" in modules)
        elif not isinstance(node, (ast.FunctionDef, ast.Lambda)):
            todo[:0] = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
            todo[:0] = [stmt for child in ast.iter_child_nodes(node) if isinstance(child, ast.ExceptHandler)
                        for stmt in child.body]


class Cold(Exception):
    """This verb needs a Python module of the standard library."""


def shared_object(name):
    """File of an extension module of the standard library, None if there is no such module."""
    spec = importlib.machinery.PathFinder.find_spec(name, [p for p in sys.path if p])
    if spec is None:
        return None
    if not (spec.origin or "").endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES)):
        raise Cold(name)
    return spec.origin


def order(name, modules, dynamic, seldom, seen, done):
    """Append `name` to `done`, after everything it imports."""
    if name in seen or name == "sys":
        return
    seen.add(name)
    if name in seldom:
        order(name.rpartition(".")[0], modules, dynamic, seldom, seen, done)
        done.append("~" + name)
    elif name == "pyrunc._native":
        done += ["_cffi_backend", name]
    elif name in modules:
        for needed in (name.rpartition(".")[0] or name, *top_level_imports(name, modules)):
            order(needed, modules, dynamic, seldom, seen, done)
        done.append(name)
    elif name in sys.builtin_module_names:
        done.append(name)
    else:
        origin = shared_object(name)
        if origin:
            dynamic[name] = origin
            done.append(name)


def hot_table(modules):
    hot, dynamic = {}, {}
    for verb in HOT_VERBS:
        if f"pyrunc.commands.{verb}" not in modules:
            continue
        done = []
        try:
            seldom = () if verb in MAKERS else SELDOM
            order(f"pyrunc.commands.{verb}", modules, dynamic, seldom, set(), done)
        except Cold as cold:
            print(f"freeze: {verb} is not hot: it imports {cold}", file=sys.stderr)
            continue
        hot[verb] = tuple(done)
    return hot, dynamic


def write(package, installed, commit, out):
    """Write frozen.bin and frozen.c into `out`; code objects name their sources below the directory `installed`."""
    modules = sources(package)
    hot, dynamic = hot_table(modules)
    build = f"COMMIT = {commit!r}\nHOT = {hot!r}\nDYNAMIC = {dynamic!r}\n"
    texts = {"pyrunc._build": (build, False, f"{installed}/_build.py")}
    for name, (path, is_package) in modules.items():
        where = f"{installed}/{path.relative_to(package)}" if path else f"{installed}/{name}"
        texts[name] = (path.read_bytes() if path else b"", is_package, where)
    for name in STDLIB:
        spec = importlib.util.find_spec(name)
        texts[name] = (pathlib.Path(spec.origin).read_bytes(), spec.submodule_search_locations is not None, spec.origin)
    blob, rows = b"", []
    for name, (text, is_package, where) in texts.items():
        code = marshal.dumps(compile(text, where, "exec", dont_inherit=True, optimize=2))
        rows.append(f'    {{.name = "{name}", .code = frozen + {len(blob)}, .size = {len(code)}, '
                    f".is_package = {int(is_package)}}},")
        blob += code
    (out / "frozen.bin").write_bytes(blob)
    (out / "frozen.c").write_text("\n".join([
        "#include <Python.h>",
        f'__asm__(".section .rodata\\n.balign 64\\nfrozen: .incbin \\"{out / "frozen.bin"}\\"\\n.previous");',
        'extern const unsigned char frozen[] __attribute__((visibility("hidden")));',
        "const struct _frozen pyrunc_frozen[] = {", *rows, "    {0},", "};", "",
    ]))
