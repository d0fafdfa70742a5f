"""Timeouts as Postgres writes them, and what is shown of other people's queries."""

from __future__ import annotations

import pytest

from release.protected.blockers import SHOWN, says_lock_timeout, shape
from release.protected.watch import in_seconds


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        (None, None),
        ("5s", 5.0),
        ("5 s", 5.0),
        ("250", 0.25),
        ("250ms", 0.25),
        ("1500 us", 0.0015),
        ("2min", 120.0),
        ("1h", 3600.0),
        ("1 d", 86_400.0),
        ("0012s", 12.0),
        ("0", None),  # which turns the timeout off
        ("0s", None),
        ("00 min", None),
    ],
)
def test_a_duration_is_in_seconds_and_milliseconds_without_a_unit(duration: str | None, seconds: float | None) -> None:
    found = in_seconds(duration)
    assert found == (seconds if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("psycopg.errors.LockNotAvailable: canceling statement due to lock timeout", True),
        ("ERROR: could not obtain lock on row in relation", True),
        ("PG::LockNotAvailable", True),
        ("ActiveRecord::LockWaitTimeout", True),
        ("SqlState: 55P03", True),
        ("the clock of the lock was locked", False),
        ("canceling statement due to statement timeout", False),
    ],
)
def test_output_says_a_lock_timeout_by_code_or_known_words(line: str, says: bool) -> None:
    assert says_lock_timeout(["nothing", line]) is says


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        (None, ""),
        ("SELECT  *\n FROM a WHERE n = 12 AND t = 'it''s'", "SELECT * FROM a WHERE n = ? AND t = ?"),
        ("SELECT 'cut off by the ser", "SELECT ?"),
        (r"SELECT E'it\'s secret', e'two\\', 'three'", "SELECT ?, ?, ?"),
        (r"SELECT E'cut off \'by the ser", "SELECT ?"),
        ("SELECT name'quoted'", "SELECT name?"),
        ("SELECT $$secret$$, $a$se$$cret$a$, col1", "SELECT ?, ?, col1"),
        ("x" * (SHOWN + 1), "x" * SHOWN + "…"),
    ],
)
def test_a_query_is_shown_without_its_values(query: str | None, shown: str) -> None:
    assert shape(query) == shown
