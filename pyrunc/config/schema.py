"""Every fault that the schema finds, by jsonschema: for `validate` only, which wants them all at once.

schema_gen stops at the first fault, as create should. jsonschema finds the places; the words are schema_gen's, so that
create and validate say the same. Cold: importing jsonschema takes longer than running a container.
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING
from . import schema_gen
from .fault import Fault
from .schema_data import CONFIG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ..jsonio import Json


def validator() -> Any:
    """A jsonschema validator for configs. Raises ImportError where jsonschema is not installed."""
    import jsonschema
    from jsonschema import validators

    # Go's decoder, and we, take neither 1.0 nor true for an integer
    checker = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _checker, x: type(x) is int)
    return validators.extend(jsonschema.Draft202012Validator, type_checker=checker)(CONFIG)


def faults(config: Json) -> list[Fault]:
    """All faults of the config as the schema sees it; only the first one without jsonschema."""
    try:
        errors = validator().iter_errors(config)
    except ImportError:
        found = schema_gen.check(config)
        return [] if found is None else [Fault(found[0], found[1], "config.md")]
    return sorted(map(_fault, errors), key=lambda fault: fault.pointer)


def pointer(path: Iterable[str | int]) -> str:
    """A JSON pointer (RFC 6901) from the steps of a path."""
    return "".join(["/" + str(step).replace("~", "~0").replace("/", "~1") for step in path])


def _fault(error: Any) -> Fault:
    where, section = pointer(error.absolute_path), _section(error)
    if "propertyNames" in error.absolute_schema_path:
        return Fault(where, "keys must not contain a NUL byte", section)
    if error.validator != "required":
        return Fault(where, _WORDS[error.validator](error.instance, error.schema), section)
    # one error for each; jsonschema names the property in its message only
    name = [key for key in error.validator_value if error.message.startswith(repr(key))][0]
    said = error.schema.get("x-missing", {}).get(name) or f'property "{name}" is required'
    return Fault(where, said, error.schema["properties"][name].get("x-spec", section))


def _section(error: Any) -> str:
    """The section of the specification nearest to the fault on the way down the schema."""
    node: Any = CONFIG
    section = "config.md"
    for step in error.absolute_schema_path:
        # jsonschema leaves "$ref" out of the path
        if "$ref" in node and step not in node:
            node = CONFIG["$defs"][node["$ref"].rsplit("/", 1)[1]]
        node = node[step]
        if type(node) is dict:
            section = node.get("x-spec", section)
    return section


_ARTICLE = {"object": "an object", "array": "an array", "string": "a string", "integer": "an integer",
            "boolean": "a boolean"}

_WORDS: dict[str, Callable[[Any, Any], str]] = {
    "type": lambda x, schema: schema_gen._type(_ARTICLE[schema["type"]], x),
    "enum": lambda x, schema: schema_gen._one_of(x, schema["enum"]),
    "minimum": lambda x, schema: schema_gen._integer(x, schema["minimum"], schema["maximum"]),
    "maximum": lambda x, schema: schema_gen._integer(x, schema["minimum"], schema["maximum"]),
    "minItems": lambda x, schema: "must not be empty",
    "pattern": lambda x, schema: "must not contain a NUL byte" if "\0" in x else schema_gen.PAGE_SIZE,
}
