"""Repairs after a restore: what the failed migration added is removed, and the planner's statistics are renewed.

Whether a restore really resets the database first is decided by Heroku. Where it does not, tables of the failed
migration stay behind. They are dropped here, and nothing else ever is. A DROP without CASCADE is refused while anything
else depends on the thing, and CASCADE is tried only for what is left. In the end the catalogs say whether anything else
is gone. If so, all is rolled back.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from psycopg import Connection, Rollback, errors, sql

from release.database import catalog
from release.database.bounds import allowing
from release.database.comparison import Change, Difference, between
from release.database.definitions import Definitions
from release.database.fingerprint import Fingerprint, read_schema
from release.database.kinds import KINDS, both_know, limited
from release.database.refusal import REFUSALS

WHOLE: Final = {
    "view": "VIEW",
    "materialized view": "MATERIALIZED VIEW",
    "foreign table": "FOREIGN TABLE",
    "table": "TABLE",
    "sequence": "SEQUENCE",
    "aggregate": "ROUTINE",
    "function": "ROUTINE",
    "procedure": "ROUTINE",
    "cast": "CAST",
    "operator class": "OPERATOR CLASS",
    "operator": "OPERATOR",
    "domain": "DOMAIN",
    "type": "TYPE",
    "statistics": "STATISTICS",
    "text search configuration": "TEXT SEARCH CONFIGURATION",
    "text search dictionary": "TEXT SEARCH DICTIONARY",
    "collation": "COLLATION",
    "publication": "PUBLICATION",
    "user mapping": "USER MAPPING",
    "foreign server": "SERVER",
    "extension": "EXTENSION",
    "schema": "SCHEMA",
}
"""The names of kinds in DROP, roughly in the order in which dependents come first."""

_PARTS: Final = {
    "trigger": "DROP TRIGGER {part} ON {owner}",
    "rule": "DROP RULE {part} ON {owner}",
    "policy": "DROP POLICY {part} ON {owner}",
    "constraint": "ALTER TABLE {owner} DROP CONSTRAINT {part}",
    "index": "DROP INDEX {part}",
    "invalid index": "DROP INDEX {part}",
    "column": "ALTER TABLE {owner} DROP COLUMN {part}",
}
"""The statements that drop a part of a thing that itself stays."""

GONE: Final = (
    errors.UndefinedTable,
    errors.UndefinedObject,
    errors.UndefinedFunction,
    errors.UndefinedColumn,
    errors.InvalidSchemaName,
)
"""The errors that say that a thing went with another one that was dropped."""

_ORDER: Final = [*_PARTS, *WHOLE]


def remove_added(connection: Connection[Any], before: Fingerprint, added: Collection[Difference]) -> list[str]:
    """Drops what a migration has `added`, what still exists and what `before` does not know.

    Returns what was dropped, as `table public.badges`. What somebody else has made stays, and so does everything of a
    kind that a fingerprint of another version of this code does not know. All is done in one transaction. What cannot
    be dropped stays, and the next comparison will say so. If anything else has gone or changed with it, all is rolled
    back, and nothing is returned. Raises psycopg.Error for anything but a refusal to drop.
    """
    if not added:
        return []
    ours = {str(difference) for difference in added}
    with connection.transaction() as whole:
        restored = _read(connection, before)
        unwanted = [difference for difference in _unknown(before.schema, restored) if str(difference) in ours]
        if not unwanted:
            return []
        may_go = {f"{difference.kind} {difference.name}" for difference in added}
        left = _drop(connection, unwanted)
        if _harmed(before.schema, restored, _read(connection, before)) - may_go:
            raise Rollback(whole)
        # CASCADE may take what a document of other kinds does not show, so that the check would not see it.
        if left and before.kinds == KINDS:
            with connection.transaction() as rest:
                _drop(connection, left, cascade=True)
                if _harmed(before.schema, restored, _read(connection, before)) - may_go:
                    raise Rollback(rest)
        still = set(map(str, _unknown(before.schema, _read(connection, before))))
        return [f"{difference.kind} {difference.name}" for difference in unwanted if str(difference) not in still]
    return []  # The transaction was rolled back: Rollback ends its block without an error.


def _read(connection: Connection[Any], before: Fingerprint) -> Definitions:
    return limited(read_schema(connection), both_know(before.kinds, KINDS))


def analyze(connection: Connection[Any], *, seconds: int = 120) -> None:
    """Renews the planner's statistics of all tables. A restored database has none.

    The tables are named one by one, since a bare ANALYZE takes the server's own catalogs along, which is most of its
    time where there are few rows. The time is for all tables together. Raises psycopg.errors.QueryCanceled when it is
    over, and other psycopg.Error.
    """
    tables = [sql.SQL(name) for (name,) in connection.execute(catalog.ANALYZABLE)]
    if tables:
        with allowing(connection, seconds):
            connection.execute(sql.SQL("ANALYZE {}").format(sql.SQL(", ").join(tables)))


def _unknown(before: Definitions, present: Definitions) -> list[Difference]:
    """Lists what is new and can be dropped, in the order in which it is tried."""
    added = [
        difference
        for difference in between(before, present)
        if difference.change is Change.ADDED and difference.kind in _ORDER
    ]
    return sorted(added, key=lambda difference: _ORDER.index(difference.kind))


def _harmed(before: Definitions, restored: Definitions, present: Definitions) -> set[str]:
    """Names what has gone since the restore, or has become what it was not before either.

    A default that went with its sequence is such a change. What became again what it was before is none.
    """
    repaired = {(difference.kind, difference.name, difference.before) for difference in between(before, restored)}
    return {
        f"{difference.kind} {difference.name}"
        for difference in between(restored, present)
        if difference.change is Change.REMOVED or (difference.kind, difference.name, difference.after) not in repaired
    }


def _drop(connection: Connection[Any], objects: list[Difference], *, cascade: bool = False) -> list[Difference]:
    """Drops in rounds, since dependents have to go first, until a round drops nothing; returns what is left."""
    while objects:
        left = [difference for difference in objects if not _dropped(connection, difference, cascade=cascade)]
        if len(left) == len(objects):
            break
        objects = left
    return objects


def _dropped(connection: Connection[Any], unknown: Difference, *, cascade: bool) -> bool:
    """Drops one thing, and says whether it is gone."""
    template = _PARTS.get(unknown.kind) or f"DROP {WHOLE[unknown.kind]} {{name}}"
    statement = sql.SQL(template + (" CASCADE" if cascade else "")).format(
        name=sql.SQL(unknown.name), owner=sql.SQL(unknown.owner), part=sql.SQL(unknown.part)
    )
    try:
        with connection.transaction():
            connection.execute(statement)
    except GONE:
        return True
    except REFUSALS:
        return False
    return True
