"""What the host offers every generated bundle: a tree to bind, namespaces to join, a place for relative cgroup paths.

Both runtimes get the same one, so nothing in it may be changed by a container: what the probe tries leaves no trace.
"""

import array
import errno
import fcntl
import json
import os
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from kit import limits
from kit.runtime import PREFIX, wait_until

NOTIF_RECV, NOTIF_SEND = 0xC0502100, 0xC0182101  # ioctl numbers of linux/seccomp.h
ANSWER = errno.EPROTO  # which none of the calls would give
JOINABLE = {"pid": "pid_for_children", "network": "net", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup", "time": "time_for_children"}
USERNS = 300000


class Host:
    """One worker's; `names` are the placeholders that a case may hold."""

    def __init__(self):
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self.path.chmod(0o755)
        self.source = self.path / "source"
        self._tree()
        self.groups, self.before = [], {}
        self._own_cgroups()
        self.holder = self._hold("--net", "--ipc", "--uts", "--cgroup", "--time")
        self.user_holder = self._hold("--user", "--net", "--ipc", "--uts")
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{self.user_holder.pid}/{name}").write_text(f"0 {USERNS} 65536")
        self.agent = Agent(self.path / "agent.sock")
        self.names = {"{source}": str(self.source), "{agent}": self.agent.path}
        for kind, file in JOINABLE.items():
            self.names[f"{{ns:{kind}}}"] = f"/proc/{self.holder.pid}/ns/{file}"
        for kind, file in {**JOINABLE, "user": "user"}.items():
            self.names[f"{{userns:{kind}}}"] = f"/proc/{self.user_holder.pid}/ns/{file}"

    def _tree(self):
        (self.source / "sub").mkdir(parents=True)
        (self.source / "empty").mkdir()
        (self.source / "file").write_text("x")
        os.chown(self.source / "file", 7, 8)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=755,nosuid,noatime", "differential", self.source / "sub"],
                       check=True)
        (self.source / "sub" / "deep").write_text("x")
        subprocess.run(["mount", "--make-shared", self.source / "sub"], check=True)

    def _own_cgroups(self):
        """Move this process to a group of its own in every hierarchy: a relative cgroupsPath begins beside it."""
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            top = Path("/sys/fs/cgroup", controllers.removeprefix("name=")) if controllers else Path(limits.TREE_V2)
            group = top / self.path.name / "worker"
            for path_ in (group.parent, group):
                path_.mkdir()
                for file in ("cpuset.cpus", "cpuset.mems"):
                    if controllers and (path_ / file).exists():
                        (path_ / file).write_text((path_.parent / file).read_text())
            (group / "cgroup.procs").write_text(str(os.getpid()))
            self.groups.append(group)
            self.before[group] = top / path.lstrip("/")

    def without_hierarchy(self, line):
        """A line about a group, by its path in whichever hierarchy."""
        for group in self.groups:
            line = line.replace(f"cgroup {group.parent.parent}/", "cgroup /")
        return line

    def _hold(self, *kinds):
        """A process in new namespaces, once they are there; it and the first process of its pid namespace end with this one."""
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "unshare", *kinds, "--pid", "--kill-child", "--", "sleep", "infinity"])
        while not (found := self._link(process.pid)) or found == self._link(os.getpid()):
            time.sleep(0.005)
        return process

    def _link(self, pid):
        try:
            return os.readlink(f"/proc/{pid}/ns/pid_for_children")
        except OSError:  # a pid namespace without its first process
            return None

    def close(self):
        self.agent.close()
        for holder in (self.holder, self.user_holder):
            holder.kill()
            holder.wait()
        for group in self.groups:
            (self.before[group] / "cgroup.procs").write_text(str(os.getpid()))
            group.rmdir()
            group.parent.rmdir()
        subprocess.run(["umount", "-l", self.source / "sub"], check=True)
        shutil.rmtree(self.path)


class Agent:
    """A seccomp agent: notes the state that comes with each listener, and answers all that is asked with one errno."""

    def __init__(self, path):
        self.path, self.states = str(path), []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            peer, _ = self.socket.accept()
            with peer:
                data, fds, _, _ = socket.recv_fds(peer, 1 << 16, 4)
            if not fds:
                self.states.append(data)
                if data == b"end":
                    return
                continue
            self.states.append({**json.loads(data), "descriptors": len(fds)})
            threading.Thread(target=self._answer, args=fds, daemon=True).start()

    def _answer(self, listener, *_):
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        while not poll.poll()[0][1] & select.POLLHUP:
            request = array.array("B", bytes(80))
            try:
                fcntl.ioctl(listener, NOTIF_RECV, request, True)
                fcntl.ioctl(listener, NOTIF_SEND, array.array("B", struct.pack("QqiI", struct.unpack_from("Q", request)[0], 0, -ANSWER, 0)), True)
            except FileNotFoundError:  # who asked was killed
                continue
        os.close(listener)

    def take(self):
        """The states of all who have come; connections are taken in turn, so what comes after ours comes later."""
        self._say(b"mark")
        wait_until(lambda: b"mark" in self.states, what="the agent has not come to the end of its connections")
        found, self.states = [state for state in self.states if state != b"mark"], []
        return found

    def _say(self, word):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(self.path)
            peer.send(word)

    def close(self):
        self._say(b"end")
        self.socket.close()
