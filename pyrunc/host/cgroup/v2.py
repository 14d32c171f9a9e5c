"""The cgroup2 tree: find it, make a container's group, kill it, empty it, remove it.

No link is followed and there is no `..`: a group's name comes from config.json, and a path that leaves the tree would let a
bundle write to files of the host (GHSA-5g49-rx9x-qfc6). So a path is opened whole by openat2(2), which refuses links, or one
component at a time from a descriptor of the tree's root. A failing write names the file, the value and the kernel's
reason, because "invalid argument" alone has cost people days.

Processes are not moved here by choice: the supervisor hands `dirfd()` to clone3(CLONE_INTO_CGROUP), so that nothing is
ever charged to a wrong group. `add` is for what already runs (exec into a group that clone3 may not enter).
"""

from __future__ import annotations

import errno
import posix
import time

from pyrunc import kernel
from pyrunc.config.names import SIGNALS
from pyrunc.errors import Error, reason
from pyrunc.host.files import DIR, one_name
from pyrunc.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")  # pure v2; hybrid: v2 beside v1
# A group removed before, or while, we looked; or none that ever was, its name being that of a file of the tree.
GONE = (errno.ENOENT, errno.ENODEV, errno.ENOTDIR)
MARK = "trusted.pyrunc"  # only root of the first user namespace may set it, or see it: no container, no user
SIZE = 1 << 16
LONG = ("cgroup.procs", "cgroup.threads", "tasks")  # a record for each process
RMDIR_TRIES = 10  # 1 + 2 + 4 ... ms: one second in all, as runc
ADD_TRIES = 5
FREEZE_TIMEOUT = 10.0
KILL_ROUNDS = 100


