"""Reach: the tables that a write to others may have changed, as the catalogs tell, by cascades and partitions.

What a trigger, a rule, or a default with a volatile function of the app does cannot be told: it may have been any.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, LiteralString

from release.database.session import Database

Name = tuple[str, str]
"""A table's schema, empty for any, and its own name."""

REACH: Final[LiteralString] = """
WITH RECURSIVE named AS (
  SELECT c.oid, c.relkind, given.written, given.n
    FROM unnest(%s::text[], %s::text[], %s::bool[]) WITH ORDINALITY AS given (schema, name, written, n)
    LEFT JOIN (pg_catalog.pg_class c JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
                AND s.nspname !~ '^pg_' AND s.nspname NOT IN ('information_schema', 'release_phase'))
           ON c.relname = given.name AND given.schema IN ('', s.nspname)
), written AS (
  SELECT oid FROM named WHERE written
  UNION
  SELECT other.oid FROM written w CROSS JOIN LATERAL (
    SELECT k.conrelid FROM pg_catalog.pg_constraint k
     WHERE k.contype = 'f' AND k.confrelid = w.oid
       AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))
    UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = w.oid) AS other (oid)
), shaped AS (
  SELECT oid FROM named UNION SELECT oid FROM written
  UNION
  SELECT i.inhrelid FROM shaped s JOIN pg_catalog.pg_inherits i ON i.inhparent = s.oid
), volatile AS MATERIALIZED (
  SELECT p.oid FROM pg_catalog.pg_proc p
   WHERE p.oid >= 16384 AND p.provolatile = 'v'
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
                      WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid
                        AND d.deptype = 'e' AND e.extname IN ('uuid-ossp', 'pgcrypto'))
), called AS MATERIALIZED (
  SELECT d.classid, d.objid FROM pg_catalog.pg_depend d JOIN volatile v ON v.oid = d.refobjid
   WHERE d.refclassid = 'pg_catalog.pg_proc'::regclass
     AND d.classid IN ('pg_catalog.pg_attrdef'::regclass, 'pg_catalog.pg_constraint'::regclass)
)
SELECT array(SELECT quote_ident(s.nspname) || '.' || quote_ident(c.relname)
               FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
              WHERE c.oid IN (SELECT oid FROM shaped) AND c.relkind IN ('r', 'p') ORDER BY 1),
       EXISTS (SELECT FROM named WHERE written GROUP BY n HAVING count(oid) = 0)
    OR EXISTS (SELECT FROM written w JOIN pg_catalog.pg_class c ON c.oid = w.oid
                WHERE c.relkind NOT IN ('r', 'p', 'i', 'I', 'S', 'c'))
    OR EXISTS (SELECT FROM written w JOIN pg_catalog.pg_trigger t ON t.tgrelid = w.oid
                WHERE NOT t.tgisinternal AND t.tgenabled <> 'D')
    OR EXISTS (SELECT FROM written w JOIN pg_catalog.pg_rewrite r ON r.ev_class = w.oid WHERE r.ev_type <> '1')
    OR EXISTS (SELECT FROM called k JOIN pg_catalog.pg_attrdef a ON a.oid = k.objid
                WHERE k.classid = 'pg_catalog.pg_attrdef'::regclass AND a.adrelid IN (SELECT oid FROM written))
    OR EXISTS (SELECT FROM called k JOIN pg_catalog.pg_constraint c ON c.oid = k.objid
                WHERE k.classid = 'pg_catalog.pg_constraint'::regclass
                  AND (c.contypid <> 0 OR c.conrelid IN (SELECT oid FROM written)))
"""
"""Given schemas, names, and whether rows were written: reads the tables reached, and whether it may have been any.

The two extensions' volatile functions only make up values.
"""


def reach(database: Database, *, written: Collection[Name], shaped: Collection[Name]) -> tuple[str, ...] | None:
    """Returns the tables that were reached, each as `schema.table`, quoted where needed; None: it may have been any.

    `written` are tables whose rows were written, all of which have to be there still; `shaped`, tables that were made,
    altered or dropped. A name without a schema stands for every table of that name. Raises Lost or Failed.
    """
    given = [(*name, True) for name in written] + [(*name, False) for name in shaped]
    if not given:
        return ()
    schemas, names, rows = zip(*given, strict=True)
    found: tuple[list[str], Any] = database.one(REACH, [list(schemas), list(names), list(rows)])
    tables, unclear = found
    return None if unclear else tuple(tables)
