"""Recover: finish what an interrupted run left. The journal and the list of transfers together tell what happened.

A restore takes the journal's row back to what the dump held, so a row in `backing_up` beside a newer restore means:
that restore happened. A run that was cut off before its migration changed nothing. One that was cut off later is
undone only when nobody else can lose by it, or when somebody says so.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from release.clock import Interrupted
from release.database import evidence
from release.database.comparison import Comparison, Verdict
from release.database.fingerprint import Fingerprint
from release.database.journal import Entry, State
from release.database.outset import Outset
from release.database.session import Failed, Lost
from release.errors import Outcome, Reason, Refused, ReleaseError, StepFailed
from release.heroku.exactly_once import SETTLE
from release.heroku.http import HerokuError
from release.heroku.transfers import Transfer
from release.protected import fence, lock, transfers
from release.protected.before import BackedUp
from release.protected.changes import changed_since, figures
from release.protected.judgement import judge
from release.protected.locate import find_target
from release.protected.lock import RECONNECT_WITHIN, reconnect, take_lock
from release.protected.proof import Undecided, prove
from release.protected.sessions import no_ghosts
from release.protected.target import Target, restores
from release.retry import wait_until
from release.run import Ending, Run, ended
from release.settings.model import Backup, FenceMode, Guard
from release.steps import restore
from release.steps.keep import keep

EXIT_WITHIN = 15.0
"""Seconds in which a recovery that was told to stop has to have ended."""

GOES_ON = "`bin/release recover`, or the next release, goes on; the site stays in maintenance mode until then."

RECOVERED = frozenset({Outcome.RELEASED, Outcome.UNTOUCHED, Outcome.RESTORED, Outcome.KEPT})
"""Endings of an earlier run after which the database is as it was, or as somebody decided: `recover` exits 0."""


class Choice(StrEnum):
    """What the operator wants done with the changes of an interrupted run."""

    RESTORE = "restore"
    KEEP = "keep"


def recover(run: Run, choice: Choice | None, run_id: str | None) -> Ending:
    """The command: finishes what is unfinished; nothing to do is a good end. `run_id`: the run that handed over."""
    with run.step("prepare") as within:
        if run_id:
            _sign_of_life(within, run_id)
        lock.connect(within)
    ending = finish_earlier(run, choice, decided=run_id) or _finish_restore(run, choice, run_id)
    if ending is None:
        return Ending(outcome=None, exit_code=0, reason=Reason.NOTHING_TO_RECOVER)
    return replace(ending, exit_code=0) if ending.outcome in RECOVERED and "fence" not in ending.facts else ending


def _finish_restore(run: Run, choice: Choice | None, run_id: str | None) -> Ending | None:
    """A restore under way has taken the journal with it: it is waited for, and may bring an unfinished run back."""
    if run.settings.backup is Backup.OFF:
        return None
    target = find_target(run)
    reconnect(run)
    if ending := finish_earlier(run, choice, decided=run_id):
        return ending
    half = half_restored(run, target)
    return _load_again(run, target, half, Choice.RESTORE if run_id else choice) if half else None


def _sign_of_life(run: Run, run_id: str) -> None:
    try:
        run.journal.sign_of_life(run_id)
    except StepFailed as error:  # a restore is replacing the database at this moment: that is what we came for
        run.warn("sign_of_life_failed", str(error))


def finish_earlier(run: Run, choice: Choice | None = None, *, decided: str | None = None) -> Ending | None:
    """Finishes an earlier run; None when there is none. `decided`: the run that had decided to restore.

    Raises Refused (unfinished_run) when only a person can decide.
    """
    entry = _unfinished(run)
    if entry is None:
        return None
    with run.step("recover") as within:
        earlier = replace(within, id=entry.run_id)
        if choice is Choice.KEEP:
            return keep(earlier, entry, _cause(entry), lambda: _look(within, entry))
        if run.settings.backup is Backup.OFF:
            run.warn(
                "unfinished_run", f"the run {entry.run_id} was cut off; RELEASE_BACKUP=off, so it is left as it is"
            )
            ending = Ending(outcome=Outcome.KEPT, exit_code=0)
            restore.close(earlier, None, ending)
            return ending
        try:
            target, now = _look(within, entry)
        except (HerokuError, Interrupted) as failure:
            if entry.state not in {State.RESTORING, State.LOADING}:
                raise
            return ended(Outcome.RESTORE_FAILED, failure, hint=GOES_ON)
        if now is None:
            return None
        return _settle(replace(within, id=now.run_id), target, now, choice, decided=decided == now.run_id)


def _unfinished(run: Run) -> Entry | None:
    """The row of a run that was cut off. A restore that begins at this moment ends the session that asks for it."""

    def sleep(seconds: float) -> None:
        run.clock.sleep(seconds)
        take_lock(run)

    return wait_until(
        lambda: run.journal.unfinished(run.settings.heroku_app_id),
        name="the journal",
        despite=(Lost, Failed),
        pause=0.5,
        deadline=run.deadline.within(RECONNECT_WITHIN),
        sleep=sleep,
        told=lambda error: run.warn("journal_unreadable", f"{error}; it is read again"),
    )


def _look(run: Run, entry: Entry) -> tuple[Target, Entry | None]:
    """Add-on and row once no restore is under way, nor can begin any more. The row is gone where one broke off."""
    target = find_target(run)
    now = _again(run, entry, target)
    if now is None or now.state is not State.LOADING:
        return target, now
    late = SETTLE - run.journal.age(now.run_id)
    if late <= 0:
        return target, now
    run.warn("restore_unknown", f"a restore was about to be asked for; for {late:.0f} s it may still begin")
    run.clock.sleep(run.deadline.clamp(late))
    target = find_target(run)
    return target, _again(run, entry, target)


def _again(run: Run, entry: Entry, target: Target) -> Entry | None:
    """The row, read again: a restore that was waited for has taken it back, and ended this session.

    Only here is known whether it is this app's; where it is another's, an older one that is unfinished is.
    """
    reconnect(run)
    app, addon = target.app, target.addon
    now = run.journal.entry(entry.run_id)
    if now is None or now.belongs(app.id, addon.id, app=app.name):
        return now
    return run.journal.unfinished(app.id, addon.id, app=app.name)


def _settle(run: Run, target: Target, entry: Entry, choice: Choice | None, *, decided: bool) -> Ending:
    """Finishes the run of a row. Never says `untouched` while a restore of it may be under way."""
    try:
        return _settled(run, target, entry, choice, decided=decided)
    except Refused:
        raise
    except (ReleaseError, Interrupted) as failure:
        ending = _broken_off(run, target, entry, failure)
        if ending is None:
            raise
        return ending


def _settled(run: Run, target: Target, entry: Entry, choice: Choice | None, *, decided: bool) -> Ending:
    cause = _cause(entry)
    newest = _newest_restore(target, entry.baseline or 0)
    if entry.state is State.FINISHED:  # cut off after its end: only the fence is left
        ending = ended(Outcome(entry.outcome or Outcome.UNTOUCHED))
        return ending if fence.lower(run, target) else restore.still_fenced(run, ending, target)
    if entry.state is State.BACKING_UP and newest is None:  # cut off before its migration began
        return restore.close(run, target, ended(Outcome.UNTOUCHED, cause))
    if newest is not None and newest.writes(target.source) is None and choice is None:
        raise Refused(  # proving, and restoring where that fails, is for a database that was surely overwritten
            Reason.UNFINISHED_RUN,
            f"the run {entry.run_id} is unfinished, and Heroku does not say which database {newest.name} has loaded",
        )
    backup = _backup(run, target, entry, newest)
    if newest is not None and entry.state is State.BACKING_UP:  # the restore brought the row back
        return _conclude(run, backup, entry, newest, choice, decided=decided)
    return _undo_or_ask(run, backup, entry, newest, choice, decided=decided)


def _broken_off(run: Run, target: Target, entry: Entry, failure: ReleaseError | Interrupted) -> Ending | None:
    """How a recovery ends that was stopped or failed; None where surely no restore was asked for."""
    run.signals.acknowledge()
    run = replace(run, deadline=run.deadline.within(EXIT_WITHIN))
    target.session.deadline = run.deadline
    try:
        asked = restores(target.store.listed(), target.source, after=entry.baseline or 0)
        now = run.journal.entry(run.id)
    except ReleaseError as error:
        run.warn("restore_unknown", str(error))
        asked, now = [], None
    newest = asked[-1] if asked else None
    if newest is not None and not newest.finished:
        hint = f"{newest.name} goes on at Heroku; `bin/release recover`, or the next release, proves it."
        return ended(Outcome.HANDED_OVER, failure, restore=newest.name, hint=hint)
    if newest is None and now is not None and now.state not in {State.RESTORING, State.LOADING}:
        return None
    return ended(Outcome.RESTORE_FAILED, failure, restore=newest.name if newest else None, hint=GOES_ON)


def _undo_or_ask(
    run: Run, backup: BackedUp, entry: Entry, newest: Transfer | None, choice: Choice | None, *, decided: bool
) -> Ending:
    """The migration had begun: undo it where nobody can lose by it, or where that was decided; else refuse."""
    unsettled = no_ghosts(run, run.id)
    target, cause = backup.target, _cause(entry)
    comparison = changed_since(run, backup, unsettled=unsettled)
    if comparison.verdict is Verdict.UNCHANGED:
        return restore.close(run, target, ended(Outcome.UNTOUCHED, cause, backup=backup.name))
    fenced = entry.state in {State.RESTORING, State.LOADING} and fence.is_up(target, entry)
    foreign = _foreign(target, newest, backup)
    sealed = backup.sealed and restore.is_wanted(run, comparison)
    if choice is Choice.RESTORE or ((decided or sealed or fenced) and foreign is None):
        run.journal.announce(run.id, State.RESTORING)
        return restore.carry_out(run, backup, comparison, cause)
    raise _refusal(entry, backup, comparison, foreign)


def _cause(entry: Entry) -> StepFailed:
    return StepFailed(
        Reason.CUT_OFF,
        f"the run {entry.run_id} of release {entry.release or '?'}, started {entry.started_at}, was cut off"
        f" in the state {entry.state}",
        run=entry.run_id,
    )


def _newest_restore(target: Target, baseline: int) -> Transfer | None:
    return next(reversed(restores(target.transfers, target.source, after=baseline)), None)


def _source(target: Target, restored: Transfer | None) -> Transfer | None:
    """The backup that a restore loaded, where the list tells."""
    if restored is None or not restored.from_url:
        return None
    return next((transfer for transfer in target.transfers if transfer.is_backup and restored.loads(transfer)), None)


def _foreign(target: Target, newest: Transfer | None, backup: BackedUp) -> str | None:
    """The name of another backup that somebody has restored since: the journal's row came back with it."""
    source = _source(target, newest)
    return source.name if source and newest and newest.succeeded and source.uuid != backup.uuid else None


