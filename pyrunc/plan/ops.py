"""The instruction set: one row for each op, and in the row all that is said about it. Pure.

A new op is a row here, and the code that does it: a C function `op_NAME` for init (csrc/init/op_*.c), `_name` of supervise.py
for the host. The compilers add it to plans with `Plan.add`, which takes only what the row says. Everything else reads the rows:
encode, explain, words, check and sealed, and csrc/ops.def, which is made of them (`make ops`).

  name     the ops of init keep the order in which they stand: their numbers are what init is told
  roles    H host (the supervisor), M first process (outside the pid namespace), I init
  phase    clean ns fs sys cred gate exec, never back along a plan; `any` stands wherever it is needed; an op of the host alone has none
  slots    `name:kind`; `>name:kind` is filled by the op; `name?:kind` may be left out; a last `>>name:kind` fills any number.
           No op says when a slot is closed: that is at its last use (script.ends)
  args     `name:kind`, kinds.py; for init six words of 32 bits, of which 64-bit numbers take two
  fails    what people are told: by the step at which it failed, by errno, by "" for all else. In it stand operands by name, {why}
           (the kernel's word for the errno), {call} (that of the step), {errno}. Without: the op, its name or path, {call}, {why}
  hints    the cure, by errno, "" for any
  calls    of an op that may stand after SECCOMP: the system calls that a filter has to leave to it. In brackets stands what the op
           does without when it is refused: an older call is tried then, or nothing is lost
  guards   the kinds of escape that it is there to prevent, by the name of one of them
"""

from __future__ import annotations

from errno import (
    EACCES, EAGAIN, EBUSY, EINVAL, EISDIR, ELOOP, ENOENT, ENOSPC, ENOTDIR, EPERM, ESRCH, EXDEV,
)

from ..config.mountopts import STRING_MAX
from ..config.names import NAMESPACES
from ..typed import TYPE_CHECKING
from . import kinds
from .optable import TREE_RECURSIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .kinds import Kind, Value

    Fails = Callable[["Op", int, str, Sequence["Op"]], str] | Mapping[int | str, str]
    Hints = Callable[["Op", int, Sequence["Op"]], str | None] | Mapping[int | str, str]

PHASES = ("clean", "ns", "fs", "sys", "cred", "gate", "exec")
WAITING = ("wait4", "clock_gettime", "kill", "[nanosleep]", "[clock_nanosleep]", "[ppoll]")
LIST = 2


class Slot:
    """made: 1 for one that the op fills, LIST for any number of them."""

    __slots__ = ("name", "kind", "made", "optional")

    def __init__(self, text: str) -> None:
        name, _, self.kind = text.partition(":")
        self.made = name.count(">")
        self.optional = name.endswith("?") or self.made == LIST
        self.name = name.strip(">?")


class Row:
    """One op of the instruction set; `code` is its number for init, -1 if it has none."""

    __slots__ = ("name", "code", "roles", "phase", "slots", "args", "fails", "hints", "calls", "guards",
                 "types", "tests", "width", "listed", "makes", "takes", "shape", "wires")

    def __init__(self, name: str, roles: str, phase: str, slots: str = "", args: str = "", fails: Fails | None = None,
                 hints: Hints | None = None, calls: tuple[str, ...] = (), guards: str = "") -> None:
        self.name = name
        self.code = -1
        self.roles = roles
        self.phase = phase
        self.slots = tuple([Slot(text) for text in slots.split()])
        self.args: tuple[tuple[str, Kind], ...] = tuple([(name, kinds.KINDS[kind]) for name, _, kind in
                                                         [text.partition(":") for text in args.split()]])
        self.fails: Fails = fails or {}
        self.hints: Hints = hints or {}
        self.calls = calls
        self.guards = tuple(guards.split())
        # what `Plan.add` and `encode` go through for each op, worked out once
        self.types = tuple([kind.type for _, kind in self.args])
        self.tests = tuple([(at, kind.test) for at, (_, kind) in enumerate(self.args) if kind.test])
        self.listed = bool(self.slots) and self.slots[-1].made == LIST
        self.width = len(self.slots) - self.listed
        self.shape = tuple([(slot.made, slot.kind, "" if slot.optional else slot.name) for slot in self.slots])
        self.makes = tuple([at for at, slot in enumerate(self.slots) if slot.made == 1])
        self.takes = tuple([at for at, slot in enumerate(self.slots) if not slot.made])
        self.wires = tuple([kind.wire for _, kind in self.args])

    def place(self, name: str) -> int:
        return [arg for arg, _ in self.args].index(name)


