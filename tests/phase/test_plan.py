"""The plan: says what a release would do and refuse, and changes nothing whatever it says."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from heroku_sandbox import App, Sandbox
from tests.commands.test_console import on_a_terminal
from tests.hook import Hook, small_app
from tests.judge import execute, picture, query, running
from tests.phase.test_nothing_lost import wait_for


@pytest.fixture(autouse=True)
def _nothing_changed(app: App, sandbox: Sandbox) -> Iterator[None]:
    """Whatever a test of this module does: no request that changes anything, and the database as it was."""
    sandbox.forget_requests()
    yield
    assert [each for each in sandbox.requests() if each["method"] != "GET" and each["path"].startswith("/client")] == []
    assert app.maintenance() is False


def plan(hook: Hook, **changes: str | None) -> tuple[int, dict[str, Any]]:
    """Exit code and plan; standard output is that one JSON object and nothing else."""
    ran = hook.run("plan", "--json", **changes)
    assert ran.stderr == b""
    assert b"sandbox-key-that-is-secret" not in ran.stdout
    return ran.exit_code, json.loads(ran.stdout)


def test_a_plan_says_all_that_a_release_would_do_and_leaves_no_trace(hook: Hook, app: App, sandbox: Sandbox) -> None:
    before = picture(sandbox.superuser_url(app))

    code, found = plan(hook, RELEASE_PROBE_SQL="SELECT true", RELEASE_LOCK_TIMEOUT="5s")

    assert (code, found["stopped"], found["guards"], found["pending"]) == (0, None, [], True)
    assert found["app"]["name"] == app.name
    assert found["database"]["addon"] == app.addon_name
    assert found["database"]["plan"] == "heroku-postgresql:standard-0"
    assert found["database"]["bytes"] > 1_000_000
    assert found["commands"] == {"framework": None, "migrate": "./migrate", "pending": "./pending"}
    assert found["settings"]["RELEASE_LOCK_TIMEOUT"] == {"value": "5s", "source": "environment"}
    assert found["settings"]["RELEASE_FENCE"] == {"value": "restore", "source": "default"}
    assert found["settings"]["HEROKU_API_KEY"]["value"] == "[redacted]"
    assert found["time"]["backup"] is None
    assert f"Back up {app.addon_name}." in found["steps"]
    assert "Migrate: ./migrate" in found["steps"]
    assert (
        "Check that nothing is pending, no model was changed without a migration, no index became invalid, no"
        " constraint lost its validation, no table that held rows is empty, no sequence fell behind its column."
    ) in found["steps"]
    assert "Probe: sql: SELECT true." in found["steps"]
    assert picture(sandbox.superuser_url(app)) == before
    assert query(app.database_url, "SELECT to_regnamespace('release_phase') IS NULL") == [(True,)]


def test_after_a_release_the_plan_knows_how_long_it_takes(hook: Hook, sandbox: Sandbox) -> None:
    hook.run()
    sandbox.forget_requests()
    small_app(hook.folder, {"002": "SELECT 1;\n"})

    code, found = plan(hook)

    assert code == 0
    assert found["time"]["backup"] >= 0
    assert found["time"]["restore"] == pytest.approx(found["time"]["backup"] * 1.5)
    assert "latest backup" in found["time"]["estimated_from"]


def test_nothing_pending_asks_heroku_for_nothing(hook: Hook, sandbox: Sandbox) -> None:
    hook.run()
    sandbox.forget_requests()

    code, found = plan(hook)

    assert (code, found["pending"], found["decided"]) == (0, False, {"by": "asked", "differs": []})
    assert "  Pending     nothing: `./pending` says so\n" in hook.run("plan").stdout.decode()
    assert [each for each in sandbox.requests() if each["path"].startswith(("/client", "/addons"))] == []


def test_several_guards_are_named_at_once(hook: Hook, app: App, sandbox: Sandbox) -> None:
    other = sandbox.create_app(f"beside-{app.name}", plan="none")
    body = {"addon": {"name": app.addon_name}, "app": {"name": other.name}, "name": "BORROWED"}
    app.connection.request("POST", "/addon-attachments", body)
    role = app.add_credential("etl")["user"]
    execute(sandbox.superuser_url(app), f'CREATE TABLE loaded (n int); ALTER TABLE loaded OWNER TO "{role}"')
    sandbox.forget_requests()

    code, found = plan(hook, RELEASE_ALLOW="other-credentials")

    assert code == 3
    assert {each["guard"]: each["overridden"] for each in found["guards"]} == {
        "shared-database": False,
        "other-credentials": True,
    }
    assert hook.run(RELEASE_ALLOW="other-credentials").ended == (3, "refused", "shared_database")


@pytest.mark.parametrize(
    ("changes", "code", "reason"),
    [
        ({"RELEASE_FENCE": "maybe"}, 2, "settings_invalid"),
        ({"RELEASE_MIGRATE_COMMAND": "no-such"}, 2, "command_not_found"),
        ({"DATABASE_URL": None}, 3, "no_database"),
        ({"HEROKU_API_KEY": "HRKU-nobody-knows-this-one"}, 3, "key_rejected"),
    ],
)
def test_a_plan_exits_as_the_release_would(hook: Hook, changes: dict[str, str | None], code: int, reason: str) -> None:
    planned, found = plan(hook, **changes)

    assert (planned, found["stopped"]["reason"]) == (code, reason)
    result = hook.run(**changes)
    assert (result.exit_code, result.last["reason"]) == (code, reason)


def test_a_cut_off_run_is_named_and_left_as_it_is(hook: Hook, app: App, sandbox: Sandbox) -> None:
    small_app(hook.folder, {"001": "ALTER TABLE learners DROP COLUMN points;\nSELECT pg_sleep(60);\n"})
    process = hook.start()
    wait_for(lambda: running(app.database_url, "SELECT pg_sleep(60)"))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    sandbox.forget_requests()

    code, found = plan(hook)

    assert (code, found["stopped"]["reason"]) == (3, "unfinished_run")
    assert query(app.database_url, "SELECT state FROM release_phase.runs") == [("migrating",)]
    listed = found["stopped"]["error"]
    assert "changed since: column public.learners.points removed; rows written since" in listed
    assert listed.endswith("its backup: b001"), "the hint says to look at what is listed"


def test_the_second_database_of_a_rehearsal_is_checked_too(hook: Hook, app: App) -> None:
    second = app.add_database(plan="standard-0", attachment="REHEARSAL")
    execute(second["url"], "CREATE TABLE reports (n integer)")

    code, found = plan(hook, RELEASE_REHEARSAL_DATABASE="REHEARSAL_URL", REHEARSAL_URL=second["url"])

    assert code == 3
    assert [each["guard"] for each in found["guards"]] == ["occupied-rehearsal"]
    assert found["rehearsal"] == second["name"]


@pytest.mark.parametrize("columns", [None, 60])
def test_it_is_text_in_a_pipe_too_and_wraps_at_the_window_s_width(hook: Hook, app: App, columns: int | None) -> None:
    if columns is None:
        ran = hook.run("plan", DYNO="run.1")
        assert ran.exit_code == 0
        text = ran.stdout.decode()
    else:
        _, text = on_a_terminal(hook, "plan", columns=columns)

    assert text.startswith("A release would migrate.")
    assert f"App         {app.name}" in text
    assert "What would happen:" in text
    assert "If it failed:" in text
    assert "  3. Check that nothing is pending, no model was changed" in text
    assert max(map(len, text.splitlines())) <= (columns or 100)
