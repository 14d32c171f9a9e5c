"""All faults of a config at once: those of its types, and those of the rules for what is left without them.

The rules trust that types are right, so the parts that are wrong are cut out first, and
what the rules then say about a part that was cut is dropped.
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING, cast
from . import keys, rules, schema, schema_gen

if TYPE_CHECKING:
    from ..jsonio import Json
    from .fault import Fault
    from .shape import Config, Process

# For a property that must be there, and whose absence must not hide the faults beside it.
FILL = {"/ociVersion": "1.0.0", "/process/cwd": "/"}


def every(config: dict[str, Json], need_process: bool = True) -> list[Fault]:
    """All faults: those of keys and types first, then those of the rules. Keys are renamed or dropped in place (keys.py)."""
    taken, dropped = keys.settle(config)
    return [*taken, *dropped, *_every(config, need_process)]


def _every(config: dict[str, Json], need_process: bool) -> list[Fault]:
    found = schema.faults(config)
    if not found:
        return rules.every(cast("Config", config), need_process)
    left, moved, cut = _readable(config, {fault.pointer for fault in found})
    for fault in _rule_faults(left, need_process, cut):
        fault.pointer = _original(fault.pointer, moved)
        if not _touches(cut, fault.pointer):
            found.append(fault)
    return found


def _rule_faults(config: Config | None, need_process: bool, cut: set[str]) -> list[Fault]:
    if config is None:
        return []
    if _touches(cut, "/linux/namespaces"):
        process: Process = {"cwd": "/", "args": [""]}
        # half of the rules ask which namespaces there are: without a readable list they would talk nonsense
        return [*rules.of_process(config.get("process", process), "/process"),
                *rules.of_resources(config.get("linux", {}).get("resources", {}), "/linux/resources")]
    return rules.every(config, need_process)


def _readable(config: Json, cut: set[str]) -> tuple[Config | None, dict[str, str], set[str]]:
    """(what is left of the config that the schema takes, {pointer of a list's element now: before}, what was cut).

    Without a required property the object around it has to go too. None is left if that is the config itself.
    """
    cut = set(cut)
    while True:
        left, moved = _without(config, cut)
        fault = schema_gen.check(left)
        if fault is None:
            return cast("Config", left), moved, cut
        around = _original(fault[0], moved)
        if not around or around in cut:
            return None, moved, cut
        cut.add(around)


def _without(config: Json, cut: set[str]) -> tuple[dict[str, Json], dict[str, str]]:
    """(config without the values at the pointers cut, {pointer of a list's element now: before})."""
    moved: dict[str, str] = {}
    if type(config) is not dict:
        return {}, moved
    left = cast("dict[str, Json]", _copy(config, "", "", cut - {""}, moved))
    for pointer, value in FILL.items():
        _fill(left, pointer[1:].split("/"), value)
    return left, moved


def _copy(value: Json, before: str, now: str, cut: set[str], moved: dict[str, str]) -> Json:
    if type(value) is dict:
        pairs = [(key, schema.pointer([key])) for key in value]
        return {key: _copy(value[key], before + step, now + step, cut, moved) for key, step in pairs
                if before + step not in cut}
    if type(value) is not list:
        return value
    kept: list[Json] = []
    for index, item in enumerate(value):
        old, new = f"{before}/{index}", f"{now}/{len(kept)}"
        if old not in cut:
            moved[new] = old
            kept.append(_copy(item, old, new, cut, moved))
    return kept


def _fill(config: dict[str, Json], steps: list[str], value: str) -> None:
    for step in steps[:-1]:
        inner = config.get(step)
        if type(inner) is not dict:
            return
        config = inner
    config.setdefault(steps[-1], value)


def _original(pointer: str, moved: dict[str, str]) -> str:
    """The pointer as it was in the whole config: its longest prefix that has moved, moved back."""
    end = len(pointer)
    while end > 0:
        if pointer[:end] in moved:
            return moved[pointer[:end]] + pointer[end:]
        end = pointer.rfind("/", 0, end)
    return pointer


def _touches(cut: set[str], pointer: str) -> bool:
    """Whether the pointer is, contains or lies in something that was cut; "" stands for a missing FILL property."""
    return any([_within(pointer, other) or _within(other, pointer) for other in cut if other])


def _within(inner: str, outer: str) -> bool:
    return (inner + "/").startswith(outer + "/")
