"""A migration by one of Python's PostgreSQL drivers: `drive.py DRIVER SITUATION OWN`; DATABASE_URL says where.

OWN: `name` (the app gives its sessions a name of its own), `options` (options of its own), `neither`. What each
situation does is the same for all drivers and stands in `SITUATIONS`; what a driver calls it stands in its class.
The pids of its sessions are noted in the file `pids`.
"""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

URL = os.environ["DATABASE_URL"]
NAME = "web.1"
OPTIONS = {"search_path": "public", "work_mem": "5MB"}
AS_OPTIONS = " ".join(f"-c {name}={value}" for name, value in OPTIONS.items())
DAMAGE = "ALTER TABLE learners DROP COLUMN points"
LANDS = (
    "ALTER TABLE learners ADD COLUMN nickname text",
    "UPDATE learners SET nickname = left(name, 3)",
    "INSERT INTO alembic_version VALUES ('001')",
)
SLOW = "UPDATE learners SET points = -1 FROM (SELECT pg_sleep(5)) AS waited"
INSERT = "INSERT INTO learners (name) VALUES "
VIOLATED = (
    "BEGIN",
    "UPDATE learners SET points = points + 1",
    "ALTER TABLE learners ADD CONSTRAINT enough CHECK (points > 100)",
)
ROWS = ["copied 1", "copied 2"]


class Psycopg:
    """psycopg 3."""

    def __init__(self, own: str) -> None:
        import psycopg  # noqa: PLC0415 -- of the drivers only the one that is used

        given: dict[str, Any] = {"name": {"application_name": NAME}, "options": {"options": AS_OPTIONS}}.get(own, {})
        self.connection = psycopg.connect(URL, autocommit=True, **given)

    def run(self, sql: str) -> Any:
        cursor = self.connection.execute(sql)
        return cursor.fetchall() if cursor.description else None

    def prepared(self) -> None:
        for n in range(3):
            self.connection.execute(INSERT + "(%s)", [f"prepared {n}"], prepare=True)

    def pipelined(self) -> None:
        with self.connection.pipeline():
            for n in range(3):
                self.connection.execute(INSERT + "(%s)", [f"pipelined {n}"])

    def copied(self) -> None:
        with self.connection.cursor() as cursor, cursor.copy("COPY learners (name) FROM STDIN") as copy:
            for row in ROWS:
                copy.write_row([row])


class Psycopg2:
    """psycopg 2."""

    def __init__(self, own: str) -> None:
        import psycopg2  # noqa: PLC0415 -- of the drivers only the one that is used

        given = {"name": {"application_name": NAME}, "options": {"options": AS_OPTIONS}}.get(own, {})
        self.connection = psycopg2.connect(URL, **given)
        self.connection.autocommit = True

    def run(self, sql: str) -> Any:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else None

    def copied(self) -> None:
        with self.connection.cursor() as cursor:
            cursor.copy_expert("COPY learners (name) FROM STDIN", io.StringIO("\n".join(ROWS) + "\n"))


class Asyncpg:
    """asyncpg, which reads neither PGAPPNAME nor PGOPTIONS."""

    def __init__(self, own: str) -> None:
        import asyncpg  # noqa: PLC0415 -- of the drivers only the one that is used

        self.loop = asyncio.new_event_loop()
        given = {"name": {"application_name": NAME}, "options": OPTIONS}.get(own)
        self.connection = self._wait(asyncpg.connect(URL, server_settings=given))

    def _wait(self, what: Any) -> Any:
        return self.loop.run_until_complete(what)

    def run(self, sql: str) -> Any:
        if sql.startswith("SELECT"):
            return [tuple(row) for row in self._wait(self.connection.fetch(sql))]
        return self._wait(self.connection.execute(sql))

    def prepared(self) -> None:
        statement = self._wait(self.connection.prepare(INSERT + "($1)"))
        for n in range(3):
            self._wait(statement.fetch(f"prepared {n}"))

    def copied(self) -> None:
        rows = [(row,) for row in ROWS]
        self._wait(self.connection.copy_records_to_table("learners", records=rows, columns=["name"]))


class Pg8000:
    """pg8000, which reads no variable at all."""

    def __init__(self, own: str) -> None:
        import pg8000.native  # noqa: PLC0415 -- of the drivers only the one that is used

        parts = urlsplit(URL)
        ways: dict[str, dict[str, Any]] = {
            "name": {"application_name": NAME},
            "options": {"startup_params": {"options": AS_OPTIONS}},
        }
        self.connection = pg8000.native.Connection(
            unquote(parts.username or ""),
            host=parts.hostname,
            port=parts.port,
            password=unquote(parts.password or ""),
            database=parts.path.lstrip("/"),
            **ways.get(own, {}),
        )

    def run(self, sql: str) -> Any:
        return self.connection.run(sql)

    def prepared(self) -> None:
        statement = self.connection.prepare(INSERT + "(:name)")
        for n in range(3):
            statement.run(name=f"prepared {n}")

    def copied(self) -> None:
        self.connection.run("COPY learners (name) FROM STDIN", stream=io.StringIO("\n".join(ROWS) + "\n"))


