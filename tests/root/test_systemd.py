"""--systemd-cgroup against a real systemd: what a scope says of itself is what runc's says."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from kit import systemd
from kit.bundle import chown_tree, userns
from kit.runtime import wait_until
from kit.systemd import Systemd, UsersSystemd, group, show, systemctl, unit_of

pytestmark = pytest.mark.skipif(systemd.absent() is not None, reason=str(systemd.absent()))


@pytest.fixture
def sd(pyrunc):
    runtime = Systemd(pyrunc)
    yield runtime
    runtime.close()


def resources(**members):
    return {"linux": {"resources": members}}


def annotations(**properties):
    return {"annotations": {f"org.systemd.property.{name}": value for name, value in properties.items()}}


def shell(script):
    return {"process": {"args": ["sh", "-c", script]}}


def at(path):
    return {"linux": {"cgroupsPath": path}}


SLEEP = shell("sleep 100")


# --- what the unit is


CASES = {
    "nothing": {},
    "memory": resources(memory={"limit": 64 << 20, "swap": 128 << 20, "reservation": 32 << 20}),
    "memory unlimited": resources(memory={"limit": -1}),
    "swap unlimited": resources(memory={"limit": 64 << 20, "swap": -1}),
    "cpu": resources(cpu={"shares": 512, "quota": 50000, "period": 100000}),
    "part of a percent": resources(cpu={"quota": 50500, "period": 100000}),
    "quota alone": resources(cpu={"quota": 30000}),
    "quota unlimited": resources(cpu={"quota": -1}),
    "period alone": resources(cpu={"period": 50000}),
    "idle": resources(cpu={"idle": 1}),
    "cpuset": resources(cpu={"cpus": "0-1", "mems": "0"}),
    "pids": resources(pids={"limit": 77}),
    "pids unlimited": resources(pids={"limit": -1}),
    "block io": resources(blockIO={"weight": 50}),
    "unified": resources(unified={"memory.high": "50000000", "memory.low": "1048576", "memory.min": "4096",
                                  "memory.max": "60000000", "memory.swap.max": "max", "pids.max": "33", "cpu.weight": "50",
                                  "cpu.max": "20000 50000", "cpuset.cpus": "0", "cpuset.mems": "0"}),
    "everything allowed": resources(devices=[{"allow": True, "access": "rwm"}]),
    "devices": resources(devices=[
        {"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
        {"allow": True, "type": "b", "major": 7, "access": "r"}, {"allow": True, "type": "c", "minor": 5, "access": "r"}]),
    "a slice below a slice": at("pyrunctest-deep.slice:pt:NAME"),
    "the root slice": at("-.slice:pt:NAME"),
    "the default slice": at(":pt:NAME"),
    "no prefix": at("system.slice::NAME"),
    "annotations": annotations(TimeoutStopSec="1.5", CollectMode="'inactive-or-failed'", After="['basic.target']",
                               KillSignal="int32 2", DefaultDependencies="true", RuntimeMaxUSec="uint64 123456789"),
}
# Ours are given with the start of the unit, so there are no files of later changes.
OURS = {"DropInPaths", "NeedDaemonReload"}
# runc 1.1.5: shares by the older formula; names of /proc/devices for majors; no idle group and no OOMPolicy known to it.
OLD = {"CPUWeight", "DeviceAllow"}


def peers():
    return {name: path for name, path in (("runc 1.1", shutil.which("runc")), ("runc new", os.environ.get("RUNC_NEW")))
            if path and os.path.exists(path)}


@pytest.mark.parametrize("case", CASES)
def test_a_scope_says_what_runcs_says_property_by_property(sd, pyrunc, case):
    name = f"{sd.token}-0"
    patch = json.loads(json.dumps(CASES[case]).replace("NAME", name))
    place = {} if "cgroupsPath" in patch.get("linux", {}) else at(f"system.slice:pt:{name}")
    ours = shown(sd, patch, place)
    assert ours["ActiveState"] == "active" and ours["Delegate"] == "yes"
    assert peers(), "no runc to compare with"
    for peer, binary in peers().items():
        other = Systemd(binary)
        try:
            theirs = shown(other, patch, place)
        finally:
            other.close()
        allowed = OURS | (OLD if peer == "runc 1.1" else set())
        differing = {key: (ours.get(key), theirs.get(key)) for key in ours.keys() | theirs.keys()
                     if ours.get(key) != theirs.get(key) and key not in allowed}
        assert not differing, peer


def shown(runtime, *patches):
    box = runtime.container(SLEEP, {"ociVersion": "1.0.2"}, *patches)
    box.create().ok()
    try:
        return show(unit_of(box))
    finally:
        box.delete("-f").ok()


def test_the_process_is_in_the_scope_itself(sd):
    box = sd.container(SLEEP).up()
    assert Path(f"/proc/{box.pid}/cgroup").read_text().strip() == f"0::/system.slice/{unit_of(box)}"
    assert json.loads((box.directory / "state.json").read_text())["cgroup_paths"] == {"": str(group(unit_of(box)))}


def test_without_a_cgroups_path_the_scope_has_the_containers_name(sd):
    box = sd.container(SLEEP, {"linux": {"cgroupsPath": None}}).up()
    assert Path(f"/proc/{box.pid}/cgroup").read_text().strip() == f"0::/system.slice/pyrunc-{box.id}.scope"


def test_a_cgroup_namespace_is_made_inside_the_scope(sd):
    box = sd.container(shell("cat /proc/self/cgroup"), lambda config: config["linux"]["namespaces"].append({"type": "cgroup"}))
    assert box.run().ok().out == "0::/\n"


def test_the_limits_are_in_the_files_too_also_those_that_systemd_does_not_know(sd):
    box = sd.container(resources(cpu={"quota": 50500, "period": 100000, "burst": 1000}, blockIO={"weight": 50},
                                 unified={"memory.oom.group": "1"}), SLEEP).up()
    files = group(unit_of(box))
    assert (files / "cpu.max").read_text() == "50500 100000\n"
    assert (files / "cpu.max.burst").read_text() == "1000\n"
    assert (files / "memory.oom.group").read_text() == "1\n"
    weights = [(files / file).read_text() for file in ("io.bfq.weight", "io.weight") if (files / file).exists()]
    assert "default 50\n" in weights or "default 405\n" in weights


def test_a_denied_device_is_denied_and_an_allowed_one_allowed_also_after_a_reload(sd):
    look = shell("while :; do cat /dev/kmsg2 >/dev/null 2>&1 && echo open || echo denied; echo zero >/dev/null && echo null; sleep 0.1; done")
    box = sd.container({"linux": {"devices": [{"path": "/dev/kmsg2", "type": "b", "major": 98, "minor": 16}]}}, look).up()
    wait_until(lambda: len(box.output().split()) > 4)
    systemctl("daemon-reload")
    before = len(box.output().split())
    wait_until(lambda: len(box.output().split()) > before + 4)
    assert set(box.output().split()) == {"denied", "null"}


def test_a_container_that_may_write_to_its_group_owns_it(sd):
    def patch(config):
        userns()(config)
        config["linux"]["namespaces"].append({"type": "cgroup"})
        config["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw", "nosuid"]})
    box = sd.container(shell("mkdir /sys/fs/cgroup/below && echo made; sleep 100"), patch)
    chown_tree(box.rootfs, 100000, 100000)
    box.up()
    wait_until(box.output)
    assert box.output() == "made\n" and os.stat(group(unit_of(box))).st_uid == 100000
    assert os.stat(group(unit_of(box)).parent).st_uid == 0


def test_explain_prints_the_unit_as_this_systemd_would_get_it(sd):
    box = sd.container(resources(unified={"memory.oom.group": "1"}))
    out = sd.call("explain", "--bundle", box.bundle.path).ok().out
    assert f'bus=system "{unit_of(box)}"' in out and 'PROPERTY     "Slice" "s" value=system.slice' in out
    sd.assert_nothing_left()


def test_a_slice_can_be_the_unit_and_is_gone_after_delete(sd):
    unit = f"{sd.token.replace('-', '')}.slice"
    box = sd.container(resources(pids={"limit": 20}), SLEEP, at(f"system.slice:pt:{unit}")).up()
    assert Path(f"/proc/{box.pid}/cgroup").read_text().strip().endswith(unit)
    assert show(unit)["TasksMax"] == "20" and show(unit)["ActiveState"] == "active"
    box.exec("true").ok()
    box.delete("-f").ok()
    assert unit not in systemctl("list-units", "--all", "*.slice")


@pytest.mark.parametrize("limit", [{"pids": {"limit": 1}}, {"unified": {"pids.max": "1"}}], ids=["pids", "unified"])
@pytest.mark.parametrize("patches", [(), (userns(),)], ids=["born", "first process"])
def test_one_process_and_no_more(sd, limit, patches):
    """A first process that forks init needs room for two until it has: systemd's property leaves it, the file then does not."""
    box = sd.container(resources(**limit), SLEEP, *patches)
    if patches:
        chown_tree(box.rootfs, 100000, 100000)
    box.up()
    unit = unit_of(box)
    assert (Path(group(unit)) / "pids.max").read_text() == "1\n" and show(unit)["TasksMax"] == ("2" if patches else "1")
    sd.call("update", "--memory", "64m", "--memory-swap", "-1", "--pids-limit", "1", box.id).ok()
    assert (Path(group(unit)) / "pids.max").read_text() == "1\n" and show(unit)["TasksMax"] == "1"


