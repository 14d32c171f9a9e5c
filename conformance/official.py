"""The specification's own JSON schemas, out of its Go module: for the state and for features. Skips where they are not."""

import json
import os
from pathlib import Path

import jsonschema
import pytest
import spec

DIRECTORY = Path(os.environ.get("PYRUNC_OFFICIAL_SCHEMAS") or spec.DIRECTORY / "schema")


def check(name, value):
    """Assert that the value keeps the schema called `name`."""
    if not (DIRECTORY / name).exists():
        pytest.skip("the specification's schemas are not there: make conformance fetches them")
    files = {path.name: json.loads(path.read_text()) for path in DIRECTORY.glob("*.json")}
    for file, content in files.items():
        _turn_references(content, file)
    jsonschema.Draft7Validator({**files[name], **files}).validate(value)


def _turn_references(node, file):
    """All files as one document: jsonschema resolves references across files differently in each version."""
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _turn_references(child, file)
    if isinstance(node, dict) and isinstance(node.get("$ref"), str):
        target, _, inside = node["$ref"].partition("#")
        node["$ref"] = f"#/{target or file}{inside}"
