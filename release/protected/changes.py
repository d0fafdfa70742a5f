"""Changes: what has happened to the database since the migration began, before anything is done about it."""

from __future__ import annotations

from release.app import frameworks
from release.database import evidence
from release.database.comparison import Comparison, Verdict, compare
from release.database.evidence import Evidence
from release.database.fingerprint import Fingerprint
from release.database.history import recorded
from release.database.session import Failed, translated
from release.log.events import Event
from release.protected.before import Before, read_undisturbed, take_fingerprint
from release.run import Run
from release.witness.verdict import Word


def changed_since(run: Run, backup: Before, *, unsettled: str | None = None) -> Comparison:
    """Compares the database with how it was right before the migration, and logs that. Raises Lost.

    `unsettled` says why something may still be going on, in which case nothing is proved. What cannot be read is not
    proved, either, but is no failure of the run.
    """
    try:
        comparison = Comparison(verdict=Verdict.CHANGED, unread=unsettled) if unsettled else _compare(run, backup)
    except Failed as error:
        comparison = Comparison(verdict=Verdict.CHANGED, unread=f"it could not be read: {error}")
    traces = comparison.traces
    warn_of_left_out(run, comparison)
    run.log.info(
        Event.DATABASE_COMPARED,
        verdict=comparison.verdict,
        differences=[str(difference) for difference in comparison.differences],
        written=figures(comparison),
        traces=[*traces.moved, *traces.catalogs, *traces.around] if traces else [],
        unproved=comparison.unproved,
    )
    return comparison


def _compare(run: Run, backup: Before) -> Comparison:
    """Compares the evidence first. Where that proves that nothing was written, no definition has to be read."""
    since = backup.outset.evidence
    if proved_untouched(run, since):
        return Comparison(verdict=Verdict.UNCHANGED)
    return compare(backup.before, take_fingerprint(run), since=since)


def proved_untouched(run: Run, since: Evidence) -> bool:
    """Whether it is proved that nothing was written since, even if the counters say otherwise. Raises Failed or Lost.

    The counters count what was rolled back, too. So the server is then asked whether any transaction but the hook's own
    was committed.
    """
    traces = evidence.compare(since, read_undisturbed(run, lambda: evidence.take(run.database.connection)))
    if traces.none:
        return True
    if traces.strayed or not since.snapshot.end:
        return False
    own = run.journal.own_transactions(run.id)
    with translated():
        return evidence.committed_since(run.database.connection, since.snapshot, own) is False


def witnessed_nothing(run: Run, before: Fingerprint) -> bool:
    """Whether the witness saw all of the app's commands since the migration began, and none has committed anything.

    What others have written in the meantime does not matter then. The history is read all the same: had it changed, the
    witness would be wrong. Raises Lost.
    """
    if not run.accounts or any(account.verdict.word is not Word.NOTHING for account in run.accounts):
        return False
    try:
        now = read_undisturbed(run, lambda: recorded(run.database.connection, frameworks.histories()))
    except Failed as error:  # what cannot be read is not proved
        run.warn("history_unread", f"the witness saw nothing committed, but the history cannot be read: {error}")
        return False
    if now != before.history:
        run.warn("witness_mistaken", "the witness saw nothing committed, but the migration history has changed")
        return False
    return True


def warn_of_left_out(run: Run, comparison: Comparison) -> None:
    """Warns of what two versions of this code could not compare."""
    if comparison.left_out:
        run.warn(
            "compared_in_part",
            "another version of this tool took the fingerprint from before; only one of the two knows of what follows,"
            f" so it is not compared: {', '.join(comparison.left_out)}",
        )


def figures(comparison: Comparison) -> dict[str, str]:
    """Returns what was written to each table, in words."""
    return {table: str(written) for table, written in comparison.written.items()}