# --- the verbs


def test_kill_pause_exec_ps_and_delete_need_no_option(sd):
    box = sd.container(SLEEP).up()
    assert "sleep" in sd.call("ps", box.id).ok().out
    box.exec("true").ok()
    out = box.exec("cat", "/proc/self/cgroup").ok().out
    assert out.strip().endswith(unit_of(box))
    sd.call("pause", box.id).ok()
    assert box.status == "paused"
    sd.call("resume", box.id).ok()
    box.kill("KILL").ok()
    box.wait_stopped()
    assert box.status == "stopped"
    box.delete().ok()
    sd.assert_nothing_left()


def test_an_exec_is_born_in_the_scope_and_follows_into_a_group_below(sd):
    box = sd.container(SLEEP).up()
    below = group(unit_of(box)) / "below"
    below.mkdir()
    out = box.exec("cat", "/proc/self/cgroup", options=("--cgroup", "below")).ok().out
    assert out.strip().endswith(f"{unit_of(box)}/below")


def test_a_run_in_the_foreground_leaves_no_unit(sd):
    box = sd.container(shell("exit 7"))
    assert box.run().code == 7
    sd.assert_nothing_left()


def test_one_that_is_killed_for_want_of_memory_says_so(sd):
    for _ in range(5):
        box = sd.container(resources(memory={"limit": 16 << 20, "swap": 16 << 20}),
                           shell("sleep 0.2; exec dd if=/dev/zero of=/dev/null bs=64M count=1"))
        assert box.run("--keep").code == 137
        record = box.state().ok().json()["exit"]
        assert record["oom_killed"] is True and record["signal"] == 9
        box.delete().ok()


