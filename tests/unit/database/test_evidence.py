"""What proves that nothing was written, everything that must not pass for proof, and what must not disturb it."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from release.database import evidence
from release.database.evidence import Evidence, Snapshot, Traces, Written, committed_since
from release.database.positions import Position
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


# What is written, and where counters end.


def test_rows_written_are_counted_by_table(database: Database, reader: psycopg.Connection[Any]) -> None:
    found = between(
        database,
        reader,
        "INSERT INTO people SELECT generate_series(301, 303)",
        "UPDATE people SET city = 'x' WHERE id < 3",
        "DELETE FROM people WHERE id = 1",
    )

    assert found.written == {"public.people": Written(inserted=3, updated=2, deleted=1, rewritten=False)}
    assert str(found.written["public.people"]) == "3 inserted, 2 updated, 1 deleted"
    assert (found.unproved, found.reshaped) == (None, False)


def test_truncating_a_table_is_a_new_file(database: Database, reader: psycopg.Connection[Any]) -> None:
    found = between(database, reader, "TRUNCATE people")

    assert found.written == {"public.people": Written(inserted=0, updated=0, deleted=0, rewritten=True)}
    assert str(found.written["public.people"]) == "0 inserted, 0 updated, 0 deleted, rewritten"


def test_a_dropped_table_counts_as_rewritten(database: Database, reader: psycopg.Connection[Any]) -> None:
    found = between(database, reader, "DROP TABLE other")

    assert found.written == {"public.other": Written(inserted=0, updated=0, deleted=0, rewritten=True)}
    assert found.reshaped


def test_rows_of_an_extension_are_somebodys_data(database: Database, reader: psycopg.Connection[Any]) -> None:
    database.execute("CREATE SCHEMA heroku_ext", "CREATE TABLE heroku_ext.spatial_ref_sys (id integer)")

    found = between(database, reader, "INSERT INTO heroku_ext.spatial_ref_sys VALUES (1)")

    assert list(found.written) == ["heroku_ext.spatial_ref_sys"]


ROWS_ONLY = {
    "rows": "UPDATE people SET city = 'x'",
    "rows rolled back": "BEGIN; DELETE FROM people; ROLLBACK",
    "a table truncated": "TRUNCATE people",
    "a table with long values truncated": "TRUNCATE other",
    "a materialized view refreshed": "REFRESH MATERIALIZED VIEW totals",
    "a materialized view of long values refreshed": "REFRESH MATERIALIZED VIEW names",
    "a table vacuumed in full": "VACUUM FULL people",
    "a table in the order of its index": "CLUSTER other USING ordered",
    "a large object made": "SELECT lo_create(0)",
    "a large object removed": "SELECT lo_unlink(4711)",
    "a large object made and written": "SELECT lo_put(lo_create(0), 0, 'x')",
}


@pytest.mark.parametrize("statement", ROWS_ONLY.values(), ids=ROWS_ONLY.keys())
def test_rows_that_were_written_are_no_new_shape(
    database: Database, reader: psycopg.Connection[Any], statement: str
) -> None:
    database.execute(
        "CREATE MATERIALIZED VIEW names AS SELECT city FROM people",
        "CREATE INDEX ordered ON other (id)",
        "INSERT INTO other SELECT 1, string_agg(sqrt(n)::text, '') FROM generate_series(1, 9999) n",
        "CLUSTER other USING ordered",
    )

    found = between(database, reader, statement)

    assert found.written
    assert not found.reshaped


def test_a_killed_sessions_writes_are_counted(database: Database, reader: psycopg.Connection[Any]) -> None:
    before = evidence.take(reader)
    writer = database.connect()
    writer.execute("BEGIN; INSERT INTO people VALUES (301)")
    reader.execute("SELECT pg_terminate_backend(%s, 5000)", [writer.info.backend_pid])
    with pytest.raises(psycopg.errors.AdminShutdown):
        writer.execute("SELECT 1")

    found = evidence.compare(before, evidence.take(reader))

    assert found.written == {"public.people": Written(inserted=1, updated=0, deleted=0, rewritten=False)}


@pytest.mark.parametrize(
    ("statement", "unproved"),
    [
        ("SELECT pg_stat_reset()", "the server was started again, or its counters were reset"),
        (
            "SELECT pg_stat_reset_single_table_counters('people'::regclass)",
            "the server was started again, or its counters were reset",
        ),
        ("ALTER DATABASE {database} SET track_counts = off", "this server's counters are not reliable, or off"),
    ],
)
def test_counters_that_were_reset_or_are_off_prove_nothing(
    database: Database, reader: psycopg.Connection[Any], statement: str, unproved: str
) -> None:
    before = evidence.take(reader)
    database.superuser(statement.format(database=database.name))

    found = evidence.compare(before, evidence.take(database.connect()))

    assert found.unproved == unproved
    assert not found.none


def test_a_prepared_transaction_left_behind_proves_nothing(database: Database, reader: psycopg.Connection[Any]) -> None:
    found = between(database, reader, "BEGIN; INSERT INTO people VALUES (301); PREPARE TRANSACTION 'left'")
    database.execute("ROLLBACK PREPARED 'left'")

    assert found.unproved == "a prepared transaction was left behind: left"


@pytest.mark.parametrize("document", [b"", b"[]", b"null", b'{"writes": 1}', b'{"positions": {"a": [1, true]}}'])
def test_evidence_that_cannot_be_read_proves_nothing(document: bytes) -> None:
    found = Evidence.from_json(document)

    assert evidence.compare(found, found).unproved
    assert not evidence.compare(found, found).none


# Where sequences stand.


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
        ("SELECT 1", "SELECT setval('down', -5, false)"),
    ],
)
def test_a_sequence_that_was_moved_proves_nothing(
    database: Database, reader: psycopg.Connection[Any], first: str, then: str
) -> None:
    database.execute("CREATE SEQUENCE counter", "CREATE SEQUENCE down INCREMENT -1", first)

    found = between(database, reader, then)

    assert found.moved in (["public.counter"], ["public.down"])
    assert found.strayed == found.moved
    assert not found.none


@pytest.mark.parametrize(
    ("one", "other", "ahead"),
    [
        (Position(5, True, 1), Position(4, True, 1), True),
        (Position(4, True, 1), Position(5, True, 1), False),
        (Position(5, True, 1), Position(5, True, 1), False),
        (Position(5, True, 1), Position(5, False, 1), True),  # 6 comes next, and 5
        (Position(5, False, 1), Position(4, True, 1), False),  # 5 comes next in both
        (Position(5, False, 1), Position(5, True, 1), False),
        (Position(-5, True, -1), Position(-4, True, -1), True),  # it counts down
        (Position(-4, True, -1), Position(-5, True, -1), False),
        (Position(-1, False, -1), Position(-1, True, -1), False),
        (Position(-1, True, -1), Position(-1, False, -1), True),
        (Position(10, True, 10), Position(19, True, 1), False),  # 20 comes next in both
        (Position(10, True, 10), Position(18, True, 1), True),
        (Position(5, True, 1), Position(-5, True, -1), False),  # not to be compared
        (Position(-5, True, -1), Position(5, True, 1), False),
    ],
)
def test_a_sequence_is_ahead_of_another_that_gives_an_earlier_value(
    one: Position, other: Position, ahead: bool
) -> None:
    assert one.is_ahead_of(other) is ahead


def test_what_was_written_alone_is_what_all_the_evidence_says(
    database: Database, reader: psycopg.Connection[Any]
) -> None:
    before = evidence.take(reader)
    database.execute("UPDATE people SET net = 2", "TRUNCATE other", "DROP TABLE IF EXISTS nothing")
    database.others_gone(reader)
    written = evidence.written_since(reader, before)
    assert written == evidence.compare(before, evidence.take(reader)).written
    assert evidence.tables(reader) == evidence.take(reader).writes.keys()
