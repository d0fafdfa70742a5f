"""What earlier runs did, for people: the list, and one run in full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from release.output.words import columns, seconds, what_happened, what_the_database_is
from release.program import named

FINISHED = "finished"
"""The state of a run that has come to its end, as in the journal."""

STEPS = ("prepare", "recover", "rehearse", "backup", "migrate", "probe", "finish", "restore")
HEADING = ("RUN", "RELEASE", "COMMIT", "STARTED (UTC)", "OUTCOME", "TOOK", "BACKUP", "SALVAGE", "WAITED FOR")


class Past(Struct, frozen=True, kw_only=True):
    """A run of the journal. `record`: its final record, if it came so far; `foreign`: of another app or database.

    `backup` and `salvage` are names, which the record knows; the journal knows the uuids.
    """

    run_id: str
    app: str
    release: str | None
    commit: str | None
    started_at: str
    finished_at: str | None
    state: str
    outcome: str | None
    reason: str | None
    backup: str | None
    backup_uuid: str | None
    salvage: str | None
    salvage_uuid: str | None
    restore: str | None
    foreign: bool
    database: str | None
    record: dict[str, Any] | None


def as_text(runs: Sequence[Past]) -> str:
    """Returns the list as text, in the order given."""
    if not runs:
        return "The journal knows no runs yet: it begins with the first release that migrates.\n"
    return columns([HEADING, *map(_cells, runs)])


def _cells(run: Past) -> tuple[str, ...]:
    record = run.record or {}
    return (
        run.run_id,
        run.release or "-",
        (run.commit or "-")[:8],
        run.started_at.replace("T", " ").removesuffix("Z"),
        _outcome(run),
        seconds(record.get("duration")),
        run.backup or "-",
        run.salvage or "-",
        _waited(record) or "-",
    )


def _outcome(run: Past) -> str:
    if run.foreign:
        return f"foreign, of {_origin(run)}: {run.outcome or run.state}"
    outcome = run.outcome or f"unfinished: {run.state}"
    return outcome + (f" ({run.reason})" if run.reason else "")


def _origin(run: Past) -> str:
    return f"{run.app or 'another app'}, database {run.database or 'unknown'}"


def _waited(record: Mapping[str, Any]) -> str:
    """Says whom the run waited for, and how long."""
    return ", ".join(
        f"{', '.join(wait['holder']) if isinstance(wait['holder'], list) else wait['holder'] or '?'}"
        f" ({seconds(wait['duration'])})"
        for wait in record.get("waits") or ()
    )


def in_full(run: Past) -> str:
    """Returns one run with all that is known of it, as text."""
    record = run.record or {}
    text = "".join(f"{name:<11} {value}\n" for name, value in _facts(run, record) if value)
    text += "".join(f"  {line}\n" for line in _details(record))
    if record:
        text += f"\n{what_happened(record)} {what_the_database_is(record)}\n"
    elif run.state != FINISHED and not run.foreign:
        text += named("\nIt is under way, or was cut off: `release-phase recover` finishes it.\n")
    return text


def _facts(run: Past, record: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    return [
        ("run", run.run_id),
        ("release", run.release),
        ("commit", run.commit),
        ("started", run.started_at),
        ("finished", run.finished_at),
        ("outcome", run.outcome or f"unfinished: {run.state}"),
        ("foreign", f"of {_origin(run)}; it came here with a dump" if run.foreign else None),
        ("reason", run.reason),
        ("backup", run.backup or run.backup_uuid),
        ("salvage", run.salvage or run.salvage_uuid),
        ("restore", run.restore),
        ("waited for", _waited(record)),
        ("took", seconds(record.get("duration"))),
    ]


def _details(record: Mapping[str, Any]) -> Iterator[str]:
    steps = record.get("steps") or {}  # in no order: jsonb keeps none
    for name in sorted(steps, key=lambda name: STEPS.index(name) if name in STEPS else 0):
        label = "no restore" if name == "restore" and not record.get("restore") else name
        yield f"{label:<10} {seconds(steps[name])}"
    for transfer in record.get("transfers") or ():
        yield f"{transfer.get('kind')} {transfer.get('transfer')}: {seconds(transfer.get('duration'))}"
    for change in record.get("changes") or ():
        yield f"changed: {change}"
