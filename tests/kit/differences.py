"""How pyrunc may differ from runc: ALLOWED, each of which names its entry in docs/differences.md.

The views compared are flat ({path: value}, see kit.observe.normal); a view of an exec'd process has the prefix `exec.`.
tests/root/test_differential.py compares chosen bundles, conformance/differential generated ones.
"""

import errno
import os
import re
import resource
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
    case: object = None  # of conformance/differential: what was done

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


def peer_failed(d, *words):
    """The verb failed under the peer, whose words say why; ours went on, if need be to capabilities that cannot be had."""
    sets = d.config.get("process", {}).get("capabilities", {})
    beyond = set(sets.get("ambient", ())) - set(sets.get("permitted", ())) & set(sets.get("inheritable", ()))
    return (d.ours[1] is None or beyond and d.ours == [1, "denied"]) and all(word in d.said for word in words)


def user_namespace(d):
    return any(entry["type"] == "user" for entry in d.config["linux"]["namespaces"])


def cgroup_atime(d):
    """Asked for, and shown by ours; the peer has the kernel's way with them."""
    asked = {option for mount in d.config["mounts"] if mount["destination"] == "/sys/fs/cgroup" for option in mount.get("options", ())}
    return set(d.theirs) - {"relatime"} == set(d.ours) - {"relatime", "noatime", "nodiratime"} and bool(asked & {*ATIMES, "nodiratime"})


# --- files and limits

def callers_null(d):
    return d.theirs[0] == "pipe:[N]" and d.ours[:3] == ["/dev/null", "char", "1:3"] and d.ours[4] == 0


def hooks_limits(d):
    """Ours are this process's; the peer's too, but MEMLOCK, which it lifts on cgroup2 to load a filter; of createContainer
    hooks the container's stand over them."""
    if "absent" in (d.theirs, d.ours):
        return False
    peers = {**d.theirs, **({"MEMLOCK": d.ours["MEMLOCK"]} if d.theirs["MEMLOCK"] == [-1, -1] else {})}
    changed = Difference(d.peer, {"process": d.config["process"] if "createContainer" in d.key else {}}, d.key, peers, d.ours)
    return callers_limits(changed)


def callers_limits(d):
    """Ours are this process's; the peer's those and, over them, the container's."""
    own = {name: list(resource.prlimit(0, number)) for name, number in LIMITS.items() if name in d.ours}
    wanted = {limit["type"].removeprefix("RLIMIT_"): [limit["soft"], limit["hard"]] for limit in d.config["process"].get("rlimits", ())}
    return d.ours == own and d.theirs == {**own, **wanted}


# --- devices

def node_of(d):
    """What a try.device attempts: its numbers as in a rule."""
    kind, major, minor, _ = d.key.rpartition(":")[2].split(",")
    return {"type": kind, "major": int(major), "minor": int(minor)}


def listed_default_node(d):
    """A default node that the config lists may be used, and the peer is refused it (or cannot start without)."""
    listed = [path for path in (device["path"] for device in d.config["linux"].get("devices", ())) if path in DEFAULT_NODES]
    if d.key.startswith("verb"):
        return any(peer_failed(d, f"{path}: operation not permitted") for path in listed)
    return node_of(d) in [{"type": "c", "major": 1, "minor": DEFAULT_NODES[path]} for path in listed] and (
        d.theirs["errno"] == errno.EPERM != d.ours["errno"])


def wider_deny(d):
    """This very node is allowed by one rule and denied by a wider one after it: ours is refused."""
    node, allowed = node_of(d), False
    for rule in d.config["linux"]["resources"]["devices"]:
        covers = rule.get("type") == node["type"] and all(rule.get(part, -1) in (-1, node[part]) for part in ("major", "minor"))
        if covers and not rule["allow"] and -1 in (rule.get("major", -1), rule.get("minor", -1)) and allowed:
            return d.theirs["rc"] == 0 and (d.ours["rc"], d.ours["errno"]) == (-1, errno.EPERM)
        allowed = rule["allow"] if covers else allowed
    return False


# --- mounts

def point_of(d):
    """(path, which of those mounted there: 0 is the lowest) of a difference about a mount."""
    path, _, number = d.key.partition("mount.")[2].rpartition(" ")[0].partition("#")
    return path, int(number or 1) - 1


def destination(d, entry):
    """Where a mount comes to lie: links of the image are followed."""
    path = os.path.normpath(entry["destination"])
    for link, (kind, *how) in (d.case.rootfs if d.case else {}).items():
        if kind == "link" and path.startswith(link + "/"):
            path = os.path.normpath(os.path.join(os.path.dirname(link), how[0]) + path[len(link):])
    return path


def entries_at(d, path):
    return [entry for entry in d.config["mounts"] if destination(d, entry) == path]


