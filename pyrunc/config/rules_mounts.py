"""Rules for `mounts`, and for paths that are covered or read-only. See rules.py.

Only what the config alone can tell: what a destination resolves to in the rootfs, and whether a bind's source over
/proc is a procfs, is checked by those who do the mount (CVE-2025-31133).
"""

from __future__ import annotations

from ..paths import clean
from ..typed import TYPE_CHECKING
from . import names
from .fault import Fault, path_fault, shown, too_long
from .mountopts import PAGE_MAX, SB_FSCONFIG, page
from .rules_ids import covers, mapping_faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from .fault import View
    from .shape import Mount

MOUNTS = "config.md#mounts"
OPTIONS = "config.md#linux-mount-options"
POSIX = "config.md#posix-platform-mounts"

# What lxcfs puts over /proc, and runc allows; nothing else may cover a file of procfs.
PROC_FILES = {
    "/proc/cpuinfo": True, "/proc/diskstats": True, "/proc/meminfo": True, "/proc/stat": True, "/proc/swaps": True,
    "/proc/uptime": True, "/proc/loadavg": True, "/proc/slabinfo": True, "/proc/sys/kernel/ns_last_pid": True,
    "/proc/sys/crypto/fips_enabled": True,
}
# Parameters of a tmpfs, of which a bind has no use, as mount(8) has it. What else is no flag may be a misspelt one.
IGNORED_ON_BINDS = {"mode": True, "size": True}
RESTRICTED: tuple[tuple[Literal["maskedPaths", "readonlyPaths"], str], ...] = (
    ("maskedPaths", "config-linux.md#masked-paths"), ("readonlyPaths", "config-linux.md#readonly-paths"))


def destination(view: View) -> Iterator[Fault]:
    for index, mount in enumerate(view.mounts):
        path, pointer = mount["destination"], f"/mounts/{index}/destination"
        if not path:
            yield Fault(pointer, "mount destination must not be empty", MOUNTS)
        elif too_long(path):
            yield Fault(pointer, "mount destination is longer than 4095 bytes", MOUNTS)
        else:
            # a relative one is "interpreted as relative to /"
            inside = clean(path)
            if inside == "/" and not view.options[index].remount:
                yield Fault(pointer, f'mountpoint "{shown(path)}" is on the top of rootfs', MOUNTS)
            elif inside.startswith("/proc"):
                yield from _over_proc(view, index, mount, inside, pointer)


def _over_proc(view: View, index: int, mount: Mount, inside: str, pointer: str) -> Iterator[Fault]:
    if inside == "/proc":
        if mount.get("type") != "proc" and not view.options[index].bind and not view.options[index].remount:
            yield Fault(pointer, '"/proc" cannot be mounted because it is not of type proc', MOUNTS)
    elif inside.startswith("/proc/") and inside not in PROC_FILES:
        yield Fault(pointer, f'"{shown(inside)}" cannot be mounted because it is inside /proc', MOUNTS)


def kind(view: View) -> Iterator[Fault]:
    for index, mount in enumerate(view.mounts):
        options, pointer = view.options[index], f"/mounts/{index}"
        source = mount.get("source", "")
        if options.bind:
            if not source:
                yield Fault(pointer, "a bind mount needs a source", MOUNTS)
            data = [word for word in options.data if word.partition("=")[0] not in IGNORED_ON_BINDS]
            if data:
                yield Fault(pointer + "/options",
                            "bind mounts cannot have any filesystem-specific options applied: "
                            + shown(",".join(data)), OPTIONS)
        elif not options.remount:
            name = mount.get("type", "")
            if not name:
                yield Fault(pointer, "type must not be empty: this is not a bind mount", POSIX)
            elif name == "bind":
                yield Fault(pointer, 'type "bind" needs the option bind or rbind', MOUNTS)
            text = page(options, source)
            if text and too_long(text):
                yield Fault(pointer + "/options", f"the options are longer than the {PAGE_MAX} bytes that mount(2) reads", OPTIONS)
        if too_long(source):
            yield Fault(pointer + "/source", "mount source is longer than 4095 bytes", MOUNTS)


def remount(view: View) -> Iterator[Fault]:
    """A remount changes the flags of a mount that is listed before it, or of the root."""
    there = {"/": True}
    for index, mount in enumerate(view.mounts):
        options, pointer = view.options[index], f"/mounts/{index}"
        path = clean(mount["destination"])
        if options.remount and not options.bind and path not in there:
            yield Fault(pointer, f'nothing to remount: no entry before this one mounts "{shown(path)}"', OPTIONS)
        if options.remount and path in there:
            rest = [*options.data, *[name for name in options.sb_set if name in SB_FSCONFIG and name != "ro"]]
            if rest:
                yield Fault(pointer + "/options", f"a remount changes only the flags of the mount, not {shown(','.join(rest))}",
                            OPTIONS)
        there[path] = True


def id_mapped(view: View) -> Iterator[Fault]:
    for index, mount in enumerate(view.mounts):
        options, pointer = view.options[index], f"/mounts/{index}"
        uids, gids = mount.get("uidMappings"), mount.get("gidMappings")
        if not (uids or gids or options.idmap):
            continue
        if not options.bind:
            yield Fault(pointer, "id-mapped mounts are only supported for bind-mounts", POSIX)
        # without any, `idmap` means the container's own mapping
        if bool(uids) != bool(gids) or not uids and "user" not in view.namespaces:
            yield Fault(pointer, "id-mapped mounts must have both uid and gid mappings specified", POSIX)
        yield from mapping_faults(uids or (), pointer + "/uidMappings", POSIX)
        yield from mapping_faults(gids or (), pointer + "/gidMappings", POSIX)


def owners(view: View) -> Iterator[Fault]:
    """uid= and gid= of a file system in a new user namespace: the kernel says no more than EINVAL."""
    if view.namespaces.get("user", True) or not view.linux.get("uidMappings") or not view.linux.get("gidMappings"):
        return  # none, or joined, or a fault of its own
    maps = {"uid": view.linux["uidMappings"], "gid": view.linux["gidMappings"]}
    for index in range(len(view.mounts)):
        for option in view.options[index].data:
            name, _, value = option.partition("=")
            number = names.decimal(value, 1 << 32) if name in maps else None
            if number is not None and not covers(maps[name], number):
                yield Fault(f"/mounts/{index}/options", f"cannot specify {option} mount option: user namespaces enabled, "
                            f"but no mapping found for {name} {number}", OPTIONS)


def restricted_paths(view: View) -> Iterator[Fault]:
    for name, section in RESTRICTED:
        paths = view.linux.get(name, ())
        if paths and "mount" not in view.namespaces:
            yield Fault("/linux/" + name, "unable to restrict sys entries without a private MNT namespace", section)
        for index, path in enumerate(paths):
            if path[:1] != "/" or len(path) > 1023:
                yield from path_fault(f"/linux/{name}/{index}", path, section)


RULES = (destination, kind, remount, id_mapped, owners, restricted_paths)
