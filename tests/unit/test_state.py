"""The state directory without a container: what is read when, and what is written how often."""

import datetime
import os
import re

import pytest
from hypothesis import given, strategies as st

from pyrunc import facts, jsonio, kernel, state
from pyrunc.errors import Error

PID = os.getpid()


def record(name="c", **more):
    return {"id": name, "init_process_pid": 0, "bundle": "/b", "facts": facts.named("none").dump(), "request": {}, "cgroup_paths": {}, **more}


@pytest.fixture
def root(tmp_path):
    container = state.create(str(tmp_path / "root"), "c")
    container.data = record()
    container.save(first=True)
    os.close(container.dirfd)  # and the lock with it
    return str(tmp_path / "root")


def put(root, data):
    with open(f"{root}/c/new", "wb") as file:
        file.write(jsonio.dumps(data).encode())
    os.rename(f"{root}/c/new", f"{root}/c/state.json")


# --- the lock

def test_what_was_written_before_the_lock_was_ours_is_read(root, monkeypatch):
    """Another command's last word comes just before we get the lock."""
    flock = kernel.flock

    def late(fd, wait_ms):
        put(root, record(created="late"))
        return flock(fd, wait_ms)
    monkeypatch.setattr(kernel, "flock", late)
    container = state.load(root, "c", lock=True)
    monkeypatch.undo()
    put(root, record(created="never: we have the lock"))
    container.lock()
    assert container.data["created"] == "late"


def test_what_was_written_while_we_waited_for_the_lock_is_read(root, monkeypatch):
    other = state.load(root, "c", lock=True)
    container = state.load(root, "c", lock=True)
    assert "created" not in container.data
    put(root, record(created="meanwhile"))
    os.close(other.dirfd)
    container.lock()
    assert container.data["created"] == "meanwhile"


def test_a_lock_that_another_has_is_waited_for_and_then_said(root):
    other = state.load(root, "c", lock=True)
    with pytest.raises(Error, match="container c is busy"):
        state.load(root, "c", lock=True).lock(10)
    os.close(other.dirfd)


def test_a_lock_that_was_given_up_is_asked_for_again(root):
    """`run` gives it up while its process runs; a `delete` may have it when that has ended."""
    mine = state.load(root, "c", lock=True)
    mine.unlock()
    other = state.load(root, "c", lock=True)
    assert other.locked
    with pytest.raises(Error, match="container c is busy"):
        mine.lock(10)
    os.close(other.dirfd)
    mine.lock(10)


def test_a_container_that_was_replaced_is_another_whoever_has_the_lock(root):
    for lock in (True, False):
        container = state.load(root, "c", lock=lock)
        os.rename(f"{root}/c", f"{root}/gone{lock}")
        again = state.create(root, "c")
        again.data = record()
        again.save(first=True)
        os.close(again.dirfd)
        with pytest.raises(Error, match="container does not exist"):
            container.lock()


# --- files

def test_the_second_writing_makes_two_files_of_the_two_names(root):
    """Whoever cuts one short leaves the other."""
    names = [f"{root}/c/{name}" for name in (state.STATE, state.COPY)]
    assert [state.loads(open(name, "rb").read())["id"] for name in names] == ["c", "c"]
    container = state.load(root, "c")
    container.data["created"] = "now"
    container.save()
    assert [os.stat(name).st_nlink for name in names] == [1, 1]
    assert [state.loads(open(name, "rb").read())["created"] for name in names] == ["now", "now"]


def test_a_file_system_without_links_gets_two_files_at_once(root, monkeypatch):
    def link(*_, **__):
        raise PermissionError(1, "Operation not permitted")
    monkeypatch.setattr(state.posix, "link", link)
    container = state.create(root, "d")
    container.data = record("d")
    container.save(first=True)
    assert sorted(os.listdir(container.path)) == ["state.copy", "state.json"]
    assert state.load(root, "d").data == container.data


def test_the_first_writing_of_a_file_replaces_nothing(root):
    container = state.load(root, "c")
    container.write("config.json", b"{}", first=True)
    os.symlink("/dev/null", f"{root}/c/link")
    with pytest.raises(OSError, match=f"{root}/c/none/x"):
        container.write("none/x", b"", first=True)
    assert container.read("config.json") == b"{}"


