"""The clause suite: each test names the clauses of the specification that it tests, `@clause("config.md#...-1", "own words")`.

Runs against any runtime ($PYRUNC), as tests/root does, with the same kit. $CLAUSE_RESULTS names a file for what came out:
{id: {"words", "tests", "result"}}; clauses.py makes the tables of it.
"""

import json
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from kit.fixtures import *  # noqa: E402,F401,F403  (fixtures and hooks are found by name)
from kit.fixtures import binary_under_test  # noqa: E402

import known  # noqa: E402

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
ROWS = pytest.StashKey[dict]()


@pytest.fixture(scope="session")
def pyrunc():
    """The runtime under test."""
    path = binary_under_test()
    if not path.exists():
        pytest.skip(f"{path} does not exist: make build")
    return path


def pytest_configure(config):
    config.addinivalue_line("markers", "clause(id, words): the test tests this clause of the specification")


def pytest_runtest_setup(item):
    if os.geteuid() != 0 and "rt" in item.fixturenames:
        pytest.skip("needs root: it makes containers")


def pytest_collection_modifyitems(session, items):
    rows = session.config.stash[ROWS] = {}
    own = binary_under_test().name == "pyrunc"
    for item in items:
        for mark in item.iter_markers("clause"):
            id, words = mark.args
            if own and id in known.CLAUSES:
                item.add_marker(pytest.mark.xfail(reason=known.CLAUSES[id], strict=True))
            row = rows.setdefault(id, {"words": words, "tests": [], "result": None})
            name = item.nodeid.partition("[")[0].rpartition("/")[2].replace("::", ": ")
            row["tests"] += [] if name in row["tests"] else [name]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A clause passes if all of its tests do. What is left behind afterwards is the runtime's fault, not the clause's."""
    report = (yield).get_result()
    if report.when == "call" or report.when == "setup" and not report.passed:
        for mark in item.iter_markers("clause"):
            row = item.session.config.stash[ROWS][mark.args[0]]
            row["result"] = _worse(row["result"], FAILED if hasattr(report, "wasxfail") else report.outcome)
            if report.skipped and isinstance(report.longrepr, tuple):
                row["why"] = report.longrepr[2].removeprefix("Skipped: ")


def _worse(one, other):
    return next(kind for kind in (FAILED, PASSED, SKIPPED, None) if kind in (one, other))


def pytest_sessionfinish(session):
    if (path := os.environ.get("CLAUSE_RESULTS")) and ROWS in session.config.stash:
        Path(path).write_text(json.dumps(session.config.stash[ROWS], indent=1))
