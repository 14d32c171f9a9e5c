"""containerd's CRI plug-in, asked over gRPC as a kubelet asks it, with the config.toml of docs/containerd.md."""

import json
import os
import re
import signal
import time

import pytest
from kit.cri import ERROR, STDOUT, Node, Refused, Stream, missing, port
from kit.managers import IMAGE
from kit.runtime import wait_until

FULL = int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("CapBnd")), 16)
V1 = os.path.isdir("/sys/fs/cgroup/memory")
CHOWN, NET_ADMIN, NET_BIND = 0, 12, 10
OTHERS = {"network": "NODE", "pid": "NODE", "ipc": "NODE"}
MAPPED = {"userns_options": {"mode": "POD", "uids": [{"host_id": 100000, "container_id": 0, "length": 65536}],
                             "gids": [{"host_id": 100000, "container_id": 0, "length": 65536}]}}
IDS = {"uidMappings": MAPPED["userns_options"]["uids"], "gidMappings": MAPPED["userns_options"]["gids"]}
NO_MKDIR = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}]}


@pytest.fixture(scope="module")
def daemon(runtime):
    if reason := missing():
        pytest.skip(reason)
    node = Node(runtime, "cri")
    try:
        node.start().load()
        node.shared = node.pod()
        yield node
        node.shared.remove()
    finally:
        node.place.close()


def removed(client, id):
    """Whether a container is. containerd refuses one that has just ended: its task is gone before it is noted as such."""
    try:
        client.RemoveContainer(container_id=id)
    except Refused as refused:
        assert "container is still running" in refused.text
        return False
    return True


@pytest.fixture
def node(daemon):
    """The node; after the test all but the shared pod is removed, and nothing may remain of it."""
    yield daemon
    client, shared = daemon.client, daemon.shared.id
    for sandbox in client.ListPodSandbox().items:
        if sandbox.id != shared:
            client.StopPodSandbox(pod_sandbox_id=sandbox.id)
            client.RemovePodSandbox(pod_sandbox_id=sandbox.id)
    for container in client.ListContainers().containers:
        wait_until(lambda: removed(client, container.id), what=f"{container.id} cannot be removed")  # noqa: B023
    wait_until(lambda: set(daemon.states()) == daemon.groups() == {shared}, what=f"left behind: {daemon.states()}, {daemon.groups()}, not only {shared}")


@pytest.fixture
def pod(node):
    """A pod with a network that tests share: they leave nothing in it."""
    return node.shared


def host(pod):
    """A directory of the host for a test."""
    path = pod.node.place.base / f"dir{time.monotonic_ns()}"
    path.mkdir()
    return path


def mount(source, target="/in", **how):
    return {"mounts": [{"host_path": str(source), "container_path": target, **how}]}


def caps(found, kind="Eff"):
    return int(re.search(rf"Cap{kind}:\t(\w+)", found["status"])[1], 16)


def seccomp(found):
    return int(re.search(r"Seccomp:\t(\d)", found["status"])[1])


def namespaces(place):
    """Those of the place, as of a process of its host."""
    return {kind: os.readlink(f"/proc/{place.pid}/ns/{kind}") for kind in ("net", "pid", "ipc", "uts", "user")}


def limit(container, v2, v1):
    """A limit as the container reads it in its own group."""
    return container.ask(f"cat /sys/fs/cgroup/{v1 if V1 else v2}").split()[0]


# --- the runtime and its sandboxes

def test_the_handler_is_offered_with_its_features(node):
    """containerd asks `features` when it starts."""
    status = node.client.Status()
    assert {condition.type: condition.status for condition in status.status.conditions}["RuntimeReady"]
    features = {handler.name: handler.features for handler in status.runtime_handlers}["pyrunc"]
    assert features.recursive_read_only_mounts
    assert features.user_namespaces


