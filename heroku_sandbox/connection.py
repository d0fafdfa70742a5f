"""The way to a running sandbox: requests to its APIs and its control, without a library."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heroku_sandbox import home as homes

CONTROL_FILE = "control.json"


class Failure(Exception):
    """The sandbox has refused a request or does not answer. `status` is that of HTTP, 0 when there was no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Connection:
    """The way to a running sandbox: what stands in its `control.json`, and the API key that its home holds."""

    port: int
    token: str = field(repr=False)
    key: str = field(repr=False)

    @classmethod
    def to(cls, home: Path) -> Connection:
        """Returns the way to the sandbox of a home. Raises OSError or ValueError when none is up there."""
        about = json.loads((home / CONTROL_FILE).read_text())
        return cls(int(about["port"]), str(about["token"]), homes.key(home))

    def exchange(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Makes one request. Returns the answer's status, headers (in lower case) and body, whatever they are."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=3700)
        given = {"Authorization": f"Bearer {self.key}", "Sandbox-Token": self.token, **(headers or {})}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), given)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        except OSError as error:
            raise Failure(f"The sandbox does not answer: {error}") from error
        finally:
            connection.close()

    def request(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:
        """Makes one request that has to succeed, and returns its JSON. Raises Failure otherwise."""
        status, _, content = self.exchange(method, path, body, headers)
        try:
            answer = json.loads(content)
        except ValueError:
            answer = {"message": content.decode(errors="replace")}
        if status >= 400:  # noqa: PLR2004 -- HTTP
            raise Failure(str(answer.get("message", answer)), status)
        return answer

    def stream(self, path: str, *, patience: float = 3700) -> Iterator[bytes]:
        """Yields a body as it arrives, and nothing when there is none (404). It ends after `patience` s of silence."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience)
        with contextlib.closing(connection), contextlib.suppress(TimeoutError):
            connection.request("GET", path)
            answer = connection.getresponse()
            while answer.status < 400 and (piece := answer.read1(65_536)):  # noqa: PLR2004 -- HTTP
                yield piece
