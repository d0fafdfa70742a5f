"""What other roles own and may do is found, is lost in a restore, and is put back."""

from __future__ import annotations

import pytest

from release.database import fingerprint, grants
from release.database.comparison import same_structure
from release.database.fingerprint import Fingerprint
from release.database.grants import Step
from tests.unit.database.conftest import Database

THINGS = """
CREATE SCHEMA reports;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN stars AS integer;
CREATE FUNCTION twice(n integer) RETURNS integer LANGUAGE sql AS 'SELECT 2 * n';
CREATE PROCEDURE act() LANGUAGE sql AS '';
CREATE AGGREGATE most(integer) (sfunc = int4larger, stype = integer);
CREATE TABLE learners (id serial PRIMARY KEY, name text, "Odd "".col" text);
CREATE TABLE "Odd ""table" (id integer GENERATED ALWAYS AS IDENTITY);
CREATE VIEW happy AS SELECT 1 AS one;
CREATE MATERIALIZED VIEW totals AS SELECT 1 AS one;
"""
RIGHTS = """
GRANT USAGE ON SCHEMA reports TO {reader};
GRANT SELECT ON learners, happy, totals, "Odd ""table" TO {reader};
GRANT INSERT, UPDATE, SELECT ON learners TO {writer} WITH GRANT OPTION;
GRANT SELECT (id, "Odd "".col"), UPDATE (name) ON learners TO PUBLIC;
GRANT SELECT (one) ON happy TO {reader};
GRANT USAGE ON SEQUENCE learners_id_seq TO {reader};
GRANT EXECUTE ON FUNCTION twice TO {reader};
REVOKE EXECUTE ON FUNCTION twice FROM PUBLIC;
REVOKE EXECUTE ON PROCEDURE act FROM PUBLIC;
GRANT EXECUTE ON ROUTINE most(integer) TO {reader} WITH GRANT OPTION;
REVOKE USAGE ON TYPE mood FROM PUBLIC;
GRANT USAGE ON DOMAIN stars TO {reader};
REVOKE DELETE, TRUNCATE ON learners FROM {owner};
REVOKE CREATE ON SCHEMA reports FROM {owner};
ALTER DEFAULT PRIVILEGES IN SCHEMA reports GRANT SELECT ON TABLES TO {reader};
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO {reader} WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA reports GRANT EXECUTE ON FUNCTIONS TO PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {reader};
REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC;
"""


def granted(database: Database) -> Fingerprint:
    """Makes things and gives rights on them to a reader and to a writer, who gives some of them on."""
    reader, writer = database.role(f"reader_{database.name}"), database.role('"Odd ""Writer"')
    names = {"reader": reader, "writer": writer, "owner": database.owner, "database": database.name}
    database.execute(THINGS, RIGHTS.format(**names))
    database.execute(f"GRANT SELECT ON learners TO {reader}", role='Odd "Writer')
    return fingerprint.take(database.connect())


def restored(database: Database) -> None:
    dump = database.dump()
    database.reset()
    assert not database.load(dump)


def test_grants_lost_in_a_restore_are_put_back(database: Database) -> None:
    before = granted(database)
    restored(database)
    connection = database.connect()
    lost = same_structure(before, fingerprint.take(connection))

    problems = grants.put_back_grants(connection, before)

    after = fingerprint.take(connection)
    assert problems == []
    assert same_structure(before, after).differences == ()
    assert [str(each) for each in same_structure(before, after).notes] == [
        "contents of materialized view public.totals made anew"
    ]
    assert after.digest() == before.digest()
    assert f"grant on table public.learners to reader_{database.name} removed" in map(str, lost.differences)
    assert len(lost.differences) > 20


def test_putting_back_twice_does_nothing_the_second_time(database: Database) -> None:
    before = granted(database)
    connection = database.connect()

    assert grants.put_back_grants(connection, before) == []

    assert fingerprint.take(connection).digest() == before.digest()


def test_rights_that_came_in_between_are_revoked(database: Database) -> None:
    reader = database.role(f"reader_{database.name}")
    database.execute(THINGS)
    connection = database.connect()
    before = fingerprint.take(connection)
    database.execute(
        f"GRANT ALL ON learners TO {reader} WITH GRANT OPTION",
        f"GRANT SELECT (one) ON happy TO {reader}",
        f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {reader}",
        "GRANT CREATE ON SCHEMA reports TO PUBLIC",
    )

    assert grants.put_back_grants(connection, before) == []

    assert fingerprint.take(connection).digest() == before.digest()


