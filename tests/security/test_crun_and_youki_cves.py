"""One test per published crun and youki vulnerability that is not a twin of a runc row (docs/security.md, "Published vulnerabilities").

Twins are tested under their runc name in test_runc_cves.py: CVE-2019-5736, 2019-16884, 2022-27650, 2024-21626,
2025-27612, 2025-54867, 2025-62161, 2025-62596, 2025-52565, 2026-47766 (with 2026-41579).
"""

import os
import socket
import subprocess

import pytest
from kit import build
from kit.bundle import Dir, File, Link, Node, add_mounts, bind, caps, place, userns
from kit.canary import snapshot
from kit.console import FdSocket
from kit.trace import container_side, trace

known_bad = pytest.mark.runc_known_bad
SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
OPENAT2 = "437"


def attempt(*what):
    return {"process": {"args": ["/bin/probe", "try", *what]}}


# --- CVE-2019-18837: the last component of a mount point

@pytest.mark.parametrize("name, target", [("etc/resolv.conf", "{canary}/new"), ("etc/resolv.conf", "{canary}/secret"),
                                          ("etc/hosts", "../../../../../..{canary}/new2"), ("deep", "{canary}")])
def test_cve_2019_18837_a_linked_mount_point_is_made_inside_the_root(rt, canary, host, name, target):
    source = rt.base / "source"
    source.write_text("mounted")
    destination = f"/{name}/file" if name == "deep" else f"/{name}"
    container = rt.container(add_mounts(bind(source, destination)), attempt(f"read:{destination}"),
                             rootfs={name: Link(target.format(canary=canary))})
    result = container.run()
    canary.hostdiff()
    if result.code == 0:
        assert result.json()[0]["data"] == "mounted"


@known_bad("falls back to resolving in user space")
def test_cve_2019_18837_without_openat2_it_refuses_instead_of_resolving_itself(rt, host):
    container = rt.container(SLEEP)
    container.create(wrap=(build.helper("deny"), OPENAT2, "--")).failed("function not implemented")
    rt.assert_nothing_left()


NEEDED = {"clone3": 435, "openat2": 437, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432,
          "mount_setattr": 442, "close_range": 436, "memfd_create": 319, "execveat": 322, "statx": 332, "pivot_root": 155,
          "pidfd_open": 434, "pidfd_send_signal": 424, "faccessat2": 439, "unshare": 272, "prlimit64": 302, "bpf": 321}


@known_bad("does without, or reports in its own way")
@pytest.mark.parametrize("name", NEEDED)
def test_on_a_kernel_without_a_syscall_it_works_or_says_so_and_leaves_nothing(rt, host, name):
    container = rt.container({"process": {"args": ["/bin/echo", "ran"]}})
    result = container.run(wrap=(build.helper("deny"), str(NEEDED[name]), "--"))
    if result.code == 0:
        assert result.out == "ran\n"
    else:
        result.failed("function not implemented")
        assert "internal error" not in result.err
    rt.assert_nothing_left()


# --- CVE-2025-24965: files the runtime itself drops into the rootfs

@pytest.mark.parametrize("name", ["run", "run/notify"])
def test_cve_2025_24965_the_notify_directory_is_made_inside_the_root(rt, canary, host, name):
    container = rt.container(SLEEP, rootfs={name: Link(canary.path)})
    container.create(env={"NOTIFY_SOCKET": str(rt.base / "notify.sock")})
    canary.hostdiff()


@pytest.mark.parametrize("cwd", ["/work", "/work/new", "/work/new/er"])
def test_cve_2025_24965_the_working_directory_is_made_inside_the_root(rt, canary, host, cwd):
    container = rt.container({"process": {"cwd": cwd}}, rootfs={"work": Link(canary.path)})
    container.run()
    canary.hostdiff()


def test_cve_2025_24965_devices_and_links_are_made_inside_the_root(rt, canary, host):
    devices = [{"type": "c", "path": "/opt/node", "major": 1, "minor": 5}, {"type": "c", "path": "/etc/link", "major": 1, "minor": 5}]
    for index in range(2):
        container = rt.container({"linux": {"devices": [devices[index]]}}, {"process": {"args": ["/bin/true"]}},
                                 rootfs={"opt": Link(canary.path), "etc/link": Link(canary.path / "secret")})
        container.run()
        canary.hostdiff()


