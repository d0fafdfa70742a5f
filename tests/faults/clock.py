"""The clock of the fast runs."""

from __future__ import annotations

from datetime import datetime, timedelta

from release.clock import ScaledClock, Signals

SHORTEST = 0.1
"""Real seconds of a sleep, at least: a poll's 0.25 s would be 25 ms, and the tests would do little but poll."""


class FastClock(ScaledClock):
    """As `ScaledClock`, but no sleep is shorter than `SHORTEST`."""

    def __init__(self, factor: float, signals: Signals | None = None) -> None:
        super().__init__(factor, signals)
        self._shortest = SHORTEST * factor

    def sleep(self, seconds: float) -> None:
        """As `Clock.sleep`."""
        super().sleep(max(seconds, self._shortest) if seconds > 0 else 0)


JUMPS = {"an hour back": timedelta(hours=-1), "an hour forward": timedelta(hours=1)}
"""By how much the wall clock of a `JumpingClock` jumps; the names are among the twists of `fast.py`."""


class JumpingClock(FastClock):
    """As `FastClock`, but its wall clock jumps when it has been looked at a few times, which is in mid-run."""

    def __init__(self, factor: float, signals: Signals | None = None, *, jump: timedelta) -> None:
        super().__init__(factor, signals)
        self._jump = jump
        self._looks = 0

    def now(self) -> datetime:
        """As `Clock.now`: the first six times right, then not."""
        self._looks += 1
        return super().now() + (self._jump if self._looks > 6 else timedelta(0))
