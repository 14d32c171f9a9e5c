"""Build: init (a freestanding ELF, carried as bytes by the cffi module), pyrunc._native, the launcher, the bytecode.

The launcher is an ELF, not pip's entry point: it starts the interpreter that ran this build, isolated (-I -S), on the
package at the absolute path it is being installed to. pip rewrites __pycache__ with time-stamped bytecode, so ours
(unchecked hashes) stands in a tree of its own, pyrunc/_bytecode.
"""

import os
import pathlib
import py_compile
import subprocess
import sys
import sysconfig

from setuptools import setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = pathlib.Path(__file__).resolve().parent
os.chdir(ROOT)
sys.path.insert(0, str(ROOT / "csrc"))
GENERATED = pathlib.Path("build/generated")
CC = os.environ.get("CC", "cc")
PLATLIB = os.environ.get("PYRUNC_PLATLIB") or sysconfig.get_path("platlib")
INIT_FLAGS = (
    "-std=c11 -Os -Wall -Wextra -Werror -ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables -fno-pic "
    "-no-pie -static -nostdlib -s -Wl,--build-id=none -Wl,-z,noseparate-code -Wl,-z,norelro"
).split()


def build_init():
    """init, and its bytes as a C array."""
    GENERATED.mkdir(parents=True, exist_ok=True)
    out = GENERATED / "init"
    subprocess.run([CC, *INIT_FLAGS, *map(str, sorted(pathlib.Path("csrc/init").glob("*.c"))), "-o", str(out)], check=True)
    array = ",".join(str(byte) for byte in out.read_bytes())
    (GENERATED / "init_image.h").write_text(
        f"static const unsigned char init_image[] = {{{array}}};\nstatic const unsigned init_image_len = sizeof init_image;\n"
    )


def build_launcher():
    """The executable on PATH. The interpreter is this one's real file, never a shim found on PATH."""
    python = os.path.realpath(sys.executable)
    (GENERATED / "bin").mkdir(exist_ok=True)
    (GENERATED / "launcher_paths.h").write_text(
        f'#define PYRUNC_PYTHON "{python}"\n#define PYRUNC_PLATLIB "{PLATLIB}"\n'
    )
    subprocess.run(
        [CC, "-O2", "-Wall", "-DPYRUNC_EXEC", f"-I{GENERATED}", "csrc/launcher.c", "-o", str(GENERATED / "bin/pyrunc")],
        check=True,
    )


class Build(build):
    def run(self):
        build_init()
        build_launcher()
        super().run()


class BuildExt(build_ext):
    def run(self):
        if not (GENERATED / "init_image.h").exists():
            build_init()
        super().run()


class BuildPy(build_py):
    """The package, and once more as bytecode that is never checked against anything."""

    def run(self):
        super().run()
        target = pathlib.Path(self.build_lib) / "pyrunc/_bytecode"
        for source in sorted(pathlib.Path("pyrunc").rglob("*.py")):
            py_compile.compile(
                str(source), cfile=str(target / source.with_suffix(".pyc")), dfile=f"{PLATLIB}/{source}", doraise=True,
                optimize=0, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )

    def get_outputs(self, include_bytecode=1):
        target = pathlib.Path(self.build_lib) / "pyrunc/_bytecode"
        return super().get_outputs(include_bytecode) + [str(path) for path in target.rglob("*.pyc")]


def extension():
    import build_ffi

    GENERATED.mkdir(parents=True, exist_ok=True)
    return build_ffi.builder(GENERATED).distutils_extension(str(GENERATED))


if __name__ == "__main__":
    packages = ["pyrunc"] + [
        str(path.parent).replace("/", ".") for path in sorted(pathlib.Path("pyrunc").glob("*/**/__init__.py"))
    ]
    packages += [
        name for name in ("pyrunc.host", "pyrunc.host.cgroup", "pyrunc.seccomp", "pyrunc.commands", "pyrunc.config", "pyrunc.plan")
        if name not in packages
    ]
    setup(
        packages=packages,
        package_data={"pyrunc": ["config/*.json"]},
        ext_modules=[extension()],
        data_files=[("bin", [str(GENERATED / "bin/pyrunc")])],
        cmdclass={"build": Build, "build_ext": BuildExt, "build_py": BuildPy},
        zip_safe=False,
    )
