"""Salvage: captures the failed state before a restore overwrites it."""

from __future__ import annotations

from release.database.comparison import Comparison
from release.database.journal import State
from release.errors import StepFailed
from release.heroku.http import HerokuError
from release.heroku.transfers import Transfer
from release.protected.before import BackedUp
from release.protected.changes import figures
from release.protected.sessions import end_prepared
from release.protected.transfers import capture
from release.run import Run
from release.settings.model import Switch


def salvage(run: Run, backup: BackedUp, comparison: Comparison) -> Transfer | None:
    """Captures the failed state, if that is possible. Returns None if not, which is a warning and stops no restore."""
    try:
        return _capture(run, backup)
    except (HerokuError, StepFailed, Unsalvaged) as why:
        if not backup.sealed and comparison.written:
            run.warn(
                "not_salvaged",
                f"{why}; rows that others have written since the backup will be lost",
                written=figures(comparison),
            )
        else:
            run.warn("not_salvaged", f"{why}; nobody else has written since the backup")
        return None


class Unsalvaged(Exception):
    """The error that says why the failed state is not captured."""


def _capture(run: Run, backup: BackedUp) -> Transfer:
    """Captures the failed state, unless that would cost the backup that is to be restored, or the restore's time.

    Raises Unsalvaged, StepFailed or HerokuError.
    """
    if run.settings.salvage is Switch.OFF:
        raise Unsalvaged("RELEASE_SALVAGE=off")
    target = backup.target
    newest = target.store.transfer(run, backup.uuid)
    if newest.num_keep is not None and newest.num_keep < 2:  # noqa: PLR2004 -- the backup and its salvage
        raise Unsalvaged(f"Heroku keeps {newest.num_keep} backup of this plan; the salvage would rotate it out")
    share = (run.deadline.left() - backup.restore_seconds) / 2  # a salvage that hangs must leave the restore its time
    if share < backup.seconds:
        raise Unsalvaged(f"there is no time: the restore leaves it {max(share, 0):.0f} s")
    end_prepared(run, backup.outset.evidence)
    return capture(
        run,
        target,
        kind="salvage",
        deadline=run.deadline.within(share),
        begun=lambda started: run.journal.announce(run.id, State.RESTORING, salvage=started.uuid),
    )
