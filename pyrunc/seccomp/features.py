"""What the `features` command says about seccomp."""

from __future__ import annotations

from pyrunc import kernel_seccomp
from pyrunc.config.names import SECCOMP_ACTIONS, SECCOMP_ARCHS, SECCOMP_FLAGS, SECCOMP_OPERATORS



def version() -> tuple[int, int, int] | None:
    """libseccomp's version as (major, minor, micro), None where it is not installed."""
    try:
        return kernel_seccomp.version()
    except OSError:
        return None


def version_annotation() -> dict[str, str]:
    """Its version under the name that runc has for it."""
    found = version()
    return {"io.github.seccomp.libseccomp.version": ".".join([str(part) for part in found])} if found else {}


def describe() -> dict[str, object]:
    """linux.seccomp of the features document (features-linux.md#seccomp)."""
    if version() is None:
        return {"enabled": False}
    return {
        "enabled": True,
        "actions": sorted(SECCOMP_ACTIONS),
        "operators": sorted(SECCOMP_OPERATORS),
        "archs": sorted(name for name, token in SECCOMP_ARCHS.items() if kernel_seccomp.arch_token(token)),
        "knownFlags": sorted(SECCOMP_FLAGS),
        "supportedFlags": sorted(name for name, bit in SECCOMP_FLAGS.items() if kernel_seccomp.flags_supported(bit)),
    }
