"""Bundles: a config.json from a literal base and a patch, a root filesystem from busybox-static and a patch.

Config patches are either a dict, merged as RFC 7396 has it (None removes, lists are replaced), or a function that
edits the config in place. A rootfs patch maps paths to what shall be there: str or bytes (a file), None (nothing),
`Link`, `Dir`, `Node`, or `File` when the mode matters. Called through Runtime.bundle and Runtime.container.
"""

import copy
import json
import os
import shutil
import stat
from pathlib import Path

from kit import build

BUSYBOX = ("/usr/bin/busybox", "/bin/busybox")
APPLETS = "sh true false sleep cat ls echo id env mount umount mkdir rm touch ln kill ps head stat test grep dd mknod".split()

# What `runc spec` writes, without a terminal, without the cgroup mount (the two cgroup versions look too different
# from inside), and with a writable root. Written out here, so that a change of a runtime's defaults changes no test.
BASE = {
    "ociVersion": "1.2.0",
    "process": {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "args": ["/bin/probe"],
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        "cwd": "/",
        "capabilities": {
            "bounding": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
            "effective": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
            "permitted": ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
        },
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": True,
    },
    "root": {"path": "rootfs", "readonly": False},
    "hostname": "box",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    ],
    "linux": {
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
        "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                        "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    },
}


class Link:
    """A symbolic link in a rootfs patch."""

    def __init__(self, target):
        self.target = target


class Dir:
    """A directory in a rootfs patch, with its mode and owner."""

    def __init__(self, mode=0o755, uid=0, gid=0):
        self.mode, self.uid, self.gid = mode, uid, gid


class File:
    """A regular file in a rootfs patch, with its mode and owner."""

    def __init__(self, data="", mode=0o644, uid=0, gid=0):
        self.data, self.mode, self.uid, self.gid = data, mode, uid, gid


class Node:
    """A device node ("c" or "b") or a FIFO ("p") in a rootfs patch."""

    def __init__(self, kind, major=0, minor=0, mode=0o666):
        self.kind, self.major, self.minor, self.mode = kind, major, minor, mode


class Bundle:
    """A directory with config.json and rootfs/."""

    def __init__(self, path, config_patches, rootfs_patch, cgroup):
        self.path = Path(path)
        self.rootfs = self.path / "rootfs"
        self.config = copy.deepcopy(BASE)
        self.config["linux"]["cgroupsPath"] = cgroup
        for patch in config_patches:
            apply(self.config, patch)
        self.path.mkdir(mode=0o755)
        make_rootfs(self.rootfs)
        self.populate(rootfs_patch or {})
        self.write()

    def patch(self, patch):
        """Change the config and write it again."""
        apply(self.config, patch)
        self.write()
        return self

    def write(self):
        self.raw(json.dumps(self.config, indent=1))

    def raw(self, text):
        """Write config.json as given, valid or not."""
        data = text.encode() if isinstance(text, str) else text
        (self.path / "config.json").write_bytes(data)
        return self

    def populate(self, files):
        for name, what in files.items():
            place(self.rootfs / name.lstrip("/"), what)


def apply(config, patch):
    """Apply one patch: a function, or a dict merged as RFC 7396 says."""
    if callable(patch):
        patch(config)
    else:
        _merge(config, patch)


def _merge(target, patch):
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = copy.deepcopy(value)


def mount(destination, source=None, type=None, options=(), **more):
    """One entry of `mounts`, without the empty properties."""
    entry = {"destination": str(destination)}
    if type:
        entry["type"] = type
    if source is not None:
        entry["source"] = str(source)
    if options:
        entry["options"] = list(options)
    entry.update(more)
    return entry


def bind(source, destination, *options):
    """A bind mount of `source`; rbind when the options say so."""
    kind = () if "rbind" in options else ("bind",)
    return mount(destination, source, "bind", [*kind, *options])


def add_mounts(*entries):
    """A config patch that appends to `mounts`."""
    return lambda config: config["mounts"].extend(entries)


def without_mount(destination):
    """A config patch that removes the mount at `destination` and below it."""
    def edit(config):
        config["mounts"] = [m for m in config["mounts"]
                            if m["destination"] != destination and not m["destination"].startswith(destination + "/")]
    return edit


def namespaces(*kinds, **paths):
    """A config patch that sets the namespaces: new ones by position, joined ones as `kind="/path"`."""
    entries = [{"type": kind} for kind in kinds] + [{"type": kind, "path": str(path)} for kind, path in paths.items()]
    return {"linux": {"namespaces": entries}}


def userns(host=100000, size=65536):
    """A config patch: a new user namespace in which container ids 0.. are `host`.. outside."""
    def edit(config):
        config["linux"]["namespaces"].append({"type": "user"})
        line = [{"containerID": 0, "hostID": host, "size": size}]
        config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = line
    return edit


def caps(*names, ambient=(), inheritable=()):
    """A config patch: exactly these capabilities in bounding, effective and permitted."""
    sets = {"bounding": list(names), "effective": list(names), "permitted": list(names),
            "inheritable": list(inheritable), "ambient": list(ambient)}

    def edit(config):
        config["process"]["capabilities"] = sets
    return edit


def make_rootfs(rootfs):
    """The smallest useful root: busybox with links, probe, hunt, passwd, group."""
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "mnt", "root"):
        (rootfs / name).mkdir(parents=True)
    os.chmod(rootfs / "tmp", 0o1777)
    shutil.copy(next(path for path in BUSYBOX if os.path.exists(path)), rootfs / "bin/busybox")
    for helper in ("probe", "hunt"):
        shutil.copy(build.helper(helper), rootfs / "bin" / helper)
    for applet in APPLETS:
        os.symlink("busybox", rootfs / "bin" / applet)
    (rootfs / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n")
    (rootfs / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")


def place(path, what):
    """Make `path` be what a rootfs patch says, replacing anything there."""
    _remove(path)
    if what is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(what, (str, bytes)):
        what = File(what)
    if isinstance(what, Link):
        os.symlink(what.target, path)
    elif isinstance(what, Dir):
        path.mkdir()
        os.chown(path, what.uid, what.gid)
        os.chmod(path, what.mode)
    elif isinstance(what, Node):
        kind = {"c": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}[what.kind]
        os.mknod(path, kind | what.mode, os.makedev(what.major, what.minor))
        os.chmod(path, what.mode)
    else:
        path.write_bytes(what.data.encode() if isinstance(what.data, str) else what.data)
        os.chown(path, what.uid, what.gid)
        os.chmod(path, what.mode)


def _remove(path):
    if path.is_symlink() or path.is_file() or (path.exists() and not path.is_dir()):
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)


def chown_tree(path, uid, gid):
    """Give a whole rootfs to an id range's root, for user-namespaced containers that must write in it."""
    for directory, names, files in os.walk(path):
        os.chown(directory, uid, gid)
        for name in names + files:
            os.lchown(os.path.join(directory, name), uid, gid)
