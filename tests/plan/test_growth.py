"""What is done with a plan takes time as it is long: eight times the mounts take eight times as long, and not sixty-four."""

import gc
import time

import pytest

from pyrunc import facts, supervise
from pyrunc.plan import check, create, encode, explain
from pyrunc.plan.request import Request
from tests.plan.cases import base, userns

STEPS = {
    "compile": lambda plan: None,
    "verify": check.violations,
    "encode": encode.encode,
    "explain": explain.text,
    "walk": lambda plan: (supervise._last_uses(plan), plan.turns()),
}


@pytest.fixture(autouse=True)
def alone():
    """The collector looks through what the plan is made of, not through what all other tests have left."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def a_plan(count):
    config = base()
    userns(config)
    for i in range(count):
        config["mounts"] += [{"destination": f"/b{i}", "type": "bind", "source": "/s", "options": ["rbind", "ro"]},
                             {"destination": f"/t{i}", "type": "tmpfs"}]
    config["linux"]["devices"] = [{"path": f"/dev/x{i}", "type": "c", "major": 1, "minor": 3} for i in range(count)]
    config["linux"]["maskedPaths"] = [f"/m{i}" for i in range(count)]
    return create.compiled(config, facts.named("root-v2"), Request("c1", "/b", "/s", cgroup="/c1", gate=True))


def cost(step, count):
    times = []
    for _ in range(2):
        plan = None if step == "compile" else a_plan(count)
        start = time.process_time()
        STEPS[step](plan or a_plan(count))
        times.append(time.process_time() - start)
    return min(times)


@pytest.mark.parametrize("step", STEPS)
def test_time_grows_with_the_length_of_the_plan(step):
    assert cost(step, 2000) < 24 * cost(step, 250)
