"""containerd and its shim, Debian's and a newer one, driven by ctr, with the config.toml of docs/containerd.md."""

import base64
import json
import os
import shutil
import signal
import time

import pytest
from kit.managers import IMAGE, Place, Terminal, make_image, recipe
from kit.runtime import wait_until

LINGER = "code=$?; sleep 0.2; exit $code"
BLOCKS = {"debian": "/etc/containerd/config.toml", "new": "config.toml"}


class Containerd:
    """A containerd of our own; its namespace is named as the place, so that ctr's cgroups are the place's."""

    def __init__(self, runtime, version, directory):
        self.name, self.runtime = runtime
        self.place = Place("containerd")
        self.bin = directory
        self.env = {"PATH": f"{directory}:{self.place.env['PATH']}", "CONTAINERD_NAMESPACE": self.place.token}
        self.config = self.place.base / "config.toml"
        self.config.write_text(recipe("containerd.md", BLOCKS[version]).replace("/usr/local/bin/pyrunc", self.runtime))
        make_image(self.place.base / "image.tar")

    def start(self):
        self.daemon = self.place.daemon(f"{self.bin}/containerd", "--config", self.config, env=self.env,
                                        ready=lambda: self("version").returncode == 0)
        return self

    def load(self):
        self("images", "import", self.place.base / "image.tar").ok()
        return self

    def __call__(self, *args, **how):
        return self.place.call(f"{self.bin}/ctr", *args, env=self.env, **how)

    def run(self, id, *options, cmd=()):
        """`ctr run` in the foreground."""
        return self("run", "--rm", *self.options(id, options), IMAGE, id, *cmd)

    def sh(self, id, script, *options):
        """What a script says. It lingers: ctr, with whichever runtime, now and then drops the last words of a process that ends."""
        return self.run(id, *options, cmd=("sh", "-c", f"{script}\n{LINGER}")).out

    def options(self, id, options=()):
        driver = ("--runc-systemd-cgroup", "--cgroup", f"{self.place.parent}:ctr:{id}") if self.place.systemd else ()
        return ("--runc-binary", self.runtime, *driver, *options)

    def group(self, id):
        return f"{self.place.cgroup}/{f'ctr-{id}.scope' if self.place.systemd else id}"

    def up(self, id, *options, cmd=("sleep", "1000")):
        self("run", "--detach", *self.options(id, options), IMAGE, id, *cmd).ok()
        return id

    def probe(self, id, *options):
        return json.loads(self.sh(id, "probe", *options))

    def exec(self, id, *cmd, options=()):
        return self("task", "exec", "--exec-id", f"e{time.monotonic_ns()}", *options, id, *cmd)

    def ask(self, id, script, *options):
        """What a script says that is run in a container."""
        return self.exec(id, "sh", "-c", f"{script}\n{LINGER}", options=options).out

    def task(self, id):
        """(pid, status) of a task, or None."""
        for line in self("task", "ls").out.splitlines()[1:]:
            name, pid, status = line.split()
            if name == id:
                return int(pid), status

    def status(self, id):
        return (self.task(id) or (0, "gone"))[1]

    def shim(self, id):
        """The pid of the shim, in the place."""
        for line in self.place.call("ps", "-eo", "pid,args").out.splitlines():
            pid, _, args = line.strip().partition(" ")
            if "containerd-shim-runc-v2" in args and f"-id {id} " in args + " ":
                return int(pid)

    def alive(self, pid):
        """Whether a process of the place runs."""
        stat = self.place.call("cat", f"/proc/{pid}/stat")
        return stat.returncode == 0 and stat.stdout.rpartition(")")[2].split()[0] not in "ZX"

    def assert_nothing_left(self):
        self.place.assert_nothing_left(f"run/containerd/runc/{self.place.token}/*")

    def tidy(self):
        """Remove all containers; nothing may remain of them."""
        for id in self("containers", "ls", "--quiet").out.split():
            self("task", "rm", "--force", id)
            self("containers", "rm", id).ok()
        self.assert_nothing_left()


