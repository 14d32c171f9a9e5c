"""Our schemas beside the specification's own, as data: what they refuse ours refuse, with a reason for each exception.

The official files are no part of this project; PYRUNC_OFFICIAL_SCHEMAS names a directory with them.
"""

import json
import os
import pathlib

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyrunc.config import defaults, schema, schema_gen
from tests import strategies

ROOT = pathlib.Path(__file__).resolve().parents[2]
OFFICIAL = pathlib.Path(os.environ.get("PYRUNC_OFFICIAL_SCHEMAS")
                        or ROOT.parent / "shared" / "reference" / "runtime-spec-schema")

pytestmark = pytest.mark.skipif(not (OFFICIAL / "config-schema.json").exists(),
                                reason=f"the specification's own schemas are not in {OFFICIAL.name} "
                                       "(set PYRUNC_OFFICIAL_SCHEMAS)")


def bundled():
    """All official files as one document, {file name: content}, references turned to match.

    One document, because jsonschema resolves references across files slowly, and differently in each version.
    """
    files = {path.name: json.loads(path.read_text()) for path in OFFICIAL.glob("*.json")}
    for name, content in files.items():
        _turn_references(content, name)
    return files


def _turn_references(node, file):
    if type(node) is dict:
        if type(node.get("$ref")) is str:
            target, _, inside = node["$ref"].partition("#")
            node["$ref"] = f"#/{target or file}{inside}"
        for child in node.values():
            _turn_references(child, file)
    elif type(node) is list:
        for child in node:
            _turn_references(child, file)


def official(name):
    """A validator of the official schema in that file."""
    return jsonschema.Draft4Validator({**bundled(), "$ref": "#/" + name})


def ours(name):
    if name == "config":
        return schema.validator()
    return jsonschema.Draft202012Validator(json.loads((ROOT / "spec" / f"{name}.schema.json").read_text()))


def documents(quality):
    if not OFFICIAL.exists():
        return []
    return sorted([path for kind in ("config", "state", "features")
                   for path in (OFFICIAL / "test" / kind / quality).iterdir()])


@pytest.mark.parametrize("path", documents("good"), ids=lambda path: f"{path.parent.parent.name}/{path.name}")
def test_a_good_document_is_accepted(path):
    document, kind = json.loads(path.read_text()), path.parent.parent.name
    assert ours(kind).is_valid(document), next(ours(kind).iter_errors(document)).message
    if kind == "config":
        assert schema_gen.check(document) is None


@pytest.mark.parametrize("path", documents("bad"), ids=lambda path: f"{path.parent.parent.name}/{path.name}")
def test_a_bad_document_is_refused(path):
    try:
        document = json.loads(path.read_text())
    except ValueError:
        assert path.name == "invalid-json.json"
        return
    kind = path.parent.parent.name
    assert not ours(kind).is_valid(document)
    assert kind != "config" or schema_gen.check(document) is not None


# Where ours takes more than the official schema, each with its reason: see spec/README.md.
def is_wider_on_purpose(error):
    path = "/".join(["*" if type(step) is int else str(step) for step in error.absolute_path])
    return path in WIDER or path.endswith("/fileMode") and error.instance > 511


WIDER = {
    "linux/rootfsPropagation": "the rules check it: r-prefixed values are what callers send",
    "linux/seccomp/defaultAction": "empty: what Go callers write for no seccomp",
    "linux/resources/pids": "limit is OPTIONAL in the text",
    "process/rlimits/*/type": "the rules check it, with runc's words",
    "process/execCPUAffinity/initial": "the rules check it, with runc's words",
    "process/execCPUAffinity/final": "the rules check it, with runc's words",
    "linux/intelRdt/memBwSchema": "the rules check it",
}

THEIRS = official("config-schema.json") if OFFICIAL.exists() else None
SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck))


@settings(SLOW, max_examples=40)
@given(strategies.configs(), st.data())
def test_what_the_official_schema_refuses_ours_refuses_too(config, data):
    for _ in range(6):
        document, _path = data.draw(strategies.mutations(config))
        if schema_gen.check(document) is None:
            surprising = [error.message for error in THEIRS.iter_errors(document) if not is_wider_on_purpose(error)]
            assert surprising == []


def properties(node, definitions, path=()):
    """Every property of one of our schemas, as a path."""
    while "$ref" in node:
        node = definitions[node["$ref"].rsplit("/", 1)[1]]
    for name, child in node.get("properties", {}).items():
        yield (*path, name)
        yield from properties(child, definitions, (*path, name))
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from properties(node[key], definitions, (*path, "*"))


def official_properties(node, files, path=()):
    """The same of an official schema."""
    while "$ref" in node:
        steps, node = node["$ref"].split("/")[1:], files
        for step in steps:
            node = node[step]
    for name, child in node.get("properties", {}).items():
        yield (*path, name)
        yield from official_properties(child, files, (*path, name))
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from official_properties(node[key], files, (*path, "*"))
    for key in ("anyOf", "allOf"):
        for child in node.get(key, ()):
            yield from official_properties(child, files, path)


# Loosely described on purpose: other platforms, whose containers pyrunc doesn't run.
ELSEWHERE = ("vm", "windows", "solaris", "zos", "freebsd")


@pytest.mark.parametrize("kind", ["config", "state", "features"])
def test_ours_describes_every_property_the_official_schema_does(kind):
    mine = json.loads((ROOT / "spec" / f"{kind}.schema.json").read_text())
    known = set(properties(mine, mine["$defs"]))
    files = bundled()
    theirs = official_properties(files[f"{kind}-schema.json"], files)
    # clocks are keys of a map to us
    wanted = {tuple(["*" if step in ("monotonic", "boottime") else step for step in path])
              for path in theirs if path[0] not in ELSEWHERE}
    assert len(wanted) > 5
    assert wanted - known <= {("linux", "timeOffsets", "*")}


def test_the_default_configs_please_the_official_schema():
    for config in (defaults.config(), defaults.config(True), defaults.rootless(1000, 1000)):
        assert THEIRS.is_valid(config)
