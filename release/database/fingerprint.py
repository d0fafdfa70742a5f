"""The fingerprint: a document that says what a database is, made from its catalogs. People can read it.

Only `schema` and `history` say what the database is. Beside them stand exact counts of small tables, which tables held
rows, and the evidence of the same moment (evidence.py), with which later evidence is compared.
"""

from __future__ import annotations

import hashlib
import sys
import zlib
from binascii import Error as NoBase64
from binascii import a2b_base64, b2a_base64
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
"""The migrations that a history table records, sorted, by the table's name."""

COUNT_PAGES: Final = {"pages": 64, "total": 2000, "tables": 500}
"""The limits of counting: pages of 8 kB of one table, pages of all tables together, and the number of tables."""

COUNT_BATCH: Final = 50
"""The number of tables that are counted in one statement, which keeps a lock on each until it ends."""

AROUND: Final = frozenset(
    {"database", "setting", "event trigger", "large objects", "security label", "publication of a superuser"}
)
"""The kinds that are read with the evidence, not with the structure."""

VERSION: Final = 2
"""The version of the document. Version 1 did not say which kinds it knows."""

WITH_KINDS: Final = 2
"""The first version that says which kinds it knows."""

PLAIN: Final = 2000
"""The number of definitions up to which the journal keeps the document as it is: about 400 tables, 300 kB."""

PACKED: Final = b"zlib:"
"""The beginning of a document that is compressed: this, and then Base64. No JSON begins like that."""

PART: Final = 500
"""The number of definitions that are written at once."""

BLANKS: Final[tuple[Any, ...]] = (None, {}, [], "", 0, False)
"""Stand-ins for a field that another version's document does not have: the first one that the field's type allows."""


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """A database at one moment.

    `history` has the entries by table. `row_counts` are exact, and of small tables only. `holding` says which tables
    held rows. `evidence` is what a later write would change. `kinds` says what the code that made the document looks
    at, with revisions (see kinds.py). `unread` names the relations that somebody kept locked. comparison.py
    leaves out what one of two documents does not know or could not read.
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
        """Writes it as one JSON object, of about 1 kB a table."""
        return msgspec.json.encode(self)

    def pack(self) -> bytes:
        """Writes it as the journal keeps it, as text: JSON, or that compressed where it is large, a tenth in size.

        Of 20,000 tables the JSON would be 16 MB, several times in memory while it is sent to the server.
        """
        if sum(map(len, self.schema.values())) <= PLAIN:
            return self.to_json()
        rest = {name: value for name, value in msgspec.structs.asdict(self).items() if name != "schema"}
        packer = zlib.compressobj(level=1)
        packed = [packer.compress(part) for part in (b'{"schema":', *_parts(self.schema), b",")]
        packed += [packer.compress(msgspec.json.encode(rest)[1:]), packer.flush()]
        return PACKED + b2a_base64(b"".join(packed), newline=False)

    @classmethod
    def from_json(cls, document: bytes) -> Fingerprint:
        """Reads it back, packed or not, also from another version's document. It never raises.

        What cannot be read is not known, and proves nothing. Of a document that is no fingerprint nothing is known.
        """
        with suppress(zlib.error, NoBase64):
            if document.startswith(PACKED):
                document = zlib.decompress(a2b_base64(document.removeprefix(PACKED)))
        try:
            fingerprint = msgspec.json.decode(document, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return _as_far_as_readable(document)
        _intern(fingerprint.schema)
        if fingerprint.version >= WITH_KINDS:
            return fingerprint
        return msgspec.structs.replace(fingerprint, kinds=dict(FIRST))

    @property
    def structure(self) -> tuple[Definitions, History]:
        """Schema and history, which have to be equal after a restore."""
        return self.schema, self.history

    @property
    def surroundings(self) -> Definitions:
        """The definitions of what belongs to the database as such, and is no part of its structure."""
        return self.evidence.surroundings

    @property
    def invalid_indexes(self) -> list[str]:
        """Names of the indexes that were not valid, because a concurrent build of them had failed."""
        return sorted(name for block in self.schema.get("invalid indexes", {}).values() for name in parse_block(block))

    def digest(self) -> str:
        """Computes the SHA-256 of schema and history, in hexadecimal digits.

        Equal digests mean the same structure. Where they differ, same_structure() in comparison.py decides.
        """
        digest = hashlib.sha256(b"[")
        for part in _parts(self.schema):
            digest.update(part)
        digest.update(b"," + msgspec.json.encode(self.history, order="deterministic") + b"]")
        return digest.hexdigest()


def _parts(schema: Definitions) -> Iterator[bytes]:
    """Yields the parts of the JSON of a schema, with its keys sorted, so that it is never in memory as a whole."""
    yield b"{"
    for place, (kind, named) in enumerate(sorted(schema.items())):
        yield (b"," if place else b"") + msgspec.json.encode(kind) + b":{"
        names = sorted(named)
        for start in range(0, len(names), PART):
            part = msgspec.json.encode({name: named[name] for name in names[start : start + PART]})
            yield (b"," if start else b"") + part[1:-1]
        yield b"}"
    yield b"}"


def _intern(schema: Definitions) -> None:
    """Makes equal texts one, as definitions.read() does: what is read next is mostly the same."""
    for kind, named in schema.items():
        schema[kind] = {sys.intern(name): sys.intern(definition) for name, definition in named.items()}


def _as_far_as_readable(document: bytes) -> Fingerprint:
    """Reads what can be read of another version's document. Its counters prove nothing, so that it has no epoch."""
    raw: Any = None
    with suppress(msgspec.MsgspecError, UnicodeDecodeError):
        raw = msgspec.json.decode(document)
    document_fields = raw if isinstance(raw, dict) else {}
    fields: dict[str, Any] = {}
    lost: set[str] = set()
    for field in msgspec.structs.fields(Fingerprint):
        value, fits = _fitting(document_fields.get(field.name, msgspec.UNSET), field.type)
        fields[field.name] = value
        if not fits:
            lost.add(field.name)
    evidence_read = msgspec.structs.replace(fields["evidence"], epoch=None)
    return Fingerprint(**{**fields, "evidence": evidence_read, "kinds": _known(fields, lost)})


