"""What create keeps of a plan is the plan; what is not one is None and never half of one."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrunc import facts
from pyrunc.jsonio import dumps, loads
from pyrunc.plan import check, create, encode, explain, stored
from pyrunc.plan.request import Request
from tests.plan.cases import base
from tests.plan.test_goldens import ALL, plan_of


def kept(plan):
    return loads(dumps(stored.dump(plan)).encode(), errors="surrogateescape")


@pytest.mark.parametrize("name", ALL)
def test_a_kept_plan_is_the_plan(name):
    plan = plan_of(name)
    back = stored.load(kept(plan))
    assert explain.text(back) == explain.text(plan)
    assert encode.encode(back)[:2] == encode.encode(plan)[:2]
    assert (back.base, back.file, back.syncs) == (plan.base, plan.file, plan.syncs)
    assert check.violations(back) == []


def test_a_file_with_bytes_that_are_no_text_is_kept():
    plan = plan_of("default")
    plan.ops[-1].args = (["caf\udce9", "\u00e9"], [])
    assert stored.load(kept(plan)).ops[-1].args == plan.ops[-1].args


WHOLE = kept(plan_of("hooks"))
JUNK = st.one_of(st.none(), st.booleans(), st.integers(-5, 1 << 70), st.text(max_size=3), st.lists(st.integers(), max_size=3),
                 st.dictionaries(st.text(max_size=2), st.integers(), max_size=2))


@given(st.integers(0, len(WHOLE["ops"]) - 1), st.integers(0, 6), JUNK)
def test_a_damaged_op_makes_the_whole_unknown_or_is_one(op, at, junk):
    data = copy.deepcopy(WHOLE)
    data["ops"][op][at] = junk
    plan = stored.load(data)
    assert plan is None or kept(stored.load(kept(plan))) == kept(plan)


@pytest.mark.parametrize("data", (None, [], {}, "x", {"format": 2}, {"format": 1}, {"format": 1, "base": 3, "file": None, "ops": None},
                                  {"format": 1, "base": 3, "file": None, "ops": [["I"]]},
                                  {"format": 1, "base": 3, "file": None, "ops": [["I", "NEWER", [], [], "", [], None]]}))
def test_what_is_no_plan_is_none(data):
    assert stored.load(data) is None


@pytest.mark.parametrize("rows", [[], [["H", "PLAN", [], [], "x", [], None]]])
def test_what_has_no_end_is_no_plan(rows):
    assert stored.load({"format": stored.FORMAT, "base": 3, "file": None, "ops": rows}) is None


def test_the_callers_environment_is_not_kept():
    """A hook without `env` has it. It may hold a manager's secrets, and nobody needs it when the hooks have run."""
    config = base()
    config["hooks"] = {"createRuntime": [{"path": "/bin/h"}, {"path": "/bin/h", "env": ["OWN=1"]}], "createContainer": [{"path": "/bin/h"}]}
    plan = create.compiled(config, facts.named("root-v2"), Request("c1", "/b", "/s", cgroup="/c1", gate=True, environ=["TOKEN=secret"]))
    assert [op.value("env") for op in plan.ops if op.name == "HOOK"] == [["TOKEN=secret"], ["OWN=1"], ["TOKEN=secret"]]
    kept = dumps(stored.dump(plan))
    assert "secret" not in kept and "OWN=1" in kept
    assert stored.load(loads(kept.encode(), "plan.json")) is not None
