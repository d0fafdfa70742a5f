"""One request to an address that the operator named: a probe's GET, a notifier's POST.

Heroku's APIs have a client of their own. Nothing is raised here: what came back is returned, or why nothing did. No
redirect is followed, no proxy and no `.netrc` is looked at, certificates are verified, and only the first bytes of an
answer are read. http.client does all of this by itself, so that no library has to be imported for it.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from base64 import b64encode
from collections.abc import Mapping
from contextlib import closing
from enum import StrEnum
from threading import Thread
from urllib.parse import SplitResult, unquote, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from release import __version__

SHOWN = 300
"""Bytes of an answer that are read, and shown when it is a wrong one."""


class Problem(StrEnum):
    """A reason why a request did not bring an answer."""

    REFUSED = "refused"
    NOT_FOUND = "no such host"
    CERTIFICATE = "certificate"
    SILENT = "no answer"
    BROKEN = "broken"


class Answer(Struct, frozen=True, kw_only=True):
    """An answer's status and first bytes, or a problem with its detail. As a text it holds no part of the URL."""

    status: int | None = None
    body: str = ""
    location: str | None = None
    problem: Problem | None = None
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether its status is 2xx."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 -- HTTP statuses

    @property
    def redirect(self) -> bool:
        """Whether its status is 3xx. It is not followed."""
        return self.status is not None and 300 <= self.status < 400  # noqa: PLR2004 -- HTTP statuses

    def __str__(self) -> str:
        if self.status is None:
            return f"{self.problem}: {self.detail}" if self.detail else str(self.problem)
        moved = f" to {self.location}" if self.location else ""
        return f"status {self.status}{moved}"


class Request:
    """A request under way, in a thread of its own, so that no name server and no dripping answer can hold up the run.

    `timeout`: seconds for each of connecting, waiting and reading. How long to wait for all of it is up to whoever
    asks; a request that is given up ends with its thread, at the latest with the process. `answer` is SILENT until
    there is one, and has its status before it has its body.
    """

    def __init__(
        self,
        method: str,
        url: str,
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> None:
        self.answer = Answer(problem=Problem.SILENT, detail="it took too long")
        self._thread = Thread(target=self._run, args=(method, url, timeout, headers or {}, body), daemon=True)
        self._thread.start()

    @property
    def under_way(self) -> bool:
        """Whether more of the answer may still come."""
        return self._thread.is_alive()

    def wait(self, seconds: float) -> Answer:
        """Waits until the whole answer is there, or so many seconds. Returns what there is then."""
        self._thread.join(seconds)
        return self.answer

    def _run(self, method: str, url: str, timeout: float, headers: Mapping[str, str], body: bytes | None) -> None:
        try:
            parts = urlsplit(url)
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            with closing(_connection(parts, timeout)) as connection:
                connection.request(method, target, body, {**_usual_headers(parts), **headers})
                response = connection.getresponse()
                self.answer = Answer(status=response.status, location=_place(response.getheader("Location")))
                beginning = response.read1(SHOWN).decode("utf-8", "replace")
                self.answer = replace(self.answer, body=beginning.strip())
        except (OSError, http.client.HTTPException, ValueError) as error:
            # The status is an answer even where the body never comes.
            if self.answer.status is None:
                self.answer = _problem(error)


def _connection(parts: SplitResult, timeout: float) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "https":
        return http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, parts.port, timeout=timeout)


def _usual_headers(parts: SplitResult) -> dict[str, str]:
    headers = {"User-Agent": f"release-phase/{__version__}", "Accept": "*/*", "Connection": "close"}
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
    return headers


def _place(location: str | None) -> str | None:
    """Returns where a redirect leads, less its query, which may carry a token."""
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
    """Returns a URL fit for the log: without user, password, query and fragment."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"
