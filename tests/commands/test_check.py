"""`check`: whether an app is ready, from a dyno and from anywhere; it names all that is in the way."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from heroku_sandbox import Action, App, Sandbox
from release.database.session import LOCK_KEY
from release.output.check import Checked, Item, State, as_text, verdict
from tests.hook import SMALL_APP, Hook, finish, run_in
from tests.judge import execute, picture, query
from tests.phase.test_nothing_lost import wait_for

OWN_KEY = "key-of-whoever-asks"
LAB = "/apps/:app/features/runtime-dyno-metadata"


@pytest.fixture(autouse=True)
def _nothing_changed(app: App) -> Iterator[None]:
    """Whatever a test of this module does: no journal, and no lock that is left."""
    yield
    assert query(app.database_url, "SELECT to_regnamespace('release_phase') IS NULL") == [(True,)]
    assert query(app.database_url, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


@contextmanager
def only_looking(app: App) -> Iterator[None]:
    """Fails when anything but reading requests is made."""
    app.connection.request("DELETE", "/sandbox/requests")
    yield
    asked = app.connection.request("GET", "/sandbox/requests")
    assert {each["method"] for each in asked} <= {"GET"}


def check(hook: Hook, *words: str, **changes: str | None) -> tuple[int, dict[str, Any]]:
    """Exit code and facts of a check in a dyno."""
    with only_looking(hook.app):
        ran = hook.run("check", "--json", *words, **changes)
    assert ran.stderr == b""
    assert hook.app.environment()["HEROKU_API_KEY"].encode() not in ran.stdout
    return ran.exit_code, json.loads(ran.stdout)


def from_afar(hook: Hook, *words: str, **environ: str | None) -> tuple[int, dict[str, Any]]:
    """The same from somebody's own machine, where there is only a key, and a database of their own."""
    own = {name: value for name, value in hook.app.environment().items() if name in {"HEROKU_HOST", "HEROKU_DATA_HOST"}}
    given = {**own, "HEROKU_API_KEY": OWN_KEY, "DATABASE_URL": "postgres://mine/dev", **environ}
    with only_looking(hook.app):
        words = (*hook.program, "check", "--json", *words)
        ran = run_in(hook.folder, *words, **{name: value for name, value in given.items() if value is not None})
    assert ran.stderr == ""
    return ran.returncode, json.loads(ran.stdout)


def said(found: dict[str, Any], state: str) -> dict[str, str]:
    """What was found to be in a state, by what it is about."""
    return {item["about"]: item["text"] for item in found["items"] if item["state"] == state}


def reasons(found: dict[str, Any]) -> dict[str, str]:
    """What is in the way: about what, and with which reason a release would be refused."""
    return {item["about"]: item["reason"] for item in found["items"] if item["state"] == "bad"}


@pytest.fixture(autouse=True)
def _own_key(sandbox: Sandbox) -> None:
    """The key of whoever asks, which is not the app's."""
    sandbox.set_key(OWN_KEY, ["global"])


@pytest.fixture
def deployed(hook: Hook, app: App) -> Hook:
    """An app whose settings are config vars, as on Heroku."""
    app.set_config({**SMALL_APP, "HEROKU_APP_NAME": app.name})
    return hook


# Ready.


def test_an_app_that_is_ready_is_called_so_and_nothing_is_touched(hook: Hook, app: App, sandbox: Sandbox) -> None:
    before = picture(sandbox.superuser_url(app))

    ran = hook.run("check")

    assert (ran.exit_code, ran.stderr) == (0, b"")
    text = ran.stdout.decode()
    assert text.endswith(f"\nReady: a release of {app.name} is backed up first, and undone when it fails.\n")
    for line in (
        "✓ Key         it is valid; scopes: global",
        f"✓ App         {app.name}",
        "✓ Lab         runtime-dyno-metadata is on",
        f"✓ Add-on      {app.addon_name} (heroku-postgresql:standard-0), which has backups",
        "✓ Backups     0 manual backups",
        "✓ Restore     it would bring back everything that is in the database",
        "✓ Migration   `./migrate`; `./pending` says what is pending",
    ):
        assert f"\n{line}\n" in text
    assert " connections in use\n" in text
    assert picture(sandbox.superuser_url(app)) == before


