"""A kubelet without an API server: pods from manifests, run by containerd's default runtime (docs/containerd.md)."""

import json
import os

import pytest
from kit.cri import Refused
from kit.kubernetes import IMAGE, Kubelet, missing, pod_spec
from kit.runtime import wait_until


@pytest.fixture(scope="module")
def kubelet(runtime):
    if reason := missing("kubelet"):
        pytest.skip(reason)
    node = Kubelet(runtime)
    try:
        yield node.start().load("image", "pause", "image2").start_kubelet()
    finally:
        node.place.close()


@pytest.fixture
def manifests(kubelet):
    """The directory; after the test it is empty, and so is the node."""
    yield kubelet.manifests
    for path in kubelet.manifests.iterdir():
        path.unlink()
    wait_until(lambda: not kubelet.states() and not kubelet.groups(), timeout=60, what=f"left behind: {kubelet.states()}, {kubelet.groups()}")


def write(manifests, *command, image=IMAGE, **spec):
    spec = pod_spec(*command, restartPolicy="Always", **spec)
    del spec["runtimeClassName"]  # which only an API server knows
    spec["containers"][0]["image"] = image
    part = manifests.parent / "part"
    part.write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "static", "namespace": "default"}, "spec": spec}))
    part.rename(manifests / "static.json")


def ask(kubelet, container, script):
    return kubelet.client.ExecSync(container_id=container.id, cmd=["sh", "-c", script], timeout=20).stdout.decode().strip()


def running(kubelet, wanted=lambda container: True):
    """The pod's container, once there is one as wanted."""
    return wait_until(lambda: (found := kubelet.containers("static").get("c")) and wanted(found) and found, timeout=60, what="no container runs")


def test_a_pod_comes_changes_and_goes(kubelet, manifests):
    write(manifests)
    first = running(kubelet)
    assert ask(kubelet, first, "hostname; echo $RELEASE") == "static-node1"
    write(manifests, image=IMAGE.replace(":1", ":2"))
    assert ask(kubelet, running(kubelet, lambda found: found.id != first.id), "echo $RELEASE") == "2"
    (manifests / "static.json").unlink()
    wait_until(lambda: not kubelet.containers("static"), timeout=60, what="the pod outlives its manifest")


def test_a_pod_with_limits_in_the_host_s_network(kubelet, manifests):
    write(manifests, hostNetwork=True, container={"resources": {"limits": {"memory": "64Mi", "cpu": "200m"}}, "securityContext": {"readOnlyRootFilesystem": True}})
    found = ask(kubelet, running(kubelet), "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; touch /x 2>&1; readlink /proc/self/ns/net")
    assert str(64 << 20) in found
    assert "Read-only" in found
    assert found.splitlines()[-1] == os.readlink(f"/proc/{kubelet.place.pid}/ns/net")


def test_a_container_that_ends_is_started_again(kubelet, manifests):
    write(manifests, "sh", "-c", "test -f /data/once && exec sleep 1000; touch /data/once; exit 1",
          container={"volumeMounts": [{"name": "data", "mountPath": "/data"}]}, volumes=[{"name": "data", "emptyDir": {}}])
    assert ask(kubelet, running(kubelet, lambda found: found.metadata.attempt == 1), "ls /data") == "once"


def test_a_command_that_is_not_there(kubelet, manifests):
    write(manifests, "nothere")

    def said():
        """What the containers that could not be started say; the kubelet removes and makes them as we look."""
        for container in kubelet.client.ListContainers().containers:
            try:
                status = kubelet.client.ContainerStatus(container_id=container.id).status
            except Refused:
                continue
            if status.reason == "StartError":
                return status.message
    assert 'exec: "nothere": executable file not found in $PATH' in wait_until(said, timeout=60)
