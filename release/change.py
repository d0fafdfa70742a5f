"""The part of the release phase that changes the database: back up, migrate, probe and finish, or undo.

What a failure means for the database depends on where it happened, and that is decided here. In `backup` nothing was
changed. From `migrate` on, `undo` restores, or proves that it need not. Once `finish` has written `released` into the
journal, nothing may undo it any more.

All that this needs is imported with it: before anything is changed, and where nothing is pending not at all.
"""

from __future__ import annotations

from release.app.memory import remember
from release.clock import Interrupted
from release.errors import Outcome, ReleaseError
from release.protected import fence, lock
from release.protected.before import Before
from release.protected.target import Target
from release.run import Ending, Run, ended
from release.steps import handover, restore
from release.steps.backup import back_up
from release.steps.migrate import migrate
from release.steps.prepare import Prepared
from release.steps.probe import probe
from release.steps.rehearse import rehearse


def change(run: Run, prepared: Prepared) -> Ending:
    """Changes the database as the app's migration does, under the protection of a backup."""
    commands, target = prepared.commands, prepared.target
    backup = None
    try:
        with run.step("backup") as within:
            backup = back_up(within, target)
        if prepared.stage:
            with run.step("rehearse") as within:
                backup = rehearse(within, commands, backup, prepared.stage)
        with run.step("migrate") as within:
            migrate(within, commands, backup)
        with run.step("probe") as within:
            probe(within, commands, backup)
        with run.step("finish") as within:
            return finish(within, target, backup, remember(within, commands, prepared.code))
    except (ReleaseError, Interrupted) as failure:
        if backup is None:
            return give_up(run, target, failure)
        with run.step("restore") as within:
            return undo(within, backup, failure)


def finish(run: Run, target: Target | None, backup: Before, landed: bytes | None) -> Ending:
    """Commits the release in the journal, with what is to be remembered. From then on no signal can start a restore."""
    run.signals.check()
    ending = ended(Outcome.RELEASED, backup=backup.name)
    # A signal between the commit and its answer must not lead to a restore: the release may be committed by then.
    with run.signals.shield():
        run.retried("commit", lambda: commit(run, landed))
        run.signals.acknowledge()
        lowered = fence.lower(run, target)
    return ending if lowered or target is None else restore.still_fenced(run, ending, target)


def commit(run: Run, landed: bytes | None) -> None:
    """Writes `released` into the journal, if lock, database and journal are still this run's. Raises StepFailed."""
    lock.check_still_ours(run)
    run.journal.commit(run.id, landed)


def undo(run: Run, backup: Before, failure: ReleaseError | Interrupted) -> Ending:
    """Undoes the migration after a failure. After a signal it does so within the time that Heroku leaves."""
    try:
        if isinstance(failure, Interrupted):  # it takes the same way as a signal that comes during the restore
            raise failure
        return restore.undo(run, backup, failure)
    except Interrupted as interruption:
        return handover.hand_over(run, backup, interruption)
    except ReleaseError as problem:
        return restore.not_restored(run, backup, problem, failure)


def give_up(run: Run, target: Target | None, failure: ReleaseError | Interrupted) -> Ending:
    """Ends a run that failed before its migration. There is nothing to undo but a fence."""
    run.signals.acknowledge()
    ending = ended(Outcome.UNTOUCHED, failure)
    return restore.close(run, target, ending)
