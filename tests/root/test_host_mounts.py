"""Without a mount namespace a container's mounts are the host's. Its delete takes those away, and no others, wherever they are."""

import contextlib
import os
import subprocess
from pathlib import Path

import pytest
from kit.bundle import mount, namespaces

pytestmark = pytest.mark.runc_known_bad("leaves them, or unmounts what lies at their paths")
WITHOUT = {"linux": {"maskedPaths": None, "readonlyPaths": None}}
ENTRY = {"mounts": [mount("/proc", "proc", "proc"), mount("/mnt/deep/at", "tmpfs", "tmpfs")]}


def points():
    return [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]


@contextlib.contextmanager
def mounted(path):
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)  # fails if it is not there any more


def container_of(rt, script):
    box = rt.container(namespaces("pid", "network", "ipc", "uts"), WITHOUT, ENTRY, {"process": {"args": ["/bin/sh", "-c", script]}})
    box.create().ok()
    assert str(box.rootfs / "mnt/deep/at") in points()
    return box


def settle(box):
    pid = box.pid
    box.start().ok()
    box.wait_stopped(pid)


@pytest.mark.parametrize("how", ["delete", "delete -f of a running one"])
def test_a_container_that_puts_a_link_in_the_way_has_its_own_unmounted_and_not_the_hosts(rt, how):
    with mounted(rt.base / "host" / "at") as theirs:
        end = "sleep 1000" if "running" in how else "true"
        box = container_of(rt, f"mkdir /away; mv /mnt/deep /away/deep; ln -s {rt.base}/host /mnt/deep; touch /moved; {end}")
        if "running" in how:
            box.start().ok()
            while not (box.rootfs / "moved").exists():
                pass
        else:
            settle(box)
        assert str(box.rootfs / "away/deep/at") in points() and os.readlink(box.rootfs / "mnt/deep") == f"{rt.base}/host"
        box.delete(*(["-f"] if "running" in how else [])).ok()
        assert str(theirs) in points()
        assert not [point for point in points() if point.startswith(str(box.rootfs))]
    rt.assert_nothing_left()


def test_what_the_host_mounts_below_the_root_later_stays(rt):
    box = container_of(rt, "true")
    settle(box)
    with mounted(box.rootfs / "later") as later:
        box.delete().ok()
        assert [point for point in points() if point.startswith(str(box.rootfs))] == [str(later)]


def test_what_lies_at_the_path_of_one_that_is_gone_stays(rt):
    box = container_of(rt, "true")
    settle(box)
    place = box.rootfs / "mnt/deep/at"
    subprocess.run(["umount", place], check=True)
    with mounted(place):
        box.delete().ok()
        assert str(place) in points()


def test_one_that_is_covered_is_said_to_be_left(rt):
    box = container_of(rt, "true")
    settle(box)
    place = box.rootfs / "mnt/deep/at"
    with mounted(place):
        box.delete().failed(f"mount {place}: another mount covers it")
        assert points().count(str(place)) == 2
    box.delete().ok()
    assert not [point for point in points() if point.startswith(str(box.rootfs))]


@pytest.mark.parametrize("verb", ["create", "run"])
def test_a_creation_that_fails_takes_its_mounts_away_and_no_others(rt, verb):
    box = rt.container(namespaces("pid", "network", "ipc", "uts"), WITHOUT, ENTRY, {"process": {"args": ["/no/such/program"]}})
    with mounted(box.rootfs / "earlier") as earlier:
        rt.call(verb, "--bundle", box.bundle.path, box.id).failed("/no/such/program")
        assert [point for point in points() if point.startswith(str(box.rootfs))] == [str(earlier)]
    rt.assert_nothing_left()


def test_names_with_white_space_are_found(rt):
    box = rt.container(namespaces("pid", "network", "ipc", "uts"), WITHOUT,
                       {"mounts": [mount("/a b\tc\\d/é", "tmpfs", "tmpfs")], "process": {"args": ["/bin/true"]}})
    box.run().ok()
    assert not [point for point in points() if point.startswith(str(box.rootfs))]
    rt.assert_nothing_left()
