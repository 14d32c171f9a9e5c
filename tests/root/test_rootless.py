"""Containers of an ordinary user: maps, devices, /sys and /proc, cgroups, state, and how refusals read."""

import fcntl
import json
import os
import pty
import shutil
import socket
import subprocess
import termios
from pathlib import Path

import pytest
from kit.bundle import File, add_mounts, bind, chown_tree, mount
from kit.console import read_terminal
from kit.observe import mount_at, mounts, status
from kit.rootless import BOTH, NAME, OWN, SUBIDS, SUBORDINATE, UID, User, UserRuntime, ids, maps, rootless
from kit.runtime import Runtime, wait_until

from pyrunc.host import idmap
from pyrunc.host.cgroup import v2

SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
TREE = v2.mountpoint()
ORDINARY = ("setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups", "--")
NO_HELPERS = ("env", "PATH=/nowhere")


@pytest.fixture
def rt(pyrunc, user):
    runtime = UserRuntime(pyrunc, user)
    yield runtime
    runtime.close()


def bound_proc(config):
    config["mounts"][0] = bind("/proc", "/proc", "rbind", "nosuid", "noexec", "nodev")


PING = {"linux": {"sysctl": {"net.ipv4.ping_group_range": "0 0"}},
        "process": {"args": ["/bin/cat", "/proc/sys/net/ipv4/ping_group_range"]}}


def without(kind):
    """A config patch: the namespace stays the caller's."""
    def edit(config):
        config["linux"]["namespaces"] = [entry for entry in config["linux"]["namespaces"] if entry["type"] != kind]
    return edit


# --- the whole way

def test_su_spec_rootless_and_run(rt, user):
    bundle = rt.bundle()
    (bundle.path / "config.json").unlink()
    master, slave = pty.openpty()

    def session():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    su = ("nsenter", "-m", "-t", str(user.holder.pid), "su", NAME, "-c",
          f"cd {bundle.path} && {rt.binary} spec --rootless && {rt.binary} --root {rt.root} run {rt.token}")
    running = super(UserRuntime, rt).spawn(wrap=(*su, "--"), root=False, log=False, stdin=slave, stdout=slave, stderr=slave,
                                           preexec=session)
    os.close(slave)
    os.write(master, b"id; cat /proc/self/uid_map; touch /tmp/x; exit 7\r")
    text = read_terminal(master)
    assert "uid=0(root) gid=0(root)" in text and ["0", str(UID), "1"] in [line.split() for line in text.splitlines()], text
    assert "touch: /tmp/x: Read-only file system" in text
    assert running.wait().code == 7
    os.close(master)
    config = json.loads((bundle.path / "config.json").read_text())
    assert config["linux"]["uidMappings"] == OWN and "resources" not in config["linux"]


def test_the_life_of_a_container(rt):
    container = rt.container(SLEEP).up()
    assert container.status == "running"
    seen = container.exec("/bin/probe").ok().json()
    assert seen["uids"] == [0] * 3 and seen["ns"] == {
        kind: os.readlink(f"/proc/{container.pid}/ns/{kind}") for kind in seen["ns"]}
    assert [entry["id"] for entry in rt.call("list", "-f", "json").ok().json()] == [container.id]
    container.kill("KILL").ok()
    container.wait_stopped()
    container.delete().ok()


# --- maps

def test_without_helpers_the_users_own_id_is_root_and_groups_cannot_be_set(rt):
    seen = rt.container().probe(wrap=NO_HELPERS)
    assert seen["uid_map"].split() == ["0", str(UID), "1"] and seen["gid_map"].split() == ["0", str(UID), "1"]
    assert seen["setgroups"].strip() == "deny"


