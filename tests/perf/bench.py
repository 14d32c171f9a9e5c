"""How long each verb takes, for pyrunc, runc and crun: `make bench`, or `bench.py [--rounds N]`.

Each round gives every verb to every runtime before the next verb's turn, another runtime first each time, so that the noise of the
machine falls on all alike. Timed is posix_spawn to wait4, by the clock and by the CPU time of the process and of those it waited for.

Tables of milliseconds, with the ratio to the first runtime: the median, and the least by the clock, which noise cannot have made.
Then what pyrunc takes of each peer's time: the median of the ratios within each round, for a machine's speed may jump between
rounds, and between which bounds that median lies with 95 % confidence. "exec loop" is one of ten in a row in the same container.
Last, of fewer rounds, the peak resident size of the largest process and the page faults of all of them (`--memory N`).
--svg draws the medians.

PYRUNC and RUNC_NEW name the binaries to measure (default build/venv/bin/pyrunc and build/bin/runc-1.5.2). crun refuses a host with both
cgroup versions: there it is measured in a mount namespace in which cgroup2 is hidden. Entering that is not timed.
"""

import argparse
import contextlib
import ctypes
import json
import math
import os
import pathlib
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HYBRID = "/sys/fs/cgroup/unified/cgroup.controllers"
CLONE_NEWNS, MS_BIND, MS_REC_PRIVATE = 0x20000, 4096, 16384 | (1 << 18)
VERBS = ("run", "create", "state", "start", "exec", "exec loop", "kill", "delete")
LOOP = 10
DEVNULL = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
LIBC = ctypes.CDLL(None, use_errno=True)


class Runtime(NamedTuple):
    name: str
    binary: str
    view: int | None  # the mount namespace that it is measured in, if not ours


def find_runtimes():
    """Those that are here, the reference first."""
    known = [
        ("runc", shutil.which("runc", path=PATH)),
        ("pyrunc", os.environ.get("PYRUNC") or str(ROOT / "build/venv/bin/pyrunc")),
        ("runc", os.environ.get("RUNC_NEW") or str(ROOT / "build/bin/runc-1.5.2")),
        ("crun", shutil.which("crun", path=PATH)),
    ]
    return [Runtime(name if name == "pyrunc" else f"{name} {version(binary)}", binary, view_of(name))
            for name, binary in known if binary and os.access(binary, os.X_OK)]


def version(binary):
    told = subprocess.run([binary, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return re.search(r"\d+(\.\d+)*", told).group()


# --- mount namespaces


def view_of(name):
    return namespace(hide_cgroup2) if name == "crun" and os.path.exists(HYBRID) else None


def namespace(prepare):
    """The descriptor of a mount namespace that a child makes, by calling `prepare`."""
    child = os.fork()
    if child == 0:
        try:
            prepare()
            os.kill(os.getpid(), signal.SIGSTOP)
        finally:
            os._exit(1)
    if not os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1]):
        raise OSError("no mount namespace")
    found = os.open(f"/proc/{child}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return found


def private():
    """Go into a mount namespace of our own."""
    checked(LIBC.unshare(CLONE_NEWNS), "unshare")
    checked(LIBC.mount(b"none", b"/", None, MS_REC_PRIVATE, None), "mount")


def hide_cgroup2():
    """Go into a mount namespace in which the host seems to have cgroup v1 only."""
    private()
    checked(LIBC.mount(b"/dev/null", HYBRID.encode(), None, MS_BIND, None), "hide cgroup2")


def checked(result, what):
    if result:
        raise OSError(ctypes.get_errno(), what)


@contextlib.contextmanager
def inside(view):
    """In that mount namespace, unless it is None."""
    if view is None:
        yield
        return
    ours, here = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC), os.getcwd()
    checked(LIBC.setns(view, CLONE_NEWNS), "setns")
    try:
        yield
    finally:
        checked(LIBC.setns(ours, CLONE_NEWNS), "setns")
        os.close(ours)
        os.chdir(here)


# --- bundles


def make_bundle(bundle, config):
    """A bundle of busybox."""
    (bundle / "rootfs/bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", bundle / "rootfs/bin/busybox")
    for applet in ("true", "sleep"):
        (bundle / "rootfs/bin" / applet).symlink_to("busybox")
    (bundle / "config.json").write_text(json.dumps(config))


def config(args, group="/pyrunc-bench"):
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
            "cgroupsPath": group,  # not below the group that this program happens to run in
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


# --- measures of a command: each returns a tuple of numbers


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


def sized(argv):
    """(KiB of the largest process at its largest, page faults).

    A process inherits the peak of the one it is spawned from, which busybox keeps small; busybox takes the KiB of getrusage(2) for pages.
    """
    with tempfile.NamedTemporaryFile("r") as report:
        timed(["/bin/busybox", "time", "-o", report.name, "-f", "%M %R %F", *argv])
        peak, minor, major = map(int, report.read().split())
    return peak * 1024 // os.sysconf("SC_PAGESIZE"), minor + major


