"""Generate `pyrunc/_native.pyi`, the types of the native module, from native_*.h: `python3 csrc/stub.py > pyrunc/_native.pyi`.

cffi reads the declarations (build_ffi.py); here they are said in Python's words. `ffi.new` takes the types that kernel*.py ask
for and no others. The result is committed, and a test compares the two.
"""

import keyword
import sys
import textwrap

from build_ffi import DECLARATIONS, HERE, asked_for, declared
from cffi import model

HEAD = '''"""pyrunc._native for the type checker, generated from csrc/native_*.h by csrc/stub.py. Do not edit."""

from collections.abc import Iterator, Sequence
from typing import Generic, Literal, TypeVar, overload

from typing_extensions import Buffer

_Item = TypeVar("_Item", covariant=True)

class _Pointer(Generic[_Item]):
    def __getitem__(self, index: int, /) -> _Item: ...

class _Array(_Pointer[_Item]):
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[_Item]: ...

class _Struct: ...
class _Null: ...
'''

FFI = """
class _FFI:
    NULL: _Null
    def buffer(self, data: _Pointer[object] | _Struct, size: int = ..., /) -> Buffer: ...
    def string(self, text: char_pointer, /) -> bytes: ..."""

BYTES = ("char", "unsigned char", "uint8_t")


def is_struct(kind):
    return isinstance(kind, model.StructOrUnion)


class Types:
    """The classes that stand for C's types, each after those it is made of."""

    def __init__(self):
        self.lines = {}  # class -> its text

    def add(self, name, rest):
        self.lines.setdefault(name, f"class {name}{rest}")
        return name

    def value(self, kind):
        """How Python sees a value of the type. A pointer to a struct is the struct, whose fields one reads through it."""
        if isinstance(kind, model.PrimitiveType):
            return {"char": "bytes", "double": "float"}.get(kind.name, "int")
        if isinstance(kind, model.ArrayType):
            pointer = self.pointer(kind.item)
            return self.add(pointer.replace("_pointer", "_array"), f"({pointer}, _Array[{self.value(kind.item)}]): ...")
        if is_struct(kind):
            return self.struct(kind)
        return self.struct(kind.totype) if is_struct(kind.totype) else self.pointer(kind.totype)

    def pointer(self, to):
        name = to.get_c_name().replace(" const", "").replace(" *", "_pointer").replace(" ", "_")
        return self.add(f"{name}_pointer", f"(_Pointer[{self.value(to)}]): ...")

    def struct(self, kind):
        fields = [f"\n    {name}: {self.value(of)}" for name, of in zip(kind.fldnames or (), kind.fldtypes or (), strict=True)]
        return self.add(f"struct_{kind.name}", "(_Struct):" + ("".join(fields) or " ..."))

    def argument(self, kind):
        """What a function takes for the type: bytes too where it only reads them, and NULL where it takes a pointer."""
        if not isinstance(kind, model.PointerType):
            return self.value(kind)
        is_lent = kind.quals & model.Q_CONST and kind.totype.get_c_name() in BYTES
        return f"{'bytes | ' if is_lent else ''}{self.value(kind)} | _Null"

    def new(self, text, kind):
        """ffi.new() of the type `text`: what the new value may be made of, and its class."""
        if isinstance(kind, model.ArrayType):
            of = "bytes" if kind.item.get_c_name() == "char" else f"Sequence[{self.argument(kind.item)}]"
            given = f", value: int | {of}" if kind.length is None else ""
        elif is_struct(kind.totype):
            fields = kind.totype.fldtypes or ()
            flat = fields and all(isinstance(of, model.PrimitiveType) for of in fields)
            given = f", value: tuple[{', '.join(map(self.value, fields))}] = ..." if flat else ""
        else:
            given = f", value: {self.value(kind.totype)} = ..." if isinstance(kind.totype, model.PrimitiveType) else ""
        return f'    @overload\n    def new(self, kind: Literal["{text}"]{given}, /) -> {self.value(kind)}: ...'

    def method(self, name, function, names):
        names = [f"{each}_" if keyword.iskeyword(each) else each for each in names]
        taken = [f"{each}: {self.argument(kind)}" for each, kind in zip(names, function.args, strict=True)]
        rows = ["self", *taken, *(["/"] if taken else [])]
        inside, result = ", ".join(rows), self.value(function.result)
        if len(inside) > 90:
            inside = "\n" + textwrap.fill(inside, 120, initial_indent=" " * 8, subsequent_indent=" " * 8) + "\n    "
        return f"    def {name}({inside}) -> {result}: ..."


def parameters(parser):
    """{function: the names of its parameters}, which cffi drops."""
    tree = parser._parse(DECLARATIONS)[0]
    return {node.name: [param.name for param in node.type.args.params if param.name] for node in tree.ext if hasattr(node.type, "args")}


def generate():
    types, parser = Types(), declared()._parser
    names = parameters(parser)
    functions = {key.partition(" ")[2]: kind for key, (kind, _) in parser._declarations.items() if key.startswith("function ")}
    methods = [types.method(name, function, names[name]) for name, function in functions.items()]
    news = [types.new(text, parser.parse_type(text)) for text in asked_for(HERE.parent / "pyrunc")]
    return "\n".join([HEAD, *types.lines.values(), FFI, *news, "", "class _Lib:", *methods, "", "ffi: _FFI", "lib: _Lib", ""])


if __name__ == "__main__":
    sys.stdout.write(generate())
