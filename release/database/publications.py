"""Publications: their options and contents, put back after a restore.

A restore makes the published tables anew. Where it did not empty the database first, the publications are still there.
"""

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
"""The beginning of the options of a publication for all tables. ALTER PUBLICATION can neither add nor remove it."""


def put_back_publications(connection: Connection[Any], before: Fingerprint) -> list[str]:
    """Gives the publications that are there their options, tables, row filters, columns and schemas back.

    Returns a sentence for each thing that could not be done. The caller has begun a transaction with catalog.LIMITS.
    Raises psycopg.Error when the session is gone.
    """
    after = read(connection, catalog.PUBLICATIONS)
    was, present = (schema.get("publication", {}) for schema in (before.schema, after))
    problems: list[str] = []
    for name in sorted(was.keys() & present.keys()):
        if was[name] != present[name]:
            problems += _options(connection, name, was[name], present[name])
        problems += _contents(connection, name, before.schema, after)
    return problems


def _options(connection: Connection[Any], name: str, was: str, present: str) -> Iterator[str]:
    if was.startswith(_ALL) != present.startswith(_ALL):
        yield (
            f"publication {name} was {'' if was.startswith(_ALL) else 'not '}for all tables: it has to be made anew, by"
            f" DROP PUBLICATION {name} and then CREATE PUBLICATION {name}"
        )
        return
    statement = sql.SQL("ALTER PUBLICATION {} SET ({})").format(sql.SQL(name), sql.SQL(was.removeprefix(_ALL)))
    yield from attempted(connection, f"options of publication {name}", statement)


def _contents(connection: Connection[Any], name: str, before: Definitions, after: Definitions) -> Iterator[str]:
    was, present = (schema.get("published", {}).get(f"publication {name}", "") for schema in (before, after))
    if was == present:
        return
    # SET replaces the whole contents but takes no empty list. So what a publication without contents has is dropped.
    parts, change = (was, "SET") if was else (present, "DROP")
    yield from attempted(
        connection,
        f"what publication {name} publishes",
        sql.SQL("ALTER PUBLICATION {} {} {}").format(sql.SQL(name), sql.SQL(change), sql.SQL(_list(parts, change))),
    )


def _list(block: str, change: str) -> str:
    """Writes the tables and schemas as ALTER PUBLICATION takes them. DROP names them without filters and columns."""
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