def mountpoint() -> str | None:
    """Where the cgroup2 tree is mounted: "/sys/fs/cgroup", "/sys/fs/cgroup/unified", elsewhere, or None.

    cgroup.controllers in the directory is what says so: no other filesystem's root has it, and statfs is not among
    the C built-ins. A tree at an unusual place is found in mountinfo, which is read last because it may be long.
    """
    for path in ROOTS:
        try:
            posix.stat(path + "/cgroup.controllers")
            return path
        except OSError:
            pass
    try:
        fd = posix.open("/proc/self/mountinfo", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return None
    return from_mountinfo(_slurp(fd, True).decode("utf-8", "surrogateescape"))


def from_mountinfo(text: str) -> str | None:
    """The first mount of a cgroup2 filesystem's own root in the text of /proc/self/mountinfo, or None. (Pure.)"""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if after.startswith("cgroup2 ") and len(fields) > 4 and fields[3] == "/":
            return fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
    return None


def own() -> str | None:
    """The cgroup2 path of this process: "/" or "/a/b"; None without cgroup2."""
    return of_process("self")


def of_process(pid: int | str) -> str | None:
    """The cgroup2 path of a process, from /proc/PID/cgroup."""
    try:
        fd = posix.open(f"/proc/{pid}/cgroup", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return None
    for line in _slurp(fd).decode("utf-8", "surrogateescape").splitlines():
        if line.startswith("0::"):
            return line[3:]
    return None


def path_for(cgroups_path: str | None, own_cgroup: str | None, container_id: str) -> str:
    """The container's group as a path relative to the tree's root, without a leading slash. (Pure.)

    An absolute cgroupsPath counts from the root. A relative one, or none (then the id is the name), stands *beside*
    the runtime's own group, as with runc: a group that holds processes cannot have children with controllers.
    """
    path = cgroups_path or container_id
    parts = path.split("/")
    if not path.startswith("/"):
        parts = (own_cgroup or "/").split("/")[:-1] + parts
    parts = [part for part in parts if part not in ("", ".")]
    pointer = "/linux/cgroupsPath"
    if ".." in parts:
        if ".." in path.split("/"):
            raise Error(f'cgroupsPath "{path}" must not contain ".."', pointer=pointer)
        raise Error(f'cgroup "{path}": the runtime\'s own cgroup {own_cgroup} is outside of the visible cgroup tree',
                    hint="give an absolute linux.cgroupsPath", pointer=pointer)
    if "\0" in path or any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in parts):
        raise Error("cgroupsPath is not a usable path (NUL, or a component longer than 255 bytes)", pointer=pointer)
    if not parts:
        raise Error(f'cgroupsPath "{path}" is the root cgroup, which no container can have', pointer=pointer)
    return "/".join(parts)


def at(path: str) -> Cgroup | None:
    """The Cgroup of an absolute path saved in state.json, or None when no cgroup2 tree holds it (any more)."""
    root = mountpoint()
    if root is None or not path.startswith(root + "/"):
        return None
    return Cgroup(root, path_for(path[len(root):], "/", ""))


def find(root: str, owner: str) -> list[str]:
    """The groups of the tree (or v1 hierarchy) mounted at `root` that have the owner's mark, as paths relative to it."""
    found: list[str] = []
    path: list[str] = []
    top = posix.open(root, DIR & ~posix.O_NOFOLLOW)
    try:
        for leaving, fd, name in _walk(top):
            if leaving:
                path.pop()
            elif name is not None:
                path.append(name)
                if _marked(fd, owner):
                    found.append("/".join(path))
    finally:
        posix.close(top)
    return found


def _marked(fd: int, owner: str) -> bool:
    try:
        return posix.getxattr(fd, MARK) == owner.encode()
    except OSError:
        return False


THREADED = {"cpu", "cpuset", "perf_event", "pids"}  # may be enabled below a group that holds processes


class Foreign(Error):
    """The group is somebody else's: nothing in it may be touched."""


class Cgroup:
    """One group of the tree mounted at `root`; `relative` comes from path_for. Opens lazily, close() when done."""

    def __init__(self, root: str, relative: str) -> None:
        self.root = root
        self.relative = relative
        self.path = root.rstrip("/") + "/" + relative
        self._fd = -1

    # -- descriptors ------------------------------------------------------------------------------------------------

    def dirfd(self) -> int:
        """A CLOEXEC descriptor of the group's directory, for clone3(CLONE_INTO_CGROUP). Stays ours; see close()."""
        if self._fd < 0:
            self._fd = self._open_whole(self.path, DIR)
        return self._fd

    def _open_whole(self, path: str, flags: int) -> int:
        """One call, whatever the depth of the group. Where the way to the tree's root has a link of the host, step by step."""
        try:
            return kernel.openat2(kernel.AT_FDCWD, path, flags, 0, kernel.RESOLVE_NO_SYMLINKS)
        except OSError as err:
            if err.errno not in (errno.ELOOP, errno.ENOSYS):
                raise
        *above, name = [part for part in path[len(self.root):].split("/") if part]
        fd = self._open_root()
        for part in above:
            fd = _step(fd, part)
        return _step(fd, name, flags)

    def _open_file(self, file: str, flags: int) -> int:
        """A file of the group, never made by us: the kernel makes them. By the directory's descriptor if that is open anyway."""
        name = one_name(file)
        if self._fd >= 0:
            return posix.open(name, flags | posix.O_NOFOLLOW | posix.O_CLOEXEC, dir_fd=self._fd)
        return self._open_whole(f"{self.path}/{name}", flags | posix.O_NOFOLLOW)

    def close(self) -> None:
        if self._fd >= 0:
            posix.close(self._fd)
            self._fd = -1

    def exists(self) -> bool:
        try:
            self.dirfd()
            return True
        except OSError as err:
            if err.errno in GONE:
                return False
            raise self._error("open", err)

    def _open_root(self) -> int:
        return posix.open(self.root, DIR & ~posix.O_NOFOLLOW)  # the mount point may be reached by a link of the host

    # -- create -----------------------------------------------------------------------------------------------------

    def create(self, domain: bool = False) -> list[str]:
        """mkdir -p with every controller on offer enabled on the way down; returns the directories it made.

        domain: a limit needs a controller that works on whole processes, so the group must not be a threaded one.

        The list (relative paths, outermost first) is what `undo` takes. A group that exists is used if nothing lives in
        it and it is not frozen: somebody else's processes must not die with this container (texts: runc's).
        """
        made: list[str] = []
        try:
            self._descend(made, domain)
            if self.relative not in made:
                self.refuse_foreign()
        except BaseException:
            self.undo(made)
            raise
        return made

    def adopt(self) -> None:
        """Open a group that somebody else has made for us (systemd), with all controllers on offer enabled on the way."""
        self._descend([], False)

    def _descend(self, made: list[str], domain: bool) -> None:
        parts = self.relative.split("/")
        fd = self._open_root()
        for depth, part in enumerate(parts):
            _enable_controllers(fd)  # of the parent, for the child about to be made: the last one keeps none enabled
            try:
                posix.mkdir(part, 0o755, dir_fd=fd)
                made.append("/".join(parts[:depth + 1]))
            except OSError as err:
                if err.errno != errno.EEXIST:
                    posix.close(fd)
                    raise self._error("mkdir", err, "/".join(parts[:depth + 1]))
            try:
                fd = _step(fd, part)
            except OSError as err:
                raise self._error("open", err, "/".join(parts[:depth + 1]))
            try:
                _leave_invalid_domain(fd, domain, self.root.rstrip("/") + "/" + "/".join(parts[:depth + 1]))
            except Error:
                posix.close(fd)
                raise
        self._fd = fd

    def refuse_foreign(self) -> None:
        alive = len(self.pids(recursive=True))
        if alive:
            raise Foreign(f"container's cgroup is not empty: {alive} process(es) found", pointer="/linux/cgroupsPath",
                          hint=f"another container or service uses {self.path}; choose another linux.cgroupsPath")
        if self.frozen():
            raise Foreign("container's cgroup unexpectedly frozen", pointer="/linux/cgroupsPath",
                          hint=f"echo 0 > {self.path}/cgroup.freeze")
        handed = set(self.read_or("cgroup.subtree_control", "").split()) - THREADED  # a v1 group has no such file
        if handed:  # clone3 into it would be EBUSY: cgroup-v2.rst, No Internal Process Constraint
            raise Foreign(f"container's cgroup cannot hold a process: {', '.join(sorted(handed))} enabled for groups below it",
                          pointer="/linux/cgroupsPath", hint=f"{self.path} is a parent of other groups; choose one below it")

    def undo(self, made: Sequence[str]) -> None:
        """Remove what create() made, innermost first; parents that somebody else uses meanwhile stay."""
        if self.relative in made:
            self.remove()
        self.close()
        for relative in reversed(made):
            try:
                root = self._open_root()
            except OSError:
                return
            try:
                posix.rmdir(relative, dir_fd=root)
            except OSError:
                pass
            finally:
                posix.close(root)

    # -- whose it is ------------------------------------------------------------------------------------------------

    def mark(self, owner: str) -> bool:
        """Write on the group whose it is (xattr(7)); files that name groups may be damaged. False if that may not be done."""
        try:
            if self._fd >= 0:
                posix.setxattr(self._fd, MARK, owner.encode())
            else:
                posix.setxattr(self.path, MARK, owner.encode(), follow_symlinks=False)
            return True
        except OSError:
            return False

    def belongs(self, owner: str, marked: bool | None) -> bool:
        """Whether it has the owner's mark; where none was set (not marked), whether it has not another's."""
        try:
            return posix.getxattr(self.dirfd(), MARK) == owner.encode()
        except OSError:
            return not marked

    # -- processes --------------------------------------------------------------------------------------------------

    def pids(self, recursive: bool = False) -> list[int]:
        """The pids in the group (and below it); a group that is gone has none."""
        try:
            if not recursive:
                return _pids_of(self.dirfd())
            found = []
            for leaving, fd, _ in _walk(self.dirfd()):
                if not leaving:
                    found += _pids_of(fd)
            return found
        except OSError as err:
            if err.errno in GONE:
                return []
            raise self._error("read", err, file="cgroup.procs")

    def add(self, pid: int) -> None:
        """Move a process into the group. EINVAL is retried: the kernel says it while a task of the group dies."""
        for attempt in range(ADD_TRIES):
            try:
                return self._write("cgroup.procs", str(pid))
            except OSError as err:
                if err.errno == errno.EOPNOTSUPP:  # a threaded group takes threads only
                    return self.write("cgroup.threads", str(pid))
                if err.errno != errno.EINVAL or attempt == ADD_TRIES - 1:
                    raise self._error("write", err, file="cgroup.procs", value=str(pid))
            time.sleep(0.03)

    def populated(self) -> bool:
        """Does any process live in the group or below it? (Zombies do not count, for the kernel neither.)"""
        return self._event("populated")

    def kill(self) -> None:
        """SIGKILL everything in the group and below it. Not waited for: `remove` waits, or a pidfd does."""
        try:
            return self._write("cgroup.kill", "1")
        except OSError as err:
            if err.errno in GONE and not self._has("cgroup.procs"):
                return None
            if err.errno not in (errno.ENOENT, errno.EOPNOTSUPP):  # before Linux 5.14; threaded group
                raise self._error("write", err, file="cgroup.kill", value="1")
        return self._kill_each()

    def _kill_each(self) -> None:
        """Without cgroup.kill: freeze, so that nothing forks and no pid is re-used meanwhile; kill; thaw.

        Rounds, because freezing may be refused (or a fork bomb may be faster than it).
        """
        try:
            self.freeze(True)
        except Error:
            pass
        try:
            for _ in range(KILL_ROUNDS):
                alive = [pid for pid in self.pids(recursive=True) if pid > 0]  # 0: not visible in our pid namespace
                for pid in alive:
                    try:
                        posix.kill(pid, SIGNALS["KILL"])
                    except ProcessLookupError:
                        pass
                if not alive or not self.populated():
                    return
                time.sleep(0.001)
        finally:
            try:
                self.freeze(False)
            except Error:
                pass

    # -- freezer ----------------------------------------------------------------------------------------------------

    def frozen(self) -> bool:
        """Is the group itself (not merely an ancestor) told to freeze, and has it? The rule of runc's `paused`."""
        return self.held() and self._event("frozen")

    def held(self) -> bool:
        """Has the group been told to freeze, whether or not all of it stands already?"""
        return self.read_or("cgroup.freeze", "0").strip() == "1"

    def freeze(self, on: bool) -> None:
        """Freeze or thaw and wait until the kernel says it is done; on time-out thaw again and say so."""
        self.write("cgroup.freeze", "1" if on else "0")
        deadline = time.monotonic() + FREEZE_TIMEOUT
        pause = 0.0005
        while self._event("frozen") != on:
            if time.monotonic() > deadline:
                if on:
                    self.write("cgroup.freeze", "0")
                raise Error(f'cgroup "{self.path}": timed out waiting for it to {"freeze" if on else "thaw"}')
            time.sleep(pause)
            pause = min(pause * 2, 0.01)

    # -- remove -----------------------------------------------------------------------------------------------------

    def remove(self) -> None:
        """rmdir the group and every group the container made below it, innermost first. A missing group is fine.

        Only this group: parents that create() made stay, as with runc, because other containers may be on their way in.
        """
        self.close()
        try:
            parent = self._open_root()
            *above, name = self.relative.split("/")
            for part in above:
                parent = _step(parent, part)
        except OSError as err:
            if err.errno in GONE:
                return
            raise self._error("open", err)
        try:
            _remove(parent, name)
        except OSError as err:
            raise self._error("rmdir", err)
        finally:
            posix.close(parent)

    # -- files ------------------------------------------------------------------------------------------------------

    def write(self, file: str, value: str) -> None:
        """Write a value into one file of the group; the error names file, value and reason."""
        try:
            return self._write(file, value)
        except OSError as err:
            raise self._error("write", err, file=file, value=value, hint=self._why_missing(file, err))

    def _write(self, file: str, value: str) -> None:
        _put(self._open_file(file, posix.O_WRONLY), value)

    def _why_missing(self, file: str, err: OSError) -> str | None:
        """A file is missing. Say so if its controller is missing too."""
        controller = file.partition(".")[0]
        if err.errno in GONE and self._has("cgroup.controllers") and \
                controller not in self.read_or("cgroup.controllers", "").split():
            return f'controller "{controller}" is not available: the parent group has not enabled it, or the kernel does not have it'
        return None

    def chown(self, uid: int) -> None:
        """Hand the group to a user: the directory and the files that the kernel lists for it (cgroups(7), delegation)."""
        try:
            fd = posix.open("/sys/kernel/cgroup/delegate", posix.O_RDONLY | posix.O_CLOEXEC)
            names = _slurp(fd).decode().split()
        except OSError:
            names = ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]
        try:
            posix.chown(self.dirfd(), uid, -1)
            for name in names:
                if self._has(name):
                    posix.chown(name, uid, -1, dir_fd=self.dirfd(), follow_symlinks=False)
        except OSError as err:
            raise self._error("chown", err, value=str(uid))

    def open(self, file: str) -> int | None:
        """A descriptor to read a file by, also again; None if there is no such file."""
        try:
            return self._open_file(file, posix.O_RDONLY)
        except OSError:
            return None

    def read(self, file: str) -> str:
        try:
            return _text(self._open_file(file, posix.O_RDONLY), file)
        except OSError as err:
            raise self._error("read", err, file=file)

    def read_or(self, file: str, default: str) -> str:
        try:
            return _text(self._open_file(file, posix.O_RDONLY), file)
        except OSError as err:
            if err.errno in GONE:
                return default
            raise self._error("read", err, file=file)

    def _event(self, key: str) -> bool:
        return (key + " 1") in self.read_or("cgroup.events", "").splitlines()

    def _has(self, file: str) -> bool:
        try:
            posix.stat(file, dir_fd=self.dirfd())
            return True
        except OSError:
            return False

    def _error(self, doing: str, err: OSError, relative: str | None = None, file: str | None = None, value: str | None = None,
               hint: str | None = None) -> Error:
        path = self.path if relative is None else self.root.rstrip("/") + "/" + relative
        where = path + ("/" + file if file else "")
        what = doing + (f' "{value}"' if value is not None else "")
        if err.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            hint = "the cgroup tree must be writable: run as root, or have the group delegated to you"
        return Error(f'cgroup "{where}": {what}: {reason(err)}', hint, errno=err.errno)


