"""Where and why a document is not the JSON pyrunc takes: read slowly, once, after jsonio has refused it.

csrc/json.c knows only that something is wrong. This is a second reader, without recursion: it keeps a stack of open containers.
"""

from __future__ import annotations

_WHITESPACE = " \t\n\r"
_ESCAPES = '"\\/bfnrt'
_HEX = "0123456789abcdefABCDEF"
_DIGITS = "0123456789"
_MAX_DIGITS = 4300  # sys.int_info.default_max_str_digits


class _Fault(Exception):
    """position, reason"""


def locate(text: str, max_depth: int, max_members: int) -> tuple[int, str] | None:
    """(position, reason) of the first fault in text, or None if there is none."""
    try:
        _document(text, max_depth, max_members)
    except _Fault as fault:
        position, reason = fault.args
        return position, reason
    return None


def _document(text: str, max_depth: int, max_members: int) -> None:
    """Walk all values. stack: one set of keys per open object, None per open array."""
    stack: list[set[str] | None] = []
    at = 0
    while True:
        at = _skip(text, at)
        char = text[at:at + 1]
        if char in ("{", "["):
            if len(stack) == max_depth:
                raise _Fault(at, f"nested deeper than {max_depth} levels")
            at = _skip(text, at + 1)
            if text[at:at + 1] == ("}" if char == "{" else "]"):
                at += 1
            else:
                keys: set[str] | None = set() if char == "{" else None
                stack.append(keys)
                at = at if keys is None else _key(text, at, keys, max_members)
                continue
        else:
            at = _scalar(text, at)
        at = _after_value(text, at, stack, max_members)
        if not stack:
            break
    if at < len(text):
        raise _Fault(at, "unexpected text after the end of the document")


def _after_value(text: str, at: int, stack: list[set[str] | None], max_members: int) -> int:
    """Close what ends here; stand before the next value, or at the end with an empty stack."""
    at = _skip(text, at)
    while stack:
        keys, char = stack[-1], text[at:at + 1]
        if char == ("]" if keys is None else "}"):
            stack.pop()
            at = _skip(text, at + 1)
        elif char == ",":
            at = _skip(text, at + 1)
            return at if keys is None else _key(text, at, keys, max_members)
        elif not char:
            raise _Fault(at, "the document ends too early")
        else:
            raise _Fault(at, "expected ',' or '" + ("]" if keys is None else "}") + "'")
    return at


def _key(text: str, at: int, keys: set[str], max_members: int) -> int:
    if text[at:at + 1] != '"':
        raise _Fault(at, "expected a key in double quotes" if at < len(text) else "the document ends too early")
    end, key = _string(text, at)
    if key in keys:
        raise _Fault(at, f'duplicate key "{_shown(key)}"')
    if len(keys) == max_members:
        raise _Fault(at, f"an object with more than {max_members} members")
    keys.add(key)
    at = _skip(text, end)
    if text[at:at + 1] != ":":
        raise _Fault(at, "expected ':'" if at < len(text) else "the document ends too early")
    return at + 1


def _scalar(text: str, at: int) -> int:
    char = text[at:at + 1]
    if char == '"':
        return _string(text, at)[0]
    if char == "-" and text[at + 1:at + 2] != "I" or char and char in _DIGITS:
        return _number(text, at)
    for word in ("true", "false", "null"):
        if text.startswith(word, at):
            return at + len(word)
    for word in ("NaN", "Infinity", "-Infinity"):
        if text.startswith(word, at):
            raise _Fault(at, word + " is not a JSON number")
    if char:
        raise _Fault(at, "expected a value")
    raise _Fault(at, "the document ends too early" if text.strip(_WHITESPACE) else "the document is empty")


def _number(text: str, at: int) -> int:
    start = at
    at += text[at] == "-"
    end = _digits(text, at)
    if end == at:
        raise _Fault(start, "'-' without a number")
    if text[at] == "0" and end > at + 1:
        raise _Fault(start, "a number must not start with 0")
    if text[end:end + 1] not in (".", "e", "E") and end - at > _MAX_DIGITS:
        raise _Fault(start, "a number with too many digits")
    if text[end:end + 1] == ".":
        end, at = _digits(text, end + 1), end + 1
        if end == at:
            raise _Fault(start, "a number ends with its decimal point")
    if text[end:end + 1] in ("e", "E"):
        at = end + 1 + (text[end + 1:end + 2] in ("+", "-"))
        end = _digits(text, at)
        if end == at:
            raise _Fault(start, "a number ends within its exponent")
    return end


def _digits(text: str, at: int) -> int:
    while at < len(text) and text[at] in _DIGITS:
        at += 1
    return at


def _string(text: str, at: int) -> tuple[int, str]:
    """(position after it, value) of the string that starts at text[at]."""
    start = at
    parts: list[str] = []
    at += 1
    while True:
        char = text[at:at + 1]
        if char == '"':
            value = "".join(parts)
            return at + 1, _joined(value, start)
        if not char:
            raise _Fault(start, "an unterminated string")
        if char < " ":
            raise _Fault(at, f"control character 0x{ord(char):02x} in a string")
        if char != "\\":
            parts.append(char)
            at += 1
            continue
        char = text[at + 1:at + 2]
        if char == "u":
            digits = text[at + 2:at + 6]
            if len(digits) < 4 or digits.strip(_HEX):
                raise _Fault(at, "\\u without four hexadecimal digits")
            parts.append(chr(int(digits, 16)))
            at += 6
        elif char and char in _ESCAPES:
            parts.append('"\\/\b\f\n\r\t'[_ESCAPES.index(char)])
            at += 2
        else:
            raise _Fault(at, "an unknown escape sequence")


def _joined(value: str, start: int) -> str:
    """Surrogate pairs become their character; one that stands alone is a fault."""
    try:
        return value.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise _Fault(start, "half of a surrogate pair in a string") from None


def _shown(key: str) -> str:
    return "".join([char if char.isprintable() else "?" for char in key[:64]])


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _WHITESPACE:
        at += 1
    return at
