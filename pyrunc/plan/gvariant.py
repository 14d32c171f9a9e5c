"""GVariant text, as annotations give a unit's properties: 'a string', true, uint64 5, ['a', 'b'], @as []. Pure.

`parse` returns what the text says, (type, value), the type as a D-Bus signature. A plain number is of type "" until
somebody knows what is wanted: `as_type` decides. Structures, dictionaries and variants are no property's type that can
be set here, so they are refused.
"""

NUMBERS = {"byte": "y", "int16": "n", "uint16": "q", "int32": "i", "uint32": "u", "int64": "x", "uint64": "t", "double": "d"}
KEYWORDS = {**NUMBERS, "boolean": "b", "string": "s", "objectpath": "o", "signature": "g"}
BITS = {"y": (0, 8), "n": (1, 16), "q": (0, 16), "i": (1, 32), "u": (0, 32), "x": (1, 64), "t": (0, 64)}
ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
BASIC = frozenset("bsogynqiuxtd")
DEPTH = 8


class Bad(ValueError):
    """What is wrong with the text."""


def parse(text):
    """(type, value) of the whole text."""
    found, at = _value(text, _space(text, 0), 0)
    at = _space(text, at)
    if at < len(text):
        raise Bad(f"unexpected {text[at:at + 20]!r} after the value")
    return found


def as_type(wanted, found):
    """The value of (type, value) if it is one of `wanted`; plain numbers and what is in arrays adapt. Else Bad."""
    kind, value = found
    if wanted[0] == "a" and kind[:1] == "a":
        if kind != "a" and kind != wanted and kind[1:] not in ("", wanted[1:]):
            raise Bad(f"is of type {kind}, not {wanted}")
        return [as_type(wanted[1:], item) for item in value]
    if kind == "" and wanted in BITS:
        return _ranged(wanted, value)
    if kind == "" and wanted == "d":
        return float(value)
    if kind != wanted:
        raise Bad(f"is of type {kind or 'number'}, not {wanted}")
    return value


def _space(text, at):
    while at < len(text) and text[at] in " \t\n":
        at += 1
    return at


def _value(text, at, depth):
    """((type, value), where it ends)"""
    if at >= len(text):
        raise Bad("value is missing")
    first = text[at]
    if first in "'\"":
        string, at = _string(text, at)
        return ("s", string), at
    if first == "[":
        return _array(text, at + 1, depth + 1)
    if first == "@":
        kind, at = _word(text, at + 1)
        return _typed(kind, text, at, depth + 1)
    word, end = _word(text, at)
    if word in ("true", "false"):
        return ("b", word == "true"), end
    if word in KEYWORDS:
        return _typed(KEYWORDS[word], text, end, depth + 1)
    return _number(word), end


def _typed(kind, text, at, depth):
    if not kind or kind.lstrip("a")[1:] or kind.lstrip("a") not in BASIC or len(kind) > DEPTH:
        raise Bad(f"unknown type {kind!r}")
    if depth > DEPTH:
        raise Bad("too deeply nested")
    found, at = _value(text, _space(text, at), depth)
    if found[0] == "s" and kind in ("o", "g"):
        return (kind, found[1]), at
    value = as_type(kind, found)
    return (kind, [(kind[1:], item) for item in value] if kind[0] == "a" else value), at


def _word(text, at):
    end = at
    while end < len(text) and (text[end].isascii() and text[end].isalnum() or text[end] in "+-._"):
        end += 1
    return text[at:end], end


def _number(word):
    digits = word.lstrip("+-")
    if len(word) - len(digits) <= 1 and word.isascii() and len(word) <= 32:
        for convert in (lambda text: int(text, 16) if "0x" in text.lower() else int(text), float):
            try:
                value = convert(word) if "_" not in word else None
            except ValueError:
                continue
            if value is not None and (type(value) is int or digits[:1].isdigit() or digits[:1] == "."):
                return ("", value) if type(value) is int else ("d", value)
    raise Bad(f"{word!r} is not a value" if word else "value is missing")


def _ranged(kind, value):
    signed, bits = BITS[kind]
    if not (-(1 << bits - 1) if signed else 0) <= value < 1 << bits - signed:
        raise Bad(f"{value} is out of the range of {kind}")
    return value


def _array(text, at, depth):
    if depth > DEPTH:
        raise Bad("too deeply nested")
    items = []
    at = _space(text, at)
    while text[at:at + 1] != "]":
        if items:
            if text[at:at + 1] != ",":
                raise Bad("unterminated array")
            at = _space(text, at + 1)
        found, at = _value(text, at, depth)
        items.append(found)
        at = _space(text, at)
    kinds = {kind for kind, _ in items}
    if len(kinds - {"", "a"}) > 1 or kinds & {"s", "b", "o", "g"} and len(kinds) > 1:
        raise Bad(f"array of different types: {', '.join(sorted(kinds))}")
    return ("a" + max(kinds, default=""), items), at + 1


def _string(text, at):
    quote, out = text[at], []
    at += 1
    while at < len(text) and text[at] != quote:
        letter = text[at]
        if letter == "\\":
            letter, at = _escape(text, at + 1)
        else:
            at += 1
        if letter == "\0":
            raise Bad("a string cannot hold NUL")
        out.append(letter)
    if at >= len(text):
        raise Bad("unterminated string")
    return "".join(out), at + 1


def _escape(text, at):
    letter = text[at:at + 1]
    if letter in ("u", "U"):
        digits = text[at + 1:at + (5 if letter == "u" else 9)]
        try:
            number = int(digits, 16) if digits.isalnum() and len(digits) in (4, 8) else -1
            if not 0xD800 <= number < 0xE000:  # half of a pair: no character, and D-Bus's texts are UTF-8
                return chr(number), at + 1 + len(digits)
        except (ValueError, OverflowError):
            pass
        raise Bad(f"no character has the code {digits!r}")
    return ESCAPES.get(letter, letter), at + 1
