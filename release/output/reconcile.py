"""What a salvage holds that the database does not, and what was put back, as text for people."""

from __future__ import annotations

from msgspec import Struct

from release.output.words import columns, count


class Line(Struct, frozen=True, kw_only=True):
    """A table's comparison, in rows.

    `only_in_salvage`, `only_in_database`, `different` (of which `changed_since`, after the restore) and `made_since`
    (only in the database, after the restore). `chosen`: its rows are to be put back; `note`: what else is to be known.
    """

    table: str
    only_in_salvage: int
    only_in_database: int
    different: int
    changed_since: int
    made_since: int
    chosen: bool
    note: str


class Shown(Struct, frozen=True, kw_only=True):
    """The whole comparison. `notes` are sentences; `same` is the number of tables without any difference."""

    salvage: str
    run: str
    release: str | None
    restore: str | None
    tables: list[Line]
    same: int
    notes: list[str]


class PutBack(Struct, frozen=True, kw_only=True):
    """What was put back: rows by table and verb, sequences that moved, what conflicted, and files with those rows."""

    rows: dict[str, dict[str, int]]
    moved: list[str]
    conflicts: list[str]
    files: list[str]


def as_text(shown: Shown) -> str:
    """Returns the comparison as text."""
    release = f"release {shown.release}, run {shown.run}" if shown.release else f"run {shown.run}"
    restored = f", which ended with the restore {shown.restore}" if shown.restore else ""
    text = f"{shown.salvage} is the salvage of {release}{restored}.\n"
    if shown.tables:
        head = ("", "TABLE", f"ONLY IN {shown.salvage}", "ONLY IN DATABASE", "DIFFERENT")
        text += "\n" + columns([head, *map(_cells, shown.tables)]) + "\n"
    text += f"{count(shown.same, 'other table')} {'holds' if shown.same == 1 else 'hold'} the same in both.\n"
    notes = [f"{line.table}: {line.note}" for line in shown.tables if line.note]
    return text + "".join(f"{note}.\n" for note in [*notes, *shown.notes])


def _cells(line: Line) -> tuple[str, ...]:
    made = f" and {line.made_since:,} made since" if line.made_since else ""
    changed = f" ({line.changed_since:,} written since the restore)" if line.changed_since else ""
    return (
        "*" if line.chosen else "",
        line.table,
        f"{line.only_in_salvage:,}",
        f"{line.only_in_database:,}{made}",
        f"{line.different:,}{changed}",
    )


def done_as_text(done: PutBack) -> str:
    """Returns what was put back as text."""
    words = {"insert": "inserted", "update": "updated", "delete": "deleted"}
    lines = [
        f"{table}: " + ", ".join(f"{rows:,} {words[verb]}" for verb, rows in verbs.items())
        for table, verbs in done.rows.items()
    ]
    lines += [f"{sequence}: moved on" for sequence in done.moved]
    lines += [f"left out: {conflict}" for conflict in done.conflicts]
    lines += [f"what was left out is in {file}" for file in done.files]
    return "".join(f"{line}.\n" for line in lines or ["There was nothing to put back"])
