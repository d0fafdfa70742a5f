"""What a restore could not bring back: found beforehand, judged by a dump and a load as Heroku does them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import psycopg
import pytest

from release.clock import Clock, Deadline
from release.database import fingerprint
from release.database.comparison import same_structure
from release.database.restorable import Report, report_on
from tests.unit.database.conftest import Database
from tests.unit.database.shapes import FINE, HEROKUS, LOST, Shape

HARMLESS = (
    "COMMENT ON EXTENSION ",  # only its owner may; the extension is there
    *(f"CREATE EVENT TRIGGER {name} " for name in HEROKUS),
)
"""Commands that fail in every restore on Heroku."""

IN_HEROKU_EXT = """
SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('heroku_ext')
   AND relowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)
"""

OPERATORS = """
SELECT pg_describe_object(classid, objid, 0) || ' by ' || pg_describe_object(refclassid, refobjid, 0)
  FROM pg_depend WHERE refclassid = 'pg_operator'::regclass AND refobjid >= 16384 AND classid IN
       ('pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_proc'::regclass, 'pg_constraint'::regclass)
"""
"""What compares how: an operator that is looked up anew prints like the one it was."""


def build(database: Database, shape: Shape) -> None:
    """Makes the shape, with the extensions' schema that every database on Heroku has."""
    for statement in shape.statements:
        if statement.startswith("SUPERUSER "):
            database.superuser(statement.removeprefix("SUPERUSER "))
        else:
            database.execute(statement)


def looked(database: Database, seconds: float = 20) -> Report:
    """What is found in it by its owner, whose session has the hook's empty search path."""
    connection = database.connect()
    connection.execute("SET search_path = ''")
    return report_on(connection, Deadline(Clock(), seconds))


def found(report: Report) -> list[str]:
    """Kinds and names of what is lost."""
    return [f"{each.kind} {each.name}" for each in report.lost]


def complaints(errors: str) -> list[str]:
    """The commands that pg_restore could not carry out, less those that never can be on Heroku."""
    failed = re.findall(r"^Command was: (.*)", errors, re.MULTILINE) + re.findall("COPY failed for (.*)", errors)
    return [each for each in failed if not each.startswith(HARMLESS)]


def gone(database: Database) -> Iterator[str]:
    """What is lost in a round trip: by pg_dump, by pg_restore, or by the look of it afterwards."""
    with database.connect() as connection:
        before, left = fingerprint.take(connection), connection.execute(IN_HEROKU_EXT).fetchall()
        compared = connection.execute(OPERATORS).fetchall()
        extensions = connection.execute(
            "SELECT extname, nspname FROM pg_extension e JOIN pg_namespace n"
            " ON n.oid = extnamespace WHERE extname <> 'plpgsql'"
        ).fetchall()
    try:
        dump = database.dump()
    except AssertionError as error:
        yield str(error)
        return
    database.reset()
    database.execute("CREATE SCHEMA heroku_ext")
    for name, schema in extensions:  # as Heroku's worker does
        database.superuser(f"CREATE SCHEMA IF NOT EXISTS {schema}", f"CREATE EXTENSION {name} SCHEMA {schema}")
    yield from complaints(database.load(dump))
    with database.connect() as connection:
        after = fingerprint.take(connection)
        present = connection.execute(IN_HEROKU_EXT).fetchall()
        compares = connection.execute(OPERATORS).fetchall()
    yield from (f"heroku_ext.{name}" for (name,) in left if (name,) not in present)
    yield from (how for (how,) in compared if (how,) not in compares)
    differences = same_structure(before, after, rows_must_match=False).differences
    yield from (str(each) for each in differences if each.kind not in {"owner", "extension"})


@pytest.mark.parametrize("name", LOST)
def test_what_is_named_does_not_come_back(database: Database, name: str) -> None:
    shape = LOST[name]
    build(database, shape)

    report = looked(database)

    assert tuple(sorted(found(report))) == shape.found
    assert shape.why in str(report.lost[0])
    assert report.unknown == ()
    assert list(gone(database))


