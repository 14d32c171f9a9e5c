"""linux.resources to writes, for cgroup2 and for v1 hierarchies; what `update` merges; and the way back. All pure."""

import pytest

from pyrunc.commands import update
from pyrunc.errors import Error
from pyrunc.plan import limits, limits_v2

V1 = {"memory": "cgroup:memory", "cpu": "cgroup:cpu,cpuacct", "cpuset": "cgroup:cpuset", "pids": "cgroup:pids",
      "blkio": "cgroup:blkio", "hugetlb": "cgroup:hugetlb", "net_cls": "cgroup:net_cls,net_prio",
      "net_prio": "cgroup:net_cls,net_prio", "rdma": "cgroup:rdma"}


def plan(resources, v1=None):
    return limits.update(resources, v1 or {}).ops


def written(resources, v1=None):
    return [op.args if v1 is None else (op.slots[0], *op.args) for op in plan(resources, v1)]


@pytest.mark.parametrize("member, value, expected", [
    ("memory", {"limit": 64}, [("memory.max", "64")]),
    ("memory", {"limit": -1}, [("memory.swap.max", "max"), ("memory.max", "max")]),
    ("memory", {"limit": 64, "swap": 64}, [("memory.swap.max", "0"), ("memory.max", "64")]),
    ("memory", {"limit": 64, "swap": 100}, [("memory.swap.max", "36"), ("memory.max", "64")]),
    ("memory", {"limit": 64, "swap": -1}, [("memory.swap.max", "max"), ("memory.max", "64")]),
    ("memory", {"limit": -1, "swap": 7}, [("memory.swap.max", "7"), ("memory.max", "max")]),
    ("memory", {"reservation": 5}, [("memory.low", "5")]),
    ("memory", {"reservation": -1}, [("memory.low", "max")]),
    ("memory", {"limit": 0, "swap": 0, "reservation": 0}, []),
    ("cpu", {"shares": 1024}, [("cpu.weight", "100")]),
    ("cpu", {"shares": 2}, [("cpu.weight", "1")]),
    ("cpu", {"shares": 1}, [("cpu.weight", "1")]),
    ("cpu", {"shares": 262144}, [("cpu.weight", "10000")]),
    ("cpu", {"shares": 512}, [("cpu.weight", "59")]),
    ("cpu", {"shares": 1024, "idle": 1}, [("cpu.idle", "1")]),
    ("cpu", {"shares": 1024, "idle": 0}, [("cpu.idle", "0"), ("cpu.weight", "100")]),
    ("cpu", {"quota": 5000}, [("cpu.max", "5000 100000")]),
    ("cpu", {"quota": -1}, [("cpu.max", "max 100000")]),
    ("cpu", {"period": 20000}, [("cpu.max", "max 20000")]),
    ("cpu", {"burst": 3}, [("cpu.max.burst", "3")]),
    ("cpu", {"quota": 9, "burst": 3}, [("cpu.max.burst", "3"), ("cpu.max", "9 100000"), ("cpu.max.burst", "3")]),
    ("cpu", {"cpus": "0-1", "mems": "0"}, [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")]),
    ("pids", {"limit": 0}, [("pids.max", "1")]),
    ("pids", {"limit": -1}, [("pids.max", "max")]),
    ("pids", {"limit": 9}, [("pids.max", "9")]),
    ("blockIO", {"weight": 10}, [("io.bfq.weight", "10"), ("io.weight", "1")]),
    ("blockIO", {"weight": 1000}, [("io.bfq.weight", "1000"), ("io.weight", "10000")]),
    ("blockIO", {"weightDevice": [{"major": 8, "minor": 1, "weight": 20}]},
     [("io.bfq.weight", "8:1 20"), ("io.weight", "8:1 102")]),
    ("blockIO", {"weight": 0, "leafWeight": 10}, []),
    ("blockIO", {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}],
                 "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 2}]},
     [("io.max", "8:0 rbps=1"), ("io.max", "8:0 wiops=2")]),
    ("hugepageLimits", [{"pageSize": "2MB", "limit": 4}], [("hugetlb.2MB.max", "4"), ("hugetlb.2MB.rsvd.max", "4")]),
    ("rdma", {"mlx": {"hcaHandles": 3, "hcaObjects": 4}}, [("rdma.max", "mlx hca_handle=3 hca_object=4")]),
    ("unified", {"memory.high": "5", "io.max": "8:0 rbps=1\n8:16 rbps=2\n"},
     [("memory.high", "5"), ("io.max", "8:0 rbps=1"), ("io.max", "8:16 rbps=2")]),
])
def test_writes_to_the_cgroup2_tree(member, value, expected):
    assert written({member: value}) == expected
    assert all(op.source.startswith(f"/linux/resources/{member}") for op in plan({member: value}))


@pytest.mark.parametrize("member, value, expected", [
    ("memory", {"limit": 64, "swap": -1}, [
        ("cgroup:memory", "memory.limit_in_bytes", "64"), ("cgroup:memory", "memory.memsw.limit_in_bytes", "-1"),
        ("cgroup:memory", "memory.limit_in_bytes", "64")]),
    ("memory", {"limit": -1}, [
        ("cgroup:memory", "memory.limit_in_bytes", "-1"), ("cgroup:memory", "memory.memsw.limit_in_bytes", "-1"),
        ("cgroup:memory", "memory.limit_in_bytes", "-1")]),
    ("memory", {"reservation": 5, "swappiness": 0, "disableOOMKiller": True}, [
        ("cgroup:memory", "memory.soft_limit_in_bytes", "5"), ("cgroup:memory", "memory.swappiness", "0"),
        ("cgroup:memory", "memory.oom_control", "1")]),
    ("memory", {"reservation": 5, "swappiness": 2 ** 64 - 1}, [("cgroup:memory", "memory.soft_limit_in_bytes", "5")]),
    ("memory", {"kernelTCP": 5}, [("cgroup:memory", "memory.kmem.tcp.limit_in_bytes", "5")]),
    ("cpu", {"shares": 512, "quota": -1}, [
        ("cgroup:cpu,cpuacct", "cpu.shares", "512"), ("cgroup:cpu,cpuacct", "cpu.cfs_quota_us", "-1")]),
    ("cpu", {"realtimeRuntime": 5, "realtimePeriod": 9}, [
        ("cgroup:cpu,cpuacct", "cpu.rt_period_us", "9"), ("cgroup:cpu,cpuacct", "cpu.rt_runtime_us", "5"),
        ("cgroup:cpu,cpuacct", "cpu.rt_period_us", "9")]),
    ("cpu", {"cpus": "1"}, [("cgroup:cpuset", "cpuset.cpus", "1")]),
    ("pids", {"limit": 9}, [("cgroup:pids", "pids.max", "9")]),
    ("blockIO", {"weight": 20, "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 3}]}, [
        ("cgroup:blkio", "blkio.bfq.weight", "20"), ("cgroup:blkio", "blkio.weight", "20"),
        ("cgroup:blkio", "blkio.throttle.write_bps_device", "8:0 3")]),
    ("hugepageLimits", [{"pageSize": "2MB", "limit": 4}], [
        ("cgroup:hugetlb", "hugetlb.2MB.limit_in_bytes", "4"), ("cgroup:hugetlb", "hugetlb.2MB.rsvd.limit_in_bytes", "4")]),
    ("network", {"classID": 7, "priorities": [{"name": "eth0", "priority": 3}]}, [
        ("cgroup:net_cls,net_prio", "net_cls.classid", "7"), ("cgroup:net_cls,net_prio", "net_prio.ifpriomap", "eth0 3")]),
])
def test_writes_to_v1_hierarchies(member, value, expected):
    assert written({member: value}, V1) == expected


def test_a_controller_is_driven_where_it_is():
    assert written({"memory": {"limit": 5}, "hugepageLimits": [{"pageSize": "1GB", "limit": 0}]}, {"memory": "cgroup:memory"}) == [
        ("cgroup:memory", "memory.limit_in_bytes", "5"), ("cgroup", "hugetlb.1GB.max", "0"), ("cgroup", "hugetlb.1GB.rsvd.max", "0")]


@pytest.mark.parametrize("resources, v1, words", [
    ({"cpu": {"realtimeRuntime": 5}}, {}, "/linux/resources/cpu/realtimeRuntime: cgroup v2 has no realtime"),
    ({"network": {"classID": 5}}, {}, "/linux/resources/network/classID: cgroup v2 has no network controllers"),
    ({"unified": {"memory.high": "1"}}, V1, 'unified resource "memory.high" can\'t be set: controller "memory" is on cgroup v1'),
    ({"unified": {"io.max": "1"}}, V1, 'controller "io" is on cgroup v1'),
    ({"unified": {"cgroup.procs": "1"}}, {}, 'unified resource "cgroup.procs" can\'t be set: it is not a limit'),
    ({"memory": {"swap": 5}}, {}, "unable to set swap limit without memory limit"),
    ({"memory": {"swap": 5, "limit": 6}}, {}, "memory+swap limit should be >= memory limit"),
])
def test_what_cannot_be_kept_is_refused_with_its_place(resources, v1, words):
    with pytest.raises(Error) as caught:
        plan(resources, v1)
    assert words in caught.value.message
    assert caught.value.pointer.startswith("/linux/resources/" + next(iter(resources)))


def test_a_host_without_the_hierarchy_says_so():
    with pytest.raises(Error, match="cannot set pids limit: container could not join or create cgroup"):
        limits.update({"pids": {"limit": 5}}, {"memory": "cgroup:memory"}, v2=False)


def test_check_before_update_stands_first():
    ops = plan({"memory": {"limit": 5, "checkBeforeUpdate": True}})
    assert [(op.name, op.args) for op in ops] == [("FITS", ("memory.current", 5)), ("LIMIT", ("memory.max", "5"))]


def test_the_second_try_depends_on_the_first():
    first, _, second = plan({"cpu": {"quota": 9, "burst": 3}})
    assert second.unless is first and first.tolerate == (22,)


def test_the_weight_is_monotonic_and_within_bounds():
    weights = [limits_v2.weight(shares) for shares in range(2, 262145, 97)]
    assert weights == sorted(weights) and weights[0] == 1 and limits_v2.weight(262144) == 10000


@pytest.mark.parametrize("file, value, before, expected", [
    ("memory.max", "5", "max\n", "max"),
    ("cpu.max", "5 100000", "max 100000\n", "max 100000"),
    ("cpuset.cpus", "0", "\n", "\n"),
    ("io.max", "8:0 rbps=5", "8:0 rbps=9 wbps=max riops=max wiops=max\n", "8:0 rbps=9 wbps=max riops=max wiops=max"),
    ("io.max", "8:0 rbps=5", "8:16 rbps=9 wbps=max riops=max wiops=max\n", "8:0 rbps=max"),
    ("io.latency", "8:0 target=5", "", "8:0 target=0"),
    ("rdma.max", "mlx hca_handle=3 hca_object=4", "", "mlx hca_handle=max hca_object=max"),
    ("io.bfq.weight", "50", "default 100\n8:0 5\n", "100"),
    ("io.bfq.weight", "8:0 50", "default 100\n", "8:0 default"),
    ("io.bfq.weight", "8:0 50", "default 100\n8:0 7\n", "8:0 7"),
    ("blkio.weight", "50", "500\n", "500"),
    ("blkio.throttle.read_bps_device", "8:0 50", "8:0 7\n", "8:0 7"),
    ("blkio.throttle.read_bps_device", "8:0 50", "\n", "8:0 0"),
    ("net_prio.ifpriomap", "eth0 3", "lo 0\neth0 7\n", "eth0 7"),
    ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "0"),
    ("pids.max", "5", "max\n", "max"),
])
def test_the_way_back(file, value, before, expected):
    assert limits.inverse(file, value, before) == expected


