"""What the credential may not create again, and what a dump leaves out, found by the catalogs alone.

The rules are the server's. What each CREATE requires is in its page of the manual, under "Notes" or "Parameters", and
tests/unit/database/test_restorable.py dumps and loads an instance of each. Nothing that an extension brought is a
finding: CREATE EXTENSION brings it again, and the extensions that a database has are those that Heroku can create.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, LiteralString

from psycopg import Connection, errors, sql

from release.database.catalog import LIMITS
from release.database.restorable.finding import Finding

FROM_15: Final = 150_000
"""The server version with publications of whole schemas, and with grants on settings."""

# Only what was made after initdb: its oid is 16384 or more (FirstNormalObjectId).
SCOPE: Final[LiteralString] = """
WITH members AS MATERIALIZED (
    SELECT classid, objid FROM pg_catalog.pg_depend
     WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
), inner_parts AS MATERIALIZED (
    SELECT classid, objid FROM pg_catalog.pg_depend
     WHERE deptype = 'i' AND classid IN ('pg_proc'::regclass, 'pg_cast'::regclass) AND objid >= 16384
), spaces AS (
    SELECT oid, nspname, quote_ident(nspname) || '.' AS prefix FROM pg_catalog.pg_namespace
     WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'heroku_ext', '_heroku', 'release_phase')
), own_types AS (
    SELECT t.* FROM pg_catalog.pg_type t JOIN spaces s ON s.oid = t.typnamespace
     WHERE t.oid >= 16384 AND (t.typtype IN ('d', 'e', 'r', 'c') OR t.typtype = 'b' AND t.typcategory <> 'A')
       AND (t.oid) NOT IN (SELECT objid FROM members WHERE classid = 'pg_type'::regclass)
), routines AS (
    SELECT p.*, p.oid::regprocedure::text AS name, l.lanname, l.lanpltrusted
      FROM pg_catalog.pg_proc p JOIN spaces s ON s.oid = p.pronamespace
      JOIN pg_catalog.pg_language l ON l.oid = p.prolang
     WHERE p.oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_proc'::regclass)
       AND p.oid NOT IN (SELECT objid FROM inner_parts WHERE classid = 'pg_proc'::regclass)
)
"""

# (kind, name, key of REASONS). The names of event triggers and roles that are left out are those of Heroku and RDS.
FOR_SUPERUSERS: Final[LiteralString] = """
SELECT 'event trigger', quote_ident(e.evtname), 'superuser'
  FROM pg_catalog.pg_event_trigger e
  JOIN pg_catalog.pg_proc p ON p.oid = e.evtfoid JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE e.oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_event_trigger'::regclass)
   AND n.nspname <> '_heroku' AND pg_get_userbyid(e.evtowner) NOT IN ('heroku_admin', 'rdsadmin', 'rds_superuser')
   AND e.evtname NOT IN ('extension_before_drop', 'log_create_ext', 'log_drop_ext', 'validate_extension')
 UNION ALL
SELECT 'operator class', s.prefix || quote_ident(o.opcname) || ' USING ' || quote_ident(a.amname), 'superuser'
  FROM pg_catalog.pg_opclass o JOIN spaces s ON s.oid = o.opcnamespace JOIN pg_catalog.pg_am a ON a.oid = o.opcmethod
 WHERE o.oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_opclass'::regclass)
 UNION ALL
SELECT 'operator family', s.prefix || quote_ident(o.opfname) || ' USING ' || quote_ident(a.amname), 'superuser'
  FROM pg_catalog.pg_opfamily o JOIN spaces s ON s.oid = o.opfnamespace JOIN pg_catalog.pg_am a ON a.oid = o.opfmethod
 WHERE o.oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_opfamily'::regclass)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_opclass c WHERE c.opcfamily = o.oid AND c.opcname = o.opfname)
 UNION ALL
SELECT 'foreign-data wrapper', quote_ident(fdwname), 'superuser' FROM pg_catalog.pg_foreign_data_wrapper
 WHERE oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_foreign_data_wrapper'::regclass)
 UNION ALL
