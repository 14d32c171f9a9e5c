"""--pid-file: the pid of the container's process, for conmon, containerd and docker.

Its existence is the sign of success, so it is the last thing made, complete when it appears (written beside, renamed),
and never left behind by a failure.
"""

from __future__ import annotations

import posix

from ..errors import from_oserror
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_FLAGS = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC


def write(path: str, pid: int, dirfd: int | None = None) -> Callable[[], None]:
    """Write it, without a newline (go-runc parses the whole content), mode 0666 less umask.

    path  absolute, or relative to dirfd: the caller's working directory, not the bundle
    Returns the inverse.
    """
    head, slash, name = path.rpartition("/")
    beside = f"{head}{slash}.{name}"
    try:
        fd = _create(beside, dirfd)
        try:
            _fill(fd, str(pid).encode())
            posix.rename(beside, path, src_dir_fd=dirfd, dst_dir_fd=dirfd)
        except OSError:
            _remove(beside, dirfd)
            raise
    except OSError as err:
        raise from_oserror(err, f"pid-file {path}") from None
    return lambda: _remove(path, dirfd)


def _create(path: str, dirfd: int | None) -> int:
    """O_EXCL: never write through a link that somebody put there. A file that a killed pyrunc left there is removed first."""
    try:
        return posix.open(path, _FLAGS, 0o666, dir_fd=dirfd)
    except FileExistsError:
        posix.unlink(path, dir_fd=dirfd)
        return posix.open(path, _FLAGS, 0o666, dir_fd=dirfd)


def _fill(fd: int, data: bytes) -> None:
    try:
        posix.write(fd, data)
    finally:
        posix.close(fd)


def _remove(path: str, dirfd: int | None) -> None:
    try:
        posix.unlink(path, dir_fd=dirfd)
    except FileNotFoundError:
        pass
