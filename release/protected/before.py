"""The database before its migration, with the backup that brings it back, and how to read it despite disturbances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, LiteralString, TypeVar

from msgspec import Struct

from release.app import frameworks
from release.clock import Deadline
from release.database import fingerprint
from release.database.fingerprint import Fingerprint
from release.database.outset import Outset, at_outset
from release.database.session import Failed, translated
from release.errors import StepFailed
from release.protected.target import Target
from release.retry import wait_until
from release.run import Run

TRIES, PAUSE = 4, 0.5
"""How often the database is read at most, and the seconds between two tries.

Catalogs are read in one snapshot, but Postgres prints definitions (pg_get_viewdef and the like) from the newest state,
so that somebody's DDL can get in between.
"""

HOLDERS: Final[LiteralString] = """
SELECT DISTINCT a.pid, coalesce(nullif(a.application_name, ''), 'without a name'), l.relation::regclass::text
  FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
 WHERE l.mode = 'AccessExclusiveLock' AND l.granted AND l.relation IS NOT NULL AND l.pid <> pg_backend_pid()
   AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
 ORDER BY 1, 3 LIMIT 3
"""
"""Reads who holds a lock that even a reader waits for: pid, name and relation, of three at most."""

T = TypeVar("T")

OVERHEAD = 15.0
"""Seconds for fence and proof around a restore, which are kept for them in addition to the transfers' own time."""


class Unprotected(Struct, frozen=True, kw_only=True):
    """The database as it was before the migration, without a backup (RELEASE_BACKUP=off)."""

    before: Fingerprint
    outset: Outset
    behind: frozenset[str] = frozenset()
    target: None = None
    uuid: None = None
    name: None = None
    sealed: bool = False
    reserve: float = 0.0


class BackedUp(Struct, frozen=True, kw_only=True):
    """A backup that was proved usable, the database as it was when it was taken, and as it was right after that.

    `seconds` is how long the backup took, and `rehearsed` how long its restore took in a rehearsal, in seconds, too.
    `sealed` says whether the fence has been up, and has held, since before it. `behind` has the sequences that were
    behind their columns already.
    """

    before: Fingerprint
    outset: Outset
    uuid: str
    name: str
    seconds: float
    sealed: bool
    target: Target
    behind: frozenset[str] = frozenset()
    rehearsed: float | None = None

    @property
    def restore_seconds(self) -> float:
        """The seconds that a restore may take, by a rehearsal or by earlier ones; else more than the backup took."""
        if self.rehearsed is not None:
            return self.rehearsed * 1.2
        return max(self.target.expected(restores=True) or 0.0, self.seconds * 1.5)

    @property
    def reserve(self) -> float:
        """The seconds that the migration must leave: for salvage and restore, and what is around them."""
        return self.seconds + self.restore_seconds + OVERHEAD


Before = BackedUp | Unprotected
"""The database before the migration, with or without a backup."""


def take_fingerprint(run: Run, *, partial: bool = False) -> Fingerprint:
    """Reads the database as it is now, and again when somebody's DDL got in between. Raises Failed or Lost.

    With `partial`, what others keep locked is left out and named.
    """
    return read_undisturbed(
        run, lambda: fingerprint.take(run.database.connection, frameworks.histories(), partial=partial)
    )


def take_outset(run: Run, before: Fingerprint) -> Outset:
    """Reads what tells changes of the database right before its migration. Raises Failed or Lost."""
    return read_undisturbed(run, lambda: at_outset(run.database.connection, before))


def read_undisturbed(run: Run, read: Callable[[], T]) -> T:
    """Reads the database, and again when a lock or somebody's DDL was in the way. Raises Failed or Lost."""

    def read_once() -> T:
        with translated():
            return read()

    return wait_until(
        read_once,
        name="a look at the database",
        despite=(Failed,),
        most=TRIES,
        pause=PAUSE,
        sleep=run.clock.sleep,
        deadline=Deadline(run.clock, None),
        told=lambda error: run.warn("look_disturbed", f"{error}{_in_the_way(run)}"),
    )


def _in_the_way(run: Run) -> str:
    """Says who holds locks that keep everybody out."""
    try:
        holders = run.database.rows(HOLDERS)
    except StepFailed:  # this only explains a warning
        return ""
    return "".join(f"; pid {pid} ({name}) holds a lock on {relation}" for pid, name, relation in holders)
