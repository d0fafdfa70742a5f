"""Whole runs against each form of Heroku's answers, beside transfers of another database in the same list."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from heroku_sandbox import Action, App, Sandbox, TransferAction, Variant
from tests.hook import Hook, small_app
from tests.judge import execute, picture, query
from tests.sandbox.conftest import capture, restore, wait_until

BROKEN = "ALTER TABLE learners DROP COLUMN points;\nUPDATE learners SET name = upper(name);\nSELECT 1 / 0;\n"
MENDED = "ALTER TABLE learners DROP COLUMN points;\n"
LIST = "^/client/v11/apps/[^/]+/transfers$"
BACKUPS, RESTORES = "/client/v11/databases/:db/backups", "/client/v11/databases/:db/restores"
FORMS = [(), *((each,) for each in Variant), tuple(Variant)]


def form(variants: tuple[Variant, ...]) -> str:
    return "+".join(variants) if len(variants) < 2 else "all"


@pytest.fixture
def sandbox(sandbox: Sandbox) -> Iterator[Sandbox]:
    """The worker's sandbox, with its answers as recorded at the end."""
    yield sandbox
    sandbox.set_options(variants=[])


@pytest.fixture
def other(app: App, sandbox: Sandbox) -> dict[str, Any]:
    """Another database of the app, which has transfers of its own: a backup and a restore."""
    other = app.add_database(plan="standard-0")
    execute(other["url"], "CREATE TABLE theirs AS SELECT 1 AS n")
    restore(app, capture(app, other["id"]), other["id"])
    sandbox.forget_requests()
    return other


@pytest.mark.parametrize("variants", FORMS, ids=form)
def test_a_release_is_undone_and_its_next_one_lands(
    hook: Hook, sandbox: Sandbox, app: App, other: dict[str, Any], variants: tuple[Variant, ...]
) -> None:
    small_app(hook.folder, {"002": BROKEN})
    before = picture(sandbox.superuser_url(app))
    sandbox.set_options(variants=variants)

    undone = hook.run()
    assert undone.ended == (1, "restored", "migration_failed")
    assert picture(sandbox.superuser_url(app)) == before
    assert (undone.last["backup"], undone.last["salvage"], undone.last["restore"]) == ("b003", "b004", "r005")

    small_app(hook.folder, {"002": MENDED})
    landed = hook.run()
    assert (*landed.ended, landed.last["backup"]) == (0, "released", None, "b006")
    assert query(app.database_url, "SELECT count(nickname) FROM learners") == [(300,)]
    assert query(other["url"], "SELECT n FROM theirs") == [(1,)]


@pytest.mark.parametrize("variants", [(), (Variant.UUIDS,), (Variant.SIGNED,), tuple(Variant)], ids=form)
def test_lost_answers_are_found_in_the_list(
    hook: Hook, sandbox: Sandbox, other: dict[str, Any], variants: tuple[Variant, ...]
) -> None:
    small_app(hook.folder, {"002": BROKEN})
    sandbox.set_options(variants=variants)
    sandbox.fault(Action.RESET, BACKUPS, method="POST", times=2)
    sandbox.fault(Action.RESET, RESTORES, method="POST")

    result = hook.run()

    assert result.ended == (1, "restored", "migration_failed")
    assert sandbox.count("POST", BACKUPS, accepted=True) == 2
    assert sandbox.count("POST", RESTORES, accepted=True) == 1
    assert query(other["url"], "SELECT n FROM theirs") == [(1,)]


def test_another_databases_transfer_under_way_keeps_nobody_waiting(
    hook: Hook, sandbox: Sandbox, app: App, other: dict[str, Any]
) -> None:
    sandbox.transfer_fault("backup", TransferAction.STUCK_RUNNING)
    app.connection.request("POST", f"/client/v11/databases/{other['id']}/backups")

    result = hook.run(RELEASE_LOCK_WAIT="1")

    assert result.ended == (0, "released", None)
    assert not result.named("transfer_awaited")


