"""The pure side of the systemd driver: names, slices, properties of limits, annotations and their values."""

import re

import pytest
from hypothesis import given, strategies as st

from pyrunc import facts
from pyrunc.config import defaults
from pyrunc.errors import Error
from pyrunc.host import systemd
from pyrunc.kernel_bus import BusError, flat, split
from pyrunc.plan import annotations, device_rules, gvariant, scope
from pyrunc.plan.script import Plan

UNLIMITED = (1 << 64) - 1

# --- names and slices


@pytest.mark.parametrize("path, unit, slice_, group", [
    ("", "pyrunc-c1.scope", "system.slice", "system.slice/pyrunc-c1.scope"),
    ("a.slice:p:n", "p-n.scope", "a.slice", "a.slice/p-n.scope"),
    ("a.slice::n", "-n.scope", "a.slice", "a.slice/-n.scope"),
    (":p:n", "p-n.scope", "system.slice", "system.slice/p-n.scope"),
    ("-.slice:p:n", "p-n.scope", "-.slice", "p-n.scope"),
    ("a-b-c.slice:p:n", "p-n.scope", "a-b-c.slice", "a.slice/a-b.slice/a-b-c.slice/p-n.scope"),
    ("a.slice:p:a-b.slice", "a-b.slice", "a.slice", "a.slice/a-b.slice"),
])
def test_a_cgroups_path_is_a_unit_in_a_slice(path, unit, slice_, group):
    spot = scope.place(path, "c1", False)
    assert (spot.unit, spot.slice, spot.group) == (unit, slice_, group)


def test_a_users_containers_are_in_his_own_slice():
    assert scope.place("", "c1", True).slice == "user.slice"


@pytest.mark.parametrize("path, words", [
    ("/a/b", "to be of format"), ("a", "to be of format"), ("a.slice:p:n:x", "to be of format"),
    ("a:p:n", "invalid slice name: a"), (".slice:p:n", "invalid slice name"), ("-a.slice:p:n", "invalid slice name"),
    ("a-.slice:p:n", "invalid slice name"), ("a--b.slice:p:n", "invalid slice name"), ("--.slice:p:n", "invalid slice name"),
    ("a/b.slice:p:n", "invalid slice name"), ("..slice:p:n.scope/../x", "cannot be the name"),
    ("a.slice:p:", "cannot be the name"), ("a.slice:p:a/b", "cannot be the name"), ("a.slice:p:\0", "cannot be the name"),
    ("a.slice:p:ü", "cannot be the name"), ("a.slice:p:" + "n" * 255, "cannot be the name"), ("a.slice:p:x+y", "cannot be the name"),
    ("a.slice::", "cannot be the name"), ("a.slice:p:-b.slice", "invalid slice name"),
    ("a.slice:p:-.slice", "the root of all units"),
])
def test_what_is_no_unit_in_a_slice_is_refused(path, words):
    with pytest.raises(Error) as caught:
        scope.place(path, "c1", False)
    assert words in caught.value.message and caught.value.pointer == "/linux/cgroupsPath"


@given(st.lists(st.text(alphabet="abz09_:.", min_size=1, max_size=5), min_size=1, max_size=6))
def test_the_path_of_a_slice_has_a_directory_for_each_part_of_its_name(parts):
    directories = scope.expand("-".join(parts) + ".slice").split("/")
    assert len(directories) == len(parts) and directories[-1] == "-".join(parts) + ".slice"
    for above, below in zip(directories, directories[1:], strict=False):
        assert below.startswith(above.removesuffix(".slice") + "-")


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_path_leads_out_of_the_tree(path, name):
    for text in (path, f"a.slice:{path}:{name}", f"{path}.slice:p:{name}", f":{path}:{name}.slice"):
        try:
            group = scope.place(text, "c1", False).group
        except Error:
            continue
        assert not {"", ".", ".."} & set(group.split("/"))


