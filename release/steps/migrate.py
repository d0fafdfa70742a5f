"""Migrate: runs the app's own command in a process group of its own, with named sessions and limited time."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from release.app.command import Commands, app_environ, start_app
from release.app.witnessed import Timeouts
from release.child.last_words import names_an_error
from release.child.process import CommandNotStarted, Ended
from release.clock import Deadline
from release.database.entry import State
from release.database.session import Failed
from release.errors import Reason, StepFailed
from release.protected.before import Before
from release.protected.changes import proved_untouched, witnessed_nothing
from release.protected.lock import check_still_ours
from release.protected.sessions import end_ghosts, sessions_left
from release.protected.watch import Watch, say_what_was_seen
from release.retry import attempts
from release.run import Run
from release.settings.model import OnSwallowed
from release.witness.verdict import Complaint

LOCK_NOT_AVAILABLE: Final = "55P03"
"""The SQLSTATE of a statement that gave up waiting for a lock."""


class LockedOut(StepFailed):
    """The failure of a migration that gave up for a lock on a database proved unchanged. It may be tried again."""


def migrate(run: Run, commands: Commands, backup: Before) -> None:
    """Runs the migration. Only after the journal says `migrating` can anything have changed. Raises StepFailed."""
    run = replace(run, witnessing=True)
    deadline = migration_deadline(run, backup.reserve)
    check_still_ours(run)
    run.journal.begin_migration(
        run.id, backup=backup.uuid, outset=backup.outset.to_json(), names={"backup": backup.name}
    )
    attempts(
        lambda: _attempt(run, commands, backup, deadline),
        most=run.settings.migrate_attempts,
        again=LockedOut,
        name="migration",
        clock=run.clock,
        log=run.log,
        deadline=deadline,
    )
    run.journal.announce(run.id, State.PROBING)


def timeouts(run: Run) -> Timeouts:
    """Returns the server's timeouts that were asked for."""
    asked = (("lock_timeout", run.settings.lock_timeout), ("statement_timeout", run.settings.statement_timeout))
    # PGOPTIONS splits at blanks, and Postgres reads "5s" as well as "5 s".
    return tuple((name, value.replace(" ", "")) for name, value in asked if value)


def migration_environ(run: Run) -> dict[str, str]:
    """Returns the app's environment, less the key, plus the name of its sessions and the timeouts asked for."""
    environ = app_environ(run, PGAPPNAME=run.migration_name)
    # The witness puts them into each session. Without it, drivers that read PGOPTIONS obey them.
    options = [f"-c {name}={value}" for name, value in timeouts(run)]
    if options:
        environ["PGOPTIONS"] = " ".join(filter(None, [environ.get("PGOPTIONS"), *options]))
    return environ


def _attempt(run: Run, commands: Commands, backup: Before, deadline: Deadline) -> None:
    """Runs the command once and checks what it left behind. Raises StepFailed, or LockedOut when it may be retried."""
    watch = Watch(run)
    try:
        ended = _run_command(run, commands, watch, deadline)
    finally:
        say_what_was_seen(run, watch)
    run.signals.check()
    if ended.timed_out:
        raise StepFailed(
            Reason.MIGRATION_TIMED_OUT, f"stopped after {ended.duration:.0f} s to leave time for a restore"
        )
    if not ended.ok:
        raise _failure(run, backup, watch, ended)
    _check_swallowed(run)
    if left := sessions_left(run):
        raise StepFailed(Reason.SESSIONS_LEFT, ", ".join(map(str, left)))
    if prepared := sorted(set(run.database.prepared_transactions()) - set(backup.outset.evidence.prepared)):
        raise StepFailed(Reason.SESSIONS_LEFT, f"prepared transactions: {', '.join(prepared)}")


def _failure(run: Run, backup: Before, watch: Watch, ended: Ended) -> StepFailed:
    """Makes the failure of a command that ended badly, with the server's last word on it where that is known."""
    last = run.accounts[-1].seen.last_error
    locked = watch.lock_timeout or (last is not None and last.sqlstate == LOCK_NOT_AVAILABLE)
    detail = _told(ended, last) + (", after waiting too long for a lock" if locked else "")
    again = locked and run.settings.migrate_attempts > 1 and _unchanged(run, backup)
    failure = LockedOut if again else StepFailed
    return failure(
        Reason.MIGRATION_FAILED, detail, exit_code=ended.exit_code, **({"sqlstate": last.sqlstate} if last else {})
    )


def _told(ended: Ended, last: Complaint | None) -> str:
    """Says why it failed: in the database's words, unless the command ended with another error than that one."""
    said = ended.last_words
    if last is None:
        return f"{said} ({ended.how})" if said else f"it ended with {ended.how}"
    if names_an_error(said) and last.words.partition(":")[0] not in said:
        return f"{said} ({ended.how}). The database's last error was: {last}"
    return f"{last.words} (SQLSTATE {last.sqlstate}, {ended.how})"


def _check_swallowed(run: Run) -> None:
    """Warns of errors of the server despite which the command ended well, or raises StepFailed where that is asked."""
    seen = run.accounts[-1].seen
    if seen.first_error is None:
        return
    detail = f"{seen.errors} errors; the first: {seen.first_error}"
    if run.settings.on_swallowed_errors is OnSwallowed.REFUSE:
        raise StepFailed(Reason.ERRORS_SWALLOWED, detail, sqlstate=seen.first_error.sqlstate)
    run.warn(
        "errors_swallowed",
        f"the migration ended well, but the database answered it with {detail}",
        sqlstate=seen.first_error.sqlstate,
        shape=seen.first_error.shape,
    )


def _run_command(run: Run, commands: Commands, watch: Watch, deadline: Deadline) -> Ended:
    """Runs the command under the watch until it ends, a signal comes, or the deadline does. Raises StepFailed."""
    try:
        with start_app(
            run, commands.migrate, env=migration_environ(run), timeouts=timeouts(run), on_lines=watch.hear
        ) as running:
            # This is no wait of retry.py's: the pause passes output on, and ends also at the command's end or a signal.
            while running.alive and not run.signals.pending and not deadline.expired:
                running.pump(deadline.clamp(watch.pause))
                watch.observe(running)
            return running.wait(deadline)
    except CommandNotStarted as error:
        raise StepFailed(Reason.MIGRATION_FAILED, str(error)) from error


def _unchanged(run: Run, backup: Before) -> bool:
    """Whether it is known that nothing was committed: by the witness, or because nobody has written anything."""
    try:
        if witnessed_nothing(run, backup.before):
            return True
        return end_ghosts(run, run.id) is None and proved_untouched(run, backup.outset.evidence)
    except Failed:
        return False


def migration_deadline(run: Run, reserve: float) -> Deadline:
    """Returns when the migration has to end so that a restore, which takes `reserve` seconds, still fits.

    Raises StepFailed (no_time_left).
    """
    left = run.deadline.left() - reserve
    if left <= 0:
        raise StepFailed(
            Reason.NO_TIME_LEFT,
            f"{run.deadline.left():.0f} s are left and {reserve:.0f} s are kept for a restore",
        )
    return run.deadline.within(left)
