"""A private corner of the host for one program: whatever it and the runtime leave in it vanishes with it.

Own pid, mount and cgroup namespaces, an empty tmpfs on /run (state, and TMPDIR with the bundles), and in every cgroup
hierarchy a group of its own mounted in the place of the whole tree: programs that use the same cgroupsPath can run side
by side, a killed one leaves no process, and the host's groups are not even visible.
"""

import os
import shlex
import subprocess
import tempfile
import time
from pathlib import Path

TOP = "/sys/fs/cgroup"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def hierarchies():
    """The mount points of the cgroup hierarchies."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ", 1)
        point = left.split()[4]
        if right.split()[0] in ("cgroup", "cgroup2") and (point == TOP or point.startswith(f"{TOP}/")):
            found.append(Path(point))
    return found


class Cell:
    """Makes the groups, runs one command in there, removes the groups."""

    def __init__(self, hide_hybrid=False):
        self.token = Path(tempfile.mktemp(prefix="pyrunc-conformance-")).name
        self.hierarchies = hierarchies()
        self.groups = [point / self.token for point in self.hierarchies]
        self.hide = hide_hybrid

    def __enter__(self):
        for group in self.groups:
            group.mkdir()
            for name in ("cpuset.cpus", "cpuset.mems"):
                if (group / name).exists() and (group / "tasks").exists():
                    (group / name).write_text((group.parent / name).read_text())
            if (group / "cgroup.clone_children").exists():
                (group / "cgroup.clone_children").write_text("1")
        return self

    def run(self, argv, cwd, env, timeout):
        """(exit code or None when it took too long, stdout, stderr)."""
        script = "\n".join([*self.mounts(), shlex.join(map(str, argv))])    # not exec: the shell reaps the orphans
        command = ["unshare", "--mount", "--cgroup", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script]
        popen = subprocess.Popen(command, cwd=cwd, env={"PATH": PATH, "TMPDIR": "/run/tmp", **env}, preexec_fn=self.enter,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, err = popen.communicate(timeout=timeout)
            code = popen.returncode
        except subprocess.TimeoutExpired:
            popen.kill()                                                    # --kill-child takes pid 1 in there along
            out, err = popen.communicate()
            code = None
        return code, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")

    def enter(self):
        """In the child: into the groups, which become the roots of its cgroup namespace."""
        for group in self.groups:
            (group / ("tasks" if (group / "tasks").exists() else "cgroup.procs")).write_text("0")

    def mounts(self):
        yield "set -e"
        for point, group in zip(self.hierarchies, self.groups, strict=True):
            yield f"mount --bind {group} {point}"                   # the kernel refuses a second mount of a hierarchy there
        yield "mount -t tmpfs -o mode=755 cell /run; mkdir -m 1777 /run/tmp"
        yield "mknod -m 666 /run/null c 1 3; mount --bind /run/null /dev/null"      # crun 1.8 gives it to the container's user
        if self.hide and os.path.exists(f"{TOP}/unified/cgroup.controllers"):
            yield f"mount --bind /dev/null {TOP}/unified/cgroup.controllers"
        yield "set +e"

    def __exit__(self, *_):
        for group in self.groups:
            remove(group)


def remove(group):
    """rmdir from the leaves; processes of a namespace that is going away need a moment."""
    for directory, _, _ in os.walk(group, topdown=False):
        for attempt in range(100):
            try:
                os.rmdir(directory)
                break
            except OSError:
                if attempt == 99:
                    raise
                time.sleep(0.02)
