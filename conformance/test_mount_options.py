"""The option strings of config.md#linux-mount-options: each is accepted, and does what it says where that can be seen.

Seen in mountinfo, from inside: of a tmpfs at /mnt, or of a bind of a host directory with a mount below it, for the
recursive ones. A word that takes back is given after the word that it takes back.
"""

import os
import subprocess

import pytest
from kit.bundle import add_mounts, bind, mount, userns
from kit.observe import mount_at, mounts
from marks import clause, refused

# In the order of the table: the clauses are configLinuxMountOptions-2 and following.
WORDS = """async atime bind defaults dev diratime dirsync exec iversion lazytime loud noatime nodev nodiratime noexec noiversion
nolazytime norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime relatime remount rexec rnoatime
rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime
rsuid rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync unbindable idmap ridmap""".split()
LEVEL = dict.fromkeys("""nosymfollow ratime rdev rdiratime rexec rnoatime rnodiratime rnoexec rnorelatime rnostrictatime rnosuid
rnosymfollow rrelatime rro rrw rstrictatime rsuid rsymfollow symfollow idmap ridmap""".split(), "SHOULD")
ID = {word: f"config:LinuxMountOptions-{number}" for number, word in enumerate(WORDS, 2)}
ID["ridmap"] = "config:LinuxMountOptions-64"  # idmap's row is six clauses long

# word: (options, flags that must be there, flags that must not)
TMPFS = {
    "defaults": ([], [], ["ro", "nosuid"]), "ro": ([], ["ro"], []), "rw": (["ro"], ["rw"], ["ro"]),
    "nosuid": ([], ["nosuid"], []), "suid": (["nosuid"], [], ["nosuid"]),
    "nodev": ([], ["nodev"], []), "dev": (["nodev"], [], ["nodev"]),
    "noexec": ([], ["noexec"], []), "exec": (["noexec"], [], ["noexec"]),
    "noatime": ([], ["noatime"], []), "atime": (["noatime"], [], ["noatime"]),
    "nodiratime": ([], ["nodiratime"], []), "diratime": (["nodiratime"], [], ["nodiratime"]),
    "relatime": ([], ["relatime"], []), "norelatime": ([], [], ["noatime"]),
    "strictatime": ([], [], ["relatime", "noatime"]), "nostrictatime": (["strictatime"], ["relatime"], []),
    "nosymfollow": ([], ["nosymfollow"], []), "symfollow": (["nosymfollow"], [], ["nosymfollow"]),
    "sync": ([], ["sync"], []), "async": (["sync"], [], ["sync"]), "dirsync": ([], ["dirsync"], []),
    "lazytime": ([], ["lazytime"], []), "nolazytime": (["lazytime"], [], ["lazytime"]),
    "iversion": ([], [], []), "noiversion": ([], [], []), "silent": ([], [], []), "loud": ([], [], []),
}
PROPAGATION = {"shared": "shared", "slave": "master", "private": "private", "unbindable": "unbindable"}
# as TMPFS, for the mount below the bind; on the host it has what the word takes back
RECURSIVE = {
    "rro": ([], ["ro"], []), "rrw": (["ro"], ["rw"], ["ro"]),
    "rnosuid": ([], ["nosuid"], []), "rsuid": (["nosuid"], [], ["nosuid"]),
    "rdev": (["nodev"], [], ["nodev"]), "rnoexec": ([], ["noexec"], []), "rexec": (["noexec"], [], ["noexec"]),
    "rnoatime": ([], ["noatime"], []), "ratime": (["noatime"], [], ["noatime"]),
    "rnodiratime": ([], ["nodiratime"], []), "rdiratime": (["nodiratime"], [], ["nodiratime"]),
    "rrelatime": (["strictatime"], ["relatime"], []), "rnorelatime": ([], [], ["noatime"]),
    "rstrictatime": ([], [], ["relatime", "noatime"]), "rnostrictatime": (["strictatime"], ["relatime"], []),
    "rnosymfollow": ([], ["nosymfollow"], []), "rsymfollow": (["nosymfollow"], [], ["nosymfollow"]),
}


class Tree:
    """A host directory with a tmpfs mounted on `sub`."""

    def __init__(self, path):
        self.path = path
        (path / "sub").mkdir(parents=True)
        (path / "file").write_text("x")

    def mount(self, *options):
        subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(["size=1m", *options]), "tree", self.path / "sub"], check=True)
        subprocess.run(["mount", "--make-shared", self.path / "sub"], check=True)
        return self


@pytest.fixture
def tree(rt):
    tree = Tree(rt.base / "tree")
    yield tree
    if os.path.ismount(tree.path / "sub"):
        subprocess.run(["umount", "-l", tree.path / "sub"], check=True)


