"""Evidence: what shows that something was written between two moments.

It does not say what a database is (the fingerprint does), only whether it was touched. A database counts as unchanged
only where all the evidence is equal. As much of it as possible is asked of the server instead of being enumerated here.

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

from collections.abc import Collection
from datetime import datetime
from sys import intern
from typing import Any, Final

import msgspec
from psycopg import Connection

from release.database import catalog
from release.database.catalog import stamp
from release.database.definitions import Definitions, read
from release.database.positions import Position, read_positions

FLUSH_SINCE: Final = 150_000
"""The first server version with pg_stat_force_next_flush()."""

MOST_TRANSACTIONS: Final = 200_000
"""The number of transactions whose status is asked, which takes a third of a second. Of more, nothing is known."""


class Counters(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The counters of one table: rows ever inserted, updated and deleted, its estimated rows, and its file's number."""

    inserted: int
    updated: int
    deleted: int
    live: int
    file: int


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """The transactions that were over: all before `begin`, and those before `end` that are not `running`."""

    begin: int
    end: int
    running: list[int]

    @classmethod
    def parsed(cls, text: str) -> Snapshot:
        """Parses the server's form, `begin:end:running,running` (pg_snapshot in the manual)."""
        begin, end, running = text.split(":")
        return cls(int(begin), int(end), [int(transaction) for transaction in running.split(",") if transaction])


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence of one moment.

    `epoch` names the time in which the counters can be compared. It is None where they prove nothing, and in evidence
    that could not be read back. `writes` has the counters by table, `positions` those of sequences. `catalogs` has the
    number of rows and the sum of hashes of each catalog. `prepared` lists prepared transactions. `unread` names what
    could not be read, such as a sequence that is locked.
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
        """Writes it as one JSON object, of about 100 bytes a table."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, document: bytes) -> Evidence:
        """Reads it back. A document that another version of this code has written in another form proves nothing."""
        try:
            return msgspec.json.decode(document, type=cls)
        except msgspec.MsgspecError:
            return cls()


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of one table that were written in between, by aborted transactions too.

    `rewritten` says that the table got a new file.
    """

    inserted: int
    updated: int
    deleted: int
    rewritten: bool

    def __str__(self) -> str:
        counted = f"{self.inserted} inserted, {self.updated} updated, {self.deleted} deleted"
        return f"{counted}, rewritten" if self.rewritten else counted


class Traces(msgspec.Struct, frozen=True, kw_only=True):
    """The traces of writes between two pieces of evidence.

    `written` has the rows by table. `moved` names the sequences whose position differs; `strayed`, those of them that
    the rows inserted in between do not explain. `catalogs` names those whose rows were written. `around` names settings
    and the like that differ. `unproved` says why the evidence cannot tell, and is None where it can.
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
    """Takes the evidence over a connection in autocommit mode, outside any transaction. Raises psycopg.Error.

    Only the work of sessions that have ended is surely in it. A lock is waited for at most 2 s.
    """
    _flush(connection)
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute(catalog.LIMITS)
        taken_at, epoch, prepared, snapshot = connection.execute(catalog.STATISTICS, prepare=True).fetchall()[0]
        writes = _writes(connection)
        catalogs = _catalogs(connection)
        surroundings = read(connection, catalog.SURROUNDINGS)
    positions, unread = read_positions(connection)
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


def written_since(connection: Connection[Any], since: Evidence) -> dict[str, Written]:
    """Reads the rows written since by table, as `compare` would find them. Raises psycopg.Error.

    Nothing else of the evidence is read, which is most of its time.
    """
    _flush(connection)
    with connection.transaction():
        connection.execute(catalog.LIMITS)
        _, epoch, _, _ = connection.execute(catalog.STATISTICS, prepare=True).fetchall()[0]
        present = Evidence(epoch=epoch, writes=_writes(connection), catalogs=since.catalogs)
    return _written(since, present)[0]


def tables(connection: Connection[Any]) -> frozenset[str]:
    """Names the tables that have counters, which are all that may hold somebody's data. Raises psycopg.Error."""
    with connection.transaction():
        connection.execute(catalog.LIMITS)
        return frozenset(_writes(connection))


def _flush(connection: Connection[Any]) -> None:
    """Makes the server count what this session itself has written: it does not end before that is read."""
    if connection.info.server_version >= FLUSH_SINCE:
        connection.execute("SELECT pg_stat_force_next_flush()")


def _writes(connection: Connection[Any]) -> dict[str, Counters]:
    return {intern(name): Counters(*counts) for name, *counts in connection.execute(catalog.WRITES, prepare=True)}


