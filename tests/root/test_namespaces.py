"""The eight namespaces: new, joined by path, absent; user-namespace mappings; terminals."""

import fcntl
import json
import os
import pty
import signal
import socket
import struct
import subprocess
import termios
import time

import pytest
from kit.bundle import add_mounts, bind, caps, chown_tree, namespaces, userns
from kit.canary import snapshot
from kit.console import FdSocket, read_terminal
from kit.observe import mount_at
from kit.runtime import alive, wait_until

known_bad = pytest.mark.runc_known_bad
SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
ALL = ("pid", "network", "ipc", "uts", "mount", "cgroup")
PROC = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "mount": "mnt", "cgroup": "cgroup", "user": "user",
        "time": "time"}


def own(kind):
    return os.readlink(f"/proc/self/ns/{PROC[kind]}")


def bare(config):
    """Without what needs a private mount or uts namespace."""
    for key in ("maskedPaths", "readonlyPaths"):
        config["linux"].pop(key)
    config.pop("hostname")


# --- new and absent

@pytest.mark.parametrize("kind", [*ALL, "user", pytest.param("time", marks=known_bad("1.1 has no time namespace"))])
def test_a_listed_namespace_is_new_and_the_others_are_as_listed(rt, kind):
    patches = [userns()] if kind == "user" else [namespaces(*dict.fromkeys((*ALL, kind)))]
    seen = rt.container(*patches).probe()
    assert seen["ns"][PROC[kind]] != own(kind)
    if kind not in ("user", "time"):
        assert seen["ns"]["user"] == own("user") and seen["ns"]["time"] == own("time")


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "cgroup"])
def test_an_absent_namespace_is_that_of_the_runtime(rt, kind):
    patch = namespaces(*(other for other in ALL if other != kind))
    seen = rt.container(patch, bare).probe()
    assert seen["ns"][PROC[kind]] == own(kind)


@pytest.mark.parametrize("kinds", [("mount",), ("mount", "network", "ipc", "uts")], ids=" ".join)
def test_a_user_namespace_needs_no_pid_namespace(rt, kinds):
    """The host's /proc is bound: a new one may only be mounted with a pid namespace of its own."""
    def edit(config):
        bare(config)
        config["mounts"] = [bind("/proc", "/proc", "rbind") if m["type"] == "proc" else m
                            for m in config["mounts"] if m["type"] not in ("mqueue", "sysfs")]
    seen = rt.container(namespaces(*kinds), userns(), edit).probe()
    assert seen["ns"]["user"] != own("user") and seen["ns"]["pid"] == own("pid")


def test_every_process_of_a_new_pid_namespace_is_of_the_container(rt):
    result = rt.container({"process": {"args": ["/bin/sh", "-c", "echo /proc/[0-9]*"]}}).run().ok()
    assert result.out.split() == ["/proc/1"]


def test_a_container_in_the_hosts_pid_namespace_has_its_host_pid(rt):
    container = rt.container(namespaces("network", "ipc", "uts", "mount"), {"process": {"args": ["/bin/probe", "stay"]}}).up()
    wait_until(lambda: container.output().endswith("}\n"), what="no output")
    assert json.loads(container.output())["pid"] == container.pid


@known_bad("1.1 has no domainname")
def test_the_hosts_name_is_not_changed_by_hostname_and_domainname(rt, host):
    seen = rt.container({"hostname": "a-name.example", "domainname": "a-domain"}).probe()
    assert seen["hostname"] == "a-name.example" and seen["domainname"] == "a-domain"


def test_a_cgroup_namespace_hides_the_path_of_the_group(rt):
    container = rt.container(namespaces(*ALL))
    seen = container.probe()
    assert all(line.endswith(":/") for line in seen["cgroup"].split() if rt.token in line or line.startswith("0:"))
    assert rt.token not in seen["cgroup"]


# --- joined by path

@pytest.mark.parametrize("kind", ["network", "ipc", "uts", "pid", "cgroup",
                                  pytest.param("time", marks=known_bad("1.1 has no time namespace"))])
def test_a_namespace_of_another_container_is_joined_by_path(rt, kind):
    first = rt.container(namespaces(*dict.fromkeys((*ALL, kind)))).bundle
    first = rt.container(SLEEP, bundle=first.patch(SLEEP)).up()
    path = f"/proc/{first.pid}/ns/{PROC[kind]}"
    others = [other for other in ALL if other != kind]
    patches = [namespaces(*others, **{kind: path})]
    if kind == "uts":
        patches.append(bare)
    seen = rt.container(*patches).probe()
    assert seen["ns"][PROC[kind]] == os.readlink(path)


