"""config.md#posix-platform-hooks and the steps of runtime.md#lifecycle that they are: when each runs, where, with what."""

import json
import os

import pytest
from kit.bundle import File
from kit.runtime import wait_until
from marks import clause, refused

SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
NOTING = {"process": {"args": ["/bin/sh", "-c", "echo process >> /log; exec sleep 100"]}}
OUTSIDE = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
AT_CREATE = ("prestart", "createRuntime", "createContainer")


class Hooks:
    """Scripts on the host that note that they ran, and what they saw."""

    def __init__(self, rt):
        self.base, self.file = rt.base, rt.base / "log"
        self.file.write_text("")

    def script(self, name, body=""):
        path = self.base / f"hook-{name}"
        path.write_text(f"#!/bin/sh\nread -r state\necho {name} >> {self.file}\nprintf '%s' \"$state\" > {path}.state\n"
                        f"readlink /proc/self/ns/mnt /proc/self/ns/net /proc/self/ns/uts > {path}.ns\n{body}\n")
        path.chmod(0o755)
        return {"path": str(path)}

    def log(self):
        return self.file.read_text().split()

    def state(self, name):
        return json.loads((self.base / f"hook-{name}.state").read_text())

    def namespaces(self, name):
        return (self.base / f"hook-{name}.ns").read_text().split()


@pytest.fixture
def hooks(rt):
    return Hooks(rt)


def inside(body):
    """A startContainer hook: its file is the container's."""
    return {"hooks": {"startContainer": [{"path": "/hook"}]}}, {"hook": File(f"#!/bin/sh\n{body}\n", 0o755)}


def log_of(container):
    log = container.rootfs / "log"
    return log.read_text().split() if log.exists() else []


def namespaces(pid="self"):
    return [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("mnt", "net", "uts")]


@clause("config:Hooks-2", "the path of a prestart hook is absolute")
@clause("config:Hooks-7", "the path of a createRuntime hook is absolute")
@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"])
def test_a_relative_path(rt, kind):
    refused(rt, {"hooks": {kind: [{"path": "bin/true"}]}})


@clause("config:Hooks-3", "the time-out of a prestart hook is above zero")
@clause("config:Hooks-8", "the time-out of a createRuntime hook is above zero")
@pytest.mark.parametrize("kind", ["prestart", "createRuntime"])
def test_a_timeout_of_zero(rt, kind):
    refused(rt, {"hooks": {kind: [{"path": "/bin/true", "timeout": 0}]}})


WHERE = {  # kind: (its two clauses in the list, its two in its own section)
    "prestart": (("Hooks-4", "Hooks-5"), ("HooksPrestart-3", "HooksPrestart-4")),
    "createRuntime": (("Hooks-9", "Hooks-10"), ("HooksCreateRuntime-2", "HooksCreateRuntime-3")),
    "createContainer": (("Hooks-11", "Hooks-12"), ("HooksCreateContainer-3", "HooksCreateContainer-4")),
    "poststart": (("Hooks-15", "Hooks-16"), ("HooksPoststart-2", "HooksPoststart-3")),
    "poststop": (("Hooks-17", "Hooks-18"), ("HooksPoststop-2", "HooksPoststop-3")),
}


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[
    mark for path, run in ids for mark in (clause(f"config:{path}", f"{kind}: a path of the host"),
                                           clause(f"config:{run}", f"{kind}: the namespaces it runs in"))])
    for kind, ids in WHERE.items()])
def test_a_hook_of_the_host_and_its_namespaces(rt, hooks, kind):
    container = rt.container(SLEEP, {"hooks": {kind: [hooks.script(kind)]}}).up()
    theirs = namespaces(container.pid)
    container.delete("-f").ok()
    assert hooks.namespaces(kind) == (theirs if kind == "createContainer" else namespaces())


@clause("config:Hooks-13", "startContainer: a path of the container")
@clause("config:Hooks-14", "startContainer: runs in the container")
@clause("config:HooksStartContainer-1", "startContainer: before the process, in start")
@clause("config:HooksStartContainer-2", "startContainer: a path of the container")
@clause("config:HooksStartContainer-3", "startContainer: runs in the container")
@clause("runtime:Lifecycle-11", "startContainer hooks run")
def test_start_container_hooks(rt):
    patch, rootfs = inside("for n in mnt net uts; do readlink /proc/self/ns/$n >> /ns; done; echo hook >> /log")
    rootfs["bin/readlink"] = File((rt.bundle().rootfs / "bin/busybox").read_bytes(), 0o755)
    container = rt.container(NOTING, patch, rootfs=rootfs)
    container.create().ok()
    assert not (container.rootfs / "log").exists()
    container.start().ok()
    theirs = namespaces(container.pid)
    wait_until(lambda: "process" in log_of(container))
    assert log_of(container) == ["hook", "process"]
    assert (container.rootfs / "ns").read_text().split() == theirs


@clause("config:Hooks-19", "in the listed order")
@clause("config:HooksPrestart-2", "prestart before createRuntime")
@clause("config:HooksCreateContainer-2", "createContainer after createRuntime")
@clause("runtime:Lifecycle-5", "prestart hooks run")
@clause("runtime:Lifecycle-7", "createRuntime hooks run")
@clause("runtime:Lifecycle-9", "createContainer hooks run")
@clause("runtime:Lifecycle-14", "poststart hooks run")
@clause("runtime:Lifecycle-17", "poststop hooks run")
def test_all_of_them_in_their_order(rt, hooks):
    container = rt.container(SLEEP, {"hooks": {kind: [hooks.script(f"{kind}-{i}") for i in (1, 2)] for kind in OUTSIDE}}).up()
    container.delete("-f").ok()
    assert hooks.log() == [f"{kind}-{i}" for kind in OUTSIDE for i in (1, 2)]


