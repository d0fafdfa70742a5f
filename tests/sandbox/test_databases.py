"""What stands in a database besides the app's own: as Heroku's look, whatever has been done to them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import psycopg
import pytest
from psycopg import errors

from heroku_sandbox import App, Reset, Sandbox, addons
from release.database import fingerprint
from tests.hook import POSTGRES_BIN
from tests.judge import execute, picture, query
from tests.sandbox.conftest import HEROKUS_OWN, capture, restore

FUNCTIONS = [
    "create_ext",
    "drop_ext",
    "extension_before_drop",
    "pg_stat_statements_reset",
    "postgis_after_create",
    "validate_extension",
]
TRIGGERS = [
    ("extension_before_drop", "ddl_command_start", "extension_before_drop"),
    ("log_create_ext", "ddl_command_end", "create_ext"),
    ("log_drop_ext", "sql_drop", "drop_ext"),
    ("validate_extension", "ddl_command_end", "validate_extension"),
]
TABLE = "CREATE TABLE learners AS SELECT n AS id FROM generate_series(1, 1000) AS n"


def furnished(url: str) -> bool:
    """Whether all that is Heroku's is there, and is Heroku's."""
    schema = "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = '_heroku'"
    functions = (
        "SELECT proname::text, pg_get_userbyid(proowner)::text FROM pg_proc"
        " WHERE pronamespace = '_heroku'::regnamespace ORDER BY 1"
    )
    triggers = (
        "SELECT evtname::text, evtevent::text, evtfoid::regproc::text, evtenabled::text"
        " FROM pg_event_trigger ORDER BY 1"
    )
    extension = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pg_stat_statements'"
    reset = "SELECT has_function_privilege(oid, 'EXECUTE') FROM pg_proc WHERE proname = 'pg_stat_statements_reset'"
    return (
        query(url, schema) == [("heroku_admin",)]
        and query(url, functions) == [(name, "heroku_admin") for name in FUNCTIONS]
        and query(url, triggers) == [(name, when, f"_heroku.{what}", "O") for name, when, what in TRIGGERS]
        and query(url, extension) == [("heroku_ext",)]
        and query(url, reset) == [(True,), (True,)]
    )


@pytest.mark.parametrize("plan", ["essential-0", "standard-0", "premium-0", "private-0", "advanced"])
def test_a_database_of_any_plan_holds_what_herokus_hold(sandbox: Sandbox, plan: str) -> None:
    app = sandbox.create_app(f"plan-{plan}", plan=plan)

    assert furnished(app.database_url)


def test_sessions_that_the_sandbox_keeps_may_be_ended(sandbox: Sandbox, app: App) -> None:
    """It keeps those on the maintenance database, of which another database is made."""
    kept = "FROM pg_stat_activity WHERE application_name = 'release-sandbox' AND datname = 'postgres'"
    assert query(sandbox.superuser_url(), f"SELECT count(*) > 0 {kept}") == [(True,)]
    execute(sandbox.superuser_url(), f"SELECT pg_terminate_backend(pid, 5000) {kept}")

    assert furnished(sandbox.create_app("after-that").database_url)
    assert furnished(app.database_url)


@pytest.mark.parametrize("how", Reset)
def test_it_is_there_after_a_reset_and_after_a_restore(sandbox: Sandbox, app: App, how: Reset) -> None:
    sandbox.set_options(reset=how)
    execute(app.database_url, TABLE)
    before = picture(sandbox.superuser_url(app))

    done = restore(app, capture(app))

    assert (done["succeeded"], done["warnings"]) == (True, HEROKUS_OWN)
    assert furnished(app.database_url)
    # `CREATE SCHEMA` does not grant what initdb does; to put grants back is not the restore's business.
    execute(app.database_url, "GRANT USAGE ON SCHEMA public TO PUBLIC")
    assert picture(sandbox.superuser_url(app)) == before
    app.connection.request("PUT", f"/client/v11/databases/{app.addon_id}/reset", {})
    assert furnished(app.database_url)


@pytest.mark.parametrize("kind", ["fork", "follow"])
def test_a_copy_of_a_database_holds_it_too(app: App, kind: str) -> None:
    execute(app.database_url, TABLE)

    copy = app.add_database(plan="standard-0", **{kind: "DATABASE_URL"})

    assert furnished(copy["url"])
    assert query(copy["url"], "SELECT count(*) FROM learners") == [(1000,)]


def test_a_dump_by_the_default_credential_holds_all_of_it(app: App) -> None:
    command = [str(POSTGRES_BIN / "pg_dump"), "--no-owner", "--no-privileges", "--exclude-schema=heroku_ext"]
    dump = subprocess.run([*command, app.database_url], check=True, capture_output=True, text=True).stdout

    made = sorted(re.findall(r"^CREATE (SCHEMA|EVENT TRIGGER|FUNCTION|EXTENSION)", dump, re.MULTILINE))
    assert made == ["EVENT TRIGGER"] * 4 + ["EXTENSION"] + ["FUNCTION"] * len(FUNCTIONS) + ["SCHEMA"]
    assert "CREATE EXTENSION IF NOT EXISTS pg_stat_statements WITH SCHEMA heroku_ext" in dump


def test_only_heroku_can_make_or_change_it(app: App) -> None:
    for statement in (
        "CREATE FUNCTION _heroku.mine() RETURNS int LANGUAGE sql RETURN 1",
        "DROP SCHEMA _heroku CASCADE",
        "ALTER EVENT TRIGGER log_create_ext DISABLE",
        "DROP EVENT TRIGGER log_create_ext",
        "DROP EXTENSION pg_stat_statements",
        "SELECT _heroku.postgis_after_create()",
        "SET ROLE heroku_admin",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            execute(app.database_url, statement)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(app.database_url.replace(app.database_url.split("/")[2].split(":")[0], "heroku_admin"))


@pytest.mark.parametrize("schema", ["public", "heroku_ext", "mine"])
def test_the_owner_creates_and_drops_extensions_wherever_he_likes_but_there(app: App, schema: str) -> None:
    execute(app.database_url, "CREATE SCHEMA mine", f"CREATE EXTENSION citext SCHEMA {schema}")
    execute(app.database_url, "CREATE TABLE seen (email mine.citext)".replace("mine", schema), "DROP TABLE seen")
    execute(app.database_url, "ALTER EXTENSION citext UPDATE", "DROP EXTENSION citext")

    with pytest.raises(errors.RaiseException, match="Creating extensions in the _heroku schema is not allowed"):
        execute(app.database_url, "CREATE EXTENSION citext SCHEMA _heroku")
    with pytest.raises(errors.RaiseException, match="The plpgsql extension is required"):
        execute(app.database_url, "DROP EXTENSION IF EXISTS plpgsql CASCADE")
    assert query(app.database_url, "SELECT count(*) FROM pg_extension WHERE extname = 'citext'") == [(0,)]


def test_what_an_extension_brought_is_the_owners_and_the_servers_log_says_so(sandbox: Sandbox, app: App) -> None:
    execute(app.database_url, "CREATE EXTENSION dict_int", "ALTER TEXT SEARCH DICTIONARY intdict (maxlen = 4)")
    execute(app.database_url, "DROP EXTENSION dict_int")

    log = (sandbox.home / "postgres.log").read_text()
    assert "extension dict_int created in public by u" in log
    assert "extension dict_int dropped by u" in log


def test_statistics_of_statements_are_kept_and_can_be_reset(app: App) -> None:
    execute(app.database_url, "SELECT 1 AS seldom_seen")
    seen = "SELECT count(*) FROM pg_stat_statements WHERE query LIKE 'SELECT $1 AS seldom_seen'"
    assert query(app.database_url, seen) == [(1,)]

    execute(app.database_url, "SELECT _heroku.pg_stat_statements_reset()")

    assert query(app.database_url, seen) == [(0,)]


def schema(app: App) -> dict[str, dict[str, str]]:
    """What the hook sees of the database's structure, by kind and name."""
    with psycopg.connect(app.database_url) as session:
        return fingerprint.read_schema(session)