# --- rounds


class Container:
    """What a runtime makes in a round: one container that only runs, then one by each verb."""

    def __init__(self, name, runtime, base, change=lambda config: None):
        self.name, self.runtime, self.base = name, runtime, base
        self.begin = [runtime.binary, "--root", str(base / "state")]
        for bundle, args in (("short", ["true"]), ("long", ["sleep", "600"])):
            made = config(args, f"/{base.name}")
            change(made)
            make_bundle(base / bundle, made)
        id, short, long, pid = base.name, str(base / "short"), str(base / "long"), str(base / "pid")
        self.words = {
            "run": ["run", "-b", short, id], "create": ["create", "-b", long, "--pid-file", pid, id],
            "exec": ["exec", id, "/bin/true"], "exec loop": ["exec", id, "/bin/true"], "kill": ["kill", id, "KILL"],
            **{verb: [verb, id] for verb in ("state", "start", "delete")}, "list": ["list"], "undo": ["delete", "-f", id],
        }

    def step(self, verb, measure):
        """A tuple of what `measure` tells of one command."""
        process = os.pidfd_open(int((self.base / "pid").read_text())) if verb == "kill" else None
        with inside(self.runtime.view):
            found = [measure([*self.begin, *self.words[verb]]) for _ in range(LOOP if verb == "exec loop" else 1)]
        if process is not None:  # delete refuses a container that is still dying; how long that takes is the kernel's
            ended, _, _ = select.select([process], [], [], 10)
            os.close(process)
            if not ended:
                raise RuntimeError(f"{self.name}: the container does not end")
        return tuple(sum(column) / len(found) for column in zip(*found, strict=True))


def one_round(containers, measure, verbs=VERBS):
    """{name of a container: {verb: what `measure` tells}}; whatever fails, the containers are gone afterwards."""
    found = {container.name: {} for container in containers}
    try:
        for verb in verbs:
            for container in containers:
                found[container.name][verb] = container.step(verb, measure)
        return found
    except BaseException:
        for container in containers:
            with contextlib.suppress(RuntimeError):
                container.step("undo", timed)
        raise


def usable(containers, verbs=VERBS):
    """Those whose runtime gets through a round, which warms the caches as well; why the others do not is said."""
    good = []
    for container in containers:
        try:
            one_round([container], timed, verbs)
            good.append(container)
        except (RuntimeError, OSError) as err:
            print(f"{container.name} is left out: {err}", file=sys.stderr)
    return good


def measure_all(containers, rounds, measure, verbs=VERBS):
    """{name: {verb: [what `measure` tells, of each round]}}"""
    told = {container.name: {verb: [] for verb in verbs} for container in containers}
    for number in range(rounds):
        turn = number % len(containers)
        for name, by in one_round(containers[turn:] + containers[:turn], measure, verbs).items():
            for verb, numbers in by.items():
                told[name][verb].append(numbers)
    return told


# --- what is printed

TIMES = {
    "wall, median": lambda rows: statistics.median([wall for wall, _ in rows]) * 1000,
    "wall, least": lambda rows: min(wall for wall, _ in rows) * 1000,
    "CPU, median": lambda rows: statistics.median([cpu for _, cpu in rows]) * 1000,
}
SIZES = {
    "peak MB": lambda rows: statistics.median([peak for peak, _ in rows]) / 1024,
    "page faults": lambda rows: statistics.median([faults for _, faults in rows]),
}


