"""Others are at work at the same time: a second release, a run that slept, a person, a schedule, another app."""

from __future__ import annotations

import json
import signal
import threading
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial

import psycopg
import pytest

from heroku_sandbox import Action, TransferAction
from tests.faults.figures import Cell
from tests.faults.forked import Started
from tests.faults.harness import RECOVERY, RELEASE, Harness, Play, await_quiet
from tests.faults.stage import FAILING, LANDING, Place, Scenario
from tests.hook import Result
from tests.judge import execute, query

fired = partial(Play, fired=lambda _: (True, False))
"""How a cell is played whose fault happens always, and not in the sandbox."""
SCENARIOS = pytest.mark.parametrize("scenario", [LANDING, FAILING], ids=lambda each: each.name)


@pytest.mark.thin(3)
@SCENARIOS
@pytest.mark.parametrize("delay", [0.0, 0.4])
def test_a_second_release_waits_for_the_first(harness: Harness, scenario: Scenario, delay: float) -> None:
    seen: list[Result] = []
    pictures: list[str] = []

    def during(place: Place, run: Started) -> Result:
        time.sleep(delay)
        second = place.start()
        first = run.finish()
        seen.append(second.finish())
        pictures.append(place.picture())
        return first

    cell = Cell(group="concurrency", fault=f"a second release {delay} s later", scenario=scenario.name)
    place = harness.stage.fresh(scenario)
    # Whichever comes second to the lock finds nothing pending, which leaves no row in the journal: it may be the first.
    nothing_pending = "S2: exit 0, and the journal says None"
    how = fired(during=during, twins=True, excused=("S4", "S5", "the migration", nothing_pending))
    cell = harness.play(cell, scenario, how, place)
    assert not cell.broken, cell
    # The second finds nothing pending. Or both are undone, one after the other, though the first one's restore ends the
    # session of the second while it waits for the lock.
    wanted = "released" if scenario is LANDING else "restored"
    assert seen[0].last["outcome"] == wanted, json.dumps(seen[0].last)
    assert pictures == [harness.stage.landed if scenario is LANDING else place.before]


@pytest.mark.thin(2)
@pytest.mark.parametrize("event", ["transfer_started", "command_output", "database_compared", "fence_raised"])
def test_a_run_that_was_asleep_does_no_harm_when_it_wakes(harness: Harness, event: str) -> None:
    def during(_: Place, run: Started) -> Result:
        slept: list[bool] = []

        def sleep(_: int) -> None:
            if not slept and f'"event":"{event}"'.encode() in run.said():
                slept.append(True)
                run.signal(signal.SIGSTOP)
                threading.Timer(2.0, lambda: run.signal(signal.SIGCONT)).start()

        return run.finish(on_line=sleep)

    cell = Cell(group="concurrency", fault=f"asleep for 2 s (20 s on its clock) at {event}", scenario="failing")
    assert not harness.play(cell, FAILING, fired(during=during)).broken, cell


@pytest.mark.thin(2)
@pytest.mark.parametrize("event", ["transfer_started", "database_compared", "fence_raised"])
def test_a_run_that_wakes_after_another_has_finished_its_work_lets_it_be(harness: Harness, event: str) -> None:
    def during(place: Place, run: Started) -> Result:
        slept: list[bool] = []

        def sleep(_: int) -> None:
            if not slept and f'"event":"{event}"'.encode() in run.said():
                slept.append(True)
                run.signal(signal.SIGSTOP)
                kick(place)
                place.start("recover", "--restore").finish()
                run.signal(signal.SIGCONT)

        return run.finish(on_line=sleep)

    def kick(place: Place) -> None:
        """The server gives up the sleeper's session, as it does when keep-alives stay unanswered."""
        from tests.faults.test_database import kill_sessions  # noqa: PLC0415

        kill_sessions("release-hook-%")(place)

    cell = Cell(group="concurrency", fault=f"asleep at {event}, and another one recovered", scenario="failing")
    cell = harness.play(cell, FAILING, fired(during=during, twins=True, excused=("S4",)))
    assert not cell.broken, cell


@pytest.mark.thin(2)
@SCENARIOS
@pytest.mark.parametrize(("kind", "nth"), [("backup", 1), ("backup", 2), ("restore", 1)])
def test_a_person_may_cancel_our_transfer(harness: Harness, scenario: Scenario, kind: str, nth: int) -> None:
    cell = Cell(group="concurrency", fault=f"{kind} {nth} is cancelled by a person", scenario=scenario.name)
    how = Play(arm=lambda place: place.sandbox.transfer_fault(kind, TransferAction.CANCEL, nth=nth))
    assert not harness.play(cell, scenario, how).broken, cell


