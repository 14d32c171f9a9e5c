"""The state directory: one directory per container, a lock, its files, and the status read off the kernel.

    <root>/<id>/           0711, locked by flock on itself
        state.json         written to a temporary name and renamed
        state.copy         the same again, written before it: what is read where state.json is damaged or gone
        config.json        what create was given: exec's template; later edits of the bundle change nothing
        plan.json          the plan that create has run: `start` words failures by it, `explain --id` prints it
        exit.json          how it ended, once that is known
        exec.fifo          there while the container is "created"
        status.fifo        by which `start` learns that execve succeeded or why not

`state.json` is written before anything else is made and says what will be made, so that whoever finds the directory
after a crash can undo all of it (delete -f).

Whoever can write here decides whom we kill and what runs as root. So a root or a directory that others own or may write
is refused, by its descriptor; and nothing but a regular file of limited size is read, whatever lies under its name.
"""

from __future__ import annotations

import posix
import time
from .typed import TYPE_CHECKING, cast

from . import OCI_VERSION, kernel
from .config.load import check_resources, parse, with_process
from .errors import Error, reason
from .jsonio import MAX_BYTES, dumps, loads, shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, TypedDict

    from .config.shape import Config, Resources
    from .host.cgroup.group import Group
    from .host.cgroup.oom import Watch
    from .host.cgroup.v2 import Cgroup
    from .host.hostmounts import Known
    from .jsonio import Json
    from .plan.request import Kept, Rows, Unit

    Check = Callable[[Any], bool]  # of a value of state.json: whether it is one that pyrunc wrote

    class State(TypedDict, total=False):
        """What state.json holds."""

        id: str
        init_process_pid: int
        init_process_start: int | None
        created: str
        bundle: str
        rootfs: str
        annotations: dict[str, str]
        cgroup: str | None
        cgroup_v1: Rows
        unit: Unit | None
        facts: dict[str, Any]  # a dump of facts.Facts
        rootless: bool
        external_descriptors: list[str]
        pid_shared: bool
        marked: bool
        request: Kept
        resctrl: list[str]
        resctrl_made: list[str]
        intel_rdt_path: str
        intel_rdt_mon_path: str
        mounts: list[str]
        host_mounts: Known
        resources: Resources
        cgroup_paths: dict[str, str]
        namespace_paths: dict[str, str]

STATE, COPY, CONFIG, PLAN, EXIT = "state.json", "state.copy", "config.json", "plan.json", "exit.json"
FIFO, STATUS_FIFO = "exec.fifo", "status.fifo"
O_DIR = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC | posix.O_NOFOLLOW
ENOENT, ESRCH, ENXIO, EEXIST, ENODEV, ENOTDIR = 2, 3, 6, 17, 19, 20
BLOCK = 1 << 16
S_IFMT, S_IFREG, S_IFIFO, S_IFLNK = 0o170000, 0o100000, 0o010000, 0o120000
_ID = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-.")


def check_id(container: str) -> None:
    """runc's grammar: one or more of A-Z a-z 0-9 _ + - . and neither `.` nor `..`."""
    if not container:
        raise Error("container id cannot be empty")
    if not _ID.issuperset(container) or container in (".", "..") or len(container) > 255:
        raise Error("invalid container ID format", "an id has 1 to 255 letters, digits or _ + - . and is neither . nor ..")


