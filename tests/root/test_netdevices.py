"""linux.netDevices with real interfaces. The "host" of these tests is a network namespace of their own."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from kit.bundle import namespaces, userns, without_mount
from kit.runtime import Runtime, wait_until

known_bad = pytest.mark.runc_known_bad
SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
FALSE = [{"path": "/bin/false"}]


def devices(**wanted):
    """A config patch: netDevices, host's name = name in the container or None."""
    return {"linux": {"netDevices": {name: {"name": new} if new else {} for name, new in wanted.items()}}}


class Net:
    """A network namespace with nobody in it but the process that keeps it."""

    def __init__(self):
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "1000"])
        self.path = f"/proc/{self.holder.pid}/ns/net"
        wait_until(lambda: os.readlink(self.path) != os.readlink("/proc/self/ns/net"), what="no namespace")
        self.enter = ("nsenter", f"--net={self.path}")

    def ip(self, *args):
        subprocess.run([*self.enter, "ip", *args], check=True)

    def seen(self):
        return seen(self.path)

    def close(self):
        self.holder.kill()
        self.holder.wait()


def seen(path):
    """{name: (up, [addresses])} of a network namespace, without lo and what the kernel gives by itself."""
    out = subprocess.run(["nsenter", f"--net={path}", "ip", "-json", "addr"], capture_output=True, check=True).stdout
    return {link["ifname"]: ("UP" in link["flags"], sorted(map(address, filter(given, link["addr_info"]))))
            for link in json.loads(out) if link["ifname"] != "lo"}


def given(info):
    return not info["local"].startswith("fe80")


def address(info):
    peer = f" peer {info['address']}" if "address" in info else ""
    return f"{info['local']}{peer}/{info['prefixlen']} {info['scope']}{' brd ' + info['broadcast'] if 'broadcast' in info else ''}"


KEPT = ["10.1.1.1/24 global brd 10.1.1.255", "10.9.9.1 peer 10.9.9.2/32 global", "fd00::1/64 global"]


@pytest.fixture
def net():
    """a0 is up and has addresses of all sorts, of which KEPT go with it; b0, its other end, is down."""
    if not shutil.which("ip"):
        pytest.skip("ip is not installed (apt-get install iproute2)")
    net = Net()
    try:
        net.ip("link", "add", "a0", "mtu", "1400", "type", "veth", "peer", "name", "b0")
        net.ip("addr", "add", "10.1.1.1/24", "brd", "+", "dev", "a0")
        net.ip("addr", "add", "10.9.9.1", "peer", "10.9.9.2/32", "dev", "a0")
        net.ip("addr", "add", "fd00::1/64", "dev", "a0", "nodad")
        net.ip("addr", "add", "10.2.2.2/24", "dev", "a0", "valid_lft", "900", "preferred_lft", "800")
        net.ip("addr", "add", "10.3.3.3/24", "dev", "a0", "scope", "link")
        net.ip("link", "set", "a0", "up")
        yield net
    finally:
        net.close()


def create(rt, net, *patches, verb="create", **how):
    container = rt.container(SLEEP, *patches)
    return container, rt.call(verb, "--bundle", container.bundle.path, container.id, wrap=net.enter, **how)


def inside(container):
    return seen(f"/proc/{container.pid}/ns/net")


def test_a_device_is_moved_renamed_up_and_has_its_permanent_global_addresses(rt, net):
    container, result = create(rt, net, devices(a0="eth0"))
    result.ok()
    assert inside(container) == {"eth0": (True, KEPT)}
    assert set(net.seen()) == {"b0"}
    out = subprocess.run(["nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", "-json", "link", "show", "eth0"], capture_output=True, check=True)
    assert json.loads(out.stdout)[0]["mtu"] == 1400
    container.start().ok()
    assert "eth0" in rt.call("exec", container.id, "/bin/cat", "/proc/net/dev").ok().out


@pytest.mark.parametrize("wanted", [None, ""])
def test_without_a_name_it_keeps_its_own(rt, net, wanted):
    container, result = create(rt, net, {"linux": {"netDevices": {"a0": {} if wanted is None else {"name": wanted}}}})
    result.ok()
    assert inside(container) == {"a0": (True, KEPT)}


