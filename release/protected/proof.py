"""The proof that a restored database is what its fingerprint says it was when the backup was taken.

Nothing is believed because Heroku says so. The structure has to be equal, and the restore has to have made every table
anew. Every table that held rows has to hold rows, and no sequence may stand behind where it stood. What a proof cannot
read because of a lock or a lost session is read again. Only a real difference is a reason to restore once more.
"""

from __future__ import annotations

from collections.abc import Sequence

from release.database import repair, rows
from release.database.comparison import Change, Comparison, Difference, same_structure
from release.database.entry import State
from release.database.evidence import Evidence
from release.database.fingerprint import Fingerprint
from release.database.put_back import put_back
from release.database.session import Failed, Lost, translated
from release.errors import Reason, StepFailed
from release.log.events import Event
from release.protected import fence
from release.protected.before import BackedUp, take_fingerprint
from release.protected.changes import warn_of_left_out
from release.protected.judgement import LogRead
from release.protected.lock import own_row, reconnect
from release.retry import wait_until
from release.run import Run
from release.settings.model import FenceMode, Guard

PROOF_WITHIN = 120.0
"""Seconds for which a proof that is disturbed is tried again."""

AGAIN_AFTER = 0.5
"""Seconds between two tries."""

SHOWN = 20
"""How many differences an error names at most."""

MOST_NOTES = 200
"""How many differences a warning lists at most."""

Added = Sequence[Difference] | None
"""What the failed migration has added, by the comparison before the restore. None where that is not known."""


class Undecided(StepFailed):
    """The failure of a proof that could not be made. Nothing is known to be wrong, so restoring again is no use."""


def prove(run: Run, backup: BackedUp, added: Added, *, log_read: LogRead) -> None:
    """Proves that the database is what it was when the backup was taken, and tidies up on the way.

    `log_read` is asked whether the restore's own log was read and complained of no lost rows. Raises StepFailed
    (restore_unproved), and Undecided where the database could not be read in time.
    """
    disturbed = False

    def attempt() -> None:
        if disturbed and run.settings.fence is not FenceMode.OFF:
            fence.end_sessions(run)
        reconnect(run, after_restore=True)
        _check_reset(run)
        # A lock that stays must not put the proof off for ever: after a disturbance, what is locked is left out.
        _prove_once(run, backup, added, log_read=log_read, partial=disturbed)

    def told(error: BaseException) -> None:
        nonlocal disturbed
        disturbed = True
        run.warn("proof_disturbed", f"{error}; the proof is made again")

    try:
        wait_until(
            attempt,
            name="the proof",
            despite=(Failed, Lost),
            pause=AGAIN_AFTER,
            sleep=run.clock.sleep,
            deadline=run.deadline.within(PROOF_WITHIN),
            told=told,
        )
    except (Failed, Lost) as error:
        raise Undecided(Reason.RESTORE_UNPROVED, f"it could not be read: {error}") from error


def _check_reset(run: Run) -> None:
    """Checks that the restore has taken the journal back, too. Raises StepFailed (restore_unproved)."""
    entry = own_row(run)
    if entry is None or entry.state is not State.BACKING_UP:
        state = entry.state if entry else "missing"
        raise StepFailed(Reason.RESTORE_UNPROVED, f"the journal's row is not the dump's, but {state}")


def _prove_once(run: Run, backup: BackedUp, added: Added, *, log_read: LogRead, partial: bool) -> None:
    """Makes the proof. With `partial`, what others keep locked is left out and named."""
    with translated():
        old = rows.not_made_anew(run.database.connection)
    if old:
        raise StepFailed(Reason.RESTORE_UNPROVED, f"not made anew by the restore: {', '.join(old[:SHOWN])}")
    restored = tidy_and_compare(run, backup.before, added, rows_must_match=backup.sealed, partial=partial)
    check_rows(run, backup, restored, log_read=log_read())
    _check_sequences(backup, restored.evidence)
    _analyze(run)


