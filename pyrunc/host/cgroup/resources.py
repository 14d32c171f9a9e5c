"""Which resource limits of a config this build can't apply, so that they are refused and not forgotten. (Pure.)

Called by the plan compiler before anything happens. A container that silently runs without its memory limit is worse
than one that doesn't start. Device rules are not here: they are applied (devices.py).

Values that leave a group as the kernel made it are no limits: absent, 0 ("don't touch"; compat.md 2.6) and negative
("max"). What both runc and the kernel dropped long ago (memory.kernel, kernelTCP, useHierarchy, blockIO.leafWeight) is
ignored, as runc does.
"""

from pyrunc.errors import Error

# Per member of linux.resources: the properties that need a write if they are a number above zero, true, or not empty.
NUMBERS_AND_LISTS = {
    "memory": ("limit", "reservation", "swap", "disableOOMKiller"),
    "cpu": ("shares", "quota", "burst", "idle", "cpus", "mems", "realtimeRuntime", "realtimePeriod"),
    "blockIO": ("weight", "weightDevice", "throttleReadBpsDevice", "throttleWriteBpsDevice",
                "throttleReadIOPSDevice", "throttleWriteIOPSDevice"),
    "network": ("classID", "priorities"),
}
# The properties for which 0 is a value like any other: a limit of no processes (the kernel gets 1), no swapping.
ZERO_COUNTS = {"pids": ("limit",), "memory": ("swappiness",)}
WHOLE = ("hugepageLimits", "rdma", "unified")


def unapplied(resources):
    """(pointer, what) of every limit in linux.resources that would need a write, in the order of the spec."""
    found = []
    for table, is_limit in ((NUMBERS_AND_LISTS, _above_zero), (ZERO_COUNTS, _not_negative)):
        for member, names in table.items():
            values = resources.get(member) or {}
            found += [(f"/linux/resources/{member}/{name}", f"{member}.{name}")
                      for name in names if is_limit(values.get(name))]
    found += [(f"/linux/resources/{name}", name) for name in WHOLE if resources.get(name)]
    return found


def refuse_limits(config):
    """Raise an Error that names every limit which can't be applied; the pointer is the first one's."""
    found = unapplied((config.get("linux") or {}).get("resources") or {})
    if found:
        names = ", ".join(what for _, what in found)
        raise Error(f"linux.resources: resource limits cannot be applied yet: {names}", pointer=found[0][0],
                    hint="remove them from config.json, or start the container from a group that has the limits")


def _above_zero(value):
    return value > 0 if type(value) is int else bool(value)


def _not_negative(value):
    return value is not None and value >= 0
