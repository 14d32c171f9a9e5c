"""What create, run, start and delete share: making a container, letting it go, and taking all of it away again.

create  = prepare, supervise a gated plan, leave          run = the same plan without the gate, then wait and destroy
"""

from __future__ import annotations

import posix

from . import facts, kernel, log, state, supervise
from .config import load
from .errors import Error, from_oserror, reason
from .host import init
from .host.cgroup.group import Group
from .host.cgroup.v2 import GONE
from .host.console import check_stdio
from .jsonio import loads
from .paths import clean
from .plan import create as compiler
from .plan import stored
from .plan.optable import SAY_EXEC, SAY_FAIL
from .plan.request import Request
from .plan.script import Plan
from .typed import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypedDict

    from .args import Globals
    from .config.shape import Config, IntelRdt, Process, Resources
    from .foreground import Foreground
    from .host.cgroup.v2 import Cgroup
    from .host.hooks import OciState
    from .host.hostmounts import Known
    from .host.notify import Proxy
    from .plan.request import Kept, Rows, Unit
    from .seccomp.compile import Filter
    from .state import Container, State

    # What is read here of the options of create, run and exec.
    Preserving = TypedDict("Preserving", {"preserve-fds": int})
    Wanted = TypedDict("Wanted", {
        "bundle": str | None, "console-socket": str | None, "pidfd-socket": str | None, "no-pivot": bool, "no-new-keyring": bool,
        "preserve-fds": int,
    })

ENXIO, EBADF, EAGAIN, ENOSYS = 6, 9, 11, 38
RESERVE = 1 << 19  # bytes
LOCK_MS = 10000
QUICK_MS = 50  # what has been killed ends sooner, unless a v1 freezer holds it
SLICE_MS = 100  # how long an execve that nothing tells of goes unnoticed
EXECVE_MS = 60000  # how long one may take, from a file system that is far away
RECORDS_MAX = 8  # more than init has to say


def absolute(path: str) -> str:
    if path.startswith("/"):
        return clean(path)
    try:
        return clean(f"{posix.getcwd()}/{path}")
    except OSError as err:
        raise from_oserror(err, f"{path}: the caller's working directory") from None


def check_rootfs(config: Config, bundle: str) -> str:
    """The root must be a directory reached through no symlink. Returns its absolute path."""
    from .plan.rootfs import join

    path = clean(join(bundle, config["root"]["path"]))
    try:
        fd = kernel.openat2(-100, path, 0o10000000 | posix.O_DIRECTORY, 0, kernel.RESOLVE_NO_SYMLINKS)
    except OSError as err:
        why = "not an absolute path, or a symlink" if err.errno == 40 else reason(err)
        if err.errno == ENOSYS:
            why = "openat2: function not implemented (Linux 5.6 or newer is needed, and a filter that allows it)"
        raise Error(f"config.json: /root/path: invalid rootfs: {path}: {why}", pointer="/root/path",
                    errno=err.errno) from None
    posix.close(fd)
    return path


