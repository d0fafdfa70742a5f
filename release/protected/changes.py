"""Changes: what happened to the database since the migration began, before anything is done about it."""

from __future__ import annotations

from release.database import evidence
from release.database.comparison import Comparison, Verdict, compare
from release.database.evidence import Evidence
from release.database.session import Failed, translated
from release.log.events import Event
from release.protected.before import Before, take_fingerprint, undisturbed
from release.run import Run


def changed_since(run: Run, backup: Before, *, unsettled: str | None = None) -> Comparison:
    """What happened since right before the migration, said in the log. Raises Lost.

    `unsettled`: why something may still be going on; then nothing is proved. What cannot be read is not proved, either,
    and no failure of the run.
    """
    try:
        comparison = Comparison(verdict=Verdict.CHANGED, unread=unsettled) if unsettled else _compared(run, backup)
    except Failed as error:
        comparison = Comparison(verdict=Verdict.CHANGED, unread=f"it could not be looked at: {error}")
    traces = comparison.traces
    say_left_out(run, comparison)
    run.log.info(
        Event.DATABASE_COMPARED,
        verdict=comparison.verdict,
        differences=[str(difference) for difference in comparison.differences],
        written=figures(comparison),
        traces=[*traces.moved, *traces.catalogs, *traces.around] if traces else [],
        unproved=comparison.unproved,
    )
    return comparison


def _compared(run: Run, backup: Before) -> Comparison:
    """The evidence first: where it proves that nothing was written, no definition has to be read."""
    since = backup.outset.evidence
    if proved_untouched(run, since):
        return Comparison(verdict=Verdict.UNCHANGED)
    return compare(backup.before, take_fingerprint(run), since=since)


def proved_untouched(run: Run, since: Evidence) -> bool:
    """Whether it is proved that nothing was written since, though the counters say so. Raises Failed or Lost.

    The counters count what was rolled back, too. Then the server is asked whether any transaction but the hook's own
    was committed.
    """
    traces = evidence.compare(since, undisturbed(run, lambda: evidence.take(run.database.connection)))
    if traces.none:
        return True
    if traces.strayed or not since.snapshot.end:
        return False
    own = run.journal.own_transactions(run.id)
    with translated():
        return evidence.committed_since(run.database.connection, since.snapshot, own) is False


def say_left_out(run: Run, comparison: Comparison) -> None:
    """Warns of what two versions of this code could not compare."""
    if comparison.left_out:
        run.warn(
            "compared_in_part",
            "another version of this tool took the fingerprint from before; not compared, since only one of the two"
            f" knows of it: {', '.join(comparison.left_out)}",
        )


def figures(comparison: Comparison) -> dict[str, str]:
    """What was written to each table, in words."""
    return {table: str(written) for table, written in comparison.written.items()}
