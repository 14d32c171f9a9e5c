"""What `events --stats` makes of the kernel's files; durations as Go writes them."""

import pytest

from pyrunc.args import Usage
from pyrunc.commands import events
from pyrunc.host.cgroup import stats, stats_v1

V2 = {
    "cpu.stat": "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnr_periods 4\nnr_throttled 2\nthrottled_usec 70\n",
    "cpu.pressure": "some avg10=1.50 avg60=0.00 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n",
    "cpuset.cpus": "0-2,5\n", "cpuset.mems": "0\n",
    "memory.stat": "anon 4096\nfile 8192\n", "memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n",
    "memory.current": "12288\n", "memory.max": "max\n", "memory.peak": "16384\n", "memory.swap.current": "100\n", "memory.swap.max": "0\n",
    "pids.current": "3\n", "pids.max": "max\n",
    "io.stat": "8:0 rbytes=4096 wbytes=0 rios=1 wios=2 dbytes=0 dios=0\nbad line=1\n",
    "hugetlb.2MB.current": "2097152\n", "hugetlb.2MB.events": "max 7\n",
}
V1 = {
    "cpuacct.usage": "3000\n", "cpuacct.stat": "user 2\nsystem 3\n", "cpuacct.usage_percpu": "1000 2000 \n",
    "cpuacct.usage_all": "cpu user system\n0 600 400\n1 1500 500\n", "cpu.stat": "nr_periods 9\nnr_throttled 0\nthrottled_time 0\n",
    "cpuset.cpus": "0-1", "cpuset.sched_relax_domain_level": "-1", "cpuset.sched_load_balance": "1",
    "memory.stat": "cache 4096\nrss 1\n", "memory.usage_in_bytes": "8192", "memory.limit_in_bytes": "16384", "memory.failcnt": "2",
    "memory.max_usage_in_bytes": "9000", "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n",
    "pids.current": "2", "pids.max": "12",
    "blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Write 0\nTotal 4096\n",
}


def of(files):
    return lambda name: files.get(name, "")


def test_cgroup2():
    data = stats.collect(of(V2), ["2MB"])
    assert data["cpu"] == {
        "usage": {"total": 1500000, "kernel": 500000, "user": 1000000},
        "throttling": {"periods": 4, "throttledPeriods": 2, "throttledTime": 70000},
        "psi": {"some": {"avg10": 1.5, "avg60": 0.0, "avg300": 0.0, "total": 12},
                "full": {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 3}}}
    assert data["cpuset"]["cpus"] == [0, 1, 2, 5] and data["cpuset"]["mems"] == [0] and data["cpuset"]["sched_load_balance"] == 0
    memory = data["memory"]
    assert memory["cache"] == 8192 and memory["raw"] == {"anon": 4096, "file": 8192}
    assert memory["usage"] == {"limit": (1 << 64) - 1, "usage": 12288, "max": 16384, "failcnt": 3}
    assert memory["swap"] == {"limit": (1 << 64) - 1, "usage": 12388, "failcnt": 0}
    assert memory["events"]["oom_kill"] == 1
    assert data["pids"] == {"current": 3}
    assert data["blkio"]["ioServiceBytesRecursive"] == [
        {"major": 8, "op": "Read", "value": 4096}, {"major": 8, "op": "Write"}]
    assert data["blkio"]["stat"][0].startswith("8:0 rbytes")
    assert data["hugetlb"] == {"2MB": {"usage": 2097152, "failcnt": 7}}
    assert (data["intel_rdt"], data["network_interfaces"]) == ({}, None)


def test_the_limit_of_memory_and_swap_is_their_sum():
    data = stats.memory(of({"memory.max": "100", "memory.swap.max": "20"}))
    assert data["swap"]["limit"] == 120


def test_a_host_without_controllers_gives_zeros():
    data = stats.collect(of({}), [])
    assert data["cpu"] == {"usage": {"kernel": 0, "user": 0}, "throttling": {}}
    assert data["memory"]["usage"] == {"limit": 0, "failcnt": 0} and data["pids"] == {} and data["blkio"] == {}


def test_v1():
    cpu = stats_v1.cpu(of(V1))
    assert cpu == {"usage": {"total": 3000, "percpu": [1000, 2000], "percpu_kernel": [400, 500], "percpu_user": [600, 1500],
                             "kernel": 30000000, "user": 20000000}, "throttling": {"periods": 9}}
    cpuset = stats_v1.cpuset(of(V1))
    assert (cpuset["cpus"], cpuset["sched_relax_domain_level"], cpuset["sched_load_balance"]) == ([0, 1], -1, 1)
    memory = stats_v1.memory(of(V1))
    assert memory["usage"] == {"limit": 16384, "usage": 8192, "max": 9000, "failcnt": 2} and memory["events"] == {"oom_kill": 5}
    assert stats_v1.pids(of(V1)) == {"current": 2, "limit": 12}
    assert stats_v1.blkio(of(V1)) == {"ioServiceBytesRecursive": [{"major": 8, "op": "Read", "value": 4096}, {"major": 8, "op": "Write"}]}


@pytest.mark.parametrize("text", ["", "\0\0", "max", "-1", "1 2 3", "x=y=z", "8:0", "\n\n", "½ ½", "some", "8:0 Read x", "9" * 400])
def test_no_file_is_too_strange(text):
    stats.collect(lambda name: text, ["2MB"])
    for _, function in stats_v1.MEMBERS.values():
        function(lambda name: text)


@pytest.mark.parametrize("text, seconds", [("5s", 5), ("1m30s", 90), ("500ms", .5), ("1.5h", 5400), ("0", 0), ("-1s", -1), (".5s", .5)])
def test_durations(text, seconds):
    assert events.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "1x", "1 s", "٣s", "1s2", "--1s", "1.s.", "1m 30s"])
def test_what_is_no_duration(text):
    with pytest.raises(Usage, match="parse error"):
        events.duration(text)