def test_from_anywhere_it_looks_at_what_the_app_has_and_not_at_what_is_here(deployed: Hook, app: App) -> None:
    code, found = from_afar(deployed, "--app", app.name)

    assert (code, found["ready"], found["app"]) == (0, True, app.name)
    assert said(found, "bad") == {}
    assert app.addon_name in said(found, "good")["Add-on"]


def test_the_apps_name_in_the_environment_is_enough_where_no_database_is(deployed: Hook, app: App) -> None:
    code, found = from_afar(deployed, HEROKU_APP_NAME=app.name, DATABASE_URL=None)
    assert (code, said(found, "bad")) == (0, {})


def test_in_a_folder_without_an_app_the_app_itself_is_checked_all_the_same(
    app: App, hook: Hook, tmp_path: Path
) -> None:
    app.set_config({"HEROKU_APP_NAME": app.name})
    (tmp_path / "elsewhere").mkdir()
    code, found = from_afar(replace(hook, folder=tmp_path / "elsewhere"), "--app", app.name)
    assert (code, said(found, "bad")) == (0, {})
    assert said(found, "unknown")["Procfile"].startswith("there is no app in this folder")


def test_without_a_backup_ready_means_less(hook: Hook, sandbox: Sandbox) -> None:
    code, found = check(hook, RELEASE_BACKUP="off", HEROKU_API_KEY="HRKU-nobody", HEROKU_APP_NAME=None)
    assert (code, found["verdict"]) == (0, "Ready, but nothing would be undone: RELEASE_BACKUP=off.")
    assert [each for each in sandbox.requests() if each["path"].startswith(("/apps", "/client"))] == []


# Wrong inputs, in a dyno.


@pytest.mark.thin(1)
@pytest.mark.parametrize(
    ("changes", "about", "reason", "words"),
    [
        ({"HEROKU_API_KEY": None}, "Settings", "settings_invalid", "HEROKU_API_KEY is not set"),
        ({"RELEASE_FENCE": "maybe"}, "Settings", "settings_invalid", "RELEASE_FENCE: expected one of"),
        ({"HEROKU_API_KEY": "HRKU-nobody"}, "Key", "key_rejected", "Heroku does not accept the API key"),
        ({"HEROKU_API_KEY": "read-only"}, "Key", "key_forbidden", "its scopes are read, read-protected"),
        ({"HEROKU_APP_ID": None, "HEROKU_APP_NAME": "nope"}, "App", "app_not_found", "nope"),
        ({"DATABASE_URL": None}, "Database", "no_database", "DATABASE_URL is not set"),
        ({"RELEASE_DATABASE": "PG_POOL_URL"}, "Database", "pooled_url", "connection pooler"),
        ({"DATABASE_URL": "postgres://u:p@127.0.0.1:1/x"}, "Database", "database_unreachable", ""),
        ({"RELEASE_MIGRATE_COMMAND": "no-such"}, "Migration", "command_not_found", "'no-such' is not a command"),
        ({"RELEASE_MIGRATE_COMMAND": None}, "Migration", "no_framework", "no known framework was found"),
    ],
)
def test_what_is_wrong_is_named_with_its_reason(
    hook: Hook, app: App, sandbox: Sandbox, changes: dict[str, str | None], about: str, reason: str, words: str
) -> None:
    sandbox.set_key("read-only", ["read", "read-protected"])

    code, found = check(hook, **{"PG_POOL_URL": app.database_url, **changes})

    assert (code, found["ready"]) == (3, False)
    assert reasons(found)[about] == reason
    assert words in said(found, "bad")[about]
    assert found["verdict"].startswith("Not yet, because ")


def test_one_thing_that_is_wrong_hides_no_other(hook: Hook) -> None:
    (hook.folder / "Procfile").write_text("release: ./migrate\nweb: true\n")
    code, found = check(hook, HEROKU_API_KEY="HRKU-nobody", RELEASE_MIGRATE_COMMAND="no-such")
    assert code == 3
    assert reasons(found) == {"Key": "key_rejected", "Procfile": None, "Migration": "command_not_found"}
    assert "release line is `./migrate`" in said(found, "bad")["Procfile"]
    assert {"Database", "Restore"} <= said(found, "good").keys()
    assert found["verdict"].endswith(" (and 2 more).")


