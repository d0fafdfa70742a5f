"""Wrong input: a clear error before anything is touched, with the documented exit code."""

from __future__ import annotations

import pytest

from heroku_sandbox import App, Sandbox
from tests.hook import Hook
from tests.judge import execute, picture


@pytest.fixture(autouse=True)
def _untouched(app: App, sandbox: Sandbox) -> object:
    """Whatever a test of this module does: the database stays as it was."""
    before = picture(sandbox.superuser_url(app))
    yield
    assert picture(sandbox.superuser_url(app)) == before
    assert sandbox.count("POST", "/client/v11/databases/:db/backups") == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"HEROKU_API_KEY": None}, ["HEROKU_API_KEY is not set"]),
        ({"HEROKU_APP_NAME": None, "HEROKU_APP_ID": None}, ["HEROKU_APP_NAME is not set"]),
        ({"HEROKU_HOST": "https://heroku.com.evil.example"}, ["HEROKU_HOST", "only Heroku's domains"]),
        ({"RELEASE_PROB_SQL": "SELECT true"}, ["RELEASE_PROB_SQL", "RELEASE_PROBE_SQL"]),
        ({"RELEASE_FENCE": "maybe", "RELEASE_PROBE_TIMEOUT": "-1"}, ["RELEASE_FENCE", "RELEASE_PROBE_TIMEOUT"]),
        ({"RELEASE_MIGRATE_COMMAND": "sh -c 'oops"}, ["RELEASE_MIGRATE_COMMAND", "quotation"]),
    ],
)
def test_settings_that_are_wrong_are_named_all_at_once(
    hook: Hook, changes: dict[str, str | None], words: list[str]
) -> None:
    result = hook.run(**changes)

    assert result.ended == (2, None, "settings_invalid")
    for word in words:
        assert word in result.last["error"]


def test_a_command_that_does_not_exist_is_found_before_the_backup(hook: Hook) -> None:
    result = hook.run(RELEASE_MIGRATE_COMMAND="no-such-command --now")

    assert result.ended == (2, None, "command_not_found")
    assert "no-such-command" in result.last["error"]


def test_no_framework_says_which_variable_to_set(hook: Hook) -> None:
    result = hook.run(RELEASE_MIGRATE_COMMAND=None)

    assert result.ended == (2, None, "no_framework")
    assert "RELEASE_MIGRATE_COMMAND" in result.last["hint"]


def test_no_database_url_is_refused(hook: Hook) -> None:
    assert hook.run(DATABASE_URL=None).ended == (3, "refused", "no_database")


def test_a_typo_in_release_database_names_the_variable_that_was_meant(hook: Hook) -> None:
    result = hook.run(RELEASE_DATABASE="DATABSE_URL", OTHER_URL="postgres://u:p@localhost/x", SITE_URL="https://x.org")

    assert result.ended == (3, "refused", "database_not_named")
    assert result.last["error"] == (
        "RELEASE_DATABASE names a config var that is not set: DATABSE_URL; did you mean DATABASE_URL? These hold the"
        " URL of a Postgres database: DATABASE_URL, OTHER_URL"
    )
    assert "heroku config:unset RELEASE_DATABASE" in result.last["hint"]
    assert "addons:create" not in result.last["hint"]


def test_a_url_in_release_database_is_told_from_a_name_and_never_shown(hook: Hook, app: App) -> None:
    result = hook.run(RELEASE_DATABASE=app.database_url)

    assert result.ended == (3, "refused", "database_not_named")
    assert "it is no name of a config var, but a URL" in result.last["error"]
    assert app.database_url.encode() not in result.stdout


def test_where_only_the_default_is_absent_the_app_has_no_database(hook: Hook) -> None:
    result = hook.run(RELEASE_DATABASE="DATABASE_URL", DATABASE_URL=None)

    assert result.ended == (3, "refused", "no_database")


def test_an_unknown_key_is_refused(hook: Hook) -> None:
    assert hook.run(HEROKU_API_KEY="HRKU-nobody-knows-this-one").ended == (3, "refused", "key_rejected")


def test_a_key_without_the_scopes_is_refused_with_those_it_has_and_needs(hook: Hook, sandbox: Sandbox) -> None:
    sandbox.set_key("identity-only-key", ["identity"])

    result = hook.run(HEROKU_API_KEY="identity-only-key")

    assert result.ended == (3, "refused", "key_forbidden")
    assert "identity" in result.last["error"]


def test_an_unknown_app_is_refused(hook: Hook) -> None:
    assert hook.run(HEROKU_APP_ID=None, HEROKU_APP_NAME="nobody").ended == (3, "refused", "app_not_found")


def test_a_database_that_is_on_no_addon_of_the_app_is_refused(hook: Hook, app: App) -> None:
    result = hook.run(RELEASE_DATABASE="OTHER_URL", OTHER_URL=app.database_url)

    assert result.ended == (3, "refused", "not_attached")
    assert "DATABASE_URL" in result.last["error"]


def test_the_wrong_database_behind_the_right_variable_is_refused(hook: Hook, sandbox: Sandbox) -> None:
    other = sandbox.create_app(f"other-{hook.app.name}")

    assert hook.run(DATABASE_URL=other.database_url).ended == (3, "refused", "database_mismatch")


def test_a_pooled_url_is_refused(hook: Hook, app: App) -> None:
    result = hook.run(RELEASE_DATABASE="DATABASE_CONNECTION_POOL_URL", DATABASE_CONNECTION_POOL_URL=app.database_url)

    assert result.ended == (3, "refused", "pooled_url")


def test_a_wrong_password_is_a_failure_that_touches_nothing(hook: Hook, app: App) -> None:
    url = app.database_url
    password = url.split(":")[2].split("@")[0]

    result = hook.run(DATABASE_URL=url.replace(password, "wrong"))

    assert result.ended == (1, "untouched", "database_unreachable")


def test_a_probe_query_that_is_no_query_fails_the_probe(hook: Hook, app: App) -> None:
    execute(app.database_url, "INSERT INTO alembic_version VALUES ('001')")
    try:
        result = hook.run(RELEASE_PROBE_SQL="SET work_mem = '1MB'")
    finally:
        execute(app.database_url, "DELETE FROM alembic_version")

    assert result.ended == (1, "untouched", "probe_failed")
    assert "no query" in result.last["error"]


def test_objects_of_another_credential_are_refused_before_anything_is_touched(
    hook: Hook, app: App, sandbox: Sandbox
) -> None:
    other = app.add_credential("etl")
    role = other["user"]
    superuser = sandbox.superuser_url(app)
    execute(superuser, f'CREATE TABLE public.loaded (n integer); ALTER TABLE public.loaded OWNER TO "{role}"')
    try:
        assert hook.run().ended == (3, "refused", "other_credentials")
    finally:
        execute(superuser, "DROP TABLE public.loaded")


def test_an_unknown_command_is_a_usage_error(hook: Hook) -> None:
    result = hook.run("recovr")

    assert result.exit_code == 2
    assert b"recover" in result.stderr
