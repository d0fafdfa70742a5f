"""What the relay knows of its own connections, and that none of its sessions outlives it."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace

import psycopg
import pytest

from release.witness import relay
from release.witness.tls import ServerTls
from release.witness.verdict import Word, verdict
from tests.unit.database.conftest import Database
from tests.unit.witness.conftest import Witnessed, before, upstream


def client_ports(witnessed: Witnessed) -> set[int]:
    """From where the server sees the sessions on the database."""
    with witnessed.database.server.session() as session:
        rows = session.execute(
            "SELECT client_port FROM pg_stat_activity WHERE datname = %s", [witnessed.database.name]
        ).fetchall()
    return {port for (port,) in rows}


def test_its_own_ports_are_told_from_a_strangers(witnessed: Witnessed) -> None:
    assert witnessed.relay.ports() == frozenset()
    database = witnessed.database
    with psycopg.connect(database.server.url(database.name, database.owner, "secret")) as stranger:
        for _ in range(3):
            witnessed.connect()
        assert client_ports(witnessed) - witnessed.relay.ports() == {port_of(stranger)}


def port_of(connection: psycopg.Connection[tuple[object, ...]]) -> object:
    """From where the server sees a session."""
    row = connection.execute("SELECT inet_client_port()").fetchone()
    return row and row[0]


def test_a_port_is_remembered_when_its_connection_is_over(witnessed: Witnessed) -> None:
    with witnessed.connect():
        used = client_ports(witnessed)
    witnessed.seen()
    assert used
    assert used <= witnessed.relay.ports()


def test_the_ports_of_cancel_requests_are_its_own(witnessed: Witnessed) -> None:
    connection = witnessed.connect()
    was = len(witnessed.relay.ports())
    connection.cancel_safe()
    assert len(witnessed.relay.ports()) == was + 1


def test_a_server_that_never_answers_is_not_waited_for(database: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        for witnessed in before(database, port=door.getsockname()[1], tls=ServerTls(mode="disable")):
            with pytest.raises(psycopg.errors.ConnectionTimeout):
                witnessed.connect(connect_timeout="2", sslmode="disable")
            begin = time.monotonic()
            seen = witnessed.relay.end()
            assert time.monotonic() - begin < 2
    assert (seen.sessions, seen.open) == (0, ())
    assert list(witnessed.relay._threads()) == []


def test_a_session_that_holds_on_is_given_up_and_said(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "GIVEN_UP_SECONDS", 0.1)
    released = threading.Event()
    for witnessed in before(database):
        witnessed.relay._patience = 0.1
        witnessed.relay._opened = lambda _: released.wait(10)  # type: ignore[assignment]
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            witnessed.connect(connect_timeout="2")
        seen = witnessed.relay.end()
        assert verdict(seen).word is Word.UNKNOWN
        assert seen.doubts[0].endswith("it was given up, since it did not end in time")
        released.set()
        witnessed.seen()
        assert witnessed.alive() == []


def test_an_entrance_that_is_opened_later_lets_in_as_the_first_does(witnessed: Witnessed) -> None:
    time.sleep(0.05)  # by now the first one waits for its clients
    later = replace(witnessed, entrance=witnessed.relay.listen(upstream(witnessed.database)))
    assert later.connect(connect_timeout="5").execute("SELECT 1").fetchone() == (1,)
    assert witnessed.connect().execute("SELECT 2").fetchone() == (2,)


def test_the_witness_own_password_is_not_in_what_is_printed() -> None:
    assert repr(relay.Entrance(host="h", port=1, password="secret")) == "Entrance(host='h', port=1)"
