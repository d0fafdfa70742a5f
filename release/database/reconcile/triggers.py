"""The users' triggers of a table, turned off for a transaction and on again as each of them was.

`session_replication_role` would be simpler and needs a superuser, which Heroku gives to nobody. The owner of a table
may turn its triggers off; those that check foreign keys are not among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from psycopg import Connection, sql

from release.database.reconcile.tables import Table

_HOW: Final = {"O": sql.SQL("ENABLE"), "R": sql.SQL("ENABLE REPLICA"), "A": sql.SQL("ENABLE ALWAYS")}
"""How a trigger is turned on, by pg_trigger.tgenabled. A `D` is off and stays so."""

Switched = tuple[Table, str, str]
"""A table, a trigger of it, and its mode before."""


def turn_off(connection: Connection[Any], tables: Sequence[Table]) -> list[Switched]:
    """Turns the triggers off that are on, and returns them. Raises psycopg.Error."""
    switched: list[Switched] = []
    for table in tables:
        rows = connection.execute(
            "SELECT tgname, tgenabled::text FROM pg_catalog.pg_trigger"
            " WHERE tgrelid = %s AND NOT tgisinternal AND tgenabled <> 'D' ORDER BY tgname",
            [table.oid],
        ).fetchall()
        for name, mode in rows:
            _alter(connection, table, sql.SQL("DISABLE"), name)
            switched.append((table, name, mode))
    return switched


def turn_on(connection: Connection[Any], switched: Sequence[Switched]) -> None:
    """Turns them on again, each as it was. Raises psycopg.Error."""
    for table, name, mode in switched:
        _alter(connection, table, _HOW[mode], name)


def _alter(connection: Connection[Any], table: Table, how: sql.SQL, name: str) -> None:
    connection.execute(sql.SQL("ALTER TABLE ONLY {} {} TRIGGER {}").format(table.identifier, how, sql.Identifier(name)))
