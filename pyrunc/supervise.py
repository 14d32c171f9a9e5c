"""Walk a plan: do the host's ops, spawn init, serve its SYNCs, and undo everything when something fails.

The host never acts on what the child says beyond (seq, op, errno, descriptor): the plan is ours, and so is the text of
every error. Each action that leaves something behind pushes its inverse; the stack is run backwards on failure, and
each inverse tolerates finding nothing. Called by commands/create, run and exec.
"""

from __future__ import annotations

import posix

from . import kernel, log
from .config.mountopts import ATTR_NODEV, MS_PRIVATE, MS_SLAVE
from .config.names import NAMESPACES
from .errors import Error, from_oserror
from .host import init
from .jsonio import MAX_BYTES, dumps
from .plan import sealed, stored, words
from .plan.encode import encode
from .plan.kinds import rlimit
from .plan.limits import inverse
from .plan.optable import BATCH, SAY_EXEC, SAY_FAIL, TREE_NOFOLLOW
from .state import PLAN
from .typed import TYPE_CHECKING

if TYPE_CHECKING:
    from .config.shape import Hook

O_PATH, O_DIRECTORY, O_CLOEXEC, O_NOFOLLOW = 0o10000000, posix.O_DIRECTORY, posix.O_CLOEXEC, posix.O_NOFOLLOW
NSFS_MAGIC, S_IFMT = 0x6E736673, 0o170000
EPERM, ENOENT, ENOEXEC, EACCES, EBUSY, ENOTDIR, ENOSPC, EROFS, ELOOP = 1, 2, 8, 13, 16, 20, 28, 30, 40
RLIMIT_NOFILE, SIGKILL = 7, 9
PTMX = posix.makedev(5, 2)
AT_THE_GATE_MS = 100  # a filter that refuses close(2) keeps init from telling us

# What init hands over at a SYNC, by its slot, and the proof that it is that.
GENUINE = {
    "notify": lambda fd: posix.readlink(f"/proc/self/fd/{fd}") == "anon_inode:seccomp notify",
    "master": lambda fd: posix.fstat(fd).st_rdev == PTMX,
}


def genuine(slot, fd):
    """Whether it is what the slot is for. Any other slot holds a tree: the root of a detached mount has no longer path than
    this, and to one that is attached, as the host's root is, the kernel gives no id map."""
    return GENUINE[slot](fd) if slot in GENUINE else posix.readlink(f"/proc/self/fd/{fd}") == "/"


