"""Oracles that know no particular vulnerability (docs/security.md, "Oracles"): they are to catch the next one.

(a) the host is as before, (b) no path is resolved outside a slot on the container's side, (c) a created container holds
nothing it need not, (d) the runtime's files are unchanged, (e) the kernel's view of the process equals a prediction.
"""

import itertools
import json
import os
import stat

import pytest
from kit.bundle import Dir, File, Link, add_mounts, bind, caps, mount, namespaces, userns, without_mount
from kit.canary import runtime_files
from kit.console import FdSocket
from kit.observe import CAPS, cap_mask, status
from kit.observe import caps as caps_of
from kit.trace import breaches, container_side, parse, trace

known_bad = pytest.mark.runc_known_bad
SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
SECCOMP = {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}}}


# --- (b) paths

def shapes(base):
    """name -> (config patches, rootfs, arguments of run): bundles that together use every operation."""
    (base / "source" / "sub").mkdir(parents=True)
    (base / "source" / "file").write_text("x")
    source = base / "source"
    line = [{"containerID": 0, "hostID": 200000, "size": 65536}]
    devices = [{"type": "c", "path": "/dev/deep/er/zero", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4},
               {"type": "p", "path": "/opt/fifo"}]
    offsets = {"linux": {"timeOffsets": {"monotonic": {"secs": 1000}}}}
    return {
        "default": ([], {}, ()),
        "read-only root": ([{"root": {"readonly": True}}], {}, ()),
        "user namespace": ([userns()], {"mnt": Dir()}, ()),
        "every namespace": ([namespaces("pid", "network", "ipc", "uts", "mount", "cgroup", "time"), offsets], {}, ()),
        "binds": ([add_mounts(bind(source, "/mnt", "rbind", "ro"), bind(source / "file", "/etc/new/file"),
                              bind(source, "/link/inside"))], {"link": Link("/target"), "target": Dir()}, ()),
        "recursive": ([add_mounts(bind(source, "/mnt", "rbind", "rro", "rnosuid", "rslave"))], {}, ()),
        "idmap": ([add_mounts(mount("/mnt", source, "bind", ["bind", "idmap"], uidMappings=line, gidMappings=line))], {}, ()),
        "tmpfs": ([add_mounts(mount("/mnt", "tmpfs", "tmpfs", ["ro"]), mount("/data", "tmpfs", "tmpfs", ["tmpcopyup"]))],
                  {"data/dir/file": "x", "data/link": Link("dir")}, ()),
        "devices": ([{"linux": {"devices": devices}}], {}, ()),
        "devices in the image": ([without_mount("/dev"), {"linux": {"devices": devices}}], {"dev/existing": File("x")}, ()),
        "devices in a user namespace": ([userns(), {"linux": {"devices": [devices[0] | {"path": "/dev/zero"}]}}], {}, ()),
        "masked and sysctl": ([{"linux": {"maskedPaths": ["/etc/passwd", "/etc/dir", "/proc/kcore"], "readonlyPaths": ["/etc", "/proc/sys"],
                                          "sysctl": {"net.ipv4.ip_forward": "1", "kernel.msgmax": "7000"}}}], {"etc/dir/x": "x"}, ()),
        "user and cwd": ([{"process": {"user": {"uid": 1000, "gid": 1000, "additionalGids": [5]}, "cwd": "/made/here", "rlimits": []}}], {}, ()),
        "seccomp": ([SECCOMP], {}, ()),
        "seccomp with privileges": ([SECCOMP, {"process": {"noNewPrivileges": False}}], {}, ()),
        "no pivot": ([], {}, ("--no-pivot",)),
        "shared propagation": ([{"linux": {"rootfsPropagation": "shared"}}], {}, ()),
        "cgroup mount": ([add_mounts(mount("/sys/fs/cgroup", "cgroup", "cgroup", ["ro", "nosuid"]))], {}, ()),
        "hook inside": ([{"hooks": {"startContainer": [{"path": "/hook"}]}}], {"hook": File("#!/bin/sh\ntrue\n", 0o755)}, ()),
        "name without a path": ([{"process": {"args": ["probe"]}}], {}, ()),
        "oom score and priorities": ([{"process": {"oomScoreAdj": 100, "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 5},
                                                   "scheduler": {"policy": "SCHED_BATCH"}}}], {}, ()),
    }


NAMES = ["default", "read-only root", "user namespace", "every namespace", "binds", "recursive", "idmap", "tmpfs", "devices",
         "devices in the image", "devices in a user namespace", "masked and sysctl", "user and cwd", "seccomp",
         "seccomp with privileges", "no pivot", "shared propagation", "cgroup mount", "hook inside", "name without a path",
         "oom score and priorities"]


