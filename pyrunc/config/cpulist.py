"""Lists of CPUs and memory nodes, `0-3,7`: read into bit masks. Pure."""

from __future__ import annotations

from .names import decimal

MAX_ID = 65535  # runc 1.6's limit; the kernel's NR_CPUS ends at 8192 today


def parse(text: str, max_id: int = MAX_ID) -> int | None:
    """The mask of the ids listed, 0 for an empty list, None if it isn't one.

    As runc reads it: spaces around the elements and empty elements are let pass.
    """
    mask = 0
    for element in text.split(","):
        element = element.strip(" \t\n")
        if not element:
            continue
        first, dash, last = element.partition("-")
        low = decimal(first, max_id)
        high = decimal(last, max_id) if dash else low
        if low is None or high is None or low > high:
            return None
        mask |= (1 << high + 1) - (1 << low)
    return mask
