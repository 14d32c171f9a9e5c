"""config.md: version, root, mounts, process, annotations, extensibility. Required properties, mount options and hooks have files of
their own."""

import copy
import os

import pytest
from kit.bundle import add_mounts, bind, caps, mount
from kit.observe import caps as caps_of
from kit.observe import cap_mask, mount_at
from marks import clause, refused

SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}


def process(**properties):
    return {"process": properties}


def trying(*what):
    return process(args=["/bin/probe", "try", *what])


@clause("config:SpecificationVersion-1", "ociVersion is a semantic version")
@pytest.mark.parametrize("version", ["", "1", "1.2", "v1.2.0", "1.2.0.0", "1.02.0", "invalid"])
def test_a_version_that_is_not_semantic(rt, version):
    refused(rt, {"ociVersion": version})


@clause("config:Root-7", "the root is a directory that exists")
@pytest.mark.parametrize("path", ["nothing", "file"])
def test_the_root_must_be_a_directory(rt, path):
    bundle = rt.bundle({"root": {"path": path}})
    (bundle.path / "file").write_text("")
    assert rt.container(bundle=bundle).create().code > 0


@clause("config:Root-8", "readonly makes the root read-only, without it it can be written")
@pytest.mark.parametrize("readonly", [True, False, None])
def test_a_read_only_root(rt, readonly):
    (entry,) = rt.container({"root": {"readonly": readonly}}, trying("create:/new")).probe()
    assert (entry["errno"] == 30) == bool(readonly)  # EROFS


@clause("config:Mounts-1", "mounted in the listed order")
def test_the_later_of_two_mounts_is_on_top(rt, tmp_path):
    (tmp_path / "mine").write_text("")
    under, over = bind(tmp_path, "/mnt/dir"), mount("/mnt", "tmpfs", "tmpfs")
    shown = rt.container(add_mounts(over, under), trying("stat:/mnt/dir/mine")).probe()
    hidden = rt.container(add_mounts(under, over), trying("stat:/mnt/dir/mine")).probe()
    assert [entry["errno"] for entry in shown + hidden] == [0, 2]


@clause("config:Mounts-4", "a relative destination counts from /")
def test_a_relative_destination(rt):
    assert mount_at(rt.container(add_mounts(mount("mnt/deep", "tmpfs", "tmpfs"))).probe(), "/mnt/deep").type == "tmpfs"


@clause("config:Process-2", "consoleSize without a terminal is ignored")
def test_a_console_size_without_a_terminal(rt):
    rt.container(process(terminal=False, consoleSize={"height": 1 << 20, "width": 1 << 20})).probe()


@clause("config:Process-6", "cwd is absolute")
@pytest.mark.parametrize("cwd", ["", "tmp", "./tmp"])
def test_a_relative_working_directory(rt, cwd):
    refused(rt, process(cwd=cwd))


@clause("config:POSIXProcess-2", "an unknown rlimit is an error")
def test_an_unknown_rlimit(rt):
    refused(rt, process(rlimits=[{"type": "RLIMIT_NOSUCH", "soft": 1, "hard": 1}]))


LIMITS = {"CORE": (1, 2), "CPU": (60, 120), "DATA": (1 << 30, 2 << 30), "FSIZE": (1 << 30, 2 << 30), "NOFILE": (300, 400),
          "STACK": (1 << 20, 2 << 20), "MEMLOCK": (4096, 8192), "SIGPENDING": (70, 80), "AS": (1 << 30, 2 << 30)}


@clause("config:POSIXProcess-3", "every rlimit can be read")
@clause("config:POSIXProcess-5", "soft is rlim_cur")
@clause("config:POSIXProcess-7", "hard is rlim_max")
def test_rlimits_are_what_was_asked_for(rt):
    listed = [{"type": f"RLIMIT_{name}", "soft": soft, "hard": hard} for name, (soft, hard) in LIMITS.items()]
    seen = rt.container(process(rlimits=listed)).probe()
    assert {name: tuple(seen["rlimits"][name]) for name in LIMITS} == LIMITS


@clause("config:POSIXProcess-8", "two rlimits of one type are an error")
def test_an_rlimit_twice(rt):
    refused(rt, process(rlimits=[{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}] * 2))


@clause("config:LinuxProcess-1", "a capability that nobody knows is a warning")
@clause("runtime:Warnings-1", "a warning changes nothing else")
def test_an_unknown_capability_is_a_warning(rt):
    container = rt.container(caps("CAP_CHOWN", "CAP_NO_SUCH"))
    result = container.run().ok()
    assert caps_of(result.json())["eff"] == cap_mask("CHOWN")
    assert "CAP_NO_SUCH" in result.log_text + result.err and "warn" in (result.log_text + result.err).lower()


