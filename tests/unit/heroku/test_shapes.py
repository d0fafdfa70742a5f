"""What becomes of each field of each answer when it is of another type, null, or missing.

The answers are those of recorded traffic, whole. A table says which fields are needed, and against what; every other
field may be anything. What is needed and not there ends the wait for it, with the field's name, in less than a minute.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from release.clock import Deadline
from release.errors import Reason, StepFailed
from release.heroku import shape
from release.heroku.exactly_once import SETTLE, Request, start_once
from release.heroku.http import Effect, HerokuError, Session, ShapeUnknown
from release.heroku.platform import AddOn, Platform, Ref
from release.heroku.transfers import DataAPI, Transfer
from release.retry import SHAPE_PATIENCE, polling, retried
from tests.unit.heroku.server import Server, replies, serving
from tests.unit.recording import Recording, SteppingClock

ADDON = AddOn("aaaa", "postgresql-flat-1", Ref("01234567", "shop"))
BACKUP: dict[str, Any] = {
    "uuid": "b-uuid",
    "num": 12,
    "from_type": "pg_dump",
    "from_name": "DATABASE",
    "from_url": "postgres://u7f:p0c4a5d0e1@10.0.0.1:5432/d9",
    "to_type": "gof3r",
    "to_name": "BACKUP",
    "to_url": "https://store.example/b012",
    "options": {},
    "source_bytes": 8_000_000,
    "processed_bytes": 4096,
    "succeeded": True,
    "warnings": 0,
    "created_at": "2020-12-13 16:22:40 +0000",
    "started_at": "2020-12-13 16:22:42 +0000",
    "canceled_at": None,
    "updated_at": "2020-12-13 16:23:00 +0000",
    "finished_at": "2020-12-13 16:23:00 +0000",
    "deleted_at": None,
    "purged_at": None,
    "num_keep": 25,
    "schedule": {"uuid": "s-uuid"},
}
RUNNING = {**BACKUP, "succeeded": None, "finished_at": None, "source_bytes": None}
ASKED_FOR = {**RUNNING, "started_at": None, "updated_at": None, "processed_bytes": 0}
RESTORE = {
    **BACKUP,
    "uuid": "r-uuid",
    "num": 13,
    "from_type": "gof3r",
    "from_name": "BACKUP",
    "from_url": BACKUP["to_url"],
    "to_type": "pg_restore",
    "to_name": "DATABASE",
    "to_url": BACKUP["from_url"],
    "source_bytes": None,
    "num_keep": 5,
}
DATABASE = {
    "addon_id": "aaaa",
    "name": "postgresql-flat-1",
    "plan": {"id": "p", "name": "standard-0"},
    "database_name": "d9",
    "database_user": "u7f",
    "database_password": "p0c4a5d0e1",
    "resource_url": BACKUP["from_url"],
    "following": None,
    "forked_from": None,
    "waiting?": False,
    "num_bytes": 8_000_000,
    "info": [{"name": "Continuous Protection", "values": ["On"]}],
}
LOG = {"created_at": "2020-12-13 16:22:42 +0000", "level": "info", "message": "pg_restore: creating TABLE"}
APP = {"id": "01234567", "name": "shop", "maintenance": False, "owner": {"email": "a@example.com"}, "stack": {}}
ATTACHMENT = {
    "id": "t",
    "name": "DATABASE",
    "namespace": None,
    "addon": {"id": "aaaa", "name": "postgresql-flat-1", "app": {"id": "01234567", "name": "shop"}, "plan": {"id": 1}},
    "app": {"id": "01234567", "name": "shop"},
    "config_vars": ["DATABASE_URL"],
    "web_url": None,
}
PROCESS = {"type": "worker", "quantity": 2, "size": "Standard-1X", "command": "true", "app": {"id": "01234567"}}
DYNO = {"name": "run.77", "state": "starting", "attach_url": None, "command": "true", "size": "Standard-1X"}

OTHER, NULL, MISSING = "of another type", "null", "missing"
ALWAYS = frozenset({OTHER, NULL, MISSING})
TYPE = frozenset({OTHER})
GIVEN = frozenset({OTHER, MISSING})
"""It has to be there, but null says something."""

IDENTITY = {"uuid": ALWAYS, "num": ALWAYS, "from_type": ALWAYS, "to_type": ALWAYS, "from_url": TYPE, "to_url": TYPE}
STATE = {"succeeded": GIVEN, "finished_at": GIVEN, "canceled_at": TYPE}
PROOF = {"processed_bytes": ALWAYS, "warnings": ALWAYS}

Ask = Callable[[Session, str], object]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer: how it is asked for, what is recorded of it, and which of its fields are needed against what.

    `listed`: the body is a list of such.
    """

    name: str
    ask: Ask
    body: dict[str, Any]
    needed: dict[str, frozenset[str]] = field(default_factory=dict)
    listed: bool = False


