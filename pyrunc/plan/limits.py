"""linux.resources as writes: one H op LIMIT per write, with the property it comes from. (Pure; docs/compatibility.md, "Limits".)

A limit goes where its controller is: to the container's group in the cgroup2 tree (slot "cgroup", limits_v2.py), or, on a
host that still has the controller on a v1 hierarchy, to the group there (limits_v1.py). `unified` comes last: it wins.
"""

from ..config.names import NO_SWAPPINESS
from ..errors import Error
from . import limits_v1, limits_v2
from .limits_v2 import Write
from .script import Plan

MEMBERS = (  # member of linux.resources, controller
    ("memory", "memory"), ("cpu", "cpu"), ("cpu", "cpuset"), ("pids", "pids"), ("blockIO", "io"),
    ("hugepageLimits", "hugetlb"), ("network", "network"), ("rdma", "rdma"),
)
DOMAIN = ("memory", "io", "hugetlb", "rdma", "misc")  # controllers that a threaded group cannot have
V1_NAMES = {"io": ("blkio",), "network": ("net_cls", "net_prio")}


def compile(plan, resources, v1, v2=True):
    """Append the LIMIT ops. `v1`: {controller: slot} of the controllers on v1 hierarchies, {} on a v2 host; `v2`: is
    there a group in the cgroup2 tree."""
    ops = {}
    for write in writes(resources, v1):
        pointer = "/linux/resources" + write.pointer
        if write.controller not in v1 and not v2:
            raise nowhere(write.controller, pointer)
        ops[write] = plan.add("H", "LIMIT", (v1.get(write.controller, "cgroup"),), (write.file, write.value),
                              write.tolerate, ops.get(write.instead), pointer)


def nowhere(controller, pointer):
    """The Error for a controller that is on no hierarchy of this host."""
    return Error(f"config.json: {pointer}: cannot set {controller} limit: container could not join or create cgroup",
                 f"this host has no cgroup hierarchy with {controller}", pointer=pointer)


def update(resources, v1, v2=True, unit=None, facts=None):
    """The plan of `update`: nothing but writes to groups that exist. The limit is compared with what is in use first
    if checkBeforeUpdate says so: the kernel would end the container rather than refuse. unit: of state.json, where systemd
    has made the group."""
    plan = Plan()
    memory = resources.get("memory") or {}
    limit = memory.get("limit") or 0
    if memory.get("checkBeforeUpdate") and limit > 0:
        slot, file = (v1["memory"], "memory.usage_in_bytes") if "memory" in v1 else ("cgroup", "memory.current")
        plan.add("H", "FITS", (slot,), (file, limit), source="/linux/resources/memory/checkBeforeUpdate")
    if unit:
        from . import scope

        scope.update(plan, resources, facts, unit)
    compile(plan, resources, v1, v2)
    return plan


def writes(resources, v1):
    """Every Write of a resources object, in order."""
    for member, controller in MEMBERS:
        value = resources.get(member)
        if not value:
            continue
        on_v1 = any([name in v1 for name in V1_NAMES.get(controller, (controller,))])
        yield from (limits_v1 if on_v1 else limits_v2).TABLE[controller](value)
    yield from _unified(resources.get("unified") or {}, v1)


def ignored(resources, memory_on_v1):
    """What runc accepts and the kernel has no file for: to be warned of."""
    memory = resources.get("memory") or {}
    out = ["memory.kernel"] if memory.get("kernel", 0) > 0 else []
    if not memory_on_v1:
        out += ["memory.kernelTCP"] if memory.get("kernelTCP", 0) > 0 else []
        out += ["memory.disableOOMKiller"] if memory.get("disableOOMKiller") else []
        out += ["memory.swappiness"] if memory.get("swappiness", NO_SWAPPINESS) != NO_SWAPPINESS else []
    return out


def split(resources):
    """(what holds before anything runs, what can hold only when init has been forked): for a moment the first process
    and init are two, and pids.max may be 1."""
    unified = resources.get("unified") or {}
    late = {file: value for file, value in unified.items() if file.startswith("pids.")}
    early = {**resources, "pids": {}, "unified": {file: value for file, value in unified.items() if file not in late}}
    return early, {"pids": resources.get("pids"), "unified": late}


def needs_domain(plan):
    """Does any write to the cgroup2 tree need a controller that works on whole processes only?"""
    return any([op.name == "LIMIT" and op.slots[0] == "cgroup" and op.args[0].partition(".")[0] in DOMAIN
                for op in plan.ops])


def _unified(unified, v1):
    """As they stand, one write a line. What moves processes is not a resource: it could be used on the host's."""
    for file, value in unified.items():
        controller, pointer = file.partition(".")[0], f"/unified/{file}"
        if file in ("cgroup.procs", "cgroup.threads", "cgroup.kill"):
            raise Error(f'unified resource "{file}" can\'t be set: it is not a limit', pointer="/linux/resources" + pointer)
        if controller in v1 or controller == "io" and "blkio" in v1:
            raise Error(f'unified resource "{file}" can\'t be set: controller "{controller}" is on cgroup v1 on this host',
                        "use the properties of linux.resources", pointer="/linux/resources" + pointer)
        for line in value.split("\n"):
            if line:
                yield Write(controller, file, line, pointer)


# --- the way back ---


# Files with a line per key (a device, an interface), the first word: what says "no limit" for a key that has no line.
KEYED = {
    "rdma.max": "max", "io.max": "max", "io.latency": "0", "io.weight": "default", "io.bfq.weight": "default",
    "net_prio.ifpriomap": "0",
}


def inverse(file, value, before):
    """The write that brings a file back to `before`, its text read before `value` was written. (Pure.)

    Most files take back what they say; an empty one takes an empty line, for a write of no bytes reaches no file. Those
    with a line per key take it a key at a time, `name=number` pairs with every name that was written.
    """
    before = before.strip("\n")
    key, _, rest = value.partition(" ")
    if file == "memory.oom_control":  # says more than it takes
        return before.split("\n")[0].removeprefix("oom_kill_disable ")
    none = KEYED.get(file, "0" if file.startswith("blkio.") else None)
    if none is None or not rest and "weight" not in file:
        return before or "\n"
    lines = {line.partition(" ")[0]: line for line in before.split("\n")}
    if not rest:  # the weight of all devices without one of their own
        return lines.get("default", before).removeprefix("default ")
    if key in lines:
        return lines[key]
    return " ".join([key, *[part.partition("=")[0] + "=" + none if "=" in part else none for part in rest.split(" ")]])
