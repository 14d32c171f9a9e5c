"""Root tests are written with the kit (tests/kit)."""

import os
import shutil
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))

from kit.fixtures import *  # noqa: E402,F401,F403  (fixtures and hooks are found by name)
from kit.rootless import User  # noqa: E402


@pytest.fixture(scope="module")
def user():
    if not shutil.which("newuidmap"):
        pytest.skip("no newuidmap (apt-get install uidmap)")
    account = User()
    yield account
    account.close()


def pytest_runtest_setup(item):
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes containers")
