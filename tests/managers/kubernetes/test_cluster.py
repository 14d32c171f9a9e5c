"""A one-node cluster: pods of the RuntimeClass pyrunc (docs/kubernetes.md), driven by kubectl."""

import json
import os
import signal

import pytest
from kit.kubernetes import IMAGE, Cluster, box, missing, pod_spec
from kit.managers import Terminal
from kit.runtime import wait_until

V1 = os.path.isdir("/sys/fs/cgroup/memory")
NEXT = IMAGE.replace(":1", ":2")
NO_MKDIR = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}]}
PROGRAMS = ("kubelet", "kubectl", "etcd", "kube-apiserver", "kube-scheduler", "kube-controller-manager")


@pytest.fixture(scope="module")
def running(runtime):
    if reason := missing(*PROGRAMS):
        pytest.skip(reason)
    cluster = Cluster(runtime)
    try:
        yield cluster.start().load("image", "pause", "image2").start_cluster()
        cluster.tidy()
    finally:
        cluster.place.close()


@pytest.fixture
def cluster(running):
    yield running
    running.tidy()


@pytest.fixture(scope="module")
def full(running):
    """The pod with most of what a pod can ask for; tests look at it from all sides and leave it alone."""
    host = running.place.base / "host"
    host.mkdir()
    host.chmod(0o777)
    (host / "file").write_text("from the host\n")
    running.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map"}, "data": {"key": "mapped", "other": "more"}})
    running.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hidden"}, "stringData": {"password": "secret"}})
    return running.up("full", "sh", "-c", MAIN, **full_spec(host))


MAIN = """echo hello; touch /x 2>&1; echo ended > /dev/termination-log; trap 'exit 0' TERM; while :; do sleep 0.2; done"""


