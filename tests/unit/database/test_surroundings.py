"""What belongs to the database as such comes back as it was, to the letter, and what was set in between goes."""

from __future__ import annotations

import pytest

from release.database import fingerprint
from release.database.comparison import same_structure
from release.database.fingerprint import Fingerprint
from release.database.put_back import put_back
from tests.unit.database.conftest import Database

DATABASE, HERE, ROLE = "DATABASE {database}", "ROLE {owner} IN DATABASE {database}", "ROLE {owner}"

WRITABLE = "SET default_transaction_read_only = off"

VALUES = {
    "search_path": ["tenant, public", '"$user", public, heroku_ext', "''", '"Odd "" one", public', '"a, b"', "tenant"],
    "work_mem": ["8192", "'8MB'", "'8192kB'"],
    "statement_timeout": ["'45s'", "60000", "'60s'", "0"],
    "DateStyle": ["'ISO, DMY'", "German"],
    "TimeZone": ["'Europe/Vienna'", "INTERVAL '+02:00' HOUR TO MINUTE"],
    "jit": ["off", "'false'", "0"],
    "extra_float_digits": ["-5"],
    "seq_page_cost": ["1.50"],
    "default_transaction_read_only": ["on"],
    "default_text_search_config": ["'pg_catalog.german'"],
    "application_name": ["''", "'it''s \"me\" \\ '", "E'two\\nlines\\tand a tab'"],
    "password_encryption": ["'md5'"],
    "temp_tablespaces": ["''"],
    "app.tenant": ["''", "'a, b'", "'it''s \"quoted\" \\ = %s {{}}'", "'näïve'", "'42'"],
    "app.name_of.part": ["'x'"],
    '"App"."Odd"': ["'X'"],
    "session_preload_libraries": ["'auto_explain', 'passwordcheck'", "auto_explain"],
}
"""As SET takes them. The last four are a superuser's to keep for a database."""


def alter(database: Database, target: str, action: str) -> str:
    return f"ALTER {target.format(database=database.name, owner=database.owner)} {action}"


def raw(database: Database) -> list[tuple[object, ...]]:
    """What the server keeps, letter by letter, seen from outside."""
    query = """
        SELECT s.setdatabase <> 0, s.setrole::regrole::text, array(SELECT c FROM unnest(s.setconfig) c ORDER BY c)
          FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase
         WHERE d.datname = current_database()
            OR s.setrole = (SELECT datdba FROM pg_database WHERE datname = current_database())
         ORDER BY 1, 2"""
    return database.server_session().execute(query).fetchall()


def notes(before: Fingerprint, database: Database) -> list[str]:
    found = same_structure(before, fingerprint.take(database.connect()))
    assert found.differences == ()
    return [str(each) for each in found.notes if each.kind != "owner"]


TARGETS = pytest.mark.parametrize("target", [DATABASE, HERE, ROLE])


@TARGETS
@pytest.mark.parametrize("turn", range(max(map(len, VALUES.values()))))
def test_settings_come_back_to_the_letter(database: Database, target: str, turn: int) -> None:
    superuser = database.server_session()
    for setting, values in VALUES.items():
        value = values[turn % len(values)]
        action = f"SET TIME ZONE {value}" if value.startswith("INTERVAL") else f"SET {setting} = {value}"
        superuser.execute(alter(database, target, action).encode())
    kept = raw(database)
    before = fingerprint.take(database.connect())
    database.reset()
    database.superuser(WRITABLE, alter(database, target, "RESET ALL"))
    assert raw(database) != kept

    assert put_back(database.server_session(), before) == []

    assert raw(database) == kept
    assert notes(before, database) == []
    assert len(before.surroundings["setting"]) == len(VALUES)


@TARGETS
def test_what_a_credential_may_set_it_may_put_back(database: Database, target: str) -> None:
    ours = {name: values for name, values in VALUES.items() if "." not in name and "preload" not in name}
    database.execute(*(alter(database, target, f"SET {name} = {values[0]}") for name, values in ours.items()))
    kept = raw(database)
    before = fingerprint.take(database.connect())
    database.reset()
    database.execute(WRITABLE, alter(database, target, "RESET ALL"))

    assert put_back(database.connect(), before) == []

    assert raw(database) == kept


