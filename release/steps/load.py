"""Load: the restore itself, asked of Heroku once and waited for."""

from __future__ import annotations

from collections.abc import Callable

from release.database.journal import State
from release.errors import Reason, StepFailed
from release.heroku.start import Request, start
from release.heroku.transfers import Transfer, harmless_warnings
from release.log import Event
from release.retry import TimedOut
from release.run import Run
from release.settings import FenceMode
from release.steps import fence
from release.steps.backup import BackedUp, find_backup, follow
from release.steps.migrate import still_ours
from release.steps.sessions import GHOSTS_GONE_WITHIN, end_prepared, reconnect, unsettled
from release.steps.target import Target, quiet_transfers, restores


def load(run: Run, backup: BackedUp) -> Transfer:
    """Restores the run's own backup, by uuid, onto its add-on, and waits. Raises StepFailed or HerokuError."""
    target = backup.target
    reconnect(run)
    end_prepared(run, backup.before)
    source = find_backup(target, backup.uuid)
    entry = unsettled(run)
    # A salvage of our own that hangs keeps nobody away: what comes now ends it.
    quiet_transfers(run, target.data, target.addon, target.source, ours=entry.salvage if entry else None)
    announce(run, backup)
    run.database.terminate(run.migration_name, clock=run.clock, deadline=run.deadline.within(GHOSTS_GONE_WITHIN))
    if run.settings.fence is not FenceMode.OFF:
        fence.end_sessions(run)
    return await_restore(run, target, ask(run, target, source, lambda: announce(run, backup)))


def announce(run: Run, backup: BackedUp) -> None:
    """Says that a restore is about to be asked for, if nobody else has the run in hand by now. Raises StepFailed."""
    still_ours(run, backup.identity)
    if unsettled(run):
        run.journal.announce(run.id, State.LOADING)


def asked_for(target: Target) -> list[Transfer]:
    """Restores onto the database that were asked for since the run began, the newest last."""
    return restores(target.data.transfers(target.addon), target.source, after=target.baseline)


def ask(run: Run, target: Target, source: Transfer, first: Callable[[], None] = lambda: None) -> Transfer:
    """Asks Heroku to restore a backup onto the add-on, exactly once. Raises StepFailed or HerokuError.

    `first` is done right before each request.
    """

    def post() -> Transfer:
        first()
        return target.data.restore(target.addon, source)

    listed = run.retried("GET transfers", lambda: target.data.transfers(target.addon))
    request = Request(
        name="POST restores",
        post=post,
        listed=lambda: target.data.transfers(target.addon),
        known=frozenset(each.uuid for each in listed),
        ours=lambda each: both(each.writes(target.source), each.loads(source)),
    )
    started = start(request, clock=run.clock, log=run.log, deadline=run.deadline)
    run.log.info(
        Event.TRANSFER_STARTED,
        kind="restore",
        transfer=started.name,
        source=source.name,
        expected=target.expected(restores=True),
        expected_bytes=source.size,
    )
    return started


def both(one: bool | None, other: bool | None) -> bool | None:
    """Whether both are so; None when that is not told."""
    return False if one is False or other is False else one and other


def await_restore(run: Run, target: Target, started: Transfer) -> Transfer:
    """Waits for a restore and accepts it, or not. Raises StepFailed (restore_failed) or HerokuError."""
    try:
        finished = follow(run, target, started, kind="restore", deadline=run.deadline)
    except TimedOut as error:
        raise StepFailed(Reason.RESTORE_UNFINISHED, f"{started.name}: {error}") from error
    if finished.succeeded is not True or finished.canceled_at:
        how = "was cancelled" if finished.canceled_at else "failed"
        raise StepFailed(Reason.RESTORE_FAILED, f"{finished.name} {how}", transfer=finished.name)
    if finished.warnings:
        logs = run.retried("GET transfer logs", lambda: target.data.logs(target.addon, finished.uuid))
        if not harmless_warnings(logs, finished.warnings):
            raise StepFailed(Reason.RESTORE_FAILED, f"{finished.name} finished with {finished.warnings} warnings")
    return finished
