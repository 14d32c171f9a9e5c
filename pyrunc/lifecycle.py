"""What create, run, start and delete share: making a container, letting it go, and taking all of it away again.

create  = prepare, supervise a gated plan, leave          run = the same plan without the gate, then wait and destroy
"""

import posix

from . import facts, kernel, state, supervise
from .config import load
from .errors import Error
from .host.console import check_stdio
from .paths import clean
from .plan import create as compiler
from .plan import words
from .plan.optable import SAY_EXEC, SAY_FAIL

ENXIO, ENOENT, EBADF, ENOSYS = 6, 2, 9, 38
S_IFDIR, S_IFMT = 0o040000, 0o170000


def absolute(path):
    return clean(path if path.startswith("/") else f"{posix.getcwd()}/{path}")


def check_rootfs(config, bundle):
    """The root must be a directory reached through no symlink (compat.md 2.1). Returns its absolute path."""
    from .plan.rootfs import join

    path = clean(join(bundle, config["root"]["path"]))
    try:
        fd = kernel.openat2(-100, path, 0o10000000 | posix.O_DIRECTORY, 0, kernel.RESOLVE_NO_SYMLINKS)
    except OSError as err:
        reason = "not an absolute path, or a symlink" if err.errno == 40 else err.strerror.lower()
        if err.errno == ENOSYS:
            reason = "openat2: function not implemented (Linux 5.6 or newer is needed, and a filter that allows it)"
        raise Error(f"config.json: /root/path: invalid rootfs: {path}: {reason}", pointer="/root/path",
                    errno=err.errno) from None
    posix.close(fd)
    return path


class Making:
    """A container being made: the directory, its config and facts, the supervisor, and how to take it all back."""

    __slots__ = ("container", "config", "facts", "plan", "supervisor", "proxy")

    def __init__(self, globals_, options, container_id, gate, detach, console, pidfd_socket):
        bundle = absolute(options.get("bundle") or ".")
        self.proxy = None
        self.config, raw = _load(bundle, need_process=not gate)
        posix.chdir(bundle)  # as runc: sockets named relatively, and hooks, are the bundle's
        state.check_new(globals_["root"], container_id)
        check_stdio(self.config["process"].get("terminal", False), detach, options.get("console-socket"))
        console, pidfd_socket = console(), pidfd_socket()  # connected while there is nothing to undo
        rootfs = check_rootfs(self.config, bundle)
        self.facts = facts.probe("intelRdt" in self.config.get("linux", {}))
        refuse(self.config, self.facts, globals_, options)
        rootless, unit = tolerates(globals_, self.facts), None
        if globals_.get("systemd-cgroup"):
            from .host import systemd

            self.facts, unit, group, v1 = systemd_unit(self.config, self.facts, container_id)
            systemd.check_free(unit)  # before state.json says that it is ours to stop
        else:
            group, v1 = cgroup_paths(self.config, self.facts, container_id, rootless)
        bpf = seccomp_filter(self.config, globals_["root"])
        self.container = state.create(globals_["root"], container_id, sticky=globals_["root-in-xdg"])
        try:
            request = self._request(globals_, options, container_id, bundle, group, v1, unit, bpf, gate, detach)
            request["rootless"] = rootless
            self.plan = compiler.compile(self.config, self.facts, request)
            self._record(bundle, rootfs, raw, request)
        except BaseException:
            self.container.remove()
            raise
        _warn(self.config, v1, self.facts)
        self.supervisor = supervise.Supervisor(
            self.plan, self.container, self.config, bundle, self._created, console, pidfd_socket
        )

    def _request(self, globals_, options, container_id, bundle, group, v1, unit, bpf, gate, detach):
        return {
            "id": container_id, "bundle": bundle, "state": self.container.path, "cgroup": group, "cgroup_v1": v1,
            "unit": unit, "bpf": bpf, "gate": gate, "detach": detach, "no_pivot": options.get("no-pivot"),
            "no_new_keyring": options.get("no-new-keyring"), "preserve": preserved(options, listen_fds(), globals_["inherited"]),
            "listen_fds": listen_fds(), "notify": bool(environment("NOTIFY_SOCKET")),
            "pidfd_socket": options.get("pidfd-socket"),
        }

    def _record(self, bundle, rootfs, raw, request):
        """What will exist, before any of it does: whoever finds this after a crash can undo it."""
        container = self.container
        container.write(state.CONFIG, raw)
        container.data = {
            "id": container.id, "init_process_pid": 0, "init_process_start": 0, "created": state.now(),
            "bundle": bundle, "rootfs": rootfs, "annotations": self.config.get("annotations", {}),
            "cgroup": request["cgroup"], "cgroup_v1": request["cgroup_v1"], "unit": request["unit"],
            "facts": self.facts.dump(), "rootless": self.facts.euid != 0,
            "external_descriptors": [_readlink(fd) for fd in range(3)],
            "pid_shared": not _has_own_pid(self.config),
            "mounts": _host_mounts(self.config, rootfs),
            "request": {k: request[k] for k in REPEATED if request[k]},
        }
        if _root_on_itself(self.config):
            container.data["root_mounts"] = facts.mounted_on(rootfs)
        if "intelRdt" in self.config.get("linux", {}):
            container.data.update(resctrl_state(self.config["linux"]["intelRdt"], self.facts.resctrl, container.id))
        groups = container.cgroup()
        container.data["cgroup_paths"] = groups.paths() if groups else {}
        container.save()

    def _created(self, pid):
        data = self.container.data
        data["init_process_pid"] = pid
        data["init_process_start"] = state.start_time(pid)
        data["namespace_paths"] = {f"NEW{k}": f"/proc/{pid}/ns/{v}" for k, v in _NS_PATHS}
        data["created"] = state.now()
        self.container.save()
        if not data["request"].get("gate"):  # run: the process goes as soon as this is answered
            self.proxy = notify_proxy(self.container)

    def run(self):
        """Walk the plan; on any failure nothing remains."""
        try:
            self.supervisor.run()
        except BaseException:
            self.fail()
            raise
        data = self.container.data
        if data["pid_shared"] and data["cgroup"] is None and not data["cgroup_v1"]:
            from . import log

            log.warning("a container with neither a cgroup nor a pid namespace of its own: what it leaves running cannot be found")

    def fail(self):
        """Kill, undo, poststop hooks, remove: what a failed create leaves is nothing."""
        self.supervisor.unwind()
        try:
            destroy(self.container)
        except (OSError, Error):
            pass


