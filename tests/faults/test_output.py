"""The log's way out is broken: closed, full, not read. That changes nothing about the outcome."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.faults.figures import Cell
from tests.faults.forked import FAST
from tests.faults.harness import Harness, Play
from tests.faults.stage import FAILING, LANDING, Place, Scenario
from tests.hook import Result

Spoil = Callable[[], tuple[int | None, list[int]]]


def closed_reader() -> tuple[int, list[int]]:
    """A pipe whose other end is closed: EPIPE."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer, []


def full() -> tuple[int, list[int]]:
    """A disk that is full."""
    return os.open("/dev/full", os.O_WRONLY), []


def stopped_reader() -> tuple[int, list[int]]:
    """A pipe that nobody reads, and that is nearly full."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while os.write(writer, b"x" * 4096):
            pass
    except BlockingIOError:
        os.set_blocking(writer, True)
    return writer, [reader]


def closed() -> tuple[None, list[int]]:
    """No stdout at all."""
    return None, []


WAYS: dict[str, Spoil] = {
    "the reader is gone": closed_reader,
    "the disk is full": full,
    "the reader has stopped": stopped_reader,
    "stdout is closed": closed,
}


def run_with(place: Place, spoil: Spoil, *, errors_too: bool, twist: str | None = None) -> Result:
    """A run in a process of its own, like `bin/release`, with a stdout that does not work."""
    output, keep = spoil()
    argv = [sys.executable, "-I", str(FAST), "10"]
    if output is None:
        argv = ["sh", "-c", 'exec "$0" "$@" >&-' + (" 2>&-" if errors_too else ""), *argv]
    process = subprocess.Popen(
        argv,
        cwd=place.folder,
        env=place.environ(FAULTS_TWIST=twist),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output if errors_too and output is not None else subprocess.PIPE,
    )
    if output is not None:
        os.close(output)
    _, errors = process.communicate(timeout=100)
    for fd in keep:
        os.close(fd)
    return Result(exit_code=process.returncode, stdout=b"", stderr=errors or b"")


@pytest.mark.thin(3)
@pytest.mark.parametrize("errors_too", [False, True], ids=["stdout", "stdout and stderr"])
@pytest.mark.parametrize("scenario", [LANDING, FAILING], ids=lambda each: each.name)
@pytest.mark.parametrize("way", WAYS)
def test_a_broken_output_changes_no_outcome(
    harness: Harness, way: str, scenario: Scenario, *, errors_too: bool
) -> None:
    cell = Cell(group="output", fault=f"{way}{', stderr too' if errors_too else ''}", scenario=scenario.name)
    how = Play(
        run=lambda place: run_with(place, WAYS[way], errors_too=errors_too), mute=True, fired=lambda _: (True, False)
    )
    cell = harness.play(cell, scenario, how)
    assert not cell.broken, cell


@pytest.mark.parametrize("scenario", [LANDING, FAILING], ids=lambda each: each.name)
def test_nowhere_to_write_a_file_changes_no_outcome(harness: Harness, scenario: Scenario) -> None:
    cell = Cell(group="output", fault="no temporary folder", scenario=scenario.name)
    how = Play(changes={"TMPDIR": "/nowhere", "HOME": "/nowhere"}, fired=lambda _: (True, False))
    assert not harness.play(cell, scenario, how).broken, cell