def test_a_host_that_cannot_keep_devices_says_so():
    from pyrunc import facts
    from pyrunc.plan import create
    from tests.plan.cases import base

    request = {"id": "c1", "bundle": "/b", "state": "/s", "cgroup": None, "cgroup_v1": [["memory", "/m", "c1"]], "bpf": None, "gate": True}
    with pytest.raises(Error, match="cannot set devices limit"):
        create.compile(base(), facts.Facts(cgroup="v1"), request)


# --- update ---


def flags(**given):
    options = {name: None for (name, _), *_ in update.OPTIONS}
    options.update({name.replace("_", "-"): value for name, value in given.items()})
    return update.of_flags(options)


@pytest.mark.parametrize("text, number", [("5", 5), ("5b", 5), ("2k", 2048), ("3M", 3 << 20), ("1gb", 1 << 30), ("1GiB", 1 << 30),
                                          ("1t", 1 << 40), ("-1", -1), ("1.5g", 3 << 29), ("0.5", 0)])
def test_sizes(text, number):
    assert flags(memory=text) == {"memory": {"limit": number}}


@pytest.mark.parametrize("text", ["x", "5x", "", ".5g", "1.g", "1.5.2g", "-1.5g", "--1", "²", "99999999999999999999", "9999999999999999999t", "m",
                                  "- 1"])
