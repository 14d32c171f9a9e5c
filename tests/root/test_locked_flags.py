"""Flags of the host's mounts that a user namespace locks (mount_namespaces(7)): kept, or refused by name, whoever makes the container."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from kit.bundle import add_mounts, bind, mount, userns
from kit.observe import mount_at
from kit.rootless import User, UserRuntime
from kit.runtime import Runtime

known_bad = pytest.mark.runc_known_bad
INNER = ("unshare", "--user", "--map-auto", "--map-root-user", "--mount", "--")
# name: options of a tmpfs, and of one mounted below it (sub)
SOURCES = {"flags": ("nosuid,nodev,noexec", ""), "readonly": ("ro", ""), "noatime": ("noatime,nosuid", ""), "plain": ("rw", ""),
           "above": ("rw", "ro,nosuid"), "both": ("ro", ""), "disk": ("rw", "")}
SUPER = ("both", "disk")  # the file system is read-only as well, which statfs(2) does not tell from the mount's being so


@pytest.fixture(scope="module")
def sources():
    """Host directories with mounts that have flags."""
    base = Path(tempfile.mkdtemp(prefix="locked-flags-"))
    base.chmod(0o755)
    for name, (options, below) in SOURCES.items():
        (base / name).mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "t", base / name], check=True)
        if below:
            (base / name / "sub").mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=755,{below}", "t", base / name / "sub"], check=True)
        subprocess.run(["mount", "-o", f"remount,bind,{options}", base / name], check=True)
    for name in SUPER:
        subprocess.run(["mount", "-o", "remount,ro", base / name], check=True)
    subprocess.run(["mount", "-o", "remount,bind,rw", base / "disk"], check=True)
    yield base
    for name in SOURCES:
        subprocess.run(["umount", "-R", base / name], check=True)
    shutil.rmtree(base)


@pytest.fixture(scope="module")
def user(sources):
    account = User()
    yield account
    account.close()


@pytest.fixture(params=["root", "user", "builder"])
def rt(pyrunc, user, request):
    """root: of the host, who makes a user namespace for the container. user: an ordinary one. builder: root of a user
    namespace with a mount namespace, both the user's own, who makes no other for the container."""
    runtime = Runtime(pyrunc) if request.param == "root" else UserRuntime(pyrunc, user)
    runtime.how = {"wrap": INNER} if request.param == "builder" else {}
    yield runtime
    runtime.close()


def container(rt, *patches):
    def ours(config):
        kinds = config["linux"]["namespaces"]
        if rt.how:  # the user namespace is the caller's
            kinds.remove({"type": "user"})
            del config["linux"]["uidMappings"], config["linux"]["gidMappings"]
    return rt.container(*([userns()] if type(rt) is Runtime else [ours]), *patches)


KEPT = [
    ("flags", ["ro"], {"ro", "nosuid", "nodev", "noexec"}),
    ("flags", ["rw"], {"rw", "nosuid", "nodev", "noexec"}),
    ("flags", ["rbind", "ro"], {"ro", "nosuid", "nodev", "noexec"}),
    ("flags", ["nosuid"], {"rw", "nosuid", "nodev", "noexec"}),
    ("flags", [], {"rw", "nosuid", "nodev", "noexec"}),
    ("readonly", ["nosuid"], {"ro", "nosuid"}),
    ("readonly", ["rro"], {"ro"}),
    ("noatime", ["ro"], {"ro", "noatime", "nosuid"}),
    ("noatime", ["ro", "noatime"], {"ro", "noatime", "nosuid"}),
    ("plain", ["suid", "dev", "exec", "rw"], {"rw"}),
    ("above", ["rbind", "rro"], {"ro"}),
    ("above", ["rbind", "rnodev"], {"rw", "nodev"}),
    ("above", ["rbind", "suid"], {"rw"}),
    ("both", ["nosuid"], {"ro", "nosuid"}),
    ("both", ["rnosuid"], {"ro", "nosuid"}),
    ("disk", ["rw", "nosuid"], {"rw", "nosuid"}),
    ("disk", ["rrw"], {"rw"}),
]
REFUSED = [
    ("flags", ["suid"], "nosuid"), ("flags", ["ro", "dev"], "nodev"), ("flags", ["exec", "dev"], "nodev, noexec"),
    ("readonly", ["rw"], "ro"), ("both", ["rw"], "ro"), ("both", ["rbind", "rrw"], ""), ("flags", ["noatime"], "atime"), ("noatime", ["relatime"], "atime"),
    ("noatime", ["strictatime"], "atime"), ("flags", ["nodiratime"], "atime"),
    ("flags", ["rsuid"], "nosuid"), ("readonly", ["rrw"], "ro"), ("plain", ["rnoatime"], "atime"),
    ("above", ["rbind", "rrw"], ""), ("above", ["rbind", "rsuid"], ""), ("above", ["rbind", "rnoatime"], "atime"),
]
NAMES = {"ids": lambda value: " ".join(value) if isinstance(value, list) else value if isinstance(value, str) else ""}


