"""What a database is: a document made from its catalogs, which can be kept, compared and read by a person.

Only `schema` and `history` are what it is. Beside them stand exact counts of small tables, which tables held rows, and
the evidence of the same moment (evidence.py), which a later one is compared with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, Literal, TypeAlias

import msgspec
from psycopg import Connection, errors, sql

from release.database import catalog, evidence, rows
from release.database.definitions import Definitions, parse_block, read
from release.database.evidence import Evidence
from release.database.rows import Holding

History: TypeAlias = dict[str, list[str]]
"""Migrations by history table, sorted."""

COUNT_PAGES: Final = {"pages": 64, "total": 2000, "tables": 500}
"""A table is counted if it has at most so many pages of 8 kB, and so many in all; so many tables."""

COUNT_BATCH: Final = 50


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """A database at one moment.

    history: entries by table. row_counts: exact, of small tables only. holding: which tables held rows. evidence: what
    a write afterwards would change.
    """

    version: Literal[1] = 1
    server_version: int
    schema: Definitions
    history: History
    row_counts: dict[str, int]
    holding: Holding
    evidence: Evidence

    def to_json(self) -> bytes:
        """One JSON object; about 1 kB a table."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, document: bytes) -> Fingerprint:
        """The way back. Raises msgspec.DecodeError when it is no fingerprint of this version."""
        return msgspec.json.decode(document, type=cls)

    @property
    def structure(self) -> tuple[Definitions, History]:
        """What has to be equal."""
        return self.schema, self.history

    @property
    def surroundings(self) -> Definitions:
        """What belongs to the database as such, and is no part of its structure."""
        return self.evidence.surroundings

    @property
    def invalid_indexes(self) -> list[str]:
        """Names of the indexes that were not valid: a concurrent build of them failed."""
        return sorted(name for block in self.schema.get("invalid indexes", {}).values() for name in parse_block(block))

    def digest(self) -> str:
        """SHA-256 of schema and history, hexadecimal. Equal: the same structure. Not equal: ask same_structure()."""
        return hashlib.sha256(msgspec.json.encode([self.schema, self.history], order="deterministic")).hexdigest()


def take(connection: Connection[Any]) -> Fingerprint:
    """The fingerprint of the database behind a connection in autocommit mode, outside any transaction.

    The queries are prepared: planning is most of their cost, and a session takes a second one after the migration.

    The catalogs are read in one snapshot. The functions that print definitions look at the newest state nevertheless,
    so that DDL of somebody else at the same moment can be an error; the caller tries again. Waits at most 2 s for
    a lock. Raises psycopg.Error.
    """
    seen = evidence.take(connection)  # first: what is written from here on must not be missing in both
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        schema = read_schema(connection)
        history = read_history(connection)
        row_counts = _row_counts(connection)
    return Fingerprint(
        server_version=connection.info.server_version,
        schema=schema,
        history=history,
        row_counts=row_counts,
        holding=rows.look(connection),
        evidence=seen,
    )


def read_schema(connection: Connection[Any]) -> Definitions:
    """The structure alone. Inside a transaction, whose search path and limits it sets. Raises psycopg.Error."""
    connection.execute(catalog.LIMITS)
    return read(connection, (*catalog.STRUCTURE, *catalog.GRANTS))


def read_history(connection: Connection[Any]) -> History:
    """What the frameworks say was migrated. Inside a transaction with catalog.LIMITS. Raises psycopg.Error."""
    known = [table for table, _, _ in catalog.HISTORY]
    history: History = {}
    for name, table, columns in connection.execute(catalog.HISTORIES, [known], prepare=True).fetchall():
        for expected, needed, entry in catalog.HISTORY:
            if table == expected and needed <= set(columns):
                query = sql.SQL('SELECT entry FROM (SELECT {} FROM {}) AS t (entry) ORDER BY entry COLLATE "C"')
                entries = connection.execute(query.format(sql.SQL(entry), sql.SQL(name)))
                history[name] = [entry or "" for (entry,) in entries]
                break
    return history


def _row_counts(connection: Connection[Any]) -> dict[str, int]:
    """Exact counts of small tables. Locks are given back after each batch; a table that is locked loses its batch."""
    names = [name for (name,) in connection.execute(catalog.COUNTABLE, COUNT_PAGES, prepare=True)]
    counts: dict[str, int] = {}
    for batch in _batches(names, COUNT_BATCH):
        query = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {}, count(*) FROM ONLY {}").format(sql.Literal(name), sql.SQL(name)) for name in batch
        )
        with (
            suppress(errors.LockNotAvailable, errors.QueryCanceled, errors.UndefinedTable),
            connection.transaction(),
        ):
            counts.update(connection.execute(query).fetchall())
    return counts


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
