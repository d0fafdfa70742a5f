# ruff: noqa: S608 -- only constants of this package are put together here; values go in as parameters.
"""The SQL that tells whether rows were written, or exist."""

from __future__ import annotations

from typing import Final, LiteralString

from release.database.catalog.scope import SCOPE

WRITES: Final[LiteralString] = r"""
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname),
       pg_stat_get_tuples_inserted(c.oid), pg_stat_get_tuples_updated(c.oid), pg_stat_get_tuples_deleted(c.oid),
       pg_stat_get_live_tuples(c.oid), c.relfilenode::bigint
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
   AND (n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'release_phase')
        OR c.oid IN ('pg_catalog.pg_largeobject'::regclass, 'pg_catalog.pg_largeobject_metadata'::regclass))
"""
"""(table, inserted, updated, deleted, live, file) of every table that may hold somebody's data, extensions' too."""

STATISTICS: Final[LiteralString] = r"""
SELECT now(),
       CASE WHEN current_setting('track_counts')::bool AND current_setting('server_version_num')::int >= 150000
            THEN concat_ws(' ', d.oid, pg_postmaster_start_time(), pg_stat_get_db_stat_reset_time(d.oid),
                           pg_stat_get_bgwriter_stat_reset_time()) END,
       ARRAY(SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = current_database() ORDER BY gid),
       pg_current_snapshot()::text
  FROM pg_catalog.pg_database d WHERE d.datname = current_database()
"""
"""(now, epoch of the counters or null, prepared transactions, snapshot)."""

STATUSES: Final[LiteralString] = """
SELECT coalesce(pg_xact_status(id::text::xid8), 'forgotten'), count(*)
  FROM (SELECT unnest(%s::bigint[]) UNION SELECT generate_series(%s::bigint, %s::bigint)) AS given (id)
 WHERE id <> ALL (%s::bigint[]) GROUP BY 1
"""
"""(status, number of transactions) of those that were running and of a range of ids, without some."""

WRITERS: Final[LiteralString] = """
SELECT pid FROM pg_catalog.pg_stat_activity
 WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() AND datname = current_database()
"""
"""Sessions that have written something and have not ended their transaction. A snapshot does not name them all."""

SEQUENCES: Final[LiteralString] = (
    SCOPE
    + r"""
SELECT r.name, r.oid::bigint, q.seqincrement, has_sequence_privilege(r.oid, 'SELECT'),
       r.oid IN (SELECT relation FROM pg_catalog.pg_locks
                  WHERE mode IN ('ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') AND relation > 0
                    AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
  FROM relations r JOIN pg_catalog.pg_sequence q ON q.seqrelid = r.oid
 WHERE CASE r.relkind WHEN 'S' THEN has_sequence_privilege(r.oid, 'USAGE, SELECT') END ORDER BY r.name COLLATE "C"
"""
)
"""(sequence, oid, increment, whether its row may be read, whether it is locked) of those whose position is readable."""

POSITIONS: Final[LiteralString] = (
    "SELECT oid, pg_sequence_last_value(oid::regclass) FROM unnest(%s::oid[]) AS given (oid)"
)
"""(oid, last value) of some sequences; null for one that was never called."""

ANALYZABLE: Final[LiteralString] = r"""
SELECT format('%I.%I', n.nspname, c.relname)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
   AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""
"""The tables whose statistics can be renewed. Partitions are renewed with the table that they are part of."""

COUNTABLE: Final[LiteralString] = (
    SCOPE
    + r"""
, small AS (
    SELECT oid, name FROM relations WHERE relkind = 'r' AND relpages <= %(pages)s
     ORDER BY name COLLATE "C" LIMIT %(tables)s
), readable AS (
    SELECT oid, name FROM small
     WHERE has_table_privilege(oid, 'SELECT') AND NOT row_security_active(oid)
       AND oid NOT IN (SELECT relation FROM pg_catalog.pg_locks WHERE mode = 'AccessExclusiveLock' AND relation > 0
                          AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
)
SELECT name FROM (
    SELECT name, size, sum(size) OVER (ORDER BY name COLLATE "C") AS total
      FROM (SELECT name, pg_relation_size(oid) / 8192 AS size FROM readable) sized WHERE size <= %(pages)s
) bounded WHERE total <= %(total)s ORDER BY name COLLATE "C"
"""
)
"""The tables that are small enough to be counted, by name, so that the same ones are counted before and after."""

HOLDING: Final[LiteralString] = (
    SCOPE
    + r"""
, locked AS (
    SELECT relation FROM pg_catalog.pg_locks
     WHERE mode = 'AccessExclusiveLock' AND relation > 0 AND pid IS DISTINCT FROM pg_backend_pid()
       AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
), tables AS (
    SELECT oid, name, oid IN (SELECT relation FROM locked) AS locked FROM relations WHERE relkind = 'r'
)
SELECT name, NOT locked AND has_table_privilege(oid, 'SELECT') AND NOT row_security_active(oid)
  FROM tables WHERE CASE WHEN locked THEN true ELSE pg_relation_size(oid) > 0 END ORDER BY name COLLATE "C"
"""
)
"""(table, whether it can be read) of the tables that may hold rows.

A table with an empty file cannot. The size of a table that is locked cannot be read without waiting, so that it may.
"""

NOT_ANEW: Final[LiteralString] = (
    SCOPE
    + r"""
SELECT r.name FROM relations r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attname = 'ctid'
  JOIN pg_catalog.pg_namespace n ON n.nspname = 'release_phase'
 WHERE r.relkind IN ('r', 'p') AND age(a.xmin) > age(n.xmin) ORDER BY 1
"""
)
"""The tables that are older than the journal's schema.

A dump makes schemas first and then tables, so that after a restore that has reset the database there is no such table.
The age is that of the row of the column `ctid` in pg_attribute, since no ALTER ever writes that row anew.
"""