def host():
    """One line about where this was measured."""
    name = os.uname()
    groups = "both cgroup versions" if os.path.exists(HYBRID) else (
        "cgroup v2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "cgroup v1")
    model = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    return (f"Linux {name.release}, {groups}, {os.cpu_count()} CPUs ({model.group(1) if model else name.machine}), "
            f"load {os.getloadavg()[0]:.1f}")


def table(title, told, cell, names=None):
    """A line for each runtime, a column for each verb."""
    lines = [f"{title:14}" + "".join(f"{verb:>18}" for verb in VERBS)]
    lines += [f"{name:14}" + "".join(f"{cell(name, verb):>18}" for verb in VERBS) for name in names or told]
    return "\n".join(lines) + "\n"


def medians(title, told, of, digits=1):
    """Beside each number its ratio to the first runtime's."""
    numbers = {name: {verb: of(rows) for verb, rows in by.items()} for name, by in told.items()}
    first = next(iter(numbers.values()))
    return table(title, told, lambda name, verb: f"{numbers[name][verb]:.{digits}f} ({numbers[name][verb] / first[verb]:.2f})")


def ratio(rows, others, column):
    """The median of the ratios within the rounds, and its 95 % confidence interval, which assumes nothing of how they are spread."""
    ratios = sorted(row[column] / other[column] for row, other in zip(rows, others, strict=False) if other[column])
    reach = 0.98 * len(ratios) ** 0.5  # so many places around the middle: the binomial distribution's 1.96 standard deviations
    middle = (len(ratios) - 1) / 2
    low, high = ratios[max(0, math.floor(middle - reach))], ratios[min(len(ratios) - 1, math.ceil(middle + reach))]
    return statistics.median(ratios), low, high


def ratios(title, told, column):
    def cell(name, verb):
        middle, low, high = ratio(told["pyrunc"][verb], told[name][verb], column)
        return f"{middle:.2f} {low:.2f}-{high:.2f}"
    return table(title, told, cell, [name for name in told if name != "pyrunc"])


# --- what is drawn

COLOURS = ("#1d4f91", "#e08e45", "#a9b4c2", "#6f7d8c")  # of pyrunc, crun and the others


def drawing(told, subtitle):
    """Medians by the clock as an SVG: a group of bars for each verb, a bar for each runtime. It brings its own background."""
    values = {name: {verb: TIMES["wall, median"](rows) for verb, rows in told[name].items()}
              for name in sorted(told, key=lambda name: (name != "pyrunc", name))}
    bar, gap, left, top, high = 22, 22, 40, 80, 220
    group, bottom = bar * len(values) + gap, top + high
    width = left + group * len(VERBS) + 10
    most = max(value for by in values.values() for value in by.values())
    line = next(line for line in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if most / line <= 8)
    scale = high / most
    parts = [f'<text x="{left}" y="22" font-size="14" font-weight="bold">Milliseconds from start to end of a command, medians</text>',
             f'<text x="{left}" y="38" fill="#666">{subtitle}</text>']
    for height in range(0, int(most) + 1, line):
        y = bottom - height * scale
        parts.append(f'<path d="M{left} {y:.1f}H{width - 10}" stroke="#{"888" if height == 0 else "e4e4e4"}"/>'
                     f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#666">{height}</text>')
    for n, ((name, by), colour) in enumerate(zip(values.items(), COLOURS, strict=False)):
        parts.append(f'<rect x="{left + 110 * n}" y="47" width="11" height="11" fill="{colour}"/>'
                     f'<text x="{left + 16 + 110 * n}" y="57">{name}</text>')
        for i, verb in enumerate(VERBS):
            x, height = left + gap / 2 + i * group + n * bar, by[verb] * scale
            parts.append(f'<rect x="{x + 1:.0f}" y="{bottom - height:.1f}" width="{bar - 2}" height="{height:.1f}" fill="{colour}"/>'
                         f'<text x="{x + bar / 2:.0f}" y="{bottom - height - 3:.1f}" font-size="9" text-anchor="middle">{by[verb]:.1f}</text>')
    parts += [f'<text x="{left + i * group + group / 2:.0f}" y="{bottom + 18}" font-size="13" text-anchor="middle">{verb}</text>'
              for i, verb in enumerate(VERBS)]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom + 28}" width="{width}" height="{bottom + 28}" '
            f'font-family="sans-serif" font-size="11" fill="#222">\n<rect width="100%" height="100%" rx="6" fill="#fff"/>\n'
            + "\n".join(parts) + "\n</svg>\n")


@contextlib.contextmanager
def place(name, where=None):
    """A directory for bundles and state. Only root gets one, and /dev/null is root's again afterwards: crun 1.8.1 gives it away."""
    if os.geteuid():
        sys.exit(f"{name}: must run as root, it makes containers")
    owner = os.stat("/dev/null")
    try:
        with tempfile.TemporaryDirectory(prefix=f"pyrunc-{name}-", dir=where) as directory:
            yield pathlib.Path(directory)
    finally:
        os.chown("/dev/null", owner.st_uid, owner.st_gid)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--memory", type=int, default=5, help="rounds in which memory is measured")
    parser.add_argument("--json", help="write all numbers to this file: seconds, KiB, faults")
    parser.add_argument("--svg", help="draw the medians into this file")
    options = parser.parse_args()
    where = host()
    with place("bench") as base:
        containers = usable([Container(runtime.name, runtime, base / f"{base.name}-{i}") for i, runtime in enumerate(find_runtimes())])
        times = measure_all(containers, options.rounds, timed)
        sizes = measure_all(containers, options.memory, sized)
    print(f"{where}; {options.rounds} rounds\n")
    for title, of in TIMES.items():
        print(medians(title, times, of))
    for column, title in enumerate(("wall, part of", "CPU, part of")):
        print(ratios(title, times, column))
    for title, of in SIZES.items():
        print(medians(title, sizes, of))
    for container in containers:
        print(f"{container.name:14}{os.stat(container.runtime.binary).st_size / 1e6:.1f} MB of file")
    if options.svg:
        pathlib.Path(options.svg).write_text(drawing(times, f"{where.split(', load')[0]}; {options.rounds} rounds"))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"host": where, "times": times, "sizes": sizes}))


if __name__ == "__main__":
    main()
