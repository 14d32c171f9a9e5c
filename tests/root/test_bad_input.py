"""Bad input, everything the foundation's issue lists: one line on stderr, one JSON line in the log, the right exit
code, no traceback, nothing left, nothing on the host changed.

`Result.failed` checks the lines, codes and the absence of a traceback; the fixture `rt` that nothing is left; the
fixture `host` that the host is as before.
"""

import glob
import json
import os
import resource
import signal
import subprocess

import pytest
from kit.bundle import File, Link, add_mounts, bind, mount, userns, without_mount

known_bad = pytest.mark.runc_known_bad
LENIENT = known_bad("accepts it")
TEXT = known_bad("words it differently")


def refused(rt, container, *words):
    """create and run refuse the bundle in the same words, and nothing is left."""
    container.create().failed(*words)
    rt.assert_nothing_left(within=1)
    container.run().failed(*words)
    rt.assert_nothing_left(within=1)


def raw(rt, text):
    bundle = rt.bundle().raw(text)
    return rt.container(bundle=bundle)


def good(rt):
    return json.dumps(rt.bundle().config)


# --- config.json as a file

def test_a_missing_config_is_named(rt, host):
    container = rt.container()
    (container.bundle.path / "config.json").unlink()
    refused(rt, container, "JSON specification file config.json not found")


def test_a_missing_bundle_is_named(rt, host):
    rt.call("create", "--bundle", rt.base / "nowhere", f"{rt.token}-x").failed("nowhere", "no such file or directory")


def test_a_bundle_that_is_a_file_is_refused(rt, host):
    (rt.base / "file").write_text("")
    rt.call("create", "--bundle", rt.base / "file", f"{rt.token}-x").failed("not a directory")


def test_a_config_that_is_a_directory_is_refused(rt, host):
    container = rt.container()
    (container.bundle.path / "config.json").unlink()
    (container.bundle.path / "config.json").mkdir()
    refused(rt, container, "config.json", "is a directory")


@LENIENT
def test_a_config_that_is_a_fifo_is_refused_without_waiting_for_a_writer(rt, host):
    container = rt.container()
    (container.bundle.path / "config.json").unlink()
    os.mkfifo(container.bundle.path / "config.json")
    container.create(timeout=5).failed("config.json")


@LENIENT
def test_a_config_that_is_an_endless_device_is_refused(rt, host):
    container = rt.container()
    (container.bundle.path / "config.json").unlink()
    os.symlink("/dev/zero", container.bundle.path / "config.json")
    container.create(timeout=5).failed("config.json")


@pytest.mark.parametrize("text", ["", " \n", "{", '{"ociVersion": "1.2.0"', '{"ociVersion": "1.2', '{"a": tru}', "{'a': 1}",
                                  '{"a": 1,}', '{"a": 01}', '{"a": 1} trailing', '{"a": "\\x"}', '{"a": "\n"}'])
def test_text_that_is_not_json_is_refused(rt, host, text):
    refused(rt, raw(rt, text))


@pytest.mark.parametrize("text", ["[]", '"text"', "1", "true", "[[{}]]"])
def test_json_that_is_not_an_object_is_refused(rt, host, text):
    refused(rt, raw(rt, text))


@known_bad("1.1 panics")
def test_a_null_config_is_refused_in_runcs_words(rt, host):
    refused(rt, raw(rt, "null"), "config cannot be null")


@LENIENT
@pytest.mark.parametrize("data", [b'{"ociVersion": "\xff\xfe"}', b"\xff\xfe{\x00}\x00", b'{"ociVersion": "\xc3("}',
                                  b'{"ociVersion": "\xed\xa0\x80"}'],
                         ids=["not utf-8", "utf-16", "bad continuation", "encoded surrogate"])
def test_a_config_that_is_not_utf8_is_refused(rt, host, data):
    bundle = rt.bundle()
    text = json.dumps(bundle.config).encode().replace(b'{"ociVersion": "1.2.0"', data.rstrip(b"}"), 1)
    refused(rt, rt.container(bundle=bundle.raw(text)), "config.json")


@LENIENT
def test_a_duplicate_key_is_refused_with_its_name(rt, host):
    refused(rt, raw(rt, good(rt).replace('"hostname": "box"', '"hostname": "box", "hostname": "other"')), "hostname")


@LENIENT
def test_a_duplicate_key_deep_inside_is_refused_with_its_name(rt, host):
    refused(rt, raw(rt, good(rt).replace('"terminal": false', '"terminal": false, "terminal": true')), "terminal")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "nan"])
def test_a_number_that_is_none_is_refused(rt, host, number):
    refused(rt, raw(rt, good(rt).replace('"uid": 0', f'"uid": {number}')))


