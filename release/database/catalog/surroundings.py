# ruff: noqa: S608 -- only constants of this package are put together here; values go in as parameters.
"""The surroundings: what belongs to the database as such, to the platform, or to the data."""

from __future__ import annotations

from typing import Final, LiteralString

from release.database.catalog.grants import DATABASE_GRANTS, LARGE_OBJECTS
from release.database.catalog.links import NAMES_OF_SECRETS, PUBLICATIONS_OF_THE_PLATFORM, hashed
from release.database.catalog.scope import Query

# A setting that the server itself knows is not taken for a secret because of its name. A setting of the app's own is,
# by its name (`app.jwt_secret`) or where its value looks like a token: 20 or more such characters, a digit among them.
# The value of any setting is, where it has a password in a URL or in a connection string.
_HARMLESS: Final[LiteralString] = (
    r"(e.value !~* '://[^/[:space:]]*@|(passw|pwd|secret)[a-z]*[[:space:]]*[=:]'"
    r" AND (e.name IN (SELECT p.name FROM pg_catalog.pg_settings p WHERE strpos(p.name, '.') = 0) OR e.name !~* '"
    + NAMES_OF_SECRETS
    + r"' AND e.value !~ '(?=[A-Za-z+/=_-]*[0-9])[A-Za-z0-9+/=_-]{20,}'))"
)

SETTINGS: Final = Query(
    r"""
SELECT 'setting',
       concat(e.name, ' of ', CASE WHEN s.setrole = 0 THEN 'the database'
                                   ELSE concat('role ', quote_ident(pg_get_userbyid(s.setrole)),
                                               CASE WHEN s.setdatabase <> 0 THEN ' in the database' END) END),
       CASE WHEN """
    + _HARMLESS
    + " THEN e.value ELSE "
    + hashed("e.value")
    + r""" END
  FROM pg_catalog.pg_db_role_setting s,
       LATERAL (SELECT split_part(c, '=', 1), substr(c, strpos(c, '=') + 1) FROM unnest(s.setconfig) c) e (name, value)
 WHERE s.setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
    OR s.setdatabase = 0 AND s.setrole <> 0 AND pg_has_role(current_user, s.setrole, 'MEMBER')
""",
    only_if="pg_catalog.pg_db_role_setting",
)
"""The settings of the database, of roles in it, and of the roles that the current one may act as.

They are named `search_path of the database`, `work_mem of role x in the database` and `jit of role x`. A value that may
be a secret is kept as a hash.
"""

OF_DATABASE: Final = Query(
    r"""
SELECT 'database', entry.name, entry.value
  FROM pg_catalog.pg_database d, LATERAL (VALUES
       ('name', d.datname), ('owner', pg_get_userbyid(d.datdba)), ('encoding', pg_encoding_to_char(d.encoding)),
       ('collate', d.datcollate), ('ctype', d.datctype), ('comment', shobj_description(d.oid, 'pg_database')),
       ('connection limit', nullif(d.datconnlimit, -1)::text),
       ('credential', current_user::text)) entry (name, value)
 WHERE d.datname = current_database() AND entry.value IS NOT NULL
""",
)

SURROUNDINGS: Final[tuple[Query, ...]] = (
    OF_DATABASE,
    DATABASE_GRANTS,
    Query(
        r"""
SELECT 'owner', 'schema public', pg_get_userbyid(nspowner) FROM pg_catalog.pg_namespace WHERE nspname = 'public'
""",
    ),
    SETTINGS,
    # The platform's own event triggers are left out: they stay when the schemas are dropped, and the platform makes
    # them again with the database. All event triggers belong to superusers.
    Query(
        r"""
SELECT 'event trigger', quote_ident(t.evtname),
       concat(t.evtevent, ' ', t.evtfoid::regprocedure, ' ', t.evttags::text, ' ', t.evtenabled)
  FROM pg_catalog.pg_event_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.evtfoid
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname NOT IN ('_heroku', 'heroku_ext')
""",
        only_if="pg_catalog.pg_event_trigger",
    ),
    PUBLICATIONS_OF_THE_PLATFORM,
    LARGE_OBJECTS,
    # More than 10,000 large objects are not counted, since the time for counting grows with their number.
    Query(
        r"""
SELECT 'large objects', 'count', CASE WHEN n > 10000 THEN 'more than 10000' ELSE n::text END
  FROM (SELECT count(*) AS n FROM (SELECT FROM pg_catalog.pg_largeobject_metadata LIMIT 10001) l) c
""",
    ),
    Query(
        r"""
SELECT 'security label', concat(provider, ' on ', objtype, ' ', objname), label FROM pg_catalog.pg_seclabels
 WHERE objtype NOT IN ('role', 'tablespace') AND (objtype <> 'database' OR objname = quote_ident(current_database()))
""",
        only_if="pg_catalog.pg_seclabel",
    ),
)
"""The queries for the surroundings. None of their answers is part of a comparison's verdict."""
