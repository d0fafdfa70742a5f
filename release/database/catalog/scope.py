"""The scope: the schemas and objects that are the app's own, as the beginning of every query."""

from __future__ import annotations

from typing import Final, LiteralString, NamedTuple

EXCLUDED_SCHEMAS: Final = ("information_schema", "heroku_ext", "_heroku", "release_phase")
"""The schemas besides pg_* that are not the app's own.

Heroku puts two into every database: its extensions' schema `heroku_ext`, which its dumps leave out, and `_heroku` with
the functions that guard CREATE EXTENSION. `release_phase` is the hook's own journal.
"""

LIMITS: Final[LiteralString] = """
SELECT set_config(name, given, true) FROM (VALUES
    ('search_path', ''),
    ('lock_timeout', '2s'),
    ('statement_timeout', '20s'),
    ('jit', 'off'),
    ('enable_nestloop', 'off'),
    ('work_mem', '16MB'),
    ('TimeZone', 'UTC'),
    ('DateStyle', 'ISO, YMD'),
    ('IntervalStyle', 'postgres'),
    ('extra_float_digits', '1'),
    ('bytea_output', 'hex'),
    ('quote_all_identifiers', 'off'),
    ('standard_conforming_strings', 'on'),
    ('stats_fetch_consistency', 'none')
) AS limits (name, given) WHERE current_setting(name, true) IS NOT NULL
"""
"""The settings for one transaction that reads catalogs.

The formats are those in which literals inside definitions print. jit is off because compiling these queries takes
longer than running them. Nested loops are off because what the server believes about its catalogs is out of date right
after a restore, or after many schemas were made: it then takes 2,000 schemas for one, and goes through all tables for
each of them. A sort in 16 MB needs no file. stats_fetch_consistency (PostgreSQL 15) makes the server give present
counters, not cached ones.
"""

# An extension stands for all that it brought, so that its members are left out; pg_depend is read once for them, by its
# index. Likewise a range type stands for its constructors and casts, which depend on it internally (deptype 'i').
# The setting release.busy holds the relations that BUSY below leaves out, and is empty otherwise.
SCOPE: Final[LiteralString] = r"""
WITH spaces AS (
    SELECT n.oid, n.nspname, quote_ident(n.nspname) AS name, n.nspowner, n.nspacl
      FROM pg_catalog.pg_namespace n
     WHERE n.nspname !~ '^pg_'
       AND n.nspname NOT IN ('information_schema', 'heroku_ext', '_heroku', 'release_phase')
), members AS (
    SELECT classid, objid FROM pg_catalog.pg_depend
     WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
), relations AS (
    SELECT c.*, s.name || '.' || quote_ident(c.relname) AS name
      FROM pg_catalog.pg_class c JOIN spaces s ON s.oid = c.relnamespace
     WHERE c.oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_class'::regclass)
       AND c.oid <> ALL ((SELECT coalesce(nullif(current_setting('release.busy', true), ''), '{}'))::oid[])
), procedures AS (
    SELECT p.*, CASE p.prokind WHEN 'a' THEN 'aggregate' WHEN 'p' THEN 'procedure' ELSE 'function' END AS kind,
           p.oid::regprocedure::text AS name
      FROM pg_catalog.pg_proc p JOIN spaces s ON s.oid = p.pronamespace
     WHERE p.oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_proc'::regclass)
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
                          AND d.deptype = 'i')
), types AS (
    SELECT t.*, CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END AS kind,
           s.name || '.' || quote_ident(t.typname) AS name
      FROM pg_catalog.pg_type t JOIN spaces s ON s.oid = t.typnamespace
     WHERE (t.typtype IN ('d', 'e', 'r') OR t.typtype = 'b' AND t.typcategory <> 'A'
            OR t.typtype = 'c'
               AND (SELECT c.relkind FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid) = 'c')
       AND t.oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_type'::regclass)
)
"""


class Query(NamedTuple):
    """A query for (kind, name, definition).

    `only_if` is what follows FROM in a query for rows without which this one would have no answer. `since` and `until`
    are server versions as server_version_num counts. The query is for the versions from `since` to before `until`.
    """

    text: LiteralString
    only_if: LiteralString = "(VALUES (true)) always"
    since: int = 0
    until: int = 1_000_000


# Printing a view takes a lock on each relation that it reads, so that the views of a locked relation wait, too.
BUSY: Final[LiteralString] = r"""
WITH RECURSIVE busy (oid) AS (
    SELECT relation FROM pg_catalog.pg_locks
     WHERE mode = 'AccessExclusiveLock' AND granted AND relation IS NOT NULL AND pid IS DISTINCT FROM pg_backend_pid()
       AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
     UNION
    SELECT w.ev_class FROM busy b
      JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = b.oid
       AND d.classid = 'pg_rewrite'::regclass
      JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid
), named AS (
    SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name
      FROM busy b JOIN pg_catalog.pg_class c ON c.oid = b.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_'
)
SELECT set_config('release.busy', coalesce(array_agg(oid), '{}')::text, true),
       coalesce(array_agg(name ORDER BY name), '{}')
  FROM named
"""
"""A query that leaves what others keep locked, and views of it, out of this transaction's other queries.

It returns one row: (the setting, the names of what is left out).
"""
