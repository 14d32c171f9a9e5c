"""What must not make a verb slow: `make growth`, or `growth.py [--rounds N]`.

Each case changes one thing of the containers that bench.py makes. All runtimes and all cases take turns, verb by verb. Printed are
medians by the clock and of the CPU time, in milliseconds, with the ratio to the same runtime's plain case.

PYRUNC and RUNC_NEW name the binaries, as for bench.py, which also says what is done for crun on hosts with both cgroup versions.
"""

import argparse
import os
import pathlib
import re
import resource
import shutil
import subprocess

import bench
import mounts

VERBS = ("run", "create", "state", "list", "undo")
SHOWN = VERBS[:-1]
DIRECTORIES, HOST_MOUNTS, MOUNTS, SIZE = 1000, 2000, 1000, 5_000_000


class Case(bench.Container):
    """The plain one: what bench.py makes, in an empty state root. `base` is also where a case may leave what it needs."""

    title = "plain"

    def __init__(self, runtime, base):
        base.mkdir()
        self.base = base
        runtime = runtime._replace(view=self.view(runtime))
        super().__init__((self.title, runtime.name), runtime, base, self.change)

    def view(self, runtime):
        return runtime.view

    def change(self, config):
        pass

    def open(self):
        pass

    def close(self):
        pass


class ManyContainers(Case):
    """Copies of the state directory of one that runs."""

    title = f"{DIRECTORIES:,} state directories"
    model = "copy-0000"

    def open(self):
        bench.make_bundle(self.base / "model", bench.config(["sleep", "3600"], f"/{self.base.name}-model"))
        self.command("run", "-d", "-b", str(self.base / "model"), self.model)
        for number in range(1, DIRECTORIES):
            self.copy(f"copy-{number:04}")
        with bench.inside(self.runtime.view):
            listed = subprocess.run([*self.begin, "list"], stdout=subprocess.PIPE, text=True, check=True).stdout
        if listed.count("running") != DIRECTORIES:
            raise RuntimeError(f"{self.name}: list does not show the copies")

    def copy(self, id):
        state = self.base / "state"
        (state / id).mkdir(mode=0o700)
        for file in (state / self.model).iterdir():
            if file.is_file():
                (state / id / file.name).write_text(file.read_text().replace(self.model, id))
                (state / id / file.name).chmod(file.stat().st_mode & 0o777)

    def close(self):
        self.command("delete", "-f", self.model)

    def command(self, *words):
        with bench.inside(self.runtime.view):
            bench.timed([*self.begin, *words])


class ManyHostMounts(Case):
    title = f"{HOST_MOUNTS:,} mounts on the host"

    def view(self, runtime):
        def prepare():
            if runtime.view is None:
                bench.private()
            else:
                bench.hide_cgroup2()
            place = self.base / "mounted"
            for number in range(HOST_MOUNTS):
                (place / str(number)).mkdir(parents=True)
                path = os.fsencode(place / str(number))
                bench.checked(bench.LIBC.mount(path, path, None, bench.MS_BIND, None), "mount")

        return bench.namespace(prepare)


class ManyMounts(Case):
    title = f"{MOUNTS:,} binds in the container"

    def change(self, config):
        (self.base / "source").touch()
        config["root"]["readonly"] = False
        mounts.binds_first(config, self.base, MOUNTS)


class Annotations(Case):
    title = f"{SIZE // 1_000_000} MB of annotations"

    def change(self, config):
        config["annotations"] = {f"org.example.{i}": "a" * (SIZE // 1000) for i in range(1000)}


class Environment(Case):
    title = f"{SIZE // 1_000_000} MB of env"

    def change(self, config):
        config["process"]["env"] += [f"V{i}={'e' * (SIZE // 1000)}" for i in range(1000)]  # of 50,000, crun and runc 1.1.5 make 30 s


DENIED = frozenset("""
    acct add_key bpf clock_settime clock_settime64 create_module delete_module fanotify_init finit_module fsconfig fsmount fsopen fspick
    get_kernel_syms init_module ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie mount mount_setattr move_mount
    nfsservctl open_by_handle_at open_tree perf_event_open pivot_root query_module quotactl quotactl_fd reboot request_key setdomainname
    sethostname setns settimeofday stime swapoff swapon sysfs umount umount2 unshare uselib userfaultfd ustat vhangup vm86 vm86old
""".split())
CONDITIONAL = {"socket", "personality", "clone", "clone3"}


class SeccompCached(Case):
    """A profile of the size and shape of Docker's default: all calls but a few dozens are allowed, some for their arguments."""

    title = "a large seccomp profile, cached"

    def change(self, config):
        headers = [path.read_text() for path in pathlib.Path("/usr/include").glob("*-linux-gnu/asm/unistd_*.h")]
        names = set(re.findall(r"#define __NR_(\w+)", "".join(headers))) - DENIED - CONDITIONAL

        def allow(call, op, value, **more):
            return {"names": [call], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": value, "op": f"SCMP_CMP_{op}", **more}]}

        config["linux"]["seccomp"] = {
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [
                {"names": sorted(names), "action": "SCMP_ACT_ALLOW"}, allow("socket", "NE", 40),
                *[allow("personality", "EQ", value) for value in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)],
                allow("clone", "MASKED_EQ", 0x7E020000, valueTwo=0), {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            ],
        }


class SeccompCold(SeccompCached):
    title = "a large seccomp profile, cold"

    def step(self, verb, measure):
        shutil.rmtree(self.base / "state/@seccomp", ignore_errors=True)  # pyrunc's cache; the others have none
        return super().step(verb, measure)


CASES = (Case, ManyContainers, ManyHostMounts, ManyMounts, Annotations, Environment, SeccompCold, SeccompCached)


def row(words):
    return "| " + " | ".join(words) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--cases", default="", help="only those with this in their name")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_STACK, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_STACK)[1]))  # for as much env
    where = bench.host()
    with bench.place("growth") as base:
        cases = [case(runtime, base / f"{base.name}-{i}-{j}") for i, runtime in enumerate(bench.find_runtimes())
                 for j, case in enumerate(CASES) if case is Case or options.cases in case.title]
        try:
            for case in cases:
                case.open()
            told = bench.measure_all(bench.usable(cases, VERBS), options.rounds, bench.timed, VERBS)
        finally:
            for case in cases:
                case.close()
    print(f"{where}; {options.rounds} rounds\n")
    for of in ("wall, median", "CPU, median"):
        print(table(of, told) + "\n")


def table(of, told):
    found = {name: {verb: bench.TIMES[of](rows) for verb, rows in by.items()} for name, by in told.items()}
    lines = [row([of, "", *SHOWN]), "|---" * (2 + len(SHOWN)) + "|"]
    for title, runtime in sorted(found, key=lambda name: [case.title for case in CASES].index(name[0])):
        by, plain = found[title, runtime], found[Case.title, runtime]
        lines.append(row([title, runtime, *(f"{by[verb]:.1f} ({by[verb] / plain[verb]:.1f})" for verb in SHOWN)]))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