def test_newuidmap_and_newgidmap_write_what_the_user_may_not(rt):
    seen = rt.container(maps(BOTH), {"process": {"user": {"uid": 7, "gid": 8}}}).probe()
    assert [line.split() for line in seen["uid_map"].splitlines()] == [["0", str(UID), "1"], ["1", *map(str, SUBIDS)]]
    assert seen["gid_map"] == seen["uid_map"] and seen["setgroups"].strip() == "allow"
    assert seen["uids"] == [7] * 3 and seen["gids"] == [8] * 3


def test_more_ranges_than_runc_hands_to_newuidmap(rt):
    rows = ids(*[(i, SUBIDS[0] + 2 * i, 1) for i in range(100)])
    assert len(rt.container(maps(rows)).probe()["uid_map"].splitlines()) == 100


def test_a_missing_helper_is_named(rt):
    result = rt.container(maps(SUBORDINATE)).create(wrap=NO_HELPERS).failed("newuidmap", "not in $PATH")
    assert "uidmap" in result.err.splitlines()[1]


def test_helpers_are_looked_up_in_absolute_directories_only(rt):
    container = rt.container(maps(SUBORDINATE))
    evil = container.bundle.path / "newuidmap"
    evil.write_text(f"#!/bin/sh\ntouch {rt.base}/ran\n")
    evil.chmod(0o755)
    container.create(wrap=("env", "PATH=.::bin"), cwd=container.bundle.path).failed("not in $PATH")
    assert not (rt.base / "ran").exists()


def test_what_a_helper_says_is_in_the_error(rt):
    result = rt.container(maps(ids((0, 900000, 10)))).create()
    result.failed("/linux/uidMappings", "newuidmap", "not allowed")
    assert "/etc/subuid" in result.err.splitlines()[1]
    assert rt.ids() == []


def test_a_user_without_subordinate_ids_gets_the_helpers_refusal(pyrunc):
    account = User(subids=False)
    runtime = UserRuntime(pyrunc, account)
    try:
        runtime.container(maps(SUBORDINATE)).create().failed("newuidmap")
        runtime.container().probe()
    finally:
        runtime.close()
        account.close()


def test_files_made_in_a_bind_mount_belong_to_the_mapped_user(rt):
    shared = rt.base / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    for number, (uid, owner) in enumerate(((0, UID), (5, SUBIDS[0] + 4))):
        script = f"echo x >/mnt/{number}"
        rt.container(maps(BOTH), {"process": {"args": ["/bin/sh", "-c", script], "user": {"uid": uid, "gid": uid}}},
                     add_mounts(bind(shared, "/mnt"))).run().ok()
        found = os.stat(shared / str(number))
        assert (found.st_uid, found.st_gid) == (owner, owner)


# --- refusals

@pytest.mark.parametrize("patches, words", [
    ([without("user"), {"linux": {"uidMappings": None, "gidMappings": None}}],
     ["rootless container requires user namespaces"]),
    ([{"linux": {"uidMappings": None}}], ["/linux/namespaces", "mappings"]),
    ([maps(BOTH), {"process": {"user": {"uid": 0, "gid": 0, "additionalGids": [5]}}}],
     ["cannot set any additional groups in a rootless container"]),
    ([maps(ids((1, UID, 1)))], ["no mapping found for uid 0"]),
    ([{"process": {"user": {"uid": 7, "gid": 0}}}], ["/process/user/uid", "cannot set uid to unmapped user in user namespace"]),
    ([add_mounts(mount("/x", "tmpfs", "tmpfs", ["uid=7"]))], ["/mounts/6/options", "cannot specify uid=7 mount option"]),
    ([add_mounts(mount("/x", "tmpfs", "tmpfs", ["gid=7"]))], ["/mounts/6/options", "cannot specify gid=7 mount option"]),
    ([add_mounts(mount("/x", "/tmp", "bind", ["bind", "idmap"]))],
     ["/mounts/6", "id-mapped mounts are not supported for rootless containers"]),
    ([{"process": {"oomScoreAdj": -900}}], ["/process/oomScoreAdj", "permission denied"]),
    ([{"linux": {"devices": [{"type": "c", "path": "/dev/no-such", "major": 1, "minor": 3}]}}],
     ["/linux/devices/0", "/dev/no-such", "no such file or directory"]),
    ([add_mounts(bind("/usr", "/proc"))], ["not of type proc"]),
], ids=lambda value: value[-1][:40] if isinstance(value[0], str) else "")
def test_what_a_user_may_not_have_is_refused_in_one_line(rt, patches, words):
    rt.container(*patches).create().failed(*words)
    assert rt.ids() == []


