"""The journal in a real database: what a run announces, and what a later one reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from release import __version__
from release.database import others, session
from release.database.entry import Entry, Migration, State
from release.database.journal import Journal
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
        app_id="app-1",
        addon_id="addon-1",
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


def test_an_opened_run_holds_what_a_later_one_needs(hook: session.Database, journal: Journal) -> None:
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
        app_id="app-1",
        addon_id="addon-1",
        system_id=hook.identity().system,
        database=hook.identity().database,
        code_version=__version__,
        elsewhere=False,
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

    acts: list[Callable[[], object]] = [
        lambda: journal.announce("0f3a", State.RESTORING),
        lambda: journal.commit("0f3a"),
    ]
    for act in acts:
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


def test_a_run_is_alone_while_it_is_there_and_no_other_of_ours_is_unfinished(
    hook: session.Database, journal: Journal
) -> None:
    def alone() -> bool:
        return journal.alone("0f3a", "app-1", "addon-1", app="shop")

    assert not alone(), "without a journal nobody can say: a restore may have the database empty"
    _open(journal)
    assert alone()
    _open(journal, "later")
    assert not alone()
    journal.close("0f3a", outcome="restored", reason=None)
    assert not alone()
    hook.rows("UPDATE release_phase.runs SET app_id = 'app-2' WHERE run_id = 'later'")
    assert alone()
    hook.rows("DELETE FROM release_phase.runs WHERE run_id = '0f3a'")
    assert not alone()


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


# Where a row comes from.


@pytest.mark.parametrize(
    ("app_id", "addon_id", "ours"),
    [
        ("app-1", "addon-1", True),
        ("app-1", None, True),
        (None, None, True),
        ("app-2", None, False),
        ("app-1", "addon-2", False),
        (None, "addon-2", False),
    ],
)
def test_unfinished_is_only_what_this_app_began_on_this_add_on(
    journal: Journal, app_id: str | None, addon_id: str | None, ours: bool
) -> None:
    _open(journal)
    entry = _entry(journal)
    assert entry.belongs(app_id, addon_id) is ours
    assert journal.unfinished(app_id, addon_id) == (entry if ours else None)


@pytest.mark.parametrize("column", ["system_id", "database"])
def test_a_row_that_a_dump_of_another_database_brought_is_history(
    hook: session.Database, journal: Journal, column: str
) -> None:
    _open(journal)
    hook.rows(f"UPDATE release_phase.runs SET {column} = 'other', fingerprint = '{{}}'")
    assert _entry(journal).elsewhere
    assert (journal.unfinished(), journal.in_the_dump()) == (None, None)
    assert [each.run_id for each in journal.runs(5)] == ["0f3a"]
    assert [entry.elsewhere for entry, _ in journal.history(5)] == [True]


def test_an_older_run_of_ours_is_found_behind_a_newer_one_from_elsewhere(
    hook: session.Database, journal: Journal
) -> None:
    _open(journal, "ours")
    _open(journal, "theirs")
    hook.rows("UPDATE release_phase.runs SET database = 'shop_production' WHERE run_id = 'theirs'")
    unfinished = journal.unfinished("app-1", "addon-1")
    assert unfinished is not None
    assert unfinished.run_id == "ours"


# A journal of version 1.

FIRST = """
CREATE SCHEMA release_phase;
CREATE TABLE release_phase.runs (
    run_id text PRIMARY KEY, version integer NOT NULL DEFAULT 1, app text NOT NULL, release text, commit text,
    state text NOT NULL, outcome text, reason text, started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(), finished_at timestamptz, fence text, maintenance boolean,
    formation jsonb, baseline integer, fingerprint text, backup text, salvage text, restore text,
    recovery_at timestamptz, record jsonb);
