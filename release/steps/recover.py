"""Recover: finishes what an interrupted run left. The journal and the list of transfers together tell what happened.

A restore takes the journal's row back to what the dump held. So a row in `backing_up` beside a newer restore means that
this restore has happened. A run that was cut off before its migration has changed nothing. One that was cut off later
is undone only when nobody else can lose by it, or when somebody says so.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec.structs import replace

from release.clock import Interrupted
from release.database import evidence
from release.database.comparison import Comparison, Verdict
from release.database.entry import Entry, State
from release.database.fingerprint import Fingerprint
from release.database.outset import Outset
from release.errors import Outcome, Reason, Refused, ReleaseError, StepFailed
from release.heroku.exactly_once import SETTLE
from release.heroku.http import HerokuError
from release.heroku.transfers import Transfer
from release.protected import fence, lock, transfers
from release.protected.before import BackedUp
from release.protected.changes import changed_since, figures
from release.protected.judgement import LogRead
from release.protected.locate import find_target
from release.protected.lock import reconnect
from release.protected.proof import Undecided, prove
from release.protected.sessions import end_ghosts
from release.protected.target import Target, restores
from release.run import Ending, Run, ended
from release.settings.model import Backup, FenceMode, Guard
from release.steps import restore
from release.steps.keep import keep
from release.steps.unfinished import unfinished

EXIT_WITHIN = 15.0
"""Seconds within which a recovery that was told to stop has to end."""

GOES_ON = "`release-phase recover`, or the next release, goes on. The site stays in maintenance mode until then."

RECOVERED = frozenset({Outcome.RELEASED, Outcome.UNTOUCHED, Outcome.RESTORED, Outcome.KEPT})
"""Endings of an earlier run after which the database is as it was, or as somebody decided. `recover` exits with 0."""


class Choice(StrEnum):
    """What the operator wants done with the changes of an interrupted run."""

    RESTORE = "restore"
    KEEP = "keep"


def recover(run: Run, choice: Choice | None, run_id: str | None) -> Ending:
    """Finishes what is unfinished, as the command `recover` does. That there is nothing to do is a good end.

    `run_id` is the run that handed over, if one did.
    """
    with run.step("prepare") as within:
        if run_id:
            _give_sign_of_life(within, run_id)
        lock.connect(within)
    ending = finish_earlier(run, choice, decided=run_id) or _finish_restore(run, choice, run_id)
    if ending is None:
        return Ending(outcome=None, exit_code=0, reason=Reason.NOTHING_TO_RECOVER)
    return replace(ending, exit_code=0) if ending.outcome in RECOVERED and "fence" not in ending.facts else ending


def _finish_restore(run: Run, choice: Choice | None, run_id: str | None) -> Ending | None:
    """Waits for a restore under way, which has taken the journal away, and finishes the run that it brings back."""
    if run.settings.backup is Backup.OFF:
        return None
    target = find_target(run)
    reconnect(run)
    if ending := finish_earlier(run, choice, decided=run_id):
        return ending
    broken_off = half_restored(run, target)
    return _load_again(run, target, broken_off, Choice.RESTORE if run_id else choice) if broken_off else None


def _give_sign_of_life(run: Run, run_id: str) -> None:
    """Tells the run that hands over, through its row, that this one is there."""
    try:
        run.journal.sign_of_life(run_id)
    except StepFailed as error:  # a restore may be replacing the database at this moment; it is waited for later
        run.warn("sign_of_life_failed", str(error))


def finish_earlier(run: Run, choice: Choice | None = None, *, decided: str | None = None) -> Ending | None:
    """Finishes an earlier run. Returns None when there is none. `decided` is the run that had decided to restore.

    Raises Refused (unfinished_run) when only a person can decide.
    """
    entry = unfinished(run)
    return None if entry is None else finish(run, entry, choice, decided=decided)


def finish(run: Run, entry: Entry, choice: Choice | None = None, *, decided: str | None = None) -> Ending | None:
    """Finishes the earlier run of this row, as `finish_earlier` does. None: it was finished meanwhile."""
    with run.step("recover") as within:
        earlier = replace(within, id=entry.run_id)
        if choice is Choice.KEEP:
            return keep(earlier, entry, _cut_off(entry), lambda: _find_again(within, entry))
        if run.settings.backup is Backup.OFF:
            run.warn(
                "unfinished_run", f"the run {entry.run_id} was cut off; with RELEASE_BACKUP=off it is left as it is"
            )
            ending = Ending(outcome=Outcome.KEPT, exit_code=0)
            restore.close(earlier, None, ending)
            return ending
        try:
            target, current = _find_again(within, entry)
        except (HerokuError, Interrupted) as failure:
            if entry.state not in {State.RESTORING, State.LOADING}:
                raise
            return ended(Outcome.RESTORE_FAILED, failure, hint=GOES_ON)
        if current is None:
            return None
        earlier = replace(within, id=current.run_id)
        return _settle(earlier, target, current, choice, decided=decided == current.run_id)


def _find_again(run: Run, entry: Entry) -> tuple[Target, Entry | None]:
    """Finds the add-on and the row once no restore is under way, nor can begin any more.

    The row is None where a restore broke off, which has taken it away.
    """
    target = find_target(run)
    current = _reread_row(run, entry, target)
    if current is None or current.state is not State.LOADING:
        return target, current
    late = SETTLE - run.journal.age(current.run_id)
    if late <= 0:
        return target, current
    run.warn("restore_unknown", f"a restore was about to be asked for; for {late:.0f} s it may still begin")
    run.clock.sleep(run.deadline.clamp(late))
    target = find_target(run)
    return target, _reread_row(run, entry, target)


def _reread_row(run: Run, entry: Entry, target: Target) -> Entry | None:
    """Reads the row again, since a restore that was waited for has taken it back and ended this session.

    Only the target tells whether the row is this app's. Where it is another's, this app's own unfinished one is read.
    """
    reconnect(run)
    app, addon = target.app, target.addon
    current = run.journal.entry(entry.run_id)
    if current is None or current.belongs(app.id, addon.id, app=app.name):
        return current
    return run.journal.unfinished(app.id, addon.id, app=app.name)


def _settle(run: Run, target: Target, entry: Entry, choice: Choice | None, *, decided: bool) -> Ending:
    """Finishes the run of a row. Never says `untouched` while a restore of it may be under way."""
    try:
        return _settle_by_state(run, target, entry, choice, decided=decided)
    except Refused:
        raise
    except (ReleaseError, Interrupted) as failure:
        ending = _broken_off(run, target, entry, failure)
        if ending is None:
            raise
        return ending


def _settle_by_state(run: Run, target: Target, entry: Entry, choice: Choice | None, *, decided: bool) -> Ending:
    """Finishes the run by what its row and the newest restore say. Raises Refused where only a person can decide."""
    cause = _cut_off(entry)
    newest = _newest_restore(target, entry.baseline or 0)
    if entry.state is State.FINISHED:  # cut off after its end: only the fence is left
        ending = ended(Outcome(entry.outcome or Outcome.UNTOUCHED))
        return restore.lowered(run, target, ending)
    if entry.state is State.BACKING_UP and newest is None:  # cut off before its migration began
        return restore.close(run, target, ended(Outcome.UNTOUCHED, cause))
    if newest is not None and newest.writes(target.source) is None and choice is None:
        raise Refused(  # proving, and restoring where that fails, is for a database that was surely overwritten
            Reason.UNFINISHED_RUN,
            f"the run {entry.run_id} is unfinished, and Heroku does not say which database {newest.name} has loaded",
        )
    backup = _earlier_backup(run, target, entry, newest)
    if newest is not None and entry.state is State.BACKING_UP:  # the restore brought the row back
        return _conclude(run, backup, entry, newest, choice, decided=decided)
    return _undo_or_ask(run, backup, entry, newest, choice, decided=decided)


def _broken_off(run: Run, target: Target, entry: Entry, failure: ReleaseError | Interrupted) -> Ending | None:
    """Returns how a recovery ends that was stopped or failed. None where surely no restore was asked for."""
    run.signals.acknowledge()
    run = replace(run, deadline=run.deadline.within(EXIT_WITHIN))
    target.session.deadline = run.deadline
    try:
        requested = restores(target.store.listed(), target.source, after=entry.baseline or 0)
        current = run.journal.entry(run.id)
    except ReleaseError as error:
        run.warn("restore_unknown", str(error))
        requested, current = [], None
    newest = requested[-1] if requested else None
    if newest is not None and not newest.finished:
        return ended(Outcome.HANDED_OVER, failure, restore=newest.name, hint=transfers.goes_on(newest))
    if newest is None and current is not None and current.state not in {State.RESTORING, State.LOADING}:
        return None
    return ended(Outcome.RESTORE_FAILED, failure, restore=newest.name if newest else None, hint=GOES_ON)


def _undo_or_ask(
    run: Run, backup: BackedUp, entry: Entry, newest: Transfer | None, choice: Choice | None, *, decided: bool
) -> Ending:
    """Undoes a migration that had begun, where nobody can lose by it or where that was decided. Else raises Refused."""
    unsettled = end_ghosts(run, run.id)
    target, cause = backup.target, _cut_off(entry)
    comparison = changed_since(run, backup, unsettled=unsettled)
    if comparison.verdict is Verdict.UNCHANGED:
        return restore.close(run, target, ended(Outcome.UNTOUCHED, cause, backup=backup.name))
    fenced = entry.state in {State.RESTORING, State.LOADING} and fence.is_up(target, entry)
    foreign = _foreign_backup(target, newest, backup)
    sealed = backup.sealed and restore.why_kept(run, comparison) is None
    if choice is Choice.RESTORE or ((decided or sealed or fenced) and foreign is None):
        run.journal.announce(run.id, State.RESTORING)
        return restore.carry_out(run, backup, comparison, cause)
    raise _refusal(entry, backup, comparison, foreign)


def _cut_off(entry: Entry) -> StepFailed:
    """Returns the failure of the earlier run, as the cause of how it is ended now."""
    return StepFailed(
        Reason.CUT_OFF,
        f"the run {entry.run_id} of release {entry.release or '?'}, started {entry.started_at}, was cut off"
        f" in the state {entry.state}",
        run=entry.run_id,
    )


def _newest_restore(target: Target, baseline: int) -> Transfer | None:
    return next(reversed(restores(target.transfers, target.source, after=baseline)), None)


def _loaded_backup(target: Target, restored: Transfer | None) -> Transfer | None:
    """Returns the backup that a restore loaded, where the list tells."""
    if restored is None or not restored.from_url:
        return None
    return next((transfer for transfer in target.transfers if transfer.is_backup and restored.loads(transfer)), None)


def _foreign_backup(target: Target, newest: Transfer | None, backup: BackedUp) -> str | None:
    """Returns the name of another backup that somebody has restored since, with which the journal's row came back."""
    source = _loaded_backup(target, newest)
    return source.name if source and newest and newest.succeeded and source.uuid != backup.uuid else None