@known_bad("looks for a device that is called eth%d")
def test_the_kernel_numbers_a_name_with_percent_d(rt, net):
    container, result = create(rt, net, devices(a0="eth%d", b0="eth%d"))
    result.ok()
    assert inside(container) == {"eth0": (True, KEPT), "eth1": (True, [])}


def test_a_device_that_was_down_is_up(rt, net):
    container, result = create(rt, net, devices(b0="eth0"))
    result.ok()
    assert net.seen()["a0"][0] and inside(container) == {"eth0": (True, [])}


def test_a_tap_device_too(rt, net):
    net.ip("tuntap", "add", "dev", "t0", "mode", "tap")
    net.ip("addr", "add", "10.5.5.5/24", "dev", "t0")
    container, result = create(rt, net, devices(t0="tap1"))
    result.ok()
    assert inside(container) == {"tap1": (True, ["10.5.5.5/24 global"])}


def test_hooks_find_it_moved(rt, net):
    report = rt.base / "report"
    script = f"pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); cat /proc/$pid/net/dev > {report}; echo --- >> {report}; cat /proc/self/net/dev >> {report}"
    hook = [{"path": "/bin/sh", "args": ["sh", "-c", script]}]
    create(rt, net, devices(a0="eth0"), {"hooks": {"prestart": hook}})[1].ok()
    container, _, host = report.read_text().partition("---")
    assert "eth0:" in container and "b0:" in host and "a0:" not in host


# --- which namespace


@pytest.fixture
def other():
    """A second namespace, to be joined; its devices have the indexes that those of `net` have."""
    other = Net()
    other.ip("link", "add", "x0", "type", "veth", "peer", "name", "x1")
    yield other
    other.close()


def test_into_a_namespace_joined_by_path(rt, net, other):
    container, result = create(rt, net, namespaces("pid", "ipc", "uts", "mount", network=other.path), devices(a0="eth0"))
    result.ok()
    assert other.seen() == {"x0": (False, []), "x1": (False, []), "eth0": (True, KEPT)}
    container.delete("-f").ok()
    assert "eth0" in other.seen()  # not moved back on delete


@known_bad("1.1 knows no netDevices")
def test_into_the_namespace_of_a_user_namespace(rt, net):
    container, result = create(rt, net, userns(), devices(a0="eth0"))
    result.ok()
    assert inside(container) == {"eth0": (True, KEPT)}


def test_into_a_joined_namespace_that_root_of_the_user_namespace_may_not_change(rt, net, other):
    def map_ids(config):
        userns()(config)
        without_mount("/sys")(config)
    patches = (namespaces("pid", "ipc", "uts", "mount", network=other.path), map_ids, devices(a0="eth0"))
    _, result = create(rt, net, *patches)
    result.ok()
    assert other.seen()["eth0"] == (True, KEPT)


# --- failing


def twice(config):
    config["linux"]["netDevices"] = {"a0": {"name": "eth0"}, "b0": {"name": "lo"}}


FAILURES = {
    "createRuntime hook": ((devices(a0="eth0"), {"hooks": {"createRuntime": FALSE}}), ()),
    "createContainer hook": ((devices(a0="e%d", b0="e%d"), {"hooks": {"createContainer": FALSE}}), ()),
    "second device": ((twice,), ()),
    "no such program": ((devices(a0="eth0"), {"process": {"args": ["/nowhere"]}}), ()),
    "pid file": ((devices(a0="eth0"),), ("--pid-file", "/nowhere/at/all")),
    "down": ((devices(b0="eth0"), {"hooks": {"createRuntime": FALSE}}), ()),
    "user namespace": ((userns(), devices(a0="eth0"), {"process": {"args": ["/nowhere"]}}), ()),
}


@known_bad("loses the device")
@pytest.mark.parametrize("verb", ["create", "run"])
@pytest.mark.parametrize("case", FAILURES)
def test_after_a_failure_the_host_has_its_device_as_it_was(rt, net, case, verb):
    patches, options = FAILURES[case]
    before = net.seen()
    container = rt.container(SLEEP, *patches)
    result = rt.call(verb, *options, "--bundle", container.bundle.path, container.id, wrap=net.enter)
    assert result.code == 1 and result.err.count("\n") <= 2, result
    assert net.seen() == before
    rt.assert_nothing_left()


