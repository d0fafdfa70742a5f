"""Recover: finish what an interrupted run left. The journal and the list of transfers together tell what happened.

A restore takes the journal's row back to what the dump held, so a row in `backing_up` beside a newer restore means:
that restore happened. A run that was cut off before its migration changed nothing. One that was cut off later is
undone only when nobody else can lose by it, or when somebody says so.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from release.database.comparison import Comparison, Verdict
from release.database.fingerprint import Fingerprint
from release.database.journal import Entry, State
from release.errors import Outcome, Reason, Refused, ReleaseError, StepFailed
from release.heroku.start import SETTLE
from release.heroku.transfers import Transfer
from release.run import Ending, Run, ended
from release.settings import Backup, FenceMode, Guard
from release.steps import fence, prepare, restore
from release.steps.backup import BackedUp
from release.steps.load import ask, await_restore
from release.steps.prove import changed_since, figures, prove
from release.steps.sessions import no_ghosts, reconnect
from release.steps.target import Target, find, restores

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
        prepare.connect(within)
    ending = finish_earlier(run, choice, decided=run_id) or _finish_restore(run, choice, run_id)
    if ending is None:
        return Ending(outcome=None, exit_code=0, reason=Reason.NOTHING_TO_RECOVER)
    return replace(ending, exit_code=0) if ending.outcome in RECOVERED else ending


def _finish_restore(run: Run, choice: Choice | None, run_id: str | None) -> Ending | None:
    """A restore under way has taken the journal with it: it is waited for, and may bring an unfinished run back."""
    target = find(run)
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
    entry = run.journal.unfinished()
    if entry is None:
        return None
    with run.step("recover") as within:
        earlier = replace(within, id=entry.run_id)
        if run.settings.backup is Backup.OFF:
            run.warn(
                "unfinished_run", f"the run {entry.run_id} was cut off; RELEASE_BACKUP=off, so it is left as it is"
            )
            ending = Ending(outcome=Outcome.KEPT, exit_code=0)
            restore.close(earlier, None, ending)
            return ending
        target, now = _look(within, entry)
        return _settle(earlier, target, now, choice, decided=decided == now.run_id) if now else None


def _look(run: Run, entry: Entry) -> tuple[Target, Entry | None]:
    """Add-on and row once no restore is under way, nor can begin any more. The row is gone where one broke off."""
    target, now = find(run), _again(run, entry)
    if now is None or now.state is not State.LOADING:
        return target, now
    late = SETTLE - run.journal.age(now.run_id)
    if late <= 0:
        return target, now
    run.warn("restore_unknown", f"a restore was about to be asked for; for {late:.0f} s it may still begin")
    run.clock.sleep(run.deadline.clamp(late))
    return find(run), _again(run, entry)


def _again(run: Run, entry: Entry) -> Entry | None:
    """The row, read again: a restore that was waited for has taken it back, and ended this session."""
    reconnect(run)
    return run.journal.entry(entry.run_id)


def _settle(run: Run, target: Target, entry: Entry, choice: Choice | None, *, decided: bool) -> Ending:
    cause = _cause(entry)
    newest = _newest_restore(target, entry.baseline or 0)
    if entry.state is State.FINISHED:  # cut off after its end: only the fence is left
        fence.lower(run, target)
        return ended(Outcome(entry.outcome or Outcome.UNTOUCHED))
    if entry.state is State.BACKING_UP and newest is None:  # cut off before its migration began
        return _close(run, target, ended(Outcome.UNTOUCHED, cause))
    if newest is not None and newest.writes(target.source) is None and choice is None:
        raise Refused(  # proving, and restoring where that fails, is for a database that was surely overwritten
            Reason.UNFINISHED_RUN,
            f"the run {entry.run_id} is unfinished, and Heroku does not say which database {newest.name} has loaded",
        )
    backup = _backup(run, target, entry, newest)
    if newest is not None and newest.succeeded and entry.state is State.BACKING_UP:
        return _conclude(run, backup, newest, cause)
    if newest is not None and entry.state is State.BACKING_UP:  # it broke off, but the journal was loaded already
        return restore.carry_out(run, backup, None, cause)
    return _undo_or_ask(run, backup, entry, newest, choice, decided=decided)


def _undo_or_ask(
    run: Run, backup: BackedUp, entry: Entry, newest: Transfer | None, choice: Choice | None, *, decided: bool
) -> Ending:
    """The migration had begun: undo it where nobody can lose by it, or where that was decided; else refuse."""
    no_ghosts(run, run.id)
    target, cause = backup.target, _cause(entry)
    comparison = changed_since(run, backup)
    if comparison.verdict is Verdict.UNCHANGED:
        return _close(run, target, ended(Outcome.UNTOUCHED, cause, backup=backup.name))
    if choice is Choice.KEEP:
        return _close(run, target, ended(Outcome.KEPT, cause, backup=backup.name))
    fenced = entry.state in {State.RESTORING, State.LOADING} and target.app.maintenance
    foreign = _foreign(target, newest, backup)
    if choice is Choice.RESTORE or ((decided or backup.sealed or fenced) and foreign is None):
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
    return next((each for each in target.transfers if each.is_backup and restored.loads(each)), None)


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
        found = next((each for each in target.transfers if each.uuid == entry.backup), None)
    else:
        found = _source(target, newest)
        if found and found.number <= (entry.baseline or 0):
            found = None
    if document is None or found is None:
        raise Refused(
            Reason.UNFINISHED_RUN,
            f"the run {entry.run_id} is unfinished, and its {'fingerprint' if found else 'backup'} is not to be found",
        )
    return BackedUp(
        uuid=found.uuid,
        name=found.name,
        seconds=found.seconds or 0.0,
        before=Fingerprint.from_json(document),
        identity=run.database.identity(),
        sealed=entry.fence == FenceMode.RELEASE,
        target=target,
    )


def _conclude(run: Run, backup: BackedUp, newest: Transfer, cause: StepFailed) -> Ending:
    """A restore has happened: prove it, or restore once more."""
    try:
        prove(run, backup)
    except ReleaseError as error:
        run.warn("restore_unproved", str(error))
        return restore.carry_out(run, backup, None, cause)
    return _close(run, backup.target, ended(Outcome.RESTORED, cause, backup=backup.name, restore=newest.name))


def _close(run: Run, target: Target, ending: Ending) -> Ending:
    restore.close(run, target, ending)
    return ending


def _refusal(entry: Entry, backup: BackedUp, comparison: Comparison, foreign: str | None) -> Refused:
    changed = "; ".join(str(each) for each in comparison.differences[:10]) or "no schema change"
    written = ", ".join(f"{table} ({figures})" for table, figures in sorted(comparison.written.items())[:10])
    return Refused(
        Reason.UNFINISHED_RUN,
        f"run {entry.run_id} (release {entry.release or '?'}) was cut off in {entry.state}; changed since: {changed};"
        f" rows written since, by it or by others: {written or 'none'}; its backup: {backup.name}"
        + (f"; somebody has restored {foreign} since" if foreign else ""),
        run=entry.run_id,
        backup=backup.name,
        differences=[str(each) for each in comparison.differences],
        written=figures(comparison),
    )


def reappeared(run: Run, target: Target) -> bool:
    """Whether an earlier run came back into the journal with a restore that was waited for; it is finished then.

    Raises Refused (unfinished_restore) when the newest restore did not succeed and no run has accepted that since.
    """
    if finish_earlier(run):
        return True
    if half := half_restored(run, target):
        run.guard(Guard.UNFINISHED_RESTORE, Refused(Reason.UNFINISHED_RESTORE, f"{half.name} did not succeed"))
    return False


def half_restored(run: Run, target: Target) -> Transfer | None:
    """The newest restore, when it did not succeed and no run has accepted the database since."""
    newest = _newest_restore(target, 0)
    if newest is None or newest.succeeded:
        return None
    accepted = max((entry.baseline or 0 for entry in run.journal.runs(limit=50)), default=0)
    return newest if newest.number > accepted else None


def _load_again(run: Run, target: Target, half: Transfer, choice: Choice | None) -> Ending:
    """A restore broke off and took the journal with it: load the same backup again, then finish from its row."""
    source = _source(target, half)
    if choice is not Choice.RESTORE or source is None:
        raise Refused(
            Reason.UNFINISHED_RESTORE,
            f"{half.name} did not succeed" + (f"; its source is {source.name}" if source else "; its source is gone"),
        )
    await_restore(run, target, ask(run, target, source))
    reconnect(run)
    return finish_earlier(run) or ended(Outcome.RESTORED, None, backup=source.name)
