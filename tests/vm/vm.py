"""A guest with a pure cgroup2 tree and systemd as pid 1, for the tests that the host cannot serve.

    vm.py image          make the image (cached under build/vm by the hash of its recipe)
    vm.py run COMMAND    boot, run the shell command as root in a copy of the checkout, print its output, exit with its code

Everything is Debian's: mmdebstrap makes the root, the kernel is a stock cloud kernel under QEMU's emulation. A User-Mode
Linux kernel, if there is one ($PYRUNC_UML, or linux-uml-*.xz in ../shared/vm), boots in seconds instead and needs no QEMU.

    PYRUNC_VM=uml|tcg|kvm   choose   PYRUNC_VM_TIMEOUT=seconds (1500)   PYRUNC_VM_MEMORY=MiB (3072)
    PYRUNC_VM_TAKE='/build/X ...'    take in what is left out for its size

The checkout goes in as a tar on a second disk, unpacked at its own absolute path (the installed launcher knows that path);
output and exit code come back over a console. The guest's disk is thrown away. A third disk, empty, is for tests of I/O.
"""

import glob
import hashlib
import inspect
import io
import lzma
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
CACHE = REPOSITORY / "build/vm"
MARK = "pyrunc-vm-exit:"
PACKAGES = (
    "systemd systemd-sysv dbus dbus-user-session libpam-systemd udev kmod procps iproute2 passwd util-linux e2fsprogs mount "
    "python3 libpython3.11 gcc libc6-dev linux-libc-dev make libseccomp2 libcap2-bin busybox-static uidmap runc crun strace "
    "podman conmon catatonit slirp4netns fuse-overlayfs iptables containernetworking-plugins openssl docker.io tini buildah apparmor"
).split()
LEFT_OUT = ("/.git", "/build/vm", "/build/lib", "/build/bdist", "/build/generated", "/.hypothesis", "/build/bin/containerd", "/build/kubernetes")
AGENT = r"""#!/bin/bash
# Unpack what the second disk holds, run the command in it on the console, say how it ended, switch off.
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM=dumb
for word in $(cat /proc/cmdline); do case $word in pyrunc.out=*) out=${word#*=};; pyrunc.in=*) in=${word#*=};; esac; done
modprobe -qa virtio_blk loop overlay tun bfq 2>/dev/null
stty -F "$out" raw -echo -opost 2>/dev/null
has() { test -e "$2" || lacks="$lacks $1"; }
{
for controller in cpuset cpu io memory hugetlb pids rdma misc; do
  grep -qw $controller /sys/fs/cgroup/cgroup.controllers || lacks="$lacks $controller"
done
has PSI /proc/pressure/memory; has swap /proc/swaps; has seccomp /proc/sys/kernel/seccomp; has loop /dev/loop-control
has user-namespaces /proc/self/ns/user; has time-namespaces /proc/self/ns/time; has bpf /sys/fs/bpf; has tun /dev/net/tun
has bfq /sys/fs/cgroup/system.slice/io.bfq.weight
grep -qw overlay /proc/filesystems || lacks="$lacks overlay"
echo "guest: Linux $(uname -r), $(cat /sys/fs/cgroup/cgroup.controllers); without:${lacks:- nothing}"
tar -xf "$in" -C / && bash /pyrunc-vm-command; echo "MARK $?"
} </dev/null >"$out" 2>&1
sync; sleep 0.2
systemctl poweroff -ff
"""
UNIT = """[Unit]
After=dbus.service systemd-logind.service basic.target systemd-user-sessions.service
Wants=dbus.service systemd-logind.service
[Service]
ExecStart=/usr/local/sbin/pyrunc-vm-agent
Delegate=yes
TasksMax=infinity
LimitNOFILE=1048576
StandardOutput=null
StandardError=null
[Install]
WantedBy=multi-user.target
"""
DELEGATE = "[Service]\nDelegate=cpu cpuset io memory pids\n"
MASKED = """getty@tty1 serial-getty@ttyS0 serial-getty@hvc0 systemd-pstore systemd-random-seed systemd-update-utmp
systemd-timesyncd systemd-journal-flush systemd-udev-trigger apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer
fstrim.timer systemd-journal-catalog-update systemd-machine-id-commit docker docker.socket containerd apparmor""".split()


def main(argv):
    if argv[:1] == ["image"]:
        print(image(machine()))
        return 0
    if argv[:1] == ["run"] and argv[1:]:
        kind = machine()
        return run(kind, image(kind), " ".join(argv[1:]))
    print(__doc__, file=sys.stderr)
    return 2


def machine():
    """Which kind of machine: what PYRUNC_VM says, else uml where there is such a kernel, else emulation."""
    return os.environ.get("PYRUNC_VM") or ("uml" if uml_kernel() else "tcg")


def uml_kernel():
    found = [os.environ.get("PYRUNC_UML"), *sorted(glob.glob(str(REPOSITORY.parent / "shared/vm/linux-uml-*.xz")))]
    return next((path for path in found if path and os.path.exists(path)), None)


