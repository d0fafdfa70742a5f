"""Heroku changes its answers one day, and they stay so: whole runs, in which a field is another one for ever.

A minute of the run's clock is a second here, so that what is waited for 45 s ends at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from heroku_sandbox import Action, Variant
from tests.faults.figures import Cell
from tests.faults.forked import Started
from tests.faults.harness import Harness, Play
from tests.faults.http_faults import APP, ATTACHMENTS, DATABASE, FORMATION, TRANSFER, TRANSFERS
from tests.faults.stage import FAILING, LANDING, Place, Scenario
from tests.hook import Result
from tests.judge import execute

FAST = 60.0
POSTED = "^/client/v11/databases/[^/]+/(backups|restores)$"
SHAPE = "heroku_shape_unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What Heroku changes, and the field that the run has to name; none where nothing needs what has changed."""

    name: str
    path: str
    set: dict[str, Any] = field(default_factory=dict)
    delete: tuple[str, ...] = ()
    method: str = "GET"
    named: str | None = None

    def arm(self, place: Place) -> None:
        """Puts it in place, for ever."""
        rule = {"method": self.method, "set": self.set, "delete": list(self.delete), "times": None}
        place.sandbox.fault(Action.PATCH, self.path, **rule)


NEEDED = (
    Drift(name="succeeded is a text", path=TRANSFER, set={"succeeded": "true"}, named="succeeded"),
    Drift(name="succeeded is gone", path=TRANSFER, delete=("succeeded",), named="succeeded"),
    Drift(name="finished_at is a number", path=TRANSFER, set={"finished_at": 1_700_000_000}, named="finished_at"),
    Drift(name="finished_at is gone", path=TRANSFER, delete=("finished_at",), named="finished_at"),
    Drift(name="processed_bytes is gone", path=TRANSFER, delete=("processed_bytes",), named="processed_bytes"),
    Drift(name="warnings is a list", path=TRANSFER, set={"warnings": []}, named="warnings"),
    Drift(name="from_url is an object", path=TRANSFER, set={"from_url": {"host": "h"}}, named="from_url"),
    Drift(name="database_name is gone", path=DATABASE, delete=("database_name",), named="database_name"),
    Drift(name="addon_id is a number", path=DATABASE, set={"addon_id": 7}, named="addon_id"),
    Drift(name="maintenance is a text", path=APP, set={"maintenance": "off"}, named="maintenance"),
    Drift(name="config_vars is gone", path=ATTACHMENTS, delete=("*.config_vars",), named="[0].config_vars"),
    Drift(name="quantity is a text", path=FORMATION, set={"*.quantity": "two"}, named="[0].quantity"),
)
NEEDLESS = (
    Drift(
        name="all that only informs is of another type in the list",
        path=TRANSFERS,
        set={
            f"*.{name}": {"of": "another type"}
            for name in (
                "processed_bytes",
                "source_bytes",
                "created_at",
                "num_keep",
                "from_name",
                "options",
                "warnings",
            )
        },
    ),
    Drift(
        name="all that only informs is of another type in a poll",
        path=TRANSFER,
        set={key: [7] for key in ("started_at", "created_at", "updated_at", "num_keep", "source_bytes", "to_name")},
    ),
    Drift(
        name="the description holds little else than the name",
        path=DATABASE,
        set={"num_bytes": "large", "plan": 7, "info": None},
        delete=("following", "addon_id", "resource_url"),
    ),
    Drift(name="the attachments have no plan", path=ATTACHMENTS, set={"*.addon.plan": "standard-0", "*.name": 7}),
    Drift(name="no answer to a POST can be read", path=POSTED, set={"uuid": 7}, method="POST"),
)
SCENARIOS = {LANDING.name: "released", FAILING.name: "restored"}


def name(value: object) -> str:
    return str(getattr(value, "name", value))


def played(harness: Harness, cell: Cell, scenario: Scenario, play: Play) -> dict[str, Any]:
    """Plays a cell in which all has to hold; the last line of the run."""
    results: list[Result] = []
    drive = play.during or (lambda _, run: run.finish())

    def during(place: Place, run: Started) -> Result:
        results.append(drive(place, run))
        return results[-1]

    play.during, play.factor = during, FAST
    assert not harness.play(cell, scenario, play).broken, cell
    assert cell.fired
    return results[0].last