@pytest.mark.parametrize("source, options, expected", KEPT, **NAMES)
def test_what_the_options_do_not_speak_of_is_kept(rt, sources, source, options, expected):
    seen = container(rt, add_mounts(bind(sources / source, "/mnt", *options))).probe(**rt.how)
    assert mount_at(seen, "/mnt").options - {"relatime"} == expected - {"relatime"}


@known_bad("other words, and no flag's name for recursive options")
@pytest.mark.parametrize("source, options, name", REFUSED, **NAMES)
def test_what_clears_a_locked_flag_is_refused_by_its_name(rt, sources, source, options, name):
    result = container(rt, add_mounts(bind(sources / source, "/mnt", *options))).create(**rt.how)
    result.failed("/mounts/6", f"cannot clear locked flags {name}" if name else "mount_setattr", "operation not permitted")
    assert "user namespace" in result.err
    assert rt.ids() == []


def test_the_mounts_below_keep_their_own(rt, sources):
    seen = container(rt, add_mounts(bind(sources / "above", "/mnt", "rbind", "rnoexec"))).probe(**rt.how)
    assert mount_at(seen, "/mnt/sub").options - {"relatime"} == {"ro", "nosuid", "noexec"}


@known_bad("remounts of them fail")
def test_a_remount_keeps_them_on_a_bind_and_changes_what_the_container_has_mounted_itself(rt, sources):
    patch = add_mounts(bind(sources / "flags", "/mnt"), mount("/mnt", options=["remount", "ro"]),
                       mount("/tmp", "tmpfs", "tmpfs", ["nosuid", "noexec"]), mount("/tmp", options=["remount", "nodev"]))
    seen = container(rt, patch).probe(**rt.how)
    assert mount_at(seen, "/mnt").options - {"relatime"} == {"ro", "nosuid", "nodev", "noexec"}
    assert mount_at(seen, "/tmp").options - {"relatime"} == {"rw", "nodev"}


def test_a_source_that_follows_a_file_system_keeps_them_too(rt, sources):
    patch = add_mounts(mount("/tmp", "tmpfs", "tmpfs"), bind(sources / "flags", "/tmp/mnt", "rw"))
    assert mount_at(container(rt, patch).probe(**rt.how), "/tmp/mnt").options - {"relatime"} == {"rw", "nosuid", "nodev", "noexec"}


def test_the_hosts_sys_is_bound_read_only(rt):
    def bound(config):
        config["mounts"] = [m for m in config["mounts"] if m["destination"] != "/sys"]
        config["mounts"].append(bind("/sys", "/sys", "rbind", "ro"))
    of_host = mount_at({"mountinfo": Path("/proc/self/mountinfo").read_text()}, "/sys").options
    assert mount_at(container(rt, bound).probe(**rt.how), "/sys").options == of_host - {"rw"} | {"ro"}


def test_without_a_user_namespace_exactly_the_flags_asked_for_are_set(pyrunc, sources):
    runtime = Runtime(pyrunc)
    try:
        seen = runtime.container(add_mounts(bind(sources / "flags", "/mnt", "ro"), bind(sources / "readonly", "/rw", "rw"))).probe()
        assert mount_at(seen, "/mnt").options - {"relatime"} == {"ro"}
        assert mount_at(seen, "/rw").options - {"relatime"} == {"rw"}
    finally:
        runtime.close()
