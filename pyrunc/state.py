"""The state directory: one directory per container, a lock, two files, and the status read off the kernel.

    <root>/<id>/           0711, locked by flock on itself
        state.json         written to a temporary name and renamed
        config.json        what create was given: exec's template; later edits of the bundle change nothing
        exit.json          how it ended, once that is known
        exec.fifo          there while the container is "created"
        status.fifo        by which `start` learns that execve succeeded or why not

`state.json` is written before anything else is made and says what will be made, so that whoever finds the directory
after a crash can undo all of it (delete -f).
"""

import posix
import time

from . import kernel
from .config.load import parse, with_process
from .errors import Error
from .jsonio import dumps, loads

OCI_VERSION = "1.3.0"
STATE, CONFIG, EXIT, FIFO, STATUS_FIFO = "state.json", "config.json", "exit.json", "exec.fifo", "status.fifo"
O_DIR = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC | posix.O_NOFOLLOW
ENOENT, EEXIST, ENXIO = 2, 17, 6
_ID = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-.")


def check_id(container):
    """runc's grammar: one or more of A-Z a-z 0-9 _ + - . and neither `.` nor `..`."""
    if not container:
        raise Error("container id cannot be empty")
    if not _ID.issuperset(container) or container in (".", "..") or len(container) > 255:
        raise Error("invalid container ID format", "1 to 255 letters, digits and _ + - . but neither . nor ..")


class Container:
    """One state directory, opened. `data` is state.json, {} when there is none (a creation that was cut short)."""

    __slots__ = ("root", "id", "path", "dirfd", "data")

    def __init__(self, root, container, dirfd):
        self.root = root
        self.id = container
        self.path = f"{root}/{container}"
        self.dirfd = dirfd
        self.data = {}

    # --- files ---

    def read(self, name):
        fd = posix.open(name, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW, dir_fd=self.dirfd)
        try:
            parts = [posix.read(fd, 1 << 20)]
            while parts[-1]:
                parts.append(posix.read(fd, 1 << 20))
            return b"".join(parts)
        finally:
            posix.close(fd)

    def write(self, name, data):
        """Replace a file. OSError with its name, not the temporary one."""
        try:
            self._write(name, data)
        except OSError as err:
            raise OSError(err.errno, err.strerror, f"write {self.path}/{name}") from None

    def _write(self, name, data):
        temporary = f"{name}-{posix.getpid()}"
        flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC | posix.O_NOFOLLOW
        fd = posix.open(temporary, flags, 0o600, dir_fd=self.dirfd)
        try:
            view = memoryview(data)
            while view:
                view = view[posix.write(fd, view):]
        finally:
            posix.close(fd)
        posix.rename(temporary, name, src_dir_fd=self.dirfd, dst_dir_fd=self.dirfd)

    def save(self):
        self.write(STATE, dumps(self.data).encode("utf-8", "surrogateescape"))

    def config(self):
        return with_process(parse(self.read(CONFIG)))

    def has(self, name):
        try:
            posix.stat(name, dir_fd=self.dirfd, follow_symlinks=False)
            return True
        except OSError:
            return False

    # --- lock ---

    def lock(self, wait_ms=10000):
        """Serialise callers. The directory may have gone, or been replaced, while we waited: then there is no such container."""
        if not kernel.flock(self.dirfd, wait_ms):
            raise Error(f"container {self.id} is busy: another command holds its lock")
        try:
            same = posix.stat(self.path).st_ino == posix.fstat(self.dirfd).st_ino
        except OSError:
            same = False
        if not same:
            raise missing()
        if self.data:
            self.data = _load(self)

    # --- what it is doing ---

    def pid(self):
        return self.data.get("init_process_pid", 0)

    def open_pidfd(self):
        """A pidfd of init, or None when it has ended; the start time tells it from a later process with its pid."""
        pid = self.pid()
        if pid <= 0:
            return None
        try:
            fd = posix.pidfd_open(pid)
        except OSError:
            return None
        if start_time(pid) != self.data.get("init_process_start"):
            posix.close(fd)
            return None
        return fd

    def alive(self):
        pid = self.pid()
        return pid > 0 and start_time(pid) == self.data.get("init_process_start")

    def status(self):
        """paused, stopped, created or running: the first that holds (compat.md 3.5)."""
        group = self.cgroup()
        if group is not None and self.pid() and group.exists() and group.frozen():
            return "paused"
        if not self.alive():
            return "stopped"
        return "created" if self.has(FIFO) else "running"

    def cgroup(self):
        """Its groups as one, or None."""
        relative, v1 = self.data.get("cgroup"), self.data.get("cgroup_v1")
        if relative is None and not v1:
            return None
        from .host.cgroup.group import Group

        return Group(self.data["facts"]["cgroup_root"], relative, v1)

    def resources(self):
        """linux.resources in force: config.json's, or what `update` has made of them."""
        if "resources" in self.data:
            return self.data["resources"]
        return self.config().get("linux", {}).get("resources") or {}

    def describe(self):
        """The OCI state, runtime.md#state, with runc's additions."""
        status = self.status()
        out = {
            "ociVersion": OCI_VERSION,
            "id": self.id,
            "pid": 0 if status == "stopped" else self.pid(),
            "status": status,
            "bundle": self.data.get("bundle", ""),
            "rootfs": self.data.get("rootfs", ""),
            "created": self.data.get("created", ""),
        }
        if status == "stopped":
            out["exit"] = self.exit_record()
        if self.data.get("annotations"):
            out["annotations"] = self.data["annotations"]
        out["owner"] = ""
        return out

    def exit_record(self):
        """How it ended: exit.json, written by `run` or, with what can still be found out, at the first look."""
        try:
            return loads(self.read(EXIT), EXIT)
        except (OSError, Error):
            return self.record_exit(zombie_status(self.pid(), self.data.get("init_process_start")))

    def record_exit(self, status, oom=None):
        """Write exit.json: code or signal of a wait status (neither if None), OOM-killed or not, when (or when noticed).

        A unit's group goes with its last process, so what it knew of OOM kills may be gone; oom: who has watched it."""
        group = self.cgroup()
        out = {"time": now()}
        killed = oom.killed(status) if oom is not None else bool(group and group.oom_kills())
        if oom is None and self.data.get("unit") and not killed and not group.exists():  # asked after it was read
            killed = None
        if killed is not None:
            out["oom_killed"] = killed
        if status is not None:
            out.update({"signal": status & 0x7F} if status & 0x7F else {"code": status >> 8})
        if self.pid() and kernel.flock(self.dirfd, 0):  # while another holds the lock it may be on its way out
            try:
                self.write(EXIT, dumps(out).encode())
            except OSError:
                pass
        return out

    def remove(self):
        """Take the directory away: known names only, never a recursive delete (CVE-2022-21658)."""
        for name in posix.listdir(self.dirfd):
            if name == "notify":
                _remove_notify(self.dirfd)
            else:
                posix.unlink(name, dir_fd=self.dirfd)
        posix.rmdir(self.path)


