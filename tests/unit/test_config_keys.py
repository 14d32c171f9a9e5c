"""Keys the schema does not know: another case is taken, a misspelling is named, all else is ignored."""

import copy
import time

import pytest

from pyrunc import jsonio
from pyrunc.config import defaults, keys, load, report, schema_data, schema_gen
from pyrunc.errors import Error


def definitions(node):
    """Every object with properties below a definition, with the path to it."""
    def walk(node, path, seen):
        if "$ref" in node:
            name = node["$ref"].rsplit("/", 1)[1]
            if name in seen:
                return
            node, seen = schema_data.CONFIG["$defs"][name], seen | {name}
        if "properties" in node:
            yield path, node["properties"]
            for name, child in node["properties"].items():
                yield from walk(child, (*path, name), seen)
        for word, step in (("items", 0), ("additionalProperties", "any/~key")):
            if word in node:
                yield from walk(node[word], (*path, step), seen)
    return list(walk(node, (), frozenset()))


def around(path, value):
    """The value, with what leads to it."""
    for step in reversed(path):
        value = [value] if step == 0 else {step: value}
    return value


def at(document, path):
    for step in path:
        document = document[step]
    return document


PLACES = definitions(schema_data.CONFIG)


def test_the_places_are_those_of_the_whole_schema():
    assert len(PLACES) > 50 and max(len(path) for path, _ in PLACES) > 5


@pytest.mark.parametrize(("path", "known"), PLACES, ids=lambda value: "/".join(map(str, value)) if type(value) is tuple else "")
def test_every_property_is_taken_in_another_case_and_named_when_misspelt(path, known):
    for name in known:
        document = around(path, {name.swapcase(): 1})
        taken, dropped = keys.settle(document)
        assert at(document, path) == {name: 1} and not dropped
        assert [fault.message for fault in taken] == [f"did you mean {name}? {keys.TAKEN}"]
        misspelt = f"{name}x"
        if len(name) < 4 or misspelt in known:
            continue
        document = around(path, {misspelt: 1})
        taken, dropped = keys.settle(document)
        assert at(document, path) == {} and not taken
        assert [fault.message for fault in dropped] == [f"did you mean {name}? {keys.DROPPED}"]
        pointer = "".join(["/" + str(step).replace("~", "~0").replace("/", "~1") for step in (*path, misspelt)])
        assert dropped[0].pointer == pointer


@pytest.mark.parametrize("place", [("annotations",), ("linux", "sysctl"), ("linux", "resources", "unified"),
                                   ("process", "env")])
def test_keys_of_free_form_maps_are_left_alone(place):
    document = around(place, {"Readonly": "x", "readonyl": "y", "PATH": "z"})
    before = copy.deepcopy(document)
    keys.settle(document)
    assert document == before


@pytest.mark.parametrize(("key", "name"), [
    ("noNewPriviliges", "noNewPrivileges"), ("no_new_privileges", "noNewPrivileges"), ("capabilites", "capabilities"),
    ("oom-score-adj", "oomScoreAdj"), ("agrs", "args"), ("enviroment", None), ("pid", None), ("x", None), ("\u017f" * 9, None),
    ("comment", None),
])
def test_a_misspelling_is_a_letter_in_four(key, name):
    assert keys.nearest(key, schema_data.CONFIG["$defs"]["process"]["properties"]) == name


def test_case_is_folded_as_by_the_decoder_of_go():
    for key in ("ARG\u017f", "aRgS"):  # long s and K of kelvin have ASCII letters among their cases
        document = {"process": {key: ["x"]}}
        keys.settle(document)
        assert document == {"process": {"args": ["x"]}}
    document = {"linux": {"mas\u212aedPaths": []}}
    keys.settle(document)
    assert document == {"linux": {"maskedPaths": []}}


def test_of_two_keys_that_mean_the_same_the_last_one_wins():
    for first, second in (("readonly", "readOnly"), ("readOnly", "readonly"), ("READONLY", "readOnly")):
        document = {"root": {first: False, second: True}}
        keys.settle(document)
        assert document == {"root": {"readonly": True}}


