"""History: what earlier runs did, from the journal in the database."""

from __future__ import annotations

from typing import Any

from release.commands.backups import name_in
from release.database.entry import Entry
from release.errors import Misconfigured, Reason
from release.output.history import Past
from release.run import Run

LIMIT = 30
"""Runs in the list; the journal keeps more (see pruning.py)."""

SEARCHED = 1000
"""Runs among which one is looked for by its name."""


def history(run: Run, limit: int = LIMIT) -> list[Past]:
    """Returns the newest runs, newest first. Raises ReleaseError when the journal cannot be read."""
    return [_past(run, entry, record) for entry, record in run.journal.history(limit)]


def _past(run: Run, entry: Entry, record: dict[str, Any]) -> Past:
    """Describes a run.

    A run of another app counts as foreign like one of another database, whatever else is said of it.
    """
    return Past(
        run_id=entry.run_id,
        app=entry.app,
        release=entry.release,
        commit=entry.commit,
        started_at=entry.started_at,
        finished_at=entry.finished_at,
        state=str(entry.state),
        outcome=entry.outcome,
        reason=entry.reason,
        backup=name_in(record, "backup"),
        backup_uuid=entry.backup,
        salvage=name_in(record, "salvage"),
        salvage_uuid=entry.salvage,
        restore=entry.restore,
        foreign=not entry.belongs(run.settings.heroku_app_id),
        database=entry.database,
        record=record if "outcome" in record else None,
    )


def pick(run: Run, name: str) -> Past:
    """Finds a run by its id, the beginning of it, or its release (the newest of those). Raises Misconfigured."""
    runs = history(run, SEARCHED)
    picked = next((past for past in runs if past.release == name or past.run_id.startswith(name)), None)
    if picked is None:
        near = ", ".join(past.run_id for past in runs[:5]) or "none"
        raise Misconfigured(Reason.RUN_UNKNOWN, f"{name}; the newest: {near}")
    return picked