@known_bad("works with paths")
@pytest.mark.parametrize("name", NAMES)
def test_no_path_is_resolved_outside_a_slot_on_the_containers_side(rt, name):
    """Issue 3, Shows 4: between the first container-side operation and execve."""
    patches, rootfs, args = shapes(rt.base)[name]
    container = rt.container(*patches, rootfs=rootfs)
    result, calls = trace(rt, "run", "--bundle", container.bundle.path, *args, container.id)
    assert result.code == 0, result
    side = container_side(calls)
    assert any(call.name == "execve" for call in side), "the trace has no container's side"
    found = breaches(side)
    if name == "hook inside":               # the hook's own path, which is the container's
        found = [call for call in found if call.name != "execve"]
    assert found == [], "\n".join(map(repr, found))


@known_bad("works with paths")
@pytest.mark.parametrize("options", [(), ("-u", "1000:1000", "--cwd", "/tmp"), ("--cap", "CAP_KILL")], ids=["plain", "user", "cap"])
@pytest.mark.parametrize("user_namespace", [False, True], ids=["", "user namespace"])
def test_no_path_is_resolved_outside_a_slot_by_exec(rt, options, user_namespace):
    up = rt.container(*([userns()] if user_namespace else []), SLEEP).up()
    result, calls = trace(rt, "exec", *options, up.id, "/bin/true")
    assert result.code == 0, result
    side = container_side(calls)
    assert any(call.name == "execve" for call in side), "the trace has no container's side"
    assert breaches(side) == []


@known_bad("works with paths")
def test_no_path_is_resolved_outside_a_slot_for_a_terminal(rt):
    with FdSocket(rt.base / "console.sock") as console:
        container = rt.container({"process": {"terminal": True, "args": ["/bin/true"]}})
        running = rt.spawn("run", "-d", "--bundle", container.bundle.path, "--console-socket", console.path, container.id,
                           wrap=("strace", "-f", "-y", "-qq", "-s", "4096", "-o", rt.base / "strace"))
        console.receive()
        running.wait(60)
    side = container_side(parse((rt.base / "strace").read_text(errors="replace")))
    assert any(call.name == "execve" for call in side) and breaches(side) == []


def test_the_rule_for_paths_itself_finds_what_it_must():
    """The oracle is no better than its rule: each of these lines is a breach, each of the others is none."""
    bad = ['openat(AT_FDCWD</>, "/etc/passwd", O_RDONLY) = 3', 'openat(4</r>, "a/b", O_RDONLY|O_NOFOLLOW) = 3',
           'openat(4</r>, "a", O_RDONLY) = 3', 'openat2(4</r>, "a/b", {flags=O_PATH, resolve=0}, 24) = 3',
           'mount("/dev/null", "/proc/kcore", NULL, MS_BIND, NULL) = 0', 'mkdirat(4</r>, "a/b", 0755) = 0',
           'fchmodat(4</r>, "null", 0666) = 0', 'open("/proc/self/attr/exec", O_WRONLY) = 3', 'chdir("/tmp") = 0',
           'mkdirat(4</r>, "..", 0755) = 0', 'move_mount(3</>, "", AT_FDCWD</>, "/mnt", MOVE_MOUNT_F_EMPTY_PATH) = 0',
           'symlinkat("x", AT_FDCWD</>, "dev/fd") = 0', 'statx(AT_FDCWD</>, "x", AT_SYMLINK_NOFOLLOW, STATX_TYPE, 0x7f) = 0']
    good = ['openat2(4</r>, "a/b", {flags=O_PATH, resolve=RESOLVE_IN_ROOT}, 24) = 3', 'mkdirat(4</r>, "a", 0755) = 0',
            'openat(4</r>, "a", O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW, 0644) = 3', 'pivot_root(".", ".") = 0', 'chdir("/") = 0',
            'move_mount(3</>, "", 4</r>, "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH) = 0', 'umount2(".", MNT_DETACH) = 0',
            'symlinkat("/proc/self/fd", 4</r>, "fd") = 0', 'mount_setattr(AT_FDCWD</>, "/", AT_RECURSIVE, {propagation=MS_SLAVE}, 32) = 0',
            'statx(5</x>, "", AT_EMPTY_PATH, STATX_TYPE, 0x7f) = 0', 'fchmodat(4</r>, "a", 0666, AT_SYMLINK_NOFOLLOW) = 0']
    assert len(breaches(parse("\n".join(f"7 {line}" for line in bad)))) == len(bad)
    assert breaches(parse("\n".join(f"7 {line}" for line in good))) == []