# -- helpers: plain functions of descriptors, raising OSError ---------------------------------------------------------


def _step(fd: int, name: str, flags: int = DIR) -> int:
    """From a directory to what is in it: opens that and closes the directory, also when that fails."""
    try:
        return posix.open(name, flags | posix.O_CLOEXEC, dir_fd=fd)
    finally:
        posix.close(fd)


def _slurp(fd: int, long: bool = False) -> bytes:
    """Everything a file of the kernel's has, and close it. Such a file is shown whole to who has room for it, so what is less than
    asked for is all. Not so a `long` one, which has a record a line and is shown in parts (seq_file): its end is an empty part."""
    try:
        parts = [posix.read(fd, SIZE)]
        while parts[-1] if long else len(parts[-1]) == SIZE:
            parts.append(posix.read(fd, SIZE))
        return b"".join(parts)
    finally:
        posix.close(fd)


def _text(fd: int, file: str) -> str:
    return _slurp(fd, file in LONG).decode("utf-8", "surrogateescape")


def _read(dir_fd: int, file: str) -> str:
    return _text(posix.open(one_name(file), posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC, dir_fd=dir_fd), file)


def _write(dir_fd: int, file: str, value: str) -> None:
    _put(posix.open(one_name(file), posix.O_WRONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC, dir_fd=dir_fd), value)


