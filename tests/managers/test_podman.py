"""Podman of Debian as root, with its conmon, over the runtime. docs/podman.md is its configuration."""

import json
import os
import re
import socket
import time
from pathlib import Path

import pytest
from kit import limits
from kit.bundle import make_rootfs
from kit.managers import DRIVER, no_network
from kit.observe import cap_mask
from kit.podman import Podman, gone
from kit.runtime import wait_until

HYBRID = not os.path.exists("/sys/fs/cgroup/cgroup.controllers")
COUNTING = "i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.1; done"


@pytest.fixture(scope="module")
def engine(runtime):
    engine = Podman(runtime)
    yield engine
    engine.close()


@pytest.fixture
def podman(engine):
    """The engine; all that a test made in it is removed, and nothing of it may be left."""
    yield engine
    engine.clear()


def status_field(text, name):
    return re.search(rf"^{name}:\s*(.*)$", text, re.M)[1]


def refused(result, *words):
    """Podman's text has the runtime's message whole: one line, not quoted, not cut."""
    lines = [line for line in result.err.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, repr(result)
    assert "Traceback" not in result.err
    for word in words:
        assert word in lines[0], repr(result)
    return lines[0]


# --- which runtime


def test_info_names_the_runtime(podman):
    runtime = json.loads(podman("info", "-f", "json").out)["host"]["ociRuntime"]
    assert (runtime["name"], runtime["path"]) == ("pyrunc", str(podman.runtime))
    assert runtime["version"].startswith(f"{podman.name} version ")


def test_a_runtime_by_path(podman):
    podman("--runtime", podman.path, "run", "--rm", *podman.parent, "busy", "true")


# --- run


def test_run_attached(podman):
    result = podman.run("--rm", "busy", "sh", "-c", "echo out; echo err >&2; exit 5", code=5)
    assert (result.out, result.err) == ("out\n", "err\n")


def test_run_with_stdin(podman):
    text = "line\n" * 20000
    assert podman.run("--rm", "-i", "busy", "cat", stdin=text).out == text


def test_run_detached_logs_wait(podman):
    name = podman.up(command=("sh", "-c", "echo out; echo err >&2; sleep 0.3; exit 3"))
    assert podman("wait", name).out == "3\n"
    logs = podman("logs", name)
    assert (logs.out, logs.err) == ("out\n", "err\n")
    assert podman.inspect(name, "{{.State.Status}} {{.State.ExitCode}} {{.OCIRuntime}}") == "exited 3 pyrunc"


def test_run_on_a_terminal(podman):
    shown = podman.terminal("run", "-it", "--rm", *podman.parent, "busy",
                            "sh", "-c", "tty; stty size; exit 4", code=4)
    assert shown.split() == ["/dev/pts/0", "33", "77"]


def test_typing_on_a_terminal(podman):
    shown = podman.terminal("run", "-it", "--rm", *podman.parent, "busy", "sh",
                            "-c", "echo ready; read line; echo got $line", typed=[(b"ready\r\n", b"word\n")])
    assert "got word" in shown


def test_control_c_reaches_the_container(podman):
    podman.terminal("run", "-it", "--rm", *podman.parent, "busy", "sh", "-c",
                    "trap 'exit 9' INT; echo ready; sleep 30", typed=[(b"ready\r\n", b"\x03")], code=9)


def test_attach_and_detach(podman):
    name = podman.up("-it", command=("sh", "-c", "while read line; do echo got $line; done"))
    podman.terminal("attach", "--detach-keys", "ctrl-q", name, typed=[(b"", b"word\n"), (b"got word\r\n", b"\x11")])
    assert podman.inspect(name, "{{.State.Running}}") == "true"


def test_create_init_start_attached(podman):
    name = podman.create("busy", "sh", "-c", "echo started; exit 6")
    podman("init", name)
    assert podman.inspect(name, "{{.State.Status}}") == "initialized"
    assert podman("start", "--attach", name, code=6).out == "started\n"


@pytest.mark.parametrize("command, code, words", [
    ("nosuch", 127, "executable file not found in $PATH"),
    ("/no/such", 127, "no such file or directory"),
    ("/etc/passwd", 126, "permission denied"),
])
def test_command_that_cannot_run(podman, command, code, words):
    refused(podman.run("--rm", "busy", command, code=code), f'exec: "{command}": ', words)
    refused(podman.exec(podman.up(), command, code=code), f'exec: "{command}": ', words)


def test_podmans_own_refusals_are_125(podman):
    podman.run("--rm", "--memory", "1k", "nosuchimage", "true", code=125)


@pytest.mark.parametrize("options, words", [
    (("--sysctl", "kernel.shmmax=zzz"), ("shmmax", "invalid argument")),
    (("--ulimit", "nofile=99999999:99999999"), ("rlimit", "operation not permitted")),
    (("-v", "{base}:/proc/x"), ("/proc/x",)),
    (("--security-opt", "seccomp={base}/bad-seccomp.json"), ("SCMP_ACT_NONSENSE",)),
])
def test_what_the_runtime_refuses_is_shown(podman, options, words):
    """The same message in Podman's error as in the runtime's log, which Podman keeps beside the bundle."""
    (podman.base / "bad-seccomp.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": '
                                                  '[{"names": ["mkdir"], "action": "SCMP_ACT_NONSENSE"}]}')
    result = podman.run("--rm", *(word.format(base=podman.base) for word in options), "busy", "true", code=None)
    assert result.code in (125, 126, 127), repr(result)
    refused(result, *words)


def test_oom_kills_with_137(podman):
    """State.OOMKilled is not looked at: conmon 2.1.6 leaves it false where memory is on v1, with runc too."""
    name = podman.create("--memory", "24m", "--memory-swap", "24m", "busy", "tail", "/dev/zero")
    podman("start", "--attach", name, code=137)
    assert podman.inspect(name, "{{.State.ExitCode}}") == "137"


# --- exec


@pytest.fixture
def sleeper(podman):
    return podman.up("--name", "sleeper")


def test_exec(podman, sleeper):
    result = podman.exec(sleeper, "sh", "-c", "echo out; echo err >&2; exit 7", code=7)
    assert (result.out, result.err) == ("out\n", "err\n")
    assert podman.exec(sleeper, "cat", options=("-i",), stdin="typed").out == "typed"


def test_exec_as_told(podman, sleeper):
    options = ("-u", "1000:2000", "-w", "/tmp", "-e", "WORD=one two")
    result = podman.exec(sleeper, "sh", "-c", 'id -u; id -g; pwd; echo "$WORD"; grep CapEff /proc/self/status', options=options)
    assert result.out.split("\n")[:4] == ["1000", "2000", "/tmp", "one two"]
    assert status_field(result.out, "CapEff") == "0" * 16
    result = podman.exec(sleeper, "grep", "CapEff", "/proc/self/status", options=("--privileged",))
    assert int(status_field(result.out, "CapEff"), 16) & cap_mask("SYS_ADMIN")


def test_exec_detached(podman, sleeper):
    podman.exec(sleeper, "sh", "-c", "echo here >/tmp/mark; sleep 500", options=("-d",))
    wait_until(lambda: podman.exec(sleeper, "cat", "/tmp/mark", code=None).out == "here\n", 10, "the detached exec")
    assert "sleep 500" in podman("top", sleeper, "args").out


def test_exec_on_a_terminal(podman, sleeper):
    assert podman.terminal("exec", "-it", sleeper, "sh", "-c", "tty; stty size; exit 9", code=9).split() == ["/dev/pts/0", "33", "77"]


def test_exec_killed_by_a_signal(podman, sleeper):
    podman.exec(sleeper, "sh", "-c", "kill -9 $$", code=137)


def test_exec_preserves_descriptors(podman, sleeper):
    """Podman's Go passes descriptor 3 and up; the runtime is told by --preserve-fds."""
    assert podman.with_descriptor_3("kept", "exec", "--preserve-fds", "1", sleeper, "sh", "-c", "cat <&3").out == "kept"


def test_exec_pid_file_is_the_sign_of_success(podman, sleeper):
    """conmon takes the exec for done when the file is there; of one that failed there must be none."""
    podman.calls.write_text("")
    podman.exec(sleeper, "nosuch", code=127)
    words = next(line for line in podman.calls.read_text().splitlines() if " exec " in f" {line} ").split()
    assert "--detach" in words
    assert not podman.inside(words[words.index("--pid-file") + 1]).exists()


def test_exec_needs_a_running_container(podman):
    name = podman.up(command=("true",))
    podman("wait", name)
    podman.exec(name, "true", code=255)


# --- life


def test_stop_start_restart(podman):
    name = podman.up(command=("sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done"))
    podman.logs_until(name, "up")
    podman("stop", "-t", "20", name)
    assert podman.inspect(name, "{{.State.ExitCode}}") == "3"
    podman("start", name)
    first = podman.process(name)
    podman("restart", "-t", "0", name)
    assert podman.process(name) != first and gone(first)


def test_stop_kills_what_does_not_listen(podman):
    name = podman.up("--stop-signal", "USR1", command=("sh", "-c", "trap '' USR1; echo up; while :; do sleep 0.05; done"))
    podman.logs_until(name, "up")
    podman("stop", "-t", "1", name)
    assert podman.inspect(name, "{{.State.ExitCode}}") == "137"


@pytest.mark.parametrize("signal, code", [("KILL", 137), ("TERM", 0), ("USR1", 42)])
def test_kill(podman, signal, code):
    name = podman.up(command=("sh", "-c", "trap 'exit 0' TERM; trap 'exit 42' USR1; echo up; while :; do sleep 0.05; done"))
    podman.logs_until(name, "up")
    podman("kill", "-s", signal, name)
    assert podman("wait", name).out == f"{code}\n"
    podman("kill", name, code=125)


def test_rm_of_a_running_container(podman):
    name = podman.up()
    podman("rm", name, code=2)
    first = podman.process(name)
    podman("rm", "-f", "-t", "0", name)
    assert gone(first)
    podman("inspect", name, code=125)


def test_pause(podman):
    name = podman.up(command=("sh", "-c", COUNTING))
    podman.logs_until(name, "tick 2\n")
    podman("pause", name)
    assert podman.inspect(name, "{{.State.Status}}") == "paused"
    before = podman("logs", name).out
    time.sleep(0.4)
    assert podman("logs", name).out == before
    podman.exec(name, "true", code=255)
    podman("unpause", name)
    wait_until(lambda: len(podman("logs", name).out) > len(before), 10, "more ticks")


def test_a_paused_container_is_removed(podman):
    name = podman.up()
    podman("pause", name)
    podman("rm", "-f", "-t", "0", name)


def test_restart_policy(podman):
    name = podman.create("--restart", "on-failure:2", "busy", "sh", "-c", "echo try; exit 1")
    podman("start", name)
    wait_until(lambda: podman("logs", name).out == "try\n" * 3, 20, "three tries")
    wait_until(lambda: podman.inspect(name, "{{.State.Status}} {{.RestartCount}}") == "exited 2", 10, "the end")


def test_timeout(podman):
    started = time.monotonic()
    podman.run("--timeout", "1", "busy", "sleep", "1000", code=255)
    assert time.monotonic() - started < 30


def test_conmon_killed(podman):
    """Podman then kills the container and forgets it without a `delete`; what it left is whole, and can be deleted."""
    name = podman.up()
    first = podman.process(name)
    podman.sh(f"kill -9 {podman.inspect(name, '{{.State.ConmonPid}}')}")
    podman("rm", "-f", "-t", "0", name)
    wait_until(lambda: gone(first), 10, "the container's end")
    podman.sh(f"{podman.path} delete {name}")


def test_names_and_ids(podman):
    podman("rename", podman.up("--name", "first"), "second")
    podman.exec("second", "true")
    assert podman("ps", "--format", "{{.Names}}").out == "second\n"


# --- limits


def test_limits(podman):
    name = podman.up("--memory", "64m", "--pids-limit", "50", "--cpuset-cpus", "0", "--cpus", "0.5", "--cpu-shares", "512")
    paths = limits.of_process(podman.process(name))
    assert limits.read_of(paths, "memory.max") == str(64 << 20)
    assert limits.read_of(paths, "pids.max") == "50"
    assert limits.read_of(paths, "cpuset.cpus") == "0"
    assert quota(paths) == 0.5
    assert status_field(podman.exec(name, "cat", "/proc/self/status").out, "Cpus_allowed_list") == "0"


def quota(paths):
    """The part of a processor that a group may use."""
    directory, old = limits.of(paths, "cpu")
    texts = ([(directory / name).read_text() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")] if old
             else (directory / "cpu.max").read_text().split())
    return int(texts[0]) / int(texts[1])


def test_update(podman):
    name = podman.up("--memory", "64m", "--cpus", "1")
    podman("update", "--memory", "96m", "--memory-swap", "96m", "--cpus", "0.25", "--cpuset-cpus", "1", name)
    paths = limits.of_process(podman.process(name))
    assert limits.read_of(paths, "memory.max") == str(96 << 20)
    assert limits.read_of(paths, "cpuset.cpus") == "1"
    assert quota(paths) == 0.25


def test_ulimits(podman):
    out = podman.run("--rm", "--ulimit", "nofile=100:200", "--ulimit", "nproc=300:400", "busy", "cat", "/proc/self/limits").out
    assert re.search(r"Max open files +100 +200", out) and re.search(r"Max processes +300 +400", out)


def test_oom_score(podman):
    assert podman.run("--rm", "--oom-score-adj", "500", "busy", "cat", "/proc/self/oom_score_adj").out == "500\n"


def test_cgroup_parent_and_namespace(podman):
    name = podman.up("--cgroupns", "private")
    paths = limits.of_process(podman.process(name))
    assert all(f"{podman.place.cgroup}/" in path for path in paths.values()), paths
    lines = podman.exec(name, "cat", "/proc/self/cgroup").out.splitlines()
    assert lines and all(line.endswith(":/") for line in lines), lines
    host = podman.run("--rm", "--cgroupns", "host", "busy", "cat", "/proc/self/cgroup").out
    assert f"{podman.place.cgroup}/" in host


def test_stats_and_top(podman):
    name = podman.up("--memory", "64m", command=("sh", "-c", "sleep 1000; true"))
    stats = json.loads(podman("stats", "--no-stream", "--format", "json", name).out)[0]
    assert stats["pids"] == "2" and "67.11MB" in stats["mem_usage"], stats
    lines = podman("top", name, "pid", "comm", "user", "capeff").out.splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["sh", "sleep"]


def test_no_cgroup_parent_is_left_busy(podman):
    """What the runtime made for a container goes with it, in every hierarchy, though Podman's parent stays."""
    podman.run("--rm", "busy", "true")
    assert not [path for path in podman.leftovers() if "libpod-" in path]


# --- files


def test_cp_both_ways(podman, sleeper):
    source = podman.base / "in.txt"
    source.write_text("content\n")
    podman("cp", source, f"{sleeper}:/tmp/in.txt")
    assert podman.exec(sleeper, "cat", "/tmp/in.txt").out == "content\n"
    podman("cp", f"{sleeper}:/etc/passwd", podman.base / "out.txt")
    assert (podman.base / "out.txt").read_text().startswith("root:")


def test_cp_into_a_mounted_volume(podman):
    """Podman joins the container's mount namespace to find what is mounted there."""
    name = podman.up("--tmpfs", "/data")
    source = podman.base / "tmpfs.txt"
    source.write_text("to a tmpfs\n")
    podman("cp", source, f"{name}:/data/file")
    assert podman.exec(name, "cat", "/data/file").out == "to a tmpfs\n"


def test_commit_diff_export(podman):
    name = podman.up(command=("sh", "-c", "echo new >/new; sleep 1000"))
    wait_until(lambda: "A /new" in podman("diff", name).out, 10, "the file")
    podman("commit", "-q", name, "committed")
    assert podman.run("--rm", "committed", "cat", "/new").out == "new\n"
    podman("export", "-o", podman.base / "export.tar", name)
    assert (podman.base / "export.tar").stat().st_size > 500000
    podman("rmi", "committed")


def test_named_volume(podman):
    podman.run("--rm", "-v", "kept:/data", "busy", "sh", "-c", "echo kept >/data/file")
    assert podman.run("--rm", "-v", "kept:/data:ro", "busy", "cat", "/data/file").out == "kept\n"
    assert "Read-only" in podman.run("--rm", "-v", "kept:/data:ro", "busy", "touch", "/data/x", code=1).err
    assert podman.run("--rm", "-v", "kept:/data:U", "--user", "1000", "busy", "stat", "-c", "%u", "/data/file").out == "1000\n"
    podman("volume", "rm", "kept")


def test_bind_mounts(podman):
    source = podman.base / "bind"
    (source / "below").mkdir(parents=True)
    name = podman.up("-v", f"{source}:/bind:rslave,noexec", "--mount", f"type=bind,src={source},dst=/other,ro")
    options = {line.split()[4]: line for line in podman.exec(name, "cat", "/proc/self/mountinfo").out.splitlines()}
    assert "noexec" in options["/bind"] and " ro," in options["/other"]
    podman.exec(name, "touch", "/bind/made")
    assert (source / "made").exists()


def test_volume_propagation(podman):
    """A mount that the host makes later below a shared volume shows in the container."""
    source = podman.base / "shared"
    source.mkdir()
    podman.sh(f"mount -t tmpfs below {source} && mount --make-shared {source}")
    name = podman.up("-v", f"{source}:/shared:rslave")
    podman.sh(f"mkdir {source}/later && mount -t tmpfs below {source}/later && touch {source}/later/mark")
    podman.exec(name, "test", "-e", "/shared/later/mark")
    podman("rm", "-f", "-t", "0", name)
    podman.sh(f"umount -R {source}")


def test_tmpfs_and_shm(podman):
    out = podman.run("--rm", "--tmpfs", "/t:size=1m,mode=700,noexec", "--shm-size", "2m", "busy", "sh", "-c",
                     "stat -c %a /t; df -k /t /dev/shm | awk '{print $2}'; grep ' /t ' /proc/mounts").out
    assert out.split()[0] == "700" and out.split()[2:4] == ["1024", "2048"] and "noexec" in out


def test_read_only(podman):
    script = "touch /x; touch /tmp/x && touch /dev/shm/x && touch /run/x && echo written"
    result = podman.run("--rm", "--read-only", "busy", "sh", "-c", script)
    assert result.out == "written\n" and "/x: Read-only file system" in result.err
    podman.run("--rm", "--read-only", "--read-only-tmpfs=false", "busy", "touch", "/tmp/x", code=1)


def test_secret_and_hosts(podman):
    (podman.base / "secret").write_text("hush")
    podman("secret", "create", "word", podman.base / "secret")
    out = podman.run("--rm", "--secret", "word,mode=0400", "--add-host", "there:10.1.2.3", "--hostname", "here", "busy", "sh", "-c",
                     "cat /run/secrets/word; echo; hostname; grep there /etc/hosts").out
    assert out.split() == ["hush", "here", "10.1.2.3", "there"]
    podman("secret", "rm", "word")


def test_rootfs_of_a_directory(podman):
    make_rootfs(podman.base / "rootfs")
    assert podman.run("--rm", "--rootfs", podman.base / "rootfs", "echo", "from a directory").out == "from a directory\n"


def test_idmapped_volume(podman):
    source = podman.base / "mapped"
    source.mkdir(exist_ok=True)
    podman.run("--rm", "--uidmap", "0:100000:65536", "-v", f"{source}:/mapped:idmap", "busy", "touch", "/mapped/file")
    assert (source / "file").stat().st_uid == 0


# --- who and what it may


def test_user(podman):
    out = podman.run("--rm", "--user", "user", "--group-add", "2000", "--umask", "027", "busy", "sh", "-c", "id; umask; pwd").out
    assert out.splitlines() == ["uid=1000(user) gid=1000(user) groups=1000(user),2000", "0027", "/"]


def test_environment(podman):
    out = podman.run("--rm", "--env", "A=one two", "--workdir", "/home/user", "busy", "sh", "-c", 'echo "$A"; pwd; echo $container').out
    assert out.splitlines() == ["one two", "/home/user", "podman"]


def test_capabilities(podman):
    def caps(*options):
        text = podman.run("--rm", *options, "busy", "cat", "/proc/self/status").out
        return {name: int(status_field(text, f"Cap{name}"), 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")}

    only = cap_mask("NET_RAW")
    assert caps("--cap-drop", "all", "--cap-add", "net_raw") == {"Inh": 0, "Prm": only, "Eff": only, "Bnd": only, "Amb": 0}
    user = caps("--cap-drop", "all", "--cap-add", "net_raw", "--user", "1000")
    assert user["Bnd"] == user["Prm"] == user["Amb"] == only
    assert caps()["Bnd"] & cap_mask("CHOWN") and not caps()["Bnd"] & cap_mask("SYS_ADMIN")


def test_privileged(podman):
    out = podman.run("--rm", "--privileged", "busy", "sh", "-c",
                     "cat /proc/self/status; test -e /dev/kmsg && mount -t tmpfs x /tmp && echo mounted; ! grep ' /proc/sys ' /proc/mounts && echo bare").out
    own = Path("/proc/self/status").read_text()
    assert status_field(out, "CapEff") == status_field(own, "CapEff")
    assert "mounted" in out and status_field(out, "Seccomp") == "0"
    assert out.splitlines()[-1] == "bare"


def test_devices(podman):
    """/dev/kmsg is no container's by default: by its number it is refused unless a rule allows it."""
    out = podman.run("--rm", "--device", "/dev/null:/dev/other:rw", "busy", "sh", "-c", "cat /dev/other && ls -l /dev/other").out
    assert re.search(r"1,\s+3", out)
    refusals = "mknod /tmp/kmsg c 1 11; for way in '<' '>>'; do eval \"(: $way/tmp/kmsg)\" 2>&1 | grep -c 'not permitted'; done; true"
    for rule, expected in ((), ["1", "1"]), (["c 1:11 rm"], ["0", "1"]), (["c 1:* rwm"], ["0", "0"]):
        options = [f"--device-cgroup-rule={text}" for text in rule]
        out = podman.run("--rm", "--cap-add", "mknod", "--cap-add", "syslog", *options, "busy", "sh", "-c", refusals).out
        assert out.split() == expected, rule


def test_seccomp(podman):
    profile = podman.base / "seccomp.json"
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                                   "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}))
    result = podman.run("--rm", "--security-opt", f"seccomp={profile}", "busy", "mkdir", "/tmp/x", code=1)
    assert "not supported" in result.err
    fields = {option: status_field(podman.run("--rm", *option, "busy", "cat", "/proc/self/status").out, "Seccomp")
              for option in ((), ("--security-opt", "seccomp=unconfined"))}
    assert list(fields.values()) == ["2", "0"]


def test_no_new_privileges(podman):
    out = podman.run("--rm", "--security-opt", "no-new-privileges", "--user", "1000", "busy", "cat", "/proc/self/status").out
    assert status_field(out, "NoNewPrivs") == "1"


def test_masked_and_unmasked(podman):
    masked = podman.run("--rm", "busy", "sh", "-c", "wc -c </proc/keys; ls /sys/firmware | wc -l").out.split()
    assert masked == ["0", "0"]
    out = podman.run("--rm", "--security-opt", "unmask=/sys/firmware", "--security-opt", "mask=/proc/uptime", "busy", "sh", "-c",
                     "ls /sys/firmware | wc -l; wc -c </proc/uptime").out.split()
    assert out == [str(len(os.listdir("/sys/firmware"))), "0"]


def test_sysctl(podman):
    out = podman.run("--rm", "--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=4096", "busy", "cat",
                     "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/msgmax").out
    assert out.split() == ["1", "4096"]


def test_init(podman):
    name = podman.up("--init", command=("sh", "-c", "(sleep 0.1 &); sleep 1000; true"))
    assert podman.exec(name, "cat", "/proc/1/comm").out == "podman-init\n"
    time.sleep(0.5)
    assert "Z" not in podman.exec(name, "sh", "-c", "for p in /proc/[0-9]*; do cut -d' ' -f3 $p/stat; done").out.split()


def test_user_namespace(podman):
    options = ("--uidmap", "0:100000:5000", "--gidmap", "0:200000:5000")
    name = podman.up(*options, "-v", "mapped:/data")
    assert (podman.process(name) / "uid_map").read_text().split() == ["0", "100000", "5000"]
    assert (podman.process(name) / "gid_map").read_text().split() == ["0", "200000", "5000"]
    assert podman.exec(name, "stat", "-c", "%u", "/etc", "/data", "/bin/busybox").out.split() == ["0", "0", "0"]
    shared = podman.run("--rm", "--userns", f"container:{name}", "busy", "cat", "/proc/self/uid_map").out
    assert shared.split() == ["0", "100000", "5000"]
    podman("rm", "-f", "-t", "0", name)
    podman("volume", "rm", "mapped")


def test_user_namespaces_chosen_by_podman(podman):
    """--userns=auto: a range of its own for each, from the subordinate ids of `containers`; the image's files are mapped."""
    maps = [(podman.process(podman.up("--userns", "auto:size=2000")) / "uid_map").read_text().split() for _ in range(2)]
    assert [(first, size) for first, _, size in maps] == [("0", "2000")] * 2
    assert maps[0][1] != maps[1][1]


def test_keep_id_is_for_the_rootless(podman):
    """Podman's own word: it never asks the runtime."""
    assert "rootless" in podman.run("--rm", "--userns", "keep-id", "busy", "true", code=125).err


# --- namespaces shared


def namespace(podman, name, kind):
    return os.readlink(podman.process(name) / "ns" / kind)


@pytest.mark.parametrize("kind, option", [("pid", "--pid"), ("ipc", "--ipc"), ("uts", "--uts"), ("net", "--network")])
def test_namespaces_of_the_host_and_of_another(podman, kind, option):
    first = podman.up("--ipc", "shareable")
    host = os.readlink(f"/proc/{podman.place.pid}/ns/{kind}")
    assert namespace(podman, first, kind) != host
    if kind != "uts":    # Podman 4.3 has no uts of another container
        assert namespace(podman, podman.up(option, f"container:{first}"), kind) == namespace(podman, first, kind)
    assert namespace(podman, podman.up(option, "host"), kind) == host


def test_pid_of_another_shows_its_processes(podman):
    first = podman.up(command=("sleep", "4321"))
    assert "sleep 4321" in podman.run("--rm", "--pid", f"container:{first}", "busy", "ps").out


def test_pid_of_the_host_is_killed_whole(podman):
    """No pid namespace ends with the first process: the runtime's kill has to find the others."""
    name = podman.up("--pid", "host", command=("sh", "-c", "sleep 7654 & exec sleep 7653"))
    wait_until(lambda: "sleep 7654" in podman.sh("ps -e -o args").out, 10, "the second process")
    podman("rm", "-f", "-t", "0", name)
    wait_until(lambda: "sleep 765" not in podman.sh("ps -e -o args | grep -v grep").out, 10, "the end of both")


def test_network_none_is_a_new_one(podman):
    assert sorted(podman.run("--rm", "busy", "ls", "/sys/class/net").out.split()) == no_network()


# --- the rest of the caller's contract


def test_healthcheck(podman):
    """No timer, which would be systemd's; Podman's check is an exec."""
    name = podman.up("--health-cmd", "test -e /tmp/ok", "--health-interval", "disable", "--health-retries", "1")
    podman("healthcheck", "run", name, code=1)
    podman.exec(name, "touch", "/tmp/ok")
    podman("healthcheck", "run", name)
    assert podman.inspect(name)["State"]["Health"]["Status"] == "healthy"


def test_hooks_directory(podman):
    seen = podman.base / "hook-state"
    hook = {"version": "1.0.0", "when": {"annotations": {"^test.hook$": "^on$"}},
            "hook": {"path": "/bin/sh", "args": ["sh", "-c", f"cat >{seen}.$1; echo >>{seen}.$1", "sh", "STAGE"]}}
    stages = ("prestart", "createRuntime", "poststart", "poststop")    # the others see the container's mounts, where no such path is
    for stage in stages:
        hook["hook"]["args"][-1], hook["stages"] = stage, [stage]
        (podman.hooks / f"{stage}.json").write_text(json.dumps(hook))
    try:
        podman.run("--rm", "--annotation", "test.hook=on", "--annotation", "run.oci.handler=none", "busy", "true")
    finally:
        for file in podman.hooks.iterdir():
            file.unlink()
    states = {stage: json.loads(Path(f"{seen}.{stage}").read_text()) for stage in stages if os.path.exists(f"{seen}.{stage}")}
    assert set(states) == set(stages)
    assert states["createRuntime"]["annotations"]["run.oci.handler"] == "none"
    assert states["poststop"]["status"] == "stopped"


def test_annotations_reach_the_runtime(podman):
    name = podman.up("--annotation", "run.oci.keep_original_groups=1", "--annotation", "org.example.x=y z")
    assert podman.config(name)["annotations"]["org.example.x"] == "y z"
    state = json.loads(podman.sh(f"{podman.path} state {name}").out)
    assert state["annotations"]["org.example.x"] == "y z" and state["annotations"]["run.oci.keep_original_groups"] == "1"


def test_preserve_fds(podman):
    result = podman.with_descriptor_3("kept", "run", *podman.parent, "--rm", "--preserve-fds", "1", "busy", "sh", "-c", "cat <&3")
    assert result.out == "kept"


def test_notify_socket(podman):
    """--sdnotify=conmon: conmon speaks for the container, once the runtime has started it."""
    path = str(podman.base / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(10)
        podman.run("-d", "--sdnotify", "conmon", "busy", "sleep", "1000", env={"NOTIFY_SOCKET": path})
        assert listener.recv(4096).startswith((b"MAINPID=", b"READY=1"))


def test_systemd_mode(podman):
    """Podman gives tmpfs mounts and a writable systemd hierarchy to what is to be an init."""
    out = podman.run("--rm", "--systemd", "always", "busy", "cat", "/proc/mounts").out
    points = {line.split()[1]: line.split() for line in out.splitlines()}
    assert {"/run", "/run/lock", "/tmp", "/var/log/journal"} <= set(points)
    assert points["/sys/fs/cgroup/systemd" if HYBRID else "/sys/fs/cgroup"][3].startswith("rw")


def test_generate_systemd(podman):
    name = podman.create("--name", "unit", "busy", "sleep", "1000")
    new = podman("generate", "systemd", "--new", "--name", name).out
    assert "--sdnotify=conmon" in new and "-d" in new and podman.token in new
    assert f"podman start {name}" in podman("generate", "systemd", name).out


def test_podman_build(podman):
    """`podman build` takes the configured runtime."""
    (podman.base / "Containerfile").write_text("FROM busy\nRUN echo built >/built\nUSER user\nRUN id -u >/tmp/uid\n"
                                               'CMD ["cat", "/built", "/tmp/uid"]\n')
    podman.calls.write_text("")
    podman("build", "--network", "none", "-t", "built", "-f", podman.base / "Containerfile", podman.hooks)
    assert podman.calls.read_text().count("create ") == 2, podman.calls.read_text()
    assert podman.run("--rm", "built").out == "built\n1000\n"
    podman("rmi", "-f", "built")


def test_podman_build_with_options(podman):
    (podman.base / "Containerfile").write_text("FROM busy\nRUN exit 7\n")
    result = podman("build", "--isolation", "oci", "--network", "none", "-f", podman.base / "Containerfile", podman.hooks, code=None)
    assert result.code == 7 and "exit status 7" in result.err


# --- pods

in_a_pod = pytest.mark.xfail(not HYBRID and DRIVER == "cgroupfs", reason="Podman 4.3 with cgroupfs on cgroup2 makes the pod's group deny all devices, /dev/null "
                                                "too: no runtime can start a container in it")


@pytest.fixture
def pod(podman):
    """A pod that shares all it can, without a network to set up; Podman makes the infra image of its own catatonit."""
    podman("pod", "create", "--name", "pod", "--network", "none", "--share", "pid,ipc,net,uts", *podman.parent)
    return "pod"


def in_pod(podman, name, *command, options=()):
    return podman("run", "-d", "--pod", "pod", "--name", name, *options, "busy", *command).out.strip()


@in_a_pod
def test_pod_shares_namespaces(podman, pod):
    one, two = in_pod(podman, "one", "sleep", "1234"), in_pod(podman, "two", "sleep", "5678")
    for kind in ("pid", "ipc", "net", "uts"):
        assert namespace(podman, one, kind) == namespace(podman, two, kind)
    assert namespace(podman, one, "mnt") != namespace(podman, two, "mnt")
    processes = podman.exec(one, "ps").out
    assert "catatonit" in processes and "sleep 1234" in processes and "sleep 5678" in processes
    assert podman("pod", "top", pod, "comm").out.split().count("sleep") == 2


@in_a_pod
def test_pod_talks_over_lo(podman, pod):
    in_pod(podman, "server", "nc", "-l", "-p", "7777", "-e", "echo", "served")
    assert wait_until(lambda: podman("run", "--rm", "--pod", pod, "busy", "sh", "-c", "nc 127.0.0.1 7777 </dev/null", code=None).out, 10,
                      "an answer") == "served\n"


@in_a_pod
def test_pod_life(podman, pod):
    one = in_pod(podman, "one", "sleep", "1234")

    def state():
        return json.loads(podman("pod", "inspect", pod).out)["State"]

    assert state() == "Running"
    podman("pod", "pause", pod)
    assert podman.inspect(one, "{{.State.Status}}") == "paused"
    podman("pod", "unpause", pod)
    podman("pod", "restart", pod, timeout=90)
    assert state() == "Running"
    podman("pod", "stop", "-t", "0", pod)
    assert state() == "Exited"
    podman("pod", "start", pod)
    podman("pod", "kill", pod)
    wait_until(lambda: state() == "Exited", 10, "the pod's end")
    podman("pod", "rm", "-f", "-t", "0", pod)


@in_a_pod
def test_pod_init_container(podman, pod):
    podman("create", "--pod", pod, "--init-ctr", "always", "-v", "podinit:/data", "busy", "sh", "-c", "echo first >/data/file")
    podman("create", "--pod", pod, "--name", "main", "-v", "podinit:/data", "busy", "sh", "-c", "cat /data/file; sleep 1000")
    podman("pod", "start", pod)
    podman.logs_until("main", "first")
    podman("pod", "rm", "-f", "-t", "0", pod)
    podman("volume", "rm", "podinit")


KUBE = """apiVersion: v1
kind: Pod
metadata: {{name: kube}}
spec:
  restartPolicy: Never
  initContainers:
  - {{name: first, image: localhost/busy, command: [sh, -c, "echo init >/data/init"], volumeMounts: [{{name: data, mountPath: /data}}]}}
  containers:
  - name: one
    image: localhost/busy
    command: [sh, -c, "echo $WORD >/data/one; sleep 1000"]
    env: [{{name: WORD, value: from one}}]
    resources: {{limits: {{memory: 64Mi, cpu: 500m}}}}
    volumeMounts: [{{name: data, mountPath: /data}}]
  - name: two
    image: localhost/busy
    command: [sh, -c, "while ! test -s /data/one; do sleep 0.1; done; cat /data/init /data/one; id -u; touch /x /data/x; sleep 1000"]
    securityContext: {{runAsUser: 1000, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
    volumeMounts: [{{name: data, mountPath: /data, readOnly: true}}]
  volumes:
  - {{name: data, hostPath: {{path: "{base}/kube-data", type: DirectoryOrCreate}}}}
"""


@in_a_pod
def test_play_kube(podman):
    (podman.base / "kube.yaml").write_text(KUBE.format(base=podman.base))
    podman("play", "kube", "--network", "none", podman.base / "kube.yaml")
    text = podman.logs_until("kube-two", "1000\n")
    assert text == "init\nfrom one\n1000\n"
    wait_until(lambda: podman("logs", "kube-two").err.count("Read-only file system") == 2, 10, "both refusals")
    paths = limits.of_process(podman.process("kube-one"))
    assert limits.read_of(paths, "memory.max") == str(64 << 20) and quota(paths) == 0.5
    status = podman.exec("kube-two", "cat", "/proc/1/status").out
    assert status_field(status, "NoNewPrivs") == "1" and int(status_field(status, "CapBnd"), 16) == 0
    assert "kind: Pod" in podman("generate", "kube", "kube").out
    podman("play", "kube", "--down", podman.base / "kube.yaml")
    assert podman("ps", "-aq").out == ""


def test_events_tell_the_life(podman):
    name = podman.up(command=("true",))
    podman("wait", name)
    text = podman("events", "--stream=false", "--filter", f"container={name}").out
    for word in ("create", "init", "start", "died"):
        assert f"container {word}" in text, text
