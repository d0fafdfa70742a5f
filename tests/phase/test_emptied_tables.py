"""A migration that ends well and has emptied tables: no exit code tells, and all would be gone."""

from __future__ import annotations

import psycopg
import pytest

from heroku_sandbox import App, Sandbox
from tests.hook import Hook, small_app
from tests.judge import differing, execute, query, whole_picture
from tests.others import meanwhile
from tests.phase.test_nothing_lost import wait_for

TABLES = (
    "CREATE TABLE courses (id serial PRIMARY KEY, learner int REFERENCES learners, title text)",
    "INSERT INTO courses (learner, title) SELECT id, 'course ' || id FROM learners WHERE id < 50",
    "CREATE TABLE parts (id int, what text) PARTITION BY RANGE (id)",
    "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100)",
    "INSERT INTO parts SELECT n, 'part' FROM generate_series(1, 20) AS n",
)
"""What else there is to lose."""

EMPTYING = {
    "a delete without a condition": ("DELETE FROM courses;", {"public.courses"}),
    "a delete in a function": (
        "DO $$ BEGIN EXECUTE 'DELETE FROM courses'; EXECUTE 'DELETE FROM learners'; END $$;",
        {"public.courses", "public.learners"},
    ),
    "a truncate": ("TRUNCATE learners CASCADE;", {"public.courses", "public.learners"}),
    "a flush of everything": (
        "TRUNCATE learners, courses, parts, alembic_version RESTART IDENTITY CASCADE;",
        {"public.courses", "public.learners", "public.parts_1"},
    ),
    "a table that is dropped and created again": (
        "DROP TABLE courses;\nCREATE TABLE courses (id serial PRIMARY KEY, learner int, title text);",
        {"public.courses"},
    ),
    "a whole schema that is loaded anew": (
        "DROP SCHEMA public CASCADE;\nCREATE SCHEMA public;\n"
        "CREATE TABLE alembic_version (version_num text PRIMARY KEY);\n"
        "CREATE TABLE learners (id serial PRIMARY KEY, name text NOT NULL, points integer);",
        {"public.learners"},
    ),
    "a partition": ("DELETE FROM parts;", {"public.parts_1"}),
    "rows deleted by a cascade": (
        "ALTER TABLE courses DROP CONSTRAINT courses_learner_fkey, ADD FOREIGN KEY (learner) REFERENCES learners"
        " ON DELETE CASCADE;\nDELETE FROM learners WHERE id < 50;",
        {"public.courses"},
    ),
}
"""By name: the migration, and the tables that are named."""


PENDING = """#!/bin/sh
[ -n "$(psql -XAtqc "SELECT 1 FROM alembic_version WHERE version_num = '001'" "$DATABASE_URL")" ]
"""
"""Only the newest migration counts, as with Alembic: a history that was emptied is not pending again."""


@pytest.mark.thin(1)
@pytest.mark.parametrize("name", EMPTYING)
def test_a_migration_that_ends_well_and_has_emptied_tables_is_undone(
    hook: Hook, app: App, sandbox: Sandbox, name: str
) -> None:
    migration, emptied = EMPTYING[name]
    execute(app.database_url, "INSERT INTO alembic_version VALUES ('000')", *TABLES)
    small_app(hook.folder, {"000": "SELECT 1;\n", "001": migration})
    (hook.folder / "pending").write_text(PENDING)
    before = whole_picture(sandbox.superuser_url(app))

    result = hook.run()

    assert result.ended == (1, "restored", "emptied_tables")
    (failed,) = [each for each in result.named("probe_failed") if each["probe"] == "emptied_tables"]
    assert set(failed["tables"]) == emptied
    assert all(table in result.last["error"] for table in emptied)
    assert differing(before, whole_picture(sandbox.superuser_url(app))) == []


@pytest.mark.parametrize("name", ["a truncate", "a table that is dropped and created again"])
def test_where_it_is_meant_it_lands(hook: Hook, app: App, name: str) -> None:
    execute(app.database_url, *TABLES)
    small_app(hook.folder, {"001": EMPTYING[name][0]})

    result = hook.run(RELEASE_ALLOW="emptied-tables")

    assert result.ended == (0, "released", None)
    (overridden,) = result.named("guard_overridden")
    assert (overridden["guard"], overridden["reason"]) == ("emptied-tables", "emptied_tables")
    assert all(table in overridden["detail"] for table in EMPTYING[name][1])
    assert query(app.database_url, "SELECT count(*) FROM courses") == [(0,)]


@pytest.mark.thin(1)
@pytest.mark.parametrize(
    "migration",
    [
        "DROP TABLE courses;",
        "DROP TABLE courses;\nDROP TABLE parts;",
        "ALTER TABLE courses RENAME TO lessons;",
        "CREATE SCHEMA school;\nALTER TABLE courses SET SCHEMA school;",
        "ALTER TABLE parts DETACH PARTITION parts_1;\nDROP TABLE parts_1;",
        "CREATE TABLE fresh (n integer);\nDELETE FROM courses WHERE id > 1;",
        "BEGIN;\nCREATE TEMP TABLE kept AS TABLE courses;\nTRUNCATE courses;\nINSERT INTO courses TABLE kept;\nCOMMIT;",
    ],
)
def test_a_table_that_goes_on_purpose_or_keeps_rows_is_no_failure(hook: Hook, app: App, migration: str) -> None:
    execute(app.database_url, *TABLES)
    small_app(hook.folder, {"001": migration})

    assert hook.run().ended == (0, "released", None)


def test_a_table_that_was_empty_before_may_be_empty_after(hook: Hook, app: App) -> None:
    execute(
        app.database_url, "CREATE TABLE sessions (n integer)", "INSERT INTO sessions VALUES (1)", "DELETE FROM sessions"
    )
    small_app(hook.folder, {"001": "TRUNCATE sessions;"})

    assert hook.run().ended == (0, "released", None)


@pytest.mark.parametrize("emptied_by", ["DELETE FROM queue", "TRUNCATE queue"])
def test_a_queue_that_others_empty_meanwhile_is_no_failure(hook: Hook, app: App, emptied_by: str) -> None:
    execute(
        app.database_url,
        "CREATE TABLE queue (job int)",
        "INSERT INTO queue SELECT generate_series(1, 500)",
        "DELETE FROM queue WHERE job > 3",
    )
    small_app(hook.folder, {"001": "SELECT pg_sleep(1.2);\nALTER TABLE learners ADD COLUMN age integer;\n"})

    def work() -> None:
        wait_for(
            lambda: query(app.database_url, "SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(1.2)%'")
        )
        with psycopg.connect(app.database_url) as session:
            session.execute(emptied_by.encode())

    with meanwhile(work):
        result = hook.run()

    assert result.ended == (0, "released", None)
    (said,) = [each for each in result.named("warning_raised") if each["warning"] == "tables_emptied"]
    assert said["tables"] == ["public.queue"]
    assert query(app.database_url, "SELECT count(*) FROM queue") == [(0,)]
