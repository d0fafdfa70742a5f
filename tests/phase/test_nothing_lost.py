"""Fence, salvage, lock, journal, interruption: nothing anybody wrote is lost without a copy."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg
import pytest

from heroku_sandbox import Action, App, Sandbox, TransferAction
from tests.hook import SCHEMA, Hook, finish, small_app
from tests.judge import execute, picture, query, running

BROKEN = "ALTER TABLE learners DROP COLUMN points;\nSELECT 1 / 0;\n"
SLOW = "ALTER TABLE learners DROP COLUMN points;\nSELECT pg_sleep(60);\n"


def wait_for(what: Callable[[], object], within: float = 20) -> None:
    """Waits until something is so; a database that is being replaced cannot be asked for a moment."""
    ends = time.monotonic() + within
    while True:
        with suppress(psycopg.Error, subprocess.CalledProcessError):
            if what():
                return
        assert time.monotonic() < ends, "waited too long"
        time.sleep(0.05)


def migrating(app: App) -> Callable[[], object]:
    """Whether the slow migration has dropped its column and sleeps."""
    return lambda: running(app.database_url, "pg_sleep(60)")


def test_two_releases_at_once_run_one_after_the_other(hook: Hook, app: App) -> None:
    first, second = hook.start(), hook.start()
    results = [finish(first), finish(second)]

    assert [each.ended for each in results] == [(0, "released", None)] * 2
    assert len(app.transfers()) == 1


def test_a_lock_that_is_not_released_names_its_holder(hook: Hook, app: App) -> None:
    with psycopg.connect(app.database_url, autocommit=True, application_name="release-hook-other") as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [0x52454C45415345])
        result = hook.run(RELEASE_LOCK_WAIT="0.5")
        (pid,) = holder.execute("SELECT pg_backend_pid()").fetchall()[0]

    assert result.ended == (3, "refused", "locked")
    found = re.fullmatch(
        r".*: release-hook-other \(pid (\d+), connected since \d{4}-\d\d-\d\d [\d:]{8} UTC\);"
        r" to end it: SELECT pg_terminate_backend\((\d+)\)",
        result.last["error"],
    )
    assert found is not None, result.last
    assert found.groups() == (str(pid), str(pid))


def test_the_salvage_holds_what_others_wrote_after_the_backup(hook: Hook, app: App) -> None:
    small_app(hook.folder, {"002": "INSERT INTO learners (name) VALUES ('by the app');\nSELECT 1 / 0;\n"})

    result = hook.run()

    assert result.last["outcome"] == "restored"
    kinds = [(each["kind"], each["transfer"]) for each in result.named("transfer_finished")]
    assert kinds == [("backup", "b001"), ("salvage", "b002"), ("restore", "r003")]
    (salvage,) = [each for each in app.transfers() if int(each["num"]) == 2]
    assert salvage["succeeded"] is True


def test_the_salvage_never_rotates_out_the_backup_to_be_restored(sandbox: Sandbox, hook: Hook, app: App) -> None:
    other = sandbox.create_app(f"keeps-one-{app.name}", num_keep=1, config={"HEROKU_API_KEY": sandbox.key})
    hook.app = other
    execute(other.database_url, "CREATE TABLE alembic_version (version_num text)", "CREATE TABLE learners (points int)")
    small_app(hook.folder, {"002": BROKEN})
    before = picture(sandbox.superuser_url(other))

    result = hook.run()

    assert result.ended == (1, "restored", "migration_failed")
    assert result.last["salvage"] is None
    assert "rotate" in next(e["detail"] for e in result.named("warning_raised") if e["warning"] == "not_salvaged")
    assert picture(sandbox.superuser_url(other)) == before


def test_an_operators_own_maintenance_mode_stays_on(hook: Hook, app: App) -> None:
    app.connection.request("PATCH", f"/apps/{app.id}", {"maintenance": True})
    small_app(hook.folder, {"002": BROKEN})

    assert hook.run().last["outcome"] == "restored"
    assert app.maintenance() is True
    assert app.formation()["worker"] == 2


def test_the_fence_of_a_whole_release_keeps_others_out_and_is_lowered(hook: Hook, app: App) -> None:
    (hook.folder / "migrations" / "001.sql").write_text("SELECT pg_sleep(0.5);\n")
    process = hook.start(RELEASE_FENCE="release")
    wait_for(lambda: app.maintenance() and app.formation()["worker"] == 0)
    result = finish(process)

    assert result.ended == (0, "released", None)
    assert app.maintenance() is False
    assert app.formation()["worker"] == 2


@pytest.mark.thin(2)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_in_the_migration_hands_the_restore_to_another_dyno(
    hook: Hook, app: App, sandbox: Sandbox, number: signal.Signals
) -> None:
    app.set_config(dict(hook.environment))
    app.release(small_app(hook.folder, {}), path=hook.environ()["PATH"])
    small_app(hook.folder, {"002": SLOW})
    before = picture(sandbox.superuser_url(app))
    process = hook.start()
    wait_for(migrating(app))

    began = time.monotonic()
    process.send_signal(number)
    result = finish(process)

    assert time.monotonic() - began < 25
    assert result.ended == (4, "handed_over", "interrupted")
    wait_for(lambda: picture(sandbox.superuser_url(app)) == before and not app.maintenance(), within=40)
    wait_for(lambda: app.formation()["worker"] == 2)
    assert query(app.database_url, "SELECT outcome FROM release_phase.runs ORDER BY started_at DESC LIMIT 1") == [
        ("restored",)
    ]


def test_on_fir_the_dyno_that_takes_over_is_started_by_its_launcher(hook: Hook, app: App, sandbox: Sandbox) -> None:
    fir = sandbox.create_app(f"fir-{app.name}", stack="cnb", config={"HEROKU_API_KEY": sandbox.key})
    execute(fir.database_url, *SCHEMA.strip().split("\n"))
    hook.app = fir
    fir.set_config(dict(hook.environment))
    fir.release(small_app(hook.folder, {}), path=hook.environ()["PATH"])
    small_app(hook.folder, {"002": SLOW})
    before = picture(sandbox.superuser_url(fir))
    process = hook.start()
    wait_for(migrating(fir))
    process.send_signal(signal.SIGTERM)
    result = finish(process)

    (handover,) = result.named("handover_started")
    assert handover["command"].startswith("launcher ")
    assert result.ended == (4, "handed_over", "interrupted")
    assert f"heroku logs --dyno-name {handover['dyno']}" in result.last["hint"]
    wait_for(lambda: picture(sandbox.superuser_url(fir)) == before and not fir.maintenance(), within=40)


def test_where_no_dyno_can_take_over_the_restore_is_asked_for_directly(hook: Hook, app: App, sandbox: Sandbox) -> None:
    hook.run()
    small_app(hook.folder, {"002": SLOW})
    sandbox.fault(Action.ANSWER, "/apps/:app/dynos", method="POST", status=422, effect=False, body="{}")
    process = hook.start()
    wait_for(migrating(app))
    process.send_signal(signal.SIGTERM)
    result = finish(process)

    assert result.ended == (4, "handed_over", "interrupted")
    assert result.last["restore"]
    small_app(hook.folder, {"002": "ALTER TABLE learners ADD COLUMN age integer;\n"})
    sandbox.clear_faults()
    assert hook.run().ended == (0, "released", None)
    assert app.maintenance() is False
    assert query(app.database_url, "SELECT count(points), count(age) FROM learners") == [(300, 0)]


def test_after_the_plug_was_pulled_in_the_migration_the_next_run_describes_and_refuses(
    hook: Hook, app: App, sandbox: Sandbox
) -> None:
    hook.run()
    small_app(hook.folder, {"002": SLOW})
    before = picture(sandbox.superuser_url(app))
    process = hook.start()
    wait_for(migrating(app))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()

    refused = hook.run()

    assert refused.ended == (3, "refused", "unfinished_run")
    assert "column public.learners.points removed" in refused.last["error"]
    assert "recover --restore" in refused.last["hint"]

    recovered = hook.run("recover", "--restore")

    assert recovered.ended == (0, "restored", "cut_off")
    assert picture(sandbox.superuser_url(app)) == before
    assert hook.run("recover").ended == (0, None, "nothing_to_recover")


def test_a_killed_run_that_was_fenced_all_along_is_undone_by_the_next_one(
    hook: Hook, app: App, sandbox: Sandbox
) -> None:
    hook.run()
    small_app(hook.folder, {"002": SLOW})
    before = picture(sandbox.superuser_url(app))
    process = hook.start(RELEASE_FENCE="release")
    wait_for(migrating(app))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (hook.folder / "migrations" / "002.sql").unlink()

    assert hook.run().ended == (0, "released", None)
    assert picture(sandbox.superuser_url(app)) == before
    assert (app.maintenance(), app.formation()["worker"]) == (False, 2)


def test_changes_of_a_killed_run_can_be_accepted(hook: Hook, app: App) -> None:
    small_app(hook.folder, {"002": SLOW})
    process = hook.start()
    wait_for(migrating(app))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()

    assert hook.run("recover", "--keep").ended == (0, "kept", "cut_off")
    assert len(app.transfers()) == 1


@pytest.mark.thin(2)
@pytest.mark.parametrize(
    "action", [TransferAction.HALF, TransferAction.WIPE, TransferAction.FAIL, TransferAction.KEEP_OBJECTS]
)
def test_a_bad_restore_is_found_and_repeated_once(
    hook: Hook, app: App, sandbox: Sandbox, action: TransferAction
) -> None:
    hook.run()
    small_app(hook.folder, {"002": "CREATE TABLE left_behind (n integer);\n" + BROKEN})
    before = picture(sandbox.superuser_url(app))
    sandbox.transfer_fault("restore", action)

    result = hook.run()

    assert sandbox.fired()
    assert result.ended == (1, "restored", "migration_failed")
    assert picture(sandbox.superuser_url(app)) == before


def test_a_restore_that_fails_for_ever_leaves_maintenance_mode_on_and_says_what_to_paste(
    hook: Hook, app: App, sandbox: Sandbox
) -> None:
    hook.run()
    small_app(hook.folder, {"002": BROKEN})
    sandbox.transfer_fault("restore", TransferAction.WIPE, times=None)

    result = hook.run()

    assert result.ended == (4, "restore_failed", "restore_failed")
    assert app.maintenance() is True
    assert f"heroku pg:backups:restore b002 {app.addon_name} --app {app.name}" in result.last["hint"]
    sandbox.clear_faults()
    assert hook.run().ended == (3, "refused", "unfinished_restore")
    assert hook.run("recover", "--restore").exit_code == 0
    assert query(app.database_url, "SELECT count(points) FROM learners") == [(300,)]
    assert (app.maintenance(), app.formation()["worker"]) == (False, 2)


def test_a_migration_that_uses_up_its_time_is_stopped_while_a_restore_still_fits(
    hook: Hook, app: App, sandbox: Sandbox
) -> None:
    hook.run()
    small_app(hook.folder, {"002": SLOW})
    before = picture(sandbox.superuser_url(app))

    result = hook.run(RELEASE_TIME_LIMIT="25")

    assert result.ended == (1, "restored", "migration_timed_out")
    assert picture(sandbox.superuser_url(app)) == before


def test_a_salvage_that_a_person_has_restored_is_not_undone_without_asking(hook: Hook, app: App) -> None:
    hook.run()
    small_app(hook.folder, {"002": "INSERT INTO learners (name) VALUES ('precious');\n" + BROKEN})
    assert hook.run().last["salvage"] == "b003"
    salvage = next(each for each in app.transfers() if int(each["num"]) == 3)
    made = app.connection.request(
        "POST", f"/client/v11/databases/{app.addon_id}/restores", {"backup_url": salvage["to_url"]}
    )
    wait_for(
        lambda: app.connection.request("GET", f"/client/v11/apps/{app.name}/transfers/{made['uuid']}")["finished_at"]
    )

    result = hook.run()

    assert result.ended == (3, "refused", "unfinished_run")
    assert "somebody has restored b003 since" in result.last["error"]
    assert query(app.database_url, "SELECT count(*) FROM learners WHERE name = 'precious'") == [(1,)]


def test_a_fence_that_could_not_be_lowered_after_a_restore_is_lowered_by_the_next_release(
    hook: Hook, app: App, sandbox: Sandbox
) -> None:
    hook.run()
    small_app(hook.folder, {"002": BROKEN})
    # Maintenance mode goes on with the first PATCH of the app; switching it off again is refused.
    sandbox.fault(
        Action.ANSWER, "^/apps/[^/]+$", method="PATCH", nth=2, times=None, status=422, effect=False, body="{}"
    )

    result = hook.run()

    assert result.last["outcome"] == "restored"
    assert app.maintenance() is True
    sandbox.clear_faults()
    (hook.folder / "migrations" / "002.sql").unlink()
    assert hook.run().ended == (0, "released", None)
    assert (app.maintenance(), app.formation()["worker"]) == (False, 2)
