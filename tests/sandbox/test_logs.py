"""An app's log: what its dynos print and what the platform says, with sessions to read it in."""

from __future__ import annotations

import http.client
import re
from collections.abc import Generator
from typing import Any
from urllib.parse import urlsplit

import pytest

from heroku_sandbox import App
from tests.sandbox.conftest import Push, wait_until

LINE = re.compile(
    r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00 (?P<from>(app|heroku)\[[a-z]+(\.\d+)?\]): (?P<text>.*)$"
)


def session(app: App, **asked: Any) -> str:
    """The address of a fresh session."""
    url: str = app.connection.request("POST", f"/apps/{app.name}/log-sessions", asked)["logplex_url"]
    return url


def lines(app: App, **asked: Any) -> list[str]:
    """The lines of a session without its times, and with the numbers of dynos taken out."""
    content = b"".join(app.connection.stream(urlsplit(session(app, **asked)).path)).decode()
    found = [LINE.match(line) for line in content.splitlines()]
    return [re.sub(r"\.\d{4}\]", ".N]", f"{line['from']}: {line['text']}") if line else "?" for line in found]


def test_a_release_is_told_from_the_deploy_to_its_dynos_end(app: App, folder: Push) -> None:
    version = app.release(folder("echo one; printf two"), commit="0123456789ab").version

    assert lines(app)[-9:] == [
        "app[api]: Deploy 01234567 by user sandbox@example.com",
        f"app[api]: Running release v{version} commands by user sandbox@example.com",
        "heroku[release.N]: Starting process with command `exec sh phase.sh`",
        "heroku[release.N]: State changed from starting to up",
        "app[release.N]: one",
        "app[release.N]: two",
        "heroku[release.N]: Process exited with status 0",
        "heroku[release.N]: State changed from up to complete",
        f"app[api]: Release v{version} created by user sandbox@example.com",
    ]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"source": "app", "dyno": "release"}, ["app[release.N]: said"]),
        ({"dyno": "release", "lines": 2}, ["Process exited with status 3", "State changed from up to complete"]),
        ({"type": "worker"}, []),
    ],
)
def test_a_session_shows_what_was_asked_for(app: App, folder: Push, asked: dict[str, Any], expected: list[str]) -> None:
    app.release(folder("echo said; exit 3"))

    found = lines(app, **asked)

    assert len(found) == len(expected)
    assert all(line.endswith(end) for line, end in zip(found, expected, strict=True))


def test_a_long_line_is_split_as_heroku_splits_it(app: App, folder: Push) -> None:
    app.release(folder("head -c 10003 /dev/zero | tr '\\0' x; echo"))

    assert lines(app, source="app", dyno="release") == [f"app[release.N]: {'x' * 10_000}", "app[release.N]: xxx"]


def events(app: App, url: str, **headers: str) -> Generator[str, None, None]:
    """The lines of server-sent events, as they come."""
    connection = http.client.HTTPConnection("127.0.0.1", app.connection.port, timeout=20)
    connection.request("GET", urlsplit(url).path, headers={"Accept": "text/event-stream", **headers})
    answer = connection.getresponse()
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    try:
        while line := answer.readline():
            yield line.decode().rstrip("\n")
    finally:
        connection.close()


def test_a_tail_goes_on_and_takes_up_where_a_client_has_left(app: App, folder: Push) -> None:
    app.release(folder("exit 0"))
    url = session(app, tail=True, lines=1, source="app", dyno="run")
    app.connection.request("POST", f"/apps/{app.name}/dynos", {"command": "echo first"})
    wait_until(lambda: app.dynos()[-1]["code"] == 0)

    stream = events(app, url)
    number, data = next(stream), next(stream)
    assert (number.startswith("id: "), data.endswith("first")) == (True, True)
    stream.close()
    app.connection.request("POST", f"/apps/{app.name}/dynos", {"command": "echo second; sleep 1; echo third"})
    again = events(app, url, **{"Last-Event-Id": number.removeprefix("id: ")})
    said = (line.rpartition(" ")[2] for line in again if line.startswith("data: "))
    seen = [next(said), next(said)]
    again.close()

    assert seen == ["second", "third"]


def test_a_session_that_nobody_has_made_is_not_found(app: App) -> None:
    assert app.connection.exchange("GET", "/logs/6bd1e6c4-0000-0000-0000-000000000000")[0] == 404
