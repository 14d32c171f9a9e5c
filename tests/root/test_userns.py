"""User namespaces that root makes or joins: mappings of any shape, what they own, what cannot be."""

import os
import subprocess

import pytest
from kit.bundle import add_mounts, bind, mount, namespaces, userns, without_mount
from kit.observe import mount_at, mounts
from kit.rootless import ids, maps
from kit.runtime import wait_until

known_bad = pytest.mark.runc_known_bad
KINDS = ("pid", "network", "ipc", "uts", "mount")
SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
NO_MAPS = {"linux": {"uidMappings": None, "gidMappings": None}}


def no_tty_group(config):
    config["mounts"][2]["options"].remove("gid=5")


def table(text):
    return [[int(word) for word in line.split()] for line in text.splitlines()]


# --- mappings

@pytest.mark.parametrize("rows", [
    [(0, 100000, 1)],
    [(0, 100000, 1000), (1000, 300000, 5), (2000, 200000, 1)],
    [(5, 100005, 10), (0, 300000, 1), (65534, 100000, 1)],
    [(0, 0, 4294967295)],
    [(0, 4000000000, 65536)],
], ids=lambda rows: " ".join(":".join(map(str, row)) for row in rows))
def test_mappings_of_any_shape(rt, rows):
    seen = rt.container(userns(), maps(ids(*rows)), no_tty_group).probe()
    assert sorted(table(seen["uid_map"])) == sorted(map(list, rows)) == sorted(table(seen["gid_map"]))
    assert seen["uids"] == [0] * 3 and seen["groups"] == []


@pytest.mark.parametrize("patches, words", [
    ([maps(ids((1, 100000, 10)))], ["no mapping found for uid 0"]),
    ([maps(ids((0, 100000, 10))), {"process": {"user": {"uid": 10, "gid": 0}}}], ["/process/user/uid", "unmapped"]),
    ([maps(ids((0, 100000, 10))), {"process": {"user": {"uid": 0, "gid": 10}}}], ["/process/user/gid", "unmapped"]),
    ([maps(ids((0, 100000, 10), (5, 200000, 10)))], ["/linux/uidMappings", "mapped twice"]),
    ([maps(ids((0, 100000, 10))), add_mounts(mount("/x", "tmpfs", "tmpfs", ["uid=10"]))],
     ["/mounts/6/options", "no mapping found for uid 10"]),
], ids=lambda value: value[-1] if isinstance(value[0], str) else "")
def test_what_is_not_mapped_is_refused_where_it_stands(rt, patches, words):
    rt.container(userns(), no_tty_group, *patches).create().failed(*words)
    assert rt.ids() == []


def test_a_user_namespace_without_a_pid_namespace(rt):
    seen = rt.container(namespaces("mount", "uts", "ipc", "network"), userns(),
                        lambda config: config["mounts"].__setitem__(0, bind("/proc", "/proc", "rbind"))).probe()
    assert seen["pid"] > 1 and table(seen["uid_map"]) == [[0, 100000, 65536]]
    assert seen["ns"]["pid"] == os.readlink("/proc/self/ns/pid") and seen["uids"] == [0] * 3


def test_a_network_namespace_is_joined_without_a_pid_namespace(rt):
    first = rt.container(SLEEP).up()
    seen = rt.container(namespaces("mount", "uts", network=f"/proc/{first.pid}/ns/net")).probe()
    assert seen["ns"]["net"] == os.readlink(f"/proc/{first.pid}/ns/net")


# --- joined

@pytest.fixture
def first(rt):
    return rt.container(userns(), SLEEP).up()


def joining(first, *kinds):
    return namespaces(*(kind for kind in KINDS if kind not in kinds),
                      **{kind: f"/proc/{first.pid}/ns/{'net' if kind == 'network' else kind}" for kind in ("user", *kinds)})


@known_bad("1.1 wants mappings with a joined user namespace")
@pytest.mark.parametrize("mapped", [NO_MAPS, maps(ids((0, 100000, 65536)))], ids=["absent", "equal"])
def test_a_user_namespace_is_joined_with_its_maps_left_out_or_the_same(rt, first, mapped):
    seen = rt.container(joining(first), mapped, {"process": {"user": {"uid": 5, "gid": 6, "additionalGids": [7]}}}).probe()
    assert seen["ns"]["user"] == os.readlink(f"/proc/{first.pid}/ns/user")
    assert (seen["uids"], seen["gids"], seen["groups"]) == ([5] * 3, [6] * 3, [7])
    assert seen["dev"]["mqueue"]["uid"] == 0


@known_bad("1.1 wants mappings with a joined user namespace")
def test_a_user_namespace_is_joined_with_all_that_it_owns(rt, first):
    seen = rt.container(joining(first, "network", "ipc", "pid"), NO_MAPS).probe()
    for kind in ("user", "net", "ipc", "pid"):
        assert seen["ns"][kind] == os.readlink(f"/proc/{first.pid}/ns/{kind}"), kind


