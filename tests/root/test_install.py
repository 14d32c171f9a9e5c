"""The installed executable: isolated, independent of where it is called from and of what it is called with."""

import json
import os
import shutil
import signal
import subprocess

import pytest

STDLIB = ("json", "posix", "os", "io", "abc", "codecs", "encodings", "time", "errno", "_json", "_cffi_backend", "select",
          "site", "sitecustomize", "usercustomize", "jsonschema", "pyrunc", "traceback", "subprocess", "warnings")

@pytest.fixture
def poisoned(tmp_path):
    """A directory whose modules shout when anything imports them."""
    directory = tmp_path / "poisoned"
    directory.mkdir()
    for name in STDLIB:
        (directory / f"{name}.py").write_text(f"import posix; posix.write(2, b'POISON {name}'); posix._exit(66)")
        (directory / f"{name}.so").write_bytes(b"not an object")
    return directory


@pytest.fixture
def bundle(pyrunc, tmp_path):
    """A busybox that sleeps."""
    directory = tmp_path / "bundle"
    (directory / "rootfs/bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", directory / "rootfs/bin/busybox")
    for applet in ("sh", "sleep", "true"):
        (directory / "rootfs/bin" / applet).symlink_to("busybox")
    subprocess.run([pyrunc, "spec", "-b", directory], check=True)
    config = json.loads((directory / "config.json").read_text())
    config["process"] |= {"terminal": False, "args": ["sleep", "100"]}
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def call(*argv, **options):
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, **options)


@pytest.mark.parametrize("verb", ("state", "kill", "delete", "start", "exec", "list", "features", "validate", "--version"))
def test_a_poisoned_working_directory_and_environment_run_nothing(pyrunc, poisoned, tmp_path, verb):
    environment = {
        "PYTHONPATH": str(poisoned), "PYTHONHOME": str(poisoned), "PYTHONSTARTUP": str(poisoned / "os.py"),
        "PYTHONINSPECT": "1", "PYTHONWARNINGS": "error", "PYTHONBREAKPOINT": "os.x", "PYTHONPLATLIBDIR": str(poisoned),
        "PYTHONPYCACHEPREFIX": str(poisoned), "PYTHONMALLOC": "debug", "PYTHONVERBOSE": "1", "PYTHONDEVMODE": "1",
    }
    arguments = {"features": (), "list": (), "validate": (), "--version": (), "exec": ("x", "ls")}.get(verb, ("x",))
    result = call(pyrunc, "--root", tmp_path / "root", verb, *arguments, cwd=poisoned, env=environment)
    assert "POISON" not in result.stderr and "Traceback" not in result.stderr
    assert result.stderr.count("\n") <= 2, result.stderr
    assert result.returncode in ((0,) if verb in ("features", "--version") else (1, 255))


@pytest.mark.parametrize("how", (shutil.copy, os.symlink))
def test_it_works_from_another_place_with_an_empty_environment(pyrunc, poisoned, bundle, tmp_path, how):
    elsewhere = tmp_path / "pyrunc"
    how(pyrunc, elsewhere)
    assert call(elsewhere, "--version", cwd=poisoned, env={}).stdout.startswith("pyrunc version ")
    config = json.loads((bundle / "config.json").read_text())
    config["process"]["args"] = ["sh", "-c", "echo pid $$"]
    (bundle / "config.json").write_text(json.dumps(config))
    result = call(elsewhere, "--root", tmp_path / "root", "run", "-b", bundle, f"install-{os.getpid()}", cwd=poisoned, env={})
    assert (result.stdout, result.stderr, result.returncode) == ("pid 1\n", "", 0)


def test_the_executable_is_an_elf_and_no_script(pyrunc):
    assert pyrunc.read_bytes()[:4] == b"\x7fELF"


def test_only_the_first_line_of_the_version_says_version(pyrunc):
    lines = call(pyrunc, "--version").stdout.splitlines()
    assert [line for line in lines if "version" in line] == lines[:1]
    assert lines[1].startswith("commit: ") and lines[2] == "spec: 1.3.0"


def test_closed_stdio_is_not_taken_by_what_is_opened_later(pyrunc, tmp_path):
    script = 'exec "$0" --log "$1" --log-format json --root "$2" state x <&- >&- 2>&-'
    assert call("sh", "-c", script, pyrunc, tmp_path / "log", tmp_path / "root").returncode == 1
    assert json.loads((tmp_path / "log").read_text())["msg"] == "container does not exist"


def test_a_reader_that_went_away_is_no_traceback(pyrunc):
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run([pyrunc, "features"], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (result.returncode, result.stderr) == (1, "")


def test_ignored_child_signals_do_not_break_the_waits(pyrunc, bundle, tmp_path):
    config = json.loads((bundle / "config.json").read_text())
    config["process"]["args"] = ["sh", "-c", "exit 7"]
    (bundle / "config.json").write_text(json.dumps(config))
    result = call(pyrunc, "--root", tmp_path / "root", "run", "-b", bundle, f"sigchld-{os.getpid()}",
                  preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    assert result.returncode == 7, result


@pytest.mark.parametrize(("words", "code", "message", "heading"), (
    (["foo"], 3, "No help topic for 'foo'", ""),
    (["crate"], 3, "No help topic for 'crate': did you mean create?", ""),
    (["help", "udpate"], 3, "No help topic for 'udpate': did you mean update?", ""),
    (["create"], 1, 'pyrunc: "create" requires exactly 1 argument(s)', "Incorrect Usage.\n"),
    (["exec"], 1, 'pyrunc: "exec" requires a minimum of', "Incorrect Usage.\n"),
    (["create", "--foo", "x"], 1, "flag provided but not defined: -foo", "Incorrect Usage: flag provided"),
    (["--foo"], 1, "flag provided but not defined: -foo", "Incorrect Usage. flag provided"),
    (["--log-format", "x", "state", "a"], 1, "invalid log-format: x", ""),
    (["--root", "/", "state", "a"], 1, "Option --root argument should not be set to /", ""),
    (["--rootless", "perhaps", "state", "a"], 1, 'invalid value "perhaps" for --rootless', ""),
    (["--log", "/nonexistent/x", "state", "a"], 1, "/nonexistent/x: no such file or directory", ""),
))
def test_a_wrong_command_line_is_one_line_with_the_code_of_runc(pyrunc, words, code, message, heading):
    result = call(pyrunc, *words)
    assert result.returncode == code and result.stderr.startswith(message) and result.stderr.count("\n") == 1, result
    assert result.stdout.startswith(heading) and bool(result.stdout) == bool(heading)


@pytest.mark.parametrize("words", ([], ["--help"], ["-h", "create"], ["help"], ["create", "-h"], ["help", "create"]))
def test_help_is_on_stdout(pyrunc, words):
    result = call(pyrunc, *words)
    assert (result.returncode, result.stderr) == (0, "") and result.stdout.startswith("NAME:\n   pyrunc")