@SCENARIOS
@pytest.mark.parametrize("stays", [False, True], ids=["it ends", "it does not end"])
def test_a_backup_of_somebody_else_is_waited_for_and_never_cancelled(
    harness: Harness, scenario: Scenario, *, stays: bool
) -> None:
    def arm(place: Place) -> None:
        action = TransferAction.STUCK_RUNNING if stays else TransferAction.SLOW
        place.sandbox.transfer_fault("backup", action, seconds=1.5)
        place.app.connection.request("POST", f"/client/v11/databases/{place.app.addon_id}/backups")
        place.sandbox.forget_requests()

    cell = Cell(group="concurrency", fault=f"a foreign backup{', stuck' if stays else ''}", scenario=scenario.name)
    place = harness.stage.fresh(scenario)
    how = fired(arm=arm, changes={"RELEASE_LOCK_WAIT": "30"}, twins=True, excused=("S5",))
    cell = harness.play(cell, scenario, how, place)
    foreign = next(each for each in place.app.transfers() if int(each["num"]) == 1)
    assert foreign["canceled_at"] is None
    assert not cell.broken, cell
    assert (cell.outcomes == ["refused"]) == stays, cell


def slow(place: Place, kind: str) -> None:
    """That transfer takes a second; a restore leaves the database empty meanwhile."""
    if kind == "restore":
        place.sandbox.transfer_fault("restore", TransferAction.HESITATE, seconds=1.2)
    else:
        place.sandbox.transfer_fault("backup", TransferAction.SLOW, nth=1 + (kind == "salvage"), seconds=1.2)