SELECT 'publication', quote_ident(pubname) || ' FOR ALL TABLES', 'publication'
  FROM pg_catalog.pg_publication WHERE puballtables
 UNION ALL
SELECT 'language', quote_ident(lanname), 'superuser' FROM pg_catalog.pg_language
 WHERE oid >= 16384 AND oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_language'::regclass)
 UNION ALL
SELECT 'access method', quote_ident(amname), 'superuser' FROM pg_catalog.pg_am
 WHERE oid >= 16384 AND oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_am'::regclass)
 UNION ALL
SELECT 'cast', format_type(c.castsource, NULL) || ' AS ' || format_type(c.casttarget, NULL), 'cast'
  FROM pg_catalog.pg_cast c
 WHERE c.oid >= 16384 AND c.oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_cast'::regclass)
   AND c.oid NOT IN (SELECT objid FROM inner_parts WHERE classid = 'pg_cast'::regclass)
   AND (c.castmethod = 'b' OR NOT EXISTS (SELECT FROM own_types t WHERE t.oid IN (c.castsource, c.casttarget)))
 UNION ALL
SELECT 'transform', 'for ' || format_type(t.trftype, NULL) || ' language ' || l.lanname, 'superuser'
  FROM pg_catalog.pg_transform t JOIN pg_catalog.pg_language l ON l.oid = t.trflang
 WHERE t.oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_transform'::regclass)
 UNION ALL
SELECT 'function', name || ' in language ' || lanname, 'superuser' FROM routines
 WHERE prokind <> 'a' AND NOT lanpltrusted
 UNION ALL
SELECT 'function', name || ' with ' || CASE WHEN proleakproof THEN 'LEAKPROOF' ELSE 'SUPPORT' END, 'attribute'
  FROM routines WHERE prokind <> 'a' AND lanpltrusted AND (proleakproof OR prosupport <> 0)
 UNION ALL
SELECT 'aggregate', r.name || ' with the state type internal', 'superuser'
  FROM routines r JOIN pg_catalog.pg_aggregate a ON a.aggfnoid = r.oid
 WHERE 'internal'::regtype IN (a.aggtranstype, a.aggmtranstype)
 UNION ALL
SELECT 'type', s.prefix || quote_ident(t.typname), 'superuser'
  FROM pg_catalog.pg_type t JOIN spaces s ON s.oid = t.typnamespace
 WHERE t.oid >= 16384 AND (t.typtype = 'b' AND t.typcategory <> 'A' OR t.typtype = 'p' AND NOT t.typisdefined)
   AND t.oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_type'::regclass)
 UNION ALL
SELECT 'text search parser', s.prefix || quote_ident(o.prsname), 'superuser'
  FROM pg_catalog.pg_ts_parser o JOIN spaces s ON s.oid = o.prsnamespace
 WHERE o.oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_ts_parser'::regclass)
 UNION ALL
SELECT 'text search template', s.prefix || quote_ident(o.tmplname), 'superuser'
  FROM pg_catalog.pg_ts_template o JOIN spaces s ON s.oid = o.tmplnamespace
 WHERE o.oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_ts_template'::regclass)
"""

FOR_SUPERUSERS_FROM_15: Final[LiteralString] = """
 UNION ALL
SELECT 'publication', quote_ident(p.pubname) || ' FOR TABLES IN SCHEMA', 'publication'
  FROM pg_catalog.pg_publication p WHERE EXISTS (SELECT FROM pg_catalog.pg_publication_namespace WHERE pnpubid = p.oid)
 UNION ALL
SELECT 'function', r.name || ' with SET ' || g.name, 'setting'
  FROM routines r, LATERAL unnest(r.proconfig) AS given (entry)
  JOIN pg_catalog.pg_settings g ON g.name = split_part(given.entry, '=', 1)
 WHERE g.context IN ('superuser', 'superuser-backend') AND NOT has_parameter_privilege(g.name, 'SET')
"""

# What this role cannot dump or place where it was, with the same columns.
LEFT_OUT: Final[LiteralString] = """
 UNION ALL
SELECT 'subscription', quote_ident(subname), 'subscription' FROM pg_catalog.pg_subscription
 WHERE subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
   AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
 UNION ALL
