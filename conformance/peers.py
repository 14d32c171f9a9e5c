"""The runtimes that are compared, by name: where each is, and what it needs to work at all.

pyrunc runs as it is. The peers get what keeps their column from being empty, and no more: crun and youki refuse hybrid
cgroups, so the cgroup2 side is hidden from them; crun before 1.20 refuses ociVersion 1.3.0, so it is told 1.0.2.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
BUILD = REPOSITORY / "build/conformance"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
VERSION_SHIM = """#!/bin/sh
# %(binary)s refuses a config.json of version 1.3.0
previous=
for argument; do
    case $previous in --bundle|-b) sed -i 's/"ociVersion": *"1\\.[1-9][^"]*"/"ociVersion": "1.0.2"/' "$argument/config.json" ;; esac
    previous=$argument
done
exec %(binary)s "$@"
"""


class Peer:
    """A runtime: its name in the tables, its executable, and whether the cgroup2 side of a hybrid host is hidden from it."""

    def __init__(self, name, binary, hide_hybrid):
        self.name, self.hide = name, hide_hybrid
        self.binary = _with_old_version(binary) if name == "crun" and _old_crun(binary) else str(binary)


def find(names):
    """[Peer] for the names that are there; a missing one is said on stderr."""
    found = []
    for name in names:
        binary = _where(name)
        if binary is None:
            print(f"{name}: not found, left out", flush=True)
        else:
            found.append(Peer(name, binary, name in ("crun", "youki")))
    return found


def _where(name):
    here = {"pyrunc": os.environ.get("PYRUNC") or REPOSITORY / "build/venv/bin/pyrunc",
            "runc": os.environ.get("RUNC_NEW") or REPOSITORY / "build/bin/runc-1.5.2",
            "youki": os.environ.get("YOUKI") or REPOSITORY / "build/bin/youki"}.get(name, name)
    return shutil.which(here, path=PATH)


def _old_crun(binary):
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"crun version (\d+)\.(\d+)", said)
    return version is not None and (int(version[1]), int(version[2])) < (1, 20)


def _with_old_version(binary):
    BUILD.mkdir(parents=True, exist_ok=True)
    shim = BUILD / "crun-as-1.0.2"
    shim.write_text(VERSION_SHIM % {"binary": binary})
    shim.chmod(0o755)
    return str(shim)
