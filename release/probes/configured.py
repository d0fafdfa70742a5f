"""The configured probes: a command, a query, the new code's web process, the live app.

`CONFIGURED` is the list of them. A new one is a row there, a function here, and its setting. Each is given a run whose
deadline is RELEASE_PROBE_TIMEOUT's.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from release.app.command import app_environ, run_app
from release.child.process import CommandNotStarted
from release.database.session import Database
from release.errors import StepFailed
from release.probes.check import Facts, Probe, failed, run_probes
from release.retry import TimedOut, polling
from release.run import Run

SHOWN_ROWS = 5
"""Rows that are not all true and that a failure shows."""
SHOWN_VALUE = 80
"""Characters of a value in a row that is shown."""

GET_WITHIN = 10.0
"""Seconds for one request to the live app."""


def _environ(run: Run) -> dict[str, str]:
    """Returns the environment of a probe: the app's, less the key. | Its sessions are known by the migration's name."""
    return app_environ(run, PGAPPNAME=run.migration_name)


def _command(run: Run) -> Facts:
    """Runs the configured command, which has to exit with 0."""
    assert run.settings.probe_command  # noqa: S101 -- or the probe is not given
    try:
        ended = run_app(run, run.settings.probe_command, run.deadline, env=_environ(run))
    except CommandNotStarted as error:
        raise failed(str(error)) from error
    if ended.timed_out:
        raise failed(f"no end within {run.settings.probe_timeout:g} s")
    if not ended.ok:
        last = f": {ended.last_words}" if ended.last_words else ""
        raise failed(f"it ended with {ended.how}{last}", exit_code=ended.exit_code)
    return {"duration": ended.duration}


def _sql(run: Run) -> Facts:
    """Asks the operator's own query in a session of its own, where it can hurt nothing.

    The hook's own session holds the lock, so it is not used.
    """
    from release.database import read_only_query  # noqa: PLC0415 -- only where there is one

    query, url = run.settings.probe_sql, run.settings.database_url
    assert query  # noqa: S101 -- or the probe is not given
    assert url  # noqa: S101 -- the edge has checked it
    database = Database(url.reveal(), application_name=run.migration_name, signals=run.signals)
    try:
        with run.signals.interruptible():
            rows = read_only_query.run(database, query, run.deadline.left())
    except StepFailed as error:
        raise failed(error.detail, sqlstate=error.facts.get("sqlstate")) from error
    finally:
        database.close()
    return judge_rows(rows)


def judge_rows(rows: Sequence[Sequence[object]] | None) -> Facts:
    """Fails unless there is a row and every column of every row is true."""
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


def _boot(run: Run) -> Facts:
    """Fails unless the new code's web process answers."""
    from release.probes.boot import boot  # noqa: PLC0415 -- imports http.client and ssl
    from release.protected.sessions import sessions_left  # noqa: PLC0415 -- only where there is something to boot

    assert run.settings.probe_path  # noqa: S101 -- or the probe is not given
    try:
        return boot(run, run.settings.probe_path, _environ(run))
    finally:
        sessions_left(run)


def _live(run: Run) -> Facts:
    """Fails unless the app that runs answers, old code on the new schema."""
    from release.web import Problem, Request, shown  # noqa: PLC0415 -- imports http.client and ssl

    url = run.settings.probe_url
    assert url  # noqa: S101 -- or the probe is not given
    answers = []

    def answered_for_good() -> bool:
        within = max(0.1, run.clock.real(run.deadline.clamp(GET_WITHIN)))
        with run.signals.interruptible():
            answers.append(Request("GET", url, timeout=within).wait(within))
        # A wrong certificate and an unknown host do not pass within a probe's time.
        return answers[-1].ok or answers[-1].problem in {Problem.CERTIFICATE, Problem.NOT_FOUND}

    with suppress(TimedOut):  # the last answer says what was wrong
        polling(
            answered_for_good, until=bool, name="GET the live app", clock=run.clock, log=run.log, deadline=run.deadline
        )
    answer = answers[-1]
    if not answer.ok:
        raise failed(f"{shown(url)}: {answer}", url=shown(url), status=answer.status, body=answer.body or None)
    return {"url": shown(url), "status": answer.status}


CONFIGURED: Final[tuple[Probe[Run], ...]] = (
    Probe(
        name="command",
        given=lambda settings: settings.probe_command,
        describe=lambda settings: f"command: {' '.join(settings.probe_command or ())}",
        run=_command,
    ),
    Probe(
        name="sql",
        given=lambda settings: settings.probe_sql,
        describe=lambda settings: f"sql: {settings.probe_sql}",
        run=_sql,
    ),
    Probe(
        name="boot",
        given=lambda settings: settings.probe_path,
        describe=lambda settings: f"boot: GET {settings.probe_path} of the new code's web process",
        run=_boot,
    ),
    Probe(
        name="live",
        given=lambda settings: settings.probe_url,
        describe=lambda _: "live: GET RELEASE_PROBE_URL",
        run=_live,
    ),
)
"""The configured probes, in the order in which they run."""


def run_configured(run: Run) -> None:
    """Runs those that the settings ask for, in RELEASE_PROBE_TIMEOUT. Raises StepFailed at the first that fails."""
    in_time = replace(run, deadline=run.deadline.within(run.settings.probe_timeout))
    run_probes(run, CONFIGURED, in_time)
