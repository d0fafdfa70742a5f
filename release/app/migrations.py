"""The app's migrations: whether one is pending, which only the database knows, and which nobody has written yet.

The database may be ahead of the code (after `heroku rollback`): then nothing is migrated. Models may have been changed
without a migration. The framework is asked for both, with its own commands.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path

from release.app.answers import Answer, Entry, Question
from release.app.command import PENDING_LIMIT, Commands, ask_pending, run_app, start_app
from release.app.frameworks import Framework
from release.child.process import CommandNotStarted
from release.database import history
from release.errors import Reason, Refused
from release.run import Run
from release.settings.model import Guard, OnAhead, OnMissing

SHOWN = 10
"""Lines of a framework's answer that go into an event."""

DEPTH = 3
"""Folders below the app's own in which a file of migrations is looked for by name."""

SOUGHT = 20
"""The newest migrations whose files are sought, one after the other, where nothing else tells which the code has."""


def pending(run: Run, commands: Commands) -> bool:
    """Decides whether to migrate: something is pending, and the database is not ahead. Raises Refused."""
    with _asked_meanwhile(run, commands) as missing:
        is_pending = _is_pending(run, commands)
    names = ahead(run, commands, pending=is_pending)
    if names:
        return _go_on_ahead(run, commands, names, pending=is_pending)
    _judge_missing(run, commands, missing, pending=is_pending)
    return is_pending


def _is_pending(run: Run, commands: Commands) -> bool:
    """Asks the app whether migrations are pending; assumes so where it cannot tell."""
    answer = ask_pending(run, commands)
    if answer is None:
        run.warn("pending_unknown", "the app cannot say whether migrations are pending; assuming that some are")
    return answer is not False


# The database is ahead.


def ahead(run: Run, commands: Commands, *, pending: bool) -> list[str]:
    """Names the migrations that the database knows and this code does not; none where the framework cannot tell."""
    framework = commands.asked
    if framework is None or not framework.histories:
        return []
    if framework.unknown is not None:
        # Its history holds the newest revisions only, or it does not tell what is pending while it misses one: where
        # nothing is pending, the code has them all.
        entries = _denied(run, framework, framework.unknown) if pending else []
    else:
        entries = _not_known(run, framework)
    return [".".join(entry) for entry in entries]


def _denied(run: Run, framework: Framework, question: Question[set[Entry]]) -> list[Entry]:
    """Returns the newest revisions, less those that the code has: the framework is asked for each, or once for all."""
    applied = history.applied(run.database.connection, framework.histories[0])
    if applied and not any("{}" in word for word in question.words):
        missing = question.read(ask_framework(run, framework.asking(question)))
        return newer_than_known(applied, set(applied) - missing)
    return [entry for entry in applied if entry in question.read(ask_framework(run, framework.asking(question, entry)))]


def _not_known(run: Run, framework: Framework) -> list[Entry]:
    applied = history.applied(run.database.connection, framework.histories[0])
    if not applied:
        return []
    if run.settings.on_database_ahead is OnAhead.WARN and _has_file(run.folder, framework, applied[-1]):
        return []  # the newest migration of all is in this code, so it need not be asked
    return newer_than_known(applied, _known(run, framework, applied))


def _known(run: Run, framework: Framework, applied: Sequence[Entry]) -> set[Entry]:
    """Returns migrations that the code has; of some frameworks only the newest one of those that were applied."""
    if framework.index is not None:
        return framework.index.entries(run.folder) or set()
    if framework.known is not None:
        return framework.known.read(ask_framework(run, framework.asking(framework.known)))
    newest = reversed(applied[-SOUGHT:])
    return set(islice((entry for entry in newest if _has_file(run.folder, framework, entry)), 1))


def newer_than_known(applied: Sequence[Entry], known: set[Entry]) -> list[Entry]:
    """Entries that the code does not list and that came after all that it does list: of the same app, where it has it.

    Older ones are what squashed migrations and removed apps leave behind. `applied`: oldest first; all but the last
    part of an entry is its app.
    """
    if not known:
        return []
    newest: dict[Entry, int] = {}
    for place, entry in enumerate(applied):
        if entry in known:
            newest[entry[:-1]] = newest[()] = place
    apps = {entry[:-1] for entry in known}
    return [
        entry
        for place, entry in enumerate(applied)
        if entry not in known and place > newest.get(entry[:-1] if entry[:-1] in apps else (), len(applied))
    ]


def _has_file(folder: Path, framework: Framework, entry: Entry) -> bool:
    if framework.file is None:
        return False
    end = framework.file.format(*map(glob.escape, entry))
    return any(next(folder.glob(f"{'*/' * depth}{end}"), None) is not None for depth in range(DEPTH))


def _go_on_ahead(run: Run, commands: Commands, names: list[str], *, pending: bool) -> bool:
    """Decides what a database that is ahead means: refused, or left as it is with a warning.

    It is never migrated unasked. Returns whether to migrate.
    """
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    detail = f"not in this code: {', '.join(names[:SHOWN])}{more}"
    # Alembic and its like know the newest revisions only. Over one that the code does not have they cannot say what is
    # pending. The answer of the others stands: what is pending is this code's own.
    diverged = pending and not (commands.asked and commands.asked.unknown)
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
    """Asks for missing migrations while something else is asked: both start the whole app, which takes seconds."""
    framework, answer = commands.asked, Answer()
    if framework is None or framework.missing is None or run.settings.on_missing_migrations is OnMissing.OFF:
        yield answer
        return
    with ExitStack() as stack:
        running = None
        with suppress(CommandNotStarted):
            running = stack.enter_context(
                start_app(run, framework.asking(framework.missing), on_lines=answer.hear, quiet=True)
            )
        yield answer
        if running is not None:
            ended = running.wait(run.deadline.within(PENDING_LIMIT))
            run.signals.check()
            answer.exit_code = None if ended.timed_out else ended.exit_code


def _judge_missing(run: Run, commands: Commands, answer: Answer, *, pending: bool) -> None:
    """Warns of missing migrations, or refuses them, as the setting says. Raises Refused."""
    framework = commands.asked
    if framework is None or (framework.missing_at_head and pending):
        return  # asked again after the migration
    changes = framework.missing.read(answer) if framework.missing else None
    if changes:
        detail = "; ".join(changes[:SHOWN])
        if run.settings.on_missing_migrations is OnMissing.REFUSE:
            raise Refused(Reason.MISSING_MIGRATIONS, detail)
        run.warn("missing_migrations", f"models were changed without a migration: {detail}")
    elif changes is None and run.settings.on_missing_migrations is OnMissing.REFUSE:
        run.warn("missing_unknown", f"{framework.name} could not say whether migrations are missing")


def missing_after(run: Run, commands: Commands) -> list[str]:
    """Asks a framework that can tell only once nothing is pending what is missing; returns some lines of its answer."""
    framework = commands.asked
    if framework is None or framework.missing is None or not framework.missing_at_head:
        return []
    return (framework.missing.read(ask_framework(run, framework.asking(framework.missing))) or [])[:SHOWN]


# How the framework is asked.


def ask_framework(run: Run, argv: Sequence[str]) -> Answer:
    """Runs a command that changes nothing and keeps its output out of the log."""
    answer = Answer()
    try:
        ended = run_app(run, argv, run.deadline.within(PENDING_LIMIT), on_lines=answer.hear, quiet=True)
    except CommandNotStarted:
        return answer
    answer.exit_code = None if ended.timed_out else ended.exit_code
    return answer
