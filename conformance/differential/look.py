"""Runs one case under one runtime and writes down, as a flat view, what was seen from inside and from outside.

The inside is what the probe prints (kit.observe.normal) and what it tried; the outside is each verb's exit code and class
of error, `state`, the limits in force, the groups of the process, what the hooks saw, and what was left behind.
"""

import json
import os
import pty
import re
import shutil
import time
from pathlib import Path

from kit import limits
from kit.bundle import Bundle, Dir, File, Link, chown_tree
from kit.console import FdSocket, read_terminal
from kit.observe import caps, normal
from kit.runtime import Container, Runtime, alive, remove_cgroup, stat_fields, wait_until

# By what callers look for in an error (docs/compatibility.md, "Errors"); the first that matches.
ERRORS = {
    "exists": "already exists|already in use", "missing": "executable file not found|no such file or directory",
    "denied": "permission denied|operation not permitted", "not a directory": "not a directory",
    "unknown": "container does not exist", "not running": "not running|process already finished|no such process",
}
PLACES = {"file": lambda data, *more: File(data, *more), "dir": Dir, "link": Link}
HOOK = ("argv", "env", "cwd", "uids", "gids", "groups", "umask", "nnp", "rlimits", "hostname")
END, TERMINAL_END = "\n}\n", b"\n}\r\n"


class Look:
    """One runtime's eyes: `view(case)` is flat, `said` holds the last case's error messages."""

    def __init__(self, binary, host):
        self.runtime = Runtime(binary)
        self.host = host
        self.own = self._own()
        self.said = {}

    def close(self):
        self.runtime.close()

    def view(self, case):
        self.said = {}
        self.host.agent.take()
        name = f"{self.runtime.token}-{next(self.runtime.serial)}"
        names = {**self.host.names, "{cgroup}": name}
        rootfs = {path: PLACES[kind](*how) for path, (kind, *how) in case.rootfs.items()}
        path = self.runtime.base / name
        bundle = Bundle(path, [lambda config: _become(config, case.config, {**names, "{out}": str(path / "out")})], rootfs, "")
        container = Container(self.runtime, name, bundle)
        (path / "out").mkdir()
        (path / "out").chmod(0o777)
        if case.owned:
            chown_tree(container.rootfs, case.owned, case.owned)
        flat = {}
        try:
            LIVES[case.life](self, case, container, flat)
            flat.update(_hooks(container))
            self.agent(flat, container)
        finally:
            container.delete("-f")
            flat["left behind"] = self._left(name)
        return flat

    def agent(self, flat, container):
        """What the seccomp agent was told."""
        for number, seen in enumerate(self.host.agent.take()):
            state = seen.pop("state")
            flat[f"agent.{number}.pid is the state's"] = seen.pop("pid") == state["pid"]
            state.update(pid=bool(state["pid"]), ociVersion="a version")
            flat[f"agent.{number}"] = {**seen, "ociVersion": "a version"}
            flat[f"agent.{number}.state"] = _plain(state, container)

    def verb(self, flat, name, result):
        """Write down how a verb ended; whether it worked."""
        error, said = None, [entry["msg"] for entry in result.log if entry["level"] == "error"]
        if said:
            error = next((kind for kind, words in ERRORS.items() if re.search(words, said[-1])), "other")
            self.said[name] = result.err.strip()
        flat[f"verb {name}"] = [result.code, error]
        return result.code == 0

    def create(self, flat, case, container, terminal):
        with Outside(container, case, "create", self.host) as outside:
            worked = self.verb(flat, "create", container.create(*outside.options, *terminal.options, **terminal.how, **outside.how))
            outside.look(flat, worked)
        return worked

    def update(self, flat, case, container, pid):
        for number, wanted in enumerate(case.updates):
            file = container.bundle.path / "resources.json"
            file.write_text(json.dumps(wanted))
            options = ["--resources", file] if isinstance(wanted, dict) else wanted
            self.verb(flat, f"update{number}", container.rt.call("update", *options, container.id))
            flat.update({f"update{number}.{key}": value for key, value in _outside(pid, container).items() if key.startswith("limit.")})

    def inside(self, flat, text):
        """What the probe printed, if it could."""
        if not text.endswith(END):
            flat["probe"] = f"printed no view: {text[-200:]}"
            return
        seen = json.loads(text)
        flat.update(normal(seen))
        for kind, link in seen["ns"].items():
            flat[f"ns.{kind}"] = "the host's" if link == self.own[kind] else "another"
            for placeholder, path in self.host.names.items():
                if path.startswith("/proc/") and os.readlink(path) == link != self.own[kind]:
                    flat[f"ns.{kind}"] = placeholder
        for attempt in seen.get("tries", ()):
            flat[f"try.{attempt['op']}:{attempt['path']}"] = {k: v for k, v in attempt.items() if k in ("rc", "errno", "signal", "made")}

    def _left(self, name):
        """What mentions the container after the end; removed, so that the next case starts clean."""
        end = time.monotonic() + 0.2
        while (found := self._mentions(name)) and time.monotonic() < end:
            time.sleep(0.01)
        for line in found:
            kind, _, path = line.partition(" ")
            if kind == "cgroup":
                remove_cgroup(path)
            elif kind == "state":
                shutil.rmtree(self.runtime.root / name)
        return sorted({re.sub(r"\d+ ", "", line).replace(name, "NAME") for line in map(self.host.without_hierarchy, found)})

    def _mentions(self, name):
        found = [f"mount {line}" for line in Path("/proc/self/mountinfo").read_text().splitlines() if name in line]
        found += [f"state {name}"] * (self.runtime.root / name).exists()
        for group in self.host.groups:
            tops = (group.parent, group.parent.parent)
            found += [f"cgroup {path}" for top in tops for tree in top.glob(name + "*")
                      for path, *_ in os.walk(tree, topdown=False)]
        return found

    def _own(self):
        """{kind: inode} of this process's namespaces, which a container's may be."""
        return {file: os.readlink(f"/proc/self/ns/{file}") for file in os.listdir("/proc/self/ns")}


