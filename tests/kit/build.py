"""Compiles the static helpers once per source text, into the build directory beside the sources' tree.

Keyed by a hash, so that an edited helper is rebuilt and two
test processes never write the same file half-way: the finished binary is renamed into place.
"""

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent.parent / "build" / "kit"
FLAGS = ("-O1", "-std=gnu11", "-Wall", "-Wextra", "-static")
_done = {}


def helper(name):
    """Path of the compiled static helper `name` (probe, hunt, flip)."""
    if name not in _done:
        _done[name] = _compile(HERE / f"{name}.c")
    return _done[name]


def _compile(source):
    key = hashlib.sha256(source.read_bytes() + repr(FLAGS).encode()).hexdigest()[:16]
    binary = CACHE / f"{source.stem}-{key}"
    if binary.exists():
        return binary
    CACHE.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(dir=CACHE)
    os.close(handle)
    subprocess.run([os.environ.get("CC", "gcc"), *FLAGS, "-o", unfinished, str(source)], check=True)
    os.chmod(unfinished, 0o755)
    os.rename(unfinished, binary)
    return binary
