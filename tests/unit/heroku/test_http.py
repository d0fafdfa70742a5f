"""What the session does and does not do, and what its failures mean: against a real server."""

from __future__ import annotations

import base64
import gzip
import json
import os
import signal
import socket
import ssl
import time
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from urllib3 import HTTPResponse

from release.clock import Clock, Deadline, Interrupted, Signals
from release.errors import Reason
from release.heroku import http
from release.heroku.http import Effect, HerokuError, Session, decode, retry_after
from tests.unit.heroku.conftest import KEY
from tests.unit.heroku.server import Answer, Exchange, replies, serving

DEEP = b"[" * 100_000


def _failing(session: Session, answer: Answer, method: str = "GET") -> HerokuError:
    with serving(answer) as server, pytest.raises(HerokuError) as caught:
        session.request(method, f"{server.url}/apps/shop?token=hidden")
    return caught.value


# What goes out.


def test_the_key_goes_out_as_the_password_and_answers_come_back(session: Session) -> None:
    with serving(replies(200, {"id": "1"})) as server:
        response = session.request("GET", f"{server.url}/apps")

    assert response.json() == {"id": "1"}
    assert server.lines == ["GET /apps"]
    assert server.requests[0].headers["Authorization"] == "Basic " + base64.b64encode(f":{KEY}".encode()).decode()
    assert session.sent == 1


def test_netrc_proxies_and_certificates_of_the_environment_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: Signals
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login someone password else\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    with serving(replies()) as server:
        Session(KEY, clock=Clock(signals), signals=signals).request("GET", f"{server.url}/apps")

    assert server.requests[0].headers["Authorization"] == "Basic " + base64.b64encode(f":{KEY}".encode()).decode()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_error_and_is_not_followed(session: Session, status: int) -> None:
    with serving(replies()) as elsewhere:
        error = _failing(session, replies(status, b"", Location=f"{elsewhere.url}/apps"), "POST")

    assert elsewhere.requests == []
    assert (error.status, error.effect, error.passing) == (status, Effect.UNKNOWN, False)


# What comes back is bounded.


def test_an_answer_that_does_not_come_is_given_up(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "READ_TIMEOUT", 0.2)
    began = time.monotonic()

    error = _failing(session, lambda _: time.sleep(1))

    assert 0.2 <= time.monotonic() - began < 0.9 + 0.2  # the server's own end takes the rest of its second
    assert error.detail == "GET /apps/shop: ReadTimeout"
    assert (error.reason, error.effect, error.passing) == (Reason.HEROKU_UNAVAILABLE, Effect.UNKNOWN, True)


def _with_length(exchange: Exchange) -> None:
    exchange.send_response(200)
    exchange.send_header("Content-Length", "1000")
    exchange.end_headers()
    _drip(exchange, b" ")


def _in_chunks(exchange: Exchange) -> None:
    exchange.send_response(200)
    exchange.send_header("Transfer-Encoding", "chunked")
    exchange.end_headers()
    _drip(exchange, b"1\r\n \r\n")


def _until_closed(exchange: Exchange) -> None:
    exchange.send_response(200)
    exchange.send_header("Connection", "close")
    exchange.end_headers()
    _drip(exchange, b" ")


def _drip(exchange: Exchange, piece: bytes) -> None:
    for _ in range(50):
        exchange.wfile.write(piece)
        time.sleep(0.02)


