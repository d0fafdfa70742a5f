"""Real drivers in an environment whose ways to the database lead through the witness."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from heroku_sandbox.programs import tools
from release.witness.environment import destinations, rewritten
from release.witness.relay import Relay
from release.witness.session import Opened
from tests.unit.database.conftest import Database
from tests.unit.witness.conftest import before
from tests.unit.witness.test_relay_drivers import node_modules

PASSWORD = "s@cret /?#&+%"

ASKED = "SELECT pg_backend_pid()::text || ' ' || current_database() || ' ' || current_setting('application_name')"
"""What each driver prints the answer to."""

PSYCOPG = """
import os, psycopg
with psycopg.connect(os.environ.get("DATABASE_URL", "")) as connection:
    print(connection.execute(ASKED).fetchone()[0], connection.pgconn.ssl_in_use)
"""
ASYNCPG = """
import asyncio, os, asyncpg
async def main():
    connection = await asyncpg.connect(os.environ.get("DATABASE_URL"))
    print(await connection.fetchval(ASKED))
asyncio.run(main())
"""
SQLALCHEMY = """
import os, sqlalchemy
with sqlalchemy.create_engine(os.environ["DATABASE_URL"]).connect() as connection:
    print(connection.execute(sqlalchemy.text(ASKED)).scalar())
"""
SQLALCHEMY_ASYNCPG = """
import asyncio, os, asyncpg, sqlalchemy
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
async def main():  # its engine needs greenlet: these are the arguments that it would give to asyncpg
    given = PGDialect_asyncpg().create_connect_args(sqlalchemy.make_url(os.environ["DATABASE_URL"]))[1]
    connection = await asyncpg.connect(**given, server_settings={"application_name": "mine"})
    print(await connection.fetchval(ASKED))
asyncio.run(main())
"""
NODE = """
const { Client } = require('pg')
const client = new Client(process.env.DATABASE_URL ? { connectionString: process.env.DATABASE_URL } : {})
client.connect().then(() => client.query(ASKED)).then(result => {
  console.log(Object.values(result.rows[0])[0]); return client.end()
})
"""
JAVA = """
import java.sql.*;
public class Ask {
  public static void main(String[] none) throws Exception {
    String url = System.getenv("SPRING_DATASOURCE_URL");
    String user = System.getenv("SPRING_DATASOURCE_USERNAME"), word = System.getenv("SPRING_DATASOURCE_PASSWORD");
    try (Connection connection = user == null
        ? DriverManager.getConnection(url) : DriverManager.getConnection(url, user, word)) {
      ResultSet rows = connection.createStatement().executeQuery(ASKED);
      rows.next();
      System.out.println(rows.getString(1));
    }
  }
}
"""


def in_python(text: str, _: Path) -> list[str]:
    return [sys.executable, "-c", f'ASKED = "{ASKED}"\n{text}']


def in_node(text: str, _: Path) -> list[str]:
    node_modules()
    return ["node", "-e", f'const ASKED = "{ASKED}"\n{text}']


def in_java(text: str, folder: Path) -> list[str]:
    """Runs a class with pgjdbc, wherever Maven or Debian (libpostgresql-jdbc-java) has put it."""
    found = [
        *Path("/usr/share/java").glob("postgresql*.jar"),
        *Path(pwd.getpwuid(os.getuid()).pw_dir).glob(".m2/**/postgresql-*.jar"),
    ]
    if shutil.which("javac") is None or not found:
        pytest.skip("pgjdbc and a compiler are not at hand")
    (folder / "Ask.java").write_text(text.replace("ASKED", f'"{ASKED}"'))
    return ["java", "-Xshare:auto", "-cp", str(found[-1]), str(folder / "Ask.java")]


def by_psql(_: str, __: Path) -> list[str]:
    psql = shutil.which("psql") or str(tools() / "psql")
    return ["sh", "-c", f'exec {psql} -X -A -t -c "$0" ${{DATABASE_URL:+"$DATABASE_URL"}}', ASKED]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A database as an app's environment says it."""

    database: Database
    host: str
    port: int

    def url(self, query: str = "", scheme: str = "postgres") -> str:
        where = f"{self.host}:{self.port}/{quote(self.database.name)}"
        return f"{scheme}://{self.database.owner}:{quote(PASSWORD, safe='')}@{where}{query}"

    def libpq(self, **more: str) -> dict[str, str]:
        return {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.database.owner,
            "PGPASSWORD": PASSWORD,
            "PGDATABASE": self.database.name,
            **more,
        }

    def java(self, query: str = "", *, beside: bool = False) -> dict[str, str]:
        url = f"jdbc:postgresql://{self.host}:{self.port}/{self.database.name}{query}"
        if beside:
            user = {"SPRING_DATASOURCE_USERNAME": self.database.owner, "SPRING_DATASOURCE_PASSWORD": PASSWORD}
            return {"SPRING_DATASOURCE_URL": url, **user}
        whom = f"user={self.database.owner}&password={quote(PASSWORD, safe='')}"
        return {"SPRING_DATASOURCE_URL": f"{url}{'&' if query else '?'}{whom}"}


