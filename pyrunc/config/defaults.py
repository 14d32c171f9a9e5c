"""The config `pyrunc spec` writes: runc's, so that whoever edits it finds what they know. Pure."""

from __future__ import annotations

from .. import OCI_VERSION
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .shape import Config, Mount, Namespace

HOSTNAME = "pyrunc"
CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")

MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
)
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

MOUNTS = (
    ("/proc", "proc", "proc", ()),
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    ("/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
    ("/dev/shm", "tmpfs", "shm", ("nosuid", "noexec", "nodev", "mode=1777", "size=65536k")),
    ("/dev/mqueue", "mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
    ("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", "ro")),
    ("/sys/fs/cgroup", "cgroup", "cgroup", ("nosuid", "noexec", "nodev", "relatime", "ro")),
)


def config(cgroup2: bool = False) -> Config:
    """The default config; cgroup2: the host has the unified hierarchy, so the container gets its own view of it."""
    namespaces: list[Namespace] = [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}]
    if cgroup2:
        namespaces.append({"type": "cgroup"})
    return {
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": list(CAPABILITIES), "effective": list(CAPABILITIES), "permitted": list(CAPABILITIES)},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": HOSTNAME,
        "mounts": [_mount(*row) for row in MOUNTS],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": namespaces,
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READONLY),
        },
    }


def rootless(uid: int, gid: int, cgroup2: bool = False) -> Config:
    """The default config as it works without privileges: one id mapped, the host's network, no limits.

    sysfs can't be mounted fresh without owning the network namespace, so /sys is the host's, read-only.
    """
    found = config(cgroup2)
    linux = found["linux"]
    namespaces = [entry for entry in linux["namespaces"] if entry["type"] != "network"]
    found["mounts"] = [_rootless_mount(mount) for mount in found["mounts"]]
    found["linux"] = {
        "uidMappings": [{"containerID": 0, "hostID": uid, "size": 1}],
        "gidMappings": [{"containerID": 0, "hostID": gid, "size": 1}],
        "namespaces": [*namespaces, {"type": "user"}],
        "maskedPaths": linux["maskedPaths"],
        "readonlyPaths": linux["readonlyPaths"],
    }
    return found


def _mount(destination: str, kind: str, source: str, options: Sequence[str]) -> Mount:
    mount: Mount = {"destination": destination, "type": kind, "source": source}
    if options:
        mount["options"] = list(options)
    return mount


def _rootless_mount(mount: Mount) -> Mount:
    if mount["destination"] == "/sys":
        return _mount("/sys", "none", "/sys", ("rbind", "nosuid", "noexec", "nodev", "ro"))
    options = [word for word in mount.get("options", ()) if not word.startswith(("uid=", "gid="))]
    return _mount(mount["destination"], mount["type"], mount["source"], options)
