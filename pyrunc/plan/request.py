"""What a caller of the compilers asks for, besides config and facts. Pure.

What state.json keeps of a request is a plain dict (`Request.kept`): the plan can be compiled from it again.
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, TypedDict

    class Unit(TypedDict):
        """A unit of systemd's, as state.json keeps it: its manager, its names."""

        bus: str
        unit: str
        slice: str
        name: str

    class Adopting(Unit):
        """The unit of a container, by whose manager a process is put into its group."""

        group: str | None

    class Kept(TypedDict, total=False):
        """What state.json keeps of a Request."""

        rootless: bool
        gate: bool
        detach: bool
        no_pivot: bool
        no_new_keyring: bool
        preserve: int
        listen_fds: int
        notify: bool
        pidfd_socket: str
        inside: dict[str, str]

    Filter = tuple[bytes, int, tuple[str, str] | None]  # BPF, flags of seccomp(2), (path, metadata) of the agent
    Rows = list[list[str]]  # [controllers, mount point, group] of v1 hierarchies


class Request:
    """A container to be created.

    id            its name                                  bundle, state    absolute paths of the two directories
    rootless      cgroups may be done without               cgroup           path in the cgroup2 tree, or None
    cgroup_v1     its groups on v1 hierarchies              unit             of systemd's: that makes the group (scope.py)
    bpf           the filter, or None                       gate             create: init waits for `start`; not so for run
    detach        nobody stays until the process ends       no_pivot, no_new_keyring     the options of these names
    preserve      count of descriptors from 3 on            listen_fds       count of sockets before these
    notify        NOTIFY_SOCKET is passed on                pidfd_socket     who is sent a pidfd
    environ       of hooks without one                      inside           {position in mounts: bind source below the root}
    """

    __slots__ = ("id", "bundle", "state", "rootless", "cgroup", "cgroup_v1", "unit", "bpf", "gate", "detach", "no_pivot",
                 "no_new_keyring", "preserve", "listen_fds", "notify", "pidfd_socket", "environ", "inside")
    # what a plan depends on besides config and facts and what state.json has elsewhere
    KEPT = ("rootless", "gate", "detach", "no_pivot", "no_new_keyring", "preserve", "listen_fds", "notify", "pidfd_socket", "inside")

    def __init__(self, id: str, bundle: str, state: str, *, rootless: bool = False, cgroup: str | None = None,
                 cgroup_v1: Rows | None = None, unit: Unit | None = None, bpf: Filter | None = None, gate: bool = False,
                 detach: bool = False, no_pivot: bool = False, no_new_keyring: bool = False, preserve: int = 0, listen_fds: int = 0,
                 notify: bool = False, pidfd_socket: str | None = None, environ: list[str] | None = None,
                 inside: Mapping[str, str] | None = None) -> None:
        self.id = id
        self.bundle = bundle
        self.state = state
        self.rootless = rootless
        self.cgroup = cgroup
        self.cgroup_v1 = cgroup_v1 or []
        self.unit = unit
        self.bpf = bpf
        self.gate = gate
        self.detach = detach
        self.no_pivot = no_pivot
        self.no_new_keyring = no_new_keyring
        self.preserve = preserve
        self.listen_fds = listen_fds
        self.notify = notify
        self.pidfd_socket = pidfd_socket
        self.environ = environ or []
        self.inside = inside or {}

    @classmethod
    def known(cls, kept: Kept) -> dict[str, Any]:
        """Of what state.json has kept, what this version knows: a newer one may have kept more."""
        return {name: value for name, value in kept.items() if name in cls.KEPT}

    def kept(self) -> dict[str, Any]:
        """What state.json keeps of it."""
        return {name: getattr(self, name) for name in self.KEPT if getattr(self, name)}


class Joining:
    """A process to be executed in a container: `id` is the container's.

    follow        no group was asked for by name            unit             if only systemd may move a process into the group
    rdt           names of the container's resctrl groups   file             where the process stands
    unlimited     nothing is lost where the group may not be entered
    """

    __slots__ = ("id", "cgroup", "cgroup_v1", "follow", "unit", "rdt", "bpf", "detach", "preserve", "no_new_keyring", "pidfd_socket",
                 "file", "unlimited")

    def __init__(self, id: str, *, cgroup: str | None = None, cgroup_v1: Rows | None = None, follow: bool = False,
                 unit: Adopting | None = None, rdt: Sequence[str] | None = None, bpf: Filter | None = None, detach: bool = False,
                 preserve: int = 0, no_new_keyring: bool = False, pidfd_socket: str | None = None, file: str | None = None,
                 unlimited: bool = False) -> None:
        self.id = id
        self.cgroup = cgroup
        self.cgroup_v1 = cgroup_v1 or []
        self.follow = follow
        self.unit = unit
        self.rdt = rdt or ()
        self.bpf = bpf
        self.detach = detach
        self.preserve = preserve
        self.no_new_keyring = no_new_keyring
        self.pidfd_socket = pidfd_socket
        self.file = file
        self.unlimited = unlimited
