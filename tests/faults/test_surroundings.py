"""What surrounds a release goes wrong: the API as a whole, clocks, folders, the app, the disk; and at any moment."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice

import pytest

from heroku_sandbox import Action, TransferAction
from tests.faults.clock import JUMPS
from tests.faults.figures import Cell
from tests.faults.forked import Started
from tests.faults.harness import Harness, Play, await_quiet
from tests.faults.http_faults import API, ATTACHMENTS, LIMITED, TRANSFERS
from tests.faults.stage import FAILING, LANDING, LANDS, Place, Scenario
from tests.faults.test_child import scenario as script
from tests.faults.test_database import let_in, on_line
from tests.hook import Result
from tests.judge import execute

Act = Callable[[Place], object]
SCENARIOS = pytest.mark.parametrize("scenario", [LANDING, FAILING], ids=lambda each: each.name)
WELL = {"landing": ["released"], "failing": ["restored"]}


def always(_: Place) -> tuple[bool, bool]:
    return True, False


def rule(action: Action, path: str = API, **fields: object) -> Act:
    return lambda place: place.sandbox.fault(action, path, **fields)


def faulty(action: Action, fields: dict[str, object], place: Place) -> None:
    place.sandbox.fault(action, API, **fields)


def held(harness: Harness, cell: Cell, scenario: Scenario, how: Play, place: Place | None = None) -> Cell:
    """Plays a cell, which has to hold."""
    cell = harness.play(cell, scenario, how, place)
    assert not cell.broken, cell
    return cell


# The API as a whole.


def crowded(harness: Harness, scenario: Scenario) -> Place:
    """An app with two databases and an older backup: lists of more than one."""
    place = harness.stage.fresh(scenario)
    place.app.add_database(plan="standard-0", attachment="OTHER")
    place.app.scheduled_backup()
    await_quiet(place)
    return place


@pytest.mark.thin(5)
@pytest.mark.parametrize("action", [Action.REVERSE, Action.PAGE])
@SCENARIOS
@pytest.mark.parametrize("path", [TRANSFERS, ATTACHMENTS], ids=["transfers", "attachments"])
def test_a_list_may_come_in_any_order_or_in_pages(
    harness: Harness, path: str, scenario: Scenario, action: Action
) -> None:
    cell = Cell(group="http", fault=f"{action} of {path}", scenario=scenario.name)
    how = Play(arm=rule(action, path, method="GET", times=None, size=1))
    held(harness, cell, scenario, how, crowded(harness, scenario))


def test_what_is_on_the_second_page_counts(harness: Harness) -> None:
    shared = replace(LANDING, name="landing, shared")  # nobody else is to get this app afterwards
    place = harness.stage.fresh(shared)
    other = place.sandbox.create_app(f"{place.app.name}-other", plan="none", config={})
    body = {"addon": place.app.addon_name, "app": other.name, "name": "SHARED", "confirm": place.app.name}
    place.app.connection.request("POST", "/addon-attachments", body)
    how = Play(arm=rule(Action.PAGE, "^/addons/", method="GET", times=None, size=1))
    cell = held(harness, Cell(group="http", fault="shared on page 2", scenario=shared.name), shared, how, place)
    assert cell.outcomes != ["released"], cell

    def arm(place: Place) -> None:
        rule(Action.PAGE, TRANSFERS, method="GET", times=None, size=1)(place)
        rule(Action.RESET, method="POST")(place)

    cell = Cell(group="http", fault="lost capture on page 2", scenario="landing")
    held(harness, cell, LANDING, Play(arm=arm), crowded(harness, LANDING))


@pytest.mark.thin(4)
@pytest.mark.parametrize("n", [14, 1, 8])
@pytest.mark.parametrize("fault", ["429", "reset"])
def test_the_api_may_be_gone_for_some_requests(harness: Harness, fault: str, n: int, *, sweep: bool) -> None:
    quota: dict[str, object] = {"status": 429, "body": json.dumps(LIMITED), "headers": {"RateLimit-Remaining": "0"}}
    action = Action.ANSWER if fault == "429" else Action.RESET
    for nth in range(n, n + 7) if sweep else [n]:
        fields = {"nth": nth, "times": 4, "effect": False} | (quota if fault == "429" else {})
        how = Play(arm=partial(faulty, action, fields), factor=30)
        held(harness, Cell(group="http", fault=f"{fault} four times", scenario="failing", n=nth), FAILING, how)


@pytest.mark.thin(3)
@pytest.mark.parametrize(("status", "name"), [(403, "quota_exceeded"), (422, "too_many_backups")])
@pytest.mark.parametrize(("nth", "scenario"), [(1, LANDING), (2, FAILING)], ids=["backup", "salvage"])
def test_there_may_be_no_room_for_a_backup(
    harness: Harness, nth: int, scenario: Scenario, status: int, name: str
) -> None:
    body = json.dumps({"id": name, "message": "You have too many backups."})
    how = Play(arm=rule(Action.ANSWER, "^.*/backups$", method="POST", nth=nth, status=status, body=body, effect=False))
    cell = held(harness, Cell(group="http", fault=f"{status} {name}", scenario=scenario.name, n=nth), scenario, how)
    assert cell.outcomes in (["untouched"], ["refused"], ["restored"]), cell


@pytest.mark.thin(3)
@pytest.mark.parametrize("where", ["https://127.0.0.1", "http://localhost"])
@pytest.mark.parametrize("path", ["^/apps/[^/]+$", "^.*/restores$"], ids=["app", "restore"])
def test_no_redirect_is_followed_to_https_or_to_another_name(harness: Harness, path: str, where: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0.05)
        headers = {"Location": f"{where}:{other.getsockname()[1]}/elsewhere"}
        how = Play(arm=rule(Action.ANSWER, path, status=308, effect=False, headers=headers), factor=30)
        cell = Cell(group="http", fault=f"308 of {path} to {where}", scenario="failing")
        held(harness, cell, FAILING, how)
        with pytest.raises(TimeoutError):
            other.accept()


# Clocks, folders, output.


@pytest.mark.thin(3)
@SCENARIOS
@pytest.mark.parametrize("jump", JUMPS)
def test_the_wall_clock_may_jump(harness: Harness, jump: str, scenario: Scenario) -> None:
    cell = Cell(group="output", fault=f"the wall clock jumps {jump}", scenario=scenario.name)
    assert held(harness, cell, scenario, Play(twist=jump, fired=always)).outcomes == WELL[scenario.name]


@pytest.mark.thin(3)
@pytest.mark.parametrize(
    ("event", "limit"), [("command_output", "3600"), ("transfer_started", "900"), ("database_compared", "3600")]
)
def test_a_run_may_be_stopped_for_ten_minutes_on_its_clock(harness: Harness, event: str, limit: str) -> None:
    def during(place: Place, run: Started) -> Result:
        def stop(_: Place) -> None:
            run.signal(signal.SIGSTOP)
            threading.Timer(3, lambda: run.signal(signal.SIGCONT)).start()

        return on_line(f'"event":"{event}"', stop)(place, run)

    cell = Cell(group="output", fault=f"stopped for ten of {int(limit) // 60} min at {event}", scenario="failing")
    how = Play(during=during, changes={"RELEASE_TIME_LIMIT": limit}, factor=200, fired=always)
    held(harness, cell, FAILING, how)


@pytest.mark.thin(4)
@SCENARIOS
@pytest.mark.parametrize(
    "changes", [{"TMPDIR": "/proc", "HOME": "/proc"}, {"TMPDIR": None, "HOME": None}], ids=["read-only", "unset"]
)
def test_there_may_be_no_folder_to_write_to(
    harness: Harness, changes: dict[str, str | None], scenario: Scenario
) -> None:
    cell = Cell(group="output", fault=f"folders: {changes}", scenario=scenario.name)
    assert held(harness, cell, scenario, Play(changes=changes, fired=always)).outcomes == WELL[scenario.name]


def test_a_migration_may_print_without_end(harness: Harness, *, sweep: bool) -> None:
    size = 1_000_000_000 if sweep else 30_000_000
    text = f"yes '{'all is well ' * 70}' | head -c {size}; exit 7\n"
    how = Play(during=lambda _, run: run.finish(within=1000), changes={"RELEASE_TIME_LIMIT": "36000"}, fired=always)
    cell = held(harness, Cell(group="child", fault=f"{size} bytes", scenario="failing"), script("prints", text), how)
    assert cell.outcomes == ["restored"], cell


# The app and its database change in mid-run.


def older_code(place: Place) -> None:
    place.app.rollback(min(each["version"] for each in place.app.releases() if each["slug"]))


def scheduled(place: Place) -> None:
    place.sandbox.transfer_fault("backup", TransferAction.SLOW, seconds=1)
    place.app.scheduled_backup()


CHANGES: dict[str, Act] = {
    "the config is changed": lambda place: place.app.set_config({"COLOUR": "blue"}),
    "older code comes back": older_code,
    "a scheduled backup begins": scheduled,
}


@pytest.mark.thin(5)
@SCENARIOS
@pytest.mark.parametrize("event", ["transfer_started", "command_output"])
@pytest.mark.parametrize("what", CHANGES)
def test_somebody_may_change_the_app_in_mid_run(harness: Harness, what: str, event: str, scenario: Scenario) -> None:
    how = Play(during=on_line(f'"event":"{event}"', CHANGES[what]), twins="backup" in what, fired=always)
    cell = held(harness, Cell(group="concurrency", fault=f"{what} at {event}", scenario=scenario.name), scenario, how)
    assert cell.outcomes == WELL[scenario.name], cell


def test_the_disk_may_be_full_for_the_migration(harness: Harness) -> None:
    full = "DO $$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = '53100'; END $$;\n"
    scenario = Scenario(name="disk full", migration=LANDS + full)
    cell = held(harness, Cell(group="database", fault="disk full", scenario="failing"), scenario, Play(fired=always))
    assert cell.outcomes == ["restored"], cell


@pytest.mark.thin(5)
@SCENARIOS
@pytest.mark.parametrize("event", ["release_started", "transfer_started", "command_output"])
def test_the_database_may_have_no_connection_left(harness: Harness, event: str, scenario: Scenario) -> None:
    def one(place: Place) -> None:
        execute(place.superuser, f'ALTER ROLE "{place.owner}" CONNECTION LIMIT 1')

    def during(place: Place, run: Started) -> Result:
        try:
            return on_line(f'"event":"{event}"', one)(place, run)
        finally:
            let_in(place)

    cell = Cell(group="database", fault=f"one connection from {event} on", scenario=scenario.name)
    held(harness, cell, scenario, Play(during=during, fired=always))


# Any moment.


def at(moment: float, number: signal.Signals) -> Play:
    """The signal so many seconds after the start."""

    def during(_: Place, run: Started) -> Result:
        due = time.monotonic() + moment
        while run.exit_code is None and (left := due - time.monotonic()) > 0:
            run.read(left)
        hit = run.exit_code is None
        stopped = time.monotonic()
        run.signal(number)
        result = run.finish()
        how.fired = lambda _: (hit, False)
        how.stopping += [time.monotonic() - stopped] if hit and number != signal.SIGKILL else []
        # A SIGTERM before the hook has said a word finds no handler yet, and nothing to be undone.
        how.killed = result.exit_code == -number and (number == signal.SIGKILL or not result.stdout)
        return result

    how = Play(during=during)
    return how


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda each: each.name)
def test_a_run_may_be_stopped_at_any_moment(harness: Harness, number: signal.Signals, *, sweep: bool) -> None:
    step, first = (0.02, 0.0) if sweep else (0.12, 0.0 if number == signal.SIGKILL else 0.06)
    cells = harness.loop("kill", f"{number.name}, timed", LANDING, lambda n: at(first + n * step, number), first=0)
    for cell in cells if sweep else islice(cells, 6):
        assert not cell.broken, cell
        assert (cell.stopping or 0) < 25, cell