class Supervisor:
    """One walk. The fields are what the commands know and the plan does not.

    container  state.Container (create, run) or of exec's target
    console    callable(master fd) taking ownership of the pty, or None
    created    callable(pid) at CREATED: writes state.json, False if it has ended
    front      foreground.Foreground, of who stays until the process ends, or None
    """

    __slots__ = ("plan", "container", "console", "created", "pidfd_socket", "fds", "undo", "sock", "pid",
                 "pidfd", "ops", "first", "bundle", "groups", "properties", "oom", "refused", "missing", "restoring", "last",
                 "listener", "handed", "status", "name", "front", "birth", "encoded")

    def __init__(self, plan, container, bundle, created, console=None, pidfd_socket=None, front=None):
        self.plan = plan
        self.front = front
        self.container = container
        self.bundle = bundle
        self.created = created
        self.console = console
        self.pidfd_socket = pidfd_socket
        self.fds = {}
        self.undo = []
        self.sock = -1
        self.pid = self.first = 0
        self.encoded: tuple = ()
        self.birth: tuple | None = None  # (op, its end of the socket, its stdio) while init is being born
        self.pidfd = -1
        self.ops = None
        self.groups = {}  # by slot
        self.properties = []  # for the UNIT or SETUNIT that follows
        self.oom = None  # host.cgroup.oom.Watch of a group that goes by itself
        self.refused = set()  # indexes of H ops whose errno the plan tolerates: what comes instead is done then
        self.missing = set()  # slots that such an op has left empty: what is to be done to them is left out
        self.last = _last_uses(plan)
        self.listener = plan.has("AGENT")  # the filter has an agent, by whom init may be held
        self.handed = False  # the agent has it
        self.name = None  # that of init's image, which execve changes
        self.status = None  # of init, once it has been waited for
        self.restoring = False  # update: what was in a file before goes on `undo`

    # --- the walk ---

    def run(self):
        """Up to the last SYNC answered. What was made stays made: `undo` is the caller's from here on."""
        for turn, ops in self.plan.turns():  # up to PLAN, what the host does while init begins, then SYNC after SYNC
            if turn is not None and turn.name == "SYNC":
                self._serve(turn, ops)
                continue
            for op in ops if turn is None else [turn, *ops]:
                self.act(op)
        self._at_the_gate()

    def act(self, op):
        """One host op; its OSError becomes one line that names the property."""
        if op.unless is not None and op.unless.index not in self.refused:
            return
        if op.name != "SPAWN" and self.missing.intersection(op.consumed()):
            return
        try:
            ACTIONS[op.name](self, op)
        except Error as err:
            if err.errno not in op.tolerate:
                raise
            self.refused.add(op.index)
            self.missing.update(op.produced())
        except OSError as err:
            raise self._worded(op, err) from None
        self.let_go(op.index, op.consumed())

    def _worded(self, op, err):
        where = f"{self.plan.place(op.source)}: " if op.source.startswith("/") else ""
        what = err.filename if isinstance(err.filename, str) else op.name.lower()
        out = from_oserror(err, f"{where}{what}")
        out.hint = words.hint(self.plan, op, err.errno)
        out.pointer = op.source if op.source.startswith("/") else None
        return out

    def _serve(self, sync, ops):
        """Answer a SYNC when the host's ops for it are done. The plan says which comes next; anything else ends the child."""
        seq, _, _, _, pid, fds = self._next()
        if seq != sync.args[0] or len(fds) != (1 if sync.slots[0] else 0):
            raise Error("init is out of step with its plan")
        if sync.role == "I":
            self._adopt(pid)
        if fds:
            if not genuine(sync.slots[0], fds[0]):
                raise Error(f"init has handed over something other than its {sync.slots[0]} descriptor")
            self.fds[sync.slots[0]] = fds[0]
        for op in ops:
            self.act(op)
        if sync.args[0] == self.plan.syncs:  # the last: it may execute
            self.name = init.name(self.pid)
        given = sync.produced()
        kernel.send(self.sock, seq, 0, [self.fds[slot] for slot in given])
        self.let_go(_answered(sync, ops), given)

    def _at_the_gate(self):
        """A filter may end init, or have it fail, before it waits at the gate; when it gets there, it closes the socket."""
        names = {op.name for op in self.plan.ops}
        if not {"SECCOMP", "GATE"} <= names:
            return
        if self.listener or kernel.wait_any([self.sock], AT_THE_GATE_MS):
            message = self._receive()
            if message is not None:
                raise self._failed(message)
            if init.glance(self.pid)[1]:
                raise self._died()

    def let_go(self, index, slots):
        """Close those that the host has no use of after the op at `index`: our descriptors of trees would keep mounts alive for as
        long as we wait. Those of hooks are read when a hook inside fails, the one of a network by what takes its devices back."""
        for slot in slots:
            if self.last.get(slot, 0) <= index and slot in self.fds and not slot.startswith("hook-") and slot != "netns":
                posix.close(self.fds.pop(slot))

    def _next(self):
        """The next record; a failure, or an end without one, raises."""
        message = self._receive()
        if message is None:
            raise self._died()
        if message[0] == SAY_FAIL:
            self.pid = message[4]  # it may not have spoken before; unwind has to wait for it
            raise self._failed(message)
        return message

    def _receive(self, hooks=False):
        """A record of the first process or of init, None at the end. Who else has got hold of the socket (in a pid namespace
        that is shared, with CAP_SYS_PTRACE) is told from them by the kernel: it says who speaks, and they are our children.

        Init is waited for as long as the kernel's calls and its hooks take; but not for an agent that holds it."""
        while self.listener and not kernel.wait_any([self.sock], init.PATIENCE_MS):
            call = init.held(self.pid)
            if call or (call is None and self.handed and not hooks):
                raise init.held_error(self.container.config(), call)
        message = kernel.receive(self.sock)
        if message is not None and message[4] != self.pid and init.parent(message[4]) != posix.getpid():
            raise Error("a process other than init has written to init's socket")
        return message

    def _failed(self, message):
        _, index, err, step, _, _ = message
        errno = words.errno_of(err)
        if self.ops is None or index >= len(self.ops):
            return Error(f"init could not load its plan: {posix.strerror(errno).lower()}", errno=errno)
        op = self.ops[index]
        error = worded(self.plan, op, errno, step, self.container)
        if op.name in ("UNSHARE", "TREE", "BECOME") and errno in (EPERM, EACCES, ENOSPC):
            from .host import idmap

            error.hint = idmap.forbidden() or error.hint
        if op.name == "HOOK" and op.slots[2] and words.has_run(step):
            out, err_text = [_written(self.fds[slot]) for slot in op.slots[2:]]
            error.message += f", stdout: {out}, stderr: {err_text}"
        return error

    def _died(self):
        group = self.container.cgroup() if self.created else None  # exec: an earlier death is not this one
        if self.oom.killed(SIGKILL) if self.oom else group is not None and group.oom_kills():
            return Error("container init was OOM-killed (memory limit too low?)", pointer="/linux/resources/memory/limit")
        return death(self.plan, self._wait())

    def _wait(self):
        """The wait status of init, whose socket has come to its end; None if it lives on."""
        if self.status is None and self.pidfd >= 0 and kernel.wait_exit(self.pidfd, init.PATIENCE_MS):
            try:
                pid, status = posix.waitpid(self.pid, posix.WNOHANG)
                self.status = status if pid else None
            except OSError:
                pass
        return self.status

    def await_exec(self):
        """run: after the last SYNC, the end of file that follows SAY_EXEC is execve having succeeded.

        Who stays passes output and signals on meanwhile: a startContainer hook may fill a terminal, or have to be ended."""
        said, hooks = False, any([op.name == "HOOK" and op.role == "I" and not op.slots[2] for op in self.plan.ops])
        while True:
            if self.front and hooks and not self.listener:
                self.status = self.front.until(self, self.sock)
            message = self._receive(hooks)
            if message is None and said and self._executed():
                posix.close(self.sock)
                self.sock = -1
                self._settle()
                return
            if message is None or message[0] == SAY_FAIL:
                if self.front and hooks:  # what one has left on the terminal is copied at its end
                    self.status = self.front.until(self, -1)
                raise self._died() if message is None else self._failed(message)
            said = message[0] == SAY_EXEC

    def _executed(self):
        """The end of file is execve's, which closes the socket just before it gives the process its new name, or init's."""
        for _ in range(100):  # a program may have the name of init's image, too
            if self.status is not None or init.name(self.pid) != self.name:
                break
            if kernel.wait_exit(self.pidfd, 1):
                return init.name(self.pid) != self.name
        return True

    def _settle(self):
        """Nothing is taken back any more: let go of what only that needed, or a namespace would outlive its container."""
        self.undo.clear()
        if "netns" in self.fds:
            posix.close(self.fds.pop("netns"))

    def _adopt(self, pid):
        """The kernel says who speaks: this is init. The first process, if another, has done its part and is reaped."""
        if self.pid == pid and self.pidfd >= 0:
            return
        if self.first and pid != self.first:
            _reap(self.first)
            _close(self.pidfd)
            self.pidfd = -1  # unwind would close another's, if this failed
            self.pidfd = posix.pidfd_open(pid)
            self.first = 0
        self.pid = pid

    # --- failing ---

    def unwind(self):
        """Kill what was spawned, then every inverse, newest first; one that fails does not stop the others. What failed may have
        been the last descriptor: ours are closed first, but for the namespace that devices come back from."""
        self._stillborn()
        for slot in [slot for slot in self.fds if slot != "netns"]:
            _close(self.fds.pop(slot))
        for group in self.groups.values():
            group.close()
        _close(self.sock)
        _close(self.pidfd)
        self.sock = self.pidfd = -1
        for pid in {self.first, self.pid if self.status is None else 0}:
            if pid:
                try:
                    posix.kill(pid, 9)
                except OSError:
                    pass
                _reap(pid)
        while self.undo:
            try:
                self.undo.pop()()
            except Exception:  # MemoryError too; what is left is found, and said, by what takes the container away
                pass

    def _stillborn(self):
        """What was begun by SPAWN and not awaited by PLAN comes to its end, before its descriptors are closed."""
        if self.birth is not None:
            try:
                self.first, self.pidfd = kernel.spawn_end()
            except OSError:
                pass
            self.born()

    def born(self):
        """What it was born with is its own now."""
        (_, theirs, stdio), self.birth = self.birth or (None, -1, ()), None
        for fd in {theirs, *stdio} - {-1}:
            _close(fd)


