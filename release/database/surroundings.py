"""What belongs to the database as such and to no dump: its settings, its comment, its limit; put back after a restore.

What a restore lost comes back, and what a failed migration set goes. A value that may be a secret is in the fingerprint
as a hash only and cannot come back; neither can one that only a superuser may set. Both are named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from psycopg import Connection, sql

from release.database import catalog
from release.database.definitions import is_whole, read
from release.database.fingerprint import Fingerprint
from release.database.refusal import attempted

_SETTING: Final = re.compile(r'(\S+) of (?:the database|role ("(?:[^"]|"")+"|[^\s"]+)( in the database)?)', re.DOTALL)

_LISTS: Final = ("search_path", "temp_tablespaces")
"""Lists whose elements SET quotes: a value as text becomes one by set_config() only. (guc_tables.c, GUC_LIST_QUOTE.)"""

_LISTS_AT_START: Final = ("local_preload_libraries", "session_preload_libraries")
"""The same, but set_config() is refused: SET takes the elements one by one."""


def put_back_surroundings(connection: Connection[Any], before: Fingerprint) -> list[str]:
    """Gives the database its settings, its roles' settings, its comment and its connection limit back as they were.

    Returns what could not be done, without any value. Inside a transaction with catalog.LIMITS. Raises psycopg.Error
    when the session is gone.
    """
    now = read(connection, [catalog.OF_DATABASE, catalog.SETTINGS])
    was, present = (found.get("setting", {}) for found in (before.surroundings, now))
    problems = [
        problem
        for name in sorted(was.keys() | present.keys())
        if was.get(name) != present.get(name)
        for problem in _put_back_setting(connection, name, was.get(name))
    ]
    was, present = (found.get("database", {}) for found in (before.surroundings, now))
    for name in ("comment", "connection limit"):
        if was.get(name) != present.get(name):
            problems += _put_back_property(connection, name, was.get(name))
    return problems


def _put_back_setting(connection: Connection[Any], name: str, value: str | None) -> Iterator[str]:
    found = _SETTING.fullmatch(name)
    if not found:
        yield f"setting {name}: another version of this program named it so; look whether it is as it was"
    elif value is not None and not is_whole(value):
        yield (
            f"setting {name} is not what it was, and may be a secret, so that only a hash of its value was kept:"
            f" set {found[1]} again"
        )
    else:
        target = _target(connection, found[2], here=bool(found[3]))
        yield from attempted(
            connection, f"setting {name}", *_statements(target, found[1], value), secrets=[value or ""]
        )


def _target(connection: Connection[Any], role: str | None, *, here: bool) -> sql.Composable:
    (name, _) = connection.execute(catalog.DATABASE).fetchall()[0]
    if role is None:
        return sql.SQL("DATABASE {}").format(sql.SQL(name))
    whose = sql.SQL("ROLE {}").format(sql.SQL(role))
    return sql.SQL("{} IN DATABASE {}").format(whose, sql.SQL(name)) if here else whose


def _statements(target: sql.Composable, name: str, value: str | None) -> list[sql.Composed]:
    setting = sql.Identifier(*name.split("."))
    if value is None:
        return [sql.SQL("ALTER {} RESET {}").format(target, setting)]
    if name in _LISTS:
        return [
            sql.SQL("SELECT set_config({}, {}, true)").format(name, value),
            sql.SQL("ALTER {} SET {} FROM CURRENT").format(target, setting),
            sql.SQL("SELECT set_config({}, '', true)").format(name),
        ]
    values = [each.strip(' "') for each in value.split(",")] if name in _LISTS_AT_START and value else [value]
    return [sql.SQL("ALTER {} SET {} = {}").format(target, setting, sql.SQL(", ").join(map(sql.Literal, values)))]


def _put_back_property(connection: Connection[Any], name: str, value: str | None) -> Iterator[str]:
    if value is not None and not is_whole(value):
        yield f"{name} of the database is not what it was, and was too long to be kept: set it again"
        return
    target = _target(connection, None, here=True)
    statement = (
        sql.SQL("COMMENT ON {} IS {}").format(target, value)
        if name == "comment"
        else sql.SQL("ALTER {} CONNECTION LIMIT {}").format(target, int(value or -1))
    )
    yield from attempted(connection, f"{name} of the database", statement)
