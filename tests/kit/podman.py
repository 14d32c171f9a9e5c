"""A Podman and a Buildah in a place of their own (kit/managers.py), configured by docs/podman.md.

`Podman` is called with Podman's words. After each test `clear` removes what the test made and asserts that the runtime left
nothing: no process, group or state.
"""

import fcntl
import glob
import json
import os
import pty
import re
import struct
import termios
import time
from pathlib import Path

from kit.console import read_terminal
from kit.managers import DRIVER, Place, make_image, recipe
from kit.runtime import KEPT_IN_ROOT, Result, _kill, processes_with, remove_cgroup, wait_until

# Beside the recipe: what this machine needs, and no network to set up unless a test says so.
OWN = """[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
netns = "none"
log_driver = "k8s-file"
[engine]
cgroup_manager = "{driver}"
events_logger = "file"
hooks_dir = ["{base}/hooks"]
"""
SUBORDINATE = "containers:200000:1000000\n"   # of --userns=auto
TIMEOUT = 60


class Podman:
    """`podman(...)`, `buildah(...)` with the runtime (name, path) and one image, `busy`."""

    def __init__(self, runtime):
        self.name, self.path = runtime
        self.place = Place("podman")
        self.base, self.token = self.place.base, self.place.token
        self.place.env["TMPDIR"] = str(self.base)  # where Buildah keeps what RUN --mount=type=cache has filled
        self.hooks = self.base / "hooks"
        self.hooks.mkdir()
        self.calls = self.base / "calls"
        self.runtime = self._noting_runtime()
        self._write("/etc/containers/containers.conf", self._recipe("/etc/containers/containers.conf"))
        self._write("/etc/containers/containers.conf.d/tests.conf", OWN.format(base=self.base, driver=DRIVER))
        for file in ("/etc/subuid", "/etc/subgid"):
            self._write(file, SUBORDINATE)
        self.buildah_env = dict(re.findall(r"(\w+)=(\S+)", self._recipe("/etc/profile.d/buildah.sh")))
        self.groups_before = set(_podmans_own_groups())
        self("load", "-q", "-i", make_image(self.base / "image.tar", "localhost/busy:latest"))

    def _noting_runtime(self):
        """A script that notes every call before it becomes the runtime."""
        script = self.base / "bin/pyrunc"
        script.parent.mkdir()
        script.write_text(f"""#!/bin/sh\necho "$*" >>{self.calls}\nexec {self.path} "$@"\n""")
        script.chmod(0o755)
        self.place.env["PATH"] = f"{script.parent}:{self.place.env['PATH']}"
        return script

    def _recipe(self, file):
        return recipe("podman.md", file).replace("/usr/local/bin/pyrunc", str(self.runtime))

    def inside(self, path):
        """A path as the place sees it."""
        return Path(f"/proc/{self.place.pid}/root{path}")

    def _write(self, path, text):
        self.inside(path).parent.mkdir(parents=True, exist_ok=True)
        self.inside(path).write_text(text)

    # --- calls

    def __call__(self, *args, **how):
        return self._call(("podman", *args), **how)

    def buildah(self, *args, **how):
        """Buildah, with the recipe's environment."""
        return self._call(("buildah", *args), env=self.buildah_env, **how)

    def sh(self, script):
        """A shell script in the place, beside the containers."""
        return self._call(("sh", "-ec", script))

    def _call(self, argv, code=0, stdin=None, env=None, timeout=TIMEOUT):
        """Run to the end; assert the exit code unless it is None."""
        started = time.monotonic()
        done = self.place.call(*argv, env=env, input=stdin, timeout=timeout)
        result = Result(argv, done.returncode, done.stdout.encode(), done.stderr.encode(), b"", time.monotonic() - started)
        assert code is None or result.code == code, f"expected exit code {code}: {result!r}"
        return result

    def with_descriptor_3(self, text, *args):
        """Podman with descriptor 3 open on a text."""
        (self.base / "three").write_text(text)
        return self._call(("sh", "-c", f'exec "$@" 3<{self.base}/three', "sh", "podman", *args))

    def terminal(self, *args, program="podman", env=None, rows=33, columns=77, code=0, typed=()):
        """Run on a terminal of that size; what it showed. `typed` are pairs: what must have been shown, what is typed then."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        child = self.place.spawn(program, *args, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                 env={"TERM": "vt100", **(env or {})})
        os.close(slave)
        try:
            shown = ""
            for seen, keys in typed:
                shown += read_terminal(master, until=seen, timeout=TIMEOUT)
                os.write(master, keys)
            shown += read_terminal(master, timeout=TIMEOUT)
            assert child.wait(TIMEOUT) == code, f"exit {child.returncode}, not {code}: {shown!r}"
        finally:
            child.kill()
            child.wait()
            os.close(master)
        return shown

    # --- containers

    @property
    def parent(self):
        return ("--cgroup-parent", self.place.parent)

    def run(self, *args, **how):
        return self("run", *self.parent, *args, **how)

    def create(self, *args, **how):
        return self("create", *self.parent, *args, **how).out.strip()

    def up(self, *args, command=("sleep", "1000"), **how):
        """A container that runs in the background; its id."""
        return self.run("-d", *args, "busy", *command, **how).out.strip()

    def inspect(self, name, template=None):
        """`podman inspect` as data, or one field of it as text."""
        if template:
            return self("inspect", "-f", template, name).out.strip()
        return json.loads(self("inspect", name).out)[0]

    def process(self, name):
        """The /proc directory of the container's first process."""
        return self.inside(f"/proc/{self.inspect(name, '{{.State.Pid}}')}")

    def exec(self, name, *argv, options=(), **how):
        return self("exec", *options, name, *argv, **how)

    def config(self, name):
        """config.json as the runtime was given it."""
        return json.loads(self.inside(self.inspect(name, "{{.OCIConfigPath}}")).read_text())

    def logs_until(self, name, word):
        return wait_until(lambda: word in (text := self("logs", name).out) and text, 20, f"{word!r} in the logs of {name}")

    # --- the end

    def clear(self):
        """Remove every container and pod of a test; assert that nothing of them is left.

        Podman 4.3 may fail once, when containers of one pid namespace end while it kills them in turn. What is left at last is
        removed by force after the assertion's look at it, for the next test is to fail by its own fault alone.
        """
        deadline = time.monotonic() + 20
        while left := self._remove() or self.leftovers():
            if time.monotonic() > deadline:
                self._sweep()
                raise AssertionError(f"left behind:\n{left}")
            time.sleep(0.05)

    def _remove(self):
        """Podman's complaint, or ''."""
        for what in (("pod", "rm"), ("rm",)):
            result = self(*what, "-fa", "-t", "0", code=None)
            if result.code:
                return repr(result)
        return ""

    def leftovers(self):
        groups = [path for top in self.groups() for path, _, _ in os.walk(top) if re.search(r"/libpod-[^/]*$", path)]
        states = [path.name for path in self._states()]
        monitors = [text for text in processes_with(self.token).values() if re.search(r"\bconmon: |\bpyrunc\b.*--root", text)]
        return "\n".join([*groups, *states, *monitors])

    def _states(self):
        """What the runtime keeps, under its default root, for Podman names none."""
        return [path for path in self.inside("/run").glob("*runc/*") if path.name not in KEPT_IN_ROOT]

    def _sweep(self):
        for path in self._states():
            self.place.call(self.path, "delete", "-f", path.name)
        for top in self.groups():
            for path, _, _ in os.walk(top):
                for pid in Path(path, "cgroup.procs").read_text().split():
                    _kill(int(pid))
            remove_cgroup(top)

    def groups(self):
        """The tests' parent group; and the one that Podman makes where it takes no other (play kube)."""
        return [*glob.glob(f"/sys/fs/cgroup/*/{self.token}"), *glob.glob(f"/sys/fs/cgroup/{self.token}"),
                *(path for path in _podmans_own_groups() if path not in self.groups_before)]

    def close(self):
        try:
            self.clear()
        finally:
            self.place.close()
            for path in self.groups():
                remove_cgroup(path)


def _podmans_own_groups():
    names = ("*/libpod_parent", "libpod_parent", "machine.slice")
    return [path for name in names for path in glob.glob(f"/sys/fs/cgroup/{name}")]


def gone(process):
    return not process.exists()