def test_what_is_no_size_is_refused(text):
    if text == "":
        assert flags(memory=text) == {}
        return
    with pytest.raises(Error, match="memory"):
        flags(memory=text)


def test_every_flag_names_its_property():
    assert flags(blkio_weight="10", cpu_period="1000", cpu_quota="-1", cpu_burst="3", cpu_share="4", cpu_idle="1",
                 cpuset_cpus="0", cpuset_mems="0", memory="1m", memory_reservation="2m", memory_swap="3m", pids_limit="5",
                 cpu_rt_period="6", cpu_rt_runtime="7") == {
        "blockIO": {"weight": 10}, "pids": {"limit": 5},
        "cpu": {"period": 1000, "quota": -1, "burst": 3, "shares": 4, "idle": 1, "cpus": "0", "mems": "0",
                "realtimePeriod": 6, "realtimeRuntime": 7},
        "memory": {"limit": 1 << 20, "reservation": 2 << 20, "swap": 3 << 20}}


FULL = {"cpu": {"burst": 1, "cpus": "0", "mems": "0", "idle": 1, "shares": 9}, "pids": {"limit": 4}, "unified": {"a.b": "1"}}


@pytest.mark.parametrize("saved, wanted, expected", [
    ({"memory": {"limit": 5, "swap": 7}}, {"memory": {"limit": -1}}, {"memory": {"limit": -1, "swap": 0}}),
    ({"memory": {"limit": 5, "swap": 7}}, {"memory": {"limit": 6}}, {"memory": {"limit": 6, "swap": 7}}),
    ({"memory": {"limit": 5}}, {"memory": {"swap": 7}}, {"memory": {"limit": 5, "swap": 7}}),
    ({"memory": {"limit": 5, "swap": 7, "reservation": 3}}, {"memory": {"limit": 0, "swap": 0, "reservation": 0}},
     {"memory": {"limit": 5, "swap": 7, "reservation": 3}}),
    ({"cpu": {"quota": 5, "period": 7}}, {"cpu": {"quota": 6}}, {"cpu": {"quota": 6, "period": 7}}),
    (FULL, {"memory": {"limit": 5}}, {**FULL, "memory": {"limit": 5}}),
    ({"unified": {"a.b": "1", "c.d": "2"}}, {"unified": {"c.d": "3"}}, {"unified": {"a.b": "1", "c.d": "3"}}),
    ({"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}, {"major": 8, "minor": 1, "rate": 2}]}},
     {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 1, "rate": 3}]}},
     {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}, {"major": 8, "minor": 1, "rate": 3}]}}),
    ({"devices": [{"allow": False, "access": "rwm"}]}, {"devices": []}, {"devices": [{"allow": False, "access": "rwm"}]}),
])
def test_merging(saved, wanted, expected):
    assert update.merged(saved, wanted) == expected