class Making:
    """A container being made: the directory, its config and facts, the supervisor, and how to take it all back."""

    __slots__ = ("container", "config", "facts", "plan", "supervisor", "proxy", "reserve")

    def __init__(self, globals_: Globals, options: Wanted, container_id: str, gate: bool,
                 console: Callable[[], Callable[[int], None] | None],
                 pidfd_socket: Callable[[], Callable[[int, str], None] | None],
                 front: Foreground | None = None) -> None:
        bundle, detach = absolute(options.get("bundle") or "."), front is None
        self.proxy: Proxy | None = None
        # Address space for undoing, if the caller's RLIMIT_AS ends in the middle. Of bytes, because calloc touches no page of them.
        self.reserve: bytes | None = bytes(RESERVE)
        self.config, raw = _load(bundle, need_process=not gate)
        posix.chdir(bundle)  # as runc: sockets named relatively, and hooks, are the bundle's
        state.check_new(globals_["root"], container_id)
        check_stdio(self.config["process"].get("terminal", False), detach, options.get("console-socket"))
        sockets = console(), pidfd_socket()  # connected while there is nothing to undo
        rootfs = check_rootfs(self.config, bundle)
        self.facts = facts.probe("intelRdt" in self.config.get("linux", {}))
        refuse(self.config, self.facts, globals_, options)
        rootless = tolerates(globals_, self.facts)
        unit: Unit | None = None
        group: str | None
        if globals_.get("systemd-cgroup"):
            from .host import systemd

            self.facts, unit, group, v1 = systemd_unit(self.config, self.facts, container_id)
            systemd.check_free(unit)  # before state.json says that it is ours to stop
        else:
            group, v1 = cgroup_paths(self.config, self.facts, container_id, rootless)
        bpf = seccomp_filter(self.config, globals_["root"])
        self.container = state.create(globals_["root"], container_id, sticky=globals_["root-in-xdg"])
        try:
            request = self._request(globals_, options, container_id, bundle, group, v1, unit, bpf, gate, detach, rootless, rootfs)
            self.plan: Plan | None = compiler.compiled(self.config, self.facts, request)
            if log.wants_debug():
                from .plan import check

                check.sound(self.plan)
            self._record(bundle, rootfs, raw, request)
        except BaseException:
            self.reserve = self.config = self.plan = None  # type: ignore[assignment]  # what is short may be memory
            self.container.remove()
            raise
        _warn(self.config, v1, self.facts)
        self.supervisor = supervise.Supervisor(
            self.plan, self.container, bundle, self._created, *sockets, front
        )

    def _request(self, globals_: Globals, options: Wanted, container_id: str, bundle: str, group: str | None, v1: Rows,
                 unit: Unit | None, bpf: Filter | None, gate: bool, detach: bool, rootless: bool, rootfs: str) -> Request:
        from .host import sources

        return Request(
            container_id, bundle, self.container.path, cgroup=group, cgroup_v1=v1, unit=unit, bpf=bpf, gate=gate, detach=detach,
            rootless=rootless, no_pivot=bool(options.get("no-pivot")), no_new_keyring=bool(options.get("no-new-keyring")),
            preserve=preserved(options, listen_fds(), globals_["inherited"]), listen_fds=listen_fds(),
            notify=bool(environment("NOTIFY_SOCKET")), pidfd_socket=options.get("pidfd-socket"), environ=_environ(self.config),
            inside=sources.inside(self.config, bundle, rootfs),
        )

    def _record(self, bundle: str, rootfs: str, raw: bytes, request: Request) -> None:
        """What will exist, before any of it does: whoever finds this after a crash can undo it."""
        container = self.container
        container.write(state.CONFIG, raw, first=True)
        container.data = {
            "id": container.id, "init_process_pid": 0, "init_process_start": 0, "created": state.now(),
            "bundle": bundle, "rootfs": rootfs, "annotations": self.config.get("annotations", {}),
            "cgroup": request.cgroup, "cgroup_v1": request.cgroup_v1, "unit": request.unit,
            "facts": self.facts.dump(), "rootless": self.facts.euid != 0,
            "external_descriptors": [_readlink(fd) for fd in range(3)],
            "pid_shared": not _has_own(self.config, "pid", new=True),
            "marked": self.facts.privileged,
            "request": cast("Kept", request.kept()),
        }
        if "intelRdt" in self.config.get("linux", {}):
            container.data.update(resctrl_state(self.config["linux"]["intelRdt"], self.facts.resctrl, container.id))
        if not _has_own(self.config, "mount"):
            from .host import hostmounts

            container.data["host_mounts"] = hostmounts.before(rootfs)
        groups = container.cgroup()
        container.data["cgroup_paths"] = groups.paths() if groups else {}
        container.save(first=True)

    def _created(self, pid: int) -> bool:
        data = self.container.data
        data["init_process_pid"] = pid
        data["init_process_start"] = state.start_time(pid)
        if data["init_process_start"] is None:
            return False
        if "host_mounts" in data:
            from .host import hostmounts

            data["host_mounts"] = hostmounts.made(data["rootfs"], data["host_mounts"])
        data["namespace_paths"] = {f"NEW{k}": f"/proc/{pid}/ns/{v}" for k, v in _NS_PATHS}
        data["created"] = state.now()
        self.container.save()
        if not data["request"].get("gate"):  # run: the process goes as soon as this is answered
            self.proxy = notify_proxy(self.container)
        return True

    def run(self) -> None:
        """Walk the plan; on any failure nothing remains."""
        try:
            self.supervisor.run()
        except BaseException as err:
            self.fail(err)
            raise
        data = self.container.data
        if data["pid_shared"] and data["cgroup"] is None and not data["cgroup_v1"]:
            log.warning("the container has neither a cgroup nor a pid namespace of its own: processes that it leaves cannot be found")

    def fail(self, reason: BaseException) -> None:
        """Kill, undo, poststop hooks, remove: what a failed create leaves is nothing, or is said beside the reason.

        The reason may be that descriptors or memory have run out: ours go first."""
        self.reserve = self.plan = self.supervisor.plan = self.supervisor.ops = None
        self.supervisor.encoded = ()
        self.supervisor.unwind()
        try:
            kernel.flock(self.container.dirfd, LOCK_MS)  # `run` has given it up when its process ran
            if self.container.there():  # a `delete --force` may have been faster
                destroy(self.container)
        except Exception as err:
            left = f"{said(err)}; `delete --force {self.container.id}` tries again"
            if isinstance(reason, Error):
                reason.message += f" ({left})"
            else:
                log.warning(left)