@pytest.mark.parametrize("opening, closing", [("[", "]"), ('{"a":', "}")], ids=["lists", "objects"])
def test_deep_nesting_is_refused_not_a_crash(rt, host, opening, closing):
    deep = opening * 100_000 + ("1" if closing == "}" else "") + closing * 100_000
    refused(rt, raw(rt, good(rt)[:-1] + f', "x": {deep}}}'))


@LENIENT
def test_a_hundred_megabytes_of_config_are_refused_quickly(rt, host):
    container = raw(rt, good(rt)[:-1] + ', "annotations": {"x": "' + "x" * (100 << 20) + '"}}')
    container.create(timeout=10).failed("config.json")


def test_a_huge_integer_is_refused(rt, host):
    refused(rt, raw(rt, good(rt).replace('"uid": 0', '"uid": ' + "9" * 5000)))


# --- values

def set_at(pointer, value):
    """A config patch that sets the value at a JSON pointer; missing objects are made, `-` appends."""
    def edit(config):
        *path, last = pointer.strip("/").split("/")
        node = config
        for key in path:
            node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
        if isinstance(node, list):
            node[len(node):] = [value] if last == "-" else []
            if last != "-":
                node[int(last)] = value
        else:
            node[last] = value
    return edit


WRONG_TYPES = [
    ("/ociVersion", 1), ("/process", []), ("/process/terminal", "no"), ("/process/user", "root"),
    ("/process/user/uid", "0"), ("/process/user/uid", 1.5), ("/process/user/uid", -1), ("/process/user/gid", 2 ** 32),
    ("/process/user/additionalGids", 7), ("/process/user/additionalGids", [-1]), ("/process/user/umask", "022"),
    ("/process/args", "sh"), ("/process/args", [1]), ("/process/env", {"A": "B"}), ("/process/env", [None, 1]),
    ("/process/cwd", 7), ("/process/capabilities", ["CAP_KILL"]), ("/process/capabilities/bounding", "CAP_KILL"),
    ("/process/rlimits", {}), ("/process/rlimits/0/soft", "1024"), ("/process/rlimits/0/hard", -1),
    ("/process/noNewPrivileges", 1), ("/process/oomScoreAdj", "5"), ("/process/consoleSize", [25, 80]),
    ("/process/consoleSize", {"height": -1, "width": 80}),
    ("/root", "rootfs"), ("/root/path", 7), ("/root/readonly", "yes"), ("/hostname", 7), ("/domainname", []),
    ("/mounts", {}), ("/mounts/0", "proc"), ("/mounts/0/destination", 7), ("/mounts/0/options", "ro"),
    ("/mounts/0/options", [1]), ("/mounts/0/uidMappings", {}),
    ("/hooks", []), ("/hooks/prestart", {}), ("/hooks/prestart", [{"path": 7}]),
    ("/hooks/poststop", [{"path": "/bin/true", "timeout": "1"}]), ("/annotations", []), ("/annotations/a", 1),
    ("/linux", []), ("/linux/namespaces", {}), ("/linux/namespaces/0", "pid"), ("/linux/namespaces/0/type", 7),
    ("/linux/uidMappings", {}), ("/linux/devices", {}), ("/linux/devices", [{"type": "c", "path": "/dev/x", "major": "1"}]),
    ("/linux/sysctl", []), ("/linux/sysctl/a", 1), ("/linux/maskedPaths", "/proc/kcore"), ("/linux/readonlyPaths", [1]),
    ("/linux/rootfsPropagation", True), ("/linux/cgroupsPath", []), ("/linux/resources", []),
    ("/linux/resources/devices", {}), ("/linux/seccomp", []), ("/linux/seccomp", {"defaultAction": 1}),
    ("/linux/personality", "LINUX"), ("/linux/timeOffsets", []),
]


@pytest.mark.parametrize("pointer, value", [
    pytest.param(pointer, value, id=f"{pointer} = {json.dumps(value)}",
                 marks=[LENIENT]) for pointer, value in WRONG_TYPES])
def test_a_value_of_the_wrong_type_is_refused_with_its_place(rt, host, pointer, value):
    if pointer.endswith("/0/uidMappings"):
        container = rt.container(userns(), set_at(pointer, value))
    else:
        container = rt.container(set_at(pointer, value))
    container.create().failed(pointer.split("/")[-1] if not pointer[-1].isdigit() else pointer.split("/")[-2])
    rt.assert_nothing_left(within=1)


