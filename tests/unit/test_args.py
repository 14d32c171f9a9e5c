"""The command line's grammar, and the words for what is wrong with it."""

import json
import pathlib
import posix
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrunc import args, facts
from pyrunc.errors import Error

OPTIONS = (
    (("bundle", "b"), "str", None, ""),
    (("detach", "d"), "flag", False, ""),
    (("preserve-fds", None), "int", 0, ""),
    (("env", "e"), "list", None, ""),
)


@pytest.mark.parametrize("words", (["--bundle", "/x"], ["--bundle=/x"], ["-b", "/x"], ["-b=/x"], ["-bundle", "/x"], ["--b", "/x"]))
def test_a_value_stands_behind_the_flag_or_after_an_equals_sign(words):
    values, rest = args.parse(OPTIONS, [*words, "id"], False)
    assert values == {"bundle": "/x", "detach": False, "preserve-fds": 0, "env": None} and rest == ["id"]


def test_flags_may_stand_behind_the_positionals():
    values, rest = args.parse(OPTIONS, ["id", "--detach"], False)
    assert values["detach"] is True and rest == ["id"]


def test_flags_behind_the_first_positional_belong_to_the_process_where_the_command_says_so():
    values, rest = args.parse(OPTIONS, ["-d", "id", "ls", "-d", "--", "-x"], True)
    assert values["detach"] is True and rest == ["id", "ls", "-d", "--", "-x"]


def test_two_dashes_before_the_id_end_the_flags():
    assert args.parse(OPTIONS, ["-d", "--", "id", "-b"], True)[1] == ["id", "-b"]


def test_a_single_dash_is_a_positional():
    assert args.parse(OPTIONS, ["-", "-d"], False)[1] == ["-"]


def test_a_repeated_flag_collects_its_values_and_is_not_split_at_commas():
    values, _ = args.parse(OPTIONS, ["-e", "A=1,2", "--env=B=", "-e", "C"], True)
    assert values["env"] == ["A=1,2", "B=", "C"]


def test_the_default_of_a_repeated_flag_is_not_changed_by_its_values():
    shared = []
    options = ((("env", "e"), "list", shared, ""),)
    args.parse(options, ["-e", "A"], True)
    assert shared == []


@pytest.mark.parametrize(("word", "value"), [(w, True) for w in args.TRUE] + [(w, False) for w in args.FALSE])
def test_a_switch_takes_go_s_words_for_true_and_false(word, value):
    assert args.parse(OPTIONS, [f"--detach={word}"], False)[0]["detach"] is value


@pytest.mark.parametrize(("words", "message"), (
    (["--foo"], "flag provided but not defined: -foo"),
    (["---bundle"], "flag provided but not defined: --bundle"),
    (["--bundle"], "flag needs an argument: -bundle"),
    (["-b"], "flag needs an argument: -b"),
    (["--detach=maybe"], 'invalid boolean value "maybe" for -detach: parse error'),
    (["--preserve-fds", "x"], 'invalid value "x" for flag -preserve-fds: parse error'),
    (["--preserve-fds", "\u0663"], 'invalid value "\u0663" for flag -preserve-fds: parse error'),
    (["--preserve-fds", "1_0"], 'invalid value "1_0" for flag -preserve-fds: parse error'),
    (["--preserve-fds", "9999999999"], 'invalid value "9999999999" for flag -preserve-fds: parse error'),
    (["--preserve-fds", ""], 'invalid value "" for flag -preserve-fds: parse error'),
))
def test_a_wrong_flag_is_refused_in_the_words_of_runc(words, message):
    with pytest.raises(args.Usage) as caught:
        args.parse(OPTIONS, words, False)
    assert caught.value.message == message


@pytest.mark.parametrize(("limits", "given_", "wanted"), (
    ((1, 1), 0, "exactly 1"), ((1, 1), 2, "exactly 1"), ((1, 2), 0, "a minimum of 1"),
    ((1, 2), 3, "a maximum of 2"), ((1, None), 0, "a minimum of 1"),
))
def test_a_wrong_number_of_arguments_is_refused_in_the_words_of_runc(limits, given_, wanted):
    with pytest.raises(args.Usage) as caught:
        args.count("kill", limits, ["x"] * given_)
    assert caught.value.message == f'pyrunc: "kill" requires {wanted} argument(s)'


@pytest.mark.parametrize(("limits", "given_"), (((1, 1), 1), ((1, 2), 2), ((0, 0), 0), ((1, None), 50)))
def test_a_right_number_of_arguments_is_accepted(limits, given_):
    args.count("kill", limits, ["x"] * given_)


