"""What pyrunc does not pass in runtime-tools, and why: a fault of the suite, of this kind of host, or a decision of ours.

Never an exclusion: every program runs, its failures are counted in the table, and the reason stands beside them. A
failure without a reason fails `make conformance`. Keys: a program, or "program: assertion"; the longer one wins.
"""

OUTDATED = "suite outdated: "
SUITE = "suite wrong: "
HOST = "host: "
OURS = "ours: "

REASONS = {
    "delete": OURS + "`delete` of a created container works, as in every runtime (callers undo a create with it)",
    "delete_resources": SUITE + "pids.limit has become a pointer; two pointers are compared",
    "hooks": SUITE + "expects a text that its own hooks do not write, and prints the error of a nil on success",
    "linux_cgroups_blkio": HOST + "needs a disk with number 8:0",
    "linux_cgroups_relative_blkio": HOST + "needs a disk with number 8:0",
    "linux_cgroups_hugetlb": HOST + "needs the hugetlb controller on v1",
    "linux_cgroups_relative_hugetlb": HOST + "needs the hugetlb controller on v1",
    "linux_cgroups_network": HOST + "needs the net_cls and net_prio controllers",
    "linux_cgroups_relative_network": HOST + "needs the net_cls and net_prio controllers",
    "linux_cgroups_memory": OUTDATED + "memory.kernel: the kernel has had no such limit since 5.16",
    "linux_cgroups_relative_memory": OUTDATED + "memory.kernel: the kernel has had no such limit since 5.16",
    "linux_cgroups_pids": SUITE + "pids.limit has become a pointer; two pointers are compared",
    "linux_cgroups_relative_pids": SUITE + "pids.limit has become a pointer; two pointers are compared",
    "linux_mount_label": HOST + "needs SELinux: a label that cannot be given is refused, as by runc",
    "linux_process_apparmor_profile": HOST + "needs AppArmor and a profile acme_secure_profile",
    "misc_props": SUITE + "creates a container whose program is not in the bundle and expects success",
    "pidfile": SUITE + "a race: kills `true` after start and expects it to be alive",
    "poststart_fail": OUTDATED + "since 1.1 a failing poststart hook stops the container",
    "prestart": OUTDATED + "since 1.0.2 prestart hooks run in create",
    "process_capabilities": HOST + "needs root with every capability; here CAP_SYS_RESOURCE is missing",
    "process_capabilities_fail": OUTDATED + "since 1.1 an unknown capability is a warning",
    "process_rlimits": SUITE + "the Go of runtimetest raises its own soft RLIMIT_NOFILE before it looks",
    "start": SUITE + "expects success of `start` without a process under the words \"MUST generate an error\"",
}

# Clauses that pyrunc deliberately does not keep. Their tests run, and must fail.
CLAUSES = {
    "runtime.md#runtimeDelete-2": "a created container can be deleted, as in every runtime: callers undo a create with it",
    "config.md#configPOSIXUser-1": "a missing uid is 0, as in every runtime",
    "config.md#configLinuxProcess-7": "a missing priority is 0, as with runc",
    "config.md#configPOSIXUser-2": "a missing gid is 0, as in every runtime",
}


def reason(program, assertion):
    return REASONS.get(f"{program}: {assertion}") or REASONS.get(program)
