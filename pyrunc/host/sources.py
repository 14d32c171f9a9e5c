"""Which bind sources lie below the container's root, whatever links lead there."""

from __future__ import annotations

import posix

from ..paths import clean
from ..plan.rootfs import join
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from ..config.shape import Config

LINKS = 40  # as the kernel


def inside(config: Config, bundle: str, root: str) -> dict[str, str]:
    """{position in mounts, as text: path below the root, without a leading slash} of the binds whose sources lie there."""
    found: dict[str, str] = {}
    links: dict[str, str] = {}
    for index, mount in enumerate(config.get("mounts", ())):
        if "bind" in mount.get("options", ()) or "rbind" in mount.get("options", ()):
            path = below(root.rstrip("/"), clean(join(bundle, mount.get("source", ""))), links)
            if path is not None:
                found[str(index)] = path
    return found


def below(root: str, path: str, links: dict[str, str]) -> str | None:
    """The part of a path that lies below the root, or None. Links are followed up to the root, not below it: what the
    container's tree says about its own paths is for the kernel to resolve, in there. `links` remembers what was read."""
    here, rest, followed = "", path.split("/")[::-1], 0
    while here != root:
        if not rest:
            return None
        part = rest.pop()
        if part in ("", "."):
            continue
        if part == "..":
            here = here.rpartition("/")[0]
            continue
        there = f"{here}/{part}"
        if there not in links:
            links[there] = _link(there)
        if not links[there]:
            here = there
            continue
        followed += 1
        if followed > LINKS:
            return None
        rest += links[there].split("/")[::-1]
        here = "" if links[there][0] == "/" else here
    return "/".join([part for part in rest[::-1] if part])


def _link(path: str) -> str:
    try:
        return posix.readlink(path)
    except OSError:
        return ""
