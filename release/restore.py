"""Restore: decide, fence, salvage, restore, prove, tidy, lower the fence. It only ever undoes what its own run did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from release import fence, migrate
from release.backup import BackedUp, Unprotected, capture, find_backup, follow, take_fingerprint
from release.clock import Deadline, Interrupted
from release.database import fingerprint, grants, repair
from release.database.fingerprint import Comparison, Verdict
from release.database.journal import State
from release.database.session import Database, Failed, Lost, translated
from release.errors import Outcome, Reason, ReleaseError, StepFailed
from release.heroku.http import HerokuError
from release.heroku.start import Request, start
from release.heroku.transfers import Transfer, harmless_warnings
from release.log import Event
from release.retry import TimedOut, retried
from release.run import Ending, Run, ended, migration_name
from release.settings import FenceMode, Restore, Switch
from release.target import Target, quiet_transfers

Before = BackedUp | Unprotected
"""The database before the migration, with or without a backup."""

GHOSTS_GONE_WITHIN = 30.0
"""Seconds that sessions of the migration get to end; their statements are cancelled first."""

RECONNECT_WITHIN = 60.0
"""Seconds in which a database that refuses connections may come back."""

RESTORE_WITHIN = 900.0
"""Seconds a restore gets at least, though the plan be used up: Heroku ends the dyno, not the transfer."""

ATTEMPTS = 2

NOT_AGAIN = frozenset(
    {
        Reason.BACKUP_GONE,
        Reason.BACKUP_UNUSABLE,
        Reason.OUTCOME_UNKNOWN,
        Reason.LOCK_LOST,
        Reason.DATABASE_MISMATCH,
        Reason.RESTORE_UNFINISHED,
        Reason.FOREIGN_TRANSFER,
    }
)
"""Problems that a second restore would not mend, or that make it dangerous: the first may be under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What became of the failed state before it was overwritten: the salvage, or None."""

    salvage: Transfer | None


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
    no_ghosts(run, run.id)
    entry = run.journal.entry(run.id)
    if entry is not None and entry.state is State.BACKING_UP:
        return _skip(run, backup, Outcome.UNTOUCHED, "the migration had not begun", failure)
    if entry is not None and entry.state is State.FINISHED:
        run.log.info(Event.RESTORE_SKIPPED, why="the journal says that this run is settled")
        # Settled by itself, and stopped before the fence was down; or by another run, which has lowered it.
        fence.lower(run, backup.target if isinstance(backup, BackedUp) else None)
        return ended(Outcome(entry.outcome or Outcome.UNTOUCHED), failure, backup=backup.name)
    comparison = compare(run, backup)
    skipped = decide(run, backup, comparison, failure)
    if skipped is not None:
        return skipped
    if isinstance(backup, Unprotected):
        return _skip(run, backup, Outcome.KEPT, Reason.NO_BACKUP.text, failure)
    run.journal.announce(run.id, State.RESTORING)
    return comparison


def no_ghosts(run: Run, run_id: str) -> None:
    """Ends what is left of a migration: a killed client's statement goes on in the server and could still commit.

    Raises Failed (sessions_left) or Lost.
    """
    reconnect(run)
    name = migration_name(run_id)
    gone = run.database.terminate(name, clock=run.clock, deadline=run.deadline.within(GHOSTS_GONE_WITHIN))
    if gone:
        run.warn("sessions_ended", f"sessions of the migration ({name}) were ended")


def end_prepared(run: Run, before: fingerprint.Fingerprint) -> None:
    """Rolls back what was prepared since: it holds locks against salvage and restore, and could still be committed.

    Only once a restore is decided, which would undo it anyway: it may be another writer's.
    """
    for gid in sorted(set(run.database.prepared_transactions()) - set(before.prepared)):
        try:
            run.database.roll_back_prepared(gid)
        except Failed as error:
            run.warn("transaction_left", f"the prepared transaction {gid}: {error}")
        else:
            run.warn("transaction_rolled_back", f"the prepared transaction {gid} was left behind")


def reconnect(run: Run) -> None:
    """Makes sure of a session that holds the lock. Raises Lost, or StepFailed (lock_lost)."""
    deadline = run.deadline.within(RECONNECT_WITHIN)
    while True:
        try:
            if run.database.holds_lock() or run.database.try_lock():
                return
            problem: StepFailed = StepFailed(Reason.LOCK_LOST, str(run.database.lock_holder()))
        except Lost as error:
            problem = error
        if deadline.expired:
            raise problem
        run.clock.sleep(deadline.clamp(0.5))


def compare(run: Run, backup: Before) -> Comparison:
    """The database now against the fingerprint from before the migration."""
    comparison = fingerprint.compare(backup.before, take_fingerprint(run))
    run.log.info(
        Event.DATABASE_COMPARED,
        verdict=comparison.verdict,
        differences=[str(each) for each in comparison.differences],
        written=figures(comparison),
    )
    return comparison


def figures(comparison: Comparison) -> dict[str, str]:
    """What was written to each table, in words."""
    return {table: str(written) for table, written in comparison.written.items()}


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
    return None


def _skip(run: Run, backup: Before, outcome: Outcome, why: str, failure: ReleaseError | Interrupted) -> Ending:
    run.log.info(Event.RESTORE_SKIPPED, why=why)
    hint = None
    if outcome is Outcome.KEPT:
        hint = Reason.RESTORE_OFF.hint.replace("BACKUP", backup.name) if backup.name else Reason.NO_BACKUP.hint
    ending = ended(outcome, failure, backup=backup.name, hint=hint)
    close(run, backup.target if isinstance(backup, BackedUp) else None, ending)
    return ending


def close(run: Run, target: Target | None, ending: Ending) -> None:
    """Closes the journal's row and lowers the fence, over a database that is old, or as somebody decided."""
    reason = ending.reason.slug if ending.reason else None
    raised = FenceMode.RESTORE if ending.restore and run.settings.fence is not FenceMode.OFF else None
    try:
        run.journal.close(run.id, outcome=str(ending.outcome), reason=reason, restore=ending.restore, fence=raised)
        fence.lower(run, target)
    except StepFailed as error:
        run.warn("journal_not_closed", f"{error}; the next run closes it")


