"""What stands in the state directory may be damaged, or not be ours: no verb hangs, crashes or is fooled by it.

The fuzz replaces every value of state.json, those inside it too, by values of every other kind, in both copies alike.
"""

import copy
import json
import os
import subprocess
from pathlib import Path

import pytest
from kit.bundle import namespaces
from kit.runtime import alive, wait_until

pytestmark = pytest.mark.runc_known_bad("has another state directory")
SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
FILES = ("state.json", "state.copy")
VALUES = [None, 7, -1, 10 ** 30, "", "x", "../../x", "\udce9", [], [[]], [1, "x", None], {"x": {"y": []}}]
VERBS = [("state",), ("list",), ("kill", "0"), ("exec", "/bin/true"), ("ps",), ("events", "--stats"), ("update", "--pids-limit", "50"),
         ("pause",), ("resume",), ("start",), ("delete",)]
QUIET = [verb for verb in VERBS if verb[0] not in ("kill", "delete")]


def call(container, verb, *args, **how):
    named = () if verb == "list" else (container.id,)
    options, rest = [arg for arg in args if arg.startswith("--")], [arg for arg in args if not arg.startswith("--")]
    if verb == "update":
        options, rest = args, ()
    return container.rt.call(verb, *options, *named, *rest, **how)


def worded(result):
    said = result.err + result.log_text
    assert "internal error" not in said and "Traceback" not in said, result
    assert result.code in (0, 1, 255) and (result.code == 0 or result.err.strip()), result
    return result


def places(value, path=()):
    """The path of every value in a JSON document."""
    for key, item in value.items() if type(value) is dict else enumerate(value):
        yield (*path, key)
        if type(item) in (dict, list):
            yield from places(item, (*path, key))


def replaced(document, path, value):
    document = copy.deepcopy(document)
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return document


def damage(container, text, files=FILES):
    for name in files:
        (container.directory / name).write_text(text)


def started(rt, *patches):
    container = rt.container(SLEEP, *patches)
    container.create().ok()
    container.start().ok()
    return container, container.pid


# --- damaged records

def test_no_verb_crashes_whatever_a_value_of_the_record_is(rt):
    container, pid = started(rt, {"annotations": {"a": "b"}})
    good = json.loads((container.directory / "state.json").read_text())
    paths = [path for path in places(good) if path[0] not in ("cgroup_paths", "namespace_paths")]
    assert ("cgroup",) in paths and ("facts", "cgroup_root") in paths and ("request", "gate") in paths
    for number, path in enumerate(paths):
        for at, value in enumerate(VALUES[number % 2::2]):
            damage(container, json.dumps(replaced(good, path, value)))
            verb = QUIET[(number + at) % len(QUIET)]
            result = call(container, *verb)
            worded(result)
            assert alive(pid), (path, value, verb)
    damage(container, json.dumps(good))
    call(container, "resume")
    assert container.status == "running"


DAMAGES = ["", "{", "null", '{"id": 7}']


@pytest.mark.parametrize("files", [("state.json",), ("state.copy",), FILES, (*FILES, "config.json")], ids=",".join)
@pytest.mark.parametrize("how", ["created", "running", "paused", "stopped"])
def test_forced_delete_ends_what_runs_whichever_files_are_damaged(rt, files, how):
    for text in DAMAGES[:2] if how != "running" else DAMAGES:
        container = rt.container(SLEEP)
        container.create().ok()
        pid = container.pid
        if how != "created":
            container.start().ok()
        if how == "paused":
            rt.call("pause", container.id).ok()
        if how == "stopped":
            container.kill("KILL").ok()
            container.wait_stopped(pid)
        damage(container, text, files)
        for verb in VERBS[:2]:
            worded(call(container, *verb))
        container.delete("--force").ok()
        assert not alive(pid), (files, text)
        rt.assert_nothing_left()


@pytest.mark.parametrize("files", [("state.json",), ("state.copy",), FILES], ids=",".join)
def test_forced_delete_ends_what_runs_where_records_are_missing(rt, files):
    container, pid = started(rt)
    for name in files:
        (container.directory / name).unlink()
    container.delete("--force").ok()
    assert not alive(pid)
    rt.assert_nothing_left()


def test_every_verb_works_on_while_one_of_the_two_records_is_damaged(rt):
    container, pid = started(rt)
    damage(container, "{", ("state.json",))
    assert container.status == "running" and container.pid == pid
    container.exec("/bin/true").ok()
    rt.call("update", "--pids-limit", "50", container.id).ok()  # writes both
    assert json.loads((container.directory / "state.json").read_text())["id"] == container.id
    damage(container, "[]", ("state.copy",))
    assert container.status == "running"