@pytest.fixture
def place(database: Database) -> Place:
    """A database whose owner has a password that URLs must escape."""
    database.superuser(f"ALTER ROLE {database.owner} PASSWORD '{PASSWORD}'")
    return Place(database=database, host=database.server.host, port=database.server.port)


@contextmanager
def entered(environ: Mapping[str, str], folder: Path) -> Iterator[tuple[dict[str, str], list[Opened]]]:
    """The environment with a witness before each destination, and the sessions opened through them."""
    opened: list[Opened] = []
    with Relay(opened=opened.append) as relay:

        def root() -> Path:
            path = folder / "witness.crt"
            path.write_bytes(relay.root_certificate)
            return path

        found, left = destinations(environ)
        assert left == []
        yield rewritten(environ, {each: relay.listen(each.upstream) for each in found}, root), opened


def asked(command: list[str], environ: dict[str, str], folder: Path) -> list[str]:
    """What a driver prints in an environment."""
    base = {"PATH": os.environ["PATH"], "HOME": str(folder), "PGAPPNAME": "mine"}
    if command[0] == "node":
        base["NODE_PATH"] = str(node_modules())
    done = subprocess.run(command, cwd=folder, env=base | environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    return str(done.stdout).split()


Run = Callable[[str, Path], list[str]]

CASES: dict[str, tuple[Run, str, Callable[[Place], dict[str, str]]]] = {
    "psycopg, URL": (in_python, PSYCOPG, lambda at: {"DATABASE_URL": at.url()}),
    "psycopg, URL with TLS": (in_python, PSYCOPG, lambda at: {"DATABASE_URL": at.url("?sslmode=require")}),
    "psycopg, channel binding": (
        in_python,
        PSYCOPG,
        lambda at: {"DATABASE_URL": at.url("?sslmode=require&channel_binding=require&require_auth=scram-sha-256")},
    ),
    "psycopg, libpq's variables": (in_python, PSYCOPG, lambda at: at.libpq()),
    "psycopg, libpq's demands": (
        in_python,
        PSYCOPG,
        lambda at: at.libpq(PGSSLMODE="require", PGCHANNELBINDING="require", PGSSLNEGOTIATION="direct"),
    ),
    "psycopg, an address": (in_python, PSYCOPG, lambda at: at.libpq(PGHOST="db.example.com", PGHOSTADDR=at.host)),
    "psycopg, all in parameters": (
        in_python,
        PSYCOPG,
        lambda at: {
            "DATABASE_URL": f"postgresql://?host={at.host}&port={at.port}&user={at.database.owner}"
            f"&password={quote(PASSWORD, safe='')}&dbname={at.database.name}"
        },
    ),
    "psycopg, the password beside it": (
        in_python,
        PSYCOPG,
        lambda at: {
            "DATABASE_URL": f"postgres://{at.database.owner}@{at.host}:{at.port}/{at.database.name}",
            "PGPASSWORD": PASSWORD,
        },
    ),
    "psql, URL": (by_psql, "", lambda at: {"DATABASE_URL": at.url()}),
    "psql, libpq's variables": (by_psql, "", lambda at: at.libpq()),
    "asyncpg, URL": (in_python, ASYNCPG, lambda at: {"DATABASE_URL": at.url("?application_name=mine")}),
    "asyncpg, URL with TLS": (
        in_python,
        ASYNCPG,
        lambda at: {"DATABASE_URL": at.url("?sslmode=require&application_name=mine")},
    ),
    "SQLAlchemy, psycopg": (
        in_python,
        SQLALCHEMY,
        lambda at: {"DATABASE_URL": at.url("?sslmode=require", "postgresql+psycopg")},
    ),
    "SQLAlchemy, psycopg2": (in_python, SQLALCHEMY, lambda at: {"DATABASE_URL": at.url("", "postgresql")}),
    "SQLAlchemy, asyncpg": (
        in_python,
        SQLALCHEMY_ASYNCPG,
        lambda at: {"DATABASE_URL": at.url("?ssl=require", "postgresql+asyncpg")},
    ),
    "SQLAlchemy, pg8000": (
        in_python,
        SQLALCHEMY,
        lambda at: {"DATABASE_URL": at.url("?application_name=mine", "postgresql+pg8000")},
    ),
    "node-postgres, URL": (in_node, NODE, lambda at: {"DATABASE_URL": at.url()}),
    "node-postgres, sslmode=no-verify": (in_node, NODE, lambda at: {"DATABASE_URL": at.url("?sslmode=no-verify")}),
    "node-postgres, ssl=true": (in_node, NODE, lambda at: {"DATABASE_URL": at.url("?ssl=true")}),
    "node-postgres, PGSSLMODE": (in_node, NODE, lambda at: {"DATABASE_URL": at.url(), "PGSSLMODE": "no-verify"}),
    "node-postgres, libpq's variables": (in_node, NODE, lambda at: at.libpq(PGSSLMODE="require")),
    "pgjdbc, all in the URL": (in_java, JAVA, lambda at: at.java("?sslmode=require&ApplicationName=mine")),
    "pgjdbc, variables beside it": (in_java, JAVA, lambda at: at.java("?ApplicationName=mine", beside=True)),
    "pgjdbc, blind": (
        in_java,
        JAVA,
        lambda at: at.java("?ssl=true&sslfactory=org.postgresql.ssl.NonValidatingFactory&ApplicationName=mine"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_driver_connects_through_the_witness_and_never_sees_the_password(
    place: Place, tmp_path: Path, case: str
) -> None:
    how, text, makes = CASES[case]
    command, environ = how(text, tmp_path), makes(place)
    with entered(environ, tmp_path) as (after, opened):
        assert PASSWORD not in str(after)
        assert quote(PASSWORD, safe="").lower() not in str(after).lower()
        pid, name, application, *_ = asked(command, after, tmp_path)
        assert (name, application) == (place.database.name, "mine")
        assert [str(session.pid) for session in opened] == [pid]


VERIFYING = {
    "psycopg": (in_python, PSYCOPG, "verify-full"),
    "psycopg, require": (in_python, PSYCOPG, "require"),
    "asyncpg": (in_python, ASYNCPG, "verify-full"),
    "node-postgres": (in_node, NODE, "verify-full"),
    "pgjdbc": (in_java, JAVA, "verify-full"),
}


@pytest.mark.parametrize("case", VERIFYING)
def test_client_and_witness_verify_whom_they_reach(database: Database, tmp_path: Path, case: str) -> None:
    """Another witness stands for the server, since its authority is at hand."""
    how, text, mode = VERIFYING[case]
    command = how(text, tmp_path)
    for server in before(database):
        door, theirs = server.entrance, tmp_path / "theirs.crt"
        theirs.write_bytes(server.relay.root_certificate)
        query = f"?sslmode={mode}&sslrootcert={theirs}"
        whom = f"user={database.owner}&password={door.password}&ApplicationName=mine"
        environ = {
            "DATABASE_URL": f"postgres://{database.owner}:{door.password}@{door.host}:{door.port}/{database.name}{query}",
            "SPRING_DATASOURCE_URL": f"jdbc:postgresql://{door.host}:{door.port}/{database.name}{query}&{whom}",
        }
        if how is not in_java:
            del environ["SPRING_DATASOURCE_URL"]
        with entered(environ, tmp_path) as (after, opened):
            assert str(theirs) not in str(after)
            pid, *_, last = asked(command, after, tmp_path)
            assert last in {"True", "mine"} or text == ASYNCPG
            assert [str(session.pid) for session in opened] == [pid]


def test_a_client_does_not_get_in_where_the_server_is_another(database: Database, tmp_path: Path) -> None:
    for server in before(database):
        door, wrong = server.entrance, tmp_path / "wrong.crt"
        with Relay() as other:
            wrong.write_bytes(other.root_certificate)
        query = f"?sslmode=verify-full&sslrootcert={wrong}"
        url = f"postgres://{database.owner}:{door.password}@{door.host}:{door.port}/{database.name}{query}"
        with entered({"DATABASE_URL": url}, tmp_path) as (after, opened):
            base = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
            done = subprocess.run(
                in_python(PSYCOPG, tmp_path), env=base | after, capture_output=True, text=True, check=False
            )
            assert done.returncode == 1
            assert "CERTIFICATE_VERIFY_FAILED" in done.stderr
            assert opened == []
