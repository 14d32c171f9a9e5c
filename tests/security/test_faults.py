"""Every syscall of a life may fail, and every one may be the last: nothing is left, or `delete -f` removes it.

strace injects the failure (or a SIGKILL) at the n-th call of a kind, for n = 1, 2, ... until there is no n-th: for `run` of a
process that ends at once in every process there is, for `create` in the runtime itself (strace would wait for init). So each SYNC
and each action of the host fails, and the runtime is killed at any instant, without a list of what these actions are.
"""

import os
import shutil

import pytest
from kit.bundle import add_mounts, bind, mount, userns
from kit.rootless import User, UserRuntime

known_bad = pytest.mark.runc_known_bad
MOST = int(os.environ.get("PYRUNC_FAULTS", 0))  # of one kind; 0: the first few, and then one in five
EARLY, FAR = 3, 60
SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
QUICK = {"process": {"args": ["/bin/true"]}}

# What a create does after start-up, by kind. Not the ones undoing needs: a runtime cannot remove what rmdir refuses.
FALLIBLE = ["mkdir", "mkdirat", "mknod", "mknodat", "rename", "renameat2", "flock", "memfd_create", "socketpair", "clone3", "execveat",
            "open_tree", "move_mount", "mount_setattr", "fsopen", "fsconfig", "fsmount", "openat2", "fstatfs", "statx", "pivot_root",
            "umount2", "chdir", "fchdir", "setsid", "keyctl", "sethostname", "symlinkat", "fchownat", "fchmodat", "readlinkat", "setgroups",
            "setresuid", "setresgid", "capset", "getcwd", "prlimit64", "faccessat2", "close_range", "dup3", "bpf",
            "unshare", "setns", "umask", "sched_setaffinity", "fchown", "pidfd_open", "ioctl", "fcntl"]
MORTAL = ["mkdir", "flock", "rename", "memfd_create", "clone3", "execveat", "open_tree", "move_mount", "pivot_root", "mknodat", "openat2",
          "setresuid", "capset", "bpf", "write", "read", "close", "rmdir", "unlink", "prlimit64", "sendmsg", "recvmsg"]


def injected(rt, what, *args, **how):
    """Run the runtime with one injection; (Result, whether it took place)."""
    strace = shutil.which("strace") or pytest.skip("strace is not installed")
    log = rt.base / "inject"
    kind = what.split(":")[0]
    follow = ("-f",) if args[0] != "create" else ()
    result = rt.call(*args, wrap=(strace, *follow, "-qq", "-o", log, "-e", f"trace={kind}", "-e", f"inject={what}"), timeout=60, **how)
    text = log.read_text(errors="replace")
    return result, "(INJECTED)" in text or "killed by SIGKILL" in text


def nothing_left(rt, after, result):
    try:
        rt.assert_nothing_left()
    except AssertionError as found:
        raise AssertionError(f"{after}: {found}\n{result!r}") from None


def numbers():
    """Which calls of a kind: all, or a sample that another kind complements."""
    return range(1, MOST + 1) if MOST else [*range(1, EARLY + 1), *range(EARLY + 2, FAR, 5)]


def shape(rt):
    """A bundle with a bit of everything that can fail."""
    source = rt.base / "source"
    source.mkdir(exist_ok=True)
    return [QUICK, add_mounts(bind(source, "/mnt", "ro"), mount("/tmp", "tmpfs", "tmpfs"))]


@known_bad("is a Go program: other calls, other failures")
@pytest.mark.parametrize("verb", ["create", "run"])
@pytest.mark.parametrize("kind", FALLIBLE)
def test_it_fails_cleanly_or_works_whichever_call_of_a_kind_fails(rt, host, verb, kind):
    bundle = rt.bundle(*shape(rt))
    for n in numbers():
        container = rt.container(bundle=bundle)
        result, happened = injected(rt, f"{kind}:error=EIO:when={n}", verb, "--bundle", bundle.path, container.id)
        assert "Traceback" not in result.err and "internal error" not in result.err, (n, result)
        if result.code:
            assert result.err.strip(), (n, result)
        elif verb == "create":
            container.start().ok()
            container.wait_stopped()
            container.delete().ok()
        nothing_left(rt, f"{kind} number {n} failing", result)
        if not happened:
            break


