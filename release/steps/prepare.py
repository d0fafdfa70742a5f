"""Prepare: everything that can be known is checked here, and nothing is changed. A refusal costs nothing."""

from __future__ import annotations

from dataclasses import dataclass

from release.app import migrations
from release.app.command import Commands, find_commands
from release.database import grants
from release.database.session import translated
from release.errors import Outcome, Reason, Refused
from release.heroku import platform
from release.protected import lock
from release.protected.locate import find_target
from release.protected.target import Target
from release.run import Ending, Run
from release.settings.model import Backup, Guard
from release.steps import recover
from release.steps.rehearse import Stage, find_stage

UNFINISHED = frozenset({Outcome.RESTORE_FAILED, Outcome.HANDED_OVER})
"""Endings of an earlier run over which nothing new may begin."""

TRIED_WITHIN = 5.0
"""Seconds for trying what only shows on a row whether it could be restored."""

NAMED = 20
"""Things that an error names one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a release works with. Without anything pending there is no target, nor a stage to rehearse on."""

    commands: Commands
    pending: bool = False
    target: Target | None = None
    stage: Stage | None = None


def prepare(run: Run) -> Prepared | Ending:
    """Takes the lock and looks at everything. An earlier run that was cut off is finished first.

    An ending is that run's, where nothing new may begin over it. What it raises was raised before anything was changed.
    """
    commands = find_commands(run)
    while True:
        lock.connect(run)
        earlier = recover.finish_earlier(run)
        if earlier is None or earlier.outcome not in UNFINISHED:
            if not pending(run, commands):
                return Prepared(commands=commands)
            target = restorable_target(run)
            earlier = recover.reappeared(run, target) if target else None
            if earlier is None:
                stage = find_stage(run, target)
                return Prepared(commands=commands, pending=True, target=target, stage=stage)
        if earlier.outcome in UNFINISHED:
            return earlier


def pending(run: Run, commands: Commands) -> bool:
    """Whether to migrate, by what the app says. Raises Refused."""
    if run.settings.backup is Backup.CAPTURE:
        platform.preload()
    return migrations.pending(run, commands)


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


def restorable_target(run: Run) -> Target | None:
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
    from release.database.restorable import report_on  # noqa: PLC0415 -- only where something is to be migrated

    with translated():
        report = report_on(run.database.connection, run.deadline.within(TRIED_WITHIN))
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
