# ruff: noqa: S608 -- only constants of this package are put together here; values go in as parameters.
"""The structure: schemas, relations and their parts, functions, types, and all else that has a definition."""

from __future__ import annotations

from typing import Final, LiteralString

from release.database.catalog.links import LINKS
from release.database.catalog.operators import OPERATORS
from release.database.catalog.scope import SCOPE, Query

# An index that is not valid is of a kind of its own, since a dump leaves it out. (The index of a partitioned table is
# dumped, and stays not valid until every partition has its part.) The index behind a constraint is in the constraint's
# definition except for its state and options. Where these are the usual ones, the index is left out. A plain index is
# written out here, because pg_get_indexdef takes 0.1 ms where the other functions take 0.01: for 5,000 tables that was
# most of the time. Its columns are looked up one by one, since a join would read the columns of all tables.
INDEXES: Final = Query(
    SCOPE
    + r"""
SELECT CASE WHEN i.broken THEN 'invalid indexes' ELSE 'indexes' END, r.name, string_agg(replace(replace(concat(
           i.name, E'\t',
           CASE WHEN i.conname IS NOT NULL THEN concat('of constraint ', quote_ident(i.conname))
                WHEN i.plain THEN concat('btree (', (
                    SELECT string_agg(concat(
                               (SELECT concat(quote_ident(a.attname), CASE WHEN k.sorting <> a.attcollation
                                              THEN ' collate ' || k.sorting::regcollation END)
                                  FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = k.number),
                               CASE WHEN k.class NOT IN (SELECT oid FROM pg_catalog.pg_opclass WHERE opcdefault) THEN
                                   (SELECT ' ' || quote_ident(o.opcname) FROM pg_catalog.pg_opclass o
                                     WHERE o.oid = k.class) END,
                               CASE k.flags WHEN 1 THEN ' desc nulls last' WHEN 2 THEN ' nulls first'
                                            WHEN 3 THEN ' desc' END
                           ), ', ' ORDER BY k.place)
                      FROM unnest(i.indkey::int2[], i.indclass::oid[], i.indcollation::oid[], i.indoption::int2[])
                           WITH ORDINALITY k (number, class, sorting, flags, place)), ')')
                ELSE pg_get_indexdef(i.indexrelid) END,
           CASE WHEN i.plain OR i.conname IS NOT NULL THEN
               (SELECT ' with ' || array_agg(o ORDER BY o)::text FROM unnest(i.reloptions) o) END,
           CASE WHEN NOT i.indisvalid THEN ' not valid' END,
           CASE WHEN NOT i.indisready THEN ' not ready' END,
           CASE WHEN i.indisclustered THEN ' clustered' END,
           CASE WHEN i.indisreplident THEN ' replica identity' END,
           ' part of ' || parent.name
       ), '\', '\\'), E'\n', '\n'), E'\n' ORDER BY i.name COLLATE "C")
  FROM relations r
  JOIN (SELECT x.*, c.name, c.reloptions, c.reltablespace, c.relispartition, k.conname,
               c.relkind = 'i' AND NOT (x.indisvalid AND x.indisready) AS broken,
               c.relkind = 'i' AND NOT x.indisunique AND x.indexprs IS NULL AND x.indpred IS NULL
               AND x.indnatts = x.indnkeyatts AND c.reltablespace = 0
               AND c.relam = (SELECT oid FROM pg_catalog.pg_am WHERE amname = 'btree') AS plain
          FROM relations c
          JOIN pg_catalog.pg_index x ON x.indexrelid = c.oid
          LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = c.oid AND k.contype IN ('p', 'u', 'x')) i
       ON i.indrelid = r.oid
  LEFT JOIN (SELECT h.inhrelid, h.inhparent::regclass::text AS name FROM pg_catalog.pg_inherits h) parent
         ON i.relispartition AND parent.inhrelid = i.indexrelid
 WHERE i.conname IS NULL OR NOT i.indisvalid OR NOT i.indisready OR i.indisclustered OR i.indisreplident
    OR i.reloptions IS NOT NULL OR i.relispartition
 GROUP BY r.name, i.broken
""",
)

