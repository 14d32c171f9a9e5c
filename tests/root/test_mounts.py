"""Mounts, devices, masked and read-only paths, as the container's own mountinfo has them."""

import os
import subprocess

import pytest
from kit.bundle import Dir, File, Link, Node, add_mounts, bind, caps, mount, namespaces, place, userns, without_mount
from kit.observe import mount_at, mounts
from kit.runtime import wait_until

known_bad = pytest.mark.runc_known_bad
EROFS, ENOENT, EACCES, EPERM = 30, 2, 13, 1


def attempt(*what):
    """A config patch that makes the container try each "op:path" (see probe.c)."""
    return {"process": {"args": ["/bin/probe", "try", *what]}}


def errnos(result):
    return [entry["errno"] for entry in result.ok().json()]


@pytest.fixture
def source(rt):
    """A host directory to bind, with a mount of its own below (source/sub)."""
    path = rt.base / "source"
    (path / "sub").mkdir(parents=True)
    (path / "file").write_text("of the host")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", f"t-{rt.token}", path / "sub"], check=True)
    (path / "sub" / "deep").write_text("deep")
    yield path
    subprocess.run(["umount", "-l", path / "sub"], check=True)


@pytest.fixture
def plain(rt):
    """A host directory to bind, with nothing mounted below."""
    path = rt.base / "plain"
    path.mkdir()
    (path / "file").write_text("of the host")
    os.chown(path / "file", 7, 8)
    return path


def options_at(rt, point, *patches, rootfs=None):
    seen = rt.container(*patches, rootfs=rootfs).probe()
    return mount_at(seen, point)


# --- the default tree

def test_the_default_mounts_are_there_in_order_with_their_options(rt):
    seen = rt.container().probe()
    assert [m.point for m in mounts(seen)][:7] == ["/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys"]
    assert mount_at(seen, "/dev/shm").options >= {"rw", "nosuid", "nodev", "noexec"}
    assert mount_at(seen, "/dev").options == {"rw", "nosuid"}
    assert mount_at(seen, "/dev").super_options >= {"mode=755", "size=65536k"}
    assert mount_at(seen, "/dev/pts").super_options >= {"gid=5", "mode=620", "ptmxmode=666"}
    assert mount_at(seen, "/sys").options >= {"ro", "nosuid", "nodev", "noexec"}


def test_nothing_of_the_hosts_tree_is_mounted_or_reachable(rt, canary):
    seen = rt.container().probe()
    ours = {"/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys"}
    masked = ("/proc/", "/sys/")
    assert [m for m in mounts(seen) if m.point not in ours and not m.point.startswith(masked)] == []
    assert sorted(seen["top"]) == ["bin", "dev", "etc", "mnt", "proc", "root", "sys", "tmp"]


def test_every_mount_belongs_to_the_containers_root(rt):
    """No entry's parent lies outside but the root's own: the old root is really gone."""
    lines = mounts(rt.container().probe())
    ids = {m.id for m in lines}
    assert [m.point for m in lines if m.parent not in ids] == ["/"]


def test_the_read_only_root_is_read_only_and_its_mounts_are_not(rt):
    result = rt.container({"root": {"readonly": True}}, attempt("create:/x", "create:/dev/shm/x", "create:/etc/passwd")).run()
    assert errnos(result) == [EROFS, 0, EROFS]


def test_the_writable_root_is_writable(rt):
    container = rt.container(attempt("create:/x"))
    assert errnos(container.run()) == [0]
    assert (container.rootfs / "x").exists()


# --- options

FLAGS = {"nosuid": "nosuid", "nodev": "nodev", "noexec": "noexec", "ro": "ro", "noatime": "noatime",
         "nodiratime": "nodiratime", "relatime": "relatime"}
PLAIN = list(FLAGS.items())


@pytest.mark.parametrize("option, shown", PLAIN, ids=[option for option, _ in PLAIN])
def test_a_plain_option_on_tmpfs(rt, option, shown):
    assert shown in options_at(rt, "/mnt", add_mounts(mount("/mnt", "tmpfs", "tmpfs", [option]))).options


@pytest.mark.parametrize("option, shown", PLAIN, ids=[option for option, _ in PLAIN])
def test_a_plain_option_on_a_bind_mount(rt, source, option, shown):
    assert shown in options_at(rt, "/mnt", add_mounts(bind(source, "/mnt", option))).options


@pytest.mark.parametrize("options, absent", [
    (["ro", "rw"], "ro"), (["nosuid", "suid"], "nosuid"), (["nodev", "dev"], "nodev"), (["noexec", "exec"], "noexec"),
    (["noatime", "atime"], "noatime"), (["nodiratime", "diratime"], "nodiratime"), pytest.param(["rw", "defaults"], "ro", marks=known_bad("gives `defaults` to tmpfs as data")),
])
def test_of_two_opposite_options_the_later_wins(rt, options, absent):
    found = options_at(rt, "/mnt", add_mounts(mount("/mnt", "tmpfs", "tmpfs", options))).options
    assert absent not in found


@known_bad("1.1 knows fewer options")
@pytest.mark.parametrize("option, shown", [("sync", "sync"), ("dirsync", "dirsync"), ("lazytime", "lazytime"),
                                           ("strictatime", None), ("loud", None), ("silent", None), ("iversion", None),
                                           ("nomand", None), ("async", None), ("nolazytime", None),
                                           ("noiversion", None)])
def test_options_of_the_superblock(rt, option, shown):
    found = options_at(rt, "/mnt", add_mounts(mount("/mnt", "tmpfs", "tmpfs", [option])))
    assert shown is None or shown in found.super_options | found.options
    if option == "strictatime":
        assert not found.options & {"relatime", "noatime"}


@known_bad("1.1 does not know nosymfollow")
def test_nosymfollow_keeps_symlinks_from_being_followed(rt, source):
    os.symlink("file", source / "link")
    result = rt.container(add_mounts(bind(source, "/mnt", "nosymfollow")), attempt("read:/mnt/link", "read:/mnt/file")).run()
    assert errnos(result) == [40, 0]


def test_data_goes_to_the_file_system(rt):
    found = options_at(rt, "/mnt", add_mounts(mount("/mnt", "tmpfs", "tmpfs", ["size=1m", "mode=0700", "nr_inodes=77"])))
    assert found.super_options >= {"size=1024k", "mode=700", "nr_inodes=77"}


def test_a_tmpfs_takes_the_mode_of_the_directory_it_covers(rt):
    result = rt.container(add_mounts(mount("/covered", "tmpfs", "tmpfs")), attempt("stat:/covered"),
                          rootfs={"covered": Dir(0o1750)}).run()
    assert result.ok().json()[0]["mode"] == 0o1750


def test_a_read_only_tmpfs_is_read_only(rt):
    assert errnos(rt.container(add_mounts(mount("/mnt", "tmpfs", "tmpfs", ["ro"])), attempt("create:/mnt/x")).run()) == [EROFS]


