"""A restore is judged by its log and the proof, whoever finds it: not by a count of warnings."""

from __future__ import annotations

import os
import signal

import pytest

from heroku_sandbox import App, Reset, Sandbox
from tests.hook import Hook, finish, small_app
from tests.judge import differing, execute, query, whole_picture
from tests.phase.test_nothing_lost import BROKEN, SLOW, migrating, wait_for

LOST: dict[str, tuple[str, tuple[str, ...]]] = {
    "a CHECK that reads another table": (
        "public.entry",
        (
            "CREATE TABLE words (word text PRIMARY KEY)",
            "INSERT INTO words VALUES ('a')",
            "CREATE FUNCTION known(w text) RETURNS boolean LANGUAGE plpgsql STABLE AS"
            " $$ BEGIN RETURN EXISTS (SELECT FROM words WHERE word = w); END $$",
            "CREATE TABLE entry (word text CHECK (known(word)))",
            "INSERT INTO entry VALUES ('a'), ('a')",
        ),
    ),
    "a CHECK of a domain": (
        "public.contract",
        (
            "CREATE TABLE currencies (code text PRIMARY KEY)",
            "INSERT INTO currencies VALUES ('EUR')",
            "CREATE FUNCTION is_currency(c text) RETURNS boolean LANGUAGE sql STABLE AS"
            " $$ SELECT EXISTS (SELECT FROM public.currencies WHERE code = c) $$",
            "CREATE DOMAIN currency AS text CHECK (public.is_currency(VALUE))",
            "CREATE TABLE contract (id int, paid_in currency)",
            "INSERT INTO contract VALUES (1, 'EUR')",
        ),
    ),
    "a generated column": (
        "shop.article",
        (
            "CREATE SCHEMA shop",
            "CREATE FUNCTION slug(t text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT lower(t) $$",
            "CREATE FUNCTION address(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS"
            " $$ BEGIN RETURN '/' || slug(t); END $$",
            "CREATE TABLE shop.article (title text, path text GENERATED ALWAYS AS (address(title)) STORED)",
            "INSERT INTO shop.article (title) VALUES ('Hello')",
        ),
    ),
}
"""By name: the table whose rows no restore brings back, and how the database is made."""

ALLOWED = {"RELEASE_ALLOW": "not-restorable"}


def rows(app: App, table: str) -> int:
    """How many there are."""
    ((count,),) = query(app.database_url, f"SELECT count(*) FROM {table}")
    assert isinstance(count, int)
    return count


@pytest.mark.thin(1)
@pytest.mark.parametrize("name", LOST)
def test_a_restore_that_lost_rows_is_never_accepted_by_anybody(
    hook: Hook, app: App, sandbox: Sandbox, name: str
) -> None:
    table, statements = LOST[name]
    execute(app.database_url, *statements)
    small_app(hook.folder, {"001": BROKEN})

    first = hook.run(**ALLOWED)

    assert first.ended == (4, "restore_failed", "restore_failed")
    assert table in first.last["error"]
    fatal = [each for each in first.named("restore_complained") if each["fatal"]]
    assert fatal
    said = [(each["transfer"], each["about"], each["error"]) for each in fatal]
    assert len(set(said)) == len(said), "the log has its say once"
    assert app.maintenance() is True

    (hook.folder / "migrations" / "001.sql").write_text("SELECT 1;\n")
    captured = sandbox.count("POST", "^.*/backups$")
    for arguments in ((), ("recover",), ("recover", "--restore"), ()):
        again = hook.run(*arguments, **ALLOWED)

        assert again.exit_code in {3, 4}, arguments
        assert again.last["outcome"] in {"restore_failed", "refused"}
        assert table in again.last["error"] + again.last["hint"], arguments
        assert app.maintenance() is True
        assert app.formation()["worker"] == 0
    assert rows(app, table) == 0
    assert sandbox.count("POST", "^.*/backups$") == captured, "nobody backs up the loss"


