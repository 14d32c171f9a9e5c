"""How the tests name clauses, and the one question that most of them ask."""

import pytest

FILES = {"config": "config.md#config", "linux": "config-linux.md#configLinux", "runtime": "runtime.md#runtime",
         "features": "features.md#", "features-linux": "features-linux.md#linuxFeatures"}


def clause(id, words):
    """Mark of a test: the clause with this id, said in a few own words. `config:Root-3` is config.md#configRoot-3."""
    file, colon, rest = id.partition(":")
    return pytest.mark.clause(FILES[file] + rest if colon else id, words)


def refused(rt, *patches, rootfs=None):
    """create fails by its own will, and nothing of the container is there afterwards; its Result."""
    container = rt.container(*patches, rootfs=rootfs)
    result = container.create()
    assert result.code > 0, f"accepted: {result!r}"
    assert container.state().code != 0, "there is a container"
    return result
