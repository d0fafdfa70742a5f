"""The app that most benchmarks release: a small one, with a web and two worker dynos, and 300 rows to lose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heroku_sandbox import Sandbox
from tests.hook import SCHEMA, SMALL_APP, Hook, small_app
from tests.judge import execute, query

BROKEN = "ALTER TABLE learners DROP COLUMN points;\nSELECT 1 / 0;\n"
"""A migration that commits something before it fails, so that it has to be undone."""


def site(sandbox: Sandbox, folder: Path, migration: str) -> Hook:
    """The hook in an app with one migration to apply. Its commands ask for TLS, as libpq does by itself."""
    app = sandbox.create_app("site", config={"HEROKU_API_KEY": sandbox.key})
    (folder / "first").mkdir()
    (folder / "first" / "Procfile").write_text("web: true\nworker: true\n")
    app.release(folder / "first")
    app.scale(web=1, worker=2)
    execute(app.database_url, *SCHEMA.strip().split("\n"))
    environment = {**SMALL_APP, "PGSSLMODE": "prefer"}
    return Hook(app=app, folder=small_app(folder / "slug", {"001": migration}), environment=environment)


def requests(sandbox: Sandbox) -> list[dict[str, Any]]:
    """The requests to both APIs since they were forgotten last."""
    return [each for each in sandbox.requests() if each["keyed"]]


def assert_undone(hook: Hook) -> None:
    """The column that `BROKEN` drops is there again, with all its rows."""
    assert query(hook.app.database_url, "SELECT count(*), sum(points) FROM learners") == [(300, 45150)]
