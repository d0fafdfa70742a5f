"""Prepare: everything that can be known is checked here, and nothing is changed. A refusal costs nothing."""

from __future__ import annotations

from dataclasses import dataclass

from release import frameworks, procfile
from release.child.process import CommandNotStarted
from release.clock import Deadline
from release.database import grants
from release.database.session import Identity, translated
from release.errors import Misconfigured, Reason, Refused, StepFailed
from release.frameworks import Framework
from release.heroku import platform
from release.log import Event
from release.run import Run
from release.settings import Backup, Guard
from release.steps.command import run_app
from release.steps.target import Target, find
from release.steps.turn import take_turn

PENDING_LIMIT = 300.0
"""Seconds that the app may take to say whether migrations are pending."""

TRIED_WITHIN = 5.0
"""Seconds for trying what only shows on a row whether it could be restored."""

NAMED = 20
"""Things that an error names one by one."""

POOLED = ("_CONNECTION_POOL_URL", "_POOL_URL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """What will be run: the migration, and the question whether one is pending (None: it cannot be asked).

    `framework` tells what the pending command's exit codes mean, None for a configured one; `asked` is the framework,
    detected or recognised, that can be asked about its migrations.
    """

    migrate: tuple[str, ...]
    pending: tuple[str, ...] | None
    framework: Framework | None
    asked: Framework | None

    def is_pending(self, exit_code: int) -> bool | None:
        """What the pending command's exit code means; None: it does not tell."""
        if self.framework is None:
            return {0: False, 1: True}.get(exit_code)
        if exit_code == self.framework.nothing_pending:
            return False
        return True if exit_code in self.framework.something_pending else None


def commands(run: Run) -> Commands:
    """The commands to run, configured or detected. Raises Misconfigured."""
    settings = run.settings
    framework = None
    if settings.migrate_command is None:
        framework = frameworks.detect(run.folder, run.environ.get("PATH", ""))
        if framework is None:
            markers = ", ".join(each.marker for each in frameworks.FRAMEWORKS)
            raise Misconfigured(Reason.NO_FRAMEWORK, f"looked for {markers}")
        run.log.info(
            Event.FRAMEWORK_DETECTED,
            framework=framework.name,
            migrate=" ".join(framework.migrate_command),
            pending=" ".join(framework.pending_command or ()) or None,
        )
    found = Commands(
        migrate=settings.migrate_command or (framework.migrate_command if framework else ()),
        pending=settings.pending_command or (framework.pending_command if framework else None),
        framework=framework if settings.pending_command is None else None,
        asked=framework or frameworks.recognise(settings.migrate_command or ()),
    )
    _check_runnable(run, found)
    return found


def _check_runnable(run: Run, found: Commands) -> None:
    missing = [
        f"{name}: {argv[0]!r} is not a command that can be started here"
        for name, argv in (
            ("RELEASE_MIGRATE_COMMAND", found.migrate),
            ("RELEASE_PENDING_COMMAND", found.pending),
            ("RELEASE_PROBE_COMMAND", run.settings.probe_command),
        )
        if argv and not frameworks.runnable(argv, folder=run.folder, environ=run.environ)
    ]
    if run.settings.probe_path and procfile.command(run.folder, "web") is None:
        missing.append("RELEASE_PROBE_PATH: the Procfile has no web process that could be booted")
    if missing:
        raise Misconfigured(Reason.COMMAND_NOT_FOUND, "; ".join(missing), errors=missing)


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


def pending(run: Run, found: Commands) -> bool:
    """Asks the app whether migrations are pending; assumes so where it cannot tell."""
    if run.settings.backup is Backup.CAPTURE:
        platform.preload()
    answer = ask_pending(run, found)
    if answer is None:
        run.warn("pending_unknown", "the app cannot say whether migrations are pending; assuming that some are")
    return answer is not False


def ask_pending(run: Run, found: Commands) -> bool | None:
    """Runs the pending command. Raises StepFailed when a configured one answers with neither 0 nor 1."""
    if found.pending is None:
        return None
    try:
        ended = run_app(run, found.pending, run.deadline.within(PENDING_LIMIT))
    except CommandNotStarted as error:
        raise StepFailed(Reason.PENDING_CHECK_FAILED, str(error)) from error
    if ended.timed_out:
        raise StepFailed(Reason.PENDING_CHECK_FAILED, f"{found.pending[0]} took over {PENDING_LIMIT:g} s")
    answer = None if ended.exit_code is None else found.is_pending(ended.exit_code)
    if answer is None and found.framework is None:
        raise StepFailed(
            Reason.PENDING_CHECK_FAILED, f"RELEASE_PENDING_COMMAND ended with {ended.how}; 0 and 1 are its answers"
        )
    return answer


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
    found = find(run)
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


def migration_deadline(run: Run, reserve: float) -> Deadline:
    """When the migration has to end so that a restore still fits. Raises StepFailed (no_time_left)."""
    left = run.deadline.left() - reserve
    if left <= 0:
        raise StepFailed(
            Reason.NO_TIME_LEFT,
            f"{run.deadline.left():.0f} s are left and {reserve:.0f} s are kept for a restore",
        )
    return run.deadline.within(left)
