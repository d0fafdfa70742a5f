"""The lock: one run at a time works on a database, whatever its app. A run that waits says for whom, and since when."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING

from release.clock import Deadline
from release.database.entry import Entry, State
from release.database.session import Failed, Lost
from release.errors import Reason, Refused, StepFailed
from release.log.events import Event
from release.retry import LONGEST_WAIT, TimedOut, wait_until
from release.run import HOOKS, Run
from release.settings.model import Backup

if TYPE_CHECKING:
    from release.protected.target import Attached

RECONNECT_WITHIN = 60.0
"""Seconds within which a database that refuses connections may come back."""

POOLED = ("_CONNECTION_POOL_URL", "_POOL_URL")
"""What the config vars end with that lead to a pooler, where Heroku sets them
(https://devcenter.heroku.com/articles/postgres-connection-pooling)."""

BACK_WITHIN = 30.0
"""Seconds within which a database that has cut this run off has to answer again."""

LONGEST_PAUSE = 2.0
"""Seconds between two tries to take the lock."""

NOTICED_WITHIN = LONGEST_WAIT + 5.0
"""Seconds within which a run that restores notices that its restore has ended, and takes the lock again."""


def take_lock(run: Run) -> None:
    """Waits for the lock, and for a restore that somebody has under way.

    Raises Refused (locked, foreign_transfer), and RestoreUnderWay when a signal comes while a restore goes on.
    """
    deadline = run.deadline.within(run.settings.lock_wait)
    back_by = run.deadline.within(BACK_WITHIN)
    loading = "a dump is being loaded into the database"

    def is_taken() -> bool:
        try:
            if not run.database.holds_lock() and not run.database.try_lock():
                _wait_for_holder(run, deadline)
            return not run.database.being_restored()
        except Lost:  # a restore that begins at this moment ends this session, too
            if back_by.expired:
                raise
            return False

    def sleep(seconds: float) -> None:
        from release.protected.transfers import restoring  # noqa: PLC0415 -- only a run that has to wait needs it

        with restoring(loading):
            run.clock.sleep(seconds)

    try:
        wait_until(is_taken, name="the lock", until=bool, pause=0.5, deadline=deadline, sleep=sleep)
    except TimedOut as error:
        raise Refused(Reason.FOREIGN_TRANSFER, loading) from error


def _wait_for_holder(run: Run, deadline: Deadline) -> None:
    """Waits for the run that holds the lock, even while that run restores. Raises Refused (locked)."""
    holder = run.database.lock_holder()
    name = holder.application_name if holder else ""
    run.log.info(Event.LOCK_WAITED, holder=name or None, limit=run.settings.lock_wait)
    queue = _Queue(run, name)
    try:
        wait_until(
            queue.try_lock,
            name="the lock",
            until=bool,
            pause=lambda _: queue.pause,
            sleep=queue.sleep,
            deadline=deadline,
        )
    except TimedOut as error:
        raise _refusal(run, name) from error


class _Queue:
    """A run that waits for another's lock. `pause` is how many seconds it pauses next."""

    def __init__(self, run: Run, name: str) -> None:
        self.pause = 0.1
        self._run = run
        self._name = name
        self._find_addon = cache(lambda: _find_addon(run))
        self._cut_off = False
        self._back_by = Deadline(run.clock, 0.0)

    def try_lock(self) -> bool:
        """Takes the lock if the other run is over, or does not come back for it. Returns whether it is taken."""
        try:
            # A restore ends the other run's session and frees its lock. That run will take it again, so it goes first.
            comes_back = self._cut_off and not _is_over(self._run, self._name)
            if comes_back and _is_restoring(self._run, self._find_addon):
                self._back_by = Deadline(self._run.clock, NOTICED_WITHIN)
                return False
            return (self._back_by.expired or not comes_back) and self._run.database.try_lock()
        except (Lost, Failed):
            self._cut_off, self._back_by = True, Deadline(self._run.clock, NOTICED_WITHIN)
            return False

    def sleep(self, seconds: float) -> None:
        """Pauses. After this run was cut off it has no session meanwhile, which would be in the restore's way."""
        from release.protected.transfers import restoring  # noqa: PLC0415 -- only a run that has to wait needs it

        if self._cut_off:
            self._run.database.close()
        with restoring("the run that is waited for may be restoring the database" if self._cut_off else None):
            self._run.clock.sleep(seconds)
        self.pause = min(LONGEST_WAIT if self._cut_off else LONGEST_PAUSE, self.pause * 1.5)


def _is_over(run: Run, name: str) -> bool:
    """Whether the run with that session is over. It is not while a restore has taken its row away."""
    if not name.startswith(HOOKS):
        return True
    entry = run.journal.entry(name.removeprefix(HOOKS))
    return entry is not None and entry.state is State.FINISHED and entry.fence is None


def _find_addon(run: Run) -> Attached:
    from release.protected.locate import find_addon  # noqa: PLC0415 -- only a run that has to wait needs it

    return find_addon(run)


def _is_restoring(run: Run, find_attached: Callable[[], Attached]) -> bool:
    """Whether Heroku says that a restore of the database is under way, or does not say."""
    from release.heroku.http import HerokuError  # noqa: PLC0415 -- as below
    from release.protected.locate import source_of  # noqa: PLC0415 -- only a run that has to wait needs it

    if run.settings.backup is Backup.OFF:
        return False
    try:
        attached = find_attached()
        source = source_of(run, attached.addon)
        return any(not each.finished and each.writes(source) is not False for each in attached.store.listed())
    except (HerokuError, Refused):  # without an answer, a restore may be under way
        return True


def _refusal(run: Run, name: str) -> Refused:
    """Returns the refusal that names who holds the lock, with the statement that ends that session."""
    try:
        holder = run.database.lock_holder()
    except (Lost, Failed) as error:
        return Refused(Reason.LOCKED, f"{name or 'a session without a name'}; now the database answers: {error}")
    if holder is None:
        return Refused(Reason.LOCKED, "nobody holds it at this moment, but a run was at work until now; release again")
    return Refused(
        Reason.LOCKED,
        f"{holder.application_name or 'a session without a name'} (pid {holder.pid}, connected since {holder.since});"
        f" to end it: SELECT pg_terminate_backend({holder.pid})",
        holder=holder.application_name,
        holder_pid=holder.pid,
    )


class LockLost(StepFailed):
    """The failure of a run whose lock somebody else holds by now."""


def own_row(run: Run) -> Entry | None:
    """Reads the run's row in the journal, if there is one, while the lock is held.

    A restore ends the session that holds the lock, and another run may have finished this one before the lock was taken
    again. Then nothing more may happen. Raises StepFailed (lock_lost).
    """
    entry = run.journal.entry(run.id)
    if entry is not None and entry.state is State.FINISHED:
        raise StepFailed(Reason.LOCK_LOST, f"another run has settled this one in the meantime: {entry.outcome}")
    return entry


def another_is_at_work(run: Run, attached: Attached) -> bool:
    """Whether the journal tells of another run that is unfinished, or of none at all, as while that run restores."""
    try:
        return not run.journal.alone(run.id, attached.app.id, attached.addon.id, app=attached.app.name)
    except StepFailed:
        return True


def reconnect(run: Run, *, after_restore: bool = False) -> None:
    """Makes sure of a session that holds the lock, and waits for one. Raises Lost, or StepFailed (lock_lost).

    `after_restore`: a run that took over while this one's restore went on may have settled it. Then it goes on with its
    own work under the lock, and this run does not wait until that work lets go of it.
    """
    deadline = run.deadline.within(RECONNECT_WITHIN)
    wait_until(
        partial(_hold_unless_settled if after_restore else _hold, run),
        name="the lock",
        despite=(Lost, LockLost),
        pause=0.5,
        sleep=run.clock.sleep,
        deadline=deadline,
    )


def _hold(run: Run) -> None:
    """Holds the lock, or takes it if nobody else has it by now. Raises Lost or LockLost."""
    if not run.database.holds_lock() and not run.database.try_lock():
        raise LockLost(Reason.LOCK_LOST, str(run.database.lock_holder()))


def _hold_unless_settled(run: Run) -> None:
    """Holds the lock, as above. Raises StepFailed (lock_lost), too, where another run has settled this one."""
    try:
        _hold(run)
    except LockLost:
        with suppress(Lost, Failed):
            own_row(run)
        raise


def check_still_ours(run: Run) -> None:
    """Makes sure of the lock and of the database once more before something happens to it.

    A session that broke in the meantime has lost the lock, which is taken again if nobody else has it by now.
    Raises StepFailed.
    """
    _hold(run)
    run.database.identity()


def connect(run: Run) -> None:
    """Opens the session on the database and takes the lock. Raises Refused."""
    examine(run)
    take_lock(run)


def examine(run: Run) -> None:
    """Opens the session on the database, which has to be direct and writable. Raises Refused."""
    if run.settings.database.endswith(POOLED):
        raise Refused(Reason.POOLED_URL, f"{run.settings.database} is the pooler's")
    identity = run.retried("connect", run.database.identity)
    if not identity.direct:
        raise Refused(Reason.POOLED_URL, f"{run.settings.database} does not lead to one server process")
    # A migration that failed may have made it read-only. Then that run is finished first, which undoes it.
    if identity.follows or (identity.read_only and run.journal.unfinished(run.settings.heroku_app_id) is None):
        raise Refused(Reason.DATABASE_READ_ONLY, f"{run.settings.database} leads to a database that cannot be written")


def check_still_there(run: Run) -> None:
    """Makes sure that nobody has begun to replace the database since the lock was taken. Raises StepFailed, Refused.

    A restore first ends every session, also this run's, and then loads.
    """
    if not run.database.holds_lock():
        raise StepFailed(Reason.LOCK_LOST, "its session was ended; somebody may be restoring the database")
    if run.database.being_restored():
        raise Refused(Reason.FOREIGN_TRANSFER, "a dump is being loaded into the database")
