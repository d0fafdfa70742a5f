"""A comparison of two fingerprints: what differs, by name, and what was written in between.

A definition may hold what nobody should read in a log, such as a password in a view over dblink. So only
`str(difference)`, which names things, is for logs.
"""

from __future__ import annotations

import re
from collections import Counter
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
"""The kinds that own blocks. When one of these comes or goes, so do its parts, its grants and its owner."""

USUAL_ROLES: Final = ("public", "pg_owner")
"""The roles that have rights without a grant: everybody, and the owner; see catalog/grants.py."""


class Verdict(StrEnum):
    """A verdict on what happened between two moments.

    `unchanged` says it is proved that nothing was written. `schema_unchanged` says that structure and history are the
    same, and data were written or may have been. `changed` is anything else, and what could not be found out.
    """

    UNCHANGED = "unchanged"
    SCHEMA_UNCHANGED = "schema_unchanged"
    CHANGED = "changed"


class Change(StrEnum):
    """The change of one thing between two fingerprints."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    REMADE = "made anew"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One difference. `str()` is for people: `column public.learners.nickname added`.

    Of a part, such as a column, `owner` is the table and `part` its own name. Both are quoted as in a statement.
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
    """The comparison of two moments.

    `notes` are differences that are no part of the verdict: those of the surroundings, and of what no dump carries.
    `traces` says what was written in between, and is None after a restore. `unread` says why a comparison could not be
    made, if so. `left_out` has the kinds that only one of the two knows, since another version of this code made it
    (see kinds.py).
    """

    verdict: Verdict
    differences: tuple[Difference, ...] = ()
    notes: tuple[Difference, ...] = ()
    traces: Traces | None = None
    unread: str | None = None
    left_out: tuple[str, ...] = ()

    @property
    def written(self) -> dict[str, Written]:
        """The rows written by table, as far as the evidence tells."""
        return self.traces.written if self.traces else {}

    @property
    def unproved(self) -> str | None:
        """The reason why it is not proved what was written, if so."""
        if self.left_out:
            return f"only one of the two fingerprints knows of: {', '.join(self.left_out)}"
        return self.unread or (self.traces.unproved if self.traces else None)

    @property
    def added(self) -> tuple[Difference, ...] | None:
        """The differences that are additions; None where that could not be found out."""
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
    """Compares two fingerprints of one database that was not restored in between.

    `since` is evidence of a later moment than `before`, for a caller to whom only later writes count.
    """
    before, after, left_out = common(before, after)
    traces = evidence.compare(since or before.evidence, after.evidence)
    differences = tuple(structural(before.structure, after.structure))
    if differences or traces.reshaped:
        verdict = Verdict.CHANGED
    else:
        verdict = Verdict.UNCHANGED if traces.none and not left_out else Verdict.SCHEMA_UNCHANGED
    notes = tuple(between(before.surroundings, after.surroundings))
    return Comparison(verdict=verdict, differences=differences, notes=notes, traces=traces, left_out=left_out)


def common(before: Fingerprint, after: Fingerprint) -> tuple[Fingerprint, Fingerprint, tuple[str, ...]]:
    """Reduces two fingerprints to the kinds that both know; returns them and the kinds that were left out.

    Two of one version of this code have all kinds in common. Relations that one of them could not read are in neither.
    """
    unread = frozenset(before.unread) | frozenset(after.unread)
    one, other = (_without(document, unread) if unread else document for document in (before, after))
    if before.kinds == after.kinds:
        return one, other, ()
    known = kinds.both_know(before.kinds, after.kinds)
    one, other = (
        msgspec.structs.replace(
            document,
            schema=kinds.limited(document.schema, known),
            evidence=msgspec.structs.replace(
                document.evidence, surroundings=kinds.limited(document.surroundings, known)
            ),
            history=document.history if kinds.HISTORY in known else {},
        )
        for document in (one, other)
    )
    return one, other, tuple(sorted((before.kinds.keys() | after.kinds.keys()) - known))


def _without(document: Fingerprint, relations: frozenset[str]) -> Fingerprint:
    """Leaves some relations with their parts, owners and grants out of a document."""

    def theirs(name: str) -> bool:
        return any(
            name == relation or name.endswith(f" {relation}") or f" {relation}." in name for relation in relations
        )

    schema = {
        kind: {name: definition for name, definition in named.items() if not theirs(name)}
        for kind, named in document.schema.items()
    }
    history = {table: entries for table, entries in document.history.items() if table not in relations}
    return msgspec.structs.replace(document, schema=schema, history=history)


def same_structure(
    before: Fingerprint, after: Fingerprint, *, rows_must_match: bool = False, owners_may_differ: bool = False
) -> Comparison:
    """Says whether a restored database is the one that was dumped, and nothing about what was written.

    What no dump carries is a note, not a difference: an index that was not valid, the version of an extension, an
    expression that prints with other casts and parentheses, a publication of the platform. A materialized view that a
    restore fills anew from its query is a note, too, whether it was stale before or not. With `owners_may_differ` so is
    what belonged to roles that this credential cannot act as, and what they had granted.
    """
    before, after, left_out = common(before, after)
    counted: list[Difference] = []
    notes = [*between(before.surroundings, after.surroundings), *_remade(before, after)]
    platforms = before.surroundings.get("publication of a superuser", {})
    differences = list(structural(before.structure, after.structure))
    owned = {difference.name.removeprefix("of ") for difference in differences if difference.kind == "owner"}
    for difference in differences:
        expected = owners_may_differ and _of_other_owner(difference, owned)
        beyond = _beyond_dump(difference) or (difference.kind == "publication" and difference.name in platforms)
        (notes if expected or beyond else counted).append(difference)
    if rows_must_match:
        counted += _rows(before, after)
    verdict = Verdict.CHANGED if counted else Verdict.SCHEMA_UNCHANGED
    return Comparison(verdict=verdict, differences=tuple(counted), notes=tuple(notes), left_out=left_out)


def _of_other_owner(difference: Difference, owned: set[str]) -> bool:
    """Says whether it comes from things that have another owner: the owner itself, grants on them, default grants."""
    return difference.kind == "owner" or (
        difference.kind == "grant" and (difference.owner in owned or difference.owner.startswith("default for role "))
    )


def structural(before: tuple[Definitions, History], after: tuple[Definitions, History]) -> Iterator[Difference]:
    """Yields what differs between two structures with their histories."""
    yield from between(before[0], after[0])
    for table in sorted(before[1].keys() | after[1].keys()):
        was, present = before[1].get(table, []), after[1].get(table, [])
        for change, entries in ((Change.REMOVED, _more(was, present)), (Change.ADDED, _more(present, was))):
            for entry in entries:
                yield Difference(kind="migration", name=f"{table}: {entry}", change=change)


def _more(these: list[str], than: list[str]) -> list[str]:
    """Lists the entries of which `these` has more than the others; duplicates count."""
    return list((Counter(these) - Counter(than)).elements())


def _remade(before: Fingerprint, after: Fingerprint) -> Iterator[Difference]:
    """Yields the materialized views whose contents a restore has made: those that are populated."""
    was, present = (document.schema.get("materialized view", {}) for document in (before, after))
    for name in sorted(was.keys() & present.keys()):
        if not NOT_POPULATED.match(was[name]) and not NOT_POPULATED.match(present[name]):
            yield Difference(kind="contents", name=f"of materialized view {name}", change=Change.REMADE)


NOT_POPULATED: Final = re.compile(r"(?:unlogged )?(?:with \S+ )?not populated ")
"""The beginning of the definition of a materialized view that holds nothing."""


def _rows(before: Fingerprint, after: Fingerprint) -> list[Difference]:
    return [
        Difference(
            kind="rows",
            name=f"of {table}",
            change=Change.CHANGED,
            before=str(before.row_counts[table]),
            after=str(after.row_counts[table]),
        )
        for table in sorted(before.row_counts.keys() & after.row_counts.keys())
        if before.row_counts[table] != after.row_counts[table]
    ]


def between(before: Definitions, after: Definitions) -> Iterator[Difference]:
    """Yields what differs between two structures, by name. Parts of what came or went are not mentioned.

    Operators are mentioned only where the definitions print alike, since a difference of the definition says enough.
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
    was, present = before.get(kind, {}), after.get(kind, {})
    for name in sorted(was.keys() | present.keys()):
        old, new = was.get(name), present.get(name)
        if old == new or (name in whole and (kind in BLOCKS or kind == "owner")):
            continue
        yield from _lines(kind, name, old, new) if kind in BLOCKS else [_difference(kind, name, old, new)]


