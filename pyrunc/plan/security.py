"""Credentials, capabilities, labels, seccomp: the order in which a process gives things up.

There are two legal orders, pinned to runc's and checked by the verifier:

  noNewPrivileges      NNP … ids … CAPS, AMBIENT, LOOKUP, SEAL, SECCOMP
  without it           … ids … CAPS (with CAP_SYS_ADMIN still there), LOOKUP, SEAL, SECCOMP, CAPS, AMBIENT

Without no-new-privileges a filter may only be loaded with CAP_SYS_ADMIN (seccomp(2)), so the last capset comes after
it; everything else that makes system calls comes before it in both orders (runc loads it earlier and then needs the
filter to allow getcwd, setresuid and the rest). All of this stands before the gate: a created container holds no more
than a running one, and startContainer hooks, which are files of the image, run with no more either.
"""

from __future__ import annotations

from errno import EACCES, ENOENT, EPERM

from ..config import names
from ..errors import Error
from ..typed import TYPE_CHECKING
from . import process as proc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config.shape import Process
    from ..facts import Facts
    from .namespaces import Namespaces
    from .request import Filter
    from .script import Plan

SYS_ADMIN = 1 << names.CAPABILITIES["CAP_SYS_ADMIN"]
FLAG_NEW_LISTENER = 8


def mask(listed: Sequence[str] | None, lacking: int = 0) -> int:
    """The bits of a capability list; unknown names, and what cannot be granted, are left out: the command warns of them."""
    bits = 0
    for name in listed or []:
        if name in names.CAPABILITIES:
            bits |= 1 << names.CAPABILITIES[name]
    return bits & ~lacking


def lacking(ns: Namespaces, facts: Facts) -> int:
    """What cannot be granted: in a user namespace everything can, or so root of it is told."""
    return 0 if ns.private("user") else facts.lacking


def caps_blob(effective: int, permitted: int, inheritable: int) -> bytes:
    return b"".join([value.to_bytes(8, "little") for value in (effective, permitted, inheritable)])


def apparmor(plan: Plan, profile: str, at: str) -> None:
    """exec label through the detached proc; the path without `apparmor/` is older kernels'."""
    value = f"exec {profile}"
    new = plan.add("I", "LABEL", ("proc",), ("thread-self/attr/apparmor/exec", value), (ENOENT,), source=at)
    plan.add("I", "LABEL", ("proc",), ("thread-self/attr/exec", value), unless=new, source=at)


def selinux(plan: Plan, label: str, at: str) -> None:
    plan.add("I", "LABEL", ("proc",), ("thread-self/attr/exec", label), source=at)
    plan.add("I", "LABEL", ("proc",), ("thread-self/attr/keycreate", label), source=at)


def credentials(plan: Plan, process: Process, env: Sequence[str], bpf: Filter | None, facts: Facts, ns: Namespaces,
                keep: Sequence[str | None], late_apparmor: str | None = None) -> None:
    """From NNP to SECCOMP. `bpf`: (filter bytes, flags, listener) or None; `keep`: slots that outlive SEAL."""
    nnp = process.get("noNewPrivileges", False)
    late_caps = bpf is not None and not nnp
    if nnp:
        plan.add("I", "NNP", source="/process/noNewPrivileges")
    _identity(plan, process, env, facts, ns)
    caps = process.get("capabilities", {})  # no object: no capability, never all of them ("Shocker")
    without = lacking(ns, facts)
    sets = mask(caps.get("effective"), without), mask(caps.get("permitted"), without), mask(caps.get("inheritable"), without)
    final = caps_blob(*sets), mask(caps.get("ambient"), without)
    plan.source = "/process/capabilities"
    if late_caps:
        plan.add("I", "CAPS", (), (caps_blob(sets[0] | SYS_ADMIN, sets[1] | SYS_ADMIN, sets[2]),))
    else:
        plan.add("I", "CAPS", (), (final[0],))
        plan.add("I", "AMBIENT", (), (final[1],))
    if late_apparmor:
        apparmor(plan, late_apparmor, "/process/apparmorProfile")
    if process["args"]:
        plan.add("I", "LOOKUP", ("root",), (proc.candidates(process["args"], env),), source="/process/args/0")
    for i, limit in enumerate(process.get("rlimits", [])):
        if limit["type"] == "RLIMIT_NOFILE":
            plan.add("I", "RLIMIT", (), (names.RLIMITS["RLIMIT_NOFILE"], limit["soft"], limit["hard"]),
                     source=f"/process/rlimits/{i}")
    plan.add("I", "PDEATHSIG", (), (0,), source="default: outlive the supervisor")
    plan.add("I", "SEAL", keep, (plan.base,), source="default: closed world")
    if bpf is not None:
        _filter(plan, bpf)
    if late_caps:
        plan.add("I", "CAPS", (), (final[0],), source="/process/capabilities")
        plan.add("I", "AMBIENT", (), (final[1],), source="/process/capabilities/ambient")


def _identity(plan: Plan, process: Process, env: Sequence[str], facts: Facts, ns: Namespaces) -> None:
    """Ids and working directory. chdir before the ids change, and after, whichever is allowed."""
    user = process["user"]
    uid, gid = user.get("uid", 0), user.get("gid", 0)
    if not any([entry.startswith("HOME=") for entry in env]):
        plan.add("I", "HOME", ("root",), (uid,), source="/process/user/uid")
    cwd = process["cwd"].strip("/") or "."
    plan.add("I", "CHDIR", ("root",), (cwd,), (EACCES, EPERM), source="/process/cwd")
    bounding = mask(process.get("capabilities", {}).get("bounding"))
    plan.add("I", "BOUND", (), (bounding,), source="/process/capabilities/bounding")
    plan.add("I", "KEEPCAPS", source="/process/capabilities")
    plan.source = "/process/user"
    gids = b"".join([g.to_bytes(4, "little") for g in user.get("additionalGids", [])])
    if gids and facts.euid and not ns.keep_groups:
        raise Error("cannot set any additional groups in a rootless container", pointer="/process/user/additionalGids")
    if facts.setgroups and facts.euid == 0 and not ns.keep_groups:
        dropped = any([op.name == "SETGROUPS" for op in plan.ops])  # before a user namespace in which it may be denied
        plan.add("I", "SETGROUPS", (), (gids,), (EPERM,) if dropped and not gids else ())
    plan.add("I", "SETID", (), (uid, gid))
    plan.add("I", "CHDIR", ("root",), (cwd,), source="/process/cwd")
    plan.add("I", "VERIFY_CWD", source="/process/cwd")


def _filter(plan: Plan, bpf: Filter) -> None:
    code, flags, listener = bpf
    plan.source = "/linux/seccomp"
    if listener:
        plan.add("I", "SECCOMP", ("notify",), (code, flags | FLAG_NEW_LISTENER))
        plan.sync("I", send="notify")
        plan.add("H", "AGENT", ("notify",), listener)
    else:
        plan.add("I", "SECCOMP", (), (code, flags))
