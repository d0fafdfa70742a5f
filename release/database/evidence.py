"""Evidence: what would have shown that something was written between two moments.

It does not say what a database is (that is the fingerprint), only whether it was touched. "Unchanged" needs all of it
to be equal, and as much of it as possible is asked of the server instead of being enumerated here.

- **Rows.** Per table the counters of inserted, updated and deleted rows, and the number of the file that holds it. The
  counters count what aborted transactions did as well (monitoring-stats in the manual), so they err on the safe side.
  TRUNCATE and a refreshed materialized view count nothing but get a new file (`pg_class.relfilenode`); so do VACUUM
  FULL, CLUSTER and rewriting ALTERs. Large objects are rows of two system tables, which are counted like the others.
- **When counters can be trusted.** From PG 15 on they live in shared memory. A session hands in its own at the end of a
  transaction, at most once a second, after 10 s idle, and in any case when it ends (pgstat_report_stat and
  pgstat_shutdown_hook in src/backend/utils/activity/pgstat.c, the latter before the session leaves pg_stat_activity).
  So all that the migration did is counted once its sessions are gone, which the caller has to see to first. Others'
  last seconds may be missing, which does no harm: nothing of theirs is undone over an unchanged database. Before PG 15
  sessions sent counters by UDP, which may lose some: they prove nothing there.
- **The epoch.** Counters can be reset, and are lost in a crash or a failover. What notices: the database's oid and its
  reset time, the server's start, and the reset time of the background writer, which a crash sets anew
  (pgstat_reset_after_failure).
- **Sequences.** A sequence is not a table, and no rollback takes `setval` back: its last value and whether it was ever
  called are kept.
- **Catalogs.** A stamp of each: see catalog/stamp.py. It shows DROP COLUMN and ADD COLUMN of the same name, two columns
  that swapped names, and everything else whose result reads the same.
- **Surroundings.** Settings of the database and of roles in it, its comment, its grants and its limit stand in catalogs
  that all databases share; they are read as they are.
- **Transactions.** Where a rolled-back transaction has moved the counters, the server still knows of every transaction
  id since then whether it was committed (`pg_xact_status`). When none was, nothing was written, whatever they say.
- A transaction that was prepared in between counts when it commits: nothing is proved while there is one.
- Foreign tables hold their rows elsewhere, and this says nothing about them.

Whatever cannot be told counts as written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from psycopg import Connection, errors, sql

from release.database import catalog
from release.database.catalog import stamp
from release.database.definitions import Definitions, read

T = TypeVar("T")

POSITION_BATCH: Final = 500
"""Reading a sequence's position keeps a lock until the transaction ends, and the room for locks is limited."""

UNUSED_BATCH: Final = 50

FLUSH_SINCE: Final = 150_000
"""The version with pg_stat_force_next_flush()."""

MOST_TRANSACTIONS: Final = 200_000
"""Transactions that are looked at one by one, a third of a second's worth; more prove nothing."""


class Counters(msgspec.Struct, frozen=True, array_like=True):
    """Of one table: rows ever inserted, updated, deleted; rows it is thought to have; the number of its file."""

    inserted: int
    updated: int
    deleted: int
    live: int
    file: int


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Of one sequence: its last value, whether it was ever called, and its increment."""

    value: int
    called: bool
    increment: int

    def is_ahead_of(self, other: Position) -> bool:
        """Whether it would give a later value next, in the direction in which both count."""
        if (self.increment > 0) != (other.increment > 0):
            return False
        mine, others = (each.value + each.increment * each.called for each in (self, other))
        return mine > others if self.increment > 0 else mine < others


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """Which transactions were over: all before `begin`; of the others before `end` those that are not `running`."""

    begin: int
    end: int
    running: list[int]

    @classmethod
    def parsed(cls, text: str) -> Snapshot:
        """From the server's form, `begin:end:running,running` (pg_snapshot in the manual)."""
        begin, end, running = text.split(":")
        return cls(int(begin), int(end), [int(one) for one in running.split(",") if one])


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What a database showed at one moment.

    epoch: of the counters, None when they prove nothing, as in evidence that could not be read back. catalogs: rows and
    sum of hashes of each. unread: what could not be looked at (a sequence that is locked), by name.
    """

    taken_at: datetime | None = None
    epoch: str | None = None
    writes: dict[str, Counters] = {}
    positions: dict[str, Position] = {}
    catalogs: dict[str, tuple[int, str]] = {}
    surroundings: Definitions = {}
    prepared: list[str] = []
    snapshot: Snapshot = Snapshot(0, 0, [])
    unread: list[str] = []

    def to_json(self) -> bytes:
        """One JSON object; about 100 bytes a table."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, document: bytes) -> Evidence:
        """The way back; what another version of this code has written in another form proves nothing."""
        try:
            return msgspec.json.decode(document, type=cls)
        except msgspec.MsgspecError:
            return cls()


