"""Back up: records the run, captures the database through Heroku's APIs, and proves that the backup can be used."""

from __future__ import annotations

from release.app.witnessed import expect_clients
from release.clock import Deadline
from release.database import checks, evidence
from release.database.comparison import between, structural
from release.database.fingerprint import Fingerprint
from release.database.outset import Outset
from release.errors import Reason, StepFailed
from release.heroku.transfers import Transfer
from release.protected import fence
from release.protected.before import BackedUp, Before, Unprotected, take_fingerprint, take_outset
from release.protected.target import Target
from release.protected.transfers import capture
from release.run import Run
from release.settings.model import FenceMode, Guard, Switch

CAPTURES = 3
"""How often the database is captured at most: once, and twice more if its structure changes meanwhile."""


def back_up(run: Run, target: Target | None) -> Before:
    """Records the run, fingerprints the database, and captures it. Raises StepFailed or HerokuError."""
    if run.settings.witness is Switch.ON:
        expect_clients(run.environ)
    before = record_run(run, target)
    behind = frozenset(checks.sequences_behind(run.database.connection))
    if target is None:
        return Unprotected(before=before, outset=take_outset(run, before), behind=behind)
    began = run.clock.monotonic()
    transfer, before, outset = _capture_unchanging(run, target, before)
    return BackedUp(
        before=before,
        outset=outset,
        uuid=transfer.uuid,
        name=transfer.name,
        seconds=run.clock.monotonic() - began,
        sealed=run.settings.fence is FenceMode.RELEASE and not _leaked(run, before, outset),
        target=target,
        behind=behind,
    )


def _capture_unchanging(run: Run, target: Target, before: Fingerprint) -> tuple[Transfer, Fingerprint, Outset]:
    """Captures the database while its structure stays the same, so that the fingerprint is the dump's.

    Somebody else's DDL in between would be in only one of the two. Then the database is captured again. Raises
    StepFailed (backup_unusable).
    """
    deadline = backup_deadline(run)
    for attempt in range(1, CAPTURES + 1):
        transfer = capture(run, target, kind="backup", deadline=deadline)
        outset = take_outset(run, before)
        after, differences = _restructured(run, before, outset)
        if not differences:
            return transfer, before, outset
        detail = f"somebody changed the structure while {transfer.name} was being taken: {'; '.join(differences[:10])}"
        if attempt == CAPTURES:
            break
        run.warn("structure_changed", f"{detail}; the database is captured again", backup=transfer.name)
        before = after
        _write_fingerprint(run, before)
    raise StepFailed(Reason.BACKUP_UNUSABLE, detail, differences=differences)


def _restructured(run: Run, before: Fingerprint, outset: Outset) -> tuple[Fingerprint, list[str]]:
    """Returns the fingerprint as it is now, and what has changed in the structure since `before`.

    A fingerprint takes time. So it is only taken anew where the counters say that the catalogs were written.
    """
    traces = evidence.compare(before.evidence, outset.evidence)
    if not traces.catalogs and not traces.around:
        return before, []
    after = take_fingerprint(run)
    around = between(before.surroundings, after.surroundings)
    return after, [str(each) for each in (*structural(before.structure, after.structure), *around)]


def _leaked(run: Run, before: Fingerprint, outset: Outset) -> bool:
    """Whether the fence has let somebody in while the backup was being taken, which is logged as a warning.

    The journal then says, for whoever comes later, that the fence has not held since before the backup.
    """
    tables = sorted(evidence.compare(before.evidence, outset.evidence).written)
    sessions = fence.came_back(run)
    if not tables and not sessions:
        return False
    fence.warn_of_leak(run, tables=tables, sessions=sessions)
    run.journal.fenced(run.id, FenceMode.RESTORE)
    return True


def record_run(run: Run, target: Target | None) -> Fingerprint:
    """Opens the run's row in the journal, raises a fence that is to be up all along, and takes the fingerprint."""
    _open_row(run, target)
    if target and run.settings.fence is FenceMode.RELEASE:
        fence.put_up(run, target, FenceMode.RELEASE)
    before = take_fingerprint(run)
    _write_fingerprint(run, before)
    return before


def record_again(run: Run, backup: BackedUp) -> None:
    """Writes the run's row anew, as it was before the migration that has removed the journal."""
    _open_row(run, backup.target)
    _write_fingerprint(run, backup.before)
    if run.settings.fence is FenceMode.RELEASE:
        run.journal.fenced(run.id, FenceMode.RELEASE if backup.sealed else FenceMode.RESTORE)
    run.journal.begin_migration(
        run.id, backup=backup.uuid, outset=backup.outset.to_json(), names={"backup": backup.name}
    )


def _open_row(run: Run, target: Target | None) -> None:
    run.journal.open(
        run_id=run.id,
        app=target.app.name if target else run.settings.app or "",
        release=run.settings.heroku_release_version,
        commit=run.settings.commit,
        maintenance=target.app.maintenance if target else None,
        formation=target.formation if target else None,
        baseline=target.baseline if target else 0,
        app_id=target.app.id if target else run.settings.heroku_app_id,
        addon_id=target.addon.id if target else None,
    )


def _write_fingerprint(run: Run, before: Fingerprint) -> None:
    run.journal.fingerprinted(run.id, before.pack(), evidence=before.evidence.to_json())


def backup_deadline(run: Run) -> Deadline:
    """Returns when a backup is given up: after a third of the time left, so that salvage and restore still fit."""
    share = 1.0 if Guard.LARGE_DATABASE in run.settings.allow else 1 / 3
    return run.deadline.within(run.deadline.left() * share)
