"""The container's tree: the root, the mounts in their order, and what is made read-only at the end.

A bind source becomes a detached tree, with all its flags, in the host's view of the tree: by the host, or rootless by M right
after the user namespace. A file system is made detached by init. Either is then ATTACHed below the root. Since Linux 6.8
mountinfo lists mounts by the time they were made, and its readers take the later of two for the upper one: so a bind source
listed after a file system is opened when its turn comes, at a SYNC. So are all but the first few of the others: what is opened
before init exists is held all at once, and there may be more binds than descriptors. A source that an earlier mount of the
container brings is cloned by init in its turn, below the root.
"""

from __future__ import annotations

from errno import EACCES, EBADF, EBUSY, EOPNOTSUPP, EPERM

from ..config import mountopts
from ..errors import Error
from ..paths import clean
from ..typed import TYPE_CHECKING
from .optable import (
    ATTACH_CLONE, ATTACH_FILE, ATTACH_IN_PROC, ATTACH_PROC, ATTACH_REAL_DIR, BATCH, TREE_ATTR_REC, TREE_KEEP, TREE_NOFOLLOW,
    TREE_RECURSIVE,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..config.shape import Config
    from ..config.shape import Mount as Entry
    from ..facts import Facts
    from .namespaces import Namespaces
    from .ops import Op
    from .request import Request, Rows
    from .script import Plan

EARLY = 8  # trees that are opened before init exists; more is opened by turns
RDONLY = mountopts.ATTR_RDONLY
SYS_FLAGS = 0xF  # read-only, nosuid, nodev, noexec
# rootfsPropagation -> what host mounts become in the container. `shared` keeps bind sources peers, as runc does; the root is
# never a peer, or what is mounted in it would appear on the host.
PROPAGATION = {
    "shared": 0, "rshared": 0,
    "private": mountopts.MS_PRIVATE, "rprivate": mountopts.MS_PRIVATE,
    "slave": mountopts.MS_SLAVE, "rslave": mountopts.MS_SLAVE,
}
FOLLOWING = ("slave", "rslave", "private", "rprivate")  # else the root is private: what the host mounts there is not for the container
AFTER_PIVOT = {
    "shared": (mountopts.MS_SHARED, False), "rshared": (mountopts.MS_SHARED, True),
    "unbindable": (mountopts.MS_UNBINDABLE, False), "runbindable": (mountopts.MS_UNBINDABLE, True),
}


# mount(8): what sets the label of a file system; and what takes none from us, as with runc
CONTEXTS = ("context", "fscontext", "defcontext", "rootcontext")
UNLABELLED = ("proc", "sysfs", "cgroup", "cgroup2", "mqueue")


def _is_context(option: str) -> bool:
    """Quotes, which keep mount(2) from cutting a label at its commas, are no part of one to fsconfig(2)."""
    return option.partition("=")[0] in CONTEXTS


def relative(path: str) -> str:
    """A container path as the root slot takes it: no leading slash; the root itself is "."."""
    return path.strip("/") or "."


class Mount:
    """One entry of mounts[]: its options parsed, its slot named after its position; a remount has that of the mount before it."""

    __slots__ = ("entry", "options", "slot", "at", "path", "kind", "late", "fallback", "inner", "locked", "label")

    def __init__(self, index: int, entry: Entry, label: str) -> None:
        self.entry = entry
        self.options = mountopts.parse(entry.get("options", []))
        self.slot = f"m{index}"
        self.at = f"/mounts/{index}"
        self.path = relative(clean(entry["destination"]))
        self.kind = "bind" if self.options.bind else entry.get("type", "")
        self.label = label
        self.late = False  # what lies on the host for it is opened when its turn comes
        self.fallback: str | None = None  # the slot of that, for in case that a fresh mount is refused
        self.inner: str | None = None  # of a bind: the path below the root of what earlier mounts bring, which init clones
        self.locked = False  # whether that lies on the host after all, so that its flags are locked in a user namespace

    def data(self, kind: str, quote: str = "") -> list[str]:
        """The options for a file system of this kind, with SELinux's label of all files in it unless they give one. quote: what
        stands around a label, nothing for fsconfig(2), for mount(2) a quotation mark, since there may be commas in it."""
        data = [option if quote or not _is_context(option) else option.replace('"', "") for option in self.options.data]
        labelled = self.label and kind not in UNLABELLED and not any([_is_context(option) for option in data])
        return [*data, f"context={quote}{self.label}{quote}"] if labelled else data

    def cgroup(self) -> bool:
        return self.kind in ("cgroup", "cgroup2")

    def in_proc(self) -> int:
        """ATTACH_IN_PROC for /proc and the files below it that the rules let through."""
        return ATTACH_IN_PROC if self.path == "proc" or self.path.startswith("proc/") else 0

    def late_readonly(self) -> bool:
        """A read-only tmpfs is filled by later mounts and devices first, and made read-only at the end."""
        return self.kind == "tmpfs" and bool(self.options.attr_set & RDONLY)


def mounts(config: Config) -> list[Mount]:
    label = config.get("linux", {}).get("mountLabel", "")
    listed, slots = [Mount(i, entry, label) for i, entry in enumerate(config.get("mounts", []))], {".": "rootfs"}
    for mount in listed:
        if mount.options.remount and mount.path in slots:
            mount.kind, mount.slot = "remount", slots[mount.path]
        slots[mount.path] = mount.slot
    return listed


def binds_dev(all_mounts: Sequence[Mount]) -> bool:
    """Whether the user binds something over /dev: then no node, link or console is put there."""
    return any([m.path == "dev" and m.kind == "bind" for m in all_mounts])


# --- acquire: detached trees of what lies on the host ---


def acquire(plan: Plan, role: str, config: Config, all_mounts: Sequence[Mount], request: Request, facts: Facts,
            ns: Namespaces) -> None:
    """TREE ops: the root and every bind source. role H when privileged, else M or I."""
    base = _base(config)
    root = join(request.bundle, config["root"]["path"])
    plan.source = "/root/path"
    if ns.private("mount"):
        plan.add(role, "TREE", ("rootfs",), (root, TREE_RECURSIVE | TREE_NOFOLLOW, 0, 0, base or mountopts.MS_SLAVE, 0))
        if config.get("linux", {}).get("rootfsPropagation") not in FOLLOWING:
            propagate(plan, role, "rootfs", mountopts.MS_PRIVATE)
    elif on_itself(config, all_mounts):
        plan.add(role, "TREE", ("rootfs",), (root, TREE_RECURSIVE | TREE_NOFOLLOW, 0, 0, mountopts.MS_PRIVATE, 0), source="/root/readonly")
    else:  # mounts land on the host, below this directory; delete takes them away
        plan.add("H", "HOSTDIR", ("root",), (root,))
    _find_inner(all_mounts, request.inside)
    fresh, early, inside = False, 0, in_user_namespace(ns, facts)
    for mount in all_mounts:
        if mount.inner is not None:
            fresh = True
            continue
        if role == "H" and (mount.kind == "bind" or inside and (mount.kind == "sysfs" or mount.cgroup() and facts.cgroup == "v2")):
            mount.late = early == EARLY or fresh and mount.kind == "bind"
            early += not mount.late
        fresh = fresh or mount.kind not in ("bind", "remount")
        if not mount.late:
            _open(plan, role, mount, base, request, ns, facts)


def _open(plan: Plan, role: str, mount: Mount, base: int, request: Request, ns: Namespaces, facts: Facts) -> None:
    """What lies on the host for one mount."""
    plan.source = mount.at
    if mount.kind == "bind":
        _bind(plan, role, mount, base, request, ns, facts)
    elif mount.kind == "sysfs" and in_user_namespace(ns, facts):
        _acquire_sys(plan, role, mount, base)
    elif mount.cgroup():
        _acquire_cgroup(plan, role, mount, facts, ns, base, request.cgroup_v1)


def _find_inner(all_mounts: Sequence[Mount], inside: Mapping[str, str]) -> None:
    """A source below the root that lies on an earlier mount, or is bound with one that lies below it, is the container's."""
    points: dict[str, str] = {}  # where something is mounted already
    above: set[str] = set()  # and what lies on the way there
    for i, mount in enumerate(all_mounts):
        path = inside.get(str(i)) if mount.kind == "bind" else None
        if path is not None:
            on = [part for part in _steps(path) if part in points][-1:]
            if on or mount.options.recursive and (path or ".") in above:
                mount.inner, mount.locked = path or ".", not on or points[on[0]] == "bind"
        if mount.kind != "remount":
            points[mount.path] = mount.kind
            above.update((".", *_steps(mount.path)[:-1]))


def _steps(path: str) -> list[str]:
    """a, a/b, a/b/c"""
    parts = path.split("/") if path else []
    return ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]


