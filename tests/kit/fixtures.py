"""pytest fixtures and hooks over the kit; tests/root/conftest.py and tests/security/conftest.py import all of it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kit.canary import Canary, Host
from kit.runtime import Runtime

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def binary_under_test():
    """The runtime to test: $PYRUNC, else the one built in the tree."""
    return Path(os.environ.get("PYRUNC") or REPOSITORY / "build/venv/bin/pyrunc")


def is_runc(binary):
    """Whether the runtime under test is runc, by what it says of itself."""
    try:
        version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return False
    return "\ngo: " in version


def pytest_configure(config):
    config.addinivalue_line("markers", "runc_known_bad(reason): may fail when PYRUNC names runc")


def pytest_collection_modifyitems(items):
    """Turn runc_known_bad into xfail, but only when it is runc that is tested."""
    marked = [item for item in items if item.get_closest_marker("runc_known_bad")]
    if marked and is_runc(binary_under_test()):
        for item in marked:
            reason = item.get_closest_marker("runc_known_bad").args[0]
            item.add_marker(pytest.mark.xfail(reason=f"runc: {reason}", strict=False))


@pytest.fixture
def rt(pyrunc):
    """A private runtime; at the end everything is deleted by `delete -f` and nothing may be left."""
    runtime = Runtime(pyrunc)
    yield runtime
    runtime.close()


@pytest.fixture
def canary(rt):
    """A host directory that no container may read or change."""
    canary = Canary(rt.base / "canary")
    yield canary
    canary.hostdiff()


@pytest.fixture
def host(rt):
    """The host's vital parts, compared at the end of the test."""
    host = Host(ignore_mounts_with=rt.token)
    yield host
    host.assert_unchanged()


@pytest.fixture
def reference():
    """Debian's runc, for comparison ($RUNC names another one)."""
    found = os.environ.get("RUNC") or shutil.which("runc", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
    if not found:
        pytest.skip("no runc to compare with (apt-get install runc)")
    return found
