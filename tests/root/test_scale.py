"""Bounded by the kernel and by time: thousands of mounts and devices, with few descriptors; how the cost of `create` grows."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from kit.bundle import Dir, add_mounts, bind, mount, userns
from kit.rootless import UserRuntime

FEW = ("sh", "-c", 'ulimit -n 64; exec "$@"', "sh")


@pytest.fixture
def memory():
    """A directory on a tmpfs: making thousands of files on a disk's file system takes longer than what is measured."""
    path = Path(tempfile.mkdtemp(dir="/dev/shm"))
    path.chmod(0o755)
    (path / "source").write_text("")
    (path / "targets").mkdir()
    (path / "targets").chmod(0o777)
    yield path
    shutil.rmtree(path)


def count(where):
    """A config patch: the process counts what is there, and has the caller's limits."""
    return {"process": {"args": ["/bin/sh", "-c", f"ls {where} | wc -l; ulimit -Sn; ulimit -Hn"], "rlimits": []}}


def binds_before_any_file_system(memory, n):
    def edit(config):
        many = [bind(memory / "source", f"/many/{i}", "bind", "ro") for i in range(n)]
        config["mounts"] = [bind(memory / "targets", "/many", "bind"), *many, *config["mounts"]]
    return [edit, count("/many")]


def binds_and_file_systems_in_turn(memory, n):
    pairs = [(bind(memory / "source", f"/many/{i}", "bind"), mount(f"/many/d{i}", "tmpfs", "tmpfs")) for i in range(n // 2)]
    return [add_mounts(mount("/many", "tmpfs", "tmpfs"), *[entry for pair in pairs for entry in pair]), count("/many")]


def file_systems(memory, n):
    return [add_mounts(mount("/many", "tmpfs", "tmpfs"), *[mount(f"/many/{i}", "tmpfs", "tmpfs") for i in range(n)]), count("/many")]


def devices_of_a_user_namespace(memory, n):
    (memory / "nodes").mkdir(exist_ok=True)
    paths = [str(memory / "nodes" / str(i)) for i in range(n)]
    for path in paths:
        if not os.path.exists(path):
            os.mknod(path, 0o020666, os.makedev(1, 3))
    nodes = [{"path": path, "type": "c", "major": 1, "minor": 3} for path in paths]
    return [userns(), {"linux": {"devices": nodes}}, count(memory / "nodes")]


MANY = (binds_before_any_file_system, binds_and_file_systems_in_turn, file_systems, devices_of_a_user_namespace)


@pytest.mark.parametrize("kind", MANY)
def test_1300_of_them_take_no_more_than_64_descriptors(rt, memory, kind):
    assert rt.container(*kind(memory, 1300)).run(wrap=FEW).ok().out.split() == ["1300", "64", "64"]


def test_64_descriptors_are_enough_for_all_that_is_open_at_birth(rt, memory):
    hook = {"path": "/bin/true"}
    container = rt.container(
        userns(), binds_before_any_file_system(memory, 40)[0],
        {"process": {"oomScoreAdj": 100, "rlimits": []}, "hooks": {"createContainer": [hook], "createRuntime": [hook], "startContainer": [hook]}}, rootfs={"many": Dir()})
    container.create(wrap=FEW).ok()
    container.start().ok()


def test_whatever_has_no_descriptor_left_says_so(rt, memory):
    container = rt.container(binds_before_any_file_system(memory, 4)[0], {"process": {"rlimits": []}})
    for limit in range(8, 48):
        result = container.create(wrap=("prlimit", f"--nofile={limit}", "--"))
        if result.code == 0:
            break
        result.failed("too many open files")
        assert "ulimit -n" in result.log_text
    container.delete("--force").ok()


def cost(rt, patches):
    """(seconds, peak KiB) of a create."""
    container = rt.container(*patches)
    running = rt.spawn("create", "--bundle", container.bundle.path, container.id)
    _, status, usage = os.wait4(running.popen.pid, 0)
    running.popen.returncode = os.waitstatus_to_exitcode(status)
    result = running.wait().ok()
    container.delete("--force").ok()
    return result.seconds, usage.ru_maxrss


@pytest.mark.parametrize("kind", MANY)
def test_time_and_memory_of_create_grow_as_the_mounts_do(rt, memory, kind):
    """Four times the mounts: four times the time and not sixteen; some KiB for each."""
    costs = {n: min(cost(rt, kind(memory, n)) for _ in range(2)) for n in (1000, 4000)}
    assert costs[4000][0] < 8 * costs[1000][0], costs
    assert costs[4000][1] - costs[1000][1] < 3000 * 8, costs


def test_a_destination_of_two_thousand_missing_directories_is_made_in_seconds(rt):
    """Each is made behind the one before. A search from the deepest end for each of them took 25 s for a thousand."""
    deep = add_mounts(mount("/deep", "tmpfs", "tmpfs"), mount("/deep" + "/d" * 2000, "tmpfs", "tmpfs"))
    assert cost(rt, [deep])[0] < 8


def test_without_privilege_binds_are_held_at_once_and_the_limit_is_told(pyrunc, user, memory):
    """Only the caller's view of the tree shows the sources, and init has left that: so the hard limit counts, and no other."""
    rt = UserRuntime(pyrunc, user)
    try:
        many = add_mounts(mount("/many", "tmpfs", "tmpfs"), *[bind(memory / "source", f"/many/{i}", "bind") for i in range(600)])
        soft = ("sh", "-c", 'ulimit -Sn 100; ulimit -Hn 2000; exec "$@"', "sh")
        assert rt.container(many, count("/many")).run(wrap=soft).ok().out.split() == ["600", "100", "2000"]
        rt.container(many, count("/many")).run(wrap=FEW).failed("/mounts/", "too many open files")
        assert "ulimit -Hn" in rt.container(many, count("/many")).run(wrap=FEW).err
    finally:
        rt.close()
