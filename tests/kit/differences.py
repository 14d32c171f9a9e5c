"""How pyrunc may differ from runc: ALLOWED, each entry of which names its row in docs/differences.md.

The views compared are flat ({path: value}, see kit.observe.normal); a view of an exec'd process has the prefix `exec.`.
Called by tests/root/test_differential.py (chosen bundles) and conformance/differential (generated ones).
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs/differences.md"


@dataclass
class Difference:
    """One property that two runtimes show differently; peer is "runc" (Debian's 1.1) or "runc-new" (1.5)."""

    peer: str
    config: dict
    key: str
    theirs: object
    ours: object
    said: str = ""      # by the peer, where it failed

    def __str__(self):
        return f"{self.key}:\n    {self.peer}: {self.theirs}\n    ours: {self.ours}"


class Allowed:
    """A deliberate difference: its row, of which keys (of an exec'd process too), against which peer, of what kind."""

    def __init__(self, row, key, peer=".*", when=lambda difference: True):
        self.row, self.key, self.peer, self.when = row, re.compile(rf"(exec\.)?({key})"), re.compile(peer), when

    def covers(self, difference):
        return bool(self.key.fullmatch(re.sub(r"^exec\.\d+\.", "exec.", difference.key)) and self.peer.fullmatch(difference.peer) and self.when(difference))


def only_nofollow(d):
    return (d.theirs[:3] + d.theirs[4:] == d.ours[:3] + d.ours[4:]
            and d.theirs[3] | os.O_NOFOLLOW == d.ours[3] | os.O_NOFOLLOW)


def option_more(*options):
    """runc 1.1 lacks these super options."""
    return lambda d: set(d.ours) - set(d.theirs) == set(options)


def mode_given(d):
    return any(option.startswith("mode=") for mount in d.config["mounts"] for option in mount.get("options", ()))


def twice(d):
    ours, theirs = (value.split() if isinstance(value, str) else value for value in (d.ours, d.theirs))
    return set(theirs) == set(ours) and len(theirs) > len(ours)


def wildcard_denied(config):
    return any(not rule["allow"] and -1 in (rule.get("major", -1), rule.get("minor", -1))
               for rule in config["linux"]["resources"]["devices"])


def plain_bind(mount):
    return "bind" in mount.get("options", ())


ATIMES = {"noatime", "relatime", "strictatime", "atime", "norelatime", "nostrictatime"}
DEFAULT_NODES = ("/dev/null", "/dev/tty")
UNLIMITED = "9223372036854771712"  # 2^63 rounded down to a huge page
ALLOWED = [
    Allowed("signals ignored by the caller", r"status\.SigIgn", when=lambda d: int(d.ours, 16) == 0),
    Allowed("capabilities absent", r"status\.Cap(Bnd|Eff|Prm)", peer="runc-new",
            when=lambda d: "capabilities" not in d.config["process"] and int(d.ours, 16) == 0),
    Allowed("a capability that the runtime itself has not", r"verb (create|run)",
            when=lambda d: d.ours[1] is None and "apply caps" in d.said),
    Allowed("failing poststop hook", r"verb (delete|run)", when=lambda d: d.ours[1] is None and "poststop hook" in d.said),
    Allowed("poststop hooks of a create that is refused before anything is made", r"hook\.poststop\.\d\.\w+",
            when=lambda d: d.ours == "absent" and re.search("(create|run) failed", d.said)),
    Allowed("mounts below a recursive bind, with rootfsPropagation private", r"mount\..* propagation", when=lambda d: d.ours == ["private"]
            and d.config["linux"].get("rootfsPropagation") == "private"),
    Allowed("ro of a cgroup mount on v1", r"mount\./sys/fs/cgroup options", peer="runc-new",
            when=lambda d: set(d.theirs) ^ set(d.ours) == {"ro", "rw"} and "ro" in d.ours),
    Allowed("the container's /dev/null as stdio", r"fds\.[012]", when=only_nofollow),
    Allowed("stdio in the foreground without terminal", r"fds\.0",
            when=lambda d: d.theirs[0] == "pipe:[N]" and d.ours[0] == "/dev/null"),
    Allowed("owner of that stdio", r"fds\.[12]", when=lambda d: d.theirs[0] == "pipe:[N]"
            and d.ours[0] == "/tmp/TOKEN" and d.ours[5] in (d.theirs[5], 65534)),
    Allowed("state of a stopped container", r"state \w+\.exit", when=lambda d: d.theirs == "absent"),
    Allowed("hybrid hosts", r"limit\.hugetlb\..*", when=lambda d: d.theirs == "absent" and d.ours == UNLIMITED),
    Allowed("hybrid hosts", r"group\.", when=lambda d: not (d.config["linux"].get("cgroupsPath") or "").startswith("/")),
    Allowed("cgroups above the container's", "left behind", when=lambda d: d.ours == [] and all(
        line.startswith("cgroup ") for line in d.theirs)),
    Allowed("a group twice in exec", r"exec\.(groups|status\.Groups)", peer="runc-new", when=twice),
    Allowed("hooks without env", r"hook\.(prestart|createRuntime|poststart|poststop)\.\d\.env",
            when=lambda d: d.ours == [] and "PATH" in d.theirs[0]),
    Allowed("umask above 0777", r"verb (create|run)",
            when=lambda d: d.ours[0] == 1 and d.config["process"].get("user", {}).get("umask", 0) > 0o777),
    Allowed("startContainer hooks without env", r"hook\.startContainer\.\d\.env",
            when=lambda d: d.theirs[-1].startswith("HOME=") and d.ours in ([], d.theirs[:-1])),
    Allowed("startContainer hook or execve fails", r"verb (start|run)", when=lambda d: d.ours[0] == 1 and d.theirs[1] is None
            and any(hook["path"] in ("/none", "/bin/false") for hook in d.config["hooks"]["startContainer"])),
    Allowed("device rule of a default node that the config lists", r"verb (create|run)|try\.device:.*", when=lambda d: any(
        device["path"] in DEFAULT_NODES for device in d.config["linux"].get("devices", ()))),
    Allowed("read-only tmpfs", r"mount\..* options|try\..*|verb (create|run)", when=lambda d: any(
        mount.get("type") == "tmpfs" and "ro" in mount.get("options", ()) for mount in d.config["mounts"])
        and not (d.key.startswith("verb") and (d.ours[1] or "MS_REMOUNT" not in d.said))),
    Allowed("status that prestart, createRuntime, createContainer hooks are told",
            r"hook\.(prestart|createRuntime|createContainer)\.\d\.stdin",
            when=lambda d: {**d.theirs, "status": "created"} == d.ours),
    Allowed("limits of createContainer hooks", r"hook\.createContainer\.\d\.rlimits"),
    Allowed("poststart hooks", r"hook\.poststart\.\d\.\w+|verb (create|run|start)", peer="runc-new",
            when=lambda d: d.key.startswith("hook") or "poststart hook" in d.said),
    Allowed("contradictory access times", r"mount\..* options", when=lambda d: set(d.ours) ^ set(d.theirs) <= ATIMES
            and any(len(ATIMES & set(mount.get("options", ()))) > 1 for mount in d.config["mounts"])),
    Allowed("descriptors of hooks", r"hook\.createContainer\.\d\.fds", when=lambda d: set(d.ours) <= set(d.theirs)),
    Allowed("deny of devices wider than an allow", r"try\.device:.*", when=lambda d: d.theirs["rc"] == 0 and d.ours["rc"] == -1
            and wildcard_denied(d.config)),
    Allowed("bind, not recursive, into a user namespace", r"verb (create|run)", when=lambda d: d.ours[1] is None
            and "invalid argument" in d.said and any(plain_bind(mount) for mount in d.config["mounts"])
            and any(entry["type"] == "user" for entry in d.config["linux"]["namespaces"])),
    Allowed("masked directories", r"mount\..* super", peer="runc", when=option_more("nr_inodes=1", "size=4k")),
    Allowed("masked directories", r"mount\..* device", peer="runc"),
    Allowed("mode of a tmpfs", r"mount\./(mnt|data)(#2)? super", peer="runc", when=option_more("mode=755")),
    Allowed("mode of a tmpfs", r"top\.mnt", peer="runc", when=mode_given),
    Allowed("rootfsPropagation shared", r"mount\..* propagation", peer="runc",
            when=lambda d: d.config["linux"].get("rootfsPropagation") in ("shared", "rshared")),
    Allowed("/dev/mqueue in a user namespace", r"dev\.mqueue", when=lambda d: d.theirs[3] == 65534 and d.ours[3] == 0),
    Allowed("order of variables", r"env|hook\.startContainer\.\d\.env", peer="runc-new", when=lambda d: sorted(d.theirs) == sorted(d.ours)),
]


def unexplained(peer, config, theirs, ours, said=""):
    """Every difference of two views that ALLOWED does not cover; said: the peer's errors."""
    found = [Difference(peer, config, key, theirs.get(key, "absent"), ours.get(key, "absent"), said)
             for key in sorted(theirs.keys() | ours.keys()) if theirs.get(key, "absent") != ours.get(key, "absent")]
    return [difference for difference in found if not any(entry.covers(difference) for entry in ALLOWED)]


def documented():
    """The first column of the table in docs/differences.md, without markup."""
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("|")]
    return {line.split("|")[1].strip().replace("`", "") for line in lines[2:]}
