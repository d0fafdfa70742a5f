"""Probe: the new code and the new schema, checked together. All probes must pass.

Built in, after a migration: nothing is pending any more, no index became invalid, no constraint lost its validation, no
table that held rows is empty, no sequence fell behind its column. Then those that are configured: command, SQL, boot,
live.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from release.child.process import CommandNotStarted
from release.clock import Deadline
from release.database import checks, evidence
from release.database.outset import emptied_tables
from release.database.session import Database, translated
from release.errors import ProbeFailed, Reason, StepFailed
from release.log import Event
from release.retry import TimedOut, polling
from release.run import Run
from release.settings import Guard, OnMissing
from release.steps import drift, prepare
from release.steps.backup import BackedUp, Unprotected
from release.steps.command import app_environ, run_app
from release.steps.migrate import sessions_left
from release.steps.prepare import Commands

MOST_TABLES = 20
"""Tables that a failure names."""

SHOWN_ROWS = 5
SHOWN_VALUE = 80
"""Characters of a value in a row that is shown."""

GET_WITHIN = 10.0
"""Seconds for one request to the live app."""

Facts = Mapping[str, object]


def probe(run: Run, commands: Commands, backup: BackedUp | Unprotected | None) -> None:
    """Runs the built-in probes (with `backup`: after a migration), then the configured ones. Raises StepFailed."""
    settings = run.settings
    if backup is not None:
        _built_in(run, commands, backup)
    deadline = run.deadline.within(settings.probe_timeout)
    if command := settings.probe_command:
        _check(run, "command", lambda: _command(run, command, deadline))
    if query := settings.probe_sql:
        _check(run, "sql", lambda: _sql(run, query, deadline))
    if path := settings.probe_path:
        _check(run, "boot", lambda: _boot(run, path, deadline))
    if url := settings.probe_url:
        _check(run, "live", lambda: _live(run, url, deadline))


def _check(run: Run, name: str, check: Callable[[], Facts | None]) -> None:
    """Runs one probe and logs how it went. `check` returns what it saw, or None when it cannot tell."""
    began = run.clock.monotonic()
    try:
        facts = check()
    except ProbeFailed as error:
        took = round(run.clock.monotonic() - began, 3)
        run.log.error(Event.PROBE_FAILED, probe=name, detail=error.detail, duration=took, **error.facts)
        raise ProbeFailed(error.reason, f"{name}: {error.detail}", probe=name, **error.facts) from error
    if facts is not None:
        run.log.info(Event.PROBE_PASSED, probe=name, **{"duration": run.clock.monotonic() - began, **facts})


def failed(detail: str, **facts: object) -> ProbeFailed:
    """A probe that failed for no more special reason."""
    return ProbeFailed(Reason.PROBE_FAILED, detail, **facts)


# Built in.


def _built_in(run: Run, commands: Commands, backup: BackedUp | Unprotected) -> None:
    _check(run, "nothing_pending", lambda: _nothing_pending(run, commands))
    if run.settings.on_missing_migrations is not OnMissing.OFF:
        _check(run, "nothing_missing", lambda: _nothing_missing(run, commands))
    _check(run, "valid_indexes", lambda: _valid_indexes(run, backup))
    _warn_of_invalid_indexes(run)
    _check(run, "valid_constraints", lambda: _valid_constraints(run, backup))
    _check(run, "emptied_tables", lambda: _emptied_tables(run, backup))
    _check(run, "sequences", lambda: _sequences(run, backup))


def _nothing_pending(run: Run, commands: Commands) -> Facts | None:
    answer = prepare.ask_pending(run, commands)
    if answer:
        raise failed("the migration ended well, but migrations are still pending")
    return {} if answer is False else None


def _nothing_missing(run: Run, commands: Commands) -> Facts | None:
    """For a framework that could not tell before the migration."""
    missing = drift.missing_after(run, commands)
    if not missing:
        return None
    detail = f"models were changed without a migration: {'; '.join(missing)}"
    if run.settings.on_missing_migrations is OnMissing.REFUSE:
        raise ProbeFailed(Reason.MISSING_MIGRATIONS, detail)
    run.warn("missing_migrations", detail)
    return None


def _valid_indexes(run: Run, backup: BackedUp | Unprotected) -> Facts:
    """A concurrent index build that failed leaves an index that costs and serves nobody."""
    now = checks.invalid_indexes(run.database.connection)
    if invalid := sorted(set(now) - set(backup.before.invalid_indexes)):
        raise failed(f"invalid: {', '.join(invalid)}", indexes=invalid)
    return {}


def _warn_of_invalid_indexes(run: Run) -> None:
    """Those that were there before: CREATE INDEX … IF NOT EXISTS goes by the name and leaves them as they are."""
    if indexes := checks.invalid_indexes(run.database.connection):
        again = "; ".join(f"REINDEX INDEX CONCURRENTLY {index}" for index in indexes)
        run.warn(
            "invalid_indexes",
            "indexes that serve no query were there before this release, and IF NOT EXISTS skips them by name;"
            f" build them anew: {again}",
            indexes=indexes,
        )


def _valid_constraints(run: Run, backup: BackedUp | Unprotected) -> Facts:
    if constraints := checks.unvalidated(run.database.connection, backup.before):
        raise failed(f"valid before, not valid now: {', '.join(constraints)}", constraints=constraints)
    return {}


def _emptied_tables(run: Run, backup: BackedUp | Unprotected) -> Facts:
    """A migration that empties tables may end well, and all is gone: flush, schema:load, a careless DELETE."""
    with translated():
        emptied, usual, unknown = emptied_tables(run.database.connection, backup.before, backup.outset)
    if usual:
        run.warn("tables_emptied", f"empty now, as they often are: {', '.join(usual)}", tables=usual)
    if unknown:
        run.warn("rows_unknown", f"could not be looked into for rows: {', '.join(unknown)}", tables=unknown)
    if not emptied:
        return {}
    detail = f"held rows before the migration, and are empty now: {', '.join(emptied[:MOST_TABLES])}"
    run.guard(Guard.EMPTIED_TABLES, ProbeFailed(Reason.EMPTIED_TABLES, detail, tables=emptied))
    return {"tables": emptied}


def _sequences(run: Run, backup: BackedUp | Unprotected) -> Facts:
    """Only of tables that were written since: what was behind before is not this release's doing."""
    with translated():
        now = evidence.take(run.database.connection)
    written = evidence.compare(backup.outset.evidence, now).written
    behind = checks.sequences_behind(run.database.connection)
    ours = sorted(name for name, table in behind.items() if name not in backup.behind and table in written)
    if ours:
        raise failed(f"behind their columns, the next insert would fail: {', '.join(ours)}", sequences=ours)
    return {}


# Configured.


def environ(run: Run) -> dict[str, str]:
    """The environment of a probe: the app's, less the key; its sessions are told by the migration's name."""
    return app_environ(run, PGAPPNAME=run.migration_name)


def _command(run: Run, argv: tuple[str, ...], deadline: Deadline) -> Facts:
    try:
        ended = run_app(run, argv, deadline, env=environ(run))
    except CommandNotStarted as error:
        raise failed(str(error)) from error
    if ended.timed_out:
        raise failed(f"no end within {run.settings.probe_timeout:g} s")
    if not ended.ok:
        raise failed(f"it ended with {ended.how}", exit_code=ended.exit_code)
    return {"duration": ended.duration}


def _sql(run: Run, query: str, deadline: Deadline) -> Facts:
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


def _boot(run: Run, path: str, deadline: Deadline) -> Facts:
    from release.steps.boot import boot  # noqa: PLC0415 -- imports http.client and ssl

    try:
        return boot(run, path, deadline, environ(run))
    finally:
        sessions_left(run)


def _live(run: Run, url: str, deadline: Deadline) -> Facts:
    from release.steps.get import Problem, get, shown  # noqa: PLC0415 -- imports http.client and ssl

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
