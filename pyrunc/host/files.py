"""Files of the kernel's, read whole and written by one call, by name in a directory that is open.

A file's name is one component, and no link is followed: some names come from config.json (GHSA-5g49-rx9x-qfc6).
"""

from __future__ import annotations

import errno
import posix

DIR = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC


def read(dirfd: int, file: str) -> str:
    """All of a file. OSError."""
    fd = posix.open(one_name(file), posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC, dir_fd=dirfd)
    return slurp(fd).decode("utf-8", "surrogateescape")


def write(dirfd: int, file: str, value: str) -> None:
    """One write(2): such files take a value whole or not at all. Never O_CREAT: the kernel makes the files. OSError."""
    fd = posix.open(one_name(file), posix.O_WRONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC, dir_fd=dirfd)
    try:
        posix.write(fd, value.encode("utf-8", "surrogateescape"))
    finally:
        posix.close(fd)


def one_name(file: str) -> str:
    """The name, if it is one component."""
    if "/" in file or "\0" in file or file in ("", ".", ".."):
        raise OSError(errno.EINVAL, posix.strerror(errno.EINVAL), file)
    return file


def slurp(fd: int) -> bytes:
    """All that can be read from a descriptor, which is closed."""
    try:
        parts: list[bytes] = []
        while part := posix.read(fd, 65536):
            parts.append(part)
        return b"".join(parts)
    finally:
        posix.close(fd)