# --- the image


def image(kind):
    """The directory with root.ext4 and the kernel; made when it is not there. Those of older recipes are removed."""
    recipe = [PACKAGES, AGENT, UNIT, DELEGATE, MASKED, inspect.getsource(_root), inspect.getsource(_kernel)]
    made = CACHE / hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]
    if not (made / "root.ext4").exists():
        _apt("mmdebstrap", "e2fsprogs")
        for old in CACHE.glob("*"):
            shutil.rmtree(old)
        made.mkdir(parents=True)
        with tempfile.TemporaryDirectory(prefix="pyrunc-vm-", dir="/var/tmp") as work:
            _root(Path(work) / "root", made)
    if kind == "uml":
        _unpack_uml(made / "linux-uml")
    return made


def _apt(*packages):
    missing = [name for name in packages if subprocess.run(
        ["dpkg-query", "-W", "-f", "${Status}", name], capture_output=True, text=True, check=False).stdout != "install ok installed"]
    if missing:
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=True, env=env, stdout=sys.stderr)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], check=True, env=env, stdout=sys.stderr)


def _root(root, made):
    """Debian with the packages, a stock kernel's modules, our agent and nothing that waits for hardware."""
    sources = [path for path in ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list") if os.path.exists(path)]
    subprocess.run(["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory",
                    "--aptopt=APT::Install-Recommends \"false\"", "--dpkgopt=path-exclude=/usr/share/doc/*",
                    "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
                    f"--include={','.join(PACKAGES)}", "bookworm", root, sources[0]], check=True, stdout=sys.stderr)
    files = {
        "etc/hostname": "guest\n", "etc/hosts": "127.0.0.1 localhost guest\n", "etc/fstab": "", "etc/resolv.conf": "",
        "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
        "etc/subuid": "tester:100000:65536\n", "etc/subgid": "tester:100000:65536\n",
        "etc/systemd/system/pyrunc-vm-agent.service": UNIT, "usr/local/sbin/pyrunc-vm-agent": AGENT.replace("MARK", MARK),
        "etc/systemd/system/user@.service.d/delegate.conf": DELEGATE,
        "etc/systemd/journald.conf.d/volatile.conf": "[Journal]\nStorage=volatile\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
    os.chmod(root / "usr/local/sbin/pyrunc-vm-agent", 0o755)
    subprocess.run(["chroot", root, "useradd", "-m", "-s", "/bin/bash", "-u", "1000", "tester"], check=True)
    (root / "etc/subuid").write_text("tester:100000:65536\n")
    (root / "etc/subgid").write_text("tester:100000:65536\n")
    subprocess.run(["chroot", root, "systemctl", "enable", "-q", "pyrunc-vm-agent"], check=True)
    subprocess.run(["chroot", root, "systemctl", "set-default", "-q", "multi-user.target"], check=True, stderr=subprocess.DEVNULL)
    for unit in MASKED:
        link = root / "etc/systemd/system" / (unit if "." in unit else unit + ".service")
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    _kernel(root, made / "vmlinuz")
    part = made / "root.part"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=1,root_owner=0:0", "-O", "^has_journal", "-m", "0",
                    "-d", root, part, "4G"], check=True)
    part.rename(made / "root.ext4")


def _unpack_uml(kernel):
    """Always anew, for the name may stand for another kernel than last time; renamed, for the last one may be running."""
    found = uml_kernel()
    if not found:
        raise SystemExit("no User-Mode Linux kernel: name one by PYRUNC_UML")
    handle, part = tempfile.mkstemp(dir=kernel.parent)
    with (lzma.open(found) if found.endswith(".xz") else open(found, "rb")) as packed, os.fdopen(handle, "wb") as out:
        shutil.copyfileobj(packed, out)
    os.chmod(part, 0o755)
    os.rename(part, kernel)


def _kernel(root, kernel):
    """The newest cloud kernel on offer: its drivers for disks and consoles are built in; its modules go into the root."""
    search = ["apt-cache", "search", "--names-only", r"^linux-image-6\.[0-9.]+.*-cloud-amd64$"]
    names = [name.split()[0] for name in subprocess.run(search, capture_output=True, text=True, check=True).stdout.splitlines()]
    newest = max((name for name in names if "unsigned" not in name and "dbg" not in name),
                 key=lambda name: [int(part) for part in re.findall(r"\d+", name)], default=None)
    if not newest:
        raise SystemExit("apt knows no linux-image-6.*-cloud-amd64: apt-get update")
    with tempfile.TemporaryDirectory(prefix="pyrunc-vm-") as work:
        subprocess.run(["apt-get", "-o", "APT::Sandbox::User=root", "download", "-qq", newest], cwd=work, check=True)
        subprocess.run(["dpkg", "-x", glob.glob(f"{work}/*.deb")[0], f"{work}/x"], check=True)
        shutil.copy(glob.glob(f"{work}/x/boot/vmlinuz-*")[0], kernel)
        shutil.copytree(f"{work}/x/lib/modules", root / "usr/lib/modules", dirs_exist_ok=True)
    version = os.listdir(root / "usr/lib/modules")[0]
    subprocess.run(["chroot", root, "depmod", version], check=True)


