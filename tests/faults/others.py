"""Other people at work on a database while a release goes on: a job runner that writes, somebody who makes things."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psycopg

from tests.faults.stage import Place
from tests.hook import POSTGRES_BIN
from tests.judge import execute, query

PAUSE = 0.02
"""Seconds between two writes."""
CONNECT_WITHIN = 5

MADE = ("meanwhile.things", "public.later_on")
"""The tables that somebody makes."""
MAKING = (
    "CREATE SCHEMA meanwhile",
    "CREATE TABLE meanwhile.things (n integer)",
    "INSERT INTO meanwhile.things VALUES (4711)",
    "CREATE TABLE public.later_on (n integer)",
    "INSERT INTO public.later_on VALUES (4711)",
)


class Writer:
    """A job runner outside of Heroku: keeps a session, opens a new one when it is gone, and inserts into `jobs`.

    A context manager; `accepted` holds the tokens whose insert the server has acknowledged.
    """

    def __init__(self, place: Place) -> None:
        self.accepted: list[int] = []
        self._place = place
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        execute(place.environment["DATABASE_URL"], "CREATE TABLE jobs (token integer)")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)

    def _work(self) -> None:
        url, token = self._place.environment["DATABASE_URL"], 0
        connection: psycopg.Connection | None = None
        while not self._stop.wait(PAUSE):
            token += 1
            try:
                if connection is None or connection.closed:
                    connection = psycopg.connect(
                        url, autocommit=True, application_name="web.1", connect_timeout=CONNECT_WITHIN
                    )
                connection.execute("INSERT INTO jobs VALUES (%s)", [token])
                self.accepted.append(token)
            except psycopg.Error:
                if connection and connection.broken:
                    connection.close()
        if connection:
            connection.close()

    def lost(self) -> set[int]:
        """Accepted tokens that are neither in the database nor in any copy of it."""
        return set(self.accepted) - self.present() - {int(row) for row in copied(self._place, "jobs")}

    def present(self) -> set[int]:
        """The tokens that are in the database."""
        if query(self._place.superuser, "SELECT to_regclass('public.jobs') IS NULL") == [(True,)]:
            return set()
        return {int(str(token)) for (token,) in query(self._place.superuser, "SELECT token FROM public.jobs")}


def make(place: Place) -> None:
    """Somebody makes a schema and two tables, with a row in each."""
    execute(place.environment["DATABASE_URL"], *MAKING)


def there(place: Place) -> set[str]:
    """Which of the tables that somebody made are in the database, with their row."""
    return {name for name in MADE if _holds(place, name)}


def _holds(place: Place, name: str) -> bool:
    if query(place.superuser, f"SELECT to_regclass('{name}') IS NULL") == [(True,)]:
        return False
    return query(place.superuser, f"SELECT n FROM {name}") == [(4711,)]


def copied(place: Place, table: str) -> Iterator[str]:
    """The rows of a table of one column in all of the app's backups and salvages."""
    for file in backups(place):
        yield from rows_in(file, table)


def backups(place: Place) -> list[Path]:
    """The app's backups as files, the oldest first."""
    found = [each for each in place.app.transfers() if each["to_type"] == "gof3r" and each["succeeded"] is True]
    return [file for each in found if (file := place.sandbox.home / "dumps" / each["uuid"]).exists()]


def restored_from(place: Place) -> Path | None:
    """The file of the backup that was restored last, if there was a restore and its backup is still kept."""
    transfers = place.app.transfers()
    sources = [each["from_url"] for each in transfers if each["to_type"] == "pg_restore"]
    found = [each for each in transfers if sources and each["to_url"] == sources[-1]]
    return place.sandbox.home / "dumps" / found[0]["uuid"] if found else None


def rows_in(file: Path, table: str) -> list[str]:
    """The rows of a table of one column in a dump; `table` without its schema."""
    argv = [str(POSTGRES_BIN / "pg_restore"), "--data-only", f"--table={table}", "--file=-", str(file)]
    text = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    _, copy, rows = text.partition(" FROM stdin;\n")
    return rows.partition("\n\\.")[0].splitlines() if copy else []


def under_way(place: Place, to_type: str) -> bool:
    """Whether a backup (`gof3r`) or a restore (`pg_restore`) of the app is under way."""
    return any(each["to_type"] == to_type and not each["finished_at"] for each in place.app.transfers())


def loaded(place: Place) -> bool:
    """Whether a restore that is under way has loaded the rows of the last table."""
    if not under_way(place, "pg_restore"):
        return False
    try:
        return query(place.superuser, "SELECT count(*) FROM public.learners WHERE points >= 0") == [(300,)]
    except psycopg.Error:
        return False
