"""What pg_restore complained of: read from real runs of this server's, and from lines of older versions."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

import pytest

from heroku_sandbox.postgres import Server
from heroku_sandbox.programs import tools
from release.heroku.complaints import SHOWN, Complaint, complaints
from tests.unit.database.conftest import Database, make, shared_server

LEARNERS = (
    "CREATE TABLE learners (id integer, name text)",
    "INSERT INTO learners VALUES (1, 'a'), (2, 'b')",
    'CREATE TABLE "Odd table" (n integer)',
    'INSERT INTO "Odd table" VALUES (1)',
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with shared_server() as server:
        yield server


@pytest.fixture
def database(server: Server, tmp_path: Path) -> Iterator[Database]:
    yield from make(server, tmp_path)


def argv(database: Database, *flags: str) -> list[str]:
    url = database.server.url(database.name, database.owner, "secret")
    return [str(tools() / "pg_restore"), "--verbose", "--no-owner", "--no-privileges", *flags, "-d", url]


def load(database: Database, dump: Path, *flags: str) -> list[str]:
    """The log of a real run, line by line as Heroku has it."""
    done = subprocess.run([*argv(database, *flags), str(dump)], check=False, capture_output=True, text=True)
    assert done.returncode in {0, 1}
    return done.stderr.splitlines()


def loaded_into(database: Database, *instead: str, flags: tuple[str, ...] = ()) -> list[Complaint]:
    """What is complained of when a dump is loaded into a database in which something stands already."""
    dump = database.dump()
    database.reset()
    database.execute(*instead)
    log = load(database, dump, *flags)
    found = complaints(log)
    assert f"pg_restore: warning: errors ignored on restore: {len(found)}" in log or not found
    return found


def fatal(found: list[Complaint]) -> list[tuple[str | None, str]]:
    return [(each.table, each.error) for each in found if each.fatal]


def test_a_restore_without_errors_has_no_complaints(database: Database) -> None:
    database.execute(*LEARNERS, "SELECT lo_from_bytea(4711, 'abc')", "CREATE INDEX ON learners (name)")

    assert loaded_into(database) == []


LOST = {
    "a check": (
        "CREATE TABLE learners (id integer, name text CHECK (name <> 'b'))",
        "public.learners",
        'COPY failed for table "learners": ERROR:  new row for relation "learners" violates check constraint'
        ' "learners_name_check"',
    ),
    "a duplicate key": (
        "CREATE TABLE learners (id integer PRIMARY KEY, name text); INSERT INTO learners VALUES (2)",
        "public.learners",
        'COPY failed for table "learners": ERROR:  duplicate key value violates unique constraint "learners_pkey"',
    ),
    "invalid input": (
        "CREATE TABLE learners (id integer, name integer)",
        "public.learners",
        'COPY failed for table "learners": ERROR:  invalid input syntax for type integer: "…"',
    ),
    "out of range": (
        "CREATE TABLE learners (id integer, name date)",
        "public.learners",
        'COPY failed for table "learners": ERROR:  invalid input syntax for type date: "…"',
    ),
    "too long": (
        'CREATE TABLE "Odd table" (n bit(1))',
        "public.Odd table",
        'COPY failed for table "Odd table": ERROR:  bit string length 2 does not match type bit(1)',
    ),
    "a missing column": (
        "CREATE TABLE learners (id integer)",
        "public.learners",
        'column "name" of relation "learners" does not exist',
    ),
    "a view in its place": (
        "CREATE VIEW learners AS SELECT 1 AS id, 'a'::text AS name",
        "public.learners",
        'COPY failed for table "learners": ERROR:  cannot copy to view "learners"',
    ),
    "a trigger that raises": (
        "CREATE TABLE learners (id integer, name text);"
        " CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'no %', NEW.id; END$$;"
        " CREATE TRIGGER no BEFORE INSERT ON learners FOR EACH ROW EXECUTE FUNCTION no()",
        "public.learners",
        'COPY failed for table "learners": ERROR:  no 1',
    ),
    "row security": (
        "CREATE TABLE learners (id integer, name text);"
        " ALTER TABLE learners ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "public.learners",
        'query would be affected by row-level security policy for table "learners"',
    ),
}


@pytest.mark.parametrize(("instead", "table", "error"), LOST.values(), ids=LOST.keys())
def test_rows_that_could_not_be_loaded_are_fatal_and_their_table_named(
    database: Database, instead: str, table: str, error: str
) -> None:
    database.execute(*LEARNERS)
    if "bit" in instead:
        database.execute("ALTER TABLE \"Odd table\" ALTER n TYPE text USING '11'")

    found = loaded_into(database, instead)

    assert fatal(found) == [(table, error)]
    assert len(found) == 2  # the table could not be created, either, which alone is for the proof to judge
    assert found[0].about.startswith(("TABLE ", "VIEW "))


def test_a_value_out_of_range_is_not_shown(database: Database) -> None:
    database.execute("CREATE TABLE learners (id bigint)", "INSERT INTO learners VALUES (99999999999)")

    found = loaded_into(database, "CREATE TABLE learners (id integer)")

    assert found[-1].error == 'COPY failed for table "learners": ERROR:  value "…" is out of range for type integer'


def test_a_table_whose_data_is_left_out_since_it_was_not_created_is_fatal(database: Database) -> None:
    database.execute(*LEARNERS)
    dump = database.dump()
    database.reset()
    database.execute("CREATE TABLE learners (id integer)")

    found = complaints(load(database, dump, "--no-data-for-failed-tables"))

    assert fatal(found) == [("learners", 'table "learners" could not be created, will not restore its data')]


def test_rows_loaded_by_insert_are_rows_as_well(database: Database) -> None:
    database.execute(*LEARNERS)
    dump = database.folder / "inserts.dump"
    url = database.server.url(database.name, database.owner, "secret")
    subprocess.run([tools() / "pg_dump", "-Fc", "--inserts", "-f", dump, "-d", url], check=True)
    database.reset()
    database.execute("CREATE TABLE learners (id integer CHECK (id > 1), name text)")

    found = complaints(load(database, dump))

    assert [(each.table, each.fatal) for each in found] == [(None, False), ("public.learners", True)]


def test_large_objects_that_could_not_be_made_are_fatal(database: Database) -> None:
    database.execute("SELECT lo_from_bytea(4711, 'abc'), lo_from_bytea(4712, 'abc')")

    found = loaded_into(database, "SELECT lo_from_bytea(4711, 'x'), lo_from_bytea(4712, 'x')")

    duplicate = 'duplicate key value violates unique constraint "pg_largeobject_metadata_oid_index"'
    assert fatal(found) == [(None, duplicate)] * 2
    assert all(each.about.startswith("BLOB") for each in found)


def test_a_comment_on_a_large_object_is_no_row() -> None:
    entry = "pg_restore: from TOC entry 2655; 0 0 COMMENT LARGE OBJECT 4711 u1"
    error = "pg_restore: error: could not execute query: ERROR:  must be owner of large object 4711"

    (found,) = complaints([entry, error, "Command was: COMMENT ON LARGE OBJECT 4711 IS 'x';"])

    assert not found.fatal


def test_what_this_credential_may_not_create_is_for_the_proof_to_judge(database: Database) -> None:
    database.superuser(
        "CREATE FUNCTION guard() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "CREATE EVENT TRIGGER guarded ON ddl_command_end EXECUTE FUNCTION guard()",
        "CREATE EXTENSION pg_stat_statements",
        "COMMENT ON EXTENSION pg_stat_statements IS 'ours'",
        "CREATE FUNCTION c() RETURNS integer LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler'",
    )
    database.execute(*LEARNERS)

    found = loaded_into(database)

    assert fatal(found) == []
    assert {each.about.rpartition(" ")[0] for each in found} >= {"EVENT TRIGGER guarded"}
    assert 'permission denied to create event trigger "guarded"' in [each.error for each in found]
    assert "permission denied for language c" in [each.error for each in found]


def test_a_comment_of_an_extension_of_somebody_else_is_no_loss(database: Database) -> None:
    database.superuser("CREATE EXTENSION hstore", "COMMENT ON EXTENSION hstore IS 'ours'")
    dump = database.dump()
    database.reset()
    database.superuser("CREATE EXTENSION hstore")

    found = complaints(load(database, dump))

    assert ("must be owner of extension hstore", False) in [(each.error, each.fatal) for each in found]
    assert "COMMENT EXTENSION hstore" in [each.about for each in found]
    assert fatal(found) == []


def test_a_sequence_that_could_not_be_set_is_for_the_proof_to_judge(database: Database) -> None:
    database.execute("CREATE SEQUENCE counter", "SELECT setval('counter', 500)")

    found = loaded_into(database, "CREATE SEQUENCE counter MAXVALUE 100")

    assert [(each.about.split()[0], each.fatal) for each in found] == [("SEQUENCE", False)] * 2
    assert found[1].error == 'setval: value 500 is out of bounds for sequence "counter" (1..100)'


def test_an_index_that_could_not_be_built_is_for_the_proof_to_judge(database: Database) -> None:
    database.execute("CREATE TABLE once (n integer UNIQUE, t text)")

    found = loaded_into(database, "CREATE TABLE once (n integer, t text); INSERT INTO once VALUES (1), (1)")

    assert fatal(found) == []
    assert [each.error for each in found] == [
        'relation "once" already exists',
        'could not create unique index "once_n_key"',
    ]


def test_a_setting_that_the_server_does_not_know_is_no_loss() -> None:
    log = [
        "pg_restore: while INITIALIZING:",
        'pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter "sooner_timeout"',
        "Command was: SET sooner_timeout = 0;",
        "pg_restore: warning: errors ignored on restore: 1",
    ]

    assert complaints(log) == [
        Complaint(about="SET sooner_timeout = 0;", error='unrecognized configuration parameter "sooner_timeout"')
    ]


def test_lines_of_a_command_are_no_complaints(database: Database) -> None:
    body = (
        'BEGIN\n  -- pg_restore: error: COPY failed for table "x": ERROR:  y\n'
        " see TOC: from TOC entry 3; 0 1 TABLE DATA x y\n  Command was: nothing\nEND"
    )
    database.execute(f"CREATE FUNCTION said() RETURNS text LANGUAGE sql AS $b$SELECT $t${body}$t$$b$")

    found = loaded_into(database, "CREATE FUNCTION said() RETURNS text LANGUAGE sql AS 'SELECT 1::text'")

    assert [(each.about, each.fatal) for each in found] == [(f"FUNCTION said() {database.owner}", False)]


def test_a_password_in_a_command_or_an_error_of_many_lines_is_not_shown() -> None:
    log = [
        "pg_restore: while PROCESSING TOC:",
        "pg_restore: from TOC entry 3; 6100 1 SUBSCRIPTION sub u1",
        "pg_restore: error: could not execute query: ERROR:  permission denied to create subscription",
        'DETAIL:  Only roles with privileges of the "pg_create_subscription" role may create subscriptions.',
        "Command was: CREATE SUBSCRIPTION sub CONNECTION 'password=hunter2' PUBLICATION p WITH (connect = false);",
    ]

    (found,) = complaints(log)

    assert str(found) == "SUBSCRIPTION sub u1: permission denied to create subscription"
    assert not found.fatal


def test_every_error_of_one_entry_is_a_complaint() -> None:
    log = [
        "pg_restore: from TOC entry 2654; 2613 4711 BLOB METADATA 4711..4712 db1",
        "pg_restore: error: could not execute query: ERROR:  permission denied",
        "Command was: SELECT pg_catalog.lo_create('4711');",
        "pg_restore: error: could not execute query: ERROR:  too many",
        "Command was: SELECT pg_catalog.lo_create('4712');",
        "pg_restore: executing COMMENT LARGE OBJECT 4711",
    ]

    assert [each.error for each in complaints(log)] == ["permission denied", "too many"]


def test_messages_of_many_lines_are_read_like_as_many_lines(database: Database) -> None:
    database.execute(*LEARNERS)
    dump = database.dump()
    database.reset()
    database.execute("CREATE TABLE learners (id integer)")
    log = load(database, dump)

    assert complaints(["\n".join(log)]) == complaints(log) == complaints([f"{line}\n" for line in log])
    assert len(complaints(log)) == 2


# The connection ends.


def big(database: Database) -> Path:
    database.execute("CREATE TABLE big AS SELECT n, repeat(md5(n::text), 40) AS t FROM generate_series(1, 60000) n")
    return database.dump()


def during_copy(database: Database, act: str) -> None:
    """Does something to the session of a restore as soon as it loads a table."""
    ends = monotonic() + 20
    with database.server.session() as session:
        while monotonic() < ends:
            query = (
                f"SELECT {act} FROM pg_stat_activity WHERE application_name = 'pg_restore' AND datname = %s"
                " AND query LIKE 'COPY %%' AND state = 'active'"
            )
            if session.execute(query, [database.name]).fetchall():
                return
            sleep(0.001)


@pytest.mark.parametrize("act", ["pg_terminate_backend(pid)", "pg_cancel_backend(pid)"])
def test_a_session_that_is_ended_while_it_loads_is_fatal(database: Database, act: str) -> None:
    dump = big(database)
    database.reset()
    killer = Thread(target=during_copy, args=(database, act))
    killer.start()

    found = complaints(load(database, dump))

    killer.join()
    assert fatal(found)
    assert "terminat" in str(found[0]) or "cancel" in str(found[0]) or "closed" in str(found[0])


def test_a_session_that_is_ended_between_two_tables_is_fatal(database: Database) -> None:
    database.execute("CREATE TABLE a AS SELECT 1 AS n", "CREATE TABLE b AS SELECT 1 AS n")
    dump = database.dump()
    database.reset()
    database.execute(
        "CREATE TABLE a (n integer)",
        "CREATE FUNCTION ends() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'",
        "CREATE TRIGGER ends AFTER INSERT ON a EXECUTE FUNCTION ends()",
    )

    found = complaints(load(database, dump))

    assert fatal(found)
    assert found[1].table == "public.a"


@pytest.mark.parametrize(
    "error",
    [
        "error returned by PQputCopyData: server closed the connection unexpectedly",
        "could not execute query: FATAL:  terminating connection due to administrator command",
        "could not execute query: no connection to the server",
        "could not execute query: SSL connection has been closed unexpectedly",
        "could not execute query: server closed the connection unexpectedly",
        'connection to server at "10.0.0.1", port 5432 failed: Connection refused',
        "could not write to large object: no connection to the server",
        "could not read from input file: end of file",
        'unexpected extra results during COPY of table "learners"',
        "something that nobody has read before",
    ],
)
def test_whatever_is_no_refused_command_may_have_cost_rows(error: str) -> None:
    log = [
        "pg_restore: from TOC entry 3; 2606 16395 CONSTRAINT learners learners_pkey u1",
        f"pg_restore: error: {error}",
    ]

    assert [each.fatal for each in complaints(log)] == [True]


# Older versions.

OLDER = """
pg_restore: connecting to database for restore
pg_restore: creating EXTENSION "plpgsql"
pg_restore: creating COMMENT "EXTENSION plpgsql"
pg_restore: [archiver (db)] Error while PROCESSING TOC:
pg_restore: [archiver (db)] Error from TOC entry 2329; 0 0 COMMENT EXTENSION plpgsql 
pg_restore: [archiver (db)] could not execute query: ERROR:  must be owner of extension plpgsql
    Command was: COMMENT ON EXTENSION plpgsql IS 'PL/pgSQL procedural language';


