"""The create script: one linear program for the host, the first process and init. This order is the product.

`compiled` is pure: the checked config, Facts and a Request go in, a Plan comes out. What is not obvious about
the order is said where it is decided: namespaces.py, rootfs.py, hooks.py, security.py.
"""

from __future__ import annotations

from errno import EACCES, EINVAL, ENOSYS, EPERM, EROFS

from ..config import mountopts, sysctl
from ..config.names import RLIMITS
from ..paths import clean
from ..typed import TYPE_CHECKING
from . import device_rules, devices, hooks, limits, process, rootfs, security
from .namespaces import MADE, Namespaces, acquire, become_root, enter, make
from .script import Plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..config.shape import Config, Process
    from ..facts import Facts
    from .ops import Op
    from .request import Request
    from .rootfs import Mount

NO_RIGHT = (EPERM, EACCES, EROFS)
SIGKILL = 9
CGROUPS_PATH = "/linux/cgroupsPath"
DEFAULT_UMASK = 0o022
KEYRING_PERMS = 0x80000   # KEY_USR_SEARCH, added to what the kernel gives; 0x8 (KEY_OTH_SEARCH) in a user namespace


def compiled(config: Config, facts: Facts, request: Request) -> Plan:
    config = with_user(config)
    linux = config.get("linux", {})
    ns = Namespaces(linux, config.get("annotations"))
    plan = Plan(3 + request.preserve + request.listen_fds)
    mounts = rootfs.mounts(config)
    makes_dev = not rootfs.binds_dev(mounts)
    by_bind = makes_dev and devices.by_bind(ns, facts)
    before, role = facts.privileged, "M" if ns.needs_first() else "I"

    if linux.get("netDevices"):  # pyroute2 is loaded before there is a process
        from . import netdev

        netdev.check(plan, linux["netDevices"])
    born = _spawn(plan, facts, request, ns)
    _host(plan, config, facts, request, ns, born)
    if before:
        _trees(plan, "H", config, mounts, request, facts, ns, by_bind)
    _plan(plan, config, request)
    _clean(plan, config, facts, request, ns, role)
    enter(plan, ns, facts)
    if before:
        become_root(plan, ns)
        make(plan, ns)
    else:  # trees are cloned in a mount namespace of one's own; what root shall own in there is made as root
        make(plan, ns, ("mount",))
        _trees(plan, role, config, mounts, request, facts, ns, by_bind)
        become_root(plan, ns)
        make(plan, ns, MADE[1:])
    _keyring(plan, request, ns, role)
    if ns.needs_first():
        plan.add("M", "FORK", source="/linux/namespaces")
    _session(plan, ns)
    rootfs.attach(plan, config, request, ns, facts, mounts, _needs_proc(config))
    if makes_dev:
        devices.make(plan, "H" if before else role, config, ns, by_bind, facts.kcore)
    if request.notify:
        plan.add("I", "ATTACH", ("notify-dir", "root"), ("run/notify", 0, 0o755), source="NOTIFY_SOCKET")
    if not before:
        plan.add("I", "NOFILE", (), (0,), source="default: descriptors")
    if linux.get("netDevices"):
        from . import netdev

        netdev.move(plan, linux["netDevices"])
    plan.environ = request.environ
    hooks.setup(plan, config, request.environ)
    rootfs.change_root(plan, config, ns, request.no_pivot)
    _system(plan, config, request, ns, mounts, makes_dev)
    _process(plan, config, facts, request, ns)
    return plan


def with_user(config: Config) -> Config:
    """No user is uid 0 and gid 0."""
    return {**config, "process": {"user": {}, **config["process"]}}


def _needs_proc(config: Config) -> bool:
    proc = config["process"]
    return bool(config.get("linux", {}).get("sysctl") or proc.get("apparmorProfile") or proc.get("selinuxLabel"))


def _spawn(plan: Plan, facts: Facts, request: Request, ns: Namespaces) -> list[Op]:
    """[CGROUP, SPAWN], or [SPAWN]: first of all, because the kernel needs long. It holds cgroup_mutex for most of that; so the
    plan is encoded, and what is no group is opened, before the other groups are made."""
    ops, own = [], request.cgroup is not None and not request.unit
    if request.cgroup is not None and own:
        ops.append(plan.add("H", "CGROUP", ("cgroup",), (facts.cgroup_root, request.cgroup, False, False), source=CGROUPS_PATH))
    flags = ns.birth_flags(), plan.base, b""
    return [*ops, plan.add("H", "SPAWN", ("cgroup" if own else None,), flags, source="/linux/namespaces")]


def _host(plan: Plan, config: Config, facts: Facts, request: Request, ns: Namespaces, born: Sequence[Op]) -> None:
    """H: what init begins with, and what holds for init by then."""
    acquire(plan, ns, config)
    if "oomScoreAdj" in config["process"]:
        plan.add("H", "HOSTPROC", ("hostproc",), source="/process/oomScoreAdj")
    if request.notify:
        plan.add("H", "NOTIFYDIR", source="NOTIFY_SOCKET")
    if not request.unit:
        groups(plan, config, facts, request, ns, born)
    if "intelRdt" in config.get("linux", {}):
        from . import rdt

        rdt.add(plan, config["linux"]["intelRdt"], facts.resctrl, request.id)


