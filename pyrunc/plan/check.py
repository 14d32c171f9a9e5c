"""The verifier: what must hold for every plan, whatever the config. Pure; returns the broken rules.

The compilers are trusted to emit the right ops; this is what makes the class of mistake impossible to ship: a property
test runs it over generated configs, and deleting an op or a flag from a plan must be noticed here.
"""

from __future__ import annotations

from ..config.names import NAMESPACES
from ..errors import Error
from ..typed import TYPE_CHECKING
from .ops import LIST, PHASES
from .optable import ATTACH_FILE, ATTACH_PROC, ATTACH_REAL_DIR
from .script import takes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .script import Plan

    Found = Iterator[tuple[int, str]]  # index of an op, what is wrong with it
    Rule = Callable[[Plan], Found]

CHANGE_ROOT = ("PIVOT", "CHROOT")
CLONE_NEWNS = NAMESPACES["mount"][0]


def violations(plan: Plan) -> list[tuple[str, int, str]]:
    """[(name of the rule, op index, what)]; empty for a legal plan."""
    found: list[tuple[str, int, str]] = []
    for rule in RULES:
        found += [(rule.__name__[1:], index, what) for index, what in rule(plan)]
    return found


def sound(plan: Plan) -> Plan:
    """The plan, if it breaks no rule: what does was compiled wrongly, and nobody should believe or do it."""
    for rule, index, what in violations(plan):
        raise Error(f"the plan breaks the rule {rule}: op {index + 1}: {what}", "this is a fault of pyrunc: please report it")
    return plan


def _paths_are_relative(plan: Plan) -> Found:
    """A path of init's names a root slot, and has no leading slash; below a procfs it has no parent step either. Below a root the
    kernel keeps such a step inside (RESOLVE_IN_ROOT)."""
    for op in plan.child_ops():
        for (_, kind), path in zip(op.row.args, op.args):
            if kind.name == "path" or kind.name == "place" and op.slots[1]:
                climbs = ".." in path.split("/") and any([slot.kind == "proc" for slot, _ in op.given()])
                if path.startswith("/") or climbs:
                    yield op.index, f"{op.name} with the path {path!r}"
                if not any([slot.kind in ("root", "proc") for slot, _ in op.given()]):
                    yield op.index, f"{op.name} on a path without a root slot"


def _proc_is_detached(plan: Plan) -> Found:
    """What is written below /proc goes through a procfs of our own, or where that is refused the container's, proved."""
    makers = _makers(plan)
    for op in plan.child_ops():
        if op.name in ("SYSCTL", "LABEL") and not makers.get(op.slots[0] or "", {""}) <= {"NEWPROC", "OPENPROC"}:
            yield op.index, f"{op.name} through something else than a proc that is proved to be one"
        if op.name == "OPENPROC" and (op.unless is None or op.unless.name != "NEWPROC"):
            yield op.index, "the container's proc although a detached one may be had"
        if op.name == "OOM" and makers.get(op.slots[0] or "") != {"HOSTPROC"}:
            yield op.index, "OOM through something else than the host's proc"


def _masks_have_a_verified_source(plan: Plan) -> Found:
    """/dev/null is proved to be one."""
    makers = _makers(plan)
    for op in plan.child_ops():
        if op.name == "MASK" and makers.get(op.slots[1] or "") != {"DEVNULL"}:
            yield op.index, "MASK without a verified /dev/null"


def _proc_and_sys_are_real(plan: Plan) -> Found:
    """A procfs or sysfs is attached where no symlink leads; what else is attached at /proc is proved to be a procfs."""
    made = {op.slots[0]: op.value("type") for op in plan.child_ops() if op.name in ("FSMOUNT", "MOUNT")}
    for op in plan.child_ops():
        if op.name == "ATTACH" and made.get(op.slots[0]) in ("proc", "sysfs") and not op.value("flags") & ATTACH_REAL_DIR:
            yield op.index, f"{made[op.slots[0]]} attached without ATTACH_REAL_DIR"
        if op.name == "ATTACH" and op.value("path") == "proc" and op.slots[0] not in made and not op.value("flags") & ATTACH_PROC:
            yield op.index, "/proc attached without ATTACH_PROC"


def _bound_devices_are_proved(plan: Plan) -> Found:
    """A node of the host's is attached only after VERIFY_DEV: its path may lead to another device."""
    proved: set[str | None] = set()
    for op in plan.child_ops():
        if op.name == "VERIFY_DEV":
            proved.add(op.slots[0])
        if op.name == "ATTACH" and op.value("flags") == ATTACH_FILE and op.slots[0] not in proved:
            yield op.index, f"{op.value('path')} is attached without being proved"


def _slots_are_typed(plan: Plan) -> Found:
    """Filled once (or again in place of a failure), before use, with what the op takes."""
    kinds: dict[str, str] = {}
    for op in plan.ops:
        for slot, name in op.given():
            if slot.made == LIST:  # filled by the host's op that follows
                continue
            if slot.made:
                if name in kinds and op.unless is None:
                    yield op.index, f"{name} is filled twice"
                kinds[name] = slot.kind
            elif name not in kinds and op.name != "SYNC":
                yield op.index, f"{op.name}: {name} is used before it is filled"
            elif not takes(slot.kind, kinds.get(name, slot.kind)):
                yield op.index, f"{op.name}: {name} is a {kinds[name]}, not a {slot.kind}"