@pytest.mark.parametrize("size", [0, 1, state.BLOCK - 1, state.BLOCK, state.BLOCK + 1, 3 * state.BLOCK])
def test_a_file_is_read_to_its_end(root, size):
    container = state.load(root, "c")
    data = os.urandom(size)
    container.write("x", data)
    assert container.read("x") == data


def test_nothing_is_left_open_by_a_look(root):
    before = os.listdir("/proc/self/fd")
    container = state.load(root, "c", lock=True)
    container.lock()
    container.status()
    os.close(container.dirfd)
    assert os.listdir("/proc/self/fd") == before


# --- init

def test_init_is_known_by_its_pid_and_start_time(root):
    container = state.load(root, "c")
    for pid, start, alive in ((PID, state.start_time(PID), True), (PID, state.start_time(PID) + 1, False), (PID, None, False), (0, 0, False)):
        container.data.update(init_process_pid=pid, init_process_start=start)
        assert container.alive() == alive
        pidfd = container.open_pidfd()
        assert (pidfd is not None) == alive
        pidfd, name = container.grasp()
        assert (name is not None) == alive and (not alive or (name, pidfd >= 0) == (open(f"/proc/{PID}/comm", "rb").read().strip(), True))


def test_who_has_the_pid_is_looked_at_after_that_was_opened(root, monkeypatch):
    """Else init could end, and another have its pid, between the look and the opening."""
    container, pidfd_open = state.load(root, "c"), os.pidfd_open
    container.data.update(init_process_pid=PID, init_process_start=state.start_time(PID))

    def late(pid):
        container.data["init_process_start"] = 1
        return pidfd_open(pid)
    monkeypatch.setattr(state.posix, "pidfd_open", late)
    assert container.open_pidfd() is None and container.grasp()[1] is None


# --- time

@given(st.datetimes(timezones=st.just(datetime.UTC)), st.integers(0, 999))
def test_a_moment_is_that_of_the_calendar(when, ns):
    past = when - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    told = state.moment((past.days * 86400 + past.seconds) * 10 ** 9 + past.microseconds * 1000 + ns)
    assert told == f"{when:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + f".{when.microsecond:06}{ns:03}Z"


@pytest.mark.parametrize("year", [1, 4, 100, 400, 1900, 1970, 2000, 2023, 2024, 2100, 2400, 9999])
def test_every_day_of_a_year_is_the_calendars(year):
    day = datetime.date(year, 1, 1)
    while day.year == year:
        assert state.moment((day - datetime.date(1970, 1, 1)).days * 86400 * 10 ** 9) == f"{day.isoformat()}T00:00:00.000000000Z"
        if day == datetime.date.max:
            break
        day += datetime.timedelta(1)


def test_now_is_now():
    told = state.now()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", told)
    when = datetime.datetime.fromisoformat(told[:26] + "+00:00")
    assert abs(when - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=1)


# --- files of the kernel

def packets(*parts):
    """A descriptor of which each read gives one part, as of a seq_file."""
    reader, writer = os.pipe2(os.O_DIRECT | os.O_CLOEXEC)
    for part in parts:
        os.write(writer, part)
    os.close(writer)
    return reader


def test_a_list_that_the_kernel_shows_in_parts_is_read_to_its_end():
    from pyrunc.host.cgroup import v2

    for name in ("cgroup.procs", "cgroup.threads", "tasks"):
        assert v2._text(packets(b"1\n2\n", b"3\n"), name) == "1\n2\n3\n"
    assert v2._text(packets(b"one\n", b"never asked for"), "cgroup.freeze") == "one\n"
    for how, found in (({}, b"1 - a\n2 - b\n"), ({"whole": True}, b"1 - a\n")):
        fd = packets(b"1 - a\n", b"2 - b\n")
        assert facts.read(f"/proc/self/fd/{fd}", **how) == found
        os.close(fd)


def test_mounts_are_read_in_parts(monkeypatch):
    asked = []
    monkeypatch.setattr(facts, "read", lambda path, whole=False: asked.append((path, whole)) or b"")
    facts.probe(rdt=True)
    facts._v1_mounts({})
    assert {whole for path, whole in asked if path.endswith("mountinfo")} == {False}
