"""The cffi module pyrunc._native: every native_*.h is its cdef, every shim_*.c (and bus.c, seccomp.c) its source."""

import pathlib

import cffi

HERE = pathlib.Path(__file__).resolve().parent


def builder(include):
    """An FFI builder; `include` is the directory that holds the generated init_image.h."""
    ffi = cffi.FFI()
    declarations = "".join(path.read_text() for path in sorted(HERE.glob("native_*.h")))
    ffi.cdef(declarations)
    sources = sorted([*HERE.glob("shim_*.c"), HERE / "bus.c", HERE / "seccomp.c"])
    ffi.set_source(
        "pyrunc._native",
        "#include <stddef.h>\n#include <stdint.h>\n" + declarations,
        sources=[str(path.relative_to(HERE.parent)) for path in sources],
        include_dirs=[str(include), "csrc"],
        extra_compile_args=["-O2", "-std=gnu11", "-Wall"],
    )
    return ffi
