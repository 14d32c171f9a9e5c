"""systemd as the one who makes groups: a container's scope is started, changed and stopped over D-Bus.

Imported only with --systemd-cgroup, or for a container made with it. Which manager is asked is one word, `bus`, that
state.json keeps: "system", or the address of a user's bus. What happens inside of the group (kill, freeze, limits) is
done in the cgroup2 tree as for any other; nothing but the unit's life needs the bus.
"""

from __future__ import annotations

import posix
import time
from errno import ELIBACC, ETIMEDOUT

from pyrunc.errors import Error
from pyrunc.host.cgroup.v2 import Foreign
from pyrunc.kernel_bus import BusError, Connection, flat
from pyrunc.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyrunc.facts import Facts
    from pyrunc.host.cgroup.v2 import Cgroup
    from pyrunc.kernel_bus import Answer, Value
    from pyrunc.plan.request import Unit

    Property = tuple[str, str, Value]  # name, D-Bus type, value

NAME = "org.freedesktop.systemd1"
PATH = "/org/freedesktop/systemd1"
MANAGER = NAME + ".Manager"
SYSTEM_BUS, PRIVATE = "unix:path=/run/dbus/system_bus_socket", "unix:path=/run/systemd/private"
MATCH = f"type='signal',sender='{NAME}',path='{PATH}',interface='{MANAGER}',member='JobRemoved'"
CONNECT_MS, CALL_MS, JOB_MS = 3000, 5000, 30000
BUS = "org.freedesktop.DBus"
NO_OWNER = BUS + ".Error.NameHasNoOwner"
UNIT_EXISTS, NO_UNIT = NAME + ".UnitExists", NAME + ".NoSuchUnit"
POINTER = "/linux/cgroupsPath"
DEPENDENCIES = ("hint: for rootless containers, maybe you need to install dbus-user-session package, "
                "see https://github.com/opencontainers/runc/blob/master/docs/cgroup-v2.md")


def bus_of(facts: Facts) -> str:
    """Whose manager makes the group: the system's for its root; a user's own, also for root of a user namespace."""
    address = _environ("DBUS_SESSION_BUS_ADDRESS")
    if not address and _environ("XDG_RUNTIME_DIR"):
        address = f"unix:path={_environ('XDG_RUNTIME_DIR')}/bus"
    if facts.euid == 0 and not (facts.userns and address):
        return "system"
    if not address:
        raise _unreachable("neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set")
    return address


def _environ(name: str) -> str:
    return posix.environ.get(name.encode(), b"").decode("utf-8", "surrogateescape")


def probe(bus: str) -> tuple[int, str]:
    """(systemd's version, the path of its own group): what a plan must know of it."""
    manager = connect(bus)
    version, _, _ = manager.text(PATH, MANAGER, "Version").partition(" ")
    digits = version.lstrip("v").partition(".")[0].partition("~")[0].partition("-")[0]
    return int(digits) if digits.isdigit() else 0, manager.text(PATH, MANAGER, "ControlGroup").strip("/")


_managers: dict[str, Manager] = {}


def connect(bus: str) -> Manager:
    """The connection to that manager, made once."""
    if bus not in _managers:
        _managers[bus] = Manager(bus)
    return _managers[bus]


class Manager:
    """A connection to one systemd, and its methods."""

    def __init__(self, bus: str) -> None:
        try:
            posix.stat("/run/systemd/system")
        except OSError:
            raise Error("systemd not running on this host, cannot use systemd cgroups manager",
                        "run without --systemd-cgroup") from None
        try:
            self._connect(bus)
        except BusError as err:
            if err.errno == ELIBACC:
                raise Error(f"--systemd-cgroup needs libsystemd: {err.strerror}", "apt-get install libsystemd0") from None
            raise _unreachable(err.strerror or "") from None

    def _connect(self, bus: str) -> None:
        address = SYSTEM_BUS if bus == "system" else bus
        if not all([one.startswith(("unix:path=", "unix:abstract=")) for one in address.split(";")]):
            raise _unreachable(f"{address}: not a unix socket")  # an address can name a command to execute, too
        try:
            self.connection = Connection(address, True, CONNECT_MS)
            self._await_systemd()
            self._ask_bus("AddMatch", MATCH)
        except BusError as err:
            if bus != "system" or err.errno == ELIBACC:
                raise
            self.connection = Connection(PRIVATE, False, CONNECT_MS)  # pid 1 itself, without a bus

    def _await_systemd(self) -> None:
        """A user's bus is started by who connects first, and the user's systemd joins it a moment later."""
        deadline = time.monotonic() + CONNECT_MS / 1000
        while True:
            try:
                self._ask_bus("GetNameOwner", NAME)
                return
            except BusError as err:
                if err.name != NO_OWNER:
                    raise
                if time.monotonic() > deadline:
                    raise BusError(err.errno or ETIMEDOUT, "systemd is not on the bus") from None
            time.sleep(0.02)

    def _ask_bus(self, member: str, text: str) -> None:
        self.connection.call(BUS, "/org/freedesktop/DBus", BUS, member, flat("s", text), CALL_MS)

    def call(self, member: str, signature: str, *values: Value) -> Answer:
        return self.connection.call(NAME, PATH, MANAGER, member, flat(signature, *values), CALL_MS)

    def get(self, path: str, interface: str, name: str) -> Answer:
        try:
            return self.connection.call(NAME, path, "org.freedesktop.DBus.Properties", "Get", flat("ss", interface, name), CALL_MS)
        except BusError as err:
            raise Error(f"systemd does not answer: {name}: {err.strerror}", errno=err.errno) from None

    def text(self, path: str, interface: str, name: str) -> str:
        return _text(self.get(path, interface, name))

    def wait(self, job: str, doing: str, unit: str) -> None:
        """A job has 30 seconds to be done."""
        try:
            result = self.connection.wait_job(job, JOB_MS)
        except BusError as err:
            how = "Timed out" if err.errno == ETIMEDOUT else f"the bus failed ({err.strerror})"
            raise Error(f"{how} while waiting for systemd to {doing} {unit}", errno=err.errno) from None
        if result != "done":
            raise Error(f"error {doing[:-1]}ing systemd unit `{unit}`: got `{_text(result)}`", f"see systemctl status {unit}")

    def reset(self, unit: str) -> None:
        """Forget a unit that has failed. systemd may not know it at all."""
        try:
            self.call("ResetFailedUnit", "s", unit)
        except BusError:
            pass