def test_exec_refuses_additional_groups(rt):
    container = rt.container(maps(BOTH), SLEEP).up()
    container.exec("/bin/true", options=("-g", "5")).failed("cannot set any additional groups in a rootless container", code=255)


def test_an_unreadable_bind_source_is_named(rt):
    secret = rt.base / "secret"
    (secret / "deep").mkdir(parents=True)
    secret.chmod(0o700)
    rt.container(add_mounts(bind(secret / "deep", "/mnt"))).create().failed("/mounts/6", str(secret / "deep"), "permission denied")


# --- what it sees

def test_devices_are_the_hosts_nodes(rt):
    container = rt.container({"linux": {"devices": [
        {"type": "c", "path": "/dev/net/tun", "major": 10, "minor": 200}, {"type": "p", "path": "/dev/pipe"}]}},
        {"process": {"args": ["/bin/sh", "-c", "stat -c '%n %t:%T %F' /dev/null /dev/net/tun /dev/pipe; echo x >/dev/null && head -c 4 /dev/zero"]}})
    lines = container.run().ok().out.splitlines()
    assert lines[:3] == ["/dev/null 1:3 character special file", "/dev/net/tun a:c8 character special file", "/dev/pipe 0:0 fifo"]


def test_a_listed_ptmx_is_the_link_into_the_containers_devpts(rt):
    device = {"type": "c", "path": "/dev/ptmx", "major": 5, "minor": 2}
    container = rt.container({"linux": {"devices": [device]}}, {"process": {"args": ["/bin/sh", "-c", "busybox readlink /dev/ptmx"]}})
    assert container.run().ok().out == "pts/ptmx\n"


@pytest.mark.parametrize("path, words", [
    ("/dev/full", "the host's node of this path is not the device c 1:5"), ("/etc/passwd", "is not the device c 1:5"),
    ("/dev/pyrunc-has-no-host-node", "no such file or directory"),
])
def test_a_device_that_the_host_does_not_have_at_that_path_is_refused(rt, path, words):
    device = {"type": "c", "path": path, "major": 1, "minor": 5}
    result = rt.container({"linux": {"devices": [device]}}).create().failed("/linux/devices/0", words)
    assert "only root of the host" in result.err.splitlines()[1]
    rt.assert_nothing_left()


def test_sys_is_the_hosts_and_read_only_throughout_without_a_network_namespace(rt):
    args = {"process": {"args": ["/bin/probe"]}}
    seen = rt.container(without("network"), args).probe()
    below = [m for m in mounts(seen) if m.point == "/sys" or m.point.startswith("/sys/")]
    assert below[0].type == "sysfs" and all("ro" in m.options for m in below if m.point != "/sys/firmware"), below


def test_a_fresh_sysfs_with_an_own_network_namespace(rt):
    seen = rt.container().probe()
    assert [m.type for m in mounts(seen) if m.point == "/sys"] == ["sysfs"]
    assert not [m for m in mounts(seen) if m.point == "/sys/fs/cgroup"]


def test_a_proc_that_would_reveal_too_much_is_explained(pyrunc):
    account = User(more="mount -t tmpfs none /proc/sys/kernel")
    runtime = UserRuntime(pyrunc, account)
    try:
        result = runtime.container().create().failed("/mounts/0", "proc", "operation not permitted")
        assert "something is mounted over parts of the caller's own /proc" in result.err.splitlines()[1]
    finally:
        runtime.close()
        account.close()


