"""The thread through everything: what lands, what is undone, and what the database looks like afterwards."""

from __future__ import annotations

import pytest

from heroku_sandbox import App, Sandbox
from tests.hook import Hook, small_app
from tests.judge import execute, picture, query

BROKEN = "ALTER TABLE learners DROP COLUMN points;\nUPDATE learners SET name = upper(name);\nSELECT 1 / 0;\n"
BROKEN_AT_ONCE = "BEGIN;\nALTER TABLE learners ADD COLUMN age integer;\nSELECT 1 / 0;\nCOMMIT;\n"
RENAMED = "ALTER TABLE learners RENAME COLUMN name TO full_name;\n"


def test_a_good_release_lands_with_a_backup_taken_before_it(hook: Hook, app: App) -> None:
    result = hook.run()

    assert result.ended == (0, "released", None)
    assert query(app.database_url, "SELECT count(*), min(nickname) FROM learners") == [(300, "lea")]
    (backup,) = app.transfers()
    assert (backup["from_type"], backup["succeeded"]) == ("pg_dump", True)
    assert result.last["backup"] == "b001"


def test_nothing_pending_asks_heroku_for_nothing(hook: Hook, sandbox: Sandbox, app: App) -> None:
    hook.run()
    sandbox.forget_requests()
    before = picture(sandbox.superuser_url(app))

    result = hook.run()

    assert result.ended == (0, "released", None)
    assert [each for each in sandbox.requests() if each["path"].startswith(("/apps", "/client", "/addons"))] == []
    assert picture(sandbox.superuser_url(app)) == before


def test_a_migration_that_fails_half_way_is_undone(hook: Hook, sandbox: Sandbox, app: App) -> None:
    small_app(hook.folder, {"002": BROKEN})
    before = picture(sandbox.superuser_url(app))

    result = hook.run()

    assert result.ended == (1, "restored", "migration_failed")
    assert picture(sandbox.superuser_url(app)) == before
    assert (result.last["backup"], result.last["salvage"], result.last["restore"]) == ("b001", "b002", "r003")
    assert app.formation()["worker"] == 2
    assert app.maintenance() is False


def test_a_failing_probe_undoes_a_migration_that_went_well(hook: Hook, sandbox: Sandbox, app: App) -> None:
    small_app(hook.folder, {"002": RENAMED})
    before = picture(sandbox.superuser_url(app))

    result = hook.run(RELEASE_PROBE_SQL="SELECT count(name) > 0 FROM learners")

    assert result.ended == (1, "restored", "probe_failed")
    assert "does not exist" in result.named("probe_failed")[0]["detail"]
    assert picture(sandbox.superuser_url(app)) == before


def test_a_migration_that_rolled_back_by_itself_is_not_restored(hook: Hook, sandbox: Sandbox, app: App) -> None:
    hook.run()
    small_app(hook.folder, {"002": BROKEN_AT_ONCE})
    before = picture(sandbox.superuser_url(app))
    sandbox.forget_requests()

    result = hook.run()

    assert result.ended == (1, "untouched", "migration_failed")
    assert picture(sandbox.superuser_url(app)) == before
    assert sandbox.count("POST", "/client/v11/databases/:db/restores") == 0


@pytest.mark.parametrize(("policy", "outcome"), [("never", "kept"), ("if-changed", "restored")])
def test_the_policy_decides_whether_a_changed_database_is_restored(hook: Hook, policy: str, outcome: str) -> None:
    small_app(hook.folder, {"002": BROKEN})

    assert hook.run(RELEASE_RESTORE=policy).last["outcome"] == outcome


def test_rows_alone_are_kept_where_the_policy_asks_for_a_changed_schema(hook: Hook) -> None:
    hook.run()
    small_app(hook.folder, {"002": "UPDATE learners SET points = 0;\nSELECT 1 / 0;\n"})

    assert hook.run(RELEASE_RESTORE="if-changed").ended == (4, "kept", "migration_failed")


def test_grants_of_other_credentials_are_put_back_after_a_restore(hook: Hook, sandbox: Sandbox, app: App) -> None:
    reader = app.add_credential("reader")
    role = reader["user"]
    execute(
        app.database_url,
        f'GRANT USAGE ON SCHEMA public TO "{role}"',
        f'GRANT SELECT (name), UPDATE (points) ON learners TO "{role}"',
    )
    small_app(hook.folder, {"002": BROKEN})
    before = picture(sandbox.superuser_url(app))

    assert hook.run().last["outcome"] == "restored"
    assert picture(sandbox.superuser_url(app)) == before


def test_without_a_backup_a_failed_migration_is_kept_and_said_so(hook: Hook) -> None:
    small_app(hook.folder, {"002": BROKEN})

    result = hook.run(RELEASE_BACKUP="off", HEROKU_API_KEY=None)

    assert result.ended == (4, "kept", "migration_failed")
    assert result.named("warning_raised")[0]["warning"] == "backup_off"


def test_the_key_reaches_neither_the_child_nor_the_log(hook: Hook) -> None:
    (hook.folder / "migrate").write_text("#!/bin/sh\nenv; echo $DATABASE_URL\nexit 3\n")

    result = hook.run(HEROKU_API_KEY="HRKU-a-very-secret-key-0123456789")

    assert b"very-secret" not in result.stdout + result.stderr
    assert hook.app.database_url.encode() not in result.stdout
    assert "HEROKU_API_KEY=" not in "".join(each["line"] for each in result.named("command_output"))


def test_the_release_runs_in_the_sandbox_as_heroku_runs_it(app: App, hook: Hook, sandbox: Sandbox) -> None:
    app.set_config(dict(hook.environment))
    small_app(hook.folder, {"002": BROKEN})
    before = picture(sandbox.superuser_url(app))

    release = app.release(hook.folder, path=hook.environ()["PATH"])

    assert release.status == "failed", release.output
    assert '"outcome":"restored"' in release.output
    assert picture(sandbox.superuser_url(app)) == before