def _answered(sync, ops):
    """The index at which a SYNC is answered: after the ops that stand behind it."""
    return sync.index + len(ops) + 1


def _last_uses(plan):
    """{slot: index of the op at which the host uses it last, or gives it away}."""
    last = {}
    for turn, ops in plan.turns():
        if turn is not None and turn.name == "PLAN":
            last.update(dict.fromkeys(plan.birth_slots(), turn.index))
        elif turn is not None:
            last.update(dict.fromkeys(turn.produced(), _answered(turn, ops)))
        for op in ops:
            last.update([(slot, max(op.index, last.get(slot, 0))) for slot in op.consumed()])
    return last


def _close(fd):
    try:
        posix.close(fd)
    except OSError:
        pass


def worded(plan, op, errno, step, container):
    """The Error for what init, of this container, says has failed."""
    error = words.error(plan, op, errno, step)
    if op.name in ("EXEC", "HOOK") and errno in (ENOENT, ENOEXEC):
        from .host import executable

        executable.explain(error, plan, op, container.data["rootfs"])
    return error


def death(plan, status):
    """The Error of an init that has ended without a word. status: its wait status, None if it is not known."""
    filtered = any([op.name == "SECCOMP" for op in plan.ops])
    if filtered and init.killed_by_filter(status):
        return Error(f"{plan.place('/linux/seccomp')}: container init was killed by its seccomp filter (bad system call)",
                     hint=sealed.hint(plan), pointer="/linux/seccomp")
    if filtered and status == FAILED:
        return Error(f"{plan.place('/linux/seccomp')}: container init failed and could not say why (exit status 255)",
                     hint=sealed.hint(plan), pointer="/linux/seccomp")
    if status in (None, SIGKILL):
        return Error("container init died during its setup (killed)")
    from .host.hooks import status_text

    return Error(f"container init died during its setup ({status_text(status)})")