def access_times(d):
    """Of a mount with several words about access times ours has the last one's; nothing else differs."""
    path, number = point_of(d)
    if path in d.config["linux"].get("maskedPaths", ()):  # covered by /dev/null, if it is a file
        path, number = "/dev", 0
    words = [ATIMES.get(option) for option in (entries_at(d, path)[number:] or [{}])[0].get("options", ()) if option in ATIMES]
    shown = {"noatime", "relatime"}
    return len(words) > 1 and set(d.ours) ^ set(d.theirs) <= shown and set(d.ours) & shown == {words[-1]} - {None}


def read_only_tmpfs(d):
    """The tmpfs itself is read-only where the peer made what covers it so, or could not find it."""
    for number, entry in enumerate(d.config["mounts"]):
        options, path = entry.get("options", ()), destination(d, entry)
        over = [later for later in d.config["mounts"][number + 1:] if (path + "/").startswith(destination(d, later) + "/")]
        indirect = os.path.normpath(entry["destination"]) != entry["destination"]  # the peer remounts it by a path that need not exist
        if entry.get("type") != "tmpfs" or "ro" not in options or not (over or indirect):
            continue
        if d.key.startswith("verb") and peer_failed(d, "MS_REMOUNT", entry["destination"]):
            return True
        if d.key.startswith("try.") and (d.key.partition(":")[2] + "/").startswith(path + "/") and d.theirs["errno"] == errno.EROFS != d.ours["errno"]:
            return True
        if d.key.startswith("mount.") and point_of(d)[0] == path:
            at = entries_at(d, path)
            itself = at[point_of(d)[1]:][:1] == [entry]
            if set(d.ours) - {"ro"} == set(d.theirs) - {"rw"} if itself else "ro" in d.theirs and "ro" not in d.ours:
                return True
    return False


def bind_beside_the_root(d):
    """A bind from the mount that the root lies on, which says nothing about propagation itself; ours follows the host."""
    path, number = point_of(d)
    entry = (entries_at(d, path)[number:] or [{}])[0]
    words, source = set(entry.get("options", ())), entry.get("source", "")
    return (d.config["linux"].get("rootfsPropagation", "") not in ("private", "rprivate", "slave", "rslave")
            and words & {"bind", "rbind"} != set() and not words & PROPAGATION and source in BESIDE
            and (d.theirs, d.ours) == (["private"], ["master"]))


def onto_another_procfs(d):
    """Something mounted on, or below, a procfs that is not at /proc: refused."""
    others = [(number, destination(d, entry)) for number, entry in enumerate(d.config["mounts"]) if entry.get("type") == "proc"]
    return d.theirs[1] is None and d.ours == [1, "other"] and any(
        path != "/proc" and (destination(d, later) + "/").startswith(path + "/")
        for number, path in others for later in d.config["mounts"][number + 1:])


def bind_over_mounts(d):
    """A plain bind of a directory with a mount below it, which the peer's error names."""
    return user_namespace(d) and any(
        "bind" in mount.get("options", ()) and mount["source"] == "{source}"
        and peer_failed(d, "invalid argument", f'at "{mount["destination"]}"') for mount in d.config["mounts"])


def sysfs_of_another_network(d):
    new = {entry["type"] for entry in d.config["linux"]["namespaces"] if "path" not in entry}
    return user_namespace(d) and not {"user", "network"} <= new and peer_failed(d, 'mounting "sysfs" to rootfs', "operation not permitted")


def may_not_fork(d):
    return d.config["process"].get("scheduler", {}).get("policy") == "SCHED_DEADLINE"


# --- exec

def process_of(d):
    """The process.json of an exec, {} if it was given none."""
    return d.case.execs[int(d.key.split(".")[1])].process if d.case else {}


def said_by_file(d):
    """What a process.json says about itself ours has; the peer the container's or, where that says nothing, its own default."""
    process = process_of(d)
    if d.key.endswith("oom_score_adj"):
        return d.ours.strip() == str(process.get("oomScoreAdj"))
    umask = process.get("user", {}).get("umask")
    return umask is not None and (d.ours if isinstance(d.ours, int) else int(d.ours, 8)) == umask


def containers_limits(d):
    """A process.json without rlimits: ours are the container's, where the peer has the caller's."""
    swapped = Difference(d.peer, d.config, d.key, d.ours, d.theirs)
    return process_of(d) != {} and not process_of(d).get("rlimits") and callers_limits(swapped)


def call_of(d):
    """The call whose verb this is: of create and run the case's options, else an exec's."""
    number = d.key.partition("exec")[2]
    return d.case.execs[int(number)] if number.isdigit() else d.case


def umask_too_wide(d):
    execd = d.key.startswith("verb exec")
    process = call_of(d).process if execd else d.config["process"]
    return process.get("user", {}).get("umask", 0) > 0o777 and d.theirs[1] is None and d.ours == [255 if execd else 1, "other"]