def groups(plan: Plan, config: Config, facts: Facts, request: Request, ns: Namespaces, born: Sequence[Op] = ()) -> None:
    """The container's groups with their limits and device rules, before anything can run in them. born: of _spawn."""
    resources, v2 = config.get("linux", {}).get("resources", {}), request.cgroup is not None
    plan.source = CGROUPS_PATH
    if request.unit:
        from . import scope

        scope.start(plan, config, facts, request.unit, request.cgroup or "", ns.needs_first())
    for controllers, mount, path in request.cgroup_v1:
        plan.add("H", "CGROUP", (f"cgroup:{controllers}",), (mount, path, False, False))
    v1 = _on_v1(request)
    limits.add(plan, limits.split(resources)[0] if ns.needs_first() else resources, v1, v2)
    if v2:
        if born:
            optional = request.rootless and not config.get("linux", {}).get("cgroupsPath")
            born[0].args = (*born[0].args[:2], limits.needs_domain(plan), optional)
            if optional and not list(limits.writes(resources, v1)):
                born[0].tolerate, born[1].tolerate = NO_RIGHT, (EACCES,)
        owner = _owner(config, ns)
        if owner is not None:
            plan.add("H", "OWNER", ("cgroup",), (owner,), () if facts.privileged else (EPERM,), source="/linux/namespaces")
    if (v2 or v1) and facts.privileged:  # others may not load a filter, and their nodes are bind mounts of what they may open
        holders = [slot for slot in ("cgroup" if v2 else None, v1.get("devices")) if slot]
        if not holders:
            raise limits.nowhere("devices", "/linux/resources/devices")
        for holder in holders:  # on a hybrid host both: what reads devices.list finds the truth there
            plan.add("H", "DEVICES", (holder,), (device_rules.rules(config),),
                     source="/linux/resources/devices" if "devices" in resources else "default: device rules")
    tasks(plan, v1)


def _on_v1(request: Request) -> dict[str, str]:
    """{controller: slot of its group} of the controllers on v1 hierarchies."""
    return {controller: f"cgroup:{controllers}" for controllers, _, _ in request.cgroup_v1
            for controller in controllers.split(",")}


def tasks(plan: Plan, v1: Mapping[str, str]) -> None:
    """Init joins v1 hierarchies (and resctrl groups) by descriptors that it is born with."""
    for slot in dict.fromkeys(v1.values()):
        plan.add("H", "TASKS", (slot, "tasks" + slot[6:]), source=CGROUPS_PATH)


def join(plan: Plan, role: str) -> None:
    for op in [op for op in plan.ops if op.name == "TASKS"]:
        plan.add(role, "JOIN", (op.slots[1],), source=op.source)


def _owner(config: Config, ns: Namespaces) -> int | None:
    """config-linux.md#cgroup-ownership: who is root of his own user and cgroup namespaces, and may write to a cgroup
    mount, gets the group. Returns the uid of that root on the host."""
    writable = any([m.get("type") in ("cgroup", "cgroup2") and "ro" not in m.get("options", ())
                    and clean(m["destination"]) == "/sys/fs/cgroup" for m in config.get("mounts", ())])
    if not (writable and "cgroup" in ns.new and "user" in ns.new):
        return None
    return ns.host_id("uid", config["process"]["user"].get("uid", 0))


def _trees(plan: Plan, role: str, config: Config, mounts: Sequence[Mount], request: Request, facts: Facts, ns: Namespaces,
           by_bind: bool) -> None:
    if role != "H":  # in the caller's view of the tree, which init has not: so all of them at once
        plan.add(role, "NOFILE", (), (1,), source="default: descriptors")
    rootfs.acquire(plan, role, config, mounts, request, facts, ns)
    if by_bind:
        devices.acquire(plan, role, config, ns)
    if request.notify:
        plan.add(role, "TREE", ("notify-dir",), (f"{request.state}/notify", 0, mountopts.ATTR_RDONLY, 0, mountopts.MS_SLAVE, 0),
                 source="NOTIFY_SOCKET")


def _plan(plan: Plan, config: Config, request: Request) -> None:
    hooks.outputs(plan, config)
    if request.gate:
        plan.add("H", "FIFO", ("gate", "status"), source="create")
    plan.add("H", "PLAN", source="default: ready to begin")


def _clean(plan: Plan, config: Config, facts: Facts, request: Request, ns: Namespaces, role: str) -> None:
    plan.add(role, "SIGRESET", source="default: signals")
    plan.add(role, "PDEATHSIG", (), (SIGKILL,), source="default: die with the supervisor")
    join(plan, role)
    if "oomScoreAdj" in config["process"]:  # of a process that is not dumpable the file is the host's root's
        value = str(config["process"]["oomScoreAdj"])
        plan.add(role, "OOM", ("hostproc",), (value,), source="/process/oomScoreAdj")
    plan.add(role, "DUMPABLE", (), (0,), source="default: not traceable")
    if request.unit:  # systemd makes a scope around a process that there is, so this one waits for it
        plan.source = "--systemd-cgroup"
        plan.sync(role)
        groups(plan, config, facts, request, ns)
    plan.add(role, "AFFINITY", (), (process.ALL_CPUS,), (EINVAL,), source="default: all CPUs")


