"""One query that may change nothing: it has a read-only session of its own, and a time limit in the server and here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from release.database import bounds
from release.database.session import Database, Failed, translated
from release.errors import Reason

MOST_ROWS = 1000
"""The number of rows of the answer that are read."""

AFTER_SERVER = 1.0
"""Seconds that the server gets beyond the query's own time, to answer that it has given the query up."""

NEAR = 20
"""The number of characters of the query that are shown on either side of an error."""


def run(database: Database, query: str, seconds: float) -> list[Sequence[Any]] | None:
    """Runs the query and returns its first rows, or None for a statement that has no result. Raises Failed or Lost.

    The session has the role's own search path. The server refuses a second statement after a semicolon, since its
    extended protocol takes one statement only.
    """
    with translated():
        connection = database.connection
        connection.execute("RESET search_path")
        connection.execute("SET default_transaction_read_only = on")
        bounds.limit(connection, seconds, margin=AFTER_SERVER)
    where = ""
    try:
        with translated(), connection.cursor(binary=True) as cursor:
            try:
                cursor.execute(query.encode())
            except psycopg.Error as error:
                where = location(query, error.diag.statement_position)
                raise
            return list(cursor.fetchmany(MOST_ROWS)) if cursor.description else None
    except Failed as error:
        raise Failed(Reason.DATABASE_FAILED, error.detail + where, **error.facts) from None


def location(query: str, position: str | None) -> str:
    """Says where in the query the server saw the error, as ` at character 8, near "…SELECT nme FROM…"`.

    Returns "" when the server gives no position. Positions count characters from 1
    (protocol-error-fields in the manual).
    """
    if not position or not position.isdecimal():
        return ""
    place = int(position) - 1
    near = query[max(0, place - NEAR) : place + NEAR].replace("\n", " ")
    before = "…" if place > NEAR else ""
    after = "…" if place + NEAR < len(query) else ""
    return f' at character {position}, near "{before}{near}{after}"'