class Container:
    """One state directory, opened. `data` is state.json, {} when there is none (a creation that was cut short) or, then it
    is `damaged`, none that can be believed.

    As a context it words what fails because the container has been deleted meanwhile as just that.
    """

    __slots__ = ("root", "id", "path", "dirfd", "inode", "locked", "data", "damaged")

    def __init__(self, root: str, container: str, dirfd: int, inode: int, locked: bool) -> None:
        self.root = root
        self.id = container
        self.path = f"{root}/{container}"
        self.dirfd = dirfd
        self.inode = inode
        self.locked = locked  # since before `data` was read
        self.data: State = {}
        self.damaged = False

    def __enter__(self) -> Container:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None,
                 trace: TracebackType | None) -> None:
        if isinstance(err, (OSError, Error)) and err.errno in (ENOENT, ESRCH, ENODEV, ENXIO) and not self.there():
            raise missing() from None

    # --- files ---

    def there(self) -> bool:
        """Whether the directory is still that of the id: another `delete` may have removed it, and a `create` made a new one."""
        try:
            return posix.stat(self.path).st_ino == self.inode
        except OSError:
            return False

    def read(self, name: str) -> bytes:
        """Looked at before it is opened: opening a device may already do something."""
        found = posix.stat(name, dir_fd=self.dirfd, follow_symlinks=False)
        if found.st_mode & S_IFMT != S_IFREG:
            raise Error(f"{name}: not a regular file")
        if found.st_size > MAX_BYTES:
            raise Error(f"{name}: larger than {MAX_BYTES >> 20} MiB")
        fd = posix.open(name, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW | posix.O_NONBLOCK, dir_fd=self.dirfd)
        try:
            parts, left = [posix.read(fd, BLOCK)], MAX_BYTES - BLOCK
            while left > 0 and len(parts[-1]) == BLOCK:  # what is less than asked for is a regular file's end
                parts.append(posix.read(fd, BLOCK))
                left -= BLOCK
            return b"".join(parts)
        finally:
            posix.close(fd)

    def write(self, name: str, data: bytes, first: bool = False) -> None:
        """Replace a file. OSError with its name, not the temporary one. first: there is none, and nobody looks for one, because
        there is no state.json either."""
        try:
            self._write(name, data, name if first else f"{name}-{posix.getpid()}")
        except OSError as err:
            raise OSError(err.errno, err.strerror, f"write {self.path}/{name}") from None

    def _write(self, name: str, data: bytes, temporary: str) -> None:
        flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC | posix.O_NOFOLLOW
        try:
            fd = posix.open(temporary, flags, 0o600, dir_fd=self.dirfd)
        except FileExistsError:  # of one that died here with our pid
            posix.unlink(temporary, dir_fd=self.dirfd)
            fd = posix.open(temporary, flags, 0o600, dir_fd=self.dirfd)
        try:
            try:
                view = memoryview(data)
                while view:
                    view = view[posix.write(fd, view):]
            finally:
                posix.close(fd)
            if temporary != name:
                posix.rename(temporary, name, src_dir_fd=self.dirfd, dst_dir_fd=self.dirfd)
        except OSError:
            posix.unlink(temporary, dir_fd=self.dirfd)
            raise

    def save(self, first: bool = False) -> None:
        """Twice: a file that is cut short or overwritten must not take the only knowledge of what runs with it. The first time
        nothing runs, and the copy is another name of the same file: `_created` soon replaces both."""
        data = dumps(self.data).encode()
        if len(data) > MAX_BYTES:
            raise Error(f"state.json would be larger than {MAX_BYTES >> 20} MiB: the annotations are too long", pointer="/annotations")
        self.write(COPY, data)
        if first:
            try:
                return posix.link(COPY, STATE, src_dir_fd=self.dirfd, dst_dir_fd=self.dirfd, follow_symlinks=False)
            except OSError:  # a file system without such names
                pass
        self.write(STATE, data)

    def config(self) -> Config:
        """What create was given. It was checked then; here only what damage would do is: the kinds of what is looked into."""
        config = with_process(parse(self.read(CONFIG)))
        for key in ("process", "hooks", "linux"):
            if type(config.get(key, {})) is not dict:
                raise Error(f"container {self.id}: config.json is damaged: {key} is not an object")
        return config

    def open_fifo(self, name: str, flags: int) -> int:
        """One of the two fifos, never blocking; what else lies under the name is not written to, nor waited for."""
        fd = posix.open(name, flags | posix.O_NONBLOCK | posix.O_NOFOLLOW | posix.O_CLOEXEC, dir_fd=self.dirfd)
        if posix.fstat(fd).st_mode & S_IFMT != S_IFIFO:
            posix.close(fd)
            raise Error(f"container {self.id}: {name} is damaged: not a fifo", hint="`delete --force` removes it")
        return fd

    def has(self, name: str) -> bool:
        try:
            posix.stat(name, dir_fd=self.dirfd, follow_symlinks=False)
            return True
        except OSError:
            return False

    # --- lock ---

    def lock(self, wait_ms: int = 10000) -> None:
        """Serialise callers. The directory may have gone, or been replaced, while we waited: then there is no such container."""
        if not self.locked and not kernel.flock(self.dirfd, wait_ms):
            raise Error(f"container {self.id} is busy: another command holds its lock")
        if not self.there():
            raise missing()
        if self.data and not self.locked:
            self.data = _load(self)
        self.locked = True

    def unlock(self) -> None:
        """Let others in: they may look at it, signal it, delete it. What they write is read again by lock()."""
        kernel.unlock(self.dirfd)
        self.locked = False

    # --- what it is doing ---

    def owner(self) -> str:
        """What its groups are marked with: no other directory, before or after, has had the inode with the id."""
        return f"{self.id}/{self.inode}"

    def owns(self, group: Cgroup) -> bool:
        """A record that is damaged, or older than the group, may name another's, whose processes must not die with this."""
        return group.belongs(self.owner(), self.data.get("marked"))

    def kill_group(self) -> bool:
        """Everything in its own group; whether there was anything."""
        group = self.cgroup()
        if group is None or not group.populated() or not self.owns(group.main()):
            return False
        group.kill()
        group.thaw()
        return True

    def pid(self) -> int:
        return self.data.get("init_process_pid", 0)

    def open_pidfd(self) -> int | None:
        """A pidfd of init, or None when it has ended; the start time tells it from a later process with its pid."""
        fd, name = self.grasp()
        if name is None and fd is not None:
            posix.close(fd)
            return None
        return fd

    def grasp(self) -> tuple[int | None, bytes | None]:
        """(pidfd, command name) of init, name None if that pidfd is not init's any more, pidfd None if there is none. In this
        order: who has the pid and the start time after it was opened, had them when it was."""
        pid = self.pid()
        if pid <= 0:
            return None, None
        try:
            return posix.pidfd_open(pid), self.name()
        except OSError:
            return None, None

    def name(self) -> bytes | None:
        """The command name of init, None when it has ended."""
        pid, start = self.pid(), self.data.get("init_process_start")
        if pid <= 0 or start is None:
            return None
        name, fields = _stat(pid)
        return name if _started(fields) == start else None

    def alive(self) -> bool:
        return self.name() is not None

    def status(self) -> str:
        """stopped, paused, created or running: the first that holds. The process comes first: a group may stay frozen after
        everything in it has been killed."""
        return self.status_of(self.alive())

    def status_of(self, alive: bool) -> str:
        if not alive:
            return "stopped"
        if self._frozen():
            return "paused"
        return "created" if self.has(FIFO) else "running"

    def _frozen(self) -> bool:
        group = self.cgroup()
        if group is None:
            return False
        try:
            return group.frozen()
        finally:
            group.close()  # `list` looks at many

    def cgroup(self) -> Group | None:
        """Its groups as one, or None."""
        relative, v1 = self.data.get("cgroup"), self.data.get("cgroup_v1")
        if relative is None and not v1:
            return None
        from .host.cgroup.group import Group

        return Group(self.data["facts"]["cgroup_root"], relative, v1)

    def resources(self) -> Resources:
        """linux.resources in force: config.json's, or what `update` has made of them."""
        if "resources" in self.data:
            check_resources(self.data["resources"], STATE)
            return self.data["resources"]
        return self.config().get("linux", {}).get("resources") or {}

    def describe(self) -> dict[str, object]:
        """The OCI state, runtime.md#state, with runc's additions."""
        status = self.status()
        out: dict[str, object] = {
            "ociVersion": OCI_VERSION,
            "id": self.id,
            "pid": 0 if status == "stopped" else self.pid(),
            "status": status,
            "bundle": shown(self.data.get("bundle", "")),
            "rootfs": shown(self.data.get("rootfs", "")),
            "created": self.data.get("created", ""),
        }
        if status == "stopped":
            out["exit"] = self.exit_record()
        if self.data.get("annotations"):
            out["annotations"] = self.data["annotations"]
        out["owner"] = ""
        return out

    def exit_record(self) -> dict[str, Json]:
        """How it ended: exit.json, written by `run` or, with what can still be found out, at the first look."""
        try:
            record = loads(self.read(EXIT), EXIT)
            if type(record) is dict:
                return record
        except (OSError, Error):
            pass
        return self.record_exit(zombie_status(self.pid(), self.data.get("init_process_start")))

    def record_exit(self, status: int | None, oom: Watch | None = None) -> dict[str, Json]:
        """Write exit.json: code or signal of a wait status (neither if None), OOM-killed or not, when (or when noticed).

        A unit's group goes with its last process, so what it knew of OOM kills may be gone; oom: who has watched it."""
        group = self.cgroup()
        out: dict[str, Json] = {"time": now()}
        killed: bool | None = oom.killed(status) if oom is not None else bool(group and group.oom_kills())
        if oom is None and self.data.get("unit") and not killed and group and not group.exists():  # asked after it was read
            killed = None
        if group:
            group.close()
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

    def remove(self) -> None:
        """Take the directory away: what we make in it, never a recursive delete (CVE-2022-21658). state.json goes last but one:
        a removal that dies half-way, or finds what it may not remove, can be done again."""
        for name in sorted(posix.listdir(self.path), key=(STATE, COPY).__contains__):
            try:
                posix.unlink(name, dir_fd=self.dirfd)
            except IsADirectoryError:
                _remove_directory(self.dirfd, name)
        posix.rmdir(self.path)