_NS_PATHS = (("CGROUP", "cgroup"), ("IPC", "ipc"), ("NET", "net"), ("NS", "mnt"), ("PID", "pid"), ("USER", "user"),
             ("UTS", "uts"))


def _environ(config: Config) -> list[str]:
    """What hooks without `env` get: ours."""
    if not any([config.get("hooks", {}).get(kind) for kind in ("prestart", "createRuntime", "createContainer")]):
        return []
    from .host import hooks

    return hooks.environment()


def _load(bundle: str, need_process: bool) -> tuple[Config, bytes]:
    try:
        posix.stat(bundle)
    except OSError as err:
        raise Error(f"bundle {bundle}: {reason(err)}", errno=err.errno) from None
    try:
        return load.load(bundle, need_process)
    except OSError as err:
        raise Error(f"{bundle}: {reason(err)}", errno=err.errno) from None


def _warn(config: Config, v1: Rows, host: facts.Facts) -> None:
    """What is left out: capabilities nobody knows or that cannot be granted, limits no kernel has (any more)."""
    from .plan import limits

    warn_of_capabilities(capabilities_of(config["process"]), config, host)
    if config.get("linux", {}).get("personality", {}).get("flags"):
        log.warning("config.json: /linux/personality/flags: ignored: the specification defines no flag")
    gone = limits.ignored(config.get("linux", {}).get("resources", {}), "memory" in [n for c, _, _ in v1 for n in c.split(",")])
    if gone:
        log.warning(f"ignoring resource limits that this kernel's cgroups do not have: {', '.join(gone)}")


def capabilities_of(process: Process) -> set[str]:
    return {name for names in cast("dict[str, list[str]]", process.get("capabilities") or {}).values() for name in names or []}


def warn_of_capabilities(wanted: set[str], config: Config, host: facts.Facts) -> None:
    from .config.names import CAPABILITIES
    from .plan import security
    from .plan.namespaces import Namespaces

    unknown = sorted(wanted - CAPABILITIES.keys())
    if unknown:
        log.warning(f"ignoring unknown capabilities: {', '.join(unknown)}")
    lacking = security.lacking(Namespaces(config.get("linux", {})), host)
    denied = sorted([name for name in wanted & CAPABILITIES.keys() if lacking >> CAPABILITIES[name] & 1])
    if denied:
        log.warning(f"ignoring capabilities that the runtime itself does not have: {', '.join(denied)}")


def refuse(config: Config, host: facts.Facts, globals_: Globals, options: Wanted) -> None:
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


def refuse_label(process: Process, host: facts.Facts) -> None:
    if process.get("selinuxLabel") and not host.selinux:
        raise _no_selinux("/process/selinuxLabel")


def _no_selinux(at: str) -> Error:
    return Error(f"config.json: {at}: selinux label is specified in config, but selinux is disabled or not supported", pointer=at)


def tolerates(globals_: Globals, host: facts.Facts) -> bool:
    """--rootless: whether a container that asks nothing of cgroups may do without, if there is no right to them."""
    return {"true": True, "false": False}.get(globals_["rootless"], not host.privileged)


def cgroup_paths(config: Config, host: facts.Facts, container_id: str, rootless: bool) -> tuple[str | None, Rows]:
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