FAILED = 255 << 8  # the wait status of an init that has failed: it has said why, if it could


def _written(memfd):
    """The end of what a hook has written, as one line that no terminal obeys."""
    size = posix.fstat(memfd).st_size
    text = posix.pread(memfd, 4096, max(0, size - 4096)).decode("utf-8", "replace").strip().replace("\n", " ")
    return "".join([c if c.isprintable() else repr(c)[1:-1] for c in text])


def _reap(pid):
    try:
        posix.waitpid(pid, 0)
    except OSError:
        pass


# --- the actions, named as in plan/ops.py ---


def _cgroup(sup, op):
    from .host.cgroup.v2 import Foreign

    group, optional = _group(sup, op), op.args[3]
    try:
        made = group.create(op.args[2])
    except Error as err:
        if isinstance(err, Foreign) or err.errno in op.tolerate:
            _without_cgroup(sup)  # what takes the container away must not kill those in there
        elif optional and err.errno in (EPERM, EACCES, EROFS):
            err.message = f"{NO_RIGHT}: {err.message}"
        raise
    _mark(sup, group)
    sup.undo.append(lambda: (group.kill(), group.undo(made) if made else None))


def _mark(sup, group):
    """The group says whose it is, in case no file does any more. Neither a user nor root of a user namespace may write that."""
    data = sup.container.data
    data["marked"] = data["marked"] and group.mark(sup.container.owner())


NO_RIGHT = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups"  # runc's words


def _without_cgroup(sup):
    sup.container.data.update(cgroup=None, cgroup_v1=[], cgroup_paths={})


def _group(sup, op):
    """The group an op names; kept by slot for those that write to it."""
    root, path = op.args[:2]
    if op.slots[0] == "cgroup":
        from .host.cgroup.v2 import Cgroup

        group = Cgroup(root, path)
    else:
        from .host.cgroup.v1 import Hierarchy

        group = Hierarchy(root, path, op.slots[0].partition(":")[2])
    sup.groups[op.slots[0]] = group
    return group


def _property(sup, op):
    """systemd is given all of them in one call."""
    sup.properties.append(op.args)


def _unit(sup, op):
    """The process is in the unit's group from here on, and nothing of the container has run yet."""
    from .host import systemd
    from .host.cgroup.oom import Watch
    from .host.cgroup.v2 import Foreign

    group = _group(sup, op)
    try:
        if group.exists():
            group.refuse_foreign()
            group.close()
        systemd.start(op.args[2], op.args[3], sup.properties, sup.pid, group)
    except Foreign:
        sup.container.data.update(cgroup=None, cgroup_paths={}, unit=None)  # what takes the container away must not stop that
        raise
    group.adopt()
    _mark(sup, group)
    sup.oom = Watch(group)
    if sup.pid not in group.pids():  # a slice, which systemd gives no processes
        group.add(sup.pid)