def test_one_that_just_ends_was_not_killed_or_it_is_not_said(sd):
    box = sd.container(shell("exit 3"))
    box.run("--keep")
    record = box.state().ok().json()["exit"]
    assert record["code"] == 3 and not record.get("oom_killed")


def test_update_changes_the_units_properties_and_the_files(sd):
    box = sd.container(resources(memory={"limit": 64 << 20}, blockIO={"weight": 50}, unified={"memory.oom.group": "1"}), SLEEP).up()
    sd.call("update", "--memory", "32m", "--memory-swap", "48m", "--cpu-quota", "20500", "--cpu-share", "512", "--pids-limit", "9",
            "--cpuset-cpus", "0", box.id).ok()
    now, files = show(unit_of(box)), group(unit_of(box))
    assert {key: now[key] for key in ("MemoryMax", "MemorySwapMax", "CPUQuotaPerSecUSec", "CPUWeight", "TasksMax", "AllowedCPUs")} == {
        "MemoryMax": str(32 << 20), "MemorySwapMax": str(16 << 20), "CPUQuotaPerSecUSec": "210ms", "CPUWeight": "59",
        "TasksMax": "9", "AllowedCPUs": "0"}
    assert (files / "cpu.max").read_text() == "20500 100000\n"
    assert (files / "memory.max").read_text() == f"{32 << 20}\n"
    assert (files / "memory.oom.group").read_text() == "1\n"  # systemd has reset it meanwhile


