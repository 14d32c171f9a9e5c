"""From a bundle to a checked config: read, parse, check against the schema, check the rules.

Called by create, run, spec-less tools (validate, explain) and by exec for its process.json. Everything that can be
wrong with the file itself is worded here; what is wrong with its content, by schema_gen and rules.
"""

import posix

from .. import jsonio
from ..errors import Error

NAME = "config.json"

# S_IFMT and S_IFREG; the stat module is not on the hot path
_S_IFMT, _S_IFREG = 0o170000, 0o100000


def load(bundle):
    """(config, raw bytes) of the bundle's config.json, checked completely."""
    raw = read(bundle)
    config = parse(raw)
    check(config)
    return config, raw


def read(bundle):
    """The bytes of the bundle's config.json."""
    try:
        return _read_file(bundle + "/" + NAME, NAME)
    except FileNotFoundError:
        raise Error("JSON specification file config.json not found", pointer="") from None


def parse(raw, name=NAME):
    """The config in raw, an object; its content is not checked yet."""
    value = jsonio.loads(raw, name)
    if value is None:
        raise Error("config cannot be null", pointer="")  # runc's words
    if type(value) is not dict:
        raise Error(f"{name}: must be a JSON object, not {_kind(value)}", pointer="")
    return value


def check(config):
    """Refuse the config at its first fault."""
    _check(config, "check", "first", NAME)


def load_process(path):
    """The checked process object of `exec --process FILE`."""
    value = load_json(path)
    if type(value) is not dict:
        raise Error(f"{path}: must be a JSON object, not {_kind(value)}", pointer="")
    _check(value, "check_process", "first_of_process", path)
    return value


def load_json(path):
    """The JSON value in a file, or on standard input for `-`."""
    if path == "-":
        return jsonio.loads(_read_fd(0), "standard input")
    try:
        return jsonio.loads(_read_file(path, path), path)
    except FileNotFoundError:
        raise Error(f"{path}: no such file or directory") from None


def _check(value, schema_check, rules_check, name):
    from . import rules, schema_gen

    found = getattr(schema_gen, schema_check)(value)
    if found is not None:
        raise _error(name, *found)
    fault = getattr(rules, rules_check)(value)
    if fault is not None:
        raise _error(name, fault.pointer, fault.message)


def _error(name, pointer, message):
    return Error(f"{name}: {pointer}: {message}" if pointer else f"{name}: {message}", pointer=pointer)


def _read_file(path, name):
    """Bytes of a regular file. O_NONBLOCK: a FIFO in its place must not hang the runtime."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK | posix.O_NOCTTY)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as err:  # ValueError: NUL in the path
        raise Error(f"{name}: {_reason(err)}") from None
    try:
        if posix.fstat(fd).st_mode & _S_IFMT != _S_IFREG:
            raise Error(f"{name}: not a regular file")
        return _read_fd(fd)
    except OSError as err:
        raise Error(f"{name}: {_reason(err)}") from None
    finally:
        posix.close(fd)


def _read_fd(fd):
    """At most one byte more than jsonio takes; it refuses what is too large."""
    parts, left = [], jsonio.MAX_BYTES + 1
    while left > 0:
        part = posix.read(fd, min(left, 1 << 16))
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _reason(err):
    return (getattr(err, "strerror", None) or str(err)).lower()


def _kind(value):
    return {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(type(value), "a number")
