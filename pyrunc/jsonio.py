"""JSON, strictly, without the json package.

`loads` reads what others wrote (config.json, process.json, state.json); `dumps` writes what others read.
csrc/json.c does the work, and refuses what a config must not have: duplicate keys, NaN, lone surrogates, endless nesting,
endless objects. Refused here: too many bytes, a byte order mark, what is not UTF-8.
Where a document is refused, jsonfault.py reads it again to say where and why.
"""

from __future__ import annotations

from . import _json, jsonfault  # type: ignore[attr-defined]
from .errors import Error
from .typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"  # what `loads` returns
Writable: TypeAlias = "Mapping[str, object] | Sequence[object] | int | float | None"  # what `dumps` takes; strings are sequences

MAX_BYTES = 16 << 20  # no honest config comes near: 340 id maps, 1000 mounts and a seccomp profile are below 1 MiB
MAX_DEPTH = 128  # the runtime spec needs 7; the reader recurses on the C stack
MAX_MEMBERS = 4096  # of one object: keys made to collide cost its square (docs/security.md)


def loads(data: bytes, name: str = "JSON", errors: str = "strict") -> Json:
    """The value of a JSON document given as bytes. Error `name: line L column C: reason` if it isn't one.

    errors: "surrogateescape" for what we have written ourselves. A name of the host's may be any bytes; in a str each that is
    no UTF-8 is a lone surrogate (PEP 383), `dumps` writes that as \\udcXX, and here it becomes the same str again.
    """
    data = bytes(data)
    _check(data, name)
    try:
        value: Json = _json.loads(data, MAX_DEPTH, MAX_MEMBERS, errors == "surrogateescape")
        return value
    except ValueError:  # UnicodeDecodeError is one
        pass
    raise _worded(data, name)


def _check(data: bytes, name: str) -> None:
    if len(data) > MAX_BYTES:
        raise Error(f"{name}: larger than {MAX_BYTES >> 20} MiB")
    if data[:3] == b"\xef\xbb\xbf":
        raise Error(f"{name}: starts with a byte order mark; JSON must be plain UTF-8 without one")


def _worded(data: bytes, name: str) -> Error:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as err:
        before = data[:err.start]
        line, column = before.count(b"\n") + 1, err.start - before.rfind(b"\n")
        return Error(f"{name}: line {line} column {column}: not UTF-8 (byte 0x{data[err.start]:02x})")
    found = jsonfault.locate(text, MAX_DEPTH, MAX_MEMBERS)
    if found is None:
        return Error(f"{name}: not valid JSON")
    position, reason = found
    line, column = text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)
    return Error(f"{name}: line {line} column {column}: {reason}")


def shown(text: str) -> str:
    """A name of the host's for those who read our JSON: what is no UTF-8 becomes U+FFFD, a byte each, as Go writes it."""
    return text if text.isascii() else "".join(["\ufffd" if 0xD800 <= ord(c) <= 0xDFFF else c for c in text])


def dumps(value: Writable, indent: int | str | None = None, sort_keys: bool = False) -> str:
    """JSON text, pure ASCII. indent: None (compact), a number of spaces, or a string such as a tab."""
    text: str = _json.dumps(value, " " * indent if type(indent) is int else indent, sort_keys)
    return text
