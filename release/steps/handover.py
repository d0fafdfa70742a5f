"""Hand over: Heroku gives 30 s between SIGTERM and SIGKILL, and a restore takes longer than that.

A one-off dyno (`recover`) takes over once it has given a sign of life in the journal. Where it is refused or stays
silent (the running release may not know this hook yet), the restore is asked for here. That restore goes on at Heroku,
and the next run proves it.
"""

from __future__ import annotations

import re
import shlex
import time
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from release import program
from release.app import procfile
from release.clock import Deadline, Interrupted
from release.database import evidence
from release.database.others import others
from release.errors import Outcome, ReleaseError, StepFailed
from release.heroku.http import HerokuError
from release.heroku.transfers import Transfer
from release.log.events import Event
from release.protected import fence
from release.protected.before import BackedUp, Before
from release.protected.transfers import find_backup, goes_on, requested_restores, start_restore
from release.retry import TimedOut, wait_until
from release.run import HOOKS, Ending, Run, ended
from release.settings.model import FenceMode
from release.steps import restore
from release.steps.restore import announce

EXIT_WITHIN = 20.0
"""Seconds from the signal to the decision. Heroku kills after 30 (https://devcenter.heroku.com/articles/dynos#shutdown)."""

AT_LEAST = 8.0
"""Seconds that the decision gets at least."""

SIGN_OF_LIFE_WITHIN = 11.0
"""Seconds from the signal within which the dyno has to show up in the journal."""

TIME_TO_LIVE = 6 * 3600
"""Seconds that the dyno may live: a large restore may take hours, for which it only waits."""


def hand_over(run: Run, backup: Before, interruption: Interrupted) -> Ending:
    """Ends an interrupted run in time, with the recovery in other hands or proved needless."""
    run.signals.acknowledge()
    run.log.hurry()
    run.log.warning(Event.SIGNAL_RECEIVED, signal=interruption.signal_name)
    run = replace(run, deadline=Deadline(run.clock, _seconds_left(run)))
    run.database.deadline = run.deadline
    try:
        if backup.target is None:
            found = restore.assess(run, backup, interruption)
            assert isinstance(found, Ending)  # noqa: S101 -- without a backup, assess ends the run
            return found
        backup.target.session.deadline = run.deadline
        return _recover_elsewhere(run, backup, interruption)
    except ReleaseError as error:
        return restore.not_restored(run, backup, error, interruption)


def _seconds_left(run: Run) -> float:
    """Returns the seconds until the decision. To stop the command, or to wait for a server, has taken some already."""
    received = run.signals.received
    return max(AT_LEAST, EXIT_WITHIN - (time.monotonic() - received.at)) if received else EXIT_WITHIN


def _recover_elsewhere(run: Run, backup: BackedUp, interruption: Interrupted) -> Ending:
    """Hands the restore over to a dyno, or to Heroku alone, unless it is needless or has to wait for a salvage."""
    running = restore_under_way(run, backup)
    if running is None:
        assessed = restore.assess(run, backup, interruption)
        if isinstance(assessed, Ending):
            return assessed
    dyno = _start_dyno(run, backup)
    if running is None and not _shows_up(run, dyno):
        if writers := others_wrote(run, backup):
            return _left_for_later(run, backup, interruption, writers)
        running = _post_restore(run, backup)
    return ended(
        Outcome.HANDED_OVER,
        interruption,
        backup=backup.name,
        restore=running.name if running else None,
        hint=(
            goes_on(running)
            if running
            else f"The dyno {dyno} restores the database; follow it with `heroku logs --dyno-name {dyno}`."
        ),
    )


