# ruff: noqa: S608 -- only constants of this package are put together here; values go in as parameters.
"""The rarer kinds, most of which only a superuser can make. A restore by anybody else loses them."""

from __future__ import annotations

from typing import Final, LiteralString

from release.database.catalog.scope import SCOPE, Query


def _own(catalog: LiteralString, alias: LiteralString) -> LiteralString:
    """Writes a condition for what was made after initdb (FirstNormalObjectId), and was not brought by an extension."""
    return (
        f"{alias}.oid >= 16384 AND NOT EXISTS (SELECT FROM members m"
        f" WHERE m.classid = '{catalog}'::regclass AND m.objid = {alias}.oid)"
    )


RARER: Final[tuple[Query, ...]] = (
    Query(
        SCOPE
        + r"""
SELECT 'foreign-data wrapper', quote_ident(w.fdwname),
       concat('handler ', nullif(w.fdwhandler, 0)::regproc, ' validator ', nullif(w.fdwvalidator, 0)::regproc,
              ' options ' || w.fdwoptions::text)
  FROM pg_catalog.pg_foreign_data_wrapper w WHERE """
        + _own("pg_foreign_data_wrapper", "w"),
        only_if="pg_catalog.pg_foreign_data_wrapper WHERE oid >= 16384",
    ),
    Query(
        SCOPE
        + r"""
SELECT 'language', quote_ident(l.lanname),
       concat('handler ', nullif(l.lanplcallfoid, 0)::regprocedure, CASE WHEN l.lanpltrusted THEN ' trusted' END)
  FROM pg_catalog.pg_language l WHERE """
        + _own("pg_language", "l"),
        only_if="pg_catalog.pg_language WHERE oid >= 16384",
    ),
    Query(
        SCOPE
        + r"""
SELECT 'access method', quote_ident(a.amname), concat(a.amtype, ' handler ', a.amhandler::regproc)
  FROM pg_catalog.pg_am a WHERE """
        + _own("pg_am", "a"),
        only_if="pg_catalog.pg_am WHERE oid >= 16384",
    ),
    Query(
        SCOPE
        + r"""
SELECT 'transform', concat('for ', t.trftype::regtype, ' language ', quote_ident(l.lanname)),
       concat(nullif(t.trffromsql, 0)::regprocedure, ' ', nullif(t.trftosql, 0)::regprocedure)
  FROM pg_catalog.pg_transform t JOIN pg_catalog.pg_language l ON l.oid = t.trflang WHERE """
        + _own("pg_transform", "t"),
        only_if="pg_catalog.pg_transform WHERE oid >= 16384",
    ),
    Query(
        SCOPE
        + r"""
SELECT 'operator family', s.name || '.' || quote_ident(f.opfname) || ' using ' || a.amname,
       (SELECT count(*) FROM pg_catalog.pg_amop o WHERE o.amopfamily = f.oid) || ' operators '
       || (SELECT count(*) FROM pg_catalog.pg_amproc p WHERE p.amprocfamily = f.oid) || ' functions'
  FROM pg_catalog.pg_opfamily f JOIN spaces s ON s.oid = f.opfnamespace
  JOIN pg_catalog.pg_am a ON a.oid = f.opfmethod WHERE """
        + _own("pg_opfamily", "f"),
        only_if="pg_catalog.pg_opfamily WHERE oid >= 16384",
    ),
    Query(
        SCOPE
        + r"""
SELECT 'text search parser', s.name || '.' || quote_ident(p.prsname), concat(p.prsstart, ' ', p.prstoken)
  FROM pg_catalog.pg_ts_parser p JOIN spaces s ON s.oid = p.prsnamespace WHERE """
        + _own("pg_ts_parser", "p"),
        only_if="pg_catalog.pg_ts_parser WHERE oid >= 16384",
    ),
    Query(
        SCOPE
        + r"""
SELECT 'text search template', s.name || '.' || quote_ident(t.tmplname), concat(t.tmplinit, ' ', t.tmpllexize)
  FROM pg_catalog.pg_ts_template t JOIN spaces s ON s.oid = t.tmplnamespace WHERE """
        + _own("pg_ts_template", "t"),
        only_if="pg_catalog.pg_ts_template WHERE oid >= 16384",
    ),
    Query(
        SCOPE
        + r"""
SELECT 'conversion', s.name || '.' || quote_ident(c.conname),
       concat(c.conforencoding, ' to ', c.contoencoding, ' ', c.conproc, CASE WHEN c.condefault THEN ' default' END)
  FROM pg_catalog.pg_conversion c JOIN spaces s ON s.oid = c.connamespace WHERE """
        + _own("pg_conversion", "c"),
        only_if="pg_catalog.pg_conversion WHERE oid >= 16384",
    ),
)
