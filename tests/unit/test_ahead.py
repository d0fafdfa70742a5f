"""Imports ahead: in a thread, one after the other, and no further than they are wanted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.hook import ROOT


def said(folder: Path, program: str) -> list[str]:
    """What a program says that has this folder and the hook on its path."""
    start = f"import sys, time; sys.path += {[str(ROOT), str(folder)]!r}; from release.ahead import loading\n"
    run = subprocess.run([sys.executable, "-I", "-c", start + program], check=True, capture_output=True, text=True)
    assert run.stderr == ""
    return run.stdout.split()


def test_modules_are_loaded_beside_the_block_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("print('one', flush=True)\n")
    (tmp_path / "two.py").write_text("print('two', flush=True)\n")

    program = "with loading(('one', 'two')):\n while 'two' not in sys.modules: time.sleep(0.01)\nimport one, two"

    assert said(tmp_path, program) == ["one", "two"]


def test_a_block_that_ends_at_once_loads_nothing(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("print('one', flush=True)\n")

    assert said(tmp_path, "with loading(('one',)): pass\ntime.sleep(0.2); print('one' in sys.modules)") == ["False"]


def test_what_is_under_way_at_the_end_of_the_block_is_the_last(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("import time; began = True; time.sleep(0.3)\n")
    (tmp_path / "two.py").write_text("")

    program = (
        "with loading(('one', 'two')):\n while 'one' not in sys.modules: time.sleep(0.01)\n"
        "import one; time.sleep(0.1); print('two' in sys.modules)"
    )

    assert said(tmp_path, program) == ["False"]


def test_a_module_that_cannot_be_loaded_stops_nothing_and_says_so_where_it_is_needed(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "two.py").write_text("")

    program = (
        "with loading(('broken', 'missing', 'two')):\n while 'two' not in sys.modules: time.sleep(0.01)\n"
        "try: import broken\nexcept ZeroDivisionError: print('said')"
    )

    assert said(tmp_path, program) == ["said"]
