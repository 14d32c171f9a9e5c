"""features.md and features-linux.md: the output keeps both schemas, and what it names is really taken by the runtime."""

import json
import os
from pathlib import Path

import jsonschema
import pytest
from kit.bundle import add_mounts, bind, caps, mount, namespaces, userns
from kit.observe import CAPS
from kit.observe import caps as caps_of
from marks import clause
from official import check

OURS = Path(__file__).resolve().parent.parent / "spec/features.schema.json"
NAMESPACES = {"pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"}


@pytest.fixture
def features(rt):
    result = rt.call("features", root=False, log=False)
    if result.code:
        pytest.skip("this runtime has no features")
    return result.json()


def section(features, name, *keys):
    """What stands in linux.NAME, or a skip: absent means unknown."""
    found = (features.get("linux") or {}).get(name)
    for key in keys:
        found = (found or {}).get(key)
    if found is None:
        pytest.skip(f"linux.{name} is not said")
    return found


def each(rt, values, patch):
    """{value: what the runtime said} of the values that no container can be created with."""
    said = {}
    for value in values:
        container = rt.container(*[patch(value)] if not isinstance(patch(value), list) else patch(value))
        result = container.create()
        if result.code:
            said[value] = result.err.strip()
        else:
            container.delete("-f").ok()
    return said


@clause("features.md#features-2", "null is not an empty value")
@clause("features.md#featuresSpecificationVersion-1", "ociVersionMin is there")
@clause("features.md#featuresSpecificationVersion-3", "ociVersionMax is there")
@clause("features.md#featuresAnnotations-1", "annotations are strings by name")
def test_the_official_schema(features):
    check("features-schema.json", features)


@clause("features.md#featuresSpecificationVersion-6", "nothing that the specification does not name")
def test_our_own_schema_knows_every_property(features):
    schema = json.loads(OURS.read_text())
    jsonschema.validate(features, schema)
    assert unknown(features, schema, schema) == []


def unknown(value, schema, top):
    """Paths of properties that the schema does not name."""
    if "$ref" in schema:
        schema = top["$defs"][schema["$ref"].rpartition("/")[2]]
    if not isinstance(value, dict) or "properties" not in schema:
        return []
    return [name for name in value if name not in schema["properties"]] + [
        f"{name}/{path}" for name in value if name in schema["properties"]
        for path in unknown(value[name], schema["properties"][name], top)]


@clause("features.md#features-1", "the same on every call, whatever the host")
def test_features_do_not_depend_on_the_moment(rt, features):
    assert rt.call("features", root=False, log=False, env={"HOME": "/nowhere", "XDG_RUNTIME_DIR": "/nowhere"}).json() == features


@clause("features.md#featuresSpecificationVersion-2", "ociVersionMin is accepted")
@clause("features.md#featuresSpecificationVersion-4", "ociVersionMax is accepted")
@clause("features.md#featuresSpecificationVersion-5", "Min is not above Max")
def test_the_versions(rt, features):
    least, most = features["ociVersionMin"], features["ociVersionMax"]
    assert each(rt, [least, most], lambda version: {"ociVersion": version}) == {}
    assert [int(n) for n in least.split("-")[0].split(".")] <= [int(n) for n in most.split("-")[0].split(".")]


@clause("features.md#featuresHooks-1", "each kind of hook runs")
def test_every_hook(rt, features):
    ran = rt.base / "ran"
    ran.mkdir()
    for kind in features["hooks"]:
        (rt.base / f"hook-{kind}").write_text(f"#!/bin/sh\ntouch {ran}/{kind}\n")
        (rt.base / f"hook-{kind}").chmod(0o755)
    hooks = {kind: [{"path": f"{rt.base}/hook-{kind}"}] for kind in features["hooks"] if kind != "startContainer"}
    hooks["startContainer"] = [{"path": "/bin/touch", "args": ["touch", "/ran"]}]
    container = rt.container({"process": {"args": ["/bin/probe", "sleep"]}, "hooks": hooks}).up()
    container.delete("-f").ok()
    assert sorted(p.name for p in ran.iterdir()) == sorted(set(features["hooks"]) - {"startContainer"})
    assert (container.rootfs / "ran").exists() == ("startContainer" in features["hooks"])


BIND_ONLY = ("bind", "idmap")  # and all whose name begins with r and another option


@clause("features.md#featuresMountOptions-1", "each mount option is taken")
def test_every_mount_option(rt, features):
    listed = features["mountOptions"]
    recursive = {word for word in listed if word[0] == "r" and word[1:] in [*listed, "atime"] or word in ("ridmap", "rbind")}
    maps = {name: [{"containerID": 0, "hostID": 3000, "size": 9}] for name in ("uidMappings", "gidMappings")}

    def with_option(word):
        if word == "remount":
            return add_mounts(mount("/mnt", "tmpfs", "tmpfs"), mount("/mnt", "tmpfs", "tmpfs", ["remount", "ro"]))
        if word in recursive or word in BIND_ONLY:
            return add_mounts(bind(rt.base / "source", "/mnt", "rbind", word)
                              | (maps if "idmap" in word else {}))
        return add_mounts(mount("/mnt", "tmpfs", "tmpfs", [word]))
    (rt.base / "source").mkdir()
    if "idmap" in listed:  # needs a file system that can be mapped
        listed = [word for word in listed if "idmap" not in word or can_map(rt)]
    assert each(rt, listed, with_option) == {}