@clause("config:LinuxProcess-2", "a capability that cannot be granted is no failure")
def test_a_capability_that_the_runtime_has_not(rt):
    result = rt.container(caps("CAP_CHOWN", "CAP_NET_RAW")).run(wrap=("setpriv", "--bounding-set", "-net_raw", "--")).ok()
    assert caps_of(result.json())["eff"] == cap_mask("CHOWN")


@clause("config:LinuxProcess-3", "oomScoreAdj is set")
def test_the_oom_score(rt):
    assert rt.container(process(oomScoreAdj=321)).probe()["oom_score_adj"].strip() == "321"


@clause("config:LinuxProcess-4", "without oomScoreAdj the score is the caller's")
def test_the_oom_score_of_the_caller(rt):
    wrap = ("sh", "-c", 'echo 123 > /proc/self/oom_score_adj && exec "$@"', "sh")
    assert rt.container().run(wrap=wrap).ok().json()["oom_score_adj"].strip() == "123"


@clause("config:LinuxProcess-8", "without a final affinity the kernel decides by the container's cpuset")
def test_the_affinity_of_an_exec(rt):
    container = rt.container(SLEEP).up()
    first = min(os.sched_getaffinity(0))
    seen = container.exec("/bin/probe", wrap=("taskset", "-c", str(first))).ok().json()
    assert set(seen["affinity"]) == os.sched_getaffinity(container.pid)


# --- annotations, and what nobody knows


@clause("config:Annotations-1", "a map")
@pytest.mark.parametrize("annotations", [["a"], "a", 1])
def test_annotations_are_a_map(rt, annotations):
    refused(rt, {"annotations": annotations})


@clause("config:Annotations-2", "keys are strings")
def test_a_key_without_quotes(rt):
    bundle = rt.bundle()
    bundle.raw((bundle.path / "config.json").read_text().replace("{", '{"annotations": {1: "x"},', 1))
    assert rt.container(bundle=bundle).create().code > 0


@clause("config:Annotations-3", "no empty key")
def test_an_empty_key(rt):
    refused(rt, {"annotations": {"": "x"}})


@clause("config:Annotations-16", "values are strings")
@pytest.mark.parametrize("value", [1, True, ["a"], {"a": "b"}])
def test_a_value_that_is_no_string(rt, value):
    refused(rt, {"annotations": {"org.example": value}})


@clause("config:Annotations-15", "an unknown key is ignored")
def test_an_unknown_annotation(rt):
    container = rt.container(SLEEP, {"annotations": {"org.example.nobody-knows": "x", "org.opencontainers.image.author": "y"}}).up()
    assert container.state().json()["annotations"]["org.example.nobody-knows"] == "x"


def everywhere(config):
    """An unknown property in every object."""
    for value in list(config.values()):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, dict) and "org.example" not in child:
                everywhere(child)
    config["x-nobody-knows"] = {"deep": [1]}


@clause("config:Extensibility-1", "unknown properties are ignored")
def test_unknown_properties_everywhere(rt):
    rt.container(lambda config: config["linux"].update(devices=[{"type": "p", "path": "/dev/pipe"}]), everywhere).probe()


INVALID = {
    "a type": {"process": {"args": "/bin/probe"}}, "a number": process(user={"uid": -1, "gid": 0}),
    "a fraction": process(user={"uid": 1.5, "gid": 0}), "too much": process(user={"uid": 1 << 32, "gid": 0}),
    "a namespace": lambda config: config["linux"]["namespaces"].append({"type": "nosuch"}),
    "a propagation": {"linux": {"rootfsPropagation": "nosuch"}}, "a personality": {"linux": {"personality": {"domain": "NOSUCH"}}},
    "an io class": process(ioPriority={"class": "IOPRIO_CLASS_NOSUCH", "priority": 1}),
    "a scheduler": process(scheduler={"policy": "SCHED_NOSUCH"}),
    "a seccomp action": {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_NOSUCH"}}},
    "a seccomp operator": {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_NOSUCH"}]}]}}},
    "a seccomp flag": {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_NOSUCH"], "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}}},
    "a seccomp architecture": {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NOSUCH"],
                                                     "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}}},
    "a device": {"linux": {"devices": [{"type": "x", "path": "/dev/x", "major": 1, "minor": 1}]}},
    "a sysctl": {"linux": {"sysctl": {"kernel.nosuch": "1"}}}, "a page size": {"linux": {"resources": {"hugepageLimits": [
        {"pageSize": "3MB", "limit": 1}]}}},
    "a mapping without a namespace": {"linux": {"uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}},
    "a mempolicy": {"linux": {"memoryPolicy": {"mode": "MPOL_NOSUCH"}}},
    "a negative time-out": {"hooks": {"prestart": [{"path": "/bin/true", "timeout": -1}]}},
}


@clause("config:Extensibility-2", "an invalid value is an error")
@pytest.mark.parametrize("patch", [pytest.param(patch, id=name) for name, patch in INVALID.items()])
def test_an_invalid_value(rt, patch):
    refused(rt, patch if callable(patch) else copy.deepcopy(patch))
