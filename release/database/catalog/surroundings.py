"""What belongs to the database as such, to the platform, or to the data."""

from __future__ import annotations

from typing import Final

from release.database.catalog.grants import DATABASE_GRANTS
from release.database.catalog.scope import Query

SURROUNDINGS: Final[tuple[Query, ...]] = (
    Query(
        r"""
SELECT 'database', entry.name, entry.value
  FROM pg_catalog.pg_database d, LATERAL (VALUES
       ('name', d.datname), ('owner', pg_get_userbyid(d.datdba)), ('encoding', pg_encoding_to_char(d.encoding)),
       ('collate', d.datcollate), ('ctype', d.datctype), ('comment', shobj_description(d.oid, 'pg_database')),
       ('credential', current_user::text)) entry (name, value)
 WHERE d.datname = current_database() AND entry.value IS NOT NULL
""",
    ),
    DATABASE_GRANTS,
    Query(
        r"""
SELECT 'owner', 'schema public', pg_get_userbyid(nspowner) FROM pg_catalog.pg_namespace WHERE nspname = 'public'
""",
    ),
    Query(
        r"""
SELECT 'setting', coalesce(pg_get_userbyid(nullif(s.setrole, 0)) || ': ', '') || split_part(e, '=', 1),
       substr(e, strpos(e, '=') + 1)
  FROM pg_catalog.pg_db_role_setting s, unnest(s.setconfig) e
 WHERE s.setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
""",
        only_if="pg_catalog.pg_db_role_setting",
    ),
    Query(
        r"""
SELECT 'event trigger', quote_ident(evtname),
       concat(evtevent, ' ', evtfoid::regprocedure, ' ', evttags::text, ' ', evtenabled)
  FROM pg_catalog.pg_event_trigger
""",
        only_if="pg_catalog.pg_event_trigger",
    ),
    # More than 10,000 are not counted: they are data, and counting them would cost what they weigh.
    Query(
        r"""
SELECT 'large objects', 'count', CASE WHEN n > 10000 THEN 'more than 10000' ELSE n::text END
  FROM (SELECT count(*) AS n FROM (SELECT FROM pg_catalog.pg_largeobject_metadata LIMIT 10001) l) c
""",
    ),
)
"""What belongs to the database as such, to the platform, or to the data. Event triggers always belong to superusers."""
