"""Namespaces: which are made, which are joined, which stay the host's, and in what order.

Two shapes. Without a user namespace, a time namespace and paths to join, init is simply *born* into all of its
namespaces (flags of SPAWN). Otherwise a first process M enters and makes them one after the other and then forks init,
because a pid (or time) namespace only takes effect for a child. It forks whatever the namespaces are: one shape less.
"""

from __future__ import annotations

from errno import EPERM

from ..config.names import NAMESPACES
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal

    from ..config.shape import Config, IdMapping, Linux, TimeOffset
    from ..facts import Facts
    from .ops import Op
    from .script import Plan

USER = NAMESPACES["user"][0]
TIME = NAMESPACES["time"][0]

# crun's annotation, which podman's `--group-add keep-groups` sets: the groups of the caller stay, whatever their ids mean
KEEP_GROUPS = "run.oci.keep_original_groups"
# joined in this order: what others depend on last (the pid namespace takes effect only at the fork)
MADE = ("mount", "network", "ipc", "uts", "pid")  # all but those whose turn is another: user, time, cgroup
JOIN_ORDER = ("ipc", "uts", "network", "time", "cgroup", "pid", "mount")


class Namespaces:
    """The three sorts, from linux.namespaces: `new` types, `joined` {type: path}; `at` {type: JSON pointer}."""

    __slots__ = ("new", "joined", "at", "config", "keep_groups")

    def __init__(self, linux: Linux, annotations: Mapping[str, str] | None = None) -> None:
        self.config = linux
        self.keep_groups = (annotations or {}).get(KEEP_GROUPS, "0") != "0"
        self.new: list[str] = []
        self.joined: dict[str, str] = {}
        self.at: dict[str, str] = {}
        for i, entry in enumerate(linux.get("namespaces", [])):
            kind = entry["type"]
            self.at[kind] = f"/linux/namespaces/{i}"
            if entry.get("path"):
                self.joined[kind] = entry["path"]
            else:
                self.new.append(kind)

    def private(self, kind: str) -> bool:
        return kind in self.new or kind in self.joined

    def needs_first(self) -> bool:
        """Whether a first process is needed to set them up."""
        return bool(self.joined) or "user" in self.new or "time" in self.new

    def birth_flags(self) -> int:
        """CLONE_NEW* of SPAWN. The cgroup namespace is rooted where its maker is, so init makes it itself, later."""
        if self.needs_first():
            return 0
        return sum([NAMESPACES[kind][0] for kind in self.new if kind != "cgroup"])

    def mappings(self, kind: Literal["uid", "gid"]) -> Sequence[IdMapping]:
        return (self.config.get("uidMappings") if kind == "uid" else self.config.get("gidMappings")) or []

    def has_mapping(self) -> bool:
        return bool(self.config.get("uidMappings"))

    def host_id(self, kind: Literal["uid", "gid"], number: int) -> int:
        """The id (kind: uid, gid) outside of a user namespace whose mappings are listed; 0 for one that has none."""
        if not self.private("user"):
            return number
        for entry in self.mappings(kind):
            if 0 <= number - entry["containerID"] < entry["size"]:
                return entry["hostID"] + number - entry["containerID"]
        return 0


def id_map(mappings: Sequence[IdMapping]) -> str:
    """The lines of user_namespaces(7) uid_map."""
    return "".join([f"{m['containerID']} {m['hostID']} {m['size']}\n" for m in mappings])


def acquire(plan: Plan, ns: Namespaces, config: Config) -> None:
    """H: open what is joined while the paths still mean what the caller meant, and see whether it is the runtime's own."""
    for kind, path in ns.joined.items():
        plan.add("H", "OPENNS", (f"ns-{kind}",), (path, kind, *_needs_another(config, ns, kind)), source=ns.at[kind])
    if "user" in ns.joined and ns.has_mapping():
        maps = id_map(ns.mappings("uid")), id_map(ns.mappings("gid"))
        plan.add("H", "SAME_MAPS", ("ns-user",), maps, source="/linux/uidMappings")


def _needs_another(config: Config, ns: Namespaces, kind: str) -> tuple[str, str]:
    """(JSON pointer, refusal) of what would reach the host if the namespace joined were the runtime's own, or twice "". The rules say
    it of a namespace that is not listed. In the runtime's own mount namespace it would be the host whose root is changed;
    the user namespace that a process is in cannot be joined (setns(2))."""
    if kind in ("mount", "user"):
        return f"{ns.at[kind]}/path", f"the runtime's own {kind} namespace cannot be joined"
    from ..config import rules

    fault = rules.first_without(config, kind)
    return (fault.pointer, fault.message) if fault else ("", "")


