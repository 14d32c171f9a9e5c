"""linux.intelRdt from outside. Where there is no resctrl, the runtime finds one in its mountinfo that is a directory with the
files that the kernel would have made; what is made and removed in it is tests/unit/test_rdt.py's."""

import json
from pathlib import Path

import pytest
from kit.bundle import namespaces

known_bad = pytest.mark.runc_known_bad
SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
SCHEMATA = "L3:0=7ff;1=7ff\nMB:0=100;1=100\n"


def wanted(**properties):
    return {"linux": {"intelRdt": properties}}


@known_bad("words it otherwise")
@pytest.mark.skipif(Path("/sys/fs/resctrl/schemata").exists(), reason="this host has resctrl mounted")
def test_not_mounted_is_an_error_with_its_cure(rt, host):
    container = rt.container(wanted(closID="gold"))
    result = container.create().failed("intelRdt is specified in config, but Intel RDT is not enabled")
    assert "hint: mount -t resctrl resctrl /sys/fs/resctrl" in result.err
    rt.assert_nothing_left()


class Resctrl:
    """A directory that the runtime takes for a resctrl mount point: it is in what it sees as its mountinfo."""

    def __init__(self, base):
        self.root = base / "resctrl"
        for name in ("info/L3", "info/MB"):
            (self.root / name).mkdir(parents=True)
        self.group("")
        table = base / "mountinfo"
        table.write_text(Path("/proc/self/mountinfo").read_text() + f"999 1 0:99 / {self.root} rw - resctrl resctrl rw\n")
        self.wrap = ("unshare", "-m", "sh", "-c", f'mount --bind {table} /proc/$$/mountinfo && exec "$@"', "sh")

    def group(self, name):
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        (path / "schemata").write_text(SCHEMATA)
        (path / "tasks").write_text("")
        return path


@pytest.fixture
def resctrl(rt):
    return Resctrl(rt.base)


def create(rt, resctrl, container):
    return rt.call("create", "--bundle", container.bundle.path, container.id, wrap=resctrl.wrap)


@known_bad("wants a real one")
@pytest.mark.parametrize("patch", [{}, namespaces("pid", "ipc", "uts", "mount", "time")], ids=["born", "first process"])
def test_init_and_what_is_executed_join_the_class_and_its_monitoring_group(rt, resctrl, patch):
    container = rt.container(SLEEP, patch, wanted(closID="gold", enableMonitoring=True))
    gold, monitor = resctrl.group("gold"), resctrl.group(f"gold/mon_groups/{container.id}")
    create(rt, resctrl, container).ok()
    tasks = [path / "tasks" for path in (gold, monitor)]
    assert [path.read_text() for path in tasks] == ["0", "0"]  # each written by the process itself
    container.start().ok()
    for path in tasks:
        path.write_text("")
    rt.call("exec", container.id, "/bin/true").ok()
    assert [path.read_text() for path in tasks] == ["0", "0"]
    assert gold.joinpath("schemata").read_text() == SCHEMATA
    state = json.loads((container.directory / "state.json").read_text())
    assert (state["intel_rdt_path"], state["intel_rdt_mon_path"]) == (str(gold), str(monitor))
    container.delete("-f").ok()
    assert gold.exists()


@known_bad("wants a real one")
def test_the_group_of_the_container_is_used_updated_and_reported(rt, resctrl):
    container = rt.container(SLEEP, wanted(l3CacheSchema="L3:0=7ff", enableMonitoring=False))
    group = resctrl.group(container.id)
    create(rt, resctrl, container).ok()
    container.start().ok()
    update = ("update", "--l3-cache-schema", "L3:0=f;1=f", "--mem-bw-schema", "MB:0=20;1=70")
    rt.call(*update, container.id).ok()
    assert group.joinpath("schemata").read_text().startswith("L3:0=f;1=f\nMB:0=20;1=70\n")
    data = rt.call("events", "--stats", container.id).ok().json()["data"]
    assert data["intel_rdt"]["l3_cache_schema"] == "L3:0=f;1=f" and data["intel_rdt"]["mem_bw_schema_root"] == "MB:0=100;1=100"
    (resctrl.root / "info/MB").rmdir()
    rt.call(*update, container.id).failed("Intel RDT/MBA: memory bandwidth schema is not enabled")
    container.delete("-f").ok()
    assert group.exists()  # it was there before


@known_bad("wants a real one")
@pytest.mark.parametrize("properties, words", [
    ({"closID": "gold"}, "clos dir not accessible (must be pre-created when schemata, l3CacheSchema and memBwSchema are empty)"),
    ({"closID": "/", "l3CacheSchema": "L3:0=1"}, 'config.json: /linux/intelRdt/l3CacheSchema: "L3:0=1" differs from the schemata of'),
    ({"closID": "a/b"}, 'invalid intelRdt.ClosID "a/b"'),
])
def test_refusals(rt, resctrl, properties, words):
    container = rt.container(wanted(**properties))
    create(rt, resctrl, container).failed(words)
    assert resctrl.root.joinpath("schemata").read_text() == SCHEMATA
    rt.assert_nothing_left()


@known_bad("wants a real one")
@pytest.mark.parametrize("patch", [{}, {"linux": {"resources": {"unified": {"no.such": "1"}}}}], ids=["compared", "never reached"])
def test_a_group_that_is_there_survives_a_create_that_fails(rt, resctrl, patch):
    """A real one is removed by an rmdir, whatever files are in it; this one as well if it has none but what is read."""
    container = rt.container(wanted(l3CacheSchema="L3:0=1"), patch)
    group = resctrl.root / container.id
    group.mkdir()
    create(rt, resctrl, container).failed()
    assert group.is_dir()
    rt.assert_nothing_left()


def test_an_update_of_a_container_without_it_is_refused(rt):
    container = rt.container(SLEEP).up()
    rt.call("update", "--l3-cache-schema", "L3:0=f", container.id).failed()
