"""Who may do what: API keys, their scopes, and the rate limit."""

from __future__ import annotations

import base64
import binascii
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus

from heroku_sandbox.lookup import ApiError
from heroku_sandbox.state import State

DATA_API = ("/client/", "/postgres/", "/data/")
# Each scope includes what is listed; `write` and its like also read (Heroku's OAuth documentation).
_INCLUDED = {
    "global": {"identity", "read", "write", "read-protected", "write-protected"},
    "write-protected": {"read", "write", "read-protected"},
    "read-protected": {"read"},
    "write": {"read"},
}


def token(headers: Mapping[str, str]) -> str:
    """Returns the key of a request: Bearer, or Basic with the key as password (or alone as user, as old clients do)."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(value).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return ""
        return password or user
    return ""


def needed(method: str, path: str) -> str:
    """Returns the scope that a request needs. What shows or changes passwords is protected."""
    if path.startswith("/oauth"):  # the keys themselves
        return "global"
    if path.startswith("/account"):
        return "identity"
    protected = "config" in path or path.startswith(DATA_API)
    scope = "read" if method in ("GET", "HEAD") or ("/actions/" in path and path.endswith("resolve")) else "write"
    return f"{scope}-protected" if protected else scope


def authenticated_key(state: State, headers: Mapping[str, str], method: str, path: str) -> str:
    """Returns the key of a request. Raises ApiError: 401 without a known key, 403 where its scopes do not suffice."""
    key = token(headers)
    scopes = state.keys.get(key) if key else None
    if scopes is None:
        raise ApiError(HTTPStatus.UNAUTHORIZED, "unauthorized", "Invalid credentials provided.")
    allowed = set(scopes).union(*(_INCLUDED.get(scope, set()) for scope in scopes))
    scope = needed(method, path)
    # Any key may ask for its own rate limit.
    if scope not in allowed and path != "/account/rate-limits":
        accepted = ["global", "write-protected", "read-protected", "write", "read", "identity"]
        accepted = [name for name in accepted if name == scope or scope in _INCLUDED.get(name, set())]
        raise ApiError(
            HTTPStatus.FORBIDDEN,
            "forbidden",
            "You do not have access to the resource with the scopes of this key.",
            headers={"Oauth-Scope": " ".join(scopes), "Oauth-Scope-Accepted": " ".join(accepted)},
        )
    return key


class RateLimit:
    """Tokens for each key: so many an hour, refilled evenly."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens: dict[str, tuple[float, float]] = {}

    def remaining(self, key: str, limit: int) -> int:
        """Returns how many tokens are left. Takes none."""
        return self._take(key, limit, 0)

    def take(self, key: str, limit: int) -> int:
        """Takes one token and returns how many are left. Raises ApiError (429) when there is none."""
        return self._take(key, limit, 1)

    def _take(self, key: str, limit: int, cost: int) -> int:
        """Takes `cost` tokens and returns how many are left. Raises ApiError (429) when there are too few."""
        with self._lock:
            moment = time.monotonic()
            tokens, since = self._tokens.get(key, (float(limit), moment))
            tokens = min(limit, tokens + (moment - since) * limit / 3600)
            if tokens < cost:
                self._tokens[key] = (tokens, moment)
                raise ApiError(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    "rate_limit",
                    "Your account reached the API rate limit\nPlease wait a few minutes before making new requests",
                    {"url": "https://devcenter.heroku.com/articles/platform-api-reference#rate-limits"},
                    {"RateLimit-Remaining": "0"},
                )
            self._tokens[key] = (tokens - cost, moment)
            return int(tokens - cost)