def test_a_role_that_is_gone_is_reported_and_the_rest_is_put_back(database: Database) -> None:
    reader, gone = database.role(f"reader_{database.name}"), database.role(f"gone_{database.name}")
    database.execute(THINGS, f"GRANT SELECT ON learners TO {reader}", f"GRANT SELECT ON learners, happy TO {gone}")
    before = fingerprint.take(database.connect())
    restored(database)
    database.superuser(f"DROP ROLE {gone}")
    connection = database.connect()

    problems = grants.put_back_grants(connection, before)

    assert problems == [
        f'GRANT SELECT ON TABLE public.learners TO "{gone}": role "{gone}" does not exist',
        f'GRANT SELECT ON TABLE public.happy TO "{gone}": role "{gone}" does not exist',
    ]
    assert sorted(map(str, same_structure(before, fingerprint.take(connection)).differences)) == [
        f"grant on table public.learners to {gone} removed",
        f"grant on view public.happy to {gone} removed",
    ]


def test_a_thing_that_is_gone_is_reported(database: Database) -> None:
    reader = database.role(f"reader_{database.name}")
    database.execute(THINGS, f"GRANT SELECT ON happy TO {reader}", f"GRANT SELECT (id) ON learners TO {reader}")
    connection = database.connect()
    before = fingerprint.take(connection)
    database.execute("DROP VIEW happy", "DROP TABLE learners")

    assert grants.put_back_grants(connection, before) == [
        "grants on column public.learners.id were not put back: it does not exist",
        "grants on view public.happy were not put back: it does not exist",
    ]


def test_of_another_moment_only_what_was_there_then_and_is_there_now_gets_its_rights(database: Database) -> None:
    reader = database.role(f"reader_{database.name}")
    database.execute(
        THINGS,
        f"GRANT SELECT ON learners, happy TO {reader}",
        f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {reader}",
        f"GRANT SELECT (name) ON learners TO {reader}",
        "REVOKE EXECUTE ON FUNCTION twice FROM PUBLIC",
    )
    connection = database.connect()
    present = fingerprint.take(connection)
    database.execute(
        "DROP VIEW happy",
        "CREATE TABLE only_then (id integer)",
        f"GRANT SELECT (id) ON only_then TO {reader}",
        f"REVOKE ALL ON learners FROM {reader}",
        "GRANT EXECUTE ON FUNCTION twice TO PUBLIC",
        f"GRANT SELECT ON totals TO {reader}",
    )

    assert grants.put_back_grants(connection, present, common=True) == []

    now = fingerprint.take(connection).schema["grants"]
    only_then = {name: now.pop(name) for name in list(now) if "only_then" in name}
    del present.schema["grants"]["view public.happy"]
    assert now == present.schema["grants"]
    assert only_then == {
        "table public.only_then": f"{reader}\tSELECT",
        "column public.only_then.id": f"{reader}\tSELECT",
    }


def test_many_tables_get_their_grants_in_few_statements(database: Database) -> None:
    reader = database.role(f"reader_{database.name}")
    database.execute(
        "DO $$ BEGIN FOR i IN 1..250 LOOP EXECUTE format('CREATE TABLE t%s ()', i); END LOOP; END $$",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}",
    )
    connection = database.connect()
    before = fingerprint.take(connection)
    database.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {reader}")

    assert grants.put_back_grants(connection, before) == []

    assert fingerprint.take(connection).digest() == before.digest()


