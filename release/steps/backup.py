"""Back up: a capture through Heroku's APIs, and the proof that it can be used. Also the salvage, which is one more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, LiteralString, TypeVar

from release.clock import Deadline
from release.database import checks, evidence, fingerprint
from release.database.comparison import between, structural
from release.database.fingerprint import Fingerprint
from release.database.outset import Outset, at_outset
from release.database.session import Failed, Identity, translated
from release.errors import Reason, StepFailed
from release.heroku.http import HerokuError
from release.heroku.start import Request, start
from release.heroku.transfers import Transfer
from release.log import Event
from release.retry import LONGEST_WAIT, TimedOut, polling
from release.run import Run
from release.settings import FenceMode, Guard
from release.steps import fence
from release.steps.locks import DumpWatch
from release.steps.target import Target

PROGRESS_EVERY = 5.0
"""Seconds between two progress events; Heroku refreshes the figure about as often."""

LOOKS, PAUSE = 4, 0.5
"""How often a look at the database is made, and the seconds between: catalogs are read in one snapshot, but definitions
are printed from the newest state, so that DDL can get in between."""

CAPTURES = 3
"""The first, and two more when the structure changed meanwhile."""

HOLDERS: Final[LiteralString] = """
SELECT DISTINCT a.pid, coalesce(nullif(a.application_name, ''), 'without a name'), l.relation::regclass::text
  FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
 WHERE l.mode = 'AccessExclusiveLock' AND l.granted AND l.relation IS NOT NULL AND l.pid <> pg_backend_pid()
   AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
 ORDER BY 1, 3 LIMIT 3
"""

T = TypeVar("T")

OVERHEAD = 15.0
"""Seconds for fence and proof around a restore, kept free of the migration beside the transfers' own time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unprotected:
    """The database as it was before the migration, without a backup (RELEASE_BACKUP=off)."""

    before: Fingerprint
    outset: Outset
    identity: Identity
    behind: frozenset[str] = frozenset()
    uuid: None = None
    name: None = None
    reserve: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BackedUp:
    """A backup that was proved usable, the database as it was when it was taken, and as it was right after that.

    `seconds`: how long it took; `sealed`: whether the fence has been up, and held, since before it; `behind`: sequences
    that were behind their columns already; `rehearsed`: seconds that its restore took in a rehearsal.
    """

    before: Fingerprint
    outset: Outset
    identity: Identity
    uuid: str
    name: str
    seconds: float
    sealed: bool
    target: Target
    behind: frozenset[str] = frozenset()
    rehearsed: float | None = None

    @property
    def restore_seconds(self) -> float:
        """What a restore may be expected to take: a rehearsal or earlier ones tell, else more than the backup."""
        if self.rehearsed is not None:
            return self.rehearsed * 1.2
        return max(self.target.expected(restores=True) or 0.0, self.seconds * 1.5)

    @property
    def reserve(self) -> float:
        """Seconds to keep free of the migration: salvage, restore, and what is around them."""
        return self.seconds + self.restore_seconds + OVERHEAD


Before = BackedUp | Unprotected
"""The database before the migration, with or without a backup."""


def back_up(run: Run, target: Target | None, identity: Identity) -> Before:
    """Records the run, fingerprints the database, and captures it. Raises StepFailed or HerokuError."""
    before = record(run, target)
    behind = frozenset(checks.sequences_behind(run.database.connection))
    if target is None:
        return Unprotected(before=before, outset=take_outset(run, before), identity=identity, behind=behind)
    began = run.clock.monotonic()
    transfer, before, outset = _capture_unchanging(run, target, before)
    return BackedUp(
        before=before,
        outset=outset,
        identity=identity,
        uuid=transfer.uuid,
        name=transfer.name,
        seconds=run.clock.monotonic() - began,
        sealed=run.settings.fence is FenceMode.RELEASE and not _leaked(run, before, outset),
        target=target,
        behind=behind,
    )


def _capture_unchanging(run: Run, target: Target, before: Fingerprint) -> tuple[Transfer, Fingerprint, Outset]:
    """Captures the database with one structure from before to after, so that the fingerprint is the dump's.

    Somebody else's DDL in between would be in one of the two only: then it is captured again. Raises StepFailed
    (backup_unusable).
    """
    deadline = backup_deadline(run)
    for attempt in range(1, CAPTURES + 1):
        transfer = capture(run, target, kind="backup", deadline=deadline)
        outset = take_outset(run, before)
        after, differences = _restructured(run, before, outset)
        if not differences:
            return transfer, before, outset
        detail = f"somebody changed the structure while {transfer.name} was being taken: {'; '.join(differences[:10])}"
        if attempt == CAPTURES:
            break
        run.warn("structure_changed", f"{detail}; it is captured again", backup=transfer.name)
        before = after
        _note(run, before)
    raise StepFailed(Reason.BACKUP_UNUSABLE, detail, differences=differences)


