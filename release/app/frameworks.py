"""What is known of migration frameworks: one table, in which all that differs between them is a column.

A framework is recognised by the names of its files, or by the words of a configured command; the hook reads none of its
files. A new one is a row here, and a test of that row.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from release.app.answers import Entry, Question, changes, denied, exit_code, listed, operations
from release.app.crashes import Reader, says
from release.database.history import HistoryTable

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """A row of the table. All words follow `tool`; a question is None where the framework has no such command.

    marker: the file by which it is recognised. pending: whether something is to be migrated; its answer is None where
    it does not tell. shown: prints what is pending, for people. missing: which models were changed without a migration;
    `missing_at_head`: it can tell only when nothing is pending. known: all migrations that the code has. unknown, in
    its place where the history is the newest revisions only: asked of each of them (`{}`), those that the code does not
    have. file: the end of a migration's path, by which one is seen without asking. histories: the tables of what has
    been migrated; `known` and `unknown` are about the first. sources: where all of this is documented.
    """

    name: str
    marker: str
    tool: tuple[str, ...]
    migrate: tuple[str, ...]
    pending: Question[bool | None] | None = None
    crashed: Reader | None = None
    shown: tuple[str, ...] | None = None
    missing: Question[list[str] | None] | None = None
    missing_at_head: bool = False
    known: Question[set[Entry]] | None = None
    unknown: Question[set[Entry]] | None = None
    file: str | None = None
    histories: tuple[HistoryTable, ...] = ()
    sources: tuple[str, ...]

    @property
    def migrate_command(self) -> tuple[str, ...]:
        """The migration."""
        return self.tool + self.migrate

    @property
    def pending_command(self) -> tuple[str, ...] | None:
        """The command that asks whether a migration is pending; None: it cannot be asked."""
        return self.asking(self.pending) if self.pending else None

    def asking(self, question: Question[T], entry: Entry = ()) -> tuple[str, ...]:
        """Returns the command that asks a question, in which an entry of the history takes the place of `{}`."""
        words = tuple(word.format(*entry) for word in question.words) if entry else question.words
        return words if question.whole else self.tool + words


_ALEMBIC_HISTORY = HistoryTable(table="alembic_version", columns=("version_num",))
_ALEMBIC_MISSING = "New upgrade operations detected"
_ALEMBIC_UNKNOWN = r"Can't locate revision identified by '([^']+)'"

FRAMEWORKS = (
    Framework(
        name="Django",
        marker="manage.py",
        tool=("python", "manage.py"),
        migrate=("migrate", "--noinput"),
        pending=Question(("migrate", "--check"), exit_code(1)),
        crashed=says(r"^SystemCheckError: ", r"\(\w+\.E\d+\)"),
        shown=("migrate", "--plan"),
        # Without --noinput it would ask; then 3 is its answer for a column that needs a default (questioner.py). It
        # exits with 1 when one is missing and when it crashes.
        missing=Question(
            ("makemigrations", "--check", "--dry-run", "--noinput"),
            changes(1, 3, says=r"^Migrations for '|impossible to (add|change)"),
        ),
        known=Question(("showmigrations", "--plan"), listed(r"\[[ X]\]\s+(\w+)\.(\w+)")),
        file="{}/migrations/{}.py",
        histories=(HistoryTable(table="django_migrations", columns=("app", "name"), order="id"),),
        sources=(
            "https://docs.djangoproject.com/en/5.2/ref/django-admin/#cmdoption-migrate-check",
            "https://docs.djangoproject.com/en/5.2/ref/django-admin/#cmdoption-makemigrations-check",
            "https://docs.djangoproject.com/en/5.2/ref/django-admin/#cmdoption-showmigrations-plan",
        ),
    ),
    Framework(
        name="Alembic",
        marker="alembic.ini",
        tool=("alembic",),
        migrate=("upgrade", "head"),
        # Since Alembic 1.17.1; an older one exits with 2: not known.
        pending=Question(("current", "--check-heads"), exit_code(1, 255)),
        shown=("history", "-r", "current:heads"),
        missing=Question(("check",), changes(255, says=_ALEMBIC_MISSING, read=operations)),  # 255 is all its errors'
        missing_at_head=True,
        unknown=Question(("show", "{}"), denied(_ALEMBIC_UNKNOWN)),
        histories=(_ALEMBIC_HISTORY,),
        sources=(
            "https://alembic.sqlalchemy.org/en/latest/api/commands.html#alembic.command.current",
            "https://alembic.sqlalchemy.org/en/latest/api/commands.html#alembic.command.check",
        ),
    ),
    Framework(
        name="Flask-Migrate",
        marker="migrations/alembic.ini",
        tool=("flask",),
        migrate=("db", "upgrade"),
        # It has no --check-heads (4.1). Anything but two equal answers, an error as well, means pending.
        pending=Question(
            ("sh", "-c", 'heads=$(flask db heads) && current=$(flask db current) && [ "$heads" = "$current" ]'),
            exit_code(1, 2, 255),
            whole=True,
        ),
        crashed=says(r"^Error: No such command 'db'", r"^\w[\w.]*Error: |^Error: Could not locate"),
        shown=("db", "history", "-r", "current:heads"),
        missing=Question(("db", "check"), changes(1, 255, says=_ALEMBIC_MISSING, read=operations)),
        missing_at_head=True,
        unknown=Question(("db", "show", "{}"), denied(_ALEMBIC_UNKNOWN)),
        histories=(_ALEMBIC_HISTORY,),
        sources=("https://flask-migrate.readthedocs.io/en/latest/#command-reference",),
    ),
    Framework(
        name="Rails",
        marker="bin/rails",
        tool=("bin/rails",),
        migrate=("db:migrate",),
        pending=Question(("db:abort_if_pending_migrations",), exit_code(1)),
        crashed=says(
            r"^(\S*bin/)?(rails|rake) aborted!$|^\S+:\d+:in .+ \([A-Z]\w*(::\w+)*\)$",
            r"^([A-Z]\w*::)*[A-Z]\w*: ",
            unless=r"pending migration",
        ),
        shown=("db:migrate:status",),
        histories=(
            HistoryTable(table="schema_migrations", columns=("version",)),
            HistoryTable(table="ar_internal_metadata", columns=("key", "value"), entry="key || ' ' || value"),
        ),
        sources=("https://guides.rubyonrails.org/active_record_migrations.html#running-migrations",),
    ),
    Framework(
        name="Prisma",
        marker="prisma/schema.prisma",
        tool=("npx", "prisma"),
        migrate=("migrate", "deploy"),
        pending=Question(("migrate", "status"), exit_code(1)),
        # https://www.prisma.io/docs/orm/reference/error-reference#common: P1xxx is about schema and connection.
        crashed=says(r"^Error: P1\d{3}:|^Error code: P1012", r"^error: "),
        shown=("migrate", "status"),
        histories=(
            HistoryTable(
                table="_prisma_migrations",
                columns=("migration_name",),
                order="started_at",
                entry="concat(migration_name, ' ', checksum, CASE WHEN finished_at IS NOT NULL THEN ' finished' END,"
                " CASE WHEN rolled_back_at IS NOT NULL THEN ' rolled back' END)",
                more=frozenset({"checksum", "finished_at", "rolled_back_at"}),
            ),
        ),
        sources=("https://www.prisma.io/docs/orm/reference/prisma-cli-reference#migrate-status",),
    ),
)

OTHER_HISTORIES = (
    HistoryTable(  # golang-migrate's
        table="schema_migrations",
        columns=("version",),
        entry="concat(version, CASE WHEN dirty THEN ' dirty' END)",
        more=frozenset({"dirty"}),
    ),
)
"""The histories of tools that leave no file by which they could be recognised, and are set as commands."""


def histories() -> tuple[HistoryTable, ...]:
    """Returns every table that holds a migration history, whichever framework the app has: it may have had another."""
    known = (history for framework in FRAMEWORKS for history in framework.histories)
    return tuple(dict.fromkeys([*known, *OTHER_HISTORIES]))


def marked(folder: Path) -> list[Framework]:
    """Returns the frameworks whose file is in the app's folder."""
    return [framework for framework in FRAMEWORKS if (folder / framework.marker).is_file()]


