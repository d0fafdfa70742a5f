"""Questions that are asked side by side: each waits for its answer in a thread of its own.

Heroku takes some 0.2 s for an answer, whatever is asked. So what does not depend on each other is asked together.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import Generic, TypeVar

from release.clock import Clock, Signals

T = TypeVar("T")

FRESH = 1.0
"""Seconds for which an answer counts as of now, from when it was asked for: an answer that is slow is as old."""


class Asked(Generic[T]):
    """A question that is under way, or has been answered. The call has to end by itself, however it ends.

    The main thread makes it and takes the answer. Nobody has to: a question that is left alone ends with its thread, at
    the latest with the process. So it may only read, unless its end is waited for by `settled`.
    """

    def __init__(self, call: Callable[[], T], *, clock: Clock, signals: Signals) -> None:
        self._call = call
        self._clock = clock
        self._signals = signals
        self._asked_at = clock.monotonic()
        self._ended = Event()
        self._answer: list[T] = []
        self._error: BaseException | None = None
        Thread(target=self._run, name="asked", daemon=True).start()

    def _run(self) -> None:
        try:
            self._answer.append(self._call())
        except BaseException as error:  # noqa: BLE001 -- it is raised where the answer is taken
            self._error = error
        self._ended.set()

    @property
    def age(self) -> float:
        """The seconds since it was asked."""
        return self._clock.monotonic() - self._asked_at

    def wait(self, seconds: float) -> bool:
        """Waits so many real seconds for the answer. Returns whether there is one, or an error."""
        return self._ended.wait(seconds)

    def answer(self) -> T:
        """Waits for the answer and returns it. A signal ends the wait with Interrupted. Raises what the call raised."""
        with self._signals.interruptible():
            self._ended.wait()
        return self.settled()

    def settled(self) -> T:
        """Waits for the end whatever signal comes, as it must be done for what changes something. Else as `answer`."""
        self._ended.wait()
        if self._error is not None:
            raise self._error
        return self._answer[0]


class Lately(Generic[T]):
    """The latest answer to a question. While it is fresh, it is not asked for again."""

    def __init__(self) -> None:
        self._asked: Asked[T] | None = None
        self._of: object = None

    def ahead(self, ask: Callable[[], Asked[T]], *, of: object = None) -> None:
        """Asks by `ask`, unless there is an answer that stays fresh for a while, so that it is there when it is needed.

        `of` is what the question is about, where it may be about several things.
        """
        self._no_older(FRESH / 2, ask, of)

    def forget(self) -> None:
        """Drops the answer, since what it tells of is about to change."""
        self._asked = None

    def answer(self, ask: Callable[[], Asked[T]], *, of: object = None) -> T:
        """Returns the answer, asked for by `ask` where there is none that is fresh. Raises what the call raised."""
        try:
            return self._no_older(FRESH, ask, of).answer()
        except Exception:
            self.forget()
            raise

    def _no_older(self, seconds: float, ask: Callable[[], Asked[T]], of: object) -> Asked[T]:
        if self._asked is None or self._of != of or self._asked.age >= seconds:
            self._asked, self._of = ask(), of
        return self._asked
