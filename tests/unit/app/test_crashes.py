"""What tells a crash from an answer with the same exit code, in the words of the tools themselves.

Those of Django 6.0, Alembic 1.20, Flask-Migrate 4.1 and Node.js 20 were recorded. Those of Rails and Prisma are from
their sources and documents.
"""

from __future__ import annotations

import pytest

from release.app.answers import Answer
from release.app.command import Commands
from release.app.frameworks import FRAMEWORKS

BY_NAME = {each.name: each for each in FRAMEWORKS}
SYNTAX = """
Traceback (most recent call last):
  File "/app/manage.py", line 22, in <module>
    main()
    ~~~~^^
  File "/app/.heroku/python/lib/python3.13/site-packages/django/core/management/__init__.py", line 442, in main
    utility.execute()
  File "/app/mysite/urls.py", line 23
    def (
        ^
SyntaxError: invalid syntax
"""
UNREACHABLE = """
Traceback (most recent call last):
  File "/site-packages/django/db/backends/base/base.py", line 279, in ensure_connection
    self.connect()
psycopg.OperationalError: connection failed: Connection refused

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/app/manage.py", line 22, in <module>
    main()
  File "/site-packages/psycopg/connection.py", line 126, in connect
    raise last_ex.with_traceback(None)
django.db.utils.OperationalError: connection failed: connection to server at "127.0.0.1", port 1 failed: refused
	Is the server running on that host and accepting TCP/IP connections?
"""
OWN_SYNTAX = """
  File "/app/manage.py", line 23
    def (
        ^
SyntaxError: invalid syntax
"""
LOGGED = """
Could not warm the cache
Traceback (most recent call last):
  File "/app/learning/apps.py", line 9, in ready
    warm()
  File "/app/manage.py", line 3, in warm
    raise ConnectionError("redis")
ConnectionError: redis
"""
CHECKS = """
SystemCheckError: System check identified some issues:

ERRORS:
learning.Learner.name: (fields.E120) CharFields must define a 'max_length' attribute.

System check identified 1 issue (0 silenced).
"""
ALEMBIC = """
INFO  [alembic.runtime.migration] Context impl PostgresqlImpl.
Traceback (most recent call last):
  File "/app/.heroku/python/bin/alembic", line 8, in <module>
    sys.exit(main())
  File "/app/migrations/env.py", line 1, in <module>
    import nothere
ModuleNotFoundError: No module named 'nothere'
"""
FLASK = """
Error: While importing 'app', an ImportError was raised:

Traceback (most recent call last):
  File "/site-packages/flask/cli.py", line 245, in locate_app
    __import__(module_name)
  File "/app/app.py", line 1, in <module>
    import nothere
ModuleNotFoundError: No module named 'nothere'


Usage: flask [OPTIONS] COMMAND [ARGS]...
Try 'flask --help' for help.

Error: No such command 'db'.
"""
NO_FLASK = """
Error: Could not locate a Flask application. Use the 'flask --app' option.

Error: No such command 'db'.
"""
RAILS = """
bin/rails aborted!
ActiveRecord::ConnectionNotEstablished: connection to server at "10.0.0.1", port 5432 failed (ActiveRecord::Connection)
/app/config/environment.rb:5:in `<main>'

Caused by:
PG::ConnectionBad: connection to server failed
"""
RUBY = """
/app/config/application.rb:3:in 'Kernel#require': cannot load such file -- nothere (LoadError)
	from /app/config/application.rb:3:in '<main>'
"""
PRISMA = """
Error: P1001: Can't reach database server at `10.0.0.1:5432`
"""
PRISMA_SCHEMA = """
Error: Prisma schema validation - (get-config wasm)
Error code: P1012
error: Environment variable not found: DATABASE_URL.
"""
NODE = """
/app/prisma.config.js:3
const = 1
      ^

SyntaxError: Unexpected token '='
    at wrapSafe (node:internal/modules/cjs/loader:1464:18)

Node.js v22.11.0
"""


def crash(name: str | None, text: str, exit_code: int, pending: tuple[str, ...] = ()) -> str | None:
    """What the framework, or a configured command, is said to have crashed with."""
    framework = BY_NAME[name] if name else None
    answer = Answer(exit_code=exit_code)
    answer.hear("stderr", text.strip("\n").split("\n"))
    return Commands(migrate=(), pending=pending, framework=framework, asked=framework).crash(answer)


@pytest.mark.parametrize(
    ("name", "text", "exit_code", "error"),
    [
        ("Django", SYNTAX, 1, "SyntaxError: invalid syntax"),
        ("Django", OWN_SYNTAX, 1, "SyntaxError: invalid syntax"),
        ("Django", UNREACHABLE, 1, "django.db.utils.OperationalError: connection failed: connection to server at"),
        ("Django", LOGGED + SYNTAX, 1, "SyntaxError: invalid syntax"),
        ("Django", CHECKS, 1, "learning.Learner.name: (fields.E120) CharFields must define"),
        ("Alembic", ALEMBIC, 1, "ModuleNotFoundError: No module named 'nothere'"),
        ("Flask-Migrate", ALEMBIC.replace('alembic"', 'flask"'), 1, "ModuleNotFoundError: No module named 'nothere'"),
        ("Flask-Migrate", FLASK, 2, "ModuleNotFoundError: No module named 'nothere'"),
        ("Flask-Migrate", NO_FLASK, 2, "Error: Could not locate a Flask application."),
        ("Rails", RAILS, 1, "ActiveRecord::ConnectionNotEstablished: connection to server"),
        ("Rails", RUBY, 1, "/app/config/application.rb:3:in 'Kernel#require': cannot load such file"),
        ("Prisma", PRISMA, 1, "Error: P1001: Can't reach database server"),
        ("Prisma", PRISMA_SCHEMA, 1, "error: Environment variable not found: DATABASE_URL."),
        ("Prisma", NODE, 1, "SyntaxError: Unexpected token '='"),
    ],
)
def test_a_crash_is_told_by_its_own_words(name: str, text: str, exit_code: int, error: str) -> None:
    assert (crash(name, text, exit_code) or "").startswith(error)


@pytest.mark.parametrize(
    ("name", "text", "exit_code"),
    [
        ("Django", "", 1),
        ("Django", LOGGED, 1),
        ("Django", SYNTAX + LOGGED, 1),
        ("Django", SYNTAX, 0),
        ("Django", ALEMBIC, 1),
        ("Alembic", "ERROR [alembic.util.messaging] Database is not on all head revisions", 255),
        ("Rails", "Run `bin/rails db:migrate` to update your database then try again.", 1),
        ("Rails", RUBY + "You have 1 pending migration:", 1),
        ("Rails", "/app/config/boot.rb:3: warning: already initialized constant A (B)", 1),
        ("Prisma", "Error: the migrations have failed", 1),
        ("Prisma", NODE + "Following migrations have not yet been applied:", 1),
        ("Prisma", NODE, 0),
    ],
)
def test_an_answer_is_no_crash_whatever_was_logged_before(name: str, text: str, exit_code: int) -> None:
    assert crash(name, text, exit_code) is None


CONFIGURED = ("python", "src/manage.py", "migrate", "--check")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (SYNTAX, "SyntaxError: invalid syntax"),
        (UNREACHABLE, None),
        (SYNTAX.replace("SyntaxError: invalid syntax", "AssertionError"), None),
        (ALEMBIC, None),
    ],
)
def test_a_configured_command_crashes_only_when_it_was_not_even_loaded(text: str, error: str | None) -> None:
    assert crash(None, text, 1, CONFIGURED) == error
