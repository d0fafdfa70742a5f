"""What publications publish: put back after a restore, which makes their tables anew and may find them still there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from psycopg import Connection, sql

from release.database import catalog
from release.database.definitions import Definitions, parse_block, read
from release.database.fingerprint import Fingerprint
from release.database.grants import unescaped
from release.database.refusal import attempted

_ALL: Final = "for all tables with "
"""How the options of such a one begin; ALTER PUBLICATION can neither make nor unmake it."""


def put_back_publications(connection: Connection[Any], before: Fingerprint) -> list[str]:
    """Gives the publications that are there their options, tables, row filters, columns and schemas back.

    Returns what could not be done. Inside a transaction with catalog.LIMITS. Raises psycopg.Error when the session is
    gone.
    """
    now = read(connection, catalog.PUBLICATIONS)
    was, present = (found.get("publication", {}) for found in (before.schema, now))
    problems: list[str] = []
    for name in sorted(was.keys() & present.keys()):
        if was[name] != present[name]:
            problems += _options(connection, name, was[name], present[name])
        problems += _contents(connection, name, before.schema, now)
    return problems


def _options(connection: Connection[Any], name: str, was: str, now: str) -> Iterator[str]:
    if was.startswith(_ALL) != now.startswith(_ALL):
        yield f"publication {name} was {'' if was.startswith(_ALL) else 'not '}for all tables: it has to be made anew"
        return
    statement = sql.SQL("ALTER PUBLICATION {} SET ({})").format(sql.SQL(name), sql.SQL(was.removeprefix(_ALL)))
    yield from attempted(connection, f"options of publication {name}", statement)


def _contents(connection: Connection[Any], name: str, before: Definitions, now: Definitions) -> Iterator[str]:
    was, present = (found.get("published", {}).get(f"publication {name}", "") for found in (before, now))
    if was == present:
        return
    parts, change = (was, "SET") if was else (present, "DROP")
    yield from attempted(
        connection,
        f"what publication {name} publishes",
        sql.SQL("ALTER PUBLICATION {} {} {}").format(sql.SQL(name), sql.SQL(change), sql.SQL(_list(parts, change))),
    )


def _list(block: str, change: str) -> str:
    """The tables and schemas as ALTER PUBLICATION takes them; what is dropped is named without filter and columns."""
    tables: list[str] = []
    schemas: list[str] = []
    for line, how in parse_block(block).items():
        kind, _, name = unescaped(line).partition(" ")
        if kind == "schema":
            schemas.append(name)
        else:
            tables.append(f"{name} {unescaped(how)}".rstrip() if change == "SET" else name)
    parts = [
        f"{word} {', '.join(names)}" for word, names in (("TABLE", tables), ("TABLES IN SCHEMA", schemas)) if names
    ]
    return ", ".join(parts)
