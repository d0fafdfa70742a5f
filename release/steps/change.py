"""The verbs of a release that changes the database, which phase.py tells in order: loaded together, or not at all.

They are imported before anything is changed, and where nothing is pending they are spared: they are half of the hook.
"""

from __future__ import annotations

from release.app.command import Commands
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
from release.steps.probe import probe
from release.steps.rehearse import rehearse

__all__ = ["back_up", "finish", "give_up", "migrate", "probe", "rehearse", "undo"]


def finish(run: Run, target: Target | None, backup: Before, commands: Commands, code: str | None) -> Ending:
    """Commits the release in the journal, with what is to be remembered. From then on no signal can start a restore.

    `code` stands for the code that lands, where that is to be remembered.
    """
    landed = remember(run, commands, code)
    run.signals.check()
    ending = ended(Outcome.RELEASED, backup=backup.name)
    # A signal between the commit and its answer must not lead to a restore: the release may be committed by then.
    with run.signals.shield():
        run.retried("commit", lambda: commit(run, landed))
        run.signals.acknowledge()
        return restore.lowered(run, target, ending, unread=fence.once_begun(run))


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
    return restore.close(run, target, ending, unread=fence.not_begun(run))