def on_itself(config: Config, all_mounts: Sequence[Mount]) -> bool:
    """Without a mount namespace: whether the root has flags of its own, so that on the host a mount of it lies over it while
    the container is there. Private, or taking that away would reach what is mounted in the root itself."""
    return bool(config["root"].get("readonly")) or any([m.kind == "remount" and m.slot == "rootfs" for m in all_mounts])


def _base(config: Config) -> int:
    """What mounts of the host become in the container, as a propagation of mount_setattr(2)."""
    return PROPAGATION.get(config.get("linux", {}).get("rootfsPropagation", ""), mountopts.MS_SLAVE)


def join(bundle: str, path: str) -> str:
    return path if path.startswith("/") else f"{bundle}/{path}"


def in_user_namespace(ns: Namespaces, facts: Facts) -> bool:
    """Whether the container will be in one that is not the initial one."""
    return ns.private("user") or not facts.privileged


def _acquire_sys(plan: Plan, role: str, mount: Mount, base: int) -> None:
    """The host's /sys, for where a fresh one is refused: the network namespace, or all of /sys being visible, decides.
    Read-only to the last mount in it: among them are the host's cgroups (CVE-2023-25809)."""
    mount.fallback = f"{mount.slot}-host"
    plan.add(role, "TREE", (mount.fallback,), ("/sys", TREE_RECURSIVE | TREE_ATTR_REC, SYS_FLAGS, 0, base, 0))