def test_forced_delete_with_any_value_replaced_leaves_nothing(rt):
    """Both records alike, so that no other says what is right; every key of the first level, and those of the groups."""
    container, _ = started(rt)
    good = json.loads((container.directory / "state.json").read_text())
    container.delete("-f").ok()
    paths = [path for path in places(good) if len(path) == 1 or path[0] in ("facts", "cgroup_v1", "cgroup_paths", "namespace_paths")]
    for number, path in enumerate(paths):
        for value in VALUES[number % 12::12]:
            container, pid = started(rt)
            good = json.loads((container.directory / "state.json").read_text())
            damage(container, json.dumps(replaced(good, path, value)))
            worded(container.delete("--force").ok())
            assert not alive(pid), (path, value)
            assert not rt.cgroups() and not rt.ids(), (path, value, rt.cgroups())


def test_a_record_of_another_container_does_not_end_that_one(rt):
    victim, pid = started(rt)
    container, own = started(rt)
    damage(container, (victim.directory / "state.json").read_text())
    container.delete("--force").ok()
    assert alive(pid) and victim.status == "running" and not alive(own)


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_a_record_that_names_anothers_groups_does_not_end_that_one(rt, state):
    victim, pid = started(rt)
    container, own = started(rt)
    theirs, ours = [json.loads((box.directory / "state.json").read_text()) for box in (victim, container)]
    if state == "stopped":
        container.kill("KILL").ok()
        container.wait_stopped(own)
    damage(container, json.dumps({**ours, "cgroup": theirs["cgroup"], "cgroup_v1": theirs["cgroup_v1"], "pid_shared": True}))
    container.kill("KILL")
    container.delete("--force").ok()
    assert alive(pid) and victim.status == "running" and not alive(own)
    victim.exec("/bin/true").ok()
    for path in ours["cgroup_paths"].values():
        if os.path.isdir(path):
            os.rmdir(path)


def test_a_creation_cut_short_before_its_groups_does_not_end_whose_groups_they_are(rt):
    """Its record names a group in which another's processes live; it would have been refused for them."""
    victim, pid = started(rt)
    theirs = json.loads((victim.directory / "state.json").read_text())
    container = rt.container(SLEEP)
    container.directory.mkdir(mode=0o711)
    (container.directory / "config.json").write_text("{}")
    damage(container, json.dumps({**theirs, "id": container.id, "init_process_pid": 0, "init_process_start": 0}))
    container.delete("--force").ok()
    assert alive(pid) and victim.status == "running"


def test_forced_delete_says_what_it_cannot_remove_and_may_be_repeated(rt):
    container, _ = started(rt)
    (container.directory / "foreign").mkdir()
    (container.directory / "foreign" / "file").write_text("")
    result = container.delete("--force").failed(f"container {container.id} is not completely removed", "directory not empty")
    assert len(result.err.splitlines()) == 1 and not rt.cgroups()
    assert container.status == "stopped"
    (container.directory / "foreign" / "file").unlink()
    container.delete("--force").ok()
    rt.assert_nothing_left()


@pytest.mark.parametrize("path", ["/cgroup.procs", "/cgroup.procs/below", "/tasks", "/memory.stat", "/a\nb", "/pids.max/.."])
def test_a_cgroups_path_that_cannot_be_one_leaves_the_id_free(rt, path):
    container = rt.container(SLEEP, {"linux": {"cgroupsPath": path}})
    container.create().failed()
    assert rt.ids() == []
    for name in os.listdir("/sys/fs/cgroup"):
        assert not os.path.isdir(f"/sys/fs/cgroup/{name}{path}"), name


@pytest.mark.parametrize("patch", [{}, {"linux": {"maskedPaths": None, "readonlyPaths": None, "namespaces": [
    {"type": kind} for kind in ("pid", "network", "ipc", "uts")]}}], ids=["", "mounts on the host"])
@pytest.mark.parametrize("limit, span, step", [("-n", 60, 1), ("-v", 2048, 20)], ids=["descriptors", "memory"])
def test_a_creation_that_runs_out_of_something_takes_back_what_it_made(rt, limit, span, step, patch):
    """From where the program does not start to where all works; memory is address space in KiB."""
    bundle, said = rt.bundle(SLEEP, patch), set()

    def works(value):
        container = rt.container(bundle=bundle)
        wrap = ("/bin/sh", "-c", f'ulimit {limit} {value}; exec "$@"', "sh")
        result = rt.call("create", "--bundle", bundle.path, container.id, wrap=wrap)
        if result.code == 0:
            container.delete("-f").ok()
        said.add(result.code)
        assert rt.ids() == [] and rt.cgroups() == [], (value, result)
        assert str(bundle.path) not in Path("/proc/self/mountinfo").read_text(), (value, result)
        return result.code == 0
    enough = least(works)
    for value in range(max(4, enough - span), enough + 2 * step, step):
        works(value)
    assert {0, 1} <= said


