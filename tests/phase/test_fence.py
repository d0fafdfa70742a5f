"""The fence holds: nobody's accepted row falls between the salvage and the restore, and what was stopped comes back."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psycopg
import pytest

from heroku_sandbox import Action, App, Sandbox, TransferAction
from tests.hook import HOOK, Hook, Result, finish, small_app
from tests.judge import execute, picture, query
from tests.others import at_event, rows_in_dump
from tests.phase.test_nothing_lost import BROKEN, migrating, wait_for
from tests.phase.test_recovery import restores

LATE = 2.0
"""Seconds that a backup takes, of which its snapshot is taken in the first."""

WORKING = "SELECT pg_sleep(0.4);\n" + BROKEN


def works_on(_: App) -> bool:
    """Nobody stops a client that is no dyno."""
    return False


def stopped_with(kind: str) -> Callable[[App], bool]:
    """A dyno ends when its process type stands at 0. (In the sandbox no process runs for a dyno of the formation.)"""

    def stopped(app: App) -> bool:
        return app.formation()[kind] == 0

    return stopped


@dataclass(kw_only=True)
class Writer:
    """Somebody who writes rows into a table of his own, comes back when his session is ended, and knows what was said.

    Each row is a transaction of its own, or with `transaction` a BEGIN, a row, a pause, and a COMMIT. `again` is how
    long he waits before he comes back, in seconds.
    """

    app: App
    table: str
    again: float = 0.0
    transaction: bool = False
    ended: Callable[[App], bool] = works_on
    accepted: list[int] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Makes the table and the thread."""
        execute(self.app.database_url, f"CREATE TABLE {self.table} (token integer)")
        self._threads = [threading.Thread(target=self._work), threading.Thread(target=self._see)]

    def _see(self) -> None:
        while not self._stop.wait(0.1):
            with suppress(Exception):  # the sandbox may be busy
                if self.ended(self.app):
                    self._stop.set()

    def _work(self) -> None:
        token = 0
        while not self._stop.is_set():
            with suppress(psycopg.Error), psycopg.connect(self.app.database_url, autocommit=True) as session:
                session.execute(f"SET application_name = '{self.table}.1'".encode())
                while not self._stop.wait(0.01):
                    token += 1
                    self._write(session, token)
                    self.accepted.append(token)
            self._stop.wait(self.again)

    def _write(self, session: psycopg.Connection[Any], token: int) -> None:
        if self.transaction:
            session.execute("BEGIN")
        session.execute(f"INSERT INTO {self.table} VALUES (%s)".encode(), [token])
        if self.transaction:
            time.sleep(0.05)
            session.execute("COMMIT")

    def __enter__(self) -> Self:
        """Starts; returns once a row was accepted."""
        for thread in self._threads:
            thread.start()
        wait_for(lambda: self.accepted)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def nowhere(self, sandbox: Sandbox) -> set[int]:
        """The accepted rows that are neither in the database nor in any dump."""
        there = {int(str(token)) for (token,) in query(self.app.database_url, f"SELECT token FROM {self.table}")}
        for transfer in self.app.transfers():
            dump = sandbox.home / "dumps" / transfer["uuid"]
            if transfer["from_type"] == "pg_dump" and dump.exists():
                there |= {int(line) for line in rows_in_dump(str(dump), self.table)}
        return set(self.accepted) - there


def named_as_lost(result: Result) -> dict[str, str]:
    """What the last line says is in no dump."""
    lost: dict[str, str] = (result.last["facts"] or {}).get("written_since_salvage", {})
    assert all(table in result.last["hint"] for table in lost)
    return lost


