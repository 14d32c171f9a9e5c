"""What is different when the runtime is Python (docs/security.md, "Python"): the caller's environment, its directory, its
descriptors and signals must not choose code or state. On runc these are trivially true, which keeps the tests honest.
"""

import os
import signal
import subprocess
import sys
import time

import pytest
from kit.observe import status
from kit.trace import trace

known_bad = pytest.mark.runc_known_bad
SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}


def poison(directory, marker):
    """A module for every name of the standard library (and ours), each leaving a mark when it is imported."""
    names = sorted(sys.stdlib_module_names) + ["pyrunc", "cffi", "_cffi_backend", "jsonschema", "sitecustomize", "usercustomize"]
    for name in names:
        (directory / f"{name}.py").write_text(f"open({str(marker)!r}, 'a').write({name!r} + ' ')\n")
    for package in ("pyrunc", "encodings", "jsonschema"):
        (directory / package).mkdir(exist_ok=True)
        (directory / package / "__init__.py").write_text(f"open({str(marker)!r}, 'a').write({package!r} + ' ')\n")
    (directory / "x.pth").write_text(f"import os; open({str(marker)!r}, 'a').write('pth ')\n")


def every_verb(rt, container, **how):
    """Each verb once, in the life of one container."""
    rt.call("--version", root=False, log=False, **how)
    rt.call("features", **how)
    rt.call("validate", "-b", container.bundle.path, **how)
    rt.call("explain", "-b", container.bundle.path, **how)
    rt.call("create", container.id, cwd=container.bundle.path, **{k: v for k, v in how.items() if k != "cwd"}).ok()
    rt.call("start", container.id, **how).ok()
    rt.call("state", container.id, **how).ok()
    rt.call("list", **how).ok()
    rt.call("ps", container.id, **how).ok()
    rt.call("exec", container.id, "/bin/true", **how).ok()
    rt.call("kill", container.id, "KILL", **how).ok()
    container.wait_stopped()
    rt.call("delete", container.id, **how).ok()
    rt.call("state", container.id, **how)


def test_modules_in_the_bundle_are_never_imported(rt):
    marker = rt.base / "marker"
    container = rt.container(SLEEP)
    poison(container.bundle.path, marker)
    every_verb(rt, container, cwd=container.bundle.path)
    assert not marker.exists(), marker.read_text()


def test_a_broken_config_imports_nothing_from_the_bundle_either(rt):
    """The cold path words its errors with jsonschema, which is imported late."""
    marker = rt.base / "marker"
    container = rt.container({"process": {"cwd": 7}, "linux": {"namespaces": {}}})
    poison(container.bundle.path, marker)
    assert rt.call("create", container.id, cwd=container.bundle.path).code == 1
    rt.call("validate", cwd=container.bundle.path)
    assert not marker.exists(), marker.read_text()


PYTHON_VARIABLES = ["PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONPLATLIBDIR", "PYTHONPYCACHEPREFIX", "PYTHONUSERBASE",
                    "PYTHONEXECUTABLE", "PYTHONCASEOK"]


@pytest.mark.parametrize("variable", PYTHON_VARIABLES)
def test_a_python_variable_of_the_caller_chooses_no_code(rt, variable):
    evil, marker = rt.base / "evil", rt.base / "marker"
    evil.mkdir()
    poison(evil, marker)
    container = rt.container(SLEEP)
    every_verb(rt, container, env={variable: str(evil / "os.py") if variable == "PYTHONSTARTUP" else str(evil)})
    assert not marker.exists(), marker.read_text()


@pytest.mark.parametrize("variable, value", [
    ("PYTHONINSPECT", "1"), ("PYTHONVERBOSE", "2"), ("PYTHONMALLOC", "debug"), ("PYTHONWARNINGS", "error"), ("PYTHONDEBUG", "1"),
    ("PYTHONUTF8", "0"), ("PYTHONIOENCODING", "ascii"), ("PYTHONHASHSEED", "nonsense"), ("PYTHONTRACEMALLOC", "5"),
    ("PYTHONBREAKPOINT", "os.abort"), ("PYTHONDUMPREFS", "1"), ("PYTHONFAULTHANDLER", "1"), ("PYTHONOPTIMIZE", "2"),
    ("PYTHONUNBUFFERED", "1"), ("PYTHONDEVMODE", "1"), ("PYTHONPROFILEIMPORTTIME", "1"), ("PYTHONINTMAXSTRDIGITS", "640"),
    ("LC_ALL", "C"), ("LANG", "xx_XX.nonsense"), ("LC_ALL", "tr_TR.UTF-8"),
])
def test_no_variable_of_the_caller_changes_what_is_printed(rt, variable, value):
    container = rt.container({"process": {"args": ["/bin/echo", "ünïcode"]}})
    result = container.run(env={variable: value}).ok()
    assert (result.out, result.err, result.log_text) == ("ünïcode\n", "", "")


