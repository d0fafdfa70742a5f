"""A plugin for pytest: fewer cases of tests that have many, and a last line that says how many were left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Final

import pytest

COARSER: Final = 3
"""Times. The marks say which tests have more cases than others; this says how many of them fit into ten minutes."""

SWEPT: Final = "sweep"
"""The fixture of the tests that try more places when they are told to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Of `cases` that were asked for, `left` are not run; `swept` of the others try fewer places than they could."""

    cases: int
    left: int
    swept: int

    def __str__(self) -> str:
        """What it means for a reader of the result."""
        left = f"left out: {self.left:,} of {self.cases:,} cases (marked thin); all with --whole" if self.left else ""
        swept = f"{self.swept:,} cases try more places with --sweep, which takes hours" if self.swept else ""
        return "; ".join(filter(None, [left, swept])) or f"left out: none of {self.cases:,} cases"


SELECTION: Final = pytest.StashKey[Selection]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """More than fits into ten minutes on two cores: `--whole` takes over half an hour, `--sweep` hours."""
    parser.addoption(
        "--whole", action="store_true", help="also the cases that are left out of a thin test (mark: thin)"
    )
    parser.addoption("--sweep", action="store_true", help="all that, and every fault at every place")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of a test marked `thin(n)` every n-th case is run, COARSER times as few of them, unless all are asked for.

    What `-k` or `-m` has taken away by now is no case that was left out.
    """
    cases: Counter[str] = Counter()
    run: list[pytest.Item] = []
    left: list[pytest.Item] = []
    whole, sweep = config.getoption("--whole"), config.getoption("--sweep")
    for item in items:
        test = item.nodeid.partition("[")[0]
        thin = item.get_closest_marker("thin")
        skipped = thin and not (whole or sweep) and cases[test] % (thin.args[0] * COARSER)
        (left if skipped else run).append(item)
        cases[test] += 1
    swept = 0 if sweep else sum(SWEPT in getattr(item, "fixturenames", ()) for item in run)
    config.stash[SELECTION] = Selection(cases=len(items), left=len(left), swept=swept)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = run


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist tells the process that started it: each has collected all there is."""
    if hasattr(session.config, "workeroutput") and (selection := session.config.stash.get(SELECTION, None)):
        session.config.workeroutput["left_out"] = [selection.cases, selection.left, selection.swept]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hears it. A worker that was killed says nothing, the others the same."""
    if told := getattr(node, "workeroutput", {}).get("left_out"):
        cases, left, swept = told
        node.config.stash[SELECTION] = Selection(cases=cases, left=left, swept=swept)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Generator[None, object, object]:
    """Says it, once, after the list of failures."""
    result = yield
    if selection := config.stash.get(SELECTION, None):
        terminalreporter.write_line(str(selection))
    return result
