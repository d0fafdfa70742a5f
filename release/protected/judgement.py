"""Judgement: whether a finished backup may be trusted, and a finished restore is one."""

from __future__ import annotations

from contextlib import suppress

from release.errors import Reason, StepFailed
from release.heroku.complaints import complaints
from release.heroku.http import HerokuError
from release.heroku.transfers import Transfer
from release.log.events import Event
from release.protected.target import Target
from release.run import Run

LOG_WITHIN = 30.0
"""Seconds in which a transfer's log has to be got."""

SHOWN = 40
"""Complaints of one restore that are said."""


def check_usable(target: Target, backup: Transfer, known: frozenset[str]) -> None:
    """Whether a finished backup may be trusted with the database. Raises StepFailed."""
    if backup.succeeded is not True or backup.canceled_at:
        how = "was cancelled" if backup.canceled_at else "failed"
        raise StepFailed(Reason.BACKUP_FAILED, f"{backup.name} {how}", transfer=backup.name)
    faults = [
        text
        for wrong, text in (
            (backup.warnings, f"it finished with {backup.warnings} warnings"),
            (not backup.size, "it is empty"),
            (not backup.is_backup, f"it is a transfer from {backup.from_type} to {backup.to_type}"),
            (backup.reads(target.source) is False, "it is of another database"),
            (backup.uuid in known, "it was there before this run began"),
            (not backup.to_url, "it has no address to restore from"),
            (backup.deleted_at, "it was deleted"),
        )
        if wrong
    ]
    if faults:
        raise StepFailed(Reason.BACKUP_UNUSABLE, f"{backup.name}: {', '.join(faults)}", transfer=backup.name)


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
    return target.store.log(run, restore, deadline=run.deadline.within(LOG_WITHIN))


def _last_words(run: Run, target: Target, restore: Transfer) -> str:
    """What a failed restore's log says last, where it can be read."""
    with suppress(HerokuError):
        lines = _log(run, target, restore)
        found = [str(complaint) for complaint in complaints(lines)] or [line for line in lines if line.strip()]
        return f": {found[-1]}" if found else ""
    return ""
