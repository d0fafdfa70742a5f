"""The database right before its migration: which tables were never empty since the backup, and which are now."""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg
import pytest

from release.database import fingerprint
from release.database.evidence import Evidence
from release.database.fingerprint import Fingerprint
from release.database.outset import CHURN, Outset, at_outset, emptied_tables
from tests.unit.database.conftest import Database

TABLES = (
    "CREATE TABLE people AS SELECT generate_series(1, 20) AS id",
    "CREATE TABLE jobs AS SELECT generate_series(1, 20) AS id",
    "CREATE TABLE nothing (id integer)",
)


@pytest.fixture
def reader(database: Database) -> psycopg.Connection[Any]:
    database.execute(*TABLES)
    return database.connect()


def started(database: Database, reader: psycopg.Connection[Any], *during_backup: str) -> tuple[Fingerprint, Outset]:
    """The database before its backup, and at the outset, when these statements ran while the backup was taken."""
    database.others_gone(reader)
    before = fingerprint.take(reader)
    database.execute(*during_backup)
    database.others_gone(reader)
    return before, at_outset(reader, before)


@pytest.mark.parametrize(
    ("statements", "steady"),
    [
        ((), True),
        (("INSERT INTO jobs VALUES (21)",), True),
        (("DELETE FROM jobs WHERE id < 20",), True),
        (("UPDATE jobs SET id = id + 1 WHERE id < 20",), True),
        (("VACUUM FULL jobs",), True),
        (("DELETE FROM jobs",), False),
        (("TRUNCATE jobs",), False),
        (("DELETE FROM jobs", "INSERT INTO jobs VALUES (1)"), False),
        (("UPDATE jobs SET id = id + 1",), False),
        (("DROP TABLE jobs",), False),
        (("DROP TABLE jobs", "CREATE TABLE jobs AS SELECT 1 AS id"), False),
    ],
)
def test_a_table_is_steady_that_has_a_row_of_before_the_backup(
    database: Database, reader: psycopg.Connection[Any], statements: tuple[str, ...], steady: bool
) -> None:
    _, outset = started(database, reader, *statements)

    assert outset.steady == (["public.jobs", "public.people"] if steady else ["public.people"])


def test_a_table_that_was_empty_before_the_backup_is_not_steady(
    database: Database, reader: psycopg.Connection[Any]
) -> None:
    _, outset = started(database, reader, "INSERT INTO nothing VALUES (1)")

    assert "public.nothing" not in outset.steady


def test_a_table_that_is_locked_at_the_outset_is_not_steady(
    database: Database, reader: psycopg.Connection[Any]
) -> None:
    before = fingerprint.take(reader)
    with database.connect() as locker:
        locker.execute("BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")

        assert at_outset(reader, before).steady == ["public.people"]


def test_the_outset_is_kept_as_json(database: Database, reader: psycopg.Connection[Any]) -> None:
    _, outset = started(database, reader)

    assert Outset.from_json(outset.to_json()) == outset


@pytest.mark.parametrize("document", [None, b"", b"[]", b"null", b"\xff", b'{"steady": 1}', b'{"evidence": []}'])
def test_an_outset_that_cannot_be_read_proves_nothing(document: bytes | None) -> None:
    assert Outset.from_json(document) == Outset(evidence=Evidence(), steady=[])


# What the migration has emptied.


EMPTIED = {
    "deleted without a condition": (("DELETE FROM people",), ["public.people"]),
    "truncated": (("TRUNCATE people",), ["public.people"]),
    "several truncated": (("TRUNCATE people, jobs",), ["public.jobs", "public.people"]),
    "made anew": (("DROP TABLE people", "CREATE TABLE people (id integer)"), ["public.people"]),
    "swapped with an empty one": (
        ("ALTER TABLE people RENAME TO old", "ALTER TABLE nothing RENAME TO people"),
        ["public.people"],
    ),
    "dropped": (("DROP TABLE people",), []),  # which nobody does by mistake
    "renamed": (("ALTER TABLE people RENAME TO persons",), []),
    "emptied and filled": (("TRUNCATE people", "INSERT INTO people VALUES (1)"), []),
    "some deleted": (("DELETE FROM people WHERE id > 1",), []),
    "rewritten": (("ALTER TABLE people ALTER id TYPE bigint",), []),
    "rolled back": (("BEGIN; DELETE FROM people; ROLLBACK",), []),
    "empty and truncated": (("TRUNCATE nothing",), []),
}


@pytest.mark.parametrize(("statements", "emptied"), EMPTIED.values(), ids=EMPTIED.keys())
def test_a_table_that_held_rows_and_is_there_and_holds_none_was_emptied(
    database: Database, reader: psycopg.Connection[Any], statements: tuple[str, ...], emptied: list[str]
) -> None:
    before, outset = started(database, reader)
    database.execute(*statements)

    assert emptied_tables(reader, before, outset) == (emptied, [], [])


def test_a_table_that_others_emptied_during_the_backup_was_not_by_the_migration(
    database: Database, reader: psycopg.Connection[Any]
) -> None:
    before, outset = started(database, reader, "DELETE FROM jobs")

    assert emptied_tables(reader, before, outset) == ([], [], [])


@pytest.mark.parametrize(("rounds", "usual"), [(CHURN, True), (1, False)])
def test_a_queue_that_fills_and_empties_all_the_time_may_be_empty(
    database: Database, reader: psycopg.Connection[Any], rounds: int, usual: bool
) -> None:
    churn = ("DELETE FROM jobs", "INSERT INTO jobs SELECT generate_series(1, 20)")
    database.execute(*churn * rounds)
    before, outset = started(database, reader)
    database.execute("DELETE FROM jobs", "DELETE FROM people")

    lost, often, unknown = emptied_tables(reader, before, outset)

    assert (lost, often) == ((["public.people"], ["public.jobs"]) if usual else (["public.jobs", "public.people"], []))
    assert unknown == []


def test_the_migrations_own_deletes_make_no_queue(database: Database, reader: psycopg.Connection[Any]) -> None:
    before, outset = started(database, reader)
    database.execute(*["DELETE FROM people", "INSERT INTO people SELECT generate_series(1, 20)"] * CHURN)
    database.execute("DELETE FROM people")

    assert emptied_tables(reader, before, outset) == (["public.people"], [], [])


def test_without_counters_no_table_is_a_queue(database: Database, reader: psycopg.Connection[Any]) -> None:
    database.execute(*["DELETE FROM jobs", "INSERT INTO jobs SELECT generate_series(1, 20)"] * CHURN)
    before, outset = started(database, reader)
    uncounted = msgspec.structs.replace(outset, evidence=msgspec.structs.replace(outset.evidence, epoch=None))
    database.execute("DELETE FROM jobs")

    assert emptied_tables(reader, before, uncounted) == (["public.jobs"], [], [])


@pytest.mark.parametrize(
    "hide",
    [
        "BEGIN; LOCK TABLE people IN ACCESS EXCLUSIVE MODE",
        "ALTER TABLE people ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "REVOKE SELECT ON people FROM CURRENT_USER",
    ],
)
def test_of_a_table_that_cannot_be_looked_into_it_is_unknown(
    database: Database, reader: psycopg.Connection[Any], hide: str
) -> None:
    before, outset = started(database, reader)
    with database.connect() as other:
        other.execute(hide)

        assert emptied_tables(reader, before, outset) == ([], [], ["public.people"])
