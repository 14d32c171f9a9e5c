"""`spec` and `validate`: what they write and print."""

import json
import os
import shutil
import stat
import subprocess

import pytest

from pyrunc import jsonio
from pyrunc.commands import spec, validate
from pyrunc.config import defaults, load, rules, schema_gen
from pyrunc.errors import Error


def options(module, **given):
    """The options of a command as the parser hands them over: defaults, and what was given."""
    return {**{names[0]: default for names, _kind, default, _help in module.OPTIONS}, **given}


def test_the_option_tables_have_the_agreed_form():
    for module in (spec, validate):
        assert module.USAGE.startswith(module.__name__.rsplit(".", 1)[1])
        assert module.ARGS == (0, 0)
        for names, kind, default, text in module.OPTIONS:
            assert kind in ("str", "flag", "int", "list") and text
            assert [short for short in names[1:] if short is not None and len(short) != 1] == []
            assert type(default) is {"str": str, "flag": bool}[kind]


def test_spec_writes_a_valid_config_with_tabs_and_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        assert spec.run({}, options(spec, bundle=str(tmp_path)), []) in (None, 0)
    finally:
        os.umask(before)
    path = tmp_path / "config.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    text = path.read_text()
    assert text.startswith('{\n\t"ociVersion": "1.3.0",\n\t"process": {\n\t\t"terminal": true,')
    assert json.loads(text)["hostname"] == "pyrunc"
    load.load(str(tmp_path))


def test_spec_leaves_an_existing_file_alone(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("mine")
    with pytest.raises(Error) as caught:
        spec.run({}, options(spec, bundle=str(tmp_path)), [])
    assert caught.value.message == "File config.json exists. Remove it first"
    assert path.read_text() == "mine"


def test_spec_does_not_write_through_a_dangling_link(tmp_path):
    (tmp_path / "config.json").symlink_to(tmp_path / "target")
    with pytest.raises(Error):
        spec.run({}, options(spec, bundle=str(tmp_path)), [])
    assert not (tmp_path / "target").exists()


def test_spec_in_a_missing_directory_is_an_error_in_one_line(tmp_path):
    with pytest.raises(Error) as caught:
        spec.run({}, options(spec, bundle=str(tmp_path / "none")), [])
    assert caught.value.message == f"{tmp_path}/none/config.json: no such file or directory"


@pytest.mark.parametrize("config", [defaults.config(), defaults.config(True), defaults.rootless(1000, 1001, True)])
def test_the_default_configs_are_valid(config):
    assert schema_gen.check(config) is None
    assert rules.every(config) == []


def test_the_cgroup_namespace_is_there_on_cgroup_v2_hosts_only():
    types = [[entry["type"] for entry in defaults.config(cgroup2)["linux"]["namespaces"]] for cgroup2 in (False, True)]
    assert types == [["pid", "network", "ipc", "uts", "mount"], ["pid", "network", "ipc", "uts", "mount", "cgroup"]]


def test_rootless_maps_the_caller_and_asks_for_nothing_only_root_can_give():
    config = defaults.rootless(1000, 1001)
    assert config["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 1}]
    assert config["linux"]["gidMappings"] == [{"containerID": 0, "hostID": 1001, "size": 1}]
    assert [entry["type"] for entry in config["linux"]["namespaces"]] == ["pid", "ipc", "uts", "mount", "user"]
    assert "resources" not in config["linux"]
    sys_mount = [mount for mount in config["mounts"] if mount["destination"] == "/sys"]
    assert sys_mount == [{"destination": "/sys", "type": "none", "source": "/sys",
                          "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]}]
    assert not [word for mount in config["mounts"] for word in mount.get("options", ()) if word.startswith("gid=")]


def runc_spec(tmp_path, *arguments):
    (tmp_path / "runc").mkdir()
    subprocess.run(["runc", "spec", *arguments], cwd=tmp_path / "runc", check=True)
    return json.loads((tmp_path / "runc" / "config.json").read_text())


@pytest.mark.skipif(not shutil.which("runc"), reason="runc is not installed")
@pytest.mark.parametrize("rootless", [False, True])
def test_the_default_config_is_the_one_of_the_installed_runc(tmp_path, rootless):
    """Except for the names, and for ambient capabilities, which runc 1.2 dropped from its default."""
    theirs = runc_spec(tmp_path, *["--rootless"] * rootless)
    spec.run({}, options(spec, bundle=str(tmp_path), rootless=rootless), [])
    mine = json.loads((tmp_path / "config.json").read_text())
    theirs["process"]["capabilities"].pop("ambient", None)
    theirs.update(hostname="pyrunc", ociVersion="1.3.0")
    # absent, empty and null are one to a Go reader
    assert jsonio.loads(json.dumps(mine).encode()) == jsonio.loads(json.dumps(theirs).encode())


def validated(tmp_path, capfd, config, form="text"):
    (tmp_path / "config.json").write_text(config if type(config) is str else json.dumps(config))
    code = validate.run({}, options(validate, bundle=str(tmp_path), format=form), [])
    return code, capfd.readouterr().out


def test_a_valid_bundle_validates(tmp_path, capfd):
    (tmp_path / "rootfs").mkdir()
    assert validated(tmp_path, capfd, defaults.config()) == (0, "config.json: no faults\n")
    assert validated(tmp_path, capfd, defaults.config(), "json") == (0, "[]\n")


def test_every_fault_is_one_line_with_place_and_section(tmp_path, capfd):
    config = defaults.config()
    config["process"]["cwd"] = "home"
    config["mounts"][1]["options"].append(7)
    config["annotations"] = {"a\nb": 1}
    code, out = validated(tmp_path, capfd, config)
    assert code == 1
    assert out.splitlines() == [
        "/annotations/a\\nb: must be a string, not an integer (config.md#annotations)",
        "/mounts/1/options/4: must be a string, not an integer (config.md#linux-mount-options)",
        "/process/cwd: Cwd must be an absolute path (config.md#process)",
        '/root/path: "rootfs": no such file or directory (config.md#root)',
    ]
    code, out = validated(tmp_path, capfd, config, "json")
    assert code == 1
    assert json.loads(out)[1] == {"pointer": "/mounts/1/options/4", "message": "must be a string, not an integer",
                                  "section": "config.md#linux-mount-options"}


def test_a_rootfs_that_is_no_directory_is_a_fault(tmp_path, capfd):
    (tmp_path / "rootfs").write_text("")
    assert validated(tmp_path, capfd, defaults.config()) == (
        1, '/root/path: "rootfs": not a directory (config.md#root)\n')


def test_a_file_that_is_not_json_is_one_fault(tmp_path, capfd):
    code, out = validated(tmp_path, capfd, '{"a": 1, "a": 2}')
    assert (code, out) == (1, '/: config.json: line 1 column 10: duplicate key "a" (config.md)\n')


def test_a_document_of_the_wrong_kind_is_one_fault(tmp_path, capfd):
    code, out = validated(tmp_path, capfd, "[]")
    assert (code, out) == (1, "/: config.json: must be a JSON object, not an array (config.md)\n")


def test_a_missing_file_and_an_unknown_format_are_errors(tmp_path):
    with pytest.raises(Error, match="JSON specification file config.json not found"):
        validate.run({}, options(validate, bundle=str(tmp_path)), [])
    with pytest.raises(Error, match="invalid format option"):
        validate.run({}, options(validate, bundle=str(tmp_path), format="xml"), [])
