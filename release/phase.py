"""The whole release phase: prepare, and where something is pending, change the database (change.py). Else probe.

An error of the preparation changes nothing. What any later one means is decided in change.py.
"""

from __future__ import annotations

from release.errors import Outcome
from release.probes.configured import run_configured
from release.protected import lock
from release.run import Ending, Run, ended
from release.steps.prepare import prepare


def release_phase(run: Run) -> Ending:
    """Runs the release phase. An error that it raises comes from the preparation: nothing was changed."""
    with run.step("prepare") as within:
        prepared = prepare(within)
        if isinstance(prepared, Ending):
            return prepared

    if not prepared.pending:
        with run.step("probe") as within:
            run_configured(within)
            lock.check_still_there(within)
        return ended(Outcome.RELEASED)

    from release.change import change  # noqa: PLC0415 -- most of the hook, which a release with nothing pending spares

    return change(run, prepared)
