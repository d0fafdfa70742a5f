"""Which framework an app has, from the names of its files, and whether a command can be started."""

from __future__ import annotations

from pathlib import Path

import pytest

from release.app.answers import Answer
from release.app.command import Commands
from release.app.frameworks import FRAMEWORKS, Framework, chosen, histories, marked, recognise, runnable

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
    ("files", "names"),
    [
        (["manage.py"], ["Django"]),
        (["alembic.ini"], ["Alembic"]),
        (["bin/rails", "package.json", "config.ru"], ["Rails"]),
        (["prisma/schema.prisma", "package.json"], ["Prisma"]),
        (["migrations/alembic.ini", "migrations/env.py"], ["Flask-Migrate"]),
        (["manage.py", "reporting/alembic.ini"], ["Django"]),
        (["yoyo.ini"], ["yoyo"]),
        (["migrations/models/0_20260101000000_init.py", "migrations/models/__init__.py"], ["Aerich"]),
        (["migrations/models/__init__.py"], []),
        (["sqitch.plan", "sqitch.conf"], ["Sqitch"]),
        (["mix.exs", "priv/repo/migrations/20260101000000_courses.exs"], ["Ecto"]),
        (["mix.exs"], []),
        (["artisan", "composer.json"], ["Laravel"]),
        (["liquibase.properties"], ["Liquibase"]),
        (["conf/flyway.conf"], ["Flyway"]),
        (["knexfile.ts"], ["Knex"]),
        (["prisma.config.ts", "prisma/schema.prisma"], ["Prisma"]),
        (["node_modules/.bin/sequelize-cli", "config/config.js"], ["Sequelize"]),
        (["config/config.js"], []),
        (["dist/db/data-source.js"], ["TypeORM"]),
        (["drizzle.config.ts", "drizzle/meta/_journal.json"], ["Drizzle"]),
        (["prisma/schema.prisma", "bin/rails", "alembic.ini", "manage.py"], ["Django", "Alembic", "Rails", "Prisma"]),
        (["reporting/manage.py"], []),
    ],
)
def test_a_framework_is_known_by_a_file_in_its_place(tmp_path: Path, files: list[str], names: list[str]) -> None:
    assert [each.name for each in marked(_touch(tmp_path, *files))] == names


def test_a_folder_with_the_name_of_a_framework_s_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "manage.py").mkdir()
    assert marked(tmp_path) == []


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda each: each.name)
def test_a_framework_is_chosen_by_its_own_command_word_for_word(framework: Framework) -> None:
    framework = framework.at("build/data-source.js") if "{marker}" in framework.tool else framework
    found = chosen(framework.migrate_command)
    assert found == framework
    assert chosen(framework.tool) is None
    assert chosen([*framework.migrate_command, "--more"]) is None


def test_every_row_is_whole() -> None:
    markers = [marker for each in FRAMEWORKS for marker in each.markers]
    assert len({each.name for each in FRAMEWORKS}) == len(FRAMEWORKS)
    assert len(set(markers)) == len(markers)
    for each in FRAMEWORKS:
        assert not (each.known and each.unknown)
        assert each.histories, "the fingerprint has to know what was migrated"
        assert set(each.histories) <= set(histories())
        assert all(source.startswith("https://") for source in each.sources)


def test_the_commands_of_the_table() -> None:
    commands = {
        each.name: (" ".join(each.migrate_command), " ".join(each.pending_command or ())) for each in FRAMEWORKS
    }
    assert (
        commands.items()
        >= {
            "Django": ("python manage.py migrate --noinput", "python manage.py migrate --check"),
            "Rails": ("bin/rails db:migrate", "bin/rails db:abort_if_pending_migrations"),
            "yoyo": ("yoyo apply --batch", "yoyo list --batch"),
            "Aerich": ("aerich upgrade", "aerich heads"),
            "Ecto": ("mix ecto.migrate", "mix ecto.migrations"),
            "Laravel": ("php artisan migrate --force", "php artisan migrate:status"),
            "Liquibase": ("liquibase update", "liquibase status"),
            "Flyway": ("flyway migrate", "flyway info"),
            "goose": ("goose up", "goose status"),
            "golang-migrate": ("migrate up", ""),
            "Prisma": ("node_modules/.bin/prisma migrate deploy", "node_modules/.bin/prisma migrate status"),
            "Knex": ("node_modules/.bin/knex migrate:latest", "node_modules/.bin/knex migrate:list"),
            "Sequelize": (
                "node_modules/.bin/sequelize-cli db:migrate",
                "node_modules/.bin/sequelize-cli db:migrate:status",
            ),
            "Drizzle": ("node_modules/.bin/drizzle-kit migrate", ""),
        }.items()
    )


def read(name: str, exit_code: int | None, *lines: str) -> bool | None:
    """What the framework's row reads from the answer to its question for pending migrations."""
    question = BY_NAME[name].pending
    assert question is not None
    return question.read(Answer(exit_code=exit_code, lines=list(lines)))


def crash(name: str, exit_code: int | None, *lines: str) -> str | None:
    """What the row takes the answer's failure for."""
    answer = Answer(exit_code=exit_code, lines=list(lines))
    return Commands(migrate=(), pending=(), framework=BY_NAME[name], asked=None).crash(answer)