def test_a_sandbox(node):
    pod = node.pod(dns_config={"servers": ["10.0.0.10"], "searches": ["cluster.local"], "options": ["ndots:5"]})
    assert pod.status.state == node.client.api.SANDBOX_READY
    assert pod.status.network.ip.startswith("10.88.77.")
    found = pod.sh("hostname; ip -4 -o addr show eth0; cat /etc/resolv.conf")
    assert found.splitlines()[0] == "box"
    assert pod.status.network.ip in found
    assert "nameserver 10.0.0.10" in found
    assert "search cluster.local" in found
    node.client.StopPodSandbox(pod_sandbox_id=pod.id)
    assert pod.status.state == node.client.api.SANDBOX_NOTREADY
    node.client.RemovePodSandbox(pod_sandbox_id=pod.id)
    with pytest.raises(Refused, match="NOT_FOUND"):
        _ = pod.status


def test_stopping_a_sandbox_ends_its_containers(node):
    pod = node.pod()
    one, two = pod.up(), pod.up("sh", "-c", "trap '' TERM; sleep 1000")
    node.client.StopPodSandbox(pod_sandbox_id=pod.id)
    assert (one.state, two.state) == ("CONTAINER_EXITED", "CONTAINER_EXITED")
    assert one.status.exit_code == 137


def test_containers_of_a_pod_share_what_a_pod_shares(pod):
    one, two = (json.loads(pod.up().ask("probe"))["ns"] for _ in range(2))
    assert {kind for kind in one if one[kind] == two[kind]} >= {"net", "ipc", "user"}
    assert {kind for kind in one if one[kind] == two[kind]}.isdisjoint({"mnt", "pid"})


def test_a_sandbox_with_one_pid_namespace(node):
    pod = node.pod(namespaces={"pid": "POD"})
    pod.up("sleep", "1111")
    found = pod.up("sleep", "2222").ask("ps")
    assert "sleep 1111" in found
    assert "sleep 2222" in found
    pod.sh("sleep 0.1 & exit 0")  # an orphan is the sandbox's


def test_a_container_in_another_s_pid_namespace(pod):
    """What `kubectl debug --target` asks for."""
    target = pod.up("sleep", "1111")
    other = pod.up(namespaces={"pid": "TARGET", "target_id": target.id})
    assert "sleep 1111" in other.ask("ps")


# --- life of a container

def test_create_start_and_end(pod):
    container = pod.create("sh", "-c", "echo out; echo err >&2; exit 7")
    assert container.state == "CONTAINER_CREATED"
    container.start().wait()
    status = container.status
    assert (status.exit_code, status.reason) == (7, "Error")
    assert status.created_at < min(status.started_at, status.finished_at)
    assert (container.log("stdout"), container.log("stderr")) == ("out\n", "err\n")
    container.remove()
    container.remove()  # as often as one likes
    with pytest.raises(Refused, match="NOT_FOUND"):
        _ = container.status


@pytest.mark.parametrize(("command", "code", "reason"), [
    (("true",), 0, "Completed"), (("probe", "exit", "200"), 200, "Error"), (("sh", "-c", "nothere"), 127, "Error"),
    (("sh", "-c", "/etc/passwd"), 126, "Error"), (("sh", "-c", "probe die 11; exit $?"), 139, "Error"),
], ids=["completed", "error", "127", "126", "139"])
def test_how_a_container_ended(pod, command, code, reason):
    status = pod.up(*command).wait().status
    assert (status.exit_code, status.reason) == (code, reason)


def test_started_only_once(pod):
    container = pod.up()
    with pytest.raises(Refused, match="RUNNING state"):
        container.start()


def test_what_the_process_gets(pod):
    found = pod.probe(working_dir="/tmp", envs=[{"key": "A", "value": b"b c"}], labels={"a": "b"})
    assert found["cwd"] == "/tmp"
    assert "A=b c" in found["env"]
    assert "HOSTNAME=box" in found["env"]
    assert found["fds"]["0"]["link"] == "/dev/null"


def test_a_terminal(pod):
    assert "/dev/pts/0" in pod.sh("tty", tty=True)


def test_a_long_line_in_the_log(pod):
    assert len(pod.sh("head -c 40000 /dev/zero | tr '\\0' x")) == 40000


def test_a_log_is_opened_anew(pod):
    container = pod.up("sh", "-c", "while :; do echo tick; sleep 0.1; done")
    path = container.status.log_path
    wait_until(lambda: "tick" in container.log())
    os.rename(path, path + ".1")
    pod.client.ReopenContainerLog(container_id=container.id)
    wait_until(lambda: os.path.exists(path) and "tick" in container.log())


