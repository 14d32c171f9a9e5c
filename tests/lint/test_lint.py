"""ruff, mypy, the C compilers' warnings, and that what is generated is up to date."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
C_WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wmissing-prototypes", "-Wconversion", "-Wshadow", "-Wformat=2", "-fsyntax-only", "-O2")


def check(*argv):
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def module(name, *args):
    if subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True, check=False).returncode:
        pytest.skip(f"{name} is not installed (pip install {name})")
    check(sys.executable, "-m", name, *args)


def test_ruff():
    module("ruff", "check", "--no-cache", "pyrunc", "csrc", "spec", "tests", "conformance", "setup.py")


def test_mypy_finds_every_planted_fault_and_no_other():
    pytest.importorskip("mypy")
    planted = "tests/lint/planted.py"
    done = subprocess.run([sys.executable, "-m", "mypy", "--cache-dir=/dev/null", "--no-error-summary", "pyrunc", planted],
                          cwd=REPOSITORY, capture_output=True, text=True, check=False)
    found = {}
    for line in done.stdout.splitlines():
        found.setdefault(":".join(line.split(":")[:2]), []).append(line)
    wanted = [f"{planted}:{number}" for number, line in enumerate((REPOSITORY / planted).read_text().splitlines(), 1) if "# planted" in line]
    assert sorted(found) == sorted(wanted), done.stderr + "\n".join([line for place in found.keys() - set(wanted) for line in found[place]])


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("source", sorted(str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "csrc").rglob("*.c")))
def test_c_compiles_without_a_warning(compiler, source):
    """Both of them, although a build asks for less: what another compiler warns of is no reason to refuse one."""
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    if source.startswith("csrc/init/"):
        flags = ["-std=c11", "-ffreestanding", "-Wvla", *(["-Wno-unknown-attributes"] if compiler == "clang" else [])]
        check(compiler, *C_WARNINGS, *flags, source)
        return
    generated = "build/generated"
    assert (REPOSITORY / generated / "seam_types.h").exists(), "make build, or make build/.native"
    for way in ("-DPYRUNC_PICTURE", "-DPYRUNC_EXEC", "-UPYRUNC_PICTURE") if source == "csrc/launcher.c" else ("-DPYRUNC_PICTURE",):
        check(compiler, *C_WARNINGS, "-std=gnu11", way, f"-I{generated}", "-Icsrc", "-isystem", sysconfig.get_path("include"), source)


# Not yet in the style: somebody is at work on them. To be empty.
UNFORMATTED = {"init.h", "json.c", "launcher.c", "load.c", "maths.c", "native_core.h", "op_talk.c", "picture.c", "plan.h", "shim_spawn.c", "written.c"}


def test_c_has_one_style():
    """.clang-format; `build/venv/bin/clang-format -i FILE` gives it to a file."""
    files = [str(path) for path in (REPOSITORY / "csrc").rglob("*.[ch]") if path.name not in UNFORMATTED]
    check(str(Path(sys.executable).with_name("clang-format")), "--dry-run", "-Werror", *files)


@pytest.mark.parametrize("what, where", [((), "pyrunc/plan/optable.py"), (("ops.def",), "csrc/ops.def")])
def test_what_c_and_python_know_of_a_plan_is_the_same(what, where):
    made = subprocess.run([sys.executable, "csrc/optable.py", *what], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert made == (REPOSITORY / where).read_text()


def test_the_types_of_the_native_module_are_those_of_its_headers():
    made = subprocess.run([sys.executable, "csrc/stub.py"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert made == (REPOSITORY / "pyrunc/_native.pyi").read_text()


def test_readme_and_help_know_the_same_verbs():
    from pyrunc.boot import COMMANDS
    readme = (REPOSITORY / "README.md").read_text()
    assert [verb for verb in COMMANDS if f"pyrunc {verb}" not in readme] == []