def test_mounts_below_a_read_only_tmpfs_work(rt, source):
    patch = add_mounts(mount("/mnt", "tmpfs", "tmpfs", ["ro"]), bind(source, "/mnt/inner"))
    assert errnos(rt.container(patch, attempt("read:/mnt/inner/file", "create:/mnt/x")).run()) == [0, EROFS]


def test_a_read_only_dev_is_filled_first(rt):
    def readonly(config):
        config["mounts"][1]["options"].append("ro")
    result = rt.container(readonly, attempt("stat:/dev/null", "create:/dev/x", "write:/dev/null")).run()
    assert errnos(result) == [0, EROFS, 0]


RECURSIVE = [("rro", "ro"), ("rnosuid", "nosuid"), ("rnodev", "nodev"), ("rnoexec", "noexec"), ("rnoatime", "noatime"),
             ("rnodiratime", "nodiratime"), ("rrelatime", "relatime"), ("rnosymfollow", "nosymfollow")]


@pytest.mark.parametrize("option, shown", [
    pytest.param(option, shown, marks=known_bad("1.1 does not know it") if "sym" in option else ())
    for option, shown in RECURSIVE])
def test_a_recursive_option_reaches_every_mount_below(rt, source, option, shown):
    seen = rt.container(add_mounts(bind(source, "/mnt", "rbind", option))).probe()
    assert shown in mount_at(seen, "/mnt").options and shown in mount_at(seen, "/mnt/sub").options


@known_bad("1.1 gives EINVAL for ratime")
@pytest.mark.parametrize("set_, clear, shown", [("ro", "rrw", "ro"), ("nosuid", "rsuid", "nosuid"), ("nodev", "rdev", "nodev"),
                                                ("noexec", "rexec", "noexec"), ("nodiratime", "rdiratime", "nodiratime"),
                                                ("noatime", "ratime", "noatime"), ("noatime", "rstrictatime", "noatime")])
def test_a_recursive_clearing_option_reaches_every_mount_below(rt, source, set_, clear, shown):
    subprocess.run(["mount", "-o", f"remount,bind,{set_}", source / "sub"], check=True)
    seen = rt.container(add_mounts(bind(source, "/mnt", "rbind", clear))).probe()
    assert shown not in mount_at(seen, "/mnt/sub").options
    subprocess.run(["mount", "-o", "remount,bind,rw", source / "sub"], check=True)


def test_a_plain_ro_on_an_rbind_leaves_the_mounts_below_writable(rt, source):
    result = rt.container(add_mounts(bind(source, "/mnt", "rbind", "ro")),
                          attempt("create:/mnt/x", "create:/mnt/sub/x", "create:/mnt/sub/deep")).run()
    assert errnos(result) == [EROFS, 0, 0]


# --- bind mounts

def test_a_bind_without_rbind_does_not_bring_the_mounts_below(rt, source):
    result = rt.container(add_mounts(bind(source, "/mnt")), attempt("read:/mnt/file", "read:/mnt/sub/deep")).run()
    assert errnos(result) == [0, ENOENT]


def test_an_rbind_brings_the_mounts_below(rt, source):
    assert errnos(rt.container(add_mounts(bind(source, "/mnt", "rbind")), attempt("read:/mnt/sub/deep")).run()) == [0]


def test_a_bind_makes_its_missing_destination_a_directory_or_file_as_the_source_is(rt, source):
    container = rt.container(add_mounts(bind(source, "/new/deep/dir"), bind(source / "file", "/new/other/file")),
                             attempt("read:/new/deep/dir/file", "read:/new/other/file"))
    result = container.run().ok().json()
    assert [entry["data"] for entry in result] == ["of the host"] * 2
    assert (container.rootfs / "new/deep/dir").stat().st_mode & 0o777 == 0o755
    file = (container.rootfs / "new/other/file").stat()
    assert file.st_size == 0 and file.st_mode & 0o777 in (0o644, 0o755)


def test_a_relative_bind_source_is_relative_to_the_bundle(rt):
    container = rt.container(add_mounts(bind("here", "/mnt")), attempt("read:/mnt/x"))
    (container.bundle.path / "here").mkdir()
    (container.bundle.path / "here/x").write_text("x")
    assert errnos(container.run()) == [0]


def test_a_bind_over_a_file_of_the_image(rt, source):
    result = rt.container(add_mounts(bind(source / "file", "/etc/passwd")), attempt("read:/etc/passwd")).run().ok()
    assert result.json()[0]["data"] == "of the host"


def test_a_read_only_bind_is_read_only_inside_and_writable_outside(rt, source):
    assert errnos(rt.container(add_mounts(bind(source, "/mnt", "ro")), attempt("create:/mnt/x")).run()) == [EROFS]
    (source / "x").write_text("")


def test_a_bind_remount_sets_exactly_the_flags_asked_for(rt, source):
    """Inherited flags are dropped once any option is given (source noexec + ro gives only ro)."""
    subprocess.run(["mount", "-o", "remount,bind,noexec", source / "sub"], check=True)
    with_option = options_at(rt, "/mnt", add_mounts(bind(source / "sub", "/mnt", "ro"))).options
    without = options_at(rt, "/mnt", add_mounts(bind(source / "sub", "/mnt"))).options
    assert "noexec" not in with_option and "ro" in with_option
    assert "noexec" in without


def test_a_bind_source_that_is_a_symlink_is_followed(rt, source):
    os.symlink(source, rt.base / "link")
    assert errnos(rt.container(add_mounts(bind(rt.base / "link", "/mnt")), attempt("read:/mnt/file")).run()) == [0]


def test_a_destination_behind_symlinks_stays_inside_the_root(rt, source, canary):
    rootfs = {"abs": Link("/target"), "up": Link("../../../../target"), "host": Link(canary.path), "target": Dir()}
    for name in ("abs", "up"):
        container = rt.container(add_mounts(bind(source, f"/{name}/made")), attempt("read:/target/made/file"), rootfs=rootfs)
        assert errnos(container.run()) == [0]
    container = rt.container(add_mounts(bind(source, "/host/made")), attempt(f"read:{canary}/made/file"), rootfs=rootfs)
    assert errnos(container.run()) == [0]
    canary.hostdiff()


def test_dots_in_a_destination_stay_inside_the_root(rt, source, canary):
    container = rt.container(add_mounts(bind(source, "/mnt/../../../../mnt/./x")), attempt("read:/mnt/x/file"))
    assert errnos(container.run()) == [0]


def test_mounts_are_made_in_the_order_of_the_list(rt, source):
    patch = add_mounts(bind(source, "/mnt"), mount("/mnt/sub", "tmpfs", "tmpfs"), bind(source / "file", "/mnt/sub/f"))
    assert errnos(rt.container(patch, attempt("read:/mnt/sub/f", "read:/mnt/file")).run()) == [0, 0]
    patch = add_mounts(bind(source, "/mnt/below"), mount("/mnt", "tmpfs", "tmpfs"))
    assert errnos(rt.container(patch, attempt("read:/mnt/below/file")).run()) == [ENOENT]


