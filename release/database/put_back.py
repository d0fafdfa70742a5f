"""All that is around the tables and that no dump carries, put back after a restore.

The order keeps each part from hindering the next. What needs the credential to own things comes before they are given
to their owners, and what new sessions would inherit comes last. Every part is tried by itself, so that a refusal of one
does not stop the others.
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
"""Seconds for all materialized views that have to be filled, shared equally among them."""

_VERSION: Final = " version "
"""The words between an extension's schema and its version in the fingerprint."""

_UPDATE_PATH: Final = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_extension_update_paths(%s)
                WHERE source = %s AND target = %s AND path IS NOT NULL)
"""
"""Whether the server has scripts that lead from one version of an extension to another."""


def put_back(connection: Connection[Any], before: Fingerprint, *, refresh_seconds: int = REFRESH_SECONDS) -> list[str]:
    """Makes what is around the tables what it was in `before`; returns what could not be done, as sentences.

    These are the versions of extensions, materialized views that were filled, publications, owners, grants, and what
    belongs to the database itself. What another version of this code has written down otherwise is left as it is, and
    nothing is dropped. No sentence holds a value of a setting or an option.

    The connection is in autocommit mode. Its new transactions may write afterwards, whatever the database or the role
    says. Raises psycopg.Error when the session is gone.
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
    """Puts back, as `put_back` does, only what belongs to the database itself, which new sessions inherit at once."""
    if not {"setting", "database"} <= both_know(before.kinds, KINDS):
        return []
    connection.execute("SET default_transaction_read_only = off")
    with connection.transaction():
        connection.execute(catalog.LIMITS)
        return list(put_back_surroundings(connection, before))


def put_back_common(connection: Connection[Any], present: Fingerprint) -> list[str]:
    """Puts back owners, grants and settings after a restore of another moment than `present`.

    What only the dump or only `present` has is not touched. Returns and raises what `put_back` does.
    """
    connection.execute("SET default_transaction_read_only = off")
    return [*put_back_grants(connection, present, common=True), *put_back_settings(connection, present)]


# Extensions. A dump names no version, so that they come back in the server's default version.


def _extensions(connection: Connection[Any], before: Fingerprint) -> Iterator[str]:
    with connection.transaction():
        connection.execute(catalog.LIMITS)
        installed = read(connection, [catalog.EXTENSIONS]).get("extension", {})
        for name, definition in sorted(before.schema.get("extension", {}).items()):
            was = definition.rpartition(_VERSION)[2]
            present = installed.get(name, definition).rpartition(_VERSION)[2]
            if was != present:
                yield from _extension(connection, name, was, present)


def _extension(connection: Connection[Any], name: str, was: str, present: str) -> Iterator[str]:
    bare = name.strip('"').replace('""', '"')
    ((path_exists,),) = connection.execute(_UPDATE_PATH, [bare, present, was]).fetchall()
    if path_exists:
        statement = sql.SQL("ALTER EXTENSION {} UPDATE TO {}").format(sql.SQL(name), was)
        yield from attempted(connection, f"extension {name} was version {was} and is {present} now", statement)
    else:
        yield (
            f"extension {name} was version {was} and is {present} now: the server knows no way from {present} to {was}"
        )


# Materialized views. A restore fills those that were filled, and leaves one empty whose query failed then.


def _materialized_views(connection: Connection[Any], before: Fingerprint, seconds: int) -> list[str]:
    with connection.transaction():
        connection.execute(catalog.LIMITS)
        filled = dict(connection.execute(catalog.MATERIALIZED).fetchall())
    wanted = before.schema.get("materialized view", {})
    differing = [name for name in filled if name in wanted and filled[name] is bool(NOT_POPULATED.match(wanted[name]))]
    per_view = max(1, seconds // len(differing)) if differing else 0
    return [
        problem
        for name in differing
        for problem in _refresh(connection, before, name, fill=not filled[name], seconds=per_view)
    ]


def _refresh(connection: Connection[Any], before: Fingerprint, name: str, *, fill: bool, seconds: int) -> Iterator[str]:
    """Fills or empties a view in a transaction of its own, under the search path that the app's sessions have."""
    settings = before.surroundings.get("setting", {})
    path = settings.get("search_path of the database", '"$user", public')
    yield from attempted(
        connection,
        f"materialized view {name}",
        sql.SQL("SELECT set_config('search_path', {}, true), set_config('statement_timeout', {}, true)").format(
            path, f"{seconds}s"
        ),
        sql.SQL("REFRESH MATERIALIZED VIEW {}{}").format(sql.SQL(name), sql.SQL("" if fill else " WITH NO DATA")),
    )
