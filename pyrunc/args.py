"""The command line: tables in, dicts out. No argparse: it costs more than everything else a hot verb does.

A command module has OPTIONS ((long, short or None), kind, default, help), ARGS (min, max), USAGE, and may have
STOP_AT_ID (flags end at the first positional: `exec ID ls -l`). Kinds: str, flag, int, list (repeatable, never split).
The grammar and the words are those of runc's library: -name is --name, --name=value is --name value, and
flags may stand behind the positionals.
"""

from __future__ import annotations

import posix

from .errors import Error
from .paths import clean
from .typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypedDict

    Value = str | bool | int | list[str] | None
    Option = tuple[tuple[str, str | None], str, Value, str]  # (long, short), kind, default, help
    Table = tuple[Option, ...]
    # What GLOBALS says, and what boot adds: how many descriptors are the caller's, where the root came from.
    Globals = TypedDict("Globals", {
        "root": str, "log": str | None, "log-format": str, "debug": bool, "systemd-cgroup": bool, "rootless": str,
        "criu": str | None, "version": bool, "help": bool, "inherited": int, "root-given": bool, "root-in-xdg": bool,
    })

DEFAULT_ROOT = "/run/pyrunc"
GLOBALS: Table = (
    (("root", None), "str", None, f"directory for the state of containers (default {DEFAULT_ROOT})"),
    (("log", None), "str", None, "file to write the log to (default stderr)"),
    (("log-format", None), "str", "text", "text or json"),
    (("debug", None), "flag", False, "log more, with tracebacks of internal errors"),
    (("systemd-cgroup", None), "flag", False, "use the systemd cgroup driver"),
    (("rootless", None), "str", "auto", "tolerate cgroup errors: true, false or auto"),
    (("criu", None), "str", None, "accepted and ignored"),
    (("version", "v"), "flag", False, "show the version"),
    (("help", "h"), "flag", False, "show help"),
)
HELP: Table = ((("help", "h"), "flag", False, "show help"),)
TRUE = ("1", "t", "T", "true", "TRUE", "True")
FALSE = ("0", "f", "F", "false", "FALSE", "False")


class Usage(Error):
    """The command line itself is wrong; the command's help goes to stdout with it."""


def parse(options: Table, argv: list[str], stop_at_first: bool) -> tuple[dict[str, Value], list[str]]:
    """(values by long name, positionals)."""
    table: dict[str, tuple[str, str]] = {}
    values: dict[str, Value] = {}
    for (long, short), kind, default, _ in options:
        table[long] = (long, kind)
        if short:
            table[short] = (long, kind)
        values[long] = default
    lists: dict[str, list[str]] = {}
    rest: list[str] = []
    at = 0
    while at < len(argv):
        word = argv[at]
        at += 1
        if word == "--":
            rest += argv[at:]
            break
        if word[:1] != "-" or word == "-":
            rest.append(word)
            if stop_at_first:
                rest += argv[at:]
                break
            continue
        name, given, value = word[2 if word[:2] == "--" else 1:].partition("=")
        if name not in table:
            raise Usage(f"flag provided but not defined: -{name}")
        long, kind = table[name]
        if kind == "flag":
            values[long] = _flag(name, value) if given else True
            continue
        if not given:
            if at == len(argv):
                raise Usage(f"flag needs an argument: -{name}")
            value = argv[at]
            at += 1
        if kind == "int":
            values[long] = _int(name, value)
        elif kind == "list":
            values[long] = lists[long] = [*lists.get(long, ()), value]
        else:
            values[long] = value
    return values, rest


def _flag(name: str, value: str) -> bool:
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise Usage(f'invalid boolean value "{value}" for -{name}: parse error')


def _int(name: str, value: str) -> int:
    digits = value[1:] if value[:1] == "-" else value
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 9:
        raise Usage(f'invalid value "{value}" for flag -{name}: parse error')
    return int(value)


def count(name: str, limits: tuple[int, int | None], positional: list[str]) -> None:
    """Refuse a wrong number of arguments, in runc's words."""
    low, high = limits
    if low == high and len(positional) != low:
        wanted = f"exactly {low}"
    elif len(positional) < low:
        wanted = f"a minimum of {low}"
    elif high is not None and len(positional) > high:
        wanted = f"a maximum of {high}"
    else:
        return
    raise Usage(f'pyrunc: "{name}" requires {wanted} argument(s)')


def help_of(title: str, usage: str, options: Table, more: str = "") -> str:
    """The help of one command, or with the list of commands as `more`, of all."""
    lines = []
    for (long, short), kind, _, text in options + HELP:
        names = f"--{long}" + ("" if kind == "flag" else " value") + (f", -{short}" if short else "")
        lines.append(f"   {names:32} {text}\n")
    return f"NAME:\n   {title}\n\nUSAGE:\n   pyrunc {usage}\n\n{more}OPTIONS:\n{''.join(lines)}"


def inherited() -> int:
    """The first descriptor from 3 on that is not open. Asked before anything is opened, all below it are the caller's."""
    fd = 3
    try:
        while True:
            posix.fstat(fd)
            fd += 1
    except OSError:
        return fd


def state_root(values: Globals) -> str:
    """--root made absolute, or the default; nothing is created.

    $XDG_RUNTIME_DIR counts for others than root, and for the root of a user namespace that is not logged in as root.
    """
    root = values["root"]
    if root:
        root = clean(root if root[0] == "/" else f"{posix.getcwd()}/{root}")
        if root == "/":
            raise Error("Option --root argument should not be set to /")
        return root
    from .facts import in_userns

    runtime = posix.environ.get(b"XDG_RUNTIME_DIR", b"").decode("utf-8", "surrogateescape")
    if runtime and (posix.geteuid() or posix.environ.get(b"USER") != b"root" and in_userns()):
        return f"{runtime}/pyrunc"
    return DEFAULT_ROOT