def test_stop_within_its_grace(pod):
    container = pod.up("probe", "trap", "/tmp/trap")
    wait_until(lambda: container.exec("cat", "/tmp/trap").stdout.startswith(b"ready"))
    container.stop(grace=20)
    assert container.status.exit_code == 42


def test_stop_after_its_grace(pod):
    container = pod.up("sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done")
    wait_until(lambda: "up" in container.log())
    began = time.monotonic()
    container.stop(grace=1)
    assert time.monotonic() - began >= 1
    assert (container.status.exit_code, container.status.reason) == (137, "Error")


def test_stop_by_a_signal_of_its_own(pod):
    container = pod.up("sh", "-c", "trap 'exit 9' USR1; echo up; while :; do sleep 0.1; done", stop_signal="SIGNAL_SIGUSR1")
    wait_until(lambda: "up" in container.log())
    container.stop(grace=20)
    assert container.status.exit_code == 9


def test_remove_of_what_runs(pod):
    container = pod.up()
    container.remove()
    assert container.id not in pod.node.states()


def test_remove_of_what_never_started(pod):
    pod.create().remove()


def test_oom(pod):
    status = pod.up("sh", "-c", "dd if=/dev/zero of=/dev/null bs=100M count=1; exit $?", resources={"memory_limit_in_bytes": 20 << 20}).wait().status
    assert (status.exit_code, status.reason) == (137, "OOMKilled")


def test_a_child_killed_for_want_of_memory(pod):
    """The group's other processes live on."""
    container = pod.up(resources={"memory_limit_in_bytes": 30 << 20})
    assert container.exec("sh", "-c", "dd if=/dev/zero of=/dev/null bs=100M count=1").exit_code == 137
    assert container.ask("echo there") == "there"


# --- exec, attach, port-forward

def test_exec(pod):
    container = pod.up(security={"run_as_user": {"value": 1000}, "run_as_group": {"value": 1000}}, working_dir="/tmp")
    done = container.exec("sh", "-c", "id -u; pwd; echo err >&2; exit 3")
    assert (done.exit_code, done.stdout, done.stderr) == (3, b"1000\n/tmp\n", b"err\n")


def test_exec_has_the_container_s_confinement(pod):
    container = pod.up(security={"no_new_privs": True, "seccomp": {"profile_type": "RuntimeDefault"}, "capabilities": {"drop_capabilities": ["ALL"]}})
    found = json.loads(container.ask("probe"))
    assert (found["nnp"], seccomp(found), caps(found), caps(found, "Bnd")) == (1, 2, 0, 0)


def test_exec_of_what_is_not_there(pod):
    container = pod.up()
    with pytest.raises(Refused, match=re.escape('exec: "nothere": executable file not found in $PATH')):
        container.exec("nothere")
    with pytest.raises(Refused, match=re.escape('exec: "/etc/passwd": permission denied')):
        container.exec("/etc/passwd")
    assert container.state == "CONTAINER_RUNNING"


def test_exec_that_takes_too_long(pod):
    container = pod.up()
    with pytest.raises(Refused, match="DEADLINE_EXCEEDED.*timeout 1s exceeded"):
        container.exec("sleep", "1234", timeout=1)
    wait_until(lambda: "sleep 1234" not in container.ask("ps"), what="what was executed lives on")


def test_exec_in_what_has_ended(pod):
    container = pod.up("true").wait()
    with pytest.raises(Refused, match="EXITED state"):
        container.exec("true")


def test_exec_with_a_terminal(pod):
    stream = pod.up().stream("Exec", cmd=["sh", "-c", "tty; read x; stty size; echo got $x; exit 5"], tty=True, stdin=True)
    stream.read("/dev/pts/")
    stream.resize(101, 33)
    time.sleep(0.2)
    stream.write("hello\n")
    code, said = stream.end()
    assert code == 5
    assert "33 101" in said[STDOUT]
    assert "got hello" in said[STDOUT]


def test_exec_with_stdin(pod):
    stream = pod.up().stream("Exec", cmd=["head", "-c", "200000"], stdin=True)
    for _ in range(20):
        stream.write("x" * 10000)
    code, said = stream.end()
    assert (code, len(said[STDOUT])) == (0, 200000)