def carry_out(run: Run, backup: BackedUp, comparison: Comparison | None, failure: ReleaseError | Interrupted) -> Ending:
    """Fence, salvage, restore, prove, with one more try; `restore_failed` when neither ends well.

    Without `comparison` a restore has already overwritten the failed state, and there is nothing to salvage.
    """
    target = backup.target
    kept = Kept(salvage=None)
    if run.settings.fence is not FenceMode.OFF and not backup.sealed:
        try:
            fence.up(run, target, FenceMode.RESTORE)
        except (HerokuError, StepFailed) as error:
            run.warn("fence_not_raised", str(error))
    if comparison is not None:
        try:
            kept = salvage(run, backup, comparison)
        except (HerokuError, StepFailed) as error:
            kept = _unsalvaged(run, backup, comparison, str(error))
    transfer, problem = load_and_prove(run, backup)
    if problem is not None or transfer is None:
        return not_restored(backup, problem or StepFailed(Reason.RESTORE_FAILED), failure, kept, transfer)
    ending = _restored(failure, backup, kept, transfer)
    close(run, target, ending)
    return ending


def load_and_prove(
    run: Run, backup: BackedUp, proof: Callable[[Run, BackedUp], None] | None = None
) -> tuple[Transfer | None, ReleaseError | None]:
    """Restores and proves, with one more try where that may help: the last restore, and what is wrong with it if so."""
    problem: ReleaseError | None = None
    transfer: Transfer | None = None
    for attempt in range(1, ATTEMPTS + 1):
        try:
            transfer = load(run, backup)
            (proof or prove)(run, backup)
        except ReleaseError as error:
            problem = error
            run.warn("restore_attempt_failed", str(error), attempt=attempt)
            if error.reason in NOT_AGAIN:
                break
            continue
        return transfer, None
    return transfer, problem


