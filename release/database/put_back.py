"""What a dump does not carry, put back after a restore: all that is around the tables.

In an order in which nothing hinders what follows: what needs the credential to own things comes before they are given
to their owners, and what new sessions would inherit comes last. Everything is tried by itself, so that what this
credential may not do costs nothing but itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from psycopg import Connection, sql

from release.database import catalog
from release.database.comparison import NOT_POPULATED
from release.database.definitions import read
from release.database.fingerprint import Fingerprint
from release.database.grants import put_back_grants
from release.database.kinds import KINDS, both_know
from release.database.publications import put_back_publications
from release.database.refusal import attempted
from release.database.surroundings import put_back_surroundings

REFRESH_SECONDS: Final = 60
"""For all materialized views that have to be filled, shared equally among them."""

_VERSION: Final = " version "

_UPDATE_PATH: Final = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_extension_update_paths(%s)
                WHERE source = %s AND target = %s AND path IS NOT NULL)
"""


def put_back(connection: Connection[Any], before: Fingerprint, *, refresh_seconds: int = REFRESH_SECONDS) -> list[str]:
    """Makes what is around the tables what it was in `before`; returns what could not be done, as sentences.

    Versions of extensions, materialized views that were filled, publications, owners, grants, and what belongs to the
    database itself; nothing that another version of this code has written down otherwise. On a connection in autocommit
    mode, of which new transactions may write afterwards, whatever the database or the role says. Nothing is dropped. No
    sentence holds a value of a setting or an option. Raises psycopg.Error when the session is gone.
    """
    connection.execute("SET default_transaction_read_only = off")
    known = both_know(before.kinds, KINDS)
    problems = [*_extensions(connection, before), *_materialized_views(connection, before, refresh_seconds)]
    if {"publication", "published"} <= known:
        with connection.transaction():
            connection.execute(catalog.LIMITS)
            problems += put_back_publications(connection, before)
    return [*problems, *put_back_grants(connection, before), *put_back_settings(connection, before)]


def put_back_settings(connection: Connection[Any], before: Fingerprint) -> list[str]:
    """As `put_back`, what belongs to the database itself only: of that, new sessions feel something at once."""
    if not {"setting", "database"} <= both_know(before.kinds, KINDS):
        return []
    connection.execute("SET default_transaction_read_only = off")
    with connection.transaction():
        connection.execute(catalog.LIMITS)
        return list(put_back_surroundings(connection, before))


def put_back_common(connection: Connection[Any], present: Fingerprint) -> list[str]:
    """As `put_back`, after a restore of another moment than `present`: only owners, grants and settings.

    Of what the dump has and `present` has not, or the other way round, nothing is touched.
    """
    connection.execute("SET default_transaction_read_only = off")
    return [*put_back_grants(connection, present, common=True), *put_back_settings(connection, present)]


# Extensions: a dump names no version, so that they come back in the server's default one.


def _extensions(connection: Connection[Any], before: Fingerprint) -> Iterator[str]:
    with connection.transaction():
        connection.execute(catalog.LIMITS)
        now = read(connection, [catalog.EXTENSIONS]).get("extension", {})
        for name, definition in before.schema.get("extension", {}).items():
            was = definition.rpartition(_VERSION)[2]
            present = now.get(name, definition).rpartition(_VERSION)[2]
            if was != present:
                yield from _extension(connection, name, was, present)


def _extension(connection: Connection[Any], name: str, was: str, now: str) -> Iterator[str]:
    bare = name.strip('"').replace('""', '"')
    ((way,),) = connection.execute(_UPDATE_PATH, [bare, now, was]).fetchall()
    if way:
        statement = sql.SQL("ALTER EXTENSION {} UPDATE TO {}").format(sql.SQL(name), was)
        yield from attempted(connection, f"extension {name} was version {was} and is {now} now", statement)
    else:
        yield f"extension {name} was version {was} and is {now} now: the server knows no way from {now} to {was}"


# Materialized views: a restore fills those that were filled; one whose query failed then stays empty.


def _materialized_views(connection: Connection[Any], before: Fingerprint, seconds: int) -> list[str]:
    with connection.transaction():
        connection.execute(catalog.LIMITS)
        now = dict(connection.execute(catalog.MATERIALIZED).fetchall())
    wanted = before.schema.get("materialized view", {})
    differing = [name for name in now if name in wanted and now[name] is bool(NOT_POPULATED.match(wanted[name]))]
    each = max(1, seconds // len(differing)) if differing else 0
    return [
        problem
        for name in differing
        for problem in _refresh(connection, before, name, filled=not now[name], seconds=each)
    ]


def _refresh(
    connection: Connection[Any], before: Fingerprint, name: str, *, filled: bool, seconds: int
) -> Iterator[str]:
    """In a transaction of its own, under the search path that sessions of the app have."""
    settings = before.surroundings.get("setting", {})
    path = settings.get("search_path of the database", '"$user", public')
    yield from attempted(
        connection,
        f"materialized view {name}",
        sql.SQL("SELECT set_config('search_path', {}, true), set_config('statement_timeout', {}, true)").format(
            path, f"{seconds}s"
        ),
        sql.SQL("REFRESH MATERIALIZED VIEW {}{}").format(sql.SQL(name), sql.SQL("" if filled else " WITH NO DATA")),
    )