def _put(fd: int, value: str) -> None:
    """One write(2), and close: cgroup files take a value whole or not at all."""
    try:
        posix.write(fd, value.encode("utf-8", "surrogateescape"))
    finally:
        posix.close(fd)


def _enable_controllers(fd: int) -> None:
    """Offer the children of a group all controllers it has itself: all in one write, else one by one.

    A controller that cannot be enabled is left out without a word, as in runc: only a limit that needs the controller may complain.
    """
    try:
        wanted = _read(fd, "cgroup.controllers").split()
        enabled = _read(fd, "cgroup.subtree_control").split() if wanted else []
    except OSError:
        return
    missing = ["+" + name for name in wanted if name not in enabled]
    if missing and not _try_write(fd, "cgroup.subtree_control", " ".join(missing)):
        for one in missing:
            _try_write(fd, "cgroup.subtree_control", one)


def _try_write(fd: int, file: str, value: str) -> bool:
    try:
        _write(fd, file, value)
        return True
    except OSError:
        return False


def _leave_invalid_domain(fd: int, domain: bool, path: str) -> None:
    """A group made below a threaded one is "domain invalid" and takes no process; "threaded" is the only way out, but
    there memory, io and hugetlb do not exist, so not if a limit of theirs is wanted (texts: runc's)."""
    try:
        kind = _read(fd, "cgroup.type").strip()
        if domain and kind != "domain":
            how = "in an invalid state" if kind == "domain invalid" else f"in {kind} mode"
            raise Error(f'cannot enter cgroupv2 "{path}" with domain controllers -- it is {how}',
                        pointer="/linux/cgroupsPath", hint="choose a linux.cgroupsPath outside of the threaded subtree")
        if kind == "domain invalid":
            _write(fd, "cgroup.type", "threaded")
    except OSError:
        pass  # the spawn will say what is wrong with the group