def _restored(failure: ReleaseError | Interrupted, backup: BackedUp, kept: Kept, transfer: Transfer) -> Ending:
    return ended(
        Outcome.RESTORED,
        failure,
        backup=backup.name,
        salvage=kept.salvage.name if kept.salvage else None,
        restore=transfer.name,
    )


def not_restored(
    backup: Before,
    problem: ReleaseError,
    failure: ReleaseError | Interrupted,
    kept: Kept | None = None,
    transfer: Transfer | None = None,
) -> Ending:
    """The ending that needs a person, with what to paste. The fence stays up, where it is up."""
    by_hand = commands_by_hand(backup.target, backup.name) if isinstance(backup, BackedUp) else []
    return ended(
        Outcome.RESTORE_FAILED,
        problem,
        backup=backup.name,
        salvage=kept.salvage.name if kept and kept.salvage else None,
        restore=transfer.name if transfer else None,
        hint=f"{problem.reason.hint} Or paste: {'; '.join(by_hand)} (it began with: {failure})",
    )


def commands_by_hand(target: Target, backup: str | None = None) -> list[str]:
    """What a person pastes to end what the hook could not."""
    app = target.app.name
    restore = [f"heroku pg:backups:restore {backup} {target.addon.name} --app {app}"] if backup else []
    scale = " ".join(f"{kind}={count}" for kind, count in target.formation.items() if count and kind != "release")
    return [
        *restore,
        *([f"heroku ps:scale {scale} --app {app}"] if scale else []),
        *([] if target.app.maintenance else [f"heroku maintenance:off --app {app}"]),
    ]


def salvage(run: Run, backup: BackedUp, comparison: Comparison) -> Kept:
    """Captures the failed state; never at the price of the backup that is to be restored, nor of its time."""
    if run.settings.salvage is Switch.OFF:
        return _unsalvaged(run, backup, comparison, "RELEASE_SALVAGE=off")
    target = backup.target
    newest = retried(
        lambda: target.data.transfer(target.addon, backup.uuid),
        name="GET backup",
        clock=run.clock,
        log=run.log,
        deadline=run.deadline,
    )
    if newest.num_keep is not None and newest.num_keep < 2:  # noqa: PLR2004 -- the backup and its salvage
        return _unsalvaged(
            run,
            backup,
            comparison,
            f"Heroku keeps {newest.num_keep} backup of this plan; the salvage would rotate it out",
        )
    left = run.deadline.left() - backup.restore_seconds
    if left < backup.seconds:
        return _unsalvaged(run, backup, comparison, f"no time: {left:.0f} s are left beside the restore")
    end_prepared(run, backup.before)
    taken = capture(run, target, kind="salvage", deadline=run.deadline.within(left))
    run.journal.announce(run.id, State.RESTORING, salvage=taken.uuid)
    return Kept(salvage=taken)


def _unsalvaged(run: Run, backup: BackedUp, comparison: Comparison | None, why: str) -> Kept:
    """No salvage: harmless when nobody else could write; otherwise said loudly, with the tables and figures."""
    if not backup.sealed and comparison and comparison.written:
        run.warn(
            "not_salvaged",
            f"{why}; rows written since the backup will be lost where they were not the migration's own",
            written=figures(comparison),
        )
    else:
        run.warn("not_salvaged", f"{why}; nobody else has written since the backup")
    return Kept(salvage=None)