def _bind(plan: Plan, role: str, mount: Mount, base: int, request: Request, ns: Namespaces, facts: Facts) -> None:
    """TREE and what follows. From an earlier mount (mount.inner) role is I, and for an id mapping the host is handed the tree."""
    opts, flags = mount.options, TREE_RECURSIVE if mount.options.recursive else 0
    source = join(request.bundle, mount.entry.get("source", "")) if mount.inner is None else mount.inner
    set_, clear = mountopts.bind_attrs(opts) if opts.any_flag else (0, 0)
    if in_user_namespace(ns, facts) and (role == "H" or mount.locked and facts.privileged):
        flags |= TREE_KEEP
    opened = None if mount.inner is None else "root"
    if role == "H" and flags & TREE_KEEP and opts.recursive and (opts.rec_attr_set or opts.rec_attr_clr):
        opened = f"{mount.slot}-source"
        plan.add("H", "SOURCE", (opened,), (source, opts.rec_attr_set, opts.rec_attr_clr))
    plan.add(role, "TREE", (mount.slot, opened), (source, flags, set_, clear, base, mountopts.explicit(opts)))
    if mount.inner is not None and _has_idmap(mount):
        plan.sync(role, send=mount.slot)
    _idmap(plan, mount, ns, facts)
    _adjust(plan, role, mount, flags & TREE_KEEP)


def _adjust(plan: Plan, role: str, mount: Mount, keep: int) -> None:
    """Recursive flags, then propagation, each on the detached tree, in the order of the options."""
    opts = mount.options
    if opts.rec_attr_set or opts.rec_attr_clr:
        args = (keep | TREE_ATTR_REC, opts.rec_attr_set, opts.rec_attr_clr, 0, opts.rec_attr_clr & mountopts.LOCKABLE)
        plan.add(role, "SETATTR", (mount.slot,), args)
    for kind, recursive in opts.propagation:
        propagate(plan, role, mount.slot, kind, recursive)


def propagate(plan: Plan, role: str, slot: str, kind: int, recursive: bool = False, tolerate: tuple[int, ...] = (),
              unless: Op | None = None, source: str | None = None) -> None:
    flags = TREE_ATTR_REC if recursive else 0
    plan.add(role, "SETATTR", (slot,), (flags, 0, 0, kind, 0), tolerate, unless, source)


def readonly(plan: Plan, slot: str, source: str | None = None) -> None:
    plan.add("I", "SETATTR", (slot,), (0, RDONLY, 0, 0, 0), source=source)


def _has_idmap(mount: Mount) -> bool:
    return bool(mount.options.idmap or mount.entry.get("uidMappings") or mount.entry.get("gidMappings"))