@pytest.mark.parametrize("kind", ["network", "ipc", "uts"])
def test_a_namespace_is_joined_without_a_pid_namespace(rt, kind):
    """The host's processes and another network, as managers ask for it: nothing else would need init to be forked."""
    first = rt.container(SLEEP).up()
    path = f"/proc/{first.pid}/ns/{PROC[kind]}"
    others = [other for other in ("network", "ipc", "uts", "mount") if other != kind]
    seen = rt.container(namespaces(*others, **{kind: path}), *([bare] if kind == "uts" else [])).probe()
    assert seen["ns"][PROC[kind]] == os.readlink(path)
    assert seen["ns"]["pid"] == own("pid")


def test_a_user_namespace_without_a_pid_namespace(rt):
    def host_pids(config):
        config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "pid"]
        config["mounts"] = [m if m["destination"] != "/proc" else bind("/proc", "/proc", "rbind") for m in config["mounts"]]
        config["linux"]["maskedPaths"] = config["linux"]["readonlyPaths"] = []
    container = rt.container(userns(), host_pids)
    chown_tree(container.rootfs, 100000, 100000)
    seen = container.probe()
    assert seen["ns"]["pid"] == own("pid") and seen["ns"]["user"] != own("user")


def test_a_pid_namespace_is_joined_and_its_processes_are_seen(rt):
    first = rt.container(SLEEP).up()
    patch = namespaces("network", "ipc", "uts", "mount", pid=f"/proc/{first.pid}/ns/pid")
    second = rt.container(patch, {"process": {"args": ["/bin/probe"]}})
    seen = second.probe()
    assert seen["pid"] > 1 and seen["ppid"] == 0
    assert alive(first.pid)


def test_deleting_a_container_that_joined_a_pid_namespace_spares_the_other_one(rt):
    first = rt.container(SLEEP).up()
    patch = namespaces("network", "ipc", "uts", "mount", pid=f"/proc/{first.pid}/ns/pid")
    second = rt.container(patch, SLEEP).up()
    second.delete("-f").ok()
    assert first.status == "running"


def test_a_bind_mounted_namespace_file_is_joined(rt):
    path = rt.base / "netns"
    path.write_text("")
    holder = subprocess.Popen(["unshare", "--net", "sleep", "1000"])
    try:
        wait_until(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != own("network"), what="no namespace")
        subprocess.run(["mount", "--bind", f"/proc/{holder.pid}/ns/net", path], check=True)
        seen = rt.container(namespaces("pid", "ipc", "uts", "mount", network=path)).probe()
        assert seen["ns"]["net"] == os.readlink(f"/proc/{holder.pid}/ns/net")
    finally:
        holder.kill()
        holder.wait()
        subprocess.run(["umount", path], check=True)


@known_bad("1.1 wants mappings with a joined user namespace")
def test_a_user_namespace_is_joined_with_what_it_owns(rt):
    first = rt.container(userns(), SLEEP).up()
    paths = {kind: f"/proc/{first.pid}/ns/{PROC[kind]}" for kind in ("user", "network", "ipc")}
    second = rt.container(namespaces("pid", "uts", "mount", **paths))
    seen = second.probe()
    assert seen["ns"]["user"] == os.readlink(paths["user"]) and seen["ns"]["net"] == os.readlink(paths["network"])
    assert seen["uids"] == [0] * 3 and seen["uid_map"].split() == ["0", "100000", "65536"]


def test_loopback_of_a_joined_network_namespace_is_left_alone(rt):
    holder = subprocess.Popen(["unshare", "--net", "sleep", "1000"])
    try:
        wait_until(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != own("network"), what="no namespace")
        patch = namespaces("pid", "ipc", "uts", "mount", network=f"/proc/{holder.pid}/ns/net")
        result = rt.container(patch, {"process": {"args": ["/bin/probe", "try", "lo-up:"]}}).run().ok()
        assert result.json()[0]["rc"] == 0
    finally:
        holder.kill()
        holder.wait()


# --- joined by path, and the runtime's own

SYSCTLS = {"network": {"net.ipv4.ip_forward": "1"}, "ipc": {"kernel.shmmax": "1", "fs.mqueue.msg_max": "11"},
           "uts": {"kernel.domainname": "changed"}}
