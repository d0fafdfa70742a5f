"""Backups and restores: real dumps, with Heroku's habits."""

from __future__ import annotations

import time

import psycopg
import pytest
from psycopg import errors

from heroku_sandbox import App, Failure, Sandbox, TransferAction
from tests.judge import execute, query
from tests.sandbox.conftest import HEROKUS_OWN, capture, ended, restore, wait_until

TABLE = "CREATE TABLE learners AS SELECT n AS id FROM generate_series(1, 1000) AS n"
DROPPED_FIRST = 24
"""Warnings of a restore with `--clean`: what is Heroku's can neither be dropped nor created."""


def test_a_backup_goes_from_pending_to_running_to_finished(sandbox: Sandbox, app: App) -> None:
    sandbox.set_options(pending_seconds=0.2, transfer_seconds=0.4)
    execute(app.database_url, TABLE)

    made = app.connection.request("POST", f"/client/v11/databases/{app.addon_name}/backups")
    seen = []
    while "finished" not in seen:
        now = app.connection.request("GET", f"/client/v11/apps/{app.id}/transfers/{made['num']}")
        state = "finished" if now["finished_at"] else "running" if now["started_at"] else "pending"
        seen += [state] if state not in seen else []
    sandbox.set_options(pending_seconds=0, transfer_seconds=0)

    assert seen == ["pending", "running", "finished"]
    assert (made["from_type"], made["to_type"], made["num"], made["succeeded"]) == ("pg_dump", "gof3r", 1, None)
    assert (now["succeeded"], now["warnings"], now["from_name"]) == (True, 0, "DATABASE")
    assert now["processed_bytes"] > 0
    assert "schedule" not in now
    assert "logs" not in now


def test_verbose_shows_the_log_of_pg_dump(app: App) -> None:
    execute(app.database_url, TABLE)
    backup = capture(app)

    found = app.connection.request("GET", f"/client/v11/apps/{app.name}/transfers/{backup['uuid']}?verbose=true")

    messages = [line["message"] for line in found["logs"]]
    assert 'pg_dump: dumping contents of table "public.learners"' in messages
    assert messages[-2:] == ["pg_dump done", "upload done"]


def test_a_restore_brings_back_what_was_there_and_nothing_else(app: App) -> None:
    user = app.add_credential("analyst")["user"]
    execute(app.database_url, TABLE, f'GRANT SELECT ON learners TO "{user}"')
    backup = capture(app)
    execute(app.database_url, "DELETE FROM learners", "CREATE TABLE newer ()", "CREATE SCHEMA later")

    done = restore(app, backup)

    assert (done["succeeded"], done["warnings"], done["from_type"]) == (True, HEROKUS_OWN, "gof3r")
    assert query(app.database_url, "SELECT count(*) FROM learners") == [(1000,)]
    gone = "SELECT to_regclass('newer')::text, to_regnamespace('later')::text"
    assert query(app.database_url, gone) == [(None, None)]
    # As on Heroku the grants of other credentials are gone.
    assert query(app.database_url, f"SELECT has_table_privilege('{user}', 'learners', 'SELECT')") == [(False,)]


@pytest.mark.parametrize("how", ["database", "schemas"])
def test_both_ways_of_resetting_end_empty_and_owned_as_before(sandbox: Sandbox, app: App, how: str) -> None:
    execute(app.database_url, TABLE, "CREATE SCHEMA more", "CREATE TYPE more.mood AS ENUM ('good')")
    sandbox.set_options(reset=how)

    answer = app.connection.request("PUT", f"/client/v11/databases/{app.addon_id}/reset", {"extensions": ["hstore"]})

    assert answer == {"message": "Reset successful."}
    names = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1"
    assert query(app.database_url, names) == [("_heroku",), ("heroku_ext",), ("public",)]
    assert query(app.database_url, "SELECT count(*) FROM pg_extension WHERE extname = 'hstore'") == [(1,)]
    execute(app.database_url, TABLE)


def test_errors_that_pg_restore_ignores_are_warnings_of_a_success(sandbox: Sandbox, app: App) -> None:
    # An extension that only a superuser may create: Heroku allows it, but not its comment.
    execute(sandbox.superuser_url(app), "CREATE EXTENSION dblink")
    execute(app.database_url, TABLE)

    done = restore(app, capture(app))

    assert (done["succeeded"], done["warnings"]) == (True, HEROKUS_OWN + 1)
    assert query(app.database_url, "SELECT count(*) FROM learners") == [(1000,)]


