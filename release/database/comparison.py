"""What happened to a database between two fingerprints: what differs, by name, and what was written.

A definition may hold what nobody should read in a log (a view over dblink with its password): log `str(difference)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

import msgspec

from release.database import evidence, kinds
from release.database.definitions import BLOCKS, EXPRESSIONS, Definitions, parse_block
from release.database.evidence import Evidence, Traces, Written
from release.database.fingerprint import Fingerprint, History
from release.database.normal_form import skeleton

OWNING: Final = (
    "table", "foreign table", "view", "materialized view", "sequence", "type", "domain", "function", "procedure",
    "aggregate", "schema", "publication", "foreign-data wrapper",
)  # fmt: skip
"""What owns blocks: when one of these comes or goes, so do its parts, its grants and its owner."""

USUAL_ROLES: Final = ("public", "pg_owner")
"""Who has rights without a grant: everybody, and the owner; see catalog.py."""


class Verdict(StrEnum):
    """What happened between two moments.

    unchanged: proved that nothing was written; schema_unchanged: same structure and history, data written or unknown;
    changed: anything else, also where it could not be found out.
    """

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


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What two moments say together.

    notes: differences that are no part of the verdict: of the surroundings, and of what no dump carries.
    traces: what was written in between, None after a restore. unread: why a comparison could not be made, if so.
    left_out: kinds that only one of the two knows, since another version of this code made it (see kinds.py).
    """

    verdict: Verdict
    differences: tuple[Difference, ...] = ()
    notes: tuple[Difference, ...] = ()
    traces: Traces | None = None
    unread: str | None = None
    left_out: tuple[str, ...] = ()

    @property
    def written(self) -> dict[str, Written]:
        """Rows written by table, as far as the evidence tells."""
        return self.traces.written if self.traces else {}

    @property
    def unproved(self) -> str | None:
        """Why it is not proved what was written, if so."""
        if self.left_out:
            return f"only one of the two fingerprints knows of: {', '.join(self.left_out)}"
        return self.unread or (self.traces.unproved if self.traces else None)

    @property
    def added(self) -> tuple[Difference, ...] | None:
        """What has come; None where that could not be found out."""
        return (
            None
            if self.unread
            else tuple(difference for difference in self.differences if difference.change is Change.ADDED)
        )

    @property
    def same(self) -> bool:
        """Whether structure, history and, if asked for, row counts are equal."""
        return not self.differences


def compare(before: Fingerprint, after: Fingerprint, *, since: Evidence | None = None) -> Comparison:
    """What happened between two fingerprints of one database that was not restored in between.

    `since`: evidence of a later moment than `before`, if only what was written after that is to count.
    """
    before, after, left_out = common(before, after)
    traces = evidence.compare(since or before.evidence, after.evidence)
    found = tuple(structural(before.structure, after.structure))
    if found or traces.reshaped:
        verdict = Verdict.CHANGED
    else:
        verdict = Verdict.UNCHANGED if traces.none and not left_out else Verdict.SCHEMA_UNCHANGED
    notes = tuple(between(before.surroundings, after.surroundings))
    return Comparison(verdict=verdict, differences=found, notes=notes, traces=traces, left_out=left_out)


def common(before: Fingerprint, after: Fingerprint) -> tuple[Fingerprint, Fingerprint, tuple[str, ...]]:
    """Both, reduced to the kinds that both know, and the kinds that were left out: none within one version.

    Relations that one of them could not read are in neither any more.
    """
    unread = frozenset(before.unread) | frozenset(after.unread)
    one, other = (_without(each, unread) if unread else each for each in (before, after))
    if before.kinds == after.kinds:
        return one, other, ()
    known = kinds.both_know(before.kinds, after.kinds)
    one, other = (
        msgspec.structs.replace(
            each,
            schema=kinds.limited(each.schema, known),
            evidence=msgspec.structs.replace(each.evidence, surroundings=kinds.limited(each.surroundings, known)),
            history=each.history if kinds.HISTORY in known else {},
        )
        for each in (one, other)
    )
    return one, other, tuple(sorted((before.kinds.keys() | after.kinds.keys()) - known))


def _without(document: Fingerprint, relations: frozenset[str]) -> Fingerprint:
    """A document without some relations, their parts, owners and grants."""

    def theirs(name: str) -> bool:
        return any(
            name == relation or name.endswith(f" {relation}") or f" {relation}." in name for relation in relations
        )

    schema = {
        kind: {name: definition for name, definition in found.items() if not theirs(name)}
        for kind, found in document.schema.items()
    }
    history = {table: entries for table, entries in document.history.items() if table not in relations}
    return msgspec.structs.replace(document, schema=schema, history=history)


def same_structure(
    before: Fingerprint, after: Fingerprint, *, rows_must_match: bool = False, owners_may_differ: bool = False
) -> Comparison:
    """Whether a restored database is the one that was dumped; says nothing about what was written.

    What no dump carries is a note, not a difference: an index that was not valid, the version of an extension, an
    expression that prints with other casts and parentheses, a publication of the platform. So is what a restore fills
    anew from its query, stale before or not; with `owners_may_differ` also what belonged to roles that this credential
    cannot act as, and what they had granted.
    """
    before, after, left_out = common(before, after)
    found: list[Difference] = []
    notes = [*between(before.surroundings, after.surroundings), *_remade(before, after)]
    platforms = before.surroundings.get("publication of a superuser", {})
    differences = list(structural(before.structure, after.structure))
    owned = {each.name.removeprefix("of ") for each in differences if each.kind == "owner"}
    for difference in differences:
        expected = owners_may_differ and _of_other_owner(difference, owned)
        beyond = _beyond_dump(difference) or (difference.kind == "publication" and difference.name in platforms)
        (notes if expected or beyond else found).append(difference)
    if rows_must_match:
        found += _rows(before, after)
    verdict = Verdict.CHANGED if found else Verdict.SCHEMA_UNCHANGED
    return Comparison(verdict=verdict, differences=tuple(found), notes=tuple(notes), left_out=left_out)


def _of_other_owner(difference: Difference, owned: set[str]) -> bool:
    """Whether it comes from things changing hands: their owner, grants on them, what their owner grants by default."""
    return difference.kind == "owner" or (
        difference.kind == "grant" and (difference.owner in owned or difference.owner.startswith("default for role "))
    )


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
