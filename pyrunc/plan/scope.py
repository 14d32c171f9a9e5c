"""A container's group as a unit of systemd's: its name and place, and linux.resources as its properties.

Pure. `place` reads linux.cgroupsPath, `start` and `update` append the ops: a PROPERTY each, then UNIT or SETUNIT, which
give them to systemd in one call. The same limits follow as LIMITs: systemd rounds some and does not know others.
"""

from ..config.cpulist import parse as cpulist
from ..config.names import decimal
from ..errors import Error
from . import device_rules, limits_v2
from .annotations import properties as annotated

POINTER = "/linux/cgroupsPath"
UNLIMITED = (1 << 64) - 1
NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:-_.\\@")
PERIOD = 100000   # of cpu.max, where only a quota is given
IDLE, OOM_POLICY = 252, 253  # the first versions of systemd with CPUWeight=0 and a scope's OOMPolicy
# What systemd writes anew when a property is set, those of other controllers too: first what our properties stand for.
FILES = ("cpu.idle", "cpu.weight", "cpu.max", "cpuset.cpus", "cpuset.mems", "memory.min", "memory.low", "memory.high",
         "memory.max", "memory.swap.max", "pids.max")
ASIDE = ("memory.oom.group", "memory.zswap.max", "io.weight", "io.bfq.weight")


class Place:
    """unit, its slice (for a slice: the parent), and `group`, the path below systemd's own group."""

    __slots__ = ("unit", "slice", "group", "name")

    def __init__(self, unit, slice_, name):
        self.unit = unit
        self.slice = slice_
        self.name = name
        self.group = expand(unit) if self.is_slice() else f"{expand(slice_)}/{unit}".lstrip("/")

    def is_slice(self):
        return self.unit.endswith(".slice")


def place(path, container_id, rootless):
    """Of linux.cgroupsPath, `slice:prefix:name`, or of a container without one."""
    parts = path.split(":") if path else ["", "pyrunc", container_id]
    if len(parts) != 3:
        raise Error(f'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "{path}" instead',
                    pointer=POINTER)
    slice_, prefix, name = parts
    slice_ = slice_ or ("user.slice" if rootless else "system.slice")
    unit = name if name.endswith(".slice") else f"{prefix}-{name}.scope"
    if not name or not NAME.issuperset(unit) or len(unit) > 255 or unit[0] == ".":
        raise Error(f'"{unit}" cannot be the name of a systemd unit', pointer=POINTER,
                    hint="letters, digits and : - _ . \\ @, at most 255 of them")
    spot = Place(unit, slice_, name)
    if not spot.group:
        raise Error(f'"{unit}" is the root of all units, which no container can have', pointer=POINTER)
    return spot


def expand(slice_):
    """`a-b.slice` lies in `a.slice`: its path; that of `-.slice` is empty."""
    stem = slice_.removesuffix(".slice")
    parts = stem.split("-")
    if stem == slice_ or not NAME.issuperset(slice_) or len(slice_) > 255 or "" in parts and stem != "-":
        raise Error(f"invalid slice name: {slice_}", pointer=POINTER, hint="a name such as system.slice or a-b.slice")
    if stem == "-":
        return ""
    return "/".join(["-".join(parts[:depth + 1]) + ".slice" for depth in range(len(parts))])


def start(plan, config, facts, unit, path, forks=False):
    """PROPERTYs, then the UNIT with them. unit: what state.json keeps of it; path: its group; forks: a first process has yet
    to fork init, for which TasksMax leaves room (the file's LIMIT follows when it has, limits.split)."""
    resources = config.get("linux", {}).get("resources") or {}
    spot = Place(unit["unit"], unit["slice"], unit["name"])
    _base(plan, spot)
    for name, kind, value, key in annotated(config.get("annotations") or {}, spot.is_slice()):
        plan.add("H", "PROPERTY", (), (name, kind, value), source=f"/annotations/{key}")
    _oom_policy(plan, resources, facts)
    _devices(plan, config, resources)
    for op in limits(plan, resources, facts):
        if forks and op.args[0] == "TasksMax":
            op.args = ("TasksMax", "t", max(op.args[2], 2))
    return plan.add("H", "UNIT", ("cgroup",), (facts.cgroup_root, path, unit["bus"], unit["unit"]), source=POINTER)


def update(plan, resources, facts, unit):
    """The same of an update."""
    if limits(plan, resources, facts):
        plan.add("H", "SETUNIT", ("cgroup",), (unit["bus"], unit["unit"]), source="/linux/resources")


def _base(plan, spot):
    """What runc gives every scope. A slice has a place by its name, and no processes of its own to begin with."""
    where = [("Wants", "as", [spot.slice])] if spot.is_slice() else [("Slice", "s", spot.slice), ("Delegate", "b", True)]
    accounting = [(f"{name}Accounting", "b", True) for name in ("Memory", "CPU", "IO", "Tasks")]
    for row in (("Description", "s", f"libcontainer container {spot.name}"), *where, *accounting, ("DefaultDependencies", "b", False)):
        plan.add("H", "PROPERTY", (), row, source=POINTER)


def _oom_policy(plan, resources, facts):
    value = (resources.get("unified") or {}).get("memory.oom.group", "").strip()
    if value in ("0", "1") and facts.systemd >= OOM_POLICY:
        plan.add("H", "PROPERTY", (), ("OOMPolicy", "s", ("continue", "kill")[int(value)]),
                 source="/linux/resources/unified/memory.oom.group")


