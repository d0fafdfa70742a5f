"""Which tables hold rows: told without counting, never guessed, and by no table that cannot be looked into."""

from __future__ import annotations

from threading import Thread
from time import monotonic
from typing import Any

import psycopg
import pytest

from release.database import evidence, rows
from release.database.evidence import Snapshot
from release.database.journal import TABLES
from release.database.rows import Holding
from tests.unit.database.conftest import Database


def read_holding(database: Database) -> Holding:
    return rows.read_holding(database.connect())


def moment(reader: psycopg.Connection[Any]) -> Snapshot:
    return evidence.take(reader).snapshot


SHAPES = {
    "empty": ("CREATE TABLE t (n integer)", False),
    "one row": ("CREATE TABLE t (n integer); INSERT INTO t VALUES (1)", True),
    "no columns": ("CREATE TABLE t (); INSERT INTO t DEFAULT VALUES", True),
    "only dead rows": ("CREATE TABLE t AS SELECT 1 AS n; DELETE FROM t", False),
    "rolled back": ("CREATE TABLE t (n integer); BEGIN; INSERT INTO t VALUES (1); ROLLBACK", False),
    "truncated": ("CREATE TABLE t AS SELECT 1 AS n; TRUNCATE t", False),
    "a row behind many dead ones": (
        "CREATE TABLE t AS SELECT generate_series(1, 5000) AS n; DELETE FROM t WHERE n < 5000",
        True,
    ),
    "a row in an odd name": ('CREATE TABLE "T ""x"".y" (n integer); INSERT INTO "T ""x"".y" VALUES (1)', True),
    "frozen": ("CREATE TABLE t AS SELECT 1 AS n; VACUUM FREEZE t", True),
    "unlogged": ("CREATE UNLOGGED TABLE t AS SELECT 1 AS n", True),
    "without an id": ("CREATE TABLE t AS SELECT NULL::text AS n", True),
}


@pytest.mark.parametrize(("statements", "holds"), SHAPES.values(), ids=SHAPES.keys())
def test_a_table_holds_rows_where_anybody_would_see_one(database: Database, statements: str, holds: bool) -> None:
    database.execute(*statements.split("; ")) if "BEGIN" not in statements else database.execute(statements)

    found = read_holding(database)

    assert (len(found.held), found.unknown) == (holds, [])


def test_names_are_as_the_fingerprint_has_them_and_sorted(database: Database) -> None:
    database.execute(
        "CREATE SCHEMA app",
        *(f"CREATE TABLE {name} AS SELECT 1 AS n" for name in ("b", "app.a", '"B b"', "a")),
    )

    assert read_holding(database).held == ["app.a", 'public."B b"', "public.a", "public.b"]


def test_partitions_are_told_one_by_one_and_their_table_not_at_all(database: Database) -> None:
    database.execute(
        "CREATE TABLE events (n integer) PARTITION BY LIST (n)",
        *(f"CREATE TABLE events_{n} PARTITION OF events FOR VALUES IN ({n})" for n in (1, 2)),
        "INSERT INTO events VALUES (1)",
    )

    assert read_holding(database) == Holding(["public.events_1"])


def test_rows_of_children_are_not_the_parents(database: Database) -> None:
    database.execute(
        "CREATE TABLE parent AS SELECT 1 AS n",
        "DELETE FROM parent",
        "CREATE TABLE child () INHERITS (parent)",
        "INSERT INTO child VALUES (1)",
    )

    assert read_holding(database) == Holding(["public.child"])


def test_what_is_no_table_of_the_apps_own_is_not_asked_for(database: Database) -> None:
    database.execute(
        "CREATE TABLE t AS SELECT 1 AS n",
        "CREATE MATERIALIZED VIEW m AS SELECT n FROM t",
        "CREATE SCHEMA heroku_ext",
        "CREATE TABLE heroku_ext.systems AS SELECT 1 AS n",
        TABLES.partition("ALTER")[0],
        "INSERT INTO release_phase.runs (run_id, app, state) VALUES ('1', 'shop', 'backing_up')",
    )

    assert read_holding(database) == Holding(["public.t"])


# What cannot be looked into.


@pytest.mark.parametrize(
    "hide",
    [
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "REVOKE SELECT ON t FROM CURRENT_USER",
    ],
)
def test_rows_that_this_credential_may_not_see_are_unknown(database: Database, hide: str) -> None:
    database.execute("CREATE TABLE t AS SELECT 1 AS n", "CREATE TABLE other AS SELECT 1 AS n", hide)

    assert read_holding(database) == Holding(["public.other"], ["public.t"])


def test_a_table_in_a_schema_that_may_not_be_used_is_unknown(database: Database) -> None:
    database.superuser(
        "CREATE SCHEMA theirs",
        "CREATE TABLE theirs.t AS SELECT 1 AS n",
        f"GRANT SELECT ON theirs.t TO {database.owner}",
    )
    database.execute("CREATE TABLE other AS SELECT 1 AS n")

    assert read_holding(database) == Holding(["public.other"], ["theirs.t"])


