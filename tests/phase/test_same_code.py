"""Where an app cannot say what is pending: the code that landed last has nothing, unless anything has changed."""

from __future__ import annotations

from typing import Any

import pytest

from heroku_sandbox import App, Sandbox
from tests.hook import Hook, Result, small_app
from tests.judge import execute, picture, query

ONE, OTHER = "60883d9e89471f0a60883d9e89471f0a60883d9e", "0123456789abcdef0123456789abcdef01234567"
LEDGER = "CREATE TABLE ledger_migrations (name text); INSERT INTO ledger_migrations VALUES ('001');"


@pytest.fixture
def unasked(hook: Hook) -> Hook:
    """The small app without a pending command, as Heroku starts its first commit."""
    hook.environment |= {"HEROKU_BUILD_COMMIT": ONE, "HEROKU_APP_NAME": hook.app.name}
    del hook.environment["RELEASE_PENDING_COMMAND"]
    return hook


def decided(result: Result) -> dict[str, Any]:
    """What the run said of whether to migrate."""
    (event,) = result.named("pending_decided")
    return {name: event.get(name) for name in ("pending", "by", "differs")}


SAME = {"pending": False, "by": "same_code", "differs": None}


def test_a_config_change_of_code_that_landed_costs_no_backup_and_no_request(
    unasked: Hook, sandbox: Sandbox, app: App
) -> None:
    assert decided(unasked.run()) == {"pending": True, "by": "assumed", "differs": None}
    sandbox.forget_requests()
    before = picture(sandbox.superuser_url(app))

    result = unasked.run(HEROKU_RELEASE_VERSION="v8", COLOR="green", RELEASE_PROBE_SQL="SELECT true")

    assert result.ended == (0, "released", None)
    assert decided(result) == SAME
    assert [each["path"] for each in sandbox.requests() if each["path"].startswith(("/apps", "/client"))] == []
    assert result.named("command_started") == []
    assert len(result.named("probe_passed")) == 1
    assert picture(sandbox.superuser_url(app)) == before


@pytest.mark.thin(2)
@pytest.mark.parametrize(
    ("differs", "settings", "statement"),
    [
        ("code", {"HEROKU_BUILD_COMMIT": OTHER}, None),
        ("commands", {"RELEASE_MIGRATE_COMMAND": "./migrate again"}, None),
        ("commands", {"COLOR": "green"}, None),
        ("commands", {"FLYWAY_TARGET": "6"}, None),
        ("app", {"HEROKU_APP_ID": None}, None),
        ("structure", {}, "ALTER TABLE learners ADD COLUMN by_hand text"),
        ("structure history", {}, "UPDATE alembic_version SET version_num = '000' WHERE version_num = '002'"),
        ("history", {}, "UPDATE ledger_migrations SET name = '000'"),
    ],
)
def test_whatever_is_not_as_it_was_at_the_landing_is_named_and_migrated(
    unasked: Hook, app: App, differs: str, settings: dict[str, str | None], statement: str | None
) -> None:
    small_app(unasked.folder, {"002": LEDGER})
    unasked.environment["RELEASE_MIGRATE_COMMAND"] = "sh -c './migrate $COLOR'"
    unasked.run(COLOR="red")
    assert decided(unasked.run(COLOR="red")) == SAME
    if statement:
        execute(app.database_url, statement)
        small_app(unasked.folder, {})
        (unasked.folder / "migrate").write_text("#!/bin/sh\n")

    result = unasked.run(**{"COLOR": "red", **settings})

    assert decided(result) == {"pending": True, "by": "assumed", "differs": differs.split()}
    assert result.ended == (0, "released", None)
    assert len(app.transfers()) == 2


@pytest.mark.parametrize(("policy", "outcome"), [("always", "restored"), ("never", "kept")])
def test_after_a_run_that_was_restored_or_kept_nothing_is_the_same(unasked: Hook, policy: str, outcome: str) -> None:
    unasked.run()
    small_app(unasked.folder, {"002": "CREATE TABLE half (id integer);\nSELECT 1 / 0;\n"})
    failed = unasked.run(HEROKU_BUILD_COMMIT=OTHER, RELEASE_RESTORE=policy)
    assert failed.last["outcome"] == outcome
    (unasked.folder / "migrations" / "002.sql").unlink()

    result = unasked.run()

    assert result.ended == (0, "released", None)
    assert decided(result)["by"] == "assumed"
    assert "the last run in the journal" in decided(result)["differs"][0]


def test_a_rollback_to_older_code_is_not_the_same_even_where_the_schema_is(unasked: Hook) -> None:
    unasked.run()
    unasked.run(HEROKU_BUILD_COMMIT=OTHER)

    assert decided(unasked.run())["differs"] == ["code"]


