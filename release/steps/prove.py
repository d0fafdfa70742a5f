"""Prove: what the database is now, against the fingerprint of what it was."""

from __future__ import annotations

from release.database import grants, repair
from release.database.comparison import Comparison, compare, same_structure
from release.database.fingerprint import Fingerprint
from release.database.journal import State
from release.database.session import Failed, translated
from release.errors import Reason, StepFailed
from release.log import Event
from release.run import Run
from release.steps.backup import BackedUp, Before, take_fingerprint
from release.steps.sessions import reconnect, unsettled


def changed_since(run: Run, backup: Before) -> Comparison:
    """The database now against the fingerprint from before the migration."""
    comparison = compare(backup.before, take_fingerprint(run))
    _say_left_out(run, comparison)
    run.log.info(
        Event.DATABASE_COMPARED,
        verdict=comparison.verdict,
        differences=[str(each) for each in comparison.differences],
        written=figures(comparison),
    )
    return comparison


def _say_left_out(run: Run, comparison: Comparison) -> None:
    if comparison.left_out:
        run.warn(
            "compared_in_part",
            "another version of this tool took the fingerprint from before; not compared, since only one of the two"
            f" knows of it: {', '.join(comparison.left_out)}",
        )


def figures(comparison: Comparison) -> dict[str, str]:
    """What was written to each table, in words."""
    return {table: str(written) for table, written in comparison.written.items()}


def prove(run: Run, backup: BackedUp) -> None:
    """Proves that the database is what it was before the migration, tidying up first. Raises StepFailed or Lost."""
    reconnect(run)
    entry = unsettled(run)
    if entry is None or entry.state is not State.BACKING_UP:
        state = entry.state if entry else "missing"
        raise StepFailed(Reason.RESTORE_UNPROVED, f"the journal's row is not the dump's ({state}): it did not reset")
    tidy_and_compare(run, backup.before, rows_must_match=backup.sealed)


def tidy_and_compare(run: Run, before: Fingerprint, *, rows_must_match: bool) -> None:
    """Compares, tidying up first where something differs, and refreshes the statistics. Raises StepFailed or Lost."""

    def compared() -> Comparison:
        return same_structure(before, take_fingerprint(run), rows_must_match=rows_must_match)

    comparison = compared()
    if comparison.differences or comparison.notes:
        _tidy(run, before)
        comparison = compared()
    differences = [str(each) for each in comparison.differences]
    _say_left_out(run, comparison)
    run.log.info(Event.DATABASE_COMPARED, verdict="equal" if not differences else "changed", differences=differences)
    if differences:
        raise StepFailed(Reason.RESTORE_UNPROVED, "; ".join(differences[:20]), differences=len(differences))
    try:
        with translated():
            repair.analyze(run.database.connection)
    except Failed as error:
        run.warn("analyze_failed", str(error))


def _tidy(run: Run, before: Fingerprint) -> None:
    """Removes what the dump does not know, and puts back what it cannot carry."""
    with translated():
        for removed in repair.remove_unknown(run.database.connection, before):
            run.warn("unknown_object_removed", removed)
        for problem in grants.put_back_grants(run.database.connection, before):
            run.warn("grant_not_put_back", problem)
