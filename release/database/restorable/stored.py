# ruff: noqa: S608 -- only constants of this module are put together here.
"""The SQL behind expressions.py: the stored expressions that depend on the database's own functions and operators.

The columns are: kind; name; how it is tried; `tree`, the expression as the server keeps it (pg_node_tree); `printed`,
what pg_dump prints of it; a condition under which alone it is evaluated, or a domain's base type; the table's oid; the
table whose rows it is tried on; whether with the rows of its partitions; and schema and name of the table by which
pg_dump orders it.
"""

from __future__ import annotations

from typing import Final, LiteralString

# `near` is what depends on a function or an operator that was made after initdb: its oid is 16384 or more
# (FirstNormalObjectId). Functions are printed with their schema, so that what a load only parses can go wrong by an
# operator alone. `fields` are the types through which a column may have a domain, arrays and domains over it included.
SCOPE: Final[LiteralString] = r"""
WITH members AS MATERIALIZED (
    SELECT classid, objid FROM pg_catalog.pg_depend
     WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
), near AS MATERIALIZED (
    SELECT classid, objid, bool_or(refclassid = 'pg_operator'::regclass) AS by_operator FROM pg_catalog.pg_depend
     WHERE refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass) AND refobjid >= 16384
       AND classid IN ('pg_constraint'::regclass, 'pg_attrdef'::regclass, 'pg_class'::regclass, 'pg_type'::regclass,
                       'pg_trigger'::regclass, 'pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_proc'::regclass,
                       'pg_statistic_ext'::regclass)
     GROUP BY classid, objid
), spaces AS (
    SELECT oid, nspname FROM pg_catalog.pg_namespace
     WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'heroku_ext', '_heroku', 'release_phase')
), relations AS (
    SELECT c.oid, c.relkind, c.relispartition, c.relispopulated, s.nspname, c.relname,
           quote_ident(s.nspname) || '.' || quote_ident(c.relname) AS name
      FROM pg_catalog.pg_class c JOIN spaces s ON s.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
       AND c.oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_class'::regclass)
), domains AS MATERIALIZED (
    SELECT k.oid AS key, t.oid, t.typnamespace, k.conname, k.conbin, k.convalidated,
           quote_ident(s.nspname) || '.' || quote_ident(t.typname) AS name,
           format_type(t.typbasetype, t.typtypmod) AS base
      FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_type t ON t.oid = k.contypid
      JOIN spaces s ON s.oid = t.typnamespace JOIN near n ON n.classid = 'pg_constraint'::regclass AND n.objid = k.oid
     WHERE k.contype = 'c' AND t.oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_type'::regclass)
), fields AS MATERIALIZED (
    WITH RECURSIVE reached AS (
        SELECT oid FROM domains
         UNION
        SELECT t.oid FROM reached r
          JOIN pg_catalog.pg_type t ON t.typbasetype = r.oid OR t.typcategory = 'A' AND t.typelem = r.oid
    ) SELECT oid FROM reached
)
"""

# A pattern for trees with what tells the time: now(), transaction_timestamp(), statement_timestamp() and
# clock_timestamp() by their fixed oids (pg_proc.dat), and CURRENT_DATE and its like, which are a node of their own.
TIME: Final[LiteralString] = r"""'(:funcid (1299|2647|2648|2649) |\{SQLVALUEFUNCTION )'"""

