"""What a rule says is wrong, and the view of a config the rules look at. Used by the rules_*.py modules only."""

from . import mountopts

PATH_MAX = 4096  # with its NUL, linux/limits.h


class Fault:
    """One fault: where it stands (JSON pointer), what is wrong, which section of the specification says so."""

    __slots__ = ("pointer", "message", "section")

    def __init__(self, pointer, message, section):
        self.pointer = pointer
        self.message = message
        self.section = section

    def __repr__(self):
        return f"Fault({self.pointer!r}, {self.message!r}, {self.section!r})"


class View:
    """A config whose types schema_gen has found right, and what several rules derive from it.

    namespaces  {type: path, or "" for a new one}; the last one of a duplicated type
    options     the MountOptions of each mount
    """

    __slots__ = ("config", "linux", "process", "mounts", "namespaces", "options")

    def __init__(self, config):
        self.config = config
        self.linux = config.get("linux", {})
        self.process = config.get("process", {})
        self.mounts = config.get("mounts", [])
        self.namespaces = {entry["type"]: entry.get("path", "") for entry in self.linux.get("namespaces", ())}
        self.options = [mountopts.parse(mount.get("options", ())) for mount in self.mounts]


def too_long(path):
    """Whether no system call can take this path. At most four bytes make a character, so most need no encoding."""
    return len(path) > 1023 and len(path.encode("utf-8", "surrogateescape")) >= PATH_MAX


def path_fault(pointer, path, section, what="path"):
    """Yield what is wrong with a path that has to be absolute."""
    if not path.startswith("/"):
        yield Fault(pointer, f'{what} "{shown(path)}" must be absolute', section)
    elif too_long(path):
        yield Fault(pointer, f"{what} is longer than {PATH_MAX - 1} bytes", section)


def shown(text):
    """Text from a config inside a one-line message: short, and without control characters."""
    short = text if len(text) <= 160 else text[:157] + "..."
    return short if short.isprintable() else ascii(short)[1:-1]
