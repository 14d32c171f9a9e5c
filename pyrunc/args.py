"""The command line: tables in, dicts out. No argparse: it costs more than everything else a hot verb does.

A command module has OPTIONS ((long, short or None), kind, default, help), ARGS (min, max), USAGE, and may have
STOP_AT_ID (flags end at the first positional: `exec ID ls -l`). Kinds: str, flag, int, list (repeatable, never split).
"""

import posix

from .errors import Error

GLOBALS = (
    (("root", None), "str", None, "directory for the state of containers"),
    (("log", None), "str", None, "file to write the log to, by default stderr"),
    (("log-format", None), "str", "text", "text or json"),
    (("debug", None), "flag", False, "log more, with tracebacks of internal errors"),
    (("systemd-cgroup", None), "flag", False, "use the systemd cgroup driver"),
    (("rootless", None), "str", "auto", "tolerate cgroup errors: true, false or auto"),
    (("criu", None), "str", None, "accepted and ignored"),
    (("help", "h"), "flag", False, "show help"),
    (("version", "v"), "flag", False, "show the version"),
)
HELP = ((("help", "h"), "flag", False, "show help"),)
TRUE = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}


class Usage(Error):
    """The command line itself is wrong; the command's help goes to stdout with it."""


def parse(options, argv, stop_at_first):
    """(values by long name, positionals). Flags are --name, -name or the short letter; values follow or stand after =."""
    table = {}
    values = {}
    for (long, short), kind, default, _ in options:
        table[long] = (long, kind)
        if short:
            table[short] = (long, kind)
        values[long] = default
    rest = []
    queue = list(argv)
    while queue:
        word = queue.pop(0)
        if word == "--":
            rest += queue
            break
        if not word.startswith("-") or word == "-":
            rest.append(word)
            if stop_at_first:
                rest += queue
                break
            continue
        name, given, value = word.lstrip("-").partition("=")
        if name not in table:
            raise Usage(f"flag provided but not defined: -{name}")
        long, kind = table[name]
        _set(values, long, kind, value if given else None, queue)
    return values, rest


def _set(values, long, kind, value, queue):
    if kind == "flag":
        if value is not None and value not in TRUE:
            raise Usage(f'invalid boolean value "{value}" for -{long}')
        values[long] = True if value is None else TRUE[value]
        return
    if value is None:
        if not queue:
            raise Usage(f"flag needs an argument: -{long}")
        value = queue.pop(0)
    if kind == "int":
        if not (value.isascii() and value.isdigit()) or len(value) > 9:
            raise Usage(f'invalid value "{value}" for flag -{long}: not a number')
        value = int(value)
    if kind == "list":
        value = (values[long] or []) + [value]
    values[long] = value


def help_of(usage, options):
    lines = [f"USAGE:\n   pyrunc {usage}\n\nOPTIONS:"]
    for (long, short), kind, _, text in options:
        names = f"--{long}" + (f", -{short}" if short else "")
        lines.append(f"   {names + ('' if kind == 'flag' else ' value'):32} {text}")
    return "\n".join(lines) + "\n"


def state_root(values):
    """--root made absolute, or the default: /run/pyrunc, for others than root $XDG_RUNTIME_DIR/pyrunc."""
    root = values["root"]
    if root is not None:
        root = _clean(root if root.startswith("/") else f"{posix.getcwd()}/{root}")
        if root == "/":
            raise Error("Option --root argument should not be set to /")
        return root
    runtime = posix.environ.get(b"XDG_RUNTIME_DIR", b"").decode("utf-8", "surrogateescape")
    return f"{runtime}/pyrunc" if runtime and posix.geteuid() else "/run/pyrunc"


def _clean(path):
    parts = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)
