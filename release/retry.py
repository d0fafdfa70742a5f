"""When to try again: four policies over one loop of tenacity's, each bounded by attempts and by time.

`retried` is for reads over HTTP, `attempts` for what waits for others' locks, `polling` for Heroku's transfers.
`wait_until` is for all other waits.

Only what is named here is retried (a list of exceptions not to retry once swallowed a SystemExit raised by a signal
handler), and never a POST that creates something: a second POST makes a second transfer. Such a request is settled by
reading the list of transfers (heroku/exactly_once.py).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import NoReturn, TypeVar

from tenacity import RetryCallState, Retrying

from release.clock import Clock, Deadline
from release.errors import ReleaseError
from release.log.events import Event
from release.log.logger import Log

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds for which a poll goes on despite failures that do not look passing: a key just rotated, a list that lags."""

SHAPE_PATIENCE = 45.0
"""Seconds for which answers may stay unreadable: longer than it takes Heroku to put a new version in place or back."""

READ_ATTEMPTS = 6
"""How often a read is tried before it is given up. The waits of `backoff` between them are 8 s in all."""

LONGEST_WAIT = 15.0
"""Seconds between two tries or two polls at most, unless Heroku asks for more with Retry-After."""

LAST_ATTEMPT = 40
"""How often a call is tried at most while its failures have a patience of their own, however short the waits are."""

LONGEST_SPARING_WAIT = 60.0
"""Seconds between two polls at most where nothing says that the end is near."""

FIRST_POLLS = 0.05
"""Seconds between the first polls."""

SHORTEST_PAUSE = 0.04
"""Seconds that every pause takes at least. With a sleep that does not sleep (in a test), it bounds the tries."""


class Unavailable(ReleaseError):
    """An error of something outside that did not answer as it should, and may do so in a moment.

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
    """The error of a wait that has reached its deadline."""


class Patience:
    """How long failures that have a patience of their own have lasted since the last success."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: float | None = None

    def renewed(self) -> None:
        """Takes note of a success: the next failure is the first one again."""
        self._since = None

    def lost(self, error: BaseException | None) -> bool:
        """Takes note of a failure. Returns whether such failures have lasted longer than they may."""
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
    most: int = READ_ATTEMPTS,
    chance: Callable[[], float] = random.random,
) -> T:
    """Makes a call that does no harm when it is made twice, and makes it again after failures that pass.

    Raises the last failure when attempts or time are used up: `most` attempts, or LAST_ATTEMPT where the deadline alone
    is to bound them. The waits honour Retry-After within the deadline. After a failure with a patience of its own, the
    call is tried for that long instead.
    """
    patience = Patience(clock)

    def again(error: BaseException, attempt: int) -> bool:
        if not isinstance(error, Unavailable) or not error.passing or patience.lost(error):
            return False
        return attempt < (most if error.patience is None else LAST_ATTEMPT)

    return _repeated(
        call,
        name=name,
        again=again,
        pause=lambda error, attempt: backoff(attempt, _retry_after_of(error), chance()),
        announce=_retry_logger(log, name),
        sleep=clock.sleep,
        deadline=deadline,
    )


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
    """Runs something that others can hold up, and runs it again while it raises `again`, `most` times in all.

    Others' transactions last seconds, not milliseconds, and two runs that have met should not meet again. So the waits
    double from 2 to 30 s, with a jitter of half their length. Raises the last failure.
    """
    return _repeated(
        call,
        name=name,
        again=lambda error, _: isinstance(error, again),
        most=most,
        pause=lambda _, attempt: min(30.0, 2.0**attempt) * (0.5 + chance()),
        announce=_retry_logger(log, name),
        sleep=clock.sleep,
        deadline=deadline,
    )


def poll_interval(elapsed: float, chance: float) -> float:
    """Computes the seconds to the next poll: few at first, then about 5 % of the time gone by, at most 15 s."""
    return min(LONGEST_WAIT, max(FIRST_POLLS, elapsed / 20)) * (0.95 + chance / 10)


def sparing_interval(elapsed: float, chance: float, *, expected: float | None) -> float:
    """Computes the same for what may take long: some 140 polls in half an hour, instead of 240.

    The pauses are half a second in the first ten, then 5 % of the time gone by, at most 60 s. Around the end that is
    `expected` after so many seconds they are 5 % of these, and close to it 15 s at most.
    """
    pause = min(elapsed / 2, max(0.5, elapsed / 20), LONGEST_SPARING_WAIT)
    if expected is not None and 0.5 * expected < elapsed < 1.5 * expected:
        pause = min(pause, expected / 20)
        if 0.95 * expected < elapsed < 1.05 * expected:
            pause = min(pause, LONGEST_WAIT)
    return max(FIRST_POLLS, pause) * (0.98 + chance / 50)


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
    """Repeats a read until its result satisfies `until`, and goes on after failures.

    `interval` computes the seconds from one read to the next as `poll_interval` does. At least half of them are left
    after an answer that took long.

    Failures that do not pass by themselves (a revoked key, a transfer that vanished) are endured for PATIENCE seconds,
    and those with a patience of their own for that long. Raises the last failure, or TimedOut when the deadline comes
    first. A wait that runs out is never a success, although Heroku's own CLI exits with 0 there.
    """
    began = asked_at = clock.monotonic()
    failing_since: list[float] = []
    patience = Patience(clock)

    def look() -> T:
        nonlocal asked_at
        asked_at = clock.monotonic()
        return call()

    def is_enough(result: T) -> bool:
        failing_since.clear()
        patience.renewed()
        return until(result)

    def again(error: BaseException, _: int) -> bool:
        if not isinstance(error, Unavailable) or patience.lost(error):
            return False
        failing_since.append(clock.monotonic())
        return error.passing or clock.monotonic() - failing_since[0] < PATIENCE

    def pause(error: BaseException | None, _: int) -> float:
        now = clock.monotonic()
        elapsed = now - began
        if not isinstance(error, Unavailable):
            planned = interval(elapsed, chance())
            return max(FIRST_POLLS, planned / 2, planned - (now - asked_at))
        asked = error.retry_after or min(LONGEST_WAIT, max(elapsed / 20, 1.0))
        # A failure with a patience of its own is about to pass: a long Retry-After must not use that patience up.
        return asked if error.patience is None else min(asked, 5.0)

    return _repeated(
        look,
        name=name,
        until=is_enough,
        again=again,
        pause=pause,
        announce=_retry_logger(log, name),
        sleep=sleep or clock.sleep,
        deadline=deadline,
        wrapped=True,
    )