def _earlier_backup(run: Run, target: Target, entry: Entry, newest: Transfer | None) -> BackedUp:
    """Returns the earlier run's backup: the journal's, or, when a restore took the row back, the one that was loaded.

    The dump that holds the row in `backing_up` was made after the row was written, so it cannot be an older backup.
    Raises Refused (unfinished_run) where the backup or its fingerprint is gone.
    """
    document = run.journal.fingerprint(entry.run_id)
    if entry.backup:
        taken = next((transfer for transfer in target.transfers if transfer.uuid == entry.backup), None)
    else:
        taken = _loaded_backup(target, newest)
        if taken and taken.number <= (entry.baseline or 0):
            taken = None
    if document is None or taken is None:
        raise Refused(
            Reason.UNFINISHED_RUN,
            f"the run {entry.run_id} is unfinished, and its {'fingerprint' if taken else 'backup'} cannot be found",
        )
    before = Fingerprint.from_json(document)
    outset = Outset.from_json(run.journal.outset(entry.run_id))
    return BackedUp(
        uuid=taken.uuid,
        name=taken.name,
        seconds=taken.seconds or 0.0,
        before=before,
        outset=outset,
        sealed=_is_sealed(target, entry, before, outset),
        target=target,
    )


def _is_sealed(target: Target, entry: Entry, before: Fingerprint, outset: Outset) -> bool:
    """Whether nobody else can have written since the backup, by what Heroku and the counters say now.

    Where a restore took the outset away, nothing says whether the fence held while the backup was taken.
    """
    held = outset.known and not evidence.compare(before.evidence, outset.evidence).written
    return entry.fence == FenceMode.RELEASE and fence.is_up(target, entry) and held