def _idmap(plan: Plan, mount: Mount, ns: Namespaces, facts: Facts) -> None:
    """A user namespace with the wanted maps exists only to be named here: the maps are what counts, not whose they are."""
    if not _has_idmap(mount):
        return
    maps = mount.entry.get("uidMappings") or [], mount.entry.get("gidMappings") or []
    if not facts.privileged:
        raise Error(f"config.json: {mount.at}: id-mapped mounts are not supported for rootless containers", pointer=mount.at)
    from .namespaces import id_map

    if not maps[0] and ns.has_mapping():
        maps = ns.config["uidMappings"], ns.config["gidMappings"]
    elif not maps[0] and "user" in ns.joined:
        plan.add("H", "IDMAP", (mount.slot, "ns-user"), (int(mount.options.ridmap),))
        return
    elif not maps[0]:
        raise Error(f"config.json: {mount.at}: idmap without mappings needs a user namespace to take them from", pointer=mount.at)
    userns = f"{mount.slot}-userns"
    plan.add("H", "USERNS", (userns,), (id_map(maps[0]), id_map(maps[1])))
    plan.add("H", "IDMAP", (mount.slot, userns), (int(mount.options.ridmap),))


def _acquire_cgroup(plan: Plan, role: str, mount: Mount, facts: Facts, ns: Namespaces, base: int, groups: Rows) -> None:
    """What the container sees of cgroups if it may not, or need not, mount them itself: on v1 its own groups."""
    set_ = mount.options.attr_set  # added to the host's flags, of which some are locked where root is a namespace's
    if in_user_namespace(ns, facts):  # access times are always locked there
        set_ &= ~mountopts.ATTR_ATIME
    clear = mountopts.ATTR_ATIME if set_ & mountopts.ATTR_ATIME else 0  # a field: mount_setattr(2) wants it cleared to be set
    if facts.cgroup == "v2":
        path = facts.cgroup_root + ("" if "cgroup" not in ns.new else facts.cgroup_own.rstrip("/"))
        if in_user_namespace(ns, facts):
            mount.fallback = f"{mount.slot}-host"
            plan.add(role, "TREE", (mount.fallback,), (path, TREE_RECURSIVE, set_ | RDONLY, clear, base, 0))
    elif "cgroup" not in ns.new:
        made = {point: f"/{path}" for _, point, path in groups}
        for i, (_, point, own) in enumerate(facts.cgroup_v1):
            plan.add(role, "TREE", (f"{mount.slot}-{i}",), (point + made.get(point, own.rstrip("/")), 0, set_, clear, base, 0))


# --- mount: init's part ---


def attach(plan: Plan, config: Config, request: Request, ns: Namespaces, facts: Facts, all_mounts: Sequence[Mount],
           proc: bool) -> None:
    """Everything from entering the tree to the last mount. `proc`: a detached proc is needed later."""
    root = clean(join(request.bundle, config["root"]["path"]))
    plan.source = "/root/path"
    if ns.private("mount"):
        plan.add("I", "SLAVE", (), (mountopts.MS_SLAVE,))
    if proc:
        bound = _bound_proc(all_mounts) if in_user_namespace(ns, facts) else None
        fresh = plan.add("I", "NEWPROC", ("proc",), (), (EPERM,) if bound else (), source="default: detached proc")
    if ns.private("mount"):
        there = plan.add("I", "ROOT", ("rootfs", "root"), (relative(root),), (EACCES,))
        plan.add("I", "ROOT", ("rootfs", "root"), (".",), unless=there)
    elif on_itself(config, all_mounts):
        plan.add("I", "ROOT", ("rootfs", "root"), (relative(root),))
    opened = 0
    for i, mount in enumerate(all_mounts):
        if mount.late and i >= opened:
            opened = _open_late(plan, config, request, ns, facts, all_mounts, i)
        plan.source = mount.at
        if mount.cgroup():
            _cgroup(plan, mount, facts, ns)
        elif mount.kind == "bind":
            if mount.inner is not None:
                _bind(plan, "I", mount, _base(config), request, ns, facts)
            real = ATTACH_PROC if mount.path == "proc" else 0  # or labels and sysctls are written to something else
            plan.add("I", "ATTACH", (mount.slot, "root"), (mount.path, mount.in_proc() | real, 0o644))
        elif mount.kind == "remount":
            _remount(plan, mount, all_mounts, in_user_namespace(ns, facts))
        else:
            _filesystem(plan, mount, ns)
    if proc and bound:
        plan.add("I", "OPENPROC", ("proc", "root"), unless=fresh, source=bound.at)


