"""config.json's process, seen by the process itself, and exec."""

import json
import os
import signal
import time

import pytest
from kit.bundle import Dir, File, Link, caps, namespaces, userns
from kit.observe import cap_mask, status
from kit.observe import caps as caps_of
from kit.runtime import alive, wait_until

known_bad = pytest.mark.runc_known_bad
SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
THREE = cap_mask("AUDIT_WRITE", "KILL", "NET_BIND_SERVICE")


def process(**properties):
    return {"process": properties}


# --- identity

def test_the_container_has_pid_1_in_a_session_of_its_own(rt):
    seen = rt.container().probe()
    assert (seen["pid"], seen["ppid"], seen["sid"], seen["pgid"]) == (1, 0, 1, 1)


def test_uid_gid_and_groups_are_exactly_those_asked_for(rt):
    seen = rt.container(process(user={"uid": 1000, "gid": 2000, "additionalGids": [5, 10, 70000]})).probe()
    assert seen["uids"] == [1000] * 3 and seen["gids"] == [2000] * 3
    assert sorted(seen["groups"]) == [5, 10, 70000]
    assert status(seen)["Groups"].split() == ["5", "10", "70000"]


def test_no_group_of_the_caller_is_inherited(rt):
    wrap = ("setpriv", "--groups", "7,8,9", "--")
    assert rt.container().run(wrap=wrap).ok().json()["groups"] == []


@known_bad("crun alone knows the annotation")
@pytest.mark.parametrize("patch, value, expected", [
    ({}, "1", [7, 8, 9]), ({}, "true", [7, 8, 9]), ({}, "0", [3]), (userns(), "1", [65534] * 3),
    (process(noNewPrivileges=False), "1", [7, 8, 9])], ids=["1", "true", "0", "user namespace", "no no_new_privs"])
def test_the_callers_groups_stay_where_the_annotation_says_so(rt, patch, value, expected):
    """As podman's `--group-add keep-groups` has it, in exec too; groups of the config are not set then."""
    container = rt.container(patch, process(user={"uid": 1000, "gid": 1000, "additionalGids": [3]}),
                             {"annotations": {"run.oci.keep_original_groups": value}})
    wrap = ("setpriv", "--groups", "7,8,9", "--")
    assert container.run(wrap=wrap).ok().json()["groups"] == expected
    up = rt.container(SLEEP, bundle=container.bundle.patch(SLEEP)).up()
    assert up.exec("/bin/probe", wrap=wrap).ok().json()["groups"] == expected


@known_bad("takes ids up to 2^31 only")
def test_the_largest_ids_work(rt):
    top = 2 ** 32 - 2
    seen = rt.container(process(user={"uid": top, "gid": top, "additionalGids": [top]})).probe()
    assert seen["uids"] == [top] * 3 and seen["gids"] == [top] * 3 and seen["groups"] == [top]


@pytest.mark.parametrize("user, expected", [({}, 0o022), ({"umask": 0}, 0), ({"umask": 0o77}, 0o077), ({"umask": 0o777}, 0o777)],
                         ids=["absent", "0", "077", "777"])
def test_the_umask_is_as_asked_and_022_otherwise(rt, user, expected):
    seen = rt.container(process(user=user)).run(preexec=lambda: os.umask(0o027)).ok().json()
    assert seen["umask"] == expected


# --- environment, arguments, working directory

def test_the_environment_is_that_of_the_config_and_nothing_of_the_callers(rt):
    env = ["PATH=/bin", "A=1", "B=two words", "C=", "D==x", "E=ü\n"]
    seen = rt.container(process(env=env)).run(env={"SECRET": "of the caller", "LD_PRELOAD": ""}).ok().json()
    assert [line for line in seen["env"] if not line.startswith("HOME=")] == [
        line.encode().decode("latin-1") for line in env]


@pytest.mark.parametrize("uid, home", [(0, "/root"), (1000, "/home/user"), (77, "/")])
def test_home_comes_from_the_containers_passwd_when_it_is_not_given(rt, uid, home):
    assert f"HOME={home}" in rt.container(process(user={"uid": uid})).probe()["env"]


