"""Positions: where the sequences stand. No rollback takes a sequence back, and no snapshot covers its position."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from sys import intern
from typing import Any, Final, NamedTuple

import msgspec
from psycopg import Connection, errors, sql

from release.database import catalog

BATCH: Final = 500
"""The number of sequences in one transaction. Reading one's position keeps a lock until the transaction ends, and the
server's table of locks has limited room (max_locks_per_transaction in the manual)."""


class Position(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The position of one sequence: its last value, whether it was ever called, and its increment."""

    value: int
    called: bool
    increment: int

    def is_ahead_of(self, other: Position) -> bool:
        """Says whether its next value is later than that of the other, in the direction in which both count."""
        if (self.increment > 0) != (other.increment > 0):
            return False
        # A sequence that was never called gives its last value itself; any other adds its increment first.
        mine, others = (position.value + position.increment * position.called for position in (self, other))
        return mine > others if self.increment > 0 else mine < others


def read_positions(connection: Connection[Any]) -> tuple[dict[str, Position], list[str]]:
    """Reads where sequences stand, and lists those that could not be read. Raises psycopg.Error."""
    rows = connection.execute(catalog.SEQUENCES, prepare=True)
    sequences = [_Sequence(intern(name), *facts) for name, *facts in rows]
    positions: dict[str, Position] = {}
    unread = [sequence.name for sequence in sequences if sequence.locked]
    for batch in _batches([sequence for sequence in sequences if not sequence.locked], BATCH):
        unread += _bisected(connection, batch, lambda part: _read_used(connection, part, positions))
    unused = [
        sequence
        for sequence in sequences
        if sequence.readable and sequence.name in positions and not positions[sequence.name].called
    ]
    for batch in _batches(unused, BATCH):
        unread += _bisected(connection, batch, lambda part: _read_unused(connection, part, positions))
    return positions, [f"sequence {name}" for name in unread]


class _Sequence(NamedTuple):
    name: str
    oid: int
    increment: int
    readable: bool
    locked: bool


def _read_used(connection: Connection[Any], batch: Sequence[_Sequence], positions: dict[str, Position]) -> None:
    values = dict(connection.execute(catalog.POSITIONS, [[sequence.oid for sequence in batch]]).fetchall())
    for sequence in batch:
        value = values[sequence.oid]  # pg_sequence_last_value() is null until the sequence is called.
        positions[sequence.name] = Position(value or 0, value is not None, sequence.increment)


def _read_unused(connection: Connection[Any], batch: Sequence[_Sequence], positions: dict[str, Position]) -> None:
    """Reads where sequences stand that were never called, which only their row tells."""
    query = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}, last_value, is_called, {} FROM {}").format(
            sequence.name, sequence.increment, sql.SQL(sequence.name)
        )
        for sequence in batch
    )
    for name, value, called, increment in connection.execute(query):
        positions[name] = Position(value, called, increment)


def _bisected(
    connection: Connection[Any], batch: Sequence[_Sequence], read_positions: Callable[[Sequence[_Sequence]], None]
) -> list[str]:
    """Reads a whole batch at once, or its halves where one sequence is in the way; returns the names of the unread."""
    try:
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '200ms'")
            read_positions(batch)
    except (errors.LockNotAvailable, errors.QueryCanceled, errors.UndefinedTable, errors.InsufficientPrivilege):
        if len(batch) == 1:
            return [batch[0].name]
        half = len(batch) // 2
        return [
            *_bisected(connection, batch[:half], read_positions),
            *_bisected(connection, batch[half:], read_positions),
        ]
    return []


def _batches(items: Sequence[_Sequence], size: int) -> Iterator[Sequence[_Sequence]]:
    return (items[start : start + size] for start in range(0, len(items), size))
