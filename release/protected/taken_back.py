"""Taken back: the rows of others that a restore has taken back with the migration's, as far as the counters tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from release.database import hold
from release.database.comparison import Comparison
from release.database.evidence import Counters, Written, compare
from release.database.hold import Reading
from release.protected.before import BackedUp

NAMED = 10
"""How many tables a sentence names at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBack:
    """Rows written since the backup began, by table; rows of transactions that were rolled back are among them.

    `by_others` were written before the migration began, or after it had ended. `meanwhile` were written while it ran,
    by it or by others.
    """

    by_others: dict[str, int]
    meanwhile: dict[str, int]

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.by_others or self.meanwhile)


def taken_back(backup: BackedUp, comparison: Comparison, last: Reading | None) -> TakenBack:
    """Counts the rows. `comparison` is of the moment when the restore was decided; `last` was read after that."""
    if backup.sealed:
        return TakenBack(by_others={}, meanwhile={})
    outset = backup.outset.evidence
    first = compare(backup.before.evidence, outset).written
    all_since = hold.written(outset.writes, _comparable(outset.epoch, last))
    meanwhile = {table: _rows(written) for table, written in comparison.written.items()}
    others = {table: _rows(written) for table, written in first.items()}
    for table, written in all_since.items():
        others[table] = others.get(table, 0) + max(_rows(written) - meanwhile.get(table, 0), 0)
    return TakenBack(by_others=_some(others), meanwhile=_some(meanwhile))


def _comparable(epoch: str | None, last: Reading | None) -> Mapping[str, Counters]:
    return last.writes if last is not None and epoch is not None and last.epoch == epoch else {}


def _rows(written: Written) -> int:
    return max(written.inserted, 0) + max(written.updated, 0) + max(written.deleted, 0)


def _some(rows: Mapping[str, int]) -> dict[str, int]:
    return {table: number for table, number in sorted(rows.items()) if number}


def sentence(taken: TakenBack, salvage: str | None, lost: Mapping[str, str]) -> str:
    """Says it in words, with the command that brings them in again. `lost` is in no dump, by table."""
    parts = []
    if taken.by_others:
        parts.append(f"Rows that others wrote were taken back: {_named(taken.by_others)}.")
    if taken.meanwhile:
        parts.append(
            f"Rows written while the migration ran, by it or by others, were taken back: {_named(taken.meanwhile)}."
        )
    if parts and salvage:
        parts.append(f"{salvage} holds them; `bin/release reconcile {salvage}` brings others' rows in again.")
    elif parts:
        parts.append("No salvage holds them.")
    if lost:
        parts.append(f"Written after the salvage, and in no dump: {_named(lost)}.")
    return " ".join(parts)


def _named(tables: Mapping[str, object]) -> str:
    named = [f"{table} ({value})" for table, value in list(tables.items())[:NAMED]]
    more = [f"{len(tables) - NAMED} more tables"] if len(tables) > NAMED else []
    return ", ".join([*named, *more])