@pytest.mark.parametrize("name", FINE)
def test_what_only_looks_like_it_comes_back(database: Database, name: str) -> None:
    build(database, FINE[name])

    report = looked(database)

    assert (found(report), report.weaker, report.unknown) == ([], (), ())
    assert list(gone(database)) == []


def test_all_shapes_at_once_are_found_in_one_look(database: Database) -> None:
    build(database, LOST["check by a function that names a table"])
    build(database, LOST["trigger condition over ltree"])
    build(database, LOST["forced row security"])
    build(database, FINE["functions with a path of their own"])

    assert sorted(found(looked(database))) == [
        "CHECK constraint entry_word_check of public.entry",
        "table public.secrets",
        "trigger path_moved on public.region",
    ]


def test_one_that_fails_does_not_hide_the_others_in_its_group(database: Database) -> None:
    database.execute(
        "CREATE TABLE words (word text)",
        "INSERT INTO words VALUES ('a')",
        "CREATE FUNCTION bare(w text) RETURNS boolean LANGUAGE plpgsql STABLE AS"
        " $$ BEGIN RETURN EXISTS (SELECT FROM words WHERE word = w); END $$",
        "CREATE FUNCTION whole(w text) RETURNS boolean LANGUAGE plpgsql STABLE AS"
        " $$ BEGIN RETURN w IN ('a', 'b'); END $$",
        *(
            statement
            for n in range(30)
            for statement in (
                f"CREATE TABLE t{n} (word text)",
                f"ALTER TABLE t{n} ADD CONSTRAINT c{n} CHECK ({'bare' if n in {3, 17, 29} else 'whole'}(word))",
                f"INSERT INTO t{n} VALUES ('a')",
            )
        ),
    )

    report = looked(database)

    assert found(report) == [f"CHECK constraint c{n} of public.t{n}" for n in (17, 29, 3)]
    assert report.unknown == ()


def test_a_subscription_is_left_out_by_a_dump(database: Database) -> None:
    database.superuser(
        "CREATE SUBSCRIPTION fed CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p"
        " WITH (connect = false, slot_name = NONE, enabled = false)"
    )
    try:
        (each,) = looked(database).lost
        assert (each.kind, each.name) == ("subscription", "fed")
        assert each.why == "a dump by a role that is no superuser leaves it out"
    finally:
        database.superuser("DROP SUBSCRIPTION fed")


def test_a_role_that_may_not_create_schemas_cannot_load_them(database: Database) -> None:
    database.execute("CREATE SCHEMA shop", "CREATE SCHEMA stock", "CREATE TABLE shop.items (id int)")
    plain = database.role(f"plain_{database.name}")
    database.superuser(f"GRANT USAGE ON SCHEMA shop TO {plain}")

    connection = database.connect(plain)
    report = report_on(connection, Deadline(Clock(), 5))

    assert found(report) == ["schema shop, stock"]
    assert "GRANT CREATE ON DATABASE" in report.lost[0].way_out
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("CREATE SCHEMA other")


def test_row_security_of_another_role_keeps_this_one_from_dumping(database: Database) -> None:
    other = database.role(f"other_{database.name}")
    database.execute(f"GRANT CREATE ON SCHEMA public TO {other}")
    database.execute(
        "CREATE TABLE theirs (id int)",
        "ALTER TABLE theirs ENABLE ROW LEVEL SECURITY",
        f"GRANT SELECT ON theirs TO {database.owner}",
        role=other,
    )

    (each,) = looked(database).lost

    assert each.name == "public.theirs"
    assert "holds for this role" in each.why
    with pytest.raises(AssertionError, match="row-level security"):
        database.dump()


def test_forced_row_security_is_nothing_to_a_role_that_bypasses_it(database: Database) -> None:
    build(database, LOST["forced row security"])
    database.superuser(f"ALTER ROLE {database.owner} BYPASSRLS")

    assert looked(database).lost == ()
    assert list(gone(database)) == []


