"""Frameworks of Python. Each was measured with the real tool: tests/toolchains/python.py has its answers."""

from __future__ import annotations

from release.app.answers import Question, changes, denied, exit_code, listed, operations, said
from release.app.crashes import says
from release.app.framework import Framework
from release.database.history import HistoryTable

_ALEMBIC_HISTORY = HistoryTable(table="alembic_version", columns=("version_num",))
_ALEMBIC_PENDING = """said=$(alembic current --check-heads 2>&1); code=$?
case $said in *"unrecognized arguments: --check-heads"*) ;;
*) [ $code = 0 ] || exec >&2; printf '%s\\n' "$said"; exit $code ;;
esac
heads=$(alembic heads) && current=$(alembic current) && [ "$heads" = "$current" ]"""
"""Before 1.17.1 it has no --check-heads, and two answers are compared."""
_ALEMBIC_MISSING = "New upgrade operations detected"
_ALEMBIC_UNKNOWN = r"Can't locate revision identified by '([^']+)'"

PYTHON = (
    Framework(
        name="Django",
        markers=("manage.py",),
        tool=("python", "manage.py"),
        migrate=("migrate", "--noinput"),
        also=(("migrate",), ("migrate", "--no-input")),
        # 1 is the answer of a crash, too; then it prints a traceback, and else nothing.
        pending=Question(("migrate", "--check"), exit_code(1), ambiguous=True),
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
        measured="5.2",
        sources=(
            "https://docs.djangoproject.com/en/5.2/ref/django-admin/#cmdoption-migrate-check",
            "https://docs.djangoproject.com/en/5.2/ref/django-admin/#cmdoption-makemigrations-check",
            "https://docs.djangoproject.com/en/5.2/ref/django-admin/#cmdoption-showmigrations-plan",
        ),
    ),
    Framework(
        name="Alembic",
        markers=("alembic.ini",),
        tool=("alembic",),
        migrate=("upgrade", "head"),
        # 255 is all its errors', and 1 a crash's.
        pending=Question(
            ("sh", "-c", _ALEMBIC_PENDING),
            exit_code(1, 255),
            whole=True,
            ambiguous=True,
            name="alembic current --check-heads",
        ),
        shown=("history", "-r", "current:heads"),
        missing=Question(("check",), changes(255, says=_ALEMBIC_MISSING, read=operations)),  # 255 is all its errors'
        missing_at_head=True,
        unknown=Question(("show", "{}"), denied(_ALEMBIC_UNKNOWN)),
        histories=(_ALEMBIC_HISTORY,),
        measured="1.16, 1.17, 1.20",
        sources=(
            "https://alembic.sqlalchemy.org/en/latest/api/commands.html#alembic.command.current",
            "https://alembic.sqlalchemy.org/en/latest/api/commands.html#alembic.command.check",
        ),
    ),
    Framework(
        name="Flask-Migrate",
        markers=("migrations/alembic.ini",),
        tool=("flask",),
        migrate=("db", "upgrade"),
        # It has no --check-heads (4.1). Anything but two equal answers, an error as well, means pending.
        pending=Question(
            ("sh", "-c", 'heads=$(flask db heads) && current=$(flask db current) && [ "$heads" = "$current" ]'),
            exit_code(1, 2, 255),
            whole=True,
            ambiguous=True,
            name="flask db current",
        ),
        crashed=says(r"^Error: No such command 'db'", r"^\w[\w.]*Error: |^Error: Could not locate"),
        shown=("db", "history", "-r", "current:heads"),
        missing=Question(("db", "check"), changes(1, 255, says=_ALEMBIC_MISSING, read=operations)),
        missing_at_head=True,
        unknown=Question(("db", "show", "{}"), denied(_ALEMBIC_UNKNOWN)),
        histories=(_ALEMBIC_HISTORY,),
        measured="4.1",
        sources=("https://flask-migrate.readthedocs.io/en/latest/#command-reference",),
    ),
    Framework(
        name="yoyo",
        markers=("yoyo.ini",),
        tool=("yoyo",),
        migrate=("apply", "--batch"),
        # The first question of all makes yoyo's own tables (9.0).
        pending=Question(("list", "--batch"), said(something=r"^U\s+\S", nothing=r"^STATUS\s+ID\s")),
        shown=("list", "--batch"),
        known=Question(("list", "--batch"), listed(r"[AU]\s+(\S+)")),
        file="migrations/{}.*",
        histories=(
            HistoryTable(
                table="_yoyo_migration",
                columns=("migration_id",),
                order="applied_at_utc",
                entry="concat(migration_id, ' ', migration_hash)",
                more=frozenset({"migration_hash", "applied_at_utc"}),
            ),
        ),
        measured="9.0",
        sources=("https://ollycope.com/software/yoyo/latest/",),
    ),
    Framework(
        name="Aerich",
        markers=("migrations/models/[0-9]*_*.py",),
        tool=("aerich",),
        migrate=("upgrade",),
        # `heads` are the migrations that are not applied; over a database without its table it crashes with 1 (0.10).
        pending=Question(
            ("heads",),
            said(
                something=r'^\d+_\S+\.py$|relation "aerich" does not exist',
                nothing=r"^No available heads",
                exit_codes=(0, 1),
            ),
        ),
        shown=("heads",),
        known=Question(("history",), listed(r"(\d+_\S+\.py)$")),
        file="migrations/models/{}",
        histories=(
            HistoryTable(
                table="aerich",
                columns=("version",),
                order="id",
                entry="app || '.' || version",
                more=frozenset({"app", "id"}),
            ),
        ),
        measured="0.10",
        sources=("https://github.com/tortoise/aerich#usage",),
    ),
)