def _setunit(sup, op):
    """Taken back, the files come after the properties: systemd writes them when it is given the old ones."""
    from .host import systemd
    from .plan.scope import ASIDE, FILES

    group, (bus, unit) = sup.groups[op.slots[0]], op.args
    saved = {file: text for file in FILES + ASIDE if (text := group.read_or(file, None)) is not None}

    def put_back(file):
        if group.read(file) != saved[file]:
            group.write(file, inverse(file, "", saved[file]))
    before = systemd.current(bus, unit, sup.properties)
    sup.undo += [lambda file=file: put_back(file) for file in saved]
    sup.undo.append(lambda: systemd.change(bus, unit, before))
    systemd.change(bus, unit, sup.properties)
    for file in ASIDE:
        if file in saved:
            put_back(file)


def _adopt(sup, op):
    from .host import systemd

    bus, unit, below = op.args
    systemd.attach(bus, unit, sup.pid, below)


def _tasks(sup, op):
    sup.fds[op.slots[1]] = sup.groups[op.slots[0]].tasks()


def _clos(sup, op):
    from .host import rdt

    root, name, existing, schemas = op.args
    group = sup.groups[op.slots[0]] = rdt.Group(root, name)
    if group.create(existing, schemas):
        sup.undo.append(group.remove)
    elif not existing:  # somebody has been faster since state.json was written: it is theirs, and outlives the container
        made = sup.container.data["resctrl_made"]
        sup.container.data["resctrl_made"] = [other for other in made if other != name]


def _limit(sup, op):
    """One write; `update` can take it back."""
    group, (file, value) = sup.groups[op.slots[0]], op.args
    try:
        before = group.read(file) if sup.restoring else None
        group.write(file, value)
    except Error as err:
        raise _of_property(sup, op, err) from None
    if before is not None:
        sup.undo.append(lambda: group.write(file, inverse(file, value, before)))


def _of_property(sup, op, err):
    if op.source.startswith("/linux/resources/unified/") and err.errno in (ENOENT, EPERM, EACCES) and err.hint:
        file = op.args[0]
        err.message = f'unified resource "{file}" can\'t be set: controller "{file.partition(".")[0]}" not available'
    err.message = f"{'' if sup.restoring else 'config.json: '}{op.source}: {err.message}"
    err.pointer = op.source
    err.hint = err.hint or words.hint(sup.plan, op, err.errno)
    return err


def _fits(sup, op):
    file, limit = op.args
    used = int(sup.groups[op.slots[0]].read(file))
    if used > limit:
        raise Error(f"{op.source}: rejecting memory limit {limit}: {used} bytes are in use", pointer=op.source)


def _owner(sup, op):
    sup.groups[op.slots[0]].chown(*op.args)


def _devices(sup, op):
    from .host.cgroup import device_filter

    rules = op.args[0]
    if op.slots[0] == "cgroup":
        host = sup.container.data["facts"]  # of a unit systemd's filter is there already
        device_filter.apply(sup.groups["cgroup"].dirfd(), rules, not sup.properties, host["euid"] != 0 or host["userns"])
        return
    from .host.cgroup.v1 import device_writes
    from .plan import device_rules

    sup.groups[op.slots[0]].write_each(device_writes(device_rules.policy(rules)))


def _openns(sup, op):
    path, kind, pointer, why = op.args
    fd = posix.open(path, posix.O_RDONLY | O_CLOEXEC | posix.O_NONBLOCK)
    sup.fds[op.slots[0]] = fd
    if kernel.fd_magic(fd) != NSFS_MAGIC or kernel.nstype(fd) != NAMESPACES[kind][0]:
        raise Error(f"config.json: {op.source}/path: {path} is not a {kind} namespace", pointer=op.source + "/path")
    if why and _same_file(posix.fstat(fd), posix.stat(f"/proc/self/ns/{NAMESPACES[kind][1]}")):
        raise Error(f"config.json: {pointer}: {why}", f"{path} is the runtime's own {kind} namespace", pointer=pointer)


def _same_file(one, two):
    return (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino)


def _same_maps(sup, op):
    from .host import idmap

    idmap.check_same(kernel.userns_maps(sup.fds[op.slots[0]]), op.args)


def _openpid(sup, op):
    pidfd = sup.container.open_pidfd()
    if pidfd is None:
        raise Error("cannot exec in a stopped container")
    sup.fds[op.slots[0]] = pidfd


def _hostproc(sup, op):
    sup.fds[op.slots[0]] = posix.open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC)


def _source(sup, op):
    """What is looked at and what is cloned must be one, whatever others do to the path."""
    from .host import locks

    path, set_, clear = op.args
    fd = sup.fds[op.slots[0]] = posix.open(path, O_PATH | O_CLOEXEC)
    flags = locks.refused(fd, set_, clear)
    if flags:
        raise words.locked(sup.plan, op, flags)


