"""Suites under real managers. Every test runs with pyrunc and with runc, so that a failure shows whose it is.

`runtime` is the pair (name, path) of the runtime that a test's manager is started with; what a test wants from a manager it
takes from the fixture of its file, which is of module scope, as this one is: one daemon serves all tests with a runtime.
At the end stands a table of verdicts; a test that runc passes and pyrunc does not is pyrunc's failure.
"""

import os
import shutil
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))

from kit.fixtures import binary_under_test  # noqa: E402

PEER = "runc"
verdicts: dict[str, dict[str, str]] = {}


@pytest.fixture(scope="module", params=["pyrunc", PEER])
def runtime(request):
    """(name, absolute path): pyrunc, or the runc that $RUNC_NEW names, else Debian's."""
    path = binary_under_test() if request.param == "pyrunc" else os.environ.get("RUNC_NEW") or shutil.which("runc", path="/usr/sbin:/usr/bin")
    if not path or not os.path.exists(path):
        pytest.skip(f"no {request.param}: {path} does not exist")
    return request.param, str(path)


def pytest_runtest_setup(item):
    if os.geteuid() != 0:
        pytest.skip("needs root: it starts daemons")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    params = getattr(item, "callspec", None)
    if params is None or "runtime" not in params.params:
        return
    if report.when == "call" or not report.passed:  # a set-up or an end that failed is the test's verdict too
        outcome = "xfailed" if report.skipped and hasattr(report, "wasxfail") else report.outcome
        verdicts.setdefault(_name(item.nodeid, params.params["runtime"]), {})[params.params["runtime"]] = outcome


def _name(nodeid, runtime):
    """The test's name without the runtime, which stands anywhere among its parameters."""
    name, _, parameters = nodeid.rstrip("]").partition("[")
    parameters = parameters.split("-")
    parameters.remove(runtime)
    return f"{name}[{'-'.join(parameters)}]" if parameters else name


def pytest_terminal_summary(terminalreporter):
    if not verdicts:
        return
    terminalreporter.section("verdicts")
    for name, by in sorted(verdicts.items()):
        terminalreporter.write_line(f"{by.get('pyrunc', '-'):8} {by.get(PEER, '-'):8} {name.partition('::')[0].rpartition('/')[2]}::{name.partition('::')[2]}")
    for outcome in ("passed", "failed", "skipped", "xfailed"):
        counts = [sum(by.get(runtime) == outcome for by in verdicts.values()) for runtime in ("pyrunc", PEER)]
        terminalreporter.write_line(f"{outcome}: pyrunc {counts[0]}, {PEER} {counts[1]}")
    worse = [name for name, by in verdicts.items() if by.get(PEER) == "passed" and by.get("pyrunc") == "failed"]
    terminalreporter.write_line(f"runc passes and pyrunc fails: {', '.join(worse) or 'none'}")
