"""The last place an exception comes to: one line that says what was being done, whatever it is."""

import errno
import posix

import pytest

from pyrunc import boot
from pyrunc.errors import Error


def line(capfd, err, verb=None):
    """What is said of an exception, raised here; and the exit code."""
    boundary = boot.Boundary()
    boundary.verb = verb
    try:
        raise err
    except Exception as caught:
        code = boundary.report(caught)
    return capfd.readouterr().err, code


@pytest.mark.parametrize(("err", "said"), [
    (OSError(errno.EFBIG, "File too large", "write /x"), "write /x: file too large\n"),
    (OSError(errno.ENOSPC, "No space left on device", b"/x\xff"), "/x?: no space left on device\n"),
    (OSError(errno.ENOSPC, "No space left on device"), "test_boot.line: no space left on device\n"),
    (OSError("strange"), "test_boot.line: strange\n"),
    (MemoryError(), f"out of memory\nhint: {boot.TOO_LITTLE}\n"),
    (SystemError("x"), f"the Python interpreter failed: x\nhint: {boot.TOO_LITTLE}\n"),
    (ImportError("a.so: failed to map"), f"cannot load a.so: failed to map\nhint: {boot.TOO_LITTLE}, or the installation is damaged\n"),
])
def test_every_exception_is_a_line_that_names_what_was_being_done(capfd, err, said):
    text, code = line(capfd, err)
    assert text.endswith(said) and code == 1 and "internal error" not in text


def test_the_module_and_function_of_a_nameless_error_are_those_it_was_raised_in(capfd):
    boundary = boot.Boundary()
    try:
        posix.write(-1, b"")
    except OSError as err:
        boundary.report(err)
    assert "test_boot.test_the_module" in capfd.readouterr().err


@pytest.mark.parametrize(("verb", "message", "said"), [
    ("create", "no good", "pyrunc create failed: config.json: /linux/x: no good\n"),
    ("run", "config.json: /linux/x/0: no good", "pyrunc run failed: config.json: /linux/x/0: no good\n"),
    ("exec", "no good", "exec failed: no good\n"),  # of process.json, or of an option
])
def test_the_place_in_the_config_is_named_once(capfd, verb, message, said):
    assert line(capfd, Error(message, pointer="/linux/x"), verb) == (said, 255 if verb == "exec" else 1)


def test_a_line_that_takes_more_memory_than_there_is_is_shorter(capfd, monkeypatch):
    def full(*_, **__):
        raise MemoryError
    monkeypatch.setattr(boot.log, "error", full)
    assert line(capfd, MemoryError()) == ("pyrunc: out of memory\n", 1)