def words(table):
    return [pytest.param(word, marks=clause(ID[word], f"mount option {word}")) for word in table]


def has(found, wanted, unwanted):
    flags = found.options | found.super_options
    assert set(wanted) <= flags, found
    assert not set(unwanted) & flags, found


@clause("config:LinuxMountOptions-1", "all words of the table are implemented")
def test_every_word_of_the_table_has_a_test_here():
    assert sorted([*TMPFS, *PROPAGATION, *("r" + word for word in PROPAGATION), *RECURSIVE, "bind", "rbind", "remount",
                   "idmap", "ridmap"]) == sorted(WORDS)


@pytest.mark.parametrize("word", words(TMPFS))
def test_a_flag_of_mount_8(rt, word):
    before, wanted, unwanted = TMPFS[word]
    seen = rt.container(add_mounts(mount("/mnt", "tmpfs", "tmpfs", [*before, word]))).probe()
    has(mount_at(seen, "/mnt"), wanted, unwanted)


@clause("config:LinuxMountOptions-70", "they mean what mount(8) means")
@pytest.mark.parametrize("word", [word for word in TMPFS if word not in LEVEL])
def test_a_flag_means_what_it_means_to_mount_8(rt, tree, word):
    before, _, _ = TMPFS[word]
    subprocess.run(["mount", "-n", "-t", "tmpfs", "-o", ",".join([*before, word]), "tmpfs", tree.path / "sub"], check=True)
    line = next(line for line in open("/proc/self/mountinfo") if f"{tree.path}/sub " in line)
    theirs = set(line.split()[5].split(",")) | set(line.split(" - ")[1].split()[2].split(","))
    found = mount_at(rt.container(add_mounts(mount("/mnt", "tmpfs", "tmpfs", [*before, word]))).probe(), "/mnt")
    assert _comparable(found.options | found.super_options) == _comparable(theirs)


def _comparable(flags):
    """Either side of a read-only mount may say so: the superblock or the mount."""
    return {flag for flag in flags if "=" not in flag and flag != "inode64" and not (flag == "rw" and "ro" in flags)}


@pytest.mark.parametrize("word", words(PROPAGATION))
def test_a_propagation_of_one_mount(rt, tree, word):
    tree.mount()
    seen = rt.container(add_mounts(bind(tree.path / "sub", "/mnt", word))).probe()
    assert PROPAGATION[word] in mount_at(seen, "/mnt").propagation


@pytest.mark.parametrize("word", words(["r" + word for word in PROPAGATION]))
def test_a_propagation_of_a_whole_tree(rt, tree, word):
    tree.mount()
    seen = rt.container(add_mounts(bind(tree.path, "/mnt", "rbind", word))).probe()
    for point in ("/mnt", "/mnt/sub"):
        assert PROPAGATION[word[1:]] in mount_at(seen, point).propagation or \
            word == "rslave" and point == "/mnt" and mount_at(seen, point).propagation == {"private"}  # it has no master


@pytest.mark.parametrize("word", words(RECURSIVE))
def test_a_recursive_flag_reaches_the_mount_below(rt, tree, word):
    before, wanted, unwanted = RECURSIVE[word]
    tree.mount(*before)
    seen = rt.container(add_mounts(bind(tree.path, "/mnt", "rbind", word))).probe()
    below = mount_at(seen, "/mnt/sub")
    assert set(wanted) <= below.options and not set(unwanted) & below.options, below


@clause(ID["bind"], "mount option bind")
def test_bind_takes_one_mount(rt, tree):
    seen = rt.container(add_mounts(bind(tree.mount().path, "/mnt"))).probe()
    assert [found.point for found in mounts(seen) if found.point.startswith("/mnt")] == ["/mnt"]


@clause(ID["rbind"], "mount option rbind")
def test_rbind_takes_the_mounts_below_too(rt, tree):
    seen = rt.container(add_mounts(bind(tree.mount().path, "/mnt", "rbind"))).probe()
    assert mount_at(seen, "/mnt/sub").type == "tmpfs"


@clause(ID["remount"], "mount option remount")
def test_remount_changes_the_flags_of_a_mount_that_is_there(rt):
    seen = rt.container(add_mounts(mount("/mnt", "tmpfs", "tmpfs"),
                                   mount("/mnt", "tmpfs", "tmpfs", ["remount", "noexec", "ro"]))).probe()
    has(mount_at(seen, "/mnt"), ["ro", "noexec"], [])
    assert [found.point for found in mounts(seen)].count("/mnt") == 1