BEFORE_PIVOT = 'pid=$(echo "$state" | sed \'s/.*"pid": *\\([0-9]*\\).*/\\1/\'); {check} && echo {name} > {base}/seen-{name}'


@clause("config:HooksPrestart-1", "prestart: in create, after the namespaces are made, before the root changes")
@clause("config:HooksCreateRuntime-1", "createRuntime: in create, after the namespaces are made, before the root changes")
@pytest.mark.parametrize("kind", ["prestart", "createRuntime"])
def test_hooks_of_the_host_at_create(rt, hooks, kind):
    check = f'test "$(readlink /proc/$pid/ns/net)" != "$(readlink /proc/self/ns/net)" && test -e /proc/$pid/root{rt.base}'
    container = rt.container(SLEEP, {"hooks": {kind: [hooks.script(kind, BEFORE_PIVOT.format(check=check, name=kind, base=rt.base))]}})
    container.create().ok()
    assert hooks.log() == [kind] and (rt.base / f"seen-{kind}").exists()


@clause("config:HooksCreateContainer-1", "createContainer: in create, after the namespaces are made, before the root changes")
def test_hooks_of_the_container_at_create(rt, hooks):
    body = f'test -e {rt.base}/bundle* && echo yes > {rt.base}/seen'
    container = rt.container(SLEEP, {"hooks": {"createContainer": [hooks.script("createContainer", body)]}})
    container.create().ok()
    assert hooks.log() == ["createContainer"] and (rt.base / "seen").exists()


@clause("config:HooksPoststart-1", "poststart: after the process has begun, before start returns")
def test_poststart_hooks(rt, hooks):
    body = f'pid=$(echo "$state" | sed \'s/.*"pid": *\\([0-9]*\\).*/\\1/\'); readlink /proc/$pid/exe > {rt.base}/exe; sleep 0.3; echo end >> {hooks.file}'
    container = rt.container(SLEEP, {"hooks": {"poststart": [hooks.script("poststart", body)]}})
    container.create().ok()
    assert hooks.log() == []
    container.start().ok()
    assert hooks.log() == ["poststart", "end"]
    assert (rt.base / "exe").read_text().strip().endswith("/bin/probe")


@clause("config:HooksPoststop-1", "poststop: after the container is deleted, before delete returns")
def test_poststop_hooks(rt, hooks):
    container = rt.container(SLEEP)
    group = container.bundle.config["linux"]["cgroupsPath"]
    body = f"test -e {rt.root}/{container.id}/state.json || test -e /sys/fs/cgroup/memory{group} || echo gone >> {hooks.file}; sleep 0.3; echo end >> {hooks.file}"
    container.bundle.patch({"hooks": {"poststop": [hooks.script("poststop", body)]}})
    container.up()
    container.delete("-f").ok()
    assert hooks.log() == ["poststop", "gone", "end"]


STATUS = {"prestart": "created", "createRuntime": "created", "createContainer": "created", "poststart": "running", "poststop": "stopped"}


@clause("config:Hooks-20", "the state comes on stdin")
@pytest.mark.parametrize("kind", OUTSIDE)
def test_the_state_on_stdin(rt, hooks, kind):
    container = rt.container(SLEEP, {"hooks": {kind: [hooks.script(kind)]}, "annotations": {"org.example": "x"}}).up()
    pid = container.pid
    container.delete("-f").ok()
    state = hooks.state(kind)
    assert state["id"] == container.id and state["bundle"] == str(container.bundle.path) and state["ociVersion"]
    assert state["annotations"] == {"org.example": "x"}
    assert state["status"] in (STATUS[kind], "creating" if kind in AT_CREATE else "")
    assert kind == "poststop" or kind == "createContainer" or state["pid"] == pid


FAILING = {"prestart": "runtime:Lifecycle-6", "createRuntime": "runtime:Lifecycle-8", "createContainer": "runtime:Lifecycle-10"}


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=clause(id, f"a failing {kind} hook ends the container"))
                                  for kind, id in FAILING.items()])
def test_a_failing_hook_at_create(rt, hooks, kind):
    refused(rt, {"hooks": {kind: [hooks.script(kind, "exit 1")], "poststop": [hooks.script("poststop")]}})
    assert hooks.log() == [kind, "poststop"]


@clause("runtime:Lifecycle-12", "a failing startContainer hook ends the container")
def test_a_failing_start_container_hook(rt, hooks):
    patch, rootfs = inside("exit 1")
    container = rt.container(NOTING, patch, rootfs=rootfs)
    container.create().ok()
    pid = container.pid
    assert container.start().code > 0
    container.wait_stopped(pid)
    assert not (container.rootfs / "log").exists()


@clause("runtime:Lifecycle-15", "a failing poststart hook ends the container")
def test_a_failing_poststart_hook(rt, hooks):
    container = rt.container(SLEEP, {"hooks": {"poststart": [hooks.script("poststart", "exit 1")]}})
    container.create().ok()
    pid = container.pid
    assert container.start().code > 0
    container.wait_stopped(pid)


@clause("runtime:Lifecycle-18", "a failing poststop hook is a warning, the others run")
def test_a_failing_poststop_hook(rt, hooks):
    container = rt.container(SLEEP, {"hooks": {"poststop": [hooks.script("first", "exit 1"), hooks.script("second")]}}).up()
    result = container.delete("-f").ok()
    assert hooks.log() == ["first", "second"]
    assert "warn" in (result.log_text + result.err).lower()
