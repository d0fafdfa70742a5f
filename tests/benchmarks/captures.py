"""A backup of half an hour: how often Heroku is asked meanwhile; and how soon the end of a transfer is noticed.

    python -m tests.benchmarks.captures

The half hour passes in a minute: the hook's clock runs `FACTOR` times as fast, and the sandbox's transfer takes as
much less. Everything is told by the sandbox's record of requests. The dump itself takes no time here, so its session on
the database is one that looks like it, or none at all, as where the database does not show it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psycopg

from heroku_sandbox import Sandbox
from tests.benchmarks.figure import Figure, at_most, table
from tests.benchmarks.site import BROKEN, assert_undone, requests, site
from tests.hook import ROOT, Hook, finish, small_app

FACTOR = 30
HALF_AN_HOUR = 1800 / FACTOR
SHORT = 10
"""Seconds of a transfer whose end is awaited on the real clock."""

FAST = f"""
import os, sys
sys.path.append({str(ROOT)!r})
from release import cli
from release.clock import ScaledClock
os._exit(cli.main([], None, lambda signals: ScaledClock({FACTOR}, signals)))
"""
STARTS = ("/backups", "/restores")


def figures(*, latency: float) -> Iterator[Figure]:
    """The dump's session seen and not; then each transfer of a restoring run, with answers that take so long."""
    with Sandbox(transfer_seconds=HALF_AN_HOUR, pending_seconds=0) as sandbox, tempfile.TemporaryDirectory() as folder:
        hook = site(sandbox, Path(folder), "SELECT 1;\n")
        # Far more than the hour that Heroku allows: a second such backup, and a restore, would not fit in.
        hook.environment |= {"RELEASE_TIME_LIMIT": "86400"}
        fast = Hook(
            app=hook.app, folder=hook.folder, environment=hook.environment, program=(sys.executable, "-Ic", FAST)
        )
        for number, seen in enumerate((True, False), start=2):
            small_app(hook.folder, {f"{number:03}": "SELECT 1;\n"})
            yield from half_an_hour(sandbox, fast, seen=seen)
        sandbox.set_options(transfer_seconds=SHORT, answer_seconds=latency)
        small_app(hook.folder, {"004": BROKEN})
        yield ends_noticed(sandbox, hook)


def half_an_hour(sandbox: Sandbox, hook: Hook, *, seen: bool) -> Iterator[Figure]:
    """The requests of a release with a long capture, and how long after its end it was asked for and seen finished."""
    sandbox.forget_requests()
    process = hook.start()
    while not begun(sandbox):
        assert process.poll() is None
        time.sleep(0.01)
    with dump(hook.app.database_url) if seen else nullcontext():
        time.sleep(HALF_AN_HOUR)
    result = finish(process)
    assert result.last["outcome"] == "released", result.last
    (late,) = noticed(requests(sandbox), HALF_AN_HOUR)
    what = f"capture of 30 minutes, the dump's session {'seen' if seen else 'not seen'}"
    yield at_most(f"{what}: requests of the release", len(requests(sandbox)), 150, "requests")
    # Without its session, and without earlier ones that tell how long it takes: 5 % of its length.
    yield at_most(f"{what}: end noticed after", late * FACTOR, 15 if seen else 90)


def ends_noticed(sandbox: Sandbox, hook: Hook) -> Figure:
    """The longest of the three waits in a run that restores, on the real clock."""
    sandbox.forget_requests()
    result = finish(hook.start(), within=20 * SHORT)
    assert result.last["outcome"] == "restored", result.last
    assert_undone(hook)
    late = noticed(requests(sandbox), SHORT)
    assert len(late) == 3
    return at_most(f"transfers of {SHORT} s: asked for after their end, at most", max(late), 0.5)


def begun(sandbox: Sandbox) -> bool:
    """Whether a transfer has been asked for."""
    return any(each["path"].endswith(STARTS) for each in requests(sandbox) if each["method"] == "POST")


def noticed(asked: list[dict[str, Any]], seconds: float) -> list[float]:
    """For each transfer that took so many seconds from its POST on: how long after its end it was asked for next."""
    posts = [each["at"] for each in asked if each["method"] == "POST" and each["path"].endswith(STARTS)]
    polls = [each["at"] for each in asked if each["method"] == "GET" and "/transfers/" in each["path"]]
    return [min(poll for poll in polls if poll > post + seconds) - post - seconds for post in posts]


def dump(url: str) -> psycopg.Connection:
    """A session that looks like Heroku's dump: its name, in a transaction with a snapshot."""
    session = psycopg.connect(url, application_name="Heroku Postgres Backups")
    session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    session.execute("SELECT count(*) FROM learners")
    return session


if __name__ == "__main__":
    print(table(list(figures(latency=0.2))))
