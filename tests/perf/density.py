"""How many idle containers fit, what each costs, and whether creating one gets slower: `make density`.

Every runtime in turn creates and starts one more container of a read-only busybox root until each has `--count` of them or
`--seconds` are over, so that the noise of the machine falls on all alike; then all are deleted. Reported are the latency of
create + start around the 1st, 100th and 500th, that of `state` and `list` at the end, the proportional size (Pss) of a
container's process, and by how much the kernel's own memory (slab that cannot be reclaimed, stacks, page tables, per-cpu)
grew per container. The latter is of the whole machine: others' work is in it.

PYRUNC and RUNC_NEW name the binaries, as for bench.py, which also says what is done for crun on hosts with both cgroup versions.
"""

import argparse
import glob
import json
import os
import statistics
import subprocess
import time
from typing import ClassVar

import bench

KERNEL_MEMORY = ("SUnreclaim", "KernelStack", "PageTables", "Percpu")
MARKS = (1, 100, 500)


def kernel_memory():
    """KiB that the kernel uses for itself."""
    with open("/proc/meminfo") as file:
        return sum([int(line.split()[1]) for line in file if line.split(":")[0] in KERNEL_MEMORY])


def pss(pid):
    """KiB of a process, what it shares divided by the number of those who share."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))


def wall(*argv):
    return bench.timed(argv)[0]


class Crowd:
    """The containers of one runtime, all of them gone after `close`."""

    def __init__(self, binary, base):
        self.binary, self.base = binary, base
        self.name = base.name  # of the state root, the ids and the parent of the groups
        self.begin = [binary, "--root", str(base / "state")]
        self.bundle = base / "bundle"
        (self.bundle / "rootfs/bin").mkdir(parents=True)
        subprocess.run(["cp", "/bin/busybox", self.bundle / "rootfs/bin/busybox"], check=True)
        (self.bundle / "rootfs/bin/sleep").symlink_to("busybox")
        self.ids = []

    def add(self):
        """One more container; how long create and start took."""
        id = f"{self.name}-{len(self.ids)}"
        config = bench.config(["sleep", "36000"])
        config["linux"]["cgroupsPath"] = f"/{self.name}/{id}"
        (self.bundle / "config.json").write_text(json.dumps(config))
        self.ids.append(id)
        return (wall(*self.begin, "create", "--bundle", str(self.bundle), "--pid-file", str(self.base / id), id)
                + wall(*self.begin, "start", id))

    def pid(self, id):
        return int((self.base / id).read_text())

    def close(self):
        for id in self.ids:
            subprocess.run([*self.begin, "delete", "--force", id], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        for group in sorted(glob.glob(f"/sys/fs/cgroup/*/{self.name}*") + glob.glob(f"/sys/fs/cgroup/{self.name}*")):
            os.rmdir(group)


class Measured:
    """A crowd in a process of its own (crun's in a mount namespace without the cgroup2 tree), asked over pipes."""

    asks: ClassVar = []

    def __init__(self, runtime, base):
        ask, self.ask = os.pipe()
        self.answer, answer = os.pipe()
        self.asks.append(self.ask)
        self.pid = os.fork()
        if self.pid == 0:
            for other in self.asks:  # a copy of one would keep its reader from seeing the end
                os.close(other)
            try:
                with bench.inside(runtime.view):
                    for row in serve(Crowd(runtime.binary, base), ask):
                        os.write(answer, json.dumps(row).encode() + b"\n")
            except Exception as err:
                os.write(answer, json.dumps({"error": str(err)}).encode() + b"\n")
            finally:
                os._exit(0)
        os.close(ask)
        os.close(answer)
        self.answer = os.fdopen(self.answer)
        self.row = {}

    def __call__(self, question):
        """"+": one more; "=": all that was measured. A runtime that failed has said so and is asked no more."""
        if "error" not in self.row:
            os.write(self.ask, question.encode())
            self.row = json.loads(self.answer.readline() or '{"error": "died"}')
        return self.row

    def close(self):
        """The end of the questions is what makes the other process delete its containers."""
        os.close(self.ask)
        os.waitpid(self.pid, 0)
        self.answer.close()


def serve(crowd, ask):
    """The other side of Measured: an answer for every question."""
    times, grown = [], 0
    try:
        crowd.add()  # warms the caches
        while question := os.read(ask, 1):
            if question == b"+":
                before = kernel_memory()
                times.append(crowd.add())
                grown += kernel_memory() - before
                yield {}
            else:
                yield summary(crowd, times, grown)
    finally:
        crowd.close()


def summary(crowd, times, grown):
    around = {mark: statistics.median(times[max(0, mark - 20):mark + 20]) for mark in MARKS if mark <= len(times)}
    return {
        "count": len(times), "latency": around, "kernel": grown / len(times),
        "pss": statistics.mean([pss(crowd.pid(id)) for id in crowd.ids]),
        "state": statistics.median([wall(*crowd.begin, "state", id) for id in crowd.ids[:20]]),
        "list": statistics.median([wall(*crowd.begin, "list") for _ in range(5)]),
    }


def line(name, row):
    if "error" in row:
        return f"{name:12} {row['error']}"
    latency = "".join(f"{row['latency'].get(str(mark), float('nan')) * 1000:9.1f}" for mark in MARKS)
    return (f"{name:12}{row['count']:6}{latency}{row['state'] * 1000:9.1f}{row['list'] * 1000:9.1f}"
            f"{row['pss']:9.0f}{row['kernel']:9.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=500, help="containers of each runtime")
    parser.add_argument("--seconds", type=int, default=600, help="for all, deleting not counted")
    options = parser.parse_args()
    print(f"{'':12}{'held':>6}" + "".join(f"{f'ms at {mark}':>9}" for mark in MARKS) + f"{'state ms':>9}{'list ms':>9}{'Pss KiB':>9}{'kernel':>9}")
    with bench.place("density") as base:
        crowds = {runtime.name: Measured(runtime, base / f"{base.name}-{number}") for number, runtime in enumerate(bench.find_runtimes())}
        try:
            deadline = time.monotonic() + options.seconds
            for _ in range(options.count):
                for crowd in crowds.values():
                    crowd("+")
                if time.monotonic() > deadline:
                    break
            for name, crowd in crowds.items():
                print(line(name, crowd("=")), flush=True)
        finally:
            for crowd in crowds.values():
                crowd.close()


if __name__ == "__main__":
    main()
