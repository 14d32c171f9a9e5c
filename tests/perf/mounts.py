"""What thousands of mounts cost: `make mounts`, or `mounts.py [--counts 100,1000,10000] [--rounds N]`.

For each kind and count, each runtime in turn creates and deletes a container; medians of the time of `create`, and the peak
size of the runtime (asked every 2 ms: rusage(2) would tell this program's, from which it is started) and of the container's
init. All files lie on a tmpfs, or a disk's file system would be measured.

PYRUNC and RUNC_NEW name the binaries, as for bench.py, which also says what is done for crun on hosts with both cgroup versions.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import time

import bench


def bind(base, i):
    return {"destination": f"/many/{i}", "type": "bind", "source": str(base / "source"), "options": ["bind", "ro"]}


def tmpfs(base, i):
    return {"destination": f"/many/{i}", "type": "tmpfs", "source": "tmpfs", "options": ["size=4k"]}


def binds_first(config, base, count):
    config["mounts"] = [bind(base, i) for i in range(count)] + config["mounts"]


def file_systems(config, base, count):
    config["mounts"] += [tmpfs(base, i) for i in range(count)]


def both_in_turn(config, base, count):
    config["mounts"] += [(bind, tmpfs)[i % 2](base, i) for i in range(count)]


def devices(config, base, count):
    """Of a user namespace: the host's nodes, bound."""
    nodes = base / "nodes"
    for i in range(count):
        if not (nodes / str(i)).exists():
            os.mknod(nodes / str(i), 0o020666, os.makedev(1, 3))
    line = [{"containerID": 0, "hostID": 300000, "size": 65536}]
    config["linux"].update(uidMappings=line, gidMappings=line)
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"]["devices"] = [{"type": "c", "path": str(nodes / str(i)), "major": 1, "minor": 3} for i in range(count)]


KINDS = {"binds before any file system": binds_first, "tmpfs": file_systems, "binds and tmpfs in turn": both_in_turn,
         "devices in a user namespace": devices}


def make_bundle(base, kind, count):
    config = bench.config(["sleep", "600"])
    config["root"]["readonly"] = False
    config["linux"]["cgroupsPath"] = f"/{base.name}"
    KINDS[kind](config, base, count)
    (base / "bundle/config.json").write_text(json.dumps(config))
    shutil.rmtree(base / "bundle/rootfs", ignore_errors=True)
    (base / "bundle/rootfs/bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", base / "bundle/rootfs/bin/sleep")
    os.chown(base / "bundle/rootfs", 300000, 300000)


def peak(pid):
    """KiB of a process at its largest; 0 when it has ended."""
    with open(f"/proc/{pid}/status") as file:
        return next((int(line.split()[1]) for line in file if line.startswith("VmHWM:")), 0)


def measure(binary, base):
    """(seconds, KiB of the runtime, KiB of init) of a create."""
    begin, pidfile = [binary, "--root", str(base / "state")], base / "pid"
    start = time.monotonic()
    process = subprocess.Popen([*begin, "create", "--bundle", base / "bundle", "--pid-file", pidfile, base.name],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    size = 0
    while process.poll() is None:
        size = max(size, peak(process.pid))
        time.sleep(0.002)
    took = time.monotonic() - start
    try:
        if process.returncode:
            raise SystemExit(f"{binary}: create has failed")
        return took, size, peak(pidfile.read_text())
    finally:
        subprocess.run([*begin, "delete", "--force", base.name], check=False, stderr=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", default="100,1000,10000")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    runtimes = bench.find_runtimes()
    print("| | | " + " | ".join(f"{runtime.name}, ms" for runtime in runtimes) + " | " + " | ".join(
        f"{runtime.name}, MiB + init" for runtime in runtimes) + " |")
    print("|---" * (2 + 2 * len(runtimes)) + "|")
    with bench.place("mounts", "/dev/shm") as base:
        base.chmod(0o755)
        (base / "source").write_text("")
        (base / "nodes").mkdir()
        (base / "bundle").mkdir()
        for kind in KINDS:
            for count in map(int, options.counts.split(",")):
                rows = {runtime.name: [] for runtime in runtimes}
                for _ in range(options.rounds):
                    for runtime in runtimes:
                        make_bundle(base, kind, count)
                        with bench.inside(runtime.view):
                            rows[runtime.name].append(measure(runtime.binary, base))
                medians = {name: [statistics.median(column) for column in zip(*row, strict=True)] for name, row in rows.items()}
                print(f"| {kind} | {count} | " + " | ".join(f"{row[0] * 1000:.0f}" for row in medians.values()) + " | " + " | ".join(
                    f"{row[1] / 1024:.0f} + {row[2] / 1024:.1f}" for row in medians.values()) + " |", flush=True)


if __name__ == "__main__":
    main()