def test_the_default_credential_is_no_superuser_but_owns_its_database(app: App) -> None:
    assert query(
        app.database_url,
        "SELECT rolsuper, rolcreatedb, rolcreaterole, pg_has_role('pg_signal_backend', 'member'),"
        " pg_has_role('pg_read_all_stats', 'member'), pg_has_role('pg_monitor', 'member')"
        " FROM pg_roles WHERE rolname = current_user",
    ) == [(False, False, False, True, True, True)]
    execute(app.database_url, "CREATE SCHEMA mine", "CREATE EXTENSION hstore SCHEMA heroku_ext")
    with pytest.raises(errors.InsufficientPrivilege):
        execute(app.database_url, "CREATE DATABASE another")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(app.database_url.replace(":p", ":wrong"))


def test_older_manual_backups_are_dropped_after_a_new_one_has_succeeded(sandbox: Sandbox) -> None:
    app = sandbox.create_app("keeps-two", num_keep=2)

    backups = [capture(app) for _ in range(3)]

    assert [each["uuid"] for each in app.transfers()] == [each["uuid"] for each in backups[1:]]


def test_scheduled_backups_are_marked_and_do_not_count(sandbox: Sandbox) -> None:
    app = sandbox.create_app("keeps-scheduled", num_keep=1)

    scheduled = ended(app, app.scheduled_backup())
    manual = capture(app)

    assert "uuid" in scheduled["schedule"]
    assert [each["uuid"] for each in app.transfers()] == [scheduled["uuid"], manual["uuid"]]


def test_a_failed_backup_drops_none(sandbox: Sandbox) -> None:
    app = sandbox.create_app("keeps-one", num_keep=1)
    first = capture(app)
    sandbox.transfer_fault("backup", TransferAction.FAIL)

    second = capture(app)

    assert second["succeeded"] is False
    assert first["uuid"] in [each["uuid"] for each in app.transfers()]


def test_transfers_are_listed_under_the_billing_app_only(sandbox: Sandbox, app: App) -> None:
    other = sandbox.create_app("attached-elsewhere", plan="none")
    body = {"addon": app.addon_name, "app": other.name, "name": "SHARED"}
    app.connection.request("POST", "/addon-attachments", body)

    backup = capture(app)

    assert [each["uuid"] for each in app.transfers()] == [backup["uuid"]]
    assert other.transfers() == []
    with pytest.raises(Failure, match="Not Found"):
        other.connection.request("GET", f"/client/v11/apps/{other.name}/transfers/1")


def test_a_canceled_transfer_is_finished_and_has_not_succeeded(sandbox: Sandbox, app: App) -> None:
    sandbox.transfer_fault("backup", TransferAction.STUCK_RUNNING)
    made = app.connection.request("POST", f"/client/v11/databases/{app.addon_id}/backups")
    path = f"/client/v11/apps/{app.name}/transfers/{made['uuid']}"
    wait_until(lambda: app.connection.request("GET", path)["started_at"])

    canceled = app.connection.request("POST", f"{path}/actions/cancel")

    assert canceled["canceled_at"] == canceled["finished_at"]
    assert canceled["succeeded"] is False
    with pytest.raises(Failure, match="already finished"):
        app.connection.request("POST", f"{path}/actions/cancel")


def test_a_deleted_backup_is_gone(app: App) -> None:
    backup = capture(app)

    app.connection.request("DELETE", f"/client/v11/apps/{app.name}/transfers/{backup['num']}")

    assert app.transfers() == []
    assert app.connection.exchange("GET", f"/client/v11/apps/{app.name}/transfers/1")[0] == 404


def test_a_restore_from_elsewhere_is_refused(app: App) -> None:
    path = f"/client/v11/databases/{app.addon_id}/restores"

    with pytest.raises(Failure) as refusal:
        app.connection.request("POST", path, {"backup_url": "https://dumps.example.com/mine.dump"})

    assert refusal.value.status == 422


def test_advanced_databases_have_no_backups(sandbox: Sandbox) -> None:
    app = sandbox.create_app("advanced", plan="advanced")

    status, _, _ = app.connection.exchange("POST", f"/client/v11/databases/{app.addon_id}/backups")

    assert status == 404