@pytest.fixture(scope="module", params=["debian", "new"])
def daemon(runtime, request):
    directory = "/usr/bin" if request.param == "debian" else os.environ.get("CONTAINERD_NEW", "")
    if not shutil.which("ctr", path=directory):
        pytest.skip(f"no ctr in {directory!r}: apt-get install containerd; CONTAINERD_NEW names a newer one (make test-managers)")
    containerd = Containerd(runtime, request.param, directory)
    try:
        yield containerd.start().load()
    finally:
        containerd.place.close()


@pytest.fixture
def ctr(daemon):
    yield daemon
    daemon.tidy()


# --- run

def test_run(ctr):
    done = ctr.run("one", cmd=("sh", "-c", f"echo out; echo err >&2; (exit 3); {LINGER}"))
    assert (done.returncode, done.stdout) == (3, "out\n")
    assert "err" in done.stderr.splitlines()
    assert ctr("containers", "ls", "--quiet").out == ""


def test_run_with_a_terminal(ctr):
    terminal = Terminal(ctr.place, f"{ctr.bin}/ctr", "--namespace", ctr.place.token, "run", "--rm", "--tty", *ctr.options("tty"),
                        IMAGE, "tty", "sh", "-c", "tty; read line; echo got $line; exit 5")
    terminal.read(until=b"/dev/pts/0")
    terminal.write("hello\n")
    code, text = terminal.end()
    assert code == 5
    assert "got hello" in text


def test_run_detached_with_a_pid_file(ctr):
    file = ctr.place.base / "pid"
    ctr.up("one", "--pid-file", file)
    assert ctr.task("one") == (int(file.read_text()), "RUNNING")
    info = ctr("containers", "info", "one").json()
    assert info["Runtime"]["Name"] == "io.containerd.runc.v2"
    assert ctr.runtime.encode() in base64.b64decode(info["Runtime"]["Options"]["value"])


def test_what_a_container_sees(ctr):
    here = ctr.place.base / "shared"
    here.mkdir(exist_ok=True)
    found = ctr.probe("one", "--env", "A=b", "--cwd", "/tmp", "--mount", f"type=bind,src={here},dst=/in,options=rbind:ro")
    assert (found["cwd"], found["nnp"]) == ("/tmp", 1)
    assert "A=b" in found["env"]
    assert "Read-only" in ctr.sh("two", "touch /in/x 2>&1 || true", "--mount", f"type=bind,src={here},dst=/in,options=rbind:ro")
    assert "Read-only" in ctr.sh("three", "touch /x 2>&1 || true", "--read-only")


def test_privileged(ctr):
    """All that ctr itself may, all devices, a writable /sys."""
    out = ctr.sh("one", "mount -t tmpfs none /mnt && ls /dev && cat /proc/self/status", "--privileged")
    assert "loop-control" in out
    assert int(out.split("CapEff:\t")[1][:16], 16) & 1 << 21
    assert "Seccomp:\t0" in out


def test_capabilities_and_seccomp(ctr):
    def caps(id, *options):
        return int(ctr.probe(id, *options)["status"].split("CapEff:\t")[1][:16], 16)
    assert caps("one", "--cap-add", "CAP_NET_ADMIN") & 1 << 12
    assert not caps("two", "--cap-drop", "CAP_CHOWN") & 1
    assert ctr.probe("three", "--seccomp", "--allow-new-privs")["status"].split("Seccomp:\t")[1][0] == "2"


def test_limits(ctr):
    """ctr gives a container no sight of its group, so it is looked at from outside."""
    ctr.up("one", "--memory-limit", str(64 << 20), "--cpus", "0.5")
    group = ctr.group("one")
    files = ("memory/*/memory.limit_in_bytes", "cpu/*/cpu.cfs_quota_us") if os.path.isdir("/sys/fs/cgroup/memory") else ("*/memory.max", "*/cpu.max")
    found = [open("/sys/fs/cgroup/" + file.replace("/*", group).replace("*", group)).read().split()[0] for file in files]
    assert found == [str(64 << 20), "50000"]


