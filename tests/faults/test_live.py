"""Live databases: people write through every way in which a release can end, and none of their rows is lost.

Judged row by row from outside. Where the migration committed nothing, nobody may have noticed that there was a release
at all: no failed request, no session ended, no row missing. Where something had to be restored, each row is in the
database or in a salvage, and `reconcile` brings it back.
"""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg
import pytest

from tests.faults import others
from tests.faults.figures import Cell
from tests.faults.forked import Started
from tests.faults.harness import RECOVERY, RELEASE, Harness, Play, await_quiet
from tests.faults.live import People, copied, fences, present
from tests.faults.stage import FAILS, LANDS, Place, Scenario
from tests.faults.test_shapes import RESETS, resetting
from tests.faults.test_writers import CAPTURED_AGAIN, others_apart
from tests.hook import Result
from tests.judge import running

ROLLED_BACK = """UPDATE learners SET points = points + 1;
CREATE TABLE left_behind (n integer);
ALTER TABLE jobs ADD COLUMN note text;
ALTER TABLE learners ADD CONSTRAINT enough CHECK (points > 100);
"""
"""The last statement fails, in a transaction. Until it does, those who write to `jobs` wait for its lock."""
PAUSE = "SELECT pg_sleep(0.4);\n"
ASLEEP = "pg_sleep(60)"
ATOMIC = f"BEGIN;\n{PAUSE}{ROLLED_BACK}COMMIT;\n"
SLOW_ATOMIC = f"BEGIN;\nUPDATE learners SET points = -1;\nSELECT {ASLEEP};\nCOMMIT;\n"
SLOW_BROKEN = f"{FAILS.partition('SELECT')[0]}SELECT {ASLEEP};\n"
PROBE = {"RELEASE_PROBE_SQL": "SELECT false", "RELEASE_PROBE_TIMEOUT": "1"}
FENCED = {"RELEASE_FENCE": "release"}
LOCKS = {"RELEASE_LOCK_TIMEOUT": "400ms", "RELEASE_MIGRATE_ATTEMPTS": "3"}

During = Callable[[Place, Started], list[Result]]
"""Drives a run to its end; its result comes first, those of others that it has started after it."""


def finished(_: Place, run: Started) -> list[Result]:
    """Lets it be."""
    return [run.finish()]


def two_at_once(place: Place, run: Started) -> list[Result]:
    """Starts another release of the same."""
    second = place.start()
    return [run.finish(), second.finish()]


def stopped(number: signal.Signals, *, group: bool = False) -> During:
    """Sends a signal while the migration sleeps."""

    def during(place: Place, run: Started) -> list[Result]:
        while run.exit_code is None and not running(place.superuser, ASLEEP):
            run.read(0.05)
        run.signal(number, group=group)
        return [run.finish()]

    return during


