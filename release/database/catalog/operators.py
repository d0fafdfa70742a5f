# ruff: noqa: S608 -- only constants of this package are put together here; values go in as parameters.
"""The operators to which the expressions resolved, which no printed expression tells in full.

`JOIN USING`, `CASE x WHEN`, `IS DISTINCT FROM`, `NULLIF` and comparisons of rows print without their operators, and are
resolved anew when they are loaded. pg_restore's search path is empty, so that operators of citext become those of text.
The printed text stays nearly the same, and the answers differ. pg_depend knows which operators an expression uses, as
long as they are not the server's own. How often each of them occurs is counted in the tree, since an expression may
lose one use and keep another. Functions and types are left out: they are always printed, with their schema.
"""

from __future__ import annotations

from typing import Final

from release.database.catalog.scope import SCOPE, Query

# A line has the name that the part has in a difference: see comparison.py. An index that is not valid is left out,
# since no dump has it. So are foreign keys, which take their operators from the index that they refer to, not from the
# search path.
OPERATORS: Final = Query(
    SCOPE
    + r"""
, uses AS MATERIALIZED (
    SELECT DISTINCT classid, objid, refobjid AS operator FROM pg_catalog.pg_depend
     WHERE refclassid = 'pg_operator'::regclass
       AND classid IN ('pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_attrdef'::regclass, 'pg_policy'::regclass,
                       'pg_constraint'::regclass, 'pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass,
                       'pg_statistic_ext'::regclass)
), trees (operator, owner, line, tree) AS (
    SELECT u.operator, r.name,
           CASE WHEN w.rulename <> '_RETURN' THEN concat('rule ', r.name, '.', quote_ident(w.rulename))
                WHEN r.relkind = 'v' THEN 'view ' || r.name ELSE 'materialized view ' || r.name END,
           concat(w.ev_qual, w.ev_action)
      FROM uses u JOIN pg_catalog.pg_rewrite w ON u.classid = 'pg_rewrite'::regclass AND w.oid = u.objid
      JOIN relations r ON r.oid = w.ev_class
    UNION ALL
    SELECT u.operator, r.name, concat('trigger ', r.name, '.', quote_ident(t.tgname)), t.tgqual::text
      FROM uses u JOIN pg_catalog.pg_trigger t ON u.classid = 'pg_trigger'::regclass AND t.oid = u.objid
      JOIN relations r ON r.oid = t.tgrelid
    UNION ALL
    SELECT u.operator, r.name, concat('column ', r.name, '.', quote_ident(a.attname)), d.adbin::text
      FROM uses u JOIN pg_catalog.pg_attrdef d ON u.classid = 'pg_attrdef'::regclass AND d.oid = u.objid
      JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
      JOIN relations r ON r.oid = d.adrelid
    UNION ALL
    SELECT u.operator, r.name, concat('policy ', r.name, '.', quote_ident(p.polname)),
           concat(p.polqual, ' ', p.polwithcheck)
      FROM uses u JOIN pg_catalog.pg_policy p ON u.classid = 'pg_policy'::regclass AND p.oid = u.objid
      JOIN relations r ON r.oid = p.polrelid
    UNION ALL
    SELECT u.operator, r.name, concat('constraint ', r.name, '.', quote_ident(k.conname)), k.conbin::text
      FROM uses u JOIN pg_catalog.pg_constraint k ON u.classid = 'pg_constraint'::regclass AND k.oid = u.objid
      JOIN relations r ON r.oid = k.conrelid WHERE k.contype = 'c'
    UNION ALL
    SELECT u.operator, t.name, 'domain ' || t.name, k.conbin::text
      FROM uses u JOIN pg_catalog.pg_constraint k ON u.classid = 'pg_constraint'::regclass AND k.oid = u.objid
      JOIN types t ON t.oid = k.contypid
    UNION ALL
    SELECT u.operator, t.name, 'domain ' || t.name, t.typdefaultbin::text
      FROM uses u JOIN types t ON u.classid = 'pg_type'::regclass AND t.oid = u.objid AND t.typtype = 'd'
    UNION ALL
    SELECT u.operator, r.name, 'index ' || c.name, concat(i.indexprs, ' ', i.indpred)
      FROM uses u JOIN pg_catalog.pg_index i ON u.classid = 'pg_class'::regclass AND i.indexrelid = u.objid
      JOIN relations c ON c.oid = i.indexrelid JOIN relations r ON r.oid = i.indrelid
     WHERE c.relkind = 'I' OR i.indisvalid AND i.indisready
    UNION ALL
    SELECT u.operator, r.name, 'table ' || r.name, p.partexprs::text
      FROM uses u JOIN pg_catalog.pg_partitioned_table p ON u.classid = 'pg_class'::regclass AND p.partrelid = u.objid
      JOIN relations r ON r.oid = p.partrelid
    UNION ALL
    SELECT u.operator, p.name, concat(p.kind, ' ', p.name), concat(p.prosqlbody, ' ', p.proargdefaults)
      FROM uses u JOIN procedures p ON u.classid = 'pg_proc'::regclass AND p.oid = u.objid AND p.prokind <> 'a'
    UNION ALL
    SELECT u.operator, s.name || '.' || quote_ident(o.stxname),
           concat('statistics ', s.name, '.', quote_ident(o.stxname)), o.stxexprs::text
      FROM uses u JOIN pg_catalog.pg_statistic_ext o ON u.classid = 'pg_statistic_ext'::regclass AND o.oid = u.objid
      JOIN spaces s ON s.oid = o.stxnamespace
), counted AS MATERIALIZED (
    SELECT owner, line, operator, (octet_length(tree) - octet_length(replace(tree, format(':opno %s ', operator), '')))
                                  / octet_length(format(':opno %s ', operator))
                                  + CASE WHEN strpos(tree, ':opnos ') > 0
                                         THEN (SELECT count(*) FROM regexp_matches(
                                                   tree, format(':opnos \(o[^)]* %s[ )]', operator), 'g'))
                                         ELSE 0 END AS times
      FROM trees
), summed AS (
    SELECT owner, line, operator::regoperator::text AS operator, sum(times) AS times
      FROM counted GROUP BY owner, line, operator
), parts AS (
    SELECT owner, line, string_agg(concat(operator, CASE WHEN times > 1 THEN ' ' || times || ' times' END),
                                   ', ' ORDER BY operator COLLATE "C") AS operators
      FROM summed GROUP BY owner, line
)
SELECT 'operators', owner, string_agg(replace(replace(line || E'\t' || operators, '\', '\\'), E'\n', '\n'), E'\n'
                                      ORDER BY line COLLATE "C")
  FROM parts GROUP BY owner
""",
    only_if="""pg_catalog.pg_depend WHERE refclassid = 'pg_operator'::regclass
       AND classid IN ('pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_attrdef'::regclass, 'pg_policy'::regclass,
                       'pg_constraint'::regclass, 'pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass,
                       'pg_statistic_ext'::regclass)""",
)
"""A block for each owner: the part, and its operators as `public.=(public.citext,public.citext) 2 times`."""
