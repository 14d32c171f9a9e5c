"""Log lines as their readers parse them: containerd, podman, people."""

import json
import re
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrunc import log

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(log, "_Log", type("_Log", (), {"fd": 2, "json": False, "debug": False, "pending": []}))


def lines(path):
    return path.read_text().splitlines()


def test_a_json_error_is_one_object_with_alphabetical_keys_and_a_time(tmp_path, capfd):
    log.open_log(str(tmp_path / "log"), "json", False)
    log.error('mounts/3: "x"\nfailed', errno=1, pointer="/mounts/3")
    (line,) = lines(tmp_path / "log")
    entry = json.loads(line)
    assert list(entry) == ["errno", "level", "msg", "pointer", "time"] == sorted(entry)
    assert (entry["level"], entry["msg"], entry["errno"]) == ("error", 'mounts/3: "x"\nfailed', 1)
    assert re.fullmatch(STAMP, entry["time"])


def test_an_error_logged_to_a_file_stands_on_stderr_too_in_plain_words(tmp_path, capfd):
    log.open_log(str(tmp_path / "log"), "json", False)
    log.error("container does not exist")
    assert capfd.readouterr() == ("", "container does not exist\n")


def test_the_cure_is_a_second_line_for_people_and_a_key_for_programs(tmp_path, capfd):
    log.open_log(str(tmp_path / "log"), "json", False)
    log.error("no", hint="do so")
    assert capfd.readouterr().err == "no\nhint: do so\n"
    assert json.loads((tmp_path / "log").read_text())["hint"] == "do so"


def test_text_in_a_file_looks_as_logrus_writes_it(tmp_path):
    log.open_log(str(tmp_path / "log"), "text", False)
    log.error('a "b"')
    assert re.fullmatch(rf'time="{STAMP}" level=error msg="a \\"b\\""', *lines(tmp_path / "log"))


def test_a_failure_is_the_only_line_of_a_json_log_whatever_was_warned_of_before(tmp_path):
    log.open_log(str(tmp_path / "log"), "json", False)
    log.warning("odd")
    log.error("bad")
    assert [json.loads(line)["msg"] for line in lines(tmp_path / "log")] == ["bad"]


def test_warnings_held_back_are_written_once_the_command_has_succeeded(tmp_path):
    log.open_log(str(tmp_path / "log"), "json", False)
    log.warning("odd")
    assert lines(tmp_path / "log") == []
    log.flush()
    log.flush()
    assert [json.loads(line)["level"] for line in lines(tmp_path / "log")] == ["warning"]


def test_debug_lines_appear_only_when_asked_for(tmp_path):
    log.open_log(str(tmp_path / "log"), "json", False)
    log.debug("x")
    assert lines(tmp_path / "log") == []
    log.open_log(str(tmp_path / "log"), "json", True)
    log.debug("y")
    assert [json.loads(line)["msg"] for line in lines(tmp_path / "log")] == ["y"]


def test_the_log_is_appended_to_and_readable_by_others(tmp_path):
    (tmp_path / "log").write_text("before\n")
    log.open_log(str(tmp_path / "log"), "text", False)
    log.error("x")
    assert lines(tmp_path / "log")[0] == "before"
    log.open_log(str(tmp_path / "new"), "text", False)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) & 0o600 == 0o600


def test_a_traceback_names_file_line_and_function(tmp_path):
    log.open_log(str(tmp_path / "log"), "json", True)
    try:
        raise ValueError("boom")
    except ValueError as err:
        log.traceback(err)
    where, what = (json.loads(line)["msg"] for line in lines(tmp_path / "log"))
    assert re.fullmatch(r".*test_log\.py:\d+ in test_a_traceback_names_file_line_and_function", where)
    assert what == "ValueError: boom"


@given(st.text(st.characters(blacklist_categories=("Cs",))))
def test_any_text_survives_json(text):
    assert json.loads(log._quoted(text)) == text


@given(st.text(st.characters()))
def test_undecodable_bytes_make_no_broken_json(text):
    json.loads(log._quoted(text).encode("utf-8"))