OWN = [
    *[(kind, {"linux": {"sysctl": {key: value}}}, "/linux/sysctl/" + key) for kind, keys in SYSCTLS.items() for key, value in keys.items()],
    ("uts", {"hostname": "changed"}, "/hostname: unable to set hostname"),
    ("uts", {"domainname": "changed"}, "/domainname: unable to set domainname"),
    ("network", {"linux": {"netDevices": {"lo": {}}}}, "/linux/netDevices: unable to move"),
    ("mount", {}, "/linux/namespaces/3/path: the runtime's own mount namespace cannot be joined"),
    ("user", {"linux": {"sysctl": {"user.max_user_namespaces": "100000"}}}, "/path: the runtime's own user namespace cannot be joined"),
]


def host_wide():
    """What the sysctls and names of OWN would change."""
    files = [key.replace(".", "/") for keys in SYSCTLS.values() for key in keys] + ["kernel/hostname", "user/max_user_namespaces"]
    return {name: open(f"/proc/sys/{name}").read() for name in files}


@known_bad("tells the network namespace only, and not where it is bound to a file")
@pytest.mark.parametrize("kind, patch, words, by", [(*case, "/proc/self/ns") for case in OWN] + [
    (*case, by) for case in OWN[:2] + OWN[4:5] for by in ("/proc/1/ns", "a file")], ids=lambda value: value if isinstance(value, str) else "")
def test_a_namespace_that_is_the_runtimes_own_is_as_one_that_is_not_listed(rt, kind, patch, words, by):
    """In a place of its own, so that what a fault changes is not the machine's."""
    before, path = host_wide(), f"{by}/{PROC[kind]}"
    script = "exec \"$@\""
    if by == "a file":
        path = rt.base / "ns"
        path.write_text("")
        script = f"mount --bind /proc/self/ns/{PROC[kind]} {path} && exec \"$@\""
    others = [other for other in ("pid", "network", "ipc", "uts", "mount") if other != kind]
    listed = namespaces(*others[:3], **{kind: path}) if kind == "mount" else namespaces(*others, **{kind: path})
    container = rt.container(bare, listed, patch)
    place = ("unshare", "--mount", "--net", "--ipc", "--uts", "--pid", "--fork", "--mount-proc", "sh", "-c", script, "sh")
    result = container.create(wrap=place).failed(words)
    assert result.err.splitlines()[1].endswith(f"{path} is the runtime's own {kind} namespace")
    assert host_wide() == before
    rt.assert_nothing_left()


@pytest.mark.parametrize("kind", ["network", "ipc", "uts", "pid"])
def test_the_runtimes_own_namespace_may_be_joined_by_who_asks_nothing_of_it(rt, kind):
    others = [other for other in ("pid", "network", "ipc", "uts", "mount") if other != kind]
    assert rt.container(bare, namespaces(*others, **{kind: f"/proc/self/ns/{PROC[kind]}"})).probe()["ns"][PROC[kind]] == own(kind)


def test_sysctls_of_a_joined_namespace_that_is_another_one_are_written(rt):
    first = rt.container(SLEEP).up()
    patch = namespaces("pid", "mount", **{kind: f"/proc/{first.pid}/ns/{PROC[kind]}" for kind in ("network", "ipc", "uts")})
    script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax /proc/sys/kernel/domainname"
    result = rt.container(bare, patch, {"linux": {"sysctl": {
        "net.ipv4.ip_forward": "1", "kernel.shmmax": "12345", "kernel.domainname": "joined"}}},
        {"process": {"args": ["/bin/sh", "-c", script]}}).run().ok()
    assert result.out.split() == ["1", "12345", "joined"]


# --- user namespaces

def test_the_mappings_are_written_as_given(rt):
    uids = [{"containerID": 0, "hostID": 100000, "size": 10}, {"containerID": 10, "hostID": 200000, "size": 5}]
    gids = [{"containerID": 0, "hostID": 300000, "size": 10}, {"containerID": 10, "hostID": 400000, "size": 5}]

    def map_ids(config):
        userns()(config)
        config["linux"].update(uidMappings=uids, gidMappings=gids)
        config["process"]["user"] = {"uid": 12, "gid": 11, "additionalGids": [3]}
        config["mounts"][2]["options"].remove("gid=5")
    seen = rt.container(map_ids).probe()
    assert [line.split() for line in seen["uid_map"].splitlines()] == [["0", "100000", "10"], ["10", "200000", "5"]]
    assert [line.split() for line in seen["gid_map"].splitlines()] == [["0", "300000", "10"], ["10", "400000", "5"]]
    assert seen["uids"] == [12] * 3 and seen["gids"] == [11] * 3 and seen["groups"] == [3]


def test_a_mapping_of_340_lines_works(rt):
    lines = [{"containerID": i, "hostID": 1000 + 2 * i, "size": 1} for i in range(340)]     # and under a page of text

    def map_ids(config):
        userns()(config)
        config["linux"].update(uidMappings=lines, gidMappings=lines)
    assert len(rt.container(map_ids).probe()["uid_map"].splitlines()) == 340


