"""A server process that stands still while the hook needs it, and a signal on top of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from heroku_sandbox import App, Sandbox, TransferAction
from tests.hook import Hook, finish, small_app
from tests.judge import picture, query
from tests.phase.test_nothing_lost import SLOW, migrating, wait_for

EXIT_WITHIN = 25.0
"""Seconds after SIGTERM."""

HOOKS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name ~ '^release-hook-'"


@contextmanager
def stopped(app: App) -> Iterator[int]:
    """The server's process behind the hook's session stands still; the hook's own name for it is known by its lock."""
    locked = f"{HOOKS} AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted)"
    ((pid,),) = query(app.database_url, locked)
    os.kill(int(str(pid)), signal.SIGSTOP)
    try:
        yield int(str(pid))
    finally:
        os.kill(int(str(pid)), signal.SIGCONT)


def backing_up(app: App) -> Callable[[], object]:
    return lambda: query(app.database_url, "SELECT 1 FROM release_phase.runs WHERE fingerprint IS NOT NULL")


@pytest.mark.parametrize("seconds_before", [0.0, 1.5], ids=["at once", "in mid-statement"])
def test_a_signal_in_the_migration_over_a_stopped_backend_ends_in_time(
    hook: Hook, app: App, sandbox: Sandbox, seconds_before: float
) -> None:
    hook.run()
    small_app(hook.folder, {"002": SLOW})
    before = picture(sandbox.superuser_url(app))
    process = hook.start()
    wait_for(migrating(app))

    with stopped(app):
        time.sleep(seconds_before)
        process.send_signal(signal.SIGTERM)
        signalled = time.monotonic()
        result = finish(process)

    assert time.monotonic() - signalled < EXIT_WITHIN
    assert result.exit_code == 4
    assert "Traceback" not in result.stderr.decode()
    # What it could not do any more, another run does.
    assert hook.run("recover", "--restore").ended[:2] == (0, "restored")
    assert picture(sandbox.superuser_url(app)) == before


def test_a_signal_in_the_backup_over_a_stopped_backend_leaves_all_as_it_was(
    hook: Hook, app: App, sandbox: Sandbox
) -> None:
    sandbox.transfer_fault("backup", TransferAction.STUCK_RUNNING)
    before = picture(sandbox.superuser_url(app))
    process = hook.start()
    wait_for(backing_up(app))
    wait_for(app.transfers)

    with stopped(app):
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        signalled = time.monotonic()
        result = finish(process)

    assert time.monotonic() - signalled < EXIT_WITHIN
    assert result.ended == (1, "untouched", "interrupted")
    assert picture(sandbox.superuser_url(app)) == before


def test_who_waits_for_a_run_whose_backend_is_stopped_is_told_in_time(hook: Hook, app: App) -> None:
    small_app(hook.folder, {"002": "SELECT pg_sleep(60);\n"})
    first = hook.start()
    wait_for(migrating(app))

    with stopped(app) as pid:
        began = time.monotonic()
        waited = hook.run(RELEASE_LOCK_WAIT="2")
        assert time.monotonic() - began < 10
        first.kill()
        first.communicate()

    assert waited.ended == (3, "refused", "locked")
    assert f"SELECT pg_terminate_backend({pid})" in waited.last["error"]
