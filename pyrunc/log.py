"""The log: text or one JSON object a line, to stderr or a file that callers parse (compat.md 1.4).

containerd takes the last line of level error, podman the whole file as one object: so with JSON to a file, warnings are
held back until the command has succeeded, and a failure is exactly one line.
"""

import posix
import time

from .jsonio import dumps


class _Log:
    pending = []  # warnings held back: a failure must be the log's only line
    fd = 2
    json = False
    debug = False


def open_log(path, form, debug):
    """O_APPEND, so that several commands may share a file."""
    _Log.json = form == "json"
    _Log.debug = debug
    if path:
        flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_SYNC | posix.O_CLOEXEC
        _Log.fd = posix.open(path, flags, 0o644)


def error(message, **more):
    """The one fatal line; plain on stderr too when the log is a file, for the callers that read that."""
    _put("error", message, more)
    if _Log.fd != 2:
        _write(2, message + "\n")


def warning(message):
    if _Log.json and _Log.fd != 2 and not _Log.debug:
        _Log.pending.append(message)
    else:
        _put("warning", message, {})


def flush():
    """The command has succeeded: what it warned of may be logged."""
    while _Log.pending:
        _put("warning", _Log.pending.pop(0), {})


def debug(message):
    if _Log.debug:
        _put("debug", message, {})


def _put(level, message, more):
    y, mo, d, h, mi, s = time.gmtime()[:6]
    now = f"{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}Z"
    message = message.replace("\n", " ")
    if _Log.json:
        line = dumps({**more, "level": level, "msg": message, "time": now}, sort_keys=True)
    elif _Log.fd == 2:
        line = message if level == "error" else f"{level}: {message}"
    else:
        line = f"time={dumps(now)} level={level} msg={dumps(message)}"
    _write(_Log.fd, line + "\n")


def _write(fd, text):
    try:
        posix.write(fd, text.encode("utf-8", "backslashreplace"))
    except OSError:
        pass
