"""Transfers of the target: they are asked for exactly once and waited for, as are those of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

from release.asked import Asked
from release.clock import Clock, Deadline, Interrupted
from release.database.others import others
from release.errors import Reason, Refused, RestoreUnderWay, StepFailed
from release.heroku.http import HerokuError
from release.heroku.transfers import Source, Transfer
from release.log.events import Event
from release.protected.blockers import Blockers
from release.protected.judgement import LogRead, check_usable
from release.protected.store import Store, uuids
from release.protected.target import Target, restores
from release.retry import FIRST_POLLS, LONGEST_WAIT, TimedOut, poll_interval, polling, sparing_interval, wait_until
from release.run import Run

CLOSELY = 2.0
"""Seconds within which the end of a restore is looked for without waiting for one answer after the other."""

VOLLEY = 4
"""How many questions about one restore are under way at once at most."""

ENDING = 5.0
"""Seconds after the end of the dump's session, or near the expected end, in which the transfer most likely ends."""

PROGRESS_EVERY = 5.0
"""Seconds between two progress events; Heroku refreshes the figure about as often."""


def capture(
    run: Run,
    target: Target,
    *,
    kind: str,
    deadline: Deadline,
    begun: Callable[[Transfer], None] = lambda _: None,
    meanwhile: Callable[[], None] = lambda: None,
    ending: Callable[[], None] = lambda: None,
) -> Transfer:
    """Captures a backup and waits for it.

    `begun` is called with it before the wait, `meanwhile` again and again in it, and `ending` when it is probably over.

    Raises StepFailed (backup_failed, backup_unusable) or HerokuError.
    """
    known = uuids(target.store.transfers(run, deadline=deadline))
    started = target.store.capture(run, target.source, kind=kind, known=known, deadline=deadline)
    expected = target.expected(restores=False)
    run.log.info(
        Event.TRANSFER_STARTED,
        kind=kind,
        transfer=started.name,
        expected=expected,
        expected_bytes=next((backup.size for backup in target.own_backups()), None),
    )
    begun(started)
    try:
        watcher = Watcher(run.clock, DumpWatch(run, meanwhile).running, deadline, ending, expected=expected)
        interval = partial(sparing_interval, expected=expected)
        finished = follow(run, target, started, kind=kind, deadline=deadline, interval=interval, sleep=watcher.sleep)
    except TimedOut as error:
        raise StepFailed(Reason.BACKUP_FAILED, f"{started.name}: {error}") from error
    check_usable(target, finished, known)
    return finished


def follow(
    run: Run,
    target: Target,
    transfer: Transfer,
    *,
    kind: str,
    deadline: Deadline,
    interval: Callable[[float, float], float] = poll_interval,
    sleep: Callable[[float], None] | None = None,
) -> Transfer:
    """Waits until a transfer has finished, with success or without. Raises TimedOut or HerokuError.

    `interval` computes the pauses between two polls as `poll_interval` does, and `sleep` is how the wait sleeps there,
    where that is not the usual way.
    """
    began = shown_at = run.clock.monotonic()

    def is_done(current: Transfer) -> bool:
        nonlocal shown_at
        if not current.finished and run.clock.monotonic() - shown_at >= PROGRESS_EVERY:
            shown_at = run.clock.monotonic()
            run.log.info(
                Event.TRANSFER_PROGRESSED,
                kind=kind,
                transfer=current.name,
                bytes=current.size,
                duration=round(run.clock.monotonic() - began, 3),
            )
        return current.finished

    def look() -> Transfer:
        if transfer.is_restore and run.clock.monotonic() - began < CLOSELY:
            return _read_closely(run, target.store, transfer.uuid)
        return target.store.read(transfer.uuid)

    finished = polling(
        look,
        until=is_done,
        name=f"GET transfer {transfer.name}",
        clock=run.clock,
        log=run.log,
        deadline=deadline,
        interval=interval,
        sleep=sleep,
    )
    run.log.info(
        Event.TRANSFER_FINISHED,
        kind=kind,
        transfer=finished.name,
        succeeded=finished.succeeded,
        warnings=finished.warnings,
        bytes=finished.size,
        duration=round(run.clock.monotonic() - began, 3),
    )
    return finished


