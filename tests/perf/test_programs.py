"""The programs of this directory do what they say, with the smallest numbers: who measures once a month should not have to mend them."""

import json
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent


def run(name, *words):
    done = subprocess.run([sys.executable, HERE / name, *words], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_bench(pyrunc, tmp_path):
    told = run("bench.py", "--rounds", "1", "--memory", "1", "--svg", tmp_path / "svg", "--json", tmp_path / "json")
    assert "pyrunc" in told and "<svg" in (tmp_path / "svg").read_text()
    numbers = json.loads((tmp_path / "json").read_text())
    assert {len(rows) for kind in ("times", "sizes") for by in numbers[kind].values() for rows in by.values()} == {1}
    assert any(name.startswith("crun") for name in numbers["times"])


@pytest.mark.parametrize("name, words", [("density.py", ("--count", "2")), ("mounts.py", ("--counts", "3", "--rounds", "1")),
                                         ("growth.py", ("--cases", "annotations", "--rounds", "1"))])
def test_the_others(pyrunc, name, words):
    told = run(name, *words)
    assert "pyrunc" in told and "crun" in told