@pytest.mark.parametrize("how", Reset)
def test_the_fingerprint_shows_none_of_it_but_the_triggers(sandbox: Sandbox, app: App, how: Reset) -> None:
    sandbox.set_options(reset=how)
    execute(app.database_url, TABLE, "CREATE EXTENSION hstore")
    before = schema(app)
    seen = [f"{kind} {name}" for kind, named in before.items() for name in named]
    assert "table public.learners" in seen
    assert [each for each in seen if "heroku" in each] == []

    restore(app, capture(app))

    after = schema(app)
    if how is Reset.SCHEMAS:  # a schema that was created anew has no grants, as those of other roles are gone, too
        after.setdefault("grants", {}).setdefault("schema public", before["grants"]["schema public"])
    assert after == before


SURVIVES: dict[str, tuple[Callable[[App], str], str]] = {
    "a setting of the database": (
        lambda app: f"ALTER DATABASE \"{app.database_url.rpartition('/')[2]}\" SET statement_timeout = '7s'",
        "SELECT setting FROM pg_settings WHERE name = 'statement_timeout' AND setting = '7000'",
    ),
    "its own search path": (
        lambda app: f'ALTER DATABASE "{app.database_url.rpartition("/")[2]}" SET search_path = elsewhere, public',
        "SELECT 1 WHERE current_setting('search_path') = 'elsewhere, public'",
    ),
    "a publication": (
        lambda _: "CREATE PUBLICATION warehouse FOR TABLE learners",
        "SELECT pubname FROM pg_publication",
    ),
}