def chosen(migrate: Sequence[str]) -> Framework | None:
    """Returns the framework whose own migration command was configured word for word.

    That is how one of several is chosen.
    """
    return next((framework for framework in FRAMEWORKS if framework.migrate_command == tuple(migrate)), None)


def recognise(migrate: Sequence[str]) -> Framework | None:
    """Returns the framework behind a configured migration command, with its words before the verb as the tool.

    `python src/manage.py migrate` is Django's, `poetry run alembic upgrade head` Alembic's. It is asked what it knows
    of its migrations, but not whether one is pending: the command may be meant for a part of them only.
    """
    for framework in FRAMEWORKS:
        program, verb = Path(framework.tool[-1]).name, framework.migrate[0]
        for place, word in enumerate(migrate[:-1]):
            if Path(word).name == program and verb in migrate[place + 1 :]:
                end = migrate.index(verb, place + 1)
                return replace(framework, tool=tuple(migrate[:end]))
    return None


def runnable(argv: Sequence[str], *, folder: Path, environ: Mapping[str, str]) -> bool:
    """Tells whether the command's first word can be started in `folder`.

    The word is a path, or a name on the environment's PATH.
    """
    word = argv[0]
    if "/" in word:
        return shutil.which(str(folder / word)) is not None
    return shutil.which(word, path=environ.get("PATH", "")) is not None
