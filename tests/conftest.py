"""What all tests share: the binary under test, and hypothesis that does not depend on the machine's speed or luck."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parent.parent

settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def binary():
    return Path(os.environ.get("PYRUNC") or REPOSITORY / "build/venv/bin/pyrunc")


def pytest_report_header():
    path = binary()
    if not path.exists():
        return f"pyrunc: {path} does not exist: make build"
    sources = [p for folder in ("pyrunc", "csrc") for p in (REPOSITORY / folder).rglob("*.[pch]*") if p.suffix != ".pyc"]
    stale = max((p.stat().st_mtime for p in sources if "__pycache__" not in p.parts and p.suffix != ".so"), default=0)
    return f"pyrunc: {path}" + (" (older than the sources: make build)" if stale > path.stat().st_mtime else "")


@pytest.fixture(scope="session")
def pyrunc():
    """The runtime under test: $PYRUNC, else the one built in the tree."""
    path = binary()
    if not path.exists():
        pytest.skip(f"{path} does not exist: make build")
    return path
