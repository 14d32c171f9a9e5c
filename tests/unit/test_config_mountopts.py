"""The grammar of mount options: the tables cover the specification's words, and folding them keeps its promises."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrunc.config import mountopts
from pyrunc.config.mountopts import ATTR_ATIME, ATTR_NOATIME, ATTR_NOSUID, ATTR_RDONLY, ATTR_STRICTATIME, parse

# config.md#linux-mount-options
SPECIFIED = """
    async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev nodiratime noexec
    noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime
    relatime remount rexec rnoatime rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate
    rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime suid
    symfollow sync tmpcopyup unbindable idmap ridmap
""".split()
# words runc lists in `features` that the specification's table has forgotten
RUNC_TOO = ["rnodev"]

TABLES = (mountopts.FLAGS, mountopts.RECURSIVE, mountopts.PROPAGATION, mountopts.WORDS)


def test_every_specified_word_is_known_and_no_other():
    assert mountopts.NAMES == sorted(SPECIFIED + RUNC_TOO)


def test_no_word_means_two_things():
    assert sum(map(len, TABLES)) == len(mountopts.NAMES)


def as_dict(**wanted):
    found = mountopts.MountOptions()
    for slot, value in wanted.items():
        setattr(found, slot, value)
    return found


@pytest.mark.parametrize("options, wanted", [
    ([], {}),
    (["defaults", ""], {}),
    (["rbind"], {"bind": True, "recursive": True}),
    (["bind", "ro"], {"bind": True, "attr_set": ATTR_RDONLY, "any_flag": True, "sb_set": ["ro"]}),
    (["ro", "rw"], {"attr_clr": ATTR_RDONLY, "any_flag": True, "sb_clr": ["ro"]}),
    (["rw", "ro"], {"attr_set": ATTR_RDONLY, "any_flag": True, "sb_set": ["ro"]}),
    (["nosuid", "suid", "nosuid"], {"attr_set": ATTR_NOSUID, "any_flag": True}),
    (["noatime"], {"attr_set": ATTR_NOATIME, "attr_clr": ATTR_ATIME, "any_flag": True}),
    (["noatime", "strictatime"], {"attr_set": ATTR_STRICTATIME, "attr_clr": ATTR_ATIME, "any_flag": True}),
    (["noatime", "relatime"], {"attr_clr": ATTR_ATIME, "any_flag": True}),
    (["strictatime", "atime"], {"attr_set": ATTR_STRICTATIME, "attr_clr": ATTR_ATIME, "any_flag": True}),
    (["norelatime"], {"any_flag": True}),
    (["async"], {"any_flag": True, "sb_clr": ["sync"]}),
    (["rro"], {"rec_attr_set": ATTR_RDONLY}),
    (["rro", "rrw"], {"rec_attr_clr": ATTR_RDONLY}),
    (["rnoatime"], {"rec_attr_set": ATTR_NOATIME, "rec_attr_clr": ATTR_ATIME}),
    (["rnorelatime"], {"rec_attr_clr": ATTR_ATIME}),
    (["rslave", "shared"], {"propagation": [(mountopts.MS_SLAVE, True), (mountopts.MS_SHARED, False)]}),
    (["ridmap", "idmap"], {"idmap": True}),
    (["idmap", "ridmap"], {"idmap": True, "ridmap": True}),
    (["mode=755", "size=1m,nr_inodes=5", "tmpcopyup"],
     {"data": ["mode=755", "size=1m", "nr_inodes=5"], "commas": True, "tmpcopyup": True}),
    (['context="u:object_r:x_t:s0:c1,c2"', "a,,b"], {"data": ['context="u:object_r:x_t:s0:c1,c2"', "a", "b"], "commas": True}),
    ([r"lowerdir=/a\,b:/c,upperdir=/d"], {"data": [r"lowerdir=/a\,b:/c", "upperdir=/d"], "commas": True}),
    (["RO", " ro"], {"data": ["RO", " ro"]}),
])
def test_a_list_of_options_is_folded_in_order(options, wanted):
    assert parse(options) == as_dict(**wanted)


WORDS = st.one_of(st.sampled_from(mountopts.NAMES), st.sampled_from(["mode=755", "size=1m", "x", "a,b", ""]))


@given(st.lists(WORDS))
def test_no_flag_is_both_on_and_off(options):
    found = parse(options)
    assert not found.attr_set & found.attr_clr & ~ATTR_ATIME
    assert not found.rec_attr_set & found.rec_attr_clr & ~ATTR_ATIME
    assert not set(found.sb_set) & set(found.sb_clr)
    assert found.attr_set & ATTR_ATIME in (0, ATTR_NOATIME, ATTR_STRICTATIME)
    assert bool(found.rec_attr_set & ATTR_ATIME) <= (found.rec_attr_clr & ATTR_ATIME == ATTR_ATIME)


@given(st.lists(WORDS), st.sampled_from(sorted(mountopts.FLAGS)))
def test_the_last_word_wins(options, word):
    found = parse([*options, word])
    add, take, _clear, superblock, on = mountopts.FLAGS[word]
    assert found.any_flag
    assert found.attr_set & add == add and not found.attr_set & take & ~add
    assert superblock is None or (superblock in (found.sb_set if on else found.sb_clr))


@given(st.lists(WORDS))
def test_saying_it_twice_changes_only_what_is_listed(options):
    once, twice = parse(options), parse(options + options)
    for slot in mountopts.MountOptions.__slots__:
        if slot in ("propagation", "data"):
            assert getattr(twice, slot) == getattr(once, slot) * 2
        elif slot not in ("sb_set", "sb_clr", "attr_set", "attr_clr", "rec_attr_set", "rec_attr_clr"):
            assert getattr(twice, slot) == getattr(once, slot)


@given(st.lists(st.text(max_size=8)))
def test_no_unknown_word_is_lost(options):
    wanted = [word for word in options if word not in mountopts.NAMES]
    if not [word for word in wanted if set(word) & set(',"\\')]:
        assert parse(options).data == [word for word in wanted if word]


@given(st.lists(WORDS))
def test_a_bind_gets_exactly_the_flags_asked_for_and_no_more(options):
    found = parse(options)
    add, clear = mountopts.bind_attrs(found)
    assert not add & clear & ~ATTR_ATIME
    # every flag that is no access time is either set or cleared: inherited ones are dropped
    plain = mountopts.ATTR_ALL & ~(ATTR_ATIME | mountopts.ATTR_NODIRATIME)
    assert (add | clear) & plain == plain
    assert clear & ATTR_ATIME in (0, ATTR_ATIME)


def test_a_bind_keeps_its_access_times_unless_one_is_asked_for():
    times = ATTR_ATIME | mountopts.ATTR_NODIRATIME
    assert mountopts.bind_attrs(parse(["bind", "ro"]))[1] & times == 0
    assert mountopts.bind_attrs(parse(["bind", "noatime"]))[1] & times == times
    assert mountopts.bind_attrs(parse(["bind", "relatime"]))[1] & times == times
    for word in ("atime", "diratime", "nostrictatime", "norelatime"):
        assert mountopts.bind_attrs(parse(["bind", word]))[1] & times == 0


def test_the_mount_attributes_are_those_of_the_kernel_headers():
    """Where linux/mount.h is installed."""
    header = "/usr/include/linux/mount.h"
    if not os.path.exists(header):
        pytest.skip("no linux/mount.h here")
    defined = {}
    with open(header) as file:
        for line in file:
            parts = line.split()
            if parts[:1] == ["#define"] and len(parts) > 2 and parts[1].startswith("MOUNT_ATTR_"):
                defined[parts[1]] = int(parts[2], 16)
    for name in ("RDONLY", "NOSUID", "NODEV", "NOEXEC", "NOATIME", "STRICTATIME", "NODIRATIME", "NOSYMFOLLOW"):
        assert getattr(mountopts, "ATTR_" + name) == defined["MOUNT_ATTR_" + name]
    assert ATTR_ATIME == defined["MOUNT_ATTR__ATIME"]
