"""Freeze pyrunc into the launcher: every module as marshalled code.

setup.py calls `write`. The output is `frozen.bin` (all code objects, one after the other), `frozen.c` (the table CPython looks in)
and, frozen with the rest, the module `pyrunc._build`, which knows the COMMIT this was built from.
"""

import importlib.util
import marshal
import pathlib

# What the interpreter imports to start, and what is not frozen in libpython itself.
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


def write(package, installed, commit, out):
    """Write frozen.bin and frozen.c into `out`; code objects name their sources below the directory `installed`."""
    modules = sources(package)
    texts = {"pyrunc._build": (f"COMMIT = {commit!r}\n", False, f"{installed}/_build.py")}
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