@pytest.mark.thin(19)
@pytest.mark.parametrize("then", [RECOVERY, ("recover", "--restore"), RELEASE], ids=" ".join)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda each: each.name)
@pytest.mark.parametrize("delay", [0.0, 0.3, 0.6, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("kind", ["backup", "salvage", "restore"])
def test_the_next_run_may_come_at_any_moment_of_a_transfer(
    harness: Harness, kind: str, delay: float, number: signal.Signals, then: tuple[str, ...]
) -> None:
    def during(_: Place, run: Started) -> Result:
        def stop(_: int) -> None:
            if f'"kind":"{kind}"'.encode() in run.said():
                run.signal(number)

        return run.finish(on_line=stop)

    cell = Cell(group="concurrency", fault=f"{number.name}, {then} {delay} s into the {kind}", scenario="failing")
    how = fired(
        arm=lambda place: slow(place, kind),
        during=during,
        between=lambda _: time.sleep(delay),
        hasty=True,
        then=then,
        killed=number is signal.SIGKILL,
    )
    assert not harness.play(cell, FAILING, how).broken, cell


@pytest.mark.thin(3)
@pytest.mark.parametrize("then", [RELEASE, RECOVERY, ("recover", "--restore")], ids=" ".join)
def test_a_restore_may_begin_after_the_run_that_asked_for_it_is_dead(harness: Harness, then: tuple[str, ...]) -> None:
    def during(place: Place, run: Started) -> Result:
        while run.exit_code is None and not place.sandbox.fired():
            run.read(0.02)
        run.signal(signal.SIGKILL)
        return run.finish()

    cell = Cell(group="concurrency", fault=f"killed, and its restore begins later; {then}", scenario="failing")
    late = {"method": "POST", "effect": False, "seconds": 3.0}
    how = fired(
        arm=lambda place: place.sandbox.fault(Action.DELAY, "^.*/restores$", **late),
        during=during,
        hasty=True,
        then=then,
        killed=True,
    )
    assert not harness.play(cell, FAILING, how).broken, cell


def another_run(kind: str, delay: float, then: tuple[str, ...]) -> Play:
    """Another run comes while the first one waits for its own transfer, and both end.

    What is written once one of them has said that the database is restored has to outlive the other. A release that
    comes second undoes its own migration afterwards: until that has ended, nothing is promised.
    """
    written: list[bool] = []

    def during(place: Place, run: Started) -> Result:
        while run.exit_code is None and f'"kind":"{kind}"'.encode() not in run.said():
            run.read(0.05)
        time.sleep(delay)
        second = place.start(*then)
        while second.exit_code is None and (run.exit_code is None or then == RELEASE):
            second.read(0.02)
            if run.exit_code is None:
                run.read(0.02)
        claim = (second if second.exit_code is not None else run).finish()
        if claim.last["outcome"] == "restored":
            written.append(True)
            with suppress(psycopg.OperationalError):  # somebody restores once more: then it is missed later
                execute(place.superuser, "CREATE TABLE written_later (n integer)")
        second.finish()
        return run.finish()

    def lost(place: Place) -> list[str]:
        await_quiet(place)
        found = query(place.superuser, "SELECT to_regclass('public.written_later') IS NOT NULL")
        execute(place.superuser, "DROP TABLE IF EXISTS written_later")
        checks = {
            "S7: what was written after the end is lost: somebody has restored once more": found == [(bool(written),)],
            "S1: the database is not as before": place.picture() == place.before,
            "L4: the fence is still up": (place.app.maintenance(), place.app.formation()["worker"]) == (False, 2),
        }
        return [broken for broken, held in checks.items() if not held]

    excused = ("S1", "S4", "S5", "the migration")
    return fired(arm=lambda place: slow(place, kind), during=during, twins=True, excused=excused, also=lost)


@pytest.mark.thin(13)
@pytest.mark.parametrize("then", [RECOVERY, ("recover", "--restore"), RELEASE], ids=" ".join)
@pytest.mark.parametrize("delay", [0.0, 0.3, 0.6, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("kind", ["salvage", "restore"])
def test_another_run_may_come_while_one_restores(
    harness: Harness, kind: str, delay: float, then: tuple[str, ...]
) -> None:
    scenario = replace(FAILING, name="failing, another run")  # nobody else is to get this app afterwards
    cell = Cell(group="concurrency", fault=f"{then} {delay} s into the {kind}", scenario="failing")
    cell = harness.play(cell, scenario, another_run(kind, delay, then), harness.stage.fresh(scenario))
    assert not cell.broken, cell


@SCENARIOS
def test_another_app_that_uses_the_database_is_a_reason_to_refuse(harness: Harness, scenario: Scenario) -> None:
    scenario = replace(scenario, name=f"{scenario.name}, shared")  # nobody else is to get this app afterwards
    place = harness.stage.fresh(scenario)
    other = place.sandbox.create_app(f"{place.app.name}-other", plan="none", config={})
    body = {"addon": place.app.addon_name, "app": other.name, "name": "SHARED", "confirm": place.app.name}
    place.app.connection.request("POST", "/addon-attachments", body)
    cell = Cell(group="concurrency", fault="another app is attached", scenario=scenario.name)
    cell = harness.play(cell, scenario, fired(), place)
    assert (cell.broken, cell.outcomes) == ([], ["refused"]), cell


# Pairs of the nastiest.


def pair(harness: Harness, fault: str, how: Play, scenario: Scenario = FAILING) -> Cell:
    """One cell of two faults; it has to hold."""
    cell = harness.play(Cell(group="pair", fault=fault, scenario=scenario.name), scenario, how)
    assert not cell.broken, cell
    return cell


@pytest.mark.parametrize("effect", [False, True], ids=["not done", "done"])
def test_the_restores_answer_is_lost_and_then_comes_sigterm(harness: Harness, *, effect: bool) -> None:
    def during(place: Place, run: Started) -> Result:
        while run.exit_code is None and not place.sandbox.fired():
            run.read(0.05)
        time.sleep(0.3)
        stopped = time.monotonic()
        run.signal(signal.SIGTERM)
        result = run.finish()
        how.stopping.append(time.monotonic() - stopped)
        return result

    how = Play(
        arm=lambda place: place.sandbox.fault(Action.RESET, "^.*/restores$", method="POST", effect=effect),
        during=during,
    )
    pair(harness, f"restore's answer lost ({effect}) and SIGTERM", how)


def test_polls_answer_503_and_stdout_is_broken(harness: Harness) -> None:
    from tests.faults.test_output import closed_reader, run_with  # noqa: PLC0415

    how = Play(
        arm=lambda place: place.sandbox.fault(
            Action.ANSWER, "^/client/v11/apps/[^/]+/transfers/", effect=False, times=4
        ),
        run=lambda place: run_with(place, closed_reader, errors_too=False),
        mute=True,
    )
    pair(harness, "polls answer 503 and stdout is broken", how)


@pytest.mark.parametrize("then", [(), ("recover",)], ids=["release", "recover"])
def test_killed_in_the_migration_while_its_statement_goes_on(harness: Harness, then: tuple[str, ...]) -> None:
    script = (
        "#!/bin/sh\necho $$ >> started\n"
        'exec psql -Xqc "BEGIN; DELETE FROM learners; SELECT pg_sleep(3); COMMIT" "$DATABASE_URL"\n'
    )
    scenario = Scenario(name="slow", migration="SELECT 1;", script=script)

    def during(place: Place, run: Started) -> Result:
        while run.exit_code is None and not place.migrations_started():
            run.read(0.02)
        time.sleep(0.3)
        run.signal(signal.SIGKILL)
        return run.finish()

    how = Play(during=during, killed=True, then=then, fired=lambda _: (True, False))
    pair(harness, "killed in the migration, its statement goes on", how, scenario)


def test_the_restore_fails_and_the_key_is_revoked(harness: Harness) -> None:
    def arm(place: Place) -> None:
        place.sandbox.transfer_fault("restore", TransferAction.WIPE)
        place.sandbox.fault(Action.ANSWER, "^.*/restores$", method="POST", nth=2, status=401, body="{}", effect=False)

    pair(harness, "restore failed and key revoked", Play(arm=arm))


@pytest.mark.thin(4)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda each: each.name)
@pytest.mark.parametrize("line", range(2, 24, 6))
def test_the_recovery_itself_is_stopped(harness: Harness, number: signal.Signals, line: int) -> None:
    def during(place: Place, run: Started) -> Result:
        def at_restore(_: int) -> None:
            if b'"event":"fence_raised"' in run.said():
                run.signal(signal.SIGKILL)

        result = run.finish(on_line=at_restore)
        await_quiet(place)
        second = place.start("recover", "--restore")
        second.finish(on_line=lambda at: second.signal(number) if at == line else None)
        return result

    how = Play(during=during, killed=True, fired=lambda _: (True, False))
    pair(harness, f"recovery gets {number.name} at line {line}", how)
