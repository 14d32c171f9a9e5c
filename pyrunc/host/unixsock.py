"""Addresses of AF_UNIX sockets: abstract ones, and paths longer than sun_path's 108 bytes (unix(7))."""

from __future__ import annotations

import posix

_ROOM = 107  # sun_path less the NUL


class Address:
    """`name` is what connect(2) and bind(2) take for `path`, as long as the object is open (`with`)."""

    __slots__ = ("name", "_dirfd")

    def __init__(self, path: str) -> None:
        """path: str; `@name` is abstract, as systemd and Go write it. OSError if the directory can't be opened."""
        name = path.encode("utf-8", "surrogateescape")
        self._dirfd = -1
        if path.startswith("@"):
            name = b"\0" + name[1:]
        elif len(name) > _ROOM:
            head, slash, last = name.rpartition(b"/")
            self._dirfd = posix.open(head + slash or b".", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
            name = b"/proc/self/fd/%d/%s" % (self._dirfd, last)
        self.name = name

    def __enter__(self) -> bytes:
        return self.name

    def __exit__(self, *_: object) -> None:
        if self._dirfd >= 0:
            posix.close(self._dirfd)
            self._dirfd = -1
