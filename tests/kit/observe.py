"""Reads what the probe printed: mountinfo and status as data, and a form of it in which two runtimes can be compared.

`normal()` replaces what must differ between any two runs (mount ids, anonymous device numbers, pids, times, inode
numbers of namespaces) and keeps everything else.
"""

import re

SIGNAL_KEYS = ("SigQ", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt")
CAP_KEYS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
CAPS = """CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE""".split()


class Mount:
    """One line of mountinfo."""

    def __init__(self, line):
        left, right = line.split(" - ", 1)
        fields = left.split()
        self.id, self.parent = int(fields[0]), int(fields[1])
        self.device, self.root, self.point = fields[2], _unescape(fields[3]), _unescape(fields[4])
        self.options = set(fields[5].split(","))
        self.propagation = {field.split(":")[0] for field in fields[6:]} or {"private"}
        words = right.split(" ")
        self.type, self.source = words[0], _unescape(words[1])
        self.super_options = set(words[2].split(",")) if len(words) > 2 else set()

    def __repr__(self):
        return (f"{self.type} {self.source} root {self.root} on {self.point} {','.join(sorted(self.options))} "
                f"{','.join(sorted(self.propagation))} [{','.join(sorted(self.super_options))}]")


def _unescape(text):
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def mounts(seen):
    """All mounts the probe saw, in order."""
    return [Mount(line) for line in seen["mountinfo"].splitlines()]


def mount_at(seen, point):
    """The topmost mount at a path."""
    found = [mount for mount in mounts(seen) if mount.point == point]
    assert found, f"nothing is mounted at {point}:\n" + seen["mountinfo"]
    return found[-1]


def status(seen):
    """/proc/self/status as a dict."""
    return {key: value.strip() for key, _, value in (line.partition(":") for line in seen["status"].splitlines())}


def cap_mask(*names):
    """The mask of capabilities named with or without CAP_."""
    return sum(1 << CAPS.index(name.removeprefix("CAP_")) for name in names)


def caps(seen):
    """The five sets as integers: {"inh": .., "prm": .., "eff": .., "bnd": .., "amb": ..}."""
    lines = status(seen)
    return {key[3:].lower(): int(lines[key], 16) for key in CAP_KEYS}


def namespace_inodes(seen):
    return dict(seen["ns"].items())


# --- normalised

STATUS_THAT_DIFFERS = re.compile(r"Vm.*|Rss.*|.*ctxt_switches|SigQ|FDSize|Speculation.*|HugetlbPages|N?S?(pid|tgid|pgid|sid)|"
                                 r"Pid|PPid|Tgid|Ngid")
PLAIN = ("cwd", "umask", "uids", "gids", "groups", "env", "argv", "rlimits", "sched", "ioprio", "affinity", "mempolicy",
         "mempolicy_nodes", "hostname", "domainname", "machine", "personality", "nnp", "dumpable", "securebits",
         "pdeathsig", "subreaper", "oom_score_adj", "uid_map", "gid_map", "setgroups", "winsize", "ctty",
         "timens_offsets")
TOKEN = re.compile(r"pyrunc-test-\w+(-\d+)?")


def normal(seen):
    """{path: value} of everything that two runs of one bundle, or two runtimes, should have in common."""
    flat = {f"status.{key}": value for key, value in status(seen).items() if not STATUS_THAT_DIFFERS.fullmatch(key)}
    flat.update(_normal_mounts(seen))
    for line in seen["limits"].splitlines()[1:]:
        name, *rest = re.split(r"\s{2,}", line.strip())
        flat[f"limits.{name}"] = rest
    flat.update({key: seen[key] for key in PLAIN})
    flat.update({key: value for key, value in seen.items() if key.startswith("sysctl.")})
    flat.update({key: seen[key] if seen[key] < 2 else "some other pid" for key in ("pid", "ppid", "sid", "pgid")})
    flat["keyring"] = TOKEN.sub("TOKEN", seen["keyring_description"].rpartition(";")[2])
    flat.update({f"fds.{fd}": _normal_fd(facts) for fd, facts in seen["fds"].items()})
    for name in ("dev", "top"):
        for entry, facts in seen[name].items():
            flat[f"{name}.{entry}"] = [facts[key] for key in ("type", "mode", "uid", "gid", "rdev", "link")]
    return flat


def _normal_mounts(seen):
    """Mounts by point, in the order of the tree; ids become the parent's point, anonymous device numbers the point
    where the device appears first.

    The kernel lists mounts in the order they were *made*, detached ones too, so the listing's own order tells when a
    runtime opened its sources and nothing about the tree.
    """
    points = {mount.id: mount.point for mount in mounts(seen)}
    lines, devices, flat, stacked = _in_tree_order(mounts(seen)), {}, {}, {}
    flat["mounts"] = [mount.point for mount in lines]
    for mount in lines:
        major, minor = mount.device.split(":")
        name = f"mount.{mount.point}"
        stacked[name] = stacked.get(name, 0) + 1
        if stacked[name] > 1:
            name += f"#{stacked[name]}"
        flat[f"{name} parent"] = points.get(mount.parent, "outside")
        flat[f"{name} device"] = mount.device if major != "0" else f"of {devices.setdefault(minor, name[6:])}"
        flat[f"{name} root"] = TOKEN.sub("TOKEN", mount.root)
        flat[f"{name} options"] = sorted(mount.options)
        flat[f"{name} propagation"] = sorted(mount.propagation)
        flat[f"{name} type"] = mount.type
        flat[f"{name} source"] = TOKEN.sub("TOKEN", mount.source)
        flat[f"{name} super"] = sorted(mount.super_options)
    return flat


def _in_tree_order(lines):
    """Depth first; children by mount point."""
    children = {}
    known = {mount.id for mount in lines}
    for mount in lines:
        children.setdefault(mount.parent if mount.parent in known else None, []).append(mount)
    ordered, rest = [], sorted(children.get(None, []), key=lambda mount: mount.point, reverse=True)
    while rest:
        mount = rest.pop()
        ordered.append(mount)
        rest.extend(sorted(children.get(mount.id, []), key=lambda mount: mount.point, reverse=True))
    return ordered


def _normal_fd(facts):
    link = TOKEN.sub("TOKEN", re.sub(r"\[\d+\]", "[N]", facts["link"]))
    return [re.sub(r"TOKEN/.*", "TOKEN", link), *(facts[key] for key in ("type", "rdev", "flags", "cloexec", "uid"))]
