"""Entry and error boundary: the only place that catches broadly, and the only one that ends the process.

The launcher calls `main` (csrc/launcher.c): in an interpreter that has just started, or in the picture of one that has imported every
verb already. So does `__main__`, and so do tests. What is imported here must not depend on where that was: csrc/picture.c renews
the environment and the thread, and pyrunc/picture.py says what else there is.
"""

from __future__ import annotations

import posix
import sys
from errno import EMFILE, ENOMEM

from . import args, log
from .errors import Error, reason
from .typed import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Never, NoReturn, Protocol

    from .args import Globals, Table

    class Command(Protocol):
        """What a module of commands/ is. Its `options` are a TypedDict of its own, which says what its OPTIONS do."""

        @property
        def USAGE(self) -> str: ...
        @property
        def ARGS(self) -> tuple[int, int | None]: ...
        @property
        def OPTIONS(self) -> Table: ...

        def run(self, globals_: Globals, options: Never, args: list[str], /) -> int: ...


# Literal imports, so that nothing on the command line ever names a module.
def _create() -> Command:
    from .commands import create
    return create


def _delete() -> Command:
    from .commands import delete
    return delete


def _events() -> Command:
    from .commands import events
    return events


def _exec() -> Command:
    from .commands import exec
    return exec


def _explain() -> Command:
    from .commands import explain
    return explain


def _features() -> Command:
    from .commands import features
    return features


def _kill() -> Command:
    from .commands import kill
    return kill


def _list() -> Command:
    from .commands import list
    return list


def _pause() -> Command:
    from .commands import pause
    return pause


def _ps() -> Command:
    from .commands import ps
    return ps


def _resume() -> Command:
    from .commands import resume
    return resume


def _run() -> Command:
    from .commands import run
    return run


def _spec() -> Command:
    from .commands import spec
    return spec


def _start() -> Command:
    from .commands import start
    return start


def _state() -> Command:
    from .commands import state
    return state


def _update() -> Command:
    from .commands import update
    return update


def _validate() -> Command:
    from .commands import validate
    return validate


COMMANDS: dict[str, tuple[Callable[[], Command], str]] = {
    "create": (_create, "create a container"),
    "delete": (_delete, "delete a container"),
    "events": (_events, "print a container's statistics and out-of-memory events"),
    "exec": (_exec, "run another process in a container"),
    "explain": (_explain, "print the plan of a bundle or a container"),
    "features": (_features, "print what this runtime can do"),
    "kill": (_kill, "send a signal to a container"),
    "list": (_list, "list containers"),
    "pause": (_pause, "freeze a container's processes"),
    "ps": (_ps, "list a container's processes"),
    "resume": (_resume, "resume a paused container"),
    "run": (_run, "create and start a container"),
    "spec": (_spec, "write a default config.json"),
    "start": (_start, "start a created container"),
    "state": (_state, "print a container's state"),
    "update": (_update, "change a container's limits"),
    "validate": (_validate, "find every fault in a config.json"),
}
TOO_LITTLE = "the caller's memory limit (RLIMIT_AS, or a cgroup's) leaves too little"
CURES: dict[int | None, str] = {EMFILE: "raise the limit of open files (ulimit -n)"}  # of whatever was being done
PREFIX = {"create": "pyrunc create failed: ", "run": "pyrunc run failed: ", "exec": "exec failed: "}


def main(argv: list[str]) -> NoReturn:
    """Run one command and leave the process with its exit code, without finalizing the interpreter."""
    boundary = Boundary()
    try:
        code = boundary.command(argv)
        log.flush()
    except BrokenPipeError as err:
        code = 1 if err.filename is None else boundary.report(err)
    except Exception as err:  # RecursionError and MemoryError too
        code = boundary.report(err)
    except KeyboardInterrupt:
        code = 130
    if log.wants_debug():
        log.debug("modules: " + " ".join(sorted(sys.modules)))
    posix._exit(code)


def _answer(text: str) -> int:
    log.out(text)
    return 0


