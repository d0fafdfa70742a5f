"""What is known of migration frameworks: one table, stated in the log when it is used.

A framework is recognised by the names of its files, or by the words of a configured command; the hook reads none of its
files. What text a framework prints is interpreted at the end of this module, and nowhere else.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec


class Framework(msgspec.Struct, frozen=True, kw_only=True):
    """One row. Commands are what follows `tool`; None when the framework has no such command.

    pending: its exit codes `nothing_pending` and `something_pending` answer; any other is an error of the framework,
    and it is assumed that something is pending. shown: prints what is pending, for people. missing: exits with one of
    `something_missing` when models were changed without a migration; `missing_at_head`: it can tell only when nothing
    is pending. known: prints all migrations of the code, or, with `{}` for one, exits 0 when the code has that one.
    history: the table of what has been migrated.
    """

    name: str
    marker: str
    needs: str | None = None
    tool: tuple[str, ...]
    migrate: tuple[str, ...]
    pending: tuple[str, ...] | None = None
    pending_shell: str | None = None
    nothing_pending: int = 0
    something_pending: frozenset[int] = frozenset({1})
    shown: tuple[str, ...] | None = None
    missing: tuple[str, ...] | None = None
    something_missing: frozenset[int] = frozenset()
    missing_at_head: bool = False
    known: tuple[str, ...] | None = None
    history: str | None = None
    sources: tuple[str, ...]

    @property
    def migrate_command(self) -> tuple[str, ...]:
        """The migration."""
        return self.tool + self.migrate

    @property
    def pending_command(self) -> tuple[str, ...] | None:
        """The question whether a migration is pending."""
        if self.pending_shell:
            return ("sh", "-c", self.pending_shell)
        return self.tool + self.pending if self.pending else None

    @property
    def keeps_heads(self) -> bool:
        """Whether its history is the newest revisions only, each of which can be asked for."""
        return "{}" in (self.known or ())


FRAMEWORKS = (
    Framework(
        name="Django",
        marker="manage.py",
        tool=("python", "manage.py"),
        migrate=("migrate", "--noinput"),
        pending=("migrate", "--check"),
        shown=("migrate", "--plan"),
        # Without --noinput it would ask; then 3 is its answer for a column that needs a default (questioner.py).
        missing=("makemigrations", "--check", "--dry-run", "--noinput"),
        something_missing=frozenset({1, 3}),
        known=("showmigrations", "--plan"),
        history="django_migrations",
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
        pending=("current", "--check-heads"),  # since Alembic 1.17.1; an older one exits with 2: not known
        something_pending=frozenset({1, 255}),
        shown=("history", "-r", "current:heads"),
        missing=("check",),
        something_missing=frozenset({255}),
        missing_at_head=True,
        known=("show", "{}"),
        history="alembic_version",
        sources=(
            "https://alembic.sqlalchemy.org/en/latest/api/commands.html#alembic.command.current",
            "https://alembic.sqlalchemy.org/en/latest/api/commands.html#alembic.command.check",
        ),
    ),
    Framework(
        name="Flask-Migrate",
        marker="migrations/alembic.ini",
        needs="flask",
        tool=("flask",),
        migrate=("db", "upgrade"),
        # It has no --check-heads (4.1). Anything but two equal answers, an error as well, means pending.
        pending_shell='heads=$(flask db heads) && current=$(flask db current) && [ "$heads" = "$current" ]',
        something_pending=frozenset({1, 2, 255}),
        shown=("db", "history", "-r", "current:heads"),
        missing=("db", "check"),
        something_missing=frozenset({1, 255}),
        missing_at_head=True,
        known=("db", "show", "{}"),
        history="alembic_version",
        sources=("https://flask-migrate.readthedocs.io/en/latest/#command-reference",),
    ),
    Framework(
        name="Rails",
        marker="bin/rails",
        tool=("bin/rails",),
        migrate=("db:migrate",),
        pending=("db:abort_if_pending_migrations",),
        shown=("db:migrate:status",),
        sources=("https://guides.rubyonrails.org/active_record_migrations.html#running-migrations",),
    ),
    Framework(
        name="Prisma",
        marker="prisma/schema.prisma",
        tool=("npx", "prisma"),
        migrate=("migrate", "deploy"),
        pending=("migrate", "status"),
        shown=("migrate", "status"),
        sources=("https://www.prisma.io/docs/orm/reference/prisma-cli-reference#migrate-status",),
    ),
)


def detect(folder: Path, path: str) -> Framework | None:
    """The framework of the app in `folder`, or None. `path`: the PATH on which a needed command is looked for."""
    for framework in FRAMEWORKS:
        if (folder / framework.marker).is_file() and (not framework.needs or shutil.which(framework.needs, path=path)):
            return framework
    return None


def recognise(migrate: Sequence[str]) -> Framework | None:
    """The framework behind a configured migration command, with its words before the verb as the tool.

    `python src/manage.py migrate` is Django's, `poetry run alembic upgrade head` Alembic's. It is asked what it knows
    of its migrations, but not whether one is pending: the command may be meant for a part of them only.
    """
    for framework in FRAMEWORKS:
        if framework.known is None or not framework.migrate:
            continue
        program, verb = Path(framework.tool[-1]).name, framework.migrate[0]
        for place, word in enumerate(migrate[:-1]):
            if Path(word).name == program and verb in migrate[place + 1 :]:
                end = migrate.index(verb, place + 1)
                return msgspec.structs.replace(framework, tool=tuple(migrate[:end]))
    return None


def runnable(argv: tuple[str, ...], *, folder: Path, environ: Mapping[str, str]) -> bool:
    """Whether the command's first word can be started in `folder`: a path, or a name on the environment's PATH."""
    word = argv[0]
    if "/" in word:
        return shutil.which(str(folder / word)) is not None
    return shutil.which(word, path=environ.get("PATH", "")) is not None


# What frameworks print. Exit codes alone do not tell an answer from a crash.

_DJANGO_MIGRATION = re.compile(r"^\[[ X]\]\s+(\w+)\.(\w+)")
_MISSING = {
    "Django": re.compile(r"^Migrations for '|impossible to (add|change)"),
    "Alembic": re.compile(r"New upgrade operations detected"),
    "Flask-Migrate": re.compile(r"New upgrade operations detected"),
}


def listed_migrations(lines: Sequence[str]) -> set[tuple[str, str]]:
    """(app, name) of what Django's `showmigrations --plan` lists, a line each: `[X]  learning.0001_initial`."""
    return {(found[1], found[2]) for line in lines if (found := _DJANGO_MIGRATION.match(line))}


