"""What Node's frameworks answer, in the words that were measured with the real tools, and others of their sources."""

from __future__ import annotations

import pytest

from release.app.answers import Answer
from release.app.frameworks import Framework, chosen
from release.app.rows.node import NODE

BY_NAME = {each.name: each for each in NODE}


def pending(name: str, exit_code: int, *lines: str) -> bool | None:
    """What the framework's row reads from the answer to its question for pending migrations."""
    question = BY_NAME[name].pending
    assert question is not None
    return question.read(Answer(exit_code=exit_code, lines=list(lines)))


@pytest.mark.parametrize(
    ("name", "exit_code", "line", "is_pending"),
    [
        ("Prisma", 0, "Database schema is up to date!", False),
        ("Prisma", 1, "Following migrations have not yet been applied:", True),
        ("Prisma", 1, "The migration have not yet been applied:", True),  # and the database has others
        ("Prisma", 1, "Following migration have failed:", True),
        ("Prisma", 1, "The current database is not managed by Prisma Migrate.", True),
        ("Prisma", 1, "Error: P1001: Can't reach database server at `127.0.0.1:1`", None),
        ("Prisma", 1, "Error: Prisma schema validation - (get-config wasm)", None),
        ("Knex", 0, "No Pending Migration files Found.", False),
        ("Knex", 0, "Found 2 Pending Migration file/files.", True),
        ("Knex", 1, "Error: The migration directory is corrupt, the following files are missing: a.js", True),
        ("Knex", 1, "Failed to read config from knexfile", None),
        ("Sequelize", 0, "down 20260101000000-courses.js", True),
        ("Sequelize", 0, "up 20260101000000-courses.js", False),
        ("Sequelize", 0, 'Using environment "production".', False),
        ("Sequelize", 1, "ERROR: connect ECONNREFUSED 127.0.0.1:1", None),
        ("TypeORM", 0, "[ ] AddPrice1767225600002", True),
        ("TypeORM", 0, "[X] 1 MakeCourses1767225600001", False),
        ("TypeORM", 1, "Error during migration show:", None),
        ("node-pg-migrate", 0, "No migrations to run!", False),
        ("node-pg-migrate", 0, "> Migrating files:", True),
        ("node-pg-migrate", 1, "error: cannot execute UPDATE in a read-only transaction", True),
        ("node-pg-migrate", 1, "Error: Not run migration 1_a is preceding already run migration 2_b", True),
        ("node-pg-migrate", 1, "could not connect to postgres: Error: connect ECONNREFUSED", None),
        ("MikroORM", 0, "No pending migrations", False),
        ("MikroORM", 0, "│ Migration20260101000000 │", True),
        ("MikroORM", 1, "Error: connect ECONNREFUSED 127.0.0.1:1", None),
        ("dbmate", 1, "Pending: 1", True),
        ("dbmate", 0, "Pending: 0", False),
        ("dbmate", 2, "Error: dial tcp 127.0.0.1:1: connect: connection refused", None),
    ],
)
def test_an_answer_is_told_from_a_crash(name: str, exit_code: int, line: str, is_pending: bool | None) -> None:
    assert pending(name, exit_code, "some words", line) is is_pending


def test_knex_names_the_files_that_it_misses_in_one_line() -> None:
    unknown = BY_NAME["Knex"].unknown
    assert unknown is not None
    line = "Error: The migration directory is corrupt, the following files are missing: 2_b.js, 3_c.js"
    assert unknown.read(Answer(exit_code=1, lines=[line, "    at list (x.js:1:2)"])) == {("2_b.js",), ("3_c.js",)}
    assert unknown.read(Answer(exit_code=0, lines=["Found 1 Completed Migration file/files."])) == set()


def test_typeorm_s_list_has_the_time_at_the_end_of_a_name() -> None:
    known = BY_NAME["TypeORM"].known
    assert known is not None
    lines = ["[X] 12 MakeCourses1767225600001", "[ ] V2Price1767225600002", "[ ] Odd"]
    assert known.read(Answer(exit_code=0, lines=lines)) == {
        ("1767225600001", "MakeCourses1767225600001"),
        ("1767225600002", "V2Price1767225600002"),
    }


def test_a_command_with_the_apps_own_data_source_is_typeorm_s() -> None:
    found = chosen(["node_modules/.bin/typeorm", "-d", "lib/source.js", "migration:run"])
    assert found is not None
    assert found.pending_command == ("node_modules/.bin/typeorm", "-d", "lib/source.js", "migration:show")
    assert chosen(["node_modules/.bin/typeorm", "-d", "lib/source.js", "migration:revert"]) is None


@pytest.mark.parametrize("framework", NODE, ids=lambda each: each.name)
def test_no_tool_is_fetched_from_a_registry_in_a_release(framework: Framework) -> None:
    assert framework.tool[0].startswith("node_modules/.bin/")
    assert "npx" not in " ".join(framework.migrate_command + (framework.pending_command or ()))


def test_what_node_pg_migrate_is_asked_cannot_write() -> None:
    command = BY_NAME["node-pg-migrate"].pending_command
    assert command is not None
    assert "default_transaction_read_only=on" in command[-1]
