"""Entry and error boundary: the only place that catches broadly, and the only one that ends the process."""

import posix
import sys

from . import __version__, args, log
from .errors import Error

COMMANDS = {
    "create": "create a container", "delete": "delete a container", "exec": "run a process in a container",
    "explain": "print the plan of a bundle or container", "features": "what this runtime can do",
    "kill": "send a signal to a container", "list": "list containers", "ps": "list a container's processes",
    "run": "create and run a container", "spec": "write a default config.json", "start": "start a created container",
    "state": "print a container's state", "validate": "find every fault of a config.json",
}


def main(argv):
    """Run one command and leave the process with its exit code, without finalizing the interpreter."""
    code = 1
    try:
        code = _command(argv) or 0
        log.flush()
        sys.stdout.flush()
    except BrokenPipeError:
        code = 1
    except Exception as err:  # the boundary
        code = _report(err, argv)
    except KeyboardInterrupt:
        code = 130
    posix._exit(code)


def _command(argv):
    values, rest = args.parse(args.GLOBALS, argv, True)
    if values["version"]:
        _out(f"pyrunc version {__version__}\ncommit: unknown\nspec: 1.3.0\n")
        return 0
    if not rest or values["help"] or rest[0] in ("help", "h"):
        _out(_help())
        return 0
    if values["log-format"] not in ("text", "json"):
        raise Error(f"invalid log-format: {values['log-format']}")
    if values["rootless"] not in ("true", "false", "auto"):
        raise Error(f"invalid value {values['rootless']!r} for --rootless: true, false or auto")
    log.open_log(values["log"], values["log-format"], values["debug"])
    if rest[0] not in COMMANDS:
        raise Error(f"No help topic for '{rest[0]}'", code=3)
    return _run(rest[0], rest[1:], values)


def _run(name, argv, values):
    command = getattr(__import__(f"pyrunc.commands.{name}").commands, name)
    try:
        options, positional = args.parse(command.OPTIONS + args.HELP, argv, getattr(command, "STOP_AT_ID", False))
        if options["help"]:
            _out(args.help_of(command.USAGE, command.OPTIONS))
            return 0
        _count(name, command.ARGS, positional)
    except args.Usage as err:
        _out(f"Incorrect Usage.\n\n{err.message}\n\n{args.help_of(command.USAGE, command.OPTIONS)}")
        raise
    values["root-given"] = values["root"] is not None
    values["root"] = args.state_root(values)
    code = command.run(values, options, positional)
    if values["debug"]:
        log.debug("modules: " + " ".join(sorted(sys.modules)))
    return code


def _count(name, limits, positional):
    low, high = limits
    if len(positional) < low or high is not None and len(positional) > high:
        wanted = f"exactly {low}" if low == high else f"at least {low}" if high is None else f"{low} to {high}"
        raise args.Usage(f'pyrunc: "{name}" requires {wanted} argument(s)')


def _report(err, argv):
    verb = next((word for word in argv if word in COMMANDS), "")
    code = 255 if verb == "exec" else getattr(err, "code", 1)
    if isinstance(err, Error):
        message, more = err.message, {}
        if err.pointer:
            more["pointer"] = err.pointer
        if err.errno:
            more["errno"] = err.errno
        if err.hint:
            message += f" (hint: {err.hint})"
    elif isinstance(err, OSError):
        message, more = f"{err.filename or 'system call'}: {(err.strerror or str(err)).lower()}", {"errno": err.errno or 0}
    else:
        message, more = f"internal error: {type(err).__name__}: {err}", {}
    if "--debug" in argv and not isinstance(err, Error):
        import traceback

        traceback.print_exc()
    prefix = {"create": "pyrunc create failed: ", "run": "pyrunc run failed: ", "exec": "exec failed: "}.get(verb, "")
    log.error(prefix + message, **more)
    return code


def _help():
    lines = ["NAME:\n   pyrunc - run containers as the OCI runtime specification says\n\nUSAGE:",
             "   pyrunc [global options] COMMAND [options] [arguments]\n\nCOMMANDS:"]
    lines += [f"   {name:10} {text}" for name, text in COMMANDS.items()]
    lines.append("\nGLOBAL OPTIONS:")
    lines += [f"   --{long:18} {text}" for (long, _), _, _, text in args.GLOBALS]
    return "\n".join(lines) + "\n"


def _out(text):
    posix.write(1, text.encode("utf-8", "surrogateescape"))
