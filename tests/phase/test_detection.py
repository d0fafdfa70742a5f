"""Which framework the hook takes: several in one folder are a choice to make, and a new one is a row of the table.

The tools are stand-ins, shell scripts with the names, arguments and exit codes that the frameworks document.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from heroku_sandbox import App, Sandbox
from tests.hook import POSTGRES_BIN, ROOT, Hook, Result
from tests.judge import execute, picture, query

STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >>"$HOME/asked"
done=$(psql -XAtqc "SELECT to_regclass('done') IS NOT NULL" "$DATABASE_URL")
case "$*" in
"manage.py migrate --noinput" | "upgrade head" | "db upgrade" | "db:migrate" | "migrate deploy")
  psql -Xqc "CREATE TABLE done (n integer)" "$DATABASE_URL" ;;
"manage.py migrate --check" | "db:abort_if_pending_migrations") [ "$done" = t ] || exit 1 ;;
"migrate status")
  [ "$done" = t ] || { echo "have not yet been applied"; exit 1; }
  echo "Database schema is up to date" ;;
"current --check-heads") [ "$done" = t ] || exit 255 ;;
"db heads") echo "0001 (head)" ;;
"db current") [ "$done" = f ] || echo "0001 (head)" ;;
*) exit 64 ;;
esac
"""
UNASKED = {"RELEASE_ON_MISSING_MIGRATIONS": "off"}

DJANGO = {"manage.py": "python manage.py migrate --noinput"}
ALEMBIC = {"alembic.ini": "alembic upgrade head"}
FLASK = {"migrations/alembic.ini": "flask db upgrade"}
RAILS = {"bin/rails": "bin/rails db:migrate"}
PRISMA = {"prisma/schema.prisma": "node_modules/.bin/prisma migrate deploy"}


def program(path: Path, text: str) -> None:
    """A shell script that can be started."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def slug(app: App, folder: Path, files: Sequence[str], tools: Sequence[str] = ("python", "alembic", "flask")) -> Hook:
    """An app with these files, in a dyno that has these tools."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for name in tools:
        program(folder / "tools" / name, STAND_IN)
    if "bin/rails" in files:
        program(folder / "bin" / "rails", STAND_IN)
    if "prisma/schema.prisma" in files:
        program(folder / "node_modules" / ".bin" / "prisma", STAND_IN)
    path = os.pathsep.join([str(folder / "tools"), str(POSTGRES_BIN), "/usr/bin", "/bin"])
    return Hook(app=app, folder=folder, environment={"PATH": path, **UNASKED})


def warnings(result: Result) -> dict[str, str]:
    """Details by warning."""
    return {each["warning"]: each["detail"] for each in result.named("warning_raised")}