@given(st.text(alphabet=[chr(c) for c in range(33, 127)], min_size=1))
def test_an_object_path_holds_letters_digits_and_underscores(name):
    last = systemd._path_of(name).removeprefix("/org/freedesktop/systemd1/unit/")
    assert last.replace("_", "a").isalnum() and last.isascii()
    assert re.sub("_(..)", lambda code: chr(int(code[1], 16)), last) == name


# --- limits


def props(resources, version=252):
    return {name: value for name, _, value, _ in scope.properties(resources, version)}


@pytest.mark.parametrize("resources, expected", [
    ({}, {}),
    ({"memory": {"limit": 1 << 26, "swap": 1 << 27, "reservation": 5}},
     {"MemoryMax": 1 << 26, "MemorySwapMax": 1 << 26, "MemoryLow": 5}),
    ({"memory": {"limit": -1}}, {"MemoryMax": UNLIMITED, "MemorySwapMax": UNLIMITED}),
    ({"memory": {"limit": 0, "reservation": 0}}, {}),
    ({"cpu": {"shares": 1024}}, {"CPUWeight": 100}),
    ({"cpu": {"idle": 1}}, {"CPUWeight": 0}),
    ({"cpu": {"idle": 1, "shares": 512}}, {"CPUWeight": 0}),
    ({"cpu": {"idle": 0}}, {"CPUWeight": UNLIMITED}),
    ({"cpu": {"quota": 50000, "period": 100000}}, {"CPUQuotaPerSecUSec": 500000, "CPUQuotaPeriodUSec": 100000}),
    ({"cpu": {"quota": 50001, "period": 100000}}, {"CPUQuotaPerSecUSec": 510000, "CPUQuotaPeriodUSec": 100000}),
    ({"cpu": {"quota": 30000}}, {"CPUQuotaPerSecUSec": 300000}),
    ({"cpu": {"quota": -1}}, {"CPUQuotaPerSecUSec": UNLIMITED}),
    ({"cpu": {"period": 50000}}, {"CPUQuotaPerSecUSec": UNLIMITED, "CPUQuotaPeriodUSec": 50000}),
    ({"cpu": {"cpus": "0-2,9", "mems": "0"}}, {"AllowedCPUs": bytes((7, 2)), "AllowedMemoryNodes": bytes((1,))}),
    ({"pids": {"limit": 0}}, {"TasksMax": 1}),
    ({"pids": {"limit": -1}}, {"TasksMax": UNLIMITED}),
    ({"unified": {"cpu.max": "max", "memory.high": "max", "pids.max": "5\n", "nosuch.x": "y", "memory.oom.group": "1"}},
     {"CPUQuotaPerSecUSec": UNLIMITED, "CPUQuotaPeriodUSec": 100000, "MemoryHigh": UNLIMITED, "TasksMax": 5}),
    ({"memory": {"limit": 5}, "unified": {"memory.max": "7"}}, {"MemoryMax": 7}),  # the later, as in the files
    ({"unified": {"memory.zswap.max": "7"}}, {}),
])
def test_limits_as_properties(resources, expected):
    assert props(resources) == expected


def test_what_a_systemd_does_not_know_is_not_told_to_it():
    assert props({"cpu": {"idle": 1}}, 251) == {}
    assert props({"unified": {"memory.zswap.max": "7"}}, 253) == {"MemoryZSwapMax": 7}


@pytest.mark.parametrize("file, text", [("memory.max", "1m"), ("cpu.max", ""), ("cpu.max", "1 2 3"), ("cpu.weight", "-1"),
                                        ("pids.max", str(1 << 64)), ("memory.high", "9" * 5000), ("cpuset.cpus", "a-b")])
def test_a_unified_value_that_is_no_number_is_refused(file, text):
    with pytest.raises(Error, match="value invalid") as caught:
        props({"unified": {file: text}})
    assert caught.value.pointer == f"/linux/resources/unified/{file}"


