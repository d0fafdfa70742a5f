"""Faults of HTTP: what the client sees, and what happened all the same."""

from __future__ import annotations

import http.client
import json
import socket
import time
from contextlib import closing
from typing import Any

import pytest

from heroku_sandbox import Action, App, Failure, Sandbox
from tests.sandbox.conftest import wait_until

BACKUPS = "/client/v11/databases/:db/backups"


def post_backup(app: App) -> Any:
    return app.connection.request("POST", f"/client/v11/databases/{app.addon_id}/backups")


@pytest.mark.parametrize("effect", [True, False])
def test_a_reset_comes_after_the_effect_or_instead_of_it(sandbox: Sandbox, app: App, effect: bool) -> None:
    sandbox.fault(Action.RESET, BACKUPS, method="POST", effect=effect)

    with pytest.raises(Failure) as failure:
        post_backup(app)

    assert isinstance(failure.value.__cause__, ConnectionResetError)
    assert len(app.transfers()) == int(effect)
    assert sandbox.count("POST", BACKUPS, accepted=True) == int(effect)
    assert sandbox.count("POST", BACKUPS) == 1
    assert sandbox.fired()[0]["subject"] == f"POST /client/v11/databases/{app.addon_id}/backups"


def test_an_answer_that_never_comes_has_its_effect_later(sandbox: Sandbox, app: App) -> None:
    sandbox.fault(Action.HANG, BACKUPS, method="POST", seconds=0.4)

    with closing(socket.create_connection(("127.0.0.1", app.connection.port), timeout=0.2)) as client:
        head = (
            f"POST /client/v11/databases/{app.addon_id}/backups HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{sandbox.connection.port}\r\nAuthorization: Bearer {app.key}\r\n\r\n"
        )
        client.sendall(head.encode())
        with pytest.raises(TimeoutError):
            client.recv(1)

    assert app.transfers() == []
    wait_until(lambda: len(app.transfers()) == 1)


def test_a_delay_is_before_or_after_the_effect(sandbox: Sandbox, app: App) -> None:
    sandbox.fault(Action.DELAY, "/apps/:app", seconds=0.3)
    started = time.monotonic()

    assert app.connection.request("GET", f"/apps/{app.name}")["name"] == app.name
    assert time.monotonic() - started >= 0.3


def test_bytes_drip(sandbox: Sandbox, app: App) -> None:
    sandbox.fault(Action.DRIP, "/account/rate-limits", seconds=0.01)
    started = time.monotonic()

    assert app.connection.request("GET", "/account/rate-limits")["remaining"] > 0
    assert time.monotonic() - started >= 0.15


@pytest.mark.parametrize("effect", [True, False])
def test_any_answer_can_stand_in_for_the_real_one(sandbox: Sandbox, app: App, effect: bool) -> None:
    body = '{"id": "rate_limit", "message": "your key is {key}"}'
    sandbox.fault(Action.ANSWER, BACKUPS, status=429, headers={"Retry-After": "a word"}, body=body, effect=effect)

    path = f"/client/v11/databases/{app.addon_id}/backups"
    status, headers, content = app.connection.exchange("POST", path)

    assert (status, headers["retry-after"]) == (429, "a word")
    assert json.loads(content)["message"] == f"your key is {app.key}"
    assert len(app.transfers()) == int(effect)


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (404, {"Content-Type": "text/html"}, "<html><h1>Not here</h1></html>"),
        (200, {"Content-Type": "text/html"}, "<html>"),
        (302, {"Location": "http://127.0.0.1:1/elsewhere"}, ""),
        (201, {}, ""),
        (200, {}, "[" * 50_000 + "]" * 50_000),
        (200, {}, '{"uuid": NaN, "uuid": "again"}'),
    ],
)
def test_answers_of_any_kind_arrive_as_given(
    sandbox: Sandbox, app: App, status: int, headers: dict[str, str], body: str
) -> None:
    sandbox.fault(Action.ANSWER, "^/apps/", status=status, headers=headers, body=body)

    seen = app.connection.exchange("GET", f"/apps/{app.name}")

    assert (seen[0], seen[2].decode()) == (status, body)
    assert {name.lower(): value for name, value in headers.items()}.items() <= dict(seen[1]).items()


def test_a_body_can_be_truncated_or_cut_off_or_huge(sandbox: Sandbox, app: App) -> None:
    whole = app.connection.exchange("GET", f"/apps/{app.name}")[2]

    sandbox.fault(Action.TRUNCATE, "/apps/:app")
    assert app.connection.exchange("GET", f"/apps/{app.name}")[2] == whole[: len(whole) // 2]

    sandbox.clear_faults()
    sandbox.fault(Action.CUT, "/apps/:app")
    with pytest.raises(http.client.IncompleteRead):
        app.connection.exchange("GET", f"/apps/{app.name}")

    sandbox.clear_faults()
    sandbox.fault(Action.HUGE, "/apps/:app", size=3_000_000)
    assert len(app.connection.exchange("GET", f"/apps/{app.name}")[2]) > 2_900_000


def test_the_real_answer_can_be_patched(sandbox: Sandbox, app: App) -> None:
    post_backup(app)
    sandbox.fault(Action.PATCH, "/apps/:app", set={"maintenance": "no", "owner.email": "{key}"}, delete=["id"])
    sandbox.fault(Action.PATCH, "^/client/.*/transfers$", set={"*.uuid": "another", "0.num": "1"})

    patched = app.connection.request("GET", f"/apps/{app.name}")

    assert (patched["maintenance"], patched["owner"]["email"]) == ("no", app.key)
    assert "id" not in patched
    assert [(each["uuid"], each["num"]) for each in app.transfers()] == [("another", "1")]


def test_the_effect_can_come_twice(sandbox: Sandbox, app: App) -> None:
    sandbox.fault(Action.TWICE, BACKUPS, method="POST")

    answer = post_backup(app)

    assert [each["num"] for each in app.transfers()] == [1, 2]
    assert answer["num"] == 1
    assert sandbox.count("POST", BACKUPS, accepted=True) == 2


def test_a_rule_fires_from_its_occurrence_on_and_so_often(sandbox: Sandbox, app: App) -> None:
    sandbox.fault(Action.ANSWER, "/apps/:app", status=503, nth=2, times=2)
    assert [app.connection.exchange("GET", f"/apps/{app.name}")[0] for _ in range(5)] == [200, 503, 503, 200, 200]

    sandbox.clear_faults()
    sandbox.fault(Action.ANSWER, "/apps/:app", status=503, nth=2, times=None)
    assert [app.connection.exchange("GET", f"/apps/{app.name}")[0] for _ in range(4)] == [200, 503, 503, 503]
    assert app.connection.exchange("GET", "/account")[0] == 200


def test_a_misspelt_fault_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(Failure, match="Invalid enum value 'explode'"):
        sandbox.connection.request("POST", "/sandbox/faults", {"action": "explode"})
    with pytest.raises(Failure, match=r"Unknown names: every\. Known names: action, body"):
        sandbox.fault(Action.RESET, every=2)


def test_the_control_wants_its_token(sandbox: Sandbox) -> None:
    status, _, _ = sandbox.connection.exchange("DELETE", "/sandbox/faults", headers={"Sandbox-Token": "guess"})

    assert status == 401