@pytest.fixture(params=["urllib3 as installed", "urllib3 1.26"])
def _urllib3(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also as an app with requests before 2.30 has it: the old one has no `read1`."""
    if request.param == "urllib3 1.26":
        for kind in HTTPResponse.__mro__:
            if "read1" in vars(kind):
                monkeypatch.delattr(kind, "read1")


@pytest.mark.usefixtures("_urllib3")
@pytest.mark.parametrize("answer", [_with_length, _in_chunks, _until_closed])
def test_an_answer_that_drips_is_given_up_however_its_end_is_marked(
    session: Session, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    monkeypatch.setattr(http, "BODY_TIMEOUT", 0.1)

    error = _failing(session, answer)

    assert error.detail == "GET /apps/shop: the answer took over 0.1 s"
    assert (error.effect, error.passing) == (Effect.UNKNOWN, True)


@pytest.mark.usefixtures("_urllib3")
def test_with_a_deadline_neither_an_answer_nor_a_dripping_body_is_waited_for_longer(session: Session) -> None:
    session.deadline = Deadline(Clock(), 0.1)
    began = time.monotonic()
    assert _failing(session, _with_length).detail == "GET /apps/shop: the answer took over 0.1 s"
    assert time.monotonic() - began < 2

    assert _failing(session, lambda _: time.sleep(0.8)).detail == "GET /apps/shop: ReadTimeout"


@pytest.mark.usefixtures("_urllib3")
def test_an_answer_that_is_too_large_is_given_up(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_LIMIT", 100_000)
    error = _failing(session, replies(200, b" " * 1_000_000))
    assert error.detail == "GET /apps/shop: the answer is larger than 100000 bytes"
    assert error.effect is Effect.UNKNOWN


@pytest.mark.usefixtures("_urllib3")
def test_the_limit_counts_what_is_unpacked(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = gzip.compress(b'"' + b" " * 1_000_000 + b'"')
    with serving(replies(200, packed, Content_Encoding="gzip")) as server:
        assert len(session.request("GET", f"{server.url}/apps").json()) == 1_000_000

    monkeypatch.setattr(http, "BODY_LIMIT", 100_000)
    error = _failing(session, replies(200, packed, Content_Encoding="gzip"))
    assert error.detail == "GET /apps/shop: the answer is larger than 100000 bytes"


@pytest.mark.usefixtures("_urllib3")
@pytest.mark.parametrize(
    "answer",
    [
        replies(200, b"no gzip at all", Content_Encoding="gzip"),
        replies(200, b"half of", Content_Length="1000", Connection="close"),
    ],
)
def test_a_body_that_is_broken_is_an_error(session: Session, answer: Answer) -> None:
    error = _failing(session, answer)
    assert (error.reason, error.effect, error.passing) == (Reason.HEROKU_UNAVAILABLE, Effect.UNKNOWN, True)


# What a failure may have done.


def test_a_refused_connection_has_surely_done_nothing(session: Session) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(HerokuError) as caught:
        session.request("POST", f"http://127.0.0.1:{port}/apps")
    assert caught.value.detail == "POST /apps: ConnectionError (nothing was sent)"
    assert (caught.value.effect, caught.value.passing) == (Effect.NONE, True)


def test_a_host_without_an_address_has_surely_done_nothing(session: Session) -> None:
    with pytest.raises(HerokuError) as caught:
        session.request("POST", "http://nobody.localhost.invalid/apps")
    assert caught.value.effect is Effect.NONE


def test_a_connection_closed_without_an_answer_may_have_done_anything(session: Session) -> None:
    error = _failing(session, Exchange.cut, "POST")
    assert (error.effect, error.passing, error.status) == (Effect.UNKNOWN, True, None)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def test_a_certificate_that_is_not_accepted_has_surely_done_nothing(session: Session, tls: ssl.SSLContext) -> None:
    with serving(replies(), tls) as server:
        session.reach(server.url)
        with pytest.raises(HerokuError) as caught:
            session.request("POST", f"{server.url}/apps")
    assert caught.value.detail == "POST /apps: SSLError (nothing was sent)"
    assert caught.value.effect is Effect.NONE
    assert server.requests == []


def test_what_the_bundle_of_requests_signs_is_accepted_whatever_the_environment_says(
    session: Session, tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setattr("requests.utils.DEFAULT_CA_BUNDLE_PATH", str(bundle))
    monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")

    with serving(replies(), tls) as server:
        session.reach(server.url)
        assert [session.request("GET", f"{server.url}/apps").status_code for _ in range(2)] == [200, 200]
        with pytest.raises(HerokuError, match="nothing was sent"):  # the name is not in the certificate
            session.request("GET", f"{server.url.replace('127.0.0.1', 'localhost')}/apps")


@pytest.mark.parametrize("reached", [False, True])
def test_no_certificate_is_read_again_for_another_connection(
    session: Session, reached: bool, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []
    load = ssl.SSLContext.load_verify_locations

    def noted(context: ssl.SSLContext, *files: Any, **more: Any) -> None:
        read.append(files or more)
        load(context, *files, **more)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", noted)
    with serving(replies(), tls) as server:
        if reached:
            session.reach(server.url)
        for _ in range(3):
            with pytest.raises(HerokuError):
                session.request("GET", f"{server.url}/apps")
    assert len(read) == (1 if reached else 3)


def test_tls_that_breaks_after_the_request_may_have_done_anything(
    session: Session, tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path
) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    session._requests.verify = str(bundle)

    def garbage(exchange: Exchange) -> None:
        os.write(exchange.connection.fileno(), b"this is no TLS record at all")

    with serving(garbage, tls) as server, pytest.raises(HerokuError) as caught:
        session.request("POST", f"{server.url}/apps")

    assert server.lines == ["POST /apps"]
    assert (caught.value.effect, caught.value.detail) == (Effect.UNKNOWN, "POST /apps: SSLError")


@pytest.mark.parametrize(
    ("status", "reason", "effect", "passing"),
    [
        (301, Reason.HEROKU_UNAVAILABLE, Effect.UNKNOWN, False),
        (400, Reason.HEROKU_REFUSED, Effect.NONE, False),
        (401, Reason.KEY_REJECTED, Effect.NONE, False),
        (403, Reason.KEY_FORBIDDEN, Effect.NONE, False),
        (404, Reason.HEROKU_REFUSED, Effect.NONE, False),
        (408, Reason.HEROKU_UNAVAILABLE, Effect.UNKNOWN, True),
        (409, Reason.HEROKU_REFUSED, Effect.NONE, False),
        (422, Reason.HEROKU_REFUSED, Effect.NONE, False),
        (429, Reason.HEROKU_UNAVAILABLE, Effect.UNKNOWN, True),
        (500, Reason.HEROKU_UNAVAILABLE, Effect.UNKNOWN, True),
        (503, Reason.HEROKU_UNAVAILABLE, Effect.UNKNOWN, True),
    ],
)
def test_what_a_status_means(session: Session, status: int, reason: Reason, effect: Effect, passing: bool) -> None:
    error = _failing(session, replies(status, {"id": "slug", "message": "Heroku's words."}))
    assert error.detail == f"GET /apps/shop: {status} Heroku's words."
    assert (error.status, error.error_id) == (status, "slug")
    assert (error.reason, error.effect, error.passing) == (reason, effect, passing)


def test_a_403_says_which_scopes_the_key_has_and_needs(session: Session) -> None:
    answer = replies(
        403, {"id": "forbidden", "message": "No."}, Oauth_Scope="identity", Oauth_Scope_Accepted="global read-protected"
    )
    assert _failing(session, answer).detail == (
        "GET /apps/shop: 403 No. (the key has the scopes identity; needed: global read-protected)"
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<!DOCTYPE html><html>Application error</html>", "Service Unavailable"),
        (b"", "Service Unavailable"),
        (DEEP, "Service Unavailable"),
        (b"[1]", "Service Unavailable"),
        (b"\xff\xfe", "Service Unavailable"),
        (json.dumps({"message": "x" * 5000}).encode(), "x" * 300),
        (json.dumps({"message": {"not": "text"}}).encode(), "{'not': 'text'}"),
    ],
)
def test_an_error_quotes_heroku_only_where_it_says_something(session: Session, body: bytes, words: str) -> None:
    assert _failing(session, replies(503, body)).detail == f"GET /apps/shop: 503 {words}"


@pytest.mark.parametrize(
    "answer",
    [
        replies(401, {"message": "no"}),
        replies(307, b"", Location="https://elsewhere.example/?token=hidden"),
        Exchange.cut,
        replies(200, b"no gzip", Content_Encoding="gzip"),
    ],
)
def test_no_error_shows_the_key_or_a_query_not_even_its_traceback(session: Session, answer: Answer) -> None:
    error = _failing(session, answer)
    text = f"{error} {error!r} {error.facts}"
    assert KEY not in text + "".join(traceback.format_exception(error))
    assert base64.b64encode(f":{KEY}".encode()).decode() not in "".join(traceback.format_exception(error))
    assert "hidden" not in text


# What an answer says.


class Thing(msgspec.Struct):
    id: str
    size: int | None = None


def _decoded(session: Session, body: Any) -> Thing:
    with serving(replies(200, body)) as server:
        return decode("GET /thing", session.request("GET", f"{server.url}/thing"), Thing)


def test_unknown_fields_are_let_through(session: Session) -> None:
    assert _decoded(session, {"id": "1", "size": None, "new": [{"at": "Heroku"}]}) == Thing("1")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "Input data was truncated"),
        (b'{"id": "1"', "Input data was truncated"),
        (b"<html>", "JSON is malformed: invalid character (byte 0)"),
        (b'{"id": "1", "size": NaN}', "JSON is malformed: invalid character (byte 20)"),
        (b'{"id": "\xff"}', "'utf-8' codec can't decode byte 0xff in position 0"),
        (b'{"id": "1", "new": ' + DEEP, "maximum recursion depth"),
        (b'{"size": 1}', "`id`: it is missing"),
        (b'{"id": 1}', "`id`: Expected `str`, got `int`"),
        (b'{"id": "1", "size": "2"}', "`size`: Expected `int | null`, got `str`"),
        (b"[]", "Expected `object`, got `array`"),
    ],
)
def test_an_answer_that_is_not_what_it_should_be_is_an_error(session: Session, body: bytes, words: str) -> None:
    with pytest.raises(HerokuError) as caught:
        _decoded(session, body)
    assert caught.value.detail.startswith("GET /thing: unreadable answer (")
    assert words in caught.value.detail
    assert (caught.value.status, caught.value.effect, caught.value.passing) == (200, Effect.UNKNOWN, True)


def _in(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        ("2.5", 2.5),
        ("3600", 3600),
        ("3601", None),
        ("-1", None),
        ("1e9", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("Wed, 99 Nov 2026 00:00:00 GMT", None),
        pytest.param(_in(-10), None, id="a date gone by"),
        pytest.param(_in(100_000), None, id="tomorrow"),
    ],
)
def test_retry_after_counts_only_where_it_makes_sense(given: str | None, seconds: float | None) -> None:
    assert retry_after(given) == seconds


def test_retry_after_may_be_a_date(session: Session) -> None:
    error = _failing(session, lambda exchange: exchange.reply(429, {}, Retry_After=_in(30)))
    assert error.retry_after == pytest.approx(30, abs=3)


# A signal.


def test_a_signal_ends_a_read_at_once(session: Session, signals: Signals) -> None:
    began = time.monotonic()

    def answer(_: Exchange) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)

    with serving(answer) as server, pytest.raises(Interrupted) as caught:
        session.request("GET", f"{server.url}/apps")
    assert caught.value.signal_name == "SIGTERM"
    assert time.monotonic() - began < 5
    assert signals.pending


def test_a_signal_does_not_cut_off_a_request_that_changes_something(session: Session, signals: Signals) -> None:
    def answer(exchange: Exchange) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        exchange.reply(201, {"uuid": "1"})

    with serving(answer) as server:
        assert session.request("POST", f"{server.url}/backups").json() == {"uuid": "1"}
    assert signals.pending
