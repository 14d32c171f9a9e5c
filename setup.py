"""Build: init (a freestanding ELF, carried as bytes by the cffi module), pyrunc._native, the launcher.

The launcher is an ELF, not pip's entry point: an embedded interpreter with all of pyrunc frozen into it, that knows the
absolute paths it was built for (csrc/launcher.c). PYRUNC_LAUNCHER lists the ways to make it; the first that works is taken.
"""

import os
import pathlib
import platform
import py_compile
import shutil
import subprocess
import sys
import sysconfig

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = pathlib.Path(__file__).resolve().parent
os.chdir(ROOT)
sys.path.insert(0, str(ROOT / "csrc"))
import build_ffi  # noqa: E402
import freeze  # noqa: E402
import picture  # noqa: E402

GENERATED = pathlib.Path("build/generated")
CC = os.environ.get("CC", "cc")
PLATLIB = os.environ.get("PYRUNC_PLATLIB") or sysconfig.get_path("platlib")
WARNINGS = "-Wall -Wextra -Werror".split()
INIT_FLAGS = (
    "-std=c11 -Os -Wall -Wextra -Werror -ffreestanding -fstack-protector-strong -mstack-protector-guard=global "
    "-fno-asynchronous-unwind-tables -fno-pic -no-pie -static -nostdlib -s -Wl,--build-id=none -Wl,-z,noseparate-code -Wl,-z,norelro"
).split()
HARDENED = "-fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3".split()  # docs/security.md
if platform.machine() == "x86_64":
    HARDENED.append("-fcf-protection")
HARDENED_LINK = "-Wl,-z,relro -Wl,-z,now".split()
config_var = sysconfig.get_config_var


def run(*command):
    subprocess.run([str(part) for part in command], check=True)


def build_init():
    """init, and its bytes as a C array."""
    out = GENERATED / "init"
    run(CC, *INIT_FLAGS, *sorted(pathlib.Path("csrc/init").glob("*.c")), "-o", out)
    array = ",".join(str(byte) for byte in out.read_bytes())
    (GENERATED / "init_image.h").write_text(
        f"static const unsigned char init_image[] = {{{array}}};\nstatic const unsigned init_image_len = sizeof init_image;\n"
    )


def interpreter():
    """The interpreter that runs this build, as the file it is: neither a shim nor a virtual environment's link."""
    return os.path.realpath(sys.executable)


def site_dirs():
    """Where jsonschema, pyroute2 and cffi may be: where pyrunc goes, and what a venv with system packages sees as well."""
    import site

    dirs = [PLATLIB]
    config = pathlib.Path(sys.prefix, "pyvenv.cfg")
    if not config.exists() or "include-system-site-packages = true" in config.read_text():
        dirs += site.getsitepackages([sys.base_prefix])
    return list(dict.fromkeys(path for path in dirs if path == PLATLIB or os.path.isdir(path)))


def write_paths():
    def quoted(path):
        return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'

    paths = {
        "PYTHON": interpreter(), "PLATLIB": PLATLIB, "PREFIX": sys.base_prefix, "EXEC_PREFIX": sys.base_exec_prefix,
        "STDLIB": sysconfig.get_path("stdlib"), "DYNLOAD": config_var("DESTSHARED"),
    }
    lines = [f"#define PYRUNC_{name} {quoted(path)}" for name, path in paths.items()]
    lines.append("#define PYRUNC_SITE_DIRS " + ", ".join(map(quoted, site_dirs())))
    (GENERATED / "launcher_paths.h").write_text("\n".join(lines) + "\n")


def commit():
    try:
        return subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def static_flags():
    """How to link libpython and what it needs into the program itself; None where there is no static one."""
    archive = pathlib.Path(config_var("LIBPL") or "", config_var("LIBRARY") or "")
    if archive.suffix != ".a" or not archive.is_file():
        return None
    libs = []
    for word in " ".join(config_var(name) or "" for name in ("MODLIBS", "LIBS", "SYSLIBS")).split():
        alone = f"lib{word[2:]}.a"
        found = subprocess.run([CC, f"-print-file-name={alone}"], capture_output=True, text=True, check=True).stdout.strip()
        libs.append(found if word in ("-lz", "-lexpat") and found != alone else word)
    return ["-no-pie", "-Wl,--export-dynamic", *HARDENED_LINK, archive, *libs]


def shared_flags():
    if not config_var("Py_ENABLE_SHARED"):
        return None
    library = config_var("LIBDIR")
    return [*HARDENED_LINK, f"-L{library}", f"-Wl,-rpath,{library}", f"-lpython{config_var('LDVERSION')}"]


def compile_c(*words):
    run(CC, "-O2", "-std=gnu11", *WARNINGS, *HARDENED, "-Wno-missing-field-initializers", "-Wno-unused-parameter", f"-I{GENERATED}",
        f"-I{sysconfig.get_path('include')}", *words)


def link(out, flags, objects):
    compile_c("csrc/launcher.c", GENERATED / "frozen.c", *objects, "-o", out, *flags)


def without_cffi(objects):
    """csrc/seam.c stands in for the module that cffi generated."""
    return ["csrc/seam.c", *[path for path in objects if not path.endswith("_native.o")]]


