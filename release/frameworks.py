"""What is known of migration frameworks: one table, stated in the log when it is used.

A framework is recognised by the names of its files only; the hook reads none of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec


class Framework(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `pending`: None when the framework has no such command, then something is assumed to be pending.

    `nothing_pending` and `something_pending` are the pending command's exit codes; any other is an error of the
    framework, and it is assumed that something is pending.
    """

    name: str
    marker: str
    needs: str | None = None
    migrate: tuple[str, ...]
    pending: tuple[str, ...] | None = None
    nothing_pending: int = 0
    something_pending: frozenset[int] = frozenset({1})
    source: str


FRAMEWORKS = (
    Framework(
        name="Django",
        marker="manage.py",
        migrate=("python", "manage.py", "migrate", "--noinput"),
        pending=("python", "manage.py", "migrate", "--check"),
        source="https://docs.djangoproject.com/en/5.2/ref/django-admin/#cmdoption-migrate-check",
    ),
    Framework(
        name="Alembic",
        marker="alembic.ini",
        migrate=("alembic", "upgrade", "head"),
        pending=("alembic", "current", "--check-heads"),
        something_pending=frozenset({1, 255}),
        source="https://alembic.sqlalchemy.org/en/latest/api/commands.html#alembic.command.current",
    ),
    Framework(
        name="Flask-Migrate",
        marker="migrations/alembic.ini",
        needs="flask",
        migrate=("flask", "db", "upgrade"),
        source="https://flask-migrate.readthedocs.io/en/latest/#command-reference",
    ),
    Framework(
        name="Rails",
        marker="bin/rails",
        migrate=("bin/rails", "db:migrate"),
        pending=("bin/rails", "db:abort_if_pending_migrations"),
        source="https://guides.rubyonrails.org/active_record_migrations.html#running-migrations",
    ),
    Framework(
        name="Prisma",
        marker="prisma/schema.prisma",
        migrate=("npx", "prisma", "migrate", "deploy"),
        pending=("npx", "prisma", "migrate", "status"),
        source="https://www.prisma.io/docs/orm/reference/prisma-cli-reference#migrate-status",
    ),
)


def detect(folder: Path, path: str) -> Framework | None:
    """The framework of the app in `folder`, or None. `path`: the PATH on which a needed command is looked for."""
    for framework in FRAMEWORKS:
        if (folder / framework.marker).is_file() and (not framework.needs or shutil.which(framework.needs, path=path)):
            return framework
    return None


def runnable(argv: tuple[str, ...], *, folder: Path, environ: Mapping[str, str]) -> bool:
    """Whether the command's first word can be started in `folder`: a path, or a name on the environment's PATH."""
    word = argv[0]
    if "/" in word:
        return shutil.which(str(folder / word)) is not None
    return shutil.which(word, path=environ.get("PATH", "")) is not None
