"""What prints alike and means something else after a restore is seen, and only that."""

from __future__ import annotations

import pytest

from release.database import fingerprint
from release.database.comparison import same_structure
from tests.unit.database.conftest import Database

TABLES = """
CREATE SCHEMA apart;
CREATE EXTENSION citext SCHEMA {schema};
CREATE TABLE users (id integer PRIMARY KEY, email citext, name text);
CREATE TABLE logins (email citext, n integer);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
"""

LOST = {
    "view public.v_using": "CREATE VIEW v_using AS SELECT id, email, n FROM users JOIN logins USING (email)",
    "view public.v_natural": "CREATE VIEW v_natural AS SELECT id FROM users NATURAL LEFT JOIN logins",
    "view public.v_cases": "CREATE VIEW v_cases AS SELECT CASE email WHEN 'A' THEN 1 END AS a FROM users",
    "view public.v_distinct": "CREATE VIEW v_distinct AS SELECT FROM users WHERE email IS NOT DISTINCT FROM 'x'",
    "view public.nulled": "CREATE VIEW nulled AS SELECT NULLIF(email, 'x') AS a FROM users",
    "view public.v_rows": "CREATE VIEW v_rows AS SELECT FROM users WHERE (id, email) < (1, 'x'::citext)",
    "view public.v_nested": "CREATE VIEW v_nested AS WITH a AS (SELECT id FROM users WHERE id IN (SELECT CASE email"
    " WHEN 'a' THEN 1 END FROM logins)) SELECT id FROM a",
    "view public.twofold": "CREATE VIEW twofold AS SELECT id FROM users JOIN logins USING (email) WHERE email = 'x'",
    "materialized view public.kept": "CREATE MATERIALIZED VIEW kept AS SELECT NULLIF(email, 'x') AS a FROM users",
    "rule public.users.quiet": "CREATE RULE quiet AS ON DELETE TO users WHERE NULLIF(OLD.email, 'x') IS NULL"
    " DO INSTEAD NOTHING",
    "trigger public.users.changed": "CREATE TRIGGER changed BEFORE UPDATE ON users FOR EACH ROW"
    " WHEN (OLD.email IS DISTINCT FROM NEW.email) EXECUTE FUNCTION touch()",
    "column public.users.known": "ALTER TABLE users ADD known boolean"
    " GENERATED ALWAYS AS (email IS DISTINCT FROM 'x') STORED",
    "column public.users.chosen": "ALTER TABLE users ADD chosen integer"
    " DEFAULT CASE 'a'::citext WHEN 'A' THEN 1 ELSE 2 END",
    "policy public.users.own": "CREATE POLICY own ON users USING (email IS DISTINCT FROM 'x')",
    "policy public.users.new": "CREATE POLICY new ON users FOR INSERT WITH CHECK (email IS DISTINCT FROM 'x')",
    "constraint public.users.checked": "ALTER TABLE users ADD CONSTRAINT checked"
    " CHECK (email IS DISTINCT FROM 'x') NOT VALID",
    "index public.by_null": "CREATE INDEX by_null ON users ((NULLIF(email, 'x')::text))",
    "index public.some_of": "CREATE INDEX some_of ON logins (n) WHERE email IS DISTINCT FROM 'x'",
    "domain public.address": "CREATE DOMAIN address AS citext CHECK (VALUE IS DISTINCT FROM 'x')",
    "domain public.fixed": "CREATE DOMAIN fixed AS integer DEFAULT CASE 'a'::citext WHEN 'A' THEN 1 ELSE 2 END",
    "statistics public.how": "CREATE STATISTICS how ON (NULLIF(email, 'x')::text), id FROM users",
    "function public.same(integer)": "CREATE FUNCTION same(integer) RETURNS boolean LANGUAGE sql BEGIN ATOMIC"
    " SELECT email IS DISTINCT FROM 'x' FROM users WHERE id = $1; END",
    "function public.given(integer)": "CREATE FUNCTION given(integer DEFAULT CASE 'a'::citext WHEN 'A' THEN 1 END)"
    " RETURNS integer LANGUAGE sql AS 'SELECT $1'",
    "table public.parted": "CREATE TABLE parted (email citext) PARTITION BY LIST ((NULLIF(email, 'x')::text))",
}
"""What is lost, by the name of the difference; some have uses that are printed as well."""

REMAINS = """
CREATE VIEW plain AS SELECT DISTINCT email FROM users WHERE email = 'x'::citext AND email IN ('a', 'b') AND name = 'x'
    UNION SELECT email FROM logins WHERE email BETWEEN 'a' AND 'b' ORDER BY 1;
CREATE VIEW text_only AS SELECT NULLIF(name, 'x') AS a FROM users WHERE name IS DISTINCT FROM 'x';
"""