def _backup(run: Run, target: Target, entry: Entry, newest: Transfer | None) -> BackedUp:
    """The earlier run's backup: from the journal, or, when a restore took the row back, that restore's source.

    The dump that holds the row in `backing_up` was made after it was written, so it cannot be an older backup.
    """
    document = run.journal.fingerprint(entry.run_id)
    if entry.backup:
        found = next((transfer for transfer in target.transfers if transfer.uuid == entry.backup), None)
    else:
        found = _source(target, newest)
        if found and found.number <= (entry.baseline or 0):
            found = None
    if document is None or found is None:
        raise Refused(
            Reason.UNFINISHED_RUN,
            f"the run {entry.run_id} is unfinished, and its {'fingerprint' if found else 'backup'} is not to be found",
        )
    before = Fingerprint.from_json(document)
    outset = Outset.from_json(run.journal.outset(entry.run_id))
    return BackedUp(
        uuid=found.uuid,
        name=found.name,
        seconds=found.seconds or 0.0,
        before=before,
        outset=outset,
        sealed=_sealed(target, entry, before, outset),
        target=target,
    )


def _sealed(target: Target, entry: Entry, before: Fingerprint, outset: Outset) -> bool:
    """Whether nobody else can have written since the backup, by what Heroku and the counters say now."""
    leaked = outset.evidence.epoch is not None and evidence.compare(before.evidence, outset.evidence).written
    return entry.fence == FenceMode.RELEASE and fence.is_up(target, entry) and not leaked