def least(works):
    """About the least value that works, between 4 and 2^17."""
    low, high = 4, 1 << 17
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high


def test_list_holds_no_descriptor_of_what_it_has_listed(rt):
    """Nor of what cannot be read."""
    good, _ = started(rt)
    for number in range(40):
        box = rt.container(SLEEP).directory
        box.mkdir(mode=0o711)
        if number % 2:
            (box / "state.json").write_text("{")
        else:
            (box / "state.json").write_text((good.directory / "state.json").read_text().replace(good.id, box.name))
    result = rt.call("list", "--format", "json", wrap=("/bin/sh", "-c", 'ulimit -n 20; exec "$@"', "sh"))
    assert result.err.count("state.json is damaged") == 20 and "too many" not in result.err, result
    assert len(json.loads(result.out)) == 21
    for box in Path(rt.root).iterdir():
        if box.name != good.id:
            (box / "state.json").unlink()
            box.rmdir()


# --- what is no state

def blocked(path, kind):
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        os.mknod(path, 0o20600, os.makedev(1, 5))  # /dev/zero has no end
    elif kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("/dev/zero")
    else:
        with open(path, "wb") as file:
            file.truncate(1 << 40)


@pytest.mark.parametrize("name", ["state.json", "config.json", "exit.json", "exec.fifo", "status.fifo"])
@pytest.mark.parametrize("kind", ["fifo", "device", "directory", "link", "huge"])
def test_no_verb_waits_for_what_lies_under_a_files_name(rt, name, kind):
    if kind == "fifo" and name.endswith("fifo"):
        kind = "file"
    container = rt.container(SLEEP)
    container.create().ok()
    pid = container.pid
    for file in (name, "state.copy") if name == "state.json" else (name,):
        blocked(container.directory / file, kind)
    for verb in [("state",), ("list",), ("exec", "/bin/true"), ("update", "--pids-limit", "50"), ("start",), ("kill", "KILL")]:
        worded(call(container, *verb, timeout=5))
    wait_until(lambda: not alive(pid) or name == "state.json", what="KILL has no effect")
    worded(container.delete("--force", timeout=20).ok())
    rt.assert_nothing_left()


@pytest.mark.parametrize("name", ["state.json", "config.json", "exit.json"])
def test_what_is_no_file_is_not_even_opened(rt, name):
    """To open a FIFO lets go who waits for a reader; to open a device may rewind a tape, or start a watchdog."""
    container, pid = started(rt)
    blocked(container.directory / name, "fifo")
    waiting = subprocess.Popen(["/bin/sh", "-c", 'exec 3> "$1"', "sh", container.directory / name])
    wait_until(lambda: Path(f"/proc/{waiting.pid}/wchan").read_text() in ("wait_for_partner", "fifo_open"), what="nobody waits")
    try:
        if name == "exit.json":
            container.kill("KILL").ok()
            container.wait_stopped(pid)
        for verb in [("state",), ("list",), ("exec", "/bin/true"), ("update", "--pids-limit", "50")]:
            worded(call(container, *verb, timeout=5))
        assert waiting.poll() is None
    finally:
        waiting.kill()
        waiting.wait()


def test_a_root_that_others_may_write_or_own_is_refused_by_every_verb(rt):
    container, _ = started(rt)
    for mode, owner, word in ((0o777, 0, "writable by others"), (0o1777, 0, "writable by others"), (0o775, (0, 1000), "writable by others"),
                              (0o700, (1000, 0), "belongs to another user (uid 1000)")):
        os.chown(rt.root, *owner if owner else (0, 0))
        rt.root.chmod(mode)
        for verb in VERBS:
            result = call(container, *verb).failed(word, str(rt.root), code=255 if verb[0] == "exec" else 1)
            assert result.seconds < 5
        rt.container(SLEEP).create().failed(word)
    os.chown(rt.root, 0, 0)
    rt.root.chmod(0o711)
    assert container.status == "running" and rt.ids() == [container.id]


@pytest.mark.parametrize("mode", [0o700, 0o711, 0o755, 0o775, 0o1700])
def test_a_root_that_only_root_may_write_is_taken(rt, mode):
    rt.root.chmod(mode)
    container, _ = started(rt)
    container.delete("-f").ok()
    rt.root.chmod(0o711)


