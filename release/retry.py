"""When to try again: tenacity's policies as named values, each bounded by attempts and by time.

Only what is named here is retried (a list of exceptions not to retry once swallowed a SystemExit raised by a signal
handler), and never a POST that creates something: a second POST makes a second transfer. Such a request is settled by
reading the list of transfers (heroku/transfers.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NoReturn, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, retry_if_exception_type, stop_after_attempt

from release.clock import Clock, Deadline
from release.errors import ReleaseError
from release.log.events import Event
from release.log.logger import Log

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds for which a poll rides over failures that do not look passing: a key just rotated, a list that lags."""

SHAPE_PATIENCE = 45.0
"""Seconds for which answers may stay unreadable: longer than it takes Heroku to put a new version in place or back."""

READ_ATTEMPTS = 6
"""A read that failed this often is given up: with the waits below about 20 s of trying."""

LONGEST_WAIT = 15.0
"""Seconds between two tries or two polls at most, unless Heroku asks for more with Retry-After."""

LAST_ATTEMPT = 40
"""No policy tries more often than that within a patience, however short the waits."""


class Unavailable(ReleaseError):
    """Something outside did not answer as it should, and may do so in a moment.

    `retry_after`: seconds the other side asked for, or None; `patience`: seconds for which a failure of this kind may
    last, or None where only attempts and deadline bound it.
    """

    retry_after: float | None = None
    patience: float | None = None

    @property
    def passing(self) -> bool:
        """Whether trying again can help."""
        return True


class TimedOut(Exception):
    """A wait reached its deadline."""


