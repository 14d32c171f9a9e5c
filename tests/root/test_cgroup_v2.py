"""The cgroup2 driver against the kernel: create, populate, freeze, kill, remove. Each test removes its groups."""

import os
import signal
import subprocess
import threading
import time

import pytest
from kit.runtime import wait_until

from pyrunc.errors import Error
from pyrunc.host.cgroup import v2

ROOT = v2.mountpoint()
pytestmark = pytest.mark.skipif(os.geteuid() != 0 or ROOT is None or not os.access(ROOT, os.W_OK),
                                reason="needs root and a writable cgroup2 tree")


@pytest.fixture
def group(request):
    top = f"pyrunc-test-{os.getpid()}"
    made = v2.Cgroup(ROOT, f"{top}/{request.node.name[:60]}")
    yield made
    outer = v2.Cgroup(ROOT, top)
    outer.kill()
    outer.remove()
    made.close()
    outer.close()
    assert not os.path.exists(f"{ROOT}/{top}")


@pytest.fixture
def sleeper():
    started = []

    def start(*argv):
        process = subprocess.Popen(argv or ("sleep", "60"), start_new_session=True)
        started.append(process)
        return process
    yield start
    for process in started:
        process.kill()
        process.wait()


def test_the_tree_is_a_cgroup2_mount():
    line = subprocess.run(["stat", "-f", "-c", "%t", ROOT], capture_output=True, text=True, check=True)
    assert line.stdout.strip() == "63677270"


def test_create_makes_the_directories_and_offers_the_controllers_to_the_leaf(group):
    made = group.create()
    assert made == [group.relative.split("/")[0], group.relative]
    assert group.read("cgroup.controllers") == v2.Cgroup(ROOT, made[0]).read("cgroup.controllers")
    assert group.read("cgroup.subtree_control").strip() == ""
    assert not os.get_inheritable(group.dirfd())


def test_create_of_an_empty_existing_group_uses_it(group):
    group.create()
    assert v2.Cgroup(ROOT, group.relative).create() == []


def test_a_group_in_which_a_process_lives_is_refused(group, sleeper):
    group.create()
    below = v2.Cgroup(ROOT, group.relative + "/below")
    below.create()
    below.add(sleeper().pid)
    with pytest.raises(Error) as caught:
        v2.Cgroup(ROOT, group.relative).create()
    assert caught.value.message == "container's cgroup is not empty: 1 process(es) found"


def test_a_group_that_hands_controllers_down_is_refused(group):
    """Buildah makes its --cgroup-parent the container's own group: when other containers are or were below, that cannot be."""
    parent = v2.Cgroup(ROOT, group.relative.split("/")[0])
    group.create()
    enabled = set(parent.read("cgroup.subtree_control").split()) - v2.THREADED
    assert enabled, "no controller here that a parent must not have enabled"
    with pytest.raises(Error) as caught:
        v2.Cgroup(ROOT, parent.relative).create()
    assert caught.value.message == f"container's cgroup cannot hold a process: {', '.join(sorted(enabled))} enabled for groups below it"
    assert os.path.isdir(group.path)


def test_a_frozen_group_is_refused(group):
    group.create()
    group.freeze(True)
    assert group.frozen()
    with pytest.raises(Error) as caught:
        v2.Cgroup(ROOT, group.relative).create()
    assert caught.value.message == "container's cgroup unexpectedly frozen"
    group.freeze(False)
    assert not group.frozen()


def test_pids_are_those_of_the_group_or_of_the_tree_below(group, sleeper):
    group.create()
    below = v2.Cgroup(ROOT, group.relative + "/a/b")
    below.create()
    here, there = sleeper(), sleeper()
    group_pid_only = v2.Cgroup(ROOT, group.relative + "/c")
    group_pid_only.create()
    group_pid_only.add(here.pid)
    below.add(there.pid)
    assert group_pid_only.pids() == [here.pid]
    assert group.pids() == []
    assert sorted(group.pids(recursive=True)) == sorted([here.pid, there.pid])
    assert group.populated()


@pytest.mark.parametrize("by", ["cgroup.kill", "each"])
def test_kill_kills_everything_below_even_what_keeps_forking(group, sleeper, by):
    group.create()
    below = v2.Cgroup(ROOT, group.relative + "/below")
    below.create()
    forker = sleeper("sh", "-c", "while :; do sleep 1 & sleep 0.002; done")
    below.add(forker.pid)
    wait_until(lambda: len(group.pids(recursive=True)) > 3)
    group.kill() if by == "cgroup.kill" else group._kill_each()
    assert forker.wait(5) == -signal.SIGKILL
    deadline = time.monotonic() + 5
    while group.populated() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert group.pids(recursive=True) == []
    group.remove()
    assert not os.path.exists(group.path)


def test_remove_takes_nested_groups_along_and_leaves_the_parent(group):
    group.create()
    for name in ("a/b/c", "a/d", "e"):
        v2.Cgroup(ROOT, f"{group.relative}/{name}").create()
    group.remove()
    assert not os.path.exists(group.path)
    assert os.path.isdir(os.path.dirname(group.path))
    group.remove()  # again: fine


def test_remove_waits_for_a_process_that_is_about_to_go(group, sleeper):
    group.create()
    process = sleeper()
    group.add(process.pid)
    timer = threading.Timer(0.05, process.kill)
    timer.start()
    group.remove()
    timer.join()
    assert not os.path.exists(group.path)


def test_a_group_that_stays_busy_is_an_error_that_says_so(group, sleeper, monkeypatch):
    monkeypatch.setattr(v2, "RMDIR_TRIES", 3)
    group.create()
    group.add(sleeper().pid)
    with pytest.raises(Error) as caught:
        group.remove()
    assert caught.value.message == f'cgroup "{group.path}": rmdir: device or resource busy'


def test_an_absolute_path_from_the_state_finds_the_group_again(group):
    group.create()
    again = v2.at(group.path)
    assert again.relative == group.relative and again.exists()
    again.close()
    assert v2.at("/somewhere/else") is None


def test_add_moves_a_process_into_the_group(group, sleeper):
    group.create()
    process = sleeper()
    group.add(process.pid)
    assert f"0::/{group.relative}" in open(f"/proc/{process.pid}/cgroup").read().splitlines()
