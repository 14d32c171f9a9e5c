"""The system calls pyrunc makes that Python's `posix` does not have, typed, raising OSError with what was tried.

Only this module and its siblings (`kernel_*.py`) touch the cffi module. Each function names its man page.
plan/ and config/ never import it (tests/lint/test_layers.py).
"""

from __future__ import annotations

import errno
import posix

from pyrunc._native import ffi, lib
from pyrunc.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# openat2(2)
RESOLVE_NO_XDEV = 1
RESOLVE_NO_MAGICLINKS = 2
RESOLVE_NO_SYMLINKS = 4
RESOLVE_IN_ROOT = 16

AT_FDCWD = -100  # openat(2): a relative path counts from the working directory
MAP_SIZE = 16384  # room for the text of 340 id maps

END_OF_FILE = 0


def check(ret: int, doing: str) -> int:
    """Return `ret`, or raise the OSError a negative one stands for, naming what was being done."""
    if ret < 0:
        raise OSError(-ret, posix.strerror(-ret), doing)
    return ret


def encode(text: str) -> bytes:
    """A str as the bytes a syscall takes; a NUL would cut it short in C, so it is refused here, for all callers."""
    data = text.encode("utf-8", "surrogateescape")
    if 0 in data:
        raise ValueError("embedded NUL byte")
    return data


def memfd(name: str, data: bytes, sealed: bool = True) -> int:
    """memfd_create(2) holding `data`, offset 0; sealed: nobody can change it any more. Returns the descriptor."""
    return check(lib.k_memfd(encode(name), data, len(data), sealed), f"memfd_create {name}")


def socketpair() -> tuple[int, int]:
    """unix(7) SOCK_SEQPACKET pair (ours, child's); ours is told by the kernel which pid speaks (SO_PASSCRED)."""
    pair = ffi.new("int[2]")
    check(lib.k_socketpair(pair), "socketpair")
    return pair[0], pair[1]


AS_THEY_ARE = (-1, -1, -1)


def spawn_begin(sock: int, base: int = 3, cgroup: int = -1, flags: int = 0, stdio: Sequence[int] = AS_THEY_ARE) -> None:
    """Begin to start init (clone3(2), execveat(2)), by a thread: it has `sock` on `base` and waits there for its plan.

    flags   CLONE_NEW*
    cgroup  descriptor of the cgroup2 directory it is born in, or -1
    stdio   its descriptors 0 to 2, -1 for ours
    All descriptors have to stay open until spawn_end().
    """
    check(lib.k_spawn_begin(sock, cgroup, flags, base, ffi.new("int[]", stdio)), "memfd_create pyrunc:init")


def spawn_end() -> tuple[int, int]:
    """(pid, pidfd) of what was begun, when it has executed init; OSError if it could not, ECHILD if nothing was begun."""
    pidfd = ffi.new("int *")
    pid = check(lib.k_spawn_end(pidfd), "clone3 init")
    return pid, pidfd[0]


def send(sock: int, seq: int, err: int = 0, fds: Sequence[int] = ()) -> None:
    """Answer SYNC `seq` with descriptors. A peer that is gone is no error here: the next receive says so."""
    ret = lib.k_send(sock, seq, err, ffi.new("int[]", fds), len(fds))
    if ret < 0 and -ret not in (errno.EPIPE, errno.ECONNRESET):
        check(ret, "sendmsg to init")


def receive(sock: int) -> tuple[int, int, int, int, int, list[int]] | None:
    """Next record of init: (seq, op, err, step, pid, fds), or None at the end of file."""
    msg = ffi.new("struct message *")
    if check(lib.k_recv(sock, msg), "recvmsg from init") == END_OF_FILE:
        return None
    rec = msg.record
    return rec.seq, rec.op, rec.err, rec.step, msg.pid, [msg.fd[i] for i in range(msg.nfds)]


