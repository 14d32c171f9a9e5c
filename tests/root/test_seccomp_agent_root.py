"""SCMP_ACT_NOTIFY from end to end: the listener reaches the agent, and the agent's answer the process."""

import array
import fcntl
import json
import os
import socket
import struct
import threading

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