def test_a_relative_destination_counts_from_the_root(rt, source):
    assert errnos(rt.container(add_mounts(bind(source, "mnt")), attempt("read:/mnt/file")).run()) == [0]


def test_names_with_blanks_newlines_and_commas_work(rt, source):
    for name in ("with blank", "with\nnewline", "with,comma", "ünïcödé", "\\040", "%s"):
        (source / name).mkdir()
        (source / name / "f").write_text("x")
        patch = add_mounts(bind(source / name, f"/mnt/{name}"))
        assert errnos(rt.container(patch, attempt(f"read:/mnt/{name}/f")).run()) == [0], name


# --- what fsconfig(2) does not take

@pytest.fixture
def layers(rt):
    """Directories with long and awkward names, each with a file of its number."""
    names = [f"lower-directory-number-{i:03}" for i in range(40)] + ["com,ma", "co:lon", "back\\slash", "bl ank", "equal=s"]
    for i, name in enumerate(names):
        (rt.base / name).mkdir()
        (rt.base / name / f"f{i}").write_text(name)
    for name in ("up" * 100, "work" * 50):
        (rt.base / name).mkdir()
    return [str(rt.base / name) for name in names]


def escaped(path):
    return path.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")


ROOTS = pytest.mark.parametrize("users", [(), (userns(0),)], ids=["", "user namespace"])


@ROOTS
@pytest.mark.parametrize("first, last", [(0, 2), (0, 25), (0, 40), (40, 45), (30, 45)])
def test_an_overlay_takes_as_many_and_as_awkward_layers_as_mount_does(rt, layers, first, last, users):
    lower = ":".join(map(escaped, layers[first:last]))
    container = rt.container(*users, add_mounts(mount("/mnt", "overlay", "overlay", ["nosuid", "ro", f"lowerdir={lower}"])),
                             attempt(*(f"read:/mnt/f{i}" for i in range(first, last)), "create:/mnt/x"))
    assert errnos(container.run()) == [0] * (last - first) + [EROFS]


@ROOTS
def test_an_overlay_with_long_upper_and_work_directories_is_writable(rt, layers, users):
    options = [f"lowerdir={layers[0]}", f"upperdir={rt.base}/{'up' * 100}", f"workdir={rt.base}/{'work' * 50}"]
    container = rt.container(*users, add_mounts(mount("/mnt", "overlay", "overlay", options), mount("/mnt", options=["remount", "noexec"])),
                             attempt("create:/mnt/x", "read:/mnt/f0"))
    assert errnos(container.run()) == [0, 0]
    assert (rt.base / ("up" * 100) / "x").exists()


def test_a_file_system_that_mount_makes_is_like_one_that_fsconfig_makes(rt, source):
    """Flags, superblock flags, access times, propagation, the mode of what it covers, what it copies, its place in the order."""
    def made(name):
        patch = add_mounts(mount("/covered", name, "tmpfs", ["ro", "noexec", "strictatime", "sync", "size=1m", "shared", "tmpcopyup"]),
                           mount("/covered", options=["remount", "nodev"]), mount("/open", name, "tmpfs", ["mode=0711", "nr_inodes=9"]),
                           bind(source / "file", "/open/file"))
        rootfs = {"/covered": Dir(0o1750), "/covered/copied": File("c")}
        entries = rt.container(patch, attempt("stat:/covered", "read:/covered/copied", "create:/covered/x", "stat:/open", "read:/open/file"),
                               rootfs=rootfs).run().ok().json()
        seen = rt.container(patch, rootfs=rootfs).probe()
        at = [mount_at(seen, point) for point in ("/covered", "/open", "/open/file")]
        assert at[0].source == at[1].source == name
        order = [m.point for m in mounts(seen)]
        return ([entry.get("mode") or entry["errno"] for entry in entries], [(m.options, m.super_options, m.propagation) for m in at],
                order)
    assert made("short") == made("l" * 1000)


@pytest.mark.parametrize("word, shown", [("size=1m,nr_inodes=77", {"size=1024k", "nr_inodes=77"}),
                                         ("mpol=bind:0,0", {"mpol=bind:0"}), ("mode=0711,size=1m,", {"mode=711", "size=1024k"})])
def test_commas_within_an_option_are_for_the_file_system_to_read(rt, word, shown):
    assert options_at(rt, "/mnt", add_mounts(mount("/mnt", "tmpfs", "tmpfs", [word]))).super_options >= shown


@known_bad("cuts them off")
def test_more_than_a_page_of_options_is_refused(rt, layers):
    lower = ":".join(layers[:40] * 3)
    result = rt.container(add_mounts(mount("/mnt", "overlay", "overlay", [f"lowerdir={lower}"]))).create()
    result.failed("/mounts/6/options", "4095 bytes")


def test_what_mount_refuses_leaves_nothing_and_names_the_entry(rt, layers, host):
    long = [f"lowerdir={':'.join(layers[:30])}", "nonsense=1"]
    rt.container(add_mounts(mount("/mnt", "overlay", "overlay", long))).create().failed("/mounts/6", "invalid argument")
    rt.container(add_mounts(mount("/mnt", "overlay", "no-such-fs", long))).create().failed("/mounts/6", "no such device")


# --- a bind source that an earlier mount of the container brings

def brought(container, *entries):
    """Adds binds whose sources are written as paths below the rootfs."""
    container.bundle.patch(add_mounts(*(bind(f"{container.rootfs}{source}" if at is None else at, destination, *options)
                                        for source, destination, options, at in entries)))
    return container


def test_a_source_below_an_earlier_mount_is_the_containers(rt, source, plain):
    (source / "dir").mkdir()
    (source / "dir/deep").write_text("")
    container = rt.container(add_mounts(bind(source, "/mnt", "rbind"), mount("/tmp", "tmpfs", "tmpfs", ["tmpcopyup"])),
                             attempt("read:/dir/deep", "read:/all/sub/deep", "read:/file", "read:/copy", "read:/comm", "create:/ro/x",
                                     "read:/ro/file", "read:/all/dir/deep"),
                             rootfs={"/tmp/copied": File("c"), "/mnt/file": File("of the image")})
    brought(container, ("/mnt/dir", "/dir", (), None), ("/mnt", "/all", ("rbind",), None), ("/mnt/file", "/file", (), None),
            ("/tmp/copied", "/copy", (), None), ("/proc/self/comm", "/comm", (), None), ("/mnt/../mnt//.", "/ro", ("ro",), None))
    entries = container.run().ok().json()
    assert [entry["errno"] for entry in entries] == [0, 0, 0, 0, 0, EROFS, 0, 0]
    assert entries[2]["data"] == "of the host" and entries[3]["data"] == "c"


