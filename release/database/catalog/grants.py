# ruff: noqa: S608 -- only constants of this package are put together here; values go in as parameters.
"""The SQL for owners and for grants."""

from __future__ import annotations

from typing import Final, LiteralString

from release.database.catalog.links import OURS
from release.database.catalog.scope import SCOPE, Query

# The owner's own rights are written under the word pg_owner, not under its name. So they stay the same when a thing
# gets another owner, as it does when a dump is loaded with --no-owner. No role may be called pg_…, so that the word
# cannot be a role's name. Only grants other than the usual ones are kept, so that most things have none. Grantors are
# left out: after a restore the owner grants again what others had granted on.
OBJECTS: Final[LiteralString] = (
    r"""
, objects AS (
    SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
                        WHEN 'f' THEN 'foreign table' ELSE 'table' END AS kind,
           name, relowner AS owner, relacl AS acl, CASE relkind WHEN 'S' THEN 's' ELSE 'r' END AS defaults
      FROM relations WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL SELECT kind, name, proowner, proacl, 'f' FROM procedures
    UNION ALL SELECT kind, name, typowner, typacl, 'T' FROM types
    UNION ALL SELECT 'schema', name, nspowner, nspacl, 'n' FROM spaces
    UNION ALL SELECT 'foreign server', quote_ident(f.srvname), f.srvowner, f.srvacl, 'S'
      FROM pg_catalog.pg_foreign_server f
     WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_foreign_server'::regclass AND m.objid = f.oid)
    UNION ALL SELECT 'foreign-data wrapper', quote_ident(f.fdwname), f.fdwowner, f.fdwacl, 'F'
      FROM pg_catalog.pg_foreign_data_wrapper f
     WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_foreign_data_wrapper'::regclass AND m.objid = f.oid)
    UNION ALL SELECT 'statistics', s.name || '.' || quote_ident(o.stxname), o.stxowner, NULL, NULL
      FROM pg_catalog.pg_statistic_ext o JOIN spaces s ON s.oid = o.stxnamespace
    UNION ALL SELECT 'collation', s.name || '.' || quote_ident(o.collname), o.collowner, NULL, NULL
      FROM pg_catalog.pg_collation o JOIN spaces s ON s.oid = o.collnamespace
     WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_collation'::regclass AND m.objid = o.oid)
    UNION ALL SELECT 'text search configuration', s.name || '.' || quote_ident(o.cfgname), o.cfgowner, NULL, NULL
      FROM pg_catalog.pg_ts_config o JOIN spaces s ON s.oid = o.cfgnamespace
     WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_ts_config'::regclass AND m.objid = o.oid)
    UNION ALL SELECT 'text search dictionary', s.name || '.' || quote_ident(o.dictname), o.dictowner, NULL, NULL
      FROM pg_catalog.pg_ts_dict o JOIN spaces s ON s.oid = o.dictnamespace
     WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_ts_dict'::regclass AND m.objid = o.oid)
    UNION ALL SELECT 'operator', o.oid::regoperator::text, o.oprowner, NULL, NULL
      FROM pg_catalog.pg_operator o JOIN spaces s ON s.oid = o.oprnamespace
     WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_operator'::regclass AND m.objid = o.oid)
    UNION ALL SELECT 'publication', quote_ident(p.pubname), p.pubowner, NULL, NULL
      FROM pg_catalog.pg_publication p WHERE """
    + OURS
    + r"""
)
"""
)

OBJECTS_WITH_OWNERS: Final[LiteralString] = (
    SCOPE
    + OBJECTS
    + r"""
SELECT kind, name, pg_get_userbyid(owner), pg_has_role(current_user, owner, %s) FROM objects
 UNION ALL
SELECT 'default privileges', 'for role ' || quote_ident(pg_get_userbyid(defaclrole)), pg_get_userbyid(defaclrole),
       pg_has_role(current_user, defaclrole, %s)
  FROM pg_catalog.pg_default_acl WHERE defaclnamespace = 0 OR defaclnamespace IN (SELECT oid FROM spaces)
"""
)
"""(kind, name, owner, whether the current role has the given right to act as the owner) of all there is to own."""


def _rights(acl: LiteralString, owner: LiteralString) -> LiteralString:
    """Writes a query for (role, privileges) of an access list. Privileges that may be granted on carry a star."""
    return (
        r"SELECT CASE grantee WHEN 0 THEN 'public' WHEN "
        + owner
        + r" THEN 'pg_owner' ELSE replace(replace(pg_get_userbyid(grantee), '\', '\\'), E'\n', '\n') END AS role,"
        r" string_agg(privilege, ', ' ORDER BY privilege) AS privileges FROM ("
        r"SELECT grantee, privilege_type || CASE WHEN bool_or(is_grantable) THEN '*' ELSE '' END AS privilege"
        r" FROM aclexplode(" + acl + r") GROUP BY grantee, privilege_type) each GROUP BY grantee"
    )


def unusual(acl: LiteralString, usual: LiteralString, owner: LiteralString) -> LiteralString:
    """Writes an expression for what an access list has other than the usual one: a line a role, or null for nothing."""
    return (
        r"""(SELECT string_agg(role || E'\t' || coalesce(h.privileges, 'nothing'), E'\n'"""
        r""" ORDER BY role COLLATE "C") FROM ("""
        + _rights(acl, owner)
        + ") h FULL JOIN ("
        + _rights(usual, owner)
        + ") u USING (role) WHERE h.privileges IS DISTINCT FROM u.privileges)"
    )


