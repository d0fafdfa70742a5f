"""When something is tried again, how long it waits, and what it raises in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from release.clock import Deadline, Interrupted, ScaledClock, Signals
from release.errors import Reason, ReleaseError, StepFailed
from release.retry import (
    PATIENCE,
    READ_ATTEMPTS,
    TimedOut,
    Unavailable,
    backoff,
    growing,
    poll_interval,
    polling,
    retried,
    sparing_interval,
    wait_until,
)
from tests.unit.recording import Recording, SteppingClock


class Lasting(Unavailable):
    passing = False


def _unavailable(retry_after: float | None = None, kind: type[Unavailable] = Unavailable) -> Unavailable:
    error = kind(Reason.HEROKU_UNAVAILABLE, "GET app: 503")
    error.retry_after = retry_after
    return error


def _in_turn(*results: object) -> Callable[[], Any]:
    """A call that brings one result after the other, raising those that are errors."""
    left: Iterator[object] = iter(results)

    def call() -> object:
        result = next(left)
        if isinstance(result, Exception):
            raise result
        return result

    return call


def _retried(call: Callable[[], Any], clock: SteppingClock, recording: Recording, seconds: float | None = None) -> Any:
    deadline = Deadline(clock, seconds)
    return retried(call, name="GET app", clock=clock, log=recording.log, deadline=deadline, chance=lambda: 0.5)


def _polling(call: Callable[[], Any], clock: SteppingClock, recording: Recording, seconds: float = 3600) -> Any:
    return polling(
        call,
        until=lambda result: result == "done",
        name="GET transfer b001",
        clock=clock,
        log=recording.log,
        deadline=Deadline(clock, seconds),
        chance=lambda: 0.5,
    )


def test_a_passing_failure_is_ridden_over_and_logged(clock: SteppingClock, recording: Recording) -> None:
    assert _retried(_in_turn(_unavailable(), _unavailable(), "app"), clock, recording) == "app"
    assert clock.slept == [0.25, 0.5]
    assert recording.events == [
        {
            "level": "warning",
            "event": "retry_scheduled",
            "call": "GET app",
            "attempt": attempt,
            "wait": wait,
            "caused_by": "Heroku's API cannot be used at the moment: GET app: 503",
        }
        for attempt, wait in ((1, 0.25), (2, 0.5))
    ]


def test_after_the_last_attempt_the_failure_itself_is_raised(clock: SteppingClock, recording: Recording) -> None:
    failures = [_unavailable() for _ in range(READ_ATTEMPTS)]
    with pytest.raises(Unavailable) as caught:
        _retried(_in_turn(*failures), clock, recording)
    assert caught.value is failures[-1]
    assert clock.slept == [0.25, 0.5, 1, 2, 4]


@pytest.mark.parametrize(
    "error",
    [
        _unavailable(kind=Lasting),
        StepFailed(Reason.BACKUP_FAILED),
        ReleaseError(Reason.LOCKED),
        TimedOut("x"),
        OSError("not translated"),
        ValueError("a mistake"),
    ],
)
def test_nothing_else_is_tried_again(error: Exception, clock: SteppingClock, recording: Recording) -> None:
    with pytest.raises(type(error)) as caught:
        _retried(_in_turn(error, "never"), clock, recording)
    assert caught.value is error
    assert (clock.slept, recording.events) == ([], [])


def test_what_heroku_asks_for_is_waited_for_but_not_beyond_the_deadline(
    clock: SteppingClock, recording: Recording
) -> None:
    assert _retried(_in_turn(_unavailable(7.5), "app"), clock, recording) == "app"
    assert clock.slept == [7.5]

    failures = [_unavailable(3000), _unavailable(3000)]
    with pytest.raises(Unavailable) as caught:
        _retried(_in_turn(*failures), clock, recording, seconds=20)
    assert caught.value is failures[1]
    assert clock.slept == [7.5, 20]


def test_back_off_doubles_with_jitter_up_to_15_seconds() -> None:
    assert [backoff(attempt, None, 0.5) for attempt in range(1, 9)] == [0.25, 0.5, 1, 2, 4, 8, 15, 15]
    assert (backoff(1, None, 0.0), backoff(1, None, 1.0)) == (0.1875, 0.3125)
    assert backoff(8, 0.0, 0.5) == 0


# Polls.


def test_a_poll_ends_with_the_first_result_that_satisfies(clock: SteppingClock, recording: Recording) -> None:
    assert _polling(_in_turn("pending", "running", "done", "never"), clock, recording) == "done"
    assert (clock.slept, recording.events) == ([0.05, 0.05], [])


def test_polls_are_fast_at_first_then_5_percent_of_the_time_gone_by_and_at_most_15_seconds() -> None:
    spans = {0: 0.05, 1: 0.05, 20: 1, 100: 5, 300: 15, 3000: 15}
    assert {elapsed: poll_interval(elapsed, 0.5) for elapsed in spans} == pytest.approx(spans)
    assert poll_interval(100, 0.0) == pytest.approx(4.75)
    assert poll_interval(100, 1.0) == pytest.approx(5.25)


def test_sparing_polls_are_half_a_second_apart_then_5_percent_of_the_time() -> None:
    spans = {0: 0.05, 0.1: 0.05, 0.5: 0.25, 1: 0.5, 10: 0.5, 20: 1, 300: 15, 600: 30, 1200: 60, 3000: 60}
    assert {elapsed: sparing_interval(elapsed, 1, expected=None) for elapsed in spans} == pytest.approx(spans)


def test_near_the_expected_end_sparing_polls_are_15_seconds_apart_at_most() -> None:
    spans = {1: 0.5, 40: 2, 900: 45, 970: 15, 1000: 15, 1040: 15, 1100: 50, 1600: 60}
    assert {elapsed: sparing_interval(elapsed, 1, expected=1000) for elapsed in spans} == pytest.approx(spans)


def test_around_a_near_end_sparing_polls_are_5_percent_of_it_apart() -> None:
    spans = {0.4: 0.2, 1.1: 0.1, 2: 0.1, 2.9: 0.1, 3.1: 0.5}
    assert {elapsed: sparing_interval(elapsed, 1, expected=2) for elapsed in spans} == pytest.approx(spans)


@pytest.mark.parametrize("expected", [None, 0.1, 1, 2, 5, 20, 100, 1000, 1714, 1750, 1800, 1850, 1894, 9000])
@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_half_an_hour_takes_155_sparing_polls_at_most(expected: float | None, chance: float) -> None:
    elapsed, polls = 0.0, 1
    while elapsed < 1800:
        elapsed += sparing_interval(elapsed, chance, expected=expected)
        polls += 1
    assert polls <= (146 if expected is None or expected > 10 else 155)  # far less was expected


def test_a_poll_that_runs_out_raises_and_says_what_came_last(clock: SteppingClock, recording: Recording) -> None:
    with pytest.raises(TimedOut) as caught:
        _polling(lambda: "running", clock, recording, seconds=100)
    assert str(caught.value) == "GET transfer b001 did not end in time"
    assert clock.monotonic() == pytest.approx(100)


def test_a_poll_in_which_every_request_fails_never_ends_as_a_success(
    clock: SteppingClock, recording: Recording
) -> None:
    def fail() -> str:
        raise _unavailable()

    with pytest.raises(TimedOut) as caught:
        _polling(fail, clock, recording, seconds=100)
    assert str(caught.value) == (
        "GET transfer b001 did not end in time; last: Heroku's API cannot be used at the moment: GET app: 503"
    )
    assert isinstance(caught.value.__cause__, Unavailable)


def test_a_failure_that_does_not_look_passing_is_ridden_over_for_a_while(
    clock: SteppingClock, recording: Recording
) -> None:
    assert (
        _polling(_in_turn(_unavailable(kind=Lasting), _unavailable(kind=Lasting), "done"), clock, recording) == "done"
    )
    assert clock.slept == [1, 1]
    assert [event["attempt"] for event in recording.events] == [1, 2]


def test_a_failure_that_lasts_is_raised_after_a_while(clock: SteppingClock, recording: Recording) -> None:
    failures = []

    def fail() -> str:
        failures.append(_unavailable(kind=Lasting))
        raise failures[-1]

    with pytest.raises(Lasting) as caught:
        _polling(fail, clock, recording)
    assert caught.value is failures[-1]
    assert clock.monotonic() == pytest.approx(PATIENCE, abs=2)


def test_a_good_answer_between_starts_the_patience_anew(clock: SteppingClock, recording: Recording) -> None:
    def answer() -> str:
        if clock.monotonic() >= 3 * PATIENCE:
            return "done"
        if len(clock.slept) % 5:
            raise _unavailable(kind=Lasting)
        return "running"

    assert _polling(answer, clock, recording) == "done"


def test_a_mistake_in_a_poll_is_raised_at_once(clock: SteppingClock, recording: Recording) -> None:
    with pytest.raises(KeyError):
        _polling(_in_turn(KeyError("x")), clock, recording)
    assert clock.slept == []


def test_a_failing_poll_waits_as_long_as_heroku_asks(clock: SteppingClock, recording: Recording) -> None:
    assert _polling(_in_turn(_unavailable(9.0), _unavailable(0.0), "done"), clock, recording) == "done"
    assert clock.slept == [9, 1]


def test_a_poll_whose_sleep_does_not_sleep_ends(recording: Recording) -> None:
    clock = SteppingClock()
    with pytest.raises(TimedOut):
        polling(
            lambda: "running",
            until=lambda result: result == "done",
            name="GET transfer b001",
            clock=clock,
            log=recording.log,
            deadline=Deadline(clock, 60),
            sleep=lambda _: None,
        )
    assert clock.monotonic() == 0


# Waits.


class Busy(ReleaseError):
    """Somebody is in the way."""


def _busy() -> Busy:
    return Busy(Reason.LOCKED, "by the other run")


def _wait(call: Callable[[], Any], clock: SteppingClock, seconds: float = 3600, **rest: Any) -> Any:
    given = {"pause": 0.5, "sleep": clock.sleep, "despite": (Busy,), **rest}
    return wait_until(call, name="the lock", deadline=Deadline(clock, seconds), **given)


def test_a_wait_ends_with_the_first_result_that_will_do(clock: SteppingClock) -> None:
    assert _wait(_in_turn(False, False, True, "never"), clock, until=bool) is True
    assert clock.slept == [0.5, 0.5]


def test_a_wait_for_no_error_takes_whatever_is_given_then(clock: SteppingClock) -> None:
    assert _wait(_in_turn(_busy(), _busy(), None, "never"), clock) is None
    assert clock.slept == [0.5, 0.5]


def test_a_wait_tells_of_each_error_that_it_rides_over(clock: SteppingClock) -> None:
    errors = [_busy(), _busy()]
    told: list[BaseException] = []
    _wait(_in_turn(errors[0], False, errors[1], True), clock, until=bool, told=told.append)
    assert told == errors


def test_a_wait_does_it_once_more_at_the_deadline_and_then_raises(clock: SteppingClock) -> None:
    done: list[float] = []
    with pytest.raises(TimedOut) as caught:
        _wait(lambda: done.append(clock.monotonic()), clock, seconds=1.2, until=bool)
    assert str(caught.value) == "the lock did not end in time"
    assert done == pytest.approx([0, 0.5, 1, 1.2])
    assert sum(clock.slept) == pytest.approx(1.2)


def test_a_wait_without_any_time_does_it_once(clock: SteppingClock) -> None:
    assert _wait(_in_turn(True), clock, seconds=0, until=bool) is True
    with pytest.raises(TimedOut):
        _wait(_in_turn(False), clock, seconds=0, until=bool)
    assert clock.slept == []


def test_a_wait_that_runs_out_in_errors_raises_the_last_one(clock: SteppingClock) -> None:
    errors = [_busy() for _ in range(4)]
    told: list[BaseException] = []
    with pytest.raises(Busy) as caught:
        _wait(_in_turn(*errors), clock, seconds=1.2, told=told.append)
    assert caught.value is errors[-1]
    assert told == errors[:-1]


def test_any_other_error_ends_a_wait_at_once(clock: SteppingClock) -> None:
    error = ReleaseError(Reason.LOCKED)
    with pytest.raises(ReleaseError) as caught:
        _wait(_in_turn(error, "never"), clock)
    assert caught.value is error
    assert clock.slept == []


@pytest.mark.parametrize(("result", "raised"), [(_busy(), Busy), (False, TimedOut)], ids=["errors", "results"])
def test_a_wait_may_be_bounded_by_attempts(result: object, raised: type[Exception], clock: SteppingClock) -> None:
    with pytest.raises(raised):
        _wait(_in_turn(result, result, result), clock, most=3, until=bool)
    assert clock.slept == [0.5, 0.5]


def test_pauses_may_grow_up_to_the_longest(clock: SteppingClock) -> None:
    _wait(_in_turn(*[False] * 6, True), clock, until=bool, pause=growing(0.5, 3))
    assert clock.slept == pytest.approx([0.5, 0.75, 1.125, 1.6875, 2.53125, 3])
    assert growing(0.1, 15)(10_000) == 15


def test_a_wait_whose_sleep_does_not_sleep_ends(clock: SteppingClock) -> None:
    tries: list[None] = []
    with pytest.raises(TimedOut):
        _wait(lambda: tries.append(None), clock, seconds=60, until=bool, sleep=lambda _: None)
    assert 60 / 0.5 < len(tries) < 60 / 0.03
    assert clock.monotonic() == 0


def test_a_signal_ends_a_wait() -> None:
    signals = Signals()
    clock = ScaledClock(1000, signals)
    done: list[int] = []

    def signalled_at_the_third() -> None:
        done.append(len(done))
        if len(done) == 3:
            signals._note(15, None)

    with pytest.raises(Interrupted):
        wait_until(
            signalled_at_the_third, name="it", until=bool, pause=1, sleep=clock.sleep, deadline=Deadline(clock, 600)
        )
    assert done == [0, 1, 2]
