"""The parts of the cgroup2 driver that only compute: where a group stands, and where the tree is mounted."""

import os

import pytest
from hypothesis import given, strategies as st

from pyrunc.errors import Error
from pyrunc.host.cgroup import v1, v2


@pytest.mark.parametrize("cgroups_path, own, expected", [
    ("/a/b", "/user.slice/x.scope", "a/b"),
    ("a/b", "/user.slice/x.scope", "user.slice/a/b"),
    ("a/b", "/", "a/b"),
    ("", "/user.slice/x.scope", "user.slice/c1"),
    (None, "/", "c1"),
    (None, None, "c1"),
    ("//a/./b//", "/x/y", "a/b"),
    ("a.slice:b:c", "/x/y", "x/a.slice:b:c"),
])
def test_a_group_stands_where_runc_puts_it(cgroups_path, own, expected):
    assert v2.path_for(cgroups_path, own, "c1") == expected


@pytest.mark.parametrize("cgroups_path, own", [
    ("/a/../b", "/"), ("..", "/x/y"), ("../a", "/x/y"), ("/", "/x"), ("//", "/"), ("a", "/../../x"), ("/a\0b", "/"),
    ("/" + 256 * "a", "/"),
])
def test_a_path_that_leaves_the_tree_or_names_its_root_is_refused(cgroups_path, own):
    with pytest.raises(Error) as caught:
        v2.path_for(cgroups_path, own, "c1")
    assert caught.value.pointer == "/linux/cgroupsPath"


@given(st.text(alphabet="ab./:\0é", max_size=12), st.sampled_from(["/", "/a", "/a/b", "/..", None]))
def test_whatever_is_accepted_stays_below_the_root(cgroups_path, own):
    try:
        relative = v2.path_for(cgroups_path, own, "c1")
    except Error:
        return
    parts = relative.split("/")
    assert parts and all(part not in ("", ".", "..") and "\0" not in part for part in parts)


def test_the_tree_is_found_in_mountinfo_by_type_and_root_not_by_place():
    text = ("31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
            "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
            "41 31 0:38 /sub /mnt/part rw,relatime shared:3 - cgroup2 cgroup2 rw\n"
            "42 31 0:38 / /mnt/with\\040space rw,relatime shared:3 master:1 - cgroup2 cgroup2 rw\n")
    assert v2.from_mountinfo(text) == "/mnt/with space"
    assert v2.from_mountinfo(text.replace("cgroup2", "cgroup")) is None


@pytest.mark.parametrize("name", ["", ".", "..", "../x/cgroup.procs", "a/b", "a\0b"])
def test_a_file_of_a_group_is_one_name(name, tmp_path):
    group = v2.Cgroup(str(tmp_path), "g")
    (tmp_path / "g").mkdir()
    with pytest.raises(Error) as caught:
        group.write(name, "1")
    assert "invalid argument" in caught.value.message


def test_a_symlink_in_the_place_of_a_group_is_not_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(Error):
        v2.Cgroup(str(tmp_path), "link").read("cgroup.procs")
    with pytest.raises(Error):
        v2.Cgroup(str(tmp_path), "link/x").create()
    assert list((tmp_path / "real").iterdir()) == []


def test_nor_is_one_above_a_group_however_the_tree_itself_is_reached(tmp_path):
    (tmp_path / "tree/real/g").mkdir(parents=True)
    (tmp_path / "tree/real/g/pids.max").write_text("7")
    (tmp_path / "tree/real/pids.max").write_text("8")
    (tmp_path / "tree/link").symlink_to("real")
    (tmp_path / "tree/real/g/linked").symlink_to("pids.max")
    (tmp_path / "way").symlink_to("tree")
    for root in (tmp_path / "tree", tmp_path / "way"):
        assert v2.Cgroup(str(root), "real/g").read("pids.max") == "7" and v2.Cgroup(str(root), "real/g").exists()
        for group, file in (("link/g", "pids.max"), ("link", "pids.max"), ("real/g", "linked")):
            for hold in (False, True):
                cgroup = v2.Cgroup(str(root), group)
                with pytest.raises((Error, OSError)):
                    if hold:
                        cgroup.dirfd()
                    cgroup.read(file)


@pytest.mark.parametrize("held", [False, True])
def test_device_rules_are_written_in_turn_each_file_opened_once(tmp_path, held):
    (tmp_path / "g").mkdir()
    for name in ("devices.allow", "devices.deny"):
        (tmp_path / "g" / name).write_text("")
    group, before = v1.Hierarchy(str(tmp_path), "g", "devices"), len(os.listdir("/proc/self/fd"))
    if held:
        group.dirfd()
    group.write_each([("devices.deny", "a"), ("devices.allow", "b 1:2 r"), ("devices.allow", "c 3:4 w")])
    assert (tmp_path / "g/devices.deny").read_text() == "a" and (tmp_path / "g/devices.allow").read_text() == "b 1:2 rc 3:4 w"
    with pytest.raises(Error) as caught:
        group.write_each([("devices.deny", "a"), ("devices.none", "x")])
    assert caught.value.message == f'cgroup "{tmp_path}/g/devices.none": write "x": no such file or directory'
    group.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_failing_write_names_file_value_and_reason(tmp_path):
    with pytest.raises(Error) as caught:
        v2.Cgroup(str(tmp_path), "none").write("memory.max", "12")
    assert caught.value.message == f'cgroup "{tmp_path}/none/memory.max": write "12": no such file or directory'


def test_a_group_that_is_gone_is_empty_unfrozen_and_removable(tmp_path):
    group = v2.Cgroup(str(tmp_path), "a/b")
    assert group.pids(recursive=True) == [] and not group.frozen() and not group.populated() and not group.exists()
    group.kill()
    group.remove()


def test_undo_removes_what_create_made_and_leaves_what_others_use(tmp_path):
    (tmp_path / "old").mkdir()
    group = v2.Cgroup(str(tmp_path), "old/new/leaf")
    made = group.create()
    assert made == ["old/new", "old/new/leaf"]
    (tmp_path / "old/new/other").mkdir()
    group.undo(made)
    assert [p.name for p in (tmp_path / "old/new").iterdir()] == ["other"]


def test_a_very_deep_nest_is_removed_without_recursion(tmp_path):
    depth, fd = 1500, v2.posix.open(str(tmp_path), v2.DIR)
    for name in ["g"] + depth * ["n"]:
        v2.posix.mkdir(name, dir_fd=fd)
        fd = v2._step(fd, name)
    v2.posix.close(fd)
    group = v2.Cgroup(str(tmp_path), "g")
    assert sum(1 for leaving, _, _ in v2._walk(group.dirfd()) if not leaving) == depth + 1
    group.remove()
    assert list(tmp_path.iterdir()) == []