def test_a_stream_of_what_is_not_there(pod):
    stream = pod.up().stream("Exec", cmd=["nothere"])
    while stream.pump():
        pass
    assert 'exec: "nothere": executable file not found in $PATH' in json.loads(stream.channels[ERROR])["message"].replace('\\"', '"')


def test_attach(pod):
    container = pod.up("sh", "-c", "while read x; do echo got $x; done; echo end", stdin=True)
    for word in ("one", "two"):  # stdin stays open between them
        stream = container.stream("Attach", stdin=True)
        stream.write(f"{word}\n")
        stream.read(f"got {word}")
        stream.close()
    assert container.state == "CONTAINER_RUNNING"
    assert container.log() == "got one\ngot two\n"


def test_attach_once(pod):
    """The container's stdin ends with the first who was attached."""
    container = pod.up("sh", "-c", "while read x; do echo got $x; done; echo end", stdin=True, stdin_once=True)
    stream = container.stream("Attach", stdin=True)
    stream.write("one\n")
    stream.read("got one")
    stream.close()
    container.wait()
    assert container.log() == "got one\nend\n"


def test_attach_to_a_terminal(pod):
    container = pod.up("sh", "-c", "read x; stty size; echo got $x; exit 6", stdin=True, tty=True)
    stream = container.stream("Attach", stdin=True, tty=True)
    stream.resize(77, 22)
    time.sleep(0.2)
    stream.write("hello\n")
    stream.read("got hello")
    assert "22 77" in stream.channels[STDOUT].decode()
    assert container.wait().status.exit_code == 6


def test_port_forward(pod):
    container = pod.up("sh", "-c", "nc -l -p 8080 -e cat")
    wait_until(lambda: ":8080" in container.ask("netstat -ltn"))
    stream = Stream(pod.node.place, pod.client.PortForward(pod_sandbox_id=pod.id, port=[8080]).url)
    stream.write(b"hello\n", channel=0)
    stream.read("hello\n", channel=0)
    assert stream.channels[0] == port(8080) + b"hello\n"
    stream.close()


# --- limits and statistics

def test_limits(pod):
    container = pod.up(resources={"memory_limit_in_bytes": 64 << 20, "cpu_period": 100000, "cpu_quota": 50000, "cpu_shares": 512, "cpuset_cpus": "0"})
    assert limit(container, "memory.max", "memory/memory.limit_in_bytes") == str(64 << 20)
    assert limit(container, "cpu.max", "cpu/cpu.cfs_quota_us") == "50000"
    assert limit(container, "cpuset.cpus", "cpuset/cpuset.cpus") == "0"
    if V1:
        assert limit(container, "", "cpu/cpu.shares") == "512"


def test_update(pod):
    container = pod.up(resources={"memory_limit_in_bytes": 64 << 20, "cpu_period": 100000, "cpu_quota": 50000, "cpu_shares": 512})
    pod.client.UpdateContainerResources(container_id=container.id, linux={
        "memory_limit_in_bytes": 96 << 20, "cpu_period": 100000, "cpu_quota": 70000, "cpu_shares": 1024, "cpuset_cpus": "1"})
    assert limit(container, "memory.max", "memory/memory.limit_in_bytes") == str(96 << 20)
    assert limit(container, "cpu.max", "cpu/cpu.cfs_quota_us") == "70000"
    assert limit(container, "cpuset.cpus", "cpuset/cpuset.cpus") == "1"
    assert container.status.resources.linux.memory_limit_in_bytes == 96 << 20


def test_update_before_the_start(pod):
    container = pod.create(resources={"memory_limit_in_bytes": 64 << 20})
    pod.client.UpdateContainerResources(container_id=container.id, linux={"memory_limit_in_bytes": 96 << 20})
    assert limit(container.start(), "memory.max", "memory/memory.limit_in_bytes") == str(96 << 20)


def test_an_update_that_is_refused_changes_nothing(pod):
    container = pod.up(resources={"cpu_period": 100000, "cpu_quota": 50000})
    with pytest.raises(Refused, match="cpuset"):
        pod.client.UpdateContainerResources(container_id=container.id, linux={"cpu_quota": 70000, "cpu_period": 100000, "cpuset_cpus": "4000"})
    assert limit(container, "cpu.max", "cpu/cpu.cfs_quota_us") == "50000"


