"""A restore by hand: what is shown and asked first, what is refused, and what the database is afterwards."""

from __future__ import annotations

import json
import os
import signal

import psycopg
import pytest

from heroku_sandbox import Action, App, Reset, Sandbox, TransferAction
from tests.commands.test_console import on_a_terminal, settled
from tests.hook import Hook, finish, small_app
from tests.judge import execute, picture, query
from tests.others import at_event
from tests.phase.test_nothing_lost import migrating, wait_for

BROKEN = "ALTER TABLE learners DROP COLUMN points;\nSELECT 1 / 0;\n"
SLOW = "ALTER TABLE learners DROP COLUMN points;\nSELECT pg_sleep(60);\n"


@pytest.fixture
def before(sandbox: Sandbox, app: App) -> str:
    """The database before the release."""
    return picture(sandbox.superuser_url(app))


@pytest.fixture
def released(before: str, hook: Hook) -> Hook:
    """An app whose release has made b001 of `before`, and somebody has written since."""
    assert before
    assert hook.run().exit_code == 0
    execute(hook.app.database_url, "INSERT INTO learners (name) VALUES ('after the release')")
    return hook


def test_the_database_is_what_the_backup_holds_and_what_was_there_is_kept(
    released: Hook, before: str, sandbox: Sandbox, app: App
) -> None:
    now = picture(sandbox.superuser_url(app))

    result = released.run("restore", "b001", "--yes")

    assert result.ended == (0, "restored", None)
    assert (result.last["backup"], result.last["salvage"], result.last["restore"]) == ("b001", "b002", "r003")
    assert result.last["facts"] == {"proof": "fingerprint"}
    assert picture(sandbox.superuser_url(app)) == before
    assert (app.maintenance(), app.formation()["worker"]) == (False, 2)
    (planned,) = result.named("restore_planned")
    assert planned["written"]["public.learners"].startswith("1 inserted, 300 updated, 0 deleted")
    assert "released since then: v7" in " ".join(planned["notes"])

    back = released.run("restore", "b002", "--yes")

    assert back.ended == (0, "restored", None)
    assert back.last["facts"] == {"proof": "fingerprint"}
    assert picture(sandbox.superuser_url(app)) == now
    assert released.run().ended == (0, "released", None)


def test_rows_that_will_be_lost_are_shown_by_table(released: Hook, app: App) -> None:
    execute(app.database_url, "INSERT INTO learners (name) SELECT 'late' FROM generate_series(1, 41)")

    result = released.run("restore", "b001")

    assert result.ended == (3, "refused", "not_confirmed")
    (planned,) = result.named("restore_planned")
    assert "42 inserted" in planned["written"]["public.learners"]


def test_it_is_refused_without_a_terminal_and_without_yes(released: Hook, sandbox: Sandbox, app: App) -> None:
    now = picture(sandbox.superuser_url(app))

    assert released.run("restore", "b001").ended == (3, "refused", "not_confirmed")
    assert picture(sandbox.superuser_url(app)) == now
    assert len(app.transfers()) == 1


def test_on_a_terminal_the_app_s_name_has_to_be_typed(released: Hook, before: str, sandbox: Sandbox, app: App) -> None:
    exit_code, shown = on_a_terminal(released, "restore", "b001", typed="yes")
    assert exit_code == 3
    assert f"{app.name} was not typed; nothing was changed" in " ".join(settled(shown).split())

    exit_code, shown = on_a_terminal(released, "restore", "b001", typed=app.name)

    assert exit_code == 0, shown
    assert "will be lost in public.learners" in settled(shown)
    assert "proved against the fingerprint inside it" in " ".join(settled(shown).split())
    assert picture(sandbox.superuser_url(app)) == before


def test_a_fence_that_stays_up_is_no_good_end(released: Hook, app: App, sandbox: Sandbox) -> None:
    def refuse() -> None:
        sandbox.fault(Action.ANSWER, "^/apps/[^/]+$", method="PATCH", times=None, status=422, effect=False, body="{}")

    result = at_event(released.start("restore", "b001", "--yes"), "fence_raised", refuse)

    assert (result.exit_code, result.last["outcome"], app.maintenance()) == (1, "restored", True)
    assert f"heroku maintenance:off --app {app.name}" in result.last["hint"]
    assert result.last["facts"] == {"fence": "up", "proof": "fingerprint"}


