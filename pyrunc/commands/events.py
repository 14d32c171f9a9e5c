"""`events ID`: a line of JSON with statistics every so often, and one when the kernel kills for want of memory.

The loop waits for the kernel to say that something has changed (cgroups(7): cgroup.events and memory.events can be polled;
on v1 an eventfd is registered with cgroup.event_control), and ends with the last process of the container.
"""

from __future__ import annotations

import os
import posix
import re
import select
import time

from .. import args, log, state
from ..errors import Error
from ..host.cgroup import stats, stats_v1
from ..jsonio import dumps
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypedDict

    from ..args import Globals
    from ..host.cgroup.group import Group
    from ..host.cgroup.v2 import Cgroup
    from ..state import Container

    class Options(TypedDict):
        interval: str
        stats: bool
        help: bool

USAGE = "events [options] CONTAINER"
ARGS = (1, 1)
OPTIONS = (
    (("interval", None), "str", "5s", "time between statistics, such as 500ms or 1m30s"),
    (("stats", None), "flag", False, "print one line of statistics and exit"),
)
UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION = re.compile(r"[+-]?(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)", re.ASCII)
PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
SOON = 1.0  # seconds between looks where nothing can be waited for


def run(globals_: Globals, options: Options, args_: list[str]) -> int:
    interval = duration(options["interval"])
    if interval <= 0:
        raise Error("duration interval must be greater than 0")
    with state.load(globals_["root"], args_[0]) as container:
        return _run(container, options, interval)


def _run(container: Container, options: Options, interval: float) -> int:
    if container.status() == "stopped":
        raise Error(f"container with id {container.id} is not running")
    group = container.cgroup()
    if group is None:
        raise Error(f"container {container.id} has no cgroup to read statistics from")
    if options["stats"]:
        say(container, "stats", collect(container, group))
        return 0
    return follow(container, group, interval)


def duration(text: str) -> float:
    """Seconds of a duration as Go writes it: 1m30s, 1.5h, 300ms, 0."""
    if not DURATION.fullmatch(text):
        raise args.Usage(f'invalid value "{text}" for flag -interval: parse error')
    seconds = sum(float(number) * UNITS[unit] for number, unit in PART.findall(text))
    return -seconds if text.startswith("-") else seconds


def say(container: Container, kind: str, data: Mapping[str, object] | None = None) -> None:
    event: dict[str, object] = {"type": kind, "id": container.id}
    if data is not None:
        event["data"] = data
    log.out(dumps(event) + "\n")


def collect(container: Container, group: Group) -> dict[str, object]:
    """The data of a `stats` event, each member from where its controller is."""
    v2, v1 = group.v2, group.v1
    out = stats.collect(reader(v2), hugepages(v2, "current"))
    for name, (controllers, function) in stats_v1.MEMBERS.items():
        if controllers[0] in v1:
            out[name] = function(reader(*[v1[controller] for controller in controllers if controller in v1]))
    if "hugetlb" in v1:
        out["hugetlb"] = {size: stats_v1.hugetlb(reader(v1["hugetlb"]), size) for size in hugepages(v1["hugetlb"], "usage_in_bytes")}
    if "resctrl" in container.data:
        from ..host import rdt

        out["intel_rdt"] = rdt.stats(container.data["facts"]["resctrl"], *container.data["resctrl"])
    return out


def reader(*groups: Cgroup | None) -> Callable[[str], str]:
    """A function from a file's name to its text in the first of the groups that has it, or ""."""
    def read(file: str) -> str:
        for group in groups:
            text = group.read_or(file, "") if group is not None else ""
            if text:
                return text
        return ""
    return read


def hugepages(group: Cgroup | None, last: str) -> list[str]:
    """Page sizes the group has files for."""
    try:
        names = posix.listdir(group.dirfd()) if group is not None else []
    except OSError:
        return []
    parts = [name.split(".") for name in names if name.startswith("hugetlb.")]
    return sorted(part[1] for part in parts if part[2:] == [last])


def follow(container: Container, group: Group, interval: float) -> int:
    watch, kills = Watch(group), group.oom_kills()
    due = time.monotonic() + interval
    try:
        while True:
            watch.wait(max(0.0, due - time.monotonic()))
            now = group.oom_kills()
            for _ in range(kills, now):
                say(container, "oom")
            kills = now
            if not group.exists() or not group.populated():
                return 0
            if time.monotonic() >= due:
                say(container, "stats", collect(container, group))
                due = time.monotonic() + interval
    finally:
        watch.close()


class Watch:
    """What tells that a group has changed; `wait` returns then, or after a time in seconds."""

    def __init__(self, group: Group) -> None:
        self.poll = select.poll()
        self.fds: list[int] = []
        if group.v2:
            for file in ("cgroup.events", "memory.events"):
                self._add(group.v2, file, select.POLLPRI)
        self.blind = not self.fds
        if "memory" in group.v1:
            self._eventfd(group.v1["memory"])

    def _add(self, group: Cgroup, file: str, events: int) -> int:
        try:
            fd = posix.open(file, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW, dir_fd=group.dirfd())
        except OSError:
            return -1
        posix.read(fd, 4096)  # a change is one since the last read
        self.fds.append(fd)
        if events:
            self.poll.register(fd, events)
        return fd

    def _eventfd(self, group: Cgroup) -> None:
        source = self._add(group, "memory.oom_control", 0)
        if source < 0:
            return
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.fds.append(event)
        try:
            group.write("cgroup.event_control", f"{event} {source}")
            self.poll.register(event, select.POLLIN)
        except Error:
            pass  # the kernel may have no notification; the statistics' pace is ours then

    def wait(self, seconds: float) -> None:
        limit = min(seconds, SOON) if self.blind else seconds
        for fd, _ in self.poll.poll(limit * 1000):
            try:
                posix.lseek(fd, 0, 0)
            except OSError:
                pass
            try:
                posix.read(fd, 4096)
            except OSError:
                self.poll.unregister(fd)  # the group is gone

    def close(self) -> None:
        for fd in self.fds:
            posix.close(fd)
