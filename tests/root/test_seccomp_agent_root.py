"""SCMP_ACT_NOTIFY from end to end: the listener reaches the agent, and the agent's answer the process."""

import array
import fcntl
import json
import os
import socket
import struct
import threading

import pytest

NOTIF_RECV, NOTIF_SEND = 0xC0502100, 0xC0182101  # ioctl numbers of linux/seccomp.h, 64-bit


class Agent(threading.Thread):
    """Takes one listener and answers the first notification with an errno."""

    def __init__(self, path, errno):
        super().__init__(daemon=True)
        self.errno, self.message, self.stray = errno, None, None
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind("\0" + path[1:] if str(path).startswith("@") else str(path))
        self.socket.listen()
        self.socket.settimeout(20)

    def run(self):
        peer, _ = self.socket.accept()
        data, fds, _, _ = socket.recv_fds(peer, 1 << 16, 4)
        self.message, self.stray = json.loads(data), fds[1:]
        request = array.array("B", bytes(80))
        try:
            fcntl.ioctl(fds[0], NOTIF_RECV, request, True)
        except FileNotFoundError:
            return  # the container ended before it asked
        answer = struct.pack("QqiI", struct.unpack_from("Q", request)[0], 0, -self.errno, 0)
        fcntl.ioctl(fds[0], NOTIF_SEND, array.array("B", answer), True)
        os.close(fds[0])


def profile(path):
    return {"linux": {"seccomp": {
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(path), "listenerMetadata": "m",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]}}}


def test_a_notification_of_the_container_is_answered_by_the_agent(rt):
    path = rt.base / "agent.sock"
    agent = Agent(path, 71)  # EPROTO, which no kernel gives for mkdir
    agent.start()
    result = rt.container(profile(path), {"process": {"args": ["/bin/mkdir", "/tmp/x"]}}).run()
    agent.join(20)
    assert "Protocol error" in result.err
    assert agent.message["fds"] == ["seccompFd"] and agent.message["metadata"] == "m" and agent.stray == []
    assert agent.message["state"]["status"] == "creating" and agent.message["pid"] == agent.message["state"]["pid"] > 1


def test_an_agent_may_have_an_abstract_name(rt):
    agent = Agent(f"@{rt.token}-agent", 71)
    agent.start()
    result = rt.container(profile(f"@{rt.token}-agent"), {"process": {"args": ["/bin/mkdir", "/tmp/x"]}}).run()
    agent.join(20)
    assert "Protocol error" in result.err


def test_exec_hands_over_a_listener_of_its_own_and_says_running(rt):
    path = rt.base / "agent.sock"
    agents = [Agent(path, 71)]
    agents[0].start()
    up = rt.container(profile(path), {"process": {"args": ["/bin/probe", "sleep"]}}).up()
    path.unlink()
    agents.append(Agent(path, 72))
    agents[1].start()
    result = up.exec("/bin/mkdir", "/tmp/x")
    agents[1].join(20)
    assert "Multihop attempted" in result.err
    assert agents[1].message["state"]["status"] == "running"
    assert agents[1].message["state"]["pid"] == up.pid != agents[1].message["pid"] > 1


