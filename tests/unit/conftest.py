"""What the unit tests share: a stepping clock, and a log that can be read."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from release.clock import STOPPING
from tests.unit.recording import Recording, SteppingClock


@pytest.fixture(autouse=True)
def _signals_as_they_were() -> Iterator[None]:
    """A run that has acknowledged a signal ignores all others until its process ends; here the process goes on."""
    handlers = {number: signal.getsignal(number) for number in STOPPING}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
def recording(tmp_path: Path, clock: SteppingClock) -> Iterator[Recording]:
    recording = Recording(tmp_path, clock)
    yield recording
    os.close(recording.fd)