def test_a_container_with_such_a_source_is_there_for_every_verb(rt, source):
    container = rt.container(add_mounts(bind(source, "/mnt", "rbind")), {"process": {"args": ["/bin/sleep", "60"]}})
    brought(container, ("/mnt/sub", "/inner", (), None))
    container.create().ok()
    assert container.status == "created"
    container.start().ok()
    container.exec("/bin/true").ok()
    container.delete("--force").ok()
    assert rt.ids() == []


def test_a_source_is_the_containers_whatever_links_lead_to_the_bundle(rt, source):
    container = rt.container(add_mounts(bind(source, "/mnt", "rbind")), attempt("read:/a/deep", "read:/b/deep", "read:/c"))
    os.symlink(container.bundle.path, rt.base / "link")
    os.symlink(container.rootfs / "mnt", rt.base / "into")
    (rt.base / "beside").mkdir()
    os.symlink("../link/rootfs", rt.base / "beside/relative")
    brought(container, ("", "/a", (), rt.base / "link/rootfs/mnt/sub"), ("", "/b", (), rt.base / "into/sub"),
            ("", "/c", (), rt.base / "beside/relative/mnt/file"))
    assert errnos(container.run()) == [0, 0, 0]


def test_a_source_that_no_earlier_mount_brings_is_the_hosts(rt, source, plain):
    """It is listed too early, or lies beside what is mounted: nothing in the image redirects it, and a bind does not bring mounts."""
    container = rt.container(attempt("read:/early/file", "read:/beside/file", "read:/root-again/mnt/file"),
                             rootfs={"/mnt/file": File("of the image"), "/mnt2/file": File("beside")})
    brought(container, ("/mnt", "/early", (), None), ("", "/mnt", (), source), ("/mnt2", "/beside", (), None),
            ("", "/root-again", (), container.rootfs))
    entries = container.run().ok().json()
    assert [entry["data"] for entry in entries] == ["of the image", "beside", "of the image"]


@known_bad("looks it up from the host's root")
def test_links_on_an_earlier_mount_lead_nowhere_out_of_the_root(rt, canary, plain):
    os.symlink(canary.path, plain / "out")
    os.symlink("/etc", plain / "etc")
    os.symlink(f"../../../../..{canary.path}", plain / "up")
    container = rt.container(add_mounts(bind(plain, "/mnt")), attempt("read:/x/passwd"))
    brought(container, ("/mnt/etc", "/x", (), None))
    assert container.run().ok().json()[0]["data"] == (container.rootfs / "etc/passwd").read_text()
    for name in ("out", "up", "../etc/passwd/x", "missing"):
        container = rt.container(add_mounts(bind(plain, "/mnt")))
        brought(container, (f"/mnt/{name}", "/x", (), None))
        result = container.create()
        assert result.code == 1 and "/mounts/7" in result.err, repr(result)
        result.failed("of the container" if name != "../etc/passwd/x" else "not a directory")


def test_an_rbind_of_the_root_has_the_mounts_before_it(rt, plain):
    container = rt.container(add_mounts(bind(plain, "/mnt")), attempt("read:/all/mnt/file", "read:/all/proc/self/comm"))
    brought(container, ("", "/all", ("rbind",), container.rootfs))
    assert errnos(container.run()) == [0, 0]


def test_a_source_below_an_earlier_mount_can_be_id_mapped(rt, plain):
    line = [{"containerID": 0, "hostID": 0, "size": 1}, {"containerID": 7, "hostID": 107, "size": 2}]
    container = rt.container(add_mounts(bind(plain, "/mnt")), attempt("stat:/x/file"))
    container.bundle.patch(add_mounts(mount("/x", f"{container.rootfs}/mnt", "bind", ["bind", "idmap"], uidMappings=line,
                                            gidMappings=line)))
    assert container.run().ok().json()[0]["uid"] == 107


def test_a_source_below_an_earlier_mount_without_a_mount_namespace(rt, plain):
    container = rt.container(namespaces("pid"), {"hostname": None, "linux": {"maskedPaths": None, "readonlyPaths": None}},
                             lambda config: config.update(mounts=[bind(plain, "/mnt")]), attempt("read:/x/file"))
    brought(container, ("/mnt", "/x", (), None))
    assert errnos(container.run()) == [0]


# --- propagation

PROPAGATION = {"private": {"private"}, "slave": {"master"}, "shared": {"shared"}, "unbindable": {"unbindable"}}


@pytest.mark.parametrize("option", PROPAGATION)
def test_a_propagation_option_on_a_bind_mount(rt, source, option):
    subprocess.run(["mount", "--make-shared", source / "sub"], check=True)
    found = options_at(rt, "/mnt", add_mounts(bind(source / "sub", "/mnt", option))).propagation
    assert found >= PROPAGATION[option] if option != "private" else found == {"private"}
    subprocess.run(["mount", "--make-private", source / "sub"], check=True)


@pytest.mark.parametrize("option", ["rprivate", "rslave", "rshared", "runbindable"])
def test_a_recursive_propagation_option_reaches_the_mounts_below(rt, source, option):
    subprocess.run(["mount", "--make-shared", source / "sub"], check=True)
    seen = rt.container(add_mounts(bind(source, "/mnt", "rbind", option))).probe()
    assert mount_at(seen, "/mnt/sub").propagation >= PROPAGATION[option[1:]]
    subprocess.run(["mount", "--make-private", source / "sub"], check=True)


@known_bad("1.1 sets it on the old root only")
@pytest.mark.parametrize("propagation, expected", [
    (None, {"private"}), ("private", {"private"}), ("rprivate", {"private"}), ("slave", {"private", "master"}),
    ("rslave", {"private", "master"}), ("shared", {"shared"}), ("rshared", {"shared"}), ("unbindable", {"unbindable"})])
def test_rootfs_propagation_shows_on_the_root(rt, propagation, expected):
    patches = [{"linux": {"rootfsPropagation": propagation}}] if propagation else []
    found = mount_at(rt.container(*patches).probe(), "/").propagation
    assert found & expected, found
    if propagation in (None, "private", "rprivate"):
        assert "shared" not in found and "master" not in found


@pytest.fixture
def on_shared(rt):
    """The bundles lie on a shared mount, as all of a host's files do where systemd is pid 1."""
    subprocess.run(["mount", "--bind", rt.base, rt.base], check=True)
    subprocess.run(["mount", "--make-shared", rt.base], check=True)
    yield
    for running in rt.running:
        running.popen.wait(10)
    subprocess.run(["umount", "-l", rt.base], check=True)


@known_bad("1.1 sets it on the old root only")
@pytest.mark.parametrize("propagation, expected", [
    (None, {"private"}), ("private", {"private"}), ("rprivate", {"private"}), ("slave", {"master"}), ("rslave", {"master"}),
    ("shared", {"shared"}), ("rshared", {"shared"}), ("unbindable", {"unbindable"})])
