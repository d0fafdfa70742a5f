"""Locks that others hold: named while the migration waits, and waited out only where nothing can have changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest

from heroku_sandbox import App, Sandbox
from release.protected.blockers import SHOWN, says_lock_timeout, shape
from tests.hook import Hook, small_app
from tests.judge import picture, running

ADD = "ALTER TABLE learners ADD COLUMN nickname text;\n"


READ = "SELECT name FROM learners WHERE name = 'Ann Oakley' AND points > 4711"
WAITING = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'learners'::regclass"


@contextmanager
def held(app: App, seconds: float, statement: str = READ, *, once_waited_for: bool = False) -> Iterator[None]:
    """Another session keeps a lock on the table for so long, as a forgotten console does.

    `once_waited_for`: the seconds begin when somebody waits for it, however long a busy machine takes until then.
    """
    ready, over = threading.Event(), threading.Event()

    def hold() -> None:
        with (
            psycopg.connect(app.database_url, application_name="console of ann") as connection,
            psycopg.connect(app.database_url, autocommit=True) as looking,
        ):
            connection.execute(statement.encode())
            ready.set()
            while once_waited_for and not looking.execute(WAITING).fetchall() and not over.wait(0.1):
                pass
            time.sleep(seconds)
            with suppress(psycopg.OperationalError):  # the fence has ended it
                connection.rollback()

    thread = threading.Thread(target=hold)
    thread.start()
    ready.wait(10)
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_who_blocks_the_migration_is_named_without_the_values_in_the_query(hook: Hook, app: App) -> None:
    small_app(hook.folder, {"001": ADD})
    with held(app, 4, once_waited_for=True):
        result = hook.run()

    assert result.ended == (0, "released", None)
    blocked = result.named("migration_blocked")[0]
    assert (blocked["holder"], blocked["state"]) == ("console of ann", "idle in transaction")
    assert blocked["query"] == "SELECT name FROM learners WHERE name = ? AND points > ?"
    assert blocked["waiting"].startswith("ALTER TABLE learners ADD COLUMN nickname")
    assert b"Oakley" not in result.stdout


@pytest.mark.parametrize("name", ["Heroku Postgres Backups", "pg_dump"])
def test_who_blocks_heroku_s_dump_is_named(hook: Hook, app: App, name: str) -> None:
    lock = "LOCK TABLE learners IN ACCESS EXCLUSIVE MODE /* 'Ann Oakley' */"
    with held(app, 6, lock), _waiting_like_a_dump(app, name):
        result = hook.run()

    assert result.ended == (0, "released", None)
    blocked = result.named("backup_blocked")
    assert {each["holder"] for each in blocked} == {"console of ann"}
    assert len(blocked) == 1, "it is named once in half a minute"
    assert blocked[0]["query"] == "LOCK TABLE learners IN ACCESS EXCLUSIVE MODE /* ? */"
    assert blocked[0]["waiting"].startswith("LOCK TABLE")
    assert result.named("migration_blocked") == []


@contextmanager
def _waiting_like_a_dump(app: App, name: str) -> Iterator[None]:
    """A session that waits for the lock as Heroku's dump does, whatever the sandbox's own calls itself."""

    def wait() -> None:
        with psycopg.connect(app.database_url, application_name=name) as connection:
            connection.execute("LOCK TABLE public.learners IN ACCESS SHARE MODE")

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_a_lock_timeout_is_tried_again_while_the_database_is_unchanged(hook: Hook, app: App) -> None:
    small_app(hook.folder, {"001": ADD})
    with held(app, 3, once_waited_for=True):
        result = hook.run(RELEASE_LOCK_TIMEOUT="700ms", RELEASE_MIGRATE_ATTEMPTS="8")

    assert result.ended == (0, "released", None)
    again = [each for each in result.named("retry_scheduled") if each["call"] == "migration"]
    assert again
    assert again[0]["wait"] >= 1
    assert "waiting too long for a lock" in again[0]["caused_by"]
    assert len(app.transfers()) == 1


def test_without_further_attempts_a_lock_timeout_fails_and_nothing_is_restored(
    hook: Hook, app: App, sandbox: Sandbox
) -> None:
    small_app(hook.folder, {"001": ADD})
    before = picture(sandbox.superuser_url(app))
    with held(app, 6, once_waited_for=True):
        result = hook.run(RELEASE_LOCK_TIMEOUT="500ms")

    assert result.ended == (1, "untouched", "migration_failed")
    assert result.named("retry_scheduled") == []
    assert picture(sandbox.superuser_url(app)) == before


def test_after_a_change_a_lock_timeout_is_not_tried_again_but_undone(hook: Hook, app: App, sandbox: Sandbox) -> None:
    small_app(hook.folder, {"001": "CREATE TABLE courses (n integer);\n" + ADD})
    before = picture(sandbox.superuser_url(app))
    with held(app, 6, once_waited_for=True):
        result = hook.run(RELEASE_LOCK_TIMEOUT="500ms", RELEASE_MIGRATE_ATTEMPTS="8")

    assert result.ended == (1, "restored", "migration_failed")
    assert [each for each in result.named("retry_scheduled") if each["call"] == "migration"] == []
    assert picture(sandbox.superuser_url(app)) == before


def test_another_failure_is_not_tried_again(hook: Hook) -> None:
    small_app(hook.folder, {"001": "SELECT 1 / 0;\n"})

    result = hook.run(RELEASE_LOCK_TIMEOUT="500ms", RELEASE_MIGRATE_ATTEMPTS="8")

    assert result.last["reason"] == "migration_failed"
    assert result.named("retry_scheduled") == []


def test_a_statement_timeout_reaches_the_migration(hook: Hook, app: App) -> None:
    small_app(hook.folder, {"001": "SELECT pg_sleep(60);\n"})

    result = hook.run(RELEASE_STATEMENT_TIMEOUT="300 ms")

    assert result.last["reason"] == "migration_failed"
    assert any("statement timeout" in each["line"] for each in result.named("command_output"))
    assert not running(app.database_url, "SELECT pg_sleep(60)")


@pytest.mark.parametrize(
    "line",
    [
        "psql:001.sql:1: ERROR:  canceling statement due to lock timeout",
        "django.db.utils.OperationalError: canceling statement due to lock timeout",
        "psycopg.errors.LockNotAvailable: Zeitüberschreitung beim Warten auf eine Sperre",
        "PG::LockNotAvailable: ERROR: could not obtain lock on relation",
        "ActiveRecord::LockWaitTimeout",
        "Error: P3018 … Database error code: 55P03",
    ],
)
def test_a_lock_timeout_is_told_from_what_drivers_and_frameworks_print(line: str) -> None:
    assert says_lock_timeout(["before", line, "after"])


@pytest.mark.parametrize("line", ["lock timeout = 5s", "order 155P03", "canceling statement due to statement timeout"])
def test_other_lines_are_no_lock_timeout(line: str) -> None:
    assert not says_lock_timeout([line])


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("SELECT 'it''s' ,  12.5,\n  t1.c2 FROM t1", "SELECT ? , ?, t1.c2 FROM t1"),
        ("UPDATE people SET name = 'cut off in the midd", "UPDATE people SET name = ?"),
        ("DO $body$ secret $body$", "DO ?"),
        ("SELECT $1", "SELECT $?"),
        (None, ""),
    ],
)
def test_a_query_is_shown_without_values(query: str | None, shown: str) -> None:
    assert shape(query) == shown


def test_a_long_query_is_shortened() -> None:
    assert len(shape("SELECT " + "column_name, " * 100)) == SHOWN + 1