@pytest.mark.parametrize("what", SURVIVES)
@pytest.mark.parametrize("how", Reset)
def test_a_reset_of_schemas_leaves_what_is_the_databases_own(sandbox: Sandbox, app: App, how: Reset, what: str) -> None:
    make, ask = SURVIVES[what]
    sandbox.set_options(reset=how)
    execute(app.database_url, TABLE, make(app))
    assert query(app.database_url, ask)

    app.connection.request("PUT", f"/client/v11/databases/{app.addon_id}/reset", {})

    assert bool(query(app.database_url, ask)) is (how is Reset.SCHEMAS)


def test_passwords_are_hashed_as_often_as_other_drivers_want(app: App, sandbox: Sandbox) -> None:
    """Go's lib/pq and Python's scramp refuse fewer than 4,096 iterations."""
    role = app.add_credential("driver")["user"]
    for name in (app.database_url.split("/")[2].split(":")[0], role):
        verifier = query(sandbox.superuser_url(), f"SELECT rolpassword FROM pg_authid WHERE rolname = '{name}'")
        assert str(verifier[0][0]).startswith("SCRAM-SHA-256$4096:")


def test_a_name_that_is_made_up_is_never_another_addons(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([1, 1, 2])
    monkeypatch.setattr(addons, "_NAMES", ("deep",))
    monkeypatch.setattr("secrets.randbelow", lambda _: next(drawn))

    first = addons._free_name_outside(set())

    assert (first, addons._free_name_outside({first})) == ("postgresql-deep-10001", "postgresql-deep-10002")


def test_a_database_goes_with_its_app_whatever_clings_to_it(app: App, sandbox: Sandbox) -> None:
    inside = sandbox.superuser_url(app)
    wants = "CONNECTION 'host=127.0.0.1 dbname=nothing' PUBLICATION p WITH (connect = false, slot_name = NONE)"
    execute(inside, f"CREATE SUBSCRIPTION s_{app.addon_id[:8]} {wants}")
    execute(app.database_url, "BEGIN; CREATE TABLE t (n int); PREPARE TRANSACTION 'left'")
    name = app.database_url.rpartition("/")[2]

    app.connection.request("DELETE", f"/apps/{app.id}")

    assert query(sandbox.superuser_url(), f"SELECT FROM pg_database WHERE datname = '{name}'") == []