# what the plan depends on besides config and facts; kept so that start and explain can compile it again
REPEATED = ("rootless", "gate", "detach", "no_pivot", "no_new_keyring", "preserve", "listen_fds", "notify", "pidfd_socket")
_NS_PATHS = (("CGROUP", "cgroup"), ("IPC", "ipc"), ("NET", "net"), ("NS", "mnt"), ("PID", "pid"), ("USER", "user"),
             ("UTS", "uts"))


def _load(bundle, need_process):
    try:
        posix.stat(bundle)
    except OSError as err:
        raise Error(f"bundle {bundle}: {err.strerror.lower()}", errno=err.errno) from None
    try:
        return load.load(bundle, need_process)
    except OSError as err:
        raise Error(f"{bundle}: {err.strerror.lower()}", errno=err.errno) from None


def _warn(config, v1, host):
    """What is left out: capabilities nobody knows or that cannot be granted, limits no kernel has (any more)."""
    from . import log
    from .plan import limits

    warn_of_capabilities(capabilities_of(config["process"]), config, host)
    gone = limits.ignored(config.get("linux", {}).get("resources", {}), "memory" in [n for c, _, _ in v1 for n in c.split(",")])
    if gone:
        log.warning(f"ignoring resource limits that do not exist in this kernel's cgroups: {', '.join(gone)}")


def capabilities_of(process):
    return {name for names in (process.get("capabilities") or {}).values() for name in names or []}


def warn_of_capabilities(wanted, config, host):
    from . import log
    from .config.names import CAPABILITIES
    from .plan import security
    from .plan.namespaces import Namespaces

    unknown = sorted(wanted - CAPABILITIES.keys())
    if unknown:
        log.warning(f"ignoring unknown capabilities: {', '.join(unknown)}")
    lacking = security.lacking(Namespaces(config.get("linux", {})), host)
    denied = sorted([name for name in wanted & CAPABILITIES.keys() if lacking >> CAPABILITIES[name] & 1])
    if denied:
        log.warning(f"ignoring capabilities that the runtime itself has not: {', '.join(denied)}")