def allocator(out):
    """libpython's, to be linked in its place, without the constructor of mimalloc (CPython 3.13): which would find the picture's data and
    write to them again. Nobody uses mimalloc (PYMEM_ALLOCATOR_MALLOC, launcher.c)."""
    archive = pathlib.Path(config_var("LIBPL"), config_var("LIBRARY"))
    out.write_bytes(subprocess.run(["ar", "p", archive, "obmalloc.o"], capture_output=True, check=True).stdout)
    run("objcopy", "--remove-section=.init_array", "--remove-section=.rela.init_array", out)


def make_snapshot(out, objects):
    """picture.o behind the libraries, because its arena has to be the end of .bss; libc before libm, which then nothing needs."""
    program, first, maths, last = (GENERATED / name for name in ("pyrunc-without-picture", "obmalloc.o", "maths.o", "picture.o"))
    allocator(first)
    compile_c("-c", "-fno-builtin", "csrc/maths.c", "-o", maths)
    compile_c("-c", "csrc/picture.c", "-o", last)
    wraps = [f"-Wl,--wrap={name}" for name in ("malloc", "calloc", "realloc", "free")]
    link(program, ["-DPYRUNC_PICTURE", *wraps, first, maths, "-Wl,--as-needed", "-lc", *static_flags(), last], without_cffi(objects))
    picture.make(program, out)


def make_static(out, objects):
    link(out, static_flags(), without_cffi(objects))


def make_shared(out, objects):
    link(out, shared_flags(), objects)


def build_launcher(objects):
    write_paths()
    out = GENERATED / "bin/pyrunc"
    out.parent.mkdir(exist_ok=True)
    freeze.write(pathlib.Path("pyrunc"), f"{PLATLIB}/pyrunc", commit(), GENERATED.resolve())
    build_ffi.write_seam(pathlib.Path("pyrunc"), GENERATED / "seam_types.h")
    ways = {"snapshot": (static_flags, make_snapshot), "static": (static_flags, make_static), "shared": (shared_flags, make_shared)}
    for way in os.environ.get("PYRUNC_LAUNCHER", "snapshot static shared exec").split():
        possible, make = ways.get(way, (lambda: None, None))
        if possible() is None:
            continue
        try:
            make(out, objects)
            return answers(out)
        except (OSError, subprocess.SubprocessError, picture.Unsound) as err:
            print(f"launcher: {way}: {err}; trying the next way", file=sys.stderr)
    run(CC, "-O2", *WARNINGS, *HARDENED, *HARDENED_LINK, "-DPYRUNC_EXEC", f"-I{GENERATED}", "csrc/launcher.c", "-o", out)


def answers(out):
    """Whether what came out works, wherever the kernel puts its stack and libraries."""
    for environment in ({}, dict(os.environ), {"TZ": "Asia/Tokyo", "LC_ALL": "C", "X": "x" * 100000}):
        told = subprocess.run([out, "--version"], capture_output=True, text=True, timeout=30, check=False, env=environment)
        if not told.stdout.startswith("pyrunc version ") or told.returncode or told.stderr:
            raise OSError(f"{out} does not start as it should: {told.stderr!r}")


class BuildExt(build_ext):
    """init first, because the module carries it; the launcher last, because it carries the module."""

    def run(self):
        self.force = True  # distutils does not know the headers and the image among the dependencies
        self.objects = []
        build_init()
        super().run()
        build_launcher(self.objects)

    def build_extension(self, ext):
        super().build_extension(ext)
        self.objects += self._built_objects


class BuildPy(build_py):
    """The package, from scratch: a module deleted since the last build must not be installed again.

    pyrunc/_bytecode holds it once more, with unchecked hashes, for the launcher that executes an interpreter: pip
    rewrites __pycache__ with time-stamped bytecode.
    """

    def run(self):
        shutil.rmtree(pathlib.Path(self.build_lib, "pyrunc"), ignore_errors=True)
        super().run()
        for source in sorted(pathlib.Path("pyrunc").rglob("*.py")):
            py_compile.compile(
                str(source), cfile=str(self.bytecode(source)), dfile=f"{PLATLIB}/{source}", doraise=True,
                optimize=0, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )

    def bytecode(self, source):
        return pathlib.Path(self.build_lib, "pyrunc/_bytecode", source.with_suffix(".pyc"))

    def get_outputs(self, include_bytecode=1):
        compiled = [str(self.bytecode(source)) for source in sorted(pathlib.Path("pyrunc").rglob("*.py"))]
        return super().get_outputs(include_bytecode) + compiled


if __name__ == "__main__":
    GENERATED.mkdir(parents=True, exist_ok=True)
    packages = [name for name, (_, is_package) in freeze.sources(pathlib.Path("pyrunc")).items() if is_package]
    setup(
        packages=packages,
        package_data={"pyrunc": ["config/*.json"]},
        ext_modules=[
            build_ffi.builder(GENERATED, HARDENED, HARDENED_LINK).distutils_extension(str(GENERATED)),
            Extension("pyrunc._json", ["csrc/json.c"], extra_compile_args=["-O2", *HARDENED], extra_link_args=HARDENED_LINK),
        ],
        data_files=[("bin", [str(GENERATED / "bin/pyrunc")])],
        cmdclass={"build_ext": BuildExt, "build_py": BuildPy},
        zip_safe=False,
    )
