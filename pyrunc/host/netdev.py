"""Moving the host's network devices into a container's network namespace, and back when its creation fails.

config-linux.md#network-devices. Through rtnetlink(7), by pyroute2. The op NETLINK loads all of the library before the container
exists; the op NETDEV moves a device.

The kernel takes the addresses from a device that changes its namespace, and its name may not be free there: a request to
move and rename whose name is taken leaves the device moved and not renamed. So the name is looked at first; the device's
index in there is chosen by us (IFLA_NEW_IFINDEX), so that it is found again whatever name it has got (`eth%d`); and what
has begun is undone step by step, wherever the device is by then.
"""

from __future__ import annotations

import posix
from _socket import AF_INET6

from .. import kernel_net, log
from ..errors import Error, reason
from ..typed import TYPE_CHECKING

try:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError
except ImportError as err:
    raise Error(f"config.json: /linux/netDevices: moving network devices needs the Python package pyroute2: {err}",
                hint="install it where pyrunc is installed (pip install pyroute2)", pointer="/linux/netDevices") from None

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Message = Any  # pyroute2 has no types: what it gives is looked at here and nowhere else

IFF_UP = 1
IFA_F_PERMANENT, UNIVERSE = 0x80, 0
# An address that is added again says no more than was asked for once: not PERMANENT, which follows from the lifetime, nor how far
# duplicate address detection has come. NODAD HOMEADDRESS MANAGETEMPADDR NOPREFIXROUTE MCAUTOJOIN
IFA_FLAGS = 0x02 | 0x10 | 0x100 | 0x200 | 0x400
ATTRIBUTES = {"IFA_ADDRESS": "address", "IFA_LOCAL": "local", "IFA_BROADCAST": "broadcast", "IFA_RT_PRIORITY": "rt_priority"}


def check(names: Iterable[str]) -> None:
    """Every device is there. Nothing is changed."""
    with IPRoute() as host:
        for name in names:
            _link(host, name)


def _link(host: IPRoute, name: str) -> Message:
    return _ask(f'network device "{name}"', host.link, "get", ifname=name)[0]


def _ask(doing: str, call: Callable[..., Any], *args: str, **how: object) -> Message:
    """One request; its failure as the OSError that it is."""
    try:
        return call(*args, **how)
    except NetlinkError as err:
        raise OSError(err.code, posix.strerror(err.code), doing) from None


class Move:
    """One device's way into the network namespace of the descriptor `netns`. `undo` may be called whatever `do` did."""

    __slots__ = ("netns", "name", "wanted", "index", "inside", "up", "addresses")

    def __init__(self, netns: int, name: str, wanted: str) -> None:
        self.netns = netns
        self.name = name
        self.wanted = wanted
        self.index = self.inside = 0
        self.up = False
        self.addresses: list[Message] = []

    def do(self) -> None:
        with IPRoute() as host, self._inside() as inside:
            taken = {link["index"]: link.get_attr("IFLA_IFNAME") for link in inside.get_links()}
            if self.wanted in taken.values():
                raise Error(f'config.json: /linux/netDevices/{self.name}: the container\'s network namespace already has a device '
                            f'"{self.wanted}"', pointer=f"/linux/netDevices/{self.name}")
            link = _link(host, self.name)
            self.index, self.up = link["index"], bool(link["flags"] & IFF_UP)
            self.addresses = list(host.get_addr(index=self.index))
            self.inside = self.index if self.index not in taken else max(taken) + 1
            self._down(host, self.index)
            _ask(self._doing("move"), host.link, "set", index=self.index, net_ns_fd=self.netns, ifname=self.wanted,
                 new_ifindex=self.inside)
            self._address(inside, self.inside, [address for address in self.addresses
                                                if _flags(address) & IFA_F_PERMANENT and address["scope"] == UNIVERSE])
            self._up(inside, self.inside)

    def undo(self) -> None:
        """Put the device back as it was: its place, name, addresses, and up if it was up. A failure is a warning."""
        if not self.inside:
            return
        try:
            self._back()
        except OSError as err:
            log.warning(f"network device {self.name} is not restored on the host: {err.filename}: {reason(err)}")

    def _back(self) -> None:
        with IPRoute() as host, self._inside() as inside:
            if not self._at_home(host):  # else what has our index in there is somebody else's
                self._down(inside, self.inside)
                _ask(self._doing("move back"), inside.link, "set", index=self.inside, net_ns_pid=posix.getpid(),
                     ifname=self.name, new_ifindex=self.index)
            self._address(host, self.index, [address for address in self.addresses if not _automatic(address)])
            if self.up:
                self._up(host, self.index)

    def _at_home(self, host: IPRoute) -> bool:
        return any([link["index"] == self.index and link.get_attr("IFLA_IFNAME") == self.name for link in host.get_links()])

    def _inside(self) -> IPRoute:
        return IPRoute(fileno=kernel_net.rtnetlink(self.netns))

    def _down(self, at: IPRoute, index: int) -> None:
        _ask(self._doing("set down"), at.link, "set", index=index, state="down")

    def _up(self, at: IPRoute, index: int) -> None:
        _ask(self._doing("set up"), at.link, "set", index=index, state="up")

    def _address(self, at: IPRoute, index: int, addresses: Iterable[Message]) -> None:
        for address in addresses:
            _ask(self._doing("add address"), at.addr, "replace", index=index, **_request(address))

    def _doing(self, what: str) -> str:
        return f'{what} network device "{self.name}"'


def _flags(address: Message) -> int:
    flags: int = address.get_attr("IFA_FLAGS") or address["flags"]
    return flags


def _automatic(address: Message) -> bool:
    """IPv6 link-local: made by the kernel when the device comes up."""
    return bool(address["family"] == AF_INET6 and address["scope"] != UNIVERSE)


def _request(address: Message) -> dict[str, object]:
    """The request that adds an address again as it was."""
    out = {"family": address["family"], "prefixlen": address["prefixlen"], "scope": address["scope"]}
    out.update({key: address.get_attr(name) for name, key in ATTRIBUTES.items() if address.get_attr(name) is not None})
    out["flags"] = _flags(address) & IFA_FLAGS
    if not _flags(address) & IFA_F_PERMANENT:
        life = address.get_attr("IFA_CACHEINFO")
        out.update(preferred=life["ifa_preferred"], valid=life["ifa_valid"])
    return out
