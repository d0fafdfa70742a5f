"""How long a poll sleeps while the database itself shows the dump."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from release.clock import Deadline
from release.database.session import Lost
from release.errors import Reason
from release.protected.transfers import Watcher
from tests.unit.recording import SteppingClock


def _slept(*seen: bool, poll: float = 4.0, limit: float = 3600) -> list[float]:
    """The pauses of one sleep of `poll` seconds, in which the database shows the dump or not, in turn."""
    clock = SteppingClock()
    looks: Iterator[bool] = iter(seen)
    Watcher(clock, lambda: next(looks), Deadline(clock, limit)).sleep(poll)
    return clock.slept


def test_a_poll_comes_as_soon_as_the_dump_is_no_longer_seen() -> None:
    assert _slept(True, True, False) == [0.5, 0.5, 0.5]
    assert _slept(False, poll=0.05) == [0.05]


def test_the_whole_pause_is_slept_while_no_dump_is_seen() -> None:
    assert sum(_slept(*[False] * 100)) == pytest.approx(4)


def test_while_the_dump_is_seen_there_is_a_poll_every_15_seconds() -> None:
    assert sum(_slept(*[True] * 100)) == pytest.approx(15)


def test_a_dump_that_begins_in_a_pause_is_seen_to_end_in_it() -> None:
    assert sum(_slept(False, True, True, False, *[True] * 100)) == pytest.approx(2)


def test_the_first_polls_after_the_end_of_the_dump_come_soon() -> None:
    clock = SteppingClock()
    looks = iter([True, False, *[False] * 100])
    told = []
    watcher = Watcher(clock, lambda: next(looks), Deadline(clock, 3600), lambda: told.append(clock.monotonic()))
    ends = []
    for _ in range(4):
        watcher.sleep(15)
        ends.append(clock.monotonic())
    assert ends == told == pytest.approx([1, 1.05, 1.1, 1.15], abs=0.01)


def test_near_the_expected_end_it_is_told_although_no_dump_was_seen() -> None:
    clock, told = SteppingClock(), list[float]()
    watcher = Watcher(clock, lambda: False, Deadline(clock, 3600), lambda: told.append(clock.monotonic()), expected=10)
    for _ in range(20):
        watcher.sleep(1)
    assert told == pytest.approx([8, 9, 10, 11, 12])


def test_nobody_is_told_of_an_end_before_it_is_seen_or_long_after() -> None:
    clock, told = SteppingClock(), list[float]()
    looks = iter([False, True, *[False] * 100])
    watcher = Watcher(clock, lambda: next(looks), Deadline(clock, 3600), lambda: told.append(clock.monotonic()))
    watcher.sleep(0.05)
    watcher.sleep(0.05)
    assert len(told) == 1
    clock.sleep(5)
    watcher.sleep(0.05)
    assert len(told) == 1


def test_no_sleep_goes_beyond_the_deadline_however_long_the_dump_is_seen() -> None:
    assert sum(_slept(*[True] * 100, limit=5.2)) == pytest.approx(5.2)


def test_where_the_database_does_not_tell_the_whole_pause_is_slept() -> None:
    def lost() -> bool:
        raise Lost(Reason.DATABASE_UNREACHABLE)

    clock = SteppingClock()
    Watcher(clock, lost, Deadline(clock, 3600)).sleep(4)
    assert clock.slept == [0.5, 3.5]
