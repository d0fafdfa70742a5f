"""The outset: how the database stood right before its migration, after the backup was taken.

What was written after the outset may be the migration's doing. What others wrote while the backup was being taken is
not. A table that still has a row that is older than the backup is not empty in the backup, whatever was deleted from it
meanwhile. A queue, which is emptied all the time, has no such row.
"""

from __future__ import annotations

from typing import Any

import msgspec
from psycopg import Connection

from release.database import evidence, rows
from release.database.evidence import Evidence
from release.database.fingerprint import Fingerprint

CHURN = 5
"""A factor: a table from which so many times the rows that it held were deleted is one that fills and empties.

The rows are counted since the server's counters began. The value is a choice, large enough that a single clean-up of a
table does not make it a queue.
"""


class Outset(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence of that moment. `steady` names the tables that have held a row since before the backup, sorted."""

    evidence: Evidence = Evidence()
    steady: list[str] = []

    @property
    def known(self) -> bool:
        """Whether the outset was taken, and read back from the journal as it was written there."""
        return self.evidence.snapshot.end > 0

    def to_json(self) -> bytes:
        """Writes it as one JSON object."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, document: bytes | None) -> Outset:
        """Reads it back. Of a document that is missing or has another form nothing is known, which proves nothing."""
        try:
            return msgspec.json.decode(document or b"{}", type=cls)
        except msgspec.MsgspecError:
            return cls()


def at_outset(connection: Connection[Any], before: Fingerprint) -> Outset:
    """Takes the outset over a connection in autocommit mode. Raises psycopg.Error.

    `before` is the fingerprint from before the backup.
    """
    seen = evidence.take(connection)
    old = rows.read_holding(connection, older_than=before.evidence.snapshot)
    return Outset(evidence=seen, steady=sorted(set(before.holding.held) & set(old.held)))


def emptied_tables(
    connection: Connection[Any], before: Fingerprint, outset: Outset
) -> tuple[list[str], list[str], list[str]]:
    """Finds the tables that held rows all along, are still there and hold none. Raises psycopg.Error.

    Returns three lists of names: the tables that have surely lost their rows, those for which being empty is usual, and
    those that could not be looked into. Being empty is usual for a queue: many more rows have been deleted from it than
    it held.
    """
    after = rows.read_holding(connection)
    there = evidence.tables(connection)
    emptied = sorted((set(outset.steady) & there) - set(after.held) - set(after.unknown))
    usual = [name for name in emptied if _is_queue(name, before, outset)]
    unknown = sorted(set(outset.steady) & set(after.unknown))
    return [name for name in emptied if name not in usual], usual, unknown


def _is_queue(name: str, before: Fingerprint, outset: Outset) -> bool:
    counters = outset.evidence.writes.get(name)
    if counters is None or outset.evidence.epoch is None:
        return False
    # The exact count where there is one, the server's estimate otherwise; at least 1, so that 0 deleted are not many.
    held = max(before.row_counts.get(name, counters.live), 1)
    return counters.deleted >= CHURN * held
