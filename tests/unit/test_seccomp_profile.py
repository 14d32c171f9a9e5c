"""Lowering linux.seccomp: defaults, skips, refusals. No library and no kernel needed."""

import pytest

from pyrunc.errors import Error
from pyrunc.seccomp import profile

ERRNO, ALLOW, KILL, NOTIFY = 0x00050000, 0x7FFF0000, 0, 0x7FC00000


def section(*syscalls, default="SCMP_ACT_ERRNO", **more):
    return {"defaultAction": default, "syscalls": list(syscalls), **more}


def rule(names, action="SCMP_ACT_ALLOW", **more):
    return {"names": names, "action": action, **more}


@pytest.mark.parametrize("empty", [{}, {"defaultAction": ""}, {"defaultAction": "", "syscalls": []}])
def test_an_empty_profile_means_no_filter(empty):
    assert profile.lower(empty) is None


@pytest.mark.parametrize("name, value", [
    ("SCMP_ACT_KILL", 0), ("SCMP_ACT_KILL_THREAD", 0), ("SCMP_ACT_KILL_PROCESS", 0x80000000),
    ("SCMP_ACT_TRAP", 0x30000), ("SCMP_ACT_ERRNO", ERRNO | 1), ("SCMP_ACT_TRACE", 0x7FF00000 | 1),
    ("SCMP_ACT_LOG", 0x7FFC0000), ("SCMP_ACT_ALLOW", ALLOW),
])
def test_actions_are_the_kernels_values_and_errno_defaults_to_eperm(name, value):
    assert profile.lower({"defaultAction": name}).default == value


def test_errno_ret_is_taken_for_errno_and_trace_only():
    lowered = profile.lower(section(rule(["a"], "SCMP_ACT_ERRNO", errnoRet=38), rule(["b"], "SCMP_ACT_TRACE", errnoRet=0),
                                    rule(["c"], errnoRet=5), default="SCMP_ACT_KILL"))
    assert [one[0] for one in lowered.rules] == [ERRNO | 38, 0x7FF00000, ALLOW]
    assert profile.lower(section(defaultErrnoRet=99)).default == ERRNO | 99


@pytest.mark.parametrize("flags, bits", [
    (None, 4), ([], 0), (["SECCOMP_FILTER_FLAG_TSYNC"], 0), (["SECCOMP_FILTER_FLAG_LOG"], 2),
    (["SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"], 6),
    (["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"], 0),
])
def test_flags_absent_means_spec_allow_and_an_empty_list_means_none(flags, bits):
    assert profile.lower(section(flags=flags)).flags == bits


def test_wait_killable_is_kept_where_there_is_a_listener():
    lowered = profile.lower(section(rule(["mkdir"], "SCMP_ACT_NOTIFY"), listenerPath="/run/a", listenerMetadata="m",
                                    flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]))
    assert lowered.flags == 32 and lowered.listener == ("/run/a", "m")


def test_a_listener_path_without_a_notifying_rule_is_no_listener():
    assert profile.lower(section(rule(["mkdir"]), listenerPath="/run/a")).listener is None


def arg(index, op="SCMP_CMP_EQ", value=7, two=0):
    return {"index": index, "op": op, "value": value, "valueTwo": two}


def test_conditions_on_different_arguments_are_one_rule():
    lowered = profile.lower(section(rule(["a", "b"], args=[arg(0), arg(2, "SCMP_CMP_MASKED_EQ", 15, 3)])))
    assert [(one[1], one[2]) for one in lowered.rules] == [(name, ((0, 4, 7, 0), (2, 7, 15, 3))) for name in "ab"]


def test_two_conditions_on_one_argument_make_every_condition_a_rule_of_its_own():
    lowered = profile.lower(section(rule(["a"], args=[arg(0), arg(1), arg(0, value=8)])))
    assert [one[2] for one in lowered.rules] == [((0, 4, 7, 0),), ((1, 4, 7, 0),), ((0, 4, 8, 0),)]


@pytest.mark.parametrize("default, more, expected", [
    ("SCMP_ACT_ERRNO", {}, True), ("SCMP_ACT_KILL", {}, True), ("SCMP_ACT_TRAP", {}, True),
    ("SCMP_ACT_ALLOW", {}, False), ("SCMP_ACT_LOG", {}, False), ("SCMP_ACT_TRACE", {}, False),
    ("SCMP_ACT_ERRNO", {"defaultErrnoRet": 38}, False),
])
def test_only_a_default_that_refuses_gets_enosys_for_unknown_numbers(default, more, expected):
    assert profile.lower(section(default=default, **more)).enosys is expected


@pytest.mark.parametrize("bad, words, pointer", [
    (section(default="SCMP_ACT_X"), "string SCMP_ACT_X is not a valid action for seccomp", "/defaultAction"),
    (section(default="SCMP_ACT_NOTIFY"), "SCMP_ACT_NOTIFY cannot be used as default action", "/defaultAction"),
    (section(default=""), None, None),
    (section(rule(["a"], "NO")), "string NO is not a valid action for seccomp", "/syscalls/0/action"),
    (section(rule(["a"], args=[arg(0, "SCMP_CMP_X")])), "string SCMP_CMP_X is not a valid operator for seccomp",
     "/syscalls/0/args/0/op"),
    (section(rule(["a"], args=[arg(6)])), "a syscall has arguments 0 to 5, not 6", "/syscalls/0/args/0/index"),
    (section(rule(["a", ""])), "empty string is not a valid syscall", "/syscalls/0/names"),
    (section(architectures=["SCMP_ARCH_Z80"]), "string SCMP_ARCH_Z80 is not a valid arch for seccomp",
     "/architectures/0"),
    (section(flags=["SECCOMP_FILTER_FLAG_Z"]), 'seccomp flag "SECCOMP_FILTER_FLAG_Z" is not known', "/flags/0"),
    (section(rule(["write"], "SCMP_ACT_NOTIFY"), listenerPath="/x"),
     "SCMP_ACT_NOTIFY cannot be used for the write syscall", "/syscalls/0/names"),
    (section(rule(["read"], "SCMP_ACT_NOTIFY")), "seccomp listenerPath is not set", "/listenerPath"),
])
def test_what_has_no_meaning_is_refused_with_its_place(bad, words, pointer):
    if words is None:
        assert profile.lower(bad) is None
        return
    with pytest.raises(Error) as caught:
        profile.lower(bad)
    assert caught.value.message == words
    assert caught.value.pointer == "/linux/seccomp" + pointer


def test_a_name_that_cannot_be_a_syscall_is_skipped_like_any_unknown_one():
    assert profile.lower(section(rule(["x" * 256, "ü", "read"]))).rules[0][1] == "read"


def test_different_profiles_never_flatten_to_the_same_bytes():
    some = [section(), section(default="SCMP_ACT_KILL"), section(rule(["a"])), section(rule(["b"])),
            section(rule(["ab"])), section(rule(["a", "b"])), section(rule(["a"], "SCMP_ACT_LOG")),
            section(rule(["a"], args=[arg(0)])), section(rule(["a"], args=[arg(1)])),
            section(rule(["a"], args=[arg(0, value=8)])), section(rule(["a"], args=[arg(0, two=8)])),
            section(rule(["a"], args=[arg(0, "SCMP_CMP_NE")])), section(architectures=["SCMP_ARCH_X86"]),
            section(rule(["a"] * 33))]
    assert len({profile.flatten(profile.lower(one)) for one in some}) == len(some)
