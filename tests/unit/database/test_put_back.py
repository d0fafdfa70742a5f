"""All that is around the tables is what it was after a restore, as far as the credential may; the rest is named."""

from __future__ import annotations

import pytest

from release.database import catalog, fingerprint, grants
from release.database.comparison import compare, same_structure
from release.database.fingerprint import Fingerprint
from release.database.put_back import put_back
from tests.unit.database.conftest import Database

BOTH_WAYS = pytest.mark.parametrize("keeping", [False, True], ids=["database dropped", "schemas dropped"])


def notes(before: Fingerprint, database: Database) -> list[str]:
    found = same_structure(before, fingerprint.take(database.connect()))
    return [str(each) for each in found.notes if each.kind != "owner"]


# Extensions.


@BOTH_WAYS
def test_an_extension_that_cannot_go_back_is_named_with_both_versions(database: Database, *, keeping: bool) -> None:
    database.execute("CREATE EXTENSION hstore VERSION '1.4'", "CREATE EXTENSION pg_trgm VERSION '1.3'")
    database.execute("CREATE EXTENSION citext")
    before = fingerprint.take(database.connect())
    database.restore(database.dump(), keeping=keeping)
    default = dict(database.server_session().execute("SELECT name, default_version FROM pg_available_extensions"))

    problems = put_back(database.connect(), before)

    assert [problem for problem in problems if "grant" not in problem] == [
        f"extension {name} was version {was} and is {default[name]} now:"
        f" the server knows no way from {default[name]} to {was}"
        for name, was in (("hstore", "1.4"), ("pg_trgm", "1.3"))
    ]
    assert notes(before, database) == ["extension hstore changed", "extension pg_trgm changed"]


def test_an_extension_that_is_older_now_is_brought_up_to_what_it_was(database: Database) -> None:
    """As after a restore onto a server whose default version is older."""
    database.execute("CREATE EXTENSION hstore", "CREATE EXTENSION pg_trgm VERSION '1.5'", "CREATE EXTENSION citext")
    before = fingerprint.take(database.connect())
    database.execute("DROP EXTENSION hstore", "DROP EXTENSION pg_trgm")
    database.execute("CREATE EXTENSION hstore VERSION '1.4'", "CREATE EXTENSION pg_trgm VERSION '1.3'")
    assert len(notes(before, database)) == 2

    assert put_back(database.connect(), before) == []

    assert notes(before, database) == []


def test_an_extension_of_somebody_else_is_named(database: Database) -> None:
    database.superuser("CREATE EXTENSION hstore")
    before = fingerprint.take(database.connect())
    database.superuser("DROP EXTENSION hstore", "CREATE EXTENSION hstore VERSION '1.4'")

    (problem,) = put_back(database.connect(), before)

    assert problem.endswith("must be owner of extension hstore")
    assert problem.startswith("extension hstore was version 1.")


# Materialized views.

VIEWS = """
CREATE TABLE a (n integer);
INSERT INTO a VALUES (1);
CREATE MATERIALIZED VIEW base AS SELECT n FROM a;
CREATE MATERIALIZED VIEW "Odd ""view" AS SELECT n + 1 AS n FROM base;
CREATE MATERIALIZED VIEW more WITH (fillfactor = 50) AS SELECT n FROM a WITH NO DATA;
CREATE MATERIALIZED VIEW never AS SELECT 1 / 0 AS n WITH NO DATA;
"""


@BOTH_WAYS
def test_views_that_were_filled_are_said_to_be_made_anew_and_others_stay_empty(
    database: Database, *, keeping: bool
) -> None:
    database.execute(VIEWS, "INSERT INTO a VALUES (2)")
    before = fingerprint.take(database.connect())
    database.restore(database.dump(), keeping=keeping)
    connection = database.connect()

    assert put_back(connection, before) == []

    assert notes(before, database) == [
        'contents of materialized view public."Odd ""view" made anew',
        "contents of materialized view public.base made anew",
    ]
    assert same_structure(before, fingerprint.take(connection)).same