SELECT 'table', s.prefix || quote_ident(c.relname),
       CASE WHEN c.relforcerowsecurity AND pg_has_role(c.relowner, 'USAGE') THEN 'forced' ELSE 'secured' END
  FROM pg_catalog.pg_class c JOIN spaces s ON s.oid = c.relnamespace
 WHERE c.relkind = 'r' AND CASE WHEN c.relrowsecurity THEN row_security_active(c.oid) END
 UNION ALL
SELECT 'schema', string_agg(nspname, ', ' ORDER BY nspname), 'schemas'
  FROM pg_catalog.pg_namespace
 WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'heroku_ext', '_heroku', 'public')
   AND NOT has_database_privilege(current_database(), 'CREATE')
HAVING count(*) > 0
 UNION ALL
SELECT 'table', s.prefix || quote_ident(c.relname) || ' in tablespace ' || quote_ident(t.spcname), 'tablespace'
  FROM pg_catalog.pg_class c JOIN spaces s ON s.oid = c.relnamespace
  JOIN pg_catalog.pg_tablespace t ON t.oid = c.reltablespace
 WHERE c.relkind IN ('r', 'p', 'm') AND NOT has_tablespace_privilege(t.oid, 'CREATE')
 UNION ALL
SELECT 'extension', quote_ident(e.extname), 'extension' FROM pg_catalog.pg_extension e
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_available_extensions a WHERE a.name = e.extname)
"""

# Heroku's dumps leave this schema out. What belongs to a superuser or to Heroku in it is Heroku's own, and no finding.
IN_HEROKU_EXT: Final[LiteralString] = """
SELECT kind, name FROM (
    SELECT 'pg_class'::regclass AS catalog, c.oid, c.relowner AS owner,
           CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
                          WHEN 'f' THEN 'foreign table' WHEN 'c' THEN 'type' ELSE 'table' END AS kind,
           'heroku_ext.' || quote_ident(c.relname) AS name
      FROM pg_catalog.pg_class c
     WHERE c.relnamespace = to_regnamespace('heroku_ext') AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c')
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                          AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))
     UNION ALL
    SELECT 'pg_proc'::regclass, p.oid, p.proowner,
           CASE p.prokind WHEN 'a' THEN 'aggregate' WHEN 'p' THEN 'procedure' ELSE 'function' END,
           p.oid::regprocedure::text
      FROM pg_catalog.pg_proc p WHERE p.pronamespace = to_regnamespace('heroku_ext')
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
                          AND d.deptype = 'i')
     UNION ALL
    SELECT 'pg_type'::regclass, t.oid, t.typowner, CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END,
           'heroku_ext.' || quote_ident(t.typname)
      FROM pg_catalog.pg_type t
     WHERE t.typnamespace = to_regnamespace('heroku_ext')
       AND (t.typtype IN ('d', 'e', 'r') OR t.typtype = 'b' AND t.typcategory <> 'A')
     UNION ALL
    SELECT 'pg_operator'::regclass, o.oid, o.oprowner, 'operator', o.oid::regoperator::text
      FROM pg_catalog.pg_operator o WHERE o.oprnamespace = to_regnamespace('heroku_ext')
     UNION ALL
    SELECT 'pg_ts_config'::regclass, t.oid, t.cfgowner, 'text search configuration',
           'heroku_ext.' || quote_ident(t.cfgname)
      FROM pg_catalog.pg_ts_config t WHERE t.cfgnamespace = to_regnamespace('heroku_ext')
     UNION ALL
    SELECT 'pg_ts_dict'::regclass, t.oid, t.dictowner, 'text search dictionary',
           'heroku_ext.' || quote_ident(t.dictname)
      FROM pg_catalog.pg_ts_dict t WHERE t.dictnamespace = to_regnamespace('heroku_ext')
     UNION ALL
    SELECT 'pg_collation'::regclass, t.oid, t.collowner, 'collation', 'heroku_ext.' || quote_ident(t.collname)
      FROM pg_catalog.pg_collation t WHERE t.collnamespace = to_regnamespace('heroku_ext')
) things JOIN pg_catalog.pg_roles r ON r.oid = owner
 WHERE NOT r.rolsuper AND r.rolname NOT IN ('heroku_admin', 'rdsadmin', 'rds_superuser')
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = catalog AND d.objid = things.oid
                      AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')
 ORDER BY kind, name
