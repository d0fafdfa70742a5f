"""Real drivers through the witness: each does what it does without it, and what it committed is seen."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pg8000.native
import psycopg
import psycopg2
import pytest

from heroku_sandbox.programs import tools
from release.witness.verdict import Word, verdict
from tests.unit.database.conftest import Database
from tests.unit.witness.conftest import Witnessed, before, vocabulary

SCRIPTS = Path(__file__).parents[2] / "faults" / "drivers"
NODE = "node-postgres"
PYTHON = ("psycopg", "psycopg2", "asyncpg", "pg8000")

SETUP = (
    "CREATE TABLE learners (id serial PRIMARY KEY, name text, points int DEFAULT 0)",
    "INSERT INTO learners (name) SELECT 'learner ' || n FROM generate_series(1, 10) n",
    "CREATE TABLE alembic_version (version_num text)",
)

COMMITTED, NOTHING = Word.COMMITTED, Word.NOTHING

SITUATIONS = {
    "lands": COMMITTED,
    "broken": COMMITTED,
    "rolled back": NOTHING,
    "killed while a statement runs": NOTHING,
    "killed idle in transaction": NOTHING,
    "many in one message": COMMITTED,
    "savepoints": COMMITTED,
    "prepared": COMMITTED,
    "pipelined": COMMITTED,
    "COPY": COMMITTED,
}
MISSING = {
    ("psycopg2", "prepared"),
    ("psycopg2", "pipelined"),
    ("asyncpg", "pipelined"),
    ("pg8000", "pipelined"),
    (NODE, "COPY"),
}
"""What a driver does not have."""

CASES = [(driver, each) for driver in (*PYTHON, NODE) for each in SITUATIONS if (driver, each) not in MISSING]
TLS = {"psycopg": "require", "psycopg2": "require", "asyncpg": "require", NODE: "no-verify"}
"""How each says in a URL that it wants TLS; pg8000 takes no URL."""


@pytest.fixture
def witnessed(database: Database) -> Iterator[Witnessed]:
    """A witness before the tables that the scripts know."""
    database.execute(*SETUP)
    yield from before(database, vocabulary(database))


def node_modules() -> Path:
    """Where tests/faults/test_drivers.py has put node-postgres."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    found = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "release-tests" / "node" / "node_modules"
    if shutil.which("node") is None or not (found / "pg").is_dir():
        pytest.skip("node-postgres is not at hand; tests/faults/test_drivers.py installs it")
    return found


