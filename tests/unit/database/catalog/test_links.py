"""What leads out of the database: publications are seen in full and put back; logins elsewhere are seen, never read."""

from __future__ import annotations

import hashlib

import psycopg
import pytest

from release.database import fingerprint, grants
from release.database.comparison import compare, same_structure
from release.database.put_back import put_back
from release.database.repair import remove_added
from tests.unit.database.conftest import Database, added

TABLES = """
CREATE SCHEMA reports;
CREATE TABLE orders (id integer PRIMARY KEY, region text NOT NULL, "Odd ""col" text);
CREATE TABLE reports."Odd, ""table" (id integer PRIMARY KEY, note text);
CREATE TABLE events (id integer NOT NULL, at date NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events DEFAULT;
ALTER TABLE orders REPLICA IDENTITY FULL;
CREATE PUBLICATION warehouse FOR TABLE orders (id, region) WHERE (region = 'us');
CREATE PUBLICATION "Odd ""one" FOR TABLE orders ("Odd ""col", id)
    WHERE ("Odd ""col" <> E'a\\n''b\\\\c' AND id IN (1, 2)),
    reports."Odd, ""table", events WITH (publish = 'insert, truncate', publish_via_partition_root);
CREATE PUBLICATION nothing;
"""

PUBLISHED = {
    "ALTER PUBLICATION warehouse SET TABLE orders (id)": ["published table public.orders by warehouse changed"],
    "ALTER PUBLICATION warehouse SET TABLE orders WHERE (region = 'us')": [
        "published table public.orders by warehouse changed"
    ],
    "ALTER PUBLICATION warehouse SET TABLE orders (id, region) WHERE (region = 'eu')": [
        "published table public.orders by warehouse changed"
    ],
    "ALTER PUBLICATION warehouse SET TABLE orders (region, id) WHERE (region = 'us')": [],
    "ALTER PUBLICATION warehouse DROP TABLE orders": ["published table public.orders by warehouse removed"],
    "ALTER PUBLICATION warehouse ADD TABLE events": ["published table public.events by warehouse added"],
    "ALTER PUBLICATION nothing ADD TABLE events, orders (id)": [
        "published table public.events by nothing added",
        "published table public.orders by nothing added",
    ],
    'ALTER PUBLICATION "Odd ""one" SET (publish = \'update\')': ['publication "Odd ""one" changed'],
    'ALTER PUBLICATION "Odd ""one" SET (publish_via_partition_root = false)': ['publication "Odd ""one" changed'],
    'ALTER PUBLICATION "Odd ""one" DROP TABLE reports."Odd, ""table"': [
        'published table reports."Odd, ""table" by "Odd ""one" removed'
    ],
    "DROP PUBLICATION warehouse": ["publication warehouse removed"],
    "ALTER PUBLICATION warehouse RENAME TO house": ["publication house added", "publication warehouse removed"],
    "CREATE PUBLICATION more FOR TABLE orders (id)": ["publication more added"],
}


@pytest.mark.parametrize(("statement", "expected"), PUBLISHED.items())
def test_a_change_of_a_publication_is_a_difference(database: Database, statement: str, expected: list[str]) -> None:
    database.execute(TABLES)
    connection = database.connect()
    before = fingerprint.take(connection)
    database.execute(statement)

    found = compare(before, fingerprint.take(connection))

    assert sorted(map(str, found.differences)) == expected


@pytest.mark.parametrize("statement", PUBLISHED)
@pytest.mark.parametrize("keeping", [False, True], ids=["database dropped", "schemas dropped"])
def test_a_publication_is_after_a_restore_what_it_was(database: Database, statement: str, *, keeping: bool) -> None:
    database.execute(TABLES)
    connection = database.connect()
    before = fingerprint.take(connection)
    dump = database.dump()
    database.execute(statement)
    database.restore(dump, keeping=keeping)
    connection = database.connect()
    remove_added(connection, before, added(connection, before))

    assert put_back(connection, before) == []

    assert [str(each) for each in same_structure(before, fingerprint.take(connection)).differences] == []


