"""What went wrong, for people: (op, step, errno) of a failed op -> one line. Text belongs to the parent."""

import posix

from ..config.mountopts import STRING_MAX
from ..config.names import RLIMITS
from ..errors import Error
from . import sealed
from .optable import STEPS, TREE_RECURSIVE

STEP_WORDS = {
    "open": "open", "create": "create", "clone": "open_tree", "move": "move_mount", "attr": "mount_setattr",
    "fsopen": "fsopen", "fsconfig": "fsconfig", "fscreate": "fsconfig", "fsmount": "fsmount", "stat": "stat",
    "verify": "verify", "read": "read", "write": "write", "unlink": "unlink", "chown": "chown", "chmod": "chmod",
    "ioctl": "ioctl", "dup": "dup", "fork": "fork", "umount": "umount", "chdir": "chdir", "peer": "TIOCGPTPEER", "label": "fsetxattr",
}
EPERM, ENOENT, ESRCH, EAGAIN, EACCES, EBUSY, EXDEV, ENOTDIR = 1, 2, 3, 11, 13, 16, 18, 20
EISDIR, EINVAL, EMFILE, ENOSPC, ELOOP = 21, 22, 24, 28, 40
EPROTO, MAX_ERRNO = 71, 4095
CLONE_NEWPID = 0x20000000
RET, RET_ERRNO = 6, 5  # BPF_RET|BPF_K; SECCOMP_RET_ERRNO, its high half


def errno_of(err):
    """The errno of a record's `err`, -1 to -4095; EPROTO for what is none: a process in the container can forge a record."""
    return -err if -MAX_ERRNO <= err < 0 else EPROTO


def error(plan, op, errno, step):
    """The Error for op having failed with errno in step (a number of csrc/plan.h enum step)."""
    step, flags = step & 0xFF, step >> 8
    name = STEPS[step] if step < len(STEPS) else "none"
    if name == "locked":
        name = f"cannot clear locked flags {', '.join([name for name, bit in LOCKED.items() if flags & bit])}"
    special = SPECIAL.get(op.name)
    text = special(op, errno, name) if special else None
    if op.name == "LOOKUP":  # the candidates do not say what was asked for: without a PATH there are none
        text = _lookup(plan.ops[-1].args[0][0], errno)
    if text is None:
        where = STEP_WORDS.get(name, op.name.lower())
        text = f"{subject(op)}: {where}: {posix.strerror(errno).lower()}"
    pointer = op.source if op.source.startswith("/") else None
    prefix = f"{plan.place(pointer)}: " if pointer else ""
    return Error(f"{prefix}{text}", hint=hint(plan, op, errno), pointer=pointer, errno=errno)


def has_run(step):
    """Whether a hook has failed by its own end: it was found, executed, and in time."""
    return step < len(STEPS) and STEPS[step] in ("exit", "signalled")


def locked(plan, op, flags):
    """The Error for MOUNT_ATTR_* that would have to be cleared and may not."""
    return error(plan, op, EPERM, STEPS.index("locked") | flags << 8)


def subject(op):
    """The op and the name it is about: `mount sysfs on "sys"`, `sysctl "net.x"`."""
    _, args = op.signature()
    for key in ("path", "type", "name"):
        if key in args:
            value = op.args[args.index(key)]
            return f'{op.name.lower()} "{"/" if key == "path" and value[:1] != "/" else ""}{value}"'
    return op.name.lower()


def filtered(plan, op, errno):
    """Whether the filter, loaded before this op, may be what has answered so: it knows that errno."""
    for other in plan.ops:
        if other.name == "SECCOMP" and other.index < op.index:
            code = other.args[0]
            returns = [code[at + 4:at + 8] for at in range(0, len(code), 8) if code[at] == RET]
            return (RET_ERRNO << 16 | errno).to_bytes(4, "little") in returns
    return False


