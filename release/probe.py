"""Probe: the new code and the new schema, checked together. All probes must pass."""

from __future__ import annotations

from release import prepare
from release.clock import Deadline
from release.database import fingerprint
from release.database.fingerprint import Fingerprint
from release.database.session import translated
from release.errors import Reason, StepFailed
from release.log import Event
from release.prepare import Commands
from release.process import CommandNotStarted, run_command
from release.run import Run

SHOWN_ROWS = 5


def probe(run: Run, commands: Commands, before: Fingerprint | None) -> None:
    """Runs the built-in probes (with `before`: after a migration), then the configured ones. Raises StepFailed."""
    deadline = run.deadline.within(run.settings.probe_timeout)
    if before is not None:
        _nothing_pending(run, commands)
        _no_new_invalid_index(run, before)
    if run.settings.probe_command:
        _command(run, run.settings.probe_command, deadline)
    if run.settings.probe_sql:
        _sql(run, run.settings.probe_sql, deadline)


def _passed(run: Run, probe: str, **facts: object) -> None:
    run.log.info(Event.PROBE_PASSED, probe=probe, **facts)


def _failed(run: Run, probe: str, detail: str, **facts: object) -> StepFailed:
    run.log.error(Event.PROBE_FAILED, probe=probe, detail=detail, **facts)
    return StepFailed(Reason.PROBE_FAILED, f"{probe}: {detail}", probe=probe)


def _nothing_pending(run: Run, commands: Commands) -> None:
    answer = prepare.ask_pending(run, commands)
    if answer:
        raise _failed(run, "nothing_pending", "the migration ended well, but migrations are still pending")
    if answer is False:
        _passed(run, "nothing_pending")


def _no_new_invalid_index(run: Run, before: Fingerprint) -> None:
    """A concurrent index build that failed leaves an index that costs and serves nobody."""
    with translated():
        after = fingerprint.take(run.database.connection)
    invalid = sorted(_invalid_indexes(after) - _invalid_indexes(before))
    if invalid:
        raise _failed(run, "valid_indexes", f"invalid: {', '.join(invalid)}", indexes=invalid)
    _passed(run, "valid_indexes")


def _invalid_indexes(document: Fingerprint) -> set[str]:
    blocks = document.schema.get("invalid indexes", {})
    return {line.partition("\t")[0] for block in blocks.values() for line in block.split("\n")}


def _command(run: Run, argv: tuple[str, ...], deadline: Deadline) -> None:
    try:
        ended = run_command(
            argv,
            env=prepare.child_environ(run),
            cwd=run.folder,
            log=run.log,
            clock=run.clock,
            deadline=deadline,
            signals=run.signals,
        )
    except CommandNotStarted as error:
        raise _failed(run, "command", str(error)) from error
    run.signals.check()
    if ended.timed_out:
        raise _failed(run, "command", f"no end within {run.settings.probe_timeout:g} s")
    if not ended.ok:
        raise _failed(run, "command", f"it ended with {ended.how}")
    _passed(run, "command", duration=round(ended.duration, 3))


def _sql(run: Run, query: str, deadline: Deadline) -> None:
    """The operator's own query, in a read-only transaction with the time that is left."""
    began = run.clock.monotonic()
    milliseconds = max(1, int(deadline.left() * 1000))
    try:
        with translated(), run.database.connection.transaction(), run.database.connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(milliseconds)])
            cursor.execute("SELECT set_config('search_path', 'public', true)")
            cursor.execute(query.encode())
            rows = cursor.fetchmany(1000) if cursor.description else None
    except StepFailed as error:
        raise _failed(run, "sql", error.detail) from error
    if rows is None:
        raise _failed(run, "sql", "the statement is no query: it returns no rows")
    if not rows:
        raise _failed(run, "sql", "the query returned no row")
    false = [list(row) for row in rows if not all(value is True for value in row)]
    if false:
        raise _failed(run, "sql", f"{len(false)} of {len(rows)} rows are not all true", rows=false[:SHOWN_ROWS])
    _passed(run, "sql", rows=len(rows), duration=round(run.clock.monotonic() - began, 3))
