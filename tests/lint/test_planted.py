"""The type checker sees what it is there for: each fault below is planted in a copy of pyrunc, and mypy names its line."""

import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent

# what is wrong: (file, the text as it is, the text with the fault)
FAULTS = {
    "swapped arguments": ("host/hooks.py", "_run_one(kind, index, hook, text, cwd) for", "_run_one(index, kind, hook, text, cwd) for"),
    "swapped arguments of the same C type": ("kernel_bus.py", "lib.k_bus_job(self._bus, encode(job),", "lib.k_bus_job(encode(job), self._bus,"),
    "an argument too few": ("host/idmap.py", '_put(pid, "setgroups", setgroups)', '_put(pid, setgroups)'),
    "an argument too many": ("host/console.py", "kernel_tty.raw(tty)", "kernel_tty.raw(tty, master)"),
    "a misspelt keyword": ("host/systemd.py", "pointer=POINTER, errno=err.errno) from None\n    try:", "pointer=POINTER, errnum=err.errno) from None\n    try:"),
    "a misspelt key": ("host/hooks.py", 'state["bundle"] = shown(bundle)', 'state["bundel"] = shown(bundle)'),
    "a misspelt key that is read": ("host/seccomp_agent.py", '= process["metadata"]', '= process["metdata"]'),
    "a value of another type under a key": ("host/hooks.py", 'state["pid"] = pid', 'state["pid"] = str(pid)'),
    "a misspelt attribute": ("host/systemd.py", "if err.name != NO_OWNER", "if err.nmae != NO_OWNER"),
    "a misspelt field of a C struct": ("kernel_hook.py", "return report.wstatus, ret", "return report.wstat, ret"),
    "a misspelt method": ("host/notify.py", "self._ready(posix.getpid())", "self._raedy(posix.getpid())"),
    "a misspelt function of a module": ("host/netdev.py", "kernel_net.rtnetlink(self.netns)", "kernel_net.rtnetlnik(self.netns)"),
    "a misspelt function in C": ("kernel.py", "lib.k_umount(fd)", "lib.k_unmount(fd)"),
    "a misspelt type in C": ("kernel_tty.py", 'ffi.new("int[3]")', 'ffi.new("int[4]")'),
    "another type in C": ("kernel.py", "lib.k_mount_ids(fd, ids)", "lib.k_mount_ids(ids, fd)"),
    "an object for a descriptor": ("host/seccomp_agent.py", "        posix.close(notify_fd)", "        posix.close(process)"),
    "an object for a descriptor of a kernel call": ("host/notify.py", "poll.register(ours, select.POLLIN)", "poll.register(Address, select.POLLIN)"),
    "a descriptor for an object": ("host/notify.py", "_barrier(self._host)", "_barrier(self._host.fileno())"),
    "text for bytes": ("host/notify.py", 'b"MAINPID=%d\\n" % pid', '"MAINPID=%d\\n" % pid'),
    "bytes for text": ("host/pidfile.py", "_create(beside, dirfd)", "_create(beside.encode(), dirfd)"),
    "None that is not looked at": ("host/executable.py", "return _of(rootfd, head, number)", "return _of(rootfd, _head(rootfd, path), number)"),
    "None returned": ("host/files.py", "    return file\n", "    return None\n"),
    "a result that is not returned": ("host/sources.py", "def _link(path: str) -> str:\n    try:\n        return posix", "def _link(path: str) -> str:\n    try:\n        posix"),
    "a row of another length": ("host/hostmounts.py", "own, other = kernel.mount_ids(fd)", "own, other, more = kernel.mount_ids(fd)"),
    "things of different types compared": ("host/hostmounts.py", "        return own == number\n", "        return own == point\n"),
    "a method that is not called": ("host/rdt.py", "        if not made:\n", "        if not self.exists:\n"),
    "a name that nobody gives": ("host/init.py", "from .. import kernel_seccomp", "from ..kernel_seccomp import syscall_nmae"),
}


def test_the_checker_finds_every_fault_that_is_planted(tmp_path):
    package = tmp_path / "pyrunc"
    shutil.copytree(REPOSITORY / "pyrunc", package, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    lines = {}
    texts = {file: (package / file).read_text() for file, _, _ in FAULTS.values()}
    for what, (file, right, wrong) in FAULTS.items():
        assert texts[file].count(right) == 1 and right.count("\n") == wrong.count("\n"), f"{what}: {file} has not once {right!r}"
        first = texts[file].count("\n", 0, texts[file].index(right)) + 1
        lines[what] = {f"pyrunc/{file}:{first + offset}:" for offset in range(right.rstrip("\n").count("\n") + 1)}
        texts[file] = texts[file].replace(right, wrong)
    for file, text in texts.items():
        (package / file).write_text(text)
    done = subprocess.run([sys.executable, "-m", "mypy", "--cache-dir=/dev/null", f"--config-file={REPOSITORY}/pyproject.toml", "pyrunc"],
                          cwd=tmp_path, capture_output=True, text=True, check=False)
    found = {line.partition(" ")[0] for line in done.stdout.splitlines() if ": error: " in line}
    assert [what for what, places in lines.items() if not places & found] == [], done.stdout + done.stderr
