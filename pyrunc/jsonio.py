"""JSON, strictly, without the json package (8 to 14 ms of import, design.md section 6).

`loads` reads what others wrote (config.json, process.json, state.json); `dumps` writes what others read.
CPython's C scanner and encoder do the work. What the scanner lets pass and a config must not have is refused here:
duplicate keys, NaN, a byte order mark, non-UTF-8, lone surrogates, endless nesting (security.md section 8).
Where a document is refused, jsonfault.py (imported only then) reads it again to say where and why.
"""

import _json

from .errors import Error

MAX_BYTES = 16 << 20  # no honest config comes near: 340 id maps, 1000 mounts and a seccomp profile are below 1 MiB
MAX_DEPTH = 128  # the runtime spec needs 7; the scanner recurses on the C stack

_WHITESPACE = " \t\n\r"


def _object(pairs):
    """Build one object: refuse duplicate keys (the C scanner keeps the last), drop nulls (Go's way to say absent)."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    if None in found.values():
        return {key: value for key, value in found.items() if value is not None}
    return found


def _constant(name):
    """NaN, Infinity, -Infinity: known to JavaScript, not to JSON."""
    raise ValueError(name)


class _Context:
    """What _json.make_scanner takes its settings from (json.decoder.JSONDecoder, in the json package)."""

    strict = True  # no control characters inside strings
    object_hook = None
    object_pairs_hook = staticmethod(_object)
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_constant)


_scan = _json.make_scanner(_Context)  # type: ignore[arg-type]  # a class serves as well as an instance


def loads(data, name="JSON", errors="strict"):
    """The value of a JSON document given as bytes. Error `name: line L column C: reason` if it isn't one.

    errors: "surrogateescape" for what we have written ourselves. A name of the host's may be any bytes; in a str each that is
    no UTF-8 is a lone surrogate (PEP 383), `dumps` writes that as \\udcXX, and here it becomes the same str again.
    """
    text = _text(data, name)
    start = len(text) - len(text.lstrip(_WHITESPACE))
    try:
        value, end = _scan(text, start)
        if text[end:].strip(_WHITESPACE) or _too_deep(value, data):
            raise ValueError
        if b"\\u" in data:
            _refuse_surrogates(value, errors)
    # SystemError: what the scanner leaves behind when it can't find json.decoder to raise its own error
    except (ValueError, StopIteration, RecursionError, SystemError, ImportError):
        pass
    else:
        return value
    raise _worded(text, name)


def _text(data, name):
    if len(data) > MAX_BYTES:
        raise Error(f"{name}: larger than {MAX_BYTES >> 20} MiB")
    if data[:3] == b"\xef\xbb\xbf":
        raise Error(f"{name}: starts with a byte order mark; JSON must be plain UTF-8 without one")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as err:
        before = data[:err.start]
        line, column = before.count(b"\n") + 1, err.start - before.rfind(b"\n")
        raise Error(f"{name}: line {line} column {column}: not UTF-8 (byte 0x{data[err.start]:02x})") from None


def _too_deep(value, data):
    """Whether containers nest deeper than MAX_DEPTH; the few documents that could are walked level by level."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH or type(value) not in (dict, list):
        return False
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            return True
        below = []
        for item in level:
            children = item.values() if type(item) is dict else item
            below += [child for child in children if type(child) is dict or type(child) is list]
        level = below
    return False


def _refuse_surrogates(value, errors):
    """\\udc80 alone is no character; encoded with surrogateescape it would smuggle in the byte 0x80."""
    left = [value]
    for item in left:
        if type(item) is str:
            item.encode("utf-8", errors)  # UnicodeEncodeError is a ValueError
        elif type(item) is dict:
            left += item
            left += item.values()
        elif type(item) is list:
            left += item


def _worded(text, name):
    from . import jsonfault

    found = jsonfault.locate(text, MAX_DEPTH)
    if found is None:
        return Error(f"{name}: not valid JSON")
    position, reason = found
    line, column = text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)
    return Error(f"{name}: line {line} column {column}: {reason}")


def _default(value):
    raise TypeError(f"{type(value).__name__} has no place in JSON")


_COMPACT = _json.make_encoder(None, _default, _json.encode_basestring_ascii, None, ":", ",", False, False, False)
_SORTED = _json.make_encoder(None, _default, _json.encode_basestring_ascii, None, ":", ",", True, False, False)


def shown(text):
    """A name of the host's for those who read our JSON: what is no UTF-8 becomes U+FFFD, a byte each, as Go writes it."""
    return text if text.isascii() else "".join(["\ufffd" if 0xD800 <= ord(c) <= 0xDFFF else c for c in text])


def dumps(value, indent=None, sort_keys=False):
    """JSON text, pure ASCII. indent: None (compact), a number of spaces, or a string such as a tab."""
    if indent is None:
        return "".join((_SORTED if sort_keys else _COMPACT)(value, 0))
    step = " " * indent if type(indent) is int else indent
    out = []
    _pretty(value, "\n", step, sort_keys, out.append)
    return "".join(out)


def _pretty(value, newline, step, sort_keys, put):
    """As json.dumps(indent=...) writes it. The C encoder has no indentation."""
    inner, kind = newline + step, type(value)
    if kind is dict and value:
        lead = "{"
        for key in sorted(value) if sort_keys else value:
            put(lead + inner + _json.encode_basestring_ascii(key) + ": ")
            _pretty(value[key], inner, step, sort_keys, put)
            lead = ","
        put(newline + "}")
    elif kind in (list, tuple) and value:
        lead = "["
        for item in value:
            put(lead + inner)
            _pretty(item, inner, step, sort_keys, put)
            lead = ","
        put(newline + "]")
    else:
        put("".join(_COMPACT(value, 0)))
