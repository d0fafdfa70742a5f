"""URLs: what each kind of them may be, and where the key may be sent."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

HEROKU_DOMAINS: Final = ("heroku.com", "herokai.com", "herokuspace.com", "herokudev.com")
"""The domains that Heroku's own CLI takes for Heroku's (@heroku-cli/command, vars.ts)."""

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def _parts(url: str) -> SplitResult | None:
    """Returns the parts of a URL; None for a text that is none, or that another parser may read differently."""
    # A backslash ends the host for urllib3, which connects, but not for urlsplit: evil.com\.heroku.com
    if re.search(r"[\s\\]", url):
        return None
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 -- raises ValueError
    except ValueError:
        return None
    return parts


def is_postgres(url: str) -> bool:
    """Tells whether it is the URL of a Postgres database, reachable or not."""
    parts = _parts(url)
    return parts is not None and parts.scheme in {"postgres", "postgresql"}


def is_web(url: str) -> bool:
    """Tells whether it is a URL that can be asked with GET."""
    parts = _parts(url)
    return parts is not None and parts.scheme in {"http", "https"} and bool(parts.hostname)


def is_heroku(url: str) -> bool:
    """Tells whether the key may be sent there: to Heroku's domains over https, or to this machine.

    Only plain host names are accepted.
    """
    parts = _parts(url)
    host = (parts.hostname or "") if parts else ""
    if parts is None or not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*|::1", host):
        return False
    if parts.username or parts.password or parts.path.strip("/") or parts.query or parts.fragment:
        return False
    if host in LOOPBACK:
        return parts.scheme in {"http", "https"}
    return parts.scheme == "https" and any(host == domain or host.endswith("." + domain) for domain in HEROKU_DOMAINS)


def is_webhook(url: str) -> bool:
    """Tells whether a URL may hear how a release ended: https, or http on this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK))
