"""Rows: which tables hold any, without counting them.

A COPY loads a table whole or not at all. So a table that held rows when it was dumped and holds none after a restore
has lost all of them; and a table that a migration has emptied is empty, whatever the migration's exit code says. A
table whose file is empty holds no row. In any other table one row is searched for, in bounded time. A table that could
not be searched is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from sys import intern
from time import monotonic
from typing import Any, Final

import msgspec
from psycopg import Connection, errors, sql

from release.database import catalog
from release.database.evidence import Snapshot

BATCH: Final = 100
"""The number of tables in one statement. Each of them keeps a lock until the statement ends."""

BATCH_MS, TABLE_MS = 2000, 250
"""Milliseconds for a batch, and for one table of a batch that took longer. A table full of dead rows takes long."""

WITHIN: Final = 20.0
"""Seconds for all tables together. The tables that are left then are unknown."""

UNREADABLE: Final = (
    errors.LockNotAvailable,
    errors.QueryCanceled,
    errors.UndefinedTable,
    errors.InsufficientPrivilege,
    errors.ObjectNotInPrerequisiteState,  # a materialized view or partition that is being made
)
"""The errors that say that a table could not be searched, and nothing about its rows."""


class Holding(msgspec.Struct, frozen=True):
    """The tables that held rows at one moment, and those of which that is not known. Both are sorted."""

    held: list[str] = []
    unknown: list[str] = []


def read_holding(connection: Connection[Any], *, older_than: Snapshot | None = None) -> Holding:
    """Finds which tables hold rows, over a connection in autocommit mode, outside any transaction.

    With `older_than` only rows count that were there before that snapshot. Such a row is in every dump made since.
    Raises psycopg.Error when the session is lost.
    """
    with connection.transaction():
        connection.execute(catalog.LIMITS)
        tables = connection.execute(catalog.HOLDING, prepare=True).fetchall()
    condition = _older(older_than) if older_than else sql.SQL("")
    ends = monotonic() + WITHIN
    held: list[str] = []
    unknown = [name for name, readable in tables if not readable]
    names = [name for name, readable in tables if readable]
    for start in range(0, len(names), BATCH):
        for name, holds in _holding(connection, names[start : start + BATCH], condition, ends):
            if holds is not False:
                (unknown if holds is None else held).append(name)
    return Holding(sorted(map(intern, held)), sorted(map(intern, unknown)))


def _older(moment: Snapshot) -> sql.Composable:
    """Writes a WHERE clause for rows whose transaction was over at that moment.

    Transaction ids wrap around after four billion, so they are compared by `age`, as the server itself does.
    Both ages are taken in the same statement, since they grow with every transaction of the server.
    """
    return sql.SQL(" WHERE age(xmin) > age({}::text::xid8::xid)").format(str(moment.begin))


def _holding(
    connection: Connection[Any], names: Sequence[str], condition: sql.Composable, ends: float
) -> Iterator[tuple[str, bool | None]]:
    """Yields each table with whether it holds a row that meets the condition, or None where that cannot be told."""
    if monotonic() > ends:
        yield from ((name, None) for name in names)
        return
    query = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}, EXISTS (SELECT FROM ONLY {}{})").format(name, sql.SQL(name), condition) for name in names
    )
    try:
        with connection.transaction():
            connection.execute(catalog.LIMITS)
            limit = BATCH_MS if len(names) > 1 else TABLE_MS
            connection.execute(
                "SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', '200ms', true)",
                [f"{limit}ms"],
            )
            answers = connection.execute(query).fetchall()
    except UNREADABLE:
        if len(names) == 1:
            yield names[0], None
            return
        for name in names:
            yield from _holding(connection, [name], condition, ends)
        return
    yield from answers


def not_made_anew(connection: Connection[Any]) -> list[str]:
    """Lists the tables that are older than the journal's schema. Raises psycopg.Error.

    A restore makes that schema before any table. So there is no such table after a restore, unless the restore did not
    empty the database first.
    """
    with connection.transaction():
        connection.execute(catalog.LIMITS)
        return [name for (name,) in connection.execute(catalog.NOT_ANEW)]
