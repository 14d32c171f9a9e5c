"""resctrl groups, over a tree that imitates the kernel's: its files appear with a directory and go with it."""

import os
import posix
import shutil
import types
from pathlib import Path

import pytest

from pyrunc import facts, lifecycle, supervise
from pyrunc.errors import Error
from pyrunc.host import rdt
from pyrunc.plan import rdt as plan_rdt
from pyrunc.plan.script import Plan

SCHEMATA = "    L3:0=7ff;1=7ff\n    MB:0=100;1=100\n"
FILES = {"schemata": SCHEMATA, "tasks": "", "mon_data/mon_L3_00/llc_occupancy": "4096\n", "mon_data/mon_L3_00/mbm_total_bytes": "10\n",
         "mon_data/mon_L3_00/mbm_local_bytes": "0\n", "mon_data/mon_L3_01/llc_occupancy": "Unavailable\n"}
INFO = {"L3/cbm_mask": "7ff\n", "L3/min_cbm_bits": "1\n", "L3/num_closids": "16\n", "MB/bandwidth_gran": "10\n", "MB/delay_linear": "1\n",
        "MB/min_bandwidth": "10\n", "MB/num_closids": "8\n", "last_cmd_status": "ok\n"}


def fill(directory, files):
    for name, text in files.items():
        path = Path(directory, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    root = tmp_path / "resctrl"
    fill(root, FILES)
    fill(root / "info", INFO)
    (root / "mon_groups").mkdir()
    mkdir = posix.mkdir

    def kernel_mkdir(path, mode):
        mkdir(path, mode)
        fill(path, FILES)
        if not Path(path).parent.name == "mon_groups":
            mkdir(path + "/mon_groups", mode)
    monkeypatch.setattr(rdt, "posix", types.SimpleNamespace(**{**vars(posix), "mkdir": kernel_mkdir, "rmdir": kernel_rmdir}))
    return root


def kernel_rmdir(path):
    try:
        shutil.rmtree(path)
    except FileNotFoundError as err:
        raise OSError(2, "No such file or directory", path) from err


def walk(tree, config, container_id="c1"):
    """The supervisor's part of the plan of a container; (supervisor, its data)."""
    plan = Plan()
    plan_rdt.compile(plan, config, str(tree), container_id)
    container = types.SimpleNamespace(data=lifecycle.resctrl_state(config, str(tree), container_id))
    sup = supervise.Supervisor(plan, container, {}, "/b", None)
    try:
        for op in plan.ops:
            sup.act(op)
    except Error:
        sup.unwind()
        raise
    return sup, container.data


def join(sup):
    """What init does."""
    for fd in sup.fds.values():
        os.write(fd, b"0")
        os.close(fd)


def test_a_group_is_made_written_joined_and_goes_with_the_container(tree):
    sup, data = walk(tree, {"l3CacheSchema": "L3:0=f;1=1f", "memBwSchema": "MB:0=20;1=70", "enableMonitoring": True})
    assert (tree / "c1/schemata").read_text().startswith("L3:0=f;1=1f\nMB:0=20;1=70\n")
    join(sup)
    assert (tree / "c1/tasks").read_text() == (tree / "c1/mon_groups/c1/tasks").read_text() == "0"
    assert data["resctrl_made"] == ["c1/mon_groups/c1", "c1"]
    for name in data["resctrl_made"] * 2:  # the second time there is nothing to do
        rdt.Group(str(tree), name).remove()
    assert not (tree / "c1").exists()


def test_schemata_are_written_last_and_in_order(tree, monkeypatch):
    written = []
    monkeypatch.setattr(rdt.files, "write", lambda fd, file, value: written.append((file, value)))
    walk(tree, {"l3CacheSchema": "L3:0=f", "schemata": ["L2:0=f", "L2:4=3"]})
    assert written == [("schemata", "L3:0=f\n"), ("schemata", "L2:0=f\n"), ("schemata", "L2:4=3\n")]


def test_what_was_there_before_is_used_and_stays(tree):
    rdt.Group(str(tree), "c1").create(False, {})
    _, data = walk(tree, {"schemata": ["L3:0=1"]})
    assert data["resctrl_made"] == [] and (tree / "c1/schemata").read_text().startswith("L3:0=1\n")


@pytest.mark.parametrize("schemas, words", [
    ({"l3CacheSchema": "L3:0=0007FF"}, None),
    ({"memBwSchema": "MB: 1 = 100 ; 0=100"}, None),
    ({"l3CacheSchema": "L3:0=7ff;1=f"}, '/linux/intelRdt/l3CacheSchema: "L3:0=7ff;1=f" differs from the schemata of'),
    ({"memBwSchema": "MB:2=100"}, "/linux/intelRdt/memBwSchema"),
    ({"l3CacheSchema": "L3CODE:0=7ff"}, "L3CODE"),
])
def test_a_closid_that_exists_must_agree(tree, schemas, words):
    rdt.Group(str(tree), "gold").create(False, {})
    before = (tree / "gold/schemata").read_text()
    if words is None:
        _, data = walk(tree, {"closID": "gold", **schemas})
        assert data["resctrl_made"] == []
    else:
        with pytest.raises(Error, match=words):
            walk(tree, {"closID": "gold", **schemas})
        assert (tree / "gold/schemata").read_text() == before
    assert (tree / "gold").exists()


def test_a_closid_is_made_by_a_container_and_outlives_it_but_not_its_failing(tree):
    _, data = walk(tree, {"closID": "gold", "l3CacheSchema": "L3:0=f"})
    assert data["resctrl_made"] == [] and (tree / "gold").exists()
    (tree / "info/last_cmd_status").write_text("out of MON groups\n")
    (tree / "silver").mkdir()
    with pytest.raises(Error, match="open tasks: no such file or directory, last_cmd_status: out of MON groups"):
        walk(tree, {"closID": "silver", "schemata": []} | {"enableMonitoring": True})
    sup, _ = walk(tree, {"closID": "bronze", "schemata": ["L3:0=1"], "enableMonitoring": True})
    sup.unwind()
    assert not (tree / "bronze").exists() and (tree / "gold").exists()


def test_a_closid_without_schemas_must_be_there(tree):
    with pytest.raises(Error, match="clos dir not accessible .must be pre-created when schemata, l3CacheSchema and memBwSchema are empty"):
        walk(tree, {"closID": "gold"})
    assert not (tree / "gold").exists()
    rdt.Group(str(tree), "gold").create(False, {})
    _, data = walk(tree, {"closID": "gold", "enableMonitoring": True})
    assert data["resctrl_made"] == ["gold/mon_groups/c1"]


def test_the_default_class(tree):
    sup, data = walk(tree, {"closID": "/", "enableMonitoring": True})
    join(sup)
    assert (tree / "tasks").read_text() == (tree / "mon_groups/c1/tasks").read_text() == "0"
    assert data["resctrl_made"] == ["mon_groups/c1"]


@pytest.mark.parametrize("config, gone, words", [
    ({"l3CacheSchema": "L3:0=f"}, "L3", "intelRdt.l3CacheSchema is specified in config, but Intel RDT/CAT is not enabled"),
    ({"memBwSchema": "MB:0=20"}, "MB", "intelRdt.memBwSchema is specified in config, but Intel RDT/MBA is not enabled"),
])
def test_what_the_processor_has_not(tree, config, gone, words):
    shutil.rmtree(tree / "info" / gone)
    with pytest.raises(Error, match=words):
        walk(tree, config)
    assert not (tree / "c1").exists()


def test_not_mounted():
    with pytest.raises(Error, match="intelRdt is specified in config, but Intel RDT is not enabled") as found:
        plan_rdt.compile(Plan(), {}, "", "c1")
    assert found.value.hint.startswith("mount -t resctrl")


def test_an_update_that_fails_writes_back_what_was_before(tree):
    group = rdt.Group(str(tree), "")
    plan = Plan()
    plan_rdt.schemata(plan, ["L3:0=f"], "/linux/intelRdt")
    sup = supervise.Supervisor(plan, None, {}, "/b", None)
    sup.groups, sup.restoring = {"clos": group}, True
    sup.act(plan.ops[0])
    assert group.read("schemata").startswith("L3:0=f\n")
    sup.undo.pop()()
    assert group.read("schemata").startswith(SCHEMATA)


def test_events(tree):
    walk(tree, {"l3CacheSchema": "L3:0=f;1=f", "memBwSchema": "MB:0=20;1=70", "enableMonitoring": True})
    (tree / "c1/schemata").write_text("    L3:0=f;1=f\n    MB:0=20;1=70\n")
    assert rdt.stats(str(tree), "c1", "c1/mon_groups/c1") == {
        "l3_cache_info": {"cbm_mask": "7ff", "min_cbm_bits": 1, "num_closids": 16},
        "l3_cache_schema_root": "L3:0=7ff;1=7ff", "l3_cache_schema": "L3:0=f;1=f",
        "mem_bw_info": {"bandwidth_gran": 10, "delay_linear": 1, "min_bandwidth": 10, "num_closids": 8},
        "mem_bw_schema_root": "MB:0=100;1=100", "mem_bw_schema": "MB:0=20;1=70",
        "schemata": ["L3:0=f;1=f", "MB:0=20;1=70"],
        "mbm_stats": [{"mbm_total_bytes": 10}], "cmt_stats": [{"llc_occupancy": 4096}, {}],
    }


def test_the_mount_point_is_in_mountinfo():
    line = "36 25 0:32 / /sys/fs/resctrl rw,relatime shared:9 - resctrl resctrl rw\n"
    assert facts.resctrl_in("22 1 8:1 / / rw - ext4 resctrl rw\n" + line) == "/sys/fs/resctrl"
    assert facts.resctrl_in(line.replace("/sys/fs/resctrl", "/a\\040b")) == "/a b"
    assert facts.resctrl_in("22 1 8:1 / /resctrl rw - ext4 /dev/sda rw\n") == ""