def refuse(config, host, globals_, options):
    """What this build or this host cannot do, or no option allows, said before anything is made."""
    if options.get("no-pivot") and config.get("linux", {}).get("rootfsPropagation") in ("private", "rprivate"):
        raise Error("config.json: /linux/rootfsPropagation: rootfsPropagation of [r]private is not safe without pivot_root",
                    "run without --no-pivot, or choose slave", pointer="/linux/rootfsPropagation")
    refuse_label(config["process"], host)
    if config.get("linux", {}).get("mountLabel") and not host.selinux:
        raise _no_selinux("/linux/mountLabel")
    if config.get("linux", {}).get("netDevices") and host.euid != 0:
        raise Error("config.json: /linux/netDevices: network devices are not supported for rootless containers",
                    pointer="/linux/netDevices")
    kinds = [ns["type"] for ns in config.get("linux", {}).get("namespaces", [])]
    if host.euid != 0 and "user" not in kinds:
        raise Error("rootless container requires user namespaces", pointer="/linux/namespaces",
                    hint="`pyrunc spec --rootless` writes a config that has them")


def refuse_label(process, host):
    if process.get("selinuxLabel") and not host.selinux:
        raise _no_selinux("/process/selinuxLabel")


def _no_selinux(at):
    return Error(f"config.json: {at}: selinux label is specified in config, but selinux is disabled or not supported", pointer=at)


def tolerates(globals_, host):
    """--rootless: whether a container that asks nothing of cgroups may do without, if there is no right to them."""
    return {"true": True, "false": False}.get(globals_["rootless"], not host.privileged)


def cgroup_paths(config, host, container_id, rootless):
    """(group in the cgroup2 tree, or None where there is no such tree or, rootless, none in sight; [[controllers, mount
    point, group], ...] of v1 hierarchies, which only the host's root may use)."""
    from .host.cgroup import v2

    path, v1 = config.get("linux", {}).get("cgroupsPath", ""), []
    if host.cgroup_v1 and host.privileged:
        from .host.cgroup.v1 import paths

        v1 = paths(path, host.cgroup_v1, container_id)
    if host.cgroup not in ("v2", "hybrid"):
        return None, v1
    try:
        return v2.path_for(path, host.cgroup_own, container_id), v1
    except Error:
        if path or not rootless:
            raise
        return None, v1


def resctrl_state(rdt, root, container_id):
    """What state.json says of the container's resctrl groups: their names, which of them go with it, and runc's paths.
    What is there already was made by somebody else, and stays however far the creation comes."""
    from .host.rdt import Group
    from .plan import rdt as plan

    group, monitor = plan.group(rdt, container_id), plan.monitor(rdt, container_id)
    made = [name for name in plan.removed(rdt, container_id) if not Group(root, name).exists()]
    return {"resctrl": [group, monitor] if monitor else [group], "resctrl_made": made,
            "intel_rdt_path": clean(f"{root}/{group}"), "intel_rdt_mon_path": f"{root}/{monitor}" if monitor else ""}


def systemd_unit(config, host, container_id, asked=True):
    """--systemd-cgroup: (host with what is to be known of systemd, unit, group, no v1 groups). The unit is what state.json
    keeps of it: its name, slice and manager. Not asked (`explain` of another host), nothing is looked at."""
    from .host import systemd
    from .plan import scope

    bus = systemd.bus_of(host) if asked else "user" if host.euid else "system"
    if asked:
        version, own = systemd.probe(bus)
        host = facts.Facts(**{**host.dump(), "systemd": version, "systemd_group": own})
    if host.cgroup != "v2":
        raise Error("--systemd-cgroup needs a host with cgroup v2 alone", "run without --systemd-cgroup")
    spot = scope.place(config.get("linux", {}).get("cgroupsPath", ""), container_id, bus != "system")
    unit = {"bus": bus, "unit": spot.unit, "slice": spot.slice, "name": spot.name}
    return host, unit, f"{host.systemd_group}/{spot.group}".lstrip("/"), []


def seccomp_filter(config, root=None):
    """(BPF, flags, (listener, metadata)) of linux.seccomp, or None when it is absent or empty; cached in the state root."""
    section = config.get("linux", {}).get("seccomp")
    if not section:
        return None
    from .seccomp import compile as seccomp

    return seccomp.filter_of(section, root)