def hint(plan, op, errno):
    if filtered(plan, op, errno):
        return f"the container's seccomp filter is already in force: it has to allow {sealed.needed(op.name)}"
    if op.name in ("FSMOUNT", "MOUNT", "ATTACH") and errno == EPERM:
        if op.name != "ATTACH" and op.args[0] == "proc":
            return PROC_HINTS[_has_new_pid(plan)]
        return "a user namespace can mount only some types of file system, and sysfs only where it owns the network namespace"
    if errno == EMFILE and op.role == "M":
        return TOO_MANY
    if op.name == "FSMOUNT" and errno == EINVAL and max(map(len, op.args[1])) > STRING_MAX:
        return f"without a new mount namespace, an option has at most {STRING_MAX} bytes"
    if op.name == "FORK" and errno == EAGAIN:
        return "the pids limit of the container's cgroup, or of its user, is reached"
    if op.name == "LOOKUP" and errno == ELOOP:
        return "a symbolic link of that name exists: too many levels of symbolic links"
    if op.name == "JOIN" and errno == ENOSPC:
        return "a v1 cpuset takes no process before it has cpuset.cpus and cpuset.mems"
    if op.name == "SCHED" and errno == EPERM:
        return "SCHED_DEADLINE needs all CPUs: the kernel refuses it in a restricted cpuset"
    if op.name in ("TREE", "SOURCE", "SETATTR") and errno == EPERM:
        return "a user namespace keeps the read-only, nosuid, nodev, noexec and access time flags of the host's mounts"
    if op.name == "TREE" and op.role != "H" and errno == EINVAL and not op.args[1] & TREE_RECURSIVE:
        return "in a user namespace, a directory can only be bound together with the mounts below it: use rbind"
    if op.name == "PIVOT" and errno == EINVAL:
        return "the caller's root cannot be replaced (an initramfs or a chroot): run with --no-pivot"
    if op.name == "SLAVE" and errno == EINVAL:
        return "the caller's root is not a mount point (a chroot): bind it on itself before entering it"
    if op.name == "PURGE":
        return "without pivot_root, a procfs or sysfs of the host that stays would let the container mount its own without masks"
    if op.name in ("VERIFY_DEV", "TREE") and op.source.startswith("/linux/devices/"):
        return "in a user namespace, a device is the host's node of the same path: only root of the host can make a missing one"
    if op.name == "NEWPROC" and errno == EPERM:
        return PROC_HINTS[_has_new_pid(plan)]
    if op.name == "OOM" and errno == EACCES:
        return "without privilege, oomScoreAdj can only be raised above the caller's value"
    return None


TOO_MANY = "without privilege, every bind source and every device is held open until it is mounted: raise the hard limit of open " \
           "files (ulimit -Hn) above their number"

# of update and create: what the kernel says in a number, by the file's last part
_IDLE = "a group with cpu.idle 1 has no shares"
_BANDWIDTH = "in microseconds, a period is 1000 to 1000000 and a quota at least 1000; a group has no more than the groups above it"
LIMIT_HINTS = {
    ("memory.limit_in_bytes", EBUSY): "more than that is in use and could not be reclaimed",
    ("memory.memsw.limit_in_bytes", EBUSY): "more than that is in use and could not be reclaimed",
    ("cpu.shares", EINVAL): _IDLE, ("cpu.weight", EINVAL): _IDLE,
    ("cpu.cfs_quota_us", EINVAL): _BANDWIDTH, ("cpu.cfs_period_us", EINVAL): _BANDWIDTH, ("cpu.max", EINVAL): _BANDWIDTH,
    ("cpu.rt_period_us", EINVAL): "the period must not be below the realtime runtime in force",
    ("cpuset.cpus", EACCES): "the groups above do not have these CPUs", ("cpuset.mems", EACCES): "the groups above do not have these nodes",
}


# mount_too_revealing() of fs/namespace.c, and who may mount a procfs at all; by whether the pid namespace is a new one
PROC_HINTS = {
    False: "only the owner of a pid namespace can mount its procfs: make a new pid namespace, or bind the host's /proc (rbind /proc)",
    True: "something is mounted over parts of the caller's own /proc, and a new procfs would show what is "
          "hidden: uncover these parts, or bind /proc (rbind /proc)",
}


def _has_new_pid(plan):
    flags = [op.args[0] for op in plan.ops if op.name in ("UNSHARE", "SPAWN")]
    return any([flag & CLONE_NEWPID for flag in flags])


def _lookup(name, errno):
    # what it cannot look at and directories it passes over, wherever they stand; a manager takes its exit status from these words
    if errno in (ENOENT, ENOTDIR, EISDIR, ELOOP) and "/" not in name:
        return f'exec: "{name}": executable file not found in $PATH'
    return f'exec: "{name}": {"is a directory" if errno == EISDIR else posix.strerror(errno).lower()}'


def _exec(op, errno, step):
    return f'exec: "{op.args[0][0]}": {posix.strerror(errno).lower()}'


SIGNAL_WORDS = {9: "killed", 15: "terminated", 2: "interrupt", 11: "segmentation fault", 6: "aborted", 1: "hangup"}


def _hook(op, errno, step):
    kind, _, number = op.source[len("/hooks/"):].partition("/")
    what = {
        "exit": f"exit status {errno}",
        "signalled": f"signal: {SIGNAL_WORDS.get(errno, errno)}",
        "timeout": f"hook ran past specified timeout of {op.args[3]}.0s",
        "exec": f"fork/exec {op.args[0]}: {posix.strerror(errno).lower()}",
    }.get(step, posix.strerror(errno).lower())
    return f"error running {kind} hook #{number}: {what}"


