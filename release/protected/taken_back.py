"""Taken back: the rows of others that a restore has taken back with the migration's, as far as the counters tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
    by it or by others. `only_others` has the tables to which surely nothing was written while it ran, so that
    `reconcile` may bring their rows in again unasked; none where the counters do not prove that.
    """

    by_others: dict[str, int] = field(default_factory=dict)
    meanwhile: dict[str, int] = field(default_factory=dict)
    only_others: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.by_others or self.meanwhile)


def taken_back(backup: BackedUp, comparison: Comparison, last: Reading | None) -> TakenBack:
    """Counts the rows. `comparison` is of the moment when the restore was decided; `last` was read after that."""
    if backup.sealed:
        return TakenBack()
    outset = backup.outset.evidence
    first = compare(backup.before.evidence, outset).written
    all_since = hold.written(outset.writes, _comparable(outset.epoch, last))
    meanwhile = {table: _rows(written) for table, written in comparison.written.items()}
    others = {table: _rows(written) for table, written in first.items()}
    for table, written in all_since.items():
        others[table] = others.get(table, 0) + max(_rows(written) - meanwhile.get(table, 0), 0)
    sure = comparison.traces is not None and comparison.unproved is None
    alone = sorted(_some(others).keys() - comparison.written.keys()) if sure else ()
    return TakenBack(by_others=_some(others), meanwhile=_some(meanwhile), only_others=tuple(alone))


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
        parts.append(f"{salvage} holds them; `release-phase reconcile {salvage}` brings others' rows in again.")
    elif parts:
        parts.append("No salvage holds them.")
    if lost:
        parts.append(f"Written after the salvage, and in no dump: {_named(lost)}.")
    return " ".join(parts)


def _named(tables: Mapping[str, object]) -> str:
    named = [f"{table} ({value})" for table, value in list(tables.items())[:NAMED]]
    more = [f"{len(tables) - NAMED} more tables"] if len(tables) > NAMED else []
    return ", ".join([*named, *more])
