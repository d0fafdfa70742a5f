"""Proof that the harness sees: hooks that are broken in one thing each are caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from heroku_sandbox import Action, TransferAction
from release.settings.model import Guard
from tests.faults.corpus import shapes
from tests.faults.figures import BROKEN_HOOK, Cell
from tests.faults.harness import RECOVERY, Harness, Play, watched
from tests.faults.http_faults import TRANSFER
from tests.faults.stage import FAILING, LANDING, Place, Scenario
from tests.faults.test_answers import beside_another_databases_capture
from tests.faults.test_child import LEFT, scenario
from tests.faults.test_concurrency import another_run
from tests.faults.test_output import closed_reader, run_with
from tests.faults.test_shapes import place_for
from tests.faults.test_writers import SCENARIOS, Making, others_apart


def rule(action: Action, path: str, **fields: object) -> Callable[[Place], object]:
    return lambda place: place.sandbox.fault(action, path, **fields)


def foreign_backup(place: Place) -> None:
    """Somebody else takes a backup after ours, in the middle of the migration: it is the latest one."""
    place.sandbox.fault(Action.TWICE, "^.*/backups$", method="POST", nth=2)


def failed_backup(place: Place) -> None:
    """The backup fails, and Heroku says so with the text "false"."""
    place.sandbox.transfer_fault("backup", TransferAction.FAIL)
    place.sandbox.fault(Action.PATCH, TRANSFER, method="GET", times=None, set=LIE)


LIE = {"succeeded": "false", "processed_bytes": 4711}


BROKEN: dict[str, tuple[Scenario, Play, str]] = {
    "blind retry": (LANDING, Play(arm=rule(Action.RESET, "^.*/backups$", method="POST")), "S4"),
    "truthy": (LANDING, Play(arm=failed_backup), "S3"),
    "latest backup": (FAILING, Play(arm=foreign_backup, twins=True), "S5"),
    "anybody's transfer": (LANDING, beside_another_databases_capture(), "S3"),
    "redirects followed": (
        LANDING,
        Play(arm=rule(Action.ANSWER, "^/apps/[^/]+$", status=307, effect=False, headers={"Location": "/elsewhere"})),
        "X2",
    ),
    "polling ends well": (
        LANDING,
        Play(arm=lambda place: place.sandbox.transfer_fault("backup", TransferAction.VANISH)),
        "S3",
    ),
    "settled ignored": (FAILING, another_run("restore", 0.6, RECOVERY), "S7"),
    "ghosts ignored": (
        # The witness would end the session by itself.
        replace(
            scenario("ghost", LEFT["a statement that goes on when its client is killed"]),
            settings={"RELEASE_WITNESS": "off"},
        ),
        Play(**watched()),
        "S8",
    ),
    "success on a log error": (
        FAILING,
        Play(
            run=lambda place: run_with(place, closed_reader, errors_too=False, twist="success on a log error"),
            mute=True,
            fired=lambda _: (True, False),
        ),
        "S2",
    ),
}


TRIES = 3
"""How often a mistake is looked for: some show only where two runs meet, which a busy machine may put off."""


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_hook_with_a_mistake_is_caught(harness: Harness, mistake: str) -> None:
    scenario, how, invariant = BROKEN[mistake]
    how.twist = mistake
    for _ in range(TRIES):
        cell = Cell(group=BROKEN_HOOK, fault=mistake, scenario=scenario.name)
        caught = harness.play(cell, scenario, how, harness.stage.fresh(scenario))
        if any(each.startswith(invariant) for each in caught.broken):
            return
    pytest.fail(f"{caught}")


def shaped(name: str) -> Callable[[Harness], tuple[Place, Play]]:
    """A shape whose broken migration tells; where a guard would stop it, that is overridden."""

    def prepared(harness: Harness) -> tuple[Place, Play]:
        shape = shapes()[name]
        if shape.refused & set(Guard):
            shape = replace(shape, settings={"RELEASE_ALLOW": ",".join(shape.refused)})
        looked = place_for(harness.stage, shape, "broken")
        return looked.place, Play(during=looked.during, also=looked.judged, fired=lambda _: (True, False))

    return prepared


def made_after_the_load(harness: Harness) -> tuple[Place, Play]:
    """Somebody makes a schema when the restore has loaded everything, and before it is proved."""
    place, making = harness.stage.fresh(SCENARIOS["broken"]), Making(moment="after the load")
    others_apart(place)
    return place, Play(arm=making.arm, during=making.during, also=making.judged)


SHAPED: dict[str, tuple[Callable[[Harness], tuple[Place, Play]], str]] = {
    "warnings accepted": (shaped("check_needs_rows"), "S1"),
    "counters trusted": (shaped("column_dropped_and_added"), "S1"),
    "unknown dropped": (made_after_the_load, "S15"),
}


@pytest.mark.parametrize("mistake", SHAPED)
def test_a_hook_that_believes_too_easily_is_caught(harness: Harness, mistake: str) -> None:
    prepare, invariant = SHAPED[mistake]
    place, how = prepare(harness)
    how.twist = mistake
    cell = Cell(group=BROKEN_HOOK, fault=mistake, scenario=place.scenario.name)
    caught = harness.play(cell, place.scenario, how, place)
    assert any(each.startswith(invariant) for each in caught.broken), caught
