# ruff: noqa: S608 -- only constants of this package are put together here; values go in as parameters.
"""A framework's own record of what was migrated, read from its history table. The caller says how that table looks."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final, LiteralString
from zlib import crc32

from msgspec import Struct
from psycopg import Connection, sql

from release.database.catalog.scope import LIMITS, SCOPE
from release.database.session import translated


class HistoryTable(Struct, frozen=True, kw_only=True):
    """A table in which a framework keeps what it has migrated. It is known by its name and its columns, in any schema.

    `columns` identify an entry. `order` is the column by which entries stand in the order in which they happened; where
    it is None, the columns themselves do that. `entry` is SQL for an entry as text, and None where that is the columns
    with dots between. It leaves out the time, because a second run of the same migration is the same migration. `more`
    names the other columns that `entry` uses, or by which the table is known. `applied` is SQL that is true of a row
    whose migration is in effect; None: of each.
    """

    table: str
    columns: tuple[str, ...]
    order: str | None = None
    entry: LiteralString | None = None
    more: frozenset[str] = frozenset()
    applied: LiteralString | None = None

    @property
    def all_columns(self) -> frozenset[str]:
        """Every column by which the table is known."""
        return self.more.union(self.columns)

    @property
    def text(self) -> sql.Composable:
        """SQL for an entry as text."""
        if self.entry is not None:
            return sql.SQL(self.entry)
        return sql.SQL("concat_ws('.', {})").format(sql.SQL(", ").join(map(sql.Identifier, self.columns)))


_NAMED: Final[LiteralString] = (
    SCOPE
    + r"""
SELECT r.name, r.relname, array_agg(a.attname::text ORDER BY a.attnum)
  FROM relations r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE r.relkind IN ('r', 'p') AND r.relname = ANY (%s) AND has_table_privilege(r.oid, 'SELECT')
 GROUP BY r.name, r.relname ORDER BY r.name COLLATE "C"
"""
)
"""(qualified name, bare name, columns) of the tables of some names that this role may read."""

_WITH_COLUMNS: Final[LiteralString] = (
    "SELECT c.oid::regclass::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relname = %s AND c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND has_table_privilege(c.oid, 'SELECT')"
    " AND %s::text[] <@ ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a"
    " WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)"
    " ORDER BY n.nspname <> 'public', n.nspname LIMIT 1"
)
"""The qualified name of the table of one name that has some columns; the one in `public` where several have."""


def applied(connection: Connection[Any], history: HistoryTable) -> list[tuple[str, ...]]:
    """Reads the entries of a history table, oldest first; none where there is no such table. Raises Failed or Lost."""
    with translated():
        tables = connection.execute(_WITH_COLUMNS, [history.table, sorted(history.all_columns)]).fetchall()
        if not tables:
            return []
        columns = sql.SQL(", ").join(map(sql.Identifier, history.columns))
        order = sql.Identifier(history.order) if history.order else columns
        condition = sql.SQL(history.applied or "true")
        selected = sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {}")
        query = selected.format(columns, sql.SQL(tables[0][0]), condition, order)
        return [tuple(map(str, row)) for row in connection.execute(query)]


def recorded(connection: Connection[Any], histories: Iterable[HistoryTable]) -> dict[str, list[str]]:
    """Reads the entries as text, sorted, of every table that is one of `histories`. Raises psycopg.Error.

    The caller has begun a transaction with catalog.LIMITS. Where several histories have a table of the same name, the
    one with the most columns is meant.
    """
    known = sorted(histories, key=lambda history: len(history.all_columns), reverse=True)
    read: dict[str, list[str]] = {}
    for name, table, columns in connection.execute(
        _NAMED, [[history.table for history in known]], prepare=True
    ).fetchall():
        for history in known:
            if table == history.table and history.all_columns <= set(columns):
                query = sql.SQL('SELECT entry FROM (SELECT {} FROM {}) AS t (entry) ORDER BY entry COLLATE "C"')
                entries = connection.execute(query.format(history.text, sql.SQL(name)))
                read[name] = [entry or "" for (entry,) in entries]
                break
    return read


LARGEST: Final = 8 << 20
"""The bytes up to which a table is read whose name looks like a history's. No tool's own has nearly as many."""

_LOOK_ALIKE: Final[LiteralString] = (
    SCOPE
    + r"""
SELECT r.name FROM relations r
 WHERE CASE WHEN r.relkind IN ('r', 'p')
                 AND r.name ~* 'migrat|schema_?(version|info|history|revision)|db_?version|changelog|evolution|sqitch'
                               '|sequelize|aerich|alembic|phinx|flyway|liquibase'
            THEN has_table_privilege(r.oid, 'SELECT') AND pg_relation_size(r.oid) <= %s END
 ORDER BY r.name COLLATE "C"
"""
)
"""The qualified names of the tables whose names look like those in which tools keep what they have migrated.

CASE keeps the server from opening every table for its size.
"""

_ROWS: Final = sql.SQL("SELECT {}, count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text FROM {} AS t")
"""(name, number of rows, sum of their hashes) of one table."""


def look_alikes(connection: Connection[Any]) -> str:
    """Computes a digest of all rows in all tables that look like a history, also of a tool that nobody here knows.

    Raises Failed or Lost.
    """
    with translated(), connection.transaction():
        connection.execute(LIMITS)
        names = [name for (name,) in connection.execute(_LOOK_ALIKE, [LARGEST]).fetchall()]
        read = [connection.execute(_ROWS.format(sql.Literal(name), sql.SQL(name))).fetchone() for name in names]
    return blake2b(repr(read).encode(), digest_size=16).hexdigest()


def revision(histories: Iterable[HistoryTable]) -> int:
    """Computes a number that stands for the tables that `recorded` reads: another one for other tables, 0 for none.

    It is part of the fingerprint (kinds.py). So a table that only a newer version of this code knows is not taken for
    something that a migration has added.
    """
    described = sorted(
        f"{history.table} {sorted(history.all_columns)} {history.columns} {history.entry}" for history in histories
    )
    return crc32("\n".join(described).encode())