def enter(plan: Plan, ns: Namespaces, facts: Facts) -> None:
    """M: join, then make the user namespace; `make` follows, and the fork."""
    if not ns.needs_first():
        return
    retry: dict[str, Op] = {}
    for kind in JOIN_ORDER:
        if kind in ns.joined:
            # EPERM: the namespace belongs to the user namespace joined below, so it is tried again from there
            retry[kind] = _setns(plan, ns, kind, (EPERM,) if "user" in ns.joined else ())
    if "user" in ns.joined:
        drop_groups(plan, ns)
        _setns(plan, ns, "user")
        for kind, op in retry.items():
            _setns(plan, ns, kind, unless=op)
    if "user" in ns.new:
        _new_user(plan, ns, facts)
    elif "time" in ns.new:
        _new_time(plan, ns)


def drop_groups(plan: Plan, ns: Namespaces) -> None:
    """Before a user namespace is joined: they are groups of the host, and in there setgroups may be denied. An ordinary
    user may not (EPERM), and keeps their own."""
    if not ns.keep_groups:
        plan.add("M", "SETGROUPS", (), (b"",), (EPERM,), source=ns.at["user"])


def make(plan: Plan, ns: Namespaces, kinds: Sequence[str] = MADE) -> None:
    """The new ones of these kinds."""
    flags = sum([NAMESPACES[kind][0] for kind in kinds if kind in ns.new]) if ns.needs_first() else 0
    if flags:
        plan.add("M", "UNSHARE", (), (flags,), source="/linux/namespaces")


def become_root(plan: Plan, ns: Namespaces) -> None:
    """Root's ids of the user namespace, in place of the caller's. Whoever is not the host's root opens bind sources
    first: with the caller's ids, and over the mapped ones with the namespace's capabilities, so both may read them."""
    if ns.private("user"):
        plan.add("M", "BECOME", (), (0, 0), source=ns.at["user"])


def _setns(plan: Plan, ns: Namespaces, kind: str, tolerate: tuple[int, ...] = (), unless: Op | None = None) -> Op:
    flag = NAMESPACES[kind][0]
    return plan.add("M", "SETNS", (f"ns-{kind}",), (flag,), tolerate, unless, source=ns.at[kind])


def _new_user(plan: Plan, ns: Namespaces, facts: Facts) -> None:
    """The parent writes the maps, and the clocks' offsets; for that, and only then, the process is dumpable:
    the files are its owner's only while it is."""
    maps = ns.mappings("uid"), ns.mappings("gid")
    plan.source = ns.at["user"]
    plan.add("M", "UNSHARE", (), (USER,))
    if "time" in ns.new:
        plan.add("M", "UNSHARE", (), (TIME,), source=ns.at["time"])
    plan.add("M", "DUMPABLE", (), (1,))
    plan.sync("M")
    deny = facts.euid and is_own_id(maps[1], facts.egid)
    plan.add("H", "MAPS", (), (id_map(maps[0]), id_map(maps[1]), "deny" if deny else "", [facts.newuidmap, facts.newgidmap]),
             source="/linux/uidMappings")
    _offsets(plan, ns)
    plan.add("M", "DUMPABLE", (), (0,))


def _new_time(plan: Plan, ns: Namespaces) -> None:
    plan.add("M", "UNSHARE", (), (TIME,), source=ns.at["time"])
    if ns.config.get("timeOffsets"):
        plan.sync("M")
        _offsets(plan, ns)


def _offsets(plan: Plan, ns: Namespaces) -> None:
    offsets = ns.config.get("timeOffsets")
    if offsets:
        plan.add("H", "TIMENS", (), (time_offsets(offsets),), source="/linux/timeOffsets")


def is_own_id(mappings: Sequence[IdMapping], own: int) -> bool:
    """The one mapping that anybody may write: root is the caller himself (user_namespaces(7); gids: setgroups denied)."""
    return len(mappings) == 1 and mappings[0] == {"containerID": 0, "hostID": own, "size": 1}


def time_offsets(offsets: Mapping[str, TimeOffset]) -> str:
    """The lines of time_namespaces(7) timens_offsets: clock, seconds, nanoseconds."""
    return "".join([f"{clock} {o.get('secs', 0)} {o.get('nanosecs', 0)}\n" for clock, o in offsets.items()])