def can_map(rt):
    """Whether directories of the test's own file system can be id-mapped: by asking for it once."""
    maps = {name: [{"containerID": 0, "hostID": 3000, "size": 9}] for name in ("uidMappings", "gidMappings")}
    container = rt.container(add_mounts(bind(rt.base / "source", "/mnt", "idmap") | maps))
    made = container.create().code == 0
    if made:
        container.delete("-f").ok()
    return made


@clause("features.md#featuresMountOptions-2", "no option that is a file system's own")
def test_no_data_among_the_mount_options(features):
    assert [word for word in features["mountOptions"] if "=" in word or word in ("size", "mode", "uid", "gid", "lowerdir", "hidepid")] == []


@clause("features-linux:Namespaces-1", "each namespace type is taken")
def test_every_namespace(rt, features):
    def new(kind):
        return [namespaces(*dict.fromkeys(["pid", "network", "ipc", "uts", "mount", kind]))] if kind != "user" else [userns()]
    listed = section(features, "namespaces")
    assert set(listed) <= NAMESPACES and each(rt, listed, new) == {}


@clause("features-linux:Capabilities-1", "each capability is known")
def test_every_capability(rt, features):
    listed = section(features, "capabilities")
    assert [name for name in listed if name.removeprefix("CAP_") not in CAPS] == []
    result = rt.container(userns(), caps(*listed), {"process": {"rlimits": []}}).run().ok()
    assert "unknown capabilit" not in (result.log_text + result.err).lower()
    assert caps_of(result.json())["eff"] == sum(1 << CAPS.index(name.removeprefix("CAP_")) for name in listed)


def seccomp(rule=None, **section):
    rule = rule or {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}
    return {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], **section}}}


@clause("features-linux:Seccomp-1", "each action is taken")
def test_every_seccomp_action(rt, features):
    listed = [action for action in section(features, "seccomp", "actions") if action != "SCMP_ACT_NOTIFY"]  # test_seccomp.py
    assert each(rt, listed, lambda action: seccomp({"names": ["mkdir"], "action": action})) == {}


@clause("features-linux:Seccomp-2", "each operator is taken")
def test_every_seccomp_operator(rt, features):
    assert each(rt, section(features, "seccomp", "operators"), lambda op: seccomp(
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "valueTwo": 1, "op": op}]})) == {}


@clause("features-linux:Seccomp-3", "each architecture is recognised, though a host may have no filter for it")
def test_every_seccomp_architecture(rt, features):
    listed = section(features, "seccomp", "archs")
    said = each(rt, [*listed, "SCMP_ARCH_NOSUCH"], lambda arch: seccomp(architectures=[arch]))
    unknown = said.pop("SCMP_ARCH_NOSUCH")
    assert [arch for arch in said if said[arch].replace(arch, "SCMP_ARCH_NOSUCH") == unknown] == []
    assert {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86"} <= set(listed) - set(said) or os.uname().machine != "x86_64"


@clause("features-linux:Seccomp-4", "each known flag is recognised")
@clause("features-linux:Seccomp-5", "each supported flag works")
def test_every_seccomp_flag(rt, features):
    supported = section(features, "seccomp", "supportedFlags")
    assert set(supported) <= set(section(features, "seccomp", "knownFlags"))
    assert each(rt, [flag for flag in supported if "WAIT_KILLABLE" not in flag], lambda flag: seccomp(flags=[flag])) == {}


@clause("features-linux:MemoryPolicy-1", "each mode is taken")
def test_every_memory_policy(rt, features):
    nodeless = ("MPOL_DEFAULT", "MPOL_LOCAL")
    assert each(rt, section(features, "memoryPolicy", "modes"), lambda mode: {"linux": {"memoryPolicy": {
        "mode": mode, **({} if mode in nodeless else {"nodes": "0"})}}}) == {}


@clause("features-linux:MemoryPolicy-2", "each flag is taken")
def test_every_memory_policy_flag(rt, features):
    assert each(rt, section(features, "memoryPolicy", "flags"), lambda flag: {"linux": {"memoryPolicy": {
        "mode": "MPOL_BIND", "nodes": "0", "flags": [flag]}}}) == {}


@clause("features-linux:MountExtensions-1", "idmap is said if the mappings are known")
def test_idmap_is_what_the_mount_options_say(features):
    assert section(features, "mountExtensions", "idmap", "enabled") == ("idmap" in features["mountOptions"])


def test_what_is_said_to_be_missing_is_refused(rt, features):
    """And the cgroup versions that are said are the ones that are used."""
    linux = features["linux"]
    if not linux.get("intelRdt", {}).get("enabled", True):
        assert each(rt, ["x"], lambda name: {"linux": {"intelRdt": {"closID": name}}}) != {}
    if not linux.get("netDevices", {}).get("enabled", True):
        assert each(rt, ["lo"], lambda name: {"linux": {"netDevices": {name: {}}}}) != {}
    container = rt.container({"process": {"args": ["/bin/probe", "sleep"]}}).up()
    lines = Path(f"/proc/{container.pid}/cgroup").read_text().splitlines()
    name = container.bundle.config["linux"]["cgroupsPath"]
    used = {"v2" if line.startswith("0::") else "v1" for line in lines if line.endswith(name)}
    assert used and all(linux["cgroup"][version] for version in used), (used, lines)
