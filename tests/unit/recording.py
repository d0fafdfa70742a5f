"""A clock that moves only when somebody sleeps, and a log whose events can be read: waits cost a test nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from release.clock import Clock
from release.log.logger import open_log


class SteppingClock(Clock):
    """Time goes by in `sleep` only; `slept` keeps each span."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def monotonic(self) -> float:
        """Seconds slept so far."""
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        """Moves on at once."""
        self.slept.append(seconds)


class Recording:
    """A log into a file, and the events in it without those fields that every line has."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._file = folder / "log"
        self.fd = os.open(self._file, os.O_CREAT | os.O_WRONLY)
        self.log = open_log(fd=self.fd, clock=clock)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was logged."""
        lines = [json.loads(line) for line in self._file.read_text().splitlines()]
        return [{name: value for name, value in line.items() if name != "timestamp"} for line in lines]