def test_a_proc_of_a_foreign_pid_namespace_is_explained_and_can_be_bound(rt):
    result = rt.container(without("pid")).create().failed("/mounts/0", "operation not permitted")
    assert "pid namespace" in result.err.splitlines()[1]
    container = rt.container(without("pid"), bound_proc)
    seen = container.probe()
    assert mount_at(seen, "/proc").type == "proc" and seen["pid"] > 1


def test_sysctls_are_written_through_the_bound_proc_of_a_shared_pid_namespace(rt):
    assert rt.container(without("pid"), bound_proc, PING).run().ok().out.split() == ["0", "0"]


def test_sysctls_without_any_procfs_to_write_to_are_explained(rt):
    def none(config):
        config["mounts"] = [m for m in config["mounts"] if m["destination"] != "/proc"]
        config["linux"].update(maskedPaths=[], readonlyPaths=[])
    result = rt.container(without("pid"), none, PING).create().failed("a procfs for sysctls and labels")
    assert "rbind /proc" in result.err.splitlines()[1]


def test_clocks_of_a_time_namespace(rt):
    patch = {"linux": {"timeOffsets": {"boottime": {"secs": 7777}}}}
    seen = rt.container(lambda config: config["linux"]["namespaces"].append({"type": "time"}), patch).probe()
    assert ["boottime", "7777", "0"] in [line.split() for line in seen["timens_offsets"].splitlines()]


def test_oom_score_can_be_raised(rt):
    assert rt.container({"process": {"oomScoreAdj": 900}}).probe()["oom_score_adj"].strip() == "900"


def test_a_bundle_in_a_private_home_runs_whatever_is_mapped(rt):
    home = rt.base / "private"
    home.mkdir(mode=0o700)
    os.chown(home, UID, UID)
    container = rt.container(maps(SUBORDINATE))
    container.bundle.path.rename(home / "bundle")
    container.bundle.path = home / "bundle"
    home.chmod(0o700)
    shutil.copytree("/etc/default", home / "data")
    chown_tree(home / "data", UID, UID)
    container.bundle.patch(add_mounts(bind(home / "data", "/mnt"), mount("/tmp", "tmpfs", "tmpfs")))
    os.chown(container.bundle.path / "rootfs" / "mnt", UID, UID)
    seen = container.probe()
    assert seen["uid_map"].split()[1] == str(SUBIDS[0]) and mount_at(seen, "/mnt").options >= {"rw"}


def test_a_files_owner_is_not_changed_by_being_the_containers_stdout(rt):
    path = rt.base / "out"
    path.write_text("")
    with open(path, "w") as out:
        rt.container({"process": {"args": ["/bin/echo", "x"]}}).run("-d", stdout=out).ok()
        wait_until(lambda: path.read_text() == "x\n", what="no output")
    assert os.stat(path).st_uid == 0


def test_createcontainer_and_prestart_hooks_run_as_the_user(rt):
    hook = rt.base / "hook"
    hook.write_text(f"#!/bin/sh\nid -u >>{rt.base}/hooked\n")
    hook.chmod(0o755)
    entry = [{"path": str(hook)}]
    rt.container({"hooks": {"prestart": entry, "createContainer": entry, "poststop": entry}}).probe()
    assert (rt.base / "hooked").read_text().split() == [str(UID), "0", str(UID)]


# --- root and the user's containers

def test_root_enters_a_users_container_without_the_groups_of_the_host(rt, pyrunc):
    """A state root of the user's is refused: what the user may write there would run as root. One that root has taken is not."""
    container = rt.container(SLEEP, {"process": {"rlimits": []}}).up()

    def enter():
        return super(UserRuntime, rt).spawn("exec", container.id, "/bin/probe", wrap=("setpriv", "--groups", "0,4")).wait()
    enter().failed("belongs to another user", code=255)
    taken = (rt.root, container.directory)
    for path in taken:
        os.chown(path, 0, 0)
    try:
        seen = enter().ok().json()
    finally:
        for path in taken:
            os.chown(path, UID, UID)
    assert seen["uids"] == [0] * 3 and seen["groups"] == []


