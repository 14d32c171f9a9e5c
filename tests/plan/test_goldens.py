"""The plan of each case, as `explain` prints it, is the one that was reviewed. PYRUNC_GOLDENS=write renews them.

encoded.txt has the bytes that init gets of each: what changes only the words of `explain` leaves it as it is.
"""

import hashlib
import os
import pathlib

import pytest

from pyrunc import facts
from pyrunc.plan import check, create, encode, exec, explain
from pyrunc.plan.request import Joining, Request
from tests.plan.cases import CASES, EXECS, base

GOLDENS = pathlib.Path(__file__).parent / "goldens"
ENCODED = GOLDENS.parent / "encoded.txt"


ALL = {**CASES, **EXECS}
CREATE = {"bundle": "/bundle", "state": "/run/pyrunc/c1", "gate": True}


def plan_of(name):
    patch, host, request = ALL[name]
    config = base()
    patch(config)
    kind, of, own = (exec, Joining, {"follow": True}) if name in EXECS else (create, Request, CREATE)
    return kind.compiled(config, facts.named(host), of("c1", **{"cgroup": "/c1", "detach": True, **own, **request}))


@pytest.mark.parametrize("name", ALL)
def test_the_plan_is_the_one_that_was_reviewed(name):
    text = explain.text(plan_of(name))
    golden = GOLDENS / f"{name}.txt"
    if os.environ.get("PYRUNC_GOLDENS") == "write":
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("name", ALL)
def test_the_plan_breaks_no_rule(name):
    assert check.violations(plan_of(name)) == []


@pytest.mark.parametrize("name", ALL)
def test_the_plan_fits_into_bytes(name):
    data, born, ops = encode.encode(plan_of(name))
    assert int.from_bytes(data[8:12], "little") == len(data)
    assert int.from_bytes(data[12:16], "little") == len(ops)
    assert int.from_bytes(data[16:20], "little") == len(born)


def test_what_init_gets_is_what_it_got():
    rows = []
    for name in ALL:
        data, born, _ = encode.encode(plan_of(name))
        rows.append(f"{name:40}{len(data):7} {hashlib.sha256(data).hexdigest()[:16]} {','.join(born)}".rstrip() + "\n")
    if os.environ.get("PYRUNC_GOLDENS") == "write":
        ENCODED.write_text("".join(rows))
    assert "".join(rows) == ENCODED.read_text()


def test_no_golden_is_left_over():
    assert {path.stem for path in GOLDENS.iterdir()} == set(ALL)
