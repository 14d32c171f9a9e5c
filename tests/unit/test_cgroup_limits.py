"""A limit that can't be applied is refused by name; what changes nothing is not."""

import pytest

from pyrunc.errors import Error
from pyrunc.host.cgroup import resources


@pytest.mark.parametrize("member, value, what", [
    ("memory", {"limit": 1 << 20}, "memory.limit"),
    ("memory", {"swappiness": 0}, "memory.swappiness"),
    ("memory", {"disableOOMKiller": True}, "memory.disableOOMKiller"),
    ("cpu", {"shares": 2}, "cpu.shares"),
    ("cpu", {"quota": 1000, "period": 100000}, "cpu.quota"),
    ("cpu", {"cpus": "0"}, "cpu.cpus"),
    ("pids", {"limit": 0}, "pids.limit"),
    ("pids", {"limit": 9}, "pids.limit"),
    ("blockIO", {"weight": 10}, "blockIO.weight"),
    ("blockIO", {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}]}, "blockIO.throttleReadBpsDevice"),
    ("hugepageLimits", [{"pageSize": "2MB", "limit": 0}], "hugepageLimits"),
    ("network", {"classID": 1}, "network.classID"),
    ("rdma", {"mlx5_1": {"hcaHandles": 3}}, "rdma"),
    ("unified", {"memory.high": "1"}, "unified"),
])
def test_a_limit_is_refused_by_name_and_place(member, value, what):
    with pytest.raises(Error) as caught:
        resources.refuse_limits({"linux": {"resources": {member: value}}})
    assert caught.value.message == f"linux.resources: resource limits cannot be applied yet: {what}"
    assert caught.value.pointer == "/linux/resources/" + what.replace(".", "/")


@pytest.mark.parametrize("config", [
    {}, {"linux": {}}, {"linux": {"resources": {}}},
    {"linux": {"resources": {
        "devices": [{"allow": False, "access": "rwm"}],
        "memory": {"limit": -1, "reservation": 0, "swap": -1, "kernel": 5, "disableOOMKiller": False},
        "cpu": {"shares": 0, "quota": -1, "period": 100000, "idle": 0, "cpus": ""},
        "pids": {"limit": -1}, "blockIO": {"weight": 0, "weightDevice": [], "leafWeight": 10},
        "hugepageLimits": [], "network": {"classID": 0, "priorities": []}, "rdma": {}, "unified": {}}}},
])
def test_values_that_change_nothing_are_no_limits(config):
    resources.refuse_limits(config)


def test_every_limit_is_named_at_once():
    with pytest.raises(Error) as caught:
        resources.refuse_limits({"linux": {"resources": {"memory": {"limit": 1}, "pids": {"limit": 1},
                                                         "unified": {"cpu.idle": "1"}}}})
    assert caught.value.message.endswith(": memory.limit, pids.limit, unified")
