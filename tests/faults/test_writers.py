"""Others are at work while a release fails: what they make is never dropped."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest

from heroku_sandbox import Action, TransferAction
from tests.faults import others
from tests.faults.corpus import shapes
from tests.faults.figures import Cell
from tests.faults.forked import Started
from tests.faults.harness import Harness, Play
from tests.faults.stage import FAILS, LANDS, Place, Scenario
from tests.faults.test_shapes import RESETS, as_text, resetting, seen
from tests.hook import Result

SLOW = "SELECT pg_sleep(0.3);\n"
SCENARIOS = {
    "landing": Scenario(name="landing, others write", migration=SLOW + LANDS),
    "broken": Scenario(name="broken, others write", migration=SLOW + FAILS),
    "atomic": Scenario(name="atomic, others write", migration=f"BEGIN;\n{SLOW}{FAILS}COMMIT;\n"),
    "probe": Scenario(
        name="probe, others write",
        migration=SLOW + LANDS,
        settings={"RELEASE_PROBE_SQL": "SELECT false", "RELEASE_PROBE_TIMEOUT": "1"},
    ),
}
OTHERS = ("jobs", "meanwhile", "later_on")
"""What names in a picture hold where they are somebody else's."""


def others_apart(place: Place) -> None:
    """The app's picture is its own from here on: what others make and write is looked at for itself."""
    shape = shapes()["empty"]

    def see(_: str) -> str:
        lines = as_text(shape, seen(place, "")).splitlines()
        return "\n".join(line for line in lines if not any(name in line.partition(": ")[0] for name in OTHERS))

    place.only_here = True
    place.see = see
    place.before = place.picture()


def excused(scenario: Scenario) -> tuple[str, ...]:
    """A landed database's picture is not the one of the stage's other apps."""
    return ("S2: exit 0, and the database is not the migrated one",) if scenario is SCENARIOS["landing"] else ()


@dataclass(kw_only=True)
class Making:
    """Somebody makes a schema and tables at one moment of a run; what becomes of them."""

    moment: str
    made: list[bool] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)

    def arm(self, place: Place) -> None:
        """Holds the moment for long enough."""
        if self.moment == "before the dump":
            place.sandbox.fault(Action.DELAY, "^.*/backups$", method="POST", effect=False, seconds=0.6)
        elif self.moment == "after the dump":
            place.sandbox.transfer_fault("backup", TransferAction.SLOW, seconds=1.2)
        elif self.moment == "after the load":
            place.sandbox.transfer_fault("restore", TransferAction.SLOW, seconds=2)

    def come(self, place: Place) -> bool:
        """Whether the moment has come."""
        match self.moment:
            case "before the dump":
                return bool(place.sandbox.fired())
            case "after the dump":
                return others.under_way(place, "gof3r")
            case "after the load":
                return others.loaded(place)
            case _:
                return place.migrations_started() > 0

    def during(self, place: Place, run: Started) -> Result:
        """Makes them when it has."""
        while run.exit_code is None and not self.made:
            if self.come(place):
                if self.moment.startswith("after"):
                    time.sleep(0.6)  # until pg_dump or pg_restore has ended, which the transfer does not yet say
                others.make(place)
                self.made.append(True)
            run.read(0.03)
        self.results.append(run.finish())
        return self.results[0]

    def judged(self, place: Place) -> list[str]:
        """S15, S13: in the database; or in a salvage, where the backup that was restored has it not."""
        there, outcome = others.there(place), self.results[0].last["outcome"]
        if not self.made or there == set(others.MADE):
            return []
        gone = ", ".join(sorted(set(others.MADE) - there))
        files = others.backups(place)
        held = [file for file in files if all(others.rows_in(file, name.split(".")[1]) for name in others.MADE)]
        if self.moment == "after the load":
            return [f"S15: {outcome}, and {gone}, which somebody made after the load, is dropped"]
        if others.restored_from(place) in held:
            return [f"S15: {outcome}, and {gone}, which somebody made and the backup holds, is dropped"]
        if outcome == "restored" and held:
            return []
        return [f"S13: {outcome}, and {gone}, which somebody made, is in no copy"]


CAPTURED_AGAIN = tuple(f"S4: {n} captures were accepted" for n in (2, 3, 4))
"""What is made around the capture is in the backup or not: then another one is taken, twice at most."""
MOMENTS = ("before the dump", "after the dump", "while the migration runs", "after the load")
MAKINGS = [
    (what, moment) for what in SCENARIOS for moment in MOMENTS if (what, moment) != ("landing", "after the load")
]


@pytest.mark.thin(1)
@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize(("what", "moment"), MAKINGS, ids=[" ".join(case) for case in MAKINGS])
def test_what_others_make_in_between_is_never_dropped(harness: Harness, what: str, moment: str, reset: str) -> None:
    scenario = SCENARIOS[what]
    place = harness.stage.fresh(scenario)
    others_apart(place)
    making = Making(moment=moment)
    cell = Cell(group="writer", fault=f"others make a schema {moment}, {reset} reset", scenario=scenario.name)
    how = Play(
        arm=making.arm,
        during=making.during,
        also=making.judged,
        excused=(*excused(scenario), *CAPTURED_AGAIN, "S5"),
        fired=lambda _: (bool(making.made), False),
    )
    with resetting(harness.stage, reset):
        harness.play(cell, scenario, how, place)
    assert cell.fired or (what == "atomic" and moment == "after the load"), "nothing was made"
    assert not cell.broken, cell