@TARGETS
def test_settings_of_a_failed_migration_go(database: Database, target: str) -> None:
    database.execute(alter(database, target, "SET jit_above_cost = 7"))
    kept = raw(database)
    before = fingerprint.take(database.connect())
    database.superuser(*(alter(database, target, f"SET {name} = {values[0]}") for name, values in VALUES.items()))
    database.superuser(WRITABLE, alter(database, target, "SET jit_above_cost = 8"))
    changed = notes(before, database)

    assert put_back(database.server_session(), before) == []

    assert len(changed) == len(VALUES) + 1
    assert raw(database) == kept
    assert notes(before, database) == []


def test_a_value_that_was_kept_by_hand_is_put_back_by_hand(database: Database) -> None:
    """A list that SET would never write so, but set_config() does."""
    with database.connect() as connection:
        connection.execute("SELECT set_config('search_path', 'tenant ,public', false)")
        connection.execute(alter(database, DATABASE, "SET search_path FROM CURRENT").encode())
    kept = raw(database)
    before = fingerprint.take(database.connect())
    database.reset()

    assert put_back(database.connect(), before) == []

    assert raw(database) == kept
    assert "search_path=tenant ,public" in str(kept)


def test_all_that_a_reset_loses_of_the_database_itself_comes_back(database: Database) -> None:
    reader = database.role(f"reader_{database.name}")
    database.execute(
        "CREATE TABLE a (id integer)",
        alter(database, DATABASE, "SET search_path = tenant, public"),
        alter(database, HERE, "SET work_mem = '8MB'"),
        f"COMMENT ON DATABASE {database.name} IS 'it''s \"ours\" \\ %s {{}}'",
        f"ALTER DATABASE {database.name} CONNECTION LIMIT 17",
        f"GRANT TEMPORARY ON DATABASE {database.name} TO {reader}",
        f"REVOKE ALL ON DATABASE {database.name} FROM PUBLIC",
    )
    before = fingerprint.take(database.connect())
    database.restore(database.dump(), keeping=False)
    database.execute(alter(database, DATABASE, 'SET search_path = "$user", public, heroku_ext'))
    lost = notes(before, database)

    assert put_back(database.connect(), before) == []

    assert sorted(lost) == [
        "database comment removed",
        "database connection limit removed",
        "grant on database to public changed",
        f"grant on database to reader_{database.name} removed",
        "setting search_path of the database changed",
        f"setting work_mem of role {database.owner} in the database removed",
    ]
    assert notes(before, database) == []


def test_all_that_a_failed_migration_does_to_the_database_itself_goes(database: Database) -> None:
    before = fingerprint.take(database.connect())
    kept = database.server_session().execute("SELECT datacl, datconnlimit FROM pg_database").fetchall()
    database.execute(
        f"COMMENT ON DATABASE {database.name} IS 'v2'",
        f"ALTER DATABASE {database.name} CONNECTION LIMIT 5",
        f"GRANT CREATE ON DATABASE {database.name} TO PUBLIC",
        alter(database, DATABASE, "SET search_path = pg_catalog"),
        alter(database, ROLE, "SET statement_timeout = '1s'"),
        alter(database, HERE, "SET default_transaction_read_only = on"),
    )

    assert put_back(database.connect(), before) == []

    assert notes(before, database) == []
    found = database.server_session().execute("SELECT datacl, datconnlimit FROM pg_database").fetchall()
    assert [limit for _, limit in found] == [limit for _, limit in kept]


SECRETS = {
    "app.jwt_secret": "s3cr3t",
    "app.api_key": "short",
    "pgrst.jwt": "qz-7",
    "app.dsn": "host=x",
    "app.settings.passphrase": "open sesame",
    "app.upstream": "https://me:hunter2@example.org/",
    "application_name": "postgres://me:hunter2@example.org/",
    "app.words": "password=hunter2 host=x",
    "app.id": "eyJhbGciOiJIUzI1NiJ9abc",
    "app.tenant": "0f8fad5b-d9cb-469f-a165-70867728950e",
}


def test_values_that_may_be_secrets_are_hashed_and_said_to_be_lost(database: Database) -> None:
    database.superuser(*(alter(database, DATABASE, f"SET {name} = '{value}'") for name, value in SECRETS.items()))
    before = fingerprint.take(database.connect())
    database.reset()

    problems = put_back(database.connect(), before)

    assert not [value for value in SECRETS.values() if value.encode() in before.to_json()]
    assert problems == [
        f"setting {name} of the database is not what it was, and may be a secret, so that only a hash of its value"
        f" was kept: set it again with ALTER DATABASE {database.name} SET {name} = …"
        for name in sorted(SECRETS)
    ]
    assert notes(before, database) == [f"setting {name} of the database removed" for name in sorted(SECRETS)]


