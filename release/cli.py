"""The door: arguments and environment come in here only, and the exit code leaves here."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence

from release.clock import Clock, Signals
from release.edge import Edge
from release.log.sink import settle_standard_streams
from release.run import Ending, Run


def main(
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
    clock: Callable[[Signals], Clock] = Clock,
) -> int:
    """Runs the release phase, or the command that is named, and returns the exit code.

    The parameters are for tests. Their defaults are the process's own.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    environ = dict(os.environ if environ is None else environ)
    with Signals() as signals:
        edge = Edge(environ=environ, signals=signals, clock=clock(signals))
        code = _run_command(words, edge) if words else edge(_run_release)
    settle_standard_streams()
    return code


def _run_release(run: Run) -> Ending:
    from release.phase import release_phase  # noqa: PLC0415 -- inside the edge, a broken installation has an outcome, too

    return release_phase(run)


def _run_command(words: Sequence[str], edge: Edge) -> int:
    from release.commands.command_line import command  # noqa: PLC0415 -- a release needs neither this nor click

    return command(words, edge)
