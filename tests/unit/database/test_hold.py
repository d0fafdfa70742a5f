"""A hold: writers wait, dumps read, a restore is let through, and nothing is left behind by a hold that is gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pytest

from release.database import hold, session
from release.database.hold import Hold
from tests.unit.database.conftest import Database


@pytest.fixture
def held(database: Database) -> Iterator[Hold]:
    database.execute("CREATE TABLE jobs (token integer)", "CREATE TABLE done (token integer)")
    url = database.server.url(database.name, database.owner, "secret")
    with closing(Hold(session.Database(url, application_name="release-hook-0f3a-hold"))) as held:
        held.open()
        yield held


def refused(database: Database, statement: str) -> str | None:
    """The SQLSTATE of a statement that waits for at most 0.2 s."""
    with database.connect() as connection:
        connection.execute("SET lock_timeout = '200ms'")
        try:
            connection.execute(statement.encode())
        except psycopg.Error as error:
            return error.sqlstate
    return None


def until(what: Callable[[], object]) -> None:
    ends = time.monotonic() + 10
    while not what():
        assert time.monotonic() < ends, "waited too long"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("statement", "state"),
    [
        ("INSERT INTO jobs VALUES (1)", "55P03"),
        ("UPDATE jobs SET token = 2", "55P03"),
        ("DELETE FROM jobs", "55P03"),
        ("TRUNCATE done", "55P03"),
        ("SELECT count(*) FROM jobs", None),
        ("SELECT token FROM jobs FOR UPDATE", None),
    ],
)
def test_writers_wait_and_readers_do_not(database: Database, held: Hold, statement: str, state: str | None) -> None:
    assert held.lock() == 2
    assert held.locked
    assert refused(database, statement) == state


def test_with_the_session_the_locks_are_gone(database: Database, held: Hold) -> None:
    held.lock()
    database.superuser("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name ~ '-hold$'")

    assert held.look() is None
    assert not held.alive
    assert refused(database, "INSERT INTO jobs VALUES (1)") is None
    assert held.look() is None, "it is never opened again"


def test_a_restore_that_waits_is_let_through_before_the_writers(database: Database, held: Hold) -> None:
    held.lock()
    said: list[str] = []

    def work(name: str, statement: str) -> None:
        try:
            database.execute(f"SET application_name = '{name}'", statement)
            said.append(name)
        except psycopg.Error as error:
            said.append(f"{name} {error.sqlstate}")

    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    reader = database.connect()
    threads = []
    for number, (name, statement) in enumerate(
        [("web.1", "INSERT INTO jobs VALUES (1)"), ("Heroku Postgres Backups", "DROP TABLE jobs")], start=1
    ):
        threads.append(threading.Thread(target=work, args=(name, statement)))
        threads[-1].start()
        until(lambda number=number: reader.execute(waiting).fetchall()[0][0] >= number)  # type: ignore[misc]
    held.stay()
    for thread in threads:
        thread.join()

    assert sorted(said) == ["Heroku Postgres Backups", "web.1 57P01"]
    assert held.waiting == {"public.jobs": 1}
    assert not held.locked


@pytest.mark.parametrize(("asked", "state"), [(False, "55P03"), (True, None)])
def test_somebodys_own_ddl_waits_until_the_restore_was_asked_for(
    database: Database, held: Hold, asked: bool, state: str | None
) -> None:
    held.lock()
    found: list[str | None] = []

    def drop() -> None:
        with database.connect() as connection:
            connection.execute("SET lock_timeout = '1s'")
            try:
                connection.execute("DROP TABLE jobs")
                found.append(None)
            except psycopg.Error as error:
                found.append(error.sqlstate)

    thread = threading.Thread(target=drop)
    thread.start()
    reader = database.connect()
    until(lambda: reader.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchall()[0][0])
    held.look(asked=asked)
    thread.join()

    assert found == [state]


def test_a_writers_open_transaction_is_waited_for_in_bounded_time(database: Database, held: Hold) -> None:
    writer = database.connect()
    with writer.transaction():
        writer.execute("INSERT INTO jobs VALUES (1)")
        with pytest.raises(session.Busy):
            held.lock()
        assert held.alive
        assert not held.locked
    held.lock()
    assert held.locked


def test_two_looks_tell_what_was_written_in_between(database: Database, held: Hold) -> None:
    before = held.look()
    database.execute("INSERT INTO jobs VALUES (1), (2)", "UPDATE jobs SET token = 3 WHERE token = 1")
    assert before is not None
    until(lambda: (found := held.look()) and found.writes["public.jobs"].updated)
    after = held.look()
    assert after is not None
    assert hold.comparable(before, after)
    assert {table: str(rows) for table, rows in hold.written(before.writes, after.writes).items()} == {
        "public.jobs": "2 inserted, 1 updated, 0 deleted"
    }
    assert not hold.comparable(after, hold.Reading(after.epoch, {}))