def test_it_refuses_while_a_release_runs(released: Hook, app: App) -> None:
    with psycopg.connect(app.database_url, autocommit=True, application_name="release-hook-other") as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [0x52454C45415345])
        result = released.run("restore", "b001", "--yes")

    assert result.ended == (3, "refused", "locked")


@pytest.mark.thin(2)
@pytest.mark.parametrize(
    ("name", "ended"), [("b099", (2, None, "backup_unknown")), ("r001", (2, None, "backup_unknown"))]
)
def test_an_unknown_backup_is_a_usage_error(released: Hook, name: str, ended: tuple[object, ...]) -> None:
    assert released.run("restore", name, "--yes").ended == ended


def test_a_backup_of_another_database_is_refused(released: Hook, app: App) -> None:
    other = app.add_database(plan="standard-0", name=f"other-{app.name}")
    app.connection.request("POST", f"/client/v11/databases/{other['id']}/backups")
    wait_for(lambda: all(each["finished_at"] for each in app.transfers()))

    assert released.run("restore", "b002", "--yes").ended == (3, "refused", "other_backup")


def test_a_backup_that_somebody_made_by_hand_is_restored_and_it_is_said_that_nothing_proves_it(
    released: Hook, sandbox: Sandbox, app: App
) -> None:
    app.connection.request("POST", f"/client/v11/databases/{app.addon_id}/backups")
    wait_for(lambda: all(each["finished_at"] for each in app.transfers()))
    now = picture(sandbox.superuser_url(app))
    execute(app.database_url, "DROP TABLE learners")

    result = released.run("restore", "b002", "--yes")

    assert result.ended == (0, "restored", None)
    assert result.last["facts"] == {"proof": "none"}
    assert "structure_unproved" in result.last["warnings"]
    assert picture(sandbox.superuser_url(app)) == now
    assert (app.maintenance(), app.formation()["worker"]) == (False, 2)


@pytest.mark.parametrize("reset", Reset)
def test_a_backup_made_by_hand_costs_no_other_credential_its_rights(
    released: Hook, sandbox: Sandbox, app: App, reset: Reset
) -> None:
    sandbox.set_options(reset=reset)
    reader = app.add_credential("reader")["user"]
    execute(app.database_url, "CREATE TABLE gone_by_now (n integer)", "CREATE FUNCTION f() RETURNS int RETURN 1")
    app.connection.request("POST", f"/client/v11/databases/{app.addon_id}/backups")
    wait_for(lambda: all(each["finished_at"] for each in app.transfers()))
    execute(
        app.database_url,
        f"GRANT SELECT ON learners TO {reader}",
        "REVOKE EXECUTE ON FUNCTION f FROM PUBLIC",
        "DROP TABLE gone_by_now",
        "CREATE TABLE not_there_yet (n integer)",
        f"GRANT SELECT ON not_there_yet TO {reader}",
    )

    result = released.run("restore", "b002", "--yes")

    assert result.ended == (0, "restored", None)
    assert result.last["warnings"] == ["structure_unproved"]
    may = (
        f"has_schema_privilege('{reader}', 'public', 'USAGE')",
        f"has_table_privilege('{reader}', 'learners', 'SELECT')",
        f"has_table_privilege('{reader}', 'gone_by_now', 'SELECT')",
        f"has_function_privilege('{reader}', 'f()', 'EXECUTE')",
    )
    assert query(app.database_url, f"SELECT {', '.join(may)}") == [(True, True, False, False)]
    assert app.maintenance() is False


def test_a_database_that_a_broken_restore_left_half_full_is_repaired(
    released: Hook, before: str, sandbox: Sandbox, app: App
) -> None:
    small_app(released.folder, {"002": BROKEN})
    sandbox.transfer_fault("restore", TransferAction.WIPE, times=None)
    assert released.run().ended == (4, "restore_failed", "restore_failed")
    assert app.maintenance() is True
    sandbox.clear_faults()
    assert released.run().ended == (3, "refused", "unfinished_restore")

    result = released.run("restore", "b001", "--yes")

    assert result.ended == (0, "restored", None)
    assert picture(sandbox.superuser_url(app)) == before
    assert (app.maintenance(), app.formation()["worker"]) == (False, 2)
    (released.folder / "migrations" / "002.sql").unlink()
    assert released.run().ended == (0, "released", None)


