"""Which framework an app has, from the names of its files, and whether a command can be started."""

from __future__ import annotations

from pathlib import Path

import pytest

from release.app.frameworks import (
    FRAMEWORKS,
    detect,
    listed_migrations,
    recognise,
    runnable,
    says_missing,
    says_unknown,
)

BY_NAME = {each.name: each for each in FRAMEWORKS}


def _touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def _program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (["manage.py"], "Django"),
        (["alembic.ini"], "Alembic"),
        (["bin/rails"], "Rails"),
        (["prisma/schema.prisma"], "Prisma"),
        (["prisma/schema.prisma", "bin/rails", "alembic.ini", "manage.py"], "Django"),
        (["prisma/schema.prisma", "alembic.ini"], "Alembic"),
    ],
)
def test_a_framework_is_known_by_a_file_and_the_first_in_the_table_counts(
    tmp_path: Path, files: list[str], name: str
) -> None:
    assert detect(_touch(tmp_path, *files), "") is BY_NAME[name]


def test_an_alembic_folder_is_flasks_only_where_flask_can_be_started(tmp_path: Path) -> None:
    _touch(tmp_path, "migrations/alembic.ini")
    assert detect(tmp_path, "/usr/bin") is None
    _program(tmp_path / "bin" / "flask")
    assert detect(tmp_path, str(tmp_path / "bin")) is BY_NAME["Flask-Migrate"]


def test_nothing_is_detected_in_an_empty_folder_or_by_a_folder_of_that_name(tmp_path: Path) -> None:
    assert detect(tmp_path, "/usr/bin") is None
    (tmp_path / "manage.py").mkdir()
    assert detect(tmp_path, "/usr/bin") is None


def test_the_commands_of_the_table() -> None:
    assert {each.name: " ".join(each.migrate_command) for each in FRAMEWORKS} == {
        "Django": "python manage.py migrate --noinput",
        "Alembic": "alembic upgrade head",
        "Flask-Migrate": "flask db upgrade",
        "Rails": "bin/rails db:migrate",
        "Prisma": "npx prisma migrate deploy",
    }
    assert {each.name: (each.pending_command or ("?",))[0] for each in FRAMEWORKS} == {
        "Django": "python",
        "Alembic": "alembic",
        "Flask-Migrate": "sh",
        "Rails": "bin/rails",
        "Prisma": "npx",
    }
    for each in FRAMEWORKS:
        assert each.nothing_pending not in each.something_pending
        assert all(source.startswith("https://") for source in each.sources)


@pytest.mark.parametrize(
    ("command", "name", "tool"),
    [
        ("python src/manage.py migrate --noinput", "Django", "python src/manage.py"),
        ("poetry run alembic -c db.ini upgrade head", "Alembic", "poetry run alembic -c db.ini"),
        ("./manage.py migrate learning", "Django", "./manage.py"),
        ("flask --app shop db upgrade", "Flask-Migrate", "flask --app shop"),
    ],
)
def test_a_configured_command_is_recognised_with_its_own_tool(command: str, name: str, tool: str) -> None:
    found = recognise(command.split())
    assert found is not None
    assert (found.name, found.tool) == (name, tuple(tool.split()))


@pytest.mark.parametrize(
    "command", ["./migrate", "python manage.py", "echo alembic", "migrate manage.py", "make upgrade"]
)
def test_other_commands_are_not(command: str) -> None:
    assert recognise(command.split()) is None


def test_what_frameworks_print_is_read_as_they_print_it() -> None:
    assert listed_migrations(["[X]  learning.0001_initial", "[ ]  learning.0002_next", "no migration"]) == {
        ("learning", "0001_initial"),
        ("learning", "0002_next"),
    }
    assert says_missing(BY_NAME["Django"], ["Migrations for 'learning':"]) == ["Migrations for 'learning':"]
    assert says_missing(BY_NAME["Django"], ["Traceback (most recent call last):"]) is None
    alembic = says_missing(BY_NAME["Alembic"], ["ERROR: New upgrade operations detected: [('add_column', …)]"])
    assert alembic == ["('add_column', …)"]
    assert says_missing(BY_NAME["Rails"], ["Migrations for 'learning':"]) is None
    assert says_unknown("0005", ["FAILED: Can't locate revision identified by '0005'"])
    assert not says_unknown("0005", ["FAILED: Can't locate revision identified by '0007'", "0005"])


JOURNAL = (
    "('remove_table', Table('runs', MetaData(), Column('run_id', TEXT(), table=<runs>, primary_key=True,"
    " nullable=False), Column('version', INTEGER(), table=<runs>, server_default=DefaultClause(<sqlalchemy.sql."
    "elements.TextClause object at 0x7f761c5286e0>, for_update=False)), schema='release_phase'))"
)
COLUMN = "('add_column', 'crm', 'clients', Column('no, \\'te(', String(length=20), table=<clients>))"
NESTED = "[('modify_nullable', None, 'clients', 'name', {'existing_type': VARCHAR()}, True, False)]"
OTHER_RUNS = "('remove_table', Table('runs', MetaData(), Column('release_phase', TEXT(), table=<runs>), schema=None))"
PART = "('remove_column', 'release_phase', 'runs', Column('record', JSONB(), table=<runs>))"


@pytest.mark.parametrize("framework", ["Alembic", "Flask-Migrate"])
@pytest.mark.parametrize(
    ("operations", "real"),
    [
        ([JOURNAL], []),
        ([JOURNAL, f"[{PART}]", PART], []),
        ([COLUMN, JOURNAL, NESTED], [COLUMN, NESTED]),
        ([JOURNAL, OTHER_RUNS], [OTHER_RUNS]),
        ([COLUMN], [COLUMN]),
        (["('remove_table', Table('" + "x" * 400], None),
    ],
)
def test_the_hooks_own_journal_is_no_missing_migration(
    framework: str, operations: list[str], real: list[str] | None
) -> None:
    end = "" if real is None else "]"
    said = f"New upgrade operations detected: [{', '.join(operations)}{end}"
    lines = ["Context impl PostgresqlImpl.", "Detected removed table 'release_phase.runs'", f"ERROR [alembic] {said}"]
    whole = lines if real is None else real

    assert says_missing(BY_NAME[framework], lines) == whole
    pieces = [*lines[:2], lines[2][:90], lines[2][90:]]
    assert says_missing(BY_NAME[framework], pieces) == (pieces if real is None else real)


def test_a_list_that_does_not_end_in_one_stream_is_read_in_the_other() -> None:
    lines = [
        f"New upgrade operations detected: [{JOURNAL[:50]}",
        f"FAILED: New upgrade operations detected: [{JOURNAL}]",
    ]

    assert says_missing(BY_NAME["Alembic"], lines) == []


def test_a_command_is_runnable_when_its_first_word_is(tmp_path: Path) -> None:
    _program(tmp_path / "bin" / "rails")
    _touch(tmp_path, "notes")

    def _runnable(word: str, path: str | None = "") -> bool:
        environ = {} if path is None else {"PATH": path}
        return runnable((word, "x"), folder=tmp_path, environ=environ)

    assert _runnable("bin/rails")
    assert _runnable(str(tmp_path / "bin" / "rails"))
    assert _runnable("rails", path=str(tmp_path / "bin"))
    assert not _runnable("rails")
    assert not _runnable("rails", path=None)
    assert not _runnable("./notes")
    assert not _runnable("bin")
    assert not _runnable("no/such")
    assert not _runnable("")