def test_only_a_slave_root_follows_the_mount_that_the_bundle_is_on(rt, on_shared, propagation, expected):
    """What the host mounts below the root later would appear in the container."""
    patches = [{"linux": {"rootfsPropagation": propagation}}] if propagation else []
    assert mount_at(rt.container(*patches).probe(), "/").propagation == expected


@pytest.mark.parametrize("propagation", [None, "private", "slave", "rslave", "shared", "rshared"])
def test_no_mount_of_a_container_reaches_the_host(rt, on_shared, propagation):
    patches = [{"linux": {"rootfsPropagation": propagation}}] if propagation else []
    before = open("/proc/self/mountinfo").read().splitlines()
    container = rt.container({"process": {"args": ["/bin/sh", "-c", "mount -t tmpfs x /mnt && exec sleep 1000"]}},
                             caps("CAP_SYS_ADMIN"), *patches).up()
    wait_until(lambda: any(" /mnt " in line for line in open(f"/proc/{container.pid}/mountinfo")))
    assert open("/proc/self/mountinfo").read().splitlines() == before
    container.delete("-f").ok()
    assert open("/proc/self/mountinfo").read().splitlines() == before


@pytest.mark.parametrize("patches", [[], [userns()]], ids=["", "user namespace"])
def test_binds_and_file_systems_are_listed_in_their_order(rt, plain, patches):
    """Since Linux 6.8 by when they were made; readers of mountinfo take the later of two at one place for the upper one."""
    listed = [("/mnt", "tmpfs"), ("/mnt/a", "bind"), ("/mnt/b", "bind"), ("/mnt/c", "bind"), ("/mnt/d", "bind"), ("/data", "tmpfs"), ("/data", "bind")]
    wanted = [mount(point, "data", "tmpfs") if kind == "tmpfs" else bind(plain, point) for point, kind in listed]
    found = mounts(rt.container(*patches, add_mounts(*wanted), rootfs={"data": Dir()}).probe())
    assert [(m.point, "tmpfs" if m.source == "data" else "bind") for m in found if m.point.startswith(("/mnt", "/data"))] == listed


# --- tmpcopyup, idmap

def test_tmpcopyup_fills_the_tmpfs_with_what_it_covers(rt):
    rootfs = {"data/file": File("content", 0o644, 5, 6), "data/dir/inner": "inner", "data/link": Link("file"),
              "data/empty": Dir(0o711, 7, 8)}
    what = ("read:/data/file", "stat:/data/file", "read:/data/dir/inner", "lstat:/data/link", "stat:/data/empty",
            "create:/data/new")
    container = rt.container(add_mounts(mount("/data", "tmpfs", "tmpfs", ["tmpcopyup"])), attempt(*what), rootfs=rootfs)
    file, st, inner, link, empty, new = container.run().ok().json()
    assert file["data"] == "content" and inner["data"] == "inner" and link["type"] == "link"
    assert (st["mode"], st["uid"], st["gid"]) == (0o644, 5, 6)
    assert (empty["mode"], empty["uid"], empty["gid"]) == (0o711, 7, 8)
    assert new["errno"] == 0 and not (container.rootfs / "data/new").exists()


def test_a_read_only_tmpcopyup_is_filled_and_read_only(rt):
    container = rt.container(add_mounts(mount("/data", "tmpfs", "tmpfs", ["tmpcopyup", "ro"])),
                             attempt("read:/data/file", "create:/data/x"), rootfs={"data/file": "x"})
    assert errnos(container.run()) == [0, EROFS]


def idmapped(source, destination, *options, host=200000, container=0, size=65536):
    line = [{"containerID": container, "hostID": host, "size": size}]
    return mount(destination, source, "bind", list(options), uidMappings=line, gidMappings=line)


@known_bad("1.1 has no id-mapped mounts")
@pytest.mark.parametrize("options", [("bind", "idmap"), ("bind",), ("rbind", "ridmap")])
def test_an_idmapped_mount_shifts_the_owners(rt, source, options):
    os.chown(source / "file", 7, 8)
    container = rt.container(add_mounts(idmapped(source, "/mnt", *options)), attempt("stat:/mnt/file", "stat:/mnt/sub/deep"))
    result = container.run().ok().json()
    assert (result[0]["uid"], result[0]["gid"]) == (200007, 200008)
    if "ridmap" in options:
        assert result[1]["uid"] == 200000


@known_bad("1.1 has no id-mapped mounts")
def test_an_idmapped_mount_in_a_user_namespace_shows_the_hosts_ids_inside(rt, plain):
    container = rt.container(userns(), add_mounts(idmapped(plain, "/mnt", "bind", "idmap", host=100000)),
                             attempt("stat:/mnt/file"))
    entry = container.run().ok().json()[0]
    assert (entry["uid"], entry["gid"]) == (7, 8)


@known_bad("1.1 has no id-mapped mounts")
def test_the_idmap_option_without_mappings_takes_the_containers_user_namespace(rt, plain):
    container = rt.container(userns(), add_mounts(mount("/mnt", plain, "bind", ["bind", "idmap"])), attempt("stat:/mnt/file"))
    entry = container.run().ok().json()[0]
    assert (entry["uid"], entry["gid"]) == (7, 8)


@known_bad("1.1 has no id-mapped mounts")
@pytest.mark.parametrize("entry", [
    mount("/mnt", "/etc", "bind", ["bind", "idmap"]),
    mount("/mnt", "/etc", "bind", ["bind"], uidMappings=[{"containerID": 0, "hostID": 1, "size": 1}]),
    mount("/mnt", "tmpfs", "tmpfs", [], uidMappings=[{"containerID": 0, "hostID": 1, "size": 1}],
          gidMappings=[{"containerID": 0, "hostID": 1, "size": 1}]),
], ids=["idmap without mappings or user namespace", "only uids", "not a bind"])
def test_an_idmapped_mount_that_cannot_be_is_refused(rt, entry):
    rt.container(add_mounts(entry)).create().failed()


# --- devices

def test_the_default_devices_are_there_with_mode_0666(rt):
    devices = rt.container().probe()["dev"]
    expected = {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"}
    for name, rdev in expected.items():
        found = devices[name]
        assert (found["type"], found["rdev"], found["mode"], found["uid"], found["gid"]) == ("char", rdev, 0o666, 0, 0), name
    links = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
             "ptmx": "pts/ptmx"}
    assert {name: devices[name]["link"] for name in links} == links
    assert set(devices) - {"core"} == expected.keys() | links.keys() | {"pts", "shm", "mqueue"}


def test_the_default_devices_are_usable(rt):
    result = rt.container(attempt("write:/dev/null", "read:/dev/zero", "read:/dev/urandom", "stat:/dev/ptmx")).run()
    assert errnos(result) == [0, 0, 0, 0]


