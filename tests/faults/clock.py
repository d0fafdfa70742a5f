"""The clock of the fast runs."""

from __future__ import annotations

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