def _remove_directory(dirfd: int, name: str) -> None:
    """`notify` with its socket, or an empty one."""
    fd = posix.open(name, O_DIR, dir_fd=dirfd)
    try:
        posix.unlink("notify.sock", dir_fd=fd)
    except OSError:
        pass
    finally:
        posix.close(fd)
    posix.rmdir(name, dir_fd=dirfd)


def start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat in clock ticks since boot, or None when it has ended (also as a zombie)."""
    return _started(_stat(pid)[1])


def _started(fields: list[bytes]) -> int | None:
    return None if not fields or fields[0] in (b"Z", b"X", b"x") else int(fields[19])


def _stat(pid: int) -> tuple[bytes, list[bytes]]:
    """/proc/PID/stat: the command name, and the third field (state) and those that follow; b"", [] when there is no such process."""
    try:
        fd = posix.open(f"/proc/{pid}/stat", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return b"", []
    try:
        before, _, after = posix.read(fd, 4096).rpartition(b")")
        return before.partition(b"(")[2], after.split()
    except OSError:
        return b"", []
    finally:
        posix.close(fd)


def zombie_status(pid: int, start: int | None) -> int | None:
    """The wait status of a process that has ended but was not yet waited for, or None: field 52 of /proc/PID/stat.

    The kernel shows 0 to who may not trace the process, so a 0 is believed only by root.
    """
    _, fields = _stat(pid)
    if not fields or fields[0] != b"Z" or int(fields[19]) != start:
        return None
    status = int(fields[-1])
    return status if status or posix.geteuid() == 0 else None


def now() -> str:
    """The time as RFC 3339 with nanoseconds, UTC."""
    return moment(time.time_ns())


def moment(ns: int) -> str:
    """Nanoseconds since 1970 as RFC 3339. time.gmtime would have the C library read the time zone, which UTC has none of.

    A year begins in March here, so that the leap day is its last: after days_before_civil of Howard Hinnant's chrono algorithms."""
    days, second = divmod(ns // 1000000000, 86400)
    era, day = divmod(days + 719468, 146097)  # eras of 400 years; 719468 days from March of the year 0 to 1970
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    month = month + 3 if month < 10 else month - 9
    return f"{era * 400 + year + (month < 3):04}-{month:02}-{day + 1:02}T{second // 3600:02}:{second // 60 % 60:02}:" \
           f"{second % 60:02}.{ns % 1000000000:09}Z"


def missing() -> Error:
    return Error("container does not exist", errno=ENOENT)


def _taken() -> Error:
    return Error("container with given ID already exists", errno=EEXIST)


def check_new(root: str, container: str) -> None:
    """The id is one and not in use, said before all else; that it still is not is for `create` to find."""
    check_id(container)
    try:
        rootfd = open_root(root)
    except FileNotFoundError:
        return
    try:
        posix.stat(container, dir_fd=rootfd, follow_symlinks=False)
    except OSError:
        return
    finally:
        posix.close(rootfd)
    raise _taken()


def open_root(root: str) -> int:
    """A descriptor of the state root, which is ours alone to write. A link to it counts if it is ours as well."""
    try:
        fd = _open_root(root)
    except FileNotFoundError:
        raise
    except OSError as err:
        raise Error(f"state root {root}: {reason(err)}", _elsewhere(), errno=err.errno) from None
    _ours(fd, f"root {root}")
    return fd


def _open_root(root: str) -> int:
    try:
        return posix.open(root, O_DIR)
    except NotADirectoryError:  # or a link
        if posix.lstat(root).st_mode & S_IFMT == S_IFLNK:
            _refuse_others(posix.lstat(root), f"root {root}")
        return posix.open(root, O_DIR & ~posix.O_NOFOLLOW)


def _ours(fd: int, what: str) -> int:
    """The inode of a directory that is; any other is closed."""
    found = posix.fstat(fd)
    try:
        _refuse_others(found, what)
    except Error:
        posix.close(fd)
        raise
    return found.st_ino


def _refuse_others(found: posix.stat_result, what: str) -> None:
    """Owned by root or us, and writable by no one else. The group may be root's or our own: an umask of 002 says no more. The
    sticky bit of a directory as /tmp keeps nobody from putting a container there before us."""
    hint = "the state decides which processes are killed: choose another --root, or take this one back with chown and chmod"
    if found.st_uid and found.st_uid != posix.geteuid():
        raise Error(f"state {what}: belongs to another user (uid {found.st_uid})", hint)
    group = found.st_mode & 0o020 and found.st_gid not in (0, posix.getegid())
    if found.st_mode & S_IFMT != S_IFLNK and (group or found.st_mode & 0o002):
        raise Error(f"state {what}: writable by others (mode {found.st_mode & 0o7777:04o})", hint)


def create(root: str, container: str, sticky: bool = False) -> Container:
    """Make the directory of an id that check_new has seen, locked. Refused when there is one. sticky: the root too is made
    so, which keeps those away from it who clean $XDG_RUNTIME_DIR of what has not been used for long."""
    _make_root(root)
    rootfd = open_root(root)
    try:
        if sticky:
            _make_sticky(root)
        return _make(root, rootfd, container)
    finally:
        posix.close(rootfd)


def _make(root: str, rootfd: int, container: str) -> Container:
    path = f"{root}/{container}"
    try:
        posix.mkdir(container, 0o711, dir_fd=rootfd)
    except FileExistsError:
        raise _taken() from None
    except OSError as err:
        raise _not_made(f"directory {path}", err) from None
    dirfd = -1
    try:
        dirfd = posix.open(container, O_DIR, dir_fd=rootfd)
        posix.fchmod(dirfd, 0o711)  # whatever the caller's umask
        kernel.flock(dirfd, 10000)
        return Container(root, container, dirfd, posix.fstat(dirfd).st_ino, True)
    except BaseException as err:
        if dirfd >= 0:
            posix.close(dirfd)
        posix.rmdir(container, dir_fd=rootfd)
        if isinstance(err, OSError):
            raise _not_made(f"directory {path}", err) from None
        raise


def _make_sticky(root: str) -> None:
    """$XDG_RUNTIME_DIR is what the environment says; a link in it may lead to any directory, of which we change nothing."""
    try:
        fd = posix.open(root, O_DIR)
    except OSError as err:
        why = "is a symbolic link" if err.errno == ENOTDIR else reason(err)
        raise Error(f"state root {root}: {why}", "remove it, or choose another --root", errno=err.errno) from None
    try:
        posix.fchmod(fd, 0o1700)
    finally:
        posix.close(fd)


def _make_root(root: str) -> None:
    try:
        posix.mkdir(root, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        if root.rpartition("/")[0] in ("", root):
            raise
        _make_root(root.rpartition("/")[0])
        _make_root(root)
    except OSError as err:
        raise _not_made(f"root {root}", err) from None


def _not_made(what: str, err: OSError) -> Error:
    return Error(f"create state {what}: {reason(err)}", _elsewhere(), errno=err.errno)


def _elsewhere() -> str | None:
    return "an ordinary user's state is below $XDG_RUNTIME_DIR, if that is set, or where --root says" if posix.geteuid() else None


def load(root: str, container: str, partial: bool = False, damaged: bool = False, lock: bool = False) -> Container:
    """An existing container. `partial`: also one whose state.json was never written; `damaged`: or cannot be read; `lock`: if
    nobody has its lock take that now, so that what is read here need not be read again by lock(), which is called in any case."""
    check_id(container)
    try:
        rootfd = open_root(root)
        try:
            dirfd = posix.open(container, O_DIR, dir_fd=rootfd)
        finally:
            posix.close(rootfd)
    except OSError as err:
        if err.errno == ENOENT:
            raise missing() from None
        raise Error(f"{root}/{container}: {reason(err)}", errno=err.errno) from None
    inode = _ours(dirfd, f"directory {root}/{container}")
    found = Container(root, container, dirfd, inode, lock and kernel.flock(dirfd, 0))
    try:
        found.data = _load(found)
    except Error:
        if not damaged:
            posix.close(dirfd)  # `list` goes on to the next
            raise
        found.damaged = True
    if not found.data and not partial:
        posix.close(dirfd)
        raise missing()
    return found


def _load(container: Container) -> State:
    """state.json, or its copy where that is damaged or gone; {} when there is neither. If both are damaged, the Error says how
    to get rid of the container."""
    damage = None
    for name in (STATE, COPY):
        try:
            data = loads(container.read(name), name, "surrogateescape")
            wrong = _wrong(data, container.id)
            if wrong is None:
                return cast("State", data)
            damage = damage or f"not what pyrunc wrote ({wrong})"
        except FileNotFoundError:
            pass
        except (OSError, Error) as err:
            damage = damage or (err.message if isinstance(err, Error) else f"{name}: {reason(err)}")
    if damage is None:
        return {}
    raise Error(f"container {container.id}: state.json is damaged: {damage}", hint="`delete --force` removes it")


# --- what state.json may hold: whatever is used of it has its kind checked here, once ---


def _text(value: Any) -> bool:
    return type(value) is str and "\0" not in value


def _path(value: Any) -> bool:
    return _text(value) and value[:1] == "/"


def _below(value: Any) -> bool:
    """A path that stays below the directory it counts from."""
    return _text(value) and not {"", ".", ".."}.intersection(value.split("/"))


def _whole(most: int) -> Check:
    return lambda value: type(value) is int and 0 <= value <= most


def _texts(value: Any) -> bool:
    return type(value) is list and all([_text(item) for item in value])


def _names(value: Any) -> bool:
    return _texts(value) and all([_below(name) for name in value])


def _is(kind: type) -> Check:
    return lambda value: type(value) is kind


def _rows(check: Check) -> Check:
    """A list of [controllers, mount point, path]."""
    return lambda value: type(value) is list and all([
        type(row) is list and len(row) == 3 and _text(row[0]) and _path(row[1]) and check(row[2]) for row in value])


def _object(check: Check) -> Check:
    return lambda value: type(value) is dict and all([check(item) for item in value.values()])


def _unit(value: Any) -> bool:
    return _object(_text)(value) and {"bus", "unit", "slice", "name"} <= value.keys()


def _facts(value: Any) -> bool:
    return _object(lambda item: type(item) in (str, int, bool) or _rows(_text)(item))(value) and \
        type(value.get("cgroup_root")) is str and _text(value.get("resctrl", "")) and type(value.get("euid")) is int


def _request(value: Any) -> bool:
    """Plain values, but for the bind sources that lie below the root."""
    return type(value) is dict and all([
        _object(_text)(item) if key == "inside" else type(item) in (str, int, bool) for key, item in value.items()])


def _host_mounts(value: Any) -> bool:
    pair = _whole(U64)
    return type(value) is dict and all([type(value.get(key, [])) is list for key in ("before", "made")]) and \
        all([pair(item) for item in value.get("before", [])]) and \
        all([type(row) is list and len(row) == 2 and pair(row[0]) and pair(row[1]) for row in value.get("made", [])])


U64 = (1 << 64) - 1
KINDS = {
    "init_process_pid": _whole((1 << 31) - 1), "init_process_start": _whole(U64), "created": _text, "bundle": _text, "rootfs": _text,
    "annotations": _object(lambda item: type(item) is str), "cgroup": _below, "cgroup_v1": _rows(_below), "unit": _unit,
    "facts": _facts, "pid_shared": _is(bool), "marked": _is(bool), "request": _request,
    "resctrl": lambda value: _texts(value) and bool(value), "resctrl_made": _names, "mounts": _texts, "host_mounts": _host_mounts,
    "resources": _is(dict), "cgroup_paths": _is(dict), "namespace_paths": _is(dict),
}
NEEDED = ("id", "init_process_pid", "bundle", "facts", "request")


def _wrong(data: Any, container_id: str) -> str | None:
    """The first key that cannot be what was written, or None."""
    if type(data) is not dict:
        return "not an object"
    for key in NEEDED:
        if key not in data:
            return f"no {key}"
    if data["id"] != container_id:
        return "id"
    for key, value in data.items():
        if key in KINDS and not KINDS[key](value):
            return key
    return _at_odds(cast("State", data))


def _at_odds(data: State) -> str | None:
    """What is said twice, for readers of runc's keys, must agree: a wrong group or pid would have others killed."""
    group, pid, unit = data.get("cgroup"), data["init_process_pid"], data.get("unit")
    paths = {"": f"{data['facts']['cgroup_root'].rstrip('/')}/{group}"} if group else {}
    for controllers, mount, path in data.get("cgroup_v1", ()):
        paths.update(dict.fromkeys(controllers.split(","), f"{mount}/{path}"))
    if data.get("cgroup_paths") != paths:
        return "cgroup_paths"
    if pid and data.get("namespace_paths", {}).get("NEWPID") != f"/proc/{pid}/ns/pid":
        return "namespace_paths"
    return "unit" if unit and not (group or "").endswith(unit["unit"]) else None


def every(root: str) -> list[str]:
    """Ids under the root, sorted; none when there is no root."""
    try:
        rootfd = open_root(root)
    except FileNotFoundError:
        return []
    try:
        names = posix.listdir(rootfd)
    finally:
        posix.close(rootfd)
    return sorted([name for name in names if _ID.issuperset(name) and name not in (".", "..")])
