"""The backups of a database, as a list for people."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from release.output.words import columns, seconds, size

HEADING = ("BACKUP", "AGE", "SIZE", "STATE", "MADE BY")


class Held(Struct, frozen=True, kw_only=True):
    """A backup that Heroku holds. `age`: seconds; `dropped_next`: the next manual backup makes Heroku drop it.

    `salvage`: it holds a state that was about to be overwritten.
    """

    backup: str
    uuid: str
    made_by: str
    salvage: bool
    taken_at: str | None
    age: float | None
    bytes: int | None
    state: str
    dropped_next: bool


def as_text(backups: Sequence[Held]) -> str:
    """Returns the list as text, in the order given."""
    if not backups:
        return "This database has no backups.\n"
    return columns([HEADING, *map(_cells, backups)])


def _cells(held: Held) -> tuple[str, ...]:
    return (
        held.backup,
        "-" if held.age is None else seconds(max(0.0, held.age)),
        size(held.bytes),
        held.state,
        held.made_by
        + (" - a salvage, by its place" if held.salvage and not held.made_by.startswith("salvage") else "")
        + (" - the next backup drops it" if held.dropped_next else ""),
    )
