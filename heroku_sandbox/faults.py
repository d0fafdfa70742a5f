"""Faults on request: what goes wrong with which request, and with which transfer.

A rule names requests (method, path, which occurrence, how often) and what happens to them. The effect of the
request on the sandbox is separate from what its client gets to see: that is the point of most of them.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Any

from heroku_sandbox.names import Action, TransferAction
from heroku_sandbox.web import Answer, Exchange

_HANG_LIMIT = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A fault of HTTP.

    `path` is a pattern like `/client/v11/databases/:db/backups`, or a regular expression when it starts with
    `^`. `nth` counts matching requests from 1; the rule fires from that one on, `times` times (None: for ever).
    In `body` and in `set`'s values `{key}` stands for the API key of the request. The keys of `set` and the
    items of `delete` are dotted paths into the JSON, with numbers and `*` for lists: `logs.0.message`, `*.uuid`.
    """

    action: Action
    path: str = "^"
    method: str | None = None
    nth: int = 1
    times: int | None = 1
    effect: bool = True
    seconds: float = 0
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    size: int = 100_000_000
    set: dict[str, Any] = field(default_factory=dict)
    delete: list[str] = field(default_factory=list)

    def matches(self, exchange: Exchange) -> bool:
        """Tells whether it is about this request, leaving aside which occurrence it is."""
        pattern = self.path if self.path.startswith("^") else re.sub(r":\w+", "[^/]+", self.path) + "$"
        return self.method in (None, exchange.method) and re.match(pattern, exchange.path) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferFault:
    """A fault of a transfer. `kind` is backup or restore; `nth` and `times` as in Rule."""

    kind: str
    action: TransferAction
    nth: int = 1
    times: int | None = 1
    seconds: float = 5
    warnings: int = 1
    succeeds: bool = False


@dataclass(slots=True)
class Armed:
    """A fault in place: how many occurrences it has seen, how often it has fired."""

    id: int
    fault: Rule | TransferFault
    seen: int = 0
    fired: int = 0

    def due(self) -> bool:
        """Counts an occurrence and tells whether the fault fires now."""
        self.seen += 1
        due = self.seen >= self.fault.nth and (self.fault.times is None or self.fired < self.fault.times)
        self.fired += due
        return due


class Faults:
    """The faults in place. The first rule that is due decides over a request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[Armed] = []
        self._ids = itertools.count(1)
        self.log: list[dict[str, Any]] = []

    def add(self, fault: Rule | TransferFault) -> int:
        """Puts a fault in place. Returns its id, which the log's entries name."""
        with self._lock:
            armed = Armed(next(self._ids), fault)
            self._armed.append(armed)
            return armed.id

    def clear(self) -> None:
        """Takes all faults away and forgets the log."""
        with self._lock:
            self._armed.clear()
            self.log.clear()

    def armed(self) -> list[dict[str, Any]]:
        """Returns the faults in place with their counts."""
        with self._lock:
            return [asdict(armed) for armed in self._armed]

    def for_transfer(self, kind: str) -> TransferFault | None:
        """Returns the fault of the transfer that begins now, or None."""
        with self._lock:
            for armed in self._armed:
                fault = armed.fault
                if isinstance(fault, TransferFault) and fault.kind == kind and armed.due():
                    self._note(armed, kind)
                    return fault
        return None

    def for_request(self, exchange: Exchange) -> Rule | None:
        """Returns the rule that decides over a request, or None."""
        with self._lock:
            for armed in self._armed:
                rule = armed.fault
                if isinstance(rule, Rule) and rule.matches(exchange) and armed.due():
                    self._note(armed, f"{exchange.method} {exchange.path}")
                    return rule
        return None

    def _note(self, armed: Armed, subject: str) -> None:
        self.log.append(
            {"id": armed.id, "action": armed.fault.action, "subject": subject, "seen": armed.seen, "at": time.time()}
        )

    def gate(self, exchange: Exchange, answer: Callable[[], Answer]) -> None:
        """Answers a request as the rules say."""
        rule = self.for_request(exchange)
        if rule is None:
            exchange.send(answer())
        else:
            _ACTIONS[rule.action](rule, exchange, answer)


def _reset(rule: Rule, exchange: Exchange, answer: Callable[[], Answer]) -> None:
    if rule.effect:
        answer().content()
    exchange.reset()


def _hang(rule: Rule, exchange: Exchange, answer: Callable[[], Answer]) -> None:
    exchange.close = True
    if rule.effect:
        timer = threading.Timer(rule.seconds, lambda: answer().content())
        timer.daemon = True
        timer.start()
    exchange.connection.settimeout(_HANG_LIMIT)
    exchange.connection.recv(1)  # until the client gives up


