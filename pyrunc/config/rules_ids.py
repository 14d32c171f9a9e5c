"""Rules for namespaces, id mappings and what needs a namespace. See rules.py."""

from __future__ import annotations

from ..typed import TYPE_CHECKING
from . import sysctl
from .fault import Fault, path_fault, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Literal

    from .fault import View
    from .shape import IdMapping

NAMESPACES = "config-linux.md#namespaces"
MAPPINGS = "config-linux.md#user-namespace-mappings"
OFFSETS = "config-linux.md#offset-for-time-namespace"
SYSCTL = "config-linux.md#sysctl"
USER = "config.md#posix-platform-user"

MAX_MAPPINGS = 340  # user_namespaces(7), Linux 4.15
MAX_NAME = 64  # __NEW_UTS_LEN, sethostname(2)
RANGES: tuple[Literal["containerID", "hostID"], ...] = ("containerID", "hostID")
NAMES: tuple[Literal["hostname", "domainname"], ...] = ("hostname", "domainname")
CLOCKS = {"monotonic": True, "boottime": True}


def namespaces(view: View) -> Iterator[Fault]:
    seen = {}
    for index, entry in enumerate(view.linux.get("namespaces", ())):
        name, pointer = entry["type"], f"/linux/namespaces/{index}"
        if name in seen:
            yield Fault(pointer, f'malformed spec file: duplicated ns "{name}"', NAMESPACES)
        seen[name] = True
        if entry.get("path"):
            yield from path_fault(pointer + "/path", entry["path"], NAMESPACES, "namespace path")


def mapping_faults(entries: Sequence[IdMapping], pointer: str, section: str) -> Iterator[Fault]:
    """What user_namespaces(7) says the kernel refuses: too many, empty, past the end, or overlapping ranges."""
    if len(entries) > MAX_MAPPINGS:
        yield Fault(pointer, f"more than {MAX_MAPPINGS} mappings", section)
    for index, entry in enumerate(entries):
        size = entry["size"]
        if size == 0:
            yield Fault(f"{pointer}/{index}/size", "a mapping needs a size above 0", section)
        for name in RANGES:
            if entry[name] + size > 0xFFFFFFFF:
                yield Fault(f"{pointer}/{index}", f"{name} + size is above 4294967295", section)
    for name in RANGES:
        yield from _overlaps(entries, pointer, name, section)


def _overlaps(entries: Sequence[IdMapping], pointer: str, name: Literal["containerID", "hostID"],
              section: str) -> Iterator[Fault]:
    if len(entries) < 2:
        return
    end = -1
    for start, index in sorted([(entry[name], index) for index, entry in enumerate(entries)]):
        if start < end:
            yield Fault(f"{pointer}/{index}/{name}", f"{name} {start} is mapped twice", section)
        end = max(end, start + entries[index]["size"])


def user_namespace(view: View) -> Iterator[Fault]:
    uids, gids = view.linux.get("uidMappings", ()), view.linux.get("gidMappings", ())
    if "user" not in view.namespaces:
        if uids or gids:
            yield Fault("/linux/" + ("uidMappings" if uids else "gidMappings"),
                        "user namespace mappings specified, but user namespace isn't enabled in the config", MAPPINGS)
        return
    if not view.namespaces["user"]:
        if not (uids and gids):
            yield Fault("/linux/namespaces", "user namespaces enabled, but no namespace path to join nor mappings to "
                        "apply specified", MAPPINGS)
        else:
            yield from _mapped_ids(view, uids, gids)
    yield from mapping_faults(uids, "/linux/uidMappings", MAPPINGS)
    yield from mapping_faults(gids, "/linux/gidMappings", MAPPINGS)


def _mapped_ids(view: View, uids: Sequence[IdMapping], gids: Sequence[IdMapping]) -> Iterator[Fault]:
    """Id 0, which init is until it becomes the process's user, and that user's ids need a mapping."""
    both: tuple[tuple[Literal["uid", "gid"], Sequence[IdMapping]], ...] = (("uid", uids), ("gid", gids))
    for name, entries in both:
        if not covers(entries, 0):
            yield Fault(f"/linux/{name}Mappings", f"user namespaces enabled, but no mapping found for {name} 0",
                        MAPPINGS)
        wanted = view.process.get("user", {}).get(name, 0)
        if not covers(entries, wanted):
            yield Fault(f"/process/user/{name}", f"cannot set {name} to unmapped user in user namespace", USER)
    for index, gid in enumerate(view.process.get("user", {}).get("additionalGids", ())):
        if not covers(gids, gid):
            yield Fault(f"/process/user/additionalGids/{index}", f"gid {gid} is not mapped in user namespace", USER)


def covers(entries: Iterable[IdMapping], number: int) -> bool:
    for entry in entries:
        if entry["containerID"] <= number < entry["containerID"] + entry["size"]:
            return True
    return False


def time_offsets(view: View) -> Iterator[Fault]:
    offsets = view.linux.get("timeOffsets")
    if not offsets:
        return
    if "time" not in view.namespaces:
        yield Fault("/linux/timeOffsets", "time namespace offsets specified, but time namespace isn't enabled in the "
                    "config", OFFSETS)
    elif view.namespaces["time"]:
        yield Fault("/linux/timeOffsets", "time namespace enabled, but both namespace path and time offsets specified "
                    "-- you may only provide one", OFFSETS)
    for clock, offset in offsets.items():
        if clock not in CLOCKS:
            yield Fault("/linux/timeOffsets", f'no clock "{shown(clock)}": must be monotonic or boottime', OFFSETS)
        if offset.get("nanosecs", 0) > 999_999_999:
            yield Fault(f"/linux/timeOffsets/{clock}/nanosecs", "nanosecs must be 0 to 999999999", OFFSETS)


def names(view: View) -> Iterator[Fault]:
    for name in NAMES:
        text = view.config.get(name)
        if not text:
            continue
        if "uts" not in view.namespaces:
            yield Fault("/" + name, f"unable to set {name} without a private UTS namespace", "config.md#" + name)
        if len(text.encode("utf-8", "surrogateescape")) > MAX_NAME:
            yield Fault("/" + name, f"{name} is longer than {MAX_NAME} bytes", "config.md#" + name)


def sysctls(view: View) -> Iterator[Fault]:
    for key in view.linux.get("sysctl", ()):
        why = sysctl.refusal(key, view.namespaces)
        if why is not None:
            yield Fault("/linux/sysctl/" + key.replace("~", "~0").replace("/", "~1"), shown(why), SYSCTL)


RULES = (namespaces, user_namespace, time_offsets, names, sysctls)