def test_a_failing_update_leaves_properties_and_files_as_they_were(sd):
    box = sd.container(resources(memory={"limit": 64 << 20}, cpu={"quota": 50500, "period": 100000, "shares": 512},
                                 blockIO={"weight": 50}, unified={"memory.oom.group": "1"}), SLEEP).up()
    unit, state = unit_of(box), (box.directory / "state.json").read_text()
    before, files = show(unit), everything(group(unit))
    # the last of the writes is refused by the kernel, when systemd has already taken all of them
    sd.call("update", "--memory", "32m", "--cpu-quota", "20000", "--pids-limit", "7", "--cpuset-cpus", "4000", box.id).failed(
        "/linux/resources/cpu/cpus", "cpuset.cpus", '"4000"')
    after = show(unit)
    assert everything(group(unit)) == files
    assert {key: (before[key], after[key]) for key in before if before[key] != after.get(key) and key not in OURS} == {}
    assert (box.directory / "state.json").read_text() == state


def everything(directory):
    kept = ("cpu.", "memory.", "pids.", "io.", "cpuset.")
    moving = ("stat", "pressure", "current", "events", "local", "peak", "reclaim", "effective", "numa_stat")
    return {file.name: file.read_text() for file in directory.iterdir()
            if file.name.startswith(kept) and not file.name.endswith(moving) and os.access(file, os.R_OK) and file.stat().st_mode & 0o400}


# --- what is refused, and what is left of it: nothing


@pytest.mark.parametrize("path, words", [
    ("/a/b", 'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/a/b" instead'),
    ("a--b.slice:p:n", "invalid slice name: a--b.slice"),
    ("a:p:n", "invalid slice name: a"),
    ("system.slice:p:a/b", "cannot be the name of a systemd unit"),
    ("system.slice:p:a b", "cannot be the name of a systemd unit"),
])
def test_a_bad_cgroups_path(sd, path, words):
    sd.container(at(path)).create().failed(words)


@pytest.mark.parametrize("name, value, words", [
    ("ExecStopPost", "['/bin/sh']", "the unit property ExecStopPost cannot be set by an annotation"),
    ("OnFailure", "['reboot.target']", "cannot be set by an annotation"),
    ("Slice", "'machine.slice'", "cannot be set by an annotation"),
    ("MemoryHigh", "'much'", "value parse error: is of type s, not t"),
    ("TimeoutStopSec", "true", "value parse error: not a number"),
    ("ab", "1", "name incorrect: too short"),
    ("Memory.High", "1", "name incorrect: contains non-alphabetic character"),
    ("CollectMode", "'nosuch'", "unable to start unit"),
])
def test_an_annotation_that_is_no_property(sd, name, value, words):
    sd.container(annotations(**{name: value})).create().failed(words)
    sd.assert_nothing_left()


def test_a_limit_that_the_kernel_refuses_stops_the_unit_again(sd):
    sd.container(resources(cpu={"cpus": "4000"})).create().failed("/linux/resources/cpu/cpus", '"4000"')
    sd.assert_nothing_left()


