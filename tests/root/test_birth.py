"""Init is born by a thread while the runtime prepares, and waits for its plan (docs/design.md, "Born while the host prepares")."""

import pathlib
import shutil

import pytest
from kit.runtime import wait_until

SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
own = pytest.mark.runc_known_bad("has another order, and no thread of that kind")


def injecting(rule, *follow):
    """strace(1) that injects into the runtime, and with -f into all that it starts."""
    strace = shutil.which("strace") or pytest.skip("strace is not installed")
    return strace, *follow, "-qq", "-o", "/dev/null", "-e", f"trace={rule.partition(':')[0]}", "-e", f"inject={rule}"


def members(rt):
    return [int(pid) for path in rt.cgroups() for pid in (pathlib.Path(path) / "cgroup.procs").read_text().split()]


@own
@pytest.mark.parametrize("last", ["mknodat:signal=KILL:when=1", "mknodat:signal=KILL:when=2", "memfd_create:signal=KILL:when=2",
                                  "sendmsg:signal=KILL:when=1", "recvmsg:signal=KILL:when=1", "sendmsg:signal=KILL:when=2"])
def test_init_ends_with_its_runtime_at_whatever_point_of_its_birth(rt, last):
    """Without any `delete`: an init without a plan reads the end of its socket, one with a plan is killed (PR_SET_PDEATHSIG)."""
    container = rt.container(SLEEP)
    rt.call("create", "--bundle", container.bundle.path, container.id, wrap=injecting(last))
    wait_until(lambda: not members(rt), timeout=3, what="init has ended")
    assert container.status == "stopped"
    container.delete("-f").ok()


@own
def test_without_a_thread_init_is_born_all_the_same(rt):
    """The first clone3 is the thread's: a pids limit of the caller's own may leave room for init alone."""
    container = rt.container({"process": {"args": ["/bin/true"]}})
    argv = ("run", "--bundle", container.bundle.path, container.id)
    rt.call(*argv, wrap=injecting("clone3:error=EAGAIN:when=1", "-f")).ok()
    rt.call(*argv, wrap=injecting("clone3:error=EAGAIN:when=1+", "-f")).failed("clone3 init: resource temporarily unavailable")


@own
@pytest.mark.parametrize("most", [2, 3])
def test_a_caller_with_room_for_two_processes_has_room_for_init(rt, most):
    """The runtime is one, and the thread must not be in init's way."""
    group = pathlib.Path("/sys/fs/cgroup/pids") / f"{rt.token}-caller"
    if not group.parent.joinpath("cgroup.procs").exists():
        pytest.skip("this host has no v1 hierarchy of pids, in which a child is born where its parent is")
    group.mkdir()
    try:
        (group / "pids.max").write_text(str(most))
        container = rt.container(SLEEP)
        enter = ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
        rt.call("create", "--bundle", container.bundle.path, container.id, wrap=enter).ok()
        container.delete("-f").ok()
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text(), what="the group is empty")
        group.rmdir()


@own
def test_the_thread_is_gone_when_the_process_runs(rt):
    container = rt.container(SLEEP)
    process = container.spawn_run()
    wait_until(lambda: container.state().code == 0 and container.status == "running", what="the container runs")
    assert len(list(pathlib.Path(f"/proc/{process.popen.pid}/task").iterdir())) == 1
    container.kill("KILL").ok()
    process.wait()
