"""After a restore: removes what the failed migration added, and renews the planner's statistics.

Whether a restore really resets the database first is Heroku's affair; where it does not, tables of the failed
migration stay behind. They are dropped here, and nothing else ever is: a DROP without CASCADE is refused while anything
else depends on it, CASCADE comes only for what is left, and in the end the catalogs say whether anything else is gone;
then nothing has happened.
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
"""What DROP calls each kind; roughly dependents first."""

_PARTS: Final = {
    "trigger": "DROP TRIGGER {part} ON {owner}",
    "rule": "DROP RULE {part} ON {owner}",
    "policy": "DROP POLICY {part} ON {owner}",
    "constraint": "ALTER TABLE {owner} DROP CONSTRAINT {part}",
    "index": "DROP INDEX {part}",
    "invalid index": "DROP INDEX {part}",
    "column": "ALTER TABLE {owner} DROP COLUMN {part}",
}
"""How a part of something known is dropped."""

GONE: Final = (
    errors.UndefinedTable,
    errors.UndefinedObject,
    errors.UndefinedFunction,
    errors.UndefinedColumn,
    errors.InvalidSchemaName,
)
"""It went with something else that was dropped."""

_ORDER: Final = [*_PARTS, *WHOLE]


def remove_added(connection: Connection[Any], before: Fingerprint, added: Collection[Difference]) -> list[str]:
    """Drops what a migration has `added`, is still there and `before` does not know, as `table public.badges`.

    What somebody else has made stays, and so does everything of a kind that a fingerprint of another version of this
    code does not know. One transaction. What cannot be dropped stays, and the next comparison will say so; if anything
    else had gone with it, or changed, all is rolled back and nothing returned. Raises psycopg.Error for anything but a
    refusal to drop.
    """
    ours = {str(each) for each in added}
    with connection.transaction() as whole:
        found = _read(connection, before)
        unwanted = [each for each in _unknown(before.schema, found) if str(each) in ours]
        if not unwanted:
            return []
        may_go = {f"{each.kind} {each.name}" for each in added}
        left = _drop(connection, unwanted)
        if _harmed(before.schema, found, _read(connection, before)) - may_go:
            raise Rollback(whole)
        if left and before.kinds == KINDS:
            with connection.transaction() as rest:
                _drop(connection, left, cascade=True)
                if _harmed(before.schema, found, _read(connection, before)) - may_go:
                    raise Rollback(rest)
        still = set(map(str, _unknown(before.schema, _read(connection, before))))
        return [f"{each.kind} {each.name}" for each in unwanted if str(each) not in still]
    return []


def _read(connection: Connection[Any], before: Fingerprint) -> Definitions:
    return limited(read_schema(connection), both_know(before.kinds, KINDS))


def analyze(connection: Connection[Any], *, seconds: int = 120) -> None:
    """Renews the planner's statistics of all tables, which a restored database has none of.

    Named one by one, since a bare ANALYZE takes the server's own catalogs along, which is most of its time where there
    are few rows. The time is for all of them; those done by then stay done. Raises psycopg.errors.QueryCanceled when it
    is over, and other psycopg.Error.
    """
    tables = [sql.SQL(name) for (name,) in connection.execute(catalog.ANALYZABLE)]
    if tables:
        with allowing(connection, seconds):
            connection.execute(sql.SQL("ANALYZE {}").format(sql.SQL(", ").join(tables)))


def _unknown(before: Definitions, now: Definitions) -> list[Difference]:
    added = [each for each in between(before, now) if each.change is Change.ADDED and each.kind in _ORDER]
    return sorted(added, key=lambda each: _ORDER.index(each.kind))


def _harmed(before: Definitions, found: Definitions, now: Definitions) -> set[str]:
    """What has gone since it was `found`, or is now what it was not before either: a default went with its sequence."""
    mended = {(each.kind, each.name, each.before) for each in between(before, found)}
    return {
        f"{each.kind} {each.name}"
        for each in between(found, now)
        if each.change is Change.REMOVED or (each.kind, each.name, each.after) not in mended
    }


def _drop(connection: Connection[Any], objects: list[Difference], *, cascade: bool = False) -> list[Difference]:
    """Drops until nothing more gives way, since what depends has to go first; returns what is left."""
    while objects:
        left = [each for each in objects if not _dropped(connection, each, cascade=cascade)]
        if len(left) == len(objects):
            break
        objects = left
    return objects


def _dropped(connection: Connection[Any], unknown: Difference, *, cascade: bool) -> bool:
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
