"""`update ID`: change the limits of a container. A write that fails takes back those before it (compat.md 1.13)."""

from .. import lifecycle, log, state
from ..config import load
from ..errors import Error

USAGE = "update [options] CONTAINER"
ARGS = (1, 1)
NUMBER, SIZE, WORD = "a number", "a size such as 512m or 1.5g", ""
FLAGS = (  # flag, (member, property) of linux.resources, what its value is, help
    ("blkio-weight", ("blockIO", "weight"), NUMBER, "relative weight of block I/O, 10 to 1000"),
    ("cpu-period", ("cpu", "period"), NUMBER, "CPU period, in microseconds"),
    ("cpu-quota", ("cpu", "quota"), NUMBER, "CPU time within a period, in microseconds; -1 is unlimited"),
    ("cpu-burst", ("cpu", "burst"), NUMBER, "unused quota that may be saved up, in microseconds"),
    ("cpu-share", ("cpu", "shares"), NUMBER, "CPU shares, 2 to 262144"),
    ("cpu-rt-period", ("cpu", "realtimePeriod"), NUMBER, "realtime period, in microseconds (cgroup v1)"),
    ("cpu-rt-runtime", ("cpu", "realtimeRuntime"), NUMBER, "realtime within a period, in microseconds (cgroup v1)"),
    ("cpu-idle", ("cpu", "idle"), NUMBER, "1: only when nothing else wants the CPU"),
    ("cpuset-cpus", ("cpu", "cpus"), WORD, "CPUs to use, such as 0-3"),
    ("cpuset-mems", ("cpu", "mems"), WORD, "memory nodes to use"),
    ("memory", ("memory", "limit"), SIZE, "memory limit, with b, k, m, g or t; -1 is unlimited"),
    ("memory-reservation", ("memory", "reservation"), SIZE, "memory that is reclaimed last"),
    ("memory-swap", ("memory", "swap"), SIZE, "memory and swap together; -1 is unlimited swap"),
    ("pids-limit", ("pids", "limit"), NUMBER, "count of processes; -1 is unlimited"),
)
DROPPED = ("kernel-memory", "kernel-memory-tcp")
RDT = (  # flag, property of linux.intelRdt, what it is called where it is missing
    ("l3-cache-schema", "l3CacheSchema", "Intel RDT/CAT: l3 cache schema"),
    ("mem-bw-schema", "memBwSchema", "Intel RDT/MBA: memory bandwidth schema"),
)
OPTIONS = (
    (("resources", "r"), "str", None, "file with a linux.resources object, or - for stdin; other limits are not looked at"),
    *[((flag, None), "str", None, text) for flag, _, _, text in FLAGS],
    *[((flag, None), "str", None, "ignored: no kernel has it any more") for flag in DROPPED],
    (("l3-cache-schema", None), "str", None, "Intel RDT: part of the L3 cache, such as L3:0=f;1=f"),
    (("mem-bw-schema", None), "str", None, "Intel RDT: memory bandwidth, such as MB:0=20;1=70"),
)
# Absent from an update, these become unset; everything else stays as it was.
UNSET = (("cpu", "burst"), ("cpu", "cpus"), ("cpu", "mems"), ("cpu", "idle"), ("pids", "limit"))
DEVICE_LISTS = ("weightDevice", "throttleReadBpsDevice", "throttleWriteBpsDevice", "throttleReadIOPSDevice",
                "throttleWriteIOPSDevice")
SUFFIXES = {"k": 10, "m": 20, "g": 30, "t": 40}


def run(globals_, options, args):
    with state.load(globals_["root"], args[0]) as container:
        container.lock()
        _running(container)
        schemas = schemas_of(container, options)
        if options["resources"]:
            wanted = load.load_resources(options["resources"])
        else:
            wanted = of_flags(options)
        try:
            lifecycle.update(container, merged(container.resources(), wanted), schemas)
        except Error:
            _running(container)  # what failed may have failed for that
            raise
    return 0


def _running(container):
    if container.status() == "stopped":
        raise Error("container not running")


def schemas_of(container, options):
    """The lines for the schemata of its resctrl group."""
    wanted = [(options[flag], name, missing) for flag, name, missing in RDT if options[flag]]
    if not wanted:
        return []
    if "resctrl" not in container.data:
        raise Error("updating a non-existent Intel RDT configuration is not supported")
    from ..host import rdt

    for _, name, missing in wanted:
        if not rdt.enabled(container.data["facts"]["resctrl"], name):
            raise Error(f"{missing} is not enabled")
    return [line for line, _, _ in wanted]


def of_flags(options):
    """A resources object made of the flags."""
    wanted = {}
    for flag, (member, name), kind, _ in FLAGS:
        value = options[flag]
        if value is not None and value != "":
            wanted.setdefault(member, {})[name] = value if kind == WORD else _number(flag, value, kind)
    for flag in DROPPED:
        if options[flag]:
            log.warning(f"--{flag} is ignored: no kernel has this limit any more")
    if "idle" in wanted.get("cpu", {}) and "shares" not in wanted["cpu"]:
        wanted["cpu"]["shares"] = 0
    load.check_resources(wanted, "update")
    return wanted


def _number(flag, value, kind):
    text, shift, fraction = value, 0, ""
    if kind == SIZE:
        text = value.lower().removesuffix("b").removesuffix("i")  # 5k, 5kb and 5kib are the same
        if text[-1:] in SUFFIXES:
            text, shift = text[:-1], SUFFIXES[text[-1]]
        if "." in text[1:-1] and text[0] != "-":
            text, _, fraction = text.partition(".")
    digits = text.removeprefix("-") + fraction
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 19 or int(text) << shift >= 1 << 64:
        raise Error(f'invalid value "{value}" for --{flag}: must be {kind}')
    return (int(text + fraction) << shift) // 10 ** len(fraction)


def merged(saved, wanted):
    """What is to be in force: the saved limits under the wanted ones. (Pure.)"""
    out = {member: dict(value) if type(value) is dict else value for member, value in saved.items()}
    out["unified"] = {}
    for member, name in UNSET:
        if member in out:
            out[member].pop(name, None)
    for member in ("memory", "cpu", "pids", "blockIO"):
        have = out.setdefault(member, {})
        for name, value in (wanted.get(member) or {}).items():
            have[name] = _upserted(have.get(name) or [], value) if name in DEVICE_LISTS else value
    limits = wanted.get("memory") or {}
    if limits.get("limit") == -1 and not limits.get("swap"):
        out["memory"]["swap"] = 0  # with it, the limit on swap goes
    for member in ("hugepageLimits", "rdma", "network", "unified"):
        if wanted.get(member):
            out[member] = wanted[member]
    return {member: value for member, value in out.items() if value}


def _upserted(have, entries):
    found = {(device["major"], device["minor"]): device for device in have}
    found.update({(device["major"], device["minor"]): device for device in entries})
    return list(found.values())