def _conclude(
    run: Run, backup: BackedUp, entry: Entry, newest: Transfer, choice: Choice | None, *, decided: bool
) -> Ending:
    """Judges and proves a restore that has happened, as strictly as one's own, or restores once more.

    It restores unasked only while the fence is up, since otherwise people may have written in the meantime.
    """
    target, cause = backup.target, _cut_off(entry)
    try:
        if not newest.succeeded:
            raise StepFailed(Reason.RESTORE_FAILED, f"{newest.name} did not succeed")
        log_read = LogRead(run, target, newest)
        with log_read.telling():
            prove(run, backup, None, log_read=log_read)
    except ReleaseError as error:
        run.warn("restore_unproved", str(error))
        may_restore = choice is Choice.RESTORE or decided or fence.is_up(target, entry)
        if isinstance(error, Undecided) or not may_restore:
            return restore.not_restored(run, backup, error, cause, transfer=newest)
        return restore.carry_out(run, backup, None, cause)
    ending = ended(Outcome.RESTORED, cause, backup=backup.name, restore=newest.name)
    return restore.close(run, target, ending, salvage=_salvage_by_place(backup, newest))


def _salvage_by_place(backup: BackedUp, restored: Transfer) -> str | None:
    """Names the salvage of a run that was killed while it restored, which has taken the name out of its row."""
    own = backup.target.own_backups()
    first = next((each.number for each in own if each.uuid == backup.uuid), restored.number)
    return next((each.name for each in own if first < each.number < restored.number), None)