INSERT INTO release_phase.runs (run_id, app, state, fence, formation, baseline, backup, record)
VALUES ('old', 'shop', 'migrating', 'restore', '{"worker": 2}', 3, 'b-uuid', '{"duration": 2, "evidence": {"a": 1}}')"""


@pytest.fixture
def old(hook: session.Database) -> Journal:
    hook.rows(FIRST)
    return Journal(hook)


def _columns(hook: session.Database) -> set[str]:
    found = hook.rows("SELECT attname FROM pg_attribute WHERE attrelid = 'release_phase.runs'::regclass AND attnum > 0")
    return {name for (name,) in found}


def test_rows_of_version_1_are_read_without_changing_the_table(hook: session.Database, old: Journal) -> None:
    before = _columns(hook)
    entry = _entry(old, "old")
    assert (entry.state, entry.fence, entry.formation) == (State.MIGRATING, "restore", {"worker": 2})
    assert (entry.app_id, entry.addon_id, entry.system_id, entry.database, entry.elsewhere) == (*[None] * 4, False)
    assert old.unfinished("app-1", "addon-1") == entry
    assert old.runs(5) == [entry]
    assert old.history(5) == [(entry, {"duration": 2})]
    assert old.evidence("b-uuid") == b'{"a":1}'
    assert old.own_transactions("old") == frozenset()
    assert (old.outset("old"), old.migration("old")) == (None, Migration())
    assert _columns(hook) == before


@pytest.mark.parametrize(
    "write",
    [
        lambda journal: journal.announce("old", State.RESTORING),
        lambda journal: journal.begin_migration("old", backup="b-uuid", outset=b"{}"),
        lambda journal: journal.saw("old", [(1, 2)]),
        lambda journal: journal.close("old", outcome="kept", reason=None),
        lambda journal: journal.fenced("old", None),
        lambda journal: journal.sign_of_life("old"),
        lambda journal: journal.keep_record("old", {"outcome": "kept"}),
        _open,
    ],
    ids=["announce", "begin_migration", "saw", "close", "fenced", "sign_of_life", "keep_record", "open"],
)
def test_whatever_is_written_first_brings_a_journal_of_version_1_up_to_date(
    hook: session.Database, old: Journal, write: Callable[[Journal], object]
) -> None:
    write(old)
    assert {"app_id", "addon_id", "system_id", "database", "code_version", "xids"} <= _columns(hook)
    assert {"migrating_at", "outset", "sessions"} <= _columns(hook)
    assert _entry(old, "old").app == "shop"
    assert old.own_transactions("old" if old.entry("0f3a") is None else "0f3a")


def test_what_only_changes_a_row_does_not_make_a_table_that_is_gone(journal: Journal) -> None:
    acts: list[Callable[[], object]] = [
        lambda: journal.announce("0f3a", State.PROBING),
        lambda: journal.fenced("0f3a", None),
    ]
    for act in acts:
        with pytest.raises(session.Failed, match="does not exist"):
            act()
    assert not journal.exists()


def test_a_dump_under_way_does_not_hold_up_a_run_that_opens(database: Database, journal: Journal) -> None:
    _open(journal, "1")
    with database.connect().transaction(force_rollback=True) as held:
        held.connection.execute("LOCK TABLE release_phase.runs IN ACCESS SHARE MODE")
        _open(journal, "2")
    assert [each.run_id for each in journal.runs(5)] == ["2", "1"]


# The hook's own transactions.


def test_a_row_knows_each_transaction_in_which_the_hook_wrote_it(hook: session.Database, journal: Journal) -> None:
    written = []

    def note() -> None:
        (xmin,) = hook.one("SELECT xmin::text::bigint FROM release_phase.runs WHERE run_id = '0f3a'")
        written.append(xmin)

    for act in (
        lambda: _open(journal),
        lambda: journal.fenced("0f3a", "release"),
        lambda: journal.fingerprinted("0f3a", b"{}", b"{}"),
        lambda: journal.begin_migration("0f3a", backup=None, outset=b"{}"),
        lambda: journal.saw("0f3a", [(7, 8)]),
        lambda: journal.sign_of_life("0f3a"),
        lambda: journal.announce("0f3a", State.PROBING),
        lambda: journal.commit("0f3a"),
        lambda: journal.close("0f3a", outcome="released", reason=None),
        lambda: journal.keep_record("0f3a", {"outcome": "released"}),
    ):
        act()
        note()

    assert len(set(written)) == 10
    assert {xid % 2**32 for xid in journal.own_transactions("0f3a")} == set(written)
    hook.rows("CREATE TABLE public.theirs (n integer)")
    assert len(journal.own_transactions("0f3a")) == 10
    assert journal.own_transactions("unknown") == frozenset()


def test_transactions_that_rolled_back_or_are_others_are_not_the_hooks_own(
    database: Database, hook: session.Database, journal: Journal
) -> None:
    _open(journal)
    known = journal.own_transactions("0f3a")
    journal.close("0f3a", outcome="restored", reason=None)
    with pytest.raises(StepFailed):
        journal.announce("0f3a", State.RESTORING)
    database.execute("CREATE TABLE theirs (n integer)")
    _open(journal, "1")

    own = journal.own_transactions("0f3a")

    assert len(own) == len(known) + 1
    assert own.isdisjoint(journal.own_transactions("1"))
    assert hook.one("SELECT count(*) FROM release_phase.runs") == (2,)


# The migration.


def test_a_migration_begins_with_its_outset_and_backup(hook: session.Database, journal: Journal) -> None:
    _open(journal)
    assert (journal.outset("0f3a"), journal.migration("0f3a")) == (None, Migration())
    before = others.moment(hook)

    journal.begin_migration("0f3a", backup="b-uuid", outset=b'{"steady": ["public.a"]}')

    since = journal.migration("0f3a").since
    assert since is not None
    assert before <= since <= others.moment(hook)
    assert journal.outset("0f3a") == b'{"steady": ["public.a"]}'
    assert (_entry(journal).state, _entry(journal).backup) == (State.MIGRATING, "b-uuid")


def test_a_migration_that_is_begun_again_began_when_it_did(journal: Journal) -> None:
    _open(journal)
    journal.begin_migration("0f3a", backup="b-uuid", outset=b"1")
    first = journal.migration("0f3a")
    journal.announce("0f3a", State.RESTORING)

    journal.begin_migration("0f3a", backup=None, outset=b"2")

    assert journal.migration("0f3a") == first
    assert (journal.outset("0f3a"), _entry(journal).backup) == (b"2", "b-uuid")
    assert _entry(journal).state is State.MIGRATING


def test_a_run_that_is_settled_begins_no_migration(journal: Journal) -> None:
    _open(journal)
    journal.close("0f3a", outcome="untouched", reason="unfinished_run")
    before = _entry(journal)

    with pytest.raises(StepFailed) as caught:
        journal.begin_migration("0f3a", backup="b-uuid", outset=b"{}")

    assert _lost(caught)
    assert _entry(journal) == before
    assert (journal.outset("0f3a"), journal.migration("0f3a")) == (None, Migration())


def test_a_run_without_a_row_begins_no_migration(journal: Journal) -> None:
    _open(journal)
    with pytest.raises(StepFailed) as caught:
        journal.begin_migration("unknown", backup="b-uuid", outset=b"{}")
    assert _lost(caught)


def test_sessions_of_the_migration_are_remembered_as_they_are_seen(hook: session.Database, journal: Journal) -> None:
    _open(journal)
    _open(journal, "1")
    journal.begin_migration("0f3a", backup=None, outset=b"{}")

    journal.saw("0f3a", {(4711, 1_764_198_000_123_456), (1, 2)})
    journal.saw("0f3a", [(4711, 1_764_198_000_123_456)])
    journal.saw("0f3a", [])
    journal.saw("0f3a", [(4711, 1_764_198_000_123_457)])

    assert journal.migration("0f3a").sessions == {
        (1, 2),
        (4711, 1_764_198_000_123_456),
        (4711, 1_764_198_000_123_457),
    }
    assert journal.migration("1").sessions == frozenset()
    assert hook.one("SELECT state FROM release_phase.runs WHERE run_id = '0f3a'") == ("migrating",)


def test_a_session_is_remembered_by_what_tells_it_from_others(
    database: Database, hook: session.Database, journal: Journal
) -> None:
    _open(journal)
    other = database.connect()
    (found,) = others.others(hook)

    journal.saw("0f3a", [found.key])

    assert journal.migration("0f3a").sessions == {found.key}
    assert found.pid == other.info.backend_pid


def test_of_a_migration_that_is_not_known_nothing_is_known(journal: Journal) -> None:
    assert journal.migration("0f3a") == Migration()
    _open(journal)
    assert journal.migration("unknown") == Migration()
    assert journal.outset("unknown") is None


@pytest.mark.parametrize("end", ["commit", "close"])
def test_at_the_end_only_the_outset_is_forgotten(journal: Journal, end: str) -> None:
    _open(journal)
    journal.fingerprinted("0f3a", b"{}", b"{}")
    journal.begin_migration("0f3a", backup="b-uuid", outset=b"{}")
    journal.saw("0f3a", [(1, 2)])
    journal.announce("0f3a", State.PROBING)
    began = journal.migration("0f3a")

    if end == "commit":
        journal.commit("0f3a")
    else:
        journal.close("0f3a", outcome="restored", reason=None)

    assert (journal.outset("0f3a"), journal.fingerprint("0f3a")) == (None, None)
    assert journal.migration("0f3a") == began
    assert journal.evidence("b-uuid") == b"{}"


def test_a_restore_takes_the_beginning_of_the_migration_back(
    database: Database, hook: session.Database, journal: Journal
) -> None:
    _open(journal)
    dump = database.dump()
    journal.begin_migration("0f3a", backup="b-uuid", outset=b"{}")
    journal.saw("0f3a", [(1, 2)])
    hook.close()
    database.reset()

    database.load(dump)

    assert (journal.outset("0f3a"), journal.migration("0f3a")) == (None, Migration())


def test_a_journal_made_before_migrations_had_an_outset_is_brought_up_to_date(
    hook: session.Database, journal: Journal
) -> None:
    _open(journal)
    hook.rows("ALTER TABLE release_phase.runs DROP migrating_at, DROP outset, DROP sessions")
    assert (journal.outset("0f3a"), journal.migration("0f3a")) == (None, Migration())

    journal.begin_migration("0f3a", backup="b-uuid", outset=b"{}")

    assert journal.outset("0f3a") == b"{}"
    assert journal.migration("0f3a").since is not None
