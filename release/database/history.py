# ruff: noqa: S608 - only constants of this package are put together here; values go in as parameters.
"""What a framework says was migrated: read from its own table, of which the caller says what it looks like."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, LiteralString
from zlib import crc32

from psycopg import Connection, sql

from release.database.catalog.scope import SCOPE
from release.database.session import translated


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryTable:
    """A table in which a framework keeps what it has migrated. It is known by its name and its columns, in any schema.

    columns: what identifies an entry. order: the column that puts entries in the order in which they happened; None:
    the columns themselves do. entry: SQL for an entry as text, None for its columns with dots between; it leaves out
    when it happened, because a second run of the same migration is the same migration. more: other columns in `entry`.
    """

    table: str
    columns: tuple[str, ...]
    order: str | None = None
    entry: LiteralString | None = None
    more: frozenset[str] = frozenset()

    @property
    def all_columns(self) -> frozenset[str]:
        """Every column that the table has to have."""
        return self.more.union(self.columns)

    @property
    def text(self) -> sql.Composable:
        """An entry as text, in SQL."""
        if self.entry is not None:
            return sql.SQL(self.entry)
        return sql.SQL("concat_ws('.', {})").format(sql.SQL(", ").join(map(sql.Identifier, self.columns)))


FOUND: Final[LiteralString] = (
    SCOPE
    + r"""
SELECT r.name, r.relname, array_agg(a.attname::text ORDER BY a.attnum)
  FROM relations r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE r.relkind IN ('r', 'p') AND r.relname = ANY (%s) AND has_table_privilege(r.oid, 'SELECT')
 GROUP BY r.name, r.relname ORDER BY r.name COLLATE "C"
"""
)

_WHERE: Final[LiteralString] = (
    "SELECT c.oid::regclass::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relname = %s AND c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND has_table_privilege(c.oid, 'SELECT')"
    " AND %s::text[] <@ ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a"
    " WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)"
    " ORDER BY n.nspname <> 'public', n.nspname LIMIT 1"
)


def applied(connection: Connection[Any], history: HistoryTable) -> list[tuple[str, ...]]:
    """The entries of a history table, oldest first; none where there is no such table. Raises Failed or Lost."""
    with translated():
        found = connection.execute(_WHERE, [history.table, sorted(history.all_columns)]).fetchall()
        if not found:
            return []
        columns = sql.SQL(", ").join(map(sql.Identifier, history.columns))
        order = sql.Identifier(history.order) if history.order else columns
        query = sql.SQL("SELECT {} FROM {} ORDER BY {}").format(columns, sql.SQL(found[0][0]), order)
        return [tuple(map(str, row)) for row in connection.execute(query)]


def recorded(connection: Connection[Any], histories: Iterable[HistoryTable]) -> dict[str, list[str]]:
    """The entries as text, sorted, of every table that is one of `histories`. Raises psycopg.Error.

    Inside a transaction with catalog.LIMITS. Where several have the same name, the one with the most columns is meant.
    """
    known = sorted(histories, key=lambda each: len(each.all_columns), reverse=True)
    read: dict[str, list[str]] = {}
    for name, table, columns in connection.execute(FOUND, [[each.table for each in known]], prepare=True).fetchall():
        for each in known:
            if table == each.table and each.all_columns <= set(columns):
                query = sql.SQL('SELECT entry FROM (SELECT {} FROM {}) AS t (entry) ORDER BY entry COLLATE "C"')
                entries = connection.execute(query.format(each.text, sql.SQL(name)))
                read[name] = [entry or "" for (entry,) in entries]
                break
    return read


def revision(histories: Iterable[HistoryTable]) -> int:
    """A number for what `recorded` looks at: another one for other tables, and 0 for none.

    It stands in the fingerprint (kinds.py), so that a table that only a newer version of this code knows is not taken
    for something that a migration has added.
    """
    looked_at = sorted(
        f"{history.table} {sorted(history.all_columns)} {history.columns} {history.entry}" for history in histories
    )
    return crc32("\n".join(looked_at).encode())