def _keyring(plan: Plan, request: Request, ns: Namespaces, role: str) -> None:
    """Before init can be seen in a pid namespace that it joins: until then the session keyring is the caller's."""
    if not request.no_new_keyring:
        perms = 0x8 if ns.private("user") else KEYRING_PERMS
        plan.add(role, "KEYRING", (), (f"_ses.{request.id}", perms), (ENOSYS,), source="default: keyring")


def _session(plan: Plan, ns: Namespaces) -> None:
    plan.add("I", "SETSID", source="default: session")
    if "cgroup" in ns.new:
        plan.add("I", "UNSHARE", (), (0x02000000,), source=ns.at["cgroup"])
    if "network" in ns.new:
        plan.add("I", "LOOPBACK", source=ns.at["network"])


def _system(plan: Plan, config: Config, request: Request, ns: Namespaces, mounts: Sequence[Mount], makes_dev: bool) -> None:
    linux, proc = config.get("linux", {}), config["process"]
    masked, readonly = linux.get("maskedPaths", []), linux.get("readonlyPaths", [])
    plan.add("I", "NULLFD", ("root",), source="default: stdio")
    process.working_directory(plan, proc)
    process.stdio(plan, proc, makes_dev)
    if request.pidfd_socket:
        plan.sync("I")
        plan.add("H", "PIDFD", (), ("standard",), source="--pidfd-socket")
    rootfs.finish(plan, config, mounts)
    plan.add("I", "UMASK", (), (proc["user"].get("umask", DEFAULT_UMASK),), source="/process/user/umask")
    if config.get("hostname"):
        plan.add("I", "HOSTNAME", (), (config["hostname"],), source="/hostname")
    if config.get("domainname"):
        plan.add("I", "DOMAINNAME", (), (config["domainname"],), source="/domainname")
    if proc.get("apparmorProfile"):
        security.apparmor(plan, proc["apparmorProfile"], "/process/apparmorProfile")
    for key, value in linux.get("sysctl", {}).items():
        plan.add("I", "SYSCTL", ("proc",), (f"sys/{sysctl.path(key)}", value), source=f"/linux/sysctl/{key}")
    for i, path in enumerate(readonly):
        plan.add("I", "READONLY", ("root",), (rootfs.relative(path),), source=f"/linux/readonlyPaths/{i}")
    if masked:
        plan.add("I", "DEVNULL", ("root", "devnull"), source="/linux/maskedPaths")
    for i, path in enumerate(dict.fromkeys(masked)):
        plan.add("I", "MASK", ("root", "devnull"), (rootfs.relative(path), linux.get("mountLabel", "")),
                 source=f"/linux/maskedPaths/{i}")


def _process(plan: Plan, config: Config, facts: Facts, request: Request, ns: Namespaces) -> None:
    linux, proc = config.get("linux", {}), config["process"]
    env = process.environment(proc, request.listen_fds, request.notify)
    rlimits(plan, proc)
    process.scheduling(plan, proc, linux)
    plan.add("I", "SIGEND", source="default: signals")
    if proc.get("selinuxLabel"):
        security.selinux(plan, proc["selinuxLabel"], "/process/selinuxLabel")
    gated, hooked = request.gate, hooks.listed(config, "startContainer")
    if hooked:
        plan.sync("I", receive=("start-state",))
        plan.add("H", "STATE_JSON", ("start-state",), ("created",), source="/hooks/startContainer")
    keep = ("gate", "status") if gated else (None, None)
    security.credentials(plan, proc, env, request.bpf, facts, ns, (*keep, "start-state" if hooked else None))
    ready(plan)
    process.give_stdio(plan, proc, request.detach, ns)
    if ns.needs_first():
        late = limits.split(linux.get("resources", {}))[1]
        limits.add(plan, late, _on_v1(request), request.cgroup is not None)
    plan.add("H", "CREATED", source="default: state")
    if gated:
        plan.add("I", "GATE", ("gate",), source="start")
    hooks.start_container(plan, config)
    plan.add("I", "EXEC", ("status" if gated else None,), (proc["args"], env), source="/process/args")


def ready(plan: Plan) -> None:
    """Init is set up but for execve: no signal follows from the supervisor's end any more."""
    plan.source = "default: ready"
    plan.sync("I")


def rlimits(plan: Plan, proc: Process) -> None:
    """The host sets them (raising one needs its privilege, not the container's), before the user changes (prlimit(2)).

    NOFILE is only raised here; init lowers its own as the last thing that could need a descriptor is done (security.py).
    """
    listed = [(RLIMITS[r["type"]], r["soft"], r["hard"]) for r in proc.get("rlimits", [])]
    if listed:
        plan.source = "/process/rlimits"
        plan.sync("I")
        plan.add("H", "RLIMITS", (), (listed,))
