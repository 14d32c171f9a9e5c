"""How long each verb takes, for pyrunc, runc and crun: `make bench`, or `bench.py [--rounds N]`.

Every round runs every verb of every runtime once, in turn, so that the noise of the machine falls on all alike. Timed is posix_spawn
to wait4, by the clock and by the CPU time of the process and of those it waited for. The tables show milliseconds and, in
brackets, the ratio to Debian's runc: the median, and the least by the clock, which noise cannot have made. "exec loop" is one of ten in
a row in the same container, the first of a container being "exec". --svg draws the medians.

PYRUNC and RUNC_NEW name the binaries to measure (default build/venv/bin/pyrunc and build/bin/runc-1.5.2). crun refuses a
host with both cgroup versions: there it is measured in a mount namespace of this program's own, where cgroup2 is hidden;
a helper process lives in that namespace and does the timing, so that entering it costs nothing.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HYBRID = "/sys/fs/cgroup/unified/cgroup.controllers"
CLONE_NEWNS, MS_BIND, MS_REC_PRIVATE = 0x20000, 4096, 16384 | (1 << 18)
VERBS = ("run", "create", "state", "start", "exec", "exec loop", "kill", "delete")
LOOP = 10
DEVNULL = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)


def find_runtimes():
    """[(name, binary)], the reference first."""
    known = [
        ("runc 1.1.5", shutil.which("runc", path=PATH)),
        ("pyrunc", os.environ.get("PYRUNC") or str(ROOT / "build/venv/bin/pyrunc")),
        ("runc new", os.environ.get("RUNC_NEW") or str(ROOT / "build/bin/runc-1.5.2")),
        ("crun", shutil.which("crun", path=PATH)),
    ]
    return [(name, binary) for name, binary in known if binary and os.access(binary, os.X_OK)]


def make_bundles(base):
    """Two bundles of busybox: one whose process ends at once, for `run`, and one that stays, for the other verbs."""
    for name, args in (("short", ["true"]), ("long", ["sleep", "600"])):
        (base / name / "rootfs/bin").mkdir(parents=True)
        shutil.copy("/bin/busybox", base / name / "rootfs/bin/busybox")
        for applet in ("true", "sleep"):
            (base / name / "rootfs/bin" / applet).symlink_to("busybox")
        (base / name / "config.json").write_text(json.dumps(config(args)))


def config(args):
    """What every runtime here takes: namespaces, the usual mounts, masked paths, no limits."""
    flags = ["nosuid", "noexec", "nodev"]
    caps = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": args, "env": ["PATH=/bin"], "cwd": "/", "noNewPrivileges": True,
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), caps),
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "bench",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": flags + ["mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": flags},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": flags + ["ro"]},
        ],
        "linux": {
            "cgroupsPath": "/pyrunc-bench",  # not below the group that this program happens to run in
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


def timed(argv):
    """(seconds from posix_spawn to the end of the process, seconds of CPU)."""
    actions = [(os.POSIX_SPAWN_DUP2, DEVNULL, fd) for fd in (0, 1)]
    begin = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, {"PATH": PATH}, file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - begin
    if status:
        raise RuntimeError(f"{' '.join(argv)}: exit {os.waitstatus_to_exitcode(status)}")
    return seconds, usage.ru_utime + usage.ru_stime


def one_round(binary, base, container):
    """{verb: (seconds, seconds of CPU)}; whatever fails, the container is gone afterwards."""
    state = base / pathlib.Path(binary).name
    begin = [binary, "--root", str(state)]
    short, long_ = str(base / "short"), str(base / "long")
    try:
        times = {"run": timed([*begin, "run", "-b", short, container])}
        times["create"] = timed([*begin, "create", "-b", long_, container])
        times["state"] = timed([*begin, "state", container])
        times["start"] = timed([*begin, "start", container])
        times["exec"] = timed([*begin, "exec", container, "/bin/true"])
        loop = [timed([*begin, "exec", container, "/bin/true"]) for _ in range(LOOP)]
        times["exec loop"] = tuple(sum(column) / LOOP for column in zip(*loop))
        times["kill"] = timed([*begin, "kill", container, "KILL"])
        wait_until_stopped(begin, container)
        times["delete"] = timed([*begin, "delete", container])
        return times
    except BaseException:
        os.spawnv(os.P_WAIT, binary, [*begin, "delete", "-f", container])
        raise


def wait_until_stopped(begin, container):
    """delete refuses a container that is still dying; how long that takes is the kernel's."""
    for _ in range(200):
        if '"stopped"' in os.popen(" ".join([*begin, "state", container])).read():
            return
        time.sleep(0.01)
    raise RuntimeError(f"{container} does not stop")


