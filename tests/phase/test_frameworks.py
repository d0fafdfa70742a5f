"""Django, Alembic and Flask-Migrate with larger apps, each guard in front of them. The rest is in tests/toolchains/."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heroku_sandbox import App, Sandbox
from tests.apps.ship import assemble
from tests.hook import PATH, Hook, Result, finish
from tests.judge import picture

_numbers = itertools.count(1)
Ship = Callable[..., Hook]


UNASKED = {"RELEASE_ON_MISSING_MIGRATIONS": "off"}
"""Where missing migrations are not what a test is about: each question starts the app once more."""


def app_command(folder: Path, app: App, *argv: str) -> None:
    """Runs one of the app's own commands on its database."""
    environment = {"PATH": PATH, "HOME": str(folder), "DATABASE_URL": app.database_url}
    subprocess.run(argv, cwd=folder, env=environment, check=True, capture_output=True)


def warnings(result: Result) -> dict[str, str]:
    """Details by warning."""
    return {each["warning"]: each["detail"] for each in result.named("warning_raised")}


# Django.


@pytest.fixture(scope="module")
def timeline(whole_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> tuple[App, dict[str, Any]]:
    """The sample app at `good` with some data, and a second database. Tests that use it leave it as it is."""
    app = whole_sandbox.create_app(f"timeline-{next(_numbers)}", config={"HEROKU_API_KEY": whole_sandbox.key})
    second = app.add_database(plan="standard-0", attachment="REHEARSAL")
    folder = assemble("good", tmp_path_factory.mktemp("good"))
    app_command(folder, app, "python", "manage.py", "migrate", "--noinput")
    app_command(folder, app, "python", "manage.py", "seed", "--learners", "60")
    return app, second


@pytest.fixture
def ship(timeline: tuple[App, dict[str, Any]], sandbox: Sandbox, tmp_path: Path) -> Any:
    """Ships a version of the sample app. The database has to be the same afterwards."""
    app, second = timeline
    before = picture(sandbox.superuser_url(app))

    def make(version: str, **environment: str) -> Hook:
        folder = assemble(version, tmp_path / version)
        return Hook(app=app, folder=folder, environment={"REHEARSAL_URL": second["url"], **environment})

    yield make
    assert picture(sandbox.superuser_url(app)) == before


PROBED = {
    "RELEASE_PROBE_COMMAND": "python manage.py probe",
    "RELEASE_PROBE_PATH": "/healthz",
    "RELEASE_PROBE_TIMEOUT": "15",
}


@pytest.mark.thin(3)
@pytest.mark.parametrize(
    ("version", "settings", "outcome", "reason", "failed"),
    [
        ("broken", {}, "untouched", "rehearsal_failed", "migration_failed"),
        ("broken_at_once", {}, "untouched", "rehearsal_failed", "migration_failed"),
        ("broken_index", {}, "untouched", "rehearsal_failed", "migration_failed"),
        ("failing_probe", {"RELEASE_PROBE_COMMAND": "python manage.py probe"}, "untouched", "rehearsal_failed",
         "probe_failed"),
        ("failing_health", {"RELEASE_PROBE_PATH": "/healthz", "RELEASE_PROBE_TIMEOUT": "8"}, "untouched",
         "rehearsal_failed", "web_unhealthy"),
        ("forgotten", {"RELEASE_ON_MISSING_MIGRATIONS": "refuse"}, "refused", "missing_migrations", None),
        ("base", {"RELEASE_ON_DATABASE_AHEAD": "refuse"}, "refused", "database_ahead", None),
    ],
)  # fmt: skip
def test_every_failure_of_the_sample_app_is_caught_before_production_is_touched(
    ship: Ship, sandbox: Sandbox, version: str, settings: dict[str, str], outcome: str, reason: str, failed: str | None
) -> None:
    hook = ship(version, RELEASE_REHEARSAL_DATABASE="REHEARSAL_URL", RELEASE_ALLOW="occupied-rehearsal")
    sandbox.forget_requests()

    result = finish(hook.start(**settings), within=120)

    assert (result.last["outcome"], result.last["reason"]) == (outcome, reason)
    assert (result.last.get("facts") or {}).get("failed") == failed
    assert sandbox.count("POST", f"/client/v11/databases/{hook.app.addon_id}/restores") == 0
    assert hook.app.maintenance() is False


def test_models_changed_without_a_migration_are_a_warning_by_default(ship: Ship) -> None:
    result = ship("forgotten").run()

    assert result.ended == (0, "released", None)
    assert "Add field" in warnings(result)["missing_migrations"]


def test_where_nobody_asks_missing_migrations_are_not_looked_for(ship: Ship) -> None:
    result = ship("forgotten").run(RELEASE_ON_MISSING_MIGRATIONS="off")

    assert result.ended == (0, "released", None)
    assert warnings(result) == {}
    assert len(result.named("command_started")) == 1


def test_older_code_names_the_migrations_that_it_does_not_know_and_leaves_the_database(
    ship: Ship, sandbox: Sandbox
) -> None:
    sandbox.forget_requests()

    result = ship("base").run()

    assert result.ended == (0, "released", None)
    (ahead,) = [each for each in result.named("warning_raised") if each["warning"] == "database_ahead"]
    assert ahead["migrations"] == [
        "learning.0011_rename_milestone_title",
        "learning.0012_reached_with_time",
        "learning.0013_latest_of_a_course",
    ]
    assert not any(each["command"].startswith("python manage.py migrate --noinput")
                   for each in result.named("command_started"))  # fmt: skip
    assert [each for each in sandbox.requests() if each["path"].startswith("/client")] == []


def test_older_code_with_a_migration_of_its_own_is_refused(ship: Ship) -> None:
    hook = ship("base")
    (hook.folder / "learning" / "migrations" / "0011_of_another_branch.py").write_text(
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
        '    dependencies = [("learning", "0010_timeline_index")]\n'
        '    operations = [migrations.RunSQL("SELECT 1", "SELECT 1")]\n'
    )

    result = hook.run(RELEASE_ON_MISSING_MIGRATIONS="off")

    assert result.ended == (3, "refused", "database_ahead")
    assert "0013_latest_of_a_course" in result.last["error"]
    assert "pending migrations of its own" in result.last["error"]


def test_a_configured_command_is_recognised_and_asked_too(ship: Ship) -> None:
    result = ship("base").run(
        RELEASE_MIGRATE_COMMAND="python ./manage.py migrate --noinput",
        RELEASE_PENDING_COMMAND="python ./manage.py migrate --check",
        RELEASE_ON_DATABASE_AHEAD="refuse",
    )

    assert result.ended == (3, "refused", "database_ahead")


BUILT_IN = ("valid_indexes", "valid_constraints", "emptied_tables", "sequences")


def test_a_django_release_is_rehearsed_booted_and_probed(whole_sandbox: Sandbox, tmp_path: Path) -> None:
    """From an empty database to `base` to `good`, with every kind of probe, in the sandbox's own release phase."""
    app = whole_sandbox.create_app(f"timeline-{next(_numbers)}", config={"HEROKU_API_KEY": whole_sandbox.key})
    second = app.add_database(plan="standard-0", attachment="REHEARSAL")
    rehearsed = {"RELEASE_REHEARSAL_DATABASE": "REHEARSAL_URL", "REHEARSAL_URL": second["url"], **PROBED}
    first = Hook(app=app, folder=assemble("base", tmp_path / "base"), environment={"RELEASE_PROBE_PATH": "/healthz"})
    assert finish(first.start(), within=120).ended == (0, "released", None)
    app_command(first.folder, app, "python", "manage.py", "seed", "--learners", "60")

    hook = Hook(app=app, folder=assemble("good", tmp_path / "good"), environment=rehearsed)
    result = finish(hook.start(RELEASE_PROBE_SQL="SELECT count(*) = 60 FROM learning_learner"), within=120)

    assert result.ended == (0, "released", None)
    passed = [(each["probe"], each.get("rehearsal", False)) for each in result.named("probe_passed")]
    assert passed == [
        (name, rehearsal)
        for rehearsal in (True, False)
        for name in ("nothing_pending", *BUILT_IN, "command", "sql", "boot")
    ]


# Alembic.


@pytest.fixture
def catalog(whole_sandbox: Sandbox) -> App:
    """An app for the course catalog, with an empty database."""
    return whole_sandbox.create_app(f"catalog-{next(_numbers)}", config={"HEROKU_API_KEY": whole_sandbox.key})


def catalog_hook(app: App, version: str, folder: Path) -> Hook:
    """A version of the course catalog."""
    return Hook(app=app, folder=assemble(version, folder / version, app="course_catalog"))


def test_alembic_lands_fails_and_goes_back(catalog: App, sandbox: Sandbox, tmp_path: Path) -> None:
    base, good, broken = (catalog_hook(catalog, version, tmp_path) for version in ("base", "good", "broken"))
    assert base.run(**UNASKED).ended == (0, "released", None)
    assert good.run(**UNASKED).ended == (0, "released", None)
    assert len(good.run().named("command_started")) == 2, "nothing pending: the question, and that of missing ones"
    before = picture(sandbox.superuser_url(catalog))

    assert broken.run(**UNASKED).ended == (1, "restored", "migration_failed")
    assert picture(sandbox.superuser_url(catalog)) == before

    older = base.run(**UNASKED)
    assert older.ended == (0, "released", None)
    assert "not in this code: 0004" in warnings(older)["database_ahead"]
    assert base.run(RELEASE_ON_DATABASE_AHEAD="refuse", **UNASKED).ended == (3, "refused", "database_ahead")
    assert picture(sandbox.superuser_url(catalog)) == before


METADATA = """
from sqlalchemy import Column, Integer, MetaData, Table
metadata = MetaData()
Table("forgotten", metadata, Column("id", Integer, primary_key=True))
"""


def test_alembic_tells_of_missing_migrations_once_nothing_is_pending(
    catalog: App, sandbox: Sandbox, tmp_path: Path
) -> None:
    hook = catalog_hook(catalog, "base", tmp_path)
    env = hook.folder / "migrations" / "env.py"
    env.write_text(METADATA + env.read_text().replace("configure(", "configure(target_metadata=metadata, "))
    before = picture(sandbox.superuser_url(catalog))

    refused = hook.run(RELEASE_ON_MISSING_MIGRATIONS="refuse")
    assert refused.ended == (1, "restored", "missing_migrations")
    assert picture(sandbox.superuser_url(catalog)) == before

    warned = warnings(hook.run())["missing_migrations"]
    assert "forgotten" in warned
    assert "INFO" not in warned
    nothing_pending = hook.run(RELEASE_ON_MISSING_MIGRATIONS="refuse")
    assert nothing_pending.ended == (3, "refused", "missing_migrations")


SCHEMAS = """
from sqlalchemy import MetaData
metadata = MetaData()
def own(name, type_, parent):
    return type_ != "table" or parent.get("schema_name") == "release_phase" or name == "forgotten"
"""


def test_the_hooks_own_journal_is_nobodys_missing_migration(catalog: App, tmp_path: Path) -> None:
    hook = catalog_hook(catalog, "base", tmp_path)
    env = hook.folder / "migrations" / "env.py"
    configured = "configure(target_metadata=metadata, include_schemas=True, include_name=own, "
    original = env.read_text().replace("configure(", configured)
    env.write_text(SCHEMAS + original)

    assert hook.run(RELEASE_ON_MISSING_MIGRATIONS="refuse").ended == (0, "released", None)
    again = hook.run(RELEASE_ON_MISSING_MIGRATIONS="refuse")
    assert again.ended == (0, "released", None)
    assert "missing_unknown" not in warnings(again)

    env.write_text(METADATA + SCHEMAS.replace("metadata = MetaData()\n", "") + original)
    refused = hook.run(RELEASE_ON_MISSING_MIGRATIONS="refuse")
    assert refused.ended == (3, "refused", "missing_migrations")
    (failed,) = refused.named("step_failed")
    assert "forgotten" in failed["error"]
    assert "release_phase" not in failed["error"]


# Flask-Migrate.

FLASK_APP = """
import os
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = "postgresql+psycopg" + os.environ["DATABASE_URL"].removeprefix("postgres")
db = SQLAlchemy(app)
Migrate(app, db)


class Course(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    {columns}
"""

REVISION = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = {revision!r}, {down!r}


def upgrade():
    {upgrade}


def downgrade():
    pass
"""


def flask_app(folder: Path, app: App) -> Path:
    """A Flask app with a real migrations folder of Flask-Migrate and one revision."""
    folder.mkdir()
    (folder / "app.py").write_text(FLASK_APP.format(columns="title = db.Column(db.String)"))
    app_command(folder, app, "flask", "db", "init")
    table = 'op.create_table("course", sa.Column("id", sa.Integer, primary_key=True), sa.Column("title", sa.String))'
    revise(folder, "0001", None, table)
    return folder


def revise(folder: Path, revision: str, down: str | None, upgrade: str) -> None:
    """One more revision."""
    text = REVISION.format(revision=revision, down=down, upgrade=upgrade)
    (folder / "migrations" / "versions" / f"{revision}.py").write_text(text)


def test_flask_migrate_lands_notices_what_is_missing_and_goes_back(
    whole_sandbox: Sandbox, sandbox: Sandbox, tmp_path: Path
) -> None:
    app = whole_sandbox.create_app(f"flask-{next(_numbers)}", config={"HEROKU_API_KEY": whole_sandbox.key})
    hook = Hook(app=app, folder=flask_app(tmp_path / "flask", app))
    first = hook.run()
    assert first.ended == (0, "released", None)
    assert first.named("framework_detected")[0]["framework"] == "Flask-Migrate"
    assert warnings(first) == {}

    sandbox.forget_requests()
    assert hook.run(**UNASKED).ended == (0, "released", None)
    assert [each for each in sandbox.requests() if each["path"].startswith("/client")] == []

    revise(hook.folder, "0002", "0001", 'op.add_column("course", sa.Column("price", sa.Integer))')
    columns = "title = db.Column(db.String); price = db.Column(db.Integer); seats = db.Column(db.Integer)"
    (hook.folder / "app.py").write_text(FLASK_APP.format(columns=columns))
    second = hook.run()
    assert second.ended == (0, "released", None)
    assert "seats" in warnings(second)["missing_migrations"]

    (hook.folder / "migrations" / "versions" / "0002.py").unlink()
    shutil.rmtree(hook.folder / "migrations" / "versions" / "__pycache__", ignore_errors=True)
    before = picture(sandbox.superuser_url(app))
    older = hook.run(**UNASKED)
    assert older.ended == (0, "released", None)
    assert "not in this code: 0002" in warnings(older)["database_ahead"]
    assert picture(sandbox.superuser_url(app)) == before
