"""runtime.md: the state, the lifecycle but for its hooks, errors, and the five operations."""

import json
import os

import pytest
from kit.bundle import add_mounts, bind
from kit.runtime import alive, wait_until
from marks import clause, refused
from official import check

SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
NOTING = {"process": {"args": ["/bin/sh", "-c", "echo once >> /log; exec sleep 100"]}}
NO_PROCESS = {"process": None}


@clause("runtime:State-1", "ociVersion is there")
@clause("runtime:State-2", "id is the container's")
@clause("runtime:State-4", "status is there")
@clause("runtime:State-6", "pid while created and running")
@clause("runtime:State-7", "bundle is an absolute path")
@clause("runtime:State-8", "the state keeps its schema")
@clause("runtime:QueryState-3", "state prints it")
@clause("runtime:Create-3", "create makes a container")
@clause("runtime:ScopeContainer-1", "who has created a container can operate on it")
@clause("runtime:Operations-1", "state, create, start, kill, delete")
def test_the_state_through_a_life(rt):
    container = rt.container(SLEEP, {"annotations": {"org.example": "x"}})
    assert container.state().code > 0
    container.create().ok()
    created = container.state().ok().json()
    container.start().ok()
    running = container.state().ok().json()
    container.kill("KILL").ok()
    container.wait_stopped(running["pid"])
    wait_until(lambda: container.status == "stopped")
    stopped = container.state().ok().json()
    container.delete().ok()
    assert container.state().code > 0
    assert [state["status"] for state in (created, running, stopped)] == ["created", "running", "stopped"]
    for state in (created, running, stopped):
        assert state["ociVersion"].startswith("1.") and state["id"] == container.id
        assert state["bundle"] == str(container.bundle.path) and state["annotations"] == {"org.example": "x"}
        check("state-schema.json", state)
    assert created["pid"] == running["pid"] > 1


@clause("runtime:State-3", "an id is unique")
@clause("runtime:Create-2", "an id that is taken, or none, or no id at all, is an error, and nothing new is made")
@pytest.mark.parametrize("id", ["", ".", "..", "a/b", "../x"])
def test_a_bad_id(rt, id):
    before = sorted(os.listdir(rt.base))
    assert rt.call("create", "--bundle", rt.bundle(SLEEP).path, id).code > 0
    assert rt.ids() == [] and [n for n in sorted(os.listdir(rt.base)) if n not in before and not n.startswith("bundle")
                               and not n[0].isdigit()] == []


@clause("runtime:State-3", "an id is unique")
@clause("runtime:Create-2", "an id that is taken, or none, or no id at all, is an error, and nothing new is made")
def test_an_id_that_is_taken(rt):
    container = rt.container(SLEEP).up()
    pid = container.pid
    assert rt.call("create", "--bundle", rt.bundle(SLEEP).path, container.id).code > 0
    assert container.state().ok().json()["pid"] == pid and container.status == "running"


@clause("runtime:State-5", "a status of its own is for a state of its own")
def test_a_paused_container(rt):
    container = rt.container(SLEEP).up()
    rt.call("pause", container.id).ok()
    assert container.status == "paused"
    rt.call("resume", container.id).ok()
    assert container.status == "running"


# --- lifecycle


@clause("runtime:Lifecycle-2", "what cannot be made is an error")
@clause("runtime:Create-6", "a property that cannot be applied is an error, and there is no container")
@clause("runtime:Errors-1", "an error leaves everything as it was")
@pytest.mark.parametrize("patch", [
    pytest.param(add_mounts(bind("/nothing/here", "/mnt")), id="mount"),
    pytest.param({"process": {"args": ["/bin/nothing"]}}, id="program"),
    pytest.param({"linux": {"sysctl": {"net.ipv4.nosuch": "1"}}}, id="sysctl"),
    pytest.param({"linux": {"resources": {"cpu": {"cpus": "4000"}}}}, id="limit"),
    pytest.param({"hooks": {"createRuntime": [{"path": "/bin/false"}]}}, id="hook"),
])
def test_what_cannot_be_made(rt, patch):
    refused(rt, patch)
    rt.assert_nothing_left()


@clause("runtime:Lifecycle-3", "create makes the environment and does not run the program")
@clause("runtime:Create-5", "process.args waits for start")
@clause("runtime:Lifecycle-13", "start runs the program")
@clause("runtime:Start-3", "start runs the program")
def test_the_program_runs_at_start(rt):
    container = rt.container(NOTING)
    container.create().ok()
    pid = container.pid
    assert os.readlink(f"/proc/{pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt")
    assert not (container.rootfs / "log").exists()
    container.start().ok()
    wait_until(lambda: (container.rootfs / "log").exists())
    assert container.pid == pid


