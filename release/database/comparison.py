"""What happened to a database between two fingerprints: what differs, by name, and what was written.

A definition may hold what nobody should read in a log (a view over dblink with its password): log `str(difference)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

import msgspec

from release.database.canonical import skeleton
from release.database.fingerprint import BLOCKS, EXPRESSIONS, Counters, Definitions, Fingerprint, History, parse_block

OWNING: Final = (
    "table", "foreign table", "view", "materialized view", "sequence", "type", "domain", "function", "procedure",
    "aggregate", "schema", "publication",
)  # fmt: skip
"""What owns blocks: when one of these comes or goes, so do its parts, its grants and its owner."""

USUAL_ROLES: Final = ("public", "pg_owner")
"""Who has rights without a grant: everybody, and the owner; see catalog.py."""


class Verdict(StrEnum):
    """unchanged: same structure, and no table written; schema_unchanged: same structure, data written or unknown."""

    UNCHANGED = "unchanged"
    SCHEMA_UNCHANGED = "schema_unchanged"
    CHANGED = "changed"


class Change(StrEnum):
    """What happened to something between two fingerprints."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    REMADE = "made anew"


class Difference(msgspec.Struct, frozen=True):
    """One difference. `str()` is for people: `column public.learners.nickname added`.

    Of a part, such as a column, `owner` is the table and `part` its own name; both are quoted as in a statement.
    """

    kind: str
    name: str
    change: Change
    before: str | None = None
    after: str | None = None
    owner: str = ""
    part: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name} {self.change}"