"""

EXTENSIONS: Final[LiteralString] = """
SELECT quote_ident(e.extname), e.extversion, a.default_version
  FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_available_extensions a ON a.name = e.extname
 WHERE e.extversion <> a.default_version ORDER BY 1
"""
"""(name, version, the version that CREATE EXTENSION makes) where the two differ, since a dump names no version."""

SERVERS: Final[LiteralString] = """
SELECT quote_ident(s.srvname), quote_ident(w.fdwname)
  FROM pg_catalog.pg_foreign_server s JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw
 WHERE NOT pg_has_role(w.fdwowner, 'USAGE')
   AND NOT EXISTS (SELECT FROM aclexplode(w.fdwacl) a WHERE a.grantee = 0 AND a.privilege_type = 'USAGE')
 ORDER BY 1
"""
"""(server, its wrapper) where making the server takes a grant, which no dump of Heroku's carries."""

CONFIGURATION: Final[LiteralString] = """
SELECT quote_ident(e.extname), quote_ident(n.nspname) || '.' || quote_ident(c.relname), given.condition
  FROM pg_catalog.pg_extension e, unnest(e.extconfig, e.extcondition) AS given (relation, condition)
  JOIN pg_catalog.pg_class c ON c.oid = given.relation AND c.relkind IN ('r', 'p')
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'heroku_ext'
 ORDER BY 1, 2
"""
"""(extension, table, WHERE clause of the rows that a dump would carry) of tables in the schema that it leaves out."""

PREPARED: Final[LiteralString] = """
SELECT quote_literal(gid) FROM pg_catalog.pg_prepared_xacts WHERE database = current_database() ORDER BY 1
"""
"""(id as a literal) of the prepared transactions on this database."""

# A dump names the parents and the table's own columns. When it is loaded, the parents' columns come first, in their
# order. 2000 is more than the columns that a table can have (MaxHeapAttributeNumber), so that parents do not overlap.
REORDERED: Final[LiteralString] = """
WITH inherited AS (
    SELECT i.inhrelid, p.attname, min(i.inhseqno * 2000 + p.attnum) AS place
      FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
      JOIN pg_catalog.pg_attribute p ON p.attrelid = i.inhparent AND p.attnum > 0 AND NOT p.attisdropped
     WHERE c.relkind = 'r' AND NOT c.relispartition GROUP BY i.inhrelid, p.attname
), columns AS (
    SELECT a.attrelid, row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum) AS now,
           row_number() OVER (PARTITION BY a.attrelid ORDER BY i.place NULLS LAST, a.attnum) AS loaded
      FROM pg_catalog.pg_attribute a LEFT JOIN inherited i ON i.inhrelid = a.attrelid AND i.attname = a.attname
     WHERE a.attrelid IN (SELECT inhrelid FROM inherited) AND a.attnum > 0 AND NOT a.attisdropped
)
SELECT DISTINCT attrelid::regclass::text FROM columns WHERE now <> loaded ORDER BY 1
"""

REASONS: Final = {
    "superuser": ("only a superuser may create it", "drop it"),
    "publication": ("only a superuser may create such a publication", "name the tables one by one: FOR TABLE …"),
    "cast": ("only a superuser, or the owner of one of its types, may create it", "drop it and cast with a function"),
    "attribute": ("only a superuser may declare that", "take it off: ALTER FUNCTION … NOT LEAKPROOF"),
    "setting": ("this role may not set that", "take it off: ALTER FUNCTION … RESET …"),
    "subscription": ("a dump by a role that is no superuser leaves it out", "drop it and make it anew afterwards"),
    "forced": (
        "FORCE ROW LEVEL SECURITY holds for its owner, too, so that it cannot be dumped",
        "ALTER TABLE … NO FORCE ROW LEVEL SECURITY",
    ),
    "secured": (
        "its row-level security holds for this role, so that it cannot be dumped",
        "let this role own it, or give it BYPASSRLS",
    ),
    "schemas": (
        "this role may not create schemas in this database",
        "GRANT CREATE ON DATABASE … TO the role in the database URL",
    ),
    "tablespace": ("this role may not create anything there", "ALTER TABLE … SET TABLESPACE pg_default"),
    "extension": ("the server has no files for it any more", "drop it"),
}
"""The reason why something does not come back, and the way out."""