@clause("runtime:Lifecycle-4", "config.json is read once")
def test_a_later_edit_changes_nothing(rt):
    container = rt.container(NOTING, {"annotations": {"org.example": "before"}})
    container.create().ok()
    container.bundle.patch({"process": {"args": ["/bin/false"]}, "annotations": {"org.example": "after"}, "hostname": "after"})
    container.start().ok()
    wait_until(lambda: (container.rootfs / "log").exists())
    assert container.state().ok().json()["annotations"] == {"org.example": "before"}
    container.bundle.raw("no JSON at all")
    assert container.status == "running"


@clause("runtime:Lifecycle-16", "a container that is deleted is undone")
@clause("runtime:Delete-3", "delete removes what create made")
def test_delete_leaves_nothing(rt):
    container = rt.container(SLEEP).up()
    pid = container.pid
    container.kill("KILL").ok()
    container.wait_stopped(pid)
    wait_until(lambda: container.status == "stopped")
    container.delete().ok()
    rt.assert_nothing_left()


@clause("runtime:Delete-4", "what create did not make stays")
def test_delete_takes_nothing_else(rt):
    ours = rt.base / "ours"
    ours.mkdir()
    (ours / "file").write_text("x")
    neighbour = rt.container(SLEEP).up()
    join = {"type": "ipc", "path": f"/proc/{neighbour.pid}/ns/ipc"}

    def joined(config):
        config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "ipc"] + [join]
    container = rt.container(SLEEP, joined, add_mounts(bind(ours, "/mnt"))).up()
    container.delete("-f").ok()
    assert (ours / "file").read_text() == "x" and container.bundle.rootfs.is_dir()
    assert json.loads((container.bundle.path / "config.json").read_text())["ociVersion"]
    assert neighbour.status == "running"


# --- operations


@clause("runtime:QueryState-1", "state without an id is an error")
@clause("runtime:Create-1", "create without an id or a bundle is an error")
@clause("runtime:Start-1", "start without an id is an error")
@clause("runtime:Kill-1", "kill without an id is an error")
@clause("runtime:Delete-1", "delete without an id is an error")
@pytest.mark.parametrize("argv", [["state"], ["create"], ["start"], ["kill"], ["delete"]], ids=lambda argv: argv[0])
def test_an_operation_without_an_id(rt, argv):
    assert rt.call(*argv, cwd=rt.bundle(SLEEP).path if argv != ["create"] else rt.base).code > 0


@clause("runtime:Create-1", "create without an id or a bundle is an error")
def test_create_without_a_bundle(rt):
    assert rt.call("create", rt.token, cwd=rt.root).code > 0
    assert rt.call("create", cwd=rt.bundle(SLEEP).path).code > 0


@clause("runtime:QueryState-2", "state of what is not there is an error")
def test_the_state_of_nothing(rt):
    assert rt.call("state", "nothing").code > 0


@clause("runtime:Start-2", "only a created container can be started; otherwise nothing happens")
def test_start_at_other_times(rt):
    assert rt.call("start", "nothing").code > 0
    container = rt.container(NOTING).up()
    wait_until(lambda: (container.rootfs / "log").exists())
    assert container.start().code > 0
    pid = container.pid
    container.kill("KILL").ok()
    container.wait_stopped(pid)
    wait_until(lambda: container.status == "stopped")
    assert container.start().code > 0
    assert container.status == "stopped" and (container.rootfs / "log").read_text() == "once\n"


@clause("runtime:Start-4", "start without a process is an error")
@clause("config:Process-1", "process is required for start only")
def test_start_without_a_process(rt):
    container = rt.container(NO_PROCESS)
    container.create().ok()
    assert container.start().code > 0
    assert container.status == "created"
    container.delete("-f").ok()


@clause("runtime:Kill-2", "a signal to a stopped container is an error")
def test_kill_when_it_is_over(rt):
    assert rt.call("kill", "nothing", "KILL").code > 0
    container = rt.container(SLEEP).up()
    pid = container.pid
    container.kill("KILL").ok()
    container.wait_stopped(pid)
    wait_until(lambda: container.status == "stopped")
    assert container.kill("TERM").code > 0
    assert container.status == "stopped"


@clause("runtime:Kill-3", "the signal that was named arrives")
@pytest.mark.parametrize("signal, number", [("TERM", 15), ("SIGUSR1", 10), ("12", 12)])
def test_the_signal_arrives(rt, signal, number):
    container = rt.container({"process": {"args": ["/bin/probe", "trap", "/trap"]}}).up()
    wait_until(lambda: (container.rootfs / "trap").exists() and "ready" in (container.rootfs / "trap").read_text())
    container.kill(signal).ok()
    wait_until(lambda: str(number) in (container.rootfs / "trap").read_text().split())


@clause("runtime:Delete-2", "only a stopped container can be deleted; otherwise nothing happens")
def test_delete_at_other_times(rt):
    assert rt.call("delete", "nothing").code > 0
    running = rt.container(SLEEP).up()
    assert running.delete().code > 0
    assert running.status == "running" and alive(running.pid)
    created = rt.container(SLEEP)
    created.create().ok()
    assert created.delete().code > 0
    assert created.status == "created"
