"""The same properties in the files of v1 hierarchies: names, units and order are the kernel's. Pure."""

from __future__ import annotations

from errno import EINVAL, ENOENT

from ..config.names import NO_SWAPPINESS
from ..typed import TYPE_CHECKING
from .limits_v2 import Write, cpuset, hugetlb, pids, rdma, text, throttles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..config.shape import BlockIO, Cpu, HugepageLimit, Memory, Network
    from .limits_v2 import Table


def _memory(memory: Memory) -> Iterator[Write]:
    """limit and memsw: neither may cross the other, and which must move first depends on the old values. At first the
    limit; if refused, it is above the old memsw, so it comes again after that."""
    limit, swap = memory.get("limit", 0), memory.get("swap", 0)
    if limit == -1 and swap == 0:
        swap = -1
    first = Write("memory", "memory.limit_in_bytes", text(limit, "-1"), "/memory/limit", (EINVAL,) if swap else ())
    if limit:
        yield first
    if swap:
        tolerate = (ENOENT,) if swap == -1 else ()
        yield Write("memory", "memory.memsw.limit_in_bytes", text(swap, "-1"), "/memory/swap", tolerate)
        if limit:
            yield Write("memory", "memory.limit_in_bytes", text(limit, "-1"), "/memory/limit", instead=first)
    if memory.get("reservation"):
        yield Write("memory", "memory.soft_limit_in_bytes", text(memory["reservation"], "-1"), "/memory/reservation")
    if memory.get("kernelTCP"):
        yield Write("memory", "memory.kmem.tcp.limit_in_bytes", text(memory["kernelTCP"], "-1"), "/memory/kernelTCP")
    if memory.get("swappiness", NO_SWAPPINESS) != NO_SWAPPINESS:
        yield Write("memory", "memory.swappiness", str(memory["swappiness"]), "/memory/swappiness")
    if memory.get("disableOOMKiller"):
        yield Write("memory", "memory.oom_control", "1", "/memory/disableOOMKiller")


def _cpu(cpu: Cpu) -> Iterator[Write]:
    period, runtime = cpu.get("realtimePeriod"), cpu.get("realtimeRuntime")
    if period:  # not below the runtime in force: before the new one or, if refused, after
        first = Write("cpu", "cpu.rt_period_us", str(period), "/cpu/realtimePeriod", (EINVAL,) if runtime else ())
        yield first
    if runtime:
        yield Write("cpu", "cpu.rt_runtime_us", str(runtime), "/cpu/realtimeRuntime")
        if period:
            yield Write("cpu", "cpu.rt_period_us", str(period), "/cpu/realtimePeriod", instead=first)
    if cpu.get("idle") is not None:
        yield Write("cpu", "cpu.idle", str(cpu["idle"]), "/cpu/idle")
    if cpu.get("shares") and not cpu.get("idle"):
        yield Write("cpu", "cpu.shares", str(cpu["shares"]), "/cpu/shares")
    amount, period, burst = cpu.get("quota"), cpu.get("period"), cpu.get("burst")
    # a burst must not be above the quota, nor quota/period above the parent's: each before the quota or, if refused, after
    early: list[Write] = []
    for value, file, name in ((burst, "cpu.cfs_burst_us", "burst"), (period or None, "cpu.cfs_period_us", "period")):
        if value is not None:
            early.append(Write("cpu", file, str(value), f"/cpu/{name}", (EINVAL,) if amount else ()))
    yield from early
    if amount:
        yield Write("cpu", "cpu.cfs_quota_us", text(amount, "-1"), "/cpu/quota")
        for write in reversed(early):
            yield Write("cpu", write.file, write.value, write.pointer, instead=write)


def _blkio(io: BlockIO) -> Iterator[Write]:
    if io.get("weight"):
        bfq = Write("blkio", "blkio.bfq.weight", str(io["weight"]), "/blockIO/weight", (ENOENT,))
        yield bfq
        yield Write("blkio", "blkio.weight", str(io["weight"]), "/blockIO/weight", instead=bfq)
    for i, device in enumerate(io.get("weightDevice") or ()):
        if device.get("weight"):
            value, pointer = f"{device['major']}:{device['minor']} {device['weight']}", f"/blockIO/weightDevice/{i}"
            bfq = Write("blkio", "blkio.bfq.weight_device", value, pointer, (ENOENT,))
            yield bfq
            yield Write("blkio", "blkio.weight_device", value, pointer, instead=bfq)
    for member, i, limit in throttles(io):
        yield Write("blkio", f"blkio.throttle.{THROTTLES[member]}", f"{limit['major']}:{limit['minor']} {limit['rate']}",
                    f"/blockIO/{member}/{i}")


THROTTLES = {"throttleReadBpsDevice": "read_bps_device", "throttleWriteBpsDevice": "write_bps_device",
             "throttleReadIOPSDevice": "read_iops_device", "throttleWriteIOPSDevice": "write_iops_device"}


def _hugetlb(listed: Iterable[HugepageLimit]) -> Iterator[Write]:
    return hugetlb(listed, "limit_in_bytes")


def _network(network: Network) -> Iterator[Write]:
    if network.get("classID"):
        yield Write("net_cls", "net_cls.classid", str(network["classID"]), "/network/classID")
    for i, entry in enumerate(network.get("priorities") or ()):
        yield Write("net_prio", "net_prio.ifpriomap", f"{entry['name']} {entry['priority']}", f"/network/priorities/{i}")


TABLE: Table = {"memory": _memory, "cpu": _cpu, "cpuset": cpuset, "pids": pids, "io": _blkio, "hugetlb": _hugetlb,
         "network": _network, "rdma": rdma}