@known_bad("runs Go there")
def test_no_interpreter_runs_on_the_containers_side(rt):
    """Issue 3, Shows 4: no Python in the child. Its only executable is the sealed memfd, then the program."""
    container = rt.container({"process": {"args": ["/bin/true"]}})
    result, calls = trace(rt, "run", "--bundle", container.bundle.path, container.id)
    assert result.code == 0
    side = container_side(calls)
    assert {call.name for call in side if call.name in ("clone", "fork", "vfork", "clone3")} == set()
    assert [call for call in side if any(word in call.text for word in ("/python3", ".pyc", "libc.so", "ld.so", "/proc/self/exe"))] == []


@known_bad("is not Python")
def test_nothing_is_imported_once_a_container_process_exists(rt):
    """No file of Python is opened by the runtime between clone of init and its end (docs/security.md, "Python")."""
    container = rt.container({"process": {"args": ["/bin/true"]}})
    result, calls = trace(rt, "run", "--bundle", container.bundle.path, container.id)
    assert result.code == 0
    first = next(n for n, call in enumerate(calls) if call.name == "execveat" and "/memfd:" in call.text)
    late = [call for call in calls[first:] if call.name in ("open", "openat", "openat2", "stat", "newfstatat", "execve")
            and any(word in call.text for word in (".py", ".pyc", "__pycache__", "site-packages", ".so\""))]
    assert late == []


@known_bad("is multi-threaded")
def test_the_one_thread_there_ever_is_bears_init_and_is_gone_before_the_next_process(rt):
    """It is C's, with all signals blocked; Python never has a second."""
    container = rt.container({"process": {"args": ["/bin/true"]}})
    result, calls = trace(rt, "run", "--bundle", container.bundle.path, container.id, calls="clone,clone3,fork,vfork,exit")
    assert result.code == 0
    threads = [call for call in calls if "CLONE_THREAD" in call.text]
    assert len(threads) == 1
    thread = threads[0].text.rpartition("=> {parent_tid=[")[2].partition("]")[0]
    of_the_thread = [call.name for call in calls if str(call.pid) == thread]
    assert of_the_thread[:1] == ["clone3"] and set(of_the_thread[1:]) <= {"exit"}


# --- (c) what a created container holds

@known_bad("its init is a Go program with pipes and epoll")
@pytest.mark.parametrize("user_namespace", [False, True], ids=["", "user namespace"])
def test_a_created_container_holds_its_stdio_and_its_gate_and_nothing_else(rt, user_namespace):
    container = rt.container(*([userns()] if user_namespace else []), SLEEP)
    container.create(wrap=("/bin/bash", "-c", 'exec 11</ 12</etc 13<&0; exec "$@"', "x")).ok()
    pid = container.pid
    links = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    assert {0, 1, 2} <= links.keys()
    others = {fd: link for fd, link in links.items() if fd > 2}
    for fd, link in others.items():
        st = os.stat(f"/proc/{pid}/fd/{fd}")
        assert stat.S_ISFIFO(st.st_mode) or link.startswith("/memfd:"), (fd, link)
    assert len(others) <= 4, others


@known_bad("its init is a Go program")
def test_a_created_container_is_small_and_has_no_secret(rt):
    container = rt.container(SLEEP)
    container.create(env={"SECRET": "of the caller"}).ok()
    pid = container.pid
    with open(f"/proc/{pid}/environ", "rb") as environ, open(f"/proc/{pid}/cmdline", "rb") as cmdline:
        assert b"SECRET" not in environ.read() and str(rt.base).encode() not in cmdline.read()
    with open(f"/proc/{pid}/status") as lines:
        fields = dict(line.split(":", 1) for line in lines)
    assert int(fields["VmRSS"].split()[0]) < 300 and fields["Threads"].strip() == "1"
    assert os.readlink(f"/proc/{pid}/cwd") != str(container.bundle.path)


def test_init_in_its_container_cannot_be_traced_or_read_before_start(rt):
    """Non-dumpable: everything below /proc/1 belongs to root of the initial user namespace."""
    up = rt.container(userns(), caps("CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"), SLEEP)
    up.create().ok()
    result = up.exec("/bin/probe", "try", "read:/proc/1/environ", "read:/proc/1/maps", "dir:/proc/1/fd", "read:/proc/1/mem")
    assert all(entry["errno"] in (13, 1, 5) for entry in result.ok().json()), result


# --- (d) the runtime's files

