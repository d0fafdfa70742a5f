"""When something is tried again, how long it waits, and what it raises in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from release.clock import Deadline
from release.errors import Reason, ReleaseError, StepFailed
from release.retry import (
    PATIENCE,
    READ_ATTEMPTS,
    TimedOut,
    Unavailable,
    backoff,
    poll_interval,
    polling,
    retried,
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


def test_half_an_hour_takes_about_240_polls_where_nothing_else_tells_that_it_goes_on(
    clock: SteppingClock, recording: Recording
) -> None:
    asked = []

    def ask() -> str:
        asked.append(clock.monotonic())
        return "done" if clock.monotonic() >= 1800 else "running"

    assert _polling(ask, clock, recording) == "done"
    assert len(asked) == pytest.approx(240, abs=8)


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