@pytest.mark.parametrize("env, home", [(["HOME=/x", "HOME="], "/root"), (["HOME=", "HOME=/x"], "/x"), (["HOME="], "/root")])
def test_of_two_homes_the_last_one_wins_and_an_empty_one_is_none(rt, env, home):
    seen = rt.container(process(env=["A=1", *env])).probe()["env"]
    assert [entry for entry in seen if entry.startswith("HOME=")] == [f"HOME={home}"]


def test_home_is_left_alone_when_it_is_given(rt):
    seen = rt.container(process(env=["PATH=/bin", "HOME=/given"])).probe()
    assert [line for line in seen["env"] if line.startswith("HOME=")] == ["HOME=/given"]


@known_bad("a line without fields is taken for uid 0")
@pytest.mark.parametrize("passwd", [None, "", "garbage", "::::::\nroot", "user:x:1000", "x" * 200_000,
                                    "a:x:0:0::/first:\nb:x:0:0::/second:\n"],
                         ids=["missing", "empty", "garbage", "colons", "short line", "one long line", "two"])
def test_a_broken_passwd_gives_some_home_and_no_failure(rt, passwd):
    seen = rt.container(rootfs={"etc/passwd": passwd}).probe()
    homes = [line for line in seen["env"] if line.startswith("HOME=")]
    assert len(homes) == 1 and homes[0] in ("HOME=/", "HOME=/root", "HOME=/first"), homes


def test_of_a_variable_given_twice_the_last_value_wins(rt):
    seen = rt.container({"process": {"args": ["/bin/sh", "-c", "echo $A"], "env": ["PATH=/bin", "A=1", "A=2"]}}).run().ok()
    assert seen.out == "2\n"


def test_arguments_arrive_unchanged(rt):
    args = ["/bin/probe", "", " ", "a\nb", "-x", "--", "ü", "x" * 50_000]
    assert rt.container(process(args=args)).probe()["argv"] == [arg.encode().decode("latin-1") for arg in args]


def test_a_bare_name_is_looked_up_in_the_containers_path(rt):
    container = rt.container(process(args=["tool"], env=["PATH=/none:/opt/bin:/bin"]),
                             rootfs={"opt/bin/tool": File("#!/bin/sh\necho $0\n", 0o755), "bin/tool": File("", 0o755)})
    assert container.run().ok().out == "/opt/bin/tool\n"


def test_the_lookup_skips_directories_and_files_that_are_not_executable(rt):
    container = rt.container(process(args=["tool"], env=["PATH=/one:/two:/three"]),
                             rootfs={"one/tool": Dir(), "two/tool": File("", 0o644),
                                     "three/tool": File("#!/bin/sh\necho three\n", 0o755)})
    assert container.run().ok().out == "three\n"


def test_a_relative_program_is_relative_to_cwd(rt):
    container = rt.container(process(args=["./tool"], cwd="/opt"), rootfs={"opt/tool": File("#!/bin/sh\npwd\n", 0o755)})
    assert container.run().ok().out == "/opt\n"


def test_cwd_is_made_when_it_is_missing(rt):
    container = rt.container(process(cwd="/made/deep/down"))
    assert container.probe()["cwd"] == "/made/deep/down"
    assert (container.rootfs / "made/deep/down").stat().st_mode & 0o777 == 0o755


def test_cwd_is_made_on_a_read_only_root(rt):
    assert rt.container(process(cwd="/made"), {"root": {"readonly": True}}).probe()["cwd"] == "/made"


def test_cwd_may_be_one_only_root_can_enter(rt):
    container = rt.container(process(cwd="/mine", user={"uid": 1000, "gid": 1000}), rootfs={"mine": Dir(0o700)})
    assert container.probe()["cwd"] == "/mine"


def test_cwd_may_be_one_only_the_user_can_enter(rt):
    """Root without DAC_OVERRIDE inside a user namespace cannot, so chdir has to be tried again after setuid."""
    container = rt.container(userns(), process(cwd="/mine", user={"uid": 1000, "gid": 1000}),
                             rootfs={"mine": Dir(0o700, 101000, 101000)})
    assert container.probe()["cwd"] == "/mine"


