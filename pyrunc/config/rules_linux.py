"""Rules for the rest of `linux`: devices, network devices, paths and policies, cgroup resources. See rules.py."""

from __future__ import annotations

from ..typed import TYPE_CHECKING
from . import cpulist
from .fault import Fault, path_fault, shown
from .rules_process import IDS, NO_ID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from .fault import View

DEVICES = "config-linux.md#devices"
NET = "config-linux.md#network-devices"
RDT = "config-linux.md#intelrdt"
POLICY = "config-linux.md#memory-policy"
PROPAGATION = "config-linux.md#rootfs-mount-propagation"

IFNAMSIZ = 16  # with its NUL: runc lets 16 characters pass, the kernel then refuses them
MAX_MAJOR, MAX_MINOR = 0xFFF, 0xFFFFF  # mknod(2): 12 and 20 bits of a dev_t
NUMBERS: tuple[tuple[Literal["major", "minor"], int], ...] = (("major", MAX_MAJOR), ("minor", MAX_MINOR))
MAX_NODE = 1023  # MAX_NUMNODES of the largest kernels

PROPAGATIONS = {
    "": True, "private": True, "rprivate": True, "shared": True, "rshared": True, "slave": True, "rslave": True,
    "unbindable": True, "runbindable": True,
}
# set_mempolicy(2): whether the mode takes no nodes (False), must have some (True), or either
NODES_OF_MODE = {
    "MPOL_DEFAULT": False, "MPOL_LOCAL": False, "MPOL_BIND": True, "MPOL_INTERLEAVE": True,
    "MPOL_PREFERRED_MANY": True, "MPOL_WEIGHTED_INTERLEAVE": True,
}


def devices(view: View) -> Iterator[Fault]:
    seen: dict[str, object] = {}
    for index, device in enumerate(view.linux.get("devices", ())):
        path, pointer = device["path"], f"/linux/devices/{index}"
        yield from path_fault(pointer + "/path", path, DEVICES, "device path")
        for name in IDS:
            if device.get(name) == NO_ID:
                yield Fault(f"{pointer}/{name}", f"{name} {NO_ID} is not an id: the kernel takes it for -1", DEVICES)
        node: object = "p"
        if device["type"] != "p":
            node = (device["type"].replace("u", "c"), device.get("major"), device.get("minor"))
            for number, limit in NUMBERS:
                if number not in device:
                    yield Fault(pointer, f'property "{number}" is required', DEVICES)
                elif not 0 <= device[number] <= limit:
                    yield Fault(f"{pointer}/{number}", f"{number} must be 0 to {limit}, not {device[number]}", DEVICES)
        if seen.get(path, node) != node:
            yield Fault(pointer + "/path", f'another device has the path "{shown(path)}"', DEVICES)
        seen[path] = node


def net_devices(view: View) -> Iterator[Fault]:
    found = view.linux.get("netDevices")
    if not found:
        return
    if "network" not in view.namespaces:
        yield Fault("/linux/netDevices", "unable to move network devices without a NET namespace", NET)
    seen = {}
    for name, device in found.items():
        wanted = device.get("name") or name
        for text in (name, wanted)[:1 + (wanted != name)]:
            if not valid_interface(text):
                yield Fault("/linux/netDevices", f'invalid network device name "{shown(text)}"', NET)
        if wanted in seen and "%d" not in wanted:
            yield Fault("/linux/netDevices", f'two network devices would be named "{shown(wanted)}"', NET)
        seen[wanted] = True


def valid_interface(name: str) -> bool:
    """As the kernel's dev_valid_name()."""
    return (0 < len(name.encode("utf-8", "surrogateescape")) < IFNAMSIZ and name not in (".", "..")
            and not any([char in "/:" or char.isspace() for char in name]))


def propagation(view: View) -> Iterator[Fault]:
    value = view.linux.get("rootfsPropagation", "")
    if value not in PROPAGATIONS:
        yield Fault("/linux/rootfsPropagation", f"rootfsPropagation={shown(value)} is not supported", PROPAGATION)


def cgroups_path(view: View) -> Iterator[Fault]:
    path = view.linux.get("cgroupsPath", "")
    if ".." in path and ".." in path.split("/"):
        yield Fault("/linux/cgroupsPath", 'cgroupsPath must not contain ".."', "config-linux.md#cgroups-path")
    elif len(path) > 1023:
        yield from path_fault("/linux/cgroupsPath", "/" + path, "config-linux.md#cgroups-path", "cgroupsPath")


def intel_rdt(view: View) -> Iterator[Fault]:
    found = view.linux.get("intelRdt")
    if found is None:
        return
    clos = found.get("closID", "")
    if clos in (".", "..") or len(clos) > 1 and "/" in clos or "\n" in clos:
        yield Fault("/linux/intelRdt/closID", f'invalid intelRdt.ClosID "{shown(clos)}"', RDT)
    lines = [("/memBwSchema", found.get("memBwSchema", ""))]  # l3CacheSchema SHOULD NOT, and with CDP has two
    lines += [(f"/schemata/{index}", line) for index, line in enumerate(found.get("schemata", ()))]
    for pointer, line in lines:
        if "\n" in line:
            yield Fault("/linux/intelRdt" + pointer, "a schema must not contain newlines", RDT)
    if found.get("memBwSchema") and not found["memBwSchema"].startswith("MB:"):
        yield Fault("/linux/intelRdt/memBwSchema", 'memBwSchema must start with "MB:"', RDT)


def memory_policy(view: View) -> Iterator[Fault]:
    found = view.linux.get("memoryPolicy")
    if found is None:
        return
    mode, text, flags = found["mode"], found.get("nodes", ""), found.get("flags", ())
    mask = cpulist.parse(text, MAX_NODE)
    if mask is None:
        yield Fault("/linux/memoryPolicy/nodes", f'invalid memory policy nodes "{shown(text)}"', POLICY)
    elif mode in NODES_OF_MODE and bool(mask) != NODES_OF_MODE[mode]:
        yield Fault("/linux/memoryPolicy/nodes", "memory policy mode requires at least one node but got 0" if not mask
                    else f"memory policy mode requires 0 nodes but got {mask.bit_count()}", POLICY)
    if "MPOL_F_STATIC_NODES" in flags and "MPOL_F_RELATIVE_NODES" in flags:
        yield Fault("/linux/memoryPolicy/flags", "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other",
                    POLICY)


RULES = (devices, net_devices, propagation, cgroups_path, intel_rdt, memory_policy)
