"""Runs the runtime under test, captures all it says, and proves at the end that nothing is left of it.

`Runtime` is one test's private world: its own --root, its own cgroup names, its own directory. `Container` adds the
verbs for one id. Output goes to files, not pipes, because a detached container keeps the runtime's stdio open for as
long as it lives. Nearly every test has it as the fixture `rt`.
"""

import glob
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from kit.bundle import Bundle

TIMEOUT = 30
PREFIX = "pyrunc-test-"
# What a runtime may keep in its state root without having a container there: the compiled-filter cache.
KEPT_IN_ROOT = ("@seccomp",)  # the cache of compiled filters


class Result:
    """One finished call of the runtime."""

    def __init__(self, argv, code, out, err, log, seconds):
        self.argv = [str(arg) for arg in argv]
        self.code = code
        self.out = out.decode("utf-8", "replace")
        self.err = err.decode("utf-8", "replace")
        self.log_text = log.decode("utf-8", "replace")
        self.seconds = seconds

    def __repr__(self):
        return (f"<{' '.join(self.argv)}\n exit {self.code} after {self.seconds:.2f} s"
                f"\n stdout: {self.out[:2000]!r}\n stderr: {self.err[:2000]!r}\n log: {self.log_text[:2000]!r}>")

    @property
    def log(self):
        """The log file's entries."""
        return [json.loads(line) for line in self.log_text.splitlines()]

    @property
    def error(self):
        """The message that callers of the runtime get to see: the last one of level error in the log."""
        messages = [entry["msg"] for entry in self.log if entry["level"] == "error"]
        assert messages, f"no error was logged: {self!r}"
        return messages[-1]

    def ok(self):
        assert self.code == 0, repr(self)
        return self

    def failed(self, *words, code=1):
        """Assert a proper failure: exit code, one line on stderr, one JSON error line in the log, these words in it.

        A second line on stderr is allowed only for pyrunc's cure ("hint: ..."): docs/compatibility.md, "Errors".
        """
        assert self.code == code, f"expected exit code {code}: {self!r}"
        lines = self.err.splitlines()
        assert lines and lines[0].strip(), f"nothing on stderr: {self!r}"
        assert len(lines) == 1 or len(lines) == 2 and lines[1].startswith("hint: "), f"stderr: {self!r}"
        assert "Traceback" not in self.err + self.out + self.log_text, repr(self)
        errors = [entry for entry in self.log if entry["level"] == "error"]
        assert len(errors) == 1 and self.log[-1] is not None and self.log[-1]["level"] == "error", f"log: {self!r}"
        for word in words:
            assert word in self.error, f"{word!r} is not in {self.error!r}"
            assert word in self.err, f"{word!r} is not on stderr: {self.err!r}"
        return self

    def json(self):
        return json.loads(self.out)


class Running:
    """A call of the runtime that has not finished yet."""

    def __init__(self, popen, argv, files, started):
        self.popen, self.argv, self.files, self.started = popen, argv, files, started

    def wait(self, timeout=TIMEOUT):
        try:
            code = self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError(f"no end after {timeout} s: {self.result(None)!r}") from None
        return self.result(code)

    def result(self, code):
        out, err, log = (path.read_bytes() if path.exists() else b"" for path in self.files)
        return Result(self.argv, code, out, err, log, time.monotonic() - self.started)

    def output(self):
        """Standard output so far."""
        return self.files[0].read_bytes().decode("utf-8", "replace")