def test_cwd_may_lie_behind_a_symlink_inside_the_root(rt):
    container = rt.container(process(cwd="/link"), rootfs={"link": Link("/real"), "real": Dir()})
    assert container.probe()["cwd"] == "/real"


# --- capabilities

def test_capabilities_are_the_three_of_the_config_in_three_sets(rt):
    assert caps_of(rt.container().probe()) == {"inh": 0, "prm": THREE, "eff": THREE, "bnd": THREE, "amb": 0}


def test_each_set_is_taken_as_given(rt):
    sets = {"bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_FOWNER"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
            "effective": ["CAP_CHOWN"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]}
    # As uid 0 execve grants permitted = bounding | inheritable; as another user only ambient survives.
    seen = rt.container(process(capabilities=sets, user={"uid": 1000, "gid": 1000})).probe()
    kill = cap_mask("KILL")
    assert caps_of(seen) == {"inh": kill, "prm": kill, "eff": kill, "amb": kill,
                             "bnd": cap_mask("CHOWN", "KILL", "FOWNER")}


def test_an_ordinary_user_has_no_capability_after_execve(rt):
    seen = rt.container(process(user={"uid": 1000, "gid": 1000})).probe()
    assert caps_of(seen) == {"inh": 0, "prm": 0, "eff": 0, "bnd": THREE, "amb": 0}


def test_an_empty_capabilities_object_means_none(rt):
    container = rt.container(lambda config: config["process"].update(capabilities={}))
    assert set(caps_of(container.probe()).values()) == {0}


def test_an_unknown_capability_is_skipped_with_a_warning(rt):
    result = rt.container(caps("CAP_KILL", "CAP_NONSENSE")).run().ok()
    assert caps_of(result.json())["bnd"] == cap_mask("KILL")
    assert [entry for entry in result.log if entry["level"] == "warning" and "CAP_NONSENSE" in entry["msg"]]


@pytest.mark.runc_known_bad("fails")
def test_a_capability_that_the_runtime_itself_has_not_is_left_out_with_a_warning(rt):
    container = rt.container(caps("CAP_CHOWN", "CAP_NET_RAW", ambient=["CAP_NET_RAW"], inheritable=["CAP_NET_RAW"]))
    result = container.run(wrap=("setpriv", "--bounding-set", "-net_raw", "--")).ok()
    assert {name: value for name, value in caps_of(result.json()).items() if value} == dict.fromkeys(
        ("prm", "eff", "bnd"), cap_mask("CHOWN"))
    assert [entry["msg"] for entry in result.log if entry["level"] == "warning"] == [
        "ignoring capabilities that the runtime itself does not have: CAP_NET_RAW"]
    inside = rt.container(caps("CAP_NET_RAW"), userns()).run(wrap=("setpriv", "--bounding-set", "-net_raw", "--")).ok()
    assert caps_of(inside.json())["eff"] == cap_mask("NET_RAW")     # of its own user namespace
    assert inside.log_text == ""


def test_no_new_privileges_is_set_exactly_when_asked(rt):
    assert rt.container(process(noNewPrivileges=True)).probe()["nnp"] == 1
    assert rt.container(process(noNewPrivileges=False)).probe()["nnp"] == 0


# --- limits and scheduling

def test_rlimits_are_exact(rt):
    limits = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
              {"type": "RLIMIT_STACK", "soft": 4 << 20, "hard": 8 << 20}, {"type": "RLIMIT_NPROC", "soft": 500, "hard": 600},
              {"type": "RLIMIT_FSIZE", "soft": 1 << 40, "hard": 1 << 41}]
    seen = rt.container(process(rlimits=limits)).probe()
    for limit in limits:
        assert seen["rlimits"][limit["type"][7:]] == [limit["soft"], limit["hard"]], limit


@known_bad("Go raises its own limit of files")
def test_limits_not_in_the_config_are_those_of_the_caller(rt):
    seen = rt.container(process(rlimits=[])).run(wrap=("prlimit", "--nofile=777:888", "--core=0:5", "--")).ok().json()
    assert seen["rlimits"]["NOFILE"] == [777, 888] and seen["rlimits"]["CORE"] == [0, 5]


