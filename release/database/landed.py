"""What is remembered of a release that landed: enough to know the same release again, over the same database.

Nothing was pending when it landed. The same code, run by the same commands, has nothing pending either as long as
nobody has touched what it made: the structure, and the histories of what was migrated. It is kept in the journal, in
the row of its run, and so it goes where the data goes: a restore takes it back to what was true of the data then.
"""

from __future__ import annotations

from typing import Any

import msgspec
from psycopg import Connection

from release.database.fingerprint import Fingerprint
from release.database.history import look_alikes


class Landed(msgspec.Struct, frozen=True, kw_only=True):
    """A release that landed, and the database right after it. All but `app` are numbers or hashes.

    `app` is the id or the name of the app. `code` stands for its code, `commands` for what migrates, `database` is the
    database's oid, `structure` the digest of its fingerprint, and `history` that of the tables that look like one of
    migrations.
    """

    app: str
    code: str
    commands: str
    database: int
    structure: str
    history: str

    def to_json(self) -> bytes:
        """Writes it as one JSON object of about 300 bytes."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, document: bytes | None) -> Landed | None:
        """Reads it back. A document that another version has written in another form says nothing."""
        try:
            return msgspec.json.decode(document or b"", type=cls)
        except msgspec.MsgspecError:
            return None

    def differences(self, now: Landed) -> list[str]:
        """Names what is not as it was."""
        return [name for name in self.__struct_fields__ if getattr(self, name) != getattr(now, name)]


def database_of(connection: Connection[Any]) -> int:
    """Reads the database's oid. One that was dropped and made anew has another. Raises psycopg.Error."""
    ((oid,),) = connection.execute(
        "SELECT oid::bigint FROM pg_catalog.pg_database WHERE datname = current_database()"
    ).fetchall()
    return int(oid)


def landed(connection: Connection[Any], taken: Fingerprint, *, app: str, code: str, commands: str) -> Landed:
    """Describes a release over the database as it is, of which `taken` is the fingerprint. Raises psycopg.Error."""
    return Landed(
        app=app,
        code=code,
        commands=commands,
        database=database_of(connection),
        structure=taken.digest(),
        history=look_alikes(connection),
    )
