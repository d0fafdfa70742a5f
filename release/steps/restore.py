"""Restore: decides, raises the fence, salvages, restores, proves, tidies up and lowers the fence.

It only ever undoes what its own run has done.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from msgspec.structs import replace

from release.clock import Deadline, Interrupted
from release.database.comparison import Comparison, Verdict
from release.database.entry import Entry, State
from release.database.put_back import put_back, put_back_settings
from release.database.session import translated
from release.errors import Outcome, Reason, ReleaseError, StepFailed
from release.heroku.http import HerokuError
from release.heroku.transfers import Transfer
from release.log.events import Event
from release.protected import fence, transfers
from release.protected.before import BackedUp, Before
from release.protected.changes import changed_since, witnessed_nothing
from release.protected.judgement import LogRead
from release.protected.latecomers import Latecomers, latecomers
from release.protected.lock import another_is_at_work, check_still_ours, own_row, reconnect
from release.protected.proof import Undecided, prove
from release.protected.salvage import salvage
from release.protected.sessions import end_ghosts, end_migration, end_prepared
from release.protected.taken_back import TakenBack, sentence, taken_back
from release.protected.target import Target
from release.protected.transfers import find_backup, quiet_transfers, requested_restores
from release.run import Ending, Run, ended, explain
from release.settings.model import FenceMode, Restore, Switch
from release.steps.backup import record_again

RESTORE_WITHIN = 900.0
"""Seconds that a restore gets at least, even beyond the time limit: Heroku would end the dyno, but not the transfer."""

ATTEMPTS = 2
"""How often the backup is restored at most."""

CLOSED_WITHIN = 60.0
"""Seconds within which the journal's row has to be closed."""

WITNESSED = "the witness saw that the migration has committed nothing"
"""Why there is nothing to undo, whatever others have written in the meantime."""

STAYED_UP = "Nothing was committed, so nothing had to be undone: the site stayed up, and what others wrote is in it."

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
"""Problems that a second restore would not solve, or that make it dangerous because the first may be under way."""


def undo(run: Run, backup: Before, failure: ReleaseError | Interrupted) -> Ending:
    """Brings the database back to what it was before the migration, after `failure`, unless that is proved needless."""
    run = replace(run, deadline=Deadline(run.clock, max(run.deadline.left(), RESTORE_WITHIN)))
    assessed = assess(run, backup, failure)
    if isinstance(assessed, Ending):
        return assessed
    assert isinstance(backup, BackedUp)  # noqa: S101 -- without a backup, assess ends the run
    return carry_out(run, backup, assessed, failure)


def assess(run: Run, backup: Before, failure: ReleaseError | Interrupted) -> Ending | Comparison:
    """Decides whether to restore. Returns an ending where it is needless or not wanted, else what was changed.

    In the latter case the journal says from now on that the run restores.
    """
    reconnect(run)
    nothing = witnessed_nothing(run, backup.before)
    unsettled = None if nothing else end_ghosts(run, run.id)
    entry = run.journal.entry(run.id)
    if entry is not None and entry.state is State.FINISHED:
        return end_settled(run, backup, entry, failure)
    if entry is not None and entry.state is State.BACKING_UP:
        return _skip(run, backup, Outcome.UNTOUCHED, "the migration had not begun", failure)
    if entry is None and backup.target and not requested_restores(backup.target):
        run.warn("journal_gone", "the migration has removed the journal of the release phase; it is written anew")
        record_again(run, backup)
    if nothing and entry is not None:
        return _skip(run, backup, Outcome.UNTOUCHED, WITNESSED, failure)
    comparison = changed_since(run, backup, unsettled=unsettled)
    if comparison.traces is not None and comparison.traces.only_around:
        comparison = _undo_around(run, backup)
    skipped = decide(run, backup, comparison, failure)
    if skipped is None:
        run.journal.announce(run.id, State.RESTORING)
    return skipped or comparison