EXPRESSIONS: Final[LiteralString] = (
    SCOPE
    + r"""
SELECT 'CHECK constraint' AS kind, quote_ident(k.conname) || ' of ' || r.name AS name,
       CASE WHEN k.convalidated AND r.relkind IN ('r', 'p') THEN 'check' ELSE 'parsed' END AS how,
       k.conbin::text AS tree, pg_get_expr(k.conbin, k.conrelid) AS printed, NULL AS condition,
       r.oid::int8 AS relation, r.name AS "table", r.relkind = 'p' AS whole, r.nspname, r.relname
  FROM (SELECT * FROM pg_catalog.pg_constraint
         WHERE contype = 'c' AND (oid IN (SELECT objid FROM near WHERE classid = 'pg_constraint'::regclass)
                                  OR conbin::text ~ """
    + TIME
    + r""") OFFSET 0) k
  JOIN relations r ON r.oid = k.conrelid
 WHERE NOT (r.relispartition AND k.coninhcount > 0)
 UNION ALL
SELECT CASE a.attgenerated WHEN '' THEN 'default' ELSE 'generated column' END,
       quote_ident(a.attname) || ' of ' || r.name,
       CASE WHEN a.attgenerated = 's' AND r.relkind IN ('r', 'p') THEN 'value' ELSE 'parsed' END,
       d.adbin::text, pg_get_expr(d.adbin, d.adrelid), NULL, r.oid,
       CASE WHEN a.attgenerated <> '' THEN r.name END, r.relkind = 'p', r.nspname, r.relname
  FROM near n JOIN pg_catalog.pg_attrdef d ON d.oid = n.objid JOIN relations r ON r.oid = d.adrelid
  JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
 WHERE n.classid = 'pg_attrdef'::regclass AND (a.attgenerated = 's' OR n.by_operator)
   AND NOT (r.relispartition AND a.attinhcount > 0)
 UNION ALL
SELECT 'partition key', 'of ' || r.name, 'value', p.partexprs::text, pg_get_expr(p.partexprs, p.partrelid), NULL,
       r.oid, r.name, true, r.nspname, r.relname
  FROM near n JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = n.objid JOIN relations r ON r.oid = p.partrelid
 WHERE n.classid = 'pg_class'::regclass AND p.partexprs IS NOT NULL
 UNION ALL
SELECT 'domain', d.name || ' in column ' || quote_ident(a.attname) || ' of ' || r.name, 'value', NULL,
       quote_ident(a.attname) || '::text::' || format_type(a.atttypid, a.atttypmod), NULL,
       r.oid, r.name, r.relkind = 'p', r.nspname, r.relname
  FROM fields f JOIN pg_catalog.pg_attribute a ON a.atttypid = f.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN relations r ON r.oid = a.attrelid AND r.relkind IN ('r', 'p') AND NOT r.relispartition
  CROSS JOIN LATERAL (SELECT format_type(f.oid, NULL) AS name) d
 WHERE EXISTS (SELECT FROM fields)
 UNION ALL
SELECT 'index', i.indexrelid::regclass::text, 'value', concat(i.indexprs::text, i.indpred::text),
       pg_get_expr(i.indexprs, i.indrelid), pg_get_expr(i.indpred, i.indrelid), r.oid, r.name,
       r.relkind = 'p', NULL, NULL
  FROM near n JOIN pg_catalog.pg_index i ON i.indexrelid = n.objid JOIN relations r ON r.oid = i.indrelid
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
 WHERE n.classid = 'pg_class'::regclass AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
   AND (i.indisvalid OR r.relkind = 'p') AND NOT c.relispartition
 UNION ALL
SELECT 'domain', d.name || ' CHECK ' || quote_ident(d.conname), 'domain', d.conbin::text, pg_get_expr(d.conbin, 0),
       d.base, 0, NULL, false, NULL, NULL
  FROM domains d
 UNION ALL
SELECT 'default', 'of domain ' || quote_ident(s.nspname) || '.' || quote_ident(t.typname), 'parsed',
       t.typdefaultbin::text, pg_get_expr(t.typdefaultbin, 0), NULL, 0, NULL, false, NULL, NULL
  FROM near n JOIN pg_catalog.pg_type t ON t.oid = n.objid JOIN spaces s ON s.oid = t.typnamespace
 WHERE n.classid = 'pg_type'::regclass AND n.by_operator AND t.typtype = 'd' AND t.typdefaultbin IS NOT NULL
 UNION ALL
SELECT 'trigger', quote_ident(t.tgname) || ' on ' || r.name, 'trigger', t.tgqual::text, pg_get_triggerdef(t.oid), NULL,
       r.oid, r.name, true, NULL, NULL
  FROM near n JOIN pg_catalog.pg_trigger t ON t.oid = n.objid JOIN relations r ON r.oid = t.tgrelid
 WHERE n.classid = 'pg_trigger'::regclass AND n.by_operator AND t.tgqual IS NOT NULL AND t.tgparentid = 0
 UNION ALL
SELECT 'policy', quote_ident(p.polname) || ' on ' || r.name, 'parsed', concat(p.polqual::text, p.polwithcheck::text),
       concat_ws(', ', pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)), NULL,
       r.oid, r.name, true, NULL, NULL
  FROM near n JOIN pg_catalog.pg_policy p ON p.oid = n.objid JOIN relations r ON r.oid = p.polrelid
 WHERE n.classid = 'pg_policy'::regclass AND n.by_operator
 UNION ALL
SELECT 'statistics', quote_ident(s.nspname) || '.' || quote_ident(e.stxname), 'parsed', e.stxexprs::text,
       array_to_string(pg_get_statisticsobjdef_expressions(e.oid), ', '), NULL, r.oid, r.name, true, NULL, NULL
  FROM near n JOIN pg_catalog.pg_statistic_ext e ON e.oid = n.objid JOIN spaces s ON s.oid = e.stxnamespace
  JOIN relations r ON r.oid = e.stxrelid
 WHERE n.classid = 'pg_statistic_ext'::regclass AND n.by_operator AND e.stxexprs IS NOT NULL
 UNION ALL
SELECT CASE r.relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END, r.name,
       CASE WHEN r.relkind = 'm' AND r.relispopulated THEN 'query' ELSE 'view' END, w.ev_action::text,
       pg_get_viewdef(r.oid), NULL, r.oid, NULL, false, NULL, NULL
  FROM pg_catalog.pg_rewrite w JOIN relations r ON r.oid = w.ev_class AND r.relkind IN ('v', 'm')
  LEFT JOIN near n ON n.classid = 'pg_rewrite'::regclass AND n.objid = w.oid
 WHERE w.rulename = '_RETURN'
   AND (n.by_operator OR r.relkind = 'm' AND r.relispopulated AND (n.objid IS NOT NULL OR EXISTS (
        SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class v ON v.oid = d.refobjid AND v.relkind = 'v'
         WHERE d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass)))
 UNION ALL
SELECT 'rule', quote_ident(w.rulename) || ' on ' || r.name, 'counted', concat(w.ev_action::text, w.ev_qual::text),
       pg_get_ruledef(w.oid), NULL, r.oid, NULL, false, NULL, NULL
  FROM near n JOIN pg_catalog.pg_rewrite w ON w.oid = n.objid JOIN relations r ON r.oid = w.ev_class
 WHERE n.classid = 'pg_rewrite'::regclass AND n.by_operator AND w.rulename <> '_RETURN'
 UNION ALL
SELECT 'function', p.oid::regprocedure::text, 'counted', concat(p.prosqlbody::text, p.proargdefaults::text),
       concat(pg_get_function_sqlbody(p.oid), pg_get_function_arguments(p.oid)), NULL, 0, NULL, false, NULL, NULL
  FROM near n JOIN pg_catalog.pg_proc p ON p.oid = n.objid JOIN spaces s ON s.oid = p.pronamespace
 WHERE n.classid = 'pg_proc'::regclass AND n.by_operator AND p.prokind <> 'a'
   AND (p.prosqlbody IS NOT NULL OR p.proargdefaults IS NOT NULL)
   AND p.oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_proc'::regclass)
"""
)

OPERATORS: Final[LiteralString] = (
    "SELECT oid::text FROM pg_catalog.pg_operator WHERE oid >= 16384 AND oprnamespace <> 'pg_catalog'::regnamespace"
)
"""The oids of the operators that are not the server's own."""