def _attach(op, errno, step):
    if step == "notproc":
        return f'"/{op.args[0]}" cannot be mounted because it is not of type proc'
    if step in ("symlink", "notdir"):
        return f'filesystem "{op.args[0]}" must be mounted on ordinary directory'
    if step == "verify":
        return f'"/{op.args[0]}" cannot be mounted because it is inside /proc'
    return f'mount on "/{op.args[0]}": {STEP_WORDS.get(step, step)}: {posix.strerror(errno).lower()}'


def _cwd(op, errno, step):
    if errno == EXDEV:
        return "current working directory is outside of container mount namespace root -- possible container breakout"
    where = f' to "/{op.args[0]}"'.replace('"/."', '"/"') if op.name == "CHDIR" else ""
    return f"chdir{where}: {posix.strerror(errno).lower()}"


def rlimit(resource):
    """The name of a number of getrlimit(2)."""
    return next((name for name, number in RLIMITS.items() if number == resource), f"limit {resource}")


def _rlimit(op, errno, step):
    return f"setrlimit {rlimit(op.args[0])} to {op.args[1]}, {op.args[2]}: {posix.strerror(errno).lower()}"


def _sysctl(op, errno, step):
    return f'write sysctl "{op.args[0][4:]}" value "{op.args[1]}": {_proc_fault(errno)}'


def _proc_fault(errno):
    return "something is mounted over this part of /proc" if errno == EXDEV else posix.strerror(errno).lower()


def _newproc(op, errno, step):
    return f"a procfs for sysctls and labels: {STEP_WORDS.get(step, step)}: {posix.strerror(errno).lower()}"


def _openproc(op, errno, step):
    return f'sysctls and labels: "/proc"{" is not a procfs" if step == "notproc" else ": " + posix.strerror(errno).lower()}'


def _verify_dev(op, errno, step):
    mode, dev = op.args
    kind, major, minor = "b" if mode & 0o170000 == 0o060000 else "c", dev >> 8 & 0xFFF, dev & 0xFF | dev >> 12 & 0xFFF00
    return f"the host's node of this path is not the device {kind} {major}:{minor}"


def _tree(op, errno, step):
    call = "open_tree" if op.name == "TREE" and step in ("open", "none") else "mount_setattr"
    about = f" {op.args[0]}" if op.name != "SETATTR" else ""
    if op.role != "H" and op.name == "TREE" and op.slots[1]:
        about = f' "/{op.args[0]}" of the container'
    why = f"{step}: " if step[:6] == "cannot" else ""
    return f"{call}{about}: {why}{posix.strerror(errno).lower()}"


def _fsmount(op, errno, step):
    data = op.args[3] if op.name == "MOUNT" else ",".join(op.args[1])
    data = data if len(data) <= 400 else data[:400] + "..."
    call = STEP_WORDS.get(step, step) if op.name == "FSMOUNT" or step not in ("fsconfig", "fscreate") else "mount"
    return f"mount {op.args[0]}: {call} {data}: {posix.strerror(errno).lower()}"


def _setid(op, errno, step):
    if errno == EINVAL:
        return f"cannot set uid {op.args[0]} and gid {op.args[1]}: unmapped user in user namespace"
    return f"setresuid {op.args[0]}, setresgid {op.args[1]}: {posix.strerror(errno).lower()}"


def _become(op, errno, step):
    if errno == EINVAL:
        return "user namespaces enabled, but no mapping found for uid 0 and gid 0"
    return f"become root of the user namespace: {posix.strerror(errno).lower()}"


def _apparmor(op, errno, step):
    return f"apply label {op.args[1]!r}: {_proc_fault(errno)}"


def _caps(op, errno, step):
    return f"capset: {posix.strerror(errno).lower()}"


def _setns(op, errno, step):
    return "cannot exec in a stopped container" if errno == ESRCH else None


def _join(op, errno, step):
    return f"join the {op.slots[0].partition(':')[2]} cgroup: {posix.strerror(errno).lower()}"


LOCKED = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "atime": 0xF0}
SPECIAL = {
    "TREE": _tree, "SOURCE": _tree, "SETATTR": _tree,
    "NEWPROC": _newproc, "OPENPROC": _openproc, "VERIFY_DEV": _verify_dev,
    "EXEC": _exec, "HOOK": _hook, "ATTACH": _attach, "CHDIR": _cwd, "VERIFY_CWD": _cwd, "CAPS": _caps,
    "SETID": _setid, "BECOME": _become, "SYSCTL": _sysctl, "FSMOUNT": _fsmount, "MOUNT": _fsmount,
    "LABEL": _apparmor, "JOIN": _join, "SETNS": _setns, "RLIMIT": _rlimit,
}