def test_a_publication_of_a_schema_is_seen_and_put_back_where_the_credential_may(database: Database) -> None:
    database.execute(TABLES, "CREATE PUBLICATION whole FOR TABLE orders WHERE (id > 1)")
    database.superuser(
        "ALTER PUBLICATION whole ADD TABLES IN SCHEMA reports", "ALTER PUBLICATION nothing ADD TABLES IN SCHEMA reports"
    )
    connection = database.connect()
    before = fingerprint.take(connection)
    database.superuser(
        "ALTER PUBLICATION whole DROP TABLES IN SCHEMA reports",
        "ALTER PUBLICATION nothing SET TABLES IN SCHEMA public",
    )

    problems = put_back(connection, before)

    assert problems == [
        "what publication nothing publishes: must be superuser to add or set schemas",
        "what publication whole publishes: must be superuser to add or set schemas",
    ]
    assert [str(each) for each in same_structure(before, fingerprint.take(connection)).differences] == [
        "published schema public by nothing added",
        "published schema reports by nothing removed",
        "published schema reports by whole removed",
    ]
    assert put_back(database.server_session(), before) == []
    assert same_structure(before, fingerprint.take(connection)).same


def test_a_publication_for_all_tables_is_said_to_have_to_be_made_anew(database: Database) -> None:
    database.superuser(
        "CREATE PUBLICATION everything FOR ALL TABLES WITH (publish = 'insert')",
        f"ALTER ROLE {database.owner} SUPERUSER",
        f"ALTER PUBLICATION everything OWNER TO {database.owner}",
        f"ALTER ROLE {database.owner} NOSUPERUSER",
    )
    connection = database.connect()
    before = fingerprint.take(connection)
    database.execute("DROP PUBLICATION everything", "CREATE PUBLICATION everything")

    assert put_back(connection, before) == [
        "publication everything was for all tables: it has to be made anew, by DROP PUBLICATION everything and then"
        " CREATE PUBLICATION everything",
    ]
    assert [str(each) for each in same_structure(before, fingerprint.take(connection)).differences] == [
        "publication everything changed"
    ]


def test_the_owner_of_a_publication_comes_back_where_the_credential_may(database: Database) -> None:
    other = database.role(f"other_{database.name}", member=True)
    granted = f"GRANT CREATE ON DATABASE {database.name} TO {other}"
    database.execute(TABLES, granted, f"ALTER PUBLICATION warehouse OWNER TO {other}")
    before = fingerprint.take(database.connect())
    database.restore(database.dump(), keeping=False)
    database.execute(granted)
    connection = database.connect()
    lost = same_structure(before, fingerprint.take(connection))

    assert put_back(connection, before) == []

    assert "owner of publication warehouse changed" in map(str, lost.differences)
    assert same_structure(before, fingerprint.take(connection)).same


def test_a_publication_of_another_credential_cannot_be_given_back(database: Database) -> None:
    other = database.role(f"other_{database.name}")
    database.execute(f"GRANT CREATE ON DATABASE {database.name} TO {other}")
    database.execute("CREATE PUBLICATION theirs", role=other)

    assert grants.foreign_objects(database.connect()) == [f"publication theirs of {other}"]


def test_a_publication_of_the_platform_is_a_note_whatever_becomes_of_it(database: Database) -> None:
    database.execute("CREATE TABLE orders (id integer)")
    database.superuser("CREATE PUBLICATION platform FOR TABLE orders", "CREATE PUBLICATION every FOR ALL TABLES")
    before = fingerprint.take(database.connect())
    database.restore(database.dump(), keeping=False)
    connection = database.connect()

    found = same_structure(before, fingerprint.take(connection))

    assert grants.foreign_objects(connection) == []
    assert found.same
    assert [str(each) for each in found.notes] == [
        "publication of a superuser every removed",
        "publication of a superuser platform removed",
        "publication platform added",
    ]


def far(database: Database, *mappings: str) -> psycopg.Connection[object]:
    """A foreign server of the owner's, with logins there."""
    database.superuser(
        "CREATE EXTENSION postgres_fdw",
        f"GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO {database.owner}",
    )
    database.execute(
        "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'example.org', dbname 'd')", *mappings
    )
    return database.connect()