@given(st.sets(st.integers(0, 2000), min_size=1))
def test_the_bits_of_a_list_are_its_numbers(numbers):
    found = scope.bits(",".join(map(str, sorted(numbers))))
    assert {i * 8 + bit for i, byte in enumerate(found) for bit in range(8) if byte >> bit & 1} == numbers
    assert found[-1]


@given(st.integers(1, 1 << 40), st.integers(1000, 1000000))
def test_a_quota_is_rounded_up_to_a_percent(quota, period):
    value = props({"cpu": {"quota": quota, "period": period}})["CPUQuotaPerSecUSec"]
    assert value % 10000 == 0 and 0 <= value - quota * 1000000 // period < 10000


def test_a_quota_beyond_what_systemd_can_be_told_is_none():
    value = props({"cpu": {"quota": 1 << 62, "period": 1000}})["CPUQuotaPerSecUSec"]
    assert value == UNLIMITED and flat("t", value)


def unit_plan(config, version=252, unit="p-n.scope"):
    plan = Plan()
    scope.start(plan, config, facts.Facts(systemd=version), {"unit": unit, "slice": "a.slice", "name": "n", "bus": "system"}, "x")
    return {op.args[0]: op.args[2] for op in plan.ops if op.name == "PROPERTY"}


def test_a_scope_is_delegated_and_a_slice_is_not_and_has_a_parent():
    made = unit_plan(defaults.config(True))
    assert (made["Slice"], made["Delegate"], made["DefaultDependencies"]) == ("a.slice", True, False)
    made = unit_plan(defaults.config(True), unit="n.slice")
    assert made["Wants"] == ["a.slice"] and not {"Slice", "Delegate"} & made.keys()


def test_devices_are_a_list_of_what_is_allowed():
    made = unit_plan({"linux": {"resources": {"devices": [
        {"allow": False, "access": "rwm"}, {"allow": True, "type": "b", "major": 7, "access": "r"},
        {"allow": True, "type": "c", "minor": 77, "access": "w"}]}}})
    assert made["DevicePolicy"] == "strict"
    assert {("block-7", "r"), ("char-136", "rwm"), ("/dev/char/1:3", "rwm"), ("char-*", "m")} <= set(made["DeviceAllow"])
    assert not [path for path, _ in made["DeviceAllow"] if ":77" in path]  # one minor of every major cannot be said
    everything = unit_plan({"linux": {"resources": {"devices": [{"allow": True, "access": "rwm"}]}}})
    assert (everything["DevicePolicy"], everything["DeviceAllow"]) == ("auto", [])