def load(run: Run, backup: BackedUp) -> Transfer:
    """Restores the run's own backup, by uuid, onto its add-on, and waits. Raises StepFailed or HerokuError."""
    target = backup.target
    reconnect(run)
    end_prepared(run, backup.before)
    source = find_backup(target, backup.uuid)
    quiet_transfers(run, target.data, target.addon, target.source)
    migrate.still_ours(run, backup.identity)
    run.database.terminate(run.migration_name, clock=run.clock, deadline=run.deadline.within(GHOSTS_GONE_WITHIN))
    if run.settings.fence is not FenceMode.OFF:
        fence.end_sessions(run)
    return await_restore(run, target, ask(run, target, source))


def ask(run: Run, target: Target, source: Transfer) -> Transfer:
    """Asks Heroku to restore a backup onto the add-on, exactly once. Raises StepFailed or HerokuError."""
    listed = retried(
        lambda: target.data.transfers(target.addon),
        name="GET transfers",
        clock=run.clock,
        log=run.log,
        deadline=run.deadline,
    )
    request = Request(
        name="POST restores",
        post=lambda: target.data.restore(target.addon, source),
        listed=lambda: target.data.transfers(target.addon),
        known=frozenset(each.uuid for each in listed),
        ours=lambda each: each.is_restore and each.writes(target.source) is not False and loads(each, source),
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


def loads(restore: Transfer, backup: Transfer) -> bool:
    """Whether a restore's source is this backup, as far as the list tells."""
    return restore.from_url is None or restore.from_url == backup.to_url


def await_restore(run: Run, target: Target, started: Transfer) -> Transfer:
    """Waits for a restore and accepts it, or not. Raises StepFailed (restore_failed) or HerokuError."""
    try:
        finished = follow(run, target, started, kind="restore", deadline=run.deadline)
    except TimedOut as error:
        raise StepFailed(Reason.RESTORE_UNFINISHED, f"{started.name}: {error}") from error
    if finished.succeeded is not True or finished.canceled_at:
        how = "was cancelled" if finished.canceled_at else "failed"
        raise StepFailed(Reason.RESTORE_FAILED, f"{finished.name} {how}", transfer=finished.name)
    if finished.warnings:
        logs = retried(
            lambda: target.data.logs(target.addon, finished.uuid),
            name="GET transfer logs",
            clock=run.clock,
            log=run.log,
            deadline=run.deadline,
        )
        if not harmless_warnings(logs, finished.warnings):
            raise StepFailed(Reason.RESTORE_FAILED, f"{finished.name} finished with {finished.warnings} warnings")
    return finished


def prove(run: Run, backup: BackedUp) -> None:
    """Proves that the database is what it was before the migration, tidying up first. Raises StepFailed or Lost."""
    reconnect(run)
    entry = run.journal.entry(run.id)
    if entry is None or entry.state is not State.BACKING_UP:
        state = entry.state if entry else "missing"
        raise StepFailed(Reason.RESTORE_UNPROVED, f"the journal's row is not the dump's ({state}): it did not reset")
    tidy_and_compare(run, run.database, backup.before, rows_must_match=backup.sealed)


def tidy_and_compare(run: Run, database: Database, before: fingerprint.Fingerprint, *, rows_must_match: bool) -> None:
    """Removes what the dump does not know, puts back what it cannot carry, compares, and refreshes the statistics."""
    with translated():
        for removed in repair.remove_unknown(database.connection, before):
            run.warn("unknown_object_removed", removed)
        for problem in grants.put_back_grants(database.connection, before):
            run.warn("grant_not_put_back", problem)
    comparison = fingerprint.same_structure(before, take_fingerprint(run), rows_must_match=rows_must_match)
    differences = [str(each) for each in comparison.differences]
    run.log.info(Event.DATABASE_COMPARED, verdict="equal" if not differences else "changed", differences=differences)
    if differences:
        raise StepFailed(Reason.RESTORE_UNPROVED, "; ".join(differences[:20]), differences=len(differences))
    try:
        with translated():
            repair.analyze(database.connection)
    except Failed as error:
        run.warn("analyze_failed", str(error))
