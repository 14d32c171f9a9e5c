"""`update ID`: change the limits of a container. A write that fails takes back those before it."""

from __future__ import annotations

from .. import kernel, lifecycle, log, state
from ..config import load
from ..errors import Error
from ..typed import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..args import Globals
    from ..config.shape import Resources
    from ..state import Container

    Options = Mapping[str, str | None]  # each is a text, --help apart
    Limits = Mapping[str, Any]  # linux.resources as JSON: members and properties go by name here

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
    ("cpu-rt-runtime", ("cpu", "realtimeRuntime"), NUMBER, "realtime CPU time within a period, in microseconds (cgroup v1)"),
    ("cpu-idle", ("cpu", "idle"), NUMBER, "1: run only when nothing else wants the CPU"),
    ("cpuset-cpus", ("cpu", "cpus"), WORD, "CPUs to use, such as 0-3"),
    ("cpuset-mems", ("cpu", "mems"), WORD, "memory nodes to use"),
    ("memory", ("memory", "limit"), SIZE, "memory limit, with b, k, m, g or t; -1 is unlimited"),
    ("memory-reservation", ("memory", "reservation"), SIZE, "memory that is reclaimed last"),
    ("memory-swap", ("memory", "swap"), SIZE, "memory and swap together; -1 is unlimited swap"),
    ("pids-limit", ("pids", "limit"), NUMBER, "number of processes; -1 is unlimited"),
)
DROPPED = ("kernel-memory", "kernel-memory-tcp")
RDT = (  # flag, property of linux.intelRdt, what it is called where it is missing
    ("l3-cache-schema", "l3CacheSchema", "Intel RDT/CAT: l3 cache schema"),
    ("mem-bw-schema", "memBwSchema", "Intel RDT/MBA: memory bandwidth schema"),
)
OPTIONS = (
    (("resources", "r"), "str", None, "file with a linux.resources object, or - for stdin; the options for single limits are then ignored"),
    *[((flag, None), "str", None, text) for flag, _, _, text in FLAGS],
    *[((flag, None), "str", None, "ignored: kernels no longer have it") for flag in DROPPED],
    (("l3-cache-schema", None), "str", None, "Intel RDT: part of the L3 cache, such as L3:0=f;1=f"),
    (("mem-bw-schema", None), "str", None, "Intel RDT: memory bandwidth, such as MB:0=20;1=70"),
)
# Absent from an update, these are not written again, as little as what is in `unified`; all else is.
ONCE = (("cpu", "burst"), ("cpu", "cpus"), ("cpu", "mems"), ("cpu", "idle"), ("pids", "limit"))
DEVICE_LISTS = ("weightDevice", "throttleReadBpsDevice", "throttleWriteBpsDevice", "throttleReadIOPSDevice",
                "throttleWriteIOPSDevice")
LEFT_BY_0 = ("limit", "swap", "reservation")
SUFFIXES = {"k": 10, "m": 20, "g": 30, "t": 40}


def run(globals_: Globals, options: Options, args: list[str]) -> int:
    with state.load(globals_["root"], args[0]) as container:
        container.lock()
        _running(container)
        schemas = schemas_of(container, options)
        wanted: Limits
        if options["resources"]:
            wanted, name = load.load_resources(options["resources"], kernel.read_timeout)
        else:
            wanted, name = of_flags(options), "update"
        holds = judge(container.resources(), wanted, name)
        try:
            lifecycle.update(container, cast("Resources", holds), cast("Resources", written(holds, wanted)), schemas)
        except Error:
            _running(container)  # what failed may have failed for that
            raise
    return 0


def _running(container: Container) -> None:
    if container.status() == "stopped":
        raise Error("container not running")


def schemas_of(container: Container, options: Options) -> list[str]:
    """The lines for the schemata of its resctrl group."""
    wanted = [(line, name, missing) for flag, name, missing in RDT if (line := options[flag])]
    if not wanted:
        return []
    if "resctrl" not in container.data:
        raise Error("updating a non-existent Intel RDT configuration is not supported")
    from ..host import rdt

    for _, name, missing in wanted:
        if not rdt.enabled(container.data["facts"]["resctrl"], name):
            raise Error(f"{missing} is not enabled")
    return [line for line, _, _ in wanted]


def of_flags(options: Options) -> dict[str, Any]:
    """A resources object made of the flags."""
    wanted: dict[str, dict[str, str | int]] = {}
    for flag, (member, name), kind, _ in FLAGS:
        value = options[flag]
        if value is not None and value != "":
            wanted.setdefault(member, {})[name] = value if kind == WORD else _number(flag, value, kind)
    for flag in DROPPED:
        if options[flag]:
            log.warning(f"--{flag} is ignored: kernels no longer have this limit")
    if "idle" in wanted.get("cpu", {}) and "shares" not in wanted["cpu"]:
        wanted["cpu"]["shares"] = 0
    return wanted


def _number(flag: str, value: str, kind: str) -> int:
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
    scale: int = 10 ** len(fraction)
    return (int(text + fraction) << shift) // scale


def merged(saved: Limits, wanted: Limits) -> dict[str, Any]:
    """The limits that shall be in force: the saved ones, with the wanted ones over them. A memory limit of 0 is none. (Pure.)"""
    out = {member: dict(value) if type(value) is dict else value for member, value in saved.items()}
    for member in ("memory", "cpu", "pids", "blockIO"):
        have = out.setdefault(member, {})
        for name, value in (wanted.get(member) or {}).items():
            if member != "memory" or value != 0 or name not in LEFT_BY_0:
                have[name] = _upserted(have.get(name) or [], value) if name in DEVICE_LISTS else value
    limits = wanted.get("memory") or {}
    if limits.get("limit") == -1 and not limits.get("swap"):
        out["memory"]["swap"] = 0  # with it, the limit on swap goes
    for member in ("hugepageLimits", "rdma", "network"):
        if wanted.get(member):
            out[member] = wanted[member]
    if wanted.get("unified"):
        out["unified"] = {**out.get("unified", {}), **wanted["unified"]}
    return {member: value for member, value in out.items() if value}


def judge(saved: Limits, wanted: Limits, name: str) -> dict[str, Any]:
    """The limits that shall be in force; refused where they contradict each other. name: of where the wanted limits stand."""
    holds = merged(saved, wanted)
    try:
        load.check_resources(holds, name)
    except Error as err:
        member, _, limit = (err.pointer or "")[1:].partition("/")
        if limit not in (wanted.get(member) or {}):
            err.hint = f"{member}.{limit} is already in force: change both in one update"
        raise
    return holds


def written(holds: Limits, wanted: Limits) -> dict[str, Any]:
    """The limits to write: those in force, less what nobody asks for and others may have changed since. (Pure.)"""
    out = {**holds, "unified": wanted.get("unified") or {}}
    for member, name in ONCE:
        if name in out.get(member, {}) and name not in (wanted.get(member) or {}):
            out[member] = {other: value for other, value in out[member].items() if other != name}
    return {member: value for member, value in out.items() if value}


def _upserted(have: list[dict[str, int]], entries: list[dict[str, int]]) -> list[dict[str, int]]:
    found = {(device["major"], device["minor"]): device for device in have}
    found.update({(device["major"], device["minor"]): device for device in entries})
    return list(found.values())
