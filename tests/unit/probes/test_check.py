"""Probes as rows: run in their order, logged, described; and what the tables hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from release.clock import Deadline, Signals
from release.database.session import Database
from release.errors import ProbeFailed, Reason
from release.probes.built_in import BUILT_IN
from release.probes.check import Facts, Probe, described, failed, run_probes
from release.probes.configured import CONFIGURED
from release.run import Run
from release.settings.model import OnMissing, Settings, Words
from tests.unit.recording import Recording, SteppingClock


@pytest.fixture
def run(tmp_path: Path, clock: SteppingClock, recording: Recording) -> Run:
    return Run(
        id="0f3a",
        settings=Settings(probe_path="/healthz"),
        environ={},
        folder=tmp_path,
        clock=clock,
        signals=Signals(),
        log=recording.log,
        deadline=Deadline(clock, 3600),
        database=Database("postgres://localhost/never_opened", application_name="release"),
    )


def _slow(run: Run) -> Facts:
    run.clock.sleep(0.25)
    return {"rows": 3}


def _cannot_tell(_: Run) -> None:
    return None


def _fails(run: Run) -> Facts:
    run.clock.sleep(0.5)
    raise failed("2 of 3 are not true", rows=[[False]])


def _never(_: Run) -> Facts:
    raise AssertionError("it is not to be run")


def row(name: str, run: object, *, given: bool = True) -> Probe[Run]:
    return Probe(name=name, given=lambda _: given, describe=lambda _: f"in words: {name}", run=run)  # type: ignore[arg-type]


ROWS = (
    row("slow", _slow),
    row("not_asked_for", _never, given=False),
    row("mute", _cannot_tell),
    row("failing", _fails),
    row("later", _never),
)


def test_rows_run_in_their_order_until_one_fails(run: Run, recording: Recording) -> None:
    with pytest.raises(ProbeFailed) as caught:
        run_probes(run, ROWS, run)

    assert caught.value.reason is Reason.PROBE_FAILED
    assert caught.value.detail == "failing: 2 of 3 are not true"
    assert caught.value.facts == {"probe": "failing", "rows": [[False]]}
    assert recording.events == [
        {"level": "info", "event": "probe_passed", "probe": "slow", "duration": 0.25, "rows": 3},
        {
            "level": "error",
            "event": "probe_failed",
            "probe": "failing",
            "detail": "2 of 3 are not true",
            "duration": 0.5,
            "rows": [[False]],
        },
    ]


def test_what_is_described_is_what_would_run() -> None:
    assert described(ROWS, Settings()) == [f"in words: {name}" for name in ("slow", "mute", "failing", "later")]


def test_every_probe_has_a_name_of_its_own() -> None:
    names = [probe.name for probe in BUILT_IN] + [probe.name for probe in CONFIGURED]
    assert len(set(names)) == len(names)


def test_each_configured_probe_is_given_by_its_own_setting() -> None:
    given = {
        "command": Settings(probe_command=Words(["make", "check"])),
        "sql": Settings(probe_sql="SELECT true"),
        "boot": Settings(probe_path="/healthz"),
        "live": Settings(probe_url="https://user:hunter2@shop.example/?token=s3cret"),
    }
    assert list(given) == [probe.name for probe in CONFIGURED]
    assert described(CONFIGURED, Settings()) == []
    assert [described(CONFIGURED, settings) for settings in given.values()] == [
        ["command: make check"],
        ["sql: SELECT true"],
        ["boot: GET /healthz of the new code's web process"],
        ["live: GET RELEASE_PROBE_URL"],
    ]


def test_all_built_in_probes_run_but_the_one_that_can_be_switched_off() -> None:
    text = described(BUILT_IN, Settings())
    assert len(text) == len(BUILT_IN)
    without = described(BUILT_IN, Settings(on_missing_migrations=OnMissing.OFF))
    assert set(text) - set(without) == {"no model was changed without a migration"}
