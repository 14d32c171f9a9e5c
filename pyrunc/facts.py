"""What the compiler must know of the host, as one frozen value.

The compiler is pure: it never asks the host, it is given Facts. `probe()` asks, once per create; `named(...)` gives the
fixed sets that goldens and `explain --facts` use; `load(dict)` reads what state.json or a file recorded.
"""

from __future__ import annotations

import posix

from .config.names import CAPABILITIES
from .errors import Error
from .typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SIZE = 1 << 16
CGROUP2_MAGIC = 0x63677270
INITIAL_USERNS = 0xEFFFFFFD  # inode of the first user namespace, include/linux/proc_ns.h

Value = str | int | bool | list[list[str]]

DEFAULTS: dict[str, Value] = {
    "euid": 0,
    "egid": 0,
    "userns": False,         # runs in a user namespace that is not the initial one
    "cgroup": "v2",          # v2, hybrid, v1 or none
    "cgroup_root": "/sys/fs/cgroup",
    "cgroup_own": "/",       # own cgroup in the cgroup2 tree
    "cgroup_v1": [],         # [[controllers, mount point, own path], ...] of every v1 hierarchy
    "systemd": 0,            # version of the systemd that makes groups; 0 if it is not asked to
    "systemd_group": "",     # its own group: slices are below it
    "apparmor": False,
    "selinux": False,
    "setgroups": True,       # setgroups(2) is allowed here
    "newuidmap": "",         # what writes maps that an ordinary user may not, "" if there is none on PATH
    "newgidmap": "",
    "kcore": False,          # the kernel has /proc/kcore
    "cpus": "",              # CPUs online, list format
    "resctrl": "",           # where resctrl is mounted; looked for only when a config has intelRdt
    "lacking": 0,            # capabilities that root here does not have, as a mask
}

NAMED: dict[str, dict[str, Value]] = {
    "root-v2": {"systemd": 252},
    "root-hybrid": {
        "cgroup": "hybrid",
        "cgroup_root": "/sys/fs/cgroup/unified",
        "cgroup_v1": [
            ["cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct", "/"],
            ["memory", "/sys/fs/cgroup/memory", "/"],
            ["name=systemd", "/sys/fs/cgroup/systemd", "/user.slice"],
        ],
    },
    "root-lacking": {"lacking": 1 << CAPABILITIES["CAP_SYS_ADMIN"]},
    "root-lsm": {"apparmor": True, "selinux": True, "kcore": True},
    "root-rdt": {"resctrl": "/sys/fs/resctrl"},
    "rootless-v2": {"euid": 1000, "egid": 1000, "cgroup_own": "/user.slice/user-1000.slice", "systemd": 252,
                    "systemd_group": "user.slice/user-1000.slice/user@1000.service", "newuidmap": "/usr/bin/newuidmap",
                    "newgidmap": "/usr/bin/newgidmap"},
    # as rootless Podman calls: root, of a user namespace
    "userns-v2": {"userns": True, "cgroup_own": "/user.slice/user-1000.slice/libpod"},
    "none": {"cgroup": "none", "cgroup_root": ""},
}


class Facts:
    """See DEFAULTS for the fields."""

    __slots__ = tuple(DEFAULTS)
    euid: int
    egid: int
    userns: bool
    cgroup: str
    cgroup_root: str
    cgroup_own: str
    cgroup_v1: list[list[str]]
    systemd: int
    systemd_group: str
    apparmor: bool
    selinux: bool
    setgroups: bool
    newuidmap: str
    newgidmap: str
    kcore: bool
    cpus: str
    resctrl: str
    lacking: int

    def __init__(self, **fields: Value) -> None:
        for name, value in {**DEFAULTS, **fields}.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("facts are frozen")

    @property
    def privileged(self) -> bool:
        """May mount in the host's namespaces, so bind sources are opened there before the container's tree exists."""
        return self.euid == 0 and not self.userns

    def dump(self) -> dict[str, Value]:
        return {name: getattr(self, name) for name in self.__slots__}


def load(fields: Mapping[str, Value]) -> Facts:
    """Facts from a JSON object (a file for `explain --facts`, or state.json)."""
    unknown = [name for name in fields if name not in DEFAULTS]
    if unknown:
        raise Error(f"facts: unknown field {unknown[0]!r}")
    for name, value in fields.items():
        if type(value) is not type(DEFAULTS[name]):
            raise Error(f"facts: {name}: must be of type {type(DEFAULTS[name]).__name__}")
    return Facts(**fields)


def named(name: str) -> Facts:
    return Facts(**NAMED[name])