class Runtime:
    """The runtime under test with a private state root; every verb is a method."""

    def __init__(self, binary):
        self.binary = str(binary)
        self.base = Path(tempfile.mkdtemp(prefix=PREFIX))
        self.base.chmod(0o755)
        self.token = self.base.name
        self.root = self.base / "state"
        self.root.mkdir(mode=0o711)
        self.serial = itertools.count()
        self.running = []
        self.env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

    # --- calls

    def spawn(self, *args, options=(), wrap=(), stdin=subprocess.DEVNULL, stdout=None, stderr=None, cwd=None, env=None,
              pass_fds=(), log=True, root=True, preexec=None):
        """Start the runtime with `args` and return at once.

        options are global ones; wrap is put before the whole command (strace); env adds to the default one.
        """
        serial = next(self.serial)
        files = [self.base / f"{serial}.{kind}" for kind in ("out", "err", "log")]
        argv = [*wrap, self.binary]
        if root:
            argv += ["--root", str(self.root)]
        if log:
            argv += ["--log", str(files[2]), "--log-format", "json"]
        argv += [*options, *(str(arg) for arg in args)]
        with open(files[0], "wb") as out, open(files[1], "wb") as err:
            popen = subprocess.Popen(argv, stdin=stdin, stdout=out if stdout is None else stdout,
                                     stderr=err if stderr is None else stderr, cwd=cwd or self.base,
                                     env={**self.env, **(env or {})}, pass_fds=pass_fds, preexec_fn=preexec)
        running = Running(popen, argv, files, time.monotonic())
        self.running.append(running)
        return running

    def call(self, *args, timeout=TIMEOUT, **how):
        """Run the runtime with `args` to its end."""
        return self.spawn(*args, **how).wait(timeout)

    # --- containers

    def bundle(self, *config_patches, rootfs=None):
        """A new bundle, every patch applied to the base config in turn."""
        name = f"{self.token}-{next(self.serial)}"
        return Bundle(self.base / f"bundle-{name}", config_patches, rootfs, f"/{name}")

    def container(self, *config_patches, rootfs=None, bundle=None):
        """A container id that is not created yet, with a bundle of its own (or the given one)."""
        return Container(self, f"{self.token}-{next(self.serial)}", bundle or self.bundle(*config_patches, rootfs=rootfs))

    def ids(self):
        """Ids that have a directory in the state root."""
        return sorted(name for name in os.listdir(self.root) if name not in KEPT_IN_ROOT)

    # --- the end

    def leftovers(self):
        """What is there that should not be, as readable lines."""
        found = [f"state: {name}" for name in self.ids()]
        found += [f"mount: {line}" for line in mounts_with(self.token)]
        found += [f"cgroup: {path}" for path in self.cgroups()]
        found += [f"process: {text}" for text in processes_with(self.token).values()]
        return found

    def assert_nothing_left(self, within=3.0):
        """Assert that no state, mount, cgroup or process remains; killed processes get a moment to vanish."""
        self.reap()
        deadline = time.monotonic() + within
        while (found := self.leftovers()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not found, "left behind:\n" + "\n".join(found)

    def cgroups(self):
        """cgroup directories made for this test, in any hierarchy."""
        tops = ["/sys/fs/cgroup", *glob.glob("/sys/fs/cgroup/*/")]
        return [path for top in tops for path in glob.glob(os.path.join(top, self.token + "*"))]

    def reap(self):
        for running in self.running:
            running.popen.poll()

    def close(self):
        """Delete all containers by `delete -f`, assert that this removed everything, and remove it in any case."""
        try:
            for running in self.running:
                if running.popen.poll() is None:
                    running.popen.kill()
                    running.popen.wait()
            refused = [result for id in self.ids() if (result := self.call("delete", "-f", id)).code != 0]
            self.assert_nothing_left()
            assert not refused, repr(refused)
        finally:
            self.sweep()

    def sweep(self):
        """Remove by force what a failing test left, so that the next one starts from a clean host."""
        for pid in processes_with(self.token):
            _kill(pid)
        for path in self.cgroups():
            remove_cgroup(path)
        for line in reversed(mounts_with(self.token)):
            subprocess.run(["umount", "-l", line.split()[4].replace("\\040", " ")], check=False)
        if not mounts_with(self.token):
            shutil.rmtree(self.base, ignore_errors=True)


class Container:
    """One container id with its bundle; verbs return Result."""

    def __init__(self, runtime, id, bundle):
        self.rt, self.id, self.bundle = runtime, id, bundle
        self.rootfs = bundle.rootfs
        self.running = None

    def create(self, *args, timeout=TIMEOUT, **how):
        self.running = self.rt.spawn("create", "--bundle", self.bundle.path, *args, self.id, **how)
        return self.running.wait(timeout)

    def run(self, *args, timeout=TIMEOUT, **how):
        """Foreground `run`, unless args hold -d."""
        self.running = self.spawn_run(*args, **how)
        return self.running.wait(timeout)

    def spawn_run(self, *args, **how):
        self.running = self.rt.spawn("run", "--bundle", self.bundle.path, *args, self.id, **how)
        return self.running

    def start(self, **how):
        return self.rt.call("start", self.id, **how)

    def exec(self, *argv, options=(), **how):
        return self.rt.call("exec", *options, self.id, *argv, **how)

    def kill(self, *signal, options=(), **how):
        return self.rt.call("kill", *options, self.id, *signal, **how)

    def delete(self, *args, **how):
        return self.rt.call("delete", *args, self.id, **how)

    def state(self, **how):
        return self.rt.call("state", self.id, **how)

    # --- shorthands

    @property
    def status(self):
        return self.state().ok().json()["status"]

    @property
    def pid(self):
        return self.state().ok().json()["pid"]

    @property
    def directory(self):
        return self.rt.root / self.id

    def up(self, *args, **how):
        """create and start, both successful."""
        self.create(*args, **how).ok()
        self.start().ok()
        return self

    def wait_stopped(self, pid=None, timeout=10):
        """Wait until init (by host pid) is dead; being a zombie will do."""
        pid = pid or self.pid
        if pid:
            wait_until(lambda: not alive(pid), timeout, f"pid {pid} lives on")
        return self

    def output(self):
        """What runtime and container wrote to the stdout that create or run was given."""
        return self.running.output()

    def observe(self, *args, **how):
        """create, start, wait for the end, delete; the probe's JSON."""
        self.create(*args, **how).ok()
        pid = self.pid
        self.start().ok()
        self.wait_stopped(pid)
        text = self.output()
        self.delete().ok()
        return json.loads(text)

    def probe(self, *args, **how):
        """Foreground `run`; the probe's JSON."""
        return self.run(*args, **how).ok().json()


def wait_until(condition, timeout=10, what="condition"):
    """Poll until `condition()` is true; its value."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"after {timeout} s: {what}")
        time.sleep(0.01)
    return value


def stat_fields(pid):
    """Fields 3.. of /proc/pid/stat, or None."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def alive(pid):
    fields = stat_fields(pid)
    return bool(fields) and fields[0] not in "ZX"


def mounts_with(token):
    """Lines of the host's mountinfo that mention the token."""
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if token in line]


def processes_with(token):
    """{pid: description} of processes that mention the token in cgroup, command line or environment.

    Zombies do not count: they hold nothing, and pid 1 may reap an orphan late.
    """
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid() and _mentions(name, token) and alive(name):
            command = _bytes(f"/proc/{name}/cmdline").replace(b"\0", b" ").decode("utf-8", "replace")
            found[int(name)] = f"{name} {_bytes(f'/proc/{name}/comm').decode().strip()}: {command}"
    return found


def _mentions(pid, token):
    token = token.encode()
    return any(token in _bytes(f"/proc/{pid}/{name}") for name in ("cgroup", "cmdline", "environ"))


def _bytes(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def remove_cgroup(path):
    """Kill what is in it and remove it, with all below."""
    for directory, _, _ in os.walk(path, topdown=False):
        for _ in range(50):
            try:
                for pid in Path(directory, "cgroup.procs").read_text().split():
                    _kill(int(pid))
                os.rmdir(directory)
                break
            except OSError:
                time.sleep(0.02)
