"""No user namespace made inside finds a procfs or sysfs that is wholly visible, so none can mount one without the masks
(mount_too_revealing() of the kernel), with pivot_root and without, whatever the caller has mounted where."""

import pytest
from kit.bundle import Dir, add_mounts, bind, mount, userns, without_mount
from kit.rootless import User, UserRuntime

known_bad = pytest.mark.runc_known_bad
# As a user without capabilities: root of a new user namespace, with namespaces that it owns, mounts both.
ATTACK = """for kind in proc sysfs; do
  busybox unshare -mrpfn busybox mount -t $kind none /try 2>&1 && echo BARE $kind || echo refused $kind
done"""
UNPRIVILEGED = {"process": {"args": ["/bin/sh", "-c", ATTACK], "user": {"uid": 1000, "gid": 1000}}}
ROOTFS = {"try": Dir(0o777)}
# What a caller's mount namespace may look like. $1: a directory of the test's.
CALLERS = {
    "as it is": "",
    "elsewhere": "mkdir $1/a $1/b; mount -t proc p $1/a; mount -t sysfs s $1/b",
    "with a blank": 'mkdir "$1/w s"; mount -t proc p "$1/w s"',
    "stacked": "mkdir $1/a; for i in 1 2 3; do mount -t proc p $1/a; mount -t tmpfs t $1/a; done; mount -t proc p $1/a",
    "nested": "mkdir $1/a; mount -t tmpfs t $1/a; mkdir $1/a/b; mount -t proc p $1/a/b; mount -t sysfs s $1/a/b/sys/fs/binfmt_misc",
    "hidden": "mkdir -p $1/a/b; mount -t proc p $1/a/b; mount -t tmpfs t $1/a",
    "hidden by a path of the same name": "mkdir -p $1/a/b; mount -t sysfs s $1/a/b; mount -t tmpfs t $1/a; mkdir $1/a/b; mount -t tmpfs t $1/a/b",
    "in the bundle": "mount -t proc p $2/rootfs/proc; mount -t sysfs s $2/rootfs/sys",
    "of another name": "mkdir $1/a; mount -t proc tmpfs $1/a",
}


def attack(container, *options, caller="", how=()):
    """What the attack says, run from a mount namespace that is prepared by `caller`."""
    script = f'set -e; {caller}; shift 2; exec "$@"' if caller else 'shift 2; exec "$@"'
    here = (*how, "unshare", "-m", "sh", "-c", script, "sh", container.rt.base, container.bundle.path)
    return container.run(*options, wrap=here).ok().out.splitlines()


def said(lines):
    return [line for line in lines if line.startswith(("BARE", "refused"))]


BOTH = ["refused proc", "refused sysfs"]


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("options", [(), ("--no-pivot",)], ids=["pivot_root", "--no-pivot"])
def test_a_user_without_capabilities_can_mount_neither(rt, caller, options):
    assert said(attack(rt.container(UNPRIVILEGED, rootfs=ROOTFS), *options, caller=CALLERS[caller])) == BOTH


def test_the_attack_works_where_nothing_is_masked(rt):
    """Or the others would prove nothing."""
    container = rt.container(UNPRIVILEGED, {"linux": {"maskedPaths": None, "readonlyPaths": None}},
                             lambda config: config["mounts"][5].update(options=["nosuid", "noexec", "nodev"]), rootfs=ROOTFS)
    assert said(attack(container))[0] == "BARE proc"


@pytest.mark.parametrize("caller", ["as it is", "elsewhere", "stacked", "nested"])
def test_root_of_a_user_namespace_covers_what_he_may_not_unmount(rt, caller):
    container = rt.container(userns(), UNPRIVILEGED, rootfs=ROOTFS)
    assert said(attack(container, "--no-pivot", caller=CALLERS[caller])) == BOTH


@known_bad("leaves what is hidden")
@pytest.mark.parametrize("caller", ["hidden", "hidden by a path of the same name"])
def test_what_cannot_be_covered_either_refuses_the_container(rt, caller):
    container = rt.container(userns(), UNPRIVILEGED, rootfs=ROOTFS)
    here = ("unshare", "-m", "sh", "-c", f'set -e; {CALLERS[caller]}; shift 2; exec "$@"', "sh", rt.base, container.bundle.path)
    result = container.create("--no-pivot", wrap=here)
    result.failed("purge", code=1)
    assert "without pivot_root, a procfs or sysfs" in result.err


def test_an_ordinary_user_without_pivot_root(pyrunc):
    user = User()
    runtime = UserRuntime(pyrunc, user)
    try:
        container = runtime.container({"process": {"args": ["/bin/sh", "-c", ATTACK]}}, rootfs=ROOTFS)
        assert said(container.run("--no-pivot").ok().out.splitlines()) == BOTH
    finally:
        runtime.close()
        user.close()


@pytest.mark.parametrize("options", [(), ("--no-pivot",)], ids=["pivot_root", "--no-pivot"])
def test_masks_hold_over_a_procfs_that_a_bind_brings(rt, options):
    container = rt.container(UNPRIVILEGED, without_mount("/proc"), add_mounts(bind("/proc", "/proc", "rbind")), rootfs=ROOTFS)
    assert said(attack(container, *options)) == BOTH


def test_the_hosts_own_mounts_stay(rt, host):
    container = rt.container(UNPRIVILEGED, {"linux": {"rootfsPropagation": "shared"}}, add_mounts(mount("/x", "tmpfs", "tmpfs", ["shared"])),
                             rootfs=ROOTFS)
    container.run("--no-pivot").ok()
