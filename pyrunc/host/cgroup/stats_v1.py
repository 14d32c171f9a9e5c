"""The same data from v1 hierarchies, for the controllers that are there. Pure; see stats.py."""

from __future__ import annotations


from .stats import CPUSET, entry, keyed, number, numbers, pids, some
from ...typed import TYPE_CHECKING

if TYPE_CHECKING:
    from .stats import Data, Reader

TICK = 10_000_000  # ns; USER_HZ is 100 on every architecture we run on


def cpu(read: Reader) -> Data:
    """From cpuacct for the usage and cpu for the throttling."""
    stat = keyed(read("cpuacct.stat"))
    usage: Data = some({"total": number(read("cpuacct.usage")), "percpu": [number(word) for word in read("cpuacct.usage_percpu").split()]})
    rows = [line.split() for line in read("cpuacct.usage_all").splitlines()[1:]]
    rows = [row for row in rows if len(row) == 3]
    usage.update(some({"percpu_kernel": [number(row[2]) for row in rows], "percpu_user": [number(row[1]) for row in rows]}))
    usage.update({"kernel": stat.get("system", 0) * TICK, "user": stat.get("user", 0) * TICK})
    throttled = keyed(read("cpu.stat"))
    return {"usage": usage, "throttling": some({
        "periods": throttled.get("nr_periods", 0), "throttledPeriods": throttled.get("nr_throttled", 0),
        "throttledTime": throttled.get("throttled_time", 0)})}


def cpuset(read: Reader) -> Data:
    out: Data = {"cpus": numbers(read("cpuset.cpus")), "mems": numbers(read("cpuset.mems"))}
    for name in CPUSET:
        text = read(f"cpuset.{name}").strip()
        out[name] = -number(text[1:]) if text[:1] == "-" else number(text)
    return some(out, keep=CPUSET)


def memory(read: Reader) -> Data:
    raw = keyed(read("memory.stat"))
    out: Data = {"cache": raw.get("cache", 0)}
    for name, infix in (("usage", ""), ("swap", "memsw."), ("kernel", "kmem."), ("kernelTCP", "kmem.tcp.")):
        out[name] = entry(*[number(read(f"memory.{infix}{file}"))
                            for file in ("limit_in_bytes", "usage_in_bytes", "max_usage_in_bytes", "failcnt")])
    events = keyed(read("memory.oom_control"))
    return some({**out, "raw": raw, "events": some({"oom_kill": events.get("oom_kill", 0)}, keep=("oom_kill",))})


TABLES = (("ioServiceBytesRecursive", "io_service_bytes"), ("ioServicedRecursive", "io_serviced"))


def blkio(read: Reader) -> Data:
    """Of the scheduler if it counts, else of the throttling layer."""
    for kind in ("bfq", "throttle"):
        out = {table: _rows(read(f"blkio.{kind}.{file}_recursive")) for table, file in TABLES}
        if any(out.values()):
            return some(out)
    return {}


def _rows(text: str) -> list[Data]:
    """Lines of `8:0 Read 4096`; the last is a total."""
    rows: list[Data] = []
    for line in text.splitlines():
        words = line.replace(":", " ", 1).split()
        if len(words) == 4 and all(word.isdigit() for word in (words[0], words[1], words[3])):
            rows.append(some({"major": int(words[0]), "minor": int(words[1]), "op": words[2], "value": int(words[3])}))
    return rows


def hugetlb(read: Reader, size: str) -> Data:
    prefix = f"hugetlb.{size}."
    return some({"usage": number(read(prefix + "usage_in_bytes")), "max": number(read(prefix + "max_usage_in_bytes")),
                 "failcnt": number(read(prefix + "failcnt"))}, keep=("failcnt",))


# member of the data: (the controllers its files are of, function)
MEMBERS = {"cpu": (("cpu", "cpuacct"), cpu), "cpuset": (("cpuset",), cpuset), "memory": (("memory",), memory),
           "pids": (("pids",), pids), "blkio": (("blkio",), blkio)}