def _become(config, wanted, names):
    """Make config the case's, with what the placeholders stand for."""
    text = json.dumps(wanted)
    for placeholder, value in names.items():
        text = text.replace(placeholder, value)
    config.clear()
    config.update(json.loads(text))


# --- lives: the verbs, in order, until one fails

def _observe(look, case, container, flat):
    """create, state, start, the end, state, delete."""
    with Terminal(case.wants_terminal, container) as terminal:
        if not look.create(flat, case, container, terminal):
            return
        pid = _state(look, flat, "created", container)
        flat.update(_outside(pid, container))
        started = look.verb(flat, "start", container.start())
        text = terminal.text(container)  # a terminal must be read, or its writer never ends
        container.wait_stopped(pid)
        if started:
            look.inside(flat, text if terminal.wanted else container.output())
        _state(look, flat, "stopped", container)
        look.verb(flat, "kill", container.kill("TERM"))
        look.verb(flat, "delete", container.delete())


def _run(look, case, container, flat):
    """In the foreground."""
    with Terminal(case.wants_terminal, container, foreground=True) as terminal, Outside(container, case, "run", look.host) as outside:
        result = container.run(*outside.options, *terminal.options, **terminal.how, **outside.how)
        outside.look(flat, result.code == 0)
        if look.verb(flat, "run", result) or END in result.out:
            look.inside(flat, terminal.text(container))


def _stay(look, case, container, flat):
    """create, start, exec, pause, resume, a signal, delete."""
    with Terminal(case.wants_terminal, container) as terminal:
        if not look.create(flat, case, container, terminal):
            return
        pid = _state(look, flat, "created", container)
        if not look.verb(flat, "start", container.start()):
            return
        look.inside(flat, terminal.text(container, wait=pid))
        _state(look, flat, "running", container)
        flat.update(_outside(pid, container))
        for number, call in enumerate(case.execs):
            _exec(look, flat, container, number, call)
        look.update(flat, case, container, pid)
        if case.pause:
            look.verb(flat, "pause", container.rt.call("pause", container.id))
            _state(look, flat, "paused", container)
            look.verb(flat, "exec paused", container.exec("/bin/true"))
            look.verb(flat, "resume", container.rt.call("resume", container.id))
            look.verb(flat, "resume again", container.rt.call("resume", container.id))
        look.verb(flat, "delete running", container.delete())
        look.verb(flat, "kill", container.kill("KILL"))
        container.wait_stopped(pid)
        _state(look, flat, "killed", container)
        look.verb(flat, "delete", container.delete())


def _unstarted(look, case, container, flat):
    """create, then what may be done with a container that has not been started."""
    with Terminal(case.wants_terminal, container) as terminal:
        if not look.create(flat, case, container, terminal):
            return
        pid = _state(look, flat, "created", container)
        flat.update(_outside(pid, container))
        if not terminal.wanted:
            look.verb(flat, "create again", container.rt.call("create", "--bundle", container.bundle.path, container.id))
        for number, call in enumerate(case.execs):
            _exec(look, flat, container, number, call)
        look.update(flat, case, container, pid)
        look.verb(flat, "delete", container.delete(*["-f"] * case.pause))
        look.verb(flat, "state", container.state())


LIVES = {"observe": _observe, "run": _run, "stay": _stay, "unstarted": _unstarted}