def data(call: Callable[[DataAPI], object]) -> Ask:
    return lambda session, url: call(DataAPI(session, url))


def platform(call: Callable[[Platform], object]) -> Ask:
    return lambda session, url: call(Platform(session, url, "shop"))


TRANSFER = Transfer(uuid="b-uuid", from_type="pg_dump", to_type="gof3r", num=12, to_url=BACKUP["to_url"])
LISTED: dict[str, Any] = {"ask": data(lambda api: api.transfers(ADDON)), "listed": True, "needed": IDENTITY | STATE}
ANSWERS = (
    Answer(name="a backup in the list", body=BACKUP, **LISTED),
    Answer(name="a restore in the list", body=RESTORE, **LISTED),
    Answer(
        name="a running backup",
        ask=data(lambda api: api.transfer(ADDON, "b-uuid")),
        body=RUNNING,
        needed=IDENTITY | STATE,
    ),
    Answer(
        name="a finished backup",
        ask=data(lambda api: api.transfer(ADDON, "b-uuid")),
        body=BACKUP,
        needed=IDENTITY | STATE | PROOF,
    ),
    Answer(
        name="a finished restore",
        ask=data(lambda api: api.transfer(ADDON, "r-uuid")),
        body=RESTORE,
        needed=IDENTITY | STATE,
    ),
    Answer(
        name="a capture that was asked for",
        ask=data(lambda api: api.capture(ADDON)),
        body=ASKED_FOR,
        needed=IDENTITY | dict.fromkeys(STATE, TYPE),
    ),
    Answer(
        name="a restore that was asked for",
        ask=data(lambda api: api.restore(ADDON, TRANSFER)),
        body={**RESTORE, "succeeded": None, "finished_at": None},
        needed=IDENTITY | dict.fromkeys(STATE, TYPE),
    ),
    Answer(
        name="a transfer's log",
        ask=data(lambda api: api.logs(ADDON, "r-uuid")),
        body={**RESTORE, "logs": [LOG]},
        needed={"logs": ALWAYS, "logs.0": frozenset({OTHER, NULL}), "logs.0.message": ALWAYS},
    ),
    Answer(
        name="a download's address",
        ask=data(lambda api: api.link(ADDON, TRANSFER)),
        body={"url": "https://store.example/b012?signed", "expires_at": "2020-12-13 17:22:40 +0000"},
        needed={"url": ALWAYS},
    ),
    Answer(
        name="a database",
        ask=data(lambda api: api.database(ADDON)),
        body=DATABASE,
        needed={"database_name": ALWAYS, "addon_id": TYPE},
    ),
    Answer(
        name="an app",
        ask=platform(lambda api: api.app()),
        body=APP,
        needed=dict.fromkeys(("id", "name", "maintenance"), ALWAYS),
    ),
    Answer(
        name="an attachment",
        ask=platform(lambda api: api.attachments()),
        body=ATTACHMENT,
        listed=True,
        needed=dict.fromkeys(
            ("addon", "addon.id", "addon.name", "addon.app", "addon.app.id", "addon.app.name", "config_vars"), ALWAYS
        )
        | {"config_vars.0": frozenset({OTHER, NULL})},
    ),
    Answer(
        name="an attachment to another app",
        ask=platform(lambda api: api.places_of(ADDON)),
        body=ATTACHMENT,
        listed=True,
        needed=dict.fromkeys(("app", "app.id", "app.name"), ALWAYS),
    ),
    Answer(
        name="a process type",
        ask=platform(lambda api: api.formation()),
        body=PROCESS,
        listed=True,
        needed=dict.fromkeys(("type", "quantity"), ALWAYS),
    ),
    Answer(name="a dyno", ask=platform(lambda api: api.run("true", {}, time_to_live=60)), body=DYNO),
    Answer(
        name="config vars",
        ask=platform(lambda api: api.config_var("DATABASE_URL")),
        body={"DATABASE_URL": "postgres://u@h/d9", "PORT": "80"},
    ),
)


