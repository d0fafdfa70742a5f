"""Who is not let in: by the server, or since it cannot be reached. No session, no doubt, but an error that is kept."""

from __future__ import annotations

import socket
import time

import psycopg
import pytest

from release.witness.tls import ServerTls
from tests.unit.database.conftest import Database
from tests.unit.witness.conftest import SOON, Witnessed, before
from tests.unit.witness.test_authentication import asks


def refused(witnessed: Witnessed, *, times: int = 1, **parameters: str) -> tuple[int, int, str, str]:
    """What is kept of clients that were not let in: sessions, refusals, and the last one's words."""
    for _ in range(times):
        with pytest.raises(psycopg.OperationalError):
            witnessed.connect(sslmode="disable", **parameters)  # else libpq tries twice
    seen = witnessed.seen()
    assert seen.doubts == ()
    assert seen.last_error is not None
    return seen.sessions, seen.refused, seen.last_error.sqlstate, seen.last_error.text


def test_a_server_that_cannot_be_reached_is_the_last_error(database: Database) -> None:
    for witnessed in before(database, port=1):
        sessions, count, sqlstate, text = refused(witnessed, times=3)
        assert (sessions, count, sqlstate) == (0, 3, "08006")
        assert text.startswith("the database could not be reached: ")


def test_a_server_that_says_nothing_is_the_last_error(database: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        for witnessed in before(database, port=door.getsockname()[1], tls=ServerTls(mode="disable")):
            with pytest.raises(psycopg.errors.ConnectionTimeout):
                witnessed.connect(connect_timeout="2")
            door.accept()[0].close()
            until = time.monotonic() + SOON
            while not (seen := witnessed.relay.seen()).refused and time.monotonic() < until:
                time.sleep(0.005)
    assert (seen.sessions, seen.refused) == (0, 1)
    assert seen.last_error is not None
    assert seen.last_error.text.startswith("the connection to the database was lost: ")


def test_the_servers_own_refusals_are_counted(witnessed: Witnessed) -> None:
    assert refused(witnessed, dbname="nowhere") == (0, 1, "3D000", 'database "nowhere" does not exist')


def test_a_password_that_the_server_does_not_take_is_the_last_error(database: Database) -> None:
    for witnessed in before(database, password="another"):
        assert refused(witnessed)[:3] == (0, 1, "28P01")


def test_a_session_is_no_refusal_whatever_fails_in_it(witnessed: Witnessed) -> None:
    with witnessed.connect() as connection, pytest.raises(psycopg.errors.DivisionByZero):
        connection.execute("SELECT 1 / 0")
    assert (witnessed.seen().sessions, witnessed.seen().refused) == (1, 0)


def test_a_stranger_at_the_door_is_no_refusal(witnessed: Witnessed) -> None:
    with socket.create_connection((witnessed.entrance.host, witnessed.entrance.port)) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert b"08P01" in stranger.recv(1000)
    assert (witnessed.seen().refused, witnessed.seen().errors) == (0, 0)


@pytest.mark.parametrize("mode", ["allow", "prefer"])
@pytest.mark.parametrize("kind", ["hostssl", "hostnossl"])
def test_a_server_that_wants_no_tls_or_nothing_else_is_reached(database: Database, kind: str, mode: str) -> None:
    with asks(database, "reject", kind=kind):
        for witnessed in before(database, tls=ServerTls(mode=mode)):
            row = witnessed.connect().execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
            assert row == (kind == "hostnossl",)
            assert (witnessed.relay.seen().refused, witnessed.relay.seen().errors) == (0, 0)


def test_a_server_that_wants_no_tls_is_refused_where_the_url_does(database: Database) -> None:
    with asks(database, "reject", kind="hostssl"):
        for witnessed in before(database, tls=ServerTls(mode="require")):
            assert refused(witnessed)[:3] == (0, 1, "28000")


def test_what_is_asked_after_an_error_does_not_hide_it(witnessed: Witnessed) -> None:
    client = witnessed.connect()
    client.execute("BEGIN")
    for statement in ("SELECT 1/0", "SELECT 1", "INSERT INTO nothing VALUES (1)"):
        with pytest.raises(psycopg.Error):
            client.execute(statement)
    client.close()

    seen = witnessed.seen()
    assert seen.last_error is not None
    assert (seen.errors, seen.last_error.text) == (3, "division by zero")