def _conclude(
    run: Run, backup: BackedUp, entry: Entry, newest: Transfer, choice: Choice | None, *, decided: bool
) -> Ending:
    """A restore has happened: judge and prove it as strictly as one's own, or restore once more.

    Not unasked where people may have written since: the fence has to be up.
    """
    target, cause = backup.target, _cause(entry)
    try:
        if not newest.succeeded:
            raise StepFailed(Reason.RESTORE_FAILED, f"{newest.name} did not succeed")
        prove(run, backup, None, log_read=judge(run, target, newest))
    except ReleaseError as error:
        run.warn("restore_unproved", str(error))
        again = choice is Choice.RESTORE or decided or fence.is_up(target, entry)
        if isinstance(error, Undecided) or not again:
            return restore.not_restored(run, backup, error, cause, transfer=newest)
        return restore.carry_out(run, backup, None, cause)
    return restore.close(run, target, ended(Outcome.RESTORED, cause, backup=backup.name, restore=newest.name))


def _refusal(entry: Entry, backup: BackedUp, comparison: Comparison, foreign: str | None) -> Refused:
    changed = "; ".join(str(difference) for difference in comparison.differences[:10]) or "no schema change"
    written = ", ".join(f"{table} ({figures})" for table, figures in sorted(comparison.written.items())[:10])
    return Refused(
        Reason.UNFINISHED_RUN,
        f"run {entry.run_id} (release {entry.release or '?'}) was cut off in {entry.state}; changed since: {changed};"
        f" rows written since, by it or by others: {written or 'none'}; its backup: {backup.name}"
        + (f"; somebody has restored {foreign} since" if foreign else ""),
        run=entry.run_id,
        backup=backup.name,
        differences=[str(difference) for difference in comparison.differences],
        written=figures(comparison),
    )