def _come_or_gone(before: Definitions, after: Definitions) -> set[str]:
    """Names what is in one of them only. It is named with and without its kind, since owners and grants have both."""
    names: set[str] = set()
    for kind in OWNING:
        in_one = before.get(kind, {}).keys() ^ after.get(kind, {}).keys()
        names.update(in_one, (f"{kind} {name}" for name in in_one))
    return names


def _difference(kind: str, name: str, old: str | None, new: str | None) -> Difference:
    # An owner is kept only where it is not the database's own. So one that is missing is the usual one.
    if kind == "owner":
        return Difference(kind=kind, name=f"of {name}", change=Change.CHANGED, before=old, after=new)
    return Difference(kind=kind, name=name, change=_change(old, new), before=old, after=new)


def _change(old: str | None, new: str | None) -> Change:
    if old is None:
        return Change.ADDED
    return Change.REMOVED if new is None else Change.CHANGED


def _lines(kind: str, owner: str, old: str | None, new: str | None) -> Iterator[Difference]:
    was, present = parse_block(old or ""), parse_block(new or "")
    for line in sorted(was.keys() | present.keys()):
        one, other = was.get(line), present.get(line)
        if one != other:
            change = _change(one, other)
            # Some lines are kept only where they are not as usual, so that one that is missing was not removed: the
            # rights of these roles, and operators, which are kept where they are not the server's own.
            if kind == "operators" or (kind == "grants" and line in USUAL_ROLES):
                change = Change.CHANGED
            yield Difference(
                kind=BLOCKS[kind],
                name=_line_name(kind, owner, line),
                change=change,
                before=one,
                after=other,
                owner=owner,
                part=line,
            )


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
    """Says whether a difference is one that no dump carries, and that a restore makes by itself."""
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
"""The kinds of the differences in what EXPRESSIONS names. Functions are no part of it: the server keeps their body."""