UNKNOWN_VALUES = [
    ("/linux/namespaces/-", {"type": "nonsense"}, "nonsense", ()),
    ("/process/rlimits/-", {"type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1}, "RLIMIT_NONSENSE", ()),
    ("/linux/rootfsPropagation", "nonsense", "nonsense", ()),
    ("/linux/devices", [{"type": "x", "path": "/dev/x", "major": 1, "minor": 3}], "x", ()),
    ("/linux/resources/devices/-", {"allow": True, "type": "x", "access": "r"}, "x", ()),
    ("/linux/resources/devices/-", {"allow": True, "type": "c", "access": "rxw"}, "rxw", [LENIENT]),
    ("/linux/seccomp", {"defaultAction": "SCMP_ACT_NONSENSE"}, "SCMP_ACT_NONSENSE", ()),
    ("/linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PDP11"]}, "SCMP_ARCH_PDP11", ()),
    ("/linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_NONSENSE"]},
     "SECCOMP_FILTER_FLAG_NONSENSE", [LENIENT]),
    ("/linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_ABOUT"}]}]},
     "SCMP_CMP_ABOUT", ()),
    ("/process/scheduler", {"policy": "SCHED_NONSENSE"}, "SCHED_NONSENSE", [known_bad("1.1 does not know scheduler")]),
    ("/process/ioPriority", {"class": "IOPRIO_CLASS_NONSENSE", "priority": 1}, "IOPRIO_CLASS_NONSENSE",
     [known_bad("1.1 does not know ioPriority")]),
    ("/linux/personality", {"domain": "PDP11"}, "PDP11", [LENIENT]),
    ("/linux/memoryPolicy", {"mode": "MPOL_NONSENSE", "nodes": "0"}, "MPOL_NONSENSE", [LENIENT]),
    ("/linux/timeOffsets", {"realtime": {"secs": 1}}, "realtime", [LENIENT]),
]


@pytest.mark.parametrize("pointer, value, word", [
    pytest.param(pointer, value, word, id=f"{pointer} {word}", marks=marks)
    for pointer, value, word, marks in UNKNOWN_VALUES])
def test_an_unknown_value_is_refused_by_name(rt, host, pointer, value, word):
    patches = [set_at("/linux/namespaces/-", {"type": "time"})] if "timeOffsets" in pointer else []
    container = rt.container(*patches, set_at(pointer, value))
    refused(rt, container, word)


NUL_PLACES = ["/process/args/0", "/process/args/-", "/process/env/-", "/process/cwd", "/hostname", "/domainname",
              "/root/path", "/mounts/0/destination", "/mounts/1/source", "/mounts/1/options/-", "/linux/maskedPaths/-",
              "/linux/readonlyPaths/-", "/linux/cgroupsPath", "/linux/sysctl/kernel.msgmax", "/linux/namespaces/0/path"]


@pytest.mark.parametrize("pointer", [pytest.param(p, marks=[known_bad("some of these reach the kernel cut at the NUL")])
                                     for p in NUL_PLACES])
def test_a_nul_byte_is_refused(rt, host, pointer):
    container = rt.container({"linux": {"sysctl": {}}}, set_at(pointer, "/bin/true\0/canary"))
    refused(rt, container)


@known_bad("passes it on")
def test_a_lone_surrogate_is_refused(rt, host):
    refused(rt, raw(rt, good(rt).replace('"hostname": "box"', r'"hostname": "\ud800"')), "surrogate")


LONG = "/" + "/".join(["x" * 200] * 25)         # above PATH_MAX, every component below NAME_MAX
COMPONENT = "/" + "x" * 300


@pytest.mark.parametrize("path", [LONG, COMPONENT], ids=["longer than PATH_MAX", "component longer than NAME_MAX"])
@pytest.mark.parametrize("pointer", ["/process/cwd", "/root/path", "/mounts/0/destination", "/process/args/0",
                                     "/linux/namespaces/0/path", pytest.param("/linux/cgroupsPath", marks=LENIENT)])
def test_a_path_the_kernel_cannot_take_is_refused(rt, host, pointer, path):
    refused(rt, rt.container(set_at(pointer, path)))
    assert not glob.glob("/sys/fs/cgroup/*/xxxxx*") + glob.glob("/sys/fs/cgroup/xxxxx*")


@pytest.mark.parametrize("pointer", ["/linux/maskedPaths/-", "/linux/readonlyPaths/-"])
def test_a_masked_or_readonly_path_the_kernel_cannot_take_is_refused_not_skipped(rt, host, pointer):
    refused(rt, rt.container(set_at(pointer, LONG)))


@known_bad("1.1 takes a bind source that long apart differently")
def test_a_bind_source_longer_than_path_max_is_refused(rt, host):
    refused(rt, rt.container(add_mounts(mount("/mnt", LONG, "bind", ["bind"]))))


@pytest.mark.parametrize("pointer, value", [
    ("/process/user/uid", 2 ** 32), ("/process/user/gid", 2 ** 32), ("/process/user/uid", 2 ** 64),
    ("/process/user/additionalGids", [2 ** 32]),
    pytest.param("/process/user/uid", 2 ** 32 - 1, marks=LENIENT),
    pytest.param("/process/user/gid", 2 ** 32 - 1, marks=LENIENT),
    pytest.param("/process/user/umask", 0o10000, marks=LENIENT),
    pytest.param("/process/oomScoreAdj", 1001), ("/process/oomScoreAdj", -1001),
])
def test_a_number_out_of_range_is_refused(rt, host, pointer, value):
    refused(rt, rt.container(set_at(pointer, value)))