def test_a_dump_of_it_in_another_database_brings_no_memory_along(unasked: Hook, sandbox: Sandbox, app: App) -> None:
    unasked.run()
    here, server = app.database_url, sandbox.superuser_url()
    name = here.rpartition("/")[2]
    execute(server, f"ALTER DATABASE {name} RENAME TO {name}_old", f"CREATE DATABASE {name} TEMPLATE {name}_old")

    assert decided(unasked.run(RELEASE_BACKUP="off"))["differs"] == ["database"]


def test_without_a_commit_the_files_tell_whether_it_is_the_same_code(unasked: Hook) -> None:
    unasked.environment |= {"HEROKU_BUILD_COMMIT": "", "RELEASE_BACKUP": "off"}
    unasked.run()
    (unasked.folder / "__pycache__").mkdir()
    (unasked.folder / "__pycache__" / "x.pyc").write_text("made by the run before")

    assert decided(unasked.run()) == SAME

    small_app(unasked.folder, {"002": "SELECT 1;\n"})
    assert decided(unasked.run())["differs"] == ["code"]
    assert query(unasked.app.database_url, "SELECT max(version_num) FROM alembic_version") == [("002",)]


def test_a_commit_that_somebody_set_by_hand_is_not_believed(unasked: Hook) -> None:
    unasked.environment |= {"HEROKU_RELEASE_VERSION": "", "RELEASE_BACKUP": "off"}
    unasked.run()
    small_app(unasked.folder, {"002": "SELECT 1;\n"})

    assert decided(unasked.run())["differs"] == ["code"]


def test_a_migration_that_swallowed_errors_is_not_remembered(unasked: Hook) -> None:
    unasked.environment["RELEASE_MIGRATE_COMMAND"] = "sh -c 'psql -Xqc \"SELECT 1 / 0\" $DATABASE_URL; ./migrate'"
    assert "errors_swallowed" in unasked.run().last["warnings"]

    assert decided(unasked.run()) == {"pending": True, "by": "assumed", "differs": None}


def test_an_app_that_can_be_asked_is_asked_and_remembers_nothing(hook: Hook) -> None:
    hook.environment["HEROKU_BUILD_COMMIT"] = ONE
    assert decided(hook.run()) == {"pending": True, "by": "asked", "differs": None}
    assert decided(hook.run()) == {"pending": False, "by": "asked", "differs": None}
    assert query(hook.app.database_url, "SELECT record ? 'landed' FROM release_phase.runs") == [(False,)]


def test_same_code_asks_the_app_only_where_the_journal_does_not_know(hook: Hook, app: App) -> None:
    hook.environment |= {"HEROKU_BUILD_COMMIT": ONE, "RELEASE_PENDING": "same-code"}
    hook.run()

    known = hook.run()
    execute(app.database_url, "CREATE TABLE by_hand (id integer)")
    asked = hook.run()

    assert (decided(known), known.named("command_started")) == (SAME, [])
    assert decided(asked) == {"pending": False, "by": "asked", "differs": ["structure"]}


def test_always_migrates_whatever_the_app_and_the_journal_say(hook: Hook, app: App) -> None:
    hook.environment |= {"HEROKU_BUILD_COMMIT": ONE}
    hook.run()

    result = hook.run(RELEASE_PENDING="always")

    assert decided(result) == {"pending": True, "by": "always", "differs": None}
    assert result.ended == (0, "released", None)
    assert len(app.transfers()) == 2


OLDER = """
import sys
if "showmigrations" in sys.argv:
    print("[X]  learning.0001_initial")
assert "--noinput" not in sys.argv, "nobody migrates a database that is ahead"
"""


def test_always_does_not_migrate_a_database_that_is_ahead_of_the_code(hook: Hook, app: App) -> None:
    for name in ("RELEASE_PENDING_COMMAND", "RELEASE_MIGRATE_COMMAND"):
        del hook.environment[name]
    (hook.folder / "manage.py").write_text(OLDER)
    execute(
        app.database_url,
        "CREATE TABLE django_migrations (id serial, app text, name text)",
        "INSERT INTO django_migrations (app, name) VALUES ('learning', '0001_initial'), ('learning', '0002_newer')",
    )

    result = hook.run(RELEASE_PENDING="always", RELEASE_ON_MISSING_MIGRATIONS="off")

    assert result.ended == (0, "released", None)
    assert decided(result) == {"pending": False, "by": "database_ahead", "differs": None}
    assert app.transfers() == []


def test_heroku_config_set_of_an_app_without_a_pending_command_costs_nothing(
    sandbox: Sandbox, hook: Hook, app: App
) -> None:
    app.set_config({"RELEASE_MIGRATE_COMMAND": "./migrate"})
    assert app.release(hook.folder).status == "succeeded"
    sandbox.forget_requests()

    release = app.set_config({"COLOR": "green"})

    assert (release.status, '"by":"same_code"' in release.output) == ("succeeded", True)
    assert len(app.transfers()) == 1