def test_a_superuser_creates_everything_again(database: Database) -> None:
    build(database, LOST["event trigger"])
    build(database, LOST["C function"])

    with database.server.session(database.name) as session:
        assert report_on(session, Deadline(Clock(), 5)).lost == ()


@pytest.mark.parametrize("schema", ["heroku_ext", "public"])
def test_rows_in_an_extensions_table_are_left_out_with_its_schema(database: Database, schema: str) -> None:
    database.execute("CREATE SCHEMA heroku_ext")
    database.superuser(
        f"CREATE EXTENSION pg_stat_statements SCHEMA {schema}",
        f"CREATE TABLE {schema}.spatial (srid int)",
        f"ALTER EXTENSION pg_stat_statements ADD TABLE {schema}.spatial",
        f"UPDATE pg_extension SET extconfig = ARRAY['{schema}.spatial'::regclass::oid],"
        " extcondition = ARRAY['WHERE srid > 900000'] WHERE extname = 'pg_stat_statements'",
        f"GRANT SELECT ON {schema}.spatial TO {database.owner}",
        f"INSERT INTO {schema}.spatial VALUES (4326)",
    )
    assert looked(database).weaker == ()

    database.superuser(f"INSERT INTO {schema}.spatial VALUES (900001)")

    report = looked(database)
    assert report.lost == ()
    assert [each.name for each in report.weaker] == (["heroku_ext.spatial"] if schema == "heroku_ext" else [])


def test_an_extension_at_another_version_than_a_restore_makes_is_weaker(database: Database) -> None:
    database.superuser("CREATE EXTENSION pg_trgm VERSION '1.3'")

    report = looked(database)

    assert report.lost == ()
    (each,) = report.weaker
    assert str(each).startswith("extension pg_trgm: it is at version 1.3, and a dump names none: a restore makes 1.")
    assert each.way_out == "ALTER EXTENSION pg_trgm UPDATE"


def test_a_foreign_server_takes_a_grant_that_no_dump_carries(database: Database) -> None:
    database.superuser("CREATE EXTENSION postgres_fdw")
    assert looked(database).weaker == ()
    database.superuser(f"GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO {database.owner}")
    database.execute("CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw")

    report = looked(database)

    assert report.lost == ()
    assert [(each.kind, each.name) for each in report.weaker] == [("foreign server", "elsewhere")]
    assert "CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw;" in list(gone(database))


def test_a_catalog_that_cannot_be_read_is_unknown_and_no_failure(database: Database) -> None:
    build(database, LOST["check by a function that names a table"])
    database.superuser("REVOKE SELECT ON pg_catalog.pg_event_trigger FROM public")

    report = looked(database)

    assert found(report) == ["CHECK constraint entry_word_check of public.entry"]
    (unknown,) = report.unknown
    assert unknown.startswith("what only some roles may create (permission denied")


def test_an_extension_without_files_cannot_be_made_again(database: Database) -> None:
    database.superuser("CREATE EXTENSION tcn", "UPDATE pg_extension SET extname = 'gone' WHERE extname = 'tcn'")

    assert found(looked(database)) == ["extension gone"]


def asking(name: str, body: str) -> str:
    """A function for a CHECK constraint."""
    return f"CREATE FUNCTION {name}(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN {body} RETURN true; END $$"


SLOW = asking("slow", "PERFORM pg_sleep(30);")
WRITING = asking("counted", "PERFORM nextval('public.seen');")
FAILING = asking("odd", "IF current_user <> 'postgres' THEN RAISE 'not now'; END IF;")