GRANTS: Final[tuple[Query, ...]] = (
    # What was granted on a thing, and the owners of what does not belong to the database's owner. SURROUNDINGS has that
    # of the schema public, which comes with the database. One query, for what there is to own is read once for both.
    Query(
        SCOPE
        + OBJECTS
        + r"""
SELECT * FROM (SELECT 'grants', o.kind || ' ' || o.name, """
        + unusual("o.acl", 'acldefault(o.defaults::"char", o.owner)', "o.owner")
        + r""" FROM objects o WHERE o.acl IS NOT NULL) found (kind, name, lines) WHERE lines IS NOT NULL
UNION ALL
SELECT 'owner', kind || ' ' || name, pg_get_userbyid(owner) FROM objects
 WHERE owner <> (SELECT datdba FROM pg_catalog.pg_database WHERE datname = current_database())
   AND (kind, name) <> ('schema', 'public')
""",
    ),
    Query(
        SCOPE
        + r"""
SELECT * FROM (SELECT 'grants', 'column ' || r.name || '.' || quote_ident(a.attname), """
        + unusual("a.attacl", "NULL::aclitem[]", "r.relowner")
        + r"""
  FROM relations r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid
 WHERE a.attacl IS NOT NULL AND a.attnum > 0 AND NOT a.attisdropped) found (kind, name, lines) WHERE lines IS NOT NULL
""",
    ),
    # What the role grants on things that it makes in future. An entry for a schema adds to the role's own entry.
    Query(
        SCOPE
        + r"""
SELECT 'grants', 'default for role ' || quote_ident(pg_get_userbyid(d.defaclrole))
       || coalesce(' in schema ' || s.name, '') || ' on '
       || CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
                               WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas' ELSE 'large objects' END, """
        + unusual(
            "d.defaclacl",
            "CASE WHEN s.oid IS NULL THEN acldefault(CASE d.defaclobjtype WHEN 'S' THEN 's' ELSE d.defaclobjtype END,"
            " d.defaclrole) END",
            "d.defaclrole",
        )
        + r"""
  FROM pg_catalog.pg_default_acl d LEFT JOIN spaces s ON s.oid = d.defaclnamespace
 WHERE d.defaclnamespace = 0 OR s.oid IS NOT NULL
""",
        only_if="pg_catalog.pg_default_acl",
    ),
)

DATABASE_GRANTS: Final = Query(
    "SELECT 'grants', 'database', "
    + unusual("d.datacl", "acldefault('d', d.datdba)", "d.datdba")
    + " FROM pg_catalog.pg_database d WHERE d.datname = current_database() AND d.datacl IS NOT NULL"
)

# Owners and grants of large objects. The first 200,000 objects are read, and of those that are not as usual the first
# 10,000 are named: reading more would take seconds, and naming more megabytes. Of the rest a hash is kept.
LARGE_OBJECTS: Final = Query(
    r"""
WITH found AS MATERIALIZED (
    SELECT oid, lomowner, lomacl, row_number() OVER (ORDER BY oid) AS place
      FROM (SELECT oid, lomowner, lomacl FROM pg_catalog.pg_largeobject_metadata ORDER BY oid LIMIT 200000) first
     WHERE lomacl IS NOT NULL
        OR lomowner <> (SELECT datdba FROM pg_catalog.pg_database WHERE datname = current_database())
)
SELECT 'owner', 'large object ' || oid, pg_get_userbyid(lomowner) FROM found
 WHERE place <= 10000
   AND lomowner <> (SELECT datdba FROM pg_catalog.pg_database WHERE datname = current_database())
UNION ALL
SELECT * FROM (SELECT 'grants', 'large object ' || oid, """
    + unusual("lomacl", "acldefault('L', lomowner)", "lomowner")
    + r""" FROM found WHERE place <= 10000 AND lomacl IS NOT NULL) granted (kind, name, lines) WHERE lines IS NOT NULL
UNION ALL
SELECT 'large objects', 'owners and grants of the rest', concat(count(*), ' sha256 ', encode(sha256(convert_to(
           string_agg(concat_ws(' ', oid, lomowner::regrole, lomacl), ' ' ORDER BY oid), 'UTF8')), 'hex'))
  FROM found WHERE place > 10000 HAVING count(*) > 0
""",
    only_if="pg_catalog.pg_largeobject_metadata",
)

LARGE_OBJECT_OWNERS: Final[LiteralString] = """
SELECT 'large object ' || oid, oid::text, pg_get_userbyid(lomowner)
  FROM pg_catalog.pg_largeobject_metadata WHERE oid = ANY (%s::oid[])
"""
"""(name in the fingerprint, oid, owner) of some large objects."""

FOREIGN_LARGE_OBJECTS: Final[LiteralString] = """
SELECT 'large object ' || oid, pg_get_userbyid(lomowner)
  FROM pg_catalog.pg_largeobject_metadata
 WHERE lomowner IN (SELECT oid FROM pg_catalog.pg_roles WHERE NOT pg_has_role(current_user, oid, %s))
 ORDER BY pg_largeobject_metadata.oid LIMIT 100
"""
"""The first hundred large objects that this credential could not give back to their owners."""

DATABASE: Final[LiteralString] = """
SELECT quote_ident(datname), pg_get_userbyid(datdba) FROM pg_catalog.pg_database WHERE datname = current_database()
"""
"""(name, owner) of the database."""

USUAL_GRANTS: Final[LiteralString] = (
    "SELECT kind, role, privileges FROM unnest(%s::text[]) AS given (kind), LATERAL ("
    + _rights('acldefault(kind::"char", 10)', "10")
    + ") usual"
)
"""(kind as acldefault() names it, role, privileges) where nothing was granted or revoked.

10 is the oid of the first role (BOOTSTRAP_SUPERUSERID), which here stands for any owner.
"""
