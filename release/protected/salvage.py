"""Salvage: captures the failed state before a restore overwrites it."""

from __future__ import annotations

from release.database.comparison import Comparison
from release.database.entry import State
from release.errors import StepFailed
from release.heroku.http import HerokuError
from release.heroku.transfers import Transfer
from release.protected.before import BackedUp
from release.protected.changes import figures
from release.protected.latecomers import Latecomers
from release.protected.sessions import end_prepared
from release.protected.transfers import capture
from release.run import Run
from release.settings.model import Switch

AGAIN = 2
"""How often the failed state is captured once more at most, where somebody has written since."""


def salvage(run: Run, backup: BackedUp, comparison: Comparison, late: Latecomers) -> Transfer | None:
    """Captures the failed state, if that is possible. Returns None if not, which is a warning and stops no restore.

    What others have written since, in spite of the fence, is captured again.
    """
    try:
        kept = _capture(run, backup, late, earlier=0)
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
    return _capture_again(run, backup, late, kept)


class Unsalvaged(Exception):
    """The error that says why the failed state is not captured."""


def _capture_again(run: Run, backup: BackedUp, late: Latecomers, kept: Transfer) -> Transfer:
    """Captures the failed state again while others have written since. Returns the last one, which holds all before."""
    for again in range(1, AGAIN + 1):
        late.read()
        tables = sorted(late.written())
        if not tables:
            break
        said = f"others have written to {', '.join(tables[:10])} since {kept.name}, in spite of the fence"
        try:
            run.warn("salvaged_again", f"{said}; the failed state is captured again", tables=tables[:100])
            kept = _capture(run, backup, late, earlier=again)
        except (HerokuError, StepFailed, Unsalvaged) as why:
            run.warn("not_salvaged", f"{why}; {said}", tables=tables[:100])
            break
    return kept


def _capture(run: Run, backup: BackedUp, late: Latecomers, *, earlier: int) -> Transfer:
    """Captures the failed state, unless that would cost the backup that is to be restored, or the restore's time.

    `earlier` is how many salvages of this run there are. Raises Unsalvaged, StepFailed or HerokuError.
    """
    if run.settings.salvage is Switch.OFF:
        raise Unsalvaged("RELEASE_SALVAGE=off")
    target = backup.target
    keep = next((each.num_keep for each in target.store.transfers(run) if each.uuid == backup.uuid), None)
    if keep is not None and keep < 2 + earlier:  # the backup and its salvages
        raise Unsalvaged(f"Heroku keeps {keep} backup of this plan; the salvage would rotate it out")
    share = (run.deadline.left() - backup.restore_seconds) / 2  # a salvage that hangs must leave the restore its time
    if share < backup.seconds:
        raise Unsalvaged(f"there is no time: the restore leaves it {max(share, 0):.0f} s")

    def begun(started: Transfer) -> None:
        run.journal.announce(run.id, State.RESTORING, salvage=started.uuid)
        ask_ahead()

    def ask_ahead() -> None:
        target.store.ask(run, backup.uuid)  # the restore needs these as soon as the salvage has ended

    end_prepared(run, backup.outset.evidence)
    began = late.read()
    taken = capture(
        run,
        target,
        kind="salvage",
        deadline=run.deadline.within(share),
        begun=begun,
        ending=ask_ahead,
        meanwhile=late.stay,
    )
    late.began = began
    return taken