def test_a_list_of_what_is_denied_cannot_be_said_so_systemd_allows_nothing():
    rules = [{"allow": True, "access": "rwm"}, {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rwm"}]
    assert not device_rules.permits_everything(device_rules.policy(device_rules.rules({"linux": {"resources": {"devices": rules}}})))
    made = unit_plan({"linux": {"resources": {"devices": rules}}})
    assert (made["DevicePolicy"], made["DeviceAllow"]) == ("strict", [])


def test_oom_policy_where_systemd_has_it_for_scopes():
    config = {"linux": {"resources": {"unified": {"memory.oom.group": "1"}}}}
    assert unit_plan(config, 253)["OOMPolicy"] == "kill" and "OOMPolicy" not in unit_plan(config, 252)


# --- annotations


def annotated(is_slice=False, **values):
    found = annotations.properties({annotations.PREFIX + name: value for name, value in values.items()}, is_slice)
    return {name: (kind, value) for name, kind, value, _ in found}


@pytest.mark.parametrize("name, text, expected", [
    ("TimeoutStopUSec", "uint64 123456789", {"TimeoutStopUSec": ("t", 123456789)}),
    ("TimeoutStopUSec", "5", {"TimeoutStopUSec": ("t", 5)}),
    ("TimeoutStopSec", "5", {"TimeoutStopUSec": ("t", 5000000)}),
    ("TimeoutStopSec", "1.5", {"TimeoutStopUSec": ("t", 1500000)}),
    ("TimeoutStopSec", "uint16 2", {"TimeoutStopUSec": ("t", 2000000)}),
    ("CollectMode", "'inactive-or-failed'", {"CollectMode": ("s", "inactive-or-failed")}),
    ("CollectMode", '"inactive"', {"CollectMode": ("s", "inactive")}),
    ("DefaultDependencies", "true", {"DefaultDependencies": ("b", True)}),
    ("After", "['a.service', 'b.service']", {"After": ("as", ["a.service", "b.service"])}),
    ("After", "@as []", {"After": ("as", [])}),
    ("After", "[]", {"After": ("as", [])}),
    ("KillSignal", "int32 9", {"KillSignal": ("i", 9)}),
    ("KillSignal", "0x9", {"KillSignal": ("i", 9)}),
    ("AllowedCPUs", "[byte 3]", {"AllowedCPUs": ("ay", [3])}),
    ("AllowedCPUs", "@ay [3, 1]", {"AllowedCPUs": ("ay", [3, 1])}),
])
def test_annotations_are_properties(name, text, expected):
    assert annotated(**{name: text}) == expected


@pytest.mark.parametrize("name, text, words", [
    ("", "1", "name incorrect: too short"), ("Ab", "1", "name incorrect: too short"),
    ("Ab1", "1", "non-alphabetic"), ("Memory.Max", "1", "non-alphabetic"), ("Éxec", "1", "non-alphabetic"),
    ("ExecStart", "[('/bin/sh', ['sh'], false)]", "cannot be set"), ("ExecStop", "''", "cannot be set"),
    ("ExecStopPost", "''", "cannot be set"), ("OnFailure", "['x.service']", "cannot be set"), ("Wants", "['x']", "cannot be set"),
    ("FailureAction", "'reboot'", "cannot be set"), ("PIDs", "[uint32 1]", "cannot be set"), ("Slice", "'x.slice'", "cannot be set"),
    ("Delegate", "false", "cannot be set"), ("DeviceAllow", "[('/dev/sda','rwm')]", "cannot be set"), ("User", "'root'", "cannot be set"),
    ("BPFProgram", "[('device','/x')]", "cannot be set"), ("Environment", "['A=b']", "cannot be set"), ("Sec", "1", "cannot be set"),
    ("MemoryHigh", "'much'", "is of type s, not t"), ("MemoryHigh", "int32 5", "is of type i, not t"), ("MemoryHigh", "-1", "out of the range"),
    ("MemoryHigh", str(1 << 64), "out of the range"), ("MemoryHigh", "5 6", "unexpected"), ("MemoryHigh", "", "value is missing"),
    ("MemoryHigh", "1.5", "is of type d, not t"), ("After", "['a', 5]", "array of different types"), ("After", "['a'", "unterminated"),
    ("After", "'a'", "is of type s, not as"), ("CollectMode", "'a", "unterminated string"), ("CollectMode", r"'\u0000'", "NUL"),
    ("CollectMode", r"'\ud800'", "no character"), ("CollectMode", r"'\U0000dcff'", "no character"),
    ("CollectMode", "string " * 5000 + "'a'", "too deeply nested"), ("CollectMode", "@s " * 5000 + "'a'", "too deeply nested"),
    ("CollectMode", r"'\uzzzz'", "no character"), ("After", "[" * 50, "too deeply nested"), ("After", "<'a'>", "is not a value|missing"),
    ("TimeoutStopSec", "true", "not a number"), ("TimeoutStopSec", "nan", "is not a value"), ("TimeoutStopSec", "-1", "out of range"),
    ("TimeoutStopSec", "1e300", "out of range"), ("TimeoutStopSec", "'5'", "not a number"), ("AllowedCPUs", "[256]", "out of the range"),
    ("AllowedCPUs", "b'a'", "is not a value"), ("AllowedCPUs", "@a", "unknown type"), ("AllowedCPUs", "@ []", "unknown type"),
])
def test_annotations_that_are_none(name, text, words):
    with pytest.raises(Error, match=words) as caught:
        annotated(**{name: text})
    assert caught.value.pointer.startswith("/annotations/org.systemd.property.")


def test_other_annotations_are_not_looked_at():
    assert list(annotations.properties({"org.systemd.propertyX": "x", "a": "b"}, False)) == []


def test_a_slice_has_no_processes_to_stop():
    with pytest.raises(Error, match="cannot be set"):
        annotated(True, KillSignal="9")
    assert annotated(True, MemoryHigh="9") == {"MemoryHigh": ("t", 9)}


def test_none_of_the_properties_executes_or_reaches_another_unit():
    listed = {**annotations.OF_UNITS, **annotations.OF_SCOPES}
    dangerous = ("Exec", "On", "Wants", "Requires", "Binds", "PartOf", "Upholds", "Conflicts", "Propagates", "Triggers", "Joins",
                 "Slice", "PIDs", "User", "Group", "Delegate", "Device", "BPF", "Socket", "IPIngress", "IPEgress", "Root", "Mount", "Bus",
                 "Environment", "Controller", "Source", "Fragment", "DropIn")
    assert not [name for name in listed if name.startswith(dangerous) or "Action" in name or "Filter" in name or "Path" in name]


values = st.one_of(
    st.booleans().map(lambda b: (("b", b), str(b).lower())),
    st.integers(0, UNLIMITED).map(lambda n: (("t", n), f"uint64 {n}")),
    st.integers(-(1 << 31), (1 << 31) - 1).map(lambda n: (("i", n), f"int32 {n}")),
    st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))).map(
        lambda s: (("s", s), "'" + s.replace("\\", "\\\\").replace("'", "\\'") + "'")),
)