def test_a_tiny_address_space_limit_does_not_break_the_set_up(rt):
    seen = rt.container(process(rlimits=[{"type": "RLIMIT_AS", "soft": 32 << 20, "hard": 32 << 20}])).probe()
    assert seen["rlimits"]["AS"] == [32 << 20, 32 << 20]


@known_bad("needs descriptors of its own")
def test_a_limit_of_few_files_does_not_break_the_set_up(rt):
    seen = rt.container(process(rlimits=[{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 5}])).probe()
    assert seen["rlimits"]["NOFILE"] == [5, 5]


def test_oom_score_adj_is_set(rt):
    assert rt.container(process(oomScoreAdj=500)).probe()["oom_score_adj"] == "500\n"


def test_oom_score_adj_is_left_alone_when_absent(rt):
    with open("/proc/self/oom_score_adj") as own:
        assert rt.container().probe()["oom_score_adj"] == own.read()


@known_bad("1.1 does not know scheduler")
def test_the_scheduler_is_set(rt):
    seen = rt.container(process(scheduler={"policy": "SCHED_BATCH", "nice": 7})).probe()
    assert (seen["sched"]["policy"], seen["sched"]["nice"]) == (3, 7)


@known_bad("1.1 does not know scheduler")
def test_a_real_time_scheduler_with_flags_is_set(rt):
    scheduler = {"policy": "SCHED_FIFO", "priority": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
    result = rt.container(caps("CAP_SYS_NICE"), process(scheduler=scheduler)).run()
    if os.path.exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us"):
        result.failed("/process/scheduler", "operation not permitted")
        pytest.skip("a cgroup v1 group has no real-time budget before it is given one (RT_GROUP_SCHED)")
    seen = result.ok().json()["sched"]
    assert (seen["policy"], seen["priority"], seen["flags"] & 1) == (1, 5, 1)


@known_bad("1.1 does not know scheduler")
def test_a_priority_with_an_ordinary_policy_is_refused(rt):
    rt.container(process(scheduler={"policy": "SCHED_OTHER", "priority": 5})).create().failed(
        "scheduler.priority can only be specified for SchedFIFO or SchedRR policy")


@known_bad("1.1 does not know ioPriority")
def test_the_io_priority_is_set(rt):
    assert rt.container(process(ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 6})).probe()["ioprio"] == 2 << 13 | 6


@known_bad("1.1 does not know ioPriority")
def test_an_io_priority_above_7_is_refused(rt):
    assert rt.container(process(ioPriority={"class": "IOPRIO_CLASS_BE"})).probe()["ioprio"] == 2 << 13
    rt.container(process(ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 8})).create().failed(
        "invalid ioPriority.Priority: 8")


@known_bad("1.1 does not know personality")
def test_the_linux32_personality_is_set(rt):
    seen = rt.container({"linux": {"personality": {"domain": "LINUX32"}}}).probe()
    assert seen["personality"] == 8 and seen["machine"] in ("i686", "armv8l", "armv7l")


@known_bad("1.1 does not know memoryPolicy")
def test_the_memory_policy_is_set(rt):
    seen = rt.container({"linux": {"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}}}).probe()
    assert seen["mempolicy"] & 0xff == 2 and seen["mempolicy_nodes"] == 1


@known_bad("1.1 keeps the caller's")
def test_the_affinity_of_the_caller_is_not_forced_on_the_container(rt):
    everywhere = sorted(os.sched_getaffinity(0))
    if len(everywhere) < 2:
        pytest.skip("one CPU only")
    seen = rt.container().run(wrap=("taskset", "-c", str(everywhere[0]))).ok().json()
    assert seen["affinity"] == everywhere


# --- signals, descriptors, keyring

@known_bad("keeps SIGHUP ignored and the mask")
def test_signal_dispositions_and_mask_are_the_defaults_whatever_the_caller_had(rt):
    def ignore():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM, 40})
    lines = status(rt.container().run(preexec=ignore).ok().json())
    assert [int(lines[key], 16) for key in ("SigIgn", "SigBlk", "SigCgt", "SigPnd")] == [0, 0, 0, 0]


def test_only_the_three_standard_descriptors_reach_the_program(rt):
    seen = rt.container().observe()
    assert sorted(seen["fds"]) == ["0", "1", "2"]
    assert seen["fds"]["0"]["rdev"] == "1:3"


def test_preserved_descriptors_reach_the_program_and_no_others(rt):
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(4)]
    script = 'exec 3</etc/hostname 4</etc/passwd 5</etc/group 6</etc/shells; exec "$@"'
    try:
        seen = rt.container().run("--preserve-fds", "2", wrap=("/bin/bash", "-c", script, "x")).ok().json()
    finally:
        for fd in files:
            os.close(fd)
    assert sorted(seen["fds"]) == ["0", "1", "2", "3", "4"]
    for fd, name in ((3, "/etc/hostname"), (4, "/etc/passwd")):
        assert seen["fds"][str(fd)]["ino"] == os.stat(name).st_ino