@known_bad("makes the links of /dev on the host")
@pytest.mark.parametrize("name", ["/dev/shm", "/dev/pts", "/dev/mqueue", "/dev"])
def test_cve_2025_24965_default_mount_points_that_are_links_stay_inside_the_root(rt, canary, host, name):
    def without_dev(config):
        config["mounts"] = [m for m in config["mounts"] if m["destination"] != "/dev"] if name != "/dev" else config["mounts"]
    container = rt.container(without_dev, {"process": {"args": ["/bin/true"]}}, rootfs={name: Link(canary.path)})
    container.run()
    canary.hostdiff()


# --- CVE-2026-84042: nothing of the image runs with the host's rights

HELPERS = ["passt", "newuidmap", "newgidmap", "criu", "sh", "modprobe", "ps", "mount", "umount", "ip", "runc", "pyrunc",
           "python3", "ldconfig", "systemctl", "fusermount", "nsenter", "kmod", "cat", "busybox"]
DIRECTORIES = ["sbin", "usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin"]


def trap_for(name):
    """A program that leaves its name in /marks."""
    return File(f"#!/bin/busybox sh\n: > /marks/{name}\n", 0o755)


@pytest.mark.parametrize("user_namespace", [False, True], ids=["", "user namespace"])
def test_cve_2026_84042_no_program_of_the_image_is_run_by_the_runtime(rt, user_namespace):
    """Each of them would leave a mark on a mounted host directory; only the container's own program may run."""
    marks = rt.base / "marks"
    marks.mkdir()
    marks.chmod(0o777)
    rootfs = {f"{directory}/{name}": trap_for(name) for directory in DIRECTORIES for name in HELPERS}
    rootfs["marks"] = Dir()
    container = rt.container(*([userns()] if user_namespace else []), SLEEP, add_mounts(bind(marks, "/marks")), rootfs=rootfs)
    container.up()
    container.exec("/bin/true").ok()
    rt.call("ps", container.id).ok()
    container.kill("KILL").ok()
    container.wait_stopped()
    container.delete().ok()
    assert os.listdir(marks) == []


def test_cve_2026_84042_the_trap_itself_works(rt):
    """The scripts of the test above do leave a mark when something runs them."""
    marks = rt.base / "marks"
    marks.mkdir()
    container = rt.container(add_mounts(bind(marks, "/marks")), {"process": {"args": ["/usr/bin/passt"]}},
                             rootfs={"usr/bin/passt": trap_for("passt")})
    container.run().ok()
    assert os.listdir(marks) == ["passt"]


def test_cve_2026_84042_no_library_of_the_image_is_loaded_by_the_runtime(rt):
    """NSS, gconv and the dynamic linker would look in the image once a process has changed its root."""
    rootfs = {"etc/nsswitch.conf": "passwd: evil\ngroup: evil\n", "lib/x86_64-linux-gnu/libnss_evil.so.2": "x",
              "etc/ld.so.preload": "/evil.so\n", "evil.so": "x", "etc/ld.so.cache": "x", "usr/lib/locale/x": "x"}
    container = rt.container({"process": {"user": {"uid": 1000, "gid": 1000}}}, rootfs=rootfs)
    result, calls = trace(rt, "run", "--bundle", container.bundle.path, container.id)
    assert result.code == 0, result
    words = (".so", "nsswitch", "locale", "gconv")
    assert [call for call in container_side(calls) if any(word in call.text for word in words)] == []


# --- CVE-2026-88264: /dev/console

@known_bad("CVE-2025-52565 and friends")
@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("readonly", [True, False])
@pytest.mark.parametrize("target", ["{canary}/new", "../../canary/new", "{canary}/empty"])
def test_cve_2026_88264_a_linked_console_makes_nothing_on_the_host(rt, canary, host, terminal, readonly, target):
    with FdSocket(rt.base / "console.sock") as console:
        container = rt.container(lambda config: config["mounts"].__delitem__(slice(1, None)), {"root": {"readonly": readonly}},
                                 {"process": {"terminal": terminal}}, rootfs={"dev/console": Link(target.format(canary=canary))})
        result = container.create(*(["--console-socket", console.path] if terminal else []))
        assert "Traceback" not in result.err
        canary.hostdiff()


# --- CVE-2026-88265: stdio and a false /dev/null

