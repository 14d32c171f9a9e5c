"""What must not change on the host, and the proof that it did not.

`Canary` is a directory outside the bundle that no container is given; `Host` watches the things a container runtime
has been made to damage before (nodes in /dev, names in /, host name, core_pattern, mount points, the runtime's own
files). Both compare a snapshot from the start with one from now. Used through the fixtures `canary` and `host`.
"""

import hashlib
import os
import socket
import stat
import sys
from pathlib import Path

DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "pts", "shm", "mqueue")
KERNEL = ("kernel/core_pattern", "kernel/hostname", "kernel/domainname", "kernel/msgmax", "kernel/shmmax",
          "kernel/shm_rmid_forced", "fs/mqueue/msg_max", "net/ipv4/ip_forward", "kernel/modprobe")


class Canary:
    """A host directory with a secret; `hostdiff()` fails when anything in it was touched."""

    SECRET = "the container must never read this"

    def __init__(self, path):
        self.path = Path(path)
        (self.path / "sub").mkdir(parents=True)
        (self.path / "secret").write_text(self.SECRET)
        (self.path / "empty").write_text("")
        (self.path / "sub" / "inner").write_text("inner")
        os.symlink("secret", self.path / "link")
        self.before = snapshot(self.path)

    def __str__(self):
        return str(self.path)

    def hostdiff(self):
        """Assert that the directory is as it was: names, types, modes, owners, sizes, contents, mtimes."""
        before, self.before = self.before, snapshot(self.path)      # so that a change is reported once
        assert difference(before, self.before) == []


class Host:
    """The parts of the host every runtime touches by accident sooner or later."""

    def __init__(self, ignore_mounts_with):
        self.ignore = ignore_mounts_with
        self.before = self.now()

    def now(self):
        return {
            "/": sorted(os.listdir("/")),
            "/dev": sorted(name for name in os.listdir("/dev")),
            "devices": {name: _describe(Path("/dev") / name, content=False) for name in DEVICES},
            "kernel": {name: _read(Path("/proc/sys") / name) for name in KERNEL},
            "hostname": socket.gethostname(),
            "umask": _umask(),
            "mounts": sorted(line for line in system_mounts() if self.ignore not in line),
        }

    def assert_unchanged(self):
        """Assert that the host is as it was when the test began."""
        now = self.now()
        for key, before in self.before.items():
            assert now[key] == before, f"the host's {key} changed"


def snapshot(top):
    """{relative path: description} of a tree, itself included."""
    entries = {".": _describe(top)}
    for directory, names, files in os.walk(top):
        for name in names + files:
            path = Path(directory) / name
            entries[str(path.relative_to(top))] = _describe(path)
    return entries


def difference(before, after):
    """Human-readable list of what differs between two snapshots."""
    lines = []
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            lines.append(f"{name}: {before.get(name)} -> {after.get(name)}")
    return lines


def _describe(path, content=True):
    try:
        st = os.lstat(path)
    except FileNotFoundError:
        return None
    kind = stat.S_IFMT(st.st_mode)
    facts = [oct(st.st_mode), st.st_uid, st.st_gid, st.st_rdev]
    if content:
        facts.append(st.st_mtime_ns)
    if kind == stat.S_IFLNK:
        facts.append(os.readlink(path))
    elif kind == stat.S_IFREG and content:
        facts += [st.st_size, digest(path)]
    return tuple(facts)


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def system_mounts():
    """Mounts at or under the places no test mounts anything, as (root, mount point, type, source) in one string."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        point, rest = fields[4], line.split(" - ", 1)[1].split()
        if point == "/" or point.split("/")[1] in ("proc", "sys", "dev", "etc", "usr", "bin", "lib"):
            yield f"{fields[3]} {point} {rest[0]} {rest[1]}"


def runtime_files(binary):
    """Every file whose change would change the runtime: the program, and for pyrunc its package and interpreter."""
    binary = Path(binary).absolute()
    files = {binary.resolve(), Path(sys.executable).resolve()}
    for package in binary.parent.parent.glob("lib/python3*/site-packages/pyrunc"):
        files.update(path for path in package.rglob("*") if path.is_file())
    return {str(path): digest(path) for path in sorted(files)}


def _read(path):
    try:
        return path.read_text()
    except OSError as error:
        return error.errno


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