def _delay(rule: Rule, exchange: Exchange, answer: Callable[[], Answer]) -> None:
    if rule.effect:
        real = answer()
        real.content()
        time.sleep(rule.seconds)
    else:
        time.sleep(rule.seconds)
        real = answer()
    exchange.send(real)


def _drip(rule: Rule, exchange: Exchange, answer: Callable[[], Answer]) -> None:
    real = answer()
    body = real.content()
    exchange.send_head(real)
    for byte in body:
        time.sleep(rule.seconds)
        exchange.write(bytes([byte]))


def _answer(rule: Rule, exchange: Exchange, answer: Callable[[], Answer]) -> None:
    if rule.effect:
        answer().content()
    headers = {"Content-Type": "application/json", **rule.headers}
    body = rule.body.replace("{key}", _key(exchange)).encode()
    exchange.send(Answer(status=rule.status, headers=list(headers.items()), body=[body], length=len(body)))


def _truncate(_: Rule, exchange: Exchange, answer: Callable[[], Answer]) -> None:
    real = answer()
    body = real.content()
    real.replace(body[: len(body) // 2])
    exchange.send(real)


def _cut(_: Rule, exchange: Exchange, answer: Callable[[], Answer]) -> None:
    real = answer()
    body = real.content()
    exchange.close = True
    exchange.send_head(real)
    exchange.write(body[: len(body) // 2])


def _huge(rule: Rule, exchange: Exchange, answer: Callable[[], Answer]) -> None:
    real = answer()
    real.content()
    real.length = None

    def pieces() -> Iterator[bytes]:
        yield b'{"uuid": "'
        piece = b"x" * 65_536
        for _ in range(rule.size // len(piece)):
            yield piece

    real.body = pieces()
    exchange.send(real)


def _patch(rule: Rule, exchange: Exchange, answer: Callable[[], Answer]) -> None:
    real = answer()
    document = json.loads(real.content())
    for path, value in rule.set.items():
        fresh = value.replace("{key}", _key(exchange)) if isinstance(value, str) else value
        _apply(document, path.split("."), functools.partial(_set, value=fresh))
    for path in rule.delete:
        _apply(document, path.split("."), _delete)
    real.replace(json.dumps(document).encode())
    exchange.send(real)


def _set(place: Any, name: Any, value: Any) -> None:
    place[name] = value


def _delete(place: Any, name: Any) -> None:
    del place[name]


def _apply(place: Any, path: list[str], change: Callable[[Any, Any], Any]) -> None:
    """Calls `change` with each place in the document that a dotted path names, and its key there."""
    first, rest = path[0], path[1:]
    keys: list[Any] = [first]
    if isinstance(place, list):
        keys = list(range(len(place))) if first == "*" else [int(first)]
    for key in keys:
        if rest:
            _apply(place[key], rest, change)
        else:
            change(place, key)


def _reverse(_: Rule, exchange: Exchange, answer: Callable[[], Answer]) -> None:
    real = answer()
    real.replace(json.dumps(json.loads(real.content())[::-1]).encode())
    exchange.send(real)


def _page(rule: Rule, exchange: Exchange, answer: Callable[[], Answer]) -> None:
    """Cuts the list into pages of `rule.size`, and gives the one that the request's `Range` asks for."""
    real = answer()
    rows = json.loads(real.content())
    name = "id" if rows and "id" in rows[0] else "uuid"
    after = exchange.headers.get("range", "").partition("]")[2].partition("..")[0]
    places = [row[name] for row in rows]
    first = places.index(after) + 1 if after in places else 0
    chosen = rows[first : first + rule.size]
    if len(rows) > first + rule.size:
        real.status = HTTPStatus.PARTIAL_CONTENT
        real.headers.append(("Next-Range", f"{name} ]{chosen[-1][name]}..; max={rule.size}"))
    real.replace(json.dumps(chosen).encode())
    exchange.send(real)


def _twice(_: Rule, exchange: Exchange, answer: Callable[[], Answer]) -> None:
    real = answer()
    real.content()
    answer().content()
    exchange.send(real)


def _key(exchange: Exchange) -> str:
    return exchange.headers.get("authorization", "").rpartition(" ")[2]


_ACTIONS = {
    Action.RESET: _reset,
    Action.HANG: _hang,
    Action.DELAY: _delay,
    Action.DRIP: _drip,
    Action.ANSWER: _answer,
    Action.TRUNCATE: _truncate,
    Action.CUT: _cut,
    Action.HUGE: _huge,
    Action.PATCH: _patch,
    Action.REVERSE: _reverse,
    Action.PAGE: _page,
    Action.TWICE: _twice,
}
