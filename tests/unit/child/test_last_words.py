"""The line by which people know an error, among the last that a command prints."""

from __future__ import annotations

import pytest

from release.child.last_words import last_words
from tests.commands.test_console import JAVA, NODE, PHP, PYTHON, PYTHON_GROUP, PYTHON_WITH_ANOTHER_CAUSE, RUBY

RESCUED = f"""{RUBY}
Caused by:
LoadError: cannot load such file -- rails/commands
/usr/lib/ruby/vendor_ruby/rubygems/core_ext/kernel_require.rb:85:in `require'
"""
"""What rubygems rescued before it found the library is the cause of all that comes after it."""
SQLALCHEMY = """
Traceback (most recent call last):
  File "/app/env.py", line 3, in <module>
    run()
sqlalchemy.exc.ProgrammingError: (psycopg.errors.UndefinedTable) relation "nowhere" does not exist
LINE 1: SELECT 1 FROM nowhere
                      ^
[SQL: SELECT 1 FROM nowhere]
[parameters: {'name': 'a'}]
(Background on this error at: https://sqlalche.me/e/20/f405)
"""
PSQL = """
applying 002
psql:migrations/002.sql:2: ERROR:  division by zero
"""
KNEX = """
migration file "002.js" failed
migration failed with error: alter table "a" drop "b" - column "b" does not exist
error: alter table "a" drop "b" - column "b" does not exist
    at Parser.parseErrorMessage (/app/node_modules/pg-protocol/dist/parser.js:285:98)
"""
PRISMA = """
Datasource "db": PostgreSQL database
Error: P3018

A migration failed to apply. New migrations cannot be applied before the error is recovered from.
Database error code: 42703
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (PYTHON, 'django.db.utils.IntegrityError: could not create unique index "one_per_email"'),
        (PYTHON_WITH_ANOTHER_CAUSE, "RuntimeError: SECRET is not set"),
        (PYTHON_GROUP, "ValueError: second"),
        (
            SQLALCHEMY,
            'sqlalchemy.exc.ProgrammingError: (psycopg.errors.UndefinedTable) relation "nowhere" does not exist',
        ),
        (RUBY, 'PG::UniqueViolation: ERROR: could not create unique index "one_per_email"'),
        (RESCUED, 'PG::UniqueViolation: ERROR: could not create unique index "one_per_email"'),
        (NODE, "Error: the data are not unique"),
        (JAVA, "org.postgresql.util.PSQLException: ERROR: duplicate key"),
        (PHP, "SQLSTATE[23505]: Unique violation"),
        (PSQL, "psql:migrations/002.sql:2: ERROR: division by zero"),
        (KNEX, 'error: alter table "a" drop "b" - column "b" does not exist'),
        (PRISMA, "Error: P3018"),
        ("Traceback (most recent call last):\n  File 'a.py'\nKeyboardInterrupt", "KeyboardInterrupt"),
        ("it went wrong\n\n", "it went wrong"),
        ("--------\n  }\n", ""),
        ("", ""),
    ],
)
def test_it_is_the_last_line_that_names_an_error_else_the_last_of_all(text: str, words: str) -> None:
    assert last_words(text.split("\n")) == words


def test_no_value_of_a_row_and_no_length_goes_on() -> None:
    assert last_words(["E: Key (email)=(a@example.com) already exists."]) == "E: Key (email)=(…) already exists."
    assert len(last_words(["Error: " + "x" * 5000])) <= 500
