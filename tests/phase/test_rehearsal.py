"""Rehearsal: whatever goes wrong on the copy stops the release, and production is not even touched."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from heroku_sandbox import App, Sandbox, TransferAction
from tests.hook import Hook, finish, small_app
from tests.judge import execute, picture, query, running
from tests.phase.test_nothing_lost import wait_for

BROKEN = "ALTER TABLE learners DROP COLUMN points;\nSELECT 1 / 0;\n"
MIGRATIONS_RUN = "SELECT count(*) FROM release_phase.runs WHERE state NOT IN ('backing_up', 'finished')"


@pytest.fixture
def second(app: App) -> dict[str, Any]:
    """A second database of the app."""
    return app.add_database(plan="standard-0", attachment="REHEARSAL")


@pytest.fixture
def rehearsing(hook: Hook, second: dict[str, Any]) -> Hook:
    """The hook, told to rehearse; the app's environment has the second database's URL."""
    hook.environment |= {"RELEASE_REHEARSAL_DATABASE": "REHEARSAL_URL", "REHEARSAL_URL": second["url"]}
    return hook


def restores_onto(sandbox: Sandbox, addon: str) -> int:
    """How many restores were asked for onto an add-on."""
    return sandbox.count("POST", f"/client/v11/databases/{addon}/restores", accepted=True)


def test_a_release_that_lands_was_rehearsed_on_a_copy_first(
    rehearsing: Hook, app: App, sandbox: Sandbox, second: dict[str, Any]
) -> None:
    result = rehearsing.run(RELEASE_PROBE_SQL="SELECT count(nickname) = 300 FROM learners")

    assert result.ended == (0, "released", None)
    assert query(app.database_url, "SELECT count(nickname) FROM learners") == [(300,)]
    assert query(second["url"], "SELECT count(nickname) FROM learners") == [(300,)]
    assert (restores_onto(sandbox, app.addon_id), restores_onto(sandbox, second["id"])) == (0, 1)
    (rehearsed,) = result.named("rehearsal_finished")
    assert rehearsed["rehearsal"] is True
    assert rehearsed["restore"] > 0 < rehearsed["migration"]
    kinds = [(each["event"], each.get("rehearsal", False)) for each in result.events]
    assert kinds.index(("command_output", True)) < kinds.index(("command_output", False))
    assert [each["rehearsal"] for each in result.named("probe_passed") if "rehearsal" in each]


def test_the_second_rehearsal_overwrites_the_first_without_asking(rehearsing: Hook, second: dict[str, Any]) -> None:
    rehearsing.run()
    small_app(rehearsing.folder, {"002": "CREATE TABLE courses (id serial PRIMARY KEY);\n"})

    assert rehearsing.run().ended == (0, "released", None)
    assert query(second["url"], "SELECT count(*) FROM courses") == [(0,)]


@pytest.mark.thin(2)
@pytest.mark.parametrize(
    ("migration", "settings", "failed"),
    [
        (BROKEN, {}, "migration_failed"),
        ("ALTER TABLE learners RENAME name TO full_name;\n",
         {"RELEASE_PROBE_SQL": "SELECT count(name) > 0 FROM learners"}, "probe_failed"),
        ("SELECT 1;\n", {"RELEASE_PROBE_PATH": "/", "RELEASE_PROBE_TIMEOUT": "5"}, "web_crashed"),
    ],
    ids=["migration", "probe", "boot"],
)  # fmt: skip
def test_what_fails_in_the_rehearsal_never_reaches_production(
    rehearsing: Hook, app: App, sandbox: Sandbox, migration: str, settings: dict[str, str], failed: str
) -> None:
    small_app(rehearsing.folder, {"002": migration})
    before = picture(sandbox.superuser_url(app))

    result = rehearsing.run(**settings)

    assert result.ended == (1, "untouched", "rehearsal_failed")
    assert result.last["facts"]["failed"] == failed
    assert picture(sandbox.superuser_url(app)) == before
    assert restores_onto(sandbox, app.addon_id) == 0
    assert app.maintenance() is False
    assert all(each.get("rehearsal") for each in result.named("command_output") if each["step"] == "rehearse")
    assert query(app.database_url, MIGRATIONS_RUN) == [(0,)]


@pytest.mark.thin(2)
@pytest.mark.parametrize("action", [TransferAction.HALF, TransferAction.FAIL, TransferAction.WIPE])
def test_a_backup_that_does_not_restore_stops_the_release(
    rehearsing: Hook, app: App, sandbox: Sandbox, action: TransferAction
) -> None:
    sandbox.transfer_fault("restore", action)
    before = picture(sandbox.superuser_url(app))

    result = rehearsing.run()

    assert sandbox.fired()
    assert result.ended == (1, "untouched", "rehearsal_failed")
    assert result.last["facts"]["failed"] in {"restore_failed", "restore_unproved"}
    assert picture(sandbox.superuser_url(app)) == before


def test_a_signal_in_the_rehearsal_ends_it_with_production_untouched(
    rehearsing: Hook, app: App, sandbox: Sandbox, second: dict[str, Any]
) -> None:
    small_app(rehearsing.folder, {"002": "ALTER TABLE learners DROP COLUMN points;\nSELECT pg_sleep(60);\n"})
    before = picture(sandbox.superuser_url(app))
    process = rehearsing.start()
    wait_for(lambda: running(second["url"], "SELECT pg_sleep(60)"))
    process.send_signal(signal.SIGTERM)
    result = finish(process, within=25)

    assert result.ended == (1, "untouched", "interrupted")
    assert picture(sandbox.superuser_url(app)) == before


# Which database may be overwritten.


@pytest.fixture
def before(app: App, sandbox: Sandbox) -> Any:
    """Nothing was asked of Heroku that changes anything, and production is as it was."""
    picture_before = picture(sandbox.superuser_url(app))
    yield
    assert picture(sandbox.superuser_url(app)) == picture_before
    assert sandbox.count("POST", "/client/v11/databases/:db/backups") == 0
    assert sandbox.count("POST", "/client/v11/databases/:db/restores") == 0


@pytest.mark.usefixtures("before")
def test_a_second_database_that_holds_something_is_not_overwritten_unasked(
    rehearsing: Hook, second: dict[str, Any]
) -> None:
    execute(second["url"], "CREATE TABLE reports (n integer)", "INSERT INTO reports VALUES (1)")

    result = rehearsing.run()

    assert result.ended == (3, "refused", "rehearsal_occupied")
    assert "public.reports" in result.last["error"]
    assert query(second["url"], "SELECT n FROM reports") == [(1,)]


def test_it_is_overwritten_when_somebody_says_so(rehearsing: Hook, second: dict[str, Any]) -> None:
    execute(second["url"], "CREATE TABLE reports (n integer)")

    assert rehearsing.run(RELEASE_ALLOW="occupied-rehearsal").ended == (0, "released", None)


@pytest.mark.usefixtures("before")
def test_the_protected_database_under_another_name_is_refused(hook: Hook, app: App) -> None:
    result = hook.run(RELEASE_REHEARSAL_DATABASE="SAME_URL", SAME_URL=app.database_url)

    assert result.ended == (3, "refused", "rehearsal_unsafe")


@pytest.mark.usefixtures("before")
def test_the_database_of_another_app_is_refused(hook: Hook, sandbox: Sandbox) -> None:
    other = sandbox.create_app(f"stranger-of-{hook.app.name}")

    result = hook.run(RELEASE_REHEARSAL_DATABASE="OTHER_URL", OTHER_URL=other.database_url)

    assert result.ended == (3, "refused", "not_attached")


@pytest.mark.usefixtures("before")
def test_the_database_of_another_app_is_refused_even_when_attached(hook: Hook, app: App, sandbox: Sandbox) -> None:
    other = sandbox.create_app(f"owner-beside-{app.name}")
    body = {"addon": {"name": other.addon_name}, "app": {"name": app.id}, "name": "BORROWED"}
    app.connection.request("POST", "/addon-attachments", body)

    result = hook.run(RELEASE_REHEARSAL_DATABASE="BORROWED_URL", BORROWED_URL=other.database_url,
                      RELEASE_ALLOW="other-app,shared-database")  # fmt: skip

    assert result.ended == (3, "refused", "other_app")


@pytest.mark.usefixtures("before")
def test_a_follower_is_refused(hook: Hook, app: App) -> None:
    follower = app.add_database(plan="standard-0", attachment="FOLLOWER", follow=app.addon_name)

    result = hook.run(RELEASE_REHEARSAL_DATABASE="FOLLOWER_URL", FOLLOWER_URL=follower["url"])

    assert result.ended[:2] == (3, "refused")
    assert result.last["reason"] in {"follower", "database_read_only"}


@pytest.mark.usefixtures("before")
@pytest.mark.parametrize("name", ["PGDATABASE", "JDBC_DATABASE_URL"])
def test_another_way_to_the_protected_database_is_refused(rehearsing: Hook, app: App, name: str) -> None:
    database = app.database_url.rpartition("/")[2]

    result = rehearsing.run(**{name: database if name == "PGDATABASE" else f"jdbc:postgresql://localhost/{database}"})

    assert result.ended == (3, "refused", "rehearsal_unsafe")
    assert name in result.last["error"]


def test_a_migration_that_finds_production_all_the_same_is_undone(rehearsing: Hook, app: App, sandbox: Sandbox) -> None:
    """Its URL stands in a file, where no environment variable leads."""
    (rehearsing.folder / "secret-url").write_text(app.database_url)
    script = (rehearsing.folder / "migrate").read_text().replace("set -eu", "set -eu\nDATABASE_URL=$(cat secret-url)")
    (rehearsing.folder / "migrate").write_text(script)
    before = picture(sandbox.superuser_url(app))

    result = rehearsing.run()

    assert result.ended == (1, "restored", "rehearsal_unsafe")
    assert picture(sandbox.superuser_url(app)) == before


def test_a_rehearsal_without_a_backup_is_a_mistake_in_the_settings(rehearsing: Hook) -> None:
    assert rehearsing.run(RELEASE_BACKUP="off").ended == (2, None, "settings_invalid")
    assert rehearsing.run(REHEARSAL_URL=None).ended == (2, None, "settings_invalid")


def test_the_last_line_tells_the_rehearsals_work_from_productions(rehearsing: Hook) -> None:
    small_app(rehearsing.folder, {"001": "ALTER TABLE learners ADD COLUMN nickname text;\n"})

    last = rehearsing.run(RELEASE_PROBE_SQL="SELECT count(nickname) = 0 FROM learners").last

    assert [(each["kind"], each.get("rehearsal")) for each in last["transfers"]] == [
        ("backup", None),
        ("restore", True),
    ]
    assert [each.get("rehearsal") for each in last["probes"] if each["probe"] == "sql"] == [True, None]
    commands = [(each["command"], each["step"]) for each in last["commands"]]
    assert commands.count(("./migrate", "rehearse")) == commands.count(("./migrate", "migrate")) == 1
    assert last["restore"] is None