@given(values)
def test_a_value_that_is_written_is_read(pair):
    expected, text = pair
    assert gvariant.parse(f" {text} ") == expected
    kind, value = expected
    assert gvariant.as_type("a" + kind, gvariant.parse(f"[{text}, {text}]")) == [value, value]


@given(st.text(alphabet="'\"[]@<>(){}, abiusty0159.-+xe\\un64", max_size=30))
def test_any_text_is_a_value_or_refused(text):
    try:
        kind, _ = gvariant.parse(text)
    except gvariant.Bad:
        return
    assert set(kind) <= set("absogynqiuxtd")


# --- the message


@pytest.mark.parametrize("signature, types", [
    ("ssa(sv)a(sa(sv))", ["s", "s", "a(sv)", "a(sa(sv))"]), ("sba(sv)", ["s", "b", "a(sv)"]), ("ssau", ["s", "s", "au"]), ("", []),
    ("aasv(y(tt))", ["aas", "v", "(y(tt))"]),
])
def test_a_signature_is_taken_apart(signature, types):
    assert split(signature) == types


def test_arguments_are_tokens():
    def text(data):
        return len(data).to_bytes(4, "little") + data + b"\0"
    assert flat("sa(sv)", "u", [("P", ("t", 5))]) == (
        b"s" + text(b"u") + b"a" + text(b"(sv)") + b"r" + text(b"sv") + b"s" + text(b"P") + b"v" + text(b"t") + b"t" +
        (5).to_bytes(8, "little") + b"EEE")
    assert flat("i", -1) == b"i" + b"\xff" * 8
    assert flat("ay", b"\x01") == b"a" + text(b"y") + b"y" + (1).to_bytes(8, "little") + b"E"


# --- a bus that fails


class Dropped:
    """A connection whose peer has gone."""

    def wait_job(self, job, timeout_ms):
        raise BusError(104, "connection reset by peer")


def test_a_bus_that_goes_while_a_job_runs_is_one_line_that_names_the_job():
    manager = object.__new__(systemd.Manager)
    manager.connection = Dropped()
    with pytest.raises(Error, match=r"the bus failed \(connection reset by peer\) while waiting for systemd to create p-n.scope"):
        manager.wait("/job/1", "create", "p-n.scope")
