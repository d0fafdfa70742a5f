"""The front door: who on this machine may come in at all, whatever key they hold.

A web page can reach what listens on loopback. DNS rebinding can make its own name lead here, but then `Host` holds that
name. What a page sends to another site has an `Origin` header that says where it comes from; no client of Heroku's APIs
sends one.
"""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from heroku_sandbox.web import Answer, Exchange

_NAMES = ("127.0.0.1", "localhost", "[::1]")
_DEFAULT_PORTS = {"http": 80, "https": 443}  # clients leave these out of `Host`


def refusal(exchange: Exchange) -> Answer | None:
    """Returns a 403 for a request that is not meant for the sandbox or comes from somebody's web page, else None."""
    scheme, port = exchange.address
    own = {f"{name}:{port}" for name in _NAMES}
    if port == _DEFAULT_PORTS[scheme]:
        own.update(_NAMES)
    host, origin = exchange.headers.get("host", "").lower(), exchange.headers.get("origin")
    if host not in own or not exchange.target.startswith("/"):
        return _forbidden("This sandbox answers to the names of this machine only: 127.0.0.1, localhost.")
    if origin is not None and origin.lower() not in {f"{scheme}://{name}" for name in own}:
        return _forbidden("This sandbox does not answer to web pages of others.")
    return None


def _forbidden(message: str) -> Answer:
    body = msgspec.json.encode({"id": "forbidden", "message": message})
    return Answer(
        status=HTTPStatus.FORBIDDEN, headers=[("Content-Type", "application/json")], body=[body], length=len(body)
    )
