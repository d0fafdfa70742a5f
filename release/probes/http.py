"""One GET, as a probe makes it: what came back, or why nothing did. No redirect is followed, no proxy asked."""

from __future__ import annotations

import http.client
import socket
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote, urlsplit

SHOWN = 300
"""Bytes of a wrong answer that are shown."""


class Problem(StrEnum):
    """Why a GET did not bring an answer."""

    REFUSED = "refused"
    NOT_FOUND = "no such host"
    CERTIFICATE = "certificate"
    SILENT = "no answer"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Status and first bytes of an answer, or a problem with its detail."""

    status: int | None = None
    body: str = ""
    location: str | None = None
    problem: Problem | None = None
    detail: str = ""

    @property
    def ok(self) -> bool:
        """2xx exactly."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004

    def __str__(self) -> str:
        if self.status is None:
            return f"{self.problem}: {self.detail}" if self.detail else str(self.problem)
        moved = f" to {self.location}" if self.location else ""
        return f"status {self.status}{moved}"


def get(url: str, *, timeout: float, headers: Mapping[str, str] | None = None) -> Answer:
    """Asks once. `timeout`: seconds for each of connecting, waiting and reading. The certificate is verified."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            host, parts.port, timeout=timeout, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout)
    given = {"User-Agent": "release-phase", "Accept": "*/*", "Connection": "close", **(headers or {})}
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        given["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("GET", target, headers=given)
        response = connection.getresponse()
        body = _beginning(response)
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        return _problem(error)
    finally:
        connection.close()
    return Answer(status=response.status, body=body.strip(), location=_place(response.getheader("Location")))


def _beginning(response: http.client.HTTPResponse) -> str:
    """The first bytes of the body; the status is an answer even where the body never comes."""
    try:
        return response.read1(SHOWN).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return ""


def _place(location: str | None) -> str | None:
    """Where a redirect leads, less its query, which may carry a token."""
    return location.partition("?")[0][:SHOWN] if location else None


def _problem(error: Exception) -> Answer:
    match error:
        case ssl.SSLCertVerificationError():
            return Answer(problem=Problem.CERTIFICATE, detail=error.verify_message)
        case ConnectionRefusedError():
            return Answer(problem=Problem.REFUSED, detail="nothing listens there")
        case socket.gaierror():
            return Answer(problem=Problem.NOT_FOUND, detail=error.strerror or "")
        case TimeoutError():
            return Answer(problem=Problem.SILENT, detail="it took too long")
        case http.client.RemoteDisconnected():
            return Answer(problem=Problem.BROKEN, detail="the connection was closed without an answer")
        case _:
            return Answer(problem=Problem.BROKEN, detail=type(error).__name__)


def shown(url: str) -> str:
    """A URL fit for the log: without user, password, query and fragment."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"
