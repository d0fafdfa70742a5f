"""What reads alike and is not: no `untouched` over a database that differs, and no restore that nothing asks for."""

from __future__ import annotations

import pytest

from heroku_sandbox import App, Reset, Sandbox
from tests.hook import Hook, small_app
from tests.judge import differing, execute, query, whole_picture
from tests.others import Writers

FAIL = "SELECT 1 / 0;\n"

ALIKE: dict[str, tuple[str, str]] = {
    "a column dropped and added": (
        "CREATE TABLE users (id int PRIMARY KEY, city text)",
        "ALTER TABLE users DROP COLUMN city;\nALTER TABLE users ADD COLUMN city text;",
    ),
    "a column dropped and added with a default": (
        "CREATE TABLE users (id int PRIMARY KEY, city text, balance int NOT NULL DEFAULT 0)",
        "ALTER TABLE users DROP COLUMN balance;\nALTER TABLE users ADD COLUMN balance int NOT NULL DEFAULT 0;",
    ),
    "two columns that swap names": (
        "CREATE TABLE users (id int PRIMARY KEY, city text, country text)",
        "ALTER TABLE users RENAME city TO x;\nALTER TABLE users RENAME country TO city;\n"
        "ALTER TABLE users RENAME x TO country;",
    ),
    "two tables that swap names": (
        "CREATE TABLE users (id int PRIMARY KEY, city text);\nCREATE TABLE former (LIKE users INCLUDING ALL)",
        "ALTER TABLE users RENAME TO x;\nALTER TABLE former RENAME TO users;\nALTER TABLE x RENAME TO former;\n"
        "ALTER INDEX users_pkey RENAME TO x;\nALTER INDEX former_pkey RENAME TO users_pkey;\n"
        "ALTER INDEX x RENAME TO former_pkey;",
    ),
    "two schemas that swap names": (
        "CREATE SCHEMA a;\nCREATE SCHEMA b;\nCREATE TABLE a.users (id int, city text);\n"
        "CREATE TABLE b.users (id int, city text)",
        "ALTER SCHEMA a RENAME TO x;\nALTER SCHEMA b RENAME TO a;\nALTER SCHEMA x RENAME TO b;",
    ),
    "two labels of an enum that swap names": (
        "CREATE TYPE mood AS ENUM ('sad', 'ok');\nCREATE TABLE users (id int, city text, mood mood DEFAULT 'sad')",
        "ALTER TYPE mood RENAME VALUE 'sad' TO 'x';\nALTER TYPE mood RENAME VALUE 'ok' TO 'sad';\n"
        "ALTER TYPE mood RENAME VALUE 'x' TO 'ok';",
    ),
    "a sequence that was never used, set on": (
        "CREATE TABLE users (id int, city text);\nCREATE SEQUENCE numbers",
        "SELECT setval('numbers', 4711, false);",
    ),
    "a sequence that was never used, called once": (
        "CREATE TABLE users (id int, city text);\nCREATE SEQUENCE numbers",
        "SELECT setval('numbers', 1, true);",
    ),
    "a sequence that was used, set back": (
        "CREATE TABLE users (id serial PRIMARY KEY, city text);\nSELECT setval('users_id_seq', 40)",
        "SELECT setval('users_id_seq', 7);",
    ),
    "a large object overwritten": (
        "CREATE TABLE users (id int, city text);\nSELECT lo_from_bytea(4711, 'contract')",
        "SELECT lo_put(4711, 0, 'CONTRACT');",
    ),
    "rows rewritten in place": (
        "CREATE TABLE users (id int, city text)",
        "BEGIN;\nCREATE TEMP TABLE kept AS TABLE users;\nTRUNCATE users;\n"
        "INSERT INTO users SELECT id, upper(city) FROM kept;\nCOMMIT;",
    ),
}
"""By name: how the database is made, and a migration after which its structure prints as before."""