def test_host_network_and_joined_namespaces(ctr):
    ctr.up("first")
    pid = ctr.task("first")[0]
    script = "readlink /proc/self/ns/ipc; readlink /proc/self/ns/net"
    theirs = ctr.ask("first", script).split()
    ours = ctr.sh("second", script, "--with-ns", f"ipc:/proc/{pid}/ns/ipc", "--with-ns", f"network:/proc/{pid}/ns/net").split()
    assert ours == theirs
    host = ctr.sh("third", script, "--net-host").split()
    assert host[1] == os.readlink(f"/proc/{ctr.place.pid}/ns/net")
    assert host[0] != ours[0]


def test_user_namespace(ctr):
    """ctr maps ids and gives the container a root that is chowned to them."""
    ids = ("--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536")
    assert ctr.sh("one", "cat /proc/self/uid_map; touch /made && id -u", *ids).split() == ["0", "100000", "65536", "0"]


def test_a_device(ctr):
    script = "(: < /dev/loop-control) && echo opened"
    assert ctr.sh("one", script, "--device", "/dev/loop-control") == "opened"


def test_oom(ctr):
    done = ctr.run("one", "--memory-limit", str(20 << 20), cmd=("sh", "-c", "dd if=/dev/zero of=/dev/null bs=100M count=1; echo $?; sleep 0.2"))
    assert done.stdout.splitlines()[-1:] == ["137"]


# --- tasks

def test_a_task_ends_and_its_container_is_started_again(ctr):
    ctr.up("one")
    assert ctr.status("one") == "RUNNING"
    ctr("task", "rm", "one").failed(1)
    ctr("task", "kill", "--signal", "SIGKILL", "one").ok()
    wait_until(lambda: ctr.status("one") == "STOPPED")
    assert ctr("task", "rm", "one").returncode in (0, 137)  # what the process ended with, in some versions
    assert ctr.task("one") is None
    ctr("task", "start", "--detach", "one").ok()
    assert ctr.status("one") == "RUNNING"


def test_a_signal_reaches_the_process(ctr):
    ctr.up("one", cmd=("probe", "trap", "/tmp/trap"))
    wait_until(lambda: ctr.exec("one", "cat", "/tmp/trap").stdout.startswith("ready"))
    ctr("task", "kill", "--signal", "SIGUSR1", "one").ok()
    wait_until(lambda: "10" in ctr.exec("one", "cat", "/tmp/trap").stdout, what="no SIGUSR1")
    ctr("task", "kill", "one").ok()
    wait_until(lambda: ctr.status("one") == "STOPPED")


def test_kill_all(ctr):
    ctr.up("one", cmd=("sh", "-c", "sleep 1111 & sleep 2222"))
    ctr("task", "kill", "--all", "--signal", "SIGKILL", "one").ok()
    wait_until(lambda: ctr.status("one") == "STOPPED")


def test_kill_of_what_has_ended(ctr):
    ctr.up("one", cmd=("true",))
    wait_until(lambda: ctr.status("one") == "STOPPED")
    ctr("task", "kill", "one").failed(1, "not found")


def test_exec(ctr):
    ctr.up("one")
    assert ctr.ask("one", "id -u; pwd", "--user", "1000", "--cwd", "/tmp").split() == ["1000", "/tmp"]
    ctr.exec("one", "sh", "-c", "exit 9").failed(9)


def test_exec_with_a_terminal(ctr):
    ctr.up("one")
    code, text = Terminal(ctr.place, f"{ctr.bin}/ctr", "--namespace", ctr.place.token, "task", "exec", "--tty", "--exec-id", "e", "one",
                          "sh", "-c", "tty; exit 4").end()
    assert code == 4
    assert "/dev/pts/" in text


def test_exec_that_is_detached_and_killed(ctr):
    ctr.up("one")
    ctr("task", "exec", "--detach", "--exec-id", "e", "one", "sleep", "1234").ok()
    wait_until(lambda: "sleep 1234" in ctr.ask("one", "ps"))
    ctr("task", "kill", "--exec-id", "e", "--signal", "SIGKILL", "one").ok()
    wait_until(lambda: "sleep 1234" not in ctr.ask("one", "ps"))


