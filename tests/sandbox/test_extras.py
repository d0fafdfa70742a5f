"""What can be added to a database and asked of it: a pool, links, settings, reports, windows."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from heroku_sandbox import App, Failure, Sandbox
from heroku_sandbox.maintenance_api import window_of
from heroku_sandbox.pooling import Pooler
from tests.judge import execute, query
from tests.sandbox.conftest import wait_until

needs_pgbouncer = pytest.mark.skipif(not Pooler.program(), reason="this machine has no pgbouncer (Debian: pgbouncer)")


def ask(app: App, method: str, path: str, body: Any = None, addon: str | None = None) -> Any:
    """The answer of the Data API about the app's database, or another."""
    return app.connection.request(method, f"/client/v11/databases/{addon or app.addon_id}{path}", body)


@needs_pgbouncer
def test_a_pool_leads_to_the_database_and_follows_its_password(app: App) -> None:
    attached = ask(app, "POST", "/connection-pooling", {"app": app.name, "credential": "default"})
    assert (attached["name"], attached["namespace"]) == ("DATABASE_CONNECTION_POOL", "connection-pooling:default")
    pooled = app.config["DATABASE_CONNECTION_POOL_URL"]
    execute(app.database_url, "CREATE TABLE seen (id int)")

    assert query(pooled, "SELECT count(*) FROM seen") == [(0,)]
    assert pooled.split("@")[0] == app.database_url.split("@")[0]
    assert pooled != app.database_url
    app.connection.request("POST", f"/postgres/v0/databases/{app.addon_id}/credentials/default/credentials_rotation")

    renewed = app.config["DATABASE_CONNECTION_POOL_URL"]
    assert renewed != pooled
    assert query(renewed, "SELECT count(*) FROM seen") == [(0,)]
    ask(app, "PUT", "/reset", {})
    assert query(renewed, "SELECT to_regclass('seen') IS NULL") == [(True,)]


@needs_pgbouncer
def test_a_pool_is_there_again_after_a_crash_and_gone_after_the_end(tmp_path: Path) -> None:
    with Sandbox(tmp_path) as sandbox:
        app = sandbox.create_app("pooled")
        ask(app, "POST", "/connection-pooling", {"app": app.name})
        before = app.config["DATABASE_CONNECTION_POOL_URL"]
        sandbox.kill()
        wait_until(lambda: not _answers(before))

        sandbox.start()
        after = sandbox.app("pooled").config["DATABASE_CONNECTION_POOL_URL"]
        assert query(after, "SELECT 1") == [(1,)]
    assert not _answers(after)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.skipif(bool(Pooler.program()), reason="this machine has pgbouncer")
def test_without_pgbouncer_a_pool_is_refused(app: App) -> None:
    with pytest.raises(Failure, match="This machine has no pgbouncer") as refused:
        ask(app, "POST", "/connection-pooling", {"app": app.name})

    assert refused.value.status == 422


def test_an_essential_database_has_neither_pool_nor_links_nor_settings(sandbox: Sandbox) -> None:
    app = sandbox.create_app("small-extras", plan="essential-0")
    for method, path in (("POST", "/connection-pooling"), ("POST", "/links"), ("PUT", "/stats_reset")):
        with pytest.raises(Failure, match="Essential-tier") as refused:
            ask(app, method, path, {})
        assert refused.value.status == 422
    with pytest.raises(Failure, match="Essential-tier"):
        app.connection.request("GET", f"/postgres/v0/databases/{app.addon_id}/config")


def test_a_link_shows_the_other_databases_tables(app: App) -> None:
    other = app.add_database(plan="standard-0")
    execute(other["url"], "CREATE TABLE courses AS SELECT 7 AS id")

    link = ask(app, "POST", "/links", {"target": other["name"], "as": "elsewhere"})

    assert (link["name"], link["remote"]["name"]) == ("elsewhere", other["name"])
    assert query(app.database_url, "SELECT id FROM elsewhere.courses") == [(7,)]
    ask(app, "DELETE", "/links/elsewhere")
    assert query(app.database_url, "SELECT to_regnamespace('elsewhere') IS NULL") == [(True,)]
    assert ask(app, "GET", "/links") == []


def test_a_link_of_a_name_that_is_taken_changes_nothing(app: App) -> None:
    other = app.add_database(plan="standard-0")
    execute(app.database_url, "CREATE SCHEMA taken", "CREATE TABLE taken.mine (id int)")

    with pytest.raises(Failure, match='cannot be linked as taken: schema "taken" already exists'):
        ask(app, "POST", "/links", {"target": other["name"], "as": "taken"})

    assert query(app.database_url, "SELECT count(*) FROM taken.mine") == [(0,)]


@pytest.fixture
def _settings_again(sandbox: Sandbox) -> Iterator[None]:
    yield
    execute(sandbox.superuser_url(), "ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")


