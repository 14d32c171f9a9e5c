"""libseccomp and what the kernel says about seccomp: typed, raising OSError with what was tried.

The library is opened by the first call that needs it.
"""

import errno
import posix

from pyrunc._native import ffi, lib

STEPS = ("read the flattened profile", "open libseccomp", "default action", "architecture", "attribute", "rule",
         "export")
ARCH, RULE = 3, 5


class CompileError(OSError):
    """libseccomp refused a part of a profile: `step` (index into STEPS) and `at` (architecture or rule, or -1)."""

    def __init__(self, err: int, step: int, at: int) -> None:
        super().__init__(err, posix.strerror(err), "libseccomp: " + STEPS[step])
        self.step = step
        self.at = at


def version() -> tuple[int, int, int]:
    """libseccomp's (major, minor, micro); OSError ELIBACC, worded by the dynamic linker, if it can't be opened."""
    found = lib.k_seccomp_version()
    if found < 0:
        raise OSError(errno.ELIBACC, ffi.string(lib.k_seccomp_why()).decode("utf-8", "replace"), "libseccomp.so.2")
    return found >> 16, found >> 8 & 255, found & 255


def arch_token(name: str) -> int:
    """The number libseccomp gives an architecture (its AUDIT_ARCH_*, but for x32), 0 if it doesn't know it."""
    return lib.k_seccomp_arch(name.encode("ascii"))


def syscall_name(number: int) -> str:
    """The name of a native system call, or `system call N` where libseccomp does not know it."""
    name = ffi.new("char[]", 64)
    if lib.k_seccomp_syscall(number, name, 64) < 0:
        return f"system call {number}"
    return ffi.string(name).decode("ascii")


def compile(flat: bytes) -> tuple[bytes, dict[int, int]]:
    """BPF (bytes) of a flattened profile, and {architecture token: highest syscall number the profile names}."""
    result = ffi.new("struct k_seccomp_result *")
    fd = lib.k_seccomp_compile(flat, len(flat), result)
    if fd < 0:
        raise CompileError(-fd, result.step, result.at)
    try:
        size = posix.fstat(fd).st_size
        code = posix.pread(fd, size, 0)
    finally:
        posix.close(fd)
    return code, {result.arch[i]: result.highest[i] for i in range(result.archs)}


def flags_supported(flags: int) -> bool:
    return bool(lib.k_seccomp_flags_supported(flags))