@pytest.mark.parametrize("mapping", [
    [{"containerID": 0, "hostID": 2 ** 32, "size": 1}], [{"containerID": 0, "hostID": 100000, "size": 0}],
    [{"containerID": 0, "hostID": 2 ** 32 - 1, "size": 10}], [{"containerID": -1, "hostID": 0, "size": 1}],
    [{"containerID": i, "hostID": 100000 + 2 * i, "size": 1} for i in range(400)],
    [{"containerID": 0, "hostID": 100000, "size": 10}, {"containerID": 5, "hostID": 200000, "size": 10}],
], ids=["hostID", "size 0", "wraps", "negative", "400 lines", "overlap"])
def test_an_impossible_id_mapping_is_refused(rt, host, mapping):
    refused(rt, rt.container(userns(), {"linux": {"uidMappings": mapping, "gidMappings": mapping}}))


# --- missing and contradicting properties

@pytest.mark.parametrize("pointer, words", [
    ("/process/cwd", ["Cwd property must not be empty"]), ("/process/args", ["args must not be empty"]),
    pytest.param("/root", ["root"], marks=known_bad("1.1 panics")),
    pytest.param("/root/path", ["root"], marks=known_bad("1.1 takes the bundle as the rootfs")),
    pytest.param("/mounts/0/destination", ["destination"], marks=TEXT),
])
def test_a_missing_property_is_named(rt, host, pointer, words):
    def remove(config):
        *path, last = pointer.strip("/").split("/")
        for key in path:
            config = config[int(key)] if isinstance(config, list) else config[key]
        del config[last]
    container = rt.container(remove)
    container.create().failed(*words)
    rt.assert_nothing_left(within=1)


@pytest.mark.parametrize("patch, words", [
    ({"process": {"args": []}}, ["args must not be empty"]),
    ({"process": {"cwd": ""}}, ["Cwd property must not be empty"]),
    ({"process": {"cwd": "relative"}}, ["Cwd must be an absolute path"]),
    pytest.param({"process": {"env": ["NOEQUALS"]}}, ["/process/env/0"], marks=LENIENT),
], ids=["no args", "empty cwd", "relative cwd", "env without ="])
def test_a_process_that_cannot_be_is_refused(rt, host, patch, words):
    refused(rt, rt.container(patch), *words)


@LENIENT
def test_duplicate_rlimits_are_refused(rt, host):
    limit = {"type": "RLIMIT_NOFILE", "soft": 10, "hard": 10}
    rt.container({"process": {"rlimits": [limit, limit]}}).create().failed("RLIMIT_NOFILE")


def test_a_soft_limit_above_the_hard_one_is_refused(rt, host):
    refused(rt, rt.container({"process": {"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 11, "hard": 10}]}}))


def test_a_namespace_given_twice_is_refused(rt, host):
    refused(rt, rt.container(set_at("/linux/namespaces/-", {"type": "pid"})), "duplicated ns")


def test_a_namespace_path_of_another_kind_is_refused(rt, host):
    refused(rt, rt.container(set_at("/linux/namespaces/1/path", "/proc/self/ns/ipc")))


def test_a_namespace_path_that_is_no_namespace_is_refused(rt, host):
    refused(rt, rt.container(set_at("/linux/namespaces/1/path", "/etc/passwd")))


def test_a_namespace_path_that_does_not_exist_is_refused(rt, host):
    refused(rt, rt.container(set_at("/linux/namespaces/1/path", "/no/such/ns")), "/no/such/ns")


def test_a_hostname_without_an_own_uts_namespace_is_refused(rt, host):
    container = rt.container({"linux": {"namespaces": [{"type": t} for t in ("pid", "network", "ipc", "mount")]}})
    refused(rt, container, "unable to set hostname without a private UTS namespace")


def test_masked_paths_without_an_own_mount_namespace_are_refused(rt, host):
    container = rt.container({"linux": {"namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts")]}})
    refused(rt, container, "unable to restrict sys entries without a private MNT namespace")


def test_a_new_user_namespace_without_mappings_is_refused(rt, host):
    refused(rt, rt.container(set_at("/linux/namespaces/-", {"type": "user"})))


@LENIENT
def test_mappings_without_a_user_namespace_are_refused(rt, host):
    line = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    refused(rt, rt.container({"linux": {"uidMappings": line, "gidMappings": line}}))


@pytest.mark.parametrize("key", ["kernel.core_pattern", "vm.overcommit_memory", "kernel.hostname", "fs.file-max",
                                 "kernel/modprobe", "/kernel/core_pattern", "",
                                 pytest.param("net/../kernel/core_pattern", marks=TEXT),
                                 pytest.param("net.ipv4.../../../kernel/core_pattern", marks=TEXT)])
def test_a_sysctl_of_the_host_is_refused_by_name(rt, host, key):
    refused(rt, rt.container({"linux": {"sysctl": {key: "1"}}}), "sysctl")


def test_an_unknown_sysctl_of_an_own_namespace_is_refused(rt, host):
    refused(rt, rt.container({"linux": {"sysctl": {"net.nonsense": "1"}}}))


@known_bad("runs everything but the notify agent")
@pytest.mark.parametrize("seccomp", [
    {"defaultAction": "SCMP_ACT_NOTIFY"},
    {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}]},
    {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getcwd"], "action": "SCMP_ACT_NOTIFY"}]},
    {"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"},
    {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [""], "action": "SCMP_ACT_ERRNO"}]},
    {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}]},
    {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1},
], ids=["default notify", "notify write", "no listener", "metadata alone", "empty name", "index 6", "errno with allow"])
def test_a_seccomp_profile_that_cannot_work_is_refused(rt, host, seccomp):
    refused(rt, rt.container({"linux": {"seccomp": seccomp}}))


