"""Releases that are no push: Heroku runs the release phase for them all, and each has its documented end."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from heroku_sandbox import App, Release, Sandbox
from tests.hook import PATH, ROOT, SMALL_APP, small_app
from tests.judge import picture, query

REVIEW = json.loads((ROOT / "app.json").read_text())["environments"]["review"]
FIRST = "CREATE TABLE learners (name text);\n"
_numbers = itertools.count(1)


@pytest.fixture
def slug(tmp_path: Path) -> Path:
    """An app whose first migration makes all there is."""
    folder = small_app(tmp_path / "slug", {"001": FIRST})
    script = (folder / "migrate").read_text()
    create = 'psql -Xqc "CREATE TABLE IF NOT EXISTS alembic_version (version_num text PRIMARY KEY)" "$DATABASE_URL"\n'
    (folder / "migrate").write_text(script.replace("set -eu\n", f"set -eu\n{create}"))
    return folder


def create(sandbox: Sandbox, *, plan: str = "standard-0", **config: str) -> App:
    """A fresh app with the hook's settings."""
    return sandbox.create_app(f"special-{next(_numbers)}", plan=plan, config={**SMALL_APP, **config})


def last(release: Release) -> dict[str, Any]:
    """The release's last line; a release phase that did not run has none."""
    lines = [line for line in release.output.splitlines() if line.startswith("{")]
    found: dict[str, Any] = json.loads(lines[-1])
    assert found["event"] == "release_finished", release.output
    return found


def outcome(release: Release) -> tuple[str, str | None, str | None]:
    """The release's status, and the run's outcome and reason."""
    found = last(release)
    return release.status, found["outcome"], found["reason"]


def test_a_review_apps_first_release_finds_an_empty_database_and_needs_no_key(sandbox: Sandbox, slug: Path) -> None:
    given = {name: each["value"] for name, each in REVIEW["env"].items() if "value" in each}
    app = create(sandbox, **given, HEROKU_PR_NUMBER="7", HEROKU_BRANCH="try-it")

    release = app.release(slug, path=PATH)

    assert outcome(release) == ("succeeded", "released", None), release.output
    assert query(app.database_url, "SELECT count(*) FROM learners") == [(0,)]
    assert app.transfers() == []
    assert "HEROKU_API_KEY" not in given


def test_a_review_app_holds_no_key_of_production() -> None:
    assert "value" not in REVIEW["env"].get("HEROKU_API_KEY", {})
    assert REVIEW["env"]["RELEASE_BACKUP"]["value"] == "off"
    assert REVIEW["addons"], "the add-on has to stand here, or the first release finds no database"


def test_the_first_release_of_all_backs_up_the_empty_database(sandbox: Sandbox, slug: Path) -> None:
    app = create(sandbox, HEROKU_API_KEY=sandbox.key)

    assert outcome(app.release(slug, path=PATH)) == ("succeeded", "released", None)
    assert len(app.transfers()) == 1


def test_a_first_release_that_fails_leaves_the_database_as_empty_as_it_was(sandbox: Sandbox, slug: Path) -> None:
    app = create(sandbox, HEROKU_API_KEY=sandbox.key)
    before = picture(sandbox.superuser_url(app))
    (slug / "migrations" / "002.sql").write_text("SELECT 1 / 0;\n")

    status, ended, _ = outcome(app.release(slug, path=PATH))

    assert (status, ended) == ("failed", "restored")
    assert picture(sandbox.superuser_url(app)) == before


def test_without_a_database_the_release_is_refused_and_the_one_that_attaches_it_works(
    sandbox: Sandbox, slug: Path
) -> None:
    app = create(sandbox, plan="none", HEROKU_API_KEY=sandbox.key)

    assert outcome(app.release(slug, path=PATH)) == ("failed", "refused", "no_database")

    app.set_config({"HEROKU_API_KEY": app.key})
    added = app.add_database(plan="standard-0")
    assert added["attached_as"] == ["DATABASE"]
    assert outcome(app.release(slug, path=PATH)) == ("succeeded", "released", None)


def deployed(sandbox: Sandbox, slug: Path) -> App:
    """An app that is at its first migration."""
    app = create(sandbox, HEROKU_API_KEY=sandbox.key)
    release = app.release(slug, path=PATH)
    assert release.status == "succeeded", release.output
    sandbox.forget_requests()
    return app


def nothing_asked(sandbox: Sandbox) -> bool:
    """Whether the hook asked Heroku's Data API for nothing."""
    return not [each for each in sandbox.requests() if each["path"].startswith("/client")]


def test_a_config_change_with_nothing_pending_asks_for_nothing(sandbox: Sandbox, slug: Path) -> None:
    app = deployed(sandbox, slug)

    assert outcome(app.set_config({"GREETING": "hello"})) == ("succeeded", "released", None)
    assert nothing_asked(sandbox)


def test_provisioning_an_addon_with_nothing_pending_asks_for_nothing(sandbox: Sandbox, slug: Path) -> None:
    app = deployed(sandbox, slug)

    app.add_database(plan="standard-0")

    release = app.wait(app.releases()[0]["version"])
    assert outcome(release) == ("succeeded", "released", None)
    assert nothing_asked(sandbox)


def test_a_rollback_with_nothing_pending_succeeds_and_leaves_the_database(sandbox: Sandbox, slug: Path) -> None:
    app = deployed(sandbox, slug)
    version = app.releases()[0]["version"]
    (slug / "migrations" / "002.sql").write_text("ALTER TABLE learners ADD COLUMN points integer;\n")
    assert app.release(slug, path=PATH).status == "succeeded"
    before = picture(sandbox.superuser_url(app))
    sandbox.forget_requests()

    assert outcome(app.rollback(version)) == ("succeeded", "released", None)
    assert picture(sandbox.superuser_url(app)) == before
    assert nothing_asked(sandbox)


def test_a_promotions_detach_is_refused_and_its_attach_protects_the_new_database(sandbox: Sandbox, slug: Path) -> None:
    app = deployed(sandbox, slug)
    old = app.database_url
    copy = app.add_database(plan="standard-0", fork=app.addon_name)
    app.wait(app.releases()[0]["version"])
    (slug / "migrations" / "002.sql").write_text("ALTER TABLE learners ADD COLUMN points integer;\n")

    detach, attach = app.promote(copy["name"])

    assert outcome(detach) == ("failed", "refused", "no_database")
    assert outcome(attach) == ("succeeded", "released", None)
    assert app.config["DATABASE_URL"] == copy["url"]
    assert app.release(slug, path=PATH).status == "succeeded"
    columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'learners'::regclass AND attname = 'points'"
    assert (query(old, columns), query(copy["url"], columns)) == ([(0,)], [(1,)])


def test_a_release_that_is_retried_after_a_failure_starts_afresh(sandbox: Sandbox, slug: Path) -> None:
    app = deployed(sandbox, slug)
    before = picture(sandbox.superuser_url(app))
    (slug / "migrations" / "002.sql").write_text("ALTER TABLE learners DROP COLUMN name;\nSELECT 1 / 0;\n")
    for _ in range(2):
        assert outcome(app.release(slug, path=PATH)) == ("failed", "restored", "migration_failed")
        assert picture(sandbox.superuser_url(app)) == before
    assert app.maintenance() is False
