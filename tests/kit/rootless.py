"""An ordinary user to run the runtime as, who leaves no trace: the account exists in a mount namespace of its own.

`User` holds that namespace, in which /etc/passwd, group, subuid and subgid know the account; `UserRuntime` is a Runtime whose
calls are the user's, with bundles and state that belong to the account. Both are fixtures of
tests/root/test_rootless.py.
"""

import copy
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from kit.bundle import chown_tree
from kit.runtime import Runtime

UID = 61000
SUBIDS = (400000, 65536)
NAME = "pyrunc-tester"


class User:
    """An account. `subids`: whether the account has a range of subordinate ids. `more`: root's shell commands in the namespace."""

    def __init__(self, subids=True, more=""):
        self.base = Path(tempfile.mkdtemp(prefix="ordinary-user-"))
        self.base.chmod(0o755)
        self.home = self.base / "home"
        self.home.mkdir()
        os.chown(self.home, UID, UID)
        lines = {"passwd": f"{NAME}:*:{UID}:{UID}::{self.home}:/bin/sh\n", "group": f"{NAME}:x:{UID}:\n"}
        lines.update(dict.fromkeys(("subuid", "subgid"), f"{NAME}:{SUBIDS[0]}:{SUBIDS[1]}\n" if subids else ""))
        script = ""
        for name, line in lines.items():
            path = Path("/etc") / name
            (self.base / name).write_text((path.read_text() if path.exists() else "") + line)
            script += f"mount --bind {self.base / name} {path}; "
        self.holder = subprocess.Popen(
            ["unshare", "-m", "sh", "-e", "-c", script + more + "\necho; exec sleep 100000"], stdout=subprocess.PIPE)
        assert self.holder.stdout.read(1) == b"\n", "no namespace for the user"

    def enter(self, cwd="/", cgroup=None):
        """What to put before a command so that the user runs it; `cgroup`: a directory of the tree to run it in."""
        move = ("sh", "-c", f'echo 0 >{cgroup}/cgroup.procs && exec "$@"', "sh") if cgroup else ()
        return (*move, "nsenter", "-m", "-t", str(self.holder.pid), "--", "env", "-C", str(cwd),
                "setpriv", "--reuid", str(UID), "--regid", str(UID), "--init-groups", "--")

    def run(self, *argv, **how):
        return subprocess.run([*self.enter(), *map(str, argv)], capture_output=True, text=True, check=False, **how)

    def close(self):
        self.holder.kill()
        self.holder.wait()
        shutil.rmtree(self.base)


class UserRuntime(Runtime):
    """Every call is the user's."""

    def __init__(self, binary, user):
        super().__init__(binary)
        self.user, self.cgroup = user, None
        self.env.update(HOME=str(user.home), USER=NAME)
        for path in (self.base, self.root):
            os.chown(path, UID, UID)

    def spawn(self, *args, wrap=(), cwd=None, **how):
        return super().spawn(*args, wrap=(*self.user.enter(cwd or self.base, self.cgroup), *wrap), **how)

    def bundle(self, *config_patches, rootfs=None):
        bundle = super().bundle(rootless, *config_patches, rootfs=rootfs)
        chown_tree(bundle.path, UID, UID)
        return bundle


def ids(*ranges):
    """Mappings from (inside, outside, count)."""
    return [{"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in ranges]


OWN = ids((0, UID, 1))
SUBORDINATE = ids((0, *SUBIDS))
BOTH = ids((0, UID, 1), (1, *SUBIDS))


def maps(ranges):
    """A config patch: these mappings for uids and gids."""
    return {"linux": {"uidMappings": copy.deepcopy(ranges), "gidMappings": copy.deepcopy(ranges)}}


def rootless(config):
    """The base config, as an ordinary user can run it: the user's own id is root, no limits, wherever the runtime puts it."""
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"].update(uidMappings=copy.deepcopy(OWN), gidMappings=copy.deepcopy(OWN))
    config["mounts"][2]["options"].remove("gid=5")
    for key in ("resources", "cgroupsPath"):
        config["linux"].pop(key)
