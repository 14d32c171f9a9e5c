"""Limits hold, on whichever cgroup version each controller is; what runc writes, pyrunc writes."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from kit import limits
from kit.bundle import namespaces, userns
from kit.runtime import Runtime, wait_until


def resources(**members):
    return {"linux": {"resources": members}}


def shell(script):
    return {"process": {"args": ["sh", "-c", script]}}


SLEEP = shell("sleep 100")


def cpu_seconds(container):
    path, old = limits.group(container, "cpuacct" if (Path("/sys/fs/cgroup/cpuacct")).exists() else "cpu")
    if old:
        return int((path / "cpuacct.usage").read_text()) / 1e9
    return int((path / "cpu.stat").read_text().split()[1]) / 1e6


def test_a_container_over_its_memory_is_killed_and_says_so(rt):
    box = rt.container(resources(memory={"limit": 16 << 20, "swap": 16 << 20}), shell("dd if=/dev/zero of=/dev/null bs=64M count=1"))
    result = box.run("--keep")
    assert result.code in (137, 1), repr(result)  # init itself, or its child
    record = box.state().ok().json()["exit"]
    assert record["oom_killed"] is True
    assert record == json.loads((box.directory / "exit.json").read_text())
    assert record.get("signal", record.get("code")) in (9, 137, 1)


def test_one_that_just_ends_was_not_oom_killed(rt):
    box = rt.container(resources(memory={"limit": 16 << 20}), shell("exit 7"))
    assert box.run("--keep").code == 7
    record = box.state().ok().json()["exit"]
    assert (record["code"], record["oom_killed"]) == (7, False) and record["time"].endswith("Z")


def test_a_detached_one_is_recorded_at_the_first_look(rt):
    box = rt.container(shell("exit 7"))
    box.run("-d").ok()
    box.wait_stopped()
    first = box.state().ok().json()["exit"]
    assert first["oom_killed"] is False and first.get("code", 7) == 7
    assert box.state().ok().json()["exit"] == first


def test_a_megabyte_is_enough_for_init(rt):
    box = rt.container(resources(memory={"limit": 1 << 20}), shell("true"))
    box.create().ok()
    assert box.status == "created"
    box.start().ok()
    box.wait_stopped()


def test_a_created_container_holds_less_than_300_kib(rt):
    """The kernel charges in batches of 256 KiB a CPU and gives back later, so the least of some is nearest to the truth."""
    used = []
    for _ in range(5):
        box = rt.container(resources(memory={"limit": 64 << 20}))
        box.create().ok()
        used.append(int(limits.read(box, "memory.current")))
        box.delete("-f").ok()
    print(f"memory charged to a created container: {min(used) >> 10} KiB")
    assert 0 < min(used) < 300 << 10


@pytest.mark.parametrize("how", ["born", "user namespace", "joined"])
def test_one_process_is_enough_for_init(rt, how):
    """pids.max 1, even where a first process forks init."""
    patches = {"born": [], "user namespace": [userns()],
               "joined": [namespaces("pid", "ipc", "uts", "mount", network="/proc/self/ns/net")]}[how]
    box = rt.container(resources(pids={"limit": 1}), {"process": {"args": ["/bin/probe", "sleep"]}}, *patches).up()
    assert limits.read(box, "pids.max") == "1"


def test_half_a_cpu_is_half_a_cpu(rt):
    box = rt.container(resources(cpu={"quota": 50000, "period": 100000}), shell("while :; do :; done")).up()
    time.sleep(0.3)
    before, started = cpu_seconds(box), time.monotonic()
    time.sleep(3)
    share = (cpu_seconds(box) - before) / (time.monotonic() - started)
    assert 0.45 <= share <= 0.55, share


def test_groups_that_exist_and_are_empty_are_used(rt):
    box = rt.container({"process": {"args": ["/bin/probe", "sleep"]}})
    found = [top for top in ("", "unified", "pids", "memory") if Path(f"/sys/fs/cgroup/{top}/cgroup.procs").exists()]
    for top in found:
        Path(f"/sys/fs/cgroup/{top}/{box.bundle.config['linux']['cgroupsPath']}").mkdir()
    box.up()
    assert found and box.status == "running"


def test_a_fork_bomb_is_held(rt):
    box = rt.container(resources(pids={"limit": 12}), shell("(while :; do sleep 100 & done); exec sleep 100")).up()
    wait_until(lambda: int(limits.read(box, "pids.current")) >= 11)
    time.sleep(0.3)
    assert int(limits.read(box, "pids.current")) <= 12
    box.kill("KILL").ok()


@pytest.fixture
def disk(tmp_path):
    """A loop device of 8 MiB."""
    file = tmp_path / "disk"
    file.write_bytes(os.urandom(8 << 20))
    made = subprocess.run(["losetup", "--show", "-f", file], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop device: {made.stderr.strip()}")
    yield made.stdout.strip()
    subprocess.run(["losetup", "-d", made.stdout.strip()], check=True)


def test_a_disk_is_read_at_the_rate_that_is_allowed(rt, disk):
    number = os.stat(disk).st_rdev
    node = {"major": os.major(number), "minor": os.minor(number)}
    throttle = {"throttleReadBpsDevice": [{**node, "rate": 1 << 20}]}
    box = rt.container(
        resources(blockIO=throttle, devices=[{"allow": False, "access": "rwm"}, {"allow": True, "type": "b", "access": "r", **node}]),
        {"linux": {"devices": [{"path": "/dev/disk", "type": "b", **node}]}},
        shell("dd if=/dev/disk of=/dev/null bs=64k count=32"))
    started = time.monotonic()
    result = box.run()
    result.ok()
    assert 1.5 <= time.monotonic() - started <= 8  # two mebibytes, and what is read ahead


def test_a_denied_device_cannot_be_opened_not_even_one_made_by_mknod(rt):
    box = rt.container(
        resources(devices=[{"allow": False, "access": "rwm"}]),
        {"linux": {"devices": [{"path": "/dev/kmsg2", "type": "c", "major": 1, "minor": 11}]}},
        shell("cat /dev/kmsg2; echo $?; mknod /tmp/k c 1 11 && cat /tmp/k; echo $?"), _with_mknod, rootfs={"tmp/.keep": ""})
    box.create().ok()
    box.start().ok()
    box.wait_stopped()
    out = box.running.result(0)
    assert out.out.split() == ["1", "1"] and out.err.count("Operation not permitted") == 2, repr(out)


def _with_mknod(config):
    for caps in config["process"]["capabilities"].values():
        caps.append("CAP_MKNOD")


# --- what is refused


@pytest.mark.parametrize("members, words", [
    ({"cpu": {"cpus": "4000"}}, ("/linux/resources/cpu/cpus", "cpuset.cpus", '"4000"')),
    ({"hugepageLimits": [{"pageSize": "7MB", "limit": 1}]}, ("/linux/resources/hugepageLimits/0", "hugetlb.7MB")),
    ({"blockIO": {"throttleReadBpsDevice": [{"major": 4000, "minor": 1, "rate": 5}]}},
     ("/linux/resources/blockIO/throttleReadBpsDevice/0", "4000:1")),
    ({"unified": {"nosuch.max": "1"}}, ('unified resource "nosuch.max" can\'t be set: controller "nosuch" not available',)),
    ({"unified": {"cgroup.procs": "1"}}, ("it is not a limit",)),
    ({"unified": {"../x.y": "1"}}, ("must be a file name (no slashes)",)),
    ({"rdma": {"nosuch": {"hcaHandles": 1}}}, ("/linux/resources/rdma/nosuch",)),
])
def test_a_limit_that_cannot_be_set_is_one_line_and_leaves_nothing(rt, members, words):
    rt.container(resources(**members)).create().failed(*words)
    rt.assert_nothing_left()


def test_a_group_somebody_lives_in_is_refused(rt):
    box = rt.container(SLEEP).up()
    other = rt.container({"linux": {"cgroupsPath": box.bundle.config["linux"]["cgroupsPath"]}})
    other.create().failed("container's cgroup is not empty")
    assert box.status == "running"


@pytest.mark.skipif(not Path("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists(), reason="no realtime groups: they need cgroup v1")
def test_realtime_is_given_to_the_groups_above_first_if_they_have_none(rt):
    name = f"/{rt.token}-rt/above"
    wanted = resources(cpu={"realtimeRuntime": 5000, "realtimePeriod": 500000})
    box = rt.container(wanted, SLEEP, {"linux": {"cgroupsPath": f"{name}/one"}})
    other = rt.container(wanted, SLEEP, {"linux": {"cgroupsPath": f"{name}/two"}})
    try:
        box.create().ok()
        given = [Path(f"/sys/fs/cgroup/cpu{path}/cpu.rt_runtime_us").read_text() for path in (f"{name}/one", name, name[:-6])]
        assert given == ["5000\n", "10000\n", "10000\n"]
        other.create().failed("/linux/resources/cpu/realtimeRuntime", "cpu.rt_runtime_us", "invalid argument")  # no more is left
        box.delete("-f").ok()
    finally:
        for path in (name, name[:-6]):
            for directory in Path("/sys/fs/cgroup").glob(f"*{path}"):
                directory.rmdir()


# --- update, pause, resume


@pytest.mark.parametrize("flag, value, file, expected", [
    ("--memory", "64m", "memory.max", str(64 << 20)),
    ("--memory", "62.5MiB", "memory.max", str(125 << 19)),
    ("--memory", "-1", "memory.max", None),
    ("--memory-reservation", "32m", "memory.low", str(32 << 20)),
    ("--pids-limit", "9", "pids.max", "9"),
    ("--pids-limit", "-1", "pids.max", "max"),
    ("--cpuset-cpus", "0", "cpuset.cpus", "0"),
    ("--cpuset-mems", "0", "cpuset.mems", "0"),
    ("--cpu-idle", "1", "cpu.idle", "1"),
])
def test_update_of_one_limit_is_read_back(rt, flag, value, file, expected):
    box = rt.container(resources(memory={"limit": 128 << 20}, pids={"limit": 100}), SLEEP).up()
    rt.call("update", flag, value, box.id).ok()
    got = limits.read(box, file)
    assert got == expected if expected else got == "max" or int(got) > 1 << 60
    assert box.status == "running"


def test_cpu_limits_are_updated_one_at_a_time(rt):
    box = rt.container(resources(cpu={"quota": 50000, "period": 100000}), SLEEP).up()
    path, old = limits.group(box, "cpu")

    def now():
        if old:
            return " ".join((path / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return (path / "cpu.max").read_text().strip()
    rt.call("update", "--cpu-quota", "20000", box.id).ok()
    assert now() == "20000 100000"
    rt.call("update", "--cpu-period", "50000", box.id).ok()
    assert now() == "20000 50000"
    rt.call("update", "--cpu-burst", "1000", box.id).ok()
    rt.call("update", "--cpu-share", "512", box.id).ok()
    assert (path / ("cpu.shares" if old else "cpu.weight")).read_text().strip() == ("512" if old else "59")
    assert now() == "20000 50000"


def v1_files(box, controller, *names):
    path, _ = limits.group(box, controller)
    return [int((path / name).read_text()) for name in names]


@pytest.mark.parametrize("first, steps", [
    ((64, 100), [("--memory-swap", "200m", (64, 200)), ("--memory", "150m", (150, 200)), ("--memory-swap", "150m", (150, 150))]),
    ((64, None), [("--memory-swap", "100m", (64, 100)), ("--memory", "32m", (32, 100))]),
    ((64, 64), [("--memory=300m", "--memory-swap=400m", (300, 400)), ("--memory=30m", "--memory-swap=40m", (30, 40)),
                ("--memory=0", "--memory-swap=50m", (30, 50))]),
])
def test_memory_and_swap_move_up_and_down_alone_and_together(rt, first, steps):
    limit, swap = first
    box = rt.container(resources(memory={"limit": limit << 20, **({"swap": swap << 20} if swap else {})}), SLEEP).up()
    for *args, expected in steps:
        rt.call("update", *args, box.id).ok()
        if limits.group(box, "memory")[1]:
            assert v1_files(box, "memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes") == [mib << 20 for mib in expected]
        else:
            assert limits.read(box, "memory.max") == str(expected[0] << 20)
            assert limits.read(box, "memory.swap.max") == str((expected[1] - expected[0]) << 20)


@pytest.mark.runc_known_bad("leaves it to the kernel, which says invalid argument")
@pytest.mark.parametrize("args, words, hint", [
    (("--memory", "200m"), "/memory/swap: memory+swap limit should be >= memory limit", "memory.swap is already in force"),
    (("--memory-swap", "32m"), "/memory/swap: memory+swap limit should be >= memory limit", ""),
    (("--cpu-quota", "3000"), "/cpu/burst: burst must not be above quota", "cpu.burst is already in force"),
    (("--cpu-burst", "60000"), "/cpu/burst: burst must not be above quota", ""),
])
def test_an_update_is_judged_with_what_holds(rt, args, words, hint):
    box = rt.container(resources(memory={"limit": 64 << 20, "swap": 100 << 20}, cpu={"quota": 50000, "burst": 4000}), SLEEP).up()
    before = limits.everything(json.loads((box.directory / "state.json").read_text())["cgroup_paths"])
    rt.call("update", "--pids-limit", "77", box.id).ok()  # after which the burst still holds
    result = rt.call("update", *args, box.id)
    result.failed(words)
    assert hint in result.err
    after = limits.everything(json.loads((box.directory / "state.json").read_text())["cgroup_paths"])
    assert {name for name in after if after[name] != before[name]} == {"pids.max"}


@pytest.mark.skipif(not Path("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists(), reason="no realtime groups: they need cgroup v1")
def test_realtime_periods_move_up_and_down(rt):
    """The kernel takes no period below the runtime in force, and no runtime above the period in force."""
    files = "cpu.rt_period_us", "cpu.rt_runtime_us"
    box = rt.container(resources(cpu={"realtimePeriod": 100000, "realtimeRuntime": 900}), SLEEP).up()
    for period, runtime in ((500, 4), (100000, 900), (200000, 500), (400, 3)):
        rt.call("update", "--cpu-rt-period", str(period), "--cpu-rt-runtime", str(runtime), box.id).ok()
        assert v1_files(box, "cpu", *files) == [period, runtime]
    result = rt.call("update", "--cpu-rt-period", "2", box.id)
    result.failed("/cpu/realtimePeriod")
    assert "hint: the period must not be below the realtime runtime in force" in result.err


def test_resources_come_through_a_pipe(rt):
    box = rt.container(SLEEP).up()
    read, write = os.pipe()
    os.write(write, b'{"pids": {"limit": 55}}')
    os.close(write)
    try:
        rt.call("update", "-r", f"/dev/fd/{read}", box.id, pass_fds=(read,)).ok()
    finally:
        os.close(read)
    assert limits.read(box, "pids.max") == "55"


def test_update_from_a_file_and_from_stdin(rt, tmp_path):
    box = rt.container(SLEEP).up()
    file = tmp_path / "r.json"
    file.write_text('{"pids": {"limit": 33}}')
    rt.call("update", "-r", file, box.id).ok()
    assert limits.read(box, "pids.max") == "33"
    file.write_text('{"pids": {"limit": 44}}')
    with open(file) as stdin:
        rt.call("update", "--resources", "-", box.id, stdin=stdin).ok()
    assert limits.read(box, "pids.max") == "44"
    saved = json.loads((box.directory / "state.json").read_text())["resources"]
    assert saved["pids"] == {"limit": 44}


def test_a_failing_update_is_taken_back(rt):
    box = rt.container(resources(memory={"limit": 64 << 20}, pids={"limit": 50}), SLEEP).up()
    before = limits.everything(json.loads((box.directory / "state.json").read_text())["cgroup_paths"])
    state = (box.directory / "state.json").read_text()
    rt.call("update", "--memory", "32m", "--cpu-quota", "20000", "--cpuset-cpus", "4000", "--pids-limit", "7", box.id).failed(
        "/linux/resources/cpu/cpus", "cpuset.cpus", '"4000"')
    assert limits.everything(json.loads(state)["cgroup_paths"]) == before
    assert (box.directory / "state.json").read_text() == state


def test_an_empty_cpuset_is_empty_again(rt):
    """cgroup2 leaves it empty at first, and a write of no bytes is none at all."""
    box = rt.container(resources(pids={"limit": 50}), SLEEP).up()
    before = limits.read(box, "cpuset.cpus")
    rt.call("update", "--cpuset-cpus", "0", "--pids-limit", "99999999999", box.id).failed("/linux/resources/pids/limit")
    assert limits.read(box, "cpuset.cpus") == before


def test_check_before_update_refuses_what_is_in_use(rt, tmp_path):
    box = rt.container(resources(memory={"limit": 64 << 20}), shell("sleep 100"), SLEEP).up()
    file = tmp_path / "r.json"
    file.write_text('{"memory": {"limit": 4096, "checkBeforeUpdate": true}}')
    rt.call("update", "-r", file, box.id).failed("rejecting memory limit 4096", "bytes are in use")
    assert limits.read(box, "memory.max") == str(64 << 20)
    assert box.status == "running"


@pytest.mark.parametrize("args, words", [
    (("--memory", "x"), 'invalid value "x" for --memory'),
    (("--memory", "1.m"), 'invalid value "1.m" for --memory'),
    (("--memory", "-1.5m"), 'invalid value "-1.5m" for --memory'),
    (("--pids-limit", "1.5"), 'invalid value "1.5" for --pids-limit'),
    (("--cpu-quota", "1.5"), "--cpu-quota"),
    (("--blkio-weight", "5"), "weight must be 10 to 1000"),
    (("--l3-cache-schema", "x"), "updating a non-existent Intel RDT configuration is not supported"),
    (("-r", "/nonexistent"), "no such file"),
    (("-r", "/dev/null"), "not a regular file"),
])
def test_update_refuses_bad_input(rt, args, words):
    box = rt.container(SLEEP).up()
    rt.call("update", *args, box.id).failed(words)


@pytest.mark.runc_known_bad("names no place")
@pytest.mark.parametrize("text", ['{"memory": {"limit": "5"}}', "[]", "{"])
def test_update_names_standard_input_as_what_is_wrong(rt, tmp_path, text):
    (tmp_path / "resources").write_text(text)
    with open(tmp_path / "resources") as stdin:
        rt.call("update", "--resources=-", rt.container(SLEEP).up().id, stdin=stdin).failed("standard input: ")


def test_update_of_a_stopped_container(rt):
    box = rt.container(shell("true")).up()
    box.wait_stopped()
    rt.call("update", "--pids-limit", "5", box.id).failed("container not running")


def test_pause_stops_a_counter_and_resume_lets_it_go_on(rt):
    box = rt.container(shell("i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done")).up()
    rt.call("resume", box.id).failed("container not paused")
    wait_until(lambda: len(box.output()) > 10)
    rt.call("pause", box.id).ok()
    assert box.status == "paused"
    stood = box.output()
    time.sleep(0.3)
    assert box.output() == stood
    rt.call("pause", box.id).failed("container not running")
    box.exec("true").failed("cannot exec in a paused container", code=255)
    rt.call("resume", box.id).ok()
    wait_until(lambda: len(box.output()) > len(stood))
    assert box.status == "running"


@pytest.mark.parametrize("before", ["created", "running"])
@pytest.mark.parametrize("patch", [{}, namespaces("network", "ipc", "uts", "mount")], ids=["", "shared pids"])
def test_a_paused_container_that_is_killed_is_stopped_and_can_be_deleted(rt, before, patch):
    box = rt.container(SLEEP, patch)
    box.create().ok()
    if before == "running":
        box.start().ok()
    pid = box.pid
    rt.call("pause", box.id).ok()
    box.kill("KILL").ok()
    box.wait_stopped(pid)
    assert box.status == "stopped" and box.pid == 0
    rt.call("resume", box.id).failed("container not paused")
    box.delete().ok()
    rt.assert_nothing_left()


def test_a_paused_container_whose_init_was_killed_from_outside_is_stopped(rt):
    box = rt.container(SLEEP).up()
    pid = box.pid
    rt.call("pause", box.id).ok()
    os.kill(pid, 9)
    box.wait_stopped(pid)
    assert box.status == "stopped"
    box.delete().ok()
    rt.assert_nothing_left()


@pytest.mark.skipif(not os.path.isdir("/sys/fs/cgroup/freezer"), reason="this host has no v1 freezer")
@pytest.mark.parametrize("verb", ["kill", "delete"])
def test_what_a_v1_freezer_holds_dies_all_the_same(rt, verb):
    """On a hybrid host another tool may have frozen it there; the kernel keeps even a SIGKILL waiting then."""
    box = rt.container(SLEEP).up()
    pid = box.pid
    Path("/sys/fs/cgroup/freezer" + box.bundle.config["linux"]["cgroupsPath"], "freezer.state").write_text("FROZEN")
    if verb == "kill":
        box.kill("KILL").ok()
        box.wait_stopped(pid)
    assert box.delete(*(["-f"] if verb == "delete" else [])).ok().seconds < 5
    rt.assert_nothing_left()


def test_a_paused_container_can_be_deleted_by_force(rt):
    box = rt.container(SLEEP).up()
    rt.call("pause", box.id).ok()
    box.delete().failed("that is not stopped: paused")
    box.delete("--force").ok()
    rt.assert_nothing_left()


# --- against runc and crun


CASES = {
    "memory": {"memory": {"limit": 64 << 20, "swap": 128 << 20, "reservation": 32 << 20}},
    "memory without swap": {"memory": {"limit": 64 << 20, "swap": 64 << 20}},
    "memory unlimited": {"memory": {"limit": -1}},
    "swap unlimited": {"memory": {"limit": 64 << 20, "swap": -1}},
    "cpu": {"cpu": {"shares": 512, "quota": 50000, "period": 100000}},
    "period alone": {"cpu": {"period": 50000}},
    "quota unlimited": {"cpu": {"quota": -1}},
    "cpuset": {"cpu": {"cpus": "0", "mems": "0"}},
    "pids": {"pids": {"limit": 77}},
    "pids unlimited": {"pids": {"limit": -1}},
    "nothing": {},
    "zeros": {"memory": {"limit": 0, "reservation": 0}, "cpu": {"shares": 0, "quota": 0, "period": 0}},
}
# runc 1.1.5 and crun 1.8.1 convert shares by the older, linear formula.
LINEAR = {"cpu.weight"}


def peers():
    found = {name: path for name in ("runc", "crun") if (path := shutil.which(name))}
    if "crun" in found and not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        del found["crun"]  # refuses a hybrid host
    return found


@pytest.mark.parametrize("case", CASES)
def test_the_files_say_what_the_others_write(rt, pyrunc, case):
    if not peers():
        pytest.skip("no runtime to compare with (apt-get install runc crun)")
    ours = in_force(rt, resources(**CASES[case]))
    for name, binary in peers().items():
        if (name, case) == ("crun", "zeros"):
            continue  # takes a limit of 0 at its word, and is killed by it
        other = Runtime(binary)
        try:
            theirs = in_force(other, resources(**CASES[case]))
        finally:
            other.close()
        for file in sorted(set(ours) | set(theirs)):
            print(f"{case:20} {file:36} pyrunc {ours.get(file, '-')!r:24} {name} {theirs.get(file, '-')!r}")
        differing = {file for file in set(ours) | set(theirs) if ours.get(file) != theirs.get(file)}
        assert differing <= LINEAR, name


def in_force(runtime, patch):
    box = runtime.container(patch, {"ociVersion": "1.0.2"})  # crun 1.8.1 knows none above 1.0
    box.create().ok()
    pid = box.pid
    paths = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root = "/sys/fs/cgroup" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "/sys/fs/cgroup/unified"
            paths[""] = root + path
        elif not controllers.startswith("name="):
            paths[controllers] = f"/sys/fs/cgroup/{controllers}{path}"
    out = limits.everything(paths)
    box.delete("-f").ok()
    return out


def test_the_rules_for_devices_stand_in_devices_list_in_their_order(rt):
    """What reads the v1 file must find the truth there, though on a hybrid host the program in the cgroup2 tree decides."""
    rules = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
             {"allow": True, "type": "b", "major": 8, "minor": 20, "access": "rw"},
             {"allow": True, "type": "a", "major": 7, "minor": 1, "access": "rwm"}]
    path, old = limits.group(rt.container(SLEEP, resources(devices=rules)).up(), "devices")
    if not old:
        pytest.skip("no devices controller on v1 here")
    listed = (path / "devices.list").read_text().splitlines()
    assert listed[:4] == ["c 10:229 rwm", "b 8:20 rw", "b 7:1 rwm", "c 7:1 rwm"] and "c 1:3 rwm" in listed and "a *:* rwm" not in listed


def test_the_tcp_buffers_of_a_group_are_limited_where_the_kernel_can(rt):
    path, old = limits.group(rt.container(SLEEP, resources(memory={"kernelTCP": 1 << 20})).up(), "memory")
    if not old:
        pytest.skip("no memory controller on v1 here")
    assert (path / "memory.kmem.tcp.limit_in_bytes").read_text().strip() == str(1 << 20)


def test_a_group_of_v1_that_is_there_and_empty_is_used(rt):
    container = rt.container(SLEEP)
    tops = [Path(f"/sys/fs/cgroup/{name}") for name in ("memory", "pids")]
    if not all((top / "tasks").exists() for top in tops):
        pytest.skip("no memory and pids controllers on v1 here")
    for top in tops:
        (top / container.bundle.config["linux"]["cgroupsPath"].lstrip("/")).mkdir()
    container.up()
    path, _ = limits.group(container, "memory")
    assert str(container.pid) in (path / "cgroup.procs").read_text().split()
