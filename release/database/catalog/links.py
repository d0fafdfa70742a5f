# ruff: noqa: S608 -- only constants of this package are put together here; values go in as parameters.
"""Links to other databases: foreign servers, the logins there, publications. Secrets are kept as hashes."""

from __future__ import annotations

from typing import Final, LiteralString

from release.database.catalog.scope import SCOPE, Query

NAMES_OF_SECRETS: Final[LiteralString] = (
    "(pass|pwd|secret|token|key|credential|private|salt|jwt|auth|cert|dsn|sign|url|uri)"
)
"""A regular expression for the names of what may be a secret."""

FROM_15: Final = 150_000
"""The server version from which on publications have schemas, row filters and lists of columns."""


def hashed(value: LiteralString) -> LiteralString:
    """Writes an expression for the hash that is kept in a value's place."""
    return f"'sha256 ' || encode(sha256(convert_to({value}, 'UTF8')), 'hex')"


# The servers of extensions are left out. Publications are never members of an extension.
FOREIGN_SERVERS: Final = Query(
    SCOPE
    + r"""
SELECT 'foreign server', quote_ident(f.srvname),
       concat('wrapper ', quote_ident(w.fdwname), ' type ' || f.srvtype, ' version ' || f.srvversion, ' options ' || (
           SELECT string_agg(o.option_name || '=' || CASE WHEN o.option_name ~* '"""
    + NAMES_OF_SECRETS
    + "' THEN "
    + hashed("o.option_value")
    + r""" ELSE o.option_value END, ', ' ORDER BY o.option_name COLLATE "C")
             FROM pg_options_to_table(f.srvoptions) o))
  FROM pg_catalog.pg_foreign_server f JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = f.srvfdw
 WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_foreign_server'::regclass AND m.objid = f.oid)
""",
    only_if="pg_catalog.pg_foreign_server",
)

# Only superusers may read the table itself. The view shows options to those who may use them. A dump by this role has
# the same options and no others. The name is what DROP USER MAPPING takes.
USER_MAPPINGS: Final = Query(
    SCOPE
    + r"""
SELECT 'user mapping', concat('for ', quote_ident(u.usename), ' server ', quote_ident(u.srvname)),
       CASE WHEN u.umoptions IS NOT NULL OR u.umuser = 0 AND pg_has_role(f.srvowner, 'USAGE')
                 OR u.usename = current_user
                    AND (pg_has_role(f.srvowner, 'USAGE') OR has_server_privilege(f.oid, 'USAGE'))
            THEN 'options ' || (SELECT string_agg(o.option_name || '=' || """
    + hashed("o.option_value")
    + r""", ', ' ORDER BY o.option_name COLLATE "C")
                                  FROM pg_options_to_table(u.umoptions) o)
            ELSE 'options unreadable' END
  FROM pg_catalog.pg_user_mappings u JOIN pg_catalog.pg_foreign_server f ON f.oid = u.srvid
 WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_foreign_server'::regclass AND m.objid = f.oid)
""",
    only_if="pg_catalog.pg_foreign_server",
)

OURS: Final[LiteralString] = (
    "(pg_has_role(current_user, p.pubowner, 'MEMBER')"
    " OR NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE oid = p.pubowner))"
)
"""A condition for a publication that is not the platform's."""

PUBLICATIONS: Final[tuple[Query, ...]] = (
    Query(
        r"""
SELECT 'publication', quote_ident(p.pubname),
       concat(CASE WHEN p.puballtables THEN 'for all tables with ' END, 'publish = ', quote_literal(concat_ws(', ',
                  CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END,
                  CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END)),
              ', publish_via_partition_root = ', p.pubviaroot::text,
              ', publish_generated_columns = ' || CASE to_jsonb(p) ->> 'pubgencols' WHEN 's' THEN 'stored'
                                                                                    WHEN 'n' THEN 'none' END)
  FROM pg_catalog.pg_publication p WHERE """
        + OURS,
        only_if="pg_catalog.pg_publication",
    ),
    Query(
        r"""
SELECT 'published', 'publication ' || quote_ident(p.pubname), string_agg(replace(replace(concat(
           'table ', t.prrelid::regclass, E'\t'), '\', '\\'), E'\n', '\n'),
           E'\n' ORDER BY t.prrelid::regclass::text COLLATE "C")
  FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_rel t ON t.prpubid = p.oid
 WHERE """
        + OURS
        + " GROUP BY p.pubname",
        only_if="pg_catalog.pg_publication_rel",
        until=FROM_15,
    ),
    Query(
        r"""
SELECT 'published', 'publication ' || quote_ident(p.pubname), string_agg(replace(replace(concat(
           part.kind, part.name, E'\t', part.how), '\', '\\'), E'\n', '\n'),
           E'\n' ORDER BY part.kind, part.name COLLATE "C")
  FROM pg_catalog.pg_publication p
  JOIN (SELECT t.prpubid, 'table ' AS kind, t.prrelid::regclass::text AS name, concat_ws(' ',
               (SELECT '(' || string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname COLLATE "C") || ')'
                  FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.prrelid AND a.attnum = ANY (t.prattrs)),
               'WHERE (' || pg_get_expr(t.prqual, t.prrelid) || ')') AS how
          FROM pg_catalog.pg_publication_rel t
        UNION ALL
        SELECT n.pnpubid, 'schema ', quote_ident(s.nspname), ''
          FROM pg_catalog.pg_publication_namespace n JOIN pg_catalog.pg_namespace s ON s.oid = n.pnnspid) part
       ON part.prpubid = p.oid
 WHERE """
        + OURS
        + " GROUP BY p.pubname",
        only_if="pg_catalog.pg_publication",
        since=FROM_15,
    ),
)
"""A publication's options as ALTER PUBLICATION takes them, and as a block what it publishes."""

PUBLICATIONS_OF_THE_PLATFORM: Final = Query(
    "SELECT 'publication of a superuser', quote_ident(p.pubname), pg_get_userbyid(p.pubowner)"
    " FROM pg_catalog.pg_publication p WHERE NOT " + OURS,
    only_if="pg_catalog.pg_publication",
)

LINKS: Final[tuple[Query, ...]] = (FOREIGN_SERVERS, USER_MAPPINGS, *PUBLICATIONS)
