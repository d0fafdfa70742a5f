"""Plays a cell: arms the fault, runs the hook, looks, judges, and sees to it that the next run can finish the rest."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from heroku_sandbox import Action
from tests.faults import verdict
from tests.faults.figures import Cell, Recorder
from tests.faults.forked import Started
from tests.faults.stage import Place, Scenario, Stage
from tests.hook import Result
from tests.judge import execute, query

WAY_OUT = re.compile(r"(?:release-phase|bin/release) (?:recover|restore)")
"""What an operator who is refused is told to type."""
RECOVERY = ("recover",)
RELEASE = ()
"""Two ways to go on after a run that left something: a person's, and simply the next release."""

SETTLED_WITHIN = 30.0
"""Real seconds in which the dynos and transfers that a run left behind have to end."""


@dataclass(kw_only=True)
class Play:
    """One run in a cell: how it is started, what is done to it, and how it is gone on with.

    `arm` puts faults in place; `during` drives the run instead of merely waiting for it, and returns its result; `run`
    starts it in a way of its own; `killed`: it ends with SIGKILL; `mute`: it has no stdout; `twins`: somebody else
    starts transfers too; `lost`: nothing can bring the data back, and all it can do is say so; `excused`: invariants
    that somebody else breaks in this cell; `between`: what a person does before the next run; `hasty`: that one comes
    while dynos and transfers are still at work; `also`: what else was broken, and `at_last`: when the rest is finished;
    `fired`: whether the fault has happened, and whether it was at the last place, where the sandbox does not know;
    `stopping`, `ghosts` and `results` collect what is seen on the way.
    """

    arm: Callable[[Place], object] = lambda _: None
    during: Callable[[Place, Started], Result] | None = None
    run: Callable[[Place], Result] | None = None
    then: tuple[str, ...] = RECOVERY
    factor: float = 10
    twist: str | None = None
    changes: dict[str, str | None] = field(default_factory=dict)
    killed: bool = False
    mute: bool = False
    twins: bool = False
    lost: bool = False
    excused: tuple[str, ...] = ()
    between: Callable[[Place], object] = lambda _: None
    hasty: bool = False
    also: Callable[[Place], list[str]] = lambda _: []
    at_last: Callable[[Place], list[str]] = lambda _: []
    fired: Callable[[Place], tuple[bool, bool]] | None = None
    stopping: list[float] = field(default_factory=list)
    ghosts: list[str] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)

    @property
    def only_looks(self) -> bool:
        """Whether nobody but the judge comes after the run: then the place is still as the judge saw it."""
        return self.also is Play.also and self.at_last is Play.at_last


class Harness:
    """Plays cells on a stage and records them."""

    def __init__(self, stage: Stage, recorder: Recorder) -> None:
        self.stage = stage
        self._recorder = recorder

    def play(self, cell: Cell, scenario: Scenario, how: Play, place: Place | None = None) -> Cell:
        """Plays one cell; what was broken stands in it."""
        began = time.monotonic()
        place = place or self.stage.place(scenario)
        place.landed = self.stage.landed
        sandbox = place.sandbox
        sandbox.clear_faults()
        sandbox.forget_requests()
        older, migrations = place.app.transfers(), place.migrations_started()
        how.arm(place)
        result = run(place, how)
        how.results.append(result)
        cell.fired, cell.last = how.fired(place) if how.fired else fired(place)
        sandbox.clear_faults()
        seen = verdict.look(
            place,
            result,
            older=older,
            migrations=migrations,
            killed=how.killed and cell.fired,
            mute=how.mute,
            twins=how.twins,
        )
        cell.outcomes.append(seen.outcome)
        cell.broken += [each for each in verdict.violations(seen) if not each.startswith(how.excused or ("-",))]
        cell.broken += [f"S8: {name} was alive when the restore was asked for" for name in how.ghosts]
        cell.backups, cell.restores = seen.accepted("backups"), seen.accepted("restores")
        cell.stopping = max(how.stopping, default=None)
        cell.broken += how.also(place)
        self._weigh(cell, seen)
        if how.lost:
            cell.broken += (
                [] if seen.outcome == "restore_failed" else [f"the backup is gone, and it says {seen.outcome}"]
            )
            return self._recorded(cell, began)
        picture = seen.picture if how.only_looks else ""
        if not cell.broken and needs_more(seen):
            cell.broken += self.go_on(cell, place, how)
            picture = ""
        cell.broken += how.at_last(place)
        # What somebody else's transfer leaves behind is for the next run to judge.
        if not cell.broken and not how.twins:
            self.stage.give_back(place, picture or place.picture())
        return self._recorded(cell, began)

    def _recorded(self, cell: Cell, began: float) -> Cell:
        cell.seconds = round(time.monotonic() - began, 2)
        self._recorder.add(cell)
        return cell

    def _weigh(self, cell: Cell, seen: verdict.Seen) -> None:
        output = seen.result.stdout + seen.result.stderr
        cell.looked_at += len(output)
        cell.leaks += verdict.leaks(output, seen.secrets)

    def go_on(self, cell: Cell, place: Place, how: Play) -> list[str]:
        """L4: the next run, or `recover`, reaches before or after, or says what a person has to decide; who does."""
        how.between(place)
        if not how.hasty:
            await_quiet(place)
        broken: list[str] = []
        commands, later = [how.then], False
        while commands:
            command = commands.pop()
            place.sandbox.forget_requests()
            seen = self._follow(cell, place, command)
            how.results.append(seen.result)
            broken += [f"then {command}: {each}" for each in follow_up(seen)]
            if how.hasty and seen.outcome in {"restored", "released"}:
                execute(place.superuser, "CREATE TABLE IF NOT EXISTS written_later (n integer)")
                later = True
            if seen.result.exit_code == 3 and "--restore" not in command:
                commands.append(("recover", "--restore"))
        await_quiet(place)
        if later and query(place.superuser, "SELECT to_regclass('public.written_later') IS NULL") != [(False,)]:
            broken.append("S7: what was written after the end is lost: somebody has restored once more")
        execute(place.superuser, "DROP TABLE IF EXISTS written_later")
        picture = place.picture()
        if picture not in {place.before, place.landed}:
            broken.append(f"L4: neither before nor after: {verdict.difference(place.before, picture)}")
        if (place.app.maintenance(), place.app.formation()["worker"]) != (False, 2):
            broken.append(f"L4: the fence is still up: {place.app.maintenance()}, {place.app.formation()}")
        return broken

    def _follow(self, cell: Cell, place: Place, command: tuple[str, ...]) -> verdict.Seen:
        older, migrations = place.app.transfers(), place.migrations_started()
        result = place.start(*command).finish()
        seen = verdict.look(place, result, older=older, migrations=migrations)
        cell.outcomes.append(seen.outcome or str(seen.last.get("reason")))
        self._weigh(cell, seen)
        return seen

    def loop(
        self,
        group: str,
        fault: str,
        scenario: Scenario,
        play: Callable[[int], Play],
        *,
        first: int = 1,
        step: int = 1,
    ) -> Iterator[Cell]:
        """The fault at the first place, the second, and so on, until there is no place left in a run."""
        for n in itertools.count(first, step):
            cell = self.play(Cell(group=group, fault=fault, scenario=scenario.name, n=n), scenario, play(n))
            yield cell
            if cell.last or not cell.fired:
                return


