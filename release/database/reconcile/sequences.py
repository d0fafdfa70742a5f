"""The sequences behind a table's columns, moved on over the rows that were put back, and never backwards.

`nextval` takes no lock that a transaction keeps, so a sequence that is read and then set could go back. ALTER SEQUENCE
takes one that keeps every `nextval` waiting until the end. It also gives the sequence a new file, so that `setval`
afterwards is undone with the transaction.
"""

from __future__ import annotations

from typing import Any, Final, LiteralString

from psycopg import Connection, sql

from release.database.reconcile.tables import Table

_SEQUENCES: Final[LiteralString] = """
SELECT DISTINCT n.nspname, c.relname, c.oid::regclass::text, a.attname, s.seqincrement
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid AND t.oid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
  LEFT JOIN pg_catalog.pg_attrdef e ON e.adrelid = a.attrelid AND e.adnum = a.attnum
  JOIN pg_catalog.pg_depend d ON
       (d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid
        AND d.refobjsubid = a.attnum AND d.deptype IN ('a', 'i'))
       OR (d.classid = 'pg_attrdef'::regclass AND d.objid = e.oid AND d.refclassid = 'pg_class'::regclass)
  JOIN pg_catalog.pg_class c ON c.relkind = 'S'
       AND c.oid = CASE WHEN d.classid = 'pg_class'::regclass THEN d.objid ELSE d.refobjid END
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid
 WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY 3, 4
"""
"""(schema, name, qualified name, column, increment) of the sequences that number a table's columns."""


def move_on(connection: Connection[Any], table: Table) -> list[str]:
    """Moves every sequence behind the table's columns at least as far as its rows are; returns those that moved.

    Raises psycopg.Error.
    """
    moved = []
    for schema, name, text, column, increment in connection.execute(_SEQUENCES, [table.oid]).fetchall():
        sequence = sql.Identifier(schema, name)
        (furthest,) = connection.execute(
            sql.SQL("SELECT {}({}) FROM ONLY {}").format(
                sql.SQL("max" if increment > 0 else "min"), sql.Identifier(column), table.identifier
            )
        ).fetchall()[0]
        if furthest is None or not _is_behind(connection, sequence, furthest, increment):
            continue
        connection.execute(sql.SQL("ALTER SEQUENCE {} INCREMENT BY {}").format(sequence, sql.Literal(increment)))
        if _is_behind(connection, sequence, furthest, increment):
            connection.execute("SELECT setval(%s::regclass, %s, true)", [text, furthest])
            moved.append(text)
    return moved


def _is_behind(connection: Connection[Any], sequence: sql.Identifier, furthest: int, increment: int) -> bool:
    """Says whether the sequence would still give that number or one before it."""
    query = sql.SQL("SELECT last_value, is_called FROM {}").format(sequence)
    value, called = connection.execute(query).fetchall()[0]
    given = value if called else value - increment
    return bool(furthest > given if increment > 0 else furthest < given)
