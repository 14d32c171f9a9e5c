"""Where a container's limits can be read back, whichever cgroup version a controller is on."""

import json
import os
import re
from pathlib import Path

TREE_V2 = "/sys/fs/cgroup/unified" if os.path.isdir("/sys/fs/cgroup/unified") else "/sys/fs/cgroup"
V1_OF = {"io": "blkio"}
# A file of cgroup2 and the one on v1 that means the same.
SAME = {
    "memory.max": "memory.limit_in_bytes", "memory.low": "memory.soft_limit_in_bytes", "pids.max": "pids.max",
    "pids.current": "pids.current", "cpuset.cpus": "cpuset.cpus", "cpuset.mems": "cpuset.mems", "cpu.idle": "cpu.idle",
    "memory.current": "memory.usage_in_bytes",
}
KEPT = re.compile(r"(memory\.(max|low|high|min|swap\.max|limit_in_bytes|soft_limit_in_bytes|memsw\.limit_in_bytes|swappiness)"
                  r"|cpu\.(max|max\.burst|weight|idle|shares|cfs_quota_us|cfs_period_us|cfs_burst_us|rt_runtime_us|rt_period_us)"
                  r"|cpuset\.(cpus|mems)|pids\.max|io\.(max|weight|bfq\.weight)|blkio\.(bfq\.)?weight"
                  r"|blkio\.throttle\.\w+_device|hugetlb\.\w+\.(rsvd\.)?(max|limit_in_bytes)|rdma\.max)$")


def group(container, controller):
    """(directory, is it v1) of a container's group for a controller, from state.json."""
    return of(json.loads((container.directory / "state.json").read_text())["cgroup_paths"], controller)


def of(paths, controller):
    old = V1_OF.get(controller, controller)
    return (Path(paths[old]), True) if old in paths else (Path(paths[""]), False)


def of_process(process):
    """The groups that a process is in (its /proc directory), as `cgroup_paths`."""
    lines = [line.split(":", 2) for line in (process / "cgroup").read_text().splitlines()]
    return {name: f"/sys/fs/cgroup/{name}{path}" if name else f"{TREE_V2}{path}"
            for _, names, path in lines for name in names.split(",") if "=" not in name}


def read(container, file):
    """A limit, by its cgroup2 name; None where the kernel has no such file."""
    return read_of(json.loads((container.directory / "state.json").read_text())["cgroup_paths"], file)


def read_of(paths, file):
    path, old = of(paths, file.partition(".")[0])
    path /= SAME[file] if old else file
    return path.read_text().strip() if path.exists() else None


def everything(paths):
    """{file: text} of all limits in force in a set of groups (`cgroup_paths`)."""
    out = {}
    for directory in {Path(path) for path in paths.values()}:
        if directory.is_dir():
            out.update({file.name: file.read_text().strip() for file in directory.iterdir() if KEPT.match(file.name)})
    return out
