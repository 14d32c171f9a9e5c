"""From a bundle to a checked config: read, parse, check against the schema, check the rules.

What can be wrong with the file itself is worded here; what is wrong with its content, by schema_gen and rules, always in the same
words: whether jsonschema happens to be installed must not change an error (only `validate` uses it, to find them all).
"""

from __future__ import annotations

import posix

from .. import jsonio, log
from ..errors import Error, reason
from ..typed import TYPE_CHECKING, cast
from . import rules, schema_gen
from .fault import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

    from ..jsonio import Json
    from .fault import Fault, Settled
    from .shape import Config, Process, Resources

    Typed = Callable[[object, list[Settled]], tuple[str, str] | None]  # a check of schema_gen's
    Wait = Callable[[int, int, int], bytes]  # kernel.read_timeout

NAME, PROCESS, STDIN = "config.json", "process.json", "standard input"

# of inode(7)
_S_IFMT, _S_IFREG, _S_IFDIR, _S_IFIFO = 0o170000, 0o100000, 0o040000, 0o010000
PIPE_TIMEOUT = 10000  # milliseconds that a pipe may be silent: one that nobody writes to must not hang the runtime


def load(bundle: str, need_process: bool = True) -> tuple[Config, bytes]:
    """(config, raw bytes) of the bundle's config.json, checked completely.

    need_process: whether a config without `process` is refused. A container can be created without one, but not started.
    """
    raw = read(bundle)
    config = parse(raw)
    if check(config, need_process):
        raw = jsonio.dumps(config).encode()  # exec and start read it again, and then nothing is left to be settled
    return with_process(config), raw


def with_process(config: Mapping[str, Json]) -> Config:
    """The config with a process that does nothing (no capability, no program) in the place of a missing one."""
    checked = cast("Config", config)
    return checked if checked.get("process") else {**checked, "process": {"cwd": "/", "args": []}}


def read(bundle: str) -> bytes:
    """The bytes of the bundle's config.json."""
    try:
        return _read_file(bundle + "/" + NAME, NAME)
    except FileNotFoundError:
        raise Error("JSON specification file config.json not found", pointer="") from None


def parse(raw: bytes, name: str = NAME) -> dict[str, Json]:
    """The config in raw, an object; its content is not checked yet."""
    value = jsonio.loads(raw, name)
    if value is None:
        raise Error("config cannot be null", pointer="")  # runc's words
    return _object(value, name)


def check(config: Mapping[str, object], need_process: bool = True, name: str = NAME) -> bool:
    """Refuse the config at its first fault, or warn of keys that may be misspelt. Whether any were renamed or dropped."""
    return _check(config, name, schema_gen.check, lambda: rules.first(cast("Config", config), need_process))


def _check(value: object, name: str, typed: Typed, ruled: Callable[[], Fault | None]) -> bool:
    settled: list[Settled] = []
    fault = typed(value, settled)
    if fault is None:
        found = ruled()
        fault = (found.pointer, found.message) if found else None
    if settled:
        _of_keys(settled[0], name, fault)
    if fault is not None:
        _refuse(name, fault)
    return bool(settled)


def _of_keys(settled: Settled, name: str, fault: tuple[str, str] | None) -> None:
    """Say which keys keys.settle has not left as they were. One line is all that a failure may have: it is the hint there."""
    from . import keys

    taken, dropped = settled
    if fault is not None and (taken or dropped):
        _refuse(name, fault, keys.worded(taken + dropped))
    if taken:
        log.remark(f"{name}: {keys.worded(taken)}")
    if dropped:
        log.warning(f"{name}: {keys.worded(dropped)}")


def load_process(path: str, wait: Wait | None = None) -> Process:
    """The checked process object of `exec --process FILE`. What is wrong in it is said of `process.json`: callers give it a
    temporary name, which is gone when the message is read. wait: kernel.read_timeout, for a pipe."""
    process = _object(load_json(path, wait, PROCESS), PROCESS)
    check_process(process, PROCESS)
    return cast("Process", process)


def check_process(process: Mapping[str, object], name: str) -> None:
    """Refuse a process object (of a file, or made of exec's options) at its first fault."""
    _check(process, name, schema_gen.check_process, lambda: rules.first_of_process(cast("Process", process)))


def load_resources(path: str, wait: Wait | None = None) -> tuple[Resources, str]:
    """(resources object of `update --resources FILE`, what it is called). Its types are checked; what its values have to be
    depends on those in force (check_resources)."""
    name = STDIN if path == "-" else path
    resources = _object(load_json(path, wait), name)
    _check(resources, name, schema_gen.check_resources, lambda: None)
    return cast("Resources", resources), name


def check_resources(resources: Mapping[str, object], name: str) -> None:
    """Refuse a resources object (of a file, or made of update's options) at its first fault."""
    _check(resources, name, schema_gen.check_resources, lambda: rules.first_of_resources(cast("Resources", resources)))


def load_json(path: str, wait: Wait | None = None, name: str | None = None) -> Json:
    """The JSON value in a file, a pipe if `wait` says how to, or on standard input for `-`."""
    if path == "-":
        return jsonio.loads(_read_fd(0, posix.read), STDIN)
    try:
        return jsonio.loads(_read_file(path, path, wait), name or path)
    except FileNotFoundError:
        raise Error(f"{path}: no such file or directory") from None


def _refuse(name: str, fault: tuple[str, str], hint: str | None = None) -> NoReturn:
    pointer, message = fault
    place = shown(pointer) + ": " if pointer else ""
    raise Error(f"{name}: {place}{message}", hint, pointer=pointer)


def _object(value: Json, name: str) -> dict[str, Json]:
    if type(value) is not dict:
        raise Error(f"{name}: must be a JSON object, not {_kind(value)}", pointer="")
    return value


def _read_file(path: str, name: str, wait: Wait | None = None) -> bytes:
    """Bytes of a regular file, or of a pipe for who can wait. O_NONBLOCK: a FIFO must not hang the runtime when it is opened."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK | posix.O_NOCTTY)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as err:  # ValueError: NUL in the path
        raise Error(f"{name}: {_reason(err)}") from None
    try:
        kind = posix.fstat(fd).st_mode & _S_IFMT
        if kind == _S_IFIFO and wait:
            return _read_fd(fd, lambda fd, size: wait(fd, size, PIPE_TIMEOUT))
        if kind != _S_IFREG:
            raise Error(f"{name}: {'is a directory' if kind == _S_IFDIR else 'not a regular file' + ' or pipe' * bool(wait)}")
        return _read_fd(fd, posix.read)
    except TimeoutError:
        raise Error(f"{name}: nothing was written to the pipe for {PIPE_TIMEOUT // 1000} seconds") from None
    except OSError as err:
        raise Error(f"{name}: {_reason(err)}") from None
    finally:
        posix.close(fd)


def _read_fd(fd: int, read: Callable[[int, int], bytes]) -> bytes:
    """At most one byte more than jsonio takes; it refuses what is too large."""
    parts, left = [], jsonio.MAX_BYTES + 1
    while left > 0:
        part = read(fd, min(left, 1 << 16))
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _reason(err: OSError | ValueError) -> str:
    return reason(err) if isinstance(err, OSError) else str(err).lower()


def _kind(value: Json) -> str:
    return {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(type(value), "a number")