# --- the state root

def test_the_root_in_the_runtime_directory_is_sticky(rt, user):
    xdg = rt.base / "xdg"
    xdg.mkdir(mode=0o700)
    os.chown(xdg, UID, UID)
    container = rt.container(SLEEP)
    env = {"XDG_RUNTIME_DIR": str(xdg)}
    rt.call("create", "--bundle", container.bundle.path, container.id, root=False, env=env).ok()
    try:
        assert os.stat(xdg / "pyrunc").st_mode & 0o7777 == 0o1700
        assert os.stat(xdg / "pyrunc" / container.id).st_mode & 0o7777 == 0o711
    finally:
        rt.call("delete", "-f", container.id, root=False, env=env).ok()
    rt.call("create", "--bundle", container.bundle.path, container.id).ok()
    assert os.stat(rt.root).st_mode & 0o7777 == 0o711


def test_without_a_runtime_directory_the_error_says_where_state_could_go(rt):
    container = rt.container(SLEEP)
    result = rt.call("create", "--bundle", container.bundle.path, container.id, root=False)
    result.failed("/run/pyrunc", "permission denied")
    assert "XDG_RUNTIME_DIR" in result.err
    assert rt.call("list", "-q", root=False).out == ""


# --- cgroups

def test_without_a_right_to_cgroups_a_container_without_limits_goes_on(rt):
    container = rt.container(SLEEP)
    rt.cgroup = TREE
    container.up()
    state = json.loads((container.directory / "state.json").read_text())
    assert state["cgroup"] is None and state["cgroup_paths"] == {}
    for verb, args in (("ps", ()), ("pause", ()), ("events", ("--stats",)), ("update", ("--pids-limit", "9"))):
        rt.call(verb, *args, container.id).failed("cgroup")
    container.exec("/bin/true").ok()


def test_a_container_whose_processes_cannot_be_found_is_warned_of(rt):
    rt.cgroup = TREE
    patch = (without("pid"), lambda config: config["mounts"].__setitem__(0, bind("/proc", "/proc", "rbind")))
    assert "cannot be found" in rt.container(*patch, SLEEP).create().ok().log_text
    assert rt.container(SLEEP).create().ok().log_text == ""


def test_rootless_false_tolerates_nothing(rt):
    rt.cgroup = TREE
    rt.container().create(options=("--rootless", "false")).failed("cgroup", "permission denied")
    rt.container().create(options=("--rootless=true",)).ok()


@pytest.mark.parametrize("patch, words", [
    ({"linux": {"resources": {"pids": {"limit": 10}}}},
     "rootless needs no limits + no cgrouppath when no permission is granted for cgroups"),
    ({"linux": {"cgroupsPath": "/pyrunc-test-no-right/x"}}, "mkdir: permission denied"),
])
def test_limits_and_a_given_path_need_the_right_to_them(rt, patch, words):
    rt.cgroup = TREE
    rt.container(patch).create().failed(words, "permission denied")
    assert rt.ids() == []


@pytest.fixture
def delegated(rt):
    """A directory of the cgroup2 tree that is the user's, with a group for the callers in it (cgroups(7), delegation)."""
    if TREE is None or not os.access(TREE, os.W_OK):
        pytest.skip("needs root and a writable cgroup2 tree")
    top = v2.Cgroup(TREE, f"{rt.token}-delegated")
    v2.Cgroup(TREE, f"{top.relative}/caller").create()
    for group in (top, v2.Cgroup(TREE, f"{top.relative}/caller")):
        group.chown(UID)
    yield top
    rt.cgroup = None  # the rest is deleted from elsewhere
    top.kill()
    top.remove()


