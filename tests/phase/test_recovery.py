"""What an interrupted run left, found in a world that has moved on: by hands, by other writers, by a database away."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import psycopg
import pytest

from heroku_sandbox import Action, App, Reset, Sandbox, TransferAction
from tests.hook import Hook, finish, small_app
from tests.judge import differing, execute, picture, query, running, whole_picture
from tests.others import Writers, at_event, rows_in_dump
from tests.phase.test_foreign_runs import cut_off
from tests.phase.test_nothing_lost import BROKEN, SLOW, migrating, wait_for
from tests.phase.test_plan import plan


def lifted(app: App) -> None:
    app.connection.request("PATCH", f"/apps/{app.id}", {"maintenance": False})


def lifted_and_started(app: App) -> None:
    lifted(app)
    app.scale(worker=2)


HOW: dict[str, Callable[[App], None]] = {
    "maintenance mode is lifted": lifted,
    "workers are started": lambda app: app.scale(worker=1),
    "both": lifted_and_started,
}
"""What a person does by hand to bring the site back."""


def killed(hook: Hook, app: App, **changes: str) -> None:
    """A run that was killed in the middle of a migration which has dropped a column."""
    small_app(hook.folder, {"002": SLOW})
    process = hook.start(**changes)
    wait_for(migrating(app))
    os.killpg(process.pid, signal.SIGKILL)
    finish(process)


@pytest.mark.parametrize("how", HOW)
def test_after_a_fence_was_lifted_by_hand_nothing_is_undone_unasked(
    hook: Hook, app: App, sandbox: Sandbox, how: str
) -> None:
    killed(hook, app, RELEASE_FENCE="release")
    HOW[how](app)
    execute(app.database_url, "INSERT INTO learners (name) SELECT 'customer' FROM generate_series(1, 50)")

    for arguments in ((), ("recover",)):
        result = hook.run(*arguments, RELEASE_FENCE="release")

        assert result.ended == (3, "refused", "unfinished_run")
        assert query(app.database_url, "SELECT count(*) FROM learners WHERE name = 'customer'") == [(50,)]
    assert sandbox.count("POST", "^.*/restores") == 0

    decided = hook.run("recover", "--restore")

    assert decided.ended == (0, "restored", "cut_off")
    assert len(_in_dump(sandbox, app, decided.last["salvage"], "learners", "customer")) == 50
    assert (app.maintenance(), app.formation()["worker"]) == (False, 2)


def _in_dump(sandbox: Sandbox, app: App, name: str, table: str, word: str) -> list[str]:
    (found,) = [each for each in app.transfers() if f"b{int(each['num']):03}" == name]
    lines = rows_in_dump(str(sandbox.home / "dumps" / found["uuid"]), table)
    return [line for line in lines if word in line]


def restores(app: App) -> list[dict[str, object]]:
    """Those that were asked for."""
    return [each for each in app.transfers() if each["to_type"] == "pg_restore"]


MOMENTS: dict[str, tuple[TransferAction, str, Callable[[App], object]]] = {
    "in the salvage": (TransferAction.SLOW, "backup", lambda app: len(app.transfers()) > 1),
    "in the restore": (TransferAction.SLOW, "restore", lambda app: any(each["started_at"] for each in restores(app))),
    "over an empty database": (TransferAction.HESITATE, "restore", restores),
    "after a restore that fails": (
        TransferAction.WIPE,
        "restore",
        lambda app: any(each["finished_at"] for each in restores(app)),
    ),
}
"""By name: what makes the moment last, and how it is known."""


@pytest.mark.thin(1)
@pytest.mark.parametrize("reset", list(Reset))
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_while_an_earlier_run_is_undone_never_ends_untouched(
    hook: Hook, app: App, sandbox: Sandbox, moment: str, reset: Reset
) -> None:
    sandbox.set_options(reset=reset)
    action, kind, reached = MOMENTS[moment]
    before = whole_picture(sandbox.superuser_url(app))
    killed(hook, app, RELEASE_FENCE="release")
    small_app(hook.folder, {"002": "SELECT 1;\n"})
    sandbox.transfer_fault(kind, action, seconds=4)
    process = hook.start(RELEASE_FENCE="release")
    wait_for(lambda: reached(app))

    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    result = finish(process)

    assert time.monotonic() - began < 25
    asked = bool(restores(app))
    if result.last["outcome"] != "refused":
        assert result.exit_code == 4
        assert result.last["outcome"] in {"handed_over", "restore_failed"}
    assert not asked or result.last["outcome"] != "refused"
    assert app.maintenance() is True

    again = hook.run("recover", "--restore")

    assert (again.exit_code, again.last["outcome"]) == (0, "restored")
    assert differing(before, whole_picture(sandbox.superuser_url(app))) == []
    assert (app.maintenance(), app.formation()["worker"]) == (False, 2)
    assert hook.run().ended == (0, "released", None)


@pytest.mark.parametrize("dyno", ["refused", "silent"])
def test_where_nobody_takes_over_and_others_write_no_restore_is_asked_for_blindly(
    hook: Hook, app: App, sandbox: Sandbox, dyno: str
) -> None:
    execute(app.database_url, "CREATE TABLE jobs (token int)")
    small_app(hook.folder, {"001": SLOW})
    before = whole_picture(sandbox.superuser_url(app))
    if dyno == "refused":
        sandbox.fault(Action.ANSWER, "/apps/:app/dynos", method="POST", status=422, effect=False, body="{}")
    else:
        (hook.folder / "Procfile").write_text("release: true\n")
    process = hook.start()
    wait_for(migrating(app))
    with Writers(app) as writers:
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        result = finish(process)

    assert time.monotonic() - began < 25
    assert result.ended == (4, "restore_failed", "interrupted")
    assert "recover" in result.last["hint"]
    assert restores(app) == []
    assert (app.maintenance(), app.formation()["worker"]) == (True, 0)
    assert query(app.database_url, "SELECT state, outcome FROM release_phase.runs") == [("restoring", None)]
    there = {token for (token,) in query(app.database_url, "SELECT token FROM jobs")}
    assert there >= set(writers.accepted)

    recovered = hook.run("recover")

    assert recovered.ended == (0, "restored", "cut_off")
    copied = {int(line) for line in _in_dump(sandbox, app, recovered.last["salvage"], "jobs", "")}
    now = {token for (token,) in query(app.database_url, "SELECT token FROM jobs")}
    assert copied | now >= set(writers.accepted), "not a row without a copy"
    assert set(differing(before, whole_picture(sandbox.superuser_url(app)))) <= {"TABLE DATA public.jobs"}
    assert (app.maintenance(), app.formation()["worker"]) == (False, 2)


# The end of a run: the journal's row and the fence do not depend on each other.


def failing(hook: Hook) -> Hook:
    """With a migration that has to be undone."""
    small_app(hook.folder, {"001": BROKEN})
    return hook


@pytest.mark.thin(1)
@pytest.mark.parametrize("seconds", [2.0, 12.0])
@pytest.mark.parametrize("away", ["locked", "refusing"])
@pytest.mark.parametrize("said", ["database_compared", "fence_lowered"])
def test_a_journal_that_cannot_be_closed_for_a_moment_is_closed_and_the_fence_lowered(
    hook: Hook, app: App, sandbox: Sandbox, said: str, away: str, seconds: float
) -> None:
    ((name,),) = query(app.database_url, "SELECT quote_ident(current_database())")
    server, locks = sandbox.superuser_url(), ExitStack()

    def begin() -> None:
        if away == "locked":
            session = locks.enter_context(psycopg.connect(sandbox.superuser_url(app)))
            session.execute("LOCK TABLE release_phase.runs IN ACCESS EXCLUSIVE MODE")
        else:
            ended = (
                f"SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE quote_ident(datname) = '{name}'"
            )
            execute(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", ended)

    def end() -> None:
        locks.close()
        execute(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    process = failing(hook).start()
    fields = {"verdict": "equal"} if said == "database_compared" else {}
    result = at_event(process, said, begin, end=end, after=seconds, **fields)

    assert result.ended == (1, "restored", "migration_failed")
    assert (app.maintenance(), app.formation()["worker"]) == (False, 2)
    assert query(app.database_url, "SELECT state, outcome, fence FROM release_phase.runs") == [
        ("finished", "restored", None)
    ]


NEVER_FINISHED = (
    "CREATE FUNCTION release_phase.refuse() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION 'the disk is full'; END $$",
    "CREATE TRIGGER refuse BEFORE UPDATE ON release_phase.runs FOR EACH ROW EXECUTE FUNCTION release_phase.refuse()",
)


def _refuse_rows(app: App) -> Callable[[], None]:
    return lambda: execute(app.database_url, *NEVER_FINISHED)


def test_the_fence_goes_down_though_the_journal_can_never_be_closed(hook: Hook, app: App) -> None:
    result = at_event(failing(hook).start(), "database_compared", _refuse_rows(app), verdict="equal")

    assert result.last["outcome"] == "restored"
    assert (app.maintenance(), app.formation()["worker"]) == (False, 2)
    assert "journal_not_closed" in [each["warning"] for each in result.named("warning_raised")]


def test_a_fence_that_cannot_be_lowered_is_said_with_what_to_paste(hook: Hook, app: App, sandbox: Sandbox) -> None:
    def act() -> None:
        execute(app.database_url, *NEVER_FINISHED)
        sandbox.fault(Action.ANSWER, "^/apps/[^/]+$", method="PATCH", times=None, status=422, effect=False, body="{}")

    result = at_event(failing(hook).start(), "database_compared", act, verdict="equal")

    assert result.last["outcome"] == "restored"
    assert app.maintenance() is True
    assert f"heroku maintenance:off --app {app.name}" in result.last["hint"]
    assert "The site may still be down" in result.last["hint"]


def test_a_release_that_lands_behind_a_fence_that_stays_up_says_so(hook: Hook, app: App, sandbox: Sandbox) -> None:
    small_app(hook.folder, {"002": "CREATE TABLE lessons (n integer);\n"})

    def refuse() -> None:
        sandbox.fault(Action.ANSWER, "^/apps/[^/]+$", method="PATCH", times=None, status=422, effect=False, body="{}")

    result = at_event(hook.start(RELEASE_FENCE="release"), "step_started", refuse, step="migrate")

    assert (result.ended, app.maintenance()) == ((0, "released", None), True)
    assert f"heroku maintenance:off --app {app.name}" in result.last["hint"]


def test_recover_exits_well_only_once_the_fence_is_down(hook: Hook, app: App, sandbox: Sandbox) -> None:
    def refuse() -> None:
        sandbox.fault(Action.ANSWER, "^/apps/[^/]+$", method="PATCH", times=None, status=422, effect=False, body="{}")

    at_event(failing(hook).start(), "database_compared", refuse, verdict="equal")

    still = hook.run("recover")
    assert (still.exit_code, still.last["outcome"], app.maintenance()) == (1, "restored", True)
    assert f"heroku maintenance:off --app {app.name}" in still.last["hint"]

    sandbox.clear_faults()
    assert hook.run("recover").ended == (0, "restored", None)
    assert app.maintenance() is False


def test_a_sealed_run_is_undone_unasked_unless_restores_are_off(hook: Hook, app: App, sandbox: Sandbox) -> None:
    cut_off(hook, app, RELEASE_FENCE="release")
    left = picture(sandbox.superuser_url(app))

    planned, _ = plan(hook, RELEASE_FENCE="release", RELEASE_RESTORE="never")
    refused = hook.run(RELEASE_FENCE="release", RELEASE_RESTORE="never")

    assert (planned, refused.ended) == (3, (3, "refused", "unfinished_run"))
    assert picture(sandbox.superuser_url(app)) == left
    assert hook.run("recover", RELEASE_FENCE="release").ended == (0, "restored", "cut_off")


# Others' transfers.


def _restore(app: App) -> dict[str, str]:
    made: dict[str, str] = app.connection.request(
        "POST", f"/client/v11/databases/{app.addon_id}/restores", {"backup_url": app.transfers()[0]["to_url"]}
    )
    return made


@pytest.mark.parametrize("reset", list(Reset))
@pytest.mark.parametrize("action", [None, TransferAction.SLOW, TransferAction.HESITATE, TransferAction.WIPE])
def test_a_release_with_nothing_pending_fails_when_a_restore_replaces_the_database_under_it(
    hook: Hook, app: App, sandbox: Sandbox, action: TransferAction | None, reset: Reset
) -> None:
    sandbox.set_options(reset=reset)
    assert hook.run().ended == (0, "released", None)
    if action:
        sandbox.transfer_fault("restore", action, seconds=3)
    process = hook.start(RELEASE_PROBE_COMMAND="sh -c 'touch probing; sleep 2'")
    wait_for((hook.folder / "probing").exists)
    _restore(app)

    result = finish(process)

    assert result.exit_code != 0
    assert result.last["outcome"] != "released"


def test_a_scheduled_backup_under_way_when_the_fence_goes_up_ends_well(hook: Hook, app: App, sandbox: Sandbox) -> None:
    small_app(hook.folder, {"001": "ALTER TABLE learners DROP COLUMN points;\nSELECT pg_sleep(1.5);\nSELECT 1 / 0;\n"})
    execute(app.database_url, "CREATE TABLE big (n integer)")
    before = whole_picture(sandbox.superuser_url(app))
    # The console's session is older than the migration: only the fence ends it, and with it the dump's wait.
    with suppress(psycopg.OperationalError), psycopg.connect(app.database_url, application_name="console") as console:
        console.execute("SELECT 1")
        console.rollback()
        process = hook.start()
        wait_for(lambda: running(app.database_url, "pg_sleep(1.5)"))
        console.execute("LOCK TABLE big IN ACCESS EXCLUSIVE MODE")
        made = app.scheduled_backup()
        wait_for(lambda: _dumping(app))
        result = finish(process)

    assert result.ended == (1, "restored", "migration_failed")
    (scheduled,) = [each for each in app.transfers() if each["uuid"] == made["uuid"]]
    assert (scheduled["succeeded"], scheduled["warnings"]) == (True, 0)
    assert differing(before, whole_picture(sandbox.superuser_url(app))) == []


def _dumping(app: App) -> bool:
    return bool(
        query(
            app.database_url,
            "SELECT FROM pg_stat_activity WHERE application_name = 'Heroku Postgres Backups'"
            " AND datname = current_database() AND wait_event_type = 'Lock'",
        )
    )