def _undo_around(run: Run, backup: Before) -> Comparison:
    """Puts settings and the like back where nothing else was changed. That touches no row, and needs no fence."""
    with translated():
        for problem in put_back(run.database.connection, backup.before):
            run.warn("not_put_back", problem)
    return changed_since(run, backup)


def end_settled(
    run: Run, backup: Before, entry: Entry, failure: ReleaseError | Interrupted, *, unsure: bool = False
) -> Ending:
    """Ends a run whose row says that it is finished.

    Either this run was stopped before its fence was down, or another run has finished it. That run may be at its own
    work by now, behind a fence of its own, which is not this run's to lower: dynos would write into what is being
    loaded. `unsure`: this run may have raised a fence after the other had lowered it.
    """
    run.log.info(Event.RESTORE_SKIPPED, why="the journal says that this run is settled")
    ending = ended(Outcome(entry.outcome or Outcome.UNTOUCHED), failure, backup=backup.name, restore=entry.restore)
    if backup.target is None or (entry.fence is None and not unsure):
        return ending
    if another_is_at_work(run, backup.target):
        return ending if entry.fence is None else still_fenced(run, ending, backup.target)
    if unsure and run.settings.fence is not FenceMode.OFF:
        run.journal.fenced(run.id, FenceMode.RESTORE)
    return lowered(run, backup.target, ending)


def decide(run: Run, backup: Before, comparison: Comparison, failure: ReleaseError | Interrupted) -> Ending | None:
    """Returns an ending without a restore, where the verdict or the policy asks for one."""
    if comparison.verdict is Verdict.UNCHANGED:
        return _skip(run, backup, Outcome.UNTOUCHED, "the database is proved unchanged", failure)
    if why := why_kept(run, comparison):
        return _skip(run, backup, Outcome.KEPT, why, failure)
    return None if backup.target else _skip(run, backup, Outcome.KEPT, Reason.NO_BACKUP.text, failure)


def why_kept(run: Run, comparison: Comparison) -> str | None:
    """Returns why RELEASE_RESTORE lets such a change stay, or None where it lets it be undone unasked."""
    policy = run.settings.restore
    if policy is Restore.NEVER:
        return "RELEASE_RESTORE=never"
    if policy is Restore.IF_CHANGED and comparison.verdict is Verdict.SCHEMA_UNCHANGED:
        return "schema and history are unchanged, as RELEASE_RESTORE=if-changed asks"
    return None


def _skip(run: Run, backup: Before, outcome: Outcome, why: str, failure: ReleaseError | Interrupted) -> Ending:
    """Closes the run without a restore, and says why. Over a database that is kept, the hint is how to undo by hand."""
    run.log.info(Event.RESTORE_SKIPPED, why=why)
    hint = None
    if outcome is Outcome.KEPT:
        hint = Reason.RESTORE_OFF.hint.replace("BACKUP", backup.name) if backup.name else Reason.NO_BACKUP.hint
    elif why == WITNESSED:
        hint = f"{explain(failure)[0].hint} {STAYED_UP}"
    ending = ended(outcome, failure, backup=backup.name, hint=hint)
    return close(run, backup.target, ending, unread=fence.once_begun(run))


def close(
    run: Run,
    target: Target | None,
    ending: Ending,
    *,
    salvage: str | None = None,
    unread: fence.Unread = fence.Unread.PERHAPS,
) -> Ending:
    """Closes the journal's row and lowers the fence, over a database that is as before, or as somebody decided.

    Neither depends on the other. `salvage` is the name of one that the row alone is to know. Returns the ending, with
    what to paste where the site may still be down.
    """
    reason = ending.reason.slug if ending.reason else None
    raised = FenceMode.RESTORE if ending.restore and run.settings.fence is not FenceMode.OFF else None
    try:
        run.insisted(
            "close",
            lambda: run.journal.close(
                run.id,
                outcome=str(ending.outcome),
                reason=reason,
                restore=ending.restore,
                fence=raised,
                names={"backup": ending.backup, "salvage": ending.salvage or salvage},
            ),
            seconds=CLOSED_WITHIN,
        )
    except StepFailed as error:
        run.warn("journal_not_closed", f"{error}; the next run closes it")
    return lowered(run, target, ending, unread=unread, raised=raised is not None)


