"""The outset: how the database stood right before its migration, after the backup was taken.

What was written after it is what the migration may have to answer for; what others wrote while the backup was being
taken is not. And a table with a row that is older than the backup is not empty in the backup, whatever was deleted from
it meanwhile, which a queue that is emptied all the time does not have.
"""

from __future__ import annotations

from typing import Any

import msgspec
from psycopg import Connection

from release.database import evidence, rows
from release.database.evidence import Evidence
from release.database.fingerprint import Fingerprint

CHURN = 5
"""So many times more rows than a table holds were deleted from it since its counters began: it fills and empties."""


class Outset(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence of that moment, and `steady`: the tables that have held a row since before the backup, sorted."""

    evidence: Evidence = Evidence()
    steady: list[str] = []

    @property
    def known(self) -> bool:
        """Whether it was looked at, and read back as it was written."""
        return self.evidence.snapshot.end > 0

    def to_json(self) -> bytes:
        """One JSON object."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, document: bytes | None) -> Outset:
        """The way back; what is missing, or was written in another form, proves nothing."""
        try:
            return msgspec.json.decode(document or b"{}", type=cls)
        except msgspec.MsgspecError:
            return cls()


def at_outset(connection: Connection[Any], before: Fingerprint) -> Outset:
    """The outset, over a connection in autocommit mode. `before`: the fingerprint of before the backup.

    Raises psycopg.Error.
    """
    seen = evidence.take(connection)
    old = rows.read_holding(connection, older_than=before.evidence.snapshot)
    return Outset(evidence=seen, steady=sorted(set(before.holding.held) & set(old.held)))


def emptied_tables(
    connection: Connection[Any], before: Fingerprint, outset: Outset
) -> tuple[list[str], list[str], list[str]]:
    """Tables that held rows all along, are still there and hold none: (surely lost, usual for them, unknown).

    It is usual for a table from which many more rows have been deleted than it held: a queue. Raises psycopg.Error.
    """
    now = rows.read_holding(connection)
    there = evidence.take(connection).writes
    gone = sorted((set(outset.steady) & there.keys()) - set(now.held) - set(now.unknown))
    usual = [name for name in gone if _churns(name, before, outset)]
    unknown = sorted(set(outset.steady) & set(now.unknown))
    return [name for name in gone if name not in usual], usual, unknown


def _churns(name: str, before: Fingerprint, outset: Outset) -> bool:
    counters = outset.evidence.writes.get(name)
    if counters is None or outset.evidence.epoch is None:
        return False
    held = max(before.row_counts.get(name, counters.live), 1)
    return counters.deleted >= CHURN * held