def test_a_process_that_cannot_be_executed_leaves_nothing(sd):
    sd.container({"process": {"args": ["/nosuch"]}}).create().failed("no such file or directory")
    sd.assert_nothing_left()


def test_a_unit_that_is_there_is_refused_and_goes_on(sd):
    box = sd.container(SLEEP).up()
    other = sd.container(at(box.bundle.config["linux"]["cgroupsPath"]))
    other.create().failed(f"Unit {unit_of(box)}", "already exists")
    assert box.status == "running" and show(unit_of(box))["ActiveState"] == "active"
    other.delete("-f").ok()
    assert box.status == "running"


def test_a_group_somebody_lives_in_is_refused(sd):
    name = f"{sd.token}-x"
    directory = systemd.CGROUPS / f"system.slice/pt-{name}.scope"
    directory.mkdir()
    sleeper = subprocess.Popen(["sleep", "100"])
    try:
        (directory / "cgroup.procs").write_text(str(sleeper.pid))
        sd.container(at(f"system.slice:pt:{name}")).create().failed("container's cgroup is not empty")
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()
        wait_until(lambda: not (directory / "cgroup.procs").read_text())
        directory.rmdir()


def test_a_unit_that_does_not_start_is_given_up(sd):
    """It waits for its turn behind a service that takes long to start; when we have gone, it does not start any more."""
    slow = f"{sd.token}-slow.service"
    subprocess.run(["systemd-run", "-q", "--no-block", "--unit", slow, "-p", "Type=oneshot", "sleep", "100"], check=True)
    box = sd.container(annotations(After=f"['{slow}']"))
    box.create(timeout=90).failed(f"Timed out while waiting for systemd to create {unit_of(box)}")
    systemctl("stop", slow)
    systemctl("reset-failed", slow)
    sd.assert_nothing_left()


def test_a_unit_that_has_failed_under_the_name_is_reset(sd):
    box = sd.container(SLEEP)
    unit = unit_of(box)
    # a scope that runs out of time fails, and is kept
    subprocess.run(["systemd-run", "--scope", "-q", "--unit", unit, "-p", "RuntimeMaxSec=0.5", "sleep", "5"], check=False, timeout=30)
    wait_until(lambda: show(unit)["ActiveState"] == "failed")
    box.up()
    assert show(unit)["ActiveState"] == "active"


# --- a runtime that is killed


@pytest.mark.parametrize("call", [1, 5, 9, *range(12, 29, 2)])
def test_what_a_killed_create_leaves_delete_takes_away(sd, call):
    """SIGKILL at the n-th message to the bus, from it or init, or write to the group."""
    if not shutil.which("strace"):
        pytest.skip("no strace")
    box = sd.container(resources(pids={"limit": 20}), SLEEP)
    trace = ("strace", "-qq", "-o", "/dev/null", "-e", "trace=sendmsg,recvmsg,write",
             "-e", f"inject=sendmsg,recvmsg,write:signal=SIGKILL:when={call}")
    code = box.create(wrap=trace).code
    assert code in ((-9, 137) if call < 24 else (-9, 137, 0)), code
    box.delete("-f").ok()
    sd.assert_nothing_left()


def test_delete_stops_the_unit_of_one_that_was_killed_from_outside(sd):
    box = sd.container(SLEEP).up()
    systemctl("kill", "-s", "KILL", unit_of(box))
    box.wait_stopped()
    assert box.status == "stopped"
    box.delete().ok()
    sd.assert_nothing_left()


def test_a_unit_that_systemd_stops_ends_the_container(sd):
    box = sd.container(shell("trap 'exit 0' TERM; while :; do sleep 0.05; done")).up()
    systemctl("stop", unit_of(box))
    assert box.status == "stopped"
    box.delete().ok()


# --- the bus


