"""What a plan allows, and what the sandbox refuses to provide."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from heroku_sandbox import App, Failure, Sandbox, plans


def lines(app: App) -> dict[str, list[str | int]]:
    """What `pg:info` shows."""
    found = app.connection.request("GET", f"/client/v11/databases/{app.addon_id}")["info"]
    return {line["name"]: line["values"] for line in found}


def fill(app: App, number: int) -> ExitStack:
    """So many sessions on the app's database."""
    sessions = ExitStack()
    for _ in range(number):
        sessions.enter_context(psycopg.connect(app.database_url))
    return sessions


@pytest.mark.parametrize(
    ("plan", "connections"),
    [("essential-0", 20), ("essential-2", 40), ("standard-0", 120), ("premium-2", 400), ("private-7", 500)],
)
def test_a_plan_has_its_connections(plan: str, connections: int) -> None:
    assert plans.of(plan).connections == connections


def test_one_connection_more_than_the_plan_has_is_refused(sandbox: Sandbox) -> None:
    app = sandbox.create_app("full", plan="essential-0")

    with fill(app, 20):
        assert lines(app)["Connections"] == ["20/20"]
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            psycopg.connect(app.database_url)


def test_a_larger_plan_and_another_credential_have_their_own_limit(sandbox: Sandbox) -> None:
    app = sandbox.create_app("grown", plan="essential-1")
    body = {"plan": {"name": "heroku-postgresql:essential-2"}}

    assert app.connection.request("PATCH", f"/apps/grown/addons/{app.addon_id}", body)["plan"]["name"].endswith("-2")

    app.add_credential("grown_reader")
    with fill(app, 21), psycopg.connect(app.database_url) as session:
        limits = session.execute("SELECT rolconnlimit FROM pg_roles WHERE rolname ~ '^grown' OR rolname = current_user")
        assert limits.fetchall() == [(40,), (40,)]


@pytest.mark.parametrize(
    ("plan", "config", "message"),
    [
        (
            "heroku-redis:mini",
            {},
            "This sandbox has no heroku-redis: heroku-postgresql is the only add-on service in it.",
        ),
        (
            "heroku-postgresql:x",
            {},
            'Couldn\'t find either the add-on service or the add-on plan of "heroku-postgresql:x".',
        ),
        ("heroku-postgresql:standard-0", {"version": "13"}, "This sandbox has PostgreSQL 17 only, not 13."),
        ("heroku-postgresql:standard-0", {"high": "x"}, "This sandbox does not know the option high."),
    ],
)
def test_what_there_is_not_is_refused(app: App, plan: str, config: dict[str, str], message: str) -> None:
    with pytest.raises(Failure) as refused:
        app.connection.request("POST", f"/apps/{app.name}/addons", {"plan": plan, "config": config})

    assert refused.value.status == 422
    assert str(refused.value).startswith(message)


def test_a_service_and_a_plan_are_shown_whole_when_asked(app: App) -> None:
    def shown(**headers: str) -> dict[str, Any]:
        found: dict[str, Any] = app.connection.request("GET", f"/addons/{app.addon_id}", headers=headers)
        return found

    plain, whole = shown(), shown(**{"Accept-Expansion": "addon_service,plan"})

    assert plain["addon_service"].keys() == plain["plan"].keys() == {"id", "name"}
    assert whole["addon_service"]["human_name"] == "Heroku Postgres"
    assert whole["plan"]["price"]["cents"] == 0