@pytest.mark.parametrize("kind", ["backup", "restore"])
def test_one_under_way_of_which_heroku_tells_no_database_is_waited_for(
    hook: Hook, sandbox: Sandbox, app: App, other: dict[str, Any], kind: str
) -> None:
    source = next(each for each in app.transfers() if each["from_type"] == "pg_dump")
    sandbox.transfer_fault(kind, TransferAction.STUCK_RUNNING)
    body = {"backup_url": source["to_url"]} if kind == "restore" else None
    app.connection.request("POST", f"/client/v11/databases/{other['id']}/{kind}s", body)
    sandbox.forget_requests()
    untold = "from_url" if kind == "backup" else "to_url"
    sandbox.fault(Action.PATCH, LIST, times=None, set={f"0.{untold}": None})

    result = hook.run(RELEASE_LOCK_WAIT="1")

    assert result.ended == (3, "refused", "foreign_transfer")
    assert sandbox.count("POST") == 0


def test_a_list_that_tells_no_databases_does_not_keep_a_release_from_being_undone(
    hook: Hook, sandbox: Sandbox, app: App
) -> None:
    small_app(hook.folder, {"002": BROKEN})
    before = picture(sandbox.superuser_url(app))
    sandbox.fault(Action.PATCH, LIST, times=None, delete=["*.from_url"])

    assert hook.run().ended == (1, "restored", "migration_failed")
    assert picture(sandbox.superuser_url(app)) == before


def test_a_backup_of_which_heroku_tells_no_database_is_not_restored_by_hand(
    hook: Hook, sandbox: Sandbox, app: App
) -> None:
    capture(app)
    sandbox.fault(Action.PATCH, LIST, times=None, delete=["*.from_url"])

    result = hook.run("restore", "b001", "--yes")

    assert result.ended == (3, "refused", "other_backup")
    assert sandbox.count("POST", RESTORES) == 0


@pytest.mark.parametrize("attached", [True, False], ids=["attached", "unknown"])
def test_a_fork_keeps_the_databases_name_and_is_told_by_its_host(
    hook: Hook, sandbox: Sandbox, app: App, other: dict[str, Any], attached: bool
) -> None:
    sandbox.transfer_fault("backup", TransferAction.STUCK_RUNNING)
    app.connection.request("POST", f"/client/v11/databases/{other['id']}/backups")
    fork = f"postgres://u:p@fork.example.com:5432{urlsplit(app.database_url).path}"
    sandbox.fault(Action.PATCH, LIST, times=None, set={"0.from_url": fork})

    result = hook.run(RELEASE_LOCK_WAIT="1", HEROKU_POSTGRESQL_FORK_URL=fork if attached else None)

    assert result.ended == ((0, "released", None) if attached else (3, "refused", "foreign_transfer"))


@pytest.mark.parametrize("told", [True, False], ids=["told", "untold"])
def test_a_restore_onto_nobody_knows_what_undoes_nothing_after_a_run_that_was_cut_off(
    hook: Hook, sandbox: Sandbox, app: App, other: dict[str, Any], told: bool
) -> None:
    sandbox.transfer_fault("backup", TransferAction.SLOW, seconds=2)
    run = hook.start()
    wait_until(lambda: sandbox.count("POST", BACKUPS, accepted=True))
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    wait_until(lambda: app.transfers()[-1]["finished_at"])
    restore(app, app.transfers()[-1], other["id"])
    execute(app.database_url, "UPDATE learners SET points = -1")
    sandbox.forget_requests()
    if not told:
        sandbox.fault(Action.PATCH, LIST, times=None, set={"0.to_url": None})

    result = hook.run()

    assert result.ended == ((0, "released", None) if told else (3, "refused", "unfinished_run"))
    assert sandbox.count("POST", RESTORES) == 0
    assert query(app.database_url, "SELECT DISTINCT points FROM learners") == [(-1,)]
