"""Namespaces: which are made, which are joined, which stay the host's, and in what order.

Two shapes. Without a user namespace, a time namespace and paths to join, init is simply *born* into all of its
namespaces (flags of SPAWN). Otherwise a first process M enters and makes them one after the other and then forks init,
because a pid (or time) namespace only takes effect for a child. It forks whatever the namespaces are: one shape less.
"""

from ..config.names import NAMESPACES

EPERM = 1
USER = NAMESPACES["user"][0]
CGROUP = NAMESPACES["cgroup"][0]
TIME = NAMESPACES["time"][0]
PID = NAMESPACES["pid"][0]

# joined in this order: what others depend on last (the pid namespace takes effect only at the fork)
JOIN_ORDER = ("ipc", "uts", "network", "time", "cgroup", "pid", "mount")


class Namespaces:
    """The three sorts, from linux.namespaces: `new` types, `joined` {type: path}; `at` {type: JSON pointer}."""

    __slots__ = ("new", "joined", "at", "config")

    def __init__(self, linux):
        self.config = linux
        self.new, self.joined, self.at = [], {}, {}
        for i, entry in enumerate(linux.get("namespaces", [])):
            kind = entry["type"]
            self.at[kind] = f"/linux/namespaces/{i}"
            if entry.get("path"):
                self.joined[kind] = entry["path"]
            else:
                self.new.append(kind)

    def private(self, kind):
        return kind in self.new or kind in self.joined

    def needs_first(self):
        """Whether a first process is needed to set them up."""
        return bool(self.joined) or "user" in self.new or "time" in self.new

    def birth_flags(self):
        """CLONE_NEW* of SPAWN. The cgroup namespace is rooted where its maker is, so init makes it itself, later."""
        if self.needs_first():
            return 0
        return sum([NAMESPACES[kind][0] for kind in self.new if kind != "cgroup"])

    def has_mapping(self):
        return bool(self.config.get("uidMappings"))


def id_map(mappings):
    """The lines of user_namespaces(7) uid_map."""
    return "".join([f"{m['containerID']} {m['hostID']} {m['size']}\n" for m in mappings])


def acquire(plan, ns):
    """H: open what is joined while the paths still mean what the caller meant."""
    for kind, path in ns.joined.items():
        plan.add("H", "OPENNS", (f"ns-{kind}",), (path, kind), source=ns.at[kind])


def enter(plan, ns, facts):
    """M: join, then make, then fork init."""
    if not ns.needs_first():
        return
    retry = {}
    for kind in JOIN_ORDER:
        if kind in ns.joined:
            # EPERM: the namespace belongs to the user namespace joined below, so it is tried again from there
            retry[kind] = _setns(plan, ns, kind, (EPERM,) if "user" in ns.joined else ())
    if "user" in ns.joined:
        _setns(plan, ns, "user")
        plan.add("M", "BECOME", (), (0, 0), source=ns.at["user"])
        for kind, op in retry.items():
            _setns(plan, ns, kind, unless=op)
    if "user" in ns.new:
        _new_user(plan, ns, facts)
    rest = [kind for kind in ns.new if kind not in ("user", "cgroup", "time")]
    if rest:
        plan.add("M", "UNSHARE", (), (sum([NAMESPACES[kind][0] for kind in rest]),), source="/linux/namespaces")
    if "time" in ns.new:
        plan.add("M", "UNSHARE", (), (TIME,), source=ns.at["time"])
        offsets = ns.config.get("timeOffsets")
        if offsets:
            plan.sync("M")
            plan.add("H", "TIMENS", (), (time_offsets(offsets),), source="/linux/timeOffsets")


def _setns(plan, ns, kind, tolerate=(), unless=None):
    flag = NAMESPACES[kind][0]
    return plan.add("M", "SETNS", (f"ns-{kind}",), (flag,), tolerate, unless, source=ns.at[kind])


def _new_user(plan, ns, facts):
    """The parent writes the maps; for that, and only then, the process is dumpable (security.md 9.7)."""
    uid_map, gid_map = id_map(ns.config.get("uidMappings", [])), id_map(ns.config.get("gidMappings", []))
    plan.source = ns.at["user"]
    plan.add("M", "UNSHARE", (), (USER,))
    plan.add("M", "DUMPABLE", (), (1,))
    plan.sync("M")
    deny = not facts.privileged and ns.config.get("gidMappings") == [
        {"containerID": 0, "hostID": facts.egid, "size": 1}
    ]
    plan.add("H", "MAPS", (), (uid_map, gid_map, "deny" if deny else ""), source="/linux/uidMappings")
    plan.add("M", "DUMPABLE", (), (0,))
    plan.add("M", "BECOME", (), (0, 0))


def time_offsets(offsets):
    """The lines of time_namespaces(7) timens_offsets: clock, seconds, nanoseconds."""
    return "".join([f"{clock} {o.get('secs', 0)} {o.get('nanosecs', 0)}\n" for clock, o in offsets.items()])
