"""config-linux.md#seccomp: errno values, and the conversation with the agent behind listenerPath."""

import json
import os
import socket
import threading

import pytest
from marks import clause, refused

SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}


def profile(rules=(), **section):
    return {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}, *rules], **section}}}


def notifying(path, **more):
    return profile([{"names": ["rmdir"], "action": "SCMP_ACT_NOTIFY"}], listenerPath=str(path), **more)


class Agent(threading.Thread):
    """Listens, and keeps all that comes over every connection."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.received, self.ended = [], []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(str(path))
        self.socket.listen()
        self.socket.settimeout(20)
        self.start()

    def run(self):
        peer, _ = self.socket.accept()
        with peer:
            peer.settimeout(10)
            data, fds, _, _ = socket.recv_fds(peer, 1 << 16, 8)
            while chunk := socket.recv_fds(peer, 1 << 16, 8):
                if not chunk[0]:
                    break
                data += chunk[0]
                fds += chunk[1]
            self.received.append((data, [os.readlink(f"/proc/self/fd/{fd}") for fd in fds]))
            for fd in fds:
                os.close(fd)
        self.ended.append(True)


@pytest.fixture
def agent(rt):
    agent = Agent(rt.base / "agent")
    agent.path = rt.base / "agent"
    return agent


def told(rt, agent):
    """The container and the state that its agent got."""
    container = rt.container(notifying(agent.path, listenerMetadata="meta"), SLEEP, {"annotations": {"org.example": "x"}})
    container.create().ok()
    agent.join(15)
    assert len(agent.received) == 1, "not exactly one connection"
    return container, json.loads(agent.received[0][0]), agent.received[0][1]


@clause("linux:Seccomp-2", "defaultErrnoRet with an action that has none is an error")
def test_a_default_errno_without_use(rt):
    refused(rt, profile(defaultErrnoRet=5))


@clause("linux:Seccomp-12", "errnoRet with an action that has none is an error")
def test_an_errno_without_use(rt):
    refused(rt, profile([{"names": ["rmdir"], "action": "SCMP_ACT_KILL", "errnoRet": 5}]))


@clause("linux:Seccomp-10", "at least one name")
def test_no_name(rt):
    refused(rt, profile([{"names": [], "action": "SCMP_ACT_ERRNO"}]))


@clause("linux:Seccomp-3", "the socket is a stream socket of the file system")
@clause("linux:Seccomp-4", "one state per connection")
@clause("linux:Seccomp-5", "the connection is closed after it")
@clause("linux:Seccomp-7", "fds names seccompFd")
@clause("config-linux.md#containerprocessstate-1", "JSON, with the descriptors by SCM_RIGHTS")
@clause("config-linux.md#containerprocessstate-2", "descriptors come with the first message only")
@clause("config-linux.md#containerprocessstate-3", "ociVersion is there")
@clause("config-linux.md#containerprocessstate-4", "pid is the process, as the runtime sees it")
@clause("config-linux.md#containerprocessstate-5", "state is the container's")
def test_what_the_agent_gets(rt, agent):
    container, state, descriptors = told(rt, agent)
    assert state["fds"] == ["seccompFd"] and descriptors == ["anon_inode:seccomp notify"]
    assert agent.ended == [True]
    assert state["ociVersion"].startswith("1.") and state["metadata"] == "meta"
    assert state["pid"] == container.pid
    assert state["state"]["id"] == container.id and state["state"]["bundle"] == str(container.bundle.path)


@clause("linux:Seccomp-6", "an agent that cannot be reached is an error")
def test_no_agent(rt):
    refused(rt, notifying(rt.base / "nobody"), SLEEP)


@clause("linux:Seccomp-8", "metadata without a socket is an error")
def test_metadata_without_a_socket(rt):
    refused(rt, profile(listenerMetadata="meta"))