@pytest.mark.parametrize(
    ("found", "names"),
    [
        (DJANGO | ALEMBIC, "Django (manage.py), Alembic (alembic.ini)"),
        (ALEMBIC | FLASK, "Alembic (alembic.ini), Flask-Migrate (migrations/alembic.ini)"),
        (DJANGO | FLASK, "Django (manage.py), Flask-Migrate (migrations/alembic.ini)"),  # Flask-Script has a manage.py
        (RAILS | PRISMA, "Rails (bin/rails), Prisma (prisma/schema.prisma)"),
        (DJANGO | ALEMBIC | PRISMA, "Django (manage.py), Alembic (alembic.ini), Prisma (prisma/schema.prisma)"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_several_frameworks_are_refused_with_the_choice_to_paste(
    app: App, sandbox: Sandbox, tmp_path: Path, found: Mapping[str, str], names: str
) -> None:
    hook = slug(app, tmp_path / "slug", list(found))
    before = picture(sandbox.superuser_url(app))
    sandbox.forget_requests()

    result = hook.run()

    assert result.ended == (2, None, "several_frameworks")
    choices = [f"heroku config:set RELEASE_MIGRATE_COMMAND='{migrate}' --app {app.name}" for migrate in found.values()]
    assert result.last["facts"] == {"choices": choices}
    assert result.last["error"].endswith(f": {names}. Choose one of them: {'; '.join(choices)}")
    assert picture(sandbox.superuser_url(app)) == before
    assert not (hook.folder / "asked").exists()
    assert sandbox.requests() == []


HEROKU = """#!/bin/sh
[ "$1" = config:set ] || exit 1
printf %s "${2#RELEASE_MIGRATE_COMMAND=}" >"$HOME/chosen"
"""


@pytest.mark.parametrize(
    ("place", "asked"),
    [
        (0, ["python manage.py migrate --check", "python manage.py migrate --noinput"]),
        (1, ["alembic current --check-heads", "alembic upgrade head"]),
        (2, ["flask db heads", "flask db current", "flask db upgrade"]),
        (3, ["rails db:abort_if_pending_migrations", "rails db:migrate"]),
        (4, ["prisma migrate status", "prisma migrate deploy"]),
    ],
    ids=["Django", "Alembic", "Flask-Migrate", "Rails", "Prisma"],
)
def test_a_choice_that_is_pasted_is_that_framework_whole(
    app: App, sandbox: Sandbox, tmp_path: Path, place: int, asked: list[str]
) -> None:
    hook = slug(app, tmp_path / "slug", [*DJANGO, *ALEMBIC, *FLASK, *RAILS, *PRISMA])
    program(hook.folder / "tools" / "heroku", HEROKU)
    pasted = hook.run().last["facts"]["choices"][place]
    subprocess.run(["sh", "-c", pasted], env=hook.environ(), check=True)
    chosen = (hook.folder / "chosen").read_text()

    result = hook.run(RELEASE_MIGRATE_COMMAND=chosen)

    assert result.ended == (0, "released", None)
    assert warnings(result) == {}
    assert query(app.database_url, "SELECT count(*) FROM done") == [(0,)]
    questions = asked[:-1]
    assert (hook.folder / "asked").read_text().splitlines() == [*questions, asked[-1], *questions]

    sandbox.forget_requests()
    assert hook.run(RELEASE_MIGRATE_COMMAND=chosen).ended == (0, "released", None)
    assert [each for each in sandbox.requests() if each["path"].startswith("/client")] == []


def test_a_command_of_ones_own_needs_no_choice(app: App, tmp_path: Path) -> None:
    hook = slug(app, tmp_path / "slug", [*DJANGO, *ALEMBIC])
    both = "sh -c 'alembic upgrade head && true'"

    result = hook.run(
        RELEASE_MIGRATE_COMMAND=both, RELEASE_PENDING_COMMAND="sh -c 'alembic current --check-heads || exit 1'"
    )

    assert result.ended == (0, "released", None)
    assert query(app.database_url, "SELECT count(*) FROM done") == [(0,)]


def test_a_pending_command_alone_does_not_choose(app: App, tmp_path: Path) -> None:
    hook = slug(app, tmp_path / "slug", [*DJANGO, *ALEMBIC])
    assert hook.run(RELEASE_PENDING_COMMAND="true").ended == (2, None, "several_frameworks")


def test_a_plan_shows_the_choice_as_well(app: App, tmp_path: Path) -> None:
    hook = slug(app, tmp_path / "slug", [*DJANGO, *ALEMBIC])
    result = hook.run("plan", "--json")
    (shown,) = (json.loads(line) for line in result.stdout.splitlines())
    assert (result.exit_code, shown["stopped"]["reason"]) == (2, "several_frameworks")
    assert "RELEASE_MIGRATE_COMMAND='alembic upgrade head'" in shown["stopped"]["error"]


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (["bin/rails", "package.json", "yarn.lock", "config/database.yml"], "Rails"),
        (["manage.py", "reporting/alembic.ini", "package.json"], "Django"),
        (["migrations/alembic.ini", "migrations/env.py"], "Flask-Migrate"),
        (["alembic.ini", "migrations/env.py", "package.json"], "Alembic"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_only_looks_like_two_is_one(app: App, tmp_path: Path, files: list[str], name: str) -> None:
    result = slug(app, tmp_path / "slug", files).run()

    assert result.ended == (0, "released", None)
    assert [each["framework"] for each in result.named("framework_detected")] == [name]
    assert warnings(result) == {}


def test_a_framework_whose_tool_is_not_installed_is_passed_over_aloud(app: App, tmp_path: Path) -> None:
    result = slug(app, tmp_path / "slug", [*DJANGO, *ALEMBIC, *FLASK], tools=("python",)).run()

    assert result.ended == (0, "released", None)
    assert [each["framework"] for each in result.named("framework_detected")] == ["Django"]
    assert warnings(result) == {
        "framework_passed_over": "alembic.ini is there, but Alembic's command 'alembic' cannot be started here;"
        " migrations/alembic.ini is there, but Flask-Migrate's command 'flask' cannot be started here."
        " So Django is used"
    }


@pytest.mark.parametrize("files", [[*ALEMBIC], [*FLASK], [*ALEMBIC, *FLASK]], ids=["Alembic", "Flask-Migrate", "both"])
def test_a_framework_of_which_nothing_can_be_started_is_named(app: App, tmp_path: Path, files: list[str]) -> None:
    result = slug(app, tmp_path / "slug", files, tools=("python",)).run()

    assert result.ended == (2, None, "command_not_found")
    assert all(f"{name} is there" in result.last["error"] for name in files)
    assert "RELEASE_MIGRATE_COMMAND" in result.last["hint"]


def test_a_rails_command_that_may_not_be_executed_is_not_rails_alone(app: App, tmp_path: Path) -> None:
    hook = slug(app, tmp_path / "slug", [*RAILS])
    (hook.folder / "bin" / "rails").chmod(0o644)
    assert hook.run().ended == (2, None, "command_not_found")


# A row of a framework that nobody has heard of, with nothing else changed.

WITH_LEDGER = f"""
import re, sys
sys.path.append({str(ROOT)!r})
from release.app import frameworks
from release.app.answers import Question, changes, listed
from release.database.history import HistoryTable

def left(answer):  # it exits with 0 whatever is pending, and says so in words
    return None if answer.exit_code else "up to date" not in answer.lines

frameworks.FRAMEWORKS += (
    frameworks.Framework(
        name="Ledger",
        markers=("ledger.toml",),
        tool=("./ledger",),
        migrate=("up", "--all"),
        pending=Question(("status",), left),
        shown=("status",),
        missing=Question(("diff",), changes(7, says="^[+] ")),
        known=Question(("list",), listed(r"entry (\\w+)")),
        file="entries/{{}}.sql",
        histories=(HistoryTable(table="ledger", columns=("entry",), order="number"),),
        sources=("https://example.com/ledger",),
    ),
)
from release.cli import main
sys.exit(main())
"""

LEDGER = """#!/bin/sh
set -eu
sql() { psql -XAtq -v ON_ERROR_STOP=1 "$DATABASE_URL" "$@"; }
# It is asked two things at once: the table is made by one of them.
sql -1 -o /dev/null -c "SET client_min_messages = error" -c "SELECT pg_advisory_xact_lock(7)" \\
  -c "CREATE TABLE IF NOT EXISTS ledger (number serial, entry text)"
case $1 in
up) for file in entries/*.sql; do
      entry=$(basename "$file" .sql)
      [ -z "$(sql -c "SELECT 1 FROM ledger WHERE entry = '$entry'")" ] || continue
      sql -c "INSERT INTO ledger (entry) VALUES ('$entry')"
      sql -f "$file"
    done ;;
status) for file in entries/*.sql; do
      entry=$(basename "$file" .sql)
      [ -n "$(sql -c "SELECT 1 FROM ledger WHERE entry = '$entry'")" ] || { echo "$entry is waiting"; exit 0; }
    done
    echo "up to date" ;;
list) for file in entries/*.sql; do echo "entry $(basename "$file" .sql)"; done ;;
diff) [ ! -f forgotten ] || { echo "+ a column"; exit 7; } ;;
*) exit 64 ;;
esac
"""


@pytest.fixture
def ledger(app: App, tmp_path: Path) -> Hook:
    """The hook with one row more, in an app of that framework with two migrations."""
    folder = tmp_path / "slug"
    program(folder / "ledger", LEDGER)
    (folder / "ledger.toml").touch()
    (folder / "entries").mkdir()
    (folder / "entries" / "0001_notes.sql").write_text("CREATE TABLE notes (n integer);\n")
    (folder / "entries" / "0002_more.sql").write_text("ALTER TABLE notes ADD more text;\n")
    (tmp_path / "with_ledger.py").write_text(WITH_LEDGER)
    return Hook(app=app, folder=folder, program=(sys.executable, "-I", str(tmp_path / "with_ledger.py")))


def test_a_new_row_is_detected_migrated_and_asked_again_by_its_words(ledger: Hook, sandbox: Sandbox) -> None:
    result = ledger.run()

    assert result.ended == (0, "released", None)
    assert result.named("framework_detected")[0]["migrate"] == "./ledger up --all"
    assert warnings(result) == {}
    assert query(ledger.app.database_url, "SELECT entry FROM ledger ORDER BY 1") == [("0001_notes",), ("0002_more",)]
    assert result.named("probe_passed")[0]["probe"] == "nothing_pending"

    sandbox.forget_requests()
    assert ledger.run().ended == (0, "released", None)
    assert [each for each in sandbox.requests() if each["path"].startswith("/client")] == []


def test_a_plan_speaks_in_the_words_of_a_new_row(ledger: Hook) -> None:
    (shown,) = (json.loads(line) for line in ledger.run("plan", "--json").stdout.splitlines())

    assert (shown["commands"]["framework"], shown["pending"]) == ("Ledger", True)
    assert shown["pending_words"] == ["0001_notes is waiting"]


@pytest.mark.parametrize("allowed", ["warn", "refuse"])
def test_a_new_row_tells_of_missing_migrations(ledger: Hook, allowed: str) -> None:
    (ledger.folder / "forgotten").touch()

    result = ledger.run(RELEASE_ON_MISSING_MIGRATIONS=allowed)

    if allowed == "refuse":
        assert result.ended == (3, "refused", "missing_migrations")
    else:
        assert result.ended == (0, "released", None)
        assert warnings(result)["missing_migrations"].endswith(": + a column")


def test_a_new_row_tells_that_the_database_is_ahead(ledger: Hook, sandbox: Sandbox) -> None:
    assert ledger.run().ended == (0, "released", None)
    (ledger.folder / "entries" / "0002_more.sql").unlink()
    before = picture(sandbox.superuser_url(ledger.app))

    assert "not in this code: 0002_more" in warnings(ledger.run())["database_ahead"]
    assert ledger.run(RELEASE_ON_DATABASE_AHEAD="refuse").ended == (3, "refused", "database_ahead")
    by_hand = ledger.run(RELEASE_MIGRATE_COMMAND="env ./ledger up", RELEASE_ON_DATABASE_AHEAD="refuse")
    assert by_hand.ended == (3, "refused", "database_ahead")
    assert picture(sandbox.superuser_url(ledger.app)) == before


def test_the_history_of_a_new_row_is_part_of_what_a_database_is(ledger: Hook, sandbox: Sandbox) -> None:
    assert ledger.run().ended == (0, "released", None)
    (ledger.folder / "entries" / "0003_oops.sql").write_text("SELECT no_such_function();\n")
    before = picture(sandbox.superuser_url(ledger.app))

    result = ledger.run()

    assert result.ended == (1, "restored", "migration_failed")
    assert "migration public.ledger: 0003_oops added" in result.last["changes"]
    assert picture(sandbox.superuser_url(ledger.app)) == before


def test_a_new_row_is_one_more_of_several(ledger: Hook, app: App) -> None:
    execute(app.database_url, "CREATE TABLE done (n integer)")
    hook = slug(app, ledger.folder, [*DJANGO])
    hook.program = ledger.program

    result = hook.run()

    assert result.ended == (2, None, "several_frameworks")
    assert "Django (manage.py), Ledger (ledger.toml)" in result.last["error"]