@clause("config:LinuxMountOptions-71", "a word that mount(8) has and the table has not means what it means there")
def test_words_of_mount_8_beyond_the_table(rt, tree):
    has(mount_at(rt.container(add_mounts(bind(tree.path, "/mnt", "rnodev"))).probe(), "/mnt"), ["nodev"], [])
    has(mount_at(rt.container(add_mounts(bind(tree.path, "/mnt", "mode=755"))).probe(), "/mnt"), [], ["ro"])


@clause("config:LinuxMountOptions-72", "unknown words go to the filesystem")
def test_unknown_words_are_the_filesystems(rt):
    seen = rt.container(add_mounts(mount("/mnt", "tmpfs", "tmpfs", ["size=4m", "mode=0750", "uid=5"]))).probe()
    has(mount_at(seen, "/mnt"), ["size=4096k", "mode=750", "uid=5"], [])
    refused(rt, add_mounts(mount("/mnt", "tmpfs", "tmpfs", ["nosuch=1"])))


# --- id-mapped mounts

MAP = [{"containerID": 0, "hostID": 3000, "size": 1000}]


def owner(rt, tree, *patches, options=("rbind", "idmap"), **maps):
    """Who owns file and sub/file of the tree inside; both are 0's on the host. Sources of an id map need one that can."""
    seen = rt.container({"process": {"args": ["/bin/probe", "try", "lstat:/mnt/file", "lstat:/mnt/sub/file"]}},
                        *patches, add_mounts(bind(tree.path, "/mnt", *options) | maps)).run().ok().json()
    return [entry["uid"] for entry in seen]


@pytest.fixture
def mapped(tree):
    """A tmpfs can be id-mapped since Linux 6.3; the outer directory must be one too."""
    subprocess.run(["mount", "-t", "tmpfs", "tree", tree.path], check=True)
    (tree.path / "sub").mkdir()
    (tree.path / "file").write_text("x")
    tree.mount()
    (tree.path / "sub/file").write_text("x")
    yield tree
    subprocess.run(["umount", "-l", tree.path / "sub"], check=True)
    subprocess.run(["umount", "-l", tree.path], check=True)


@clause(ID["idmap"], "idmap maps the ids of one mount")
@clause("config:LinuxMountOptions-59", "idmap never reaches mount(2), which would refuse it")
@clause("config:LinuxMountOptions-60", "its own mappings are used")
@clause("config:LinuxMountOptions-63", "by mount_setattr: the owner is mapped, the file unchanged")
@clause("config:POSIXMounts-1", "uidMappings are those of mount_setattr")
@clause("config:POSIXMounts-4", "gidMappings are those of mount_setattr")
def test_idmap_with_mappings(rt, mapped):
    assert owner(rt, mapped, uidMappings=MAP, gidMappings=MAP) == [3000, 0]
    assert os.stat(mapped.path / "file").st_uid == 0


@clause(ID["ridmap"], "ridmap maps the ids of the whole tree")
@clause("config:LinuxMountOptions-65", "ridmap never reaches mount(2), which would refuse it")
@clause("config:LinuxMountOptions-66", "its own mappings are used")
@clause("config:LinuxMountOptions-69", "by mount_setattr: the owner is mapped, the file unchanged")
def test_ridmap_with_mappings(rt, mapped):
    assert owner(rt, mapped, options=("rbind", "ridmap"), uidMappings=MAP, gidMappings=MAP) == [3000, 3000]
    assert os.stat(mapped.path / "sub/file").st_uid == 0


@clause("config:LinuxMountOptions-61", "idmap without mappings is the user namespace's, or an error")
def test_idmap_without_mappings_in_a_user_namespace(rt, mapped):
    assert owner(rt, mapped, userns())[0] == 0  # the host's 0 is the namespace's 0, not nobody


@clause("config:LinuxMountOptions-67", "ridmap without mappings is the user namespace's, or an error")
def test_ridmap_without_mappings_in_a_user_namespace(rt, mapped):
    assert owner(rt, mapped, userns(), options=("rbind", "ridmap")) == [0, 0]


@clause("config:LinuxMountOptions-62", "idmap without mappings or a user namespace is an error")
def test_idmap_without_anything(rt, tree):
    refused(rt, add_mounts(bind(tree.path, "/mnt", "idmap")))


@clause("config:LinuxMountOptions-68", "ridmap without mappings or a user namespace is an error")
def test_ridmap_without_anything(rt, tree):
    refused(rt, add_mounts(bind(tree.path, "/mnt", "rbind", "ridmap")))


@clause("config:POSIXMounts-3", "uidMappings without gidMappings are an error")
@clause("config:POSIXMounts-6", "gidMappings without uidMappings are an error")
@pytest.mark.parametrize("which", ["uidMappings", "gidMappings"])
def test_one_sided_mappings(rt, tree, which):
    refused(rt, add_mounts(bind(tree.path, "/mnt", "idmap") | {which: MAP}))