def test_a_filter_is_compiled_once_and_then_taken_from_the_cache(rt):
    section = {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW",
                                     "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71}]}}}
    for _ in range(2):
        result = rt.container(section, {"process": {"args": ["/bin/mkdir", "/tmp/x"]}}).run()
        assert "Protocol error" in result.err
        entries = os.listdir(rt.root / "@seccomp")
        assert len(entries) == 1
    assert rt.call("list", "-q").ok().out == ""


class Deaf(threading.Thread):
    """Takes listeners and never answers."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.kept = []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen()

    def run(self):
        while True:
            peer, _ = self.socket.accept()
            self.kept += socket.recv_fds(peer, 1 << 16, 4)[1]


class Server(Deaf):
    """Lets go on what it is asked about, and notes it."""

    def __init__(self, path):
        super().__init__(path)
        self.asked = set()

    def run(self):
        while True:
            peer, _ = self.socket.accept()
            threading.Thread(target=self.serve, args=socket.recv_fds(peer, 1 << 16, 4)[1], daemon=True).start()

    def serve(self, fd):
        while True:
            request = array.array("B", bytes(80))
            try:
                fcntl.ioctl(fd, NOTIF_RECV, request, True)
                self.asked.add(struct.unpack_from("i", request, 16)[0])
                fcntl.ioctl(fd, NOTIF_SEND, array.array("B", struct.pack("QqiI", struct.unpack_from("Q", request)[0], 0, 0, 1)), True)
            except OSError:
                return


def asks(path, *calls, nnp=True):
    return {"process": {"args": ["/bin/probe", "sleep"], "noNewPrivileges": nnp},
            "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(path),
                                  "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"},
                                               {"names": list(calls), "action": "SCMP_ACT_NOTIFY"}]}}}


@pytest.mark.parametrize("verb", ("create", "exec"))
def test_a_filter_that_asks_about_sendmsg_is_no_hang(rt, verb):
    path = rt.base / "agent.sock"
    Deaf(path).start()
    container = rt.container(asks(path, "sendmsg", "recvmsg", "sendmmsg", "pidfd_getfd")).up()
    if verb == "exec":
        container.exec("/bin/true").ok()


def test_an_agent_that_answers_may_be_asked_about_all_that_init_calls(rt):
    path = rt.base / "agent.sock"
    agent = Server(path)
    agent.start()
    rt.container(asks(path, "close", "read", "sendmsg", "recvmsg", "execve", "capset", "prctl", nnp=False)).up()
    assert {3, 0, 59, 126, 157} <= agent.asked if os.uname().machine == "x86_64" else agent.asked


@pytest.mark.parametrize("call", ("close", "read", "capset", "prctl"))
@pytest.mark.runc_known_bad("waits for ever")
def test_an_agent_that_does_not_answer_for_init_is_named(rt, call):
    path = rt.base / "agent.sock"
    Deaf(path).start()
    container = rt.container(asks(path, call, nnp=False))
    result = container.create()
    result.failed("/linux/seccomp/syscalls/1", f"holds container init in {call}(2)", "has not answered")
    assert result.seconds < 15
    rt.assert_nothing_left()


@pytest.mark.parametrize("verb", ("start", "run", "exec"))
@pytest.mark.runc_known_bad("waits for ever")
def test_an_agent_that_does_not_answer_for_execve_is_named(rt, verb):
    path = rt.base / "agent.sock"
    (Server if verb == "exec" else Deaf)(path).start()
    container = rt.container(asks(path, "execve"))
    if verb == "run":
        result = container.run()
    else:
        container.create().ok()
        if verb == "exec":
            container.start().ok()
            path.unlink()
            Deaf(path).start()
        result = container.start() if verb == "start" else container.exec("/bin/true")
    result.failed("/linux/seccomp/syscalls/1", "holds container init in execve(2)", code=255 if verb == "exec" else 1)
    assert result.seconds < 15
    if verb == "start":
        assert container.status == "stopped"
    if verb == "run":
        rt.assert_nothing_left()


def refuses(action, call):
    return {"process": {"noNewPrivileges": False, "args": ["/bin/true"]}, "linux": {"seccomp": {
        "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [call], "action": action}]}}}


@pytest.mark.parametrize("call", ("write", "read", "capset", "execve"))
@pytest.mark.parametrize("action", ("SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"))
@pytest.mark.runc_known_bad("says nothing of the filter")
def test_the_message_says_that_the_filter_has_ended_init(rt, action, call):
    container = rt.container(refuses(action, call))
    created = container.create()
    result = created if created.code else container.start()
    result.failed()
    assert "seccomp" in result.err and call in result.err, repr(result)
    if created.code:
        rt.assert_nothing_left()


def test_the_message_says_so_however_soon_init_has_ended(rt):
    """Init speaks, and is killed in the read(2) for the answer: before or after its start time has been looked at."""
    for _ in range(12):
        rt.container(refuses("SCMP_ACT_KILL_PROCESS", "read")).create().failed("seccomp", "killed by its seccomp filter")
    rt.assert_nothing_left()


@pytest.mark.parametrize("call", ("close", "exit_group", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "getpid"))
def test_what_init_can_do_without_a_filter_may_refuse(rt, call):
    rt.container(refuses("SCMP_ACT_ERRNO", call)).run().ok()
    container = rt.container(refuses("SCMP_ACT_ERRNO", call))
    container.create().ok()
    container.start().ok()


def test_an_init_whose_end_is_refused_ends(rt):
    """execve fails after the filter is in force."""
    patch = refuses("SCMP_ACT_ERRNO", "exit_group")
    patch["linux"]["seccomp"]["syscalls"] += [{"names": ["execve", "exit"], "action": "SCMP_ACT_ERRNO"}]
    result = rt.container(patch).run()
    result.failed("operation not permitted")
    rt.assert_nothing_left()
