"""Rules for `linux.resources`: that of config.json, and that of `update`. See rules.py.

Each rule takes the resources, whose types are right, and yields faults with pointers relative to them.
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING
from .fault import Fault, shown
from .names import NO_SWAPPINESS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from .shape import BlockIO, BlockIOWeight, Resources

LIST = "config-linux.md#allowed-device-list"
MEMORY = "config-linux.md#memory"
CPU = "config-linux.md#cpu"
BLOCK_IO = "config-linux.md#block-io"
RDMA = "config-linux.md#rdma"
UNIFIED = "config-linux.md#unified"

NUMBERS: tuple[Literal["major", "minor"], ...] = ("major", "minor")
BYTES: tuple[Literal["limit", "reservation", "swap", "kernel", "kernelTCP"], ...] = (
    "limit", "reservation", "swap", "kernel", "kernelTCP")
WEIGHTS: tuple[Literal["weight", "leafWeight"], ...] = ("weight", "leafWeight")


def devices(resources: Resources) -> Iterator[Fault]:
    for index, rule in enumerate(resources.get("devices", ())):
        access = rule.get("access", "")
        if not access:
            yield Fault(f"/devices/{index}", f"device access at {index} field cannot be empty", LIST)
        elif access.strip("rwm"):
            yield Fault(f"/devices/{index}/access", f'device access "{shown(access)}" has letters other than r, w, m',
                        LIST)
        for name in NUMBERS:
            if rule.get(name, -1) < -1:
                yield Fault(f"/devices/{index}/{name}", f"{name} must be -1 (all) or more", LIST)


def memory(resources: Resources) -> Iterator[Fault]:
    found = resources.get("memory", {})
    for name in BYTES:
        if found.get(name, 0) < -1:
            yield Fault("/memory/" + name, f"{name} must be -1 (unlimited) or more", MEMORY)
    limit, swap = found.get("limit", 0), found.get("swap", 0)
    if swap > 0 and limit >= 0:
        if limit == 0:
            yield Fault("/memory/swap", "unable to set swap limit without memory limit", MEMORY)
        elif swap < limit:
            yield Fault("/memory/swap", "memory+swap limit should be >= memory limit", MEMORY)
    if 100 < found.get("swappiness", 0) != NO_SWAPPINESS:
        yield Fault("/memory/swappiness", "swappiness must be 0 to 100", MEMORY)


def cpu(resources: Resources) -> Iterator[Fault]:
    found = resources.get("cpu", {})
    if found.get("burst", 0) > found.get("quota", 0) > 0:
        yield Fault("/cpu/burst", "burst must not be above quota", CPU)
    if found.get("idle", 0) not in (0, 1):
        yield Fault("/cpu/idle", "idle must be 0 or 1", CPU)


def block_io(resources: Resources) -> Iterator[Fault]:
    found = resources.get("blockIO", {})
    yield from _weights(found, "/blockIO")
    for index, device in enumerate(found.get("weightDevice", ())):
        pointer = f"/blockIO/weightDevice/{index}"
        if "weight" not in device and "leafWeight" not in device:
            yield Fault(pointer, "one of weight and leafWeight is required", BLOCK_IO)
        yield from _weights(device, pointer)


def _weights(found: BlockIO | BlockIOWeight, pointer: str) -> Iterator[Fault]:
    for name in WEIGHTS:
        if found.get(name, 0) and not 10 <= found[name] <= 1000:
            yield Fault(f"{pointer}/{name}", f"{name} must be 10 to 1000", BLOCK_IO)


def rdma(resources: Resources) -> Iterator[Fault]:
    for name, limits in resources.get("rdma", {}).items():
        if not limits:
            yield Fault("/rdma", f'"{shown(name)}": one of hcaHandles and hcaObjects is required', RDMA)


def unified(resources: Resources) -> Iterator[Fault]:
    for key in resources.get("unified", ()):
        if "/" in key:
            yield Fault("/unified", f'unified resource "{shown(key)}" must be a file name (no slashes)', UNIFIED)
        elif "." not in key[1:-1]:
            yield Fault("/unified", f'unified resource "{shown(key)}" must be in the form CONTROLLER.PARAMETER',
                        UNIFIED)


RULES = (devices, memory, cpu, block_io, rdma, unified)
