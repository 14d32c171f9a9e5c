"""Groups of the resctrl file system (Documentation/filesystems/resctrl.rst): a class of service or a monitoring group.

The mount point comes from the facts: the host's mountinfo.
"""

from __future__ import annotations

import posix
from errno import EEXIST, ENOENT, ENOSPC

from ..errors import Error, reason
from ..plan.rdt import mismatch
from . import files
from .cgroup.stats import number, some
from .files import DIR
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# property of intelRdt -> its directories below info/, of which one must be there; what its absence is called
NEEDS = {
    "l3CacheSchema": (("L3", "L3CODE"), "Intel RDT/CAT"),
    "memBwSchema": (("MB",), "Intel RDT/MBA"),
}


class Group:
    """`name` below the mount point `root`, "" for the default class."""

    __slots__ = ("root", "name", "path")

    def __init__(self, root: str, name: str) -> None:
        self.root = root
        self.name = name
        self.path = f"{root}/{name}" if name else root

    def exists(self) -> bool:
        return _there(self.path)

    def create(self, existing: bool, wanted: Mapping[str, str]) -> bool:
        """Make it unless it is there; whether it was made. existing: it must be there; wanted: {property: schema} that it
        must agree with if it is."""
        for name in wanted:
            if not enabled(self.root, name):
                raise Error(f"config.json: /linux/intelRdt/{name}: intelRdt.{name} is specified in config, but "
                            f"{NEEDS[name][1]} is not enabled", pointer=f"/linux/intelRdt/{name}")
        made = self._make(existing)
        if not made:
            self._compare(wanted)
        return made

    def _make(self, existing: bool) -> bool:
        if existing or not self.name:
            try:
                posix.stat(self.path)
            except OSError as err:
                raise self._error("clos dir not accessible (must be pre-created when schemata, l3CacheSchema and "
                                  "memBwSchema are empty)", err) from None
            return False
        try:
            posix.mkdir(self.path, 0o755)
            return True
        except OSError as err:
            if err.errno != EEXIST:
                raise self._error("mkdir", err) from None
            return False

    def _compare(self, wanted: Mapping[str, str]) -> None:
        text = self.read("schemata") if wanted else ""
        for name, schema in wanted.items():
            line = mismatch(text, schema)
            if line is not None:
                raise Error(f'config.json: /linux/intelRdt/{name}: "{line}" differs from the schemata of {self.path} say',
                            "pyrunc does not change an existing class of service",
                            pointer=f"/linux/intelRdt/{name}")

    def tasks(self) -> int:
        """A descriptor by which the process that writes "0" joins."""
        try:
            return posix.open(self.path + "/tasks", posix.O_WRONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC)
        except OSError as err:
            raise self._error("open tasks", err) from None

    def close(self) -> None:
        """Other groups close a descriptor here; this one keeps none."""

    def remove(self) -> None:
        """rmdir. Its processes go to the class above. A missing group is fine."""
        try:
            posix.rmdir(self.path)
        except OSError as err:
            if err.errno != ENOENT:
                raise self._error("rmdir", err) from None

    def read(self, file: str) -> str:
        try:
            fd = posix.open(self.path, DIR)
            try:
                return files.read(fd, file)
            finally:
                posix.close(fd)
        except OSError as err:
            raise self._error(f"read {file}", err) from None

    def write(self, file: str, value: str) -> None:
        try:
            fd = posix.open(self.path, DIR)
            try:
                files.write(fd, file, value if value.endswith("\n") else value + "\n")
            finally:
                posix.close(fd)
        except OSError as err:
            raise self._error(f"write {file} {value.strip()!r}", err) from None

    def _error(self, doing: str, err: OSError) -> Error:
        """The errno, and the kernel's own words on what it has refused."""
        said = text_of(f"{self.root}/info/last_cmd_status")
        why = f", last_cmd_status: {said}" if said not in ("", "ok") else ""
        hint = "the processor limits the number of classes of service and of monitoring groups" if err.errno == ENOSPC else None
        return Error(f'resctrl group "{self.path}": {doing}: {reason(err)}{why}', hint, errno=err.errno)


def enabled(root: str, name: str) -> bool:
    """Whether the processor and the mount have what a property needs."""
    return any([_there(f"{root}/info/{directory}") for directory in NEEDS[name][0]])


def _there(path: str) -> bool:
    try:
        posix.stat(path)
        return True
    except OSError:
        return False


def text_of(path: str) -> str:
    """A file's text without the last newline; "" where there is none."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return posix.read(fd, 65536).decode("utf-8", "surrogateescape").strip()
    except OSError:
        return ""
    finally:
        posix.close(fd)


# --- events

COUNTERS = {"mbm_stats": ("mbm_total_bytes", "mbm_local_bytes"), "cmt_stats": ("llc_occupancy",)}


def stats(root: str, group: str, monitor: str | None = None) -> dict[str, object]:
    """`intel_rdt` of a `stats` event, runc's names: of the class, and what its monitoring group counts."""
    own, top = text_of(f"{root}/{group}/schemata").splitlines(), text_of(f"{root}/schemata").splitlines()
    out: dict[str, object] = {}
    if enabled(root, "l3CacheSchema"):
        out["l3_cache_info"] = _info(root, "L3", ("min_cbm_bits", "num_closids"), ("cbm_mask",))
        out["l3_cache_schema_root"], out["l3_cache_schema"] = _line(top, "L3"), _line(own, "L3")
    if enabled(root, "memBwSchema"):
        out["mem_bw_info"] = _info(root, "MB", ("bandwidth_gran", "delay_linear", "min_bandwidth", "num_closids"))
        out["mem_bw_schema_root"], out["mem_bw_schema"] = _line(top, "MB"), _line(own, "MB")
    out["schemata"] = [line.strip() for line in own]
    data = f"{root}/{group if monitor is None else monitor}/mon_data"
    for member, counters in COUNTERS.items():
        nodes = [_counted(f"{data}/{name}", counters) for name in _caches(data)]
        out[member] = [some(node) for node in nodes if node]
    return some(out)


def _info(root: str, name: str, numbers: Iterable[str], texts: Iterable[str] = ()) -> dict[str, object]:
    directory = f"{root}/info/{name}"
    found: dict[str, object] = {key: text_of(f"{directory}/{key}") for key in texts}
    return some({**found, **{key: number(text_of(f"{directory}/{key}")) for key in numbers}})


def _line(lines: Iterable[str], name: str) -> str:
    return "\n".join([line.strip() for line in lines if line.strip().startswith(name)])


def _caches(directory: str) -> list[str]:
    try:
        return sorted([name for name in posix.listdir(directory) if name.startswith("mon_L3_")])
    except OSError:
        return []


def _counted(directory: str, counters: Iterable[str]) -> dict[str, int]:
    """{file: number} of the counters a cache has; "Unavailable" and "Error" count as 0."""
    return {file: number(text_of(f"{directory}/{file}")) for file in counters if _there(f"{directory}/{file}")}