@given(st.lists(st.text(max_size=8), max_size=8), st.booleans())
def test_any_command_line_is_parsed_or_refused_as_usage(words, stop):
    try:
        values, rest = args.parse(OPTIONS, words, stop)
    except args.Usage:
        return
    assert set(values) == {"bundle", "detach", "preserve-fds", "env"} and set(rest) <= set(words)


@given(st.lists(st.text(max_size=8), max_size=8))
def test_behind_two_dashes_every_word_arrives_as_it_is(words):
    assert args.parse(OPTIONS, ["--", *words], False)[1] == words


@pytest.mark.parametrize(("path", "cleaned"), (
    ("/a//b/./c/", "/a/b/c"), ("/a/../../b", "/b"), ("//", "/"), ("/..", "/"), ("/a/b/..", "/a"),
))
def test_paths_are_cleaned_as_text(path, cleaned):
    assert args.clean(path) == cleaned


def test_a_relative_root_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert args.state_root({"root": "x/../y"}) == f"{tmp_path}/y"


@pytest.mark.parametrize("root", ("/", "//", "/x/.."))
def test_the_root_directory_is_refused_as_state_root(root):
    with pytest.raises(Error, match="Option --root argument should not be set to /"):
        args.state_root({"root": root})


@pytest.mark.parametrize(("euid", "user", "inside", "expected"), (
    (1000, b"root", False, "/xdg/pyrunc"), (0, b"root", True, "/run/pyrunc"), (0, b"joe", True, "/xdg/pyrunc"),
    (0, None, True, "/xdg/pyrunc"), (0, b"joe", False, "/run/pyrunc"),
))
def test_the_runtime_directory_counts_for_all_but_the_host_s_root(euid, user, inside, expected, monkeypatch):
    environment = {b"XDG_RUNTIME_DIR": b"/xdg"} | ({b"USER": user} if user else {})
    monkeypatch.setattr(posix, "environ", environment)
    monkeypatch.setattr(posix, "geteuid", lambda: euid)
    monkeypatch.setattr(facts, "in_userns", lambda: inside)
    assert args.state_root({"root": None}) == expected


def test_without_a_runtime_directory_everybody_s_state_is_in_run(monkeypatch):
    monkeypatch.setattr(posix, "environ", {})
    monkeypatch.setattr(posix, "geteuid", lambda: 1000)
    assert args.state_root({"root": None}) == "/run/pyrunc"


def test_help_names_every_flag():
    text = args.help_of("pyrunc x - y", "x <id>", OPTIONS)
    assert "USAGE:\n   pyrunc x <id>\n" in text
    for line in ("--bundle value, -b", "--detach, -d", "--preserve-fds value", "--env value, -e", "--help, -h"):
        assert f"   {line} " in text


# As the type checker sees the program: with all that stands below `if TYPE_CHECKING`, and with the stub as a module.
AS_TYPED = """
import json, sys, types, typing
sys.path.insert(0, sys.argv[1])
from pyrunc import typed
typed.TYPE_CHECKING = True
import pyrunc.config
shape = sys.modules["pyrunc.config.shape"] = types.ModuleType("pyrunc.config.shape")
shape.__package__ = "pyrunc.config"
exec(open(sys.argv[1] + "/pyrunc/config/shape.pyi").read(), vars(shape))
from pyrunc import args, boot
tables = {"": (args.GLOBALS, args.Globals)}
for verb, (load, _) in boot.COMMANDS.items():
    module = load()
    options = getattr(module, "Options", None)
    if verb == "create":
        options = module.shared.CreateOptions
    if isinstance(options, type):
        tables[verb] = module.OPTIONS + args.HELP, options
print(json.dumps({verb: [
    {long: [kind, default] for (long, _), kind, default, _ in table},
    {key: str(kind) if typing.get_origin(kind) else kind.__name__ for key, kind in typing.get_type_hints(options).items()},
] for verb, (table, options) in tables.items()}))
"""


def test_the_types_of_options_are_what_the_tables_make_of_them():
    root = pathlib.Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", AS_TYPED, root], capture_output=True, text=True)
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert {"", "create", "run", "exec", "delete", "kill", "list", "ps", "events", "explain", "spec", "validate"} == found.keys()
    for verb, (table, types) in found.items():
        said = {"flag": "bool", "int": "int", "list": "list[str] | None", "str": "str | None"}
        wanted = {key: "str" if kind == "str" and default is not None else said[kind] for key, (kind, default) in table.items()}
        if not verb:  # what boot adds, and makes of the root
            wanted |= {"root": "str", "inherited": "int", "root-given": "bool", "root-in-xdg": "bool"}
        assert types == wanted, verb