EXTENSIONS: Final = Query(
    r"""
SELECT 'extension', quote_ident(e.extname), 'schema ' || quote_ident(n.nspname) || ' version ' || e.extversion
  FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
""",
)

STRUCTURE: Final[tuple[Query, ...]] = (
    Query(
        SCOPE + "SELECT 'schema', name, '' FROM spaces",
    ),
    EXTENSIONS,
    Query(
        SCOPE
        + r"""
SELECT CASE r.relkind WHEN 'f' THEN 'foreign table' ELSE 'table' END, r.name,
       concat(
           CASE r.relpersistence WHEN 'u' THEN 'unlogged' ELSE 'table' END,
           CASE WHEN a.amname <> 'heap' THEN ' using ' || quote_ident(a.amname) END,
           ' of ' || nullif(r.reloftype, 0)::regtype,
           ' partition by ' || CASE r.relkind WHEN 'p' THEN pg_get_partkeydef(r.oid) END,
           CASE WHEN r.relispartition THEN ' partition of ' ELSE ' inherits ' END || parents.names,
           CASE WHEN r.relispartition THEN ' ' || pg_get_expr(r.relpartbound, r.oid) END,
           ' server ' || quote_ident(srv.srvname), ' options ' || ft.ftoptions::text,
           ' with ' || (SELECT array_agg(o ORDER BY o)::text FROM unnest(r.reloptions) o),
           ' toast with ' || (SELECT array_agg(o ORDER BY o)::text FROM unnest(t.reloptions) o),
           CASE WHEN r.relrowsecurity THEN ' row security' END,
           CASE WHEN r.relforcerowsecurity THEN ' forced' END,
           CASE r.relreplident WHEN 'n' THEN ' replica identity nothing' WHEN 'f' THEN ' replica identity full' END,
           ' tablespace ' || quote_ident(sp.spcname))
  FROM relations r
  LEFT JOIN pg_catalog.pg_am a ON a.oid = r.relam
  LEFT JOIN pg_catalog.pg_class t ON t.oid = r.reltoastrelid AND t.reloptions IS NOT NULL
  LEFT JOIN pg_catalog.pg_foreign_table ft ON ft.ftrelid = r.oid
  LEFT JOIN pg_catalog.pg_foreign_server srv ON srv.oid = ft.ftserver
  LEFT JOIN pg_catalog.pg_tablespace sp ON sp.oid = r.reltablespace
  LEFT JOIN (SELECT inhrelid, string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno) AS names
               FROM pg_catalog.pg_inherits GROUP BY inhrelid) parents ON parents.inhrelid = r.oid
 WHERE r.relkind IN ('r', 'p', 'f')
""",
    ),
    # Columns stand by name, since positions have holes where columns were dropped. Those of a composite type have their
    # number, since its values depend on their order. Of a view only defaults are kept, which its query does not say.
    # attstattarget is null from PG 17 on where it was -1.
    Query(
        SCOPE
        + r"""
SELECT 'columns', r.name, string_agg(replace(replace(concat(
           quote_ident(a.attname), E'\t', CASE WHEN r.relkind = 'c' THEN (
               SELECT '#' || count(*) || ' ' FROM pg_catalog.pg_attribute b
                WHERE b.attrelid = a.attrelid AND b.attnum BETWEEN 1 AND a.attnum AND NOT b.attisdropped) END,
           format_type(a.atttypid, a.atttypmod),
           CASE WHEN a.attcollation <> t.typcollation THEN ' collate ' || a.attcollation::regcollation END,
           CASE WHEN a.attnotnull THEN ' not null' END,
           CASE a.attidentity WHEN 'a' THEN ' generated always as identity'
                              WHEN 'd' THEN ' generated by default as identity' END,
           CASE a.attgenerated WHEN 's' THEN ' generated stored ' WHEN 'v' THEN ' generated virtual '
                               ELSE ' default ' END
           || pg_get_expr(d.adbin, CASE a.attgenerated WHEN '' THEN 0 ELSE d.adrelid END),
           CASE WHEN a.attstorage <> t.typstorage THEN ' storage ' || a.attstorage::text END,
           ' compression ' || nullif(a.attcompression::text, ''),
           ' statistics ' || nullif(a.attstattarget, -1),
           ' options ' || a.attoptions::text, ' options ' || a.attfdwoptions::text
       ), '\', '\\'), E'\n', '\n'), E'\n' ORDER BY a.attname COLLATE "C")
  FROM relations r
  JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE r.relkind IN ('r', 'p', 'f', 'c') OR r.relkind IN ('v', 'm') AND d.oid IS NOT NULL
 GROUP BY r.name
""",
    ),
    # NOT NULL is kept with the column. (PG 18 has it here as well, under names that a dump does not keep.) A
    # partition's share of a foreign key is left out: it is made and named anew with the parent's.
    Query(
        SCOPE
        + r"""
SELECT 'constraints', r.name, string_agg(replace(replace(
           quote_ident(k.conname) || E'\t' || pg_get_constraintdef(k.oid), '\', '\\'), E'\n', '\n'),
           E'\n' ORDER BY k.conname COLLATE "C")
  FROM relations r JOIN pg_catalog.pg_constraint k ON k.conrelid = r.oid
 WHERE k.contype IN ('c', 'p', 'u', 'x') OR k.contype = 'f' AND k.conparentid = 0
    OR k.contype = 'n' AND NOT k.convalidated
 GROUP BY r.name
""",
    ),
    INDEXES,
    # Constraint triggers are included, and those behind foreign keys (internal ones) are not. So is a partition's share
    # not, which is made with the parent's.
    Query(
        SCOPE
        + r"""
SELECT 'triggers', r.name, string_agg(replace(replace(concat(
           quote_ident(t.tgname), E'\t', pg_get_triggerdef(t.oid),
           CASE t.tgenabled WHEN 'D' THEN ' disabled' WHEN 'R' THEN ' on replica' WHEN 'A' THEN ' always' END
       ), '\', '\\'), E'\n', '\n'), E'\n' ORDER BY t.tgname COLLATE "C")
  FROM relations r JOIN pg_catalog.pg_trigger t ON t.tgrelid = r.oid
 WHERE NOT t.tgisinternal GROUP BY r.name
""",
        only_if="pg_catalog.pg_trigger WHERE NOT tgisinternal",
    ),
    Query(
        SCOPE
        + r"""
SELECT 'rules', r.name, string_agg(replace(replace(concat(
           quote_ident(w.rulename), E'\t', pg_get_ruledef(w.oid),
           CASE w.ev_enabled WHEN 'D' THEN ' disabled' WHEN 'R' THEN ' on replica' WHEN 'A' THEN ' always' END
       ), '\', '\\'), E'\n', '\n'), E'\n' ORDER BY w.rulename COLLATE "C")
  FROM relations r JOIN pg_catalog.pg_rewrite w ON w.ev_class = r.oid
 WHERE w.rulename <> '_RETURN' GROUP BY r.name
""",
        only_if="pg_catalog.pg_rewrite WHERE rulename <> '_RETURN' AND oid >= 16384",
    ),
    Query(
        SCOPE
        + r"""
SELECT 'policies', r.name, string_agg(replace(replace(concat(
           quote_ident(p.polname), E'\t', CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
           CASE p.polcmd WHEN 'r' THEN ' select' WHEN 'a' THEN ' insert' WHEN 'w' THEN ' update'
                         WHEN 'd' THEN ' delete' ELSE ' all' END,
           ' to ' || (SELECT string_agg(CASE o WHEN 0 THEN 'public' ELSE quote_ident(pg_get_userbyid(o)) END, ', '
                                        ORDER BY o <> 0, pg_get_userbyid(o)) FROM unnest(p.polroles) o),
           ' using ' || pg_get_expr(p.polqual, p.polrelid), ' check ' || pg_get_expr(p.polwithcheck, p.polrelid)
       ), '\', '\\'), E'\n', '\n'), E'\n' ORDER BY p.polname COLLATE "C")
  FROM relations r JOIN pg_catalog.pg_policy p ON p.polrelid = r.oid
 GROUP BY r.name
""",
        only_if="pg_catalog.pg_policy",
    ),
    Query(
        SCOPE
        + r"""
SELECT CASE relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END, name,
       concat(CASE WHEN relpersistence = 'u' THEN 'unlogged ' END,
              'with ' || (SELECT array_agg(o ORDER BY o)::text FROM unnest(reloptions) o) || ' ',
              CASE WHEN relkind = 'm' AND NOT relispopulated THEN 'not populated ' END,
              pg_get_viewdef(oid))
  FROM relations WHERE relkind IN ('v', 'm')
""",
        only_if="pg_catalog.pg_class WHERE relkind IN ('v', 'm') AND oid >= 16384",
    ),
    # The position is no part of a sequence's definition: see POSITIONS.
    Query(
        SCOPE
        + r"""
SELECT 'sequence', r.name,
       concat(CASE WHEN r.relpersistence = 'u' THEN 'unlogged ' END, format_type(q.seqtypid, NULL),
              ' start ', q.seqstart,
              ' increment ', q.seqincrement, ' min ', q.seqmin, ' max ', q.seqmax, ' cache ', q.seqcache,
              CASE WHEN q.seqcycle THEN ' cycle' END,
              CASE d.deptype WHEN 'i' THEN ' identity of ' ELSE ' owned by ' END
              || d.refobjid::regclass || '.' || (
                  SELECT quote_ident(a.attname) FROM pg_catalog.pg_attribute a
                   WHERE a.attrelid = d.refobjid AND a.attnum = d.refobjsubid))
  FROM relations r JOIN pg_catalog.pg_sequence q ON q.seqrelid = r.oid
  LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.objsubid = 0
        AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
""",
        only_if="pg_catalog.pg_sequence",
    ),
    Query(
        SCOPE
        + r"""
SELECT p.kind, p.name,
       CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) ELSE concat(
           pg_get_function_arguments(p.oid), ' returns ', pg_get_function_result(p.oid), ' sfunc ', g.aggtransfn,
           ' stype ', g.aggtranstype::regtype, ' finalfunc ', g.aggfinalfn, ' combinefunc ', g.aggcombinefn,
           ' serialfunc ', g.aggserialfn, ' deserialfunc ', g.aggdeserialfn, ' msfunc ', g.aggmtransfn,
           ' minvfunc ', g.aggminvtransfn, ' mfinalfunc ', g.aggmfinalfn, ' mstype ', g.aggmtranstype::regtype,
           ' kind ', g.aggkind, ' modify ', g.aggfinalmodify, g.aggmfinalmodify, ' extra ', g.aggfinalextra,
           g.aggmfinalextra, ' sortop ', g.aggsortop::regoperator, ' initcond ' || g.agginitval,
           ' minitcond ' || g.aggminitval, ' parallel ', p.proparallel) END
  FROM procedures p LEFT JOIN pg_catalog.pg_aggregate g ON g.aggfnoid = p.oid
""",
        only_if="pg_catalog.pg_proc WHERE oid >= 16384",
    ),
    # Labels stand in their order, without their sort keys, which are fractions where a label was put between others.
    Query(
        SCOPE
        + r"""
SELECT t.kind, t.name, CASE t.typtype
       WHEN 'e' THEN 'enum ' || coalesce((SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
                                 FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid), '')
       WHEN 'd' THEN concat(format_type(t.typbasetype, t.typtypmod),
                            CASE WHEN t.typcollation <> b.typcollation
                                 THEN ' collate ' || t.typcollation::regcollation END,
                            CASE WHEN t.typnotnull THEN ' not null' END,
                            ' default ' || coalesce(pg_get_expr(t.typdefaultbin, 0), t.typdefault),
                            (SELECT string_agg(' ' || quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid), ''
                                               ORDER BY k.conname COLLATE "C")
                               FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'))
       WHEN 'r' THEN (SELECT concat('range of ', r.rngsubtype::regtype, ' opclass ', quote_ident(o.opcname),
                                    ' collate ', nullif(r.rngcollation, 0)::regcollation, ' canonical ', r.rngcanonical,
                                    ' diff ', r.rngsubdiff, ' multirange ', r.rngmultitypid::regtype)
                        FROM pg_catalog.pg_range r JOIN pg_catalog.pg_opclass o ON o.oid = r.rngsubopc
                       WHERE r.rngtypid = t.oid)
       WHEN 'c' THEN 'composite'
       ELSE concat(CASE WHEN t.typisdefined THEN 'base' ELSE 'shell' END, ' in ', t.typinput, ' out ', t.typoutput) END
  FROM types t LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
""",
    ),
    Query(
        SCOPE
        + r"""
SELECT 'statistics', s.name || '.' || quote_ident(o.stxname),
       pg_get_statisticsobjdef(o.oid) || coalesce(' target ' || nullif(o.stxstattarget, -1), '')
  FROM pg_catalog.pg_statistic_ext o JOIN spaces s ON s.oid = o.stxnamespace
""",
        only_if="pg_catalog.pg_statistic_ext",
    ),
    # collencoding is left out: a copy of a built-in collation is for all encodings, and once loaded again for the
    # database's only. The locale's column has had three names.
    Query(
        SCOPE
        + r"""
SELECT 'collation', s.name || '.' || quote_ident(o.collname),
       concat_ws(' ', o.collprovider, o.collcollate, o.collctype, to_jsonb(o) ->> 'colllocale',
                 to_jsonb(o) ->> 'colliculocale', to_jsonb(o) ->> 'collicurules', o.collisdeterministic)
  FROM pg_catalog.pg_collation o JOIN spaces s ON s.oid = o.collnamespace
 WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_collation'::regclass AND m.objid = o.oid)
""",
        only_if="pg_catalog.pg_collation WHERE oid >= 16384",
    ),
    Query(
        SCOPE
        + r"""
SELECT 'text search configuration', s.name || '.' || quote_ident(o.cfgname),
       concat('parser ', p.prsname, (SELECT string_agg(concat(' ', tt.alias, ' with ', names), '' ORDER BY tt.alias)
          FROM (SELECT maptokentype, string_agg(mapdict::regdictionary::text, ', ' ORDER BY mapseqno) AS names
                  FROM pg_catalog.pg_ts_config_map WHERE mapcfg = o.oid GROUP BY maptokentype) mapped
          JOIN LATERAL ts_token_type(o.cfgparser) tt ON tt.tokid = mapped.maptokentype))
  FROM pg_catalog.pg_ts_config o JOIN spaces s ON s.oid = o.cfgnamespace
  JOIN pg_catalog.pg_ts_parser p ON p.oid = o.cfgparser
 WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_ts_config'::regclass AND m.objid = o.oid)
""",
        only_if="pg_catalog.pg_ts_config WHERE oid >= 16384",
    ),
    Query(
        SCOPE
        + r"""
SELECT 'text search dictionary', s.name || '.' || quote_ident(o.dictname),
       concat('template ', t.tmplname, ' ' || o.dictinitoption)
  FROM pg_catalog.pg_ts_dict o JOIN spaces s ON s.oid = o.dictnamespace
  JOIN pg_catalog.pg_ts_template t ON t.oid = o.dicttemplate
 WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_ts_dict'::regclass AND m.objid = o.oid)
""",
        only_if="pg_catalog.pg_ts_dict WHERE oid >= 16384",
    ),
    Query(
        SCOPE
        + r"""
SELECT 'operator', o.oid::regoperator::text,
       concat('function ', o.oprcode, ' commutator ', o.oprcom::regoperator, ' negator ', o.oprnegate::regoperator,
              ' restrict ', o.oprrest, ' join ', o.oprjoin, ' merges ', o.oprcanmerge, ' hashes ', o.oprcanhash)
  FROM pg_catalog.pg_operator o JOIN spaces s ON s.oid = o.oprnamespace
 WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_operator'::regclass AND m.objid = o.oid)
""",
        only_if="pg_catalog.pg_operator WHERE oid >= 16384",
    ),
    Query(
        SCOPE
        + r"""
SELECT 'operator class', s.name || '.' || quote_ident(o.opcname) || ' using ' || a.amname,
       concat('for ', o.opcintype::regtype, CASE WHEN o.opcdefault THEN ' default' END)
  FROM pg_catalog.pg_opclass o JOIN spaces s ON s.oid = o.opcnamespace JOIN pg_catalog.pg_am a ON a.oid = o.opcmethod
 WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_opclass'::regclass AND m.objid = o.oid)
""",
        only_if="pg_catalog.pg_opclass WHERE oid >= 16384",
    ),
    # Casts live in no schema; 16384 is the first oid that initdb does not give away (FirstNormalObjectId).
    Query(
        SCOPE
        + r"""
SELECT 'cast', format('(%s AS %s)', c.castsource::regtype, c.casttarget::regtype),
       concat(c.castmethod, ' ', c.castcontext, ' ', nullif(c.castfunc, 0)::regprocedure)
  FROM pg_catalog.pg_cast c
 WHERE c.oid >= 16384
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_cast'::regclass AND d.objid = c.oid
                      AND d.deptype IN ('e', 'i'))
""",
        only_if="pg_catalog.pg_cast WHERE oid >= 16384",
    ),
    *LINKS,
    OPERATORS,
    Query(
        SCOPE
        + r"""
SELECT 'comments', name, string_agg(replace(replace(concat(
           coalesce(quote_ident(attname), ''), E'\t', description
       ), '\', '\\'), E'\n', '\n'), E'\n' ORDER BY attname COLLATE "C")
  FROM (SELECT r.name, d.description,
               CASE WHEN d.objsubid > 0 THEN (SELECT a.attname FROM pg_catalog.pg_attribute a
                                               WHERE a.attrelid = d.objoid AND a.attnum = d.objsubid) END AS attname
          FROM relations r
          JOIN pg_catalog.pg_description d ON d.classoid = 'pg_class'::regclass AND d.objoid = r.oid) described
 GROUP BY name
""",
        only_if="pg_catalog.pg_description WHERE objoid >= 16384 AND classoid = 'pg_class'::regclass",
    ),
    # The comments on everything else. Those on extensions are left out: a dump carries them, but only the extension's
    # owner may load them. The schema public's own comment comes with the database. Large objects are data.
    Query(
        SCOPE
        + r"""
SELECT 'comment', o.type || ' ' || o.identity, d.description
  FROM pg_catalog.pg_description d, LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) o
 WHERE d.classoid NOT IN ('pg_class'::regclass, 'pg_extension'::regclass, 'pg_largeobject'::regclass,
                          'pg_event_trigger'::regclass, 'pg_subscription'::regclass)
   AND (d.objoid >= 16384 OR d.classoid = 'pg_namespace'::regclass AND d.objoid IN (SELECT oid FROM spaces))
   AND NOT EXISTS (SELECT FROM members m WHERE m.classid = d.classoid AND m.objid = d.objoid)
   AND coalesce(o.schema, CASE WHEN o.type = 'schema' THEN o.name END, '') NOT IN
       ('information_schema', 'heroku_ext', '_heroku', 'release_phase')
   AND coalesce(o.identity, '') !~ ' on (heroku_ext|_heroku|release_phase)\.'
   AND (o.type, d.description) <> ('schema', 'standard public schema')
""",
    ),
)

MATERIALIZED: Final[LiteralString] = (
    SCOPE + "SELECT name, relispopulated FROM relations WHERE relkind = 'm' ORDER BY oid"
)
"""(materialized view, whether it is populated), the older ones first, since the newer ones may read them."""