def hidden(tmp_path, *sockets):
    """Wraps a call: in its own mount namespace these sockets are something else (an empty file, or what is given)."""
    lines = [f"mount --bind {what} {socket}" for socket, what in sockets]
    return ("unshare", "-m", "sh", "-c", " && ".join([*lines, 'exec "$@"']), "sh")


SOCKETS = ("/run/dbus/system_bus_socket", "/run/systemd/private")


def test_without_the_message_bus_root_asks_pid_1_itself(sd, tmp_path):
    (tmp_path / "no").write_text("")
    box = sd.container(SLEEP)
    box.create(wrap=hidden(tmp_path, (SOCKETS[0], tmp_path / "no"))).ok()
    assert show(unit_of(box))["ActiveState"] == "active"
    box.delete("-f", wrap=hidden(tmp_path, (SOCKETS[0], tmp_path / "no"))).ok()
    sd.assert_nothing_left()


def test_without_any_socket_it_says_so(sd, tmp_path):
    (tmp_path / "no").write_text("")
    box = sd.container(SLEEP)
    box.create(wrap=hidden(tmp_path, *[(socket, tmp_path / "no") for socket in SOCKETS])).failed("failed to connect to dbus (hint: ")
    sd.assert_nothing_left()


def test_a_bus_that_says_nothing_is_given_up_in_seconds(sd, tmp_path):
    """It listens and never answers."""
    path = tmp_path / "mute"
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        mute.listen(8)
        started = time.monotonic()
        sd.container(SLEEP).create(wrap=hidden(tmp_path, *[(name, path) for name in SOCKETS])).failed("failed to connect to dbus")
        assert time.monotonic() - started < 15
    sd.assert_nothing_left()


def test_a_bus_without_systemd_behind_it_is_refused_at_once(sd, tmp_path):
    """A message bus that knows nobody of that name, and starts nobody."""
    address = tmp_path / "bus"
    config = tmp_path / "bus.conf"
    config.write_text(f'<busconfig><listen>unix:path={address}</listen><auth>EXTERNAL</auth>'
                      '<policy context="default"><allow user="*"/><allow send_destination="*" eavesdrop="true"/>'
                      '<allow eavesdrop="true"/><allow own="*"/></policy></busconfig>')
    (tmp_path / "no").write_text("")
    daemon = subprocess.Popen(["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile"])
    try:
        wait_until(address.exists)
        started = time.monotonic()
        sd.container(SLEEP).create(wrap=hidden(tmp_path, (SOCKETS[0], address), (SOCKETS[1], tmp_path / "no"))).failed(
            "failed to connect to dbus")
        assert time.monotonic() - started < 15
    finally:
        daemon.terminate()
        daemon.wait()
    sd.assert_nothing_left()


def test_without_systemd_the_error_is_runcs(sd, tmp_path):
    (tmp_path / "empty").mkdir()
    box = sd.container(SLEEP)
    box.create(wrap=hidden(tmp_path, ("/run/systemd", tmp_path / "empty"))).failed(
        "systemd not running on this host, cannot use systemd cgroups manager")


def test_delete_without_a_bus_warns_and_takes_the_rest_away(sd, tmp_path):
    (tmp_path / "no").write_text("")
    box = sd.container(SLEEP).up()
    result = box.delete("-f", wrap=hidden(tmp_path, *[(socket, tmp_path / "no") for socket in SOCKETS])).ok()
    assert "may be left" in result.err + result.log_text
    sd.assert_nothing_left()


# --- a user's own systemd


@pytest.fixture
def user(pyrunc):
    runtime = UsersSystemd(pyrunc)
    yield runtime
    runtime.close()


def users_group(user, box):
    return systemd.CGROUPS / user.slice / "user.slice" / unit_of(box)


