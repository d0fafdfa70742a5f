"""Sessions of transfers: which of them dump this database at this moment, and which load it.

Heroku's own sessions are called `Heroku Postgres Backups` whatever they do (seen in a transcript of 2020). So they are
told apart by what they do. pg_dump works in one transaction with one snapshot, which writes nothing. With pg_restore
each statement is a transaction of its own, except for large objects: until the first of those is written, which takes
less than a millisecond, it looks like a dump. People's pg_dump and pg_restore say what they are in their names.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final, LiteralString, NamedTuple

HEROKU: Final = "Heroku Postgres Backups"
"""The application name of Heroku's own sessions."""

SESSIONS: Final[LiteralString] = """
SELECT application_name, ltrim(regexp_replace(query, '^(\\s|--[^\\n]*(\\n|$))+', '')), backend_xid IS NOT NULL,
       coalesce(xact_start < query_start, false) AND backend_xmin IS NOT NULL
  FROM pg_catalog.pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
   AND (starts_with(application_name, 'Heroku Postgres Backups') OR application_name ~ '^pg_(dump|restore)')
"""
"""The rows of `Session`. Of a statement the server shows only the first track_activity_query_size bytes (1024)."""

# Statements of pg_restore. COPY stands with both, so its direction tells; the server may have cut a long one off.
_LOADS = re.compile(
    r"(CREATE|ALTER|DROP|COMMENT|GRANT|REVOKE|SECURITY|REFRESH|TRUNCATE|INSERT|COMMIT)\b|COPY\s.*\sFROM stdin;?\s*\Z"
    r"|SELECT pg_catalog\.(setval|lo_\w+)\(",
    re.DOTALL,
)
# Statements of pg_dump that no other program is likely to end with.
_DUMPS = re.compile(r"COPY\s.*\sTO stdout;?\s*\Z|LOCK TABLE\s|SET TRANSACTION\s", re.DOTALL)
_EITHER = re.compile(r"\Z|(SET|BEGIN|COPY)\b|SELECT (pg_catalog\.)?(set_config|pg_is_in_recovery)\(|<insufficient")
"""Statements with which both begin, or that say nothing. `<insufficient` begins what this role may not see.

A dump is in its transaction within milliseconds, so that such a statement outside of one is of a load.
"""


class Doing(StrEnum):
    """The two things that a transfer does to a database."""

    DUMP = "dump"
    LOAD = "load"


class Session(NamedTuple):
    """A session: its application name, its present or last statement, and whether it has written.

    `statement` is without the blanks and comments with which it began. `in_transaction` says that the session is in a
    transaction that began before the statement did, and has a snapshot.
    """

    name: str
    statement: str
    writes: bool
    in_transaction: bool


def doing(session: Session) -> Doing | None:
    """Tells what a session does; None where it is no transfer. In doubt it loads: to wait a moment costs little."""
    if session.name.startswith("pg_dump"):
        return Doing.DUMP
    if session.name.startswith("pg_restore"):
        return Doing.LOAD
    if session.writes or _LOADS.match(session.statement):
        return Doing.LOAD
    if session.in_transaction or _DUMPS.match(session.statement):
        return Doing.DUMP
    return Doing.LOAD if _EITHER.match(session.statement) else None
