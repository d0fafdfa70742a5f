"""The database plays its own tricks: it refuses, locks, forgets, or holds what a dump does not carry."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest

from tests.faults.figures import Cell
from tests.faults.forked import Started
from tests.faults.harness import Harness, Play
from tests.faults.stage import FAILING, LANDING, LANDS, Place, Scenario, write
from tests.hook import Result
from tests.judge import execute

LOCK_KEY = 0x52454C45415345
"""The hook's advisory lock, as a foreign session would take it."""


def on_line(event: str, act: Callable[[Place], object]) -> Callable[[Place, Started], Result]:
    """Does something to the database when the hook has logged an event for the first time."""

    def during(place: Place, run: Started) -> Result:
        done: list[bool] = []

        def look(_: int) -> None:
            if not done and event.encode() in run.said():
                done.append(True)
                act(place)

        return run.finish(on_line=look)

    return during


def kill_sessions(name: str = "%") -> Callable[[Place], None]:
    """Ends sessions by application name, as an operator or a failing server does."""

    def act(place: Place) -> None:
        execute(
            place.superuser,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            f" AND pid <> pg_backend_pid() AND application_name LIKE '{name}'",
        )

    return act


def refuse(place: Place, *, back_after: float | None) -> None:
    """The role may not connect any more; after some seconds it may again."""
    execute(place.superuser, f'ALTER ROLE "{place.owner}" CONNECTION LIMIT 0')
    kill_sessions()(place)
    if back_after is not None:
        threading.Timer(back_after, lambda: let_in(place)).start()


def let_in(place: Place) -> None:
    execute(place.superuser, f'ALTER ROLE "{place.owner}" CONNECTION LIMIT -1')


def rotated(place: Place) -> None:
    """The password is another one from now on; what is open stays open."""
    execute(place.superuser, f"ALTER ROLE \"{place.owner}\" PASSWORD 'another'")


@pytest.mark.thin(2)
@pytest.mark.parametrize("scenario", [LANDING, FAILING], ids=lambda each: each.name)
@pytest.mark.parametrize("event", ["transfer_started", "transfer_finished", "command_finished", "step_finished"])
def test_the_hooks_session_may_be_killed_in_the_middle(harness: Harness, event: str, scenario: Scenario) -> None:
    cell = Cell(group="database", fault=f"session killed at {event}", scenario=scenario.name)
    how = Play(during=on_line(event, kill_sessions("release-hook-%")), fired=lambda _: (True, False))
    assert not harness.play(cell, scenario, how).broken, cell


@pytest.mark.thin(3)
@pytest.mark.parametrize("event", ["transfer_started", "command_output", "database_compared", "fence_raised"])
@pytest.mark.parametrize("back_after", [0.6, 3.0])
def test_the_database_may_refuse_connections_for_a_while(harness: Harness, event: str, back_after: float) -> None:
    def during(place: Place, run: Started) -> Result:
        result = on_line(event, lambda place: refuse(place, back_after=back_after))(place, run)
        let_in(place)
        return result

    cell = Cell(group="database", fault=f"refuses for {back_after} s at {event}", scenario="failing")
    how = Play(during=during, fired=lambda _: (True, False))
    assert not harness.play(cell, FAILING, how).broken, cell


@pytest.mark.parametrize("event", ["transfer_started", "command_output"])
def test_the_password_may_be_rotated_in_the_middle(harness: Harness, event: str) -> None:
    def back(place: Place) -> None:
        password = place.environment["DATABASE_URL"].split(":")[2].split("@")[0]
        execute(place.superuser, f"ALTER ROLE \"{place.owner}\" PASSWORD '{password}'")

    cell = Cell(group="database", fault=f"password rotated at {event}", scenario="failing")
    how = Play(during=on_line(event, rotated), between=back, fired=lambda _: (True, False))

    def during(place: Place, run: Started) -> Result:
        result = on_line(event, rotated)(place, run)
        back(place)
        return result

    how.during = during
    assert not harness.play(cell, FAILING, how).broken, cell


@contextmanager
def holding(place: Place, *statements: str, name: str = "release-hook-other") -> Iterator[psycopg.Connection]:
    """A session of somebody else that holds something."""
    with psycopg.connect(place.environment["DATABASE_URL"], autocommit=True, application_name=name) as holder:
        for statement in statements:
            holder.execute(statement.encode())
        yield holder


@pytest.mark.thin(3)
@pytest.mark.parametrize("scenario", [LANDING, FAILING], ids=lambda each: each.name)
@pytest.mark.parametrize(
    ("what", "statements", "wait"),
    [
        ("the lock, idle", [f"SELECT pg_advisory_lock({LOCK_KEY})"], "5"),
        ("the lock, in a transaction", ["BEGIN", f"SELECT pg_advisory_xact_lock({LOCK_KEY})"], "5"),
        ("a table, shared", ["BEGIN", "LOCK learners IN ACCESS SHARE MODE"], "5"),
        ("a table, exclusive", ["BEGIN", "LOCK learners IN ACCESS EXCLUSIVE MODE"], "5"),
    ],
)
def test_somebody_may_hold_a_lock(
    harness: Harness, what: str, statements: list[str], wait: str, scenario: Scenario
) -> None:
    def during(place: Place, run: Started) -> Result:
        with suppress(psycopg.OperationalError), holding(place, *statements):
            time.sleep(2.5)
        return run.finish()

    cell = Cell(group="database", fault=f"somebody holds {what}", scenario=scenario.name)
    changes: dict[str, str | None] = {"RELEASE_LOCK_WAIT": wait, "RELEASE_TIME_LIMIT": "300"}
    how = Play(during=during, changes=changes, fired=lambda _: (True, False))
    assert not harness.play(cell, scenario, how).broken, cell