def locked(*, until: bytes = b"", seconds: float = 20) -> During:
    """Somebody reads `learners` in a long transaction, until the run has said something; or to its end."""

    def during(place: Place, run: Started) -> list[Result]:
        ends = time.monotonic() + seconds
        with psycopg.connect(place.environment["DATABASE_URL"], application_name="reader") as reader:
            reader.execute("LOCK learners IN ACCESS SHARE MODE")
            while run.exit_code is None and time.monotonic() < ends and not (until and until in run.said()):
                run.read(0.05)
        return [run.finish()]

    return during


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A release on a live database; `wanted`: how it ends (the first run, or each of two at once).

    `quiet`: the migration commits nothing, or lands: nobody may notice. `killed`, `then`: as in `Play`; `script`: as in
    `Scenario`. `factor`: how many times as fast the hook's clock goes.
    """

    migration: str
    wanted: tuple[str | None, ...]
    settings: dict[str, str] = field(default_factory=dict)
    during: During = finished
    quiet: bool = False
    killed: bool = False
    then: tuple[str, ...] = RECOVERY
    script: str | None = None
    factor: float = 10


CASES = {
    "broken": Case(migration=PAUSE + FAILS, wanted=("restored",)),
    "atomic": Case(migration=ATOMIC, wanted=("untouched",), quiet=True),
    "a lock timeout, then it lands": Case(
        migration=LANDS,
        wanted=("released",),
        settings=LOCKS,
        during=locked(until=b"lock timeout"),
        quiet=True,
    ),
    "a lock timeout each time": Case(
        migration=LANDS, wanted=("untouched",), settings=LOCKS, during=locked(), quiet=True
    ),
    "a probe fails": Case(migration=PAUSE + LANDS, wanted=("restored",), settings=PROBE),
    "SIGTERM, nothing committed": Case(
        migration=SLOW_ATOMIC, wanted=("untouched",), during=stopped(signal.SIGTERM), quiet=True
    ),
    "SIGTERM, something committed": Case(
        migration=SLOW_BROKEN,
        wanted=("handed_over",),
        during=stopped(signal.SIGTERM),
        factor=3,  # the dyno starts in real time, and has 11 s of the clock for its sign of life
    ),
    "SIGKILL, nothing committed": Case(
        migration=SLOW_ATOMIC, wanted=(None,), during=stopped(signal.SIGKILL, group=True), killed=True
    ),
    "SIGKILL, something committed, recover": Case(
        migration=SLOW_BROKEN, wanted=(None,), during=stopped(signal.SIGKILL, group=True), killed=True
    ),
    "SIGKILL, something committed, next release": Case(
        migration=SLOW_BROKEN,
        wanted=(None,),
        during=stopped(signal.SIGKILL, group=True),
        killed=True,
        then=RELEASE,
    ),
    "fenced all along, broken": Case(migration=PAUSE + FAILS, wanted=("restored",), settings=FENCED),
    "fenced all along, SIGKILL, next release": Case(
        migration=SLOW_BROKEN,
        wanted=(None,),
        settings=FENCED,
        during=stopped(signal.SIGKILL, group=True),
        killed=True,
        then=RELEASE,
    ),
    "two at once, atomic": Case(migration=ATOMIC, wanted=("untouched",) * 2, during=two_at_once, quiet=True),
    "two at once, broken": Case(migration=PAUSE + FAILS, wanted=("restored",) * 2, during=two_at_once),
}


@dataclass(kw_only=True)
class Live:
    """A case while it is played: who is at work, and what the runs came to; `later`: those that finished the rest."""

    case: Case
    people: People
    results: list[Result] = field(default_factory=list)
    later: list[Result] = field(default_factory=list)

    def during(self, place: Place, run: Started) -> Result:
        """Drives the run."""
        self.results += self.case.during(place, run)
        return self.results[0]

    def ended(self, place: Place) -> list[str]:
        """How the runs ended, and whether anybody could notice those that committed nothing."""
        outcomes = tuple(None if self.case.killed else each.last["outcome"] for each in self.results)
        lasts = [each.last for each in self.results if not self.case.killed]
        broken = [f"it ends {outcomes}: {lasts}"] if outcomes != self.case.wanted else []
        return [*broken, *(self._noticed(place) if self.case.quiet else [])]

    def _noticed(self, place: Place) -> Iterator[str]:
        if any(b'"event":"fence_raised"' in each.stdout for each in self.results):
            yield "S12: a fence was raised"
        if found := fences(place.sandbox.requests()):
            yield f"S12: {found}"
        transfers = [(each["from_type"], each["to_type"]) for each in place.app.transfers()]
        if transfers != [("pg_dump", "gof3r")] * len(self.results):
            yield f"S12: transfers other than the backup: {transfers}"

    def at_last(self, place: Place) -> list[str]:
        """S13, and S12 row by row, when everything is over."""
        await_quiet(place)
        self.people.stop()
        accepted = self.people.accepted
        gone = accepted - present(place.superuser)
        broken = list(self._missed(gone)) if self.case.quiet else []
        nowhere = gone - copied(others.backups(place))
        if nowhere and not self._named(place, nowhere):
            whose = dict(Counter(token.partition(".")[0] for token in nowhere))
            broken.append(f"S13: of {len(accepted)} accepted rows {len(nowhere)} are in no copy: {whose}")
        return [*broken, *(brought_back(place, accepted - nowhere, gone) if gone and not broken else [])]

    def _named(self, place: Place, nowhere: set[str]) -> bool:
        """Whether the last line says so of rows that were written while the server was being emptied.

        All sessions end first, also that which held writers back, and whoever comes back at once may write until the
        tables are gone. A dyno of the formation does not come back in that moment.
        """
        outputs = [each.stdout.decode() for each in [*self.results, *self.later]]
        outputs += [str(each["output"]) for each in place.app.dynos()]
        lines = [line for output in outputs for line in output.splitlines() if '"event":"release_finished"' in line]
        facts = [json.loads(line).get("facts") or {} for line in lines]
        said = any("public.jobs" in each.get("written_since_salvage", {}) for each in facts)
        return said and not any(token.startswith("worker") for token in nowhere)

    def _missed(self, gone: set[str]) -> Iterator[str]:
        if gone:
            yield f"S12: {len(gone)} accepted rows are no longer in the database"
        if self.people.failed:
            yield f"S12: {len(self.people.failed)} requests failed: {self.people.failed[:3]}"
        if self.people.reconnected:
            yield f"S12: sessions of {self.people.reconnected} were ended"


def brought_back(place: Place, accepted: set[str], gone: set[str]) -> Iterator[str]:
    """S13: `reconcile` puts back what is in a salvage; asked for by name where there are several."""
    backups = [each for each in place.app.transfers() if each["to_type"] == "gof3r" and each["succeeded"] is True]
    for each in backups:
        file = place.sandbox.home / "dumps" / each["uuid"]
        if file.exists() and gone & copied([file]):
            name = f"b{int(each['num']):03}"
            command = ("reconcile", name, "--table", "public.jobs", "--yes")
            result = place.start(*command, RELEASE_SANDBOX_CA=str(place.sandbox.ca)).finish()
            if result.exit_code:
                said = (result.stdout + result.stderr).decode()
                yield f"S13: reconcile {name}: exit {result.exit_code}: {said[-1500:]}"
                return
            gone = accepted - present(place.superuser)
    if gone:
        yield f"S13: {len(gone)} rows that are in a salvage were not brought back: {sorted(gone)[:5]}"


def play(harness: Harness, name: str, case: Case, reset: str = RESETS[0]) -> Cell:
    """Plays a case in an app of its own."""
    scenario = Scenario(name=name, migration=case.migration, script=case.script, settings=case.settings)
    place = harness.stage.fresh(scenario)
    others_apart(place)
    with resetting(harness.stage, reset), People(app=place.app) as people:
        live = Live(case=case, people=people)
        how = Play(
            results=live.later,
            during=live.during,
            also=live.ended,
            at_last=live.at_last,
            killed=case.killed,
            then=case.then,
            factor=case.factor,
            between=awake,
            twins=len(case.wanted) > 1,
            fired=lambda _: (True, False),
            excused=excused(case),
        )
        cell = Cell(group="live", fault=f"people write, {reset} reset", scenario=name)
        return harness.play(cell, scenario, how, place)


def awake(place: Place) -> None:
    """What is released after a kill does not sleep any more, and fails with nothing committed."""
    (place.folder / "migrations" / "001.sql").write_text("SELECT 1 / 0;\n")


def excused(case: Case) -> tuple[str, ...]:
    """A landed picture is not the stage's; a salvage may be taken again; a lock timeout is tried again."""
    apart = ("S2: exit 0, and the database is not the migrated one", *CAPTURED_AGAIN)
    again = ("the migration was started",) if case.settings is LOCKS or len(case.wanted) > 1 else ()
    return (*apart, *again, *(("S4", "S5") if len(case.wanted) > 1 else ()))


QUIET = [name for name, case in CASES.items() if case.quiet]
LOUD = [name for name, case in CASES.items() if not case.quiet]


@pytest.mark.parametrize("name", QUIET)
def test_nobody_notices_a_migration_that_committed_nothing(harness: Harness, name: str) -> None:
    cell = play(harness, name, CASES[name])
    assert not cell.broken, cell


@pytest.mark.thin(1)
@pytest.mark.parametrize(("reset", "name"), [(reset, name) for reset in RESETS for name in LOUD])
def test_each_row_is_there_or_is_brought_back(harness: Harness, reset: str, name: str) -> None:
    cell = play(harness, name, CASES[name], reset)
    assert not cell.broken, cell
