"""Sessions of transfers: which of them dump this database at this moment, and which load it.

Heroku's own are called `Heroku Postgres Backups` whatever they do (seen in a transcript of 2020), so what they do has
to tell. pg_dump works in one transaction with one snapshot, which writes nothing; each statement of pg_restore is a
transaction, but for large objects: until the first of those is written, less than a millisecond, it looks like a dump.
People's pg_dump and pg_restore say what they are in their names.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final, LiteralString

import msgspec

HEROKU: Final = "Heroku Postgres Backups"
"""The application name of Heroku's own sessions."""

QUERY: Final[LiteralString] = """
SELECT application_name, ltrim(regexp_replace(query, '^(\\s|--[^\\n]*(\\n|$))+', '')), backend_xid IS NOT NULL,
       coalesce(xact_start < query_start, false) AND backend_xmin IS NOT NULL
  FROM pg_catalog.pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
   AND (starts_with(application_name, 'Heroku Postgres Backups') OR application_name ~ '^pg_(dump|restore)')
"""
"""The rows of `Session`. Of a statement the server shows the first track_activity_query_size bytes (1024) only."""

_LOADS = re.compile(
    r"(CREATE|ALTER|DROP|COMMENT|GRANT|REVOKE|SECURITY|REFRESH|TRUNCATE|INSERT|COMMIT)\b|COPY\s.*\sFROM stdin;?\s*\Z"
    r"|SELECT pg_catalog\.(setval|lo_\w+)\(",
    re.DOTALL,
)
_DUMPS = re.compile(r"COPY\s.*\sTO stdout;?\s*\Z|LOCK TABLE\s|SET TRANSACTION\s", re.DOTALL)
_EITHER = re.compile(r"\Z|(SET|BEGIN|COPY)\b|SELECT (pg_catalog\.)?(set_config|pg_is_in_recovery)\(|<insufficient")
"""What both begin with, or what says nothing; a dump is in its transaction within milliseconds."""


class Doing(StrEnum):
    """What a transfer does to the database."""

    DUMP = "dump"
    LOAD = "load"


class Session(msgspec.Struct, frozen=True):
    """A session: its name, its present or last statement, whether it has written, and whether in a transaction.

    `statement` is without the blanks and comments that it began with; `in_transaction`: one that began before the
    statement did, and has a snapshot.
    """

    name: str
    statement: str
    writes: bool
    in_transaction: bool


def doing(session: Session) -> Doing | None:
    """What a session does; None where it is no transfer. In doubt it loads: to wait a moment costs little."""
    if session.name.startswith("pg_dump"):
        return Doing.DUMP
    if session.name.startswith("pg_restore"):
        return Doing.LOAD
    if session.writes or _LOADS.match(session.statement):
        return Doing.LOAD
    if session.in_transaction or _DUMPS.match(session.statement):
        return Doing.DUMP
    return Doing.LOAD if _EITHER.match(session.statement) else None
