"""Restore: decide, fence, salvage, restore, prove, tidy, lower the fence. It only ever undoes what its own run did."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from release.clock import Deadline, Interrupted
from release.database.comparison import Comparison, Verdict
from release.database.journal import Entry, State
from release.database.put_back import put_back, put_back_settings
from release.database.session import translated
from release.errors import Outcome, Reason, ReleaseError, StepFailed
from release.heroku.http import HerokuError
from release.heroku.transfers import Transfer
from release.log.events import Event
from release.protected import fence, transfers
from release.protected.before import BackedUp, Before
from release.protected.changes import changed_since
from release.protected.lock import reconnect, still_ours, unsettled
from release.protected.proof import Undecided, prove
from release.protected.salvage import salvage
from release.protected.sessions import end_migration, end_prepared, no_ghosts
from release.protected.target import Target
from release.protected.transfers import asked_for, find_backup, quiet_transfers
from release.run import Ending, Run, ended
from release.settings.model import FenceMode, Restore
from release.steps.backup import record_again

RESTORE_WITHIN = 900.0
"""Seconds a restore gets at least, though the plan be used up: Heroku ends the dyno, not the transfer."""

ATTEMPTS = 2

CLOSED_WITHIN = 60.0
"""Seconds in which the journal's row has to be closed."""

NOT_AGAIN = frozenset(
    {
        Reason.BACKUP_GONE,
        Reason.BACKUP_UNUSABLE,
        Reason.OUTCOME_UNKNOWN,
        Reason.HEROKU_SHAPE_UNKNOWN,
        Reason.LOCK_LOST,
        Reason.DATABASE_MISMATCH,
        Reason.RESTORE_UNFINISHED,
        Reason.FOREIGN_TRANSFER,
    }
)
"""Problems that a second restore would not mend, or that make it dangerous: the first may be under way."""


def undo(run: Run, backup: Before, failure: ReleaseError | Interrupted) -> Ending:
    """Brings the database back to what it was before the migration, after `failure`; skips what is proved needless."""
    run = replace(run, deadline=Deadline(run.clock, max(run.deadline.left(), RESTORE_WITHIN)))
    found = assess(run, backup, failure)
    if isinstance(found, Ending):
        return found
    assert isinstance(backup, BackedUp)  # noqa: S101 -- without a backup, assess ends the run
    return carry_out(run, backup, found, failure)


def assess(run: Run, backup: Before, failure: ReleaseError | Interrupted) -> Ending | Comparison:
    """Whether to restore: an ending where it is needless or not wanted, else what was changed, said in the journal."""
    unsettled = no_ghosts(run, run.id)
    entry = run.journal.entry(run.id)
    if entry is not None and entry.state is State.FINISHED:
        return end_settled(run, backup, entry, failure)
    if entry is not None and entry.state is State.BACKING_UP:
        return _skip(run, backup, Outcome.UNTOUCHED, "the migration had not begun", failure)
    if entry is None and backup.target and not asked_for(backup.target):
        run.warn("journal_gone", "the migration has removed the journal of the release phase; it is written anew")
        record_again(run, backup)
    comparison = changed_since(run, backup, unsettled=unsettled)
    if comparison.traces is not None and comparison.traces.only_around:
        comparison = _set_back(run, backup)
    skipped = decide(run, backup, comparison, failure)
    if skipped is None:
        run.journal.announce(run.id, State.RESTORING)
    return skipped or comparison


def _set_back(run: Run, backup: Before) -> Comparison:
    """Puts settings and the like back where nothing else was changed: no row is touched by it, and nobody is fenced."""
    with translated():
        for problem in put_back(run.database.connection, backup.before):
            run.warn("not_put_back", problem)
    return changed_since(run, backup)


def end_settled(run: Run, backup: Before, entry: Entry, failure: ReleaseError | Interrupted) -> Ending:
    """Ends a run that its row says is finished: by itself, stopped before the fence was down; or by another."""
    run.log.info(Event.RESTORE_SKIPPED, why="the journal says that this run is settled")
    fence.lower(run, backup.target)
    return ended(Outcome(entry.outcome or Outcome.UNTOUCHED), failure, backup=backup.name, restore=entry.restore)


