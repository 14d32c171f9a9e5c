"""linux.netDevices: devices of the host that go into the container's network namespace. config-linux.md#network-devices.

The host moves them when the namespace exists and most of what can fail has not failed, and before any hook runs.
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..config.shape import NetDevice
    from .script import Plan


def check(plan: Plan, devices: Mapping[str, NetDevice]) -> None:
    """H, before the process exists: the devices are there; what talks netlink is loaded."""
    plan.add("H", "NETLINK", (), (list(devices),), source="/linux/netDevices")


def move(plan: Plan, devices: Mapping[str, NetDevice]) -> None:
    plan.source = "/linux/netDevices"
    plan.sync("I")
    plan.add("H", "NETNS", ("netns",))
    for name, device in devices.items():
        plan.add("H", "NETDEV", ("netns",), (name, device.get("name") or name), source=f"/linux/netDevices/{name}")