class Written(msgspec.Struct, frozen=True):
    """Rows of one table touched in between, aborted transactions included; rewritten: it got a new file."""

    inserted: int
    updated: int
    deleted: int
    rewritten: bool

    def __str__(self) -> str:
        counted = f"{self.inserted} inserted, {self.updated} updated, {self.deleted} deleted"
        return f"{counted}, rewritten" if self.rewritten else counted


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What two fingerprints say together.

    notes: differences that are no part of the verdict: of the surroundings, and of what no dump carries.
    unproved: why the counters cannot tell what was written, if so; `written` is what they say all the same.
    """

    verdict: Verdict
    differences: tuple[Difference, ...]
    notes: tuple[Difference, ...] = ()
    written: dict[str, Written] = {}
    unproved: str | None = None

    @property
    def same(self) -> bool:
        """Whether structure, history and, if asked for, row counts are equal."""
        return not self.differences


def compare(before: Fingerprint, after: Fingerprint, *, rows_must_match: bool = False) -> Comparison:
    """What happened between two fingerprints of one database that was not restored in between."""
    found = [*structural(before.structure, after.structure), *(_rows(before, after) if rows_must_match else ())]
    written, unproved = _written(before, after)
    if found:
        verdict = Verdict.CHANGED
    elif written or unproved:
        verdict = Verdict.SCHEMA_UNCHANGED
    else:
        verdict = Verdict.UNCHANGED
    return Comparison(
        verdict=verdict,
        differences=tuple(found),
        notes=tuple(between(before.surroundings, after.surroundings)),
        written=written,
        unproved=unproved,
    )


def same_structure(before: Fingerprint, after: Fingerprint, *, rows_must_match: bool = False) -> Comparison:
    """Whether a restored database is the one that was dumped; says nothing about what was written.

    What no dump carries is a note, not a difference: an index that was not valid, the version of an extension, an
    expression that prints with other casts and parentheses, a publication of the platform. So is what a restore fills
    anew from its query, stale before or not.
    """
    found: list[Difference] = []
    notes = [*between(before.surroundings, after.surroundings), *_remade(before, after)]
    platforms = before.surroundings.get("publication of a superuser", {})
    for difference in structural(before.structure, after.structure):
        beyond = _beyond_dump(difference) or (difference.kind == "publication" and difference.name in platforms)
        (notes if beyond else found).append(difference)
    if rows_must_match:
        found += _rows(before, after)
    verdict = Verdict.CHANGED if found else Verdict.SCHEMA_UNCHANGED
    return Comparison(verdict=verdict, differences=tuple(found), notes=tuple(notes))


def structural(before: tuple[Definitions, History], after: tuple[Definitions, History]) -> Iterator[Difference]:
    """What differs between two structures with their histories."""
    yield from between(before[0], after[0])
    for table in sorted(before[1].keys() | after[1].keys()):
        was, now = before[1].get(table, []), after[1].get(table, [])
        yield from (Difference("migration", f"{table}: {entry}", Change.REMOVED) for entry in _more(was, now))
        yield from (Difference("migration", f"{table}: {entry}", Change.ADDED) for entry in _more(now, was))


def _more(these: list[str], than: list[str]) -> list[str]:
    """What there is more of in `these`; duplicates count."""
    left = list(than)
    return [entry for entry in these if entry not in left or left.remove(entry)]  # type: ignore[func-returns-value]


def _remade(before: Fingerprint, after: Fingerprint) -> Iterator[Difference]:
    """Materialized views whose contents a restore made: those that are populated."""
    was, now = (each.schema.get("materialized view", {}) for each in (before, after))
    for name in sorted(was.keys() & now.keys()):
        if not NOT_POPULATED.match(was[name]) and not NOT_POPULATED.match(now[name]):
            yield Difference("contents", f"of materialized view {name}", Change.REMADE)


NOT_POPULATED: Final = re.compile(r"(?:unlogged )?(?:with \S+ )?not populated ")
"""How the definition of a materialized view begins that holds nothing."""


def _rows(before: Fingerprint, after: Fingerprint) -> list[Difference]:
    return [
        Difference("rows", f"of {table}", Change.CHANGED, str(before.row_counts[table]), str(after.row_counts[table]))
        for table in sorted(before.row_counts.keys() & after.row_counts.keys())
        if before.row_counts[table] != after.row_counts[table]
    ]


def between(before: Definitions, after: Definitions) -> Iterator[Difference]:
    """What differs between two structures, by name. Parts of what came or went are not mentioned.

    Nor are operators where the definition tells already: they stand for themselves where it prints alike.
    """
    whole = _come_or_gone(before, after)
    told: set[str] = set()
    for kind in [*before, *(kind for kind in after if kind not in before)]:
        if kind == "operators":
            continue
        for difference in _of_kind(kind, before, after, whole):
            if not _beyond_dump(difference):
                told.add(f"operators of {difference.kind} {difference.name}")
            yield difference
    for difference in _of_kind("operators", before, after, whole):
        if f"{difference.kind} {difference.name}" not in told:
            yield difference


def _of_kind(kind: str, before: Definitions, after: Definitions, whole: set[str]) -> Iterator[Difference]:
    was, now = before.get(kind, {}), after.get(kind, {})
    for name in sorted(was.keys() | now.keys()):
        old, new = was.get(name), now.get(name)
        if old == new or (name in whole and (kind in BLOCKS or kind == "owner")):
            continue
        yield from _lines(kind, name, old, new) if kind in BLOCKS else [_difference(kind, name, old, new)]


def _come_or_gone(before: Definitions, after: Definitions) -> set[str]:
    """What is in one only: its parts go without saying. Owners and grants are kept by kind and name."""
    found: set[str] = set()
    for kind in OWNING:
        names = before.get(kind, {}).keys() ^ after.get(kind, {}).keys()
        found.update(names, (f"{kind} {name}" for name in names))
    return found


def _difference(kind: str, name: str, old: str | None, new: str | None) -> Difference:
    if kind == "owner":  # Kept only where it is not the database's owner, so that it never comes or goes.
        return Difference(kind, f"of {name}", Change.CHANGED, old, new)
    return Difference(kind, name, _change(old, new), old, new)


def _change(old: str | None, new: str | None) -> Change:
    if old is None:
        return Change.ADDED
    return Change.REMOVED if new is None else Change.CHANGED


def _lines(kind: str, owner: str, old: str | None, new: str | None) -> Iterator[Difference]:
    was, now = parse_block(old or ""), parse_block(new or "")
    for line in sorted(was.keys() | now.keys()):
        one, other = was.get(line), now.get(line)
        if one != other:
            name, change = _line_name(kind, owner, line), _change(one, other)
            # Kept only where not usual: these roles' rights, and operators that are not the server's own.
            if kind == "operators" or (kind == "grants" and line in USUAL_ROLES):
                change = Change.CHANGED
            yield Difference(BLOCKS[kind], name, change, one, other, owner, line)


def _line_name(kind: str, owner: str, line: str) -> str:
    match kind:
        case "indexes" | "invalid indexes":
            return line
        case "grants":
            return f"on {owner} to {'its owner' if line == 'pg_owner' else line}"
        case "operators":
            return f"of {line}"
        case "published":
            return f"{line} by {owner.removeprefix('publication ')}"
        case "comments":
            return f"on {owner}.{line}" if line else f"on {owner}"
        case _:
            return f"{owner}.{line}"


def _beyond_dump(difference: Difference) -> bool:
    match difference:
        case Difference(kind="invalid index", change=Change.REMOVED):
            return True
        case Difference(kind="extension", before=str(old), after=str(new)):
            return old.partition(" version ")[0] == new.partition(" version ")[0]
        case Difference(before=str(old), after=str(new)):
            return difference.kind in PRINTED and skeleton(old) == skeleton(new)
        case _:
            return False


PRINTED: Final = {BLOCKS.get(kind, kind) for kind in EXPRESSIONS} - {"function", "procedure"}
"""What one difference of a kind in EXPRESSIONS is called; a function's body is kept as it was written."""


def _written(before: Fingerprint, after: Fingerprint) -> tuple[dict[str, Written], str | None]:
    if before.epoch is None or after.epoch is None:
        return {}, "this server's counters are not reliable, or off"
    if before.epoch != after.epoch:
        return {}, "the server was started again, or its counters were reset"
    written: dict[str, Written] = {}
    for table in sorted(before.writes.keys() | after.writes.keys()):
        was, now = before.writes.get(table), after.writes.get(table)
        if was and now and _stamp(was) != _stamp(now):
            rows = (now.inserted - was.inserted, now.updated - was.updated, now.deleted - was.deleted)
            written[table] = Written(*rows, rewritten=was.file != now.file)
        elif not was or not now:
            written[table] = Written(*(_stamp(now)[:3] if now else (0, 0, 0)), rewritten=True)
    return written, _unproved(before, after)


def _stamp(counters: Counters) -> tuple[int, int, int, int]:
    return counters.inserted, counters.updated, counters.deleted, counters.file


def _unproved(before: Fingerprint, after: Fingerprint) -> str | None:
    if prepared := sorted(set(after.prepared) - set(before.prepared)):
        return f"a prepared transaction was left behind: {', '.join(prepared)}"
    moved = [name for name, was in before.positions.items() if name in after.positions and after.positions[name] != was]
    return f"sequences were moved: {', '.join(moved)}" if moved else None