# --- the root filesystem

def test_a_missing_rootfs_is_refused(rt, host):
    refused(rt, rt.container({"root": {"path": "nowhere"}}), "no such file or directory")


@pytest.mark.parametrize(("source", "destination"), [("file", "/etc"), ("directory", "/etc/passwd")])
def test_a_file_mounted_on_a_directory_and_the_reverse_are_refused(rt, host, source, destination):
    """By mount(2)'s ENOTDIR, from whose words docker and containerd derive their advice."""
    (rt.base / "file").write_text("")
    (rt.base / "directory").mkdir()
    refused(rt, rt.container(add_mounts(bind(rt.base / source, destination))), "not a directory")


@TEXT
def test_a_rootfs_that_is_a_file_is_refused(rt, host):
    container = rt.container({"root": {"path": "file"}})
    (container.bundle.path / "file").write_text("")
    refused(rt, container, "not a directory")


def test_a_rootfs_that_is_a_symlink_is_refused(rt, host, canary):
    container = rt.container({"root": {"path": "link"}})
    os.symlink("rootfs", container.bundle.path / "link")
    refused(rt, container, "symlink")


def test_a_rootfs_below_a_symlink_is_refused(rt, host):
    container = rt.container({"root": {"path": "up/rootfs"}})
    os.symlink(".", container.bundle.path / "up")
    refused(rt, container, "symlink")


@pytest.mark.parametrize("name", ["proc", "sys"])
@pytest.mark.parametrize("target", ["elsewhere", "/elsewhere", "../../../../../../tmp", "/nowhere", "loop", "."])
def test_a_symlink_where_proc_or_sys_shall_be_mounted_is_refused(rt, host, name, target):
    target = name if target == "loop" else target
    container = rt.container(rootfs={name: Link(target), "elsewhere/x": ""})
    refused(rt, container, "must be mounted on ordinary directory")


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_a_file_where_proc_or_sys_shall_be_mounted_is_refused(rt, host, name):
    refused(rt, rt.container(rootfs={name: "a file"}), "must be mounted on ordinary directory")


@known_bad("CVE-2026-41579")
def test_a_dev_that_is_a_symlink_out_of_the_rootfs_touches_nothing_outside(rt, host, canary):
    container = rt.container(without_mount("/dev"), rootfs={"dev": Link("../../canary")})
    container.create()
    canary.hostdiff()


@pytest.mark.parametrize("entry, words", [
    (mount("/mnt", "/no/such/source", "bind", ["bind"]), ["no such file or directory"]),
    (mount("/mnt", "nothing", "nosuchfs"), ["no such device"]),
    (mount("/mnt", "tmpfs", "tmpfs", ["nonsense=1"]), ["invalid argument"]),
    (mount("/proc/self/attr", "/etc", "bind", ["bind"]), ["because it is inside /proc"]),
    pytest.param(mount("/", "/etc", "bind", ["bind"]), [], marks=known_bad("1.1 accepts some of it")),
], ids=["no source", "unknown fs", "bad data", "inside proc", "root"])
def test_a_mount_that_cannot_be_made_is_refused_and_undone(rt, host, entry, words):
    refused(rt, rt.container(add_mounts(entry)), *words)


# --- the program

