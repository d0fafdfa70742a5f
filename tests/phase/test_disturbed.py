"""Others make things while a backup is pending, and lock what a look needs: captured again, looked at again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import psycopg
import pytest

from heroku_sandbox import App, Reset, Sandbox, TransferAction
from tests.hook import Hook, small_app
from tests.judge import differing, execute, query, running, whole_picture
from tests.others import at_event, meanwhile
from tests.phase.test_nothing_lost import BROKEN, wait_for


@pytest.fixture
def pending(sandbox: Sandbox) -> Iterator[None]:
    """Transfers stay pending for a second, as Heroku's do."""
    sandbox.set_options(pending_seconds=1.0)
    yield
    sandbox.set_options(pending_seconds=0.1)


MADE = {
    "a schema": ("CREATE SCHEMA analytics", "CREATE TABLE analytics.events AS SELECT generate_series(1, 9) AS n"),
    "a table": ("CREATE TABLE imports AS SELECT generate_series(1, 9) AS n",),
    "a view": ("CREATE VIEW best AS SELECT * FROM learners WHERE points > 7",),
    "a function": ("CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",),
    "a column": ("ALTER TABLE learners ADD COLUMN born date",),
    "an index": ("CREATE INDEX by_points ON learners (points)",),
    "an extension": ("CREATE EXTENSION pg_trgm",),
}
"""What somebody makes meanwhile."""


def _captured(app: App, times: int) -> bool:
    return len(app.transfers()) >= times


def while_captured(app: App, statements: tuple[str, ...], *, times: int = 1, late: float = 0) -> Callable[[], None]:
    """Runs the statements once a capture is asked for; again at each further one. `late`: seconds after it began."""

    def work() -> None:
        for number in range(1, times + 1):
            wait_for(partial(_captured, app, number))
            if late:
                wait_for(lambda: app.transfers()[-1]["started_at"])
                time.sleep(late)
            execute(app.database_url, *(each.replace("#", str(number)) for each in statements))

    return work


@pytest.mark.thin(1)
@pytest.mark.usefixtures("pending")
@pytest.mark.parametrize("name", MADE)
def test_what_somebody_makes_while_a_backup_is_pending_survives_a_failed_migration(
    hook: Hook, app: App, sandbox: Sandbox, name: str
) -> None:
    small_app(hook.folder, {"001": f"CREATE TABLE ours (n integer);\n{BROKEN}"})
    pictures = []

    def work() -> None:
        while_captured(app, MADE[name])()
        pictures.append(whole_picture(sandbox.superuser_url(app)))

    with meanwhile(work):
        result = hook.run()

    assert result.ended == (1, "restored", "migration_failed")
    assert [each["kind"] for each in result.named("transfer_started")] == ["backup", "backup", "salvage", "restore"]
    assert [each["warning"] for each in result.named("warning_raised")].count("structure_changed") == 1
    assert differing(pictures[0], whole_picture(sandbox.superuser_url(app))) == []


@pytest.mark.parametrize("reset", list(Reset))
def test_what_is_made_after_the_dump_and_before_its_end_is_in_the_next_one(
    hook: Hook, app: App, sandbox: Sandbox, reset: Reset
) -> None:
    sandbox.set_options(reset=reset)
    sandbox.transfer_fault("backup", TransferAction.SLOW, seconds=2)
    small_app(hook.folder, {"001": BROKEN})

    with meanwhile(while_captured(app, MADE["a schema"], late=1.0)):
        result = hook.run()

    assert result.ended == (1, "restored", "migration_failed")
    assert query(app.database_url, "SELECT count(*) FROM analytics.events") == [(9,)]
    assert result.last["backup"] == "b002"


@pytest.mark.usefixtures("pending")
@pytest.mark.parametrize("statement", ["CREATE TABLE tenant_# (n int)", "ALTER TABLE learners ADD COLUMN c# int"])
def test_a_structure_that_never_holds_still_ends_untouched(hook: Hook, app: App, statement: str) -> None:
    with meanwhile(while_captured(app, (statement,), times=3)):
        result = hook.run()

    assert result.ended == (1, "untouched", "backup_unusable")
    assert [each["kind"] for each in result.named("transfer_started")] == ["backup"] * 3
    assert "somebody changed the structure" in result.last["error"]
    assert query(app.database_url, "SELECT count(*) FROM alembic_version") == [(0,)]


