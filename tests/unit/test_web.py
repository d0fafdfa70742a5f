"""One request: what comes back is a fact, and so is why nothing did; and how long, and how much, at most."""

from __future__ import annotations

import base64
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import closing
from threading import Event

import pytest
import trustme

from release import __version__
from release.web import SHOWN, Answer, Problem, Request, shown
from tests.unit.heroku.server import Exchange, replies, serving

SECRET = "hunter2secret"


def ask(url: str, *, timeout: float = 5.0, within: float = 5.0) -> Answer:
    return Request("GET", url, timeout=timeout).wait(within)


def test_a_get_says_who_asks_and_only_2xx_is_ok() -> None:
    with serving(replies(204, b"")) as server:
        answer = ask(f"{server.url}?full=1")

    assert (answer, answer.ok) == (Answer(status=204), True)
    assert server.lines == ["GET /?full=1"]
    assert server.requests[0].headers["User-Agent"] == f"release-phase/{__version__}"


def test_a_post_brings_its_body_and_headers() -> None:
    with serving(replies(200, b"ok")) as server:
        request = Request(
            "POST", f"{server.url}/hook", timeout=5, headers={"Content-Type": "application/json"}, body=b'{"n": 1}'
        )
        assert request.wait(5) == Answer(status=200, body="ok")

    (asked,) = server.requests
    assert (asked.json, asked.headers["Content-Type"]) == ({"n": 1}, "application/json")


def test_a_login_in_the_url_goes_out_as_basic_authorization() -> None:
    with serving(replies()) as server:
        ask(server.url.replace("://", f"://us%40er:{SECRET}@"))

    expected = base64.b64encode(f"us@er:{SECRET}".encode()).decode()
    assert server.requests[0].headers["Authorization"] == f"Basic {expected}"


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    with serving(replies(302, b"moved", Location=f"/elsewhere?token={SECRET}")) as server:
        answer = ask(server.url)

    assert (answer.ok, answer.redirect, str(answer)) == (False, True, "status 302 to /elsewhere")
    assert server.lines == ["GET /"]


def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    with serving(replies()) as server:
        assert ask(server.url).ok


def test_only_the_first_bytes_of_a_body_are_kept() -> None:
    with serving(replies(500, b"x" * 1_000_000)) as server:
        assert len(ask(server.url).body) == SHOWN


# Why nothing came.


def _nobody() -> str:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


def test_nobody_listening_is_a_problem() -> None:
    assert str(ask(_nobody())) == "refused: nothing listens there"


def _cut(exchange: Exchange) -> None:
    exchange.cut()


def _nonsense(exchange: Exchange) -> None:
    exchange.wfile.write(b"hello\r\n\r\n")
    exchange.close_connection = True


@pytest.mark.parametrize(
    ("reply", "words"),
    [(_cut, "broken: the connection was closed without an answer"), (_nonsense, "broken: BadStatusLine")],
)
def test_what_is_no_answer_is_a_problem(reply: Callable[[Exchange], None], words: str) -> None:
    with serving(reply) as server:
        assert str(ask(server.url)) == words


def test_a_certificate_of_nobody_known_is_a_problem() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with serving(replies(), tls=context) as server:
        assert ask(f"{server.url}/{SECRET}").problem is Problem.CERTIFICATE


def test_a_host_that_nobody_knows_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert str(ask("http://nowhere.example/")) == "no such host: Name or service not known"


# How long.


@pytest.fixture
def over() -> Event:
    """Set when the test is over, so that a server may stop to keep silent."""
    return Event()


def test_a_silent_server_is_given_up_after_the_timeout(over: Event) -> None:
    def silent(_: Exchange) -> None:
        over.wait(5)

    with serving(silent) as server:
        answer = ask(server.url, timeout=0.2)
        over.set()

    assert str(answer) == "no answer: it took too long"


def test_an_answer_that_drips_holds_nobody_up(over: Event) -> None:
    def drip(exchange: Exchange) -> None:
        exchange.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not over.wait(0.05):
            exchange.wfile.write(b".")

    with serving(drip) as server:
        began = time.monotonic()
        request = Request("GET", server.url, timeout=0.3)
        answer = request.wait(0.5)
        took = time.monotonic() - began
        assert request.under_way
        over.set()

    assert (answer.ok, str(answer)) == (False, "no answer: it took too long")
    assert took < 2


def test_a_name_server_that_is_slow_holds_nobody_up(over: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object, **__: object) -> None:
        over.wait(5)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    began = time.monotonic()
    answer = ask("http://slow.example/", within=0.2)
    over.set()

    assert answer.problem is Problem.SILENT
    assert time.monotonic() - began < 2


def test_the_status_counts_even_where_the_body_never_comes(over: Event) -> None:
    def headers_only(exchange: Exchange) -> None:
        exchange.send_response(200)
        exchange.send_header("Content-Length", "10")
        exchange.end_headers()
        over.wait(5)

    with serving(headers_only) as server:
        assert ask(server.url, within=0.5) == Answer(status=200)
        assert ask(server.url, timeout=0.2) == Answer(status=200)
        over.set()


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (f"https://user:{SECRET}@shop.example:8443/healthz?token={SECRET}#x", "https://shop.example:8443/healthz"),
        ("http://[::1]:5000/", "http://[::1]:5000/"),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret_in_it(url: str, text: str) -> None:
    assert shown(url) == text