def _tree(sup, op):
    source = op.slots[1]
    result = kernel.open_tree(*op.args) if source is None else kernel.open_tree_of(sup.fds[source], *op.args[1:])
    sup.fds[op.slots[0]] = _done(sup, op, result)


def _device(sup, op):
    """The host's node of that path if it is the device that is named. Else one is made, which root of a user namespace could not:
    beside state.json, with which it goes again (an unlinked one cannot be mounted), and cloned into a mount without nodev."""
    path, mode, major, minor, uid, gid = op.args
    result = kernel.open_tree(path, 0, 0, 0, MS_SLAVE, 0)
    if -result[0] not in (ENOENT, ENOTDIR, ELOOP):
        fd = sup.fds[op.slots[0]] = _done(sup, op, result)
        found = posix.fstat(fd)
        if found.st_mode & S_IFMT == mode & S_IFMT and (posix.major(found.st_rdev), posix.minor(found.st_rdev)) == (major, minor):
            return
        posix.close(sup.fds.pop(op.slots[0]))
    name, dirfd = op.slots[0], sup.container.dirfd
    try:
        posix.mknod(name, mode, posix.makedev(major, minor), dir_fd=dirfd)
    except OSError as err:
        raise OSError(err.errno, err.strerror, f"mknod {path}") from None
    posix.chown(name, uid, gid, dir_fd=dirfd, follow_symlinks=False)
    posix.chmod(name, mode & 0o7777, dir_fd=dirfd)  # whatever our umask
    made = kernel.open_tree(f"{sup.container.path}/{name}", TREE_NOFOLLOW, 0, ATTR_NODEV, MS_PRIVATE, ATTR_NODEV)
    sup.fds[name] = _done(sup, op, made)


def _setattr(sup, op):
    _done(sup, op, kernel.mount_setattr(sup.fds[op.slots[0]], *op.args))


def _done(sup, op, result):
    """What one of the ops returned that init has as well; its failure in the same words."""
    ret, step = result
    if ret < 0:
        raise words.error(sup.plan, op, -ret, step)
    return ret


def _userns(sup, op):
    sup.fds[op.slots[0]] = kernel.userns(*op.args)


def _idmap(sup, op):
    kernel.idmap(sup.fds[op.slots[0]], sup.fds[op.slots[1]], op.args[0])


def _hostdir(sup, op):
    sup.fds[op.slots[0]] = posix.open(op.args[0], O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)


def _fifo(sup, op):
    for slot, name in (("gate", "exec.fifo"), ("status", "status.fifo")):
        posix.mkfifo(name, 0o600, dir_fd=sup.container.dirfd)
        sup.fds[slot] = posix.open(name, posix.O_RDWR | O_CLOEXEC | O_NOFOLLOW, dir_fd=sup.container.dirfd)


def _memfd(sup, op):
    sup.fds[op.slots[0]] = kernel.memfd(op.slots[0], b"", sealed=False)


def _notifydir(sup, op):
    from .host import notify

    notify.prepare(sup.container.dirfd)


def _spawn(sup, op):
    """In its group from the first moment on: nothing of the container ever runs outside of its limits."""
    sup.sock, theirs = kernel.socketpair()
    stdio = sup.front.stdio(sup.plan.has("PTY")) if sup.front else kernel.AS_THEY_ARE
    sup.birth = op, theirs, stdio
    _begin(sup, _born_in(sup, op)[:1])
    sup.encoded = encode(sup.plan)  # while the kernel makes init
    if sup.created:  # of a container; nothing is kept of an exec
        _keep(sup)


def _keep(sup):
    """The plan, for who comes later. Without it, it is compiled again: what cannot be kept is no reason to fail."""
    data = dumps(stored.dump(sup.plan)).encode()
    try:
        if len(data) <= MAX_BYTES:
            sup.container.write(PLAN, data)
    except OSError as err:
        log.warning(f"the plan is not kept: {err.filename}: {err.strerror.lower()}")


def _born_in(sup, op):
    return [sup.groups[slot] for slot in op.slots if slot in sup.groups and slot not in sup.missing]


def _begin(sup, groups):
    op, theirs, stdio = sup.birth
    flags, base, mask = op.args
    before = _bind(sup.plan, mask)
    try:
        kernel.spawn_begin(theirs, base, groups[0].dirfd() if groups else -1, flags, stdio)
    finally:
        if before:
            posix.sched_setaffinity(0, before)


