"""The app's migrations: whether one is pending, which only the database knows, and which nobody has written yet.

The database may be ahead of the code (after `heroku rollback`): then nothing is migrated. Models may have been changed
without a migration. The framework is asked for both, with its own commands.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from release.app.answers import Answer, Entry, Question
from release.app.command import PENDING_LIMIT, Commands, ask_pending, run_app, start_app
from release.app.frameworks import Framework
from release.child.process import CommandNotStarted
from release.database import history
from release.errors import Reason, Refused
from release.log.events import Event
from release.run import Run
from release.settings.model import Guard, OnAhead, OnMissing, Pending

if TYPE_CHECKING:
    from release.app.memory import Memory

SHOWN = 10
"""Lines of a framework's answer that go into an event."""

DEPTH = 3
"""Folders below the app's own in which a file of migrations is looked for by name."""

SOUGHT = 20
"""The newest migrations whose files are sought, one after the other, where nothing else tells which the code has."""


class By(StrEnum):
    """What has decided whether to migrate.

    ASKED: the app was asked. SAME_CODE: this code landed last, and nothing has changed since. ASSUMED: nobody can say,
    so something is. ALWAYS: a setting. DATABASE_AHEAD: the database has migrations that this code does not have.
    """

    ASKED = "asked"
    SAME_CODE = "same_code"
    ASSUMED = "assumed"
    ALWAYS = "always"
    DATABASE_AHEAD = "database_ahead"


class Decision(Struct, frozen=True, kw_only=True):
    """Whether to migrate, and what has decided that.

    `code` stands for the code where its landing is to be remembered. `differs` says why this release is not taken for
    the one that landed last.
    """

    pending: bool
    by: By
    code: str | None = None
    differs: tuple[str, ...] = ()


def pending(run: Run, commands: Commands) -> Decision:
    """Decides whether to migrate: something is pending, and the database is not ahead. Raises Refused."""
    decision = _decide(run, commands)
    run.log.info(
        Event.PENDING_DECIDED, pending=decision.pending, by=decision.by, differs=list(decision.differs) or None
    )
    return decision


def _decide(run: Run, commands: Commands) -> Decision:
    way, memory = run.settings.pending, None
    if way is Pending.SAME_CODE or (way is Pending.ASK and not commands.tell):
        memory = _consult(run, commands)
        if memory.same:  # the framework is asked nothing more, either: it was, when this code landed
            return Decision(pending=False, by=By.SAME_CODE)
    with _asked_meanwhile(run, commands) as missing:
        decision = _is_pending(run, commands, memory)
    names = ahead(run, commands, pending=decision.pending)
    if names:
        asked = decision.pending and decision.by is not By.ALWAYS  # a setting does not make anything pending
        is_pending = _go_on_ahead(run, commands, names, pending=asked)
        return replace(decision, pending=is_pending, by=decision.by if is_pending else By.DATABASE_AHEAD)
    _judge_missing(run, commands, missing, pending=decision.pending)
    return decision


def _consult(run: Run, commands: Commands) -> Memory:
    from release.app.memory import consult  # noqa: PLC0415 -- an app that can say what is pending needs no memory

    return consult(run, commands)


def _is_pending(run: Run, commands: Commands, memory: Memory | None) -> Decision:
    """Asks the app whether migrations are pending. Where it cannot tell, the memory may; else some are."""
    if run.settings.pending is Pending.ALWAYS:
        return Decision(pending=True, by=By.ALWAYS)
    answer = ask_pending(run, commands)
    if answer is None:
        memory = memory or _consult(run, commands)
        if memory.same:
            return Decision(pending=False, by=By.SAME_CODE)
        run.warn("pending_unknown", "the app cannot say whether migrations are pending; assuming that some are")
    return Decision(
        pending=answer is not False,
        by=By.ASSUMED if answer is None else By.ASKED,
        code=memory.code if memory else None,
        differs=memory.differs if memory else (),
    )


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