def hide_cgroup2():
    """Go into a mount namespace in which the host seems to have cgroup v1 only."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if (libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None)
            or libc.mount(b"/dev/null", HYBRID.encode(), None, MS_BIND, None)):
        raise OSError(ctypes.get_errno(), "hide cgroup2")


class Hidden:
    """A process in a mount namespace without the cgroup2 tree, that makes rounds when asked to."""

    def __init__(self, binary, base):
        ask, self.ask = os.pipe()
        self.answer, answer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.ask)
            try:
                self._serve(binary, base, ask, answer)
            finally:
                os._exit(0)
        os.close(ask)
        os.close(answer)
        self.answer = os.fdopen(self.answer)

    def _serve(self, binary, base, ask, answer):
        hide_cgroup2()
        while name := os.read(ask, 100):
            try:
                reply = one_round(binary, base, name.decode())
            except Exception as err:
                reply = {"error": str(err)}
            os.write(answer, json.dumps(reply).encode() + b"\n")

    def round(self, container):
        os.write(self.ask, container.encode())
        reply = json.loads(self.answer.readline() or '{"error": "helper died"}')
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply

    def close(self):
        os.close(self.ask)
        os.waitpid(self.pid, 0)


def measure(runtimes, rounds, base):
    """{name: {verb: [(seconds, seconds of CPU)]}}; a runtime that fails in the first round is left out, saying why."""
    helpers = {name: Hidden(binary, base) for name, binary in runtimes if name == "crun" and os.path.exists(HYBRID)}
    times = {name: {verb: [] for verb in VERBS} for name, _ in runtimes}
    for number in range(rounds + 1):
        for name, binary in runtimes:
            if name not in times:
                continue
            container = f"bench-{os.getpid()}-{number}"
            try:
                found = helpers[name].round(container) if name in helpers else one_round(binary, base, container)
            except (RuntimeError, OSError) as err:
                if number:
                    raise
                print(f"{name} is left out: {err}", file=sys.stderr)
                del times[name]
                continue
            for verb in VERBS:
                if number:  # round 0 warms the caches
                    times[name][verb].append(found[verb])
    for helper in helpers.values():
        helper.close()
    return times


FIGURES = {
    "wall, median": lambda rows: statistics.median([wall for wall, _ in rows]),
    "wall, least": lambda rows: min(wall for wall, _ in rows),
    "CPU, median": lambda rows: statistics.median([cpu for _, cpu in rows]),
}


def figures(times, of):
    """{name: {verb: milliseconds}}"""
    return {name: {verb: FIGURES[of](rows) * 1000 for verb, rows in by.items()} for name, by in times.items()}


def table(times, of):
    found = figures(times, of)
    reference = next(iter(found.values()))
    lines = [f"{of:13}" + "".join(f"{verb:>15}" for verb in VERBS)]
    for name, by in found.items():
        cells = (f"{by[verb]:.1f} ({by[verb] / reference[verb]:.2f})" for verb in VERBS)
        lines.append(f"{name:13}" + "".join(f"{cell:>15}" for cell in cells))
    return "\n".join(lines) + "\n"


COLOURS = {"pyrunc": "#2b6cb0", "crun": "#a0a0a0", "runc 1.1.5": "#d0b070", "runc new": "#c09050"}


def drawing(times):
    """Medians by the clock as an SVG: a group of bars for each verb, a bar for each runtime."""
    found = figures(times, "wall, median")
    bar, gap, left, top, high = 15, 22, 44, 40, 220
    group = bar * len(found) + gap
    most = max(value for by in found.values() for value in by.values())
    parts = [f'<text x="{left}" y="16">milliseconds from start to end of a command, medians</text>']
    for n, (name, by) in enumerate(found.items()):
        colour = COLOURS.get(name, "#808080")
        parts.append(f'<rect x="{left + 110 * n}" y="23" width="10" height="10" fill="{colour}"/>'
                     f'<text x="{left + 14 + 110 * n}" y="32">{name}</text>')
        for i, verb in enumerate(VERBS):
            height = by[verb] / most * high
            x, y = left + gap / 2 + i * group + n * bar, top + high - height
            parts.append(f'<rect x="{x:.0f}" y="{y:.1f}" width="{bar - 2}" height="{height:.1f}" fill="{colour}"/>'
                         f'<text x="{x + bar / 2 - 1:.0f}" y="{y - 2:.1f}" font-size="7" text-anchor="middle">{by[verb]:.1f}</text>')
    parts += [f'<text x="{left + i * group + group / 2:.0f}" y="{top + high + 15}" text-anchor="middle">{verb}</text>'
              for i, verb in enumerate(VERBS)]
    width, height = left + group * len(VERBS), top + high + 24
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="11">\n'
            f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--json", help="write all times, in seconds, to this file")
    parser.add_argument("--svg", help="draw the medians into this file")
    options = parser.parse_args()
    if os.geteuid():
        sys.exit("bench: must run as root, it makes containers")
    owner = os.stat("/dev/null")
    with tempfile.TemporaryDirectory(prefix="pyrunc-bench-") as directory:
        base = pathlib.Path(directory)
        make_bundles(base)
        try:
            times = measure(find_runtimes(), options.rounds, base)
        finally:
            os.chown("/dev/null", owner.st_uid, owner.st_gid)  # crun 1.8.1 gives it to the container's user
    for of in FIGURES:
        print(table(times, of))
    if options.svg:
        pathlib.Path(options.svg).write_text(drawing(times))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(times))


if __name__ == "__main__":
    main()