def listen(**env):
    """A wrapper that sets LISTEN_PID to the pid the runtime will have."""
    script = 'exec 3</etc/passwd; export LISTEN_FDS=1 LISTEN_PID=${FORCE_PID:-$$}; exec "$@"'
    return {"wrap": ("/bin/bash", "-c", script, "x"), "env": env}


def test_listen_fds_meant_for_the_runtime_are_passed_on(rt):
    seen = rt.container().run(**listen()).ok().json()
    assert "LISTEN_FDS=1" in seen["env"] and "LISTEN_PID=1" in seen["env"]
    assert seen["fds"]["3"]["ino"] == os.stat("/etc/passwd").st_ino


def test_listen_fds_meant_for_another_process_are_ignored(rt):
    seen = rt.container().run(**listen(FORCE_PID="1")).ok().json()
    assert not [line for line in seen["env"] if line.startswith("LISTEN")]
    assert sorted(seen["fds"]) == ["0", "1", "2"]


def test_the_container_has_a_session_keyring_of_its_own_unless_told_otherwise(rt):
    container = rt.container()
    seen = container.probe()
    assert seen["keyring_description"].endswith(f";_ses.{container.id}"), seen["keyring_description"]
    other = rt.container().run("--no-new-keyring").ok().json()
    assert not other["keyring_description"].endswith(rt.token)


def test_an_execd_process_makes_no_keyring_where_the_container_was_not_to_have_one(rt):
    container = rt.container({"process": {"args": ["/bin/probe", "sleep"]}}).up("--no-new-keyring")
    assert "_ses." + container.id not in container.exec("/bin/probe").ok().json()["keyring_description"]


@pytest.mark.parametrize("key, value", [("securebits", 0), ("pdeathsig", 0), ("subreaper", 0), ("dumpable", 1)])
def test_nothing_of_the_set_up_stays_on_the_process(rt, key, value):
    assert rt.container().probe()[key] == value


def test_stdio_belongs_to_the_containers_user(rt):
    seen = rt.container(process(user={"uid": 1000, "gid": 1000})).observe()
    assert seen["fds"]["1"]["uid"] == seen["fds"]["2"]["uid"] == 1000
    assert os.stat("/dev/null").st_uid == 0


# --- seccomp

def seccomp(*names, action="SCMP_ACT_ERRNO", **more):
    return {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW",
                                  "syscalls": [{"names": list(names), "action": action, **more}]}}}


@pytest.mark.parametrize("nnp", [True, False])
def test_a_seccomp_filter_is_loaded_with_and_without_no_new_privileges(rt, nnp):
    seen = rt.container(seccomp("mkdir", "mkdirat", errnoRet=99), process(noNewPrivileges=nnp)).probe()
    assert status(seen)["Seccomp"] == "2"
    result = rt.container(seccomp("mkdir", "mkdirat", errnoRet=99), process(
        args=["/bin/probe", "try", "mkdir:/tmp/x"], noNewPrivileges=nnp)).run().ok()
    assert result.json()[0]["errno"] == 99


def test_a_filter_may_forbid_nearly_everything_the_set_up_used(rt):
    """After the filter is loaded the runtime itself needs next to nothing."""
    for nnp in (True, False):
        names = ["mount", "umount2", "pivot_root", "setns", "unshare", "openat2", "mknodat", "sethostname", "setgroups",
                 "getcwd", "chdir", "prctl", "setresuid", "setresgid", "capset", "fsopen", "move_mount", "socket", "dup3"]
        names = names if nnp else [name for name in names if name not in (
            "getcwd", "chdir", "prctl", "setresuid", "setresgid", "setgroups", "capset", "dup3")]
        result = rt.container(seccomp(*names), process(args=["/bin/true"], noNewPrivileges=nnp)).run()
        assert result.code == 0, result