def decide(run: Run, backup: Before, comparison: Comparison, failure: ReleaseError | Interrupted) -> Ending | None:
    """An ending without a restore, where the verdict or the policy asks for one."""
    policy = run.settings.restore
    if comparison.verdict is Verdict.UNCHANGED:
        return _skip(run, backup, Outcome.UNTOUCHED, "the database is proved unchanged", failure)
    if policy is Restore.NEVER:
        return _skip(run, backup, Outcome.KEPT, "RELEASE_RESTORE=never", failure)
    if policy is Restore.IF_CHANGED and comparison.verdict is Verdict.SCHEMA_UNCHANGED:
        return _skip(
            run, backup, Outcome.KEPT, "schema and history are unchanged, as RELEASE_RESTORE=if-changed asks", failure
        )
    return None if backup.target else _skip(run, backup, Outcome.KEPT, Reason.NO_BACKUP.text, failure)


def is_wanted(run: Run, comparison: Comparison) -> bool:
    """Whether RELEASE_RESTORE lets such a change be undone unasked."""
    if run.settings.restore is Restore.IF_CHANGED:
        return comparison.verdict is not Verdict.SCHEMA_UNCHANGED
    return run.settings.restore is Restore.ALWAYS


def _skip(run: Run, backup: Before, outcome: Outcome, why: str, failure: ReleaseError | Interrupted) -> Ending:
    run.log.info(Event.RESTORE_SKIPPED, why=why)
    hint = None
    if outcome is Outcome.KEPT:
        hint = Reason.RESTORE_OFF.hint.replace("BACKUP", backup.name) if backup.name else Reason.NO_BACKUP.hint
    ending = ended(outcome, failure, backup=backup.name, hint=hint)
    return close(run, backup.target, ending)


def close(run: Run, target: Target | None, ending: Ending) -> Ending:
    """Closes the journal's row and lowers the fence, over a database that is old, or as somebody decided.

    The two do not depend on each other. Returns the ending, with what to paste where the site may still be down.
    """
    reason = ending.reason.slug if ending.reason else None
    raised = FenceMode.RESTORE if ending.restore and run.settings.fence is not FenceMode.OFF else None
    try:
        run.retried(
            "close",
            lambda: run.journal.close(
                run.id, outcome=str(ending.outcome), reason=reason, restore=ending.restore, fence=raised
            ),
            deadline=run.deadline.within(CLOSED_WITHIN),
        )
    except StepFailed as error:
        run.warn("journal_not_closed", f"{error}; the next run closes it")
    if target is None or fence.lower(run, target, raised=raised is not None):
        return ending
    return still_fenced(run, ending, target)


def still_fenced(run: Run, ending: Ending, target: Target) -> Ending:
    """The ending of a run whose fence may still be up: never a good one, and with what to paste."""
    paste = "; ".join(commands_by_hand(run, target)) or "bin/release recover"
    return replace(
        ending,
        exit_code=ending.outcome.exit_code if ending.outcome else ending.exit_code,
        hint=f"{ending.hint} The site may still be down. Paste: {paste}".strip(),
        facts={**ending.facts, "fence": "up"},
    )


def carry_out(run: Run, backup: BackedUp, comparison: Comparison | None, failure: ReleaseError | Interrupted) -> Ending:
    """Fence, salvage, restore, prove, with one more try; `restore_failed` when neither ends well.

    Without `comparison` a restore has already overwritten the failed state: there is nothing to salvage, and what the
    migration had added is not known.
    """
    target = backup.target
    if run.settings.fence is not FenceMode.OFF and not backup.sealed:
        try:
            fence.up(run, target, FenceMode.RESTORE)
        except (HerokuError, StepFailed) as error:
            run.warn("fence_not_raised", str(error))
    salvaged = salvage(run, backup, comparison) if comparison else None
    added = comparison.added if comparison else None
    transfer, problem = load_and_prove(run, backup, lambda log_read: prove(run, backup, added, log_read=log_read))
    if problem is not None or transfer is None:
        return not_restored(run, backup, problem or StepFailed(Reason.RESTORE_FAILED), failure, salvaged, transfer)
    ending = ended(
        Outcome.RESTORED,
        failure,
        backup=backup.name,
        salvage=salvaged.name if salvaged else None,
        restore=transfer.name,
    )
    return close(run, target, ending)