def test_devices_of_the_config_are_made_as_asked(rt):
    devices = [{"type": "c", "path": "/dev/mine", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 5, "gid": 6},
               {"type": "b", "path": "/dev/deep/block", "major": 7, "minor": 99, "fileMode": 0o600},
               {"type": "p", "path": "/dev/pipe", "fileMode": 0o622},
               {"type": "u", "path": "/dev/unbuffered", "major": 1, "minor": 9}]
    container = rt.container({"linux": {"devices": devices}}, attempt(
        "stat:/dev/mine", "stat:/dev/deep/block", "stat:/dev/pipe", "stat:/dev/unbuffered"))
    found = [(e["type"], e["rdev"], e["mode"], e["uid"], e["gid"]) for e in container.run().ok().json()]
    assert found == [("char", "1:5", 0o640, 5, 6), ("block", "7:99", 0o600, 0, 0), ("fifo", "0:0", 0o622, 0, 0),
                     ("char", "1:9", 0o666, 0, 0)]


def test_a_device_mode_is_not_cut_by_the_callers_umask(rt):
    result = rt.container(attempt("stat:/dev/null", "stat:/dev/shm")).run(preexec=lambda: os.umask(0o077)).ok().json()
    assert result[0]["mode"] == 0o666


def test_a_device_given_in_the_config_replaces_the_default_one(rt):
    device = {"type": "c", "path": "/dev/zero", "major": 1, "minor": 5, "fileMode": 0o600}
    assert rt.container({"linux": {"devices": [device]}}, attempt("stat:/dev/zero")).run().ok().json()[0]["mode"] == 0o600


def test_a_device_outside_dev_is_made_too(rt):
    device = {"type": "c", "path": "/opt/zero", "major": 1, "minor": 5}
    assert errnos(rt.container({"linux": {"devices": [device]}}, attempt("read:/opt/zero")).run()) == [0]


@known_bad("accepts whatever is there")
def test_another_node_in_the_place_of_a_device_is_refused(rt):
    device = {"type": "c", "path": "/opt/zero", "major": 1, "minor": 5}
    rt.container({"linux": {"devices": [device]}}, rootfs={"opt/zero": "a file"}).create().failed("/opt/zero")


def test_the_same_node_in_the_place_of_a_device_is_accepted(rt):
    device = {"type": "c", "path": "/opt/zero", "major": 1, "minor": 5}
    container = rt.container({"linux": {"devices": [device]}}, attempt("stat:/opt/zero"), rootfs={"opt/zero": Node("c", 1, 5)})
    assert container.run().ok().json()[0]["rdev"] == "1:5"


def test_devices_that_are_not_allowed_cannot_be_opened(rt):
    devices = [{"type": "b", "path": "/dev/loop77", "major": 7, "minor": 77}, {"type": "c", "path": "/dev/mem", "major": 1, "minor": 1},
               {"type": "c", "path": "/dev/kmsg", "major": 1, "minor": 11}]
    container = rt.container(caps("CAP_SYS_RAWIO", "CAP_MKNOD", "CAP_SYS_ADMIN", "CAP_SYSLOG"), {"linux": {"devices": devices}},
                             attempt("read:/dev/loop77", "read:/dev/mem", "read:/dev/kmsg", "read:/dev/zero"))
    assert errnos(container.run()) == [EPERM, EPERM, EPERM, 0]


def test_a_device_rule_opens_exactly_what_it_names(rt):
    rules = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}]
    devices = [{"type": "c", "path": "/dev/kmsg", "major": 1, "minor": 11}, {"type": "c", "path": "/dev/mem", "major": 1, "minor": 1}]
    container = rt.container(caps("CAP_SYS_RAWIO", "CAP_SYSLOG"), {"linux": {"devices": devices, "resources": {"devices": rules}}},
                             attempt("read:/dev/kmsg", "write:/dev/kmsg", "read:/dev/mem"))
    assert errnos(container.run()) == [0, EPERM, EPERM]


def test_devices_are_bound_from_the_host_in_a_user_namespace(rt):
    result = rt.container(userns(), attempt("write:/dev/null", "read:/dev/zero", "stat:/dev/null", "statfs:/dev/null")).run()
    entries = result.ok().json()
    assert [entry["errno"] for entry in entries] == [0] * 4
    assert entries[2]["rdev"] == "1:3" and entries[2]["uid"] == 65534


# one of each sort that stands in /dev anyway, with a number by which it is told from what would stand there
LISTED = {"ptmx": (5, 2), "null": (1, 3), "tty": (5, 0), "zero": (1, 5), "console": (5, 1), "stdin": (1, 5), "fd": (1, 7), "core": (1, 8)}


@pytest.mark.parametrize("how", [[], pytest.param([userns()], marks=known_bad("binds the host's path, or fails"))],
                         ids=["made", "bound"])
def test_a_listed_device_may_be_one_that_is_there_by_default(rt, how):
    listed = [{"type": "c", "path": f"/dev/{name}", "major": major, "minor": minor} for name, (major, minor) in LISTED.items()]
    script = f"cd /dev; stat -c '%n %F %t:%T' {' '.join(LISTED)}; busybox readlink ptmx"
    container = rt.container(*how, {"linux": {"devices": listed}}, {"process": {"args": ["/bin/sh", "-c", script]}})
    lines = container.run().ok().out.splitlines()
    assert lines[0].startswith("ptmx symbolic link") and lines[-1] == "pts/ptmx"
    assert lines[1:-1] == [f"{name} character special file {major:x}:{minor:x}" for name, (major, minor) in LISTED.items()
                           if name != "ptmx"]


