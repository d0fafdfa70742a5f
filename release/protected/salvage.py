"""Salvage: a backup of the failed state, taken before it is overwritten."""

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
    """Captures the failed state, if it can: its failure keeps no restore away, and is said as loudly as it matters."""
    try:
        return _capture(run, backup)
    except (HerokuError, StepFailed, Unsalvaged) as why:
        if not backup.sealed and comparison.written:
            run.warn(
                "not_salvaged",
                f"{why}; rows written since the backup will be lost where they were not the migration's own",
                written=figures(comparison),
            )
        else:
            run.warn("not_salvaged", f"{why}; nobody else has written since the backup")
        return None


class Unsalvaged(Exception):
    """Why the failed state is not captured."""


def _capture(run: Run, backup: BackedUp) -> Transfer:
    """Never at the price of the backup that is to be restored, nor of its time."""
    if run.settings.salvage is Switch.OFF:
        raise Unsalvaged("RELEASE_SALVAGE=off")
    target = backup.target
    newest = target.store.transfer(run, backup.uuid)
    if newest.num_keep is not None and newest.num_keep < 2:  # noqa: PLR2004 -- the backup and its salvage
        raise Unsalvaged(f"Heroku keeps {newest.num_keep} backup of this plan; the salvage would rotate it out")
    share = (run.deadline.left() - backup.restore_seconds) / 2  # one that hangs must not take the restore's time
    if share < backup.seconds:
        raise Unsalvaged(f"no time: it may take {max(share, 0):.0f} s, for the restore's sake")
    end_prepared(run, backup.outset.evidence)
    return capture(
        run,
        target,
        kind="salvage",
        deadline=run.deadline.within(share),
        begun=lambda started: run.journal.announce(run.id, State.RESTORING, salvage=started.uuid),
    )
