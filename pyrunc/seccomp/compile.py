"""From linux.seccomp to BPF: through libseccomp, or out of the cache; plus the prologue for syscalls of the future.

`filter_of` is called by create, run and exec before anything is made, so that a bad profile leaves nothing behind.
"""

from __future__ import annotations

import posix
from errno import ENOSYS

from pyrunc import kernel_seccomp
from pyrunc.errors import Error, reason
from pyrunc.seccomp import cache, profile as profiles
from pyrunc.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrunc.config.shape import Seccomp
    from pyrunc.seccomp.profile import Listener, Profile

    Filter = tuple[bytes, int, Listener | None]  # BPF, flags for seccomp(2), the agent
    Jump = tuple[int, int, int | str, int | str]  # operation, value, where to if true, if not: a distance, "enosys" or "filter"

MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
X86_64, X32, X32_BIT = 0xC000003E, 0x4000003E, 1 << 30  # x32 is x86_64 to the kernel, with a bit in the number
RET_ENOSYS = 0x00050000 | ENOSYS
LOAD, JEQ, JGT, JSET, RET = 0x20, 0x15, 0x25, 0x45, 0x06  # BPF_LD|W|ABS, BPF_JMP|*|K, BPF_RET|K
NR, ARCH = 0, 4  # offsets in struct seccomp_data


def filter_of(section: Seccomp, state_root: str | None = None) -> Filter | None:
    """(BPF, flags for seccomp(2), (listener path, metadata) or None) of linux.seccomp; None if it asks for no filter.

    state_root  --root: the cache lives there. Without it nothing is cached.
    """
    profile = profiles.lower(section)
    if profile is None:
        return None
    if profile.flags & profiles.WAIT_KILLABLE_RECV and not kernel_seccomp.flags_supported(profile.flags):
        raise Error("seccomp flag SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is not supported by this kernel",
                    pointer="/linux/seccomp/flags", hint="the flag needs Linux 5.19")
    directory = cache.open_directory(state_root) if state_root is not None else None
    try:
        return bpf(profile, directory), profile.flags, profile.listener
    finally:
        if directory is not None:
            posix.close(directory)


def bpf(profile: Profile, cache_dir: int | None = None) -> bytes:
    """The array of struct sock_filter for a profile. cache_dir: descriptor of the cache's directory, or None."""
    flat = profiles.flatten(profile)
    if cache_dir is None:
        return _compile(profile, flat)
    key = cache.key(flat, profile.enosys, _library())
    code = cache.load(cache_dir, key)
    if code is None:
        code = _compile(profile, flat)
        cache.store(cache_dir, key, code)
    return code


def _library() -> tuple[int, int, int]:
    try:
        return kernel_seccomp.version()
    except OSError as err:
        raise Error(f"seccomp: libseccomp.so.2 cannot be loaded: {err.strerror}", pointer="/linux/seccomp",
                    errno=err.errno, hint="install it (apt-get install libseccomp2), or leave linux.seccomp out")


def _compile(profile: Profile, flat: bytes) -> bytes:
    _library()
    try:
        code, highest = kernel_seccomp.compile(flat)
    except kernel_seccomp.CompileError as err:
        raise _worded(err, profile)
    if profile.enosys:
        code = enosys_prologue(highest) + code
    if len(code) // 8 > MAX_INSTRUCTIONS:
        raise Error(f"seccomp: the filter has {len(code) // 8} instructions, the kernel takes at most {MAX_INSTRUCTIONS}",
                    pointer="/linux/seccomp/syscalls")
    return code


def _worded(err: kernel_seccomp.CompileError, profile: Profile) -> Error:
    cause = reason(err)
    if err.step == kernel_seccomp.ARCH and err.at >= 0:
        return Error(f"seccomp: architecture {profile.archs[err.at]} cannot be in a filter on this host: {cause}",
                     pointer=f"/linux/seccomp/architectures/{err.at}", errno=err.errno)
    if err.step == kernel_seccomp.RULE and err.at >= 0:
        action, name, _, place = profile.rules[err.at]
        hint = "SCMP_ACT_NOTIFY needs libseccomp 2.5 and Linux 5.7" if action == profiles.NOTIFY else None
        return Error(f"error adding seccomp filter rule for syscall {name}: {cause}", hint, errno=err.errno,
                     pointer=f"/linux/seccomp/syscalls/{place}")
    return Error(f"seccomp: {err.filename}: {cause}", pointer="/linux/seccomp", errno=err.errno)


def enosys_prologue(highest: dict[int, int]) -> bytes:
    """Instructions that answer ENOSYS to numbers above the highest one a profile knows, else fall into the filter.

    Programs probe for new syscalls and fall back on ENOSYS only; a profile from before the syscall would answer EPERM
    and break them (runc's patchbpf has the story). What the profile's author could not have known is judged by number,
    per architecture; x32 calls carry a bit that would make every number high, so they are looked at by themselves.
    highest: {libseccomp's architecture token: number}; a 0 says that nothing is known there: no judgement.
    """
    archs: dict[int, dict[int, int]] = {}
    for token, number in highest.items():
        if number:
            archs.setdefault(X86_64 if token == X32 else token, {})[token] = number
    if not archs:
        return b""
    blocks: list[tuple[int, list[Jump]]] = []
    for arch, by_token in archs.items():
        if arch != X86_64:
            blocks.append((arch, [(JGT, by_token[arch], "enosys", "filter")]))
            continue
        known, known_x32 = by_token.get(arch), by_token.get(X32)
        x32: list[Jump] = [(JGT, known_x32, "enosys", "filter")] if known_x32 else [(JGT, 0, "filter", "filter")]
        native: list[Jump] = [(JGT, known, "enosys", "filter")] if known else [(JGT, 0, "filter", "filter")]
        blocks.append((arch, [(JSET, X32_BIT, len(native), 0)] + native + x32))
    return _assemble(blocks)


def _assemble(blocks: list[tuple[int, list[Jump]]]) -> bytes:
    """Blocks of (architecture, jumps) as instructions. A jump's targets: a distance, "enosys" or "filter"."""
    size = 1 + sum([2 + len(jumps) for _, jumps in blocks]) + 2
    enosys, after = size - 1, size
    code = [(LOAD, 0, 0, ARCH)]
    for arch, jumps in blocks:
        code.append((JEQ, 0, 1 + len(jumps), arch))
        code.append((LOAD, 0, 0, NR))
        for op, value, yes, no in jumps:
            here = len(code) + 1
            where = {"enosys": enosys - here, "filter": after - here}
            code.append((op, yes if isinstance(yes, int) else where[yes], no if isinstance(no, int) else where[no], value))
    code.append((JEQ, 1, 1, 0))  # an architecture without a judgement: into the filter, which knows it or kills
    code.append((RET, 0, 0, RET_ENOSYS))
    return b"".join([op.to_bytes(2, "little") + bytes((yes, no)) + value.to_bytes(4, "little")
                     for op, yes, no, value in code])
