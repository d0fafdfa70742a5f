"""The deterministic layer: thousands of runs of retries, polls and lost answers on a clock that only counts.

A model of Heroku loses answers, lets requests take effect late, lists what it likes and answers garbage. Hypothesis
chooses, and prints what it chose when something breaks.
"""

from __future__ import annotations

import io
import json
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import format_datetime

import pytest
import requests
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st

from release.clock import Clock, Deadline, Signals
from release.errors import Reason, StepFailed
from release.heroku.exactly_once import ATTEMPTS, Request, start_once
from release.heroku.http import Effect, HerokuError, Session, decode, retry_after
from release.heroku.transfers import Transfer
from release.log.logger import Log, open_log
from release.retry import READ_ATTEMPTS, TimedOut, polling, retried
from tests.faults.figures import Cell, Recorder

FIELDS = Transfer.__struct_fields__
KEY = "HRKU-AAmodel01-aaaa-bbbb-cccc-ddddeeeeffff"
LATEST_EFFECT = 30.0
"""Seconds after which Heroku's router has ended a request, so that it has no effect any more."""


class CountedClock(Clock):
    """A clock that stands still but for its sleeps."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        assert 0 <= seconds < 10_000
        self.at += max(seconds, 0.001)


@dataclass
class Answered:
    """What one POST comes to: how long it takes, whether and when it has its effect, and what the client gets."""

    takes: float
    effect_after: float | None
    failure: HerokuError | None
    twin: bool
    stale: bool


@st.composite
def answers(draw: st.DrawFn) -> Answered:
    certain = draw(st.booleans())
    takes = draw(st.floats(0, 15))
    if certain:
        status = draw(st.sampled_from([401, 403, 404, 409, 422, None]))
        refused = HerokuError("certain", status=status, effect=Effect.NONE, retry_after=draw(delays))
        return Answered(takes, None, refused, twin=draw(st.booleans()), stale=False)
    effect = draw(st.none() | st.floats(0, LATEST_EFFECT))
    status = draw(st.sampled_from([None, 200, 201, 429, 500, 502, 503, 504, 307]))
    lost = HerokuError("lost", status=status, effect=Effect.UNKNOWN, retry_after=draw(delays))
    arrived = effect is not None and effect <= takes
    failure = None if arrived and draw(st.booleans()) else lost
    return Answered(takes, effect, failure, twin=False, stale=draw(st.integers(0, 9)) == 0)


delays = st.none() | st.floats(0, 3600)
limits = st.floats(0, 400)
waits = st.sampled_from(["pending", "running"])
failures = st.builds(
    lambda status, delay: HerokuError("poll", status=status, retry_after=delay),
    st.sampled_from([None, 200, 401, 404, 429, 500, 503]),
    delays,
)
outcomes = waits | failures | st.just("done")
json_bodies = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | st.text(), inner, max_size=6),
    max_leaves=12,
).map(lambda value: json.dumps(value).encode())


class Canned(requests.adapters.BaseAdapter):
    """Answers each request with what a function makes."""

    def __init__(self, make: Callable[[], requests.Response]) -> None:
        super().__init__()
        self._make = make

    def send(self, request: requests.PreparedRequest, *_: object, **__: object) -> requests.Response:
        response = self._make()
        response.request, response.url = request, request.url or ""
        return response

    def close(self) -> None:
        pass


def session_of(make: Callable[[], requests.Response]) -> Session:
    session = Session(KEY, clock=CountedClock(), signals=Signals())
    session._requests.mount("https://", Canned(make))
    return session


def answer_of(status: int, body: bytes) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response.headers["Location"] = "https://elsewhere.example/"
    response.raw = urllib3.HTTPResponse(io.BytesIO(body), status=status, preload_content=False)
    return response


POOL = urllib3.HTTPSConnectionPool("api.heroku.com")
UNSENT = urllib3.exceptions.NewConnectionError(POOL, "refused")  # type: ignore[arg-type]
UNTRUSTED = urllib3.exceptions.SSLError(ssl.SSLCertVerificationError("self-signed"))
NEVER_MADE = [
    requests.ConnectionError(urllib3.exceptions.MaxRetryError(POOL, f"/x?{KEY}", UNSENT)),
    requests.ConnectTimeout(f"to {KEY}"),
    requests.exceptions.SSLError(urllib3.exceptions.MaxRetryError(POOL, f"/x?{KEY}", UNTRUSTED)),
]
BROKEN = [
    *NEVER_MADE,
    requests.ConnectionError(urllib3.exceptions.ProtocolError(f"reset {KEY}")),
    requests.exceptions.SSLError(f"broken off {KEY}"),
    requests.ReadTimeout(f"no answer {KEY}"),
    requests.exceptions.ChunkedEncodingError(f"cut {KEY}"),
    requests.exceptions.ContentDecodingError(f"gzip {KEY}"),
    requests.exceptions.InvalidURL(f"odd {KEY}"),
]


@dataclass
class Model:
    """Heroku: what it has accepted, with the moment from which the list shows it."""

    clock: CountedClock
    plan: list[Answered]
    listing: list[bool]
    accepted: list[tuple[float, Transfer]] = field(default_factory=list)
    foreign: list[Transfer] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    lists: int = 0

    @property
    def posts(self) -> int:
        return len(self.sent)

    def post(self) -> Transfer:
        answer = self.plan[min(self.posts, len(self.plan) - 1)]
        sent = self.clock.at
        self.sent.append(sent)
        made = transfer(f"own-{self.posts}", self.posts + 10)
        if answer.effect_after is not None:
            self.accepted.append((sent + answer.effect_after, made))
        if answer.twin:
            self.foreign.append(transfer(f"scheduled-{self.posts}", 90, schedule={"uuid": "s"}))
        self.clock.at += answer.takes
        if answer.failure:
            raise answer.failure
        return transfer("known", 1) if answer.stale else made

    def listed(self) -> tuple[Transfer, ...]:
        self.lists += 1
        if self.listing and not self.listing[self.lists % len(self.listing)]:
            raise HerokuError("the list is not to be had", status=503)
        seen = [each for at, each in self.accepted if at <= self.clock.at]
        return (transfer("known", 1), *self.foreign, *seen)


def transfer(uuid: str, num: int, **fields: object) -> Transfer:
    return Transfer(uuid=uuid, from_type="pg_dump", to_type="gof3r", num=num, **fields)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def log() -> Iterator[Log]:
    """A log that nobody reads."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    yield open_log(fd=nothing)
    os.close(nothing)


