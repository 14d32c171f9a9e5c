"""pyrunc._native, twice from the same declarations: record.h and every native_*.h is cdef, every shim_*.c (and bus.c, seccomp.c) source.

`builder` is cffi's module, for the checkout and for the launchers that load shared objects. `write_seam` is what csrc/seam.c
includes to offer the same without cffi at run time, for the linked program: cffi reads the declarations, and what it read is
written down as a table of types and a wrapper for each function.
"""

import ast
import pathlib

import cffi
from cffi import model

HERE = pathlib.Path(__file__).resolve().parent

def declarations():
    """What the headers declare, without what is the preprocessor's, which cffi does not read."""
    texts = [path.read_text() for path in (HERE / "record.h", *sorted(HERE.glob("native_*.h")))]
    return "".join(line for text in texts for line in text.splitlines(keepends=True) if not line.startswith("#"))


DECLARATIONS = declarations()
SOURCES = [str(path.relative_to(HERE.parent)) for path in sorted([*HERE.glob("shim_*.c"), HERE / "bus.c", HERE / "seccomp.c"])]


def declared():
    ffi = cffi.FFI()
    ffi.cdef(DECLARATIONS)
    return ffi


def builder(include, compile_flags, link_flags):
    """An FFI builder; `include` is the directory that holds the generated init_image.h."""
    ffi = declared()
    ffi.set_source(
        "pyrunc._native",
        "#include <stddef.h>\n#include <stdint.h>\n" + DECLARATIONS,
        sources=SOURCES,
        include_dirs=[str(include), "csrc"],
        extra_compile_args=["-O2", "-std=gnu11", "-Wall", *compile_flags],
        extra_link_args=link_flags,
    )
    return ffi


def asked_for(package):
    """The types that pyrunc/kernel*.py hand to ffi.new(), in order."""
    calls = (node for path in sorted(package.glob("kernel*.py")) for node in ast.walk(ast.parse(path.read_bytes())))
    return sorted({node.args[0].value for node in calls if isinstance(node, ast.Call) and ast.unparse(node.func) == "ffi.new"})


class Types:
    """The `struct type` of every type that is used, each after those it is made of."""

    def __init__(self):
        self.names = {}  # its C declaration -> its variable
        self.lines = []

    def add(self, kind):
        name = kind.get_c_name().replace(" const", "")
        if name not in self.names:
            row = self.row(kind, name)
            self.names[name] = f"t{len(self.names)}"
            self.lines.append(f"static const struct type {self.names[name]} = {{{row}}};")
        return self.names[name]

    def row(self, kind, name):
        quoted = f'"{name}"'
        if isinstance(kind, model.PrimitiveType):
            if name == "double":
                letter = "DOUBLE"
            elif name == "char":
                letter = "CHAR"
            else:
                letter = "SIGNED" if kind.is_integer_type() and not name.startswith(("unsigned", "uint", "size_t")) else "UNSIGNED"
            return f"{quoted}, {letter}, sizeof({name}), NULL, 0, NULL"
        if isinstance(kind, model.PointerType):
            return f"{quoted}, POINTER, sizeof(void *), &{self.add(kind.totype)}, 0, NULL"
        if isinstance(kind, model.ArrayType):
            length = -1 if kind.length is None else kind.length
            size = 0 if kind.length is None else f"sizeof({name})"
            return f"{quoted}, ARRAY, {size}, &{self.add(kind.item)}, {length}, NULL"
        if kind.fldnames is None:
            return f"{quoted}, OPAQUE, 0, NULL, 0, NULL"
        fields = zip(kind.fldnames, kind.fldtypes, strict=True)
        rows = [f'{{"{field}", &{self.add(of)}, offsetof({name}, {field})}}' for field, of in fields]
        self.lines.append(f"static const struct field {kind.name}_fields[] = {{{', '.join(rows)}, {{0}}}};")
        return f"{quoted}, STRUCT, sizeof({name}), NULL, 0, {kind.name}_fields"


def wrapper(name, function, types):
    """A function of Python's that takes its arguments apart and calls the one in C."""
    lines = [f"static PyObject *py_{name}(PyObject *self, PyObject *const *args, Py_ssize_t n)", "{", "    (void)self, (void)args;"]
    tests = [f'!count("{name}", n, {len(function.args)})']
    for i, kind in enumerate(function.args):
        lines.append(f"    {kind.get_c_name(f' a{i}')};")
        tests.append(f"argument(&{types.add(kind)}, (char *)&a{i}, args[{i}])")
    result = f"{function.result.get_c_name(' ret')} = {name}({', '.join([f'a{i}' for i in range(len(function.args))])});"
    return [*lines, f"    if ({' || '.join(tests)})", "        return NULL;", f"    {result}",
            f"    return load(&{types.add(function.result)}, (char *)&ret, NULL);", "}"]


def write_seam(package, out):
    """Write `out`, which csrc/seam.c includes."""
    ffi, types = declared(), Types()
    parser = ffi._parser
    functions = {key.partition(" ")[2]: kind.as_raw_function() if hasattr(kind, "as_raw_function") else kind
                 for key, (kind, _) in parser._declarations.items() if key.startswith("function ")}
    wrappers = [line for name, function in functions.items() for line in wrapper(name, function, types)]
    wanted = [f'    {{"{text}", &{types.add(parser.parse_type(text))}}},' for text in asked_for(package)]
    rows = [f'    {{"{name}", (PyCFunction)(void (*)(void))py_{name}, METH_FASTCALL, NULL}},' for name in functions]
    out.write_text("\n".join([
        DECLARATIONS, *types.lines, *wrappers,
        "static const struct { const char *name; const struct type *type; } types[] = {", *wanted, "    {0},", "};",
        "static PyMethodDef lib_methods[] = {", *rows, "    {0},", "};", ""]))