def test_a_users_container_is_a_scope_of_his_manager(user):
    box = user.container(resources(memory={"limit": 64 << 20}, pids={"limit": 20}, cpu={"quota": 50500, "period": 100000}), SLEEP).up()
    files = users_group(user, box)
    assert Path(f"/proc/{box.pid}/cgroup").read_text().strip() == f"0::/{files.relative_to(systemd.CGROUPS)}"
    assert (files / "memory.max").read_text() == f"{64 << 20}\n" and (files / "pids.max").read_text() == "20\n"
    assert (files / "cpu.max").read_text() == "50500 100000\n"
    shown = user.systemctl("show", unit_of(box))
    assert f"MemoryMax={64 << 20}" in shown and "TasksMax=20" in shown and "CPUQuotaPerSecUSec=510ms" in shown
    assert os.stat(files).st_uid == user.uid
    box.exec("cat", "/proc/self/cgroup").ok()
    user.call("update", "--memory", "32m", box.id).ok()
    assert (files / "memory.max").read_text() == f"{32 << 20}\n"
    assert f"MemoryMax={32 << 20}" in user.systemctl("show", unit_of(box))
    user.call("pause", box.id).ok()
    assert box.status == "paused"
    box.delete("-f").ok()
    user.assert_nothing_left()


def test_a_users_exec_is_in_the_scope_wherever_it_comes_from(user):
    """We are in a group of the system's, from which the user may not enter: the user's manager moves the process."""
    box = user.container(SLEEP).up()
    spawned = user.spawn("exec", box.id, "sleep", "50")
    wait_until(lambda: len((users_group(user, box) / "cgroup.procs").read_text().split()) == 2)
    box.kill("KILL").ok()
    spawned.wait()


def test_a_users_address_of_the_bus_comes_first(user):
    box = user.container(SLEEP)
    address = f"unix:path={user.directory}/bus"
    box.create(env={"DBUS_SESSION_BUS_ADDRESS": address, "XDG_RUNTIME_DIR": "/nonexistent"}).ok()
    assert json.loads((box.directory / "state.json").read_text())["unit"]["bus"] == address
    box.delete("-f", env={"XDG_RUNTIME_DIR": "/nonexistent"}).ok()


@pytest.mark.parametrize("env", [
    {"XDG_RUNTIME_DIR": "/nonexistent"}, {"XDG_RUNTIME_DIR": ""},
    {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent/bus"},
    {"DBUS_SESSION_BUS_ADDRESS": "unixexec:path=/bin/sh"},
    {"DBUS_SESSION_BUS_ADDRESS": "tcp:host=localhost,port=1"},
])
def test_a_user_without_a_bus(user, env):
    user.container(SLEEP).create(env=env).failed("failed to connect to dbus (hint: for rootless containers, maybe you need to install")
    user.assert_nothing_left()


def test_a_systemd_that_does_not_answer_is_given_up_in_seconds(user):
    """The calls have a time-out. (The user's, for pid 1 cannot be stopped.)"""
    user.container(SLEEP).up()  # the user's bus is there
    manager = int(systemctl("show", "-P", "MainPID", f"user@{user.uid}.service"))
    box = user.container(SLEEP)
    os.kill(manager, signal.SIGSTOP)
    try:
        started = time.monotonic()
        box.create().failed("systemd does not answer")
        assert time.monotonic() - started < 15
    finally:
        os.kill(manager, signal.SIGCONT)
    assert not box.directory.exists()


def test_root_of_a_users_namespace_has_the_users_systemd(user):
    """As rootless Podman calls: already in a user namespace, as its root."""
    user.rootless = lambda config: [m["options"].remove("gid=5") for m in config["mounts"] if "gid=5" in m.get("options", ())]
    user.drop = ("unshare", "--user", "--map-root-user", "--mount")
    box = user.container(resources(pids={"limit": 20}), SLEEP).up()
    files = users_group(user, box)
    assert Path(f"/proc/{box.pid}/cgroup").read_text().strip() == f"0::/{files.relative_to(systemd.CGROUPS)}"
    assert (files / "pids.max").read_text() == "20\n"
    box.delete("-f").ok()
    user.assert_nothing_left()
