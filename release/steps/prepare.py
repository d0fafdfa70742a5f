"""Prepare: checks everything that can be known, and changes nothing. So a refusal costs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from release import ahead
from release.app import migrations
from release.app.command import Commands, find_commands
from release.database.session import translated
from release.errors import Outcome, Reason, Refused
from release.protected import lock
from release.run import Ending, Run
from release.settings.model import Backup, Guard
from release.steps.unfinished import unfinished

if TYPE_CHECKING:  # these and what they import are loaded once something is pending
    from release.heroku.platform import AddOn
    from release.protected.target import Target
    from release.steps.rehearse import Stage

UNFINISHED = frozenset({Outcome.RESTORE_FAILED, Outcome.HANDED_OVER})
"""Endings of an earlier run over which nothing new may begin."""

TRIED_WITHIN = 5.0
"""Seconds in which expressions are tried on a row, where only that shows whether they could be restored."""

NAMED = 20
"""How many things an error names one by one."""

HTTP = ("http.client", "urllib3", "release.heroku.library")
RECIPE = (
    *("release.app.witnessed", "release.database.comparison", "release.database.grants", "release.protected.locate"),
    *("release.steps.restore", "release.steps.handover", "release.steps.recover", "release.steps.rehearse"),
    "release.database.restorable",
)
"""Modules that a release needs where something is pending. They are loaded while the app is asked whether it is."""


class Prepared(Struct, frozen=True, kw_only=True):
    """What a release works with. When nothing is pending, there is neither a target nor a stage to rehearse on.

    `code` stands for the code where its landing is to be remembered.
    """

    commands: Commands
    pending: bool = False
    code: str | None = None
    target: Target | None = None
    stage: Stage | None = None


def prepare(run: Run) -> Prepared | Ending:
    """Takes the lock and checks everything. First it finishes an earlier run that was cut off.

    Returns that run's ending where nothing new may begin over it. Raises Refused, and other errors, before anything was
    changed.
    """
    commands = find_commands(run)
    while True:  # a run that was finished here may have brought back another; the last round finds none
        lock.connect(run)
        earlier = finish_earlier(run)
        if earlier is None or earlier.outcome not in UNFINISHED:
            decision = pending(run, commands)
            if not decision.pending:
                return Prepared(commands=commands)
            target = restorable_target(run)
            from release.steps import recover, rehearse  # noqa: PLC0415 -- only a run that migrates needs them

            earlier = recover.reappeared(run, target) if target else None
            if earlier is None:
                stage = rehearse.find_stage(run, target)
                return Prepared(commands=commands, pending=True, code=decision.code, target=target, stage=stage)
        if earlier.outcome in UNFINISHED:
            return earlier


def pending(run: Run, commands: Commands) -> migrations.Decision:
    """Decides whether to migrate, by what the app says or the journal remembers. Raises Refused."""
    with ahead.loading(RECIPE + (HTTP if run.settings.backup is Backup.CAPTURE else ())):
        return migrations.pending(run, commands)


def finish_earlier(run: Run) -> Ending | None:
    """Finishes an earlier run that was cut off. Returns None where there is none. Raises Refused (unfinished_run)."""
    entry = unfinished(run)
    if entry is None:
        return None
    from release.steps import recover  # noqa: PLC0415 -- a run is rarely cut off, and this is most of the hook

    return recover.finish(run, entry)


def _refuse_without_create(run: Run) -> None:
    """Refuses a role that may not create the journal's schema. To say so now is better than when it is needed."""
    if run.journal.exists():
        return
    database, role, able = run.database.one(
        "SELECT quote_ident(current_database()), quote_ident(current_user),"
        " has_database_privilege(current_database(), 'CREATE')"
    )
    if not able:
        raise Refused(Reason.NO_CREATE_PRIVILEGE, f"GRANT CREATE ON DATABASE {database} TO {role}")


def restorable_target(run: Run) -> Target | None:
    """Finds the add-on behind the database through Heroku's APIs, and refuses what could not be undone.

    Returns None with RELEASE_BACKUP=off, which is warned of every time. Raises Refused or HerokuError.
    """
    if run.settings.backup is Backup.OFF:
        _refuse_without_create(run)
        run.warn("backup_off", "RELEASE_BACKUP=off: a migration that fails cannot be undone")
        return None
    from release.protected.locate import find_target  # noqa: PLC0415 -- only a run that migrates needs it

    # A restore under way is waited for: until its end nothing of the database can be told.
    with ahead.loading(RECIPE):  # Heroku takes longer to answer than these take to load
        target = find_target(run, _likely(run))
    refuse_unrestorable(run)
    return target


def _likely(run: Run) -> AddOn | None:
    """Returns the add-on that the last run of this app has protected, which is most likely the one to protect now."""
    from release.heroku.platform import AddOn, Ref  # noqa: PLC0415 -- only a run that migrates needs them

    for last in run.journal.runs(1):
        if last.addon_id and last.app_id and last.belongs(run.settings.heroku_app_id):
            return AddOn(id=last.addon_id, name="", app=Ref(id=last.app_id, name=last.app))
    return None


def refuse_unrestorable(run: Run) -> None:
    """Refuses a database that this role could not protect, or that a restore could not bring back. Raises Refused."""
    from release.database import grants  # noqa: PLC0415 -- only a run that migrates needs it

    _refuse_without_create(run)
    with translated():
        foreign = grants.foreign_objects(run.database.connection)
    if foreign:
        run.guard(
            Guard.OTHER_CREDENTIALS,
            Refused(Reason.OTHER_CREDENTIALS, "; ".join(str(each) for each in foreign[:20]), count=len(foreign)),
        )
    _refuse_what_is_lost(run)


def _refuse_what_is_lost(run: Run) -> None:
    """Refuses what a restore could not bring back. Each override is logged by itself, so that a plan lists all."""
    from release.database.restorable import report_on  # noqa: PLC0415 -- only a run that migrates needs it

    with translated():
        report = report_on(run.database.connection, run.deadline.within(TRIED_WITHIN))
    for finding in report.weaker:
        run.warn("restored_weaker", str(finding))
    if report.unknown:
        more = f" and {len(report.unknown) - NAMED} more" if len(report.unknown) > NAMED else ""
        run.warn(
            "restorable_unknown",
            f"it was not found out whether a restore could bring back {', '.join(report.unknown[:NAMED])}{more}",
        )
    if run.settings.rehearsal_database:  # the rehearsal restores the backup, and compares what has come back
        for finding in report.lost:
            run.warn("not_restorable", f"{finding}; the rehearsal will tell")
    elif Guard.NOT_RESTORABLE in run.settings.allow:
        for finding in report.lost:
            run.guard(Guard.NOT_RESTORABLE, Refused(Reason.NOT_RESTORABLE, str(finding)))
    elif report.lost:
        more = f"; and {len(report.lost) - NAMED} more" if len(report.lost) > NAMED else ""
        named = "; ".join(str(each) for each in report.lost[:NAMED])
        raise Refused(Reason.NOT_RESTORABLE, named + more, count=len(report.lost))
