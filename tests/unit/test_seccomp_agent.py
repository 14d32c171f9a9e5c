"""The message to a seccomp agent, received by a real socket: one message, one descriptor, then the end."""

import json
import os
import socket
import threading

import pytest

from pyrunc.errors import Error
from pyrunc.host import seccomp_agent

STATE = {"ociVersion": "1.2.0", "id": "c1", "status": "creating", "pid": 42, "bundle": "/b"}


def serve(path, got):
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(os.path.dirname(path))
        listener.bind(os.path.basename(path))
        listener.listen()
        got["ready"].set()
        peer, _ = listener.accept()
        with peer:
            data, fds, _, _ = socket.recv_fds(peer, 1 << 20, 4)
            while more := peer.recv(1 << 16):
                data += more
            got["message"], got["fds"] = json.loads(data), fds


@pytest.mark.parametrize("name, state", [("s", STATE), (120 * "x" + "/s", {**STATE, "annotations": {"a": "x" * 500000}})])
def test_the_agent_gets_one_json_message_and_the_listener(tmp_path, monkeypatch, name, state):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    got = {"ready": threading.Event()}
    agent = threading.Thread(target=serve, args=(str(path), got))
    agent.start()
    got["ready"].wait()
    read_end, write_end = os.pipe()
    seccomp_agent.send(str(path), write_end, {"pid": 42, "metadata": "m\xe4", "state": state})
    agent.join()
    assert got["message"] == {"ociVersion": "1.2.0", "fds": ["seccompFd"], "pid": 42, "metadata": "m\xe4", "state": state}
    assert len(got["fds"]) == 1
    os.write(got["fds"][0], b"x")
    assert os.read(read_end, 1) == b"x"
    os.close(got["fds"][0])
    assert os.read(read_end, 1) == b"", "the sender kept the listener"
    os.close(read_end)


def test_an_agent_may_close_as_soon_as_it_has_the_message(tmp_path, monkeypatch):
    class Slow(seccomp_agent._socket.socket):
        """Goes on only when the other side has closed."""

        def sendmsg(self, *what):
            sent = super().sendmsg(*what)
            agent.join()
            return sent

    def serve():
        peer, _ = listener.accept()
        with peer:
            got.extend(socket.recv_fds(peer, 1 << 20, 4)[1])

    got = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        agent = threading.Thread(target=serve)
        agent.start()
        monkeypatch.setattr(seccomp_agent._socket, "socket", Slow)
        seccomp_agent.send(str(tmp_path / "s"), os.open("/dev/null", os.O_RDONLY), {"pid": 42, "metadata": "", "state": STATE})
    assert len(got) == 1
    os.close(got[0])


def test_without_metadata_the_key_is_absent(monkeypatch):
    sent = {}
    monkeypatch.setattr(seccomp_agent, "_deliver", lambda path, data, fd: sent.update(json.loads(data)))
    seccomp_agent.send("/x", os.open("/dev/null", os.O_RDONLY), {"pid": 1, "metadata": "", "state": STATE})
    assert list(sent) == ["ociVersion", "fds", "pid", "state"]


@pytest.mark.parametrize("make, words", [
    (lambda path: None, "no such file or directory"),
    (lambda path: path.write_text(""), "connection refused"),
])
def test_an_agent_that_is_not_there_is_an_error_and_the_listener_is_closed(tmp_path, make, words):
    path = tmp_path / "s"
    make(path)
    read_end, write_end = os.pipe()
    with pytest.raises(Error) as caught:
        seccomp_agent.send(str(path), write_end, {"pid": 1, "state": STATE})
    assert caught.value.message == f'seccomp listener "{path}": {words}'
    assert os.read(read_end, 1) == b""
    os.close(read_end)


def test_an_agent_that_never_accepts_does_not_hang_us(tmp_path, monkeypatch):
    monkeypatch.setattr(seccomp_agent, "TIMEOUT", 0.05)
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(path)
        with pytest.raises(Error) as caught:
            seccomp_agent.send(path, os.open("/dev/null", os.O_RDONLY), {"pid": 1, "state": STATE})
        for one in waiting:
            one.close()
    assert "timed out" in caught.value.message or "unavailable" in caught.value.message
