"""Taken back: the rows of others that a restore has taken back with the migration's, as far as the counters tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from release.database import hold
from release.database.comparison import Change, Comparison
from release.database.evidence import Counters, Written, compare
from release.database.hold import Reading
from release.protected.before import BackedUp
from release.witness.verdict import Account

NAMED = 10
"""How many tables a sentence names at most."""


class TakenBack(Struct, frozen=True, kw_only=True):
    """Rows written since the backup began, by table; rows of transactions that were rolled back are among them.

    `by_others` were written by others: before the migration began, after it had ended, or to a table to which it has
    not written. `meanwhile` were written while it ran, by it or by others. `migration` has the tables to which it may
    have written, as the witness knows; None: it may have been any. `only_others` has those to which surely only others
    wrote, so that `reconcile` may bring their rows in again unasked; few where neither the witness nor the counters
    prove that. `migrations_alone` has those of `meanwhile` where nobody else writes: tables that the migration made,
    and the history of migrations. It is empty where it is not known what the migration wrote.
    """

    by_others: dict[str, int] = field(default_factory=dict)
    meanwhile: dict[str, int] = field(default_factory=dict)
    only_others: tuple[str, ...] = ()
    migration: tuple[str, ...] | None = None
    migrations_alone: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.by_others or self.meanwhile)


def written_by(accounts: Sequence[Account]) -> tuple[str, ...] | None:
    """Returns the tables to which the app's commands may have written, as the witness knows; None: it may be any."""
    written = [account.written for account in accounts]
    if not written or None in written:
        return None
    return tuple(sorted({table for tables in written for table in tables or ()}))


def taken_back(
    backup: BackedUp, comparison: Comparison, last: Reading | None, accounts: Sequence[Account]
) -> TakenBack:
    """Counts the rows. `comparison` is of the moment when the restore was decided; `last` was read after that."""
    if backup.sealed:
        return TakenBack()
    outset = backup.outset.evidence
    first = compare(backup.before.evidence, outset).written
    all_since = hold.written(outset.writes, _comparable(outset.epoch, last))
    own = written_by(accounts)
    others = {table: _rows(written) for table, written in first.items()}
    meanwhile = {table: _rows(written) for table, written in comparison.written.items()}
    for table, written in all_since.items():
        others[table] = others.get(table, 0) + max(_rows(written) - meanwhile.get(table, 0), 0)
    for table in [] if own is None else meanwhile.keys() - own:
        others[table] = others.get(table, 0) + meanwhile.pop(table)
    private = set() if own is None else _made(comparison) | backup.before.history.keys()
    counted = comparison.traces is not None and comparison.unproved is None
    alone = others.keys() - (comparison.written.keys() if own is None else own) if counted or own is not None else ()
    return TakenBack(
        by_others=_some(others),
        meanwhile=_some(meanwhile),
        only_others=tuple(table for table in _some(others) if table in alone),
        migration=own,
        migrations_alone=tuple(table for table in _some(meanwhile) if table in private),
    )


def _made(comparison: Comparison) -> set[str]:
    tables = (each for each in comparison.differences if each.kind == "table" and each.change is Change.ADDED)
    return {table.name for table in tables}


def _comparable(epoch: str | None, last: Reading | None) -> Mapping[str, Counters]:
    return last.writes if last is not None and epoch is not None and last.epoch == epoch else {}


def _rows(written: Written) -> int:
    return max(written.inserted, 0) + max(written.updated, 0) + max(written.deleted, 0)


def _some(rows: Mapping[str, int]) -> dict[str, int]:
    return {table: number for table, number in sorted(rows.items()) if number}


def sentence(taken: TakenBack, salvage: str | None, lost: Mapping[str, str]) -> str:
    """Says it in words, with the command that brings them in again. `lost` is in no dump, by table.

    Says nothing of rows that were the migration's alone: to undo them is what a restore is for.
    """
    parts = []
    shared = {table: rows for table, rows in taken.meanwhile.items() if table not in taken.migrations_alone}
    if taken.by_others:
        parts.append(f"Rows that others wrote were taken back: {_named(taken.by_others)}.")
    if shared and taken.migration is None:
        parts.append(f"Rows written while the migration ran, by it or by others, were taken back: {_named(shared)}.")
    elif shared:
        parts.append(
            f"Rows of tables to which the migration wrote, and others may have, were taken back: {_named(shared)}."
        )
    if parts and salvage:
        found = "brings others' rows in again" if taken.by_others or taken.migration is None else "finds others' rows"
        parts.append(f"{salvage} holds them; `release-phase reconcile {salvage}` {found}.")
    elif parts:
        parts.append("No salvage holds them.")
    if lost:
        parts.append(f"Written after the salvage, and in no dump: {_named(lost)}.")
    return " ".join(parts)


def _named(tables: Mapping[str, object]) -> str:
    named = [f"{table} ({value})" for table, value in list(tables.items())[:NAMED]]
    more = [f"{len(tables) - NAMED} more tables"] if len(tables) > NAMED else []
    return ", ".join([*named, *more])