pg_restore: creating TABLE "public.learners"
pg_restore: [archiver (db)] Error from TOC entry 185; 1259 16386 TABLE learners u1
pg_restore: [archiver (db)] could not execute query: ERROR:  relation "learners" already exists
    Command was: CREATE TABLE public.learners (
    id integer NOT NULL
);


pg_restore: processing data for table "public.learners"
pg_restore: [archiver (db)] Error from TOC entry 2312; 0 16386 TABLE DATA learners u1
pg_restore: [archiver (db)] COPY failed for table "learners": ERROR:  invalid input syntax for integer: "x"
CONTEXT:  COPY learners, line 1, column id: "x"
pg_restore: [archiver] WARNING: archive is compressed, but this installation does not support compression
pg_restore: executing SEQUENCE SET learners_id_seq
WARNING: errors ignored on restore: 3
""".strip("\n")  # noqa: W291 -- an entry without an owner ends so


def test_lines_of_before_version_12_are_read_as_well() -> None:
    assert complaints(OLDER.splitlines()) == [
        Complaint(about="COMMENT EXTENSION plpgsql", error="must be owner of extension plpgsql"),
        Complaint(about="TABLE learners u1", error='relation "learners" already exists'),
        Complaint(
            about="TABLE DATA learners u1",
            error='COPY failed for table "learners": ERROR:  invalid input syntax for integer: "…"',
            fatal=True,
            table="public.learners",
        ),
    ]


@pytest.mark.parametrize(
    ("entry", "table"),
    [
        ("TABLE DATA learners u1", "learners"),
        ("TABLE DATA Odd table u1", "Odd table"),
        ("TABLE DATA learners ", "learners"),
        ("TABLE DATA learners", "learners"),
        ("TABLE learners u1", None),
        ("BLOBS BLOBS ", None),
    ],
)
def test_the_table_is_named_by_its_entry_where_the_error_does_not(entry: str, table: str | None) -> None:
    log = [f"pg_restore: from TOC entry 3; 0 1 {entry}", "pg_restore: error: could not execute query: ERROR:  no"]

    assert [each.table for each in complaints(log)] == [table]


def test_a_long_complaint_is_cut() -> None:
    entry = f"pg_restore: from TOC entry 3; 0 1 TABLE {'x' * 999} u1"
    (found,) = complaints([entry, f"pg_restore: error: could not execute query: ERROR:  {'y' * 999}"])

    assert (len(found.about), len(found.error)) == (SHOWN, SHOWN)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["", "restore done", "waiting for restore to complete"],
        ['pg_restore: creating TABLE "public.error: COPY failed"', "Command was: SELECT 1"],
        ["pg_restore: warning: errors ignored on restore: 4"],
        ["NOTICE:  pg_restore: error: not at the beginning"],
        ["DETAIL:  Key (name)=(from TOC entry 3; 0 1 TABLE DATA x y) already exists."],
    ],
)
def test_other_lines_are_no_complaints(lines: list[str]) -> None:
    assert complaints(lines) == []