def test_a_delegated_directory_has_the_container_its_processes_and_its_freezer(rt, delegated):
    rt.cgroup = f"{delegated.path}/caller"
    for where in ({"linux": {"cgroupsPath": f"/{delegated.relative}/box"}}, {}):  # by path, and beside the caller's own
        container = rt.container(SLEEP, where).up()
        group = json.loads((container.directory / "state.json").read_text())["cgroup_paths"][""]
        assert group.startswith(delegated.path) and os.stat(group).st_uid == UID
        assert rt.call("ps", "-f", "json", container.id).ok().json() == [container.pid]
        rt.call("pause", container.id).ok()
        assert container.status == "paused"
        rt.call("resume", container.id).ok()
        seen = container.exec("/bin/cat", "/proc/self/cgroup").ok().out
        assert seen == Path(f"/proc/{container.pid}/cgroup").read_text()
        container.delete("-f").ok()
        assert not os.path.exists(group)


def test_limits_hold_in_a_delegated_directory(rt, delegated):
    if "pids" not in delegated.read("cgroup.controllers"):
        pytest.skip("the cgroup2 tree of this host has no pids controller")
    rt.cgroup = f"{delegated.path}/caller"
    container = rt.container(SLEEP, {"linux": {"resources": {"pids": {"limit": 3}}}}).up()
    group = json.loads((container.directory / "state.json").read_text())["cgroup_paths"][""]
    assert Path(f"{group}/pids.max").read_text() == "3\n"
    rt.call("update", "--pids-limit", "5", container.id).ok()
    assert Path(f"{group}/pids.max").read_text() == "5\n"


def test_a_group_that_can_be_made_but_not_entered_is_an_error_with_a_cure(rt, delegated):
    rt.cgroup = TREE
    result = rt.container({"linux": {"cgroupsPath": f"/{delegated.relative}/box"}}).create()
    result.failed("clone3 into it: permission denied")
    assert "common ancestor" in result.err and rt.ids() == []
    assert not os.path.exists(f"{delegated.path}/box")


def test_a_group_that_cannot_be_entered_is_done_without_when_nothing_is_asked_of_it(rt, delegated):
    os.chown(f"{delegated.path}/cgroup.procs", 0, -1)
    rt.cgroup = f"{delegated.path}/caller"
    container = rt.container(SLEEP).up()
    assert json.loads((container.directory / "state.json").read_text())["cgroup"] is None
    assert sorted(name for name in os.listdir(delegated.path) if (Path(delegated.path) / name).is_dir()) == ["caller"]


@pytest.mark.parametrize("limited", [False, True])
def test_exec_leaves_the_containers_group_only_when_it_has_no_limits(rt, delegated, limited):
    if limited and "pids" not in delegated.read("cgroup.controllers"):
        pytest.skip("the cgroup2 tree of this host has no pids controller")
    rt.cgroup = f"{delegated.path}/caller"
    limits = {"linux": {"resources": {"pids": {"limit": 30}}}} if limited else {}
    container = rt.container(SLEEP, limits).up()
    rt.cgroup = TREE
    result = container.exec("/bin/cat", "/proc/self/cgroup")
    if limited:
        result.failed("clone3 into it: permission denied", code=255)
    else:
        assert container.id not in result.ok().out
    rt.cgroup = f"{delegated.path}/caller"
    container.delete("-f").ok()


@pytest.fixture(scope="module")
def tester():
    """The guest's user, with a systemd of the user's own, which delegates (tests/vm)."""
    if not os.path.isdir("/run/systemd/system") or subprocess.run(["id", "tester"], capture_output=True, check=False).returncode:
        pytest.skip("no systemd, or no user tester whose processes it manages: make test-vm")
    subprocess.run(["loginctl", "enable-linger", "tester"], check=True)
    wait_until(lambda: os.path.exists("/run/user/1000/bus"), timeout=60, what="no bus for tester")
    return ("setpriv", "--reuid", "1000", "--regid", "1000", "--init-groups", "--")


