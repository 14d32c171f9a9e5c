"""One test per published runc vulnerability, named by its identifier.

Rows that need features of later issues (the systemd driver: CVE-2024-3154; AppArmor and SELinux hosts) are tested as
far as this machine goes. A race is attempted for PYRUNC_RACE_SECONDS (kit/race.py); raise it for a longer hunt.
"""

import glob
import json
import os
import re
import subprocess
import time

import pytest
from kit.bundle import Dir, File, Link, Node, add_mounts, bind, caps, mount, namespaces, place, userns, without_mount
from kit.canary import runtime_files
from kit.console import FdSocket
from kit.observe import caps as caps_of
from kit.observe import cap_mask, mounts
from kit.race import attack
from kit.runtime import wait_until
from kit.trace import container_side, trace

known_bad = pytest.mark.runc_known_bad
SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
EPERM, EROFS, EACCES, ENOENT = 1, 30, 13, 2


def attempt(*what):
    return {"process": {"args": ["/bin/probe", "try", *what]}}


HUNT_LOG = "tmp/hunt.log"


def hunting(*more):
    return {"process": {"args": ["/bin/hunt", f"/{HUNT_LOG}", *more]}}


def lines_of(path):
    """The hunter's findings as (what, exe, detail)."""
    return [tuple(line.rstrip("\n").split("\t")) for line in open(path, errors="replace") if line.count("\t") == 2]


def hunted_execs(container, most):
    """Exec again and again, `most` times or for 6 s, 60 times at least, while the container's hunter looks; what it has found."""
    log = container.rootfs / HUNT_LOG
    wait_until(log.exists, what="no hunter")
    deadline, rounds = time.monotonic() + 6, 0
    while rounds < 60 or time.monotonic() < deadline and rounds < most:
        container.exec("/bin/true").ok()
        rounds += 1
    (container.rootfs / f"{HUNT_LOG}.stop").write_text("")
    wait_until(lambda: "done" in log.read_text(errors="replace"), what="the hunter goes on")
    return lines_of(log)


# --- 2.1 the libcontainer era

@known_bad("1.5 keeps all capabilities when the object is absent")
def test_shocker_no_capabilities_object_means_no_capability(rt):
    def edit(config):
        config["process"].pop("capabilities")
    assert set(caps_of(rt.container(edit).probe()).values()) == {0}


@pytest.mark.parametrize("secret", ["/../../canary/secret", "../../../canary/secret", None])
def test_cve_2015_3627_a_symlinked_dev_null_does_not_become_stdin(rt, canary, host, secret):
    """stdin is /dev/null, which runtimes reopen inside; the image's /dev/null is a link to a host file."""
    directory = rt.base / "dev"
    directory.mkdir()
    os.symlink(secret or canary.path / "secret", directory / "null")

    def replace(config):
        without_mount("/dev")(config)
        config["linux"]["maskedPaths"] = []
        config["mounts"].append(bind(directory, "/dev"))
    result = rt.container(replace).run()
    if result.code == 0:
        stdin = result.json()["fds"]["0"]
        assert stdin["rdev"] == "1:3" or stdin["type"] == "fifo", stdin
    canary.hostdiff()


def test_cve_2015_3629_a_symlinked_destination_is_resolved_in_the_root_each_time(rt, canary, host):
    source = rt.base / "source"
    source.mkdir()
    container = rt.container(add_mounts(bind(source, "/a"), bind(source, "/a/b")), rootfs={"a": Link(canary.path)})
    for _ in range(2):
        container.run()
        canary.hostdiff()


def test_cve_2015_3630_every_default_masked_and_readonly_path_holds(rt):
    rt.call("spec", cwd=rt.base).ok()
    config = json.loads((rt.base / "config.json").read_text())
    masked, readonly = config["linux"]["maskedPaths"], config["linux"]["readonlyPaths"]
    assert {"/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"} <= set(masked)
    assert {"/proc/sys", "/proc/sysrq-trigger", "/proc/bus"} <= set(readonly)
    container = rt.container(caps("CAP_SYS_ADMIN", "CAP_SYS_RAWIO", "CAP_DAC_OVERRIDE"), {"linux": {
        "maskedPaths": masked, "readonlyPaths": readonly}}, attempt(
            *(f"read:{path}" for path in masked), *(f"dir:{path}" for path in masked), *(f"write:{path}" for path in readonly),
            "write:/proc/sys/kernel/core_pattern"))
    for entry in container.run().ok().json():
        if entry["op"] == "read":
            assert entry["errno"] or entry.get("data") == "", entry
        elif entry["op"] == "dir":
            assert entry["rc"] <= 0, entry
        else:
            assert entry["errno"] in (EROFS, ENOENT, 21), entry        # 21: a directory cannot be opened for writing


