"""Which sysctls a container may set, and the file a key stands for. Pure.

/proc/sys is only partly namespaced; what isn't would change the host (config-linux.md#sysctl, runc's allow list).
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

IPC = {
    "kernel.msgmax": True, "kernel.msgmnb": True, "kernel.msgmni": True, "kernel.sem": True, "kernel.shmall": True,
    "kernel.shmmax": True, "kernel.shmmni": True, "kernel.shm_rmid_forced": True,
}


def dotted(key: str) -> str:
    """The key with `.` between its parts. sysctl(8): the separator that comes first decides, the other is literal."""
    for char in key:
        if char == ".":
            return key
        if char == "/":
            return _swap(key)
    return key


def path(key: str) -> str:
    """The file below /proc/sys: `net.ipv4.conf.eth0/1.mtu` and `net/ipv4/conf/eth0.1/mtu` are the same one."""
    return _swap(dotted(key))


def _swap(key: str) -> str:
    return key.translate({0x2E: "/", 0x2F: "."})


def refusal(key: str, namespaces: Container[str]) -> str | None:
    """Why the key must not be set in a container with these namespaces, in runc's words; or None."""
    name = dotted(key)
    for part in path(key).split("/"):
        if part in ("", ".", ".."):
            return f'sysctl "{key}" is not the name of a kernel parameter'
    if name in IPC or name.startswith("fs.mqueue."):
        return None if "ipc" in namespaces else f'sysctl "{name}" is not allowed in the hosts ipc namespace'
    if name.startswith("net."):
        return None if "network" in namespaces else f'sysctl "{name}" not allowed in host network namespace'
    if name.startswith("user."):
        if "user" in namespaces:
            return None
        return f"setting ucounts without a user namespace not allowed: {name}"
    if name == "kernel.domainname" and "uts" in namespaces:
        return None
    if name == "kernel.hostname" and "uts" in namespaces:
        return f'sysctl "{name}" is not allowed as it conflicts with the OCI "hostname" field'
    return f'sysctl "{name}" is not in a separate kernel namespace'
