"""How people read what the witness saw: on a terminal, in the report, on the page, for machines."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from release.output import page, timeline
from release.output.live import Console
from release.output.report import as_data, as_text

UPDATE = "UPDATE learners SET points = ?"
WITNESSED: dict[str, Any] = {
    "verdict": "committed",
    "why": ["2 transactions were committed"],
    "sessions": 3,
    "committed": 2,
    "read": 0,
    "rolled_back": 1,
    "unknown": 0,
    "statements": 41,
    "errors": 0,
    "slowest": [
        {"shape": UPDATE, "seconds": 41.2, "rows": 120_000},
        {"shape": "CREATE INDEX ON learners (points)", "seconds": 0.512, "rows": None},
        {"shape": "SELECT version()", "seconds": 0.003, "rows": 1},
    ],
    "lock_wait": 0.4,
    "elsewhere": [],
    "variables": ["DATABASE_URL"],
}
SUMMARY = "database: 3 sessions, 2 transactions committed, 1 rolled back, 41 statements, 0.4 s waiting for locks"
WARNED: dict[str, Any] = {
    "event": "warning_raised",
    "warning": "errors_swallowed",
    "detail": "2 errors; the first: no such table (SQLSTATE 42P01)",
}


def event(**changes: Any) -> dict[str, Any]:
    """An event as the migrate step logs it."""
    head = {"timestamp": "2026-01-01T00:00:50Z", "run_id": "x", "step": "migrate", "event": "migration_witnessed"}
    return {**head, **WITNESSED, **changes}


def log(**changes: Any) -> list[str]:
    """The lines of a run that logs it."""
    head = {"run_id": "x", "step": "migrate"}
    lines = [
        {"timestamp": "2026-01-01T00:00:00Z", **head, "event": "step_started"},
        event(**changes),
        {"timestamp": "2026-01-01T00:00:51Z", **head, "event": "step_finished", "duration": 51.0},
    ]
    return [json.dumps(line) for line in lines]


def text(*, width: int = 120, **changes: Any) -> str:
    """The report."""
    return as_text(timeline.read(log(**changes)), width=width)


def html(**changes: Any) -> str:
    """The page."""
    return page.as_html(timeline.read(log(**changes)))


def live(width: int = 120, **changes: Any) -> str:
    """What a terminal shows of the one event."""
    return Console(width=lambda: width, environ={}, colours=False, live=False)(event(**changes))


def test_what_the_witness_saw_is_one_line_in_the_timeline() -> None:
    assert f"      50.0 · {SUMMARY}\n" in text()


def test_the_tables_that_were_written_to_are_named_and_no_more_than_three() -> None:
    assert "wrote to public.a and public.b\n" in text(written=["public.a", "public.b"])
    assert "wrote to a and b and c and 2 more\n" in text(written=["a", "b", "c", "d", "e"])
    assert "wrote" not in text(written=None)


def test_the_slowest_statements_stand_below_it_in_the_report() -> None:
    assert (
        "               · the slowest statements:\n"
        "                 41 s, 120,000 rows: UPDATE learners SET points = ?\n"
        "                 0.5 s: CREATE INDEX ON learners (points)\n"
        "                 3 ms, 1 row: SELECT version()\n"
    ) in text()


def test_a_narrow_report_wraps_what_the_witness_saw() -> None:
    assert max(map(len, text(width=60).split("\n"))) <= 60


def test_a_terminal_shows_the_line_and_only_what_took_its_time() -> None:
    assert live() == f"  · {SUMMARY}\n    · 41 s, 120,000 rows: {UPDATE}\n"


def test_the_page_has_the_slowest_statements_as_a_table() -> None:
    shown = html()

    assert f"<span>{SUMMARY}</span><table><caption>The slowest statements</caption>" in shown
    assert (
        f'<tr><td class="figure">41 s</td><td class="figure">120,000</td><td><code>{UPDATE}</code></td></tr>'
        '<tr><td class="figure">0.5 s</td><td class="figure"></td>'
        "<td><code>CREATE INDEX ON learners (points)</code></td></tr>"
        '<tr><td class="figure">3 ms</td><td class="figure">1</td><td><code>SELECT version()</code></td></tr>'
    ) in shown
    assert shown.count(UPDATE) == 1


def test_a_page_without_statements_has_no_table() -> None:
    assert "<table" not in html(slowest=[])


def test_on_a_phone_the_table_has_the_whole_width() -> None:
    phone = re.search(r"@media \(max-width: 34rem\) \{(.*?\})\s*\}", html(), re.DOTALL)

    assert phone
    assert "table { grid-column: 1 / -1; }" in phone[1]


NOTHING: dict[str, Any] = {"verdict": "nothing", "why": [], "committed": 0, "read": 4, "lock_wait": 0.0, "slowest": []}


def test_that_nothing_was_committed_is_said_in_words() -> None:
    words = (
        "database: 3 sessions, nothing was committed, 1 transaction rolled back, 4 only read, 41 statements, 2 errors"
    )

    assert live(**NOTHING, errors=2) == f"  · {words}\n"
    assert f"<span>{words}</span>" in html(**NOTHING, errors=2)
    assert words in text(width=130, **NOTHING, errors=2)


def test_what_is_not_known_is_a_warning_with_its_reasons() -> None:
    unknown: dict[str, Any] = {
        "verdict": "unknown",
        "why": ["of 1 transactions the server's last word never came", "session 412 has not ended"],
        "committed": 0,
        "rolled_back": 0,
        "unknown": 1,
        "lock_wait": 0,
        "slowest": [],
    }
    shown = (
        "  ! database: 3 sessions, what was committed is not known, 1 transaction without a last word, 41 statements\n"
        "    ! not known: of 1 transactions the server's last word never came\n"
        "    ! not known: session 412 has not ended\n"
    )

    assert live(120, **unknown) == shown
    assert "g-warn" in html(**unknown)
    assert "<small>not known: session 412 has not ended</small>" in html(**unknown)


def test_a_command_without_a_session_is_said_to_have_none() -> None:
    none: dict[str, Any] = {
        "verdict": "unknown",
        "why": [],
        "sessions": 0,
        "committed": 0,
        "rolled_back": 0,
        "statements": 0,
    }

    assert live(**none, slowest=[], lock_wait=0) == (
        "  ! database: no session, what was committed is not known\n    ! not known: the witness does not say why\n"
    )


def test_databases_that_no_backup_covers_are_named_and_turn_the_line_yellow() -> None:
    words = f"{SUMMARY}, something was committed in AUDIT_URL, too"

    assert " ".join(live(elsewhere=["AUDIT_URL"]).split()).startswith(f"! {words}")
    assert f'<span class="g-warn">!</span><span>{words}</span>' in html(elsewhere=["AUDIT_URL"])
    assert f"! {words}\n" in text(width=200, elsewhere=["AUDIT_URL"])


def test_a_witness_that_was_switched_off_is_a_fact_and_no_warning() -> None:
    off: dict[str, Any] = {
        **dict.fromkeys(WITNESSED, 0),
        "verdict": "unknown",
        "why": ["RELEASE_WITNESS=off"],
        "slowest": [],
    }

    assert live(**off) == "  · database: what was committed was not watched (RELEASE_WITNESS=off)\n"


def test_a_rehearsal_says_that_it_is_the_copy() -> None:
    assert "  · the copy: 3 sessions, " in live(rehearsal=True)


EVIL = "SELECT '</code><script>alert(\"1\")</script>' & \x1b]0;x\x07\u202egnp.exe\u2028FROM \x00\nt"
TAMED = "SELECT '</code><script>alert(\"1\")</script>' & \\x1b]0;x\\x07\\u202egnp.exe FROM \\x00 t"


def evil(**changes: Any) -> dict[str, Any]:
    """Fields whose texts are all hostile."""
    return {"slowest": [{"shape": EVIL, "seconds": 2.0, "rows": 1}], "elsewhere": [EVIL], "why": [EVIL], **changes}


def test_hostile_statements_cannot_leave_their_cell_on_the_page() -> None:
    shown = html(**evil(verdict="unknown"))

    assert "<script" not in shown
    assert "&lt;/code&gt;&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;" in shown
    assert not re.search("[\x00\x07\x1b\u202e\u2028]", shown)


def test_hostile_statements_show_as_escapes_on_a_terminal_and_in_text() -> None:
    shown = live(400, **evil())

    assert f"    · 2.0 s, 1 row: {TAMED}\n" in shown
    assert f"                 2.0 s, 1 row: {TAMED}\n" in text(width=400, **evil())
    assert not re.search("[\x00\x07\x1b\u202e\u2028]", shown + text(**evil()))


@pytest.mark.parametrize(
    "odd",
    [
        {"slowest": None, "why": None, "elsewhere": None},
        {"slowest": "x", "why": "x", "elsewhere": {"x": 1}, "verdict": 5},
        {"slowest": [7, None, "… 3 more", {}, {"shape": 5, "seconds": "soon", "rows": "all"}], "lock_wait": "long"},
        {"sessions": None, "committed": "two", "statements": 10**400, "errors": -1},
        {"slowest": [{"shape": [], "seconds": 10**400, "rows": -(10**400)}], "verdict": "unknown", "why": [{}, 3]},
    ],
)
def test_fields_that_nobody_would_write_are_read_as_far_as_they_go(odd: dict[str, Any]) -> None:
    assert live(**odd).strip()[2:].startswith("database: ")
    assert "database: " in text(**odd)
    assert "database: " in html(**odd)


def test_more_statements_than_an_event_has_are_left_out() -> None:
    many = [{"shape": f"SELECT {number}", "seconds": 2.0, "rows": 1} for number in range(9)]

    assert html(slowest=many).count("<code>") == 5


def test_the_report_for_machines_has_the_statements_as_fields() -> None:
    (run,) = as_data(timeline.read(log()))
    (moment,) = run["steps"][0]["moments"]

    assert moment["texts"] == [SUMMARY]
    assert moment["slowest"][0] == {"shape": UPDATE, "seconds": 41.2, "rows": 120_000}
    assert json.dumps(run)


def test_an_error_that_was_swallowed_is_told_with_its_statement() -> None:
    assert live(**WARNED, sqlstate="42P01", shape=f"{UPDATE}\x07") == (
        f"  ! {WARNED['detail']}\n    · in: {UPDATE}\\x07\n"
    )
    assert live(**WARNED, sqlstate="42P01", shape=None) == f"  ! {WARNED['detail']}\n"
    assert f"<small>in: {UPDATE}</small>" in html(**WARNED, shape=UPDATE)


@pytest.mark.parametrize("warning", ["committed_elsewhere", "not_witnessed"])
def test_the_other_warnings_of_the_witness_are_told_in_their_words(warning: str) -> None:
    told: dict[str, Any] = {
        "event": "warning_raised",
        "warning": warning,
        "detail": "AUDIT_URL has rows that no backup covers",
    }

    assert live(**told) == "  ! AUDIT_URL has rows that no backup covers\n"
    assert "AUDIT_URL has rows that no backup covers" in text(**told)