class Op:
    """One step of a plan. `slots` and `args` stand in the order of the row; a slot is a name or None.

    tolerate  errnos that are no failure      unless  the op that must have failed (tolerated) for this one to run
    source    JSON pointer of the property this comes from, or the name of a default ("default: devices")
    """

    __slots__ = ("row", "role", "name", "slots", "args", "source", "tolerate", "unless", "index")

    def __init__(self, row: Row, role: str, slots: tuple[str | None, ...], args: tuple[Value, ...], source: str,
                 tolerate: tuple[int, ...], unless: Op | None, index: int) -> None:
        self.row = row
        self.role = role
        self.name = row.name
        self.slots = slots
        self.args = args
        self.source = source
        self.tolerate = tolerate
        self.unless = unless
        self.index = index

    def value(self, name: str) -> Value:
        return self.args[self.row.place(name)]

    def given(self) -> list[tuple[Slot, str]]:
        """The slots that it names, each with what the row says of it."""
        row = self.row
        slots = row.slots + row.slots[-1:] * (len(self.slots) - len(row.slots)) if row.listed else row.slots
        return [(slot, name) for slot, name in zip(slots, self.slots) if name]

    def produced(self) -> list[str]:
        return [name for name in [self.slots[at] for at in self.row.makes] + list(self.slots[self.row.width:]) if name]

    def consumed(self) -> list[str]:
        return [name for name in [self.slots[at] for at in self.row.takes] if name]


# --- what takes more than a sentence ---


def _tree_fails(op: Op, errno: int, step: str, ops: Sequence[Op]) -> str:
    call = "open_tree" if op.name == "TREE" and step in ("open", "none") else "mount_setattr"
    about = " {path}" if op.name != "SETATTR" else ""
    if op.role != "H" and op.name == "TREE" and op.slots[1]:
        about = ' "/{path}" of the container'
    return f"{call}{about}: {step + ': ' if step[:6] == 'cannot' else ''}{{why}}"


def _tree_hints(op: Op, errno: int, ops: Sequence[Op]) -> str | None:
    if errno == EPERM:
        return LOCKED
    if op.role != "H" and errno == EINVAL and not op.value("flags") & TREE_RECURSIVE:
        return "in a user namespace, a directory can only be bound together with the mounts below it: use rbind"
    return NO_NODE if op.source.startswith("/linux/devices/") else None


def _mount_fails(op: Op, errno: int, step: str, ops: Sequence[Op]) -> str:
    data = op.value("data") if op.name == "MOUNT" else ",".join(op.value("data"))
    data = data if len(data) <= 400 else data[:400] + "..."
    call = "{call}" if op.name == "FSMOUNT" or step not in ("fsconfig", "fscreate") else "mount"
    return f"mount {{type}}: {call} {_plain(data)}: {{why}}"


def _plain(text: str) -> str:
    """A value that stands in a sentence: what it says is no name of an operand."""
    return text.replace("{", "{{").replace("}", "}}")


def _mount_hints(op: Op, errno: int, ops: Sequence[Op]) -> str | None:
    if errno == EPERM:
        return _proc_hint(op, errno, ops) if op.args[0] == "proc" else FOREIGN
    if op.name == "FSMOUNT" and errno == EINVAL and max(map(len, op.value("data")), default=0) > STRING_MAX:
        return f"without a new mount namespace, an option has at most {STRING_MAX} bytes"
    return None


def _proc_hint(op: Op, errno: int, ops: Sequence[Op]) -> str | None:
    """mount_too_revealing() of fs/namespace.c, and who may mount a procfs at all; by whether the pid namespace is a new one."""
    if errno != EPERM:
        return None
    if any([other.value("flags") & NAMESPACES["pid"][0] for other in ops if other.name in ("UNSHARE", "SPAWN")]):
        return "something is mounted over parts of the caller's own /proc, and a new procfs would show what is " \
               "hidden: uncover these parts, or bind /proc (rbind /proc)"
    return "only the owner of a pid namespace can mount its procfs: make a new pid namespace, or bind the host's /proc (rbind /proc)"


def _device_hint(op: Op, errno: int, ops: Sequence[Op]) -> str | None:
    return NO_NODE if op.source.startswith("/linux/devices/") else None


