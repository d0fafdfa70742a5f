"""What a run leaves out is its last word: right, and said once, however many processes it has."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CASES = """
import pytest

@pytest.fixture
def sweep(): ...

@pytest.mark.thin(2)
@pytest.mark.parametrize("n", range(20))
def test_many(n): ...

@pytest.mark.thin(1)
@pytest.mark.parametrize("n", range(4))
def test_some(n, sweep): ...

@pytest.mark.parametrize("n", range(3))
def test_all(n): ...
"""
SWEPT = "try more places with --sweep, which takes hours"


@pytest.mark.parametrize(
    ("arguments", "passed", "said"),
    [
        ("-n 2", 4 + 2 + 3, f"left out: 18 of 27 cases (marked thin); all with --whole; 2 cases {SWEPT}"),
        ("-n 0", 4 + 2 + 3, f"left out: 18 of 27 cases (marked thin); all with --whole; 2 cases {SWEPT}"),
        ("-k many", 4, "left out: 16 of 20 cases (marked thin); all with --whole"),
        ("-k all", 3, "left out: none of 3 cases"),
        ("--whole", 27, f"4 cases {SWEPT}"),
        ("--sweep -n 2", 27, "left out: none of 27 cases"),
    ],
)
def test_it_says_how_many_cases_were_left_out(tmp_path: Path, arguments: str, passed: int, said: str) -> None:
    (tmp_path / "test_cases.py").write_text(CASES)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = thin(n): of its cases every n-th\n")
    argv = [sys.executable, "-m", "pytest", "-p", "tests.thin", *arguments.split(), str(tmp_path)]

    shown = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True, timeout=240).stdout

    assert re.findall(r"(\d+) passed", shown) == [str(passed)]
    assert [line for line in shown.splitlines() if "--sweep" in line or "left out" in line] == [said]
    assert shown.splitlines()[-2] == said