def test_a_container_directory_of_another_user_is_refused(rt):
    """In a root with the sticky bit once open to all, it may have been there first."""
    container, pid = started(rt)
    os.chown(container.directory, 1000, 0)
    for verb in VERBS[2:]:
        call(container, *verb).failed("belongs to another user", code=255 if verb[0] == "exec" else 1)
    assert "belongs to another user" in rt.call("list").ok().err
    os.chown(container.directory, 0, 0)
    assert alive(pid)


def test_a_link_to_the_root_counts_if_it_is_ours(rt):
    container, _ = started(rt)
    link = rt.base / "link"
    link.symlink_to(rt.root)
    there = ("--root", str(link))
    assert rt.call(*there, "state", container.id, root=False).ok().json()["status"] == "running"
    os.lchown(link, 1000, 1000)
    rt.call(*there, "state", container.id, root=False).failed("belongs to another user")


def test_a_link_in_xdg_runtime_dir_is_not_followed(rt):
    """The environment says where that is, and a link there may lead to any directory."""
    target = rt.base / "target"
    target.mkdir(mode=0o755)
    (rt.base / "pyrunc").symlink_to(target)
    wrap = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork")
    box = rt.container(SLEEP)
    result = rt.call("create", "--bundle", box.bundle.path, box.id, root=False, wrap=wrap,
                     env={"XDG_RUNTIME_DIR": str(rt.base), "USER": "somebody"})
    assert result.code == 1 and f"{rt.base}/pyrunc: is a symbolic link" in result.err, result
    assert target.stat().st_mode & 0o7777 == 0o755 and not list(target.iterdir())


# --- names that are not UTF-8

ODD = os.fsdecode(b"caf\xe9")


def test_a_container_of_which_every_name_of_the_host_is_no_utf8_lives_a_whole_life(rt, tmp_path):
    base = tmp_path / ODD
    base.mkdir()
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat > '{rt.base}'/hook; cat /proc/self/cwd > /dev/null; exit 0"]}
    box = rt.container(SLEEP, {"hooks": {"createRuntime": [hook]}})
    os.rename(box.bundle.path, base / "bundle")
    root, log = base / "state", base / "log"
    def call(*args, **how):
        return rt.call("--root", str(root), "--log", str(log), "--log-format", "json", *args, root=False, log=False, **how)
    with open(base / "out", "w") as out:
        call("create", "--bundle", base / "bundle", "--pid-file", base / "pid", box.id, stdout=out).ok()
    try:
        pid = int((base / "pid").read_text())
        call("start", box.id).ok()
        shown = str(base / "bundle").replace("\udce9", "\ufffd")
        for state in (call("state", box.id).ok().json(), call("list", "-f", "json").ok().json()[0], json.loads((rt.base / "hook").read_text())):
            assert state["bundle"] == shown and state.get("rootfs", shown + "/rootfs") == shown + "/rootfs"
        assert shown in call("list").ok().out
        assert call("exec", "--pid-file", base / "exec", box.id, "/bin/echo", "out").ok().out == "out\n"
        assert call("ps", box.id).ok().out.count("\n") == 2
        call("update", "--pids-limit", "60", box.id).ok()
        call("events", "--stats", box.id).ok()
        kept = json.loads((root / box.id / "state.json").read_text())
        assert kept["bundle"] == str(base / "bundle") and kept["external_descriptors"][1] == str(base / "out")
        call("kill", box.id, "KILL").ok()
        wait_until(lambda: not alive(pid))
    finally:
        call("delete", "-f", box.id).ok()
    assert os.listdir(root) in ([], ["@seccomp"]) and log.read_bytes() == b""


def test_ps_shows_the_container_whatever_other_processes_are_called(rt):
    container, pid = started(rt)
    other = subprocess.Popen([b"caf\xe9", b"1000"], executable="/bin/sleep")
    try:
        result = rt.call("ps", container.id).ok()
        assert len(result.out.splitlines()) == 2 and str(pid) in result.out
    finally:
        other.kill()
        other.wait()


def test_annotations_that_would_not_fit_the_record_are_refused_before_anything_exists(rt):
    container = rt.container(SLEEP, {"annotations": {"a": "@"}})
    config = container.bundle.path / "config.json"
    config.write_text(config.read_text().replace('"@"', '"' + "é" * (7 << 20) + '"'))
    container.create().failed("the annotations are too long")
    rt.assert_nothing_left()


def test_a_container_that_shares_its_pids_is_found_by_its_mark_as_well(rt):
    container, pid = started(rt, namespaces("mount", "network", "ipc", "uts"), {"process": {"args": ["/bin/sh", "-c", "sleep 1000 & exec sleep 1000"]}})
    wait_until(lambda: len(rt.call("ps", "-f", "json", container.id).ok().json()) == 2)
    damage(container, "{", (*FILES, "config.json"))
    container.delete("--force").ok()
    rt.assert_nothing_left()