def test_an_id_without_a_mapping_is_refused(rt):
    rt.container(userns(size=10), {"process": {"user": {"uid": 77, "gid": 0}}},
                 lambda config: config["mounts"][2]["options"].remove("gid=5")).create().failed()


def test_host_root_is_nobody_in_the_user_namespace(rt, canary):
    os.chmod(canary.path / "secret", 0o600)
    canary.before = snapshot(canary.path)
    container = rt.container(userns(), caps("CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN"), add_mounts(bind(canary.path, "/mnt")),
                             {"process": {"args": ["/bin/probe", "try", "stat:/mnt/secret", "read:/mnt/secret"]}})
    st, read = container.run().ok().json()
    assert (st["uid"], st["gid"]) == (65534, 65534) and read["errno"] == 13


def test_all_the_default_mounts_work_in_a_user_namespace(rt):
    seen = rt.container(userns(), namespaces(*ALL), userns()).probe()
    assert mount_at(seen, "/proc").type == "proc" and mount_at(seen, "/sys").type == "sysfs"
    assert mount_at(seen, "/dev/mqueue").type == "mqueue"


# --- terminals

TERMINAL = {"process": {"terminal": True, "consoleSize": {"height": 33, "width": 77}}}


def test_create_sends_the_terminal_to_the_console_socket(rt):
    with FdSocket(rt.base / "console.sock") as console:
        container = rt.container(TERMINAL)
        container.create("--console-socket", console.path).ok()
        name, fd = console.receive()
        assert name.startswith("/dev/pts/") or name == "/dev/ptmx", name
        container.start().ok()
        seen = json.loads(read_terminal(fd))
    assert seen["winsize"] == [33, 77] and seen["ctty"] == 1
    assert {seen["fds"][fd]["rdev"].split(":")[0] for fd in "012"} == {"136"}
    assert seen["dev"]["console"]["rdev"] == seen["fds"]["0"]["rdev"]
    assert mount_at(seen, "/dev/console").type == "devpts"
    assert sorted(seen["fds"]) == ["0", "1", "2"]
    assert seen["fds"]["0"]["link"] == "/dev/pts/0" or seen["fds"]["0"]["link"] == "/dev/console"


def test_the_terminals_pty_is_of_the_containers_devpts(rt):
    with FdSocket(rt.base / "console.sock") as console:
        container = rt.container(TERMINAL, {"process": {"args": ["/bin/probe", "sleep"]}})
        container.create("--console-socket", console.path).ok()
        _, fd = console.receive()
        number = fcntl.ioctl(fd, 0x80045430, b"\0" * 4)           # TIOCGPTN
        assert struct.unpack("I", number) == (0,)
        assert os.fstat(fd).st_dev == os.stat(f"/proc/{container.pid}/root/dev/pts/ptmx").st_dev


def test_a_relative_console_socket_is_relative_to_the_bundle_as_runc_has_it(rt):
    container = rt.container(TERMINAL)
    with FdSocket(container.bundle.path / "c.sock") as console:
        container.create("--console-socket", "c.sock", cwd=rt.base).ok()
        console.receive()


def test_a_console_socket_that_closes_at_once_fails_or_works_but_leaves_nothing(rt):
    with FdSocket(rt.base / "console.sock") as console:
        console.listener.close()
        rt.container(TERMINAL).create("--console-socket", console.path).failed("connection refused")
    rt.assert_nothing_left()


def test_exec_sends_a_terminal_of_its_own(rt):
    up = rt.container(SLEEP).up()
    with FdSocket(rt.base / "console.sock") as console:
        running = rt.spawn("exec", "-t", "-d", "--console-socket", console.path, up.id, "/bin/probe")
        _, fd = console.receive()
        seen = json.loads(read_terminal(fd))
        running.wait().ok()
    assert seen["ctty"] == 1 and sorted(seen["fds"]) == ["0", "1", "2"]