def resctrl_state(rdt: IntelRdt, root: str, container_id: str) -> State:
    """What state.json says of the container's resctrl groups: their names, which of them go with it, and runc's paths.
    What is there already was made by somebody else, and stays however far the creation comes."""
    from .host.rdt import Group
    from .plan import rdt as plan

    group, monitor = plan.group(rdt, container_id), plan.monitor(rdt, container_id)
    made = [name for name in plan.removed(rdt, container_id) if not Group(root, name).exists()]
    return {"resctrl": [group, monitor] if monitor else [group], "resctrl_made": made,
            "intel_rdt_path": clean(f"{root}/{group}"), "intel_rdt_mon_path": f"{root}/{monitor}" if monitor else ""}


def systemd_unit(config: Config, host: facts.Facts, container_id: str,
                 asked: bool = True) -> tuple[facts.Facts, Unit, str, Rows]:
    """--systemd-cgroup: (host with what is to be known of systemd, unit, group, no v1 groups). The unit is what state.json
    keeps of it: its name, slice and manager. Not asked (`explain` of another host), nothing is looked at."""
    from .host import systemd
    from .plan import scope

    bus = systemd.bus_of(host) if asked else "user" if host.euid else "system"
    if asked:
        version, own = systemd.probe(bus)
        host = facts.Facts(**{**host.dump(), "systemd": version, "systemd_group": own})
    if host.cgroup != "v2":
        raise Error("--systemd-cgroup needs a host that has cgroup v2 only", "run without --systemd-cgroup")
    spot = scope.place(config.get("linux", {}).get("cgroupsPath", ""), container_id, bus != "system")
    unit: Unit = {"bus": bus, "unit": spot.unit, "slice": spot.slice, "name": spot.name}
    return host, unit, f"{host.systemd_group}/{spot.group}".lstrip("/"), []


def seccomp_filter(config: Config, root: str | None = None) -> Filter | None:
    """(BPF, flags, (listener, metadata)) of linux.seccomp, or None when it is absent or empty; cached in the state root."""
    section = config.get("linux", {}).get("seccomp")
    if not section:
        return None
    from .seccomp import compile as seccomp

    return seccomp.filter_of(section, root)


def preserved(options: Preserving, sockets: int, inherited: int) -> int:
    """--preserve-fds N: as many from 3 on, after the `sockets` of LISTEN_FDS. The caller must have opened them all: what
    has such a number and is not among the `inherited` is the log, or another file of ours."""
    count = options.get("preserve-fds") or 0
    if count < 0:
        raise Error(f"--preserve-fds {count}: the number of descriptors cannot be negative")
    missing = inherited - 3 - sockets
    if missing < 0 and sockets:
        raise Error(f"LISTEN_FDS={sockets}: descriptor {inherited} is not open", errno=EBADF)
    if missing < count:
        raise Error(f"unable to stat preserved-fd {missing} (of {count}): bad file descriptor", errno=EBADF)
    return count


def environment(name: str) -> str:
    return posix.environ.get(name.encode(), b"").decode("utf-8", "surrogateescape")


def listen_fds() -> int:
    """LISTEN_FDS of systemd's socket activation, sd_listen_fds(3): only if LISTEN_PID says they are for us."""
    count, pid = environment("LISTEN_FDS"), environment("LISTEN_PID")
    if not (count.isascii() and count.isdigit() and pid == str(posix.getpid())):
        return 0
    return int(count)


def _readlink(fd: int) -> str:
    try:
        return posix.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


def _has_own(config: Config, kind: str, new: bool = False) -> bool:
    """Whether it has a namespace of the kind, other than the runtime's; new: that is not joined either."""
    return any([ns["type"] == kind and not (new and ns.get("path")) for ns in config.get("linux", {}).get("namespaces", [])])


def notify_proxy(container: Container) -> Proxy | None:
    """What passes the container's READY= on to NOTIFY_SOCKET, or None."""
    address = environment("NOTIFY_SOCKET")
    if not address:
        return None
    from .host import notify

    return notify.open_proxy(address, container.dirfd)


def wait_ready(container: Container, proxy: Proxy) -> None:
    """Detached: until the container says it is ready, or has ended."""
    pidfd = container.open_pidfd()
    if pidfd is None:
        proxy.close()
    else:
        proxy.wait_ready(container.pid(), pidfd)


# --- update ---