def full_spec(host):
    scratch = {"volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}
    return {
        "restartPolicy": "Always", "terminationGracePeriodSeconds": 10,
        "securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "runAsNonRoot": True, "fsGroup": 2000, "supplementalGroups": [3000],
                            "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "80"}]},
        "initContainers": [
            box("sh", "-c", "echo from init > /scratch/init; id -G", name="init", **scratch),
            box("sh", "-c", "while :; do date > /scratch/sidecar; sleep 0.5; done", name="sidecar", restartPolicy="Always", **scratch)],
        "container": {
            "env": [{"name": "GREETING", "value": "hello world"}, {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
                    {"name": "MAPPED", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "key"}}},
                    {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "password"}}}],
            "resources": {"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}},
            "securityContext": {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "seccompProfile": {"type": "RuntimeDefault"},
                                "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}},
            "lifecycle": {"postStart": exec_("echo started > /scratch/post"), "preStop": exec_("echo stopping > /host/stopping")},
            "startupProbe": exec_("test -f /scratch/post", periodSeconds=1),
            "livenessProbe": exec_("echo x >> /scratch/alive", periodSeconds=1),
            "readinessProbe": exec_("test -f /scratch/init", periodSeconds=1),
            "volumeMounts": [{"name": name, "mountPath": f"/{name}", **more} for name, more in (
                ("scratch", {}), ("memory", {}), ("host", {}), ("map", {}), ("hidden", {}), ("down", {}), ("all", {}), ("image", {}))] + [
                    {"name": "map", "mountPath": "/etc/one", "subPath": "key"},
                    {"name": "frozen", "mountPath": "/frozen", "readOnly": True, "recursiveReadOnly": "Enabled"}]},
        "volumes": [
            {"name": "scratch", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
            {"name": "host", "hostPath": {"path": str(host), "type": "Directory"}}, {"name": "frozen", "hostPath": {"path": "/etc", "type": "Directory"}},
            {"name": "map", "configMap": {"name": "map"}}, {"name": "hidden", "secret": {"secretName": "hidden", "defaultMode": 0o440}},
            {"name": "down", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            {"name": "image", "image": {"reference": IMAGE, "pullPolicy": "Never"}},
            {"name": "all", "projected": {"sources": [
                {"configMap": {"name": "map", "items": [{"key": "other", "path": "from/map"}]}}, {"secret": {"name": "hidden"}},
                {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
                {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}}]}


def exec_(script, **more):
    """A probe or hook."""
    return {"exec": {"command": ["sh", "-c", script]}, **more}


def limit(cluster, pod, v2, v1):
    return cluster.sh(pod, f"cat /sys/fs/cgroup/{v1 if V1 else v2}").split()[0]


# --- one pod with most of what a pod can ask for. These come first: other tests delete all pods.

def test_an_init_container_and_a_sidecar(running, full):
    status = running.get("pod", full)["status"]
    first, sidecar = status["initContainerStatuses"]
    assert first["state"]["terminated"]["reason"] == "Completed"
    assert sidecar["state"]["running"]
    assert running.logs(full, "--container=init").split() == ["1000", "2000", "3000"]
    assert running.sh(full, "cat /scratch/init && test -s /scratch/sidecar") == "from init"


def test_environment(running, full):
    assert running.sh(full, 'echo "$GREETING" $POD $CPU $MAPPED $PASSWORD') == "hello world full 200 mapped secret"


def test_probes_and_hooks(running, full):
    assert running.sh(full, "cat /scratch/post") == "started"
    wait_until(lambda: running.sh(full, "cat /scratch/alive 2>/dev/null | wc -l") not in ("0", "1"), timeout=30)
    assert running.container(full)["restartCount"] == 0


def test_volumes(running, full):
    found = running.sh(full, "cat /host/file /map/key /hidden/password /down/labels /all/from/map /all/password /all/name /etc/one; ls /image/bin/busybox; wc -c < /all/token")
    assert "from the host\nmapped" in found
    assert 'app="full"' in found
    assert "moresecretfull" in found
    assert "/image/bin/busybox" in found
    assert int(found.split()[-1]) > 100
    assert running.sh(full, "stat -c %g:%a /scratch /memory /hidden/..data/password") == "2000:2777\n2000:3777\n2000:440"
    assert "8192" in running.sh(full, "df -k /memory | tail -1")
    for path in ("/x", "/map/x", "/image/x", "/frozen/x"):
        assert "Read-only" in running.sh(full, f"touch {path} 2>&1 || true"), path


def test_a_config_map_changes_under_a_running_pod(running, full):
    running("patch", "configmap", "map", "--patch", '{"data": {"key": "changed"}}').ok()
    running("annotate", "pod", full, "touched=yes").ok()  # the kubelet looks at once
    wait_until(lambda: running.sh(full, "cat /map/key") == "changed", timeout=90, what="the old text stays")


def test_security_context(running, full):
    found = json.loads(running.sh(full, "probe"))
    assert (found["uids"][0], found["gids"][0], found["nnp"]) == (1000, 1000, 1)
    assert set(found["groups"]) >= {2000, 3000}
    assert "CapBnd:\t0000000000000400" in found["status"]
    assert "Seccomp:\t2" in found["status"]
    assert running.sh(full, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start") == "80"
    assert "Read-only" in running.logs(full, "--container=c")


def test_limits(running, full):
    assert limit(running, full, "memory.max", "memory/memory.limit_in_bytes") == str(64 << 20)
    assert limit(running, full, "cpu.max", "cpu/cpu.cfs_quota_us") == "20000"


def test_network(running, full):
    ip = running.get("pod", full)["status"]["podIP"]
    assert ip in running.sh(full, "ip -4 -o addr show eth0")
    assert running.place.call("busybox", "ping", "-c", "1", "-W", "5", ip).returncode == 0


def test_statistics_reach_the_kubelet(running, full):
    def found():
        summary = running("get", "--raw=/api/v1/nodes/node1/proxy/stats/summary").json()
        pods = {pod["podRef"]["name"]: pod for pod in summary["pods"]}
        return full in pods and pods[full].get("memory", {}).get("workingSetBytes")
    wait_until(found, timeout=60, what="no statistics of the pod")


def test_debug_with_an_ephemeral_container(running, full):
    """It shares the target's pid namespace, after the target has started."""
    running("debug", full, "--target=c", f"--image={IMAGE}", "--image-pull-policy=Never", "--container=doctor", "--profile=general", "--",
            "sh", "-c", "ps; sleep 1000").ok()
    wait_until(lambda: "while :" in running("logs", full, "--container=doctor").stdout, timeout=60, what="the doctor does not see its patient")


def test_a_pod_is_stopped_with_its_hook(running, full):
    running("delete", "pod", full, "--wait=true", "--timeout=60s", timeout=90).ok()
    assert (running.place.base / "host/stopping").read_text() == "stopping\n"


# --- what kubectl does

def test_logs(cluster):
    cluster.up("talker", "sh", "-c", "echo one; echo two >&2; sleep 1000")
    assert sorted(cluster.logs("talker").split()) == ["one", "two"]
    assert cluster.logs("talker", "--tail=1", "--timestamps").count("\n") == 0


def test_exec(cluster):
    cluster.up("box")
    cluster("exec", "box", "--", "sh", "-c", "exit 7").failed(7)
    assert cluster("exec", "-i", "box", "--", "cat", input="to and fro").out == "to and fro"
    cluster("exec", "box", "--", "nothere").failed(1, 'exec: "nothere": executable file not found in $PATH')
    terminal = Terminal(cluster.place, "env", f"KUBECONFIG={cluster.env['KUBECONFIG']}", cluster.program, "exec", "-it", "box", "--",
                        "sh", "-c", "tty; read x; echo got $x; exit 5")
    terminal.read(until=b"/dev/pts/")
    terminal.write("hello\n")
    code, text = terminal.end()
    assert (code, "got hello" in text) == (5, True)


def test_attach(cluster):
    cluster.up("reader", "sh", "-c", "while read x; do echo got $x; done", container={"stdin": True, "stdinOnce": True})
    cluster("attach", "-i", "reader", input="one\ntwo\n").ok()
    assert cluster.ended("reader")["exitCode"] == 0
    assert cluster.logs("reader") == "got one\ngot two"


def test_cp(cluster):
    cluster.up("box")
    file = cluster.place.base / "copied"
    file.write_text("text\n")
    cluster("cp", file, "box:/tmp/file").ok()
    assert cluster.sh("box", "cat /tmp/file") == "text"
    cluster("cp", "box:/etc/passwd", str(file) + ".back").ok()
    assert "root:x:0" in (cluster.place.base / "copied.back").read_text()


def test_port_forward(cluster):
    cluster.up("server", "sh", "-c", "while :; do echo hello | nc -l -p 8080; done")
    forward = cluster.place.spawn(cluster.program, "port-forward", "pod/server", "18080:8080", env=cluster.env)
    try:
        wait_until(lambda: cluster.place.call("busybox", "nc", "-w", "5", "127.0.0.1", "18080").stdout == "hello\n", timeout=30)
    finally:
        forward.terminate()
        forward.wait(10)


# --- namespaces and privileges

def test_a_user_namespace(cluster):
    volume = cluster.place.base / "mapped"
    volume.mkdir()
    (volume / "file").write_text("text\n")
    cluster.up("mapped", hostUsers=False, securityContext={"fsGroup": 2000},
               container={"volumeMounts": [{"name": "host", "mountPath": "/host"}, {"name": "scratch", "mountPath": "/scratch"}]},
               volumes=[{"name": "host", "hostPath": {"path": str(volume)}}, {"name": "scratch", "emptyDir": {}}])
    inside, outside, length = map(int, cluster.sh("mapped", "cat /proc/self/uid_map").split())
    assert (inside, length) == (0, 65536)
    assert outside >= 65536
    assert cluster.sh("mapped", "stat -c %u /bin/busybox /host/file; echo x > /host/made; touch /scratch/x; stat -c %u:%g /scratch/x") == "0\n0\n0:2000"
    assert (volume / "made").stat().st_uid == 0


def test_host_namespaces(cluster):
    cluster.up("host", hostNetwork=True, hostPID=True, hostIPC=True)
    found = cluster.sh("host", "for n in net pid ipc; do readlink /proc/self/ns/$n; done").split()
    assert found == [os.readlink(f"/proc/{cluster.place.pid}/ns/{kind}") for kind in ("net", "pid", "ipc")]
    assert "kubelet" in cluster.sh("host", "ps")


def test_privileged(cluster):
    cluster.up("mighty", container={"securityContext": {"privileged": True}})
    full = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("CapBnd"))
    assert f"CapEff:\t{full}" in cluster.sh("mighty", "cat /proc/self/status")
    assert cluster.sh("mighty", "mount -t tmpfs none /mnt && ls /dev/loop-control") == "/dev/loop-control"


def test_one_pid_namespace(cluster):
    cluster.up("shared", "sleep", "1111", shareProcessNamespace=True)
    found = cluster.sh("shared", "ps")
    assert "sleep 1111" in found
    assert "trap" in found  # the sandbox


def test_mount_propagation(cluster):
    volume = cluster.place.base / "shared"
    volume.mkdir()
    mount = {"name": "host", "mountPath": "/host"}
    cluster.up("pair", container={"securityContext": {"privileged": True}, "volumeMounts": [{**mount, "mountPropagation": "Bidirectional"}]},
               volumes=[{"name": "host", "hostPath": {"path": str(volume)}}],
               initContainers=[box(name="slave", restartPolicy="Always", volumeMounts=[{**mount, "mountPropagation": "HostToContainer"}])])
    try:
        cluster.sh("pair", "mkdir /host/sub; mount -t tmpfs none /host/sub && touch /host/sub/made")
        assert cluster.sh("pair", "ls /host/sub", "--container=slave") == "made"
    finally:
        cluster.place.call("umount", volume / "sub").ok()


def test_a_seccomp_profile_of_the_node(cluster):
    directory = cluster.place.base / "lib/kubelet/seccomp"
    directory.mkdir(exist_ok=True)
    (directory / "no-mkdir.json").write_text(json.dumps(NO_MKDIR))
    cluster.up("strict", securityContext={"seccompProfile": {"type": "Localhost", "localhostProfile": "no-mkdir.json"}})
    assert "Permission denied" in cluster.sh("strict", "mkdir /tmp/x 2>&1 || true")


# --- resources

def test_resize_in_place(cluster):
    """The container is neither stopped nor restarted; both cgroup files say the new limit."""
    cluster.up("elastic", container={"resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}})
    change = {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "200m", "memory": "96Mi"}, "limits": {"cpu": "300m", "memory": "96Mi"}}}]}}
    cluster("patch", "pod", "elastic", "--subresource=resize", "--patch", json.dumps(change)).ok()
    wait_until(lambda: cluster.container("elastic").get("resources", {}).get("limits") == {"cpu": "300m", "memory": "96Mi"}, timeout=60, what="not resized")
    assert limit(cluster, "elastic", "memory.max", "memory/memory.limit_in_bytes") == str(96 << 20)
    assert limit(cluster, "elastic", "cpu.max", "cpu/cpu.cfs_quota_us") == "30000"
    assert cluster.container("elastic")["restartCount"] == 0


def test_want_of_memory(cluster):
    cluster.pod("hungry", "sh", "-c", "dd if=/dev/zero of=/dev/null bs=100M count=1; exit $?", container={"resources": {"limits": {"memory": "20Mi"}}})
    ended = cluster.ended("hungry")
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_a_failed_liveness_probe_restarts(cluster):
    cluster.pod("sick", "sh", "-c", "echo run; exec sleep 1000", restartPolicy="Always",
                container={"livenessProbe": exec_("test -f /nothere", periodSeconds=1, failureThreshold=1)})
    wait_until(lambda: cluster.container("sick")["restartCount"] >= 1, timeout=60, what="no restart")
    cluster.await_event("sick", "Unhealthy", "Liveness probe failed")


def test_a_container_that_fails_is_started_again(cluster):
    cluster.pod("again", "sh", "-c", "echo words > /dev/termination-log; exit 3", restartPolicy="OnFailure")
    wait_until(lambda: cluster.container("again")["restartCount"] >= 1, timeout=60)
    ended = wait_until(lambda: cluster.container("again").get("lastState", {}).get("terminated"), timeout=60)
    assert (ended["exitCode"], ended["message"], ended["reason"]) == (3, "words\n", "Error")


# --- controllers

def test_a_deployment_is_rolled_from_one_image_to_another_and_back(cluster):
    spec = pod_spec(restartPolicy="Always", container={"readinessProbe": exec_("true", periodSeconds=1)})
    cluster.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "roll"}, "spec": {
        "replicas": 3, "selector": {"matchLabels": {"app": "roll"}}, "template": {"metadata": {"labels": {"app": "roll"}}, "spec": spec}}})

    def rolled(image, release):
        cluster("rollout", "status", "deployment/roll", "--timeout=240s", timeout=300).ok()
        pods = wait_until(lambda: len(items := cluster.list("pod", labelSelector="app=roll")) == 3 and items, timeout=60)
        assert {pod["spec"]["containers"][0]["image"] for pod in pods} == {image}
        assert {cluster.sh(pod["metadata"]["name"], "echo $RELEASE") for pod in pods} == {release}
    rolled(IMAGE, "")
    cluster("set", "image", "deployment/roll", f"c={NEXT}").ok()
    rolled(NEXT, "2")
    cluster("rollout", "undo", "deployment/roll").ok()
    rolled(IMAGE, "")


