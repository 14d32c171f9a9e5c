"""Device rules: what a list means, and that the eBPF program decides exactly that.

Two oracles. For one access at a time the meaning is simple enough to write down again (`last_word`), independently of
the module. For the program, an interpreter of the few eBPF instructions it uses, written from the instruction set's
documentation, is compared with `devices.allowed` on devices around the numbers the rules mention.
"""

import pytest
from hypothesis import given, strategies as st

from pyrunc.errors import Error
from pyrunc.plan import device_rules as devices

R, W, M = devices.READ, devices.WRITE, devices.MKNOD


def run(code, kind, major, minor, mask):
    """Interpret a program on one request; raises on anything the verifier would refuse too."""
    context = [mask << 16 | devices.TYPES[kind], major, minor]
    assert len(code) % 8 == 0
    insns = [code[at:at + 8] for at in range(0, len(code), 8)]
    reg, at = {1: "context"}, 0
    for _ in range(len(insns) + 1):
        op, dst, src = insns[at][0], insns[at][1] & 15, insns[at][1] >> 4
        off = int.from_bytes(insns[at][2:4], "little", signed=True)
        imm = int.from_bytes(insns[at][4:8], "little")
        at += 1
        if op == 0x61:
            assert reg[src] == "context" and off % 4 == 0
            reg[dst] = context[off // 4]
        elif op == 0xBC:
            reg[dst] = reg[src]
        elif op == 0xB4:
            reg[dst] = imm
        elif op == 0x74:
            reg[dst] >>= imm
        elif op == 0x54:
            reg[dst] &= imm
        elif op in (0x56, 0x16):
            assert off >= 0, "a loop"
            if (reg[dst] != imm) == (op == 0x56):
                at += off
        elif op == 0x95:
            return reg[0]
        else:
            raise AssertionError(f"unknown instruction {op:#x}")
    raise AssertionError("fell off the end")


def last_word(listed, kind, major, minor, bit):
    """One access to one device, by the book: see the module's docstring for the rules of the two modes."""
    default, denied, verdict = False, {}, False
    for its_kind, its_major, its_minor, access, allow in listed:
        if (its_kind, its_major, its_minor) == ("a", -1, -1) and (set(access) == set("rwm") or not allow):
            default, denied, verdict = allow, {}, allow
        elif {R: "r", W: "w", M: "m"}[bit] in access:
            matches = its_kind in ("a", kind) and its_major in (-1, major) and its_minor in (-1, minor)
            if default:  # denials stand until the very same rule lifts them
                if matches:
                    denied[its_major, its_minor] = not allow if (its_major, its_minor) in denied or not allow else False
            elif matches:
                verdict = allow
    return not any(denied.values()) if default else verdict


numbers = st.sampled_from([devices.ANY, 0, 1, 3, 8, 0xFFFFFFFF])
rule = st.tuples(st.sampled_from("cba"), numbers, numbers, st.sampled_from(["r", "w", "m", "rw", "rwm", "wm"]),
                 st.booleans())
reset = st.tuples(st.just("a"), st.just(-1), st.just(-1), st.just("rwm"), st.booleans())
rule_lists = st.lists(st.one_of(rule, rule, rule, reset), max_size=12)
device = st.tuples(st.sampled_from("cb"), st.sampled_from([0, 1, 2, 3, 8, 0xFFFFFFFF]),
                   st.sampled_from([0, 1, 3, 5, 0xFFFFFFFF]))


def decided(listed):
    try:
        return devices.policy(listed)
    except Error:
        return None


@given(rule_lists, device)
def test_each_single_access_is_decided_by_the_book(listed, at):
    decision = decided(listed)
    if decision is None:
        return
    for bit in (R, W, M):
        assert devices.allowed(decision, *at, bit) == last_word(listed, *at, bit), (listed, at, bit)


@given(rule_lists, st.lists(device, min_size=1, max_size=5), st.integers(1, 7))
def test_the_program_decides_as_the_policy(listed, points, mask):
    decision = decided(listed)
    if decision is None:
        return
    code = devices.program(listed)
    for at in points:
        assert run(code, *at, mask) == devices.allowed(decision, *at, mask), (listed, at, mask)


def config(*entries):
    return {"linux": {"resources": {"devices": list(entries)}}}


def may(listed, kind, major, minor, access):
    return bool(run(devices.program(listed), kind, major, minor, sum(devices.ACCESS[letter] for letter in access)))


@pytest.mark.parametrize("without", [{}, {"linux": {}}, {"linux": {"resources": {}}}, config()])
def test_without_rules_only_the_default_devices_are_open(without):
    listed = devices.rules(without)
    for minor in (3, 5, 7, 8, 9):
        assert may(listed, "c", 1, minor, "rwm")
    assert may(listed, "c", 5, 0, "rw") and may(listed, "c", 5, 2, "rw") and may(listed, "c", 136, 77, "rw")
    assert may(listed, "c", 10, 200, "rw")
    assert may(listed, "b", 8, 0, "m") and may(listed, "c", 1, 1, "m")
    for kind, major, minor in (("b", 8, 0), ("c", 1, 1), ("c", 10, 229), ("b", 1, 3)):
        assert not may(listed, kind, major, minor, "r")
        assert not may(listed, kind, major, minor, "w")


def test_a_list_without_a_leading_deny_all_is_still_closed():
    listed = devices.rules(config({"allow": True, "type": "b", "major": 8, "minor": 0, "access": "r"}))
    assert may(listed, "b", 8, 0, "r")
    assert not may(listed, "b", 8, 0, "rw") and not may(listed, "b", 8, 1, "r")


def test_allow_all_then_a_denial_denies_just_that():
    listed = devices.rules(config({"allow": True, "access": "rwm"},
                                  {"allow": False, "type": "b", "major": 8, "access": "rw"}))
    assert may(listed, "b", 9, 0, "rwm") and may(listed, "b", 8, 1, "m")
    assert not may(listed, "b", 8, 1, "rm")
    assert not devices.permits_everything(devices.policy(listed))


def test_a_privileged_container_permits_everything():
    assert devices.permits_everything(devices.policy(devices.rules(config({"allow": True, "access": "rwm"}))))


@pytest.mark.parametrize("entry, number, access", [
    ({"major": 7, "minor": 1, "access": "rwm"}, (7, 1), "rwm"),
    ({"major": 7, "access": "r"}, (7, 9), "r"),
    ({"minor": 1, "access": "w"}, (9, 1), "w"),
    ({"access": "r"}, (300, 5), "r"),
], ids=str)
def test_a_rule_of_type_a_that_is_narrower_than_all_means_both_kinds_and_no_more(entry, number, access):
    listed = devices.rules(config({"allow": True, "type": "a", **entry}))
    assert not devices.policy(listed)[0]
    for kind in "cb":
        assert may(listed, kind, *number, access)
        assert may(listed, kind, 300, 6, "r") == (entry == {"access": "r"})
        assert not may(listed, kind, 300, 6, "w")


def test_a_denial_of_type_a_denies_its_number_of_both_kinds_and_without_one_everything():
    opened = {"allow": True, "access": "rwm"}
    listed = devices.rules(config(opened, {"allow": False, "type": "a", "major": 7, "minor": 1, "access": "rw"}))
    for kind in "cb":
        assert not may(listed, kind, 7, 1, "r") and may(listed, kind, 7, 1, "m") and may(listed, kind, 7, 2, "rwm")
    shut = devices.rules(config(opened, {"allow": False, "type": "a", "access": "r"}))
    assert not may(shut, "c", 7, 1, "w") and not may(shut, "b", 7, 1, "w")


@pytest.mark.parametrize("number", [lambda n: (n + 300, 1), lambda n: (300, n)], ids=["majors", "minors"])
def test_ten_thousand_devices_are_more_than_a_jump_passes_over(number):
    listed = devices.rules(config(*[{"allow": True, "type": "b", "major": major, "minor": minor, "access": "r"}
                                    for major, minor in map(number, range(10000))]))
    for n in (0, 1, 5000, 9998, 9999):
        assert may(listed, "b", *number(n), "r") and not may(listed, "b", *number(n), "rw") and not may(listed, "c", *number(n), "r")
    assert not may(listed, "b", *number(10000), "r") and may(listed, "c", 1, 3, "rwm")


def test_a_wider_denial_takes_away_what_was_allowed_before():
    listed = devices.rules(config({"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
                                  {"allow": False, "type": "c", "access": "w"}))
    assert may(listed, "c", 10, 229, "r") and not may(listed, "c", 10, 229, "w")


@pytest.mark.parametrize("first, second", [
    ({"allow": True, "type": "c", "major": 10, "access": "rwm"},
     {"allow": False, "type": "c", "major": 10, "minor": 1, "access": "w"}),
    ({"allow": True, "type": "c", "major": 10, "access": "rwm"},
     {"allow": False, "type": "c", "minor": 1, "access": "w"}),
])
def test_a_hole_in_a_wider_rule_is_an_error_with_its_pointer(first, second):
    with pytest.raises(Error) as caught:
        devices.rules(config(first, second))
    assert caught.value.pointer == "/linux/resources/devices/1"
    assert "cannot punch a hole in the wider rule c 10:*" in caught.value.message


@pytest.mark.parametrize("entry, where, words", [
    ({"allow": True, "type": "c"}, "/access", "device access at 0 field cannot be empty"),
    ({"allow": True, "type": "c", "access": "rx"}, "/access", 'invalid access "rx"'),
    ({"allow": True, "type": "p", "access": "r"}, "/type", 'invalid cgroup device type "p"'),
    ({"allow": True, "type": "c", "access": "r", "major": 1 << 32}, "/major", "out of range"),
    ({"allow": True, "type": "c", "access": "r", "minor": -2}, "/minor", "out of range"),
])
def test_a_rule_without_a_meaning_is_refused_at_its_place(entry, where, words):
    with pytest.raises(Error) as caught:
        devices.rules(config(entry))
    assert caught.value.pointer == "/linux/resources/devices/0" + where
    assert words in caught.value.message


def test_a_rule_reads_as_people_write_it():
    assert [devices.text(rule) for rule in devices.DEFAULTS[:3]] == ["allow c *:* m", "allow b *:* m",
                                                                     "allow c 1:3 rwm"]
