"""Checks for what a migration can leave behind without failing: invalid constraints and indexes, sequences behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, LiteralString

from psycopg import Connection, errors, sql

from release.database import catalog
from release.database.definitions import parse_block
from release.database.fingerprint import Fingerprint
from release.database.session import translated

SEQUENCES: Final[LiteralString] = """
SELECT found.sequence, relation::regclass::text,
       (SELECT quote_ident(a.attname) FROM pg_catalog.pg_attribute a WHERE a.attrelid = relation AND a.attnum = number),
       seqincrement
  FROM (
SELECT s.oid::regclass::text AS sequence, t.oid AS relation, d.refobjsubid AS number, q.seqincrement
  FROM pg_catalog.pg_sequence q
  JOIN pg_catalog.pg_class s ON s.oid = q.seqrelid
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid AND d.deptype IN ('a', 'i')
       AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
  JOIN pg_catalog.pg_class t ON t.oid = d.refobjid AND t.relkind = 'r'
  JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
 WHERE q.seqincrement > 0 AND NOT q.seqcycle AND n.nspname !~ '^pg_' AND n.nspname <> ALL (%s)
   AND has_table_privilege(t.oid, 'SELECT')
   AND CASE s.relkind WHEN 'S' THEN has_sequence_privilege(s.oid, 'SELECT') END
   AND NOT row_security_active(t.oid)
   AND EXISTS (
       SELECT FROM pg_catalog.pg_index i
         JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
         JOIN pg_catalog.pg_am m ON m.oid = c.relam AND m.amname = 'btree'
        WHERE i.indrelid = t.oid AND i.indisvalid AND i.indpred IS NULL AND i.indkey[0] = d.refobjsubid)
 ORDER BY 1 LIMIT 500) found ORDER BY 1
"""
"""(sequence, table, column, increment) of columns whose highest value is at the end of an index.

No other column is checked, so that no table is scanned.
"""

INVALID_INDEXES: Final[LiteralString] = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'i' AND NOT (i.indisvalid AND i.indisready) AND n.nspname !~ '^pg_' AND n.nspname <> ALL (%s)
 ORDER BY 1
"""
"""The indexes that are not valid. Those of partitioned tables are left out, since they wait for their parts."""

UNVALIDATED: Final[LiteralString] = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), quote_ident(k.conname)
  FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT k.convalidated AND n.nspname !~ '^pg_' AND n.nspname <> ALL (%s)
 ORDER BY 1, 2
"""
"""(table, constraint) of the constraints that are not validated."""

BATCH: Final = 50
"""The number of sequences in one statement, which keeps locks on them and their tables until it ends."""


def invalid_indexes(connection: Connection[Any]) -> list[str]:
    """Names the indexes that are not valid, because a concurrent build of them failed. Raises Failed or Lost.

    Only the catalogs are read, so that nobody's lock can be in the way.
    """
    with translated():
        return [name for (name,) in connection.execute(INVALID_INDEXES, [list(catalog.EXCLUDED_SCHEMAS)])]


def unvalidated(connection: Connection[Any], before: Fingerprint) -> list[str]:
    """Names the constraints that were valid before and are not any more. Raises Failed or Lost.

    A constraint that is new and not valid yet was made so on purpose, and is not named.
    """
    with translated():
        not_valid = connection.execute(UNVALIDATED, [list(catalog.EXCLUDED_SCHEMAS)]).fetchall()
    names = []
    for table, name in not_valid:
        was = parse_block(before.schema.get("constraints", {}).get(table, "")).get(name)
        if was is not None and not was.endswith(" NOT VALID"):
            names.append(f"{table}.{name}")
    return names


def sequences_behind(connection: Connection[Any]) -> dict[str, str]:
    """Finds the sequences whose next value is taken already, with their tables. The next insert there would fail.

    A sequence whose table is locked, or takes too long to read, is left out. Raises Failed or Lost.
    """
    with translated():
        with connection.transaction():
            connection.execute(catalog.LIMITS)
            sequences = connection.execute(SEQUENCES, [list(catalog.EXCLUDED_SCHEMAS)], prepare=True).fetchall()
        return {
            sequence: table
            for start in range(0, len(sequences), BATCH)
            for sequence, table in _behind(connection, sequences[start : start + BATCH])
        }


def _behind(connection: Connection[Any], sequences: list[tuple[Any, ...]]) -> Iterator[tuple[str, str]]:
    query = sql.SQL(" UNION ALL ").join(
        sql.SQL(
            "SELECT {}, {} FROM {} AS s WHERE (SELECT max({}) FROM ONLY {})"
            " >= CASE WHEN s.is_called THEN s.last_value + {} ELSE s.last_value END"
        ).format(
            sql.Literal(sequence),
            sql.Literal(table),
            sql.SQL(sequence),
            sql.SQL(column),
            sql.SQL(table),
            sql.Literal(increment),
        )
        for sequence, table, column, increment in sequences
    )
    with (
        suppress(errors.LockNotAvailable, errors.QueryCanceled, errors.UndefinedTable, errors.UndefinedColumn),
        connection.transaction(),
    ):
        connection.execute(catalog.LIMITS)
        yield from connection.execute(query).fetchall()
