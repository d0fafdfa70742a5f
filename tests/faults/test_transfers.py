"""Backups and restores that go wrong at Heroku: stuck, failed, cancelled, gone, half done, or not what they say."""

from __future__ import annotations

import pytest

from heroku_sandbox import Action, TransferAction
from tests.faults.figures import Cell
from tests.faults.harness import RECOVERY, RELEASE, Harness, Play
from tests.faults.http_faults import API
from tests.faults.stage import FAILING, LANDING, Place

HURRY = {"RELEASE_TIME_LIMIT": "900"}
FAST = 60.0
"""The clock's factor where a deadline has to be waited for: the quarter of an hour that a restore gets is 15 s."""

STUCK = {TransferAction.STUCK_PENDING, TransferAction.STUCK_RUNNING, TransferAction.SLOW}
BACKUPS = [
    TransferAction.FAIL,
    TransferAction.CANCEL,
    TransferAction.VANISH,
    TransferAction.BACKWARDS,
    TransferAction.LATE_BYTES,
    TransferAction.SLOW,
    TransferAction.WARN,
    TransferAction.EMPTY,
    TransferAction.STUCK_PENDING,
    TransferAction.STUCK_RUNNING,
]
RESTORES = [
    TransferAction.FAIL,
    TransferAction.CANCEL,
    TransferAction.VANISH,
    TransferAction.SLOW,
    TransferAction.WARN,
    TransferAction.KEEP_OBJECTS,
    TransferAction.HALF,
    TransferAction.WIPE,
]


def name(value: object) -> str:
    return str(getattr(value, "name", value))


def play(kind: str, action: TransferAction, **fields: object) -> Play:
    return Play(
        arm=lambda place: place.sandbox.transfer_fault(kind, action, **fields),
        factor=FAST if action in STUCK else 10,
        changes=dict(HURRY) if action in STUCK else {},
    )


@pytest.mark.thin(2)
@pytest.mark.parametrize("action", BACKUPS, ids=name)
def test_a_backup_that_goes_wrong_is_not_relied_on(harness: Harness, action: TransferAction) -> None:
    cell = Cell(group="transfer", fault=f"backup: {action}", scenario="landing", n=1)
    assert not harness.play(cell, LANDING, play("backup", action, seconds=2)).broken, cell


@pytest.mark.thin(3)
@pytest.mark.parametrize("action", BACKUPS, ids=name)
def test_a_salvage_that_goes_wrong_does_not_keep_the_restore_away(harness: Harness, action: TransferAction) -> None:
    cell = Cell(group="transfer", fault=f"salvage: {action}", scenario="failing", n=2)
    assert not harness.play(cell, FAILING, play("backup", action, nth=2, seconds=2)).broken, cell


@pytest.mark.thin(3)
@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
@pytest.mark.parametrize(("number", "action"), list(enumerate(RESTORES)), ids=name)
def test_a_restore_that_goes_wrong_is_seen_and_repeated_or_left_to_a_person(
    harness: Harness, number: int, action: TransferAction, times: int, *, sweep: bool
) -> None:
    for then in (RECOVERY, RELEASE) if sweep else [(RECOVERY, RELEASE)[number % 2]]:
        cell = Cell(group="transfer", fault=f"restore: {action}", scenario="failing", n=times)
        how = play("restore", action, times=times, seconds=2)
        how.then = then
        # Two restores that emptied the database and left no trace, not even in the list: only the last line can tell.
        how.lost = action is TransferAction.VANISH and times > 1
        assert not harness.play(cell, FAILING, how).broken, cell


def test_a_backup_that_is_evicted_before_it_is_needed_is_missed_aloud(harness: Harness) -> None:
    cell = Cell(group="transfer", fault="restore: evict", scenario="failing", n=1)
    how = play("restore", TransferAction.EVICT)
    how.lost = True
    assert not harness.play(cell, FAILING, how).broken, cell


def test_a_restore_that_says_it_is_fine_and_is_half_done_is_seen(harness: Harness) -> None:
    cell = Cell(group="transfer", fault="restore: half, and says it is fine", scenario="failing", n=1)
    how = play("restore", TransferAction.HALF, succeeds=True)
    assert not harness.play(cell, FAILING, how).broken, cell


@pytest.mark.thin(2)
@pytest.mark.parametrize("action", [TransferAction.STUCK_PENDING, TransferAction.STUCK_RUNNING], ids=name)
def test_a_restore_that_never_ends_is_left_to_the_next_run(harness: Harness, action: TransferAction) -> None:
    def cancelled(place: Place) -> None:
        for each in place.app.transfers():
            if not each["finished_at"]:
                path = f"/client/v11/apps/{place.app.name}/transfers/{each['uuid']}/actions/cancel"
                place.app.connection.request("POST", path)

    how = play("restore", action)
    how.factor, how.changes, how.between = FAST, dict(HURRY), cancelled
    cell = Cell(group="transfer", fault=f"restore: {action}, then cancelled by hand", scenario="failing", n=1)
    assert not harness.play(cell, FAILING, how).broken, cell


@pytest.mark.thin(4)
@pytest.mark.parametrize("first", [5, 14])
@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        ("401 for ever", {"status": 401, "body": '{"id":"unauthorized","message":"revoked"}'}),
        ("503 for ever", {"status": 503, "body": "{}"}),
    ],
)
def test_heroku_may_stay_away_from_any_request_on(
    harness: Harness, fault: str, rule: dict[str, object], first: int, *, sweep: bool
) -> None:
    def away(n: int) -> Play:
        def arm(place: Place) -> None:
            place.sandbox.fault(Action.ANSWER, API, effect=False, nth=n, times=None, **rule)

        return Play(arm=arm, factor=FAST, changes=dict(HURRY), then=RELEASE if n % 2 else RECOVERY)

    step = 1 if sweep else 12
    cells = list(harness.loop("http", fault, FAILING, away, first=first, step=step))
    assert not [str(cell) for cell in cells if cell.broken]