def tidy_and_compare(
    run: Run, before: Fingerprint, added: Added, *, rows_must_match: bool, partial: bool
) -> Fingerprint:
    """Compares, and tidies up first where something differs. Returns what the database is now.

    Raises StepFailed (restore_unproved), Failed or Lost.
    """
    current = take_fingerprint(run, partial=partial)
    comparison = _compare(run, before, current, rows_must_match=rows_must_match)
    # What a restore has filled anew cannot be made other than it is. Anything else may be tidied up.
    if comparison.differences or any(note.change is not Change.REMADE for note in comparison.notes):
        _tidy(run, before, added)
        current = take_fingerprint(run, partial=partial)
        comparison = _compare(run, before, current, rows_must_match=rows_must_match)
    wrong, strange = _sorted_out(comparison, added)
    warn_of_left_out(run, comparison)
    if current.unread:
        run.warn("relation_unknown", f"locked by somebody, and so not compared: {', '.join(current.unread[:SHOWN])}")
    if strange:
        run.warn("object_not_known", f"neither the backup's nor the migration's, left as it is: {', '.join(strange)}")
    if notes := [str(note) for note in comparison.notes]:
        named = notes[:MOST_NOTES]
        run.warn("not_as_before", f"what no backup carries differs: {', '.join(notes[:SHOWN])}", differences=named)
    run.log.info(Event.DATABASE_COMPARED, verdict="equal" if not wrong else "changed", differences=wrong)
    if wrong:
        raise StepFailed(Reason.RESTORE_UNPROVED, "; ".join(wrong[:SHOWN]), differences=len(wrong))
    return current


def _compare(run: Run, before: Fingerprint, current: Fingerprint, *, rows_must_match: bool) -> Comparison:
    foreign = Guard.OTHER_CREDENTIALS in run.settings.allow
    return same_structure(before, current, rows_must_match=rows_must_match, owners_may_differ=foreign)


def _sorted_out(comparison: Comparison, added: Added) -> tuple[list[str], list[str]]:
    """Sorts out the differences that are wrong, and those that somebody else has made since, which harm nobody."""
    if added is None:
        return [str(difference) for difference in comparison.differences], []
    ours = {(difference.kind, difference.name) for difference in added}
    strange = [
        str(difference)
        for difference in comparison.differences
        if difference.change is Change.ADDED
        and difference.kind in repair.WHOLE
        and (difference.kind, difference.name) not in ours
    ]
    return [str(difference) for difference in comparison.differences if str(difference) not in strange], strange


def _tidy(run: Run, before: Fingerprint, added: Added) -> None:
    """Removes what the failed migration left behind, and puts back what a backup cannot carry."""
    with translated():
        for removed in repair.remove_added(run.database.connection, before, added or ()):
            run.warn("unknown_object_removed", removed)
        for problem in put_back(run.database.connection, before):
            run.warn("not_put_back", problem)


def check_rows(run: Run, backup: BackedUp, current: Fingerprint, *, log_read: bool) -> None:
    """Checks that every table that surely held rows when the backup was taken holds rows. Raises StepFailed."""
    held, holding = set(backup.before.holding.held), current.holding
    empty = sorted((held & current.evidence.writes.keys()) - set(holding.held) - set(holding.unknown))
    # A table may have been emptied between fingerprint and dump. It was not where a row is older than both. Elsewhere
    # the log is believed, which names a table that could not be loaded. Without either, the worst is assumed.
    told = log_read or backup.outset.known
    lost = [name for name in empty if not told or name in backup.outset.steady]
    if lost:
        raise StepFailed(Reason.RESTORE_UNPROVED, f"hold no rows any more: {', '.join(lost[:SHOWN])}", tables=lost)
    if empty:
        run.warn("rows_unknown", f"empty now, and perhaps when the backup was taken: {', '.join(empty[:SHOWN])}")
    if unknown := sorted(held & set(holding.unknown)):
        run.warn("rows_unknown", f"could not be looked into for rows: {', '.join(unknown[:SHOWN])}")


def _check_sequences(backup: BackedUp, current: Evidence) -> None:
    """Checks that no sequence stands behind where it stood both before and after the dump. Raises StepFailed."""
    before, after = backup.before.evidence.positions, backup.outset.evidence.positions
    behind = [
        name
        for name in sorted(before.keys() & current.positions.keys())
        if all(then[name].is_ahead_of(current.positions[name]) for then in (before, after) if name in then)
    ]
    if behind:
        raise StepFailed(Reason.RESTORE_UNPROVED, f"sequences stand behind: {', '.join(behind[:SHOWN])}")


def _analyze(run: Run) -> None:
    """Renews the planner's statistics, of which a restored database has none. A failure is a warning."""
    try:
        with translated():
            repair.analyze(run.database.connection)
    except (Failed, Lost) as error:
        run.warn(
            "analyze_failed", f"{error}; run `ANALYZE` in `heroku pg:psql`, since a restored database has no statistics"
        )
        reconnect(run)