class Boundary:
    """One command line, and the verb in it, which words and weighs its failure."""

    verb = ""

    def command(self, argv: list[str]) -> int:
        try:
            parsed, rest = args.parse(args.GLOBALS, argv, True)
        except args.Usage as err:
            log.out(f"Incorrect Usage. {err.message}\n\n{overview()}")
            raise
        values = cast("Globals", parsed)
        if values["help"] or not rest and not values["version"]:
            return _answer(overview())
        if values["version"]:
            return _answer(version())
        self.options(values)
        name = rest[0]
        if name in ("help", "h"):
            return self.help(rest[1:])
        if name not in COMMANDS:
            raise _unknown(name)
        return self.run(name, rest[1:], values)

    def options(self, values: Globals) -> None:
        values["inherited"] = args.inherited()
        if values["log-format"] not in ("text", "json"):
            raise Error(f"invalid log-format: {values['log-format']}")
        log.open_log(values["log"], values["log-format"], values["debug"])
        if values["rootless"] not in ("true", "false", "auto"):
            raise Error(f"invalid value \"{values['rootless']}\" for --rootless: must be true, false or auto")
        if values["criu"]:
            log.warning("--criu is ignored: pyrunc has no checkpoint and no restore")
        values["root-given"] = values["root"] is not None
        values["root"] = args.state_root(values)
        values["root-in-xdg"] = not values["root-given"] and values["root"] != args.DEFAULT_ROOT

    def help(self, names: list[str]) -> int:
        if not names:
            return _answer(overview())
        if names[0] not in COMMANDS:
            raise _unknown(names[0])
        return _answer(help_of(names[0], COMMANDS[names[0]][0]()))

    def run(self, name: str, argv: list[str], values: Globals) -> int:
        command = COMMANDS[name][0]()
        try:
            options, positional = args.parse(command.OPTIONS + args.HELP, argv, getattr(command, "STOP_AT_ID", False))
            if options["help"]:
                return _answer(help_of(name, command))
            args.count(name, command.ARGS, positional)
        except args.Usage as err:
            said = "" if err.message.startswith("pyrunc: ") else f": {err.message}"
            log.out(f"Incorrect Usage{said or '.'}\n\n{help_of(name, command)}")
            raise
        self.verb = name
        return command.run(values, cast("Never", options), positional)

    def report(self, err: Exception) -> int:
        """The one error line, and the exit code."""
        try:
            self.say(err)
        except (MemoryError, SystemError):  # saying it takes more than is left
            posix.write(2, b"pyrunc: out of memory\n")
        return 255 if self.verb == "exec" else getattr(err, "code", 1)

    def say(self, err: Exception) -> None:
        more: dict[str, str | int | None] = {}
        if isinstance(err, Error):
            message = err.message
            if self.verb in ("create", "run") and err.pointer and err.pointer not in message:
                message = f"config.json: {err.pointer}: {message}"
            more = {"pointer": err.pointer, "errno": err.errno, "hint": err.hint or CURES.get(err.errno)}
        elif isinstance(err, OSError):
            message = f"{_shown(err.filename) or _where(err)}: {reason(err)}"
            more = {"errno": err.errno, "hint": CURES.get(err.errno)}
        elif isinstance(err, MemoryError):
            message, more = "out of memory", {"errno": ENOMEM, "hint": TOO_LITTLE}
        elif isinstance(err, SystemError):  # what the interpreter makes of running out of memory in the wrong place
            message, more = f"the Python interpreter failed: {err}", {"hint": TOO_LITTLE}
        elif isinstance(err, ImportError):  # dlopen(3) does not say in a number that it was memory
            message, more = f"cannot load {err}", {"hint": f"{TOO_LITTLE}, or the installation is damaged"}
        else:
            message = f"internal error: {type(err).__name__}: {err}"
        if log.wants_debug():
            log.traceback(err)
        log.error(PREFIX.get(self.verb, "") + message, **{key: value for key, value in more.items() if value})


def _unknown(name: str) -> Error:
    from .config.keys import nearest

    verb = nearest(name, COMMANDS)
    return Error(f"No help topic for '{name}'" + (f": did you mean {verb}?" if verb else ""), code=3)


def _where(err: BaseException) -> str:
    """Where an OSError that names no file was raised: what was being done, at least in our words."""
    frame = err.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    return f"{frame.tb_frame.f_globals['__name__']}.{frame.tb_frame.f_code.co_name}" if frame else "pyrunc"


def _shown(filename: str | bytes | None) -> str | None:
    return filename.decode("utf-8", "surrogateescape") if isinstance(filename, bytes) else filename


def version() -> str:
    """go-runc and Docker read this: one line with the word version, then `key: value`."""
    from . import OCI_VERSION, __version__
    try:
        from ._build import COMMIT as commit
    except ImportError:
        commit = "unknown"
    return f"pyrunc version {__version__}\ncommit: {commit}\nspec: {OCI_VERSION}\n"


def help_of(name: str, command: Command) -> str:
    return args.help_of(f"pyrunc {name} - {COMMANDS[name][1]}", command.USAGE, command.OPTIONS)


def overview() -> str:
    verbs = "".join(f"   {name:10} {about}\n" for name, (_, about) in COMMANDS.items())
    return args.help_of(
        "pyrunc - run containers as the OCI runtime specification says",
        "[global options] COMMAND [options] [arguments]", args.GLOBALS[:-2], f"COMMANDS:\n{verbs}\n",
    )