def test_jobs(cluster):
    """One that completes three times, and one that fails for good."""
    for name, script, more in (("good", "echo done", {"completions": 3, "parallelism": 2}), ("bad", "exit 4", {"backoffLimit": 0})):
        cluster.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {**more, "template": {"spec": pod_spec("sh", "-c", script)}}})
    cluster("wait", "--for=condition=Complete", "job/good", "--timeout=60s", timeout=90).ok()
    assert cluster.get("job", "good")["status"]["succeeded"] == 3
    cluster("wait", "--for=condition=Failed", "job/bad", "--timeout=60s", timeout=90).ok()
    pod = cluster.list("pod", labelSelector="job-name=bad")[0]
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 4


# --- what goes wrong: the reason a user reads

@pytest.mark.parametrize(("command", "words"), [
    ("nothere", 'exec: "nothere": executable file not found in $PATH'), ("/etc/passwd", 'exec: "/etc/passwd": permission denied'),
    ("/etc", 'exec: "/etc": is a directory')], ids=["not-found", "not-executable", "directory"])
def test_a_command_that_cannot_be_run(cluster, command, words):
    cluster.pod("wrong", command)
    ended = cluster.ended("wrong")
    assert (ended["reason"], ended["exitCode"]) == ("StartError", 128)
    assert words in ended["message"]
    assert "OCI runtime create failed: " in ended["message"]
    cluster.await_event("wrong", "Failed", words)
    assert [text for _, text in cluster.events("wrong") if "Traceback" in text] == []


