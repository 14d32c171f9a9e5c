"""`events`: the keys of runc's, an oom that is told, and an end with the container."""

import json
import os
import time
from pathlib import Path

import pytest
from kit import limits
from kit.runtime import Runtime, wait_until


def box_of(rt, script="sleep 100", **members):
    return rt.container({"linux": {"resources": members}}, {"process": {"args": ["sh", "-c", script]}}, {"ociVersion": "1.0.2"})


def keys(value, path=""):
    """Paths of all members; those that are there or not as the kernel has counted something or not are left out."""
    out = set()
    for name, below in value.items() if isinstance(value, dict) else ():
        out.add(f"{path}/{name}")
        out |= keys(below, f"{path}/{name}")
    return out


COUNTED = ("/max", "/usage", "/cache", "/periods", "/throttledPeriods", "/throttledTime", "/current", "/limit", "/total")
VARYING = ("/memory/raw/", "/blkio/", "/hugetlb/", "/psi")


def test_the_same_members_as_runc(rt, reference):
    ours = box_of(rt, memory={"limit": 64 << 20}, pids={"limit": 9}).up()
    mine = rt.call("events", "--stats", ours.id).ok().json()
    other = Runtime(reference)
    try:
        theirs_box = box_of(other, memory={"limit": 64 << 20}, pids={"limit": 9}).up()
        theirs = other.call("events", "--stats", theirs_box.id).ok().json()
    finally:
        other.close()
    assert (mine["type"], mine["id"]) == ("stats", ours.id)

    def comparable(data):
        return {key for key in keys(data) if not key.endswith(COUNTED) and not any(word in key for word in VARYING)}
    assert comparable(theirs["data"]) - comparable(mine["data"]) == set()
    assert comparable(mine["data"]) - comparable(theirs["data"]) <= {"/memory/events"} | {
        key for key in keys(mine["data"]) if key.startswith("/memory/events/")}
    for data in (mine["data"], theirs["data"]):
        assert data["memory"]["usage"]["limit"] == 64 << 20 and data["pids"] == {"current": 1, "limit": 9}
        assert data["cpu"]["usage"]["total"] > 0
    assert mine["data"]["cpuset"] == theirs["data"]["cpuset"]


def watches(pid):
    """Does a process hold what tells of a kill: memory.events of cgroup2, or v1's eventfd?"""
    try:
        links = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()]
    except FileNotFoundError:  # one that it has just closed
        return False
    return any("memory.events" in link or "eventfd" in link for link in links)


def test_an_oom_kill_is_told_and_the_end_ends_it(rt):
    box = box_of(rt, "read x < /tmp/go; dd if=/dev/zero of=/dev/null bs=64M count=1; sleep 0.5",
                 memory={"limit": 16 << 20, "swap": 16 << 20})
    box.bundle.populate({"tmp/.keep": ""})
    os.mkfifo(box.rootfs / "tmp/go")
    box.up()
    watching = rt.spawn("events", "--interval", "10s", box.id)
    wait_until(lambda: watches(watching.popen.pid), what="nobody watches")
    (box.rootfs / "tmp/go").write_text("\n")
    started = time.monotonic()
    result = watching.wait(8)
    assert result.code == 0 and time.monotonic() - started < 8
    assert [json.loads(line) for line in result.out.splitlines()] == [{"type": "oom", "id": box.id}]


def test_statistics_come_at_the_interval(rt):
    box = box_of(rt).up()
    watching = rt.spawn("events", "--interval", "100ms", box.id)
    wait_until(lambda: watching.output().count("\n") >= 3, 5)
    box.kill("KILL").ok()
    assert watching.wait(5).code == 0
    assert {json.loads(line)["type"] for line in watching.output().splitlines()} == {"stats"}


def test_the_numbers_are_the_kernels(rt):
    box = box_of(rt, memory={"limit": 64 << 20}).up()
    data = rt.call("events", "--stats", box.id).ok().json()["data"]
    assert abs(data["memory"]["usage"]["usage"] - int(limits.read(box, "memory.current"))) < 4 << 20
    assert data["memory"]["events"]["oom_kill"] == 0


@pytest.mark.parametrize("args, words", [
    (("--interval", "0"), "duration interval must be greater than 0"),
    (("--interval", "-5s"), "duration interval must be greater than 0"),
    (("--interval", "5"), 'invalid value "5" for flag -interval: parse error'),
])
def test_bad_intervals(rt, args, words):
    box = box_of(rt).up()
    result = rt.call("events", *args, box.id)
    assert result.code == 1 and words in result.err


def test_of_a_stopped_container(rt):
    box = box_of(rt, "true").up()
    box.wait_stopped()
    rt.call("events", "--stats", box.id).failed(f"container with id {box.id} is not running")
