"""Rehearse: restores the captured backup into a second database, and migrates and probes there before production.

The very same code migrates and probes production, with a run whose database is another. The rehearsal proves that the
backup restores and that the migration works on real data, and it measures how long both take.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, LiteralString
from urllib.parse import unquote, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from release.app.command import Commands
from release.clock import Interrupted
from release.database import repair
from release.database.catalog import EXCLUDED_SCHEMAS
from release.database.comparison import Change, Difference, compare, same_structure
from release.database.entry import State
from release.database.fingerprint import Fingerprint
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
"""Characters that a name or password has at least, so that it proves something to find it inside another value."""

NOT_CARRIED: Final = frozenset({"grant"})
"""Kinds of differences that are expected, since the second database has credentials of its own."""

RELATIONS: Final[LiteralString] = """
SELECT c.oid::regclass::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> ALL (%s)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
 ORDER BY 1 LIMIT 4
"""
"""Reads the names of up to four tables that somebody may have put there."""


class Stage(Struct, frozen=True, kw_only=True):
    """The place of a rehearsal: a run whose database and environment are the second database's, and its add-on."""

    run: Run
    target: Target


def find_stage(run: Run, target: Target | None) -> Stage | None:
    """Finds the second database and makes sure that it may be overwritten. Returns None when no rehearsal is wanted.

    It changes nothing. Raises Refused or Misconfigured.
    """
    variable = run.settings.rehearsal_database
    if variable is None or target is None:
        return None
    url = run.environ.get(variable, "").strip()
    if not url:
        raise Misconfigured(Reason.SETTINGS_INVALID, f"RELEASE_REHEARSAL_DATABASE: {variable} is not set")
    there = replace(
        run,
        settings=replace(run.settings, database=variable, database_url=Secret(url), probe_url=None, allow=frozenset()),
        environ=redirected(run, variable, url),
        log=run.log.bind(rehearsal=True),
        accounts=[],
        database=Database(url, application_name=hook_name(run.id), signals=run.signals),
    )
    ours = run.database.identity()
    try:
        # This comes before the lock: on the protected database this run holds it already, and would wait for itself.
        other = there.database.identity()
        if (other.system, other.database) == (ours.system, ours.database):
            raise Refused(Reason.REHEARSAL_UNSAFE, f"{variable} leads to the protected database itself")
        lock.connect(there)
        second = find_target(there)
        if second.addon.id == target.addon.id:
            raise Refused(Reason.REHEARSAL_UNSAFE, f"{variable} is set by {second.addon.name}, which is protected")
        _refuse_occupied(run, there, second)
    finally:
        there.database.close()  # it is opened again when it is needed: the backup before that may take long
    return Stage(run=there, target=second)


def redirected(run: Run, variable: str, url: str) -> Mapping[str, str]:
    """Returns the app's environment with every URL of the protected database replaced by the second one's.

    Raises Refused when another value names the protected database in a form that cannot be replaced surely
    (PGDATABASE, a JDBC URL), because the app's commands could follow it.
    """
    assert run.settings.database_url  # noqa: S101 -- edge.py has checked it
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
    """Refuses a second database with tables of its own, since a rehearsal overwrites it.

    A copy that an earlier rehearsal has put there is known by the journal inside. In a dump the newest run is always
    unfinished: it is the one that captured the dump. In a database in use it does not stay unfinished.
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

    Returns the backup with the time that its restore takes. Production is checked afterwards in any case.
    """
    assert isinstance(backup, BackedUp)  # noqa: S101 -- a stage needs a target, and a target a backup
    share = (run.deadline.left() - backup.reserve) / 2  # the other half is kept for production
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
    """Restores, migrates and probes in the second database. Returns the seconds that the restore took."""
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
    """Restores the backup into the second database. Returns whether the restore's log was read.

    Raises StepFailed or HerokuError.
    """
    source = find_backup(run, backup.target, backup.uuid)
    quiet_transfers(run, target.store, target.source)
    fence.end_sessions(run)
    run.database.close()
    _, log_read = transfers.restore(run, target, source)
    return log_read()


def _proved_copy(run: Run, backup: BackedUp, *, log_read: bool) -> Fingerprint:
    """Proves that the copy is what was dumped. Returns its own fingerprint and counters. Raises StepFailed."""
    take_lock(run)
    before, copy = backup.before, take_fingerprint(run)
    added = [difference for difference in _find_differences(before, copy) if difference.change is Change.ADDED]
    with translated():  # an earlier rehearsal may have left objects behind, which no restore removes
        for removed in repair.remove_added(run.database.connection, before, added):
            run.warn("unknown_object_removed", removed)
    copy = take_fingerprint(run) if added else copy
    differences = [str(each) for each in _find_differences(before, copy)]
    run.log.info(Event.DATABASE_COMPARED, verdict="changed" if differences else "equal", differences=differences)
    if differences:
        raise StepFailed(Reason.RESTORE_UNPROVED, "; ".join(differences[:20]), differences=len(differences))
    check_rows(run, backup, copy, log_read=log_read)
    with translated():
        repair.analyze(run.database.connection)
    return take_fingerprint(run)


def _find_differences(before: Fingerprint, copy: Fingerprint) -> list[Difference]:
    """Returns the differences of structure, without those that are expected of a copy."""
    differences = same_structure(before, copy, owners_may_differ=True).differences
    return [difference for difference in differences if difference.kind not in NOT_CARRIED]


def _production_untouched(run: Run, backup: BackedUp) -> BackedUp:
    """Makes sure that the rehearsal's commands have not changed the protected database.

    If they have, the migration has begun there. The journal is told so, and the change is undone. Returns the backup
    with the outset as it is now. Raises StepFailed.
    """
    comparison = compare(backup.before, take_fingerprint(run))
    if comparison.differences:
        run.journal.begin_migration(
            run.id, backup=backup.uuid, outset=backup.outset.to_json(), names={"backup": backup.name}
        )
        changed = "; ".join(str(difference) for difference in comparison.differences[:10])
        raise StepFailed(Reason.REHEARSAL_UNSAFE, f"it changed while the rehearsal ran: {changed}")
    return replace(backup, outset=take_outset(run, backup.before))
