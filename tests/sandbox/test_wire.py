"""The Data API's answers as recorded, and in the other forms."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from heroku_sandbox import App, Failure, Sandbox, TransferAction, Variant
from tests.sandbox.conftest import capture, restore, wait_until


@pytest.fixture
def sandbox(sandbox: Sandbox) -> Iterator[Sandbox]:
    """The worker's sandbox, with its answers as recorded at the end."""
    yield sandbox
    sandbox.set_options(variants=[])


def show(app: App, transfer: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = app.connection.request("GET", f"/client/v11/apps/{app.name}/transfers/{transfer['uuid']}")
    return found


def numbers(app: App) -> list[object]:
    return [each["num"] for each in app.connection.request("GET", f"/client/v11/apps/{app.name}/transfers")]


def test_at_the_post_nothing_is_known_yet_that_comes_later(sandbox: Sandbox, app: App) -> None:
    sandbox.transfer_fault("backup", TransferAction.STUCK_PENDING)

    made = app.connection.request("POST", f"/client/v11/databases/{app.addon_id}/backups")

    unknown = ("source_bytes", "started_at", "updated_at", "finished_at", "canceled_at", "succeeded")
    assert {name: made[name] for name in unknown} == dict.fromkeys(unknown)
    assert (made["processed_bytes"], made["warnings"], made["num_keep"]) == (0, 0, 25)
    assert not {"from_uuid", "to_uuid", "schedule", "logs"} & made.keys()


def test_a_finished_backup_knows_all_of_it_but_no_uuid_of_a_database(app: App) -> None:
    backup = capture(app)

    assert backup["source_bytes"] > 0
    assert None not in {backup["started_at"], backup["updated_at"], backup["finished_at"]}
    assert backup["created_at"].endswith(" +0000")
    assert app.database_url.rpartition("/")[2] == backup["from_url"].rpartition("/")[2]
    assert not {"from_uuid", "to_uuid"} & backup.keys()


def test_a_restore_never_knows_its_source_and_keeps_five(sandbox: Sandbox, app: App) -> None:
    backup = capture(app)
    sandbox.transfer_fault("restore", TransferAction.SLOW, seconds=0.5)
    path = f"/client/v11/databases/{app.addon_id}/restores"
    made = app.connection.request("POST", path, {"backup_url": backup["to_url"]})
    wait_until(lambda: show(app, made)["started_at"])
    running = show(app, made)
    wait_until(lambda: show(app, made)["finished_at"])

    seen = [made, running, show(app, made)]
    assert [(each["source_bytes"], each["num_keep"], "to_uuid" in each) for each in seen] == [(None, 5, False)] * 3
    assert [each["updated_at"] is None for each in seen] == [True, False, False]


def test_the_list_is_mostly_the_newest_first_but_not_strictly(app: App) -> None:
    for _ in range(6):
        capture(app)

    assert numbers(app) == [6, 4, 5, 3, 2, 1]


@pytest.mark.parametrize(
    "path", ["/client/v11/databases/nope", "/client/v11/apps/{app}/transfers/99", "/client/v11/apps/nope/transfers"]
)
def test_what_the_data_api_does_not_find_is_a_page_that_says_it_is_json(app: App, path: str) -> None:
    status, headers, body = app.connection.exchange("GET", path.format(app=app.name))

    assert (status, headers["content-type"], body) == (404, "application/json", b"<h1>Not Found</h1>")


def test_the_data_api_tells_no_rate_limit_and_the_platform_api_does(app: App) -> None:
    paths = (f"/client/v11/apps/{app.name}/transfers", "/client/v11/databases/nope", f"/apps/{app.name}")

    told = ["ratelimit-remaining" in app.connection.exchange("GET", path)[1] for path in paths]

    assert told == [False, False, True]


@pytest.mark.parametrize(
    ("plan", "kind", "protection"), [("standard-0", dict, "On"), ("premium-0", dict, "On"), ("essential-0", str, "Off")]
)
def test_a_databases_description_is_as_recorded(sandbox: Sandbox, plan: str, kind: type, protection: str) -> None:
    app = sandbox.create_app(f"described-{plan}", plan=plan)

    found = app.connection.request("GET", f"/client/v11/databases/{app.addon_id}")

    assert isinstance(found["plan"], kind)
    assert found["following"] is None
    assert {"name": "Continuous Protection", "values": [protection]} in found["info"]


def test_each_variant_changes_what_it_says(sandbox: Sandbox, app: App) -> None:
    restore(app, capture(app))
    transfers = f"/client/v11/apps/{app.name}/transfers"

    def seen(*variants: Variant) -> tuple[dict[str, Any], dict[str, Any]]:
        sandbox.set_options(variants=variants)
        one, two = (app.connection.request("GET", f"{transfers}/{number}") for number in (1, 2))
        return one, two

    backup, loaded = seen(Variant.UUIDS)
    assert {backup["from_uuid"], backup["to_uuid"], loaded["from_uuid"], loaded["to_uuid"]} == {app.addon_id}
    assert [each["num"] for each in seen(Variant.TEXT_NUMBERS)] == ["1", "2"]
    assert all(each["finished_at"].endswith("Z") and "T" in each["finished_at"] for each in seen(Variant.ISO_TIMES))
    assert seen(Variant.EARLY_FIGURES)[1]["source_bytes"] > 0
    sandbox.set_options(variants=[Variant.SHORT_ANSWERS])
    short = app.connection.request("POST", f"/client/v11/databases/{app.addon_id}/backups")
    assert short.keys() == {"uuid", "from_type", "to_type"}
    first, second = (seen(Variant.SIGNED)[0]["to_url"] for _ in range(2))
    assert first != second
    assert first.partition("?")[0] == second.partition("?")[0] == backup["to_url"]
    restored = app.connection.request("POST", f"/client/v11/databases/{app.addon_id}/restores", {"backup_url": first})
    wait_until(lambda: show(app, restored)["succeeded"])


def test_the_variants_of_lists_descriptions_and_errors(sandbox: Sandbox, app: App) -> None:
    for _ in range(5):
        capture(app)
    sandbox.set_options(variants=[Variant.OLDEST_FIRST, Variant.PLAIN_PLAN, Variant.JSON_ERRORS])

    assert numbers(app) == [1, 2, 3, 4, 5]
    assert app.connection.request("GET", f"/client/v11/databases/{app.addon_id}")["plan"] == "standard-0"
    status, _, body = app.connection.exchange("GET", "/client/v11/databases/nope")
    assert (status, json.loads(body)["resource"]) == (404, "database")
    sandbox.set_options(variants=[Variant.UNSORTED])
    uuids = [each["uuid"] for each in app.connection.request("GET", f"/client/v11/apps/{app.name}/transfers")]
    assert all(one < two for one, two in itertools.pairwise(uuids))


def test_a_misspelt_variant_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(Failure, match="Invalid enum value 'upside-down'"):
        sandbox.set_options(variants=["upside-down"])