def bundle_with(tmp_path, config):
    (tmp_path / "config.json").write_bytes(jsonio.dumps(config).encode())
    return str(tmp_path)


def renamed(config):
    config["root"]["readOnly"] = config["root"].pop("readonly")
    config["process"]["NoNewPrivileges"] = config["process"].pop("noNewPrivileges")
    config["Hostname"] = config.pop("hostname")
    return config


def test_a_config_with_keys_in_another_case_is_the_config(tmp_path):
    config, raw = load.load(bundle_with(tmp_path, renamed(defaults.config())))
    assert config == defaults.config()
    assert jsonio.loads(raw) == config  # exec and start read what create was given


def test_a_config_with_a_property_of_the_future_is_saved_without_it(tmp_path):
    config, raw = load.load(bundle_with(tmp_path, {**defaults.config(), "futureThing": {"a": 1}}))
    assert config == jsonio.loads(raw) == defaults.config()


def test_types_and_rules_hold_for_keys_in_another_case(tmp_path):
    config = defaults.config()
    config["process"]["CWD"] = config["process"].pop("cwd").encode().hex()
    with pytest.raises(Error, match="/process/cwd: Cwd must be an absolute path") as caught:
        load.load(bundle_with(tmp_path, config))
    assert "/process/CWD: did you mean cwd?" in caught.value.hint
    config["process"]["CWD"] = 5
    with pytest.raises(Error, match="/process/cwd: must be a string, not an integer"):
        load.load(bundle_with(tmp_path, config))


def test_a_required_property_that_is_misspelt_is_named_by_the_hint(tmp_path):
    config = defaults.config()
    config["root"]["pth"] = config["root"].pop("path")
    with pytest.raises(Error, match='/root: property "path" is required') as caught:
        load.load(bundle_with(tmp_path, config))
    assert caught.value.hint == f"/root/pth: did you mean path? {keys.DROPPED}"


def test_validate_names_both_kinds_and_what_else_is_wrong():
    config = renamed(defaults.config())
    config["process"]["apparmorProfil"] = "x"
    config["process"]["cwd"] = "x"
    found = [(fault.pointer, fault.message.split("?")[0]) for fault in report.every(config)]
    assert sorted(found) == [
        ("/Hostname", "did you mean hostname"), ("/process/NoNewPrivileges", "did you mean noNewPrivileges"),
        ("/process/apparmorProfil", "did you mean apparmorProfile"), ("/process/cwd", "Cwd must be an absolute path"),
        ("/root/readOnly", "did you mean readonly"),
    ]


def test_the_process_and_resources_of_files_are_settled_too(tmp_path):
    path = tmp_path / "file.json"
    path.write_text('{"Args": ["sh"], "cwd": "/", "user": {"UID": 7}}')
    assert load.load_process(str(path)) == {"args": ["sh"], "cwd": "/", "user": {"uid": 7}}
    path.write_text('{"Memory": {"LIMIT": 1048576}}')
    assert load.load_resources(str(path))[0] == {"memory": {"limit": 1048576}}


def test_a_line_about_many_keys_is_short(tmp_path):
    taken, dropped = keys.settle({"mounts": [{"Source": "x"}] * 1 + [{"Typo": "x", "Source": "y"} for _ in range(100)]})
    assert len(taken) == 101
    assert len(keys.worded(taken)) < 1000 and keys.worded(taken).endswith("; and 93 more")


def test_the_time_is_bounded_whatever_the_keys_are():
    config = {"root": {"y" * 1_000_000 + str(i): 1 for i in range(8)}, "process": {f"k{i:014}": 1 for i in range(200_000)}}
    before = time.monotonic()
    keys.settle(config)
    assert time.monotonic() - before < 5


def test_configs_without_unknown_keys_are_never_walked(monkeypatch):
    monkeypatch.setattr(keys, "settle", lambda *_: pytest.fail("walked"))
    assert schema_gen.check(defaults.config()) is None
