"""What a framework says was migrated, in the order in which it happened: read from its own table."""

from __future__ import annotations

from typing import Any, Final, LiteralString

from psycopg import Connection, sql

from release.database.session import translated

_COLUMNS: Final[dict[str, tuple[tuple[LiteralString, ...], LiteralString]]] = {
    "django_migrations": (("app", "name"), "id"),
    "alembic_version": (("version_num",), "version_num"),
}
"""By table: the columns of an entry, and what puts entries in order."""

_WHERE: Final[LiteralString] = (
    "SELECT c.oid::regclass::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relname = %s AND c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND has_table_privilege(c.oid, 'SELECT')"
    " ORDER BY n.nspname <> 'public', n.nspname LIMIT 1"
)


def applied(connection: Connection[Any], table: str) -> list[tuple[str, ...]]:
    """The entries of a history table, oldest first; none where there is no such table. Raises Failed or Lost."""
    columns, order = _COLUMNS[table]
    with translated():
        found = connection.execute(_WHERE, [table]).fetchall()
        if not found:
            return []
        query = sql.SQL("SELECT {} FROM {} ORDER BY {}").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)), sql.SQL(found[0][0]), sql.Identifier(order)
        )
        return [tuple(map(str, row)) for row in connection.execute(query)]