@pytest.mark.parametrize("lock", ["held", "waited for", "prepared"])
def test_a_locked_table_is_unknown_and_nobody_waits_for_it(database: Database, lock: str) -> None:
    database.execute("CREATE TABLE t AS SELECT 1 AS n", "CREATE TABLE other AS SELECT 1 AS n")
    locker, reader = database.connect(), database.connect()
    locker.execute(f"BEGIN; LOCK TABLE t IN ACCESS {'SHARE' if lock == 'waited for' else 'EXCLUSIVE'} MODE")
    waiting = Thread(target=database.execute, args=["BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; ROLLBACK"])
    if lock == "waited for":
        waiting.start()
        ends = monotonic() + 10
        while not reader.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall():
            assert monotonic() < ends
    if lock == "prepared":
        locker.execute("PREPARE TRANSACTION 'left'")
    began = monotonic()

    found = rows.read_holding(reader)

    took = monotonic() - began
    locker.execute("ROLLBACK PREPARED 'left'" if lock == "prepared" else "ROLLBACK")
    if lock == "waited for":
        waiting.join()
    assert found == Holding(["public.other"], ["public.t"])
    assert took < 1.5


def test_a_table_locked_a_moment_too_late_is_unknown_and_the_rest_of_its_batch_told(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute(*(f"CREATE TABLE t{n} AS SELECT 1 AS n" for n in range(5)))
    locker, reader = database.connect(), database.connect()
    holding = rows._holding

    def late(*given: Any) -> Any:
        if not locker.info.transaction_status:
            locker.execute("BEGIN; LOCK TABLE t3 IN ACCESS EXCLUSIVE MODE")
        return holding(*given)

    monkeypatch.setattr(rows, "_holding", late)

    found = rows.read_holding(reader)

    locker.execute("ROLLBACK")
    assert found == Holding([f"public.t{n}" for n in (0, 1, 2, 4)], ["public.t3"])


def test_a_table_dropped_a_moment_too_early_is_unknown(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.execute("CREATE TABLE t AS SELECT 1 AS n", "CREATE TABLE other AS SELECT 1 AS n")
    holding = rows._holding

    def late(*given: Any) -> Any:
        database.execute("DROP TABLE IF EXISTS t")
        return holding(*given)

    monkeypatch.setattr(rows, "_holding", late)

    assert read_holding(database) == Holding(["public.other"], ["public.t"])


def test_a_table_that_takes_too_long_is_unknown(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.execute(
        "CREATE TABLE full_of_dead AS SELECT generate_series(1, 300000) AS n",
        "DELETE FROM full_of_dead",
        "CREATE TABLE other AS SELECT 1 AS n",
    )
    monkeypatch.setattr(rows, "BATCH_MS", 1)
    monkeypatch.setattr(rows, "TABLE_MS", 5)

    assert read_holding(database) == Holding(["public.other"], ["public.full_of_dead"])


def test_when_time_is_up_what_is_left_is_unknown(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.execute("CREATE TABLE t AS SELECT 1 AS n", "CREATE TABLE nothing (n integer)")
    monkeypatch.setattr(rows, "WITHIN", -1.0)

    assert read_holding(database) == Holding([], ["public.t"])


def test_hundreds_of_tables_are_told_in_batches(database: Database) -> None:
    database.execute(
        "DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format('CREATE TABLE t%s AS SELECT 1 AS n', i); END LOOP; END $$",
        "DO $$ BEGIN FOR i IN 1..300 BY 3 LOOP EXECUTE format('DELETE FROM t%s', i); END LOOP; END $$",
    )
    connection = database.connect()
    statements = []
    execute = connection.execute
    connection.execute = lambda *given, **how: statements.append(given) or execute(*given, **how)  # type: ignore[method-assign,func-returns-value]

    found = rows.read_holding(connection)

    assert found == Holding(sorted(f"public.t{n}" for n in range(1, 301) if n % 3 != 1))
    assert len(statements) < 15


def test_the_session_is_as_it_was(database: Database) -> None:
    database.execute("CREATE TABLE t AS SELECT 1 AS n")
    connection = database.connect()
    connection.execute("SET lock_timeout = '7s'; SET statement_timeout = '8s'")

    rows.read_holding(connection)

    assert connection.execute("SHOW lock_timeout").fetchall() == [("7s",)]
    assert connection.execute("SHOW statement_timeout").fetchall() == [("8s",)]


# Rows of before a moment.


OLDER = {
    "nothing": ((), True),
    "more rows": (("INSERT INTO t SELECT generate_series(10, 20)",), True),
    "some rows deleted": (("DELETE FROM t WHERE n > 1",), True),
    "some rows updated": (("UPDATE t SET n = 9 WHERE n > 1",), True),
    "all rows updated": (("UPDATE t SET n = n + 10",), False),
    "all rows replaced": (("DELETE FROM t", "INSERT INTO t VALUES (1)"), False),
    "all rows deleted": (("DELETE FROM t",), False),
    "an update rolled back": (("BEGIN; UPDATE t SET n = 9; ROLLBACK",), True),
    "made anew": (("DROP TABLE t", "CREATE TABLE t AS SELECT 1 AS n"), False),
    "vacuumed and frozen": (("VACUUM FREEZE t",), True),
    "rewritten": (("VACUUM FULL t",), True),
    "rewritten and frozen": (("VACUUM (FULL, FREEZE) t",), True),
    "locked for update": (("SELECT * FROM t FOR UPDATE",), True),
}


@pytest.mark.parametrize(("statements", "old"), OLDER.values(), ids=OLDER.keys())
def test_only_rows_that_were_there_before_a_moment_count_if_asked(
    database: Database, statements: tuple[str, ...], old: bool
) -> None:
    database.execute("CREATE TABLE t AS SELECT generate_series(1, 3) AS n")
    reader = database.connect()
    then = moment(reader)
    database.execute(*statements)

    assert rows.read_holding(reader, older_than=then) == Holding(["public.t"] if old else [])


def test_a_row_frozen_before_a_moment_is_older(database: Database) -> None:
    database.execute("CREATE TABLE t AS SELECT 1 AS n", "VACUUM FREEZE t")
    reader = database.connect()

    assert rows.read_holding(reader, older_than=moment(reader)).held == ["public.t"]


def test_a_row_of_a_transaction_that_ran_at_that_moment_is_not_older(database: Database) -> None:
    database.execute("CREATE TABLE t (n integer)")
    reader, writer = database.connect(), database.connect()
    writer.execute("BEGIN; INSERT INTO t VALUES (1)")
    then = moment(reader)
    writer.execute("COMMIT")

    assert rows.read_holding(reader, older_than=then).held == []
    assert rows.read_holding(reader, older_than=moment(reader)).held == ["public.t"]


def test_a_busy_server_makes_no_row_older_than_it_is(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.execute("CREATE TABLE t (n integer)")
    reader, busy = database.connect(), database.connect()
    then = moment(reader)
    database.execute("INSERT INTO t VALUES (1)")
    execute = reader.execute

    def slow(*given: Any, **how: Any) -> Any:
        for _ in range(20):
            busy.execute("SELECT pg_current_xact_id()")
        return execute(*given, **how)

    monkeypatch.setattr(reader, "execute", slow)

    assert rows.read_holding(reader, older_than=then).held == []


# After a restore.

SCHEMA = (
    "CREATE TABLE people AS SELECT generate_series(1, 3) AS id",
    "CREATE TABLE nothing (n integer)",
    "CREATE SCHEMA app",
    "CREATE TABLE app.events (at date) PARTITION BY RANGE (at)",
    "CREATE TABLE app.events_1 PARTITION OF app.events DEFAULT",
    'CREATE TABLE app."Odd one" (n integer)',
)
JOURNAL = TABLES.partition("ALTER")[0]


@pytest.mark.parametrize("first", [True, False], ids=["journal before the tables", "journal after the tables"])
@pytest.mark.parametrize("keeping", [False, True], ids=["database dropped", "schemas dropped"])
def test_after_a_restore_every_table_was_made_anew(database: Database, *, keeping: bool, first: bool) -> None:
    database.execute(*([JOURNAL, *SCHEMA] if first else [*SCHEMA, JOURNAL]))
    dump = database.dump()
    database.execute("ALTER TABLE people ADD COLUMN more integer", "CREATE TABLE later (n integer)")

    database.restore(dump, keeping=keeping)

    reader = database.connect()
    assert rows.not_made_anew(reader) == []
    reader.execute("ALTER TABLE people ADD COLUMN more integer; ALTER TABLE nothing RENAME TO something; ANALYZE")
    assert rows.not_made_anew(reader) == []


def test_a_table_that_could_not_be_dropped_was_not_made_anew(database: Database) -> None:
    database.execute(*SCHEMA, "CREATE TABLE other (n integer)", JOURNAL)
    dump = database.dump()
    database.superuser(
        "DROP SCHEMA release_phase, app CASCADE",
        "DROP TABLE other, nothing",
        "CREATE SCHEMA theirs",
        "CREATE VIEW theirs.upon AS SELECT id FROM public.people",
    )
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        database.superuser("DROP TABLE people")

    database.load(dump)

    assert rows.not_made_anew(database.connect()) == ["public.people"]


def test_tables_that_a_dump_was_loaded_over_were_not_made_anew(database: Database) -> None:
    database.execute(*SCHEMA, JOURNAL)
    dump = database.dump()
    database.superuser("DROP SCHEMA release_phase CASCADE")

    database.load(dump)

    assert rows.not_made_anew(database.connect()) == [
        'app."Odd one"',
        "app.events",
        "app.events_1",
        "public.nothing",
        "public.people",
    ]


def test_where_there_is_no_journal_nothing_is_told(database: Database) -> None:
    database.execute(*SCHEMA)

    assert rows.not_made_anew(database.connect()) == []