def _init_waits_for_its_plan(plan: Plan) -> Found:
    """Once SPAWN, then once PLAN, and only then what init does: the groups, limits and filters before it hold for all of that."""
    names = [op.name for op in plan.ops]
    if names.count("SPAWN") != 1 or names.count("PLAN") != 1 or names.index("SPAWN") > names.index("PLAN"):
        yield plan.ops[-1].index, "init is not born once and then given its plan"
    elif plan.child_ops()[0].index < names.index("PLAN"):
        yield names.index("PLAN"), "init does something before its plan"


def _phases_do_not_go_back(plan: Plan) -> Found:
    """The order of phases: clean ns fs sys cred gate exec."""
    last = 0
    for op in plan.child_ops():
        phase = op.row.phase
        if phase == "any":
            continue
        now = PHASES.index(phase)
        if now < last:
            yield op.index, f"{op.name} of phase {phase} after phase {PHASES[last]}"
        last = max(last, now)


def _dumpable_brackets_the_maps(plan: Plan) -> Found:
    """Not traceable before the first setns; traceable only around the writing of the maps."""
    state = 1
    for op in plan.child_ops():
        if op.name == "DUMPABLE":
            state = op.value("value")
        elif op.name in ("SETNS", "FORK", "ROOT", "EXEC") and state:
            yield op.index, f"{op.name} while traceable"
        elif op.name == "SYNC" and state and plan.ops[op.index + 1].name != "MAPS":
            yield op.index, "SYNC while traceable"


def _signals_come_first(plan: Plan) -> Found:
    """Handlers, masks and ignored signals of the caller are gone before anything else is done."""
    first = plan.child_ops()[0]
    if first.name != "SIGRESET":
        yield first.index, f"{first.name} before SIGRESET"


def _signals_end_a_waiting_init(plan: Plan) -> Found:
    """create and run: init, which may be pid 1, asks for what would end it, while it still may; exec makes no pid 1."""
    names = [op.name for op in plan.child_ops()]
    if any([op.name == "CREATED" for op in plan.ops]):
        after = min([names.index(name) for name in ("SECCOMP", "GATE", "EXEC") if name in names])
        if "SIGEND" not in names[:after]:
            yield plan.ops[-1].index, "no SIGEND before the filter and the gate"


def _a_unit_comes_first(plan: Plan) -> Found:
    """Where systemd makes the group, the process is not born into it: it enters before it does anything of its own."""
    for op in plan.ops:
        if op.name == "UNIT":
            early = {o.name for o in plan.child_ops() if o.index < op.index} - {"SIGRESET", "PDEATHSIG", "DUMPABLE", "OOM", "SYNC"}
            if early:
                yield op.index, f"{', '.join(sorted(early))} before the unit"


def _seccomp_order(plan: Plan) -> Found:
    """After NNP, or before the last CAPS; after it only ops that need no more than a filter must leave."""
    ops = plan.child_ops()
    filters = [op for op in ops if op.name == "SECCOMP"]
    if len(filters) > 1:
        yield filters[1].index, "two filters"
    for op in filters:
        nnp = any([o.name == "NNP" and o.index < op.index for o in ops])
        caps = [o.index for o in ops if o.name == "CAPS"]
        if nnp and caps and caps[-1] > op.index:
            yield op.index, "CAPS after SECCOMP although no-new-privileges is set"
        if not nnp and caps and caps[-1] < op.index:
            yield op.index, "SECCOMP after the last CAPS without no-new-privileges"
        for later in ops:
            if later.index > op.index and not later.row.calls:
                yield later.index, f"{later.name} after SECCOMP"


def _ids_order(plan: Plan) -> Found:
    """Bounding set and groups before the user; capabilities after."""
    at: dict[str, int] = {}
    for op in plan.child_ops():
        at.setdefault(op.name, op.index)
    for first, then in (("BOUND", "SETID"), ("SETGROUPS", "SETID"), ("KEEPCAPS", "SETID"), ("SETID", "CAPS")):
        if first in at and then in at and at[first] > at[then]:
            yield at[first], f"{first} after {then}"


def _cwd_is_verified(plan: Plan) -> Found:
    """After the last CHDIR."""
    ops = [op.name for op in plan.child_ops()]
    if "VERIFY_CWD" not in ops or "CHDIR" in ops[ops.index("VERIFY_CWD"):]:
        yield plan.ops[-1].index, "working directory not verified after the last CHDIR"