def test_a_pod_that_may_restart_waits_with_the_error(cluster):
    cluster.pod("wrong", "nothere", restartPolicy="Always")
    waiting = wait_until(lambda: (state := cluster.container("wrong")["state"]).get("waiting", {}).get("reason") == "RunContainerError" and state["waiting"], timeout=60)
    assert 'exec: "nothere": executable file not found in $PATH' in waiting["message"]


@pytest.mark.parametrize(("script", "code"), [("nothere", 127), ("/etc/passwd", 126), ("probe die 11; exit $?", 139)])
def test_exit_codes(cluster, script, code):
    cluster.pod("ender", "sh", "-c", script)
    ended = cluster.ended("ender")
    assert (ended["reason"], ended["exitCode"]) == ("Error", code)


def test_a_working_directory_that_is_a_file(cluster):
    cluster.pod("wrong", "true", container={"workingDir": "/etc/passwd"})
    ended = cluster.ended("wrong")
    assert ended["reason"] == "StartError"
    assert "not a directory" in ended["message"]
    if cluster.name == "pyrunc":
        assert "config.json: /process/cwd" in ended["message"]


def test_a_volume_that_does_not_fit(cluster):
    cluster.pod("wrong", "true", container={"volumeMounts": [{"name": "file", "mountPath": "/bin"}]},
                volumes=[{"name": "file", "hostPath": {"path": "/etc/passwd", "type": "File"}}])
    ended = cluster.ended("wrong")
    assert ended["reason"] == "StartError"
    assert "not a directory" in ended["message"]


