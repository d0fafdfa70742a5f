"""Sessions on the database before a restore: ours, with the lock, and the migration's, of which none may be left."""

from __future__ import annotations

from release.database import fingerprint
from release.database.journal import Entry, State
from release.database.session import Failed, Lost
from release.errors import Reason, StepFailed
from release.run import Run, migration_name

GHOSTS_GONE_WITHIN = 30.0
"""Seconds that sessions of the migration get to end; their statements are cancelled first."""


RECONNECT_WITHIN = 60.0
"""Seconds in which a database that refuses connections may come back."""


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
    for gid in sorted(set(run.database.prepared_transactions()) - set(before.evidence.prepared)):
        try:
            run.database.roll_back_prepared(gid)
        except Failed as error:
            run.warn("transaction_left", f"the prepared transaction {gid}: {error}")
        else:
            run.warn("transaction_rolled_back", f"the prepared transaction {gid} was left behind")


def unsettled(run: Run) -> Entry | None:
    """The run's row in the journal, if there is one, read while the lock is held.

    A restore ends the session that holds the lock, and another run may have finished this one before the lock was taken
    again: then nothing more may happen. Raises StepFailed (lock_lost).
    """
    entry = run.journal.entry(run.id)
    if entry is not None and entry.state is State.FINISHED:
        raise StepFailed(Reason.LOCK_LOST, f"another run has settled this one in the meantime: {entry.outcome}")
    return entry


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