def test_a_secret_that_a_failed_migration_set_goes_without_a_word(database: Database) -> None:
    before = fingerprint.take(database.connect())
    database.superuser(alter(database, DATABASE, "SET app.jwt_secret = 's3cr3t'"))

    assert put_back(database.server_session(), before) == []

    assert notes(before, database) == []


def test_a_secret_that_is_still_there_is_left_alone(database: Database) -> None:
    database.superuser(alter(database, DATABASE, "SET app.jwt_secret = 's3cr3t'"))
    kept = raw(database)
    before = fingerprint.take(database.connect())

    assert put_back(database.connect(), before) == []

    assert raw(database) == kept


def test_what_only_a_superuser_may_set_is_named_and_costs_nothing_else(database: Database) -> None:
    other = database.role(f"other_{database.name}")
    database.superuser(
        f"ALTER DATABASE {database.name} SET log_min_duration_statement = '2s'",
        f"ALTER ROLE {other} IN DATABASE {database.name} SET work_mem = '9MB'",
        f"ALTER DATABASE {database.name} SET work_mem = '7MB'",
        f"ALTER DATABASE {database.name} SET session_preload_libraries = 'auto_explain'",
        f"ALTER DATABASE {database.name} SET app.tenant = 'one'",
    )
    before = fingerprint.take(database.connect())
    database.reset()
    connection = database.connect()

    problems = put_back(connection, before)

    assert [problem.split(":")[0] for problem in problems] == [
        "setting app.tenant of the database",
        "setting log_min_duration_statement of the database",
        "setting session_preload_libraries of the database",
        f"setting work_mem of role {other} in the database",
    ]
    assert all("permission denied" in problem for problem in problems)
    assert not [problem for problem in problems if "2s" in problem or "9MB" in problem]
    assert "setting work_mem of the database removed" not in notes(before, database)
    assert put_back(database.server_session(), before) == []


def test_a_message_that_quotes_the_value_is_not_passed_on(database: Database) -> None:
    database.superuser(alter(database, DATABASE, "SET jit = off"))
    before = fingerprint.take(database.connect())
    before.surroundings["setting"]["DateStyle of the database"] = "nonsense"
    before.surroundings["setting"]["work_mem of the database"] = "nonsense"

    assert put_back(database.connect(), before) == [
        "setting DateStyle of the database: refused with SQLSTATE 22023",
        "setting work_mem of the database: refused with SQLSTATE 22023",
    ]


def test_what_is_named_in_another_way_is_said_and_nothing_is_reset(database: Database) -> None:
    before = fingerprint.take(database.connect())
    before.surroundings.setdefault("setting", {})["search_path"] = "public"

    (problem,) = put_back(database.connect(), before)

    assert problem.startswith("setting search_path: another version of this program named it so")


def test_names_of_roles_and_databases_are_quoted(database: Database) -> None:
    role = database.role('"Odd ""Role, in the database"', member=True)
    database.superuser(
        f"ALTER ROLE {role} SET jit = off", f"ALTER ROLE {role} IN DATABASE {database.name} SET jit = on"
    )
    before = fingerprint.take(database.connect())
    database.superuser(f"ALTER ROLE {role} RESET ALL", f"ALTER ROLE {role} IN DATABASE {database.name} RESET ALL")

    assert put_back(database.server_session(), before) == []

    assert notes(before, database) == []
    assert len(before.surroundings["setting"]) == 2


def test_settings_of_roles_that_are_none_of_this_credential_s_are_not_looked_at(database: Database) -> None:
    other = database.role(f"other_{database.name}")
    database.superuser(f"ALTER ROLE {other} SET jit = off")

    assert "setting" not in fingerprint.take(database.connect()).surroundings


def test_a_database_that_lets_nobody_write_any_more_is_put_back(database: Database) -> None:
    before = fingerprint.take(database.connect())
    database.execute(alter(database, DATABASE, "SET default_transaction_read_only = on"))
    connection = database.connect()
    assert connection.execute("SHOW default_transaction_read_only").fetchall() == [("on",)]

    assert put_back(connection, before) == []

    assert notes(before, database) == []
