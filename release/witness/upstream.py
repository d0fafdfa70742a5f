"""The database behind the witness: how it is reached, and a connection to it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from msgspec import Struct, field

from release.settings.urls import LOOPBACK
from release.witness.authentication import Demands
from release.witness.protocol import CANCEL_REQUEST, SSL_REQUEST, packet
from release.witness.tls import ServerTls, checking

Connection = socket.socket | ssl.SSLSocket

CONNECT_SECONDS: Final = 10.0


class Unreachable(Exception):
    """The server cannot be reached, or not as safely as the URL asks for."""


class Upstream(Struct, frozen=True, kw_only=True):
    """A server, and the real password for it.

    `host` may be the folder of a Unix socket. `direct`: TLS is begun at once (libpq's `sslnegotiation=direct`).
    `demands`: how the server has to authenticate the client.
    `settings`: put into each session's startup message, after the client's own. `connected`: is told the local port of
    each TCP connection, before anything is sent through it.
    """

    host: str
    port: int
    password: str
    tls: ServerTls = field(default_factory=ServerTls)
    direct: bool = False
    demands: Demands = field(default_factory=Demands)
    settings: tuple[tuple[str, str], ...] = ()
    connected: Callable[[int], None] = field(default=lambda _: None)

    def __repr__(self) -> str:
        return f"Upstream(host={self.host!r}, port={self.port}, tls={self.tls!r}, demands={self.demands!r})"

    @property
    def local(self) -> bool:
        """Whether what is sent there stays on this machine."""
        return self.host in LOOPBACK or self.host.startswith("/")

    @property
    def may_be_plain(self) -> bool:
        """Whether a session without TLS is as safe as the URL asks for."""
        return not self.tls.needed

    def connect(self, *, plain: bool = False, seconds: float = CONNECT_SECONDS) -> Connection:
        """A new connection, with TLS where it is asked for and offered. Raises Unreachable.

        `plain`: without TLS, which the caller may only ask for where it `may_be_plain`. `seconds`: for each of its
        steps, and left as the connection's timeout.
        """
        try:
            if plain or self.host.startswith("/") or not self.tls.wanted:
                return self._plain(seconds)
            return self._with_tls(seconds)
        except OSError as error:  # of which ssl.SSLError is one
            raise Unreachable(str(error)) from error

    def cancel(self, process: bytes, seconds: float = CONNECT_SECONDS) -> None:
        """Asks for a session's statement to be cancelled; `process` is its pid and key. The server never answers."""
        with suppress(OSError, Unreachable), self.connect(seconds=seconds) as connection:
            connection.sendall(packet(CANCEL_REQUEST.to_bytes(4) + process))
            connection.recv(1)  # it closes when the signal is sent

    def _plain(self, seconds: float) -> socket.socket:
        if self.host.startswith("/"):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(seconds)
            connection.connect(f"{self.host}/.s.PGSQL.{self.port}")
            return connection
        connection = socket.create_connection((self.host, self.port), seconds)
        self.connected(connection.getsockname()[1])
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connection

    def _with_tls(self, seconds: float) -> Connection:
        context = checking(self.tls)
        connection = self._plain(seconds)
        try:
            if not self.direct:
                connection.sendall(packet(SSL_REQUEST.to_bytes(4)))
                if connection.recv(1) != b"S":
                    if self.tls.needed:
                        raise Unreachable(f"the server does not offer TLS, and sslmode is {self.tls.mode}")
                    return connection
            return context.wrap_socket(connection, server_hostname=self.host)
        except TimeoutError:
            connection.close()
            raise
        except OSError:
            connection.close()
            if self.tls.needed:
                raise
            return self._plain(seconds)  # as libpq does: TLS was offered, and then it did not come about
        except BaseException:
            connection.close()
            raise
