"""Draws seccomp profiles and the calls that show what they do.

The victims are calls that the probe and both runtimes' inits can do without and that change nothing: most are made on a
descriptor that does not exist, so that EBADF means "let through". Everything else a profile must allow. (Pure.)

Beside what libseccomp 2.5.4 merges wrongly (docs/differences.md) the profiles keep off: at most one rule per call with
conditions by order or by inequality.
"""

import functools
import re
from pathlib import Path

from hypothesis import strategies as st

from pyrunc.config import names

HEADERS = ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h")
# name: numbers on x86-64 and i386 (None: the probe does not call it there)
VICTIMS = {"lseek": (8, 19), "splice": (275, 313), "dup2": (33, 63), "fadvise64": (221, None), "copy_file_range": (326, 377),
           "sync_file_range": (277, None), "flock": (73, 143), "shutdown": (48, None), "getpriority": (140, 96), "fsync": (74, 118)}
VALUES = [0, 1, 2, 7, 0xFFFFFFFF, 1 << 32, (1 << 32) + 1, (1 << 63) + 5]
FD = "3e7"


@functools.cache
def others():
    """Every other call of the architecture, by the kernel's header."""
    text = next(Path(path).read_text() for path in HEADERS if Path(path).exists())
    return sorted(set(re.findall(r"#define __NR_(\w+)", text)) - set(VICTIMS))


def _rule(draw, actions, ordered):
    chosen = draw(st.lists(st.sampled_from(sorted(VICTIMS)), min_size=1, max_size=3, unique=True))
    rule = {"names": chosen + draw(st.sampled_from([[], [], ["no_such_call"]])), "action": draw(st.sampled_from(actions))}
    if rule["action"] in names.SECCOMP_ACTIONS_WITH_ERRNO and draw(st.booleans()):
        rule["errnoRet"] = draw(st.sampled_from([0, 1, 2, 38, 99, 133, 4095]))
    simple = ["SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"]
    indexes = draw(st.lists(st.integers(1, 5), unique=True, max_size=2))
    free = sorted(names.SECCOMP_OPERATORS) if not ordered & set(chosen) else simple
    ordered.update(chosen)
    if indexes:
        rule["args"] = [{"index": index, "op": draw(st.sampled_from(free)), "value": draw(st.sampled_from(VALUES)),
                         **({"valueTwo": draw(st.sampled_from(VALUES))} if draw(st.booleans()) else {})} for index in indexes]
    return rule


def profile(draw):
    """(the profile, what the probe shall try)."""
    plain = sorted(set(names.SECCOMP_ACTIONS) - {"SCMP_ACT_NOTIFY"})
    default = draw(st.sampled_from(["SCMP_ACT_ALLOW"] * 3 + plain))
    found, ordered = {"defaultAction": default, "syscalls": []}, set()
    notify = ["SCMP_ACT_NOTIFY"] * (2 * len(plain) * draw(st.booleans()))  # to the agent, which host.py has
    for _ in range(draw(st.integers(0, 4))):
        found["syscalls"].append(_rule(draw, plain + notify, ordered))
    if notify:
        found["listenerPath"] = "{agent}"
        if draw(st.booleans()):
            found["listenerMetadata"] = draw(st.sampled_from(["m", "\u00e9 \"", ""]))
    if default != "SCMP_ACT_ALLOW":
        found["syscalls"].append({"names": others(), "action": "SCMP_ACT_ALLOW"})
    if default in names.SECCOMP_ACTIONS_WITH_ERRNO and draw(st.booleans()):
        found["defaultErrnoRet"] = draw(st.sampled_from([1, 38, 99]))
    if draw(st.booleans()):
        found["architectures"] = draw(st.lists(st.sampled_from(
            ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"]), unique=True, max_size=3))
    if draw(st.booleans()):
        found["flags"] = draw(st.lists(st.sampled_from(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                                                        "SECCOMP_FILTER_FLAG_TSYNC"]), unique=True, max_size=2))
    return found, _tries(draw)


def _tries(draw):
    tries = []
    for number, old in VICTIMS.values():
        for _ in range(2):
            args = ",".join(f"{draw(st.sampled_from(VALUES)):x}" for _ in range(5))
            tries.append(f"call:{number:x},{FD},{args}")
        if old is not None:
            tries.append(f"call32:{old:x},{FD}," + ",".join(f"{draw(st.sampled_from(VALUES)) & 0xFFFFFFFF:x}" for _ in range(4)))
    return tries
