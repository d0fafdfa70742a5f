"""What a database is: a document made from its catalogs, and what it needs for a comparison with a later one.

**What proves that no table was written in between.** Per table the counters of inserted, updated and deleted rows, and
the number of the file that holds it.

- The counters count what aborted transactions did as well (monitoring-stats in the manual), so they err on the safe
  side. They are read by the functions below pg_stat_user_tables, with `stats_fetch_consistency = none`.
- TRUNCATE and a refreshed materialized view count nothing but get a new file (`pg_class.relfilenode`); so do VACUUM
  FULL, CLUSTER and rewriting ALTERs.
- From PG 15 on counters live in shared memory. A session hands in its own at the end of a transaction, at most once a
  second, after 10 s idle, and in any case when it ends (pgstat_report_stat and pgstat_shutdown_hook in
  src/backend/utils/activity/pgstat.c, the latter before the session leaves pg_stat_activity). So all that the
  migration did is counted once its sessions are gone, which the caller has to see to first. Others' last
  seconds may be missing, which does no harm: nothing of theirs is undone over an unchanged database.
- Before PG 15 sessions sent counters by UDP, which may lose some: nothing is proved there.
- Counters can be reset, and are lost in a crash or a failover. The epoch notices: the database's oid and its reset
  time, the server's start, and the reset time of the background writer, which a crash sets anew
  (pgstat_reset_after_failure).
- Large objects are rows of two system tables, which are counted like the others. A sequence is not a table; its
  position is kept, and once one has moved nothing is proved: an aborted transaction moves it on, and so does `setval`.
- A transaction that was prepared in between counts when it commits: nothing is proved while there is one.
- Foreign tables hold their rows elsewhere, and this document says nothing about them.

Whatever cannot be told counts as written.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import msgspec
from psycopg import Connection, errors, sql

from release.database import catalog
from release.database.canonical import canonical

Definitions: TypeAlias = dict[str, dict[str, str]]
"""By kind, by name. Of a kind in BLOCKS the definition is a block: name, tab, definition, a line each."""

History: TypeAlias = dict[str, list[str]]
"""Migrations by history table, sorted."""

BLOCKS: Final = {
    "columns": "column",
    "constraints": "constraint",
    "indexes": "index",
    "invalid indexes": "invalid index",
    "triggers": "trigger",
    "rules": "rule",
    "policies": "policy",
    "comments": "comment",
    "grants": "grant",
    "published": "published",
    "operators": "operators",
}
"""What comes as one block for each table (grants: for each object), and what one line of it is."""

EXPRESSIONS: Final = frozenset(
    {
        "columns", "constraints", "indexes", "invalid indexes", "triggers", "rules", "policies", "table",
        "view", "materialized view", "type", "domain", "statistics", "function", "procedure", "published",
    }
)  # fmt: skip
"""Kinds whose definitions the server prints from trees; see canonical.py."""

LONG: Final = 4000
"""Characters; of a longer definition the document keeps the first half of that, and a hash of all."""

COUNT_PAGES: Final = {"pages": 64, "total": 2000, "tables": 500}
"""A table is counted if it has at most so many pages of 8 kB, and so many in all; so many tables."""

COUNT_BATCH: Final = 50
POSITION_BATCH: Final = 500
"""Reading a sequence's position keeps a lock until the transaction ends, and the room for locks is limited."""

FLUSH_SINCE: Final = 150_000
"""The version with pg_stat_force_next_flush()."""


class Counters(msgspec.Struct, frozen=True, array_like=True):
    """Of one table: rows ever inserted, updated, deleted; rows it is thought to have; the number of its file."""

    inserted: int
    updated: int
    deleted: int
    live: int
    file: int


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """A database at one moment. Only `schema` and `history` are what it is; the rest is evidence about its data.

    history: entries by table. row_counts: exact, of small tables only. positions: last value of each sequence, negated
    where it counts down, None when never used. epoch: of the counters, None when they prove nothing. surroundings: what
    belongs to the database as such and is not part of any comparison.
    """

    version: Literal[1] = 1
    taken_at: datetime
    server_version: int
    schema: Definitions
    history: History
    row_counts: dict[str, int]
    writes: dict[str, Counters]
    positions: dict[str, int | None]
    epoch: str | None
    prepared: list[str]
    surroundings: Definitions

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
    if connection.info.server_version >= FLUSH_SINCE:
        connection.execute("SELECT pg_stat_force_next_flush()")
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        schema = read_schema(connection)
        history = read_history(connection)
        surroundings = read(connection, catalog.SURROUNDINGS)
        server_version, taken_at, epoch, prepared = connection.execute(catalog.STATISTICS, prepare=True).fetchall()[0]
        writes = {name: Counters(*counters) for name, *counters in connection.execute(catalog.WRITES, prepare=True)}
        row_counts = _row_counts(connection)
    return Fingerprint(
        taken_at=taken_at,
        server_version=server_version,
        schema=schema,
        history=history,
        row_counts=row_counts,
        writes=writes,
        positions=_positions(connection),
        epoch=epoch,
        prepared=prepared,
        surroundings=surroundings,
    )


