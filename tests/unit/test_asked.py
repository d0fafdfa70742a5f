"""Questions that are asked side by side: when they are answered, what they raise, and what a signal does to a wait."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from threading import Event, Timer

import pytest

from release.asked import FRESH, Asked, Lately
from release.clock import Clock, Interrupted, Signals
from tests.unit.recording import SteppingClock


def test_questions_are_under_way_at_once_and_each_gives_its_own_answer() -> None:
    clock, signals, both = Clock(), Signals(), [Event(), Event()]

    def met(mine: int) -> bool:
        both[mine].set()
        return both[1 - mine].wait(10)

    asked = [Asked(partial(met, mine), clock=clock, signals=signals) for mine in (0, 1)]
    assert [each.answer() for each in asked] == [True, True]


def test_an_error_is_raised_where_the_answer_is_taken_and_again_whoever_asks() -> None:
    def fail() -> None:
        raise ValueError("no")

    asked = Asked(fail, clock=Clock(), signals=Signals())
    for take in (asked.answer, asked.settled, asked.answer):
        with pytest.raises(ValueError, match="no"):
            take()


def test_a_signal_ends_the_wait_for_an_answer_at_once() -> None:
    over = Event()
    with Signals() as signals:
        asked = Asked(lambda: over.wait(30), clock=Clock(signals), signals=signals)
        Timer(0.1, os.kill, [os.getpid(), signal.SIGTERM]).start()
        began = time.monotonic()
        with pytest.raises(Interrupted):
            asked.answer()
        assert time.monotonic() - began < 5
        over.set()


def test_a_change_is_waited_for_whatever_signal_comes() -> None:
    over = Event()
    with Signals() as signals:
        asked = Asked(lambda: over.wait(30), clock=Clock(signals), signals=signals)
        os.kill(os.getpid(), signal.SIGTERM)
        Timer(0.2, over.set).start()
        assert asked.settled() is True
        assert signals.pending


def test_a_pause_within_a_question_ends_when_a_signal_comes_and_leaves_the_run_its_own() -> None:
    with Signals() as signals:
        clock = Clock(signals)
        asked = Asked(lambda: clock.sleep(30), clock=clock, signals=signals)
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            asked.settled()
        began = time.monotonic()
        with pytest.raises(Interrupted):
            clock.sleep(30)
        assert time.monotonic() - began < 5


def _counted(clock: Clock, counted: list[int]) -> Asked[int]:
    def count() -> int:
        counted.append(len(counted))
        return len(counted)

    return Asked(count, clock=clock, signals=Signals())


def test_an_answer_is_good_for_a_second_and_then_asked_for_anew() -> None:
    clock, counted, lately = SteppingClock(), list[int](), Lately[int]()
    seen = []
    for pause in (0, FRESH / 2, FRESH / 2, 0):
        clock.sleep(pause)
        seen.append(lately.answer(lambda: _counted(clock, counted)))
    assert seen == [1, 1, 2, 2]


def test_an_answer_that_was_dropped_or_is_about_another_thing_is_asked_for_anew() -> None:
    clock, counted, lately = SteppingClock(), list[int](), Lately[int]()
    ask = lambda: _counted(clock, counted)  # noqa: E731 -- a question, three times
    lately.ahead(ask, of="b001")
    assert lately.answer(ask, of="b001") == 1
    assert lately.answer(ask, of="b002") == 2
    lately.forget()
    assert lately.answer(ask, of="b002") == 3


def test_a_question_that_failed_is_asked_again() -> None:
    clock, lately = SteppingClock(), Lately[int]()

    def fail() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        lately.answer(lambda: Asked(fail, clock=clock, signals=Signals()))
    assert lately.answer(lambda: _counted(clock, [])) == 1
