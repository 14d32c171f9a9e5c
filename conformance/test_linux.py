"""config-linux.md: file systems, namespaces, devices, cgroups, paths. Seccomp has a file of its own."""

import os
from pathlib import Path

import pytest
from kit.bundle import File, Node, add_mounts, mount, namespaces, userns
from kit.observe import mount_at
from marks import clause, refused

SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
TYPES = {"pid": "pid", "network": "net", "mount": "mnt", "ipc": "ipc", "uts": "uts", "user": "user", "cgroup": "cgroup", "time": "time"}
TOP = Path("/sys/fs/cgroup")
V2 = TOP if (TOP / "cgroup.controllers").exists() else None


def linux(**properties):
    return {"linux": properties}


def trying(*what):
    return {"process": {"args": ["/bin/probe", "try", *what]}}


def groups(container):
    """The container's directories in all hierarchies."""
    name = container.bundle.config["linux"]["cgroupsPath"].lstrip("/")
    return [path / name for path in [TOP, *TOP.iterdir()] if (path / name).is_dir()]


def limit_files(container, *names):
    return [(group / name).read_text().strip() for group in groups(container) for name in names if (group / name).exists()]


@clause("linux:DefaultFilesystems-1", "/proc, /sys, /dev/pts and /dev/shm can be there")
def test_the_default_file_systems(rt):
    seen = rt.container().probe()
    assert {point: mount_at(seen, point).type for point in ("/proc", "/sys", "/dev/pts", "/dev/shm")} == {
        "/proc": "proc", "/sys": "sysfs", "/dev/pts": "devpts", "/dev/shm": "tmpfs"}


# --- namespaces


def with_type(kind):
    """The base config with a new namespace of this type."""
    if kind == "user":
        return userns()
    return namespaces(*dict.fromkeys(["pid", "network", "ipc", "uts", "mount", kind]))


@clause("linux:Namespaces-2", "all eight types are supported")
@clause("linux:Namespaces-6", "without a path a new one is made")
@pytest.mark.parametrize("kind", TYPES)
def test_a_new_namespace(rt, kind):
    seen = rt.container(with_type(kind)).probe()
    assert seen["ns"][TYPES[kind]] != os.readlink(f"/proc/self/ns/{TYPES[kind]}")


@clause("linux:Namespaces-3", "a path is absolute")
def test_a_relative_path(rt):
    refused(rt, lambda config: config["linux"]["namespaces"].append({"type": "cgroup", "path": "proc/self/ns/cgroup"}))


@pytest.fixture
def other(rt):
    """A container whose namespaces can be joined."""
    return rt.container(namespaces("pid", "network", "ipc", "uts", "mount", "cgroup"), SLEEP).up()


@clause("linux:Namespaces-4", "with a path that one is joined")
@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "cgroup"])
def test_a_namespace_that_is_joined(rt, other, kind):
    def join(config):
        kept = [entry for entry in config["linux"]["namespaces"] if entry["type"] != kind]
        config["linux"]["namespaces"] = [*kept, {"type": kind, "path": f"/proc/{other.pid}/ns/{TYPES[kind]}"}]
        del config["hostname"]
    container = rt.container(SLEEP, join).up()
    assert os.readlink(f"/proc/{container.pid}/ns/{TYPES[kind]}") == os.readlink(f"/proc/{other.pid}/ns/{TYPES[kind]}")


@clause("linux:Namespaces-5", "a path of another type is an error")
@pytest.mark.parametrize("path", ["/proc/self/ns/uts", "/dev/null", "/proc/self/ns", "/nothing"])
def test_a_path_of_another_type(rt, path):
    refused(rt, namespaces("pid", "ipc", "uts", "mount", network=path))


@clause("linux:Namespaces-7", "what is not listed is the runtime's")
@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind != "mount"])
def test_a_namespace_that_is_inherited(rt, kind):
    kept = [name for name in ("pid", "network", "ipc", "uts", "mount") if name != kind]
    seen = rt.container(namespaces(*kept), {"hostname": None}).probe()
    assert seen["ns"][TYPES[kind]] == os.readlink(f"/proc/self/ns/{TYPES[kind]}")


@clause("linux:Namespaces-8", "a type twice is an error")
def test_a_type_twice(rt):
    refused(rt, lambda config: config["linux"]["namespaces"].append({"type": "pid"}))


@clause("linux:UserNamespaceMappings-4", "files keep their owners")
def test_a_user_namespace_leaves_the_files_as_they_are(rt):
    container = rt.container(userns(), SLEEP)
    before = {path: (path.lstat().st_uid, path.lstat().st_mode) for path in container.rootfs.rglob("*")}
    container.up()
    assert {path: (path.lstat().st_uid, path.lstat().st_mode) for path in before} == before