@pytest.mark.parametrize("args, words", [
    (["nonesuch"], ['"nonesuch": executable file not found in $PATH']),
    (["/no/such/program"], ["/no/such/program", "no such file or directory"]),
    (["/etc/passwd"], ["/etc/passwd", "permission denied"]),
    (["/etc"], ["/etc"]),
    ([""], ['"": executable file not found in $PATH']),
    (["."], ['".": executable file not found in $PATH']),
    (["./bin/none"], ["./bin/none", "no such file or directory"]),
    (["/etc/passwd/x"], ["/etc/passwd/x", "not a directory"]),
], ids=["name", "path", "not executable", "directory", "empty", "directory on the path", "relative", "below a file"])
def test_a_program_that_cannot_be_executed_fails_at_create_in_the_words_callers_match(rt, host, args, words):
    refused(rt, rt.container({"process": {"args": args}}), *words)


@known_bad("reports it after start")
def test_arguments_longer_than_the_kernel_takes_are_refused(rt, host):
    container = rt.container({"process": {"args": ["/bin/true", "x" * (200 << 10)]}})
    assert container.run().code == 1
    rt.assert_nothing_left()


# --- ids, and containers that are not there

BAD_IDS = ["", ".", "..", "a/b", "/", "a b", "a\nb", "ä", "a:", "a*", "../x", "a\\b", "'"]


@pytest.mark.parametrize("id", BAD_IDS)
def test_a_bad_id_is_refused_by_create(rt, host, id):
    words = ["container id cannot be empty"] if id == "" else ["invalid"]
    rt.call("create", "--bundle", rt.bundle().path, id).failed(*(words if id else []))
    assert rt.ids() == []


def test_an_id_longer_than_a_file_name_is_refused(rt, host):
    rt.call("create", "--bundle", rt.bundle().path, "x" * 256).failed()
    assert rt.ids() == []


VERBS = [("start", ()), ("state", ()), ("kill", ("KILL",)), ("delete", ()), ("ps", ())]


@pytest.mark.parametrize("verb, after", VERBS, ids=[verb for verb, _ in VERBS])
@pytest.mark.parametrize("id", ["unknown", "..", "../unknown", "a b"])
def test_an_unknown_or_bad_id_is_refused_by_every_verb(rt, host, verb, after, id):
    words = ["container does not exist"] if id == "unknown" else []
    rt.call(verb, id, *after).failed(*words)


def test_exec_in_an_unknown_container_fails_with_255(rt, host):
    rt.call("exec", "unknown", "true").failed("container does not exist", code=255)


def test_delete_does_not_climb_out_of_the_state_root(rt, host, canary):
    for id in ("..", "../canary", "../../canary", str(canary), "."):
        rt.call("delete", "-f", id)
    canary.hostdiff()


@pytest.mark.parametrize("name, words", [
    ("loop", ['exec: "loop": executable file not found in $PATH']),
    ("/bin/loop", ['"/bin/loop"', "too many levels of symbolic links"]),
])
def test_a_program_that_is_a_loop_of_links(rt, name, words):
    """Along PATH a file that cannot be looked at is none, to runc and so to the managers that read its words."""
    container = rt.container({"process": {"args": [name]}}, rootfs={"bin/loop": Link("loop")})
    container.run().failed(*words)


def test_a_second_create_of_an_id_is_refused_and_changes_nothing(rt, host):
    container = rt.container({"process": {"args": ["/bin/probe", "sleep"]}})
    container.create().ok()
    before = container.state().out
    other = rt.container()
    rt.call("create", "--bundle", other.bundle.path, container.id).failed("container with given ID already exists")
    other = rt.container({"process": {"terminal": True}})  # what is wrong with its terminal comes second, as with runc
    rt.call("create", "--bundle", other.bundle.path, container.id).failed("container with given ID already exists")
    assert container.state().out == before


# --- exec

@pytest.fixture
def up(rt):
    return rt.container({"process": {"args": ["/bin/probe", "sleep"]}}).up()


@pytest.mark.parametrize("argv, words", [
    (["nonesuch"], ['"nonesuch": executable file not found in $PATH']),
    (["/no/such"], ["/no/such", "no such file or directory"]),
    (["/etc/passwd"], ["/etc/passwd", "permission denied"]),
    ([""], ['"": executable file not found in $PATH']),
], ids=["name", "path", "not executable", "empty"])
def test_exec_of_a_program_that_cannot_be_executed_fails_with_255(rt, host, up, argv, words):
    up.exec(*argv).failed(*words, code=255)
    assert up.status == "running"


def test_exec_without_a_command_fails_with_255(rt, host, up):
    result = up.exec()
    assert result.code == 255 or result.code == 1 and "Incorrect Usage" in result.out, result


@pytest.mark.parametrize("text", ["", "{", "[]", '{"args": []}', '{"args": ["true"]}', '{"args": ["true"], "cwd": "x"}',
                                  '{"args": "true", "cwd": "/"}', '{"args": ["true"], "cwd": "/", "user": {"uid": -1}}'])
def test_exec_with_a_bad_process_file_fails_with_255(rt, host, up, text):
    (rt.base / "process.json").write_text(text)
    rt.call("exec", "--process", rt.base / "process.json", up.id).failed(code=255)