@known_bad("fails, or binds whatever has the path")
@pytest.mark.parametrize("path, there", [("/dev/pyrunc-has-no-host-node", None), ("/dev/full", "1:7"), ("/srv/x", None)])
def test_a_device_that_the_host_does_not_have_at_that_path_is_made_for_a_user_namespace(rt, path, there):
    device = {"type": "c", "path": path, "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4}
    container = rt.container(userns(), {"linux": {"devices": [device]}}, {"process": {"user": {"uid": 0, "gid": 4}}},
                             attempt(f"stat:{path}", f"read:{path}"))
    container.rootfs.chmod(0o777)
    stat, read = container.run(preexec=lambda: os.umask(0o077)).ok().json()
    assert (stat["type"], stat["rdev"], stat["mode"], stat["uid"], stat["gid"]) == ("char", "1:5", 0o640, 3, 4)
    assert read["errno"] == 0
    assert there == (f"1:{os.minor(os.stat(path).st_rdev)}" if os.path.exists(path) else None), "the host's is as it was"
    rt.assert_nothing_left()


@known_bad("fails")
def test_a_made_device_can_be_opened_though_the_state_lies_where_none_can(rt):
    device = {"type": "c", "path": "/dev/pyrunc-has-no-host-node", "major": 1, "minor": 5}
    container = rt.container(userns(), {"linux": {"devices": [device]}}, attempt("read:/dev/pyrunc-has-no-host-node"))
    nodev = f'mount -t tmpfs -o nodev,mode=700 state {rt.root} && exec "$@"'
    assert errnos(container.run(wrap=("unshare", "--mount", "sh", "-c", nodev, "sh"))) == [0]


def test_without_the_capability_for_it_devices_are_bound(rt):
    device = {"type": "c", "path": "/dev/kmsg", "major": 1, "minor": 11}
    container = rt.container({"linux": {"devices": [device]}}, attempt("write:/dev/null", "stat:/dev/kmsg"))
    null, kmsg = container.run(wrap=("setpriv", "--bounding-set", "-mknod")).ok().json()
    assert null["errno"] == 0 and kmsg["rdev"] == "1:11"


def test_a_bind_mounted_dev_gets_no_devices_and_no_links(rt):
    directory = rt.base / "dev"
    place(directory / "null", Node("c", 1, 3))

    def replace(config):
        without_mount("/dev")(config)
        config["mounts"].append(bind(directory, "/dev"))
    rt.container(replace, {"process": {"args": ["/bin/true"]}}).run().ok()
    assert os.listdir(directory) == ["null"]


def test_without_a_dev_mount_the_nodes_are_made_in_the_rootfs(rt):
    container = rt.container(without_mount("/dev"), attempt("write:/dev/null", "lstat:/dev/fd"))
    assert errnos(container.run()) == [0, 0]


# --- masked and read-only paths

def test_masked_files_read_as_empty_and_masked_directories_have_nothing(rt):
    masked = {"linux": {"maskedPaths": ["/proc/kcore", "/etc/passwd", "/etc/dir", "/sys/firmware", "/none", "/etc/passwd"]}}
    container = rt.container(masked, attempt("read:/etc/passwd", "dir:/etc/dir", "dir:/sys/firmware", "create:/etc/dir/x",
                                             "stat:/etc/passwd"), rootfs={"etc/dir/inner": "x"})
    passwd, directory, firmware, inside, st = container.run().ok().json()
    assert passwd["data"] == "" and directory["rc"] == 0 and firmware["rc"] == 0 and inside["errno"] == EROFS
    assert st["rdev"] == "1:3"


def test_readonly_paths_are_read_only_with_all_below(rt, source):
    patch = add_mounts(bind(source, "/mnt", "rbind"))
    container = rt.container(patch, {"linux": {"readonlyPaths": ["/mnt", "/etc", "/none", "/proc/sys"]}}, attempt(
        "create:/mnt/x", "create:/etc/x", "write:/proc/sys/kernel/msgmax", "read:/etc/passwd"))
    assert errnos(container.run()) == [EROFS, EROFS, EROFS, 0]


def test_readonly_paths_keep_the_flags_they_had(rt):
    patch = add_mounts(mount("/mnt", "tmpfs", "tmpfs", ["nosuid", "nodev", "noexec", "noatime"]))
    found = options_at(rt, "/mnt", patch, {"linux": {"readonlyPaths": ["/mnt"]}})
    assert found.options >= {"ro", "nosuid", "nodev", "noexec", "noatime"}


def test_a_masked_path_behind_a_symlink_stays_inside_the_root(rt, canary):
    container = rt.container({"linux": {"maskedPaths": ["/out/secret"]}}, attempt("read:/out/secret"),
                             rootfs={"out": Link(canary.path)})
    container.run().ok()
    assert (canary.path / "secret").read_text() == canary.SECRET


# --- other kinds and settings

def test_no_pivot_gives_the_same_view(rt):
    seen = rt.container().run("--no-pivot").ok().json()
    assert mount_at(seen, "/proc").type == "proc" and "etc" in seen["top"]


# Much as in an initramfs: the caller's root lies on a ramfs.
ON_A_RAMFS = """set -e
mount --make-rprivate /; mkdir -p $1; mount -t ramfs ramfs $1; mkdir $1/top; test -z "$2" || mount --bind $1/top $1/top
for path in /*; do
  if test -L $path; then cp -a $path $1/top/; elif test -d $path; then mkdir $1/top$path; mount --rbind $path $1/top$path; fi
done
top=$1/top; shift 2; exec chroot $top "$@\""""


def test_no_pivot_works_with_a_root_on_a_ramfs(rt):
    here = ("unshare", "-m", "sh", "-c", ON_A_RAMFS, "sh", rt.base / "ramfs")
    result = rt.container().run(wrap=(*here, "")).failed("/root/path", "invalid argument")
    assert "mount point" in result.err.splitlines()[1]
    for option in ((), ("--no-pivot",)):
        seen = rt.container().run(*option, wrap=(*here, "mounted")).ok().json()
        assert mount_at(seen, "/proc").type == "proc" and seen["top"].keys() >= {"bin", "etc"} and "usr" not in seen["top"]


# --- what the bundle lies on

ON = {
    "tmpfs": "mount -t tmpfs -o mode=755 pyrunc-test {at}; cp -a {bundle}/. {at}",
    "overlay": "mkdir {at}.up {at}.work; mount -t overlay -o lowerdir={bundle},upperdir={at}.up,workdir={at}.work pyrunc-test {at}",
    "read-only overlay": "mkdir {at}.none; mount -t overlay -o lowerdir={bundle}:{at}.none pyrunc-test {at}",
    "read-only tmpfs": "mount -t tmpfs -o mode=755 pyrunc-test {at}; cp -a {bundle}/. {at}; mount -o remount,ro {at}",
    "read-only bind": "mount --bind {bundle} {at}; mount -o remount,bind,ro {at}",
}


@pytest.mark.parametrize("users", [(), (userns(),)], ids=["", "user namespace"])
@pytest.mark.parametrize("kind", ON)
def test_a_bundle_on(rt, kind, users):
    container = rt.container(*users, attempt("create:/tmp/x", "read:/proc/self/comm"), rootfs={"/tmp": Dir(0o777, 100000, 100000)})
    at = rt.base / "at"
    at.mkdir()
    subprocess.run(ON[kind].format(at=at, bundle=container.bundle.path), shell=True, check=True)
    try:
        container.bundle.path = at
        create, read = errnos(container.run())
        assert read == 0 and create == (EROFS if "read-only" in kind else 0)
    finally:
        subprocess.run(["umount", at], check=True)


def test_a_directory_over_a_file_is_refused_in_mounts_own_words(rt):
    rt.container(add_mounts(mount("/etc/passwd", "tmpfs", "tmpfs"))).create().failed("/etc/passwd", "not a directory")


@pytest.mark.parametrize("word", ["shared", "rshared", "private"])
def test_a_cgroup_mount_takes_propagation(rt, word):
    seen = rt.container(add_mounts(mount("/sys/fs/cgroup", "cgroup", "cgroup", [word]))).probe()
    assert mount_at(seen, "/sys/fs/cgroup").propagation == {"private" if word == "private" else "shared"}


@pytest.mark.parametrize("word", ["strictatime", "noatime"])
def test_a_cgroup_mount_takes_access_times(rt, word):
    seen = rt.container(add_mounts(mount("/sys/fs/cgroup", "cgroup", "cgroup", [word]))).probe()
    assert "relatime" not in mount_at(seen, "/sys/fs/cgroup").options


@pytest.mark.parametrize("value", ["private", "rprivate"])
def test_a_private_root_without_pivot_is_refused(rt, value):
    container = rt.container({"linux": {"rootfsPropagation": value}})
    container.create("--no-pivot").failed("rootfsPropagation of [r]private is not safe without pivot_root")


@known_bad("1.5 leaves the tmpfs over cgroup v1 writable")
def test_a_cgroup_mount_works_and_is_read_only_when_asked(rt):
    container = rt.container(add_mounts(mount("/sys/fs/cgroup", "cgroup", "cgroup", ["nosuid", "noexec", "nodev", "relatime", "ro"])),
                             attempt("dir:/sys/fs/cgroup", "mkdir:/sys/fs/cgroup/x"))
    entries = container.run().ok().json()
    assert entries[0]["rc"] > 0 and entries[1]["errno"] in (EROFS, EPERM, EACCES)


def test_sysctls_are_set_in_the_containers_namespaces_only(rt, host):
    sysctl = {"kernel.msgmax": "9999", "kernel.shm_rmid_forced": "1", "net.ipv4.ip_forward": "1", "fs.mqueue.msg_max": "77",
              "net/ipv4/ip_default_ttl": "77"}
    container = rt.container({"linux": {"sysctl": sysctl}}, attempt(*(
        f"read:/proc/sys/{key.replace('.', '/')}" for key in sysctl)))
    assert [entry["data"].strip() for entry in container.run().ok().json()] == list(sysctl.values())


def test_a_sysctl_key_with_slashes_may_hold_a_dot(rt):
    """`net/ipv4/conf/eth0.1/forwarding`: the first separator decides; lo stands in for eth0.1."""
    container = rt.container({"linux": {"sysctl": {"net/ipv4/conf/lo/forwarding": "1"}}},
                             attempt("read:/proc/sys/net/ipv4/conf/lo/forwarding"))
    assert container.run().ok().json()[0]["data"] == "1\n"


def test_loopback_is_up_in_a_new_network_namespace(rt):
    assert rt.container(attempt("lo-up:")).run().ok().json()[0]["rc"] == 1


def on_the_host(config):
    """No mount namespace, and mounts that are read-only."""
    config["linux"].update(namespaces("pid", "network", "ipc", "uts")["linux"], maskedPaths=[], readonlyPaths=[])
    config["mounts"] = [mount("/proc", "proc", "proc"), mount("/dev", "tmpfs", "tmpfs", ["ro", "mode=755"]),
                        mount("/run", "tmpfs", "tmpfs", ["ro"])]


@pytest.fixture
def private():
    """A mount namespace to call the runtime in, whose mounts stay its own."""
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", '"$@"; code=$?; cat /proc/self/mountinfo; exit $code', "sh")


def below(mountinfo, root):
    return [line.split(" ")[4] for line in mountinfo if f" {root}" in line]


WRITES = {"process": {"args": ["/bin/sh", "-c", "for f in /new /run/new /dev/new /dev/null /tmp/new; do\n"
                               "(echo x >$f) 2>/dev/null && echo written || echo not; done"]}}


@known_bad("makes them silently writable, and leaves mounts behind")
@pytest.mark.parametrize("patch, expected", [
    ({"root": {"readonly": True}}, ["not", "not", "not", "written", "not"]), ({}, ["written", "not", "not", "written", "written"]),
    (add_mounts(mount("/", options=["remount", "ro"])), ["not", "not", "not", "written", "not"]),
], ids=["read-only root", "read-only tmpfs", "remounted root"])
def test_what_is_read_only_is_so_without_a_mount_namespace_too(rt, private, patch, expected):
    container = rt.container(on_the_host, patch, WRITES)
    result = container.run(wrap=private).ok()
    lines = result.out.splitlines()
    assert lines[:5] == expected
    assert below(lines[5:], container.rootfs) == [], "its mounts stay on the host"
    (container.rootfs / "host").write_text("the host's directory is as it was")


@known_bad("leaves mounts behind")
def test_a_mount_that_the_root_is_on_the_host_survives_a_create_that_fails_early(rt, private):
    def nowhere(config):
        config["linux"]["namespaces"][1]["path"] = "/nowhere"
    container = rt.container(on_the_host, {"root": {"readonly": True}}, nowhere)
    script = f'mount --bind {container.rootfs} {container.rootfs}; "$@"; cat /proc/self/mountinfo; exit 1'
    result = container.create(wrap=(*private[:6], script, "sh")).failed("/nowhere")
    assert below(result.out.splitlines(), container.rootfs) == [str(container.rootfs)]


@known_bad("leaves mounts behind")
def test_a_mount_that_the_root_is_on_the_host_survives_a_read_only_container_in_it(rt, private):
    container = rt.container(on_the_host, {"root": {"readonly": True}}, {
        "process": {"args": ["/bin/sh", "-c", "(echo x >/new) 2>/dev/null || cat /mnt/kept"]}})
    root = container.rootfs
    own = (f"mount --bind {root} {root}; mount -t tmpfs kept {root}/mnt; echo kept >{root}/mnt/kept; mount --make-rshared {root}; " '"$@"; code=$?; '
           "cat /proc/self/mountinfo; exit $code")
    result = container.run(wrap=(*private[:6], own, "sh")).ok()
    lines = result.out.splitlines()
    assert lines[0] == "kept" and below(lines[1:], root) == [str(root), f"{root}/mnt"]


def test_a_remount_changes_the_flags_of_the_mount_before_it(rt, tmp_path):
    (tmp_path / "file").write_text("x")
    seen = rt.container(add_mounts(mount("/mnt", "tmpfs", "tmpfs", ["noexec"]), bind(tmp_path / "file", "/mnt/file"),
                                   mount("/mnt", "tmpfs", "tmpfs", ["remount", "ro", "nodev"]),
                                   mount("/", options=["remount", "nodev"]))).probe()
    assert {"ro", "nodev"} <= mount_at(seen, "/mnt").options and "noexec" not in mount_at(seen, "/mnt").options
    assert [found.point for found in mounts(seen)].count("/mnt") == 1
    assert "nodev" in mount_at(seen, "/").options and mount_at(seen, "/mnt/file").root.endswith("/file")


def test_a_remount_of_nothing_is_refused(rt):
    rt.container(add_mounts(mount("/mnt", options=["remount", "ro"]))).create().failed("/mounts/6", "nothing to remount")


def test_the_options_of_a_tmpfs_on_a_bind_are_ignored(rt, tmp_path):
    seen = rt.container(add_mounts(bind(tmp_path, "/mnt", "mode=700", "size=1k", "nodev"))).probe()
    assert "nodev" in mount_at(seen, "/mnt").options
    rt.container(add_mounts(bind(tmp_path, "/mnt", "nosiud"))).create().failed("filesystem-specific options applied: nosiud")
