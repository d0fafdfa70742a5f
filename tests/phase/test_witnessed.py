"""What the witness sees of a release, and what follows from it, while somebody else writes all the time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from heroku_sandbox import App
from tests.hook import Hook, Result, small_app
from tests.judge import execute, query
from tests.others import meanwhile

ROLLED_BACK = "BEGIN;\nUPDATE learners SET points = points + 1000;\nSELECT 1 / 0;\nCOMMIT;\n"

SWALLOWS = """
import subprocess
subprocess.run(["psql", "-Xq", URL, "-c", "SELECT nothing", "-c", "CREATE TABLE made (n int)"], check=True)
"""

PROGRAM = """
import os, psycopg
URL = os.environ["DATABASE_URL"]
{body}
"""


@pytest.fixture
def busy(app: App) -> Iterator[None]:
    """Somebody writes to the very table of the migrations, in one session, until the test is over."""
    execute(app.database_url, "CREATE TABLE visits (id serial PRIMARY KEY)")
    over: list[bool] = []

    def work() -> None:
        with (
            suppress(psycopg.OperationalError),  # a restore ends it
            psycopg.connect(app.database_url, application_name="web", autocommit=True) as connection,
        ):
            while not over:
                connection.execute("INSERT INTO visits DEFAULT VALUES")
                connection.execute("UPDATE learners SET name = name WHERE id = 1")
                connection.execute("SELECT pg_sleep(0.01)")

    with meanwhile(work):
        yield
        over.append(True)


def program(folder: Path, body: str) -> dict[str, str]:
    """Writes a migration in Python. Returns the settings that run it."""
    small_app(folder, {})
    (folder / "migrate.py").write_text(PROGRAM.format(body=body))
    return {"RELEASE_MIGRATE_COMMAND": "python migrate.py", "RELEASE_PENDING_COMMAND": "false"}


def witnessed(result: Result) -> dict[str, Any]:
    """The one account of the migration."""
    (said,) = result.named("migration_witnessed")
    return said


def warnings(result: Result, slug: str) -> list[dict[str, Any]]:
    return [each for each in result.named("warning_raised") if each["warning"] == slug]


@contextmanager
def unchanged(app: App) -> Iterator[None]:
    """Judges that no row of the migration's is there afterwards, and that none of the others' is gone."""
    (before,) = query(app.database_url, "SELECT sum(points) FROM learners")
    (counted,) = query(app.database_url, "SELECT count(*) FROM visits")
    yield
    assert query(app.database_url, "SELECT sum(points) FROM learners") == [before]
    assert query(app.database_url, "SELECT count(*) FROM visits") > [counted]


@pytest.mark.usefixtures("busy")
def test_what_postgres_has_undone_costs_a_live_site_nothing(hook: Hook, app: App) -> None:
    small_app(hook.folder, {"001": ROLLED_BACK})

    with unchanged(app):
        result = hook.run()

    assert result.ended == (1, "untouched", "migration_failed")
    assert (result.named("fence_raised"), len(app.transfers())) == ([], 1)
    assert "division by zero (SQLSTATE 22012, exit code 3)" in result.last["error"]
    assert "Nothing was committed" in result.last["hint"]
    said = witnessed(result)
    assert (said["verdict"], said["committed"], said["rolled_back"], said["errors"]) == ("nothing", 0, 1, 1)
    assert said["variables"] == ["DATABASE_URL"]
    assert {ran["shape"] for ran in said["slowest"]} >= {"UPDATE learners SET points = points + ?"}


@pytest.mark.usefixtures("busy")
def test_without_the_witness_nobody_can_tell_and_it_is_restored(hook: Hook) -> None:
    small_app(hook.folder, {"001": ROLLED_BACK})

    result = hook.run(RELEASE_WITNESS="off")

    assert result.ended == (1, "restored", "migration_failed")
    said = witnessed(result)
    assert (said["verdict"], said["why"], said["sessions"]) == ("unknown", ["RELEASE_WITNESS=off"], 0)


@pytest.mark.usefixtures("busy")
def test_a_client_that_demands_tls_is_seen_as_well(hook: Hook, app: App) -> None:
    settings = program(
        hook.folder,
        'with psycopg.connect(URL, sslmode="require") as c:\n'
        '    assert c.pgconn.ssl_in_use\n    c.execute("DELETE FROM learners")\n    c.execute("SELECT 1 / 0")',
    )

    with unchanged(app):
        result = hook.run(**settings)

    assert result.ended == (1, "untouched", "migration_failed")
    assert "division by zero" in result.last["error"]


@pytest.mark.usefixtures("busy")
def test_an_app_that_does_not_even_load_costs_a_live_site_nothing(hook: Hook, app: App) -> None:
    settings = program(hook.folder, "import nothing_of_this_name")

    with unchanged(app):
        result = hook.run(**settings)

    assert result.ended == (1, "untouched", "migration_failed")
    assert (witnessed(result)["sessions"], witnessed(result)["verdict"]) == (0, "nothing")


TWICE = "UPDATE learners SET name = 'Ada' WHERE id < 3;\nCREATE UNIQUE INDEX one_each ON learners (name);\n"


@pytest.mark.parametrize("witness", ["on", "off"])
def test_a_database_s_own_last_error_is_the_run_s_without_a_value(hook: Hook, witness: str) -> None:
    small_app(hook.folder, {"001": f"BEGIN;\n{TWICE}COMMIT;\n"})

    result = hook.run(RELEASE_WITNESS=witness)

    said = 'could not create unique index "one_each": Key (name)=(…) is duplicated (SQLSTATE 23505, exit code 3)'
    if witness == "off":
        said = 'psql:migrations/001.sql:3: ERROR: could not create unique index "one_each" (exit code 3)'
    assert result.last["error"] == f"The migration failed: {said}"


def test_an_error_of_the_command_s_own_comes_before_one_that_it_got_over(hook: Hook) -> None:
    settings = program(
        hook.folder,
        "with psycopg.connect(URL, autocommit=True) as c:\n"
        "    try:\n        c.execute('SELECT nothing')\n    except psycopg.Error:\n        pass\n"
        "raise KeyError('points')",
    )

    result = hook.run(**settings)

    assert result.last["error"] == (
        "The migration failed: KeyError: 'points' (exit code 1). The database's last error was: column \"nothing\" does"
        " not exist (SQLSTATE 42703)"
    )


READS = "with psycopg.connect(URL) as c:\n    c.execute('SELECT count(*) FROM learners')\nopen('done', 'w').close()"


@pytest.mark.usefixtures("busy")
def test_a_probe_that_rolls_back_leaves_nothing_to_undo(hook: Hook, app: App) -> None:
    settings = probing(hook.folder, 'c.execute("UPDATE learners SET points = -1")\n    c.execute("SELECT 1 / 0")')

    with unchanged(app):
        result = hook.run(**settings)

    assert result.ended == (1, "untouched", "probe_failed")
    assert (result.named("fence_raised"), len(app.transfers())) == ([], 1)


@pytest.mark.usefixtures("busy")
def test_a_probe_that_commits_and_fails_is_undone(hook: Hook, app: App) -> None:
    settings = probing(hook.folder, 'c.execute("UPDATE learners SET points = -1")\nraise SystemExit(1)')

    result = hook.run(**settings)

    assert result.ended == (1, "restored", "probe_failed")
    assert query(app.database_url, "SELECT count(*) FROM learners WHERE points = -1") == [(0,)]


def probing(folder: Path, body: str) -> dict[str, str]:
    """Writes a migration that only reads, and a probe in Python. Returns the settings that run both."""
    settings = program(folder, READS)
    (folder / "probe.py").write_text(PROGRAM.format(body=f"with psycopg.connect(URL) as c:\n    {body}"))
    return settings | {"RELEASE_PENDING_COMMAND": "sh -c 'test -f done'", "RELEASE_PROBE_COMMAND": "python probe.py"}


def test_a_part_that_was_committed_is_undone(hook: Hook, app: App) -> None:
    small_app(hook.folder, {"001": "UPDATE learners SET points = -1;\nSELECT 1 / 0;\n"})

    result = hook.run()

    assert result.ended == (1, "restored", "migration_failed")
    assert witnessed(result)["verdict"] == "committed"
    assert query(app.database_url, "SELECT count(*) FROM learners WHERE points = -1") == [(0,)]


def test_errors_that_the_command_swallowed_are_a_warning(hook: Hook, app: App) -> None:
    settings = program(hook.folder, SWALLOWS)

    settings["RELEASE_PENDING_COMMAND"] = "sh -c 'psql -Xq $DATABASE_URL -c \"SELECT FROM made\"'"

    result = hook.run(**settings)

    assert result.ended == (0, "released", None)
    (said,) = warnings(result, "errors_swallowed")
    assert (said["sqlstate"], said["shape"]) == ("42703", "SELECT nothing")
    assert query(app.database_url, "SELECT count(*) FROM made") == [(0,)]


def test_errors_that_the_command_swallowed_can_be_a_failure(hook: Hook, app: App) -> None:
    settings = program(hook.folder, SWALLOWS)

    result = hook.run(**settings, RELEASE_ON_SWALLOWED_ERRORS="refuse")

    assert result.ended == (1, "restored", "errors_swallowed")
    assert 'column "nothing" does not exist' in result.last["error"]
    assert query(app.database_url, "SELECT to_regclass('made')") == [(None,)]


@pytest.mark.usefixtures("busy")
def test_what_was_committed_in_another_database_is_named(hook: Hook, app: App) -> None:
    other = app.add_database(plan="standard-0", attachment="LEDGER")
    hook.environment["LEDGER_URL"] = other["url"]
    settings = program(
        hook.folder,
        'with psycopg.connect(os.environ["LEDGER_URL"]) as c:\n    c.execute("CREATE TABLE paid (n integer)")\n'
        'with psycopg.connect(URL) as c:\n    c.execute("DELETE FROM learners")\n    c.execute("SELECT 1 / 0")',
    )

    with unchanged(app):
        result = hook.run(**settings)

    assert result.ended == (1, "untouched", "migration_failed")
    assert witnessed(result)["elsewhere"] == ["LEDGER_URL"]
    assert "LEDGER_URL" in warnings(result, "committed_elsewhere")[0]["detail"]
    assert query(other["url"], "SELECT count(*) FROM paid") == [(0,)]


@pytest.mark.usefixtures("busy")
def test_the_same_database_by_another_name_is_not_another_database(hook: Hook, app: App) -> None:
    hook.environment["LEDGER_URL"] = app.database_url.replace("127.0.0.1", "localhost")
    settings = program(
        hook.folder,
        'with psycopg.connect(os.environ["LEDGER_URL"]) as c:\n    c.execute("UPDATE learners SET points = -1")\n'
        'with psycopg.connect(URL) as c:\n    c.execute("SELECT 1 / 0")',
    )

    result = hook.run(**settings)

    assert result.ended == (1, "restored", "migration_failed")
    assert query(app.database_url, "SELECT count(*) FROM learners WHERE points = -1") == [(0,)]


def sneaking(folder: Path, url: str) -> None:
    """Writes a migration that commits something past the witness, in as short a session as there can be, and fails."""
    small_app(folder, {})
    sneak = f"psql -Xq '{url}' -c 'UPDATE learners SET points = -1'"
    fails = "psql -Xq \"$DATABASE_URL\" -v ON_ERROR_STOP=1 -c 'SELECT 1 / 0'"
    (folder / "migrate").write_text(f"#!/bin/sh\n{sneak}\n{fails}\n")


def test_a_session_too_short_to_be_seen_is_counted_by_the_server(hook: Hook, app: App) -> None:
    sneaking(hook.folder, app.database_url)

    result = hook.run(RELEASE_PENDING_COMMAND="false")

    assert result.ended == (1, "restored", "migration_failed")
    assert query(app.database_url, "SELECT count(*) FROM learners WHERE points = -1") == [(0,)]


@pytest.mark.usefixtures("busy")
def test_it_is_counted_while_somebody_writes_in_a_lasting_session(hook: Hook, app: App) -> None:
    sneaking(hook.folder, app.database_url)

    result = hook.run(RELEASE_PENDING_COMMAND="false")

    assert result.ended == (1, "restored", "migration_failed")
    assert "beside the witness" in " ".join(witnessed(result)["why"])
    assert query(app.database_url, "SELECT count(*) FROM learners WHERE points = -1") == [(0,)]


def test_an_app_with_a_connection_a_request_spoils_no_verdict(hook: Hook, app: App) -> None:
    execute(app.database_url, "CREATE TABLE visits (id serial PRIMARY KEY)")
    small_app(hook.folder, {"001": "BEGIN;\nSELECT pg_sleep(0.5);\nUPDATE learners SET points = 0;\nSELECT 1 / 0;\n"})
    over: list[bool] = []

    def work() -> None:
        while not over:
            execute(app.database_url, "INSERT INTO visits DEFAULT VALUES")
            time.sleep(0.1)

    with meanwhile(work):
        try:
            with unchanged(app):
                result = hook.run()
        finally:
            over.append(True)

    assert result.ended == (1, "untouched", "migration_failed")
    assert result.named("fence_raised") == []


def test_the_command_never_holds_the_real_password(hook: Hook, app: App) -> None:
    password = app.database_url.split("//")[1].split("@")[0].partition(":")[2]
    settings = program(
        hook.folder,
        f"import sys\nsys.exit(3 if {password!r} in ' '.join(os.environ.values()) else 4)",
    )

    result = hook.run(**settings)

    assert "exit code 4" in result.last["error"]