def test_conditions_on_one_argument_index_are_alternatives_and_on_several_are_joined(rt):
    # personality(0xffffffff) asks; MASKED_EQ and several indices follow libseccomp.
    joined = [{"index": 0, "value": 0xffffffff, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 12345, "op": "SCMP_CMP_EQ"}]
    seen = rt.container(seccomp("personality", errnoRet=5, args=joined)).probe()
    assert seen["personality"] == 0
    alone = [{"index": 0, "value": 0xffffffff, "op": "SCMP_CMP_EQ"}]
    assert rt.container(seccomp("personality", errnoRet=5, args=alone)).probe()["personality"] == -1


def test_a_syscall_the_profile_does_not_know_gives_enosys_only_when_it_is_newer(rt):
    profile = {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": [
        "read", "write", "open", "openat", "close", "execve", "exit", "exit_group", "brk", "mmap", "munmap", "mprotect",
        "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64", "readlink", "readlinkat", "getrandom",
        "fstat", "newfstatat", "ioctl", "futex", "getuid", "fcntl", "uname", "lseek", "writev", "rt_sigaction",
        "rt_sigprocmask", "getgid", "getpid", "setgid", "setuid", "geteuid", "getegid", "prctl", "chdir", "getcwd",
        "setresuid", "setresgid", "setgroups", "capset", "capget", "fchdir", "epoll_ctl", "epoll_pwait", "nanosleep",
        "rt_sigreturn", "sigaltstack", "tgkill", "gettid", "getdents64", "clone", "madvise", "getppid", "close_range",
        "stat", "lstat", "poll", "execveat", "pread64", "fstatfs", "statfs", "kill", "pidfd_send_signal", "mkdirat",
        "faccessat", "faccessat2", "openat2", "statx", "dup3", "sched_getaffinity", "sched_yield"],
        "action": "SCMP_ACT_ALLOW"}]}}}
    result = rt.container(profile, process(args=["/bin/probe", "try", "mkdir:/tmp/x", "read:/etc/passwd"])).run().ok()
    assert [entry["errno"] for entry in result.json()] == [1, 0]


# --- exec

@pytest.fixture
def up(rt):
    return rt.container(SLEEP).up()


def test_exec_runs_in_the_namespaces_and_the_root_of_the_container(up):
    seen = up.exec("/bin/probe").ok().json()
    for kind in ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts"):
        assert seen["ns"][kind] == os.readlink(f"/proc/{up.pid}/ns/{kind}"), kind
    assert seen["root"]["ino"] == os.stat(f"/proc/{up.pid}/root").st_ino
    assert seen["hostname"] == "box" and seen["pid"] > 1 and seen["ppid"] == 0


def test_exec_has_the_processs_settings_from_the_bundle(up):
    seen = up.exec("/bin/probe").ok().json()
    assert caps_of(seen) == {"inh": 0, "prm": THREE, "eff": THREE, "bnd": THREE, "amb": 0}
    assert seen["nnp"] == 1 and seen["umask"] == 0o022
    assert seen["rlimits"]["NOFILE"] == [1024, 1024]
    assert "TERM=xterm" in seen["env"] and "HOME=/root" in seen["env"]
    assert sorted(seen["fds"]) == ["0", "1", "2"]
    lines = status(seen)
    assert [int(lines[key], 16) for key in ("SigIgn", "SigBlk", "SigCgt")] == [0, 0, 0]


def test_exec_exits_with_the_status_of_the_command_or_128_plus_its_signal(up):
    assert up.exec("/bin/probe", "exit", "7").code == 7
    assert up.exec("/bin/probe", "exit", "255").code == 255
    assert up.exec("/bin/probe", "die", "9").code == 137
    assert up.exec("/bin/probe", "die", "15").code == 143


def test_exec_does_not_take_the_commands_options_for_its_own(up):
    assert up.exec("/bin/echo", "-t", "--user", "1", "--").ok().out == "-t --user 1 --\n"


