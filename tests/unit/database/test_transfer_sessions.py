"""Whether a session of Heroku's dumps or loads: told by real runs of pg_dump and pg_restore, watched all the while."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from heroku_sandbox.programs import tools
from release.clock import Clock, Deadline
from release.database import session
from release.database.others import others, wait_until_gone
from release.database.transfer_sessions import HEROKU, SESSIONS, Doing, Session, doing
from release.protected.fence import NEVER_ENDED
from tests.unit.database.conftest import Database

BEFORE_LARGE_OBJECTS = "select proname, oid from pg_catalog.pg_proc where proname in ('lo_"
"""What libpq asks before it moves the first large object, in both directions."""

WIDE = ", ".join(f"a_column_with_a_rather_long_name_{n} integer" for n in range(200))
OBJECTS = (
    "CREATE TABLE parents (id serial PRIMARY KEY, name text, n integer GENERATED ALWAYS AS IDENTITY)",
    "INSERT INTO parents (name) SELECT md5(n::text) || md5((-n)::text) FROM generate_series(1, 9000) AS n",
    f"CREATE TABLE wide ({WIDE})",
    "INSERT INTO wide (a_column_with_a_rather_long_name_0) SELECT generate_series(1, 3000)",
    "CREATE TABLE parts (n integer) PARTITION BY RANGE (n)",
    "CREATE TABLE part PARTITION OF parts FOR VALUES FROM (1) TO (9)",
    "CREATE FUNCTION slow(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN pg_catalog.md5($1); END'",
    "CREATE INDEX ON parents (slow(name))",
    "CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM parents",
    "CREATE VIEW names AS SELECT name FROM parents",
    "ALTER TABLE parents ENABLE ROW LEVEL SECURITY",
    "COMMENT ON TABLE parents IS 'a comment'",
    "CREATE PUBLICATION elsewhere FOR TABLE parents",
    "SELECT lo_from_bytea(0, string_agg(sha512(n::text::bytea), '')) FROM generate_series(1, 9000) AS n GROUP BY n % 9",
    "DO $$ BEGIN FOR n IN 1..60 LOOP EXECUTE format('CREATE TABLE t%s AS SELECT 1 AS n', n); END LOOP; END $$",
)


@pytest.fixture
def filled(database: Database) -> Database:
    database.execute(*OBJECTS)
    return database


@pytest.fixture
def hook(database: Database) -> Iterator[session.Database]:
    url = database.server.url(database.name, database.owner, "secret")
    with closing(session.Database(url, application_name="release-hook-0f3a")) as found:
        yield found


def start(
    database: Database, program: str, *arguments: str | Path, stdin: int | None = None
) -> subprocess.Popen[bytes]:
    """One of the programs, in a session that is called like all of Heroku's."""
    url = database.server.url(database.name, database.owner, "secret")
    return subprocess.Popen(
        [tools() / program, "--no-owner", "--no-privileges", f"--dbname={url}", *arguments],
        env={**os.environ, "PGAPPNAME": HEROKU},
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def watched(database: Database, process: subprocess.Popen[bytes]) -> list[tuple[Session, Doing | None]]:
    """What was seen of a program's session while it ran, as often as the server could be asked."""
    seen: list[tuple[Session, Doing | None]] = []
    with psycopg.connect(database.server.url(database.name, database.owner, "secret"), autocommit=True) as looking:
        while process.poll() is None:
            for row in looking.execute(SESSIONS):
                each = Session(*row)
                if not seen or seen[-1][0] != each:
                    seen.append((each, doing(each)))
    assert process.returncode == 0
    return seen


def test_a_dump_by_heroku_is_a_dump_all_the_time(filled: Database) -> None:
    seen = watched(filled, start(filled, "pg_dump", "-Fc", "--no-sync", "-f", os.devnull))

    assert len(seen) > 20, seen
    # Until its transaction has its snapshot it may as well become a load; and when that has ended, so has it.
    begun = next(n for n, (each, _) in enumerate(seen) if each.in_transaction)
    assert all(each.statement.startswith(("SET", "SELECT", "BEGIN")) or not each.statement for each, _ in seen[:begun])
    ended = next((n for n, (each, _) in enumerate(seen) if n > begun and not each.in_transaction), len(seen))
    assert [each for each in seen[begun:ended] if each[1] is not Doing.DUMP] == []
    assert len(seen) - ended <= 1
    assert any(each.statement.startswith("COPY") for each, _ in seen)


def test_a_load_by_heroku_is_a_load_all_the_time(filled: Database) -> None:
    dump = filled.dump()
    filled.reset()

    seen = watched(filled, start(filled, "pg_restore", dump))

    assert len(seen) > 20, seen
    wrong = [each for each, kind in seen if kind is not Doing.LOAD]
    assert [each for each in wrong if each.writes or not each.statement.startswith(BEFORE_LARGE_OBJECTS)] == []
    assert any(each.statement.startswith("COPY public.wide") and "stdin" not in each.statement for each, _ in seen)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_load_that_waits_for_its_dump_is_a_load(filled: Database, hook: session.Database, part: float) -> None:
    dump = filled.dump().read_bytes()
    filled.reset()
    with start(filled, "pg_restore", stdin=subprocess.PIPE) as load:
        assert load.stdin
        load.stdin.write(dump[: int(len(dump) * part)])
        load.stdin.flush()
        wait_for(lambda: [other for other in others(hook) if other.name == HEROKU])
        for _ in range(20):
            assert (hook.being_restored(), hook.dump_running()) == (True, False)
            time.sleep(0.02)
        load.kill()


def test_a_dump_that_waits_for_a_lock_is_a_dump(filled: Database, hook: session.Database) -> None:
    holder = filled.connect()
    holder.execute("BEGIN")
    holder.execute("LOCK TABLE parents IN ACCESS EXCLUSIVE MODE")
    with start(filled, "pg_dump", "-f", os.devnull) as dump:
        wait_for(hook.dump_running)
        for _ in range(20):
            assert (hook.being_restored(), hook.dump_running()) == (False, True)
            time.sleep(0.02)
        holder.execute("ROLLBACK")
        assert dump.wait(20) == 0
    assert (hook.being_restored(), hook.dump_running()) == (False, False)


def test_a_backup_by_schedule_outlives_the_end_of_all_other_sessions(filled: Database, hook: session.Database) -> None:
    holder = filled.connect()
    holder.execute("SET application_name = 'release-hook-holder'")
    holder.execute("BEGIN")
    holder.execute("LOCK TABLE parents IN ACCESS EXCLUSIVE MODE")
    web = filled.connect()
    with start(filled, "pg_dump", "-f", os.devnull) as dump:
        wait_for(hook.dump_running)

        wait_until_gone(
            hook,
            lambda other: not other.name.startswith(NEVER_ENDED),
            clock=Clock(),
            deadline=Deadline(Clock(), 5),
            ending=True,
        )

        with pytest.raises(psycopg.OperationalError):
            web.execute("SELECT 1")
        assert hook.dump_running()
        holder.execute("ROLLBACK")
        assert dump.wait(20) == 0


@pytest.mark.parametrize("name", ["pg_restore", "pg_dump", "pg_dumpall"])
def test_peoples_own_say_it_in_their_names(name: str) -> None:
    expected = Doing.LOAD if name == "pg_restore" else Doing.DUMP
    for statement in ("", "SELECT 1", "COPY public.t (n) FROM stdin;", "COPY public.t (n) TO stdout;"):
        assert doing(Session(name, statement, writes=False, in_transaction=False)) is expected


@pytest.mark.parametrize(
    ("statement", "writes", "in_transaction", "expected"),
    [
        ("SELECT 1", False, False, None),
        ("SELECT pg_database_size(current_database())", False, False, None),
        ("VACUUM ANALYZE", False, False, None),
        ("", False, False, Doing.LOAD),
        ("<insufficient privilege>", False, False, Doing.LOAD),
        ("SELECT pg_catalog.set_config('search_path', '', false);", False, False, Doing.LOAD),
        ("SELECT n.oid FROM pg_catalog.pg_namespace n", False, True, Doing.DUMP),
        ("COPY (SELECT 1 WHERE 'FROM stdin' = '') TO stdout;", False, False, Doing.DUMP),
        ("COPY public.t (n) FROM stdin;\n\n", False, False, Doing.LOAD),
        ("COPY public.t (a, very, long, lis", False, True, Doing.DUMP),
        ("COPY public.t (a, very, long, lis", False, False, Doing.LOAD),
        ("COPY public.t (a, very, long, lis", True, False, Doing.LOAD),
        ("COMMIT", False, True, Doing.LOAD),
        ("DROP SCHEMA public CASCADE", False, False, Doing.LOAD),
        ("DROP SCHEMA public CASCADE", True, True, Doing.LOAD),
        ("SELECT pg_catalog.lo_create('16578');", True, True, Doing.LOAD),
    ],
)
def test_what_a_session_of_herokus_does_is_told_by_its_statement_and_its_transaction(
    statement: str, writes: bool, in_transaction: bool, expected: Doing | None
) -> None:
    found = doing(Session(HEROKU, statement, writes=writes, in_transaction=in_transaction))

    assert found is expected


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)