def _node_fails(op: Op, errno: int, step: str, ops: Sequence[Op]) -> str:
    kind = "b" if op.value("mode") & 0o170000 == 0o060000 else "c"
    return f"the host's node of this path is not the device {kind} {kinds.device(op.value('dev'))}"


def _sysctl_fails(op: Op, errno: int, step: str, ops: Sequence[Op]) -> str:
    return f'write sysctl "{_plain(op.value("path")[4:])}" value "{{value}}": {OVER_PROC if errno == EXDEV else "{why}"}'


def _label_fails(op: Op, errno: int, step: str, ops: Sequence[Op]) -> str:
    return f"apply label {_plain(repr(op.value('value')))}: {OVER_PROC if errno == EXDEV else '{why}'}"


def _chdir_fails(op: Op, errno: int, step: str, ops: Sequence[Op]) -> str:
    path = op.value("path")
    return ESCAPED if errno == EXDEV else f'chdir to "/{"" if path == "." else _plain(path)}": {{why}}'


def _join_fails(op: Op, errno: int, step: str, ops: Sequence[Op]) -> str:
    return f"join the {(op.slots[0] or '').partition(':')[2]} cgroup: {{why}}"


def _lookup_fails(op: Op, errno: int, step: str, ops: Sequence[Op]) -> str:
    """What was asked for: the candidates do not say it, without a PATH there are none. What cannot be looked at and directories are
    passed over, wherever they stand; a manager takes its exit status from these words."""
    name = ops[-1].value("argv")[0]
    if errno in (ENOENT, ENOTDIR, EISDIR, ELOOP) and "/" not in name:
        return f'exec: "{_plain(name)}": executable file not found in $PATH'
    return f'exec: "{_plain(name)}": {"is a directory" if errno == EISDIR else "{why}"}'


def _hook_fails(op: Op, errno: int, step: str, ops: Sequence[Op]) -> str:
    kind, _, number = op.source[len("/hooks/"):].partition("/")
    what = {
        "exit": "exit status {errno}",
        "signalled": f"signal: {SIGNAL_WORDS.get(errno, errno)}",
        "timeout": "hook ran past specified timeout of {timeout}.0s",
        "exec": "fork/exec {path}: {why}",
    }.get(step, "{why}")
    return f"error running {kind} hook #{number}: {what}"


def _limit_hints(op: Op, errno: int, ops: Sequence[Op]) -> str | None:
    """What the kernel says in a number, by the file."""
    return {
        ("memory.limit_in_bytes", EBUSY): IN_USE, ("memory.memsw.limit_in_bytes", EBUSY): IN_USE,
        ("cpu.shares", EINVAL): IDLE, ("cpu.weight", EINVAL): IDLE,
        ("cpu.cfs_quota_us", EINVAL): BANDWIDTH, ("cpu.cfs_period_us", EINVAL): BANDWIDTH, ("cpu.max", EINVAL): BANDWIDTH,
        ("cpu.rt_period_us", EINVAL): "the period must not be below the realtime runtime in force",
        ("cpuset.cpus", EACCES): "the groups above do not have these CPUs",
        ("cpuset.mems", EACCES): "the groups above do not have these nodes",
    }.get((op.value("file"), errno))


SIGNAL_WORDS = {9: "killed", 15: "terminated", 2: "interrupt", 11: "segmentation fault", 6: "aborted", 1: "hangup"}
OVER_PROC = "something is mounted over this part of /proc"
ESCAPED = "current working directory is outside of container mount namespace root -- possible container breakout"
LOCKED = "a user namespace keeps the read-only, nosuid, nodev, noexec and access time flags of the host's mounts"
NO_NODE = "in a user namespace, a device is the host's node of the same path: only root of the host can make a missing one"
FOREIGN = "a user namespace can mount only some types of file system, and sysfs only where it owns the network namespace"
PIDS_LIMIT = "the pids limit of the container's cgroup, or of its user, is reached"
IN_USE = "more than that is in use and could not be reclaimed"
IDLE = "a group with cpu.idle 1 has no shares"
BANDWIDTH = "in microseconds, a period is 1000 to 1000000 and a quota at least 1000; a group has no more than the groups above it"
ORDINARY = 'filesystem "{path}" must be mounted on ordinary directory'