def lowered(
    run: Run,
    target: Target | None,
    ending: Ending,
    *,
    unread: fence.Unread = fence.Unread.PERHAPS,
    raised: bool = False,
) -> Ending:
    """Lowers the fence. Returns the ending, with what to paste where the fence may still be up."""
    if target is None or fence.lower(run, target, unread=unread, raised=raised):
        return ending
    return still_fenced(run, ending, target)


def still_fenced(run: Run, ending: Ending, target: Target) -> Ending:
    """The ending of a run whose fence may still be up: never a good one, and with what to paste."""
    paste = "; ".join(commands_by_hand(run, target)) or "release-phase recover"
    return replace(
        ending,
        exit_code=ending.outcome.exit_code if ending.outcome else ending.exit_code,
        hint=f"{ending.hint} The site may still be down. Paste: {paste}".strip(),
        facts={**ending.facts, "fence": "up"},
    )


def carry_out(run: Run, backup: BackedUp, comparison: Comparison | None, failure: ReleaseError | Interrupted) -> Ending:
    """Fences, salvages, restores and proves, with a second try. The outcome is `restore_failed` when both tries fail.

    `comparison` is None when a restore has already overwritten the failed state. Then there is nothing to salvage, and
    it is not known what the migration had added.
    """
    if comparison and run.settings.salvage is Switch.ON:
        backup.target.store.ask(run)  # the salvage needs the list as soon as the fence is up
    backup = _raise_fence(run, backup)
    added = comparison.added if comparison else None
    with latecomers(run, holding=comparison is not None and run.settings.fence is not FenceMode.OFF) as late:
        salvaged = salvage(run, backup, comparison, late) if comparison else None
        transfer, problem = load_and_prove(
            run, backup, lambda log_read: prove(run, backup, added, log_read=log_read), late
        )
    taken = taken_back(backup, comparison, late.last, run.accounts) if comparison else TakenBack()
    if problem is not None or transfer is None:
        failed = problem or StepFailed(Reason.RESTORE_FAILED)
        return with_others(run, not_restored(run, backup, failed, failure, salvaged, transfer), taken, late)
    ending = ended(
        Outcome.RESTORED,
        failure,
        backup=backup.name,
        salvage=salvaged.name if salvaged else None,
        restore=transfer.name,
    )
    return close(run, backup.target, with_others(run, ending, taken, late))


def _raise_fence(run: Run, backup: BackedUp) -> BackedUp:
    """Raises the fence unless it is up, and holds. A failure is a warning.

    Returns the backup, which is not sealed any more where others have come back behind the fence.
    """
    try:
        if backup.sealed and (there := fence.came_back(run)):
            fence.warn_of_leak(run, sessions=there)
            backup = replace(backup, sealed=False)
        if run.settings.fence is not FenceMode.OFF and not backup.sealed:
            fence.put_up(run, backup.target, FenceMode.RESTORE)
    except (HerokuError, StepFailed) as error:
        run.warn("fence_not_raised", str(error))
    return backup


def with_others(run: Run, ending: Ending, taken: TakenBack, late: Latecomers) -> Ending:
    """Adds to an ending what others have written, where it is now, and how it is brought in again."""
    lost = late.named()
    if lost:
        run.warn(
            "written_since_salvage",
            f"others have written after the salvage, and before the database was reset: {', '.join(list(lost)[:10])}",
            tables=lost,
        )
    if not taken and not lost:
        return ending
    rows = (
        {
            "by_others": taken.by_others,
            "meanwhile": taken.meanwhile,
            "only_others": list(taken.only_others),
            "migration": None if taken.migration is None else list(taken.migration),
        }
        if taken
        else None
    )
    facts = {"taken_back": rows, "written_since_salvage": lost or None}
    return replace(
        ending,
        hint=f"{ending.hint} {sentence(taken, ending.salvage, lost)}".strip(),
        facts={**ending.facts, **{name: value for name, value in facts.items() if value}},
    )


