"""A real PostgreSQL, and databases in it whose owner is no superuser, as on Heroku."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from heroku_sandbox.client import shared_postgres
from heroku_sandbox.postgres import Server, server_at
from heroku_sandbox.programs import tools
from release.database import fingerprint
from release.database.comparison import Change, Difference, between
from release.database.fingerprint import Fingerprint

_numbers = itertools.count(1)


@dataclass(slots=True)
class Database:
    """A database of its own, its owner, and what Heroku does with it: dump, reset, load."""

    server: Server
    name: str
    owner: str
    folder: Path
    sessions: ExitStack = field(default_factory=ExitStack)

    def connect(self, role: str | None = None) -> psycopg.Connection[Any]:
        """A session in autocommit mode as the owner, or as another role; it ends with the test."""
        url = self.server.url(self.name, role or self.owner, "secret")
        connection = psycopg.connect(url, autocommit=True, prepare_threshold=10**9)
        connection.add_notice_handler(lambda _: None)
        return self.sessions.enter_context(connection)

    def execute(self, *statements: str, role: str | None = None) -> None:
        """Runs statements as the owner, or as another role, in a session that is over afterwards.

        What they have written is counted by then. A session hands in its counters when it ends, which nobody waits for.
        """
        with psycopg.connect(self.server.url(self.name, role or self.owner, "secret"), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.execute("SELECT pg_stat_force_next_flush()")

    def others_gone(self, reader: psycopg.Connection[Any]) -> None:
        """Waits until the server has noticed that all sessions but the reader's are over: then all is counted."""
        others = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        deadline = time.monotonic() + 10
        while reader.execute(others).fetchall():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def superuser(self, *statements: str) -> None:
        """Runs statements as the superuser."""
        with self.server.session(self.name) as session:
            for statement in statements:
                session.execute(statement)

    def server_session(self) -> psycopg.Connection[Any]:
        """The superuser's session on this database; it ends with the test."""
        return self.sessions.enter_context(self.server.session(self.name))

    def role(self, name: str, *, member: bool = False) -> str:
        """Another login, gone with the test; `member`: the owner may act as it."""
        self.superuser(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
        if member:
            self.superuser(f"GRANT {name} TO {self.owner}")
        return name

    def dump(self) -> Path:
        """A backup as Heroku makes it."""
        path = self.folder / f"{self.name}.dump"
        flags = ["-Fc", "--no-owner", "--no-privileges", "--exclude-schema=heroku_ext"]
        self._run("pg_dump", *flags, "-f", str(path), "-d", self.server.url(self.name, self.owner, "secret"))
        return path

    def reset(self) -> None:
        """Drops the database and makes it again."""
        with self.server.maintenance() as session:
            session.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self.name)))
            create(session, self.name, self.owner)

    def drop_schemas(self) -> None:
        """Empties the database otherwise: what is in no schema stays, and so do the database's own properties."""
        self.superuser(
            """DO $$ DECLARE name text; BEGIN
               FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
               LOOP EXECUTE format('DROP SCHEMA %I CASCADE', name); END LOOP; END $$""",
            "SELECT lo_unlink(oid) FROM pg_largeobject_metadata",
            f"CREATE SCHEMA public AUTHORIZATION {self.owner}",
        )

    def restore(self, dump: Path, *, keeping: bool) -> str:
        """Empties the database in one way or the other and loads the backup; returns the errors that were ignored."""
        if keeping:
            self.drop_schemas()
        else:
            self.reset()
        return self.load(dump)

    def load(self, dump: Path) -> str:
        """Loads a backup as Heroku does; returns the errors that were ignored."""
        url = self.server.url(self.name, self.owner, "secret")
        return self._run("pg_restore", "--no-owner", "--no-privileges", "-d", url, str(dump), check=False)

    def _run(self, program: str, *arguments: str, check: bool = True) -> str:
        done = subprocess.run([tools() / program, *arguments], check=False, capture_output=True, text=True)
        assert done.returncode == 0 or not check, done.stderr
        return done.stderr


def added(connection: psycopg.Connection[Any], before: Fingerprint) -> list[Difference]:
    """All that has come since."""
    return [each for each in between(before.schema, fingerprint.take(connection).schema) if each.change is Change.ADDED]


def create(session: psycopg.Connection[Any], name: str, owner: str) -> None:
    session.execute(
        sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 STRATEGY file_copy").format(
            sql.Identifier(name), sql.Identifier(owner)
        )
    )


def make(server: Server, folder: Path) -> Iterator[Database]:
    """A fresh database, dropped again afterwards, with all roles made for it."""
    name = f"db{next(_numbers)}"
    with server.maintenance() as session:
        known = {role for (role,) in session.execute("SELECT rolname FROM pg_roles")}
        session.execute(
            f"CREATE ROLE {name} LOGIN PASSWORD 'secret' IN ROLE pg_signal_backend, pg_read_all_stats, pg_monitor"
        )
        create(session, name, name)
    database = Database(server, name, name, folder)
    with database.sessions:
        yield database
    with server.maintenance() as session:
        session.execute(f"DROP DATABASE {name} WITH (FORCE)")
        for (role,) in session.execute("SELECT rolname FROM pg_roles").fetchall():
            if role not in known:
                session.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@contextmanager
def shared_server() -> Iterator[Server]:
    """A PostgreSQL, and the sessions on it that are kept, until the block is left."""
    with shared_postgres() as url, closing(server_at(url)) as server:
        yield server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The worker's server."""
    with shared_server() as server:
        yield server


@pytest.fixture
def database(server: Server, tmp_path: Path) -> Iterator[Database]:
    """An empty database."""
    yield from make(server, tmp_path)


@pytest.fixture(scope="module")
def shared(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database for tests of one module that leave it as it was."""
    yield from make(server, tmp_path_factory.mktemp("shared"))