def update(container: Container, holds: Resources, resources: Resources, schemas: Sequence[str] = ()) -> None:
    """Put limits into force, all or none, and remember them. holds: linux.resources that are in force then; resources: what
    of it is written; schemas: lines for the schemata of its resctrl group."""
    from .plan import limits

    group = container.cgroup()
    if group is None:
        raise Error(f"cannot update container {container.id}: it has no cgroup")
    v1 = {name: slot for slot in group.slots for name in slot.partition(":")[2].split(",") if name}
    unit = container.data.get("unit")
    plan = limits.update(resources, v1, group.v2 is not None, unit, unit and facts.load(container.data["facts"]))
    walk = supervise.Supervisor(plan, container, container.data["bundle"], None)
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
    container.data["resources"] = holds
    container.save()


# --- start ---


def start(container: Container) -> Config:
    """Open the gate and wait until execve has succeeded, or say why not (a failing startContainer hook too). Returns the config."""
    pidfd, before = container.grasp()
    status = container.status_of(before is not None)
    if pidfd is None or status != "created":
        raise Error({
            "stopped": "cannot start a container that has stopped",
            "running": "cannot start an already running container",
        }.get(status, f"cannot start a container in the {status} state"))
    config = container.config()
    if not config["process"].get("args"):
        raise Error("cannot start a container without a process: config.json has none", pointer="/process")
    proxy = notify_proxy(container)
    results = container.open_fifo(state.STATUS_FIFO, posix.O_RDONLY)
    try:
        _drain(results)  # init says nothing before the gate: this is not its word
        gate = _open_gate(container)
        try:
            _await_exec(container, pidfd, gate, results, before)
        finally:
            posix.close(gate)
        if proxy:
            wait_ready(container, proxy)
        return config
    finally:
        posix.close(results)


def _open_gate(container: Container) -> int:
    """Let init go; the fifo, of which it closes its end when it does."""
    try:
        gate = container.open_fifo(state.FIFO, posix.O_WRONLY)
    except OSError as err:
        if err.errno != ENXIO:
            raise
        if not container.alive():
            raise Error("cannot start a container that has stopped") from None
        posix.unlink(state.FIFO, dir_fd=container.dirfd)  # somebody inside has let it go
        raise Error("cannot start an already running container") from None
    try:
        posix.write(gate, b"0")
    except OSError as err:  # EAGAIN: somebody inside has filled it
        if err.errno != EAGAIN:
            posix.close(gate)
            raise Error("cannot start a container that has stopped") from None
    posix.unlink(state.FIFO, dir_fd=container.dirfd)
    return gate


def _await_exec(container: Container, pidfd: int, gate: int, results: int, before: bytes | None) -> None:
    """Until init has executed the process, or has ended.

    A process that exec has put into the container can, with CAP_SYS_PTRACE, open the fifos of init: take the byte from the gate,
    forge a record, take one away, hold the status fifo open. So a record only words the reason of an end that the kernel
    tells; and that init has executed is known by its name, which only execve changes.
    """
    watch, said, reason, heard, silent = [pidfd, results], False, None, 0, 0
    while True:
        slice_ms = SLICE_MS if results in watch else 1  # it has said its last, so the end is near
        ready = kernel.wait_any(watch, slice_ms)
        if results in ready:
            heard, record = heard + 1, _read_record(results)
            if not record or heard == RECORDS_MAX:
                watch.remove(results)
            said = said or record[:4] == SAY_EXEC.to_bytes(4, "little")
            if record[:4] == SAY_FAIL.to_bytes(4, "little") and len(record) == 16:
                reason = record
        name, ends = _glance(container)
        if name not in (before, None):
            return
        if ends and results not in ready:
            if name == before or reason or not said:
                raise _reason(container, reason)
            return
        silent += 0 if ready else slice_ms
        if said and not reason and results not in watch and silent >= SLICE_MS:
            return  # a program of init's own name
        if silent and silent % init.PATIENCE_MS == 0:
            error = _too_long(container, gate, said and silent < EXECVE_MS)
            if error:
                try:
                    kill_and_wait(container, pidfd)
                except Error:  # one that it waits for in turn, its own or a hung call of the kernel's, is outside of our power
                    pass
                raise error


def _glance(container: Container) -> tuple[bytes | None, bool]:
    return init.glance(container.pid(), container.data["init_process_start"])


def _too_long(container: Container, gate: int, executes: bool) -> Error | None:
    """The Error of an init that has been silent for init.PATIENCE_MS, or None if that is its right: it executes, or has left
    the gate and runs one of the administrator's hooks, which ends by its time-out if it has one."""
    config = container.config()
    call = init.held(container.pid()) if config.get("linux", {}).get("seccomp") else ""
    if call:
        return init.held_error(config, call)
    if executes or (kernel.wait_any([gate], 0) and config.get("hooks", {}).get("startContainer")):
        return None
    return Error(f"container init has not answered for {init.PATIENCE_MS // 1000} seconds: it is stopped or traced, or a process in the "
                 "container has taken its signal to start", "init has been killed: create the container again")


