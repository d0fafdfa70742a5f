"""Sessions of a migration, whatever they call themselves: nothing of it lives on, and nobody else's is ended for it."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg
import pytest

from heroku_sandbox import App, Sandbox
from tests.hook import Hook, finish, small_app
from tests.judge import differing, query, running, whole_picture
from tests.others import meanwhile
from tests.phase.test_locks import held
from tests.phase.test_nothing_lost import wait_for

LATER = 6.0
"""Seconds that a statement of the dead migration still needs, and then would commit."""

PROGRAM = """
import os, signal, subprocess, sys, threading, time, psycopg

LATE = "UPDATE learners SET points = -1 FROM (SELECT pg_sleep({later})) AS late"
URL = os.environ["DATABASE_URL"]


def die(after):
    threading.Timer(after, os.kill, (os.getpid(), signal.SIGKILL)).start()


def late(statement=LATE, **options):
    threading.Thread(target=lambda: psycopg.connect(URL, autocommit=True, **options).execute(statement)).start()


{body}
"""

WAYS = {
    "with the hook's own name": "die(0.8)\nlate()",
    "with a name of its own": 'die(0.8)\nlate(application_name="web")',
    "without a name": 'del os.environ["PGAPPNAME"]\ndie(0.8)\nlate()',
    "before anybody has looked": (
        'time.sleep(0.6)\nlate(application_name="web")\ntime.sleep(0.12)\nos.kill(os.getpid(), signal.SIGKILL)'
    ),
    "through several connections": (
        'die(1.0)\nlate(application_name="web")\nlate(LATE.replace("points = -1", "name = name || points"),'
        ' application_name="worker")\nlate("CREATE TABLE late AS SELECT pg_sleep({later}) AS n")\n'
        'idle = psycopg.connect(URL, application_name="web")\nidle.execute("DELETE FROM learners WHERE id = 7")'
    ),
    "in a child that left the process group": (
        "subprocess.Popen([sys.executable, __file__, 'child'], start_new_session=True) if not sys.argv[1:] else"
        ' psycopg.connect(URL, autocommit=True, application_name="web").execute(LATE)\n'
        "time.sleep(0.8)\nsys.exit(1)"
    ),
    "in a grandchild whose parent is gone": (
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        '        psycopg.connect(URL, autocommit=True, application_name="web").execute(LATE)\n    os._exit(0)\n'
        "time.sleep(0.8)\nos.kill(os.getpid(), signal.SIGKILL)"
    ),
}
"""By name: a migration that dies while its statement goes on in the server."""


def program(folder: Path, body: str) -> dict[str, str]:
    """The settings of a migration in Python."""
    text = PROGRAM.replace("{body}", body).replace("{later}", str(LATER))
    (folder / "migrate.py").write_text(text)
    return {"RELEASE_MIGRATE_COMMAND": "python migrate.py", "RELEASE_PENDING_COMMAND": "false"}


@pytest.mark.thin(1)
@pytest.mark.parametrize("way", WAYS)
def test_no_statement_of_a_dead_migration_commits_after_the_last_line(
    hook: Hook, app: App, sandbox: Sandbox, way: str
) -> None:
    settings = program(hook.folder, WAYS[way])
    before = whole_picture(sandbox.superuser_url(app))
    began = time.monotonic()

    result = hook.run(**settings)

    assert result.exit_code == 1
    assert result.last["outcome"] in {"untouched", "restored"}
    assert not running(app.database_url, "pg_sleep")
    assert differing(before, whole_picture(sandbox.superuser_url(app))) == []
    time.sleep(max(0.5, began + LATER + 3 - time.monotonic()))
    assert differing(before, whole_picture(sandbox.superuser_url(app))) == []


ROLLED_BACK = "BEGIN;\nSELECT pg_sleep(1.2);\nUPDATE learners SET points = 0;\nSELECT 1 / 0;\nCOMMIT;"


@pytest.mark.usefixtures("no_autovacuum")
@pytest.mark.parametrize("before", ["idle", "in a transaction", "listening"])
def test_a_customer_s_session_is_not_ended_where_nothing_is_restored(hook: Hook, app: App, before: str) -> None:
    small_app(hook.folder, {"001": ROLLED_BACK})
    autocommit = before != "in a transaction"
    with psycopg.connect(app.database_url, autocommit=autocommit, application_name="web.1") as old:
        old.execute("LISTEN jobs" if before == "listening" else "SELECT count(*) FROM learners")
        fresh: list[psycopg.Connection] = []

        def come() -> None:
            wait_for(lambda: running(app.database_url, "pg_sleep(1.2)"))
            fresh.append(psycopg.connect(app.database_url, autocommit=True, application_name="web.2"))
            fresh[0].execute("SELECT count(*) FROM learners")

        with meanwhile(come):
            result = hook.run()

        assert result.ended == (1, "untouched", "migration_failed")
        assert [each for each in result.named("warning_raised") if each["warning"] == "sessions_ended"] == []
        for each in (old, *fresh):
            assert each.execute("SELECT 1").fetchone() == (1,)
            each.close()


def test_a_customer_s_transaction_that_began_before_is_waited_for_by_nobody(hook: Hook, app: App) -> None:
    small_app(hook.folder, {"001": "CREATE TABLE courses (n integer);\n"})
    with psycopg.connect(app.database_url, application_name="report") as report:
        report.execute("SELECT count(*) FROM learners")

        assert finish(hook.start(), within=20).ended == (0, "released", None)

        assert report.execute("SELECT 1").fetchone() == (1,)


OWN_OPTIONS = (
    'with psycopg.connect(URL, options="-c search_path=public", application_name="web") as c:\n'
    '    c.execute("{statement}")'
)


@pytest.mark.parametrize(
    ("setting", "value", "statement"),
    [
        ("RELEASE_LOCK_TIMEOUT", "500ms", "ALTER TABLE learners ADD COLUMN age integer"),
        ("RELEASE_STATEMENT_TIMEOUT", "1s", "SELECT pg_sleep(4)"),
    ],
)
def test_a_timeout_that_does_not_reach_a_session_is_a_warning(
    hook: Hook, app: App, setting: str, value: str, statement: str
) -> None:
    settings = program(hook.folder, OWN_OPTIONS.replace("{statement}", statement))
    settings["RELEASE_PENDING_COMMAND"] = "sh -c 'test -f done'"
    settings["RELEASE_MIGRATE_COMMAND"] = "sh -c 'python migrate.py && touch done'"
    settings["RELEASE_WITNESS"] = "off"  # which would put it into the session
    with held(app, 3, once_waited_for=True):
        result = hook.run(**settings, **{setting: value})

    assert result.ended == (0, "released", None)
    (said,) = [each for each in result.named("warning_raised") if each["warning"] == "timeout_ignored"]
    assert f"{setting} has not reached the migration: " in said["detail"]
    assert "(web)" in said["detail"]


@pytest.mark.parametrize("name", ['application_name="web"', "application_name=''"])
def test_lock_timeouts_of_sessions_with_a_name_of_their_own_are_tried_again(hook: Hook, app: App, name: str) -> None:
    settings = program(
        hook.folder,
        f'with psycopg.connect(URL, {name}) as c:\n    c.execute("ALTER TABLE learners ADD COLUMN age integer")',
    )
    settings["RELEASE_PENDING_COMMAND"] = "sh -c 'test -f done'"
    settings["RELEASE_MIGRATE_COMMAND"] = "sh -c 'python migrate.py && touch done'"
    with held(app, 1.5, once_waited_for=True):
        result = hook.run(**settings, RELEASE_LOCK_TIMEOUT="500ms", RELEASE_MIGRATE_ATTEMPTS="8")

    assert result.ended == (0, "released", None)
    assert [each for each in result.named("retry_scheduled") if each["call"] == "migration"]
    assert query(app.database_url, "SELECT count(*), count(age) FROM learners") == [(300, 0)]
    assert len(app.transfers()) == 1
