"""The environment of a process: what of several values wins."""

import pytest

from pyrunc.plan import process


@pytest.mark.parametrize(("env", "expected"), [
    (["A=1", "B=2", "A=3"], ["A=3", "B=2"]),
    (["HOME=/x", "HOME="], []), (["HOME=", "HOME=/x"], ["HOME=/x"]), (["A=1", "HOME=", "A="], ["A="]), (["HOMES="], ["HOMES="]),
])
def test_the_last_value_wins_and_an_empty_home_is_none(env, expected):
    assert process.environment({"env": env}, {}) == expected
