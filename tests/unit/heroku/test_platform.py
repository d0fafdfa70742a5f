"""The Platform API's requests, as they go over the wire, and its answers."""

from __future__ import annotations

import base64

import pytest

from release.heroku.http import HerokuError, Session
from release.heroku.platform import AddOn, App, Attachment, Dyno, Place, Plan, Platform, Process, Ref
from tests.unit.heroku.conftest import KEY
from tests.unit.heroku.server import Exchange, replies, serving

APP = {"id": "01234567", "name": "shop", "maintenance": False, "owner": {"email": "someone@example.com"}}
ADDON = {"id": "aaaa", "name": "postgresql-flat-1", "app": {"id": "01234567", "name": "shop"}}
ATTACHMENT = {
    "addon": {**ADDON, "plan": {"id": "p", "name": "heroku-postgresql:standard-0"}},
    "app": {"id": "01234567", "name": "shop"},
    "name": "DATABASE",
    "config_vars": ["DATABASE_URL"],
    "namespace": None,
}
THE_ADDON = AddOn("aaaa", "postgresql-flat-1", Ref("01234567", "shop"))


def test_a_request_names_version_key_and_what_it_wants_to_have_included(session: Session) -> None:
    with serving(replies(200, APP)) as server:
        assert Platform(session, server.url, "shop").app() == App("01234567", "shop", maintenance=False)

    assert server.lines == ["GET /apps/shop"]
    headers = server.requests[0].headers
    assert headers["Accept"].startswith("application/vnd.heroku+json; version=3")
    assert headers["Accept-Inclusion"] == "addon:plan,config_vars"
    assert headers["Authorization"] == "Basic " + base64.b64encode(f":{KEY}".encode()).decode()


@pytest.mark.parametrize(
    ("stack", "command"),
    [
        ("cnb", "launcher release-phase"),
        ("heroku-24", "release-phase"),
        ("container", "release-phase"),
        (7, "release-phase"),
    ],
)
def test_a_one_off_dyno_of_fir_is_started_by_its_launcher(session: Session, stack: object, command: str) -> None:
    with serving(replies(200, {**APP, "stack": {"id": "s", "name": stack}})) as server:
        assert Platform(session, server.url, "shop").app().one_off("release-phase") == command


def test_attachments_carry_plan_and_config_vars(session: Session) -> None:
    with serving(replies(200, [ATTACHMENT])) as server:
        platform = Platform(session, server.url, "shop")
        (found,) = platform.attachments()
        assert platform.places_of(found.addon) == (Place(Ref("01234567", "shop")),)

    assert found == Attachment(
        addon=AddOn("aaaa", "postgresql-flat-1", Ref("01234567", "shop"), Plan("heroku-postgresql:standard-0")),
        config_vars=("DATABASE_URL",),
    )
    assert server.lines == ["GET /apps/shop/addon-attachments", "GET /addons/aaaa/addon-attachments"]


def test_an_addon_may_come_without_its_plan(session: Session) -> None:
    with serving(replies(200, [{**ATTACHMENT, "addon": ADDON}])) as server:
        (found,) = Platform(session, server.url, "shop").attachments()
    assert found.addon == THE_ADDON


def test_maintenance_and_formation_are_set_absolutely_so_that_twice_does_no_harm(session: Session) -> None:
    with serving(replies(200, [{"type": "web", "quantity": 1, "size": "basic"}])) as server:
        platform = Platform(session, server.url, "shop")
        assert platform.formation() == (Process("web", 1),)
        platform.set_maintenance(on=True)
        platform.set_maintenance(on=False)
        platform.scale({"worker": 0, "clock": 2})

    assert server.lines == [
        "GET /apps/shop/formation",
        "PATCH /apps/shop",
        "PATCH /apps/shop",
        "PATCH /apps/shop/formation",
    ]
    assert [each.json for each in server.requests[1:]] == [
        {"maintenance": True},
        {"maintenance": False},
        {"updates": [{"type": "worker", "quantity": 0}, {"type": "clock", "quantity": 2}]},
    ]
    assert server.requests[1].headers["Content-Type"] == "application/json"


def test_a_dyno_is_started_detached(session: Session) -> None:
    with serving(replies(201, {"name": "run.77", "state": "starting", "attach_url": None})) as server:
        dyno = Platform(session, server.url, "shop").run("bin/release recover", {"A": "1"}, time_to_live=3600)

    assert dyno == Dyno("run.77")
    assert server.lines == ["POST /apps/shop/dynos"]
    assert server.requests[0].json == {
        "attach": False,
        "command": "bin/release recover",
        "env": {"A": "1"},
        "time_to_live": 3600,
    }


def test_a_name_cannot_lead_to_another_path(session: Session) -> None:
    with serving(replies(200, APP)) as server:
        Platform(session, server.url, "a/b?c=d#e f").app()
    assert server.lines == ["GET /apps/a%2Fb%3Fc%3Dd%23e%20f"]


def test_nothing_is_printed_and_no_error_of_heroku3_is_seen(
    session: Session, capfd: pytest.CaptureFixture[str]
) -> None:
    statuses = iter([429, 422, 401, 404, 503])

    def answer(exchange: Exchange) -> None:
        exchange.reply(next(statuses), b"\xff no JSON")

    with serving(answer) as server:
        platform = Platform(session, server.url, "shop")
        for status in (429, 422, 401, 404, 503):
            with pytest.raises(HerokuError) as caught:
                platform.app()
            assert caught.value.status == status

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            {**APP, "maintenance": "false"},
            "GET /apps/shop: unreadable answer (`maintenance`: Expected `bool`, got `str`",
        ),
        ([], "GET /apps/shop: unreadable answer (Expected `object`, got `array`)"),
        ({"id": "1", "name": "shop"}, "`maintenance`: it is missing"),
    ],
)
def test_an_answer_of_another_shape_is_an_error(session: Session, answer: object, words: str) -> None:
    with serving(replies(200, answer)) as server, pytest.raises(HerokuError) as caught:
        Platform(session, server.url, "shop").app()
    assert words in caught.value.detail
