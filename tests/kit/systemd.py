"""A Runtime whose containers are systemd's units, and what systemd says of a unit. Used by tests/root/test_systemd.py."""

import os
import pwd
import subprocess
from pathlib import Path

from kit.runtime import Runtime, wait_until

CGROUPS = Path("/sys/fs/cgroup")
# Of a run, not of a unit: when, how much, which of all its instances; and what is said of it by number.
PASSING = ("Timestamp", "TimestampMonotonic", "InvocationID", "ControlGroupId", "Current", "NSec", "Bytes", "Operations",
           "Packets", "MemoryAvailable")


def absent():
    """Why systemd cannot be used here; None if it can."""
    if Path("/proc/1/comm").read_text().strip() != "systemd" or not Path("/run/systemd/system").exists():
        return "needs systemd as pid 1: make test-vm"
    return None if (CGROUPS / "cgroup.controllers").exists() else "needs a pure cgroup2 tree: make test-vm"


class Systemd(Runtime):
    """create and run get --systemd-cgroup; whatever of systemd's has the test's token in its name is a leftover."""

    def spawn(self, *args, options=(), **how):
        first = ("--systemd-cgroup",) if args[0] in ("create", "run", "explain") else ()
        return super().spawn(*args, options=(*first, *options), **how)

    def container(self, *patches, **how):
        """In a scope of system.slice, unless a patch says otherwise."""
        place = {"linux": {"cgroupsPath": f"system.slice:pt:{self.token}-{next(self.serial)}"}}
        return super().container(place, *patches, **how)

    def leftovers(self):
        return super().leftovers() + [f"unit: {unit}" for unit in self.units()]

    def units(self):
        listed = systemctl("list-units", "--all", "--plain", "--no-legend", f"*{self.token}*")
        return [line.split()[0] for line in listed.splitlines()]

    def cgroups(self):
        found = subprocess.run(["find", CGROUPS, "-name", f"*{self.token}*", "-prune"], capture_output=True, text=True, check=False)
        return found.stdout.split()

    def sweep(self):
        for unit in self.units():
            subprocess.run(["systemctl", "stop", "--", unit], check=False)
            subprocess.run(["systemctl", "reset-failed", "--", unit], check=False, stderr=subprocess.DEVNULL)
        super().sweep()


class UsersSystemd(Systemd):
    """The same as an ordinary user: the user's own manager, and containers with a user namespace in which the user is root."""

    def __init__(self, binary, user="tester"):
        super().__init__(binary)
        self.uid, self.gid = pwd.getpwnam(user)[2:4]
        self.directory = f"/run/user/{self.uid}"
        self.env = {**self.env, "XDG_RUNTIME_DIR": self.directory}
        subprocess.run(["loginctl", "enable-linger", user], check=True)
        wait_until(lambda: Path(self.directory, "bus").exists(), 20, "no user bus")
        wait_until(lambda: self.systemctl("show", "-P", "Version"), 20, "no user manager")
        self.drop = ()  # what stands between the user and the runtime
        self.slice = f"user.slice/user-{self.uid}.slice/user@{self.uid}.service"
        for path in (self.base, self.root):
            os.chown(path, self.uid, self.gid)

    def spawn(self, *args, wrap=(), **how):
        drop = ("setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--init-groups", "--inh-caps=-all")
        return super().spawn(*args, wrap=(*wrap, *drop, *self.drop), **how)

    def container(self, *patches, **how):
        place = {"linux": {"cgroupsPath": f"user.slice:pt:{self.token}-{next(self.serial)}"}}
        return super().container(place, self.rootless, *patches, **how)

    def rootless(self, config):
        linux = config["linux"]
        linux["namespaces"].append({"type": "user"})
        linux["uidMappings"] = [{"containerID": 0, "hostID": self.uid, "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": self.gid, "size": 1}]
        for mount in config["mounts"]:
            mount["options"] = [option for option in mount.get("options", []) if option != "gid=5"]

    def systemctl(self, *args):
        env = {**self.env, "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.directory}/bus"}
        done = subprocess.run(["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups", "systemctl", "--user", *args],
                              capture_output=True, text=True, check=False, env=env)
        return done.stdout

    def units(self):
        listed = self.systemctl("list-units", "--all", "--plain", "--no-legend", f"*{self.token}*")
        return [line.split()[0] for line in listed.splitlines()]


def unit_of(container):
    """The unit of the cgroupsPath that a container was given."""
    _, prefix, name = container.bundle.config["linux"]["cgroupsPath"].split(":")
    return name if name.endswith(".slice") else f"{prefix}-{name}.scope"


def systemctl(*args):
    return subprocess.run(["systemctl", *args], capture_output=True, text=True, check=False).stdout


def show(unit):
    """{property: text} of a unit; a list, such as DeviceAllow, in one order."""
    out = {}
    for line in systemctl("show", "--", unit).splitlines():
        name, _, text = line.partition("=")
        out[name] = "\n".join(sorted([*out.get(name, "").splitlines(), text])).strip()
    return {name: text for name, text in out.items() if not name.endswith(PASSING)}


def group(unit):
    return CGROUPS / systemctl("show", "-P", "ControlGroup", "--", unit).strip().lstrip("/")