def reappeared(run: Run, target: Target) -> Ending | None:
    """How an earlier run ended that came back into the journal with a restore that was waited for, if one did.

    Raises Refused (unfinished_restore) when the newest restore did not succeed and no run has accepted that since.
    """
    if ending := finish_earlier(run):
        return ending
    if half := half_restored(run, target):
        run.guard(Guard.UNFINISHED_RESTORE, Refused(Reason.UNFINISHED_RESTORE, f"{half.name} did not succeed"))
    return None


def half_restored(run: Run, target: Target) -> Transfer | None:
    """The newest restore, when it did not succeed and no run has accepted the database since."""
    newest = _newest_restore(target, 0)
    if newest is None or newest.succeeded:
        return None
    own = [entry for entry in run.journal.runs(limit=50) if entry.belongs(target.app.id, target.addon.id)]
    accepted = max((entry.baseline or 0 for entry in own), default=0)
    return newest if newest.number > accepted else None


def _load_again(run: Run, target: Target, half: Transfer, choice: Choice | None) -> Ending:
    """A restore broke off and took the journal with it: load the same backup again, then finish from its row."""
    source = _source(target, half)
    if choice is not Choice.RESTORE or source is None:
        raise Refused(
            Reason.UNFINISHED_RESTORE,
            f"{half.name} did not succeed" + (f"; its source is {source.name}" if source else "; its source is gone"),
        )
    transfers.restore(run, target, source)
    reconnect(run)
    return finish_earlier(run) or ended(Outcome.RESTORED, None, backup=source.name)