def not_open(d):
    """More descriptors are to be kept than the caller has open."""
    if not d.case or "--preserve-fds" not in call_of(d).options:
        return False
    wanted = int(call_of(d).options[call_of(d).options.index("--preserve-fds") + 1])
    return wanted > call_of(d).open and d.ours == [255 if d.key.startswith("verb exec") else 1, "other"]


# --- groups and hooks

def beside_the_caller(d):
    """A relative path begins beside the caller's group in the cgroup2 tree too, and not at its root."""
    own = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    relative = not (d.config["linux"].get("cgroupsPath") or "").startswith("/")
    return relative and d.theirs.startswith("/NAME") and d.ours == os.path.dirname(own[3:]) + d.theirs


def poststart(d):
    """By `start`, when the process runs: so never, if it is not started, and with another status."""
    if d.key.startswith("verb"):
        return peer_failed(d, "poststart hook")
    if d.key.endswith("cwd") and d.ours != "absent":  # create goes to its bundle; where start was called
        return (d.theirs, d.ours) == ("/tmp/TOKEN/NAME", "/tmp/TOKEN")
    return d.ours == "absent" or d.key.endswith("stdin") and d.ours == {**d.theirs, "status": "running"}


ATIMES = {"noatime": "noatime", "relatime": "relatime", "strictatime": None, "atime": "relatime", "norelatime": "relatime",
          "nostrictatime": "relatime"}