ECTO = (
    "Repo: Shop.Repo",
    "",
    "  Status    Migration ID    Migration Name",
    "-" * 50,
    "  up        20260101000000  courses",
)
FLYWAY = (
    "| Category  | Version | Description | State   | Undoable |",
    "| Versioned | 1       | courses     | Success | No |",
)
GOOSE = (
    "2026/01/01 00:00:00     Applied At                  Migration",
    "  Thu Jan  1 00:00:00 2026 -- 001_courses.sql",
)


@pytest.mark.parametrize(
    ("name", "nothing", "one"),
    [
        ("Ecto", ECTO, "  down      20260102000000  price"),
        ("Laravel", ("  2026_01_01_000000_courses ....... [1] Ran",), "  2026_01_02_000000_price ......... Pending"),
        ("Flyway", FLYWAY, "| Versioned | 2       | price       | Pending | No |"),
        ("Flyway", FLYWAY, "| Versioned | 2       | price       | Failed  | No |"),
        (
            "Liquibase",
            ("shop@jdbc:postgresql://db/shop is up to date",),
            "2 changesets have not been applied to shop@…",
        ),
        ("goose", GOOSE, "2026/01/01 00:00:00     Pending                  -- 002_price.sql"),
        ("yoyo", ("STATUS    ID    SOURCE", "A         0001  migrations"), "U         0002  migrations"),
        ("Aerich", ("No available heads.",), "1_20260102000000_price.py"),
        ("Sqitch", ("Nothing to deploy (up-to-date)",), "Undeployed changes:"),
    ],
)
def test_an_answer_of_words_is_read_by_its_words(name: str, nothing: tuple[str, ...], one: str) -> None:
    assert read(name, 0, *nothing) is False
    assert read(name, 0, *nothing, one) is True
    assert read(name, 0, "neither") is None
    assert read(name, 70, *nothing) is None
    assert read(name, None, *nothing) is None
    assert crash(name, 70, *nothing, "it cannot connect") == "it cannot connect"
    assert crash(name, 0, "neither") is None
    assert crash(name, 70, "unknown command") is None, "another version does not know the question"


@pytest.mark.parametrize(
    ("name", "codes"), [("Django", (1,)), ("Alembic", (1, 255)), ("Flask-Migrate", (1, 2, 255)), ("Rails", (1,))]
)
def test_an_answer_of_exit_codes_is_read_by_them(name: str, codes: tuple[int, ...]) -> None:
    assert [read(name, code) for code in (0, 64, None)] == [False, None, None]
    assert [read(name, code) for code in codes] == [True] * len(codes)
    assert [crash(name, code, "some words") for code in codes] == [None] * len(codes)


def test_what_rails_lists_without_a_file_is_not_in_its_code() -> None:
    known = BY_NAME["Rails"].known
    assert known is not None
    lines = ["   up     20260101000000  Make courses", "   up     20260102000000  ********** NO FILE **********"]
    assert known.read(Answer(exit_code=0, lines=lines)) == {("20260101000000",)}


@pytest.mark.parametrize(
    ("command", "name", "question"),
    [
        ("python manage.py migrate", "Django", "python manage.py migrate --check"),
        ("python3 manage.py migrate --no-input", "Django", "python3 manage.py migrate --check"),
        ("./manage.py migrate --noinput", "Django", "./manage.py migrate --check"),
        ("poetry run python manage.py migrate --noinput", "Django", "poetry run python manage.py migrate --check"),
        ("uv run python manage.py migrate", "Django", "uv run python manage.py migrate --check"),
        ("rails db:migrate", "Rails", "rails db:abort_if_pending_migrations"),
        ("bundle exec rails db:migrate", "Rails", "bundle exec rails db:abort_if_pending_migrations"),
        ("bundle exec bin/rails db:migrate", "Rails", "bundle exec bin/rails db:abort_if_pending_migrations"),
        ("dbmate up", "dbmate", "dbmate status --exit-code"),
        ("node_modules/.bin/dbmate migrate", "dbmate", "node_modules/.bin/dbmate status --exit-code"),
        ("npx dbmate up", "dbmate", "node_modules/.bin/dbmate --no-dump-schema status --exit-code"),
        ("npx --no -- knex migrate:latest", "Knex", "node_modules/.bin/knex migrate:list"),
        ("npx knex migrate:latest", "Knex", "node_modules/.bin/knex migrate:list"),
        ("./node_modules/.bin/knex migrate:latest", "Knex", "./node_modules/.bin/knex migrate:list"),
        ("knex migrate:latest", "Knex", "knex migrate:list"),
        ("npx sequelize db:migrate", "Sequelize", "node_modules/.bin/sequelize-cli db:migrate:status"),
        ("npx prisma migrate deploy", "Prisma", "node_modules/.bin/prisma migrate status"),
        ("pnpm exec node-pg-migrate up", "node-pg-migrate", "node-pg-migrate up --dry-run"),
    ],
)
def test_another_spelling_of_its_command_is_asked_what_is_pending(command: str, name: str, question: str) -> None:
    found = chosen(command.split())
    assert found is not None
    assert (found.name, found.question) == (name, question)


