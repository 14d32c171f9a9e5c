"""The cache of compiled filters: a hit is exact, and whatever looks odd is a miss."""

import os
import posix
import stat

import pytest

from pyrunc.seccomp import cache

CODE = bytes(range(64))


@pytest.fixture
def directory(tmp_path):
    fd = cache.open_directory(str(tmp_path))
    yield fd
    posix.close(fd)


@pytest.fixture
def stored(directory, tmp_path):
    name = cache.key(b"profile", True, (2, 5, 4))
    cache.store(directory, name, CODE)
    return name, tmp_path / cache.NAME / name


def test_what_was_stored_is_found_again(directory, stored):
    name, path = stored
    assert cache.load(directory, name) == CODE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == [name]


def test_the_mode_does_not_depend_on_the_umask(directory, tmp_path):
    old = os.umask(0o777)
    try:
        cache.store(directory, "a" * 64, CODE)
    finally:
        os.umask(old)
    assert cache.load(directory, "a" * 64) == CODE


def test_the_key_depends_on_everything_the_filter_is_made_of(monkeypatch):
    keys = {cache.key(b"a", True, (2, 5, 4)), cache.key(b"b", True, (2, 5, 4)), cache.key(b"a", False, (2, 5, 4)),
            cache.key(b"a", True, (2, 5, 5))}

    class Other:
        release, machine = "99.1", "x86_64"
    monkeypatch.setattr(cache.posix, "uname", lambda: Other, raising=False)
    keys.add(cache.key(b"a", True, (2, 5, 4)))
    assert len(keys) == 5


@pytest.mark.parametrize("damage", [
    lambda path: path.write_bytes(path.read_bytes()[:-8]),
    lambda path: path.write_bytes(path.read_bytes() + bytes(8)),
    lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\0"),
    lambda path: path.write_bytes(b"\0" * 32 + path.read_bytes()[32:]),
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(path.read_bytes()[:32]),
    lambda path: path.chmod(0o644),
    lambda path: path.chmod(0o4600),
    lambda path: (path.unlink(), os.mkfifo(path, 0o600)),
    lambda path: (path.unlink(), path.mkdir()),
    lambda path: (path.rename(path.with_name("x")), path.symlink_to("x")),
    lambda path: path.unlink(),
])
def test_a_damaged_foreign_or_missing_entry_is_a_miss(directory, stored, damage):
    name, path = stored
    damage(path)
    assert cache.load(directory, name) is None


def test_an_entry_under_another_key_is_a_miss(directory, stored):
    name, path = stored
    other = cache.key(b"another", True, (2, 5, 4))
    path.rename(path.with_name(other))
    assert cache.load(directory, other) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away needs root")
def test_an_entry_or_directory_of_somebody_else_is_not_believed(directory, stored, tmp_path):
    name, path = stored
    os.chown(path, 1, 1)
    assert cache.load(directory, name) is None
    os.chown(path.parent, 1, 1)
    assert cache.open_directory(str(tmp_path)) is None


@pytest.mark.parametrize("damage", [
    lambda path: path.chmod(0o755),
    lambda path: (path.rmdir(), path.symlink_to("elsewhere"), (path.parent / "elsewhere").mkdir(0o700)),
    lambda path: (path.rmdir(), path.write_text("")),
])
def test_a_directory_that_is_open_to_others_or_none_is_not_used(tmp_path, damage):
    posix.close(cache.open_directory(str(tmp_path)))
    damage(tmp_path / cache.NAME)
    assert cache.open_directory(str(tmp_path)) is None


def test_a_missing_state_root_means_no_cache(tmp_path):
    assert cache.open_directory(str(tmp_path / "none")) is None


def test_a_left_over_of_a_writer_that_died_is_cleared_away(directory, tmp_path):
    beside = tmp_path / cache.NAME / ("b" * 64 + ".new")
    beside.write_bytes(b"half")
    cache.store(directory, "b" * 64, CODE)
    assert cache.load(directory, "b" * 64) is None and not beside.exists()
    cache.store(directory, "b" * 64, CODE)
    assert cache.load(directory, "b" * 64) == CODE


def test_the_cache_does_not_grow_without_end(directory, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MAX_ENTRIES", 5)
    for number in range(12):
        cache.store(directory, f"{number:064x}", CODE)
    assert len(os.listdir(tmp_path / cache.NAME)) <= 5
    assert cache.load(directory, f"{11:064x}") == CODE


def test_a_second_compile_of_a_profile_comes_out_of_the_cache(tmp_path, monkeypatch):
    pytest.importorskip("pyrunc.kernel_seccomp", reason="the native module is not built")
    from pyrunc.seccomp import compile as compiler
    section = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}
    first = compiler.filter_of(section, str(tmp_path))
    monkeypatch.setattr(compiler, "_compile", lambda *_: pytest.fail("compiled again"))
    assert compiler.filter_of(section, str(tmp_path)) == first
    monkeypatch.undo()
    assert compiler.filter_of(section) == first
