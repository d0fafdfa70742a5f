"""A table of a salvage beside the same table of the database: loaded into a temporary table, compared by the server.

The temporary tables are the session's own. They are gone with it, and nobody else sees them. What is equal is dropped
at once. What differs stays until it is put back.

A row of the database that was written after the restore is never taken for one that the restore has taken back. It is
known by its transaction (`xmin`): the restore loads a table's rows before it makes the table's primary key, and closes
its run in the journal after both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from psycopg import Connection, errors, sql

from release.database import bounds
from release.database.reconcile.dump import Copied
from release.database.reconcile.tables import Table
from release.database.session import translated
from release.errors import Reason, StepFailed

WITHIN = 6 * 3600.0
"""Seconds that one statement may take here: the load of a large table, and its comparison."""

ROW = sql.Identifier("release row")
NEW = sql.Identifier("release new")
LATER = sql.Identifier("release later")
"""Columns of the table of differences: a number, whether the database lacks the row, whether it was written since."""


class Compared(Struct, frozen=True, kw_only=True):
    """What a table's comparison has found, in rows.

    `missing` are only in the salvage; `different` are in both; `later` are those of them that were written in the
    database after the restore; `gone` are only in the database, and `made` too, but written after the restore. `common`
    are the columns that were compared, `lost` those that only the salvage has, `added` those that only the database
    has. `problem` says why the rows could not be compared; then there is nothing else.
    """

    table: Table
    missing: int = 0
    different: int = 0
    later: int = 0
    gone: int = 0
    made: int = 0
    common: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    problem: str = ""

    @property
    def differs(self) -> bool:
        """Whether there is any difference."""
        return bool(self.missing or self.different or self.gone or self.made)


def why_not(table: Table) -> str:
    """Says in words why a table's rows cannot be compared or put back. Empty where they can."""
    if not table.key:
        return "it has no primary key, so that its rows cannot be told apart"
    if table.rules:
        return "it has rules, which rewrite what is written to it"
    return ""


def compare(connection: Connection[Any], table: Table, copied: Copied, *, since: int | None) -> Compared:
    """Loads the rows of a table and compares them. `since` is a transaction that came right after the restore.

    What differs is left in temporary tables, until `forget`. Raises StepFailed, and what reading the dump raises.
    """
    common = tuple(column for column in table.loaded if column in copied.columns)
    lost = tuple(column for column in copied.columns if column not in common)
    added = tuple(column for column in table.loaded if column not in common)
    compared = Compared(table=table, common=common, lost=lost, added=added)
    if missing := [column for column, *_ in table.key if column not in common]:
        return replace(compared, problem=f"the salvage does not have its key {', '.join(missing)}")
    with translated(), _room(table):
        forget(connection, table)
        try:
            with bounds.allowing(connection, WITHIN), connection.transaction():
                connection.execute("SET LOCAL row_security = off")
                _load(connection, table, copied, common, lost)
                figures = _differences(connection, table, common, since)
        except (errors.DataError, errors.IntegrityError) as error:
            problem = f"its columns have changed: {error.diag.message_primary}"
            return replace(compared, problem=problem)
    missing_rows, different, later, gone, made = figures
    return replace(compared, missing=missing_rows, different=different, later=later, gone=gone, made=made)


@contextmanager
def _room(table: Table) -> Iterator[None]:
    """Says it in words where the database has no room for a temporary table."""
    try:
        yield
    except (errors.DiskFull, errors.ConfigurationLimitExceeded) as error:
        raise StepFailed(
            Reason.NO_ROOM,
            f"{table.text} is to be held once more, it has {table.size} bytes: {error.diag.message_primary}",
        ) from None


