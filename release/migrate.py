"""Migrate: the app's own command, in its own process group, its sessions named, its time limited."""

from __future__ import annotations

from release import prepare
from release.backup import BackedUp, Unprotected
from release.clock import Deadline
from release.database.journal import State
from release.database.session import Identity
from release.errors import Reason, StepFailed
from release.prepare import Commands
from release.process import CommandNotStarted, Ended, run_command
from release.run import Run

SESSIONS_END_WITHIN = 5.0
"""Seconds after the command's end within which the server has to have noticed that its sessions are gone."""


def migrate(run: Run, commands: Commands, backup: BackedUp | Unprotected) -> None:
    """Runs the migration. Raises StepFailed; only after the journal says `migrating` can anything have changed."""
    deadline = prepare.migration_deadline(run, backup.reserve)
    still_ours(run, backup.identity)
    run.journal.announce(run.id, State.MIGRATING, backup=backup.uuid)
    try:
        ended = run_command(
            commands.migrate,
            env=migration_environ(run),
            cwd=run.folder,
            log=run.log,
            clock=run.clock,
            deadline=deadline,
            signals=run.signals,
        )
    except CommandNotStarted as error:
        raise StepFailed(Reason.MIGRATION_FAILED, str(error)) from error
    _judge(run, ended)
    _await_sessions(run)
    run.journal.announce(run.id, State.PROBING)


def still_ours(run: Run, identity: Identity) -> None:
    """Makes sure of the lock and of the database once more before something happens to it.

    A session that broke in the meantime lost the lock; it is taken again if nobody else has it by now.
    Raises StepFailed.
    """
    if not run.database.holds_lock() and not run.database.try_lock():
        raise StepFailed(Reason.LOCK_LOST, str(run.database.lock_holder()))
    now = run.database.identity()
    if (now.system, now.database) != (identity.system, identity.database):
        raise StepFailed(Reason.DATABASE_MISMATCH, f"{now.database} is not the database that the run began with")


def migration_environ(run: Run) -> dict[str, str]:
    """The app's environment, less the key, plus the name of its sessions and the timeouts asked for."""
    environ = prepare.child_environ(run)
    environ["PGAPPNAME"] = run.migration_name
    timeouts = (("lock_timeout", run.settings.lock_timeout), ("statement_timeout", run.settings.statement_timeout))
    options = [f"-c {name}={value.replace(' ', '')}" for name, value in timeouts if value]
    if options:
        environ["PGOPTIONS"] = " ".join(filter(None, [environ.get("PGOPTIONS"), *options]))
    return environ


def _judge(run: Run, ended: Ended) -> None:
    run.signals.check()
    if ended.timed_out:
        raise StepFailed(
            Reason.MIGRATION_TIMED_OUT, f"stopped after {ended.duration:.0f} s to leave time for a restore"
        )
    if not ended.ok:
        raise StepFailed(Reason.MIGRATION_FAILED, f"it ended with {ended.how}", exit_code=ended.exit_code)


def _await_sessions(run: Run) -> None:
    """A command that ended well has no session left. Raises StepFailed (sessions_left)."""
    deadline = Deadline(run.clock, SESSIONS_END_WITHIN)
    while run.database.sessions(run.migration_name):
        if deadline.expired:
            raise StepFailed(Reason.SESSIONS_LEFT, f"application name {run.migration_name}")
        run.clock.sleep(0.02)
    if left := run.database.prepared_transactions():
        raise StepFailed(Reason.SESSIONS_LEFT, f"prepared transactions: {', '.join(left)}")
