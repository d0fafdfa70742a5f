"""What proves that no table was written, and everything that must not pass for proof."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from release.database import fingerprint
from release.database.comparison import Comparison, Verdict, Written, compare, same_structure
from tests.unit.database.conftest import Database

TABLE = "CREATE TABLE learners (id integer PRIMARY KEY, name text); INSERT INTO learners VALUES (1, 'a'), (2, 'b')"


@pytest.fixture
def reader(database: Database) -> psycopg.Connection[Any]:
    database.execute(TABLE, "CREATE SEQUENCE counter", "CREATE SEQUENCE down INCREMENT -1")
    return database.connect()


def after(database: Database, reader: psycopg.Connection[Any], *statements: str) -> Comparison:
    """What the comparison says when statements ran, the way a migration does: in a session that has ended."""
    before = fingerprint.take(reader)
    database.execute(*statements)
    return compare(before, fingerprint.take(reader))


def test_reading_leaves_the_database_unchanged(database: Database, reader: psycopg.Connection[Any]) -> None:
    found = after(database, reader, "SELECT * FROM learners FOR UPDATE", "ANALYZE", "CREATE TEMP TABLE t AS SELECT 1")

    assert found == Comparison(verdict=Verdict.UNCHANGED, differences=(), notes=(), written={}, unproved=None)
    assert found.same


def test_a_migration_that_rolled_back_its_schema_change_leaves_it_unchanged(
    database: Database, reader: psycopg.Connection[Any]
) -> None:
    found = after(database, reader, "BEGIN; ALTER TABLE learners ADD COLUMN nickname text; ROLLBACK")

    assert found.verdict is Verdict.UNCHANGED


def test_rows_written_are_counted_by_table(database: Database, reader: psycopg.Connection[Any]) -> None:
    found = after(
        database,
        reader,
        "INSERT INTO learners VALUES (3, 'c'), (4, 'd'), (5, 'e')",
        "UPDATE learners SET name = 'x' WHERE id < 3",
        "DELETE FROM learners WHERE id = 1",
    )

    assert found.verdict is Verdict.SCHEMA_UNCHANGED
    assert found.written == {"public.learners": Written(3, 2, 1, rewritten=False)}
    assert str(found.written["public.learners"]) == "3 inserted, 2 updated, 1 deleted"
    assert found.unproved is None


@pytest.mark.parametrize(
    "statements",
    [
        "BEGIN; DELETE FROM learners; ROLLBACK",  # counted although nothing came of it: the safe side
        "TRUNCATE learners",
        "ALTER TABLE learners ALTER COLUMN name TYPE varchar(9); ALTER TABLE learners ALTER COLUMN name TYPE text",
        "BEGIN; DELETE FROM learners; INSERT INTO learners VALUES (1, 'a'), (2, 'b'); COMMIT",
        "SELECT lo_create(0)",
        "SELECT lo_put(lo_create(0), 0, 'x')",
    ],
)
def test_written_is_also_what_leaves_no_trace_in_the_rows(
    database: Database, reader: psycopg.Connection[Any], statements: str
) -> None:
    found = after(database, reader, statements)

    assert found.verdict is Verdict.SCHEMA_UNCHANGED
    assert found.written


def test_truncating_an_empty_table_is_a_new_file(database: Database, reader: psycopg.Connection[Any]) -> None:
    found = after(database, reader, "TRUNCATE learners")

    assert found.written == {"public.learners": Written(0, 0, 0, rewritten=True)}
    assert str(found.written["public.learners"]) == "0 inserted, 0 updated, 0 deleted, rewritten"


def test_a_refreshed_materialized_view_is_written(database: Database, reader: psycopg.Connection[Any]) -> None:
    database.execute("CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM learners")

    found = after(database, reader, "REFRESH MATERIALIZED VIEW totals")

    assert list(found.written) == ["public.totals"]


def test_the_journal_is_not_part_of_the_database(database: Database, reader: psycopg.Connection[Any]) -> None:
    database.execute("CREATE SCHEMA release_phase", "CREATE TABLE release_phase.runs (id integer)")

    found = after(
        database, reader, "INSERT INTO release_phase.runs VALUES (1)", "ALTER TABLE release_phase.runs ADD note text"
    )

    assert found.verdict is Verdict.UNCHANGED


def test_rows_of_an_extension_are_somebodys_data(database: Database, reader: psycopg.Connection[Any]) -> None:
    database.execute("CREATE SCHEMA heroku_ext", "CREATE TABLE heroku_ext.spatial_ref_sys (id integer)")

    found = after(database, reader, "INSERT INTO heroku_ext.spatial_ref_sys VALUES (1)")

    assert list(found.written) == ["heroku_ext.spatial_ref_sys"]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("SELECT nextval('counter'), nextval('counter')", "SELECT setval('counter', 1)"),
        ("SELECT nextval('counter')", "SELECT setval('counter', 1, false)"),
        ("SELECT nextval('counter')", "BEGIN; SELECT setval('counter', 1, false); ROLLBACK"),
        ("SELECT nextval('counter')", "ALTER SEQUENCE counter RESTART"),
        ("SELECT nextval('down'), nextval('down')", "SELECT setval('down', -1)"),
        ("SELECT nextval('counter')", "SELECT setval('counter', 9000)"),
        ("SELECT nextval('down')", "SELECT nextval('down')"),
        ("SELECT 1", "SELECT nextval('counter')"),
    ],
)
def test_a_sequence_that_was_moved_proves_nothing(
    database: Database, reader: psycopg.Connection[Any], first: str, then: str
) -> None:
    database.execute(first)

    found = after(database, reader, then)

    assert found.verdict is Verdict.SCHEMA_UNCHANGED
    assert found.unproved is not None
    assert found.unproved.startswith("sequences were moved: public.")


def test_counters_that_were_reset_prove_nothing(database: Database, reader: psycopg.Connection[Any]) -> None:
    before = fingerprint.take(reader)
    database.superuser("SELECT pg_stat_reset()")

    found = compare(before, fingerprint.take(reader))

    assert found.verdict is Verdict.SCHEMA_UNCHANGED
    assert found.unproved == "the server was started again, or its counters were reset"


def test_one_tables_counters_that_were_reset_prove_nothing(database: Database, reader: psycopg.Connection[Any]) -> None:
    before = fingerprint.take(reader)
    database.superuser("SELECT pg_stat_reset_single_table_counters('learners'::regclass)")

    assert compare(before, fingerprint.take(reader)).unproved is not None


def test_counters_that_are_off_prove_nothing(database: Database, reader: psycopg.Connection[Any]) -> None:
    database.superuser(f"ALTER DATABASE {database.name} SET track_counts = off")

    found = after(database, database.connect())

    assert found.verdict is Verdict.SCHEMA_UNCHANGED
    assert found.unproved == "this server's counters are not reliable, or off"
    assert reader


def test_a_prepared_transaction_left_behind_proves_nothing(database: Database, reader: psycopg.Connection[Any]) -> None:
    found = after(database, reader, "BEGIN; INSERT INTO learners VALUES (9, 'i'); PREPARE TRANSACTION 'left'")
    database.execute("ROLLBACK PREPARED 'left'")

    assert found.verdict is Verdict.SCHEMA_UNCHANGED
    assert found.unproved == "a prepared transaction was left behind: left"


def test_a_killed_sessions_writes_are_counted(database: Database, reader: psycopg.Connection[Any]) -> None:
    before = fingerprint.take(reader)
    writer = database.connect()
    writer.execute("BEGIN; INSERT INTO learners VALUES (7, 'g')")
    reader.execute("SELECT pg_terminate_backend(%s, 5000)", [writer.info.backend_pid])
    with pytest.raises(psycopg.errors.AdminShutdown):
        writer.execute("SELECT 1")

    assert compare(before, fingerprint.take(reader)).written == {"public.learners": Written(1, 0, 0, rewritten=False)}


def test_a_dropped_table_counts_as_rewritten_and_as_changed(
    database: Database, reader: psycopg.Connection[Any]
) -> None:
    found = after(database, reader, "DROP TABLE learners")

    assert found.verdict is Verdict.CHANGED
    assert found.written == {"public.learners": Written(0, 0, 0, rewritten=True)}


def test_row_counts_of_small_tables_are_exact_and_compared_on_demand(
    database: Database, reader: psycopg.Connection[Any]
) -> None:
    before = fingerprint.take(reader)
    database.execute("INSERT INTO learners VALUES (3, 'c')")
    later = fingerprint.take(reader)

    assert before.row_counts == {"public.learners": 2}
    assert later.row_counts == {"public.learners": 3}
    assert [str(each) for each in same_structure(before, later, rows_must_match=True).differences] == [
        "rows of public.learners changed"
    ]
    assert compare(before, later, rows_must_match=True).verdict is Verdict.CHANGED
    assert same_structure(before, later).same


def test_a_table_of_more_than_64_pages_is_not_counted(database: Database, reader: psycopg.Connection[Any]) -> None:
    database.execute("CREATE TABLE big AS SELECT repeat('x', 1000) AS text FROM generate_series(1, 1000)")

    assert "public.big" not in fingerprint.take(reader).row_counts
    assert fingerprint.take(reader).writes["public.big"].live == 1000


def test_a_locked_table_loses_only_its_count(database: Database, reader: psycopg.Connection[Any]) -> None:
    database.execute("CREATE TABLE other (id integer)")
    locker = database.connect()
    with locker.transaction():
        locker.execute("LOCK TABLE other IN ACCESS EXCLUSIVE MODE")

        found = fingerprint.take(reader)

    assert found.row_counts == {"public.learners": 2}
    assert "public.other" in found.schema["table"]


def test_rows_hidden_by_policies_are_not_counted(database: Database, reader: psycopg.Connection[Any]) -> None:
    database.execute("ALTER TABLE learners ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")

    assert fingerprint.take(reader).row_counts == {}


def test_nothing_is_left_of_the_settings_it_needs(database: Database, reader: psycopg.Connection[Any]) -> None:
    reader.execute("SET search_path = public; SET TimeZone = 'Asia/Tokyo'; SET statement_timeout = '7s'")

    fingerprint.take(reader)

    query = "SELECT current_setting('search_path'), current_setting('TimeZone'), current_setting('statement_timeout')"
    assert reader.execute(query).fetchall() == [("public", "Asia/Tokyo", "7s")]
    assert database.name
