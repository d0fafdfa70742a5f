"""An app that does not start, or does not reach its database: that is no pending migration, and costs no backup."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from heroku_sandbox import App, Sandbox
from tests.apps.ship import assemble
from tests.hook import Hook
from tests.judge import picture
from tests.phase.test_frameworks import UNASKED, flask_app

_numbers = itertools.count(1)

Broken = Callable[[Path], object]


@pytest.fixture(scope="module")
def empty(whole_sandbox: Sandbox) -> App:
    """An app with an empty database, in which all is pending. Nothing here may change it."""
    return whole_sandbox.create_app(f"crashing-{next(_numbers)}", config={"HEROKU_API_KEY": whole_sandbox.key})


def appended(name: str, text: str) -> Broken:
    """A change that adds lines to a file."""
    return lambda folder: (folder / name).write_text((folder / name).read_text() + text)


def elsewhere(name: str) -> Broken:
    """A change after which the app looks for its database where there is none."""
    return lambda folder: (folder / name).write_text(
        f"import os\nos.environ['DATABASE_URL'] = 'postgres://x:y@127.0.0.1:1/no'\n{(folder / name).read_text()}"
    )


def test_a_tool_whose_own_program_is_missing_costs_no_backup(hook: Hook, app: App) -> None:
    for name in ("RELEASE_PENDING_COMMAND", "RELEASE_MIGRATE_COMMAND"):
        del hook.environment[name]
    rails = hook.folder / "bin" / "rails"
    rails.parent.mkdir()
    rails.write_text("#!/usr/bin/env no-such-ruby\n")
    rails.chmod(0o755)

    result = hook.run()

    assert result.ended == (1, "untouched", "app_does_not_start")
    assert "no-such-ruby" in result.last["error"]
    assert app.transfers() == []


ODD_MODEL = """

class Odd(models.Model):
    name = models.CharField(max_length="many")
"""

APPS: dict[str, Callable[[Path, App], Path]] = {
    "Django": lambda folder, _: assemble("base", folder),
    "Alembic": lambda folder, _: assemble("base", folder, app="course_catalog"),
    "Flask-Migrate": flask_app,
}


@pytest.mark.thin(3)
@pytest.mark.parametrize(
    ("name", "change", "error"),
    [
        ("Django", appended("timeline/urls.py", "\ndef ("), "SyntaxError: "),
        ("Django", appended("timeline/settings.py", "\nimport nothere"), "ModuleNotFoundError: No module"),
        ("Django", appended("timeline/settings.py", "\nos.environ['NOT_SET']"), "KeyError: 'NOT_SET'"),
        ("Django", appended("manage.py", "\ndef ("), "SyntaxError: "),
        ("Django", elsewhere("timeline/settings.py"), "django.db.utils.OperationalError: "),
        ("Django", appended("learning/models/course.py", ODD_MODEL), "learning.Odd.name: (fields.E121) "),
        ("Alembic", appended("migrations/env.py", "\ndef ("), "SyntaxError: "),
        ("Alembic", appended("migrations/versions/0001_courses.py", "\nraise ValueError('no')"), "ValueError: no"),
        ("Alembic", elsewhere("migrations/env.py"), "OperationalError"),
        ("Flask-Migrate", appended("app.py", "\nimport nothere"), "ModuleNotFoundError: No module named 'nothere'"),
        ("Flask-Migrate", appended("app.py", "\ndef ("), "SyntaxError: "),
        ("Flask-Migrate", elsewhere("app.py"), "OperationalError"),
        ("Flask-Migrate", lambda folder: (folder / "app.py").unlink(), "Could not locate a Flask application"),
    ],
)  # fmt: skip
def test_an_app_that_does_not_start_costs_no_backup(
    empty: App, sandbox: Sandbox, tmp_path: Path, name: str, change: Broken, error: str
) -> None:
    folder = APPS[name](tmp_path / "app", empty)
    change(folder)
    before = picture(sandbox.superuser_url(empty))

    result = Hook(app=empty, folder=folder).run(**UNASKED)

    assert result.ended == (1, "untouched", "app_does_not_start")
    assert error in result.last["error"]
    assert [each["path"] for each in sandbox.requests() if each["path"].startswith("/client")] == []
    assert picture(sandbox.superuser_url(empty)) == before


LOGGED = """
import logging
try:
    raise ConnectionError("redis")
except ConnectionError:
    logging.exception("the cache is not there")
"""


@pytest.mark.thin(2)
@pytest.mark.parametrize(
    ("name", "file"),
    [("Django", "timeline/settings.py"), ("Alembic", "migrations/env.py"), ("Flask-Migrate", "app.py")],
)
def test_an_error_that_the_app_only_logs_stops_no_release(
    whole_sandbox: Sandbox, tmp_path: Path, name: str, file: str
) -> None:
    app = whole_sandbox.create_app(f"logging-{next(_numbers)}", config={"HEROKU_API_KEY": whole_sandbox.key})
    folder = APPS[name](tmp_path / "app", app)
    appended(file, LOGGED)(folder)

    result = Hook(app=app, folder=folder).run(**UNASKED)

    assert result.ended == (0, "released", None)
    assert any("ConnectionError: redis" in each["line"] for each in result.named("command_output"))
    assert len(app.transfers()) == 1


def test_a_configured_question_that_was_not_even_loaded_is_no_answer(hook: Hook, app: App) -> None:
    (hook.folder / "pending.py").write_text("import nothere\n")

    result = hook.run(RELEASE_PENDING_COMMAND="python pending.py")

    assert result.ended == (1, "untouched", "app_does_not_start")
    assert "No module named 'nothere'" in result.last["error"]
    assert app.transfers() == []


def test_a_configured_question_may_answer_with_any_other_error(hook: Hook, app: App) -> None:
    (hook.folder / "pending.py").write_text("assert False, 'something is pending'\n")

    assert hook.run(RELEASE_PENDING_COMMAND="python pending.py").last["backup"] == "b001"
    assert len(app.transfers()) >= 1


def test_new_code_that_crashes_after_its_migration_is_undone(hook: Hook, sandbox: Sandbox, app: App) -> None:
    (hook.folder / "pending.py").write_text("import os\nif os.path.exists('done'): import nothere\nassert False\n")
    before = picture(sandbox.superuser_url(app))

    result = hook.run(
        RELEASE_PENDING_COMMAND="python pending.py", RELEASE_MIGRATE_COMMAND="sh -c './migrate && touch done'"
    )

    assert result.ended == (1, "restored", "app_does_not_start")
    assert picture(sandbox.superuser_url(app)) == before
