"""What the relay knows of its own connections, and that none of its sessions outlives it."""

from __future__ import annotations

import psycopg

from tests.unit.witness.conftest import Witnessed


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