def run(place: Place, how: Play) -> Result:
    """The run that is judged."""
    if how.run:
        return how.run(place)
    started = place.start(factor=how.factor, twist=how.twist, **how.changes)
    return how.during(place, started) if how.during else started.finish()


def fired(place: Place) -> tuple[bool, bool]:
    """Whether the fault in place has fired, and whether that was at the last place there was."""
    armed = place.sandbox.connection.request("GET", "/sandbox/faults")["armed"]
    return any(each["fired"] for each in armed), all(each["seen"] <= each["fault"]["nth"] for each in armed)


def needs_more(seen: verdict.Seen) -> bool:
    """Whether something is left for the next run."""
    return seen.killed or seen.outcome not in verdict.FINAL or not seen.put_back or (seen.mute and not seen.last)


def follow_up(seen: verdict.Seen) -> list[str]:
    """What a run that finishes another one's rest must not do either."""
    checks = (verdict.output, verdict.hands_off, verdict.silence)
    broken = [each for check in checks for each in check(seen)]
    code, outcome, reason = seen.result.exit_code, seen.outcome, seen.last.get("reason")
    if outcome == "crashed" or code == 70:
        broken.append(f"crashed: {seen.last.get('error')}")
    if code == 3 and (reason not in {"unfinished_run", "unfinished_restore"} or not WAY_OUT.search(str(seen.last))):
        broken.append(f"L4: refused without a way out: {seen.last}")
    if code == 4:
        broken.append(f"L4: {outcome}: {seen.last.get('error')}")
    # A release that finishes another one first may salvage and restore for that, and then once more for itself.
    if seen.accepted("restores") > 4 or seen.accepted("backups") > 3:
        broken.append(f"S4: {seen.accepted('backups')} captures, {seen.accepted('restores')} restores")
    return broken


def await_quiet(place: Place) -> None:
    """Waits until no dyno and no transfer of the app is at work any more."""
    ends = time.monotonic() + SETTLED_WITHIN
    while time.monotonic() < ends:
        dynos = [each for each in place.app.dynos() if each["code"] is None and each["type"] == "run"]
        if not dynos and all(each["finished_at"] for each in place.app.transfers()):
            return
        time.sleep(0.1)
    raise AssertionError(f"still at work: {place.app.dynos()}, {[each['num'] for each in place.app.transfers()]}")


def watched() -> dict[str, Any]:
    """For a `Play`: S8, whether a session of the migration is alive at the moment the restore is asked for.

    The sandbox keeps the request for a moment before it does anything, and the server is asked meanwhile.
    """
    alive: list[str] = []

    def during(place: Place, run: Started) -> Result:
        while run.exit_code is None and not place.sandbox.fired():
            run.read(0.05)
        found = query(
            place.superuser,
            "SELECT application_name FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'rel%'",
        )
        alive.extend(str(name) for (name,) in found if not str(name).startswith("release-hook-"))
        return run.finish()

    def arm(place: Place) -> None:
        place.sandbox.fault(Action.DELAY, "^.*/restores$", method="POST", effect=False, seconds=0.6)

    return {"arm": arm, "during": during, "ghosts": alive}


def assert_held(cells: list[Cell]) -> None:
    """All cells of a loop held; each that did not is named with what was broken."""
    bad = [str(cell) for cell in cells if cell.broken]
    assert not bad, "\n" + "\n".join(bad)
    assert any(cell.fired for cell in cells), "no fault fired"