def _drain(results: int) -> None:
    for _ in range(RECORDS_MAX):
        if len(_read_record(results, 65536)) < 65536:
            return


def _read_record(results: int, size: int = 16) -> bytes:
    try:
        return posix.read(results, size)
    except OSError:  # EAGAIN: somebody else has taken it
        return b"?"


def _reason(container: Container, record: bytes | None) -> Error:
    """Why init has ended."""
    plan = plan_of(container)
    if record is None:
        status = state.zombie_status(container.pid(), container.data.get("init_process_start"))
        if init.killed_by_filter(status):
            return supervise.death(plan, status)
        return Error("container init died before it could execute the process")
    index, err, step = [int.from_bytes(record[i:i + 4], "little", signed=i == 8) for i in (4, 8, 12)]
    ops, errno = plan.child_ops(), supervise.words.errno_of(err)
    gate = next((i for i, op in enumerate(ops) if op.name == "GATE"), -1)
    if not gate < index < len(ops):  # what stands before the gate has been done: this is not the plan that init has
        return Error(f"init failed: {posix.strerror(errno).lower()}")
    return supervise.worded(plan, ops[index], errno, step, container)


def plan_of(container: Container) -> Plan:
    """The plan that a container was made by, as create has kept it. A pyrunc that kept none, or has other ops, has compiled the
    same from the same inputs."""
    try:
        plan = stored.load(loads(container.read(state.PLAN), state.PLAN, "surrogateescape"))
    except (OSError, Error):
        plan = None
    return plan or _recompiled(container)


def _recompiled(container: Container) -> Plan:
    config, data = container.config(), container.data
    request = Request(
        container.id, data["bundle"], container.path, cgroup=data.get("cgroup"), cgroup_v1=data.get("cgroup_v1"), unit=data.get("unit"),
        bpf=seccomp_filter(config, container.root), **Request.known(data["request"]),
    )
    return compiler.compiled(config, facts.load(data["facts"]), request)


def poststart(container: Container, config: Config) -> None:
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


def hook_state(container: Container, status: str, pid: int | None) -> OciState:
    from .host import hooks

    return hooks.state_for(container.id, status, pid, container.data.get("bundle", ""), container.data.get("annotations"))


# --- the end ---


def kill_and_wait(container: Container, pidfd: int, timeout_ms: int = 10000) -> None:
    """SIGKILL to init and, where it shares its pid namespace, to everything in its cgroup; wait for the end."""
    import _signal

    try:
        _signal.pidfd_send_signal(pidfd, 9)
    except OSError:
        pass
    group = container.cgroup()
    if group is not None:
        if container.data.get("pid_shared"):
            container.kill_group()
        if not kernel.wait_exit(pidfd, QUICK_MS):
            group.thaw()
    if not kernel.wait_exit(pidfd, timeout_ms):
        raise Error("container init still running")


def said(err: BaseException) -> str:
    """What went wrong, for a list of such."""
    return err.message if isinstance(err, Error) else (getattr(err, "strerror", None) or type(err).__name__).lower()


def destroy(container: Container) -> list[Error]:
    """Take everything of a stopped container away, step by step; one that fails stops no other. Returns what went wrong with its
    poststop hooks. What is left, and why, is an Error; its directory then stays, so that the rest can be removed later."""
    left = []

    def step(what: str, do: Callable[..., object], *args: object) -> None:
        try:
            do(*args)
        except Exception as err:
            left.append(f"{what}: {said(err)}" if what else said(err))

    data = container.data
    if data:
        step("", _remove_groups, container, step)
        for name in data.get("resctrl_made", ()):
            step("", _remove_resctrl, data["facts"]["resctrl"], name)
        known = data.get("host_mounts") or ({"before": []} if data.get("mounts") else None)  # a list of paths: by an older pyrunc
        if known:
            step("", _remove_mounts, data["rootfs"], known)
    hooks = _Poststop(container) if data else None
    if not left:
        step(f"directory {container.path}", container.remove)
    if left:
        raise Error(f"container {container.id} is not completely removed: {'; '.join(left)}")
    return hooks.run() if hooks else []


