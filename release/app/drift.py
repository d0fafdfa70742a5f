"""Drift: where code and database have moved apart, besides what is pending.

The database may be ahead (after `heroku rollback`): then nothing is migrated, and nothing could be restored. Models may
have been changed without a migration. Both are asked of the framework, in its own words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from release.app.command import PENDING_LIMIT, Commands, ask_pending, run_app, start_app
from release.app.frameworks import Framework, listed_migrations, says_missing, says_unknown
from release.child.process import CommandNotStarted
from release.database import history
from release.errors import Reason, Refused
from release.run import Run
from release.settings.model import Guard, OnAhead, OnMissing

SHOWN = 10
"""Lines of a framework's answer that go into an event."""

DEPTH = 3
"""Folders below the app's own in which a file of migrations is looked for by name."""


@dataclass(slots=True, kw_only=True)
class Answer:
    """A framework's answer to one question: its exit code (None: there was none to get), and all lines."""

    exit_code: int | None = None
    lines: list[str] = field(default_factory=list)

    def hear(self, _stream: str, lines: Sequence[str]) -> None:
        """Takes lines as they come."""
        self.lines += lines


def pending(run: Run, commands: Commands) -> bool:
    """Whether to migrate: something is pending, and the database is not ahead. Raises Refused."""
    with _asked_meanwhile(run, commands) as missing:
        found = _is_pending(run, commands)
    names = ahead(run, commands, pending=found)
    if names:
        return _go_on_ahead(run, commands, names, pending=found)
    _judge_missing(run, commands, missing, pending=found)
    return found


def _is_pending(run: Run, commands: Commands) -> bool:
    """Asks the app whether migrations are pending; assumes so where it cannot tell."""
    answer = ask_pending(run, commands)
    if answer is None:
        run.warn("pending_unknown", "the app cannot say whether migrations are pending; assuming that some are")
    return answer is not False


# The database is ahead.


def ahead(run: Run, commands: Commands, *, pending: bool) -> list[str]:
    """The migrations that the database knows and this code does not; none where the framework cannot tell."""
    framework = commands.asked
    if framework is None or framework.known is None or framework.history is None:
        return []
    applied = history.applied(run.database.connection, framework.history)
    if not applied:
        return []
    if framework.keeps_heads:
        return _unknown_revisions(run, framework, applied) if pending else []
    if run.settings.on_database_ahead is OnAhead.WARN and _has_file(run.folder, *applied[-1]):
        return []  # the newest migration of all is in this code, so it need not be asked
    answer = ask(run, framework.tool + framework.known)
    return newer_than_known(applied, listed_migrations(answer.lines))


def newer_than_known(applied: Sequence[tuple[str, ...]], known: set[tuple[str, str]]) -> list[str]:
    """Entries that the code does not list and that came after all that it does list: of the same app, where it has it.

    Older ones are what squashed migrations and removed apps leave behind. `applied`: (app, name), oldest first.
    """
    if not known:
        return []
    newest: dict[str, int] = {}
    for place, (app, name) in enumerate(applied):
        if (app, name) in known:
            newest[app] = newest[""] = place
    apps = {app for app, _ in known}
    return [
        f"{app}.{name}"
        for place, (app, name) in enumerate(applied)
        if (app, name) not in known and place > newest.get(app if app in apps else "", len(applied))
    ]


def _has_file(folder: Path, app: str, name: str) -> bool:
    return any(
        next(folder.glob(f"{'*/' * depth}{app}/migrations/{name}.py"), None) is not None for depth in range(DEPTH)
    )


def _unknown_revisions(run: Run, framework: Framework, applied: Sequence[tuple[str, ...]]) -> list[str]:
    """Alembic keeps the newest revisions only, and shows any that it has a file of."""
    found = []
    for (revision,) in applied:
        words = tuple(revision if word == "{}" else word for word in framework.known or ())
        answer = ask(run, framework.tool + words)
        if answer.exit_code != 0 and says_unknown(revision, answer.lines):
            found.append(revision)
    return found


def _go_on_ahead(run: Run, commands: Commands, names: list[str], *, pending: bool) -> bool:
    """What a database that is ahead means: refused, or left as it is with a warning; never migrated unasked."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    detail = f"not in this code: {', '.join(names[:SHOWN])}{more}"
    # Alembic cannot say what is pending over a revision that it does not know; for Django, it is this code's own.
    diverged = pending and not (commands.asked and commands.asked.keeps_heads)
    if diverged:
        detail += "; and this code has pending migrations of its own"
    if diverged or run.settings.on_database_ahead is OnAhead.REFUSE:
        run.guard(Guard.DATABASE_AHEAD, Refused(Reason.DATABASE_AHEAD, detail, migrations=names))
        return pending
    run.warn("database_ahead", f"{detail}; nothing is migrated", migrations=names)
    return False


# Models were changed without a migration.


@contextmanager
def _asked_meanwhile(run: Run, commands: Commands) -> Iterator[Answer]:
    """Asks for missing migrations while something else is asked: both start the whole app."""
    framework, answer = commands.asked, Answer()
    if framework is None or framework.missing is None or run.settings.on_missing_migrations is OnMissing.OFF:
        yield answer
        return
    with ExitStack() as stack:
        running = None
        with suppress(CommandNotStarted):
            running = stack.enter_context(
                start_app(run, framework.tool + framework.missing, on_lines=answer.hear, quiet=True)
            )
        yield answer
        if running is not None:
            ended = running.wait(run.deadline.within(PENDING_LIMIT))
            run.signals.check()
            answer.exit_code = None if ended.timed_out else ended.exit_code


def _judge_missing(run: Run, commands: Commands, answer: Answer, *, pending: bool) -> None:
    framework = commands.asked
    if framework is None or (framework.missing_at_head and pending):
        return  # asked again after the migration
    changes = missing(framework, answer)
    if changes:
        detail = "; ".join(changes)
        if run.settings.on_missing_migrations is OnMissing.REFUSE:
            raise Refused(Reason.MISSING_MIGRATIONS, detail)
        run.warn("missing_migrations", f"models were changed without a migration: {detail}")
    elif changes is None and run.settings.on_missing_migrations is OnMissing.REFUSE:
        run.warn("missing_unknown", f"{framework.name} could not say whether migrations are missing")


def missing(framework: Framework, answer: Answer) -> list[str] | None:
    """What the framework says is missing, some lines of it; None where it does not tell."""
    if answer.exit_code == 0:
        return []
    changes = says_missing(framework, answer.lines) if answer.exit_code in framework.something_missing else None
    return None if changes is None else changes[:SHOWN]


def missing_after(run: Run, commands: Commands) -> list[str]:
    """As `missing`, of a framework that can tell only once nothing is pending."""
    framework = commands.asked
    if framework is None or framework.missing is None or not framework.missing_at_head:
        return []
    return missing(framework, ask(run, framework.tool + framework.missing)) or []


# Asking.


def ask(run: Run, argv: Sequence[str]) -> Answer:
    """Runs a command that changes nothing and keeps its output out of the log."""
    answer = Answer()
    try:
        ended = run_app(run, argv, run.deadline.within(PENDING_LIMIT), on_lines=answer.hear, quiet=True)
    except CommandNotStarted:
        return answer
    answer.exit_code = None if ended.timed_out else ended.exit_code
    return answer