def test_statistics(pod):
    container = pod.up("sh", "-c", "while :; do :; done")
    wait_until(lambda: pod.client.ContainerStats(container_id=container.id).stats.cpu.usage_core_nano_seconds.value > 10_000_000)
    stats = pod.client.ContainerStats(container_id=container.id).stats
    assert stats.memory.working_set_bytes.value > 0
    of_pod = pod.client.PodSandboxStats(pod_sandbox_id=pod.id).stats.linux
    assert of_pod.process.process_count.value >= 1
    assert of_pod.network.default_interface.name == "eth0"
    assert container.id in [entry.attributes.id for entry in pod.client.ListContainerStats().stats]


# --- privileges

def test_by_default(pod):
    found = pod.probe()
    assert (found["nnp"], seccomp(found)) == (0, 0)
    assert caps(found) == 0xa80425fb & FULL


def test_privileged(node):
    pod = node.pod(security={"privileged": True})
    found = pod.probe(security={"privileged": True})
    assert caps(found) == FULL
    assert seccomp(found) == 0
    assert "loop-control" in found["dev"]
    container = pod.up(security={"privileged": True})
    assert container.ask("mount -t tmpfs none /mnt && grep -c ' /mnt ' /proc/self/mountinfo") == "1"
    assert container.ask("grep -E ' /sys ' /proc/self/mountinfo").split()[5].startswith("rw")
    assert container.ask("head -c 1 /proc/sysrq-trigger 2>/dev/null; test -w /proc/sys/kernel/domainname && echo writable") == "writable"
    assert container.ask("(: < /dev/loop-control) && echo opened") == "opened"


@pytest.mark.parametrize(("security", "held", "lacked"), [
    ({"add_capabilities": ["NET_ADMIN"]}, (CHOWN, NET_ADMIN), ()),
    ({"drop_capabilities": ["CHOWN"]}, (NET_BIND,), (CHOWN,)),
    ({"drop_capabilities": ["ALL"], "add_capabilities": ["NET_BIND_SERVICE"]}, (NET_BIND,), (CHOWN, NET_ADMIN)),
], ids=["add", "drop", "drop-all"])
def test_capabilities(pod, security, held, lacked):
    found = pod.probe(security={"capabilities": security})
    for kind in ("Eff", "Prm", "Bnd"):
        assert all(caps(found, kind) >> number & 1 for number in held)
        assert not any(caps(found, kind) >> number & 1 for number in lacked)


def test_all_capabilities(pod):
    found = pod.probe(security={"capabilities": {"add_capabilities": ["ALL"]}})
    assert caps(found) == FULL


def test_a_user_has_no_capabilities_but_in_its_bounding_set(pod):
    found = pod.probe(security={"run_as_user": {"value": 1000}, "capabilities": {"add_capabilities": ["NET_ADMIN"]}})
    assert found["uids"] == [1000] * 3
    assert caps(found) == 0
    assert caps(found, "Bnd") >> NET_ADMIN & 1


@pytest.mark.parametrize(("profile", "mode"), [("RuntimeDefault", 2), ("Unconfined", 0)])
def test_seccomp(pod, profile, mode):
    assert seccomp(pod.probe(security={"seccomp": {"profile_type": profile}})) == mode


def test_a_seccomp_profile_of_the_host(pod):
    profile = host(pod) / "profile.json"
    profile.write_text(json.dumps(NO_MKDIR))
    security = {"seccomp": {"profile_type": "Localhost", "localhost_ref": str(profile)}}
    assert "Permission denied" in pod.sh("mkdir /tmp/x 2>&1 || true", security=security)
    assert "Permission denied" in pod.up(security=security).ask("mkdir /tmp/x 2>&1 || true")


def test_the_default_seccomp_profile_with_and_without_a_capability(pod):
    """What a profile allows depends on the capabilities: containerd says, the runtime loads it with them still held."""
    script = "unshare -m true 2>&1 && echo done || true"
    assert "not permitted" in pod.sh(script, security={"seccomp": {"profile_type": "RuntimeDefault"}})
    assert pod.sh(script, security={"seccomp": {"profile_type": "RuntimeDefault"}, "apparmor": {"profile_type": "Unconfined"},
                                    "capabilities": {"add_capabilities": ["SYS_ADMIN"]}}) == "done"


