"""All of a container's groups as one: that of the cgroup2 tree and, on hosts that have them, those on v1 hierarchies.

The verbs that look at or stop processes use the cgroup2 group, and a v1 one only where there is no cgroup2.
"""

from __future__ import annotations

from pyrunc.errors import Error

from ...typed import TYPE_CHECKING
from .v2 import Cgroup

if TYPE_CHECKING:
    from collections.abc import Sequence


class Group:
    """v2: Cgroup or None. v1: {controller: v1.Hierarchy}, co-mounted controllers sharing one; {} on a cgroup2 host.
    slots: {slot of the plan: group}, the same groups. The v1 side is made when it is first asked for: most verbs never do.
    """

    def __init__(self, root: str, relative: str | None, v1: Sequence[Sequence[str]] | None) -> None:
        """root, relative: of the group in the cgroup2 tree, relative None without one. v1: as v1.paths makes it."""
        self.v2 = Cgroup(root, relative) if relative is not None else None
        self._rows = v1 or ()
        self._slots: dict[str, Cgroup] | None = None

    @property
    def slots(self) -> dict[str, Cgroup]:
        if self._slots is None:
            self._slots = {"cgroup": self.v2} if self.v2 else {}
            if self._rows:
                from .v1 import Hierarchy

                for controllers, mount, path in self._rows:
                    self._slots[f"cgroup:{controllers}"] = Hierarchy(mount, path, controllers)
        return self._slots

    @property
    def v1(self) -> dict[str, Cgroup]:
        return {name: self.slots[f"cgroup:{row[0]}"] for row in self._rows for name in row[0].split(",")}

    def main(self) -> Cgroup:
        """The group that is asked about processes."""
        return self.v2 or self.v1.get("freezer") or list(self.v1.values())[0]

    def holder(self, controller: str) -> Cgroup | None:
        """Where a controller's files are; None when no hierarchy has it."""
        return self.v1.get(controller) or self.v2

    def paths(self) -> dict[str, str]:
        """{controller: path}, "" for the cgroup2 tree: `cgroup_paths` of state.json, as runc writes it."""
        out = {"": self.v2.path} if self.v2 else {}
        for controllers, mount, path in self._rows:
            out.update(dict.fromkeys(controllers.split(","), f"{mount}/{path}"))
        return out

    def close(self) -> None:
        for group in (self.v2, *(self._slots or {}).values()):
            if group:
                group.close()

    def exists(self) -> bool:
        return self.v2.exists() if self.v2 else any([group.exists() for group in self.slots.values()])

    def pids(self, recursive: bool = False) -> list[int]:
        return self.main().pids(recursive)

    def populated(self) -> bool:
        return self.main().populated()

    def frozen(self) -> bool:
        return self.main().frozen()

    def freeze(self, on: bool) -> None:
        self.main().freeze(on)

    def kill(self) -> None:
        self.main().kill()

    def thaw(self) -> None:
        """Let go what has been killed: a v1 freezer, on a hybrid host too, keeps even a SIGKILL waiting. Best effort."""
        for group in {id(group): group for group in (self.v2, self.v1.get("freezer")) if group}.values():
            try:
                if group.held():  # one that is gone is not
                    group.freeze(False)
            except (OSError, Error):
                pass

    def oom_kills(self) -> int:
        """How many processes of the container the kernel has killed for want of memory; 0 where it does not say."""
        group = self.holder("memory")
        if group is None:
            return 0
        for line in group.read_or("memory.oom_control" if "memory" in self.v1 else "memory.events", "").splitlines():
            if line.startswith("oom_kill "):
                return int(line[9:])
        return 0