def test_exec_passes_stdin_stdout_and_stderr(rt, up):
    (rt.base / "in").write_text("text")
    with open(rt.base / "in") as stdin:
        result = up.exec("/bin/sh", "-c", "cat; echo err >&2", stdin=stdin).ok()
    assert (result.out, result.err) == ("text", "err\n")


def test_exec_detached_prints_nothing_and_writes_the_pid(rt, up):
    result = up.exec("/bin/sleep", "1000", options=("-d", "--pid-file", rt.base / "pid")).ok()
    assert result.out == result.err == ""
    pid = int((rt.base / "pid").read_text())
    assert alive(pid) and pid in rt.call("ps", "-f", "json", up.id).ok().json()


def test_exec_options_change_what_they_name(up):
    options = ("-e", "X=1,2", "-e", "TERM=vt100", "-u", "1000:2000", "-g", "5", "-g", "6",
               "--cwd", "/tmp", "--no-new-privs")
    seen = up.exec("/bin/probe", options=options).ok().json()
    assert "X=1,2" in seen["env"] and seen["env"].count("TERM=vt100") == 1 and "TERM=xterm" not in seen["env"]
    assert seen["uids"] == [1000] * 3 and seen["gids"] == [2000] * 3
    assert {5, 6} <= set(seen["groups"])
    assert seen["cwd"] == "/tmp" and seen["nnp"] == 1


def test_exec_user_without_a_group_keeps_the_configs_group(rt):
    up = rt.container(SLEEP, process(user={"uid": 5, "gid": 50})).up()
    seen = up.exec("/bin/probe", options=("-u", "1000")).ok().json()
    assert seen["uids"] == [1000] * 3 and seen["gids"] == [50] * 3


@pytest.mark.parametrize("user, uids, gids", [("0", 0, 0), ("1", 1, 0), ("1:2", 1, 2), pytest.param(
    "4294967294:1", 4294967294, 1, marks=known_bad("takes ids up to 2^31 only"))])
def test_exec_user_is_numeric_and_exact(up, user, uids, gids):
    seen = up.exec("/bin/probe", options=("--user", user)).ok().json()
    assert seen["uids"] == [uids] * 3 and seen["gids"] == [gids] * 3


def test_exec_home_follows_the_user(rt, up):
    assert "HOME=/home/user" in up.exec("/bin/probe", options=("-u", "1000")).ok().json()["env"]


def test_exec_from_a_process_file_takes_all_from_the_file(rt, up):
    document = {"cwd": "/tmp", "args": ["/bin/probe", "x"], "env": ["PATH=/bin", "ONLY=this"], "user": {"uid": 7, "gid": 8},
                "capabilities": {"bounding": ["CAP_KILL"]}, "noNewPrivileges": False}
    (rt.base / "process.json").write_text(json.dumps(document))
    seen = rt.call("exec", "-p", rt.base / "process.json", up.id).ok().json()
    assert seen["cwd"] == "/tmp" and seen["argv"] == ["/bin/probe", "x"] and seen["uids"] == [7] * 3
    assert [line for line in seen["env"] if not line.startswith("HOME=")] == ["PATH=/bin", "ONLY=this"]
    assert caps_of(seen) == {"inh": 0, "prm": 0, "eff": 0, "bnd": cap_mask("KILL"), "amb": 0}
    assert seen["nnp"] == 0


@known_bad("1.1 sets HOME only when there is an env")
def test_exec_from_a_process_file_without_env_sets_home(rt, up):
    (rt.base / "process.json").write_text(json.dumps({"cwd": "/", "args": ["/bin/probe"]}))
    assert rt.call("exec", "-p", rt.base / "process.json", up.id).ok().json()["env"] == ["HOME=/root"]


def test_exec_preserves_descriptors_only_when_told(up):
    wrap = ("/bin/bash", "-c", 'exec 3</etc/passwd 4</etc/group; exec "$@"', "x")
    assert sorted(up.exec("/bin/probe", wrap=wrap).ok().json()["fds"]) == ["0", "1", "2"]
    seen = up.exec("/bin/probe", options=("--preserve-fds", "1"), wrap=wrap).ok().json()
    assert sorted(seen["fds"]) == ["0", "1", "2", "3"]