@pytest.mark.parametrize(("plan", "reason"), [("none", "not_attached"), ("advanced", "unsupported_tier")])
def test_an_app_whose_database_has_no_backups_is_not_ready(
    hook: Hook, app: App, sandbox: Sandbox, plan: str, reason: str
) -> None:
    other = sandbox.create_app(f"{app.name}-{plan}", plan=plan)
    code, found = check(hook, HEROKU_APP_ID=other.id, HEROKU_APP_NAME=other.name)
    assert code == 3
    assert reasons(found)["Add-on"] == reason
    assert said(found, "good")["App"] == other.name


# Wrong inputs, from anywhere.


@pytest.mark.parametrize(
    ("words", "environ", "expected"),
    [
        (["--app", "nope"], {}, {"App": "app_not_found"}),
        (["--app", "nope"], {"HEROKU_API_KEY": "HRKU-nobody"}, {"Key": "key_rejected"}),
        (["--app", "nope"], {"HEROKU_API_KEY": None}, {"Key": "key_rejected"}),
        (["--app", "APP"], {"HEROKU_API_KEY": "narrow"}, {"Key": "key_forbidden"}),
    ],
)
def test_a_key_that_shows_no_config_vars_ends_the_check(
    hook: Hook, app: App, sandbox: Sandbox, words: list[str], environ: dict[str, str | None], expected: dict[str, str]
) -> None:
    sandbox.set_key("narrow", ["read"])
    words = [app.name if word == "APP" else word for word in words]
    code, found = from_afar(hook, *words, **environ)
    assert (code, reasons(found)) == (3, expected)


def test_which_app_is_a_question_of_usage(tmp_path: Path, hook: Hook) -> None:
    ran = run_in(tmp_path, *hook.program, "check", HEROKU_API_KEY=OWN_KEY)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "Which app? Name it with --app" in ran.stderr


@pytest.mark.parametrize(
    ("key", "reason", "words"),
    [
        (None, "settings_invalid", "HEROKU_API_KEY is not among the app's config vars"),
        ("HRKU-expired", "key_rejected", "Heroku does not accept the API key"),
    ],
)
def test_it_is_the_apps_own_key_that_counts_and_the_rest_is_looked_at_with_the_other(
    deployed: Hook, app: App, key: str | None, reason: str, words: str
) -> None:
    app.set_config({"HEROKU_API_KEY": key})
    code, found = from_afar(deployed, "--app", app.name)
    assert (code, reasons(found)) == (3, {"Key": reason})
    assert words in said(found, "bad")["Key"]
    assert {"App", "Add-on", "Database", "Backups", "Restore", "Migration"} <= said(found, "good").keys()


# The lab.


@pytest.mark.parametrize(
    ("answer", "named", "state", "words"),
    [
        ('{"enabled": true}', False, "good", "is on"),
        ('{"enabled": false}', True, "warning", "the log lacks release and commit"),
        ('{"enabled": false}', False, "bad", "the hook would not know the app's name"),
        ("{}", False, "unknown", "Heroku did not say"),
    ],
)
def test_the_lab_matters_where_the_app_does_not_know_its_name(
    deployed: Hook, app: App, sandbox: Sandbox, answer: str, named: bool, state: str, words: str
) -> None:
    if not named:
        app.set_config({"HEROKU_APP_NAME": None})
    sandbox.fault(Action.ANSWER, LAB, status=200, body=answer, times=None)
    code, found = from_afar(deployed, "--app", app.name)
    assert words in said(found, state)["Lab"]
    assert code == (3 if state == "bad" else 0)


# What a release would be refused for.


def test_every_guard_is_named_and_an_overridden_one_is_in_nobodys_way(hook: Hook, app: App, sandbox: Sandbox) -> None:
    other = sandbox.create_app(f"beside-{app.name}", plan="none")
    body = {"addon": {"name": app.addon_name}, "app": {"name": other.name}, "name": "BORROWED"}
    app.connection.request("POST", "/addon-attachments", body)
    role = app.add_credential("etl")["user"]
    execute(sandbox.superuser_url(app), f'CREATE TABLE loaded (n int); ALTER TABLE loaded OWNER TO "{role}"')
    sandbox.forget_requests()

    code, found = check(hook, RELEASE_ALLOW="other-credentials")

    assert (code, reasons(found)) == (3, {"Backups": "shared_database"})
    assert other.name in said(found, "bad")["Backups"]
    assert said(found, "warning")["Restore"].endswith("(overridden by RELEASE_ALLOW)")