def _bound_proc(all_mounts: Sequence[Mount]) -> Mount | None:
    """The bind over /proc: what a user namespace writes sysctls and labels to if its pid namespace is another's."""
    return next((mount for mount in reversed(all_mounts) if mount.path == "proc" and mount.kind == "bind"), None)


def _remount(plan: Plan, mount: Mount, all_mounts: Sequence[Mount], userns: bool) -> None:
    """In a user namespace what lies on the host, the root and binds, has locked flags; what init has made has none."""
    host = mount.slot == "rootfs" or any([other.slot == mount.slot and other.kind == "bind" for other in all_mounts])
    keep = TREE_KEEP if userns and host else 0
    args = (keep, *mountopts.bind_attrs(mount.options), 0, mountopts.explicit(mount.options))
    plan.add("I", "SETATTR", (mount.slot,), args)


def _open_late(plan: Plan, config: Config, request: Request, ns: Namespaces, facts: Facts, all_mounts: Sequence[Mount],
               first: int) -> int:
    """The host opens what lies there for this mount and those that follow it, as much as a SYNC hands over; where it left off."""
    end = first
    while end < min(first + BATCH, len(all_mounts)) and all_mounts[end].late:
        end += 1
    plan.source = all_mounts[first].at
    sync = plan.sync("I")
    for mount in all_mounts[first:end]:
        _open(plan, "H", mount, _base(config), request, ns, facts)
    plan.hand_over(sync)
    return end


def _options(mount: Mount, source: str | None = None) -> list[str]:
    """What fsconfig(2) is told: source, superblock flags, data."""
    source = mount.entry.get("source") or mount.kind if source is None else source
    return [f"source={source}", *[name for name in _superblock(mount) if name in mountopts.SB_FSCONFIG], *mount.data(mount.kind)]


def _superblock(mount: Mount) -> list[str]:
    """The superblock flags; a tmpfs that is made read-only at the end is writable until then."""
    return [name for name in mount.options.sb_set if name != "ro" or not mount.late_readonly()]


def _filesystem(plan: Plan, mount: Mount, ns: Namespaces) -> None:
    opts = mount.options
    attr = opts.attr_set & ~RDONLY if mount.late_readonly() else opts.attr_set
    keep_mode = mount.kind == "tmpfs" and not any([option.startswith("mode=") for option in opts.data])
    fallback = mount.fallback
    slots, like = (mount.slot, "root" if keep_mode else None), mount.path if keep_mode else ""
    tolerate = (EPERM,) if fallback else ()
    page = mountopts.page(opts, mount.entry.get("source") or mount.kind, mount.data(mount.kind, '"'))
    if page is None or "mount" not in ns.new:  # mount(2) would show to others for a moment
        fresh = plan.add("I", "FSMOUNT", slots, (mount.kind, _options(mount), attr, like), tolerate)
    else:
        flags = sum([mountopts.SB_MS[name] for name in _superblock(mount)])
        fresh = plan.add("I", "MOUNT", slots, (mount.kind, mount.entry.get("source") or mount.kind, flags, page, attr, like), tolerate)
    if mount.kind == "mqueue" and mount.label:
        plan.add("I", "RELABEL", (mount.slot,), (mount.label,), (EOPNOTSUPP,))
    if opts.tmpcopyup and mount.kind == "tmpfs":
        plan.add("I", "COPYUP", (mount.slot, "root"), (mount.path,))
    real = ATTACH_REAL_DIR if mount.kind in ("proc", "sysfs") else 0
    _attach(plan, mount, fresh, fallback, real | mount.in_proc())


def _attach(plan: Plan, mount: Mount, fresh: Op, fallback: str | None, flags: int = 0) -> None:
    refused = (EBADF,) if fallback else ()  # without a fresh mount its slot is empty, and so is what is done to it
    _propagate(plan, mount.slot, mount, refused)
    plan.add("I", "ATTACH", (mount.slot, "root"), (mount.path, flags, 0o644), refused)
    if fallback:
        _propagate(plan, fallback, mount, unless=fresh)
        plan.add("I", "ATTACH", (fallback, "root"), (mount.path, flags, 0o644), unless=fresh)


