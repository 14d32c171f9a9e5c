"""Compiled filters, kept by the hash of everything they were made of. A hit saves the 5 to 20 ms that libseccomp takes.

A filter is security policy, so the cache believes nobody: the directory and each entry must belong to us and be closed
to others, which is checked on the open descriptor; and each entry carries a digest of its key and content, so that one
that is cut short, corrupted or moved under another name is not used. Whatever is wrong with the cache means a
miss, never an error: it is only there for speed.
"""

import posix

try:
    from _sha2 import sha256  # CPython 3.12 and later
except ImportError:
    from _sha256 import sha256

NAME = "@seccomp"  # in the state root; no container id may contain an @
VERSION = b"pyrunc seccomp 1\n"  # of the entries and of the code that makes them
MAX_ENTRIES = 128
MAX_SIZE = 4096 * 8
DIGEST = 32
DIR = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC


def open_directory(state_root: str) -> int | None:
    """Descriptor of the cache's directory, made if missing; None if it can't be had or is open to others."""
    path = f"{state_root}/{NAME}"
    try:
        fd = posix.open(path, DIR)
    except FileNotFoundError:
        try:
            posix.mkdir(path, 0o700)
            fd = posix.open(path, DIR)
        except OSError:
            return None
    except OSError:
        return None
    if _ours(posix.fstat(fd), 0o040700):
        return fd
    posix.close(fd)
    return None


def key(flat: bytes, enosys: bool, library: tuple[int, int, int]) -> str:
    """The name of a filter's entry: a hash of the profile, the library, the kernel and our own version."""
    kernel = posix.uname()
    context = f"{enosys:d} {library} {kernel.release} {kernel.machine}\n".encode("utf-8", "surrogateescape")
    name: str = sha256(VERSION + context + flat).hexdigest()
    return name


def load(directory: int, name: str) -> bytes | None:
    """The filter stored under a key, or None."""
    try:
        fd = posix.open(name, posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC | posix.O_NONBLOCK, dir_fd=directory)
    except OSError:
        return None
    try:
        found = posix.fstat(fd)
        if not _ours(found, 0o100600) or not DIGEST < found.st_size <= DIGEST + MAX_SIZE:
            return None
        data = posix.read(fd, DIGEST + MAX_SIZE + 1)
    except OSError:
        return None
    finally:
        posix.close(fd)
    code = data[DIGEST:]
    if len(code) % 8 or data[:DIGEST] != _digest(name, code):
        return None
    return code


def store(directory: int, name: str, code: bytes) -> None:
    """Put a filter under its key: written beside, then renamed, so that a reader sees all of it or none."""
    beside = name + ".new"
    try:
        if len(posix.listdir(directory)) >= MAX_ENTRIES:
            _empty(directory)
        fd = posix.open(beside, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC,
                        0o600, dir_fd=directory)
    except FileExistsError:
        _unlink(directory, beside)  # somebody died here, or is at it: next time
        return
    except OSError:
        return
    try:
        data = _digest(name, code) + code
        posix.fchmod(fd, 0o600)  # whatever the umask
        if posix.write(fd, data) == len(data):
            posix.rename(beside, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        _unlink(directory, beside)
    finally:
        posix.close(fd)


def _ours(found: posix.stat_result, mode: int) -> bool:
    return found.st_mode == mode and found.st_uid == posix.geteuid()


def _digest(name: str, code: bytes) -> bytes:
    digest: bytes = sha256(name.encode("ascii") + code).digest()
    return digest


def _empty(directory: int) -> None:
    for entry in posix.listdir(directory):
        _unlink(directory, entry)


def _unlink(directory: int, name: str) -> None:
    try:
        posix.unlink(name, dir_fd=directory)
    except OSError:
        pass
