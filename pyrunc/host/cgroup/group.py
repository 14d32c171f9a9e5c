"""All of a container's groups as one: that of the cgroup2 tree and, on hosts that have them, those on v1 hierarchies.

The verbs that look at or stop processes use the cgroup2 group, and a v1 one only where there is no cgroup2.
"""

from .v2 import Cgroup


class Group:
    """v2: Cgroup or None. v1: {controller: v1.Hierarchy}, co-mounted controllers sharing one; {} on a cgroup2 host.
    slots: {slot of the plan: group}, the same groups."""

    __slots__ = ("v2", "v1", "slots")

    def __init__(self, root, relative, v1):
        """root, relative: of the group in the cgroup2 tree, relative None without one. v1: as v1.paths makes it."""
        self.v2 = Cgroup(root, relative) if relative is not None else None
        self.v1 = {}
        self.slots = {"cgroup": self.v2} if self.v2 else {}
        if v1:
            from .v1 import Hierarchy

            for controllers, mount, path in v1:
                group = self.slots[f"cgroup:{controllers}"] = Hierarchy(mount, path)
                self.v1.update(dict.fromkeys(controllers.split(","), group))

    def main(self):
        """The group that is asked about processes."""
        return self.v2 or self.v1.get("freezer") or list(self.v1.values())[0]

    def holder(self, controller):
        """Where a controller's files are; None when no hierarchy has it."""
        return self.v1.get(controller) or self.v2

    def paths(self):
        """{controller: path}, "" for the cgroup2 tree: `cgroup_paths` of state.json, as runc writes it."""
        out = {"": self.v2.path} if self.v2 else {}
        out.update({name: group.path for name, group in self.v1.items()})
        return out

    def exists(self):
        return any([group.exists() for group in self.slots.values()])

    def pids(self, recursive=False):
        return self.main().pids(recursive)

    def populated(self):
        return self.main().populated()

    def frozen(self):
        return self.main().frozen()

    def freeze(self, on):
        self.main().freeze(on)

    def kill(self):
        self.main().kill()

    def remove(self):
        for group in self.slots.values():
            group.remove()

    def close(self):
        for group in self.slots.values():
            group.close()

    def oom_kills(self):
        """How many processes of the container the kernel has killed for want of memory; 0 where it does not say."""
        group = self.holder("memory")
        if group is None:
            return 0
        for line in group.read_or("memory.oom_control" if "memory" in self.v1 else "memory.events", "").splitlines():
            if line.startswith("oom_kill "):
                return int(line[9:])
        return 0
