"""Drivers that are not psql: whatever a migration's sessions are called, nothing of them lives on after the last line.

Judged from outside, also when every session that was there at the hook's end has ended.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from heroku_sandbox import Action
from tests.faults import verdict
from tests.faults.figures import Cell
from tests.faults.forked import Started
from tests.faults.harness import Harness, Play
from tests.faults.stage import Place, Scenario
from tests.faults.test_live import Case
from tests.faults.test_live import play as play_live
from tests.hook import Result
from tests.judge import query
from tests.toolchains.cache import needed, npm

FOLDER = Path(__file__).with_name("drivers")
NODE = "node-postgres"
NODE_PACKAGE = "pg@8"
PYTHON = ("psycopg", "psycopg2", "asyncpg", "pg8000")
DRIVERS = (*PYTHON, NODE)
OWN = ("neither", "name", "options")
ENDS_BADLY = (
    "broken",
    "rolled back",
    "killed while a statement runs",
    "killed after damage, while a statement runs",
    "killed idle in transaction",
    "a grandchild commits later",
)
WAYS = {
    "psycopg": ("prepared", "pipelined", "COPY", "many in one message", "savepoints"),
    "psycopg2": ("COPY", "many in one message", "savepoints"),
    "asyncpg": ("prepared", "COPY", "many in one message", "savepoints"),
    "pg8000": ("prepared", "COPY", "many in one message", "savepoints"),
    NODE: ("prepared", "pipelined", "many in one message", "savepoints"),
}
"""What each driver has of its own, committed before the migration fails."""

CASES = [(situation, own, driver) for situation in ENDS_BADLY for own in OWN for driver in DRIVERS]
WAY_CASES = [(driver, way) for driver, ways in WAYS.items() for way in ways]
NODE_CASES = sum(NODE in case for case in [*CASES, *WAY_CASES]) + len(OWN) + 3

LATER = 10.0
"""Seconds after the hook's end in which a statement of the migration may still have something to commit."""
AT_LEAST = 1.0
"""Seconds to wait, though no session is left: something that reconnects needs a moment."""

Migrate = Callable[[str, str, str], str]
"""The script that migrates by a driver, in a situation, with something of its own."""


@pytest.fixture(scope="session")
def node_modules(request: pytest.FixtureRequest) -> Path:
    """Where node-postgres is."""
    return needed(request, npm(NODE_PACKAGE), what=f"{NODE}, {NODE_CASES} cells in this worker,") / "node_modules"


@pytest.fixture
def migrate(request: pytest.FixtureRequest) -> Migrate:
    """Makes the script that migrates."""

    def script(driver: str, situation: str, own: str) -> str:
        program, variables = [sys.executable, str(FOLDER / "drive.py")], ""
        if driver == NODE:
            program = ["/usr/bin/env", "node", str(FOLDER / "drive.js")]
            variables = f"export NODE_PATH={shlex.quote(str(request.getfixturevalue('node_modules')))}\n"
        command = shlex.join([*program, driver, situation, own])
        return f"#!/bin/sh\necho $$ >> started\n{variables}exec {command}\n"

    return script


def release(driver: str, situation: str, own: str, script: str, **settings: str) -> Scenario:
    """A release whose migration is a driver's."""
    return Scenario(name=f"{driver}, {situation}, {own}", migration="SELECT 1;", script=script, settings=settings)


class Watch:
    """For a `Play`: which sessions of the migration are alive when the restore is asked for, and what comes later."""

    def __init__(self) -> None:
        self.alive: list[str] = []
        self.result: Result | None = None
        self.picture = ""

    def arm(self, place: Place) -> None:
        """The sandbox keeps the request for a moment before it does anything."""
        place.sandbox.fault(Action.DELAY, "^.*/restores$", method="POST", effect=False, seconds=0.3)

    def during(self, place: Place, run: Started) -> Result:
        """Asks the server in that moment."""
        while run.exit_code is None and not place.sandbox.fired():
            run.read(0.05)
        if run.exit_code is None:
            self.alive += [f"{name or 'a session'} ({state})" for name, state in sessions(place)]
        self.result = run.finish()
        self.picture = place.picture() if self.result.exit_code in {1, 3} else ""
        return self.result

    def later(self, place: Place) -> list[str]:
        """What has happened to the database after the last line."""
        if not self.picture:
            return []
        await_silence(place)
        now = place.picture()
        if now == self.picture:
            return []
        return [f"S8: it changed after the last line: {verdict.difference(self.picture, now)}"]

    def play(self, **fields: object) -> Play:
        """How to play a cell."""
        always = {"fired": lambda _: (True, False)}
        how = {"arm": self.arm, "during": self.during, "ghosts": self.alive, "also": self.later}
        return Play(**{**how, **always, **fields})  # type: ignore[arg-type]


