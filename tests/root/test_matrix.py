"""Who calls x whose user namespace x terminal or not x by which verb: every cell from inside, and against a newer runc.

{root, ordinary user} x {new, none, joined} x {terminal, none} x {run, create and start, exec}. A user
without a user namespace is the one thing that cannot be; its cells assert the refusal.
"""

import fcntl
import json
import os
import pty
import struct
import termios

import pytest
from kit.bundle import namespaces, userns
from kit.console import FdSocket, read_terminal
from kit.differences import unexplained
from kit.observe import normal
from kit.rootless import UID, UserRuntime
from kit.runtime import Runtime
from test_differential import peer_binary

KINDS = ("pid", "network", "ipc", "uts", "mount")
SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
MAPS = {"root": ["0", "100000", "65536"], "user": ["0", str(UID), "1"]}


class Cell:
    """One container (two if joined) of one runtime, and what its process sees."""

    def __init__(self, binary, user, who, userns_, terminal, verb):
        self.rt = UserRuntime(binary, user) if who == "user" else Runtime(binary)
        self.who, self.userns, self.terminal, self.verb = who, userns_, terminal, verb

    def patches(self):
        mapped = [] if self.who == "user" else [userns()]  # a user's bundles have one of their own
        if self.userns == "new":
            return mapped
        if self.userns == "none":
            return [namespaces(*KINDS), {"linux": {"uidMappings": None, "gidMappings": None}}]
        self.first = self.rt.container(*mapped, SLEEP).up()
        return [namespaces(*KINDS, user=f"/proc/{self.first.pid}/ns/user"), {"linux": {"uidMappings": None, "gidMappings": None}}]

    def container(self, *more):
        patches = [*self.patches(), *more]
        if self.terminal and self.verb != "exec":
            patches.append({"process": {"terminal": True, "consoleSize": {"height": 20, "width": 70}}})
        if self.who == "root":
            patches.append(lambda config: config["mounts"][2]["options"].remove("gid=5"))
        container = self.rt.container(*patches)
        self.config = container.bundle.config
        return container

    def console(self):
        sock = FdSocket(self.rt.base / "console.sock")
        os.chmod(sock.path, 0o666)
        return sock

    def seen(self):
        return getattr(self, self.verb)()

    def run(self):
        container = self.container()
        if not self.terminal:
            return container.probe()
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 70, 0, 0))

        def session():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        running = container.spawn_run(stdin=slave, stdout=slave, stderr=slave, preexec=session)
        os.close(slave)
        text = read_terminal(master)
        os.close(master)
        running.wait().ok()
        return json.loads(text)

    def create(self):
        container = self.container()
        if not self.terminal:
            return container.observe()
        with self.console() as console:
            container.create("--console-socket", console.path).ok()
            _, fd = console.receive()
            container.start().ok()
            return json.loads(read_terminal(fd))

    def exec(self):
        container = self.container(SLEEP).up()
        if not self.terminal:
            return container.exec("/bin/probe").ok().json()
        with self.console() as console:
            container.exec("/bin/probe", options=("-t", "-d", "--console-socket", console.path)).ok()
            _, fd = console.receive()
            return json.loads(read_terminal(fd))


@pytest.mark.parametrize("verb", ["run", "create", "exec"])
@pytest.mark.parametrize("terminal", [False, True], ids=["", "terminal"])
@pytest.mark.parametrize("userns_", ["new", "none", "joined"])
@pytest.mark.parametrize("who", ["root", "user"])
def test_every_cell_is_as_asked_and_as_under_runc(pyrunc, user, who, userns_, terminal, verb):
    if (who, userns_) == ("user", "none"):
        cell = Cell(pyrunc, user, who, userns_, terminal, verb)
        try:
            with cell.console() as console:
                where = ("--console-socket", console.path) if terminal and verb != "exec" else ()
                cell.container().create(*where).failed("rootless container requires user namespaces")
        finally:
            cell.rt.close()
        return
    views = {}
    for name, binary in (("ours", pyrunc), ("runc-new", peer_binary("runc-new"))):
        cell = Cell(binary, user, who, userns_, terminal, verb)
        try:
            views[name] = cell.seen()
            if name == "ours":
                check(cell, views[name])
        finally:
            cell.rt.close()
    # in the foreground stdio differs as that of an exec'd process does
    prefix = "" if verb == "create" else "exec."
    flat = [{prefix + key: value for key, value in normal(views[name]).items()} for name in ("runc-new", "ours")]
    found = unexplained("runc-new", cell.config, *flat)
    assert not found, "\n".join(map(str, found))


def check(cell, seen):
    """What the words of the cell mean, from inside."""
    own = seen["ns"]["user"] != os.readlink("/proc/self/ns/user")
    assert own == (cell.userns != "none")
    if own:
        assert seen["uid_map"].split() == MAPS[cell.who]
    if cell.userns == "joined":
        assert seen["ns"]["user"] == os.readlink(f"/proc/{cell.first.pid}/ns/user")
    assert seen["uids"] == [0] * 3 and seen["groups"] == [] or cell.who == "user"
    assert seen["ctty"] == int(cell.terminal) and (seen["winsize"] == [20, 70] or not cell.terminal or cell.verb == "exec")
    assert set(seen["fds"]) == {"0", "1", "2"}
    kinds = {facts["rdev"].split(":")[0] == "136" for facts in seen["fds"].values()}
    assert kinds == {cell.terminal}
    for kind in ("pid", "net", "ipc", "uts", "mnt"):
        assert seen["ns"][kind] != os.readlink(f"/proc/self/ns/{kind}")