def probe(rdt: bool = False) -> Facts:
    """The host as it is now. Reads five files of /proc and makes three statfs calls. rdt: is resctrl of interest?"""
    from .kernel import magic

    own, v1 = _cgroups()
    mode, root = "none", ""
    if magic("/sys/fs/cgroup") == CGROUP2_MAGIC:
        mode, root = "v2", "/sys/fs/cgroup"
    elif magic("/sys/fs/cgroup/unified") == CGROUP2_MAGIC:
        mode, root = "hybrid", "/sys/fs/cgroup/unified"
    elif v1:
        mode = "v1"
    return Facts(
        euid=posix.geteuid(),
        egid=posix.getegid(),
        userns=in_userns(),
        cgroup=mode,
        cgroup_root=root,
        cgroup_own=own,
        cgroup_v1=[] if mode == "v2" else _v1_mounts(v1),
        apparmor=read("/sys/module/apparmor/parameters/enabled", whole=True)[:1] == b"Y",
        selinux=magic("/sys/fs/selinux") == 0xF97CFF8C,
        setgroups=read("/proc/self/setgroups", whole=True) != b"deny\n",
        newuidmap=_on_path("newuidmap") if posix.geteuid() else "",
        newgidmap=_on_path("newgidmap") if posix.geteuid() else "",
        kcore=posix.access("/proc/kcore", posix.F_OK),
        resctrl=resctrl_in(read("/proc/self/mountinfo").decode("utf-8", "surrogateescape")) if rdt else "",
        lacking=_lacking() if posix.geteuid() == 0 else 0,
    )


def _lacking() -> int:
    """Of the capabilities that have a name, what is not both permitted and in the bounding set."""
    status = read("/proc/self/status", whole=True)
    permitted, bounding = [status.partition(key)[2][:16] for key in (b"\nCapPrm:\t", b"\nCapBnd:\t")]
    return (1 << len(CAPABILITIES)) - 1 & ~(int(permitted, 16) & int(bounding, 16)) if bounding else 0


def read(path: str, whole: bool = False) -> bytes:
    """All of a small file, or nothing if it cannot be opened. whole: one that the kernel shows whole to who has room for it, so what
    is less than asked for is all; others, which have a record a line (seq_file), it shows in parts, and an empty one is the end."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return b""
    try:
        parts = [posix.read(fd, SIZE)]
        while len(parts[-1]) == SIZE if whole else parts[-1]:
            parts.append(posix.read(fd, SIZE))
        return b"".join(parts)
    finally:
        posix.close(fd)


def resctrl_in(mountinfo: str) -> str:
    """The mount point of resctrl in the text of /proc/self/mountinfo, or ""."""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        if right.startswith("resctrl "):
            return left.split(" ")[4].replace("\\040", " ")
    return ""


def _on_path(program: str) -> str:
    """Where the caller's PATH has a program, by absolute directories only; "" if nowhere."""
    for directory in posix.environ.get(b"PATH", b"").decode("utf-8", "surrogateescape").split(":"):
        path = f"{directory}/{program}"
        if directory[:1] == "/" and posix.access(path, posix.X_OK):
            return path
    return ""


def in_userns() -> bool:
    """By the namespace's inode, not by its map: a full map does not make a namespace the initial one (runc 1.5.2)."""
    try:
        return posix.stat("/proc/self/ns/user").st_ino != INITIAL_USERNS
    except OSError:
        return False


def _cgroups() -> tuple[str, dict[str, str]]:
    """(own path in cgroup2, {v1 controllers: own path}) from /proc/self/cgroup."""
    own = "/"
    v1: dict[str, str] = {}
    for line in read("/proc/self/cgroup", whole=True).decode("utf-8", "surrogateescape").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers:
            v1[controllers] = path
        else:
            own = path
    return own, v1


def _v1_mounts(own: dict[str, str]) -> list[list[str]]:
    """Mount points of the v1 hierarchies we are in, from mountinfo, the first of each; the mount's root is taken off our path."""
    found: list[list[str]] = []
    wanted = [(controllers, {*controllers.split(",")}, path) for controllers, path in own.items()]
    for line in read("/proc/self/mountinfo").decode("utf-8", "surrogateescape").splitlines():
        left, _, right = line.partition(" - ")
        if not right.startswith("cgroup "):
            continue
        root, point = left.split(" ")[3:5]
        options = right.split(" ")[2].split(",")
        for row in wanted:
            controllers, names, path = row
            if names.issubset(options):
                inside = path[len(root):] if root != "/" and path.startswith(root) else path
                found.append([controllers, point, inside or "/"])
                wanted.remove(row)
                break
    return found