def test_a_view_that_is_not_filled_any_more_is_filled_and_the_other_way_round(database: Database) -> None:
    database.execute(VIEWS)
    before = fingerprint.take(database.connect())
    database.execute(
        'REFRESH MATERIALIZED VIEW "Odd ""view" WITH NO DATA', "REFRESH MATERIALIZED VIEW base WITH NO DATA"
    )
    database.execute("REFRESH MATERIALIZED VIEW more")
    connection = database.connect()
    changed = same_structure(before, fingerprint.take(connection))

    assert put_back(connection, before) == []

    assert [str(each) for each in changed.differences] == [
        'materialized view public."Odd ""view" changed',
        "materialized view public.base changed",
        "materialized view public.more changed",
    ]
    assert same_structure(before, fingerprint.take(connection)).same
    assert connection.execute('SELECT n FROM "Odd ""view"').fetchall() == [(2,)]


def test_a_view_that_fails_or_takes_too_long_is_named_and_the_others_are_filled(database: Database) -> None:
    database.execute(
        "CREATE TABLE a (n integer)",
        "INSERT INTO a VALUES (1)",
        "CREATE MATERIALIZED VIEW failing AS SELECT 1 / n AS n FROM a",
        "CREATE MATERIALIZED VIEW fine AS SELECT n FROM a",
        "CREATE MATERIALIZED VIEW slow AS SELECT pg_sleep(n * 5)::text FROM a WHERE n > 1",
    )
    before = fingerprint.take(database.connect())
    database.execute("UPDATE a SET n = 0", "INSERT INTO a VALUES (2)")
    for name in ("failing", "fine", "slow"):
        database.execute(f"REFRESH MATERIALIZED VIEW {name} WITH NO DATA")
    connection = database.connect()

    problems = put_back(connection, before, refresh_seconds=3)

    assert problems == [
        "materialized view public.failing: division by zero",
        "materialized view public.slow: canceling statement due to statement timeout",
    ]
    assert [str(each) for each in same_structure(before, fingerprint.take(connection)).differences] == [
        "materialized view public.failing changed",
        "materialized view public.slow changed",
    ]
    assert connection.execute("SHOW statement_timeout").fetchall() == [("0",)]


# Large objects.


def large(database: Database) -> tuple[str, str]:
    """Large objects with owners and grants of all sorts."""
    reader, other = database.role(f"reader_{database.name}"), database.role('"Odd ""Other"', member=True)
    database.execute(
        "SELECT lo_create(n) FROM generate_series(101, 110) n",
        f"GRANT SELECT ON LARGE OBJECT 101, 102 TO {reader}",
        f"GRANT SELECT, UPDATE ON LARGE OBJECT 103 TO {other} WITH GRANT OPTION",
        "GRANT SELECT ON LARGE OBJECT 104 TO PUBLIC",
        f"ALTER LARGE OBJECT 105 OWNER TO {other}",
        f"ALTER LARGE OBJECT 106 OWNER TO {other}",
        f"GRANT SELECT ON LARGE OBJECT 106 TO {reader}",
        f"REVOKE UPDATE ON LARGE OBJECT 107 FROM {database.owner}",
    )
    return reader, other


@BOTH_WAYS
def test_owners_and_grants_of_large_objects_come_back(database: Database, *, keeping: bool) -> None:
    large(database)
    seen = "SELECT oid, lomowner::regrole::text, lomacl::text FROM pg_largeobject_metadata ORDER BY oid"
    kept = database.server_session().execute(seen).fetchall()
    before = fingerprint.take(database.connect())
    database.restore(database.dump(), keeping=keeping)
    lost = same_structure(before, fingerprint.take(database.connect()))

    assert put_back(database.connect(), before) == []

    assert database.server_session().execute(seen).fetchall() == kept
    assert notes(before, database) == []
    assert [str(each) for each in lost.notes if "large" in str(each)] == [
        "owner of large object 105 changed",
        "owner of large object 106 changed",
        f"grant on large object 101 to reader_{database.name} removed",
        f"grant on large object 102 to reader_{database.name} removed",
        'grant on large object 103 to Odd "Other removed',
        "grant on large object 104 to public changed",
        f"grant on large object 106 to reader_{database.name} removed",
        "grant on large object 107 to its owner changed",
    ]


def test_what_came_in_between_to_large_objects_goes(database: Database) -> None:
    reader, other = large(database)
    before = fingerprint.take(database.connect())
    database.execute(
        f"GRANT UPDATE ON LARGE OBJECT 101, 108 TO {reader}",
        f"ALTER LARGE OBJECT 109 OWNER TO {other}",
        f"ALTER LARGE OBJECT 105 OWNER TO {database.owner}",
    )
    assert len(notes(before, database)) == 2  # owners are left out

    assert put_back(database.connect(), before) == []

    assert notes(before, database) == []


