"""What both APIs have in common, the shapes of their answers, and the downloads."""

from __future__ import annotations

import base64
import json
import ssl
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from heroku_sandbox import App, Failure, Sandbox
from tests.judge import query
from tests.sandbox.conftest import capture, wait_until

INCLUSION = {"Accept-Inclusion": "addon:plan,config_vars"}


def test_attachments_show_plan_and_config_vars_when_asked(app: App) -> None:
    path = f"/apps/{app.name}/addon-attachments"

    (plain,), (full,) = app.connection.request("GET", path), app.connection.request("GET", path, headers=INCLUSION)

    assert "config_vars" not in plain
    assert full["config_vars"] == ["DATABASE_URL"]
    assert full["addon"]["plan"]["name"] == "heroku-postgresql:standard-0"
    assert full["addon"]["app"]["name"] == app.name


@pytest.mark.parametrize("text", ["DATABASE_URL", "DATABASE", "database", "{app}::DATABASE", "{addon}", "{id}"])
def test_an_attachment_is_found_by_whatever_clients_call_it(app: App, text: str) -> None:
    asked = text.format(app=app.name, addon=app.addon_name, id=app.addon_id)

    body = {"addon_attachment": asked, "app": app.name}
    (found,) = app.connection.request("POST", "/actions/addon-attachments/resolve", body)

    assert found["addon"]["id"] == app.addon_id


def test_what_is_not_there_is_said_as_heroku_says_it(app: App) -> None:
    def answer(method: str, path: str, body: object = None) -> tuple[int, Any]:
        status, _, content = app.connection.exchange(method, path, body)
        return status, json.loads(content)

    unknown = {"addon_attachment": "NOPE", "app": app.name}
    assert answer("GET", "/apps/nope") == (
        404,
        {"id": "not_found", "message": "Couldn't find that app.", "resource": "app"},
    )
    assert answer("POST", "/actions/addon-attachments/resolve", unknown) == (
        404,
        {"id": "not_found", "message": "Couldn't find that add on attachment.", "resource": "add_on attachment"},
    )
    assert answer("GET", "/nowhere")[1]["id"] == "not_found"
    assert answer("GET", f"/postgres/v0/databases/{app.addon_id}/credentials/nope") == (
        400,
        {"message": "Credential nope does not exist."},
    )


@pytest.mark.parametrize("user", ["", "someone"])
def test_a_key_is_accepted_as_bearer_and_as_basic_password(app: App, user: str) -> None:
    basic = base64.b64encode(f"{user}:{app.key}".encode()).decode()

    status, headers, _ = app.connection.exchange("GET", "/account", headers={"Authorization": f"Basic {basic}"})

    assert status == 200
    assert int(headers["ratelimit-remaining"]) > 0
    assert len(headers["request-id"]) == 36


def test_an_unknown_key_is_refused(app: App) -> None:
    status, _, body = app.connection.exchange("GET", "/account", headers={"Authorization": "Bearer wrong"})

    assert (status, json.loads(body)["id"]) == (401, "unauthorized")


def test_scopes_are_named_when_they_do_not_suffice(sandbox: Sandbox, app: App) -> None:
    sandbox.set_key("narrow", ["read"])
    narrow = {"Authorization": "Bearer narrow"}

    assert app.connection.exchange("GET", f"/apps/{app.name}", headers=narrow)[0] == 200
    status, headers, body = app.connection.exchange("GET", f"/apps/{app.name}/config-vars", headers=narrow)
    sandbox.set_key("narrow", None)

    assert (status, json.loads(body)["id"]) == (403, "forbidden")
    assert headers["oauth-scope"] == "read"
    assert headers["oauth-scope-accepted"] == "global write-protected read-protected"
    assert app.connection.exchange("GET", f"/apps/{app.name}", headers=narrow)[0] == 401


def test_the_rate_limit_runs_out_and_asking_for_it_is_free(sandbox: Sandbox, app: App) -> None:
    sandbox.set_key("busy", ["global"])
    busy = {"Authorization": "Bearer busy"}
    sandbox.set_options(rate_limit=2)

    statuses = [app.connection.exchange("GET", "/account", headers=busy)[0] for _ in range(3)]
    status, _, body = app.connection.exchange("GET", "/account/rate-limits", headers=busy)
    sandbox.set_options(rate_limit=1_000_000)

    assert statuses == [200, 200, 429]
    assert (status, json.loads(body)) == (200, {"remaining": 0})