def says_missing(framework: Framework, lines: Sequence[str]) -> list[str] | None:
    """What the output says of missing migrations, a change or a line each; None when it says nothing of the kind.

    Django's check exits with 1 when one is missing and when it crashes, Alembic's with 255 for everything. Alembic
    with `include_schemas` sees the hook's own journal, which is no change of the app's: it is left out.
    """
    pattern = _MISSING.get(framework.name)
    if not pattern or not any(pattern.search(line) for line in lines):
        return None
    operations = _operations(lines) if framework.name != "Django" else None
    if operations is None:
        return [line.strip() for line in lines if line.strip()]
    return [_short(each) for each in operations if not _OWN_SCHEMA.search(each)]


_OPERATIONS = "New upgrade operations detected: "
_OWN_SCHEMA = re.compile(
    r"^\('remove_table', .*, schema='release_phase'\)\)$|^\[?\('\w+', 'release_phase', ", re.DOTALL
)
"""Alembic's words for a table of the journal, and for a part of one."""
_TOKEN = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<comma>,)""", re.DOTALL
)
SHOWN_OPERATION = 300
"""Characters of an operation that are shown."""


def _operations(lines: Sequence[str]) -> list[str] | None:
    """The operations in the list that Alembic prints, as text; None when no list can be read to its end.

    It prints the list as Python shows it, twice (as an error, and in the log), in one line that may come in pieces.
    """
    for place, line in enumerate(lines):
        _, found, rest = line.partition(_OPERATIONS)
        if found and (operations := _items("".join([rest, *lines[place + 1 :]]))) is not None:
            return operations
    return None


def _items(text: str) -> list[str] | None:
    """The items of the list with which a text begins, as Python shows a list."""
    if not text.startswith("["):
        return None
    depth, start, items = 0, 1, []
    for token in _TOKEN.finditer(text):
        depth += (token.lastgroup == "open") - (token.lastgroup == "close")
        if depth == 0 or (depth == 1 and token.lastgroup == "comma"):
            items.append(text[start : token.start()].strip())
            start = token.end()
        if depth == 0:
            return [item for item in items if item]
    return None


def _short(operation: str) -> str:
    return operation if len(operation) <= SHOWN_OPERATION else f"{operation[:SHOWN_OPERATION]}…"


def says_unknown(revision: str, lines: Sequence[str]) -> bool:
    """Whether Alembic says that it has no such revision: `Can't locate revision identified by '0005'`."""
    return any("Can't locate revision" in line and revision in line for line in lines)