@pytest.mark.parametrize("wanted, expected", [
    ({"memory": {"limit": 5}}, {"cpu": {"shares": 9}, "memory": {"limit": 5}}),
    ({"cpu": {"burst": 2}, "unified": {"c.d": "3"}}, {"cpu": {"burst": 2, "shares": 9}, "unified": {"c.d": "3"}}),
    ({"pids": {"limit": 0}}, {"cpu": {"shares": 9}, "pids": {"limit": 0}}),
])
def test_what_others_may_have_changed_since_is_not_written_again(wanted, expected):
    assert update.written(update.merged(FULL, wanted), wanted) == expected


@pytest.mark.parametrize("saved, wanted, expected", [
    ({"limit": 64}, {"swap": 100}, [("memory.swap.max", "36"), ("memory.max", "64")]),
    ({"limit": 64, "swap": 100}, {"limit": 80}, [("memory.swap.max", "20"), ("memory.max", "80")]),
    ({"limit": 64, "swap": 100}, {"limit": 200, "swap": 300}, [("memory.swap.max", "100"), ("memory.max", "200")]),
    ({"limit": 200, "swap": 300}, {"limit": 64, "swap": 100}, [("memory.swap.max", "36"), ("memory.max", "64")]),
    ({"limit": 64, "swap": 100}, {"swap": -1}, [("memory.swap.max", "max"), ("memory.max", "64")]),
    ({"limit": 64, "swap": 100}, {"limit": -1}, [("memory.swap.max", "max"), ("memory.max", "max")]),
    ({}, {"swap": -1}, [("memory.swap.max", "max")]),
])
def test_cgroup2_counts_swap_alone_by_the_limit_that_holds(saved, wanted, expected):
    wanted = {"memory": wanted}
    resources = update.written(update.merged({"memory": saved}, wanted), wanted)
    assert written(resources) == expected


@pytest.mark.parametrize("saved, wanted, pointer", [
    ({"memory": {"limit": 64, "swap": 100}}, {"memory": {"limit": 200}}, "/memory/swap"),
    ({"memory": {"limit": 64, "swap": 100}}, {"memory": {"swap": 50}}, "/memory/swap"),
    ({}, {"memory": {"swap": 50}}, "/memory/swap"),
    ({"cpu": {"quota": 5000, "burst": 4000}}, {"cpu": {"quota": 3000}}, "/cpu/burst"),
    ({"cpu": {"quota": 5000}}, {"cpu": {"burst": 6000}}, "/cpu/burst"),
])
def test_an_update_is_judged_with_the_limits_that_hold(saved, wanted, pointer):
    with pytest.raises(Error) as caught:
        update.judge(saved, wanted, "update")
    assert caught.value.pointer == pointer
    member, name = pointer[1:].split("/")
    assert (caught.value.hint is None) == (name in wanted[member])


@pytest.mark.parametrize("on_v1, gone", [(True, ["memory.kernel"]), (False, ["memory.kernel", "memory.kernelTCP"])])
def test_limits_that_no_file_has_are_named(on_v1, gone):
    assert limits.ignored({"memory": {"kernel": 1, "kernelTCP": 1}}, on_v1) == gone
