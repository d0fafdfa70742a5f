"""Load: the restore itself, asked of Heroku once and waited for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from release.database.journal import State
from release.database.put_back import put_back_settings
from release.database.session import translated
from release.errors import Reason, StepFailed
from release.heroku.complaints import complaints
from release.heroku.http import HerokuError
from release.heroku.start import Request, start
from release.heroku.transfers import Transfer
from release.log import Event
from release.retry import TimedOut
from release.run import Run
from release.settings import FenceMode
from release.steps import fence
from release.steps.backup import BackedUp, find_backup, follow
from release.steps.migrate import still_ours
from release.steps.sessions import end_migration, end_prepared, reconnect, unsettled
from release.steps.target import Target, quiet_transfers, restores

LOG_WITHIN = 30.0
"""Seconds in which a transfer's log has to be got."""

SHOWN = 40
"""Complaints of one restore that are said."""


def load(run: Run, backup: BackedUp) -> tuple[Transfer, bool]:
    """Restores the run's own backup, by uuid, onto its add-on, waits and judges; whether the log was read.

    Raises StepFailed or HerokuError.
    """
    target = backup.target
    reconnect(run)
    end_prepared(run, backup.outset.evidence)
    source = find_backup(target, backup.uuid)
    entry = unsettled(run)
    # A salvage of our own that hangs keeps nobody away: what comes now ends it.
    quiet_transfers(run, target.data, target.addon, target.source, ours=entry.salvage if entry else None)
    announce(run, backup)
    end_migration(run, run.id)
    if run.settings.fence is not FenceMode.OFF:
        fence.end_sessions(run)
    _put_settings_back(run, backup)
    return await_restore(run, target, ask(run, target, source, lambda: announce(run, backup)))


def _put_settings_back(run: Run, backup: BackedUp) -> None:
    """What the migration has set for new sessions would hold for the restore's own, too: read only, a timeout, a role.

    What cannot be put back is named by the proof, which tries it again.
    """
    try:
        with translated():
            put_back_settings(run.database.connection, backup.before)
    except StepFailed as error:
        run.warn("not_put_back", f"{error}; the restore is asked for all the same")


def announce(run: Run, backup: BackedUp) -> None:
    """Says that a restore is about to be asked for, if nobody else has the run in hand by now. Raises StepFailed."""
    still_ours(run, backup.identity)
    if unsettled(run):
        run.journal.announce(run.id, State.LOADING)


def asked_for(target: Target) -> list[Transfer]:
    """Restores onto the database that were asked for since the run began, the newest last."""
    return restores(target.data.transfers(target.addon), target.source, after=target.baseline)


def ask(run: Run, target: Target, source: Transfer, first: Callable[[], None] = lambda: None) -> Transfer:
    """Asks Heroku to restore a backup onto the add-on, exactly once. Raises StepFailed or HerokuError.

    `first` is done right before each request.
    """

    def post() -> Transfer:
        first()
        return target.data.restore(target.addon, source)

    listed = run.retried("GET transfers", lambda: target.data.transfers(target.addon))
    request = Request(
        name="POST restores",
        post=post,
        listed=lambda: target.data.transfers(target.addon),
        known=frozenset(each.uuid for each in listed),
        ours=lambda each: both(each.writes(target.source), each.loads(source)),
    )
    started = start(request, clock=run.clock, log=run.log, deadline=run.deadline)
    run.log.info(
        Event.TRANSFER_STARTED,
        kind="restore",
        transfer=started.name,
        source=source.name,
        expected=target.expected(restores=True),
        expected_bytes=source.size,
    )
    return started


def both(one: bool | None, other: bool | None) -> bool | None:
    """Whether both are so; None when that is not told."""
    return False if one is False or other is False else one and other


def await_restore(run: Run, target: Target, started: Transfer) -> tuple[Transfer, bool]:
    """Waits for a restore and judges it: the transfer, and whether its log was read. Raises StepFailed, HerokuError."""
    try:
        finished = follow(run, target, started, kind="restore", deadline=run.deadline)
    except TimedOut as error:
        raise StepFailed(Reason.RESTORE_UNFINISHED, f"{started.name}: {error}") from error
    return finished, judge(run, target, finished)


def judge(run: Run, target: Target, finished: Transfer) -> bool:
    """Judges a finished restore, this run's or another's, by its own log; whether that could be read.

    The number of warnings decides nothing. A table that could not be loaded is fatal; whatever else pg_restore
    complained of is said, and left to the proof. Raises StepFailed (restore_failed).
    """
    if finished.succeeded is not True or finished.canceled_at:
        how = "was cancelled" if finished.canceled_at else "failed"
        raise StepFailed(Reason.RESTORE_FAILED, f"{finished.name} {how}{_last_words(run, target, finished)}")
    try:
        found = complaints(_log(run, target, finished))
    except HerokuError as error:
        run.warn("restore_log_unread", f"{finished.name}: {error}; the proof has to do without it")
        return False
    for complaint in found[:SHOWN]:
        run.log.warning(
            Event.RESTORE_COMPLAINED,
            transfer=finished.name,
            about=complaint.about,
            error=complaint.error,
            fatal=complaint.fatal,
        )
    if fatal := [complaint for complaint in found if complaint.fatal]:
        tables = sorted({complaint.table for complaint in fatal if complaint.table})
        named = f"rows of {', '.join(tables)} were not loaded" if tables else "rows were not loaded"
        raise StepFailed(Reason.RESTORE_FAILED, f"{finished.name}: {named}: {fatal[0]}", tables=tables)
    if (finished.warnings or 0) > len(found):
        run.warn("restore_log_partial", f"{finished.name} has {finished.warnings} warnings, its log {len(found)}")
        return False
    return True


def _log(run: Run, target: Target, restore: Transfer) -> tuple[str, ...]:
    return run.retried(
        "GET transfer logs",
        lambda: target.data.logs(target.addon, restore.uuid),
        deadline=run.deadline.within(LOG_WITHIN),
    )


def _last_words(run: Run, target: Target, restore: Transfer) -> str:
    """What a failed restore's log says last, where it can be read."""
    with suppress(HerokuError):
        lines = _log(run, target, restore)
        found = [str(each) for each in complaints(lines)] or [line for line in lines if line.strip()]
        return f": {found[-1]}" if found else ""
    return ""
