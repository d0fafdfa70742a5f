"""What is remembered of a release that landed, and which changes of a database make it another one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from release.database import fingerprint, history, session
from release.database.entry import State
from release.database.journal import Journal
from release.database.landed import Landed, landed
from tests.unit.database.conftest import Database

LANDED = Landed(app="shop", code="commit 60883d9", commands="c", database=1, structure="s", history="h")


@pytest.fixture
def hook(database: Database) -> Iterator[session.Database]:
    url = database.server.url(database.name, database.owner, "secret")
    with closing(session.Database(url, application_name="release-hook-0f3a")) as hook:
        yield hook


def _now(hook: session.Database) -> Landed:
    taken = fingerprint.take(hook.connection)
    return landed(hook.connection, taken, app="shop", code="commit 60883d9", commands="c")


def test_a_landing_is_read_back_as_it_was_written_and_nothing_else_is_believed() -> None:
    assert Landed.from_json(LANDED.to_json()) == LANDED
    for document in (None, b"", b"{}", b"null", b"[1]", LANDED.to_json().replace(b'"structure"', b'"other"')):
        assert Landed.from_json(document) is None


def test_the_journal_keeps_a_landing_apart_from_the_record(hook: session.Database) -> None:
    journal = Journal(hook)
    journal.open(run_id="1", app="shop", release=None, commit=None, maintenance=None, formation=None, baseline=0)
    journal.announce("1", State.PROBING)
    journal.commit("1", LANDED.to_json())
    journal.commit("1", LANDED.to_json())
    journal.keep_record("1", {"outcome": "released"})

    assert Landed.from_json(journal.landed("1")) == LANDED
    assert [record for _, record in journal.history(5)] == [{"outcome": "released"}]
    assert journal.landed("unknown") is None


def test_a_landing_of_which_nothing_is_to_be_remembered_leaves_nothing(hook: session.Database) -> None:
    journal = Journal(hook)
    journal.open(run_id="1", app="shop", release=None, commit=None, maintenance=None, formation=None, baseline=0)
    journal.announce("1", State.PROBING)
    journal.commit("1")

    assert journal.landed("1") is None


def test_rows_of_the_app_are_no_difference(database: Database, hook: session.Database) -> None:
    database.execute("CREATE TABLE learners (id serial PRIMARY KEY, name text)")
    before = _now(hook)

    database.execute("INSERT INTO learners (name) VALUES ('Ada')", "ANALYZE")

    assert before.differences(_now(hook)) == []


@pytest.mark.parametrize(
    ("statement", "differs"),
    [
        ("ALTER TABLE learners ALTER name SET DEFAULT ''", ["structure"]),
        ("CREATE INDEX ON learners (name)", ["structure"]),
        ("INSERT INTO learners_done VALUES (1)", []),
        ("DELETE FROM knex_migrations", ["history"]),
        ("UPDATE knex_migrations SET at = '2026-11-28'", ["history"]),
        ("""INSERT INTO "SequelizeMeta" VALUES ('002')""", ["history"]),
        ("INSERT INTO drizzle.__drizzle_migrations VALUES (1)", ["history"]),
        ("INSERT INTO goose_db_version VALUES (1)", ["history"]),
    ],
)
def test_a_change_of_the_structure_or_of_any_tools_history_is_a_difference(
    database: Database, hook: session.Database, statement: str, differs: list[str]
) -> None:
    database.execute(
        "CREATE TABLE learners (id serial PRIMARY KEY, name text)",
        "CREATE TABLE learners_done (id integer)",
        "CREATE TABLE knex_migrations (name text, at timestamptz)",
        "INSERT INTO knex_migrations VALUES ('001', '2026-11-27')",
        'CREATE TABLE "SequelizeMeta" (name text)',
        "CREATE SCHEMA drizzle",
        "CREATE TABLE drizzle.__drizzle_migrations (created_at bigint)",
        "CREATE TABLE goose_db_version (id integer)",
    )
    before = _now(hook)

    database.execute(statement)

    assert before.differences(_now(hook)) == differs


def test_a_database_that_was_made_anew_is_another_one(database: Database, hook: session.Database) -> None:
    before = _now(hook)
    hook.close()
    database.restore(database.dump(), keeping=False)

    assert before.differences(_now(hook)) == ["database"]


def test_a_table_too_large_for_a_history_is_not_read(
    database: Database, hook: session.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute("CREATE TABLE immigration (name text)", "INSERT INTO immigration SELECT repeat('x', 3000)")
    monkeypatch.setattr(history, "LARGEST", 1000)
    before = history.look_alikes(hook.connection)

    database.execute("INSERT INTO immigration VALUES ('more')")

    assert history.look_alikes(hook.connection) == before