AROUND: dict[str, tuple[str, str]] = {
    "a setting of the database": (
        "ALTER DATABASE {d} SET timezone = 'Asia/Tokyo'",
        "ALTER DATABASE {d} SET timezone = 'UTC';",
    ),
    "a new setting of the database": ("SELECT 1", "ALTER DATABASE {d} SET search_path = nowhere;"),
    "a database that is read only from now on": (
        "SELECT 1",
        "ALTER DATABASE {d} SET default_transaction_read_only = on;",
    ),
    "all settings taken back": ("ALTER DATABASE {d} SET work_mem = '7MB'", "ALTER DATABASE {d} RESET ALL;"),
    "a setting of the role in the database": (
        "ALTER ROLE {r} IN DATABASE {d} SET work_mem = '7MB'",
        "ALTER ROLE {r} IN DATABASE {d} SET work_mem = '8MB';",
    ),
    "a setting of the role": ("SELECT 1", "ALTER ROLE {r} SET statement_timeout = '7min';"),
    "the database's comment": ("COMMENT ON DATABASE {d} IS 'ours'", "COMMENT ON DATABASE {d} IS 'mine';"),
    "the database's grants": ("SELECT 1", "GRANT CONNECT, TEMPORARY ON DATABASE {d} TO pg_monitor;"),
    "the database's limit": ("SELECT 1", "ALTER DATABASE {d} CONNECTION LIMIT 77;"),
    "a publication": (
        "CREATE PUBLICATION cdc FOR TABLE learners (id, name) WHERE (points > 7)",
        "ALTER PUBLICATION cdc SET TABLE learners;",
    ),
    "a publication taken away": ("CREATE PUBLICATION cdc FOR TABLE learners", "DROP PUBLICATION cdc;"),
}
"""By name: how it was set, and a migration that sets it otherwise and changes nothing else."""


def at(app: App, text: str) -> str:
    """A text with the names of database and role in it."""
    ((database, role),) = query(app.database_url, "SELECT quote_ident(current_database()), quote_ident(current_user)")
    return text.format(d=database, r=role)


def filled(app: App, schema: str) -> None:
    """Makes tables, and fills those that are called users with rows that are told apart by every value."""
    execute(app.database_url, *schema.split(";\n"))
    for (table,) in query(app.database_url, "SELECT oid::regclass::text FROM pg_class WHERE relname = 'users'"):
        rows = f"SELECT n, '{table} ' || n FROM generate_series(1, 40) AS n"
        execute(app.database_url, f"INSERT INTO {table} (id, city) {rows}")


@pytest.mark.thin(2)
@pytest.mark.parametrize("reset", list(Reset))
@pytest.mark.parametrize("name", ALIKE)
def test_what_prints_alike_and_is_not_the_same_is_seen_and_undone(
    hook: Hook, app: App, sandbox: Sandbox, name: str, reset: Reset
) -> None:
    sandbox.set_options(reset=reset)
    schema, migration = ALIKE[name]
    filled(app, schema)
    small_app(hook.folder, {"001": f"{migration}\n{FAIL}"})
    before = whole_picture(sandbox.superuser_url(app))

    result = hook.run()

    assert result.ended == (1, "restored", "migration_failed")
    assert differing(before, whole_picture(sandbox.superuser_url(app))) == []
    assert app.maintenance() is False


@pytest.mark.thin(2)
@pytest.mark.parametrize("name", AROUND)
def test_settings_that_a_failed_migration_has_left_are_put_back_without_a_restore(
    hook: Hook, app: App, sandbox: Sandbox, name: str
) -> None:
    setup, migration = (at(app, text) for text in AROUND[name])
    execute(app.database_url, setup)
    small_app(hook.folder, {"001": f"{migration}\n{FAIL}"})
    before = whole_picture(sandbox.superuser_url(app))

    result = hook.run()

    catalogs_tell = name.startswith("a publication")
    assert result.ended == (1, "restored" if catalogs_tell else "untouched", "migration_failed")
    assert differing(before, whole_picture(sandbox.superuser_url(app))) == []
    assert bool(sandbox.count("PATCH")) is catalogs_tell


@pytest.mark.thin(2)
@pytest.mark.parametrize("reset", list(Reset))
@pytest.mark.parametrize("name", AROUND)
def test_after_a_restore_the_settings_are_as_they_were_too(
    hook: Hook, app: App, sandbox: Sandbox, name: str, reset: Reset
) -> None:
    sandbox.set_options(reset=reset)
    setup, migration = (at(app, text) for text in AROUND[name])
    execute(app.database_url, setup)
    small_app(hook.folder, {"001": f"ALTER TABLE learners ADD COLUMN age int;\n{migration}\n{FAIL}"})
    before = whole_picture(sandbox.superuser_url(app))

    result = hook.run()

    assert result.ended == (1, "restored", "migration_failed")
    assert differing(before, whole_picture(sandbox.superuser_url(app))) == []


ROLLED_BACK = {
    "an update of all rows": "BEGIN;\nUPDATE learners SET points = 0;\nSELECT 1 / 0;\nCOMMIT;",
    "an insert": "BEGIN;\nINSERT INTO learners (name) SELECT 'n' FROM generate_series(1, 50);\nSELECT 1 / 0;\nCOMMIT;",
    "a delete below a savepoint": "BEGIN;\nSAVEPOINT a;\nDELETE FROM learners;\nROLLBACK TO a;\nUPDATE learners"
    " SET points = 1;\nSELECT 1 / 0;\nCOMMIT;",
    "DDL and data": "BEGIN;\nALTER TABLE learners ADD COLUMN age int;\nUPDATE learners SET age = points;\n"
    "CREATE TABLE courses (id serial PRIMARY KEY);\nSELECT 1 / 0;\nCOMMIT;",
    "a truncate": "BEGIN;\nTRUNCATE learners;\nINSERT INTO learners (id, name) VALUES (1, 'a');\nSELECT 1 / 0;",
    "a copy that fails": "COPY learners (id, name) FROM stdin;\n9001\ta\n9002\tb\n1\tdouble\n\\.\n",
    "a function": "DO $$ BEGIN UPDATE learners SET points = points + 1; RAISE EXCEPTION 'no'; END $$;",
}


