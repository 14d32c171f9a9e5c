"""Device rules in the kernel: a process in the group can't open what the rules deny, and an update leaves no window."""

import os
import posix
import subprocess
import sys
import time

import pytest

from pyrunc.host.cgroup import v2
from pyrunc.plan import device_rules as devices

kernel_bpf = pytest.importorskip("pyrunc.kernel_bpf", reason="the native module is not built")
from pyrunc.host.cgroup import device_filter  # noqa: E402

ROOT = v2.mountpoint()
pytestmark = pytest.mark.skipif(os.geteuid() != 0 or ROOT is None or not os.access(ROOT, os.W_OK),
                                reason="needs root and a writable cgroup2 tree")
# In the group: try what argv says, print one letter each: `path flags` -> y or the errno.
PROBE = """
import os, sys
with open(sys.argv[1] + "/cgroup.procs", "w") as f: f.write("0")
for word in sys.argv[2:]:
    path, how = word.split(":")
    try:
        if how == "m":
            os.mknod(path, 0o20600, os.makedev(1, 3)); os.unlink(path)
        else:
            os.close(os.open(path, {"r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR}[how]))
        print("y")
    except OSError as err:
        print(err.errno)
"""

# In the group: try to write until told to stop; print how often it was tried and how often it worked.
WATCH = """
import os, sys, select
with open(sys.argv[1] + "/cgroup.procs", "w") as f: f.write("0")
print("ready", flush=True)
tried = opened = 0
while not select.select([0], [], [], 0)[0]:
    for _ in range(100):
        tried += 1
        try:
            os.close(os.open("/dev/kmsg", os.O_WRONLY)); opened += 1
        except PermissionError:
            pass
print(tried, opened)
"""


@pytest.fixture
def group():
    made = v2.Cgroup(ROOT, f"pyrunc-test-dev-{os.getpid()}")
    made.create()
    yield made
    made.kill()
    made.remove()


def probe(group, *words):
    done = subprocess.run([sys.executable, "-I", "-S", "-c", PROBE, group.path, *words], capture_output=True, text=True,
                          check=True)
    return done.stdout.split()


def rules(*listed):
    return devices.rules({"linux": {"resources": {"devices": [
        {"allow": allow, "type": kind, "major": major, "minor": minor, "access": access}
        for allow, kind, major, minor, access in listed]}}})


def test_default_rules_open_null_and_keep_kmsg_shut(group, tmp_path):
    assert probe(group, "/dev/kmsg:r") == ["y"]
    assert device_filter.apply(group.dirfd(), rules(), fresh=True)
    assert probe(group, "/dev/null:rw", "/dev/urandom:r", f"{tmp_path}/n:m", "/dev/kmsg:r", "/dev/full:rw") == [
        "y", "y", "y", "1", "y"]


def test_access_is_checked_by_the_letter(group):
    device_filter.apply(group.dirfd(), rules((True, "c", 1, 11, "r")), fresh=True)
    assert probe(group, "/dev/kmsg:r", "/dev/kmsg:w", "/dev/kmsg:rw") == ["y", "1", "1"]


def test_a_number_of_type_a_opens_both_kinds_of_that_number_and_no_other(group, tmp_path):
    for kind, bits in (("c", 0o20600), ("b", 0o60600)):
        for minor in (1, 2):
            os.mknod(tmp_path / f"{kind}{minor}", bits, os.makedev(7, minor))
    device_filter.apply(group.dirfd(), rules((True, "a", 7, 1, "rwm")), fresh=True)
    found = probe(group, *[f"{tmp_path}/{name}:r" for name in ("c1", "b1", "c2", "b2")])
    assert found[2:] == ["1", "1"] and "1" not in found[:2], found  # what has no driver says ENXIO


def test_allow_all_but_one(group):
    device_filter.apply(group.dirfd(), rules((True, "a", None, None, "rwm"), (False, "c", 1, 11, "rwm")), fresh=True)
    assert probe(group, "/dev/kmsg:r", "/dev/null:rw") == ["1", "y"]


def test_allow_all_attaches_nothing_to_a_fresh_group(group):
    assert device_filter.apply(group.dirfd(), rules((True, "a", None, None, "rwm")), fresh=True) is False
    assert kernel_bpf.device_query(group.dirfd()) == []


def test_an_update_replaces_the_one_program_without_a_window(group):
    shut, open_ = rules(), rules((True, "c", 1, 11, "r"))  # neither allows to write
    device_filter.apply(group.dirfd(), shut, fresh=True)
    watcher = subprocess.Popen([sys.executable, "-I", "-S", "-c", WATCH, group.path], stdout=subprocess.PIPE,
                               stdin=subprocess.PIPE, text=True)
    assert watcher.stdout.readline() == "ready\n"
    turns = 0
    deadline = time.monotonic() + 1
    while turns <= 200 or time.monotonic() < deadline:
        device_filter.apply(group.dirfd(), open_ if turns % 2 else shut)
        turns += 1
        assert len(kernel_bpf.device_query(group.dirfd())) == 1
    tried, opened = map(int, watcher.communicate("stop\n")[0].split())
    assert tried > 10000, "inconclusive: too few attempts"
    assert opened == 0


def test_wildcards_in_every_place_load_and_decide(group):
    device_filter.apply(group.dirfd(), rules((True, "c", None, None, "rwm")), fresh=True)
    assert probe(group, "/dev/kmsg:rw") == ["y"]
    device_filter.apply(group.dirfd(), rules((True, "c", None, 11, "r"), (True, "c", 1, None, "w")))
    assert probe(group, "/dev/kmsg:r", "/dev/kmsg:w", "/dev/kmsg:rw") == ["y", "y", "1"]


def test_several_attached_programs_give_way_to_one(group):
    extra = kernel_bpf.device_load(devices.program([]))
    try:
        device_filter.apply(group.dirfd(), rules(), fresh=True)
        kernel_bpf.device_attach(group.dirfd(), extra)
        assert len(kernel_bpf.device_query(group.dirfd())) == 2
        assert probe(group, "/dev/null:rw") == ["1"]
    finally:
        posix.close(extra)
    device_filter.apply(group.dirfd(), rules())
    assert len(kernel_bpf.device_query(group.dirfd())) == 1
    assert probe(group, "/dev/null:rw") == ["y"]


def test_no_descriptor_is_left_and_none_is_inheritable(group):
    before = sorted(os.listdir("/proc/self/fd"))
    device_filter.apply(group.dirfd(), rules(), fresh=True)
    device_filter.apply(group.dirfd(), rules())
    assert sorted(os.listdir("/proc/self/fd")) == before
    program = kernel_bpf.device_load(devices.program(rules()))
    assert not os.get_inheritable(program)
    posix.close(program)


def test_a_bad_program_is_an_error_with_the_verifiers_words():
    with pytest.raises(OSError) as caught:
        kernel_bpf.device_load(bytes((0x95, 0)) + bytes(6))  # exit with r0 never written
    assert "verifier: " in caught.value.filename


def test_a_list_of_a_thousand_rules_loads(group):
    many = rules(*[(True, "c", 300 + number, number, "rw") for number in range(1000)], (True, "c", 1, 11, "r"))
    assert device_filter.apply(group.dirfd(), many, fresh=True)
    assert probe(group, "/dev/kmsg:r", "/dev/kmsg:w") == ["y", "1"]