def foreground(rt, container, *args, **how):
    """Foreground run with a pty as the runtime's stdio; (Running, master)."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def session():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    running = container.spawn_run(*args, stdin=slave, stdout=slave, stderr=slave, preexec=session, **how)
    os.close(slave)
    return running, master


def test_foreground_run_with_a_terminal_shows_the_programs_output(rt):
    container = rt.container({"process": {"terminal": True, "args": ["/bin/sh", "-c", "echo hello; test -t 0 && echo tty"]}})
    running, master = foreground(rt, container)
    assert read_terminal(master).split() == ["hello", "tty"]
    assert running.wait().code == 0


def test_foreground_run_with_a_terminal_passes_on_what_is_typed(rt):
    container = rt.container({"process": {"terminal": True, "args": ["/bin/sh", "-c", "read a; echo got-$a; exit 5"]}})
    running, master = foreground(rt, container)
    time.sleep(0.3)
    os.write(master, b"typed\r")
    assert "got-typed" in read_terminal(master)
    assert running.wait().code == 5


def test_foreground_run_with_a_terminal_follows_the_window_size(rt):
    script = "trap 'busybox stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done"
    container = rt.container({"process": {"terminal": True, "args": ["/bin/sh", "-c", script]}})
    running, master = foreground(rt, container)
    read_terminal(master, until=b"ready")
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 99, 0, 0))
    assert "44 99" in read_terminal(master)
    assert running.wait().code == 0


def test_foreground_run_puts_the_callers_terminal_back_as_it_was(rt):
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    container = rt.container({"process": {"terminal": True, "args": ["/bin/true"]}})
    running = container.spawn_run(stdin=slave, stdout=slave, stderr=slave)
    assert running.wait().code == 0
    assert termios.tcgetattr(slave) == before
    os.close(slave)
    os.close(master)


def test_a_program_cannot_type_into_the_callers_terminal(rt):
    """bubblewrap's CVE-2017-5226: with the caller's tty as stdio but a session of its own, TIOCSTI is refused."""
    container = rt.container()
    running, master = foreground(rt, container)
    seen = json.loads(read_terminal(master))
    assert seen["ctty"] == 0 and seen["sid"] == 1
    assert running.wait().code == 0


@known_bad("1.1 has no --pidfd-socket")
def test_create_sends_a_pidfd_of_init_to_the_pidfd_socket(rt):
    with FdSocket(rt.base / "pidfd.sock") as sock:
        container = rt.container(SLEEP)
        container.create("--pidfd-socket", sock.path).ok()
        name, fd = sock.receive()
        assert name == "standard"
        with open(f"/proc/self/fdinfo/{fd}") as info:
            assert f"Pid:\t{container.pid}\n" in info.read()
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        container.wait_stopped()


@known_bad("1.1 has no --pidfd-socket")
def test_exec_sends_a_pidfd_of_its_process(rt):
    up = rt.container(SLEEP).up()
    with FdSocket(rt.base / "pidfd.sock") as sock:
        running = rt.spawn("exec", "-d", "--pidfd-socket", sock.path, "--pid-file", rt.base / "pid", up.id, "/bin/sleep", "1000")
        name, fd = sock.receive()
        running.wait().ok()
        assert name == "setns"
        with open(f"/proc/self/fdinfo/{fd}") as info:
            assert f"Pid:\t{(rt.base / 'pid').read_text()}\n" in info.read()


# --- notify

@known_bad("1.1 sends no barrier")
@pytest.mark.parametrize("text", ["READY=1", "READY=1\nSTATUS=x"], ids=["alone", "with more"])
def test_run_detached_waits_for_ready_and_passes_it_on(rt, text):
    host_socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    path = str(rt.base / "notify.sock")
    host_socket.bind(path)
    host_socket.settimeout(10)
    container = rt.container({"process": {"args": ["/bin/probe", "notify", text]}})
    running = rt.spawn("run", "-d", "--bundle", container.bundle.path, container.id, env={"NOTIFY_SOCKET": path})
    messages = []
    while not any(message.startswith("MAINPID=") for message in messages):
        data, ancillary, _, _ = host_socket.recvmsg(4096, 64)
        messages.append(data.decode())
        for _, _, fds in ancillary:
            os.close(struct.unpack("i", fds[:4])[0])
    data, ancillary, _, _ = host_socket.recvmsg(4096, 64)
    messages.append(data.decode())
    for _, _, fds in ancillary:             # the barrier ends when its pipe is closed
        os.close(struct.unpack("i", fds[:4])[0])
    running.wait().ok()
    host_socket.close()
    assert messages[0].startswith("READY=1") and "STATUS" not in "".join(messages)
    assert f"MAINPID={container.pid}" in "".join(messages)
    assert messages[-1] == "BARRIER=1"


def test_run_detached_does_not_wait_for_ready_of_a_dead_container(rt):
    container = rt.container({"process": {"args": ["/bin/true"]}})
    container.run("-d", timeout=10, env={"NOTIFY_SOCKET": str(rt.base / "nobody.sock")})
    container.delete("-f").ok()
    rt.assert_nothing_left()
