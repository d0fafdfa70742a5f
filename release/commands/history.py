"""History: what earlier runs did, from the journal in the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from release.commands.backups import Runs, columns
from release.database.journal import Entry, State
from release.errors import Misconfigured, Reason
from release.output.words import seconds, what_happened, what_the_database_is

LIMIT = 30
"""Runs in the list; the journal keeps more (see pruning.py)."""

STEPS = ("prepare", "recover", "rehearse", "backup", "migrate", "probe", "finish", "restore")


def marked(runs: Runs, app_id: str | None) -> Runs:
    """The runs, those of another app marked like those of another database: foreign, whatever else is said of them."""
    return [(structs.replace(entry, elsewhere=not entry.belongs(app_id)), record) for entry, record in runs]


def fields(entry: Entry, record: dict[str, Any]) -> dict[str, Any]:
    """One run for machines."""
    return {
        "run_id": entry.run_id,
        "app": entry.app,
        "release": entry.release,
        "commit": entry.commit,
        "started_at": entry.started_at,
        "finished_at": entry.finished_at,
        "state": str(entry.state),
        "outcome": entry.outcome,
        "reason": entry.reason,
        "backup": record.get("backup"),
        "salvage": record.get("salvage"),
        "restore": entry.restore,
        "foreign": entry.elsewhere,
        "database": entry.database,
        "record": record or None,
    }


def table(runs: Runs) -> str:
    """The list for people, newest first."""
    if not runs:
        return "The journal knows no runs yet: it begins with the first release that migrates.\n"
    lines: list[Sequence[str]] = [
        ("RUN", "RELEASE", "COMMIT", "STARTED (UTC)", "OUTCOME", "TOOK", "BACKUP", "SALVAGE", "WAITED FOR")
    ]
    lines += [_line(entry, record) for entry, record in runs]
    return columns(lines)


def _line(entry: Entry, record: dict[str, Any]) -> tuple[str, ...]:
    return (
        entry.run_id,
        entry.release or "-",
        (entry.commit or "-")[:8],
        entry.started_at.replace("T", " ").removesuffix("Z"),
        _outcome(entry),
        seconds(record.get("duration")),
        str(record.get("backup") or "-"),
        str(record.get("salvage") or "-"),
        waited(record) or "-",
    )


def _outcome(entry: Entry) -> str:
    if entry.elsewhere:
        return f"foreign, of {_origin(entry)}: {entry.outcome or entry.state}"
    outcome = entry.outcome or f"unfinished: {entry.state}"
    return outcome + (f" ({entry.reason})" if entry.reason else "")


def _origin(entry: Entry) -> str:
    return f"{entry.app or 'another app'}, database {entry.database or 'unknown'}"


def waited(record: dict[str, Any]) -> str:
    """Whom the run waited for, and how long."""
    return ", ".join(
        f"{', '.join(each['holder']) if isinstance(each['holder'], list) else each['holder'] or '?'}"
        f" ({seconds(each['duration'])})"
        for each in record.get("waits") or ()
    )


def pick(runs: Runs, name: str) -> tuple[Entry, dict[str, Any]]:
    """A run by its id, the beginning of it, or its release (the newest of those). Raises Misconfigured."""
    found = [each for each in runs if each[0].release == name or each[0].run_id.startswith(name)]
    if not found:
        near = ", ".join(entry.run_id for entry, _ in runs[:5]) or "none"
        raise Misconfigured(Reason.RUN_UNKNOWN, f"{name}; the newest: {near}")
    return found[0]


def whole(entry: Entry, record: dict[str, Any]) -> str:
    """One run in full."""
    lines = [
        ("run", entry.run_id),
        ("release", entry.release),
        ("commit", entry.commit),
        ("started", entry.started_at),
        ("finished", entry.finished_at),
        ("outcome", entry.outcome or f"unfinished: {entry.state}"),
        ("foreign", f"of {_origin(entry)}; it came here with a dump" if entry.elsewhere else None),
        ("reason", entry.reason),
        ("backup", record.get("backup") or entry.backup),
        ("salvage", record.get("salvage") or entry.salvage),
        ("restore", entry.restore),
        ("waited for", waited(record)),
        ("took", seconds(record.get("duration"))),
    ]
    text = "".join(f"{name:<11} {value}\n" for name, value in lines if value)
    steps = record.get("steps") or {}  # jsonb has forgotten their order
    for name, duration in sorted(steps.items(), key=lambda each: STEPS.index(each[0]) if each[0] in STEPS else 0):
        text += f"  {name:<9} {seconds(duration)}\n"
    for each in record.get("transfers") or ():
        text += f"  {each.get('kind')} {each.get('transfer')}: {seconds(each.get('duration'))}\n"
    for change in record.get("changes") or ():
        text += f"  changed: {change}\n"
    if record:
        text += f"\n{what_happened(record)} {what_the_database_is(record)}\n"
    elif entry.state is not State.FINISHED and not entry.elsewhere:
        text += "\nIt is under way, or was cut off: `bin/release recover` finishes it.\n"
    return text
