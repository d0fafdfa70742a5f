"""The beginning of a session: what a client asks for, TLS, both authentications, up to the first ReadyForQuery."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Final, NamedTuple

from release.witness import protocol
from release.witness.authentication import OK, ToServer, authenticate_client
from release.witness.protocol import Message, ProtocolError, Startup, message
from release.witness.tls import ALPN, Certificate
from release.witness.upstream import Connection, Upstream

SECONDS: Final = 60.0
"""For a client to say who it is: the server's default of `authentication_timeout`."""

MESSAGE_BYTES: Final = 65_536
"""What one message may have before a session has begun."""

_TLS_HANDSHAKE: Final = 0x16

FEATURE_NOT_SUPPORTED: Final = "0A000"
INVALID_PASSWORD: Final = "28P01"  # noqa: S105 -- an SQLSTATE
CONNECTION_FAILURE: Final = "08006"
PROTOCOL_VIOLATION: Final = "08P01"


class Cancel(NamedTuple):
    """A client's wish to cancel a statement: the session's pid and key, as bytes."""

    process: bytes


class Begun(NamedTuple):
    """A session that may run statements: its server process's pid and key, as bytes."""

    pid: int
    process: bytes


class Caller:
    """A client that has not said who it is. `connection`: where to go on with it, inside TLS once it asked for that."""

    def __init__(self, raw: socket.socket, certificate: Certificate) -> None:
        self.connection: Connection = raw
        self._raw = raw
        self._certificate = certificate

    def ask(self) -> Startup | Cancel:
        """What the client wants. Raises ProtocolError or OSError.

        Nothing is read beyond what is asked, so nothing sent in clear text can pass for something that came inside TLS
        (CVE-2021-23214).
        """
        self._raw.settimeout(SECONDS)
        self._raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._raw.recv(1, socket.MSG_PEEK) == bytes([_TLS_HANDSHAKE]) and self._secure() != ALPN:
            raise ProtocolError("a client that begins with TLS must name the protocol postgresql (ALPN)")
        while True:
            payload = _packet(self.connection)
            code = int.from_bytes(payload[:4])
            if code == protocol.SSL_REQUEST and self.connection is self._raw:
                self._raw.sendall(b"S")
                self._secure()
            elif code in {protocol.SSL_REQUEST, protocol.GSSENC_REQUEST}:
                self.connection.sendall(b"N")
            elif code == protocol.CANCEL_REQUEST:
                return Cancel(payload[4:])
            else:
                return protocol.startup(payload)

    def _secure(self) -> str | None:
        """Goes on inside TLS; returns the protocol that was agreed on (ALPN)."""
        secured = self._certificate.made().context.wrap_socket(self._raw, server_side=True)
        self.connection = secured
        return secured.selected_alpn_protocol()


def _packet(connection: Connection) -> bytes:
    length = int.from_bytes(_exactly(connection, 4))
    if not 8 <= length <= protocol.STARTUP_BYTES:  # noqa: PLR2004 -- its length and a code
        raise ProtocolError("invalid length of startup packet")
    return _exactly(connection, length - 4)


def receive(connection: Connection) -> tuple[bytes, bytes]:
    """The next message, alone. Raises ProtocolError or OSError."""
    head = _exactly(connection, 5)
    length = int.from_bytes(head[1:])
    if not 4 <= length <= MESSAGE_BYTES:  # noqa: PLR2004 -- the length counts itself
        raise ProtocolError(f"a message of {length} bytes where none is so long")
    return head[:1], _exactly(connection, length - 4)


def _exactly(connection: Connection, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise ConnectionResetError("the connection was closed")
        data += more
    return data


class Knocked(NamedTuple):
    """A server that was asked for a session, and the first thing that it said."""

    server: Connection
    first: tuple[bytes, bytes]


def knock(upstream: Upstream, asked: Startup, heard: Callable[[Connection], None]) -> Knocked:
    """Asks the server for a session; `heard` gets each connection at once.

    Raises Unreachable, ProtocolError or OSError.

    One that refuses before it has asked for a password may want no TLS (`hostnossl`): where the URL leaves that open it
    is asked once more without, as libpq does.
    """

    def asks(server: Connection) -> Knocked:
        heard(server)
        server.settimeout(SECONDS)
        server.sendall(protocol.startup_packet(asked, upstream.settings))
        return Knocked(server, receive(server))

    knocked = asks(upstream.connect())
    if knocked.first[0] == b"E" and isinstance(knocked.server, ssl.SSLSocket) and upstream.may_be_plain:
        knocked.server.close()
        return asks(upstream.connect(plain=True))
    return knocked


class Greeting:
    """Lets a client in on both sides; the server's own messages reach the client as they are."""

    def __init__(self, client: Connection, knocked: Knocked, upstream: Upstream, asked: Startup) -> None:
        self._client = client
        self._server, self._first = knocked
        self._upstream = upstream
        self._asked = asked

    def exchange(self, password: str, look: Callable[[Message], None]) -> Begun | None:
        """Everything up to the first ReadyForQuery, which is looked at and left to be sent; None: not let in.

        Raises Refused, ProtocolError or OSError.
        """
        if not self._into_server(look):
            return None
        authenticate_client(self._client.sendall, lambda: receive(self._client), password)
        self._client.sendall(protocol.authentication(OK))
        return self._to_ready(look)

    def _into_server(self, look: Callable[[Message], None]) -> bool:
        """Authenticates at the server; False when it refuses, which the client is told in the server's words."""
        tls = self._server if isinstance(self._server, ssl.SSLSocket) else None
        user = self._asked.get(b"user")
        upstream = self._upstream
        us = ToServer(user=user, password=upstream.password, tls=tls, local=upstream.local, demands=upstream.demands)
        kind, body = self._first
        while True:
            if kind == b"R":
                if int.from_bytes(body[:4]) == OK:
                    us.check()
                    return True
                if answer := us.answer(body):
                    self._server.sendall(answer)
            elif not self._passed(kind, body, look):
                return False
            kind, body = receive(self._server)

    def _to_ready(self, look: Callable[[Message], None]) -> Begun | None:
        process = b""
        while True:
            kind, body = receive(self._server)
            if kind == b"Z":
                look(Message(kind[0], body, whole=True))
                return Begun(int.from_bytes(process[:4]), process)
            if kind == b"K":
                process = body
            if not self._passed(kind, body, look):
                return None

    def _passed(self, kind: bytes, body: bytes, look: Callable[[Message], None]) -> bool:
        """Passes a message on; False when it is the server's last word."""
        if kind[0] in protocol.FROM_SERVER:
            look(Message(kind[0], body, whole=True))
        self._client.sendall(message(kind, body))
        return kind != b"E"
