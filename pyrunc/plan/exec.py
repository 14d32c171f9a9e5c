"""The exec script: a process joins a running container. Shorter than create: no tree is made, only entered.

M joins the namespaces of the container's init through one pidfd, forks into its pid namespace, and the child takes on
credentials in the same order as init did (security.py), with one difference pinned to runc's: the AppArmor profile is
set after the user has changed.
"""

from __future__ import annotations

from errno import EACCES, EINVAL, ENOSYS, EPERM

from ..config.names import NAMESPACES
from ..typed import TYPE_CHECKING
from . import process, security
from .create import DEFAULT_UMASK, SIGKILL, join, ready, rlimits, tasks, with_user
from .namespaces import Namespaces, drop_groups
from .rootfs import in_user_namespace
from .script import Plan

if TYPE_CHECKING:
    from ..config.shape import Config, Linux, Process
    from ..facts import Facts
    from .request import Joining


def compiled(config: Config, facts: Facts, request: Joining) -> Plan:
    """config: the container's, with `process` replaced by what is to run."""
    config = with_user(config)
    linux, proc = config.get("linux", {}), config["process"]
    ns = Namespaces(linux, config.get("annotations"))
    plan = Plan(3 + request.preserve, request.file)
    env = process.environment(proc)
    plan.add("H", "OPENPID", ("init",), source="container's init")
    born, unit = _born_in(plan, facts, request), request.unit
    plan.add("H", "SPAWN", () if unit else born, (0, plan.base, _initial(proc)),
             (EACCES,) if request.unlimited else (), source="exec")
    v1 = {}
    for controllers, mount, path in request.cgroup_v1:
        v1[controllers] = f"cgroup:{controllers}"
        plan.add("H", "CGROUP_OF", (v1[controllers],), (mount, path), source="/linux/cgroupsPath")
    tasks(plan, v1)
    if request.rdt:
        from . import rdt

        rdt.join(plan, request.rdt, facts.resctrl)
    if "oomScoreAdj" in proc:
        plan.add("H", "HOSTPROC", ("hostproc",), source="/process/oomScoreAdj")
    if not ns.private("mount"):
        plan.add("H", "ROOT_OF", ("init-root",), source="container's root")
    plan.add("H", "PLAN", source="exec")
    plan.add("M", "SIGRESET", source="default: signals")
    plan.add("M", "PDEATHSIG", (), (SIGKILL,), source="default: die with the supervisor")
    join(plan, "M")  # not init: a process in the container could see the descriptors of what it joins (CVE-2016-9962)
    if "oomScoreAdj" in proc:
        plan.add("M", "OOM", ("hostproc",), (str(proc["oomScoreAdj"]),), source="/process/oomScoreAdj")
    plan.add("M", "DUMPABLE", (), (0,), source="default: not traceable")
    if unit:
        plan.source = "--systemd-cgroup"
        plan.sync("M")
        plan.add("H", "ADOPT", (), (unit["bus"], unit["unit"], (request.cgroup or "").removeprefix(unit["group"] or "")))
    _join(plan, ns)
    # before it can be seen in there: the caller's keyring and root are the host's
    if not request.no_new_keyring:
        plan.add("M", "KEYRING", (), (f"_ses.{request.id}", 0), (ENOSYS,), source="default: keyring")
    if not ns.private("mount"):  # no SETNS has led to the container's root: it is its init's alone
        plan.add("M", "CHROOT", ("init-root",), source="container's root")
    plan.add("M", "FORK", source="container's pid namespace")
    _final(plan, proc)
    _inside(plan, ns, proc, linux, env, facts, request)
    return plan


def _born_in(plan: Plan, facts: Facts, request: Joining) -> tuple[str, ...]:
    """Slots of the cgroup2 groups SPAWN may use, the first that takes processes.

    The container's own takes none once a manager in the container has moved itself into a group below and given that one
    controllers (cgroups(7), no internal processes: EBUSY); then it is where the container's init lives now.
    """
    if request.cgroup is None:
        return ()
    at = facts.cgroup_root, request.cgroup
    plan.add("H", "CGROUP_OF", ("cgroup",), at, source="/linux/cgroupsPath")
    if not request.follow:
        return ("cgroup",)
    plan.add("H", "CGROUP_OF_INIT", ("init-cgroup",), at, source="container's init")
    return "cgroup", "init-cgroup"


def _initial(proc: Process) -> bytes:
    text = proc.get("execCPUAffinity", {}).get("initial")
    return process.bitmask(text) if text else b""


def _final(plan: Plan, proc: Process) -> None:
    """All CPUs unless the process has a say: what the caller, or its cpuset, is bound to is not the container's."""
    affinity = proc.get("execCPUAffinity", {})
    if affinity.get("final"):
        plan.add("I", "AFFINITY", (), (process.bitmask(affinity["final"]),), source="/process/execCPUAffinity/final")
    elif not affinity.get("initial"):
        plan.add("I", "AFFINITY", (), (process.ALL_CPUS,), (EINVAL,), source="default: all CPUs")


def _join(plan: Plan, ns: Namespaces) -> None:
    """Namespaces the container owns come after its user namespace, others before it; what EPERM refused comes again."""
    plan.source = "/linux/namespaces"
    joined = [kind for kind in NAMESPACES if ns.private(kind) and kind != "user"]
    first = [kind for kind in joined if kind in ns.joined] if ns.private("user") else []
    retry = [(kind, plan.add("M", "SETNS", ("init",), (NAMESPACES[kind][0],), (EPERM,))) for kind in first]
    if ns.private("user"):
        drop_groups(plan, ns)
    # in one call: whether init may be looked at is asked once, as the caller, before the user namespace is entered
    own = [kind for kind in joined if kind not in first] + (["user"] if ns.private("user") else [])
    if own:
        plan.add("M", "SETNS", ("init",), (sum([NAMESPACES[kind][0] for kind in own]),))
    for kind, op in retry:
        plan.add("M", "SETNS", ("init",), (NAMESPACES[kind][0],), unless=op)
    if ns.private("user"):
        plan.add("M", "BECOME", (), (0, 0))


def _inside(plan: Plan, ns: Namespaces, proc: Process, linux: Linux, env: list[str], facts: Facts, request: Joining) -> None:
    plan.add("I", "SETSID", source="default: session")
    plan.add("I", "OPENROOT", ("root",), source="container's root")
    if proc.get("apparmorProfile") or proc.get("selinuxLabel"):
        shared = in_user_namespace(ns, facts)  # its pid namespace may be another's
        fresh = plan.add("I", "NEWPROC", ("proc",), (), (EPERM,) if shared else (), source="default: detached proc")
        if shared:
            plan.add("I", "OPENPROC", ("proc", "root"), unless=fresh, source="container's /proc")
    process.stdio(plan, proc, False)
    if request.pidfd_socket:
        plan.sync("I")
        plan.add("H", "PIDFD", (), ("setns",), source="--pidfd-socket")
    plan.add("I", "UMASK", (), (proc["user"].get("umask", DEFAULT_UMASK),), source="/process/user/umask")
    rlimits(plan, proc)
    process.scheduling(plan, proc, linux)
    if proc.get("selinuxLabel"):
        security.selinux(plan, proc["selinuxLabel"], "/process/selinuxLabel")
    security.credentials(plan, proc, env, request.bpf, facts, ns, (), late_apparmor=proc.get("apparmorProfile"))
    ready(plan)
    process.give_stdio(plan, proc, request.detach, ns)
    plan.add("H", "EXECED", source="exec")
    plan.add("I", "EXEC", (None,), (proc["args"], env), source="/process/args")
