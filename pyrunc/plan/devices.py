"""Device nodes and links in /dev: the defaults of config-linux.md#default-devices, then linux.devices."""

from __future__ import annotations

from errno import EEXIST

from ..config import mountopts
from ..config.names import CAPABILITIES
from ..paths import clean
from ..typed import TYPE_CHECKING
from . import rootfs
from .kinds import makedev
from .optable import ATTACH_FILE, BATCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config.shape import Config, Device
    from ..facts import Facts
    from .namespaces import Namespaces
    from .script import Plan

    Bound = Sequence[tuple[int, Device, str]]  # its position in `wanted`, the device, JSON pointer

S_IFCHR, S_IFBLK, S_IFIFO = 0o020000, 0o060000, 0o010000
TYPES = {"c": S_IFCHR, "u": S_IFCHR, "b": S_IFBLK, "p": S_IFIFO}
DEFAULTS = (
    ("/dev/null", 1, 3), ("/dev/random", 1, 8), ("/dev/full", 1, 7),
    ("/dev/tty", 5, 0), ("/dev/zero", 1, 5), ("/dev/urandom", 1, 9),
)
LINKS = (
    ("dev/fd", "/proc/self/fd"), ("dev/stdin", "/proc/self/fd/0"),
    ("dev/stdout", "/proc/self/fd/1"), ("dev/stderr", "/proc/self/fd/2"),
)


def wanted(config: Config) -> list[tuple[Device, str]]:
    """[(device object, JSON pointer)]: defaults first; an entry of the user's with the same path replaces the default. /dev/ptmx
    is the link into the container's own devpts, whoever lists it."""
    devices = config.get("linux", {}).get("devices", [])
    own = {clean(device["path"]) for device in devices}
    nodes: list[tuple[Device, str]] = [
        ({"type": "c", "path": path, "major": major, "minor": minor}, "default: devices")
        for path, major, minor in DEFAULTS if path not in own
    ]
    return nodes + [(device, f"/linux/devices/{i}") for i, device in enumerate(devices) if clean(device["path"]) != "/dev/ptmx"]


def by_bind(ns: Namespaces, facts: Facts) -> bool:
    """Whether mknod of a device is refused in the container: in a user namespace, or without the capability for it."""
    return rootfs.in_user_namespace(ns, facts) or bool(facts.lacking >> CAPABILITIES["CAP_MKNOD"] & 1)


def _bound(config: Config) -> Bound:
    """All but the FIFOs, of which mknod needs no privilege."""
    return [(i, device, source) for i, (device, source) in enumerate(wanted(config)) if device["type"] != "p"]


def _open(plan: Plan, role: str, ns: Namespaces, bound: Bound) -> None:
    """The host's nodes of the same paths. What is none there, or is another device, root makes; others may not."""
    for i, device, source in bound:
        plan.source = source
        if role == "H":
            owner = ns.host_id("uid", device.get("uid", 0)), ns.host_id("gid", device.get("gid", 0))
            plan.add("H", "DEVICE", (f"dev{i}",), (device["path"], _mode(device), device["major"], device["minor"], *owner))
        else:
            plan.add(role, "TREE", (f"dev{i}",), (device["path"], 0, 0, 0, mountopts.MS_SLAVE, 0))


def acquire(plan: Plan, role: str, config: Config, ns: Namespaces) -> None:
    """The nodes to be bound; of many the host opens the rest in their turn, see rootfs.py."""
    _open(plan, role, ns, _bound(config)[:rootfs.EARLY if role == "H" else None])


def _mode(device: Device) -> int:
    return TYPES[device["type"]] | device.get("fileMode", 0o666) & 0o7777


def make(plan: Plan, role: str, config: Config, ns: Namespaces, bound: bool, kcore: bool) -> None:
    """I: nodes (or binds), then the links every /dev has; kcore: /dev/core too, which points at what the kernel may lack."""
    late = _bound(config)[rootfs.EARLY:] if bound and role == "H" else []
    turns = {late[at][0]: late[at:at + BATCH] for at in range(0, len(late), BATCH)}
    for i, (device, source) in enumerate(wanted(config)):
        plan.source = source
        if i in turns:
            sync = plan.sync("I")
            _open(plan, "H", ns, turns[i])
            plan.hand_over(sync)
            plan.source = source
        path = rootfs.relative(clean(device["path"]))
        number = 0 if device["type"] == "p" else makedev(device["major"], device["minor"])
        if bound and device["type"] != "p":
            plan.add("I", "VERIFY_DEV", (f"dev{i}",), (_mode(device), number))
            plan.add("I", "ATTACH", (f"dev{i}", "root"), (path, ATTACH_FILE, 0))
        else:
            plan.add("I", "NODE", ("root",), (path, _mode(device), number, device.get("uid", 0), device.get("gid", 0)))
    plan.source = "default: links"
    plan.add("I", "LINK", ("root",), ("dev/ptmx", "pts/ptmx", 1))
    for path, target in LINKS + ((("dev/core", "/proc/kcore"),) if kcore else ()):
        plan.add("I", "LINK", ("root",), (path, target, 0), (EEXIST,))