def test_root_where_it_may_not_be(cluster):
    cluster.pod("root", securityContext={"runAsNonRoot": True})
    cluster.await_event("root", "Failed", "container has runAsNonRoot and image will run as root")


def test_a_runtime_class_without_a_handler(cluster):
    cluster("create", "--filename=-", input=json.dumps({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nothere"}, "handler": "nothere"})).ok()
    cluster.pod("wrong", runtimeClassName="nothere")
    cluster.await_event("wrong", "FailedCreatePodSandBox", 'no runtime for "nothere" is configured')
    cluster("delete", "runtimeclass", "nothere").ok()


# --- daemons that die

def test_the_kubelet_is_killed_and_comes_back(cluster):
    cluster.up("steady")
    before = cluster.container("steady")
    cluster.restart_kubelet()
    cluster.up("later")
    after = cluster.container("steady")
    assert (after["containerID"], after["restartCount"]) == (before["containerID"], 0)


def test_containerd_is_killed_and_comes_back(cluster):
    cluster.up("steady")
    before = cluster.container("steady")
    cluster.daemon.kill(signal.SIGKILL)
    cluster.daemon.popen.wait(10)
    cluster.start()
    wait_until(lambda: cluster("exec", "steady", "--", "true").returncode == 0, timeout=60)
    assert cluster.container("steady")["containerID"] == before["containerID"]


def test_a_container_killed_from_outside_is_started_again(cluster):
    cluster.up("victim", restartPolicy="Always")
    inspected = cluster.client.ContainerStatus(container_id=cluster.containers("victim")["c"].id, verbose=True)
    cluster.place.call("kill", "-KILL", json.loads(inspected.info["info"])["pid"]).ok()
    wait_until(lambda: cluster.container("victim")["restartCount"] == 1 and "running" in cluster.container("victim")["state"], timeout=60)
