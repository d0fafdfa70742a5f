"""The surroundings: a database's settings, comment and connection limit, put back after a restore.

No dump carries them. What a restore lost comes back, and what a failed migration set goes. A value that may be
a secret is in the fingerprint as a hash only and cannot come back. Neither can a setting that only a superuser may set.
Both are named.
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

# How the fingerprint names a setting: `search_path of the database`, `jit of role x in the database`.
_SETTING: Final = re.compile(r'(\S+) of (?:the database|role ("(?:[^"]|"")+"|[^\s"]+)( in the database)?)', re.DOTALL)

_LISTS: Final = ("search_path", "temp_tablespaces")
"""Settings that are lists whose elements SET quotes (GUC_LIST_QUOTE in guc_tables.c).

Only set_config() takes the text of the whole list.
"""

_LISTS_AT_START: Final = ("local_preload_libraries", "session_preload_libraries")
"""Settings of the same kind for which set_config() is refused, so that SET is given the elements one by one."""


def put_back_surroundings(connection: Connection[Any], before: Fingerprint) -> list[str]:
    """Gives the database its settings, its roles' settings, its comment and its connection limit back as they were.

    Returns sentences about what could not be done, which hold no value. The caller has begun a transaction with
    catalog.LIMITS. Raises psycopg.Error when the session is gone.
    """
    after = read(connection, [catalog.OF_DATABASE, catalog.SETTINGS])
    was, present = (surroundings.get("setting", {}) for surroundings in (before.surroundings, after))
    problems = [
        problem
        for name in sorted(was.keys() | present.keys())
        if was.get(name) != present.get(name)
        for problem in _put_back_setting(connection, name, was.get(name))
    ]
    was, present = (surroundings.get("database", {}) for surroundings in (before.surroundings, after))
    for name in ("comment", "connection limit"):
        if was.get(name) != present.get(name):
            problems += _put_back_property(connection, name, was.get(name))
    return problems


def _put_back_setting(connection: Connection[Any], name: str, value: str | None) -> Iterator[str]:
    match = _SETTING.fullmatch(name)
    if not match:
        yield (
            f"setting {name}: another version of this program named it so, and it was not put back:"
            r" check with \drds in psql whether its value is right"
        )
        return
    target = _target(connection, match[2], here=bool(match[3]))
    if value is not None and not is_whole(value):
        yield (
            f"setting {name} is not what it was, and may be a secret, so that only a hash of its value was kept:"
            f" set it again with ALTER {target.as_string(connection)} SET {match[1]} = …"
        )
    else:
        yield from attempted(
            connection, f"setting {name}", *_statements(target, match[1], value), secrets=[value or ""]
        )


def _target(connection: Connection[Any], role: str | None, *, here: bool) -> sql.Composable:
    """Writes what ALTER is to name: the database, a role, or with `here` a role in this database only."""
    (name, _) = connection.execute(catalog.DATABASE).fetchall()[0]
    if role is None:
        return sql.SQL("DATABASE {}").format(sql.SQL(name))
    whose = sql.SQL("ROLE {}").format(sql.SQL(role))
    return sql.SQL("{} IN DATABASE {}").format(whose, sql.SQL(name)) if here else whose


def _statements(target: sql.Composable, name: str, value: str | None) -> list[sql.Composed]:
    # A setting of the app's own has a dot in its name, `app.jwt_secret`, and each part is quoted by itself.
    setting = sql.Identifier(*name.split("."))
    if value is None:
        return [sql.SQL("ALTER {} RESET {}").format(target, setting)]
    if name in _LISTS:
        return [
            sql.SQL("SELECT set_config({}, {}, true)").format(name, value),
            sql.SQL("ALTER {} SET {} FROM CURRENT").format(target, setting),
            sql.SQL("SELECT set_config({}, '', true)").format(name),
        ]
    values = [element.strip(' "') for element in value.split(",")] if name in _LISTS_AT_START and value else [value]
    return [sql.SQL("ALTER {} SET {} = {}").format(target, setting, sql.SQL(", ").join(map(sql.Literal, values)))]


def _put_back_property(connection: Connection[Any], name: str, value: str | None) -> Iterator[str]:
    target = _target(connection, None, here=True)
    if value is not None and not is_whole(value):  # Only a comment can be too long, a limit is a number.
        yield (
            f"{name} of the database is not what it was, and was too long to be kept:"
            f" set it again with COMMENT ON {target.as_string(connection)} IS …"
        )
        return
    statement = (
        sql.SQL("COMMENT ON {} IS {}").format(target, value)
        if name == "comment"
        else sql.SQL("ALTER {} CONNECTION LIMIT {}").format(target, int(value or -1))
    )
    yield from attempted(connection, f"{name} of the database", statement)
