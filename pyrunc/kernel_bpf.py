"""bpf(2) for the device controller of cgroup2: typed, raising OSError with what was tried.

Descriptors are close-on-exec from birth (the kernel does that).
"""

from pyrunc._native import ffi, lib

from .kernel import check

MAX_ATTACHED = 64  # BPF_CGROUP_MAX_PROGS
LOG_SIZE = 16384


def device_load(program: bytes) -> int:
    """Load the instructions; returns the program's descriptor. The verifier is asked for its words only on failure."""
    count = len(program) // 8
    fd = lib.k_bpf_device_load(program, count, ffi.NULL, 0)
    if fd >= 0:
        return fd
    log = ffi.new("char[]", LOG_SIZE)
    again = lib.k_bpf_device_load(program, count, log, LOG_SIZE)
    words = ffi.string(log).decode("utf-8", "replace").strip().splitlines()
    return check(again, "load the device filter" + (f" (verifier: {words[-1]})" if words else ""))


def device_query(cgroup: int) -> list[int]:
    """Ids of the device programs attached to exactly this cgroup, oldest first."""
    ids = ffi.new("uint32_t[]", MAX_ATTACHED)
    count = check(lib.k_bpf_device_query(cgroup, ids, MAX_ATTACHED), "query the device filters")
    return [ids[i] for i in range(count)]


def device_open(program_id: int) -> int:
    return check(lib.k_bpf_device_open(program_id), f"open the device filter {program_id}")


def device_attach(cgroup: int, program: int, replace: int = -1) -> None:
    check(lib.k_bpf_device_attach(cgroup, program, replace), "attach the device filter")


def device_detach(cgroup: int, program: int) -> None:
    check(lib.k_bpf_device_detach(cgroup, program), "detach the device filter")