def test_exec_with_a_missing_process_file_fails_with_255(rt, host, up):
    rt.call("exec", "--process", rt.base / "none.json", up.id).failed("no such file or directory", code=255)


@pytest.mark.parametrize("options", [
    ("--user", "root"), ("--user", "-1"), ("--user", "+1"), ("--user", " 1"), ("--user", "1:"), ("--user", ":1"),
    ("--user", "4294967296"), ("--user", "0x1"), ("--user", "١"), ("--user", "1_0"), ("--user", "1:2:3"),
    ("--user", ""), ("--additional-gids", "x"), ("--preserve-fds", "x"), ("--preserve-fds", "-1"), ("--env", "NOEQUALS"),
], ids=lambda options: " ".join(options))
@known_bad("1.1's grammar is looser")
def test_exec_with_a_bad_option_fails(rt, host, up, options):
    result = up.exec("/bin/true", options=options)
    assert result.code in (1, 255) and "Traceback" not in result.err, result
    assert result.err.strip()


def test_exec_in_a_stopped_container_fails_with_255(rt, host, up):
    pid = up.pid
    up.kill("KILL").ok()
    up.wait_stopped(pid)
    up.exec("/bin/true").failed("cannot exec in a stopped container", code=255)


def test_exec_with_a_pid_file_leaves_none_when_it_fails(rt, host, up):
    up.exec("nonesuch", options=("-d", "--pid-file", rt.base / "pid")).failed(code=255)
    assert not (rt.base / "pid").exists()


# --- sockets

@pytest.mark.parametrize("option", ["--console-socket"])
def test_a_socket_that_is_not_there_is_refused(rt, host, option):
    terminal = {"process": {"terminal": True}}
    rt.container(terminal).create(option, rt.base / "none.sock").failed("no such file or directory")
    rt.assert_nothing_left()


def test_a_detached_terminal_without_a_socket_is_refused(rt, host):
    rt.container({"process": {"terminal": True}}).create().failed(
        "cannot allocate tty if", "will detach without setting console socket")
    rt.assert_nothing_left()


def test_a_console_socket_without_a_terminal_is_refused(rt, host):
    rt.container().create("--console-socket", rt.base / "x.sock").failed("cannot use console socket if")
    rt.assert_nothing_left()


def test_a_preserved_descriptor_that_is_not_open_is_refused(rt, host):
    rt.container().create("--preserve-fds", "200").failed("unable to stat preserved-fd")
    rt.assert_nothing_left()


def test_files_of_the_runtime_do_not_pass_for_preserved_descriptors(rt, host):
    """The log would have been the first, open for writing."""
    wrap = ("sh", "-c", 'exec "$@" 3</dev/null', "sh")
    rt.container().create("--preserve-fds", "1").failed("unable to stat preserved-fd 0 (of 1): bad file descriptor")
    rt.container().create("--preserve-fds", "2", wrap=wrap).failed("unable to stat preserved-fd 1 (of 2): bad file descriptor")
    rt.assert_nothing_left()
    up = rt.container({"process": {"args": ["/bin/probe", "sleep"]}}).up()
    up.exec("/bin/true", options=("--preserve-fds", "1")).failed("unable to stat preserved-fd 0 (of 1)", code=255)
    listening = ("sh", "-c", 'export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"', "sh")
    rt.container().create(wrap=listening).failed("LISTEN_FDS=1: descriptor 3 is not open")


@known_bad("takes it for zero")
def test_a_negative_count_of_preserved_descriptors_is_refused(rt, host, up):
    up.exec("/bin/true", options=("--preserve-fds", "-1")).failed("--preserve-fds -1", code=255)
    container = rt.container()
    container.create("--preserve-fds", "-1").failed("--preserve-fds -1")
    assert not (rt.root / container.id).exists()


# --- keys

def other_case(config):
    config["root"]["readOnly"] = config["root"].pop("readonly") or True
    config["process"]["NoNewPrivileges"] = config["process"].pop("noNewPrivileges")
    config["linux"]["MaskedPaths"] = [*config["linux"].pop("maskedPaths"), "/etc/passwd"]


def test_keys_in_another_case_hold_in_run_start_and_exec(rt, host):
    """As by runc's decoder; nothing is said of them but in the log."""
    script = "touch /x 2>/dev/null && echo writable; grep NoNewPrivs /proc/self/status; wc -c < /etc/passwd"
    expected = "NoNewPrivs:\t1\n0\n"
    container = rt.container(other_case, {"process": {"args": ["sh", "-c", script]}})
    assert container.run(log=False).ok().out == expected
    assert container.running.result(0).err == ""
    up = rt.container(other_case, {"process": {"args": ["/bin/probe", "sleep"]}}).up()
    result = up.exec("sh", "-c", script).ok()
    assert (result.out, result.err) == (expected, "")