@pytest.fixture(autouse=True)
def _counted(request: pytest.FixtureRequest, recorder: Recorder) -> Iterator[None]:
    """Each property is one line of the figures, with the number of runs in it."""
    yield
    runs = getattr(request.function, "runs", 1)
    recorder.add(Cell(group="model", fault=request.node.name, scenario="model", runs=runs))


def counted(runs: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A property that is tried so often."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        tried = settings(max_examples=runs, deadline=None)(function)
        tried.runs = runs  # type: ignore[attr-defined]
        return tried

    return decorate


@counted(600)
@given(plan=st.lists(answers(), min_size=1, max_size=5), listing=st.lists(st.booleans(), max_size=6), limit=limits)
def test_a_transfer_is_accepted_once_at_most_whatever_becomes_of_the_answers(
    log: Log, plan: list[Answered], listing: list[bool], limit: float
) -> None:
    clock = CountedClock()
    model = Model(clock, plan, listing)
    deadline = Deadline(clock, limit)
    request = Request(
        name="POST",
        post=model.post,
        listed=model.listed,
        known=frozenset({"known"}),
        ours=lambda each: each.is_backup and not each.schedule,
    )
    reason = None
    try:
        started = start_once(request, clock=clock, log=log, deadline=deadline)
    except HerokuError:
        assert not model.accepted, "given up as surely not started, and it was"
    except StepFailed as error:
        reason = error.reason
    else:
        assert [started.uuid] == [each.uuid for _, each in model.accepted]
    assert reason in {None, Reason.OUTCOME_UNKNOWN}
    assert len(model.accepted) <= 1
    assert model.posts <= ATTEMPTS
    assert all(sent < 1000 + limit for sent in model.sent[1:]), "asked again when the time was up"


@counted(150)
@given(results=st.lists(outcomes, min_size=1, max_size=40), limit=limits, takes=st.floats(0, 12))
def test_a_wait_ends_with_what_was_waited_for_or_with_an_error(
    log: Log, results: list[object], limit: float, takes: float
) -> None:
    clock = CountedClock()
    calls = iter(results)

    def call() -> object:
        clock.at += takes
        result = next(calls, results[-1])
        if isinstance(result, Exception):
            raise result
        return result

    try:
        found = polling(
            call, until=lambda each: each == "done", name="poll", clock=clock, log=log, deadline=Deadline(clock, limit)
        )
    except (TimedOut, HerokuError):
        found = None
    assert found in {"done", None}
    assert clock.at <= 1000 + limit + takes + 0.01


@counted(250)
@given(results=st.lists(outcomes, min_size=1, max_size=12), limit=limits, takes=st.floats(0, 12))
def test_a_read_is_tried_six_times_at_most_and_never_past_its_deadline(
    log: Log, results: list[object], limit: float, takes: float
) -> None:
    clock = CountedClock()
    made: list[object] = []

    def call() -> object:
        clock.at += takes
        made.append(results[len(made) % len(results)])
        if isinstance(made[-1], Exception):
            raise made[-1]
        return made[-1]

    with suppress(HerokuError):
        retried(call, name="read", clock=clock, log=log, deadline=Deadline(clock, limit))
    last = made[-1]
    assert (
        not isinstance(last, HerokuError) or not last.passing or len(made) == READ_ATTEMPTS or clock.at >= 1000 + limit
    )
    assert len(made) <= READ_ATTEMPTS
    assert clock.at <= 1000 + limit + takes + 0.01


@counted(600)
@given(value=st.text(max_size=40) | st.floats().map(str) | st.datetimes().map(format_datetime))
def test_a_retry_after_is_a_sane_number_of_seconds_or_nothing(value: str) -> None:
    found = retry_after(value)
    assert found is None or 0 <= found <= 3600


@counted(600)
@given(body=st.binary(max_size=200) | json_bodies, status=st.integers(100, 599))
def test_an_answer_is_a_transfer_or_an_error_of_ours(body: bytes, status: int) -> None:
    session = session_of(lambda: answer_of(status, body))
    refused = 400 <= status < 500 and status not in {408, 429}
    found: Transfer | HerokuError
    try:
        found = decode("GET", session.request("GET", "https://api.heroku.com/x"), Transfer)
    except HerokuError as error:
        found = error
    if isinstance(found, HerokuError):
        assert found.effect is (Effect.NONE if refused else Effect.UNKNOWN)
        assert KEY not in f"{found!s}{found!r}{found.facts}"
    else:
        assert 200 <= status < 300
        assert found.succeeded in {True, False, None}
        assert found.name


@pytest.mark.parametrize("error", BROKEN, ids=lambda each: type(each).__name__)
def test_only_a_connection_that_was_never_made_is_sure_to_have_done_nothing(error: Exception) -> None:
    def fail() -> requests.Response:
        raise error

    with pytest.raises(HerokuError) as raised:
        session_of(fail).request("POST", f"https://api.heroku.com/x?key={KEY}")
    assert (raised.value.effect is Effect.NONE) == (error in NEVER_MADE)
    assert KEY not in str(raised.value)