def _propagate(plan: Plan, slot: str, mount: Mount, tolerate: tuple[int, ...] = (), unless: Op | None = None) -> None:
    for kind, recursive in mount.options.propagation:
        propagate(plan, "I", slot, kind, recursive, tolerate, unless)


def _cgroup(plan: Plan, mount: Mount, facts: Facts, ns: Namespaces) -> None:
    if facts.cgroup == "v2":
        _cgroup2(plan, mount)
    elif facts.cgroup != "none":
        _cgroup1(plan, mount, facts, ns)


def _cgroup2(plan: Plan, mount: Mount) -> None:
    """A fresh cgroup2 mount shows the cgroup namespace's root; where that is refused, the host's tree, read-only."""
    fallback = mount.fallback
    fresh = plan.add(
        "I", "FSMOUNT", (mount.slot,), ("cgroup2", _options(mount, "cgroup"), mount.options.attr_set, ""),
        (EPERM, EBUSY) if fallback else (),
    )
    _attach(plan, mount, fresh, fallback)


NOTHING_TO_RUN = mountopts.ATTR_NOSUID | mountopts.ATTR_NODEV | mountopts.ATTR_NOEXEC


def _cgroup1(plan: Plan, mount: Mount, facts: Facts, ns: Namespaces) -> None:
    """v1: a tmpfs with one directory per hierarchy, and links for those that share one. Nothing in them is a program or a device."""
    attr, label = mount.options.attr_set, [f"context={mount.label}"] if mount.label else []
    plan.add("I", "FSMOUNT", (mount.slot,), ("tmpfs", ["source=tmpfs", "mode=755", *label], attr & ~RDONLY | NOTHING_TO_RUN, ""))
    plan.add("I", "ATTACH", (mount.slot, "root"), (mount.path, 0, 0o755))
    for i, (controllers, point, _) in enumerate(facts.cgroup_v1):
        name = point.rsplit("/", 1)[-1]
        slot = f"{mount.slot}-{i}"
        if "cgroup" in ns.new:
            data = [f"source={controllers.removeprefix('name=') if 'name=' in controllers else 'cgroup'}", *_hierarchy(controllers)]
            plan.add("I", "FSMOUNT", (slot,), ("cgroup", data, attr | NOTHING_TO_RUN, ""))
        plan.add("I", "ATTACH", (slot, "root"), (f"{mount.path}/{name}", 0, 0o755))
        for controller in controllers.split(","):
            if controller != name and "=" not in controller:
                plan.add("I", "LINK", ("root",), (f"{mount.path}/{controller}", name, 0))
    _propagate(plan, mount.slot, mount)
    if attr & RDONLY:
        readonly(plan, mount.slot)


def _hierarchy(controllers: str) -> list[str]:
    return ["none", controllers] if controllers.startswith("name=") else controllers.split(",")


# --- change: the root ---


def change_root(plan: Plan, config: Config, ns: Namespaces, no_pivot: bool) -> None:
    plan.source = "/root/path"
    if not ns.private("mount"):
        plan.add("I", "CHROOT", ("root",))
    else:
        if no_pivot:
            plan.add("I", "MOVEROOT", ("root",))
            if "mount" in ns.new:  # of one that is joined, others' procfs would go
                plan.add("I", "PURGE", ("root",), source="default: no procfs or sysfs of the host's")
        plan.add("I", "CHROOT" if no_pivot else "PIVOT", ("root",))
        name = config.get("linux", {}).get("rootfsPropagation", "")
        if name in AFTER_PIVOT:
            kind, recursive = AFTER_PIVOT[name]
            propagate(plan, "I", "rootfs", kind, recursive, source="/linux/rootfsPropagation")


def finish(plan: Plan, config: Config, all_mounts: Sequence[Mount]) -> None:
    """Read-only at last: nothing below writes into the tree any more."""
    for mount in all_mounts:
        if mount.late_readonly():
            readonly(plan, mount.slot, mount.at)
    if config["root"].get("readonly"):
        readonly(plan, "rootfs", "/root/readonly")


CONSOLE_FLAGS = ATTACH_CLONE | ATTACH_FILE