@known_bad("1.1 lets a tmpfs be mounted inside /proc")
@pytest.mark.parametrize("destination", ["/proc/self/attr", "/proc/sys/kernel", "/proc/1", "/proc/self", "/proc/sysrq-trigger",
                                         "/proc/../proc/self/attr", "proc/self/attr"])
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_cve_2015_3631_nothing_is_mounted_inside_proc(rt, host, destination, kind):
    source = rt.base / "source"
    source.mkdir()
    entry = bind(source, destination) if kind == "bind" else mount(destination, "tmpfs", "tmpfs")
    rt.container(add_mounts(entry)).create().failed("inside /proc")


def test_cve_2015_3631_lxcfs_files_may_still_be_mounted(rt):
    (rt.base / "uptime").write_text("1 2\n")
    container = rt.container(add_mounts(bind(rt.base / "uptime", "/proc/uptime")), attempt("read:/proc/uptime"))
    assert container.run().ok().json()[0]["data"] == "1 2\n"


def test_cve_2015_3631_a_link_to_proc_is_no_way_around(rt, host):
    source = rt.base / "source"
    source.mkdir()
    container = rt.container(add_mounts(bind(source, "/link/self/attr")), rootfs={"link": Link("/proc")})
    container.create().failed()


def test_cve_2016_3697_a_numeric_user_is_never_looked_up_as_a_name(rt):
    passwd = {"etc/passwd": "1000:x:0:0::/trap:/bin/sh\nreal:x:1000:1000::/right:/bin/sh\n"}
    up = rt.container(SLEEP, rootfs=passwd).up()
    seen = up.exec("/bin/probe", options=("--user", "1000")).ok().json()
    assert seen["uids"] == [1000] * 3 and seen["gids"][0] != 1000 and "HOME=/right" in seen["env"]
    seen = rt.container({"process": {"user": {"uid": 1000, "gid": 1000}}}, rootfs=passwd).probe()
    assert seen["uids"] == [1000] * 3 and "HOME=/right" in seen["env"]


def test_cve_2016_8867_an_ordinary_user_gets_no_ambient_capability_unasked(rt):
    seen = rt.container(caps("CAP_KILL", "CAP_CHOWN"), {"process": {"user": {"uid": 1000, "gid": 1000}}}).probe()
    assert caps_of(seen)["amb"] == caps_of(seen)["eff"] == caps_of(seen)["prm"] == 0


@known_bad("joins with a fd of the state directory that can be seen for a moment, or differs in what /proc shows")
@pytest.mark.parametrize("user_namespace", [True, False], ids=["user namespace", "host's"])
def test_cve_2016_9962_nobody_in_the_container_can_attach_to_the_process_that_enters(rt, user_namespace):
    """A hunter with CAP_SYS_PTRACE spins on /proc while the host execs: no attach, no descriptor from outside.

    Without a user namespace the capability beats non-dumpability, so there only the descriptors are looked at.
    """
    patches = [userns()] if user_namespace else []
    container = rt.container(*patches, caps("CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"),
                             hunting(*(["attach"] if user_namespace else []))).up()
    found = hunted_execs(container, 500)
    assert len([line for line in found if line[0] == "sighted"]) > 0, "the hunter saw nothing"
    assert [line for line in found if line[0] == "ptrace" and not line[1].startswith("/bin/")] == []
    allowed = ("/dev/null", "/memfd:", "pipe:", "socket:", "our proc", "in our tree")
    strange = [line for line in found if line[0] == "fd" and (not line[2].startswith(allowed) or "state" in line[2].split("/"))]
    assert strange == []


def without_mount_namespace(config):
    config["linux"].update(namespaces=[{"type": "pid"}], maskedPaths=[], readonlyPaths=[])
    config["mounts"] = config["mounts"][:1]
    config.pop("hostname", None)


@known_bad("joins with descriptors of the host's")
@pytest.mark.parametrize("patch", [{}, without_mount_namespace], ids=["", "no mount namespace"])
def test_cve_2016_9962_nothing_of_the_hosts_comes_along_with_the_process_that_enters(rt, patch):
    """oomScoreAdj is written to the host's procfs: with CAP_SYS_PTRACE, a descriptor of that is a way to the host's tree. The
    hunter looks at all that the joining process holds, and says of each whose it is: root, working directory, descriptors."""
    container = rt.container(patch, {"process": {"oomScoreAdj": 77}}, caps("CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"), hunting()).up()
    found = hunted_execs(container, 500)
    joining = [line for line in found if not line[1].startswith("/bin/")]
    assert {line[0] for line in joining} >= {"sighted", "fd", "root", "cwd"}, "the hunter saw nothing"
    allowed = ("/dev/null", "/memfd:pyrunc:init", "pipe:", "socket:", "in our tree", f"{rt.base}/")  # the last is exec's own stdio
    assert [line for line in joining if line[0] in ("fd", "root", "cwd") and not line[2].startswith(allowed)] == []