def test_what_a_restore_could_not_bring_back_is_named(hook: Hook, app: App) -> None:
    execute(app.database_url, "CREATE TABLE heroku_ext.invoices (id int PRIMARY KEY)")
    execute(app.database_url, "INSERT INTO heroku_ext.invoices VALUES (1)")
    code, found = check(hook)
    assert (code, reasons(found)) == (3, {"Restore": "not_restorable"})
    assert "table heroku_ext.invoices" in said(found, "bad")["Restore"]


def test_who_holds_the_lock_is_only_said(hook: Hook, app: App) -> None:
    with psycopg.connect(app.database_url, autocommit=True, application_name="release-phase beside") as session:
        session.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        code, found = check(hook)
        assert query(app.database_url, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(1,)]
    assert code == 0
    assert said(found, "warning")["Earlier run"].startswith("release-phase beside has held the lock since")


def test_few_connections_that_are_left_are_warned_of(hook: Hook, app: App, sandbox: Sandbox) -> None:
    role = urlsplit(app.database_url).username
    execute(sandbox.superuser_url(app), f'ALTER ROLE "{role}" CONNECTION LIMIT 3')
    try:
        code, found = check(hook)
    finally:
        execute(sandbox.superuser_url(app), f'ALTER ROLE "{role}" CONNECTION LIMIT -1')
    assert code == 0
    assert " of 3 connections in use" in said(found, "warning")["Database"]


# The app's folder.


def test_on_ones_own_machine_a_missing_tool_says_nothing(deployed: Hook, app: App) -> None:
    app.set_config({"RELEASE_MIGRATE_COMMAND": "no-such-tool migrate"})
    code, found = from_afar(deployed, "--app", app.name)
    assert (code, said(found, "bad")) == (0, {})
    assert said(found, "unknown")["Migration"].endswith("; the dyno may have it")


def test_the_procfiles_line_is_shown_as_it_stands_there(hook: Hook) -> None:
    (hook.folder / "Procfile").write_text("release: release-phase\nweb: true\n")
    assert said(check(hook)[1], "good")["Procfile"] == "`release: release-phase`"


# In time.


def test_a_heroku_that_does_not_answer_is_given_up_and_the_database_is_looked_at(hook: Hook, sandbox: Sandbox) -> None:
    sandbox.fault(Action.HANG, "/apps/:app", times=None, effect=False)
    began = time.monotonic()
    code, found = check(hook)
    assert time.monotonic() - began < 40
    assert (code, reasons(found)) == (3, {"App": "heroku_unavailable"})
    assert {"Database", "Restore", "Procfile", "Migration"} <= said(found, "good").keys()


def test_ctrl_c_ends_it_at_once(hook: Hook, sandbox: Sandbox) -> None:
    sandbox.fault(Action.HANG, "/apps/:app", times=None, effect=False)
    process = hook.start("check")
    wait_for(lambda: sandbox.count("GET", "/apps/:app") > 0)
    process.send_signal(signal.SIGINT)
    ran = finish(process, within=8)
    assert (ran.exit_code, ran.stdout, ran.stderr) == (1, b"", b"Error: SIGINT was received\n")


# The text.


@pytest.mark.parametrize(
    ("text", "others", "sentence"),
    [
        ("The app has no database: X is not set", 0, "Not yet, because the app has no database: X is not set."),
        ("HEROKU_API_KEY is not set.", 1, "Not yet, because HEROKU_API_KEY is not set (and 1 more)."),
        ("Heroku does not accept the API key.", 0, "Not yet, because Heroku does not accept the API key."),
    ],
)
def test_the_last_sentence_says_the_first_thing_that_is_in_the_way(text: str, others: int, sentence: str) -> None:
    item = Item(about="App", state=State.BAD, text=text)
    assert verdict(Checked(items=[item] * (1 + others))) == sentence


@pytest.mark.parametrize("width", [40, 80, 120])
def test_lines_are_as_wide_as_the_window_and_commands_stay_whole(width: int) -> None:
    hint = "Make one with `heroku authorizations:create --scope read-protected,write-protected`, and set it."
    items = [Item(about="Key", state=State.BAD, text="It is not set.", hint=hint) for _ in range(2)]
    lines = as_text(Checked(app="shop", items=items), width=width).splitlines()
    assert max(map(len, lines)) <= max(width, 50)
    assert sum("read-protected,write-protected`" in line for line in lines) == 1  # the same hint is said once
