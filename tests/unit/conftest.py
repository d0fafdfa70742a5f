"""What the unit tests share: a stepping clock, and a log that can be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.recording import Recording, SteppingClock


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
def recording(tmp_path: Path, clock: SteppingClock) -> Iterator[Recording]:
    recording = Recording(tmp_path, clock)
    yield recording
    os.close(recording.fd)