ROWS = (
    # clean: what a process must not bring along
    Row("SIGRESET", "MI", "clean"),
    Row("PDEATHSIG", "MI", "any", "", "signal:signal"),
    Row("DUMPABLE", "MI", "any", "", "value:switch", guards="CVE-2016-9962"),
    Row("OOM", "MI", "clean", "proc:proc", "value:word",
        hints={EACCES: "without privilege, oomScoreAdj can only be raised above the caller's value"}, guards="CVE-2025-52881"),
    Row("JOIN", "MI", "any", "tasks:tasks", fails=_join_fails,
        hints={ENOSPC: "a v1 cpuset takes no process before it has cpuset.cpus and cpuset.mems"}),
    Row("NOFILE", "MI", "any", "", "raise:switch"),

    # ns: namespaces
    Row("SETNS", "MI", "ns", "ns:ns", "nstype:clone", {ESRCH: "cannot exec in a stopped container"}),
    Row("UNSHARE", "MI", "ns", "", "flags:clone"),
    Row("FORK", "M", "ns", hints={EAGAIN: PIDS_LIMIT}, guards="CVE-2016-9962"),
    Row("SETSID", "MI", "ns", guards="CVE-2017-5226"),
    Row("KEYRING", "MI", "ns", "", "name:text perms:key"),
    Row("LOOPBACK", "I", "ns"),
    Row("BECOME", "MI", "ns", "", "uid:id gid:id",
        {EINVAL: "user namespaces enabled, but no mapping found for uid 0 and gid 0", "": "become root of the user namespace: {why}"}),

    # fs: the tree that the container will see
    Row("SLAVE", "MI", "fs", "", "propagation:propagation",
        hints={EINVAL: "the caller's root is not a mount point (a chroot): bind it on itself before entering it"}),
    Row("TREE", "HMI", "any", ">tree:tree root?:root",
        "path:place flags:tree set:mount_attr clear:mount_attr propagation:propagation explicit:mount_attr",
        _tree_fails, _tree_hints, guards="CVE-2021-30465 CVE-2023-25809"),
    Row("VERIFY_DEV", "I", "fs", "tree:tree", "mode:mode dev:dev", _node_fails, _device_hint, guards="CVE-2025-31133"),
    Row("FSMOUNT", "MI", "fs", ">tree:tree root?:root", "type:text data:texts attr:mount_attr like:like", _mount_fails, _mount_hints),
    Row("MOUNT", "I", "fs", ">tree:tree root?:root", "type:text source:word flags:ms data:word attr:mount_attr like:like",
        _mount_fails, _mount_hints),
    Row("RELABEL", "I", "fs", "tree:tree", "label:word"),
    Row("SETATTR", "HMI", "any", "tree:tree",
        "flags:tree set:mount_attr clear:mount_attr propagation:propagation explicit:mount_attr", _tree_fails, {EPERM: LOCKED}),
    Row("ROOT", "I", "fs", "tree:tree >root:root", "path:path"),
    Row("OPENROOT", "I", "fs", ">root:root"),
    Row("NEWPROC", "I", "fs", ">proc:proc", "", {"": "a procfs for sysctls and labels: {call}: {why}"}, _proc_hint,
        guards="CVE-2025-52881 CVE-2019-16884"),
    Row("OPENPROC", "I", "fs", ">proc:proc root:root", "",
        {"notproc": 'sysctls and labels: "/proc" is not a procfs', "": 'sysctls and labels: "/proc": {why}'}, guards="CVE-2019-16884"),
    Row("ATTACH", "I", "any", "tree:tree root:root", "path:path flags:attach mode:mode", {
        "notproc": '"/{path}" cannot be mounted because it is not of type proc', "symlink": ORDINARY, "notdir": ORDINARY,
        "verify": '"/{path}" cannot be mounted because it is inside /proc', "": 'mount on "/{path}": {call}: {why}'},
        {EPERM: FOREIGN}, guards="CVE-2021-30465 CVE-2019-19921 CVE-2019-16884 CVE-2015-3631"),
    Row("COPYUP", "I", "fs", "tree:tree root:root", "path:path", guards="CVE-2024-45310"),
    Row("NODE", "I", "fs", "root:root", "path:path mode:mode dev:dev uid:id gid:id", guards="CVE-2026-47766"),
    Row("LINK", "I", "fs", "root:root", "path:path target:text replace:switch", guards="CVE-2026-41579"),
    Row("MKDIR", "I", "any", "root:root", "path:path mode:mode", guards="CVE-2024-45310"),
    Row("PIVOT", "I", "fs", "root:root",
        hints={EINVAL: "the caller's root cannot be replaced (an initramfs or a chroot): run with --no-pivot"}),
    Row("MOVEROOT", "I", "fs", "root:root"),
    Row("PURGE", "I", "fs", "root:root", hints={
        "": "without pivot_root, a procfs or sysfs of the host that stays would let the container mount its own without masks"}),
    Row("CHROOT", "MI", "any", "root:root"),

    # sys: after the root has changed
    Row("DEVNULL", "I", "sys", "root:root >devnull:devnull", guards="CVE-2025-31133"),
    Row("NULLFD", "I", "sys", "root:root", guards="CVE-2015-3627 CVE-2026-88265"),
    Row("PTY", "I", "sys", "root:root >master:pty >peer:tty", "rows:number cols:number uid:id", guards="CVE-2025-52565"),
    Row("CTTY", "I", "sys", "peer:tty"),
    Row("HOSTNAME", "I", "sys", "", "name:text"),
    Row("DOMAINNAME", "I", "sys", "", "name:text"),
    Row("SYSCTL", "I", "sys", "proc:proc", "path:path value:text", _sysctl_fails, guards="CVE-2025-52881 CVE-2022-0811"),
    Row("READONLY", "I", "sys", "root:root", "path:path", guards="CVE-2015-3630"),
    Row("MASK", "I", "sys", "root:root devnull:devnull", "path:path label:word", guards="CVE-2025-31133 CVE-2015-3630"),
    Row("UMASK", "I", "sys", "", "mask:mode"),
    Row("CHOWN_STDIO", "I", "sys", "", "uid:id"),

    # cred: what the process may do
    Row("LABEL", "I", "any", "proc:proc", "path:path value:text", _label_fails, guards="CVE-2019-16884 CVE-2025-52881"),
    Row("SCHED", "I", "cred", "", "attr:sched",
        hints={EPERM: "SCHED_DEADLINE needs all CPUs: the kernel refuses it in a restricted cpuset"}),
    Row("IOPRIO", "I", "cred", "", "value:ioprio"),
    Row("PERSONALITY", "I", "cred", "", "persona:persona"),
    Row("MEMPOLICY", "I", "cred", "", "mode:mempolicy nodes:cpus"),
    Row("AFFINITY", "MI", "any", "", "mask:cpus"),
    Row("NNP", "I", "cred"),
    Row("CHDIR", "I", "cred", "root:root", "path:path", _chdir_fails, guards="CVE-2024-21626"),
    Row("HOME", "I", "cred", "root:root", "uid:id", guards="CVE-2016-3697"),
    Row("BOUND", "I", "cred", "", "keep:capabilities"),
    Row("RLIMIT", "I", "cred", "", "resource:resource soft:amount hard:amount", {"": "setrlimit {resource} to {soft}, {hard}: {why}"}),
    Row("KEEPCAPS", "I", "cred"),
    Row("SETGROUPS", "MI", "any", "", "gids:gids", guards="CVE-2014-8989"),
    Row("SETID", "I", "cred", "", "uid:id gid:id", {
        EINVAL: "cannot set uid {uid} and gid {gid}: unmapped user in user namespace", "": "setresuid {uid}, setresgid {gid}: {why}"}),
    Row("CAPS", "I", "cred", "", "masks:capability_sets", {"": "capset: {why}"}, calls=("capset",), guards="CVE-2022-29162"),
    Row("AMBIENT", "I", "cred", "", "caps:capabilities", calls=("prctl",), guards="CVE-2016-8867"),
    Row("SIGEND", "I", "cred"),
    Row("VERIFY_CWD", "I", "cred", "", "", {EXDEV: ESCAPED, "": "chdir: {why}"}, guards="CVE-2024-21626"),
    Row("LOOKUP", "I", "cred", "root:root", "candidates:texts", _lookup_fails,
        hints={ELOOP: "a symbolic link of that name exists: too many levels of symbolic links"}),
    Row("SEAL", "I", "cred", "keep?:any also?:any third?:any", "first:number", guards="CVE-2024-21626"),
    Row("SECCOMP", "I", "cred", ">notify?:notify", "filter:filter flags:seccomp"),

    # the conversation
    Row("SYNC", "MI", "any", "send?:any >>got:any", "seq:seq",
        calls=("write", "read", "[close]")),  # a listener leaves by the courier, who has no filter
    Row("GATE", "I", "gate", "gate:gate", calls=("read", "[close]")),
    Row("HOOK", "HI", "any", "cwd?:root state?:memfd out?:memfd err?:memfd",
        "path:program argv:texts env:texts timeout:seconds home:switch", _hook_fails,
        calls=("clone", *WAITING, "lseek", "dup3", "[dup2]", "[close]", "fchdir", "execve")),
    Row("EXEC", "I", "exec", "status?:status", "argv:texts env:texts", {"": 'exec: "{argv[0]}": {why}'}, calls=("[write]", "execve")),

    # the host alone, before there is a process
    Row("CGROUP", "H", "", ">cgroup:cgroup", "root:hostpath path:text domain:yes optional:yes"),
    Row("TASKS", "H", "", "cgroup:cgroup >tasks:tasks"),
    Row("CLOS", "H", "", ">group:cgroup", "root:hostpath name:text existing:yes schemas:schemas"),
    Row("LIMIT", "H", "", "cgroup:cgroup", "file:text value:text", hints=_limit_hints),
    Row("FITS", "H", "", "cgroup:cgroup", "file:text limit:bytes"),
    Row("OWNER", "H", "", "cgroup:cgroup", "uid:id"),
    Row("DEVICES", "H", "", "cgroup:cgroup", "rules:rules", guards="GHSA-g54h-m393-cpwq"),
    Row("PROPERTY", "H", "", "", "name:text type:text value:value", guards="CVE-2024-3154"),
    Row("SETUNIT", "H", "", "cgroup:cgroup", "bus:word unit:text"),
    Row("OPENNS", "H", "", ">ns:ns", "path:text type:word at:pointer otherwise:word"),
    Row("SAME_MAPS", "H", "", "ns:ns", "uid_map:lines gid_map:lines"),
    Row("OPENPID", "H", "", ">ns:ns", guards="CVE-2016-9962"),
    Row("HOSTPROC", "H", "", ">proc:proc"),
    Row("SOURCE", "H", "", ">source:root", "path:hostpath set:mount_attr clear:mount_attr", _tree_fails, {EPERM: LOCKED}),
    Row("DEVICE", "H", "", ">tree:tree", "path:hostpath mode:mode major:number minor:number uid:id gid:id"),
    Row("USERNS", "H", "", ">userns:ns", "uid_map:lines gid_map:lines"),
    Row("IDMAP", "H", "", "tree:tree userns:ns", "recursive:switch"),
    Row("HOSTDIR", "H", "", ">root:root", "path:hostpath"),
    Row("FIFO", "H", "", ">gate:gate >status:status"),
    Row("NETLINK", "H", "", "", "names:texts"),
    Row("MEMFD", "H", "", ">out:memfd"),
    Row("NOTIFYDIR", "H", ""),
    Row("SPAWN", "H", "", "cgroup?:cgroup other?:cgroup", "flags:clone first:number affinity:cpus", hints={
        EAGAIN: PIDS_LIMIT,
        EBUSY: "the cgroup has given controllers to groups below, so it takes no processes: name one that does by exec --cgroup"},
        guards="CVE-2019-5736"),
    Row("PLAN", "H", ""),

    # the host alone, at a SYNC
    Row("UNIT", "H", "", ">cgroup:cgroup", "root:hostpath path:text bus:word unit:text"),
    Row("ADOPT", "H", "", "", "bus:word unit:text below:text"),
    Row("MAPS", "H", "", "", "uid_map:lines gid_map:lines setgroups:word helpers:programs", guards="CVE-2014-8989"),
    Row("TIMENS", "H", "", "", "offsets:lines"),
    Row("NETNS", "H", "", ">netns:ns"),
    Row("NETDEV", "H", "", "netns:ns", "name:text wanted:text"),
    Row("STATE_JSON", "H", "", ">state:memfd", "status:word"),
    Row("CONSOLE", "H", "", "master:pty"),
    Row("RLIMITS", "H", "", "", "limits:limits"),
    Row("AGENT", "H", "", "notify:notify", "path:text metadata:word"),
    Row("PIDFD", "H", "", "", "name:text"),
    Row("GIVE_STDIO", "H", "", "", "uid:id"),
    Row("CREATED", "H", ""),
    Row("CGROUP_OF", "H", "", ">cgroup:cgroup", "root:hostpath path:text"),
    Row("CGROUP_OF_INIT", "H", "", ">cgroup:cgroup", "root:hostpath path:text"),
    Row("ROOT_OF", "H", "", ">root:root"),
    Row("EXECED", "H", ""),
)
OPS = {row.name: row for row in ROWS}
INIT = tuple([row for row in ROWS if row.phase])  # in the order of their numbers
for number, row in enumerate(INIT):
    row.code = number
