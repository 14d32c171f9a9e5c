"""linux.intelRdt: the container's class of service, a group of the resctrl file system. config-linux.md#intelrdt. (Pure.)

Its group is made, and what it may use written, before the process exists; init joins as it joins v1 groups, first of all,
by writing 0 to a `tasks` file that the host has opened: nothing of the container ever runs outside of its class.
"""

from __future__ import annotations

from ..errors import Error
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..config.shape import IntelRdt
    from .script import Plan


def group(rdt: IntelRdt, container_id: str) -> str:
    """Name of the group below the mount point; "" is the default class."""
    return (rdt.get("closID") or container_id).strip("/")


def monitor(rdt: IntelRdt, container_id: str) -> str | None:
    """Name of the monitoring group, or None."""
    if not rdt.get("enableMonitoring"):
        return None
    return f"{group(rdt, container_id)}/mon_groups/{container_id}".lstrip("/")


def removed(rdt: IntelRdt, container_id: str) -> list[str]:
    """Names of the groups that go with the container, innermost first: none that closID has named."""
    own = [] if rdt.get("closID") else [group(rdt, container_id)]
    return [name for name in [monitor(rdt, container_id), *own] if name]


def add(plan: Plan, rdt: IntelRdt, mount: str, container_id: str) -> None:
    """H, before the process exists. `mount`: where resctrl is mounted, "" if it is not."""
    if not mount:
        raise Error("config.json: /linux/intelRdt: intelRdt is specified in config, but Intel RDT is not enabled",
                    "mount -t resctrl resctrl /sys/fs/resctrl", pointer="/linux/intelRdt")
    plan.source = "/linux/intelRdt"
    both = {name: text for name, text in (("l3CacheSchema", rdt.get("l3CacheSchema")), ("memBwSchema", rdt.get("memBwSchema"))) if text}
    plan.add("H", "CLOS", ("clos",), (mount, group(rdt, container_id), _existing(rdt), both))
    if both:
        schemata(plan, both.values())
    for i, line in enumerate(rdt.get("schemata") or ()):
        schemata(plan, [line], f"/linux/intelRdt/schemata/{i}")
    plan.add("H", "TASKS", ("clos", "tasks:clos"))
    name = monitor(rdt, container_id)
    if name:
        plan.add("H", "CLOS", ("monitor",), (mount, name, False, {}), source="/linux/intelRdt/enableMonitoring")
        plan.add("H", "TASKS", ("monitor", "tasks:monitor"), source="/linux/intelRdt/enableMonitoring")


def _existing(rdt: IntelRdt) -> bool:
    """Must the group be there already? A closID without anything to write to it says so."""
    return bool(rdt.get("closID")) and not (rdt.get("l3CacheSchema") or rdt.get("memBwSchema") or rdt.get("schemata"))


def schemata(plan: Plan, lines: Iterable[str], source: str | None = None) -> None:
    """One write; the kernel wants the last newline too."""
    plan.add("H", "LIMIT", ("clos",), ("schemata", "".join([line + "\n" for line in lines])), source=source)


def join(plan: Plan, names: Sequence[str], mount: str) -> None:
    """exec: the groups its container is in."""
    for slot, name in zip(("clos", "monitor"), names):
        plan.add("H", "CLOS", (slot,), (mount, name, True, {}), source="/linux/intelRdt")
        plan.add("H", "TASKS", (slot, f"tasks:{slot}"), source="/linux/intelRdt")


def mismatch(text: str, wanted: str) -> str | None:
    """The first line of a schema (`L3:0=f;1=3`) that says something else than the text of a `schemata` file, or None."""
    have = {name: _values(line, name) for line in text.splitlines() for name in [_name(line)]}
    for line in wanted.splitlines():
        for cache, value in _values(line, _name(line)).items():
            if have.get(_name(line), {}).get(cache) != value:
                return line
    return None


def _name(line: str) -> str:
    return line.partition(":")[0].strip()


def _values(line: str, name: str) -> dict[int | str, int | str]:
    """{cache id: mask or amount} of one line. Masks are hexadecimal; "00f" and "f" are the same."""
    out: dict[int | str, int | str] = {}
    for part in line.partition(":")[2].split(";"):
        cache, _, value = part.strip().partition("=")
        try:
            out[int(cache)] = int(value, 10 if name.endswith("MB") else 16)
        except ValueError:
            out[cache] = value
    return out