def test_a_restore_by_hand_that_lost_rows_is_not_called_restored(hook: Hook, app: App) -> None:
    table, statements = LOST["a CHECK that reads another table"]
    execute(app.database_url, *statements)
    assert hook.run(**ALLOWED).ended == (0, "released", None)

    result = hook.run("restore", "b001", "--yes", **ALLOWED)

    assert (result.exit_code, result.last["outcome"]) == (4, "restore_failed")
    assert table in result.last["error"]
    assert app.maintenance() is True
    assert rows(app, table) == 0
    assert hook.run("recover", **ALLOWED).exit_code in {3, 4}
    assert hook.run(**ALLOWED).exit_code in {3, 4}
    assert app.maintenance() is True


def test_a_restore_that_somebody_has_killed_its_run_over_is_judged_by_its_log(hook: Hook, app: App) -> None:
    table, statements = LOST["a CHECK of a domain"]
    execute(app.database_url, *statements)
    small_app(hook.folder, {"001": SLOW})
    process = hook.start(**ALLOWED)
    wait_for(migrating(app))
    os.killpg(process.pid, signal.SIGKILL)
    finish(process)
    backup = app.transfers()[0]
    made = app.connection.request(
        "POST", f"/client/v11/databases/{app.addon_id}/restores", {"backup_url": backup["to_url"]}
    )
    wait_for(
        lambda: app.connection.request("GET", f"/client/v11/apps/{app.name}/transfers/{made['uuid']}")["finished_at"]
    )

    result = hook.run("recover", **ALLOWED)

    assert (result.exit_code, result.last["outcome"]) == (4, "restore_failed")
    assert table in result.last["error"] + " ".join(each["detail"] for each in result.named("warning_raised"))


@pytest.mark.parametrize("reset", list(Reset))
def test_heroku_s_own_objects_make_warnings_and_no_failure(
    hook: Hook, app: App, sandbox: Sandbox, reset: Reset
) -> None:
    sandbox.set_options(reset=reset)
    small_app(hook.folder, {"001": BROKEN})
    before = whole_picture(sandbox.superuser_url(app))

    result = hook.run()

    assert result.ended == (1, "restored", "migration_failed")
    (restore,) = [each for each in result.named("transfer_finished") if each["kind"] == "restore"]
    complained = result.named("restore_complained")
    assert restore["warnings"] == len(complained) > 0
    assert not any(each["fatal"] for each in complained)
    assert all(each["about"] and each["error"] for each in complained)
    assert differing(before, whole_picture(sandbox.superuser_url(app))) == []


OPERATORS = (
    "CREATE OPERATOR CLASS shouting FOR TYPE text USING btree AS OPERATOR 3 =, FUNCTION 1 bttextcmp(text, text)",
)
LANGUAGE = ("CREATE LANGUAGE ours HANDLER plpgsql_call_handler",)
WRAPPER = ("CREATE FOREIGN DATA WRAPPER ours",)


@pytest.mark.parametrize(
    ("made", "reset", "ended"),
    [
        (OPERATORS, Reset.DATABASE, (4, "restore_failed", "restore_unproved")),
        (OPERATORS, Reset.SCHEMAS, (4, "restore_failed", "restore_unproved")),
        (WRAPPER, Reset.DATABASE, (4, "restore_failed", "restore_unproved")),
        (LANGUAGE, Reset.DATABASE, (4, "restore_failed", "restore_unproved")),
        (LANGUAGE, Reset.SCHEMAS, (1, "restored", "migration_failed")),  # it is in no schema, and was there all along
    ],
)
def test_another_failed_command_is_logged_and_left_to_the_proof(
    hook: Hook, app: App, sandbox: Sandbox, made: tuple[str, ...], reset: Reset, ended: tuple[int, str, str]
) -> None:
    sandbox.set_options(reset=reset)
    execute(sandbox.superuser_url(app), *made)
    small_app(hook.folder, {"001": BROKEN})

    result = hook.run(RELEASE_ALLOW="not-restorable,other-credentials")

    assert [each for each in result.named("restore_complained") if "heroku" not in str(each["about"])]
    assert result.ended == ended
    assert app.maintenance() is (ended[0] == 4)
