"""What the suites under real managers share: a place for daemons that nothing escapes from, and an image without a registry.

A `Place` is a process in mount, network and pid namespaces of its own, where /run, /var/lib and /var/log are empty directories
of the test and /etc is the host's with changes of the test's own; managers are run in it (`call`, `daemon`). So they keep their
default paths, and the kernel takes everything away, shims and mounts and bridges too, when the process dies, which it
does with pytest even if that is killed (a directory and empty cgroups are all that such an end leaves). cgroups are the
host's: tell managers to keep below `Place.parent`. $CGROUP_DRIVER chooses who makes them: cgroupfs, or systemd on a machine
that is the tests' own.
"""

import glob
import hashlib
import io
import json
import os
import pty
import secrets
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

from kit.bundle import BUSYBOX, make_rootfs
from kit.console import read_terminal
from kit.runtime import KEPT_IN_ROOT, PREFIX, _kill, remove_cgroup, processes_with, wait_until

IMAGE = "localhost/box:1"
TIMEOUT = 60
DRIVER = os.environ.get("CGROUP_DRIVER", "cgroupfs")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"  # Debian's programs, not what somebody put into /usr/local

SET_UP = """set -e
mount --make-rshared /
for shared in $2; do mkdir "$1/run/$shared" && mount --rbind "/run/$shared" "$1/run/$shared"; done
mount --rbind "$1/run" /run
mount --bind "$1/lib" /var/lib
mount --bind "$1/log" /var/log
mount -t overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/etc.work" etc /etc
ip link set lo up
exec catatonit -P"""


class Done(subprocess.CompletedProcess):
    """A finished command; `ok` and `failed` assert, and show all of it when wrong."""

    def __repr__(self):
        return f"<{' '.join(map(str, self.args))}\n exit {self.returncode}\n stdout: {self.stdout[-3000:]!r}\n stderr: {self.stderr[-3000:]!r}>"

    def ok(self):
        assert self.returncode == 0, repr(self)
        return self

    def failed(self, code, *words):
        assert self.returncode == code, f"expected exit code {code}: {self!r}"
        for word in words:
            assert word in self.stdout + self.stderr, f"{word!r} is missing: {self!r}"
        return self

    @property
    def out(self):
        return self.ok().stdout.strip()

    def json(self):
        return json.loads(self.ok().stdout)


class Place:
    """The namespaces and directories that one manager lives in.

    With `systemd` the host's systemd is in reach, which must know processes by the pids that managers name to it: so there is
    no pid namespace, and `close` ends what a manager leaves. The token has no dash then, for a slice lies in one by each of its.
    `parent` is what managers are told to keep below, `cgroup` its path.
    """

    def __init__(self, name, systemd=DRIVER == "systemd"):
        self.systemd = systemd
        self.token = f"{PREFIX}{name}-{secrets.token_hex(4)}"
        if systemd:
            self.token = self.token.replace("-", "_")
        self.parent = f"{self.token}.slice" if systemd else f"/{self.token}"
        self.cgroup = "/" + self.parent.lstrip("/")
        self.base = Path(tempfile.gettempdir()) / self.token
        self.base.mkdir(mode=0o755)
        for directory in ("run", "lib", "log", "etc", "etc.work"):
            (self.base / directory).mkdir(mode=0o755)
        self.env = {"PATH": PATH, "HOME": str(self.base), "LC_ALL": "C.UTF-8", "PYRUNC_TEST": self.token}
        self.daemons = []
        self.holder = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", *(() if systemd else ("--pid", "--mount-proc")), "--fork",
             "--kill-child=KILL", "sh", "-c", SET_UP, "sh", str(self.base), "systemd dbus" if systemd else ""],
            env=self.env, stdin=subprocess.DEVNULL)
        try:
            wait_until(lambda: self.holder.poll() is not None or _comm(_child(self.holder.pid)) == "catatonit", what="the place is not set up")
            assert self.holder.poll() is None, "the place cannot be set up: see stderr"
        except AssertionError:
            self.close()
            raise
        self.pid = int(_child(self.holder.pid))

    def below(self, name):
        """A parent in `parent`; the path ends with it, too."""
        return f"{self.token}-{name}.slice" if self.systemd else f"{self.parent}/{name}"

    def enter(self, *argv):
        """The command line that runs argv inside."""
        return ["nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", "--", *map(str, argv)]

    def spawn(self, *argv, env=None, **how):
        """A Popen of argv inside. Its pid is nsenter's, on the host."""
        return subprocess.Popen(self.enter(*argv), env={**self.env, **(env or {})}, cwd=self.base, **how)

    def call(self, *argv, env=None, input=None, timeout=TIMEOUT, cwd=None):
        """Run argv inside to its end."""
        done = subprocess.run(self.enter(*argv), env={**self.env, **(env or {})}, cwd=cwd or self.base, input=input, text=True,
                              stdin=subprocess.DEVNULL if input is None else None, capture_output=True, timeout=timeout, check=False)
        return Done(argv, done.returncode, done.stdout, done.stderr)

    def daemon(self, *argv, ready, env=None):
        """Start a daemon inside and wait until `ready()` is true; its log is shown when it does not come up."""
        daemon = Daemon(self, argv, env)
        self.daemons.append(daemon)
        daemon.await_ready(ready)
        return daemon

    def groups(self):
        """The cgroups named `cgroup`, in whichever hierarchies the host has."""
        return [path for path in (f"/sys/fs/cgroup{self.cgroup}", *glob.glob(f"/sys/fs/cgroup/*{self.cgroup}")) if os.path.isdir(path)]

    def assert_nothing_left(self, states, spared=(), within=10):
        """Assert that neither the runtime (by a glob of its states below `base`) nor the kernel has a container any more."""
        spared = [os.path.basename(self.below(name)) for name in spared]

        def left():
            found = [str(path) for path in self.base.glob(states) if path.name not in KEPT_IN_ROOT]
            return found + [entry.path for group in self.groups() for entry in os.scandir(group) if entry.is_dir() and entry.name not in spared]

        deadline = time.monotonic() + within
        while (found := left()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not found, "left behind:\n" + "\n".join(found)

    def close(self):
        """End everything inside; assert that no process, mount or cgroup is left on the host; remove the directory."""
        try:
            for daemon in reversed(self.daemons):
                daemon.stop()
        finally:
            self.holder.kill()
            self.holder.wait()
            if self.systemd:
                for group in self.groups():
                    Path(group, "cgroup.kill").write_text("1")
                subprocess.run(["systemctl", "stop", self.parent], check=False, stderr=subprocess.DEVNULL)
                for pid in processes_with(self.token):
                    _kill(pid)
            wait_until(lambda: not processes_with(self.token), what=f"processes of {self.token} live on")
            for group in self.groups():
                remove_cgroup(group)
            assert not self.groups(), f"cgroups are left: {self.groups()}"
            assert self.token not in Path("/proc/self/mountinfo").read_text(), "mounts are left"
            shutil.rmtree(self.base)


class Daemon:
    """A daemon in a Place, with its output in a log file."""

    def __init__(self, place, argv, env):
        self.name = Path(argv[0]).name
        self.log = place.base / f"{self.name}-{len(place.daemons)}.log"
        with self.log.open("wb") as log:
            self.popen = place.spawn(*argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def await_ready(self, ready, timeout=TIMEOUT):
        deadline = time.monotonic() + timeout
        while not ready():
            if self.popen.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.name} does not come up:\n{self.tail()}")
            time.sleep(0.05)

    def tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])

    def kill(self, signum):
        """Send a signal to the daemon itself, the child of nsenter."""
        if pid := _child(self.popen.pid):
            os.kill(int(pid), signum)

    def stop(self, signum=signal.SIGTERM, timeout=30):
        """End it, at last by SIGKILL; harmless when it has ended."""
        self.kill(signum)
        try:
            self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill(signal.SIGKILL)
            self.popen.wait(10)
            raise AssertionError(f"{self.name} did not end by signal {signum} within {timeout} s:\n{self.tail()}") from None