DRIVERS: dict[str, Callable[[str], Any]] = {
    "psycopg": Psycopg,
    "psycopg2": Psycopg2,
    "asyncpg": Asyncpg,
    "pg8000": Pg8000,
}


def connect(driver: str, own: str) -> Any:
    session = DRIVERS[driver](own)
    pid = session.run("SELECT pg_backend_pid()")[0][0]
    with Path("pids").open("a") as file:
        file.write(f"{pid}\n")
    return session


def kill_in(seconds: float) -> None:
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()


def lands(session: Any) -> None:
    for statement in LANDS:
        session.run(statement)
    sys.exit(0)


def broken(session: Any) -> None:
    session.run(DAMAGE)
    session.run(INSERT + "('new')")


def rolled_back(session: Any) -> None:
    session.run("BEGIN")
    session.run(DAMAGE)
    session.run(INSERT + "('new')")
    session.run("SELECT 1 / 0")


def violated(session: Any) -> None:
    for statement in VIOLATED:
        session.run(statement)


def killed_running(session: Any) -> None:
    kill_in(0.4)
    session.run(SLOW)


def killed_after_damage(session: Any) -> None:
    session.run("CREATE TABLE left_behind (n integer)")
    killed_running(session)


def killed_idle_in_transaction(session: Any) -> None:
    session.run("BEGIN")
    session.run(INSERT + "('new')")
    kill_in(0)
    time.sleep(10)


def grandchild_commits_later(session: Any) -> None:
    session.run(DAMAGE)
    again = [sys.executable, *sys.argv[:2], "(held)", *sys.argv[3:]]
    subprocess.Popen(again, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ends = time.monotonic() + 5
    while not Path("held").exists() and time.monotonic() < ends:
        time.sleep(0.05)


def held(session: Any) -> None:
    """What the grandchild does."""
    session.run("BEGIN")
    session.run(INSERT + "('from a grandchild')")
    Path("held").touch()
    time.sleep(4)
    session.run("COMMIT")


def multi(session: Any) -> None:
    session.run(f"{INSERT} ('one'); {INSERT} ('two'); DELETE FROM learners WHERE id < 10")


def savepoints(session: Any) -> None:
    session.run("BEGIN")
    session.run(DAMAGE)
    session.run("SAVEPOINT one")
    with suppress(Exception):  # each driver has its own
        session.run("SELECT 1 / 0")
    session.run("ROLLBACK TO SAVEPOINT one")
    session.run("COMMIT")


def migrates(session: Any, ending: str = "COMMIT") -> None:
    """Of everything something, in one transaction, by all that the driver has; a read and a write outside of it."""
    session.run("BEGIN")
    session.run("CREATE TABLE made (n integer PRIMARY KEY, name text)")
    session.run("ALTER TABLE learners ADD COLUMN nickname text")
    session.run(INSERT + "('new')")
    for way in ("prepared", "pipelined", "copied"):
        getattr(session, way, lambda: None)()
    session.run("SAVEPOINT one")
    with suppress(Exception):  # each driver has its own
        session.run("SELECT 1 / 0")
    session.run("ROLLBACK TO SAVEPOINT one")
    session.run(ending)
    session.run("SELECT name FROM learners")
    if ending == "COMMIT":
        session.run(INSERT + "('by itself')")
    if close := session.connection.close():
        session.loop.run_until_complete(close)  # asyncpg's
    sys.exit(0)


SITUATIONS: dict[str, Callable[[Any], object]] = {
    "lands": lands,
    "broken": broken,
    "rolled back": rolled_back,
    "a constraint is violated": violated,
    "killed while a statement runs": killed_running,
    "killed after damage, while a statement runs": killed_after_damage,
    "killed idle in transaction": killed_idle_in_transaction,
    "a grandchild commits later": grandchild_commits_later,
    "(held)": held,
    "many in one message": multi,
    "savepoints": savepoints,
    "prepared": lambda session: session.prepared(),
    "pipelined": lambda session: session.pipelined(),
    "COPY": lambda session: session.copied(),
    "migrates": migrates,
    "migrates and rolls back": lambda session: migrates(session, "ROLLBACK"),
}


if __name__ == "__main__":
    SITUATIONS[sys.argv[2]](connect(sys.argv[1], sys.argv[3]))
    sys.exit(3)
