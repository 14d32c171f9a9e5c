"""host/pidfile.py: complete when it appears, without a newline, gone when undone."""

import os

import pytest

from pyrunc.errors import Error
from pyrunc.host import pidfile


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_it_holds_the_pid_without_a_newline(tmp_path):
    pidfile.write(str(tmp_path / "pid"), 4711)
    assert (tmp_path / "pid").read_bytes() == b"4711"
    assert os.listdir(tmp_path) == ["pid"]


def test_its_mode_is_0666_less_umask(tmp_path, umask):
    pidfile.write(str(tmp_path / "pid"), 1)
    assert (tmp_path / "pid").stat().st_mode & 0o7777 == 0o640


def test_a_relative_path_is_looked_up_from_the_directory_given(tmp_path):
    (tmp_path / "sub").mkdir()
    fd = os.open(tmp_path, os.O_PATH)
    try:
        undo = pidfile.write("sub/pid", 2, fd)
        assert (tmp_path / "sub/pid").read_bytes() == b"2"
        undo()
        pidfile.write("pid", 3, fd)
    finally:
        os.close(fd)
    assert sorted(os.listdir(tmp_path)) == ["pid", "sub"]
    assert os.listdir(tmp_path / "sub") == []


def test_an_older_file_is_replaced_never_written_into(tmp_path):
    (tmp_path / "pid").write_text("99999")
    (tmp_path / "kept").hardlink_to(tmp_path / "pid")
    pidfile.write(str(tmp_path / "pid"), 7)
    assert (tmp_path / "pid").read_bytes() == b"7"
    assert (tmp_path / "kept").read_text() == "99999"


def test_what_a_killed_one_left_beside_is_no_obstacle(tmp_path):
    (tmp_path / ".pid").write_text("half")
    pidfile.write(str(tmp_path / "pid"), 8)
    assert os.listdir(tmp_path) == ["pid"]


def test_a_symlink_placed_beside_is_not_written_through(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / ".pid").symlink_to("victim")
    pidfile.write(str(tmp_path / "pid"), 8)
    assert (tmp_path / "victim").read_text() == "precious"
    assert not (tmp_path / "pid").is_symlink()


def test_the_inverse_removes_it_and_may_come_late(tmp_path):
    undo = pidfile.write(str(tmp_path / "pid"), 1)
    undo()
    assert os.listdir(tmp_path) == []
    undo()


def test_a_missing_directory_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(Error, match="^pid-file /nope/pid: no such file or directory$"):
        pidfile.write("/nope/pid", 1)


def test_a_failing_rename_leaves_nothing(tmp_path):
    (tmp_path / "pid").mkdir()
    with pytest.raises(Error, match="is a directory"):
        pidfile.write(str(tmp_path / "pid"), 1)
    assert os.listdir(tmp_path) == ["pid"]
