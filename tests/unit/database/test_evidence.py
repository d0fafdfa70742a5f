"""What proves that nothing was written, everything that must not pass for proof, and what must not disturb it."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from release.database import evidence
from release.database.evidence import Evidence, Snapshot, Traces, committed_since
from tests.unit.database.conftest import Database

ONCE = (
    "CREATE TABLE people (id integer PRIMARY KEY, city text, net integer DEFAULT 1, gross integer DEFAULT 1)",
    "INSERT INTO people (id, city) SELECT n, 'city ' || n FROM generate_series(1, 300) n",
    "CREATE INDEX people_city ON people (city)",
    "CREATE TABLE other (id integer, name text)",
    "CREATE SEQUENCE unused",
    "CREATE SEQUENCE used",
    "SELECT nextval('used')",
    "CREATE FUNCTION answer() RETURNS integer LANGUAGE sql AS 'SELECT 42'",
    "CREATE VIEW cities AS SELECT city FROM people",
    "CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM people",
    "CREATE TYPE mood AS ENUM ('sad', 'happy')",
    "CREATE PUBLICATION warehouse FOR TABLE people (id, city) WHERE (id > 1)",
    "CREATE STATISTICS wide ON city, net FROM people",
    "SELECT lo_create(4711)",
)


@pytest.fixture
def reader(database: Database) -> psycopg.Connection[Any]:
    database.execute(*ONCE)
    return database.connect()


def between(database: Database, reader: psycopg.Connection[Any], *statements: str) -> Traces:
    """What the evidence says when statements ran, the way a migration does: in a session that has ended."""
    before = evidence.take(reader)
    database.execute(*(each.format(database=database.name) for each in statements))
    database.others_gone(reader)
    return evidence.compare(before, Evidence.from_json(evidence.take(reader).to_json()))


LOOKS_THE_SAME = {
    "a column dropped and added": (
        "ALTER TABLE people DROP COLUMN gross",
        "ALTER TABLE people ADD COLUMN gross integer DEFAULT 1",
    ),
    "two columns swap names": (
        "ALTER TABLE people RENAME net TO tmp",
        "ALTER TABLE people RENAME gross TO net",
        "ALTER TABLE people RENAME tmp TO gross",
    ),
    "two tables swap names": (
        "ALTER TABLE people RENAME TO tmp",
        "ALTER TABLE other RENAME TO people",
        "ALTER TABLE tmp RENAME TO other",
    ),
    "an empty table made anew": ("DROP TABLE other", "CREATE TABLE other (id integer, name text)"),
    "a function replaced by itself": (
        "CREATE OR REPLACE FUNCTION answer() RETURNS integer LANGUAGE sql AS 'SELECT 42'",
    ),
    "a grant given and taken": ("GRANT SELECT ON people TO PUBLIC", "REVOKE SELECT ON people FROM PUBLIC"),
    "a comment written": ("COMMENT ON TABLE people IS 'x'",),
    "a never used sequence set": ("SELECT setval('unused', 500, false)",),
    "a never used sequence used": ("SELECT nextval('unused')",),
    "a used sequence set back": ("SELECT setval('used', 1, false)",),
    "a sequence set in a transaction that rolls back": ("BEGIN; SELECT setval('unused', 9000, false); ROLLBACK",),
    "a sequence restarted": ("ALTER SEQUENCE used RESTART",),
    "an enum label renamed and back": (
        "ALTER TYPE mood RENAME VALUE 'sad' TO 'low'",
        "ALTER TYPE mood RENAME VALUE 'low' TO 'sad'",
    ),
    "a view replaced by itself": ("CREATE OR REPLACE VIEW cities AS SELECT city FROM people",),
    "an index rebuilt": ("REINDEX INDEX people_city",),
    "a table analyzed under another target": ("ALTER TABLE people ALTER city SET STATISTICS 77",),
    "a statistics target": ("ALTER STATISTICS wide SET STATISTICS 55",),
    "a publication's filter": ("ALTER PUBLICATION warehouse SET TABLE people (id) WHERE (id > 2)",),
    "the database's settings": ("ALTER DATABASE {database} SET default_transaction_read_only = on",),
    "a role's settings here": ("ALTER ROLE {database} IN DATABASE {database} SET work_mem = '9MB'",),
    "the database's comment": ("COMMENT ON DATABASE {database} IS 'v2'",),
    "the database's grants": ("GRANT TEMPORARY ON DATABASE {database} TO pg_monitor",),
    "default privileges": ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pg_monitor",),
    "a large object removed and made": ("SELECT lo_unlink(4711)", "SELECT lo_create(4711)"),
    "a large object written": ("SELECT lo_put(4711, 0, 'x')",),
    "a large object granted": ("GRANT SELECT ON LARGE OBJECT 4711 TO PUBLIC",),
    "rows deleted and put back": (
        "BEGIN; CREATE TEMP TABLE kept ON COMMIT DROP AS TABLE people; DELETE FROM people;"
        " INSERT INTO people TABLE kept; COMMIT",
    ),
    "a table truncated": ("TRUNCATE people",),
    "an empty table truncated": ("TRUNCATE other",),
    "a materialized view refreshed": ("REFRESH MATERIALIZED VIEW totals",),
    "a materialized view emptied": ("REFRESH MATERIALIZED VIEW totals WITH NO DATA",),
    "a schema made": ("CREATE SCHEMA tenant",),
    "a column's storage": ("ALTER TABLE people ALTER city SET STORAGE EXTERNAL",),
    "a trigger disabled": ("ALTER TABLE people DISABLE TRIGGER ALL", "ALTER TABLE people SET (fillfactor = 70)"),
    "row security": ("ALTER TABLE people ENABLE ROW LEVEL SECURITY",),
    "replica identity": ("ALTER TABLE people REPLICA IDENTITY FULL",),
    "clustered": ("ALTER TABLE people CLUSTER ON people_city",),
    "an extension": ("CREATE EXTENSION hstore",),
    "a foreign key not validated": (
        "ALTER TABLE other ADD FOREIGN KEY (id) REFERENCES people NOT VALID",
        "ALTER TABLE other DROP CONSTRAINT other_id_fkey",
    ),
    "a constraint renamed and back": (
        "ALTER TABLE people RENAME CONSTRAINT people_pkey TO p",
        "ALTER TABLE people RENAME CONSTRAINT p TO people_pkey",
    ),
    "a rule and its end": (
        "CREATE RULE nothing AS ON DELETE TO other DO INSTEAD NOTHING",
        "DROP RULE nothing ON other",
        "DROP VIEW cities",
        "CREATE VIEW cities AS SELECT city FROM people",
    ),
}


@pytest.mark.parametrize("statements", LOOKS_THE_SAME.values(), ids=LOOKS_THE_SAME.keys())
def test_what_reads_the_same_afterwards_is_no_proof(
    database: Database, reader: psycopg.Connection[Any], statements: tuple[str, ...]
) -> None:
    assert not between(database, reader, *statements).none


NOTHING = {
    "reading": ("SELECT count(*) FROM people", "SELECT * FROM people WHERE id = 1 FOR SHARE"),
    "schema changes rolled back": (
        "BEGIN; ALTER TABLE people DROP COLUMN net; CREATE TABLE new (id int); COMMENT ON TABLE people IS 'x';"
        " ROLLBACK",
    ),
    "vacuum": ("VACUUM", "VACUUM (FREEZE, ANALYZE)"),
    "analyze": ("ANALYZE", "ANALYZE people"),
    "temporary objects": (
        "CREATE TEMP TABLE scratch (id serial PRIMARY KEY, name text CHECK (name <> ''), mood mood DEFAULT 'sad')",
        "CREATE TEMP VIEW quick AS SELECT 1; CREATE TEMP SEQUENCE counting; COMMENT ON VIEW quick IS 'x';"
        " CREATE TYPE pg_temp.pair AS (a int, b int);"
        " CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TEMP TABLE t2 AS SELECT 1 AS a;"
        " CREATE INDEX ON t2 (a); CREATE RULE r AS ON INSERT TO t2 DO NOTHING",
    ),
    "the journal": (
        "CREATE SCHEMA release_phase",
        "CREATE TABLE release_phase.runs (id integer PRIMARY KEY, note text DEFAULT 'x')",
        "INSERT INTO release_phase.runs VALUES (1)",
        "ALTER TABLE release_phase.runs ADD COLUMN more text",
    ),
    "notifications and settings of a session": ("NOTIFY cities, 'x'", "SET work_mem = '9MB'"),
}


@pytest.mark.parametrize("statements", NOTHING.values(), ids=NOTHING.keys())
def test_what_writes_nothing_disturbs_no_proof(
    database: Database, reader: psycopg.Connection[Any], statements: tuple[str, ...]
) -> None:
    assert between(database, reader, *statements).none


def test_temporary_objects_of_a_session_that_goes_on_disturb_no_proof(
    database: Database, reader: psycopg.Connection[Any]
) -> None:
    before = evidence.take(reader)
    with database.connect() as other:
        other.execute("CREATE TEMP TABLE scratch (id serial PRIMARY KEY, name text)")
        other.execute("INSERT INTO scratch (name) VALUES ('x')")

        assert evidence.compare(before, evidence.take(reader)).none


def test_rows_rolled_back_are_counted_and_no_transaction_was_committed(
    database: Database, reader: psycopg.Connection[Any]
) -> None:
    before = evidence.take(reader)
    database.execute("BEGIN; UPDATE people SET city = 'x'; SAVEPOINT a; DELETE FROM people; ROLLBACK")
    database.others_gone(reader)

    after = evidence.take(reader)

    assert evidence.compare(before, after).written["public.people"].updated == 300
    assert committed_since(reader, before.snapshot, ()) is False


@pytest.mark.parametrize(
    "statements",
    [
        "INSERT INTO other VALUES (1)",
        "BEGIN; SAVEPOINT a; INSERT INTO other VALUES (1); RELEASE a; COMMIT",
        "CREATE TABLE more (id integer)",
        "SELECT lo_create(0)",
    ],
)
def test_a_transaction_that_was_committed_is_known_of(
    database: Database, reader: psycopg.Connection[Any], statements: str
) -> None:
    before = evidence.take(reader)
    database.execute(statements)

    assert committed_since(reader, before.snapshot, ()) is True


def test_a_transaction_that_still_runs_leaves_it_open(database: Database, reader: psycopg.Connection[Any]) -> None:
    with database.connect() as other:
        other.execute("BEGIN")
        other.execute("INSERT INTO other VALUES (1)")
        during = evidence.take(reader)

        assert committed_since(reader, during.snapshot, ()) is None

        other.execute("COMMIT")

    assert committed_since(reader, during.snapshot, ()) is True


def test_the_hooks_own_transactions_do_not_count(reader: psycopg.Connection[Any]) -> None:
    before = evidence.take(reader)
    (own,) = reader.execute("INSERT INTO other VALUES (1) RETURNING pg_current_xact_id()::text::bigint").fetchall()[0]

    assert committed_since(reader, before.snapshot, ()) is True
    assert committed_since(reader, before.snapshot, [own]) is False


def test_too_many_transactions_are_not_looked_at(reader: psycopg.Connection[Any]) -> None:
    now = evidence.take(reader).snapshot
    long_ago = Snapshot(now.begin - 1, now.end - evidence.MOST_TRANSACTIONS - 1, [])

    assert committed_since(reader, long_ago, ()) is None


@pytest.mark.parametrize(
    ("statements", "strayed"),
    [
        ("BEGIN; INSERT INTO numbered (name) SELECT 'x' FROM generate_series(1, 7); ROLLBACK", []),
        ("SELECT nextval('numbered_id_seq')", ["public.numbered_id_seq"]),
        ("SELECT setval('numbered_id_seq', 400)", ["public.numbered_id_seq"]),
        ("SELECT setval('numbered_id_seq', 1, false)", ["public.numbered_id_seq"]),
    ],
)
def test_a_sequence_moved_by_rows_that_were_rolled_back_has_not_strayed(
    database: Database, reader: psycopg.Connection[Any], statements: str, strayed: list[str]
) -> None:
    database.execute(
        "CREATE TABLE numbered (id serial PRIMARY KEY, name text)", "INSERT INTO numbered VALUES (DEFAULT)"
    )

    found = between(database, reader, statements)

    assert found.moved == ["public.numbered_id_seq"]
    assert found.strayed == strayed


def test_a_sequence_that_is_locked_leaves_the_proof_open(database: Database, reader: psycopg.Connection[Any]) -> None:
    before = evidence.take(reader)
    with database.connect() as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE people IN ACCESS EXCLUSIVE MODE")
        other.execute("ALTER SEQUENCE unused MAXVALUE 1000")

        found = evidence.compare(before, evidence.take(reader))

    assert found.unproved == "could not be read: sequence public.unused"


def test_a_locked_table_does_not_keep_the_evidence_waiting(database: Database, reader: psycopg.Connection[Any]) -> None:
    before = evidence.take(reader)
    with database.connect() as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE people, cities IN ACCESS EXCLUSIVE MODE")

        assert evidence.compare(before, evidence.take(reader)).none


def test_other_databases_of_the_server_do_not_disturb_the_counters(
    database: Database, reader: psycopg.Connection[Any]
) -> None:
    before = evidence.take(reader)
    with database.server.session() as elsewhere:
        elsewhere.execute("CREATE TABLE public.stranger (id integer)")
        elsewhere.execute("DROP TABLE public.stranger")

    assert evidence.compare(before, evidence.take(reader)).none
