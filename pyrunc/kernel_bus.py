"""libsystemd's sd-bus: typed, raising BusError with what the peer said.

The library is opened by the first call. Arguments go over as one flat buffer of tokens, each a type letter and
    y b n q i u x t d   eight bytes, little-endian         s o g   length (u32), bytes, NUL
    a v r               a container: its contents' signature as a text; its tokens; E
"""

from __future__ import annotations

import errno
import posix

from pyrunc._native import ffi, lib

from .kernel import encode
from .typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrunc._native import struct_k_bus_reply

    Value = str | int | float | Sequence["Value"]  # bool and bytes too
    Answer = str | int | bytes | None

NUMBERS = frozenset("ybnqiuxt")
SIGNED = "nix"


class BusError(OSError):
    """A call that failed: `name` is D-Bus's of the error, "" where there is only an errno."""

    def __init__(self, err: int, message: str, name: str = "") -> None:
        super().__init__(err, message)
        self.name = name


class Connection:
    """One connection, to a message bus (`daemon`) or to the peer itself; it ends with the command."""

    def __init__(self, address: str, daemon: bool, timeout_ms: int) -> None:
        out = ffi.new("struct k_bus **")
        ret = lib.k_bus_open(encode(address), daemon, timeout_ms, out)
        if ret == -errno.ELIBACC:
            raise BusError(errno.ELIBACC, ffi.string(lib.k_bus_why()).decode("utf-8", "replace"))
        if ret < 0:
            raise BusError(-ret, posix.strerror(-ret).lower())
        self._bus = out[0]

    def call(self, destination: str, path: str, interface: str, member: str, flat: bytes, timeout_ms: int) -> Answer:
        """The first value of the reply: str, int, bytes, or None if it is of another type."""
        reply = ffi.new("struct k_bus_reply *")
        ret = lib.k_bus_call(self._bus, encode(destination), encode(path), encode(interface), encode(member), flat, len(flat),
                             timeout_ms, reply)
        return _value(ret, reply)

    def wait_job(self, job: str, timeout_ms: int) -> Answer:
        """The result of a job of systemd's, once it is removed; BusError ETIMEDOUT."""
        reply = ffi.new("struct k_bus_reply *")
        return _value(lib.k_bus_job(self._bus, encode(job), timeout_ms, reply), reply)


def _value(ret: int, reply: struct_k_bus_reply) -> Answer:
    if ret < 0:
        message = ffi.string(reply.message).decode("utf-8", "replace") or posix.strerror(-ret).lower()
        raise BusError(-ret, message, ffi.string(reply.error).decode("utf-8", "replace"))
    data = bytes(ffi.buffer(reply.data, reply.len))
    if reply.type == b"t":
        return int.from_bytes(data, "little")
    if reply.type == b"s":
        return data.decode("utf-8", "replace")
    return data if reply.type == b"y" else None


def flat(signature: str, *values: Value) -> bytes:
    """The tokens of values of these types, `signature` being that of all of them."""
    return b"".join([_token(kind, value) for kind, value in zip(split(signature), values, strict=True)])


def split(signature: str) -> list[str]:
    """The single complete types of a signature: `sa(sv)u` -> s, a(sv), u."""
    out, at = [], 0
    while at < len(signature):
        end = at
        while signature[end] == "a":
            end += 1
        if signature[end] == "(":
            depth = 1
            while depth:
                end += 1
                depth += {"(": 1, ")": -1}.get(signature[end], 0)
        out.append(signature[at:end + 1])
        at = end + 1
    return out


def _token(kind: str, value: Value) -> bytes:
    if isinstance(value, str):
        if kind in ("s", "o", "g"):
            return kind.encode() + _text(value)
    elif isinstance(value, (int, float)):
        if kind == "d":
            return b"d" + bytes(ffi.buffer(ffi.new("double *", value)))
        if kind in NUMBERS:
            return kind.encode() + int(value).to_bytes(8, "little", signed=kind in SIGNED)
    elif kind[0] == "a":
        return _container("a", kind[1:], b"".join([_token(kind[1:], item) for item in value]))
    elif kind[0] == "(":
        return _container("r", kind[1:-1], flat(kind[1:-1], *value))
    elif kind == "v":
        contents, inner = value
        if isinstance(contents, str):
            return _container("v", contents, _token(contents, inner))
    raise TypeError(f"{value!r} is not of the D-Bus type {kind}")


def _container(letter: str, contents: str, tokens: bytes) -> bytes:
    return letter.encode() + _text(contents) + tokens + b"E"


def _text(text: str) -> bytes:
    data = encode(text)
    return len(data).to_bytes(4, "little") + data + b"\0"
