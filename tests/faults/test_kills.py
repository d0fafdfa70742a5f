"""The hook is told to stop, or killed, at every line it logs and around every request that changes something.

After a SIGTERM it has to be out in 25 s, with a true outcome. After a SIGKILL the next run, or `recover`, has to reach
the database before or after the release, or to say what a person has to decide.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from heroku_sandbox import Action
from tests.faults.figures import Cell
from tests.faults.forked import Started
from tests.faults.harness import RECOVERY, RELEASE, Harness, Play, assert_held
from tests.faults.stage import FAILING, FENCED, LANDING, Place, Scenario
from tests.hook import Result

EXIT_WITHIN = 25.0
"""Real seconds from SIGTERM to exit; Heroku kills after 30."""

Stop = Callable[[Started], None]


def term(run: Started) -> None:
    run.signal(signal.SIGTERM)


def kill(run: Started) -> None:
    run.signal(signal.SIGKILL)


def term_group(run: Started) -> None:
    run.signal(signal.SIGTERM, group=True)


def kill_group(run: Started) -> None:
    run.signal(signal.SIGKILL, group=True)


def term_twice(run: Started) -> None:
    run.signal(signal.SIGTERM)
    time.sleep(0.05)
    run.signal(signal.SIGINT)


def term_then_kill(run: Started) -> None:
    run.signal(signal.SIGTERM)
    time.sleep(0.15)
    run.signal(signal.SIGKILL)


KILLS = {kill, kill_group, term_then_kill}


def at_line(stop: Stop, n: int) -> Play:
    """Stops the run when its n-th line has come."""
    play = Play(killed=stop in KILLS, then=RELEASE if n % 2 else RECOVERY, hasty=n % 4 > 1)
    stopped: list[float] = []

    def on_line(number: int, run: Started) -> None:
        if number == n:
            stopped.append(time.monotonic())
            stop(run)

    def during(_: Place, run: Started) -> Result:
        result = run.finish(on_line=lambda number: on_line(number, run))
        play.stopping += [time.monotonic() - at for at in stopped]
        play.killed = play.killed and result.exit_code < 0
        return result

    play.during = during
    play.fired = lambda _: (bool(stopped), False)
    return play


def at_request(stop: Stop, n: int, *, effect: bool, method: str) -> Play:
    """Stops the run while it waits for the answer to its n-th request of a method; before or after the effect."""
    play = Play(killed=stop in KILLS, then=RELEASE if n % 2 else RECOVERY, hasty=n % 4 > 1)

    def arm(place: Place) -> None:
        place.sandbox.fault(Action.DELAY, "^/(apps|client)", method=method, nth=n, effect=effect, seconds=0.6)

    def during(place: Place, run: Started) -> Result:
        while run.exit_code is None and not place.sandbox.fired():
            run.read(0.05)
        stopped = time.monotonic()
        stop(run)
        result = run.finish()
        play.killed = play.killed and result.exit_code < 0
        play.stopping.append(time.monotonic() - stopped)
        return result

    play.arm, play.during = arm, during
    play.fired = lambda place: (bool(place.sandbox.fired()), False)  # a run that was stopped makes no more requests
    return play


def in_time(cells: list[Cell], stop: Stop) -> None:
    """Cells held, and those that were asked to stop did so in time."""
    assert_held(cells)
    if stop not in KILLS:
        assert all((cell.stopping or 0) < EXIT_WITHIN for cell in cells)


PARTS = 8
"""A loop over all lines is split among so many tests: the first one tries the lines 1, 9, 17, …"""
ALIKE = 12
"""Lines up to the migration's start are the same whether it will land or fail."""


@pytest.mark.thin(7)
@pytest.mark.parametrize("part", range(1, PARTS + 1))
@pytest.mark.parametrize("stop", [term, kill], ids=lambda each: each.__name__)
@pytest.mark.parametrize("scenario", [LANDING, FAILING], ids=lambda each: each.name)
def test_a_run_may_be_stopped_at_any_line(harness: Harness, scenario: Scenario, stop: Stop, part: int) -> None:
    label, first = f"{stop.__name__} at a line", part + (ALIKE if scenario is FAILING else 0)
    in_time(list(harness.loop("kill", label, scenario, lambda n: at_line(stop, n), first=first, step=PARTS)), stop)


@pytest.mark.thin(2)
@pytest.mark.parametrize("first", [7, 17])
def test_a_run_that_is_fenced_all_along_may_be_killed_at_any_line(harness: Harness, first: int, *, sweep: bool) -> None:
    step = 2 if sweep else 2 * PARTS
    in_time(
        list(harness.loop("kill", "kill at a line", FENCED, lambda n: at_line(kill, n), first=first, step=step)), kill
    )


@pytest.mark.thin(5)
@pytest.mark.parametrize("effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("stop", "method"),
    [(term, "POST"), (kill, "POST"), (kill, "PATCH"), (term, "GET"), (kill, "GET")],
    ids=["term POST", "kill POST", "kill PATCH", "term GET", "kill GET"],
)
def test_a_run_may_be_stopped_in_any_request(harness: Harness, stop: Stop, method: str, *, effect: bool) -> None:
    label = f"{stop.__name__} {'after' if effect else 'before'} a {method}"
    cells = harness.loop("kill", label, FAILING, lambda n: at_request(stop, n, effect=effect, method=method))
    in_time(list(cells), stop)


@pytest.mark.thin(3)
@pytest.mark.parametrize("stop", [term_group, kill_group, term_twice, term_then_kill], ids=lambda each: each.__name__)
def test_a_run_may_be_stopped_in_other_ways(harness: Harness, stop: Stop, *, sweep: bool) -> None:
    cells = harness.loop(
        "kill", f"{stop.__name__} at a line", FAILING, lambda n: at_line(stop, n), first=9, step=1 if sweep else 10
    )
    in_time(list(cells), stop)