@pytest.mark.usefixtures("_settings_again")
def test_a_setting_that_was_changed_holds_at_once(sandbox: Sandbox, app: App) -> None:
    path = f"/postgres/v0/databases/{app.addon_id}/config"

    changed = app.connection.request("PATCH", path, {"log_statement": "mod", "auto_explain": True})

    assert changed["log_statement"]["value"] == "mod"
    assert query(app.database_url, "SHOW auto_explain.log_min_duration") == [("0",)]
    execute(app.database_url, "CREATE TABLE noted (id int)", "INSERT INTO noted VALUES (4711)")
    log = (sandbox.home / "postgres.log").read_text()
    assert "INSERT INTO noted VALUES (4711)" in log
    assert "Insert on noted" in log
    app.connection.request("PATCH", path, {"log_statement": "none", "auto_explain": False})
    execute(app.database_url, "INSERT INTO noted VALUES (4712)")
    assert "VALUES (4712)" not in (sandbox.home / "postgres.log").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"log_statement": "some"}, "log_statement has to be one of none, ddl, mod, all."),
        ({"log_lock_waits": "on"}, "log_lock_waits has to be a bool."),
        ({"shared_buffers": "1GB"}, "There is no setting shared_buffers."),
        ({"data_connector_details_logs": True}, "This sandbox does not change data_connector_details_logs."),
    ],
)
def test_a_setting_that_is_none_is_refused(app: App, change: dict[str, Any], message: str) -> None:
    with pytest.raises(Failure) as refused:
        app.connection.request("PATCH", f"/postgres/v0/databases/{app.addon_id}/config", change)

    assert (refused.value.status, str(refused.value)) == (422, message)


def test_a_report_finds_what_is_wrong(app: App) -> None:
    execute(
        app.database_url,
        "CREATE UNLOGGED TABLE fleeting (id int)",
        "CREATE SEQUENCE used_up MAXVALUE 100",
        "SELECT setval('used_up', 99)",
    )
    with psycopg.connect(app.database_url) as holder, ThreadPoolExecutor() as pool:
        holder.execute("LOCK TABLE fleeting")
        blocking = holder.info.backend_pid
        waiter = pool.submit(query, app.database_url, "SELECT count(*) FROM fleeting")
        locked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'fleeting'::regclass"
        wait_until(lambda: query(app.database_url, locked) == [(1,)])

        body = {"url": app.database_url, "app": app.name, "database": "DATABASE_URL", "plan": "standard-0"}
        report = app.connection.request("POST", "/reports", body)
        holder.rollback()
        assert waiter.result() == [(0,)]

    found = {check["name"]: check for check in report["checks"] if check["status"] != "green"}
    assert sorted(found) == ["Blocking Queries", "Sequences", "Unlogged Tables"]
    assert found["Sequences"]["results"] == [{"sequence": "public.used_up", "percent used": 99}]
    assert found["Blocking Queries"]["results"][0]["blocking_pid"] == blocking
    assert app.connection.request("GET", f"/reports/{report['id']}") == report


def test_sessions_are_counted_and_ended_one_by_one(app: App) -> None:
    with psycopg.connect(app.database_url) as one, psycopg.connect(app.database_url) as two:
        counted = ask(app, "GET", "/user_connections")["connections"]
        assert counted == {one.info.user: 2}

        ask(app, "POST", "/terminate_process", {"pid": one.info.backend_pid})

        with pytest.raises(psycopg.OperationalError):
            one.execute("SELECT 1")
        assert two.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    ("day", "time", "window"),
    [
        ("sunday", "14:30", "Sundays 14:30 to 18:30 UTC"),
        ("Mondays", "2:30 PM", "Mondays 14:30 to 18:30 UTC"),
        ("friday", "12:00AM", "Fridays 00:00 to 04:00 UTC"),
        ("Saturday", "22:00", "Saturdays 22:00 to 02:00 UTC"),
    ],
)
def test_a_window_is_written_as_heroku_does(day: str, time: str, window: str) -> None:
    assert window_of(day, time) == window


def test_no_maintenance_is_due_and_no_other_version_to_be_had(app: App) -> None:
    here = f"/data/maintenances/v1/{app.addon_name}"
    app.connection.request("POST", f"{here}/window", {"day_of_week": "Tuesday", "time_of_day": "3:00"})

    assert app.connection.request("GET", here)["status"] == "none"
    assert app.connection.request("GET", f"{here}/window")["window"] == "Tuesdays 03:00 to 07:00 UTC"
    with pytest.raises(Failure, match="No maintenance is due"):
        app.connection.request("POST", f"{here}/run")
    with pytest.raises(Failure, match="stays on PostgreSQL 17"):
        ask(app, "POST", "/upgrade/run", {"version": "18"})
