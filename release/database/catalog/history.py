# ruff: noqa: S608 - only constants of this package are put together here; values go in as parameters.
"""Where the frameworks keep what they have migrated."""

from __future__ import annotations

from typing import Final, LiteralString

from release.database.catalog.scope import SCOPE

HISTORY: Final[tuple[tuple[LiteralString, frozenset[str], LiteralString], ...]] = (
    ("django_migrations", frozenset({"app", "name"}), "app || '.' || name"),
    ("alembic_version", frozenset({"version_num"}), "version_num"),
    ("schema_migrations", frozenset({"version", "dirty"}), "concat(version, CASE WHEN dirty THEN ' dirty' END)"),
    ("schema_migrations", frozenset({"version"}), "version::text"),
    ("ar_internal_metadata", frozenset({"key", "value"}), "key || ' ' || value"),
    (
        "_prisma_migrations",
        frozenset({"migration_name", "checksum", "finished_at", "rolled_back_at"}),
        "concat(migration_name, ' ', checksum, CASE WHEN finished_at IS NOT NULL THEN ' finished' END,"
        " CASE WHEN rolled_back_at IS NOT NULL THEN ' rolled back' END)",
    ),
)
"""Where frameworks keep what they have migrated, known by name and columns: (table, columns, an entry as text). When
it happened is left out: a second run of the same migration is the same migration."""

HISTORIES: Final[LiteralString] = (
    SCOPE
    + r"""
SELECT r.name, r.relname, array_agg(a.attname::text ORDER BY a.attnum)
  FROM relations r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE r.relkind IN ('r', 'p') AND r.relname = ANY (%s) AND has_table_privilege(r.oid, 'SELECT')
 GROUP BY r.name, r.relname ORDER BY r.name COLLATE "C"
"""
)
