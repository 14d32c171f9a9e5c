"""linux.resources as writes: one H op LIMIT per write, with the property it comes from. (Pure; compat.md 2.6.)

A limit goes where its controller is: to the container's group in the cgroup2 tree (slot "cgroup", values of this file),
or, on a host that still has the controller on a v1 hierarchy, to the group there (limits_v1.py). 0 and absent mean
"don't touch", as with runc, except where 0 is a limit (pids). A limit that can't be kept is refused, never forgotten.

The order within a member matters: swap before limit, burst before quota, `unified` last, so that it wins.
"""

from ..errors import Error
from .script import Plan

ENOENT, EINVAL = 2, 22
MEMBERS = (  # member of linux.resources, controller
    ("memory", "memory"), ("cpu", "cpu"), ("cpu", "cpuset"), ("pids", "pids"), ("blockIO", "io"),
    ("hugepageLimits", "hugetlb"), ("network", "network"), ("rdma", "rdma"),
)
DOMAIN = ("memory", "io", "hugetlb", "rdma", "misc")  # controllers that a threaded group cannot have
V1_NAMES = {"io": ("blkio",), "network": ("net_cls", "net_prio")}


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


def compile(plan, resources, v1, v2=True):
    """Append the LIMIT ops. `v1`: {controller: slot} of the controllers on v1 hierarchies, {} on a v2 host; `v2`: is
    there a group in the cgroup2 tree."""
    ops = {}
    for write in writes(resources, v1):
        pointer = "/linux/resources" + write.pointer
        if write.controller not in v1 and not v2:
            raise Error(f"config.json: {pointer}: cannot set {write.controller} limit: container could not join or create "
                        "cgroup", f"this host has no cgroup hierarchy with {write.controller}", pointer=pointer)
        ops[write] = plan.add("H", "LIMIT", (v1.get(write.controller, "cgroup"),), (write.file, write.value),
                              write.tolerate, ops.get(write.instead), pointer)


def update(resources, v1, v2=True):
    """The plan of `update`: nothing but writes to groups that exist. The limit is compared with what is in use first
    if checkBeforeUpdate says so: the kernel would end the container rather than refuse."""
    plan = Plan()
    memory = resources.get("memory") or {}
    limit = memory.get("limit") or 0
    if memory.get("checkBeforeUpdate") and limit > 0:
        slot, file = (v1["memory"], "memory.usage_in_bytes") if "memory" in v1 else ("cgroup", "memory.current")
        plan.add("H", "FITS", (slot,), (file, limit), source="/linux/resources/memory/checkBeforeUpdate")
    compile(plan, resources, v1, v2)
    return plan


def writes(resources, v1):
    """Every Write of a resources object, in order."""
    from . import limits_v1

    for member, controller in MEMBERS:
        value = resources.get(member)
        if not value:
            continue
        old = [name for name in V1_NAMES.get(controller, (controller,)) if name in v1]
        if old:
            yield from limits_v1.TABLE[controller](value, old)
        else:
            yield from TABLE[controller](value)
    yield from _unified(resources.get("unified") or {}, v1)


def ignored(resources, memory_on_v1):
    """What runc accepts and the kernel has no file for: to be warned of."""
    memory = resources.get("memory") or {}
    out = [f"memory.{name}" for name in ("kernel", "kernelTCP") if memory.get(name, 0) > 0]
    if not memory_on_v1:
        out += ["memory.disableOOMKiller"] if memory.get("disableOOMKiller") else []
        out += ["memory.swappiness"] if memory.get("swappiness") is not None else []
    return out


def needs_domain(plan):
    """Does any write to the cgroup2 tree need a controller that works on whole processes only?"""
    return any([op.name == "LIMIT" and op.slots[0] == "cgroup" and op.args[0].partition(".")[0] in DOMAIN
                for op in plan.ops])


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
            raise Error(f"config.json: /linux/resources/cpu/{name}: realtime scheduling of groups does not exist in cgroup v2",
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
    """math.log2, which is not among the modules of a hot verb: the integer part by bits, the rest by squaring."""
    whole = number.bit_length() - 1
    rest, part, out = number / (1 << whole), 1.0, float(whole)
    for _ in range(52):
        rest, part = rest * rest, part / 2
        if rest >= 2:
            rest, out = rest / 2, out + part
    return out


def _cpuset(cpu):
    for name in ("cpus", "mems"):
        if cpu.get(name):
            yield Write("cpuset", f"cpuset.{name}", cpu[name], f"/cpu/{name}")


def _pids(pids):
    limit = pids.get("limit")
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


def _hugetlb(listed):
    for i, entry in enumerate(listed):
        size, limit, pointer = entry["pageSize"], str(entry["limit"]), f"/hugepageLimits/{i}"
        yield Write("hugetlb", f"hugetlb.{size}.max", limit, pointer)
        yield Write("hugetlb", f"hugetlb.{size}.rsvd.max", limit, pointer, (ENOENT,))


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


def _unified(unified, v1):
    """As they stand, one write a line. What moves processes is not a resource: it could be used on the host's."""
    for file, value in unified.items():
        controller, pointer = file.partition(".")[0], f"/unified/{file}"
        if file in ("cgroup.procs", "cgroup.threads", "cgroup.kill"):
            raise Error(f'unified resource "{file}" can\'t be set: it is no limit', pointer="/linux/resources" + pointer)
        if controller in v1 or controller == "io" and "blkio" in v1:
            raise Error(f'unified resource "{file}" can\'t be set: controller "{controller}" is on cgroup v1 on this host',
                        "use the properties of linux.resources", pointer="/linux/resources" + pointer)
        for line in value.split("\n"):
            if line:
                yield Write(controller, file, line, pointer)


TABLE = {"memory": _memory, "cpu": _cpu, "cpuset": _cpuset, "pids": _pids, "io": _io, "hugetlb": _hugetlb,
         "network": _network, "rdma": rdma}


# --- the way back ---


def inverse(file, value, before):
    """The writes that bring a file back to `before`, its text read before `value` was written. (Pure.)

    Most files take back what they say. Those with a line per device take it a device at a time; a device without a line
    had no limit.
    """
    before = before.strip("\n")
    key, _, rest = value.partition(" ")
    if file in ("rdma.max", "io.max"):
        for line in before.split("\n"):
            if line.partition(" ")[0] == key:
                return [line]
        return [" ".join([key, *[part.partition("=")[0] + "=max" for part in rest.split(" ")]])]
    if file in ("io.weight", "io.bfq.weight"):
        wanted = key if rest else "default"
        for line in before.split("\n"):
            name, _, number = line.partition(" ")
            if name == wanted:
                return [line if rest else number]
        return [f"{key} default" if rest else before]
    if file.startswith("blkio.") and rest:
        for line in before.split("\n"):
            if line.partition(" ")[0] == key:
                return [line]
        return [f"{key} 0"]
    return [before]