NULLS = {"file": File("x"), "link": Link("/tmp/../../../canary/secret"), "zero": Node("c", 1, 5), "fifo": Node("p"),
         "missing": None}


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize("stdio", ["pipe", "file", "socket"])
def test_cve_2026_88265_stdio_is_never_replaced_by_something_of_the_image(rt, canary, host, null, stdio):
    """The three descriptors in the created container are the inodes the caller gave."""
    directory = rt.base / "dev"
    directory.mkdir()
    place(directory / "null", NULLS[null])

    def shared_dev(config):
        config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/dev")]
        config["mounts"].append(bind(directory, "/dev"))
        config["linux"]["maskedPaths"] = []
    if stdio == "pipe":
        ends = os.pipe()
    elif stdio == "file":
        path = rt.base / "stdio"
        path.write_text("")
        ends = (os.open(path, os.O_RDWR), os.open(path, os.O_RDWR))
    else:
        ends = tuple(end.detach() for end in socket.socketpair())
    given = [os.fstat(ends[0]).st_ino, os.fstat(ends[1]).st_ino, os.fstat(ends[1]).st_ino]
    container = rt.container(shared_dev, SLEEP)
    result = container.create(stdin=ends[0], stdout=ends[1], stderr=ends[1])
    for end in ends:
        os.close(end)
    if result.code == 0:
        assert [os.stat(f"/proc/{container.pid}/fd/{fd}").st_ino for fd in range(3)] == given
    canary.hostdiff()


def test_cve_2026_88265_no_file_of_the_host_changes_its_owner(rt, canary, host):
    """Stdio is given to the container's user, but /dev/null of the host and what is not stdio never."""
    container = rt.container({"process": {"user": {"uid": 1000, "gid": 1000}}}, rootfs={"dev/null": File("x")})
    before = os.stat("/dev/null")
    container.run()
    after = os.stat("/dev/null")
    assert (before.st_uid, before.st_gid, before.st_mode) == (after.st_uid, after.st_gid, after.st_mode)


# --- CVE-2022-21658: recursive deletion

@pytest.mark.parametrize("verb", [("delete", "-f"), ("delete",)])
@pytest.mark.parametrize("name", ["notify", "criu-root", "extra", "state-x", ".cache"])
def test_cve_2022_21658_delete_never_descends_behind_a_link(rt, canary, host, verb, name):
    container = rt.container(SLEEP).up()
    container.kill("KILL").ok()
    container.wait_stopped()
    os.symlink(canary.path, container.directory / name)
    rt.call(*verb, container.id)
    canary.hostdiff()
    subprocess.run(["rm", "-rf", container.directory], check=True)


def test_cve_2022_21658_a_state_directory_that_is_a_link_is_not_followed(rt, canary, host):
    os.symlink(canary.path, rt.root / f"{rt.token}-link")
    for verb in (("state",), ("kill",), ("delete", "-f"), ("delete",)):
        rt.call(*verb, f"{rt.token}-link")
        canary.hostdiff()
    if (rt.root / f"{rt.token}-link").is_symlink():
        (rt.root / f"{rt.token}-link").unlink()


# --- hardening notes

@known_bad("allows a leading dot and dash as documented")
@pytest.mark.parametrize("id", ["a/b", "a b", "a\tb", "a\x7fb", "ä", "a;b", "$(x)", "..", "."])
def test_ids_outside_the_grammar_are_refused(rt, host, id):
    rt.call("create", "--bundle", rt.bundle().path, id).failed()
    assert rt.ids() == []


@known_bad("1.1 takes dots in it")
@pytest.mark.parametrize("sub", ["..", "../..", "a/../../b", "/..", "../{id}x"])
def test_dots_in_the_sub_cgroup_of_exec_are_refused(rt, host, sub):
    up = rt.container(SLEEP).up()
    up.exec("/bin/true", options=("--cgroup", sub.format(id=up.id))).failed("bad sub cgroup path", code=255)


def test_no_control_socket_is_abstract(rt):
    """Abstract sockets are per network namespace: a container in the host's could connect (CVE-2020-15257)."""
    container = rt.container({"process": {"args": ["/bin/true"]}})
    _, calls = trace(rt, "run", "--bundle", container.bundle.path, container.id, calls="bind,connect,listen")
    assert [call for call in calls if 'sun_path=@"' in call.text] == []


