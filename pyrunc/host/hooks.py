"""Hooks that run in the runtime's namespaces: prestart, createRuntime, poststart, poststop.

createContainer and startContainer run in the container's namespaces: init runs them (op HOOK). Here is only the state that
they get.

As runc: in the order listed, argv and env exactly as given (without `env`: ours), cwd ours unless said otherwise, the state
on stdin, killed when the timeout is over, and then the hook itself only. Unlike runc we don't wait for what a hook left
running with our pipes open, and stdin is a sealed memfd, so that a hook which reads neither all nor any of it makes no
difference.
"""

from __future__ import annotations

from _signal import strsignal
from posix import close, environ

from .. import OCI_VERSION, kernel, kernel_hook
from ..errors import Error, reason
from ..jsonio import dumps, shown
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypedDict

    from ..config.shape import Hook
    from ..kernel_hook import Stream

    class OciState(TypedDict, total=False):
        """runtime.md#state"""

        ociVersion: str
        id: str
        status: str
        pid: int
        bundle: str
        annotations: dict[str, str]


def environment() -> list[str]:
    """Ours, which is that of a hook without `env`: it may find its helpers along our PATH. A list of `KEY=value`."""
    return [(name + b"=" + value).decode("utf-8", "surrogateescape") for name, value in environ.items()]


def state_for(container_id: str, status: str, pid: int | None, bundle: str, annotations: dict[str, str] | None = None) -> OciState:
    """The OCI state (runtime.md#state). pid None: there's no process any more, and no such key."""
    state: OciState = {"ociVersion": OCI_VERSION, "id": container_id, "status": status}
    if pid is not None:
        state["pid"] = pid
    state["bundle"] = shown(bundle)
    if annotations:
        state["annotations"] = annotations
    return state


def run(kind: str, hooks: Sequence[Hook], state: OciState, cwd: str | None = None) -> None:
    """Run hooks of one kind; the first that fails ends it with an Error."""
    text = dumps(state).encode()
    for index, hook in enumerate(hooks):
        error = _run_one(kind, index, hook, text, cwd)
        if error is not None:
            raise error


def run_each(kind: str, hooks: Sequence[Hook], state: OciState, cwd: str | None = None) -> list[Error]:
    """Run all hooks of one kind, whether others fail or not. Returns their Errors; the caller warns (poststop)."""
    text = dumps(state).encode()
    errors = [_run_one(kind, index, hook, text, cwd) for index, hook in enumerate(hooks)]
    return [error for error in errors if error is not None]


def _run_one(kind: str, index: int, hook: Hook, text: bytes, cwd: str | None) -> Error | None:
    """None, or the Error of a hook that failed."""
    path, timeout = hook["path"], hook.get("timeout", 0)
    errno: int | None = 0
    try:
        # one for each hook: they would share its offset, and a hook may leave a reader behind
        stdin = kernel.memfd("pyrunc:state", text)
        try:
            env = hook.get("env")
            result = kernel_hook.run(path, hook.get("args") or [path], environment() if env is None else env, stdin, cwd, timeout)
        finally:
            close(stdin)
        why = failure(*result, timeout)
    except OSError as err:
        errno, why = err.errno, f"{err.filename}: {reason(err)}"
    if why is None:
        return None
    return Error(f"error running {kind} hook #{index}: {why}", pointer=f"/hooks/{kind}/{index}", errno=errno)


def failure(wstatus: int, killed: bool, out: Stream, err: Stream, timeout: int) -> str | None:
    """Why it failed, in runc's words; None if it did not."""
    if killed:
        return f"hook ran past specified timeout of {timeout}.0s"
    if wstatus == 0:
        return None
    return f"{status_text(wstatus)}, stdout: {_shown(*out)}, stderr: {_shown(*err)}"


def status_text(wstatus: int) -> str:
    """A wait status as Go prints it: `exit status 1`, `signal: killed (core dumped)`."""
    number = wstatus & 0x7F
    if number == 0:
        return f"exit status {wstatus >> 8 & 0xFF}"
    known: str | None = strsignal(number)
    name = (known or f"signal {number}").lower()
    return f"signal: {name}{' (core dumped)' if wstatus & 0x80 else ''}"


def _shown(data: bytes, total: int) -> str:
    """The end of a stream on one line: an error message is one line, and no terminal obeys it."""
    text = data.decode("utf-8", "replace").rstrip("\n")
    plain = "".join([c if c.isprintable() else repr(c)[1:-1] for c in text])
    return f"... {plain}" if total > len(data) else plain
