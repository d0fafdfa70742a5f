"""Prepare: everything that can be known is checked here, and nothing is changed. A refusal costs nothing."""

from __future__ import annotations

from release.app import drift
from release.app.command import Commands
from release.database import grants
from release.database.session import Identity, translated
from release.errors import Reason, Refused, StepFailed
from release.heroku import platform
from release.run import Run
from release.settings.model import Backup, Guard
from release.target.locate import find_target
from release.target.lock import take_turn
from release.target.target import Target

TRIED_WITHIN = 5.0
"""Seconds for trying what only shows on a row whether it could be restored."""

NAMED = 20
"""Things that an error names one by one."""

POOLED = ("_CONNECTION_POOL_URL", "_POOL_URL")


def connect(run: Run) -> Identity:
    """Opens the session on the database and takes the lock. Raises Refused."""
    identity = examine(run)
    take_turn(run)
    return identity


def examine(run: Run) -> Identity:
    """Opens the session on the database; it has to be direct and writable. Raises Refused."""
    if run.settings.database.endswith(POOLED):
        raise Refused(Reason.POOLED_URL, f"{run.settings.database} is the pooler's")
    identity = run.retried("connect", run.database.identity)
    if not identity.direct:
        raise Refused(Reason.POOLED_URL, f"{run.settings.database} does not lead to one server process")
    # A migration that failed may have set it; then it is undone first, by whoever finishes that run.
    if identity.follows or (identity.read_only and run.journal.unfinished(run.settings.heroku_app_id) is None):
        raise Refused(Reason.DATABASE_READ_ONLY, f"{run.settings.database} leads to a database that cannot be written")
    return identity


def pending(run: Run, commands: Commands) -> bool:
    """Whether to migrate, by what the app says. Raises Refused."""
    if run.settings.backup is Backup.CAPTURE:
        platform.preload()
    return drift.pending(run, commands)


def still_there(run: Run) -> None:
    """Makes sure that nobody has begun to replace the database since the lock was taken. Raises StepFailed, Refused.

    A restore ends every session first, this run's too, and then loads.
    """
    if not run.database.holds_lock():
        raise StepFailed(Reason.LOCK_LOST, "its session was ended; somebody may be restoring the database")
    if run.database.being_restored():
        raise Refused(Reason.FOREIGN_TRANSFER, "a dump is being loaded into the database")


def _refuse_without_create(run: Run) -> None:
    """The journal needs a schema of its own: said here, in words, rather than when it is to be written."""
    if run.journal.exists():
        return
    database, role, able = run.database.one(
        "SELECT quote_ident(current_database()), quote_ident(current_user),"
        " has_database_privilege(current_database(), 'CREATE')"
    )
    if not able:
        raise Refused(Reason.NO_CREATE_PRIVILEGE, f"GRANT CREATE ON DATABASE {database} TO {role}")


def target(run: Run) -> Target | None:
    """Finds the add-on behind the database through Heroku's APIs and refuses what could not be undone.

    None with RELEASE_BACKUP=off, which is said every time.
    """
    _refuse_without_create(run)
    if run.settings.backup is Backup.OFF:
        run.warn("backup_off", "RELEASE_BACKUP=off: a migration that fails cannot be undone")
        return None
    found = find_target(run)
    with translated():
        foreign = grants.foreign_objects(run.database.connection)
    if foreign:
        run.guard(
            Guard.OTHER_CREDENTIALS,
            Refused(Reason.OTHER_CREDENTIALS, "; ".join(str(each) for each in foreign[:20]), count=len(foreign)),
        )
    _refuse_unrestorable(run)
    return found


def _refuse_unrestorable(run: Run) -> None:
    """Looks for what a restore could not bring back. Each override is logged by itself, so that a plan lists all."""
    from release.database.restorable import look  # noqa: PLC0415 -- only where something is to be migrated

    with translated():
        report = look(run.database.connection, run.deadline.within(TRIED_WITHIN))
    for each in report.weaker:
        run.warn("restored_weaker", str(each))
    if report.unknown:
        more = f" and {len(report.unknown) - NAMED} more" if len(report.unknown) > NAMED else ""
        run.warn(
            "restorable_unknown",
            f"it was not found out whether a restore could bring back {', '.join(report.unknown[:NAMED])}{more}",
        )
    if run.settings.rehearsal_database:  # which restores the backup really, and compares what has come back
        for each in report.lost:
            run.warn("not_restorable", f"{each}; the rehearsal will tell")
    elif Guard.NOT_RESTORABLE in run.settings.allow:
        for each in report.lost:
            run.guard(Guard.NOT_RESTORABLE, Refused(Reason.NOT_RESTORABLE, str(each)))
    elif report.lost:
        more = f"; and {len(report.lost) - NAMED} more" if len(report.lost) > NAMED else ""
        named = "; ".join(str(each) for each in report.lost[:NAMED])
        raise Refused(Reason.NOT_RESTORABLE, named + more, count=len(report.lost))