def _load(
    connection: Connection[Any], table: Table, copied: Copied, common: Sequence[str], lost: Sequence[str]
) -> None:
    """Loads the rows as they come. Columns that the database does not have are loaded as text."""
    salvaged = table.temporary("salvaged")
    names = sql.SQL(", ").join(map(sql.Identifier, common))
    connection.execute(
        sql.SQL("CREATE TEMPORARY TABLE {} AS SELECT {} FROM ONLY {} WITH NO DATA").format(
            salvaged, names, table.identifier
        )
    )
    for column in lost:
        connection.execute(sql.SQL("ALTER TABLE {} ADD COLUMN {} text").format(salvaged, sql.Identifier(column)))
    head = sql.SQL("COPY {} ({}) FROM STDIN WITH (ENCODING {})").format(
        salvaged, sql.SQL(", ").join(map(sql.Identifier, copied.columns)), sql.Literal(copied.encoding)
    )
    with connection.cursor() as cursor, cursor.copy(head) as copy:
        for piece in copied.pieces:
            copy.write(piece)
    connection.execute(sql.SQL("ANALYZE {}").format(salvaged))


def written_later(table: Table, since: int | None) -> sql.Composable:
    """SQL that says whether the row `r` of the database was written after the restore.

    The older of two moments counts: when the primary key was made, and when the restore was closed in the journal.
    """
    marks = [str(table.loaded_before)] if table.loaded_before else []
    marks += [str(since % 2**32)] if since else []
    ages = sql.SQL(", ").join(sql.SQL("age({}::pg_catalog.xid)").format(sql.Literal(mark)) for mark in marks)
    return sql.SQL("coalesce(age(r.xmin) < greatest({}), false)").format(ages)


def is_different(columns: Sequence[str], one: str, other: str) -> sql.Composable:
    """SQL that compares two rows byte by byte, which all types allow, and null like any other value.

    Without the casts the server would take the rows apart and look for such an operator of each column's type.
    """
    rows = [
        sql.SQL("ROW({})::pg_catalog.record").format(
            sql.SQL(", ").join(sql.Identifier(alias, column) for column in columns)
        )
        for alias in (one, other)
    ]
    return sql.SQL("{} OPERATOR(pg_catalog.*<>) {}").format(*rows)


def _differences(
    connection: Connection[Any], table: Table, common: Sequence[str], since: int | None
) -> tuple[int, ...]:
    """Keeps what differs, drops the rest, and counts."""
    salvaged, differing, gone = map(table.temporary, ("salvaged", "differing", "gone"))
    later, key = written_later(table, since), table.same_key("s", "r")
    connection.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE {} AS SELECT row_number() OVER () AS {}, r.ctid IS NULL AS {}, {} AS {}, s.*"
            " FROM {} s LEFT JOIN ONLY {} r ON {} WHERE r.ctid IS NULL OR {}"
        ).format(differing, ROW, NEW, later, LATER, salvaged, table.identifier, key, is_different(common, "s", "r"))
    )
    connection.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE {} AS SELECT row_number() OVER () AS {}, {} AS {}, {} FROM ONLY {} r"
            " WHERE NOT EXISTS (SELECT FROM {} s WHERE {})"
        ).format(
            gone,
            ROW,
            later,
            LATER,
            sql.SQL(", ").join(sql.Identifier("r", column) for column, *_ in table.key),
            table.identifier,
            salvaged,
            key,
        )
    )
    connection.execute(sql.SQL("DROP TABLE {}").format(salvaged))
    query = sql.SQL(
        "SELECT count(*) FILTER (WHERE {new}), count(*) FILTER (WHERE NOT {new}), count(*) FILTER (WHERE {later}),"
        " (SELECT count(*) FROM {gone} WHERE NOT {later}), (SELECT count(*) FROM {gone} WHERE {later}) FROM {differing}"
    ).format(new=NEW, later=LATER, gone=gone, differing=differing)
    figures: tuple[int, ...] = connection.execute(query).fetchall()[0]
    return figures


def forget(connection: Connection[Any], table: Table) -> None:
    """Drops a table's temporary tables. Raises psycopg.Error."""
    for what in ("salvaged", "differing", "gone"):
        connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table.temporary(what)))
