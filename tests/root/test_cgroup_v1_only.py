"""A host without a cgroup2 tree: a mount namespace in which a tmpfs covers it. Everything is on v1 then."""

import os
from pathlib import Path

import pytest
from kit.bundle import add_mounts, mount

HIDE = ("unshare", "-m", "--propagation", "private", "sh", "-c", 'mount -t tmpfs none /sys/fs/cgroup/unified && exec "$@"', "sh")
pytestmark = pytest.mark.skipif(not os.path.exists("/sys/fs/cgroup/unified/cgroup.controllers"), reason="needs a hybrid host to hide its cgroup2 tree")


def shell(script):
    return {"process": {"args": ["sh", "-c", script]}}


def test_a_life_on_v1(rt):
    """Limits, device rules, freezer, exec, kill and removal without cgroup2."""
    box = rt.container({"linux": {"resources": {"memory": {"limit": 64 << 20}, "pids": {"limit": 9},
                                                "devices": [{"allow": False, "access": "rwm"}]}}},
                       {"linux": {"devices": [{"path": "/dev/kmsg2", "type": "c", "major": 1, "minor": 11}]}},
                       shell("cat /dev/kmsg2; sleep 100"))
    name = box.bundle.config["linux"]["cgroupsPath"]
    box.create(wrap=HIDE).ok()
    assert box.state(wrap=HIDE).ok().json()["status"] == "created"
    box.start(wrap=HIDE).ok()
    groups = box.exec("cat", "/proc/self/cgroup", wrap=HIDE).ok().out
    assert groups.count(name) == len([line for line in groups.splitlines() if line.split(":")[1]])
    memory = next(Path(f"/sys/fs/cgroup/{kind}{name}") for kind in ("memory",))
    assert int((memory / "memory.limit_in_bytes").read_text()) == 64 << 20
    assert len((memory / "cgroup.procs").read_text().split()) >= 1
    rt.call("pause", box.id, wrap=HIDE).ok()
    assert box.state(wrap=HIDE).ok().json()["status"] == "paused"
    rt.call("resume", box.id, wrap=HIDE).ok()
    rt.call("update", "--pids-limit", "5", box.id, wrap=HIDE).ok()
    assert Path(f"/sys/fs/cgroup/pids{name}/pids.max").read_text().strip() == "5"
    assert "Operation not permitted" in box.running.result(0).err
    assert rt.call("events", "--stats", box.id, wrap=HIDE).ok().json()["data"]["pids"]["limit"] == 5
    rt.call("pause", box.id, wrap=HIDE).ok()
    pid = box.state(wrap=HIDE).ok().json()["pid"]
    box.kill("KILL", wrap=HIDE).ok()
    box.wait_stopped(pid)
    assert box.state(wrap=HIDE).ok().json()["status"] == "stopped"
    box.delete(wrap=HIDE).ok()
    rt.assert_nothing_left()


def test_cpusets_above_that_others_have_made_without_cpus_get_some(rt):
    box = rt.container({"linux": {"cgroupsPath": f"/{rt.token}-empty/deep/er/box"}}, shell("cat /proc/self/cgroup"))
    top = Path(f"/sys/fs/cgroup/cpuset/{rt.token}-empty")
    (top / "deep").mkdir(parents=True)
    assert (top / "cpuset.cpus").read_text() == "\n"
    try:
        assert f"/{rt.token}-empty/deep/er/box" in box.run().ok().out
        assert (top / "deep/cpuset.cpus").read_text() == Path("/sys/fs/cgroup/cpuset/cpuset.cpus").read_text()
    finally:
        for kind in os.listdir("/sys/fs/cgroup"):
            for path in ("/deep/er", "/deep", ""):
                group = Path(f"/sys/fs/cgroup/{kind}/{rt.token}-empty{path}")
                if group.is_dir():
                    group.rmdir()


def test_children_that_outlive_init_in_a_shared_pid_namespace_are_killed(rt):
    def shared(config):
        config["linux"]["namespaces"] = [ns for ns in config["linux"]["namespaces"] if ns["type"] != "pid"]
    box = rt.container(shared, shell("sleep 100 & sleep 100 & sleep 100"))
    box.create(wrap=HIDE).ok()
    box.start(wrap=HIDE).ok()
    box.delete("-f", wrap=HIDE).ok()
    rt.assert_nothing_left()


def test_the_container_sees_its_own_groups(rt):
    box = rt.container(add_mounts(mount("/sys/fs/cgroup", "cgroup", "cgroup", ("ro",))), shell("ls -d /sys/fs/cgroup/memory; cat /sys/fs/cgroup/memory/cgroup.procs"))
    out = box.run(wrap=HIDE).ok().out.split()
    assert out[0] == "/sys/fs/cgroup/memory" and len(out) >= 2
