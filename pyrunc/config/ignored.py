"""Properties that the schema knows and nothing here acts on, each with its reason. `validate` says them; they are no faults.

tests/unit/test_schema_walk.py finds every property of the schema either read or listed here.
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING
from .fault import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..jsonio import Json

OTHER_PLATFORM = "it is for a platform other than Linux"
MEMORY, BLOCK_IO = "config-linux.md#memory", "config-linux.md#block-io"
NO_LEAF = "the I/O schedulers have no such weight since Linux 5.0"

# pointer, with * for every item of an array: (reason, section of the specification)
IGNORED = {
    "/process/user/username": (OTHER_PLATFORM, "config.md#user"),
    "/process/commandLine": (OTHER_PLATFORM, "config.md#process"),
    "/linux/personality/flags": ("the specification defines no flag", "config-linux.md#personality"),
    "/linux/resources/memory/kernel": ("the kernel does not limit its own memory separately since Linux 5.16", MEMORY),
    "/linux/resources/memory/useHierarchy": ("groups are always hierarchical (v1: since Linux 5.11)", MEMORY),
    "/linux/resources/blockIO/leafWeight": (NO_LEAF, BLOCK_IO),
    "/linux/resources/blockIO/weightDevice/*/leafWeight": (NO_LEAF, BLOCK_IO),
    **dict.fromkeys(("/vm", "/windows", "/solaris", "/zos", "/freebsd"),
                    (OTHER_PLATFORM, "config.md#platform-specific-configuration")),
}


def notes(config: Json) -> Iterator[Fault]:
    """A Fault for each such property that a config has, whatever else is wrong with it."""
    for pattern, (reason, section) in IGNORED.items():
        for pointer, value in _found(config, pattern[1:].split("/"), ""):
            if value not in (None, "", [], {}):
                yield Fault(pointer, f"it is ignored: {reason}", section)


def _found(value: Json, steps: list[str], at: str) -> list[tuple[str, Json]]:
    """[(pointer, value)] of what a pattern names."""
    if not steps:
        return [(at, value)]
    if type(value) is list and steps[0] == "*":
        return [found for index, item in enumerate(value) for found in _found(item, steps[1:], f"{at}/{index}")]
    if type(value) is dict and steps[0] in value:
        return _found(value[steps[0]], steps[1:], f"{at}/{steps[0]}")
    return []
