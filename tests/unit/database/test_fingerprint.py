"""The document itself: kept as JSON, compared after a restore, and honest about what a dump cannot carry."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from release.app.frameworks import histories
from release.database import fingerprint, grants
from release.database.comparison import Verdict, compare, same_structure
from release.database.evidence import Counters, Evidence
from release.database.fingerprint import Fingerprint
from release.database.history import HistoryTable, applied
from release.database.positions import Position
from release.database.rows import Holding
from tests.unit.database.conftest import Database

BASE = Fingerprint(
    server_version=170010,
    schema={"table": {"public.a": "table"}, "columns": {"public.a": "id\tinteger\nname\ttext"}},
    history={"public.django_migrations": ["a.0001_initial"]},
    row_counts={"public.a": 1},
    holding=Holding(["public.a"]),
    evidence=Evidence(
        taken_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        epoch="1",
        writes={"public.a": Counters(1, 2, 3, 4, 5)},
        positions={"public.a_id_seq": Position(7, called=True, increment=1)},
        catalogs={"pg_class": (400, "17")},
        surroundings={"setting": {"a": "b"}},
    ),
)


def changed(**schema: dict[str, str]) -> Fingerprint:
    return replace(BASE, schema={**BASE.schema, **schema})


def seen(**changes: Any) -> Fingerprint:
    return replace(BASE, evidence=replace(BASE.evidence, **changes))


def test_it_survives_json() -> None:
    assert Fingerprint.from_json(BASE.to_json()) == BASE


def test_the_digest_is_of_schema_and_history_alone_and_not_of_their_order() -> None:
    other = replace(
        BASE,
        schema=dict(reversed(BASE.schema.items())),
        row_counts={},
        holding=Holding(),
        evidence=Evidence(taken_at=datetime(2027, 1, 1, tzinfo=UTC)),
    )
    assert BASE.digest() == other.digest()
    assert BASE.digest() != changed(table={}).digest()
    assert BASE.digest() != replace(BASE, history={}).digest()
    assert len(BASE.digest()) == 64


def test_a_change_of_the_surroundings_is_a_note_and_no_proof() -> None:
    found = compare(BASE, seen(surroundings={"setting": {"a": "c"}}))

    assert found.verdict is Verdict.SCHEMA_UNCHANGED
    assert [str(each) for each in found.notes] == ["setting a changed"]


def test_counters_before_postgres_15_prove_nothing() -> None:
    older = seen(epoch=None)

    assert compare(older, older).verdict is Verdict.SCHEMA_UNCHANGED


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            {"extension": {"citext": "schema public version 1.5"}},
            {"extension": {"citext": "schema public version 1.6"}},
        ),
        ({"invalid indexes": {"public.a": "public.broken\tCREATE INDEX"}}, {}),
        ({"view": {"public.v": "SELECT (a)::text"}}, {"view": {"public.v": "SELECT a"}}),
        ({"constraints": {"public.a": "c\tCHECK ((a > 1))"}}, {"constraints": {"public.a": "c\tCHECK (a > 1)"}}),
    ],
)
def test_what_no_dump_carries_is_a_note_after_a_restore_and_a_difference_before(
    before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]
) -> None:
    was, now = changed(**before), changed(**after)

    assert same_structure(was, now).same
    assert len(same_structure(was, now).notes) == 1
    assert compare(was, now).verdict is Verdict.CHANGED


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"extension": {"citext": "schema public version 1.5"}}, {"extension": {"citext": "schema x version 1.5"}}),
        ({}, {"invalid indexes": {"public.a": "public.broken\tCREATE INDEX"}}),
        ({"view": {"public.v": "SELECT 'a b'"}}, {"view": {"public.v": "SELECT 'ab'"}}),
        ({"function": {"public.f()": "SELECT (1)"}}, {"function": {"public.f()": "SELECT 1"}}),
        ({"owner": {"table public.a": "x"}}, {}),
    ],
)
def test_anything_else_is_a_difference_after_a_restore(
    before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]
) -> None:
    found = same_structure(changed(**before), changed(**after))

    assert not found.same
    assert found.verdict is Verdict.CHANGED


def test_an_index_that_failed_to_build_is_invalid_by_name(database: Database) -> None:
    database.execute("CREATE TABLE a (id integer)", "INSERT INTO a VALUES (1), (1)")
    connection = database.connect()
    before = fingerprint.take(connection)
    with pytest.raises(psycopg.errors.UniqueViolation):
        database.execute("CREATE UNIQUE INDEX CONCURRENTLY once ON a (id)")

    after = fingerprint.take(connection)

    assert after.invalid_indexes == ["public.once"]
    assert before.invalid_indexes == []
    assert [str(each) for each in compare(before, after).differences] == ["invalid index public.once added"]


def test_a_long_definition_is_kept_in_part_and_compared_as_a_whole(database: Database) -> None:
    body = "SELECT '" + "x" * 9000 + "{}'"
    database.execute(f"CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $${body.format('a')}$$")
    connection = database.connect()
    before = fingerprint.take(connection)
    database.execute(f"CREATE OR REPLACE FUNCTION f() RETURNS text LANGUAGE sql AS $${body.format('b')}$$")

    after = fingerprint.take(connection)

    assert [str(each) for each in compare(before, after).differences] == ["function public.f() changed"]
    assert len(before.schema["function"]["public.f()"]) < 2200


def test_every_history_table_is_read(database: Database) -> None:
    database.execute(
        "CREATE SCHEMA app",
        "CREATE TABLE app.schema_migrations (version bigint, dirty boolean)",
        "INSERT INTO app.schema_migrations VALUES (2, true), (1, false)",
        "CREATE TABLE schema_migrations (version text PRIMARY KEY)",
        "INSERT INTO schema_migrations VALUES ('20240101'), ('20230101')",
        "CREATE TABLE ar_internal_metadata (key text, value text, created_at timestamp)",
        "INSERT INTO ar_internal_metadata VALUES ('environment', 'production', now())",
        "CREATE TABLE alembic_version (something_else text)",
        "CREATE TABLE _prisma_migrations (checksum text, finished_at timestamptz, migration_name text,"
        " rolled_back_at timestamptz)",
        "INSERT INTO _prisma_migrations VALUES ('c1', now(), 'one', NULL), ('c2', NULL, 'two', now())",
    )

    assert fingerprint.take(database.connect(), histories()).history == {
        "app.schema_migrations": ["1", "2 dirty"],
        "public._prisma_migrations": ["one c1 finished", "two c2 rolled back"],
        "public.ar_internal_metadata": ["environment production"],
        "public.schema_migrations": ["20230101", "20240101"],
    }


LEDGER = HistoryTable(table="Ledger", columns=("app", "name"), order="id")
"""The history of a framework that nobody has heard of."""


def test_a_history_that_only_one_version_knows_is_no_difference(database: Database) -> None:
    database.execute(
        'CREATE TABLE "Ledger" (id int, app text, name text)', """INSERT INTO "Ledger" VALUES (1, 'a', '1')"""
    )
    before = fingerprint.take(database.connect(), histories())
    now = fingerprint.take(database.connect(), [*reversed(histories()), LEDGER])
    assert (before.history, now.history) == ({}, {'public."Ledger"': ["a.1"]})

    found = same_structure(before, now)
    assert (found.differences, found.left_out) == ((), ("migrations",))

    database.execute("""INSERT INTO "Ledger" VALUES (2, 'a', '2')""")
    later = fingerprint.take(database.connect(), [LEDGER, *histories()])
    assert [str(each) for each in same_structure(now, later).differences] == ['migration public."Ledger": a.2 added']


def test_entries_are_in_order_and_of_a_table_with_those_columns_only(database: Database) -> None:
    database.execute(
        'CREATE TABLE "Ledger" (version text)',
        'CREATE SCHEMA app CREATE TABLE "Ledger" (id int, app text, name text)',
        """INSERT INTO app."Ledger" VALUES (2, 'a', '1'), (1, 'b', '2')""",
    )
    assert applied(database.connect(), LEDGER) == [("b", "2"), ("a", "1")]
    assert applied(database.connect(), HistoryTable(table="Ledger", columns=("no_such",))) == []


def test_a_migration_that_was_rolled_back_is_not_applied(database: Database) -> None:
    database.execute(
        'CREATE TABLE "Ledger" (app text, name text, id int, undone boolean)',
        """INSERT INTO "Ledger" VALUES ('a', '1', 1, false), ('a', '2', 2, true), ('a', '3', 3, NULL)""",
    )
    history = replace(LEDGER, applied="undone IS NOT TRUE", more=frozenset({"undone"}))
    assert applied(database.connect(), history) == [("a", "1"), ("a", "3")]


def test_a_reset_that_drops_schemas_instead_of_the_database_is_as_good(database: Database) -> None:
    database.execute(
        "CREATE SCHEMA other",
        "CREATE TABLE a (id serial PRIMARY KEY)",
        "GRANT USAGE ON SCHEMA public TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA other GRANT SELECT ON TABLES TO PUBLIC",
    )
    connection = database.connect()
    before = fingerprint.take(connection)
    dump = database.dump()
    database.superuser("DROP SCHEMA public CASCADE", "DROP SCHEMA other CASCADE", "CREATE SCHEMA public")
    database.superuser(f"ALTER SCHEMA public OWNER TO {database.owner}")
    database.load(dump)

    assert grants.put_back_grants(connection, before) == []

    found = same_structure(before, fingerprint.take(connection))
    assert [str(each) for each in found.differences] == []
    assert [str(each) for each in found.notes] == ["owner of schema public changed"]


# What stands beside the structure.

LEARNERS = "CREATE TABLE learners (id integer PRIMARY KEY, name text); INSERT INTO learners VALUES (1, 'a'), (2, 'b')"


def test_row_counts_of_small_tables_are_exact_and_compared_on_demand(database: Database) -> None:
    database.execute(LEARNERS)
    reader = database.connect()
    before = fingerprint.take(reader)
    database.execute("INSERT INTO learners VALUES (3, 'c')")
    later = fingerprint.take(reader)

    assert before.row_counts == {"public.learners": 2}
    assert later.row_counts == {"public.learners": 3}
    found = same_structure(before, later, rows_must_match=True)
    assert [str(each) for each in found.differences] == ["rows of public.learners changed"]
    assert found.verdict is Verdict.CHANGED
    assert same_structure(before, later).same


def test_a_table_of_more_than_64_pages_is_not_counted(database: Database) -> None:
    database.execute("CREATE TABLE big AS SELECT repeat('x', 1000) AS text FROM generate_series(1, 1000)")
    reader = database.connect()
    database.others_gone(reader)

    found = fingerprint.take(reader)

    assert "public.big" not in found.row_counts
    assert found.evidence.writes["public.big"].live == 1000
    assert found.holding.held == ["public.big"]


def test_a_locked_table_loses_only_its_count(database: Database) -> None:
    database.execute(LEARNERS, "CREATE TABLE other (id integer)")
    locker = database.connect()
    with locker.transaction():
        locker.execute("LOCK TABLE other IN ACCESS EXCLUSIVE MODE")

        found = fingerprint.take(database.connect())

    assert found.row_counts == {"public.learners": 2}
    assert found.holding == Holding(["public.learners"], ["public.other"])
    assert "public.other" in found.schema["table"]


def test_rows_hidden_by_policies_are_not_counted(database: Database) -> None:
    database.execute(LEARNERS, "ALTER TABLE learners ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")

    found = fingerprint.take(database.connect())

    assert found.row_counts == {}
    assert found.holding == Holding([], ["public.learners"])


def test_nothing_is_left_of_the_settings_it_needs(database: Database) -> None:
    reader = database.connect()
    reader.execute("SET search_path = public; SET TimeZone = 'Asia/Tokyo'; SET statement_timeout = '7s'")
    reader.execute("SET lock_timeout = '3s'")

    fingerprint.take(reader)

    names = ("search_path", "TimeZone", "statement_timeout", "lock_timeout")
    query = f"SELECT {', '.join(f'current_setting({name!r})' for name in names)}"
    assert reader.execute(query).fetchall() == [("public", "Asia/Tokyo", "7s", "3s")]


# The verdict, from structure and evidence together.

VERDICTS = {
    "SELECT * FROM learners FOR UPDATE": Verdict.UNCHANGED,
    "BEGIN; ALTER TABLE learners ADD COLUMN nickname text; ROLLBACK": Verdict.UNCHANGED,
    "INSERT INTO learners VALUES (3, 'c')": Verdict.SCHEMA_UNCHANGED,
    "BEGIN; DELETE FROM learners; ROLLBACK": Verdict.SCHEMA_UNCHANGED,  # counted all the same: the safe side
    "BEGIN; DELETE FROM learners; INSERT INTO learners VALUES (1, 'a'), (2, 'b'); COMMIT": Verdict.SCHEMA_UNCHANGED,
    "TRUNCATE learners": Verdict.SCHEMA_UNCHANGED,
    "SELECT lo_create(0)": Verdict.SCHEMA_UNCHANGED,
    "SELECT setval('counter', 9)": Verdict.SCHEMA_UNCHANGED,
    "ALTER TABLE learners ADD COLUMN nickname text": Verdict.CHANGED,
    "DROP TABLE learners": Verdict.CHANGED,
    # It reads the same afterwards, and something else was there in between:
    "ALTER TABLE learners ALTER name TYPE varchar(9); ALTER TABLE learners ALTER name TYPE text": Verdict.CHANGED,
    "ALTER TABLE learners DROP name; ALTER TABLE learners ADD name text": Verdict.CHANGED,
}


@pytest.mark.parametrize(("statements", "verdict"), VERDICTS.items())
def test_the_verdict_is_of_definitions_and_of_what_was_written(
    database: Database, statements: str, verdict: Verdict
) -> None:
    database.execute(LEARNERS, "CREATE SEQUENCE counter")
    reader = database.connect()
    before = fingerprint.take(reader)
    database.execute(statements)
    database.others_gone(reader)

    assert compare(before, fingerprint.take(reader)).verdict is verdict


def test_only_what_was_written_since_a_later_moment_counts_if_asked(database: Database) -> None:
    database.execute(LEARNERS)
    reader = database.connect()
    before = fingerprint.take(reader)
    database.execute("INSERT INTO learners VALUES (3, 'c')")
    database.others_gone(reader)
    later = fingerprint.take(reader)

    assert compare(before, later).verdict is Verdict.SCHEMA_UNCHANGED
    assert compare(before, fingerprint.take(reader), since=later.evidence).verdict is Verdict.UNCHANGED


def test_a_relation_that_somebody_keeps_locked_is_unknown_and_all_else_is_compared(database: Database) -> None:
    database.execute(
        "CREATE TABLE learners (id integer PRIMARY KEY)",
        "CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM learners",
        "CREATE VIEW shown AS SELECT * FROM totals",
        "CREATE TABLE alembic_version (version_num text)",
    )
    reader = database.connect()
    before = fingerprint.take(reader)
    database.execute("ALTER TABLE learners ADD COLUMN kind text")
    with database.connect() as worker:
        worker.execute("BEGIN")
        worker.execute("REFRESH MATERIALIZED VIEW totals")
        worker.execute("LOCK TABLE alembic_version")

        now = fingerprint.take(reader, partial=True)

    assert now.unread == ["public.alembic_version", "public.shown", "public.totals"]
    assert [str(each) for each in same_structure(before, now).differences] == ["column public.learners.kind added"]
    assert fingerprint.take(reader).unread == []