HOLDS = {
    "a sequence far on": "SELECT setval('learners_id_seq', 4711)",
    "a materialized view": "CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM learners",
    "an empty materialized view": "CREATE MATERIALIZED VIEW totals AS SELECT 1 AS n WITH NO DATA",
    "row-level policies": "ALTER TABLE learners ENABLE ROW LEVEL SECURITY;"
    " CREATE POLICY own ON learners USING (name LIKE 'learner%')",
    "large objects": "SELECT lo_from_bytea(4711, 'large')",
    "an extension": "CREATE EXTENSION IF NOT EXISTS pgcrypto",
    "a second schema": "CREATE SCHEMA extra; CREATE TABLE extra.things (n int); INSERT INTO extra.things VALUES (1)",
    "a trigger": "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
    " CREATE TRIGGER noted BEFORE UPDATE ON learners FOR EACH ROW EXECUTE FUNCTION noted()",
    "an enum": "CREATE TYPE mood AS ENUM ('good', 'bad'); ALTER TABLE alembic_version ADD COLUMN m mood",
    "comments": "COMMENT ON TABLE learners IS 'people'; COMMENT ON COLUMN learners.name IS 'their names'",
    "a partitioned table": "CREATE TABLE parts (n int) PARTITION BY RANGE (n);"
    " CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (1) TO (9)",
    "odd names": 'CREATE TABLE "a ""b\'\';--" ("c %s {x}" text); INSERT INTO "a ""b\'\';--" VALUES (\'\\.\')',
    "an unlogged table": "CREATE UNLOGGED TABLE cache (n int); INSERT INTO cache VALUES (1)",
    "a dropped column": "ALTER TABLE learners ADD COLUMN gone int; ALTER TABLE learners DROP COLUMN gone",
    "default privileges": "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "a database setting": "SET TIME ZONE 'UTC'",
}


@pytest.mark.thin(4)
@pytest.mark.parametrize("what", HOLDS)
def test_whatever_the_database_holds_comes_back(harness: Harness, what: str) -> None:
    place = harness.stage.fresh(FAILING)
    execute(place.environment["DATABASE_URL"], HOLDS[what])
    place.before = place.picture()
    cell = Cell(group="database", fault=f"holds {what}", scenario="failing")
    assert not harness.play(cell, FAILING, Play(fired=lambda _: (True, False)), place).broken, cell
    assert cell.outcomes == ["restored"], cell


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("prepared transaction", "BEGIN;\nDELETE FROM learners;\nPREPARE TRANSACTION 'left behind';\n"),
        ("half a transaction", "BEGIN;\nDELETE FROM learners;\n"),
        ("session that is killed", "DELETE FROM learners;\nSELECT pg_terminate_backend(pg_backend_pid());\n"),
        ("statement that times out", "DELETE FROM learners;\nSET statement_timeout = 50;\nSELECT pg_sleep(9);\n"),
        ("large object", "SELECT lo_from_bytea(0, 'new');\nSELECT 1 / 0;\n"),
        ("dropped schema", "DROP SCHEMA public CASCADE;\nSELECT 1 / 0;\n"),
        ("dropped journal", "DROP SCHEMA release_phase CASCADE;\nDROP TABLE learners;\nSELECT 1 / 0;\n"),
        ("moved sequence", "SELECT setval('learners_id_seq', 4711);\nSELECT 1 / 0;\n"),
    ],
)
def test_whatever_the_migration_leaves_behind_is_gone(harness: Harness, what: str, text: str) -> None:
    scenario = Scenario(name=f"leaves a {what}", migration=text)
    cell = Cell(group="database", fault=f"the migration leaves a {what}", scenario=scenario.name)
    how = Play(fired=lambda _: (True, False))
    if what == "half a transaction":  # psql ends, and with it the transaction: nothing was changed, all is well
        scenario = Scenario(name=scenario.name, migration=LANDS + text)
    cell = harness.play(cell, scenario, how)
    assert not cell.broken, cell


def test_writes_of_others_between_backup_and_restore_are_salvaged(harness: Harness) -> None:
    place = harness.stage.fresh(FAILING)
    write(place.folder, FAILING)

    def somebody_writes(place: Place) -> None:
        execute(place.environment["DATABASE_URL"], "INSERT INTO learners (name) VALUES ('in between')")

    cell = Cell(group="database", fault="others write in between", scenario="failing")
    how = Play(during=on_line('"event":"command_output"', somebody_writes), fired=lambda _: (True, False))
    assert not harness.play(cell, FAILING, how, place).broken, cell
    assert cell.backups == 2, "backup and salvage"
