"""What a database is: a document made from its catalogs, which can be kept, compared and read by a person.

Only `schema` and `history` are what it is. Beside them stand exact counts of small tables, which tables held rows, and
the evidence of the same moment (evidence.py), which a later one is compared with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

import msgspec
from psycopg import Connection, errors, sql

from release.database import catalog, evidence, rows
from release.database.definitions import Definitions, parse_block, read
from release.database.evidence import Evidence
from release.database.history import HistoryTable, recorded, revision
from release.database.kinds import FIRST, HISTORY, KINDS
from release.database.rows import Holding

History: TypeAlias = dict[str, list[str]]
"""Migrations by history table, sorted."""

COUNT_PAGES: Final = {"pages": 64, "total": 2000, "tables": 500}
"""A table is counted if it has at most so many pages of 8 kB, and so many in all; so many tables."""

COUNT_BATCH: Final = 50
AROUND: Final = frozenset(
    {"database", "setting", "event trigger", "large objects", "security label", "publication of a superuser"}
)
"""Kinds that are read with the evidence."""

VERSION: Final = 2
"""Of the document. 1 said nothing of its kinds."""

WITH_KINDS: Final = 2

BLANKS: Final[tuple[Any, ...]] = (None, {}, [], "", 0, False)
"""What stands for a field that another version's document does not have: the first that its type allows."""


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """A database at one moment.

    history: entries by table. row_counts: exact, of small tables only. holding: which tables held rows. evidence: what
    a write afterwards would change. kinds: what the code that made it looks at, with revisions (see kinds.py);
    comparison.py leaves out what one of two does not know, and the relations that are `unread`, because somebody kept
    them locked.
    """

    version: int = VERSION
    kinds: dict[str, int] = msgspec.field(default_factory=lambda: KINDS)
    server_version: int
    schema: Definitions
    history: History
    row_counts: dict[str, int]
    holding: Holding
    evidence: Evidence
    unread: list[str] = []

    def to_json(self) -> bytes:
        """One JSON object; about 1 kB a table."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, document: bytes) -> Fingerprint:
        """The way back, also of another version's document: what cannot be read of it is not known, and proves nothing.

        Never raises; of what is no fingerprint at all, nothing is known.
        """
        try:
            found = msgspec.json.decode(document, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return _as_far_as_readable(document)
        return msgspec.structs.replace(found, kinds=dict(FIRST)) if found.version < WITH_KINDS else found

    @property
    def structure(self) -> tuple[Definitions, History]:
        """What has to be equal."""
        return self.schema, self.history

    @property
    def surroundings(self) -> Definitions:
        """What belongs to the database as such, and is no part of its structure."""
        return self.evidence.surroundings

    @property
    def invalid_indexes(self) -> list[str]:
        """Names of the indexes that were not valid: a concurrent build of them failed."""
        return sorted(name for block in self.schema.get("invalid indexes", {}).values() for name in parse_block(block))

    def digest(self) -> str:
        """SHA-256 of schema and history, hexadecimal. Equal: the same structure. Not equal: ask same_structure()."""
        return hashlib.sha256(msgspec.json.encode([self.schema, self.history], order="deterministic")).hexdigest()


def _as_far_as_readable(document: bytes) -> Fingerprint:
    """What can be read of another version's document; its counters prove nothing."""
    raw: Any = None
    with suppress(msgspec.MsgspecError, UnicodeDecodeError):
        raw = msgspec.json.decode(document)
    given = raw if isinstance(raw, dict) else {}
    fields: dict[str, Any] = {}
    lost: set[str] = set()
    for field in msgspec.structs.fields(Fingerprint):
        value, fits = _fitting(given.get(field.name, msgspec.UNSET), field.type)
        fields[field.name] = value
        if not fits:
            lost.add(field.name)
    seen = msgspec.structs.replace(fields["evidence"], epoch=None)
    return Fingerprint(**{**fields, "evidence": seen, "kinds": _known(fields, lost)})


def _fitting(value: Any, wanted: Any) -> tuple[Any, bool]:
    """The value as the type that is wanted, or the emptiest one of that type; whether it was the value."""
    for each in (value, *BLANKS):
        with suppress(msgspec.ValidationError):
            return msgspec.convert(each, wanted), each is value
    raise TypeError(wanted)


def _known(fields: dict[str, Any], lost: set[str]) -> dict[str, int]:
    if lost & {"schema", "version"}:
        return {}
    kinds = dict(FIRST) if fields["version"] < WITH_KINDS else dict(fields["kinds"])
    for kind in ({HISTORY} if "history" in lost else set()) | (AROUND if "evidence" in lost else set()):
        kinds.pop(kind, None)
    return kinds


def take(connection: Connection[Any], histories: Sequence[HistoryTable] = (), *, partial: bool = False) -> Fingerprint:
    """The fingerprint of the database behind a connection in autocommit mode, outside any transaction.

    `histories`: the tables in which frameworks keep what they have migrated, where it is known which those are.

    The queries are prepared: planning is most of their cost, and a session takes a second one after the migration.

    The catalogs are read in one snapshot. The functions that print definitions look at the newest state nevertheless,
    so that DDL of somebody else at the same moment can be an error; the caller tries again. Waits at most 2 s for
    a lock; with `partial` what is locked is left out instead, and named. Raises psycopg.Error.
    """
    seen = evidence.take(connection)  # first: what is written from here on must not be missing in both
    unread: list[str] = []
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if partial:
            ((_, unread),) = connection.execute(catalog.BUSY).fetchall()
        schema = read_schema(connection)
        history = recorded(connection, histories)
        row_counts = _row_counts(connection)
    return Fingerprint(
        server_version=connection.info.server_version,
        schema=schema,
        history=history,
        row_counts=row_counts,
        holding=rows.read_holding(connection),
        evidence=seen,
        unread=unread,
        kinds={**KINDS, HISTORY: KINDS[HISTORY] + revision(histories)},
    )


def read_schema(connection: Connection[Any]) -> Definitions:
    """The structure alone. Inside a transaction, whose search path and limits it sets. Raises psycopg.Error."""
    connection.execute(catalog.LIMITS)
    return read(connection, (*catalog.STRUCTURE, *catalog.RARER, *catalog.GRANTS))


def _row_counts(connection: Connection[Any]) -> dict[str, int]:
    """Exact counts of small tables. Locks are given back after each batch; a table that is locked loses its batch."""
    names = [name for (name,) in connection.execute(catalog.COUNTABLE, COUNT_PAGES, prepare=True)]
    counts: dict[str, int] = {}
    for batch in _batches(names, COUNT_BATCH):
        query = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {}, count(*) FROM ONLY {}").format(sql.Literal(name), sql.SQL(name)) for name in batch
        )
        with (
            suppress(errors.LockNotAvailable, errors.QueryCanceled, errors.UndefinedTable),
            connection.transaction(),
        ):
            counts.update(connection.execute(query).fetchall())
    return counts


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
