"""strace, parsed, and the rule that the container's side resolves no path outside a slot (docs/security.md, "Oracles").

The container's side is every process from the execveat of the sealed memfd on, with its children, up to execve of a
program. `breaches()` names each syscall there that resolves a path in another way than these:

* relative to an explicit descriptor: openat2 with RESOLVE_IN_ROOT or RESOLVE_BENEATH, or a call on one component that
  does not follow it if it is a symlink (mkdirat, mknodat; openat with O_NOFOLLOW; not fchmodat, which always does);
* on nothing but a descriptor (AT_EMPTY_PATH and the like);
* "/" itself after and around pivot_root: chdir, open, mount for propagation; and "." for pivot_root and umount2.
"""

import re
import shutil

import pytest

LINE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+|\?|0x[0-9a-f]+)(.*)")
UNFINISHED = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>")
RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')

# Which arguments are paths, by position; a pair (descriptor, path) for the *at family.
PATHS = {
    "open": [(None, 0)], "creat": [(None, 0)], "stat": [(None, 0)], "lstat": [(None, 0)], "access": [(None, 0)],
    "chdir": [(None, 0)], "mkdir": [(None, 0)], "rmdir": [(None, 0)], "unlink": [(None, 0)], "readlink": [(None, 0)],
    "chmod": [(None, 0)], "chown": [(None, 0)], "lchown": [(None, 0)], "mknod": [(None, 0)], "umount2": [(None, 0)],
    "chroot": [(None, 0)], "statfs": [(None, 0)], "truncate": [(None, 0)], "symlink": [(None, 1)],
    "rename": [(None, 0), (None, 1)], "link": [(None, 0), (None, 1)], "mount": [(None, 1)],
    "pivot_root": [(None, 0), (None, 1)], "setxattr": [(None, 0)], "lsetxattr": [(None, 0)], "getxattr": [(None, 0)],
    "openat": [(0, 1)], "openat2": [(0, 1)], "newfstatat": [(0, 1)], "faccessat": [(0, 1)], "faccessat2": [(0, 1)],
    "mkdirat": [(0, 1)], "mknodat": [(0, 1)], "unlinkat": [(0, 1)], "readlinkat": [(0, 1)], "fchmodat": [(0, 1)],
    "fchmodat2": [(0, 1)], "fchownat": [(0, 1)], "statx": [(0, 1)], "symlinkat": [(1, 2)], "utimensat": [(0, 1)],
    "linkat": [(0, 1), (2, 3)], "renameat": [(0, 1), (2, 3)], "renameat2": [(0, 1), (2, 3)], "open_tree": [(0, 1)],
    "move_mount": [(0, 1), (2, 3)], "mount_setattr": [(0, 1)], "fspick": [(0, 1)], "name_to_handle_at": [(0, 1)],
    "fsconfig": [], "execveat": [], "execve": [],
}
ROOT_ITSELF = {"chdir", "open", "openat", "openat2", "mount", "mount_setattr", "chroot"}
NEVER_FOLLOW = {"mkdirat", "mknodat", "symlinkat", "unlinkat", "readlinkat", "renameat", "renameat2"}
HERE = {"pivot_root", "umount2", "chroot", "chdir"}


class Call:
    """One syscall: pid, name, arguments as text, result."""

    def __init__(self, pid, name, text, result):
        self.pid, self.name, self.text, self.result = int(pid), name, text, result
        self.args = split(text)

    def __repr__(self):
        return f"{self.pid} {self.name}({self.text}) = {self.result}"

    @property
    def ok(self):
        return not self.result.startswith("-")


def split(text):
    """The arguments of one strace line; commas in strings, brackets and <...> do not count."""
    args, depth, current, quoted, escaped = [], 0, "", False, False
    for char in text:
        if quoted:
            current += char
            quoted, escaped = (quoted if char != '"' or escaped else False), char == "\\" and not escaped
            continue
        if char == '"':
            quoted = True
        elif char in "([{<":
            depth += 1
        elif char in ")]}" or char == ">" and not current.endswith("-"):
            depth -= 1
        if char == "," and depth == 0:
            args.append(current.strip())
            current = ""
        else:
            current += char
    return [*args, current.strip()]


def parse(text):
    """The calls of an strace -f log in the order they finished."""
    calls, pending = [], {}
    for line in text.splitlines():
        if match := UNFINISHED.match(line):
            pending[match[1]] = match[3]
        elif match := RESUMED.match(line):
            line = f"{match[1]} {match[2]}({pending.pop(match[1], '')}{match[3]}"
        if match := LINE.match(line):
            calls.append(Call(*match.groups()[:4]))
    return calls


def trace(rt, *args, calls=None, **how):
    """Run the runtime with `args` under strace -f; (Result, calls)."""
    strace = shutil.which("strace") or pytest.skip("strace is not installed")
    log = rt.base / "strace"
    only = ("-e", f"trace={calls}") if calls else ()
    result = rt.call(*args, wrap=(strace, "-f", "-y", "-qq", "-s", "4096", "-o", log, *only), timeout=120, **how)
    return result, parse(log.read_text(errors="replace"))


def container_side(calls):
    """Calls made by init and its children, from its execveat out of the memfd to the execve of a program."""
    inside, found = set(), []
    for call in calls:
        if call.name in ("execveat", "execve") and call.ok:
            if call.name == "execveat" and "/memfd:" in call.args[0]:
                inside.add(call.pid)
            elif call.pid in inside:
                inside.discard(call.pid)
                found.append(call)
        elif call.pid in inside:
            found.append(call)
            if call.name in ("clone", "clone3", "fork", "vfork") and call.result.isdigit():
                inside.add(int(call.result))
    return found


def breaches(calls):
    """The calls of the container's side that resolve a path outside a slot."""
    return [call for call in calls if call.name in PATHS
            and not all(_harmless(call, *where) for where in PATHS[call.name])]


def _harmless(call, dirfd, position):
    match = STRING.search(call.args[position]) if len(call.args) > position else None
    if match is None:                   # NULL, or an address: nothing to resolve
        return True
    path, fd = match[1], call.args[dirfd] if dirfd is not None else "AT_FDCWD"
    if path == "":
        return not fd.startswith("AT_FDCWD")
    if path == "/" and call.name in ROOT_ITSELF:
        return True
    if path == "." and call.name in HERE:
        return True
    if fd.startswith("AT_FDCWD"):
        return False
    if call.name == "openat2" and ("RESOLVE_IN_ROOT" in call.text or "RESOLVE_BENEATH" in call.text):
        return True
    if "/" in path or path == "..":
        return False
    return path == "." or call.name in NEVER_FOLLOW or "NOFOLLOW" in call.text
