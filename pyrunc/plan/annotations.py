"""`org.systemd.property.NAME` annotations as properties of the container's unit. Pure.

A manager passes on annotations that its users write, and a unit's properties include commands that systemd executes as
root (CVE-2024-3154). So not what is dangerous is listed here but what is not: how the unit is ended, its
own limits, its place in an order. Nothing that executes, reaches another unit, or moves processes.
"""

from ..errors import Error
from . import gvariant

PREFIX = "org.systemd.property."
MILLION = 1000000
# property -> its type, as D-Bus writes it
OF_UNITS = {
    "Description": "s", "Documentation": "as", "After": "as", "Before": "as", "DefaultDependencies": "b", "CollectMode": "s",
    "IgnoreOnIsolate": "b", "JobTimeoutUSec": "t", "JobRunningTimeoutUSec": "t",
    "CPUAccounting": "b", "CPUWeight": "t", "StartupCPUWeight": "t", "CPUQuotaPerSecUSec": "t", "CPUQuotaPeriodUSec": "t",
    "AllowedCPUs": "ay", "StartupAllowedCPUs": "ay", "AllowedMemoryNodes": "ay", "StartupAllowedMemoryNodes": "ay",
    "IOAccounting": "b", "IOWeight": "t", "StartupIOWeight": "t",
    "MemoryAccounting": "b", "MemoryMin": "t", "MemoryLow": "t", "MemoryHigh": "t", "MemoryMax": "t", "MemorySwapMax": "t",
    "MemoryZSwapMax": "t", "DefaultMemoryMin": "t", "DefaultMemoryLow": "t", "TasksAccounting": "b", "TasksMax": "t",
    "IPAccounting": "b", "ManagedOOMSwap": "s", "ManagedOOMMemoryPressure": "s", "ManagedOOMMemoryPressureLimit": "u",
    "ManagedOOMPreference": "s",
}
OF_SCOPES = {
    "TimeoutStopUSec": "t", "RuntimeMaxUSec": "t", "RuntimeRandomizedExtraUSec": "t", "OOMPolicy": "s", "KillMode": "s",
    "KillSignal": "i", "RestartKillSignal": "i", "FinalKillSignal": "i", "SendSIGHUP": "b", "SendSIGKILL": "b",
}


def properties(annotations, is_slice):
    """(property, type, value, annotation) of each that has the prefix."""
    known = OF_UNITS if is_slice else {**OF_UNITS, **OF_SCOPES}
    for key, text in annotations.items():
        if key.startswith(PREFIX):
            name, value = _one(key, key[len(PREFIX):], text, known)
            yield name, known[name], value, key


def _one(key, name, text, known):
    if len(name) < 3:
        raise _refused(f"annotation {key} name incorrect: too short", key)
    if not (name.isascii() and name.isalpha()):
        raise _refused(f"annotation {key} name incorrect: contains non-alphabetic character", key)
    seconds = name.endswith("Sec") and name[-4:-3].islower()  # StopSec; in USec a capital stands before it
    if seconds:
        name = name[:-3] + "USec"
    if name not in known:
        raise _refused(f"annotation {key}: the unit property {name} cannot be set by an annotation", key,
                       "annotations can set: " + " ".join(sorted(known)))
    try:
        found = gvariant.parse(text)
        if seconds:
            found = _microseconds(found)
        return name, gvariant.as_type(known[name], found)
    except gvariant.Bad as err:
        raise _refused(f"annotation {key}={text} value parse error: {err}", key,
                       f"the value has type {known[name]}, written as GVariant text") from None


def _microseconds(found):
    kind, value = found
    if type(value) not in (int, float) or kind == "b":
        raise gvariant.Bad("not a number")
    if not 0 <= value < (1 << 64) // MILLION:  # a float that is no number is not in there either
        raise gvariant.Bad(f"{value} is out of range")
    return "t", int(value * MILLION)


def _refused(message, key, hint=None):
    return Error(message, hint, pointer=f"/annotations/{key.replace('~', '~0').replace('/', '~1')}")
