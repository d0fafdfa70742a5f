"""The database before its migration, with the backup that brings it back; and looks at it that bear a disturbance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, LiteralString, TypeVar

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

LOOKS, PAUSE = 4, 0.5
"""How often a look at the database is made, and the seconds between: catalogs are read in one snapshot, but definitions
are printed from the newest state, so that DDL can get in between."""

HOLDERS: Final[LiteralString] = """
SELECT DISTINCT a.pid, coalesce(nullif(a.application_name, ''), 'without a name'), l.relation::regclass::text
  FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
 WHERE l.mode = 'AccessExclusiveLock' AND l.granted AND l.relation IS NOT NULL AND l.pid <> pg_backend_pid()
   AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
 ORDER BY 1, 3 LIMIT 3
"""

T = TypeVar("T")

OVERHEAD = 15.0
"""Seconds for fence and proof around a restore, kept free of the migration beside the transfers' own time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unprotected:
    """The database as it was before the migration, without a backup (RELEASE_BACKUP=off)."""

    before: Fingerprint
    outset: Outset
    behind: frozenset[str] = frozenset()
    target: None = None
    uuid: None = None
    name: None = None
    sealed: bool = False
    reserve: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BackedUp:
    """A backup that was proved usable, the database as it was when it was taken, and as it was right after that.

    `seconds`: how long it took; `sealed`: whether the fence has been up, and held, since before it; `behind`: sequences
    that were behind their columns already; `rehearsed`: seconds that its restore took in a rehearsal.
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
        """What a restore may be expected to take: a rehearsal or earlier ones tell, else more than the backup."""
        if self.rehearsed is not None:
            return self.rehearsed * 1.2
        return max(self.target.expected(restores=True) or 0.0, self.seconds * 1.5)

    @property
    def reserve(self) -> float:
        """Seconds to keep free of the migration: salvage, restore, and what is around them."""
        return self.seconds + self.restore_seconds + OVERHEAD


Before = BackedUp | Unprotected
"""The database before the migration, with or without a backup."""


def take_fingerprint(run: Run, *, partial: bool = False) -> Fingerprint:
    """The database as it is now; again when somebody's DDL of the same moment got in between. Raises Failed, Lost.

    With `partial` what others keep locked is left out and named.
    """
    return undisturbed(run, lambda: fingerprint.take(run.database.connection, frameworks.histories(), partial=partial))


def take_outset(run: Run, before: Fingerprint) -> Outset:
    """The database right before its migration. Raises Failed, Lost."""
    return undisturbed(run, lambda: at_outset(run.database.connection, before))


def undisturbed(run: Run, look: Callable[[], T]) -> T:
    """What a look at the database gives, repeated when a lock or somebody's DDL was in the way. Raises Failed, Lost."""

    def once() -> T:
        with translated():
            return look()

    return wait_until(
        once,
        name="a look at the database",
        despite=(Failed,),
        most=LOOKS,
        pause=PAUSE,
        sleep=run.clock.sleep,
        deadline=Deadline(run.clock, None),
        told=lambda error: run.warn("look_disturbed", f"{error}{_in_the_way(run)}"),
    )


def _in_the_way(run: Run) -> str:
    """Who holds locks that keep everybody out, in words."""
    try:
        found = run.database.rows(HOLDERS)
    except StepFailed:
        return ""
    return "".join(f"; pid {pid} ({name}) holds a lock on {relation}" for pid, name, relation in found)
