"""The journal: one table in its own schema, which says what a run is about to do before it does it.

It lives in the protected database on purpose. The row is written before the backup is captured, so the dump carries
it as it was then; a restore therefore takes the row back to that state, which together with the list of transfers
tells any later run what happened. The fingerprint leaves the schema out.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from release.database.session import Database
from release.errors import Reason, StepFailed

VERSION = 1

TABLES = f"""
CREATE SCHEMA IF NOT EXISTS release_phase;
COMMENT ON SCHEMA release_phase IS 'Journal of the release phase, version {VERSION}';
CREATE TABLE IF NOT EXISTS release_phase.runs (
    run_id      text PRIMARY KEY,
    version     integer NOT NULL DEFAULT {VERSION},
    app         text NOT NULL,
    release     text,
    commit      text,
    state       text NOT NULL,
    outcome     text,
    reason      text,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    fence       text,
    maintenance boolean,
    formation   jsonb,
    baseline    integer,
    fingerprint text,
    backup      text,
    salvage     text,
    restore     text,
    recovery_at timestamptz,
    record      jsonb
)"""


class State(StrEnum):
    """What a run has announced. A row in any state but FINISHED belongs to a run that is under way or was cut off.

    LOADING: it is asking for a restore; where none is listed, the request may still be on its way.
    """

    BACKING_UP = "backing_up"
    MIGRATING = "migrating"
    PROBING = "probing"
    RESTORING = "restoring"
    LOADING = "loading"
    FINISHED = "finished"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One run in the journal. `baseline`: the highest transfer number before the run; `formation`: quantities before.

    `fence`: the mode of a fence that may be up; `release` means since before the backup.
    """

    run_id: str
    app: str
    release: str | None
    commit: str | None
    state: State
    outcome: str | None
    reason: str | None
    started_at: str
    finished_at: str | None
    fence: str | None
    maintenance: bool | None
    formation: dict[str, int] | None
    baseline: int | None
    backup: str | None
    salvage: str | None
    restore: str | None


_COLUMNS = (
    "run_id, app, release, commit, state, outcome, reason,"
    " to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),"
    " to_char(finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),"
    " fence, maintenance, formation, baseline, backup, salvage, restore"
)