def test_a_scope_of_the_users_systemd_has_limits_beside_it(pyrunc, tester):
    runtime = Runtime(pyrunc)
    env = {"XDG_RUNTIME_DIR": "/run/user/1000", "HOME": "/home/tester", "USER": "tester"}
    scope = (*tester, "systemd-run", "--user", "--scope", "-q", "-p", "Delegate=yes", "--")
    try:
        for path in (runtime.base, runtime.root):
            os.chown(path, 1000, 1000)
        limits = {"linux": {"resources": {"pids": {"limit": 7}, "memory": {"limit": 32 << 20}}}}
        container = runtime.container(rootless, maps(ids((0, 1000, 1), (1, 100000, 65536))), SLEEP, limits)
        chown_tree(container.bundle.path, 1000, 1000)
        container.create(wrap=scope, env=env).ok()
        state = json.loads((container.directory / "state.json").read_text())
        group = Path(state["cgroup_paths"][""])
        assert "user@1000.service" in str(group) and (group / "pids.max").read_text() == "7\n"
        assert (group / "memory.max").read_text() == f"{32 << 20}\n"
        assert (group / "cgroup.procs").read_text().split() == [str(state["init_process_pid"])]
        runtime.call("start", container.id, wrap=tester, env=env).ok()
        assert container.exec("/bin/cat", "/proc/self/cgroup", wrap=scope, env=env).ok().out.strip().endswith(group.name)
        runtime.call("update", "--pids-limit", "9", container.id, wrap=tester, env=env).ok()
        assert (group / "pids.max").read_text() == "9\n"
        runtime.call("delete", "-f", container.id, wrap=tester, env=env).ok()
        assert not group.exists()
    finally:
        runtime.close()


def test_a_bind_source_that_an_earlier_mount_brings(rt):
    container = rt.container(add_mounts(mount("/tmp", "tmpfs", "tmpfs", ["tmpcopyup"])), rootfs={"/tmp/copied": File("c")})
    container.bundle.patch(add_mounts(bind(container.rootfs / "tmp", "/x", "ro")))
    seen = container.probe()
    assert mount_at(seen, "/x").type == "tmpfs" and "ro" in mount_at(seen, "/x").options


# --- root of a user namespace, which is how rootless Podman calls

INNER = ("unshare", "--user", "--map-auto", "--map-root-user", "--")


def as_root_of_a_namespace(config):
    """Podman's config: the user namespace is its own, no new one is asked for."""
    without("user")(config)
    for key in ("uidMappings", "gidMappings"):
        config["linux"].pop(key)


def test_root_of_a_user_namespace_runs_a_container_without_a_new_one(rt):
    seen = rt.container(as_root_of_a_namespace, {"process": {"user": {"uid": 7, "gid": 8, "additionalGids": [9]}}}).probe(wrap=INNER)
    assert seen["uids"] == [7] * 3 and seen["groups"] == [9]
    assert ["0", str(UID), "1"] in [line.split() for line in seen["uid_map"].splitlines()]
    assert seen["dev"]["null"]["uid"] == 65534 and mount_at(seen, "/dev/null").type == "devtmpfs"
    assert status(seen)["CapEff"] == "0" * 16


@pytest.mark.parametrize("row", [(0, 1, 1000), (0, 0, 1)])
def test_root_of_a_user_namespace_makes_another_below_it(rt, row):
    seen = rt.container(maps(ids(row))).probe(wrap=INNER)
    assert seen["uids"] == [0] * 3 and [line.split()[0::2] for line in seen["uid_map"].splitlines()] == [["0", str(row[2])]]
    assert seen["groups"] == [] and seen["setgroups"] == "allow\n"


def test_root_of_a_user_namespace_keeps_its_state_below_the_runtime_directory(rt):
    xdg = rt.base / "xdg"
    xdg.mkdir(mode=0o700)
    os.chown(xdg, UID, UID)
    container = rt.container(as_root_of_a_namespace, SLEEP)
    env = {"XDG_RUNTIME_DIR": str(xdg)}
    rt.call("create", "--bundle", container.bundle.path, container.id, root=False, wrap=INNER, env=env).ok()
    assert (xdg / "pyrunc" / container.id).is_dir()
    rt.call("delete", "-f", container.id, root=False, wrap=INNER, env=env).ok()


