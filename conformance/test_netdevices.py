"""config-linux.md#network-devices, with a veth pair in a network namespace that stands for the host's."""

import json
import os
import shutil
import subprocess

import pytest
from kit.bundle import namespaces
from kit.runtime import wait_until
from marks import clause

SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
ADDRESS = "10.1.1.1"


class Net:
    """A network namespace, kept by a process that sleeps."""

    def __init__(self):
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "1000"])
        self.path = f"/proc/{self.holder.pid}/ns/net"
        wait_until(lambda: os.readlink(self.path) != os.readlink("/proc/self/ns/net"))
        self.enter = ("nsenter", f"--net={self.path}")

    def ip(self, *args):
        subprocess.run([*self.enter, "ip", *args], check=True)

    def close(self):
        self.holder.kill()
        self.holder.wait()


@pytest.fixture
def new():
    """Makes network namespaces."""
    if not shutil.which("ip"):
        pytest.skip("ip is not installed (apt-get install iproute2)")
    made = []

    def make():
        made.append(Net())
        return made[-1]
    yield make
    for net in made:
        net.close()


@pytest.fixture
def net(new):
    """a0, down, with an address, an alias and an MTU; b0 is its other end."""
    net = new()
    net.ip("link", "add", "a0", "mtu", "1400", "type", "veth", "peer", "name", "b0")
    net.ip("addr", "add", f"{ADDRESS}/24", "dev", "a0")
    return net


def links(pid):
    """{name: what ip says} of a process's network namespace."""
    out = subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-json", "addr"], capture_output=True, check=True).stdout
    return {link["ifname"]: link for link in json.loads(out)}


def create(rt, net, devices, *patches):
    container = rt.container(SLEEP, {"linux": {"netDevices": devices}}, *patches)
    return container, rt.call("create", "--bundle", container.bundle.path, container.id, wrap=net.enter)


@clause("linux:NetworkDevices-1", "listed devices are in the container")
@clause("linux:NetworkDevices-2", "whether it can be moved is found out by moving it")
@clause("linux:NetworkDevices-5", "its global addresses and its MTU stay")
@clause("linux:NetworkDevices-6", "it is up")
@clause("linux:NetworkDevices-7", "nothing else of it is looked after")
@clause("linux:NetworkDevices-8", "it goes with the namespace: delete does not take it out")
def test_a_device_moves_in(rt, net):
    container, result = create(rt, net, {"a0": {"name": "eth0"}})
    result.ok()
    seen = links(container.pid)
    assert set(seen) == {"lo", "eth0"} and "a0" not in links(net.holder.pid)
    assert "UP" in seen["eth0"]["flags"] and seen["eth0"]["mtu"] == 1400
    assert ADDRESS in [info["local"] for info in seen["eth0"]["addr_info"]]
    container.delete("-f").ok()
    wait_until(lambda: set(links(net.holder.pid)) == {"lo"})  # a veth ends with its namespace, and its other end with it


@clause("linux:NetworkDevices-3", "a name that is taken is an error")
def test_a_name_that_is_taken(rt, net, new):
    other = new()
    other.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
    patch = namespaces("pid", "ipc", "uts", "mount", network=other.path)
    create(rt, net, {"b0": {"name": "free"}}, patch)[1].ok()
    container, result = create(rt, net, {"a0": {"name": "eth0"}}, patch)
    assert result.code > 0 and container.state().code > 0


@clause("linux:NetworkDevices-4", "a name with %d is numbered by the kernel")
def test_a_name_that_the_kernel_completes(rt, net, new):
    other = new()
    other.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
    container, result = create(rt, net, {"a0": {"name": "eth%d"}}, namespaces("pid", "ipc", "uts", "mount", network=other.path))
    result.ok()
    assert set(links(container.pid)) == {"lo", "eth0", "eth1", "eth2"}