def read_schema(connection: Connection[Any]) -> Definitions:
    """The structure alone. Inside a transaction, whose search path and limits it sets. Raises psycopg.Error."""
    connection.execute(catalog.LIMITS)
    return read(connection, (*catalog.STRUCTURE, *catalog.GRANTS))


def read(connection: Connection[Any], queries: Sequence[catalog.Query]) -> Definitions:
    """What some queries of catalog.py say, inside a transaction with catalog.LIMITS. Raises psycopg.Error."""
    found: Definitions = {}
    for query in _worth_asking(connection, queries):
        for kind, name, definition in connection.execute(query.text, prepare=True):
            found.setdefault(kind, {})[name] = _kept(kind, definition or "")
    return found


def _worth_asking(connection: Connection[Any], queries: Sequence[catalog.Query]) -> list[catalog.Query]:
    """Leaves out what this database has none of: planning a query takes longer than running it over nothing."""
    version = connection.info.server_version
    queries = [query for query in queries if query.since <= version < query.until]
    exists = sql.SQL(", ").join(sql.SQL("EXISTS (SELECT FROM {})").format(sql.SQL(query.only_if)) for query in queries)
    (answers,) = connection.execute(sql.SQL("SELECT {}").format(exists), prepare=True).fetchall()
    return [query for query, some in zip(queries, answers, strict=True) if some]


def _kept(kind: str, definition: str) -> str:
    """A definition as the document keeps it."""
    if kind in BLOCKS:
        if kind not in EXPRESSIONS or ("((" not in definition and "])::" not in definition):
            return definition
        return "\n".join(map(canonical, definition.split("\n")))
    if kind in EXPRESSIONS:
        definition = canonical(definition)
    if len(definition) <= LONG:
        return definition
    return f"{definition[: LONG // 2]} … sha256 {hashlib.sha256(definition.encode()).hexdigest()}"


def is_whole(definition: str) -> bool:
    """Whether a definition is kept as it was: neither cut because it is long nor hashed because it may be a secret."""
    return not _HASH.search(definition)


_HASH: Final = re.compile(r"(?:^| … )sha256 [0-9a-f]{64}\Z")


def read_history(connection: Connection[Any]) -> History:
    """What the frameworks say was migrated. Inside a transaction with catalog.LIMITS. Raises psycopg.Error."""
    known = [table for table, _, _ in catalog.HISTORY]
    history: History = {}
    for name, table, columns in connection.execute(catalog.HISTORIES, [known], prepare=True).fetchall():
        for expected, needed, entry in catalog.HISTORY:
            if table == expected and needed <= set(columns):
                query = sql.SQL('SELECT entry FROM (SELECT {} FROM {}) AS t (entry) ORDER BY entry COLLATE "C"')
                rows = connection.execute(query.format(sql.SQL(entry), sql.SQL(name)))
                history[name] = [row[0] or "" for row in rows]
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


def _positions(connection: Connection[Any]) -> dict[str, int | None]:
    """Positions are not part of any snapshot, so they need not be read in one."""
    sequences = connection.execute(catalog.SEQUENCES, prepare=True).fetchall()
    positions: dict[str, int | None] = {}
    for batch in _batches(sequences, POSITION_BATCH):
        values = dict(connection.execute(catalog.POSITIONS, [[oid for _, oid, _ in batch]]).fetchall())
        for name, oid, sign in batch:
            value = values[oid]
            positions[name] = None if value is None else sign * value
    return positions


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def parse_block(block: str) -> dict[str, str]:
    """The lines of a block by name."""
    return {name: definition for name, _, definition in (line.partition("\t") for line in block.split("\n") if line)}