def preserved(options, sockets, inherited):
    """--preserve-fds N: as many from 3 on, after the `sockets` of LISTEN_FDS. The caller must have opened them all: what
    has such a number and is not among the `inherited` is the log, or another file of ours."""
    count = options.get("preserve-fds") or 0
    if count < 0:
        raise Error(f"--preserve-fds {count}: a count of descriptors cannot be negative")
    missing = inherited - 3 - sockets
    if missing < 0 and sockets:
        raise Error(f"LISTEN_FDS={sockets}: descriptor {inherited} is not open", errno=EBADF)
    if missing < count:
        raise Error(f"unable to stat preserved-fd {missing} (of {count}): bad file descriptor", errno=EBADF)
    return count


def environment(name):
    return posix.environ.get(name.encode(), b"").decode("utf-8", "surrogateescape")


def listen_fds():
    """LISTEN_FDS of systemd's socket activation, sd_listen_fds(3): only if LISTEN_PID says they are for us."""
    count, pid = environment("LISTEN_FDS"), environment("LISTEN_PID")
    if not (count.isascii() and count.isdigit() and pid == str(posix.getpid())):
        return 0
    return int(count)


def _readlink(fd):
    try:
        return posix.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


def _has_own_pid(config):
    return any([ns["type"] == "pid" and not ns.get("path") for ns in config.get("linux", {}).get("namespaces", [])])


def _host_mounts(config, rootfs):
    """Without a mount namespace the mounts are made on the host, so delete has to take them away: innermost first."""
    kinds = [ns["type"] for ns in config.get("linux", {}).get("namespaces", [])]
    if "mount" in kinds:
        return []
    return [rootfs + clean(m["destination"]) for m in config.get("mounts", [])][::-1]


def _root_on_itself(config):
    """Whether the root becomes a mount that lies over it on the host."""
    from .plan import rootfs as tree

    kinds = [ns["type"] for ns in config.get("linux", {}).get("namespaces", [])]
    return "mount" not in kinds and tree.on_itself(config, tree.mounts(config))


def notify_proxy(container):
    """What passes the container's READY= on to NOTIFY_SOCKET, or None."""
    address = environment("NOTIFY_SOCKET")
    if not address:
        return None
    from .host import notify

    return notify.open_proxy(address, container.dirfd)


def wait_ready(container, proxy):
    """Detached: until the container says it is ready, or has ended."""
    pidfd = container.open_pidfd()
    if pidfd is None:
        proxy.close()
    else:
        proxy.wait_ready(container.pid(), pidfd)


# --- update ---


def update(container, resources, schemas=()):
    """Put limits into force, all or none, and remember them. schemas: lines for the schemata of its resctrl group."""
    from .plan import limits

    group = container.cgroup()
    if group is None:
        raise Error(f"cannot update container {container.id}: it has no cgroup")
    config = container.config()
    v1 = {name: slot for slot in group.slots for name in slot.partition(":")[2].split(",") if name}
    unit = container.data.get("unit")
    plan = limits.update(resources, v1, group.v2 is not None, unit, unit and facts.load(container.data["facts"]))
    walk = supervise.Supervisor(plan, container, config, container.data["bundle"], None)
    walk.groups, walk.restoring = group.slots, True
    if schemas:
        from .host.rdt import Group
        from .plan import rdt

        rdt.schemata(plan, schemas, "/linux/intelRdt")
        walk.groups = {**group.slots, "clos": Group(container.data["facts"]["resctrl"], container.data["resctrl"][0])}
    try:
        for op in plan.ops:
            walk.act(op)
    except BaseException:
        walk.unwind()
        raise
    container.data["resources"] = resources
    container.save()


# --- start ---


def start(container):
    """Open the gate and wait until execve has succeeded, or say why not (a failing startContainer hook too)."""
    status = container.status()
    if status != "created":
        raise Error({
            "stopped": "cannot start a container that has stopped",
            "running": "cannot start an already running container",
        }.get(status, f"cannot start a container in the {status} state"))
    if not container.config()["process"]["args"]:
        raise Error("cannot start a container without a process: config.json has none", pointer="/process")
    proxy = notify_proxy(container)
    results = posix.open(state.STATUS_FIFO, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC, dir_fd=container.dirfd)
    try:
        try:
            gate = posix.open(state.FIFO, posix.O_WRONLY | posix.O_NONBLOCK | posix.O_CLOEXEC, dir_fd=container.dirfd)
        except OSError as err:
            if err.errno != ENXIO:
                raise
            raise Error("cannot start a container that has stopped") from None
        posix.write(gate, b"0")
        posix.close(gate)
        posix.unlink(state.FIFO, dir_fd=container.dirfd)
        _await_exec(container, results)
        if proxy:
            wait_ready(container, proxy)
    finally:
        posix.close(results)


