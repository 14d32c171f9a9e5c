"""The tables of names, against the schema, and against what this machine's own headers and modules say."""

import resource
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrunc.config import cpulist, names, schema_data

DEFS = schema_data.CONFIG["$defs"]


def enum(definition, name):
    node = DEFS[definition]["properties"][name]
    return set(node.get("items", node)["enum"])


@pytest.mark.parametrize("table, words", [
    (names.NAMESPACES, enum("namespace", "type")),
    (names.SCHED_POLICIES, enum("scheduler", "policy")),
    (names.SCHED_FLAGS, enum("scheduler", "flags")),
    (names.IOPRIO_CLASSES, enum("ioPriority", "class")),
    (names.PERSONALITIES, enum("personality", "domain")),
    (names.MEMORY_POLICIES, enum("memoryPolicy", "mode")),
    (names.MEMORY_POLICY_FLAGS, enum("memoryPolicy", "flags")),
    (names.SECCOMP_ACTIONS, enum("syscall", "action")),
    (names.SECCOMP_ARCHS, enum("seccomp", "architectures")),
    (names.SECCOMP_FLAGS, enum("seccomp", "flags")),
    (names.SECCOMP_OPERATORS, enum("syscallArg", "op")),
    (dict.fromkeys(names.HOOKS), set(schema_data.CONFIG["properties"]["hooks"]["properties"])),
    (dict.fromkeys(names.CAPABILITY_SETS), set(DEFS["capabilities"]["properties"])),
], ids=lambda value: sorted(value)[0])
def test_the_schema_knows_exactly_the_names_of_the_table(table, words):
    assert set(table) == words


def test_the_41_capabilities_have_the_bits_0_to_40():
    assert sorted(names.CAPABILITIES.values()) == list(range(41))
    assert names.CAPABILITIES["CAP_SYS_ADMIN"] == 21 and names.CAPABILITIES["CAP_CHECKPOINT_RESTORE"] == 40


def test_rlimits_have_the_numbers_of_this_machine():
    assert sorted(names.RLIMITS.values()) == list(range(16))
    for name, number in names.RLIMITS.items():
        assert getattr(resource, name, number) == number


def test_signals_have_the_numbers_of_this_machine():
    for name, number in names.SIGNALS.items():
        assert getattr(signal, "SIG" + name) == number
    known = {int(number) for number in signal.Signals} - {signal.SIGRTMIN, signal.SIGRTMAX}
    assert known == set(names.SIGNALS.values())
    assert (names.SIGRTMIN, names.SIGRTMAX) == (signal.SIGRTMIN, signal.SIGRTMAX)


@pytest.mark.parametrize("text, number", [
    ("9", 9), ("KILL", 9), ("SIGKILL", 9), ("sigterm", 15), ("Term", 15), ("64", 64), ("0", 0), ("CLD", 17),
    ("RTMIN", 34), ("SIGRTMIN+3", 37), ("RTMAX-1", 63), ("rtmax", 64),
    ("65", None), ("-9", None), ("+9", None), (" 9", None), ("9 ", None), ("1_0", None), ("\u0669", None), ("", None),
    ("SIG", None), ("SIGSIGKILL", None), ("RTMIN+31", None), ("RTMAX-31", None), ("RTMIN*1", None), ("RTMIN+", None),
    ("RTMID", None), ("9" * 30, None), ("SIGUNHEARD", None),
])
def test_a_signal_is_a_number_or_a_name_in_any_case(text, number):
    assert names.signal_number(text) == number


@pytest.mark.parametrize("text, ids", [
    ("", []), ("0", [0]), ("0-3,7", [0, 1, 2, 3, 7]), (" 1 , 2,,", [1, 2]), ("5-5", [5]), ("65535", [65535]),
    ("3,1-4", [1, 2, 3, 4]),
])
def test_a_list_of_ids_becomes_a_mask(text, ids):
    assert cpulist.parse(text) == sum([1 << number for number in ids])


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-1", "1--2", "0x1", "65536", "1;2", "1 2", "\u0661", "1_0",
                                  "0-3:1/2"])
def test_what_is_no_list_of_ids_is_none(text):
    assert cpulist.parse(text) is None


@given(st.sets(st.integers(0, 300)))
def test_a_written_list_is_read_back(ids):
    assert cpulist.parse(",".join(map(str, ids))) == sum([1 << number for number in ids])
