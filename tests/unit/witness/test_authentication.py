"""The real password, in every way in which a server may ask for it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from release.witness.authentication import SASL, SASL_CONTINUE, WAYS, Demands, Refused, ToServer
from release.witness.greeting import receive
from release.witness.protocol import Startup, startup_packet
from release.witness.tls import ServerTls
from tests.unit.database.conftest import Database
from tests.unit.witness.conftest import before, upstream


@contextmanager
def asks(database: Database, method: str, *, kind: str = "host") -> Iterator[None]:
    """The server asks for this database's password in another way. `kind`: of which connections, as in pg_hba.conf."""
    with database.server.session() as session:
        session.execute("SET password_encryption = md5")
        if method == "md5":
            session.execute(sql.SQL("ALTER ROLE {} PASSWORD 'secret'").format(sql.Identifier(database.owner)))
        was = session.execute("SELECT current_setting('hba_file'), pg_read_file('pg_hba.conf')").fetchone()
        assert was is not None

        def write(text: str) -> None:
            # The server may be another user, and there it may write what this one may not.
            lines = sql.Literal(text.splitlines())
            session.execute(sql.SQL("COPY (SELECT unnest({}::text[])) TO {}").format(lines, sql.Literal(was[0])))
            session.execute("SELECT pg_reload_conf()")
            session.execute("SELECT pg_sleep(0.2)")

        write(f"{kind} {database.name} {database.owner} 127.0.0.1/32 {method}\n{was[1]}")
        try:
            yield
        finally:
            write(was[1])


@pytest.mark.parametrize("mode", ["disable", "require"])
@pytest.mark.parametrize("method", ["scram-sha-256", "md5", "password", "trust"])
def test_the_password_is_given_as_the_server_asks_for_it(database: Database, method: str, mode: str) -> None:
    with asks(database, method):
        for witnessed in before(database, tls=ServerTls(mode=mode)):
            assert witnessed.connect().execute("SELECT 1").fetchone() == (1,)


def test_a_wrong_password_is_refused_in_the_servers_words(database: Database) -> None:
    for witnessed in before(database, password="another"):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed for user"):
            witnessed.connect()
        assert witnessed.seen().sessions == 0


def test_scram_is_bound_to_the_channel_where_that_is_offered(database: Database) -> None:
    name = database.name.encode()
    with upstream(database, tls=ServerTls(mode="require")).connect() as server:
        server.sendall(startup_packet(Startup(0, ((b"user", name), (b"database", name))), ()))
        assert isinstance(server, ssl.SSLSocket)
        us = ToServer(user=name, password="secret", tls=server, local=True)
        kind, body = receive(server)
        assert (kind, int.from_bytes(body[:4])) == (b"R", SASL)
        answer = us.answer(body)
        assert answer[5:].startswith(b"SCRAM-SHA-256-PLUS\0")
        assert not us.proved
        server.sendall(answer)
        server.sendall(us.answer(receive(server)[1]))
        us.answer(receive(server)[1])
        assert us.proved


@pytest.mark.parametrize("method", ["scram-sha-256", "md5", "password", "trust"])
@pytest.mark.parametrize("demanded", sorted(WAYS))
def test_only_the_way_that_is_demanded_is_taken(database: Database, method: str, demanded: str) -> None:
    fits = {"trust": "none"}.get(method, method) == demanded
    with asks(database, method):
        for witnessed in before(database, demands=Demands(ways=frozenset({demanded}))):
            if fits:
                assert witnessed.connect().execute("SELECT 1").fetchone() == (1,)
            else:
                with pytest.raises(psycopg.OperationalError, match=f"require_auth is {demanded}"):
                    witnessed.connect()


@pytest.mark.parametrize(
    ("method", "mode", "bound"),
    [
        ("scram-sha-256", "require", True),
        ("scram-sha-256", "disable", False),
        ("md5", "require", False),
        ("password", "require", False),
        ("trust", "require", False),
    ],
)
def test_a_channel_that_has_to_be_bound_is_bound_or_refused(
    database: Database, method: str, mode: str, bound: bool
) -> None:
    with asks(database, method):
        for witnessed in before(database, tls=ServerTls(mode=mode), demands=Demands(bound=True)):
            if bound:
                assert witnessed.connect().execute("SELECT 1").fetchone() == (1,)
            else:
                with pytest.raises(psycopg.OperationalError, match="channel_binding is require"):
                    witnessed.connect()


def test_a_password_is_not_given_away_in_clear_text_to_another_machine() -> None:
    us = ToServer(user=b"me", password="secret", tls=None, local=False)
    with pytest.raises(Refused, match="clear text, without TLS"):
        us.answer((3).to_bytes(4))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ((7).to_bytes(4), "an authentication of kind 7"),
        (SASL.to_bytes(4) + b"OAUTHBEARER\0\0", "the server offers only OAUTHBEARER"),
        (SASL_CONTINUE.to_bytes(4) + b"r=1", "has not begun"),
    ],
)
def test_a_way_that_is_not_known_is_refused(body: bytes, text: str) -> None:
    us = ToServer(user=b"me", password="secret", tls=None, local=True)
    with pytest.raises(Refused, match=text):
        us.answer(body)


def test_a_server_that_does_not_know_the_password_has_proved_nothing() -> None:
    us = ToServer(user=b"me", password="secret", tls=None, local=True)
    us.answer(SASL.to_bytes(4) + b"SCRAM-SHA-256\0\0")
    assert not us.proved
    with pytest.raises(Refused, match="SCRAM with the server failed"):
        us.answer(SASL_CONTINUE.to_bytes(4) + b"r=not ours,s=YWJj,i=4096")