ME = "CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (user 'me', password 'hunter2')"
ALL = "CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (password 'hunter3')"


def test_passwords_of_user_mappings_are_kept_as_hashes(database: Database) -> None:
    connection = far(database, ME, ALL)

    found = fingerprint.take(connection)

    assert b"hunter" not in found.to_json()
    digest = hashlib.sha256(b"hunter2").hexdigest()
    assert f"password=sha256 {digest}" in found.schema["user mapping"][f"for {database.owner} server far"]
    assert found.schema["foreign server"]["far"] == "wrapper postgres_fdw options dbname=d, host=example.org"


@pytest.mark.parametrize(
    ("statement", "expected"),
    {
        "ALTER USER MAPPING FOR USER SERVER far OPTIONS (SET password 'x')": "user mapping for me changed",
        "ALTER USER MAPPING FOR USER SERVER far OPTIONS (SET user 'x')": "user mapping for me changed",
        "ALTER USER MAPPING FOR USER SERVER far OPTIONS (DROP user)": "user mapping for me changed",
        "ALTER USER MAPPING FOR PUBLIC SERVER far OPTIONS (SET password 'x')": "user mapping for public changed",
        "DROP USER MAPPING FOR PUBLIC SERVER far": "user mapping for public removed",
        "CREATE USER MAPPING FOR pg_monitor SERVER far": "user mapping for pg_monitor added",
        "ALTER SERVER far OPTIONS (SET host 'elsewhere.org')": "foreign changed",
        "ALTER SERVER far OPTIONS (DROP dbname)": "foreign changed",
    }.items(),
)
def test_a_change_of_a_login_elsewhere_is_a_difference(database: Database, statement: str, expected: str) -> None:
    connection = far(database, ME, ALL)
    before = fingerprint.take(connection)
    database.execute(statement)

    found = compare(before, fingerprint.take(connection))

    (difference,) = map(str, found.differences)
    assert difference.replace(f"for {database.owner}", "for me").replace(" server far", "") == expected


def test_an_option_of_a_server_that_may_be_a_secret_is_kept_as_a_hash(database: Database) -> None:
    database.superuser(
        "CREATE FOREIGN DATA WRAPPER bare",
        "CREATE SERVER far FOREIGN DATA WRAPPER bare"
        " OPTIONS (api_key 'k1', host 'h', access_token 't1', \"Password\" 'p1')",
    )
    connection = database.connect()
    before = fingerprint.take(connection)
    database.superuser("ALTER SERVER far OPTIONS (SET api_key 'k2')")

    after = fingerprint.take(connection)

    document = before.schema["foreign server"]["far"]
    assert not [secret for secret in ("k1", "t1", "p1") if f"={secret}" in document]
    assert "host=h" in document
    assert [str(each) for each in compare(before, after).differences] == ["foreign server far changed"]


def test_options_that_this_credential_cannot_read_are_said_to_be(database: Database) -> None:
    other = database.role(f"other_{database.name}")
    connection = far(database, ME)
    database.superuser(f"CREATE USER MAPPING FOR {other} SERVER far OPTIONS (password 'hunter4')")

    found = fingerprint.take(connection)

    assert found.schema["user mapping"][f"for {other} server far"] == "options unreadable"


@pytest.mark.parametrize("keeping", [False, True], ids=["database dropped", "schemas dropped"])
def test_a_login_elsewhere_of_a_failed_migration_is_dropped(database: Database, *, keeping: bool) -> None:
    database.superuser(f"ALTER ROLE {database.owner} SUPERUSER")  # creates the wrapper's extension in the restore
    connection = far(database, ME)
    before = fingerprint.take(connection)
    dump = database.dump()
    database.execute(ALL, 'CREATE SERVER "Other one" FOREIGN DATA WRAPPER postgres_fdw')
    database.execute('CREATE USER MAPPING FOR pg_monitor SERVER "Other one"')
    database.restore(dump, keeping=keeping)
    connection = database.connect()

    remove_added(connection, before, added(connection, before))

    assert [
        str(each) for each in same_structure(before, fingerprint.take(connection)).differences if each.kind != "grant"
    ] == []
