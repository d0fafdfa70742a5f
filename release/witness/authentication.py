"""Passwords: the real one towards the server, and the witness's own, which the clients must know."""

from __future__ import annotations

import hmac
import secrets
import ssl
from collections.abc import Callable
from hashlib import md5
from typing import Final

from msgspec import Struct

from release.witness.protocol import ProtocolError, authentication, message
from release.witness.scram import channel_binding, scramp

OK: Final = 0
CLEARTEXT: Final = 3
MD5: Final = 5
SASL: Final = 10
SASL_CONTINUE: Final = 11
SASL_FINAL: Final = 12

SCRAM: Final = "SCRAM-SHA-256"
PLUS: Final = "SCRAM-SHA-256-PLUS"

Send = Callable[[bytes], None]
Receive = Callable[[], tuple[bytes, bytes]]
"""Gets the next message: its type and its body."""


WAYS: Final = frozenset({"none", "password", "md5", "scram-sha-256"})
"""The ways to authenticate that the witness knows, as libpq's `require_auth` names them."""


class Demands(Struct, frozen=True, kw_only=True):
    """What a URL demands of the server: one of these ways to authenticate, and whether it has to bind the channel."""

    ways: frozenset[str] = WAYS
    bound: bool = False


NOTHING: Final = Demands()
"""Any of the ways will do, bound or not."""


class Refused(Exception):
    """Somebody's password is wrong, or the way it is asked for is not one the witness takes."""


class ToServer:
    """Answers the server's authentication requests."""

    def __init__(
        self, *, user: bytes, password: str, tls: ssl.SSLSocket | None, local: bool, demands: Demands = NOTHING
    ) -> None:
        self._demands = demands
        self._way = "none"
        self._bound = False
        self._user = user
        self._password = password
        self._tls = tls
        self._local = local
        self._scram: object = None
        self._proved = True

    @property
    def proved(self) -> bool:
        """Whether a server that began SCRAM has shown that it knows the password, too."""
        return self._proved

    def check(self) -> None:
        """Checks, now that the server lets the client in, that all of what is demanded was met. Raises Refused."""
        if not self._proved:
            raise Refused("the server did not prove that it knows the password")
        self._demand(self._way)
        self._demand_binding()

    def _demand_binding(self) -> None:
        if self._demands.bound and not self._bound:
            raise Refused("the server does not bind the channel, and channel_binding is require")

    def _demand(self, way: str) -> None:
        self._way = way
        if way not in self._demands.ways:
            wanted = ", ".join(sorted(self._demands.ways)) or "a way that the witness does not know"
            raise Refused(f"the server wants the way {way} to authenticate, and require_auth is {wanted}")

    def answer(self, body: bytes) -> bytes:
        """The answer to a request that is not `OK`; empty where none is due. Raises Refused."""
        code, payload = int.from_bytes(body[:4]), body[4:]
        if code == CLEARTEXT:
            self._demand("password")
            self._demand_binding()
            if self._tls is None and not self._local:
                raise Refused("the server asks for the password in clear text, without TLS")
            return message(b"p", self._password.encode() + b"\0")
        if code == MD5:
            self._demand("md5")
            self._demand_binding()
            return message(b"p", _md5(self._user, self._password, payload[:4]) + b"\0")
        if code in {SASL, SASL_CONTINUE, SASL_FINAL}:
            self._demand("scram-sha-256")
            return self._sasl(code, payload)
        raise Refused(f"the server asks for an authentication of kind {code}, which the witness does not know")

    def _sasl(self, code: int, payload: bytes) -> bytes:
        library = scramp()
        try:
            if code == SASL:
                offered = [name.decode(errors="replace") for name in payload.split(b"\0") if name]
                binding = channel_binding(self._tls)
                known = [name for name in (PLUS, SCRAM) if name in offered and (name != PLUS or binding)]
                if not known:
                    raise Refused(f"the server offers only {', '.join(offered)}")
                self._bound = PLUS in known
                self._demand_binding()
                tied = binding if self._bound else None
                client = self._scram = library.ScramClient(known, "*", self._password, channel_binding=tied)
                self._proved = False
                first = client.get_client_first().encode()
                return message(b"p", client.mechanism_name.encode() + b"\0" + len(first).to_bytes(4) + first)
            if not isinstance(self._scram, library.ScramClient):
                raise Refused("the server goes on with a SASL exchange that has not begun")
            if code == SASL_CONTINUE:
                self._scram.set_server_first(payload.decode())
                return message(b"p", self._scram.get_client_final().encode())
            self._scram.set_server_final(payload.decode())
            self._proved = True
        except (library.ScramException, UnicodeDecodeError) as error:
            raise Refused(f"SCRAM with the server failed: {error}") from error
        return b""


def _md5(user: bytes, password: str, salt: bytes) -> bytes:
    """As protocol-flow.html says: 'md5' + md5(md5(password + user) + salt)."""
    inner = md5(password.encode() + user, usedforsecurity=False).hexdigest().encode()
    return b"md5" + md5(inner + salt, usedforsecurity=False).hexdigest().encode()


def new_password() -> str:
    """A password for the clients, of letters that no URL has to escape."""
    return secrets.token_hex(24)


def authenticate_client(send: Send, receive: Receive, password: str) -> None:
    """Lets a client in that knows the password. Raises Refused or ProtocolError.

    It is asked for in clear text, which every driver can answer. It never leaves this machine, it opens nothing but
    the witness, and it is in the environment of whoever could listen here. (scramp's server takes no empty user name,
    and that is what libpq sends.)
    """
    send(authentication(CLEARTEXT))
    kind, body = receive()
    if kind != b"p":
        raise ProtocolError("the client did not answer the authentication request")
    if not hmac.compare_digest(body.removesuffix(b"\0"), password.encode()):
        raise Refused("the password is not the one that the witness gave to the command")
