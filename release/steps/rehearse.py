"""Rehearse: the captured backup is restored into a second database, migrated and probed there, before production is.

It is the very same code that migrates and probes production, with a run whose database is the other one. This proves
that the backup restores and that the migration works on real data, and measures how long both take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, LiteralString
from urllib.parse import unquote, urlsplit

from msgspec import structs

from release.app.command import Commands
from release.clock import Interrupted
from release.database import repair
from release.database.catalog import EXCLUDED_SCHEMAS
from release.database.comparison import Change, Difference, compare, same_structure
from release.database.fingerprint import Fingerprint
from release.database.journal import State
from release.database.session import Database, translated
from release.errors import Misconfigured, Reason, Refused, ReleaseError, StepFailed
from release.log.events import Event
from release.protected import fence, lock, transfers
from release.protected.before import BackedUp, Before, Unprotected, take_fingerprint, take_outset
from release.protected.locate import find_target
from release.protected.lock import take_lock
from release.protected.proof import check_rows
from release.protected.target import Target
from release.protected.transfers import find_backup, quiet_transfers
from release.run import Run, hook_name
from release.settings.model import Guard, Secret
from release.steps.migrate import migrate
from release.steps.probe import probe

TELLING: Final = 8
"""Characters of a name or password below which finding it inside another value proves nothing."""

NOT_CARRIED: Final = frozenset({"grant"})
"""Differences that are to be expected: the second database has credentials of its own."""

RELATIONS: Final[LiteralString] = """
SELECT c.oid::regclass::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> ALL (%s)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
 ORDER BY 1 LIMIT 4
"""
"""Some tables that somebody may have put there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where it is rehearsed: a run whose database and environment are the second database's, and its add-on."""

    run: Run
    target: Target


def find_stage(run: Run, target: Target | None) -> Stage | None:
    """Finds the second database and makes sure that it may be overwritten; None when no rehearsal is wanted.

    Changes nothing. Raises Refused or Misconfigured.
    """
    variable = run.settings.rehearsal_database
    if variable is None or target is None:
        return None
    url = run.environ.get(variable, "").strip()
    if not url:
        raise Misconfigured(Reason.SETTINGS_INVALID, f"RELEASE_REHEARSAL_DATABASE: {variable} is not set")
    there = replace(
        run,
        settings=structs.replace(
            run.settings, database=variable, database_url=Secret(url), probe_url=None, allow=frozenset()
        ),
        environ=redirected(run, variable, url),
        log=run.log.bind(rehearsal=True),
        database=Database(url, application_name=hook_name(run.id), signals=run.signals),
    )
    ours = run.database.identity()
    try:
        other = there.database.identity()  # before the lock: of the protected one, this run holds it already
        if (other.system, other.database) == (ours.system, ours.database):
            raise Refused(Reason.REHEARSAL_UNSAFE, f"{variable} leads to the protected database itself")
        lock.connect(there)
        found = find_target(there)
        if found.addon.id == target.addon.id:
            raise Refused(Reason.REHEARSAL_UNSAFE, f"{variable} is set by {found.addon.name}, which is protected")
        _refuse_occupied(run, there, found)
    finally:
        there.database.close()  # opened again when it is needed; the backup may take long
    return Stage(run=there, target=found)


def redirected(run: Run, variable: str, url: str) -> Mapping[str, str]:
    """The app's environment with every URL of the protected database replaced by the second one's.

    Raises Refused when another value names the protected database in a form that cannot be replaced surely
    (PGDATABASE, a JDBC URL): the app's commands could follow it.
    """
    assert run.settings.database_url  # noqa: S101 -- cli.py has checked it
    parts = urlsplit(run.settings.database_url.reveal())
    name = unquote(parts.path.lstrip("/"))
    telling = [text for text in (name, parts.password or "") if len(text) >= TELLING]
    environ, leading = dict(run.environ), []
    for key, value in run.environ.items():
        if key == variable:
            continue
        if value.startswith(("postgres://", "postgresql://")) and unquote(urlsplit(value).path.lstrip("/")) == name:
            environ[key] = url
        elif any(text in value for text in telling):
            leading.append(key)
    if leading:
        raise Refused(Reason.REHEARSAL_UNSAFE, f"{', '.join(sorted(leading))} leads to the protected database, too")
    return environ


def _refuse_occupied(run: Run, there: Run, target: Target) -> None:
    """A rehearsal overwrites its database. A copy that a rehearsal has put there is known by the journal inside.

    In a dump the newest run is always unfinished, the one that captured it; in a database in use it never stays so.
    """
    tables = [name for (name,) in there.database.rows(RELATIONS, [list(EXCLUDED_SCHEMAS)])]
    newest = next(iter(there.journal.runs(limit=1)), None)
    if tables and (newest is None or newest.state is State.FINISHED):
        run.guard(
            Guard.OCCUPIED_REHEARSAL,
            Refused(Reason.REHEARSAL_OCCUPIED, f"{target.addon.name} has the tables {', '.join(tables[:3])}, …"),
        )