@TEXT
def test_keys_in_another_case_and_misspelt_ones_are_warned_of_once(rt, host):
    container = rt.container(other_case, {"process": {"args": ["/bin/true"], "capabilites": {}}, "linux": {"future": 1}})
    warnings = [entry["msg"] for entry in container.run().ok().log if entry["level"] == "warning"]
    assert len(warnings) == 2 and [words in warnings[0] for words in ("/root/readOnly: did you mean readonly?", "/linux/MaskedPaths")]
    assert "/process/capabilites: did you mean capabilities?" in warnings[1] and "future" not in "".join(warnings)
    said = rt.call("validate", "--bundle", container.bundle.path)
    assert said.code == 1 and "/root/readOnly: did you mean readonly?" in said.out and "/process/capabilites" in said.out


# --- words

@TEXT
@pytest.mark.parametrize(("data", "words"), [
    (b"#!/bin/sh\r\n", 'no such file or directory: it needs the interpreter "/bin/sh\\r", which is not in the root file system (its '
                       'first line ends in CR LF)'),
    (b"#!/usr/bin/nope\n", 'no such file or directory: it needs the interpreter "/usr/bin/nope"'),
    (b"\x7fELF\2\1\1" + bytes(9) + b"\3\0\xf3\0" + bytes(44), "exec format error: it is a program for riscv64, and this machine is "),
    (b"", "exec format error: it is an empty file"),
], ids=["dos", "interpreter", "machine", "empty"])
@pytest.mark.parametrize("name", ["/bin/program", "program"])
def test_why_a_program_cannot_be_executed_is_said_by_run_start_and_exec(rt, host, data, words, name):
    rootfs = {"bin/program": File(data, 0o755)}
    container = rt.container({"process": {"args": [name]}}, rootfs=rootfs)
    container.run().failed(f'exec: "{name}": {words}')
    rt.assert_nothing_left(within=1)
    container.create().ok()
    container.start().failed(f'exec: "{name}": {words}')
    container.delete("-f").ok()
    up = rt.container({"process": {"args": ["/bin/probe", "sleep"]}}, rootfs=rootfs).up()
    up.exec(name).failed(f'exec: "{name}": {words}', code=255)


@TEXT
def test_a_startcontainer_hook_that_cannot_be_executed_is_explained_too(rt, host):
    container = rt.container({"hooks": {"startContainer": [{"path": "/bin/hook"}]}}, rootfs={"bin/hook": File("#!/none\n", 0o755)})
    container.run().failed('/bin/hook: no such file or directory: it needs the interpreter "/none"')


@TEXT
def test_limits_directories_and_files_are_named(rt, host):
    container = rt.container({"process": {"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 1 << 40}]}})  # above fs.nr_open
    container.run().failed("/process/rlimits: setrlimit RLIMIT_NOFILE to 10, 1099511627776: operation not permitted")
    rt.container({"process": {"cwd": "/etc/passwd"}}).run().failed("/process/cwd", '"/etc/passwd": not a directory')
    container = rt.container({"annotations": {"a": "x" * 2000}})
    container.run(preexec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))).failed(
        f"write {container.directory}/config.json: file too large")


@TEXT
@pytest.mark.parametrize("verb", ["list", "state", "features"])
def test_a_full_device_as_standard_output_is_named(rt, verb):
    up = rt.container({"process": {"args": ["/bin/probe", "sleep"]}}).up()
    with open("/dev/full", "w") as full:
        done = subprocess.run([rt.binary, "--root", rt.root, verb, *([up.id] if verb == "state" else [])], stdout=full, stderr=subprocess.PIPE,
                              text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "write standard output: no space left on device\n")


@TEXT
def test_too_little_memory_is_no_internal_error(rt, host):
    """Wherever it runs out, once the interpreter itself has enough: each limit ends in success, or in one line."""
    def limited(kilobytes):
        return lambda: resource.setrlimit(resource.RLIMIT_AS, (kilobytes << 10, kilobytes << 10))
    enough = next(kilobytes for kilobytes in range(8 << 10, 64 << 10, 128)
                  if rt.call("--version", preexec=limited(kilobytes), log=False).code == 0)
    said = set()
    for kilobytes in range(enough + 128, enough + (4 << 10), 128):
        container = rt.container({"process": {"args": ["/bin/true"]}})
        result = container.run(preexec=limited(kilobytes))
        if result.code == -signal.SIGSEGV:  # CPython and its extensions do not check all they allocate
            assert result.err == "", result
            container.delete("-f")
            continue
        assert result.code == 0 or len(result.err.splitlines()) in (1, 2), result
        assert "internal error" not in result.err and "Traceback" not in result.err, result
        said.add(result.err.split("\n")[0])
        container.delete("-f")
    assert [line for line in said if "out of memory" in line or "cannot load" in line], said
