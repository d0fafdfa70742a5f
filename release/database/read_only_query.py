"""One query that may change nothing: in a session of its own, read-only, bounded in the server and here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from release.database import bounds
from release.database.session import Database, Failed, translated
from release.errors import Reason

MOST_ROWS = 1000
"""Rows of the answer that are read."""

AFTER_SERVER = 1.0
"""Seconds that the server gets beyond the query's own time to say that it has given it up."""

NEAR = 20
"""Characters of the query that are shown on either side of an error."""


def run(database: Database, query: str, seconds: float) -> list[Sequence[Any]] | None:
    """The first rows that the query returns; None for a statement that returns none. Raises Failed or Lost.

    The session has the role's own search path. A second statement after a semicolon is an error of the server, as the
    extended protocol takes one only.
    """
    with translated():
        connection = database.connection
        connection.execute("RESET search_path")
        connection.execute("SET default_transaction_read_only = on")
        bounds.limit(connection, seconds, margin=AFTER_SERVER)
    place = ""
    try:
        with translated(), connection.cursor(binary=True) as cursor:
            try:
                cursor.execute(query.encode())
            except psycopg.Error as error:
                place = where(query, error.diag.statement_position)
                raise
            return list(cursor.fetchmany(MOST_ROWS)) if cursor.description else None
    except Failed as error:
        raise Failed(Reason.DATABASE_FAILED, error.detail + place, **error.facts) from None


def where(query: str, position: str | None) -> str:
    """Where in the query the server saw the error: ` at character 8, near "…SELECT nme FROM…"`; "" when it is not said.

    Positions count characters from 1 (protocol-error-fields in the manual).
    """
    if not position or not position.isdecimal():
        return ""
    place = int(position) - 1
    near = query[max(0, place - NEAR) : place + NEAR].replace("\n", " ")
    before = "…" if place > NEAR else ""
    after = "…" if place + NEAR < len(query) else ""
    return f' at character {position}, near "{before}{near}{after}"'