@pytest.mark.thin(1)
@pytest.mark.usefixtures("no_autovacuum")
@pytest.mark.parametrize("name", ROLLED_BACK)
def test_rows_that_were_rolled_back_are_no_reason_to_restore(hook: Hook, app: App, sandbox: Sandbox, name: str) -> None:
    small_app(hook.folder, {"001": ROLLED_BACK[name]})
    before = whole_picture(sandbox.superuser_url(app))

    result = hook.run()

    assert result.ended == (1, "untouched", "migration_failed")
    left = differing(before, whole_picture(sandbox.superuser_url(app)))
    assert set(left) <= {"SEQUENCE SET public.learners_id_seq"}, "but for numbers that no rollback gives back"
    assert [each["transfer"] for each in result.named("transfer_started")] == ["b001"]
    assert sandbox.count("PATCH") == 0
    assert sandbox.count("POST", "^.*/restores") == 0


@pytest.mark.parametrize(
    "committed",
    ["SELECT nextval('learners_id_seq') FROM generate_series(1, 9);", "UPDATE learners SET points = points;"],
)
def test_what_was_committed_before_the_rollback_is_undone(
    hook: Hook, app: App, sandbox: Sandbox, committed: str
) -> None:
    small_app(hook.folder, {"001": f"{committed}\nBEGIN;\nUPDATE learners SET points = 0;\n{FAIL}"})
    before = whole_picture(sandbox.superuser_url(app))

    result = hook.run()

    assert result.ended == (1, "restored", "migration_failed")
    assert differing(before, whole_picture(sandbox.superuser_url(app))) == []


@pytest.mark.parametrize("name", ["an update of all rows", "DDL and data"])
def test_beside_another_writer_no_counter_can_claim_a_rollback(
    hook: Hook, app: App, sandbox: Sandbox, name: str
) -> None:
    execute(app.database_url, "CREATE TABLE jobs (token int)")
    small_app(hook.folder, {"001": f"SELECT pg_sleep(0.3);\n{ROLLED_BACK[name]}"})
    before = whole_picture(sandbox.superuser_url(app))

    with Writers(app):
        result = hook.run(RELEASE_WITNESS="off")

    assert result.ended == (1, "restored", "migration_failed")
    assert set(differing(before, whole_picture(sandbox.superuser_url(app)))) <= {"TABLE DATA public.jobs"}
    assert [each["kind"] for each in result.named("transfer_started")] == ["backup", "salvage", "restore"]


@pytest.mark.parametrize("reset", list(Reset))
def test_owners_that_were_given_up_before_are_named_and_no_failure_after(
    hook: Hook, app: App, sandbox: Sandbox, reset: Reset
) -> None:
    sandbox.set_options(reset=reset)
    superuser, tool = sandbox.superuser_url(app), app.add_credential("hightouch")["user"]
    execute(
        superuser,
        f'CREATE SCHEMA tool AUTHORIZATION "{tool}"',
        f'CREATE TABLE tool.syncs (id int); ALTER TABLE tool.syncs OWNER TO "{tool}"',
        f'CREATE VIEW tool.latest AS SELECT * FROM tool.syncs; ALTER VIEW tool.latest OWNER TO "{tool}"',
        "INSERT INTO tool.syncs VALUES (1), (2)",
        at(app, "GRANT USAGE ON SCHEMA tool TO {r}; GRANT SELECT ON ALL TABLES IN SCHEMA tool TO {r}"),
    )
    small_app(hook.folder, {"001": f"ALTER TABLE learners DROP COLUMN points;\n{FAIL}"})
    assert hook.run().ended == (3, "refused", "other_credentials")

    result = hook.run(RELEASE_ALLOW="other-credentials")

    assert result.ended == (1, "restored", "migration_failed")
    said = " ".join(each["detail"] for each in result.named("warning_raised"))
    assert all(
        name in said for name in ("owner of schema tool", "owner of table tool.syncs", "owner of view tool.latest")
    )
    assert query(app.database_url, "SELECT count(*) FROM tool.syncs") == [(2,)]
    assert query(app.database_url, "SELECT count(points) FROM learners") == [(300,)]
