"""What a restore could not bring back stops a release before anything is changed, and a plan names it all."""

from __future__ import annotations

import json

import pytest

from heroku_sandbox import App, Sandbox
from tests.hook import Hook
from tests.judge import execute, picture, query

DICTIONARY = (
    "CREATE TABLE dictionary (word text PRIMARY KEY)",
    "INSERT INTO dictionary VALUES ('a')",
    "CREATE FUNCTION known(w text) RETURNS boolean LANGUAGE plpgsql STABLE AS"
    " $$ BEGIN RETURN EXISTS (SELECT FROM dictionary WHERE word = w); END $$",
    "CREATE TABLE entry (word text CONSTRAINT listed CHECK (known(word)))",
    "INSERT INTO entry VALUES ('a'), ('a')",
)
SECRETS = ("CREATE TABLE secrets (id int)", "ALTER TABLE secrets ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
INVOICES = ("CREATE TABLE heroku_ext.invoices (id int PRIMARY KEY)", "INSERT INTO heroku_ext.invoices VALUES (1)")
LTREE = (
    "CREATE EXTENSION ltree SCHEMA public",
    "CREATE TABLE region (path ltree)",
    "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
    "CREATE TRIGGER moved BEFORE UPDATE ON region FOR EACH ROW WHEN (OLD.path IS DISTINCT FROM NEW.path)"
    " EXECUTE FUNCTION noted()",
)
NAMES = {
    "CHECK constraint listed of public.entry": DICTIONARY,
    "table public.secrets": SECRETS,
    "table heroku_ext.invoices": INVOICES,
    "trigger moved on public.region": LTREE,
}
COLUMNS = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'learners'::regclass AND attnum > 0"


def captures(sandbox: Sandbox) -> int:
    """How many backups were asked for."""
    return len([each for each in sandbox.requests() if each["method"] == "POST" and "backups" in each["path"]])


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_come_back_is_refused_before_anything_changes(
    hook: Hook, app: App, sandbox: Sandbox, name: str
) -> None:
    execute(app.database_url, *NAMES[name])
    before = picture(sandbox.superuser_url(app))

    result = hook.run()

    assert result.ended == (3, "refused", "not_restorable")
    (failed,) = result.named("step_failed")
    assert f"A restore could not bring everything back: {name}: " in failed["error"]
    assert "RELEASE_ALLOW=not-restorable" in failed["hint"]
    assert picture(sandbox.superuser_url(app)) == before
    assert captures(sandbox) == 0


def test_an_operator_may_allow_it_and_each_thing_is_logged(hook: Hook, app: App) -> None:
    execute(app.database_url, *DICTIONARY, *LTREE)

    result = hook.run(RELEASE_ALLOW="not-restorable")

    assert result.ended == (0, "released", None)
    overridden = result.named("guard_overridden")
    assert [(each["guard"], each["reason"]) for each in overridden] == [("not-restorable", "not_restorable")] * 2
    assert {each["detail"].partition(":")[0] for each in overridden} == {
        "CHECK constraint listed of public.entry",
        "trigger moved on public.region",
    }
    assert query(app.database_url, COLUMNS) == [(4,)]


def test_a_plan_names_all_that_would_not_come_back(hook: Hook, app: App) -> None:
    for statements in NAMES.values():
        execute(app.database_url, *statements)

    ran = hook.run("plan", "--json")

    found = json.loads(ran.stdout)
    assert (ran.exit_code, found["stopped"]) == (3, None)
    assert {each["guard"] for each in found["guards"]} == {"not-restorable"}
    assert {each["detail"].partition(":")[0] for each in found["guards"]} == set(NAMES)
    assert query(app.database_url, COLUMNS) == [(3,)]


def test_with_nothing_pending_nobody_looks(hook: Hook, app: App) -> None:
    assert hook.run().ended == (0, "released", None)
    execute(app.database_url, *SECRETS)

    assert hook.run().ended == (0, "released", None)


def test_what_cannot_be_tried_is_a_warning_and_the_release_lands(hook: Hook, app: App) -> None:
    execute(
        app.database_url,
        "CREATE FUNCTION slow(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN"
        " IF current_setting('search_path') NOT LIKE '%public%' THEN PERFORM pg_sleep(20); END IF; RETURN true; END $$",
        "ALTER TABLE learners ADD CONSTRAINT patient CHECK (slow(points))",
    )

    result = hook.run(RELEASE_SALVAGE="off")

    assert result.ended == (0, "released", None)
    (warned,) = [each for each in result.named("warning_raised") if each["warning"] == "restorable_unknown"]
    assert "CHECK constraint patient of public.learners" in warned["detail"]


@pytest.mark.parametrize("settings", [{}, {"RELEASE_BACKUP": "off"}])
def test_a_role_that_may_not_create_schemas_is_told_so(
    hook: Hook, app: App, sandbox: Sandbox, settings: dict[str, str]
) -> None:
    name, role = query(app.database_url, "SELECT quote_ident(current_database()), quote_ident(current_user)")[0]
    execute(sandbox.superuser_url(app), f"REVOKE CREATE ON DATABASE {name} FROM {role}")

    result = hook.run(**settings)

    assert result.ended == (3, "refused", "no_create_privilege")
    (failed,) = result.named("step_failed")
    assert failed["error"] == f"The database role may not create schemas: GRANT CREATE ON DATABASE {name} TO {role}"
    execute(sandbox.superuser_url(app), f"GRANT CREATE ON DATABASE {name} TO {role}")
    assert hook.run(**settings).ended == (0, "released", None)


def test_parameters_of_prisma_reach_the_app_and_not_the_hooks_own_session(hook: Hook, app: App) -> None:
    url = f"{app.database_url}?schema=public&connection_limit=3&sslaccept=accept_invalid_certs"
    stripped = 'sh -c \'echo "${DATABASE_URL#*[?]}"; DATABASE_URL="${DATABASE_URL%%[?]*}" ./'

    result = hook.run(
        DATABASE_URL=url, RELEASE_MIGRATE_COMMAND=f"{stripped}migrate'", RELEASE_PENDING_COMMAND=f"{stripped}pending'"
    )

    assert result.ended == (0, "released", None)
    # How the server is checked is the witness's business: the app reaches it on this machine.
    assert [each["line"] for each in result.named("command_output") if "schema=" in each["line"]] == [
        "schema=public&connection_limit=3&sslaccept=accept_invalid_certs",
        "schema=public&connection_limit=3",
        "schema=public&connection_limit=3",
    ]
    assert query(app.database_url, COLUMNS) == [(4,)]


def test_a_command_that_needs_a_shell_is_named_before_anything_starts(hook: Hook) -> None:
    result = hook.run(RELEASE_MIGRATE_COMMAND="./migrate && ./more")

    assert (result.exit_code, result.last["reason"]) == (2, "settings_invalid")
    assert "`&&` needs a shell" in result.last["error"]
    assert "sh -c 'first-command && second-command'" in result.last["error"]
