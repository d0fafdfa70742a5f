"""Turns: one run at a time on a database, whatever the app. Who waits is told who is at work, and since when."""

from __future__ import annotations

from release.clock import Deadline
from release.database.journal import State
from release.database.session import Failed, Lost
from release.errors import Reason, Refused
from release.log import Event
from release.run import HOOKS, Run

LONGEST_PAUSE = 2.0
"""Seconds between two tries to take the lock."""


def take_turn(run: Run) -> None:
    """Waits for the lock, and for a restore that somebody has under way. Raises Refused (locked, foreign_transfer)."""
    deadline = run.deadline.within(run.settings.lock_wait)
    if not run.database.try_lock():
        _wait(run, deadline)
    while run.database.being_restored():
        if deadline.expired:
            raise Refused(Reason.FOREIGN_TRANSFER, "pg_restore is loading a dump into the database")
        run.clock.sleep(deadline.clamp(1.0))


def _wait(run: Run, deadline: Deadline) -> None:
    """Waits for the run that holds the lock; also while that run restores, which ends its session and this one."""
    holder = run.database.lock_holder()
    name = holder.application_name if holder else ""
    run.log.info(Event.LOCK_WAITED, holder=name or None, limit=run.settings.lock_wait)
    pause, ended = 0.1, False
    while True:
        try:
            # Without its session the other run has lost the lock, but not its turn: it goes on after its restore.
            if (not ended or deadline.expired or _settled(run, name)) and run.database.try_lock():
                return
        except (Lost, Failed):
            ended = True
        if deadline.expired:
            raise _refusal(run, name)
        if ended:
            run.database.close()  # a session would be in the restore's way
        run.clock.sleep(deadline.clamp(pause))
        pause = min(LONGEST_PAUSE, pause * 1.5)


def _settled(run: Run, name: str) -> bool:
    """Whether the run with that session is over. While a restore has the journal away, it is not."""
    if not name.startswith(HOOKS):
        return True
    entry = run.journal.entry(name.removeprefix(HOOKS))
    return entry is not None and entry.state is State.FINISHED and entry.fence is None


def _refusal(run: Run, name: str) -> Refused:
    try:
        holder = run.database.lock_holder()
    except (Lost, Failed) as error:
        return Refused(Reason.LOCKED, f"{name or 'a session without a name'}; now the database answers: {error}")
    if holder is None:
        return Refused(Reason.LOCKED, "it was released this moment; release again")
    return Refused(
        Reason.LOCKED,
        f"{holder.application_name or 'a session without a name'} (pid {holder.pid}, connected since {holder.since});"
        f" to end it: SELECT pg_terminate_backend({holder.pid})",
        holder=holder.application_name,
        holder_pid=holder.pid,
    )
