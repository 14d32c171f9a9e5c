"""What `events --stats` reports, from a cgroup2 group: runc's names and units, and more than it. Pure.

`read` is a function from a file's name to its text, "" for a file that is not there: a controller that is missing gives
zeros, and zeros are left out where Go's omitempty leaves them out. Units: nanoseconds, bytes.
"""

from __future__ import annotations

from ...typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping
    from typing import TypeVar

    Reader = Callable[[str], str]
    Data = dict[str, object]
    Value = TypeVar("Value")

UNLIMITED = (1 << 64) - 1


def collect(read: Reader, hugepages: Iterable[str]) -> Data:
    """The `data` object. hugepages: the sizes ("2MB") whose files are there."""
    return {
        "cpu": cpu(read),
        "cpuset": cpuset(read),
        "memory": memory(read),
        "pids": pids(read),
        "blkio": blkio(read),
        "hugetlb": {size: hugetlb(read, size) for size in hugepages},
        "intel_rdt": {},
        "network_interfaces": None,
    }


def cpu(read: Reader) -> Data:
    stat = keyed(read("cpu.stat"))
    usage: Data = some({"total": stat.get("usage_usec", 0) * 1000})
    usage.update({"kernel": stat.get("system_usec", 0) * 1000, "user": stat.get("user_usec", 0) * 1000})
    throttling = some({"periods": stat.get("nr_periods", 0), "throttledPeriods": stat.get("nr_throttled", 0),
                       "throttledTime": stat.get("throttled_usec", 0) * 1000})
    return some({"usage": usage, "throttling": throttling, "psi": pressure(read("cpu.pressure"))}, keep=("throttling",))


CPUSET = ("cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page", "memory_spread_slab",
          "memory_pressure", "sched_load_balance", "sched_relax_domain_level")


def cpuset(read: Reader) -> Data:
    """cgroup2 has the two lists; the rest are v1's, and 0."""
    return some({"cpus": numbers(read("cpuset.cpus")), "mems": numbers(read("cpuset.mems")), **dict.fromkeys(CPUSET, 0)}, keep=CPUSET)


def memory(read: Reader) -> Data:
    raw, events = keyed(read("memory.stat")), keyed(read("memory.events"))
    current, limit = number(read("memory.current")), number(read("memory.max"))
    swap, swap_limit = number(read("memory.swap.current")), number(read("memory.swap.max"))
    both = UNLIMITED if UNLIMITED in (limit, swap_limit) else limit + swap_limit  # v1 counted memory and swap together
    return some({
        "cache": raw.get("file", 0),
        "usage": entry(limit, current, number(read("memory.peak")), events.get("max", 0)),
        "swap": entry(both, current + swap, 0, 0),
        "kernel": entry(0, 0, 0, 0),
        "kernelTCP": entry(0, 0, 0, 0),
        "raw": raw,
        "psi": pressure(read("memory.pressure")),
        "events": events,
    })


def entry(limit: int, usage: int, peak: int, failures: int) -> dict[str, int]:
    return some({"limit": limit, "usage": usage, "max": peak, "failcnt": failures}, keep=("limit", "failcnt"))


def pids(read: Reader) -> Data:
    limit = number(read("pids.max"))
    return some({"current": number(read("pids.current")), "limit": 0 if limit == UNLIMITED else limit})


IO = (("rbytes", "ioServiceBytesRecursive", "Read"), ("wbytes", "ioServiceBytesRecursive", "Write"),
      ("rios", "ioServicedRecursive", "Read"), ("wios", "ioServicedRecursive", "Write"))


def blkio(read: Reader) -> Data:
    text = read("io.stat")
    out: dict[str, list[Data]] = {"ioServiceBytesRecursive": [], "ioServicedRecursive": []}
    for line in text.splitlines():
        device, *pairs = line.split() or [""]
        major, _, minor = device.partition(":")
        values = dict([pair.partition("=")[::2] for pair in pairs])
        if not (major.isdigit() and minor.isdigit()):
            continue
        for key, table, op in IO:
            if values.get(key, "").isdigit():
                out[table].append(some({"major": int(major), "minor": int(minor), "op": op, "value": int(values[key])}))
    return some({**out, "psi": pressure(read("io.pressure")), "stat": text.splitlines()})


def hugetlb(read: Reader, size: str) -> Data:
    prefix = f"hugetlb.{size}."
    return some({"usage": number(read(prefix + "current")), "failcnt": keyed(read(prefix + "events")).get("max", 0)}, keep=("failcnt",))


# --- files


def some(values: Mapping[str, Value], keep: Container[str] = ()) -> dict[str, Value]:
    """Without what is zero or empty, as Go's omitempty has it."""
    return {name: value for name, value in values.items() if value or name in keep}


def number(text: str) -> int:
    """"max" is the largest 64-bit number; a value that is missing, or not a number, is 0."""
    text = text.strip()
    return UNLIMITED if text == "max" else int(text) if text.isascii() and text.isdigit() else 0


def keyed(text: str) -> dict[str, int]:
    """Lines of `name number`."""
    pairs = [line.split() for line in text.splitlines()]
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isascii() and pair[1].isdigit()}


def numbers(text: str) -> list[int]:
    """A list such as 0-2,5 as numbers."""
    out: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first.isascii() and first.isdigit() and (not last or last.isdigit()):
            out += range(int(first), int(last or first) + 1)
    return out


def pressure(text: str) -> Data:
    """A *.pressure file: {"some": {"avg10": 0.0, ..., "total": 0}, "full": {...}}; {} where the kernel has no PSI."""
    out: Data = {}
    for line in text.splitlines():
        kind, *pairs = line.split() or [""]
        values: dict[str, int | float] = {}
        for pair in pairs:
            name, _, value = pair.partition("=")
            try:
                values[name] = int(value) if name == "total" else float(value)
            except ValueError:
                values[name] = 0
        out[kind] = values
    return out