# --- CVE-2017-18367 and CVE-2019-9893: conditions of a filter, in both halves of the 64 bits

GETPPID = 110
LOW, HIGH, BOTH = 5, 5 << 32, (5 << 32) + 5
OPERATORS = {
    "SCMP_CMP_EQ": lambda value, datum, two: datum == value, "SCMP_CMP_NE": lambda value, datum, two: datum != value,
    "SCMP_CMP_LT": lambda value, datum, two: datum < value, "SCMP_CMP_LE": lambda value, datum, two: datum <= value,
    "SCMP_CMP_GT": lambda value, datum, two: datum > value, "SCMP_CMP_GE": lambda value, datum, two: datum >= value,
    "SCMP_CMP_MASKED_EQ": lambda value, datum, two: datum & value == two & value,
}


def run_filter(rt, rules, data):
    """Which of the calls getppid(datum, ...) the filter lets through."""
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": rule} for rule in rules]}
    calls = [f"syscall:{GETPPID:x}," + ",".join(f"{word:x}" for word in words) for words in data]
    result = rt.container({"linux": {"seccomp": profile}}, attempt(*calls)).run().ok()
    return [entry["errno"] == 77 for entry in result.json()]


@pytest.mark.parametrize("operator", OPERATORS)
def test_each_operator_compares_all_64_bits(rt, operator):
    values = [0, LOW, LOW + 1, HIGH, HIGH - 1, HIGH + LOW + 1, BOTH, 2 ** 64 - 1, 2 ** 63, 1 << 32]
    for value in (LOW, HIGH, BOTH):
        rule = {"index": 1, "value": value, "valueTwo": value, "op": operator}
        expected = [OPERATORS[operator](value, datum, value) for datum in values]
        assert run_filter(rt, [[rule]], [(0, datum) for datum in values]) == expected, value


def test_conditions_on_several_arguments_are_all_required(rt):
    rule = [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 2, "op": "SCMP_CMP_EQ"},
            {"index": 2, "value": 3, "op": "SCMP_CMP_GT"}]
    assert run_filter(rt, [rule], [(1, 2, 4), (1, 2, 3), (1, 0, 4), (0, 2, 4), (0, 0, 0)]) == [True, False, False, False, False]


def test_conditions_on_one_argument_are_alternatives_as_in_runc(rt):
    rule = [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 9, "op": "SCMP_CMP_EQ"}]
    assert run_filter(rt, [rule], [(1,), (9,), (5,)]) == [True, True, False]


# --- CVE-2022-0811: a sysctl's value is one value

@pytest.mark.parametrize("value", ["1+kernel.core_pattern=x", "1 kernel.core_pattern=x", "1\nkernel.core_pattern=x", "", "x"])
def test_a_sysctl_value_never_becomes_a_second_sysctl(rt, host, value):
    rt.container({"linux": {"sysctl": {"net.ipv4.ip_forward": value}}}, {"process": {"args": ["/bin/true"]}}).run()


# --- CVE-2018-15664, CVE-2021-25741: the source side

def test_a_source_is_what_it_was_when_the_container_was_made(rt, canary):
    source = rt.base / "source"
    source.mkdir()
    (source / "x").write_text("x")
    container = rt.container(add_mounts(bind(source, "/mnt")), attempt("read:/mnt/secret", "read:/mnt/x"))
    container.create().ok()
    os.rename(source, rt.base / "moved")
    os.symlink(canary.path, source)
    pid = container.pid
    container.start().ok()
    container.wait_stopped(pid)
    assert '"errno":2' in container.output() and canary.SECRET not in container.output()
    assert snapshot(canary.path)["secret"] == canary.before["secret"]


def test_a_user_namespaced_root_cannot_undo_a_mask_or_a_read_only_path(rt):
    """Mounts made for it are locked together: umount and remount of a mask are refused."""
    container = rt.container(userns(), caps("CAP_SYS_ADMIN"), {"process": {"args": ["/bin/sh", "-c", (
        "umount /proc/keys; umount /proc/timer_list; umount /proc/sys; mount -o remount,bind,rw /proc/sys; "
        "cat /proc/timer_list; echo x > /proc/sys/kernel/hostname")]}})
    result = container.run()
    assert result.code != 0 and result.out == ""