class Patience:
    """How long failures that have a patience of their own have lasted, since the last success."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: float | None = None

    def renewed(self) -> None:
        """Something succeeded: the next failure is the first one again."""
        self._since = None

    def lost(self, error: BaseException | None) -> bool:
        """Takes note of a failure; whether such ones have lasted longer than they may."""
        if not isinstance(error, Unavailable) or error.patience is None:
            return False
        now = self._clock.monotonic()
        self._since = now if self._since is None else self._since
        return now - self._since >= error.patience


def retried(
    call: Callable[[], T],
    *,
    name: str,
    clock: Clock,
    log: Log,
    deadline: Deadline,
    chance: Callable[[], float] = random.random,
) -> T:
    """Runs a call that does no harm when it is made twice, again after passing failures.

    Raises the last failure when attempts or time are used up; waits honour Retry-After within the deadline. A failure
    with a patience of its own is tried for that long instead of READ_ATTEMPTS times.
    """
    patience = Patience(clock)

    def stop(state: RetryCallState) -> bool:
        error = failure(state)
        most = READ_ATTEMPTS if error.patience is None else LAST_ATTEMPT
        return patience.lost(error) or state.attempt_number >= most or deadline.expired

    def wait(state: RetryCallState) -> float:
        return deadline.clamp(backoff(state.attempt_number, failure(state).retry_after, chance()))

    def announce(state: RetryCallState) -> None:
        log.warning(
            Event.RETRY_SCHEDULED,
            call=name,
            attempt=state.attempt_number,
            wait=round(state.upcoming_sleep, 3),
            caused_by=str(failure(state)),
        )

    retrying = Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, Unavailable) and error.passing),
        stop=stop,
        wait=wait,
        sleep=clock.sleep,
        before_sleep=announce,
        reraise=True,
    )
    return retrying(call)


def attempts(
    call: Callable[[], T],
    *,
    most: int,
    again: type[ReleaseError],
    name: str,
    clock: Clock,
    log: Log,
    deadline: Deadline,
    chance: Callable[[], float] = random.random,
) -> T:
    """Runs something that waits for others again, `most` times in all, while it raises `again`.

    Others' transactions last seconds, not milliseconds, and two that wait for each other should not meet again: waits
    double from 2 to 30 s, with jitter of half their length. Raises the last failure.
    """

    def wait(state: RetryCallState) -> float:
        return deadline.clamp(min(30.0, 2.0**state.attempt_number) * (0.5 + chance()))

    def announce(state: RetryCallState) -> None:
        log.warning(
            Event.RETRY_SCHEDULED,
            call=name,
            attempt=state.attempt_number,
            wait=round(state.upcoming_sleep, 3),
            caused_by=str(state.outcome.exception() if state.outcome else None),
        )

    retrying = Retrying(
        retry=retry_if_exception_type(again),
        stop=lambda state: stop_after_attempt(most)(state) or deadline.expired,
        wait=wait,
        sleep=clock.sleep,
        before_sleep=announce,
        reraise=True,
    )
    return retrying(call)


def poll_interval(elapsed: float, chance: float) -> float:
    """Seconds to the next poll: fast at first, then about 5 % of the time gone by, at most 15 s."""
    return min(LONGEST_WAIT, max(0.05, elapsed * 0.05)) * (0.95 + chance / 10)


def polling(
    call: Callable[[], T],
    *,
    until: Callable[[T], bool],
    name: str,
    clock: Clock,
    log: Log,
    deadline: Deadline,
    interval: Callable[[float, float], float] = poll_interval,
    sleep: Callable[[float], None] | None = None,
    chance: Callable[[], float] = random.random,
) -> T:
    """Repeats a read until its result satisfies `until`, riding over failures.

    Failures that do not pass by themselves (a revoked key, a transfer that vanished) are ridden over for
    PATIENCE seconds, and those with a patience of their own for that long. Raises the last failure, or TimedOut when
    the deadline comes first: a wait that runs out is never a success (Heroku's own CLI exits 0 there).
    """
    began = clock.monotonic()
    failing_since: list[float] = []
    patience = Patience(clock)

    def again(state: RetryCallState) -> bool:
        if state.outcome is None or not state.outcome.failed:
            failing_since.clear()
            patience.renewed()
            return state.outcome is not None and not until(state.outcome.result())
        error = state.outcome.exception()
        if not isinstance(error, Unavailable) or patience.lost(error):
            return False
        failing_since.append(clock.monotonic())
        return error.passing or clock.monotonic() - failing_since[0] < PATIENCE

    def wait(state: RetryCallState) -> float:
        pause = interval(clock.monotonic() - began, chance())
        if state.outcome is not None and state.outcome.failed:
            pause = failure(state).retry_after or max(pause, 1.0)
            pause = pause if failure(state).patience is None else min(pause, 5.0)
        return deadline.clamp(pause)

    def announce(state: RetryCallState) -> None:
        if state.outcome is not None and state.outcome.failed:
            log.warning(
                Event.RETRY_SCHEDULED,
                call=name,
                attempt=len(failing_since),
                wait=round(state.upcoming_sleep, 3),
                caused_by=str(failure(state)),
            )

    retrying = Retrying(
        retry=again,
        stop=lambda _: deadline.expired,
        wait=wait,
        sleep=sleep or clock.sleep,
        before_sleep=announce,
        retry_error_callback=_timed_out(name),
    )
    return retrying(call)


def _timed_out(name: str) -> Callable[[RetryCallState], NoReturn]:
    def raise_it(state: RetryCallState) -> NoReturn:
        error = state.outcome.exception() if state.outcome else None
        raise TimedOut(f"{name} did not end in time" + (f"; last: {error}" if error else "")) from error

    return raise_it


def failure(state: RetryCallState) -> Unavailable:
    """The failure that a retry is about."""
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, Unavailable), error  # noqa: S101 -- the policies retry nothing else
    return error


def backoff(attempt: int, retry_after: float | None, chance: float) -> float:
    """Seconds before the next try: what the other side asked for, else 0.25 s doubled each time, with jitter."""
    if retry_after is not None:
        return retry_after
    return float(min(LONGEST_WAIT, 0.25 * 2 ** (attempt - 1)) * (0.75 + chance / 2))
