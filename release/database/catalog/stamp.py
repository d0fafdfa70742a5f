# ruff: noqa: S608 -- only names that the server itself gives, quoted, and constants of this module are put together here.
"""The stamp of the catalogs: it shows that any of their rows was written, whatever each of them means.

A row of a catalog carries in `xmin` the transaction that wrote it. For each catalog the number of rows and the sum of a
hash over `xmin` are kept. A row that came, went or was written anew changes them, and a transaction that rolled back
does not. VACUUM and ANALYZE change nothing here: they write their figures in place, and freezing leaves `xmin` readable
since PostgreSQL 9.4 (htup_details.h, heap_inplace_update in heapam.c).

Which catalogs there are, and which of their columns lead to what, is asked of the server (pg_get_catalog_foreign_keys,
PG 14), so that none is forgotten. Left out are statistics, the data of large objects (which is counted elsewhere), the
columns of TOAST tables (always the same, but new with each new file of a table), and whatever belongs to a temporary
object or to the hook's own journal, since those come and go all the time.
"""

from __future__ import annotations

from typing import Final, LiteralString

CATALOGS: Final[LiteralString] = r"""
WITH keys AS MATERIALIZED (
    SELECT k.fktable, k.fkcols[1] AS name FROM pg_get_catalog_foreign_keys() k
     WHERE NOT k.is_array AND cardinality(k.fkcols) = 1
       AND k.pktable IN ('pg_class'::regclass, 'pg_namespace'::regclass, 'pg_type'::regclass, 'pg_proc'::regclass)
)
SELECT c.relname,
       ARRAY(SELECT quote_ident(a.attname) FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                AND (a.attname IN ('objid', 'refobjid', 'objoid')
                     OR a.attname = 'oid'
                        AND c.relname IN ('pg_class', 'pg_namespace', 'pg_type', 'pg_proc', 'pg_statistic_ext')
                     OR a.attname IN (SELECT name FROM keys WHERE fktable = c.oid)
                        AND EXISTS (SELECT FROM pg_catalog.pg_index i
                                     WHERE i.indrelid = c.oid AND i.indisunique AND a.attnum = ANY (i.indkey)))
              ORDER BY 1)
  FROM pg_catalog.pg_class c
 WHERE CASE WHEN c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND NOT c.relisshared
                 AND c.relname NOT IN ('pg_statistic', 'pg_statistic_ext_data', 'pg_largeobject')
            THEN has_table_privilege(c.oid, 'SELECT') END
 ORDER BY c.relname
"""
"""(catalog, its columns by which a row may belong to something that is left out).

Of the columns that lead to such things those of unique keys count, which say what a row is about: a type belongs to its
schema, and not to the function that reads it. Each other column would be one more comparison for each row.

CASE keeps the server from asking for the privileges on every table of the app first.
"""

LEFT_OUT: Final[LiteralString] = r"""
WITH spaces AS (
    SELECT oid FROM pg_catalog.pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_' OR nspname = 'release_phase'
), classes AS (
    SELECT oid, reltoastrelid FROM pg_catalog.pg_class
     WHERE relpersistence = 't' OR relnamespace IN (SELECT oid FROM spaces)
)
SELECT coalesce(array_agg(oid), '{}') FROM (
    SELECT oid FROM spaces
     UNION SELECT oid FROM classes
     UNION SELECT reltoastrelid FROM classes WHERE reltoastrelid <> 0
     UNION SELECT i.indexrelid FROM pg_catalog.pg_index i JOIN classes c ON i.indrelid = c.reltoastrelid
     UNION SELECT oid FROM pg_catalog.pg_type WHERE typnamespace IN (SELECT oid FROM spaces)
     UNION SELECT oid FROM pg_catalog.pg_proc WHERE pronamespace IN (SELECT oid FROM spaces)
     UNION SELECT oid FROM pg_catalog.pg_constraint WHERE connamespace IN (SELECT oid FROM spaces)
     UNION SELECT oid FROM pg_catalog.pg_attrdef WHERE adrelid IN (SELECT oid FROM classes)
     UNION SELECT oid FROM pg_catalog.pg_rewrite WHERE ev_class IN (SELECT oid FROM classes)
     UNION SELECT oid FROM pg_catalog.pg_trigger WHERE tgrelid IN (SELECT oid FROM classes)
     UNION SELECT oid FROM pg_catalog.pg_policy WHERE polrelid IN (SELECT oid FROM classes)
     UNION SELECT oid FROM pg_catalog.pg_statistic_ext WHERE stxrelid IN (SELECT oid FROM classes)
) found
"""
"""The oids of temporary objects and of the journal's objects, and of their parts, which may depend on other things."""

NOT_OF_TOAST: Final[LiteralString] = (
    " AND attrelid NOT IN (SELECT oid FROM pg_catalog.pg_class WHERE relnamespace = 'pg_toast'::regnamespace)"
)
"""A condition that leaves the columns of TOAST tables out of pg_attribute."""

USER_MAPPINGS: Final[LiteralString] = (
    "SELECT 'pg_user_mapping', count(*), coalesce(sum(hashtextextended(m::text, 0)), 0)"
    " FROM pg_catalog.pg_user_mappings m"
)
"""The stamp of pg_user_mapping. The view is read, since the catalog holds passwords and only superusers may read it."""


def stamp(catalog: str, columns: list[str]) -> str:
    """Writes a query for (catalog, rows, sum of the hashes) of one catalog, which takes the parameter `left_out`."""
    apart = "".join(f" AND {column} <> ALL (%(left_out)s::oid[])" for column in columns)
    if catalog == "pg_attribute":
        apart += NOT_OF_TOAST
    return (
        f"SELECT '{catalog}', count(*), coalesce(sum(hashtextextended(xmin::text, 0)), 0)"
        f' FROM pg_catalog."{catalog}" WHERE true{apart}'
    )