@known_bad("leaves an init behind when it dies early")
@pytest.mark.parametrize("verb", ["create", "run"])
@pytest.mark.parametrize("kind", MORTAL)
def test_delete_removes_all_whichever_call_is_the_last(rt, host, verb, kind):
    """The SIGKILL hits whatever process makes the call: the runtime, or init."""
    bundle = rt.bundle(*shape(rt))
    for n in numbers():
        container = rt.container(bundle=bundle)
        result, happened = injected(rt, f"{kind}:signal=KILL:when={n}", verb, "--bundle", bundle.path, container.id)
        assert "Traceback" not in result.err, (n, result)
        deleted = container.delete("-f").ok()
        assert deleted.err == "", (n, deleted)
        nothing_left(rt, f"killed at {kind} number {n}", result)
        if not happened:
            break


@pytest.fixture
def users(pyrunc):
    """The runtime as an ordinary user calls it: the user maps only the user's own id, for a traced newuidmap has no privilege."""
    account = User()
    runtime = UserRuntime(pyrunc, account)
    yield runtime
    runtime.close()
    account.close()


@known_bad("is a Go program: other calls, other failures")
@pytest.mark.parametrize("how", ["error=EIO", "error=EPERM", "signal=KILL"])
@pytest.mark.parametrize("kind", ["unshare", "clone3", "setresuid", "open_tree", "mount_setattr", "fsopen", "move_mount", "write", "pivot_root",
                                  "mkdir", "execveat"])
def test_a_users_container_too_leaves_nothing(users, kind, how):
    source = users.base / "source"
    source.mkdir()
    patches = add_mounts(bind(source, "/mnt", "ro")), lambda config: config["linux"]["namespaces"].append({"type": "time"}), \
        {"linux": {"timeOffsets": {"boottime": {"secs": 5}}}}
    bundle = users.bundle(QUICK, *patches)
    for n in [1, 2, 3, *range(7, FAR, 13)]:
        container = users.container(bundle=bundle)
        result, happened = injected(users, f"{kind}:{how}:when={n}", "run", "--bundle", bundle.path, container.id)
        assert "Traceback" not in result.err and "internal error" not in result.err, (n, result)
        if how == "signal=KILL":
            assert container.delete("-f").ok().err == ""
        elif result.code:
            assert result.err.strip(), (n, result)
        nothing_left(users, f"{kind} number {n}: {how}", result)
        if not happened:
            break


@known_bad("leaves a stopped container to delete")
@pytest.mark.parametrize("verb", ["start", "kill", "delete", "exec"])
@pytest.mark.parametrize("kind", ["flock", "write", "read", "unlink", "rmdir", "kill", "pidfd_send_signal", "clone3", "setns", "poll"])
def test_a_verb_that_dies_half_way_leaves_what_delete_removes(rt, host, verb, kind):
    bundle = rt.bundle(SLEEP)
    for n in range(1, 7):
        container = rt.container(bundle=bundle)
        container.create().ok()
        if verb != "start":
            container.start().ok()
        args = {"start": (), "kill": ("KILL",), "delete": (), "exec": ("/bin/true",)}[verb]
        options = ("--force",) if verb == "delete" else ()
        result, happened = injected(rt, f"{kind}:signal=KILL:when={n}", verb, *options, container.id, *args)
        assert "Traceback" not in result.err, (n, result)
        container.delete("-f").ok()
        nothing_left(rt, f"{verb} killed at {kind} number {n}", result)
        if not happened:
            break


@known_bad("1.1 has other calls")
@pytest.mark.parametrize("kind", ["setns", "clone3", "execveat", "openat2", "setresuid", "capset", "memfd_create", "chdir", "fchdir", "fsopen"])
def test_exec_fails_cleanly_whichever_call_fails_and_the_container_lives_on(rt, kind):
    container = rt.container(userns(), SLEEP).up()
    for n in range(1, 7):
        result, happened = injected(rt, f"{kind}:error=EIO:when={n}", "exec", container.id, "/bin/true")
        assert result.code in (0, 255) and "Traceback" not in result.err and "internal error" not in result.err, (n, result)
        assert container.status == "running"
        assert len(rt.call("ps", "-f", "json", container.id).ok().json()) == 1, (n, result)
        if not happened:
            break