def _plan(sup, op):
    """All that init waits for is there: the plan, and what it begins with."""
    (data, born, sup.ops), sup.encoded = sup.encoded, ()
    plan_fd = kernel.memfd("pyrunc:plan", data)
    try:
        _await_birth(sup)
        given = [plan_fd, *[sup.fds[slot] for slot in born]]
        for first in range(0, len(given), BATCH):
            kernel.send(sup.sock, 0, 0, given[first:first + BATCH])
    finally:
        posix.close(plan_fd)
    sup.let_go(op.index, born)


def _await_birth(sup):
    spawn = sup.birth[0]
    try:
        sup.pid, sup.pidfd = _taken(sup, spawn)
    except OSError as err:
        raise sup._worded(spawn, err) from None
    sup.born()
    sup.first = sup.pid


def _taken(sup, op):
    """(pid, pidfd). Who may make a group may still not be allowed to put a process there; only what has no limits then runs
    where the caller is. EBUSY is a group that has given its children controllers: there may be another."""
    groups = _born_in(sup, op)
    try:
        try:
            return kernel.spawn_end()
        except OSError as err:
            if err.errno != EBUSY or len(groups) < 2:
                raise
        del groups[0]
        _begin(sup, groups)
        return kernel.spawn_end()
    except OSError as err:
        if not groups or err.errno != EACCES:
            raise
        group = groups[0]
        if err.errno not in op.tolerate:
            raise Error(f'cgroup "{group.path}": clone3 into it: permission denied', NO_ENTRY, errno=EACCES) from None
    if sup.created:
        _without_cgroup(sup)
        group.remove()
    else:
        log.warning(f'the process runs outside of the cgroup "{group.path}": permission denied')
    _begin(sup, [])
    return kernel.spawn_end()


NO_ENTRY = "moving a process between groups needs the right to write cgroup.procs of their nearest common ancestor: run in a " \
           "group below the delegated one"


def _bind(plan, mask):
    """execCPUAffinity.initial is ours while the process is born, which inherits it. Returns what to go back to."""
    if not mask:
        return None
    bits, before = int.from_bytes(mask, "little"), posix.sched_getaffinity(0)
    try:
        posix.sched_setaffinity(0, [cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1])
    except OSError as err:
        at = "/process/execCPUAffinity/initial"
        raise Error(f"{plan.place(at)}: sched_setaffinity: {err.strerror.lower()}", pointer=at, errno=err.errno) from None
    return before


def _maps(sup, op):
    from .host import idmap

    idmap.write(sup.pid, *op.args)


def _timens(sup, op):
    _proc_write(sup.pid, "timens_offsets", op.args[0])


def _proc_write(pid, name, text):
    fd = posix.open(f"/proc/{pid}/{name}", posix.O_WRONLY | O_CLOEXEC)
    try:
        posix.write(fd, text.encode())
    finally:
        posix.close(fd)


def _netlink(sup, op):
    from .host import netdev

    netdev.check(op.args[0])


def _netns(sup, op):
    sup.fds[op.slots[0]] = posix.open(f"/proc/{sup.pid}/ns/net", posix.O_RDONLY | O_CLOEXEC)


def _netdev(sup, op):
    from .host.netdev import Move

    move = Move(sup.fds[op.slots[0]], *op.args)
    sup.undo.append(move.undo)
    move.do()


def _hook(sup, op):
    from .host import hooks

    path, argv, env, timeout, _ = op.args
    kind, _, number = op.source[len("/hooks/"):].partition("/")
    hook: Hook = {"path": path, "args": argv, "env": env, "timeout": timeout}
    hooks.run_one(kind, int(number), hook, _state(sup, "created", sup.pid))


def _state(sup, status, pid):
    from .host import hooks

    return hooks.state_for(sup.container.id, status, pid, sup.bundle, sup.container.data.get("annotations"))


def _state_json(sup, op):
    text = dumps(_state(sup, op.args[0], _inner_pid(sup.pid))).encode("utf-8", "surrogateescape")
    sup.fds[op.slots[0]] = kernel.memfd("pyrunc:state", text)


def _inner_pid(pid):
    """The pid as its own pid namespace has it: the last of NSpid."""
    for line in _proc_read(pid, "status").splitlines():
        if line.startswith(b"NSpid:"):
            return int(line.split()[-1])
    return pid


def _proc_read(pid, name):
    """All of a file, in pages: 340 ranges of ids are more than one."""
    fd, data = posix.open(f"/proc/{pid}/{name}", posix.O_RDONLY | O_CLOEXEC), b""
    try:
        while more := posix.read(fd, 16384):
            data += more
    finally:
        posix.close(fd)
    return data


