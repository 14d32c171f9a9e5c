"""A container's group on one v1 hierarchy, by the verbs of v2.Cgroup. Only for hosts that still have such hierarchies.

What differs from cgroup2: nothing is enabled for children, a cpuset is empty until its parent's is copied into it, and
there is no cgroup.kill, no cgroup.freeze and no cgroup.events. Processes are not moved here either: init joins by writing
"0" to the `tasks` file that the host opened for it, which spares the kernel the global lock that moving another process
takes (7 ms). On a hybrid host the v2 group kills and freezes; these do it where there is no cgroup2 at all.
"""

from __future__ import annotations

import posix
import time
from errno import EINVAL

from pyrunc.errors import Error
from pyrunc.host.cgroup.v2 import FREEZE_TIMEOUT, GONE, Cgroup, path_for
from pyrunc.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Decision = tuple[bool, Mapping[tuple[str, int, int], int]]

RUNTIME, PERIOD = "cpu.rt_runtime_us", "cpu.rt_period_us"
# The controllers a container gets a group of: what runc joins.
KNOWN = ("cpuset", "devices", "memory", "cpu", "cpuacct", "pids", "blkio", "hugetlb", "net_cls", "net_prio", "perf_event",
         "freezer", "rdma", "misc", "name=systemd")


def paths(cgroups_path: str | None, hierarchies: Iterable[Sequence[str]], container_id: str) -> list[list[str]]:
    """[[controllers, mount point, relative path], ...] of a container's groups. (Pure.)

    hierarchies: Facts.cgroup_v1. A relative cgroupsPath counts from the runtime's own group, as with runc on v1, where
    a group may have both processes and children.
    """
    return [[controllers, mount, path_for(cgroups_path, own.rstrip("/") + "/.", container_id)]
            for controllers, mount, own in hierarchies if any([name in KNOWN for name in controllers.split(",")])]


class Hierarchy(Cgroup):
    """One group; `root` is the mount point of its hierarchy, which has the `controllers`."""

    def __init__(self, root: str, relative: str, controllers: str = "") -> None:
        super().__init__(root, relative)
        self.controllers = controllers.split(",")

    def _descend(self, made: list[str], domain: bool) -> None:
        """mkdir -p, then CPUs and memory nodes from above. By the whole path: a v1 hierarchy has no symlinks, and its mount
        point is the host's; one call each instead of a walk, for a container has a dozen such groups."""
        top = self.root.rstrip("/")
        try:
            _make(top, self.relative, made)
            if "cpuset" in self.controllers:
                for path in made:
                    self._inherit_cpuset(path, fresh=True)
                if self.relative not in made:
                    self._inherit_cpuset(self.relative)
        except OSError as err:
            raise self._error("create", err) from None

    def _inherit_cpuset(self, path: str, fresh: bool = False) -> None:
        """A new cpuset has no CPUs and takes no process (ENOSPC) before it has some. One above, that others have made, may have
        none either: no group below it could then."""
        above, _, _ = path.rpartition("/")
        own, parent = Cgroup(self.root, path), Cgroup(self.root, above)
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not fresh and own.read(file).strip():
                continue
            value = parent.read(file).strip()
            if not value and above:
                self._inherit_cpuset(above)
                value = parent.read(file).strip()
            own.write(file, value)

    def write_each(self, lines: Iterable[tuple[str, str]]) -> None:
        """[(file, value), ...], one write for each; a file is opened once for all that follow one another in it."""
        name, fd = None, -1
        try:
            for file, value in lines:
                try:
                    if file != name:
                        fd, old, name = self._open_file(file, posix.O_WRONLY), fd, file
                        if old >= 0:
                            posix.close(old)
                    posix.write(fd, value.encode())
                except OSError as err:
                    raise self._error("write", err, file=file, value=value, hint=self._why_missing(file, err)) from None
        finally:
            if fd >= 0:
                posix.close(fd)

    def exists(self) -> bool:
        return _has(self.path, "cgroup.procs")

    def write(self, file: str, value: str) -> None:
        """Realtime is a share of the parent's, and a group begins with none: those above that have none get as much first."""
        try:
            super().write(file, value)
            return
        except Error as err:
            if file != RUNTIME or err.errno != EINVAL:
                raise
            err.hint = f"each group above it needs as much in {RUNTIME} that is not given to other groups"
            if not self._give_above(int(value)):
                raise
        super().write(file, value)

    def _give_above(self, runtime: int) -> bool:
        """Whether any group above had none, outermost first; what others have set stays theirs."""
        period, given = int(self.read(PERIOD)), False
        *above, _ = self.relative.split("/")
        for depth in range(len(above)):
            group = Cgroup(self.root, "/".join(above[:depth + 1]))
            if int(group.read(RUNTIME)) == 0:
                group.write(RUNTIME, str(-(-runtime * int(group.read(PERIOD)) // period)))
                given = True
            group.close()
        return given

    def tasks(self) -> int:
        """A descriptor by which the process that writes "0" joins."""
        try:
            return posix.open(self.path + "/tasks", posix.O_WRONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC)
        except OSError as err:
            if err.errno in GONE:
                raise Error(f'cgroup "{self.path}": no such file or directory', errno=err.errno) from None
            raise self._error("open", err, file="tasks") from None

    def remove(self) -> None:
        """Most groups hold none of the container's making: one call. Else as v2 does."""
        self.close()
        try:
            posix.rmdir(self.path)
        except OSError:
            super().remove()

    def kill(self) -> None:
        self._kill_each()

    def populated(self) -> bool:
        return bool(self.pids(recursive=True))

    def frozen(self) -> bool:
        return self.read_or("freezer.state", "").strip() == "FROZEN"

    def held(self) -> bool:
        return self.read_or("freezer.state", "").strip() in ("FROZEN", "FREEZING")

    def freeze(self, on: bool) -> None:
        """FREEZING may take repeated asking: each write makes the kernel look again."""
        if not self._has("freezer.state"):
            return
        wanted = "FROZEN" if on else "THAWED"
        deadline = time.monotonic() + FREEZE_TIMEOUT
        while True:
            self.write("freezer.state", wanted)
            if self.read("freezer.state").strip() == wanted:
                return
            if time.monotonic() > deadline:
                self.write("freezer.state", "THAWED")
                raise Error(f'cgroup "{self.path}": timed out waiting for it to {"freeze" if on else "thaw"}')
            time.sleep(0.001)


def _make(top: str, path: str, made: list[str]) -> None:
    """mkdir -p below `top`; the directories that it makes are added to `made`, outermost first."""
    try:
        posix.mkdir(f"{top}/{path}", 0o755)
    except FileExistsError:
        return
    except FileNotFoundError:
        if "/" not in path:
            raise
        _make(top, path.rpartition("/")[0], made)
        posix.mkdir(f"{top}/{path}", 0o755)
    made.append(path)


def _has(path: str, file: str) -> bool:
    try:
        posix.stat(f"{path}/{file}")
        return True
    except OSError:
        return False


def device_writes(decision: Decision) -> list[tuple[str, str]]:
    """[(file, line), ...] that make the v1 devices controller of a fresh group enforce device_rules.policy's decision."""
    default_allow, exceptions = decision
    out = [("devices.allow" if default_allow else "devices.deny", "a")]
    file = "devices.deny" if default_allow else "devices.allow"
    for (kind, major, minor), mask in exceptions.items():
        numbers = ":".join(["*" if number < 0 else str(number) for number in (major, minor)])
        out.append((file, f"{kind} {numbers} {''.join([c for c, bit in (('r', 2), ('w', 4), ('m', 1)) if mask & bit])}"))
    return out