def _read_closely(run: Run, store: Store, uuid: str) -> Transfer:
    """Reads a transfer that may end at any moment. While the answer does not come, it is asked for a few times more."""

    def ask() -> Asked[Transfer]:
        return Asked(lambda: store.read(uuid), clock=run.clock, signals=run.signals)

    asked = [ask()]
    while len(asked) < VOLLEY and not asked[0].wait(run.clock.real(FIRST_POLLS)):
        asked.append(ask())
    states = (each.answer() for each in asked)
    return next((state for state in states if state.finished), None) or asked[-1].answer()


class Watcher:
    """A sleep between two polls that ends when the database sees that the dump has ended.

    The API is polled rarely while the dump's session is there, and at once when that is gone. `ending` is called before
    the polls after that, and before those near the end that is `expected` after so many seconds.
    """

    def __init__(
        self,
        clock: Clock,
        running: Callable[[], bool],
        deadline: Deadline,
        ending: Callable[[], None] = lambda: None,
        *,
        expected: float | None = None,
    ) -> None:
        self._expected_at = None if expected is None else clock.monotonic() + expected * 0.8
        self._clock = clock
        self._running = running
        self._deadline = deadline
        self._ending = ending
        self._seen = False
        self._ended_at: float | None = None

    def sleep(self, seconds: float) -> None:
        """Sleeps `seconds`, or at least 15 s while the dump can be seen. Wakes when it is gone, and at the deadline.

        Heroku says a moment later that the transfer has finished. So the first sleeps after the dump's end are short.
        """
        now = self._clock.monotonic()
        if self._ended_at is not None:
            seconds = min(seconds, sparing_interval(now - self._ended_at, 0.5, expected=None))
        pause = min(seconds, 0.5)
        usual = self._deadline.within(seconds)
        self._clock.sleep(pause)
        try:
            wait_until(
                lambda: self._has_ended() or (usual.expired and not self._seen),
                name="the dump's end",
                until=bool,
                pause=pause,
                sleep=self._clock.sleep,
                deadline=self._deadline.within(max(seconds, LONGEST_WAIT) - pause),
            )
        except TimedOut:  # the dump goes on
            return
        except StepFailed:  # the database does not answer; the poll alone has to tell
            self._clock.sleep(usual.left())
        now = self._clock.monotonic()
        if any(at is not None and 0 <= now - at < ENDING for at in (self._ended_at, self._expected_at)):
            self._ending()

    def _has_ended(self) -> bool:
        """Looks whether the dump is there. Returns whether it was there before, and is no longer."""
        before, self._seen = self._seen, self._running()
        if self._seen or not before:
            return False
        self._ended_at = self._clock.monotonic()
        return True


def find_backup(run: Run, target: Target, uuid: str) -> Transfer:
    """Reads the backup of that uuid again, just before it is used, and checks it. Raises StepFailed or HerokuError."""
    try:
        backup = target.store.find(run, uuid)
    except HerokuError as error:
        if error.status in {404, 410}:
            raise StepFailed(Reason.BACKUP_GONE, str(error)) from error
        raise
    check_usable(target, backup, frozenset())
    return backup