@pytest.mark.usefixtures("pending")
@pytest.mark.parametrize(
    "statements",
    [
        ("INSERT INTO learners (name) VALUES ('new')",),
        ("CREATE TABLE brief (n int)", "DROP TABLE brief"),
        ("CREATE TEMP TABLE brief (n int)",),
        ("ANALYZE learners", "VACUUM learners"),
    ],
)
def test_what_changes_no_structure_costs_no_second_capture(hook: Hook, app: App, statements: tuple[str, ...]) -> None:
    with meanwhile(while_captured(app, statements)):
        result = hook.run()

    assert result.ended == (0, "released", None)
    assert len(app.transfers()) == 1


# A worker that refreshes a materialized view, and keeps it locked.

VIEW = "CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n, sum(points) AS points FROM learners WHERE id > 0"


LOCKED = "SELECT FROM pg_locks WHERE relation = 'totals'::regclass AND mode = 'AccessExclusiveLock' AND granted"


@contextmanager
def refreshing(app: App, *, when: Callable[[], object]) -> Iterator[None]:
    """A worker that refreshes the view once something is so, and never ends its transaction."""
    stop = threading.Event()

    def work() -> None:
        wait_for(when)
        with suppress(psycopg.Error), psycopg.connect(app.database_url, application_name="worker.1") as session:
            session.execute("REFRESH MATERIALIZED VIEW totals")
            while not stop.wait(0.1):
                session.execute("SELECT 1")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    "statement", ["ALTER TABLE courses ADD COLUMN age integer;\n", "CREATE TABLE more (n integer);\n"]
)
def test_a_view_that_is_locked_all_along_does_not_undo_a_good_migration(hook: Hook, app: App, statement: str) -> None:
    execute(app.database_url, VIEW, "CREATE TABLE courses (n int)")
    small_app(hook.folder, {"001": f"SELECT pg_sleep(1.1);\n{statement}"})

    with refreshing(app, when=lambda: running(app.database_url, "pg_sleep(1.1)")):
        result = hook.run()

    assert result.ended == (0, "released", None)
    assert query(app.database_url, "SELECT n FROM totals") == [(300,)]


@pytest.mark.parametrize("fails", ["after a change", "with nothing changed"])
def test_a_view_that_is_locked_over_a_failing_migration_is_no_failed_restore(
    hook: Hook, app: App, sandbox: Sandbox, fails: str
) -> None:
    execute(app.database_url, VIEW, "CREATE TABLE courses (n int)")
    change = "ALTER TABLE courses ADD COLUMN age integer;\n" if fails == "after a change" else ""
    small_app(hook.folder, {"001": f"SELECT pg_sleep(1.1);\n{change}SELECT 1 / 0;\n"})
    before = whole_picture(sandbox.superuser_url(app))

    with refreshing(app, when=lambda: running(app.database_url, "pg_sleep(1.1)")):
        result = hook.run()

    asked = [each["kind"] for each in result.named("transfer_started")].count("restore")
    assert result.ended == (1, "restored" if asked else "untouched", "migration_failed")
    assert asked == (1 if change else 0)
    assert differing(before, whole_picture(sandbox.superuser_url(app))) == []


@pytest.mark.parametrize("reset", list(Reset))
def test_a_proof_that_a_worker_disturbs_is_made_again_after_one_restore(
    hook: Hook, app: App, sandbox: Sandbox, reset: Reset
) -> None:
    sandbox.set_options(reset=reset)
    execute(app.database_url, VIEW)
    small_app(hook.folder, {"001": "ALTER TABLE learners ADD COLUMN age integer;\nSELECT 1 / 0;\n"})
    before = whole_picture(sandbox.superuser_url(app))

    def loaded() -> bool:
        return any(each["to_type"] == "pg_restore" and each["finished_at"] for each in app.transfers())

    with ExitStack() as worker:

        def disturb() -> None:
            wait_for(loaded)
            worker.enter_context(refreshing(app, when=lambda: True))
            wait_for(lambda: query(app.database_url, LOCKED))

        result = at_event(hook.start(), "transfer_started", disturb, kind="restore")

    said = {each["warning"] for each in result.named("warning_raised")}
    assert said & {"proof_disturbed", "look_disturbed"}, "or nobody was in the way"
    assert result.ended == (1, "restored", "migration_failed")
    assert [each["kind"] for each in result.named("transfer_started")].count("restore") == 1
    assert differing(before, whole_picture(sandbox.superuser_url(app))) == []