def beside_another_databases_capture() -> Play:
    """The first request for a backup is lost, and another database of the app is captured in the same second."""
    theirs: list[str] = []

    def arm(place: Place) -> None:
        other = place.app.add_database(plan="standard-0")
        execute(other["url"], "CREATE TABLE theirs AS SELECT 1 AS n")
        theirs.append(f"/client/v11/databases/{other['id']}/backups")
        ours = f"/client/v11/databases/{place.app.addon_id}/backups"
        place.sandbox.fault(Action.RESET, ours, method="POST", effect=False)

    def during(place: Place, run: Started) -> Result:
        while run.exit_code is None and not place.sandbox.fired():
            run.read(0.02)
        place.app.connection.request("POST", theirs[-1])
        return run.finish()

    return Play(arm=arm, during=during, excused=("S4: 3 captures", "S4: 2 captures"))  # theirs are counted, too


@pytest.mark.thin(1)
@pytest.mark.parametrize("drift", NEEDED, ids=name)
def test_a_needed_field_that_stays_unreadable_ends_the_run_early_with_its_name(harness: Harness, drift: Drift) -> None:
    cell = Cell(group="http", fault=f"for ever: {drift.name}", scenario="landing")

    last = played(harness, cell, LANDING, Play(arm=drift.arm))

    assert (last["outcome"], last["reason"]) == ("untouched", SHAPE)
    assert f"(`{drift.named}`: " in last["error"]
    assert "newer version" in last["hint"]
    assert last["duration"] < 120  # a third of the hour are 1200 s


@pytest.mark.thin(1)
@pytest.mark.parametrize("scenario", [LANDING, FAILING], ids=name)
@pytest.mark.parametrize("drift", NEEDLESS, ids=name)
def test_a_field_that_is_not_needed_is_never_a_reason(harness: Harness, drift: Drift, scenario: Scenario) -> None:
    cell = Cell(group="http", fault=f"for ever: {drift.name}", scenario=scenario.name)

    last = played(harness, cell, scenario, Play(arm=drift.arm))

    assert last["outcome"] == SCENARIOS[scenario.name]


def test_a_restore_that_cannot_be_followed_any_more_is_left_to_a_person_and_finished_later(harness: Harness) -> None:
    def during(place: Place, run: Started) -> Result:
        drift = Drift(name="finished_at is gone", path=TRANSFER, delete=("finished_at",))
        while run.exit_code is None and b'"kind":"restore"' not in run.said():
            run.read(0.02)
        drift.arm(place)
        return run.finish()

    def last_a_second(place: Place) -> None:
        place.sandbox.set_options(transfer_seconds=1)

    def last_no_time(place: Place) -> None:
        place.sandbox.set_options(transfer_seconds=0)

    cell = Cell(group="http", fault="for ever: a restore's finished_at is gone", scenario="failing")
    play = Play(arm=last_a_second, during=during, between=last_no_time)

    try:
        last = played(harness, cell, FAILING, play)
    finally:
        harness.stage.sandbox.set_options(transfer_seconds=0)

    assert (last["outcome"], last["reason"]) == ("restore_failed", SHAPE)
    assert cell.restores == 1


@pytest.mark.parametrize("scenario", [LANDING, FAILING], ids=name)
def test_another_databases_capture_of_the_same_second_is_not_taken_for_the_lost_one(
    harness: Harness, scenario: Scenario
) -> None:
    cell = Cell(group="http", fault="a lost POST beside another database's capture", scenario=scenario.name)
    cell = harness.play(cell, scenario, beside_another_databases_capture(), harness.stage.fresh(scenario))
    assert not cell.broken, cell
    assert cell.outcomes == [SCENARIOS[scenario.name]]
    assert cell.backups == (2 if scenario is LANDING else 3)


@pytest.mark.thin(1)
@pytest.mark.parametrize("variant", Variant, ids=str)
def test_with_any_form_of_answers_a_lost_restore_is_found(harness: Harness, variant: Variant) -> None:
    def arm(place: Place) -> None:
        place.sandbox.set_options(variants=[variant])
        place.sandbox.fault(Action.RESET, "^.*/restores$", method="POST")

    cell = Cell(group="http", fault=f"a lost POST, answers as {variant}", scenario="failing")
    try:
        cell = harness.play(cell, FAILING, Play(arm=arm))
    finally:
        harness.stage.sandbox.set_options(variants=[])
    assert not cell.broken, cell
    assert cell.outcomes == ["restored"]