class Terminal:
    """What a process with `terminal: true` needs outside: a console socket, or for a foreground run a terminal; and
    where its output is to be read, terminal or not."""

    def __init__(self, wanted, container, foreground=False):
        self.wanted, self.foreground = wanted, foreground
        self.options, self.how, self.socket, self.master = (), {}, None, None
        if self.wanted and foreground:
            self.master, self.slave = pty.openpty()
            self.how = {"stdin": self.slave, "stdout": self.slave}
        elif self.wanted:
            self.socket = FdSocket(container.bundle.path / f"console{next(container.rt.serial)}.sock")
            self.options = ("--console-socket", self.socket.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.socket:
            self.socket.__exit__()
        if self.master:
            os.close(self.master)
            if self.slave:
                os.close(self.slave)

    def text(self, container, wait=None):
        """The probe's output; `wait`: it stays, and this is its pid."""
        if self.socket:
            return read_terminal(self.socket.receive()[1], TERMINAL_END if wait else None)
        if self.master:  # the runtime has ended, so there is an end; not what TERMINAL_END says: runc copies before its own is raw
            os.close(self.slave)
            self.slave = None
            return read_terminal(self.master)
        if wait:
            wait_until(lambda: container.output().endswith(END) or not alive(wait), what="the probe is silent")
        return container.output()


class Outside:
    """What the options of a call name outside (a socket for a pidfd, a pid file, a process.json), and the descriptors that
    its caller holds open; what came of them."""

    def __init__(self, container, call, name, host):
        self.name, path = name, container.bundle.path
        self.names = {"{pidfd}": str(path / f"{name}.sock"), "{pidfile}": str(path / f"{name}.pid")}
        self.options = [self.names.get(word, word) for word in call.options]
        self.socket = FdSocket(self.names["{pidfd}"]) if "{pidfd}" in call.options else None
        self.file = Path(self.names["{pidfile}"]) if "{pidfile}" in call.options else None
        self.how = {}
        if call.open:
            targets = [f"3<{host.source}/file", f"4<{host.source}", "5>/dev/null"][:call.open]
            self.how["wrap"] = ("sh", "-c", f'exec "$@" {" ".join(targets)}', "sh")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.socket:
            self.socket.__exit__()

    def look(self, flat, worked):
        if self.file:
            text = self.file.read_text() if self.file.exists() else "absent"
            flat[f"{self.name} pid file"] = "a number" if text.isdigit() else text
        if self.socket and worked:
            word, fd = self.socket.receive()
            flat[f"{self.name} pidfd"] = [word, re.sub(r"\[\d+\]", "[N]", os.readlink(f"/proc/self/fd/{fd}"))]


def _exec(look, flat, container, number, call):
    name, detached = f"exec{number}", "--detach" in call.options
    words, command = [], ["/bin/probe"]
    if call.process:
        file = container.bundle.path / f"{name}.json"
        file.write_text(json.dumps(call.process))
        words, command = ["--process", file], []
    wanted = call.process.get("terminal") if call.process else "--tty" in call.options
    with Terminal(wanted, container, foreground=not detached) as terminal, Outside(container, call, name, look.host) as outside:
        running = container.rt.spawn("exec", *outside.options, *words, *terminal.options, container.id, *command, **terminal.how, **outside.how)
        result = running.wait()
        outside.look(flat, result.code == 0)
        if not look.verb(flat, name, result):
            return
        if not terminal.wanted:
            wait_until(lambda: running.output().endswith(END) or not detached, what=f"{name} is silent")
        seen = json.loads(terminal.text(container) if terminal.wanted else running.output())
        flat.update({f"exec.{number}.{key}": value for key, value in normal(seen).items()
                     if not key.startswith("limits.") and not (key == "ppid" and detached)})  # as rlimits; the runtime may have ended


def _state(look, flat, when, container):
    """`state`; the pid."""
    result = container.state()
    if not look.verb(flat, f"state {when}", result):
        return 0
    state = result.json()
    pid = state["pid"]
    for key, value in state.items():
        fixed = {"pid": bool(pid), "created": "a time", "ociVersion": "a version"}
        flat[f"state {when}.{key}"] = fixed.get(key, _plain(value, container))
    return pid


def _outside(pid, container):
    """Limits, groups and kind of the process, from the host."""
    state = json.loads((container.directory / "state.json").read_text())
    found = {f"limit.{file}": text for file, text in limits.everything(state["cgroup_paths"]).items()}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        found[f"group.{controllers}"] = path.replace(container.id, "NAME")
    found["outside.session"] = stat_fields(pid)[3] == str(pid)
    return found


def _hooks(container):
    """What each hook saw, by file, in the order of the calls."""
    found = {}
    for file in sorted((container.bundle.path / "out").iterdir()):
        for number, seen in enumerate(_objects(file.read_text())):
            name = f"hook.{file.name}.{number}"
            state = json.loads(seen["stdin"].encode("latin-1"))
            state.update(pid=min(state.get("pid", -1), 2), ociVersion="a version")
            found[f"{name}.stdin"] = _plain(state, container)
            found[f"{name}.caps"] = caps(seen)
            found[f"{name}.fds"] = sorted(seen["fds"])
            found.update({f"{name}.{key}": _plain(seen[key], container) for key in HOOK})
    return found


def _plain(value, container):
    """Without the names that differ from run to run."""
    return json.loads(json.dumps(value, sort_keys=True).replace(container.id, "NAME").replace(container.rt.token, "TOKEN"))


def _objects(text):
    """Every JSON object of a file of them."""
    decoder, at, found = json.JSONDecoder(), 0, []
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        found.append(value)
        at += 1
    return found
