"""A run: its steps in the log, its guards, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from release.clock import Deadline, Interrupted, Signals
from release.database.session import Database
from release.errors import Outcome, Reason, Refused, StepFailed
from release.run import Ending, Run, ended, explain, hook_name, migration_name
from release.settings.model import Guard, Settings
from tests.unit.recording import Recording, SteppingClock


@pytest.fixture
def run(tmp_path: Path, clock: SteppingClock, recording: Recording) -> Run:
    return Run(
        id="0f3a",
        settings=Settings(),
        environ={},
        folder=tmp_path,
        clock=clock,
        signals=Signals(),
        log=recording.log,
        deadline=Deadline(clock, 3600),
        database=Database("postgres://localhost/never_opened", application_name=hook_name("0f3a")),
    )


def test_a_step_is_logged_with_its_duration_and_knows_its_name(
    run: Run, clock: SteppingClock, recording: Recording
) -> None:
    with run.step("backup") as now:
        clock.sleep(1.23456)
        now.warn("large_database", "21 GB", bytes=21)

    assert recording.events == [
        {"level": "info", "event": "step_started", "step": "backup"},
        {
            "level": "warning",
            "event": "warning_raised",
            "step": "backup",
            "warning": "large_database",
            "detail": "21 GB",
            "bytes": 21,
        },
        {"level": "info", "event": "step_finished", "step": "backup", "duration": 1.235},
    ]
    assert run.durations == {"backup": pytest.approx(1.23456)}


@pytest.mark.parametrize(
    ("error", "reason", "text"),
    [
        (StepFailed(Reason.BACKUP_FAILED, "b012 failed"), Reason.BACKUP_FAILED, "The backup failed: b012 failed"),
        (Interrupted("SIGTERM"), Reason.INTERRUPTED, "The run was told to stop: SIGTERM was received"),
    ],
)
def test_a_step_that_fails_says_why_and_what_to_do(
    run: Run, recording: Recording, error: StepFailed | Interrupted, reason: Reason, text: str
) -> None:
    with pytest.raises(type(error)) as caught, run.step("backup"):
        raise error

    assert caught.value is error
    assert recording.events[1:] == [
        {
            "level": "error",
            "event": "step_failed",
            "step": "backup",
            "reason": reason.slug,
            "error": text,
            "hint": reason.hint,
            "duration": 0.0,
        }
    ]
    assert explain(error) == (reason, text)


def test_an_unexpected_error_passes_through_a_step_for_the_edge_to_report(run: Run, recording: Recording) -> None:
    with pytest.raises(ZeroDivisionError), run.step("backup"):
        raise ZeroDivisionError
    assert [event["event"] for event in recording.events] == ["step_started"]


def test_durations_of_a_step_that_runs_twice_add_up(run: Run, clock: SteppingClock) -> None:
    for _ in range(2):
        with run.step("probe"):
            clock.sleep(1)
    assert run.durations == {"probe": 2}


def test_a_guard_refuses_unless_it_is_overridden_and_that_is_logged(run: Run, recording: Recording) -> None:
    refusal = Refused(Reason.SHARED_DATABASE, "also attached to blog")
    with pytest.raises(Refused) as caught:
        run.guard(Guard.SHARED_DATABASE, refusal)
    assert caught.value is refusal

    allowed = replace(run, settings=Settings(allow=frozenset({Guard.SHARED_DATABASE})))
    allowed.guard(Guard.SHARED_DATABASE, refusal)
    with pytest.raises(Refused):
        allowed.guard(Guard.LARGE_DATABASE, refusal)

    assert recording.events == [
        {
            "level": "warning",
            "event": "guard_overridden",
            "guard": "shared-database",
            "reason": "shared_database",
            "detail": "also attached to blog",
        }
    ]


def test_an_ending_carries_what_caused_it() -> None:
    error = Refused(Reason.LOCKED, "held by release-hook-77", holder="release-hook-77")
    assert ended(Outcome.REFUSED, error, backup="b012") == Ending(
        outcome=Outcome.REFUSED,
        exit_code=3,
        reason=Reason.LOCKED,
        detail="Another run holds the lock on this database: held by release-hook-77",
        hint=Reason.LOCKED.hint,
        backup="b012",
        facts={"holder": "release-hook-77"},
    )
    assert ended(Outcome.HANDED_OVER, Interrupted("SIGTERM"), hint="Follow the dyno.").hint == "Follow the dyno."
    assert ended(Outcome.RELEASED, backup="b001") == Ending(outcome=Outcome.RELEASED, exit_code=0, backup="b001")


def test_sessions_of_the_hook_and_of_its_migration_are_told_apart_by_name(run: Run) -> None:
    assert (hook_name("0f3a"), run.migration_name) == ("release-hook-0f3a", "release-0f3a")
    assert not migration_name("0f3a").startswith("release-hook-")