class Written(msgspec.Struct, frozen=True):
    """Rows of one table touched in between, aborted transactions included; rewritten: it got a new file."""

    inserted: int
    updated: int
    deleted: int
    rewritten: bool

    def __str__(self) -> str:
        counted = f"{self.inserted} inserted, {self.updated} updated, {self.deleted} deleted"
        return f"{counted}, rewritten" if self.rewritten else counted


class Traces(msgspec.Struct, frozen=True, kw_only=True):
    """What happened between two pieces of evidence.

    written: by table. moved: sequences that stand elsewhere; strayed: those of them that rows inserted in between do
    not explain. catalogs: those whose rows were written. around: settings and the like that differ. unproved: why the
    evidence cannot tell, if so.
    """

    written: dict[str, Written]
    moved: list[str]
    strayed: list[str]
    catalogs: list[str]
    around: list[str]
    unproved: str | None

    @property
    def none(self) -> bool:
        """Whether it is proved that nothing was written."""
        return not (self.written or self.moved or self.catalogs or self.around or self.unproved)

    @property
    def only_around(self) -> bool:
        """Whether nothing but settings and the like differs."""
        return bool(self.around) and not (self.written or self.moved or self.catalogs or self.unproved)

    @property
    def reshaped(self) -> bool:
        """Whether catalogs were written beyond what rows of large objects and new files (TRUNCATE, REFRESH) write."""
        files = any(table.rewritten for table in self.written.values())
        rows = {"pg_largeobject_metadata"} | ({"pg_class", "pg_depend", "pg_index"} if files else set())
        return not rows.issuperset(self.catalogs)


def take(connection: Connection[Any]) -> Evidence:
    """The evidence as it is now, over a connection in autocommit mode, outside any transaction.

    Sessions whose work is to be seen have to have ended. Waits at most 2 s for a lock. Raises psycopg.Error.
    """
    if connection.info.server_version >= FLUSH_SINCE:
        connection.execute("SELECT pg_stat_force_next_flush()")
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute(catalog.LIMITS)
        taken_at, epoch, prepared, snapshot = connection.execute(catalog.STATISTICS, prepare=True).fetchall()[0]
        writes = {name: Counters(*counters) for name, *counters in connection.execute(catalog.WRITES, prepare=True)}
        catalogs = _catalogs(connection)
        surroundings = read(connection, catalog.SURROUNDINGS)
    positions, unread = _positions(connection)
    return Evidence(
        taken_at=taken_at,
        epoch=epoch,
        writes=writes,
        positions=positions,
        catalogs=catalogs,
        surroundings=surroundings,
        prepared=prepared,
        snapshot=Snapshot.parsed(snapshot),
        unread=unread,
    )


def _catalogs(connection: Connection[Any]) -> dict[str, tuple[int, str]]:
    catalogs = connection.execute(stamp.CATALOGS, prepare=True).fetchall()
    ((left_out,),) = connection.execute(stamp.LEFT_OUT, prepare=True).fetchall()
    query = " UNION ALL ".join([*(stamp.stamp(name, columns) for name, columns in catalogs), stamp.USER_MAPPINGS])
    found = connection.execute(query.encode(), {"left_out": left_out}, prepare=True)
    return {name: (rows, str(hashes)) for name, rows, hashes in found}


def _positions(connection: Connection[Any]) -> tuple[dict[str, Position], list[str]]:
    """Where sequences stand, and which could not be read. No snapshot holds them, so they need not be read in one."""
    sequences = [_Sequence(*row) for row in connection.execute(catalog.SEQUENCES, prepare=True)]
    positions: dict[str, Position] = {}
    unread = [sequence.name for sequence in sequences if sequence.locked]
    for batch in _batches([sequence for sequence in sequences if not sequence.locked], POSITION_BATCH):
        unread += _bisected(connection, batch, lambda some: _used(connection, some, positions))
    unused = [
        sequence
        for sequence in sequences
        if sequence.readable and sequence.name in positions and not positions[sequence.name].called
    ]
    for batch in _batches(unused, UNUSED_BATCH):
        unread += _bisected(connection, batch, lambda some: _unused(connection, some, positions))
    return positions, [f"sequence {name}" for name in unread]


class _Sequence(NamedTuple):
    name: str
    oid: int
    increment: int
    readable: bool
    locked: bool


def _used(connection: Connection[Any], batch: Sequence[_Sequence], positions: dict[str, Position]) -> None:
    values = dict(connection.execute(catalog.POSITIONS, [[each.oid for each in batch]]).fetchall())
    for each in batch:
        value = values[each.oid]
        positions[each.name] = Position(value or 0, value is not None, each.increment)