def _console(sup, op):
    sup.console(sup.fds.pop("master"))


def _rlimits(sup, op):
    for resource, soft, hard in op.args[0]:
        try:
            now = kernel.getrlimit(sup.pid, resource) if resource == RLIMIT_NOFILE else (0, 0)
            kernel.prlimit(sup.pid, resource, max(soft, now[0]), max(hard, now[1]))
        except OSError as err:
            name = rlimit(resource)
            raise Error(
                f"{sup.plan.place('/process/rlimits')}: setrlimit {name} to {soft}, {hard}: {err.strerror.lower()}",
                hint="raising a hard limit needs CAP_SYS_RESOURCE" if err.errno == EPERM else None,
                pointer="/process/rlimits", errno=err.errno,
            ) from None


def _give_stdio(sup, op):
    """Init could not: in its user namespace the pipes belong to nobody. It has its maps by now, whoever wrote them."""
    uid = op.args[0]
    for line in _proc_read(sup.pid, "uid_map").splitlines():
        inside, outside, count = [int(number) for number in line.split()]
        if inside <= uid < inside + count:
            sup.front.own(outside + uid - inside)


def _agent(sup, op):
    from .host import seccomp_agent

    path, metadata = op.args
    if sup.created:
        state = _state(sup, "creating", sup.pid)
    else:  # exec: the state is the container's
        state = _state(sup, "running", sup.container.data["init_process_pid"])
    seccomp_agent.send(path, sup.fds.pop("notify"), {"pid": sup.pid, "metadata": metadata, "state": state})
    sup.handed = True


def _pidfd(sup, op):
    sup.pidfd_socket(sup.pidfd, op.args[0])


def _created(sup, op):
    if not sup.created(sup.pid):
        raise sup._died()


def _cgroup_of(sup, op):
    """exec is born into the container's group, or the one below it that --cgroup names."""
    group = _group(sup, op)
    if op.slots[0] == "cgroup" and not group.exists():  # a v1 group is found missing when its tasks file is opened
        raise Error(f'cgroup "{group.path}": no such file or directory', errno=ENOENT)


def _cgroup_of_init(sup, op):
    """Where init lives if that is below the container's own group, else nothing: whoever got out takes nobody along."""
    root, own = op.args
    from .host.cgroup import v2

    path = v2.of_process(sup.container.pid())
    if path is None or not path.startswith(f"/{own}/"):
        return
    group = v2.Cgroup(root, path[1:])
    if group.exists() and sup.container.alive():  # its pid was not another's while we read
        sup.groups[op.slots[0]] = group


def _root_of(sup, op):
    """The root of init by its magic link, and init is still init after it was opened."""
    sup.fds[op.slots[0]] = posix.open(f"/proc/{sup.container.pid()}/root", O_PATH | O_DIRECTORY | O_CLOEXEC)
    if not sup.container.alive():
        raise Error("cannot exec in a stopped container")


def _execed(sup, op):
    """Nothing is recorded of an exec; the op marks where the process is complete."""


ACTIONS = {
    "CGROUP": _cgroup, "TASKS": _tasks, "CLOS": _clos, "LIMIT": _limit, "FITS": _fits, "OWNER": _owner,
    "PROPERTY": _property, "UNIT": _unit, "SETUNIT": _setunit, "ADOPT": _adopt,
    "DEVICES": _devices, "OPENNS": _openns, "SAME_MAPS": _same_maps, "OPENPID": _openpid, "HOSTPROC": _hostproc,
    "SOURCE": _source, "TREE": _tree, "DEVICE": _device, "SETATTR": _setattr, "USERNS": _userns, "IDMAP": _idmap, "HOSTDIR": _hostdir,
    "FIFO": _fifo,
    "MEMFD": _memfd, "NOTIFYDIR": _notifydir, "SPAWN": _spawn, "PLAN": _plan, "MAPS": _maps, "TIMENS": _timens,
    "NETLINK": _netlink, "NETNS": _netns, "NETDEV": _netdev, "HOOK": _hook,
    "STATE_JSON": _state_json, "CONSOLE": _console, "RLIMITS": _rlimits, "AGENT": _agent, "PIDFD": _pidfd, "GIVE_STDIO": _give_stdio,
    "CREATED": _created, "CGROUP_OF": _cgroup_of, "CGROUP_OF_INIT": _cgroup_of_init, "ROOT_OF": _root_of, "EXECED": _execed,
}
