"""Runs in the journal that are not this app's, and unfinished ones of which nothing but the row is left."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from heroku_sandbox import Action, App, Reset, Sandbox
from release.database.journal import TABLES
from tests.conftest import GOOD
from tests.hook import POSTGRES_BIN, SMALL_APP, Hook, finish, small_app
from tests.judge import execute, picture, query
from tests.phase.test_nothing_lost import SLOW, migrating, wait_for

FORGET_ORIGIN = "UPDATE release_phase.runs SET app_id = NULL, addon_id = NULL, system_id = NULL, database = NULL"
AS_VERSION_1 = (
    "ALTER TABLE release_phase.runs DROP app_id, DROP addon_id, DROP system_id, DROP database, DROP code_version,"
    " DROP xids"
)


_numbers = itertools.count(1)


def cut_off(hook: Hook, app: App, **changes: str | None) -> None:
    """A run that was killed in the middle of a migration which has dropped a column."""
    small_app(hook.folder, {"002": SLOW})
    process = hook.start(**changes)
    wait_for(migrating(app))
    os.killpg(process.pid, signal.SIGKILL)
    finish(process)


def copy(source: App, target: App, folder: Path) -> None:
    """Loads a dump of one app's database into another's, journal included."""
    dump = folder / "production.dump"
    subprocess.run([POSTGRES_BIN / "pg_dump", "-Fc", "-f", dump, source.database_url], check=True)
    load = [str(POSTGRES_BIN / "pg_restore"), "--no-owner", "--no-privileges", "--clean", "--if-exists"]
    subprocess.run([*load, "-d", target.database_url, dump], check=False)


@pytest.fixture
def staging(sandbox: Sandbox, first_slug: Path, tmp_path: Path) -> Hook:
    """Another app with a database of its own, whose worker somebody has stopped."""
    app = sandbox.create_app(f"staging-{next(_numbers)}", config={"HEROKU_API_KEY": "sandbox"})
    app.release(first_slug)
    app.scale(web=1, worker=0)
    return Hook(app=app, folder=small_app(tmp_path / "staging", {"001": GOOD}), environment=dict(SMALL_APP))


@pytest.mark.parametrize("origin", [(), (FORGET_ORIGIN,), (AS_VERSION_1,)], ids=["known", "unknown", "version 1"])
def test_a_production_dump_in_staging_is_history_and_nothing_more(
    hook: Hook, app: App, sandbox: Sandbox, staging: Hook, tmp_path: Path, origin: tuple[str, ...]
) -> None:
    cut_off(hook, app, RELEASE_FENCE="release")
    copy(app, staging.app, tmp_path)
    execute(staging.app.database_url, *origin)
    small_app(staging.folder, {"002": "SELECT 1;\n", "003": "CREATE TABLE notes (n integer);\n"})
    sandbox.forget_requests()

    recovered = staging.run("recover")
    released = staging.run()

    assert recovered.ended == (0, None, "nothing_to_recover")
    assert released.ended == (0, "released", None)
    assert sandbox.count("PATCH") == 0
    assert (staging.app.maintenance(), staging.app.formation()["worker"]) == (False, 0)
    assert query(staging.app.database_url, "SELECT state, fence FROM release_phase.runs ORDER BY started_at") == [
        ("migrating", "release"),
        ("finished", None),
    ]
    if not origin:
        newest, older = json.loads(staging.run("history", "--json").stdout)
        assert (newest["foreign"], older["foreign"]) == (False, True)
        assert f"foreign, of {app.name}, database" in staging.run("history").stdout.decode()
        assert "recover" not in staging.run("history", older["run_id"]).stdout.decode()


def _backup_gone(app: App, _: Sandbox) -> None:
    for transfer in app.transfers():
        execute(app.database_url, f"UPDATE release_phase.runs SET backup = 'no-{transfer['uuid']}'")


def _fingerprint_gone(app: App, _: Sandbox) -> None:
    execute(app.database_url, "UPDATE release_phase.runs SET fingerprint = NULL")


def _fingerprint_unreadable(app: App, _: Sandbox) -> None:
    execute(app.database_url, "UPDATE release_phase.runs SET fingerprint = 'of another time'")


def _detached(_: App, sandbox: Sandbox) -> None:
    sandbox.fault(Action.ANSWER, "^/apps/[^/]+/addon-attachments", status=404, times=None)


@pytest.mark.thin(2)
@pytest.mark.parametrize("gone", [_backup_gone, _fingerprint_gone, _fingerprint_unreadable, _detached])
@pytest.mark.parametrize("fence", ["release", "restore"])
def test_to_keep_what_is_there_the_row_is_enough(
    hook: Hook, app: App, sandbox: Sandbox, gone: Callable[[App, Sandbox], None], fence: str
) -> None:
    cut_off(hook, app, RELEASE_FENCE=fence)
    gone(app, sandbox)

    kept = hook.run("recover", "--keep")

    assert kept.ended == (0, "kept", "cut_off")
    assert query(app.database_url, "SELECT state, outcome, fence FROM release_phase.runs") == [
        ("finished", "kept", None)
    ]
    assert (app.maintenance(), app.formation()["worker"]) == (False, 2)
    assert hook.run("recover", "--keep").ended == (0, None, "nothing_to_recover") or gone is _detached


@pytest.mark.parametrize("key", [None, "revoked-4f1c"])
def test_without_the_key_it_is_kept_and_the_last_line_says_what_to_paste(hook: Hook, app: App, key: str | None) -> None:
    cut_off(hook, app, RELEASE_FENCE="release")

    kept = hook.run("recover", "--keep", HEROKU_API_KEY=key, RELEASE_FENCE="release")

    assert kept.ended == (4, "kept", "cut_off")
    assert (
        f"heroku ps:scale web=1 worker=2 --app {app.name}; heroku maintenance:off --app {app.name}" in kept.last["hint"]
    )
    assert query(app.database_url, "SELECT state, outcome, fence FROM release_phase.runs") == [
        ("finished", "kept", "release")
    ]
    assert app.maintenance() is True
    # Once there is a key again, any run lowers it.
    assert hook.run("recover").exit_code == 0
    assert (app.maintenance(), app.formation()["worker"]) == (False, 2)


def test_keeping_ends_what_the_dead_run_s_migration_has_left_running(hook: Hook, app: App) -> None:
    cut_off(hook, app)
    assert migrating(app)()
    assert hook.run("recover", "--keep", HEROKU_API_KEY=None).ended == (0, "kept", "cut_off")
    assert not migrating(app)()


def test_a_row_of_the_same_database_s_other_app_is_not_kept_either(hook: Hook, app: App) -> None:
    cut_off(hook, app, RELEASE_FENCE="release")
    execute(app.database_url, "UPDATE release_phase.runs SET app_id = 'another'")
    assert hook.run("recover", "--keep").ended == (0, None, "nothing_to_recover")
    assert query(app.database_url, "SELECT state, fence FROM release_phase.runs") == [("migrating", "release")]
    assert app.maintenance() is True


OTHER_VERSION = "UPDATE release_phase.runs SET fingerprint = (fingerprint::jsonb #- '{kinds,columns}')::text"
FIRST_VERSION = "UPDATE release_phase.runs SET fingerprint = (fingerprint::jsonb - 'kinds' || '{\"version\": 1}')::text"
NO_DOCUMENT = "UPDATE release_phase.runs SET fingerprint = 'of another time'"


@pytest.mark.parametrize("document", [OTHER_VERSION, FIRST_VERSION, NO_DOCUMENT])
def test_a_run_of_another_version_is_restored_and_proved_by_what_both_know(
    hook: Hook, app: App, sandbox: Sandbox, document: str
) -> None:
    sandbox.set_options(reset=Reset.DATABASE)  # the other one takes a grant away, which such a document does not name
    before = picture(sandbox.superuser_url(app))
    # As the other version wrote it, so that the dump holds it: the capture is begun a moment later.
    execute(app.database_url, *_rewriting(document))
    cut_off(hook, app)
    before_recovery = hook.run("recover")

    recovered = hook.run("recover", "--restore")

    assert before_recovery.ended == (3, "refused", "unfinished_run")
    assert recovered.ended == (0, "restored", "cut_off")
    assert picture(sandbox.superuser_url(app)) == before
    said = [each["detail"] for each in recovered.named("warning_raised") if each["warning"] == "compared_in_part"]
    # The first version knew columns as they are written now, but not publications; the others know no columns.
    assert said
    assert all(("publication" if document is FIRST_VERSION else "columns") in each for each in said)


def _rewriting(statement: str) -> list[str]:
    """A journal whose rows get their fingerprint changed as soon as it is written."""
    changed = statement.partition(" = ")[2].replace("fingerprint::", "NEW.fingerprint::")
    return [
        TABLES,
        "CREATE FUNCTION release_phase.rewrite() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF OLD.fingerprint IS NULL AND NEW.fingerprint IS NOT NULL THEN NEW.fingerprint = {changed}; END IF;"
        " RETURN NEW; END $$",
        "CREATE TRIGGER rewrite BEFORE UPDATE ON release_phase.runs FOR EACH ROW"
        " EXECUTE FUNCTION release_phase.rewrite()",
    ]