DEFAULT_NODES = {"/dev/null": 3, "/dev/zero": 5, "/dev/full": 7, "/dev/random": 8, "/dev/urandom": 9}  # the minor numbers; major 1
PROPAGATION = {recursive + word for word in ("private", "shared", "slave", "unbindable") for recursive in ("", "r")}
BESIDE = ("{source}", "{source}/file", "{source}/empty", "{out}", "rootfs/tmp")  # of a case, on the mount of its bundle
LIMITS = {name.removeprefix("RLIMIT_"): number for name, number in vars(resource).items() if name.startswith("RLIMIT_")} | {"LOCKS": 10}
HOOK_FDS = ["0", "1", "2", "999"]  # the last is the probe's
UNLIMITED = "9223372036854771712"  # 2^63 rounded down to a huge page
ALLOWED = [
    Allowed("signals ignored by the caller", r"status\.SigIgn", when=lambda d: int(d.ours, 16) == 0),
    Allowed("capabilities absent", r"status\.Cap(Bnd|Eff|Prm)", peer="runc-new",
            when=lambda d: "capabilities" not in d.config["process"] and int(d.ours, 16) == 0),
    Allowed("a capability that the runtime itself does not have", r"verb (create|run|exec\d)",
            when=lambda d: d.ours[1] is None and "apply caps" in d.said),
    Allowed("a capability that the runtime itself does not have", r"exec\.\d\.winsize",  # the peer fails before the terminal has a size
            when=lambda d: d.theirs == [0, 0] and "apply caps" in d.said),
    Allowed("a seccomp agent where the capabilities of a process cannot be had", r"agent\.\d.*",
            when=lambda d: d.ours == "absent" and "apply caps" in d.said),
    Allowed("failing poststop hook", r"verb (delete|run)", when=lambda d: d.ours[1] is None and "poststop hook" in d.said),
    Allowed("poststop hooks of a create that is refused before anything is made", r"hook\.poststop\.\d\.\w+",
            when=lambda d: d.ours == "absent" and re.search("(create|run) failed", d.said)),
    Allowed("mounts below a recursive bind, with rootfsPropagation private", r"mount\..* propagation", when=lambda d: d.ours == ["private"]
            and d.config["linux"].get("rootfsPropagation") == "private"),
    Allowed("access times of a cgroup mount on v1", r"mount\./sys/fs/cgroup(/\w+)? options", when=cgroup_atime),
    Allowed("ro of a cgroup mount on v1", r"mount\./sys/fs/cgroup options", peer="runc-new",
            when=lambda d: set(d.theirs) ^ set(d.ours) == {"ro", "rw"} and "ro" in d.ours),
    Allowed("the container's /dev/null as stdio", r"fds\.[012]", when=only_nofollow),
    Allowed("stdio in the foreground without terminal", r"fds\.0", when=callers_null),
    Allowed("state of a stopped container", r"state \w+\.exit", when=lambda d: d.theirs == "absent"),
    Allowed("hybrid hosts", r"(update\d\.)?limit\.hugetlb\..*", when=lambda d: d.theirs == "absent" and d.ours == UNLIMITED),
    Allowed("hybrid hosts", r"group\.", when=beside_the_caller),
    Allowed("cgroups above the container's", "left behind", when=lambda d: d.ours == [] and all(
        line.startswith("cgroup ") for line in d.theirs)),
    Allowed("a group twice in exec", r"exec\.(groups|status\.Groups)", peer="runc-new", when=twice),
    Allowed("createContainer hooks without env", r"hook\.createContainer\.\d\.env",
            when=lambda d: d.theirs == [] and any(entry.startswith("PATH=") for entry in d.ours)),
    Allowed("umask above 0777", r"verb (create|run|exec\d)", when=umask_too_wide),
    Allowed("exec in a container at its pids limit", r"verb exec\d", when=lambda d: d.theirs[1] is None and d.ours == [255, "other"]
            and d.config["linux"]["resources"].get("pids", {}).get("limit") == 0),
    Allowed("startContainer hooks whose env is empty", r"hook\.startContainer\.\d\.env", when=lambda d: d.theirs and d.ours == []),
    Allowed("startContainer hook or execve fails", r"verb (start|run)", when=lambda d: d.ours[0] == 1 and d.theirs[1] is None
            and any(hook["path"] in ("/none", "/bin/false") or may_not_fork(d) for hook in d.config.get("hooks", {}).get("startContainer", ()))),
    Allowed("device rule of a default node that the config lists", r"verb (create|run)|try\.device:.*", when=listed_default_node),
    Allowed("read-only tmpfs", r"mount\..* options|try\..*|verb (create|run)", when=read_only_tmpfs),
    Allowed("status that prestart, createRuntime, createContainer hooks are told",
            r"hook\.(prestart|createRuntime|createContainer)\.\d\.stdin",
            when=lambda d: {**d.theirs, "status": "created"} == d.ours),
    Allowed("limits of hooks", r"hook\.\w+\.\d\.rlimits", when=hooks_limits),
    Allowed("poststart hooks", r"hook\.poststart\.\d\.\w+|verb (create|run|start)", peer="runc-new", when=poststart),
    Allowed("contradictory access times", r"mount\..* options", when=access_times),
    Allowed("descriptors of hooks", r"hook\.createContainer\.\d\.fds", when=lambda d: d.ours == HOOK_FDS and set(d.theirs) > set(HOOK_FDS)),
    Allowed("deny of devices wider than an allow", r"try\.device:.*", when=wider_deny),
    Allowed("bind, not recursive, into a user namespace", r"verb (create|run)", when=bind_over_mounts),
    Allowed("fresh sysfs refused in a user namespace (no network namespace of its own, or the caller's /sys is partly covered)",
            r"verb (create|run)", when=sysfs_of_another_network),
    Allowed("bind from the mount that the bundle lies on, where that is shared", r"mount\..* propagation", when=bind_beside_the_root),
    Allowed("bind over /proc from something that is no procfs; a mount led into /proc by a link, or onto another procfs", r"verb (create|run)",
            when=onto_another_procfs),
    Allowed("umask and oomScoreAdj of exec --process", r"exec\.(umask|status\.Umask|oom_score_adj)", when=said_by_file),
    Allowed("exec --process without rlimits", r"exec\.rlimits", when=containers_limits),
    Allowed("--preserve-fds of descriptors that are not open", r"verb (create|run|exec\d)", when=not_open),
    Allowed("masked directories", r"mount\..* super", peer="runc", when=option_more("nr_inodes=1", "size=4k")),
    Allowed("masked directories", r"mount\..* device", peer="runc"),
    Allowed("mode of a tmpfs", r"mount\./(mnt|data)(#2)? super", peer="runc", when=option_more("mode=755")),
    Allowed("mode of a tmpfs", r"top\.mnt", peer="runc", when=mode_given),
    Allowed("rootfsPropagation shared", r"mount\..* propagation", peer="runc",
            when=lambda d: d.config["linux"].get("rootfsPropagation") in ("shared", "rshared")),
    Allowed("/dev/mqueue in a user namespace", r"dev\.mqueue", when=lambda d: d.theirs[3] == 65534 and d.ours[3] == 0),
    Allowed("order of variables", r"env|hook\.startContainer\.\d\.env", peer="runc-new", when=lambda d: sorted(d.theirs) == sorted(d.ours)),
]


def unexplained(peer, config, theirs, ours, said="", case=None):
    """Every difference of two views that ALLOWED does not cover; said: the peer's errors."""
    found = [Difference(peer, config, key, theirs.get(key, "absent"), ours.get(key, "absent"), said, case)
             for key in sorted(theirs.keys() | ours.keys()) if theirs.get(key, "absent") != ours.get(key, "absent")]
    return [difference for difference in found if not any(entry.covers(difference) for entry in ALLOWED)]


def documented():
    """What the entries in docs/differences.md are called, without markup."""
    return {" ".join(name.replace("`", "").split()) for name in re.findall(r"^\* \*\*(.+?)\*\*", DOCUMENT.read_text(), re.M | re.S)}
