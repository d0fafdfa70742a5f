"""A hold: a session that keeps others from writing, and sees what they write all the same, until the database is reset.

It locks every table in SHARE mode, in one transaction. Whoever writes then waits, and is never told that a row was
accepted which the restore takes away again. Heroku's dump only reads (ACCESS SHARE), so it passes.

- **Nothing has to be put back.** The locks end with the session: with this process, however it dies; with the restore,
  which ends all sessions first; and when this process stands still, by the server's own limit (IDLE).
- **It never keeps a restore out.** One that does not end sessions would wait here for its DROP (ACCESS EXCLUSIVE). So
  it is let through: the writers that wait are ended first, since they stand before it in line. Once the restore was
  asked for, anybody who waits for such a lock may be it.
- **It leaves the server its room.** Locks share a table in the server's memory. No more than a part of it is taken, and
  the tables that were written most come first.
- What it cannot lock (another role's table, large objects, a table that is made meanwhile), the counters show.

Sequences go on. A reset ends all sessions one after the other, this one among them: who has waited here may write in
the moment before his own is ended, or before the first DROP where schemas are emptied. `waiting` names him.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, LiteralString, TypeVar

import msgspec
import psycopg
from psycopg import Connection, sql

from release.database import catalog
from release.database.evidence import Counters, Written, rows_written, stamp_of
from release.database.session import SET_KNOWN, Database, translated
from release.errors import StepFailed

T = TypeVar("T")

IDLE: Final = 120
"""Seconds after which the server ends the hold of a process that does nothing any more."""

LOCK_WITHIN: Final = 2
"""Seconds that others' transactions get to end. An autovacuum gives way after one (deadlock_timeout)."""

TABLES: Final[LiteralString] = r"""
SELECT n.nspname, c.relname
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
   AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'release_phase')
   AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE')
 ORDER BY c.relkind = 'p' DESC,
       pg_stat_get_tuples_inserted(c.oid) + pg_stat_get_tuples_updated(c.oid) + pg_stat_get_tuples_deleted(c.oid) DESC,
       c.oid
 LIMIT current_setting('max_locks_per_transaction')::bigint * current_setting('max_connections')::bigint / 4
"""
"""(schema, table) of those that this role may lock; a quarter of the server's room for locks at most."""

WAITING: Final[LiteralString] = """
SELECT l.pid, l.mode = 'AccessExclusiveLock',
       coalesce(a.application_name ~ '^(Heroku Postgres Backups|pg_restore)', false),
       quote_ident(n.nspname) || '.' || quote_ident(c.relname)
  FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
 WHERE NOT l.granted AND pg_backend_pid() = ANY (pg_blocking_pids(l.pid))
   AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
"""
"""(pid, whether it waits to drop or rewrite, whether it is called like a restore, table) of those that wait for this
very session."""

END: Final[LiteralString] = """
SELECT pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid
 WHERE a.pid = ANY (%s) AND NOT r.rolsuper
"""


class Reading(msgspec.Struct, frozen=True):
    """The counters of one moment: `epoch` and `writes` as in evidence.py."""

    epoch: str | None = None
    writes: dict[str, Counters] = {}


def read(connection: Connection[Any]) -> Reading:
    """Reads the counters. Raises psycopg.Error."""
    _, epoch, _, _ = connection.execute(catalog.STATISTICS, prepare=True).fetchall()[0]
    writes = {name: Counters(*counters) for name, *counters in connection.execute(catalog.WRITES, prepare=True)}
    return Reading(epoch, writes)


def comparable(before: Reading, after: Reading) -> bool:
    """Whether the counters of two moments can be compared, and no restore has taken a table away in between."""
    return before.epoch is not None and before.epoch == after.epoch and before.writes.keys() <= after.writes.keys()


def written(before: Mapping[str, Counters], after: Mapping[str, Counters]) -> dict[str, Written]:
    """Returns what was written to each table between two moments, rolled back or not."""
    return {
        table: rows_written(before.get(table), present)
        for table, present in sorted(after.items())
        if table not in before or stamp_of(before[table]) != stamp_of(present)
    }


class Hold:
    """The session. It is opened once: a hold that was lost is gone.

    `waiting` has the most sessions of others that were seen to wait at once, by the table that they wanted to write.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._open = False
        self._locked = False
        self.waiting: dict[str, int] = {}

    @property
    def alive(self) -> bool:
        """Whether the session is still there, as far as is known. It is never opened again."""
        return self._open and self._database.connected

    @property
    def locked(self) -> bool:
        """Whether it keeps others from writing."""
        return self._locked and self.alive

    def open(self) -> None:
        """Opens the session, which only looks at first. Raises Lost or Failed."""
        with translated():
            connection = self._database.connection
            names = ["stats_fetch_consistency", "idle_in_transaction_session_timeout"]
            connection.execute(SET_KNOWN, [names, ["none", f"{IDLE}s"]])
        self._open = True

    def lock(self) -> int:
        """Locks the tables and returns how many. Raises Lost, or Failed where others' transactions are in the way."""
        with translated():
            connection = self._database.connection
            tables = connection.execute(TABLES).fetchall()
            if not tables:
                return 0
            names = sql.SQL(", ").join(sql.SQL("ONLY {}").format(sql.Identifier(*name)) for name in tables)
            try:
                connection.execute("BEGIN")
                connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(f"{LOCK_WITHIN}s"))
                connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(names))
            except psycopg.Error:
                with suppress(psycopg.Error):
                    connection.execute("ROLLBACK")
                raise
        self._locked = True
        return len(tables)

    def look(self, *, asked: bool = False) -> Reading | None:
        """Reads the counters, and lets a restore through. None when the session is gone, or could not read.

        `asked` says that the restore was asked for.
        """
        return self._tried(lambda: self._look(asked=asked))

    def stay(self) -> None:
        """Shows the server that this process is alive, and lets a restore through."""
        self._tried(lambda: self._give_way(asked=False))

    def _look(self, *, asked: bool) -> Reading:
        reading = read(self._database.connection)
        self._give_way(asked=asked)
        return reading

    def _tried(self, work: Callable[[], T]) -> T | None:
        if not self.alive:
            return None
        try:
            with translated():
                return work()
        except StepFailed:  # an error has ended the transaction, and the locks with it
            self.close()
            return None

    def _give_way(self, *, asked: bool) -> None:
        """Notes who waits. For a restore that waits, the writers in line are ended, and the locks given up."""
        if not self._locked:
            return
        rows = self._database.connection.execute(WAITING, prepare=True).fetchall()
        writers = [(pid, table) for pid, exclusive, _, table in rows if not exclusive]
        for table, sessions in Counter(table for _, table in writers).items():
            self.waiting[table] = max(sessions, self.waiting.get(table, 0))
        if any(exclusive and (asked or restoring) for _, exclusive, restoring, _ in rows):
            self._database.connection.execute(END, [[pid for pid, _ in writers]])
            self._database.connection.execute("ROLLBACK")
            self._locked = False

    def close(self) -> None:
        """Ends the session, and with it the locks."""
        self._open = self._locked = False
        self._database.close()