def test_no_variable_of_the_caller_is_needed(rt):
    container = rt.container({"process": {"args": ["/bin/echo", "fine"]}})
    result = subprocess.run([rt.binary, "--root", str(rt.root), "run", "-b", str(container.bundle.path), container.id], env={},
                            cwd="/", capture_output=True, text=True, timeout=30, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "fine\n", "")


def test_it_works_when_called_by_a_name_on_path_and_through_a_symlink(rt):
    """A daemon has it as /usr/local/bin/pyrunc; sys.path must not follow the name it was called by."""
    directory = rt.base / "bin"
    directory.mkdir()
    poison(directory, rt.base / "marker")
    os.symlink(os.path.realpath(rt.binary), directory / "runc")
    result = subprocess.run(["runc", "--root", str(rt.root), "list", "-q"], env={"PATH": str(directory)}, cwd=directory,
                            capture_output=True, text=True, timeout=30, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert not (rt.base / "marker").exists()


def test_nothing_is_written_beside_the_code_or_in_tmp(rt):
    """No bytecode cache, no temporary files outside the state directory."""
    container = rt.container({"process": {"args": ["/bin/true"]}})
    result, calls = trace(rt, "run", "--bundle", container.bundle.path, container.id, calls="open,openat,openat2,creat,mkdir,mkdirat,rename,renameat2")
    assert result.code == 0
    writing = [call for call in calls if call.ok and ("O_CREAT" in call.text or call.name in ("mkdir", "creat", "rename"))]
    strange = [call for call in writing if "__pycache__" in call.text or ('"/tmp/' in call.text and rt.token not in call.text)
               or '"/var' in call.text or '"/usr' in call.text]
    assert strange == []


@known_bad("Go raises its soft limit and has threads")
def test_the_callers_signals_do_not_reach_the_container(rt):
    """CPython ignores SIGPIPE and SIGXFSZ, and SIG_IGN survives execve."""
    def setup():
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGXCPU):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))
    for call in (rt.container().run(preexec=setup), rt.container(SLEEP).up(preexec=setup).exec("/bin/probe", preexec=setup)):
        lines = status(call.ok().json())
        assert [int(lines[key], 16) for key in ("SigIgn", "SigCgt", "SigBlk", "SigPnd", "ShdPnd")] == [0] * 5


def test_a_full_disk_of_the_log_does_not_stop_the_container(rt):
    container = rt.container({"process": {"args": ["/bin/echo", "fine"]}})
    result = rt.call("--log", "/dev/full", "--log-format", "json", "run", "-b", container.bundle.path, container.id, log=False)
    assert result.code == 0 and result.out == "fine\n"


def test_an_error_that_cannot_be_logged_is_still_on_stderr_with_its_code(rt):
    result = rt.call("--log", "/dev/full", "--log-format", "json", "state", "none", log=False)
    assert result.code == 1 and "does not exist" in result.err and "Traceback" not in result.err


def test_a_closed_stdout_is_no_traceback(rt):
    container = rt.container(SLEEP)
    container.create().ok()
    for verb in (("state", container.id), ("list",), ("features",), ("--help",)):
        result = rt.call(*verb, wrap=("/bin/bash", "-c", 'exec "$@" >&-', "x"))
        assert "Traceback" not in result.err and "Exception" not in result.err, result
        read, write = os.pipe()
        os.close(read)
        result = rt.call(*verb, stdout=write)
        os.close(write)
        assert "Traceback" not in result.err and "Exception" not in result.err, result


def test_ids_and_names_that_are_not_utf8_cause_no_traceback(rt):
    name = os.fsdecode(b"\xff\xfe")
    for args in (("state", name), ("create", "-b", f"/tmp/{name}", "x"), ("exec", name, "x"), ("kill", "x", name), (name,),
                 ("--root", f"/tmp/{name}", "list")):
        result = rt.call(*args, root=args[0] != "--root")
        assert result.code in (0, 1, 3, 255) and "Traceback" not in result.err, result


@known_bad("replaces what is not UTF-8")
def test_program_arguments_that_are_not_utf8_reach_exec_unchanged(rt):
    up = rt.container(SLEEP).up()
    up.exec("/bin/echo", os.fsdecode(b"\xff\xfe\x80")).ok()
    assert rt.running[-1].files[0].read_bytes() == b"\xff\xfe\x80\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_create_leaves_no_traceback_and_nothing_that_delete_does_not_remove(rt, number):
    for step in range(10):
        container = rt.container(SLEEP)
        running = rt.spawn("create", "--bundle", container.bundle.path, container.id)
        time.sleep(0.006 * step)
        running.popen.send_signal(number)
        result = running.wait()
        assert "Traceback" not in result.err and "KeyboardInterrupt" not in result.err, result
        rt.call("delete", "-f", container.id).ok()
        rt.assert_nothing_left()