def _restructured(run: Run, before: Fingerprint, outset: Outset) -> tuple[Fingerprint, list[str]]:
    """What has changed in the structure since. Only where the catalogs were written is there anything to compare."""
    traces = evidence.compare(before.evidence, outset.evidence)
    if not traces.catalogs and not traces.around:
        return before, []
    after = take_fingerprint(run)
    around = between(before.surroundings, after.surroundings)
    return after, [str(each) for each in (*structural(before.structure, after.structure), *around)]


def _leaked(run: Run, before: Fingerprint, outset: Outset) -> bool:
    """Whether somebody has written behind the fence while the backup was being taken; that is said."""
    written = evidence.compare(before.evidence, outset.evidence).written
    if written:
        tables = sorted(written)
        run.warn(
            "fence_leaks",
            f"others have written to {', '.join(tables[:10])} though the fence is up: a client outside the formation,"
            " which comes back when it is ended; their writes are salvaged like anybody's",
            tables=tables[:100],
        )
    return bool(written)


def record(run: Run, target: Target | None) -> Fingerprint:
    """Opens the run's row in the journal, raises a fence that is to be up all along, and takes the fingerprint."""
    _enter(run, target)
    if target and run.settings.fence is FenceMode.RELEASE:
        fence.up(run, target, FenceMode.RELEASE)
    before = take_fingerprint(run)
    _note(run, before)
    return before


def record_again(run: Run, backup: BackedUp) -> None:
    """Writes the run's row anew, as it was before the migration, which has taken the journal away."""
    _enter(run, backup.target)
    _note(run, backup.before)
    if run.settings.fence is FenceMode.RELEASE:
        run.journal.fenced(run.id, FenceMode.RELEASE)
    run.journal.begin_migration(run.id, backup=backup.uuid, outset=backup.outset.to_json())


def _enter(run: Run, target: Target | None) -> None:
    run.journal.open(
        run_id=run.id,
        app=target.app.name if target else run.settings.app or "",
        release=run.settings.heroku_release_version,
        commit=run.settings.heroku_slug_commit,
        maintenance=target.app.maintenance if target else None,
        formation=target.formation if target else None,
        baseline=target.baseline if target else 0,
        app_id=target.app.id if target else run.settings.heroku_app_id,
        addon_id=target.addon.id if target else None,
    )


def _note(run: Run, before: Fingerprint) -> None:
    run.journal.fingerprinted(run.id, before.to_json(), evidence=before.evidence.to_json())


def backup_deadline(run: Run) -> Deadline:
    """A backup that takes over a third of the time leaves too little for salvage and restore: better give up."""
    share = 1.0 if Guard.LARGE_DATABASE in run.settings.allow else 1 / 3
    return run.deadline.within(run.deadline.left() * share)


def take_fingerprint(run: Run, *, partial: bool = False) -> Fingerprint:
    """The database as it is now; again when somebody's DDL of the same moment got in between. Raises Failed, Lost.

    With `partial` what others keep locked is left out and named.
    """
    return undisturbed(run, lambda: fingerprint.take(run.database.connection, partial=partial))


def take_outset(run: Run, before: Fingerprint) -> Outset:
    """The database right before its migration. Raises Failed, Lost."""
    return undisturbed(run, lambda: at_outset(run.database.connection, before))


def undisturbed(run: Run, look: Callable[[], T], *, attempts: int = LOOKS) -> T:
    """What a look at the database gives, repeated when a lock or somebody's DDL was in the way. Raises Failed, Lost."""
    for _ in range(attempts - 1):
        try:
            with translated():
                return look()
        except Failed as error:
            run.warn("look_disturbed", f"{error}{_in_the_way(run)}")
            run.clock.sleep(PAUSE)
    with translated():
        return look()


def _in_the_way(run: Run) -> str:
    """Who holds locks that keep everybody out, in words."""
    try:
        found = run.database.rows(HOLDERS)
    except StepFailed:
        return ""
    return "".join(f"; pid {pid} ({name}) holds a lock on {relation}" for pid, name, relation in found)


