"""The journal in a real database: what a run announces, and what a later one reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

import pytest

from release.database import session
from release.database.journal import Entry, Journal, State
from release.errors import Reason, StepFailed
from tests.unit.database.conftest import Database


@pytest.fixture
def hook(database: Database) -> Iterator[session.Database]:
    url = database.server.url(database.name, database.owner, "secret")
    with closing(session.Database(url, application_name="release-hook-0f3a")) as hook:
        yield hook


@pytest.fixture
def journal(hook: session.Database) -> Journal:
    return Journal(hook)


def _open(journal: Journal, run_id: str = "0f3a") -> None:
    journal.open(
        run_id=run_id,
        app="shop",
        release="v42",
        commit="60883d9",
        maintenance=False,
        formation={"web": 1, "worker": 2},
        baseline=12,
    )


def _entry(journal: Journal, run_id: str = "0f3a") -> Entry:
    entry = journal.entry(run_id)
    assert entry is not None
    return entry


def _lost(caught: pytest.ExceptionInfo[StepFailed]) -> bool:
    return (caught.value.reason, caught.value.detail) == (
        Reason.LOCK_LOST,
        "another run has settled this one in the meantime",
    )


def test_where_nothing_was_ever_recorded_nothing_is_found_and_nothing_is_made(
    hook: session.Database, journal: Journal
) -> None:
    assert (journal.exists(), journal.unfinished(), journal.entry("0f3a"), journal.runs(10)) == (False, None, None, [])
    journal.sign_of_life("0f3a")
    assert not journal.exists()
    assert hook.rows("SELECT 1 FROM pg_namespace WHERE nspname = 'release_phase'") == []


def test_an_opened_run_holds_what_a_later_one_needs(journal: Journal) -> None:
    _open(journal)
    entry = _entry(journal)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry.started_at)
    assert entry == Entry(
        run_id="0f3a",
        app="shop",
        release="v42",
        commit="60883d9",
        state=State.BACKING_UP,
        outcome=None,
        reason=None,
        started_at=entry.started_at,
        finished_at=None,
        fence=None,
        maintenance=False,
        formation={"web": 1, "worker": 2},
        baseline=12,
        backup=None,
        salvage=None,
        restore=None,
    )
    assert journal.unfinished() == entry
    assert journal.entry("unknown") is None


def test_without_a_backup_formation_and_maintenance_are_not_known(journal: Journal) -> None:
    journal.open(run_id="1", app="", release=None, commit=None, maintenance=None, formation=None, baseline=0)
    entry = _entry(journal, "1")
    assert (entry.formation, entry.maintenance, entry.release) == (None, None, None)


def test_a_state_is_announced_and_uuids_stay_once_given(journal: Journal) -> None:
    _open(journal)
    journal.announce("0f3a", State.MIGRATING, backup="b-uuid")
    journal.announce("0f3a", State.PROBING)
    journal.announce("0f3a", State.RESTORING, salvage="s-uuid")
    entry = _entry(journal)
    assert (entry.state, entry.backup, entry.salvage) == (State.RESTORING, "b-uuid", "s-uuid")


def test_a_committed_release_is_over_and_may_be_committed_again(journal: Journal) -> None:
    _open(journal)
    journal.announce("0f3a", State.PROBING, backup="b-uuid")
    journal.commit("0f3a")
    journal.commit("0f3a")
    entry = _entry(journal)
    assert (entry.state, entry.outcome, entry.backup) == (State.FINISHED, "released", "b-uuid")
    assert entry.finished_at is not None
    assert journal.unfinished() is None


@pytest.mark.parametrize("state", [State.BACKING_UP, State.MIGRATING, State.RESTORING])
def test_only_a_probed_migration_can_be_committed(journal: Journal, state: State) -> None:
    _open(journal)
    journal.announce("0f3a", state)
    with pytest.raises(StepFailed) as caught:
        journal.commit("0f3a")
    assert _lost(caught)
    assert _entry(journal).state is state


def test_a_run_that_another_one_has_settled_can_announce_and_commit_nothing(journal: Journal) -> None:
    _open(journal)
    journal.announce("0f3a", State.PROBING)
    journal.close("0f3a", outcome="restored", reason="probe_failed", restore="r-uuid")
    before = _entry(journal)

    for act in (lambda: journal.announce("0f3a", State.RESTORING), lambda: journal.commit("0f3a")):
        with pytest.raises(StepFailed) as caught:
            act()
        assert _lost(caught)

    assert _entry(journal) == before
    assert (before.state, before.outcome, before.reason, before.restore) == (
        State.FINISHED,
        "restored",
        "probe_failed",
        "r-uuid",
    )


def test_a_run_that_is_not_there_can_announce_nothing(journal: Journal) -> None:
    _open(journal)
    with pytest.raises(StepFailed) as caught:
        journal.announce("unknown", State.MIGRATING)
    assert _lost(caught)


def test_a_finished_run_whose_fence_is_up_is_unfinished_business(journal: Journal) -> None:
    _open(journal)
    journal.fenced("0f3a", "restore")
    journal.close("0f3a", outcome="restore_failed", reason="restore_failed")
    assert journal.unfinished() == _entry(journal)
    assert _entry(journal).fence == "restore"

    journal.fenced("0f3a", None)
    assert journal.unfinished() is None


def test_of_several_the_newest_comes_first(journal: Journal) -> None:
    for run_id in ("1", "2", "3"):
        _open(journal, run_id)
    journal.close("3", outcome="untouched", reason="backup_failed")
    unfinished = journal.unfinished()
    assert unfinished is not None
    assert unfinished.run_id == "2"
    assert [each.run_id for each in journal.runs(2)] == ["3", "2"]


def test_a_recovery_gives_a_sign_of_life(journal: Journal) -> None:
    _open(journal)
    assert not journal.recovery_seen("0f3a")
    journal.sign_of_life("0f3a")
    assert journal.recovery_seen("0f3a")
    assert not journal.recovery_seen("unknown")


def test_a_restore_takes_the_journal_back_to_what_the_dump_held(database: Database, hook: session.Database) -> None:
    journal = Journal(hook)
    _open(journal)
    dump = database.dump()
    journal.announce("0f3a", State.MIGRATING, backup="b-uuid")
    hook.close()
    database.reset()
    assert not journal.exists()
    hook.close()

    database.load(dump)

    assert (_entry(journal).state, _entry(journal).backup) == (State.BACKING_UP, None)


def test_names_of_the_app_cannot_become_part_of_a_statement(journal: Journal) -> None:
    name = "x'); DROP TABLE release_phase.runs; --"
    journal.open(run_id=name, app=name, release=name, commit=name, maintenance=True, formation={name: 1}, baseline=0)
    entry = _entry(journal, name)
    assert (entry.app, entry.formation) == (name, {name: 1})
