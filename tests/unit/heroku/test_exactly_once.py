"""A transfer is started once, whatever becomes of the answer: the plain cases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from release.clock import Deadline
from release.errors import Reason, StepFailed
from release.heroku.exactly_once import ATTEMPTS, SETTLE, Request, start_once
from release.heroku.http import Effect, HerokuError
from release.heroku.transfers import Transfer
from tests.unit.recording import Recording, SteppingClock


def _backup(num: int) -> Transfer:
    return Transfer(uuid=f"uuid-{num}", num=num, from_type="pg_dump", to_type="gof3r")


LOST = HerokuError("POST backups: ReadTimeout")
REFUSED = HerokuError("POST backups: ConnectionError (nothing was sent)", effect=Effect.NONE)
FORBIDDEN = HerokuError("POST backups: 403 No.", status=403, effect=Effect.NONE)
LIST_FAILED = HerokuError("GET transfers: 503", status=503)


class Store:
    """The side that makes transfers: what happens to each POST in turn, and from when on the list shows its effect."""

    def __init__(self, clock: SteppingClock, *posts: HerokuError | None, done_after: float | None = None) -> None:
        self.clock = clock
        self.posts = list(posts)
        self.done_after = done_after
        self.made: list[tuple[float, Transfer]] = []
        self.sent = 0
        self.readable: Callable[[], bool] = lambda: True

    def post(self) -> Transfer:
        """Makes a transfer, or not; answers, or not."""
        self.sent += 1
        failure = self.posts.pop(0)
        transfer = _backup(10 + self.sent)
        if failure is None or self.done_after is not None:
            self.made.append((self.clock.monotonic() + (self.done_after or 0), transfer))
        if failure is not None:
            raise failure
        return transfer

    def listed(self) -> tuple[Transfer, ...]:
        """All there are by now, and one that was there before."""
        if not self.readable():
            raise LIST_FAILED
        return (_backup(1), *(each for at, each in self.made if at <= self.clock.monotonic()))


def _start(store: Store, clock: SteppingClock, recording: Recording, seconds: float = 3600) -> Transfer:
    request = Request(
        name="POST backups", post=store.post, listed=store.listed, known=frozenset({"uuid-1"}), ours=lambda _: True
    )
    return start_once(request, clock=clock, log=recording.log, deadline=Deadline(clock, seconds))


def test_an_answer_ends_it(clock: SteppingClock, recording: Recording) -> None:
    store = Store(clock, None)
    assert _start(store, clock, recording) == _backup(11)
    assert (store.sent, clock.slept, recording.events) == (1, [], [])


def test_a_transfer_whose_answer_was_lost_is_found_in_the_list_and_not_asked_for_again(
    clock: SteppingClock, recording: Recording
) -> None:
    store = Store(clock, LOST, done_after=0)
    assert _start(store, clock, recording) == _backup(11)
    assert (store.sent, clock.slept) == (1, [])
    assert recording.events == [
        {
            "level": "warning",
            "event": "warning_raised",
            "warning": "answer_lost",
            "detail": f"{LOST}; looking for the transfer in the list before anything is sent again",
        }
    ]


def test_also_one_that_shows_up_late(clock: SteppingClock, recording: Recording) -> None:
    store = Store(clock, LOST, done_after=SETTLE - 5)
    assert _start(store, clock, recording) == _backup(11)
    assert store.sent == 1


def test_only_when_none_can_come_any_more_it_is_asked_for_again(clock: SteppingClock, recording: Recording) -> None:
    store = Store(clock, LOST, None)
    assert _start(store, clock, recording) == _backup(12)
    assert store.sent == 2
    assert clock.monotonic() >= SETTLE
    assert [each["event"] for each in recording.events] == ["warning_raised", "retry_scheduled"]


def test_a_request_that_was_never_sent_is_sent_again_without_looking(
    clock: SteppingClock, recording: Recording
) -> None:
    store = Store(clock, REFUSED, REFUSED, None)
    store.readable = lambda: pytest.fail("nobody asked for the list")
    assert _start(store, clock, recording) == _backup(13)
    assert clock.slept == [0.25, 0.5]


def test_it_is_given_up_after_a_few_attempts(clock: SteppingClock, recording: Recording) -> None:
    store = Store(clock, *[REFUSED] * ATTEMPTS)
    with pytest.raises(HerokuError) as caught:
        _start(store, clock, recording)
    assert caught.value is REFUSED
    assert store.sent == ATTEMPTS


def test_a_refusal_is_final(clock: SteppingClock, recording: Recording) -> None:
    store = Store(clock, FORBIDDEN)
    with pytest.raises(HerokuError) as caught:
        _start(store, clock, recording)
    assert caught.value is FORBIDDEN
    assert store.sent == 1


def test_while_the_list_cannot_be_read_nothing_is_sent_and_in_the_end_the_outcome_is_unknown(
    clock: SteppingClock, recording: Recording
) -> None:
    store = Store(clock, LOST)
    store.readable = lambda: False
    with pytest.raises(StepFailed) as caught:
        _start(store, clock, recording)
    assert (caught.value.reason, caught.value.detail) == (
        Reason.OUTCOME_UNKNOWN,
        "POST backups: Heroku's API cannot be used at the moment: GET transfers: 503",
    )
    assert store.sent == 1
    assert clock.monotonic() <= 4 * SETTLE + 5


def test_a_list_that_can_be_read_again_in_time_settles_it(clock: SteppingClock, recording: Recording) -> None:
    store = Store(clock, LOST, done_after=0)
    store.readable = lambda: clock.monotonic() > 60
    assert _start(store, clock, recording) == _backup(11)
    assert store.sent == 1


def test_at_the_deadline_the_outcome_is_unknown(clock: SteppingClock, recording: Recording) -> None:
    with pytest.raises(StepFailed) as caught:
        _start(Store(clock, LOST), clock, recording, seconds=10)
    assert caught.value.reason is Reason.OUTCOME_UNKNOWN


def test_an_answer_that_names_an_old_transfer_counts_as_lost(clock: SteppingClock, recording: Recording) -> None:
    posts = iter([_backup(1)])
    request = Request(
        name="POST backups",
        post=lambda: next(posts),
        listed=lambda: (_backup(1), _backup(2), _backup(3)),
        known=frozenset({"uuid-1"}),
        ours=lambda each: each.uuid != "uuid-2",
    )
    assert start_once(request, clock=clock, log=recording.log, deadline=Deadline(clock, 3600)) == _backup(3)