# --- what a host may forbid

def test_a_host_without_user_namespaces_is_told_from_other_failures(rt):
    forbid = (*INNER[:-1], "sh", "-c", 'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"', "sh")
    result = rt.container(maps(ids((0, 1, 1000)))).create(wrap=forbid).failed("/linux/namespaces", "unshare")
    assert "user.max_user_namespaces=0" in result.err.splitlines()[1]


def test_debians_knob_is_named(rt, tester):
    knob = Path("/proc/sys/kernel/unprivileged_userns_clone")
    if not knob.exists():
        pytest.skip("not a kernel of Debian's")
    knob.write_text("0")
    try:
        result = rt.container().create().failed("/linux/namespaces", "operation not permitted")
    finally:
        knob.write_text("1")
    assert "kernel.unprivileged_userns_clone=0" in result.err.splitlines()[1]


def test_a_host_without_executable_memfds(rt):
    """vm.memfd_noexec is a pid namespace's: init is then a file without a name, where one may be made and executed."""
    inside = ("unshare", "--pid", "--fork", "--mount", "--mount-proc", "sh", "-c",
              'echo 2 >/proc/sys/vm/memfd_noexec; exec "$@"', "sh")
    if not os.path.exists("/proc/sys/vm/memfd_noexec"):
        pytest.skip("Linux 6.3 or newer is needed")
    container = rt.container()
    argv = ("run", "--bundle", container.bundle.path, container.id)
    for wrap, options in ((inside, ("--root", str(rt.base / "of-root"))), ((*inside, *ORDINARY), ())):  # a user's is not for root
        assert super(UserRuntime, rt).spawn(*argv, wrap=wrap, options=options).wait().ok().json()["pid"] == 1


def test_each_knob_that_forbids_user_namespaces_has_its_cure(tmp_path, monkeypatch):
    path = tmp_path / "knob"
    for name, value, cure in idmap.KNOBS:
        monkeypatch.setattr(idmap, "KNOBS", [(str(path), value, cure)])
        for text, expected in ((value + b"\n", cure), (b"7\n", None)):
            path.write_bytes(text)
            found = idmap.forbidden()
            assert (found is None) == (expected is None) and (expected is None or expected in found)
        assert name.startswith("/proc/sys/")


def test_a_rootfs_that_is_not_the_users_is_read_all_the_same(rt):
    container = rt.container({"process": {"args": ["/bin/cat", "/secret"]}}, rootfs={"/secret": "open"})
    chown_tree(container.rootfs, 0, 0)
    assert container.run().ok().out == "open"
    (container.rootfs / "secret").chmod(0o600)
    assert "denied" in container.run().err


def test_file_modes_of_a_foreign_owner_hold(rt):
    container = rt.container(maps(BOTH), {"process": {"args": ["/bin/cat", "/secret"]}}, rootfs={"/secret": File("x", 0o600, UID, UID)})
    assert container.run().ok().out == "x"


def test_the_listener_of_a_filter_that_asks_about_sendmsg_reaches_its_agent(rt):
    path = rt.base / "agent.sock"
    agent = socket.socket(socket.AF_UNIX)
    agent.bind(str(path))
    path.chmod(0o666)
    agent.listen()
    agent.settimeout(20)
    rt.container({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(path), "syscalls": [
        {"names": ["sendmsg", "recvmsg"], "action": "SCMP_ACT_NOTIFY"}]}}}, {"process": {"args": ["/bin/true"]}}).run().ok()
    peer, _ = agent.accept()
    _, fds, _, _ = socket.recv_fds(peer, 1 << 16, 4)
    assert os.readlink(f"/proc/self/fd/{fds[0]}") == "anon_inode:seccomp notify"