@known_bad("shows what it joins with")
def test_cve_2016_9962_a_container_that_joins_the_pid_namespace_brings_nothing_that_leads_to_the_host(rt):
    up = rt.container(caps("CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"), hunting()).up()
    # nothing is masked: of what lies in a procfs, other than its root, the hunter cannot say whose it is
    bundle = rt.bundle(namespaces("mount", "uts", "network", "ipc", pid=f"/proc/{up.pid}/ns/pid"),
                       {"process": {"oomScoreAdj": 77, "args": ["/bin/true"]}, "linux": {"maskedPaths": [], "readonlyPaths": []}})
    for _ in range(20):
        rt.container(bundle=bundle).run().ok()
    (up.rootfs / f"{HUNT_LOG}.stop").write_text("")
    log = up.rootfs / HUNT_LOG
    wait_until(lambda: "done" in log.read_text(errors="replace"), what="the hunter goes on")
    held = [line for line in lines_of(log) if line[0] == "fd" and line[1].startswith("/memfd:")]
    assert held, "the hunter saw nothing"
    namespace = re.compile(r"(mnt|net|pid|ipc|uts|user|time|cgroup):\[")
    assert [line for line in held if line[2] in ("another proc", "anon_inode:[pidfd]") or line[2].endswith("/tasks")
            or namespace.match(line[2])] == []


def test_cve_2020_14298_what_is_tested_is_the_installed_artefact(rt):
    """Nothing of a source tree is read: not the checkout's package, not its spec files."""
    tree = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    result, calls = trace(rt, "state", "none", calls="open,openat,openat2,execve,stat,newfstatat")
    assert result.code == 1
    source = os.path.join(tree, "pyrunc") + "/"
    assert [call for call in calls if f'"{source}' in call.text and call.ok] == []


# --- 2.2 the 1.0 series

@known_bad("1.1 and 1.5 show their own copy or overlay as exe")
def test_cve_2019_5736_an_entrypoint_of_proc_self_exe_changes_nothing_on_the_host(rt, host):
    before = runtime_files(rt.binary)
    for interpreter in ("/proc/self/exe", "/proc/self/exe -c"):
        container = rt.container({"process": {"args": ["/entry"]}}, rootfs={"entry": File(f"#!{interpreter}\n", 0o755)})
        assert container.run().code != 0
    up = rt.container(SLEEP).up()
    (up.rootfs / "entry").write_text("#!/proc/self/exe\n")
    os.chmod(up.rootfs / "entry", 0o755)
    assert up.exec("/entry").code != 0
    assert runtime_files(rt.binary) == before


@known_bad("shows a copy of itself as /memfd or an overlay")
@pytest.mark.parametrize("user_namespace", [False, True], ids=["", "user namespace"])
def test_cve_2019_5736_the_runtimes_executable_is_never_seen_or_writable_from_inside(rt, user_namespace):
    before = runtime_files(rt.binary)
    patches = [userns()] if user_namespace else []
    container = rt.container(*patches, caps("CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN"), hunting()).up()
    found = hunted_execs(container, 200)
    seen = {line[1] for line in found if line[0] in ("sighted", "exe-open")} - {""}
    assert [exe for exe in seen if not exe.startswith("/bin/") and not (exe.startswith("/memfd:") and exe.endswith("(deleted)"))] == []
    assert [line for line in found if line[0] == "exe-writable" and not line[1].startswith("/bin/")] == []
    assert runtime_files(rt.binary) == before


def test_cve_2019_16884_a_directory_bound_over_proc_is_refused(rt, host):
    source = rt.base / "proc"
    (source / "self/attr").mkdir(parents=True)

    def replace(config):
        without_mount("/proc")(config)
        config["mounts"].insert(0, bind(source, "/proc"))
    rt.container(replace).create().failed("not of type proc")


@known_bad("1.1 fails later")
@pytest.mark.parametrize("kind", ["tmpfs", "sysfs"])
def test_cve_2019_16884_another_file_system_over_proc_is_refused(rt, host, kind):
    def replace(config):
        without_mount("/proc")(config)
        config["mounts"].insert(0, mount("/proc", kind, kind))
    rt.container(replace).create().failed("not of type proc")