def _catalogs(connection: Connection[Any]) -> dict[str, tuple[int, str]]:
    catalogs = connection.execute(stamp.CATALOGS, prepare=True).fetchall()
    ((left_out,),) = connection.execute(stamp.LEFT_OUT, prepare=True).fetchall()
    query = " UNION ALL ".join([*(stamp.stamp(name, columns) for name, columns in catalogs), stamp.USER_MAPPINGS])
    # As bytes, because psycopg takes a query that is put together from names only as bytes (LiteralString otherwise).
    stamps = connection.execute(query.encode(), {"left_out": left_out}, prepare=True)
    return {name: (rows, str(hashes)) for name, rows, hashes in stamps}


# What two pieces of evidence say together.


def compare(before: Evidence, after: Evidence) -> Traces:
    """Finds the traces of writes between two pieces of evidence of a database that was not restored in between."""
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
    """Lists the catalogs that were written. Evidence without catalogs proves nothing anyway, so that none is named."""
    if not before.catalogs or not after.catalogs:
        return []
    names = sorted(before.catalogs.keys() | after.catalogs.keys())
    return [name for name in names if before.catalogs.get(name) != after.catalogs.get(name)]


def _written(before: Evidence, after: Evidence) -> tuple[dict[str, Written], str | None]:
    """Returns the rows written by table, and why that is not certain, if so."""
    if not before.catalogs or not after.catalogs:
        return {}, "the catalogs were not read"
    if before.epoch is None or after.epoch is None:
        return {}, "this server's counters are not reliable, or off"
    if before.epoch != after.epoch:
        return {}, "the server was started again, or its counters were reset"
    written: dict[str, Written] = {}
    for table in sorted(before.writes.keys() | after.writes.keys()):
        was, present = before.writes.get(table), after.writes.get(table)
        if not was or not present or stamp_of(was) != stamp_of(present):
            written[table] = rows_written(was, present)
    return written, _unproved(before, after)


def rows_written(was: Counters | None, present: Counters | None) -> Written:
    """Subtracts counters. Of a table that is gone nothing is counted; one that is new has the rows it was given."""
    if not present:
        return Written(inserted=0, updated=0, deleted=0, rewritten=True)
    since = was or Counters(0, 0, 0, 0, 0)
    return Written(
        inserted=present.inserted - since.inserted,
        updated=present.updated - since.updated,
        deleted=present.deleted - since.deleted,
        rewritten=was is None or was.file != present.file,
    )


def stamp_of(counters: Counters) -> tuple[int, int, int, int]:
    """Returns the counters that only writes change. The server's estimate of rows changes with ANALYZE, too."""
    return counters.inserted, counters.updated, counters.deleted, counters.file


def _unproved(before: Evidence, after: Evidence) -> str | None:
    if prepared := sorted(set(after.prepared) - set(before.prepared)):
        return f"a prepared transaction was left behind: {', '.join(prepared)}"
    if unread := sorted({*before.unread, *after.unread}):
        return f"could not be read: {', '.join(unread)}"
    return None


def _explained(was: Position, present: Position, inserted: int) -> bool:
    """Says whether a sequence moved forward by no more than the rows that were inserted, rolled back or not."""
    if was.increment != present.increment or not present.called:
        return False
    # The first call gives the starting value itself, so that it is a step although the value stays.
    steps = (present.value - was.value) / present.increment + (not was.called)
    return 0 <= steps <= inserted


def _differing(before: Definitions, after: Definitions) -> list[str]:
    names = {(kind, name) for document in (before, after) for kind, named in document.items() for name in named}
    return sorted(
        f"{kind} {name}" for kind, name in names if before.get(kind, {}).get(name) != after.get(kind, {}).get(name)
    )


# Transactions.


def committed_since(connection: Connection[Any], since: Snapshot, own: Collection[int]) -> bool | None:
    """Says whether any transaction of the whole server was committed since; None where that cannot be told.

    It cannot be told while one still runs in this database or is prepared, when there are too many, or when the server
    has forgotten them. `own` are the ids of the hook's own transactions, which do not count. Raises psycopg.Error.
    """
    present = Snapshot.parsed(connection.execute("SELECT pg_current_snapshot()::text").fetchall()[0][0])
    if present.end - since.end > MOST_TRANSACTIONS:
        return None
    counts = dict(
        connection.execute(catalog.STATUSES, [since.running, since.end, present.end - 1, list(own)]).fetchall()
    )
    if counts.pop("committed", 0):
        return True
    running = connection.execute(catalog.WRITERS).fetchall()
    return None if running or set(counts) - {"aborted"} else False