@pytest.mark.parametrize("row", [(0, 200000, 65536), (0, 100000, 65535), (1, 100000, 65536)])
def test_other_maps_than_those_of_the_joined_namespace_are_refused(rt, first, row):
    rt.container(joining(first), maps(ids(row))).create().failed("/linux/uidMappings", "0 100000 65536")
    assert rt.ids() == [first.id]


def test_an_id_without_a_mapping_in_the_joined_namespace_is_refused(rt, first):
    rt.container(joining(first), NO_MAPS, {"process": {"user": {"uid": 70000, "gid": 0}}}).create().failed("/process/user", "unmapped")


@pytest.fixture
def denying():
    """A process in a user namespace in which setgroups is denied."""
    holder = subprocess.Popen(["unshare", "--user", "--map-root-user", "sleep", "1000"])
    wait_until(lambda: os.path.exists(f"/proc/{holder.pid}/setgroups")
               and open(f"/proc/{holder.pid}/setgroups").read() == "deny\n", what="no namespace")
    yield holder.pid
    holder.kill()
    holder.wait()


@known_bad("1.1 wants mappings with a joined user namespace")
def test_groups_of_the_host_do_not_come_along_where_setgroups_is_denied(rt, denying):
    container = rt.container(namespaces(*KINDS, user=f"/proc/{denying}/ns/user"), no_tty_group)
    seen = container.probe(wrap=("setpriv", "--groups", "0,4,7"))
    assert seen["setgroups"] == "deny\n" and seen["groups"] == []


def test_groups_that_cannot_be_set_in_the_joined_namespace_are_an_error(rt, denying):
    container = rt.container(namespaces(*KINDS, user=f"/proc/{denying}/ns/user"), no_tty_group,
                             {"process": {"user": {"uid": 0, "gid": 0, "additionalGids": [0]}}})
    container.create().failed("/process/user", "operation not permitted")


FULL_MAP = """unshare --user sh -c 'kill -STOP $$; exec "$@"' sh "$@" &
until grep -q '^State:.T' /proc/$!/status; do sleep 0.01; done
echo 0 0 4294967295 >/proc/$!/uid_map; echo 0 0 4294967295 >/proc/$!/gid_map
kill -CONT $!; wait $!"""


def test_root_of_the_host_is_not_taken_for_root_of_a_namespace_by_its_map(rt):
    """A user namespace with the full map is not the initial one: devices are bound in it, not made (runc 1.5.2)."""
    def plain(config):
        config["linux"]["resources"] = {}
    seen = rt.container(plain).probe(wrap=("sh", "-c", FULL_MAP, "sh"))
    assert table(seen["uid_map"]) == [[0, 0, 4294967295]] and mount_at(seen, "/dev/null").type == "devtmpfs"


# --- a procfs to write to, where the pid namespace is another's

SHARED_PID = (namespaces("mount", "uts", "ipc", "network"), userns(),
              lambda config: config["mounts"].__setitem__(0, bind("/proc", "/proc", "rbind", "nosuid", "noexec", "nodev")))
PING = {"linux": {"sysctl": {"net.ipv4.ping_group_range": "0 0"}},
        "process": {"args": ["/bin/cat", "/proc/sys/net/ipv4/ping_group_range"]}}


@known_bad("a procfs of its own cannot be mounted there")
def test_sysctls_are_written_through_the_bound_proc_of_a_shared_pid_namespace(rt):
    assert rt.container(*SHARED_PID, PING).run().ok().out.split() == ["0", "0"]


@pytest.mark.parametrize("over", ["/proc/sys", "/proc/sys/net"])
def test_what_is_mounted_over_a_part_of_the_bound_proc_is_not_written_to(rt, over):
    fake = rt.base / "fake/sys/net/ipv4"
    fake.mkdir(parents=True)
    (fake / "ping_group_range").write_text("untouched")
    (fake / "ping_group_range").chmod(0o666)
    cover = f"mount --bind {rt.base}/fake{over[5:]} {over} && exec \"$@\""
    container = rt.container(*SHARED_PID, PING)
    container.create(wrap=("unshare", "--mount", "sh", "-c", cover, "sh")).failed(
        "/linux/sysctl/net.ipv4.ping_group_range", "something is mounted over this part of /proc")
    assert (fake / "ping_group_range").read_text() == "untouched"


@pytest.mark.parametrize("part", ["sys", "self"])
def test_a_part_of_a_procfs_bound_over_proc_is_no_procfs_to_write_to(rt, part):
    container = rt.container(*SHARED_PID, PING, lambda config: config["mounts"][0].update(source=f"/proc/{part}"),
                             {"linux": {"maskedPaths": [], "readonlyPaths": []}})
    container.create().failed("/mounts/0", '"/proc" is not a procfs')


# --- what it mounts

def test_sys_is_the_hosts_and_read_only_throughout_without_a_network_namespace(rt):
    seen = rt.container(namespaces("pid", "ipc", "uts", "mount"), userns()).probe()
    below = [m for m in mounts(seen) if m.point == "/sys" or m.point.startswith("/sys/")]
    assert below[0].type == "sysfs" and all("ro" in m.options for m in below if m.point != "/sys/firmware"), below