@known_bad("loses the device")
def test_after_a_failure_a_joined_namespace_is_as_it_was(rt, net, other):
    before = net.seen(), other.seen()
    patch = namespaces("pid", "ipc", "uts", "mount", network=other.path)
    create(rt, net, patch, devices(a0="eth0"), {"hooks": {"createRuntime": FALSE}})[1].failed("createRuntime hook #0")
    assert (net.seen(), other.seen()) == before


@known_bad("loses the device")
@pytest.mark.parametrize("kind", ["sendto", "recvfrom", "setns", "clone3", "dup3", "socket"])
def test_whichever_call_fails_the_host_has_its_device_as_it_was(rt, net, kind):
    """`run`, because strace follows into the helper that enters the namespace, and would wait for a container that stays."""
    strace = shutil.which("strace") or pytest.skip("strace is not installed")
    before, bundle, log = net.seen(), rt.bundle(devices(a0="eth0"), {"process": {"args": ["/bin/true"]}}), rt.base / "inject"
    first = 2 if kind == "clone3" else 1  # without the thread that bears init, init is born all the same
    for n in range(first, 40):
        container = rt.container(bundle=bundle)
        result = rt.call("run", "--bundle", bundle.path, container.id, wrap=(
            *net.enter, strace, "-f", "-qq", "-o", log, "-e", f"trace={kind}", "-e", f"inject={kind}:error=EIO:when={n}"))
        assert "Traceback" not in result.err and "internal error" not in result.err, (n, result)
        rt.assert_nothing_left()
        if result.code == 0:
            assert n > first, result
            break
        assert result.err.count("\n") <= 2, (n, result)
        assert net.seen() == before, (n, result)


@known_bad("1.1 knows no netDevices")
def test_killed_half_way_it_leaves_what_delete_removes(rt, net, other):
    """Where the device is then is the kernel's business: still here, or in the joined namespace."""
    strace = shutil.which("strace") or pytest.skip("strace is not installed")
    bundle = rt.bundle(SLEEP, namespaces("pid", "ipc", "uts", "mount", network=other.path), devices(a0="eth0"))
    log = rt.base / "inject"
    for n in range(1, 12, 2):
        container = rt.container(bundle=bundle)
        rt.call("create", "--bundle", bundle.path, container.id, wrap=(
            *net.enter, strace, "-qq", "-o", log, "-e", "trace=sendto", "-e", f"inject=sendto:signal=KILL:when={n}"))
        assert "killed by SIGKILL" in log.read_text(), n
        assert len({"a0", "eth0"} & {*net.seen(), *other.seen()}) == 1
        container.delete("-f").ok()
        rt.assert_nothing_left()
        if "a0" not in net.seen():
            break


def test_the_only_thing_that_remembers_the_namespace_is_the_container(rt, net):
    container = rt.container(SLEEP, devices(a0="eth0"))
    running = rt.spawn("run", "--bundle", container.bundle.path, container.id, wrap=net.enter)
    wait_until(lambda: container.directory.exists() and container.state().code == 0 and container.status == "running", what="not running")
    wanted = os.readlink(f"/proc/{container.pid}/ns/net")
    links = [os.readlink(f"/proc/{running.popen.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{running.popen.pid}/fd")]
    assert wanted not in links and not [link for link in links if "epoll" in link], links
    container.kill("KILL").ok()
    running.wait()


# --- refusals


@known_bad("words it otherwise")
@pytest.mark.parametrize("patch, words", [
    (devices(nosuch=None), 'config.json: /linux/netDevices: network device "nosuch": no such device'),
    (devices(a0="lo"), 'config.json: /linux/netDevices/a0: the container\'s network namespace already has a device "lo"'),
    (devices(a0="a/b"), 'invalid network device name "a/b"'),
    (devices(a0="x" * 16), f'invalid network device name "{"x" * 16}"'),
])
def test_refusals(rt, net, patch, words):
    before = net.seen()
    create(rt, net, patch)[1].failed(words)
    assert net.seen() == before