def drive(folder: Path, url: str, driver: str, situation: str) -> subprocess.CompletedProcess[str]:
    """Runs a driver's script to its end."""
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": url, "HOME": str(folder)}
    if driver == NODE:
        environment["NODE_PATH"] = str(node_modules())
        command = ["node", str(SCRIPTS / "drive.js"), driver, situation, "neither"]
    else:
        command = [sys.executable, str(SCRIPTS / "drive.py"), driver, situation, "neither"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_what_a_driver_committed_is_seen(witnessed: Witnessed, tmp_path: Path, case: tuple[str, str]) -> None:
    driver, situation = case
    done = drive(tmp_path, witnessed.url(), driver, situation)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    seen = witnessed.seen()
    assert witnessed.verdict().word is SITUATIONS[situation], (seen, done)
    assert [session.pid for session in witnessed.opened] == pids
    assert seen.doubts == ()
    assert set(pids).isdisjoint(witnessed.alive())


@pytest.mark.parametrize("driver", TLS)
def test_a_driver_that_wants_tls_gets_it(witnessed: Witnessed, tmp_path: Path, driver: str) -> None:
    done = drive(tmp_path, witnessed.url(sslmode=TLS[driver]), driver, "rolled back")
    assert witnessed.verdict().word is NOTHING, done
    error = witnessed.seen().last_error
    assert error is not None
    assert (error.sqlstate, error.text, error.shape) == ("22012", "division by zero", "SELECT ? / ?")


def test_pg8000_gets_tls_when_it_asks(witnessed: Witnessed) -> None:
    context = ssl.create_default_context(cadata=witnessed.relay.root_certificate.decode())
    door, name = witnessed.entrance, witnessed.database.name
    connection = pg8000.native.Connection(
        name, host="localhost", port=door.port, password=door.password, database=name, ssl_context=context
    )
    assert connection.run("SELECT 1") == [[1]]
    connection.close()
    assert witnessed.verdict().word is NOTHING


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_a_client_can_verify_the_witness(witnessed: Witnessed, tmp_path: Path, mode: str) -> None:
    (tmp_path / "root.crt").write_bytes(witnessed.relay.root_certificate)
    connection = witnessed.connect(sslmode=mode, sslrootcert=str(tmp_path / "root.crt"))
    assert connection.pgconn.ssl_in_use


def test_tls_can_begin_at_once(witnessed: Witnessed) -> None:
    connection = witnessed.connect(sslmode="require", sslnegotiation="direct")
    assert connection.execute("SELECT 1").fetchone() == (1,)
    assert connection.pgconn.ssl_in_use


def test_tls_without_the_protocols_name_is_refused(witnessed: Witnessed) -> None:
    context = ssl.create_default_context(cadata=witnessed.relay.root_certificate.decode())
    raw = socket.create_connection((witnessed.entrance.host, witnessed.entrance.port))
    with context.wrap_socket(raw, server_hostname="localhost") as secured:
        assert b"ALPN" in secured.recv(1000)


@pytest.mark.parametrize("version", ["3.0", "3.2", "latest"])
def test_the_protocols_version_is_negotiated_as_the_server_does(witnessed: Witnessed, version: str) -> None:
    connection = witnessed.connect(max_protocol_version=version)
    with psycopg.connect(
        witnessed.database.server.url(witnessed.database.name, witnessed.database.owner, "secret"),
        max_protocol_version=version,
    ) as direct:
        assert connection.pgconn.full_protocol_version == direct.pgconn.full_protocol_version


def test_a_cancel_request_reaches_its_statement_and_no_other(witnessed: Witnessed) -> None:
    one, other = witnessed.connect(), witnessed.connect()
    other.execute("SELECT 1")
    timer = threading.Timer(0.2, one.cancel_safe)
    timer.start()
    begin = time.monotonic()
    with pytest.raises(psycopg.errors.QueryCanceled):
        one.execute("SELECT pg_sleep(20)")
    timer.join()
    assert time.monotonic() - begin < 5
    assert other.execute("SELECT 2").fetchone() == (2,)


def test_a_notification_comes_through(witnessed: Witnessed) -> None:
    connection = witnessed.connect()
    connection.execute("LISTEN news")
    witnessed.database.execute("NOTIFY news, 'hello'")
    assert [each.payload for each in connection.notifies(timeout=5, stop_after=1)] == ["hello"]


def test_asyncpg_closes_without_waiting(witnessed: Witnessed) -> None:
    async def migrate() -> float:
        connection = await asyncpg.connect(witnessed.url())
        async with connection.transaction():
            async for _ in connection.cursor("SELECT * FROM learners", prefetch=3):
                pass
        begin = time.monotonic()
        await connection.close(timeout=5)
        return time.monotonic() - begin

    assert asyncio.run(migrate()) < 1
    assert witnessed.verdict().word is NOTHING


def test_large_objects_are_seen(witnessed: Witnessed) -> None:
    connection: Any = psycopg2.connect(witnessed.url())
    connection.lobject(0, "w").write(b"x" * 100_000)
    connection.rollback()
    assert witnessed.relay.seen().transactions.keys().isdisjoint({"committed"})
    connection.lobject(0, "w").write(b"x")
    connection.commit()
    connection.close()
    assert witnessed.verdict().word is COMMITTED


def test_replication_is_refused(witnessed: Witnessed) -> None:
    with pytest.raises(psycopg.OperationalError, match="witness passes no replication connections"):
        witnessed.connect(replication="database")
    assert witnessed.seen().sessions == 0


def test_a_wrong_password_opens_nothing(witnessed: Witnessed) -> None:
    with pytest.raises(psycopg.OperationalError, match="the password is not the one that the witness gave"):
        witnessed.connect(password="secret")
    assert witnessed.opened == []


def test_the_servers_own_refusal_reaches_the_client(witnessed: Witnessed) -> None:
    with pytest.raises(psycopg.OperationalError, match='database "nowhere" does not exist'):
        witnessed.connect(dbname="nowhere")
    error = witnessed.relay.seen().last_error
    assert error is not None
    assert error.sqlstate == "3D000"


def test_timeouts_have_the_last_word_over_the_clients_own(database: Database) -> None:
    for witnessed in before(database, settings=(("lock_timeout", "7s"), ("statement_timeout", "8s"))):
        connection = witnessed.connect(options="-c lock_timeout=1s -c work_mem=5MB", application_name="mine")
        shown = [connection.execute(f"SHOW {name}").fetchone() for name in ("lock_timeout", "statement_timeout")]
        assert shown == [("7s",), ("8s",)]
        assert connection.execute("SHOW work_mem").fetchone() == ("5MB",)
        assert connection.execute("SHOW application_name").fetchone() == ("mine",)


def test_an_error_that_psql_swallows_is_seen(witnessed: Witnessed, tmp_path: Path) -> None:
    psql = shutil.which("psql") or str(tools() / "psql")
    script = tmp_path / "script.sql"
    script.write_text("INSERT INTO learners (name) VALUES ('a');\nINSERT INTO nowhere VALUES ('secret');\nSELECT 1;\n")
    done = subprocess.run(
        [psql, "-X", "-q", "-f", str(script), witnessed.url()], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    seen = witnessed.seen()
    assert (verdict(seen).word, seen.errors, seen.first_error) == (COMMITTED, 1, seen.last_error)
    assert seen.first_error is not None
    assert (seen.first_error.sqlstate, seen.first_error.shape) == ("42P01", "INSERT INTO nowhere VALUES (?)")
