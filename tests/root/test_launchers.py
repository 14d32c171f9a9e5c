"""Every way to make the program (PYRUNC_LAUNCHER), each with every CPython that is here: it comes out, says which it is, and works."""

import cmath
import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYENV = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv")) / "versions"
OTHERS = sorted(map(str, PYENV.glob("3.1[123].*/bin/python3")))
STATIC = pathlib.Path(sysconfig.get_config_var("LIBPL") or "", sysconfig.get_config_var("LIBRARY") or "").suffix == ".a"
SHARED = bool(sysconfig.get_config_var("Py_ENABLE_SHARED"))
needs_static = pytest.mark.skipif(not STATIC, reason="this CPython has no static library")


def build(place, python=sys.executable, ways=None, change=None):
    """(the program, what its build said), of a copy of the sources that `change` may edit first."""
    copy = place / "source"
    for name in ("csrc", "pyrunc"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, copy)
    if change:
        change(copy)
    environment = {**os.environ, **({"PYRUNC_LAUNCHER": ways} if ways else {})}
    done = subprocess.run([python, "setup.py", "build_ext", "--build-lib", "lib", "--build-temp", "temp"], cwd=copy, env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout
    return copy / "build/generated/bin/pyrunc", done.stdout


def kind(program):
    """Which way it was made."""
    names = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    for name, symbol in (("snapshot", " picture_take"), ("static", " T Py_CompileString"), ("shared", " U PyConfig_Clear")):
        if symbol in names:
            return name
    return "exec"


def works(program, place):
    """A container from its making to its end, and an error."""
    bundle, name = place / "bundle", f"launcher-{os.getpid()}"
    (bundle / "rootfs/bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", bundle / "rootfs/bin/sh")

    def call(*words):
        return subprocess.run([program, "--root", place / "root", *words], capture_output=True, text=True, timeout=60, check=False)

    assert call("spec", "--bundle", bundle).returncode == 0
    config = (bundle / "config.json").read_text().replace('"terminal": true', '"terminal": false').replace('"sh"', '"sh", "-c", "echo pid $$"')
    (bundle / "config.json").write_text(config)
    ran = call("run", "--bundle", bundle, name)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("pid 1\n", "", 0)
    assert call("state", name).stderr == "container does not exist\n"
    assert call("features").returncode == 0 and call("list").stdout.startswith("ID")
    return True


WAYS = [pytest.param("snapshot", marks=needs_static), pytest.param("static", marks=needs_static), "exec",
        pytest.param("shared", marks=pytest.mark.skipif(not SHARED, reason="this CPython has no shared library"))]


@pytest.mark.parametrize("way", WAYS)
def test_each_way_works(tmp_path, way):
    program, said = build(tmp_path, ways=way)
    assert kind(program) == way and "trying the next way" not in said and works(program, tmp_path)


def stray(copy):
    """A word of the picture points to the stack of the process that it was taken of."""
    source = copy / "csrc/picture.c"
    text = source.read_text()
    place = "    set_thread(0, 0, NULL);\n"
    assert place in text
    source.write_text(text.replace(place, place + "    static void *volatile stray;\n    stray = __builtin_frame_address(0);\n    (void)stray;\n"))


def crash(copy):
    """The program does not survive its own picture."""
    source = copy / "pyrunc/picture.py"
    source.write_text(source.read_text().replace('"""Called by csrc/picture.c, once.', '1 / 0\n    """'))


@needs_static
@pytest.mark.parametrize(("change", "said"), ((stray, r"words of the picture point out of it: 0x"), (crash, "ZeroDivisionError")))
def test_an_unsound_picture_leads_to_the_next_way_and_the_build_says_so(tmp_path, change, said):
    program, told = build(tmp_path, change=change)
    assert kind(program) == "static" and said in told and "trying the next way" in told
    assert works(program, tmp_path)


def changed(name, before, after):
    """A `change` for build: one replacement in one file."""
    def change(copy):
        text = (copy / name).read_text()
        assert text.count(before) == 1
        (copy / name).write_text(text.replace(before, after))
    return change


def faults(program, *words):
    """Page faults of a command line, which may fail, but for those that madvise deals with at once."""
    words = [str(word) for word in words]
    calls = subprocess.run(["strace", "-e", "trace=madvise", program, *words], capture_output=True, text=True, check=False).stderr
    advised = [int(size) // 4096 for size in re.findall(r"madvise\(0x\w+, (\d+), MADV_POPULATE_WRITE\) = 0", calls)]
    child = os.posix_spawn(program, [program, *words], {}, file_actions=[(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)])
    _, status, used = os.wait4(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 1)
    return used.ru_minflt - sum(advised)


@needs_static
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="csrc/written.c knows no other processor")
def test_what_verbs_write_to_lies_together_and_where_it_does_not_the_program_works(tmp_path, pyrunc):
    program, said = build(tmp_path, change=changed("csrc/written.c", "#define _GNU_SOURCE", "#error another processor"))
    assert kind(program) == "snapshot" and "the picture is not laid out: " in said and works(program, tmp_path)
    for verb in (("state", "none"), ("list",), ("kill", "none")):
        assert faults(pyrunc, "--root", tmp_path, *verb) < 0.75 * faults(program, "--root", tmp_path, *verb)


@needs_static
@pytest.mark.parametrize(("before", "after"), (
    ("places, 8 * number, at, size // UNIT", "places, number // 2 * 8, at, size // UNIT"),  # other allocations
    ("places, 8 * number, at, size // UNIT", "places, 8 * number, at, size // UNIT + 1"),  # other sizes
))
def test_a_layout_of_another_run_does_no_harm(tmp_path, before, after):
    program, said = build(tmp_path, change=changed("csrc/picture.py", before, after))
    assert kind(program) == "snapshot" and "not laid out" not in said and works(program, tmp_path)


@pytest.mark.parametrize("python", OTHERS)
def test_other_versions_of_cpython_make_a_program_that_works(tmp_path, python):
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv/bin/python"
    subprocess.run([python, "-m", "pip", "install", "-q", "setuptools>=65", "cffi>=1.15"], check=True)
    program, said = build(tmp_path, python)
    assert kind(program) == "snapshot" and "not laid out" not in said, said
    assert works(program, tmp_path)


# All that CPython calls of libm (csrc/maths.c)
MATHS = """[f(.5) for f in (acos, asin, asinh, atan, atanh, cbrt, ceil, cos, cosh, erf, erfc, exp, exp2, expm1, floor, log, log10, log1p, log2,
    round, sin, sinh, sqrt, tan, tanh, lgamma, gamma)] + [acosh(1.5), atan2(.5, .7), fmod(5, 3), hypot(3, 4), nextafter(1, 2), pow(2, .5), ldexp(.5, 3),
    *frexp(5.0), *modf(1.5), copysign(1, -1), str(cmath.rect(2, 1)), 2.5 ** .5, 7.5 % 2, 7.5 // 2]"""
PROBE = f'''
def maths():
    import cmath
    from math import *
    return {MATHS}
'''.replace("from math import *", "import math\n    globals().update(vars(math))") + '''

def run(globals_, options, args):
    """What an import, or the start of an interpreter, takes from its process."""
    import _signal, ctypes, os, posix, random, threading, time
    said = []
    callback = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: said.append(threading.current_thread() is threading.main_thread()) or 7)
    _signal.signal(_signal.SIGUSR1, lambda *_: said.append("signal"))  # ValueError but in the main thread
    posix.kill(posix.getpid(), _signal.SIGUSR1)
    thread = threading.Thread(target=lambda: said.append("thread"))
    thread.start()
    thread.join()
    log.out(dumps({
        "callback": callback(), "said": said, "main": threading.main_thread().ident == threading.get_ident(),
        "native": threading.get_native_id() == posix.getpid(), "environ": dict(os.environ),
        "local": time.strftime("%H %Z", time.localtime(0)), "hash": hash("x"), "random": random.random(),
        "stdout": [os.sys.stdout.encoding, os.sys.stdout.isatty(), os.sys.stdout.fileno()],
        "maths": maths(), "stdin": os.sys.stdin.read(), "cwd": os.getcwd(), "modules": sorted(os.sys.modules),
    }))
    return 0
'''


def probe(copy):
    source = copy / "pyrunc/commands/features.py"
    text, found = re.subn(r"def run\(.*:\n    log\.out\(dumps\(features\(\), indent=4\) .*\n    return 0\n", lambda _: PROBE, source.read_text())
    assert found == 1
    source.write_text(text)


@needs_static
def test_what_belongs_to_a_process_is_not_the_builds(tmp_path, monkeypatch):
    """In a program whose `features` tells. ctypes asks CPython for the thread by pthread_getspecific(3)."""
    (tmp_path / "where-it-was-rehearsed").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "where-it-was-rehearsed"))
    program, _ = build(tmp_path, ways="snapshot", change=probe)
    assert b"where-it-was-rehearsed" not in program.read_bytes() and not any((tmp_path / "where-it-was-rehearsed").iterdir())

    def told(**environment):
        done = subprocess.run([program, "features"], env=environment, cwd=tmp_path, input="input", capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    one, two = told(TZ="Asia/Tokyo", A="1"), told(TZ="America/New_York", B="2")
    assert one["callback"] == 7 and one["said"] == ["signal", "thread", True] and one["main"] and one["native"]
    assert (one["environ"], two["environ"]) == ({"TZ": "Asia/Tokyo", "A": "1"}, {"TZ": "America/New_York", "B": "2"})
    assert (one["local"], two["local"]) == ("09 JST", "19 EST")
    assert one["random"] != two["random"]
    assert one["maths"] == eval(MATHS, {**vars(math), "cmath": cmath, "round": round})
    assert one["hash"] == two["hash"]  # known, and why objects are bounded: docs/security.md
    assert one["stdout"] == ["utf-8", False, 1] and one["stdin"] == "input" and one["cwd"] == str(tmp_path)
    again = tmp_path / "again"
    again.mkdir()
    other, _ = build(again, ways="snapshot", change=probe)
    answer = subprocess.run([other, "features"], env={}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert json.loads(answer.stdout)["hash"] != one["hash"]  # drawn by each build
