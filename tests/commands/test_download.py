"""Backups listed and downloaded, from the sandbox's store over https, with what goes wrong on the way."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
from pathlib import Path

import psycopg
import pytest

from heroku_sandbox import Action, App, Sandbox, TransferAction
from tests.hook import Hook, finish, small_app
from tests.judge import execute
from tests.phase.test_nothing_lost import BROKEN, SLOW, migrating, wait_for

STORE = "^/backups/"


@pytest.fixture
def released(hook: Hook) -> Hook:
    """An app whose release has made b001."""
    assert hook.run().exit_code == 0
    return hook


def files(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir() if ".dump" in each.name)


def test_the_latest_backup_is_saved_whole_and_its_contents_are_read(released: Hook) -> None:
    result = released.run("download")

    name = f"{released.app.name}-b001.dump"
    assert (result.exit_code, result.stderr) == (0, b"")
    assert result.stdout.decode().startswith(f"{name}: ")
    assert b"its table of contents has" in result.stdout
    assert files(released.folder) == [name]
    assert (released.folder / name).read_bytes().startswith(b"PGDMP")


def test_the_newest_good_backup_is_taken_and_a_salvage_is_called_one(released: Hook, app: App) -> None:
    small_app(released.folder, {"002": BROKEN})
    last = released.run(HEROKU_RELEASE_VERSION="v8").last
    assert (last["backup"], last["salvage"]) == ("b002", "b003")
    url = app.database_url.replace(str(psycopg.conninfo.conninfo_to_dict(app.database_url)["port"]), "1")

    newest = released.run("download")
    blind = released.run("download", "-o", "blind.dump", DATABASE_URL=url)
    salvage = released.run("download", "b003")

    run = f"release v8 (run {last['run_id']})"
    assert newest.stdout.decode().startswith(f"{app.name}-b002.dump: ")
    assert f"made by {run}." in newest.stdout.decode()
    assert (blind.exit_code, b"made by somebody" in blind.stdout) == (0, True)
    assert (released.folder / "blind.dump").read_bytes() == (released.folder / f"{app.name}-b002.dump").read_bytes()
    assert f"made by {run}: a salvage, the state that was overwritten." in salvage.stdout.decode()
    rows = json.loads(released.run("backups", "--json").stdout)
    assert [(row["backup"], row["salvage"]) for row in rows] == [("b003", True), ("b002", False), ("b001", False)]


def test_where_there_are_only_salvages_download_asks_for_a_name(released: Hook, app: App) -> None:
    execute(app.database_url, f"UPDATE release_phase.runs SET salvage = '{app.transfers()[0]['uuid']}', backup = NULL")
    execute(app.database_url, "UPDATE release_phase.runs SET record = record - 'backup'")

    result = released.run("download")

    assert result.exit_code == 2
    assert "this database has none but salvages: b001" in result.stderr.decode()


@pytest.mark.parametrize("how", ["cut off", "handed over"])
def test_what_a_recovery_restored_has_its_backup_and_its_salvage_by_name(
    hook: Hook, app: App, sandbox: Sandbox, how: str
) -> None:
    small_app(hook.folder, {"001": SLOW})
    process = hook.start()
    wait_for(migrating(app))
    if how == "cut off":
        os.killpg(process.pid, signal.SIGKILL)
        finish(process)
        assert history(hook)["backup"] == "b001", "while it is unfinished, too"
    else:
        sandbox.fault(Action.ANSWER, "/apps/:app/dynos", method="POST", status=422, effect=False, body="{}")
        execute(app.database_url, "CREATE TABLE written (n int)")
        process.send_signal(signal.SIGTERM)
        assert finish(process).last["outcome"] in {"handed_over", "restore_failed"}

    recovered = hook.run("recover", "--restore").last

    row = history(hook)
    assert (row["outcome"], row["backup"], row["salvage"]) == ("restored", "b001", recovered["salvage"])
    rows = json.loads(hook.run("backups", "--json").stdout)
    made = {each["backup"]: each["made_by"] for each in rows}
    who = f"release v7 (run {row['run_id']})"
    assert made["b001"] == who
    assert recovered["salvage"] is None or made[recovered["salvage"]] == f"salvage of {who}"
    assert how == "handed over" or recovered["salvage"] == "b002"


def history(hook: Hook) -> dict[str, object]:
    """The one run that the history tells of."""
    (row,) = json.loads(hook.run("history", "--json").stdout)
    assert isinstance(row, dict)
    return row


@pytest.mark.thin(2)
@pytest.mark.parametrize("name", ["b001", "B1", "1", "001"])
def test_names_numbers_and_uuids_are_understood(released: Hook, name: str) -> None:
    assert released.run("download", name, "-o", "x.dump").exit_code == 0


def test_a_uuid_is_understood(released: Hook) -> None:
    assert released.run("download", released.app.transfers()[0]["uuid"], "-o", "x.dump").exit_code == 0


@pytest.mark.thin(2)
@pytest.mark.parametrize("name", ["b999", "r001", "nonsense", "latest"])
def test_an_unknown_name_is_a_usage_error_that_says_which_there_are(released: Hook, name: str) -> None:
    result = released.run("download", name)

    assert result.exit_code == 2
    assert f"There is no such backup: {name}; there are: b001" in result.stderr.decode()


@pytest.mark.parametrize("action", [Action.CUT, Action.TRUNCATE])
def test_a_break_is_taken_up_where_it_was(released: Hook, sandbox: Sandbox, action: Action) -> None:
    execute(released.app.database_url, "CREATE TABLE noise AS SELECT gen_random_uuid() FROM generate_series(1, 60000)")
    small_app(released.folder, {"002": "ALTER TABLE learners ADD COLUMN age integer;\n"})
    assert released.run().last["backup"] == "b002"
    sandbox.fault(action, STORE, times=2)

    result = released.run("download", "b002")

    assert result.exit_code == 0, result.stderr
    assert len(sandbox.fired()) == 2
    size = next(each["processed_bytes"] for each in released.app.transfers() if int(each["num"]) == 2)
    assert (released.folder / f"{released.app.name}-b002.dump").stat().st_size == size


def test_an_expired_link_is_fetched_anew(released: Hook, sandbox: Sandbox) -> None:
    sandbox.fault(
        Action.ANSWER, STORE, status=403, body="<Error><Code>AccessDenied</Code><Message>Request has expired</Message>"
    )
    sandbox.forget_requests()

    assert released.run("download").exit_code == 0
    assert sandbox.count("POST", "/client/v11/apps/:app/transfers/:num/actions/public-url") == 2


@pytest.mark.thin(3)
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 200, "body": "<html>Sorry</html>", "headers": {"Content-Type": "text/html"}}, "a page"),
        ({"status": 200, "body": "Sorry", "headers": {"Content-Type": "binary/octet-stream"}}, "no dump"),
        ({"status": 404, "body": "<Error/>"}, "the store answered 404"),
        ({"status": 302, "headers": {"Location": "https://example.com/"}}, "the store answered 302"),
    ],
)
def test_an_error_page_is_never_saved_as_a_dump(
    released: Hook, sandbox: Sandbox, fault: dict[str, object], words: str
) -> None:
    sandbox.fault(Action.ANSWER, STORE, times=None, **fault)

    result = released.run("download")

    assert result.exit_code == 1
    assert words in result.stderr.decode()
    assert not (released.folder / f"{released.app.name}-b001.dump").exists()
    assert b"X-Amz" not in result.stderr + result.stdout


def test_the_key_is_never_sent_to_the_store(released: Hook, sandbox: Sandbox) -> None:
    assert released.run("download").exit_code == 0

    asked = [(each["path"].startswith("/backups/"), each["keyed"]) for each in sandbox.requests()]
    assert (True, False) in asked
    assert (True, True) not in asked
    assert (False, True) in asked, "the APIs are asked with the key"


def test_the_sandbox_s_certificate_is_not_trusted_unless_it_is_named(released: Hook) -> None:
    result = finish(released.start("download", RELEASE_SANDBOX_CA=None), within=120)

    assert result.exit_code == 1
    assert b"SSLError" in result.stderr
    assert not (released.folder / f"{released.app.name}-b001.dump").exists()


def test_a_full_disk_is_a_clear_error_that_keeps_what_is_there(released: Hook) -> None:
    execute(released.app.database_url, "CREATE TABLE noise AS SELECT gen_random_uuid() FROM generate_series(1, 20000)")
    small_app(released.folder, {"002": "ALTER TABLE learners ADD COLUMN age integer;\n"})
    assert released.run().last["backup"] == "b002"
    ended = subprocess.run(
        [*released.program, "download", "b002"],
        cwd=released.folder,
        env=released.environ(),
        capture_output=True,
        check=False,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)),
    )

    assert ended.returncode == 1
    assert "The file cannot be written" in ended.stderr.decode()
    assert "are kept in" in ended.stderr.decode()
    (part,) = files(released.folder)
    assert part.endswith(".part")
    assert released.run("download", "b002").exit_code == 0
    assert files(released.folder) == [f"{released.app.name}-b002.dump"]


def test_a_folder_that_is_not_there_or_cannot_be_written_is_a_clear_error(released: Hook) -> None:
    missing = released.run("download", "-o", "nowhere/x.dump")
    assert (missing.exit_code, b"nowhere is no folder" in missing.stderr) == (2, True)
    closed = released.folder / "closed"
    closed.mkdir()
    closed.chmod(stat.S_IRUSR | stat.S_IXUSR)
    if os.geteuid():
        result = released.run("download", "-o", "closed")
    else:  # root may write anywhere but where nobody can
        result = released.run("download", "-o", "/proc/1/x.dump")
    assert (result.exit_code, b"The file cannot be written" in result.stderr) == (1, True)


def test_a_file_that_is_there_is_not_overwritten(released: Hook) -> None:
    (released.folder / "mine.dump").write_text("precious")

    result = released.run("download", "-o", "mine.dump")

    assert (result.exit_code, b"mine.dump is there already" in result.stderr) == (2, True)
    assert (released.folder / "mine.dump").read_text() == "precious"


def test_a_backup_of_another_database_only_by_name_and_on_purpose(released: Hook, app: App) -> None:
    other = app.add_database(plan="standard-0", name=f"other-{app.name}")
    app.connection.request("POST", f"/client/v11/databases/{other['id']}/backups")
    wait_for(lambda: all(each["finished_at"] for each in app.transfers()))
    name = next(f"b{int(each['num']):03d}" for each in app.transfers() if int(each["num"]) == 2)

    refused = released.run("download", name)

    assert (refused.exit_code, b"is of another database" in refused.stderr) == (3, True)
    assert released.run("download", name, "--from-any-database").exit_code == 0
    assert name not in released.run("backups").stdout.decode()


def test_backups_says_which_run_made_each_and_what_goes_next(hook: Hook, sandbox: Sandbox) -> None:
    few = sandbox.create_app(f"keeps-two-{hook.app.name}", num_keep=2, config={"HEROKU_API_KEY": sandbox.key})
    hook.app = few
    execute(few.database_url, "CREATE TABLE alembic_version (version_num text)", "CREATE TABLE learners (name text)")
    run_id = hook.run().last["run_id"]
    small_app(hook.folder, {"002": "SELECT 1;\n"})
    hook.run(HEROKU_RELEASE_VERSION="v8")

    rows = json.loads(hook.run("backups", "--json").stdout)

    assert [(row["backup"], row["state"], row["dropped_next"]) for row in rows] == [
        ("b002", "completed", False),
        ("b001", "completed", True),
    ]
    assert rows[1]["made_by"] == f"release v7 (run {run_id})"
    assert "the next backup drops it" in hook.run("backups").stdout.decode()


def test_where_the_database_is_down_backups_can_still_be_had(released: Hook, app: App) -> None:
    url = app.database_url.replace(str(psycopg.conninfo.conninfo_to_dict(app.database_url)["port"]), "1")

    listed = released.run("backups", DATABASE_URL=url)

    assert listed.exit_code == 0
    assert b"b001" in listed.stdout
    assert b"The journal cannot be read" in listed.stderr


def test_from_any_machine_the_database_s_url_is_asked_of_heroku(released: Hook) -> None:
    result = released.run("history", DATABASE_URL=None, DYNO=None)

    assert result.exit_code == 0, result.stderr
    assert b"released" in result.stdout


def test_a_half_finished_capture_is_no_backup_to_download(released: Hook, sandbox: Sandbox) -> None:
    sandbox.transfer_fault("backup", TransferAction.FAIL)
    small_app(released.folder, {"002": "SELECT 1;\n"})
    released.run()

    result = released.run("download", "b002")

    assert (result.exit_code, b"b002: failed" in result.stderr) == (3, True)


def test_history_knows_each_run_and_names_near_ones(released: Hook) -> None:
    (row,) = json.loads(released.run("history", "--json").stdout)

    assert (row["release"], row["outcome"], row["backup"]) == ("v7", "released", "b001")
    assert set(row["record"]["steps"]) == {"prepare", "backup", "migrate", "probe", "finish"}
    assert row["record"]["transfers"][0]["duration"] > 0
    assert "evidence" not in row["record"]
    whole = released.run("history", row["run_id"][:5]).stdout.decode()
    assert "the backup b001 holds it as it was before" in whole
    unknown = released.run("history", "v99")
    assert (unknown.exit_code, f"v99; the newest: {row['run_id']}" in unknown.stderr.decode()) == (2, True)