def _devices(plan, config, resources):
    """systemd's own filter, besides ours: it keeps to the rules also after it has put ours away."""
    default_allow, exceptions = device_rules.policy(device_rules.rules(config))
    policy, allowed = ("auto", []) if default_allow and not exceptions else ("strict", [])
    if not default_allow:
        allowed = [row for key, mask in sorted(exceptions.items()) if (row := _device(key, mask))]
    source = "/linux/resources/devices" if "devices" in resources else "default: device rules"
    plan.add("H", "PROPERTY", (), ("DevicePolicy", "s", policy), source=source)
    plan.add("H", "PROPERTY", (), ("DeviceAllow", "a(ss)", allowed), source=source)


def _device(key, mask):
    """(node or group of nodes, access); None for what systemd cannot say: one minor of every major."""
    kind, major, minor = key
    word = {"c": "char", "b": "block"}[kind]
    access = "".join([letter for letter in "rwm" if mask & device_rules.ACCESS[letter]])
    if major == device_rules.ANY:
        return (f"{word}-*", access) if minor == device_rules.ANY else None
    return (f"{word}-{major}" if minor == device_rules.ANY else f"/dev/{word}/{major}:{minor}", access)


def limits(plan, resources, facts):
    return [plan.add("H", "PROPERTY", (), (name, kind, value), source="/linux/resources" + pointer)
            for name, kind, value, pointer in properties(resources, facts.systemd)]


def properties(resources, version):
    """(property, type, value, JSON pointer below /linux/resources) of a resources object; a later one wins."""
    rows = [*_memory(resources.get("memory") or {}), *_cpu(resources.get("cpu") or {}, version)]
    for write in limits_v2.pids(resources.get("pids") or {}):
        rows.append(("TasksMax", "t", _limit(write.value), write.pointer))
    unified = resources.get("unified") or {}
    for file, value in unified.items():
        if file in UNIFIED:
            rows += [(*row, f"/unified/{file}") for row in UNIFIED[file](file, value, version)]
    return list({row[0]: row for row in rows}.values())


def _limit(text):
    return UNLIMITED if text == "max" else int(text)


def _memory(memory):
    files = {"memory.swap.max": "MemorySwapMax", "memory.max": "MemoryMax", "memory.low": "MemoryLow"}
    for write in limits_v2.TABLE["memory"](memory):
        yield files[write.file], "t", _limit(write.value), write.pointer


def _cpu(cpu, version):
    if cpu.get("idle") and version >= IDLE:
        yield "CPUWeight", "t", 0, "/cpu/idle"
    elif cpu.get("shares") and not cpu.get("idle"):
        yield "CPUWeight", "t", limits_v2.weight(cpu["shares"]), "/cpu/shares"
    elif cpu.get("idle") == 0:
        yield "CPUWeight", "t", UNLIMITED, "/cpu/idle"  # none, in place of an idle group's 0
    quota, period = cpu.get("quota") or 0, cpu.get("period") or 0
    for name, value in _bandwidth(quota, period):
        yield name, "t", value, "/cpu/quota" if quota else "/cpu/period"
    for write in limits_v2.cpuset(cpu):
        yield CPUSET[write.file], "ay", bits(write.value), write.pointer


def _bandwidth(quota, period):
    """systemd keeps whole percents of a CPU: rounded up, for the group must not get less than it was given."""
    if period:
        yield "CPUQuotaPeriodUSec", period
    if quota > 0:
        yield "CPUQuotaPerSecUSec", min(-(-(quota * 1000000 // (period or PERIOD)) // 10000) * 10000, UNLIMITED)
    elif quota or period:
        yield "CPUQuotaPerSecUSec", UNLIMITED


CPUSET = {"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes"}
AMOUNTS = {"memory.high": "MemoryHigh", "memory.low": "MemoryLow", "memory.min": "MemoryMin", "memory.max": "MemoryMax",
           "memory.swap.max": "MemorySwapMax", "memory.zswap.max": "MemoryZSwapMax", "pids.max": "TasksMax"}
ZSWAP = 253


def bits(text):
    """A list of CPUs or nodes as systemd takes it: bit i % 8 of byte i // 8."""
    mask = cpulist(text)
    return mask.to_bytes((mask.bit_length() + 7) // 8, "little")


def _number(file, text):
    value = decimal(text.strip(), UNLIMITED - 1)
    if value is None:
        raise Error(f'unified resource "{file}" value invalid: "{text.strip()}"', pointer=f"/linux/resources/unified/{file}")
    return value


def _amount(file, text, version):
    if file != "memory.zswap.max" or version >= ZSWAP:
        yield AMOUNTS[file], "t", UNLIMITED if text.strip() == "max" else _number(file, text)


def _max(file, text, version):
    words = text.split()
    if len(words) not in (1, 2):
        raise Error(f'unified resource "{file}" value invalid: "{text}"', pointer=f"/linux/resources/unified/{file}")
    period = _number(file, words[1]) if words[1:] else PERIOD
    for name, value in _bandwidth(-1 if words[0] == "max" else _number(file, words[0]), period):
        yield name, "t", value


def _weight(file, text, version):
    yield "CPUWeight", "t", _number(file, text)


def _idle(file, text, version):
    if text.strip() == "1" and version >= IDLE:
        yield "CPUWeight", "t", 0


def _set(file, text, version):
    if cpulist(text) is None:
        raise Error(f'unified resource "{file}" value invalid: "{text}"', pointer=f"/linux/resources/unified/{file}")
    if text.strip():
        yield CPUSET[file], "ay", bits(text)


UNIFIED = {**dict.fromkeys(AMOUNTS, _amount), "cpu.max": _max, "cpu.weight": _weight, "cpu.idle": _idle,
           **dict.fromkeys(CPUSET, _set)}
