"""PostgreSQL's wire protocol as far as a relay needs it: where messages begin and end, and a few small ones.

Sources: https://www.postgresql.org/docs/17/protocol-flow.html and protocol-message-formats.html beside it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from release.log.values import without_values

SSL_REQUEST: Final = 80877103
GSSENC_REQUEST: Final = 80877104
CANCEL_REQUEST: Final = 80877102
MAJOR: Final = 3

STARTUP_BYTES: Final = 10_000
"""What a startup packet may have at most (MAX_STARTUP_PACKET_LENGTH in the server's pqcomm.h)."""

TEXT_BYTES: Final = 32_768
"""So much of a statement is read; a longer one is judged by its beginning, which is never surely a read."""

NAME_BYTES: Final = 1_024

FROM_CLIENT: Final = {
    **dict.fromkeys(b"QP", TEXT_BYTES),  # Query, Parse
    **dict.fromkeys(b"BECD", NAME_BYTES),  # Bind, Execute, Close, Describe
    **dict.fromkeys(b"SFcfX", 1),  # Sync, FunctionCall, CopyDone, CopyFail, Terminate
}
"""The client's messages that are read, and how many bytes of each."""

FROM_SERVER: Final = {
    **dict.fromkeys(b"ECS", 4_096),  # ErrorResponse, CommandComplete, ParameterStatus
    # ReadyForQuery; ParseComplete, BindComplete, CloseComplete, NoData, RowDescription; EmptyQuery, PortalSuspended;
    # CopyIn, CopyBoth, FunctionCallResponse
    **dict.fromkeys(b"Z123nTIsGWV", 1),
}
"""The server's messages that are read, and how many bytes of each."""

_HEADER = struct.Struct(">BI")


class ProtocolError(Exception):
    """Somebody does not speak PostgreSQL's protocol, or speaks what the witness does not know."""


class Message(NamedTuple):
    """A message that has passed: its type byte, the beginning of its body, and whether that is all of it."""

    kind: int
    body: bytes
    whole: bool


class Frames:
    """Follows the messages of one direction while their bytes pass; keeps of them no more than what is asked for."""

    def __init__(self, wanted: Mapping[int, int]) -> None:
        self._limits = [wanted.get(kind, 0) for kind in range(256)]
        self._head = bytearray()
        self._kind = self._left = 0
        self._body = bytearray()
        self._whole = True

    @property
    def between(self) -> bool:
        """Whether the bytes so far end with the end of a message."""
        return not self._left and not self._head

    def feed(self, data: bytes | bytearray | memoryview) -> list[Message]:
        """Takes the next bytes; returns the wanted messages that end in them. Raises ProtocolError."""
        found: list[Message] = []
        at, end = 0, len(data)
        while at < end:
            if self._left:
                at = self._continue(data, at, end, found)
            elif not self._head:
                at = self._skip(data, at, end)
                if end - at >= _HEADER.size:
                    kind, length = _HEADER.unpack_from(data, at)
                    self._begin(kind, length, found)
                    at += _HEADER.size
                else:
                    self._head += data[at:end]
                    at = end
            else:
                missing = _HEADER.size - len(self._head)
                self._head += data[at : at + missing]
                at = min(at + missing, end)
                if len(self._head) == _HEADER.size:
                    kind, length = _HEADER.unpack(self._head)
                    self._head.clear()
                    self._begin(kind, length, found)
        return found

    def _skip(self, data: bytes | bytearray | memoryview, at: int, end: int) -> int:
        """Passes whole messages that nobody wants: rows, mostly. The only loop that counts for the speed."""
        limits, unpack = self._limits, _HEADER.unpack_from
        while end - at >= 5:  # noqa: PLR2004 -- the header's size, as a constant for the speed
            kind, length = unpack(data, at)
            after = at + 1 + length
            if limits[kind] or after > end or length < 4:  # noqa: PLR2004 -- the length counts itself
                break
            at = after
        return at

    def _begin(self, kind: int, length: int, found: list[Message]) -> None:
        if length < 4:  # noqa: PLR2004 -- the length counts itself
            raise ProtocolError(f"a message of type {chr(kind)!r} has the length {length}")
        self._kind, self._left, self._whole = kind, length - 4, True
        self._body.clear()
        if not self._left:
            self._end(found)

    def _continue(self, data: bytes | bytearray | memoryview, at: int, end: int, found: list[Message]) -> int:
        step = min(self._left, end - at)
        room = self._limits[self._kind] - len(self._body)
        if room > 0:
            self._body += data[at : at + min(step, room)]
        if room < step:
            self._whole = False
        self._left -= step
        if not self._left:
            self._end(found)
        return at + step

    def _end(self, found: list[Message]) -> None:
        if self._limits[self._kind]:
            found.append(Message(self._kind, bytes(self._body), self._whole))


class Startup(NamedTuple):
    """A startup message: the protocol's version and the parameters, in the client's order."""

    minor: int
    parameters: tuple[tuple[bytes, bytes], ...]

    def get(self, name: bytes) -> bytes:
        """A parameter's value, the last one that was given; empty when there is none."""
        return dict(self.parameters).get(name, b"")

    @property
    def replication(self) -> bool:
        """Whether it asks for a replication connection, of either kind."""
        return self.get(b"replication").lower() not in {b"", b"false", b"off", b"no", b"0", b"f", b"n"}


def startup(payload: bytes) -> Startup:
    """Reads a startup message, without its length. Raises ProtocolError."""
    version = int.from_bytes(payload[:4])
    if version >> 16 != MAJOR:
        raise ProtocolError(f"unsupported frontend protocol {version >> 16}.{version & 0xFFFF}")
    words = payload[4:].split(b"\0")
    if len(words) < 2 or words[-2:] != [b"", b""] or len(words) % 2:  # noqa: PLR2004 -- an end, and pairs
        raise ProtocolError("invalid startup packet layout: expected terminator as last byte")
    pairs = words[:-2]
    return Startup(version & 0xFFFF, tuple(zip(pairs[::2], pairs[1::2], strict=True)))


def startup_packet(asked: Startup, settings: Iterable[tuple[str, str]]) -> bytes:
    """The startup message for the server: the client's own, then settings, so that these have the last word."""
    parameters = [*asked.parameters, *((name.encode(), value.encode()) for name, value in settings)]
    body = b"".join(name + b"\0" + value + b"\0" for name, value in parameters)
    return packet(((MAJOR << 16) | asked.minor).to_bytes(4) + body + b"\0")


def packet(payload: bytes) -> bytes:
    """A packet without a type, as they are before the session has begun."""
    return (len(payload) + 4).to_bytes(4) + payload


def message(kind: bytes, payload: bytes = b"") -> bytes:
    """A message."""
    return kind + packet(payload)


def authentication(code: int, payload: bytes = b"") -> bytes:
    """An authentication request, or (code 0) that it is over."""
    return message(b"R", code.to_bytes(4) + payload)


def fatal(sqlstate: str, text: str) -> bytes:
    """An error that ends a session, from the witness itself."""
    fields = {"S": "FATAL", "V": "FATAL", "C": sqlstate, "M": text}
    return message(b"E", b"".join(f"{key}{value}".encode() + b"\0" for key, value in fields.items()) + b"\0")


class ServerError(NamedTuple):
    """What an ErrorResponse says: SQLSTATE, message, which columns it is about, and whether it ends the session."""

    sqlstate: str
    text: str
    detail: str
    ends: bool


def server_error(body: bytes) -> ServerError:
    """Reads an ErrorResponse."""
    fields = {field[:1]: field[1:].decode(errors="replace") for field in body.split(b"\0") if field}
    severity = fields.get(b"V") or fields.get(b"S", "")
    detail = without_values(fields.get(b"D", ""))
    about = detail if detail.startswith("Key (") else ""  # another one may say anything
    return ServerError(fields.get(b"C", ""), fields.get(b"M", ""), about, severity in {"FATAL", "PANIC"})


def texts(body: bytes, count: int) -> tuple[bytes, ...] | None:
    """The first null-terminated texts of a body; None when it is too short for them."""
    words = body.split(b"\0", count)
    return tuple(words[:count]) if len(words) > count else None
