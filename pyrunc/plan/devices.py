"""Device nodes and links in /dev: the defaults of config-linux.md#default-devices, then linux.devices."""

from ..paths import clean
from . import rootfs

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
EEXIST = 17


def makedev(major, minor):
    """The kernel's 32-bit encoding of a device number (linux/kdev_t.h new_encode_dev)."""
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)


def wanted(config):
    """[(device object, JSON pointer)]: defaults first; an entry of the user's with the same path replaces the default."""
    devices = config.get("linux", {}).get("devices", [])
    own = {clean(device["path"]) for device in devices}
    nodes = [
        ({"type": "c", "path": path, "major": major, "minor": minor}, "default: devices")
        for path, major, minor in DEFAULTS if path not in own
    ]
    return nodes + [(device, f"/linux/devices/{i}") for i, device in enumerate(devices)]


def _bound(config):
    """In a user namespace mknod is refused, but for a FIFO: the host's node of the same path is bound instead."""
    return [(i, device, source) for i, (device, source) in enumerate(wanted(config)) if device["type"] != "p"]


def _open(plan, role, bound):
    for i, device, source in bound:
        plan.add(role, "TREE", (f"dev{i}",), (device["path"], 0, 0, 0, rootfs.mountopts.MS_SLAVE, 0), source=source)


def acquire(plan, role, config, by_bind):
    """The nodes to be bound; of many the host opens the rest in their turn, see rootfs.py."""
    if by_bind:
        _open(plan, role, _bound(config)[:rootfs.EARLY if role == "H" else None])


def make(plan, role, config, by_bind, kcore):
    """I: nodes (or binds), then the links every /dev has; kcore: /dev/core too, which points at what the kernel may lack."""
    late = _bound(config)[rootfs.EARLY:] if by_bind and role == "H" else []
    turns = {late[at][0]: late[at:at + rootfs.BATCH] for at in range(0, len(late), rootfs.BATCH)}
    for i, (device, source) in enumerate(wanted(config)):
        plan.source = source
        if i in turns:
            sync = plan.sync("I")
            _open(plan, "H", turns[i])
            plan.hand_over(sync)
        path = rootfs.relative(clean(device["path"]))
        if by_bind and device["type"] != "p":
            plan.add("I", "ATTACH", (f"dev{i}", "root"), (path, rootfs.ATTACH_FILE, 0))
            continue
        mode = TYPES[device["type"]] | device.get("fileMode", 0o666) & 0o7777
        number = 0 if device["type"] == "p" else makedev(device.get("major", 0), device.get("minor", 0))
        plan.add("I", "NODE", ("root",), (path, mode, number, device.get("uid", 0), device.get("gid", 0)))
    plan.source = "default: links"
    plan.add("I", "LINK", ("root",), ("dev/ptmx", "pts/ptmx", 1))
    for path, target in LINKS + ((("dev/core", "/proc/kcore"),) if kcore else ()):
        plan.add("I", "LINK", ("root",), (path, target, 0), (EEXIST,))