@pytest.mark.parametrize("schema", ["public", "apart"])
@pytest.mark.parametrize("keeping", [False, True], ids=["database dropped", "schemas dropped"])
def test_operators_that_a_restore_resolves_anew_are_differences_by_name(
    database: Database, schema: str, *, keeping: bool
) -> None:
    path = "SET search_path = public, apart;"
    database.execute(path + TABLES.format(schema=schema), path + REMAINS, *(path + each for each in LOST.values()))
    before = fingerprint.take(database.connect())
    database.restore(database.dump(), keeping=keeping)

    found = same_structure(before, fingerprint.take(database.connect()))

    told = {str(each) for each in found.differences if each.kind != "grant"}
    for name in LOST:
        assert told & {f"operators of {name} changed", f"{name} changed"}, name
    assert {name for name in told if not name.startswith("operators of ")} <= {f"{name} changed" for name in LOST}
    assert not [name for name in told if "plain" in name or "text_only" in name]


def test_an_operator_of_one_s_own_over_the_server_s_types_is_seen(database: Database) -> None:
    database.execute(
        "CREATE FUNCTION alike(varchar, varchar) RETURNS boolean LANGUAGE sql IMMUTABLE"
        " AS 'SELECT lower($1) OPERATOR(pg_catalog.=) lower($2)'",
        "CREATE OPERATOR public.= (leftarg = varchar, rightarg = varchar, function = alike)",
        "CREATE TABLE names (name varchar, other varchar)",
        "CREATE VIEW differing AS SELECT name IS DISTINCT FROM other AS differ FROM names",
        "CREATE VIEW equal AS SELECT name FROM names WHERE name = other",
    )
    before = fingerprint.take(database.connect())
    assert not database.restore(database.dump(), keeping=False)

    found = same_structure(before, fingerprint.take(database.connect()))

    assert [str(each) for each in found.differences] == ["operators of view public.differing changed"]
    (difference,) = found.differences
    assert (difference.before, difference.after) == (
        "public.=(character varying,character varying)",
        None,
    )


def test_one_use_of_an_operator_that_is_lost_beside_another_is_seen(database: Database) -> None:
    both = "CREATE VIEW twofold AS SELECT id FROM users JOIN logins USING (email) WHERE email = 'x'::citext"
    database.execute(TABLES.format(schema="public"), both)
    before = fingerprint.take(database.connect())
    assert not database.restore(database.dump(), keeping=False)

    (difference,) = same_structure(before, fingerprint.take(database.connect())).differences

    assert str(difference) == "operators of view public.twofold changed"
    assert (difference.before, difference.after) == (
        "public.=(public.citext,public.citext) 2 times",
        "public.=(public.citext,public.citext)",
    )


def test_operators_come_and_go_with_what_they_are_in(database: Database) -> None:
    """A view that is added, removed or changed is told once."""
    database.execute(TABLES.format(schema="public"), "CREATE VIEW seen AS SELECT NULLIF(email, 'x') AS a FROM users")
    connection = database.connect()
    before = fingerprint.take(connection)
    database.execute(
        "CREATE OR REPLACE VIEW seen AS SELECT email AS a FROM users",
        "CREATE VIEW more AS SELECT NULLIF(email, 'x') AS a FROM users",
        "CREATE TABLE extra (id integer, email citext CONSTRAINT few CHECK (email <> 'x'))",
        "ALTER TABLE users ADD CONSTRAINT few CHECK (email <> 'x')",
        "CREATE TRIGGER t BEFORE UPDATE ON users FOR EACH ROW WHEN (OLD.email <> '') EXECUTE FUNCTION touch()",
    )

    after = fingerprint.take(connection)

    assert sorted(map(str, same_structure(before, after).differences)) == [
        "constraint public.users.few added",
        "table public.extra added",
        "trigger public.users.t added",
        "view public.more added",
        "view public.seen changed",
    ]
    assert sorted(map(str, same_structure(after, before).differences)) == [
        "constraint public.users.few removed",
        "table public.extra removed",
        "trigger public.users.t removed",
        "view public.more removed",
        "view public.seen changed",
    ]
    assert len(after.schema["operators"]["public.users"].split("\n")) == 2


def test_an_index_that_is_not_valid_has_no_operators(database: Database) -> None:
    """A dump leaves it out, and that is a note."""
    database.execute(TABLES.format(schema="public"), "CREATE INDEX few ON users (id) WHERE email <> 'x'")
    database.superuser("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'few'::regclass")
    before = fingerprint.take(database.connect())
    assert not database.restore(database.dump(), keeping=False)

    found = same_structure(before, fingerprint.take(database.connect()))

    assert found.differences == ()
    assert [str(each) for each in found.notes] == ["invalid index public.few removed"]