def _sealed_before_exec(plan: Plan) -> Found:
    """SEAL, and after it nothing that opens."""
    names = [op.name for op in plan.child_ops()]
    if "SEAL" not in names or names[-1] != "EXEC":
        yield plan.ops[-1].index, "no SEAL before EXEC"
        return
    after = names[names.index("SEAL") + 1:]
    for name in after:
        if name not in ("SECCOMP", "CAPS", "AMBIENT", "SYNC", "GATE", "HOOK", "EXEC"):
            yield plan.ops[-1].index, f"{name} after SEAL"


def _root_changes_once(plan: Plan) -> Found:
    """No mount of the host is visible when the process runs: the root is changed, once, before phase sys. exec enters
    it with the mount namespace, or by CHROOT where the container has none."""
    changes = [op.index for op in plan.child_ops() if op.name in CHANGE_ROOT]
    if any([op.name == "OPENROOT" for op in plan.child_ops()]):
        changes += [op.index for op in plan.child_ops()
                    if op.name == "SETNS" and op.value("nstype") & CLONE_NEWNS and op.unless is None]
    if len(changes) != 1:
        yield plan.ops[-1].index, f"the root changes {len(changes)} times"


def _a_moved_root_is_purged(plan: Plan) -> Found:
    """What MOVEROOT leaves below lets nobody mount a procfs without masks; a joined namespace is others' as well."""
    names = [op.name for op in plan.child_ops()]
    if "MOVEROOT" in names:
        at = names.index("MOVEROOT")
        own = any([op.value("flags") & CLONE_NEWNS for op in plan.ops if op.name in ("SPAWN", "UNSHARE")])
        if names[at + 1:at + 3] != ["PURGE", "CHROOT"] and (own or names[at + 1] != "CHROOT"):
            yield plan.ops[-1].index, "MOVEROOT without PURGE and CHROOT"


def _devices_move_before_hooks(plan: Plan) -> Found:
    """A hook finds the network as the process will."""
    hooks = [op.index for op in plan.ops if op.name == "HOOK"]
    for op in plan.ops:
        if op.name == "NETDEV" and hooks and hooks[0] < op.index:
            yield op.index, "a network device is moved after a hook"


def _makers(plan: Plan) -> dict[str, set[str]]:
    """{slot: names of the ops that fill it, one in place of another}"""
    makers: dict[str, set[str]] = {}
    for op in plan.ops:
        for slot in op.produced():
            makers.setdefault(slot, set()).add(op.name)
    return makers


def _first_process_forks_init(plan: Plan) -> Found:
    """A plan with a part for M ends it with the FORK that makes I; without, nobody would do I's part."""
    ops = plan.child_ops()
    first = [op for op in ops if op.role == "M"]
    if first and (first[-1].name != "FORK" or ops[len(first)].role != "I"):
        yield first[-1].index, "the first process does not end by forking init"


# Kinds of what init may get over the fork: trees it will attach, its root, and its ways to talk. In exec nothing: whatever the
# joining process still held, a process in the container with CAP_SYS_PTRACE could take from it (CVE-2016-9962).
CROSSING = ("tree", "root", "gate", "status", "memfd")


def _nothing_of_the_hosts_crosses_the_fork(plan: Plan) -> Found:
    """What is open at FORK is open in the container's pid namespace: init uses it, and it is no proc, namespace or group of the
    host's. M has left the caller's session keyring by then, and in exec the host's root."""
    kinds: dict[str, str] = {}
    forks = [op.index for op in plan.ops if op.name == "FORK"]
    if not forks:
        return
    joins = any([op.name == "OPENROOT" for op in plan.ops])
    open_: set[str] = set()
    for op in plan.ops[:forks[0]]:
        kinds.update([(name, slot.kind) for slot, name in op.given() if slot.made == 1])
    for op in plan.child_ops():
        if op.index > forks[0]:
            open_.update([name for name in op.consumed() if name in kinds])
        if op.index > forks[0] and (op.name == "KEYRING" or joins and op.name == "CHROOT"):
            yield op.index, f"{op.name} after the fork"
    for name in sorted(open_):
        if joins or kinds[name] not in CROSSING:
            yield forks[0], f"{name}, a {kinds[name]}, crosses the fork"


def _what_is_handed_over_is_used(plan: Plan) -> Found:
    """A descriptor that init gets at a SYNC has a use, and so an end."""
    ends = plan.ends()
    for op in plan.child_ops():
        for name in op.produced():
            if op.name == "SYNC" and name in ends.get(op.index, ()):
                yield op.index, f"nothing uses {name}"


RULES: tuple[Rule, ...] = (
    _paths_are_relative, _proc_is_detached, _masks_have_a_verified_source, _proc_and_sys_are_real, _bound_devices_are_proved,
    _slots_are_typed, _init_waits_for_its_plan, _phases_do_not_go_back, _dumpable_brackets_the_maps, _signals_come_first,
    _signals_end_a_waiting_init, _a_unit_comes_first, _seccomp_order, _ids_order, _cwd_is_verified, _sealed_before_exec,
    _root_changes_once, _a_moved_root_is_purged, _devices_move_before_hooks, _first_process_forks_init,
    _nothing_of_the_hosts_crosses_the_fork, _what_is_handed_over_is_used,
)