class Journal:
    """The journal of one database. Raises what session.py raises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def exists(self) -> bool:
        """Whether any run has ever been recorded here."""
        return bool(self._database.one("SELECT to_regclass('release_phase.runs') IS NOT NULL")[0])

    def unfinished(self) -> Entry | None:
        """The run that was cut off, if there is one: the newest that is not finished, or whose fence is still up."""
        if not self.exists():
            return None
        found = self._database.rows(
            f"SELECT {_COLUMNS} FROM release_phase.runs WHERE state <> 'finished' OR fence IS NOT NULL"  # noqa: S608
            " ORDER BY started_at DESC LIMIT 1"
        )
        return _entry(found[0]) if found else None

    def entry(self, run_id: str) -> Entry | None:
        """One run."""
        if not self.exists():
            return None
        found = self._database.rows(f"SELECT {_COLUMNS} FROM release_phase.runs WHERE run_id = %s", [run_id])  # noqa: S608
        return _entry(found[0]) if found else None

    def age(self, run_id: str) -> float:
        """Seconds since a run has announced something, on the server's clock."""
        (age,) = self._database.one(
            "SELECT extract(epoch FROM clock_timestamp() - max(changed_at))::float8 FROM release_phase.runs"
            " WHERE run_id = %s",
            [run_id],
        )
        return float(age or 0)

    def runs(self, limit: int) -> list[Entry]:
        """The newest runs, newest first."""
        if not self.exists():
            return []
        found = self._database.rows(
            f"SELECT {_COLUMNS} FROM release_phase.runs ORDER BY started_at DESC LIMIT %s",  # noqa: S608
            [limit],
        )
        return [_entry(row) for row in found]

    def open(
        self,
        *,
        run_id: str,
        app: str,
        release: str | None,
        commit: str | None,
        maintenance: bool | None,
        formation: dict[str, int] | None,
        baseline: int,
    ) -> None:
        """Records a run that is about to back up."""
        self._database.rows(TABLES)
        self._database.rows(
            "INSERT INTO release_phase.runs (run_id, app, release, commit, state, maintenance, formation, baseline)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                run_id,
                app,
                release,
                commit,
                State.BACKING_UP,
                maintenance,
                None if formation is None else msgspec.json.encode(formation).decode(),
                baseline,
            ],
        )

    def fenced(self, run_id: str, mode: str | None) -> None:
        """The fence is about to go up in this mode; None: it is down again."""
        self._set(
            "UPDATE release_phase.runs SET fence = %s, changed_at = clock_timestamp() WHERE run_id = %s", [mode, run_id]
        )

    def fingerprinted(self, run_id: str, document: bytes, evidence: bytes) -> None:
        """Keeps the fingerprint, before the capture, so that the dump holds it; the evidence stays after the run."""
        self._set(
            "UPDATE release_phase.runs SET fingerprint = %s, record = jsonb_build_object('evidence', %s::jsonb),"
            " changed_at = clock_timestamp() WHERE run_id = %s",
            [document.decode(), evidence.decode(), run_id],
        )

    def evidence(self, backup: str) -> bytes | None:
        """The counters of the tables when this backup (a uuid) was taken, as a fingerprint without a structure."""
        if not self.exists():
            return None
        found = self._database.rows(
            "SELECT record -> 'evidence' FROM release_phase.runs WHERE backup = %s AND record ? 'evidence' LIMIT 1",
            [backup],
        )
        return msgspec.json.encode(found[0][0]) if found else None

    def in_the_dump(self) -> Entry | None:
        """In a database that was just restored: the run that made the dump, whose fingerprint came back with it."""
        if not self.exists():
            return None
        found = self._database.rows(
            f"SELECT {_COLUMNS} FROM release_phase.runs WHERE state = 'backing_up' AND fingerprint IS NOT NULL"  # noqa: S608
            " ORDER BY started_at DESC LIMIT 1"
        )
        return _entry(found[0]) if found else None

    def keep_record(self, run_id: str, record: dict[str, Any]) -> None:
        """Keeps the final record of a run that is decided; waits for nobody long. No row, nothing kept."""
        if not self.exists():
            return
        self._database.rows("SELECT set_config('statement_timeout', '3s', false)")
        self._set(
            "UPDATE release_phase.runs SET record = coalesce(record, '{}') || %s::jsonb WHERE run_id = %s",
            [msgspec.json.encode(record).decode(), run_id],
        )

    def history(self, limit: int) -> list[tuple[Entry, dict[str, Any]]]:
        """The newest runs with their final records (empty where none was kept), newest first."""
        if not self.exists():
            return []
        found = self._database.rows(
            f"SELECT {_COLUMNS}, coalesce(record - 'evidence', '{{}}') FROM release_phase.runs"  # noqa: S608
            " ORDER BY started_at DESC LIMIT %s",
            [limit],
        )
        return [(_entry(row[:-1]), row[-1]) for row in found]

    def fingerprint(self, run_id: str) -> bytes | None:
        """The fingerprint as it was kept."""
        found = self._database.rows("SELECT fingerprint FROM release_phase.runs WHERE run_id = %s", [run_id])
        return found[0][0].encode() if found and found[0][0] else None

    def announce(self, run_id: str, state: State, *, backup: str | None = None, salvage: str | None = None) -> None:
        """A run is about to enter a state; the uuids of its backup and its salvage stay once given.

        Raises StepFailed (lock_lost) when the row is finished: another run has settled this one in the meantime.
        """
        self._must(
            "UPDATE release_phase.runs SET state = %s, backup = coalesce(%s, backup), salvage = coalesce(%s, salvage),"
            " changed_at = clock_timestamp() WHERE run_id = %s AND state <> 'finished' RETURNING 1",
            [state, backup, salvage, run_id],
        )

    def commit(self, run_id: str) -> None:
        """The release is in: nothing may undo it afterwards. May be called twice.

        Raises StepFailed (lock_lost) when the row does not say that this run's migration is what the database holds.
        """
        self._must(
            "UPDATE release_phase.runs SET state = 'finished', outcome = 'released', fingerprint = NULL,"
            " finished_at = clock_timestamp(), changed_at = clock_timestamp()"
            " WHERE run_id = %s AND (state = 'probing' OR outcome = 'released') RETURNING 1",
            [run_id],
        )

    def sign_of_life(self, run_id: str) -> None:
        """A recovery says that it is there, before it waits for the lock; not while a restore has the table away."""
        if not self.exists():
            return
        self._set("UPDATE release_phase.runs SET recovery_at = clock_timestamp() WHERE run_id = %s", [run_id])

    def recovery_seen(self, run_id: str) -> bool:
        """Whether a recovery has given a sign of life."""
        found = self._database.rows(
            "SELECT recovery_at IS NOT NULL FROM release_phase.runs WHERE run_id = %s", [run_id]
        )
        return bool(found and found[0][0])

    def close(
        self,
        run_id: str,
        *,
        outcome: str,
        reason: str | None,
        restore: str | None = None,
        fence: str | None = None,
    ) -> None:
        """The run is over, and the database is old, or as somebody decided.

        `fence`: the mode of a fence that still has to be lowered, where a restore took the row back to before it.
        """
        self._set(
            "UPDATE release_phase.runs SET state = 'finished', outcome = %s, reason = %s,"
            " restore = coalesce(%s, restore), fence = coalesce(fence, %s),"
            " fingerprint = NULL, finished_at = clock_timestamp(), changed_at = clock_timestamp()"
            " WHERE run_id = %s",
            [outcome, reason, restore, fence, run_id],
        )

    def _must(self, statement: Any, values: list[object]) -> None:
        if not self._database.rows(statement, values):
            raise StepFailed(Reason.LOCK_LOST, "another run has settled this one in the meantime")

    def _set(self, statement: Any, values: list[object]) -> None:
        self._database.rows(statement, values)


def _entry(row: tuple[Any, ...]) -> Entry:
    return msgspec.convert(dict(zip(Entry.__struct_fields__, row, strict=True)), Entry, strict=False)
