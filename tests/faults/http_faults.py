"""What can go wrong with a request: the HTTP list of FAULTS.md in the sandbox's terms.

Times are real seconds; the runs wait 1 s for an answer (10 s on their clock), 1.5 s for a whole body, and look for a
lost one until 3.5 s have gone by.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from heroku_sandbox import Action

API = "^/(apps|client|addons)"
"""All of the hook's requests."""

NOBODY = "00000000-0000-4000-8000-000000000000"
PAGE = "<!DOCTYPE html><html><body><h1>Application error</h1></body></html>"
HTML = {"Content-Type": "text/html"}
DEEP = "[" * 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault of one request: its name, and the fields of the sandbox's rule.

    `everywhere`: it is tried at every request of a release in each test run; the others at those that start a transfer
    and at some others, and at every request in the sweep.
    """

    name: str
    action: Action
    fields: dict[str, Any] = field(default_factory=dict)
    everywhere: bool = False


def answer(name: str, status: int, body: object = None, *, effect: bool = False, **headers: str) -> Fault:
    """Another answer in place of the real one."""
    text = body if isinstance(body, str) else json.dumps(body or {"id": "error", "message": "an error"})
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    named |= HTML if text.startswith("<") else {}
    return Fault(
        name=name,
        action=Action.ANSWER,
        fields={"status": status, "body": text, "effect": effect, "headers": named},
        everywhere=name in EVERYWHERE,
    )


EVERYWHERE = {"503"}

LIMITED = {"id": "rate_limit", "message": "Your account reached the API rate limit"}

CONNECTION = (
    Fault(name="reset before", action=Action.RESET, fields={"effect": False}),
    Fault(name="reset after", action=Action.RESET, everywhere=True),
    Fault(name="no answer", action=Action.HANG, fields={"effect": False}),
    Fault(name="no answer, done later than the first look", action=Action.HANG, fields={"seconds": 2}),
    Fault(name="no answer, done at once", action=Action.HANG, fields={"seconds": 0}),
    Fault(name="late answer", action=Action.DELAY, fields={"seconds": 0.5}),
    Fault(name="answer after the timeout", action=Action.DELAY, fields={"seconds": 1.6}),
    Fault(name="drip", action=Action.DRIP, fields={"seconds": 0.01}),
    Fault(name="truncated", action=Action.TRUNCATE),
    Fault(name="cut off", action=Action.CUT),
    Fault(name="huge", action=Action.HUGE, fields={"size": 100_000_000}),
)

STATUSES = (
    answer("401", 401, {"id": "unauthorized", "message": "Invalid credentials provided."}),
    answer("403", 403, {"id": "forbidden", "message": "You do not have access"}, Oauth_Scope="read"),
    answer("404", 404, {"id": "not_found", "message": "Couldn't find that."}),
    answer("404 as a page", 404, PAGE),
    answer("409", 409, {"id": "conflict", "message": "a transfer is in progress"}),
    answer("422", 422, {"id": "invalid_params", "message": "a transfer is in progress"}),
    answer("429", 429, LIMITED),
    answer("429, done", 429, LIMITED, effect=True),
    answer("429, retry after 0", 429, LIMITED, Retry_After="0"),
    answer("429, retry after -5", 429, LIMITED, Retry_After="-5"),
    answer("429, retry after a word", 429, LIMITED, Retry_After="soon"),
    answer("429, retry after a date gone by", 429, LIMITED, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
    answer("429, retry after a date to come", 429, LIMITED, Retry_After="Wed, 21 Oct 2115 07:28:00 GMT"),
    answer("500", 500, PAGE),
    answer("500, done", 500, effect=True),
    answer("502", 502, PAGE),
    answer("502, done", 502, PAGE, effect=True),
    answer("503", 503, {"id": "maintenance", "message": "the API is temporarily unavailable"}),
    answer("503, done", 503, effect=True),
    answer("504", 504, PAGE),
    answer("504, done", 504, PAGE, effect=True),
    answer("redirect on the same host", 307, Location="/elsewhere"),
    answer("redirect to another path, done", 303, effect=True, Location="/elsewhere"),
)

BODIES = (
    answer("an empty answer", 200, " "),
    answer("an empty answer, done", 200, " ", effect=True),
    answer("a page with 200", 200, PAGE),
    answer("a page with 200, done", 200, PAGE, effect=True),
    answer("deep nesting", 200, DEEP),
    answer("deep nesting, done", 201, DEEP, effect=True),
    answer("NaN", 200, '{"uuid": NaN, "num": NaN}'),
    answer("duplicate keys, done", 200, '{"uuid": "a", "uuid": "b", "from_type": "x", "to_type": "y"}', effect=True),
    answer("null, done", 200, "null", effect=True),
    answer("a number, done", 200, "1e999", effect=True),
    answer("no UTF-8, done", 200, '"\udcff"'.encode("utf-8", "replace").decode(), effect=True),
    answer("the key echoed in an error", 422, {"id": "bad", "message": "key {key}", "{key}": "{key}"}),
    answer("the key echoed in a page, done", 500, "<html>{key}</html>", effect=True),
    answer("the key echoed with 200, done", 200, {"uuid": "{key}", "id": "{key}", "name": "{key}"}, effect=True),
)

FAULTS = (*CONNECTION, *STATUSES, *BODIES)

TRANSFER = "^/client/v11/(apps/[^/]+/transfers/[^/]+|databases/[^/]+/(backups|restores))$"
"""Answers that are one transfer."""
TRANSFERS = "^/client/v11/apps/[^/]+/transfers$"
APP = "^/apps/[^/]+$"
ATTACHMENTS = "^.*/addon-attachments$"
FORMATION = "^.*/formation$"
DATABASE = "^/client/v11/databases/[^/]+$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lie:
    """An answer that is nearly right: fields of the real one set or taken away.

    `nth`: at which of these answers it is told in each test run; the sweep tells it at all of them.
    """

    name: str
    path: str
    set: dict[str, Any] = field(default_factory=dict)
    delete: tuple[str, ...] = ()
    method: str | None = None
    nth: tuple[int, ...] = (1,)


LIES = (
    Lie(
        name='succeeded is "true"',
        path=TRANSFER,
        nth=(1, 2),
        set={"succeeded": "true", "finished_at": "2026-01-01 00:00:00 +0000"},
    ),
    Lie(name='succeeded is "false"', path=TRANSFER, nth=(1, 2), set={"succeeded": "false"}),
    Lie(name="succeeded is 1", path=TRANSFER, nth=(1, 2), set={"succeeded": 1}),
    Lie(name="no succeeded", path=TRANSFER, nth=(1, 2), delete=("succeeded",)),
    Lie(name="uuid is a number", path=TRANSFER, nth=(1, 2), set={"uuid": 7}),
    Lie(name="no uuid", path=TRANSFER, nth=(1, 2), delete=("uuid",)),
    Lie(name="another uuid", path=TRANSFER, nth=(1, 2), set={"uuid": NOBODY}),
    Lie(name="no types", path=TRANSFER, nth=(1, 2), delete=("from_type", "to_type")),
    Lie(name="num is a text", path=TRANSFER, nth=(1, 2), set={"num": "seven"}),
    Lie(name="bytes are a text", path=TRANSFER, nth=(1, 2), set={"processed_bytes": "many"}),
    Lie(name="bytes are negative", path=TRANSFER, nth=(1, 2), set={"processed_bytes": -1}),
    Lie(name="unknown fields", path=TRANSFER, nth=(1, 2), set={"colour": "blue", "nested": {"deep": [1, 2, 3]}}),
    Lie(name="times are nonsense", path=TRANSFER, nth=(1, 2), set={"created_at": "yesterday", "started_at": 7}),
    Lie(
        name="another database's",
        path=TRANSFER,
        nth=(1, 2),
        set={"from_url": "postgres://a:b@c/other"},
    ),
    Lie(name="the key as a name", path=TRANSFER, nth=(1, 2), set={"from_name": "{key}", "to_name": "{key}"}),
    Lie(name="the list's uuids are numbers", path=TRANSFERS, nth=(1, 2, 4), set={"*.uuid": 7}),
    Lie(name="the list has unknown fields", path=TRANSFERS, nth=(1, 2, 4), set={"*.colour": "blue"}),
    Lie(name="the list's numbers are texts", path=TRANSFERS, nth=(1, 2, 4), set={"*.num": "7"}),
    Lie(name="maintenance is a text", path=APP, set={"maintenance": "off"}),
    Lie(name="the app's id is another", path=APP, set={"id": NOBODY}),
    Lie(name="the app has no name", path=APP, delete=("name",)),
    Lie(name="attachments without add-ons", path=ATTACHMENTS, delete=("*.addon",)),
    Lie(name="attachments of another app", path=ATTACHMENTS, set={"*.app.id": NOBODY, "*.app.name": "other"}),
    Lie(name="config vars are a text", path=ATTACHMENTS, set={"*.config_vars": "DATABASE_URL"}),
    Lie(name="quantities are texts", path=FORMATION, set={"*.quantity": "two"}, method="GET"),
    Lie(name="quantities are negative", path=FORMATION, set={"*.quantity": -1}, method="GET"),
    Lie(name="the database is another", path=DATABASE, set={"addon_id": NOBODY}),
    Lie(name="the database has another name", path=DATABASE, set={"database_name": "other"}),
    Lie(name="the size is a text", path=DATABASE, set={"num_bytes": "large"}),
)
