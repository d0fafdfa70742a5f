"""A witness before a database of its own, on a real PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
import pytest

from heroku_sandbox.postgres import Server
from release.witness.relay import Entrance, Relay
from release.witness.session import Opened
from release.witness.upstream import Upstream
from release.witness.verdict import Seen, Verdict, verdict
from release.witness.vocabulary import VOCABULARY, Vocabulary
from tests.unit.database.conftest import Database, make, shared_server

SOON = 5.0


@dataclass(slots=True, kw_only=True)
class Witnessed:
    """A database, a relay before it, and the sessions that it has opened."""

    database: Database
    relay: Relay
    entrance: Entrance
    opened: list[Opened]
    connections: ExitStack = field(default_factory=ExitStack)

    def url(self, **parameters: str) -> str:
        """Where a client reaches the database through the witness."""
        door, name = self.entrance, self.database.name
        query = f"?{urlencode(parameters, quote_via=quote)}" if parameters else ""
        return f"postgres://{name}:{door.password}@{door.host}:{door.port}/{name}{query}"

    def connect(self, **parameters: str) -> psycopg.Connection[Any]:
        """A session through the witness, in autocommit mode; it ends with the test."""
        connection = psycopg.connect(self.url(**parameters), autocommit=True)
        connection.add_notice_handler(lambda _: None)
        return self.connections.enter_context(connection)

    def seen(self) -> Seen:
        """What was seen, once all sessions have ended."""
        until = time.monotonic() + SOON
        while self.relay.seen().open and time.monotonic() < until:
            time.sleep(0.005)
        return self.relay.seen()

    def verdict(self) -> Verdict:
        """The word on all sessions, once they have ended."""
        return verdict(self.seen())

    def alive(self) -> list[int]:
        """Server processes of clients' sessions on the database. Autovacuum's are nobody's, and may take their time."""
        asked = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
        with self.database.server.session() as session:
            rows = session.execute(asked, [self.database.name])
            return [pid for (pid,) in rows]


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The worker's server."""
    with shared_server() as server:
        yield server


@pytest.fixture
def database(server: Server, tmp_path: Path) -> Iterator[Database]:
    """An empty database."""
    yield from make(server, tmp_path)


def upstream(database: Database, **changes: Any) -> Upstream:
    """How the witness reaches a database."""
    given: dict[str, Any] = {"host": database.server.host, "port": database.server.port, "password": "secret"}
    return Upstream(**{**given, **changes})


def vocabulary(database: Database) -> Vocabulary:
    """What the server says about the functions in a database."""
    with psycopg.connect(database.server.url(database.name, database.owner, "secret")) as connection:
        row = connection.execute(VOCABULARY).fetchone()
    assert row is not None
    return Vocabulary.of(row)


def before(database: Database, known: Vocabulary | None = None, **changes: Any) -> Iterator[Witnessed]:
    """A witness before a database; at its end no session of it is left."""
    opened: list[Opened] = []
    with Relay(opened=opened.append) as relay:
        entrance = relay.listen(upstream(database, **changes), known)
        witnessed = Witnessed(database=database, relay=relay, entrance=entrance, opened=opened)
        with witnessed.connections:
            yield witnessed
    assert relay.seen().open == ()


@pytest.fixture
def witnessed(database: Database) -> Iterator[Witnessed]:
    """A witness before an empty database, which was not asked about its functions."""
    yield from before(database)
