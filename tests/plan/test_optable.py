"""An op in one place: what its row says is what C is told, what the host does, and what `Plan.add` takes."""

import pathlib

import pytest

from pyrunc import supervise
from pyrunc.plan.kinds import KINDS
from pyrunc.plan.ops import INIT, OPS, PHASES, ROWS
from pyrunc.plan.script import Plan

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_every_op_of_the_host_has_an_action():
    assert set(supervise.ACTIONS) == {row.name for row in ROWS if "H" in row.roles}


def test_every_op_of_init_has_a_function():
    source = "".join(path.read_text() for path in (ROOT / "csrc/init").glob("op_*.c"))
    assert [row.name for row in INIT if f"int op_{row.name}(" not in source] == []


def test_a_row_is_one_that_init_can_be_told():
    for row in ROWS:
        assert row.phase in (*PHASES, "any") if {"M", "I"} & set(row.roles) else row.phase == "" and row.code == -1, row.name
        if row in INIT:
            assert all(wire for wire in row.wires), row.name
            assert sum([2 if wire == "u64" else 1 for wire in row.wires]) <= 6 and len(row.slots) <= 4, row.name
    assert [row.code for row in INIT] == list(range(len(INIT)))
    assert len(OPS) == len(ROWS)


def test_no_kind_is_without_an_op():
    assert {kind.name for row in ROWS for _, kind in row.args} == set(KINDS)


# --- what is not as the row says is an error where it is added

# kind -> (an op with an operand of the kind, its slots, its operands, which of them; what is refused there)
GOOD = {
    "number": ("SEAL", (), (3,), 0, (-1, 1 << 32, "3", True, None)),
    "seq": ("SYNC", (), (1,), 0, (-1, "1")),
    "amount": ("RLIMIT", (), (7, 1, 2), 1, (-1, 1 << 64, "1")),
    "bytes": ("FITS", ("c",), ("memory.max", 1), 1, (-1, "1", 1.0)),
    "switch": ("LINK", ("r",), ("a", "b", 1), 2, (2, -1, True)),
    "id": ("SETID", (), (0, 0), 1, (-1, 1 << 32, "root", None)),
    "seconds": ("HOOK", (), ("/h", ["h"], [], 3, 0), 3, (-1, 3.0, 1 << 32)),
    "signal": ("PDEATHSIG", (), (9,), 0, (65, -1, "KILL")),
    "mode": ("MKDIR", ("r",), ("a", 0o755), 1, (-1, 0o200000, "0755")),
    "dev": ("NODE", ("r",), ("a", 0o20666, 259, 0, 0), 2, (-1, (1, 3), 1 << 32)),
    "resource": ("RLIMIT", (), (7, 1, 2), 0, (16, -1, "RLIMIT_NOFILE")),
    "ioprio": ("IOPRIO", (), (16388,), 0, (4 << 13, -1)),
    "persona": ("PERSONALITY", (), (8,), 0, (-1, "LINUX32")),
    "mempolicy": ("MEMPOLICY", (), (2, bytes(8)), 0, (1 << 16, "MPOL_BIND")),
    "capabilities": ("AMBIENT", (), (1,), 0, (1 << 64, ["CAP_KILL"])),
    "clone": ("UNSHARE", (), (0x20000000,), 0, (1, 1 << 19, "pid")),
    "mount_attr": ("SETATTR", ("t",), (0, 1, 0, 0, 0), 1, (1 << 18, 0x100, "ro")),
    "propagation": ("SLAVE", (), (1 << 19,), 0, (1, 0x20000000)),
    "ms": ("MOUNT", ("t",), ("t", "s", 1, "", 0, ""), 2, (2, 1 << 19)),
    "tree": ("SETATTR", ("t",), (4, 0, 0, 0, 0), 0, (16, 1 << 19)),
    "attach": ("ATTACH", ("t", "r"), ("a", 1, 0), 1, (32, 1 << 19)),
    "seccomp": ("SECCOMP", (), (bytes(8), 4), 1, (0x10, "LOG")),
    "key": ("KEYRING", (), ("k", 8), 1, (0x10, None)),
    "path": ("ROOT", ("t", "r"), (".",), 0, ("/proc", "", b"proc", None)),
    "like": ("FSMOUNT", ("t",), ("tmpfs", [], 0, ""), 3, ("/tmp", None)),
    "hostpath": ("HOSTDIR", ("r",), ("/",), 0, ("proc", "", None)),
    "place": ("TREE", ("t",), ("/a", 0, 0, 0, 0, 0), 0, ("", None)),
    "program": ("HOOK", (), ("/h", ["h"], [], 3, 0), 0, ("", ["h"])),
    "text": ("HOSTNAME", (), ("a",), 0, (None, 1, b"a")),
    "word": ("RELABEL", ("t",), ("l",), 0, (None, 1)),
    "lines": ("TIMENS", (), ("monotonic 1 0\n",), 0, (None, ["a"])),
    "pointer": ("OPENNS", ("n",), ("/n", "pid", "/linux", ""), 2, ("linux", None)),
    "capability_sets": ("CAPS", (), (bytes(24),), 0, (bytes(16), [0, 0, 0])),
    "cpus": ("AFFINITY", (), (bytes(8),), 0, (bytes(7), "0-1", 3)),
    "gids": ("SETGROUPS", (), (bytes(4),), 0, (bytes(3), [5])),
    "sched": ("SCHED", (), (bytes(48),), 0, (bytes(47), {"policy": 1})),
    "filter": ("SECCOMP", (), (bytes(8), 0), 0, (bytes(9), None)),
    "texts": ("EXEC", (), (["sh"], []), 0, ("sh", ("sh",), [b"sh"], [None])),
    "programs": ("MAPS", (), ("", "", "", ["", ""]), 3, ("newuidmap", [1])),
    "rules": ("DEVICES", ("c",), ([("a", -1, -1, "rwm", False)],), 0, ([{"allow": False}], None, [("a",)])),
    "limits": ("RLIMITS", (), ([(7, 1, 1)],), 0, ([(7, 1)], [{"type": 7}], (7, 1, 1))),
    "yes": ("CGROUP", ("c",), ("/g", "/c", True, False), 2, (1, 0, None)),
    "schemas": ("CLOS", ("g",), ("/r", "n", False, {}), 3, ([], None)),
    "value": ("PROPERTY", (), ("n", "s", "v"), 2, ()),
}