def test_no_new_privileges(pod):
    assert pod.probe(security={"no_new_privs": True})["nnp"] == 1


@pytest.mark.parametrize(("security", "uid", "groups"), [
    ({"run_as_user": {"value": 1000}}, 1000, {1000}),
    ({"run_as_username": "user"}, 1000, {1000}),
    ({"run_as_user": {"value": 1234}, "run_as_group": {"value": 4321}}, 1234, {4321}),
    ({"run_as_user": {"value": 1000}, "supplemental_groups": [3000, 4000]}, 1000, {1000, 3000, 4000}),
    ({"run_as_user": {"value": 1000}, "run_as_group": {"value": 5}, "supplemental_groups": [3000], "supplemental_groups_policy": "Strict"}, 1000, {5, 3000}),
], ids=["user", "name", "group", "supplemental", "strict"])
def test_users_and_groups(pod, security, uid, groups):
    container = pod.up(security=security)
    found = json.loads(container.ask("probe"))
    assert found["uids"][0] == uid
    assert set(found["groups"]) | {found["gids"][0]} == groups
    assert container.status.user.linux.uid == uid


def test_a_user_that_is_not_there(pod):
    with pytest.raises(Refused, match="no users found"):
        pod.create(security={"run_as_username": "nobody-knows"})


def test_oom_score(pod):
    assert pod.probe(resources={"oom_score_adj": 777})["oom_score_adj"].strip() == "777"


# --- namespaces and sysctls

def test_host_namespaces(node):
    pod = node.pod(namespaces=OTHERS)
    found = pod.probe()["ns"]
    here = namespaces(node.place)
    assert {kind: found[kind] for kind in ("net", "pid", "ipc")} == {kind: here[kind] for kind in ("net", "pid", "ipc")}
    assert "containerd-shim" in pod.up().ask("ps")


def test_namespaces_of_its_own(pod):
    found, here = pod.probe()["ns"], namespaces(pod.node.place)
    assert [kind for kind in ("net", "pid", "ipc", "uts") if found[kind] == here[kind]] == []
    assert found["user"] == here["user"]


def test_a_user_namespace(node):
    """containerd gives an idmapped root; volumes are mapped by what the kubelet says."""
    pod = node.pod(namespaces=MAPPED)
    volume = host(pod)
    (volume / "file").write_text("text")
    container = pod.up(**mount(volume, **IDS))
    found = json.loads(container.ask("probe"))
    assert found["uid_map"].split() == found["gid_map"].split() == ["0", "100000", "65536"]
    assert found["ns"]["user"] != namespaces(node.place)["user"]
    assert container.ask("stat -c %u:%g /bin/busybox /in /in/file /home/user") == "0:0\n0:0\n0:0\n1000:1000"
    container.ask("echo more > /in/made; touch /made; hostname")
    assert (volume / "made").stat().st_uid == 0
    assert os.stat(f"/proc/{node.place.pid}/root/proc/{container.pid}").st_uid == 100000
    second = pod.up(security={"run_as_user": {"value": 1000}, "seccomp": {"profile_type": "RuntimeDefault"}, "capabilities": {"drop_capabilities": ["ALL"]}})
    other = json.loads(second.ask("probe"))
    assert (other["uids"][0], other["ns"]["user"], other["ns"]["net"]) == (1000, found["ns"]["user"], found["ns"]["net"])


def test_a_user_namespace_may_configure_its_network(node):
    pod = node.pod(namespaces=MAPPED)
    security = {"capabilities": {"add_capabilities": ["NET_ADMIN"]}}
    assert pod.sh("ip link set lo down && ip link set lo up && echo done", security=security) == "done"


def test_sysctls(node):
    pod = node.pod(linux={"sysctls": {"net.ipv4.ip_unprivileged_port_start": "80", "kernel.shm_rmid_forced": "1"}})
    assert pod.sh("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced").split() == ["80", "1"]


def test_a_sysctl_that_is_the_host_s(node):
    with pytest.raises(Refused, match=r"vm\.swappiness"):
        node.pod(linux={"sysctls": {"vm.swappiness": "1"}})


# --- mounts and devices

