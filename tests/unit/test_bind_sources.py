"""Which sources lie below the root, what a user namespace would lock below a source, and which options mount(2) has to take."""

import pytest

from pyrunc.config import mountopts
from pyrunc.host import locks, sources

RO, NOSUID, NOEXEC, NOATIME, ATIMES = 1, 2, 8, 0x10, 0x70


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "bundle/rootfs/mnt").mkdir(parents=True)
    (tmp_path / "bundle/rootfs/out").symlink_to("/etc")
    (tmp_path / "link").symlink_to("bundle")
    (tmp_path / "into").symlink_to(tmp_path / "link/rootfs/mnt")
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "up").symlink_to("bundle/../link/rootfs")
    return tmp_path


@pytest.mark.parametrize("path, found", [
    ("bundle/rootfs", ""), ("bundle/rootfs/mnt/x", "mnt/x"), ("link/rootfs/mnt", "mnt"), ("into/x/y", "mnt/x/y"), ("up/mnt", "mnt"),
    ("bundle/rootfs/out/passwd", "out/passwd"), ("bundle/rootfs/none", "none"), ("bundle", None), ("bundle/rootfs2/x", None),
    ("round/x", None), ("none/x", None),
])
def test_links_are_followed_up_to_the_root_and_not_below_it(tree, path, found):
    assert sources.below(f"{tree}/bundle/rootfs", f"{tree}/{path}", {}) == found


def test_binds_are_found_by_their_position(tree):
    config = {"mounts": [{"destination": "/a", "type": "tmpfs"}, {"destination": "/b", "source": "rootfs/mnt", "options": ["rbind"]},
                         {"destination": "/c", "source": "/etc", "options": ["bind"]}, {"destination": "/d", "source": "rootfs", "options": ["ro"]}]}
    assert sources.inside(config, f"{tree}/link", f"{tree}/bundle/rootfs") == {"1": "mnt"}
    assert sources.inside(config, "/", "/") == {"1": "rootfs/mnt", "2": "etc"}


MOUNTINFO = """1 0 8:1 / / rw,relatime - ext4 /dev/sda rw
2 1 0:2 / /a rw,nosuid,noexec - tmpfs t rw
3 2 0:3 / /a/b ro,nosuid,nodev,noatime,nodiratime - tmpfs t rw
4 2 0:4 / /a/b\\040c rw,relatime shared:1 - tmpfs t rw
5 1 0:5 / /ab ro,nosuid - tmpfs t ro
"""


@pytest.mark.parametrize("path, set_, clear, lost", [
    ("/a", 0, RO, RO), ("/a", 0, NOSUID | NOEXEC, NOSUID), ("/a", RO, RO, 0), ("/a", 0, 0, 0), ("/a/b", 0, RO, 0), ("/", 0, RO | NOSUID, RO | NOSUID),
    ("/a", NOATIME, ATIMES, NOATIME), ("/", NOATIME, ATIMES, 0x30), ("/a/b c", 0, RO, 0), ("/abc", 0, RO, 0), ("/a", 0x80, 0, 0x80),
])
def test_flags_of_the_mounts_below_a_source(path, set_, clear, lost):
    assert locks.lost(MOUNTINFO, path, set_, clear) == lost


def test_a_blank_in_a_path_is_escaped_as_in_mountinfo():
    assert locks.lost("1 0 0:1 / /a\\040b/c ro - tmpfs t rw\n", "/a b", 0, RO) == RO


@pytest.mark.parametrize("options, source, page", [
    (["size=1m", "mode=755"], "tmpfs", None), (["lowerdir=" + "x" * 255], "overlay", None), (["size=1m"], "x" * 255, None),
    (["lowerdir=" + "x" * 256, "ro", "userxattr"], "overlay", "lowerdir=" + "x" * 256 + ",userxattr"), (["y" * 256], "t", "y" * 256),
    (["size=1m"], "x" * 256, "size=1m"), (["é" * 128], "t", "é" * 128), (["mpol=bind:0,2", "size=1m"], "t", "mpol=bind:0,2,size=1m"),
    (["lowerdir=a\\,b:c"], "overlay", "lowerdir=a\\,b:c"), (['context="a,b"', "nosuid"], "t", 'context="a,b"'), ([], "t" * 300, ""),
])
def test_what_fsconfig_does_not_take_is_a_page_for_mount(options, source, page):
    assert mountopts.page(mountopts.parse(options), source) == page


@pytest.mark.parametrize("options, flags", [(["rw"], RO), (["suid", "exec"], NOSUID | NOEXEC), (["rw", "ro"], 0), (["atime", "diratime"], 0), (["rrw"], 0)])
def test_what_is_cleared_explicitly(options, flags):
    assert mountopts.explicit(mountopts.parse(options)) == flags
