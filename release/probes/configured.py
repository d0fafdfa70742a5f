"""The configured probes: a command, a query, the new code's web process, the live app."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from release.app.command import app_environ, run_app
from release.child.process import CommandNotStarted
from release.clock import Deadline
from release.database.session import Database
from release.errors import StepFailed
from release.probes.check import Facts, failed
from release.retry import TimedOut, polling
from release.run import Run
from release.target.sessions import sessions_left

SHOWN_ROWS = 5
SHOWN_VALUE = 80
"""Characters of a value in a row that is shown."""

GET_WITHIN = 10.0
"""Seconds for one request to the live app."""


# Configured.


def environ(run: Run) -> dict[str, str]:
    """The environment of a probe: the app's, less the key; its sessions are told by the migration's name."""
    return app_environ(run, PGAPPNAME=run.migration_name)


def check_command(run: Run, argv: tuple[str, ...], deadline: Deadline) -> Facts:
    """The command has to exit with 0. Raises ProbeFailed."""
    try:
        ended = run_app(run, argv, deadline, env=environ(run))
    except CommandNotStarted as error:
        raise failed(str(error)) from error
    if ended.timed_out:
        raise failed(f"no end within {run.settings.probe_timeout:g} s")
    if not ended.ok:
        raise failed(f"it ended with {ended.how}", exit_code=ended.exit_code)
    return {"duration": ended.duration}


def check_sql(run: Run, query: str, deadline: Deadline) -> Facts:
    """The operator's own query, where it can hurt nothing: not even the lock, which the hook's own session holds."""
    from release.database import question  # noqa: PLC0415 -- only where there is one

    assert run.settings.database_url  # noqa: S101 -- cli.py has checked it
    database = Database(run.settings.database_url.reveal(), application_name=run.migration_name, signals=run.signals)
    try:
        with run.signals.interruptible():
            rows = question.ask(database, query, deadline.left())
    except StepFailed as error:
        raise failed(error.detail, sqlstate=error.facts.get("sqlstate")) from error
    finally:
        database.close()
    return judge_rows(rows)


def judge_rows(rows: Sequence[Sequence[object]] | None) -> Facts:
    """Every column of every row must be true, and there must be a row."""
    if rows is None:
        raise failed("the statement is no query: it returns no rows")
    if not rows:
        raise failed("the query returned no row")
    false = [[_shortened(value) for value in row] for row in rows if not all(value is True for value in row)]
    if false:
        raise failed(f"{len(false)} of {len(rows)} rows are not all true", rows=false[:SHOWN_ROWS])
    return {"rows": len(rows)}


def _shortened(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    return text if len(text) <= SHOWN_VALUE else f"{text[:SHOWN_VALUE]}…"


def check_boot(run: Run, path: str, deadline: Deadline) -> Facts:
    """The new code's web process has to answer. Raises ProbeFailed."""
    from release.probes.boot import boot  # noqa: PLC0415 -- imports http.client and ssl

    try:
        return boot(run, path, deadline, environ(run))
    finally:
        sessions_left(run)


def check_live(run: Run, url: str, deadline: Deadline) -> Facts:
    """The app that runs has to answer, old code on the new schema. Raises ProbeFailed."""
    from release.probes.http import Problem, get, shown  # noqa: PLC0415 -- imports http.client and ssl

    seen = []

    def ask() -> bool:
        with run.signals.interruptible():
            seen.append(get(url, timeout=max(0.1, run.clock.real(deadline.clamp(GET_WITHIN)))))
        return seen[-1].ok or seen[-1].problem in {Problem.CERTIFICATE, Problem.NOT_FOUND}

    with suppress(TimedOut):
        polling(ask, until=bool, name="GET the live app", clock=run.clock, log=run.log, deadline=deadline)
    answer = seen[-1]
    if not answer.ok:
        raise failed(f"{shown(url)}: {answer}", url=shown(url), status=answer.status, body=answer.body or None)
    return {"url": shown(url), "status": answer.status}