def _await_exec(container, results):
    said = False
    while True:
        record = kernel.read_timeout(results, 16)
        if not record:
            if not said:
                raise Error("container init died before it could execute the process")
            return
        seq, index, step = [int.from_bytes(record[i:i + 4], "little") for i in (0, 4, 12)]
        if seq == SAY_FAIL:
            err = -int.from_bytes(record[8:12], "little", signed=True)
            raise _worded(container, index, err, step)
        said = seq == SAY_EXEC


def _worded(container, index, err, step):
    """The plan that init runs is compiled again from what create was given: the same inputs, the same plan."""
    plan = recompile(container)
    ops = plan.child_ops()
    return words.error(plan, ops[index], err, step) if index < len(ops) else Error(f"init failed: {posix.strerror(err)}")


def recompile(container):
    config = container.config()
    request = {"id": container.id, "bundle": container.data["bundle"], "state": container.path,
               "cgroup": container.data.get("cgroup"), "cgroup_v1": container.data.get("cgroup_v1"),
               "unit": container.data.get("unit"), "bpf": seccomp_filter(config, container.root), **container.data.get("request", {})}
    return compiler.compile(config, facts.load(container.data["facts"]), request)


def poststart(container, config):
    """After the process runs. A failing hook kills the container."""
    listed = config.get("hooks", {}).get("poststart")
    if not listed:
        return
    from .host import hooks

    try:
        hooks.run("poststart", listed, hook_state(container, "running", container.pid()))
    except Error:
        pidfd = container.open_pidfd()
        if pidfd is not None:
            kill_and_wait(container, pidfd)
        raise


def hook_state(container, status, pid):
    from .host import hooks

    return hooks.state_for(container.id, status, pid, container.data.get("bundle", ""), container.data.get("annotations"))


# --- the end ---


def kill_and_wait(container, pidfd, timeout_ms=10000):
    """SIGKILL to init and, where it shares its pid namespace, to everything in its cgroup; wait for the end."""
    import _signal

    try:
        _signal.pidfd_send_signal(pidfd, 9)
    except OSError:
        pass
    group = container.cgroup()
    if group is not None and container.data.get("pid_shared") and group.exists():
        group.kill()
    if not kernel.wait_exit(pidfd, timeout_ms):
        raise Error("container init still running")


def _stop_unit(unit):
    """A scope ends with its processes; so without systemd it is only its record of a failure that stays."""
    from . import log
    from .host import systemd

    try:
        systemd.stop(unit["bus"], unit["unit"])
    except (OSError, Error) as err:
        log.warning(f"unit {unit['unit']} may be left: {err}")


def _umount(path):
    try:
        kernel.umount(path)
    except OSError:
        pass


def destroy(container):
    """Take everything of a stopped container away; returns what went wrong with its poststop hooks, which stops nothing."""
    group = container.cgroup() if container.data else None
    if group is not None:
        if group.exists():
            group.kill()
        if container.data.get("unit"):
            _stop_unit(container.data["unit"])
        group.remove()
    if container.data.get("resctrl_made"):
        from .host.rdt import Group

        for name in container.data["resctrl_made"]:
            Group(container.data["facts"]["resctrl"], name).remove()
    for path in container.data.get("mounts", []):
        _umount(path)
    if "root_mounts" in container.data and facts.mounted_on(container.data["rootfs"]) > container.data["root_mounts"]:
        _umount(container.data["rootfs"])
    listed, unread = [], []
    if container.data and container.has(state.CONFIG):
        try:
            listed = container.config().get("hooks", {}).get("poststop", [])
        except Error as err:
            unread = [Error(f"poststop hooks, if it has any, are not run: {err.message}")]
    stopped = hook_state(container, "stopped", None) if listed else None
    container.remove()
    if not listed:
        return unread
    from .host import hooks

    return list(hooks.run_each("poststop", listed, stopped))