def rehearse(run: Run, commands: Commands, backup: Before, there: Stage) -> BackedUp:
    """Restores the backup into the second database, migrates and probes there. Raises StepFailed.

    Returns the backup with the time that its restore takes. Production is looked at afterwards, in any case.
    """
    assert isinstance(backup, BackedUp)  # noqa: S101 -- a stage needs a target, and a target a backup
    share = (run.deadline.left() - backup.reserve) / 2  # the other half is production's
    if share <= 0:
        raise StepFailed(Reason.NO_TIME_LEFT, f"{run.deadline.left():.0f} s are left, too few for a rehearsal")
    stage_run = replace(there.run, log=run.log.bind(rehearsal=True), deadline=run.deadline.within(share))
    try:
        rehearsed = _rehearse(stage_run, commands, backup, there.target)
    except (ReleaseError, Interrupted) as error:
        _production_untouched(run, backup)
        if isinstance(error, Interrupted):
            raise
        raise StepFailed(Reason.REHEARSAL_FAILED, str(error), failed=error.reason.slug, **error.facts) from error
    finally:
        stage_run.database.close()
    return replace(_production_untouched(run, backup), rehearsed=rehearsed)


def _rehearse(run: Run, commands: Commands, backup: BackedUp, target: Target) -> float:
    """The seconds that the restore took."""
    began = run.clock.monotonic()
    log_read = _restore(run, backup, target)
    restored = run.clock.monotonic()
    before = _proved_copy(run, backup, log_read=log_read)
    outset = take_outset(run, before)
    staged = Unprotected(before=before, outset=outset, behind=backup.behind)
    ready = run.clock.monotonic()
    migrate(run, commands, staged)
    migrated = run.clock.monotonic()
    probe(run, commands, staged)
    run.log.info(
        Event.REHEARSAL_FINISHED,
        restore=restored - began,
        migration=migrated - ready,
        probes=run.clock.monotonic() - migrated,
        duration=run.clock.monotonic() - began,
    )
    return restored - began


def _restore(run: Run, backup: BackedUp, target: Target) -> bool:
    """Restores the backup into the second database; whether the log was read. Raises StepFailed, HerokuError."""
    source = find_backup(backup.target, backup.uuid)
    quiet_transfers(run, target.store, target.source)
    fence.end_sessions(run)
    run.database.close()
    _, log_read = transfers.restore(run, target, source)
    return log_read


def _proved_copy(run: Run, backup: BackedUp, *, log_read: bool) -> Fingerprint:
    """Proves that the copy is what was dumped; its own fingerprint, with its own counters."""
    take_lock(run)
    before, copy = backup.before, take_fingerprint(run)
    added = [each for each in _differing(before, copy) if each.change is Change.ADDED]
    with translated():  # what an earlier rehearsal has left behind
        for removed in repair.remove_added(run.database.connection, before, added):
            run.warn("unknown_object_removed", removed)
    copy = take_fingerprint(run) if added else copy
    differences = [str(each) for each in _differing(before, copy)]
    run.log.info(Event.DATABASE_COMPARED, verdict="changed" if differences else "equal", differences=differences)
    if differences:
        raise StepFailed(Reason.RESTORE_UNPROVED, "; ".join(differences[:20]), differences=len(differences))
    check_rows(run, backup, copy, log_read=log_read)
    with translated():
        repair.analyze(run.database.connection)
    return take_fingerprint(run)


def _differing(before: Fingerprint, copy: Fingerprint) -> list[Difference]:
    found = same_structure(before, copy, owners_may_differ=True).differences
    return [each for each in found if each.kind not in NOT_CARRIED]


def _production_untouched(run: Run, backup: BackedUp) -> BackedUp:
    """Makes sure that the rehearsal's commands did not find their way into the protected database.

    If they did, the migration has begun there; that is said in the journal, so that it is undone. Returns the backup
    with the outset as it is now. Raises StepFailed.
    """
    comparison = compare(backup.before, take_fingerprint(run))
    if comparison.differences:
        run.journal.begin_migration(run.id, backup=backup.uuid, outset=backup.outset.to_json())
        changed = "; ".join(str(difference) for difference in comparison.differences[:10])
        raise StepFailed(Reason.REHEARSAL_UNSAFE, f"it changed while the rehearsal ran: {changed}")
    return replace(backup, outset=take_outset(run, backup.before))
