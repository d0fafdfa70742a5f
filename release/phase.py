"""The release phase, whole: prepare, back up, migrate, probe, finish; and undo when a step fails.

What a failure means for the database depends on where it happened, and here is where that is decided. In `prepare` and
`backup` nothing was changed. From `migrate` on, `undo` restores, or proves that it need not. Once `finish` has written
`released` into the journal, nothing may undo it any more.
"""

from __future__ import annotations

from release.app.command import find_commands
from release.clock import Interrupted
from release.errors import Outcome, ReleaseError
from release.run import Ending, Run, ended
from release.steps import handover, prepare, recover, restore
from release.steps.backup import back_up
from release.steps.migrate import migrate
from release.steps.probe import probe
from release.steps.rehearse import find_stage, rehearse
from release.target import fence
from release.target.before import Before
from release.target.lock import still_ours
from release.target.target import Target

UNFINISHED = frozenset({Outcome.RESTORE_FAILED, Outcome.HANDED_OVER})
"""Endings of an earlier run over which nothing new may begin."""


def release_phase(run: Run) -> Ending:
    """Runs the release phase. What it raises was raised while preparing: nothing was changed."""
    with run.step("prepare") as now:
        commands = find_commands(now)
        identity = prepare.connect(now)
        earlier = recover.finish_earlier(now)
        if earlier and earlier.outcome in UNFINISHED:
            return earlier
        pending = prepare.pending(now, commands)
        target = prepare.target(now) if pending else None
        reappeared = target is not None and recover.reappeared(now, target)
        stage = find_stage(now, target, identity)

    if reappeared:
        return release_phase(run)
    if not pending:
        with run.step("probe") as now:
            probe(now, commands, None)
            prepare.still_there(now)
        return ended(Outcome.RELEASED)

    backup = None
    try:
        with run.step("backup") as now:
            backup = back_up(now, target, identity)
        if stage:
            with run.step("rehearse") as now:
                backup = rehearse(now, commands, backup, stage)
        with run.step("migrate") as now:
            migrate(now, commands, backup)
        with run.step("probe") as now:
            probe(now, commands, backup)
        with run.step("finish") as now:
            return finish(now, target, backup)
    except (ReleaseError, Interrupted) as failure:
        if backup is None:
            return give_up(run, target, failure)
        with run.step("restore") as now:
            return undo(now, backup, failure)


def finish(run: Run, target: Target | None, backup: Before) -> Ending:
    """Commits the release in the journal; from then on no signal can start a restore."""
    run.signals.check()
    ending = ended(Outcome.RELEASED, backup=backup.name)
    with run.signals.shield():
        run.retried("commit", lambda: commit(run, backup))
        run.signals.acknowledge()
        fence.lower(run, target)
    return ending


def commit(run: Run, backup: Before) -> None:
    """Writes `released` into the journal, if lock, database and journal are still this run's."""
    still_ours(run, backup.identity)
    run.journal.commit(run.id)


def undo(run: Run, backup: Before, failure: ReleaseError | Interrupted) -> Ending:
    """Undoes the migration after a failure; after a signal, within the time that Heroku leaves."""
    try:
        if isinstance(failure, Interrupted):
            raise failure
        return restore.undo(run, backup, failure)
    except Interrupted as interruption:
        return handover.hand_over(run, backup, interruption)
    except ReleaseError as problem:
        return restore.not_restored(run, backup, problem, failure)


def give_up(run: Run, target: Target | None, failure: ReleaseError | Interrupted) -> Ending:
    """Ends a run that failed before its migration: nothing to undo but a fence."""
    run.signals.acknowledge()
    ending = ended(Outcome.UNTOUCHED, failure)
    return restore.close(run, target, ending)
