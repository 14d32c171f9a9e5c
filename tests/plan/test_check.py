"""The verifier notices the mistake it is there for: each mutation of a legal plan breaks the rule it guards."""

import pytest
from hypothesis import given, settings

from pyrunc import facts
from pyrunc.errors import Error
from pyrunc.plan import check, create, encode
from pyrunc.plan.request import Request
from tests import strategies
from tests.plan.cases import base
from tests.plan.test_goldens import plan_of

REQUEST = Request("c1", "/b", "/s", cgroup="/c1", gate=True)


def drop(plan, name, nth=0):
    ops = [op for op in plan.ops if op.name == name]
    plan.ops.remove(ops[nth])
    return plan


def change(plan, name, arg, value, nth=0):
    op = [op for op in plan.ops if op.name == name][nth]
    args = list(op.args)
    args[arg] = value
    op.args = tuple(args)
    return plan


def move_first(plan, name):
    op = [op for op in plan.ops if op.name == name][0]
    plan.ops.remove(op)
    first = next(i for i, o in enumerate(plan.ops) if o.role != "H")
    plan.ops.insert(first, op)
    for index, each in enumerate(plan.ops):
        each.index = index
    return plan


def use_after(plan, name, op, slot):
    """Another op of the kind after that of the name, by init."""
    at = [each.name for each in plan.ops].index(name)
    index = len(plan.ops)
    more = plan.add("I", op, (slot,), ("1",))
    plan.ops.insert(at + 1, plan.ops.pop(index))
    for index, each in enumerate(plan.ops):
        each.index = index
    assert more.role == "I"
    return plan


MUTATIONS = {
    "signals_come_first": lambda: drop(plan_of("default"), "SIGRESET"),
    "signals_end_a_waiting_init": lambda: drop(plan_of("default"), "SIGEND"),
    "a_unit_comes_first": lambda: move_first(plan_of("systemd"), "SETSID"),
    "dumpable_brackets_the_maps": lambda: drop(plan_of("user-namespace"), "DUMPABLE", 2),
    "paths_are_relative": lambda: change(plan_of("default"), "ATTACH", 0, "/proc"),
    "proc_and_sys_are_real": lambda: change(plan_of("default"), "ATTACH", 1, 0),
    "masks_have_a_verified_source": lambda: drop(plan_of("default"), "DEVNULL"),
    "proc_is_detached": lambda: drop(plan_of("sysctl"), "NEWPROC"),
    "bound_devices_are_proved": lambda: drop(plan_of("user-namespace"), "VERIFY_DEV"),
    "init_waits_for_its_plan": lambda: drop(plan_of("default"), "PLAN"),
    "slots_are_typed": lambda: drop(plan_of("default"), "TREE"),
    "phases_do_not_go_back": lambda: move_first(plan_of("default"), "SETID"),
    "ids_order": lambda: move_first(plan_of("default"), "SETID"),
    "cwd_is_verified": lambda: drop(plan_of("default"), "VERIFY_CWD"),
    "sealed_before_exec": lambda: drop(plan_of("default"), "SEAL"),
    "root_changes_once": lambda: drop(plan_of("default"), "PIVOT"),
    "a_moved_root_is_purged": lambda: drop(plan_of("no-pivot"), "PURGE"),
    "devices_move_before_hooks": lambda: move_first(plan_of("network-devices"), "HOOK"),
    "first_process_forks_init": lambda: drop(plan_of("user-namespace"), "FORK"),
    "nothing_of_the_hosts_crosses_the_fork": lambda: use_after(plan_of("exec-every"), "FORK", "OOM", "hostproc"),
    "what_is_handed_over_is_used": lambda: drop(plan_of("hooks"), "HOOK", 2),
    "seccomp_order": lambda: drop(drop(plan_of("seccomp-privileged"), "CAPS", 1), "AMBIENT"),
}


@pytest.mark.parametrize("rule", MUTATIONS)
def test_the_verifier_notices_what_the_rule_is_for(rule):
    assert rule in {name for name, _, _ in check.violations(MUTATIONS[rule]())}


def test_init_does_nothing_before_its_plan():
    plan = plan_of("default")
    first = plan.child_ops()[0]
    plan.ops.remove(first)
    plan.ops.insert([op.name for op in plan.ops].index("PLAN"), first)
    for index, each in enumerate(plan.ops):
        each.index = index
    assert "init_waits_for_its_plan" in {rule for rule, _, _ in check.violations(plan)}


@pytest.mark.parametrize("name, op", [("exec", "SETNS"), ("exec-user-namespace", "SETNS"), ("exec-no-mount-namespace", "CHROOT")])
def test_an_execd_process_is_never_left_in_the_hosts_root(name, op):
    assert "root_changes_once" in {rule for rule, _, _ in check.violations(drop(plan_of(name), op))}


@pytest.mark.parametrize("name, op", [("exec", "KEYRING"), ("exec-no-mount-namespace", "CHROOT"), ("joined-pid", "KEYRING")])
def test_what_is_the_callers_is_left_before_the_fork(name, op):
    plan = plan_of(name)
    names = [each.name for each in plan.ops]
    plan.ops.insert(names.index("FORK"), plan.ops.pop(names.index(op)))  # FORK has moved up by one
    plan.ops[names.index("FORK")].role = "I"
    for index, each in enumerate(plan.ops):
        each.index = index
    assert "nothing_of_the_hosts_crosses_the_fork" in {rule for rule, _, _ in check.violations(plan)}


def test_the_containers_proc_is_no_way_around_a_detached_one():
    plan = plan_of("sysctl-shared-pid")
    next(op for op in plan.ops if op.name == "OPENPROC").unless = None
    assert "proc_is_detached" in {rule for rule, _, _ in check.violations(plan)}


def test_a_step_to_the_parent_is_the_kernels_to_keep_inside_below_a_root():
    """As runc: `/..` is the root. Only below a procfs is it a fault."""
    config = base()
    config["process"]["cwd"] = "/.."
    config["linux"].update(maskedPaths=["/.."], readonlyPaths=["/a/../b"])
    assert not check.violations(create.compiled(config, facts.named("root-v2"), Request("c1", "/b", "/s", cgroup="/c1", gate=True)))
    assert "paths_are_relative" in {rule for rule, _, _ in check.violations(change(plan_of("sysctl"), "SYSCTL", 0, "sys/../x"))}


def test_every_rule_has_a_mutation():
    assert {rule.__name__[1:] for rule in check.RULES} == set(MUTATIONS)


@settings(max_examples=300, deadline=None)
@given(strategies.configs())
def test_no_config_compiles_to_an_illegal_plan(config):
    for host in ("root-rdt", "root-hybrid"):
        try:
            plan = create.compiled(config, facts.named(host), REQUEST)
        except Error:
            continue
        assert check.violations(plan) == []
        encode.encode(plan)


@settings(max_examples=200, deadline=None)
@given(strategies.configs())
def test_the_capabilities_of_the_plan_are_no_more_than_the_config_asks(config):
    config["linux"].pop("resources", None)  # a limit that this host has no file for is refused
    plan = create.compiled(config, facts.named("root-rdt"), REQUEST)
    asked = config["process"].get("capabilities", {})
    last = [op for op in plan.child_ops() if op.name == "CAPS"][-1:]
    from pyrunc.plan.security import mask

    effective, permitted, inheritable = [int.from_bytes(last[0].args[0][i:i + 8], "little") for i in (0, 8, 16)]
    assert (effective, permitted, inheritable) == tuple(
        mask(asked.get(key)) for key in ("effective", "permitted", "inheritable")
    )
