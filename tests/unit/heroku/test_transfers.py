"""Transfers as the Data API shows them, and what is read out of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from release.heroku.http import HerokuError, Session
from release.heroku.platform import AddOn, Ref
from release.heroku.transfers import (
    DataAPI,
    Source,
    Transfer,
    database_host,
    database_name,
    moment,
    stored,
)
from tests.unit.heroku.server import replies, serving

ADDON = AddOn("aaaa", "postgresql-flat-1", Ref("01234567", "shop"))
OURS = Source(addon_id="aaaa", database_name="d9")
URL = "postgres://u7f:p0c4a5d0e1@10.0.0.1:5432/d9"
OTHER_URL = "postgres://u8f:x@10.0.0.1:5432/d10"
STORE = "https://store.example/b012?X-Amz-Signature=hidden"

BACKUP: dict[str, Any] = {
    "uuid": "b-uuid",
    "num": 12,
    "from_type": "pg_dump",
    "to_type": "gof3r",
    "from_url": URL,
    "to_url": STORE,
    "succeeded": True,
    "warnings": 0,
    "processed_bytes": 4096,
    "created_at": "2026-05-04 10:00:00 +0000",
    "started_at": "2026-05-04 10:00:10 +0000",
    "finished_at": "2026-05-04 10:00:40 +0000",
}


def _transfer(**changes: Any) -> Transfer:
    fields = {**BACKUP, **changes}
    return Transfer(**{name: value for name, value in fields.items() if value is not ...})


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "b012"),
        ({"num": "7"}, "b007"),
        ({"num": 1234}, "b1234"),
        ({"schedule": {"uuid": "s"}}, "a012"),
        ({"from_type": "gof3r", "to_type": "pg_restore"}, "r012"),
        ({"to_type": "pg_restore"}, "c012"),
        ({"from_type": "htmlget"}, "b012"),
    ],
)
def test_a_transfer_is_named_as_herokus_cli_names_it(changes: dict[str, Any], name: str) -> None:
    assert _transfer(**changes).name == name


def test_a_transfer_cannot_be_printed_with_its_urls() -> None:
    assert f"{_transfer()} {_transfer()!r}" == "<Transfer b012> <Transfer b012>"


@pytest.mark.parametrize(
    ("uuid", "url", "matches"),
    [
        ("aaaa", None, True),
        (None, URL, True),
        ("bbbb", URL, True),
        ("aaaa", OTHER_URL, True),
        ("bbbb", None, False),
        (None, OTHER_URL, False),
        (None, None, None),
        (None, STORE, None),
    ],
)
def test_whose_data_it_is_tells_the_uuid_or_the_databases_name(
    uuid: str | None, url: str | None, matches: bool | None
) -> None:
    assert OURS.matches(uuid, url) is matches
    assert _transfer(from_uuid=uuid, from_url=url).reads(OURS) is matches
    restore = _transfer(from_type="gof3r", to_type="pg_restore", from_url=STORE, to_uuid=uuid, to_url=url)
    assert restore.writes(OURS) is matches


@pytest.mark.parametrize(
    ("uuid", "host", "matches"),
    [
        (None, "10.0.0.1", True),
        (None, "inner.example", True),
        (None, "fork.example", False),
        ("aaaa", "fork.example", True),
    ],
)
def test_a_fork_has_the_same_name_on_another_host(uuid: str | None, host: str, matches: bool) -> None:
    ours = Source(addon_id="aaaa", database_name="d9", elsewhere=frozenset({"fork.example"}))
    assert ours.matches(uuid, f"postgres://u7f:x@{host}:5432/d9") is matches


@pytest.mark.parametrize(
    ("changes", "loads"),
    [
        ({}, True),
        ({"from_url": "https://store.example/b012?X-Amz-Signature=another"}, True),
        ({"from_url": "https://store.example/b012#x"}, True),
        ({"from_url": "https://store.example/b013?X-Amz-Signature=hidden"}, False),
        ({"from_url": "https://elsewhere.example/b012"}, False),
        ({"from_url": None}, None),
        ({"to_type": "gof3r"}, False),
    ],
)
def test_which_backup_a_restore_loads_tells_the_address_without_its_signature(
    changes: dict[str, Any], loads: bool | None
) -> None:
    restore = _transfer(**{"from_type": "gof3r", "to_type": "pg_restore", "from_url": STORE, "to_url": URL, **changes})
    assert restore.loads(_transfer()) is loads
    assert restore.loads(_transfer(to_url=None)) in {None, False}


def test_a_backup_writes_nothing_and_a_restore_reads_nothing_of_a_database() -> None:
    restore = _transfer(from_type="gof3r", to_type="pg_restore", from_url=STORE, to_url=URL)
    copy = _transfer(to_type="pg_restore", to_url=OTHER_URL)
    assert (_transfer().is_backup, _transfer().is_restore, _transfer().writes(OURS)) == (True, False, False)
    assert (restore.is_backup, restore.is_restore, restore.reads(OURS)) == (False, True, False)
    assert (copy.is_backup, copy.is_restore, copy.reads(OURS), copy.writes(OURS)) == (False, True, True, False)


@pytest.mark.parametrize(
    ("changes", "finished"),
    [
        ({}, True),
        ({"finished_at": None}, False),
        ({"finished_at": None, "canceled_at": "2026-05-04 10:00:20 +0000"}, True),
    ],
)
def test_a_transfer_is_finished_when_it_says_so_or_was_cancelled(changes: dict[str, Any], finished: bool) -> None:
    assert _transfer(**changes).finished is finished


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, 30),
        ({"started_at": None}, 40),
        ({"finished_at": None}, None),
        ({"finished_at": "in a moment"}, None),
        ({"started_at": "2026-05-04T10:00:10Z", "finished_at": "2026-05-04T12:00:40+02:00"}, 30),
    ],
)
def test_how_long_it_took(changes: dict[str, Any], seconds: float | None) -> None:
    assert _transfer(**changes).seconds == seconds


@pytest.mark.parametrize(
    "text",
    [
        "2020-12-13 16:22:40 +0000",
        "2020-12-13 16:22:40 UTC",
        "2020-12-13T16:22:40Z",
        "2020-12-13T16:22:40",
        "2020-12-13T17:22:40+01:00",
    ],
)
def test_a_moment_in_any_style(text: str) -> None:
    assert moment(text) == datetime(2020, 12, 13, 16, 22, 40, tzinfo=UTC)


def test_the_databases_name_in_a_url() -> None:
    assert database_name(URL) == "d9"
    assert database_name("postgresql://h/with%20space?sslmode=require") == "with space"
    assert [database_name(each) for each in (None, "", STORE, "postgres://h", "postgres://h/")] == [None] * 5


def test_the_host_in_a_url_and_where_a_backup_is() -> None:
    assert database_host(URL) == "10.0.0.1"
    assert [database_host(each) for each in (None, "", STORE, "postgres://h")] == [None] * 4
    assert stored(STORE) == "https://store.example/b012"
    assert (stored(None), stored("")) == (None, "")


# Requests.


def test_requests_as_they_go_over_the_wire(session: Session) -> None:
    with serving(replies(200, {**BACKUP, "logs": [{"created_at": "x", "message": "done"}], "new": 1})) as server:
        data = DataAPI(session, server.url)
        assert data.transfer(ADDON, "b-uuid") == _transfer()
        assert data.logs(ADDON, "b-uuid") == ("done",)
        assert data.capture(ADDON) == _transfer()
        assert data.restore(ADDON, _transfer()) == _transfer()

    assert server.lines == [
        "GET /client/v11/apps/shop/transfers/b-uuid",
        "GET /client/v11/apps/shop/transfers/b-uuid?verbose=true",
        "POST /client/v11/databases/aaaa/backups",
        "POST /client/v11/databases/aaaa/restores",
    ]
    assert [each.body for each in server.requests[:3]] == [b"", b"", b""]
    assert server.requests[3].json == {"backup_url": STORE}


def test_the_list_and_the_description(session: Session) -> None:
    with serving(
        replies(200, [BACKUP, {**BACKUP, "uuid": "x", "num": "3", "from_type": "htmlget", "to_type": "pg_restore"}])
    ) as server:
        assert [each.name for each in DataAPI(session, server.url).transfers(ADDON)] == ["b012", "r003"]
    assert server.lines == ["GET /client/v11/apps/shop/transfers"]

    described = {"addon_id": "aaaa", "database_name": "d9", "database_password": "hidden", "following": None}
    with serving(replies(200, {**described, "num_bytes": 21, "waiting?": False})) as server:
        database = DataAPI(session, server.url).database(ADDON)
    assert server.lines == ["GET /client/v11/databases/aaaa"]
    assert (database.database_name, database.num_bytes, "hidden" in repr(database)) == ("d9", 21, False)


def test_an_answer_about_another_transfer_is_an_error(session: Session) -> None:
    with serving(replies(200, BACKUP)) as server, pytest.raises(HerokuError) as caught:
        DataAPI(session, server.url).transfer(ADDON, "another-uuid")
    assert caught.value.detail == "GET transfer another-uuid: the answer is about another transfer"


@pytest.mark.parametrize(
    "change",
    [
        {"succeeded": "true"},
        {"succeeded": "false"},
        {"succeeded": 1},
        {"warnings": "0"},
        {"processed_bytes": -1},
        {"num": "twelve"},
        {"num": ""},
        {"num": 1.5},
        {"num": -1},
        {"num": True},
        {"uuid": None},
        {"uuid": ""},
        {"finished_at": 1_700_000_000},
    ],
)
def test_a_transfer_of_wrong_types_is_an_error_and_never_a_guess(session: Session, change: dict[str, Any]) -> None:
    with serving(replies(200, {**BACKUP, **change})) as server, pytest.raises(HerokuError) as caught:
        DataAPI(session, server.url).transfer(ADDON, "b-uuid")
    assert "unreadable answer" in caught.value.detail
