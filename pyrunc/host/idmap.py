"""Writing a user namespace's maps: directly when we may, else by newuidmap and newgidmap. user_namespaces(7)."""

import posix

EPERM = 1


def write(pid, uid_map, gid_map, setgroups):
    """The maps of process `pid`, gid after setgroups (an unprivileged gid map needs setgroups denied first)."""
    if setgroups:
        _put(pid, "setgroups", setgroups)
    _put(pid, "uid_map", uid_map)
    _put(pid, "gid_map", gid_map)


def _put(pid, name, text):
    path = f"/proc/{pid}/{name}"
    fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
    try:
        posix.write(fd, text.encode())
    except OSError as err:
        raise OSError(err.errno, err.strerror, f"write {text.strip()!r} to {name}") from None
    finally:
        posix.close(fd)
