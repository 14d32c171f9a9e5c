"""linux.resources in the files of a cgroup2 group. Pure.

0 and absent mean "don't touch", as with runc, except where 0 is a limit (pids). What cgroup2 has no file for is refused,
never forgotten. The order within a member matters: swap before limit, burst before quota.
"""

from ..errors import Error

ENOENT, EINVAL = 2, 22


class Write:
    """One write. `tolerate`: errnos that are no failure; `instead`: the Write that must have failed for this one."""

    __slots__ = ("controller", "file", "value", "pointer", "tolerate", "instead")

    def __init__(self, controller, file, value, pointer, tolerate=(), instead=None):
        self.controller = controller
        self.file = file
        self.value = value
        self.pointer = pointer
        self.tolerate = tolerate
        self.instead = instead


def text(number, unlimited="max"):
    return unlimited if number < 0 else str(number)


def _memory(memory):
    limit, swap = memory.get("limit", 0), memory.get("swap", 0)
    if limit or swap:
        value = swap_v2(limit, swap)
        if value is not None:
            tolerate = (ENOENT,) if value in ("max", "0") else ()  # a kernel without swap accounting
            pointer = "/memory/swap" if swap else "/memory/limit"
            yield Write("memory", "memory.swap.max", value, pointer, tolerate)
    if limit:
        yield Write("memory", "memory.max", text(limit), "/memory/limit")
    if memory.get("reservation"):
        yield Write("memory", "memory.low", text(memory["reservation"]), "/memory/reservation")


def swap_v2(limit, swap):
    """OCI (and v1) count memory and swap together, v2 swap alone. None: leave it."""
    if limit == -1 and swap == 0 or swap == -1:
        return "max"
    if swap == 0:
        return None
    if limit == -1:
        return str(swap)
    if limit == 0:
        raise Error("unable to set swap limit without memory limit", pointer="/linux/resources/memory/swap")
    if swap < limit:
        raise Error("memory+swap limit should be >= memory limit", pointer="/linux/resources/memory/swap")
    return str(swap - limit)


def _cpu(cpu):
    for name in ("realtimeRuntime", "realtimePeriod"):
        if cpu.get(name):
            raise Error(f"config.json: /linux/resources/cpu/{name}: cgroup v2 has no realtime scheduling of groups",
                        pointer=f"/linux/resources/cpu/{name}")
    if cpu.get("idle") is not None:
        yield Write("cpu", "cpu.idle", str(cpu["idle"]), "/cpu/idle")
    if cpu.get("shares") and not cpu.get("idle"):  # an idle group has no weight: the kernel refuses one
        yield Write("cpu", "cpu.weight", str(weight(cpu["shares"])), "/cpu/shares")
    yield from _bandwidth(cpu)


def _bandwidth(cpu):
    """quota and period are one write. A burst must not be above the quota in force: before it or, if refused, after."""
    amount, period, burst = cpu.get("quota") or 0, cpu.get("period") or 0, cpu.get("burst")
    bandwidth, early = bool(amount or period), None
    if burst is not None:
        early = Write("cpu", "cpu.max.burst", str(burst), "/cpu/burst", (EINVAL,) if bandwidth else ())
        yield early
    if bandwidth:
        yield Write("cpu", "cpu.max", f"{amount if amount > 0 else 'max'} {period or 100000}",
                    "/cpu/quota" if amount else "/cpu/period")
        if early:
            yield Write("cpu", "cpu.max.burst", str(burst), "/cpu/burst", instead=early)


def weight(shares):
    """cpu.shares 2..262144 to cpu.weight 1..10000 with 1024 at 100: runc's curve, 10^((l^2 + 125 l)/612 - 7/34)."""
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    log = _log2(shares)
    exact = 10 ** ((log * log + 125 * log) / 612 - 7 / 34)
    whole = int(exact)
    return whole if exact == whole else whole + 1


def _log2(number):
    """math.log2 without `math`, a shared object in some builds of CPython: the integer part by bits, the rest by squaring."""
    whole = number.bit_length() - 1
    rest, part, out = number / (1 << whole), 1.0, float(whole)
    for _ in range(52):
        rest, part = rest * rest, part / 2
        if rest >= 2:
            rest, out = rest / 2, out + part
    return out


def cpuset(cpu):
    for name in ("cpus", "mems"):
        if cpu.get(name):
            yield Write("cpuset", f"cpuset.{name}", cpu[name], f"/cpu/{name}")


def pids(member):
    limit = member.get("limit")
    if limit is not None:  # no processes at all cannot be said to systemd, and no container can have none: 1
        yield Write("pids", "pids.max", text(limit or 1), "/pids/limit")


def _io(io):
    if io.get("weight"):
        bfq = Write("io", "io.bfq.weight", str(io["weight"]), "/blockIO/weight", (ENOENT,))
        yield bfq
        yield Write("io", "io.weight", str(io_weight(io["weight"])), "/blockIO/weight", instead=bfq)
    for i, device in enumerate(io.get("weightDevice") or ()):
        if device.get("weight"):
            pointer, number = f"/blockIO/weightDevice/{i}", f"{device['major']}:{device['minor']}"
            bfq = Write("io", "io.bfq.weight", f"{number} {device['weight']}", pointer, (ENOENT,))
            yield bfq
            yield Write("io", "io.weight", f"{number} {io_weight(device['weight'])}", pointer, instead=bfq)
    for member, key in THROTTLES:
        for i, device in enumerate(io.get(member) or ()):
            yield Write("io", "io.max", f"{device['major']}:{device['minor']} {key}={device['rate']}",
                        f"/blockIO/{member}/{i}")


THROTTLES = (("throttleReadBpsDevice", "rbps"), ("throttleWriteBpsDevice", "wbps"),
             ("throttleReadIOPSDevice", "riops"), ("throttleWriteIOPSDevice", "wiops"))


def io_weight(old):
    """blkio.weight 10..1000 to io.weight 1..10000."""
    return 1 + (old - 10) * 9999 // 990


def hugetlb(listed, file="max"):
    for i, entry in enumerate(listed):
        size, limit, pointer = entry["pageSize"], str(entry["limit"]), f"/hugepageLimits/{i}"
        yield Write("hugetlb", f"hugetlb.{size}.{file}", limit, pointer)
        yield Write("hugetlb", f"hugetlb.{size}.rsvd.{file}", limit, pointer, (ENOENT,))


def _network(network):
    for name in ("classID", "priorities"):
        if network.get(name):
            raise Error(f"config.json: /linux/resources/network/{name}: cgroup v2 has no network controllers",
                        "use eBPF or nftables rules by cgroup path instead", pointer=f"/linux/resources/network/{name}")
    return ()


def rdma(devices):
    for name, limits in devices.items():
        parts = [f"{key}={limits[member]}" for member, key in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object"))
                 if limits.get(member) is not None]
        if parts:
            yield Write("rdma", "rdma.max", " ".join([name, *parts]), f"/rdma/{name}")


TABLE = {"memory": _memory, "cpu": _cpu, "cpuset": cpuset, "pids": pids, "io": _io, "hugetlb": hugetlb,
         "network": _network, "rdma": rdma}