def test_a_run_that_was_cut_off_is_settled_by_a_restore_by_hand(
    released: Hook, before: str, sandbox: Sandbox, app: App
) -> None:
    small_app(released.folder, {"002": SLOW})
    process = released.start()
    wait_for(migrating(app))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()

    assert released.run("restore", "b001", "--yes").ended == (0, "restored", None)
    assert picture(sandbox.superuser_url(app)) == before
    assert released.run("recover").ended == (0, None, "nothing_to_recover")


def test_a_restore_that_fails_for_ever_is_never_called_restored(released: Hook, sandbox: Sandbox, app: App) -> None:
    sandbox.transfer_fault("restore", TransferAction.WIPE, times=None)

    result = released.run("restore", "b001", "--yes")

    assert result.ended == (4, "restore_failed", "restore_failed")
    assert result.last["salvage"] == "b002"
    assert app.maintenance() is True


def test_a_restore_that_keeps_objects_the_dump_does_not_know_is_tidied_or_not_called_proved(
    released: Hook, before: str, sandbox: Sandbox, app: App
) -> None:
    execute(app.database_url, "CREATE TABLE left_behind (n integer)")
    sandbox.transfer_fault("restore", TransferAction.KEEP_OBJECTS)

    result = released.run("restore", "b001", "--yes")

    assert result.ended == (0, "restored", None)
    assert picture(sandbox.superuser_url(app)) == before


def test_interrupted_while_heroku_restores_it_says_that_it_goes_on(
    released: Hook, before: str, sandbox: Sandbox, app: App
) -> None:
    sandbox.set_options(transfer_seconds=3)
    try:
        process = released.start("restore", "b001", "--yes")
        wait_for(lambda: any(each["to_type"] == "pg_restore" for each in app.transfers()))
        process.send_signal(signal.SIGTERM)
        result = finish(process)
        assert result.ended == (4, "handed_over", "interrupted")
        assert released.run("recover").exit_code == 0
    finally:
        sandbox.set_options(transfer_seconds=0)
    assert picture(sandbox.superuser_url(app)) == before
    assert (app.maintenance(), app.formation()["worker"]) == (False, 2)


def test_killed_between_the_salvage_and_the_restore_nothing_is_changed(
    released: Hook, sandbox: Sandbox, app: App
) -> None:
    now = picture(sandbox.superuser_url(app))
    sandbox.set_options(transfer_seconds=2)
    try:
        process = released.start("restore", "b001", "--yes")
        wait_for(lambda: len(app.transfers()) == 2)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert released.run("recover").ended[:2] == (0, "untouched")
    finally:
        sandbox.set_options(transfer_seconds=0)
    assert picture(sandbox.superuser_url(app)) == now
    assert (app.maintenance(), app.formation()["worker"]) == (False, 2)


def test_the_failed_state_can_be_looked_at_by_restoring_the_salvage(released: Hook, app: App) -> None:
    """The salvage was made in the middle of a run: its row comes back unfinished, and that is not to be undone."""
    small_app(released.folder, {"002": BROKEN})
    assert released.run().last["salvage"] == "b003"

    result = released.run("restore", "b003", "--yes")

    assert result.ended == (0, "restored", None)
    assert query(app.database_url, "SELECT count(*) FROM learners") == [(301,)]
    assert query(app.database_url, "SELECT count(*) FROM information_schema.columns WHERE column_name = 'points'") == [
        (0,)
    ]
    assert released.run("recover").ended == (0, None, "nothing_to_recover")
    assert (app.maintenance(), app.formation()["worker"]) == (False, 2)


def test_the_journal_tells_of_a_restore_by_hand(released: Hook) -> None:
    released.run("restore", "1", "--yes", HEROKU_RELEASE_VERSION=None)

    newest, older = json.loads(released.run("history", "--json").stdout)

    assert (newest["outcome"], newest["backup"], newest["salvage"], newest["restore"]) == (
        "restored",
        "b001",
        "b002",
        "r003",
    )
    assert (older["release"], older["outcome"]) == ("v7", "restored")
    assert query(released.app.database_url, "SELECT count(*) FROM release_phase.runs WHERE state <> 'finished'") == [
        (0,)
    ]
