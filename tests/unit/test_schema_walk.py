"""Every property of the schema is read by what makes containers, or is listed as ignored, with a reason that `validate` says.

A config that has every property is handed to the compiler, and to what reads the config beside it, as dicts that note
which of their keys are looked up.
"""

import copy
import json
from pathlib import Path

from pyrunc import facts, lifecycle
from pyrunc.commands import validate
from pyrunc.config import ignored, rules, schema_gen
from pyrunc.config.fault import View
from pyrunc.errors import Error
from pyrunc.host import hooks
from pyrunc.jsonio import dumps
from pyrunc.plan import create, device_rules, exec as exec_plan, explain, limits
from pyrunc.plan.request import Joining, Request
from pyrunc.seccomp import profile
from tests.plan.cases import HOOK, LIMITS, MAPS, base, unit

SCHEMA = json.loads((Path(__file__).parents[2] / "spec/config.schema.json").read_text())
REQUEST = {"cgroup": "c1", "gate": True}
EVERY_USER = {"uid": 0, "gid": 0, "umask": 1, "additionalGids": [1], "username": "u"}
RATE = [{"major": 8, "minor": 0, "rate": 1}]


def properties(node=SCHEMA, at=""):
    """JSON pointers of all properties, `*` for an item of an array and for a key that is free."""
    if "$ref" in node:
        node = SCHEMA["$defs"][node["$ref"].rsplit("/", 1)[1]]
    for name, below in node.get("properties", {}).items():
        yield f"{at}/{name}"
        yield from properties(below, f"{at}/{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from properties(node[key], f"{at}/*")
    assert not {"allOf", "anyOf", "oneOf", "patternProperties"} & node.keys(), f"{at}: the walk does not know this"


class Noting(dict):
    """A JSON object that notes in `read` which of its properties are looked up."""

    def __init__(self, value, at, read):
        super().__init__({key: noting(below, at, key, read) for key, below in value.items()})
        self.at, self.read = at, read

    def _note(self, key):
        self.read.add(f"{self.at}/{key}")

    def __getitem__(self, key):
        self._note(key)
        return super().__getitem__(key)

    def get(self, key, default=None):
        self._note(key)
        return super().get(key, default)

    def items(self):
        for key in self:
            self._note(key)
        return super().items()


def noting(value, at, key, read):
    if isinstance(value, list):
        return [noting(item, f"{at}/{key}", "*", read) for item in value]
    known = f"{at}/{key}" in PROPERTIES
    return Noting(value, f"{at}/{key if known else '*'}", read) if isinstance(value, dict) else value


PROPERTIES = dict.fromkeys(properties())


def full(config):
    """`config` with every property that may stand beside the others."""
    linux, process = config["linux"], config["process"]
    process.update(
        terminal=True, consoleSize={"height": 1, "width": 1}, user=EVERY_USER, apparmorProfile="p", selinuxLabel="l",
        noNewPrivileges=True, oomScoreAdj=1, rlimits=[{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}], commandLine="c",
        scheduler={"policy": "SCHED_DEADLINE", "flags": [], "runtime": 1, "deadline": 2, "period": 3},
        ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 4}, execCPUAffinity={"initial": "0", "final": "0"})
    linux.update(
        uidMappings=MAPS, gidMappings=MAPS, timeOffsets={"boottime": {"secs": 1, "nanosecs": 1}}, cgroupsPath="/c1",
        devices=[{"type": "c", "path": "/dev/x", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0}],
        netDevices={"eth0": {"name": "e"}}, sysctl={"net.ipv4.ip_forward": "1"}, rootfsPropagation="rslave", mountLabel="l",
        personality={"domain": "LINUX32", "flags": []}, memoryPolicy={"mode": "MPOL_BIND", "nodes": "0", "flags": []},
        intelRdt={"closID": "a", "schemata": ["L2:0=f"], "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20",
                  "enableMonitoring": True},
        seccomp={"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": ["SCMP_ARCH_X86"], "flags": [],
                 "listenerPath": "/l", "listenerMetadata": "m", "syscalls": [
                     {"names": ["open"], "action": "SCMP_ACT_NOTIFY"},
                     {"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 2,
                      "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]}]},
        resources={
            **LIMITS, "unified": {"memory.high": "1"}, "rdma": {"mlx": {"hcaHandles": 1, "hcaObjects": 1}},
            "devices": [{"allow": True, "type": "c", "major": 1, "minor": 1, "access": "r"}],
            "memory": {"limit": 9, "reservation": 8, "swap": 10, "kernel": 1, "kernelTCP": 1, "swappiness": 1,
                       "disableOOMKiller": False, "useHierarchy": True, "checkBeforeUpdate": True},
            "cpu": {**LIMITS["cpu"], "realtimeRuntime": 1, "realtimePeriod": 2, "mems": "0", "idle": 0},
            "blockIO": {"weight": 50, "leafWeight": 50, **{f"throttle{way}Device": RATE for way in (
                "ReadBps", "WriteBps", "ReadIOPS", "WriteIOPS")},
                "weightDevice": [{"major": 8, "minor": 0, "weight": 50, "leafWeight": 50}]},
            "network": {"classID": 1, "priorities": [{"name": "e", "priority": 1}]}})
    linux["namespaces"] += [{"type": "user"}, {"type": "time"}]
    config["mounts"].append({"destination": "/x", "type": "bind", "source": "/y", "options": ["bind"],
                             "uidMappings": MAPS, "gidMappings": MAPS})
    config.update(domainname="d", annotations={"org.systemd.property.After": "['a.service']"},
                  hooks={kind: [HOOK] for kind in ("prestart", "createRuntime", "createContainer", "startContainer",
                                                   "poststart", "poststop")})
    return config


def on_v1(config):
    """Without what this version of cgroups refuses."""
    config["linux"]["resources"].pop("unified")
    return config


def on_v2(config):
    """Without what this version of cgroups refuses."""
    resources = config["linux"]["resources"]
    for name in ("network", "rdma"):
        resources.pop(name)
    for name in ("realtimeRuntime", "realtimePeriod"):
        resources["cpu"].pop(name)
    return config


def read_of(config, read, monkeypatch):
    """Hand the config to all that reads one."""
    seen = Noting(config, "", read)
    list(rules.version(View(seen)))
    device_rules.rules(seen)
    profile.lower(seen["linux"]["seccomp"])
    limits.update({"memory": seen["linux"]["resources"]["memory"]}, {"memory": "m"})
    lifecycle.cgroup_paths(seen, facts.named("root-v2"), "c1", False)
    monkeypatch.setattr(hooks.kernel, "memfd", lambda *_: 1 << 20)
    monkeypatch.setattr(hooks, "close", lambda _: None)
    monkeypatch.setattr(hooks.kernel_hook, "run", lambda *_: (0, False, b"", b""))
    for kind in ("prestart", "createRuntime", "poststart", "poststop"):
        hooks.run(kind, seen["hooks"][kind], {})
    return seen


def hosts():
    """(facts, request, config) of three hosts, which between them have a use for everything."""
    v1 = [[name, f"/sys/fs/cgroup/{name}", "c1"] for name in (
        "cpu,cpuacct", "memory", "devices", "blkio", "net_cls,net_prio", "rdma", "cpuset", "pids", "hugetlb")]
    for name, request, config in (("root-v2", {}, on_v2(full(base()))), ("root-v2", unit(), on_v2(full(base()))),
                                  ("root-hybrid", {"cgroup_v1": v1}, on_v1(full(base())))):
        host = {**facts.named(name).dump(), "resctrl": "/sys/fs/resctrl", "apparmor": True, "selinux": True}
        yield facts.Facts(**host), Request("c1", "/b", "/s", **{**REQUEST, **request}), config


def without(config, path):
    """The config without that property, in all items of an array."""
    *above, last = path[1:].split("/")
    found = [copy.deepcopy(config)]
    left = found[0]
    for step in above:
        found = [below for each in found for below in (each if step == "*" and isinstance(each, list) else
                                                        each.values() if step == "*" else [each[step]] if step in each else [])]
    for each in found:
        each.pop(last, None)
    return left


def plan_without(host, request, config, path):
    """The plan, or the refusal, for the config without a property."""
    try:
        return dumps(explain.data(create.compiled(without(config, path), host, request)))
    except (Error, KeyError) as err:
        return repr(err)


def test_every_property_is_read_or_is_listed_as_ignored_with_a_reason(monkeypatch):
    read: set[str] = set()
    for host, request, config in hosts():
        assert schema_gen.check(config) is None
        seen = read_of(config, read, monkeypatch)
        create.compiled(seen, host, request)
        exec_plan.compiled(seen, host, Joining("c1"))
    read |= {path.rsplit("/", n)[0] for path in list(read) for n in range(1, path.count("/"))}
    # the compiler copies the config and its process, and a copy takes no notes: there it counts whether the plan changes
    changed = {path for host, request, config in hosts() for path in PROPERTIES if path not in read
               and plan_without(host, request, config, path) != dumps(explain.data(create.compiled(config, host, request)))}
    missing = [path for path in PROPERTIES if path not in read | changed and not any(
        path == name or path.startswith(name + "/") for name in ignored.IGNORED)]
    assert not missing
    assert not [name for name in ignored.IGNORED if name in read | changed], "is listed as ignored, and is not"


def test_what_is_ignored_is_a_property_and_validate_notes_it(tmp_path, capfd):
    assert [name for name in ignored.IGNORED if name not in PROPERTIES] == []
    config = full(base())
    config.update({name[1:]: {"x": 1} for name in ("/vm", "/windows", "/solaris", "/zos", "/freebsd")})
    config["linux"]["personality"]["flags"] = ["X"]
    assert sorted(note.pointer for note in ignored.notes(config)) == sorted(name.replace("*", "0") for name in ignored.IGNORED)
    plain = base()
    plain["linux"]["resources"]["memory"] = {"useHierarchy": True}
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "config.json").write_text(json.dumps(plain))
    for form in ("text", "json"):
        assert validate.run({}, {"bundle": str(tmp_path), "format": form}, []) == 0
    out = capfd.readouterr().out
    assert "note: /linux/resources/memory/useHierarchy: it is ignored: groups are always hierarchical" in out
    assert "no faults" in out and '"level": "note"' in out