def test_a_follower_says_whom_it_follows_and_takes_no_writes_until_it_stops(app: App) -> None:
    execute(app.database_url, TABLE)
    follower = app.add_database(plan="standard-0", follow="DATABASE_URL")

    found = app.connection.request("GET", f"/client/v11/databases/{follower['id']}")

    assert found["following"] == app.database_url
    assert follower["attached_as"] == ["HEROKU_POSTGRESQL_AMBER"]
    assert query(follower["url"], "SELECT count(*) FROM learners") == [(1000,)]
    with pytest.raises(errors.ReadOnlySqlTransaction):
        execute(follower["url"], "DELETE FROM learners")
    owner = "SELECT pg_get_userbyid(datdba) = current_user FROM pg_database WHERE datname = current_database()"
    assert query(app.database_url, owner) == query(follower["url"], owner) == [(True,)]
    app.connection.request("PUT", f"/client/v11/databases/{follower['id']}/unfollow")
    execute(follower["url"], "DELETE FROM learners")


def test_a_copy_fills_another_database(app: App) -> None:
    execute(app.database_url, TABLE)
    target = app.add_database(plan="standard-0")

    body = {"from_name": "DATABASE", "from_url": app.database_url, "to_name": "AMBER", "to_url": target["url"]}
    made = app.connection.request("POST", f"/client/v11/databases/{target['id']}/transfers", body)

    assert ended(app, made)["succeeded"] is True
    assert query(target["url"], "SELECT count(*) FROM learners") == [(1000,)]


@pytest.mark.parametrize(
    ("action", "succeeded", "warnings", "learners", "newer"),
    [
        (TransferAction.KEEP_OBJECTS, True, DROPPED_FIRST, 1000, True),
        (TransferAction.HALF, False, 0, None, False),
        (TransferAction.WIPE, False, 0, None, False),
        (TransferAction.FAIL, False, 0, None, False),
        (TransferAction.WARN, True, 1, 1000, False),
        (TransferAction.EVICT, False, 0, 1001, True),
        (TransferAction.CANCEL, False, 0, None, False),
    ],
)
def test_restores_can_be_bad(
    sandbox: Sandbox,
    app: App,
    action: TransferAction,
    succeeded: bool,
    warnings: int,
    learners: int | None,
    newer: bool,
) -> None:
    execute(app.database_url, TABLE, "CREATE TABLE first AS SELECT 1 AS n", "CREATE INDEX ON learners (id)")
    backup = capture(app)
    execute(app.database_url, "INSERT INTO learners VALUES (1001)", "CREATE TABLE newer ()")
    sandbox.transfer_fault("restore", action)

    done = restore(app, backup)

    assert done["succeeded"] is succeeded
    assert done["warnings"] == warnings
    assert bool(done["canceled_at"]) is (action is TransferAction.CANCEL)
    assert query(app.database_url, "SELECT to_regclass('newer') IS NOT NULL") == [(newer,)]
    if learners is None:
        rows = query(app.database_url, "SELECT coalesce(to_regclass('learners_id_idx')::text, '')")
        assert rows == [("",)]
    else:
        assert query(app.database_url, "SELECT count(*) FROM learners") == [(learners,)]
    assert [each["action"] for each in sandbox.fired()] == [action]


def test_backups_can_be_bad(sandbox: Sandbox, app: App) -> None:
    execute(app.database_url, TABLE)
    sandbox.transfer_fault("backup", TransferAction.EMPTY)
    empty = capture(app)
    assert (empty["succeeded"], empty["processed_bytes"]) == (True, 0)

    sandbox.transfer_fault("backup", TransferAction.LATE_BYTES, seconds=0.1)
    late = capture(app)
    assert (late["succeeded"], late["processed_bytes"]) == (True, 0)
    time.sleep(0.3)
    assert app.transfers()[-1]["processed_bytes"] > 0

    sandbox.transfer_fault("backup", TransferAction.VANISH)
    made = app.connection.request("POST", f"/client/v11/databases/{app.addon_id}/backups")
    wait_until(lambda: made["uuid"] not in [each["uuid"] for each in app.transfers()])

    sandbox.transfer_fault("backup", TransferAction.STUCK_PENDING)
    made = app.connection.request("POST", f"/client/v11/databases/{app.addon_id}/backups")
    time.sleep(0.3)
    assert app.transfers()[-1]["started_at"] is None
