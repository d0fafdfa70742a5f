"""A run's end in two sentences, for everybody who reads it: the terminal, the report, the webhook.

The first says what happened, the second what the database looks like now. They are made from the final record alone,
so that a log, the journal and a run that has just ended read the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from release.program import named

Record = Mapping[str, Any]


def what_happened(record: Record) -> str:  # noqa: PLR0911 -- one sentence an outcome
    """Says in a sentence what happened."""
    error = sentence(str(record.get("error") or ""))
    backup, restore = record.get("backup"), record.get("restore")
    match record.get("outcome"):
        case "released" if migrated(record):
            return "The release is in: the migration ended well and every probe passed."
        case "released":
            return "The release is in: no migration was pending and every probe passed."
        case "restored" if not error:
            return f"The backup {backup} was restored" + (f" by {restore}." if restore else ".")
        case "kept" if not error:
            return "The changes were kept, as somebody decided."
        case "refused":
            return f"The release was refused. {error}".strip()
        case None if record.get("exit_code") == 0:
            return "Nothing was to be done."
        case _:
            return error or "The run failed."


def what_the_database_is(record: Record) -> str:  # noqa: PLR0911 -- one sentence an outcome
    """Says in a sentence what the database looks like now."""
    backup, salvage = record.get("backup"), record.get("salvage")
    match record.get("outcome"):
        case "released" if migrated(record):
            copy = f"the backup {backup} holds it as it was before" if backup else "there is no backup of what it was"
            return f"The database is migrated; {copy}."
        case "restored":
            saved = f"; what was overwritten is kept in {salvage}" if salvage else ""
            return f"The database is {_restored(record)}{saved}."
        case "untouched":
            return "The database is as it was before; nothing had to be restored."
        case "kept":
            copy = f"; the backup {backup} holds it as it was before" if backup else ""
            return f"The database is changed and was left so{copy}."
        case "handed_over":
            return "The database is being restored outside of this run; until that is proved, take it for unusable."
        case "restore_failed":
            return "The database is not proved to be usable: somebody has to look, and maintenance mode stays on."
        case "crashed":
            return named("What the database looks like is not known here: `release-phase recover` finds out.")
        case "released" | "refused":
            return "The database was not changed."
        case _:
            return "The database was not touched."


def _restored(record: Record) -> str:
    facts = record.get("facts") or {}
    if record.get("error"):
        return f"as it was before the release, proved, from the backup {record.get('backup')}"
    if facts.get("proof") == "none":
        return f"what the backup {record.get('backup')} holds, as far as Heroku says; this tool could not prove it"
    return f"as it was when {record.get('backup')} was taken, proved against the fingerprint inside it"


def migrated(record: Record) -> bool:
    """Tells whether the run migrated."""
    return "migrate" in (record.get("steps") or {})


def sentence(text: str) -> str:
    """Returns the text with a full stop at its end."""
    text = text.strip()
    return text if not text or text.endswith((".", "!", "?", "…")) else f"{text}."


LONG = 160
"""Characters from which on an error is told once, at the end, and elsewhere in short."""


def in_short(error: str) -> str:
    """Returns what happened, of an error whose detail takes up lines; a shorter one as it is."""
    return error if len(error) <= LONG else error.partition(": ")[0]


def title(record: Record) -> str:
    """Says what the run is about: `Release v8 of my-app`."""
    release, app = record.get("release"), record.get("app")
    return (f"Release {release}" if release else "Run") + (f" of {app}" if app else "")


def seconds(duration: float | None) -> str:
    """Returns a duration as people say it: 0.3 s, 12 s, 4 min 5 s, 2 h 10 min."""
    if duration is None:
        return "-"
    if duration < 9.95:  # noqa: PLR2004 -- below ten seconds a tenth matters
        return f"{duration:.1f} s"
    whole = round(duration)
    if whole < 60:  # noqa: PLR2004 -- units
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004 -- units
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def size(count: float | None) -> str:
    """Returns a size in bytes as people say it, in powers of 1000: 912 B, 8.9 kB, 4.1 GB."""
    if count is None:
        return "-"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004 -- units
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"  # noqa: PLR2004 -- units
        count /= 1000
    return f"{count:.1f} TB"


def count(number: int, noun: str) -> str:
    """Returns `1 run`, `2 runs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def columns(lines: Sequence[Sequence[str]]) -> str:
    """Formats lines of cells as a table, each column as wide as its widest cell."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )
