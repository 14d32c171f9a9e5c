"""Security tests are written with the kit, as the root tests: the same fixtures, the same need of root."""

from tests.root.conftest import *  # noqa: F401,F403  (fixtures and hooks are found by name)
from tests.root.conftest import pytest_runtest_setup  # noqa: F401
