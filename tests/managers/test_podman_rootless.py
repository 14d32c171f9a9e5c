"""Podman of an ordinary user: its own user namespace, no right to cgroups, state below $XDG_RUNTIME_DIR."""

import shutil
import subprocess

import pytest
from kit.managers import IMAGE, Place, make_image
from kit.rootless import NAME, SUBIDS, UID
from kit.runtime import wait_until

PORT = "18473"
# root on the test machine lacks CAP_SYS_RESOURCE, so no hard limit may be above the caller's
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000")
ACCOUNT = f"""set -e
echo '{NAME}:*:{UID}:{UID}::/run/home:/bin/sh' >>/etc/passwd
echo '{NAME}:x:{UID}:' >>/etc/group
for file in subuid subgid; do echo {NAME}:{SUBIDS[0]}:{SUBIDS[1]} >/etc/$file; done
mkdir -p /run/home /run/user/{UID}; chmod 700 /run/home /run/user/{UID}; chown {UID}:{UID} /run/home /run/user/{UID}
if [ -c /dev/net/tun ]; then mknod -m 666 /run/tun c 10 200; mount --bind /run/tun /dev/net/tun; fi"""


class Podman:
    def __init__(self, place, runtime):
        self.place = place
        self.options = ("--runtime", runtime, "--cgroup-manager", "cgroupfs", "--events-backend", "none")
        self.env = {"HOME": "/run/home", "USER": NAME, "XDG_RUNTIME_DIR": f"/run/user/{UID}"}

    def enter(self, *argv):
        return ("setpriv", "--reuid", str(UID), "--regid", str(UID), "--init-groups", "--", *argv)

    def __call__(self, *argv, **how):
        return self.place.call(*self.enter("podman", *self.options, *argv), env=self.env, cwd="/", **how)

    def run(self, *argv, **how):
        return self("run", "--rm", "--network", "none", *LIMITS, *argv, **how)


@pytest.fixture(scope="module")
def podman(runtime):
    for program in ("podman", "newuidmap"):
        if not shutil.which(program):
            pytest.skip(f"no {program}")
    place = Place("podman-user", systemd=False)
    place.call("sh", "-c", ACCOUNT).ok()
    podman = Podman(place, runtime[1])
    image = make_image(place.base / "run/image.tar")
    image.chmod(0o644)
    podman("load", "-i", "/run/image.tar").ok()
    yield podman
    podman("rm", "-f", "-a", "-t", "0")
    podman("volume", "rm", "-a", "-f")
    place.call(*podman.enter("podman", "unshare", "rm", "-rf", "/run/home/.local"), env=podman.env)
    place.close()


def test_a_container_runs_as_root_of_the_users_namespace(podman):
    lines = podman.run(IMAGE, "sh", "-c", "id -u; cat /proc/self/uid_map; test -w /dev/null && echo null").out.split()
    assert lines == ["0", "0", str(UID), "1", "1", str(SUBIDS[0]), str(SUBIDS[1]), "null"]


def test_exit_codes_are_those_that_podman_promises(podman):
    assert podman.run(IMAGE, "sh", "-c", "exit 7").returncode == 7
    assert podman.run(IMAGE, "/no/such").returncode == 127
    assert podman.run(IMAGE, "/etc").returncode == 126


def test_another_user_and_groups(podman):
    assert podman.run("--user", "5:6", "--group-add", "7", IMAGE, "sh", "-c", "id -u; id -G").out.split() == ["5", "6", "7"]


def test_keep_id_is_a_user_namespace_below_podmans(podman):
    lines = podman.run("--userns", "keep-id", IMAGE, "sh", "-c", "id -u; touch /tmp/x; stat -c %u /tmp/x").out.split()
    assert lines == [str(UID)] * 2


def test_create_start_exec_stop_and_remove(podman):
    podman("run", "-d", "--name", "box", "--network", "none", *LIMITS, IMAGE, "sh", "-c",
           "trap 'exit 3' TERM; while :; do sleep 0.1; done").ok()
    assert podman("exec", "box", "sh", "-c", "echo $((1 + 1))").out == "2"
    assert podman("exec", "-t", "box", "tty").out.startswith("/dev/pts/")
    podman("stop", "-t", "10", "box").ok()
    assert podman("inspect", "-f", "{{.State.ExitCode}}", "box").out == "3"
    podman("rm", "box").ok()


def test_a_pod_with_a_volume_and_a_published_port(podman):
    if not shutil.which("slirp4netns") or subprocess.run(["test", "-c", "/dev/net/tun"], check=False).returncode:
        pytest.skip("no slirp4netns or no /dev/net/tun")
    podman("pod", "create", "--name", "pod", "-p", f"127.0.0.1:{PORT}:8080").ok()
    podman("run", "-d", "--name", "writer", "--pod", "pod", "-v", "data:/data", *LIMITS, IMAGE, "sh", "-c",
           "echo from-a-volume >/data/index.html; exec sleep 1000").ok()
    podman("run", "-d", "--name", "server", "--pod", "pod", "-v", "data:/data:ro", *LIMITS, IMAGE,
           "httpd", "-f", "-p", "8080", "-h", "/data").ok()
    fetch = ("busybox", "wget", "-q", "-O", "-", f"http://127.0.0.1:{PORT}/")
    wait_until(lambda: podman.place.call(*fetch).stdout == "from-a-volume\n", what="the port is not published")
    assert podman("exec", "server", "cat", "/data/index.html").out == "from-a-volume"
    assert podman("exec", "server", "sh", "-c", "echo x >/data/x").returncode == 1
    assert podman("exec", "writer", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/").out == "from-a-volume"
    podman("pod", "rm", "-f", "-t", "0", "pod").ok()
