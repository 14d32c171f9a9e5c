"""The log: text or one JSON object a line, to stderr or a file that callers parse. And stdout.

containerd takes the last line of level error, podman the whole file as one object: so in a JSON file
warnings are held back until the command has succeeded, and a failure is exactly one line. Nothing here needs sys.stdout or
sys.stderr, or anything that could be broken when a failure is told.
"""

from __future__ import annotations

import posix
import time

from .typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

STDOUT = "write standard output"


class _Log:
    pending: list[str] = []  # warnings held back: a failure must be the log's only line
    fd = 2
    json = False
    debug = False


def open_log(path: str | None, form: str, debug: bool) -> None:
    """O_APPEND, so that several commands may share a file."""
    _Log.json = form == "json"
    _Log.debug = debug
    if path:
        flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_SYNC | posix.O_CLOEXEC
        _Log.fd = posix.open(path, flags, 0o644)


def wants_debug() -> bool:
    return _Log.debug


def error(message: str, **more: str | int) -> None:
    """The one fatal line; plain on stderr too when the log is a file, for the callers that read that."""
    _put("error", message, more)
    if _Log.fd != 2:
        _say(_plain("error", message, more))


def warning(message: str) -> None:
    if _Log.json and _Log.fd != 2 and not _Log.debug:
        _Log.pending.append(message)
    else:
        _put("warning", message, {})


def remark(message: str) -> None:
    """A warning of what works all the same: for who keeps a log, not for who looks at the terminal."""
    if _Log.fd != 2 or _Log.debug:
        warning(message)


def flush() -> None:
    """The command has succeeded: what it warned of may be logged."""
    while _Log.pending:
        _put("warning", _Log.pending.pop(0), {})


def debug(message: str) -> None:
    if _Log.debug:
        _put("debug", message, {})


def traceback(err: BaseException) -> None:
    """Where an exception came from, a line of debug log a frame; without the module of that name and its sources."""
    frame = err.__traceback__
    while frame:
        code = frame.tb_frame.f_code
        debug(f"{code.co_filename}:{frame.tb_lineno} in {code.co_name}")
        frame = frame.tb_next
    debug(f"{type(err).__name__}: {err}")


def out(text: str) -> None:
    """All of `text` on stdout, whatever a pipe takes at a time."""
    out_bytes(text.encode("utf-8", "surrogateescape"))


def out_bytes(data: bytes) -> None:
    try:
        while data:
            data = data[posix.write(1, data):]
    except BrokenPipeError:  # the reader has seen enough
        raise
    except OSError as err:
        raise OSError(err.errno, err.strerror, STDOUT) from None


def _put(level: str, message: str, more: Mapping[str, str | int]) -> None:
    if _Log.json:
        line = _json(level, message, more)
    elif _Log.fd == 2:
        line = _plain(level, message, more)
    else:
        hint = more.get("hint")
        message += f" (hint: {hint})" if hint else ""
        line = f"time={_quoted(_now())} level={level} msg={_quoted(message)}"
    _write(_Log.fd, line + "\n")


def _json(level: str, message: str, more: Mapping[str, str | int]) -> str:
    fields = {**more, "level": level, "msg": message, "time": _now()}
    return "{" + ",".join(
        f"{_quoted(key)}:{value if isinstance(value, int) else _quoted(value)}" for key, value in sorted(fields.items())
    ) + "}"


def _plain(level: str, message: str, more: Mapping[str, str | int]) -> str:
    """For people: one line, and the cure on a second."""
    line = message if level == "error" else f"{level}: {message}"
    line = line.replace("\n", " ")
    hint = more.get("hint")
    return f"{line}\nhint: {hint}" if hint else line


def _say(text: str) -> None:
    _write(2, text + "\n")


def _now() -> str:
    """RFC 3339."""
    year, month, day, hour, minute, second = time.gmtime()[:6]
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _quoted(text: str) -> str:
    """A JSON string. jsonio has a faster one, but the log must work where loading that failed."""
    return '"' + "".join(
        _ESCAPES.get(c) or (f"\\u{ord(c):04x}" if c < " " or c == "\x7f" else "?" if 0xD800 <= ord(c) <= 0xDFFF else c)
        for c in text
    ) + '"'


def _write(fd: int, text: str) -> None:
    """A log that cannot be written must not hide what it was about, nor stop it."""
    try:
        posix.write(fd, text.encode("utf-8", "replace"))
    except OSError:
        pass