def _unused(connection: Connection[Any], batch: Sequence[_Sequence], positions: dict[str, Position]) -> None:
    """Where sequences stand that were never called, which only their row tells."""
    query = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}, last_value, is_called, {} FROM {}").format(each.name, each.increment, sql.SQL(each.name))
        for each in batch
    )
    for name, value, called, increment in connection.execute(query):
        positions[name] = Position(value, called, increment)


def _bisected(
    connection: Connection[Any], batch: Sequence[_Sequence], look: Callable[[Sequence[_Sequence]], None]
) -> list[str]:
    """Looks at all of a batch at once, or at its halves where something is in the way; returns what was not read."""
    try:
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '200ms'")
            look(batch)
    except (errors.LockNotAvailable, errors.QueryCanceled, errors.UndefinedTable, errors.InsufficientPrivilege):
        if len(batch) == 1:
            return [batch[0].name]
        half = len(batch) // 2
        return [*_bisected(connection, batch[:half], look), *_bisected(connection, batch[half:], look)]
    return []


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


# What two pieces of evidence say together.


def compare(before: Evidence, after: Evidence) -> Traces:
    """What happened in between to a database that was not restored."""
    written, unproved = _written(before, after)
    moved = [
        name
        for name in sorted(before.positions.keys() & after.positions.keys())
        if before.positions[name] != after.positions[name]
    ]
    inserted = sum(max(table.inserted, 0) for table in written.values())
    return Traces(
        written=written,
        moved=moved,
        strayed=[name for name in moved if not _explained(before.positions[name], after.positions[name], inserted)],
        catalogs=_catalogs_written(before, after),
        around=_differing(before.surroundings, after.surroundings),
        unproved=unproved,
    )


def _catalogs_written(before: Evidence, after: Evidence) -> list[str]:
    """Nothing of evidence without catalogs, which has no epoch either and proves nothing anyway."""
    if not before.catalogs or not after.catalogs:
        return []
    names = sorted(before.catalogs.keys() | after.catalogs.keys())
    return [name for name in names if before.catalogs.get(name) != after.catalogs.get(name)]


def _written(before: Evidence, after: Evidence) -> tuple[dict[str, Written], str | None]:
    """Rows written by table, and why that is not certain."""
    if not before.catalogs or not after.catalogs:
        return {}, "the catalogs were not read"
    if before.epoch is None or after.epoch is None:
        return {}, "this server's counters are not reliable, or off"
    if before.epoch != after.epoch:
        return {}, "the server was started again, or its counters were reset"
    written: dict[str, Written] = {}
    for table in sorted(before.writes.keys() | after.writes.keys()):
        was, now = before.writes.get(table), after.writes.get(table)
        if was and now and _stamp(was) != _stamp(now):
            rows = (now.inserted - was.inserted, now.updated - was.updated, now.deleted - was.deleted)
            written[table] = Written(*rows, rewritten=was.file != now.file)
        elif not was or not now:
            written[table] = Written(*(_stamp(now)[:3] if now else (0, 0, 0)), rewritten=True)
    return written, _unproved(before, after)


def _stamp(counters: Counters) -> tuple[int, int, int, int]:
    return counters.inserted, counters.updated, counters.deleted, counters.file


def _unproved(before: Evidence, after: Evidence) -> str | None:
    if prepared := sorted(set(after.prepared) - set(before.prepared)):
        return f"a prepared transaction was left behind: {', '.join(prepared)}"
    if unread := sorted({*before.unread, *after.unread}):
        return f"could not be read: {', '.join(unread)}"
    return None


def _explained(was: Position, now: Position, inserted: int) -> bool:
    """Whether a sequence was moved forward by no more than the rows that were inserted, rolled back or not."""
    if was.increment != now.increment or not now.called:
        return False
    steps = (now.value - was.value) / now.increment + (not was.called)
    return 0 <= steps <= inserted


def _differing(before: Definitions, after: Definitions) -> list[str]:
    names = {(kind, name) for document in (before, after) for kind, found in document.items() for name in found}
    return sorted(
        f"{kind} {name}" for kind, name in names if before.get(kind, {}).get(name) != after.get(kind, {}).get(name)
    )


# Transactions.


def committed_since(connection: Connection[Any], since: Snapshot, own: Collection[int]) -> bool | None:
    """Whether any transaction of the whole server was committed since; None where that cannot be told.

    It cannot be told while one still runs in this database or is prepared, when there are too many, or when the server
    has forgotten them. `own`: the transactions of the hook itself, which do not count. Raises psycopg.Error.
    """
    now = Snapshot.parsed(connection.execute("SELECT pg_current_snapshot()::text").fetchall()[0][0])
    if now.end - since.end > MOST_TRANSACTIONS:
        return None
    found = dict(connection.execute(catalog.STATUSES, [since.running, since.end, now.end - 1, list(own)]).fetchall())
    if found.pop("committed", 0):
        return True
    running = connection.execute(catalog.WRITERS).fetchall()
    return None if running or set(found) - {"aborted"} else False