def _text(answer: Answer) -> str:
    if not isinstance(answer, str):
        raise Error(f"systemd has answered {answer!r} where it should say a text")
    return answer


def _unreachable(reason: str) -> Error:
    return Error(f"failed to connect to dbus ({DEPENDENCIES}): {reason}")


# --- the life of a unit ---


def start(bus: str, unit: str, properties: Sequence[Property], pid: int, group: Cgroup) -> None:
    """The unit is active, `pid` in its group, and that is the one which was expected; Foreign if there is one already."""
    manager = connect(bus)
    if not unit.endswith(".slice"):  # a slice is born empty
        properties = [*properties, ("PIDs", "au", [pid])]
    rows = [(name, (kind, value)) for name, kind, value in properties]
    try:
        job = _start(manager, unit, rows)
    except BusError as err:
        kind = Foreign if err.name == UNIT_EXISTS else Error
        raise kind(f'unable to start unit "{unit}": {err.strerror}', pointer=POINTER, errno=err.errno) from None
    try:
        manager.wait(job, "create", unit)
    except Error:
        manager.reset(unit)
        raise
    found = control_group(manager, unit)
    if found and found != f"/{group.relative}":
        raise Error(f'systemd has put unit "{unit}" into the cgroup {found}, not into /{group.relative}', pointer=POINTER)


def _start(manager: Manager, unit: str, rows: Value) -> str:
    """A unit that has failed keeps its name. It is reset then, and started once more."""
    try:
        return _text(manager.call("StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "replace", rows, []))
    except BusError as err:
        if err.name != UNIT_EXISTS:
            raise
    manager.reset(unit)
    return _text(manager.call("StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "replace", rows, []))


def control_group(manager: Manager, unit: str) -> str:
    return manager.text(_path_of(unit), _interface(unit), "ControlGroup")


def current(bus: str, unit: str, properties: Iterable[Property]) -> list[Property]:
    """The present values of these properties."""
    manager = connect(bus)
    rows = [(name, kind, manager.get(_path_of(unit), _interface(unit), name)) for name, kind, _ in properties]
    return [(name, kind, value) for name, kind, value in rows if value is not None]


def change(bus: str, unit: str, properties: Iterable[Property]) -> None:
    """The properties are in force on return. systemd answers before it writes to the group, but writes before it reads the next call."""
    manager = connect(bus)
    try:
        manager.call("SetUnitProperties", "sba(sv)", unit, True, [(name, (kind, value)) for name, kind, value in properties])
    except BusError as err:
        raise Error(f'unable to set properties of unit "{unit}": {err.strerror}', errno=err.errno) from None
    control_group(manager, unit)


def attach(bus: str, unit: str, pid: int, below: str) -> None:
    """Put a process into the unit's group, or one below it, where we have no right to move it ourselves."""
    try:
        connect(bus).call("AttachProcessesToUnit", "ssau", unit, below, [pid])
    except BusError as err:
        raise Error(f'unable to attach a process to unit "{unit}": {err.strerror}', errno=err.errno) from None


def check_free(spot: Unit) -> None:
    """Refuse the name of a unit that exists. One that has failed does not count."""
    unit, manager = spot["unit"], connect(spot["bus"])
    try:
        path = _text(manager.call("GetUnit", "s", unit))
    except BusError as err:
        if err.name == NO_UNIT:
            return
        raise Error(f'systemd does not answer: GetUnit "{unit}": {err.strerror}', errno=err.errno) from None
    if manager.text(path, NAME + ".Unit", "ActiveState") not in ("inactive", "failed"):
        raise Error(f'unable to start unit "{unit}": Unit {unit} already exists.', pointer=POINTER)


def stop(bus: str, unit: str) -> None:
    """Stop the unit, and do not mind if it is gone: a scope goes by itself with its last process."""
    manager = connect(bus)
    try:
        manager.wait(_text(manager.call("StopUnit", "ss", unit, "replace")), "remove", unit)
    except BusError as err:
        if err.name != NO_UNIT:
            raise Error(f'unable to stop unit "{unit}": {err.strerror}', errno=err.errno) from None
    manager.reset(unit)


def _interface(unit: str) -> str:
    return NAME + (".Slice" if unit.endswith(".slice") else ".Scope")


def _path_of(unit: str) -> str:
    """The object of a unit: a byte that is neither letter nor digit is written as its number."""
    letters = [chr(byte) if chr(byte).isalnum() and byte < 128 and (at or not chr(byte).isdigit()) else f"_{byte:02x}"
               for at, byte in enumerate(unit.encode())]
    return f"{PATH}/unit/{''.join(letters)}"