def test_sys_does_not_follow_a_link_of_the_image(rt):
    container = rt.container(namespaces("pid", "ipc", "uts", "mount"), userns(), {"linux": {"maskedPaths": [], "readonlyPaths": []}})
    (container.rootfs / "sys").rmdir()
    (container.rootfs / "sys").symlink_to("tmp")
    container.create().failed("must be mounted on ordinary directory")


def test_a_cgroup_mount_in_a_user_namespace_shows_the_containers_group_only(rt):
    container = rt.container(namespaces(*KINDS, "cgroup"), userns(),
                             add_mounts(mount("/sys/fs/cgroup", "cgroup", "cgroup", ["ro", "nosuid", "noexec", "nodev"])))
    seen = container.probe()
    assert mount_at(seen, "/sys/fs/cgroup").options >= {"ro", "nosuid", "nodev", "noexec"}
    result = rt.container(namespaces(*KINDS, "cgroup"), userns(), add_mounts(mount("/sys/fs/cgroup", "cgroup", "cgroup", ["ro"])),
                          {"process": {"args": ["/bin/sh", "-c", "find /sys/fs/cgroup -name cgroup.procs | wc -l"]}}).run().ok()
    assert int(result.out) < 15


def test_devices_are_bound_and_a_fifo_is_made(rt):
    container = rt.container(userns(), {"linux": {"devices": [{"type": "p", "path": "/dev/pipe", "fileMode": 0o622}]}})
    container.rootfs.chmod(0o777)
    seen = container.probe()
    assert (seen["dev"]["null"]["uid"], seen["dev"]["null"]["rdev"]) == (65534, "1:3")
    assert seen["dev"]["pipe"]["type"] == "fifo" and seen["dev"]["pipe"]["uid"] == 0 and seen["dev"]["pipe"]["mode"] == 0o622


def test_the_callers_files_stay_the_callers(rt):
    container = rt.container(userns(), {"process": {"args": ["/bin/echo", "x"]}})
    path = rt.base / "out"
    with open(path, "w") as out:
        container.run("-d", stdout=out).ok()
    wait_until(lambda: path.read_text() == "x\n", what="no output")
    assert (os.stat(path).st_uid, os.stat(path).st_gid) == (0, 0)


# --- idmapped mounts: who owns what is created

def created(rt, source, mapping, user, owner, *more):
    for path in (source, source / "sub"):  # nothing can be made in a directory whose owner has no mapping
        os.chown(path, owner, owner)
    entry = mount("/mnt", source, "bind", ["rbind", "ridmap"], **mapping)
    script = "echo x >/mnt/made; echo x >/mnt/sub/made; stat -c %u:%g /mnt/made /mnt/sub/made"
    container = rt.container(*more, add_mounts(entry),
                             {"process": {"args": ["/bin/sh", "-c", script], "user": {"uid": user, "gid": user}}})
    inside = container.run().ok().out.split()
    assert inside == [f"{user}:{user}"] * 2
    return [(os.stat(path).st_uid, os.stat(path).st_gid) for path in (source / "made", source / "sub/made")]


@pytest.fixture
def shared(rt):
    path = rt.base / "shared"
    (path / "sub").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=777", "pyrunc-test", path / "sub"], check=True)
    path.chmod(0o777)
    yield path
    subprocess.run(["umount", path / "sub"], check=True)


def both(rows):
    return {"uidMappings": ids(*rows), "gidMappings": ids(*rows)}


@known_bad("1.1 has no id-mapped mounts")
@pytest.mark.parametrize("mapping, user, patches, owner", [
    (both([(0, 200000, 65536)]), 200007, [], 7),
    (both([(0, 100000, 65536)]), 7, [userns()], 7),
    ({}, 7, [userns()], 7),
    ({}, 1003, [userns(), maps(ids((0, 100000, 1000), (1000, 300000, 10)))], 1003),
    (both([(50, 100000, 10), (500, 100010, 10)]), 12, [userns()], 502),
], ids=["own", "own, of the same shape as the container's", "the container's", "the container's, of two ranges", "own, of two ranges"])
def test_a_file_created_through_an_idmapped_mount_has_the_mapped_owner(rt, shared, mapping, user, patches, owner):
    assert created(rt, shared, mapping, user, owner, *patches) == [(owner, owner)] * 2


@known_bad("1.1 has no id-mapped mounts")
def test_the_idmap_of_a_joined_namespace_is_its_own(rt, shared, first):
    assert created(rt, shared, {}, 9, 9, joining(first), NO_MAPS) == [(9, 9)] * 2


def test_a_bundle_below_a_private_directory(rt):
    private = rt.base / "private"
    private.mkdir(mode=0o700)
    container = rt.container(userns(), without_mount("/dev/mqueue"))
    container.bundle.path.rename(private / "bundle")
    container.bundle.path = private / "bundle"
    assert container.probe()["uids"] == [0] * 3
