"""How far a transfer is, drawn by rich.progress: a bar, and in words how much is there and how long it takes still.

Loading rich takes 0.2 s, so only what draws on a terminal imports this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console as Rich
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column, Table

from release.output.words import seconds, size

WIDTH = 30
"""Columns of a bar, where there is room for them."""

Arrived = Callable[[int, int | None], None]
"""A function that is told how many bytes are there, and of how many; None where that is not known."""


class Transfer:
    """A transfer at Heroku, as one line of a console that somebody else draws.

    Its events are `transfer_started`, at the beginning, and `transfer_progressed`. `now` gives seconds.
    """

    def __init__(self, started: Mapping[str, Any], console: Rich, now: Callable[[], float]) -> None:
        self._expected: float | None = started.get("expected")
        self._whole: float | None = started.get("expected_bytes")
        self._moved = 0.0
        self._progress = Progress(*_columns(), console=console, auto_refresh=False, get_time=now)
        self._task = self._progress.add_task(f"{started.get('kind')} {started.get('transfer')}", total=None, words="")

    def hear(self, progressed: Mapping[str, Any]) -> None:
        """Takes note of the bytes that have moved; Heroku's figure never runs back."""
        self._moved = max(self._moved, progressed.get("bytes") or 0)

    def line(self) -> Table:
        """Returns one line, which fits into any width: the bar gives way first, then the words."""
        gone = self._progress.tasks[0].elapsed or 0.0
        done, whole, words = self._estimate(gone)
        self._progress.update(self._task, completed=done, total=whole, words=words)
        return self._progress.make_tasks_table(self._progress.tasks)

    def _estimate(self, gone: float) -> tuple[float, float | None, str]:
        """Returns done, whole, and both in words: by bytes where they move, else by the time that it took earlier."""
        expected, whole, moved = self._expected, self._whole, self._moved
        left = f", about {seconds(expected - gone)} left" if expected and expected > gone else ""
        if whole and moved:
            # Never full before the end is known: both figures are estimates.
            return min(moved, whole * 0.99), whole, f"{size(moved)} of about {size(whole)}, {seconds(gone)}{left}"
        return (min(gone, expected * 0.99) if expected else 0), expected, f"{size(moved)}, {seconds(gone)}{left}"


def _columns() -> Iterator[ProgressColumn]:
    def text() -> Column:
        return Column(no_wrap=True, overflow="ellipsis")

    yield SpinnerColumn(style="cyan", table_column=text())
    yield TextColumn("{task.description}", markup=False, table_column=text())
    yield BarColumn(bar_width=None, complete_style="cyan", pulse_style="cyan", table_column=Column(max_width=WIDTH))
    yield TextColumn("{task.fields[words]}", markup=False, table_column=text())


@contextmanager
def download(stream: TextIO, environ: Mapping[str, str]) -> Iterator[Arrived]:
    """Shows a download on a terminal until it ends: a bar that vanishes then.

    A terminal that cannot be drawn on gets a line for every tenth instead.
    """
    console = Rich(file=stream, legacy_windows=False, _environ=dict(environ))
    if not drawable(environ):
        yield _tenths(stream)
        return
    bar = Progress(
        BarColumn(WIDTH, complete_style="cyan", finished_style="cyan", pulse_style="cyan"),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with bar:
        task = bar.add_task("", total=None)
        yield lambda done, whole: bar.update(task, completed=done, total=whole)


def drawable(environ: Mapping[str, str]) -> bool:
    """Tells whether a terminal of this kind can take back a line."""
    return environ.get("TERM", "") not in {"", "dumb"}


def _tenths(stream: TextIO) -> Arrived:
    said = 0

    def say(done: int, whole: int | None) -> None:
        nonlocal said
        tenth = 10 * done // whole if whole else 0
        if tenth > said:
            said = tenth
            stream.write(f"{size(done)} of {size(whole)}\n")
            stream.flush()

    return say
