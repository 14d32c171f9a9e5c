"""The installed executable: isolated, small, independent of where it is called from and of what it is called with.

The modules each hot verb imports are compared with hot_modules.txt: a line more costs every call of that verb. After a
deliberate change, UPDATE_HOT_MODULES=1 rewrites the file.
"""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

GOLDEN = Path(__file__).with_name("hot_modules.txt")
STDLIB = ("json", "posix", "os", "io", "abc", "codecs", "encodings", "time", "errno", "_json", "_cffi_backend", "select",
          "site", "sitecustomize", "usercustomize", "jsonschema", "pyrunc", "traceback", "subprocess", "warnings")

# What the first phase of the interpreter itself brings, some of it only in some versions.
INTERPRETER = {"sys", "builtins", "_frozen_importlib", "_imp", "_io", "_launcher", "_thread", "_warnings", "_weakref",
               "marshal", "winreg", "_abc", "_typing"}


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


def hot_modules(pyrunc, bundle, tmp_path):
    """{verb: its modules, sorted}, from the debug log of a whole life of a container."""
    log, container = tmp_path / "log", f"hot-{os.getpid()}"
    begin = (pyrunc, "--debug", "--log", log, "--log-format", "json", "--root", tmp_path / "root")
    found = {}
    for verb, *words in (("create", "-b", bundle, container), ("state", container), ("start", container),
                         ("exec", container, "true"), ("kill", container, "KILL"), ("delete", "-f", container),
                         ("run", "-d", "-b", bundle, container), ("delete", "-f", container)):
        with open(os.devnull, "r+b") as null:  # a detached container keeps its stdio
            subprocess.run([*begin, verb, *words], stdin=null, stdout=null, check=True, timeout=30)
        last = json.loads(log.read_text().splitlines()[-1])["msg"]
        assert last.startswith("modules: ")
        if " zipimport" in last:
            pytest.skip("no static libpython here: this launcher starts the whole interpreter")
        found[verb] = sorted(set(last.split()[1:]) - INTERPRETER)
    return found


def test_each_hot_verb_imports_exactly_what_is_written_down(pyrunc, bundle, tmp_path):
    found = "".join(f"{verb}: {' '.join(names)}\n" for verb, names in sorted(hot_modules(pyrunc, bundle, tmp_path).items()))
    if os.environ.get("UPDATE_HOT_MODULES"):
        GOLDEN.write_text(found)
    wanted = GOLDEN.read_text()
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():  # written down on a host that has v1 hierarchies too
        wanted = wanted.replace(" pyrunc.host.cgroup.v1", "")
    assert found == wanted


def test_no_hot_verb_imports_a_python_module_of_the_standard_library():
    allowed = {"posix", "time", "errno", "_json", "_signal", "_cffi_backend", "_sha256", "_sha2", "select", "_socket"}
    for line in GOLDEN.read_text().splitlines():
        verb, _, names = line.partition(": ")
        assert {name for name in names.split() if not name.startswith("pyrunc")} <= allowed, verb