class Terminal:
    """A command in a place with a pty of ours as its stdio."""

    def __init__(self, place, *argv):
        self.master, slave = pty.openpty()
        self.process = place.spawn(*argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)

    def write(self, text):
        os.write(self.master, text.encode())

    def read(self, until=None):
        return read_terminal(self.master, until=until, timeout=30)

    def end(self):
        """(exit code, the rest of the output)."""
        rest = self.read()
        os.close(self.master)
        return self.process.wait(30), rest


def _child(pid):
    """The pid of the first child, or ''."""
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().partition(" ")[0]
    except OSError:
        return ""


def _comm(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def make_image(path, name=IMAGE, **config):
    """A docker-archive of the kit's root filesystem with all of busybox, which docker, ctr, podman and buildah load.

    config goes into the image's own (Cmd, User, Healthcheck ...), on top of a PATH and `sh`.
    """
    layer = _rootfs_layer()
    config = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"], **config}
    document = json.dumps({"architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z", "config": config,
                           "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
                           "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "make_image"}]}).encode()
    config_name = hashlib.sha256(document).hexdigest() + ".json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as archive:
        for entry, data in ((config_name, document), ("layer.tar", layer), ("manifest.json", manifest)):
            info = tarfile.TarInfo(entry)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def _rootfs_layer():
    """The root filesystem as the bytes of a tar; /home/user and all applets are in it."""
    with tempfile.TemporaryDirectory(prefix=PREFIX) as directory:
        rootfs = Path(directory) / "rootfs"
        make_rootfs(rootfs)
        busybox = next(path for path in BUSYBOX if os.path.exists(path))
        for applet in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
            if not (rootfs / "bin" / applet).is_symlink() and applet != "busybox":
                (rootfs / "bin" / applet).symlink_to("busybox")
        (rootfs / "run").mkdir()
        (rootfs / "home/user").mkdir(parents=True)
        os.chown(rootfs / "home/user", 1000, 1000)
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            tar.add(rootfs, arcname=".")
        return layer.getvalue()


def no_network():
    """The devices of a new network namespace: lo, and a tunnel of each kind that is built into the kernel."""
    lines = subprocess.run(["unshare", "--net", "cat", "/proc/net/dev"], capture_output=True, text=True, check=True).stdout.splitlines()[2:]
    return sorted(line.partition(":")[0].strip() for line in lines)


def recipe(document, file):
    """The code block that follows the first mention of `file` in docs/: users and tests have the same configuration."""
    text = (Path(__file__).resolve().parent.parent.parent / "docs" / document).read_text()
    return text.partition(f"`{file}`")[2].partition("```")[2].partition("\n")[2].partition("```")[0]