def wait_until(
    call: Callable[[], T],
    *,
    name: str,
    until: Callable[[T], bool] = lambda _: True,
    despite: tuple[type[ReleaseError], ...] = (),
    most: float = math.inf,
    pause: float | Callable[[int], float],
    sleep: Callable[[float], None],
    deadline: Deadline,
    told: Callable[[BaseException], None] = lambda _: None,
) -> T:
    """Makes a call until its result satisfies `until`, despite errors of the kinds in `despite`. Returns that result.

    `name` says what is waited for. `pause` is in seconds, or a function that gives them by the number of the attempt
    (see `growing`). `sleep` is the clock's, which a signal ends with Interrupted, or a function that does more in a
    pause. `told` is called with each error before the pause. The call is made at least once, once more at the deadline,
    and at most `most` times. Raises the last error then, or TimedOut if the last result was not the one waited for.
    """
    return _repeated(
        call,
        name=name,
        until=until,
        again=lambda error, _: isinstance(error, despite),
        most=most,
        pause=lambda _, attempt: pause(attempt) if callable(pause) else pause,
        announce=lambda error, _, __: told(error),
        sleep=sleep,
        deadline=deadline,
    )


def growing(first: float, longest: float) -> Callable[[int], float]:
    """Makes pauses of which each is half as long again as the one before, up to `longest`. All are seconds."""
    return lambda attempt: min(longest, first * 1.5 ** min(attempt - 1, 100))  # bounded: a float would overflow


def _repeated(
    call: Callable[[], T],
    *,
    name: str,
    until: Callable[[T], bool] = lambda _: True,
    again: Callable[[BaseException, int], bool],
    most: float = math.inf,
    pause: Callable[[BaseException | None, int], float],
    announce: Callable[[BaseException, int, float], None],
    sleep: Callable[[float], None],
    deadline: Deadline,
    wrapped: bool = False,
) -> T:
    """Makes the call until its result satisfies `until`, or it raises what is not retried: the loop of all policies.

    `again` is called with each error and the number of the attempt, `pause` with the last error, if any, and that
    number. `announce` is called before each pause after an error, with the error, how many came in a row, and the
    seconds. No pause goes beyond the deadline, and the last attempt is made at it. Raises the last error (if `wrapped`,
    as the cause of TimedOut), or TimedOut where the last attempt raised none.
    """
    most = min(most, LAST_ATTEMPT + deadline.left() / SHORTEST_PAUSE)
    failures = 0

    def goes_on(state: RetryCallState) -> bool:
        error = _error_of(state)
        if error:
            return again(error, state.attempt_number)
        return state.outcome is not None and not until(state.outcome.result())

    def before_sleep(state: RetryCallState) -> None:
        nonlocal failures
        error = _error_of(state)
        failures = failures + 1 if error else 0
        if error and state.next_action:
            announce(error, failures, state.next_action.sleep)

    retrying = Retrying(
        retry=goes_on,
        stop=lambda state: deadline.expired or state.attempt_number >= most,
        wait=lambda state: deadline.clamp(pause(_error_of(state), state.attempt_number)),
        sleep=sleep,
        before_sleep=before_sleep,
        retry_error_callback=lambda state: _raise_run_out(name, _error_of(state), wrapped=wrapped),
    )
    return retrying(call)


def _raise_run_out(name: str, error: BaseException | None, *, wrapped: bool) -> NoReturn:
    """Ends a wait that has run out. Raises the last error unless it is `wrapped`, else TimedOut."""
    if error and not wrapped:
        raise error
    raise TimedOut(f"{name} did not end in time" + (f"; last: {error}" if error else "")) from error


def _retry_logger(log: Log, name: str) -> Callable[[BaseException, int, float], None]:
    def announce(error: BaseException, attempt: int, wait: float) -> None:
        log.warning(Event.RETRY_SCHEDULED, call=name, attempt=attempt, wait=round(wait, 3), caused_by=str(error))

    return announce


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _retry_after_of(error: BaseException | None) -> float | None:
    return error.retry_after if isinstance(error, Unavailable) else None


def backoff(attempt: int, retry_after: float | None, chance: float) -> float:
    """Computes the seconds before the next try: what the other side asked for, else 0.25 s doubled each time.

    `chance`, between 0 and 1, spreads the latter by a quarter both ways, so that many clients do not return at once.
    """
    if retry_after is not None:
        return retry_after
    return float(min(LONGEST_WAIT, 0.25 * 2 ** (attempt - 1)) * (0.75 + chance / 2))