def test_long_request_ids_are_accepted(app: App) -> None:
    assert app.connection.exchange("GET", "/account", headers={"Request-Id": "x" * 7140})[0] == 200


def fetch(sandbox: Sandbox, url: str, **headers: str) -> tuple[int, bytes]:
    context = ssl.create_default_context(cafile=sandbox.ca)
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, context=context) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_a_dump_is_downloaded_over_https_whole_or_in_ranges(sandbox: Sandbox, app: App) -> None:
    backup = capture(app)
    signed = app.connection.request("POST", f"/client/v11/apps/{app.name}/transfers/1/actions/public-url")["url"]

    status, whole = fetch(sandbox, signed)

    assert (status, whole[:5], len(whole)) == (200, b"PGDMP", backup["processed_bytes"])
    assert fetch(sandbox, signed, Range="bytes=5-") == (206, whole[5:])
    assert fetch(sandbox, signed, Range="bytes=0-3") == (206, whole[:4])
    assert fetch(sandbox, signed, Range=f"bytes={len(whole)}-")[0] == 416


def test_downloads_need_a_signature_that_is_still_good(sandbox: Sandbox, app: App) -> None:
    backup = capture(app)
    path = f"/client/v11/apps/{app.name}/transfers/1"
    sandbox.set_options(url_seconds=0.2)
    signed = app.connection.request("POST", f"{path}/actions/public-url")["url"]
    sandbox.set_options(url_seconds=3600)
    good = app.connection.request("POST", f"{path}/actions/public-url")["url"]
    time.sleep(0.3)

    assert fetch(sandbox, backup["to_url"])[0] == 403
    status, body = fetch(sandbox, signed)
    assert (status, b"<Message>Request has expired</Message>" in body) == (403, True)
    app.connection.request("DELETE", path)
    status, body = fetch(sandbox, good)
    assert (status, b"<Code>NoSuchKey</Code>" in body) == (404, True)


def test_credentials_are_created_rotated_and_destroyed(app: App) -> None:
    path = f"/postgres/v0/databases/{app.addon_id}/credentials"
    first = app.add_credential("analyst")
    app.connection.request("POST", f"{path}/analyst/credentials_rotation")
    second = app.connection.request("GET", f"{path}/analyst")["credentials"][0]

    assert second["user"] == first["user"]
    assert second["password"] != first["password"]
    url = f"postgres://{second['user']}:{second['password']}@{app.database_url.partition('@')[2]}"
    assert query(url, "SELECT current_user") == [(second["user"],)]
    app.connection.request("DELETE", f"{path}/analyst")
    assert [each["name"] for each in app.connection.request("GET", path)] == ["default"]
    with pytest.raises(Failure, match="Default credential cannot be destroyed"):
        app.connection.request("DELETE", f"{path}/default")


def test_an_attachment_can_use_another_credential(app: App) -> None:
    user = app.add_credential("reader")["user"]

    body = {"addon": app.addon_name, "app": app.name, "name": "READER", "namespace": "credential:reader"}
    app.connection.request("POST", "/addon-attachments", body)

    assert query(app.config["READER_URL"], "SELECT current_user") == [(user,)]


def test_a_destroyed_add_on_takes_its_attachments_along(app: App) -> None:
    other = app.add_database(plan="standard-0")

    gone = app.connection.request("DELETE", f"/apps/{app.name}/addons/{other['name']}")

    assert gone["state"] == "deprovisioned"
    assert "HEROKU_POSTGRESQL_AMBER_URL" not in app.config
    assert app.connection.exchange("GET", f"/addons/{other['id']}")[0] == 404


def test_an_answer_is_held_back_but_its_effect_and_other_requests_are_not(sandbox: Sandbox, app: App) -> None:
    path = f"/client/v11/databases/{app.addon_id}/backups"
    sandbox.set_options(answer_seconds=1)
    try:
        with ThreadPoolExecutor() as threads:
            began = time.monotonic()
            asked = [threads.submit(app.connection.request, "POST", path) for _ in range(3)]
            wait_until(lambda: sandbox.count("POST", path, accepted=True) == 3)
            done = time.monotonic() - began
            answers = [each.result()["num"] for each in asked]
            answered = time.monotonic() - began
    finally:
        sandbox.set_options(answer_seconds=0)

    assert done < 1 <= answered < 2
    assert sorted(answers) == [1, 2, 3]