def load_and_prove(
    run: Run, backup: BackedUp, proof: Callable[[bool], None]
) -> tuple[Transfer | None, ReleaseError | None]:
    """Restores and proves, with one more try where that may help: the last restore, and what is wrong with it if so.

    `proof` is told whether the restore's log was read.
    """
    problem: ReleaseError | None = None
    transfer: Transfer | None = None
    for attempt in range(1, ATTEMPTS + 1):
        try:
            transfer, log_read = load_backup(run, backup)
            proof(log_read)
        except ReleaseError as error:
            problem = error
            run.warn("restore_attempt_failed", str(error), attempt=attempt)
            if error.reason in NOT_AGAIN or isinstance(error, Undecided):
                break
            continue
        return transfer, None
    return transfer, problem


def not_restored(
    run: Run,
    backup: Before,
    problem: ReleaseError,
    failure: ReleaseError | Interrupted,
    salvaged: Transfer | None = None,
    transfer: Transfer | None = None,
) -> Ending:
    """The ending that needs a person, with what to paste, or another run that has taken over. A fence stays up."""
    names = {
        "backup": backup.name,
        "salvage": salvaged.name if salvaged else None,
        "restore": transfer.name if transfer else None,
    }
    if problem.reason is Reason.LOCK_LOST:
        return taken_over(run, backup, failure) or ended(Outcome.HANDED_OVER, problem, **names)
    by_hand = commands_by_hand(run, backup.target, backup.name) if backup.target else []
    return ended(
        Outcome.RESTORE_FAILED,
        problem,
        hint=f"{problem.reason.hint} Or paste: {'; '.join(by_hand)} (it began with: {failure})",
        **names,
    )


def taken_over(run: Run, backup: Before, failure: ReleaseError | Interrupted) -> Ending | None:
    """How another run has ended this one, if it has by now and the journal can be read."""
    try:
        entry = run.journal.entry(run.id)
        if entry is None or entry.state is not State.FINISHED:
            return None
        if run.settings.fence is not FenceMode.OFF:  # this run may have raised it after the other had lowered it
            run.journal.fenced(run.id, FenceMode.RESTORE)
        return end_settled(run, backup, entry, failure)
    except StepFailed as error:
        run.warn("journal_unreadable", str(error))
        return None


def commands_by_hand(run: Run, target: Target, backup: str | None = None) -> list[str]:
    """What a person pastes to end what the hook could not.

    How the site stood is in the journal: a recovery finds the fence up already. It may be gone with a failed restore.
    """
    entry = None
    with suppress(StepFailed):
        entry = run.journal.entry(run.id)
    formation, maintenance = (
        (entry.formation, entry.maintenance) if entry else (target.formation, target.app.maintenance)
    )
    restore = [f"heroku pg:backups:restore {backup} {target.addon.name} --app {target.app.name}"] if backup else []
    return [*restore, *fence.by_hand(target.app.name, formation, maintenance=maintenance)]


def load_backup(run: Run, backup: BackedUp) -> tuple[Transfer, bool]:
    """Restores the run's own backup, by uuid, onto its add-on, waits and judges; whether the log was read.

    Raises StepFailed or HerokuError.
    """
    target = backup.target
    reconnect(run)
    end_prepared(run, backup.outset.evidence)
    source = find_backup(target, backup.uuid)
    entry = unsettled(run)
    # A salvage of our own that hangs keeps nobody away: what comes now ends it.
    quiet_transfers(run, target.store, target.source, ours=entry.salvage if entry else None)
    announce(run)
    end_migration(run, run.id)
    if run.settings.fence is not FenceMode.OFF:
        fence.end_sessions(run)
    _put_settings_back(run, backup)
    return transfers.restore(run, target, source, lambda: announce(run))


def _put_settings_back(run: Run, backup: BackedUp) -> None:
    """What the migration has set for new sessions would hold for the restore's own, too: read only, a timeout, a role.

    What cannot be put back is named by the proof, which tries it again.
    """
    try:
        with translated():
            put_back_settings(run.database.connection, backup.before)
    except StepFailed as error:
        run.warn("not_put_back", f"{error}; the restore is asked for all the same")


def announce(run: Run) -> None:
    """Says that a restore is about to be asked for, if nobody else has the run in hand by now. Raises StepFailed."""
    still_ours(run)
    if unsettled(run):
        run.journal.announce(run.id, State.LOADING)