@pytest.mark.parametrize(
    "command",
    [
        "python manage.py migrate learning",
        "python src/manage.py migrate --noinput",
        "manage.py migrate",
        "poetry run alembic upgrade head",  # the row's question is a script that calls alembic itself
        "poetry run knex migrate:latest",
        "uv run --frozen python manage.py migrate",
        "npx --yes knex migrate:latest",
        "npx knex migrate:latest --env production",
        "npx -p knex knex migrate:latest",
        "yarn knex migrate:latest",  # a script of package.json may have that name
        "npx rails db:migrate",
        "bundle exec rake db:migrate",
        "dbmate -d other up",
        "./migrate up",
        "bin/migrate up",
        "./goose up",
        "node-pg-migrate up",
        "migrate",
        "up",
    ],
)
def test_a_command_that_may_mean_something_else_is_no_spelling(command: str) -> None:
    assert chosen(command.split()) is None


@pytest.mark.parametrize(
    ("command", "name", "tool"),
    [
        ("python src/manage.py migrate --noinput", "Django", "python src/manage.py"),
        ("poetry run alembic -c db.ini upgrade head", "Alembic", "poetry run alembic -c db.ini"),
        ("./manage.py migrate learning", "Django", "./manage.py"),
        ("flask --app shop db upgrade", "Flask-Migrate", "flask --app shop"),
        ("npx --no -- knex migrate:latest", "Knex", "npx --no -- knex"),
        ("npx sequelize db:migrate --env production", "Sequelize", "npx sequelize"),
        ("bin/dbmate --url x migrate", "dbmate", "bin/dbmate --url x"),
        ("typeorm -d a.js migration:run", "TypeORM", "typeorm -d a.js"),
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


def _missing(name: str, lines: list[str], exit_code: int = 1) -> list[str] | None:
    """What the framework's row reads from the answer to its question for missing migrations."""
    question = BY_NAME[name].missing
    assert question is not None
    return question.read(Answer(exit_code=exit_code, lines=lines))


def test_what_django_lists_is_what_its_code_has() -> None:
    known = BY_NAME["Django"].known
    assert known is not None
    lines = ["[X]  learning.0001_initial", "[ ]  learning.0002_next", "no migration", " learning.0003_other"]
    assert known.read(Answer(lines=lines)) == {("learning", "0001_initial"), ("learning", "0002_next")}


def test_missing_migrations_need_the_words_and_the_exit_code() -> None:
    assert _missing("Django", ["Migrations for 'learning':"]) == ["Migrations for 'learning':"]
    assert _missing("Django", ["Migrations for 'learning':"], exit_code=2) is None
    assert _missing("Django", ["Migrations for 'learning':"], exit_code=0) == []
    assert _missing("Django", ["It is impossible to add a non-nullable field"], exit_code=3) is not None
    assert _missing("Django", ["Traceback (most recent call last):"]) is None
    alembic = ["ERROR: New upgrade operations detected: [('add_column', …)]"]
    assert _missing("Alembic", alembic, exit_code=255) == ["('add_column', …)"]
    assert _missing("Alembic", alembic, exit_code=1) is None
    assert BY_NAME["Rails"].missing is None


@pytest.mark.parametrize("name", ["Alembic", "Flask-Migrate"])
def test_a_revision_is_unknown_when_its_command_failed_and_says_so(name: str) -> None:
    unknown = BY_NAME[name].unknown
    assert unknown is not None
    lines = ["FAILED: Can't locate revision identified by '0007'", "0005"]
    assert unknown.read(Answer(exit_code=255, lines=lines)) == {("0007",)}
    assert unknown.read(Answer(exit_code=0, lines=lines)) == set()
    assert BY_NAME[name].asking(unknown, ("0007",))[-2:] == ("show", "0007")


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

    assert _missing(framework, lines, exit_code=255) == whole
    pieces = [*lines[:2], lines[2][:90], lines[2][90:]]
    assert _missing(framework, pieces, exit_code=255) == (pieces if real is None else real)


@pytest.mark.parametrize("framework", ["Alembic", "Flask-Migrate"])
def test_alembics_log_is_no_missing_migration(framework: str) -> None:
    cut_off = "ERROR [alembic.util.messaging] New upgrade operations detected: [('add_table', Table('x"
    lines = [
        "INFO  [alembic.runtime.migration] Context impl PostgresqlImpl.",
        "INFO  [alembic.runtime.plugins] setting up autogenerate plugin alembic.autogenerate.schemas",
        "DEBUG [alembic.autogenerate.compare] nothing",
        "",
        cut_off,
    ]

    assert _missing(framework, lines, exit_code=255) == [cut_off]


def test_a_list_that_does_not_end_in_one_stream_is_read_in_the_other() -> None:
    lines = [
        f"New upgrade operations detected: [{JOURNAL[:50]}",
        f"FAILED: New upgrade operations detected: [{JOURNAL}]",
    ]

    assert _missing("Alembic", lines, exit_code=255) == []


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