def _remove_groups(container: Container, step: Callable[..., None]) -> None:
    group = container.cgroup()
    if group is None:
        return
    unit = container.data.get("unit")
    left = [one for one in group.slots.values() if unit or not _removed(one)]
    if not left:
        return
    try:
        container.kill_group()
    except (OSError, Error):
        pass  # what lives on keeps its group, which is said
    if unit:
        step("", _stop_unit, unit)
    for one in left:
        step("", _remove_group, container, one)


def _removed(group: Cgroup) -> bool:
    """Most hold none of the container's making; the kernel removes none with a process in it, or with a group below it."""
    try:
        posix.rmdir(group.path)
    except OSError as err:
        return err.errno in GONE
    return True


def _remove_group(container: Container, group: Cgroup) -> None:
    """One that is not ours, and holds something, is nothing of ours that is left."""
    if _removed(group):
        return None
    if not container.owns(group):
        return log.warning(f'cgroup "{group.path}" does not belong to this container and is left as it is')
    return group.remove()


def _remove_resctrl(root: str, name: str) -> None:
    from .host.rdt import Group

    Group(root, name).remove()


def _remove_mounts(rootfs: str, known: Known) -> None:
    from .host import hostmounts

    hostmounts.remove(rootfs, known)


class _Poststop:
    """The poststop hooks, read while there is a file to read them from, run when there is nothing left."""

    def __init__(self, container: Container) -> None:
        self.listed, self.errors = [], []
        try:
            self.listed = container.config().get("hooks", {}).get("poststop", [])
            self.state = hook_state(container, "stopped", None) if self.listed else None
        except FileNotFoundError:
            pass
        except Exception as err:
            self.errors = [Error(f"the container's poststop hooks, if any, were not run: {said(err)}")]

    def run(self) -> list[Error]:
        try:
            if self.listed and self.state is not None:
                from .host import hooks

                self.errors += hooks.run_each("poststop", self.listed, self.state)
        except Exception as err:
            self.errors.append(Error(f"not all poststop hooks were run: {said(err)}"))
        return self.errors


def _stop_unit(unit: Unit) -> None:
    """A scope ends with its processes; so without systemd it is only its record of a failure that stays."""
    from .host import systemd

    try:
        systemd.stop(unit["bus"], unit["unit"])
    except (OSError, Error) as err:
        log.warning(f"unit {unit['unit']} may be left behind: {err}")


def salvage(container: Container) -> None:
    """state.json and its copy are damaged, or gone: what can still be known of the container takes their place, for `destroy`.

    Groups that root has made bear the container's mark. Without marks there are config.json and the id, which name a group but
    prove nothing of what runs in it; of a user's there is nothing else. Of init nothing is known: all it started is in there."""
    host = facts.probe()
    named: tuple[str | None, Rows] = None, []
    if container.damaged:
        try:
            config = container.config()
            named = cgroup_paths(config, host, container.id, True)
            if not _has_own(config, "mount"):
                log.warning(f"mounts of container {container.id} on the host, if any, are left behind")
        except Exception as err:
            if not host.privileged:
                log.warning(f"cannot find what container {container.id} may have left behind: {said(err)}")
    group, v1 = _marked(host, container.owner()) if host.privileged else named
    if group is None and not v1 and any(named):
        _refuse_unproved(container, Group(host.cgroup_root, *named))
    if group is not None or v1:
        container.data = {"init_process_pid": 0, "pid_shared": True, "marked": host.privileged, "facts": host.dump(),
                          "cgroup": group, "cgroup_v1": v1, "bundle": "", "request": {}}


def _marked(host: facts.Facts, owner: str) -> tuple[str | None, Rows]:
    """What cgroup_paths returns, by the marks."""
    from .host.cgroup import v2

    own = v2.find(host.cgroup_root, owner) if host.cgroup in ("v2", "hybrid") else []
    return own[0] if own else None, [[controllers, mount, path] for controllers, mount, _ in host.cgroup_v1
                                     for path in v2.find(mount, owner)]


def _refuse_unproved(container: Container, group: Group) -> None:
    pids = group.pids(recursive=True) if group.exists() else []
    if pids:
        raise Error(f"container {container.id}: state.json is damaged, and nothing proves that the {len(pids)} process(es) in cgroup "
                    f'"{group.main().path}" belong to it: they are left alone', "end the processes, then `delete --force` removes the rest")