def test_a_volume(pod):
    volume = host(pod)
    pod.sh("echo text > /in/file", **mount(volume))
    assert (volume / "file").read_text() == "text\n"
    assert "Read-only" in pod.sh("touch /in/x 2>&1 || true", **mount(volume, readonly=True))
    assert pod.sh("cat /etc/one", **mount(volume / "file", "/etc/one")) == "text"


@pytest.mark.parametrize(("propagation", "to_container", "to_host"), [
    ("PROPAGATION_PRIVATE", False, False), ("PROPAGATION_HOST_TO_CONTAINER", True, False), ("PROPAGATION_BIDIRECTIONAL", True, True)],
    ids=["private", "host-to-container", "bidirectional"])
def test_propagation(node, propagation, to_container, to_host):
    pod = node.pod(security={"privileged": True})
    volume = host(pod)
    for name in ("host", "container"):
        (volume / name).mkdir()
    container = pod.up(security={"privileged": True}, **mount(volume, propagation=propagation))
    try:
        node.place.call("mount", "-t", "tmpfs", "none", volume / "host").ok()
        container.ask("mount -t tmpfs none /in/container")
        assert ("/in/host" in container.ask("cat /proc/mounts")) == to_container
        assert (f"{volume}/container" in node.place.call("cat", "/proc/mounts").out) == to_host
    finally:
        node.place.call("umount", volume / "host").ok()
        node.place.call("umount", volume / "container")


def test_read_only_to_the_bottom(node):
    volume = host(node.shared)
    (volume / "below").mkdir()
    node.place.call("mount", "-t", "tmpfs", "none", volume / "below").ok()
    try:
        script = "touch /in/x 2>&1; touch /in/below/x 2>&1; true"
        assert node.shared.sh(script, **mount(volume, readonly=True)).count("Read-only") == 1
        assert node.shared.sh(script, **mount(volume, readonly=True, recursive_read_only=True)).count("Read-only") == 2
    finally:
        node.place.call("umount", volume / "below").ok()


def test_an_image_as_a_volume(pod):
    container = pod.up(mounts=[{"container_path": "/image", "image": {"image": IMAGE}, "readonly": True}])
    assert container.ask("ls /image/bin/busybox; touch /image/x 2>&1 || true").splitlines()[0] == "/image/bin/busybox"
    assert "Read-only" in container.ask("touch /image/x 2>&1 || true")


def test_a_read_only_root(pod):
    found = pod.sh("touch /x 2>&1; touch /dev/shm/x && echo but there", security={"readonly_rootfs": True})
    assert "Read-only" in found
    assert "but there" in found


def test_masked_and_read_only_paths(pod):
    security = {"masked_paths": ["/proc/version", "/proc/fs"], "readonly_paths": ["/proc/sys", "/etc"]}
    found = pod.sh("cat /proc/version; ls /proc/fs; touch /etc/x 2>&1; echo x 2>&1 > /proc/sys/kernel/domainname; true", security=security)
    assert "Linux" not in found
    assert found.count("Read-only") >= 1
    container = pod.up(security=security)
    assert container.ask("grep -cE ' (/etc|/proc/sys) [^ ]*ro' /proc/self/mountinfo; cat /proc/version | wc -c; ls /proc/fs | wc -l").split() == ["2", "0", "0"]


def test_shared_memory_is_the_pod_s(pod):
    pod.sh("echo shared > /dev/shm/note")
    assert pod.sh("cat /dev/shm/note; rm /dev/shm/note") == "shared"


@pytest.mark.parametrize(("permissions", "said"), [("rwm", "opened"), ("", "not permitted")])
def test_a_device(pod, permissions, said):
    devices = {"devices": [{"host_path": "/dev/loop-control", "container_path": "/dev/control", "permissions": permissions}]} if permissions else {}
    script = "mknod /dev/control c 10 237 2>/dev/null; (: < /dev/control) 2>&1 && echo opened || true"
    assert said in pod.sh(script, security={"capabilities": {"add_capabilities": ["MKNOD"]}}, **devices)


# --- what goes wrong

