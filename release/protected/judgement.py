"""Judgement: whether a finished backup may be trusted, and whether a finished restore has loaded it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from release.asked import Asked
from release.errors import Reason, StepFailed
from release.heroku.complaints import complaints
from release.heroku.http import HerokuError
from release.heroku.transfers import Transfer
from release.log.events import Event
from release.protected.target import Target
from release.run import Run

LOG_WITHIN = 30.0
"""Seconds within which a transfer's log has to be fetched."""

SHOWN = 40
"""How many complaints of one restore are logged at most."""


def check_usable(target: Target, backup: Transfer, known: frozenset[str]) -> None:
    """Checks that a finished backup may be trusted with the database. Raises StepFailed.

    `known` has the uuids of the transfers that were listed before it was asked for.
    """
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


class LogRead:
    """The judgement of a finished restore, this run's or another's, by its own log, which is being asked for.

    To make one raises StepFailed (restore_failed) where the restore did not succeed.
    """

    def __init__(self, run: Run, target: Target, finished: Transfer) -> None:
        self._run = run
        self._finished = finished
        self._lines = target.store.ask_for_log(run, finished, deadline=run.deadline.within(LOG_WITHIN))
        if finished.succeeded is not True or finished.canceled_at:
            how = "was cancelled" if finished.canceled_at else "failed"
            raise StepFailed(Reason.RESTORE_FAILED, f"{finished.name} {how}{_last_words(self._lines)}")
        self._judged: bool | None = None

    def __call__(self) -> bool:
        """Waits for the log and judges by it. Returns whether it could be read. Raises StepFailed (restore_failed)."""
        if self._judged is None:
            self._judged = _judge(self._run, self._finished, self._lines)
        return self._judged

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Lets the log have its say where something fails, since what it says of lost rows says more."""
        try:
            yield
        except StepFailed as error:
            if error.reason is not Reason.RESTORE_FAILED:  # with that reason, the log has had it already
                self()
            raise


def _judge(run: Run, finished: Transfer, lines: Asked[tuple[str, ...]]) -> bool:
    """Judges by the log. The number of warnings decides nothing.

    A table that could not be loaded is fatal. Whatever else pg_restore complained of is logged, and left to the proof.
    """
    try:
        complained = complaints(lines.answer())
    except HerokuError as error:
        run.warn("restore_log_unread", f"{finished.name}: {error}; the proof has to do without it")
        return False
    for complaint in complained[:SHOWN]:
        run.log.warning(
            Event.RESTORE_COMPLAINED,
            transfer=finished.name,
            about=complaint.about,
            error=complaint.error,
            fatal=complaint.fatal,
        )
    if fatal := [complaint for complaint in complained if complaint.fatal]:
        tables = sorted({complaint.table for complaint in fatal if complaint.table})
        named = f"rows of {', '.join(tables)} were not loaded" if tables else "rows were not loaded"
        raise StepFailed(Reason.RESTORE_FAILED, f"{finished.name}: {named}: {fatal[0]}", tables=tables)
    if (finished.warnings or 0) > len(complained):
        run.warn("restore_log_partial", f"{finished.name} has {finished.warnings} warnings, its log {len(complained)}")
        return False
    return True


def _last_words(log: Asked[tuple[str, ...]]) -> str:
    """Returns what a failed restore's log says last, after a colon, where it can be read."""
    with suppress(HerokuError):  # without the log, the error says less but is the same
        lines = log.answer()
        telling = [str(complaint) for complaint in complaints(lines)] or [line for line in lines if line.strip()]
        return f": {telling[-1]}" if telling else ""
    return ""
