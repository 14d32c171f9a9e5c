"""The one exception pyrunc shows to its user.

Everything below the entry point raises `Error` (or lets an `OSError` with context climb to the nearest place that
can say what was being done and turns it into one). The entry point (`boot.main`) prints it as one line, writes it as
one line to the log, and exits with its code. Nobody else prints errors, nobody else catches broadly.
"""

from __future__ import annotations


class Error(Exception):
    """A refusal or failure, worded for the person who ran the command.

    message  one line, lower case, subject first, cause last (`mounts/3: mount sysfs: operation not permitted`)
    hint     the cure, if one is known; printed as a second line
    code     process exit code (1, or 255 from `exec`)
    pointer  JSON pointer into config.json, when the cause stands there
    errno    the kernel's errno, 0 if it was not a syscall that failed
    """

    def __init__(self, message: str, hint: str | None = None, code: int = 1, pointer: str | None = None,
                 errno: int | None = 0) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.pointer = pointer
        self.errno = errno or 0


def from_oserror(err: OSError, doing: str) -> Error:
    """Word an OSError as an Error: `doing: strerror`, strerror in the kernel's lower case (callers match it)."""
    return Error(f"{doing}: {reason(err)}", errno=err.errno or 0)


def reason(err: OSError) -> str:
    """What the kernel says, in its words and lower case."""
    return (err.strerror or str(err)).lower()