def test_without_a_network_namespace_there_is_nowhere_to_move_to(rt, net):
    patches = (namespaces("pid", "ipc", "uts", "mount"), without_mount("/sys"), devices(a0="eth0"))
    create(rt, net, *patches)[1].failed("unable to move network devices without a NET namespace")


@known_bad("renames it")
def test_the_namespace_of_the_host_itself_is_no_place_to_move_to(rt, net):
    before = net.seen()
    patches = (namespaces("pid", "ipc", "uts", "mount", network=net.path), devices(a0="eth0"))
    create(rt, net, *patches)[1].failed("/linux/netDevices: unable to move network devices")
    assert net.seen() == before


def test_not_rootless(rt, net):
    container = rt.container(userns(), devices(a0="eth0"))
    result = rt.call("create", "--bundle", container.bundle.path, container.id, log=False, options=("--root", str(rt.base / "own")),
                     preexec=lambda: os.setuid(65534))
    assert result.code == 1 and "network devices are not supported for rootless containers" in result.err, result


@known_bad("1.1 knows no netDevices")
def test_nothing_is_looked_for_once_the_container_exists(rt, net):
    """A library that is imported late would be found by a path that a container may have changed."""
    strace = shutil.which("strace") or pytest.skip("strace is not installed")
    log = rt.base / "strace"
    container = rt.container(SLEEP, devices(a0="eth0"), {"hooks": {"createRuntime": FALSE}})
    rt.call("create", "--bundle", container.bundle.path, container.id, wrap=(*net.enter, strace, "-qq", "-o", log, "-e", "trace=file,clone3"))
    before, _, after = log.read_text().partition("clone3(")
    assert "pyroute2" in before and "CLONE_THREAD" in after  # of the thread that bears init
    assert not re.findall(r"[^\n]*(?:site-packages|lib/python)[^\n]*", after)


RACED = """
import os, subprocess, sys
from pyrunc.host.netdev import Move

class Raced(Move):
    def _down(self, at, index):
        if not self.raced:
            self.raced = True
            enter = ["nsenter", f"--net={sys.argv[1]}"]
            subprocess.run([*enter, "ip", "link", "add", "evil", "index", str(self.inside), "type", "veth", "peer", "name", "other"], check=True)
        super()._down(at, index)

Raced.raced = False
move = Raced(os.open(sys.argv[1], os.O_RDONLY), "a0", "eth0")
try:
    move.do()
except OSError as err:
    print(err.strerror)
    move.undo()
"""


def test_a_device_that_did_not_get_there_is_put_back_though_another_has_its_index(rt, net):
    """Who lives in a joined namespace may take the index between the look and the move."""
    before, joined = net.seen(), Net()
    try:
        result = subprocess.run([*net.enter, sys.executable, "-c", RACED, joined.path], capture_output=True, text=True, check=False)
        assert result.stdout in ("Device or resource busy\n", "File exists\n") and not result.stderr, result
        assert net.seen() == before and set(joined.seen()) == {"evil", "other"}
    finally:
        joined.close()


# --- the differential


@pytest.mark.parametrize("case", [devices(a0="eth0"), devices(a0=None, b0="x")], ids=["renamed", "two"])
def test_runc_does_the_same(rt, net, case):
    """runc keeps no peer address and no broadcast address; there is no other difference."""
    runc = os.environ.get("RUNC_NEW") or pytest.skip("RUNC_NEW names no runc that has netDevices")
    net.ip("addr", "del", "10.9.9.1", "peer", "10.9.9.2/32", "dev", "a0")
    found = []
    for binary in (rt.binary, runc):
        peer = Runtime(binary)
        fresh = Net()
        try:
            fresh.ip("link", "add", "a0", "type", "veth", "peer", "name", "b0")
            for text in ("10.1.1.1/24", "fd00::1/64", "10.3.3.3/24 scope link", "10.2.2.2/24 valid_lft 900 preferred_lft 900"):
                fresh.ip("addr", "add", *text.split(), "dev", "a0")
            container, result = create(peer, fresh, case)
            result.ok()
            found.append((inside(container), fresh.seen()))
        finally:
            peer.close()
            fresh.close()
    normal = [re.sub(r" brd [0-9.]+", "", json.dumps(one)) for one in found]
    assert normal[0] == normal[1]