def test_every_kind_is_tried():
    assert set(GOOD) == set(KINDS)
    for kind, (name, _, _, at, _) in GOOD.items():
        assert OPS[name].args[at][1].name == kind


def role(name):
    return OPS[name].roles[-1]


@pytest.mark.parametrize("kind", GOOD)
def test_an_operand_of_another_kind_is_refused(kind):
    name, slots, args, at, bad = GOOD[kind]
    plan = Plan()
    plan.add(role(name), name, slots, args)
    for value in bad:
        with pytest.raises(TypeError, match=f"{name}: {OPS[name].args[at][0]} is no {kind}"):
            plan.add(role(name), name, slots, (*args[:at], value, *args[at + 1:]))
    assert len(plan.ops) == 1


@pytest.mark.parametrize("kind", GOOD)
def test_an_operand_left_out_or_one_too_many_is_refused(kind):
    name, slots, args, _, _ = GOOD[kind]
    with pytest.raises(TypeError, match=f"{name}: {OPS[name].args[-1][0]} is left out"):
        Plan().add(role(name), name, slots, args[:-1])
    with pytest.raises(TypeError, match=f"{name}: one operand too many"):
        Plan().add(role(name), name, slots, (*args, 0))


@pytest.mark.parametrize("name", [row.name for row in ROWS if row.slots])
def test_a_slot_left_out_or_one_too_many_is_refused(name):
    row = OPS[name]
    args = next((args for op, _, args, _, _ in GOOD.values() if op == name), None)
    if args is None:
        args = tuple([next(good[at] for op, _, good, at, _ in GOOD.values() if OPS[op].args[at][1] is kind) for _, kind in row.args])
    slots = [f"s{at}" for at in range(row.width)]
    Plan().add(role(name), name, slots, args)
    for at, slot in enumerate(row.slots):
        short = [None if other == at else s for other, s in enumerate(slots)]
        if slot.optional:
            Plan().add(role(name), name, short, args)
        else:
            with pytest.raises(TypeError, match=f"{name}: the slot {slot.name} is left out"):
                Plan().add(role(name), name, short, args)
    if not row.listed:
        with pytest.raises(TypeError, match=f"{name}: one slot too many"):
            Plan().add(role(name), name, [*slots, "more"], args)


def test_a_slot_of_another_kind_is_refused():
    plan = Plan()
    plan.add("H", "HOSTPROC", ("hostproc",))
    with pytest.raises(TypeError, match="CHROOT: hostproc is a proc, not a root"):
        plan.add("I", "CHROOT", ("hostproc",))


def test_an_op_of_another_role_is_refused():
    with pytest.raises(TypeError, match="FORK: I does not do it, but M"):
        Plan().add("I", "FORK")