def test_ps(ctr):
    ctr.up("one", cmd=("sh", "-c", "sleep 1111 & sleep 2222"))
    pid = ctr.task("one")[0]
    wait_until(lambda: len(lines := ctr("task", "ps", "one").out.splitlines()) == 3 and str(pid) in lines[1].split())


def test_pause_and_resume(ctr):
    ctr.up("one")
    ctr("task", "pause", "one").ok()
    assert ctr.status("one") == "PAUSED"
    ctr("task", "resume", "one").ok()
    assert ctr.status("one") == "RUNNING"


def test_delete_of_a_paused_task(ctr):
    ctr.up("one")
    ctr("task", "pause", "one").ok()
    ctr("task", "rm", "--force", "one")
    wait_until(lambda: ctr.task("one") is None)


def test_metrics(ctr):
    ctr.up("one", cmd=("sh", "-c", "while :; do :; done"))
    text = ctr("task", "metrics", "--format", "json", "one").out
    found = json.loads(text)
    assert "memory" in str(found).lower()
    assert "cpu" in str(found).lower()


# --- what goes wrong

@pytest.mark.parametrize(("options", "cmd", "words"), [
    ((), ("nothere",), 'exec: "nothere": executable file not found in $PATH'),
    ((), ("/etc/passwd",), 'exec: "/etc/passwd": permission denied'),
    (("--cwd", "/etc/passwd"), ("true",), "not a directory"),
    (("--mount", "type=bind,src=/no/such,dst=/in,options=rbind"), ("true",), "no such file or directory"),
    (("--mount", "type=nosuch,src=x,dst=/in"), ("true",), "no such device"),
    (("--with-ns", "network:/etc/passwd"), ("true",), "create failed"),
    (("--rootfs-propagation", "nosuch"), ("true",), "rootfsPropagation=nosuch is not supported"),
], ids=["not-found", "not-executable", "cwd", "mount", "file-system", "namespace", "propagation"])
def test_errors_arrive_word_for_word(ctr, options, cmd, words):
    done = ctr.run("one", *options, cmd=cmd).failed(1, words)
    assert f"OCI runtime create failed: {'pyrunc' if ctr.name == 'pyrunc' else 'runc'} create failed: " in done.stderr
    assert "Traceback" not in done.stderr
    if ctr.name == "pyrunc":
        assert "create failed: config.json: /" in done.stderr


def test_exec_of_what_is_not_there(ctr):
    ctr.up("one")
    ctr.exec("one", "nothere").failed(1, 'exec: "nothere": executable file not found in $PATH', "OCI runtime exec failed: exec failed: ")


def test_a_killed_shim_takes_its_container_along(ctr):
    """containerd notices, and has the runtime delete what is left; the name is free again."""
    ctr.up("one")
    pid = ctr.task("one")[0]
    ctr.place.call("kill", "-KILL", ctr.shim("one")).ok()
    wait_until(lambda: not ctr.alive(pid), what="the container outlives its shim")
    ctr.assert_nothing_left()
    ctr("task", "rm", "--force", "one")
    ctr("containers", "rm", "one").ok()
    assert ctr.sh("one", "echo again") == "again"


def test_a_killed_daemon_finds_its_containers_again(ctr):
    ctr.up("one")
    before = ctr.task("one")
    ctr.daemon.kill(signal.SIGKILL)
    ctr.daemon.popen.wait(10)
    ctr.start()
    assert ctr.task("one") == before
    assert ctr.ask("one", "echo there") == "there"
    ctr("task", "kill", "--signal", "SIGKILL", "one").ok()
    wait_until(lambda: ctr.status("one") == "STOPPED")


def test_the_cri_plug_in_takes_the_configuration(ctr):
    lines = [line for line in ctr("plugins", "ls").out.splitlines() if " cri " in line or "cri.v1" in line]
    assert lines
    assert [line for line in lines if "error" in line] == []