# --- the run


def run(kind, made, command):
    """Boot with the checkout; output as it comes; the command's exit code, or 125 if the guest did not get that far.

    Emulation was seen to lose a guest while it boots; one that never said anything is booted once more.
    """
    if kind != "uml":
        _apt("qemu-system-x86")
    with tempfile.TemporaryDirectory(prefix="pyrunc-vm-", dir="/var/tmp") as work:
        _pack(f"{work}/in.tar", command)
        with open(f"{work}/spare", "wb") as spare:
            spare.truncate(64 << 20)
        code, spoke = _boot(kind, made, work)
        if code is None and not spoke:
            code, _ = _boot(kind, made, work)
        return 125 if code is None else code


def _boot(kind, made, work):
    """(exit code or None, whether there was any output)"""
    limit = os.environ.get("PYRUNC_VM_TIMEOUT", "1500")
    argv = (_uml if kind == "uml" else _qemu)(kind, made, work, os.environ.get("PYRUNC_VM_MEMORY", "3072"))
    with open(f"{work}/console", "wb") as console:
        guest = subprocess.Popen(["timeout", "-k", "5", limit, *argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=console, env={**os.environ, "TMPDIR": "/dev/shm"})
        code, spoke = _copy(guest.stdout)
        guest.wait()
    if code is None:
        said = b"".join(Path(path).read_bytes() for path in sorted(glob.glob(f"{work}/console*")))
        print(f"vm: no exit code from the guest ({kind} ended with {guest.returncode}; 124 and -9 are the time-out). Console:\n"
              f"{said[-3000:].decode('utf-8', 'replace')}", file=sys.stderr)
    return code, spoke


def _pack(out, command):
    script = f"cd {REPOSITORY} || exit 125\n{command}\n"
    with tarfile.open(out, "w") as tar:
        tar.add(REPOSITORY, filter=_wanted)
        info = tarfile.TarInfo("pyrunc-vm-command")
        info.size = len(script.encode())
        tar.addfile(info, io.BytesIO(script.encode()))


def _wanted(info):
    """Not what git keeps, nor what the guest makes anew, nor the images themselves."""
    below = "/" + info.name
    here = str(REPOSITORY)
    inside = below[len(here):] if below.startswith(here) else below
    taken = inside.startswith(tuple(os.environ.get("PYRUNC_VM_TAKE", "").split()))
    return None if inside.startswith(LEFT_OUT) and not taken or inside.endswith("__pycache__") else info


def _copy(stream):
    """The guest's output to ours, line by line, up to the mark: (its exit code or None, whether there was any)."""
    spoke = False
    for line in stream:
        text = line.decode("utf-8", "replace").replace("\r", "")
        if text.startswith(MARK):
            return int(text.split()[1]), True
        spoke = True
        sys.stdout.write(text)
        sys.stdout.flush()
    return None, spoke


KERNEL = "rw systemd.show_status=0 mitigations=off audit=0 quiet loglevel=3 psi=1"


def _uml(kind, made, work, memory):
    return [made / "linux-uml", f"ubd0={work}/cow,{made}/root.ext4", f"ubd1r={work}/in.tar", f"ubd2={work}/spare", "root=/dev/ubda",
            f"mem={memory}M", "ncpus=2", "seccomp=on", "con=null", "con0=null,fd:2", "con1=null,fd:1", "ssl=null",
            f"uml_dir={work}", "umid=guest", "pyrunc.in=/dev/ubdb", "pyrunc.out=/dev/tty1", *KERNEL.split()]


def _qemu(kind, made, work, memory):
    """NVMe is built into the kernel, but probes several disks in any order: so it has the root alone, and virtio the others."""
    drives = []
    for name, file, more, driver in (("root", f"{made}/root.ext4", ",snapshot=on,cache=unsafe", "nvme"),
                                     ("in", f"{work}/in.tar", ",readonly=on", "virtio-blk-pci"), ("spare", f"{work}/spare", "", "virtio-blk-pci")):
        drives += ["-drive", f"file={file},format=raw,if=none,id={name}{more}", "-device", f"{driver},drive={name},serial={name}"]
    append = f"root=/dev/nvme0n1 console=ttyS0 panic=-1 reboot=t nokaslr hugepages=16 pyrunc.in=/dev/vda pyrunc.out=/dev/hvc0 {KERNEL}"
    return ["qemu-system-x86_64", "-accel", "kvm" if kind == "kvm" else "tcg,thread=single", "-cpu", "max", "-M", "q35", "-m", memory,
            "-smp", "2", "-nodefaults", "-display", "none", "-no-reboot", *drives, "-chardev", "stdio,id=out,signal=off",
            "-device", "virtio-serial-pci", "-device", "virtconsole,chardev=out", "-serial", f"file:{work}/console-serial",
            "-device", "virtio-rng-pci", "-kernel", f"{made}/vmlinuz", "-append", append]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