def test_exec_works_in_a_created_container(rt):
    container = rt.container(SLEEP)
    container.create().ok()
    assert container.exec("/bin/echo", "early").ok().out == "early\n"
    assert container.status == "created"


def test_exec_joins_a_user_namespace_as_its_root(rt):
    up = rt.container(userns(), SLEEP).up()
    seen = up.exec("/bin/probe").ok().json()
    assert seen["uids"] == [0] * 3 and seen["uid_map"].split() == ["0", "100000", "65536"]
    assert seen["ns"]["user"] == os.readlink(f"/proc/{up.pid}/ns/user")


def test_exec_lands_in_the_containers_cgroup(up):
    up.exec("/bin/sleep", "1000", options=("-d",)).ok()
    pids = up.rt.call("ps", "-f", "json", up.id).ok().json()
    assert len(pids) == 2
    with open(f"/proc/{pids[0]}/cgroup") as one, open(f"/proc/{pids[1]}/cgroup") as other:
        assert one.read() == other.read()


def test_exec_processes_die_with_the_container(up):
    up.exec("/bin/sleep", "1000", options=("-d",)).ok()
    pids = up.rt.call("ps", "-f", "json", up.id).ok().json()
    up.kill("KILL").ok()
    wait_until(lambda: not any(alive(pid) for pid in pids), what="the exec'd process lives on")


def test_many_execs_at_once_all_succeed(up):
    running = [up.rt.spawn("exec", up.id, "/bin/echo", str(i)) for i in range(8)]
    assert [one.wait().ok().out for one in running] == [f"{i}\n" for i in range(8)]


def test_exec_sets_the_seccomp_filter_of_the_container(rt):
    up = rt.container(SLEEP, seccomp("mkdir", "mkdirat", errnoRet=99)).up()
    assert up.exec("/bin/probe", "try", "mkdir:/tmp/x").ok().json()[0]["errno"] == 99


@known_bad("re-reads the bundle, so an edit after create changes exec")
def test_exec_is_not_changed_by_editing_the_bundle_after_create(rt):
    up = rt.container(SLEEP).up()
    up.bundle.patch({"process": {"env": ["EDITED=1"], "cwd": "/tmp"}})
    seen = up.exec("/bin/probe").ok().json()
    assert "EDITED=1" not in seen["env"] and seen["cwd"] == "/"


@known_bad("1.1 resets nothing after setns")
def test_exec_cpu_affinity_is_applied_to_exec_only(rt):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one CPU only")
    up = rt.container(SLEEP, process(execCPUAffinity={"initial": "0-1", "final": "1"})).up()
    assert up.exec("/bin/probe").ok().json()["affinity"] == [1]
    with open(f"/proc/{up.pid}/status") as lines:
        assert "Cpus_allowed_list:\t1\n" not in lines.read()


@known_bad("1.1 does not know the time namespace")
def test_time_offsets_shift_the_containers_clocks(rt):
    offsets = {"linux": {"timeOffsets": {"monotonic": {"secs": 1_000_000}, "boottime": {"secs": 2_000_000, "nanosecs": 5}}}}
    container = rt.container(namespaces("pid", "network", "ipc", "uts", "mount", "time"), offsets)
    seen = container.probe()
    assert abs(seen["monotonic"] - time.clock_gettime(time.CLOCK_MONOTONIC) - 1_000_000) < 30
    assert abs(seen["boottime"] - time.clock_gettime(time.CLOCK_BOOTTIME) - 2_000_000) < 30


# --- SELinux

@pytest.mark.parametrize("patch, pointer", [({"process": {"selinuxLabel": "u:r:t:s0"}}, "/process/selinuxLabel"),
                                            ({"linux": {"mountLabel": "u:r:t:s0:c1,c2"}}, "/linux/mountLabel")])
def test_a_label_of_selinux_is_refused_where_it_is_not_enabled(rt, patch, pointer):
    if os.path.exists("/sys/fs/selinux/enforce"):
        pytest.skip("SELinux is enabled here")
    rt.container(patch).create().failed(pointer, "selinux is disabled or not supported")
    rt.assert_nothing_left()