def openat2(dirfd: int, path: str, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2), close-on-exec, EAGAIN retried. Returns the descriptor."""
    return check(lib.k_openat2(dirfd, encode(path), flags, mode, resolve), f"open {path}")


def open_tree(path: str, flags: int, set_: int, clear: int, propagation: int, explicit: int, dirfd: int = AT_FDCWD) -> tuple[int, int]:
    """A detached clone of what is mounted at `path`, flags applied: open_tree(2), mount_setattr(2); csrc/tree.h.

    flags  TREE_*; explicit: MOUNT_ATTR_* that must not stay
    Returns (descriptor or -errno, step of csrc/plan.h).
    """
    step = ffi.new("uint32_t *")
    ret = lib.k_tree_open(dirfd, encode(path), flags, set_, clear, propagation, explicit, step)
    return ret, step[0]


def open_tree_of(fd: int, flags: int, set_: int, clear: int, propagation: int, explicit: int) -> tuple[int, int]:
    """open_tree() of what a descriptor names."""
    return open_tree("", flags, set_, clear, propagation, explicit, fd)


def mount_setattr(fd: int, flags: int, set_: int, clear: int, propagation: int, explicit: int) -> tuple[int, int]:
    """mount_setattr(2) on a mount's descriptor. Operands and results as open_tree's."""
    step = ffi.new("uint32_t *")
    return lib.k_tree_setattr(fd, flags, set_, clear, propagation, explicit, step), step[0]


def idmap(fd: int, userns: int, recursive: bool) -> None:
    """mount_setattr(2) MOUNT_ATTR_IDMAP of a detached tree."""
    check(lib.k_tree_idmap(fd, userns, recursive), "mount_setattr MOUNT_ATTR_IDMAP")


def userns(uid_map: str, gid_map: str) -> int:
    """A user namespace with these maps (user_namespaces(7), lines `inside outside count`). Returns its descriptor."""
    return check(lib.k_userns(encode(uid_map), encode(gid_map)), "clone3 CLONE_NEWUSER")


def userns_maps(fd: int) -> tuple[str, str]:
    """(uid_map, gid_map) of the user namespace behind a descriptor, as ours sees them."""
    uid_map, gid_map = ffi.new("char[]", MAP_SIZE), ffi.new("char[]", MAP_SIZE)
    check(lib.k_userns_maps(fd, uid_map, gid_map, MAP_SIZE), "setns CLONE_NEWUSER")
    return ffi.string(uid_map).decode(), ffi.string(gid_map).decode()


def umount(fd: int) -> None:
    """umount2(2) MNT_DETACH of the mount whose root a descriptor (O_PATH will do) is."""
    check(lib.k_umount(fd), "umount")


def mount_ids(fd: int) -> tuple[int, int]:
    """(id as in mountinfo, id that is never used again or 0) of the mount a descriptor is on: statx(2) STATX_MNT_ID, _UNIQUE."""
    ids = ffi.new("uint64_t[2]")
    check(lib.k_mount_ids(fd, ids), "statx")
    return ids[0], ids[1]


def magic(path: str) -> int:
    """statfs(2) f_type of the file system `path` lies on, or 0 if there is no such path."""
    out = ffi.new("int64_t *")
    return out[0] if lib.k_statfs_magic(encode(path), out) == 0 else 0


def fd_magic(fd: int) -> int:
    """fstatfs(2) f_type."""
    out = ffi.new("int64_t *")
    check(lib.k_fstatfs_magic(fd, out), "fstatfs")
    return out[0]


def prlimit(pid: int, resource: int, soft: int, hard: int) -> None:
    """prlimit(2) on another process."""
    check(lib.k_prlimit(pid, resource, soft, hard), "prlimit")


def flock(fd: int, wait_ms: int) -> bool:
    """flock(2) LOCK_EX, waiting at most `wait_ms`. False if somebody else still has it."""
    ret = lib.k_flock(fd, 1, wait_ms)
    if ret == -errno.EAGAIN:
        return False
    check(ret, "flock")
    return True


def unlock(fd: int) -> None:
    """flock(2) LOCK_UN."""
    check(lib.k_unlock(fd), "flock")


def wait_exit(pidfd: int, timeout_ms: int = -1) -> bool:
    """Wait until the process of `pidfd` has ended; False on timeout (ms, -1 for ever)."""
    return check(lib.k_wait_pid(pidfd, timeout_ms), "poll pidfd") > 0


def wait_any(fds: Sequence[int], timeout_ms: int) -> list[int]:
    """poll(2) for input, an end or an error on up to 8 descriptors; those of them that have it, [] on timeout."""
    found = check(lib.k_wait_any(ffi.new("int[]", fds), len(fds), timeout_ms), "poll")
    return [fd for place, fd in enumerate(fds) if found >> place & 1]


def read_timeout(fd: int, size: int, timeout_ms: int) -> bytes:
    """read(2) once there is something; b"" at the end of file. OSError ETIMEDOUT."""
    if not wait_any([fd], timeout_ms):
        raise OSError(errno.ETIMEDOUT, posix.strerror(errno.ETIMEDOUT))
    return posix.read(fd, size)


def subreaper(on: bool) -> None:
    """prctl(2) PR_SET_CHILD_SUBREAPER."""
    check(lib.k_subreaper(1 if on else 0), "prctl PR_SET_CHILD_SUBREAPER")


def nstype(fd: int) -> int:
    """ioctl_ns(2) NS_GET_NSTYPE: the CLONE_NEW* flag of an nsfs descriptor."""
    return check(lib.k_nstype(fd), "ioctl NS_GET_NSTYPE")


def getrlimit(pid: int, resource: int) -> tuple[int, int]:
    """prlimit(2), reading: (soft, hard)."""
    out = ffi.new("uint64_t[2]")
    check(lib.k_getrlimit(pid, resource, out), "prlimit")
    return out[0], out[1]
