"""The whole release phase: prepare, back up, migrate, probe and finish, or undo when a step fails.

What a failure means for the database depends on where it happened, and that is decided here. In `prepare` and `backup`
nothing was changed. From `migrate` on, `undo` restores, or proves that it need not. Once `finish` has written
`released` into the journal, nothing may undo it any more.
"""

from __future__ import annotations

from release.clock import Interrupted
from release.errors import Outcome, ReleaseError
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

    from release.steps import change as step  # noqa: PLC0415 -- half of the hook, which the release above spares

    commands, target, backup = prepared.commands, prepared.target, None
    try:
        with run.step("backup") as within:
            backup = step.back_up(within, target)
        if prepared.stage:
            with run.step("rehearse") as within:
                backup = step.rehearse(within, commands, backup, prepared.stage)
        with run.step("migrate") as within:
            step.migrate(within, commands, backup)
        with run.step("probe") as within:
            step.probe(within, commands, backup)
        with run.step("finish") as within:
            return step.finish(within, target, backup, commands, prepared.code)
    except (ReleaseError, Interrupted) as failure:
        if backup is None:
            return step.give_up(run, target, failure)
        with run.step("restore") as within:
            return step.undo(within, backup, failure)