def test_owners_are_given_back_where_the_credential_may_act_as_them(database: Database) -> None:
    other = database.role(f"other_{database.name}", member=True)
    database.superuser(
        f"GRANT CREATE ON SCHEMA public TO {other}", f"GRANT CREATE ON DATABASE {database.name} TO {other}"
    )
    database.execute(
        THINGS,
        *(
            f"ALTER {thing} OWNER TO {other}"
            for thing in ("SCHEMA reports", "TYPE mood", "DOMAIN stars", "FUNCTION twice", "PROCEDURE act")
        ),
        *(f"ALTER {thing} OWNER TO {other}" for thing in ("AGGREGATE most(integer)", "TABLE learners", "VIEW happy")),
        f"GRANT CREATE ON SCHEMA public TO {other}",
    )
    before = fingerprint.take(database.connect())
    assert grants.foreign_objects(database.connect()) == []
    restored(database)
    database.superuser(
        f"GRANT CREATE ON SCHEMA public TO {other}", f"GRANT CREATE ON DATABASE {database.name} TO {other}"
    )
    connection = database.connect()

    problems = grants.put_back_grants(connection, before)

    assert problems == []
    assert list(map(str, same_structure(before, fingerprint.take(connection)).differences)) == []
    assert before.schema["owner"]["table public.learners"] == other


def test_what_belongs_to_a_role_one_cannot_act_as_is_foreign(database: Database) -> None:
    other = database.role(f"other_{database.name}")
    database.superuser(f"GRANT CREATE ON SCHEMA public TO {other}")
    database.execute("CREATE TABLE mine (id serial)")
    database.execute(
        "CREATE TABLE theirs (id serial PRIMARY KEY)",
        "CREATE FUNCTION theirs() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
        role=other,
    )

    assert grants.foreign_objects(database.connect()) == [
        f"default privileges for role {other} of {other}",
        f"function public.theirs() of {other}",
        f"sequence public.theirs_id_seq of {other}",
        f"table public.theirs of {other}",
    ]


def test_extensions_and_heroku_s_own_schemas_are_nobodys_loss(database: Database) -> None:
    database.superuser(
        "CREATE SCHEMA heroku_ext",
        "CREATE EXTENSION citext SCHEMA heroku_ext",
        "CREATE SCHEMA _heroku",
        "CREATE TABLE _heroku.state (id integer)",
        "CREATE FUNCTION _heroku.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
        f"CREATE EVENT TRIGGER watch_{database.name} ON sql_drop EXECUTE FUNCTION _heroku.watch()",
        "CREATE FUNCTION seen() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
        f"ALTER FUNCTION seen() OWNER TO {database.owner}",
        f"CREATE EVENT TRIGGER seen_{database.name} ON ddl_command_end EXECUTE FUNCTION seen()",
    )
    connection = database.connect()

    found = fingerprint.take(connection)

    assert grants.foreign_objects(connection) == []
    assert list(found.schema["schema"]) == ["public"]
    assert found.schema["extension"]["citext"].startswith("schema heroku_ext version ")
    assert "table" not in found.schema
    assert list(found.surroundings["event trigger"]) == [f"seen_{database.name}"]


@pytest.mark.parametrize(
    ("was", "now", "steps"),
    [
        ({}, {}, []),
        ({"r": "SELECT"}, {"r": "SELECT"}, []),
        ({"r": "INSERT, SELECT"}, {}, [Step("grant", False, "r", ("INSERT", "SELECT"))]),
        ({"r": "SELECT*"}, {"r": "SELECT"}, [Step("grant", True, "r", ("SELECT",))]),
        ({"r": "SELECT"}, {"r": "SELECT*"}, [Step("revoke", True, "r", ("SELECT",))]),
        ({}, {"r": "SELECT*"}, [Step("revoke", False, "r", ("SELECT",))]),
        ({"public": "nothing"}, {"public": "EXECUTE"}, [Step("revoke", False, "public", ("EXECUTE",))]),
        ({"public": "EXECUTE"}, {"public": "nothing"}, [Step("grant", False, "public", ("EXECUTE",))]),
        (
            {"r": "SELECT, UPDATE*"},
            {"r": "DELETE, UPDATE"},
            [
                Step("revoke", False, "r", ("DELETE",)),
                Step("grant", False, "r", ("SELECT",)),
                Step("grant", True, "r", ("UPDATE",)),
            ],
        ),
    ],
)
def test_the_steps_lead_from_the_rights_of_now_to_those_of_then(
    was: dict[str, str], now: dict[str, str], steps: list[Step]
) -> None:
    assert grants.changes(was, now) == steps


def test_what_is_no_privilege_is_never_put_into_a_statement() -> None:
    with pytest.raises(ValueError, match="no privileges"):
        grants.changes({"r": "SELECT ON x TO y; DROP TABLE x"}, {})