@pytest.mark.parametrize("name, target", [(name, target) for name in ("proc", "sys") for target in (
    "bad-proc", "/bad-proc", "../../../../../../../../tmp", "/nowhere/at/all", "{name}", "/proc", "./{name}/")])
def test_cve_2019_19921_2023_27561_2025_54867_a_linked_proc_or_sys_is_refused(rt, host, canary, name, target):
    container = rt.container(rootfs={name: Link(target.format(name=name)), "bad-proc/x": ""})
    container.create().failed("must be mounted on ordinary directory")
    canary.hostdiff()


def test_cve_2023_28642_a_linked_proc_with_a_mount_below_is_refused(rt, host):
    container = rt.container(add_mounts(mount("/bad/self/attr", "tmpfs", "tmpfs")), rootfs={"proc": Link("bad"), "bad/x": ""})
    container.create().failed("must be mounted on ordinary directory")


@pytest.mark.parametrize("rules", [[], None, [{"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}]],
                         ids=["empty", "absent", "allow only"])
def test_ghsa_g54h_a_device_list_without_a_deny_rule_still_denies(rt, rules):
    """Opening is what counts: mknod itself is allowed for every device."""
    def edit(config):
        if rules is None:
            config["linux"]["resources"].pop("devices")
        else:
            config["linux"]["resources"]["devices"] = rules
    container = rt.container(caps("CAP_MKNOD", "CAP_SYS_RAWIO", "CAP_SYS_ADMIN"), edit,
                             attempt("mknod-b:/tmp/sda", "stat:/tmp/sda", "read:/tmp/sda"))
    assert [entry["errno"] for entry in container.run().ok().json()] [::2] == [EPERM, EPERM]


def no_host_root_in(rt, seen):
    device = os.stat("/").st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    return [m for m in mounts(seen) if m.device == number and m.root == "/"] == []


@known_bad("reports a refusal in several lines at times")
@pytest.mark.parametrize("target", ["/", "../../../../../../../../..", "/proc/1/root", "/proc/self/root"])
def test_cve_2021_30465_a_swapped_destination_never_mounts_the_hosts_root(rt, canary, host, target):
    volume, source = rt.base / "volume", rt.base / "source"
    for path in (volume / "dir", volume / "keep", source):
        path.mkdir(parents=True)
    os.symlink(target, volume / "link")
    entries = add_mounts(bind(volume, "/vol"), bind(source, "/vol/dir"), bind(source, "/vol/dir/again"), bind(volume, "/vol2"))
    container = rt.container(entries)
    outcome = {0: 0}

    def once(_):
        result = container.run()
        outcome[result.code] = outcome.get(result.code, 0) + 1
        if result.code == 0:
            seen = result.json()
            assert no_host_root_in(rt, seen), seen["mountinfo"]
            assert set(seen["top"]) <= {"vol", "vol2", "again", "bin", "dev", "etc", "mnt", "proc", "root", "sys", "tmp"}
        else:
            result.failed()
        canary.hostdiff()
    rounds = attack(volume / "dir", volume / "link", once, seconds=1.5)
    assert rounds >= 5, "too few attempts"


LENGTHS = [65535, 65536, 1 << 20]
PLACES = {
    "env": lambda text: {"process": {"env": ["PATH=/bin", "LONG=" + text]}},
    "args": lambda text: {"process": {"args": ["/bin/probe", text]}},
    "hostname": lambda text: {"hostname": text},
    "cwd": lambda text: {"process": {"cwd": "/" + text}},
    "annotation": lambda text: {"annotations": {"long": text}},
    "masked path": lambda text: {"linux": {"maskedPaths": ["/" + text]}},
    "sysctl": lambda text: {"linux": {"sysctl": {"net.ipv4.ip_forward": text}}},
    "mount source": lambda text: add_mounts(mount("/mnt", "/" + text, "bind", ["bind"])),
    "mount data": lambda text: add_mounts(mount("/mnt", "tmpfs", "tmpfs", ["size=1m", "x" + text])),
    "cgroupsPath": lambda text: {"linux": {"cgroupsPath": "/pyrunc-test-" + text}},
}


@known_bad("words some of these otherwise or in several lines")
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("place", PLACES)
def test_cve_2021_43784_a_string_of_any_length_arrives_whole_or_is_refused(rt, host, place, length):
    text = "x" * length
    result = rt.container(PLACES[place](text)).run()
    if result.code:
        result.failed()
        return
    seen = result.json()
    if place == "env":
        assert "LONG=" + text in seen["env"]
    elif place == "args":
        assert seen["argv"][1] == text
    else:
        assert place == "annotation"


@known_bad("its netlink message ends at 64 KiB")
def test_cve_2021_43784_many_mounts_do_not_overflow_anything(rt):
    directories = [rt.base / f"{'long-name-' * 15}{n}" for n in range(500)]
    for directory in directories:
        directory.mkdir()
    entries = [bind(directory, f"/mnt/{n}") for n, directory in enumerate(directories)]
    # the directories are there: root of a user namespace may not make them in a root file system of the host's root
    container = rt.container(userns(), add_mounts(*entries), rootfs={f"mnt/{n}": Dir() for n in range(500)})
    seen = container.probe()
    assert len([m for m in mounts(seen) if m.point.startswith("/mnt/")]) == 500
    assert seen["ns"]["user"] != os.readlink("/proc/self/ns/user")


# --- 2.3 1.1 and later

def test_cve_2022_29162_2022_27650_2025_27612_nothing_fills_the_inheritable_set_unasked(rt):
    rt.call("spec", cwd=rt.base).ok()
    template = json.loads((rt.base / "config.json").read_text())["process"]["capabilities"]
    assert not template.get("inheritable")
    up = rt.container(SLEEP).up()
    for options in ((), ("--cap", "CAP_SYS_PTRACE"), ("--cap", "CAP_KILL", "-u", "1000")):
        found = caps_of(up.exec("/bin/probe", options=options).ok().json())
        assert found["inh"] == found["amb"] == 0, options
        if "CAP_SYS_PTRACE" in options:
            assert found["bnd"] & cap_mask("SYS_PTRACE") and found["eff"] & cap_mask("SYS_PTRACE")
    (rt.base / "process.json").write_text(json.dumps({
        "args": ["/bin/probe"], "cwd": "/", "user": {"uid": 0, "gid": 0},
        "capabilities": {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]}}))
    found = caps_of(rt.call("exec", "-p", rt.base / "process.json", up.id).ok().json())
    assert found == {"inh": 0, "amb": 0, "bnd": cap_mask("KILL"), "prm": cap_mask("KILL"), "eff": cap_mask("KILL")}


@known_bad("an rbind of a cgroup v1 host's /sys stays writable below")
@pytest.mark.parametrize("cgroup_namespace", [True, False], ids=["private", "host's"])
@pytest.mark.parametrize("sys", ["sysfs", "rbind"])
def test_cve_2023_25809_no_cgroup_directory_is_writable(rt, cgroup_namespace, sys):
    """Root of a user namespace that is the host's root by uid (what `spec --rootless` makes of a root caller)."""
    kinds = ["pid", "ipc", "uts", "mount"] + (["network"] if sys == "sysfs" else []) + (["cgroup"] if cgroup_namespace else [])

    def edit(config):
        if sys == "rbind":
            config["mounts"][5] = mount("/sys", "/sys", "none", ["rbind", "nosuid", "noexec", "nodev", "ro"])
        config["mounts"].append(mount("/sys/fs/cgroup", "cgroup", "cgroup", ["nosuid", "noexec", "nodev", "relatime", "ro"]))
        config["linux"].pop("resources")
    groups = ["/sys/fs/cgroup", *(f"/sys/fs/cgroup/{name}" for name in os.listdir("/sys/fs/cgroup"))]
    container = rt.container(namespaces(*kinds), userns(host=0, size=65536), edit,
                             attempt(*(f"mkdir:{group}/{rt.token}-x" for group in groups),
                                     *(f"write:{group}/cgroup.procs" for group in groups)))
    result = container.run()
    for entry in result.ok().json():
        assert entry["errno"], entry
    assert glob.glob(f"/sys/fs/cgroup/**/{rt.token}-x", recursive=True) == []


@known_bad("1.1 on cgroup v1 ignores unified")
@pytest.mark.parametrize("key", ["../x.max", "a/b.max", "memory.max\0", "..", ".", "/memory.max", "cgroup.procs/../x", ""])
def test_ghsa_5g49_a_unified_key_cannot_leave_the_cgroup(rt, host, key):
    rt.container({"linux": {"resources": {"unified": {key: "1"}}}}).create().failed()


@known_bad("an invalid directory is reported otherwise")
@pytest.mark.parametrize("cgroup", ["/{}/../../../../tmp/{}", "/../{}", "/{}/..", "../../../{}"])
def test_ghsa_5g49_dots_in_the_cgroups_path_stay_inside_the_hierarchy(rt, host, cgroup):
    container = rt.container({"linux": {"cgroupsPath": cgroup.format(rt.token, rt.token)}}, SLEEP)
    container.create()
    if container.directory.exists():
        with open(f"/proc/{container.pid}/cgroup") as lines:
            assert ".." not in lines.read()
        container.delete("-f").ok()
    assert not os.path.exists(f"/tmp/{rt.token}/cgroup.procs")
    for path in glob.glob(f"/sys/fs/cgroup/*/{rt.token}"):
        os.rmdir(path)


def leaking(rt, *extra):
    """A wrapper that leaves 20 descriptors without CLOEXEC to the runtime: directories of the host, pipes, sockets."""
    opened = "".join(f"exec {fd}<{path}; " for fd, path in zip(range(10, 30), ("/", "/etc", str(rt.base), "/sys/fs/cgroup", "/root") * 4, strict=True))
    return ("/bin/bash", "-c", opened + 'exec "$@"', "x", *extra)


def test_cve_2024_21626_no_leaked_descriptor_reaches_the_program(rt):
    seen = rt.container().run(wrap=leaking(rt)).ok().json()
    assert sorted(seen["fds"]) == ["0", "1", "2"]
    up = rt.container(SLEEP).up(wrap=leaking(rt))
    assert sorted(up.exec("/bin/probe", wrap=leaking(rt)).ok().json()["fds"]) == ["0", "1", "2"]


def test_cve_2024_21626_no_descriptor_is_a_working_directory(rt):
    """n from 3 to 64, in one go by exec and in steps by create; none may succeed, whatever the runtime has open."""
    up = rt.container(SLEEP).up()
    for n in range(3, 65):
        assert up.exec("/bin/true", options=("--cwd", f"/proc/self/fd/{n}")).code == 255, n
    for n in range(3, 24):
        container = rt.container({"process": {"cwd": f"/proc/self/fd/{n}"}})
        assert container.create(wrap=leaking(rt)).code == 1, n
    rt.call("delete", "-f", up.id).ok()
    rt.assert_nothing_left()


@pytest.mark.parametrize("form", ["/proc/self/fd/{}/../../../../canary", "/proc/thread-self/fd/{}", "/proc/1/fd/{}", "/proc/self/cwd",
                                  "/proc/self/../self/fd/{}"])
def test_cve_2024_21626_other_ways_to_a_descriptor_fail_too(rt, form):
    for n in range(3, 14):
        container = rt.container({"process": {"cwd": form.format(n)}})
        result = container.run(wrap=leaking(rt))
        if result.code == 0:
            assert result.json()["cwd"] == "/", result


def test_cve_2024_21626_no_descriptor_is_a_way_to_the_program(rt):
    for n in range(3, 20):
        for tail in ("", "/bin/sh", "/bin/bash", "/usr/bin/env"):
            container = rt.container({"process": {"args": [f"/proc/self/fd/{n}{tail}"]}})
            assert container.run(wrap=leaking(rt)).code != 0, (n, tail)


@known_bad("1.1 prints none")
def test_cve_2024_3154_features_names_the_annotations_that_are_acted_upon(rt):
    features = rt.call("features").ok().json()
    assert "org.systemd.property." in features["potentiallyUnsafeConfigAnnotations"]


@known_bad("has no explain")
@pytest.mark.parametrize("name, value", [("ExecStopPost", "[('/bin/sh', ['sh'], false)]"), ("OnFailure", "['x.service']"),
                                         ("FailureAction", "'reboot'"), ("MemoryHigh", "'x'"), ("Exec/Stop", "1")])
def test_cve_2024_3154_annotations_set_no_property_that_executes(rt, name, value):
    box = rt.container({"annotations": {f"org.systemd.property.{name}": value}, "linux": {"cgroupsPath": "a.slice:p:n"}})
    rt.call("explain", "--bundle", box.bundle.path, "--facts", "root-v2", options=("--systemd-cgroup",)).failed(
        f"annotation org.systemd.property.{name}")
    rt.call("explain", "--bundle", box.bundle.path, "--facts", "root-v2").ok()  # without the driver they are only texts


@known_bad("makes empty files and directories on the host (CVE-2024-45310), or reports in several lines")
@pytest.mark.parametrize("target", ["absolute", "relative"])
def test_cve_2024_45310_a_swapped_parent_makes_no_file_on_the_host(rt, canary, host, target):
    volume, source = rt.base / "volume", rt.base / "source"
    (volume / "dir").mkdir(parents=True)
    source.mkdir()
    (source / "file").write_text("x")
    os.symlink(canary.path if target == "absolute" else "../../canary", volume / "link")
    os.mkdir(volume / "dir" / "filled")

    def once(n):
        entries = add_mounts(bind(volume, "/vol"), bind(source / "file", f"/vol/dir/file{n}"), bind(source, f"/vol/dir/a{n}/b/c"))
        container = rt.container(entries)
        result = container.run()
        assert result.code in (0, 1) and "Traceback" not in result.err, result
        canary.hostdiff()
    assert attack(volume / "dir", volume / "link", once, seconds=2) >= 5


def masked_only(config):
    config["linux"]["maskedPaths"] = ["/proc/keys", "/proc/timer_list"]


MASKED = attempt("read:/proc/keys", "write:/proc/keys", "read:/proc/timer_list", "put:/proc/timer_list")


def mask_holds(result):
    """The run failed, or each masked file read as nothing."""
    if result.code:
        assert "Traceback" not in result.err, result
        return
    for entry in result.json():
        assert entry["op"] != "read" or entry.get("data") == "", entry


@known_bad("CVE-2025-31133")
@pytest.mark.parametrize("target", ["/proc/sys/kernel/core_pattern", "/proc/kmsg", "/bin/busybox"])
def test_cve_2025_31133_2025_62161_a_swapped_dev_null_never_unmasks(rt, host, target):
    directory = rt.base / "dev"
    directory.mkdir()
    os.mknod(directory / "null", 0o20666, os.makedev(1, 3))
    os.symlink(target, directory / "evil")

    def shared_dev(config):
        without_mount("/dev")(config)
        config["mounts"].append(bind(directory, "/dev"))
    container = rt.container(shared_dev, masked_only, caps("CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"), MASKED)
    assert attack(directory / "null", directory / "evil", lambda _: mask_holds(container.run()), seconds=2) >= 5


@known_bad("CVE-2025-31133")
@pytest.mark.parametrize("null", [None, Link("/proc/sys/kernel/core_pattern"), Link("zero"), File("text"), Node("c", 1, 5), Dir()],
                         ids=["missing", "link to core_pattern", "link to zero", "file", "zero", "directory"])
def test_cve_2025_31133_a_dev_null_that_is_none_fails_the_create(rt, host, null):
    directory = rt.base / "dev"
    directory.mkdir()
    place(directory / "null", null)
    os.mknod(directory / "zero", 0o20666, os.makedev(1, 5))

    def shared_dev(config):
        without_mount("/dev")(config)
        config["mounts"].append(bind(directory, "/dev"))
    rt.container(shared_dev, masked_only, SLEEP).create().failed()
    rt.assert_nothing_left()


@known_bad("CVE-2025-52565")
@pytest.mark.parametrize("entry", ["pts/0", "console", "ptmx", "pts/ptmx", "all"])
def test_cve_2025_52565_linked_terminals_in_a_shared_dev_touch_nothing_outside(rt, canary, host, entry):
    directory = rt.base / "dev"
    (directory / "pts").mkdir(parents=True)
    os.mknod(directory / "null", 0o20666, os.makedev(1, 3))
    links = {"pts/0": "/proc/sysrq-trigger", "console": canary.path / "empty", "ptmx": canary.path / "secret",
             "pts/ptmx": canary.path / "secret"}
    for name in links if entry == "all" else [entry]:
        os.symlink(links[name], directory / name)

    def shared_dev(config):
        without_mount("/dev")(config)
        config["mounts"].append(bind(directory, "/dev"))
    with FdSocket(rt.base / "console.sock") as console:
        container = rt.container(shared_dev, {"process": {"terminal": True}})
        result = container.create("--console-socket", console.path)
        assert "Traceback" not in result.err
        canary.hostdiff()
        if result.code == 0:
            _, fd = console.receive()
            assert os.major(os.fstat(fd).st_rdev) in (5, 128), "the terminal is not a pty"


@known_bad("CVE-2025-52565")
@pytest.mark.parametrize("content", [Link("{canary}/new"), Link("{canary}/empty"), Link("/proc/sysrq-trigger"), File("precious")],
                         ids=["link to nothing", "link to a host file", "link to sysrq-trigger", "a file"])
def test_cve_2025_52565_88264_a_linked_console_in_the_image_touches_nothing_outside(rt, canary, host, content):
    if isinstance(content, Link):
        content = Link(content.target.format(canary=canary))
    with FdSocket(rt.base / "console.sock") as console:
        container = rt.container(lambda config: config["mounts"].__delitem__(slice(1, None)),
                                 add_mounts(mount("/dev/pts", "devpts", "devpts", ["newinstance", "ptmxmode=0666"])),
                                 {"process": {"terminal": True, "args": ["/bin/probe", "sleep"]}}, rootfs={"dev/console": content})
        result = container.create("--console-socket", console.path)
        assert "Traceback" not in result.err
        canary.hostdiff()
        if result.code == 0:
            console_inside = container.exec("/bin/probe", "try", "stat:/dev/console").ok().json()[0]
            assert console_inside["rdev"].startswith("136:"), "/dev/console is not the terminal"
    if isinstance(content, File):
        assert (container.rootfs / "dev/console").read_text() == "precious"


@known_bad("opens /proc by path")
def test_cve_2025_52881_62596_no_process_of_the_container_opens_proc_by_path(rt):
    sysctl = {"linux": {"sysctl": {"net.ipv4.ip_forward": "1", "kernel.msgmax": "7000"}}}
    container = rt.container(sysctl, userns())
    result, calls = trace(rt, "run", "--bundle", container.bundle.path, container.id)
    assert result.code == 0 and json.loads(result.out)["sysctl.kernel/msgmax"] == "7000\n"
    side = container_side(calls)
    assert side, "no call of the container's side was seen"
    assert [call for call in side if '"/proc' in call.text and call.name not in ("symlinkat", "execve")] == []


@known_bad("CVE-2025-52881")
def test_cve_2025_52881_a_fake_proc_tree_in_a_shared_volume_catches_no_write(rt, host):
    """A bind of a tmpfs full of decoys at the place of /proc/sys is refused; sysctls go to the kernel, never there."""
    decoys = rt.base / "decoys"
    for name in ("net/ipv4", "kernel"):
        (decoys / name).mkdir(parents=True)
    for name in ("net/ipv4/ip_forward", "kernel/msgmax"):
        (decoys / name).write_text("untouched")
    container = rt.container(add_mounts(bind(decoys, "/proc/sys")), {"linux": {"sysctl": {"net.ipv4.ip_forward": "1"}}})
    container.create().failed("inside /proc")
    container = rt.container(add_mounts(bind(decoys, "/mnt/sys")), {"linux": {"sysctl": {"net.ipv4.ip_forward": "1"}}},
                             attempt("read:/proc/sys/net/ipv4/ip_forward"), rootfs={"mnt/self": Link("/proc/sys")})
    assert container.run().ok().json()[0]["data"] == "1\n"
    assert (decoys / "net/ipv4/ip_forward").read_text() == "untouched"


@known_bad("CVE-2026-41579: 1.1.5 has it")
@pytest.mark.parametrize("target", ["../../canary", "{canary}", "/../../../../../../..{canary}"])
@pytest.mark.parametrize("devices", [[], [{"type": "c", "path": "/dev/mine", "major": 1, "minor": 5}]], ids=["default", "more"])
def test_cve_2026_41579_47766_a_linked_dev_without_a_mount_touches_nothing_outside(rt, canary, host, target, devices):
    container = rt.container(without_mount("/dev"), {"linux": {"devices": devices}},
                             rootfs={"dev": Link(target.format(canary=canary))})
    container.run()
    canary.hostdiff()


# --- races of our own: what the op table does by name

@known_bad("changes modes by path")
def test_a_device_node_swapped_for_a_link_changes_no_mode_on_the_host(rt, canary, host):
    """Between mknod and chmod of linux.devices in a shared volume the name may become a link to a host file."""
    volume = rt.base / "volume"
    volume.mkdir()
    victim = rt.base / "victim"
    victim.write_text("")
    victim.chmod(0o600)
    os.symlink(victim, volume / "link")
    names = [f"n{n}" for n in range(40)]
    devices = [{"type": "c", "path": f"/vol/{name}", "major": 1, "minor": 5, "fileMode": 0o777, "uid": 7, "gid": 7} for name in names]
    container = rt.container(add_mounts(bind(volume, "/vol")), {"linux": {"devices": devices}}, {"process": {"args": ["/bin/true"]}})
    script = f"cd {volume}; while :; do for n in {' '.join(names)}; do ln -sfn {victim} t.$n && mv -fT t.$n $n 2>/dev/null; done; done"
    attacker = subprocess.Popen(["/bin/sh", "-c", script])
    try:
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            container.run()
            st = os.stat(victim)
            assert (st.st_mode & 0o7777, st.st_uid) == (0o600, 0), "a host file was given away"
            for name in names:
                try:
                    os.unlink(volume / name)
                except FileNotFoundError:
                    pass
    finally:
        attacker.kill()
        attacker.wait()