def sessions(place: Place) -> list[tuple[str, str]]:
    """The migration's sessions that the server still has, with their states."""
    file = place.folder / "pids"
    pids = file.read_text().split() if file.exists() else []
    wanted = f"datname = current_database() AND pid = ANY ('{{{','.join(pids)}}}')"
    rows = query(place.superuser, f"SELECT application_name, state FROM pg_stat_activity WHERE {wanted}")
    return [(str(name), str(state)) for name, state in rows]


def await_silence(place: Place) -> None:
    """Waits until every session that is there now, but one's own, has ended."""
    began = time.monotonic()
    others = "datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    while (gone := time.monotonic() - began) < LATER:
        left = query(place.superuser, f"SELECT pid FROM pg_stat_activity WHERE {others}")
        if not left and gone > AT_LEAST:
            return
        time.sleep(0.1)


def play(harness: Harness, scenario: Scenario, what: str, how: Play) -> Cell:
    """Plays a cell in an app of its own."""
    place = harness.stage.fresh(scenario)
    place.only_here = True
    return harness.play(Cell(group="driver", fault=what, scenario=scenario.name), scenario, how, place)


@pytest.mark.thin(2)
@pytest.mark.parametrize(("situation", "own", "driver"), CASES, ids=[" ".join(case) for case in CASES])
def test_nothing_of_a_migration_lives_on(
    harness: Harness, migrate: Migrate, situation: str, own: str, driver: str
) -> None:
    watch = Watch()
    scenario = release(driver, situation, own, migrate(driver, situation, own))
    cell = play(harness, scenario, f"{driver}, own: {own}", watch.play())
    assert not cell.broken, cell
    assert cell.outcomes[0] in {"restored", "untouched"}, cell


@pytest.mark.thin(1)
@pytest.mark.parametrize("own", ["neither", "name"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_nothing_of_a_migration_lives_on_without_a_fence(
    harness: Harness, migrate: Migrate, driver: str, own: str
) -> None:
    """No fence ends other people's sessions; the migration's own are ended all the same."""
    watch, situation = Watch(), "killed after damage, while a statement runs"
    scenario = release(driver, situation, own, migrate(driver, situation, own), RELEASE_FENCE="off")
    cell = play(harness, scenario, f"{driver}, no fence, own: {own}", watch.play())
    assert not cell.broken, cell
    assert cell.outcomes == ["restored"], cell


@pytest.mark.thin(2)
@pytest.mark.parametrize(("driver", "way"), WAY_CASES, ids=[" ".join(case) for case in WAY_CASES])
def test_what_a_driver_commits_in_its_own_way_is_undone(
    harness: Harness, migrate: Migrate, driver: str, way: str
) -> None:
    watch = Watch()
    cell = play(harness, release(driver, way, "neither", migrate(driver, way, "neither")), driver, watch.play())
    assert not cell.broken, cell
    assert cell.outcomes == ["restored"], cell


@pytest.mark.thin(1)
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("own", OWN)
def test_a_lock_timeout_is_obeyed_or_a_warning_says_that_it_is_not(
    harness: Harness, migrate: Migrate, driver: str, own: str
) -> None:
    watch = Watch()

    def during(place: Place, run: Started) -> Result:
        with psycopg.connect(place.environment["DATABASE_URL"], application_name="web.2") as holder:
            holder.execute("LOCK learners IN ACCESS SHARE MODE")
            while run.exit_code is None and not place.migrations_started():
                run.read(0.05)
            ends = time.monotonic() + 2.5
            while run.exit_code is None and time.monotonic() < ends:
                run.read(0.05)
        watch.result = run.finish()
        return watch.result

    def obeyed(_: Place) -> list[str]:
        assert watch.result
        lines = watch.result.stdout.decode().splitlines()
        said = any("lock_timeout" in line and '"level":"warning"' in line for line in lines)
        if watch.result.last["outcome"] != "released" or said:
            return []
        return ["RELEASE_LOCK_TIMEOUT did not reach the migration, which waited for the whole lock; no warning says so"]

    scenario = release(driver, "lands", own, migrate(driver, "lands", own), RELEASE_LOCK_TIMEOUT="500ms")
    how = watch.play(arm=lambda _: None, during=during, also=obeyed)
    cell = play(harness, scenario, f"{driver}, lock timeout, own: {own}", how)
    assert not cell.broken, cell


@pytest.mark.parametrize("driver", DRIVERS)
def test_nobody_notices_a_transaction_that_fails(harness: Harness, migrate: Migrate, driver: str) -> None:
    situation = "a constraint is violated"
    case = Case(migration="", script=migrate(driver, situation, "neither"), wanted=("untouched",), quiet=True)
    cell = play_live(harness, f"{driver}, {situation}", case)
    assert not cell.broken, cell
