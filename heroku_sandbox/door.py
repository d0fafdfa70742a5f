"""The front door: who on this machine may come in at all, whatever key they hold.

A web page can reach what listens on loopback. By DNS rebinding its own name leads here, but then `Host` says that
name; and what a page sends to another site says in `Origin` where it comes from. No client of Heroku's APIs sends an
`Origin`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec

from heroku_sandbox.web import Answer

if TYPE_CHECKING:
    from heroku_sandbox.web import Exchange

_NAMES = ("127.0.0.1", "localhost", "[::1]")
_DEFAULT_PORTS = {"http": 80, "https": 443}  # which clients leave out


def refusal(exchange: Exchange) -> Answer | None:
    """Returns a 403 for a request that is not meant for the sandbox or comes from somebody's web page, else None."""
    scheme, port = exchange.address
    own = {f"{name}:{port}" for name in _NAMES}
    if port == _DEFAULT_PORTS[scheme]:
        own.update(_NAMES)
    host, origin = exchange.headers.get("host", "").lower(), exchange.headers.get("origin")
    if host not in own or not exchange.target.startswith("/"):
        return _forbidden("This sandbox answers to the names of this machine only: 127.0.0.1, localhost.")
    if origin is not None and origin.lower() not in {f"{scheme}://{each}" for each in own}:
        return _forbidden("This sandbox does not answer to web pages of others.")
    return None


def _forbidden(message: str) -> Answer:
    body = msgspec.json.encode({"id": "forbidden", "message": message})
    return Answer(
        status=HTTPStatus.FORBIDDEN, headers=[("Content-Type", "application/json")], body=[body], length=len(body)
    )