def test_a_large_object_that_is_gone_is_named(database: Database) -> None:
    large(database)
    before = fingerprint.take(database.connect())
    database.execute("SELECT lo_unlink(101)", "SELECT lo_unlink(105)")

    assert put_back(database.connect(), before) == ["grants on large object 101 were not put back: it does not exist"]


def test_a_large_object_of_somebody_else_is_foreign(database: Database) -> None:
    other = database.role(f"other_{database.name}")
    database.execute("SELECT lo_create(201)")
    database.execute("SELECT lo_create(202)", role=other)

    assert grants.foreign_objects(database.connect()) == [f"large object 202 of {other}"]


def test_more_large_objects_than_can_be_named_are_counted_and_hashed(database: Database) -> None:
    reader = database.role(f"reader_{database.name}")
    database.execute("SELECT lo_create(n) FROM generate_series(20001, 30003) n")
    database.superuser(
        "UPDATE pg_largeobject_metadata SET lomacl ="
        f" ARRAY['{reader}=r/{database.owner}', '{database.owner}=rw/{database.owner}']::aclitem[]"
    )
    connection = database.connect()
    before = fingerprint.take(connection)
    database.superuser("UPDATE pg_largeobject_metadata SET lomacl = NULL WHERE oid = 30002")

    after = fingerprint.take(connection)

    assert len(before.surroundings["grants"]) == 10_000
    assert before.surroundings["large objects"]["owners and grants of the rest"].startswith("3 sha256 ")
    assert [str(each) for each in compare(before, after).notes] == [
        "large objects owners and grants of the rest changed"
    ]


# The rest.


def test_a_missing_event_trigger_of_somebody_s_own_is_named_and_the_platform_s_are_not(database: Database) -> None:
    database.superuser(
        "CREATE SCHEMA _heroku",
        "CREATE FUNCTION _heroku.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "CREATE EVENT TRIGGER log_create_ext ON ddl_command_end EXECUTE FUNCTION _heroku.watch()",
        "CREATE EVENT TRIGGER validate_extension ON ddl_command_start EXECUTE FUNCTION _heroku.watch()",
        "CREATE FUNCTION seen() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
        f"ALTER FUNCTION seen() OWNER TO {database.owner}",
        "CREATE EVENT TRIGGER seen ON ddl_command_end EXECUTE FUNCTION seen()",
    )
    before = fingerprint.take(database.connect())
    database.restore(database.dump(), keeping=False)

    found = same_structure(before, fingerprint.take(database.connect()))

    assert [str(each) for each in found.notes] == ["event trigger seen removed"]


def test_everything_at_once_is_put_back_in_the_right_order(database: Database) -> None:
    """What another role is to own is filled and published before it is given away."""
    other = database.role(f"other_{database.name}", member=True)
    able = f"GRANT CREATE ON DATABASE {database.name} TO {other}"
    database.execute(
        able,
        f"GRANT CREATE ON SCHEMA public TO {other}",
        "CREATE TABLE orders (id integer PRIMARY KEY, region text)",
        "CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM orders",
        "CREATE PUBLICATION warehouse FOR TABLE orders (id) WHERE (id > 1)",
        f"ALTER TABLE orders OWNER TO {other}",
        f"ALTER MATERIALIZED VIEW totals OWNER TO {other}",
        f"ALTER PUBLICATION warehouse OWNER TO {other}",
        f"ALTER DATABASE {database.name} SET search_path = tenant, public",
    )
    before = fingerprint.take(database.connect())
    database.restore(database.dump(), keeping=False)
    database.execute(
        able,
        f"GRANT CREATE ON SCHEMA public TO {other}",
        "REFRESH MATERIALIZED VIEW totals WITH NO DATA",
        "ALTER PUBLICATION warehouse SET TABLE orders",
    )
    connection = database.connect()

    assert put_back(connection, before) == []

    assert [str(each) for each in same_structure(before, fingerprint.take(connection)).differences] == []
    assert notes(before, database) == ["contents of materialized view public.totals made anew"]
    assert put_back(connection, before) == []


def test_every_query_can_be_asked_even_where_it_need_not_be(database: Database) -> None:
    """Of security labels, for one, there are none without a module that makes them."""
    connection = database.connect()
    with connection.transaction():
        connection.execute(catalog.LIMITS)
        for query in (*catalog.STRUCTURE, *catalog.GRANTS, *catalog.SURROUNDINGS):
            if query.since <= connection.info.server_version:
                connection.execute(query.text).fetchall()
