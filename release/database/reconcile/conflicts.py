"""Rows that conflict with what the database holds: found by halving, listed, and written to files.

A statement that fails names one constraint and no row. So the rows of a statement are tried in halves, each in a
savepoint, until the ones that fail stand alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, LiteralString

from psycopg import Connection, errors, sql

from release.database.reconcile.tables import Table
from release.errors import Reason, Refused

MOST: Final = 10_000
"""The number of conflicts that are looked for. A salvage with more of them is not one to be put back row by row."""

TABLE: Final = sql.Identifier("pg_temp", "release_conflicts")
ROW: Final = sql.Identifier("release row")

MAKE: Final[LiteralString] = (
    "CREATE TEMPORARY TABLE release_conflicts (of oid, verb text, row bigint, why text) ON COMMIT DROP"
)

Write = Callable[[int, int], int]
"""A function that writes the rows of a range of numbers, both ends included, and returns how many it has written."""


def note(connection: Connection[Any], table: Table, verb: str, why: str, rows: sql.Composable) -> int:
    """Notes the rows that a query gives as their numbers, for one reason. Returns how many."""
    query = sql.SQL("INSERT INTO {} SELECT {}, {}, found.row, {} FROM ({}) AS found (row)").format(
        TABLE, sql.Literal(table.oid), sql.Literal(verb), sql.Literal(why), rows
    )
    return connection.execute(query).rowcount


def halved(connection: Connection[Any], table: Table, verb: str, write: Write, last: int) -> int:
    """Writes all rows from 1 to `last` but those that conflict, which are noted. Returns how many were written.

    Raises Refused (rows_conflict) when there are too many, and psycopg.Error for errors that are no row's own.
    """
    written, ranges, found = 0, [(1, last)] if last else [], 0
    while ranges:
        low, high = ranges.pop()
        try:
            with connection.transaction():
                written += write(low, high)
        except (errors.IntegrityError, errors.DataError) as error:
            if low < high:
                middle = (low + high) // 2
                ranges += [(middle + 1, high), (low, middle)]
                continue
            found += 1
            if found > MOST:
                raise Refused(Reason.ROWS_CONFLICT, f"{table.text}: more than {MOST:,} rows") from None
            why = error.diag.message_primary or str(error.sqlstate)
            note(connection, table, verb, why, sql.SQL("SELECT {}::bigint").format(sql.Literal(low)))
    return written


def listed(connection: Connection[Any]) -> list[tuple[int, str, str, int]]:
    """Lists the conflicts as the table's oid, the verb, why, and the number of rows."""
    query = sql.SQL("SELECT of::bigint, verb, why, count(*) FROM {} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3").format(TABLE)
    return connection.execute(query).fetchall()


def save(connection: Connection[Any], table: Table, verb: str, path: Path) -> None:
    """Writes a table's conflicting rows to a file in COPY's CSV format, which only its owner may read.

    Raises OSError and psycopg.Error.
    """
    rows = table.temporary("gone" if verb == "delete" else "differing")
    columns = connection.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(rows)).description or []
    names = [column.name for column in columns if not column.name.startswith("release ")]
    query = sql.SQL(
        "COPY (SELECT c.why AS {}, {} FROM {} c JOIN {} d ON d.{} = c.row WHERE c.of = {} AND (c.verb = 'delete') = {}"
        " ORDER BY c.row) TO STDOUT WITH (FORMAT csv, HEADER)"
    ).format(
        sql.Identifier("release conflict"),
        sql.SQL(", ").join(sql.Identifier("d", name) for name in names),
        TABLE,
        rows,
        ROW,
        sql.Literal(table.oid),
        sql.Literal(verb == "delete"),
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file, connection.cursor() as cursor:
        os.fchmod(descriptor, 0o600)
        with cursor.copy(query) as copy:
            file.writelines(copy)
        file.flush()
        os.fsync(descriptor)