KINDS: dict[str, dict[str, Any]] = {
    "a dyno of the formation": {"ended": stopped_with("web"), "again": 0.05},
    "a job runner that comes back at once": {},
    "a client outside, with transactions": {"transaction": True, "again": 0.3},
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_accepted_row_is_nowhere_after_a_restore(hook: Hook, app: App, sandbox: Sandbox, kind: str) -> None:
    small_app(hook.folder, {"002": WORKING})
    sandbox.transfer_fault("backup", TransferAction.SLOW, seconds=0.5, times=None)
    with Writer(app=app, table="jobs", **KINDS[kind]) as writer:
        result = hook.run()
        time.sleep(0.3)

    assert result.ended == (1, "restored", "migration_failed")
    assert set() == writer.nowhere(sandbox) or "public.jobs" in named_as_lost(result)
    assert (app.maintenance(), app.formation()) == (False, {"web": 1, "worker": 2})


def test_no_accepted_row_is_nowhere_after_a_restore_by_hand(hook: Hook, app: App, sandbox: Sandbox) -> None:
    with Writer(app=app, table="jobs") as writer:
        assert hook.run().ended == (0, "released", None)
        sandbox.transfer_fault("backup", TransferAction.SLOW, seconds=0.5, times=None)
        result = hook.run("restore", "b001", "--yes")
        time.sleep(0.3)

    assert (result.exit_code, result.last["outcome"]) == (0, "restored")
    assert set() == writer.nowhere(sandbox) or "public.jobs" in named_as_lost(result)


def test_all_kinds_of_writers_at_once_lose_no_accepted_row(hook: Hook, app: App, sandbox: Sandbox) -> None:
    small_app(hook.folder, {"002": WORKING})
    sandbox.transfer_fault("backup", TransferAction.SLOW, seconds=0.5, times=None)
    dyno, runner, outside = (
        Writer(app=app, table=f"jobs_{place}", **kind) for place, kind in enumerate(KINDS.values())
    )
    with dyno, runner, outside:
        result = hook.run()
        time.sleep(0.3)

    assert result.ended == (1, "restored", "migration_failed")
    lost = named_as_lost(result)
    for writer in (dyno, runner, outside):
        assert set() == writer.nowhere(sandbox) or f"public.{writer.table}" in lost


def test_the_last_line_says_whose_rows_were_taken_back_and_how_to_get_them(hook: Hook, app: App) -> None:
    small_app(hook.folder, {"002": WORKING})
    with Writer(app=app, table="jobs") as writer:
        result = hook.run()
        time.sleep(0.1)

    taken = result.last["facts"]["taken_back"]
    assert result.last["outcome"] == "restored"
    assert 0 < sum(taken[part].get("public.jobs", 0) for part in ("by_others", "meanwhile")) <= len(writer.accepted)
    salvage = result.last["salvage"]
    assert re.search(rf"taken back: .*public\.jobs \(\d+\).*{salvage} holds them", result.last["hint"])
    assert f"`{HOOK} reconcile {salvage}`" in result.last["hint"]


@pytest.mark.parametrize(
    ("writes", "named"),
    [
        ('CREATE TABLE "New Orders" (id integer);\nINSERT INTO "New Orders" VALUES (1);\n', []),
        ("UPDATE learners SET points = 7;\n", ["public.learners"]),
    ],
    ids=["into its own table", "into everybody's"],
)
def test_reconcile_is_named_only_where_rows_may_be_others(hook: Hook, writes: str, named: list[str]) -> None:
    small_app(hook.folder, {"001": writes, "002": "SELECT 1 / 0;\n"})

    result = hook.run()

    assert result.last["outcome"] == "restored"
    assert result.last["facts"]["taken_back"]["meanwhile"]
    hint = result.last["hint"]
    assert ("reconcile" in hint) is bool(named)
    assert re.findall(r"taken back: (\S+) \(\d+\)\.", hint) == named


def test_writers_wait_from_the_salvage_on_and_its_dump_does_not(hook: Hook, app: App) -> None:
    small_app(hook.folder, {"002": BROKEN})
    execute(app.database_url, "CREATE TABLE jobs (token integer)")
    refused: list[str] = []

    def write() -> None:
        with psycopg.connect(app.database_url, autocommit=True, application_name="late") as session:
            session.execute("SET lock_timeout = '300ms'")
            try:
                session.execute("INSERT INTO jobs VALUES (1)")
            except psycopg.Error as error:
                refused.append(str(error.sqlstate))

    result = at_event(hook.start(), "transfer_started", write, kind="salvage")

    assert result.ended == (1, "restored", "migration_failed")
    assert refused == ["55P03"]
    assert query(app.database_url, "SELECT count(*) FROM jobs") == [(0,)]


def test_rows_written_since_the_salvage_are_salvaged_again(hook: Hook, app: App, sandbox: Sandbox) -> None:
    small_app(hook.folder, {"002": BROKEN})
    sandbox.transfer_fault("backup", TransferAction.SLOW, seconds=LATE, times=None)
    execute(app.database_url, "CREATE TABLE jobs (token integer)")

    result = at_event(hook.start(), "transfer_started", unheld(app, "jobs"), kind="salvage")

    assert result.ended == (1, "restored", "migration_failed")
    assert [each["transfer"] for each in result.named("transfer_finished")] == ["b001", "b002", "b003", "r004"]
    assert result.last["salvage"] == "b003"
    assert "written_since_salvage" not in result.last["facts"]


def test_where_a_second_salvage_would_rotate_out_the_backup_the_tables_are_named(
    sandbox: Sandbox, hook: Hook, app: App
) -> None:
    other = sandbox.create_app(f"keeps-two-{app.name}", num_keep=2, config={"HEROKU_API_KEY": sandbox.key})
    hook.app = other
    execute(other.database_url, "CREATE TABLE alembic_version (version_num text)", "CREATE TABLE learners (points int)")
    execute(other.database_url, "CREATE TABLE jobs (token integer)")
    small_app(hook.folder, {"002": BROKEN})
    sandbox.transfer_fault("backup", TransferAction.SLOW, seconds=LATE, times=None)

    result = at_event(hook.start(), "transfer_started", unheld(other, "jobs"), kind="salvage")

    assert result.ended == (1, "restored", "migration_failed")
    assert result.last["salvage"] == "b002"
    assert named_as_lost(result) == {"public.jobs": "1 inserted, 0 updated, 0 deleted"}
    (warned,) = [each for each in result.named("warning_raised") if each["warning"] == "written_since_salvage"]
    assert warned["tables"] == {"public.jobs": "1 inserted, 0 updated, 0 deleted"}


def unheld(app: App, table: str) -> Callable[[], None]:
    """Ends the session that holds writers, as somebody may, and writes a row after the salvage's snapshot."""

    def write() -> None:
        wait_for(lambda: app.transfers()[-1]["started_at"])
        time.sleep(LATE / 2)
        execute(
            app.database_url,
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE '%-hold'",
            f"INSERT INTO {table} VALUES (1)",
        )

    return write


def test_web_stands_at_0_while_the_database_is_restored(hook: Hook, app: App) -> None:
    small_app(hook.folder, {"002": BROKEN})
    seen: list[tuple[bool, dict[str, int]]] = []

    result = at_event(
        hook.start(),
        "transfer_started",
        lambda: seen.append((app.maintenance(), app.formation())),
        kind="restore",
    )

    assert result.ended == (1, "restored", "migration_failed")
    assert seen == [(True, {"web": 0, "worker": 0})]
    assert (app.maintenance(), app.formation()) == (False, {"web": 1, "worker": 2})


def test_in_a_private_space_web_stays(sandbox: Sandbox, hook: Hook, app: App, first_slug: Path) -> None:
    other = sandbox.create_app(f"in-space-{app.name}", space="nasa", config={"HEROKU_API_KEY": sandbox.key})
    hook.app = other
    other.release(first_slug)
    other.scale(web=1, worker=2)
    execute(other.database_url, "CREATE TABLE alembic_version (version_num text)", "CREATE TABLE learners (points int)")
    small_app(hook.folder, {"002": BROKEN})
    seen: list[dict[str, int]] = []

    result = at_event(hook.start(), "transfer_started", lambda: seen.append(other.formation()), kind="restore")

    assert result.ended == (1, "restored", "migration_failed")
    assert [(each["web"], each["worker"]) for each in seen] == [(1, 0)]
    assert (other.formation()["web"], other.formation()["worker"]) == (1, 2)


@pytest.mark.parametrize("moment", ["the fence", "the salvage"])
def test_recover_puts_web_back_after_the_plug_was_pulled(hook: Hook, app: App, sandbox: Sandbox, moment: str) -> None:
    hook.run()
    small_app(hook.folder, {"002": BROKEN})
    before = picture(sandbox.superuser_url(app))
    process = hook.start()
    assert process.stdout is not None
    wanted = {"the fence": '"event":"fence_raised"', "the salvage": '"kind":"salvage"'}[moment]
    for line in process.stdout:
        if wanted.encode() in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert (app.maintenance(), app.formation()) == (True, {"web": 0, "worker": 0})

    recovered = hook.run("recover", "--restore")

    assert recovered.ended == (0, "restored", "cut_off")
    assert (app.maintenance(), app.formation()) == (False, {"web": 1, "worker": 2})
    assert picture(sandbox.superuser_url(app)) == before


def test_a_fence_that_could_not_be_lowered_says_how_to_scale_web(hook: Hook, app: App, sandbox: Sandbox) -> None:
    small_app(hook.folder, {"002": BROKEN})
    sandbox.fault(
        Action.ANSWER, "^/apps/[^/]+/formation$", method="PATCH", nth=2, times=None, status=422, effect=False, body="{}"
    )

    result = hook.run()

    assert result.last["outcome"] == "restored"
    assert f"heroku ps:scale web=1 worker=2 --app {app.name}; heroku maintenance:off" in result.last["hint"]
    sandbox.clear_faults()
    assert hook.run("recover").exit_code == 0
    assert (app.maintenance(), app.formation()) == (False, {"web": 1, "worker": 2})


def test_a_run_that_gave_up_lowers_no_fence_that_may_be_anothers_and_says_so(
    hook: Hook, app: App, sandbox: Sandbox
) -> None:
    hook.run()
    small_app(hook.folder, {"002": "ALTER TABLE learners ADD COLUMN since date;\n"})
    unreadable_once_finished(app, sandbox)
    sandbox.transfer_fault("backup", TransferAction.FAIL)

    result = hook.run(RELEASE_FENCE="release")

    assert result.ended == (1, "untouched", "backup_failed")
    assert app.maintenance() is True
    assert f"heroku ps:scale web=1 worker=2 --app {app.name}; heroku maintenance:off" in result.last["hint"]
    assert hook.run("recover").exit_code == 0
    assert (app.maintenance(), app.formation()) == (False, {"web": 1, "worker": 2})


def read_until_restoring(process: subprocess.Popen[bytes]) -> None:
    """Reads a run's lines, up to the one that says that its restore has begun."""
    assert process.stdout is not None
    events = (json.loads(line) for line in process.stdout)
    assert any(event["event"] == "transfer_started" and event["kind"] == "restore" for event in events)


def test_a_run_that_another_has_settled_leaves_the_fence_of_that_one_alone(
    hook: Hook, app: App, sandbox: Sandbox
) -> None:
    small_app(hook.folder, {"002": BROKEN})
    sandbox.transfer_fault("restore", TransferAction.HESITATE, nth=2, seconds=6)
    first = hook.start()
    read_until_restoring(first)
    first.send_signal(signal.SIGSTOP)
    wait_for(lambda: restores(app)[-1]["finished_at"] is not None)
    second = hook.start(HEROKU_RELEASE_VERSION="v8")
    read_until_restoring(second)  # by now it has settled the first, which lowered that one's fence
    first.send_signal(signal.SIGCONT)
    settled = finish(first)

    assert restores(app)[-1]["finished_at"] is None, "the second one's restore is over: too late for the test"
    assert (app.maintenance(), app.formation()) == (True, {"web": 0, "worker": 0})
    assert settled.ended == (1, "restored", "migration_failed")
    assert finish(second).ended == (1, "restored", "migration_failed")
    assert (app.maintenance(), app.formation()) == (False, {"web": 1, "worker": 2})


def unreadable_once_finished(app: App, sandbox: Sandbox) -> None:
    """As soon as a run's row says that it is over, its session may not read the journal any more."""
    ((role,),) = query(app.database_url, "SELECT current_user")
    execute(sandbox.superuser_url(), f"GRANT pg_signal_backend TO {role}")
    execute(
        app.database_url,
        "CREATE FUNCTION release_phase.nobody() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM set_config('role', 'pg_signal_backend', false); RETURN NULL; END $$",
        "CREATE TRIGGER nobody AFTER UPDATE ON release_phase.runs FOR EACH ROW WHEN (NEW.state = 'finished')"
        " EXECUTE FUNCTION release_phase.nobody()",
    )


@pytest.mark.parametrize(
    ("migration", "ended"),
    [
        ("ALTER TABLE learners ADD COLUMN since date;\n", (0, "released", None)),
        ("SELECT 1 / 0;\n", (1, "untouched", "migration_failed")),
    ],
)
def test_a_fence_of_a_whole_release_goes_down_though_the_journal_cannot_be_read(
    hook: Hook, app: App, sandbox: Sandbox, migration: str, ended: tuple[int, str, str | None]
) -> None:
    hook.run()
    small_app(hook.folder, {"002": migration})
    unreadable_once_finished(app, sandbox)

    result = hook.run(RELEASE_FENCE="release")

    assert result.ended == ended
    assert (app.maintenance(), app.formation()) == (False, {"web": 1, "worker": 2})
    assert "journal_unreadable" in [each["warning"] for each in result.named("warning_raised")]


def test_a_fence_of_a_whole_release_that_leaks_is_said_and_asks_for_no_equal_rows(
    hook: Hook, app: App, sandbox: Sandbox
) -> None:
    small_app(hook.folder, {"002": BROKEN})
    sandbox.transfer_fault("backup", TransferAction.SLOW, seconds=0.5, times=None)
    with Writer(app=app, table="jobs") as writer:
        result = hook.run(RELEASE_FENCE="release")
        time.sleep(0.1)

    assert result.ended == (1, "restored", "migration_failed")
    leaked = [each for each in result.named("warning_raised") if each["warning"] == "fence_leaked"]
    # A session hands in its counters once a second at most, so that one of the two tells.
    assert leaked[0]["tables"] == ["public.jobs"] or "jobs.1" in str(leaked[0]["sessions"])
    assert set() == writer.nowhere(sandbox) or "public.jobs" in named_as_lost(result)
    assert (app.maintenance(), app.formation()) == (False, {"web": 1, "worker": 2})


def test_a_leak_of_a_killed_run_is_remembered_and_nothing_is_undone_unasked(hook: Hook, app: App) -> None:
    hook.run()
    small_app(hook.folder, {"002": "ALTER TABLE learners DROP COLUMN points;\nSELECT pg_sleep(60);\n"})
    with Writer(app=app, table="jobs"):
        process = hook.start(RELEASE_FENCE="release")
        wait_for(migrating(app))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    assert hook.run(RELEASE_FENCE="release").ended == (3, "refused", "unfinished_run")
    assert hook.run("recover", "--restore").ended == (0, "restored", "cut_off")
    assert (app.maintenance(), app.formation()) == (False, {"web": 1, "worker": 2})


def test_a_fence_of_a_whole_release_that_holds_is_not_called_leaky(hook: Hook) -> None:
    small_app(hook.folder, {"002": BROKEN})

    result = hook.run(RELEASE_FENCE="release")

    assert result.ended == (1, "restored", "migration_failed")
    assert "fence_leaked" not in [each["warning"] for each in result.named("warning_raised")]
    assert "taken_back" not in (result.last["facts"] or {})