@pytest.mark.parametrize(("command", "code", "words"), [
    ("nothere", 128, 'exec: "nothere": executable file not found in $PATH'),
    ("/no/such", 128, "no such file or directory"),
    ("/etc/passwd", 128, 'exec: "/etc/passwd": permission denied'),
    ("/etc", 128, 'exec: "/etc": is a directory'),
], ids=["not-found", "no-such-path", "not-executable", "directory"])
def test_a_command_that_cannot_be_run(pod, command, code, words):
    container = pod.create(command)
    with pytest.raises(Refused) as refused:
        container.start()
    assert words in refused.value.text
    assert "OCI runtime create failed: " in refused.value.text
    assert "Traceback" not in refused.value.text
    assert "\n" not in refused.value.text
    status = container.status
    assert (container.state, status.exit_code, status.reason) == ("CONTAINER_EXITED", code, "StartError")
    assert words in status.message


def test_a_script_without_its_interpreter(pod):
    script = host(pod) / "script"
    script.write_text("#!/no/such\n")
    script.chmod(0o755)
    container = pod.create("/script", **mount(script, "/script"))
    try:
        container.start()
        assert pod.node.name == "runc", "the start is said to have gone well"  # docs/differences.md: runc's start does not wait for execve
    except Refused as refused:
        assert 'exec: "/script": no such file or directory' in refused.text
    assert container.wait().status.exit_code


@pytest.mark.parametrize(("config", "words"), [
    ({"working_dir": "/etc/passwd"}, "not a directory"),
    ({"mounts": [{"host_path": "/etc/passwd", "container_path": "/bin"}]}, "not a directory"),
    ({"resources": {"cpuset_cpus": "4000"}}, "cpuset"),
    ({"devices": [{"host_path": "/dev/null", "container_path": "/proc/1/x", "permissions": "rwm"}]}, "/proc/1/x"),
], ids=["cwd", "file-on-directory", "cpuset", "device"])
def test_a_configuration_that_cannot_be_carried_out(pod, config, words):
    container = pod.create(**config)
    with pytest.raises(Refused) as refused:
        container.start()
    assert words in refused.value.text
    assert "Traceback" not in refused.value.text
    assert container.status.reason == "StartError"
    if pod.node.name == "pyrunc":
        assert "config.json: /" in refused.value.text


def test_a_handler_that_is_not_configured(node):
    with pytest.raises(Refused, match='no runtime for "nothere" is configured'):
        node.pod(handler="nothere")


def test_a_killed_shim(node):
    """All containers of a pod hang on one shim: they end, the sandbox is no longer ready, and everything can be removed."""
    pod = node.pod()
    container = pod.up()
    pid = container.pid
    for line in node.place.call("ps", "-eo", "pid,args").out.splitlines():
        number, _, args = line.strip().partition(" ")
        if f"-id {pod.id}" in args:
            node.place.call("kill", "-KILL", number).ok()
    wait_until(lambda: container.state == "CONTAINER_EXITED", what="the container is said to run")
    wait_until(lambda: not os.path.exists(f"/proc/{node.place.pid}/root/proc/{pid}"), what="its process lives on")
    wait_until(lambda: pod.status.state == node.client.api.SANDBOX_NOTREADY)
    assert container.status.exit_code in (137, 255)
    container.remove()
    pod.remove()


def test_a_process_killed_from_outside(pod):
    container = pod.up()
    pod.node.place.call("kill", "-KILL", container.pid).ok()
    assert container.wait().status.exit_code == 137


def test_containerd_is_killed_and_comes_back(node):
    """Containers run on, and go on writing their logs when it is back."""
    pod = node.pod()
    container = pod.up("sh", "-c", "while :; do echo tick; sleep 0.1; done")
    volume = host(pod)
    ended = pod.up("sh", "-c", "until test -e /in/go; do sleep 0.1; done; exit 8", **mount(volume))
    created = pod.create("sh", "-c", "echo started late; sleep 1000")
    pid = container.pid
    node.daemon.kill(signal.SIGKILL)
    node.daemon.popen.wait(10)
    node.start()
    assert (container.state, container.pid) == ("CONTAINER_RUNNING", pid)
    assert container.ask("echo there") == "there"
    (volume / "go").touch()  # of one that has ended meanwhile containerd says 255, whatever the shim knows
    assert ended.wait().status.exit_code == 8
    created.start()
    assert pod.status.state == node.client.api.SANDBOX_READY
    container.stop()
    assert container.status.exit_code == 137