def load_and_prove(
    run: Run, backup: BackedUp, proof: Callable[[LogRead], None], late: Latecomers | None = None
) -> tuple[Transfer | None, ReleaseError | None]:
    """Restores and proves, with a second try where that may help.

    Returns the last restore, and what is wrong with it, if anything is. `proof` is called with what the restore's log
    will say. `late` looks at what others write until the database is reset.
    """
    problem: ReleaseError | None = None
    transfer: Transfer | None = None
    for attempt in range(1, ATTEMPTS + 1):
        try:
            transfer, log_read = load_backup(run, backup, late)
            backup.target.site.ask(run)  # to put it back as soon as the proof is made
            with log_read.telling():
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
    """Returns the ending that needs a person, with what to paste, or that of another run that has taken over.

    A fence stays up.
    """
    names = {
        "backup": backup.name,
        "salvage": salvaged.name if salvaged else None,
        "restore": transfer.name if transfer else None,
    }
    if problem.reason is Reason.LOCK_LOST:
        return taken_over(run, backup, failure) or ended(Outcome.HANDED_OVER, problem, **names)
    by_hand = f" Or paste: `{'; '.join(commands_by_hand(run, backup.target, backup.name))}`." if backup.target else ""
    return ended(
        Outcome.RESTORE_FAILED,
        problem,
        hint=f"{problem.reason.hint}{by_hand} It began with this: {failure}",
        **names,
    )


def taken_over(run: Run, backup: Before, failure: ReleaseError | Interrupted) -> Ending | None:
    """Returns how another run has ended this one, if it has by now and the journal can be read."""
    try:
        entry = run.journal.entry(run.id)
        if entry is None or entry.state is not State.FINISHED:
            return None
        return end_settled(run, backup, entry, failure, unsure=True)
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


def load_backup(run: Run, backup: BackedUp, late: Latecomers | None = None) -> tuple[Transfer, LogRead]:
    """Restores the run's own backup, by uuid, onto its add-on, waits for it and judges it.

    Those who have come back are ended once more, and what others write is looked at right before Heroku is asked.
    Returns the restore, and what its log will say. Raises StepFailed or HerokuError.
    """
    target = backup.target
    reconnect(run)
    end_prepared(run, backup.outset.evidence)
    target.store.ask(run, backup.uuid)
    source = find_backup(run, target, backup.uuid)
    entry = own_row(run)
    # A salvage of this run's own that hangs is not waited for: the restore ends every session first.
    quiet_transfers(run, target.store, target.source, ours=entry.salvage if entry else None)
    announce(run)
    end_migration(run, run.id)
    if run.settings.fence is not FenceMode.OFF:
        fence.end_sessions(run)
    _put_settings_back(run, backup)

    def first() -> None:
        announce(run)
        if late is not None:
            late.asked()

    return transfers.restore(run, target, source, first, late.sleep if late else None)


def _put_settings_back(run: Run, backup: BackedUp) -> None:
    """Puts back what the migration has set for new sessions, which would hold for the restore's own sessions, too.

    Such settings are read only, a timeout, a role. What cannot be put back is named by the proof, which tries again.
    """
    try:
        with translated():
            put_back_settings(run.database.connection, backup.before)
    except StepFailed as error:
        run.warn("not_put_back", f"{error}; the restore is asked for all the same")


def announce(run: Run) -> None:
    """Notes in the journal that a restore is about to be asked for. Raises StepFailed if another run has taken over."""
    check_still_ours(run)
    if own_row(run):
        run.journal.announce(run.id, State.LOADING)