def test_nothing_a_container_does_changes_a_file_of_the_runtime(rt):
    before = runtime_files(rt.binary)
    container = rt.container(caps(*(f"CAP_{name}" for name in CAPS[:38] if name != "SYS_RESOURCE")), {"process": {"noNewPrivileges": False}}, SLEEP).up()
    container.exec("/bin/sh", "-c", "for p in /proc/[0-9]*; do echo x >> $p/exe; done 2>/dev/null")
    container.exec("/proc/1/exe", "x")
    container.delete("-f").ok()
    assert runtime_files(rt.binary) == before


@known_bad("is one file")
def test_no_file_of_the_runtime_is_writable_by_others(rt):
    for path in runtime_files(rt.binary):
        while path != "/":
            st = os.lstat(path)
            if not stat.S_ISLNK(st.st_mode) and not (st.st_mode & stat.S_ISVTX):
                assert st.st_uid == 0 and not st.st_mode & 0o022, (path, oct(st.st_mode))
            path = os.path.dirname(path)


# --- (e) a prediction of the process

def predicted(sets, uid, nnp):
    """What execve makes of the five sets for a plain binary (capabilities(7)), in pure Python."""
    masks = {name: cap_mask(*sets.get(name, ())) for name in ("bounding", "effective", "permitted", "inheritable", "ambient")}
    ambient = masks["ambient"] & masks["permitted"] & masks["inheritable"]
    if uid == 0:
        permitted = (masks["inheritable"] | masks["bounding"])
        permitted = permitted & masks["permitted"] if nnp else permitted
        return {"inh": masks["inheritable"], "prm": permitted, "eff": permitted, "bnd": masks["bounding"], "amb": ambient}
    return {"inh": masks["inheritable"], "prm": ambient, "eff": ambient, "bnd": masks["bounding"], "amb": ambient}


def capabilities_kept(sets):
    return cap_mask(*sets.get("permitted", ()))


CHOICES = [
    {"bounding": ["KILL", "CHOWN"], "effective": ["KILL"], "permitted": ["KILL", "CHOWN"]},
    {"bounding": ["KILL"], "effective": ["KILL"], "permitted": ["KILL"], "inheritable": ["KILL"]},
    {"bounding": ["KILL", "CHOWN"], "effective": ["KILL", "CHOWN"], "permitted": ["KILL", "CHOWN"], "inheritable": ["KILL"],
     "ambient": ["KILL"]},
    {"bounding": ["KILL", "CHOWN"], "permitted": ["KILL"], "inheritable": ["KILL"], "ambient": ["KILL"]},
    {"bounding": ["KILL", "CHOWN"]},
    {},
]


@pytest.mark.parametrize("sets, uid, nnp", list(itertools.product(range(len(CHOICES)), (0, 1000), (True, False))))
def test_the_status_of_the_process_is_what_the_config_says(rt, sets, uid, nnp):
    sets = CHOICES[sets]
    capabilities = {name: [f"CAP_{cap}" for cap in found] for name, found in sets.items()}
    user = {"uid": uid, "gid": uid, "additionalGids": [7, 9]}

    def edit(config):
        config["process"].update(capabilities=capabilities, user=user, noNewPrivileges=nnp)
    seen = rt.container(edit, SECCOMP).probe()
    lines = status(seen)
    found = caps_of(seen)
    if nnp and uid == 0:                    # what NNP does to root's gain differs by kernel; it may never be more
        assert found["prm"] | predicted(sets, uid, False)["prm"] == predicted(sets, uid, False)["prm"]
        found.update(prm=0, eff=0)
        assert found == {**predicted(sets, uid, nnp), "prm": 0, "eff": 0}
    else:
        assert found == predicted(sets, uid, nnp)
    assert lines["NoNewPrivs"] == str(int(nnp)) and lines["Seccomp"] == "2" and lines["Seccomp_filters"] == "1"
    assert [int(lines[key], 16) for key in ("SigIgn", "SigCgt", "SigBlk", "SigPnd", "ShdPnd")] == [0] * 5
    assert lines["Groups"].split() == ["7", "9"] and lines["Uid"].split() == [str(uid)] * 4
    assert lines["TracerPid"] == "0" and lines["Threads"] == "1"
    if found["prm"] | capabilities_kept(sets) == capabilities_kept(sets):      # execve that gains some is not dumpable
        assert seen["dumpable"] == 1


@known_bad("its fifo is 0622")
def test_the_state_directory_gives_nothing_to_others(rt):
    container = rt.container(SLEEP, {"process": {"env": ["PATH=/bin", "PASSWORD=secret"]}})
    container.create().ok()
    for directory, _, files in os.walk(container.directory):
        for name in files:
            st = os.lstat(os.path.join(directory, name))
            assert not st.st_mode & 0o022, (name, oct(st.st_mode))
    state = json.loads((container.directory / "state.json").read_text())
    assert state["id"] == container.id