def quiet_transfers(run: Run, store: Store, source: Source, *, ours: str | None = None) -> tuple[Transfer, ...]:
    """Waits until no transfer that touches this database is under way. Returns all transfers.

    A foreign one is waited for as long as for the lock, and never cancelled. The one whose uuid is `ours` does not
    matter. Raises Refused (foreign_transfer), and RestoreUnderWay when a signal comes while a restore goes on.
    """
    transfers = store.transfers(run)
    running = _touching(transfers, source, ours)
    if not running:
        return transfers
    names = [each.name for each in running]
    run.log.info(Event.TRANSFER_AWAITED, transfers=names, limit=run.settings.lock_wait)
    loading = [each.name for each in running if each.is_restore]
    try:
        with restoring(f"{', '.join(loading)} goes on at Heroku" if loading else None):
            return polling(
                store.listed,
                until=lambda listed: not _touching(listed, source, ours),
                name="GET transfers",
                clock=run.clock,
                log=run.log,
                deadline=run.deadline.within(run.settings.lock_wait),
            )
    except TimedOut as error:
        raise Refused(Reason.FOREIGN_TRANSFER, f"{', '.join(names)} is running") from error


@contextmanager
def restoring(what: str | None) -> Iterator[None]:
    """Turns a signal that ends a wait for a restore into RestoreUnderWay, because the restore itself goes on.

    `what` says what goes on. It is None where the wait is for something else.
    """
    try:
        yield
    except Interrupted as stop:
        if what is None:
            raise
        raise RestoreUnderWay(Reason.INTERRUPTED, f"{stop}; {what}") from stop


def _touching(transfers: tuple[Transfer, ...], source: Source, ours: str | None) -> list[Transfer]:
    """Returns the transfers under way that read or write this database, or may do so for all that Heroku tells."""
    return [
        transfer
        for transfer in transfers
        if not transfer.finished
        and transfer.uuid != ours
        and (transfer.reads(source) is not False or transfer.writes(source) is not False)
    ]


def requested_restores(target: Target) -> list[Transfer]:
    """Returns the restores onto the database that were asked for since the run began, the newest last."""
    return restores(target.store.listed(), target.source, after=target.baseline)


def start_restore(run: Run, target: Target, backup: Transfer, first: Callable[[], None] = lambda: None) -> Transfer:
    """Asks Heroku to restore a backup onto the add-on, exactly once. Raises StepFailed or HerokuError.

    `first` is called right before each request.
    """
    started = target.store.restore(run, target.source, backup, first=first)
    run.log.info(
        Event.TRANSFER_STARTED,
        kind="restore",
        transfer=started.name,
        source=backup.name,
        expected=target.expected(restores=True),
        expected_bytes=backup.size,
    )
    return started


def restore(
    run: Run,
    target: Target,
    backup: Transfer,
    first: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] | None = None,
) -> tuple[Transfer, LogRead]:
    """Restores a backup onto the add-on and waits. Returns the transfer, and what its log will say of it.

    `first` is done right before each request, `sleep` is how the wait sleeps. Raises StepFailed or HerokuError.
    """
    started = start_restore(run, target, backup, first)
    try:
        finished = follow(run, target, started, kind="restore", deadline=run.deadline, sleep=sleep)
    except TimedOut as error:
        raise StepFailed(Reason.RESTORE_UNFINISHED, f"{started.name}: {error}") from error
    return finished, LogRead(run, target, finished)


def goes_on(restore: Transfer) -> str:
    """Returns what a person is told of a restore that this run does not wait for."""
    return f"The restore {restore.name} goes on at Heroku; `release-phase recover`, or the next release, proves it."


class DumpWatch:
    """A watch over Heroku's dump. It logs who blocks the dump, which waits for a table's lock for ever."""

    def __init__(self, run: Run, meanwhile: Callable[[], None] = lambda: None) -> None:
        self._database = run.database
        self._meanwhile = meanwhile
        self._blockers = Blockers(Event.BACKUP_BLOCKED, run)

    def running(self) -> bool:
        """Whether the database sees a dump. Raises Lost or Failed."""
        self._meanwhile()
        if self._database.connected:
            with suppress(StepFailed):  # a name that is not logged must not end a backup
                self._blockers.name([other.pid for other in others(self._database) if other.heroku])
        return self._database.dump_running()
