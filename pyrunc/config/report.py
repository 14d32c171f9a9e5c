"""All faults of a config at once: those of its types, and those of the rules for what is left without them.

Called by commands/validate.py. The rules trust that types are right, so the parts that are wrong are cut out
first, and what the rules then say about a part that was cut is dropped.
"""

from . import keys, rules, schema, schema_gen

# For a property that must be there, and whose absence must not hide the faults beside it.
FILL = {"/ociVersion": "1.0.0", "/process/cwd": "/"}


def every(config, need_process=True):
    """All faults: those of keys and types first, then those of the rules. Keys are renamed or dropped in place (keys.py)."""
    taken, dropped = keys.settle(config)
    return [*taken, *dropped, *_every(config, need_process)]


def _every(config, need_process):
    found = schema.faults(config)
    if not found:
        return rules.every(config, need_process)
    left, moved, cut = _readable(config, {fault.pointer for fault in found})
    for fault in _rule_faults(left, need_process, cut):
        fault.pointer = _original(fault.pointer, moved)
        if not _touches(cut, fault.pointer):
            found.append(fault)
    return found


def _rule_faults(config, need_process, cut):
    if config is None:
        return []
    if _touches(cut, "/linux/namespaces"):
        # half of the rules ask which namespaces there are: without a readable list they would talk nonsense
        return [*rules.of_process(config.get("process", {"cwd": "/", "args": [""]}), "/process"),
                *rules.of_resources(config.get("linux", {}).get("resources", {}), "/linux/resources")]
    return rules.every(config, need_process)


def _readable(config, cut):
    """(what is left of the config that the schema takes, {pointer of a list's element now: before}, what was cut).

    Without a required property the object around it has to go too. None is left if that is the config itself.
    """
    cut = set(cut)
    while True:
        left, moved = _without(config, cut)
        fault = schema_gen.check(left)
        if fault is None:
            return left, moved, cut
        around = _original(fault[0], moved)
        if not around or around in cut:
            return None, moved, cut
        cut.add(around)


def _without(config, cut):
    """(config without the values at the pointers cut, {pointer of a list's element now: before})."""
    moved = {}
    if type(config) is not dict:
        return {}, moved
    left = _copy(config, "", "", cut - {""}, moved)
    for pointer, value in FILL.items():
        _fill(left, pointer[1:].split("/"), value)
    return left, moved


def _copy(value, before, now, cut, moved):
    if type(value) is dict:
        pairs = [(key, schema.pointer([key])) for key in value]
        return {key: _copy(value[key], before + step, now + step, cut, moved) for key, step in pairs
                if before + step not in cut}
    if type(value) is not list:
        return value
    kept = []
    for index, item in enumerate(value):
        old, new = f"{before}/{index}", f"{now}/{len(kept)}"
        if old not in cut:
            moved[new] = old
            kept.append(_copy(item, old, new, cut, moved))
    return kept


def _fill(config, steps, value):
    for step in steps[:-1]:
        config = config.get(step)
        if type(config) is not dict:
            return
    config.setdefault(steps[-1], value)


def _original(pointer, moved):
    """The pointer as it was in the whole config: its longest prefix that has moved, moved back."""
    end = len(pointer)
    while end > 0:
        if pointer[:end] in moved:
            return moved[pointer[:end]] + pointer[end:]
        end = pointer.rfind("/", 0, end)
    return pointer


def _touches(cut, pointer):
    """Whether the pointer is, contains or lies in something that was cut; "" stands for a missing FILL property."""
    return any([_within(pointer, other) or _within(other, pointer) for other in cut if other])


def _within(inner, outer):
    return (inner + "/").startswith(outer + "/")