def uncreatable(connection: Connection[Any]) -> tuple[list[Finding], list[Finding]]:
    """Finds what does not come back, and what comes back in a lesser form, by the catalogs. Raises psycopg.Error."""
    with connection.transaction():
        connection.execute(LIMITS)
        lost = [*_not_created(connection), *_left_out(connection), *_prepared(connection)]
        weaker = (_versions, _servers, _configuration, _reordered)
        return lost, [finding for find_weaker in weaker for finding in find_weaker(connection)]


def _prepared(connection: Connection[Any]) -> Iterator[Finding]:
    for (gid,) in connection.execute(PREPARED).fetchall():
        yield Finding(
            kind="prepared transaction",
            name=gid,
            why="while it is there the database can be neither dropped nor emptied, so that no restore begins",
            way_out=f"COMMIT PREPARED {gid} or ROLLBACK PREPARED {gid}",
        )


def _reordered(connection: Connection[Any]) -> Iterator[Finding]:
    for (table,) in connection.execute(REORDERED).fetchall():
        yield Finding(
            kind="table",
            name=table,
            why="it inherits, and a dump does not keep the order of its columns",
            way_out="name the columns wherever rows are inserted",
        )


def _not_created(connection: Connection[Any]) -> Iterator[Finding]:
    (superuser,) = connection.execute("SELECT current_setting('is_superuser')").fetchall()[0]
    query: LiteralString = SCOPE + FOR_SUPERUSERS
    if connection.info.server_version >= FROM_15:
        query += FOR_SUPERUSERS_FROM_15
    for kind, name, reason in sorted(connection.execute(query + LEFT_OUT).fetchall()):
        why, way_out = REASONS[reason]
        # A superuser may create everything, but no extension whose files the server does not have.
        if superuser == "off" or reason == "extension":
            yield Finding(kind=kind, name=name, why=why, way_out=way_out)


def _left_out(connection: Connection[Any]) -> Iterator[Finding]:
    for kind, name in connection.execute(IN_HEROKU_EXT).fetchall():
        yield Finding(
            kind=kind,
            name=name,
            why="Heroku's dumps leave the schema heroku_ext out",
            way_out="move it: ALTER … SET SCHEMA public",
        )


def _versions(connection: Connection[Any]) -> Iterator[Finding]:
    for name, version, default in connection.execute(EXTENSIONS).fetchall():
        yield Finding(
            kind="extension",
            name=name,
            why=f"it is at version {version}, and a dump names none: a restore makes {default}",
            way_out=f"ALTER EXTENSION {name} UPDATE",
        )


def _servers(connection: Connection[Any]) -> Iterator[Finding]:
    for name, wrapper in connection.execute(SERVERS).fetchall():
        yield Finding(
            kind="foreign server",
            name=name,
            why=f"it comes back only where this role is granted USAGE on the wrapper {wrapper} anew",
            way_out="make sure that creating the extension grants it, or make the server anew afterwards",
        )


def _configuration(connection: Connection[Any]) -> Iterator[Finding]:
    for extension, table, condition in connection.execute(CONFIGURATION).fetchall():
        query = sql.SQL("SELECT EXISTS (SELECT FROM {} {})").format(sql.SQL(table), sql.SQL(condition or ""))
        try:
            with connection.transaction():
                (rows,) = connection.execute(query).fetchall()[0]
        except (errors.InsufficientPrivilege, errors.QueryCanceled, errors.LockNotAvailable):
            continue  # It cannot be told whether there are rows, and such tables seldom have any.
        if rows:
            yield Finding(
                kind="table",
                name=table,
                why=f"it has rows of the app's own in a table of the extension {extension}, and Heroku's dumps leave "
                "the schema heroku_ext out",
                way_out="keep what puts them there, or have the extension in another schema",
            )