def capture(
    run: Run, target: Target, *, kind: str, deadline: Deadline, begun: Callable[[Transfer], None] = lambda _: None
) -> Transfer:
    """Captures a backup and waits for it; `begun` is told of it before the wait.

    Raises StepFailed (backup_failed, backup_unusable) or HerokuError.
    """
    listed = run.retried("GET transfers", lambda: target.data.transfers(target.addon), deadline=deadline)
    known = frozenset(each.uuid for each in listed)
    request = Request(
        name=f"POST backups ({kind})",
        post=lambda: target.data.capture(target.addon),
        listed=lambda: target.data.transfers(target.addon),
        known=known,
        ours=lambda each: each.is_backup and not each.schedule and each.reads(target.source),
    )
    started = start(request, clock=run.clock, log=run.log, deadline=deadline)
    run.log.info(
        Event.TRANSFER_STARTED,
        kind=kind,
        transfer=started.name,
        expected=target.expected(restores=False),
        expected_bytes=next((each.size for each in target.own_backups()), None),
    )
    begun(started)
    try:
        finished = follow(run, target, started, kind=kind, deadline=deadline, watch=DumpWatch(run).running)
    except TimedOut as error:
        raise StepFailed(Reason.BACKUP_FAILED, f"{started.name}: {error}") from error
    _check_usable(target, finished, known)
    return finished


def follow(
    run: Run,
    target: Target,
    transfer: Transfer,
    *,
    kind: str,
    deadline: Deadline,
    watch: Callable[[], bool] | None = None,
) -> Transfer:
    """Waits until a transfer has finished, however it did. Raises TimedOut or HerokuError.

    With `watch` (does the database see the dump?) the API is asked rarely, and at once when the dump's session is gone:
    a half-hour capture then costs a tenth of the requests, and its end is noticed sooner.
    """
    began = run.clock.monotonic()
    shown = [began]

    def poll() -> Transfer:
        return target.data.transfer(target.addon, transfer.uuid)

    def done(now: Transfer) -> bool:
        if not now.finished and run.clock.monotonic() - shown[0] >= PROGRESS_EVERY:
            shown[0] = run.clock.monotonic()
            run.log.info(
                Event.TRANSFER_PROGRESSED,
                kind=kind,
                transfer=now.name,
                bytes=now.size,
                duration=round(run.clock.monotonic() - began, 3),
            )
        return now.finished

    finished = polling(
        poll,
        until=done,
        name=f"GET transfer {transfer.name}",
        clock=run.clock,
        log=run.log,
        deadline=deadline,
        sleep=Watcher(run, watch).sleep if watch else None,
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


class Watcher:
    """Sleeps between polls for as long as the database sees the dump, up to 15 s; short while it does not."""

    def __init__(self, run: Run, running: Callable[[], bool]) -> None:
        self._run = run
        self._running = running

    def sleep(self, seconds: float) -> None:
        """Sleeps `seconds`, or up to 15 s while the dump's session can be seen, and wakes when it is gone."""
        clock = self._run.clock
        look = min(seconds, 0.5)
        clock.sleep(look)
        longest = Deadline(clock, LONGEST_WAIT)
        try:
            while self._running() and not longest.expired:
                clock.sleep(look)
        except StepFailed:
            clock.sleep(seconds - look)


def _check_usable(target: Target, backup: Transfer, known: frozenset[str]) -> None:
    """Whether a finished backup may be trusted with the database. Raises StepFailed."""
    if backup.succeeded is not True or backup.canceled_at:
        how = "was cancelled" if backup.canceled_at else "failed"
        raise StepFailed(Reason.BACKUP_FAILED, f"{backup.name} {how}", transfer=backup.name)
    faults = [
        text
        for wrong, text in (
            (backup.warnings, f"it finished with {backup.warnings} warnings"),
            (not backup.size, "it is empty"),
            (not backup.is_backup, f"it is a transfer from {backup.from_type} to {backup.to_type}"),
            (backup.reads(target.source) is False, "it is of another database"),
            (backup.uuid in known, "it was there before this run began"),
            (not backup.to_url, "it has no address to restore from"),
            (backup.deleted_at, "it was deleted"),
        )
        if wrong
    ]
    if faults:
        raise StepFailed(Reason.BACKUP_UNUSABLE, f"{backup.name}: {', '.join(faults)}", transfer=backup.name)


def find_backup(target: Target, uuid: str) -> Transfer:
    """The backup of that uuid, read again just before it is used. Raises StepFailed (backup_gone), HerokuError."""
    try:
        backup = target.data.transfer(target.addon, uuid)
    except HerokuError as error:
        if error.status in {404, 410}:
            raise StepFailed(Reason.BACKUP_GONE, str(error)) from error
        raise
    _check_usable(target, backup, frozenset())
    return backup