def places(body: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """All fields, those inside of others too; entries of lists count as fields with a number."""
    inside = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for name, value in inside:
        yield (*path, str(name))
        yield from places(value, (*path, str(name)))


def damaged(body: dict[str, Any], path: tuple[str, ...], fault: str) -> dict[str, Any]:
    """The body with that field replaced or taken away."""
    body = copy.deepcopy(body)
    place: Any = body
    for name in path[:-1]:
        place = place[int(name) if isinstance(place, list) else name]
    last: Any = int(path[-1]) if isinstance(place, list) else path[-1]
    if fault == MISSING:
        del place[last]
    else:
        place[last] = None if fault == NULL else [{"7": 7}] if not isinstance(place[last], list) else {"7": 7}
    return body


CASES = [
    pytest.param(answer, path, fault, id=f"{answer.name}: {'.'.join(path)} is {fault}")
    for answer in ANSWERS
    for path in places(answer.body)
    for fault in (OTHER, NULL, MISSING)
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One server for all of them; each test says how it answers."""
    with serving(replies(200, {})) as server:
        yield server


def serve(server: Server, answer: Answer, body: object) -> None:
    server.answer = replies(200, [body] if answer.listed else body)


def shown(answer: Answer, path: tuple[str, ...]) -> str:
    """How the field is named in the error."""
    name = "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in path)
    return "`" + ("[0]" + name if answer.listed else name.lstrip(".")) + "`"


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.name)
def test_each_answer_is_readable_as_recorded(session: Session, server: Server, answer: Answer) -> None:
    serve(server, answer, answer.body)
    answer.ask(session, server.url)
    assert answer.needed.keys() <= {".".join(path) for path in places(answer.body)}


@pytest.mark.parametrize(("answer", "path", "fault"), CASES)
def test_a_needed_field_is_named_and_any_other_may_be_anything(
    session: Session,
    server: Server,
    clock: SteppingClock,
    recording: Recording,
    answer: Answer,
    path: tuple[str, ...],
    fault: str,
) -> None:
    serve(server, answer, damaged(answer.body, path, fault))
    call = partial(answer.ask, session, server.url)
    if fault not in answer.needed.get(".".join(path), frozenset()):
        call()
        return
    with pytest.raises(ShapeUnknown) as caught:
        retried(call, name="GET", clock=clock, log=recording.log, deadline=Deadline(clock, 3600))
    assert caught.value.reason is Reason.HEROKU_SHAPE_UNKNOWN
    assert f"unreadable answer ({shown(answer, path)}: " in caught.value.detail
    assert "newer version" in caught.value.reason.hint
    assert SHAPE_PATIENCE <= clock.monotonic() < SHAPE_PATIENCE + 20
    assert (caught.value.effect, caught.value.passing) == (Effect.UNKNOWN, True)


@pytest.mark.parametrize(("given", "deleted"), [(None, False), (False, False), ("2020-12-13", True), (1.5, True)])
def test_a_deleted_backup_is_one_whatever_says_so(
    session: Session, server: Server, given: object, deleted: bool
) -> None:
    server.answer = replies(200, {**BACKUP, "deleted_at": given})
    assert bool(DataAPI(session, server.url).transfer(ADDON, "b-uuid").deleted_at) is deleted


@pytest.mark.parametrize("given", [{"uuid": "s"}, "daily", 7, [1]])
def test_a_scheduled_backup_is_one_whatever_its_schedule_looks_like(
    session: Session, server: Server, given: object
) -> None:
    server.answer = replies(200, [{**BACKUP, "schedule": given}])
    assert DataAPI(session, server.url).transfers(ADDON)[0].name == "a012"


def test_a_dyno_that_has_no_name_was_started_all_the_same(session: Session, server: Server) -> None:
    server.answer = replies(201, {"id": "x", "name": None})
    assert Platform(session, server.url, "shop").run("true", {}, time_to_live=60).name == "run"


def test_what_only_informs_is_dropped_alone_and_the_rest_of_it_kept(session: Session, server: Server) -> None:
    server.answer = replies(200, [BACKUP, {**BACKUP, "uuid": "c", "processed_bytes": "4 kB", "started_at": 7}])
    one, two = DataAPI(session, server.url).transfers(ADDON)
    assert (one.size, one.seconds) == (4096, 18)
    assert (two.size, two.seconds, two.warnings, two.num_keep) == (0, 20, 0, 25)


# How long.


def _polled(call: Callable[[], object], clock: SteppingClock, recording: Recording) -> object:
    return polling(
        call,
        until=lambda found: found == "done",
        name="GET",
        clock=clock,
        log=recording.log,
        deadline=Deadline(clock, 3600),
        chance=lambda: 0.5,
    )


UNREADABLE = ShapeUnknown("GET transfer", shape.Unknown("succeeded", "Expected `bool | null`, got `str`"))
AWAY = HerokuError("GET transfer: 503", status=503)


def test_a_poll_rides_over_a_shape_that_passes(clock: SteppingClock, recording: Recording) -> None:
    def call() -> str:
        if clock.monotonic() < SHAPE_PATIENCE - 10:
            raise UNREADABLE
        return "done"

    assert _polled(call, clock, recording) == "done"


def test_a_poll_ends_when_the_shape_stays_also_between_other_failures_and_late(
    clock: SteppingClock, recording: Recording
) -> None:
    began = 1000.0

    def call() -> str:
        if clock.monotonic() < began:
            return "running"
        raise AWAY if len(clock.slept) % 2 else UNREADABLE

    with pytest.raises(ShapeUnknown) as caught:
        _polled(call, clock, recording)
    assert caught.value is UNREADABLE
    assert began + SHAPE_PATIENCE <= clock.monotonic() < began + SHAPE_PATIENCE + 35


def test_a_readable_answer_between_starts_the_patience_anew(clock: SteppingClock, recording: Recording) -> None:
    def call() -> str:
        if clock.monotonic() > 4 * SHAPE_PATIENCE:
            return "done"
        if len(clock.slept) % 4 == 3:
            return "running"
        raise UNREADABLE

    assert _polled(call, clock, recording) == "done"


# A request whose answer cannot be read.


def _start(
    clock: SteppingClock,
    recording: Recording,
    listed: Callable[[], tuple[Transfer, ...]],
    ours: Callable[[Transfer], bool | None] = lambda _: True,
) -> tuple[Transfer, int]:
    sent = []

    def post() -> Transfer:
        sent.append(clock.monotonic())
        raise UNREADABLE

    request = Request(name="POST backups", post=post, listed=listed, known=frozenset({"old"}), ours=ours)
    try:
        return start_once(request, clock=clock, log=recording.log, deadline=Deadline(clock, 3600)), len(sent)
    finally:
        assert len(sent) == 1


def test_what_an_unreadable_answer_was_about_is_found_in_the_list(clock: SteppingClock, recording: Recording) -> None:
    assert _start(clock, recording, lambda: (TRANSFER,)) == (TRANSFER, 1)


def test_a_list_that_stays_unreadable_ends_it_without_a_second_request(
    clock: SteppingClock, recording: Recording
) -> None:
    def listed() -> tuple[Transfer, ...]:
        raise UNREADABLE

    with pytest.raises(StepFailed) as caught:
        _start(clock, recording, listed)
    assert (caught.value.reason, "`succeeded`" in caught.value.detail) == (Reason.HEROKU_SHAPE_UNKNOWN, True)
    assert SETTLE < clock.monotonic() < SHAPE_PATIENCE + 10


def test_a_new_transfer_of_which_nothing_tells_whose_it_is_is_neither_adopted_nor_asked_for_again(
    clock: SteppingClock, recording: Recording
) -> None:
    with pytest.raises(StepFailed) as caught:
        _start(clock, recording, lambda: (TRANSFER,), ours=lambda _: None)
    assert (caught.value.reason, "b012" in caught.value.detail) == (Reason.OUTCOME_UNKNOWN, True)
    assert clock.monotonic() >= SETTLE


def test_beside_such_a_one_the_transfer_that_is_surely_ours_is_adopted(
    clock: SteppingClock, recording: Recording
) -> None:
    other = Transfer(uuid="o-uuid", from_type="pg_dump", to_type="gof3r", num=11)
    found, _ = _start(clock, recording, lambda: (other, TRANSFER), ours=lambda each: each is TRANSFER or None)
    assert found is TRANSFER