def _pids_of(fd: int) -> list[int]:
    try:
        text = _read(fd, "cgroup.procs")
    except OSError as err:
        if err.errno in GONE:
            return []
        if err.errno != errno.EOPNOTSUPP:
            raise
        text = _read(fd, "cgroup.threads")  # a threaded group has no list of processes
    return [int(word) for word in text.split()]


def _children(fd: int) -> list[str]:
    with posix.scandir(fd) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def _walk(top: int) -> Iterator[tuple[bool, int, str | None]]:
    """All groups below `top`, without recursion and with one descriptor open at a time.

    Yields (False, fd, name) on entering a group, fd being its own, and (True, fd, name) on having left it, fd being its
    parent's. A container may nest groups without end, so neither the stack nor the descriptors may grow with the
    depth: the way back up is "..", which is safe in cgroup2, where a directory cannot be moved.
    """
    fd = posix.open(".", DIR, dir_fd=top)
    try:
        yield False, fd, None
        todo = [_children(fd)]
        path = []
        while True:
            if todo[-1]:
                name = todo[-1].pop()
                try:
                    child = posix.open(name, DIR, dir_fd=fd)
                except OSError as err:
                    if err.errno in GONE:
                        continue
                    raise
                posix.close(fd)
                fd = child
                path.append(name)
                yield False, fd, name
                todo.append(_children(fd))
            elif path:
                parent = posix.open("..", DIR, dir_fd=fd)
                posix.close(fd)
                fd = parent
                todo.pop()
                yield True, fd, path.pop()
            else:
                return
    finally:
        posix.close(fd)


def _remove(parent: int, name: str) -> None:
    """rmdir `name` in `parent`; only if that fails, look inside. Raises OSError if a group stays busy."""
    if _rmdir(parent, name, tries=0):
        return
    try:
        top = posix.open(name, DIR, dir_fd=parent)
    except OSError as err:
        if err.errno in GONE:
            return
        raise
    try:
        for leaving, fd, child in _walk(top):
            if leaving and child is not None:
                _rmdir(fd, child, RMDIR_TRIES)
    finally:
        posix.close(top)
    _rmdir(parent, name, RMDIR_TRIES)


def _rmdir(dir_fd: int, name: str, tries: int) -> bool:
    """rmdir, waiting out EBUSY (killed processes take a moment to go). With no tries, says whether it worked."""
    pause = 0.001
    for left in range(tries, -1, -1):
        try:
            posix.rmdir(name, dir_fd=dir_fd)
            return True
        except OSError as err:
            if err.errno in GONE:
                return True
            if err.errno not in (errno.EBUSY, errno.ENOTEMPTY) or (tries and not left):
                raise
            if not tries:
                return False
        time.sleep(pause)
        pause *= 2
    return False