# --- devices


@clause("linux:Devices-1", "what is listed is there")
def test_devices_are_there(rt):
    listed = [{"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 3, "gid": 4},
              {"type": "u", "path": "/dev/deep/er", "major": 10, "minor": 229}, {"type": "b", "path": "/dev/disk", "major": 7, "minor": 7},
              {"type": "p", "path": "/dev/pipe", "fileMode": 0o600}]
    seen = rt.container(linux(devices=listed), trying(*("lstat:" + entry["path"] for entry in listed))).probe()
    assert [entry["type"] for entry in seen] == ["char", "char", "block", "fifo"]
    assert [entry["rdev"] for entry in seen[:3]] == ["10:229", "10:229", "7:7"]
    assert (seen[0]["mode"] & 0o7777, seen[0]["uid"], seen[0]["gid"]) == (0o640, 3, 4)


@clause("linux:Devices-4", "another file at the path is an error")
@pytest.mark.parametrize("there", [File("x"), Node("c", 1, 3), Node("p")], ids=["file", "device", "fifo"])
def test_a_path_that_is_taken(rt, there):
    refused(rt, linux(devices=[{"type": "c", "path": "/taken", "major": 10, "minor": 229}]), rootfs={"/taken": there})


@clause("linux:DefaultDevices-1", "null, zero, full, random, urandom, tty, ptmx")
def test_default_devices(rt):
    numbers = {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"}
    seen = rt.container().probe()["dev"]
    assert {name: seen[name]["rdev"] for name in numbers} == numbers
    assert {seen[name]["type"] for name in numbers} == {"char"}
    assert seen["ptmx"]["link"] in ("pts/ptmx", "/dev/pts/ptmx")


@clause("runtime-linux.md#runtimeLinuxDevSymbolicLinks-1", "fd, stdin, stdout, stderr are links")
def test_links_in_dev(rt):
    seen = rt.container().probe()["dev"]
    assert {name: seen[name]["link"] for name in ("fd", "stdin", "stdout", "stderr")} == {
        "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}


RULE = {"type": "c", "major": 10, "minor": 237}  # loop-control: opening it does nothing


@clause("linux:DeviceAllowedlist-1", "in the listed order")
@pytest.mark.parametrize("order, errno", [((False, True), 0), ((True, False), 1)])
def test_the_last_rule_decides(rt, order, errno):
    if not os.path.exists("/dev/loop-control"):
        pytest.skip("this kernel has no loop devices")
    rules = [{"allow": False, "access": "rwm"}, *({**RULE, "allow": allow, "access": "rw"} for allow in order)]
    (entry,) = rt.container(linux(devices=[{**RULE, "path": "/dev/loop-control"}], resources={"devices": rules}),
                            trying("write:/dev/loop-control")).probe()
    assert entry["errno"] in ((1, 13) if errno else (0, 22)), entry  # writing to it is EINVAL, opening it must succeed


# --- cgroups


@clause("linux:CgroupsPath-2", "an absolute path counts from the mount point")
def test_an_absolute_cgroups_path(rt):
    container = rt.container(SLEEP).up()
    assert any(str(container.pid) in (group / "cgroup.procs").read_text().split() for group in groups(container))


@clause("linux:CgroupsPath-3", "the same path is the same place")
def test_the_same_place_again(rt):
    container = rt.container(SLEEP).up()
    first = groups(container)
    container.delete("-f").ok()
    again = rt.container(SLEEP, bundle=container.bundle).up()
    assert first and groups(again) == first


@clause("linux:CgroupsPath-4", "a path that is taken for invalid is an error")
@pytest.mark.parametrize("path", ["/../../outside", "/a/\x00b"])
def test_an_invalid_path(rt, path):
    result = rt.container(linux(cgroupsPath=path)).create()
    assert result.code > 0 or not Path("/outside").exists() and not Path("/sys/fs/outside").exists(), repr(result)


def owners(container):
    return {str(group): (os.stat(group).st_uid, os.stat(group / "cgroup.procs").st_uid) for group in groups(container)}


@clause("linux:CgroupsPath-5", "groups of v1 keep their owner")
@clause("linux:CgroupsPath-6", "without a new cgroup namespace groups keep their owner")
@clause("linux:CgroupsPath-8", "without a writable cgroup mount groups keep their owner")
@pytest.mark.parametrize("kinds, options", [(("cgroup",), ["ro"]), ((), ["rw"])], ids=["read-only", "shared"])
def test_groups_keep_their_owner(rt, kinds, options):
    container = rt.container(SLEEP, namespaces("pid", "network", "ipc", "uts", "mount", *kinds), userns(),
                             add_mounts(mount("/sys/fs/cgroup", "cgroup", "cgroup", ["nosuid", "noexec", "nodev", *options]))).up()
    assert set(owners(container).values()) == {(0, 0)}


@clause("linux:CgroupsPath-7", "with a namespace and a writable mount the container's root owns its group")
@clause("linux:CgroupsPath-9", "only the directory and the files that are for it")
@clause("linux:CgroupsPath-10", "a file of the list that is missing is no failure")
@clause("linux:CgroupsPath-11", "the files of /sys/kernel/cgroup/delegate, or the known three")
@clause("linux:CgroupsPath-12", "no other file changes its owner")
def test_a_group_that_is_delegated(rt):
    if V2 is None:
        pytest.skip("needs a host with cgroup2 only (make test-vm)")
    container = rt.container(SLEEP, namespaces("pid", "network", "ipc", "uts", "mount", "cgroup"), userns(),
                             add_mounts(mount("/sys/fs/cgroup", "cgroup", "cgroup", ["nosuid", "noexec", "nodev", "rw"]))).up()
    (group,) = groups(container)
    delegate = Path("/sys/kernel/cgroup/delegate")
    theirs = delegate.read_text().split() if delegate.exists() else ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]
    assert os.stat(group).st_uid == 100000
    assert {name for name in os.listdir(group) if os.stat(group / name).st_uid == 100000} == {n for n in theirs if (group / n).exists()}


@clause("linux:Memory-3", "checkBeforeUpdate refuses a limit below what is in use")
def test_an_update_below_what_is_in_use(rt):
    container = rt.container(SLEEP, linux(resources={"memory": {"limit": 64 << 20}})).up()
    (rt.base / "resources").write_text('{"memory": {"limit": 4096, "checkBeforeUpdate": true}}')
    assert rt.call("update", "--resources", rt.base / "resources", container.id).code > 0
    assert container.status == "running"


@clause("linux:PIDS-1", "a limit of 0 is a limit of 0")
def test_no_process_beside_the_first(rt):
    forks = {"process": {"args": ["/bin/sh", "-c", "/bin/true; echo forked"]}}
    result = rt.container(forks, linux(resources={"pids": {"limit": 0}})).run()
    assert "forked" not in result.out
    assert "forked" in rt.container(forks, linux(resources={"pids": {"limit": 50}})).run().ok().out


@clause("linux:Unified-1", "the controllers are enabled")
@clause("linux:Unified-2", "unknown files are written")
def test_unified_files(rt):
    if V2 is None or "memory" not in (V2 / "cgroup.controllers").read_text():
        pytest.skip("needs a host with cgroup2 only (make test-vm)")
    container = rt.container(SLEEP, linux(resources={"unified": {"memory.low": "1048576", "pids.max": "77"}})).up()
    assert limit_files(container, "memory.low", "pids.max") == ["1048576", "77"]


@clause("linux:Unified-3", "a controller that is not there is an error")
def test_an_unknown_controller(rt):
    refused(rt, linux(resources={"unified": {"nosuch.max": "1"}}))


@clause("linux:Unified-4", "a v1 property that cgroup2 cannot express is an error")
def test_what_cgroup2_cannot_express(rt):
    if V2 is None:
        pytest.skip("needs a host with cgroup2 only (make test-vm)")
    refused(rt, linux(resources={"network": {"classID": 1}}))


@clause("linux:IntelRdt-2", "without a mounted resctrl intelRdt is an error")
def test_intel_rdt_without_resctrl(rt):
    if " - resctrl " in Path("/proc/self/mountinfo").read_text():
        pytest.skip("this host has a resctrl")
    refused(rt, linux(intelRdt={"closID": "x", "l3CacheSchema": "L3:0=f"}))


# --- paths


@clause("linux:MaskedPaths-1", "masked paths are absolute")
@clause("linux:ReadonlyPaths-1", "read-only paths are absolute")
@pytest.mark.parametrize("name", ["maskedPaths", "readonlyPaths"])
def test_a_relative_restricted_path(rt, name):
    refused(rt, linux(**{name: ["proc/kcore"]}))


@clause("runtime:Create-4", "the properties are applied, but for process")
@clause("runtime:Lifecycle-1", "the environment is that of config.json")
def test_masked_and_read_only_paths(rt):
    seen = rt.container(linux(maskedPaths=["/etc/passwd"], readonlyPaths=["/etc"]), {"hostname": "other"},
                        trying("read:/etc/passwd", "create:/etc/new", "read:/proc/sys/kernel/hostname")).probe()
    assert seen[0].get("data", "") == "" and seen[1]["errno"] == 30 and seen[2]["data"].strip() == "other"
