"""Every request of a release meets every fault of HTTP: the first request, the second, and so on until none is left.

A release that fails and is undone makes all the requests there are, and begins as one that lands. In each test run two
faults are tried at every one of them; each of the others at the request for the backup, at that for the salvage or for
the restore in turn, and at one of the reads; `--sweep` tries all everywhere.
"""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest

from heroku_sandbox import Action
from tests.faults.figures import Cell
from tests.faults.harness import Harness, Play, assert_held
from tests.faults.http_faults import API, FAULTS, LIES, Fault, Lie
from tests.faults.stage import FAILING, LANDING, Place, Scenario

EVERY = [fault for fault in FAULTS if fault.everywhere]
OTHERS = [fault for fault in FAULTS if not fault.everywhere]
PARTS = 6
"""A loop over all requests is split among so many tests: the first one tries the requests 1, 7, 13, …"""
READS = 9
"""Requests of a release before its first poll."""
SALVAGE, RESTORE = 2, 3
"""Which POST of a release that is undone it is; the first one is for the backup."""
LANDED = 2
"""So many answers of each kind a release gets that lands; later ones belong to the undoing."""
AT_SWITCHES = {"no answer, done at once", "500"}
"""Faults that are tried at maintenance mode and formation, too."""


def once(fault: Fault, n: int, **where: object) -> Play:
    """The fault at the n-th of the requests that are meant."""
    rule = {"path": API, **fault.fields, **where}
    return Play(arm=lambda place: place.sandbox.fault(fault.action, nth=n, **rule))


def name(value: object) -> str:
    """What a parameter is called in the test's name."""
    return str(getattr(value, "name", value))


@pytest.mark.thin(7)
@pytest.mark.parametrize("first", range(1, PARTS + 1))
@pytest.mark.parametrize("fault", EVERY, ids=name)
def test_any_request_of_a_release_that_is_undone_may_fail(harness: Harness, fault: Fault, first: int) -> None:
    cells = harness.loop("http", fault.name, FAILING, lambda n: once(fault, n), first=READS + first, step=PARTS)
    assert_held(list(cells))


@pytest.mark.thin(4)
@pytest.mark.parametrize("first", range(1, PARTS + 1))
@pytest.mark.parametrize("fault", EVERY, ids=name)
def test_any_request_of_a_release_that_lands_may_fail(harness: Harness, fault: Fault, first: int) -> None:
    assert_held(list(harness.loop("http", fault.name, LANDING, lambda n: once(fault, n), first=first, step=PARTS)))


@pytest.mark.thin(4)
@pytest.mark.parametrize("fault", OTHERS, ids=name)
def test_the_request_for_the_backup_may_fail(harness: Harness, fault: Fault) -> None:
    cell = Cell(group="http", fault=f"{fault.name}, of a POST", scenario="landing", n=1)
    assert_held([harness.play(cell, LANDING, once(fault, 1, method="POST"))])


@pytest.mark.thin(4)
@pytest.mark.parametrize(("number", "fault"), list(enumerate(OTHERS)), ids=name)
def test_the_requests_for_salvage_and_restore_may_fail(
    harness: Harness, number: int, fault: Fault, *, sweep: bool
) -> None:
    if sweep:
        cells = list(harness.loop("http", fault.name, FAILING, lambda n: once(fault, n)))
    else:
        n = SALVAGE if number % 3 == 0 else RESTORE
        cell = Cell(group="http", fault=f"{fault.name}, of a POST", scenario="failing", n=n)
        cells = [harness.play(cell, FAILING, once(fault, n, method="POST"))]
    assert_held(cells)


@pytest.mark.thin(2)
@pytest.mark.parametrize("fault", [fault for fault in OTHERS if fault.name in AT_SWITCHES], ids=name)
def test_any_request_that_raises_or_lowers_the_fence_may_fail(harness: Harness, fault: Fault) -> None:
    label = f"{fault.name}, of PATCHes"
    assert_held(list(harness.loop("http", label, FAILING, lambda n: once(fault, n, method="PATCH"))))


