"""A figure says what it is held against, and the table says so of all of them."""

from __future__ import annotations

import subprocess
import sys

from tests.benchmarks.__main__ import PAGE, written
from tests.benchmarks.figure import HEAD, at_least, at_most, peak, table


def test_a_figure_is_held_against_its_limit_as_it_is_shown() -> None:
    assert at_most("landing", 0.604, 0.6).cells == ("landing", "0.60 s", "0.60 s", "yes")
    assert at_most("landing", 0.606, 0.6, beside="9 requests").cells[2:] == ("0.61 s, 9 requests", "**no**")
    assert at_least("output", 67_899.6, 50_000, "lines/s").cells[1:] == (
        "50,000 lines/s or more",
        "67,900 lines/s",
        "yes",
    )
    assert not at_least("the CLI", 2.4, 2.5, "times as long").met


def test_the_page_gets_a_table_anew_and_keeps_its_words() -> None:
    page = PAGE.read_text()
    once = written(page, "a machine", [at_most("landing", 0.5, 0.6)])
    twice = written(once, "a machine", [at_most("failing", 0.9, 1)])
    assert "| landing | 0.60 s | 0.50 s   | yes |" in once
    assert "landing |" not in twice
    assert once.partition("<!-- figures")[0] == twice.partition("<!-- figures")[0] == page.partition("<!-- figures")[0]
    assert written(twice, "a machine", [at_most("landing", 0.5, 0.6)]) == once


def test_the_page_has_a_figure_for_each_row_of_its_table() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    assert [cell.strip() for cell in rows[0].strip("|").split("|")] == list(HEAD)
    assert len(rows) > 20
    assert table([at_most("x", 1, 1)]).count("\n") == 2


def test_the_peak_of_a_process_is_its_own_and_not_its_parents() -> None:
    held = bytearray(100_000_000)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert peak() > len(held) / 2**20 > 2 * peak(child.pid) > 0
        child.kill()
