"""Reading config.json: every way the file itself can be bad ends in one line, at once."""

import os
import pathlib
import subprocess
import sys
import time

import pytest

from pyrunc import jsonio
from pyrunc.config import defaults, load
from pyrunc.errors import Error

ROOT = str(pathlib.Path(__file__).resolve().parents[2])
GOOD = jsonio.dumps(defaults.config()).encode()


def bundle_with(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    return str(tmp_path)


def refusal(bundle):
    with pytest.raises(Error) as caught:
        load.load(bundle)
    assert "\n" not in caught.value.message
    assert caught.value.message.isprintable()
    return caught.value


def test_a_good_bundle_gives_the_config_and_its_bytes(tmp_path):
    config, raw = load.load(bundle_with(tmp_path, GOOD))
    assert raw == GOOD
    assert config == defaults.config()


def test_a_missing_config_is_named_as_runc_names_it(tmp_path):
    assert refusal(str(tmp_path)).message == "JSON specification file config.json not found"


def test_a_missing_bundle_is_a_missing_config(tmp_path):
    assert refusal(str(tmp_path / "none")).message == "JSON specification file config.json not found"


BAD_CONTENT = {
    b"": "config.json: line 1 column 1: the document is empty",
    b"\xff\xfe{\x00": "config.json: line 1 column 1: not UTF-8 (byte 0xff)",
    b"\xef\xbb\xbf" + GOOD: "config.json: starts with a byte order mark; JSON must be plain UTF-8 without one",
    b"null": "config cannot be null",
    b"[]": "config.json: must be a JSON object, not an array",
    b'"x"': "config.json: must be a JSON object, not a string",
    b"12": "config.json: must be a JSON object, not a number",
    b"true": "config.json: must be a JSON object, not a boolean",
    b"{}": 'config.json: property "ociVersion" is required',
    b'{"ociVersion": "1.0.0"}': "config.json: /process: process property must not be empty",
    b'{"ociVersion": NaN}': "config.json: line 1 column 16: NaN is not a JSON number",
    b'{"ociVersion": "1.0.0", "ociVersion": "1.0.0"}': 'config.json: line 1 column 25: duplicate key "ociVersion"',
    b'{"annotations": ' + b"[" * 100_000: "config.json: line 1 column 144: nested deeper than 128 levels",
    b'{"ociVersion": "1.0.0", "annotations": {"a\\nb": 1}}':
        "config.json: /annotations/a\\nb: must be a string, not an integer",
    b'{"ociVersion": "1.0\\u00000"}': "config.json: /ociVersion: must not contain a NUL byte",
}


@pytest.mark.parametrize("content", BAD_CONTENT, ids=lambda content: ascii(content[:24]))
def test_bad_content_is_refused_in_one_line(tmp_path, content):
    assert refusal(bundle_with(tmp_path, content)).message == BAD_CONTENT[content]


def test_a_config_cut_short_anywhere_is_refused(tmp_path):
    for length in range(1, len(GOOD) - 1, 23):
        message = refusal(bundle_with(tmp_path, GOOD[:length])).message
        assert message.startswith("config.json: line 1 column ")


def test_a_config_of_100_megabytes_is_refused_without_reading_it_all(tmp_path):
    path = tmp_path / "config.json"
    with open(path, "wb") as file:
        file.truncate(100 << 20)
    before = time.monotonic()
    assert refusal(str(tmp_path)).message == "config.json: larger than 16 MiB"
    assert time.monotonic() - before < 5


def test_a_fifo_is_refused_and_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    assert refusal(str(tmp_path)).message == "config.json: not a regular file"


@pytest.mark.parametrize("target", ["/dev/zero", "/dev/null", "/dev/tty"])
def test_a_device_is_refused(tmp_path, target):
    os.symlink(target, tmp_path / "config.json")
    assert refusal(str(tmp_path)).message.startswith("config.json: n")  # "not a regular file", or no such device


def test_a_directory_is_refused(tmp_path):
    (tmp_path / "config.json").mkdir()
    assert refusal(str(tmp_path)).message == "config.json: is a directory"


def test_a_symlink_loop_is_refused(tmp_path):
    os.symlink("config.json", tmp_path / "config.json")
    assert refusal(str(tmp_path)).message == "config.json: too many levels of symbolic links"


def test_an_unreadable_config_is_refused(tmp_path):
    bundle_with(tmp_path, GOOD)
    (tmp_path / "config.json").chmod(0)
    if os.geteuid():
        assert refusal(str(tmp_path)).message == "config.json: permission denied"
        return
    os.chmod(tmp_path, 0o755)  # root reads everything: ask as nobody
    code = ("import os, sys; sys.path.insert(0, sys.argv[1])\n"
            "from pyrunc.config import load\n"
            "fd = os.open(sys.argv[2], os.O_PATH)\n"
            "os.setgroups([]); os.setgid(65534); os.setuid(65534); os.fchdir(fd)\n"
            "try: load.load('.')\n"
            "except Exception as err: print(err)\n")
    done = subprocess.run([sys.executable, "-c", code, ROOT, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout == "config.json: permission denied\n", done.stderr


def test_no_descriptor_is_left_open_by_a_refusal(tmp_path):
    (tmp_path / "config.json").mkdir()
    before = os.listdir("/proc/self/fd")
    refusal(str(tmp_path))
    assert os.listdir("/proc/self/fd") == before


def test_a_fault_carries_its_pointer(tmp_path):
    config = defaults.config()
    config["mounts"][3]["options"][1] = 5
    err = refusal(bundle_with(tmp_path, jsonio.dumps(config).encode()))
    assert err.pointer == "/mounts/3/options/1"
    assert err.message == "config.json: /mounts/3/options/1: must be a string, not an integer"


def test_nulls_of_go_callers_mean_absent(tmp_path):
    config = {**defaults.config(), "hooks": None, "annotations": None}
    config["linux"]["seccomp"] = None
    config["process"]["rlimits"] = None
    found, _raw = load.load(bundle_with(tmp_path, jsonio.dumps(config).encode()))
    assert "hooks" not in found and "seccomp" not in found["linux"] and "rlimits" not in found["process"]


def test_unknown_properties_are_ignored(tmp_path):
    config = {**defaults.config(), "futureThing": {"a": [1.5, None, {}]}}
    config["linux"]["another"] = 7
    assert load.load(bundle_with(tmp_path, jsonio.dumps(config).encode()))


def test_a_config_without_process_can_be_asked_for(tmp_path):
    config = defaults.config()
    del config["process"]
    bundle = bundle_with(tmp_path, jsonio.dumps(config).encode())
    assert refusal(bundle).message == "config.json: /process: process property must not be empty"
    assert load.load(bundle, need_process=False)[0] == {**config, "process": {"cwd": "/", "args": []}}


def test_a_process_file_is_checked_like_the_process_of_a_config(tmp_path):
    path = tmp_path / "process.json"
    path.write_text('{"args": ["sh"], "cwd": "/", "user": null, "env": ["A=b"]}')
    assert load.load_process(str(path)) == {"args": ["sh"], "cwd": "/", "env": ["A=b"]}
    for content, message in (('{"args": ["sh"]}', "Cwd property must not be empty"),
                             ('{"args": ["sh"], "cwd": 1}', "/cwd: must be a string, not an integer"),
                             ('{"cwd": "/"}', "/args: args must not be empty"),
                             ("[]", "must be a JSON object, not an array")):
        path.write_text(content)
        with pytest.raises(Error) as caught:
            load.load_process(str(path))
        assert caught.value.message == f"process.json: {message}"


def test_a_resources_file_is_checked_like_the_resources_of_a_config(tmp_path):
    path = tmp_path / "resources.json"
    path.write_text('{"memory": {"limit": 1048576}, "pids": {"limit": 0}}')
    assert load.load_resources(str(path)) == ({"memory": {"limit": 1048576}, "pids": {"limit": 0}}, str(path))
    for content, message in (('{"pids": {"limit": "9"}}', "/pids/limit: must be an integer, not a string"),
                             ('{"cpu": {"idle": 7}}', "/cpu/idle: idle must be 0 or 1")):
        path.write_text(content)
        with pytest.raises(Error) as caught:
            load.check_resources(*load.load_resources(str(path)))
        assert caught.value.message == f"{path}: {message}"


def test_a_missing_process_file_is_named(tmp_path):
    with pytest.raises(Error, match="none.json: no such file or directory"):
        load.load_process(str(tmp_path / "none.json"))


def test_json_is_read_from_standard_input_for_a_dash():
    code = "import sys; sys.path.insert(0, sys.argv[1]); from pyrunc.config import load; print(load.load_json('-'))"
    done = subprocess.run([sys.executable, "-c", code, ROOT], input='{"a": 1}', capture_output=True, text=True)
    assert done.stdout == "{'a': 1}\n", done.stderr


def test_loading_a_config_imports_only_c_builtins_and_our_own_modules(tmp_path):
    bundle_with(tmp_path, GOOD)
    code = ("import sys; before = set(sys.modules); sys.path.insert(0, sys.argv[1])\n"
            "from pyrunc.config import load, names, mountopts, cpulist, sysctl\n"
            "load.load(sys.argv[2])\n"
            "print(sorted(name for name in set(sys.modules) - before if not name.startswith('pyrunc')))")
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code, ROOT, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout == "['__future__']\n", done.stdout + done.stderr