def _fitting(value: Any, wanted: Any) -> tuple[Any, bool]:
    """Converts the value, or a stand-in, to the wanted type; says whether the value itself was taken."""
    for candidate in (value, *BLANKS):
        with suppress(msgspec.ValidationError):
            return msgspec.convert(candidate, wanted), candidate is value
    raise TypeError(wanted)


def _known(fields: dict[str, Any], lost: set[str]) -> dict[str, int]:
    if lost & {"schema", "version"}:
        return {}
    kinds = dict(FIRST) if fields["version"] < WITH_KINDS else dict(fields["kinds"])
    for kind in ({HISTORY} if "history" in lost else set()) | (AROUND if "evidence" in lost else set()):
        kinds.pop(kind, None)
    return kinds


def take(connection: Connection[Any], histories: Sequence[HistoryTable] = (), *, partial: bool = False) -> Fingerprint:
    """Takes the fingerprint over a connection in autocommit mode, outside any transaction. Raises psycopg.Error.

    `histories` are the tables in which frameworks keep what they have migrated, where it is known which those are.

    The queries are prepared: planning is most of their cost, and a session takes a second fingerprint after the
    migration.

    The catalogs are read in one snapshot. The server's functions that print definitions look at the newest state
    nevertheless, so that somebody else's DDL at the same moment can be an error. The caller then tries again. A lock is
    waited for at most 2 s; with `partial`, relations that are locked are left out instead, and named in `unread`.
    """
    # The evidence comes first. A write between the two then counts as one after it, and cannot be missed.
    taken = evidence.take(connection)
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
        evidence=taken,
        unread=unread,
        kinds={**KINDS, HISTORY: KINDS[HISTORY] + revision(histories)},
    )


def read_schema(connection: Connection[Any]) -> Definitions:
    """Reads the structure alone inside a transaction, whose search path and limits it sets. Raises psycopg.Error."""
    connection.execute(catalog.LIMITS)
    return read(connection, (*catalog.STRUCTURE, *catalog.RARER, *catalog.GRANTS))


def _row_counts(connection: Connection[Any]) -> dict[str, int]:
    """Counts the rows of small tables by batches. Where one table is locked, its whole batch is not counted."""
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