def _remove_notify(dirfd):
    try:
        posix.unlink("notify/notify.sock", dir_fd=dirfd)
    except OSError:
        pass
    posix.rmdir("notify", dir_fd=dirfd)


def start_time(pid):
    """Field 22 of /proc/PID/stat in clock ticks since boot, or None when it has ended (also as a zombie)."""
    fields = _stat(pid)
    if not fields or fields[0] in (b"Z", b"X", b"x"):
        return None
    return int(fields[19])


def _stat(pid):
    """/proc/PID/stat from the third field (state) on; [] when there is no such process."""
    try:
        fd = posix.open(f"/proc/{pid}/stat", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return []
    try:
        return posix.read(fd, 4096).rpartition(b")")[2].split()
    except OSError:
        return []
    finally:
        posix.close(fd)


def zombie_status(pid, start):
    """The wait status of a process that has ended but was not yet waited for, or None: field 52 of /proc/PID/stat.

    The kernel shows 0 to who may not trace the process, so a 0 is believed only by root.
    """
    fields = _stat(pid)
    if not fields or fields[0] != b"Z" or int(fields[19]) != start:
        return None
    status = int(fields[-1])
    return status if status or posix.geteuid() == 0 else None


def now():
    """The time as RFC 3339 with nanoseconds, UTC."""
    ns = time.time_ns()
    y, mo, d, h, mi, s = time.gmtime(ns // 1000000000)[:6]
    return f"{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}.{ns % 1000000000:09}Z"


def missing():
    return Error("container does not exist", errno=ENOENT)


def _taken():
    return Error("container with given ID already exists", errno=EEXIST)


def check_new(root, container):
    """The id is one and not in use, said before all else; that it still is not is for `create` to find."""
    check_id(container)
    try:
        posix.stat(f"{root}/{container}")
    except OSError:
        return
    raise _taken()


def create(root, container, sticky=False):
    """Make the directory of an id that check_new has seen, locked. Refused when there is one. sticky: the root too is made
    so, which keeps those away from it who clean $XDG_RUNTIME_DIR of what has not been used for long."""
    _make_root(root)
    if sticky:
        posix.chmod(root, 0o1700)
    path = f"{root}/{container}"
    try:
        posix.mkdir(path, 0o711)
    except FileExistsError:
        raise _taken() from None
    except OSError as err:
        raise _not_made(f"directory {path}", err) from None
    try:
        posix.chmod(path, 0o711)  # whatever the caller's umask
        made = Container(root, container, posix.open(path, O_DIR))
        kernel.flock(made.dirfd, 10000)
        return made
    except OSError:
        posix.rmdir(path)
        raise


def _make_root(root):
    try:
        posix.mkdir(root, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        _make_root(root.rpartition("/")[0] or "/")
        _make_root(root)
    except OSError as err:
        raise _not_made(f"root {root}", err) from None


def _not_made(what, err):
    hint = "an ordinary user's state is below $XDG_RUNTIME_DIR, if that is set, or where --root says" if posix.geteuid() else None
    return Error(f"create state {what}: {err.strerror.lower()}", hint, errno=err.errno)


def load(root, container, partial=False, damaged=False):
    """An existing container. `partial`: also one whose state.json was never written; `damaged`: or cannot be read."""
    check_id(container)
    try:
        dirfd = posix.open(f"{root}/{container}", O_DIR)
    except OSError as err:
        if err.errno == ENOENT:
            raise missing() from None
        raise Error(f"{root}/{container}: {err.strerror.lower()}", errno=err.errno) from None
    found = Container(root, container, dirfd)
    try:
        found.data = _load(found)
    except Error:
        if not damaged:
            raise
    if not found.data and not partial:
        raise missing()
    return found


def _load(container):
    """state.json, {} when there is none; a damaged one is an Error that says how to get rid of the container."""
    try:
        data = loads(container.read(STATE), STATE)
    except OSError:
        return {}
    except Error as err:
        data = err
    if type(data) is not dict or type(data.get("facts")) is not dict or "init_process_pid" not in data:
        reason = data.message if isinstance(data, Error) else "not what pyrunc wrote"
        raise Error(f"container {container.id}: state.json is damaged: {reason}", hint="`delete --force` removes it")
    return data


def every(root):
    """Ids under the root, sorted; none when there is no root."""
    try:
        names = posix.listdir(root)
    except FileNotFoundError:
        return []
    return sorted([name for name in names if _ID.issuperset(name) and name not in (".", "..")])
