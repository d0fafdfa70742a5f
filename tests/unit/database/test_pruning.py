"""What the journal forgets, and what it never does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from release.database import session
from release.database.journal import TABLES
from release.database.pruning import prune
from tests.unit.database.conftest import Database


@pytest.fixture
def hook(database: Database) -> Iterator[session.Database]:
    url = database.server.url(database.name, database.owner, "secret")
    with closing(session.Database(url, application_name="release-hook-0f3a")) as hook:
        hook.rows(TABLES)
        yield hook


RUN = """
INSERT INTO release_phase.runs (run_id, app, state, outcome, started_at, fence, fingerprint, backup, record, database)
SELECT %s || n, 'shop', %s, %s, clock_timestamp() - make_interval(mins => n) - %s::interval, %s, %s, %s || n,
       '{"duration": 1, "evidence": {"a": 1}}', %s
  FROM generate_series(1, %s) AS n
"""


def _runs(
    hook: session.Database,
    name: str,
    count: int = 1,
    *,
    ago: str = "0",
    outcome: str | None = "released",
    fence: str | None = None,
    fingerprint: str | None = None,
    database: str | None = None,
    backup: str | None = "backup-",
) -> None:
    """Runs called NAME1 (the newest) to NAMEcount."""
    state = "finished" if outcome else "migrating"
    hook.rows(RUN, [name, state, outcome, ago, fence, fingerprint, backup and backup + name, database, count])


def _left(hook: session.Database) -> set[str]:
    return {run_id for (run_id,) in hook.rows("SELECT run_id FROM release_phase.runs")}


def test_runs_beyond_the_newest_200_go(hook: session.Database) -> None:
    _runs(hook, "r", 203)
    assert prune(hook) == 3
    assert _left(hook) == {f"r{n}" for n in range(1, 201)}
    assert prune(hook) == 0


def test_runs_of_more_than_90_days_ago_go_but_the_last_of_each_outcome(hook: session.Database) -> None:
    _runs(hook, "new", 2)
    _runs(hook, "recent", ago="89 days")
    for outcome in ("restored", "untouched", "released"):
        _runs(hook, f"{outcome}-", 3, ago="91 days", outcome=outcome)
    assert prune(hook) == 7
    assert _left(hook) == {"new1", "new2", "recent1", "restored-1", "untouched-1"}


@pytest.mark.parametrize(("outcome", "fence"), [(None, None), (None, "restore"), ("restored", "restore")])
def test_what_is_unfinished_stays_whole_however_old_it_is(
    hook: session.Database, outcome: str | None, fence: str | None
) -> None:
    _runs(hook, "cut-off", 2, ago="400 days", outcome=outcome, fence=fence, fingerprint="{}")
    _runs(hook, "r", 210, outcome="restored")
    assert prune(hook) == 12 - 2
    assert {"cut-off1", "cut-off2"} < _left(hook)
    kept = hook.rows("SELECT fingerprint, record ? 'evidence' FROM release_phase.runs WHERE run_id ~ '^cut'")
    assert kept == [("{}", True)] * 2


def test_what_is_unfinished_elsewhere_is_history_and_goes_like_it(hook: session.Database) -> None:
    _runs(hook, "theirs", 2, ago="91 days", outcome=None, fence="release", fingerprint="{}", database="production")
    _runs(hook, "lately", outcome=None, fingerprint="{}", database="production")
    _runs(hook, "r", 1)
    assert prune(hook) == 2
    assert _left(hook) == {"lately1", "r1"}
    assert hook.one("SELECT fingerprint FROM release_phase.runs WHERE run_id = 'lately1'") == (None,)


def test_of_settled_runs_fingerprints_and_old_counters_go_first(hook: session.Database) -> None:
    _runs(hook, "r", 40, fingerprint="{}")
    _runs(hook, "without", 5, backup=None)
    assert prune(hook) == 0
    assert len(_left(hook)) == 45
    counted = hook.rows("SELECT run_id FROM release_phase.runs WHERE record ? 'evidence'")
    assert {run_id for (run_id,) in counted} == {f"r{n}" for n in range(1, 26)}
    assert hook.one("SELECT count(fingerprint) FROM release_phase.runs") == (0,)
    assert hook.one("SELECT count(*) FROM release_phase.runs WHERE record ? 'duration'") == (45,)


def test_pruning_waits_for_nobody_long_and_leaves_the_sessions_limits(
    hook: session.Database, database: Database
) -> None:
    _runs(hook, "r", 203)
    with database.connect().transaction(force_rollback=True) as held:
        held.connection.execute("SELECT FROM release_phase.runs FOR UPDATE")
        with pytest.raises(session.Failed) as caught:
            prune(hook)
    assert caught.value.facts == {"sqlstate": "55P03"}
    assert len(_left(hook)) == 203
    assert hook.one("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')") == ("30s", "5s")