@pytest.mark.thin(4)
@pytest.mark.parametrize(("number", "fault"), list(enumerate(OTHERS)), ids=name)
def test_any_read_of_a_release_that_lands_may_fail(harness: Harness, number: int, fault: Fault, *, sweep: bool) -> None:
    if sweep:
        cells = list(harness.loop("http", fault.name, LANDING, lambda n: once(fault, n)))
    else:
        n = 1 + number % READS
        cells = [harness.play(Cell(group="http", fault=fault.name, scenario="landing", n=n), LANDING, once(fault, n))]
    assert_held(cells)


@pytest.mark.thin(4)
@pytest.mark.parametrize("lie", LIES, ids=name)
def test_an_answer_may_be_nearly_right(harness: Harness, lie: Lie, *, sweep: bool) -> None:
    def told(n: int) -> Play:
        def arm(place: Place) -> int:
            return place.sandbox.fault(Action.PATCH, lie.path, method=lie.method, set=lie.set, delete=lie.delete, nth=n)

        return Play(arm=arm)

    label = f"an answer in which {lie.name}"
    if sweep:
        assert_held(list(harness.loop("http", label, FAILING, told)))
    else:
        scenarios = {n: FAILING if n > LANDED else LANDING for n in lie.nth}
        cells = {n: Cell(group="http", fault=label, scenario=scenario.name, n=n) for n, scenario in scenarios.items()}
        assert_held([harness.play(cell, scenarios[n], told(n)) for n, cell in cells.items()])


@pytest.mark.thin(2)
@pytest.mark.parametrize("scenario", [LANDING, FAILING], ids=name)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_somebody_else_may_start_the_same_in_the_same_second(harness: Harness, scenario: Scenario, n: int) -> None:
    play = Play(arm=lambda place: place.sandbox.fault(Action.TWICE, API, method="POST", nth=n), twins=True)
    cell = harness.play(Cell(group="http", fault="a twin", scenario=scenario.name, n=n), scenario, play)
    assert not cell.broken, cell


@pytest.mark.parametrize("variable", ["HEROKU_HOST", "HEROKU_DATA_HOST"])
@pytest.mark.parametrize(
    ("what", "host"),
    [
        ("refuses", "http://127.0.0.1:9"),
        ("has no such name", "https://nowhere.heroku.com"),
        ("shows a bad certificate", "https://127.0.0.1:{downloads}"),
        ("speaks no HTTP", "http://127.0.0.1:{postgres}"),
    ],
)
def test_heroku_may_not_be_there_at_all(harness: Harness, variable: str, what: str, host: str) -> None:
    place = harness.stage.place(LANDING)
    status = place.sandbox.connection.request("GET", "/sandbox")
    ports = {"downloads": urlsplit(status["downloads"]).port, "postgres": urlsplit(status["superuser_url"]).port}
    play = Play(changes={variable: host.format(**ports)}, fired=lambda _: (True, False))
    cell = Cell(group="http", fault=f"{variable} {what}", scenario="landing")
    cell = harness.play(cell, LANDING, play, place)
    assert not cell.broken, cell
    assert cell.outcomes == ["untouched"], cell


@pytest.mark.thin(3)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nobody_else_is_asked_because_an_answer_says_so(harness: Harness, status: int, method: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0.05)
        headers = {"Location": f"http://127.0.0.1:{other.getsockname()[1]}/elsewhere"}
        rule = {"status": status, "effect": False, "headers": headers, "method": method}
        play = Play(arm=lambda place: place.sandbox.fault(Action.ANSWER, API, **rule))
        cell = Cell(group="http", fault=f"{status} of a {method} to another host", scenario="landing")
        cell = harness.play(cell, LANDING, play)
        with pytest.raises(TimeoutError):
            other.accept()
    assert not cell.broken, cell