@pytest.mark.parametrize(("function", "name"), [(SLOW, "slow"), (WRITING, "counted"), (FAILING, "odd")])
def test_what_cannot_be_tried_is_unknown_and_harms_nothing(database: Database, function: str, name: str) -> None:
    database.execute(
        "CREATE SEQUENCE seen",
        "CREATE TABLE things (n int)",
        function,
        "INSERT INTO things VALUES (1)",
    )
    database.execute(f"ALTER TABLE things ADD CONSTRAINT asks CHECK ({name}(n)) NOT VALID")
    database.superuser("UPDATE pg_constraint SET convalidated = true WHERE conname = 'asks'")
    before = fingerprint.take(database.connect())
    began = time.monotonic()

    report = looked(database, seconds=5)

    assert report.lost == ()
    assert report.unknown == ("CHECK constraint asks of public.things",)
    assert time.monotonic() - began < 5
    assert fingerprint.take(database.connect()).digest() == before.digest()
    assert database.connect().execute("SELECT is_called FROM seen").fetchall() == [(False,)]


def test_a_table_that_is_locked_is_unknown_and_not_waited_for(database: Database) -> None:
    build(database, LOST["check by a function that names a table"])
    other = database.connect()
    began = time.monotonic()
    with other.transaction():
        other.execute("LOCK TABLE entry IN ACCESS EXCLUSIVE MODE")
        report = looked(database)

    assert report.lost == ()
    assert report.unknown == ("what depends on functions and operators (canceling statement due to lock timeout)",)
    assert time.monotonic() - began < 3


def test_when_the_time_is_up_the_rest_is_unknown(database: Database) -> None:
    build(database, LOST["check by a function that names a table"])
    build(database, LOST["trigger condition over ltree"])
    build(database, LOST["forced row security"])

    report = looked(database, seconds=0)

    assert found(report) == ["table public.secrets", "trigger path_moved on public.region"]
    assert report.unknown == ("CHECK constraint entry_word_check of public.entry",)


def test_a_look_changes_no_setting_of_the_session_and_leaves_nothing_open(database: Database) -> None:
    for name in (
        "check by a function that names a table",
        "trigger condition over ltree",
        "materialized view over a view",
    ):
        build(database, LOST[name])
    connection = database.connect()
    connection.execute("SET search_path = ''")
    settings = "SELECT name, setting FROM pg_settings WHERE name NOT LIKE '%.%' ORDER BY name"
    before = connection.execute(settings).fetchall()

    report_on(connection, Deadline(Clock(), 5))

    assert connection.execute(settings).fetchall() == before
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchall() == [(0,)]
    assert connection.execute(
        "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()"
        " AND locktype = 'relation' AND relation::regclass::text !~ '^pg_'"
    ).fetchall() == [(0,)]


def test_a_path_that_only_the_app_sets_does_not_hide_a_finding(database: Database) -> None:
    database.execute(
        "CREATE SCHEMA tenant",
        "CREATE TABLE tenant.words (word text)",
        "INSERT INTO tenant.words VALUES ('a')",
        "CREATE FUNCTION tenant.listed(w text) RETURNS boolean LANGUAGE plpgsql STABLE AS"
        " $$ BEGIN RETURN EXISTS (SELECT FROM words WHERE word = w); END $$",
        "CREATE TABLE tenant.pages (word text)",
        "INSERT INTO tenant.pages VALUES ('a')",
    )
    database.connect().execute(
        "SET search_path = tenant; ALTER TABLE tenant.pages ADD CONSTRAINT listed CHECK (tenant.listed(word))"
    )

    assert found(looked(database)) == ["CHECK constraint listed of tenant.pages"]
    assert any("COPY failed" in each or "pages" in each for each in gone(database))


def test_a_look_at_many_tables_without_functions_of_their_own_costs_little(database: Database) -> None:
    database.execute(*(f"CREATE TABLE t{n} (id serial PRIMARY KEY, n int CHECK (n > 0))" for n in range(500)))
    connection = database.connect()
    best = 9.0
    for _ in range(8):
        began = time.perf_counter()
        report_on(connection, Deadline(Clock(), 5))
        best = min(best, time.perf_counter() - began)

    assert best < 0.3  # 0.03 s by itself on two cores; others may be at work on them
