"""`features`: what this runtime knows, as features.md has it. The booleans mean pyrunc, not this host;
what of seccomp works depends on the libseccomp and the kernel that are there."""

from __future__ import annotations

from .. import OCI_VERSION, __version__, log
from ..config import mountopts, names
from ..jsonio import dumps
from ..seccomp import features as seccomp
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from ..args import Globals

USAGE = "features"
ARGS = (0, 0)
OPTIONS = ()


def run(globals_: Globals, options: object, args: list[str]) -> int:
    log.out(dumps(features(), indent=4) + "\n")
    return 0


def features() -> dict[str, object]:
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": list(names.HOOKS),
        "mountOptions": mountopts.NAMES,
        "linux": {
            "namespaces": sorted(names.NAMESPACES),
            "capabilities": list(names.CAPABILITIES),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
            "seccomp": seccomp.describe(),
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
            "memoryPolicy": {"modes": sorted(names.MEMORY_POLICIES), "flags": sorted(names.MEMORY_POLICY_FLAGS)},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        "annotations": {"io.pyrunc.version": __version__, **seccomp.version_annotation()},
        "potentiallyUnsafeConfigAnnotations": ["org.systemd.property.", "run.oci.keep_original_groups"],
    }
