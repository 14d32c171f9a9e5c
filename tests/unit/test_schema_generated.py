"""The generated checks: current, as strict as jsonschema with the same schema, in words that don't depend on it."""

import importlib.util
import pathlib
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyrunc.config import defaults, report, schema, schema_data, schema_gen
from tests import strategies

ROOT = pathlib.Path(__file__).resolve().parents[2]
SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck))


def test_the_committed_code_is_what_the_generator_writes():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "spec" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for name, content in generate.generate().items():
        assert (ROOT / "pyrunc" / "config" / name).read_text() == content, "run spec/generate.py"


def test_every_property_names_its_section():
    def walk(node):
        if type(node) is dict:
            for name, child in node.get("properties", {}).items():
                assert child["x-spec"].startswith("config"), name
            for child in node.values():
                walk(child)

    walk(schema_data.CONFIG)


def test_the_schemas_are_valid_schemas():
    import json

    import jsonschema

    for name in ("config", "state", "features"):
        document = json.loads((ROOT / "spec" / f"{name}.schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(document)


VALIDATOR = schema.validator()


def agree(document):
    """Both accept or both refuse; what create said."""
    found = schema_gen.check(document)
    assert (found is None) == VALIDATOR.is_valid(document), (found, list(VALIDATOR.iter_errors(document)))
    return found


@settings(SLOW, max_examples=64)
@given(strategies.configs(), st.data())
def test_generated_code_and_jsonschema_agree_on_mutated_configs(config, data):
    """Eight mutations of each of the configs: 512 documents. What create names is among what validate lists."""
    assert agree(config) is None
    for _ in range(8):
        document, _path = data.draw(strategies.mutations(config))
        found = agree(document)
        assert found is None or found in [(fault.pointer, fault.message) for fault in schema.faults(document)]


def every_place(node, path=()):
    """(path, definition) of every property the schema knows, once."""
    seen = set()

    def walk(node, path):
        if "$ref" in node:
            name = node["$ref"].rsplit("/", 1)[1]
            node = schema_data.CONFIG["$defs"][name]
            if name in seen and name not in ("str", "strings", "bool", "map") and "properties" in node:
                return
            seen.add(name)
        yield path, node
        for name, child in node.get("properties", {}).items():
            yield from walk(child, (*path, name))
        if "items" in node:
            yield from walk(node["items"], (*path, 0))
        if "additionalProperties" in node:
            yield from walk(node["additionalProperties"], (*path, "key/~"))

    return walk(node, path)


def minimal(node):
    """The smallest value a definition takes."""
    if "$ref" in node:
        node = schema_data.CONFIG["$defs"][node["$ref"].rsplit("/", 1)[1]]
    if node["type"] == "object":
        return {name: minimal(node["properties"][name]) for name in node.get("required", ())}
    if node["type"] == "array":
        return [minimal(node["items"])] if node.get("minItems") else []
    if node["type"] == "string":
        return node["enum"][-1] if "enum" in node else "2MB"
    return False if node["type"] == "boolean" else max(node["minimum"], 0)


def document_with(path, value):
    """The smallest document that has the value at the path."""
    document = minimal(schema_data.CONFIG)
    if not path:
        return value
    around, node = document, schema_data.CONFIG
    for step in path[:-1]:
        node = child_of(node, step)
        if step == 0:
            around[:] = [minimal(node)]
        else:
            around.setdefault(step, minimal(node))
        around = around[step]
    if path[-1] == 0:
        around[:] = [value]
    else:
        around[path[-1]] = value
    return document


def child_of(node, step):
    if "$ref" in node:
        node = schema_data.CONFIG["$defs"][node["$ref"].rsplit("/", 1)[1]]
    if step == 0:
        return node["items"]
    return node["properties"][step] if "properties" in node else node["additionalProperties"]


PLACES = list(every_place(schema_data.CONFIG))


# by their first two steps, so that a failure names the part
PARTS = sorted({path[:2] for path, _node in PLACES}, key=str)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: "/".join(map(str, part)))
def test_at_every_place_both_agree_on_every_oddity(part):
    for path, node in PLACES:
        if path[:2] == part:
            assert agree(document_with(path, minimal(node))) is None, path
            for oddity in strategies.ODDITIES:
                agree(document_with(path, oddity))


def test_every_required_property_is_missed_by_name():
    missed = 0
    for path, node in PLACES:
        for name in node.get("required", ()):
            value = minimal(node)
            del value[name]
            pointer, message = agree(document_with(path, value))
            assert pointer == schema.pointer(path)
            assert message == node.get("x-missing", {}).get(name, f'property "{name}" is required')
            missed += 1
    assert missed > 40


def test_the_places_reach_the_whole_schema():
    reached = {path for path, _node in PLACES}
    assert ("linux", "seccomp", "syscalls", 0, "args", 0, "index") in reached
    assert ("process", "rlimits", 0, "hard") in reached
    assert ("linux", "sysctl", "key/~") in reached
    assert len(PLACES) > 250


@pytest.mark.parametrize("value", [True, 1.0, "1", None, [], {}, -1, 2**32])
def test_an_integer_is_nothing_else(value):
    config = defaults.config()
    config["process"]["user"]["uid"] = value
    pointer, message = schema_gen.check(config)
    assert pointer == "/process/user/uid"
    assert message.startswith("must be ")


def test_a_check_of_the_default_config_takes_well_under_a_millisecond():
    """150 microseconds is what was promised; 20 are measured. Ten times the promise, for slow machines."""
    config, best = defaults.config(), 1
    for _ in range(20):
        before = time.perf_counter()
        assert schema_gen.check(config) is None
        best = min(best, time.perf_counter() - before)
    assert best < 0.0015


def test_all_type_faults_and_all_rule_faults_come_at_once():
    config = defaults.config()
    config["mounts"].insert(0, {"destination": 5})
    config["mounts"].append({"destination": "/proc/x", "type": "proc"})
    config["process"].update(cwd="x", env=["A=b", "x\0"])
    config["linux"]["maskedPaths"].insert(0, "relative")
    del config["ociVersion"]
    assert {(fault.pointer, fault.message) for fault in report.every(config)} == {
        ("", 'property "ociVersion" is required'),
        ("/mounts/0/destination", "must be a string, not an integer"),
        ("/process/env/1", "must not contain a NUL byte"),
        ("/process/cwd", "Cwd must be an absolute path"),
        ("/mounts/8/destination", '"/proc/x" cannot be mounted because it is inside /proc'),
        ("/linux/maskedPaths/0", 'path "relative" must be absolute'),
    }


def test_a_part_that_cannot_be_read_brings_no_follow_up_faults():
    config = defaults.config()
    config["root"] = 5
    config["linux"]["namespaces"][2]["type"] = "utss"
    assert [fault.pointer for fault in report.every(config)] == ["/linux/namespaces/2/type", "/root"]


@settings(SLOW, max_examples=40)
@given(strategies.configs(), st.data())
def test_validate_finds_a_fault_exactly_when_create_does(config, data):
    document, _path = data.draw(strategies.mutations(config))
    from pyrunc.config import rules

    first = schema_gen.check(document)
    if first is None:
        fault = rules.first(document)
        first = fault and (fault.pointer, fault.message)
    faults = [(fault.pointer, fault.message) for fault in report.every(document)]
    assert first in faults if first else not faults


@settings(SLOW, max_examples=40)
@given(strategies.configs(), st.data())
def test_several_spoiled_places_are_all_reported(config, data):
    """Whatever is spoiled, the report doesn't fail, and its pointers name places of the document as it was given."""
    document = config
    for _ in range(3):
        if type(document) is dict:
            document, _path = data.draw(strategies.mutations(document))
    for fault in report.every(document):
        value = document
        for step in fault.pointer.split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if type(value) is dict and step not in value:
                break  # it is the absence of something that is the fault
            value = value[int(step)] if type(value) is list else value[step]


def test_without_jsonschema_the_first_fault_is_still_found(monkeypatch):
    monkeypatch.setattr(schema, "validator", missing)
    config = defaults.config()
    config["mounts"][0]["source"] = 5
    assert [(fault.pointer, fault.message) for fault in report.every(config)] == [
        ("/mounts/0/source", "must be a string, not an integer")]


def missing():
    raise ImportError("jsonschema")
