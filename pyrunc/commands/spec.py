"""`pyrunc spec`: write a config.json to start from. Touches nothing but that file, and never an existing one."""

from __future__ import annotations

import posix

from .. import jsonio
from ..config import defaults
from ..errors import Error, from_oserror
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypedDict

    from ..args import Globals

    class Options(TypedDict):
        bundle: str
        rootless: bool
        help: bool

USAGE = "spec [-b DIR] [--rootless]"
ARGS = (0, 0)
OPTIONS = (
    (("bundle", "b"), "str", "", "directory to write config.json to (default: the current one)"),
    (("rootless", None), "flag", False, "write a config that works without root"),
)

# Only the root of a mounted cgroup2 has it: on a hybrid host /sys/fs/cgroup is a tmpfs.
_CGROUP2_MARK = "/sys/fs/cgroup/cgroup.controllers"


def run(_globals: Globals, options: Options, _args: list[str]) -> int:
    cgroup2 = posix.access(_CGROUP2_MARK, posix.F_OK)
    if options["rootless"]:
        config = defaults.rootless(posix.geteuid(), posix.getegid(), cgroup2)
    else:
        config = defaults.config(cgroup2)
    _write_new(options["bundle"], (jsonio.dumps(config, indent="\t") + "\n").encode())
    return 0


def _write_new(bundle: str, content: bytes) -> None:
    """O_EXCL, mode 0666 less the umask: as runc, but without the gap between its check and its write."""
    path = bundle + "/config.json" if bundle else "config.json"
    try:
        fd = posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC | posix.O_NOFOLLOW, 0o666)
    except FileExistsError:
        raise Error("File config.json exists. Remove it first") from None  # runc's words
    except OSError as err:
        raise from_oserror(err, path) from None
    try:
        while content:
            content = content[posix.write(fd, content):]
    except OSError as err:
        posix.unlink(path)
        raise from_oserror(err, path) from None
    finally:
        posix.close(fd)