def _refusal(entry: Entry, backup: BackedUp, comparison: Comparison, foreign: str | None) -> Refused:
    """Returns the refusal that tells a person all that the decision depends on."""
    return Refused(
        Reason.UNFINISHED_RUN,
        what_is_left(entry, backup.name, comparison) + (f"; somebody has restored {foreign} since" if foreign else ""),
        run=entry.run_id,
        backup=backup.name,
        differences=[str(difference) for difference in comparison.differences],
        written=figures(comparison),
    )


def what_is_left(entry: Entry, backup: str, comparison: Comparison) -> str:
    """Says what a run that was cut off has changed, and what was written since."""
    changed = "; ".join(str(difference) for difference in comparison.differences[:10]) or "no schema change"
    written = ", ".join(f"{table} ({figures})" for table, figures in sorted(comparison.written.items())[:10])
    return (
        f"run {entry.run_id} (release {entry.release or '?'}) was cut off in {entry.state}; changed since: {changed};"
        f" rows written since, by it or by others: {written or 'none'}; its backup: {backup}"
    )


def reappeared(run: Run, target: Target) -> Ending | None:
    """Finishes an earlier run that came back into the journal with a restore that was waited for, if one did.

    Raises Refused (unfinished_restore) when the newest restore did not succeed and no run has accepted that since.
    """
    if ending := finish_earlier(run):
        return ending
    if broken_off := half_restored(run, target):
        refusal = Refused(Reason.UNFINISHED_RESTORE, f"{broken_off.name} did not succeed")
        run.guard(Guard.UNFINISHED_RESTORE, refusal)
    return None


def half_restored(run: Run, target: Target) -> Transfer | None:
    """Returns the newest restore, if it did not succeed and no run has accepted the database since."""
    newest = _newest_restore(target, 0)
    if newest is None or newest.succeeded:
        return None
    own = [entry for entry in run.journal.runs(limit=50) if entry.belongs(target.app.id, target.addon.id)]
    accepted = max((entry.baseline or 0 for entry in own), default=0)
    return newest if newest.number > accepted else None


def _load_again(run: Run, target: Target, broken_off: Transfer, choice: Choice | None) -> Ending:
    """Loads the same backup again after a restore that broke off, which took the journal away, and finishes its run."""
    source = _loaded_backup(target, broken_off)
    if choice is not Choice.RESTORE or source is None:
        raise Refused(
            Reason.UNFINISHED_RESTORE,
            f"{broken_off.name} did not succeed; "
            + (f"its source is {source.name}" if source else "its source is gone"),
        )
    transfers.restore(run, target, source)
    reconnect(run)
    return finish_earlier(run) or ended(Outcome.RESTORED, None, backup=source.name)
