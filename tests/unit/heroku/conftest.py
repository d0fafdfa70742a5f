"""A session on Heroku's APIs as the hook has it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from release.clock import Clock, Signals
from release.heroku.http import Session

KEY = "HRKU-AAbbCCddEE-ff_00112233445566778899"


@pytest.fixture
def signals() -> Iterator[Signals]:
    with Signals() as signals:
        yield signals


@pytest.fixture
def session(signals: Signals) -> Session:
    return Session(KEY, clock=Clock(signals), signals=signals)