def others_wrote(run: Run, backup: BackedUp) -> str | None:
    """Returns, in words, who else has written since the backup or may be writing. None where nobody is seen.

    What was written while the backup was being taken was not written by the migration. A session that is neither this
    hook's nor Heroku's may write at any moment. Raises Lost or Failed.
    """
    if backup.sealed:
        return None
    if written := evidence.compare(backup.before.evidence, backup.outset.evidence).written:
        return f"others have written to {', '.join(sorted(written)[:10])} while the backup was being taken"
    here = [other for other in others(run.database) if not other.heroku and not other.name.startswith(HOOKS)]
    return f"others are connected: {', '.join(map(str, here[:10]))}" if here else None


def _left_for_later(run: Run, backup: BackedUp, interruption: Interrupted, why: str) -> Ending:
    """Ends the run without a restore, which would lose what others wrote. There is no time to salvage it.

    The fence is raised and stays up, so that nothing more is written until the next run.
    """
    _raise_fence(run, backup)
    run.warn("restore_left", f"{why}. Without a salvage that would be lost, so no restore is asked for now")
    return ended(
        Outcome.RESTORE_FAILED,
        interruption,
        backup=backup.name,
        hint="Run `release-phase recover`, or release again. Either takes the salvage and restores the backup. The site"
        " stays in maintenance mode until then.",
    )


def restore_under_way(run: Run, backup: BackedUp) -> Transfer | None:
    """Returns the restore that this run has already asked for, if the signal came during it, or before its proof."""
    requested = requested_restores(backup.target)
    if not requested:
        return None
    newest = requested[-1]
    run.log.info(Event.TRANSFER_PROGRESSED, kind="restore", transfer=newest.name, bytes=newest.size)
    return newest


def _start_dyno(run: Run, backup: BackedUp) -> str | None:
    """Starts the dyno that recovers. Returns its name, or None where Heroku refuses, which is a warning."""
    command = backup.target.app.one_off(f"{hook_command(run.folder)} recover --run {run.id}")
    try:
        dyno = backup.target.site.platform.run(command, {}, time_to_live=TIME_TO_LIVE)
    except HerokuError as error:
        run.warn("handover_refused", str(error))
        return None
    run.log.info(Event.HANDOVER_STARTED, dyno=dyno.name, command=command)
    return dyno.name


def hook_command(folder: Path) -> str:
    """Returns how the app starts this hook: by its Procfile's `release`, unless only a shell understands that."""
    line = procfile.command(folder, "release")
    if line and not re.search(r"[;&|<>$`\\()]", line):  # no operators, redirections or expansions of a shell
        with suppress(ValueError):  # a quotation mark that is not closed
            return shlex.join(shlex.split(line))
    return "bin/release" if program.is_checkout(folder) else program.in_dyno()


def _shows_up(run: Run, dyno: str | None) -> bool:
    """Whether the dyno gives its sign of life in the journal in time."""
    if dyno is None:
        return False
    try:
        return wait_until(
            lambda: run.journal.recovery_seen(run.id),
            name=f"the sign of life of {dyno}",
            until=bool,
            pause=0.25,
            sleep=run.clock.sleep,
            # Both are counted from the signal: what lies between them is kept for asking Heroku here.
            deadline=run.deadline.within(run.deadline.left() - (EXIT_WITHIN - SIGN_OF_LIFE_WITHIN)),
        )
    except TimedOut:
        run.warn("handover_silent", f"{dyno} has given no sign of life; the restore is asked for here")
        return False


def _post_restore(run: Run, backup: BackedUp) -> Transfer:
    """Raises the fence as far as that goes, then asks for the restore. Returns it without a wait."""
    _raise_fence(run, backup)
    source = find_backup(run, backup.target, backup.uuid)
    return start_restore(run, backup.target, source, lambda: announce(run))


def _raise_fence(run: Run, backup: BackedUp) -> None:
    """Raises the fence if it is wanted and not up. A failure is a warning, because the restore matters more."""
    if run.settings.fence is FenceMode.OFF or backup.sealed:
        return
    try:
        fence.put_up(run, backup.target, FenceMode.RESTORE)
    except (HerokuError, StepFailed) as error:
        run.warn("fence_not_raised", str(error))
